package replicator

import (
	"fmt"
	"sync/atomic"
	"testing"

	"farshore/transport/transporttest"
)

// A pass that finds nothing to do asks the source for the container and its listing,
// the destination for nothing, and writes to the ledger once: that it was made.
func TestAnUnchangedPassIsQuiet(t *testing.T) {
	w := newWorld(t, "b")
	var commits atomic.Int64
	w.hook = func(point string) error {
		if point == "commit:before" {
			commits.Add(1)
		}
		return nil
	}
	w.restart()
	for i := range 50 {
		w.put(fmt.Sprintf("o%d", i), uint64(i), 10, nil)
	}
	w.sync()
	if n := commits.Load(); n < 3 {
		t.Fatalf("%d commits of a first pass: the hook counts nothing", n)
	}
	w.forget()
	commits.Store(0)
	r := w.sync()
	if r.Totals.Unchanged != 50 || commits.Load() != 1 {
		t.Errorf("%d unchanged, %d commits", r.Totals.Unchanged, commits.Load())
	}
	a := w.faults["a"]
	if a.Count(transporttest.Container) != 1 || a.Count(transporttest.List) != 1 || a.Count(transporttest.Split) != 0 || a.Count(transporttest.Head, transporttest.Open) != 0 {
		t.Errorf("asked of the source: %+v", a.Calls())
	}
	if calls := w.faults["b"].Calls(); len(calls) != 0 {
		t.Errorf("asked of the destination: %+v", calls)
	}
}
