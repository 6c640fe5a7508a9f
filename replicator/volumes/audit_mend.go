package volumes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"farshore/replicator"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
	"farshore/transport/backup"
)

// repair mends a copy as far as that can be done from here: objects are sent again by the
// object engine from the source, or from another destination that has the same backup;
// the two small files are written again; a lost record is imported when all objects
// are there. It gives what is still wrong, and why, by name.
func (v *visit) repair(ctx context.Context, x store.Point, c store.PointCopy, faults []fault) (left []fault, causes map[string]string, err error) {
	causes = map[string]string{}
	var objects []fault
	for _, t := range faults {
		if t.part != 0 && !t.besides {
			objects = append(objects, t)
			v.must[t.name] = true
		}
	}
	if len(objects) > 0 {
		if err := v.resend(ctx, x, c, objects, causes); err != nil {
			return nil, nil, err
		}
	}
	for _, t := range faults {
		if t.container == PointsContainer {
			if err := v.rewrite(ctx, x, c, t, causes); err != nil {
				return nil, nil, err
			}
		}
	}
	if left, err = v.examine(ctx, x, c); err != nil {
		return nil, nil, err
	}
	if len(left) == 1 && left[0].kind == report.KindRecordLost {
		if err := v.reimport(ctx, x, c, causes); err != nil {
			return nil, nil, err
		}
		left, err = v.examine(ctx, x, c)
	}
	return left, causes, err
}

// from is a region that may have a backup's objects as they should be.
type from struct {
	region, container string
	objects           transport.Sink
}

// resend sends objects again from the first region that has them.
func (v *visit) resend(ctx context.Context, x store.Point, c store.PointCopy, faults []fault, causes map[string]string) error {
	known, err := v.s.confirmed(ctx, x, c)
	if err != nil {
		return err
	}
	todo := map[string]fault{}
	for _, t := range faults {
		todo[t.name] = t
		causes[t.name] = "neither the source nor another destination has this object"
		if c.Synthetic {
			causes[t.name] = "it is of a synthetic full, which no other region has"
		}
	}
	for _, src := range v.sources(x, c) {
		there, err := listing(ctx, src.objects, src.container, c.Prefix)
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			v.s.o.Log.Info("a region cannot help with a repair", "region", src.region, "point", x.ID, "err", err)
			continue
		}
		var entries []transport.Entry
		var stray []string
		for _, name := range sortedKeys(todo) {
			e, ok := there[name]
			if !ok || known[name] != "" && e.ETag != known[name] {
				continue
			}
			e.Kind = transport.Plain
			entries = append(entries, e)
			// The engine overwrites what its record says is ours on this very way, and nothing else.
			if todo[name].kind == report.KindDamaged && (known[name] == "" || src.region != x.Region) {
				stray = append(stray, name)
			}
		}
		if len(entries) == 0 {
			continue
		}
		if len(stray) > 0 {
			if err := v.r.Objects.DeleteMany(ctx, c.Container, stray); err != nil {
				return err
			}
		}
		if err := v.send(ctx, src, c, entries); err != nil {
			if ctx.Err() != nil || !regional(err) {
				return err
			}
			for _, e := range entries {
				causes[e.Name] = err.Error()
			}
			continue
		}
		for _, e := range entries {
			delete(todo, e.Name)
			causes[e.Name] = "what was sent again from " + src.region + " is not as it should be either"
		}
	}
	return nil
}

// sources are the regions that may have the very backup, the source first.
func (v *visit) sources(x store.Point, c store.PointCopy) (out []from) {
	if c.Synthetic {
		return nil
	}
	if r, err := v.s.region(x.Region); err == nil && x.Gone == 0 {
		out = append(out, from{x.Region, x.Container, r.Objects})
	}
	for _, other := range x.Copies {
		if other.Region == v.region || other.Backup != c.Backup || other.Prefix != c.Prefix || other.State != store.CopyLanded && other.State != store.CopyShipped {
			continue
		}
		if r, err := v.s.region(other.Region); err == nil {
			out = append(out, from{other.Region, other.Container, r.Objects})
		}
	}
	return out
}

