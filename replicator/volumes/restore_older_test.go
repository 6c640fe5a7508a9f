package volumes

import (
	"bytes"
	"strings"
	"testing"

	"farshore/replicator/report"
	"farshore/transport"
	"farshore/transport/backup"
)

// The ledger's word that a point landed is compared with the records that are there: the
// newest point of which the record is there is taken, by a restore and a drill.
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
	if !d.OK || len(d.Volumes) != 1 || d.Volumes[0].Restore.Point != points[1].ID {
		t.Errorf("drill %+v", d)
	}
	tells(d.Findings)
	if _, _, err := g.shipper().Restore(t.Context(), RestoreRequest{Point: last, To: "b"}); err == nil || !strings.Contains(err.Error(), "no longer has its record") {
		t.Errorf("by its id: %v", err)
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
