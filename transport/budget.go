package transport

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// RetryPolicy bounds how often and how long a failed call is made again. The zero
// value gives the defaults.
type RetryPolicy struct {
	Attempts int           // tries of a call, the first included; 0: 6
	Elapsed  time.Duration // no third or later try starts after it; 0: 2 min
	First    time.Duration // the first wait, then doubling, ±50 %; 0: 500 ms
	Max      time.Duration // the longest such wait; 0: 30 s
	// Refused replaces Elapsed while nobody listens there (connection refused) and, in a
	// Sink, nobody has answered yet: such a region is down, not restarting. 0: Elapsed.
	Refused time.Duration
	// A region that throttles is healthy and only busy, so it has a budget of its
	// own: ThrottleAttempts (0: 30) and ThrottleElapsed (0: 15 min).
	ThrottleAttempts int
	ThrottleElapsed  time.Duration
	MaxAfter         time.Duration // the longest Retry-After that is honoured; 0: 2 min
	// SilentWait is how long the outcome of a COPY or manifest PUT whose reply was
	// lost is looked for before the call fails (R11); 0: 10 min.
	SilentWait time.Duration
	Clock      Clock    // nil: the system's
	Observer   Observer // nil: nobody is told
}

// RefusedPatience is a RetryPolicy.Refused for commands that a person waits for: about
// four tries.
const RefusedPatience = 3 * time.Second

// Observer is told of every failed try that will be repeated, before the wait. It
// must not block; it may be called concurrently.
type Observer func(Attempt)

// Attempt is one failed try of a call.
type Attempt struct {
	Op, Region, Container, Name string
	Try                         int           // 1: the first
	Wait                        time.Duration // until the next try
	Err                         error
}

func (p RetryPolicy) withDefaults() RetryPolicy {
	duration := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	count := func(n *int, def int) {
		if *n <= 0 {
			*n = def
		}
	}
	count(&p.Attempts, 6)
	count(&p.ThrottleAttempts, 30)
	duration(&p.Elapsed, 2*time.Minute)
	duration(&p.ThrottleElapsed, 15*time.Minute)
	duration(&p.First, 500*time.Millisecond)
	duration(&p.Max, 30*time.Second)
	duration(&p.MaxAfter, 2*time.Minute)
	duration(&p.SilentWait, 10*time.Minute)
	p.Clock = clockOr(p.Clock)
	return p
}

// budget is what is left of a policy for one call.
type budget struct {
	p                RetryPolicy
	at               Attempt
	repeatCorrupt    bool // the bytes can be had once more: Corrupt gets one further try
	start            time.Time
	total            int                         // tries, for the message
	tries, throttles int                         // since the last progress
	delay            *backoff.ExponentialBackOff // nil: no failure since the last progress
}

func newBudget(p RetryPolicy, at Attempt) *budget {
	return &budget{p: p, at: at, start: p.Clock.Now()}
}

// wait is the time before the next try, if nobody asks for another.
func (b *budget) wait() time.Duration {
	if b.delay == nil {
		b.delay = &backoff.ExponentialBackOff{InitialInterval: b.p.First, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: b.p.Max}
		b.delay.Reset()
	}
	return b.delay.NextBackOff()
}

// refill forgets past failures: the call has got further.
func (b *budget) refill() {
	if b.tries == 0 && b.throttles == 0 {
		return
	}
	b.tries, b.throttles, b.start = 0, 0, b.p.Clock.Now()
	b.delay = nil
}

// failed counts a failed try and waits before the next one. It returns nil if
// there is to be one, and otherwise the error to give to the caller.
func (b *budget) failed(ctx context.Context, err error) error {
	b.total++
	if cause := context.Cause(ctx); cause != nil {
		return b.canceled(cause, err)
	}
	class := ClassOf(err)
	if class == Canceled {
		class = Transient // nobody canceled this call: some time limit below ran out
	}
	if class == Throttled && vague(err) {
		class = Transient // perhaps this object only: not worth a quarter of an hour
	}
	since := b.p.Clock.Now().Sub(b.start)
	switch class {
	case Transient:
		b.tries++
		patience := b.p.Elapsed
		if b.p.Refused > 0 && errors.Is(err, syscall.ECONNREFUSED) {
			patience = b.p.Refused
		}
		if b.tries >= b.p.Attempts || b.tries > 1 && since >= patience {
			return b.exhausted(err)
		}
	case Throttled:
		b.throttles++
		if b.throttles >= b.p.ThrottleAttempts || b.throttles > 1 && since >= b.p.ThrottleElapsed {
			return b.exhausted(err)
		}
	case Corrupt:
		if !b.repeatCorrupt {
			return b.exhausted(err)
		}
		b.repeatCorrupt = false
	default:
		return b.exhausted(err)
	}
	wait := b.wait()
	var e *Error
	if errors.As(err, &e) && e.After > 0 {
		// Never earlier than asked for; the jitter keeps many streams from coming back at once.
		wait = min(e.After, b.p.MaxAfter) + wait/4
	}
	if b.p.Observer != nil {
		at := b.at
		at.Try, at.Wait, at.Err = b.total, wait, err
		b.p.Observer(at)
	}
	if cause := Sleep(ctx, b.p.Clock, wait, nil); cause != nil {
		return b.canceled(cause, err)
	}
	return nil
}

type onceKey struct{}

// Once is a context whose calls are tried once only: who asks whether a region is there
// again can ask again later, and has others waiting.
func Once(ctx context.Context) context.Context { return context.WithValue(ctx, onceKey{}, true) }

func (b *budget) canceled(cause, last error) error {
	err := cause
	if last != nil && !errors.Is(last, context.Canceled) {
		err = fmt.Errorf("%w, after: %w", cause, last)
	}
	return &Error{Op: b.at.Op, Region: b.at.Region, Container: b.at.Container, Name: b.at.Name, Class: Canceled, Err: err}
}

// exhausted is the error of the last try, with the number of tries if there were
// more than one.
func (b *budget) exhausted(err error) error {
	if b.total < 2 {
		return err
	}
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Op: b.at.Op, Region: b.at.Region, Container: b.at.Container, Name: b.at.Name, Class: ClassOf(err), Err: err}
	}
	out := *e
	if out.Err == nil {
		out.Err = errors.New(e.Class.String())
	}
	out.Err = fmt.Errorf("%w (%d tries)", out.Err, b.total)
	return &out
}

// Try calls f until it succeeds, fails for good or the policy's budget is used up. It
// is for calls that are not a Sink's, such as logging in; at names the call.
func Try[T any](ctx context.Context, p RetryPolicy, at Attempt, f func(context.Context) (T, error)) (T, error) {
	var none T
	b := newBudget(p.withDefaults(), at)
	if cause := context.Cause(ctx); cause != nil {
		return none, b.canceled(cause, nil)
	}
	for {
		v, err := f(ctx)
		if err == nil {
			return v, nil
		}
		if err = b.failed(ctx, err); err != nil {
			return none, err
		}
	}
}
