package fakecloud

import (
	"net/http"
	"strconv"
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

func (l *listing) object(name string, o *object, acct string, p Profile) {
	l.next()
	switch l.f {
	case plain:
		l.line(name)
	case jsonFormat:
		l.b = strconv.AppendInt(append(l.b, `{"bytes": `...), o.listedSize(), 10)
		l.b = append(append(append(l.b, `, "hash": "`...), o.listedHash(p)...), '"')
		l.b = jsonString(append(l.b, `, "name": `...), name)
		l.b = jsonString(append(l.b, `, "content_type": `...), o.ctype)
		l.b = append(append(append(l.b, `, "last_modified": "`...), o.stamp.listed(p)...), '"')
		l.extras(o, acct, p)
		l.b = append(l.b, '}')
	case xmlFormat:
		l.b = append(xmlText(append(l.b, `<object><name>`...), name), `</name><hash>`...)
		l.b = append(append(l.b, o.listedHash(p)...), `</hash><bytes>`...)
		l.b = append(strconv.AppendInt(l.b, o.listedSize(), 10), `</bytes><content_type>`...)
		l.b = append(xmlText(l.b, o.ctype), `</content_type><last_modified>`...)
		l.b = append(append(l.b, o.stamp.listed(p)...), `</last_modified></object>`...)
	}
}

// listedHash is the MD5 of an SLO's manifest in Swift (L1b); RGW lists the
// ETag that GET gives.
func (o *object) listedHash(p Profile) string {
	if p == RGW && o.slo != nil {
		return o.slo.etag
	}
	return o.etag
}

// extras are the keys that large objects and links have more.
func (l *listing) extras(o *object, acct string, p Profile) {
	sloETag := ""
	if o.slo != nil {
		sloETag = o.slo.etag
	}
	if o.link != nil {
		sloETag = o.link.sloETag
		if o.link.etag != "" {
			l.b = append(append(append(l.b, `, "symlink_etag": "`...), o.link.etag...), '"')
			l.b = strconv.AppendInt(append(l.b, `, "symlink_bytes": `...), o.link.bytes, 10)
		}
		if o.link.account != "" {
			acct = o.link.account
		}
		l.b = jsonString(append(l.b, `, "symlink_path": `...), "/v1/"+acct+"/"+o.link.target)
	}
	if sloETag != "" && p == Swift {
		// The quotes are Swift's own.
		l.b = append(append(append(l.b, `, "slo_etag": "\"`...), sloETag...), `\""`...)
	}
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
