package volumes

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport/backup"
)

func (g *rig) audit(o AuditOptions) report.Result {
	g.t.Helper()
	res, err := g.shipper().AuditPoints(context.Background(), g.policy, o)
	if err != nil {
		g.t.Fatalf("audit: %v", err)
	}
	return res
}

// found gives the findings of errors and repairs as "kind region name".
func found(res report.Result) (out []string) {
	for _, f := range res.Findings {
		if f.Level == report.Error || f.Kind == report.KindRepaired {
			out = append(out, fmt.Sprintf("%s %s %s", f.Kind, f.Region, f.Name))
		}
	}
	slices.Sort(out)
	return out
}

// flip puts an object again with one byte changed: its ETag is the new content's, so that
// a listing tells.
func (g *rig) flip(region, container, name string) {
	g.t.Helper()
	o, ok := g.cloud.Region(region).Get(container, name)
	if !ok {
		g.t.Fatalf("%s has no %s/%s", region, container, name)
	}
	data := o.Bytes()
	data[len(data)/2] ^= 1
	g.cloud.Region(region).Put(container, name, data, nil)
}

// rot changes one byte of an object at rest, as a failing disk would: its ETag, and all that
// a listing and a HEAD tell, stay as they were.
func (g *rig) rot(region, container, name string) {
	g.t.Helper()
	before, _ := g.cloud.Region(region).Get(container, name)
	if !g.cloud.Region(region).Corrupt(container, name) {
		g.t.Fatalf("%s has no %s/%s", region, container, name)
	}
	if after, _ := g.cloud.Region(region).Get(container, name); after.ETag != before.ETag || bytes.Equal(after.Bytes(), before.Bytes()) {
		g.t.Fatalf("%s: ETag %s became %s", name, before.ETag, after.ETag)
	}
}

func TestAuditOfPointsSeesNothingWrong(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	g.chain(2)
	g.cloud.Region("a").ResetCounters()
	res := g.audit(AuditOptions{Read: 1, Seed: 1})
	a := res.PointAudit
	if res.Errors > 0 || a.Points != 3 || a.Copies != 3 || a.Whole != 3 || a.ByRegion["b"] != 3 || a.Objects == 0 || a.ReadCount != a.Objects || a.ReadBytes == 0 {
		t.Errorf("%+v, findings %s", a, findingsOf(res))
	}
	if n := g.cloud.Region("a").Counters().Total(); n.Requests > 2 { // its list of backups
		t.Errorf("the source had %d requests", n.Requests)
	}
	if !res.Replicas.Satisfied || res.Replicas.Objects != 3 || res.Replicas.ByCount[1] != 3 {
		t.Errorf("%+v", res.Replicas)
	}
	if a := g.audit(AuditOptions{Seed: 1}).PointAudit; a.ReadCount != 0 || a.Whole != 3 {
		t.Errorf("without --read: %+v", a)
	}
}

