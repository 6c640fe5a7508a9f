package transport

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// LinkOptions bound a Link. The zero value is usable.
type LinkOptions struct {
	Region   string
	Start    int           // requests at once to begin with; 0: 16
	Max      int           // at most; 0: 64
	MaxPause time.Duration // the longest pause after a throttled reply; 0: 60 s
	Clock    Clock         // nil: the system's
}

// Link is the gate before one region that all its streams share: so many requests
// at once as the region bears, and none while it asks for quiet.
//
// The number adapts. It grows as long as that raises the throughput, steps back when
// it does not (more requests at once then only wait longer for each other), and is
// halved when the region throttles. Safe for concurrent use.
type Link struct {
	region   string
	maxPause time.Duration
	clock    Clock

	mu       sync.Mutex
	max      int
	limit    int
	inFlight int
	waiting  queue
	paused   time.Time     // until
	repaused chan struct{} // closed and replaced when paused changes
	strikes  int           // throttled in a row, for the length of the next pause
	lone     int           // vague refusals since the last success
	cut      time.Time     // when the limit was last cut
	ceiling  int           // the limit at which the region last throttled
	pace     pace
	stats    LinkStats
}

// LinkStats is what a Link did and how it stands.
type LinkStats struct {
	Region      string    `json:"region"`
	Limit       int       `json:"limit"` // requests at once, now
	Max         int       `json:"max"`
	InFlight    int       `json:"in_flight"`
	Waiting     int       `json:"waiting"`
	PausedUntil time.Time `json:"paused_until,omitzero"` // zero: not paused
	Requests    int64     `json:"requests"`
	Throttles   int64     `json:"throttles"` // replies that asked for less
	Retries     int64     `json:"retries"`   // calls made again
}

// Result tells a Link how a request ended.
type Result struct {
	Err   error
	Bytes int64 // of its body, in either direction
}

// NewLink makes a gate.
func NewLink(o LinkOptions) *Link {
	if o.Start <= 0 {
		o.Start = 16
	}
	if o.Max <= 0 {
		o.Max = 64
	}
	if o.MaxPause <= 0 {
		o.MaxPause = time.Minute
	}
	return &Link{region: o.Region, maxPause: o.MaxPause, clock: clockOr(o.Clock), max: o.Max,
		limit: min(o.Start, o.Max), repaused: make(chan struct{})}
}

// Acquire waits for a slot. Of the flows that wait, the one with the fewest slots gets
// the next; within a flow it is first come first served. release must be called once
// with the outcome; further calls do nothing. Nobody may hold a slot while waiting
// for somebody who needs one: two regions copying to each other would stand still.
func (l *Link) Acquire(ctx context.Context) (release func(Result), err error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	l.mu.Lock()
	m := l.waiting.member(FlowOf(ctx))
	w := l.waiting.push(m, 1)
	now := l.clock.Now()
	l.admit(now)
	l.mu.Unlock()
	select {
	case <-w.turn:
		return l.slot(m, now), nil
	default:
	}
	if l.wait(ctx, w.turn) {
		return l.slot(m, l.clock.Now()), nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.waiting.remove(w) { // granted at the same moment: hand it on
		l.inFlight--
		m.held--
		l.admit(l.clock.Now())
	}
	return nil, context.Cause(ctx)
}

// wait waits for the turn, or false for the context's end. Those who wait also end
// the pause: there is no goroutine to do it.
func (l *Link) wait(ctx context.Context, turn <-chan struct{}) bool {
	for {
		l.mu.Lock()
		// Also when the pause ends between queueing and here: nobody else may be left to do it.
		now := l.clock.Now()
		l.admit(now)
		d, repaused := l.paused.Sub(now), l.repaused
		l.mu.Unlock()
		var over <-chan time.Time
		stop := func() bool { return true }
		if d > 0 {
			t := l.clock.NewTimer(d)
			over, stop = t.C(), t.Stop
		}
		select {
		case <-turn:
			stop()
			return true
		case <-ctx.Done():
			stop()
			return false
		case <-repaused:
			stop()
		case <-over:
		}
	}
}

func (l *Link) slot(m *member, began time.Time) func(Result) {
	var once sync.Once
	return func(r Result) {
		once.Do(func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.inFlight--
			m.held--
			l.stats.Requests++
			now := l.clock.Now()
			l.learn(began, now, r)
			l.admit(now)
		})
	}
}

