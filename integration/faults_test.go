package integration

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"farshore/integration/fakecloud"
)

// faultWorld is a small data set with something of every way of copying: empty,
// buffered, streamed and cut into chunks.
type faultWorld struct {
	t        *testing.T
	cloud    *fakecloud.Cloud
	one, two *fakecloud.Region
	f        *farshore
	policy   string
	flags    []string
}

const faultPolicy = `
regions:
  one: {cloud: one}
  two: {cloud: two}
limits: {streams: 8}
policies:
  - name: faults
    from: one
    to: [two]
    containers: [data]
    large: {as: exact, over: 4MiB, chunk: 1MiB}
`

func newFaultWorld(t *testing.T, o fakecloud.Options) *faultWorld {
	w := &faultWorld{t: t}
	w.cloud, w.f = fake(t, o, "one", "two")
	w.one, w.two = w.cloud.Region("one"), w.cloud.Region("two")
	w.one.CreateContainer("data")
	for i := range 60 {
		w.put(fmt.Sprintf("small/%02d", i), uint64(i), i*500)
	}
	w.put("streamed", 900, 3<<20)
	w.put("large", 901, 6<<20+5)
	w.policy = w.f.policyFile(faultPolicy)
	return w
}

func (w *faultWorld) put(name string, seed uint64, n int) {
	w.one.Put("data", name, content(seed, n), map[string]string{"Content-Type": "text/plain", "X-Object-Meta-Seed": fmt.Sprint(seed)})
}

func (w *faultWorld) sync() output {
	w.t.Helper()
	return w.f.run(append([]string{"sync", "-f", w.policy}, w.flags...)...)
}

// converge runs passes until one ends with 0, at most n. After each, whatever the
// ledger calls confirmed must be true, and every finding must be complete.
func (w *faultWorld) converge(n int) output {
	w.t.Helper()
	for i := range n {
		o := w.sync()
		w.nothingFalse()
		w.complete(o)
		if o.Exit == 0 {
			equal(w.t, w.one, w.two, "data", "data")
			w.f.checkLedger()
			if left := w.two.Names(".farshore-segments"); len(left) > 0 {
				w.t.Errorf("%d segments left behind: %q", len(left), left[:1])
			}
			return o
		}
		w.t.Logf("pass %d: exit %d, %v", i+1, o.Exit, o.JSON.Result.Policies)
	}
	w.t.Fatalf("not converged after %d passes", n)
	return output{}
}

// complete asserts that every error names item, region, cause and hint.
func (w *faultWorld) complete(o output) {
	w.t.Helper()
	for _, p := range o.JSON.Result.Policies {
		for _, x := range p.Findings {
			if x.Level != "info" && (x.Cause == "" || x.Hint == "" || x.Kind == "failed" && (x.Region == "" || x.Container == "" || x.Name == "")) {
				w.t.Errorf("a finding is incomplete: %+v", x)
			}
			if strings.Contains(x.Cause, fakecloud.Password) {
				w.t.Errorf("a finding tells the password: %+v", x)
			}
		}
	}
	if e := o.JSON.Error; e != nil && (e.Cause == "" || e.Hint == "") {
		w.t.Errorf("the error is incomplete: %+v", *e)
	}
}

// nothingFalse asserts that every replica the ledger confirms is really there.
func (w *faultWorld) nothingFalse() {
	w.t.Helper()
	for _, r := range w.f.dump() {
		if r.Type != "object" {
			continue
		}
		for _, rep := range r.Replicas {
			if rep.State != "confirmed" {
				continue
			}
			want := rep.ETag
			if want == "" && rep.Version != nil {
				want = rep.Version.ETag
			} else if want == "" {
				want = r.ETag
			}
			if got, ok := w.two.Get("data", r.Name); !ok || got.ETag != want {
				w.t.Fatalf("the ledger says %q is confirmed with ETag %s, region two has %q", r.Name, want, got.ETag)
			}
		}
	}
}

