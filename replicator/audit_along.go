package replicator

import (
	"context"
	"slices"

	"farshore/store"
)

// alongside gives, by the ledger alone, the jobs over what comes along with others:
// segments, link targets, archives. What others point to comes before what points to
// it, so that a repair of a manifest finds its segments repaired.
func (e *Engine) alongside(ctx context.Context, jobs []Job) ([]Job, error) {
	var known []*pass
	var out []Job
	for more := jobs; len(more) > 0; {
		for _, j := range more {
			p, err := e.onPaper(ctx, j)
			if err != nil {
				return nil, err
			}
			known = append(known, p)
		}
		var err error
		if more, err = e.companions(known); err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	slices.Reverse(out)
	return out, nil
}

// onPaper is a job's pass as far as the ledger and the policy tell it: no region is
// asked but for the account that the source is, and that one need not answer.
func (e *Engine) onPaper(ctx context.Context, j Job) (*pass, error) {
	id, err := e.identity(ctx, j.From.Region)
	if err != nil {
		return nil, err
	}
	p := &pass{e: e, job: j}
	if p.place, p.known, err = e.o.Ledger.FindPlace(store.Place{Region: j.From.Region, Project: id.Project, Container: j.From.Container}); err != nil {
		return nil, err
	}
	for _, to := range j.To {
		p.dests = append(p.dests, &dest{side: to})
	}
	return p, nil
}

// pointsNowhere reports whether the job is over a container that objects of another
// point to, and that neither the source nor the ledger has: there is nothing to prove.
func (x *auditJob) pointsNowhere() (bool, error) {
	if !x.p.job.along || !x.s.srcGone {
		return false, nil
	}
	if !x.p.known {
		return true, nil
	}
	some, err := x.e.o.Ledger.Page(x.p.place, "", "", x.p.job.From.Prefix, 1)
	if err != nil || len(some) > 0 {
		return false, err
	}
	histories, err := x.p.knowsHistories()
	return !histories, err
}
