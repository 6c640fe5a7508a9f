package fakecloud

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
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

func guessType(name string) string {
	t, _, _ := strings.Cut(mime.TypeByExtension(path.Ext(name)), ";")
	if t == "" {
		return "application/octet-stream"
	}
	return t
}

// checkObjectHeaders answers 400 for what Swift refuses before it reads a body,
// and turns X-Delete-After into X-Delete-At.
func (q *request) checkObjectHeaders() bool {
	h := q.r.Header
	if len(q.obj) > maxObjectName {
		q.failPlain(http.StatusBadRequest, "Object name length of "+strconv.Itoa(len(q.obj))+
			" longer than "+strconv.Itoa(maxObjectName))
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
	}
	if v := h.Get("X-Object-Manifest"); v != "" {
		if c, p, ok := strings.Cut(strings.TrimPrefix(lenientPath(v), "/"), "/"); !ok || c == "" || p == "" || strings.ContainsAny(v, "?&") {
			q.failText(http.StatusBadRequest, "X-Object-Manifest must be in the format container/prefix")
			return false
		}
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
func (q *request) overQuota(a *account, c *container, size int64) bool {
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

// target finds the container a write goes to, or answers 404.
func (q *request) target() (*account, *container) {
	a := q.rg.account(q.acct)
	c := a.container(q.cont)
	if c == nil {
		q.fail(http.StatusNotFound)
	}
	return a, c
}

func (q *request) putObject() {
	if _, ok := q.r.Header["X-Static-Large-Object"]; ok {
		q.failText(http.StatusBadRequest, "X-Static-Large-Object is a reserved header. To create a static large "+
			"object add query param multipart-manifest=put.")
		return
	}
	a, c := q.target()
	if c == nil {
		return
	}
	onlyNew, ok := q.onlyIfNew()
	if !ok || !q.checkObjectHeaders() {
		return
	}
	size := q.r.ContentLength
	if size <= 0 && len(q.r.TransferEncoding) == 0 && q.r.Header["Content-Length"] == nil {
		q.failPlain(http.StatusLengthRequired, "Missing Content-Length header.")
		return
	}
	if size > maxFileSize {
		q.failPlain(http.StatusRequestEntityTooLarge, "Your request is too large.")
		return
	}
	if q.overQuota(a, c, max(0, size)) {
		return
	}
	if q.r.Header.Get("X-Symlink-Target") != "" {
		q.putLink(c, onlyNew)
		return
	}
	if onlyNew && c.live(q.obj, q.now) != nil {
		q.fail(http.StatusPreconditionFailed)
		return
	}
	data, sum, ok := q.receive(size)
	if !ok {
		return
	}
	o := &object{body: data, etag: sum, stamp: q.now}
	if q.lieAt >= 0 && q.lieAt < data.size {
		o.body = flipped{data, q.lieAt}
	}
	o.describe(q.r.Header, q.obj, nil)
	q.commit(c, o, onlyNew, o.etag, nil)
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
	if want := strings.ToLower(strings.Trim(q.r.Header.Get("Etag"), `" `)); want != "" && want != sum {
		q.w.Header()["Last-Modified"] = []string{q.now.lastModified()}
		q.fail(http.StatusUnprocessableEntity)
		return data, "", false
	}
	return data, sum, true
}

// commit stores o and answers.
func (q *request) commit(c *container, o *object, onlyNew bool, etag string, extra [][2]string) {
	switch c.write(q.obj, o, q.now, onlyNew) {
	case exists:
		q.fail(http.StatusPreconditionFailed)
		return
	case stale:
		// A newer version got there first: accepted, and without effect.
		q.fail(http.StatusAccepted)
		return
	case stored:
	}
	h := q.w.Header()
	h["Etag"] = []string{etag}
	h["Last-Modified"] = []string{o.stamp.lastModified()}
	for _, x := range extra {
		h[x[0]] = append(h[x[0]], x[1])
	}
	q.done(http.StatusCreated)
}

func (q *request) postObject() {
	_, c := q.target()
	if c == nil {
		return
	}
	if !q.checkObjectHeaders() {
		return
	}
	// The body of a POST means nothing.
	if _, err := io.Copy(io.Discard, &q.body); err != nil {
		q.fail(499)
		return
	}
	c.mu.Lock()
	old := c.getLocked(q.obj)
	if old == nil || old.expired(q.now) {
		c.mu.Unlock()
		q.fail(http.StatusNotFound)
		return
	}
	o := *old
	// All metadata is replaced, a DLO's mark included; only the type stays (S2).
	o.describe(q.r.Header, q.obj, old)
	o.stamp = q.now
	c.writeLocked(q.obj, &o, q.now, false)
	c.mu.Unlock()
	if o.link != nil {
		q.w.Header()["Location"] = []string{q.linkPath(o.link)}
		q.failText(http.StatusTemporaryRedirect, "The requested POST was applied to a symlink. POST directly to the "+
			"target to apply requested metadata.")
		return
	}
	q.fail(http.StatusAccepted)
}

func (q *request) deleteObject() {
	_, c := q.target()
	if c == nil {
		return
	}
	if !c.remove(q.obj, q.now) {
		q.fail(http.StatusNotFound)
		return
	}
	q.done(http.StatusNoContent)
}

// remove deletes a live object; false when there is none.
func (c *container) remove(name string, now stamp) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.getLocked(name)
	if o == nil || o.expired(now) {
		return false
	}
	c.writeLocked(name, nil, now, false)
	return true
}
