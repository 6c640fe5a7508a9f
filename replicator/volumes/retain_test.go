package volumes

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"farshore/integration/fakecloud"
	"farshore/policies"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
	"farshore/transport/backup"
)

// retain makes a retention that must run without an error finding.
func (g *rig) retain() report.Result {
	g.t.Helper()
	res, err := g.shipper().Retain(context.Background(), g.policy, RetainOptions{})
	if err != nil {
		g.t.Fatalf("retain: %v", err)
	}
	if res.Errors > 0 || res.Retention.Failed > 0 {
		g.t.Fatalf("retain: %+v, findings %s", res.Retention, findingsOf(res))
	}
	return res
}

// chain ships a full backup and n increments of a volume, an hour apart, in which ranges
// are rewritten and zeroed, and gives the volume's bytes at each point.
func (g *rig) chain(n int, prepare ...func(*fakecloud.BlockVolume)) (want [][]byte) {
	g.t.Helper()
	v := g.volume("db", 1)
	for _, do := range prepare {
		do(v)
	}
	for i := range n + 1 {
		if i > 0 {
			g.scribble(v, uint64(10+i), int64(i)*40_000, 20_000)
			_, _ = v.WriteAt(make([]byte, 9000), int64(i)*60_000)
			g.clock.advance(time.Hour)
		}
		want = append(want, content(v))
		g.ship()
	}
	return want
}

// copies gives the policy's copies in a region, by point in order of time.
func (g *rig) copies(region string) (out []store.PointCopy) {
	g.t.Helper()
	for _, p := range g.points() {
		c, _ := p.Copy(region)
		out = append(out, c)
	}
	return out
}

// objects lists what a region has under a backup's prefix or in a container.
func (g *rig) objects(region, container, prefix string) (names []string) {
	g.t.Helper()
	err := g.regions[region].Objects.List(context.Background(), container, transport.Range{Prefix: prefix}, func(page []transport.Entry) error {
		for _, e := range page {
			names = append(names, e.Name)
		}
		return nil
	})
	if err != nil && !transport.Is(err, transport.NotFound) {
		g.t.Fatal(err)
	}
	return names
}

// consistent asserts that a region has exactly the backups that the ledger says, each
// with its parent, its objects and its two small files, and no objects of others.
func (g *rig) consistent(region string) {
	g.t.Helper()
	var known, containers, prefixes, files []string
	parents := map[string]string{}
	for _, p := range g.points() {
		c, ok := p.Copy(region)
		if region == p.Region {
			c, ok = store.PointCopy{State: store.CopyLanded, Backup: p.ID, Parent: p.Parent, Container: p.Container, Prefix: p.Prefix, Objects: p.Objects}, p.Gone == 0
		}
		if !ok || c.State == store.CopyExpired {
			continue
		}
		known, parents[c.Backup] = append(known, c.Backup), c.Parent
		containers, prefixes = append(containers, c.Container), append(prefixes, c.Prefix)
		if region != p.Region {
			files = append(files, descriptorName(p.Volume.ID, c.Backup), blocksName(p.Volume.ID, c.Backup))
		}
		n := 0
		for _, name := range g.objects(region, c.Container, c.Prefix) {
			if _, part, _ := backup.SplitName(name); part > 0 {
				n++
			}
		}
		if n != c.Objects {
			g.t.Errorf("backup %s in %s has %d data objects, not %d", c.Backup, region, n, c.Objects)
		}
	}
	for b, parent := range parents {
		if _, ok := parents[parent]; parent != "" && !ok {
			g.t.Errorf("backup %s in %s is an increment upon %s, which is gone", b, region, parent)
		}
	}
	list, err := g.regions[region].Blocks.Backups(context.Background())
	if err != nil {
		g.t.Fatal(err)
	}
	var there []string
	for _, b := range list {
		there = append(there, b.ID)
	}
	slices.Sort(known)
	slices.Sort(there)
	if !slices.Equal(known, there) {
		g.t.Errorf("%s has backups %v, the ledger %v", region, there, known)
	}
	slices.Sort(containers)
	for _, c := range slices.Compact(containers) {
		for _, name := range g.objects(region, c, "") {
			if !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
				g.t.Errorf("%s has %s, of no point", region, name)
			}
		}
	}
	slices.Sort(files)
	if got := g.objects(region, PointsContainer, ""); !slices.Equal(got, files) {
		g.t.Errorf("%s has files %v, want %v", region, got, files)
	}
}