func TestFaults(t *testing.T) {
	get := fakecloud.Match{Method: "GET", Class: fakecloud.ClassObject}
	put := fakecloud.Match{Method: "PUT", Class: fakecloud.ClassObject}
	with := func(m fakecloud.Match, skip, times int) fakecloud.Match { m.Skip, m.Times = skip, times; return m }
	named := func(m fakecloud.Match, name string, times int) fakecloud.Match {
		m.Name, m.Times = name, times
		return m
	}
	// what is armed gives how often it struck
	on := func(r *fakecloud.Region, m fakecloud.Match, a fakecloud.Action) func() int {
		id := r.AddFault(fakecloud.Fault{Match: m, Do: a})
		return func() int { return r.FaultCount(id) }
	}
	onOne := func(m fakecloud.Match, a fakecloud.Action) func(*faultWorld) func() int {
		return func(w *faultWorld) func() int { return on(w.one, m, a) }
	}
	onTwo := func(m fakecloud.Match, a fakecloud.Action) func(*faultWorld) func() int {
		return func(w *faultWorld) func() int { return on(w.two, m, a) }
	}
	storm := func(code int) fakecloud.Action { return fakecloud.Status(code, nil) }
	cases := []struct {
		name   string
		arm    func(*faultWorld) func() int
		passes int
	}{
		{"498 storm at the destination", onTwo(fakecloud.Match{Class: fakecloud.ClassObject, Rate: 0.3, Seed: 1, Times: 40}, storm(498)), 2},
		{"503 storm at the destination", onTwo(fakecloud.Match{Class: fakecloud.ClassObject, Rate: 0.3, Seed: 2, Times: 40}, storm(503)), 2},
		{"429 storm at the source", onOne(fakecloud.Match{Class: fakecloud.ClassObject, Rate: 0.3, Seed: 3, Times: 40}, storm(429)), 2},
		{"500 on the listing", onOne(fakecloud.Match{Class: fakecloud.ClassListing, Times: 2}, storm(500)), 1},
		{"source body cut by a reset", onOne(with(get, 3, 10), fakecloud.Truncate(400, fakecloud.CutReset)), 2},
		{"source body closed early", onOne(with(get, 3, 10), fakecloud.Truncate(400, fakecloud.CutClose)), 2},
		{"source body short and clean", onOne(with(get, 3, 10), fakecloud.Truncate(400, fakecloud.CutShortLength)), 2},
		{"source body chunked, ends early and clean", onOne(with(get, 3, 10), fakecloud.Truncate(400, fakecloud.CutChunked)), 2},
		{"stream cut in the middle", onOne(named(get, "streamed", 3), fakecloud.Truncate(1<<20, fakecloud.CutReset)), 2},
		{"bits flipped on the way from the source", onOne(with(get, 20, 5), fakecloud.FlipReply(7)), 3},
		{"bits flipped in the stream", onOne(named(get, "streamed", 1), fakecloud.FlipReply(1<<20)), 3},
		{"bits flipped in a chunk", onOne(named(get, "large", 1), fakecloud.FlipReply(5)), 3},
		{"bits flipped on the way to the destination", onTwo(with(put, 20, 5), fakecloud.FlipRequest(7)), 3},
		{"bits flipped in a manifest", onTwo(fakecloud.Match{Method: "PUT", Query: "multipart-manifest=put", Times: 2}, fakecloud.FlipRequest(7)), 1},
		{"request cut at the destination", onTwo(with(put, 20, 6), fakecloud.TruncateRequest(100)), 2},
		{"reply lost after the object was stored", onTwo(with(put, 10, 8), fakecloud.LoseReply()), 2},
		{"connection reset", onTwo(fakecloud.Match{Rate: 0.2, Seed: 4, Times: 20}, fakecloud.Reset()), 2},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newFaultWorld(t, fakecloud.Options{})
			struck := c.arm(w)
			o := w.converge(c.passes)
			if struck() == 0 {
				t.Error("the fault struck nothing, and proves nothing")
			}
			for _, r := range []*fakecloud.Region{w.one, w.two} { // how often those with a rate strike is left to their seed
				if err := r.VerifyFaultsUsed(); err != nil && !strings.Contains(c.name, "storm") && c.name != "connection reset" {
					t.Error(err)
				}
			}
			if n := o.JSON.Result.Policies[0].Totals.Conflicts; n > 0 {
				t.Errorf("%d false conflicts", n)
			}
		})
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	w := newFaultWorld(t, fakecloud.Options{})
	var mu sync.Mutex
	var refused time.Time
	var after []time.Duration
	w.two.OnRequest(func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if !refused.IsZero() {
			after = append(after, time.Since(refused))
		}
	})
	w.two.AddFault(fakecloud.Fault{Match: fakecloud.Match{Method: "PUT", Class: fakecloud.ClassObject, Prefix: "small/", Skip: 10, Times: 1, Func: func(*http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		refused = time.Now()
		return true
	}}, Do: fakecloud.Status(503, map[string]string{"Retry-After": "4"})})
	w.converge(1)
	if err := w.two.VerifyFaultsUsed(); err != nil {
		t.Fatal(err)
	}
	late := 0
	for _, d := range after { // those under way when the 503 came arrive at once; the whole link is silent then
		if d > 1500*time.Millisecond && d < 3800*time.Millisecond {
			t.Errorf("a request came %v after a Retry-After of 4 s", d)
		}
		if d >= 3800*time.Millisecond {
			late++
		}
	}
	if late == 0 {
		t.Errorf("no request came after the pause: %v", after)
	}
}

