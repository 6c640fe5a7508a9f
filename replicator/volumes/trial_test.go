package volumes

import (
	"net/http"
	"testing"
	"time"

	"farshore/integration/fakecloud"
	"farshore/replicator/report"
)

// A destination that may not be written to is found out before anything is made, and is
// one finding; where nothing is shipped, nothing is tried.
func TestADestinationThatMayNotBeWritten(t *testing.T) {
	g := newRig(t, rigOptions{}, "b", "c")
	g.volume("db", 1)
	b := g.cloud.Region("b")
	id := b.AddFault(fakecloud.Fault{Name: "read only", Match: fakecloud.Match{Method: "PUT,POST,DELETE", Func: func(r *http.Request) bool { return r.Header.Get("X-Auth-Token") != "" }}, Do: fakecloud.Status(403, nil)})
	there := func(region string) (n int) {
		res, err := g.try(ShipOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range res.Findings {
			if f.Region == region {
				n++
			}
		}
		if n == 1 {
			wantFinding(t, res, report.KindNotShipped, region, "use region", "403", "a role that may write", "farshore region check "+region)
		} else if n != 0 {
			t.Errorf("findings %s", findingsOf(res))
		}
		return n
	}
	if n := there("b"); n != 1 || g.count("a", "backup") != 1 || g.count("c", "backup") != 1 {
		t.Errorf("%d findings, %d backups, %d in c", n, g.count("a", "backup"), g.count("c", "backup"))
	}
	b.RemoveFault(id)
	if n := there("b"); n != 0 || g.count("b", "backup") != 1 {
		t.Errorf("%d findings afterwards, %d backups", n, g.count("b", "backup"))
	}
	for _, n := range b.Names(PointsContainer) {
		if n == trialName {
			t.Error("the trial's object is left")
		}
	}
	writes := func() (n int64) {
		for _, m := range []string{"PUT", "DELETE"} {
			n += b.Counters().Of(fakecloud.ClassObject, m).Requests
		}
		return n
	}
	before := writes()
	g.ship()
	if n := writes(); n != before {
		t.Errorf("%d writes of an unchanged pass", n-before)
	}

	// The only destination: no backup is made.
	g.policy.To, g.policy.Replicas = []string{"b"}, 1
	b.AddFault(fakecloud.Fault{Name: "read only", Match: fakecloud.Match{Method: "PUT,POST,DELETE"}, Do: fakecloud.Status(403, nil)})
	g.clock.advance(2 * time.Hour)
	if n := there("b"); n != 1 || g.count("a", "backup") != 1 || g.count("a", "snapshot") != 0 {
		t.Errorf("%d findings, %d backups, %d snapshots", n, g.count("a", "backup"), g.count("a", "snapshot"))
	}
}
