package transport

import (
	"context"
	"time"
)

// Clock is the time as limits, gates and retries see it, so that a test can run
// an hour of waiting in no time. Implementations are safe for concurrent use.
type Clock interface {
	Now() time.Time
	NewTimer(d time.Duration) Timer
}

// Timer fires once on C unless it is stopped before.
type Timer interface {
	C() <-chan time.Time
	Stop() bool
}

// SystemClock is the machine's clock.
type SystemClock struct{}

// Now gives the current time.
func (SystemClock) Now() time.Time { return time.Now() }

// NewTimer makes a timer of the time package.
func (SystemClock) NewTimer(d time.Duration) Timer { return systemTimer{time.NewTimer(d)} }

type systemTimer struct{ *time.Timer }

func (t systemTimer) C() <-chan time.Time { return t.Timer.C }

// Sleep waits for d on the clock, or less if the context ends or wake is closed
// (nil: never). Only an ended context is an error.
func Sleep(ctx context.Context, c Clock, d time.Duration, wake <-chan struct{}) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if d <= 0 {
		return nil
	}
	t := c.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return nil
	case <-wake:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func clockOr(c Clock) Clock {
	if c == nil {
		return SystemClock{}
	}
	return c
}
