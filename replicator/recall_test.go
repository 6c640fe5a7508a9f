package replicator

import (
	"testing"
	"time"

	"farshore/policies"
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