// Report tells the outcome of a request that took no slot.
func (l *Link) Report(began time.Time, r Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ClassOf(r.Err) == Throttled && r.Err != nil {
		l.throttled(began, l.clock.Now(), r.Err)
	}
}

// WaitPause waits until the region is not asking for quiet, for requests that take
// no slot.
func (l *Link) WaitPause(ctx context.Context) error {
	for {
		l.mu.Lock()
		d := l.paused.Sub(l.clock.Now())
		l.mu.Unlock()
		if err := Sleep(ctx, l.clock, d, nil); err != nil || d <= 0 {
			return err
		}
	}
}

// Retried counts a call that is made again.
func (l *Link) Retried() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Retries++
}

// SetMax changes the most requests at once; at least 1.
func (l *Link) SetMax(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.max = max(n, 1)
	l.limit = min(l.limit, l.max)
	l.pace.forget()
	l.admit(l.clock.Now())
}

// Stats says how the link stands.
func (l *Link) Stats() LinkStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Region, s.Limit, s.Max, s.InFlight, s.Waiting = l.region, l.limit, l.max, l.inFlight, l.waiting.waiting
	if l.clock.Now().Before(l.paused) {
		s.PausedUntil = l.paused
	}
	return s
}

// admit gives free slots to those who wait. mu is held.
func (l *Link) admit(now time.Time) {
	if now.Before(l.paused) {
		return // whoever waits asks again when the pause ends
	}
	score := func(m *member) float64 { return float64(m.held) / m.flow.share(now) }
	for l.waiting.waiting > 0 {
		w := l.waiting.next(score, l.may)
		if w == nil {
			return
		}
		l.inFlight++
		w.of.held++
		l.waiting.grant(w)
	}
}

// may reports whether there is a slot for somebody. A flow that has none need not wait
// until one of those that have them all ends something long: a few go beyond the limit.
func (l *Link) may(w *waiter) bool {
	return l.inFlight < l.limit || w.of.held == 0 && l.inFlight < l.limit+max(l.limit/4, 1)
}

// learn takes a result into account. mu is held.
func (l *Link) learn(began, now time.Time, r Result) {
	if r.Err != nil {
		if ClassOf(r.Err) == Throttled {
			l.throttled(began, now, r.Err)
			return
		}
		if c := ClassOf(r.Err); c == Transient || c == Canceled {
			return // says nothing of how fast the region is
		}
	}
	l.lone = 0
	if !began.Before(l.cut) {
		l.strikes = 0
	}
	most := l.max
	if now.Sub(l.cut) < ceilingFor && l.ceiling > 0 {
		most = min(most, max(l.ceiling-1, 1))
	}
	l.limit = l.pace.step(l.limit, most, began, now, r.Bytes)
}

// throttled halves the limit and starts a pause. Of the requests that were under
// way together, only the first counts: they are all of one moment. mu is held.
func (l *Link) throttled(began, now time.Time, err error) {
	l.stats.Throttles++
	if l.lone++; vague(err) && l.lone < 2 {
		return // one object's broken disk (L11) must not slow down all others
	}
	if began.Before(l.cut) {
		l.pauseUntil(now.Add(l.retryAfter(err)))
		return
	}
	l.ceiling, l.cut = l.limit, now
	l.limit = max(l.limit/2, 1)
	l.pace.hold(now)
	wait := l.retryAfter(err)
	if wait == 0 {
		wait = min(500*time.Millisecond<<min(l.strikes, 10), l.maxPause)
		wait = wait/2 + rand.N(wait/2+1)
	}
	l.strikes++
	l.pauseUntil(now.Add(wait))
}

// vague reports whether a refusal may be about one object only: Swift answers 503
// both when it is overloaded and when an object's own devices fail.
func vague(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == 503 && e.After == 0
}

func (l *Link) pauseUntil(t time.Time) {
	if t.After(l.paused) {
		l.paused = t
		close(l.repaused)
		l.repaused = make(chan struct{})
	}
}

func (l *Link) retryAfter(err error) time.Duration { return min(AfterOf(err), l.maxPause) }
