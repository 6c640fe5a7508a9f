package replicator

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/store/storetest"
	"farshore/transport"
	"farshore/transport/transporttest"
)

// world is a source region and some destinations in memory, with a ledger that
// can be closed and opened like a restarted program's.
type world struct {
	t      *testing.T
	path   string
	ledger *store.Ledger
	mem    map[string]*transporttest.Mem
	faults map[string]*transporttest.Faults
	policy policies.Policy
	clock  *ticker
	limits policies.Limits
	hook   func(string) error
}

// ticker is a clock that a test moves.
type ticker struct {
	ahead atomic.Int64
	quick atomic.Bool // waits are over at once, and have taken their time all the same
}

func (c *ticker) NewTimer(d time.Duration) transport.Timer {
	if c.quick.Load() {
		c.advance(d)
		return transporttest.Rung(c.Now())
	}
	return transport.SystemClock{}.NewTimer(d)
}

func (c *ticker) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *ticker) advance(d time.Duration) { c.ahead.Add(int64(d)) }

func newWorld(t *testing.T, to ...string) *world {
	t.Helper()
	w := &world{t: t, path: filepath.Join(t.TempDir(), "ledger.db"), mem: map[string]*transporttest.Mem{}, faults: map[string]*transporttest.Faults{}, clock: &ticker{}}
	for _, r := range append([]string{"a"}, to...) {
		w.mem[r] = transporttest.NewMem(transporttest.MemOptions{Region: r, Now: w.clock.Now})
		w.faults[r] = &transporttest.Faults{}
	}
	if err := w.mem["a"].CreateContainer(t.Context(), "c", nil); err != nil {
		t.Fatal(err)
	}
	w.policy = policies.NewPolicy("p", "a", to...)
	w.policy.Containers = []string{"c"}
	w.limits = policies.Limits{Streams: 4, Memory: 8 << 20}
	w.open()
	return w
}

func (w *world) open() {
	w.t.Helper()
	l, err := store.Open(w.path, store.Options{Hook: w.hook, NoSync: true})
	if err != nil {
		w.t.Fatal(err)
	}
	w.ledger = l
	w.t.Cleanup(func() { _ = l.Close() })
}

// restart closes the ledger (a crashed one with an error) and opens it again, after checking it.
func (w *world) restart() {
	w.t.Helper()
	_ = w.ledger.Close()
	w.check()
	w.open()
}

func (w *world) check() {
	w.t.Helper()
	storetest.MustCheck(w.t, w.path)
}

func (w *world) engine() *Engine {
	regions := map[string]transport.Sink{}
	for name, m := range w.mem {
		regions[name] = transporttest.Faulty(m, w.faults[name])
	}
	return New(Options{Ledger: w.ledger, Regions: regions, Clock: w.clock, Limits: w.limits})
}

func (w *world) try(p policies.Policy, o SyncOptions) (report.Result, error) {
	return tryBy(w.engine(), p, o)
}

func tryBy(e *Engine, p policies.Policy, o SyncOptions) (report.Result, error) {
	jobs, err := e.Jobs(context.Background(), p)
	if err != nil {
		return report.Result{}, err
	}
	return e.Sync(context.Background(), p, jobs, o)
}

// passBy is a pass of an engine of its own, which must run; its findings are the caller's to judge.
func (w *world) passBy(e *Engine) report.Result {
	w.t.Helper()
	r, err := tryBy(e, w.policy, SyncOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// dies makes a pass in a process that dies: it commits nothing any more once dead says so.
func (w *world) dies(dead func() bool) {
	w.t.Helper()
	w.hook = func(string) error {
		if dead() {
			return errCrash
		}
		return nil
	}
	_ = w.ledger.Close()
	w.open()
	if _, err := w.try(w.policy, SyncOptions{}); err == nil {
		w.t.Fatal("the run was to die")
	}
	w.arm(nil)
}

// sync makes a pass that must run without an error finding.
func (w *world) sync() report.Result {
	w.t.Helper()
	r, err := w.try(w.policy, SyncOptions{})
	if err != nil {
		w.t.Fatalf("sync: %v", err)
	}
	if r.Errors > 0 {
		w.t.Fatalf("sync: findings %+v", r.Findings)
	}
	return r
}

func (w *world) forget() {
	for _, f := range w.faults {
		f.Forget()
	}
}

// same asserts that container c is equal at a and every destination of to, but for the stamp.
func (w *world) same(to ...string) {
	w.t.Helper()
	names := w.mem["a"].Names("c")
	for _, r := range to {
		if got := w.mem[r].Names("c"); !slices.Equal(got, names) {
			w.t.Fatalf("region %s has %q, the source %q", r, got, names)
		}
		for _, n := range names {
			want, data, _ := w.mem["a"].Get("c", n)
			got, copied, _ := w.mem[r].Get("c", n)
			if !bytes.Equal(data, copied) {
				w.t.Fatalf("%q differs at %s: %d bytes, the source has %d", n, r, len(copied), len(data))
			}
			if want.Header.Digest() != got.Header.Digest() {
				w.t.Fatalf("%q at %s has headers %v, the source %v", n, r, got.Header, want.Header)
			}
			if want.ETag != got.ETag && w.policy.Large.As != policies.Segmented {
				w.t.Fatalf("%q at %s has ETag %s, the source %s", n, r, got.ETag, want.ETag)
			}
		}
	}
}

// noSegments asserts that nothing of a transfer is left behind.
func (w *world) noSegments(to ...string) {
	w.t.Helper()
	for _, r := range to {
		if got := w.mem[r].Names(segmentContainer); len(got) > 0 {
			w.t.Fatalf("region %s still has segments %q", r, got)
		}
	}
}

// fill gives a deterministic content.
func fill(seed uint64, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(n)}).Read(b)
	return b
}

func (w *world) put(name string, seed uint64, n int, h transport.Header) {
	if h == nil {
		h = transport.Header{"Content-Type": "text/plain", "X-Object-Meta-Seed": fmt.Sprint(seed)}
	}
	w.mem["a"].Set("c", name, fill(seed, n), h)
}
