package fakecloud

import (
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// format of a listing.
type format int

const (
	plain format = iota
	jsonFormat
	xmlFormat
)

func (f format) mime() string {
	switch f {
	case jsonFormat:
		return "application/json; charset=utf-8"
	case xmlFormat:
		return "application/xml; charset=utf-8"
	}
	return "text/plain; charset=utf-8"
}

// listOptions are the parameters of a listing. Both markers are exclusive (L1b).
type listOptions struct {
	format                         format
	limit                          int
	marker, end, prefix, delimiter string
	path                           string
	hasPath                        bool
	reverse                        bool
}

func (q *request) listOptions() (listOptions, bool) {
	o := listOptions{limit: maxListing, marker: q.q["marker"], end: q.q["end_marker"], prefix: q.q["prefix"],
		delimiter: q.q["delimiter"], reverse: isTrue(q.q["reverse"])}
	for _, k := range []string{"prefix", "delimiter", "marker", "end_marker", "path", "format", "limit"} {
		if !utf8.ValidString(q.q[k]) {
			q.failPlain(http.StatusBadRequest, strconv.Quote(k)+" parameter not valid UTF-8")
			return o, false
		}
	}
	if q.rg.opts.Profile == RGW && strings.Contains(o.marker+o.end, "\x00") {
		// Ceph keeps omap keys as C strings in places; it answers 400.
		q.fail(http.StatusBadRequest)
		return o, false
	}
	if v, ok := q.q["path"]; ok && q.cont != "" {
		o.hasPath, o.delimiter = true, "/"
		if o.path = strings.TrimRight(v, "/"); v != "" {
			o.path += "/"
		}
		o.prefix = o.path
	}
	// A limit that is no number is ignored; one above the maximum is not (412).
	if n, err := strconv.ParseUint(q.q["limit"], 10, 31); err == nil {
		if n > maxListing {
			q.failText(http.StatusPreconditionFailed, "Maximum limit is "+strconv.Itoa(maxListing))
			return o, false
		}
		o.limit = int(n)
	}
	o.format = chosenFormat(q.q["format"], q.r.Header.Get("Accept"))
	if _, ok := q.q["format"]; !ok {
		q.w.Header()["Vary"] = []string{"Accept"}
	}
	return o, true
}

func chosenFormat(param, accept string) format {
	switch strings.ToLower(param) {
	case "json":
		return jsonFormat
	case "xml":
		return xmlFormat
	case "":
	default:
		return plain
	}
	for part := range strings.SplitSeq(accept, ",") {
		switch mime, _, _ := strings.Cut(strings.TrimSpace(part), ";"); mime {
		case "text/plain", "text/*", "*/*":
			return plain
		case "application/json":
			return jsonFormat
		case "application/xml", "text/xml":
			return xmlFormat
		}
	}
	return plain
}

// admits says whether a name lies between the markers and has the prefix.
func (o *listOptions) admits(name string) bool {
	lo, hi := o.marker, o.end
	if o.reverse {
		lo, hi = hi, lo
	}
	return (lo == "" || name > lo) && (hi == "" || name < hi) && strings.HasPrefix(name, o.prefix)
}

// subdir returns the name up to the first delimiter after the prefix.
func (o *listOptions) subdir(name string) (string, bool) {
	if o.delimiter == "" {
		return "", false
	}
	i := strings.Index(name[len(o.prefix):], o.delimiter)
	if i < 0 {
		return "", false
	}
	return name[:len(o.prefix)+i+len(o.delimiter)], true
}

// span is a range of names: from <= name < to; an empty to means the end.
type span struct{ from, to string }

// after is the first name that follows every name with this prefix.
func after(prefix string) string {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < 0xff {
			b[i]++
			return string(b[:i+1])
		}
	}
	return ""
}

// span narrows a listing to what markers and prefix allow.
func (o *listOptions) span() span {
	lo, hi := o.marker, o.end
	if o.reverse {
		lo, hi = hi, lo
	}
	s := span{to: hi}
	if lo != "" {
		s.from = lo + "\x00" // exclusive: nothing lies between
	}
	if o.prefix != "" {
		s.from = max(s.from, o.prefix)
		if end := after(o.prefix); end != "" && (s.to == "" || end < s.to) {
			s.to = end
		}
	}
	return s
}

// page calls emit for each row of a listing, with a nil object for a subdir;
// c.mu is held.
func (c *container) page(o listOptions, emit func(name string, obj *object)) {
	s := o.span()
	given := o.marker
	if o.reverse {
		given = o.end
	}
	for rows := 0; rows < o.limit; {
		if s.to != "" && s.from >= s.to {
			return
		}
		skip := ""
		walk(c.base, c.listedIndex(), s, o.reverse, func(name string, obj func() *object) bool {
			dir, below := o.subdir(name)
			if o.hasPath && (name == o.path || below && len(name) > len(dir)) {
				if below {
					skip = dir
				}
				return !below
			}
			if below && !o.hasPath {
				if dir != given {
					emit(dir, nil)
					rows++
				}
				skip = dir
				return false
			}
			emit(name, obj())
			rows++
			return rows < o.limit
		})
		switch {
		case skip == "":
			return
		case o.reverse:
			s.to = skip // the names below it are done; the bare name comes next
		default:
			if s.from = after(skip); s.from == "" {
				return
			}
		}
	}
}

// walk merges a synthetic base (may be nil) and its overlay in name order.
func walk(base *synthetic, over *index, s span, back bool, yield func(string, func() *object) bool) {
	start := s.from
	if back {
		start = s.to
	}
	cur := over.seek(start, back)
	lo, hi := 0, 0 // base indices left: [lo, hi)
	if base != nil {
		lo, hi = base.lower(s.from), base.Count
		if s.to != "" {
			hi = base.lower(s.to)
		}
	}
	for {
		e, ok := cur.peek()
		if ok && (!back && s.to != "" && e.name >= s.to || back && e.name < s.from) {
			ok = false
		}
		bi, bname := -1, ""
		if lo < hi {
			bi = lo
			if back {
				bi = hi - 1
			}
			bname = base.name(bi)
		}
		if !ok && bi < 0 {
			return
		}
		useBase := bi >= 0 && (!ok || !back && bname < e.name || back && bname > e.name)
		if useBase || ok && bi >= 0 && bname == e.name {
			if back {
				hi--
			} else {
				lo++
			}
		}
		if useBase {
			if !yield(bname, func() *object { return base.object(bi) }) {
				return
			}
			continue
		}
		cur.advance()
		if e.obj == nil {
			continue
		}
		if !yield(e.name, func() *object { return e.obj }) {
			return
		}
	}
}

// accountRow is a row of an account listing.
type accountRow struct {
	name         string
	dir          bool
	count, bytes int64
	modified     stamp
}
