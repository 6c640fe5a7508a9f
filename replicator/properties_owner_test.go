package replicator

import (
	"strings"
	"testing"
	"time"

	"farshore/replicator/report"
	"farshore/transport"
	tt "farshore/transport/transporttest"
)

// A login that Swift does not tell who may read a container takes nothing away from the
// copy, and says what it does not know, in passes, audits and the certificate; when it owns
// the account again, it is carried as before.
func TestHiddenACLsAreNotTakenAway(t *testing.T) {
	w := newWorld(t, "b")
	ctx := t.Context()
	w.put("o", 1, 10, nil)
	set := func(acl string) {
		t.Helper()
		h, remove := transport.Header{"X-Container-Read": acl}, []string(nil)
		if acl == "" {
			h, remove = nil, []string{"X-Container-Read"}
		}
		if err := w.mem["a"].PostContainer(ctx, "c", h, remove); err != nil {
			t.Fatal(err)
		}
	}
	stands := func(want string) {
		t.Helper()
		info, err := w.mem["b"].Container(ctx, "c")
		if err != nil || info.Header["X-Container-Read"] != want {
			t.Fatalf("%v: the copy may be read by %q, want %q", err, info.Header["X-Container-Read"], want)
		}
	}
	said := func(r report.Result) bool {
		for _, f := range r.Findings {
			if f.Kind == report.KindCannot && strings.Contains(f.Cause, "login of region a") {
				return true
			}
		}
		return false
	}
	set(".r:*")
	if r := w.sync(); said(r) {
		t.Errorf("hidden from an owner: %+v", r.Findings)
	}
	stands(".r:*")

	hide := func() { w.faults["a"].Add(tt.Account, tt.Fail(transport.Denied).Times(-1)) }
	set("") // what a login without rights is shown
	hide()
	for range 3 {
		if r := w.sync(); !said(r) {
			t.Errorf("nothing is said: %+v", r.Findings)
		}
		stands(".r:*")
	}
	e := w.engine()
	jobs, err := e.Jobs(ctx, w.policy)
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.Audit(ctx, w.policy, jobs, AuditOptions{Repair: true})
	if err != nil || !said(r) {
		t.Errorf("audit: %v %+v", err, r.Findings)
	}
	stands(".r:*")
	strict := w.policy
	strict.Strict = true
	strict.Containers = []string{"new"}
	if err := w.mem["a"].CreateContainer(ctx, "new", nil); err != nil {
		t.Fatal(err)
	}
	w.mem["a"].Set("new", "o", []byte("o"), nil)
	if r, err := w.try(strict, SyncOptions{}); err != nil || r.Errors == 0 {
		t.Errorf("strict: %v %+v", err, r.Findings)
	}
	if _, err := w.mem["b"].Container(ctx, "new"); !transport.Is(err, transport.NotFound) {
		t.Errorf("a strict policy made the container: %v", err)
	}

	w.faults["a"] = &tt.Faults{} // the login owns the account
	w.clock.advance(ownerFor + time.Second)
	if r := w.sync(); said(r) {
		t.Errorf("still said: %+v", r.Findings)
	}
	stands("")
	w.forget()
	w.sync()
	if n := w.faults["a"].Count(tt.Account); n != 0 {
		t.Errorf("an unchanged pass asked for the account %d times", n)
	}
}

// A part of a container that others made keeps their properties: nobody is asked about them.
func TestAPartAsksNothingOfItsContainer(t *testing.T) {
	w := newWorld(t, "b")
	w.put("part/o", 1, 10, nil)
	if err := w.mem["b"].CreateContainer(t.Context(), "c", nil); err != nil {
		t.Fatal(err)
	}
	jobs := []Job{{Policy: w.policy, From: Side{Region: "a", Container: "c", Prefix: "part/"}, To: []Side{{Region: "b", Container: "c", Prefix: "part/"}}}}
	for range 2 {
		w.forget()
		if r, err := w.engine().Sync(t.Context(), w.policy, jobs, SyncOptions{}); err != nil || len(r.Findings) != 0 {
			t.Fatalf("%v %+v", err, r.Findings)
		}
	}
	if n := w.faults["a"].Count(tt.Account); n != 0 {
		t.Errorf("an unchanged pass over a part asked for the account %d times", n)
	}

	// One that it makes itself is another matter: what is hidden is said, and said again.
	w.faults["a"].Add(tt.Account, tt.Fail(transport.Denied).Times(-1))
	jobs[0].To[0].Container = "made"
	for range 2 {
		r, err := w.engine().Sync(t.Context(), w.policy, jobs, SyncOptions{})
		if err != nil || r.Counts[report.KindCannot] != 1 {
			t.Errorf("%v %+v", err, r.Findings)
		}
	}
}
