package fakecloud

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const (
	maxManifestSegments = 1000
	maxManifestSize     = 8 << 20
)

// swiftFails stands for input on which Swift 2.30 itself falls over with a 500
// (it formats bytes with str): entries that are no object or have no known key.
const swiftFails = "An error occurred"

// wanted is one entry of a manifest as the client sent it.
type wanted struct {
	path     string
	etag     string
	size     int64 // -1: not said
	hasRange bool
	rng      string
	isData   bool
	data     []byte
}

// parseManifest reads a manifest's JSON; problems are the lines of the 400.
func parseManifest(raw []byte, self string) (out []wanted, problems string) {
	var list []json.RawMessage
	var probe any
	if json.Unmarshal(raw, &probe) != nil {
		return nil, "Manifest must be valid JSON.\n"
	}
	if json.Unmarshal(raw, &list) != nil || probe == nil {
		return nil, "Manifest must be a list.\n"
	}
	var errs strings.Builder
	inline := 0
	for i, item := range list {
		w, msg := parseSegment(item, i == len(list)-1, self)
		if msg == swiftFails {
			return nil, swiftFails
		}
		if w.isData {
			inline++
		}
		if msg != "" {
			fmt.Fprintf(&errs, "Index %d: %s\n", i, msg)
			continue
		}
		out = append(out, w)
	}
	if len(list) > 0 && inline == len(list) {
		errs.WriteString("Inline data segments require at least one object-backed segment.\n")
	}
	return out, errs.String()
}

func parseSegment(raw json.RawMessage, last bool, self string) (wanted, string) {
	w := wanted{size: -1}
	var m map[string]any
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	if dec.Decode(&m) != nil || m == nil {
		return w, swiftFails
	}
	_, isPath := m["path"]
	_, isData := m["data"]
	w.isData = isData
	allowed := []string{"data"}
	switch {
	case isData:
	case isPath:
		allowed = []string{"path", "etag", "size_bytes", "range"}
	default:
		return w, swiftFails
	}
	var extra []string
	for k := range m {
		if !slices.Contains(allowed, k) {
			extra = append(extra, strconv.Quote(k))
		}
	}
	if extra != nil {
		slices.Sort(extra)
		return w, "extraneous keys " + strings.Join(extra, ", ")
	}
	if isData {
		s, ok := m["data"].(string)
		data, err := base64.StdEncoding.DecodeString(s)
		switch {
		case !ok || err != nil:
			return w, "data must be valid base64"
		case len(data) == 0:
			return w, "too small; each segment must be at least 1 byte."
		}
		w.data = data
		return w, ""
	}
	path, ok := m["path"].(string)
	if !ok {
		return w, `"path" must be a string`
	}
	w.path = path
	if e := m["etag"]; e != nil {
		if w.etag, ok = e.(string); !ok {
			return w, `"etag" must be a string or null (if provided)`
		}
	}
	if !strings.Contains(strings.Trim(path, "/"), "/") {
		return w, "path does not refer to an object. Path must be of the form /container/object."
	}
	if v := m["size_bytes"]; v != nil {
		n, err := strconv.ParseInt(fmt.Sprint(v), 10, 64)
		if err != nil {
			return w, "invalid size_bytes"
		}
		if n < 1 && !last {
			return w, "too small; each segment must be at least 1 byte."
		}
		w.size = n
	}
	if strings.TrimLeft(path, "/") == self {
		return w, "manifest must not include itself as a segment"
	}
	return w, w.parseRange(m["range"])
}

func (w *wanted) parseRange(v any) string {
	if v == nil || v == "" {
		return ""
	}
	w.rng = fmt.Sprint(v)
	if strings.Contains(w.rng, ",") {
		return "multiple ranges (only one allowed)"
	}
	size := w.size
	if size < 0 {
		size = maxFileSize // not said; satisfiable is checked against the segment
	}
	got, ok := parseRange("bytes="+w.rng, size)
	switch {
	case !ok:
		return "invalid range"
	case w.size >= 0 && len(got) == 0:
		return "unsatisfiable range"
	}
	w.hasRange = true
	return ""
}

