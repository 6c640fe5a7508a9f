package replicator

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"farshore/transport"
	tt "farshore/transport/transporttest"
)

// Idle containers are looked at ever more rarely, what changes at once, and what a pass
// says of the replicas is always of all of them.
func TestWatching(t *testing.T) {
	w := newWorld(t, "b")
	w.policy.Containers, w.policy.Watch, w.policy.Every = []string{"*"}, 10*time.Second, 10*time.Minute
	for i := range 5 {
		c := fmt.Sprintf("c%d", i)
		if err := w.mem["a"].CreateContainer(t.Context(), c, nil); err != nil {
			t.Fatal(err)
		}
		w.mem["a"].Set(c, "x", fill(uint64(i), 100), nil)
	}
	w.put("y", 1, 100, nil)
	e := w.engine()
	objects := int64(6)
	pass := func() (seen []string) {
		t.Helper()
		w.forget()
		jobs, err := e.Jobs(t.Context(), w.policy)
		if err != nil {
			t.Fatal(err)
		}
		r, err := e.Sync(t.Context(), w.policy, jobs, SyncOptions{Watching: true})
		if err != nil {
			t.Fatal(err)
		}
		if r.Replicas.Objects != objects || !r.Replicas.Satisfied && r.Totals.Failed == 0 {
			t.Fatalf("%+v of %d objects %+v", r.Replicas, objects, r.Findings)
		}
		for _, c := range w.faults["a"].Calls() {
			if c.Method == tt.List {
				seen = append(seen, c.Container)
			}
		}
		w.clock.advance(10 * time.Second)
		return seen
	}
	if n := len(pass()); n != 6 {
		t.Fatalf("%d containers at first", n)
	}
	// an hour in which nothing changes
	looks := map[string]int{}
	for range 360 {
		for _, c := range pass() {
			looks[c]++
		}
	}
	for c, n := range looks {
		// ten passes on the way to ten minutes, then one each, less a tenth
		if n < 6 || n > 15 {
			t.Errorf("%s was looked at %d times in an hour", c, n)
		}
	}
	if len(looks) != 6 {
		t.Errorf("looked at %v", looks)
	}
	// one more object: at once, and again by the next pass
	w.mem["a"].Set("c3", "new", fill(9, 10), nil)
	objects++
	for i, within := range []bool{true, true} {
		if got := fmt.Sprint(pass()); (got == "[c3]" || len(got) > 4) != within {
			t.Errorf("pass %d after a change looked at %s", i, got)
		}
	}
	if w.copies("c3", "new", "b") != 1 {
		t.Error("the new object is not at b")
	}
	// overwritten by as many bytes: nothing shows it, and it is found after every at the latest
	w.mem["a"].Set("c4", "x", fill(77, 100), nil)
	passes := 0
	for ; w.copies("c4", "x", "b") != 1; passes++ {
		if pass(); passes > 61 {
			t.Fatal("the overwrite was not found within every")
		}
	}
	// what fails is looked at each time
	w.mem["a"].Set("c1", "x", fill(78, 101), nil)
	w.faults["b"].Add(tt.Put, tt.Fail(transport.Permanent).On("c1", "x").Times(3))
	for i := range 3 {
		if got := pass(); !slices.Contains(got, "c1") {
			t.Errorf("pass %d with a failure looked at %v", i, got)
		}
	}
	pass()
	if w.copies("c1", "x", "b") != 1 {
		t.Error("what failed three times is not at b")
	}
	// a person, or farshore sync, sees everything
	w.forget()
	jobs, err := e.Jobs(t.Context(), w.policy)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Sync(t.Context(), w.policy, jobs, SyncOptions{}); err != nil || w.faults["a"].Count(tt.List) != 6 {
		t.Errorf("%d of 6 looked at, %v", w.faults["a"].Count(tt.List), err)
	}
}