// Everything that can be wrong with a copy is found, mended by a repair, and seen to be
// right again; the points upon a lost one are not counted.
func TestAuditFindsAndMends(t *testing.T) {
	for name, x := range map[string]struct {
		harm   func(g *rig, c store.PointCopy, p store.Point)
		read   float64
		kind   string
		object func(c store.PointCopy, p store.Point) string
		beyond bool // it cannot be mended
		hidden bool // only reading finds it
	}{
		"a data object is missing": {kind: report.KindMissing,
			harm: func(g *rig, c store.PointCopy, _ store.Point) {
				g.cloud.Region("b").Delete(c.Container, backup.Part(2).Name(c.Prefix))
			},
			object: func(c store.PointCopy, _ store.Point) string { return backup.Part(2).Name(c.Prefix) }},
		"a data object is another": {kind: report.KindDamaged,
			harm: func(g *rig, c store.PointCopy, _ store.Point) {
				g.flip("b", c.Container, backup.Part(2).Name(c.Prefix))
			},
			object: func(c store.PointCopy, _ store.Point) string { return backup.Part(2).Name(c.Prefix) }},
		"the list is missing": {kind: report.KindMissing,
			harm: func(g *rig, c store.PointCopy, _ store.Point) {
				g.cloud.Region("b").Delete(c.Container, backup.MetadataPart.Name(c.Prefix))
			},
			object: func(c store.PointCopy, _ store.Point) string { return backup.MetadataPart.Name(c.Prefix) }},
		"the list is another": {kind: report.KindDamaged,
			harm: func(g *rig, c store.PointCopy, _ store.Point) {
				g.flip("b", c.Container, backup.MetadataPart.Name(c.Prefix))
			},
			object: func(c store.PointCopy, _ store.Point) string { return backup.MetadataPart.Name(c.Prefix) }},
		"something is there besides": {kind: report.KindForeign, beyond: true,
			harm: func(g *rig, c store.PointCopy, _ store.Point) {
				g.cloud.Region("b").Put(c.Container, c.Prefix+"-99999", []byte("x"), nil)
			},
			object: func(c store.PointCopy, _ store.Point) string { return c.Prefix + "-99999" }},
		"the descriptor is missing": {kind: report.KindMissing,
			harm: func(g *rig, c store.PointCopy, p store.Point) {
				g.cloud.Region("b").Delete(PointsContainer, descriptorName(p.Volume.ID, c.Backup))
			},
			object: func(c store.PointCopy, p store.Point) string { return descriptorName(p.Volume.ID, c.Backup) }},
		"the descriptor is no text of ours": {kind: report.KindDamaged,
			harm: func(g *rig, c store.PointCopy, p store.Point) {
				g.cloud.Region("b").Put(PointsContainer, descriptorName(p.Volume.ID, c.Backup), []byte("{"), nil)
			},
			object: func(c store.PointCopy, p store.Point) string { return descriptorName(p.Volume.ID, c.Backup) }},
		"the block list is missing": {kind: report.KindMissing,
			harm: func(g *rig, c store.PointCopy, p store.Point) {
				g.cloud.Region("b").Delete(PointsContainer, blocksName(p.Volume.ID, c.Backup))
			},
			object: func(c store.PointCopy, p store.Point) string { return blocksName(p.Volume.ID, c.Backup) }},
		"a data object rots": {kind: report.KindDamaged, read: 1, hidden: true,
			harm: func(g *rig, c store.PointCopy, _ store.Point) {
				g.rot("b", c.Container, backup.Part(2).Name(c.Prefix))
			},
			object: func(c store.PointCopy, _ store.Point) string { return backup.Part(2).Name(c.Prefix) }},
		"the list rots": {kind: report.KindDamaged, // it is always read
			harm: func(g *rig, c store.PointCopy, _ store.Point) {
				g.rot("b", c.Container, backup.MetadataPart.Name(c.Prefix))
			},
			object: func(c store.PointCopy, _ store.Point) string { return backup.MetadataPart.Name(c.Prefix) }},
		"the block list rots": {kind: report.KindDamaged, read: 1, hidden: true,
			harm: func(g *rig, c store.PointCopy, p store.Point) {
				g.rot("b", PointsContainer, blocksName(p.Volume.ID, c.Backup))
			},
			object: func(c store.PointCopy, p store.Point) string { return blocksName(p.Volume.ID, c.Backup) }},
		"the block list is damaged": {kind: report.KindDamaged, read: 1,
			harm: func(g *rig, c store.PointCopy, p store.Point) {
				g.flip("b", PointsContainer, blocksName(p.Volume.ID, c.Backup))
			},
			object: func(c store.PointCopy, p store.Point) string { return blocksName(p.Volume.ID, c.Backup) }},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, rigOptions{}, "b")
			want := g.chain(1)
			p := g.points()[0]
			c, _ := p.Copy("b")
			x.harm(g, c, p)
			bad := fmt.Sprintf("%s b %s", x.kind, x.object(c, p))

			if x.hidden {
				if res := g.audit(AuditOptions{Seed: 1}); res.Errors > 0 || res.PointAudit.Whole != 2 {
					t.Fatalf("without reading: %+v%s", res.PointAudit, findingsOf(res))
				}
			}
			res := g.audit(AuditOptions{Read: x.read, Seed: 1})
			if got := found(res); !slices.Contains(got, bad) || res.PointAudit.Whole != 0 || res.PointAudit.Broken != 2 {
				t.Fatalf("found %v, want %s; %+v", got, bad, res.PointAudit)
			}
			if c := g.copies("b")[0]; c.State != store.CopyLost || c.Note == "" {
				t.Errorf("the copy is %s: %s", c.State, c.Note)
			}
			if res.Replicas.Satisfied || res.Counts[report.KindTooFew] != 1 {
				t.Errorf("a lost copy is counted: %+v", res.Replicas)
			}

			res = g.audit(AuditOptions{Read: x.read, Seed: 1, Repair: true})
			if x.beyond {
				if got := found(res); !slices.Contains(got, bad) || g.copies("b")[0].State != store.CopyLost {
					t.Errorf("found %v", got)
				}
				return
			}
			mended := fmt.Sprintf("%s b %s", report.KindRepaired, x.object(c, p))
			if got := found(res); !slices.Contains(got, mended) || res.Errors > 0 || res.PointAudit.Whole != 2 {
				t.Errorf("after the repair: %v, %+v%s", got, res.PointAudit, findingsOf(res))
			}
			if res = g.audit(AuditOptions{Read: 1, Seed: 2}); res.Errors > 0 || !res.Replicas.Satisfied {
				t.Errorf("the next audit: %s", findingsOf(res))
			}
			g.consistent("b")
			for i, c := range g.copies("b") {
				if c.State != store.CopyLanded || !bytes.Equal(g.restored("b", c.Backup), want[i]) {
					t.Errorf("point %d is %s, or restores to other bytes", i, c.State)
				}
			}
		})
	}
}

