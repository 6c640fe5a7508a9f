package replicator

import (
	"errors"
	"math"
	"testing"
	"time"

	"farshore/policies"
	"farshore/replicator/lag"
	"farshore/replicator/report"
	"farshore/transport"
	tt "farshore/transport/transporttest"
)

// lagWorld is a world whose engine tells a tracker.
type lagWorld struct {
	*world
	tracker *lag.Tracker
	events  []report.Event
}

func (w *lagWorld) follow() {
	w.t.Helper()
	w.tracker = lag.New(lag.Options{Clock: w.clock, Memory: w.ledger, OnEvent: func(e report.Event) { w.events = append(w.events, e) }})
	if err := w.tracker.Follow([]lag.Terms{{Policy: "p", Regions: w.policy.To, RPO: w.policy.RPO}}, nil); err != nil {
		w.t.Fatal(err)
	}
}

func newLagWorld(w *world) *lagWorld {
	w.policy.RPO = 30 * time.Minute
	x := &lagWorld{world: w}
	x.follow()
	return x
}

func (w *lagWorld) pass() (report.Result, error) {
	e := w.engine()
	e.o.Lag = w.tracker
	return tryBy(e, w.policy, SyncOptions{})
}

// lag asserts how far a region is behind. The clock goes on by itself while a test runs,
// so minutes are compared.
func (w *lagWorld) lag(region string, minutes float64, items, stuck int64) report.Lag {
	w.t.Helper()
	for _, l := range w.tracker.Lags() {
		if l.Region != region {
			continue
		}
		if math.Abs(l.Known/60-minutes) > 1 || l.Items != items || l.Stuck != stuck || l.Known > l.AtMost || items == 0 && l.Known != 0 {
			w.t.Fatalf("%s is %.1f min behind with %d items, %d stuck, instead of %.1f, %d, %d", region, l.Known/60, l.Items, l.Stuck, minutes, items, stuck)
		}
		return l
	}
	w.t.Fatalf("nothing is known of %s", region)
	return report.Lag{}
}

// down has region d answer nothing.
func (w *lagWorld) down() {
	for _, m := range append([]tt.Method{tt.HeadVersion, tt.Versions, tt.PutRaw, tt.PostContainer, tt.DeleteMarker, tt.DeleteVersion}, readsAndWrites...) {
		w.faults["d"].Add(m, tt.Fail(transport.Transient).Times(1<<30))
	}
}

