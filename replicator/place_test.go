package replicator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
	tt "farshore/transport/transporttest"
)

var errDown = &transport.Error{Op: "connect", Class: transport.Transient, Err: errors.New("no route to host")}

// placed is a world of which two of three destinations hold everything: b and d, unless
// one is replaced by e.
func placed(t *testing.T) *world {
	w := newWorld(t, "b", "d", "e")
	w.policy.Replicas = 2
	w.policy.Place = &policies.Place{Copies: 2, Prefer: []string{"b", "d"}, ReplaceAfter: 2 * time.Hour}
	w.policy.Deletes = policies.Deletes{Propagate: true}
	return w
}

// down has a region answer nobody, or answer again.
func (w *world) down(region string, down bool) {
	w.faults[region].Revive()
	if down {
		w.faults[region].OnStep(func(tt.Step) error { return errDown })
	}
}

// copies counts the destinations that hold an object as the source does.
func (w *world) copies(container, name string, at ...string) (n int) {
	want, _, _ := w.mem["a"].Get(container, name)
	for _, r := range at {
		if got, _, ok := w.mem[r].Get(container, name); ok && got.ETag == want.ETag {
			n++
		}
	}
	return n
}

// believed asserts that every replica which the ledger counts stands there.
func (w *world) believed() {
	w.t.Helper()
	routes, err := w.ledger.Routes()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range routes {
		page, err := w.ledger.Page(r.From, "", "", "", 0)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, o := range page {
			rep, ok := o.Replica(r.ID)
			if !ok || rep.State != store.Confirmed {
				continue
			}
			if got, _, ok := w.mem[r.Route.To.Region].Get(r.Route.To.Container, o.Name); !ok || got.ETag != rep.Version.ETag {
				w.t.Fatalf("the ledger counts %s at %s, where there is %v %s", o.Name, r.Route.To.Region, ok, got.ETag)
			}
		}
	}
}

func wrote(r report.Result) string {
	return fmt.Sprintf("copied %d, trimmed %d, deleted %d, satisfied %v", r.Totals.Copied, r.Totals.Trimmed, r.Totals.Deleted, r.Replicas.Satisfied)
}

// A region dies, is replaced when it has been down for long enough, returns, catches up,
// and what was kept elsewhere is removed.
func TestARegionIsReplacedAndReturns(t *testing.T) {
	w := placed(t)
	for i := range 20 {
		w.put(fmt.Sprintf("o%02d", i), uint64(i), 1000, nil)
	}
	expect := func(what string, r report.Result, err error, want string) {
		t.Helper()
		if got := wrote(r); err != nil || got != want {
			t.Fatalf("%s: %s, not %s (%v, %+v)", what, got, want, err, r.Findings)
		}
		w.restart()
		w.believed()
	}
	expect("first pass", w.sync(), nil, "copied 40, trimmed 0, deleted 0, satisfied true")
	w.same("b", "d")
	if names := w.mem["e"].Names("c"); len(names) > 0 {
		t.Fatalf("e was not chosen and has %q", names)
	}

	w.down("d", true)
	w.put("o00", 100, 1000, nil)
	r, err := w.try(w.policy, SyncOptions{})
	expect("d is down", r, err, "copied 1, trimmed 0, deleted 0, satisfied false")
	w.clock.advance(119 * time.Minute)
	r, err = w.try(w.policy, SyncOptions{})
	expect("not for long enough", r, err, "copied 0, trimmed 0, deleted 0, satisfied false")
	w.clock.advance(2 * time.Minute)
	r, err = w.try(w.policy, SyncOptions{})
	expect("it is replaced", r, err, "copied 20, trimmed 0, deleted 0, satisfied true")
	one(t, r, report.KindReplaced, report.Warn, "d", "", "1 containers that it would hold are kept at b, e")
	w.same("b", "e")
	w.put("new", 101, 1000, nil)
	w.mem["a"].Remove("c", "o01")
	r, err = w.try(w.policy, SyncOptions{})
	expect("changes", r, err, "copied 2, trimmed 0, deleted 2, satisfied true")
	w.same("b", "e")

	w.down("d", false)
	w.clock.advance(time.Minute)
	w.forget()
	expect("it returns", w.sync(), nil, "copied 2, trimmed 20, deleted 1, satisfied true")
	w.same("b", "d")
	if names := w.mem["e"].Names("c"); len(names) > 0 {
		t.Errorf("e still has %q", names)
	}
	w.forget()
	expect("afterwards", w.sync(), nil, "copied 0, trimmed 0, deleted 0, satisfied true")
	if n := w.faults["e"].Count(tt.List, tt.Head, tt.Container, tt.Delete); n > 0 {
		t.Errorf("e holds nothing and was asked %d times", n)
	}
}

