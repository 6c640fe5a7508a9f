package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// bbolt trusts the pages of its file: a wrong count makes it ask for any amount of
// memory, a loop of pages overflows the stack, and neither can be caught. So the
// parts it reads at open are looked at before (inspect), and Check walks all pages
// (walkPages) before bbolt's own check may. The layout is bbolt's, format 2; all
// numbers are in the machine's byte order.
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	pageHeader   = 16
	elementSize  = 16 // of branch and leaf elements alike
	bucketHeader = 16

	flagBranch   = 1
	flagLeaf     = 2
	flagFreelist = 16

	leafBucket = 1

	// With two keys a page at the least, 2^64 pages lie within this depth.
	maxDepth = 64
)

var (
	errForeign = errors.New("not a farshore ledger")
	errDamaged = errors.New("damaged pages")
)

// header is one of the file's two meta pages.
type header struct {
	root, freelist, high, txid uint64
	err                        error
}

var native = binary.NativeEndian

// inspect checks the meta pages, the file's size and the list of free pages.
func inspect(f *os.File) error {
	size, heads, err := readHeaders(f)
	if err != nil {
		return err
	}
	h := newest(heads)
	if h == nil {
		return fmt.Errorf("%w: both header pages: %w", errDamaged, heads[0].err)
	}
	if h.high > uint64(size)/pageBytes { //nolint:gosec // sizes are not negative
		return fmt.Errorf("%w: the file is cut short: %d bytes, at least %d were written", errDamaged, size, h.high*pageBytes)
	}
	if h.root < 2 || h.root >= h.high {
		return fmt.Errorf("%w: root page %d of %d", errDamaged, h.root, h.high)
	}
	return inspectFree(f, h)
}

// readHeaders reads both meta pages; each has its own error.
func readHeaders(f *os.File) (size int64, heads [2]header, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, heads, err
	}
	if size = info.Size(); size == 0 {
		return 0, heads, fmt.Errorf("%w: the file is empty", errForeign)
	}
	buf := make([]byte, 2*pageBytes)
	n, err := f.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, heads, err
	}
	if n < pageHeader+64 || native.Uint32(buf[pageHeader:]) != boltMagic &&
		(n < pageBytes+pageHeader+64 || native.Uint32(buf[pageBytes+pageHeader:]) != boltMagic) {
		return 0, heads, errForeign
	}
	if n < len(buf) {
		return 0, heads, fmt.Errorf("%w: the file is cut short: %d bytes", errDamaged, n)
	}
	return size, [2]header{parseHeader(buf[pageHeader:]), parseHeader(buf[pageBytes+pageHeader:])}, nil
}

func parseHeader(b []byte) header {
	h := header{root: native.Uint64(b[16:]), freelist: native.Uint64(b[32:]), high: native.Uint64(b[40:]), txid: native.Uint64(b[48:])}
	sum := fnv.New64a()
	_, _ = sum.Write(b[:56])
	switch {
	case native.Uint32(b) != boltMagic, native.Uint32(b[4:]) != boltVersion:
		h.err = errors.New("magic number")
	case native.Uint64(b[56:]) != sum.Sum64():
		h.err = errors.New("checksum")
	case native.Uint32(b[8:]) != pageBytes:
		h.err = errors.New("page size")
	}
	return h
}

// newest is the header bbolt goes by.
func newest(heads [2]header) *header {
	var best *header
	for i := range heads {
		if h := &heads[i]; h.err == nil && (best == nil || h.txid > best.txid) {
			best = h
		}
	}
	return best
}

func inspectFree(f *os.File, h *header) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: list of free pages: %s", errDamaged, fmt.Sprintf(format, args...))
	}
	if h.freelist < 2 || h.freelist >= h.high {
		return bad("page %d of %d", h.freelist, h.high)
	}
	p, err := readPage(f, h.freelist, h.high)
	if err != nil {
		return bad("%v", err)
	}
	if p.flags != flagFreelist {
		return bad("page %d has type %d", p.id, p.flags)
	}
	ids, n := p.data[pageHeader:], uint64(p.count)
	if n == 0xFFFF {
		n, ids = native.Uint64(ids), ids[8:]
	}
	if n > uint64(len(ids))/8 {
		return bad("%d pages in %d bytes", n, len(ids))
	}
	last := uint64(1)
	for i := range n {
		id := native.Uint64(ids[8*i:])
		if id <= last || id >= h.high {
			return bad("page %d after page %d, of %d", id, last, h.high)
		}
		last = id
	}
	return nil
}

// page is one page with its overflow, as it lies in the file.
type page struct {
	id    uint64
	flags uint16
	count int
	over  uint64
	data  []byte
}

