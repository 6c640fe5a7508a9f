package replicator

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"farshore/policies"
	"farshore/replicator/plan"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// CopyJob says where objects that CopyNames is given by name come from and go to.
type CopyJob struct {
	Policy policies.Policy // its name, limits and way with large objects
	From   Side
	To     []Side
	// Again sends what the ledger says stands there as well: an audit did not find it
	// so. What is there is overwritten if it is ours.
	Again bool
	// Look asks for names that the ledger does not know before they are sent: much of
	// it may stand there from before the ledger was lost.
	Look bool
}

// CopyResult is what CopyNames did.
type CopyResult struct {
	Totals report.Totals
	// Down holds the destinations that could not be used, with the error. One that did
	// not answer is reported nowhere else; of any other trouble there is a finding.
	Down map[string]error
}

var errLeftOut = errors.New("it cannot be used; see the finding about it")

// namesAtOnce is how many names have their intents written together.
const namesAtOnce = 256

// CopyNames copies the objects that arrive on names, as their source lists them, to
// every destination, by the copier that passes use: read once, within the engine's
// limits, confirmed by the destination's checksum, recorded, and gone on with after an
// interruption. It lists nothing, deletes nothing and touches no container's
// properties; a destination's container is made if it is missing. It returns when
// names is closed and everything is confirmed or reported, or with an error that ends
// all of it: the ledger's, the source's that does not answer, or the context's. Then
// names may be left unread.
//
// A failed copy is a finding; what became of a name, the destination's listing tells.
func (e *Engine) CopyNames(ctx context.Context, job CopyJob, names <-chan transport.Entry, f *report.Findings) (CopyResult, error) {
	job.Policy.Properties = policies.Properties{} // containers of backups are Cinder's own business
	t := &tally{byCount: map[int]int64{}, byRegion: map[string]int64{}}
	p := &pass{e: e, job: Job{Policy: job.Policy, From: job.From, To: job.To, along: true}, findings: f, tally: t, kin: newKin()}
	defer e.budget.follow()()
	ctx, _ = e.budget.flow(ctx, job.Policy)
	err := p.open(ctx)
	if err == nil {
		err = p.copyNames(ctx, names, job)
	}
	if ferr := e.o.Ledger.Flush(context.WithoutCancel(ctx)); err == nil {
		err = ferr
	}
	res := CopyResult{Down: map[string]error{}}
	res.Totals, _ = t.result(job.Policy)
	for _, to := range job.To {
		if b := e.breaker(to.Region); b.isOpen() {
			_, res.Down[to.Region] = b.failure(time.Time{})
		} else if !slices.ContainsFunc(p.dests, func(d *dest) bool { return d.side == to && !d.dead.Load() }) {
			res.Down[to.Region] = errLeftOut
		}
	}
	return res, err
}

// copyNames hands the names out to workers as they arrive.
func (p *pass) copyNames(ctx context.Context, names <-chan transport.Entry, job CopyJob) error {
	var late *errgroup.Group
	if len(p.dests) > 1 {
		late = p.startLaggards(ctx)
	}
	g, working := errgroup.WithContext(ctx)
	g.SetLimit(readAhead * p.e.o.Limits.Streams)
	p.start = func(do func(context.Context) error) { g.Go(func() error { return do(working) }) }
	err := p.takeNames(working, names, job)
	if werr := g.Wait(); werr != nil && (err == nil || errors.Is(err, context.Canceled)) {
		err = werr // the names were only left because of it
	}
	if late != nil {
		for _, d := range p.dests {
			close(d.late)
		}
		if lerr := late.Wait(); err == nil {
			err = lerr
		}
	}
	return err
}

func (p *pass) takeNames(ctx context.Context, names <-chan transport.Entry, job CopyJob) error {
	for open := true; open; {
		var steps []plan.Step
		for len(steps) < namesAtOnce {
			var e transport.Entry
			if len(steps) == 0 { // wait for one, then take what is there
				select {
				case e, open = <-names:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			} else {
				select {
				case e, open = <-names:
				default:
					e.Name = ""
				}
			}
			if e.Name == "" {
				break
			}
			s, err := p.nameStep(e, job)
			if err != nil {
				return err
			}
			if !s.Idle() {
				steps = append(steps, s)
			}
		}
		if err := p.handOut(ctx, steps); err != nil {
			return err
		}
	}
	return nil
}

// nameStep plans one name from what the ledger knows of it.
func (p *pass) nameStep(e transport.Entry, job CopyJob) (plan.Step, error) {
	l := p.e.o.Ledger
	s := plan.Subject{Name: e.Name, Entry: &e}
	rec, ok, err := l.Get(p.place, e.Name)
	if err != nil {
		return plan.Step{}, err
	}
	if ok {
		s.Record = &rec
	}
	step := plan.Step{}
	for i, d := range p.dests {
		at := p.at(&s, i)
		at.Route = d.info.ID
		if d.dead.Load() {
			continue
		}
		in, begun, err := l.Intent(d.info.ID, e.Name)
		if err != nil {
			return plan.Step{}, err
		}
		rep, has := rec.Replica(d.info.ID)
		if begun {
			at.Intent = &in
		}
		rs := plan.RouteStep{Route: d.info.ID, Action: plan.Copy, IfAbsent: true}
		switch {
		case has && rep.State == store.Confirmed && rep.Version.ETag == e.ETag && !job.Again:
			continue
		case has && (rep.State == store.Confirmed || rep.State == store.Lost):
			rs.IfAbsent = false // ours
		case has, begun && in.Layout.Count() == 0, job.Look && !begun && !d.fresh:
			rs.Action = plan.Recheck // what stands there is perhaps what an earlier run sent
		}
		step.Routes = append(step.Routes, rs)
	}
	step.Subject = s
	return step, nil
}
