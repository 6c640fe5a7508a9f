package volumes

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport/backup"
)

// forget loses the ledger, and begins another.
func (g *rig) forget() {
	g.t.Helper()
	if err := g.ledger.Close(); err != nil {
		g.t.Fatal(err)
	}
	if err := os.Remove(g.path); err != nil {
		g.t.Fatal(err)
	}
	g.open()
}

// disaster leaves the destinations alone: the ledger is lost, and the source region gone.
func (g *rig) disaster() {
	g.t.Helper()
	g.forget()
	delete(g.regions, "a")
	if err := g.cloud.Region("a").Stop(); err != nil {
		g.t.Fatal(err)
	}
}

func (g *rig) rebuild() report.Result {
	g.t.Helper()
	res, err := g.shipper().RebuildPoints(context.Background(), g.policy)
	if err != nil {
		g.t.Fatalf("rebuild: %v", err)
	}
	return res
}

// A lost ledger's points are found again, synthetic ones, increments upon them and all,
// by what the destinations hold; what comes after goes on as if nothing had been lost.
func TestRebuildFromDescriptors(t *testing.T) {
	g := newRig(t, rigOptions{}, "b", "d")
	g.policy.MaxChain.Destination = 3
	g.policy.Keep = &policies.Keep{Last: 3}
	want := g.chain(3)
	g.retain()
	v := g.cloud.Region("a").Volume(g.points()[0].Volume.ID)
	g.scribble(v, 77, 500_000, 3000)
	want = append(want, content(v))
	g.clock.advance(time.Hour)
	g.ship()
	g.retain()
	before := g.points()
	g.forget()

	res := g.rebuild()
	if res.Errors > 0 || res.Totals.Adopted != 10 || !res.Replicas.Satisfied {
		t.Errorf("%+v %+v%s", res.Totals, res.Replicas, findingsOf(res))
	}
	// When a record was imported, the region does not tell, nor what was said of it.
	unknown := cmpopts.IgnoreFields(store.PointCopy{}, "Landed", "Note")
	if d := cmp.Diff(before, g.points(), unknown); d != "" {
		t.Errorf("before and after: %s", d)
	}
	g.restart() // the ledger is in order
	if res := g.audit(AuditOptions{Read: 1}); res.Errors > 0 {
		t.Errorf("an audit: %s", findingsOf(res))
	}
	g.scribble(v, 78, 100_000, 3000)
	want = append(want, content(v))
	g.clock.advance(time.Hour)
	g.ship()
	g.retain()
	for _, region := range []string{"b", "d"} {
		g.consistent(region)
		for i, p := range g.points() {
			if c, _ := p.Copy(region); c.State == store.CopyLanded && !bytes.Equal(g.restored(region, c.Backup), want[i]) {
				t.Errorf("point %d restores to other bytes in %s", i, region)
			}
		}
	}
	g.clean()
}

// The source is gone for good, and so are the descriptors: the records and the backups'
// own lists are enough to restore by.
func TestRebuildWithoutDescriptors(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	want := g.chain(2)
	before := g.points()
	for _, name := range g.objects("b", PointsContainer, "") {
		g.cloud.Region("b").Delete(PointsContainer, name)
	}
	if err := g.cloud.Region("a").Stop(); err != nil {
		t.Fatal(err)
	}
	g.forget()
	res := g.rebuild()
	if res.Errors > 0 || res.Counts[report.KindDegraded] != 1 || res.Totals.Adopted != 3 {
		t.Errorf("%+v%s", res.Totals, findingsOf(res))
	}
	after := g.points()
	if len(after) != 3 {
		t.Fatalf("%d points", len(after))
	}
	for i, p := range after {
		c, _ := p.Copy("b")
		b, _ := before[i].Copy("b")
		if p.ID != before[i].ID || p.Parent != before[i].Parent || p.Volume.Name != "db" || p.Volume.Size != 1 || c.State != store.CopyLanded ||
			c.Prefix != b.Prefix || c.Parent != b.Parent || c.Objects != b.Objects || c.Bytes != b.Bytes {
			t.Errorf("point %d: %+v, before %+v", i, p, before[i])
		}
		if !bytes.Equal(g.restored("b", c.Backup), want[i]) {
			t.Errorf("point %d restores to other bytes", i)
		}
	}
	// An audit writes the descriptors again.
	if res := g.audit(AuditOptions{Repair: true}); res.Counts[report.KindRepaired] != 3 || res.PointAudit.Whole != 3 {
		t.Errorf("%+v%s", res.PointAudit, findingsOf(res))
	}
	if n := len(g.objects("b", PointsContainer, "")); n != 3 {
		t.Errorf("%d descriptors", n)
	}
}