// What rots at one destination is mended from another when the source is gone, though
// its ETag is still the right one; what the sample leaves out is not read.
func TestAuditMendsRotWithoutTheSource(t *testing.T) {
	g := newRig(t, rigOptions{}, "b", "d")
	want := g.chain(1)
	c := g.copies("b")[1]
	name := backup.Part(1).Name(c.Prefix)
	g.rot("b", c.Container, name)
	if err := g.cloud.Region("a").Stop(); err != nil {
		t.Fatal(err)
	}
	if res := g.audit(AuditOptions{Read: 1, Seed: 1}); !slices.Contains(found(res), report.KindDamaged+" b "+name) {
		t.Fatalf("found %v", found(res))
	}
	res := g.audit(AuditOptions{Repair: true})
	if a := res.PointAudit; !slices.Contains(found(res), report.KindRepaired+" b "+name) || a.Whole != 4 || res.Totals.Copied != 1 || res.Totals.ByRegion["b"] == 0 {
		t.Fatalf("after the repair: %+v %+v%s", a, res.Totals, findingsOf(res))
	}
	got, _ := g.cloud.Region("b").Get(c.Container, name)
	if right, _ := g.cloud.Region("d").Get(c.Container, name); !bytes.Equal(got.Bytes(), right.Bytes()) {
		t.Error("it is not as in d")
	}
	for i, c := range g.copies("b") {
		if !bytes.Equal(g.restored("b", c.Backup), want[i]) {
			t.Errorf("point %d restores to other bytes", i)
		}
	}
}

// A record that the region's Cinder lost, together with the objects, is imported again
// when the objects are back.
func TestAuditImportsLostRecords(t *testing.T) {
	g := newRig(t, rigOptions{}, "b", "d")
	want := g.chain(1)
	ctx, b := context.Background(), g.regions["b"].Blocks
	for _, c := range slices.Backward(g.copies("b")) { // with their objects, by somebody else
		if err := b.DeleteBackup(ctx, c.Backup); err != nil {
			t.Fatal(err)
		}
		g.until(func() bool { _, err := b.Backup(ctx, c.Backup); return err != nil })
	}
	res := g.audit(AuditOptions{})
	if a := res.PointAudit; a.LostRecords != 2 || a.Missing == 0 || a.Whole != 2 || a.Broken != 2 || a.ByRegion["d"] != 2 {
		t.Errorf("%+v%s", a, findingsOf(res))
	}
	// The source is gone for good; another destination has the very objects.
	if err := g.cloud.Region("a").Stop(); err != nil {
		t.Fatal(err)
	}
	res = g.audit(AuditOptions{Repair: true})
	if a := res.PointAudit; a.Whole != 4 || a.Repaired == 0 || res.Totals.Copied == 0 || res.Totals.ByRegion["b"] == 0 {
		t.Errorf("after the repair: %+v %+v%s", a, res.Totals, findingsOf(res))
	}
	g.consistent("b")
	for i, c := range g.copies("b") {
		if !bytes.Equal(g.restored("b", c.Backup), want[i]) {
			t.Errorf("point %d restores to other bytes", i)
		}
	}
}

// The rest of what an audit says.
func TestAuditSays(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	g.chain(1)
	c := g.copies("b")[1]
	g.cloud.Region("b").SetBlockStatus(c.Backup, "error")
	ctx := context.Background()
	for _, p := range slices.Backward(g.points()) {
		if err := g.regions["a"].Blocks.DeleteBackup(ctx, p.ID); err != nil {
			t.Fatal(err)
		}
		g.until(func() bool { _, err := g.regions["a"].Blocks.Backup(ctx, p.ID); return err != nil })
	}
	res := g.audit(AuditOptions{Repair: true})
	if res.Counts[report.KindPointGone] != 2 || g.points()[0].Gone == 0 {
		t.Errorf("the source's loss: %v", res.Counts)
	}
	i := slices.IndexFunc(res.Findings, func(f report.Finding) bool { return f.Kind == report.KindRecordLost })
	if i < 0 || !strings.Contains(res.Findings[i].Hint, "openstack volume backup set --state available "+c.Backup) {
		t.Fatalf("a record in error: %s", findingsOf(res))
	}
	g.cloud.Region("b").SetBlockStatus(c.Backup, "available") // as the hint says
	if res := g.audit(AuditOptions{}); res.Errors > 0 || res.PointAudit.Whole != 2 {
		t.Errorf("%s", findingsOf(res))
	}
}
