package replicator

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // Swift's checksum
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"farshore/replicator/plan"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
	"farshore/transport/chunk"
)

// land makes the object visible at every destination that has all of it.
func (tr *transfer) land(ctx context.Context) error {
	var g errgroup.Group
	for _, s := range tr.senders {
		if s.alive() {
			g.Go(func() error {
				if err := tr.landAt(ctx, s); err != nil {
					s.fail(err)
				}
				return nil
			})
		}
	}
	return g.Wait()
}

func (tr *transfer) landAt(ctx context.Context, s *sender) error {
	p, t := tr.p, &s.t
	name := p.destName(t.d, tr.it.name)
	segments := make([]transport.Segment, tr.layout.Count())
	for i := range segments {
		segments[i] = transport.Segment{Container: s.container, Name: chunk.SegmentName(s.prefix, i), ETag: hexMD5(s.have[i]), Size: tr.layout.Extent(i).Length}
	}
	h := p.stamped(tr.obj, t.d)
	if t.ifAbsent { // a COPY cannot be told to spare what stands there (R10)
		etag := tr.obj.ETag
		if !s.exact {
			etag = manifestETag(segments) // an earlier run may have written it and not lived to say so
		}
		again, err := p.exists(ctx, tr.it, t, tr.obj, etag, tr.sum(), false)
		if err != nil {
			return err
		}
		if !again {
			return p.sweep(ctx, t.d, tr.it.name)
		}
	}
	if !s.exact {
		return tr.landSegmented(ctx, s, segments, h)
	}
	manifest := chunk.ManifestName(s.prefix)
	if _, err := t.d.ep.PutManifest(ctx, s.container, manifest, segments, transport.PutOptions{
		Header: transport.Header{"Content-Type": "application/octet-stream"}, DeleteAfter: segmentLife}); err != nil {
		if transport.ClassOf(err) == transport.Corrupt || transport.ClassOf(err) == transport.Permanent {
			p.forget(ctx, t.d, tr.it.name) // segments are missing or damaged there: send them anew next time
		}
		return err
	}
	rec, err := t.d.ep.Collapse(ctx, s.container, manifest, t.d.side.Container, name, tr.obj.ETag, tr.obj.Size, h)
	if err != nil {
		if ctx.Err() == nil && !transport.Is(err, transport.Quota) && !transport.Is(err, transport.Denied) && !errors.Is(err, transport.ErrExpired) {
			p.e.mu.Lock()
			p.e.noCopy[t.d.side.Region]++
			failures := p.e.noCopy[t.d.side.Region]
			p.e.mu.Unlock()
			if failures >= giveUpCollapse {
				return tr.degrade(ctx, s, segments, h, err)
			}
		}
		return err
	}
	p.e.mu.Lock()
	p.e.noCopy[t.d.side.Region] = 0
	p.e.mu.Unlock()
	tr.landed(ctx, s, rec)
	return nil
}

// forget drops what is known of a destination's segments, so that the next try
// sends them again.
func (p *pass) forget(ctx context.Context, d *dest, name string) {
	if err := p.sweep(ctx, d, name); err == nil {
		p.e.o.Ledger.DropIntent(d.info.ID, name)
		// the next try reads the ledger, and must not find the segments there; an
		// error is the next write's too
		_ = p.e.o.Ledger.Flush(ctx)
	}
}

// landed cleans up after a collapse and records the replica. The segments go
// first: a crash in between finds the object in place and the intent still there.
func (tr *transfer) landed(ctx context.Context, s *sender, rec transport.Receipt) {
	p := tr.p
	if err := p.sweep(ctx, s.t.d, tr.it.name); err != nil {
		p.e.o.Log.Warn("segments left behind; they expire by themselves", "region", s.t.d.side.Region, "name", tr.it.name, "err", err)
	}
	p.sweepReplaced(ctx, s, tr.it, "")
	p.done(tr.it, s.t.d, tr.obj, store.Replica{ETag: rec.ETag, Written: micros(rec.Modified)}, tr.sum())
}

// sum gives the digest of the whole, if this run has it.
func (tr *transfer) sum() *summer {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.sha == nil || tr.state.Chunks != tr.layout.Count() {
		return &summer{n: -1}
	}
	return &summer{h: tr.sha, n: tr.obj.Size}
}

// landSegmented writes the manifest that stays.
func (tr *transfer) landSegmented(ctx context.Context, s *sender, segments []transport.Segment, h transport.Header) error {
	p, t := tr.p, &s.t
	rec, err := t.d.ep.PutManifest(ctx, t.d.side.Container, p.destName(t.d, tr.it.name), segments, transport.PutOptions{Header: h, IfAbsent: t.ifAbsent})
	if err != nil {
		return err
	}
	p.sweepReplaced(ctx, s, tr.it, s.prefix)
	p.done(tr.it, t.d, tr.obj, store.Replica{ETag: rec.ETag, Written: micros(rec.Modified)}, tr.sum())
	return nil
}