// A rebuild keeps what the destinations hold, also of volumes that the policy no longer
// selects, and says of the source only what it was told.
func TestRebuildOfWhatThePolicyNoLongerSelects(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	g.chain(1)
	logs := g.volume("logs", 3)
	g.clock.advance(time.Hour)
	g.ship()
	before := g.points()
	g.policy.Volumes = &policies.Volumes{Names: []string{"db"}}
	for _, own := range []bool{true, false} { // by descriptors, and without them
		g.forget()
		if err := g.from.Stop(); err != nil {
			t.Fatal(err)
		}
		if !own {
			for _, name := range g.objects("b", PointsContainer, "") {
				g.cloud.Region("b").Delete(PointsContainer, name)
			}
		}
		res := g.rebuild()
		after := g.points()
		if len(after) != len(before) || res.Replicas.Objects != int64(len(before)) {
			t.Fatalf("%d points, there were %d: %+v%s", len(after), len(before), res.Replicas, findingsOf(res))
		}
		told := 0
		for _, f := range res.Findings {
			if f.Kind == report.KindUnknown && f.Name == "logs ("+logs.ID()+")" && strings.Contains(f.Cause, "1 point of a volume that the policy does not select") {
				told++
			}
		}
		if told != 1 {
			t.Errorf("told %d times of the other volume:%s", told, findingsOf(res))
		}
		for _, x := range Standing(after, true) {
			if x.Source != "unknown" || x.Chain != 0 || len(x.Copies) != 1 || x.Copies[0].Chain == 0 {
				t.Errorf("the source was not asked, and it is said to be %s (chain %d): %+v", x.Source, x.Chain, x.Copies)
			}
		}
		// An audit asks again, and so does a rebuild.
		if err := g.from.Start(); err != nil {
			t.Fatal(err)
		}
		if own {
			g.audit(AuditOptions{})
		} else {
			g.rebuild()
		}
		for _, x := range Standing(g.points(), true) {
			if x.Source != "has" || x.Chain == 0 {
				t.Errorf("asked again: %+v", x)
			}
		}
	}
}

// What a destination says of itself is believed as far as it holds.
func TestRebuildBelievesWhatItSees(t *testing.T) {
	g := newRig(t, rigOptions{}, "b", "d")
	g.chain(2)
	copies := g.copies("b")
	g.cloud.Region("b").Delete(copies[0].Container, backup.Part(1).Name(copies[0].Prefix))
	ctx := context.Background()
	if err := g.regions["d"].Blocks.DeleteBackup(ctx, copies[2].Backup); err != nil {
		t.Fatal(err)
	}
	g.until(func() bool { _, err := g.regions["d"].Blocks.Backup(ctx, copies[2].Backup); return err != nil })
	g.forget()
	res := g.rebuild()
	if res.Errors != 2 {
		t.Errorf("%s", findingsOf(res))
	}
	if c := g.copies("b")[0]; c.State != store.CopyLost || c.Note == "" {
		t.Errorf("without an object: %+v", c)
	}
	if c := g.copies("b")[1]; c.State != store.CopyLanded {
		t.Errorf("%+v", c)
	}
	if err := g.cloud.Region("d").Stop(); err != nil {
		t.Fatal(err)
	}
	g.forget()
	if res := g.rebuild(); res.Counts[report.KindRegionDown] != 1 {
		t.Errorf("a destination that is down: %v", res.Counts)
	}
}

// What retention took away at the destinations is not shipped again because the ledger,
// which knew that, is lost.
func TestRebuildShipsNothingAgain(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	g.policy.MaxChain.Destination = 2
	g.policy.Keep = &policies.Keep{Last: 1}
	g.chain(2)
	g.retain()
	if n := len(g.objects("b", PointsContainer, "")); n != 2 {
		t.Fatalf("%d files at the destination", n)
	}
	g.forget()
	g.rebuild()
	if res := g.ship(); res.Totals.Bytes > 0 || len(res.Points) > 0 {
		t.Errorf("shipped again: %+v %+v", res.Totals, res.Points)
	}
	g.consistent("a")
	g.consistent("b")
}
