package replicator

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"farshore/policies"
	"farshore/replicator/lag"
	"farshore/replicator/plan"
	"farshore/store"
)

// What a pass tells the tracker of lag: while it looks at the source, what a destination
// lacks and since when; and whatever a destination has confirmed. A plan looks at nothing
// for good and tells nothing; containers that only come along with others have no lag of
// their own.

// placeOf is what a job's source is called among the policy's places.
func placeOf(s Side) string {
	if s.Prefix != "" {
		return s.Container + "/" + s.Prefix
	}
	return s.Container
}

// tellPlaces says which containers a policy has and which regions are to hold them, and what
// the ledger knows of them that an earlier process did not live to tell.
func (e *Engine) tellPlaces(ctx context.Context, p policies.Policy, pl *placement, at time.Time, jobs []Job) error {
	if e.o.Lag == nil {
		return nil
	}
	eras, err := e.eras(p, pl)
	if err != nil {
		return err
	}
	where := map[string]lag.Regions{}
	for _, j := range jobs {
		where[placeOf(j.From)] = holdersOf(eras, j)
	}
	e.o.Lag.Placed(p.Name, at, where)
	for _, j := range jobs {
		if err := e.recall(ctx, j); err != nil {
			return err
		}
	}
	return nil
}

// beginLook begins a look at the source, if this is a pass that looks at all of it.
func (p *pass) beginLook() {
	if p.o.DryRun || p.job.along {
		return
	}
	var regions []string
	for _, s := range p.job.To {
		regions = append(regions, s.Region)
	}
	p.lookout = p.e.o.Lag.Look(p.job.Policy.Name, placeOf(p.job.From), regions...)
}

// lookOnly looks at the source when nothing can be carried, so that what waits is known.
func (p *pass) lookOnly(ctx context.Context) error {
	if p.lookout == nil || p.gone {
		return nil
	}
	walk := p.walkAll
	if p.histories != nil {
		walk = p.walkHistories
		for _, d := range p.dests {
			p.histories.lanes[d] = &lane{}
		}
	}
	counted := p.tally
	p.tally = &tally{byCount: map[int]int64{}, byRegion: map[string]int64{}}
	p.counting, p.marking = true, true
	err := walk(ctx)
	p.counting, p.marking, p.tally = false, false, counted
	if err != nil {
		return err
	}
	if err := p.e.o.Ledger.Flush(ctx); err != nil {
		return err
	}
	return p.endLook(ctx, nil)
}

// mark notes in the ledger what a look shows to be gone from the source, and to be there
// again: their grace period does not wait for a destination to answer.
func (p *pass) mark(steps []plan.Step) {
	for _, s := range steps {
		switch {
		case s.Gone && len(s.Inherit) == 0:
			p.markMissing(s)
		case s.Subject.Entry != nil && s.Subject.Record != nil && s.Subject.Record.Missing != 0:
			p.unmark(s.Subject.Name)
		}
	}
}

// endLook ends the look after the deletes: those that were not carried out wait as soon as
// they are due, but for what manifests at a destination still need. err is how they ended.
func (p *pass) endLook(ctx context.Context, err error) error {
	if p.lookout == nil || err != nil && !errors.Is(err, ErrBrake) {
		return err
	}
	derr := p.eachMissing(ctx, func(o store.Object) error {
		for _, d := range p.holders() {
			if _, ok := o.Replica(d.info.ID); ok && !p.kept[o.Name] {
				p.lookout.Due(d.side.Region, o.Name, p.dueSince(&o))
			}
		}
		return nil
	})
	if derr != nil {
		return cmp.Or(err, derr)
	}
	p.lookout.End()
	return err
}

// dueSince is when a delete became due: its grace period is no lag.
func (p *pass) dueSince(o *store.Object) time.Time {
	return time.UnixMicro(o.Missing).Add(p.job.Policy.Deletes.After)
}

// tellDeleted tells of a delete that was carried out. One that waited for manifests was
// not late for that.
func (p *pass) tellDeleted(d *dest, o *store.Object) {
	p.e.o.Lag.Deleted(p.lagItem(d.side.Region, o.Name), p.dueSince(o), !p.kept[o.Name])
}

func (p *pass) lagItem(region, name string) lag.Item {
	return lag.Item{Policy: p.job.Policy.Name, Region: region, Place: placeOf(p.job.From), Name: name}
}

