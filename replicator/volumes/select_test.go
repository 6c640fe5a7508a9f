package volumes

import (
	"strings"
	"testing"
	"time"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

var noon = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func hour(n int) time.Time { return noon.Add(time.Duration(n) * time.Hour) }

// chainUpTo gives points p0 (full), p1 upon p0, and so on, of one an hour.
func chainUpTo(n int) (points []store.Point, backups []transport.Backup) {
	for i := range n {
		id := "p" + string(rune('0'+i))
		pt := store.Point{ID: id, Policy: "p", Volume: store.PointVolume{ID: "v"}, Taken: hour(i).UnixMicro(), Made: 1,
			Copies: []store.PointCopy{{Region: "b", State: store.CopyLanded, Backup: id}}}
		if i > 0 {
			pt.Parent = points[i-1].ID
			pt.Copies[0].Parent = pt.Parent
		}
		points = append(points, pt)
		backups = append(backups, transport.Backup{ID: id, Volume: "v", Size: 1, Status: "available", DataTime: hour(i)})
	}
	return points, backups
}

func TestChoose(t *testing.T) {
	snap := transport.Snapshot{ID: "s", Volume: "v", Size: 1, Created: hour(3)}
	for name, c := range map[string]struct {
		change func(p *policies.Policy, points *[]store.Point, backups *[]transport.Backup, snap *transport.Snapshot)
		parent string // "": full
		why    string
		chain  int
	}{
		"as usual":  {nil, "p2", "", 4},
		"no backup": {func(_ *policies.Policy, _ *[]store.Point, b *[]transport.Backup, _ *transport.Snapshot) { *b = nil }, "", "no backup yet", 1},
		"a stranger's is newest": {func(_ *policies.Policy, _ *[]store.Point, b *[]transport.Backup, _ *transport.Snapshot) {
			*b = append(*b, transport.Backup{ID: "x", Volume: "v", Size: 1, Status: "available", DataTime: hour(2).Add(time.Minute)})
		}, "", "backup, x, is no point", 1},
		"a stranger's that is no parent": {func(_ *policies.Policy, _ *[]store.Point, b *[]transport.Backup, _ *transport.Snapshot) {
			*b = append(*b, transport.Backup{ID: "x", Volume: "v", Size: 1, Status: "error", DataTime: hour(2).Add(time.Minute)},
				transport.Backup{ID: "y", Volume: "v", Size: 1, Status: "available", DataTime: hour(3)},
				transport.Backup{ID: "z", Volume: "w", Size: 1, Status: "available", DataTime: hour(2).Add(time.Minute)})
		}, "p2", "", 4},
		"grown": {func(_ *policies.Policy, _ *[]store.Point, _ *[]transport.Backup, s *transport.Snapshot) { s.Size = 2 }, "", "grew", 1},
		"lost there": {func(_ *policies.Policy, p *[]store.Point, _ *[]transport.Backup, _ *transport.Snapshot) {
			(*p)[2].Copies[0].State = store.CopyLost
		}, "", "region b does not hold", 1},
		"what it needs is lost there": {func(_ *policies.Policy, p *[]store.Point, _ *[]transport.Backup, _ *transport.Snapshot) {
			(*p)[1].Copies[0].State = store.CopyLost
		}, "", "region b does not hold point p1 any more", 1},
		"of a synthetic full there": {func(_ *policies.Policy, p *[]store.Point, _ *[]transport.Backup, _ *transport.Snapshot) {
			(*p)[0].Copies[0].State = store.CopyExpired
			(*p)[1].Copies[0].Backup, (*p)[1].Copies[0].Parent = "s1", ""
			(*p)[2].Copies[0].Parent = "s1"
		}, "p2", "", 4},
		"of a synthetic full that is lost there": {func(_ *policies.Policy, p *[]store.Point, _ *[]transport.Backup, _ *transport.Snapshot) {
			(*p)[1].Copies[0].Backup, (*p)[1].Copies[0].Parent, (*p)[1].Copies[0].State = "s1", "", store.CopyLost
			(*p)[2].Copies[0].Parent = "s1"
		}, "", "region b does not hold point p1 any more", 1},
		"another policy's, which is there": {func(_ *policies.Policy, p *[]store.Point, _ *[]transport.Backup, _ *transport.Snapshot) {
			(*p)[2].Policy = "q"
		}, "p2", "", 4},
		"another policy's, which goes elsewhere": {func(_ *policies.Policy, p *[]store.Point, _ *[]transport.Backup, _ *transport.Snapshot) {
			(*p)[2].Policy, (*p)[2].Copies = "q", nil
		}, "", "region b does not get backup p2, which policy q made", 1},
		"upon another policy's, which goes elsewhere": {func(_ *policies.Policy, p *[]store.Point, _ *[]transport.Backup, _ *transport.Snapshot) {
			(*p)[0].Policy, (*p)[0].Copies = "q", nil
			(*p)[1].Copies[0].State, (*p)[2].Copies[0].State = store.CopyShipped, store.CopyShipped
		}, "", "region b does not get backup p0, which policy q made", 1},
		"our own that a new destination has not got": {func(_ *policies.Policy, p *[]store.Point, _ *[]transport.Backup, _ *transport.Snapshot) {
			(*p)[0].Copies, (*p)[1].Copies, (*p)[2].Copies = nil, nil, nil
		}, "p2", "", 4},
		"not there yet": {func(_ *policies.Policy, p *[]store.Point, _ *[]transport.Backup, _ *transport.Snapshot) {
			(*p)[2].Copies[0].State = store.CopyShipping
		}, "p2", "", 4},
		"long enough": {func(p *policies.Policy, _ *[]store.Point, _ *[]transport.Backup, _ *transport.Snapshot) {
			p.MaxChain.Source = 3
		}, "", "max_chain", 1},
		"just not": {func(p *policies.Policy, _ *[]store.Point, _ *[]transport.Backup, _ *transport.Snapshot) {
			p.MaxChain.Source = 4
		}, "p2", "", 4},
		"old enough": {func(p *policies.Policy, _ *[]store.Point, _ *[]transport.Backup, _ *transport.Snapshot) {
			p.FullEvery = 3 * time.Hour
		}, "", "full_every", 1},
		"still young": {func(p *policies.Policy, _ *[]store.Point, _ *[]transport.Backup, _ *transport.Snapshot) {
			p.FullEvery = 3*time.Hour + time.Second
		}, "p2", "", 4},
		"half known": {func(_ *policies.Policy, p *[]store.Point, _ *[]transport.Backup, _ *transport.Snapshot) {
			*p = (*p)[1:]
		}, "", "not known to the end", 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := policies.NewPolicy("p", "a", "b")
			points, backups := chainUpTo(3)
			s := snap
			if c.change != nil {
				c.change(&p, &points, &backups, &s)
			}
			got := choose(p, s, backups, points)
			parent := ""
			if got.parent != nil {
				parent = got.parent.ID
			}
			if parent != c.parent || !strings.Contains(got.why, c.why) || (got.why == "") != (c.why == "") || got.chain != c.chain {
				t.Errorf("parent %q, why %q, chain %d", parent, got.why, got.chain)
			}
		})
	}
}

// A policy that only watches says of how many volumes it has nothing to make a point of.
func TestNothingToMakeAPointOf(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	g.policy.Snapshot = nil
	v := g.volume("db", 1)
	g.volume("web", 2)
	wantFinding(t, g.ship(), report.KindNotShipped, "a", "2 volumes without a restore point", "takes no snapshots")
	snap, err := g.regions["a"].Blocks.CreateSnapshot(t.Context(), v.ID(), "theirs", nil)
	if err != nil {
		t.Fatal(err)
	}
	g.until(func() bool {
		x, err := g.regions["a"].Blocks.Snapshot(t.Context(), snap.ID)
		return err == nil && x.Status == "available"
	})
	wantFinding(t, g.ship(), report.KindNotShipped, "a", "1 volume without a restore point")
	g.policy.Volumes = &policies.Volumes{IDs: []string{v.ID()}}
	if res := g.ship(); len(res.Findings) > 0 {
		t.Errorf("of a volume that has a point: %s", findingsOf(res))
	}
}
