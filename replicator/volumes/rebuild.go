package volumes

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// RebuildPoints fills a new ledger with a policy's restore points from what its
// destinations hold: from the descriptors, and for backups that have none from their
// records and their own lists. What a destination says is believed as far as its listing
// and its Cinder bear it out: a copy whose record is missing is shipped, one whose
// objects are not those that its list names is lost. The source is asked which backups
// it still has, if it answers; without it the points are there all the same. It writes
// to the ledger alone.
//
// A destination that does not answer is a finding of kind region-down.
func (s *Shipper) RebuildPoints(ctx context.Context, p policies.Policy) (report.Result, error) {
	began := s.o.Clock.Now()
	res := report.Result{Policy: p.Name, Command: "rebuild", Began: began.UTC()}
	f := report.NewFindings(p.Accept, s.o.OnFinding)
	a := &pointAudit{s: s, p: p, f: f, whole: map[string]map[string]bool{}}
	b := &rebuilding{pointAudit: a, op: "rebuild ledger", totals: &res.Totals}
	err := b.run(ctx)
	if _, jerr := a.counted(&res); err == nil {
		err = jerr
	}
	res.Findings, res.Counts, res.Errors = f.List(), f.Counts(), f.Errors()
	res.Seconds = s.o.Clock.Now().Sub(began).Seconds()
	return res, err
}

// rebuilding is one RebuildPoints at work, or one takeUp.
type rebuilding struct {
	*pointAudit
	op       string // of its findings
	selected bool   // leave the points alone of volumes that the policy does not select
	totals   *report.Totals
}

func (b *rebuilding) run(ctx context.Context) error {
	for _, to := range b.p.To {
		err := b.region(ctx, to)
		if err == nil {
			err = b.s.noteTakenUp(b.p, to)
		}
		if err := b.unreached(ctx, to, err); err != nil {
			return err
		}
	}
	return b.source(ctx)
}

