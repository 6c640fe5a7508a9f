package replicator

import (
	"context"

	"farshore/policies"
	"farshore/transport"
)

// AuditJobs is Jobs for an audit, which works without the source: where that does not
// answer, the jobs are those over the containers that the ledger has copies of.
func (e *Engine) AuditJobs(ctx context.Context, p policies.Policy) ([]Job, error) {
	jobs, err := e.Jobs(ctx, p)
	if err == nil || ctx.Err() != nil || !regionTrouble(err) || transport.Is(err, transport.NotFound) {
		return jobs, err
	}
	placed, kerr := e.placement(ctx, p)
	if kerr != nil {
		return nil, kerr
	}
	known, kerr := e.copied(ctx, p, placed, nil)
	if kerr != nil || len(known) == 0 {
		return nil, err // why nothing is known of the source matters more
	}
	return known, nil
}

// copied expands a policy into jobs over the containers, but for those given, of which
// the ledger has objects, or copies that were begun.
func (e *Engine) copied(ctx context.Context, p policies.Policy, placed *placement, but map[string]bool) ([]Job, error) {
	places, err := e.o.Ledger.Places()
	if err != nil {
		return nil, err
	}
	routes, err := e.o.Ledger.Routes()
	if err != nil {
		return nil, err
	}
	id, err := e.identity(ctx, p.From)
	if err != nil {
		return nil, err
	}
	var jobs []Job
	for _, pl := range places {
		c := pl.Place.Container
		if pl.Place.Region != p.From || pl.Place.Project != id.Project || but[c] || !p.Selects(c) {
			continue
		}
		dest, err := p.Destination(c)
		if err != nil {
			continue
		}
		if has, err := e.hasCopies(routes, pl, p, dest); err != nil {
			return nil, err
		} else if has {
			j, err := e.place(ctx, placed, newJob(p, c, dest))
			if err != nil {
				return nil, err
			}
			jobs = append(jobs, j)
		}
	}
	return jobs, nil
}
