package replicator

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"

	"farshore/policies"
	"farshore/replicator/report"
	tt "farshore/transport/transporttest"
)

var errCrash = errors.New("crashed here")

// fuse stops the world, all regions and the ledger at once, at a step of the run.
type fuse struct {
	steps atomic.Int64
	at    int64 // 0: never
}

func (f *fuse) step() error {
	if n := f.steps.Add(1); f.at > 0 && n >= f.at {
		return errCrash
	}
	return nil
}

const (
	crashChunk   = 64 << 10
	crashStreams = 4
	crashSmall   = 40
	smallSize    = 1000
)

// crashWorld is three objects of twelve chunks and some small ones.
func crashWorld(t *testing.T, f *fuse, to ...string) *world {
	w := newWorld(t, to...)
	w.policy.Large = policies.Large{As: policies.Exact, Over: crashChunk, Chunk: crashChunk}
	w.limits = policies.Limits{Streams: crashStreams, Memory: 16 * crashChunk}
	for i := range 3 {
		w.put(fmt.Sprintf("large-%d", i), uint64(i), 12*crashChunk-i, nil)
	}
	for i := range crashSmall {
		w.put(fmt.Sprintf("small-%02d", i), uint64(100+i), smallSize, nil)
	}
	w.arm(f)
	return w
}

// arm lets the fuse see every ledger and network action.
func (w *world) arm(f *fuse) {
	_ = w.ledger.Close()
	w.hook = nil
	for _, x := range w.faults {
		x.Revive()
		if f != nil {
			x.OnStep(func(tt.Step) error { return f.step() })
		}
	}
	if f != nil {
		w.hook = func(string) error { return f.step() }
	}
	w.open()
}

// TestCrashAtEveryStep stops the copier at every ledger and network action, and
// restarts it: each restart must end identical, with no more sent twice than
// promise 3 allows, no segment left, no false conflict and a clean ledger.
func TestCrashAtEveryStep(t *testing.T) {
	for _, to := range [][]string{{"b"}, {"b", "d"}} {
		t.Run(fmt.Sprintf("%d destinations", len(to)), func(t *testing.T) { crashEverywhere(t, 60, to...) })
	}
}

func crashEverywhere(t *testing.T, limit int64, to ...string) {
	if s := os.Getenv("FARSHORE_CRASH_STEPS"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		limit = n
	}
	dry := &fuse{}
	w := crashWorld(t, dry, to...)
	w.sync()
	once := int64(0)
	for _, d := range to {
		once += w.faults[d].Bytes(tt.Put)
	}
	total := dry.steps.Load()
	if total < 100 {
		t.Fatalf("only %d steps: the fuse sees nothing", total)
	}
	stride := max(total/limit, 1)
	worst, crashes := int64(0), 0
	for at := int64(1); at <= total; at += stride {
		w := crashWorld(t, &fuse{at: at}, to...)
		_, err := w.try(w.policy, SyncOptions{})
		if err != nil {
			crashes++
		}
		w.arm(nil) // the restart
		w.check2(t, at)
		r, err := w.try(w.policy, SyncOptions{})
		if err != nil {
			t.Fatalf("restart after step %d: %v", at, err)
		}
		if n := r.Counts[report.KindConflict] + r.Counts[report.KindFailed] + r.Counts[report.KindTooFew]; n > 0 {
			t.Fatalf("restart after step %d: %+v", at, r.Findings)
		}
		w.same(to...)
		w.noSegments(to...)
		sent := int64(0)
		for _, d := range to {
			sent += w.faults[d].Bytes(tt.Put)
		}
		twice := sent - once
		worst = max(worst, twice)
		if bound := int64(len(to)) * (crashStreams*crashChunk + crashSmall*smallSize); twice > bound {
			t.Fatalf("restart after step %d: %d bytes sent twice, promise 3 allows %d", at, twice, bound)
		}
		w.restart()
		w.forget()
		if r = w.sync(); r.Totals.Copied != 0 {
			t.Fatalf("after step %d: the pass after the restart copied again: %+v", at, r.Totals)
		}
		_ = w.ledger.Close()
	}
	t.Logf("%d steps, %d crashes, %d bytes sent once, at most %d sent twice", total, crashes, once, worst)
	if crashes < int(total/stride)/2 {
		t.Errorf("only %d of %d runs crashed", crashes, total/stride)
	}
}

func (w *world) check2(t *testing.T, at int64) {
	t.Helper()
	_ = w.ledger.Close()
	w.check()
	if t.Failed() {
		t.Fatalf("the ledger is not clean after a crash at step %d", at)
	}
	w.open()
}

// What arrived before a crash and was then deleted at the source is known again, and
// goes by the rules of deletes.
func TestACopyThatArrivedBeforeACrashIsNotForgotten(t *testing.T) {
	for _, over := range []int64{1 << 20, 1000} { // in one PUT, and in segments
		w := newWorld(t, "b")
		w.policy.Deletes = policies.Deletes{Propagate: true}
		w.policy.Brake = policies.Brake{Deletes: policies.Off, Overwrites: policies.Off}
		w.policy.Large = policies.Large{As: policies.Exact, Over: over, Chunk: crashChunk}
		w.put("stays", 1, 10, nil)
		w.sync()
		w.put("x", 2, 5000, nil)
		arrived := false
		_ = w.ledger.Close()
		w.hook = func(string) error {
			if _, _, ok := w.mem["b"].Get("c", "x"); ok {
				arrived = true
				return errCrash
			}
			return nil
		}
		w.open()
		_, _ = w.try(w.policy, SyncOptions{})
		if !arrived {
			t.Fatal("the copy did not arrive before the crash")
		}
		w.arm(nil)
		w.mem["a"].Remove("c", "x")
		for range 3 {
			w.sync()
		}
		if got := w.mem["b"].Names("c"); len(got) != 1 {
			t.Errorf("over %d: %q is left at b", over, got)
		}
		w.noSegments("b")
		w.restart()
	}
}
