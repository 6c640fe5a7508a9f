package volumes

import (
	"bytes"
	"strings"
	"testing"

	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
	"farshore/transport/backup"
)

// The ledger's word that a point landed is compared with the records that are there: the
// newest point of which the record is there is taken, by a restore and a drill, which fails.
func TestTheNewestPointsRecordIsGone(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	points, want := g.chained(3)
	b := g.regions["b"].Blocks
	last := points[2].ID
	if err := b.DeleteBackup(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	g.until(func() bool { _, err := b.Backup(t.Context(), last); return transport.Is(err, transport.NotFound) })
	tells := func(list []report.Finding) {
		t.Helper()
		if len(list) != 1 || list[0].Kind != report.KindOlderPoint || list[0].Name != last || !strings.Contains(list[0].Cause, "no longer has its record") || !strings.Contains(list[0].Hint, "audit dbs --repair") {
			t.Errorf("findings %+v", list)
		}
	}
	out, findings, err := g.shipper().Restore(t.Context(), RestoreRequest{Point: "db", To: "b"})
	if err != nil || out.Point != points[1].ID || !bytes.Equal(content(g.cloud.Region("b").Volume(out.Volume)), want[1]) {
		t.Errorf("restored %+v: %v", out, err)
	}
	tells(findings)
	d := g.drill(DrillRequest{})
	if d.OK || len(d.Volumes) != 1 || !d.Volumes[0].OK || d.Volumes[0].Restore.Point != points[1].ID {
		t.Errorf("drill %+v", d)
	}
	drillTells(t, d, last, "no longer has its record")
	if _, _, err := g.shipper().Restore(t.Context(), RestoreRequest{Point: last, To: "b"}); err == nil || !strings.Contains(err.Error(), "no longer has its record") {
		t.Errorf("by its id: %v", err)
	}
}

// drillTells asserts that a drill failed by the newest point, which is lost, and by nothing else.
func drillTells(t *testing.T, d report.Drill, point, why string) {
	t.Helper()
	if len(d.Findings) != 1 || d.OK || d.Errors != 1 {
		t.Fatalf("drill OK %v: findings %+v", d.OK, d.Findings)
	}
	if f := d.Findings[0]; f.Kind != report.KindPointLost || f.Level != report.Error || f.Name != point || !strings.Contains(f.Cause, why) || !strings.Contains(f.Hint, "audit dbs --repair") {
		t.Errorf("%+v", f)
	}
}

// A drill fails where the newest point that had landed is known to be lost, also while a newer one is
// still on its way; that alone is a warning.
func TestADrillFailsWhereTheNewestPointIsLost(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	points, _ := g.chained(3)
	c, _ := points[2].Copy("b")
	g.cloud.Region("b").Delete(c.Container, backup.MetadataPart.Name(c.Prefix))
	if res := g.audit(AuditOptions{}); res.PointAudit.Broken != 1 {
		t.Fatalf("%+v", res.PointAudit)
	}
	drillTells(t, g.drill(DrillRequest{}), points[2].ID, "its copy there is lost")

	waiting := points[2]
	waiting.Made, waiting.ID, waiting.Taken, waiting.Copies = 0, "11111111-2222-4333-8444-555555555555", waiting.Taken+1, []store.PointCopy{{Region: "b", State: store.CopyShipping}}
	put := func(x store.Point) {
		t.Helper()
		if err := g.ledger.UpdatePoint(t.Context(), x.ID, func(p *store.Point, _ bool) bool { *p = x; return true }); err != nil {
			t.Fatal(err)
		}
	}
	put(waiting)
	d := g.drill(DrillRequest{})
	if len(d.Findings) != 2 || d.OK || d.Errors != 1 {
		t.Errorf("drill OK %v: %+v", d.OK, d.Findings)
	}
	if res := g.audit(AuditOptions{Repair: true}); res.Errors > 0 {
		t.Fatalf("%s", findingsOf(res))
	}
	if d = g.drill(DrillRequest{}); !d.OK || len(d.Findings) != 1 || d.Findings[0].Kind != report.KindOlderPoint || d.Volumes[0].Restore.Point != points[2].ID {
		t.Errorf("drill OK %v: %+v", d.OK, d.Findings)
	}
}

// Of a volume that is named, the newest point is taken of which all objects are there: where
// the source is lost nothing else is left. A point that is named is not exchanged for another,
// and a drill fails by what is damaged.
func TestTheNewestPointsObjectsAreGone(t *testing.T) {
	for _, x := range []struct {
		name    string
		part    backup.Part // what is gone
		of, got int         // of the point; the point that is taken, -1: none
		why     string
	}{
		{"_metadata of the newest", backup.MetadataPart, 3, 2, "404"},
		{"data of the newest", 1, 3, 2, "data objects are listed"},
		{"data of its parent", 1, 2, 1, "an increment upon"},
		{"data of all", 1, 0, -1, "data objects are listed"},
	} {
		t.Run(x.name, func(t *testing.T) {
			g := newRig(t, rigOptions{}, "b")
			points, want := g.chained(4)
			c, _ := points[x.of].Copy("b")
			if !g.cloud.Region("b").Delete(c.Container, x.part.Name(c.Prefix)) {
				t.Fatal("nothing was there")
			}
			out, findings, err := g.shipper().Restore(t.Context(), RestoreRequest{Point: "db", To: "b"})
			if x.got < 0 {
				if err == nil || !strings.Contains(err.Error(), x.why) || len(findings) != 0 {
					t.Errorf("restored %+v: %v", out, err)
				}
				return
			}
			if err != nil || out.Point != points[x.got].ID || !bytes.Equal(content(g.cloud.Region("b").Volume(out.Volume)), want[x.got]) {
				t.Errorf("restored %+v: %v", out, err)
			}
			if len(findings) != 1 || findings[0].Kind != report.KindOlderPoint || findings[0].Name != points[3].ID || !strings.Contains(findings[0].Cause, x.why) || !strings.Contains(findings[0].Hint, "audit dbs --repair sends it again") {
				t.Errorf("findings %+v", findings)
			}
			if _, _, err := g.shipper().Restore(t.Context(), RestoreRequest{Point: points[3].ID, To: "b"}); err == nil {
				t.Error("restored by its id")
			}
			if d := g.drill(DrillRequest{}); d.OK || d.Volumes[0].Restore.Point != points[3].ID {
				t.Errorf("drill %+v", d)
			}
			g.bare("b", 1, len(points))
		})
	}
}
