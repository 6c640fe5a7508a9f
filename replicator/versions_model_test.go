package replicator

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"farshore/transport"
	tt "farshore/transport/transporttest"
)

// TestHistoriesCrashEverywhere stops a pass at every step of the ledger and of the
// regions; the restart leaves the same histories, no version twice.
func TestHistoriesCrashEverywhere(t *testing.T) {
	build := func(f *fuse) (*world, map[string][]shown) {
		w := newVersioned(t, "b", "d")
		old := w.write("a", "n", "zero", nil)
		w.write("a", "m", "only", nil)
		w.sync()
		before := w.history("a")
		w.write("a", "n", "one", nil)
		w.write("a", "n", "one", nil) // the same bytes twice are two versions
		_ = w.mem["a"].Delete(t.Context(), "c", "n")
		_ = w.mem["a"].Delete(t.Context(), "c", "n")
		w.write("a", "n", strings.Repeat("large", 400_000), nil)
		_ = w.mem["a"].Revive(t.Context(), "c", "n", old)
		_ = w.mem["a"].Post(t.Context(), "c", "n", transport.Header{"Content-Type": "text/html", "X-Object-Meta-A": "b"})
		_ = w.mem["a"].Post(t.Context(), "c", "m", transport.Header{"Content-Type": "text/html"})
		w.write("a", "x", "new", nil)
		w.arm(f)
		return w, before
	}
	dry := &fuse{}
	w, _ := build(dry)
	w.sync()
	w.alikeHistories("b", "d")
	total := dry.steps.Load()
	if total < 50 {
		t.Fatalf("only %d steps", total)
	}
	crashes := 0
	for at := int64(1); at <= total; at++ {
		w, before := build(&fuse{at: at})
		if _, err := w.try(w.policy, SyncOptions{}); err != nil {
			crashes++
		}
		w.arm(nil)
		w.check2(t, at)
		for _, d := range []string{"b", "d"} {
			w.onlySourceVersions(d, at, before)
		}
		r, err := w.try(w.policy, SyncOptions{})
		if err != nil || r.Errors > 0 {
			t.Fatalf("restart after step %d: %v %+v", at, err, r.Findings)
		}
		want := w.history("a")
		for _, d := range []string{"b", "d"} {
			if diff := cmp.Diff(want, w.history(d)); diff != "" {
				t.Fatalf("after a crash at step %d the histories of %s differ:\n%s", at, d, diff)
			}
		}
		w.quiet("b", "d")
		w.restart()
		_ = w.ledger.Close()
	}
	t.Logf("%d steps, %d crashes", total, crashes)
	if int64(crashes) < total/2 {
		t.Errorf("only %d of %d runs crashed", crashes, total)
	}
}

// onlySourceVersions asserts that whatever a destination shows of a name, as the current
// object or as a version, the source had then or before.
func (w *world) onlySourceVersions(region string, at int64, before map[string][]shown) {
	w.t.Helper()
	now := w.history("a")
	for name, versions := range w.history(region) {
		had := slices.Concat(before[name], now[name])
		for _, v := range versions {
			if !slices.ContainsFunc(had, func(s shown) bool {
				return s.Marker == v.Marker && s.Data == v.Data && cmp.Equal(s.Header, v.Header)
			}) {
				w.t.Fatalf("after a crash at step %d %s shows a version of %q that the source never had: marker %v, latest %v, %d bytes, %v", at, region, name, v.Marker, v.Latest, len(v.Data), v.Header)
			}
		}
	}
}

