package replicator

import (
	"context"
	"crypto/sha256"
	"fmt"

	"golang.org/x/sync/errgroup"

	"farshore/replicator/audit"
	"farshore/replicator/plan"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// Versions that were removed for good at the source go the way of deleted objects:
// only if the policy's deletes propagate, after their grace period, behind the brake,
// and asked for at the source by their own ids before (R4). A delete marker is no such
// thing: it is a part of the history and travels with it at once.

// dueVersions are the versions of one name that may be deleted now.
type dueVersions struct {
	name string
	ids  []string
}

// deleteVersions deletes what was removed for good at the source, then what the place
// still has of objects from before it kept versions.
func (p *pass) deleteVersions(ctx context.Context) error {
	if !p.known {
		return nil
	}
	h := sha256.New()
	due, total, err := p.eachDueVersions(ctx, func(x dueVersions) error {
		for _, id := range x.ids {
			if err := name(h, x.name+"\x00"+id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if due > 0 {
		if p.dry() {
			p.tally.pending.Add(due)
		}
		token := p.token(brakeDeletes, due, h.Sum(nil))
		if p.job.Policy.Brake.TripsDeletes(due, total) && p.o.ReleaseBrake != token && !p.released {
			return p.stopped(token, fmt.Sprintf("%d of %d versions would be deleted for good, more than the policy's %s", due, total, p.job.Policy.Brake.Deletes),
				"check that the source is whole")
		}
		if !p.dry() {
			if err := p.carryDeletes(ctx); err != nil {
				return err
			}
		}
	}
	return p.deletes(ctx)
}

func (p *pass) carryDeletes(ctx context.Context) error {
	p.e.o.Progress.Phase("deleting versions that " + p.job.From.String() + " no longer has")
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(p.e.o.Limits.Streams)
	_, _, err := p.eachDueVersions(gctx, func(x dueVersions) error {
		g.Go(func() error { return p.deletePast(gctx, x) })
		return nil
	})
	if werr := g.Wait(); werr != nil {
		return werr
	}
	if err != nil {
		return err
	}
	return p.e.o.Ledger.Flush(ctx)
}

// eachDueVersions calls fn for the names with versions that may be deleted now; it
// counts those, and all versions there are.
func (p *pass) eachDueVersions(ctx context.Context, fn func(dueVersions) error) (due, total int64, err error) {
	pol := p.job.Policy
	now := micros(p.e.o.Clock.Now())
	for after := ""; ; {
		page, err := p.e.o.Ledger.SeriesPage(p.place, after, "", p.job.From.Prefix, pageSize)
		if err != nil || len(page) == 0 {
			return due, total, err
		}
		for i := range page {
			s := &page[i]
			x := dueVersions{name: s.Name}
			for j := range s.Versions {
				v := &s.Versions[j]
				total++
				if v.Missing == 0 || !p.carries(v) || !pol.Deletes.Propagate {
					continue
				}
				if v.Missing+pol.Deletes.After.Microseconds() > now {
					continue
				}
				x.ids = append(x.ids, v.ID)
			}
			if len(x.ids) > 0 {
				due += int64(len(x.ids))
				if err := fn(x); err != nil {
					return due, total, err
				}
			}
		}
		if err := ctx.Err(); err != nil {
			return due, total, err
		}
		after = page[len(page)-1].Name
	}
}

// carries reports whether a destination of this job has a version.
func (p *pass) carries(v *store.SeriesVersion) bool {
	for _, d := range p.dests {
		if _, ok := v.Replica(d.info.ID); ok && !d.dead.Load() {
			return true
		}
	}
	return false
}

// deletePast removes versions of one name at the destinations, if the source, asked by
// their ids, has none of them.
func (p *pass) deletePast(ctx context.Context, due dueVersions) error {
	s, ok, err := p.e.o.Ledger.Series(p.place, due.name)
	if err != nil || !ok {
		return err
	}
	x := &past{name: due.name, series: s}
	if !p.gone {
		if x.rows, err = p.rowsOf(ctx, due.name); err != nil {
			return p.deleteFailed(ctx, x, err)
		}
	}
	x.series = plan.Track(s, x.rows, micros(p.e.o.Clock.Now()))
	for _, id := range due.ids {
		v := x.series.Find(id)
		if v == nil || v.Missing == 0 {
			continue // it was only a listing that lagged
		}
		if stands, err := p.stands(ctx, due.name, v); err != nil {
			return p.deleteFailed(ctx, x, err)
		} else if stands {
			v.Missing = 0
			continue
		}
		for _, d := range p.dests {
			rep, has := v.Replica(d.info.ID)
			if !has || d.dead.Load() {
				continue
			}
			if (rep.State == store.Confirmed || rep.State == store.Lost) && rep.ID != "" {
				if err := p.deleteVersionAt(ctx, due.name, d, v, rep); err != nil {
					if ctx.Err() != nil || !regionTrouble(err) {
						return err
					}
					p.e.breaker(d.side.Region).note(err)
					p.failed(ctx, &item{name: due.name}, d, err)
					continue
				}
			}
			v.DropReplica(d.info.ID)
		}
	}
	for _, d := range p.dests {
		if d.dead.Load() {
			continue
		}
		if err := p.needLess(ctx, x, d); err != nil {
			if ctx.Err() != nil || !regionTrouble(err) {
				return err
			}
			p.e.o.Log.Warn("segments of a deleted version may stay", "region", d.side.Region, "container", d.side.Container, "name", x.name, "err", err)
		}
	}
	p.saveSeries(x)
	p.saveObject(x, nil)
	return context.Cause(ctx)
}

// needLess looks, when versions of a name were deleted at a destination, what those that are
// left need there: the ledger keeps that of all of them together.
func (p *pass) needLess(ctx context.Context, x *past, d *dest) error {
	old, err := p.e.o.Ledger.Needs(d.info.ID, x.name)
	if err != nil || len(old) == 0 {
		return err
	}
	var needs []store.Need
	for i := range x.series.Versions {
		v := &x.series.Versions[i]
		rep, has := v.Replica(d.info.ID)
		if !has || v.Marker || rep.ID == "" {
			continue
		}
		if rep.State != store.Confirmed {
			return nil // it may stand there all the same
		}
		o, err := d.ep.HeadVersion(ctx, d.side.Container, p.destName(d, x.name), rep.ID)
		if err != nil {
			return err
		}
		if o.Kind != transport.SLO {
			continue
		}
		m, err := p.manifestThere(ctx, x.name, rep.ID, d)
		if err != nil {
			return err
		}
		needs = append(needs, needsOf(m)...)
	}
	p.e.o.Ledger.SetNeeds(d.info.ID, x.name, needs) // none where a delete marker is all that is left
	return nil
}

func (p *pass) deleteFailed(ctx context.Context, x *past, err error) error {
	if !regionTrouble(err) {
		return err
	}
	for _, d := range p.dests {
		p.failed(ctx, &item{name: x.name}, d, err)
	}
	return context.Cause(ctx)
}

// rowsOf lists the versions of one name at the source.
func (p *pass) rowsOf(ctx context.Context, name string) (rows []transport.VersionEntry, err error) {
	err = p.src.Versions(ctx, p.job.From.Container, transport.Range{Prefix: name, Through: name}, func(page []transport.VersionEntry) error {
		for _, r := range page {
			if r.Name == name {
				rows = append(rows, r)
			}
		}
		return nil
	})
	return rows, err
}

// stands asks the source for a version that its listing lacks. A delete marker cannot
// be asked for: the listing that was made just now is believed.
func (p *pass) stands(ctx context.Context, name string, v *store.SeriesVersion) (bool, error) {
	if v.Marker || p.gone || plan.IsPastNull(v.ID) {
		return false, nil
	}
	obj, err := p.src.HeadVersion(ctx, p.job.From.Container, name, v.ID)
	if transport.Is(err, transport.NotFound) {
		return false, nil
	}
	return err == nil && obj.ETag == v.Version.ETag, err
}

// deleteVersionAt removes one version for good, unless it is not what we wrote.
func (p *pass) deleteVersionAt(ctx context.Context, key string, d *dest, v *store.SeriesVersion, rep store.SeriesReplica) error {
	nm := p.destName(d, key)
	leave := func(kind, cause string) {
		p.findings.Add(report.Finding{Kind: kind, Level: report.Warn, Policy: p.job.Policy.Name, Region: d.side.Region, Container: d.side.Container, Name: nm,
			Op: "delete version", Cause: "version " + rep.ID + " was removed at the source; " + cause, Hint: "remove it by hand if it is not wanted"})
	}
	if !v.Marker {
		there, err := d.ep.HeadVersion(ctx, d.side.Container, nm, rep.ID)
		switch {
		case transport.Is(err, transport.NotFound):
			return nil
		case err != nil:
			return err
		case there.ETag != v.Version.ETag:
			p.tally.conflicts.Add(1)
			leave(report.KindConflict, "what stands here is not what we wrote (ETag "+there.ETag+"), so it stays and is no longer ours")
			return nil
		}
		if o, ok := audit.ReadOrigin(there.Header); rep.Adopted && d.back == 0 && !(ok && o.Region == p.job.From.Region) {
			leave(report.KindForeign, "the same bytes stood here before farshore came, written by others, so they stay and are no longer counted as a copy")
			return nil
		}
	} else if rep.Adopted && d.back == 0 {
		leave(report.KindForeign, "this delete marker was made by others, so it stays")
		return nil
	}
	if err := d.ep.DeleteVersion(ctx, d.side.Container, nm, rep.ID); err != nil {
		return err
	}
	p.tally.deleted.Add(1)
	return nil
}

// pendingVersions counts the versions of a name whose delete waits for its grace period.
func (p *pass) pendingVersions(x *past) {
	pol := p.job.Policy
	if !pol.Deletes.Propagate {
		return
	}
	now := micros(p.e.o.Clock.Now())
	for i := range x.series.Versions {
		if v := &x.series.Versions[i]; v.Missing != 0 && p.carries(v) && v.Missing+pol.Deletes.After.Microseconds() > now {
			p.tally.pending.Add(1)
		}
	}
}
