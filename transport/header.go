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

// Header holds the headers that a copy must keep, by canonical name. Values are the
// exact bytes the server gave. Of an object these are (S1) Content-Type,
// Content-Encoding, Content-Disposition, Content-Language, Cache-Control, Expires,
// X-Robots-Tag, X-Delete-At, every X-Object-Meta-*, and what makes it a DLO (S5) or
// a link (S6): X-Object-Manifest, X-Symlink-Target, -Target-Account, -Target-Etag.
type Header map[string]string

// The headers that make an object something else than its bytes.
const (
	ManifestHeader      = "X-Object-Manifest"        // DLO: "container/prefix", URL-encoded
	TargetHeader        = "X-Symlink-Target"         // "container/name", URL-encoded
	TargetAccountHeader = "X-Symlink-Target-Account" // "AUTH_x"; missing: the link's own account
	TargetETagHeader    = "X-Symlink-Target-Etag"    // of a static link
)

var kept = []string{"Content-Type", "Content-Encoding", "Content-Disposition", "Content-Language",
	"Cache-Control", "Expires", "X-Robots-Tag", "X-Delete-At", ManifestHeader, TargetHeader, TargetAccountHeader, TargetETagHeader}

// PolicyHeader is a container's storage policy, which only its creation can choose.
const PolicyHeader = "X-Storage-Policy"

var keptOfContainer = []string{"X-Container-Read", "X-Container-Write", "X-Versions-Enabled", "X-Versions-Location", "X-History-Location", PolicyHeader}

// Keeps reports whether a copy keeps the header of that canonical name.
func Keeps(name string) bool {
	return strings.HasPrefix(name, "X-Object-Meta-") && name != OriginHeader || slices.Contains(kept, name)
}

// KeepsContainer reports whether a copy of a container keeps the header of that
// canonical name: every X-Container-Meta-* (quota, CORS, static web included), the
// ACLs, versioning, the storage policy. Never X-Container-Sync-*: a replica does not
// replicate further.
func KeepsContainer(name string) bool {
	return strings.HasPrefix(name, "X-Container-Meta-") || slices.Contains(keptOfContainer, name)
}

// KeepsAccount reports whether a copy of an account keeps the header of that
// canonical name: every X-Account-Meta-*.
func KeepsAccount(name string) bool { return strings.HasPrefix(name, "X-Account-Meta-") }

// IsKey reports whether a header of a container or an account is a secret: a key
// that signs temporary URLs. Whoever copies it lets the URLs hold at the copy.
func IsKey(name string) bool {
	for _, of := range []string{"X-Container-Meta-", "X-Account-Meta-"} {
		if rest, ok := strings.CutPrefix(name, of); ok && (rest == "Temp-Url-Key" || rest == "Temp-Url-Key-2") {
			return true
		}
	}
	return false
}

// Digest is a short fingerprint of the headers, the stamp left out; equal
// digests mean equal headers for every practical purpose. How what points to an object
// is percent-encoded makes no difference: Swift keeps its client's spelling of
// X-Object-Manifest, and under another container's name there is none to keep.
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
		value := h[name]
		if name == ManifestHeader || name == TargetHeader {
			value = Unquote(value)
		}
		for _, s := range []string{name, value} {
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
