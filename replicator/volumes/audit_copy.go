package volumes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"farshore/replicator/audit"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
	"farshore/transport/backup"
)

// readsAtOnce is how many data objects are read through at one destination together.
const readsAtOnce = 4

// visit is the audit of one destination.
type visit struct {
	*pointAudit
	r       Region
	region  string
	records map[string]transport.Backup           // what its Cinder lists, by id
	whole   map[string]bool                       // points whose copies are whole, with their chains
	files   map[string]map[string]transport.Entry // PointsContainer, by volume and name
	must    map[string]bool                       // data objects that are read whatever the sample: they were sent again
}

// fault is one thing that is not as it should be about a copy.
type fault struct {
	kind      string
	container string
	name      string // of the object; of a lost record the backup's id
	cause     string
	part      backup.Part // of a backup's object; 0: something else
	besides   bool        // something that should not be there
}

// copy audits one point's copy, mends it where that was asked for and can be done, and
// records how it stands.
func (v *visit) copy(ctx context.Context, x store.Point, c store.PointCopy) error {
	v.count(func(o *report.PointAudit) { o.Copies++ })
	faults, err := v.examine(ctx, x, c)
	if err != nil {
		return v.unproved(ctx, x, err)
	}
	v.tally(faults)
	if c.Landed == 0 {
		v.f.Add(report.Finding{Kind: report.KindNotImported, Level: report.Warn, Policy: v.p.Name, Region: v.region, Name: x.ID, Op: "audit point " + x.ID,
			Cause: "its objects are there, and its record is " + cmp.Or(v.records[c.Backup].Status, "not imported"), Hint: "farshore points land " + x.ID + " --to " + v.region + " imports it, or says what is in the way"})
	}
	if len(faults) > 0 && v.o.Repair {
		left, causes, err := v.repair(ctx, x, c, faults)
		if err != nil {
			return v.unproved(ctx, x, err)
		}
		v.repaired(x, faults, left)
		v.report(x, left, causes)
		faults = left
		if now, ok, err := v.s.o.Ledger.Point(x.ID); err != nil {
			return err
		} else if ok {
			x = now
			c, _ = x.Copy(v.region)
		}
	} else {
		v.report(x, faults, nil)
	}
	parent := v.parentWhole(x, c)
	v.whole[x.ID] = len(faults) == 0 && parent
	v.count(func(o *report.PointAudit) {
		if v.whole[x.ID] {
			o.Whole++
			o.ByRegion[v.region]++
		} else {
			o.Broken++
		}
	})
	return v.settle(ctx, x, c, faults)
}

// parentWhole reports whether the copy's parent was found whole.
func (v *visit) parentWhole(x store.Point, c store.PointCopy) bool {
	if c.Parent == "" {
		return true
	}
	points, err := v.s.o.Ledger.Points(x.Volume.ID)
	if err != nil {
		return false
	}
	for _, y := range points {
		if pc, ok := y.Copy(v.region); ok && pc.Backup == c.Parent && pc.State != store.CopyExpired {
			// Another policy's is for that policy's audit to judge.
			return v.whole[y.ID] || y.Policy != v.p.Name && pc.State == store.CopyLanded
		}
	}
	v.f.Add(report.Finding{Kind: report.KindRecordLost, Level: report.Error, Policy: v.p.Name, Region: v.region, Name: c.Parent, Op: "audit points",
		Cause: fmt.Sprintf("backup %s of point %s is an increment upon it, and no point there is it", c.Backup, x.ID), Hint: "it cannot be restored; the next full backup ends that"})
	return false
}

// unproved reports a copy that could not be looked at; what it returns ends the visit.
func (v *visit) unproved(ctx context.Context, x store.Point, err error) error {
	if ctx.Err() != nil || passing(err) || !regional(err) {
		return err
	}
	v.f.Add(report.Finding{Kind: report.KindFailed, Level: report.Error, Policy: v.p.Name, Region: v.region, Name: x.ID, Op: "audit points",
		Cause: "the copy could not be examined: " + err.Error(), Hint: transport.HintOf(err)})
	return nil
}

func (v *visit) tally(faults []fault) {
	v.count(func(o *report.PointAudit) {
		for _, t := range faults {
			switch t.kind {
			case report.KindMissing:
				o.Missing++
			case report.KindDamaged:
				o.Damaged++
			case report.KindRecordLost:
				o.LostRecords++
			}
		}
	})
}

func (v *visit) report(x store.Point, faults []fault, causes map[string]string) {
	for _, t := range faults {
		hint := "farshore audit " + before(v.p.Name) + "--repair sends it again"
		cause := t.cause
		switch {
		case t.besides:
			hint = "promise kept: it is not touched. Cinder refuses to restore while it is there: remove it"
		case t.kind == report.KindRecordLost && v.records[t.name].Status != "":
			hint = "if its objects are right (nothing else is said of them here), as an admin: openstack volume backup set --state available " + t.name
		case causes[t.name] != "":
			cause += "; its repair failed: " + causes[t.name]
			hint = "repair again when the cause is gone; no later point depends on this one after the next full backup. If it is gone for good: farshore points forget " + x.ID + " (with --source-lost if its source region is, too)"
		}
		v.f.Add(report.Finding{Kind: t.kind, Level: report.Error, Policy: v.p.Name, Region: v.region, Container: t.container, Name: t.name, Op: "audit point " + x.ID, Cause: cause, Hint: hint})
	}
}

