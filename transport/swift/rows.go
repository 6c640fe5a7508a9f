package swift

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"farshore/transport"
)

// row is one element of a JSON listing of an account or a container.
type row struct {
	name, hash, contentType string
	sloETag, s3ETag         string
	link                    transport.Target // where it has a symlink_path
	version                 bool             // the link is Swift's own, to the object's version (object_versioning)
	id                      string           // version_id, in a listing of versions
	latest                  bool             // is_latest, likewise
	modified                time.Time
	bytes, count            int64
}

// entry gives the row its meaning (R3, S6): an SLO's identity is its slo_etag,
// because the hash is that of its manifest (L1b).
func (w *row) entry() transport.Entry {
	hash, slo, s3 := cleanETag(w.hash)
	if w.sloETag != "" {
		slo = unquote(w.sloETag)
	}
	if w.s3ETag != "" {
		s3 = unquote(w.s3ETag)
	}
	e := transport.Entry{Name: w.name, Size: w.bytes, ETag: hash, Modified: w.modified, ContentType: w.contentType, Kind: transport.Plain, S3ETag: s3}
	switch {
	case w.link.Path != "" && !w.version:
		e.Kind, e.Target = transport.Symlink, w.link
	case slo != "":
		e.Kind, e.ETag = transport.SLO, slo
	}
	return e
}

// rowError is a listing that is no listing.
type rowError struct{ text string }

func (e *rowError) Error() string { return e.text }

// rowReader reads a listing row by row in the memory of one row. Listings are what
// an unchanged pass consists of, and encoding/json would take more of a core than
// everything else in it; it would also put U+FFFD for bytes of a name that are not
// UTF-8, where this keeps them.
type rowReader struct {
	in    *bufio.Reader
	text  []byte            // the string being read
	types map[string]string // content types seen: a listing has few
}

// decodeRows calls each with every row of a page; the row is each's only during
// the call. Rows that are a subdir are left out. The error is a *rowError where
// the listing makes no sense, else the reader's; an early end is io.ErrUnexpectedEOF.
func decodeRows(r io.Reader, each func(*row) error) error {
	d := rowReader{in: bufio.NewReaderSize(r, 64<<10), types: map[string]string{}}
	if err := d.expect('['); err != nil {
		return early(err)
	}
	var w row
	for first := true; ; first = false {
		c, err := d.next()
		switch {
		case err != nil:
			return early(err)
		case c == ']':
			return nil
		case !first && c == ',':
			if c, err = d.next(); err != nil {
				return early(err)
			}
		case !first:
			return d.wrong("%q between rows", c)
		}
		if c != '{' {
			return d.wrong("a row that starts with %q", c)
		}
		w = row{}
		subdir, err := d.row(&w)
		switch {
		case err != nil:
			return early(err)
		case w.name == "" && subdir:
			continue
		case w.name == "":
			return d.wrong("a row without a name")
		}
		if err := each(&w); err != nil {
			return err
		}
	}
}

func early(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (d *rowReader) wrong(format string, args ...any) error {
	return &rowError{"no listing: " + fmt.Sprintf(format, args...)}
}

// next is the next byte that is no blank.
func (d *rowReader) next() (byte, error) {
	for {
		c, err := d.in.ReadByte()
		if err != nil || c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return c, err
		}
	}
}

func (d *rowReader) expect(want byte) error {
	c, err := d.next()
	if err == nil && c != want {
		err = d.wrong("%q instead of %q", c, want)
	}
	return err
}

// row reads what follows a row's opening brace.
func (d *rowReader) row(w *row) (subdir bool, err error) {
	for {
		if err := d.expect('"'); err != nil {
			return false, err
		}
		if err := d.string(); err != nil {
			return false, err
		}
		field := fieldOf(d.text)
		if err := d.expect(':'); err != nil {
			return false, err
		}
		if err := d.value(w, field); err != nil {
			return false, err
		}
		subdir = subdir || field == subdirField
		switch c, err := d.next(); {
		case err != nil:
			return false, err
		case c == '}':
			return subdir, nil
		case c != ',':
			return false, d.wrong("%q between fields", c)
		}
	}
}

