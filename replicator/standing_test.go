package replicator

import (
	"fmt"
	"testing"
	"time"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/store"
)

// A pass and an audit say which objects have too few replicas, where and since when.
func TestStanding(t *testing.T) {
	w := newWorld(t, "b", "d")
	w.policy.Replicas = 2
	for i := range 30 {
		w.put(fmt.Sprintf("o%02d", i), uint64(i), 100, nil)
	}
	if r := w.sync(); !r.Replicas.Since.IsZero() || r.Replicas.Oldest != nil {
		t.Fatalf("satisfied, and %+v", r.Replicas)
	}
	w.down("d", true)
	w.clock.advance(time.Hour)
	var first time.Time
	for i := range 12 {
		name := fmt.Sprintf("o%02d", 29-i)
		w.put(name, uint64(100+i), 100, nil)
		if i == 0 {
			o, _, _ := w.mem["a"].Get("c", name)
			first = o.Modified
		}
		w.clock.advance(time.Minute)
	}
	r, err := w.try(w.policy, SyncOptions{})
	if err != nil {
		t.Fatal(err)
	}
	x := r.Replicas
	if x.Short != 12 || !x.Since.Equal(first) || len(x.Lacking) != 1 || x.Lacking["d"].Objects != 12 || !x.Lacking["d"].Since.Equal(first) {
		t.Fatalf("%+v, the first was written at %s", x, first)
	}
	if len(x.Oldest) != examples || x.Oldest[0].Name != "o29" || x.Oldest[9].Name != "o20" || fmt.Sprint(x.Oldest[0].Lacks) != "[d]" {
		t.Errorf("oldest %+v", x.Oldest)
	}
	one(t, r, report.KindTooFew, report.Error, "", "", "the first of them since "+first.UTC().Format("2006-01-02 15:04:05"))

	w.down("d", false)
	w.sync()
	w.restart()
	s, err := Standing(t.Context(), w.ledger, w.policy) // as a command without any region does
	if err != nil || !s.Satisfied || s.Objects != 30 || !s.Since.IsZero() {
		t.Fatalf("%+v %v", s, err)
	}
	// what an audit finds lost lacks since then, not since it was written
	w.mem["d"].Remove("c", "o03")
	w.clock.advance(time.Hour)
	found := w.clock.Now()
	places, err := w.ledger.Places()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range places {
		if x.Region == "a" {
			w.lose(x.ID, "o03", "d", found)
		}
	}
	if s, err = Standing(t.Context(), w.ledger, w.policy); err != nil || s.Short != 1 || s.Since.Sub(found).Abs() > time.Millisecond || s.Oldest[0].Name != "o03" {
		t.Fatalf("%+v %v, found at %s", s, err, found)
	}
	if s.Lacking["d"] != (policies.Short{Objects: 1, Since: s.Since}) {
		t.Errorf("lacking %+v", s.Lacking)
	}
}

// lose marks a replica as an audit's repair does that cannot send it again.
func (w *world) lose(place store.PlaceID, name, region string, at time.Time) {
	w.t.Helper()
	routes, err := w.ledger.Routes()
	if err != nil {
		w.t.Fatal(err)
	}
	w.ledger.Update(place, name, func(o *store.Object, exists bool) bool {
		for _, r := range routes {
			if rep, ok := o.Replica(r.ID); ok && r.Route.To.Region == region {
				rep.State, rep.Confirmed = store.Lost, at.UnixMicro()
				o.SetReplica(rep)
			}
		}
		return exists
	})
	if err := w.ledger.Flush(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}
