package replicator

import (
	"math"
	"slices"
	"testing"
	"time"

	"farshore/policies"
)

// TestLagOfWhatIsPlacedElsewhere moves a container of old objects by another choice, by an
// outage and back, has a region join and selects a container that was there before: nothing is
// late for anybody, and the budget is whole.
func TestLagOfWhatIsPlacedElsewhere(t *testing.T) {
	w := newLagWorld(placed(t))
	w.policy.RPO = 3 * time.Hour
	w.follow()
	for i := range 20 {
		w.put(string(rune('a'+i)), uint64(i), 10, nil)
	}
	if err := w.mem["a"].CreateContainer(t.Context(), "not chosen", nil); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		w.mem["a"].Set("not chosen", string(rune('a'+i)), fill(uint64(i), 10), nil)
	}
	e := w.engine()
	pass := func(what string, at ...string) {
		t.Helper()
		e.o.Lag = w.tracker
		jobs, err := e.Jobs(t.Context(), w.policy)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range jobs[0].To {
			if !slices.Contains(at, s.Region) {
				t.Fatalf("%s: it goes to %v", what, jobs[0].To)
			}
		}
		if _, err := e.Sync(t.Context(), w.policy, jobs, SyncOptions{}); err != nil {
			t.Fatal(err)
		}
		w.tracker.Tick()
		if len(w.events) != 0 {
			t.Fatalf("%s: %+v", what, w.events)
		}
		for _, l := range w.tracker.Lags() {
			if l.Late.Items > 0 || l.Past.Budget != 1 || l.Past.Within != 1 {
				t.Fatalf("%s: %+v", what, l)
			}
		}
	}
	held := func(region string, minutes float64, items int64) {
		t.Helper()
		for _, l := range w.tracker.Lags() {
			if l.Region == region && (l.Past.Items != items || l.Past.Max/60 > minutes+1) {
				t.Fatalf("%s: %+v", region, l.Past)
			}
		}
	}
	pass("first", "b", "d")
	w.clock.advance(100 * time.Hour)
	pass("idle", "b", "d")
	w.policy.Place = &policies.Place{Copies: 2, Prefer: []string{"b", "e"}, ReplaceAfter: 2 * time.Hour}
	pass("another choice", "b", "e")
	held("e", 0, 20)

	w.clock.advance(10 * time.Hour)
	w.world.down("e", true)
	w.clock.advance(time.Hour)
	e = w.engine()
	pass("e is down", "b", "e")
	w.put("changed", 1, 10, nil)
	for range 2 {
		w.clock.advance(time.Hour)
		e = w.engine()
		pass("e is down for longer", "b", "e", "d")
	}
	w.clock.advance(10 * time.Minute)
	e = w.engine()
	pass("e is replaced", "b", "d")
	held("d", 60, 21)
	if l := w.lag("e", 0, 0, 0); l.AtMost > 60 {
		t.Errorf("%+v", l)
	}
	for range 30 {
		w.clock.advance(time.Hour)
		e = w.engine()
		pass("e is still replaced", "b", "d")
	}
	w.world.down("e", false)
	w.clock.advance(time.Minute)
	e = w.starts() // a restart knows since when, too
	pass("e is back", "b", "e")
	held("e", 0, 1)

	w.policy.Place = nil
	w.clock.advance(30 * time.Hour)
	pass("all of them", "b", "d", "e")
	w.policy.To = []string{"b", "d"}
	w.follow()
	pass("two of them", "b", "d")
	w.clock.advance(30 * time.Hour)
	w.policy.To = []string{"b", "d", "e"}
	w.follow()
	pass("one joins", "b", "d", "e")

	w.clock.advance(30 * time.Hour)
	w.policy.Containers = []string{"*"}
	pass("all containers", "b", "d", "e")
	held("b", 0, 5)
	w.clock.advance(30 * time.Hour)
	pass("idle again", "b", "d", "e")
	if err := w.mem["a"].CreateContainer(t.Context(), "fresh", nil); err != nil {
		t.Fatal(err)
	}
	w.mem["a"].Set("fresh", "x", fill(1, 10), nil)
	w.clock.advance(50 * time.Minute)
	pass("a new container", "b", "d", "e")
	if l := w.lag("b", 0, 0, 0); l.Past.Items != 1 || math.Abs(l.Past.Max/60-50) > 1 {
		t.Errorf("what is new waits since it is there: %+v", l.Past)
	}
}
