package volumes

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"farshore/replicator/report"
	"farshore/store"
)

// What status says of points: how many each region can restore, how old the newest is,
// and what was proven and drilled last.
func TestSummary(t *testing.T) {
	const µs, hour = 1_790_000_000_000_000, 3_600_000_000
	copied := func(region string, state store.CopyState, backup, parent string) store.PointCopy {
		return store.PointCopy{Region: region, State: state, Backup: backup, Parent: parent}
	}
	point := func(id, volume string, n int64, parent string, copies ...store.PointCopy) store.Point {
		p := store.Point{ID: id, Policy: "dbs", Region: "paris", Volume: store.PointVolume{ID: volume, Name: "db"}, Taken: µs + n*hour, Made: µs + n*hour + 1, Parent: parent}
		for _, c := range copies {
			p.SetCopy(c)
		}
		return p
	}
	proven, unequal := copied("lyon", store.CopyLanded, "2", "1"), copied("lyon", store.CopyLanded, "3", "")
	proven.Proof, unequal.Proof = store.Proof{At: µs + 9*hour, Kind: "blocks", OK: true}, store.Proof{At: µs + 8*hour, Kind: "blocks"}
	points := []store.Point{
		point("1", "v", 0, "", copied("lyon", store.CopyLanded, "1", ""), copied("berlin", store.CopyLost, "1", "")),
		point("2", "v", 1, "1", proven, copied("berlin", store.CopyLanded, "2", "1")),
		point("3", "w", 2, "", unequal, copied("berlin", store.CopyShipped, "3", "")),
		point("4", "w", 3, "3", copied("lyon", store.CopyExpired, "4", "3"), copied("berlin", store.CopyShipping, "", "")),
		point("5", "w", 4, "4"),
	}
	points[4].Made = 0
	drills := []store.Drill{{ID: "d1", Policy: "dbs", Began: µs, OK: false}, {ID: "d2", Policy: "dbs", Began: µs + 7*hour, OK: true}, {ID: "d3", Policy: "other", Began: µs + 8*hour}}
	at := func(n int64) time.Time { return time.UnixMicro(µs + n*hour).UTC() }
	want := []report.PointSummary{{Policy: "dbs", Region: "paris", Volumes: 2, Points: 5, Newest: at(3), Age: 7 * 3600, Regions: []report.PointRegionSummary{
		{Region: "berlin", NotImported: 1, Shipping: 1, Lost: 2},
		{Region: "lyon", Restorable: 3, Newest: at(2), Age: 8 * 3600},
	}, Proof: &report.ProofSummary{ProofStanding: report.ProofStanding{At: at(9), Against: "blocks", OK: true}, Point: "2", VolumeName: "db", Region: "lyon"},
		Drill: &report.DrillSummary{ID: "d2", Began: at(7), OK: true}}}
	if d := cmp.Diff(want, Summary(points, drills, at(10))); d != "" {
		t.Error(d)
	}
	if all := Summary(nil, drills, at(0)); all == nil || len(all) != 0 {
		t.Errorf("of no points: %+v", all)
	}
}
