package replicator

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"farshore/replicator/audit"
	"farshore/replicator/plan"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// faults writes a part's missing and damaged replicas down, and reports them, after
// their repair if that was asked for.
func (x *auditJob) faults(ctx context.Context, rs []*replica) error {
	if err := x.distrust(ctx, rs); err != nil {
		return err
	}
	var fix []*replica
	for _, r := range rs {
		if r.fault == report.KindMissing {
			x.missing.Add(1)
		} else {
			x.damaged.Add(1)
		}
		why := x.hopeless(r)
		if x.o.Repair && why == "" {
			fix = append(fix, r)
			continue
		}
		level, hint := report.Error, "send it again with farshore audit --repair"
		switch {
		case r.editedThere():
			level, hint = report.Warn, "it was edited there: the pass in the opposite direction carries it"
		case r.theirs && !x.policy.Takeover:
			hint = "promise kept: it is not touched. Rename or remove it there and run farshore audit --repair, or set takeover: true in the policy"
		case why != "":
			hint = why
		}
		x.add(r.fault, level, r.d, r.sub.Name, r.cause, hint)
	}
	if len(fix) == 0 {
		return nil
	}
	return x.repair(ctx, fix)
}

// hopeless says why a replica cannot be sent again; "" if it can.
func (x *auditJob) hopeless(r *replica) string {
	switch {
	case r.theirs && (!x.policy.Takeover || r.d.back != 0):
		return "it cannot be repaired: what stands there is not ours"
	case !x.sourceAway(r) || len(x.standIns(r)) > 0:
		return ""
	case r.gone:
		return "it cannot be repaired: the source no longer has the object, nor has another destination"
	case x.s.srcGone:
		return "it cannot be repaired: the source's container is lost, and no other destination has the object"
	}
	return "it cannot be repaired while the source does not answer: no other destination has the object"
}

// distrust has the ledger no longer count what the audit saw to be missing or wrong. The
// next pass looks at it, and sends it again or says why not.
func (x *auditJob) distrust(ctx context.Context, rs []*replica) error {
	l := x.e.o.Ledger
	for _, r := range rs {
		if r.editedThere() || r.rec.State == store.Lost && !missed(r.rec) {
			continue
		}
		l.Update(x.p.place, r.sub.Name, func(o *store.Object, exists bool) bool {
			if now, ok := o.Replica(r.d.info.ID); ok && now == r.rec {
				if now.State != store.Lost {
					now.Confirmed = micros(x.e.o.Clock.Now())
				}
				now.State, now.Note = store.Lost, r.fault+": "+r.cause
				o.SetReplica(now)
			}
			return exists
		})
	}
	return l.Flush(ctx)
}

// editedThere reports whether a copy was edited where objects also come from: that is news
// for the opposite direction, which must still know it as what was written there once.
func (r *replica) editedThere() bool { return r.theirs && r.d.back != 0 }

// missed reports whether an audit did not find a replica, rather than find it wrong.
func missed(r store.Replica) bool { return strings.HasPrefix(r.Note, report.KindMissing+":") }

// trustAgain has the ledger count a replica that an earlier audit missed and that stands
// there after all.
func (x *auditJob) trustAgain(r *replica) {
	if r.rec.State != store.Lost {
		return
	}
	x.e.o.Ledger.Update(x.p.place, r.sub.Name, func(o *store.Object, exists bool) bool {
		if now, ok := o.Replica(r.d.info.ID); ok && now == r.rec {
			now.State, now.Note, now.Confirmed = store.Confirmed, "", micros(x.e.o.Clock.Now())
			o.SetReplica(now)
		}
		return exists
	})
}

// repair sends replicas again, from the source or, where that is away, from another
// destination, and looks at them once more.
func (x *auditJob) repair(ctx context.Context, rs []*replica) error {
	causes := &repairCauses{of: map[string]string{}}
	var direct, away []*replica
	for _, r := range rs {
		if x.sourceAway(r) {
			away = append(away, r)
		} else {
			direct = append(direct, r)
		}
	}
	if err := x.sendAgain(ctx, direct, causes); err != nil {
		return err
	}
	if err := x.relay(ctx, away, causes); err != nil {
		return err
	}
	return x.each(ctx, rs, func(ctx context.Context, r *replica) error { return x.proveRepair(ctx, r, causes) })
}

