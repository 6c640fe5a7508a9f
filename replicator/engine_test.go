package replicator

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/transport"
	tt "farshore/transport/transporttest"
)

var readsAndWrites = []tt.Method{tt.Put, tt.Post, tt.Delete, tt.DeleteMany, tt.PutManifest, tt.Collapse, tt.Head, tt.Open, tt.List, tt.Container, tt.CreateContainer}

func TestFirstUnchangedAndChangedPasses(t *testing.T) {
	w := newWorld(t, "b", "d")
	w.policy.Large = policies.Large{As: policies.Exact, Over: 1 << 20, Chunk: 256 << 10}
	for i := range 50 {
		w.put(fmt.Sprintf("small/%03d", i), uint64(i), i*100, nil)
	}
	w.put("stream", 200, 1<<20-5, nil)
	w.put("large", 201, 3<<20+17, nil)
	r := w.sync()
	w.same("b", "d")
	w.noSegments("b", "d")
	if r.Totals.Copied != 104 || r.Replicas.ByCount[2] != 52 || !r.Replicas.Satisfied {
		t.Fatalf("first pass: %+v %+v", r.Totals, r.Replicas)
	}
	// read once, sent to every destination (design §2)
	if got := w.faults["a"].Bytes(tt.Open); got != r.Totals.Bytes/2 {
		t.Errorf("read %d bytes of the source to send %d", got, r.Totals.Bytes)
	}

	w.forget()
	r = w.sync()
	for _, d := range []string{"b", "d"} {
		if n := w.faults[d].Count(readsAndWrites...); n != 0 {
			t.Errorf("an unchanged pass made %d requests to %s: %+v", n, d, w.faults[d].Calls())
		}
	}
	if n := w.faults["a"].Count(tt.Open, tt.Head); n != 0 || r.Totals.Unchanged != 52 {
		t.Errorf("an unchanged pass read %d objects; %+v", n, r.Totals)
	}

	w.forget()
	w.clock.advance(time.Second)
	w.put("small/001", 77, 100, nil) // overwrite of the same size
	w.put("small/002", 2, 200, transport.Header{"Content-Type": "text/html"})
	w.put("new", 5, 10, nil)
	w.put("large", 202, 3<<20+17, nil)
	w.policy.Deletes = policies.Deletes{Propagate: true}
	w.mem["a"].Remove("c", "small/003")
	r = w.sync()
	w.same("b", "d")
	w.noSegments("b", "d")
	if r.Totals.Metadata != 2 || r.Totals.Copied != 6 || r.Totals.Deleted != 2 {
		t.Errorf("changed pass: %+v", r.Totals)
	}
	if n := w.faults["b"].Count(tt.Post); n != 1 {
		t.Errorf("%d POSTs to b", n)
	}
	w.restart()
}

func TestConflictIsLeftAlone(t *testing.T) {
	w := newWorld(t, "b")
	w.put("x", 1, 10, nil)
	w.put("same", 2, 10, nil)
	if err := w.mem["b"].CreateContainer(t.Context(), "c", nil); err != nil {
		t.Fatal(err)
	}
	w.mem["b"].Set("c", "x", fill(9, 20), nil)
	w.put("same", 2, 10, transport.Header{})
	w.mem["b"].Set("c", "same", fill(2, 10), nil)
	r, err := w.try(w.policy, SyncOptions{})
	if err != nil || r.Counts[report.KindConflict] != 1 || r.Totals.Adopted != 1 || r.Totals.Copied != 0 {
		t.Fatalf("%+v %v", r, err)
	}
	if _, data, _ := w.mem["b"].Get("c", "x"); len(data) != 20 {
		t.Fatal("the foreign object was overwritten")
	}
	// it stays one conflict, and is gone when the object is removed
	if r, _ = w.try(w.policy, SyncOptions{}); r.Counts[report.KindConflict] != 1 {
		t.Fatalf("second pass: %+v", r)
	}
	w.mem["b"].Remove("c", "x")
	w.sync()
	w.same("b")
}

func TestEditAtDestinationIsNotOverwritten(t *testing.T) {
	w := newWorld(t, "b")
	w.put("x", 1, 10, nil)
	w.sync()
	w.clock.advance(5 * time.Second)
	w.mem["b"].Set("c", "x", fill(50, 11), nil)
	w.put("x", 2, 10, nil)
	r, err := w.try(w.policy, SyncOptions{})
	if err != nil || r.Counts[report.KindConflict] != 1 {
		t.Fatalf("%+v %v", r, err)
	}
	if _, data, _ := w.mem["b"].Get("c", "x"); len(data) != 11 {
		t.Fatal("an edit at the destination was lost")
	}
}

