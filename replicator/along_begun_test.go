package replicator

import (
	"bytes"
	"testing"
	"time"

	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
	tt "farshore/transport/transporttest"
)

// unfinished has b take an object whose reply is lost, and then not tell of it.
func (w *world) unfinished(container, name string) {
	w.t.Helper()
	w.faults["b"].Add(tt.Put, tt.LoseReply(transport.Transient).On(container, name).Times(-1))
	w.faults["b"].Add(tt.PutRaw, tt.LoseReply(transport.Transient).On(container, name).Times(-1))
	w.faults["b"].Add(tt.Head, tt.Fail(transport.Transient).On(container, name).Times(-1))
	r, err := w.try(w.policy, SyncOptions{})
	if err != nil || r.Counts[report.KindFailed] == 0 {
		w.t.Fatalf("%v %+v", err, r.Findings)
	}
	if _, _, ok := w.mem["b"].Get(container, name); !ok {
		w.t.Fatalf("%s/%s did not arrive", container, name)
	}
	w.faults["b"] = &tt.Faults{}
}

// A segment that arrived, heard of or not, and was overwritten at the source before the
// next pass, is ours: a manifest that needs the new one gets it. What comes along for a
// prefix and what is brought by name are two routes into one container.
func TestASegmentOverwrittenAfterItArrivedIsOurs(t *testing.T) {
	for _, c := range []struct {
		first   string
		unheard bool
	}{{"old bytes", true}, {"new bytes", true}, {"old bytes", false}, {"new bytes", false}} {
		w := newWorld(t, "b")
		w.clock.quick.Store(true)
		w.container("a", "more")
		w.putAt("a", "more", "dyn/0", "zero", nil)
		w.putAt("a", "c", "dlo", "", transport.Header{transport.ManifestHeader: "more/dyn/"})
		w.sync()
		w.clock.advance(time.Minute)
		w.putAt("a", "more", "dyn/1", c.first, nil)
		if c.unheard {
			w.unfinished("more", "dyn/1")
		} else {
			w.sync()
		}
		w.restart()
		w.clock.advance(time.Minute)
		w.putAt("a", "more", "dyn/1", "new bytes", nil)
		w.putAt("a", "c", "another dlo", "", transport.Header{transport.ManifestHeader: "more/dyn/"})
		r := w.sync()
		if len(r.Findings) != 0 || !r.Replicas.Satisfied {
			t.Errorf("%+v: %+v", c, r.Findings)
		}
		w.alike("c", "c")
		w.alike("more", "more")
		w.restart()
	}
}

