package volumes

import (
	"context"
	"errors"
	"fmt"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// Land imports the record of a point whose objects stand in a region already, and those
// of the parents that it needs, parents first: by an operator, where the passes' own
// login may not (I12). The point is found as a restore finds it, in the ledger or else in
// what the region holds, and its objects are listed and compared with its own list
// before. name is a point's id or the beginning of one, or a volume, of which the newest
// point is meant. Result.Points says what stands where; findings say why something
// was not imported.
func (s *Shipper) Land(ctx context.Context, name, region string) (report.Result, error) {
	began := s.o.Clock.Now()
	reg, err := s.cinder(region)
	if err != nil {
		return report.Result{}, err
	}
	x, err := s.findPoint(ctx, name, region, nil)
	if err != nil {
		return report.Result{}, err
	}
	point, known := x.point, x.known
	if ofVolume(point, name) { // what was found is the newest that landed already
		list, _, err := s.pointsAt(ctx, region, func(q store.Point) bool { return q.Volume.ID == point.Volume.ID })
		if err != nil {
			return report.Result{}, err
		}
		for _, q := range list {
			if c, _ := at(q, region); c.State == store.CopyShipped || c.State == store.CopyLanded {
				point = q
			}
		}
	}
	links, err := s.chain(ctx, point, region)
	if err != nil {
		return report.Result{}, err
	}
	p := policies.NewPolicy(point.Policy, point.Region, region)
	r := s.newRun(p, ShipOptions{})
	r.project, r.there[region] = point.Project, links[0].at.Project
	if from, ok := s.o.Regions[point.Region]; ok {
		r.from = from
	}
	for _, l := range links {
		if err := r.landLink(ctx, reg, l, known); err != nil {
			return report.Result{}, err
		}
	}
	res := report.Result{Policy: point.Policy, Command: "land", Began: began.UTC(), Volumes: &r.volumes, Points: r.points,
		Findings: r.f.List(), Counts: r.f.Counts(), Errors: r.f.Errors(), Seconds: s.o.Clock.Now().Sub(began).Seconds()}
	return res, nil
}

// landLink imports one backup of a chain, unless that is done.
func (r *run) landLink(ctx context.Context, reg Region, l link, known string) error {
	t := &trip{run: r, pt: l.point, res: r.resultOf(l.point, true), regions: map[string]*report.PointRegion{}}
	show := func(c store.PointCopy) {
		res := t.res
		res.Regions = []report.PointRegion{{Region: c.Region, State: string(c.State), Note: c.Note}}
		if c.Landed != 0 {
			res.Regions[0].Imported = r.s.o.Clock.Now().UTC()
		}
		r.addPoint(res)
	}
	c := l.at
	gone := &transport.Error{Op: "land point " + l.point.ID, Region: c.Region, Container: c.Container, Name: c.Prefix, Class: transport.NotFound, Err: errors.New(objectsGone), Hint: "farshore audit --repair sends them again; or take another point"}
	_, err := reg.Blocks.Backup(ctx, c.Backup)
	switch {
	case err != nil && !transport.Is(err, transport.NotFound):
		return err
	case err == nil && c.State == store.CopyLanded:
		show(c)
		return nil
	case c.State == store.CopyLost && c.Note == objectsGone:
		return gone
	case c.State != store.CopyShipped && c.State != store.CopyLanded:
		return &transport.Error{Op: "land point " + l.point.ID, Region: c.Region, Class: transport.Permanent, Err: fmt.Errorf("its copy there is %s, not shipped", c.State),
			Hint: "farshore sync " + r.p.Name + " ships what is missing first"}
	}
	meta, err := r.s.readMetadata(ctx, reg.Objects, c)
	if transport.Is(err, transport.NotFound) {
		return gone
	}
	if err == nil {
		_, _, err = r.s.compareListing(ctx, reg.Objects, c, meta)
	}
	if err != nil {
		return err
	}
	if known != knownLedger { // the ledger learns of it: what it says of others counts for their restores
		pt := l.point
		pt.Copies = nil
		pt.SetCopy(c)
		if err := r.s.o.Ledger.UpdatePoint(ctx, pt.ID, func(x *store.Point, exists bool) bool {
			if !exists {
				*x = pt
			}
			return true
		}); err != nil {
			return err
		}
	}
	note, err := t.importRecord(ctx, c)
	if err != nil && (ctx.Err() != nil || !regional(err)) {
		return err
	}
	if err != nil {
		note = err.Error()
		r.f.Add(report.Finding{Kind: report.KindNotImported, Level: report.Error, Policy: r.p.Name, Region: c.Region, Name: l.point.ID, Op: "import backup", Cause: note, Hint: hintOf(err)})
	}
	now := r.s.o.Clock.Now().UnixMicro()
	err = t.saveCopy(ctx, c.Region, func(x *store.PointCopy) {
		if x.Note = note; note == "" {
			x.State, x.Landed = store.CopyLanded, now
		}
		c = *x
	})
	if err == nil && note == "" {
		r.volumes.Landed++
	}
	show(c)
	return err
}