func TestWayBack(t *testing.T) {
	w := newWorld(t, "b")
	for i := range 20 {
		w.put(fmt.Sprintf("o%02d", i), uint64(i), 100+i, nil)
	}
	w.sync()
	w.clock.advance(5 * time.Second)
	b := w.mem["b"]
	b.Set("c", "o03", fill(103, 50), nil) // edited at b
	b.Set("c", "new", fill(104, 50), nil)
	b.Remove("c", "o05")
	b.Set("c", "o07", fill(107, 50), nil) // edited on both sides
	w.put("o07", 207, 60, nil)
	back := policies.NewPolicy("back", "b", "a")
	back.Containers = []string{"c"}
	back.Deletes = policies.Deletes{Propagate: true}
	back.Bidirectional, w.policy.Bidirectional = true, true
	w.forget()
	r, err := w.try(back, SyncOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Totals.Copied != 2 || r.Counts[report.KindConflict] != 1 || r.Totals.Deleted != 1 || r.Totals.Adopted != 17 {
		t.Fatalf("way back: %+v %+v", r.Totals, r.Findings)
	}
	if n := w.faults["a"].Count(tt.Put); n != 2 {
		t.Fatalf("%d writes to a", n)
	}
	if _, data, _ := w.mem["a"].Get("c", "o07"); len(data) != 60 {
		t.Fatal("an object edited on both sides was overwritten")
	}
	// nothing loops
	for range 2 {
		w.forget()
		r1, err := w.try(w.policy, SyncOptions{})
		if err != nil {
			t.Fatal(err)
		}
		r2, err := w.try(back, SyncOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if r1.Totals.Copied+r2.Totals.Copied != 0 || r1.Counts[report.KindConflict] != 1 || r2.Counts[report.KindConflict] != 1 {
			t.Fatalf("looping: %+v %+v / %+v %+v", r1.Totals, r1.Findings, r2.Totals, r2.Findings)
		}
	}
	w.restart()
}

func TestBrake(t *testing.T) {
	w := newWorld(t, "b")
	w.policy.Deletes = policies.Deletes{Propagate: true}
	w.policy.Brake = policies.Brake{Deletes: 0.1, Overwrites: policies.Off, AtLeast: 2}
	for i := range 20 {
		w.put(fmt.Sprintf("o%02d", i), uint64(i), 10, nil)
	}
	w.sync()
	for i := range 5 {
		w.mem["a"].Remove("c", fmt.Sprintf("o%02d", i))
	}
	r, err := w.try(w.policy, SyncOptions{})
	if !errors.Is(err, ErrBrake) || r.Brake == "" || len(w.mem["b"].Names("c")) != 20 {
		t.Fatalf("%v %+v", err, r)
	}
	r, err = w.try(w.policy, SyncOptions{ReleaseBrake: r.Brake})
	if err != nil || r.Totals.Deleted != 5 {
		t.Fatalf("%v %+v", err, r)
	}
	w.same("b")

	// an empty source always trips it
	for _, n := range w.mem["a"].Names("c") {
		w.mem["a"].Remove("c", n)
	}
	w.policy.Brake.AtLeast = 1000
	for i := range 3 { // again and again, not only when it is first seen
		r, err = w.try(w.policy, SyncOptions{})
		if !errors.Is(err, ErrBrake) || len(w.mem["b"].Names("c")) != 15 {
			t.Fatalf("pass %d over an empty source: %v %+v", i, err, r)
		}
	}
	empty := r.Brake
	w.mem["a"].RemoveContainer("c")
	if r, err = w.try(w.policy, SyncOptions{ReleaseBrake: empty}); !errors.Is(err, ErrBrake) || len(w.mem["b"].Names("c")) != 15 || r.Brake == empty || r.BrakeReleased {
		t.Fatalf("a source that is gone, with the token of an empty one: %v %+v", err, r)
	}
	r, err = w.try(w.policy, SyncOptions{ReleaseBrake: r.Brake})
	if err != nil || len(w.mem["b"].Names("c")) != 0 || !r.BrakeReleased {
		t.Fatalf("%v %+v %v", err, r.Totals, w.mem["b"].Names("c"))
	}
}

func TestOverwriteBrakeStopsBeforeTheFirst(t *testing.T) {
	w := newWorld(t, "b")
	w.policy.Brake = policies.Brake{Deletes: policies.Off, Overwrites: 0.1, AtLeast: 2}
	for i := range 20 {
		w.put(fmt.Sprintf("o%02d", i), uint64(i), 10, nil)
	}
	w.sync()
	w.clock.advance(3 * time.Second)
	for i := range 5 {
		w.put(fmt.Sprintf("o%02d", i), uint64(100+i), 10, nil)
	}
	w.forget()
	r, err := w.try(w.policy, SyncOptions{})
	if !errors.Is(err, ErrBrake) || w.faults["b"].Count(tt.Put) != 0 {
		t.Fatalf("%v %+v", err, r)
	}
	if r, err = w.try(w.policy, SyncOptions{ReleaseBrake: r.Brake}); err != nil || r.Totals.Copied != 5 {
		t.Fatalf("%v %+v", err, r)
	}
	w.same("b")
}

func TestOneRegionDown(t *testing.T) {
	w := newWorld(t, "b", "d", "e")
	w.policy.Replicas = 2
	for i := range 30 {
		w.put(fmt.Sprintf("o%02d", i), uint64(i), 10000, nil)
	}
	for _, m := range []tt.Method{tt.Put, tt.Head, tt.List, tt.Container, tt.CreateContainer} {
		w.faults["d"].Add(m, tt.Fail(transport.Transient).Times(1<<30))
	}
	r, err := w.try(w.policy, SyncOptions{})
	if err != nil || r.Errors != 0 || !r.Replicas.Satisfied || r.Counts[report.KindRegionDown] != 1 {
		t.Fatalf("%v %+v %+v", err, r.Replicas, r.Findings)
	}
	w.same("b", "e")
	w.faults["d"] = &tt.Faults{}
	w.sync()
	w.same("b", "d", "e")
}

func TestADeadSourceEndsThePass(t *testing.T) {
	w := newWorld(t, "b")
	for i := range 200 {
		w.put(fmt.Sprintf("o%03d", i), uint64(i), 100, nil)
	}
	w.faults["a"].Add(tt.Open, tt.Fail(transport.Transient).Skip(50).Times(1<<30))
	_, err := w.try(w.policy, SyncOptions{})
	if !transport.Is(err, transport.Transient) {
		t.Fatalf("the pass ended with %v", err)
	}
	if n := w.faults["a"].Count(tt.Open); n > 50+3*8 {
		t.Errorf("%d reads of a dead source", n)
	}
	w.faults["a"] = &tt.Faults{}
	w.sync()
	w.same("b")
}

func TestTwoNamesOfOnePlaceAreNotTwoReplicas(t *testing.T) {
	w := newWorld(t, "b")
	w.put("x", 1, 10, nil)
	w.mem["alias"], w.faults["alias"] = w.mem["b"], &tt.Faults{}
	w.policy.To, w.policy.Replicas = []string{"b", "alias"}, 2
	_, err := w.try(w.policy, SyncOptions{})
	var usage *UsageError
	if !errors.As(err, &usage) {
		t.Fatalf("one copy counted as two: %v", err)
	}
}

func TestHeadersChangedAfterAKillArrive(t *testing.T) {
	for _, listed := range []bool{true, false} { // found by the first pass's listing, or by the write that finds the name taken
		w := newWorld(t, "b")
		w.put("first", 1, 10, nil)
		if !listed {
			w.sync()
		}
		for i := range 20 {
			w.put(fmt.Sprintf("o%02d", i), uint64(i), 100, nil)
		}
		var puts atomic.Int64
		var dead atomic.Bool
		w.faults["b"].OnStep(func(s tt.Step) error { // the process dies when all is sent and nothing recorded
			if s.Method == tt.Put && s.After {
				dead.Store(puts.Add(1) >= 20)
			}
			return nil
		})
		w.dies(dead.Load)
		w.clock.ahead.Add(int64(3 * time.Second))
		for i := range 20 {
			w.put(fmt.Sprintf("o%02d", i), uint64(i), 100, transport.Header{"Content-Type": "new/type", "X-Object-Meta-V": "new"})
		}
		w.sync()
		w.same("b")
	}
}

func TestDeletesAreConfirmedAtBothEnds(t *testing.T) {
	w := newWorld(t, "b")
	w.policy.Deletes = policies.Deletes{Propagate: true}
	for _, n := range []string{"gone", "replaced", "unlisted", "stays"} {
		w.put(n, 1, 100, nil)
	}
	w.sync()
	w.clock.advance(5 * time.Second)
	w.mem["b"].Set("c", "replaced", fill(9, 50), nil) // somebody else's now
	for _, n := range []string{"gone", "replaced", "unlisted"} {
		w.mem["a"].Remove("c", n)
	}
	w.mem["a"].Freeze("c")
	w.put("unlisted", 1, 100, nil) // it is there again, and the listing does not show it yet
	r, err := w.try(w.policy, SyncOptions{})
	if err != nil || r.Totals.Deleted != 1 || r.Counts[report.KindConflict] != 1 {
		t.Fatalf("%v %+v %+v", err, r.Totals, r.Findings)
	}
	if got := fmt.Sprint(w.mem["b"].Names("c")); got != "[replaced stays unlisted]" {
		t.Fatalf("the destination has %s", got)
	}
	if _, data, _ := w.mem["b"].Get("c", "replaced"); len(data) != 50 {
		t.Fatal("an object that is not ours was deleted")
	}
}

// What others wrote is adopted, and stays when its source is deleted; what we wrote
// and a lost ledger forgot is known by its stamp.
func TestAdoptedObjectsAreNotDeleted(t *testing.T) {
	w := newWorld(t, "b")
	w.policy.Deletes = policies.Deletes{Propagate: true}
	for i, n := range []string{"ours", "theirs", "stays"} {
		w.put(n, uint64(i), 100, nil)
	}
	w.sync()
	_ = w.ledger.Close()
	w.path += ".new"
	w.open()
	w.mem["b"].Set("c", "theirs", fill(1, 100), nil)
	if r := w.sync(); r.Totals.Adopted != 3 {
		t.Fatalf("%+v", r.Totals)
	}
	w.mem["a"].Remove("c", "ours")
	w.mem["a"].Remove("c", "theirs")
	r := w.sync()
	one(t, r, report.KindForeign, report.Warn, "b", "theirs", "written by others")
	if got := fmt.Sprint(w.mem["b"].Names("c")); got != "[stays theirs]" || r.Totals.Deleted != 1 || r.Totals.Conflicts != 0 {
		t.Fatalf("the destination has %s: %+v", got, r.Totals)
	}
	if r = w.sync(); len(r.Findings) != 0 || r.Totals.Pending != 0 { // once
		t.Fatalf("%+v", r.Findings)
	}
	if _, ok, _ := w.ledger.Get(w.place(), "theirs"); ok {
		t.Error("the ledger still has it")
	}
	w.restart()
}

// A region that does not answer is asked once, not once a container.
func TestADeadRegionIsAskedOnceForAllContainers(t *testing.T) {
	w := newWorld(t, "b", "d")
	w.put("x", 1, 10, nil)
	for i := range 5 {
		c := fmt.Sprintf("c%d", i)
		if err := w.mem["a"].CreateContainer(t.Context(), c, nil); err != nil {
			t.Fatal(err)
		}
		w.mem["a"].Set(c, "x", fill(1, 10), nil)
	}
	w.policy.Containers, w.policy.Replicas = []string{"c*"}, 1
	for _, m := range []tt.Method{tt.Put, tt.Head, tt.List, tt.Container, tt.CreateContainer} {
		w.faults["d"].Add(m, tt.Fail(transport.Transient).Times(1<<30))
	}
	r := w.sync()
	if n := w.faults["d"].Count(readsAndWrites...); n != 1 || r.Counts[report.KindRegionDown] != 1 || r.Totals.Copied != 6 {
		t.Errorf("%d requests: %+v %+v", n, r.Totals, r.Findings)
	}
	w.forget()
	if r = w.audit(AuditOptions{}); w.faults["d"].Count(readsAndWrites...) != 1 || r.Counts[report.KindRegionDown] != 1 || r.Audit.ByRegion["b"] != 6 {
		t.Errorf("%d requests: %+v %+v", w.faults["d"].Count(readsAndWrites...), r.Audit, r.Findings)
	}
	w.faults["d"] = &tt.Faults{}
	w.clock.advance(time.Minute)
	if r = w.sync(); r.Totals.Copied != 6 {
		t.Errorf("it came back: %+v", r.Totals)
	}
}

// The totals of a resumed run add up: what the interrupted pass had left is said apart.
func TestTotalsOfAResumedRunAddUp(t *testing.T) {
	w := newWorld(t, "b")
	for i := range 100 {
		w.put(fmt.Sprintf("o%03d", i), uint64(i), 100, nil)
	}
	var puts atomic.Int64
	w.faults["b"].OnStep(func(s tt.Step) error {
		if s.Method == tt.Put && puts.Add(1) > 40 {
			return errCrash
		}
		return nil
	})
	w.dies(func() bool { return puts.Load() > 40 })
	r := w.sync()
	if !r.Resumed || r.ResumedCopied == 0 || r.Totals.Copied-r.ResumedCopied+r.Totals.Adopted+r.Totals.Unchanged != 100 || r.Totals.Listed != 100 {
		t.Errorf("%d of the interrupted pass; %+v", r.ResumedCopied, r.Totals)
	}
	w.same("b")
}
