package replicator

import (
	"fmt"
	"testing"
	"time"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/transport"
	tt "farshore/transport/transporttest"
)

// edit changes an object's headers in a region as somebody else's POST does.
func (w *world) edit(region, name, value string) {
	w.t.Helper()
	w.clock.advance(3 * time.Second)
	if err := w.mem[region].Post(w.t.Context(), "c", name, transport.Header{"Content-Type": "text/plain", "X-Object-Meta-V": value}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) value(region, name string) string {
	o, _, _ := w.mem[region].Get("c", name)
	return o.Header["X-Object-Meta-V"]
}

// Headers that others changed at the destination are not overwritten by the source's,
// be they seen by a HEAD or by a listing, whatever the object is there.
func TestHeadersEditedOnBothSidesAreOneConflict(t *testing.T) {
	for _, n := range []int{1, headsAtMost + 3} {
		w := newWorld(t, "b")
		w.policy.Large = policies.Large{As: policies.Segmented, Over: 1 << 20, Chunk: 256 << 10}
		for i := range n {
			w.put(fmt.Sprintf("o%02d", i), uint64(i), 100, nil)
		}
		w.put("large", 9, 2<<20, nil)
		w.sync()
		names := w.mem["a"].Names("c")
		for _, name := range names {
			w.edit("a", name, "source")
		}
		w.edit("b", "o00", "theirs")
		w.edit("b", "large", "theirs")
		for pass := range 3 {
			w.forget()
			r, err := w.try(w.policy, SyncOptions{})
			if err != nil || r.Counts[report.KindConflict] != 2 || r.Totals.Conflicts != 2 || pass == 0 && r.Totals.Metadata != int64(n-1) || pass > 0 && r.Totals.Metadata != 0 {
				t.Fatalf("%d objects, pass %d: %v %+v %+v", n, pass, err, r.Totals, r.Findings)
			}
			if w.value("b", "o00") != "theirs" || w.value("b", "large") != "theirs" || w.faults["b"].Count(tt.Put) != 0 {
				t.Fatal("an edit of headers at the destination was lost")
			}
			if r.Replicas.Satisfied || r.Replicas.Short != 2 {
				t.Errorf("they count as replicas: %+v", r.Replicas)
			}
			for _, c := range w.faults["b"].Calls() {
				if pass > 0 && c.Writes() {
					t.Errorf("a pass over conflicts wrote: %+v", c)
				}
			}
			w.restart()
		}
		w.edit("b", "o00", "source") // settled by hand
		w.policy.Takeover = true     // and by the policy
		w.sync()
		w.same("b")
		w.policy.Takeover = false
		w.edit("a", "o00", "later")
		w.edit("a", "large", "later")
		w.sync()
		w.same("b")
	}
}

// A conflict of headers becomes one of bytes when the source's content changes too.
func TestHeaderConflictAndThenOtherBytes(t *testing.T) {
	w := newWorld(t, "b")
	w.put("x", 1, 100, nil)
	w.sync()
	w.edit("b", "x", "theirs")
	w.edit("a", "x", "source")
	if r, err := w.try(w.policy, SyncOptions{}); err != nil || r.Counts[report.KindConflict] != 1 {
		t.Fatalf("%v %+v", err, r)
	}
	w.clock.advance(3 * time.Second)
	w.put("x", 2, 200, nil)
	if r, err := w.try(w.policy, SyncOptions{}); err != nil || r.Counts[report.KindConflict] != 1 || w.value("b", "x") != "theirs" {
		t.Fatalf("%v %+v", err, r)
	}
	w.mem["b"].Remove("c", "x")
	w.sync()
	w.same("b")
}

func TestHeadersEditedOnBothSidesOnTheWayBack(t *testing.T) {
	w := newWorld(t, "b")
	for i := range 10 {
		w.put(fmt.Sprintf("o%02d", i), uint64(i), 100+i, nil)
	}
	w.sync()
	w.edit("b", "o01", "at b")
	w.edit("b", "o02", "at b")
	w.edit("a", "o02", "at a")
	back := policies.NewPolicy("back", "b", "a")
	back.Containers = []string{"c"}
	back.Bidirectional, w.policy.Bidirectional = true, true
	for pass := range 3 { // nothing loops
		w.forget()
		r, err := w.try(back, SyncOptions{})
		if err != nil || r.Counts[report.KindConflict] != 1 || pass > 0 && w.faults["a"].Count(tt.Post) != 0 {
			t.Fatalf("way back %d: %v %+v %+v", pass, err, r.Totals, r.Findings)
		}
		r, err = w.try(w.policy, SyncOptions{})
		if err != nil || r.Counts[report.KindConflict] != 1 || w.faults["b"].Count(tt.Post) != 0 {
			t.Fatalf("way there %d: %v %+v %+v", pass, err, r.Totals, r.Findings)
		}
		if w.value("a", "o01") != "at b" || w.value("a", "o02") != "at a" || w.value("b", "o02") != "at b" {
			t.Fatal("edits did not travel, or were lost")
		}
	}
	w.edit("a", "o01", "at a again")
	w.edit("b", "o03", "at b")
	if r, err := w.try(w.policy, SyncOptions{}); err != nil || r.Counts[report.KindConflict] != 1 || w.value("b", "o01") != "at a again" {
		t.Fatalf("%v %+v", err, r.Findings)
	}
	if r, err := w.try(back, SyncOptions{}); err != nil || r.Counts[report.KindConflict] != 1 || w.value("a", "o03") != "at b" {
		t.Fatalf("%v %+v", err, r.Findings)
	}
	w.restart()
}

// The same, when the way there finds it first.
func TestHeaderConflictIsNotAdoptedOnTheWayBack(t *testing.T) {
	w := newWorld(t, "b")
	w.put("x", 1, 100, nil)
	w.put("y", 2, 100, nil)
	w.sync()
	w.edit("b", "x", "at b")
	w.edit("a", "x", "at a")
	back := policies.NewPolicy("back", "b", "a")
	back.Containers = []string{"c"}
	back.Bidirectional, w.policy.Bidirectional = true, true
	for pass := range 3 {
		for _, p := range []policies.Policy{w.policy, back} {
			r, err := w.try(p, SyncOptions{})
			if err != nil || r.Counts[report.KindConflict] != 1 || w.value("a", "x") != "at a" || w.value("b", "x") != "at b" {
				t.Fatalf("%s %d: %v %+v %+v", p.Name, pass, err, r.Totals, r.Findings)
			}
		}
	}
	w.policy.Takeover = true
	if w.sync(); w.value("b", "x") != "at a" {
		t.Fatal("it was not taken over")
	}
	w.policy.Takeover = false
	for range 2 {
		for _, p := range []policies.Policy{back, w.policy} {
			if r, err := w.try(p, SyncOptions{}); err != nil || len(r.Findings) != 0 || r.Totals.Metadata != 0 {
				t.Fatalf("%s: %v %+v %+v", p.Name, err, r.Totals, r.Findings)
			}
		}
	}
	w.restart()
}

// A change of headers costs the destination the look before a POST, and no more than
// one HEAD an object.
func TestRequestsOfHeaderChanges(t *testing.T) {
	for _, n := range []int{headsAtMost, 20} {
		w := newWorld(t, "b")
		for i := range n {
			w.put(fmt.Sprintf("o%02d", i), uint64(i), 100, nil)
		}
		w.sync()
		for change := range 3 {
			for i := range n {
				w.edit("a", fmt.Sprintf("o%02d", i), fmt.Sprint(change))
			}
			w.forget()
			r := w.sync()
			w.same("b")
			heads, lists := n, 0
			if n > headsAtMost {
				lists = 1
				if change == 0 { // the listing shows that nobody touched what we wrote
					heads = 0
				}
			}
			if b := w.faults["b"]; r.Totals.Metadata != int64(n) || b.Count(tt.Post) != n || b.Count(tt.Head) != heads || b.Count(tt.List) != lists || b.Count(tt.Put) != 0 || w.faults["a"].Count(tt.Head) != n {
				t.Errorf("%d objects, change %d: %d POSTs, %d HEADs, %d listings", n, change, b.Count(tt.Post), b.Count(tt.Head), b.Count(tt.List))
			}
		}
	}
}

// A destination whose POST failed gets the headers later, although the ledger knows
// them from the other destination, and its own older ones are no conflict.
func TestHeadersArriveWhereThePostFailed(t *testing.T) {
	w := newWorld(t, "b", "d")
	w.put("x", 1, 100, nil)
	w.sync()
	for change := range 3 {
		w.edit("a", "x", fmt.Sprint(change))
		w.faults["b"].Add(tt.Post, tt.Fail(transport.Quota))
		if r, err := w.try(w.policy, SyncOptions{}); err != nil || r.Counts[report.KindFailed] != 1 || w.value("d", "x") != fmt.Sprint(change) {
			t.Fatalf("%v %+v", err, r)
		}
		r := w.sync()
		if w.same("b", "d"); r.Totals.Metadata != 1 {
			t.Errorf("%+v", r.Totals)
		}
	}
}

// What a run wrote and could not record any more is no conflict with the next change.
func TestHeadersOfARunThatDiedAreOurs(t *testing.T) {
	w := newWorld(t, "b")
	w.put("x", 1, 100, nil)
	w.sync()
	w.edit("a", "x", "first")
	_ = w.ledger.Close()
	w.hook = func(string) error {
		if w.value("b", "x") == "first" {
			return errCrash
		}
		return nil
	}
	w.open()
	if _, err := w.try(w.policy, SyncOptions{}); err == nil || w.value("b", "x") != "first" {
		t.Fatal("the run was to die after its POST")
	}
	w.arm(nil)
	w.edit("a", "x", "second")
	w.sync()
	w.same("b")
}

// Who may read an object must be able to read its segments: a new container of
// segments has the read ACL of the object's container, and one that is there keeps its own.
func TestSegmentsHaveTheReadACL(t *testing.T) {
	const acl = ".r:*,.rlistings"
	w := newWorld(t, "b", "d")
	w.policy.Large = policies.Large{As: policies.Segmented, Over: 1 << 20, Chunk: 256 << 10}
	for _, r := range []string{"a", "b", "d"} {
		if err := w.mem[r].CreateContainer(t.Context(), "c", transport.Header{"X-Container-Read": acl}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.mem["d"].CreateContainer(t.Context(), "c_segments", transport.Header{"X-Container-Read": "their:own"}); err != nil {
		t.Fatal(err)
	}
	w.put("large", 1, 2<<20, nil)
	w.put("large too", 2, 2<<20, nil)
	w.sync()
	w.same("b", "d")
	for r, want := range map[string]string{"b": acl, "d": "their:own"} {
		if i, err := w.mem[r].Container(t.Context(), "c_segments"); err != nil || i.ReadACL != want {
			t.Errorf("%s: %q %v, want %q", r, i.ReadACL, err, want)
		}
	}
	if n := w.faults["b"].Count(tt.CreateContainer); n != 1 {
		t.Errorf("%d containers were made at b", n)
	}
}