// A pass that takes longer than replace_after is no time in which nobody asked for the
// region; what lies between passes is.
func TestARegionIsReplacedWherePassesAreLong(t *testing.T) {
	for pause, want := range map[time.Duration]bool{time.Minute: true, 20 * time.Hour: false} {
		w := placed(t) // replace_after is two hours
		w.put("o", 1, 1000, nil)
		w.sync()
		w.down("d", true)
		for i := range 3 {
			w.put(fmt.Sprint("long ", i), uint64(i), 1000, nil)
			w.faults["b"].Add(tt.Put, tt.Before(func() { w.clock.advance(3 * time.Hour) }).On("c", fmt.Sprint("long ", i)))
			if _, err := w.try(w.policy, SyncOptions{}); err != nil {
				t.Fatal(err)
			}
			w.clock.advance(pause)
		}
		if got := w.copies("c", "o", "b", "e") == 2; got != want {
			t.Errorf("passes of three hours, with %s between them: replaced %v, want %v", pause, got, want)
		}
	}
}

// What a region holds that was replaced and comes back empty is not what the ledger says:
// nothing is removed elsewhere until an audit has repaired it.
func TestARegionThatComesBackEmpty(t *testing.T) {
	w := placed(t)
	for i := range 10 {
		w.put(fmt.Sprintf("o%02d", i), uint64(i), 1000, nil)
	}
	w.sync()
	w.down("d", true)
	for range 3 {
		if _, err := w.try(w.policy, SyncOptions{}); err != nil {
			t.Fatal(err)
		}
		w.clock.advance(time.Hour)
	}
	w.same("b", "e")
	w.down("d", false)
	for _, n := range w.mem["d"].Names("c") {
		w.mem["d"].Remove("c", n)
	}
	r, err := w.try(w.policy, SyncOptions{})
	if err != nil || r.Totals.Trimmed != 0 {
		t.Fatalf("%v %s", err, wrote(r))
	}
	w.same("b", "e")
	e := w.engine()
	jobs, err := e.Jobs(t.Context(), w.policy)
	if err != nil {
		t.Fatal(err)
	}
	if r, err = e.Audit(t.Context(), w.policy, jobs, AuditOptions{Repair: true}); err != nil || r.Audit.Repaired != 10 {
		t.Fatalf("%v %+v", err, r.Findings)
	}
	if r = w.sync(); r.Totals.Trimmed != 10 {
		t.Fatal(wrote(r))
	}
	w.same("b", "d")
}

// The story of a replacement is stopped at every action of the ledger and of a region, and
// goes on after a restart: there are never fewer than two copies of anything, nor does the
// ledger ever count one that is not there.
func TestReplacingCrashes(t *testing.T) {
	story := func(w *world, f *fuse, restart func() *fuse) {
		down := ""
		arm := func() {
			down, f := down, f // what a pass left running may still ask
			for name, x := range w.faults {
				x.Revive()
				x.OnStep(func(s tt.Step) error {
					if name == down {
						return errDown
					}
					if err := f.step(); err != nil {
						return err
					}
					if s.Method == tt.Delete {
						for i := range 6 {
							if n := w.copies("c", fmt.Sprintf("o%02d", i), "b", "d", "e"); n < 2 {
								w.t.Errorf("o%02d has %d copies", i, n)
							}
						}
					}
					return nil
				})
			}
		}
		w.arm(f)
		run := func() report.Result {
			for {
				arm()
				r, err := w.try(w.policy, SyncOptions{})
				if err == nil {
					return r
				}
				f = restart()
				w.arm(f)
				w.believed()
			}
		}
		for _, change := range []func(){
			func() { run() },
			func() { down = "d"; run(); w.clock.advance(time.Hour) },
			func() { run(); w.clock.advance(time.Hour + time.Minute) },
			func() { run(); w.same("b", "e") },
			func() { down = ""; w.put("new", 50, 1000, nil); run() },
		} {
			change()
		}
		if r := run(); r.Totals.Copied+r.Totals.Trimmed != 0 || !r.Replicas.Satisfied {
			w.t.Errorf("at the end still: %s %+v", wrote(r), r.Findings)
		}
		w.same("b", "d")
		if names := w.mem["e"].Names("c"); len(names) > 0 {
			w.t.Errorf("e still has %q", names)
		}
	}
	world := func(t *testing.T) *world {
		w := placed(t)
		for i := range 6 {
			w.put(fmt.Sprintf("o%02d", i), uint64(i), 1000, nil)
		}
		return w
	}
	dry := &fuse{}
	story(world(t), dry, func() *fuse { t.Fatal("it fails without a crash"); return nil })
	total := dry.steps.Load()
	if total < 100 {
		t.Fatalf("only %d steps", total)
	}
	crashes := 0
	stride := max(total/40, 1)
	for at := int64(1); at <= total; at += stride {
		w := world(t)
		story(w, &fuse{at: at}, func() *fuse {
			crashes++
			return &fuse{}
		})
		w.restart()
		w.believed()
		if t.Failed() {
			t.Fatalf("stopped at step %d", at)
		}
		_ = w.ledger.Close()
	}
	t.Logf("%d steps, %d crashes", total, crashes)
	if crashes < 10 {
		t.Errorf("only %d crashes", crashes)
	}
}

