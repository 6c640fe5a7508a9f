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

// ShipOptions qualify a pass.
type ShipOptions struct {
	DryRun      bool // decide and count, change nothing anywhere
	SnapshotNow bool // take a snapshot of every volume, due or not
}

// volumesAtOnce is how many volumes of a policy are worked on together; their bytes
// share the engine's streams.
const volumesAtOnce = 4

// run is one pass for one policy.
type run struct {
	s       *Shipper
	p       policies.Policy
	o       ShipOptions
	f       *report.Findings
	from    Region
	project string            // of the source
	there   map[string]string // project by destination, of those that answered

	mu      sync.Mutex
	claims  map[string]*claims // by region
	trials  map[string]*trial  // by region
	down    map[string]error   // destinations left out of the rest of the pass
	told    map[string]bool    // findings that are made once a pass
	volumes report.VolumeTotals
	copied  report.Totals
	points  []report.PointResult

	misplaced error     // why nothing can be shipped from the source at all
	bare      int64     // volumes without a point, and without a snapshot to make one of
	tokenEnds time.Time // of the token that backups are started with
}

// Ship makes one pass for a policy of volumes: it goes on with what earlier passes left
// unfinished, takes snapshots that are due, makes a backup of each that is due, carries
// its objects while they are written, and lands it in every destination. The error is
// nil when the pass ran, whatever it found. A kill at any moment loses nothing: the
// next pass goes on.
func (s *Shipper) Ship(ctx context.Context, p policies.Policy, o ShipOptions) (report.Result, error) {
	return s.pass(ctx, p, o, nil)
}

// pass ships, does what comes after that, if anything does, and then counts.
func (s *Shipper) pass(ctx context.Context, p policies.Policy, o ShipOptions, after func(*run, *report.Result) error) (report.Result, error) {
	began := s.o.Clock.Now()
	res := report.Result{Policy: p.Name, Command: "sync", Began: began.UTC()}
	if o.DryRun {
		res.Command = "plan"
	}
	r := s.newRun(p, o)
	err := r.ship(ctx)
	if err == nil && after != nil {
		err = after(r, &res)
	}
	if err == nil {
		r.reportDown()
	}
	if rerr := r.judge(&res, err); err == nil {
		err = rerr
	}
	if !o.DryRun {
		s.o.Lag.Save(p.Name)
	}
	res.Findings, res.Counts, res.Errors = r.f.List(), r.f.Counts(), r.f.Errors()
	res.Seconds = s.o.Clock.Now().Sub(began).Seconds()
	return res, err
}

func (s *Shipper) newRun(p policies.Policy, o ShipOptions) *run {
	return &run{s: s, p: p, o: o, f: report.NewFindings(p.Accept, s.o.OnFinding), there: map[string]string{}, down: map[string]error{},
		told: map[string]bool{}, copied: report.Totals{ByRegion: map[string]int64{}}, claims: map[string]*claims{}, trials: map[string]*trial{}}
}

