package replicator

import (
	"slices"
	"strings"
	"testing"
	"time"

	"farshore/replicator/report"
	"farshore/transport"
	tt "farshore/transport/transporttest"
)

func TestPropertiesWhatOthersSet(t *testing.T) {
	w := newWorld(t, "b")
	_ = w.mem["b"].CreateContainer(t.Context(), "c", transport.Header{"X-Container-Meta-Theirs": "t", colour: "green"})
	w.postProps("a", transport.Header{colour: "red", "X-Container-Meta-Size": "big"})

	r := w.pass()
	w.wantProps("b", transport.Header{"X-Container-Meta-Theirs": "t", colour: "green", "X-Container-Meta-Size": "big"})
	if f := finding(t, r, report.KindConflict); f.Level != report.Error || !strings.Contains(f.Cause, colour) || f.Hint == "" || f.Region != "b" || f.Container != "c" {
		t.Errorf("%+v", f)
	}
	if f := finding(t, r, report.KindForeignProperty); f.Level != report.Info || !strings.Contains(f.Cause, "X-Container-Meta-Theirs") {
		t.Errorf("%+v", f)
	}
	w.restart()
	r = w.pass() // the conflict is said again, what is only theirs is not
	finding(t, r, report.KindConflict)
	if len(r.Findings) != 1 {
		t.Errorf("%+v", r.Findings)
	}

	w.postProps("b", nil, colour) // a person removes theirs
	if r = w.sync(); r.Totals.Properties != 1 {
		t.Errorf("%+v", r.Totals)
	}
	w.wantProps("b", transport.Header{"X-Container-Meta-Theirs": "t", colour: "red", "X-Container-Meta-Size": "big"})

	// an edit there, and none at the source: it stays, until the source changes too
	w.postProps("b", transport.Header{colour: "pink"})
	w.forget()
	if r = w.sync(); len(w.faults["b"].Calls()) != 0 {
		t.Errorf("%+v", w.faults["b"].Calls())
	}
	w.postProps("a", transport.Header{"X-Container-Meta-Size": "small"})
	if r = w.sync(); finding(t, r, report.KindDegraded).Level != report.Warn {
		t.Errorf("%+v", r.Findings)
	}
	w.wantProps("b", transport.Header{"X-Container-Meta-Theirs": "t", colour: "pink", "X-Container-Meta-Size": "small"})
	w.policy.Takeover = true // a policy that begins to allow it looks again
	w.sync()
	w.wantProps("b", transport.Header{"X-Container-Meta-Theirs": "t", colour: "red", "X-Container-Meta-Size": "small"})
	w.policy.Takeover = false
	w.sync()
	w.postProps("b", transport.Header{colour: "pink"})
	w.postProps("a", transport.Header{colour: "black"})
	finding(t, w.pass(), report.KindConflict)
	w.policy.Takeover = true
	w.sync()
	w.wantProps("b", transport.Header{"X-Container-Meta-Theirs": "t", colour: "black", "X-Container-Meta-Size": "small"})
}

func TestPropertiesByTheWayBack(t *testing.T) {
	w := newWorld(t, "b")
	w.put("x", 1, 100, nil)
	w.postProps("a", transport.Header{colour: "red", "X-Container-Meta-Shape": "round", "X-Container-Meta-Old": "o", quota: "5000"})
	w.sync()
	back := w.policy
	back.Name, back.From, back.To = "back", "b", []string{"a"}
	there := w.policy
	both := func() {
		t.Helper()
		for _, p := range []struct {
			name string
			do   func() report.Result
		}{{"there", func() report.Result { w.policy = there; return w.sync() }}, {"back", func() report.Result { w.policy = back; return w.sync() }}} {
			w.forget()
			if r := p.do(); r.Totals.Properties != 0 || w.faults["a"].Count(tt.PostContainer)+w.faults["b"].Count(tt.PostContainer) != 0 {
				t.Fatalf("%s, with nothing changed: %d properties", p.name, r.Totals.Properties)
			}
		}
	}
	w.policy = back
	if r := w.sync(); r.Totals.Properties != 0 || len(r.Findings) != 0 {
		t.Fatalf("the first way back: %d properties %+v", r.Totals.Properties, r.Findings)
	}
	both()

	// edits at the copy travel home: a change, an addition, a removal; what was edited at home stays
	w.postProps("b", transport.Header{colour: "blue", "X-Container-Meta-New": "n"}, "X-Container-Meta-Old")
	w.postProps("a", transport.Header{"X-Container-Meta-Shape": "square"})
	if r := w.sync(); r.Totals.Properties != 3 {
		t.Fatalf("the way back: %d properties", r.Totals.Properties)
	}
	want := transport.Header{colour: "blue", "X-Container-Meta-New": "n", "X-Container-Meta-Shape": "square", quota: "5000"}
	w.wantProps("a", want)
	w.policy = there
	if r := w.sync(); r.Totals.Properties != 1 {
		t.Fatalf("there again: %d properties", r.Totals.Properties)
	}
	w.wantProps("b", want)
	both()

	// and back to an earlier value, before the other direction has looked
	w.policy = back
	w.postProps("b", transport.Header{colour: "green"})
	w.sync()
	w.postProps("b", transport.Header{colour: "blue"})
	w.sync()
	w.wantProps("a", want)
	both()

	w.postProps("a", transport.Header{colour: "white"})
	w.postProps("b", transport.Header{colour: "black"})
	w.policy = there
	finding(t, w.pass(), report.KindConflict)
	w.policy = back
	finding(t, w.pass(), report.KindConflict)
	w.restart()
}