func readPage(f *os.File, id, high uint64) (page, error) {
	buf := make([]byte, pageBytes)
	if _, err := f.ReadAt(buf, int64(id)*pageBytes); err != nil { //nolint:gosec // below high, which the file's size bounds
		return page{}, fmt.Errorf("page %d: %w", id, err)
	}
	p := page{id: id, flags: native.Uint16(buf[8:]), count: int(native.Uint16(buf[10:])), over: uint64(native.Uint32(buf[12:])), data: buf}
	if got := native.Uint64(buf); got != id {
		return p, fmt.Errorf("page %d says that it is page %d", id, got)
	}
	if id+p.over >= high {
		return p, fmt.Errorf("page %d goes on for %d pages, beyond the end", id, p.over)
	}
	if p.over > 0 {
		p.data = make([]byte, (p.over+1)*pageBytes)
		if _, err := f.ReadAt(p.data, int64(id)*pageBytes); err != nil { //nolint:gosec // as above
			return p, fmt.Errorf("page %d: %w", id, err)
		}
	}
	return p, nil
}

// walker follows every page from the root and makes sure that bbolt can.
type walker struct {
	f    *os.File
	high uint64
	seen []uint64 // a bit a page
	bad  func(page uint64, detail string) error
	tick func() error
}

// walkPages reports pages bbolt would trip over. bad and tick end it by an error.
func walkPages(f *os.File, tick func() error, bad func(page uint64, detail string) error) error {
	_, heads, err := readHeaders(f)
	if err != nil {
		return err
	}
	for i, h := range heads {
		if h.err != nil {
			if err := bad(uint64(i), "header page: "+h.err.Error()); err != nil { //nolint:gosec // 0 or 1
				return err
			}
		}
	}
	h := newest(heads)
	if h == nil {
		return nil
	}
	w := &walker{f: f, high: h.high, seen: make([]uint64, h.high/64+1), bad: bad, tick: tick}
	return w.page(h.root, 0)
}

func (w *walker) page(id uint64, depth int) error {
	if err := w.tick(); err != nil {
		return err
	}
	switch {
	case id < 2 || id >= w.high:
		return w.bad(id, "page number out of range")
	case depth > maxDepth:
		return w.bad(id, "pages nested too deeply")
	}
	p, err := readPage(w.f, id, w.high)
	if err != nil {
		return w.bad(id, err.Error())
	}
	for i := id; i <= id+p.over; i++ {
		if w.seen[i/64]&(1<<(i%64)) != 0 {
			return w.bad(i, "in use twice")
		}
		w.seen[i/64] |= 1 << (i % 64)
	}
	if p.flags != flagBranch && p.flags != flagLeaf {
		return w.bad(id, fmt.Sprintf("page type %d", p.flags))
	}
	if p.flags == flagBranch && p.count == 0 {
		return w.bad(id, "branch page without elements")
	}
	return w.elements(p, depth, false)
}

func (w *walker) elements(p page, depth int, inline bool) error {
	var last []byte
	for i := range p.count {
		at := pageHeader + i*elementSize
		if at+elementSize > len(p.data) {
			return w.bad(p.id, fmt.Sprintf("%d elements do not fit", p.count))
		}
		e := p.data[at:]
		var flags uint32
		var pos, ksize, vsize, child uint64
		if p.flags == flagBranch {
			pos, ksize, child = uint64(native.Uint32(e)), uint64(native.Uint32(e[4:])), native.Uint64(e[8:])
		} else {
			flags, pos = native.Uint32(e), uint64(native.Uint32(e[4:]))
			ksize, vsize = uint64(native.Uint32(e[8:])), uint64(native.Uint32(e[12:]))
		}
		if pos+ksize+vsize > uint64(len(e)) {
			return w.bad(p.id, fmt.Sprintf("element %d does not fit", i))
		}
		key, value := e[pos:pos+ksize], e[pos+ksize:pos+ksize+vsize]
		// The first key of a branch may be anything; bbolt refuses to read an empty one.
		if len(key) == 0 || i > 0 && bytes.Compare(last, key) >= 0 {
			if err := w.bad(p.id, fmt.Sprintf("key %d is out of order", i)); err != nil {
				return err
			}
		}
		last = key
		var err error
		switch {
		case p.flags == flagBranch:
			err = w.page(child, depth+1)
		case flags == leafBucket && !inline:
			err = w.bucket(p.id, value, depth)
		case flags != 0:
			err = w.bad(p.id, fmt.Sprintf("element %d has flags %d", i, flags))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bucket follows a nested bucket: to its own root, or inside its value when it is small.
func (w *walker) bucket(id uint64, value []byte, depth int) error {
	if len(value) < bucketHeader {
		return w.bad(id, "bucket header does not fit")
	}
	if root := native.Uint64(value); root != 0 {
		return w.page(root, depth+1)
	}
	data := value[bucketHeader:]
	if len(data) < pageHeader {
		return w.bad(id, "inline bucket does not fit")
	}
	p := page{id: id, flags: native.Uint16(data[8:]), count: int(native.Uint16(data[10:])), data: data}
	if p.flags != flagLeaf {
		return w.bad(id, fmt.Sprintf("inline bucket of page type %d", p.flags))
	}
	return w.elements(p, depth, true)
}