// settle records whether a copy is lost.
func (v *visit) settle(ctx context.Context, x store.Point, c store.PointCopy, faults []fault) error {
	state, note := c.State, c.Note
	switch {
	case len(faults) > 0:
		state, note = store.CopyLost, faults[0].kind+": "+faults[0].cause
		if n := len(faults); n > 1 {
			note += fmt.Sprintf(" (and %d more)", n-1)
		}
	case c.State == store.CopyLost && c.Landed != 0:
		state, note = store.CopyLanded, ""
	case c.State == store.CopyLost:
		state, note = store.CopyShipped, ""
	}
	if state == c.State && note == c.Note {
		return nil
	}
	return v.s.o.Ledger.UpdatePoint(ctx, x.ID, func(p *store.Point, exists bool) bool {
		if now, ok := p.Copy(v.region); ok && now.Backup == c.Backup {
			now.State, now.Note = state, note
			p.SetCopy(now)
		}
		return exists
	})
}

// examine compares a copy with what is recorded of it. The error is of a region that
// cannot be asked.
func (v *visit) examine(ctx context.Context, x store.Point, c store.PointCopy) ([]fault, error) {
	var out []fault
	if t, bad := v.record(c); bad {
		out = append(out, t)
	}
	objects, err := v.objects(ctx, x, c)
	if err != nil {
		return nil, err
	}
	files, err := v.small(ctx, x, c)
	return slices.Concat(out, objects, files), err
}

// record judges the record in the destination's Cinder.
func (v *visit) record(c store.PointCopy) (fault, bool) {
	if c.Landed == 0 {
		return fault{}, false // never imported: shipping says so
	}
	bad := func(format string, args ...any) (fault, bool) {
		return fault{kind: report.KindRecordLost, name: c.Backup, cause: fmt.Sprintf(format, args...)}, true
	}
	b, ok := v.records[c.Backup]
	switch {
	case !ok:
		return bad("the region's Cinder has no backup %s", c.Backup)
	case !restorable(b.Status):
		return bad("backup %s is %s there (%s)", c.Backup, b.Status, cmp.Or(b.FailReason, "no reason is given"))
	case b.Container != c.Container || b.Objects != c.Objects:
		return bad("backup %s has %s in %s there, not %d in %s", c.Backup, report.Count(b.Objects, "object"), b.Container, c.Objects, c.Container)
	}
	return fault{}, false
}