// putManifest stores a static large object (S3, S4): every segment is looked at
// first, and the client's Etag is the large object's.
func (q *request) putManifest() {
	size := q.length()
	switch {
	case q.given == nil && size <= 0 && len(q.r.TransferEncoding) == 0 && q.r.Header["Content-Length"] == nil:
		q.fail(http.StatusLengthRequired)
		return
	case size > maxManifestSize:
		q.failText(http.StatusRequestEntityTooLarge, fmt.Sprintf("Manifest File > %d bytes", maxManifestSize))
		return
	}
	raw, ok := q.readManifest()
	if !ok {
		return
	}
	parsed, problems := parseManifest(raw, q.cont+"/"+q.obj)
	switch {
	case problems == swiftFails:
		q.failPlain(http.StatusInternalServerError, problems)
		return
	case strings.HasPrefix(problems, "Manifest must"):
		q.failText(http.StatusBadRequest, problems)
		return
	case problems != "":
		q.failPlain(http.StatusBadRequest, problems)
		return
	}
	objects := 0
	for i := range parsed {
		if !parsed[i].isData {
			objects++
		}
	}
	if objects > maxManifestSegments {
		q.failText(http.StatusRequestEntityTooLarge,
			fmt.Sprintf("Number of object-backed segments must be <= %d", maxManifestSegments))
		return
	}
	r := newReport(q)
	if isTrue(q.q["heartbeat"]) {
		r.beat()
	}
	m, ok := q.assemble(parsed, r)
	if !ok {
		return
	}
	stored := m.stored()
	g := &given{content: newMemBody(stored), sum: md5Hex(stored), slo: m, mark: m.etag}
	if q.given != nil {
		g.extra = q.given.extra
	}
	q.given = g
	delete(q.r.Header, "Etag")
	if !r.beating {
		q.putPart()
		return
	}
	// The status is out; the reply to the PUT becomes the report's body.
	q.held = &heldReply{}
	q.putPart()
	held := q.held
	q.held = nil
	if q.stored {
		r.etag, r.modified = q.w.Header().Get("Etag"), q.now.lastModified()
	}
	r.finishWith(held.code, held.body)
}

func (q *request) readManifest() ([]byte, bool) {
	if q.given != nil {
		raw := collector{}
		// Memory takes every write.
		_ = q.given.content.writeTo(&raw, 0, q.given.content.Len())
		return raw.p, true
	}
	raw, err := io.ReadAll(io.LimitReader(&q.body, maxManifestSize))
	if err != nil {
		q.fail(499)
	}
	return raw, err == nil
}

// assemble looks the segments up; false when it has answered what is wrong.
func (q *request) assemble(parsed []wanted, r *report) (*sloManifest, bool) {
	m := &sloManifest{}
	var marks strings.Builder
	for i := range parsed {
		s := q.checkSegment(&parsed[i], i == len(parsed)-1, r)
		m.segments = append(m.segments, s)
		m.size += s.length()
		marks.WriteString(s.mark())
	}
	if len(r.errors) > 0 {
		r.finish(http.StatusBadRequest)
		return nil, false
	}
	m.etag = md5Hex([]byte(marks.String()))
	if want := strings.Trim(q.r.Header.Get("Etag"), `" `); want != "" && want != m.etag {
		if r.beating {
			r.finish(http.StatusUnprocessableEntity)
		} else {
			q.fail(http.StatusUnprocessableEntity)
		}
		return nil, false
	}
	return m, true
}

// checkSegment looks a segment up and notes what is wrong with it.
func (q *request) checkSegment(w *wanted, last bool, r *report) segment {
	if w.data != nil {
		return segment{inline: w.data, data: base64.StdEncoding.EncodeToString(w.data)}
	}
	cont, obj, _ := strings.Cut(strings.TrimLeft(w.path, "/"), "/")
	code := q.authorize(q.acct, cont, obj, http.MethodHead)
	var a answer
	if code == 0 {
		sub := *q
		sub.q = nil // the query is the manifest's own
		a = sub.open(place{q.acct, cont, obj})
		if a.code != http.StatusOK {
			code = a.code
		}
	}
	if code != 0 {
		r.problem(quotePath(w.path), status(code))
		return segment{}
	}
	size := a.content.Len()
	ctype, _, _ := strings.Cut(a.obj.ctype, ";")
	s := segment{name: "/" + strings.TrimLeft(w.path, "/"), etag: a.etag, bytes: size, ctype: ctype,
		// The proxy learns it from a HEAD, in whole seconds.
		changed: (a.obj.stamp + stampsPerSecond - 1) / stampsPerSecond * stampsPerSecond, nested: a.obj.slo != nil}
	if w.hasRange {
		got, _ := parseRange("bytes="+w.rng, size)
		switch {
		case len(got) == 0:
			r.problem(quotePath(w.path), "Unsatisfiable Range")
		case got[0] != byteRange{0, size}:
			s.ranged, s.lo, s.hi = true, got[0].off, got[0].off+got[0].n-1
		}
	}
	if s.length() < 1 && !last {
		r.problem(quotePath(w.path), "Too small; each segment must be at least 1 byte.")
	}
	if w.size >= 0 && w.size != size {
		r.problem(quotePath(w.path), "Size Mismatch")
	}
	if w.etag != "" && w.etag != a.etag {
		r.problem(quotePath(w.path), "Etag Mismatch")
	}
	return s
}
