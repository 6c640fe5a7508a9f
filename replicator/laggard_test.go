package replicator

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"farshore/transport"
	tt "farshore/transport/transporttest"
)

// impatient is a clock by which nobody waits for who falls behind.
type impatient struct{ *ticker }

func (c impatient) NewTimer(d time.Duration) transport.Timer {
	if d >= patience && d < time.Minute {
		return tt.Rung(c.Now())
	}
	return c.ticker.NewTimer(d)
}

// slowOnce holds one of an endpoint's writes of segments until it is cut off.
type slowOnce struct {
	transport.Sink
	sent bool // the write is done before: only its record is late
	done atomic.Bool
}

func (s *slowOnce) Put(ctx context.Context, container, name string, b transport.Body, o transport.PutOptions) (transport.Receipt, error) {
	if container != segmentContainer || s.done.Swap(true) {
		return s.Sink.Put(ctx, container, name, b, o)
	}
	var r transport.Receipt
	if s.sent {
		var err error
		if r, err = s.Sink.Put(ctx, container, name, b, o); err != nil {
			return r, err
		}
	}
	<-ctx.Done()
	if s.sent {
		return r, nil
	}
	return r, &transport.Error{Op: "put", Region: "d", Container: container, Name: name, Class: transport.Canceled, Err: ctx.Err()}
}

// A destination that is cut off from a large object, because it is much slower than the
// others, gets it by itself in the same pass (R13).
func TestALargeObjectOfADestinationThatFallsBehind(t *testing.T) {
	for what, sent := range map[string]bool{"while it writes": false, "while that is recorded": true} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, "b", "d")
			w.policy.Large.Over, w.policy.Large.Chunk = 1<<20, 1<<20
			w.put("large", 1, 3<<20, nil)
			slow := &slowOnce{Sink: tt.Faulty(w.mem["d"], w.faults["d"]), sent: sent}
			e := New(Options{Ledger: w.ledger, Clock: impatient{w.clock}, Limits: w.limits, Regions: map[string]transport.Sink{
				"a": tt.Faulty(w.mem["a"], w.faults["a"]), "b": tt.Faulty(w.mem["b"], w.faults["b"]), "d": slow}})
			r := w.passBy(e)
			if !slow.done.Load() || len(r.Findings) > 0 || r.Totals.Failed > 0 {
				t.Errorf("%+v %+v", r.Totals, r.Findings)
			}
			w.same("b", "d")
		})
	}
}

// gate is a timer that goes off when it is closed.
type gate chan time.Time

func (g gate) C() <-chan time.Time { return g }
func (gate) Stop() bool            { return false }

// until is a clock by which patience lasts until a gate is closed.
type until struct {
	*ticker
	gate gate
}

func (c until) NewTimer(d time.Duration) transport.Timer {
	if d == patience {
		return c.gate
	}
	return c.ticker.NewTimer(d)
}

// unread is an endpoint whose first write takes nothing of the stream until other has been done.
type unread struct {
	transport.Sink
	other chan struct{}
	done  atomic.Bool
}

func (s *unread) Put(ctx context.Context, container, name string, b transport.Body, o transport.PutOptions) (transport.Receipt, error) {
	if s.done.Swap(true) {
		return s.Sink.Put(ctx, container, name, b, o)
	}
	in, err := b.Open()
	if err != nil {
		return transport.Receipt{}, err
	}
	<-s.other
	n, err := io.Copy(io.Discard, in)
	if err == nil && n < b.Size {
		err = io.ErrUnexpectedEOF
	}
	return transport.Receipt{}, &transport.Error{Op: "put", Region: "d", Container: container, Name: name, Class: transport.ClassOf(err), Err: fmt.Errorf("read body: %w", err)}
}

// told is an endpoint that says when a write has taken so many bytes, and when it is done.
type told struct {
	transport.Sink
	after       int64
	taken, done func()
}

func (s told) Put(ctx context.Context, container, name string, b transport.Body, o transport.PutOptions) (transport.Receipt, error) {
	defer s.done()
	open := b.Open
	b.Open = func() (io.Reader, error) {
		in, err := open()
		n := int64(0)
		return readFunc(func(p []byte) (int, error) {
			if n >= s.after {
				s.taken()
			}
			k, err := in.Read(p)
			n += int64(k)
			return k, err
		}), err
	}
	return s.Sink.Put(ctx, container, name, b, o)
}

// The same of an object that is sent as one stream: the source is read once for both, and
// once more for the one that was cut off.
func TestAStreamOfADestinationThatFallsBehind(t *testing.T) {
	w := newWorld(t, "b", "d")
	const size = int(streamMemory) * 2
	w.limits.Memory = 8 * streamMemory
	w.put("stream", 1, size, nil)
	clock, other := until{w.clock, make(gate)}, make(chan struct{})
	slow := &unread{Sink: tt.Faulty(w.mem["d"], w.faults["d"]), other: other}
	// The other one has one block more than the slow one can be given: it starves.
	quick := told{tt.Faulty(w.mem["b"], w.faults["b"]), int64(teeDepth+1) * teeBlock, sync.OnceFunc(func() { close(clock.gate) }), sync.OnceFunc(func() { close(other) })}
	e := New(Options{Ledger: w.ledger, Clock: clock, Limits: w.limits, Regions: map[string]transport.Sink{"a": tt.Faulty(w.mem["a"], w.faults["a"]), "b": quick, "d": slow}})
	r := w.passBy(e)
	if !slow.done.Load() || len(r.Findings) > 0 || r.Totals.Failed > 0 || r.Totals.Read != 2*int64(size) {
		t.Errorf("%+v %+v", r.Totals, r.Findings)
	}
	w.same("b", "d")
}
