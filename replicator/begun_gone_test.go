package replicator

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"farshore/policies"
	tt "farshore/transport/transporttest"
)

// What a first pass wrote that was killed before it recorded anything is taken up when the
// source's container is gone as a whole, and its deletes wait for the brake's release.
func TestBegunCopiesOfAContainerThatIsGone(t *testing.T) {
	w := newWorld(t, "b")
	w.policy.Containers = []string{"c*"}
	w.policy.Deletes = policies.Deletes{Propagate: true, After: time.Hour}
	for _, n := range []string{"x", "y", "z"} {
		w.put(n, 1, 10, nil)
	}
	var puts atomic.Int64
	w.faults["b"].OnStep(func(s tt.Step) error {
		if s.Method == tt.Put && s.After {
			puts.Add(1)
		}
		return nil
	})
	w.dies(func() bool { return puts.Load() > 0 })
	if len(w.mem["b"].Names("c")) == 0 {
		t.Fatal("nothing was written")
	}
	w.mem["a"].RemoveContainer("c")
	r, err := w.try(w.policy, SyncOptions{})
	if err != nil || r.Totals.Pending != 3 || len(w.mem["b"].Names("c")) != 3 {
		t.Fatalf("%v %+v", err, r)
	}
	w.clock.advance(2 * time.Hour)
	if r, err = w.try(w.policy, SyncOptions{}); !errors.Is(err, ErrBrake) || r.Brake == "" || len(w.mem["b"].Names("c")) != 3 {
		t.Fatalf("as for any container that is gone, a person decides: %v %+v", err, r)
	}
	if r, err = w.try(w.policy, SyncOptions{ReleaseBrake: r.Brake}); err != nil || r.Totals.Deleted != 3 || len(w.mem["b"].Names("c")) != 0 {
		t.Fatalf("%v %+v, %q are there", err, r, w.mem["b"].Names("c"))
	}
}

// A pass that is killed at any step, after which the source loses a manifest and a segment:
// one more pass leaves nothing of them.
func TestBegunCopiesOfObjectsThatAreGone(t *testing.T) {
	build := func(f *fuse) *world {
		w := newWorld(t, "b")
		w.policy.Containers = []string{"c", "segs"}
		w.policy.Deletes = policies.Deletes{Propagate: true}
		w.policy.Brake.Deletes = -1
		w.container("a", "segs")
		for _, n := range []string{"1", "2", "3"} {
			w.putAt("a", "segs", n, "segment "+n, nil)
		}
		w.putAt("a", "c", "keep", "kept", nil)
		w.slo("c", "x", nil, w.segment("segs", "1"), w.segment("segs", "2"))
		w.arm(f)
		return w
	}
	dry := &fuse{}
	build(dry).sync()
	for at := int64(1); at <= dry.steps.Load(); at++ {
		w := build(&fuse{at: at})
		_, _ = w.try(w.policy, SyncOptions{})
		w.arm(nil)
		w.clock.advance(time.Minute)
		w.mem["a"].Remove("c", "x")
		w.mem["a"].Remove("segs", "1")
		w.sync()
		for _, c := range []string{"c", "segs"} {
			if want, got := w.mem["a"].Names(c), w.mem["b"].Names(c); !slices.Equal(want, got) {
				t.Errorf("stopped at step %d: container %s has %q at the source, %q at the destination", at, c, want, got)
			}
		}
		_ = w.ledger.Close()
	}
}
