package fakecloud

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// pair is a member of an object whose order is kept.
type pair struct {
	key   string
	value any
}

// pyJSON renders v as Python's json.dumps does: keys of a map sorted, those of a
// []pair as they come, everything beyond ASCII escaped. An indent of 0 is one
// line with spaces after commas and colons. Values: nil, bool, int, int64,
// string, []string, []any, map[string]string, map[string]any, []pair.
func pyJSON(v any, indent int) string {
	var b strings.Builder
	w := pyWriter{&b, indent}
	w.value(v, 0)
	return b.String()
}

type pyWriter struct {
	b      *strings.Builder
	indent int
}

func (w pyWriter) value(v any, depth int) {
	switch v := v.(type) {
	case nil:
		w.b.WriteString("null")
	case bool:
		w.b.WriteString(strconv.FormatBool(v))
	case string:
		w.text(v)
	case *string:
		if v == nil {
			w.b.WriteString("null")
			return
		}
		w.text(*v)
	case []string:
		w.list('[', ']', len(v), depth, func(i int) { w.text(v[i]) })
	case []any:
		w.list('[', ']', len(v), depth, func(i int) { w.value(v[i], depth+1) })
	case map[string]string:
		keys := slices.Sorted(maps.Keys(v))
		w.list('{', '}', len(v), depth, func(i int) { w.member(keys[i], v[keys[i]], depth) })
	case map[string]any:
		keys := slices.Sorted(maps.Keys(v))
		w.list('{', '}', len(v), depth, func(i int) { w.member(keys[i], v[keys[i]], depth) })
	case []pair:
		w.list('{', '}', len(v), depth, func(i int) { w.member(v[i].key, v[i].value, depth) })
	default:
		fmt.Fprint(w.b, v) // numbers
	}
}

func (w pyWriter) member(key string, v any, depth int) {
	w.text(key)
	w.b.WriteString(": ")
	w.value(v, depth+1)
}

func (w pyWriter) list(open, end byte, n, depth int, each func(int)) {
	w.b.WriteByte(open)
	for i := range n {
		switch {
		case w.indent == 0 && i > 0:
			w.b.WriteString(", ")
		case w.indent > 0 && i > 0:
			w.b.WriteByte(',')
		}
		w.newline(depth + 1)
		each(i)
	}
	if n > 0 {
		w.newline(depth)
	}
	w.b.WriteByte(end)
}

func (w pyWriter) newline(depth int) {
	if w.indent == 0 {
		return
	}
	w.b.WriteByte('\n')
	for range w.indent * depth {
		w.b.WriteByte(' ')
	}
}

func (w pyWriter) text(s string) {
	w.b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			w.b.WriteByte('\\')
			w.b.WriteRune(r)
		case r == '\n':
			w.b.WriteString(`\n`)
		case r == '\r':
			w.b.WriteString(`\r`)
		case r == '\t':
			w.b.WriteString(`\t`)
		case r == '\b':
			w.b.WriteString(`\b`)
		case r == '\f':
			w.b.WriteString(`\f`)
		case r >= ' ' && r < 0x7f:
			w.b.WriteRune(r)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(w.b, `\u%04x\u%04x`, hi, lo)
		default:
			fmt.Fprintf(w.b, `\u%04x`, r)
		}
	}
	w.b.WriteByte('"')
}
