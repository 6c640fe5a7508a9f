package volumes

import (
	"cmp"
	"slices"
	"time"

	"farshore/policies"
	"farshore/store"
	"farshore/transport"
)

// selected gives the volumes that a policy is about, in order of id.
func selected(p policies.Policy, all []transport.Volume) []transport.Volume {
	var out []transport.Volume
	for _, v := range all {
		if p.Volumes.Matches(v.ID, v.Name, v.Metadata) {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b transport.Volume) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// dueSnapshots gives the snapshots of a volume that are to become points, the oldest
// first. Where the policy takes its own, only those count; where it watches, only those
// that no policy took. points are the policy's own ones of the volume: what is not
// newer than the newest of them has had its turn, and of a volume without points
// only the newest snapshot is taken.
func dueSnapshots(p policies.Policy, volume string, all []transport.Snapshot, points []store.Point) []transport.Snapshot {
	newest := int64(0)
	known := map[string]bool{}
	for _, pt := range points {
		known[pt.Snapshot] = true
		newest = max(newest, pt.Taken)
	}
	var out []transport.Snapshot
	for _, s := range all {
		by := s.Metadata[keyPolicy]
		mine := by == p.Name
		if s.Volume != volume || known[s.ID] || p.Snapshot != nil && !mine || p.Snapshot == nil && by != "" && !mine {
			continue
		}
		if s.Created.UnixMicro() >= newest { // Cinder's times are whole seconds
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b transport.Snapshot) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	if len(points) == 0 && p.Snapshot == nil && len(out) > 1 {
		out = out[len(out)-1:]
	}
	return out
}

// snapshotDue reports whether a policy should take a snapshot of a volume now.
func snapshotDue(p policies.Policy, volume string, all []transport.Snapshot, points []store.Point, now time.Time) bool {
	if p.Snapshot == nil {
		return false
	}
	var last time.Time
	for _, pt := range points {
		if t := time.UnixMicro(pt.Taken); t.After(last) {
			last = t
		}
	}
	for _, s := range all {
		if s.Volume == volume && s.Metadata[keyPolicy] == p.Name && s.Created.After(last) {
			last = s.Created
		}
	}
	return !now.Before(last.Add(p.Snapshot.Every))
}

// choice says how a snapshot is to be backed up.
type choice struct {
	parent *store.Point // of an increment
	why    string       // of a full backup
	chain  int          // backups that a restore of it needs, itself included
}

// choose decides between an increment and a full backup. Cinder chooses the parent of
// an increment itself: the newest available backup of the volume in the project that is
// older than the snapshot (C11). It serves only if it is a point of ours that each destination
// has, or is given before, with all that it is an increment upon.
func choose(p policies.Policy, snap transport.Snapshot, backups []transport.Backup, points []store.Point) choice {
	full := func(why string) choice { return choice{why: why, chain: 1} }
	var parent *transport.Backup
	for i, b := range backups {
		if b.Volume == snap.Volume && b.Status == "available" && b.DataTime.Before(snap.Created) && (parent == nil || b.DataTime.After(parent.DataTime)) {
			parent = &backups[i]
		}
	}
	if parent == nil {
		return full("the volume has no backup yet")
	}
	known := byID(points)
	pt := known[parent.ID]
	switch {
	case pt == nil || pt.Made == 0:
		return full("its newest backup, " + parent.ID + ", is no point of Farshore's")
	case parent.Size != snap.Size:
		return full("the volume grew")
	}
	for _, to := range p.To {
		if why := unrestorable(p, known, pt, to); why != "" {
			return full(why)
		}
	}
	chain, first := chainOf(known, pt)
	switch {
	case first == nil:
		return full("the chain of the newest point is not known to the end")
	case p.MaxChain.Source > 0 && chain+1 > p.MaxChain.Source:
		return full("the chain has reached max_chain")
	case p.FullEvery > 0 && !snap.Created.Before(time.UnixMicro(first.Taken).Add(p.FullEvery)):
		return full("the last full backup is older than full_every")
	}
	return choice{parent: pt, chain: chain + 1}
}

// unrestorable says why a destination could not restore what would be an increment upon a
// point; empty: it could, once all that this policy has yet to send is there. What only
// other policies made is not sent.
func unrestorable(p policies.Policy, known map[string]*store.Point, pt *store.Point, to string) string {
	there := map[string]*store.Point{} // by the backup's id in the region: that of a synthetic full is its own
	for _, x := range known {
		if c, ok := x.Copy(to); ok && c.Backup != "" {
			there[c.Backup] = x
		}
	}
	for n := 0; pt != nil && n <= len(known); n++ {
		c, ok := pt.Copy(to)
		next := known[pt.Parent]
		switch {
		case !ok && pt.Policy != p.Name:
			return "region " + to + " does not get backup " + pt.ID + ", which policy " + pt.Policy + " made"
		case n == 0 && (c.State == store.CopyLost || c.State == store.CopyExpired):
			return "region " + to + " does not hold the newest point any more"
		case c.State == store.CopyLost || c.State == store.CopyExpired:
			return "region " + to + " does not hold point " + pt.ID + " any more, which the newest is an increment upon"
		case c.State == store.CopyLanded:
			next = there[c.Parent] // none of a synthetic full
		}
		pt = next
	}
	return ""
}

func byID(points []store.Point) map[string]*store.Point {
	out := make(map[string]*store.Point, len(points))
	for i := range points {
		out[points[i].ID] = &points[i]
	}
	return out
}

// chainOf counts the backups that a restore of a point needs at its source, and finds
// the full one they begin with; nil: it is not known.
func chainOf(known map[string]*store.Point, pt *store.Point) (n int, full *store.Point) {
	for n = 1; pt.Parent != ""; n++ {
		next := known[pt.Parent]
		if next == nil || n > len(known) {
			return n, nil
		}
		pt = next
	}
	return n, pt
}
