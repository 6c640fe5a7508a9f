package replicator

import (
	"context"
	"errors"
	"slices"
	"sync"

	"farshore/replicator/plan"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// savePastEvery is how many versions of one name are written before the ledger hears
// of them: its record is written as a whole each time. What a crash leaves out is
// found at the destination again.
const savePastEvery = 64

// pastSide is the work on one name at one destination.
type pastSide struct {
	d       *dest
	deeds   plan.Deeds
	current string // the destination's id of the current version; "": none
	err     error  // why it ended early
	over    bool   // conflict: reported, nothing more to do
}

// carry brings one name up to the source at every destination that needs it. Its
// error is one that ends the pass.
func (p *pass) carry(ctx context.Context, x *past) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	for try := range maxVersions {
		var again []*dest
		sides, err := p.carryOnce(ctx, x, try == maxVersions-1)
		if err != nil {
			return err
		}
		for _, s := range sides {
			if s.err != nil {
				again = append(again, s.d)
			}
		}
		x.todo, x.there = again, nil // what stands there now is to be seen again, also after others were waited for
		for _, d := range again {
			x.begun[d] = true
		}
		if len(again) == 0 || x.postponed(sides) {
			break
		}
	}
	if !x.waits(p) {
		p.countPast(x)
	}
	return context.Cause(ctx)
}

// postponed reports whether a name is to wait for what it points at.
func (x *past) postponed(sides []*pastSide) bool {
	return !x.final && slices.ContainsFunc(sides, func(s *pastSide) bool { return errors.Is(s.err, transport.ErrTarget) })
}

// waits reports whether a name has been put off until the others are done.
func (x *past) waits(p *pass) bool {
	p.histories.mu.Lock()
	defer p.histories.mu.Unlock()
	return slices.Contains(p.histories.again, x) && !x.final
}

func (p *pass) carryOnce(ctx context.Context, x *past, last bool) ([]*pastSide, error) {
	var sides []*pastSide
	for _, d := range x.todo {
		s := &pastSide{d: d}
		sides = append(sides, s)
		if d.dead.Load() || !p.e.mayTry(ctx, d.side.Region) {
			p.putOff(d.side.Region)
			s.over = true
			continue
		}
		if s.err = p.begin1(ctx, x, s); s.err != nil && ctx.Err() == nil && !regionTrouble(s.err) {
			return nil, s.err
		}
	}
	if err := p.append(ctx, x, sides); err != nil {
		return nil, err
	}
	for _, s := range sides {
		if s.err == nil && !s.over {
			s.err = p.settlePast(ctx, x, s)
		}
		if s.err != nil && ctx.Err() == nil && !regionTrouble(s.err) {
			return nil, s.err
		}
	}
	p.saveSeries(x)
	for _, s := range sides {
		switch {
		case s.err == nil && (!s.over || len(s.deeds.Foreign) > 0):
			p.saveObject(x, s.d)
			p.tellPast(x, s)
			p.e.breaker(s.d.side.Region).note(nil)
		case s.err != nil && ctx.Err() == nil:
			p.saveObject(x, nil)
			p.pastFailed(ctx, x, s, last)
		}
	}
	return sides, context.Cause(ctx)
}

// pastFailed decides about a destination where the work on a name ended early: it is
// tried again at once, put off, or left to the next pass.
func (p *pass) pastFailed(ctx context.Context, x *past, s *pastSide, last bool) {
	err := s.err
	var te *transport.Error
	if errors.As(err, &te) && te.Region == s.d.side.Region {
		p.e.breaker(te.Region).note(err)
	}
	if errors.Is(err, transport.ErrTarget) && !x.final {
		p.histories.mu.Lock()
		if !slices.Contains(p.histories.again, x) {
			p.histories.again = append(p.histories.again, x)
		}
		p.histories.mu.Unlock()
		return
	}
	switch transport.ClassOf(err) {
	case transport.Transient, transport.Throttled, transport.Corrupt, transport.Changed:
		if !last && !unreachable(err) {
			return
		}
	}
	s.err = nil // not again
	if !p.gaveUp(ctx, s.d.side.Region, err) {
		p.failed(ctx, &item{name: x.name}, s.d, err)
	}
}

