package replicator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/transport"
)

func (w *world) stamp(region, name string) string {
	w.t.Helper()
	o, _, ok := w.mem[region].Get("c", name)
	if !ok {
		w.t.Fatalf("%q is not at %s", name, region)
	}
	return o.Header[transport.OriginHeader]
}

// A stamp says where the bytes at one place came from, and is never carried further: not
// by a policy that sets none, and not where another one takes its place or has none left.
func TestAStampIsNotCarriedFurther(t *testing.T) {
	full := transport.Header{"Content-Type": "text/plain"}
	for i := range 90 {
		full[fmt.Sprintf("X-Object-Meta-N%02d", i)] = "v"
	}
	crowded := full.Clone() // as one more would be too much, the older stamp being the 90th
	delete(crowded, "X-Object-Meta-N00")
	const older = "elsewhere 40 " + md5a
	crowded[transport.OriginHeader] = older
	for _, stamp := range []bool{true, false} {
		w := newWorld(t, "b")
		w.policy.Stamp = stamp
		w.put("free", 1, 10, transport.Header{transport.OriginHeader: older})
		w.put("large", 2, 2<<20, transport.Header{transport.OriginHeader: older})
		w.put("crowded", 3, 10, crowded)
		w.put("full", 4, 10, full)
		w.policy.Large = policies.Large{As: policies.Segmented, Over: 1 << 20, Chunk: 256 << 10}
		r := w.sync()
		w.same("b")
		for n, room := range map[string]bool{"free": true, "large": true, "crowded": true, "full": false} {
			got := w.stamp("b", n)
			if want := stamp && room; strings.HasPrefix(got, "a ") != want || !want && got != "" {
				t.Errorf("stamp: %v: %q has the stamp %q", stamp, n, got)
			}
		}
		if n := r.Counts[report.KindStamp]; stamp && n != 1 || !stamp && n != 0 {
			t.Errorf("stamp: %v: %+v", stamp, r.Findings)
		}
		w.edit("a", "free", "1") // as a client does that sends all metadata again
		o, _, _ := w.mem["a"].Get("c", "free")
		h := o.Header.Clone()
		h[transport.OriginHeader] = older
		if err := w.mem["a"].Post(t.Context(), "c", "free", h); err != nil {
			t.Fatal(err)
		}
		w.sync()
		if got := w.stamp("b", "free"); w.value("b", "free") != "1" || strings.HasPrefix(got, "a ") != stamp || !stamp && got != "" {
			t.Errorf("stamp: %v: after a change of headers it is %q", stamp, got)
		}
	}
}

// What comes back to the region it came from is the object that it was: without a stamp.
// What was written at the other side gets one, and the way there does not hand it back.
func TestTheStampIsRemovedOnTheWayBack(t *testing.T) {
	for _, stamp := range []bool{true, false} {
		w := newWorld(t, "b")
		back := policies.NewPolicy("back", "b", "a")
		back.Containers = []string{"c"}
		back.Bidirectional, w.policy.Bidirectional = true, true
		back.Stamp = stamp
		want := transport.Header{"Content-Type": "text/plain", "X-Object-Meta-Own": "kept"}
		w.put("lost", 1, 10, want)
		w.put("edited", 2, 10, nil)
		w.sync()
		if !strings.HasPrefix(w.stamp("b", "lost"), "a ") {
			t.Fatal("the way there set no stamp")
		}
		w.clock.advance(time.Hour)
		w.mem["a"].RemoveContainer("c")
		if r, err := w.try(back, SyncOptions{}); err != nil || r.Totals.Copied != 2 || r.Errors != 0 {
			t.Fatalf("%v %+v %+v", err, r.Totals, r.Findings)
		}
		if o, _, _ := w.mem["a"].Get("c", "lost"); len(o.Header) != len(want) || o.Header["X-Object-Meta-Own"] != "kept" {
			t.Errorf("stamp: %v: it came back with %v", stamp, o.Header)
		}
		w.clock.advance(time.Minute)
		w.putAt("b", "c", "edited", "at b", nil)
		if r, err := w.try(back, SyncOptions{}); err != nil || r.Totals.Copied != 1 || r.Errors != 0 {
			t.Fatalf("%v %+v %+v", err, r.Totals, r.Findings)
		}
		if got := w.stamp("a", "edited"); strings.HasPrefix(got, "b ") != stamp || !stamp && got != "" {
			t.Errorf("stamp: %v: what was written at b has at a %q", stamp, got)
		}
		if r := w.sync(); r.Totals.Copied+r.Totals.Metadata != 0 || w.stamp("b", "edited") != "" {
			t.Errorf("stamp: %v: it went round: %+v", stamp, r.Totals)
		}
		w.restart()
	}
}
