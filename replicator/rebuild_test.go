package replicator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
	tt "farshore/transport/transporttest"
)

// loseLedger takes the ledger away and opens an empty one.
func (w *world) loseLedger() {
	w.t.Helper()
	if err := w.ledger.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.check()
	if err := os.Remove(w.path); err != nil {
		w.t.Fatal(err)
	}
	w.open()
}

func (w *world) tryRebuild() (report.Result, error) {
	e := w.engine()
	jobs, err := e.Jobs(context.Background(), w.policy)
	if err != nil {
		return report.Result{}, err
	}
	return e.Rebuild(context.Background(), w.policy, jobs)
}

// rebuild must run, and must write nothing anywhere.
func (w *world) rebuild() report.Result {
	w.t.Helper()
	w.forget()
	r, err := w.tryRebuild()
	if err != nil {
		w.t.Fatalf("rebuild: %v", err)
	}
	for region, f := range w.faults {
		for _, c := range f.Calls() {
			if c.Writes() || c.Method == tt.Open {
				w.t.Errorf("the rebuild did this at %s: %+v", region, c)
			}
		}
	}
	return r
}

func TestRebuildOfAnUnchangedWorld(t *testing.T) {
	for _, as := range []policies.LargeAs{policies.Exact, policies.Segmented} {
		w := mirrored(t, as)
		w.loseLedger()
		r := w.rebuild()
		if r.Totals.Adopted != 44 || r.Replicas.ByCount[2] != 22 || !r.Replicas.Satisfied || len(r.Findings) != 0 {
			t.Errorf("%s: %+v %+v %+v", as, r.Totals, r.Replicas, r.Findings)
		}
		heads := map[policies.LargeAs]int{policies.Exact: 1, policies.Segmented: 2}[as] // the empty object's kind, the segmented one's stamp
		if n := w.faults["b"].Count(readsAndWrites...); n != 2+heads || w.faults["b"].Count(tt.Head) != heads || w.faults["a"].Count(tt.Head) != 1 {
			t.Errorf("%s: %d requests to b: %+v", as, n, w.faults["b"].Calls())
		}
		w.restart()
		w.forget()
		r = w.sync()
		if r.Totals.Copied != 0 || r.Totals.Unchanged != 22 || !r.Replicas.Satisfied || w.faults["b"].Count(readsAndWrites...) != 1 || w.faults["b"].Count(tt.Container) != 1 { // its properties
			t.Errorf("%s: the pass after it: %+v %+v", as, r.Totals, w.faults["b"].Calls())
		}
		w.clean(w.audit(AuditOptions{Read: 1}))
		w.restart()
	}
}

// What changed at the source since the last pass travels, and is no conflict; what
// others wrote stays theirs.
func TestRebuildTellsOursFromTheirs(t *testing.T) {
	for _, as := range []policies.LargeAs{policies.Exact, policies.Segmented} {
		t.Run(string(as), func(t *testing.T) {
			w := mirrored(t, as)
			w.put("small/001", 77, 100, nil) // changed, of the same size
			w.put("large", 78, 2<<20+17, nil)
			w.put("new", 5, 10, nil)
			theirs := []byte("theirs")
			w.mem["b"].Set("c", "small/002", theirs, nil)                                                      // edited there: no stamp
			o, _, _ := w.mem["b"].Get("c", "small/004")                                                        // edited there by a client that keeps metadata,
			w.mem["b"].Set("c", "small/004", theirs, o.Header)                                                 // stamp and all
			w.put("small/005", 5, 5, transport.Header{})                                                       // changed here, and there by
			w.mem["b"].Set("c", "small/005", theirs, transport.Header{transport.OriginHeader: "zz 1 " + md5a}) // another tool's stamp
			w.mem["b"].Set("c", "only there", theirs, nil)
			w.loseLedger()
			r := w.rebuild()
			if r.Counts[report.KindForeign] != 3 || r.Errors != 0 {
				t.Errorf("%+v", r.Findings)
			}
			r, err := w.try(w.policy, SyncOptions{})
			if err != nil || r.Counts[report.KindConflict] != 3 || r.Errors != 4 {
				t.Errorf("%+v %v", r.Findings, err)
			}
			if r.Totals.Copied != 7 || r.Totals.Conflicts != 3 { // small/001, large and new to both, small/005 to d
				t.Errorf("%+v", r.Totals)
			}
			for _, n := range []string{"small/002", "small/004", "small/005", "only there"} {
				if _, data, _ := w.mem["b"].Get("c", n); string(data) != string(theirs) {
					t.Errorf("%s was touched", n)
				}
			}
			w.mem["b"].Remove("c", "only there")
			for _, n := range []string{"small/002", "small/004", "small/005"} {
				w.mem["b"].Remove("c", n)
			}
			w.sync()
			w.same("b", "d")
			w.noSegments("b", "d")
			w.restart()
		})
	}
}

