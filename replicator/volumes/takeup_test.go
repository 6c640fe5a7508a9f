package volumes

import (
	"strings"
	"testing"
	"time"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/store"
)

// kept is a rig whose destination holds three points, of which the source has only the last.
func kept(t *testing.T) *rig {
	t.Helper()
	g := newRig(t, rigOptions{}, "b")
	g.policy.Keep, g.policy.KeepSource = &policies.Keep{Last: 3}, &policies.Keep{Last: 1}
	g.policy.MaxChain = policies.MaxChain{Source: 1, Destination: 1}
	g.chain(2)
	g.pass()
	if n := g.count("a", "backup"); n != 1 || g.landed() != 3 {
		t.Fatalf("the source has %d backups, the destination %d points", n, g.landed())
	}
	return g
}

// landed counts the points that the ledger knows to be restorable at b.
func (g *rig) landed() (n int) {
	for _, x := range g.points() {
		if c, _ := x.Copy("b"); c.State == store.CopyLanded {
			n++
		}
	}
	return n
}

// A ledger that is lost and not rebuilt is no loss of points: the next pass takes up what only
// a destination holds, and so does an audit; retention counts it, and lets go of it in its turn.
func TestAPassTakesUpWhatALostLedgerKnew(t *testing.T) {
	g := kept(t)
	g.forget()
	if res := g.pass(); res.Errors > 0 || res.Totals.Bytes > 0 || g.landed() != 3 {
		t.Errorf("%d points: %+v%s", g.landed(), res.Totals, findingsOf(res))
	}
	gone := 0
	for _, x := range g.points() {
		if x.Unseen {
			t.Errorf("point %s: the source was not asked for it", x.ID)
		}
		if x.Gone != 0 {
			gone++
		}
	}
	if gone != 2 {
		t.Errorf("%d points are gone from the source, not 2", gone)
	}
	if res := g.audit(AuditOptions{}); len(res.Findings) > 0 {
		t.Errorf("an audit: %s", findingsOf(res))
	}
	g.clock.advance(time.Hour)
	g.pass()
	if n := g.count("b", "backup"); n != 3 || g.landed() != 3 {
		t.Errorf("after another point there are %d backups and %d points", n, g.landed())
	}
	g.forget()
	if res := g.audit(AuditOptions{}); g.landed() != 3 || res.PointAudit.Whole != 3 || res.Errors > 0 {
		t.Errorf("an audit with a new ledger: %d points, %+v%s", g.landed(), res.PointAudit, findingsOf(res))
	}
}

// A destination that is down when a new ledger is begun is looked at when it is back.
func TestADestinationIsTakenUpWhenItIsBack(t *testing.T) {
	g := kept(t)
	g.forget()
	if err := g.cloud.Region("b").Stop(); err != nil {
		t.Fatal(err)
	}
	g.pass()
	if err := g.cloud.Region("b").Start(); err != nil {
		t.Fatal(err)
	}
	if g.pass(); g.landed() != 3 {
		t.Errorf("%d points: %+v", g.landed(), g.points())
	}
}

// What another policy of the same name, with a ledger of its own, holds of volumes that this one
// does not select is not taken up by a pass.
func TestAPassTakesUpNoOtherVolumes(t *testing.T) {
	g := kept(t)
	g.forget()
	g.policy.Volumes = &policies.Volumes{Names: []string{"other"}}
	g.from.AddVolume("other", 1, "", nil)
	g.pass()
	for _, x := range g.points() {
		if x.Volume.Name != "other" {
			t.Errorf("point %s of volume %s was taken up", x.ID, x.Volume.Name)
		}
	}
}

// A point of the policy that the ledger does not know is not said to be for nobody: its hint
// takes it up.
func TestAnAuditsHintOfAnUnknownPoint(t *testing.T) {
	g := kept(t)
	lost := g.points()[0]
	if err := g.ledger.UpdatePoint(t.Context(), lost.ID, func(*store.Point, bool) bool { return false }); err != nil {
		t.Fatal(err)
	}
	res := g.audit(AuditOptions{})
	if len(res.Findings) != 1 {
		t.Fatalf("%s", findingsOf(res))
	}
	if f := res.Findings[0]; f.Kind != report.KindUnknown || !strings.Contains(f.Hint, "farshore ledger rebuild takes it up") || strings.Contains(f.Hint, "delete") || !strings.Contains(f.Cause, lost.ID) {
		t.Errorf("%s", findingsOf(res))
	}
}