func TestTokensExpireInMidTransfer(t *testing.T) {
	w := newFaultWorld(t, fakecloud.Options{})
	var n atomic.Int64
	w.two.OnRequest(func(r *http.Request) {
		if r.Method == http.MethodPut {
			if n.Add(1)%15 == 0 {
				w.one.ExpireTokens()
				w.two.ExpireTokens()
			}
		}
	})
	o := w.converge(1)
	if tw := o.JSON.Result.Policies[0].Totals; tw.Failed > 0 {
		t.Errorf("%d copies failed", tw.Failed)
	}
}

func TestStallIsCut(t *testing.T) {
	for name, arm := range map[string]func(*faultWorld){
		"source before headers": func(w *faultWorld) {
			w.one.AddFault(fakecloud.Fault{Match: fakecloud.Match{Method: "GET", Name: "small/30", Times: 1}, Do: fakecloud.Stall()})
		},
		"source in mid-body": func(w *faultWorld) {
			w.one.AddFault(fakecloud.Fault{Match: fakecloud.Match{Method: "GET", Name: "streamed", Times: 1}, Do: fakecloud.StallReply(1 << 20)})
		},
		"destination in mid-body": func(w *faultWorld) {
			w.two.AddFault(fakecloud.Fault{Match: fakecloud.Match{Method: "PUT", Name: "streamed", Times: 1}, Do: fakecloud.StallRequest(1 << 20)})
		},
		"destination after storing": func(w *faultWorld) {
			w.two.AddFault(fakecloud.Fault{Match: fakecloud.Match{Method: "PUT", Name: "small/31", Times: 1}, Do: fakecloud.HangReply()})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFaultWorld(t, fakecloud.Options{})
			arm(w)
			w.flags = []string{"--stall", "2s"}
			began := time.Now()
			w.converge(1)
			if d := time.Since(began); d < 2*time.Second || d > 50*time.Second {
				t.Errorf("a stall of 2 s was cut after %v", d)
			}
		})
	}
}

func TestListingsLag(t *testing.T) {
	w := newFaultWorld(t, fakecloud.Options{})
	w.converge(1)
	w.one.SetListingLag(time.Hour)
	w.two.SetListingLag(time.Hour)
	w.put("small/01", 5001, 500)
	w.one.Delete("data", "small/02")
	w.put("new", 5002, 10)
	o := w.sync() // sees the old listing: nothing may go wrong
	w.nothingFalse()
	if o.Exit != 0 || o.JSON.Result.Policies[0].Totals.Deleted != 0 {
		t.Fatalf("exit %d: %s", o.Exit, o.Stdout)
	}
	w.one.FlushListings()
	w.one.SetListingLag(0)
	o = w.sync() // the source's changes show, the destination's listing still lags
	if o.Exit != 0 || o.JSON.Result.Policies[0].Totals.Conflicts != 0 || o.JSON.Result.Policies[0].Totals.Copied != 2 {
		t.Fatalf("exit %d: %s", o.Exit, o.Stdout)
	}
	w.put("small/01", 5003, 500)
	o = w.sync()
	if o.Exit != 0 || o.JSON.Result.Policies[0].Totals.Conflicts != 0 {
		t.Fatalf("our own write, not listed yet, became a conflict: %s", o.Stdout)
	}
}

func TestReplacedWhileRead(t *testing.T) {
	w := newFaultWorld(t, fakecloud.Options{})
	for _, name := range []string{"streamed", "large", "small/40"} {
		w.one.AddFault(fakecloud.Fault{Match: fakecloud.Match{Method: "GET", Name: name, Times: 1}, Do: fakecloud.Hook(100, func() { w.put(name, 7000, 5<<20) })})
	}
	o := w.sync() // it may carry either version of each, but whole
	w.nothingFalse()
	w.complete(o)
	if err := w.one.VerifyFaultsUsed(); err != nil {
		t.Error(err)
	}
	w.converge(1)
}

func TestDestinationDiesAndReturns(t *testing.T) {
	w := newFaultWorld(t, fakecloud.Options{})
	var n atomic.Int64
	w.two.OnRequest(func(r *http.Request) {
		if r.Method == http.MethodPut {
			if n.Add(1) == 20 {
				go func() {
					_ = w.two.Stop()
					time.Sleep(1500 * time.Millisecond)
					_ = w.two.Start()
				}()
			}
		}
	})
	w.converge(3)
	_ = w.two.Stop()
	w.put("small/05", 6000, 100)
	o := w.sync()
	if o.Exit == 0 {
		t.Fatalf("a dead destination was not reported: %s", o.Stdout)
	}
	w.complete(o)
	_ = w.two.Start()
	w.converge(1)
}
