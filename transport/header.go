package transport

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
)

// OriginHeader is the stamp that Farshore adds to every object it writes: source
// region, timestamp and ETag. It serves the rebuilding of a lost ledger only (R15)
// and is never itself copied.
const OriginHeader = "X-Object-Meta-Farshore-Origin"

// Header holds the headers of an object that a copy must keep, by canonical
// name (S1): Content-Type, Content-Encoding, Content-Disposition,
// Content-Language, Cache-Control, Expires, X-Robots-Tag, X-Delete-At and every
// X-Object-Meta-*. Values are the exact bytes the server gave.
type Header map[string]string

var kept = []string{"Content-Type", "Content-Encoding", "Content-Disposition", "Content-Language",
	"Cache-Control", "Expires", "X-Robots-Tag", "X-Delete-At"}

// Keeps reports whether a copy keeps the header of that canonical name.
func Keeps(name string) bool {
	return strings.HasPrefix(name, "X-Object-Meta-") && name != OriginHeader || slices.Contains(kept, name)
}

// Digest is a short fingerprint of the headers, the stamp left out; equal
// digests mean equal headers for every practical purpose.
func (h Header) Digest() [8]byte {
	names := make([]string, 0, len(h))
	for n := range h {
		if n != OriginHeader {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	sum := sha256.New()
	var n [8]byte
	for _, name := range names {
		for _, s := range []string{name, h[name]} {
			binary.BigEndian.PutUint64(n[:], uint64(len(s)))
			sum.Write(n[:])
			sum.Write([]byte(s))
		}
	}
	return [8]byte(sum.Sum(nil)[:8])
}

// Clone returns a copy that may be changed.
func (h Header) Clone() Header {
	c := make(Header, len(h)+1)
	for k, v := range h {
		c[k] = v
	}
	return c
}
