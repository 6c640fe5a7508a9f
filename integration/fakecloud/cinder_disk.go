package fakecloud

import (
	"bytes"
	"maps"
)

// diskPage is the unit in which disks hold bytes and share them. A power of two
// that is a multiple of Cinder's compare block (C4).
const diskPage = 64 << 10

// zeroPage is never written to.
var zeroPage [diskPage]byte

// era tells which pages a disk may write to in place: those of its own era.
// Cloning begins a new one on both sides. It has a size, so that two differ.
type era struct{ _ byte }

type diskBlock struct {
	era *era
	p   []byte
}

// disk is a sparse volume in memory; clones share what neither has written
// since. cinder.mu guards it.
type disk struct {
	size  int64
	era   *era
	pages map[int64]diskBlock
}

func newDisk(size int64) *disk {
	return &disk{size: size, era: new(era), pages: map[int64]diskBlock{}}
}

// clone is a disk of at least that size with the same bytes.
func (d *disk) clone(size int64) *disk {
	d.era = new(era)
	return &disk{size: max(size, d.size), era: new(era), pages: maps.Clone(d.pages)}
}

// readAt fills p; what lies past the end reads as zeros.
func (d *disk) readAt(p []byte, off int64) {
	for len(p) > 0 {
		n, at := off/diskPage, off%diskPage
		src := zeroPage[at:]
		if b, ok := d.pages[n]; ok {
			src = b.p[at:]
		}
		k := copy(p, src)
		p, off = p[k:], off+int64(k)
	}
}

// writeAt stores p. Pages that become all zero cost nothing.
func (d *disk) writeAt(p []byte, off int64) {
	for len(p) > 0 {
		n, at := off/diskPage, off%diskPage
		k := min(int64(len(p)), diskPage-at)
		d.writePage(n, at, p[:k])
		p, off = p[k:], off+k
	}
	d.size = max(d.size, off)
}

func (d *disk) writePage(n, at int64, p []byte) {
	b, ok := d.pages[n]
	zero := bytes.Equal(p, zeroPage[:len(p)])
	if !ok && zero {
		return
	}
	if zero && len(p) == diskPage {
		delete(d.pages, n)
		return
	}
	if !ok {
		b = diskBlock{p: make([]byte, diskPage)}
	} else if b.era != d.era {
		b.p = bytes.Clone(b.p)
	}
	b.era = d.era
	copy(b.p[at:], p)
	if zero && bytes.Equal(b.p, zeroPage[:]) {
		delete(d.pages, n)
		return
	}
	d.pages[n] = b
}

// blank says that n bytes from off are zeros without a look at them; a false
// answer says nothing.
func (d *disk) blank(off, n int64) bool {
	if first, last := off/diskPage, (off+n-1)/diskPage; last-first < int64(len(d.pages)) {
		for i := first; i <= last; i++ {
			if _, ok := d.pages[i]; ok {
				return false
			}
		}
		return true
	}
	for i := range d.pages {
		if i >= off/diskPage && i <= (off+n-1)/diskPage {
			return false
		}
	}
	return true
}
