package volumes

import (
	"testing"

	"farshore/integration/fakecloud"
	"farshore/replicator/report"
)

// What a probe found out is believed where there is no backup to judge by: nothing is
// made at all.
func TestPlacementAsProbed(t *testing.T) {
	g := newRig(t, rigOptions{block: func(o *fakecloud.BlockOptions) { o.Placement = fakecloud.SingleUser }}, "b")
	g.volume("db", 5)
	if err := g.ledger.PutNote("placement/a", []byte("swift single_user")); err != nil {
		t.Fatal(err)
	}
	res, err := g.try(ShipOptions{})
	if err != nil {
		t.Fatal(err)
	}
	wantFinding(t, res, report.KindPlacement, "a", "so region check --probe found")
	if res.Volumes.Snapshots != 0 || g.count("a", "snapshot") != 0 || g.count("a", "backup") != 0 {
		t.Errorf("%+v, %d snapshots, %d backups", res.Volumes, g.count("a", "snapshot"), g.count("a", "backup"))
	}
	g.clean()
}

// A destination whose backups are elsewhere answers well: it is said to be unfit, not down.
func TestPlacementOfADestination(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	g.volume("db", 5)
	if err := g.ledger.PutNote("placement/b", []byte("swift single_user")); err != nil {
		t.Fatal(err)
	}
	res, err := g.try(ShipOptions{})
	if err != nil {
		t.Fatal(err)
	}
	wantFinding(t, res, report.KindPlacement, "b", "so region check --probe found")
	for _, f := range res.Findings {
		if f.Kind == report.KindRegionDown {
			t.Errorf("finding %+v", f)
		}
	}
}
