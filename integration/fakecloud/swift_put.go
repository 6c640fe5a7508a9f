package fakecloud

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// storedHeaders are the standard headers that an object keeps besides its
// X-Object-Meta-* (S1); the rest of S1 has fields of its own in object.
func storedHeader(name string) bool {
	switch name {
	case "Content-Encoding", "Content-Disposition", "Content-Language", "Cache-Control", "Expires", "X-Robots-Tag":
		return true
	}
	return strings.HasPrefix(name, "X-Object-Meta-")
}

// describe fills what the headers of a PUT or POST say; deleteAt was validated.
// A missing Content-Type is that of old, or guessed from the name.
func (o *object) describe(h http.Header, name string, old *object) {
	o.headers = nil
	for k, vs := range h {
		if t := titled(k); storedHeader(t) && (vs[0] != "" || strings.HasPrefix(t, "X-Object-Meta-")) {
			o.headers = append(o.headers, header{t, vs[0]})
		}
	}
	o.deleteAt, _ = strconv.ParseInt(h.Get("X-Delete-At"), 10, 64)
	o.dlo = h.Get("X-Object-Manifest")
	switch ct := h.Get("Content-Type"); {
	case isTrue(h.Get("X-Detect-Content-Type")), ct == "" && old == nil:
		o.ctype = guessType(name)
	case ct == "":
		o.ctype = old.ctype
	default:
		o.ctype = ct
	}
}

// lastDeleteAt is the latest second that a Swift timestamp can tell.
const lastDeleteAt = 9_999_999_999

// guessType is Python's mimetypes: what is compressed has the type of what is in
// it.
func guessType(name string) string {
	ext := path.Ext(name)
	switch ext {
	case ".tgz", ".taz", ".tz", ".tbz2", ".txz":
		ext = ".tar"
	case ".gz", ".Z", ".bz2", ".xz", ".br":
		ext = path.Ext(strings.TrimSuffix(name, ext))
	}
	if ext == ".tar" {
		return "application/x-tar"
	}
	t, _, _ := strings.Cut(mime.TypeByExtension(ext), ";")
	if t == "" {
		return "application/octet-stream"
	}
	return t
}

// checkObjectHeaders answers 400 for what Swift refuses before it reads a body,
// and turns X-Delete-After into X-Delete-At.
func (q *request) checkObjectHeaders() bool {
	h := q.r.Header
	// Swift counts characters, and only where an object may come into being.
	if n := utf8.RuneCountInString(q.obj); n > maxObjectName && q.r.Method != http.MethodPost {
		q.failPlain(http.StatusBadRequest, "Object name length of "+strconv.Itoa(n)+" longer than "+strconv.Itoa(maxObjectName))
		return false
	}
	now := int64(q.now) / stampsPerSecond
	if v, ok := h["X-Delete-After"]; ok {
		n, err := strconv.ParseInt(strings.TrimSpace(v[0]), 10, 64)
		if err != nil {
			q.failPlain(http.StatusBadRequest, "Non-integer X-Delete-After")
			return false
		}
		if n <= 0 {
			q.failPlain(http.StatusBadRequest, "X-Delete-After in past")
			return false
		}
		h["X-Delete-At"] = []string{strconv.FormatInt(now+n, 10)}
		delete(h, "X-Delete-After")
	}
	if v, ok := h["X-Delete-At"]; ok {
		n, err := strconv.ParseInt(strings.TrimSpace(v[0]), 10, 64)
		if err != nil {
			q.failPlain(http.StatusBadRequest, "Non-integer X-Delete-At")
			return false
		}
		if n <= now {
			q.failPlain(http.StatusBadRequest, "X-Delete-At in past")
			return false
		}
		h["X-Delete-At"] = []string{strconv.FormatInt(min(n, lastDeleteAt), 10)}
	}
	if msg := checkMeta(h, "X-Object-Meta-", false); msg != "" {
		q.failPlain(http.StatusBadRequest, msg)
		return false
	}
	return true
}

// onlyIfNew reads If-None-Match of a PUT, which may only be *; RGW ignores it.
func (q *request) onlyIfNew() (onlyNew, ok bool) {
	v := q.r.Header.Get("If-None-Match")
	if v == "" || q.rg.opts.Profile == RGW {
		return false, true
	}
	if strings.Trim(v, `" `) != "*" {
		q.failPlain(http.StatusBadRequest, "If-None-Match only supports *")
		return false, false
	}
	return true, true
}

