package fakecloud

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
)

// sloManifest is a static large object's content.
type sloManifest struct {
	segments []segment
	etag     string // MD5 of the segments' ETags, ranged ones as etag:range;
	size     int64
}

// segment is one entry of a stored manifest.
type segment struct {
	name    string // /container/object; "" for inline data
	etag    string
	bytes   int64 // of the whole segment object
	ctype   string
	changed stamp
	lo, hi  int64 // inclusive range, when ranged
	ranged  bool
	nested  bool
	data    string // base64, as normalised
	inline  []byte
}

func (s *segment) length() int64 {
	switch {
	case s.inline != nil:
		return int64(len(s.inline))
	case s.ranged:
		return s.hi - s.lo + 1
	}
	return s.bytes
}

// mark is what a segment adds to the large object's ETag.
func (s *segment) mark() string {
	switch {
	case s.inline != nil:
		return md5Hex(s.inline)
	case s.ranged:
		return fmt.Sprintf("%s:%d-%d;", s.etag, s.lo, s.hi)
	}
	return s.etag
}

// stored renders the manifest as Swift keeps it, key order included: its MD5 is
// the hash that listings show.
func (m *sloManifest) stored() []byte {
	b := []byte{'['}
	for i, s := range m.segments {
		if i > 0 {
			b = append(b, ", "...)
		}
		if s.inline != nil {
			b = append(jsonString(append(b, `{"data": `...), s.data), '}')
			continue
		}
		b = jsonString(append(b, `{"name": `...), s.name)
		b = fmt.Appendf(b, `, "bytes": %d, "hash": "%s", "content_type": `, s.bytes, s.etag)
		b = jsonString(b, s.ctype)
		b = append(append(append(b, `, "last_modified": "`...), s.changed.listed(Swift)...), '"')
		if s.ranged {
			b = fmt.Appendf(b, `, "range": "%d-%d"`, s.lo, s.hi)
		}
		if s.nested {
			b = append(b, `, "sub_slo": true`...)
		}
		b = append(b, '}')
	}
	return append(b, ']')
}

// raw renders the manifest as it can be put again (S3).
func (m *sloManifest) raw() []byte {
	b := []byte{'['}
	for i, s := range m.segments {
		if i > 0 {
			b = append(b, ", "...)
		}
		if s.inline != nil {
			b = append(jsonString(append(b, `{"data": `...), s.data), '}')
			continue
		}
		b = fmt.Appendf(b, `{"etag": "%s", "path": `, s.etag)
		b = jsonString(b, s.name)
		if s.ranged {
			b = fmt.Appendf(b, `, "range": "%d-%d"`, s.lo, s.hi)
		}
		b = fmt.Appendf(b, `, "size_bytes": %d}`, s.bytes)
	}
	return append(b, ']')
}

// errSegment says that a segment is gone or not what the manifest knows.
var errSegment = errors.New("segment missing or changed")

// maxNesting is Swift's max_slo_recursion_depth.
const maxNesting = 10

// sloContent resolves the segments now; those that do not fit carry errSegment.
func (q *request) sloContent(acct string, m *sloManifest) joined {
	return join(q.pieces(acct, m, 0))
}

func (q *request) pieces(acct string, m *sloManifest, depth int) []piece {
	out := make([]piece, 0, len(m.segments))
	for i := range m.segments {
		s := &m.segments[i]
		n := s.length()
		if s.inline != nil {
			out = append(out, piece{body: newMemBody(s.inline), n: n})
			continue
		}
		content, err := q.segmentBody(acct, s, depth)
		out = append(out, piece{body: content, off: s.lo, n: n, err: err})
	}
	return out
}

// segmentBody finds a segment as it is now. Swift compares a nested manifest
// with nothing: what replaced it is read in its place.
func (q *request) segmentBody(acct string, s *segment, depth int) (body, error) {
	cont, obj, _ := strings.Cut(strings.TrimPrefix(s.name, "/"), "/")
	sub := *q
	sub.q = nil // the query is the manifest's own
	a := sub.follow(place{acct, cont, obj}, "", true)
	if a.code != 0 {
		return nil, errSegment
	}
	if code := q.authorize(acct, cont, obj, http.MethodGet); code != 0 {
		return nil, errSegment
	}
	o := a.obj
	if s.nested {
		if o.slo == nil || depth >= maxNesting {
			return nil, errSegment
		}
		return join(q.pieces(acct, o.slo, depth+1)), nil
	}
	if o.etag != s.etag || o.body.Len() != s.bytes {
		return nil, errSegment
	}
	return o.body, nil
}

// openDLO makes the concatenation of what the container's listing shows under
// the prefix, so a segment that a lagging listing hides is left out (S5).
func (q *request) openDLO(acct string, a *answer) {
	cont, prefix, ok := strings.Cut(lenientPath(a.obj.dlo), "/")
	if !ok {
		// A POST may set any value; Swift then fails to split it.
		*a = answer{code: http.StatusInternalServerError, text: swiftFails}
		return
	}
	c := q.rg.account(acct).container(cont)
	if code := q.authorize(acct, cont, "", http.MethodGet); code != 0 {
		*a = answer{code: code}
		return
	}
	if c == nil {
		*a = answer{code: http.StatusNotFound}
		return
	}
	c.expire(q.now)
	c.settleLag()
	type row struct {
		name string
		obj  *object
	}
	var rows []row
	c.mu.RLock()
	c.page(listOptions{prefix: prefix, limit: math.MaxInt}, func(name string, o *object) {
		rows = append(rows, row{name, o})
	})
	c.mu.RUnlock()
	var marks strings.Builder
	var pieces []piece
	sub := *q
	sub.q = nil
	for _, r := range rows {
		shown := c.shown(r.obj)
		p := piece{n: shown.bytes}
		marks.WriteString(shown.hash)
		if shown.sloETag != "" {
			// The listing's own way to carry both; nothing has taken it apart yet.
			marks.WriteString("; slo_etag=" + shown.sloETag)
		}
		// Whatever it was listed as, the segment is what lies there now.
		if found := sub.follow(place{acct, cont, r.name}, "", true); found.code != 0 ||
			q.authorize(acct, cont, r.name, http.MethodGet) != 0 {
			p.err = errSegment
		} else {
			p.body = found.obj.body
		}
		pieces = append(pieces, p)
	}
	a.content, a.etag, a.quoted = join(pieces), md5Hex([]byte(marks.String())), q.rg.opts.Profile == Swift
	a.match, a.dynamic = a.etag, true
}
