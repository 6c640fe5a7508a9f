package replicator

import (
	"testing"
	"time"

	"farshore/replicator/report"
)

// A version whose segment was not at the source when it was carried is carried once the
// segment is back, in its place: until then no pass writes anything of its name again.
func TestAVersionIsCarriedWhenItsSegmentIsBack(t *testing.T) {
	for _, younger := range []bool{false, true} {
		t.Run(map[bool]string{false: "the newest", true: "an older one"}[younger], func(t *testing.T) {
			w := newVersioned(t, "b", "d")
			w.container("a", "segs")
			w.putAt("a", "segs", "1", "segment", nil)
			w.write("a", "n", "before", nil)
			w.slo("c", "n", nil, w.segment("segs", "1"))
			if younger {
				w.write("a", "n", "after", nil)
			}
			w.mem["a"].Remove("segs", "1")
			broken := func() {
				t.Helper()
				r, err := w.try(w.policy, SyncOptions{})
				if err != nil || r.Counts[report.KindCannot] != 2 {
					t.Fatalf("%v %+v", err, r.Findings)
				}
			}
			broken()
			w.forget()
			broken()
			w.restart()
			broken()
			for _, d := range []string{"b", "d"} {
				if calls := w.faults[d].Calls(); len(calls) > 0 {
					t.Errorf("%s was asked although nothing had changed: %+v", d, calls)
				}
			}
			w.clock.advance(time.Minute)
			w.putAt("a", "segs", "1", "segment", nil)
			w.sync()
			w.alikeHistories("b", "d")
			w.quiet("b", "d")
			w.restart()
		})
	}
}
