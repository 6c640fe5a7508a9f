package volumes

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
	"farshore/transport/backup"
)

// pass makes a whole pass, with retention.
func (g *rig) pass() report.Result {
	g.t.Helper()
	res, err := g.shipper().Pass(context.Background(), g.policy, ShipOptions{})
	if err != nil {
		g.t.Fatalf("pass: %v", err)
	}
	return res
}

// alike asserts that a pass and an audit count the same points and replicas.
func (g *rig) alike(pass, audit report.Result) {
	g.t.Helper()
	if d := cmp.Diff(pass.Replicas, audit.Replicas); d != "" {
		g.t.Errorf("a pass and an audit count differently: %s", d)
	}
	if v, a := pass.Volumes, audit.PointAudit; v.Points != a.Points || v.Alone != a.Alone || v.Points != int64(len(g.points())) {
		g.t.Errorf("a pass counts %d points (%d alone), an audit %d (%d); there are %d", v.Points, v.Alone, a.Points, a.Alone, len(g.points()))
	}
}

// What a pass says at its end is how things stand after its retention, and an audit
// right after it says the same.
func TestAPassCountsAfterItsRetention(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	g.policy.Keep = &policies.Keep{Last: 1}
	g.policy.MaxChain = policies.MaxChain{Source: 1} // every one a full one
	g.chain(2)
	res := g.pass()
	if r := res.Retention; r.Deleted != 2 || r.Failed != 0 || len(r.Points) == 0 {
		t.Fatalf("retention %+v%s", r, findingsOf(res))
	}
	if r := res.Replicas; r.Objects != 1 || r.ByCount[1] != 1 || !r.Satisfied || res.Volumes.Points != 3 || res.Volumes.Alone != 2 {
		t.Errorf("%+v %+v", r, res.Volumes)
	}
	g.alike(res, g.audit(AuditOptions{}))
}

// What was lost in a region is one finding of a pass for it and all upon it, with what
// to do, and counts no more than an audit counts it.
func TestAPassTellsOfALostCopy(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	g.chain(2)
	p, c := g.points()[0], g.copies("b")[0]
	g.cloud.Region("b").Delete(c.Container, backup.Part(2).Name(c.Prefix))
	audit := g.audit(AuditOptions{})
	res := g.pass()
	g.alike(res, audit)
	if res.Replicas.Short != 3 || res.Errors != 1 || res.Counts[report.KindPointLost] != 1 || res.Counts[report.KindTooFew] != 1 {
		t.Fatalf("%+v%s", res.Replicas, findingsOf(res))
	}
	tooFew := func(r report.Result) report.Finding {
		i := slices.IndexFunc(r.Findings, func(f report.Finding) bool { return f.Kind == report.KindTooFew })
		return r.Findings[i]
	}
	if d := cmp.Diff(tooFew(audit), tooFew(res)); d != "" {
		t.Errorf("other words: %s", d)
	}
	for _, f := range res.Findings {
		if f.Kind == report.KindPointLost && (f.Region != "b" || f.Name != p.ID || !strings.Contains(f.Cause, "2 increments upon it") || !strings.Contains(f.Cause, "db (") || !strings.Contains(f.Hint, "audit dbs --repair")) {
			t.Errorf("finding %+v", f)
		}
	}
	g.audit(AuditOptions{Repair: true})
	if res := g.pass(); res.Errors > 0 || res.Counts[report.KindPointLost] > 0 || !res.Replicas.Satisfied {
		t.Errorf("after the repair: %s", findingsOf(res))
	}
}

