package fakecloud

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

func (q *request) serveObject() {
	if _, ok := q.r.Header["X-Static-Large-Object"]; ok && q.q["multipart-manifest"] != "put" &&
		q.r.Method != http.MethodGet && q.r.Method != http.MethodHead {
		q.failText(http.StatusBadRequest, "X-Static-Large-Object is a reserved header. To create a static large "+
			"object add query param multipart-manifest=put.")
		return
	}
	switch q.r.Method {
	case http.MethodGet, http.MethodHead:
		q.readObject()
	case http.MethodPut:
		if q.copying {
			q.copyObject(q.r.Header.Get("X-Copy-From"), q.r.Header.Get("X-Copy-From-Account"))
			return
		}
		q.putObject()
	case http.MethodPost:
		q.postObject()
	case http.MethodDelete:
		if q.q["multipart-manifest"] == "delete" {
			q.deleteManifest()
			return
		}
		q.deleteObject()
	case "COPY":
		q.copyTo()
	default:
		q.notAllowed()
	}
}

// place is the address of an object.
type place struct{ acct, cont, obj string }

func (p place) path() string { return quotePath("/v1/" + p.acct + "/" + p.cont + "/" + p.obj) }

// live returns the object at p, and its container; nil for what is not there.
func (q *request) live(p place) (*container, *object) {
	c := q.rg.account(p.acct).container(p.cont)
	if c == nil {
		return nil, nil
	}
	return c, c.live(p.obj, q.now)
}

// answer is what a GET would send: a status, headers and content.
type answer struct {
	code     int
	text     string // of an error, in text/plain; "" means the stock page
	ctype    string
	obj      *object
	location string // Content-Location: where links led
	version  string // X-Object-Version-Id
	etag     string // as GET shows it, without quotes
	match    string // what conditions compare with
	quoted   bool   // whether GET shows it in quotes, as for large objects
	dynamic  bool   // a DLO, which has rules of its own for ranges
	content  body
	extra    [][2]string // further headers
}

// open resolves an object for reading: links are followed, large objects
// become their content. The query decides what is asked for.
func (q *request) open(p place) answer {
	a := q.resolve(p)
	if a.code != 0 {
		return a
	}
	o := a.obj
	a.code, a.etag, a.match, a.ctype, a.content = http.StatusOK, o.etag, o.etag, o.ctype, o.body
	manifest := q.q["multipart-manifest"] == "get"
	if o.sloMark != "" && q.rg.opts.Profile == Swift && !manifest {
		a.match = o.sloMark
	}
	switch {
	case o.slo != nil && manifest:
		q.openManifest(&a)
	case o.slo != nil:
		a.match = o.slo.etag
		a.etag, a.quoted = o.slo.etag, q.rg.opts.Profile == Swift
		a.content = q.sloContent(p.acct, o.slo)
		a.extra = append(a.extra, [2]string{"X-Manifest-Etag", o.etag})
	case o.dlo != "" && !manifest:
		q.openDLO(p.acct, &a)
	}
	return a
}

// openManifest is the answer to multipart-manifest=get. The raw form is made of
// the reply's body, so what has none is an empty list (as in Swift).
func (q *request) openManifest(a *answer) {
	if q.q["format"] != "raw" {
		a.ctype = "application/json; charset=utf-8"
		return
	}
	raw := a.obj.slo.raw()
	if q.r.Method == http.MethodHead || conditional(q.r.Header, a.match, a.obj.stamp) != 0 {
		raw = []byte("[]")
	}
	a.content, a.etag = newMemBody(raw), md5Hex(raw)
}

// headers writes what the object itself carries.
func (o *object) writeHeaders(h http.Header) {
	for _, x := range o.headers {
		h[x.name] = append(h[x.name], x.value)
	}
	if o.slo != nil {
		h["X-Static-Large-Object"] = []string{"True"}
	}
	if o.dlo != "" {
		h["X-Object-Manifest"] = []string{o.dlo}
	}
	if o.deleteAt != 0 {
		h["X-Delete-At"] = []string{strconv.FormatInt(o.deleteAt, 10)}
	}
	h["Last-Modified"] = []string{o.stamp.lastModified()}
	h["X-Timestamp"] = []string{o.stamp.header()}
}

// whereabouts writes the headers that success and failure have in common.
func (a *answer) whereabouts(h http.Header) {
	if a.location != "" {
		h["Content-Location"] = []string{a.location}
	}
	if a.version != "" {
		h["X-Object-Version-Id"] = []string{a.version}
	}
	for _, x := range a.extra {
		h[x[0]] = []string{x[1]}
	}
}

func (q *request) readObject() {
	p := place{q.acct, q.cont, q.obj}
	if _, _, ok := q.versionAsked(p); ok {
		q.answerRead(q.open(p))
	}
}

