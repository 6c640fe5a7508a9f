package volumes

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"farshore/replicator/report"
	"farshore/store"
)

// Three points one upon another; in lyon the second is a synthetic full that took the
// first one's place, in berlin the first one's record was lost, in madrid the second
// is not imported yet.
func TestStandingCountsChainsWhereTheyAre(t *testing.T) {
	const µs = 1_790_000_000_000_000
	point := func(id, parent string, copies ...store.PointCopy) store.Point {
		p := store.Point{ID: id, Policy: "dbs", Region: "paris", Volume: store.PointVolume{ID: "v", Name: "db", Size: 1, Type: "ssd"}, Taken: µs, Made: µs + 1, Parent: parent, Objects: 2, Bytes: 7}
		for _, c := range copies {
			p.SetCopy(c)
		}
		return p
	}
	copied := func(region string, state store.CopyState, backup, parent string) store.PointCopy {
		return store.PointCopy{Region: region, State: state, Backup: backup, Parent: parent}
	}
	synthetic := copied("lyon", store.CopyLanded, "b2s", "")
	synthetic.Synthetic = true
	proven := copied("lyon", store.CopyLanded, "b3", "b2s")
	proven.Proof, proven.Landed = store.Proof{At: µs + 5, Kind: "blocks", OK: true}, µs+4
	list := []store.Point{
		point("b1", "", copied("lyon", store.CopyExpired, "b1", ""), copied("berlin", store.CopyLost, "b1", ""), copied("madrid", store.CopyLanded, "b1", "")),
		point("b2", "b1", synthetic, copied("berlin", store.CopyLanded, "b2", "b1"), copied("madrid", store.CopyShipped, "b2", "b1")),
		point("b3", "b2", proven, copied("berlin", store.CopyLanded, "b3", "b2"), copied("madrid", store.CopyLanded, "b3", "b2")),
		point("b4", "b3"),
	}
	list[3].Made = 0
	chains := func(all []report.PointStanding) map[string]int {
		out := map[string]int{}
		for _, p := range all {
			out[p.Point] = p.Chain
			for _, c := range p.Copies {
				out[p.Point+" "+c.Region] = c.Chain
			}
		}
		return out
	}
	all := Standing(list, true)
	want := map[string]int{
		"b1": 1, "b2": 2, "b3": 3, "b4": 0,
		"b1 lyon": 0, "b2 lyon": 1, "b3 lyon": 2,
		"b1 berlin": 0, "b2 berlin": 0, "b3 berlin": 0,
		"b1 madrid": 1, "b2 madrid": 0, "b3 madrid": 0,
	}
	if d := cmp.Diff(want, chains(all)); d != "" {
		t.Error(d)
	}
	third := report.PointStanding{Point: "b3", Policy: "dbs", Region: "paris", Volume: "v", VolumeName: "db", Size: 1, Type: "ssd", Taken: time.UnixMicro(µs).UTC(), Kind: "increment",
		Parent: "b2", Source: "has", Chain: 3, Objects: 2, Bytes: 7, Copies: []report.CopyStanding{
			{Region: "berlin", State: "landed", Backup: "b3", Kind: "increment", Parent: "b2"},
			{Region: "lyon", State: "landed", Backup: "b3", Kind: "increment", Parent: "b2s", Chain: 2, Landed: time.UnixMicro(µs + 4).UTC(),
				Proof: &report.ProofStanding{At: time.UnixMicro(µs + 5).UTC(), Against: "blocks", OK: true}},
			{Region: "madrid", State: "landed", Backup: "b3", Kind: "increment", Parent: "b2"},
		}}
	if d := cmp.Diff(third, all[2]); d != "" {
		t.Error(d)
	}
	if all[1].Copies[1].Kind != "synthetic" || all[3].Kind != "making" || len(all[3].Copies) != 0 || all[3].Copies == nil {
		t.Errorf("%+v", all)
	}
	// What a destination tells of itself says nothing of the source.
	if own := Standing(list, false); own[2].Chain != 0 || own[2].Source != "unknown" || own[2].Copies[1].Chain != 2 {
		t.Errorf("%+v", own[2])
	}
	list[0].Gone = µs
	if all := Standing(list, true); all[0].Source != "gone" || all[0].Chain != 0 || all[2].Chain != 0 || all[2].Source != "has" {
		t.Errorf("the source lost the first: %+v", all)
	}
	// A circle is no chain.
	if n := chainLength(map[string]store.PointCopy{"a": {Parent: "b"}, "b": {Parent: "a"}}, "a"); n != 0 {
		t.Errorf("a circle of %d", n)
	}
}