// A point that is lost everywhere is one error until it is forgotten; then nothing of it
// is left, and what lives is not touched.
func TestAPointThatIsLostForGood(t *testing.T) {
	g := newRig(t, rigOptions{}, "b", "d")
	g.chain(2)
	ctx := context.Background()
	points := g.points()
	for _, region := range []string{"b", "d"} {
		c, _ := points[0].Copy(region)
		g.cloud.Region(region).Delete(c.Container, backup.Part(2).Name(c.Prefix))
	}
	forget := func(lost bool, ids ...string) ([]report.PointStanding, error) {
		t.Helper()
		gone, findings, err := g.shipper().Forget(ctx, ForgetRequest{Points: ids, SourceLost: lost})
		if len(findings) > 0 {
			t.Errorf("findings %+v", findings)
		}
		return gone, err
	}
	g.audit(AuditOptions{})
	if _, err := forget(false, points[0].ID); err == nil || !strings.Contains(err.Error(), "the source still has its backup") || !strings.Contains(transport.HintOf(err), "--repair") {
		t.Errorf("forgotten although the source has it: %v", err)
	}
	for _, p := range slices.Backward(points) { // somebody deletes them
		if err := g.regions["a"].Blocks.DeleteBackup(ctx, p.ID); err != nil {
			t.Fatal(err)
		}
		g.until(func() bool { _, err := g.regions["a"].Blocks.Backup(ctx, p.ID); return err != nil })
	}
	g.audit(AuditOptions{})
	g.clock.advance(time.Hour)
	res := g.pass() // makes a full one
	audit := g.audit(AuditOptions{})
	g.alike(res, audit)
	for name, r := range map[string]report.Result{"pass": res, "audit": audit} {
		var lost []report.Finding
		for _, f := range r.Findings {
			if f.Kind == report.KindPointLost {
				lost = append(lost, f)
			}
		}
		if len(lost) != 1 || r.Counts[report.KindTooFew] != 0 || lost[0].Level != report.Error || lost[0].Name != points[0].ID ||
			!strings.Contains(lost[0].Cause, "with it 2 increments upon it are lost") || !strings.Contains(lost[0].Hint, "farshore points forget "+points[0].ID) {
			t.Errorf("%s: %+v%s", name, r.Counts, findingsOf(r))
		}
		if r.Replicas.Satisfied || r.Replicas.Short != 3 || r.Replicas.Objects != 4 {
			t.Errorf("%s: %+v", name, r.Replicas)
		}
	}
	if res.Errors != 1 {
		t.Errorf("the pass: %s", findingsOf(res))
	}
	alive := g.points()[3]
	if _, err := forget(true, alive.ID); err == nil || !strings.Contains(err.Error(), "the region can restore it") {
		t.Errorf("forgotten although it is there: %v", err)
	}
	if _, err := forget(false, "db"); err == nil {
		t.Error("a volume's name was taken for a point")
	}
	gone, err := forget(false, points[0].ID[:8])
	if err != nil || len(gone) != 3 {
		t.Fatalf("forgot %+v: %v", gone, err)
	}
	if left := g.points(); len(left) != 1 || left[0].ID != alive.ID {
		t.Errorf("left are %+v", left)
	}
	for _, region := range []string{"b", "d"} {
		if n := len(g.objects(region, PointsContainer, "")); n != 2 || g.count(region, "backup") != 1 {
			t.Errorf("%s has %d small files and %d backups", region, n, g.count(region, "backup"))
		}
		for _, p := range points {
			if left := g.objects(region, p.Container, p.Prefix); len(left) > 0 {
				t.Errorf("%s still has %v", region, left)
			}
		}
	}
	for name, r := range map[string]report.Result{"pass": g.pass(), "audit": g.audit(AuditOptions{Read: 1})} {
		if r.Errors > 0 || !r.Replicas.Satisfied || len(r.Findings) > 0 {
			t.Errorf("%s afterwards: %+v%s", name, r.Replicas, findingsOf(r))
		}
	}
	g.restart() // the ledger is in order
	g.clean()
}

// A source that is gone for good need not be asked.
func TestForgetWithoutTheSource(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	g.volume("db", 1)
	g.ship()
	p := g.points()[0]
	c, _ := p.Copy("b")
	g.cloud.Region("b").Delete(c.Container, backup.Part(2).Name(c.Prefix))
	if err := g.from.Stop(); err != nil {
		t.Fatal(err)
	}
	g.audit(AuditOptions{})
	ctx := context.Background()
	if _, _, err := g.shipper().Forget(ctx, ForgetRequest{Points: []string{p.ID}}); err == nil || !strings.Contains(transport.HintOf(err), "--source-lost") {
		t.Errorf("not asked: %v", err)
	}
	gone, findings, err := g.shipper().Forget(ctx, ForgetRequest{Points: []string{p.ID}, SourceLost: true})
	if err != nil || len(gone) != 1 || len(findings) > 0 || len(g.points()) > 0 || g.count("b", "backup") > 0 {
		t.Errorf("forgot %+v, findings %+v: %v; %d points are left", gone, findings, err, len(g.points()))
	}
	if works, err := g.ledger.Works(); err != nil || len(works) > 0 {
		t.Errorf("works are left: %+v, %v", works, err)
	}
}

// A copy counts where it and all that it is an increment upon are landed, and not by its
// own state.
func TestCensusCountsChains(t *testing.T) {
	copied := func(id, parent string, state store.CopyState) store.PointCopy {
		return store.PointCopy{Region: "b", State: state, Backup: id, Parent: parent}
	}
	points := []store.Point{
		{ID: "1", Region: "a", Made: 1, Copies: []store.PointCopy{copied("1", "", store.CopyLost)}},
		{ID: "2", Region: "a", Made: 1, Parent: "1", Copies: []store.PointCopy{copied("2", "1", store.CopyLanded)}},
		{ID: "3", Region: "a", Made: 1, Parent: "2", Copies: []store.PointCopy{copied("3s", "", store.CopyLanded)}}, // a synthetic full
		{ID: "4", Region: "a", Made: 1, Parent: "3", Copies: []store.PointCopy{copied("4", "3s", store.CopyLanded)}},
		{ID: "5", Region: "a", Made: 1, Copies: []store.PointCopy{copied("5", "", store.CopyExpired)}},
		{ID: "6", Region: "a"},
	}
	c := newCensus(policies.NewPolicy("dbs", "a", "b"), points, points)
	r := c.replicas(c.whole)
	if r.Objects != 4 || r.ByCount[1] != 2 || r.ByCount[0] != 2 || r.Short != 2 || r.Satisfied || c.points != 6 || c.alone != 1 {
		t.Errorf("%+v of %d points, %d alone", r, c.points, c.alone)
	}
}