// TestLagOfAPass carries all kinds of changes to two regions, of which one is down for an
// hour: known are those that it lacks, and since when.
func TestLagOfAPass(t *testing.T) {
	w := newLagWorld(newWorld(t, "b", "d"))
	w.policy.Deletes = policies.Deletes{Propagate: true}
	w.put("from before", 1, 10, nil)
	w.put("changed", 2, 10, nil)
	w.put("touched", 3, 10, nil)
	w.put("deleted", 4, 10, nil)
	w.put("large", 5, 3<<20, nil)
	w.policy.Large.Over, w.policy.Large.Chunk = 1<<20, 1<<20
	w.mem["b"].Set("c", "foreign", []byte("others wrote this"), nil)
	w.put("foreign", 6, 10, nil)
	if r, err := w.pass(); err != nil {
		t.Fatal(err, r.Findings)
	}
	if l := w.lag("b", 0, 0, 1); l.Past.Items != 5 || l.Past.Max > 60 {
		t.Errorf("%+v", l.Past)
	}
	w.lag("d", 0, 0, 0)

	w.down()
	w.clock.advance(10 * time.Minute)
	w.put("changed", 7, 20, nil)
	w.put("new", 8, 30, nil)
	if err := w.mem["a"].Post(t.Context(), "c", "touched", transport.Header{"Content-Type": "text/html"}); err != nil {
		t.Fatal(err)
	}
	w.mem["a"].Remove("c", "deleted")
	w.clock.advance(10 * time.Minute)
	w.pass() //nolint:errcheck // a region is down: what it says is not asked here
	l := w.lag("b", 0, 0, 1)
	if l.Past.Items != 9 || math.Abs(l.Past.P99/60-10) > 1 {
		t.Errorf("%+v", l.Past)
	}
	w.lag("d", 10, 4, 0)
	w.clock.advance(10 * time.Minute)
	w.put("changed", 9, 20, nil) // the oldest change counts
	w.pass()                     //nolint:errcheck // as above
	w.lag("d", 20, 4, 0)
	w.lag("b", 0, 0, 1)
	w.tracker.Tick()
	if len(w.events) != 0 {
		t.Fatalf("%+v", w.events)
	}
	w.clock.advance(15 * time.Minute)
	w.tracker.Tick()
	if len(w.events) != 1 || w.events[0].Kind != report.EventLate || w.events[0].Region != "d" || w.events[0].Items < 3 {
		t.Fatalf("%+v", w.events)
	}
	w.restart() // killed: the tracker knows it all the same
	w.follow()
	w.lag("d", 35, 4, 0)
	w.faults["d"] = &tt.Faults{}
	if r, err := w.pass(); err != nil {
		t.Fatal(err, r.Findings)
	}
	w.lag("d", 0, 0, 0)
	for range 2 {
		w.tracker.Tick()
		w.clock.advance(5 * time.Minute)
	}
	if len(w.events) != 2 || w.events[1].Kind != report.EventArrived || w.events[1].ID != w.events[0].ID || w.events[1].Reason != report.ArrivedConfirmed {
		t.Fatalf("%+v", w.events)
	}
	if l := w.lag("d", 0, 0, 0); l.Past.Within >= 1 || math.Abs(l.Past.Max/60-35) > 2 {
		t.Errorf("%+v", l.Past)
	}
}

// TestLagWithNobodyToCopyTo looks at the source although no destination answers.
func TestLagWithNobodyToCopyTo(t *testing.T) {
	for _, versioned := range []bool{false, true} {
		w := newLagWorld(newWorld(t, "d"))
		if versioned {
			w = newLagWorld(newVersioned(t, "d"))
		}
		w.put("old", 1, 10, nil)
		if r, err := w.pass(); err != nil {
			t.Fatal(err, r.Findings)
		}
		w.lag("d", 0, 0, 0)
		w.down()
		w.clock.advance(10 * time.Minute)
		w.put("new", 2, 10, nil)
		w.put("old", 3, 10, nil)
		w.clock.advance(10 * time.Minute)
		w.pass() //nolint:errcheck // a region is down
		w.lag("d", 10, 2, 0)
		w.faults["d"] = &tt.Faults{}
		if r, err := w.pass(); err != nil {
			t.Fatal(err, r.Findings)
		}
		if l := w.lag("d", 0, 0, 0); l.Past.Items != 3 || math.Abs(l.Past.Max/60-10) > 1 {
			t.Errorf("versioned %v: %+v", versioned, l.Past)
		}
	}
}

// TestLagOfARegionNeverReached counts everything as waiting for it.
func TestLagOfARegionNeverReached(t *testing.T) {
	for _, versioned := range []bool{false, true} {
		w := newLagWorld(newWorld(t, "b", "d"))
		if versioned {
			w = newLagWorld(newVersioned(t, "b", "d"))
		}
		w.put("n", 1, 10, nil)
		w.clock.advance(10 * time.Minute)
		e := w.engine()
		e.o.Lag = w.tracker
		delete(e.o.Regions, "d")
		e.o.Down = map[string]error{"d": &transport.Error{Op: "log in", Region: "d", Class: transport.Transient, Err: errors.New("it is down")}}
		jobs, err := e.Jobs(t.Context(), w.policy)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Sync(t.Context(), w.policy, jobs, SyncOptions{}); err != nil {
			t.Fatal(err)
		}
		w.lag("b", 0, 0, 0)
		w.lag("d", 10, 1, 0)
	}
}

