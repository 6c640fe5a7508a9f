package replicator

import (
	"bytes"
	"os"
	"strconv"
	"testing"
	"time"

	"farshore/replicator/report"
	"farshore/transport"
)

// TestCrashAtEveryStepOfEveryKind stops a first pass over every kind of object, and a
// pass over changes of each, at every action. Whatever is visible at the destination
// then is a version that the source had: never a manifest or a static link without
// what it needs.
func TestCrashAtEveryStepOfEveryKind(t *testing.T) {
	limit := int64(60)
	if s := os.Getenv("FARSHORE_CRASH_STEPS"); s != "" {
		limit, _ = strconv.ParseInt(s, 10, 64)
	}
	for _, changed := range []bool{false, true} {
		build := func(f *fuse) (*world, map[string][][]byte) {
			w := newWorld(t, "b")
			w.furnish()
			versions := map[string][][]byte{}
			w.remember(versions)
			if changed {
				w.sync()
				w.clock.advance(time.Minute)
				w.change()
				w.remember(versions)
			}
			w.arm(f)
			return w, versions
		}
		dry := &fuse{}
		w, _ := build(dry)
		w.sync()
		total := dry.steps.Load()
		if total < 40 {
			t.Fatalf("only %d steps: the fuse sees nothing", total)
		}
		stride := max(total/limit, 1)
		crashes := 0
		for at := int64(1); at <= total; at += stride {
			w, versions := build(&fuse{at: at})
			if _, err := w.try(w.policy, SyncOptions{}); err != nil {
				crashes++
			}
			w.arm(nil)
			w.check2(t, at)
			w.visible(at, versions)
			r, err := w.try(w.policy, SyncOptions{})
			if err != nil {
				t.Fatalf("restart after step %d: %v", at, err)
			}
			if n := r.Counts[report.KindConflict] + r.Counts[report.KindFailed] + r.Counts[report.KindTooFew]; n > 0 {
				t.Fatalf("restart after step %d: %+v", at, r.Findings)
			}
			w.alike("c", "c")
			w.alike("segs", "segs")
			w.restart()
			w.forget()
			w.sync()
			if n := w.faults["b"].Count(); n != 0 {
				t.Fatalf("after step %d: the pass after the restart made %d requests to the destination", at, n)
			}
			_ = w.ledger.Close()
		}
		t.Logf("changed %v: %d steps, %d crashes", changed, total, crashes)
		if crashes < int(total/stride)/2 {
			t.Errorf("only %d of %d runs crashed", crashes, total/stride)
		}
	}
}

// change changes one object of each kind.
func (w *world) change() {
	w.putAt("a", "c", "soft", "", transport.Header{transport.TargetHeader: "c/slo"})
	w.putAt("a", "segs", "fresh", "new segment", nil)
	w.slo("c", "slo", nil, w.segment("segs", "fresh"), w.segment("segs", "s%41/0"))
	w.putAt("a", "c", "ranges", "plain now", nil)
	w.slo("c", "plain", nil, w.segment("segs", "s%41/1"))
	w.putAt("a", "more", "target", "pinned anew", nil)
	w.putAt("a", "c", "0static", "", transport.Header{transport.TargetHeader: "more/target", transport.TargetETagHeader: w.segment("more", "target").ETag})
}

// remember adds what each object of c reads as now.
func (w *world) remember(versions map[string][][]byte) {
	for _, n := range w.mem["a"].Names("c") {
		_, data, _ := w.mem["a"].Get("c", n)
		versions[n] = append(versions[n], data)
	}
}

// visible asserts that every object at b reads as one that the source had. Of a DLO and of
// a link to another container the content is whatever stands there, as at the source.
func (w *world) visible(at int64, versions map[string][][]byte) {
	w.t.Helper()
	for _, n := range w.mem["b"].Names("c") {
		o, data, ok := w.mem["b"].Get("c", n)
		if o.Kind == transport.Symlink && o.Header[transport.TargetETagHeader] == "" {
			continue
		}
		good := false
		for _, v := range versions[n] {
			good = good || ok && bytes.Equal(v, data)
		}
		if !good {
			w.t.Fatalf("after step %d %q is visible at b as a %s of %q, which the source never had", at, n, o.Kind, data)
		}
	}
}
