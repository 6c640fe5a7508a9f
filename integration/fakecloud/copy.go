package fakecloud

import (
	"net/http"
	"strings"
)

// copyTo is the COPY method: the same as a PUT with X-Copy-From at the
// Destination.
func (q *request) copyTo() {
	dest := q.r.Header.Get("Destination")
	if dest == "" {
		q.failText(http.StatusPreconditionFailed, "Destination header required")
		return
	}
	acct, ok := q.accountHeader("Destination-Account", q.acct)
	if !ok {
		return
	}
	cont, obj, ok := splitPath(dest)
	if !ok {
		q.failText(http.StatusPreconditionFailed, "Destination header must be of the form <container name>/<object name>")
		return
	}
	from, fromAccount := quotePath("/"+q.cont+"/"+q.obj), quotePath(q.acct)
	q.acct, q.cont, q.obj = acct, cont, obj
	q.copyObject(from, fromAccount)
}

// copyObject is a server-side copy. What it copies is what a GET with the same
// headers would send, conditions and Range included; so If-None-Match: * is a
// 304 on an existing source, and a large object lands as a plain one (L1). The
// rest is a PUT of that.
func (q *request) copyObject(from, fromAccount string) {
	h := q.r.Header
	if q.r.ContentLength > 0 {
		q.failPlain(http.StatusBadRequest, "Copy requests require a zero byte body")
		return
	}
	src := place{acct: q.acct}
	if fromAccount != "" {
		h["X-Copy-From-Account"] = []string{fromAccount}
	}
	var ok bool
	if src.acct, ok = q.accountHeader("X-Copy-From-Account", q.acct); !ok {
		return
	}
	if src.cont, src.obj, ok = splitPath(from); !ok {
		q.failText(http.StatusPreconditionFailed, "X-Copy-From header must be of the form <container name>/<object name>")
		return
	}
	if code := q.authorize(src.acct, src.cont, src.obj, http.MethodGet); code != 0 {
		q.deny(code)
		return
	}
	asManifest := q.q["multipart-manifest"] == "get"
	if asManifest {
		q.q["format"] = "raw"
	}
	a, ok := q.openSource(src)
	if !ok {
		return
	}
	ctype, partial := a.ctype, false
	g := &given{content: a.content, mark: a.obj.sloMark}
	if ranges, ranged := parseRange(h.Get("Range"), a.content.Len()); ranged && !(a.dynamic && len(ranges) > 1) {
		partial = true
		if len(ranges) == 1 {
			g.content = join([]piece{{body: a.content, off: ranges[0].off, n: ranges[0].n}})
		} else {
			g.content, ctype = multipart(a, ranges)
		}
	}
	if g.content.Len() > maxFileSize {
		q.fail(http.StatusRequestEntityTooLarge)
		return
	}
	q.inherit(&a, ctype, asManifest)
	if !partial && a.obj.slo == nil && (a.obj.dlo == "" || asManifest) {
		// What is copied whole is checked against the source's own ETag.
		g.sum = a.etag
		h["Etag"] = []string{a.etag}
	}
	g.extra = q.copied(src, &a)
	if asManifest && a.obj.slo != nil {
		q.q["multipart-manifest"] = "put"
	} else {
		delete(q.q, "multipart-manifest")
	}
	delete(q.q, "version-id")
	delete(h, "X-Copy-From")
	delete(h, "X-Copy-From-Account")
	q.given = g
	q.putObject()
}

// openSource reads what is copied; false when it has answered with what a GET
// of it would: an error, or that a condition does not hold.
func (q *request) openSource(src place) (answer, bool) {
	if _, _, ok := q.versionAsked(src); !ok {
		return answer{}, false
	}
	a := q.open(src)
	if a.code != http.StatusOK {
		q.answerRead(a)
		return a, false
	}
	ranges, ranged := parseRange(q.r.Header.Get("Range"), a.content.Len())
	j, large := a.content.(joined)
	first := int64(0)
	if len(ranges) > 0 {
		first = ranges[0].off
	}
	if q.rg.opts.Profile == Swift && conditional(q.r.Header, a.match, a.obj.stamp) != 0 ||
		ranged && len(ranges) == 0 || large && j.firstErr(first) != nil {
		q.answerRead(a)
		return a, false
	}
	return a, true
}

// inherit adds to the request what the source has and the client did not say:
// everything, or with X-Fresh-Metadata the type only.
func (q *request) inherit(a *answer, ctype string, asManifest bool) {
	h := q.r.Header
	if h.Get("Content-Type") == "" {
		h["Content-Type"] = []string{ctype}
	}
	if asManifest && a.obj.dlo != "" {
		h["X-Object-Manifest"] = []string{a.obj.dlo}
	}
	if isTrue(h.Get("X-Fresh-Metadata")) {
		return
	}
	w := http.Header{}
	for _, x := range a.obj.headers {
		w[http.CanonicalHeaderKey(x.name)] = []string{x.value}
	}
	for _, x := range a.extra {
		if strings.HasPrefix(x[0], "X-Symlink-") {
			w[x[0]] = []string{x[1]}
		}
	}
	all := http.Header{}
	a.obj.writeHeaders(all)
	if at := all["X-Delete-At"]; at != nil && h["X-Delete-After"] == nil {
		w["X-Delete-At"] = at
	}
	for k, vs := range w {
		if h[k] == nil {
			h[k] = vs
		}
	}
}

// copied are the headers that the reply to a copy has more.
func (q *request) copied(src place, a *answer) [][2]string {
	out := [][2]string{{"X-Copied-From-Account", quotePath(src.acct)}, {"X-Copied-From", quotePath(src.cont + "/" + src.obj)},
		{"X-Copied-From-Last-Modified", a.obj.stamp.lastModified()}}
	if a.version != "" {
		out = append(out, [2]string{"X-Copied-From-Version-Id", a.version})
	}
	for k, vs := range q.r.Header {
		if strings.HasPrefix(k, "X-Object-Meta-") || k == "X-Delete-At" {
			out = append(out, [2]string{titled(k), vs[0]})
		}
	}
	return out
}
