package replicator

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"farshore/policies"
	"farshore/transport"
	tt "farshore/transport/transporttest"
)

// An object that expires while it waits for its turn, while it is read or just before it
// is written is no error: nothing of it arrives, and nothing waits for it afterwards.
func TestAnObjectThatExpiresOnTheWayIsNoError(t *testing.T) {
	const small, streamed, chunked, whole = "1 small", "2 streamed", "3 in chunks", "4 SLO"
	for _, as := range []policies.LargeAs{policies.Exact, policies.Segmented} {
		for name, when := range map[string]func(s tt.Step) bool{
			"before it is read": func(s tt.Step) bool { return (s.Method == tt.Open || s.Method == tt.Manifest) && !s.After },
			"when it was read":  func(s tt.Step) bool { return (s.Method == tt.Open || s.Method == tt.Manifest) && s.After },
			"before it is written": func(s tt.Step) bool {
				return (s.Method == tt.Put || s.Method == tt.PutRaw || s.Method == tt.Collapse || s.Method == tt.PutManifest) && !s.After
			},
		} {
			for _, n := range []string{small, streamed, chunked, whole} {
				t.Run(fmt.Sprint(as, "/", name, "/", n), func(t *testing.T) {
					w := newWorld(t, "b")
					w.policy.Large = policies.Large{As: as, Over: 1 << 20, Chunk: 256 << 10}
					w.container("a", "segs")
					w.putAt("a", "segs", "1", "segment", nil)
					h := transport.Header{"Content-Type": "text/plain", "X-Delete-At": fmt.Sprint(w.clock.Now().Unix() + 30)}
					switch n {
					case small:
						w.put(n, 1, 100, h)
					case streamed:
						w.policy.Large.Over = 4 << 20
						w.put(n, 2, bufferUpTo+1, h)
					case chunked:
						w.put(n, 3, 2<<20, h)
					case whole:
						w.slo("c", n, h, w.segment("segs", "1"))
					}
					w.syncThroughExpiry(when)
					if _, _, ok := w.mem["b"].Get("c", n); ok {
						t.Error("it was written")
					}
					w.noSegments("b")
					if left := w.mem["b"].Names("c_segments"); len(left) > 0 {
						t.Errorf("segments left: %q", left)
					}
					w.put("5 later", 5, 100, nil)
					w.mem["a"].Expire()
					w.mem["b"].Expire()
					w.forget()
					if r := w.sync(); r.Totals.Copied != 1 || r.Totals.Failed != 0 || len(r.Findings) != 0 {
						t.Errorf("the next pass: %+v %+v", r.Totals, r.Findings)
					}
					w.same("b")
					w.restart()
				})
			}
		}
	}
}

// syncThroughExpiry makes a pass in which a minute goes by at the first step of that kind, with no
// error; no intent is left after it.
func (w *world) syncThroughExpiry(when func(tt.Step) bool) {
	w.t.Helper()
	var struck atomic.Bool
	for _, f := range w.faults {
		f.OnStep(func(s tt.Step) error {
			if s.Container != "segs" && when(s) && struck.CompareAndSwap(false, true) {
				w.clock.advance(time.Minute)
			}
			return nil
		})
	}
	r := w.sync()
	if !struck.Load() {
		w.t.Fatal("no step of that kind was made")
	}
	for _, f := range w.faults {
		f.OnStep(nil)
	}
	if r.Totals.Failed != 0 || len(r.Findings) != 0 {
		w.t.Errorf("%+v %+v", r.Totals, r.Findings)
	}
	routes, err := w.ledger.Routes()
	if err != nil || len(routes) == 0 {
		w.t.Fatalf("routes: %v %v", routes, err)
	}
	for _, route := range routes {
		if left, err := w.ledger.Intents(route.ID, "", 10); err != nil || len(left) > 0 {
			w.t.Errorf("intents left: %+v %v", left, err)
		}
	}
}
