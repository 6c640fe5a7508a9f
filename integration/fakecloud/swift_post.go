package fakecloud

import (
	"io"
	"net/http"
)

func (q *request) postObject() {
	if _, _, ok := q.versionAsked(place{q.acct, q.cont, q.obj}); !ok {
		return
	}
	if _, link := q.r.Header["X-Symlink-Target"]; link {
		q.failPlain(http.StatusBadRequest, "A PUT request is required to set a symlink target")
		return
	}
	a, c := q.target()
	if c == nil || !q.checkObjectHeaders() {
		return
	}
	// The body of a POST means nothing.
	if _, err := io.Copy(io.Discard, &q.body); err != nil {
		q.fail(499)
		return
	}
	o := c.describe(q.obj, q.r.Header, q.now)
	if o == nil {
		q.fail(http.StatusNotFound)
		return
	}
	if l := o.link; l != nil && l.version != "" {
		// The version is told too, but for the expiry, which is the link's.
		h := q.r.Header.Clone()
		h.Del("X-Delete-At")
		to := l.place(q.acct)
		hidden := a.container(to.cont)
		if hidden == nil {
			q.fail(http.StatusNotFound)
			return
		}
		if o = hidden.describe(to.obj, h, q.now); o == nil {
			q.fail(http.StatusNotFound)
			return
		}
	}
	if l := o.link; l != nil {
		q.w.Header()["Location"] = []string{l.path(q.acct)}
		if l.etag != "" {
			q.w.Header()["X-Symlink-Target-Etag"] = []string{l.etag}
		}
		q.failText(http.StatusTemporaryRedirect, "The requested POST was applied to a symlink. POST directly to the "+
			"target to apply requested metadata.")
		return
	}
	q.fail(http.StatusAccepted)
}

// describe replaces all metadata of a live object, a DLO's mark included; only
// the type stays when h has none (S2). It returns nil when there is no object.
func (c *container) describe(name string, h http.Header, now stamp) *object {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.getLocked(name)
	if old == nil || old.expired(now) {
		return nil
	}
	o := *old
	o.describe(h, name, old)
	o.stamp = now
	c.writeLocked(name, &o, now, false)
	return &o
}

func (q *request) deleteObject() {
	id, ts, ok := q.versionAsked(place{q.acct, q.cont, q.obj})
	if !ok {
		return
	}
	a, c := q.target()
	if c == nil {
		return
	}
	var out outcome
	if id != "" {
		out = q.deleteVersion(place{q.acct, q.cont, q.obj}, id, ts)
	} else {
		out = q.rg.erase(a, c, q.obj, q.now)
	}
	h := q.w.Header()
	if out.version != "" {
		h["X-Object-Version-Id"] = []string{out.version}
	}
	if out.current != "" {
		h["X-Object-Current-Version-Id"] = []string{out.current}
	}
	switch {
	case out.code == http.StatusForbidden || out.code == http.StatusUnauthorized:
		q.deny(out.code)
	case out.text != "":
		q.failPlain(out.code, out.text)
	case out.code != 0:
		q.fail(out.code)
	case out.missing:
		q.fail(http.StatusNotFound)
	default:
		q.done(http.StatusNoContent)
	}
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