// region records what one destination holds, as far as the ledger knows nothing of it.
func (b *rebuilding) region(ctx context.Context, region string) error {
	b.s.o.Progress.Phase("finding the points that " + region + " holds")
	r, err := b.s.cinder(region)
	if err != nil {
		return err
	}
	id, err := r.Blocks.Identity(ctx)
	if err != nil {
		return err
	}
	list, err := r.Blocks.Backups(ctx)
	if err != nil {
		return err
	}
	records := map[string]transport.Backup{}
	for _, x := range list {
		records[x.ID] = x
	}
	found := map[string]Descriptor{} // by point
	described := map[string]bool{}   // backups
	err = b.s.descriptors(ctx, region, "", func(d Descriptor, err error) error {
		if err != nil {
			if passing(err) || ctx.Err() != nil {
				return err
			}
			b.f.Add(report.Finding{Kind: report.KindDamaged, Level: report.Warn, Policy: b.p.Name, Region: region, Container: PointsContainer, Op: b.op,
				Cause: err.Error(), Hint: "its backup is found by its own list, as far as that goes"})
			return nil
		}
		described[d.Copy.Backup] = true
		if d.Point.Policy != b.p.Name || d.Point.Region != b.p.From {
			return nil
		}
		b.totals.Listed++
		// A synthetic full and what it took the place of may both be there for a moment; only
		// what Cinder has counts.
		was, twice := found[d.Point.ID]
		_, has := records[d.Copy.Backup]
		if !twice || has && (d.Copy.Synthetic || records[was.Copy.Backup].ID == "") {
			found[d.Point.ID] = d
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, x := range list {
		if described[x.ID] {
			continue
		}
		d, ok, err := b.undescribed(ctx, r, region, x, records)
		if err != nil {
			return err
		}
		if ok {
			b.totals.Listed++
			found[d.Point.ID] = d
		}
	}
	whole, others := map[string]bool{}, map[string]int{}
	for _, point := range slices.Sorted(maps.Keys(found)) {
		d := found[point]
		if x, _, err := b.s.o.Ledger.Point(point); err != nil {
			return fmt.Errorf("read point %s: %w", point, err)
		} else if c, known := x.Copy(region); known {
			whole[point] = c.State == store.CopyLanded
			continue
		}
		v := d.Point.Volume
		chosen := b.p.Volumes.Matches(v.ID, v.Name, v.Metadata)
		if b.selected && !chosen {
			continue
		}
		d.Copy.Region, d.Copy.Project = region, id.Project
		if err := b.judgeCopy(ctx, r, &d, records); err != nil {
			return err
		}
		err := b.s.o.Ledger.UpdatePoint(ctx, point, func(x *store.Point, exists bool) bool {
			if !exists || x.BlocksDigest == (store.Sum{}) {
				copies := x.Copies
				*x = d.Point
				x.Copies, x.Unseen = copies, true // what the descriptor says of the source is of then
			}
			x.SetCopy(d.Copy)
			return true
		})
		if err != nil {
			return fmt.Errorf("record point %s: %w", point, err)
		}
		b.totals.Adopted++
		whole[point] = d.Copy.State == store.CopyLanded
		if !chosen {
			others[volumeOf(d.Point)]++
		}
	}
	b.whole[region] = whole
	for _, v := range sortedKeys(others) {
		b.f.Add(report.Finding{Kind: report.KindUnknown, Level: report.Warn, Policy: b.p.Name, Region: region, Name: v, Op: b.op,
			Cause: fmt.Sprintf("%s of a volume that the policy does not select (any more) %s in the ledger again, as found there", report.Count(others[v], "point"), report.Are(others[v])),
			Hint:  "the policy's keep is applied to them as to all others. If another policy of the same name, with a ledger of its own, made them, give one of the two another name first"})
	}
	return nil
}

// judgeCopy decides the state of a copy by its objects and its record.
func (b *rebuilding) judgeCopy(ctx context.Context, r Region, d *Descriptor, records map[string]transport.Backup) error {
	c := &d.Copy
	_, _, err := b.s.checkBackup(ctx, r.Objects, *c)
	rec, has := records[c.Backup]
	switch {
	case transport.Is(err, transport.NotFound), transport.Is(err, transport.Corrupt):
		c.State, c.Note = store.CopyLost, err.Error()
		b.f.Add(report.Finding{Kind: report.KindMissing, Level: report.Error, Policy: b.p.Name, Region: c.Region, Container: c.Container, Name: d.Point.ID, Op: b.op,
			Cause: "the copy of this point cannot be restored: " + err.Error(), Hint: "farshore audit --repair sends what is missing again"})
	case err != nil:
		return err
	case !has || !restorable(rec.Status):
		c.State, c.Note = store.CopyShipped, "its record is not imported"
	default:
		c.State, c.Note = store.CopyLanded, ""
		if c.Landed == 0 {
			c.Landed = b.s.o.Clock.Now().UnixMicro()
		}
	}
	return nil
}

// undescribed makes a point of a backup without a descriptor, by its record and its own
// list: of one that is imported. Nothing is known of its block list.
func (b *rebuilding) undescribed(ctx context.Context, r Region, region string, x transport.Backup, records map[string]transport.Backup) (Descriptor, bool, error) {
	if by := x.Metadata[keyPolicy]; by != b.p.Name || x.Metadata[keyWork] != "" {
		return Descriptor{}, false, nil // not ours, or made in this region
	}
	x.Created = time.Time{} // of the import: its objects are older
	prefix, err := findPrefix(ctx, r.Objects, x)
	if err != nil || prefix == "" {
		return Descriptor{}, false, err
	}
	c := store.PointCopy{Region: region, Backup: x.ID, Container: x.Container, Prefix: prefix}
	md, err := b.s.readMetadata(ctx, r.Objects, c)
	if transport.Is(err, transport.NotFound) || transport.Is(err, transport.Corrupt) {
		b.f.Add(report.Finding{Kind: report.KindUnknown, Level: report.Warn, Policy: b.p.Name, Region: region, Container: x.Container, Name: x.ID, Op: b.op,
			Cause: "the backup has no descriptor, and its own list cannot be read: " + err.Error(), Hint: "if nobody wants it: openstack volume backup delete " + x.ID})
		return Descriptor{}, false, nil
	}
	if err != nil {
		return Descriptor{}, false, err
	}
	_, bytes, err := b.s.compareListing(ctx, r.Objects, c, md)
	if err != nil && !transport.Is(err, transport.Corrupt) {
		return Descriptor{}, false, err
	}
	m := md.VolumeMeta
	pt := store.Point{ID: x.ID, Policy: b.p.Name, Region: b.p.From, Snapshot: x.Snapshot, Taken: x.DataTime.UnixMicro(), Made: x.DataTime.UnixMicro(), Container: x.Container, Prefix: prefix,
		Parent: md.Parent, Objects: len(md.Extents), Bytes: bytes,
		Volume: store.PointVolume{ID: x.Volume, Name: m.Name, Description: m.Description, Size: x.Size, Zone: m.Zone, Bootable: m.Bootable, Encrypted: m.EncryptionKeyID != "", Metadata: m.Metadata, Image: m.Image}}
	c.Objects, c.Bytes, c.Parent = len(md.Extents), bytes, md.Parent
	if _, ok := records[c.Parent]; c.Parent != "" && !ok {
		b.f.Add(report.Finding{Kind: report.KindUnknown, Level: report.Warn, Policy: b.p.Name, Region: region, Name: x.ID, Op: b.op,
			Cause: fmt.Sprintf("the backup has no descriptor, and the backup %s that its list names as its parent is not there: what it is an increment upon is not known", c.Parent),
			Hint:  "Cinder may still restore it; if nobody wants it: openstack volume backup delete " + x.ID})
		return Descriptor{}, false, nil
	}
	return Descriptor{Format: descriptorFormat, Point: pt, Copy: c}, true, nil
}

// source notes which backups the source still has. It may be gone for good.
func (b *rebuilding) source(ctx context.Context) error {
	points, err := b.mine()
	if err != nil {
		return err
	}
	r, err := b.s.cinder(b.p.From)
	var id transport.Identity
	var list []transport.Backup
	if err == nil {
		id, err = r.Blocks.Identity(ctx)
	}
	if err == nil {
		list, err = r.Blocks.Backups(ctx)
	}
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b.f.Add(report.Finding{Kind: report.KindDegraded, Level: report.Warn, Policy: b.p.Name, Region: b.p.From, Op: b.op,
			Cause: "the source does not answer, so it is not known which backups it still has: " + err.Error(), Hint: "farshore points says unknown of them at the source. Restores and drills need only the destinations; farshore audit asks the source again"})
		return nil
	}
	there := map[string]bool{}
	for _, x := range list {
		there[x.ID] = true
	}
	known := byID(points)
	for _, x := range list {
		if known[x.ID] == nil && ours(b.p.Name, x.Metadata) && x.Snapshot != "" {
			if err := b.expired(ctx, r, id, x, points); err != nil {
				return err
			}
		}
	}
	for _, x := range points {
		if !x.Unseen {
			continue
		}
		err := b.s.o.Ledger.UpdatePoint(ctx, x.ID, func(p *store.Point, exists bool) bool {
			if p.Gone, p.Unseen = 0, false; !there[x.ID] {
				p.Gone = b.s.o.Clock.Now().UnixMicro()
			}
			if p.Project == "" {
				p.Project = id.Project
			}
			return exists
		})
		if err != nil {
			return fmt.Errorf("record point %s: %w", x.ID, err)
		}
	}
	return nil
}

// expired makes a point of a backup that only the source has, while every destination
// has newer ones of its volume: points travel in their order, so that retention took it
// away there, and it is not to be shipped again. Any other becomes a point in the next pass.
func (b *rebuilding) expired(ctx context.Context, r Region, id transport.Identity, x transport.Backup, points []store.Point) error {
	pt := store.Point{ID: x.ID, Policy: b.p.Name, Region: b.p.From, Project: id.Project, Snapshot: x.Snapshot, Taken: x.DataTime.UnixMicro(), Made: x.Created.UnixMicro(), Container: x.Container}
	for _, to := range b.p.To {
		i := slices.IndexFunc(points, func(y store.Point) bool {
			c, ok := y.Copy(to)
			return ok && c.State == store.CopyLanded && y.Volume.ID == x.Volume && y.Taken > pt.Taken
		})
		if i < 0 {
			return nil
		}
		pt.Volume = points[i].Volume
		c, _ := points[i].Copy(to)
		pt.SetCopy(store.PointCopy{Region: to, Project: c.Project, State: store.CopyExpired})
	}
	prefix, err := findPrefix(ctx, r.Objects, x)
	if err != nil || prefix == "" {
		return err
	}
	md, err := b.s.readMetadata(ctx, r.Objects, store.PointCopy{Region: b.p.From, Backup: x.ID, Container: x.Container, Prefix: prefix})
	if err != nil {
		if ctx.Err() != nil || passing(err) {
			return err
		}
		return nil // the next pass tells what is wrong with it
	}
	pt.Prefix, pt.Parent, pt.Objects = prefix, md.Parent, len(md.Extents)
	err = b.s.o.Ledger.UpdatePoint(ctx, pt.ID, func(p *store.Point, exists bool) bool {
		if !exists {
			*p = pt
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("record point %s: %w", pt.ID, err)
	}
	return nil
}
