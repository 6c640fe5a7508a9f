package volumes

import (
	"cmp"
	"slices"
	"time"

	"farshore/replicator/report"
	"farshore/store"
)

// Summary says of each policy how its points stand now, by name. points are all that the
// ledger has, the oldest first, and drills all reports, the oldest first.
func Summary(points []store.Point, drills []store.Drill, now time.Time) []report.PointSummary {
	type key struct{ policy, region string }
	of := map[key][]store.Point{}
	for _, x := range points {
		k := key{x.Policy, x.Region}
		of[k] = append(of[k], x)
	}
	held := map[string]map[string]store.PointCopy{}
	out := []report.PointSummary{}
	for k, mine := range of {
		s := report.PointSummary{Policy: k.policy, Region: k.region, Points: len(mine), Regions: []report.PointRegionSummary{}}
		vols := map[string]bool{}
		regions := map[string]*report.PointRegionSummary{}
		for _, x := range mine {
			if vols[x.Volume.ID] = true; x.Made != 0 {
				s.Newest = when(x.Taken)
				s.Age = now.Sub(s.Newest).Seconds()
			}
			for _, c := range x.Copies {
				if held[c.Region] == nil {
					held[c.Region] = landedAt(points, c.Region, false)
				}
				if regions[c.Region] == nil {
					regions[c.Region] = &report.PointRegionSummary{Region: c.Region}
				}
				tally(regions[c.Region], x, c, held[c.Region], now)
				if c.Proof.At != 0 && (s.Proof == nil || !when(c.Proof.At).Before(s.Proof.At)) {
					s.Proof = &report.ProofSummary{ProofStanding: *proofStanding(c.Proof), Point: x.ID, VolumeName: x.Volume.Name, Region: c.Region}
				}
			}
		}
		s.Volumes = len(vols)
		for _, name := range sortedKeys(regions) {
			s.Regions = append(s.Regions, *regions[name])
		}
		for _, d := range drills {
			if d.Policy == k.policy {
				s.Drill = &report.DrillSummary{ID: d.ID, Began: when(d.Began), OK: d.OK}
			}
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b report.PointSummary) int {
		return cmp.Or(cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Region, b.Region))
	})
	return out
}

// tally counts one copy.
func tally(r *report.PointRegionSummary, x store.Point, c store.PointCopy, held map[string]store.PointCopy, now time.Time) {
	switch {
	case c.State == store.CopyExpired:
	case c.State == store.CopyShipping:
		r.Shipping++
	case c.State == store.CopyShipped:
		r.NotImported++
	case c.State == store.CopyLanded && chainLength(held, c.Backup) > 0:
		r.Restorable++
		r.Newest = when(x.Taken)
		r.Age = now.Sub(r.Newest).Seconds()
	default:
		r.Lost++
	}
}
