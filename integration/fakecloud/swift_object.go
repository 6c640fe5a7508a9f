package fakecloud

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

func (q *request) serveObject() {
	switch q.r.Method {
	case http.MethodGet, http.MethodHead:
		q.readObject()
	case http.MethodPut:
		switch {
		case q.q["multipart-manifest"] == "put":
			q.putManifest()
		case q.copying:
			q.copyObject(q.r.Header.Get("X-Copy-From"), q.r.Header.Get("X-Copy-From-Account"))
		default:
			q.putObject()
		}
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

// answer is what a GET would send: a status, headers and content.
type answer struct {
	code    int
	text    string // of an error, in text/plain; "" means the stock page
	obj     *object
	etag    string // as GET shows it, without quotes
	match   string // what conditions compare with
	quoted  bool   // whether GET shows it in quotes, as for large objects
	ctype   string
	content body
	extra   [][2]string // further headers
}

// open resolves an object for reading: links are followed, large objects
// become their content. manifest asks for the manifest itself.
func (q *request) open(acct, cont, obj string) answer {
	a := q.follow(acct, cont, obj)
	if a.code != 0 {
		return a
	}
	o := a.obj
	a.code, a.etag, a.match, a.ctype, a.content = http.StatusOK, o.etag, o.etag, o.ctype, o.body
	if o.sloMark != "" && q.rg.opts.Profile == Swift && q.q["multipart-manifest"] != "get" {
		a.match = o.sloMark
	}
	switch {
	case o.slo != nil && q.q["multipart-manifest"] == "get":
		if q.q["format"] == "raw" {
			raw := o.slo.raw()
			a.content, a.etag = newMemBody(raw), md5Hex(raw)
		} else {
			a.ctype = "application/json; charset=utf-8"
		}
	case o.slo != nil:
		a.match = o.slo.etag
		a.etag, a.quoted = o.slo.etag, q.rg.opts.Profile == Swift
		a.content = q.sloContent(acct, o.slo)
		a.extra = append(a.extra, [2]string{"X-Manifest-Etag", o.etag})
	case o.dlo != "" && q.q["multipart-manifest"] != "get":
		q.openDLO(acct, o, &a)
	}
	return a
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

func (q *request) readObject() {
	a := q.open(q.acct, q.cont, q.obj)
	h := q.w.Header()
	for _, x := range a.extra {
		h[x[0]] = []string{x[1]}
	}
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
	if code := conditional(q.r.Header, a.match, a.obj.stamp); code != 0 {
		if code == http.StatusPreconditionFailed {
			delete(h, "Accept-Ranges")
		}
		h["Content-Type"] = []string{"text/html; charset=UTF-8"}
		h["Content-Length"] = []string{"0"}
		q.w.WriteHeader(code)
		return
	}
	size := a.content.Len()
	if q.r.Method == http.MethodHead {
		h["Content-Length"] = []string{strconv.FormatInt(size, 10)}
		q.w.WriteHeader(http.StatusOK)
		return
	}
	ranges, ranged := parseRange(q.r.Header.Get("Range"), size)
	switch {
	case ranged && len(ranges) == 0:
		h["Content-Range"] = []string{"bytes */" + strconv.FormatInt(size, 10)}
		q.sendKeeping(http.StatusRequestedRangeNotSatisfiable, a.ctype)
	case len(ranges) > 1:
		q.sendRanges(a, ranges)
	case len(ranges) == 1:
		r := ranges[0]
		h["Content-Range"] = []string{fmt.Sprintf("bytes %d-%d/%d", r.off, r.off+r.n-1, size)}
		q.stream(http.StatusPartialContent, a.content, r)
	default:
		q.stream(http.StatusOK, a.content, byteRange{0, size})
	}
}

func (q *request) failAnswer(a answer) {
	if a.code == http.StatusNotFound && wants(q.r.Header.Get("If-Match"), "*") {
		a.code = http.StatusPreconditionFailed
	}
	if a.text != "" {
		q.failPlain(a.code, a.text)
		return
	}
	q.fail(a.code)
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
		for k := range h {
			if k != "Date" && k != "X-Trans-Id" && k != "X-Openstack-Request-Id" {
				delete(h, k)
			}
		}
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

// byteRange is a satisfiable range.
type byteRange struct{ off, n int64 }

// maxRanges is swob's limit; beyond it the header is ignored.
const maxRanges = 50

// parseRange reads a Range header as swob does: false when there is none or it
// makes no sense; otherwise those ranges that the content has.
func parseRange(s string, size int64) ([]byteRange, bool) {
	spec, ok := strings.CutPrefix(strings.TrimSpace(s), "bytes=")
	if !ok {
		return nil, false
	}
	var out []byteRange
	n := 0
	for part := range strings.SplitSeq(spec, ",") {
		if n++; n > maxRanges {
			return nil, false
		}
		first, last, dash := strings.Cut(strings.TrimSpace(part), "-")
		if !dash {
			return nil, false
		}
		lo, errLo := strconv.ParseInt(strings.TrimSpace(first), 10, 64)
		hi, errHi := strconv.ParseInt(strings.TrimSpace(last), 10, 64)
		switch {
		case first == "" && errHi == nil && hi >= 0:
			if hi == 0 {
				continue
			}
			if size == 0 {
				return nil, false // all of nothing: swob answers 200
			}
			hi = min(hi, size)
			out = append(out, byteRange{size - hi, hi})
		case errLo == nil && last == "":
			if lo < size {
				out = append(out, byteRange{lo, size - lo})
			}
		case errLo == nil && errHi == nil && lo <= hi:
			if lo < size {
				out = append(out, byteRange{lo, min(hi+1, size) - lo})
			}
		default:
			return nil, false
		}
	}
	return out, true
}

// sendRanges answers several ranges as multipart/byteranges.
func (q *request) sendRanges(a answer, ranges []byteRange) {
	boundary := md5Hex([]byte(q.w.Header().Get("X-Trans-Id")))
	heads := make([]string, len(ranges))
	total := int64(len(boundary) + 4)
	for i, r := range ranges {
		heads[i] = fmt.Sprintf("--%s\r\nContent-Type: %s\r\nContent-Range: bytes %d-%d/%d\r\n\r\n",
			boundary, a.ctype, r.off, r.off+r.n-1, a.content.Len())
		total += int64(len(heads[i])) + r.n + 2
	}
	h := q.w.Header()
	h["Content-Type"] = []string{"multipart/byteranges;boundary=" + boundary}
	h["Content-Length"] = []string{strconv.FormatInt(total, 10)}
	q.w.WriteHeader(http.StatusPartialContent)
	for i, r := range ranges {
		if _, err := io.WriteString(q.w, heads[i]); err != nil {
			return
		}
		if err := a.content.writeTo(q.w, r.off, r.n); err != nil {
			q.w.sever(false)
			return
		}
		if _, err := io.WriteString(q.w, "\r\n"); err != nil {
			return
		}
	}
	// The last write has nobody to tell of its failure.
	_, _ = io.WriteString(q.w, "--"+boundary+"--")
}

// wants says whether an If-Match style header names the ETag or *.
func wants(h, etag string) bool {
	for tag := range strings.SplitSeq(h, ",") {
		tag = strings.Trim(strings.TrimSpace(tag), `"`)
		if tag != "" && (tag == "*" || tag == etag) {
			return true
		}
	}
	return false
}

// conditional evaluates the conditions of a read: 0, 304 or 412.
func conditional(h http.Header, etag string, ts stamp) int {
	if v := h.Get("If-None-Match"); v != "" && wants(v, etag) {
		return http.StatusNotModified
	}
	if v := h.Get("If-Match"); v != "" && !wants(v, etag) {
		return http.StatusPreconditionFailed
	}
	// Last-Modified is whole seconds, rounded up; so is the comparison.
	modified := time.Unix((int64(ts)+stampsPerSecond-1)/stampsPerSecond, 0)
	if t, err := http.ParseTime(h.Get("If-Modified-Since")); err == nil && !modified.After(t) {
		return http.StatusNotModified
	}
	if t, err := http.ParseTime(h.Get("If-Unmodified-Since")); err == nil && modified.After(t) {
		return http.StatusPreconditionFailed
	}
	return 0
}
