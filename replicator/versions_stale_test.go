package replicator

import (
	"fmt"
	"testing"
	"time"

	"farshore/policies"
)

// A destination's listing shows a version for a while that a pass has deleted there: it is
// neither taken for one that the source has got since, nor for somebody else's.
func TestAVersionThatIsStillListedAndGone(t *testing.T) {
	for what, write := range map[string][]string{
		"the same bytes again":    {"two", "three"},
		"other bytes":             {"other"},
		"the same bytes, current": {"two"},
		"others before the same":  {"other", "two"},
	} {
		t.Run(what, func(t *testing.T) {
			w := newVersioned(t, "b")
			w.write("a", "keep", "kept", nil)
			w.write("a", "n", "one", nil)
			second := w.write("a", "n", "two", nil)
			w.sync()
			w.mem["b"].Freeze("c")
			w.clock.advance(time.Minute)
			if err := w.mem["a"].DeleteVersion(t.Context(), "c", "n", second); err != nil {
				t.Fatal(err)
			}
			w.sync()
			for _, data := range write {
				w.clock.advance(time.Minute)
				w.write("a", "n", data, nil)
			}
			w.sync()
			w.mem["b"].Thaw("c")
			w.alikeHistories("b")
			w.quiet("b")
			w.restart()
		})
	}
}

// So it is with delete markers: one that is gone is neither taken for one that the source
// has got since, nor for somebody else's.
func TestAMarkerThatIsStillListedAndGone(t *testing.T) {
	for what, write := range map[string]func(w *world) error{
		"a marker again": func(w *world) error { return w.mem["a"].Delete(t.Context(), "c", "n") },
		"a version":      func(w *world) error { w.write("a", "n", "after", nil); return nil },
		"both": func(w *world) error {
			w.write("a", "n", "after", nil)
			return w.mem["a"].Delete(t.Context(), "c", "n")
		},
	} {
		t.Run(what, func(t *testing.T) {
			w := newVersioned(t, "b")
			w.write("a", "keep", "kept", nil)
			w.write("a", "n", "one", nil)
			marker, err := w.mem["a"].DeleteMarker(t.Context(), "c", "n")
			if err != nil {
				t.Fatal(err)
			}
			w.sync()
			w.mem["b"].Freeze("c")
			w.clock.advance(time.Minute)
			if err := w.mem["a"].DeleteVersion(t.Context(), "c", "n", marker.Version); err != nil {
				t.Fatal(err)
			}
			w.sync()
			w.clock.advance(time.Minute)
			if err := write(w); err != nil {
				t.Fatal(err)
			}
			if r := w.sync(); r.Totals.Conflicts != 0 {
				t.Errorf("%+v", r)
			}
			w.mem["b"].Thaw("c")
			w.alikeHistories("b")
			w.quiet("b")
			w.restart()
		})
	}
}

// What was "null" at a destination has an id once something was written after it. Where the
// listing lags it shows no id, or that of another version with the same bytes which is gone.
func TestANullVersionGetsItsIDWhileListingsLag(t *testing.T) {
	for what, begin := range map[string]func(w *world){
		"written before there were versions": func(w *world) {
			w.write("a", "n", "plain", nil)
			w.sync()
			w.enable("true")
			w.sync()
			w.mem["b"].Freeze("c")
		},
		"beside one that is gone": func(w *world) {
			w.enable("true")
			old := w.write("a", "n", "plain", nil)
			w.sync()
			w.mem["b"].Freeze("c")
			if err := w.mem["a"].DeleteVersion(t.Context(), "c", "n", old); err != nil {
				t.Fatal(err)
			}
			w.sync()
			w.enable("false")
			w.write("a", "n", "plain", nil)
			w.sync()
			w.enable("true")
		},
	} {
		for passes := range 3 { // while the listing lags
			t.Run(fmt.Sprintf("%s, %d passes", what, passes), func(t *testing.T) {
				w := newWorld(t, "b")
				w.policy.Deletes = policies.Deletes{Propagate: true}
				w.policy.Brake.Deletes = -1
				w.write("a", "keep", "kept", nil)
				begin(w)
				w.clock.advance(time.Minute)
				w.write("a", "n", "after", nil)
				for range passes {
					w.sync()
				}
				w.mem["b"].Thaw("c")
				w.sync()
				w.alikeHistories("b")
				w.quiet("b")
				w.restart()
			})
		}
	}
}
