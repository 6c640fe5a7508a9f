package replicator

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"farshore/policies"
	"farshore/transport"
)

// wired is a region in memory whose uploads obey limits as they do on the wire, and
// that notes when each object had arrived.
type wired struct {
	transport.Sink
	mu   sync.Mutex
	came map[string]time.Time
}

func (w *wired) Put(ctx context.Context, container, name string, body transport.Body, o transport.PutOptions) (transport.Receipt, error) {
	open := body.Open
	body.Open = func() (io.Reader, error) {
		r, err := open()
		return &paid{ctx, r}, err
	}
	rec, err := w.Sink.Put(ctx, container, name, body, o)
	if err == nil {
		w.mu.Lock()
		w.came[container+"/"+name] = time.Now()
		w.mu.Unlock()
	}
	return rec, err
}

type paid struct {
	ctx context.Context
	r   io.Reader
}

func (p *paid) Read(b []byte) (int, error) {
	n, err := p.r.Read(b[:transport.LimitedSlice(p.ctx, min(len(b), 64<<10))])
	if werr := transport.WaitLimits(p.ctx, n); werr != nil {
		return 0, werr
	}
	return n, err
}

// A backlog that keeps the link busy for hours' worth of another policy's passes does
// not make that policy's few small objects late, whatever the backlog is made of.
func TestABacklogMakesNobodyElseLate(t *testing.T) {
	backlog, limit := int64(24<<20), int64(256<<10) // 96 s of the link
	if os.Getenv("FARSHORE_SCALE") == "full" {
		backlog *= 16
	}
	const rpo, every = 30 * time.Second, 5 * time.Second
	for _, c := range []struct {
		name string
		size func(*rand.Rand) int64
	}{
		{"objects of 3 MiB", func(*rand.Rand) int64 { return 3 << 20 }},
		{"objects of up to 2 MiB", func(r *rand.Rand) int64 { return 64<<10 + r.Int64N(2<<20) }},
		{"in chunks of a MiB", func(*rand.Rand) int64 { return 24 << 20 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seed := rand.Uint64()
				rng := rand.New(rand.NewPCG(seed, 0))
				w := newWorld(t, "b")
				big, small := w.policy, policies.NewPolicy("small", "a", "b")
				big.Name, big.Containers = "big", []string{"c"}
				big.Large = policies.Large{As: policies.Segmented, Over: 16 << 20, Chunk: 1 << 20}
				small.Containers, small.RPO = []string{"s"}, rpo
				if err := w.mem["a"].CreateContainer(t.Context(), "s", nil); err != nil {
					t.Fatal(err)
				}
				for i, left := 0, backlog; left > 0; i++ {
					n := min(c.size(rng), left)
					w.put(fmt.Sprintf("o%04d", i), uint64(i), int(n), nil)
					left -= n
				}
				w.limits = policies.Limits{Streams: 4, Memory: 8 << 20, Total: policies.Rate(limit)}
				to := &wired{Sink: w.mem["b"], came: map[string]time.Time{}}
				e := New(Options{Ledger: w.ledger, Clock: w.clock, Limits: w.limits, SideBySide: true, Regions: map[string]transport.Sink{
					"a": transport.Retry(w.mem["a"], transport.NewLink(transport.LinkOptions{Region: "a"}), transport.RetryPolicy{}),
					"b": transport.Retry(to, transport.NewLink(transport.LinkOptions{Region: "b"}), transport.RetryPolicy{})}})
				pass := func(p policies.Policy) {
					jobs, err := e.Jobs(t.Context(), p)
					if err == nil {
						_, err = e.Sync(t.Context(), p, jobs, SyncOptions{})
					}
					if err != nil {
						t.Errorf("%s: %v", p.Name, err)
					}
				}
				began, ended := time.Now(), make(chan time.Duration, 1)
				go func() {
					pass(big)
					ended <- time.Since(began)
				}()
				time.Sleep(10 * time.Second) // it has taken all that it can
				made := map[string]time.Time{}
				var took time.Duration
				for i := 0; took == 0; i++ {
					for j := range 4 {
						name := fmt.Sprintf("n%04d-%d", i, j)
						w.mem["a"].Set("s", name, fill(uint64(i*4+j), 4<<10), transport.Header{})
						made["s/"+name] = time.Now()
					}
					pass(small)
					select {
					case took = <-ended:
					case <-time.After(every):
					}
				}
				var waits []time.Duration
				for name, at := range made {
					came, ok := to.came[name]
					if !ok {
						t.Fatalf("%s did not arrive", name)
					}
					waits = append(waits, came.Sub(at))
				}
				slices.Sort(waits)
				worst := waits[len(waits)-1]
				t.Logf("seed %d: a backlog of %d MiB took %.0f s at %d KiB/s; beside it %d small objects arrived after %v (median) and %v (worst); RPO %v",
					seed, backlog>>20, took.Seconds(), limit>>10, len(waits), waits[len(waits)/2].Round(time.Millisecond), worst.Round(time.Millisecond), rpo)
				if worst > rpo {
					t.Errorf("an object arrived after %v, the RPO is %v", worst, rpo)
				}
				if floor := float64(backlog) / float64(limit); took.Seconds() > 1.15*floor+5 {
					t.Errorf("the backlog took %.0f s; the link alone needs %.0f: what is kept free for others is lost", took.Seconds(), floor)
				}
				if err := w.ledger.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