// Another choice moves what it must; a large object and its segments stay together.
func TestAnotherChoiceMovesContainers(t *testing.T) {
	w := placed(t)
	w.policy.Place.Prefer = nil
	w.policy.Containers = []string{"*"}
	names := []string{"c"}
	for i := range 8 {
		names = append(names, fmt.Sprintf("more-%d", i))
	}
	for _, c := range names {
		if err := w.mem["a"].CreateContainer(t.Context(), c, nil); err != nil {
			t.Fatal(err)
		}
		w.mem["a"].Set(c, "x", fill(1, 1000), nil)
	}
	if err := w.mem["a"].CreateContainer(t.Context(), "film_parts", nil); err != nil {
		t.Fatal(err)
	}
	var parts []transport.Segment
	for i := range 3 {
		o := w.mem["a"].Set("film_parts", fmt.Sprint(i), fill(uint64(i), 1000), nil)
		parts = append(parts, transport.Segment{Container: "film_parts", Name: o.Name, ETag: o.ETag, Size: 1000})
	}
	if _, err := w.mem["a"].PutManifest(context.Background(), "c", "film", parts, transport.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	w.policy.Containers = append(w.policy.Containers, "!film_parts")
	hold := func() {
		t.Helper()
		for _, c := range append(names, "film_parts") {
			chosen := w.policy.Placed(c, nil)
			if c == "film_parts" {
				chosen = w.policy.Placed("c", nil)
			}
			for _, r := range []string{"b", "d", "e"} {
				want := []string(nil)
				if slices.Contains(chosen, r) {
					want = w.mem["a"].Names(c)
				}
				if got := w.mem[r].Names(c); !slices.Equal(got, want) {
					t.Errorf("%s at %s: %q, not %q", c, r, got, want)
				}
			}
		}
	}
	w.sync()
	hold()
	before := w.policy
	w.policy.Place = &policies.Place{Copies: 2, Weights: map[string]int{"e": 100}}
	moved := 0
	for _, c := range names {
		if !slices.Equal(before.Placed(c, nil), w.policy.Placed(c, nil)) {
			moved++
		}
	}
	if moved == 0 || slices.Equal(before.Placed("c", nil), w.policy.Placed("c", nil)) {
		t.Fatalf("%d moved, c from %v to %v: choose other names", moved, before.Placed("c", nil), w.policy.Placed("c", nil))
	}
	r := w.sync()
	w.sync() // the segments go when their manifest has gone
	hold()
	if r.Totals.Trimmed == 0 || r.Totals.Deleted != 0 {
		t.Error(wrote(r))
	}
	w.policy.Place = &policies.Place{Copies: 1}
	w.policy.Replicas = 1
	w.mem["e"].Set("c", "theirs", []byte("not ours"), nil)
	w.sync()
	w.sync()
	theirs, data, _ := w.mem["e"].Get("c", "theirs")
	if !bytes.Equal(data, []byte("not ours")) {
		t.Errorf("what others wrote at e: %q %v", data, theirs)
	}
	w.mem["e"].Remove("c", "theirs")
	hold()
	w.forget()
	w.sync()
	for _, r := range []string{"b", "d", "e"} {
		var asked []string
		for _, c := range w.faults[r].Calls() {
			asked = append(asked, string(c.Method))
		}
		if len(asked) > 0 {
			t.Errorf("%s was asked: %s", r, strings.Join(asked, " "))
		}
	}
}

// Two containers that are placed apart have their segments in the same third one.
func TestPlacedApartWithTheSameSegments(t *testing.T) {
	w := placed(t)
	w.policy.Replicas, w.policy.Place = 1, &policies.Place{Copies: 1}
	w.policy.Containers = nil
	at := map[string]string{} // region: a container that is placed there
	for i := 0; len(at) < 2; i++ {
		c := fmt.Sprintf("films-%d", i)
		if r := w.policy.Placed(c, nil)[0]; at[r] == "" {
			at[r] = c
			w.policy.Containers = append(w.policy.Containers, c)
		}
	}
	for _, c := range append([]string{"parts"}, w.policy.Containers...) {
		if err := w.mem["a"].CreateContainer(t.Context(), c, nil); err != nil {
			t.Fatal(err)
		}
	}
	part := w.mem["a"].Set("parts", "p", fill(1, 1000), nil)
	for _, c := range w.policy.Containers {
		if _, err := w.mem["a"].PutManifest(t.Context(), c, "film", []transport.Segment{{Container: "parts", Name: "p", ETag: part.ETag, Size: 1000}}, transport.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		w.sync()
		for r, c := range at {
			if w.copies(c, "film", r) != 1 || w.copies("parts", "p", r) != 1 {
				t.Fatalf("%s at %s: film %v, its segment %v", c, r, w.mem[r].Names(c), w.mem[r].Names("parts"))
			}
		}
		w.mem["a"].Set("parts", "new", fill(2, 1000), nil)
	}
	for r := range at {
		if w.copies("parts", "new", r) != 1 {
			t.Errorf("%s has %q", r, w.mem[r].Names("parts"))
		}
	}
	w.restart()
	w.believed()
}