// TestHistoriesModel does what clients may do, in any order, with passes and crashes in
// between: in the end the histories are equal.
func TestHistoriesModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newVersioned(t, "b")
		w.mem["a"] = tt.NewMem(tt.MemOptions{Region: "a", Now: w.clock.Now, PageSize: rapid.IntRange(1, 5).Draw(rt, "page")})
		ctx := t.Context()
		if err := w.mem["a"].CreateContainer(ctx, "c", nil); err != nil {
			rt.Fatal(err)
		}
		if _, err := w.mem["a"].Put(ctx, "c", "z", bodyOf("never touched: a source without anything trips the brake"), transport.PutOptions{Header: transport.Header{"Content-Type": "text/plain"}}); err != nil {
			rt.Fatal(err)
		}
		names := rapid.SampledFrom([]string{"a", "a/b", "b"})
		version := func() (name, id string, marker, ok bool) {
			var rows []transport.VersionEntry
			_ = w.mem["a"].Versions(ctx, "c", transport.Range{}, func(page []transport.VersionEntry) error {
				rows = append(rows, page...)
				return nil
			})
			rows = slices.DeleteFunc(rows, func(v transport.VersionEntry) bool { return v.Name == "z" })
			if len(rows) == 0 {
				return "", "", false, false
			}
			v := rapid.SampledFrom(rows).Draw(rt, "version")
			return v.Name, v.ID, v.Marker, true
		}
		var log []string
		note := func(format string, args ...any) { log = append(log, fmt.Sprintf(format, args...)) }
		pass := func(o SyncOptions) {
			r, err := w.try(w.policy, o)
			if err != nil || r.Errors > 0 {
				rt.Fatalf("%s\npass: %v %+v", strings.Join(log, "\n"), err, r.Findings)
			}
		}
		for range rapid.IntRange(1, 16).Draw(rt, "steps") {
			w.clock.advance(time.Duration(rapid.IntRange(0, 3).Draw(rt, "later")) * time.Second)
			switch rapid.IntRange(0, 9).Draw(rt, "step") {
			case 0, 1, 2:
				n, data := names.Draw(rt, "name"), rapid.SampledFrom([]string{"x", "y", "zz"}).Draw(rt, "data")
				note("put %s %s %s", n, data, w.write("a", n, data, transport.Header{"Content-Type": "text/plain", "X-Object-Meta-K": rapid.SampledFrom([]string{"1", "2"}).Draw(rt, "k")}))
			case 3:
				n, k := names.Draw(rt, "name"), rapid.SampledFrom([]string{"3", "4"}).Draw(rt, "k")
				err := w.mem["a"].Post(ctx, "c", n, transport.Header{"Content-Type": "text/plain", "X-Object-Meta-K": k})
				note("post %s %s %v", n, k, err)
			case 4:
				n := names.Draw(rt, "name")
				note("delete %s %v", n, w.mem["a"].Delete(ctx, "c", n))
			case 5:
				if n, id, _, ok := version(); ok {
					note("delete version %s %s %v", n, id, w.mem["a"].DeleteVersion(ctx, "c", n, id))
				}
			case 6:
				if n, id, marker, ok := version(); ok && !marker {
					note("revive %s %s %v", n, id, w.mem["a"].Revive(ctx, "c", n, id))
				}
			case 7:
				is := rapid.SampledFrom([]string{"true", "true", "false"}).Draw(rt, "enabled")
				note("enabled: %s", is)
				w.enable(is)
			case 8:
				note("pass")
				pass(SyncOptions{})
			case 9:
				if info, _ := w.mem["a"].Container(ctx, "c"); !keepsVersions(info) {
					continue // ordinary objects have tests of their own
				}
				at := rapid.Int64Range(1, 60).Draw(rt, "crash")
				note("crash at %d", at)
				w.arm(&fuse{at: at})
				_, _ = w.try(w.policy, SyncOptions{})
				w.arm(nil)
			}
		}
		note("end")
		pass(SyncOptions{})
		pass(SyncOptions{})
		if diff := cmp.Diff(readHistory(t, w.mem["a"], "c"), readHistory(t, w.mem["b"], "c")); diff != "" {
			rt.Fatalf("%s\nthe histories differ (-source +copy):\n%s", strings.Join(log, "\n"), diff)
		}
		w.forget()
		pass(SyncOptions{})
		if calls := w.faults["b"].Calls(); len(calls) > 0 {
			rt.Fatalf("%s\nunchanged, and the destination was asked %+v", strings.Join(log, "\n"), calls)
		}
		w.restart()
		_ = w.ledger.Close()
	})
}

// TestSuspendingCrashEverywhere stops the pass that suspends a destination's versions, as
// the source has them suspended, at every step: the next one knows that it has to turn
// them on before it writes, and leaves them off again.
func TestSuspendingCrashEverywhere(t *testing.T) {
	build := func(f *fuse) *world {
		w := newVersioned(t, "b")
		w.write("a", "n", "one", nil)
		w.sync()
		w.write("a", "n", "two", nil)
		w.enable("false")
		w.arm(f)
		return w
	}
	dry := &fuse{}
	w := build(dry)
	w.sync()
	total := dry.steps.Load()
	for at := int64(1); at <= total; at++ {
		w := build(&fuse{at: at})
		_, _ = w.try(w.policy, SyncOptions{})
		w.arm(nil)
		w.enable("true")
		w.clock.advance(time.Second)
		if err := w.mem["a"].Delete(t.Context(), "c", "n"); err != nil {
			t.Fatal(err)
		}
		w.enable("false")
		r, err := w.try(w.policy, SyncOptions{})
		if err != nil || r.Errors > 0 {
			t.Fatalf("restart after step %d of %d: %v %+v", at, total, err, r.Findings)
		}
		w.alikeHistories("b")
		if info, err := w.mem["b"].Container(t.Context(), "c"); err != nil || info.Versioning != "" || info.Header[versionsHeader] != "False" {
			t.Fatalf("after a crash at step %d the destination is left as %+v, %v", at, info, err)
		}
		w.quiet("b")
		_ = w.ledger.Close()
	}
}
