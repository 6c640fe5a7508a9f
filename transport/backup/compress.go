package backup

import (
	"compress/bzip2"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"github.com/klauspost/compress/zstd"
)

// compressionName gives the one copy of a compression's name (C6), so that a million
// extents share it; ok is false of one that is not known.
func compressionName(s string) (string, bool) {
	for _, known := range [...]string{"none", "zlib", "gzip", "bz2", "bzip2", "zstd", "off", "no"} {
		if s == known {
			return known, true
		}
	}
	return "", false
}

// The window of a zstd frame never needs to be larger than the content; Cinder's own
// objects have 50 MiB at most, and this bounds the memory of one.
const (
	minWindow = 1 << 20
	maxWindow = 128 << 20
)

// Decompress gives a data object's content from what is stored (C7): a zlib stream for
// "gzip" too. Reading it ends with io.EOF after exactly length bytes; it fails with
// ErrFormat when there are more or fewer, or they do not decompress, and with what r said
// when that could not be read.
func Decompress(r io.Reader, compression string, length int64) (io.Reader, error) {
	e := &exact{from: source{r: r}, left: length, length: length, what: compression + " object"}
	var err error
	if e.r, err = decompressor(&e.from, compression, length); err != nil {
		return nil, e.failed(err)
	}
	return e, nil
}

func decompressor(r io.Reader, compression string, length int64) (io.Reader, error) {
	switch compression {
	case "none", "off", "no":
		return r, nil
	case "zlib", "gzip":
		return zlib.NewReader(r)
	case "bz2", "bzip2":
		return bzip2.NewReader(r), nil
	case "zstd":
		window := uint64(1) << bits.Len64(uint64(max(length, 1)-1)) //nolint:gosec // positive
		// One at a time: without goroutines there is nothing to close.
		return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(min(max(window, minWindow), maxWindow)))
	}
	return nil, fmt.Errorf("compression %q is not known", compression)
}

// source remembers what could not be read, to tell it from what does not decompress.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// failed gives what the source said, if it failed, and else says that what was read is
// wrong.
func (s *source) failed(what string, err error) error {
	switch {
	case s.err != nil:
		return fmt.Errorf("read %s: %w", what, s.err)
	case errors.Is(err, ErrFormat):
		return fmt.Errorf("read %s: %w", what, err)
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF // an io.EOF would be taken for a proper end
	}
	return fmt.Errorf("read %s: %w: %w", what, ErrFormat, err)
}

// exact lets length bytes pass, no more and no fewer.
type exact struct {
	from         source
	r            io.Reader
	left, length int64
	what         string
	err          error // of the last Read, and so of all after it
}

func (e *exact) Read(p []byte) (int, error) {
	if e.err != nil || len(p) == 0 {
		return 0, e.err
	}
	if e.left == 0 {
		e.err = e.end()
		return 0, e.err
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	switch {
	case errors.Is(err, io.EOF) && e.left > 0:
		e.err = e.failed(fmt.Errorf("%d bytes of %d", e.length-e.left, e.length))
	case err != nil && !errors.Is(err, io.EOF):
		e.err = e.failed(err)
	}
	return n, e.err
}

// end makes sure that nothing is left, which also lets a stream check its own sum.
func (e *exact) end() error {
	var one [1]byte
	n, err := io.ReadFull(e.r, one[:])
	switch {
	case n > 0:
		return e.failed(fmt.Errorf("more than its %d bytes", e.length))
	case errors.Is(err, io.EOF):
		return io.EOF
	}
	return e.failed(err)
}

func (e *exact) failed(err error) error { return e.from.failed(e.what, err) }
