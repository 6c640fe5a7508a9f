package volumes

import (
	"time"

	"farshore/replicator/report"
	"farshore/store"
)

// Standing says of points where they stand and what a restore of each needs. The points
// must be all of their volumes: a chain is looked for among them. With ledger false they are
// what one destination tells of, which knows nothing of the source now.
func Standing(points []store.Point, ledger bool) []report.PointStanding {
	held := map[string]map[string]store.PointCopy{} // by region and backup
	add := func(c store.PointCopy) {
		if held[c.Region] == nil {
			held[c.Region] = map[string]store.PointCopy{}
		}
		held[c.Region][c.Backup] = c
	}
	for _, p := range points {
		if c, there := at(p, p.Region); there && ledger && !p.Unseen {
			add(c)
		}
		for _, c := range p.Copies {
			if c.State == store.CopyLanded {
				add(c)
			}
		}
	}
	out := make([]report.PointStanding, 0, len(points))
	for _, p := range points {
		x := report.PointStanding{Point: p.ID, Policy: p.Policy, Region: p.Region, Volume: p.Volume.ID, VolumeName: p.Volume.Name, Size: p.Volume.Size, Type: p.Volume.Type,
			Taken: when(p.Taken), Kind: "full", Parent: p.Parent, Why: p.Why, Source: "has", Objects: p.Objects, Bytes: p.Bytes, Blocks: p.BlocksDigest.String(), Copies: []report.CopyStanding{}}
		switch {
		case p.Made == 0:
			x.Kind = "making"
		case p.Parent != "":
			x.Kind = "increment"
		}
		switch {
		case ledger && p.Gone != 0:
			x.Source = "gone"
		case !ledger, p.Unseen:
			x.Source = "unknown"
		default:
			x.Chain = chainLength(held[p.Region], p.ID)
		}
		for _, c := range p.Copies {
			x.Copies = append(x.Copies, copyStanding(c, held[c.Region]))
		}
		out = append(out, x)
	}
	return out
}

func copyStanding(c store.PointCopy, held map[string]store.PointCopy) report.CopyStanding {
	y := report.CopyStanding{Region: c.Region, State: string(c.State), Backup: c.Backup, Kind: "full", Parent: c.Parent, Objects: c.Objects, Bytes: c.Bytes,
		Landed: when(c.Landed), Note: c.Note}
	switch {
	case c.Synthetic:
		y.Kind = "synthetic"
	case c.Parent != "":
		y.Kind = "increment"
	}
	if c.State == store.CopyLanded {
		y.Chain = chainLength(held, c.Backup)
	}
	if c.Proof.At != 0 {
		y.Proof = proofStanding(c.Proof)
	}
	return y
}

func proofStanding(p store.Proof) *report.ProofStanding {
	return &report.ProofStanding{At: when(p.At), Against: p.Kind, OK: p.OK, Detail: p.Detail}
}

// chainLength counts a backup and what it is an increment upon; 0 if a part of it is
// missing, or it leads back to itself.
func chainLength(held map[string]store.PointCopy, backup string) int {
	for n := 1; n <= len(held); n++ {
		c, there := held[backup]
		switch {
		case !there:
			return 0
		case c.Parent == "":
			return n
		}
		backup = c.Parent
	}
	return 0
}

func when(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}
