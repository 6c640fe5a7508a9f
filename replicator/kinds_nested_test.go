package replicator

import (
	"fmt"
	"testing"

	"farshore/replicator/report"
	"farshore/transport"
	tt "farshore/transport/transporttest"
)

// Manifests of manifests, each needed by two others, are read once each, also where a
// segment at their bottom is gone: nobody can read any of them, and the pass says so of each.
func TestNestedManifestsAreReadOnce(t *testing.T) {
	const levels = 7
	for _, broken := range []bool{false, true} {
		for _, streams := range []int{1, 4} {
			t.Run(fmt.Sprintf("broken %v, %d streams", broken, streams), func(t *testing.T) {
				w := newWorld(t, "b")
				w.limits.Streams = streams
				w.putAt("a", "c", "leaf", "some bytes", nil)
				below := []transport.Part{w.segment("c", "leaf")}
				for level := range levels {
					var here []transport.Part
					for _, side := range []string{"l", "r"} {
						name := fmt.Sprint("m", levels-level, side) // the outermost is walked first
						w.slo("c", name, nil, below...)
						here = append(here, w.segment("c", name))
					}
					below = here
				}
				if broken {
					w.mem["a"].Remove("c", "leaf")
				}
				w.forget()
				r, err := w.try(w.policy, SyncOptions{})
				if err != nil {
					t.Fatal(err)
				}
				read := map[string]int{}
				calls := w.faults["a"].Calls()
				for _, call := range calls {
					if call.Method == tt.Manifest {
						read[call.Name]++
					}
				}
				for name, n := range read {
					if n > 1 {
						t.Errorf("%s was read %d times", name, n)
					}
				}
				if n := len(calls); len(read) != 2*levels || n > 4*2*levels {
					t.Errorf("%d manifests were read with %d requests", len(read), n)
				}
				if said := r.Counts[report.KindFailed]; broken && said != 2*levels || !broken && (said != 0 || r.Replicas.Short != 0) {
					t.Errorf("%d of %d manifests are reported: %+v", said, 2*levels, r.Findings)
				}
			})
		}
	}
}
