package volumes

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// Pass makes one pass for a policy: it ships what is due, and then lets go of what its
// keep and keep_source no longer choose. What the retention found is among the findings
// of the pass, and the points are counted after it. A pass that could not run retains nothing.
func (s *Shipper) Pass(ctx context.Context, p policies.Policy, o ShipOptions) (report.Result, error) {
	res, err := s.pass(ctx, p, o, func(r *run, res *report.Result) error {
		res.Retention = &report.Retention{}
		return s.retain(ctx, p, RetainOptions{DryRun: o.DryRun}, r.f, res.Retention)
	})
	if err == nil && !o.DryRun {
		err = s.notePassed(p, res.Began)
	}
	return res, err
}

// RetainOptions qualify a retention.
type RetainOptions struct {
	DryRun bool // decide and say, change nothing anywhere
}

// Retain lets go of a policy's restore points that its keep (at each destination) and
// its keep_source (at the source) no longer choose, each side by itself, and makes
// synthetic fulls where a destination's chain has grown past max_chain or a point that
// stays no longer needs its parents. side.decide says what stays.
//
// What an interrupted retention began is ended first. A side whose region does not
// answer, or that refuses something, is a finding, and the others go on; the next
// retention goes on there. The error is nil when the retention ran, whatever it found.
func (s *Shipper) Retain(ctx context.Context, p policies.Policy, o RetainOptions) (report.Result, error) {
	began := s.o.Clock.Now()
	res := report.Result{Policy: p.Name, Command: "retain", Began: began.UTC(), Retention: &report.Retention{}}
	f := report.NewFindings(p.Accept, s.o.OnFinding)
	err := s.retain(ctx, p, o, f, res.Retention)
	res.Findings, res.Counts, res.Errors = f.List(), f.Counts(), f.Errors()
	res.Seconds = s.o.Clock.Now().Sub(began).Seconds()
	return res, err
}

// retain does what Retain says.
func (s *Shipper) retain(ctx context.Context, p policies.Policy, o RetainOptions, f *report.Findings, out *report.Retention) error {
	r := &retention{s: s, p: p, dry: o.DryRun, f: f, out: out}
	err := r.run(ctx)
	slices.SortStableFunc(out.Points, func(a, b report.Fate) int {
		return cmp.Or(cmp.Compare(a.Volume, b.Volume), sourceFirst(a, b), cmp.Compare(a.Region, b.Region))
	})
	return err
}

func sourceFirst(a, b report.Fate) int {
	switch {
	case a.Source == b.Source:
		return 0
	case a.Source:
		return -1
	}
	return 1
}

// retention is one Retain at work.
type retention struct {
	s   *Shipper
	p   policies.Policy
	dry bool
	f   *report.Findings

	mu  sync.Mutex
	out *report.Retention
}

