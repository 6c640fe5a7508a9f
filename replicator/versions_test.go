package replicator

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/transport"
	tt "farshore/transport/transporttest"
)

// shown is one version as a reader of the region sees it.
type shown struct {
	Marker, Latest bool
	Data           string
	Header         transport.Header
}

// history reads all versions of container c at a region, oldest first, by name.
func (w *world) history(region string) map[string][]shown {
	w.t.Helper()
	return readHistory(w.t, w.mem[region], "c")
}

func readHistory(t testing.TB, m transport.Source, container string) map[string][]shown {
	t.Helper()
	out := map[string][]shown{}
	ctx := context.Background()
	err := m.Versions(ctx, container, transport.Range{}, func(page []transport.VersionEntry) error {
		for _, v := range page {
			s := shown{Marker: v.Marker, Latest: v.Latest}
			if !v.Marker {
				o, rc, err := m.Open(ctx, container, v.Name, transport.OpenOptions{Length: -1, Version: v.ID})
				if err != nil {
					return err
				}
				if rc != nil {
					data, err := io.ReadAll(rc)
					if err != nil {
						return err
					}
					rc.Close()
					s.Data = string(data)
				}
				s.Header = o.Header.Clone()
				delete(s.Header, transport.OriginHeader)
			}
			out[v.Name] = append(out[v.Name], s)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, all := range out {
		slices.Reverse(all)
	}
	return out
}

// alikeHistories asserts that the histories of c are equal at the source and at destinations.
func (w *world) alikeHistories(to ...string) {
	w.t.Helper()
	want := w.history("a")
	for _, r := range to {
		if diff := cmp.Diff(want, w.history(r)); diff != "" {
			w.t.Fatalf("the histories of %s differ (-source +copy):\n%s", r, diff)
		}
	}
}

// newVersioned is a world whose source keeps versions and whose deletes travel at once.
func newVersioned(t *testing.T, to ...string) *world {
	t.Helper()
	w := newWorld(t, to...)
	w.enable("true")
	w.policy.Deletes = policies.Deletes{Propagate: true}
	w.policy.Brake.Deletes = -1
	return w
}

func (w *world) enable(is string) {
	w.t.Helper()
	if err := w.mem["a"].PostContainer(w.t.Context(), "c", transport.Header{versionsHeader: is}, nil); err != nil {
		w.t.Fatal(err)
	}
}

// write makes a version as a client of a region would.
func (w *world) write(region, name, data string, h transport.Header) string {
	w.t.Helper()
	if h == nil {
		h = transport.Header{"Content-Type": "text/plain"}
	}
	rec, err := w.mem[region].Put(w.t.Context(), "c", name, bodyOf(data), transport.PutOptions{Header: h})
	if err != nil {
		w.t.Fatal(err)
	}
	return rec.Version
}

func bodyOf(data string) transport.Body {
	sum := md5.Sum([]byte(data))
	return transport.Body{Size: int64(len(data)), MD5: hex.EncodeToString(sum[:]), Open: func() (io.Reader, error) { return strings.NewReader(data), nil }}
}

// quiet makes a pass and asserts that it asks the destinations nothing.
func (w *world) quiet(to ...string) {
	w.t.Helper()
	w.forget()
	if r := w.sync(); r.Totals.Copied+r.Totals.Metadata+r.Totals.Deleted+r.Totals.Adopted != 0 {
		w.t.Fatalf("a pass over what had not changed did %+v", r.Totals)
	}
	for _, d := range to {
		if calls := w.faults[d].Calls(); len(calls) > 0 {
			w.t.Fatalf("a pass over what had not changed asked %s: %+v", d, calls)
		}
	}
}

// TestHistoriesTravel carries a history with markers, a revived version and a removed
// one, to two destinations, each version read once.
func TestHistoriesTravel(t *testing.T) {
	w := newVersioned(t, "b", "d")
	ctx := t.Context()
	first := w.write("a", "n", "one", transport.Header{"Content-Type": "text/plain", "X-Object-Meta-No": "1"})
	w.write("a", "n", "two", nil)
	if err := w.mem["a"].Delete(ctx, "c", "n"); err != nil {
		t.Fatal(err)
	}
	w.write("a", "n", "three", nil)
	w.write("a", "gone", "was here", nil)
	if err := w.mem["a"].Delete(ctx, "c", "gone"); err != nil {
		t.Fatal(err)
	}
	r := w.sync()
	w.alikeHistories("b", "d")
	if got := w.faults["a"].Count(tt.Open); got != 4 {
		t.Errorf("the source was read %d times for 4 versions", got)
	}
	if r.Totals.Copied != 12 {
		t.Errorf("%d copies, want 6 versions at 2 destinations", r.Totals.Copied)
	}
	if r.Replicas.Objects != 1 || r.Replicas.ByCount[2] != 1 {
		t.Errorf("replicas %+v, want one object held by two regions", r.Replicas)
	}
	w.quiet("b", "d")

	if err := w.mem["a"].Revive(ctx, "c", "n", first); err != nil {
		t.Fatal(err)
	}
	if err := w.mem["a"].Post(ctx, "c", "n", transport.Header{"Content-Type": "text/html"}); err != nil {
		t.Fatal(err)
	}
	w.forget()
	if r = w.sync(); r.Totals.Copied != 0 || r.Totals.Metadata != 2 || w.faults["b"].Bytes(tt.Put) != 0 {
		t.Errorf("a revived version and a POST cost %+v", r.Totals)
	}
	w.alikeHistories("b", "d")
	w.quiet("b", "d")

	if err := w.mem["a"].DeleteVersion(ctx, "c", "n", first); err != nil {
		t.Fatal(err)
	}
	if r = w.sync(); r.Totals.Deleted != 2 {
		t.Errorf("%d versions deleted, want 2", r.Totals.Deleted)
	}
	w.alikeHistories("b", "d")
	w.quiet("b", "d")
	w.restart()
}

// TestRemovedVersionsWait holds the rules of deletes: not unless they propagate, not
// before their time, not past the brake.
func TestRemovedVersionsWait(t *testing.T) {
	w := newVersioned(t, "b")
	var ids []string
	for i := range 10 {
		ids = append(ids, w.write("a", "n", fmt.Sprint("version ", i), nil))
	}
	w.policy.Deletes = policies.Deletes{}
	w.sync()
	remove := func(id string) {
		if err := w.mem["a"].DeleteVersion(t.Context(), "c", "n", id); err != nil {
			t.Fatal(err)
		}
	}
	remove(ids[0])
	w.sync()
	if got := len(w.history("b")["n"]); got != 10 {
		t.Fatalf("%d versions at b, want all 10: deletes do not propagate", got)
	}
	w.policy.Deletes = policies.Deletes{Propagate: true, After: time.Hour}
	if r := w.sync(); r.Totals.Pending != 1 || len(w.history("b")["n"]) != 10 {
		t.Fatalf("pending %d before the grace period is over", r.Totals.Pending)
	}
	w.clock.advance(2 * time.Hour)
	if r := w.sync(); r.Totals.Deleted != 1 {
		t.Fatalf("%+v after the grace period", r.Totals)
	}
	w.alikeHistories("b")
	for _, id := range ids[1:8] {
		remove(id)
	}
	w.policy.Deletes = policies.Deletes{Propagate: true}
	w.policy.Brake = policies.NewPolicy("p", "a", "b").Brake
	w.policy.Brake.AtLeast = 1
	r, err := w.try(w.policy, SyncOptions{})
	if !errors.Is(err, ErrBrake) || r.Brake == "" || len(w.history("b")["n"]) != 9 {
		t.Fatalf("seven of nine versions were removed and the brake did not hold: %v, %+v", err, r)
	}
	if _, err := w.try(w.policy, SyncOptions{ReleaseBrake: r.Brake}); err != nil {
		t.Fatal(err)
	}
	w.alikeHistories("b")
}

// TestForeignVersionsStay leaves a name alone where others wrote versions, and adopts
// what is there in the source's order.
func TestForeignVersionsStay(t *testing.T) {
	w := newVersioned(t, "b")
	if err := w.mem["b"].CreateContainer(t.Context(), "c", transport.Header{versionsHeader: "true"}); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"same", "begun", "foreign"} {
		w.write("a", n, "one", nil)
		w.write("a", n, "two", nil)
	}
	w.write("b", "same", "one", nil)
	w.write("b", "same", "two", nil)
	w.write("b", "begun", "one", nil)
	w.write("b", "foreign", "one", nil)
	w.write("b", "foreign", "another", nil)
	before := w.history("b")["foreign"]
	r, err := w.try(w.policy, SyncOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Counts[report.KindConflict] != 1 || r.Totals.Adopted != 3 || r.Totals.Copied != 1 {
		t.Fatalf("%+v, %+v", r.Totals, r.Findings)
	}
	if r.Replicas.ByCount[1] != 2 || r.Replicas.ByCount[0] != 1 {
		t.Errorf("replicas %+v", r.Replicas)
	}
	if diff := cmp.Diff(before, w.history("b")["foreign"]); diff != "" {
		t.Errorf("the foreign name was touched:\n%s", diff)
	}
	want, got := w.history("a"), w.history("b")
	for _, n := range []string{"same", "begun"} {
		if diff := cmp.Diff(want[n], got[n]); diff != "" {
			t.Errorf("%s:\n%s", n, diff)
		}
	}
	if r, err = w.try(w.policy, SyncOptions{}); err != nil || r.Counts[report.KindConflict] != 1 {
		t.Fatalf("the second pass: %v, %+v", err, r.Findings)
	}
	w.policy.Takeover = true
	w.sync()
	if got := w.history("b")["foreign"]; len(got) != 3 || got[2].Data != "two" || !got[2].Latest {
		t.Errorf("takeover left %+v", got)
	}
	w.quiet("b")
}

// TestObjectsBecomeVersions turns a container that was copied before into one with
// versions: nothing is sent again.
func TestObjectsBecomeVersions(t *testing.T) {
	w := newWorld(t, "b")
	w.policy.Deletes = policies.Deletes{Propagate: true}
	for i := range 5 {
		w.put(fmt.Sprint("n", i), uint64(i), 1000, nil)
	}
	w.sync()
	w.enable("true")
	w.forget()
	r := w.sync()
	if n := w.faults["b"].Count(tt.Put); n != 0 || r.Totals.Copied != 0 {
		t.Fatalf("%d objects were sent again", n)
	}
	w.alikeHistories("b")
	w.quiet("b")
	w.write("a", "n1", "new", nil)
	w.forget()
	w.sync()
	if n := w.faults["b"].Count(tt.Put); n != 1 {
		t.Fatalf("%d PUTs for one new version", n)
	}
	w.alikeHistories("b")
	w.quiet("b")
	w.enable("false")
	w.write("a", "n1", "unversioned", nil)
	w.write("a", "n2", "unversioned", nil)
	w.sync()
	w.alikeHistories("b")
	if info, err := w.mem["b"].Container(t.Context(), "c"); err != nil || info.Versioning != "" || info.Header[versionsHeader] != "False" {
		t.Fatalf("versioning is not suspended at the destination: %+v, %v", info, err)
	}
	w.quiet("b")
	w.enable("true")
	w.sync()
	w.alikeHistories("b")
	if info, _ := w.mem["b"].Container(t.Context(), "c"); info.Versioning == "" {
		t.Fatal("versioning was not turned on again")
	}
}

// TestHistoriesGoBack carries histories to b and back: what was written there by us is
// no news, an edit there travels, an edit on both sides is a conflict.
func TestHistoriesGoBack(t *testing.T) {
	w := newVersioned(t, "b")
	w.policy.Deletes = policies.Deletes{}
	w.write("a", "n", "one", nil)
	w.write("a", "n", "two", nil)
	w.write("a", "both", "one", nil)
	w.sync()
	back := policies.NewPolicy("q", "b", "a")
	back.Containers = []string{"c"}
	home := w.policy
	turn := func(p policies.Policy) report.Result {
		t.Helper()
		r, err := w.try(p, SyncOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for range 3 {
		if r := turn(back); r.Totals.Copied+r.Totals.Metadata != 0 || r.Errors > 0 {
			t.Fatalf("what we wrote travelled back: %+v %+v", r.Totals, r.Findings)
		}
		if r := turn(home); r.Totals.Copied+r.Totals.Metadata != 0 || r.Errors > 0 {
			t.Fatalf("and forth: %+v %+v", r.Totals, r.Findings)
		}
	}
	w.write("b", "n", "edited at b", nil)
	if r := turn(back); r.Totals.Copied != 1 {
		t.Fatalf("an edit at b: %+v %+v", r.Totals, r.Findings)
	}
	w.alikeHistories("b")
	for range 2 {
		if r := turn(home); r.Totals.Copied != 0 || r.Errors > 0 {
			t.Fatalf("the edit came back: %+v %+v", r.Totals, r.Findings)
		}
		if r := turn(back); r.Totals.Copied != 0 || r.Errors > 0 {
			t.Fatalf("the edit went again: %+v %+v", r.Totals, r.Findings)
		}
	}
	w.write("a", "both", "by a", nil)
	w.write("b", "both", "by b", nil)
	for _, p := range []policies.Policy{home, back} {
		if r := turn(p); r.Counts[report.KindConflict] != 1 || r.Totals.Copied != 0 {
			t.Fatalf("edited on both sides: %+v %+v", r.Totals, r.Findings)
		}
	}
	w.check2(t, 0)
}

// TestPlanOfHistories counts what a pass would do, and changes nothing anywhere.
func TestPlanOfHistories(t *testing.T) {
	w := newVersioned(t, "b")
	w.write("a", "n", "one", nil)
	gone := w.write("a", "n", "two", nil)
	plan := func() report.Totals {
		t.Helper()
		w.forget()
		r, err := w.try(w.policy, SyncOptions{DryRun: true})
		if err != nil || r.Errors > 0 {
			t.Fatal(err, r.Findings)
		}
		for _, c := range w.faults["b"].Calls() {
			if c.Writes() {
				t.Errorf("a plan wrote: %+v", c)
			}
		}
		return r.Totals
	}
	if got := plan(); got.Copied != 2 || got.Bytes != 6 {
		t.Errorf("before the first pass: %+v", got)
	}
	w.sync()
	w.write("a", "n", "three", nil)
	w.write("a", "m", "one", nil)
	if err := w.mem["a"].DeleteVersion(t.Context(), "c", "n", gone); err != nil {
		t.Fatal(err)
	}
	if got := plan(); got.Copied != 2 || got.Bytes != 8 {
		t.Errorf("after a change: %+v", got)
	}
	w.sync()
	w.alikeHistories("b")
	if got := plan(); got.Copied+got.Pending+got.Metadata != 0 {
		t.Errorf("when all is done: %+v", got)
	}
}

// A segment that only a deleted version needed goes with it, though the name stands; one that
// another version needs stays.
func TestSegmentsGoWithTheVersionThatNeededThem(t *testing.T) {
	w := newVersioned(t, "b")
	w.container("a", "segs")
	for _, n := range []string{"1", "2", "keep"} {
		w.putAt("a", "segs", n, "segment "+n, nil)
	}
	version := func() string {
		t.Helper()
		o, err := w.mem["a"].Head(t.Context(), "c", "x")
		if err != nil {
			t.Fatal(err)
		}
		return o.Version
	}
	w.slo("c", "x", nil, w.segment("segs", "1"))
	first := version()
	w.slo("c", "x", nil, w.segment("segs", "2"))
	w.write("a", "x", "plain", nil)
	w.sync()
	w.clock.advance(time.Minute)
	w.mem["a"].Remove("segs", "1")
	w.mem["a"].Remove("segs", "2")
	w.sync()
	if got := w.mem["b"].Names("segs"); !slices.Equal(got, []string{"1", "2", "keep"}) {
		t.Fatalf("segments that versions need are gone: %q", got)
	}
	w.clock.advance(time.Minute)
	if err := w.mem["a"].DeleteVersion(t.Context(), "c", "x", first); err != nil {
		t.Fatal(err)
	}
	w.sync()
	if got := w.mem["b"].Names("segs"); !slices.Equal(got, []string{"2", "keep"}) {
		t.Errorf("after the first version went there are the segments %q", got)
	}

	// the last one goes, and a delete marker is all that is left of the name
	w.clock.advance(time.Minute)
	if err := w.mem["a"].Delete(t.Context(), "c", "x"); err != nil {
		t.Fatal(err)
	}
	w.sync()
	w.clock.advance(time.Minute)
	for _, v := range versionsOf(t, w.mem["a"], "c") {
		if v.Name == "x" && !v.Marker {
			if err := w.mem["a"].DeleteVersion(t.Context(), "c", "x", v.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.sync()
	if got := w.mem["b"].Names("segs"); !slices.Equal(got, []string{"keep"}) {
		t.Errorf("with a delete marker alone there are the segments %q", got)
	}
	w.restart()
}

// versionsOf lists all versions of a container.
func versionsOf(t *testing.T, m *tt.Mem, container string) (all []transport.VersionEntry) {
	t.Helper()
	if err := m.Versions(t.Context(), container, transport.Range{}, func(page []transport.VersionEntry) error {
		all = append(all, page...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}
