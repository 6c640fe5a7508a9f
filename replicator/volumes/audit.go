package volumes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"farshore/policies"
	"farshore/replicator"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// AuditOptions qualify an audit of restore points.
type AuditOptions struct {
	Read   float64 // share of the data objects that is read through, 0 to 1
	Seed   int64   // chooses which; 0: taken from the clock, and reported
	Repair bool    // send what is missing or damaged again, and import lost records
}

// AuditPoints proves what the ledger says of a policy's restore points: that each
// destination's Cinder has the record of each copy, that the listing of its objects is
// what its _metadata names (C13) with the ETags that they were confirmed by, that the
// _metadata is the one that was recorded, and that what a restore needs without a ledger
// stands there. Data objects that the sample takes are read, decompressed and compared
// with the MD5 that Cinder took of their content; of a copy that an earlier audit found
// lost, all are. It also notes which backups the source no longer has.
//
// A copy with a fault is lost until a repair or a later audit finds it whole. The
// error is nil when the audit ran, whatever it found.
func (s *Shipper) AuditPoints(ctx context.Context, p policies.Policy, o AuditOptions) (report.Result, error) {
	began := s.o.Clock.Now()
	if o.Read < 0 || o.Read > 1 {
		return report.Result{}, &replicator.UsageError{Msg: fmt.Sprintf("the share to read is %g", o.Read), Hint: "give 0% to 100%"}
	}
	if o.Seed == 0 {
		o.Seed = began.UnixNano()
	}
	res := report.Result{Policy: p.Name, Command: "audit", Began: began.UTC()}
	f := report.NewFindings(p.Accept, s.o.OnFinding)
	a := &pointAudit{s: s, p: p, o: o, f: f, out: report.PointAudit{Seed: o.Seed, Share: o.Read, ByRegion: map[string]int64{}}, whole: map[string]map[string]bool{},
		sent: report.Totals{ByRegion: map[string]int64{}}}
	err := a.run(ctx)
	if jerr := a.judge(&res, err); err == nil {
		err = jerr
	}
	res.PointAudit, res.Totals = &a.out, a.sent
	res.Findings, res.Counts, res.Errors = f.List(), f.Counts(), f.Errors()
	res.Seconds = s.o.Clock.Now().Sub(began).Seconds()
	return res, err
}

// pointAudit is one audit of a policy's points.
type pointAudit struct {
	s *Shipper
	p policies.Policy
	o AuditOptions
	f *report.Findings

	mu    sync.Mutex
	out   report.PointAudit
	whole map[string]map[string]bool // points found whole, by region
	sent  report.Totals              // by repairs
}

func (a *pointAudit) count(f func(*report.PointAudit)) {
	a.mu.Lock()
	f(&a.out)
	a.mu.Unlock()
}

// mine gives the policy's points, the oldest first.
func (a *pointAudit) mine() ([]store.Point, error) {
	all, err := a.s.o.Ledger.Points("")
	if err != nil {
		return nil, fmt.Errorf("read restore points: %w", err)
	}
	return slices.DeleteFunc(all, func(x store.Point) bool { return x.Policy != a.p.Name || x.Region != a.p.From }), nil
}

func (a *pointAudit) run(ctx context.Context) error {
	if err := a.s.takeUp(ctx, a.p, a.f); err != nil {
		return err
	}
	points, err := a.mine()
	if err != nil {
		return err
	}
	if err := a.source(ctx, points); err != nil {
		return err
	}
	if points, err = a.mine(); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, to := range a.p.To {
		g.Go(func() error {
			err := a.region(gctx, to, points)
			return a.unreached(gctx, to, err)
		})
	}
	return g.Wait()
}

// unreached makes a finding of a region that could not be looked at; what it returns
// ends the audit.
func (a *pointAudit) unreached(ctx context.Context, region string, err error) error {
	var usage *replicator.UsageError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &usage), !regional(err):
		return err
	}
	level := report.Warn
	if !passing(err) {
		level = report.Error
	}
	a.f.Add(report.Finding{Kind: report.KindRegionDown, Level: level, Policy: a.p.Name, Region: region, Op: "audit points", Cause: err.Error(),
		Hint: cmp.Or(transport.HintOf(err), "farshore region check "+region)})
	return nil
}