// A chain of eight increments becomes a synthetic full, which restores to exactly the
// newest bytes before and after the old chain is deleted; no byte crosses regions, and
// the next increment goes upon it.
func TestASyntheticFullOfEightIncrements(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	want := g.chain(8)
	g.policy.Keep = &policies.Keep{Last: 20}
	g.policy.MaxChain.Destination = 8
	newest := g.points()[8]
	g.cloud.Region("a").ResetCounters()
	before := g.objects("b", newest.Container, "")

	res := g.retain()
	if r := res.Retention; r.Synthesized != 1 || r.Deleted != 0 || r.Copied == 0 {
		t.Errorf("%+v", r)
	}
	if n := g.cloud.Region("a").Counters().Total(); n.Requests != 0 {
		t.Errorf("the source was asked: %+v", g.cloud.Region("a").Counters())
	}
	c, _ := g.points()[8].Copy("b")
	if !c.Synthetic || c.Parent != "" || c.Backup == newest.ID || c.State != store.CopyLanded {
		t.Fatalf("the newest copy is %+v", c)
	}
	if names := g.objects("b", c.Container, newest.Prefix); len(names) > 0 {
		t.Errorf("the old backup's objects are still there: %v", names)
	}
	// 16 windows of 64 KiB, the first half of them random, all of the second half and what
	// was rewritten since.
	if len(g.objects("b", c.Container, c.Prefix)) >= len(before) {
		t.Errorf("%d objects of %d in the chain: none was left out", c.Objects, len(before))
	}
	g.consistent("b")
	for i, c := range g.copies("b") {
		if got := g.restored("b", c.Backup); !bytes.Equal(got, want[i]) {
			t.Errorf("point %d restores to other bytes", i)
		}
	}

	g.policy.Keep = &policies.Keep{Last: 1}
	if r := g.retain().Retention; r.Deleted != 8 || r.Synthesized != 0 || r.Freed == 0 {
		t.Errorf("%+v", r)
	}
	g.consistent("b")
	if got := g.restored("b", c.Backup); !bytes.Equal(got, want[8]) {
		t.Error("without the old chain it restores to other bytes")
	}

	v := g.cloud.Region("a").Volume(newest.Volume.ID)
	g.scribble(v, 99, 300_000, 10_000)
	g.clock.advance(time.Hour)
	g.ship()
	g.consistent("b")
	next, _ := g.points()[9].Copy("b")
	if next.Parent != c.Backup || g.points()[9].Parent != newest.ID {
		t.Errorf("the next increment is upon %s there and %s at the source", next.Parent, g.points()[9].Parent)
	}
	if got := g.restored("b", next.Backup); !bytes.Equal(got, content(v)) {
		t.Error("the next increment restores to other bytes")
	}
	g.clean()
}

// What is not as it was confirmed does not become part of a synthetic full: the old
// chain stays, nothing is left of the try, and a repair lets the next one succeed.
func TestNoSyntheticFullOfDamage(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	want := g.chain(2)
	g.policy.MaxChain.Destination = 2
	g.policy.Keep = &policies.Keep{Last: 5}
	c := g.copies("b")[0]
	g.flip("b", c.Container, backup.Part(9).Name(c.Prefix)) // of the full one's second half, which no increment covers
	res, err := g.shipper().Retain(context.Background(), g.policy, RetainOptions{})
	if err != nil || res.Retention.Failed != 1 || res.Counts[report.KindNotMerged] != 1 {
		t.Fatalf("%v %+v%s", err, res.Retention, findingsOf(res))
	}
	g.consistent("b")
	g.clean()
	if res := g.audit(AuditOptions{Repair: true}); res.Errors > 0 || res.PointAudit.Repaired != 1 {
		t.Fatalf("%s", findingsOf(res))
	}
	if r := g.retain().Retention; r.Synthesized != 1 {
		t.Errorf("%+v", r)
	}
	for i, c := range g.copies("b") {
		if !bytes.Equal(g.restored("b", c.Backup), want[i]) {
			t.Errorf("point %d restores to other bytes", i)
		}
	}
}

// Somebody else's policy of the same name, with a ledger of its own, works in the same
// project: its backups are neither adopted nor let go of.
func TestAnothersPolicyOfTheSameName(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	g.chain(2)
	theirs := g.points()
	g.forget()
	g.policy.Volumes = &policies.Volumes{Names: []string{"mine"}}
	g.policy.MaxChain.Destination = 1
	g.policy.Keep, g.policy.KeepSource = &policies.Keep{Last: 1}, &policies.Keep{Last: 1}
	g.volume("mine", 9)
	g.ship()
	g.retain()
	if n := len(g.points()); n != 1 {
		t.Errorf("%d points are in the ledger, one of them mine", n)
	}
	for _, p := range theirs {
		for _, region := range []string{"a", "b"} {
			if b, err := g.regions[region].Blocks.Backup(context.Background(), p.ID); err != nil || b.Status != "available" {
				t.Errorf("their backup %s in %s: %v %s", p.ID, region, err, b.Status)
			}
		}
	}
}