// begin1 finds out what a destination needs and does what comes before new versions:
// what stands there already is recorded, headers are brought up.
func (p *pass) begin1(ctx context.Context, x *past, s *pastSide) error {
	d := s.d
	var err error
	if s.deeds, err = p.weigh(ctx, x, d); err != nil {
		return err
	}
	if len(s.deeds.Foreign) > 0 {
		p.pastConflict(x, d, s.deeds.Foreign)
		s.over = true
		return nil
	}
	s.current = shownBy(x.there[d])
	for _, id := range s.deeds.Lost {
		x.series.Find(id).DropReplica(d.info.ID)
	}
	for _, a := range s.deeds.Adopt {
		if err := p.adoptPast(ctx, x, s, a); err != nil {
			return err
		}
	}
	if len(s.deeds.Append)+len(s.deeds.Post)+len(s.deeds.Drop) == 0 && s.right(x) {
		return nil
	}
	if err := p.keepVersionsAt(ctx, d); err != nil {
		return err
	}
	for _, id := range s.deeds.Post {
		if err := p.postPast(ctx, x, s, id); err != nil {
			return err
		}
	}
	for _, id := range s.deeds.Append {
		p.e.o.Progress.Region(d.side.Region).Want(1, x.series.Find(id).Size)
	}
	return nil
}

// adoptPast records a version that stands at a destination already.
func (p *pass) adoptPast(ctx context.Context, x *past, s *pastSide, a plan.Adoption) error {
	v := x.series.Find(a.ID)
	rep := store.SeriesReplica{Route: s.d.info.ID, ID: a.Row.ID, State: store.Confirmed, Written: micros(a.Row.Modified), Confirmed: micros(p.e.o.Clock.Now()),
		Adopted: !a.Ours}
	if x.object != nil {
		if r, ok := x.object.Replica(s.d.info.ID); ok && r.State == store.Confirmed && !r.Adopted && r.Version.ETag == v.Version.ETag {
			rep.Adopted = false // it was written before the container had versions
		}
	}
	if old, ok := v.Replica(s.d.info.ID); ok && old.State == store.Confirmed { // the same under another id
		rep.Adopted, rep.Touched = old.Adopted, old.Touched
	}
	rep.Current = a.Row.ID == s.current
	if x.begun[s.d] && a.Ours && !v.Marker {
		// It was written with the headers that the source had then.
		now, err := versionAt(ctx, p.src, p.job.From.Container, x.name, v.ID, v.Latest)
		switch {
		case transport.Is(err, transport.NotFound):
		case err != nil:
			return err
		default:
			there, err := versionAt(ctx, s.d.ep, s.d.side.Container, p.destName(s.d, x.name), a.Row.ID, a.Row.ID == s.current)
			if err != nil {
				return err
			}
			v.Meta = now.Header.Digest()
			if p.mapped(now.Header, s.d).Digest() != there.Header.Digest() {
				rep.Touched = true
				s.deeds.Post = append(s.deeds.Post, v.ID)
			}
		}
	} else if rep.Adopted {
		if i := slices.IndexFunc(x.rows, func(r transport.VersionEntry) bool { return r.ID == v.ID }); i >= 0 && x.rows[i].ContentType != a.Row.ContentType {
			p.otherHeaders(&item{name: x.name}, s.d)
		}
	}
	v.SetReplica(rep)
	p.tally.adopted.Add(1)
	return nil
}

