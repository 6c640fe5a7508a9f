package replicator

import (
	"math"
	"testing"
	"time"

	"farshore/policies"
	"farshore/replicator/lag"
	"farshore/replicator/report"
	"farshore/transport"
	tt "farshore/transport/transporttest"
)

// blindly makes a pass of which the tracker's notes know nothing: as if it had been killed
// before it wrote them.
func (w *lagWorld) blindly() {
	w.t.Helper()
	jobs, err := w.engine().Jobs(w.t.Context(), w.policy)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.engine().Sync(w.t.Context(), w.policy, jobs, SyncOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// again starts anew, and goes only so far as to know which containers there are.
func (w *lagWorld) again() *Engine {
	w.t.Helper()
	w.follow()
	e := w.engine()
	e.o.Lag = w.tracker
	if _, err := e.Jobs(w.t.Context(), w.policy); err != nil {
		w.t.Fatal(err)
	}
	return e
}

// TestLagAfterAKill has the ledger say what the tracker's notes, some seconds older, do not:
// what has arrived, what was begun and what is to be deleted.
func TestLagAfterAKill(t *testing.T) {
	w := newLagWorld(newWorld(t, "b"))
	w.policy.Deletes = policies.Deletes{Propagate: true, After: time.Hour}
	w.policy.Brake.Deletes = -1
	for _, n := range []string{"a", "b", "c"} {
		w.put(n, 1, 10, nil)
	}
	w.faults["b"] = &tt.Faults{}
	w.faults["b"].Add(tt.Put, tt.Fail(transport.Denied).Times(1<<30))
	w.pass() //nolint:errcheck // nothing is written
	w.clock.advance(10 * time.Minute)
	w.lag("b", 10, 3, 0)
	w.tracker.Close()

	w.faults["b"] = &tt.Faults{}
	w.blindly() // arrived
	w.again()
	w.lag("b", 0, 0, 0)
	w.tracker.Close()

	w.faults["b"].Add(tt.Put, tt.Fail(transport.Denied).Times(1<<30))
	w.put("a", 2, 10, nil)
	w.put("new", 3, 10, nil)
	w.mem["a"].Remove("c", "b")
	w.blindly() // begun, and missing
	w.clock.advance(20 * time.Minute)
	w.again()
	w.lag("b", 20, 2, 0)
	w.clock.advance(50 * time.Minute)
	w.lag("b", 70, 3, 0) // the delete is due
	w.tracker.Close()

	w.faults["b"] = &tt.Faults{}
	w.blindly()
	w.again()
	w.lag("b", 0, 0, 0)
}

// TestDeletesFallDueWhileADestinationIsAway has the grace period begin when the source is
// seen to have something no more, whoever answers else.
func TestDeletesFallDueWhileADestinationIsAway(t *testing.T) {
	w := newLagWorld(newWorld(t, "d"))
	w.policy.Deletes = policies.Deletes{Propagate: true, After: time.Hour}
	w.policy.Brake.Deletes = -1
	for _, n := range []string{"a", "b", "stays"} {
		w.put(n, 1, 10, nil)
	}
	e := w.engine()
	e.o.Lag = w.tracker
	pass := func() report.Result {
		t.Helper()
		return w.passBy(e)
	}
	pass()
	w.down()
	for range failuresToOpen { // until it is known to be away
		w.put("stays", 2, 10, nil)
		pass()
	}
	w.mem["a"].Remove("c", "a")
	w.mem["a"].Remove("c", "b")
	pass()
	w.put("b", 1, 10, nil)
	pass()
	w.clock.advance(70 * time.Minute)
	l := w.lag("d", 70, 3, 0) // b and what stays as they are now, and the delete of a
	if l.Late.Items != 2 {
		t.Errorf("%d late: a is due since ten minutes, not half an hour", l.Late.Items)
	}
	w.faults["d"] = &tt.Faults{}
	if r, err := w.pass(); err != nil || r.Totals.Deleted != 1 {
		t.Fatal(err, r.Totals)
	}
	w.lag("d", 0, 0, 0)
}

// TestLagOfWhatAnAuditSees counts what an audit lists at the source before a pass does.
func TestLagOfWhatAnAuditSees(t *testing.T) {
	w := newLagWorld(newWorld(t, "b"))
	w.put("a", 1, 10, nil)
	w.put("same", 1, 10, nil)
	if _, err := w.pass(); err != nil {
		t.Fatal(err)
	}
	w.put("a", 2, 10, nil)
	w.put("new", 3, 10, nil)
	w.clock.advance(10 * time.Minute)
	e := w.engine()
	e.o.Lag = w.tracker
	jobs, err := e.Jobs(t.Context(), w.policy)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Audit(t.Context(), w.policy, jobs, AuditOptions{}); err != nil {
		t.Fatal(err)
	}
	w.lag("b", 10, 2, 0)
	if _, err := w.pass(); err != nil {
		t.Fatal(err)
	}
	w.lag("b", 0, 0, 0)
}

// starts is a daemon's start on the ledger as it is: before any pass, and before any region
// is asked.
func (w *lagWorld) starts() *Engine {
	w.t.Helper()
	w.restart()
	w.tracker = lag.New(lag.Options{Clock: w.clock, Memory: w.ledger, OnEvent: func(e report.Event) { w.events = append(w.events, e) }})
	e := w.engine()
	e.o.Lag = w.tracker
	err := w.tracker.Follow([]lag.Terms{{Policy: "p", Regions: w.policy.To, RPO: w.policy.RPO, Poll: 20 * time.Minute}},
		func() error { return e.Recall(w.t.Context(), w.policy) })
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// TestLagAfterAKillAtThePassesEnd has a process die right after a pass: the next one knows
// what was confirmed and that all was looked at, without another pass.
func TestLagAfterAKillAtThePassesEnd(t *testing.T) {
	for _, versioned := range []bool{false, true} {
		w := newLagWorld(newWorld(t, "b", "d"))
		if versioned {
			w = newLagWorld(newVersioned(t, "b", "d"))
		}
		for i := range 150 { // more than the notes name
			w.put(string(rune('a'+i%26))+string(rune('a'+i/26)), uint64(i), 10, nil)
		}
		w.down()
		w.pass() //nolint:errcheck // a region is down
		w.tracker.Close()
		w.clock.advance(25 * time.Minute)
		w.faults["d"] = &tt.Faults{}
		if r, err := w.pass(); err != nil {
			t.Fatal(err, r.Findings)
		}
		began := w.clock.Now()
		w.clock.advance(19 * time.Minute) // 45 min since the first look, 19 since the last
		w.starts()
		l := w.lag("d", 0, 0, 0)
		if age := began.Sub(l.AsOf); l.Rough || l.Seconds != 0 || age < 0 || age > time.Minute || l.Past.Items != 150 || math.Abs(l.Past.Max/60-25) > 1 {
			t.Errorf("versioned %v: %+v", versioned, l)
		}
		if w.tracker.Tick(); len(w.events) != 0 {
			t.Errorf("versioned %v: %+v", versioned, w.events)
		}
	}
}

// TestLagAfterAKillWithinAPass has the ledger say at the start what is confirmed, even if
// the source does not answer and no pass can.
func TestLagAfterAKillWithinAPass(t *testing.T) {
	w := newLagWorld(newWorld(t, "b"))
	w.policy.Deletes = policies.Deletes{Propagate: true}
	w.policy.Brake.Deletes = -1
	for _, n := range []string{"a", "b", "c", "gone"} {
		w.put(n, 1, 10, nil)
	}
	if _, err := w.pass(); err != nil {
		t.Fatal(err)
	}
	w.faults["b"].Add(tt.Put, tt.Fail(transport.Denied).Times(1<<30))
	w.faults["b"].Add(tt.Delete, tt.Fail(transport.Denied).Times(1<<30))
	for _, n := range []string{"a", "b", "c"} {
		w.put(n, 2, 10, nil)
	}
	w.mem["a"].Remove("c", "gone")
	w.pass() //nolint:errcheck // nothing is written
	w.clock.advance(10 * time.Minute)
	w.lag("b", 10, 4, 0)
	w.tracker.Close()

	w.faults["b"] = &tt.Faults{}
	w.faults["b"].Add(tt.Put, tt.Fail(transport.Denied).On("", "c").Times(1<<30))
	w.blindly()
	w.clock.advance(25 * time.Minute)
	w.world.down("a", true)
	w.starts()
	w.lag("b", 35, 1, 0)
	if len(w.events) != 1 || w.events[0].Kind != report.EventLate || w.events[0].Items != 1 || w.events[0].Oldest[0].Name != "c" {
		t.Errorf("%+v", w.events)
	}
}
