package replicator

import (
	"testing"

	"farshore/replicator/report"
	"farshore/transport"
)

// TestAuditOfHistories finds a version that lacks at a destination, damaged bytes, a
// version of others and a wrong current one, and repairs what is ours.
func TestAuditOfHistories(t *testing.T) {
	w := newVersioned(t, "b")
	ctx := t.Context()
	w.write("a", "n", "one", nil)
	w.write("a", "n", "two", nil)
	if err := w.mem["a"].Delete(ctx, "c", "n"); err != nil {
		t.Fatal(err)
	}
	w.write("a", "n", "three", nil)
	w.write("a", "m", "stays", nil)
	w.write("a", "shown", "old", nil)
	w.write("a", "shown", "new", nil)
	w.sync()
	audit := func(o AuditOptions) report.Result {
		t.Helper()
		e := w.engine()
		jobs, err := e.Jobs(ctx, w.policy)
		if err != nil {
			t.Fatal(err)
		}
		r, err := e.Audit(ctx, w.policy, jobs, o)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := audit(AuditOptions{Read: 1})
	if r.Errors > 0 || r.Audit.Seen != 7 || r.Audit.ReadCount != 6 || r.Replicas.Objects != 3 || r.Replicas.Short != 0 {
		t.Fatalf("a whole copy: %+v %+v %+v", r.Audit, r.Replicas, r.Findings)
	}
	ids := map[string][]transport.VersionEntry{}
	_ = w.mem["b"].Versions(ctx, "c", transport.Range{}, func(page []transport.VersionEntry) error {
		for _, v := range page {
			ids[v.Name] = append(ids[v.Name], v)
		}
		return nil
	})
	if err := w.mem["b"].DeleteVersion(ctx, "c", "n", ids["n"][2].ID); err != nil { // "two"
		t.Fatal(err)
	}
	if err := w.mem["b"].Revive(ctx, "c", "shown", ids["shown"][1].ID); err != nil {
		t.Fatal(err)
	}
	w.write("b", "m", "by others", nil)
	r = audit(AuditOptions{})
	if r.Audit.Missing != 1 || r.Audit.Damaged != 1 || r.Audit.Foreign != 1 || r.Counts[report.KindMissing] != 1 {
		t.Fatalf("one lacks, one is not shown, one is foreign: %+v %+v", r.Audit, r.Findings)
	}
	w.write("a", "late", "not carried yet", nil)
	r = audit(AuditOptions{Repair: true})
	if r.Audit.Repaired != 2 || r.Audit.Unrecorded != 1 {
		t.Fatalf("repaired %+v %+v", r.Audit, r.Findings)
	}
	want, got := w.history("a"), w.history("b")
	for _, n := range []string{"n", "shown"} {
		if len(got[n]) != len(want[n]) || got[n][len(got[n])-1].Data != want[n][len(want[n])-1].Data {
			t.Errorf("%s after the repair: %+v, want %+v", n, got[n], want[n])
		}
		for i := range got[n] {
			if got[n][i].Data != want[n][i].Data || got[n][i].Latest != want[n][i].Latest {
				t.Errorf("%s version %d: %+v, want %+v", n, i, got[n][i], want[n][i])
			}
		}
	}
	if len(got["m"]) != 2 {
		t.Errorf("the version of others: %+v", got["m"])
	}
}
