package replicator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/transport"
	tt "farshore/transport/transporttest"
)

// away is a region that is down at times.
type away struct {
	transport.Sink
	is      atomic.Bool
	refuses bool // connections
	hangs   bool // it takes them, and says nothing
	asked   atomic.Int64
}

// stall is when a connection is cut at which nothing comes.
const stall = time.Minute

func (a *away) err(ctx context.Context) error {
	a.asked.Add(1)
	if a.is.Load() {
		if a.hangs {
			select {
			case <-ctx.Done():
			case <-time.After(stall):
			}
		}
		err := errors.New("nobody answers")
		if a.refuses {
			err = &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		}
		return &transport.Error{Op: "ask", Region: "b", Class: transport.Transient, Err: err}
	}
	return nil
}

func (a *away) Put(ctx context.Context, container, name string, body transport.Body, o transport.PutOptions) (transport.Receipt, error) {
	if err := a.err(ctx); err != nil {
		return transport.Receipt{}, err
	}
	return a.Sink.Put(ctx, container, name, body, o)
}

func (a *away) Account(ctx context.Context) (transport.AccountInfo, error) {
	if err := a.err(ctx); err != nil {
		return transport.AccountInfo{}, err
	}
	return a.Sink.Account(ctx)
}

// What was never sent to a region that is back goes there at once too: that its container
// answers is an answer. A copier of names that finds nothing to send says no more of an
// outage that is over.
func TestFirstContactAfterAnOutage(t *testing.T) {
	w := newWorld(t, "b")
	b := &away{Sink: w.mem["b"]}
	e := New(Options{Ledger: w.ledger, Clock: w.clock, Limits: w.limits, Regions: map[string]transport.Sink{"a": w.mem["a"], "b": b}})
	down := func() {
		b.is.Store(true)
		e.breaker("b").fail(b.err(t.Context()))
		b.is.Store(false)
		w.clock.advance(2 * tryAgain)
	}
	for i := range 40 {
		w.put(fmt.Sprintf("o%02d", i), uint64(i), 10, nil)
	}
	down()
	jobs, err := e.Jobs(t.Context(), w.policy)
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.Sync(t.Context(), w.policy, jobs, SyncOptions{})
	if err != nil || r.Totals.Copied != 40 || len(r.Findings) != 0 {
		t.Errorf("%v: copied %d of 40, findings %+v", err, r.Totals.Copied, r.Findings)
	}

	down()
	names := make(chan transport.Entry)
	close(names)
	f := report.NewFindings(nil, nil)
	res, err := e.CopyNames(t.Context(), CopyJob{Policy: w.policy, From: Side{Region: "a", Container: "c"}, To: []Side{{Region: "b", Container: "other"}}}, names, f)
	if err != nil || len(res.Down) != 0 {
		t.Errorf("%v: down %v", err, res.Down)
	}
}

// An engine that lives through an outage puts nothing off once the region answers again,
// and does not go on to say that it is down.
func TestARegionThatIsBackGetsEverything(t *testing.T) {
	w := newWorld(t, "b")
	w.put("first", 1, 10, nil)
	b := &away{Sink: w.mem["b"]}
	e := New(Options{Ledger: w.ledger, Clock: w.clock, Limits: w.limits, Regions: map[string]transport.Sink{"a": w.mem["a"], "b": b}})
	pass := func() report.Result {
		t.Helper()
		return w.passBy(e)
	}
	pass()
	b.is.Store(true)
	for i := range 40 {
		w.put(fmt.Sprintf("o%02d", i), uint64(i), 10, nil)
	}
	if r := pass(); r.Totals.Copied != 0 || r.Counts[report.KindRegionDown] != 1 {
		t.Fatalf("copied %d, findings %v", r.Totals.Copied, r.Counts)
	}
	w.clock.advance(2 * tryAgain)
	if r := pass(); r.Totals.Copied != 0 || r.Counts[report.KindRegionDown] != 1 {
		t.Fatalf("copied %d, findings %v", r.Totals.Copied, r.Counts)
	}
	w.clock.advance(tryAgain)
	b.is.Store(false)
	if r := pass(); r.Totals.Copied != 40 || r.Totals.Failed != 0 || r.Errors > 0 {
		t.Errorf("the first pass after it: copied %d, failed %d, %+v", r.Totals.Copied, r.Totals.Failed, r.Findings)
	}
	if r := pass(); r.Counts[report.KindRegionDown] != 0 {
		t.Errorf("the second pass after it: %+v", r.Findings)
	}
	w.same("b")
}

// A region that does not answer costs the others a moment once it is known, and not a cycle
// of retries in each pass: whether connections to it are refused, or nobody says a word.
func TestARegionThatIsDownHoldsNobodyUp(t *testing.T) {
	for how, most := range map[string]time.Duration{"refuses": 0, "hangs": probeFor} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "b", "d")
				w.policy.Replicas = 1
				b := &away{Sink: w.mem["b"], refuses: how == "refuses", hangs: how == "hangs"}
				e := New(Options{Ledger: w.ledger, Clock: w.clock, Limits: w.limits, Regions: map[string]transport.Sink{"a": w.mem["a"],
					"b": transport.Retry(b, nil, transport.RetryPolicy{}), "d": transport.Retry(w.mem["d"], nil, transport.RetryPolicy{})}})
				w.put("first", 1, 10, nil)
				w.passBy(e)
				b.is.Store(true)
				w.put("found", 2, 10, nil)
				w.passBy(e) // as long as it takes: the region is found to be down
				for i := range 5 {
					time.Sleep(2 * tryAgain)
					name := fmt.Sprint("o", i)
					w.put(name, uint64(i), 10, nil)
					b.asked.Store(0)
					began := time.Now()
					r := w.passBy(e)
					if took := time.Since(began); took > most || b.asked.Load() > 1 || w.copies("c", name, "d") != 1 || r.Counts[report.KindRegionDown] != 1 {
						t.Errorf("pass %d took %s and asked the region %d times; %d copies, %v", i, took, b.asked.Load(), w.copies("c", name, "d"), r.Counts)
					}
				}
				b.is.Store(false)
				time.Sleep(2 * tryAgain)
				if r := w.passBy(e); r.Counts[report.KindRegionDown] != 0 || r.Totals.Copied != 6 {
					t.Errorf("after it: %+v %v", r.Totals, r.Counts)
				}
				w.same("b", "d")
			})
		})
	}
}

// Policies share a region: what one says of it when it is down does not name an object of
// another.
func TestARegionThatIsDownIsSaidWithoutAnothersObject(t *testing.T) {
	e := &Engine{o: Options{Clock: &tt.Quick{}}, breakers: map[string]*breaker{}}
	since := e.o.Clock.Now()
	e.breaker("b").open(&transport.Error{Op: "put", Region: "b", Container: "secret", Name: "salaries", TxID: "tx1", Class: transport.Transient, Err: errors.New("nobody answers")})
	f := report.NewFindings(nil, nil)
	e.regionFindings(policies.NewPolicy("docs", "a", "b"), since, f)
	if all := f.List(); len(all) != 1 || all[0].Cause != "put (region b): nobody answers" {
		t.Errorf("%+v", all)
	}
}
