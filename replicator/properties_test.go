package replicator

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"farshore/replicator/report"
	"farshore/transport"
	tt "farshore/transport/transporttest"
)

const (
	colour  = "X-Container-Meta-Colour"
	quota   = "X-Container-Meta-Quota-Bytes"
	readACL = "X-Container-Read"
	tempKey = "X-Container-Meta-Temp-Url-Key"
	secret  = "hunter2-hunter2"
)

// postProps changes properties of container c behind Farshore's back.
func (w *world) postProps(region string, set transport.Header, remove ...string) {
	w.t.Helper()
	if err := w.mem[region].PostContainer(w.t.Context(), "c", set, remove); err != nil {
		w.t.Fatal(err)
	}
}

// wantProps asserts what container c of a region has, the storage policy left out.
func (w *world) wantProps(region string, want transport.Header) {
	w.t.Helper()
	info, err := w.mem[region].Container(w.t.Context(), "c")
	if err != nil {
		w.t.Fatal(err)
	}
	got := info.Header.Clone()
	maps.Copy(got, info.Keys)
	delete(got, transport.PolicyHeader)
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Fatalf("container c of region %s: %s", region, diff)
	}
}

// pass makes a pass that may have findings.
func (w *world) pass() report.Result {
	w.t.Helper()
	r, err := w.try(w.policy, SyncOptions{})
	if err != nil {
		w.t.Fatalf("sync: %v", err)
	}
	return r
}

// finding gives the only finding of a kind.
func finding(t *testing.T, r report.Result, kind string) report.Finding {
	t.Helper()
	var out []report.Finding
	for _, f := range r.Findings {
		if f.Kind == kind {
			out = append(out, f)
		}
	}
	if len(out) != 1 {
		t.Fatalf("%d findings %s: %+v", len(out), kind, r.Findings)
	}
	return out[0]
}

// foreignWorld is a world whose destination is another project.
func foreignWorld(t *testing.T) *world {
	w := newWorld(t, "b")
	w.mem["b"] = tt.NewMem(tt.MemOptions{Region: "b", Project: "theirs", Now: w.clock.Now})
	return w
}

func TestPropertiesTravel(t *testing.T) {
	w := newWorld(t, "b")
	w.put("x", 1, 100, nil)
	all := transport.Header{colour: "red", readACL: ".r:*,.rlistings,p:u", "X-Container-Write": "p:u", "X-Container-Meta-Access-Control-Allow-Origin": "https://x",
		"X-Container-Meta-Web-Index": "index.html", "X-Container-Meta-Web-Listings": "true"}
	w.postProps("a", all)
	w.postProps("a", transport.Header{quota: "1000", "X-Container-Meta-Quota-Count": "7"})
	with := all.Clone()
	with[quota], with["X-Container-Meta-Quota-Count"] = "1000", "7"

	r := w.sync()
	w.wantProps("b", with)
	if r.Totals.Properties != 8 || len(r.Findings) != 0 {
		t.Errorf("first pass: %d properties, %+v", r.Totals.Properties, r.Findings)
	}
	calls := w.faults["b"].Calls()
	made, data := slices.IndexFunc(calls, func(c tt.Call) bool { return c.Method == tt.CreateContainer }), slices.IndexFunc(calls, func(c tt.Call) bool { return c.Method == tt.Put })
	if made < 0 || data < made || w.faults["b"].Count(tt.PostContainer) != 1 {
		t.Errorf("the container with its properties comes before the data, and quotas after: %+v", calls)
	}

	w.forget()
	w.restart()
	if r := w.sync(); r.Totals.Properties != 0 || w.faults["b"].Count(readsAndWrites...)+w.faults["b"].Count(tt.PostContainer) != 0 || w.faults["a"].Count(tt.Container) != 1 {
		t.Errorf("an unchanged pass: %d properties, %+v", r.Totals.Properties, w.faults["b"].Calls())
	}

	// a change, an addition, a removal
	w.forget()
	w.postProps("a", transport.Header{colour: "blue", "X-Container-Meta-New": "n"}, "X-Container-Write", "X-Container-Meta-Web-Listings", "X-Container-Meta-Quota-Count")
	want := with.Clone()
	want[colour], want["X-Container-Meta-New"] = "blue", "n"
	for _, gone := range []string{"X-Container-Write", "X-Container-Meta-Web-Listings", "X-Container-Meta-Quota-Count"} {
		delete(want, gone)
	}
	if r := w.sync(); r.Totals.Properties != 5 {
		t.Errorf("changed: %d properties", r.Totals.Properties)
	}
	w.wantProps("b", want)
	w.forget()
	if r := w.sync(); r.Totals.Properties != 0 || len(w.faults["b"].Calls()) != 0 {
		t.Errorf("after the change: %d properties, %+v", r.Totals.Properties, w.faults["b"].Calls())
	}
	w.restart()
}

