package replicator

import (
	"fmt"
	"testing"

	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// Where nothing could be copied because the only destination was refused, or did not
// answer, nothing is satisfied: not in a pass, not in an audit, not below a prefix.
func TestWhatNobodyCouldCopyIsShort(t *testing.T) {
	short := func(what string, r report.Result, n int64) {
		t.Helper()
		if v := r.Replicas; v.Satisfied || v.Short != n || v.Objects < n || r.Errors == 0 {
			t.Errorf("%s: %+v %+v", what, v, r.Findings)
		}
	}
	w := foreignWorld(t)
	w.policy.Strict = true
	w.put("in/x", 1, 100, nil)
	w.put("in/y", 1, 100, nil)
	w.put("z", 1, 100, nil)
	w.postProps("a", transport.Header{readACL: "p9:*"})
	for range 2 {
		short("strict", w.pass(), 3)
		short("strict, audited", w.audit(AuditOptions{}), 3)
	}
	w.policy.Prefix = "in/"
	short("below a prefix", w.pass(), 2)

	w = newWorld(t, "b")
	w.put("x", 1, 100, nil)
	w.sync()
	w.put("y", 2, 100, nil)
	e := w.engine()
	delete(e.o.Regions, "b")
	e.o.Down = map[string]error{"b": &transport.Error{Op: "log in", Region: "b", Class: transport.Transient, Err: fmt.Errorf("no route to host")}}
	jobs, err := e.Jobs(t.Context(), w.policy)
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.Sync(t.Context(), w.policy, jobs, SyncOptions{})
	if err != nil {
		t.Fatal(err)
	}
	short("new while the destination is down", r, 1)
}

// An audit excuses what the policy accepts, as a pass does.
func TestAuditOfWhatCannotBeKept(t *testing.T) {
	for _, accept := range []bool{false, true} {
		w := newWorld(t, "b")
		if accept {
			w.policy.Accept = []string{report.KindCannot}
		}
		w.put("x", 1, 10, nil)
		w.sync()
		w.ledger.Update(w.place(), "x", func(o *store.Object, exists bool) bool {
			o.Replicas[0].State, o.Replicas[0].Note = store.Cannot, "its region gives no MD5 of it"
			return exists
		})
		if err := w.ledger.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		pass, audit := w.pass(), w.audit(AuditOptions{})
		if pass.Replicas.Short != audit.Replicas.Short || pass.Replicas.Satisfied != audit.Replicas.Satisfied || audit.Replicas.Satisfied != accept || (pass.Errors == 0) != accept || (audit.Errors == 0) != accept {
			t.Errorf("accepted %v: a pass says %+v, an audit %+v\n%+v", accept, pass.Replicas, audit.Replicas, audit.Findings)
		}
	}
}