// sendAgain sends replicas again from the source, as a pass would.
func (x *auditJob) sendAgain(ctx context.Context, rs []*replica, causes *repairCauses) error {
	l := x.e.o.Ledger
	p := x.repairer(x.p.job, x.p.src, causes)
	var steps []plan.Step
	for _, r := range rs {
		if err := p.ensureDest(ctx, r.d); err != nil {
			if ctx.Err() != nil || !regionTrouble(err) {
				return err
			}
			causes.add(report.Finding{Name: r.sub.Name, Cause: err.Error()})
			continue
		}
		step := plan.RouteStep{Route: r.d.info.ID, Action: plan.Copy, IfAbsent: r.fault == report.KindMissing, Why: "repair"}
		if n := len(steps); n > 0 && steps[n-1].Subject.Name == r.sub.Name {
			steps[n-1].Routes = append(steps[n-1].Routes, step)
			continue
		}
		s, err := x.subject(ctx, r, causes)
		if err != nil {
			return err
		}
		if s.Entry != nil {
			steps = append(steps, plan.Step{Subject: s, Routes: []plan.RouteStep{step}})
		}
	}
	g, working := errgroup.WithContext(ctx)
	g.SetLimit(x.e.o.Limits.Streams)
	p.start = func(work func(context.Context) error) { g.Go(func() error { return work(working) }) }
	err := p.handOut(working, steps)
	if werr := g.Wait(); werr != nil {
		err = werr
	}
	if ferr := l.Flush(ctx); err == nil {
		err = ferr
	}
	if err != nil {
		return err
	}
	x.tally.addWork(p.tally)
	return nil
}

// repairer is a pass that copies for a repair, from there; what goes wrong is kept for the
// audit to tell.
func (x *auditJob) repairer(job Job, from transport.Sink, causes *repairCauses) *pass {
	return &pass{e: x.e, job: job, src: from, place: x.p.place, known: true, dests: x.p.dests, kin: newKin(), account: x.p.account,
		findings: report.NewFindings(nil, causes.add), tally: &tally{byCount: map[int]int64{}, byRegion: map[string]int64{}}}
}

// subject is what the copier needs to know of an object: its record as it is now,
// and the source's version, by name where no listing has it.
func (x *auditJob) subject(ctx context.Context, r *replica, causes *repairCauses) (plan.Subject, error) {
	s := plan.Subject{Name: r.sub.Name, Entry: r.sub.Entry}
	o, ok, err := x.e.o.Ledger.Get(x.p.place, s.Name)
	if err != nil {
		return s, err
	}
	if ok {
		s.Record = &o
	}
	if s.Entry != nil && micros(s.Entry.Modified) >= r.sub.Record.Version.Modified {
		return s, nil
	}
	obj, err := x.p.src.Head(ctx, x.p.job.From.Container, s.Name)
	if err != nil {
		if ctx.Err() != nil || !regionTrouble(err) {
			return s, err
		}
		causes.add(report.Finding{Name: s.Name, Cause: err.Error()})
		s.Entry = nil
		return s, nil
	}
	s.Entry = &transport.Entry{Name: s.Name, Size: obj.Size, ETag: obj.ETag, Modified: obj.Modified, Kind: obj.Kind}
	return s, nil
}

// proveRepair looks at a replica that was sent again, by its bytes if they were
// what was wrong, and reports it as repaired or as what it was found to be.
func (x *auditJob) proveRepair(ctx context.Context, r *replica, causes *repairCauses) error {
	was, cause := r.fault, r.cause
	failed := func(why string) error {
		r.fault, r.seen = was, false
		x.add(was, report.Error, r.d, r.sub.Name, cause+"; its repair failed: "+why, "run farshore audit --repair again when the cause is gone")
		return nil
	}
	o, ok, err := x.e.o.Ledger.Get(x.p.place, r.sub.Name)
	if err != nil {
		return err
	}
	rec, has := o.Replica(r.d.info.ID)
	if !ok || !has || rec.State != store.Confirmed {
		why := causes.get(r.sub.Name, x.p.destName(r.d, r.sub.Name))
		if why == "" {
			why = "the region does not answer"
		}
		return failed(why)
	}
	again := &replica{sub: r.sub, obj: r.obj, i: r.i, d: r.d, rec: rec, want: audit.Expect(&o, rec)}
	if err := x.ask(ctx, again); err != nil {
		return err
	}
	if again.seen && r.byBytes {
		if err := x.read(ctx, again); err != nil {
			return err
		}
	}
	if !again.seen {
		return failed(again.cause)
	}
	x.repaired.Add(1)
	r.rec, r.want, r.seen, r.fixed, r.fault = rec, again.want, true, true, ""
	how := "sent again, and seen there by name"
	if r.byBytes {
		how = "sent again, and read back whole"
	}
	x.add(report.KindRepaired, report.Info, r.d, r.sub.Name, fmt.Sprintf("%s: %s; %s", was, cause, how), "")
	return nil
}

// repairCauses keeps why copies of one part failed, by name.
type repairCauses struct {
	mu sync.Mutex
	of map[string]string
}

func (c *repairCauses) add(f report.Finding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of[f.Name] = f.Cause
}

func (c *repairCauses) get(names ...string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range names {
		if w := c.of[n]; w != "" {
			return w
		}
	}
	return ""
}
