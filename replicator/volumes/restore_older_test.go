package volumes

import (
	"bytes"
	"strings"
	"testing"

	"farshore/replicator/report"
	"farshore/transport"
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