// postPast carries changed headers of a version that stands at a destination. Swift
// changes those of the current version only, so another one is made current for that.
func (p *pass) postPast(ctx context.Context, x *past, s *pastSide, id string) error {
	v, d := x.series.Find(id), s.d
	rep, ok := v.Replica(d.info.ID)
	if !ok {
		return nil
	}
	name := p.destName(d, x.name)
	now, err := versionAt(ctx, p.src, p.job.From.Container, x.name, v.ID, v.Latest)
	if transport.Is(err, transport.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	there, err := versionAt(ctx, d.ep, d.side.Container, name, rep.ID, rep.ID == s.current)
	if err != nil {
		return err
	}
	want := now.Header.Digest()
	if ours := p.oursStill(there, v, rep); (ours || p.job.Policy.Takeover || x.begun[d]) && p.relinked(now, there, d) {
		v.DropReplica(d.info.ID)
		s.deeds.Append, s.deeds.Drop = append(s.deeds.Append, v.ID), append(s.deeds.Drop, rep.ID)
		return nil
	}
	switch {
	case p.mapped(now.Header, d).Digest() == there.Header.Digest():
	case !p.job.Policy.Takeover && !x.begun[d] && !p.oursStill(there, v, rep):
		p.tally.conflicts.Add(1)
		p.findings.Add(report.Finding{Kind: report.KindConflict, Level: report.Error, Policy: p.job.Policy.Name, Region: d.side.Region, Container: d.side.Container, Name: name,
			Op: "update metadata", Cause: "the headers of version " + rep.ID + " were changed there by others and at the source too; they were left alone",
			Hint: "give both the headers you want, or set takeover: true in the policy to have the source's"})
		return nil
	default:
		if s.current != rep.ID {
			if err := p.makeCurrent(ctx, x, s, rep.ID); err != nil {
				return err
			}
		}
		if err := d.ep.Post(p.e.budget.limit(ctx, p.job.Policy, p.job.From.Region, d.side.Region), d.side.Container, name, p.stamped(now, d)); err != nil {
			return err
		}
		p.tally.meta.Add(1)
	}
	v.Meta = want
	rep, _ = v.Replica(d.info.ID)
	rep.Touched, rep.Confirmed = false, micros(p.e.o.Clock.Now())
	v.SetReplica(rep)
	return nil
}

// append writes versions, oldest first: each is read once for all destinations that
// lack it. A destination that fails gets no younger ones, so that the order holds.
func (p *pass) append(ctx context.Context, x *past, sides []*pastSide) error {
	written := 0
	for i := range x.series.Versions {
		v := &x.series.Versions[i]
		var to []*pastSide
		for _, s := range sides {
			if s.err == nil && !s.over && slices.Contains(s.deeds.Append, v.ID) {
				to = append(to, s)
			}
		}
		if len(to) == 0 {
			continue
		}
		if err := p.writePast(ctx, x, v, to); err != nil {
			return err
		}
		if written += len(to); written >= savePastEvery {
			p.saveSeries(x)
			written = 0
		}
	}
	return context.Cause(ctx)
}

// settlePast ends the work at a destination: what an earlier run left goes, and the
// right version becomes the current one.
func (p *pass) settlePast(ctx context.Context, x *past, s *pastSide) error {
	name := p.destName(s.d, x.name)
	dropped := false
	if !s.right(x) {
		if ok, err := p.stillShown(ctx, x); err != nil || !ok {
			return err
		}
		var err error
		if s.deeds.Current == "" {
			err = p.noCurrent(ctx, x, s)
		} else if rep, there := x.series.Find(s.deeds.Current).Replica(s.d.info.ID); there && rep.State == store.Confirmed {
			if err = p.makeCurrent(ctx, x, s, rep.ID); err == nil {
				err = p.carryExpiry(ctx, x, s)
			}
		}
		if err != nil {
			return err
		}
	}
	for _, id := range s.deeds.Drop {
		if err := s.d.ep.DeleteVersion(ctx, s.d.side.Container, name, id); err != nil {
			return err
		}
		dropped = dropped || id == s.current
	}
	if dropped {
		s.become(x, "")
		return nil
	}
	s.become(x, s.current)
	return nil
}

// each runs f for every side at the same time.
func each(sides []*pastSide, f func(*pastSide)) {
	var wg sync.WaitGroup
	for _, s := range sides {
		wg.Go(func() { f(s) })
	}
	wg.Wait()
}
