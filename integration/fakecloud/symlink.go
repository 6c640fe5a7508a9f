package fakecloud

import (
	"fmt"
	"net/http"
	"strings"
)

// symlink is what a link object points at (S6).
type symlink struct {
	target  string // container/object, quoted as sent
	account string // "" means the link's own
	etag    string // of a static link
	bytes   int64
	sloETag string // when the target of a static link is an SLO
}

// maxLinks is Swift's symloop_max.
const maxLinks = 2

// follow finds an object, through links unless ?symlink=get asks for the link.
// A zero code means it was found.
func (q *request) follow(acct, cont, obj string) answer {
	var a answer
	wantETag := ""
	for hops := 0; ; hops++ {
		if hops > 0 && q.authorize(acct, cont, obj, http.MethodGet) != 0 {
			a.code = http.StatusForbidden
			return a
		}
		c := q.rg.account(acct).container(cont)
		var o *object
		if c != nil {
			o = c.live(obj, q.now)
		}
		if o == nil {
			a.code = http.StatusNotFound
			return a
		}
		if o.link == nil || q.q["symlink"] == "get" {
			found := o.etag
			if o.slo != nil {
				found = o.slo.etag
			}
			// A static link may know its target by either ETag.
			if wantETag != "" && wantETag != o.etag && wantETag != found {
				a.code, a.text = http.StatusConflict, fmt.Sprintf(
					"Object Etag '%s' does not match X-Symlink-Target-Etag header '%s'", found, wantETag)
				return a
			}
			a.obj = o
			if o.link != nil {
				a.extra = append(a.extra, o.link.headers()...)
			}
			return a
		}
		if hops >= maxLinks {
			a.code, a.text = http.StatusConflict, fmt.Sprintf(
				"Too many levels of symbolic links, maximum allowed is %d", maxLinks)
			return a
		}
		if o.link.account != "" {
			acct = o.link.account
		}
		wantETag = o.link.etag
		a.extra = [][2]string{{"Content-Location", "/v1/" + acct + "/" + o.link.target}}
		cont, obj, _ = strings.Cut(lenientPath(o.link.target), "/")
	}
}

func (l *symlink) headers() [][2]string {
	h := [][2]string{{"X-Symlink-Target", l.target}}
	if l.account != "" {
		h = append(h, [2]string{"X-Symlink-Target-Account", l.account})
	}
	if l.etag != "" {
		h = append(h, [2]string{"X-Symlink-Target-Etag", l.etag},
			[2]string{"X-Symlink-Target-Bytes", fmt.Sprint(l.bytes)})
	}
	return h
}

func (q *request) linkPath(l *symlink) string {
	acct := l.account
	if acct == "" {
		acct = q.acct
	}
	return "/v1/" + acct + "/" + l.target
}

// lenientPath unquotes a path, where + is a plus.
func lenientPath(s string) string { return lenient(strings.ReplaceAll(s, "+", "%2B")) }

// quotePath quotes as wsgi_quote does, leaving slashes.
func quotePath(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		ch := s[i]
		if ch|0x20 >= 'a' && ch|0x20 <= 'z' || ch >= '0' && ch <= '9' || strings.IndexByte("_.-~/", ch) >= 0 {
			b.WriteByte(ch)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", ch)
	}
	return b.String()
}

// splitPath reads a container/object header value; the slash before is optional
// where the header allows it.
func splitPath(v string) (cont, obj string, ok bool) {
	cont, obj, ok = strings.Cut(strings.TrimPrefix(lenientPath(v), "/"), "/")
	return cont, obj, ok && cont != "" && obj != ""
}

func (q *request) putLink(c *container, onlyNew bool) {
	h := q.r.Header
	if q.r.ContentLength > 0 {
		q.failPlain(http.StatusBadRequest, "Symlink requests require a zero byte body")
		return
	}
	cont, obj, ok := splitPath(h.Get("X-Symlink-Target"))
	const form = "X-Symlink-Target header must be of the form <container name>/<object name>"
	if strings.HasPrefix(lenientPath(h.Get("X-Symlink-Target")), "/") {
		q.failPlain(http.StatusPreconditionFailed, form)
		return
	}
	if !ok {
		q.failText(http.StatusPreconditionFailed, form)
		return
	}
	l := &symlink{target: quotePath(cont + "/" + obj), account: h.Get("X-Symlink-Target-Account"),
		etag: strings.Trim(h.Get("X-Symlink-Target-Etag"), `"`)}
	acct := q.acct
	if l.account != "" {
		acct = l.account
	}
	if acct == q.acct && cont == q.cont && obj == q.obj {
		q.failPlain(http.StatusBadRequest, "Symlink cannot target itself")
		return
	}
	o := &object{body: memBody{}, etag: md5Hex(nil), stamp: q.now, link: l}
	ctype := h.Get("Content-Type")
	if ctype == "" {
		ctype = "application/symlink"
	}
	if l.etag != "" {
		target := q.follow(acct, cont, obj)
		q.w.Header()["Content-Location"] = []string{"/v1/" + acct + "/" + l.target}
		if target.code == http.StatusNotFound {
			q.failPlain(http.StatusConflict, "X-Symlink-Target does not exist")
			return
		}
		if target.code != 0 {
			q.failAnswer(target)
			return
		}
		t := target.obj
		l.bytes = t.listedSize()
		l.sloETag = t.sloMark
		if l.etag != t.etag && l.etag != l.sloETag {
			q.failPlain(http.StatusConflict, fmt.Sprintf(
				"Object Etag '%s' does not match X-Symlink-Target-Etag header '%s'", t.etag, l.etag))
			return
		}
		delete(q.w.Header(), "Content-Location")
		if h.Get("Content-Type") == "" {
			ctype = t.ctype
		}
	}
	h["Content-Type"] = []string{ctype}
	o.describe(h, q.obj, nil)
	q.commit(c, o, onlyNew, o.etag, nil)
}