// source notes which points' backups are gone from it.
func (a *pointAudit) source(ctx context.Context, points []store.Point) error {
	a.s.o.Progress.Phase("asking " + a.p.From + " for its backups")
	r, err := a.s.cinder(a.p.From)
	var list []transport.Backup
	if err == nil {
		list, err = r.Blocks.Backups(ctx)
	}
	if err != nil {
		return a.unreached(ctx, a.p.From, err)
	}
	there := map[string]bool{}
	for _, b := range list {
		there[b.ID] = true
	}
	for _, x := range points {
		gone := x.Gone == 0 && x.Made != 0 && !there[x.ID]
		if !gone && !x.Unseen {
			continue
		}
		err := a.s.o.Ledger.UpdatePoint(ctx, x.ID, func(p *store.Point, exists bool) bool {
			if p.Unseen = false; gone {
				p.Gone = a.s.o.Clock.Now().UnixMicro()
			}
			return exists
		})
		if err != nil {
			return fmt.Errorf("record whether the source has backup %s: %w", x.ID, err)
		}
		if !gone {
			continue
		}
		a.f.Add(report.Finding{Kind: report.KindPointGone, Level: report.Warn, Policy: a.p.Name, Region: a.p.From, Name: x.ID, Op: "audit points",
			Cause: "the source no longer has the point's backup: somebody deleted it there", Hint: "its copies stay; the next backup may have to be a full one"})
	}
	return nil
}

// region audits all copies in one destination, parents before their increments.
func (a *pointAudit) region(ctx context.Context, region string, points []store.Point) error {
	r, err := a.s.cinder(region)
	if err != nil {
		return err
	}
	list, err := r.Blocks.Backups(ctx)
	if err != nil {
		return err
	}
	v := &visit{pointAudit: a, r: r, region: region, records: map[string]transport.Backup{}, whole: map[string]bool{}, files: map[string]map[string]transport.Entry{}, must: map[string]bool{}}
	for _, b := range list {
		v.records[b.ID] = b
	}
	for _, x := range points {
		c, ok := x.Copy(region)
		if !ok || c.State == store.CopyExpired || c.State == store.CopyShipping {
			continue
		}
		a.s.o.Progress.Phase("auditing point " + x.ID + " in " + region)
		if err := v.copy(ctx, x, c); err != nil {
			return err
		}
	}
	a.mu.Lock()
	a.whole[region] = v.whole
	a.mu.Unlock()
	return v.unknown(ctx, points)
}

// unknown reports backups of the policy's volumes that are in no record.
func (v *visit) unknown(ctx context.Context, points []store.Point) error {
	volumes := map[string]bool{}
	for _, x := range points {
		volumes[x.Volume.ID] = true
	}
	for _, volume := range sortedKeys(volumes) {
		known, err := v.s.backupsKnown(volume, v.region)
		if err != nil {
			return err
		}
		for id, b := range v.records {
			if b.Volume != volume || known[id] {
				continue
			}
			x := report.Finding{Kind: report.KindUnknown, Level: report.Warn, Policy: v.p.Name, Region: v.region, Name: id, Op: "audit points",
				Cause: fmt.Sprintf("a backup of volume %s is in no record (status %s, %s)", volume, b.Status, report.Count(b.Objects, "object")),
				Hint:  "it is left alone; if nobody wants it: openstack volume backup delete " + id}
			switch d, err := v.s.readDescriptor(ctx, v.region, volume, id); {
			case err == nil && d.Point.Policy == v.p.Name && d.Point.Region == v.p.From:
				x.Cause = fmt.Sprintf("point %s of volume %s, of %s, is this policy's by what the region holds of it, and the ledger does not know it", d.Point.ID, volumeOf(d.Point), when(d.Point.Taken).Format(time.RFC3339))
				x.Hint = "farshore ledger rebuild takes it up, and all like it; until then it can be restored, and keep does not count it"
			case err == nil:
				x.Hint = "it is left alone: it is a point of policy " + transport.PrintName(d.Point.Policy) + ", from " + d.Point.Region
			case passing(err) || ctx.Err() != nil:
				return err
			}
			v.f.Add(x)
		}
	}
	return nil
}

// judge counts the points, and says when there are too few replicas.
func (a *pointAudit) judge(res *report.Result, failed error) error {
	c, err := a.counted(res)
	if err != nil {
		return err
	}
	a.out.Points, a.out.Alone = c.points, c.alone
	if failed == nil {
		c.judge(a.f, res.Replicas, a.o.Repair)
	}
	return nil
}

// counted counts the points by the regions in which they were found whole.
func (a *pointAudit) counted(res *report.Result) (*census, error) {
	points, err := a.mine()
	if err != nil {
		return nil, err
	}
	all, err := a.s.o.Ledger.Points("")
	if err != nil {
		return nil, fmt.Errorf("read restore points: %w", err)
	}
	c := newCensus(a.p, points, all)
	res.Replicas = c.replicas(func(x store.Point, at store.PointCopy) bool {
		return a.whole[at.Region][x.ID] && at.State == store.CopyLanded
	})
	return c, nil
}