func (r *run) ship(ctx context.Context) error {
	if r.p.Volumes == nil {
		return &replicator.UsageError{Msg: fmt.Sprintf("policy %s is not about volumes", r.p.Name), Hint: "it is carried by the object engine"}
	}
	if err := r.open(ctx); err != nil {
		return err
	}
	if !r.o.DryRun {
		if err := r.s.takeUp(ctx, r.p, r.f); err != nil {
			return err
		}
		if err := r.settle(ctx); err != nil {
			return err
		}
	}
	if err := r.placed(ctx); err != nil {
		return err
	}
	looked := r.s.o.Clock.Now()
	all, err := r.from.Blocks.Volumes(ctx)
	if err != nil {
		return err
	}
	chosen := selected(r.p, all)
	r.volumes.Volumes = int64(len(chosen))
	r.missing(chosen)
	var lost []string // volumes that are not there any more, with points that have not landed everywhere
	points, err := r.mine("")
	if err != nil {
		return err
	}
	for _, pt := range points {
		if r.unfinished(pt) && !slices.ContainsFunc(chosen, func(v transport.Volume) bool { return v.ID == pt.Volume.ID }) && !slices.Contains(lost, pt.Volume.ID) {
			lost = append(lost, pt.Volume.ID)
		}
	}
	places := slices.Clone(lost)
	for _, v := range chosen {
		places = append(places, v.ID)
	}
	r.tellVolumes(looked, places)
	for _, id := range places {
		if err := r.tellPoints(id); err != nil {
			return err
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(volumesAtOnce)
	for _, id := range lost {
		g.Go(func() error { return r.tell(gctx, transport.Volume{ID: id}, r.finish(gctx, id)) })
	}
	for _, v := range chosen {
		g.Go(func() error { return r.tell(gctx, v, r.volume(gctx, v)) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if r.bare > 0 {
		r.f.Add(report.Finding{Kind: report.KindNotShipped, Level: report.Warn, Policy: r.p.Name, Region: r.p.From, Op: "look for snapshots",
			Cause: report.Count(r.bare, "volume") + " without a restore point: the policy takes no snapshots, and there is none that it could use",
			Hint:  "let it take them (snapshot: {every: 1h}), or take some: openstack volume snapshot create --volume VOLUME NAME; farshore points " + before(r.p.Name) + "lists what has points"})
	}
	return nil
}

// open finds the source, and the destinations that answer.
func (r *run) open(ctx context.Context) (err error) {
	if r.from, err = r.s.cinder(r.p.From); err != nil {
		return err
	}
	id, err := r.from.Blocks.Identity(ctx)
	if err != nil {
		return err
	}
	r.project = id.Project
	var usage *replicator.UsageError
	for _, to := range r.p.To {
		reg, err := r.s.cinder(to)
		var there transport.Identity
		if err == nil {
			there, err = reg.Blocks.Identity(ctx)
		}
		switch {
		case errors.As(err, &usage), err != nil && ctx.Err() != nil:
			return err
		case err != nil:
			r.lose(to, err)
			continue
		case there.URL == id.URL:
			return &replicator.UsageError{Msg: fmt.Sprintf("source and destination are the same place: %s and %s are both %s", r.p.From, to, id.URL), Hint: "choose another region"}
		}
		r.there[to] = there.Project
	}
	return nil
}

// missing reports volumes that a policy names and that are not there.
func (r *run) missing(chosen []transport.Volume) {
	for _, id := range r.p.Volumes.IDs {
		if !slices.ContainsFunc(chosen, func(v transport.Volume) bool { return v.ID == id }) {
			r.f.Add(report.Finding{Kind: report.KindNotShipped, Level: report.Error, Policy: r.p.Name, Region: r.p.From, Name: id, Op: "find volume",
				Cause: "there is no such volume in the project", Hint: "take it out of the policy's volumes if it is gone for good; its points stay"})
		}
	}
	for _, name := range r.p.Volumes.Names {
		if !slices.ContainsFunc(chosen, func(v transport.Volume) bool { return v.Name == name }) {
			r.f.Add(report.Finding{Kind: report.KindNotShipped, Level: report.Error, Policy: r.p.Name, Region: r.p.From, Name: name, Op: "find volume",
				Cause: "there is no volume of this name in the project", Hint: "openstack volume list shows their names"})
		}
	}
	if len(chosen) == 0 && len(r.p.Volumes.IDs)+len(r.p.Volumes.Names) == 0 {
		r.f.Add(report.Finding{Kind: report.KindNotShipped, Level: report.Warn, Policy: r.p.Name, Region: r.p.From, Op: "select volumes",
			Cause: "the policy selects no volume", Hint: "compare its volumes: with openstack volume list --long"})
	}
}

// mine gives the points that this policy made of a volume ("": of all), oldest first.
func (r *run) mine(volume string) ([]store.Point, error) {
	all, err := r.pointsOf(volume)
	return slices.DeleteFunc(all, func(pt store.Point) bool { return pt.Policy != r.p.Name }), err
}

// pointsOf gives the points of a volume at the source, whatever policy made them.
func (r *run) pointsOf(volume string) ([]store.Point, error) {
	all, err := r.s.o.Ledger.Points(volume)
	// A ledger that was rebuilt without the source may not know whose project a point is.
	return slices.DeleteFunc(all, func(pt store.Point) bool { return pt.Region != r.p.From || pt.Project != r.project && pt.Project != "" }), err
}

// unfinished reports whether a point still has a way to go.
func (r *run) unfinished(pt store.Point) bool {
	return pt.Gone == 0 && pt.Made == 0 || len(r.wanting(pt)) > 0
}

// wanting gives the destinations that a point is not landed in and that can be used, or in a
// dry run all: what waits for one that is down is pending. When its source no longer has
// it, those that have all of it but the record.
func (r *run) wanting(pt store.Point) []string {
	var out []string
	for _, to := range r.p.To {
		c, ok := pt.Copy(to)
		if (r.o.DryRun || r.usable(to)) && (c.State == store.CopyShipped || pt.Gone == 0 && (!ok || c.State == store.CopyShipping)) {
			out = append(out, to)
		}
	}
	return out
}

// volume does what is to be done about one volume.
func (r *run) volume(ctx context.Context, v transport.Volume) error {
	defer r.unclaim(v.ID)
	if err := r.finish(ctx, v.ID); err != nil {
		return err
	}
	if v.Encrypted {
		r.refuse()
		r.f.Add(report.Finding{Kind: report.KindCannot, Level: report.Error, Policy: r.p.Name, Region: r.p.From, Name: v.ID, Op: "back up volume " + volumeName(v),
			Cause: "the volume is encrypted: its backup would hold ciphertext, and the key is a secret of this region's Barbican, which is not carried; nothing was done",
			Hint:  "copy it into an unencrypted volume inside a guest, or leave it out of the policy's volumes"})
		return nil
	}
	snaps, err := r.from.Blocks.Snapshots(ctx, v.ID)
	if err != nil {
		return err
	}
	points, err := r.mine(v.ID)
	if err != nil {
		return err
	}
	due := dueSnapshots(r.p, v.ID, snaps, points)
	take := r.o.SnapshotNow || snapshotDue(r.p, v.ID, snaps, points, r.s.o.Clock.Now())
	if r.p.Snapshot == nil && !take && len(due)+len(points) == 0 {
		r.count(func() { r.bare++ })
	}
	if err := unfit(r.p.From, v); err != nil && (take || len(due) > 0) {
		return err
	}
	if r.o.DryRun {
		return r.planned(ctx, v, due, take)
	}
	if take {
		if err := r.preflight(ctx, v.ID, v, v.Size, true); err != nil {
			return err
		}
		snap, err := r.snapshot(ctx, v)
		if err != nil {
			return err
		}
		due = append(due, snap)
	}
	for _, snap := range due {
		if err := r.protect(ctx, v, snap); err != nil {
			return err
		}
	}
	if points, err = r.mine(v.ID); err != nil {
		return err
	}
	return r.dropSnapshots(ctx, v.ID, points)
}

// finish goes on with the points of a volume that earlier passes left on their way.
func (r *run) finish(ctx context.Context, volume string) error {
	points, err := r.mine(volume)
	if err != nil {
		return err
	}
	for _, pt := range points {
		switch {
		case !r.unfinished(pt):
		case r.o.DryRun:
			r.addPoint(r.resultOf(pt, true))
		default:
			err := r.carry(ctx, pt, true)
			if err != nil && pt.Made != 0 { // an old one's trouble keeps no new one from being made
				err = r.tell(ctx, transport.Volume{ID: volume, Name: pt.Volume.Name}, err)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// protect makes a point of a snapshot and carries it to the destinations.
func (r *run) protect(ctx context.Context, v transport.Volume, snap transport.Snapshot) error {
	snap, err := r.ready(ctx, snap.ID)
	if transport.Is(err, transport.NotFound) && !r.o.SnapshotNow {
		r.s.o.Log.Info("a snapshot went away before it was backed up", "snapshot", snap.ID, "volume", v.ID)
		return nil
	}
	if err != nil {
		return err
	}
	if err := r.preflight(ctx, v.ID, v, snap.Size, false); err != nil {
		return err
	}
	points, err := r.pointsOf(v.ID)
	if err != nil {
		return err
	}
	backups, err := r.from.Blocks.Backups(ctx)
	if err != nil {
		return err
	}
	c := choose(r.p, snap, backups, points)
	pt, err := r.backUp(ctx, v, snap, c)
	if err != nil {
		return err
	}
	err = r.carry(ctx, pt, false)
	var again *tryFullError
	if errors.As(err, &again) { // an increment that Cinder could not make
		if pt, err = r.backUp(ctx, v, snap, choice{why: again.why, chain: 1}); err == nil {
			err = r.carry(ctx, pt, false)
		}
	}
	return err
}

// tell makes a finding of what went wrong about one volume, so that the others go on.
// What it returns ends the pass: the ledger's error or the context's.
func (r *run) tell(ctx context.Context, v transport.Volume, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !regional(err):
		return err
	}
	r.refuse()
	kind := report.KindNotShipped
	var s *stuckError
	var k interface{ findingKind() string }
	hint := transport.HintOf(err)
	switch {
	case errors.As(err, &s):
		kind, hint = report.KindLeftBehind, "an admin runs: "+s.command
	case errors.As(err, &k):
		kind = k.findingKind()
	}
	r.f.Add(report.Finding{Kind: kind, Level: report.Error, Policy: r.p.Name, Region: r.p.From, Name: v.ID, Op: "ship volume " + volumeName(v),
		Cause: err.Error(), Hint: cmp.Or(hint, "the next pass tries again")})
	return nil
}

// regional reports whether an error speaks of a region or of something in it, rather
// than of the ledger or a mistake: then the rest of the pass goes on.
func regional(err error) bool {
	var te *transport.Error
	var s *stuckError
	return errors.As(err, &te) || errors.As(err, &s)
}

// volumeName is what people call a volume.
func volumeName(v transport.Volume) string {
	if v.Name == "" {
		return v.ID
	}
	return transport.PrintName(v.Name)
}

func (r *run) count(f func()) {
	r.mu.Lock()
	f()
	r.mu.Unlock()
}

func (r *run) refuse() { r.count(func() { r.volumes.Refused++ }) }

func (r *run) addPoint(x report.PointResult) { r.count(func() { r.points = append(r.points, x) }) }

// usable reports whether a destination takes part in this pass.
func (r *run) usable(region string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, known := r.there[region]
	return known && r.down[region] == nil
}

// lose leaves a destination out of the rest of the pass.
func (r *run) lose(region string, err error) {
	r.mu.Lock()
	if r.down[region] == nil {
		r.down[region] = err
	}
	r.mu.Unlock()
	r.s.o.Log.Warn("region left out of this pass", "region", region, "err", err)
}

// once reports whether a finding is to be made for the first time in this pass.
func (r *run) once(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.told[key]
	r.told[key] = true
	return !was
}

func (r *run) leftBehind(what string, err error) {
	hint := "the next pass tries again"
	var s *stuckError
	if errors.As(err, &s) {
		hint = "an admin runs: " + s.command
	}
	r.f.Add(report.Finding{Kind: report.KindLeftBehind, Level: report.Warn, Policy: r.p.Name, Region: r.p.From, Name: what, Op: "remove " + what, Cause: err.Error(), Hint: hint})
}

// reportDown reports destinations that could not be used, once each.
func (r *run) reportDown() {
	for _, to := range r.p.To {
		if err := r.down[to]; err != nil {
			level, hint := report.Warn, "what is due there waits in the ledger; the next pass catches up when it answers: farshore region check "+to
			if !passing(err) {
				level, hint = report.Error, cmp.Or(transport.HintOf(err), "farshore region check "+to)
			}
			kind, op := report.KindRegionDown, "reach region"
			var k interface{ findingKind() string }
			if errors.As(err, &k) { // it answers, and cannot be used
				kind, op = k.findingKind(), "use region"
			}
			r.f.Add(report.Finding{Kind: kind, Level: level, Policy: r.p.Name, Region: to, Op: op, Cause: err.Error(), Hint: hint})
		}
	}
}

// judge says what was done, and how the policy's points stand now.
func (r *run) judge(res *report.Result, failed error) error {
	points, err := r.mine("")
	if err != nil {
		return err
	}
	all, err := r.pointsOf("")
	if err != nil {
		return err
	}
	slices.SortFunc(r.points, func(a, b report.PointResult) int {
		return cmp.Or(cmp.Compare(a.VolumeName, b.VolumeName), cmp.Compare(a.Volume, b.Volume), a.Taken.Compare(b.Taken), cmp.Compare(a.Point, b.Point))
	})
	res.Volumes, res.Points, res.Totals = &r.volumes, r.points, r.copied
	c := newCensus(r.p, points, all)
	r.volumes.Points, r.volumes.Alone = c.points, c.alone
	res.Replicas = c.replicas(c.whole)
	if !r.o.DryRun && failed == nil {
		c.lostCopies(r.f)
		c.judge(r.f, res.Replicas, false)
	}
	return nil
}