type field int

const (
	otherField field = iota
	nameField
	hashField
	typeField
	modifiedField
	sloField
	s3Field
	linkField
	linkETagField
	linkBytesField
	subdirField
	versionField
	idField
	latestField
	bytesField
	countField
)

func fieldOf(key []byte) field {
	switch string(key) {
	case "name":
		return nameField
	case "hash":
		return hashField
	case "content_type":
		return typeField
	case "last_modified":
		return modifiedField
	case "slo_etag":
		return sloField
	case "s3_etag":
		return s3Field
	case "symlink_path":
		return linkField
	case "symlink_etag":
		return linkETagField
	case "symlink_bytes":
		return linkBytesField
	case "version_id":
		return idField
	case "is_latest":
		return latestField
	case "version_symlink":
		return versionField
	case "subdir":
		return subdirField
	case "bytes":
		return bytesField
	case "count":
		return countField
	}
	return otherField
}

// value reads a field's value into the row.
func (d *rowReader) value(w *row, f field) error {
	c, err := d.next()
	if err != nil {
		return err
	}
	if c != '"' {
		if f == bytesField || f == countField || f == linkBytesField {
			n, err := d.number(c)
			switch f {
			case bytesField:
				w.bytes = n
			case countField:
				w.count = n
			default:
				w.link.Size = n
			}
			return err
		}
		w.version = w.version || f == versionField && c == 't'
		w.latest = w.latest || f == latestField && c == 't'
		return d.skip(c, 0)
	}
	if err := d.string(); err != nil {
		return err
	}
	switch f {
	case nameField:
		w.name = string(d.text)
	case hashField:
		w.hash = string(d.text)
	case sloField:
		w.sloETag = string(d.text)
	case s3Field:
		w.s3ETag = string(d.text)
	case linkField:
		w.link.Path = string(d.text)
	case linkETagField:
		w.link.ETag = unquote(string(d.text))
	case idField:
		w.id = string(d.text)
	case typeField:
		t, ok := d.types[string(d.text)]
		if !ok {
			t = string(d.text)
			if len(d.types) < 1000 {
				d.types[t] = t
			}
		}
		w.contentType = t
	case modifiedField:
		w.modified, err = parseListed(d.text)
	case bytesField, countField:
		return d.wrong("%q instead of a number", d.text)
	}
	return err
}

