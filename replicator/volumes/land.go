package volumes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"farshore/policies"
	"farshore/replicator"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
	"farshore/transport/backup"
)

// copyJob is the copy of a point's objects by the object engine: under the same names,
// in a container of the same name, since a record names them in full (C6).
func copyJob(p policies.Policy, pt store.Point, dests []string) replicator.CopyJob {
	job := replicator.CopyJob{Policy: p, From: replicator.Side{Region: pt.Region, Container: pt.Container}}
	for _, to := range dests {
		job.To = append(job.To, replicator.Side{Region: to, Container: pt.Container})
	}
	return job
}

// deliver brings a complete backup to its destinations: what is missing of its data,
// _metadata after all of it, the descriptor, and then the record. One destination's
// trouble is no other's.
func (t *trip) deliver(ctx context.Context, dests []string) error {
	var ship, land []string // shipped ones only want their record
	for _, to := range dests {
		if c, ok := t.pt.Copy(to); ok && c.State == store.CopyShipped {
			land = append(land, to)
		} else {
			ship = append(ship, to)
		}
	}
	if len(ship) > 0 {
		ready, err := t.ship(ctx, ship)
		if err != nil {
			return err
		}
		land = append(land, ready...)
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, to := range land {
		g.Go(func() error { return t.each(ctx, to, t.land(ctx, to)) })
	}
	return g.Wait()
}

// each makes of one destination's error a finding, or of a region's failure its being
// left out; what it returns ends the pass.
func (t *trip) each(ctx context.Context, region string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !regional(err):
		return err
	case passing(err):
		t.lose(region, err)
		return nil
	}
	t.f.Add(report.Finding{Kind: report.KindNotShipped, Level: report.Error, Policy: t.p.Name, Region: region, Name: t.pt.ID, Op: "land point of volume " + t.volumeName(),
		Cause: err.Error(), Hint: cmp.Or(hintOf(err), "the next pass tries again")})
	return nil
}

func (t *trip) volumeName() string {
	return volumeName(transport.Volume{ID: t.pt.Volume.ID, Name: t.pt.Volume.Name})
}

// ship copies the objects, and says where all of them are listed.
func (t *trip) ship(ctx context.Context, dests []string) ([]string, error) {
	if _, err := t.inventory(ctx); err != nil {
		return nil, err
	}
	for _, to := range dests { // destinations that the policy has got since
		if _, ok := t.pt.Copy(to); !ok {
			c := store.PointCopy{Region: to, Project: t.there[to], State: store.CopyShipping, Began: t.s.o.Clock.Now().UnixMicro()}
			if err := t.save(ctx, func(p *store.Point) { p.SetCopy(c) }); err != nil {
				return nil, err
			}
		}
	}
	data := func(yield func(transport.Entry) bool) {
		for _, x := range t.rows {
			if !yield(transport.Entry{Name: x.part.Name(t.pt.Prefix), Size: x.size, ETag: x.etag, Modified: x.modified, Kind: transport.Plain}) {
				return
			}
		}
	}
	if err := t.copy(ctx, dests, data); err != nil {
		return nil, err
	}
	complete, err := t.listed(ctx, dests, false)
	if err != nil || len(complete) == 0 {
		return nil, err
	}
	if err := t.copy(ctx, complete, func(yield func(transport.Entry) bool) { yield(t.meta) }); err != nil {
		return nil, err
	}
	return t.listed(ctx, complete, true)
}

// copy sends objects to destinations by the object engine.
func (t *trip) copy(ctx context.Context, dests []string, entries func(func(transport.Entry) bool)) error {
	t.s.o.Progress.Phase("copying backup " + t.pt.ID)
	names := make(chan transport.Entry)
	over := make(chan struct{})
	var g errgroup.Group
	g.Go(func() error {
		defer close(names)
		for e := range entries {
			select {
			case names <- e:
			case <-over:
				return nil
			}
		}
		return nil
	})
	res, err := t.s.o.Engine.CopyNames(ctx, t.job(dests), names, t.f)
	close(over)
	_ = g.Wait() // never fails
	t.add(res)
	return err
}