// What one pass over a part of a container wrote is ours for a pass over all of it, and
// the other way round.
func TestAPartAndTheWholeAreSisters(t *testing.T) {
	for _, order := range [][2]string{{"", "dir/"}, {"dir/", ""}} {
		w := newWorld(t, "b")
		run := func(prefix string) report.Result {
			t.Helper()
			e := w.engine()
			side := func(r string) Side { return Side{Region: r, Container: "c", Prefix: prefix} }
			r, err := e.Sync(t.Context(), w.policy, []Job{{Policy: w.policy, From: side("a"), To: []Side{side("b")}}}, SyncOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		w.putAt("a", "c", "dir/x", "one", nil)
		run(order[0])
		run(order[1])
		for _, data := range []string{"two", "three"} {
			w.clock.advance(time.Minute)
			w.putAt("a", "c", "dir/x", data, nil)
			run(order[0])
		}
		w.clock.advance(time.Minute)
		w.putAt("a", "c", "dir/x", "four", nil)
		if r := run(order[1]); len(r.Findings) != 0 || r.Totals.Copied != 1 {
			t.Errorf("%q: %+v %+v", order, r.Totals, r.Findings)
		}
		w.alike("c", "c")
	}
}

// A static large object is replaced by one over other segments with the same bytes: its
// ETag is the same, what it needs is not. So it is after a write that nobody heard of.
func TestAManifestOverOtherSegmentsOfTheSameBytes(t *testing.T) {
	for _, unheard := range []bool{false, true} {
		w := newWorld(t, "b")
		w.clock.quick.Store(true)
		w.policy.Deletes.Propagate = true
		w.container("a", "segs")
		w.container("a", "more")
		w.putAt("a", "segs", "s", "the same", nil)
		w.putAt("a", "more", "s", "the same", nil)
		w.putAt("a", "c", "plain", "p", nil)
		w.putAt("a", "segs", "stays", "x", nil)
		w.sync()
		w.slo("c", "slo", nil, w.segment("segs", "s"))
		if unheard {
			w.unfinished("c", "slo")
		} else {
			w.sync()
		}
		w.clock.advance(time.Minute)
		w.slo("c", "slo", nil, w.segment("more", "s"))
		w.mem["a"].Remove("segs", "s")
		r := w.sync()
		if !r.Replicas.Satisfied || r.Errors != 0 {
			t.Errorf("unheard %v: %+v %+v", unheard, r.Replicas, r.Findings)
		}
		w.alike("c", "c")
		if _, raw, err := w.mem["b"].Manifest(t.Context(), "c", "slo", ""); err != nil || !bytes.Contains(raw, []byte("/more/s")) {
			t.Errorf("unheard %v: the manifest is %s: %v", unheard, raw, err)
		}
		w.restart()
	}
}

// The parts of a dynamic large object are deleted: its container has others, so that no
// brake holds; a container that is empty as a whole still trips it.
func TestAPartOfAContainerThatComesAlongMayEmpty(t *testing.T) {
	for _, whole := range []bool{false, true} {
		w := newWorld(t, "b")
		w.policy.Deletes.Propagate, w.policy.Deletes.After = true, 0
		w.policy.Brake.Deletes = 1
		w.container("a", "more")
		w.putAt("a", "more", "dyn/0", "zero", nil)
		w.putAt("a", "more", "other", "o", nil)
		w.putAt("a", "c", "dlo", "", transport.Header{transport.ManifestHeader: "more/dyn/"})
		w.putAt("a", "c", "plain", "p", nil)
		w.sync()
		w.mem["a"].Remove("c", "dlo")
		w.mem["a"].Remove("more", "dyn/0")
		if whole {
			w.mem["a"].Remove("more", "other")
		}
		r, err := w.try(w.policy, SyncOptions{})
		if brake := r.Counts[report.KindBrake] > 0; brake != whole || (err != nil) != whole {
			t.Errorf("whole %v: %v %+v", whole, err, r.Findings)
		}
		if _, _, there := w.mem["b"].Get("more", "dyn/0"); there != whole {
			t.Errorf("whole %v: the part is at the destination: %v", whole, there)
		}
	}
}

// A container was made with properties, and nobody heard of it: they are ours when the
// source changes them.
func TestPropertiesOfAContainerBegunAreOurs(t *testing.T) {
	w := newWorld(t, "b")
	w.postProps("a", transport.Header{colour: "red"})
	w.putAt("a", "c", "plain", "p", nil)
	w.faults["b"].Add(tt.CreateContainer, tt.LoseReply(transport.Transient).On("c", ""))
	_, _ = w.try(w.policy, SyncOptions{})
	w.wantProps("b", transport.Header{colour: "red"})
	w.restart()
	w.forget()
	w.postProps("a", transport.Header{colour: "blue"})
	if r := w.sync(); len(r.Findings) != 0 {
		t.Errorf("%+v", r.Findings)
	}
	w.wantProps("b", transport.Header{colour: "blue"})
}

// A segment arrives, the run dies at any of its steps, and the source removes the segment.
// It does not stay at the destination, where the manifest would go on showing it.
func TestASegmentRemovedAfterTheRunDiedGoes(t *testing.T) {
	build := func(f *fuse) *world {
		w := newWorld(t, "b")
		w.clock.quick.Store(true)
		w.policy.Deletes.Propagate, w.policy.Deletes.After = true, 0
		w.container("a", "more")
		w.putAt("a", "more", "other", "o", nil)
		w.putAt("a", "c", "plain", "p", nil)
		w.sync()
		w.putAt("a", "more", "dyn/1", "bytes", nil)
		w.putAt("a", "c", "dlo", "", transport.Header{transport.ManifestHeader: "more/dyn/1"})
		w.putAt("a", "c", "link", "", transport.Header{transport.TargetHeader: "more/other", transport.TargetETagHeader: w.segment("more", "other").ETag})
		w.arm(f)
		return w
	}
	goesAfterACrash(t, 4, build, func(w *world) { w.mem["a"].Remove("more", "dyn/1") })
}

// goesAfterACrash has the run of what build makes die at every so many steps, and the source
// remove more/dyn/1: the next run has nothing to say, and the copy is gone.
func goesAfterACrash(t *testing.T, every int64, build func(*fuse) *world, remove func(*world)) {
	dry := &fuse{}
	w := build(dry)
	w.sync()
	for at := int64(1); at <= dry.steps.Load(); at += every {
		w := build(&fuse{at: at})
		_, _ = w.try(w.policy, SyncOptions{})
		w.arm(nil)
		w.clock.advance(time.Minute)
		remove(w)
		if r := w.sync(); len(r.Findings) != 0 {
			t.Errorf("after a crash at step %d: %+v", at, r.Findings)
		}
		if _, _, ok := w.mem["b"].Get("more", "dyn/1"); ok {
			t.Errorf("after a crash at step %d the segment stands at the destination and not at the source", at)
		}
		w.alike("c", "c")
		w.restart()
		w.quiet("b")
		_ = w.ledger.Close()
	}
}

// A segment that one route brought is replaced, another route brings the new one because a
// static link is pinned to it, the run dies at any of its steps, and the source removes both.
// What the other route wrote is not taken for a stranger's.
func TestASegmentReplacedOnAnotherRouteGoes(t *testing.T) {
	build := func(f *fuse) *world {
		w := newWorld(t, "b")
		w.clock.quick.Store(true)
		w.policy.Deletes.Propagate, w.policy.Deletes.After = true, 0
		w.container("a", "more")
		w.putAt("a", "more", "dyn/0", "first", nil)
		w.putAt("a", "more", "dyn/1", "old", nil)
		w.putAt("a", "c", "dlo", "", transport.Header{transport.ManifestHeader: "more/dyn/"})
		w.putAt("a", "c", "plain", "p", nil)
		w.sync()
		w.clock.advance(time.Minute)
		w.putAt("a", "more", "dyn/1", "newer", nil)
		w.putAt("a", "c", "link", "", transport.Header{transport.TargetHeader: "more/dyn/1", transport.TargetETagHeader: w.segment("more", "dyn/1").ETag})
		w.arm(f)
		return w
	}
	goesAfterACrash(t, 1, build, func(w *world) {
		w.mem["a"].Remove("c", "link")
		w.mem["a"].Remove("more", "dyn/1")
	})
}

// A run dies when it has begun to send a link's new headers, and the next one needs the link
// as a segment before its own turn comes: the old link there, which has the same ETag, is
// not taken for the new one.
func TestAnOldLinkIsNotTakenForTheNewOne(t *testing.T) {
	w := newWorld(t, "b")
	w.clock.quick.Store(true)
	w.container("a", "first")
	w.putAt("a", "c", "target", "the target's bytes", nil)
	w.putAt("a", "c", "link", "", transport.Header{transport.TargetHeader: "c/target", "X-Object-Meta-R": "1"})
	run := func() report.Result {
		t.Helper()
		var jobs []Job
		for _, c := range []string{"first", "c"} {
			jobs = append(jobs, Job{Policy: w.policy, From: Side{Region: "a", Container: c}, To: []Side{{Region: "b", Container: c}}})
		}
		r, err := w.engine().Sync(t.Context(), w.policy, jobs, SyncOptions{})
		if err != nil || r.Errors > 0 {
			t.Fatalf("%v %+v", err, r.Findings)
		}
		return r
	}
	w.putAt("a", "first", "plain", "p", nil)
	run()
	w.clock.advance(time.Minute)
	w.putAt("a", "c", "link", "", transport.Header{transport.TargetHeader: "c/target", "X-Object-Meta-R": "2"})
	link, err := w.mem["a"].Head(t.Context(), "c", "link")
	if err != nil {
		t.Fatal(err)
	}
	routes, err := w.ledger.Routes()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		if r.Route.From.Container == "c" {
			if err := w.ledger.AddIntents(t.Context(), []store.Intent{{Route: r.ID, Name: "link", Version: versionOf(link), ETag: link.ETag}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	part := w.segment("c", "target")
	part.Name = "link"
	w.slo("first", "slo", nil, part)
	run()
	if o, _, ok := w.mem["b"].Get("c", "link"); !ok || o.Header["X-Object-Meta-R"] != "2" {
		t.Errorf("the link has %v", o.Header)
	}
}
