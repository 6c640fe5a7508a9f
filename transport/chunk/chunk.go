// Package chunk cuts objects into extents and names the segments they become.
// It is pure: no I/O, no clock.
package chunk

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// MiB is 2^20 bytes.
const MiB = 1 << 20

// Layout says how an object of Size bytes is cut: every chunk has Chunk bytes but the last.
type Layout struct {
	Size  int64 // bytes of the whole
	Chunk int64 // bytes of a chunk
}

// Extent is one chunk of a layout.
type Extent struct {
	Index  int
	Offset int64
	Length int64
}

// Plan gives the layout for an object: chunks of want bytes, made larger by whole
// MiB where the manifest allows no more than maxSegments of them.
func Plan(size, want int64, maxSegments int) Layout {
	if maxSegments < 1 {
		maxSegments = 1
	}
	need := (size + int64(maxSegments) - 1) / int64(maxSegments)
	if need > want {
		want = (need + MiB - 1) / MiB * MiB
	}
	return Layout{Size: size, Chunk: want}
}

// Count is the number of chunks; 0 for an empty object.
func (l Layout) Count() int {
	if l.Chunk <= 0 {
		return 0
	}
	return int((l.Size + l.Chunk - 1) / l.Chunk)
}

// Extent gives chunk i.
func (l Layout) Extent(i int) Extent {
	off := int64(i) * l.Chunk
	return Extent{Index: i, Offset: off, Length: min(l.Chunk, l.Size-off)}
}

// ItemPrefix is the part of a segment prefix that all versions of one object
// share, so that one listing finds what older versions left.
func ItemPrefix(container, name string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d:%s%d:%s", len(container), container, len(name), name)
	return hex.EncodeToString(h.Sum(nil)[:16]) + "/"
}

// Prefix is the deterministic name under which an object version's segments lie
// (R12): hashes of destination container and name, and of version and layout, so
// that a retry overwrites itself and a restart finds what it sent.
func Prefix(container, name, etag string, modifiedMicros int64, l Layout) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d:%s%d %d %d", len(etag), etag, modifiedMicros, l.Size, l.Chunk)
	return ItemPrefix(container, name) + hex.EncodeToString(h.Sum(nil)[:16])
}

// SegmentName is the name of chunk i below a prefix.
func SegmentName(prefix string, i int) string { return fmt.Sprintf("%s/%08d", prefix, i) }

// ManifestName is the name of the hidden manifest below a prefix.
func ManifestName(prefix string) string { return prefix + "/manifest" }
