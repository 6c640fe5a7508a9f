package replicator

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"farshore/replicator/audit"
	"farshore/replicator/plan"
	"farshore/store"
)

// beingTrimmed is why a replica is not one any more.
const beingTrimmed = "it is being removed: enough other regions hold it"

// trim removes what spares hold and the chosen destinations hold, too: seen in their
// listings as recorded, at all of them. In p.clear are then the regions of which nothing
// is left.
func (p *pass) trim(ctx context.Context) error {
	p.clear = map[string]bool{}
	if len(p.spares) == 0 || p.o.DryRun || p.histories != nil || p.gone {
		return nil
	}
	var live []*dest
	for _, d := range p.spares {
		if !d.dead.Load() {
			live = append(live, d)
		}
	}
	for _, d := range p.dests {
		if d.dead.Load() {
			return nil // nobody can say what it holds
		}
	}
	if len(live) == 0 || len(p.dests) < len(p.job.To) {
		return nil
	}
	for _, d := range live {
		if err := p.abandonAll(ctx, d); err != nil {
			return err
		}
	}
	if err := p.e.o.Ledger.Flush(ctx); err != nil {
		return err
	}
	j := p.job
	j.spare = nil
	s, err := p.e.survey(ctx, j, p.findings, false)
	if err != nil {
		return err
	}
	t := &trimmer{p: p, s: s, live: live, left: make([]atomic.Int64, len(live))}
	p.e.o.Progress.Phase("removing copies of " + p.job.From.String() + " that enough others hold")
	if err := s.walk(ctx, t.visit, nil); err != nil {
		return err
	}
	if err := p.e.o.Ledger.Flush(ctx); err != nil {
		return err
	}
	for i, d := range live {
		intents, err := p.e.o.Ledger.Intents(d.info.ID, "", 1)
		if err != nil {
			return err
		}
		if t.left[i].Load() == 0 && len(intents) == 0 && !d.dead.Load() {
			p.clear[d.side.Region] = true
		}
	}
	return nil
}

// abandonAll deals with the copies to a spare that an earlier run began: what arrived is
// recorded, and then trimmed like the rest.
func (p *pass) abandonAll(ctx context.Context, d *dest) error {
	return p.eachIntent(d.info.ID, "", "", func(in store.Intent) error { return p.abandon(ctx, d, in) })
}

// trimmer is the trimming of one job.
type trimmer struct {
	p    *pass
	s    *survey
	live []*dest
	left []atomic.Int64 // replicas that stay, by index of live
}

// surplus is a replica that goes.
type surplus struct {
	at  int // index of trimmer.live
	obj *store.Object
	rep store.Replica
}

func (t *trimmer) visit(ctx context.Context, subjects []plan.Subject) error {
	p, l := t.p, t.p.e.o.Ledger
	var going []surplus
	for j := range subjects {
		o := subjects[j].Record
		if o == nil {
			continue
		}
		enough := -1 // not asked yet
		for i, d := range t.live {
			rep, ok := o.Replica(d.info.ID)
			if !ok {
				continue
			}
			if enough < 0 {
				enough = 0
				if t.held(&subjects[j]) {
					enough = 1
				}
			}
			if enough == 0 {
				t.left[i].Add(1)
				continue
			}
			going = append(going, surplus{at: i, obj: o, rep: rep})
		}
	}
	going, err := t.notNeeded(ctx, going)
	if err != nil || len(going) == 0 {
		return err
	}
	// A crash between a delete and its record must not leave a replica that counts.
	for _, x := range going {
		if x.rep.State == store.Confirmed {
			t.change(x, func(o *store.Object) {
				rep := x.rep
				rep.State, rep.Note = store.Lost, beingTrimmed
				o.SetReplica(rep)
			})
		}
	}
	if err := l.Flush(ctx); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(p.e.o.Limits.Streams)
	for _, x := range going {
		g.Go(func() error { return t.remove(gctx, x) })
	}
	return g.Wait()
}

