package replicator

import (
	"testing"
	"time"

	"farshore/transport"
	tt "farshore/transport/transporttest"
)

// What a change of a history needs at the destination: one write a version, and a look
// before it; nothing else of the history is touched or read.
func TestRequestsOfVersionEdits(t *testing.T) {
	w := newVersioned(t, "b")
	first := w.write("a", "n", "one", nil)
	w.write("a", "n", "two", nil)
	w.write("a", "other", "left alone", nil)
	w.sync()
	for _, c := range []struct {
		what string
		do   func()
		put  map[tt.Method]int
		most int // requests in all
	}{
		{"a version added", func() { w.write("a", "n", "three", nil) }, map[tt.Method]int{tt.Put: 1}, 2},
		{"a delete marker", func() { _ = w.mem["a"].Delete(t.Context(), "c", "n") }, map[tt.Method]int{tt.DeleteMarker: 1}, 2},
		{"an old version deleted", func() {
			if err := w.mem["a"].DeleteVersion(t.Context(), "c", "n", first); err != nil {
				t.Fatal(err)
			}
		}, map[tt.Method]int{tt.DeleteVersion: 1}, 2},
		{"headers of the current one", func() {
			if err := w.mem["a"].Post(t.Context(), "c", "other", transport.Header{"Content-Type": "text/x"}); err != nil {
				t.Fatal(err)
			}
		}, map[tt.Method]int{tt.Post: 1}, 3},
	} {
		w.clock.advance(time.Minute)
		c.do()
		w.forget()
		w.sync()
		w.alikeHistories("b")
		writes := map[tt.Method]int{}
		all := w.faults["b"].Calls()
		for _, call := range all {
			if call.Writes() {
				writes[call.Method]++
			}
		}
		for m, n := range c.put {
			if writes[m] != n || len(writes) != len(c.put) {
				t.Errorf("%s: wrote %v, not %v", c.what, writes, c.put)
			}
		}
		t.Logf("%s: %d requests at the destination", c.what, len(all))
		if len(all) > c.most || w.faults["b"].Count(tt.Open) != 0 {
			t.Errorf("%s: %d requests, %d are enough: %+v", c.what, len(all), c.most, all)
		}
		w.quiet("b")
	}
}
