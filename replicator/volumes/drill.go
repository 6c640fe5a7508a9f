package volumes

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// DrillRequest says what is to be rehearsed: a policy's points or containers, or one point.
type DrillRequest struct {
	Policy  policies.Policy
	Point   string   // instead of all that the policy has: this one, as RestoreRequest.Point
	Regions []string // where; none: every destination of the policy
	Proof   ProofMode
	Type    string        // as in RestoreRequest
	Wait    time.Duration // as in RestoreRequest
	Share   float64       // of a container policy's objects, 0 to 1
	Seed    int64         // chooses them
	Version string        // of the program, for the report
}

// Drill rehearses a restore in scratch resources, proves it, measures it, removes it
// all again and records a report. What failed is in the report, which then is not OK;
// an error means that there is none, as of a point that no region has or a type that one
// has not: what was asked for was wrong, and nothing was rehearsed. It asks nothing of the source region, and needs
// no ledger that knows the points.
func (s *Shipper) Drill(ctx context.Context, r DrillRequest) (report.Drill, error) {
	p := r.Policy
	f := report.NewFindings(p.Accept, s.o.OnFinding)
	id, err := newWorkID()
	if err != nil {
		return report.Drill{}, err
	}
	d := report.Drill{ID: id, Policy: p.Name, Version: r.Version, Source: p.From, Began: s.o.Clock.Now().UTC(), OK: true,
		Regions: r.Regions, Volumes: []report.DrillVolume{}, Containers: []report.DrillContainer{}}
	if len(d.Regions) == 0 {
		d.Regions = p.To
	}
	if slices.Contains(d.Regions, p.From) {
		d.Source = ""
	}
	if err := s.drillable(ctx, r, d.Regions); err != nil {
		return d, err
	}
	if err := s.reap(ctx, f, workDrill); err != nil {
		return d, err
	}
	for _, region := range d.Regions {
		switch {
		case r.Point == "" && p.Volumes == nil:
			err = s.drillContainers(ctx, r, region, &d, f)
		default:
			err = s.drillVolumes(ctx, r, region, &d, f)
		}
		if ctx.Err() != nil {
			return d, context.Cause(ctx)
		}
		if err != nil {
			f.Add(report.Finding{Kind: report.KindFailed, Level: report.Error, Policy: p.Name, Region: region, Op: "drill", Cause: err.Error(), Hint: transport.HintOf(err)})
		}
	}
	for _, v := range d.Volumes {
		d.OK = d.OK && v.OK
		if d.Source == "" && p.Name == "" && v.Restore.From != v.Restore.Region {
			d.Source = v.Restore.From
		}
		d.RTO, d.RPO = max(d.RTO, v.Restore.RTO), max(d.RPO, v.Age)
	}
	if slices.ContainsFunc(d.Volumes, func(v report.DrillVolume) bool { p := v.Restore.Proof; return p != nil && p.Against == proofSource }) {
		d.Source = ""
	}
	for _, c := range d.Containers {
		d.OK = d.OK && c.OK
	}
	if len(d.Volumes)+len(d.Containers) == 0 {
		for _, region := range d.Regions {
			f.Add(report.Finding{Kind: report.KindNoPoint, Level: report.Error, Policy: p.Name, Region: region, Op: "drill", Cause: "there was nothing to restore: no copy of anything that the policy selects was found",
				Hint: "farshore points and farshore status say what there should be"})
		}
	}
	d.Findings, d.Errors = f.List(), f.Errors()
	d.OK = d.OK && d.Errors == 0
	d.Seconds = s.o.Clock.Now().Sub(d.Began).Seconds()
	return d, s.keepDrill(ctx, d)
}

// drillable finds out whether there is what the request names: the point, in one of the
// regions at least, and the volume type, in each of them. What else is wrong is the drill's to find.
func (s *Shipper) drillable(ctx context.Context, r DrillRequest, regions []string) error {
	var missing error
	found := r.Point == ""
	for _, region := range regions {
		reg, err := s.cinder(region)
		if err != nil {
			continue
		}
		if r.Type != "" {
			if types, err := reg.Blocks.VolumeTypes(ctx); err == nil {
				if err := missingType(types, r.Type, region, "name one with --type"); err != nil {
					return err
				}
			}
		}
		if r.Point == "" {
			continue
		}
		switch _, err := s.findPoint(ctx, r.Point, region, nil); {
		case !transport.Is(err, transport.NotFound):
			found = true
		case missing == nil:
			missing = err
		}
	}
	if found {
		return nil
	}
	return missing
}

// keepDrill records the report.
func (s *Shipper) keepDrill(ctx context.Context, d report.Drill) error {
	text, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encode the report of drill %s: %w", d.ID, err)
	}
	if err := s.o.Ledger.PutDrill(ctx, store.Drill{ID: d.ID, Policy: d.Policy, Began: d.Began.UnixMicro(), OK: d.OK, Report: text}); err != nil {
		return fmt.Errorf("record drill %s: %w", d.ID, err)
	}
	return nil
}