// overQuota answers 413 when size more bytes or one more object would pass the
// container's or the account's quota.
func (q *request) overQuota(size int64) bool {
	a := q.rg.account(q.acct)
	c := a.container(q.cont)
	if c == nil {
		return false // that is a 404, and told later
	}
	c.mu.RLock()
	bytesQuota, bytesSet := c.meta["X-Container-Meta-Quota-Bytes"]
	countQuota, countSet := c.meta["X-Container-Meta-Quota-Count"]
	count, used := c.count, c.bytes
	c.mu.RUnlock()
	a.mu.RLock()
	accountQuota, accountSet := a.meta["X-Account-Meta-Quota-Bytes"]
	a.mu.RUnlock()
	above := func(quota string, n int64) bool {
		limit, err := strconv.ParseInt(quota, 10, 64)
		return err == nil && n > limit
	}
	over := bytesSet && above(bytesQuota, used+size) || countSet && above(countQuota, count+1)
	if !over && accountSet && !q.tok.hasRole("ResellerAdmin") {
		_, _, total := a.usage()
		over = above(accountQuota, total+size)
	}
	if over {
		q.failText(http.StatusRequestEntityTooLarge, "Upload exceeds quota.")
	}
	return over
}

// given is content that does not come from the client: what a copy reads, or a
// large object's manifest.
type given struct {
	content body
	sum     string // MD5 when it is known already
	slo     *sloManifest
	mark    string // object.sloMark
	extra   [][2]string
}

// length is the announced size of what is put; -1 when it is not.
func (q *request) length() int64 {
	switch {
	case q.given != nil:
		return q.given.content.Len()
	case q.r.ContentLength == 0 && len(q.r.TransferEncoding) == 0 && q.r.Header["Content-Length"] == nil:
		return 0
	}
	return q.r.ContentLength
}

// putObject goes through a PUT in the order of Swift's pipeline: quotas, static
// and dynamic large objects, versions, links, and the object itself.
func (q *request) putObject() {
	size := q.length()
	if q.overQuota(max(0, size)) {
		return
	}
	if q.q["multipart-manifest"] == "put" {
		q.putManifest()
		return
	}
	q.putPart()
}

// putPart is putObject below large objects.
func (q *request) putPart() {
	h, size := q.r.Header, q.length()
	if v, ok := h["X-Object-Manifest"]; ok {
		if cont, prefix, _ := strings.Cut(v[0], "/"); cont == "" || prefix == "" || prefix[0] == '/' || strings.ContainsAny(v[0], "?&") {
			q.failText(http.StatusBadRequest, "X-Object-Manifest must be in the format container/prefix")
			return
		}
	}
	id, ts, ok := q.versionAsked(place{q.acct, q.cont, q.obj})
	switch _, link := h["X-Symlink-Target"]; {
	case !ok:
	case id != "":
		q.putVersion(id, ts, size)
	case link:
		q.putLink(size)
	default:
		q.storeObject(&object{stamp: q.now}, size)
	}
}

// target finds the container a write goes to, or answers 404.
func (q *request) target() (*account, *container) {
	a := q.rg.account(q.acct)
	c := a.container(q.cont)
	if c == nil {
		q.fail(http.StatusNotFound)
	}
	return a, c
}

// storeObject checks, receives and stores o; a link has no body to receive.
func (q *request) storeObject(o *object, size int64) {
	onlyNew, ok := q.onlyIfNew()
	if !ok {
		return
	}
	if q.deferred {
		if code := q.authorize(q.acct, q.cont, q.obj, http.MethodPut); code != 0 {
			q.deny(code)
			return
		}
	}
	a, c := q.target()
	if c == nil || !q.checkObjectHeaders() || !q.checkSize(size) {
		return
	}
	// Where versions are kept, Swift stores one before it finds the name taken.
	if v := c.mode.Load(); onlyNew && (v == nil || !v.enabled) && c.live(q.obj, q.now) != nil {
		q.fail(http.StatusPreconditionFailed)
		return
	}
	var data body
	var sum string
	if q.given != nil {
		data, sum, ok = q.takeGiven()
		o.slo, o.sloMark = q.given.slo, q.given.mark
	} else {
		data, sum, ok = q.receive(size)
	}
	if !ok {
		return
	}
	if o.body == nil {
		o.body, o.etag = data, sum
	}
	if q.lieAt >= 0 && q.lieAt < data.Len() {
		o.body = flipped{data, q.lieAt}
	}
	o.describe(q.r.Header, q.obj, nil)
	out := q.rg.save(a, c, q.obj, o, q.now, onlyNew)
	q.stored = out.verdict == stored && out.code == 0
	etag := o.etag
	if o.slo != nil {
		etag = o.slo.etag
		if q.rg.opts.Profile == Swift {
			etag = `"` + etag + `"`
		}
	}
	var extra [][2]string
	if q.given != nil {
		extra = q.given.extra
	}
	if out.verdict == exists && out.version != "" {
		etag = o.etag
	}
	q.replyStored(out, etag, extra)
}

