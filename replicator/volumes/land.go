package volumes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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
		Cause: err.Error(), Hint: cmp.Or(transport.HintOf(err), "the next pass tries again")})
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

// importRecord makes the point known to the destination's Cinder (I1, I13). note says
// why it was not done where that is nobody's failure.
func (t *trip) importRecord(ctx context.Context, c store.PointCopy) (note string, err error) {
	r, err := t.s.cinder(c.Region)
	if err != nil {
		return "", err
	}
	done, err := t.imported(ctx, r, c)
	if done || err != nil {
		return "", err
	}
	if note, err = t.mayImport(ctx, r, c); note != "" || err != nil {
		return note, err
	}
	if c.Parent != "" {
		if b, err := r.Blocks.Backup(ctx, c.Parent); transport.Is(err, transport.NotFound) || err == nil && b.Status == "error" {
			note := "its parent, backup " + c.Parent + ", is not there"
			t.notImported(c.Region, note+"; the objects stand there", "farshore points --volume "+t.pt.Volume.ID+" shows what holds the parent up; the next pass tries again")
			return note, nil
		} else if err != nil {
			return "", err
		}
	}
	if c.Note != "" { // it was shipped a while ago, and somebody may have removed what was in the way with all under its name
		meta, err := t.s.readMetadata(ctx, r.Objects, c)
		if err == nil {
			_, _, err = t.s.compareListing(ctx, r.Objects, c, meta)
		}
		if transport.Is(err, transport.NotFound) || transport.Is(err, transport.Corrupt) {
			return "", t.shipAgain(ctx, c.Region, "its objects are no longer there as they were shipped: "+err.Error())
		}
		if err != nil {
			return "", err
		}
	}
	record, err := recordOf(t.pt, c).Encode()
	if err != nil {
		return "", fmt.Errorf("encode record of backup %s: %w", c.Backup, err)
	}
	t.s.o.Progress.Phase("importing backup " + c.Backup + " in " + c.Region)
	err = t.claimsIn(c.Region).making(t.pt.Volume.ID, need{}, func() error {
		_, err := r.importer().ImportBackup(ctx, backup.Service, record)
		return err
	})
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return "", err
	case transport.Is(err, transport.Denied):
		return t.denied(c.Region, transport.ImportRights{Allowed: transport.No, Rule: importRule}), nil
	case transport.Is(err, transport.Quota):
		t.notImported(c.Region, err.Error(), transport.HintOf(err))
		return err.Error(), nil
	case passing(err), transport.Is(err, transport.Exists): // perhaps only the reply was lost
	default:
		return "", err
	}
	end := t.s.o.Clock.Now().Add(t.s.o.Lost)
	lost := err
	err = t.s.await(ctx, "importing backup "+c.Backup+" in "+c.Region, func(ctx context.Context) (bool, error) {
		b, err := r.Blocks.Backup(ctx, c.Backup)
		switch {
		case transport.Is(err, transport.NotFound) && lost == nil, err == nil && b.Status == "creating":
			return false, nil
		case transport.Is(err, transport.NotFound) && passing(lost) && t.s.o.Clock.Now().Before(end):
			return false, nil
		case transport.Is(err, transport.NotFound) && lost != nil:
			return false, lost
		case err != nil:
			return false, err
		case strings.HasPrefix(b.Status, "error"):
			return false, t.importFailed(c, b)
		}
		return true, nil
	})
	return "", err
}