// degrade keeps an object segmented where server-side copies keep failing. Its
// segments must not expire any more.
func (tr *transfer) degrade(ctx context.Context, s *sender, segments []transport.Segment, h transport.Header, cause error) error {
	p := tr.p
	for _, seg := range segments {
		if err := s.t.d.ep.Post(ctx, seg.Container, seg.Name, transport.Header{"Content-Type": "application/octet-stream"}); err != nil {
			return err
		}
	}
	p.findings.Add(report.Finding{Kind: report.KindDegraded, Level: report.Warn, Policy: p.job.Policy.Name, Region: s.t.d.side.Region, Container: s.t.d.side.Container,
		Name: p.destName(s.t.d, tr.it.name), Op: "collapse", Cause: "the object stays segmented, because server-side copies fail: " + cause.Error(),
		Hint: "farshore region check " + s.t.d.side.Region + " --probe"})
	return tr.landSegmented(ctx, s, segments, h)
}

// sweepReplaced removes the segments of an older version that stood segmented.
func (p *pass) sweepReplaced(ctx context.Context, s *sender, it *item, keep string) {
	if it.record == nil {
		return
	}
	if r, ok := it.record.Replica(s.t.d.info.ID); !ok || r.ETag == "" {
		return
	}
	if err := p.sweepOld(ctx, s.t.d, it.name, keep); err != nil {
		p.e.o.Log.Warn("segments of an older version left behind", "region", s.t.d.side.Region, "name", it.name, "err", err)
	}
}

// sweepOld removes the lasting segments of a name, but those below keep.
func (p *pass) sweepOld(ctx context.Context, d *dest, name, keep string) error {
	for _, container := range []string{d.side.Container + "_segments", segmentContainer} {
		var names []string
		err := d.ep.List(ctx, container, transport.Range{Prefix: chunk.ItemPrefix(d.side.Container, p.destName(d, name))}, func(page []transport.Entry) error {
			for _, e := range page {
				if keep == "" || !strings.HasPrefix(e.Name, keep+"/") {
					names = append(names, e.Name)
				}
			}
			return nil
		})
		if transport.Is(err, transport.NotFound) || err == nil && len(names) == 0 {
			continue
		}
		if err != nil {
			return err
		}
		slices.Sort(names)
		if err := d.ep.DeleteMany(ctx, container, names); err != nil {
			return err
		}
	}
	return nil
}

// abandon deals with what was begun to be sent of an object that the source has lost
// since, perhaps by an interrupted run. If it arrived, the ledger learns of it, so
// that the rules of deletes hold for it; else its segments go.
func (p *pass) abandon(ctx context.Context, d *dest, in store.Intent) error {
	err := p.settle(ctx, d, in, &plan.RouteStep{})
	if err == nil && in.Layout.Count() > 0 {
		if err = p.sweep(ctx, d, in.Name); err == nil {
			err = p.sweepUnlanded(ctx, d, in)
		}
	}
	if err != nil {
		if ctx.Err() != nil || !regionTrouble(err) {
			return err
		}
		p.e.o.Log.Warn("what was begun to be sent stays for the next pass to look at", "region", d.side.Region, "name", in.Name, "err", err)
		return nil
	}
	p.e.o.Ledger.DropIntent(in.Route, in.Name)
	return nil
}

// sweepUnlanded removes the segments of a copy that was to stay in segments, unless what
// stands at the destination consists of them.
func (p *pass) sweepUnlanded(ctx context.Context, d *dest, in store.Intent) error {
	name := p.destName(d, in.Name)
	_, raw, err := d.ep.Manifest(ctx, d.side.Container, name, "")
	if err != nil && !transport.Is(err, transport.NotFound) {
		return err
	}
	below := chunk.Prefix(d.side.Container, name, in.Version.ETag, in.Version.Modified, in.Layout) + "/"
	if bytes.Contains(raw, []byte(below)) {
		return nil
	}
	return d.deleteBelow(ctx, d.side.Container+"_segments", below)
}

// sweep removes all hidden segments of a destination name.
func (p *pass) sweep(ctx context.Context, d *dest, name string) error {
	return d.deleteBelow(ctx, segmentContainer, chunk.ItemPrefix(d.side.Container, p.destName(d, name)))
}

// deleteBelow deletes the objects whose names begin with a prefix.
func (d *dest) deleteBelow(ctx context.Context, container, prefix string) error {
	var names []string
	err := d.ep.List(ctx, container, transport.Range{Prefix: prefix}, func(page []transport.Entry) error {
		for _, e := range page {
			names = append(names, e.Name)
		}
		return nil
	})
	if transport.Is(err, transport.NotFound) {
		return nil
	}
	if err != nil || len(names) == 0 {
		return err
	}
	return d.ep.DeleteMany(ctx, container, names)
}

func hexMD5(sum [16]byte) string { return hex.EncodeToString(sum[:]) }

// manifestETag is the ETag that Swift gives a static large object: the MD5 of its
// segments' ETags (S3).
func manifestETag(segments []transport.Segment) string {
	h := md5.New() //nolint:gosec // Swift's checksum
	for _, s := range segments {
		h.Write([]byte(s.ETag))
	}
	return hex.EncodeToString(h.Sum(nil))
}