func TestPropertiesOfContainersThatWereRemoved(t *testing.T) {
	w := newWorld(t, "b")
	w.put("x", 1, 100, nil)
	w.postProps("a", transport.Header{colour: "red", readACL: ".r:*", quota: "5000"})
	w.sync()
	want := transport.Header{colour: "red", readACL: ".r:*", quota: "5000"}

	// at the destination: the next object makes it again, with all it had
	if err := w.mem["b"].Delete(t.Context(), "c", "x"); err != nil {
		t.Fatal(err)
	}
	if err := w.mem["b"].DeleteContainer(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	w.put("y", 2, 100, nil)
	w.sync()
	w.wantProps("b", want)
	// and so does a repair
	for _, n := range []string{"x", "y"} {
		_ = w.mem["b"].Delete(t.Context(), "c", n)
	}
	if err := w.mem["b"].DeleteContainer(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	w.audit(AuditOptions{Repair: true})
	w.sync()
	w.wantProps("b", want)

	// and so does a pass that lists the destination, as there is a way back
	back := w.policy
	back.Name, back.From, back.To = "back", "b", []string{"a"}
	if jobs, err := w.engine().Jobs(t.Context(), back); err != nil {
		t.Fatal(err)
	} else if _, err := w.engine().Sync(t.Context(), back, jobs, SyncOptions{}); err != nil {
		t.Fatal(err)
	}
	w.mem["b"].RemoveContainer("c")
	w.sync()
	w.wantProps("b", want)
	w.putAt("a", "c", "y2", "more", nil)
	w.sync()

	// at the source, made anew and empty: its properties wait for a person as its deletes do
	_, _ = w.mem["a"].Container(t.Context(), "c")
	for _, n := range []string{"x", "y", "y2"} {
		_ = w.mem["a"].Delete(t.Context(), "c", n)
	}
	if err := w.mem["a"].DeleteContainer(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	_ = w.mem["a"].CreateContainer(t.Context(), "c", transport.Header{colour: "none"})
	r, err := w.try(w.policy, SyncOptions{})
	if r.Brake == "" {
		t.Fatalf("no brake: %v %+v", err, r)
	}
	w.wantProps("b", want)
	w.put("x", 1, 100, nil) // its objects come back
	w.sync()
	w.wantProps("b", transport.Header{colour: "none"})
}

// The container of a DLO's parts is made with its properties, follows them later, and
// gets its quota again at the end of every pass: only a part of it comes along.
func TestPropertiesOfWhereADLOsPartsLie(t *testing.T) {
	w := newWorld(t, "b")
	if err := w.mem["a"].CreateContainer(t.Context(), "parts", transport.Header{readACL: ".r:*", quota: "1000"}); err != nil {
		t.Fatal(err)
	}
	w.putAt("a", "parts", "d/1", "part 1", nil)
	w.putAt("a", "parts", "other", "no part", nil)
	w.putAt("a", "c", "dlo", "", transport.Header{transport.ManifestHeader: "parts/d/"})
	want := func(h transport.Header) {
		t.Helper()
		info, err := w.mem["b"].Container(t.Context(), "parts")
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []string{readACL, quota, colour} {
			if info.Header[n] != h[n] {
				t.Fatalf("%s is %q at b, not %q", n, info.Header[n], h[n])
			}
		}
	}
	w.sync()
	want(transport.Header{readACL: ".r:*", quota: "1000"})
	if err := w.mem["a"].PostContainer(t.Context(), "parts", transport.Header{colour: "red"}, []string{readACL}); err != nil {
		t.Fatal(err)
	}
	w.sync()
	want(transport.Header{colour: "red", quota: "1000"})
	w.clock.advance(time.Minute)
	w.putAt("a", "parts", "d/2", "part 2", nil)
	w.sync()
	want(transport.Header{colour: "red", quota: "1000"})
	w.forget()
	w.sync()
	if n := w.faults["b"].Count(); n != 0 {
		t.Errorf("an unchanged pass made %d requests to the destination: %+v", n, w.faults["b"].Calls())
	}
	if got := w.mem["b"].Names("parts"); !slices.Equal(got, []string{"d/1", "d/2"}) {
		t.Errorf("%q", got)
	}
	w.restart()
}

// A part of a container came along and made it, then an object of another part does, and with
// it the container as a whole: what was agreed is not forgotten over that.
func TestPropertiesOfWhereAPartCameFirst(t *testing.T) {
	for _, first := range []string{"parts/d/", "parts/e/"} { // what is the only part, or is one of two afterwards
		w := newWorld(t, "b")
		if err := w.mem["a"].CreateContainer(t.Context(), "parts", transport.Header{colour: "red", quota: "1000"}); err != nil {
			t.Fatal(err)
		}
		w.putAt("a", "c", "dlo", "", transport.Header{transport.ManifestHeader: first})
		w.sync()
		w.putAt("a", "parts", "x", "segment", nil)
		w.slo("c", "slo", nil, w.segment("parts", "x"))
		w.putAt("a", "c", "dlo2", "", transport.Header{transport.ManifestHeader: "parts/d/"})
		for _, now := range []transport.Header{{colour: "green", quota: "2000"}, {colour: "blue", quota: "3000"}} {
			if err := w.mem["a"].PostContainer(t.Context(), "parts", now, nil); err != nil {
				t.Fatal(err)
			}
			w.sync()
			info, err := w.mem["b"].Container(t.Context(), "parts")
			if err != nil || info.Header[colour] != now[colour] || info.Header[quota] != now[quota] {
				t.Fatalf("%v %+v, not %+v", err, info.Header, now)
			}
		}
		w.forget()
		w.sync()
		if n := w.faults["b"].Count(); n != 0 {
			t.Errorf("an unchanged pass made %d requests to the destination: %+v", n, w.faults["b"].Calls())
		}
		w.restart()
	}
}