// imported reports whether the record is there already. One that an import left in
// error is removed, so that it can be made anew.
func (t *trip) imported(ctx context.Context, r Region, c store.PointCopy) (bool, error) {
	b, err := r.Blocks.Backup(ctx, c.Backup)
	switch {
	case transport.Is(err, transport.NotFound):
		return false, nil
	case err != nil:
		return false, err
	case b.Status == "creating":
		err := t.s.await(ctx, "importing backup "+c.Backup+" in "+c.Region, func(ctx context.Context) (bool, error) {
			b, err = r.Blocks.Backup(ctx, c.Backup)
			return b.Status != "creating", err
		})
		if err != nil {
			return false, err
		}
	}
	if !strings.HasPrefix(b.Status, "error") {
		if b.Container != c.Container || b.Objects != c.Objects {
			return false, &transport.Error{Op: "import backup " + c.Backup, Region: c.Region, Class: transport.Exists,
				Err:  fmt.Errorf("a backup of this id is there with %s in container %s; the point has %d in %s", report.Count(b.Objects, "object"), b.Container, c.Objects, c.Container),
				Hint: "remove it if it is not wanted: openstack volume backup delete " + c.Backup + " (that removes the objects under its name as well; they are copied again)"}
		}
		return true, nil
	}
	// Cinder may remove the objects with it (C17): then they are copied again.
	if err := t.s.removeBackup(ctx, r.Blocks, c.Region, c.Backup); err != nil {
		return false, err
	}
	meta, err := t.s.readMetadata(ctx, r.Objects, c)
	if err == nil {
		_, _, err = t.s.compareListing(ctx, r.Objects, c, meta)
	}
	if err == nil || passing(err) || ctx.Err() != nil {
		return false, err
	}
	return false, t.shipAgain(ctx, c.Region, "an import had failed, and removing what it left took the objects away")
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

func (t *trip) importFailed(c store.PointCopy, b transport.Backup) error {
	return &transport.Error{Op: "import backup " + c.Backup, Region: c.Region, Class: transport.Permanent,
		Err:  fmt.Errorf("the import ended in %s: %s", b.Status, cmp.Or(b.FailReason, "Cinder gives no reason")),
		Hint: "the region's cinder-backup must have the Swift driver: farshore region check " + c.Region + "; the next pass tries again"}
}

// importRule is the rule of Cinder's policy that imports need (I12).
const importRule = "backup:backup-import"

// mayImport finds out whether the region's login may import (R21), and whether records
// would come to belong to the right project (L8). note says why not.
func (t *trip) mayImport(ctx context.Context, r Region, c store.PointCopy) (note string, err error) {
	t.s.mu.Lock()
	rights, known := t.s.rights[c.Region]
	t.s.mu.Unlock()
	if !known {
		if rights, err = r.importer().ImportRights(ctx); err != nil {
			return "", err
		}
		t.s.mu.Lock()
		t.s.rights[c.Region] = rights
		t.s.mu.Unlock()
	}
	switch {
	case rights.Allowed == transport.No:
		return t.denied(c.Region, rights), nil
	case rights.Project != "" && c.Project != "" && rights.Project != c.Project:
		note = fmt.Sprintf("import_cloud is scoped to project %s, the region's login to %s: the record would belong to another project", rights.Project, c.Project)
		t.notImported(c.Region, note, "scope import_cloud of region "+c.Region+" to the same project")
		return note, nil
	}
	return "", nil
}

// denied reports that the record has to be imported by somebody who may.
func (t *trip) denied(region string, rights transport.ImportRights) string {
	rule := cmp.Or(rights.Rule, importRule)
	note := fmt.Sprintf("the login may not import backup records: rule %s of Cinder's policy denies it", rule)
	t.notImported(region, note+"; the objects stand there", fmt.Sprintf("have the operator grant rule %s to a role of this login, or name an admin's login of the same project as import_cloud of region %s; "+
		"or an operator runs: farshore points land %s --to %s", rule, region, t.pt.ID, region))
	return note
}

func (t *trip) notImported(region, cause, hint string) {
	t.f.Add(report.Finding{Kind: report.KindNotImported, Level: report.Error, Policy: t.p.Name, Region: region, Name: t.pt.ID, Op: "import backup", Cause: cause, Hint: hint})
}

// recordOf is the record of a point's copy, made of what the ledger knows (I2, I13).
// Its parent is the copy's, which may be a synthetic full (I5).
func recordOf(pt store.Point, c store.PointCopy) backup.Record {
	r := backup.Record{ID: c.Backup, VolumeID: pt.Volume.ID, SnapshotID: pt.Snapshot, Parent: c.Parent, Size: pt.Volume.Size,
		Name:        volumeName(transport.Volume{ID: pt.Volume.ID, Name: pt.Volume.Name}) + " " + time.UnixMicro(pt.Taken).UTC().Format("2006-01-02T15:04:05Z"),
		Description: fmt.Sprintf("restore point of policy %s, from region %s", pt.Policy, pt.Region), Container: c.Container, Prefix: c.Prefix, Objects: c.Objects,
		DataTime: time.UnixMicro(pt.Taken).UTC(), Metadata: map[string]string{keyPolicy: pt.Policy}}
	if p, err := backup.ParsePrefix(c.Prefix); err == nil {
		r.Created = p.At
	}
	return r
}
