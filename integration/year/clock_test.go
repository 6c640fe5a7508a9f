// Package year makes a daemon's schedule, the engines and three emulated regions live
// through simulated weeks, or a year with FARSHORE_SCALE=full, and judges every hour
// whether what the policies promise is so.
package year

import (
	"sync"
	"time"

	"farshore/transport"
	"farshore/transport/transporttest"
)

// clock is the time of the simulated world. It moves when the story says so, and by as
// long as work waits: such a wait is over at once.
type clock struct {
	mu     sync.Mutex
	now    time.Time
	timers []*timer
	set    chan struct{} // closed and replaced when a timer is set
}

type timer struct {
	due  time.Time
	ring chan time.Time
}

func newClock(at time.Time) *clock { return &clock{now: at, set: make(chan struct{})} }

// Now is a microsecond later each time: no two things happen at once.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Microsecond)
	return c.now
}

// to moves the time on, never back, and rings what is due.
func (c *clock) to(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at.After(c.now) {
		c.now = at
	}
	left := c.timers[:0]
	for _, t := range c.timers {
		if t.due.After(c.now) {
			left = append(left, t)
			continue
		}
		t.ring <- c.now
	}
	c.timers = left
}

// next is when the first of those who wait for a moment wants to be woken; set is closed
// when somebody begins to wait.
func (c *clock) next() (at time.Time, set <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.timers {
		if at.IsZero() || t.due.Before(at) {
			at = t.due
		}
	}
	return at, c.set
}

// waiting is the clock of who waits for a moment: the schedule.
type waiting struct{ *clock }

// NewTimer implements transport.Clock.
func (w waiting) NewTimer(d time.Duration) transport.Timer {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := &timer{due: w.now.Add(d), ring: make(chan time.Time, 1)}
	w.timers = append(w.timers, t)
	close(w.set)
	w.set = make(chan struct{})
	return set{w.clock, t}
}

type set struct {
	c *clock
	t *timer
}

func (s set) C() <-chan time.Time { return s.t.ring }

func (s set) Stop() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for i, t := range s.c.timers {
		if t == s.t {
			s.c.timers = append(s.c.timers[:i], s.c.timers[i+1:]...)
			return true
		}
	}
	return false
}

// working is the clock of work: a wait is over at once, and has taken its time. Whoever
// waits for long lets others begin meanwhile.
type working struct{ *clock }

// NewTimer implements transport.Clock.
func (w working) NewTimer(d time.Duration) transport.Timer {
	w.mu.Lock()
	at := w.now.Add(d)
	w.mu.Unlock()
	w.to(at)
	if d >= time.Second {
		time.Sleep(2 * time.Millisecond)
	}
	return transporttest.Rung(at)
}

// showing is the clock of what only looks after something while work is under way: it
// must not make time pass.
type showing struct {
	transport.SystemClock
	c *clock
}

// Now implements transport.Clock.
func (s showing) Now() time.Time { return s.c.Now() }