// sight tells of one name what its destinations lack; step is what the plan makes of it.
func (p *pass) sight(s *plan.Subject, step *plan.Step) {
	if p.lookout == nil {
		return
	}
	if s.Entry == nil {
		return // see endLook
	}
	v := plan.VersionOf(s.Entry)
	if s.Record != nil && v.Modified < s.Record.Version.Modified {
		v = s.Record.Version // the listing lags
	}
	at := time.UnixMicro(v.Modified)
	for i, d := range p.dests {
		var r store.Replica
		if s.Record != nil {
			r, _ = s.Record.Replica(d.info.ID)
		}
		switch {
		case r.Version == v && r.State == store.Confirmed:
		case r.Version == v && (r.State == store.Conflict || r.State == store.Cannot), planned(step, d) == plan.Conflict:
			p.lookout.Stuck(d.side.Region)
		case r.Version == v && r.State == store.Lost: // it had arrived: it waits since it is known to be lost
			p.lookout.Waits(d.side.Region, s.Name, p.e.o.Clock.Now(), time.Time{}, s.Entry.Size)
		case p.lacks(i, s.Name, v, step):
			held := time.Time{}
			if r.State == store.Confirmed {
				held = time.UnixMicro(r.Version.Modified)
			}
			p.lookout.Waits(d.side.Region, s.Name, at, held, s.Entry.Size)
		}
	}
	for _, region := range p.away {
		p.lookout.Waits(region, s.Name, at, time.Time{}, s.Entry.Size)
	}
}

// planned is what is to be done at a destination.
func planned(step *plan.Step, d *dest) plan.Action {
	for _, rs := range step.Routes {
		if rs.Route == d.info.ID {
			return rs.Action
		}
	}
	return plan.None
}

// lacks reports whether destination i needs a version that it has not confirmed: one that
// came from there does not go back.
func (p *pass) lacks(i int, name string, v store.Version, step *plan.Step) bool {
	d := p.dests[i]
	if !d.dead.Load() {
		return planned(step, d) != plan.None
	}
	came, err := p.cameFrom(d, name, v)
	return err != nil || !came
}

// cameFrom reports whether a version came from a destination, which confirmed it here.
func (p *pass) cameFrom(d *dest, name string, v store.Version) (bool, error) {
	if d.back == 0 {
		return false, nil
	}
	back, ok, err := p.e.o.Ledger.Get(d.info.To, p.destName(d, name))
	if err != nil || !ok {
		return false, err
	}
	r, ok := back.Replica(d.back)
	return ok && r.State == store.Confirmed && r.Version == v, nil
}

// sightPast tells of a name with versions what its destinations lack.
func (p *pass) sightPast(x *past) {
	if p.lookout == nil {
		return
	}
	lacks := func(d *dest) (oldest, bytes int64) {
		for i := range x.series.Versions {
			v := &x.series.Versions[i]
			r, ok := v.Replica(d.info.ID)
			if v.Missing != 0 || ok && (r.State == store.Confirmed || r.State == store.Cannot || r.State == store.Conflict) {
				continue
			}
			bytes += v.Size
			at := v.Version.Modified
			if r.State == store.Lost {
				at = micros(p.e.o.Clock.Now())
			}
			if oldest == 0 || at < oldest {
				oldest = at
			}
		}
		return oldest, bytes
	}
	for _, d := range p.dests {
		if stuckPast(x, d) {
			p.lookout.Stuck(d.side.Region)
		}
		if at, bytes := lacks(d); at != 0 && (d.dead.Load() || slices.Contains(x.todo, d)) {
			p.lookout.Waits(d.side.Region, x.name, time.UnixMicro(at), time.Time{}, bytes)
		}
	}
	for _, region := range p.away {
		if at, bytes := lacks(&dest{}); at != 0 {
			p.lookout.Waits(region, x.name, time.UnixMicro(at), time.Time{}, bytes)
		}
	}
}

// stuckPast reports whether something of a name waits for a person at a destination.
func stuckPast(x *past, d *dest) bool {
	for i := range x.series.Versions {
		v := &x.series.Versions[i]
		if r, ok := v.Replica(d.info.ID); ok && v.Missing == 0 && (r.State == store.Conflict || r.State == store.Cannot) {
			return true
		}
	}
	return false
}

// tellConfirmed tells what came of an item at a destination, as its record says it.
func (p *pass) tellConfirmed(it *item, d *dest, rep store.Replica) {
	if p.e.o.Lag == nil {
		return
	}
	x := p.lagItem(d.side.Region, it.name)
	if rep.State != store.Confirmed {
		p.e.o.Lag.Stuck(x)
		return
	}
	fresh, size := true, int64(0)
	if it.record != nil {
		old, ok := it.record.Replica(d.info.ID)
		fresh = !ok || old.Version != rep.Version || old.State != store.Confirmed && old.State != store.Lost
	}
	if it.entry != nil {
		size = it.entry.Size
	}
	p.e.o.Lag.Confirmed(x, time.UnixMicro(rep.Version.Modified), size, fresh)
}

// tellPast tells what came of a name with versions at a destination.
func (p *pass) tellPast(x *past, s *pastSide) {
	if p.e.o.Lag == nil {
		return
	}
	it := p.lagItem(s.d.side.Region, x.name)
	if len(s.deeds.Foreign) > 0 {
		p.e.o.Lag.Stuck(it)
		return
	}
	newest, size := int64(0), int64(0)
	for i := range x.series.Versions {
		v := &x.series.Versions[i]
		newest = max(newest, v.Version.Modified)
		if slices.Contains(s.deeds.Append, v.ID) {
			size += v.Size
		}
	}
	p.e.o.Lag.Confirmed(it, time.UnixMicro(newest), size, false)
}
