package transporttest

import (
	"sync/atomic"
	"time"

	"farshore/transport"
)

// Quick is a clock that goes on from the machine's time, on which every wait is over at
// once and has taken its time all the same. The zero value is ready; it is safe for
// concurrent use.
type Quick struct{ ahead atomic.Int64 }

// Now implements transport.Clock.
func (c *Quick) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// Advance lets time pass.
func (c *Quick) Advance(d time.Duration) { c.ahead.Add(int64(d)) }

// NewTimer implements transport.Clock.
func (c *Quick) NewTimer(d time.Duration) transport.Timer {
	c.Advance(d)
	return Rung(c.Now())
}

// Rung is a timer that went off at that time.
func Rung(at time.Time) transport.Timer {
	t := make(rung, 1)
	t <- at
	return t
}

type rung chan time.Time

func (t rung) C() <-chan time.Time { return t }
func (rung) Stop() bool            { return false }
