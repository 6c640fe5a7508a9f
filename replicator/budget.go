package replicator

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"farshore/policies"
	"farshore/transport"
)

// budget holds what all passes of an engine share: stream slots, memory for
// bytes on the way, and the byte limits (total, per pair, per policy). It is dealt out
// policy by policy, not in the order in which passes ask (budget_flows.go).
//
// A stream is a write under way, or a read that a write consumes as it comes. An
// object that is held in memory whole takes its slot when it has been read: reads run
// ahead of writes, so that the source's latency costs no stream, as far as the memory
// and a pass's workers reach.
//
// Order matters: memory is taken before a stream slot, never the other way, and
// the chunks of one object take memory in order; so whoever holds a slot can
// finish, and the lowest chunk that others wait for always has its memory.
type budget struct {
	clock   transport.Clock
	limits  policies.Limits
	streams *transport.Pool
	memory  *transport.Pool
	total   *transport.Limiter
	order   atomic.Pointer[int64] // a total limit set while running; nil: what the policies say

	mu       sync.Mutex
	pairs    map[string]*transport.Limiter
	policies map[string]*transport.Limiter
	flows    map[string]*flow // by policy
	orders   map[string]int64 // limits of pairs and policies set while running; see limits.go
}

// newBudget makes a budget. Where policies work side by side, none of them takes the
// last eighth of streams and memory if it has some.
func newBudget(l policies.Limits, sideBySide bool, clock transport.Clock) *budget {
	streams, memory := int64(0), int64(0)
	if sideBySide {
		streams, memory = int64(l.Streams+4)/8, l.Memory/8
	}
	return &budget{clock: clock, limits: l, streams: transport.NewPool(int64(l.Streams), streams, clock), memory: transport.NewPool(l.Memory, memory, clock),
		total: transport.NewLimiter(int64(l.RateAt(clock.Now())), clock),
		pairs: map[string]*transport.Limiter{}, policies: map[string]*transport.Limiter{}, flows: map[string]*flow{}}
}

// limit puts the byte limits of a transfer into its context (R14).
func (b *budget) limit(ctx context.Context, p policies.Policy, from, to string) context.Context {
	b.mu.Lock()
	defer b.mu.Unlock()
	pair := b.pairs[policies.PairKey(from, to)]
	if pair == nil {
		pair = transport.NewLimiter(b.ordered(pairOrder(policies.PairKey(from, to)), int64(b.limits.Pair(from, to))), b.clock)
		b.pairs[policies.PairKey(from, to)] = pair
	}
	pol := b.policies[p.Name]
	if pol == nil {
		pol = transport.NewLimiter(b.ordered(policyOrder(p.Name), int64(p.Limit)), b.clock)
		b.policies[p.Name] = pol
	}
	return transport.WithLimits(ctx, b.total, pair, pol)
}

// follow keeps the total limit at what the timetable says until the function it
// returns is called, which waits for the end of it.
func (b *budget) follow() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.keep(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}
}

func (b *budget) keep(ctx context.Context) {
	for {
		t := b.clock.NewTimer(time.Second)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C():
			if r := b.rate(); r != b.total.Rate() {
				b.total.Set(r)
			}
		}
	}
}

// rate is the total limit now: the order of a person, else the timetable's.
func (b *budget) rate() int64 {
	if r := b.order.Load(); r != nil {
		return *r
	}
	return int64(b.limits.RateAt(b.clock.Now()))
}

// SetTotalLimit changes the limit of all bytes sent while passes run: bytes a
// second, 0 for none at all. It stands in place of the total and the timetable until
// it is called again; a negative rate gives way to them again. Streams follow at once.
func (e *Engine) SetTotalLimit(perSecond int64) {
	if perSecond < 0 {
		e.budget.order.Store(nil)
	} else {
		e.budget.order.Store(&perSecond)
	}
	e.budget.total.Set(e.budget.rate())
}

// TotalLimit is the limit of all bytes in force now, in bytes a second; 0: none.
func (e *Engine) TotalLimit() int64 { return e.budget.total.Rate() }

// hold takes n bytes of memory, at most all there is, and returns what gives them back.
func (b *budget) hold(ctx context.Context, n int64) (func(), error) {
	return b.memory.Acquire(ctx, max(n, 1))
}

// stream takes a stream slot and returns what gives it back.
func (b *budget) stream(ctx context.Context) (func(), error) {
	return b.streams.Acquire(ctx, 1)
}

// turn is what one object holds of the budget while it is copied.
type turn struct {
	budget     *budget
	free, slot func() // give back memory and stream; nil: not held
}

// turn takes n bytes of memory, and a stream too unless reading runs ahead.
func (b *budget) turn(ctx context.Context, n int64, ahead bool) (*turn, error) {
	free, err := b.hold(ctx, n)
	if err != nil {
		return nil, err
	}
	t := &turn{budget: b, free: free}
	if ahead {
		return t, nil
	}
	if err := t.write(ctx); err != nil {
		t.end()
		return nil, err
	}
	return t, nil
}

// write sees that the turn holds a stream.
func (t *turn) write(ctx context.Context) (err error) {
	if t.slot == nil {
		t.slot, err = t.budget.stream(ctx)
	}
	return err
}

// end gives everything back.
func (t *turn) end() {
	if t.slot != nil {
		t.slot()
	}
	t.free()
}