func TestPropertiesOfAnotherProject(t *testing.T) {
	w := foreignWorld(t)
	w.put("x", 1, 100, nil)
	w.postProps("a", transport.Header{readACL: ".r:*,p1:u1,p9:*", "X-Container-Write": "p9:u9"})
	w.policy.Map.Projects = map[string]string{"p1": "q1"}
	w.policy.Map.Users = map[string]string{"u1": "v1"}
	for i := range 2 { // said at every pass, and asked for at the first only
		w.forget()
		r := w.sync()
		w.wantProps("b", transport.Header{readACL: ".r:*,q1:v1"})
		var causes []string
		for _, f := range r.Findings {
			if f.Kind != report.KindCannot || f.Level != report.Warn || !strings.Contains(f.Hint, "map:") {
				t.Errorf("%+v", f)
			}
			causes = append(causes, f.Cause)
		}
		if len(causes) != 2 || !strings.Contains(causes[0], "project p9") || !strings.Contains(causes[1], "project p9, user u9") {
			t.Errorf("pass %d: %q", i, causes)
		}
		if i > 0 && len(w.faults["b"].Calls()) != 0 {
			t.Errorf("%+v", w.faults["b"].Calls())
		}
	}
	w.policy.Map.Projects["p9"] = "q9" // the table grows: what it maps is carried
	w.sync()
	w.wantProps("b", transport.Header{readACL: ".r:*,q1:v1,q9:*"})
	delete(w.policy.Map.Projects, "p1") // and shrinks: nobody keeps a right that nothing speaks for
	w.sync()
	w.wantProps("b", transport.Header{readACL: ".r:*,q9:*"})
	w.policy.Accept = []string{report.KindCannot}
	for _, f := range w.sync().Findings {
		if f.Level != report.Info {
			t.Errorf("accepted: %+v", f)
		}
	}
}

func TestPropertiesStrict(t *testing.T) {
	w := foreignWorld(t)
	w.policy.Strict = true
	w.put("x", 1, 100, nil)
	w.postProps("a", transport.Header{readACL: "p9:*", colour: "red"})
	r := w.pass()
	if _, err := w.mem["b"].Container(t.Context(), "c"); !transport.Is(err, transport.NotFound) {
		t.Fatalf("the container was made: %v", err)
	}
	if r.Errors == 0 || r.Totals.Copied != 0 {
		t.Errorf("%+v", r)
	}
	w.policy.Map.Projects = map[string]string{"p9": "q9"}
	w.sync()
	w.wantProps("b", transport.Header{readACL: "q9:*", colour: "red"})
	w.postProps("a", transport.Header{readACL: "p9:*,p8:*", colour: "blue"})
	w.put("y", 2, 100, nil)
	r = w.pass() // one that is there is left as it is, and its objects go on
	if f := finding(t, r, report.KindCannot); f.Level != report.Error || !strings.Contains(f.Cause, "project p8") {
		t.Errorf("%+v", f)
	}
	w.wantProps("b", transport.Header{readACL: "q9:*", colour: "red"})
	if r.Totals.Copied != 1 {
		t.Errorf("%+v", r.Totals)
	}
}

