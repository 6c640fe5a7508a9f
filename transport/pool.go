package transport

import (
	"context"
	"sync"
)

// Pool is an amount that flows share and give back: stream slots, bytes of memory. Who
// has the least of it, for its share, gets the next that comes free; within a flow it is
// first come first served. Safe for concurrent use.
type Pool struct {
	clock   Clock
	size    int64
	reserve int64 // of which no flow takes what is left, unless it has nothing

	mu    sync.Mutex
	free  int64
	queue queue
}

// NewPool makes a pool of size units. reserve units of it are never taken by a flow that
// has some already: they are there for the next one, who would have to wait until
// something long ends. A nil clock is the system's.
func NewPool(size, reserve int64, clock Clock) *Pool {
	return &Pool{clock: clockOr(clock), size: size, reserve: reserve, free: size}
}

// Acquire takes n units, at most all there are, for the context's flow. release gives
// them back; further calls do nothing.
func (p *Pool) Acquire(ctx context.Context, n int64) (release func(), err error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	n = min(n, p.size)
	p.mu.Lock()
	m := p.queue.member(FlowOf(ctx))
	w := p.queue.push(m, n)
	p.admit()
	p.mu.Unlock()
	release = sync.OnceFunc(func() { p.giveBack(m, n) })
	select {
	case <-w.turn:
		return release, nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	waited := p.queue.remove(w)
	p.admit() // it may have stood before others
	p.mu.Unlock()
	if !waited {
		release() // granted at the same moment
	}
	return nil, context.Cause(ctx)
}

func (p *Pool) giveBack(m *member, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free += n
	m.held -= n
	p.admit()
}

// admit grants what is free. Nobody overtakes the one whose turn it is because it wants
// less: who wants much would wait for ever. mu is held.
func (p *Pool) admit() {
	now := p.clock.Now()
	for p.queue.waiting > 0 {
		w := p.queue.next(func(m *member) float64 { return float64(m.held) / m.flow.share(now) }, p.may)
		if w == nil || w.n > p.free {
			return
		}
		p.free -= w.n
		w.of.held += w.n
		p.queue.grant(w)
	}
}

// may reports whether a flow may have more at all.
func (p *Pool) may(w *waiter) bool {
	return w.of.held == 0 || w.of.held+w.n <= p.size-p.reserve
}
