package replicator

import (
	"context"
	"time"

	"farshore/policies"
	"farshore/transport"
)

// flow is a policy as the budget sees it.
type flow struct {
	*transport.Flow
	current time.Time // its copies are at least as new as its source was then
}

// flow says on behalf of which policy the work of a context is done, so that what is
// shared is dealt out fairly: requests before regions, streams, memory, bytes.
func (b *budget) flow(ctx context.Context, p policies.Policy) (context.Context, *flow) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.flows[p.Name]
	if f == nil {
		f = &flow{Flow: transport.NewFlow(p.Name), current: b.clock.Now()}
		b.flows[p.Name] = f
	}
	return transport.WithFlow(ctx, f.Flow), f
}

// pass is flow for a pass over all of a policy. One that promises an RPO is in a hurry
// from when half of it has gone by since its copies were current until they are late by
// as much again. done is told whether the pass made them current.
func (b *budget) pass(ctx context.Context, p policies.Policy) (_ context.Context, done func(current bool)) {
	ctx, f := b.flow(ctx, p)
	b.mu.Lock()
	defer b.mu.Unlock()
	began := b.clock.Now()
	if p.RPO > 0 {
		f.Hurry(f.current.Add(p.RPO/2), f.current.Add(2*p.RPO))
	}
	return ctx, func(current bool) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if current {
			f.current = began
		}
		f.Hurry(time.Time{}, time.Time{})
	}
}
