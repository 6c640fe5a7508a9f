package replicator

import (
	"context"
	"fmt"
	"sync"
	"time"

	"farshore/transport"
)

// breaker notices that a region does not answer, so that its copies fail at once
// instead of one by one after a full cycle of retries each.
type breaker struct {
	clock transport.Clock

	mu      sync.Mutex
	inRow   int
	err     error     // why it opened
	last    time.Time // when that was, or something was put off because of it
	until   time.Time
	skipped int64 // put off since it opened
	over    bool  // a success came since
}

// A breaker opens after failuresToOpen failures in a row and lets one try
// through every tryAgain.
const (
	failuresToOpen = 3
	tryAgain       = 10 * time.Second
)

// allow reports whether the region should be tried now.
func (b *breaker) allow() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.inRow < failuresToOpen {
		return true
	}
	if now := b.clock.Now(); !now.Before(b.until) {
		b.until = now.Add(tryAgain)
		return true
	}
	b.skip()
	return false
}

// skip counts something that is put off; mu is held.
func (b *breaker) skip() {
	b.begin()
	b.skipped++
	b.last = b.clock.Now()
}

// begin forgets what was put off before the region answered again; mu is held.
func (b *breaker) begin() {
	if b.over {
		b.skipped, b.over = 0, false
	}
}

// refusal gives the error of a region that was found unusable a moment ago, so that
// it is not asked again for each container; nil when it may be asked.
func (b *breaker) refusal() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.inRow >= failuresToOpen && b.clock.Now().Before(b.until) {
		return b.err
	}
	return nil
}

// note learns from the outcome of a call. Only failures that speak of the region
// as a whole count.
func (b *breaker) note(err error) {
	c := transport.ClassOf(err)
	if err != nil && c == transport.Canceled {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil || c != transport.Transient {
		b.inRow, b.over = 0, true
		return
	}
	b.inRow++
	if b.inRow >= failuresToOpen {
		b.open(err)
	}
}

// open puts the next try off; mu is held.
func (b *breaker) open(err error) {
	b.begin()
	now := b.clock.Now()
	b.err, b.last = err, now
	// Who finds it open does not put the next try off again: passes that begin every few
	// seconds would never try.
	if !now.Before(b.until) {
		b.until = now.Add(tryAgain)
	}
}

// fail opens it at once: the region cannot be used at all.
func (b *breaker) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inRow = failuresToOpen
	b.open(err)
}

// isOpen reports whether the region failed too often in a row just now.
func (b *breaker) isOpen() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.inRow >= failuresToOpen
}

// gaveUp opens it for a copy that failed because nobody answered; the copy waits.
func (b *breaker) gaveUp(err error) {
	b.fail(err)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.skip()
}

// failure is how many objects were put off since the region was found down, and why; no
// error when that was not after a moment: an engine outlives outages.
func (b *breaker) failure(since time.Time) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil || b.last.Before(since) {
		return 0, nil
	}
	return b.skipped, b.err
}

// askAgain asks a region that did not answer before whether it does now, once, before
// anything is done there: what a whole cycle of retries would cost is time of everybody
// else in the pass, and of the next look at the source.
func (e *Engine) askAgain(ctx context.Context, region string) error {
	b := e.breaker(region)
	if !b.isOpen() {
		return nil
	}
	if err := b.refusal(); err != nil {
		return err
	}
	return e.probe(ctx, region)
}

// mayTry reports whether something should be tried at a region: not where it is known not
// to answer, before it does again.
func (e *Engine) mayTry(ctx context.Context, region string) bool {
	b := e.breaker(region)
	return b.allow() && (!b.isOpen() || e.probe(ctx, region) == nil)
}

// probeFor is how long a region that did not answer has to say that it does now.
const probeFor = 5 * time.Second

// probe asks for the smallest thing there is, once; nil when the region answered, with a
// refusal too.
func (e *Engine) probe(ctx context.Context, region string) error {
	ep, err := e.region(region)
	if err != nil {
		return err
	}
	brief, cancel := context.WithTimeout(transport.Once(ctx), probeFor)
	defer cancel()
	if _, err = ep.Account(brief); brief.Err() != nil && err != nil && ctx.Err() == nil {
		err = &transport.Error{Op: "look at", Region: region, Class: transport.Transient, Err: fmt.Errorf("it did not answer before, and does not within %s", probeFor)}
	}
	e.breaker(region).note(err)
	if transport.Is(err, transport.Transient) || ctx.Err() != nil {
		return err
	}
	return nil
}
