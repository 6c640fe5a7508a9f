package fakecloud

import (
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// listing renders rows in one of the three formats, as Swift does byte for byte.
type listing struct {
	f    format
	kind string
	b    []byte
	rows int
}

func newListing(f format, kind, name string) *listing {
	l := &listing{f: f, kind: kind}
	switch f {
	case jsonFormat:
		l.b = append(l.b, '[')
	case xmlFormat:
		l.b = append(l.b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<"+kind+" name=\""...)
		l.b = append(xmlAttr(l.b, name), '"', '>')
		if kind == "account" {
			l.b = append(l.b, '\n')
		}
	}
	return l
}

func (l *listing) next() {
	if l.rows > 0 && l.f == jsonFormat {
		l.b = append(l.b, ", "...)
	}
	l.rows++
}

func (l *listing) line(name string) { l.b = append(append(l.b, name...), '\n') }

func (l *listing) subdir(name string) {
	l.next()
	switch l.f {
	case plain:
		l.line(name)
	case jsonFormat:
		l.b = append(jsonString(append(l.b, `{"subdir": `...), name), '}')
	case xmlFormat:
		l.b = append(xmlAttr(append(l.b, `<subdir name="`...), name), `"><name>`...)
		l.b = append(xmlText(l.b, name), `</name></subdir>`...)
		if l.kind == "account" {
			l.b = append(l.b, '\n')
		}
	}
}

func (l *listing) container(r accountRow, p Profile) {
	if r.dir {
		l.subdir(r.name)
		return
	}
	l.next()
	switch l.f {
	case plain:
		l.line(r.name)
	case jsonFormat:
		l.b = jsonString(append(l.b, `{"name": `...), r.name)
		l.b = strconv.AppendInt(append(l.b, `, "count": `...), r.count, 10)
		l.b = strconv.AppendInt(append(l.b, `, "bytes": `...), r.bytes, 10)
		l.b = append(append(append(l.b, `, "last_modified": "`...), r.modified.listed(p)...), `"}`...)
	case xmlFormat:
		l.b = append(xmlText(append(l.b, `<container><name>`...), r.name), `</name><count>`...)
		l.b = append(strconv.AppendInt(l.b, r.count, 10), `</count><bytes>`...)
		l.b = append(strconv.AppendInt(l.b, r.bytes, 10), `</bytes><last_modified>`...)
		l.b = append(append(l.b, r.modified.listed(p)...), "</last_modified></container>\n"...)
	}
}

// shown is what a listing tells of an object.
type shown struct {
	bytes       int64
	hash, ctype string
	sloETag     string
	link        *symlink
	version     bool // the link is to the current version
}

// shown gives the row for an object of c: that of a current version is about
// the version.
func (c *container) shown(o *object) shown {
	row := shown{bytes: o.listedSize(), hash: o.etag, ctype: listedType(o.ctype), link: o.link}
	if o.slo != nil {
		row.sloETag = o.slo.etag
	}
	if o.link != nil {
		row.sloETag = o.link.sloETag
		if c.linksOwn(o) {
			row.version, row.bytes, row.hash = true, o.link.bytes, o.link.etag
		}
	}
	return row
}

// listedType is a content type as the container's database has it: Swift takes
// it apart for a large object's size, and joins it without spaces.
func listedType(ctype string) string {
	kind, rest, ok := strings.Cut(ctype, ";")
	if !ok || rest == "swift_versions_deleted=1" {
		return ctype
	}
	for p := range strings.SplitSeq(rest, ";") {
		k, v, _ := strings.Cut(p, "=")
		if k = strings.TrimSpace(k); k != "" && k != "swift_bytes" {
			kind += ";" + k + "=" + strings.TrimSpace(v)
		}
	}
	return kind
}

func (l *listing) object(name string, o *object, c *container, acct string, p Profile) {
	l.next()
	if l.f == plain {
		l.line(name)
		return
	}
	row := c.shown(o)
	if p == RGW && o.slo != nil {
		row.hash = o.slo.etag // RGW lists the ETag that GET gives; Swift the manifest's MD5 (L1b)
	}
	if l.f == xmlFormat {
		l.b = append(xmlText(append(l.b, `<object><name>`...), name), `</name><hash>`...)
		l.b = append(append(l.b, row.hash...), `</hash><bytes>`...)
		l.b = append(strconv.AppendInt(l.b, row.bytes, 10), `</bytes><content_type>`...)
		l.b = append(xmlText(l.b, row.ctype), `</content_type><last_modified>`...)
		l.b = append(append(l.b, o.stamp.listed(p)...), `</last_modified></object>`...)
		return
	}
	l.json(name, &row, o, p)
	switch {
	case row.version:
		path := quotePath("/v1/"+acct+"/"+c.name+"/"+name) + "?version-id=" + o.link.version
		l.b = append(jsonString(append(l.b, `, "symlink_path": `...), path), `, "version_symlink": true`...)
	case row.link != nil:
		l.link(row.link, acct)
	}
	l.sloETag(row.sloETag, p)
	l.b = append(l.b, '}')
}

// json begins a row with what all rows have.
func (l *listing) json(name string, row *shown, o *object, p Profile) {
	l.b = strconv.AppendInt(append(l.b, `{"bytes": `...), row.bytes, 10)
	l.b = append(append(append(l.b, `, "hash": "`...), row.hash...), '"')
	l.b = jsonString(append(l.b, `, "name": `...), name)
	l.b = jsonString(append(l.b, `, "content_type": `...), row.ctype)
	l.b = append(append(append(l.b, `, "last_modified": "`...), o.stamp.listed(p)...), '"')
}

func (l *listing) link(s *symlink, acct string) {
	if s.etag != "" {
		l.b = append(append(append(l.b, `, "symlink_etag": "`...), s.etag...), '"')
		l.b = strconv.AppendInt(append(l.b, `, "symlink_bytes": `...), s.bytes, 10)
	}
	l.b = jsonString(append(l.b, `, "symlink_path": `...), s.path(acct))
}

func (l *listing) sloETag(etag string, p Profile) {
	if etag != "" && p == Swift {
		// The quotes are Swift's own.
		l.b = append(append(append(l.b, `, "slo_etag": "\"`...), etag...), `\""`...)
	}
}

// version is a row of a ?versions listing.
func (l *listing) version(v *versionRow, acct string, p Profile) {
	if v.obj == nil {
		l.subdir(v.name)
		return
	}
	l.next()
	row := v.at.shown(v.obj)
	l.json(v.name, &row, v.obj, p)
	if row.link != nil {
		l.link(row.link, acct)
	}
	latest := strconv.FormatBool(v.latest)
	if v.id == "null" {
		l.b = append(l.b, `, "version_id": "null", "is_latest": `+latest...)
	} else {
		l.b = append(l.b, `, "is_latest": `+latest+`, "version_id": "`+v.id+`"`...)
	}
	l.sloETag(row.sloETag, p)
	l.b = append(l.b, '}')
}

func (q *request) sendListing(l *listing) {
	code := http.StatusOK
	switch l.f {
	case jsonFormat:
		l.b = append(l.b, ']')
	case xmlFormat:
		if l.rows == 0 && l.kind == "container" {
			l.b = append(l.b[:len(l.b)-1], " />"...)
			break
		}
		l.b = append(l.b, "</"+l.kind+">"...)
	case plain:
		if l.rows == 0 {
			code = http.StatusNoContent
		}
	}
	h := q.w.Header()
	h["Content-Type"] = []string{l.f.mime()}
	h["Content-Length"] = []string{strconv.Itoa(len(l.b))}
	q.w.WriteHeader(code)
	if len(l.b) > 0 {
		// A client that stopped listening is no error of ours.
		_, _ = q.w.Write(l.b)
	}
}

const hexDigits = "0123456789abcdef"

// jsonString appends s quoted as Python's json.dumps does (ASCII only).
func jsonString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		ch := s[i]
		if ch >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			i += n
			if r > 0xffff {
				r -= 0x10000
				b = unicodeEscape(unicodeEscape(b, 0xd800+r>>10), 0xdc00+r&0x3ff)
			} else {
				b = unicodeEscape(b, r)
			}
			continue
		}
		i++
		switch {
		case ch == '"' || ch == '\\':
			b = append(b, '\\', ch)
		case ch == '\n':
			b = append(b, '\\', 'n')
		case ch == '\r':
			b = append(b, '\\', 'r')
		case ch == '\t':
			b = append(b, '\\', 't')
		case ch == '\b':
			b = append(b, '\\', 'b')
		case ch == '\f':
			b = append(b, '\\', 'f')
		case ch < 0x20:
			b = unicodeEscape(b, rune(ch))
		default:
			b = append(b, ch)
		}
	}
	return append(b, '"')
}

func unicodeEscape(b []byte, r rune) []byte {
	return append(b, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}

// xmlText and xmlAttr escape as Python's ElementTree does.
func xmlText(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '&':
			b = append(b, "&amp;"...)
		case '<':
			b = append(b, "&lt;"...)
		case '>':
			b = append(b, "&gt;"...)
		default:
			b = append(b, s[i])
		}
	}
	return b
}

func xmlAttr(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			b = append(b, "&quot;"...)
		case '\n':
			b = append(b, "&#10;"...)
		case '\r':
			b = append(b, "&#13;"...)
		case '\t':
			b = append(b, "&#09;"...)
		default:
			b = xmlText(b, s[i:i+1])
		}
	}
	return b
}
