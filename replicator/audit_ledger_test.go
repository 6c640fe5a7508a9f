package replicator

import (
	"testing"
	"time"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/transport"
	tt "farshore/transport/transporttest"
)

// stands is what status and metrics say of the policy, by the ledger alone.
func (w *world) stands() policies.Standing {
	w.t.Helper()
	s, err := Standing(w.t.Context(), w.ledger, w.policy)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// wantShort asserts that the ledger has too few replicas of so many of a number of objects.
func (w *world) wantShort(short, of int64) {
	w.t.Helper()
	if s := w.stands(); s.Short != short || s.Objects != of || s.Satisfied != (short == 0) {
		w.t.Fatalf("the ledger says %+v, want %d of %d short", s, short, of)
	}
}

// What an audit saw to be wrong is no replica any more, also where nothing was repaired,
// and the next pass sends it again.
func TestAuditIsBelievedByTheLedger(t *testing.T) {
	for _, c := range []struct {
		name string
		read float64
		harm func(b *tt.Mem)
	}{
		{"removed", 0, func(b *tt.Mem) { b.Remove("c", "small/003") }},
		{"large removed", 0, func(b *tt.Mem) { b.Remove("c", "large") }},
		{"rotten at rest", 1, func(b *tt.Mem) { b.Rot("c", "small/003", rot) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := mirrored(t, policies.Exact)
			w.wantShort(0, 22)
			c.harm(w.mem["b"])
			for range 2 { // the second audit changes nothing about it
				if r := w.audit(AuditOptions{Read: c.read}); r.Replicas.Short != 1 || len(r.Replicas.Oldest) != 1 || r.Replicas.Lacking["b"].Objects != 1 {
					t.Fatalf("%+v", r.Replicas)
				}
				w.wantShort(1, 22)
			}
			w.restart()
			w.forget()
			if r := w.sync(); r.Totals.Copied != 1 || r.Replicas.Short != 0 {
				t.Fatalf("the next pass: %+v %+v", r.Totals, r.Replicas)
			}
			if n := w.faults["d"].Count(tt.Put, tt.Collapse, tt.PutManifest); n != 0 {
				t.Errorf("the whole copy at d was written %d times", n)
			}
			w.wantShort(0, 22)
			w.clean(w.audit(AuditOptions{Read: 1}))
			w.same("b", "d")
		})
	}
}

// A listing that lags says nothing about a copy, and what was missed and is back is a
// replica again.
func TestAuditTakesNothingAwayForALag(t *testing.T) {
	w := listedLate(t)
	w.audit(AuditOptions{})
	w.wantShort(0, 2)

	w.faults["b"].Add(tt.Head, tt.Fail(transport.NotFound).On("c", "new")) // a region that has lost sight of an object for a while
	if r := w.audit(AuditOptions{}); r.Audit.Missing != 1 {
		t.Fatalf("%+v", r.Audit)
	}
	w.wantShort(1, 2)
	w.clean(w.audit(AuditOptions{}))
	w.wantShort(0, 2)
	w.mem["b"].Thaw("c")
	w.forget()
	if r := w.sync(); r.Totals.Copied != 0 || w.faults["b"].Count(readsAndWrites...) != 0 {
		t.Errorf("%+v", r.Totals)
	}
}

// What others put in a copy's place is no replica, and the next pass says why it does not
// send it again. It stays news for the way back.
func TestAuditOfAnEditLeavesTheWayBackOpen(t *testing.T) {
	w := mirrored(t, policies.Exact)
	w.mem["b"].Set("c", "small/003", []byte("not yours"), nil)
	w.audit(AuditOptions{})
	w.wantShort(1, 22)

	back := policies.NewPolicy("back", "b", "a")
	back.Containers = []string{"c"}
	r, err := w.try(back, SyncOptions{})
	if err != nil || r.Errors != 0 || r.Totals.Copied != 1 {
		t.Fatalf("the way back: %+v %+v %v", r.Totals, r.Findings, err)
	}
	w.same("b")
	if r := w.sync(); r.Totals.Conflicts != 0 { // the edit goes on to d, and comes back to nobody
		t.Errorf("%+v", r)
	}
	w.same("b", "d")
	w.wantShort(0, 22)

	w = mirrored(t, policies.Exact)
	w.mem["b"].Set("c", "small/003", []byte("not yours"), nil)
	w.audit(AuditOptions{})
	if r, err = w.try(w.policy, SyncOptions{}); err != nil {
		t.Fatal(err)
	}
	one(t, r, report.KindConflict, report.Error, "b", "small/003", "not ours")
	if _, data, _ := w.mem["b"].Get("c", "small/003"); string(data) != "not yours" {
		t.Error("it was overwritten")
	}
	w.wantShort(1, 22)
}

// Segments that come along count as they do in a pass.
func TestAuditOfSegmentsIsBelievedByTheLedger(t *testing.T) {
	w := furnished(t)
	all := w.sync().Replicas.Objects
	w.wantShort(0, all)
	w.mem["b"].Remove("segs", "s%41/0")
	w.mem["d"].Remove("more", "dyn/1")
	if r := w.audit(AuditOptions{}); r.Audit.Missing != 2 {
		t.Fatalf("%+v", r.Audit)
	}
	w.wantShort(2, all)
	w.sync()
	w.wantShort(0, all)
	w.alike("segs", "segs")
	w.alike("more", "more")
	w.clean(w.audit(AuditOptions{Read: 1}))
}

// So it is with versions: one that is missing, one that is rotten, and one that another hides.
func TestAuditOfHistoriesIsBelievedByTheLedger(t *testing.T) {
	for _, c := range []struct {
		name string
		harm func(b *tt.Mem, ids []transport.VersionEntry) error
	}{
		{"the current version is gone", func(b *tt.Mem, ids []transport.VersionEntry) error {
			return b.DeleteVersion(t.Context(), "c", "n", ids[0].ID)
		}},
		{"an older one is shown", func(b *tt.Mem, ids []transport.VersionEntry) error { return b.Revive(t.Context(), "c", "n", ids[1].ID) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newVersioned(t, "b")
			w.write("a", "n", "one", nil)
			w.write("a", "n", "two", nil)
			w.write("a", "m", "stays", nil)
			w.sync()
			w.wantShort(0, 2)
			var ids []transport.VersionEntry
			_ = w.mem["b"].Versions(t.Context(), "c", transport.Range{Prefix: "n"}, func(page []transport.VersionEntry) error {
				ids = append(ids, page...)
				return nil
			})
			if err := c.harm(w.mem["b"], ids); err != nil {
				t.Fatal(err)
			}
			if r := w.audit(AuditOptions{}); r.Audit.Missing+r.Audit.Damaged == 0 || r.Replicas.Short != 1 {
				t.Fatalf("%+v %+v", r.Audit, r.Replicas)
			}
			w.wantShort(1, 2)
			w.restart()
			if r := w.sync(); r.Replicas.Short != 0 {
				t.Fatalf("%+v", r.Replicas)
			}
			w.wantShort(0, 2)
			w.alikeHistories("b")
			w.clean(w.audit(AuditOptions{Read: 1}))
			w.quiet("b")
		})
	}
}

// An older version that lacks is written again by the next pass, and a listing of versions
// that lags takes none away.
func TestAuditOfAnOlderVersion(t *testing.T) {
	w := newVersioned(t, "b")
	w.write("a", "n", "one", nil)
	w.sync()
	w.mem["b"].Freeze("c")
	w.write("a", "n", "two", nil)
	if err := w.mem["a"].Delete(t.Context(), "c", "n"); err != nil {
		t.Fatal(err)
	}
	w.write("a", "n", "three", nil)
	w.sync()
	if r := w.audit(AuditOptions{}); r.Errors != 0 {
		t.Fatalf("while the listing lags: %+v", r.Findings)
	}
	w.mem["b"].Thaw("c")
	w.quiet("b")
	if err := w.mem["b"].DeleteVersion(t.Context(), "c", "n", oldest(t, w.mem["b"], "n")); err != nil {
		t.Fatal(err)
	}
	if r := w.audit(AuditOptions{}); r.Audit.Missing != 1 {
		t.Fatalf("%+v %+v", r.Audit, r.Findings)
	}
	w.sync()
	w.alikeHistories("b")
	w.clean(w.audit(AuditOptions{Read: 1}))
}

// What somebody deleted at a destination that is a source too is to be deleted here, once its
// grace is over there: an audit neither misses it nor sends it back. Where the other
// direction carries no deletes it is lost, and sent again.
func TestAuditOfADeleteOverThere(t *testing.T) {
	for _, propagate := range []bool{true, false} {
		w := newWorld(t, "b")
		w.policy.Bidirectional = true
		back := policies.NewPolicy("back", "b", "a")
		back.Containers, back.Bidirectional = []string{"c"}, true
		back.Deletes = policies.Deletes{Propagate: propagate, After: 24 * time.Hour}
		theOther := func() {
			t.Helper()
			if r, err := w.try(back, SyncOptions{}); err != nil || r.Errors != 0 {
				t.Fatalf("%+v %v", r.Findings, err)
			}
		}
		for _, n := range []string{"deleted", "stays"} {
			w.put(n, 1, 10, nil)
		}
		w.sync()
		theOther()
		w.clock.advance(time.Minute)
		w.mem["b"].Remove("c", "deleted")
		theOther()
		for _, o := range []AuditOptions{{}, {Repair: true}} {
			r := w.audit(o)
			if propagate && (r.Audit.Missing != 0 || r.Errors != 0 || r.Replicas.Objects != 1 || !r.Replicas.Satisfied) {
				t.Errorf("%+v: %+v %+v %+v", o, r.Audit, r.Replicas, r.Findings)
			}
			if !propagate && r.Audit.Missing != 1 {
				t.Errorf("%+v: it is not missed: %+v", o, r.Audit)
			}
		}
		w.sync()
		if _, _, there := w.mem["b"].Get("c", "deleted"); there == propagate {
			t.Errorf("deletes travel: %v; it is there again: %v", propagate, there)
		}
		w.clock.advance(25 * time.Hour)
		theOther()
		w.sync()
		for _, region := range []string{"a", "b"} {
			if _, _, there := w.mem[region].Get("c", "deleted"); there == propagate {
				t.Errorf("deletes travel: %v; in the end it is at %s: %v", propagate, region, there)
			}
		}
		w.clean(w.audit(AuditOptions{Read: 1}))
	}
}
