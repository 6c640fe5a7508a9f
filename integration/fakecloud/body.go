package fakecloud

import (
	"encoding/binary"
	"errors"
	"io"
)

// body is the stored content of an object version; immutable, so that readers
// need no lock and a server-side copy shares it.
type body interface {
	Len() int64
	// writeTo writes n bytes from off; off+n <= Len().
	writeTo(w io.Writer, off, n int64) error
}

// blockSize bounds one allocation: an upload that dies early has not claimed
// its whole Content-Length.
const blockSize = 1 << 20

// memBody is content in memory, in blocks of blockSize but for the last.
type memBody struct {
	blocks [][]byte
	size   int64
}

func newMemBody(data []byte) memBody {
	b := memBody{size: int64(len(data))}
	for len(data) > blockSize {
		b.blocks = append(b.blocks, data[:blockSize:blockSize])
		data = data[blockSize:]
	}
	if len(data) > 0 {
		b.blocks = append(b.blocks, data)
	}
	return b
}

func (b memBody) Len() int64 { return b.size }

func (b memBody) writeTo(w io.Writer, off, n int64) error {
	for i := off / blockSize; n > 0; i++ {
		blk := b.blocks[i][off-i*blockSize:]
		if int64(len(blk)) > n {
			blk = blk[:n]
		}
		if _, err := w.Write(blk); err != nil {
			return err
		}
		off += int64(len(blk))
		n -= int64(len(blk))
	}
	return nil
}

// errTooLarge says that a body passed the size limit it was read with.
var errTooLarge = errors.New("body larger than allowed")

// readBody reads all of r into blocks, feeding sum on the way. known is the
// announced length or -1. A short body is io.ErrUnexpectedEOF.
func readBody(r io.Reader, known, limit int64, sum io.Writer) (memBody, error) {
	var b memBody
	for known < 0 || b.size < known {
		want := int64(blockSize)
		if known >= 0 {
			want = min(want, known-b.size)
		}
		var blk []byte
		var n int
		var err error
		if known >= 0 {
			blk = make([]byte, want)
			n, err = io.ReadFull(r, blk)
		} else {
			blk, err = readUpTo(r, int(want))
			n = len(blk)
		}
		if n > 0 {
			blk = blk[:n:n]
			b.blocks = append(b.blocks, blk)
			b.size += int64(n)
			if _, werr := sum.Write(blk); werr != nil {
				return b, werr
			}
		}
		if b.size > limit {
			return b, errTooLarge
		}
		if err != nil {
			if known < 0 && errors.Is(err, io.EOF) {
				return b, nil
			}
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return b, err
		}
	}
	return b, nil
}

// readUpTo fills a growing block of at most size bytes, so that a small body of
// unknown length costs little. io.EOF marks the clean end of r.
func readUpTo(r io.Reader, size int) ([]byte, error) {
	blk := make([]byte, 0, 512)
	for len(blk) < size {
		if len(blk) == cap(blk) {
			grown := make([]byte, len(blk), min(2*cap(blk), size))
			copy(grown, blk)
			blk = grown
		}
		n, err := r.Read(blk[len(blk):cap(blk)])
		blk = blk[:len(blk)+n]
		if err != nil {
			return blk, err
		}
	}
	return blk, nil
}

// piece is a range of a body; a missing segment is a piece with an error.
type piece struct {
	body   body
	off, n int64
	err    error
}

// joined is the content of a large object or of a copied range.
type joined struct {
	pieces []piece
	size   int64
}

func join(pieces []piece) joined {
	j := joined{pieces: pieces}
	for _, p := range pieces {
		j.size += p.n
	}
	return j
}

func (j joined) Len() int64 { return j.size }

func (j joined) writeTo(w io.Writer, off, n int64) error {
	for _, p := range j.pieces {
		if n <= 0 {
			return nil
		}
		if off >= p.n {
			off -= p.n
			continue
		}
		if p.err != nil {
			return p.err
		}
		take := min(p.n-off, n)
		// A manifest may promise more than a nested one, replaced since, holds.
		have := min(take, max(0, p.body.Len()-p.off-off))
		if err := p.body.writeTo(w, p.off+off, have); err != nil {
			return err
		}
		if have < take {
			return errSegment
		}
		off, n = 0, n-take
	}
	return nil
}

// firstErr reports the error of the first piece that a read from off touches.
func (j joined) firstErr(off int64) error {
	for _, p := range j.pieces {
		if off < p.n {
			if j, ok := p.body.(joined); ok && p.err == nil {
				return j.firstErr(p.off + off)
			}
			return p.err
		}
		off -= p.n
	}
	return nil
}

// synthBody is pseudo-random content computed from its seed at any offset:
// word k is splitmix64 of seed+k.
type synthBody struct {
	seed uint64
	size int64
}

func (b synthBody) Len() int64 { return b.size }

func mix(z uint64) uint64 {
	z *= 0x9e3779b97f4a7c15
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}

func (b synthBody) writeTo(w io.Writer, off, n int64) error {
	size := min(n+16, 64<<10)
	buf := make([]byte, (size+7)&^7)
	for n > 0 {
		word := uint64(off / 8)
		skip := off % 8
		fill := min((skip+n+7)&^7, int64(len(buf)))
		for i := int64(0); i < fill; i += 8 {
			binary.LittleEndian.PutUint64(buf[i:], mix(b.seed+word))
			word++
		}
		out := buf[skip:fill]
		if int64(len(out)) > n {
			out = out[:n]
		}
		if _, err := w.Write(out); err != nil {
			return err
		}
		off += int64(len(out))
		n -= int64(len(out))
	}
	return nil
}

// flipped is a body with one bit-flipped byte: damage at rest.
type flipped struct {
	body
	at int64
}

func (b flipped) writeTo(w io.Writer, off, n int64) error {
	if b.at < off || b.at >= off+n {
		return b.body.writeTo(w, off, n)
	}
	return b.body.writeTo(&flipWriter{w: w, left: b.at - off}, off, n)
}

// flipWriter inverts the byte after left more bytes.
type flipWriter struct {
	w    io.Writer
	left int64
	done bool
}

func (f *flipWriter) Write(p []byte) (int, error) {
	if f.done || f.left >= int64(len(p)) {
		f.left -= int64(len(p))
		return f.w.Write(p)
	}
	q := make([]byte, len(p))
	copy(q, p)
	q[f.left] ^= 0xff
	f.done = true
	return f.w.Write(q)
}