// send copies objects by the object engine: _metadata after all data.
func (v *visit) send(ctx context.Context, src from, c store.PointCopy, entries []transport.Entry) error {
	meta := slices.IndexFunc(entries, func(e transport.Entry) bool { return e.Name == backup.MetadataPart.Name(c.Prefix) })
	batches := [][]transport.Entry{entries}
	if meta >= 0 {
		last := entries[meta]
		batches = [][]transport.Entry{slices.Delete(entries, meta, meta+1), {last}}
	}
	job := replicator.CopyJob{Policy: v.p, From: replicator.Side{Region: src.region, Container: src.container},
		To: []replicator.Side{{Region: v.region, Container: c.Container}}, Again: true}
	for _, batch := range batches {
		names := make(chan transport.Entry)
		over := make(chan struct{})
		var g errgroup.Group
		g.Go(func() error {
			defer close(names)
			for _, e := range batch {
				select {
				case names <- e:
				case <-over:
					return nil
				}
			}
			return nil
		})
		res, err := v.s.o.Engine.CopyNames(ctx, job, names, v.f)
		close(over)
		_ = g.Wait() // never fails
		v.mu.Lock()
		v.sent.Copied += res.Totals.Copied
		v.sent.Bytes += res.Totals.Bytes
		v.sent.Read += res.Totals.Read
		v.sent.Failed += res.Totals.Failed
		for region, n := range res.Totals.ByRegion {
			v.sent.ByRegion[region] += n
		}
		v.mu.Unlock()
		if err == nil {
			err = res.Down[v.region]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// rewrite writes a point's descriptor or block list again.
func (v *visit) rewrite(ctx context.Context, x store.Point, c store.PointCopy, t fault, causes map[string]string) (err error) {
	if t.name == descriptorName(x.Volume.ID, c.Backup) {
		err = v.s.putDescriptor(ctx, x, c)
	} else {
		err = v.relist(ctx, x, c)
	}
	delete(v.files, x.Volume.ID)
	if err != nil && (ctx.Err() != nil || passing(err)) {
		return err
	}
	if err != nil {
		causes[t.name] = err.Error()
	}
	return nil
}

// relist writes a point's block list again, whole, as another destination has it or as
// the source's own hashes give it.
func (v *visit) relist(ctx context.Context, x store.Point, c store.PointCopy) error {
	var failed error
	write := func(list hashList) error {
		defer list.close()
		text := newSpool()
		defer text.Close()
		info, err := backup.WriteList(text, list.blockSize, list, nil, backup.Hash{})
		if err == nil && store.Sum(info.Digest) != x.BlocksDigest {
			err = fmt.Errorf("the digest of its blocks is %x, not %s", info.Digest, x.BlocksDigest)
		}
		if err != nil {
			return err
		}
		return putOwn(ctx, v.r.Objects, blocksName(x.Volume.ID, c.Backup), text.body(), "application/octet-stream")
	}
	if r, err := v.s.region(x.Region); err == nil && x.Gone == 0 {
		list, err := v.s.openHashes(ctx, r.Objects, store.PointCopy{Container: x.Container, Prefix: x.Prefix})
		if err == nil {
			err = write(list)
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
		failed = err
	}
	for _, other := range x.Copies {
		if other.Region == v.region || other.State != store.CopyLanded && other.State != store.CopyShipped {
			continue
		}
		r, err := v.s.region(other.Region)
		var chain []link
		if err == nil {
			chain, err = v.s.chain(ctx, x, other.Region)
		}
		var list hashList
		if err == nil {
			list, err = (&restoring{s: v.s, r: r, point: x, chain: chain}).openBlocks(ctx)
		}
		if err == nil {
			err = write(list)
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
		failed = err
	}
	return cmp.Or(failed, errors.New("neither the source nor another destination can be asked; a proof compares with the copies' own objects instead"))
}

// reimport imports a record that the region's Cinder no longer has.
func (v *visit) reimport(ctx context.Context, x store.Point, c store.PointCopy, causes map[string]string) error {
	if b, ok := v.records[c.Backup]; ok {
		causes[c.Backup] = "it is there, and is " + b.Status
		return nil
	}
	run := v.s.newRun(v.p, ShipOptions{})
	run.f = v.f
	t := &trip{run: run, pt: x, regions: map[string]*report.PointRegion{}}
	note, err := t.importRecord(ctx, c)
	if err != nil && (ctx.Err() != nil || passing(err) || !regional(err)) {
		return err
	}
	if err != nil {
		note = err.Error()
	}
	if note != "" {
		causes[c.Backup] = note
		return nil
	}
	b, err := v.r.Blocks.Backup(ctx, c.Backup)
	if err == nil {
		v.records[c.Backup] = b
	}
	return err
}

// repaired reports what was mended.
func (v *visit) repaired(x store.Point, faults, left []fault) {
	for _, t := range faults {
		if slices.ContainsFunc(left, func(l fault) bool { return l.name == t.name }) {
			continue
		}
		v.count(func(o *report.PointAudit) { o.Repaired++ })
		v.f.Add(report.Finding{Kind: report.KindRepaired, Level: report.Info, Policy: v.p.Name, Region: v.region, Container: t.container, Name: t.name,
			Op: "audit point " + x.ID, Cause: t.kind + ": " + t.cause + "; mended, and seen to be right"})
	}
}
