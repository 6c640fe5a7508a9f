package volumes

import (
	"cmp"
	"container/heap"
	"context"
	"crypto/md5" //nolint:gosec // what Cinder names the content of a chunk by (C6)
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	"farshore/transport"
	"farshore/transport/backup"
)

// layer is one backup of a chain as its data objects stand in a region.
type layer struct {
	container, prefix string
	meta              backup.Metadata
}

// openFunc opens the bytes of an object as they are stored.
type openFunc func(ctx context.Context, container, name string) (io.ReadCloser, error)

// openIn opens objects of a region.
func openIn(sink transport.Sink) openFunc {
	return func(ctx context.Context, container, name string) (io.ReadCloser, error) {
		_, body, err := sink.Open(ctx, container, name, transport.OpenOptions{Length: -1})
		return body, err
	}
}

// hashLayers gives the SHA-256 of every block of the volume that the layers, the full
// one first, make when they are restored one upon another. The objects are streamed in
// the volume's order, each at most once, and every one that is read must have the MD5
// that its backup says; those that are wholly overwritten by later ones are not read.
// As much is in memory as extents overlap in one place. The caller closes it.
func hashLayers(ctx context.Context, open openFunc, layers []layer, blockSize int) *layerHashes {
	h := &layerHashes{layerReader: layerReader{ctx: ctx, open: open}, block: int64(blockSize), sum: sha256.New()}
	for i := range layers {
		l := &layers[i]
		for _, e := range l.meta.Extents {
			h.todo = append(h.todo, &strand{layer: l, extent: e, rank: len(h.todo)})
			h.size = max(h.size, e.End()) // a full backup has the volume to its last byte (C10)
		}
	}
	slices.SortFunc(h.todo, func(a, b *strand) int {
		return cmp.Or(cmp.Compare(a.extent.Offset, b.extent.Offset), cmp.Compare(a.rank, b.rank))
	})
	return h
}

// layerHashes are the backup.Blocks of layers.
type layerHashes struct {
	layerReader
	at, size, block int64
	sum             hash.Hash
}

// Next implements backup.Blocks.
func (h *layerHashes) Next() (backup.Hash, error) {
	if h.at >= h.size {
		if err := h.finish(h.size); err != nil {
			return backup.Hash{}, err
		}
		return backup.Hash{}, io.EOF
	}
	h.sum.Reset()
	to := min(h.at+h.block, h.size)
	err := h.copy(h.sum, h.at, to)
	h.at = to
	return backup.Hash(h.sum.Sum(nil)), err
}

// strand is one extent, and once it is needed its open object.
type strand struct {
	layer  *layer
	extent backup.Extent
	rank   int // of two that cover a byte, the one of the higher rank counts
	body   io.ReadCloser
	data   io.Reader
	sum    hash.Hash
	at     int64 // of the volume: what was read so far
}

// strands is a heap with the highest rank on top.
type strands []*strand

func (p strands) Len() int           { return len(p) }
func (p strands) Less(i, j int) bool { return p[i].rank > p[j].rank }
func (p strands) Swap(i, j int)      { p[i], p[j] = p[j], p[i] }
func (p *strands) Push(x any)        { *p = append(*p, x.(*strand)) } //nolint:forcetypeassert // heap.Interface
func (p *strands) Pop() any {
	old := *p
	x := old[len(old)-1]
	*p = old[:len(old)-1]
	return x
}

// layerReader reads the volume that layers make, in order.
type layerReader struct {
	ctx    context.Context
	open   openFunc
	todo   []*strand // not reached yet, by offset
	active strands   // reached, and not known to have been passed
	opened []*strand // of these, those with an open object
}

// copy writes the bytes from..to of the volume to w.
func (h *layerReader) copy(w io.Writer, from, to int64) error {
	for at := from; at < to; {
		if err := h.finish(at); err != nil {
			return err
		}
		for len(h.todo) > 0 && h.todo[0].extent.Offset <= at {
			heap.Push(&h.active, h.todo[0])
			h.todo = h.todo[1:]
		}
		for len(h.active) > 0 && h.active[0].extent.End() <= at {
			heap.Pop(&h.active)
		}
		if len(h.active) == 0 {
			return fmt.Errorf("%w: no object has the volume's bytes from %d on", backup.ErrFormat, at)
		}
		top := h.active[0]
		end := min(to, top.extent.End())
		if len(h.todo) > 0 {
			end = min(end, h.todo[0].extent.Offset)
		}
		if err := h.read(top, w, at, end); err != nil {
			return err
		}
		at = end
	}
	return nil
}

// read copies a part of a strand, after passing over what was not wanted of it.
func (h *layerReader) read(p *strand, w io.Writer, from, to int64) error {
	if p.body == nil {
		body, err := h.open(h.ctx, p.layer.container, p.name())
		if err != nil {
			return err
		}
		p.body, p.sum, p.at = body, md5.New(), p.extent.Offset //nolint:gosec // C6
		h.opened = append(h.opened, p)
		if p.data, err = backup.Decompress(body, p.extent.Compression, p.extent.Length); err != nil {
			return p.wrong(err)
		}
	}
	if _, err := io.CopyN(p.sum, p.data, from-p.at); err != nil {
		return p.wrong(err)
	}
	_, err := io.CopyN(io.MultiWriter(w, p.sum), p.data, to-from)
	p.at = to
	return p.wrong(err)
}

func (p *strand) name() string { return p.extent.Object(p.layer.prefix) }

func (p *strand) wrong(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read %s/%s: %w", transport.PrintName(p.layer.container), transport.PrintName(p.name()), err)
}

// finish reads what lies before at to its end, and checks it.
func (h *layerReader) finish(at int64) error {
	var failed error
	h.opened = slices.DeleteFunc(h.opened, func(p *strand) bool {
		if p.extent.End() > at || failed != nil {
			return false
		}
		if _, err := io.Copy(p.sum, p.data); err != nil {
			failed = p.wrong(err)
		} else if sum := p.sum.Sum(nil); string(sum) != string(p.extent.MD5[:]) {
			failed = p.wrong(&damagedError{want: p.extent.MD5, got: [16]byte(sum)})
		}
		p.body.Close()
		return true
	})
	return failed
}

func (h *layerReader) close() {
	for _, p := range h.opened {
		p.body.Close()
	}
}

// damagedError says that an object of a backup is not what the backup says of it.
type damagedError struct{ want, got [16]byte }

func (e *damagedError) Error() string {
	return fmt.Sprintf("its content has the MD5 %x, and the backup says %x", e.got, e.want)
}

// ErrorClass implements transport.Classified.
func (e *damagedError) ErrorClass() transport.Class { return transport.Corrupt }