const md5a = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func TestWhichStampsAreBelieved(t *testing.T) {
	source := &transport.Entry{ETag: md5a, Size: 7, Modified: time.UnixMicro(50), Kind: transport.Plain}
	old := "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	for _, c := range []struct {
		stamp, etag string
		size        int64
		kind        transport.Kind
		want        bool
	}{
		{"a 40 " + old, old, 3, transport.Plain, true},
		{"a 50 " + md5a, md5a, 7, transport.Plain, true},
		{"b 40 " + old, old, 3, transport.Plain, false},  // of another region
		{"a 51 " + old, old, 3, transport.Plain, false},  // newer than the source
		{"a 40 " + old, md5a, 3, transport.Plain, false}, // its content is another
		{"a 40 " + old, "slo", 3, transport.SLO, true},
		{"a 50 " + md5a, "slo", 7, transport.SLO, true},
		{"a 50 " + md5a, "slo", 8, transport.SLO, false}, // of the source's content, but longer
		{"a 40 " + old, old, 3, transport.DLO, false},
		{"", old, 3, transport.Plain, false},
	} {
		rep, ok := ownCopy("a", source, transport.Object{ETag: c.etag, Size: c.size, Kind: c.kind, Header: transport.Header{transport.OriginHeader: c.stamp}})
		if ok != c.want || ok && c.kind == transport.SLO && rep.ETag != c.etag {
			t.Errorf("%+v: %v %+v", c, ok, rep)
		}
	}
}

// A source that was put back to an older state must not overwrite newer copies.
func TestRebuildDoesNotBelieveASourceOlderThanItsCopies(t *testing.T) {
	w := newWorld(t, "b")
	w.put("x", 1, 10, nil)
	before, data, _ := w.mem["a"].Get("c", "x")
	w.clock.advance(time.Minute)
	w.put("x", 2, 20, nil)
	w.sync()
	w.clock.advance(-time.Hour) // the restored object's time is an older one
	w.mem["a"] = tt.NewMem(tt.MemOptions{Region: "a", Now: w.clock.Now})
	_ = w.mem["a"].CreateContainer(t.Context(), "c", nil)
	w.mem["a"].Set("c", "x", data, before.Header)
	w.clock.advance(2 * time.Hour)
	w.loseLedger()
	w.rebuild()
	if r, err := w.try(w.policy, SyncOptions{}); err != nil || r.Totals.Conflicts != 1 || r.Totals.Copied != 0 {
		t.Errorf("%+v %v", r.Totals, err)
	}
}

func TestRebuildRefusesALedgerThatKnows(t *testing.T) {
	w := mirrored(t, policies.Exact)
	_, err := w.tryRebuild()
	var u *UsageError
	if !errors.As(err, &u) {
		t.Fatalf("got %v", err)
	}
	w.loseLedger()
	w.rebuild()
	if _, err := w.tryRebuild(); !errors.As(err, &u) {
		t.Errorf("a second time: %v", err)
	}
}