// held reports whether the chosen destinations list an object as recorded, as many as
// the policy wants copies.
func (t *trimmer) held(s *plan.Subject) bool {
	if t.s.unseen.Load() {
		return false // the source is in trouble: this is no time to remove copies
	}
	var regions []string
	for i, d := range t.s.p.dests {
		rep, ok := s.Record.Replica(d.info.ID)
		at := s.Dests[i]
		if !ok || rep.State != store.Confirmed || rep.Version != s.Record.Version || d.dead.Load() || !at.Listed || at.Entry == nil {
			continue
		}
		want := audit.Expect(s.Record, rep)
		if want.Differs(at.Entry.ETag, at.Entry.Size) == "" && !slices.Contains(regions, d.side.Region) {
			regions = append(regions, d.side.Region)
		}
	}
	return len(regions) >= t.p.job.Policy.Place.Copies
}

// notNeeded leaves out what manifests at the same region still need: these go first.
func (t *trimmer) notNeeded(ctx context.Context, list []surplus) ([]surplus, error) {
	if len(list) == 0 {
		return nil, nil
	}
	routes, err := t.p.e.o.Ledger.Routes()
	if err != nil {
		return nil, err
	}
	for i, d := range t.live {
		var there []store.RouteID
		for _, r := range routes {
			if r.Route.To.Region == d.info.Route.To.Region && r.Route.To.Project == d.info.Route.To.Project {
				there = append(there, r.ID)
			}
		}
		need := func(x surplus) store.Need { return store.NeedOf(d.side.Container, t.p.destName(d, x.obj.Name)) }
		var asked []store.Need
		for _, x := range list {
			if x.at == i {
				asked = append(asked, need(x))
			}
		}
		found, err := t.p.e.o.Ledger.Needed(ctx, there, asked)
		if err != nil {
			return nil, err
		}
		list = slices.DeleteFunc(list, func(x surplus) bool {
			stays := x.at == i && found[need(x)]
			if stays {
				t.left[i].Add(1)
			}
			return stays
		})
	}
	return list, nil
}

// change applies fn to the record of an object, unless its replica changed meanwhile.
func (t *trimmer) change(x surplus, fn func(*store.Object)) {
	route := t.live[x.at].info.ID
	t.p.e.o.Ledger.Update(t.p.place, x.obj.Name, func(o *store.Object, exists bool) bool {
		if now, ok := o.Replica(route); ok && now.Version == x.rep.Version {
			fn(o)
		}
		return exists && (len(o.Replicas) > 0 || o.Missing == 0)
	})
}

// remove deletes one replica and its record. What stands there and is not what we wrote
// stays, and is no longer ours.
func (t *trimmer) remove(ctx context.Context, x surplus) error {
	p, d := t.p, t.live[x.at]
	if d.dead.Load() {
		t.left[x.at].Add(1)
		return nil
	}
	if x.rep.State == store.Confirmed || x.rep.State == store.Lost || x.rep.State == store.Cannot && x.rep.ETag != "" {
		gone, err := p.deleteAt(ctx, &item{name: x.obj.Name, record: x.obj, regions: map[string]bool{}, open: 1}, d, x.rep, "enough other regions hold it")
		if err != nil {
			if ctx.Err() != nil || !regionTrouble(err) {
				return cmp.Or(context.Cause(ctx), err)
			}
			t.left[x.at].Add(1)
			b := p.e.breaker(d.side.Region)
			b.note(err)
			d.dead.Store(b.isOpen())
			p.e.o.Log.Warn("a copy that others hold stays for the next pass to remove", "region", d.side.Region, "name", x.obj.Name, "err", err)
			return nil
		}
		if gone {
			p.tally.trimmed.Add(1)
		}
	}
	t.change(x, func(o *store.Object) { o.DropReplica(d.info.ID) })
	return nil
}

// release notes which spares hold nothing more of the policy's containers, so that they
// are not looked at again.
func (e *Engine) release(ran []*pass) error {
	busy := map[string]bool{} // regions where something that came along is left
	for _, p := range ran {
		for _, d := range p.spares {
			if p.job.along && !p.clear[d.side.Region] {
				busy[d.side.Region] = true
			}
		}
	}
	for _, p := range ran {
		if p.job.along || len(p.clear) == 0 {
			continue
		}
		old, err := e.trimmed(p.job.Policy, p.place)
		if err != nil {
			return err
		}
		now := slices.Clone(old)
		for region := range p.clear {
			if !busy[region] && !slices.Contains(now, region) {
				now = append(now, region)
			}
		}
		if slices.Sort(now); len(now) == len(old) {
			continue
		}
		if err := e.remember(trimmedKey(p.job.Policy, p.place), now); err != nil {
			return err
		}
	}
	return nil
}
