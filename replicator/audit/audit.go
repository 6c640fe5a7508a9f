// Package audit judges replicas: what the ledger expects to stand at a
// destination, what a listing, a HEAD or the bytes themselves show instead, and
// which objects a sample takes. It is pure: no I/O and no clock; the engine
// fetches what is compared here.
package audit

import (
	"crypto/md5" //nolint:gosec // Swift's checksum
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"math"
	"strconv"
	"strings"
	"time"

	"farshore/store"
	"farshore/transport"
)

// Expected is what the ledger says stands at a destination.
type Expected struct {
	ETag    string   // the destination's own
	Size    int64    // bytes; -1: the ledger no longer knows
	MD5     string   // of the content, lower hex
	SHA256  [32]byte // of the content; zero: never read through
	Written int64    // µs; the destination's time of our write is at most 1 s earlier (L1b); 0: unknown
}

// Expect reads a replica's record.
func Expect(o *store.Object, r store.Replica) Expected {
	x := Expected{ETag: r.ETag, Size: -1, MD5: r.Version.ETag, Written: r.Written}
	if x.ETag == "" {
		x.ETag = r.Version.ETag
	}
	if r.Version.ETag == o.Version.ETag { // the record's size and digest are of its newest content
		x.Size, x.SHA256 = o.Size, o.SHA256
	}
	return x
}

// Segmented reports whether the copy stands as a static large object.
func (x Expected) Segmented() bool { return x.ETag != x.MD5 }

// Differs says what a listing or a HEAD shows otherwise than expected; "" when nothing.
func (x Expected) Differs(etag string, size int64) string {
	switch {
	case etag != x.ETag:
		return fmt.Sprintf("its ETag is %s, not %s", etag, x.ETag)
	case x.Size >= 0 && size != x.Size:
		return fmt.Sprintf("it has %d bytes, not %d", size, x.Size)
	}
	return ""
}

// Older reports whether an object of that time stood there before our write:
// it is none that somebody put there since.
func (x Expected) Older(modified time.Time) bool {
	return x.Written != 0 && modified.UnixMicro() <= x.Written-1e6
}

// Differ says how bytes that were read differ from those expected; "" when they do not.
// An MD5 of "" is not known.
func (x Expected) Differ(d *Digest) string {
	md5sum, sha := d.Sums()
	switch {
	case x.Size >= 0 && d.Size != x.Size:
		return fmt.Sprintf("%d bytes were read, not %d", d.Size, x.Size)
	case x.MD5 != "" && md5sum != x.MD5:
		return fmt.Sprintf("the bytes read have MD5 %s, not %s", md5sum, x.MD5)
	case x.SHA256 != [32]byte{} && sha != x.SHA256:
		return fmt.Sprintf("the bytes read have SHA-256 %x, not %x", sha, x.SHA256)
	}
	return ""
}

// Digest takes the sums of what is written to it.
type Digest struct {
	Size     int64
	md5, sha hash.Hash
}

// NewDigest starts one.
func NewDigest() *Digest { return &Digest{md5: md5.New(), sha: sha256.New()} } //nolint:gosec // Swift's checksum

// Write implements io.Writer and never fails.
func (d *Digest) Write(b []byte) (int, error) {
	d.md5.Write(b)
	d.sha.Write(b)
	d.Size += int64(len(b))
	return len(b), nil
}

// Sums gives the MD5, in lower hex, and the SHA-256 of what was written so far.
func (d *Digest) Sums() (md5sum string, sha [32]byte) {
	return hex.EncodeToString(d.md5.Sum(nil)), [32]byte(d.sha.Sum(nil))
}

// Equal reports whether two digests are of the same bytes.
func (d *Digest) Equal(o *Digest) bool {
	a, b := d.md5.Sum(nil), o.md5.Sum(nil)
	c, e := d.sha.Sum(nil), o.sha.Sum(nil)
	return d.Size == o.Size && string(a) == string(b) && string(c) == string(e)
}

// Position is the place of a name, 0 to 1, in an order that has nothing to do with that
// of the names: those in a part of it are a part of all that is as large.
func Position(name string) float64 {
	h := sha256.Sum256([]byte("position\x00" + name))
	return float64(binary.BigEndian.Uint64(h[:])>>11) / (1 << 53) // below 1: the bits fit
}

// Sampled reports whether a sample takes the object of that name: a uniform choice
// by seed and name, so that the same seed takes the same objects, at every
// destination, and audits with different seeds cover everything in time. share is
// 0 to 1.
func Sampled(seed int64, name string, share float64) bool {
	if share <= 0 || share >= 1 {
		return share >= 1
	}
	var s [8]byte
	binary.BigEndian.PutUint64(s[:], uint64(seed))
	h := sha256.New()
	h.Write(s[:])
	h.Write([]byte(name))
	return float64(binary.BigEndian.Uint64(h.Sum(nil))) < share*math.MaxUint64
}

// Origin is a stamp (R15): the source version an object was written from.
type Origin struct {
	Region  string
	Version store.Version
}

// ReadOrigin reads the stamp of an object; ok is false when it has none that makes sense.
func ReadOrigin(h transport.Header) (x Origin, ok bool) {
	rest, etag, ok1 := cutLast(h[transport.OriginHeader])
	region, micros, ok2 := cutLast(rest) // a region's name may have spaces
	n, err := strconv.ParseInt(micros, 10, 64)
	x = Origin{Region: region, Version: store.Version{ETag: etag, Modified: n}}
	return x, ok1 && ok2 && err == nil && n > 0 && len(etag) == 2*md5.Size
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, ' ')
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+1:], true
}