// objects judges the backup's objects: _metadata, what is listed, and the sample's content.
func (v *visit) objects(ctx context.Context, x store.Point, c store.PointCopy) ([]fault, error) {
	at := func(part backup.Part, kind, cause string) fault {
		return fault{kind: kind, container: c.Container, name: part.Name(c.Prefix), cause: cause, part: part}
	}
	there, err := listing(ctx, v.r.Objects, c.Container, c.Prefix)
	if err != nil {
		return nil, err
	}
	known, err := v.s.confirmed(ctx, x, c)
	if err != nil {
		return nil, err
	}
	md, err := v.s.readMetadata(ctx, v.r.Objects, c)
	switch {
	case transport.Is(err, transport.NotFound):
		return v.blind(c, there, known, at(backup.MetadataPart, report.KindMissing, "the list of the backup's objects is not there")), nil
	case transport.Is(err, transport.Corrupt):
		return v.blind(c, there, known, at(backup.MetadataPart, report.KindDamaged, err.Error())), nil
	case err != nil:
		return nil, err
	}
	var out []fault
	if e, ok := there[backup.MetadataPart.Name(c.Prefix)]; !ok {
		out = append(out, at(backup.MetadataPart, report.KindMissing, "the list of the backup's objects is there, and not listed: Cinder would not restore"))
	} else if want := known[e.Name]; want != "" && e.ETag != want {
		out = append(out, at(backup.MetadataPart, report.KindDamaged, fmt.Sprintf("its ETag is %s, not %s", e.ETag, want)))
	}
	share := v.o.Read
	if c.State == store.CopyLost {
		share = 1
	}
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(readsAtOnce)
	for _, ext := range md.Extents {
		name := ext.Object(c.Prefix)
		e, ok := there[name]
		switch want := known[name]; {
		case !ok:
			mu.Lock()
			out = append(out, at(ext.Part, report.KindMissing, "the backup's _metadata names it, and it is not listed"))
			mu.Unlock()
			continue
		case want != "" && e.ETag != want:
			mu.Lock()
			out = append(out, at(ext.Part, report.KindDamaged, fmt.Sprintf("its ETag is %s, not %s", e.ETag, want)))
			mu.Unlock()
			continue
		}
		v.count(func(o *report.PointAudit) { o.Objects++ })
		if !v.must[name] && !audit.Sampled(v.o.Seed, name, share) {
			continue
		}
		g.Go(func() error {
			v.count(func(o *report.PointAudit) { o.ReadCount++; o.ReadBytes += e.Size })
			err := v.s.readExtent(gctx, v.r.Objects, c, ext, name, e)
			switch {
			case transport.Is(err, transport.NotFound), transport.Is(err, transport.Corrupt), transport.Is(err, transport.Changed):
				mu.Lock()
				out = append(out, at(ext.Part, report.KindDamaged, err.Error()))
				mu.Unlock()
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out = append(out, v.besides(c, there, func(p backup.Part) bool { return md.Has(p) })...)
	slices.SortFunc(out, func(a, b fault) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

// besides reports what stands under the backup's prefix and is not of it: Cinder would
// not restore (C13).
func (v *visit) besides(c store.PointCopy, there map[string]transport.Entry, has func(backup.Part) bool) (out []fault) {
	for _, name := range sortedKeys(there) {
		prefix, part, ok := backup.SplitName(name)
		if ok && prefix == c.Prefix && (part == backup.HashesPart || has(part)) {
			continue
		}
		out = append(out, fault{kind: report.KindForeign, container: c.Container, name: name, cause: "it is under the backup's name, and its _metadata does not name it", besides: true})
	}
	return out
}

// blind judges the data objects of a backup whose _metadata cannot be used, by what the
// ledger knows of them.
func (v *visit) blind(c store.PointCopy, there map[string]transport.Entry, known map[string]string, first fault) []fault {
	out := []fault{first}
	for _, name := range sortedKeys(known) {
		_, part, _ := backup.SplitName(name)
		e, ok := there[name]
		switch {
		case part <= 0:
		case !ok:
			out = append(out, fault{kind: report.KindMissing, container: c.Container, name: name, part: part, cause: "the ledger has it there, and it is not listed"})
		case e.ETag != known[name]:
			out = append(out, fault{kind: report.KindDamaged, container: c.Container, name: name, part: part, cause: fmt.Sprintf("its ETag is %s, not %s", e.ETag, known[name])})
		}
	}
	return out
}

// small judges what a restore without source and ledger needs: the descriptor, and the
// block list, whose digest is compared when the sample takes it.
func (v *visit) small(ctx context.Context, x store.Point, c store.PointCopy) (out []fault, err error) {
	if v.files[x.Volume.ID] == nil {
		if v.files[x.Volume.ID], err = listing(ctx, v.r.Objects, PointsContainer, x.Volume.ID+"/"); err != nil {
			return nil, err
		}
	}
	add := func(kind, name, cause string) {
		out = append(out, fault{kind: kind, container: PointsContainer, name: name, cause: cause})
	}
	name := descriptorName(x.Volume.ID, c.Backup)
	switch d, err := v.s.readDescriptor(ctx, v.region, x.Volume.ID, c.Backup); {
	case transport.Is(err, transport.NotFound):
		add(report.KindMissing, name, "what a restore without a ledger needs to know of the point is not there")
	case transport.Is(err, transport.Corrupt):
		add(report.KindDamaged, name, err.Error())
	case err != nil:
		return nil, err
	case d.Point.ID != x.ID || d.Copy.Parent != c.Parent || d.Copy.Prefix != c.Prefix || d.Copy.Container != c.Container || d.Copy.Metadata != c.Metadata:
		add(report.KindDamaged, name, "it does not say of the point what the ledger says")
	}
	name = blocksName(x.Volume.ID, c.Backup)
	if _, ok := v.files[x.Volume.ID][name]; !ok && x.BlocksDigest != (store.Sum{}) {
		add(report.KindMissing, name, "the list of the volume's blocks, which a proof compares with, is not there")
	} else if ok && audit.Sampled(v.o.Seed, name, v.o.Read) {
		if why, err := v.blocks(ctx, x); err != nil {
			return nil, err
		} else if why != "" {
			add(report.KindDamaged, name, why)
		}
	}
	return out, nil
}

// blocks reads a point's block list through; why says what is wrong with it.
func (v *visit) blocks(ctx context.Context, x store.Point) (why string, err error) {
	chain, err := v.s.chain(ctx, x, v.region)
	if err != nil {
		return "", nil // said of the parent
	}
	j := &restoring{s: v.s, r: v.r, point: x, chain: chain}
	list, err := j.openBlocks(ctx)
	if err == nil {
		defer list.close()
		var info backup.ListInfo
		info, err = backup.WriteList(io.Discard, list.blockSize, list, nil, backup.Hash{})
		if err == nil && store.Sum(info.Digest) != x.BlocksDigest {
			return fmt.Sprintf("the digest of its blocks is %x, not %s", info.Digest, x.BlocksDigest), nil
		}
	}
	if errors.Is(err, backup.ErrFormat) || errors.Is(err, errNoList) || transport.Is(err, transport.Corrupt) {
		return err.Error(), nil
	}
	return "", err
}