// drillVolumes restores the newest point of each of the policy's volumes in a region, or the
// one point that was named.
func (s *Shipper) drillVolumes(ctx context.Context, r DrillRequest, region string, d *report.Drill, f *report.Findings) error {
	names := []string{r.Point}
	if r.Point == "" {
		list, known, err := s.pointsAt(ctx, region, func(p store.Point) bool { return p.Policy == r.Policy.Name })
		if err != nil {
			return err
		}
		there, err := s.records(ctx, region)
		if err != nil {
			return err
		}
		of := map[string][]store.Point{}
		for _, p := range list {
			of[p.Volume.ID] = append(of[p.Volume.ID], p)
		}
		names = names[:0]
		for _, v := range sortedKeys(of) {
			x, err := s.newest(of[v], known, region, r.Policy.Name, there, nil)
			if err != nil {
				return err
			}
			if x.newer.ID != "" && x.newer.ID != x.lost.ID {
				f.Add(x.older(region))
			}
			if x.lost.ID != "" {
				f.Add(x.lostThere(region))
			}
			names = append(names, x.point.ID)
		}
		lacking, err := s.lacking(r.Policy, of)
		if err != nil {
			return err
		}
		for _, v := range lacking {
			x := report.DrillVolume{Restore: report.Restore{Region: region, From: r.Policy.From, SourceVolume: v.ID, SourceVolumeName: v.Name}, Cause: "the region holds no point of it",
				Hint: "farshore points " + before(r.Policy.Name) + "shows where there are any; farshore sync " + before(r.Policy.Name) + "ships what is missing, or says why not"}
			d.Volumes = append(d.Volumes, x)
			f.Add(report.Finding{Kind: report.KindNoPoint, Level: report.Error, Policy: r.Policy.Name, Region: region, Name: cmp.Or(v.ID, v.Name), Op: "drill the restore of " + cmp.Or(v.Name, v.ID), Cause: x.Cause, Hint: x.Hint})
		}
	}
	types := func(string) map[string]string { return r.Policy.VolumeTypes }
	for _, name := range names {
		out, err := s.restore(ctx, RestoreRequest{Point: name, To: region, Type: r.Type, Types: types, Proof: cmp.Or(r.Proof, ProofBlocks), Wait: r.Wait}, true, f, nil)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		v := report.DrillVolume{OK: err == nil && out.Removed, Restore: out}
		if !out.Taken.IsZero() {
			v.Age = d.Began.Sub(out.Taken).Seconds()
		}
		if err != nil {
			v.Cause, v.Hint = err.Error(), hintOf(err)
			v.Restore.Point, v.Restore.Region = cmp.Or(out.Point, name), region // of one that was not found, too
			var unequal *ProofError
			if !errors.As(err, &unequal) { // that is a finding already
				f.Add(report.Finding{Kind: report.KindFailed, Level: report.Error, Policy: r.Policy.Name, Region: region, Name: v.Restore.Point, Op: "drill the restore of " + cmp.Or(out.SourceVolumeName, out.SourceVolume, name), Cause: v.Cause, Hint: v.Hint})
			}
		}
		d.Volumes = append(d.Volumes, v)
	}
	return nil
}

// lacking gives the volumes that a policy protects, by its own words or by the ledger's, and that
// a region has no point of. A drill that passed them over would prove too little.
func (s *Shipper) lacking(p policies.Policy, held map[string][]store.Point) (out []store.PointVolume, err error) {
	all, err := s.o.Ledger.Points("")
	if err != nil {
		return nil, fmt.Errorf("read points: %w", err)
	}
	ids, names := map[string]bool{}, map[string]bool{}
	for id, list := range held {
		ids[id] = true
		for _, x := range list {
			names[x.Volume.Name] = true
		}
	}
	for _, x := range slices.Backward(all) { // the name that it had last
		if x.Policy != p.Name || x.Region != p.From || x.Gone != 0 {
			continue
		}
		if names[x.Volume.Name] = true; !ids[x.Volume.ID] {
			ids[x.Volume.ID] = true
			out = append(out, x.Volume)
		}
	}
	for _, id := range p.Volumes.IDs {
		if !ids[id] {
			out = append(out, store.PointVolume{ID: id})
		}
	}
	for _, name := range p.Volumes.Names {
		if !names[name] {
			out = append(out, store.PointVolume{Name: name})
		}
	}
	return out, nil
}

// hintOf says what to do about an error of this package or of a region.
func hintOf(err error) string {
	var h interface{ hint() string }
	if errors.As(err, &h) {
		return h.hint()
	}
	return transport.HintOf(err)
}
