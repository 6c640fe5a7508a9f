package backup

import (
	"crypto/md5" //nolint:gosec // Cinder's own sum of its objects
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
)

// Opener opens a data object of a backup: extent number i of backup number n of the
// chain, as it is stored. It is called when the object's turn comes.
type Opener func(n, i int) (io.ReadCloser, error)

// HashObjects gives the blocks of a volume from the data objects of a backup's chain, the
// full one first and the backup itself last: where there is no list, or one with blocks
// of another size (L4). Each object is read once, decompressed, and compared with
// its length and MD5. Memory: a block and an object's window for each backup of the chain
// (for a synthetic full: for each that it was made of). Close it when it is not read to
// its end.
func HashObjects(blockSize int, chain []*Metadata, open Opener) (*ObjectHasher, error) {
	if blockSize <= 0 || len(chain) == 0 {
		return nil, errors.New("hash objects: a positive block size and a backup are needed")
	}
	h := &ObjectHasher{}
	for n, m := range chain {
		// A synthetic full has the extents of several backups one after the other: each
		// time they begin anew, what comes counts more than what came before.
		for from := 0; from < len(m.Extents); {
			to := from + 1
			for to < len(m.Extents) && m.Extents[to].Offset >= m.Extents[to-1].End() {
				to++
			}
			h.layers = append(h.layers, &layer{m: m, at: from, end: to, size: blockSize, buf: make([]byte, blockSize), sum: md5.New(),
				open: func(i int) (io.ReadCloser, error) { return open(n, i) }})
			from = to
		}
	}
	return h, nil
}

// ObjectHasher is the Blocks that HashObjects gives.
type ObjectHasher struct {
	layers []*layer // of two that have a block the later one counts
	block  int64    // the next one
	short  bool     // the one before was smaller: it must have been the last
	err    error
}

// Next gives the next block's hash. A volume ends where no object has anything any more;
// a block that none has before that is ErrFormat.
func (h *ObjectHasher) Next() (Hash, error) {
	if h.err != nil {
		return Hash{}, h.err
	}
	var out Hash
	found, more, short := false, false, h.short
	for _, l := range h.layers {
		if err := l.upTo(h.block); err != nil {
			h.err = fmt.Errorf("hash objects: %w", err)
			h.Close()
			return Hash{}, h.err
		}
		if l.has && l.block == h.block {
			out, found = l.hash, true
			h.short = h.short || l.short
		}
		more = more || l.has
	}
	switch {
	case short && more:
		h.err = fmt.Errorf("hash objects: %w", formatError("an object ends within block %d, which is not the last", h.block-1))
	case found:
		h.block++
		return out, nil
	case more:
		h.err = fmt.Errorf("hash objects: %w", formatError("no object has block %d", h.block))
	default:
		h.err = io.EOF
	}
	h.Close()
	return Hash{}, h.err
}

// Close lets go of the objects that are open. It may be called at any time, and twice.
func (h *ObjectHasher) Close() {
	for _, l := range h.layers {
		l.close()
	}
	if h.err == nil {
		h.err = errors.New("hash objects: it was closed")
	}
}

// layer hashes the blocks of extents that do not overlap and ascend.
type layer struct {
	m       *Metadata
	at, end int // the extent at hand, and where the layer ends
	size    int
	open    func(i int) (io.ReadCloser, error)

	body io.ReadCloser // of the extent at hand; nil: not open
	r    io.Reader
	sum  hash.Hash
	pos  int64 // in the volume

	buf   []byte
	has   bool // block and hash are the next ones
	short bool // it has less than a block
	block int64
	hash  Hash
}

// upTo reads on until the block at hand is not before n.
func (l *layer) upTo(n int64) error {
	for !l.has && l.at < l.end || l.has && l.block < n {
		if err := l.next(); err != nil {
			return err
		}
	}
	return nil
}

// next reads one block. It may lie in several extents, if they follow each other; a
// smaller one is the volume's end.
func (l *layer) next() error {
	l.has = false
	if l.at == l.end {
		return nil
	}
	if l.body == nil {
		l.pos = l.m.Extents[l.at].Offset
	}
	if l.pos%int64(l.size) != 0 {
		return formatError("%s begins at %d: blocks of %d bytes do not fit", l.m.Extents[l.at].Object(l.m.Prefix), l.pos, l.size)
	}
	l.block = l.pos / int64(l.size)
	n := 0
	for n < l.size && l.at < l.end && l.m.Extents[l.at].Offset <= l.pos {
		got, err := l.read(l.buf[n:])
		if err != nil {
			return fmt.Errorf("%s: %w", l.m.Extents[l.at].Object(l.m.Prefix), err)
		}
		n += got
		l.pos += int64(got)
	}
	if n < l.size && l.at < l.end {
		return formatError("%s begins at %d: blocks of %d bytes do not fit", l.m.Extents[l.at].Object(l.m.Prefix), l.m.Extents[l.at].Offset, l.size)
	}
	l.has, l.short, l.hash = true, n < l.size, sha256.Sum256(l.buf[:n])
	return nil
}

// read reads on in the extent at hand, and goes to the next one at its end.
func (l *layer) read(p []byte) (int, error) {
	e := l.m.Extents[l.at]
	if l.body == nil {
		body, err := l.open(l.at)
		if err != nil {
			return 0, err
		}
		l.body = body
		l.sum.Reset()
		if l.r, err = Decompress(body, e.Compression, e.Length); err != nil {
			return 0, err
		}
	}
	n, err := fill(l.r, p)
	if err != nil {
		return 0, err
	}
	l.sum.Write(p[:n])
	if n == len(p) && l.pos+int64(n) < e.End() {
		return n, nil
	}
	// Its end is known only by reading beyond it.
	if _, err := fill(l.r, make([]byte, 1)); err != nil {
		return 0, err
	}
	if [16]byte(l.sum.Sum(nil)) != e.MD5 {
		return 0, formatError("its MD5 is %x, _metadata says %x", l.sum.Sum(nil), e.MD5)
	}
	l.close()
	l.at++
	return n, nil
}

func (l *layer) close() {
	if l.body != nil {
		_ = l.body.Close() // what was read is judged already
		l.body = nil
	}
}
