package fakecloud

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// symlink is what a link object points at (S6).
type symlink struct {
	target  string // container/object, quoted
	account string // "" means the link's own
	etag    string // of a static link
	bytes   int64
	sloETag string // when the target of a static link is an SLO
	// version is set when the link is not a user's but the current version of an
	// object in a versioned container: its id, and target is in the hidden one.
	version string
}

// maxLinks is Swift's symloop_max.
const maxLinks = 2

// follow finds an object. Static links are always followed, others when soft;
// ?symlink=get asks for the link itself. want is the ETag that a static link to
// p expects. A zero code means it was found.
func (q *request) follow(p place, want string, soft bool) answer {
	var a answer
	trusted := true
	for hops := 0; ; {
		if !trusted {
			if a.code = q.authorize(p.acct, p.cont, p.obj, http.MethodGet); a.code != 0 {
				return a
			}
		}
		_, o := q.live(p)
		if o == nil {
			a.code = http.StatusNotFound
			return a
		}
		if o.link == nil || q.q["symlink"] == "get" || o.link.etag == "" && !soft {
			if want != "" && want != o.etag {
				a.code, a.text = http.StatusConflict, fmt.Sprintf(
					"Object Etag '%s' does not match X-Symlink-Target-Etag header '%s'", o.etag, want)
				return a
			}
			a.obj = o
			if o.link != nil && q.q["symlink"] == "get" {
				a.extra = append(a.extra, o.link.headers()...)
			}
			return a
		}
		l := o.link
		found := l.etag
		if found == "" {
			found = o.etag
		}
		if want != "" && want != found {
			a.code, a.text = http.StatusConflict, "X-Symlink-Target-Etag headers do not match"
			return a
		}
		if hops >= maxLinks {
			return answer{code: http.StatusConflict, text: fmt.Sprintf(
				"Too many levels of symbolic links, maximum allowed is %d", maxLinks)}
		}
		if trusted = l.version != ""; !trusted {
			hops++
		}
		want = l.etag
		p = l.place(p.acct)
		a.location = l.path(p.acct)
	}
}

// place is where the link leads from an object of acct.
func (l *symlink) place(acct string) place {
	if l.account != "" {
		acct = lenientPath(l.account)
	}
	cont, obj, _ := strings.Cut(lenientPath(l.target), "/")
	return place{acct, cont, obj}
}

// path is the same as replies write it.
func (l *symlink) path(acct string) string {
	if l.account != "" {
		acct = l.account
	}
	return "/v1/" + acct + "/" + l.target
}

func (l *symlink) headers() [][2]string {
	h := [][2]string{{"X-Symlink-Target", l.target}}
	if l.account != "" {
		h = append(h, [2]string{"X-Symlink-Target-Account", l.account})
	}
	if l.etag != "" {
		h = append(h, [2]string{"X-Symlink-Target-Etag", l.etag},
			[2]string{"X-Symlink-Target-Bytes", strconv.FormatInt(l.bytes, 10)})
	}
	return h
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

// accountHeader reads a header that names an account; false when it has
// answered that it is malformed.
func (q *request) accountHeader(name, otherwise string) (string, bool) {
	v, ok := q.r.Header[name]
	if !ok {
		return otherwise, true
	}
	acct := lenientPath(v[0])
	switch {
	case acct == "":
		q.failText(http.StatusPreconditionFailed, "Account name cannot be empty")
	case strings.Contains(acct, "/"):
		q.failText(http.StatusPreconditionFailed, "Account name cannot contain slashes")
	default:
		return acct, true
	}
	return "", false
}

// putLink makes a symlink: no body, and what a static one points at is checked.
func (q *request) putLink(size int64) {
	h := q.r.Header
	if size > 0 {
		q.failPlain(http.StatusBadRequest, "Symlink requests require a zero byte body")
		return
	}
	raw := h["X-Symlink-Target"][0]
	cont, obj, ok := splitPath(raw)
	const form = "X-Symlink-Target header must be of the form <container name>/<object name>"
	switch {
	case strings.HasPrefix(lenientPath(raw), "/"):
		q.failPlain(http.StatusPreconditionFailed, form)
		return
	case !ok:
		q.failText(http.StatusPreconditionFailed, form)
		return
	}
	acct, ok := q.accountHeader("X-Symlink-Target-Account", q.acct)
	if !ok {
		return
	}
	to := place{acct, cont, obj}
	if to == (place{q.acct, q.cont, q.obj}) {
		q.failPlain(http.StatusBadRequest, "Symlink cannot target itself")
		return
	}
	l := &symlink{target: quotePath(cont + "/" + obj), etag: strings.Trim(h.Get("X-Symlink-Target-Etag"), `"`)}
	if _, named := h["X-Symlink-Target-Account"]; named {
		l.account = quotePath(acct)
	}
	if strings.ContainsAny(l.etag, `;"\`) {
		q.failPlain(http.StatusBadRequest, "Bad X-Symlink-Target-Etag format")
		return
	}
	o := &object{body: memBody{}, etag: md5Hex(nil), stamp: q.now, link: l}
	ctype := "application/symlink"
	if l.etag != "" {
		if ctype, ok = q.checkLinkTarget(l, to); !ok {
			return
		}
	}
	if h.Get("Content-Type") == "" {
		h["Content-Type"] = []string{ctype}
	}
	q.storeObject(o, 0)
}

// checkLinkTarget compares the target of a static link with what the client
// knows of it, and takes over what the link tells about it.
func (q *request) checkLinkTarget(l *symlink, to place) (ctype string, ok bool) {
	sub := *q
	sub.q = nil
	target := answer{code: sub.authorize(to.acct, to.cont, to.obj, http.MethodHead)}
	if target.code == 0 {
		target = sub.follow(to, l.etag, false)
	}
	switch {
	case target.code == http.StatusNotFound:
		target.code, target.text = http.StatusConflict, "X-Symlink-Target does not exist"
	case target.code == http.StatusConflict:
	case target.code != 0:
		q.deny(target.code)
		return "", false
	default:
		t := target.obj
		l.bytes, l.sloETag = t.listedSize(), t.sloMark
		if t.slo == nil && t.link == nil {
			l.bytes = t.body.Len()
		}
		return t.ctype, true
	}
	q.w.Header()["Content-Location"] = []string{"/v1/" + to.acct + "/" + to.cont + "/" + to.obj}
	if target.location != "" {
		q.w.Header()["Content-Location"] = []string{target.location}
	}
	q.failPlain(target.code, target.text)
	return "", false
}