// answerRead sends what a read found.
func (q *request) answerRead(a answer) {
	h := q.w.Header()
	a.whereabouts(h)
	if a.obj == nil || a.code != http.StatusOK {
		q.failAnswer(a)
		return
	}
	a.obj.writeHeaders(h)
	h["Accept-Ranges"] = []string{"bytes"}
	h["Content-Type"] = []string{a.ctype}
	h["Etag"] = []string{a.etag}
	if a.quoted {
		h["Etag"] = []string{`"` + a.etag + `"`}
	}
	// The headers of a DLO come from a read of the manifest object with the same
	// conditions, which its own ETag met or did not.
	refused := func(code int) {
		if code == http.StatusPreconditionFailed {
			delete(h, "Accept-Ranges")
		}
		if code != 0 && (a.obj.slo == nil || q.q["multipart-manifest"] != "get") {
			h["Content-Type"] = []string{"text/html; charset=UTF-8"}
		}
	}
	if a.dynamic && conditional(q.r.Header, a.obj.etag, a.obj.stamp) == http.StatusPreconditionFailed {
		refused(http.StatusPreconditionFailed)
	}
	if code := conditional(q.r.Header, a.match, a.obj.stamp); code != 0 {
		if !a.dynamic {
			refused(code)
		}
		q.unversioned()
		h["Content-Length"] = []string{"0"}
		q.w.WriteHeader(code)
		return
	}
	size := a.content.Len()
	ranges, ranged := parseRange(q.r.Header.Get("Range"), size)
	if a.dynamic {
		if len(ranges) == 0 && ranged {
			q.bare()
			h["Content-Range"] = []string{"bytes */" + strconv.FormatInt(size, 10)}
			h["Accept-Ranges"] = []string{"bytes"}
			q.fail(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		// Several ranges are ignored.
		ranged = len(ranges) == 1
	}
	if q.r.Method == http.MethodHead {
		h["Content-Length"] = []string{strconv.FormatInt(size, 10)}
		q.w.WriteHeader(http.StatusOK)
		return
	}
	switch {
	case ranged && len(ranges) == 0:
		q.unversioned()
		h["Content-Range"] = []string{"bytes */" + strconv.FormatInt(size, 10)}
		q.sendKeeping(http.StatusRequestedRangeNotSatisfiable, a.ctype)
	case !ranged:
		q.stream(http.StatusOK, a.content, byteRange{0, size})
	case len(ranges) > 1:
		first := a.content
		if j, ok := first.(joined); ok && j.firstErr(ranges[0].off) != nil {
			q.stream(http.StatusPartialContent, first, ranges[0])
			return
		}
		all, ctype := multipart(a, ranges)
		h["Content-Type"] = []string{ctype}
		q.stream(http.StatusPartialContent, all, byteRange{0, all.Len()})
	default:
		r := ranges[0]
		h["Content-Range"] = []string{fmt.Sprintf("bytes %d-%d/%d", r.off, r.off+r.n-1, size)}
		q.stream(http.StatusPartialContent, a.content, r)
	}
}

func (q *request) failAnswer(a answer) {
	if a.code == http.StatusNotFound && wants(q.r.Header.Get("If-Match"), "*") {
		q.done(http.StatusPreconditionFailed)
		return
	}
	if a.text != "" {
		q.failPlain(a.code, a.text)
		return
	}
	if a.code == http.StatusUnauthorized {
		q.challenge()
	}
	if a.ctype == "" {
		q.fail(a.code)
		return
	}
	q.sendKeeping(a.code, a.ctype)
}

// unversioned takes back the id of a version that was asked for and not sent.
func (q *request) unversioned() {
	if q.q["version-id"] != "" {
		delete(q.w.Header(), "X-Object-Version-Id")
	}
}

// bare takes back the headers of a reply that turns out another.
func (q *request) bare() {
	h := q.w.Header()
	for k := range h {
		if k != "Date" && k != "X-Trans-Id" && k != "X-Openstack-Request-Id" {
			delete(h, k)
		}
	}
}

// sendKeeping sends the stock page of code under the object's own type.
func (q *request) sendKeeping(code int, ctype string) {
	title, text := reason(code)
	q.send(code, ctype, "<html><h1>"+title+"</h1><p>"+text+"</p></html>")
}

// stream sends a part of the content. A segment that is missing ends the reply
// early if bytes were promised already, as in Swift; before, it is a 409.
func (q *request) stream(code int, content body, r byteRange) {
	h := q.w.Header()
	if j, ok := content.(joined); ok && j.firstErr(r.off) != nil {
		q.bare()
		q.fail(http.StatusConflict)
		return
	}
	h["Content-Length"] = []string{strconv.FormatInt(r.n, 10)}
	q.w.WriteHeader(code)
	if r.n == 0 {
		return
	}
	if err := content.writeTo(q.w, r.off, r.n); errors.Is(err, errSegment) {
		q.w.flush()
		q.w.sever(false)
	}
}