// An interrupted rebuild is gone on with, and one without a region leaves it for later.
func TestRebuildInterruptedAndWithARegionDown(t *testing.T) {
	w := mirrored(t, policies.Segmented)
	w.loseLedger()
	w.faults["d"].Add(tt.List, tt.Fail(transport.Transient))
	r := w.rebuild()
	if r.Totals.Adopted != 22 || r.Counts[report.KindRegionDown] != 1 {
		t.Errorf("%+v %+v", r.Totals, r.Findings)
	}
	w.faults["d"].VerifyUsed(t)
	w.restart()
	if r := w.rebuild(); r.Totals.Adopted != 22 || len(r.Findings) != 0 {
		t.Errorf("the second part: %+v %+v", r.Totals, r.Findings)
	}
	if r := w.sync(); r.Totals.Copied != 0 || r.Totals.Unchanged != 22 || !r.Replicas.Satisfied {
		t.Errorf("%+v", r.Totals)
	}
	w.restart()
}

func TestRebuildNeedsTheSource(t *testing.T) {
	w := mirrored(t, policies.Exact)
	w.loseLedger()
	job := Job{Policy: w.policy, From: Side{"a", "c", ""}, To: []Side{{"b", "c", ""}}}
	e := w.engine()
	w.mem["a"].RemoveContainer("c")
	if _, err := e.Rebuild(t.Context(), w.policy, []Job{job}); !transport.Is(err, transport.NotFound) {
		t.Errorf("without the container: %v", err)
	}
	w.faults["a"].Add(tt.Container, tt.Fail(transport.Denied))
	if _, err := e.Rebuild(t.Context(), w.policy, []Job{job}); !transport.Is(err, transport.Denied) {
		t.Errorf("without the right: %v", err)
	}
}

// Both directions: after a rebuild the way back is known again.
func TestRebuildOfBothDirections(t *testing.T) {
	w := newWorld(t, "b")
	w.policy.Bidirectional = true
	back := policies.NewPolicy("back", "b", "a")
	back.Containers, back.Bidirectional = []string{"c"}, true
	both := func(verb string, do func(policies.Policy) (report.Result, error)) (out []report.Result) {
		for _, p := range []policies.Policy{w.policy, back} {
			r, err := do(p)
			if err != nil || r.Errors > 0 {
				t.Fatalf("%s %s: %v %+v", verb, p.Name, err, r.Findings)
			}
			out = append(out, r)
		}
		return out
	}
	pass := func(p policies.Policy) (report.Result, error) { return w.try(p, SyncOptions{}) }
	for i := range 10 {
		w.put(fmt.Sprintf("n%d", i), uint64(i), 10, nil)
	}
	both("sync", pass)
	w.clock.advance(time.Minute)
	w.mem["b"].Set("c", "n3", []byte("edited there"), nil)
	w.put("n4", 44, 10, nil)
	w.loseLedger()
	both("rebuild", func(p policies.Policy) (report.Result, error) {
		e := w.engine()
		jobs, err := e.Jobs(context.Background(), p)
		if err != nil {
			return report.Result{}, err
		}
		return e.Rebuild(context.Background(), p, jobs)
	})
	w.restart()
	// n3 was edited at b, where a's n3 is native and carries no stamp: whether the edit
	// is newer than a's cannot be told, so it is a conflict; n4 just travels.
	r, err := pass(w.policy)
	if err != nil || r.Totals.Copied != 1 || r.Totals.Conflicts != 1 {
		t.Errorf("%+v %v", r.Totals, err)
	}
	if _, data, _ := w.mem["b"].Get("c", "n3"); string(data) != "edited there" {
		t.Error("n3 was overwritten")
	}
	w.restart()
}