// checkSize answers 400, 411 or 413 for what Swift refuses of a body's form.
func (q *request) checkSize(size int64) bool {
	h := q.r.Header
	if q.given == nil && size <= 0 && len(q.r.TransferEncoding) == 0 && h["Content-Length"] == nil {
		q.failPlain(http.StatusLengthRequired, "Missing Content-Length header.")
		return false
	}
	if size > maxFileSize {
		q.failPlain(http.StatusRequestEntityTooLarge, "Your request is too large.")
		return false
	}
	if q.given != nil && q.given.slo != nil {
		return true
	}
	_, params, _ := strings.Cut(h.Get("Content-Type"), ";")
	for p := range strings.SplitSeq(params, ";") {
		if strings.HasPrefix(strings.TrimLeft(p, " \t"), "swift_") {
			q.failText(http.StatusBadRequest, "Invalid Content-Type, swift_* is not a valid parameter name.")
			return false
		}
	}
	return true
}

// receive reads the body and checks Etag; false when it has answered already.
func (q *request) receive(size int64) (memBody, string, bool) {
	h := md5.New()
	data, err := readBody(&q.body, size, maxFileSize, h)
	switch {
	case errors.Is(err, errTooLarge):
		q.fail(http.StatusRequestEntityTooLarge)
		return data, "", false
	case err != nil:
		// 499, as proxies log it; the client has gone and will not see it.
		q.fail(499)
		return data, "", false
	}
	sum := hex.EncodeToString(h.Sum(nil))
	return data, sum, q.checkETag(sum)
}

func (q *request) checkETag(sum string) bool {
	want := strings.ToLower(strings.Trim(q.r.Header.Get("Etag"), `" `))
	if want == "" || want == sum {
		return true
	}
	q.w.Header()["Last-Modified"] = []string{q.now.lastModified()}
	q.fail(http.StatusUnprocessableEntity)
	return false
}

// takeGiven computes the MD5 of content that is put together from segments.
func (q *request) takeGiven() (body, string, bool) {
	g := q.given
	if g.slo != nil || g.sum != "" {
		return g.content, g.sum, true
	}
	hash := md5.New()
	if err := g.content.writeTo(hash, 0, g.content.Len()); err != nil {
		// The source ended early: to the PUT that is a client that went away.
		q.fail(499)
		return nil, "", false
	}
	sum := hex.EncodeToString(hash.Sum(nil))
	if rate := q.rg.opts.CopyRate; rate > 0 {
		if pause(q.w.ctx, time.Duration(float64(g.content.Len())/float64(rate)*float64(time.Second))) != nil {
			q.w.sever(true)
			return nil, "", false
		}
	}
	return g.content, sum, q.rg.opts.Profile != Swift || q.checkETag(sum)
}

// replyStored answers a PUT.
func (q *request) replyStored(out outcome, etag string, extra [][2]string) {
	switch {
	case out.code != 0 && out.text != "":
		q.failPlain(out.code, out.text)
		return
	case out.code != 0:
		q.fail(out.code)
		return
	case out.verdict == exists:
		if out.version != "" {
			q.w.Header()["Etag"], q.w.Header()["X-Object-Version-Id"] = []string{etag}, []string{out.version}
		}
		q.fail(http.StatusPreconditionFailed)
		return
	case out.verdict == stale:
		// A newer version got there first: accepted, and without effect.
		q.fail(http.StatusAccepted)
		return
	}
	h := q.w.Header()
	h["Etag"] = []string{etag}
	h["Last-Modified"] = []string{q.now.lastModified()}
	if out.version != "" {
		h["X-Object-Version-Id"] = []string{out.version}
	}
	for _, x := range extra {
		h[x[0]] = append(h[x[0]], x[1])
	}
	q.done(http.StatusCreated)
}
