package replicator

import (
	"errors"
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
