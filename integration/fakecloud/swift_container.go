package fakecloud

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// containerHeaders are the settable ones besides X-Container-Meta-*.
func containerHeaders() []string {
	return []string{"X-Container-Read", "X-Container-Write", "X-Container-Sync-To", "X-Container-Sync-Key"}
}

// ownerOnly are hidden from those who merely have access by an ACL.
func ownerOnly(name string) bool {
	switch name {
	case "X-Container-Read", "X-Container-Write", "X-Container-Sync-To", "X-Container-Sync-Key",
		"X-Container-Meta-Temp-Url-Key", "X-Container-Meta-Temp-Url-Key-2":
		return true
	}
	return false
}

func (q *request) serveContainer() {
	a := q.rg.account(q.acct)
	c := a.container(q.cont)
	if q.r.Method == http.MethodPut {
		q.putContainer(a)
		return
	}
	if c == nil {
		q.fail(http.StatusNotFound)
		return
	}
	switch q.r.Method {
	case http.MethodHead, http.MethodGet:
		q.readContainer(a, c)
	case http.MethodPost:
		q.postContainer(a, c)
	case http.MethodDelete:
		c.expire(q.now)
		switch code, text := q.rg.dropContainer(a, c); {
		case text != "":
			q.failText(code, text)
		case code != 0:
			q.fail(code)
		default:
			q.done(http.StatusNoContent)
		}
	default:
		q.notAllowed()
	}
}

// checkContainerHeaders answers 400 for what Swift refuses in PUT and POST.
func (q *request) checkContainerHeaders() bool {
	h := q.r.Header
	if msg := checkMeta(h, "X-Container-Meta-", true); msg != "" {
		q.failPlain(http.StatusBadRequest, msg)
		return false
	}
	for _, k := range []string{"X-Container-Read", "X-Container-Write"} {
		if v, ok := h[k]; ok {
			clean, bad := cleanACL(v[0], k == "X-Container-Write")
			if bad != "" {
				q.failText(http.StatusBadRequest, bad)
				return false
			}
			h[k] = []string{clean}
		}
	}
	if v := h.Get("X-Container-Meta-Quota-Bytes"); v != "" && !digits(v) {
		q.failText(http.StatusBadRequest, "Invalid bytes quota.")
		return false
	}
	if v := h.Get("X-Container-Meta-Quota-Count"); v != "" && !digits(v) {
		q.failText(http.StatusBadRequest, "Invalid count quota.")
		return false
	}
	return true
}

func (q *request) putContainer(a *account) {
	// Swift counts characters.
	if n := utf8.RuneCountInString(q.cont); n > maxContainerName {
		q.failText(http.StatusBadRequest, "Container name length of "+strconv.Itoa(n)+" longer than "+strconv.Itoa(maxContainerName))
		return
	}
	if !q.owner {
		q.fail(http.StatusForbidden)
		return
	}
	if !q.checkContainerHeaders() {
		return
	}
	policy := q.r.Header.Get("X-Storage-Policy")
	if policy != "" {
		i := slices.IndexFunc(q.rg.opts.Policies, func(p string) bool { return strings.EqualFold(p, policy) })
		if i < 0 {
			q.failPlain(http.StatusBadRequest, "Invalid X-Storage-Policy '"+policy+"'")
			return
		}
		policy = q.rg.opts.Policies[i]
	}
	want := policy
	if want == "" {
		want = q.rg.opts.Policies[0]
	}
	change, ok := q.readVersioning(a.container(q.cont))
	if !ok {
		return
	}
	c, made := q.rg.makeContainer(a, q.cont, want, q.now)
	if !made && policy != "" && policy != c.policy {
		q.fail(http.StatusConflict)
		return
	}
	if !q.change(a, c, change) {
		return
	}
	if made {
		q.done(http.StatusCreated)
		return
	}
	q.fail(http.StatusAccepted)
}

func (q *request) postContainer(a *account, c *container) {
	if !q.owner {
		q.fail(http.StatusForbidden)
		return
	}
	if !q.checkContainerHeaders() {
		return
	}
	change, ok := q.readVersioning(c)
	if !ok {
		return
	}
	if q.change(a, c, change) {
		q.done(http.StatusNoContent)
	}
}

// change applies the headers of a PUT or POST; false when it has answered that
// there would be too many.
func (q *request) change(a *account, c *container, v versioningChange) bool {
	c.mu.Lock()
	meta, msg := merged(c.meta, q.r.Header, "Container", containerHeaders())
	if msg == "" {
		c.meta, c.modified = meta, q.now
	}
	c.mu.Unlock()
	if msg != "" {
		q.failText(http.StatusBadRequest, msg)
		return false
	}
	q.rg.setVersioning(a, c, v, q.now)
	return true
}

func (q *request) readContainer(a *account, c *container) {
	opts, ok := q.listOptions()
	if !ok {
		return
	}
	c.expire(q.now)
	h := q.w.Header()
	c.mu.RLock()
	for k, v := range c.meta {
		if q.owner || !ownerOnly(k) {
			h[k] = []string{v}
		}
	}
	h["X-Container-Object-Count"] = []string{strconv.FormatInt(c.count, 10)}
	bytes := c.bytes
	h["Last-Modified"] = []string{c.modified.lastModified()}
	c.mu.RUnlock()
	h["X-Container-Bytes-Used"] = []string{strconv.FormatInt(bytes+a.hiddenBytes(c), 10)}
	if v := c.mode.Load(); v != nil {
		v.writeHeaders(h)
	}
	h["X-Timestamp"] = []string{c.created.header()}
	h["Accept-Ranges"] = []string{"bytes"}
	h["X-Storage-Policy"] = []string{c.policy}
	if q.r.Method == http.MethodHead {
		q.send(http.StatusNoContent, opts.format.mime(), "")
		return
	}
	if _, ok := q.q["versions"]; ok {
		q.listVersions(c, opts)
		return
	}
	c.settleLag()
	out := newListing(opts.format, "container", c.name)
	c.mu.RLock()
	c.page(opts, func(name string, o *object) {
		if o == nil {
			out.subdir(name)
			return
		}
		out.object(name, o, c, q.acct, q.rg.opts.Profile)
	})
	c.mu.RUnlock()
	q.sendListing(out)
}