// string reads up to the closing quote into d.text, byte for byte but for escapes.
func (d *rowReader) string() error {
	d.text = d.text[:0]
	for {
		part, err := d.in.ReadSlice('"')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if d.text = append(d.text, part...); len(d.text) > 1<<20 {
			return d.wrong("a string of more than a MiB")
		}
		if err == nil {
			raw := d.text[:len(d.text)-1]
			if tail := len(raw) - len(bytes.TrimRight(raw, `\`)); tail%2 == 0 {
				d.text = raw
				break
			}
		}
	}
	if bytes.IndexByte(d.text, '\\') < 0 {
		return nil
	}
	return d.unescape()
}

// unescape undoes the escapes of d.text in place: none is shorter than what it stands for.
func (d *rowReader) unescape() error {
	b, out := d.text, 0
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '\\' {
			i++ // there is a next byte: else the quote would have been escaped
			switch c = b[i]; c {
			case '"', '\\', '/':
			case 'b':
				c = '\b'
			case 'f':
				c = '\f'
			case 'n':
				c = '\n'
			case 'r':
				c = '\r'
			case 't':
				c = '\t'
			case 'u':
				r, size := unquoteRune(b[i-1:])
				if size == 0 {
					return d.wrong("the escape %q", b[i-1:min(len(b), i+11)])
				}
				out += utf8.EncodeRune(b[out:], r)
				i += size - 2
				continue
			default:
				return d.wrong("the escape \\%c", c)
			}
		}
		b[out] = c
		out++
	}
	d.text = b[:out]
	return nil
}

// unquoteRune reads \uXXXX, or two of them that are one character; size is 0 if b
// does not start with that, or with half a character.
func unquoteRune(b []byte) (r rune, size int) {
	hex := func(at int) rune {
		if len(b) < at+6 || b[at] != '\\' || b[at+1] != 'u' {
			return -1
		}
		v, err := strconv.ParseUint(string(b[at+2:at+6]), 16, 16)
		if err != nil {
			return -1
		}
		return rune(v)
	}
	r = hex(0)
	switch {
	case r < 0:
		return 0, 0
	case !utf16.IsSurrogate(r):
		return r, 6
	}
	if r = utf16.DecodeRune(r, hex(6)); r == utf8.RuneError {
		return 0, 0
	}
	return r, 12
}

// number reads an integer that starts with c.
func (d *rowReader) number(c byte) (int64, error) {
	d.text = append(d.text[:0], c)
	for {
		c, err := d.in.ReadByte()
		if err != nil {
			return 0, err
		}
		if c == ',' || c == '}' || c == ' ' || c == '\n' || c == '\r' || c == '\t' {
			if err := d.in.UnreadByte(); err != nil {
				return 0, err
			}
			break
		}
		if d.text = append(d.text, c); len(d.text) > 30 {
			return 0, d.wrong("the number %q", d.text)
		}
	}
	if string(d.text) == "null" {
		return 0, nil
	}
	n, err := strconv.ParseInt(string(d.text), 10, 64)
	if err != nil {
		return 0, d.wrong("the number %q", d.text)
	}
	return n, nil
}

// skip passes over a value that starts with c.
func (d *rowReader) skip(c byte, depth int) error {
	switch {
	case depth > 20:
		return d.wrong("it is nested too deep")
	case c == '"':
		return d.string()
	case c == '[' || c == '{':
		for {
			c, err := d.next()
			if err != nil {
				return err
			}
			switch c {
			case ']', '}':
				return nil
			case ',', ':':
			default:
				if err := d.skip(c, depth+1); err != nil {
					return err
				}
			}
		}
	case c == 't' || c == 'f' || c == 'n' || c == '-' || c >= '0' && c <= '9':
		for {
			c, err := d.in.ReadByte()
			if err != nil {
				return err
			}
			if c == ',' || c == '}' || c == ']' || c == ' ' || c == '\n' || c == '\r' || c == '\t' {
				return d.in.UnreadByte()
			}
		}
	}
	return d.wrong("a value that starts with %q", c)
}

// parseListed reads last_modified: 2026-11-22T17:05:10.469640, UTC.
func parseListed(b []byte) (time.Time, error) {
	if len(b) == 26 && b[4] == '-' && b[7] == '-' && b[10] == 'T' && b[13] == ':' && b[16] == ':' && b[19] == '.' {
		ok := true
		num := func(from, to int) (n int) {
			for _, c := range b[from:to] {
				ok = ok && c >= '0' && c <= '9'
				n = n*10 + int(c-'0')
			}
			return n
		}
		y, mo, d, h, mi, s, us := num(0, 4), num(5, 7), num(8, 10), num(11, 13), num(14, 16), num(17, 19), num(20, 26)
		if ok && mo >= 1 && mo <= 12 && d >= 1 && d <= 31 && h < 24 && mi < 60 && s < 60 {
			return time.Date(y, time.Month(mo), d, h, mi, s, us*1000, time.UTC), nil
		}
	}
	for _, layout := range []string{"2006-01-02T15:04:05", time.RFC3339} { // fractions are read without being named
		if t, err := time.Parse(layout, string(b)); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, &rowError{fmt.Sprintf("no listing: last_modified %q", b)}
}
