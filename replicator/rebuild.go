package replicator

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"farshore/policies"
	"farshore/replicator/audit"
	"farshore/replicator/plan"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// Rebuild fills a new ledger from what the regions themselves hold, for when the
// old one is lost: identical content is recorded as a replica, and so is an object
// whose origin stamp (R15) says that this engine wrote it from an older version of
// the source, so that the next pass overwrites it instead of calling it a conflict.
// Everything else stays unknown. It writes to the ledger alone.
//
// Destinations that the ledger has listed completely already are left as they are;
// a ledger that knows all of them is refused with a UsageError. So a rebuild that
// was interrupted, or that a region did not answer, is finished by another one.
func (e *Engine) Rebuild(ctx context.Context, p policies.Policy, jobs []Job) (report.Result, error) {
	began := e.o.Clock.Now()
	res := report.Result{Policy: p.Name, Command: "rebuild", Began: began.UTC()}
	f := report.NewFindings(p.Accept, e.o.OnFinding)
	t := &tally{byCount: map[int]int64{}, byRegion: map[string]int64{}}
	var firstErr error
	for _, j := range jobs {
		if firstErr = ctx.Err(); firstErr != nil {
			break
		}
		e.o.Progress.Phase("finding the copies of " + j.From.String())
		if firstErr = e.rebuild(ctx, everywhere(j), f, t); firstErr != nil {
			break
		}
	}
	e.o.Progress.ListingDone()
	if err := e.o.Ledger.Flush(context.WithoutCancel(ctx)); firstErr == nil {
		firstErr = err
	}
	e.regionFindings(p, began, f)
	res.Totals, res.Replicas = t.result(p)
	res.Findings, res.Counts, res.Errors = f.List(), f.Counts(), f.Errors()
	res.Seconds = e.o.Clock.Now().Sub(began).Seconds()
	return res, firstErr
}

// rebuilder is the rebuild of one job.
type rebuilder struct {
	s *survey
	p *pass
	f *report.Findings
	t *tally
}

func (e *Engine) rebuild(ctx context.Context, j Job, f *report.Findings, t *tally) error {
	s, err := e.survey(ctx, j, f, true)
	if err != nil {
		return err
	}
	known := len(s.p.dests)
	s.p.dests = slices.DeleteFunc(s.p.dests, func(d *dest) bool { return !d.info.Listed.IsZero() })
	if len(s.p.dests) == 0 && known > 0 {
		return &UsageError{Msg: fmt.Sprintf("the ledger %s already knows the copies of %s", e.o.Ledger.Path(), j.From),
			Hint: "a rebuild is for a ledger that is lost: move the file aside first, or run farshore audit to check it"}
	}
	b := &rebuilder{s: s, p: s.p, f: f, t: t}
	if s.whyNot != nil || s.srcGone {
		return b.noSource()
	}
	if err := s.walk(ctx, b.visit, nil); err != nil {
		return err
	}
	if s.unseen.Load() {
		return b.noSource()
	}
	if err := e.o.Ledger.Flush(ctx); err != nil {
		return err
	}
	now := e.o.Clock.Now()
	for _, d := range s.p.dests {
		if d.dead.Load() {
			b.f.Add(report.Finding{Kind: report.KindDegraded, Level: report.Warn, Policy: j.Policy.Name, Region: d.side.Region, Container: d.side.Container, Op: "rebuild ledger",
				Cause: "the region did not answer, so its copies are still unknown", Hint: "run farshore ledger rebuild again when it does, before the next farshore sync"})
		}
		if d.dead.Load() || d.absent {
			continue // its first listing is still to come
		}
		if err := e.o.Ledger.SetListed(d.info.ID, now); err != nil {
			return err
		}
	}
	return nil
}

func (b *rebuilder) noSource() error {
	if b.s.whyNot != nil {
		return b.s.whyNot
	}
	from := b.p.job.From
	return &transport.Error{Op: "rebuild ledger", Region: from.Region, Container: from.Container, Class: transport.NotFound,
		Err: errors.New("the source container does not exist"), Hint: "a ledger is rebuilt from both sides; if the source is lost, bring it back first: see docs/operations.md"}
}

// visit records what can be told of one part of the names.
func (b *rebuilder) visit(ctx context.Context, subjects []plan.Subject) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(b.p.e.o.Limits.Streams)
	for j := range subjects {
		s := &subjects[j]
		if s.Entry == nil {
			continue
		}
		b.t.listed.Add(1)
		if s.Entry.Kind == transport.Symlink {
			continue // the next pass compares where it points, and adopts it
		}
		var found []store.Replica
		var doubts []int
		for i, at := range s.Dests {
			if at.Entry == nil || !at.Listed {
				continue
			}
			if rep, ok := identicalTo(s, at); ok {
				found = append(found, rep)
			} else {
				doubts = append(doubts, i)
			}
		}
		empty := s.Entry.Kind == transport.Plain && s.Entry.Size == 0
		if len(doubts) == 0 && s.Entry.Kind == transport.Plain && !(empty && len(found) > 0) {
			b.record(s, found)
			continue
		}
		g.Go(func() error {
			for _, i := range doubts {
				rep, ok, err := b.stamped(ctx, s, i)
				if err != nil {
					return err
				}
				if ok {
					found = append(found, rep)
				}
			}
			var err error
			switch {
			case s.Entry.Kind == transport.SLO:
				found, err = b.manifests(ctx, s, found)
			case empty:
				found, err = b.alike(ctx, s, found)
			}
			if err != nil {
				return err
			}
			b.record(s, found)
			return nil
		})
	}
	return g.Wait()
}