// Two policies may share a source; each is rebuilt once.
func TestRebuildOfTwoPoliciesOnOneSource(t *testing.T) {
	w := newWorld(t, "b", "d")
	one, two := policies.NewPolicy("one", "a", "b"), policies.NewPolicy("two", "a", "d")
	one.Containers, two.Containers = []string{"c"}, []string{"c"}
	w.put("x", 1, 10, nil)
	for _, p := range []policies.Policy{one, two} {
		if _, err := w.try(p, SyncOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	w.loseLedger()
	for _, p := range []policies.Policy{one, two} {
		w.policy = p
		if r := w.rebuild(); r.Totals.Adopted != 1 {
			t.Errorf("%s: %+v", p.Name, r.Totals)
		}
	}
	o, ok, err := w.ledger.Get(w.place(), "x")
	if err != nil || !ok || len(o.Replicas) != 2 || o.Replicas[0].State != store.Confirmed || o.Replicas[1].State != store.Confirmed {
		t.Errorf("%+v %v %v", o, ok, err)
	}
}

// A source that was lost whole gets everything back from its copy, with the same
// ledger, also when that is interrupted; then both directions are at rest.
func TestALostSourceIsFilledFromItsCopy(t *testing.T) {
	w := newWorld(t, "b")
	back := policies.NewPolicy("back", "b", "a")
	back.Containers = []string{"c"}
	for i := range 30 {
		w.put(fmt.Sprintf("n%02d", i), uint64(i), 10+i, nil)
	}
	w.sync()
	want := w.mem["b"].Names("c")
	w.clock.advance(time.Hour)
	w.mem["a"].RemoveContainer("c")
	w.faults["a"].Add(tt.Put, tt.Fail(transport.Permanent).Skip(5).Times(3))
	r, err := w.try(back, SyncOptions{})
	if err != nil || r.Totals.Copied != 27 || r.Totals.Failed != 3 {
		t.Fatalf("%+v %v", r.Totals, err)
	}
	w.faults["a"].VerifyUsed(t)
	w.restart()
	if r, err = w.try(back, SyncOptions{}); err != nil || r.Totals.Copied != 3 || r.Errors != 0 {
		t.Fatalf("%+v %v %+v", r.Totals, err, r.Findings)
	}
	if got := w.mem["a"].Names("c"); len(got) != len(want) {
		t.Fatalf("a has %q", got)
	}
	w.clock.advance(time.Minute)
	for _, p := range []policies.Policy{w.policy, back, w.policy} {
		r, err := w.try(p, SyncOptions{})
		if err != nil || r.Totals.Copied != 0 || r.Totals.Deleted != 0 || r.Errors != 0 || !r.Replicas.Satisfied {
			t.Errorf("%s: %+v %v %+v", p.Name, r.Totals, err, r.Findings)
		}
	}
	w.same("b")
	// From here on a delete is a delete again.
	w.mem["a"].Remove("c", "n03")
	if r, err := w.try(back, SyncOptions{}); err != nil || r.Totals.Copied != 0 {
		t.Errorf("%+v %v", r.Totals, err)
	}
	w.restart()
}

// The same when the pass that fills it is stopped in the middle.
func TestALostSourceIsFilledThroughAnInterruption(t *testing.T) {
	w := newWorld(t, "b")
	w.mem["b"] = tt.NewMem(tt.MemOptions{Region: "b", Now: w.clock.Now, PageSize: 10})
	back := policies.NewPolicy("back", "b", "a")
	back.Containers = []string{"c"}
	for i := range 60 {
		w.put(fmt.Sprintf("n%02d", i), uint64(i), 10+i, nil)
	}
	w.sync()
	w.mem["a"].RemoveContainer("c")
	w.limits.Streams = 1
	ctx, stop := context.WithCancel(t.Context())
	w.faults["b"].Add(tt.Open, tt.Before(stop).Skip(12))
	e := w.engine()
	jobs, err := e.Jobs(ctx, back)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Sync(ctx, back, jobs, SyncOptions{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("it was not interrupted: %v", err)
	}
	if n := len(w.mem["a"].Names("c")); n == 0 || n == 60 {
		t.Fatalf("%d objects arrived before it", n)
	}
	w.restart()
	for range 2 {
		if r, err := w.try(back, SyncOptions{}); err != nil || r.Errors != 0 {
			t.Fatalf("%+v %v %+v", r.Totals, err, r.Findings)
		}
	}
	w.same("b")
	w.restart()
}