func TestStoragePolicies(t *testing.T) {
	for _, c := range []struct {
		name              string
		there             []string // policies of the destination, its default first
		exists            bool
		mapped            map[string]string
		strict            bool
		want, cause       string
		level             report.Level
		notMade, noChange bool
	}{
		{name: "the same name", there: []string{"Policy-0", "gold"}, want: "gold"},
		{name: "mapped", there: []string{"Policy-0", "best"}, mapped: map[string]string{"gold": "best"}, want: "best"},
		{name: "unknown there", there: []string{"cheap"}, want: "cheap", cause: "cheap there, not in gold", level: report.Warn},
		{name: "mapped to what is unknown there", there: []string{"cheap"}, mapped: map[string]string{"gold": "best"}, want: "cheap", cause: "cheap there, not in best", level: report.Warn},
		{name: "there already, in another", there: []string{"Policy-0", "gold"}, exists: true, want: "Policy-0", cause: "Policy-0 there, not in gold", level: report.Warn},
		{name: "unknown there, strict", there: []string{"cheap"}, strict: true, cause: "storage policy gold is not known there", level: report.Error, notMade: true},
		{name: "there already in another, strict", there: []string{"Policy-0", "gold"}, exists: true, strict: true, want: "Policy-0", cause: "Policy-0 there, not in gold", level: report.Error, noChange: true},
	} {
		w := newWorld(t, "b")
		w.mem["a"] = tt.NewMem(tt.MemOptions{Region: "a", Now: w.clock.Now, Policies: []string{"Policy-0", "gold"}})
		w.mem["b"] = tt.NewMem(tt.MemOptions{Region: "b", Now: w.clock.Now, Policies: c.there})
		_ = w.mem["a"].CreateContainer(t.Context(), "c", transport.Header{transport.PolicyHeader: "gold", colour: "red"})
		if c.exists {
			_ = w.mem["b"].CreateContainer(t.Context(), "c", nil)
		}
		w.put("x", 1, 10, nil)
		w.policy.Map.StoragePolicies, w.policy.Strict = c.mapped, c.strict
		for i := range 2 {
			w.forget()
			r := w.pass()
			info, err := w.mem["b"].Container(t.Context(), "c")
			switch {
			case c.notMade && !transport.Is(err, transport.NotFound), !c.notMade && err != nil, info.Policy != c.want:
				t.Errorf("%s: policy %q, %v", c.name, info.Policy, err)
			case !c.notMade && (info.Header[colour] == "red") == c.noChange:
				t.Errorf("%s: has %v", c.name, info.Header)
			}
			found := slices.ContainsFunc(r.Findings, func(f report.Finding) bool { return strings.Contains(f.Cause, c.cause) && f.Level == c.level })
			if found != (c.cause != "") || c.cause == "" && len(r.Findings) != 0 {
				t.Errorf("%s: pass %d: %+v", c.name, i, r.Findings)
			}
			if i > 0 && !c.notMade && !c.noChange && len(w.faults["b"].Calls()) != 0 {
				t.Errorf("%s: unchanged: %+v", c.name, w.faults["b"].Calls())
			}
		}
	}
}

func TestTempURLKeys(t *testing.T) {
	w := newWorld(t, "b")
	w.postProps("a", transport.Header{tempKey: secret, colour: "red"})
	w.sync()
	w.wantProps("b", transport.Header{colour: "red"})
	w.policy.Properties.TempURLKeys = true
	w.sync()
	w.wantProps("b", transport.Header{colour: "red", tempKey: secret})
	w.postProps("a", nil, tempKey)
	w.sync()
	w.wantProps("b", transport.Header{colour: "red"})
	w.postProps("a", transport.Header{tempKey: secret})
	w.sync()
	w.policy.Properties.TempURLKeys = false // not carried any more is not taken away
	w.sync()
	w.wantProps("b", transport.Header{colour: "red", tempKey: secret})
	w.postProps("b", transport.Header{tempKey: "other"})
	w.policy.Properties.TempURLKeys = true
	w.postProps("a", transport.Header{tempKey: secret + "2"})
	if f := finding(t, w.pass(), report.KindConflict); strings.Contains(f.Cause, secret) {
		t.Errorf("%+v", f)
	}
	if err := w.ledger.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(w.path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), secret) {
		t.Error("the key is in the ledger")
	}
}