func (r *retention) run(ctx context.Context) error {
	if !r.dry {
		if err := r.resume(ctx); err != nil {
			return err
		}
	}
	points, err := r.s.o.Ledger.Points("")
	if err != nil {
		return fmt.Errorf("read restore points: %w", err)
	}
	byVolume := map[string][]store.Point{}
	var volumes []string
	ours := map[string]bool{}
	for _, x := range points {
		if byVolume[x.Volume.ID] == nil {
			volumes = append(volumes, x.Volume.ID)
		}
		byVolume[x.Volume.ID] = append(byVolume[x.Volume.ID], x)
		ours[x.Volume.ID] = ours[x.Volume.ID] || x.Policy == r.p.Name
	}
	for _, volume := range volumes {
		if !ours[volume] {
			continue
		}
		r.s.o.Progress.Phase("retention of volume " + volume)
		g, gctx := errgroup.WithContext(ctx)
		for _, sd := range sides(r.p, byVolume[volume]) {
			g.Go(func() error { return r.carryOut(gctx, sd) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// sides gives what is to be decided of one volume: its source, and every destination of
// the policy. Points of other policies are held wherever they are.
func sides(p policies.Policy, points []store.Point) []side {
	var gap time.Duration
	if p.Snapshot != nil {
		gap = p.Snapshot.Every
	}
	source := side{Region: p.From, Source: true, Choose: keeper(p.KeepSource, p.Timezone)}
	for i := range points {
		x := &points[i]
		if x.Region != p.From || x.Gone != 0 {
			continue
		}
		it := item{Point: x.ID, Volume: x.Volume.ID, Backup: x.ID, Parent: x.Parent, Taken: x.Taken, Landed: true}
		switch {
		case x.Made == 0:
			it.State = busy
		case x.Policy != p.Name:
			it.Hold = otherPolicy(x.Policy)
		case replicasEver(x) < p.Replicas:
			it.Hold = fmt.Sprintf("%d of the %d copies that the policy wants are landed", replicasEver(x), p.Replicas)
		}
		source.Items = append(source.Items, it)
	}
	out := []side{source}
	known := byID(points)
	for _, to := range p.To {
		d := side{Region: to, Choose: keeper(p.Keep, p.Timezone), MaxChain: p.MaxChain.Destination, Gap: gap}
		for i := range points {
			x := &points[i]
			c, ok := x.Copy(to)
			if !ok || c.State == store.CopyExpired {
				continue
			}
			it := item{Point: x.ID, Volume: x.Volume.ID, Backup: cmp.Or(c.Backup, x.ID), Parent: c.Parent, Taken: x.Taken, Landed: c.State == store.CopyLanded}
			switch c.State {
			case store.CopyShipping:
				it.State = busy
				if parent := known[x.Parent]; parent != nil { // what it will be an increment upon
					pc, _ := parent.Copy(to)
					it.Parent = cmp.Or(pc.Backup, parent.ID)
				}
			case store.CopyLost:
				it.State = broken
			}
			if x.Policy != p.Name {
				it.Hold = otherPolicy(x.Policy)
			}
			d.Items = append(d.Items, it)
		}
		out = append(out, d)
	}
	return out
}

func otherPolicy(name string) string { return "policy " + transport.PrintName(name) + " has it" }

// replicasEver counts the destinations that have, or had as long as they wanted, a copy.
func replicasEver(x *store.Point) (n int) {
	for _, c := range x.Copies {
		if c.State == store.CopyLanded || c.State == store.CopyExpired {
			n++
		}
	}
	return n
}

// keeper makes of a keep what decide asks; nil keeps everything.
func keeper(k *policies.Keep, zone *time.Location) func([]time.Time) []string {
	return func(taken []time.Time) []string { return k.Select(taken, zone) }
}

// carryOut does what was decided of one side, step by step: the first that fails ends
// it there, for what follows may need it.
func (r *retention) carryOut(ctx context.Context, sd side) error {
	verdicts := sd.decide()
	failed := false
	for i := range verdicts {
		v := &verdicts[i]
		if v.Act == report.Keep || r.dry || failed {
			continue
		}
		if err := r.act(ctx, v); err != nil {
			if ctx.Err() != nil {
				return err
			}
			r.report(v, err)
			failed = true
			continue
		}
		v.Done = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range verdicts {
		if v.Act != report.Delete {
			r.out.Kept++
		}
		switch {
		case v.Act == report.Keep:
		case !v.Done && !r.dry:
			r.out.Failed++
		case v.Act == report.Delete:
			r.out.Deleted++
		default:
			r.out.Synthesized++
		}
	}
	r.out.Points = append(r.out.Points, verdicts...)
	return nil
}

// act carries one verdict out.
func (r *retention) act(ctx context.Context, v *report.Fate) error {
	x, ok, err := r.s.o.Ledger.Point(v.Point)
	if err == nil && !ok {
		err = errors.New("it is not in the ledger any more")
	}
	if err != nil {
		return fmt.Errorf("read restore point %s: %w", v.Point, err)
	}
	if v.Act == report.Synthesize {
		copied, err := r.s.synthesize(ctx, r.p, r.f, x, v.Region)
		r.mu.Lock()
		r.out.Copied += copied
		r.mu.Unlock()
		return err
	}
	e := expiry{Volume: x.Volume.ID, Backup: x.ID, Container: x.Container, Prefix: x.Prefix, Source: true}
	if !v.Source {
		c, _ := x.Copy(v.Region)
		e = expiry{Volume: x.Volume.ID, Backup: c.Backup, Container: c.Container, Prefix: c.Prefix}
	}
	return r.expire(ctx, x.ID, v.Region, e)
}

// report makes a finding of an act that failed.
func (r *retention) report(v *report.Fate, err error) {
	x := report.Finding{Kind: report.KindFailed, Level: report.Warn, Policy: r.p.Name, Region: v.Region, Name: v.Point, Op: "delete point", Cause: err.Error(), Hint: transport.HintOf(err)}
	if v.Act == report.Synthesize {
		x.Kind, x.Op = report.KindNotMerged, "make a synthetic full"
	}
	var stuck *stuckError
	var pinned *pinnedError
	switch {
	case errors.As(err, &stuck):
		x.Kind, x.Level, x.Hint = report.KindLeftBehind, report.Error, "as an admin: "+stuck.command
	case errors.As(err, &pinned):
		x.Kind, x.Hint = report.KindPinned, pinned.hint()
	case passing(err):
		x.Kind = report.KindRegionDown
	}
	if x.Hint == "" {
		x.Hint = "the next run tries again"
	}
	r.f.Add(x)
}

// resume ends the deletes and synthetic fulls that an earlier run of the policy began.
func (r *retention) resume(ctx context.Context) error {
	list, err := r.s.works(workExpire, workSynthetic)
	if err != nil {
		return err
	}
	for _, w := range list {
		if w.Policy != r.p.Name || !r.s.left(w) {
			continue
		}
		v := report.Fate{Region: w.Region, Point: w.Point, Act: report.Delete}
		if w.Kind == workSynthetic {
			v.Act = report.Synthesize
			err = r.s.resumeSynthetic(ctx, r.p, r.f, w)
		} else {
			var freed int64
			freed, err = r.s.goOn(ctx, r.f, w)
			r.free(freed)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			r.report(&v, err)
		}
	}
	return nil
}

// goOn ends a delete that was interrupted: what was half deleted cannot be restored. It
// gives the bytes that are free now.
func (s *Shipper) goOn(ctx context.Context, f *report.Findings, w store.Work) (int64, error) {
	var e expiry
	if err := json.Unmarshal(w.Data, &e); err != nil {
		return 0, fmt.Errorf("read work %s: %w", w.ID, err)
	}
	return s.erase(ctx, f, w, e)
}

// expire deletes one backup of a point, and records that it is gone.
func (r *retention) expire(ctx context.Context, point, region string, e expiry) error {
	freed, err := r.s.expire(ctx, r.f, r.p.Name, point, region, e)
	r.free(freed)
	return err
}

// free counts bytes that were freed.
func (r *retention) free(bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out.Freed += bytes
}
