package replicator

import (
	"context"

	"farshore/store"
	"farshore/transport"
)

// looked is what a destination said of its container.
type looked struct {
	info transport.ContainerInfo
	err  error
}

// askEarly asks what the regions are going to be asked anyway while the source is asked
// about its container: on a long way each round trip in a row counts. Destinations are
// asked on the first pass of their route only (an unchanged pass asks them nothing); of
// the others the channel is nil.
func (p *pass) askEarly(ctx context.Context, from store.Place) (early []<-chan looked, err error) {
	early = make([]<-chan looked, len(p.job.To))
	if p.job.along { // perhaps there is no such container at the source, and nothing to ask
		return early, nil
	}
	go func() { _, _ = p.src.Abilities(ctx) }() // the listing's page size; who needs it sees the error
	for i, to := range p.job.To {
		ep, err := p.e.region(to.Region)
		if err != nil || p.e.breaker(to.Region).isOpen() {
			continue
		}
		id, err := ep.Identity(ctx)
		if err != nil {
			continue
		}
		known, ok, err := p.e.o.Ledger.FindRoute(p.route(from, to, id.Project))
		if err != nil {
			return nil, err
		}
		if ok && !known.Listed.IsZero() {
			continue
		}
		answer := make(chan looked, 1)
		early[i] = answer
		go func() {
			info, err := ep.Container(ctx, to.Container)
			answer <- looked{info, err}
		}()
		if p.job.From.Prefix == "" {
			go p.kin.rooms.ask(ctx, to.Region, ep)
		}
		if !p.o.DryRun {
			go func() { _, _ = ep.Abilities(ctx) }() // what the first writes depend on
		}
	}
	return early, nil
}
