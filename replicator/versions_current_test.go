package replicator

import (
	"strings"
	"testing"
	"time"

	"farshore/replicator/report"
	"farshore/transport"
)

// A destination that cannot have the newest version of a name shows the one before. When the
// source then removes that newest version by its id, the name shows nothing there (Swift puts
// no older version in its place), and so it must at the destination.
func TestNothingIsShownAfterAVersionThatCouldNotBeKept(t *testing.T) {
	for _, c := range []struct {
		what    string
		between func(w *world) // after the older version, before the newest
		after   func(w *world) // before the newest is removed
	}{
		{"both in one pass", func(*world) {}, func(*world) {}},
		{"one pass each", func(w *world) { w.sync() }, func(*world) {}},
		{"a listing that lags", func(w *world) { w.mem["b"].Freeze("c"); w.sync() }, func(w *world) { w.mem["b"].Thaw("c") }},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := newVersioned(t, "b")
			w.container("a", "segs")
			w.putAt("a", "segs", "1", "segment", nil)
			w.write("a", "keep", "kept", nil)
			w.sync()
			w.write("a", "n", "older", nil)
			c.between(w)
			w.slo("c", "n", nil, w.segment("segs", "1"))
			newest, err := w.mem["a"].Head(t.Context(), "c", "n")
			if err != nil {
				t.Fatal(err)
			}
			w.putAt("a", "segs", "1", "another by now", nil) // the manifest is broken at the source
			r, err := w.try(w.policy, SyncOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if f := finding(t, r, report.KindCannot); !strings.Contains(f.Cause, newest.Version) {
				t.Fatalf("%+v", f)
			}
			if _, data, _ := w.mem["b"].Get("c", "n"); string(data) != "older" {
				t.Fatalf("the destination shows %q", data)
			}
			c.after(w)
			w.clock.advance(time.Minute)
			if err := w.mem["a"].DeleteVersion(t.Context(), "c", "n", newest.Version); err != nil {
				t.Fatal(err)
			}
			w.sync()
			if _, data, shown := w.mem["b"].Get("c", "n"); shown {
				t.Errorf("the source shows nothing, the destination %q", data)
			}
			w.alikeHistories("b")
			w.quiet("b")
			w.restart()
		})
	}
}

// What a destination shows is asked for where its listing lags behind what the ledger knows.
func TestWhatIsShownIsNotTakenFromAListingThatLags(t *testing.T) {
	show := func(w *world) {
		if err := w.mem["a"].Revive(w.t.Context(), "c", "n", oldest(w.t, w.mem["a"], "n")); err != nil {
			w.t.Fatal(err)
		}
	}
	showNothing := func(w *world) { // and leave no marker
		marker, err := w.mem["a"].DeleteMarker(w.t.Context(), "c", "n")
		if err == nil {
			err = w.mem["a"].DeleteVersion(w.t.Context(), "c", "n", marker.Version)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	for _, c := range []struct {
		what  string
		first func(w *world)   // what the listing has
		then  []func(w *world) // what it does not, with a pass after each
	}{
		{"shown since, and no more", showNothing, []func(*world){show, showNothing}},
		{"hidden since, and shown again", func(*world) {}, []func(*world){showNothing, show}},
		{"another one, and the first again", func(*world) {}, []func(*world){func(w *world) { w.write("a", "n", "two", nil) }, show}},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := newVersioned(t, "b")
			w.write("a", "keep", "kept", nil)
			w.write("a", "n", "one", nil)
			w.sync()
			c.first(w)
			w.sync()
			w.mem["b"].Freeze("c")
			for _, do := range c.then {
				w.clock.advance(time.Minute)
				do(w)
				w.sync()
			}
			w.mem["b"].Thaw("c")
			w.alikeHistories("b")
			w.quiet("b")
			w.restart()
		})
	}
}

// TestALinkBecomesAnotherWhileVersionsAreSuspended replaces a "null" version without bytes
// by another one without bytes: in listings it looks as if it had got other headers, and no
// POST makes a link of it, or another, or none.
func TestALinkBecomesAnotherWhileVersionsAreSuspended(t *testing.T) {
	link := func(to string) transport.Header {
		return transport.Header{"Content-Type": "text/plain", transport.TargetHeader: "c/" + to}
	}
	kinds := map[string]transport.Header{"a link": link("one"), "another link": link("two"), "an empty object": {"Content-Type": "text/plain"},
		"a dynamic manifest": {"Content-Type": "text/plain", transport.ManifestHeader: "c/part"}}
	for was, before := range kinds {
		for is, after := range kinds {
			if was == is {
				continue
			}
			t.Run(was+" becomes "+is, func(t *testing.T) {
				w := newVersioned(t, "b")
				for _, name := range []string{"one", "two", "part"} {
					w.write("a", name, name, nil)
				}
				w.write("a", "n", "older", nil)
				w.enable("false")
				w.write("a", "n", "", before)
				w.sync()
				w.alikeHistories("b")
				w.clock.advance(time.Minute)
				w.write("a", "n", "", after)
				w.sync()
				w.alikeHistories("b")
				w.quiet("b")
			})
		}
	}
}
