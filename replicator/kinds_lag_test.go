package replicator

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"farshore/replicator/report"
	"farshore/transport"
	tt "farshore/transport/transporttest"
)

// A dynamic manifest's content is what the listing of its region shows (S5): while that
// lags behind the segments that were written there, no manifest is.
func TestADynamicManifestWaitsForTheListing(t *testing.T) {
	for _, shown := range []int{0, 2} { // segments of three that the listing has
		t.Run(fmt.Sprint(shown, " of 3"), func(t *testing.T) {
			w := newWorld(t, "b")
			w.clock.quick.Store(true)
			w.container("a", "more")
			w.container("b", "more")
			w.putAt("a", "c", "later one", "own", nil)
			w.putAt("a", "c", "plain", "p", nil)
			w.sync()
			for i := range 3 {
				w.putAt("a", "more", fmt.Sprint("dyn/", i), fmt.Sprintf("part %d;", i), nil)
				if i < shown {
					w.putAt("b", "more", fmt.Sprint("dyn/", i), fmt.Sprintf("part %d;", i), nil)
				}
			}
			w.mem["b"].Freeze("more")
			w.clock.advance(time.Minute)
			manifest := transport.Header{transport.ManifestHeader: "more/dyn/"}
			w.putAt("a", "c", "dlo", "", manifest)
			if err := w.mem["a"].Post(t.Context(), "c", "later one", manifest); err != nil { // Swift lets a POST make one
				t.Fatal(err)
			}
			w.putAt("a", "c", "plain", "other", nil)
			for pass := range 2 {
				w.forget()
				r, err := w.try(w.policy, SyncOptions{})
				if err != nil || r.Counts[report.KindFailed] != 2 || r.Replicas.Satisfied {
					t.Fatalf("pass %d: %v %+v %+v", pass, err, r.Replicas, r.Findings)
				}
				for _, f := range r.Findings {
					if f.Kind == report.KindFailed && (!strings.Contains(f.Cause, fmt.Sprintf("does not show %d of 3 segments", 3-shown)) || f.Hint == "" || f.Region != "b") {
						t.Errorf("pass %d: %+v", pass, f)
					}
				}
				if o, _, ok := w.mem["b"].Get("c", "dlo"); ok {
					t.Fatalf("pass %d: the manifest was written: %+v", pass, o)
				}
				if o, _, _ := w.mem["b"].Get("c", "later one"); o.Header[transport.ManifestHeader] != "" {
					t.Fatalf("pass %d: an object was made a manifest: %+v", pass, o)
				}
				if _, data, _ := w.mem["b"].Get("c", "plain"); string(data) != "other" {
					t.Fatalf("pass %d: what does not wait was held up: %q", pass, data)
				}
			}
			for i := range 3 {
				if _, _, ok := w.mem["b"].Get("more", fmt.Sprint("dyn/", i)); !ok {
					t.Fatalf("segment %d is not there", i)
				}
			}
			w.mem["b"].Thaw("more")
			w.forget()
			w.sync()
			w.alike("c", "c")
			if o, _, _ := w.mem["b"].Get("c", "dlo"); o.Kind != transport.DLO {
				t.Fatalf("%+v", o)
			}
			puts := slices.DeleteFunc(w.faults["b"].Calls(), func(c tt.Call) bool { return c.Method != tt.Put })
			if len(puts) != 1 {
				t.Errorf("more than the manifest was sent: %+v", puts)
			}
			w.restart()
		})
	}
}
