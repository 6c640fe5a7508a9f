package replicator

import (
	"context"
	"io"
	"sync"
	"time"

	"farshore/transport"
)

// tee hands one stream to several readers at about the same pace. A reader that
// falls behind its share while another starves is cut off (R13).
type tee struct {
	clock transport.Clock
	outs  []*teeOut
}

// teeOut is one reader's side.
type teeOut struct {
	blocks chan []byte
	gone   chan struct{} // closed when the reader is no longer served
	once   sync.Once
	rest   []byte
	err    error // set before blocks is closed
}

const (
	teeBlock = 128 << 10
	teeDepth = int(streamMemory/teeBlock) - 2
	patience = 5 * time.Second
)

// fellBehind is the error of a destination that was cut off: it tries again alone.
type fellBehind struct{}

var errFellBehind error = fellBehind{}

func (fellBehind) Error() string { return "fell behind the other destinations and was cut off" }

// ErrorClass implements transport.Classified.
func (fellBehind) ErrorClass() transport.Class { return transport.Transient }

func newTee(n int, clock transport.Clock) *tee {
	t := &tee{clock: clock}
	for range n {
		t.outs = append(t.outs, &teeOut{blocks: make(chan []byte, teeDepth), gone: make(chan struct{})})
	}
	return t
}

// leave ends the service of a reader.
func (o *teeOut) leave() { o.once.Do(func() { close(o.gone) }) }

// Read gives the next bytes, or the pump's error.
func (o *teeOut) Read(b []byte) (int, error) {
	for len(o.rest) == 0 {
		select {
		case block, ok := <-o.blocks:
			if !ok {
				if o.err != nil {
					return 0, o.err
				}
				return 0, io.EOF
			}
			o.rest = block
		case <-o.gone:
			return 0, errFellBehind
		}
	}
	n := copy(b, o.rest)
	o.rest = o.rest[n:]
	return n, nil
}

// pump reads src to its end and serves every reader still there; all of them see its error.
func (t *tee) pump(ctx context.Context, src io.Reader) {
	var err error
	for err == nil {
		block := make([]byte, teeBlock)
		var n int
		n, err = io.ReadFull(src, block)
		if err == io.ErrUnexpectedEOF { //nolint:errorlint // ReadFull's own, bare: a short last block; a wrapped one is a broken source
			err = io.EOF
		}
		if n > 0 {
			if cerr := t.give(ctx, block[:n]); cerr != nil {
				err = cerr
			}
		}
	}
	if err == io.EOF { //nolint:errorlint // io.Reader's own sentinel, unwrapped
		err = nil
	}
	for _, o := range t.outs {
		o.err = err
		close(o.blocks)
	}
}

// give hands a block to every reader. While one is full and another is empty,
// patience runs; then the full one is cut off.
func (t *tee) give(ctx context.Context, block []byte) error {
	alive := 0
	for _, o := range t.outs {
		select {
		case <-o.gone:
			continue
		default:
		}
		for sent := false; !sent; {
			timer := t.clock.NewTimer(patience)
			select {
			case o.blocks <- block:
				sent = true
				alive++
			case <-o.gone:
				sent = true
			case <-ctx.Done():
				timer.Stop()
				return context.Cause(ctx)
			case <-timer.C():
				if t.starving(o) {
					o.leave()
				}
			}
			timer.Stop()
		}
	}
	if alive == 0 {
		return errFellBehind
	}
	return nil
}

// starving reports whether another reader has nothing to read.
func (t *tee) starving(slow *teeOut) bool {
	for _, o := range t.outs {
		if o == slow || len(o.blocks) > 0 {
			continue
		}
		select {
		case <-o.gone:
		default:
			return true
		}
	}
	return false
}
