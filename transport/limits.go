package transport

import (
	"context"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// The burst of a limiter: what may pass at once after a silence. Over any 5 s at
// most 5 s of rate plus one burst pass, so a burst of a quarter second's worth is the
// most that keeps the wire within 5 % of the limit.
const (
	minBurst = 16 << 10
	maxBurst = 1 << 20
	lookWait = 100 * time.Millisecond // the longest wait before the rate is looked at again (R14)
)

// Limiter lets at most so many bytes a second pass. Any number of streams may
// share one; flows get an equal part of the bytes, or more of them in a hurry, and the
// streams of one are served in the order in which they came. It counts the bytes
// of request bodies sent to destinations, nothing else (R14).
type Limiter struct {
	clock Clock

	turns sync.Mutex // around queue, taken and reach
	queue queue
	taken bool    // a stream's bytes are next
	reach float64 // what the flow that was served last had had before

	mu      sync.Mutex
	rate    int64
	bucket  *rate.Limiter
	changed chan struct{} // closed and replaced by Set
}

// NewLimiter makes a limiter of perSecond bytes a second; 0 or less is
// unlimited. A nil clock is the system's.
func NewLimiter(perSecond int64, clock Clock) *Limiter {
	l := &Limiter{clock: clockOr(clock), changed: make(chan struct{})}
	l.rate = max(perSecond, 0)
	l.bucket = rate.NewLimiter(rate.Limit(l.rate), burstOf(l.rate))
	return l
}

func burstOf(perSecond int64) int {
	b := min(max(perSecond/20, minBurst), maxBurst)
	return int(max(min(b, perSecond/4), 1))
}

// Set changes the rate, in bytes a second, 0 being unlimited. Streams that are
// waiting follow at once.
func (l *Limiter) Set(perSecond int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	perSecond = max(perSecond, 0)
	if perSecond == l.rate {
		return
	}
	now := l.clock.Now()
	l.rate = perSecond
	l.bucket.SetLimitAt(now, rate.Limit(perSecond))
	l.bucket.SetBurstAt(now, burstOf(perSecond))
	close(l.changed)
	l.changed = make(chan struct{})
}

// Rate is the rate in force, in bytes a second; 0: unlimited.
func (l *Limiter) Rate() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rate
}

// Wait returns once n bytes may be sent, or with the cause of the context's end.
func (l *Limiter) Wait(ctx context.Context, n int) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if n <= 0 || l.Rate() == 0 {
		return nil
	}
	leave, err := l.enter(ctx, n)
	if err != nil {
		return err
	}
	defer leave()
	for n > 0 {
		took, wait, changed := l.take(n)
		n -= took
		if wait > 0 {
			if err := Sleep(ctx, l.clock, wait, changed); err != nil {
				return err
			}
		}
	}
	return nil
}

// enter waits until the stream's n bytes are next.
func (l *Limiter) enter(ctx context.Context, n int) (leave func(), err error) {
	l.turns.Lock()
	m := l.queue.member(FlowOf(ctx))
	if len(m.waiting) == 0 {
		m.had = max(m.had, l.reach) // while it wanted nothing it saved nothing up
	}
	w := l.queue.push(m, int64(n))
	l.admit()
	l.turns.Unlock()
	select {
	case <-w.turn:
		return l.leave, nil
	case <-ctx.Done():
	}
	l.turns.Lock()
	waited := l.queue.remove(w)
	l.turns.Unlock()
	if !waited {
		l.leave() // its turn came at the same moment
	}
	return nil, context.Cause(ctx)
}

func (l *Limiter) leave() {
	l.turns.Lock()
	defer l.turns.Unlock()
	l.taken = false
	l.admit()
}

// admit gives the turn to the flow that has had the least (start-time fair queueing);
// turns is held.
func (l *Limiter) admit() {
	if l.taken || l.queue.waiting == 0 {
		return
	}
	w := l.queue.next(func(m *member) float64 { return m.had }, func(*waiter) bool { return true })
	l.taken, l.reach = true, w.of.had
	w.of.had += float64(w.n) / w.of.flow.share(l.clock.Now())
	l.queue.grant(w)
}

// take takes a burst's worth of n if it is there, else says how long to wait
// before asking again. Nothing stays reserved meanwhile: a reservation would hold
// a stream to the rate at which it was made.
func (l *Limiter) take(n int) (took int, wait time.Duration, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rate == 0 {
		return n, 0, nil
	}
	slice := min(n, l.bucket.Burst())
	now := l.clock.Now()
	r := l.bucket.ReserveN(now, slice)
	d := r.DelayFrom(now)
	if d == 0 {
		return slice, 0, nil
	}
	r.CancelAt(now)
	return 0, min(d, lookWait), l.changed
}

type limitsKey struct{}

// WithLimits adds limiters to those that requests made with the context obey:
// a policy's, a region pair's and the overall one travel together. Nil ones are left out.
func WithLimits(ctx context.Context, limits ...*Limiter) context.Context {
	have := LimitsOf(ctx)
	all := append(make([]*Limiter, 0, len(have)+len(limits)), have...)
	for _, l := range limits {
		if l != nil {
			all = append(all, l)
		}
	}
	return context.WithValue(ctx, limitsKey{}, all)
}

// LimitsOf gives the limiters that requests made with the context obey.
func LimitsOf(ctx context.Context) []*Limiter {
	l, _ := ctx.Value(limitsKey{}).([]*Limiter)
	return l
}

// WaitLimits returns once n bytes may be sent under all of the context's limiters. It
// goes from one to the next in slices that each of them saves up meanwhile, so
// that two limits take as long as the lower, not as long as both.
func WaitLimits(ctx context.Context, n int) error {
	limits := LimitsOf(ctx)
	for n > 0 && len(limits) > 0 {
		slice := LimitedSlice(ctx, n)
		for _, l := range limits {
			if err := l.Wait(ctx, slice); err != nil {
				return err
			}
		}
		n -= slice
	}
	return nil
}

// LimitedSlice is the most of n bytes that should be handed over at once under the
// context's limiters; a larger slice would reach the wire in one go when all of it is paid for.
func LimitedSlice(ctx context.Context, n int) int {
	for _, l := range LimitsOf(ctx) {
		n = min(n, l.burst())
	}
	return n
}

// burst is the most that may pass at once.
func (l *Limiter) burst() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rate == 0 {
		return math.MaxInt
	}
	return l.bucket.Burst()
}
