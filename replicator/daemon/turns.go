package daemon

import (
	"context"
	"slices"
	"sync"
)

// Turns sees that nobody works on a policy while somebody else does: the tasks of a
// schedule, and what people have a daemon do besides. It outlives a schedule, so that
// what was begun before the policy file was read again is waited for. Its methods may be
// called concurrently; the zero value is ready.
type Turns struct {
	mu     sync.Mutex
	by     map[string]string // policy: who works on it
	wanted map[string]int    // policy: how many wait for it in Take
	moved  chan struct{}     // closed and replaced when a policy is let go or wanted no more
}

// try takes a policy unless somebody has it, or waits for it.
func (t *Turns) try(policy, who string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, busy := t.by[policy]; busy || t.wanted[policy] > 0 {
		return false
	}
	t.take(policy, who)
	return true
}

func (t *Turns) take(policy, who string) {
	if t.by == nil {
		t.by = map[string]string{}
	}
	t.by[policy] = who
}

// free lets policies go.
func (t *Turns) free(policies ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range policies {
		delete(t.by, p)
	}
	t.wake()
}

// wake tells those who wait to look again; t.mu is held.
func (t *Turns) wake() {
	if t.moved != nil {
		close(t.moved)
		t.moved = nil
	}
}

// Moved gives what is closed when a policy may have become free.
func (t *Turns) Moved() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.next()
}

func (t *Turns) next() <-chan struct{} {
	if t.moved == nil {
		t.moved = make(chan struct{})
	}
	return t.moved
}

// Take waits until nobody works on any of the policies, and takes them all; release lets
// them go, and may be called more than once. While it waits no task of theirs is begun:
// a person goes before a schedule. waiting is told of who has which of them, as often as
// that changes; nil: nobody. The error is the context's.
func (t *Turns) Take(ctx context.Context, who string, policies []string, waiting func(by map[string]string)) (release func(), err error) {
	policies = slices.Compact(slices.Sorted(slices.Values(policies)))
	t.want(policies, 1)
	defer t.want(policies, -1)
	for {
		t.mu.Lock()
		by := map[string]string{}
		for _, p := range policies {
			if x, busy := t.by[p]; busy {
				by[p] = x
			}
		}
		if len(by) == 0 {
			for _, p := range policies {
				t.take(p, who)
			}
			t.mu.Unlock()
			var once sync.Once
			return func() { once.Do(func() { t.free(policies...) }) }, nil
		}
		moved := t.next()
		t.mu.Unlock()
		if waiting != nil {
			waiting(by)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-moved:
		}
	}
}

func (t *Turns) want(policies []string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.wanted == nil {
		t.wanted = map[string]int{}
	}
	for _, p := range policies {
		if t.wanted[p] += n; t.wanted[p] == 0 {
			delete(t.wanted, p)
		}
	}
	if n < 0 {
		t.wake()
	}
}