func TestQuotasAreLiftedWhileAPassWrites(t *testing.T) {
	w := newWorld(t, "b")
	w.put("x", 1, 600, nil)
	w.postProps("a", transport.Header{quota: "1000"})
	w.sync()
	w.wantProps("b", transport.Header{quota: "1000"})
	// the source exchanges the object: both together are over the quota
	if err := w.mem["a"].Delete(t.Context(), "c", "x"); err != nil {
		t.Fatal(err)
	}
	w.put("y", 2, 900, nil)
	w.forget()
	w.sync()
	if _, data, ok := w.mem["b"].Get("c", "y"); !ok || len(data) != 900 {
		t.Fatal("y was not copied")
	}
	w.wantProps("b", transport.Header{quota: "1000"})
	if n := w.faults["b"].Count(tt.PostContainer); n != 2 {
		t.Errorf("%d POSTs", n)
	}
	// a run that dies in between leaves it to the next
	w.put("z", 3, 50, nil)
	w.faults["b"].Add(tt.Put, tt.Before(func() { _ = w.ledger.Close() }))
	_, _ = w.try(w.policy, SyncOptions{})
	w.wantProps("b", transport.Header{})
	w.open()
	w.sync()
	w.wantProps("b", transport.Header{quota: "1000"})
	// one that others have set there is theirs
	w.postProps("b", transport.Header{quota: "1001"})
	w.put("z2", 3, 5, nil)
	if r := w.pass(); r.Totals.Failed != 1 {
		t.Errorf("%+v", r.Totals)
	}
	w.wantProps("b", transport.Header{quota: "1001"})
}

func TestPropertiesOfAPartOfAContainer(t *testing.T) {
	w := newWorld(t, "b")
	w.put("in/x", 1, 10, nil)
	w.postProps("a", transport.Header{readACL: ".r:*"})
	w.policy.Prefix = "in/"
	_ = w.mem["b"].CreateContainer(t.Context(), "c", nil)
	w.sync()
	w.wantProps("b", transport.Header{}) // what else is in there is not made public
	w2 := newWorld(t, "b")
	w2.put("in/x", 1, 10, nil)
	w2.postProps("a", transport.Header{readACL: ".r:*"})
	w2.policy.Prefix = "in/"
	w2.sync()
	w2.wantProps("b", transport.Header{readACL: ".r:*"})
	w2.postProps("a", nil, readACL)
	w2.sync()
	w2.wantProps("b", transport.Header{})
}

func TestPropertiesInAPlan(t *testing.T) {
	w := newWorld(t, "b")
	w.postProps("a", transport.Header{colour: "red", quota: "5"})
	plan := func() report.Result {
		t.Helper()
		w.forget()
		r, err := w.try(w.policy, SyncOptions{DryRun: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range w.faults["b"].Calls() {
			if c.Writes() {
				t.Errorf("a plan writes: %+v", c)
			}
		}
		return r
	}
	if r := plan(); r.Totals.Properties != 2 {
		t.Errorf("a new container: %+v", r.Totals)
	}
	w.sync()
	if r := plan(); r.Totals.Properties != 0 || len(w.faults["b"].Calls()) != 0 {
		t.Errorf("unchanged: %+v", r.Totals)
	}
	w.postProps("a", transport.Header{colour: "blue"}, quota)
	if r := plan(); r.Totals.Properties != 2 {
		t.Errorf("changed: %+v", r.Totals)
	}
	w.policy.Properties.Containers = false
	if r := plan(); r.Totals.Properties != 0 {
		t.Errorf("not chosen: %+v", r.Totals)
	}
	w.sync()
	w.wantProps("b", transport.Header{colour: "red", quota: "5"})
}

// TestPropertiesAnywhereKilled kills a run at every step of a change and has the next
// one bring it to its end, without a conflict.
func TestPropertiesAnywhereKilled(t *testing.T) {
	for n := 1; ; n++ {
		w := newWorld(t, "b")
		w.put("x", 1, 10, nil)
		w.postProps("a", transport.Header{colour: "red", readACL: ".r:*", quota: "5000"})
		w.sync()
		w.postProps("a", transport.Header{colour: "blue", quota: "6000"}, readACL)
		w.put("y", 2, 10, nil)
		w.forget()
		w.faults["b"].StopAt(n)
		_, err := w.try(w.policy, SyncOptions{})
		died := w.faults["b"].Steps() >= n
		w.faults["b"].Revive()
		w.restart()
		w.postProps("a", transport.Header{colour: "black"}) // and the source goes on
		w.sync()
		w.wantProps("b", transport.Header{colour: "black", quota: "6000"})
		if !died {
			if n < 8 {
				t.Fatalf("only %d steps: %v", n, err)
			}
			return
		}
	}
}