// listed gives the destinations whose own listing shows exactly the backup's objects, as
// Cinder will ask for before it restores (C13): all of them with meta, without it only
// the data. A listing may lag; what a copy failed of stays missing.
func (t *trip) listed(ctx context.Context, dests []string, meta bool) ([]string, error) {
	found := make([]bool, len(dests))
	g, ctx := errgroup.WithContext(ctx)
	for i, to := range dests {
		if !t.usable(to) {
			continue
		}
		g.Go(func() error {
			end := t.s.o.Clock.Now().Add(t.s.o.Lost)
			err := t.s.await(ctx, "checking the listing in "+to, func(ctx context.Context) (bool, error) {
				why, err := t.listDest(ctx, to, meta)
				if err != nil || why == "" {
					found[i] = err == nil
					return err == nil, err
				}
				if t.s.o.Clock.Now().After(end) {
					return false, &transport.Error{Op: "check the listing of backup " + t.pt.ID, Region: to, Container: t.pt.Container, Name: t.pt.Prefix, Class: transport.Permanent,
						Err: errors.New(why), Hint: "Cinder would refuse to restore it like this; the next pass copies what is missing. What is there besides, remove"}
				}
				return false, nil
			})
			return t.each(ctx, to, err)
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var out []string
	for i, to := range dests {
		if found[i] {
			out = append(out, to)
		}
	}
	return out, nil
}

// listDest compares a destination's listing of the backup with the source's; why says
// what is not right.
func (t *trip) listDest(ctx context.Context, region string, meta bool) (why string, err error) {
	r, err := t.s.region(region)
	if err != nil {
		return "", err
	}
	seen, hasMeta := 0, false
	var first, last time.Time
	have := make([]bool, len(t.rows))
	err = r.Objects.List(ctx, t.pt.Container, transport.Range{Prefix: t.pt.Prefix}, func(page []transport.Entry) error {
		for _, e := range page {
			prefix, part, ok := backup.SplitName(e.Name)
			if ok && prefix == t.pt.Prefix && part == backup.HashesPart {
				continue // it does not travel, and does no harm (L4)
			}
			if ok && prefix == t.pt.Prefix && part == backup.MetadataPart {
				hasMeta = e.ETag == t.meta.ETag
				continue
			}
			i, known := slices.BinarySearchFunc(t.rows, part, func(x row, p backup.Part) int { return int(x.part - p) })
			switch {
			case !ok || prefix != t.pt.Prefix || !known:
				why = transport.PrintName(e.Name) + " is there besides"
			case t.rows[i].etag != e.ETag || t.rows[i].size != e.Size:
				why = fmt.Sprintf("%s has ETag %s and %d bytes there, %s and %d at the source", transport.PrintName(e.Name), e.ETag, e.Size, t.rows[i].etag, t.rows[i].size)
			case !have[i]:
				have[i] = true
				seen++
				if first.IsZero() || e.Modified.Before(first) {
					first = e.Modified
				}
				if e.Modified.After(last) {
					last = e.Modified
				}
			}
		}
		return nil
	})
	switch {
	case transport.Is(err, transport.NotFound):
		return "the container is not there", nil
	case err != nil, why != "":
		return why, err
	case seen < len(t.rows):
		return fmt.Sprintf("%d of %d data objects are listed", seen, len(t.rows)), nil
	case meta && !hasMeta:
		return "_metadata is not listed", nil
	}
	t.mu.Lock()
	x := t.at(region)
	x.FirstObject, x.LastObject, x.Listed = first, last, t.s.o.Clock.Now().UTC()
	t.mu.Unlock()
	return "", nil
}

// land makes a shipped point one that the destination's own Cinder can restore: what a
// restore without source and ledger needs is written, then the record imported.
func (t *trip) land(ctx context.Context, region string) error {
	c := t.copyAt(region)
	if c.State != store.CopyShipped {
		if err := t.shipped(ctx, region); err != nil {
			return err
		}
		c = t.copyAt(region)
	}
	note, err := t.importRecord(ctx, c)
	if err != nil && (ctx.Err() != nil || passing(err) || !regional(err)) {
		return err
	}
	if err != nil {
		note = err.Error()
	}
	now := t.s.o.Clock.Now()
	serr := t.saveCopy(ctx, region, func(c *store.PointCopy) {
		c.Note = note
		if note == "" {
			c.State, c.Landed = store.CopyLanded, now.UnixMicro()
		}
	})
	if note == "" && serr == nil {
		t.mu.Lock()
		t.at(region).Imported = now.UTC()
		t.mu.Unlock()
		t.count(func() { t.volumes.Landed++ })
		serr = t.tellLanded(region)
	}
	return cmp.Or(serr, err)
}

// shipped records that all objects of the point stand at a destination, after it has the
// point's descriptor and block list.
func (t *trip) shipped(ctx context.Context, region string) error {
	parent, err := t.parentAt(region)
	if err != nil {
		return err
	}
	c := t.copyAt(region)
	c.Backup, c.Parent, c.Container, c.Prefix = t.pt.ID, parent, t.pt.Container, t.pt.Prefix
	c.Objects, c.Bytes, c.Metadata, c.State = t.pt.Objects, t.pt.Bytes, t.pt.Metadata, store.CopyShipped
	c.Shipped = t.s.o.Clock.Now().UnixMicro()
	if err := t.putBlocks(ctx, region, c.Backup); err != nil {
		return err
	}
	t.mu.Lock()
	pt := t.pt
	t.mu.Unlock()
	if err := t.s.putDescriptor(ctx, pt, c); err != nil {
		return err
	}
	return t.saveCopy(ctx, region, func(old *store.PointCopy) { *old = c })
}

// parentAt is the backup in a region that the point's record there is to be an
// increment upon: its parent's copy, which may be a synthetic full (I5).
func (t *trip) parentAt(region string) (string, error) {
	if t.pt.Parent == "" {
		return "", nil
	}
	parent, ok, err := t.s.o.Ledger.Point(t.pt.Parent)
	if err != nil {
		return "", err
	}
	if c, has := parent.Copy(region); ok && has && c.Backup != "" {
		return c.Backup, nil
	}
	return t.pt.Parent, nil
}

// shipAgain forgets that a point's objects stand at a destination: the next pass copies
// them again.
func (t *trip) shipAgain(ctx context.Context, region, why string) error {
	if err := t.forget(ctx); err != nil {
		return err
	}
	if err := t.saveCopy(ctx, region, func(c *store.PointCopy) { c.State = store.CopyShipping }); err != nil {
		return err
	}
	return &transport.Error{Op: "import backup " + t.pt.ID, Region: region, Class: transport.Permanent,
		Err: errors.New(why), Hint: "the next pass copies them again"}
}

// forget removes the records of the point's objects.
func (t *trip) forget(ctx context.Context) error {
	place, ok, err := t.s.o.Ledger.FindPlace(store.Place{Region: t.pt.Region, Project: t.pt.Project, Container: t.pt.Container})
	if err != nil || !ok {
		return err
	}
	var names []string
	err = t.s.objects(ctx, place, t.pt.Prefix, func(o store.Object) { names = append(names, o.Name) })
	if err != nil {
		return err
	}
	return t.s.o.Ledger.ForgetObjects(ctx, place, names)
}
