package backup

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// WriteTo writes the _metadata in Cinder's own form (C5): byte by byte what was read, if
// nothing was changed. An empty text that was not read is null. Fields that are not
// known here stay as they were read.
func (m *Metadata) WriteTo(w io.Writer) (int64, error) {
	fields, err := m.fields()
	if err != nil {
		return 0, fmt.Errorf("write _metadata: %w", err)
	}
	count := &counter{w: w}
	b := text{bufio.NewWriter(count)}
	b.put("{")
	for i, key := range slices.Sorted(maps.Keys(fields)) {
		if i > 0 {
			b.put(",")
		}
		b.put("\n  " + quote(key) + ": ")
		if key == "objects" {
			m.writeExtents(b)
		} else {
			b.put(string(fields[key]))
		}
	}
	b.put("\n}")
	if err := b.Flush(); err != nil {
		return count.n, fmt.Errorf("write _metadata: %w", err)
	}
	return count.n, nil
}

// fields gives the text of every field but the objects', which are written as they go.
func (m *Metadata) fields() (map[string][]byte, error) {
	out := map[string][]byte{"objects": nil}
	for key, raw := range m.raw {
		field, err := pretty(raw, "  ")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		out[key] = field
	}
	for key, now := range m.texts() {
		if was, err := nullable(m.raw[key]); err == nil && was == *now {
			continue // null stays null, and "" stays ""
		}
		out[key] = []byte("null")
		if *now != "" {
			out[key] = []byte(quote(*now))
		}
	}
	return out, nil
}

// text keeps the first error until Flush.
type text struct{ *bufio.Writer }

func (t text) put(s string) { _, _ = t.WriteString(s) }

func (m *Metadata) writeExtents(b text) {
	if len(m.Extents) == 0 {
		b.put("[]")
		return
	}
	b.put("[")
	var line []byte
	for i, e := range m.Extents {
		if i > 0 {
			b.put(",")
		}
		line = append(line[:0], "\n    {\n      "...)
		line = append(line, quote(e.Object(m.Prefix))...)
		line = append(line, ": {\n        \"compression\": \""...)
		line = append(line, e.Compression...)
		line = append(line, "\",\n        \"length\": "...)
		line = strconv.AppendInt(line, e.Length, 10)
		line = append(line, ",\n        \"md5\": \""...)
		line = hex.AppendEncode(line, e.MD5[:])
		line = append(line, "\",\n        \"offset\": "...)
		line = strconv.AppendInt(line, e.Offset, 10)
		line = append(line, "\n      }\n    }"...)
		b.put(string(line))
	}
	b.put("\n  ]")
}

// pretty gives a JSON value the form of Python's json.dumps(indent=2, sort_keys=True),
// which Cinder writes with; indent is what the line it stands on begins with.
func pretty(raw json.RawMessage, indent string) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return appendPretty(nil, v, indent), nil
}

func appendPretty(b []byte, v any, indent string) []byte {
	deeper := indent + "  "
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 {
			return append(b, "{}"...)
		}
		b = append(b, '{')
		for i, key := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(append(append(append(b, '\n'), deeper...), quote(key)...), ": "...)
			b = appendPretty(b, v[key], deeper)
		}
		return append(append(append(b, '\n'), indent...), '}')
	case []any:
		if len(v) == 0 {
			return append(b, "[]"...)
		}
		b = append(b, '[')
		for i, x := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendPretty(append(append(b, '\n'), deeper...), x, deeper)
		}
		return append(append(append(b, '\n'), indent...), ']')
	case string:
		return append(b, quote(v)...)
	case json.Number:
		return append(b, v...)
	case bool:
		return strconv.AppendBool(b, v)
	}
	return append(b, "null"...)
}

// quote is how Python's json.dumps puts a text: all beyond ASCII as \u, in UTF-16.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\b':
			b.WriteString(`\b`)
		case r == '\f':
			b.WriteString(`\f`)
		case r < ' ' || r > '~' && r != 0x7f && r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
