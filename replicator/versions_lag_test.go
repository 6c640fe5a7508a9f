package replicator

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"farshore/transport"
	tt "farshore/transport/transporttest"
)

// TestNoVersionTwiceWhileListingsLag stops a pass right after its PUT; the restart sees a
// listing without that version, and must not write it again.
func TestNoVersionTwiceWhileListingsLag(t *testing.T) {
	w := newVersioned(t, "b")
	w.write("a", "n", "one", nil)
	w.sync()
	w.write("a", "n", "two", nil)
	w.mem["b"].Freeze("c")
	w.arm(&fuse{})
	stop := func(s tt.Step) error {
		if s.After && s.Method == tt.Put {
			return errCrash
		}
		return nil
	}
	w.faults["b"].OnStep(stop)
	if _, err := w.try(w.policy, SyncOptions{}); err == nil {
		t.Fatal("the pass was not stopped")
	}
	w.arm(nil)
	w.forget()
	if r := w.sync(); r.Totals.Copied != 0 || w.faults["b"].Count(tt.Put) != 0 {
		t.Fatalf("written again: %+v", r.Totals)
	}
	w.mem["b"].Thaw("c")
	w.alikeHistories("b")
	w.quiet("b")

	// What the ledger knows is there, also while the listing does not show it.
	w.write("a", "n", "three", nil)
	w.mem["b"].Freeze("c")
	w.sync()
	w.write("a", "n", "four", nil)
	w.forget()
	w.sync()
	if n := w.faults["b"].Count(tt.Put); n != 1 {
		t.Fatalf("%d PUTs for one new version while the listing lags", n)
	}
	w.mem["b"].Thaw("c")
	w.alikeHistories("b")
}

// TestRepairCrashEverywhere stops a repair at every step: a version that lacks in the
// middle has the younger ones written again after it, and none stays twice.
func TestRepairCrashEverywhere(t *testing.T) {
	build := func(f *fuse) *world {
		w := newVersioned(t, "b")
		for _, data := range []string{"one", "two", "three"} {
			w.write("a", "n", data, nil)
		}
		if err := w.mem["a"].Delete(t.Context(), "c", "n"); err != nil {
			t.Fatal(err)
		}
		w.write("a", "n", "four", nil)
		w.sync()
		var ids []string
		_ = w.mem["b"].Versions(t.Context(), "c", transport.Range{}, func(page []transport.VersionEntry) error {
			for _, v := range page {
				ids = append(ids, v.ID)
			}
			return nil
		})
		if err := w.mem["b"].DeleteVersion(t.Context(), "c", "n", ids[3]); err != nil { // "two"
			t.Fatal(err)
		}
		w.arm(f)
		return w
	}
	repair := func(w *world) {
		e := w.engine()
		if jobs, err := e.Jobs(t.Context(), w.policy); err == nil {
			_, _ = e.Audit(t.Context(), w.policy, jobs, AuditOptions{Repair: true})
		}
	}
	dry := &fuse{}
	w := build(dry)
	repair(w)
	w.alikeHistories("b")
	total := dry.steps.Load()
	for at := int64(1); at <= total; at++ {
		w := build(&fuse{at: at})
		repair(w)
		w.arm(nil)
		w.check2(t, at)
		repair(w)
		w.sync()
		if diff := cmp.Diff(w.history("a"), w.history("b")); diff != "" {
			t.Fatalf("after a repair was stopped at step %d (-source +copy):\n%s", at, diff)
		}
		w.quiet("b")
		_ = w.ledger.Close()
	}
	t.Logf("%d steps", total)
}

// TestUnlinkCrashEverywhere does the same where a name is to show nothing and has no
// marker, and where an older version is shown in place of one without an id.
func TestUnlinkCrashEverywhere(t *testing.T) {
	build := func(f *fuse) *world {
		w := newWorld(t, "b")
		w.policy.Deletes.Propagate = false
		w.write("a", "n", "plain", nil)
		w.write("a", "m", "plain", nil)
		w.sync()
		w.enable("true")
		w.sync()
		first := w.write("a", "m", "one", nil)
		w.write("a", "n", "one", nil)
		w.sync()
		w.enable("false")
		if err := w.mem["a"].Delete(t.Context(), "c", "n"); err != nil {
			t.Fatal(err)
		}
		w.write("a", "m", "unversioned", nil)
		w.sync()
		if err := w.mem["a"].Revive(t.Context(), "c", "m", first); err != nil {
			t.Fatal(err)
		}
		w.enable("true")
		w.write("a", "x", "new", nil)
		if err := w.mem["a"].Revive(t.Context(), "c", "n", oldest(t, w.mem["a"], "n")); err != nil {
			t.Fatal(err)
		}
		w.arm(f)
		return w
	}
	dry := &fuse{}
	w := build(dry)
	w.sync()
	want := w.history("b")
	total := dry.steps.Load()
	for at := int64(1); at <= total; at++ {
		w := build(&fuse{at: at})
		_, _ = w.try(w.policy, SyncOptions{})
		w.arm(nil)
		w.check2(t, at)
		w.sync()
		if diff := cmp.Diff(want, w.history("b")); diff != "" {
			t.Fatalf("after a crash at step %d (-undisturbed +restarted):\n%s", at, diff)
		}
		w.quiet("b")
		_ = w.ledger.Close()
	}
	t.Logf("%d steps", total)
}

// oldest is the id of a name's oldest version.
func oldest(t *testing.T, m *tt.Mem, name string) (id string) {
	t.Helper()
	_ = m.Versions(t.Context(), "c", transport.Range{Prefix: name, Through: name}, func(page []transport.VersionEntry) error {
		id = page[len(page)-1].ID
		return nil
	})
	return id
}

// TestListingThatLagsShowsNothingOld asks the source by name before an older version is
// made current at a destination.
func TestListingThatLagsShowsNothingOld(t *testing.T) {
	w := newVersioned(t, "b")
	first := w.write("a", "n", "one", nil)
	second := w.write("a", "n", "two", nil)
	w.sync()
	ctx := t.Context()
	if err := w.mem["a"].Revive(ctx, "c", "n", first); err != nil {
		t.Fatal(err)
	}
	w.mem["a"].Freeze("c")
	if err := w.mem["a"].Revive(ctx, "c", "n", second); err != nil {
		t.Fatal(err)
	}
	w.forget()
	if _, err := w.try(w.policy, SyncOptions{}); err != nil {
		t.Fatal(err)
	}
	if n := w.faults["b"].Count(tt.Revive); n != 0 {
		t.Fatal("an older version was shown because a listing lagged")
	}
	w.mem["a"].Thaw("c")
	w.sync()
	w.alikeHistories("b")
	w.quiet("b")
}
