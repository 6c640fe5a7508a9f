package replicator

import (
	"fmt"
	"strings"
	"testing"

	"farshore/replicator/report"
	"farshore/transport"
)

// Listings show a dynamic manifest as an object of no bytes. Neither is adopted as the
// copy of the other; what is the same is, and nothing is sent for it.
func TestKindsAgreeBeforeAnythingIsAdopted(t *testing.T) {
	dlo := transport.Header{"Content-Type": "text/plain", transport.ManifestHeader: "parts/d/"}
	empty := transport.Header{"Content-Type": "text/plain"}
	for what, x := range map[string]struct {
		source, there transport.Header
		conflict      bool
	}{
		"an empty object for a manifest": {dlo, empty, true},
		"a manifest for an empty object": {empty, dlo, true},
		"another manifest":               {dlo, transport.Header{"Content-Type": "text/plain", transport.ManifestHeader: "parts/e/"}, true},
		"the same manifest":              {dlo, dlo, false},
		"the same empty object":          {empty, empty, false},
	} {
		for _, versions := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, versions %v", what, versions), func(t *testing.T) {
				w := newWorld(t, "b")
				w.container("a", "parts")
				w.container("b", "c")
				if versions {
					w.enable("true")
					if err := w.mem["b"].PostContainer(t.Context(), "c", transport.Header{versionsHeader: "true"}, nil); err != nil {
						t.Fatal(err)
					}
				}
				w.putAt("a", "parts", "d/1", "part", nil)
				w.putAt("a", "c", "x", "", x.source)
				w.putAt("b", "c", "x", "", x.there)
				for range 2 { // the second pass finds the same as the first
					r, err := w.try(w.policy, SyncOptions{})
					if err != nil {
						t.Fatal(err)
					}
					if (r.Counts[report.KindConflict] > 0) != x.conflict || (r.Totals.Conflicts > 0) != x.conflict {
						t.Fatalf("conflict %v expected: %+v %+v", x.conflict, r.Totals, r.Findings)
					}
					if r.Replicas.Satisfied == x.conflict {
						t.Fatalf("%+v", r.Replicas)
					}
				}
				got, err := w.mem["b"].Head(t.Context(), "c", "x")
				if err != nil || got.Header[transport.ManifestHeader] != x.there[transport.ManifestHeader] || got.Header[transport.OriginHeader] != "" {
					t.Fatalf("what stood there was touched: %+v %v", got, err)
				}
				if !x.conflict {
					w.forget()
					w.sync()
					if n := w.faults["b"].Count(); n != 0 {
						t.Errorf("an unchanged pass made %d requests to the destination", n)
					}
				}
				w.restart()
			})
		}
	}
}

// A conflict that is looked at again is not adopted for its looks either.
func TestARecheckAsksForTheKind(t *testing.T) {
	w := newWorld(t, "b")
	w.container("a", "parts")
	w.container("b", "c")
	w.putAt("a", "parts", "d/1", "part", nil)
	w.putAt("a", "c", "x", "own", transport.Header{"Content-Type": "text/plain", transport.ManifestHeader: "parts/d/"})
	w.putAt("b", "c", "x", "theirs", nil)
	if r, err := w.try(w.policy, SyncOptions{}); err != nil || r.Totals.Conflicts != 1 {
		t.Fatalf("%v %+v", err, r.Totals)
	}
	w.putAt("b", "c", "x", "own", transport.Header{"Content-Type": "text/plain"}) // the manifest's own bytes, and no manifest
	r, err := w.try(w.policy, SyncOptions{})
	if err != nil || r.Totals.Conflicts != 1 || r.Replicas.Short != 1 {
		t.Fatalf("%v %+v %+v", err, r.Totals, r.Findings)
	}
}

// A ledger that is rebuilt takes an empty object for no manifest.
func TestARebuiltLedgerAsksForKinds(t *testing.T) {
	w := newWorld(t, "b")
	w.container("a", "parts")
	w.container("b", "c")
	w.putAt("a", "parts", "d/1", "part", nil)
	w.putAt("a", "c", "dlo", "", transport.Header{"Content-Type": "text/plain", transport.ManifestHeader: "parts/d/"})
	w.putAt("a", "c", "empty", "", transport.Header{"Content-Type": "text/plain"})
	for _, n := range []string{"dlo", "empty"} {
		w.putAt("b", "c", n, "", transport.Header{"Content-Type": "text/plain"})
	}
	w.rebuild()
	r, err := w.try(w.policy, SyncOptions{})
	if err != nil || r.Totals.Conflicts != 1 {
		t.Fatalf("%v %+v %+v", err, r.Totals, r.Findings)
	}
	if f := finding(t, r, report.KindConflict); f.Name != "dlo" {
		t.Errorf("%+v", f)
	}
	w.forget()
	if _, err := w.try(w.policy, SyncOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range w.faults["b"].Calls() {
		if strings.HasSuffix(c.Name, "empty") && c.Writes() {
			t.Errorf("the adopted object is written: %+v", c)
		}
	}
}