// manifests reads what the manifests that were found need. One that cannot be read is
// left to the next pass.
func (b *rebuilder) manifests(ctx context.Context, s *plan.Subject, found []store.Replica) ([]store.Replica, error) {
	var out []store.Replica
	for _, r := range found {
		it, d := &item{name: s.Name}, b.p.byRoute(r.Route)
		if err := b.p.learnManifest(ctx, it, d); err != nil {
			if ctx.Err() != nil || !regionTrouble(err) {
				return nil, err
			}
			continue
		}
		b.p.e.o.Ledger.SetNeeds(r.Route, s.Name, it.needs[d])
		out = append(out, r)
	}
	return out, nil
}

// alike leaves out copies that only look like the source's object, which has no bytes: in
// listings dynamic manifests are such objects (S5). The next pass compares them.
func (b *rebuilder) alike(ctx context.Context, s *plan.Subject, found []store.Replica) ([]store.Replica, error) {
	src, err := b.p.src.Head(ctx, b.p.job.From.Container, s.Name)
	if err != nil {
		if ctx.Err() != nil || !regionTrouble(err) {
			return nil, err
		}
		return nil, nil
	}
	var out []store.Replica
	for _, r := range found {
		d := b.p.byRoute(r.Route)
		there, err := d.ep.Head(ctx, d.side.Container, b.p.destName(d, s.Name))
		if err != nil {
			if ctx.Err() != nil || !regionTrouble(err) {
				return nil, err
			}
			continue
		}
		if src.Kind == there.Kind && pointsAlike(b.p.mapped(src.Header, d), there.Header) {
			out = append(out, r)
		}
	}
	return out, nil
}

// identicalTo adopts the very content.
func identicalTo(s *plan.Subject, at plan.Dest) (store.Replica, bool) {
	e := at.Entry
	if e.Kind != s.Entry.Kind || e.ETag != s.Entry.ETag || e.Size != s.Entry.Size {
		return store.Replica{}, false
	}
	return store.Replica{Route: at.Route, State: store.Confirmed, Version: plan.VersionOf(s.Entry), Written: micros(e.Modified), Adopted: true}, true
}

// stamped asks an object that differs from the source where it came from.
func (b *rebuilder) stamped(ctx context.Context, s *plan.Subject, i int) (rep store.Replica, ok bool, err error) {
	d := b.p.dests[i]
	if d.dead.Load() {
		return rep, false, nil
	}
	obj, err := d.ep.Head(ctx, d.side.Container, b.p.destName(d, s.Name))
	switch {
	case transport.Is(err, transport.NotFound):
		return rep, false, nil
	case err != nil && (ctx.Err() != nil || !regionTrouble(err)):
		return rep, false, err
	case err != nil:
		b.p.lose(d, err)
		return rep, false, nil
	}
	if rep, ok = ownCopy(b.p.job.From.Region, s.Entry, obj); !ok {
		b.f.Add(report.Finding{Kind: report.KindForeign, Level: report.Info, Policy: b.p.job.Policy.Name, Region: d.side.Region, Container: d.side.Container, Name: obj.Name,
			Op: "rebuild ledger", Cause: "it differs from the source, and nothing on it says that farshore wrote it from an older version: it stays unknown",
			Hint: "the next farshore sync reports it as a conflict"})
	}
	rep.Route = d.info.ID
	return rep, ok, nil
}

// ownCopy reads from its stamp which version of the source an object is a copy of.
// A plain object must still have the content the stamp speaks of. A manifest's ETag
// says nothing of its content; but whoever writes another one loses the stamp. A
// version newer than the source's own is not believed: that source has been put
// back to an older state, and overwriting its copies would lose the newer one.
func ownCopy(region string, source *transport.Entry, obj transport.Object) (rep store.Replica, ok bool) {
	origin, ok := audit.ReadOrigin(obj.Header)
	if !ok || origin.Region != region || origin.Version.Modified > micros(source.Modified) {
		return rep, false
	}
	rep = store.Replica{State: store.Confirmed, Version: origin.Version, Written: micros(obj.Modified)}
	switch {
	case obj.Kind == transport.Plain && obj.ETag == origin.Version.ETag:
		return rep, true
	case obj.Kind == transport.SLO && (origin.Version.ETag != source.ETag || obj.Size == source.Size):
		rep.ETag = obj.ETag
		return rep, true
	}
	return rep, false
}

// record writes what was found of one object.
func (b *rebuilder) record(s *plan.Subject, found []store.Replica) {
	e, v := s.Entry, plan.VersionOf(s.Entry)
	held := map[string]bool{}
	for _, r := range found {
		if r.Version == v {
			held[b.p.byRoute(r.Route).side.Region] = true
		}
	}
	b.t.held(len(held))
	if len(found) == 0 {
		return
	}
	b.t.adopted.Add(int64(len(found)))
	now := micros(b.p.e.o.Clock.Now())
	b.p.e.o.Ledger.Update(b.p.place, s.Name, func(o *store.Object, exists bool) bool {
		o.Name = s.Name
		if !exists || o.Version.Modified < v.Modified {
			b.p.newer(o, v, e.Size)
		}
		for _, r := range found {
			if _, has := o.Replica(r.Route); !has {
				r.Confirmed = now
				o.SetReplica(r)
			}
		}
		return true
	})
}