// TestLagOfDeletes counts a delete from the end of its grace period, and what the brake
// holds back waits.
func TestLagOfDeletes(t *testing.T) {
	w := newLagWorld(newWorld(t, "b"))
	w.policy.Deletes = policies.Deletes{Propagate: true, After: time.Hour}
	for _, n := range []string{"a", "b", "c", "d"} {
		w.put(n, 1, 10, nil)
	}
	if _, err := w.pass(); err != nil {
		t.Fatal(err)
	}
	w.mem["a"].Remove("c", "a")
	w.mem["a"].Remove("c", "b")
	if _, err := w.pass(); err != nil {
		t.Fatal(err)
	}
	w.lag("b", 0, 0, 0)
	w.policy.Brake = policies.Brake{Deletes: 0.01, AtLeast: 1, Overwrites: -1}
	w.clock.advance(70 * time.Minute)
	r, err := w.pass()
	if !errors.Is(err, ErrBrake) {
		t.Fatal(err)
	}
	w.lag("b", 10, 2, 0)
	e := w.engine()
	e.o.Lag = w.tracker
	jobs, err := e.Jobs(t.Context(), w.policy)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Sync(t.Context(), w.policy, jobs, SyncOptions{ReleaseBrake: r.Brake}); err != nil {
		t.Fatal(err)
	}
	if l := w.lag("b", 0, 0, 0); l.Past.Items != 6 || math.Abs(l.Past.Max/60-10) > 1 {
		t.Errorf("%+v", l.Past)
	}
}

// TestLagOfWhatManifestsNeed is none: a segment that is deleted at the source stays while
// a manifest at the destination needs it.
func TestLagOfWhatManifestsNeed(t *testing.T) {
	w := newLagWorld(newWorld(t, "b"))
	w.policy.Deletes = policies.Deletes{Propagate: true}
	w.policy.Brake.Deletes = -1
	w.put("s", 1, 100, nil)
	w.put("stays", 2, 100, nil)
	seg, _, _ := w.mem["a"].Get("c", "s")
	if _, err := w.mem["a"].PutManifest(t.Context(), "c", "m", []transport.Segment{{Container: "c", Name: "s", Size: 100, ETag: seg.ETag}}, transport.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if r, err := w.pass(); err != nil || r.Errors > 0 {
		t.Fatal(err, r.Findings)
	}
	w.mem["a"].Remove("c", "s")
	for range 2 {
		w.clock.advance(time.Hour)
		if _, err := w.pass(); err != nil {
			t.Fatal(err)
		}
		w.tracker.Tick()
		w.lag("b", 0, 0, 0)
	}
	w.mem["a"].Remove("c", "m")
	if _, err := w.pass(); err != nil {
		t.Fatal(err)
	}
	if l := w.lag("b", 0, 0, 0); l.Past.Max > 60 || len(w.events) != 0 || len(w.mem["b"].Names("c")) != 1 {
		t.Errorf("%+v %+v %q", l.Past, w.events, w.mem["b"].Names("c"))
	}
}

// TestLagOfWhatAnAuditMends is no delay of months: the change had arrived in time.
func TestLagOfWhatAnAuditMends(t *testing.T) {
	w := newLagWorld(newWorld(t, "b"))
	w.put("n", 1, 10, nil)
	if _, err := w.pass(); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(1000 * time.Hour)
	w.mem["b"].Remove("c", "n")
	e := w.engine()
	e.o.Lag = w.tracker
	jobs, err := e.Jobs(t.Context(), w.policy)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := e.Audit(t.Context(), w.policy, jobs, AuditOptions{Repair: true}); err != nil || r.Audit.Repaired != 1 {
		t.Fatal(err, r.Audit)
	}
	if l := w.lag("b", 0, 0, 0); l.Past.Max > 60 {
		t.Errorf("%+v", l.Past)
	}
}
