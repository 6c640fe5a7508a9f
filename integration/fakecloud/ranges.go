package fakecloud

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

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

// multipart puts several ranges together as multipart/byteranges.
func multipart(a answer, ranges []byteRange) (body, string) {
	boundary := requestID()
	boundary = md5Hex([]byte(boundary))
	text := func(s string) piece { return piece{body: newMemBody([]byte(s)), n: int64(len(s))} }
	var pieces []piece
	for _, r := range ranges {
		pieces = append(pieces, text(fmt.Sprintf("--%s\r\nContent-Type: %s\r\nContent-Range: bytes %d-%d/%d\r\n\r\n",
			boundary, a.ctype, r.off, r.off+r.n-1, a.content.Len())), piece{body: a.content, off: r.off, n: r.n}, text("\r\n"))
	}
	return join(append(pieces, text("--"+boundary+"--"))), "multipart/byteranges;boundary=" + boundary
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
