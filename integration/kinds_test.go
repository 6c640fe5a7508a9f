package integration

import (
	"fmt"
	"strings"
	"testing"

	"farshore/integration/fakecloud"
)

// fakeAccount is the project's account at an emulated region.
func fakeAccount(t testing.TB, r *fakecloud.Region) account {
	return account{t: t, url: r.StorageURL(), token: func() string { return r.Token(fakecloud.User, fakecloud.Project) }}
}

var fakePlaces = places{main: "main", segs: "segs %41é", more: "more"}

const kindsPolicy = `
regions:
  one: {cloud: %s}
  two: {cloud: %s}
limits: {streams: 4}
policies:
  - name: kinds
    from: one
    to: [two]
    containers: [%q, %q, %q]
    container: %q
    deletes: {propagate: true, after: 0s}
    brake: {deletes: off}
`

// kindsWorld is a data set with every kind of object at one region, and the means to
// look at its copy from outside.
type kindsWorld struct {
	t        *testing.T
	f        *farshore
	one, two account
	p        places
	names    names
	policy   string
	// mark begins the counting of requests at the destination; spent ends it.
	mark  func()
	spent func() []string
}

func newFakeKinds(t *testing.T, o fakecloud.Options, container string) (*kindsWorld, *fakecloud.Region, *fakecloud.Region) {
	t.Helper()
	cloud, f := fake(t, o, "one", "two")
	one, two := cloud.Region("one"), cloud.Region("two")
	w := &kindsWorld{t: t, f: f, one: fakeAccount(t, one), two: fakeAccount(t, two), p: fakePlaces}
	w.named(container)
	w.policy = f.policyFile(fmt.Sprintf(kindsPolicy, "one", "two", w.p.main, w.p.segs, w.p.more, container))
	w.mark = func() { two.LogRequests(true) }
	w.spent = func() []string {
		var out []string
		for _, e := range two.Requests() {
			if e.Class == fakecloud.ClassInfo { // what the region can, once a run
				continue
			}
			out = append(out, fmt.Sprintf("%s %s/%s?%s %d", e.Method, e.Container, e.Object, e.Query, e.Status))
		}
		two.LogRequests(false)
		return out
	}
	return w, one, two
}

// named notes what a policy's container template makes of the containers' names.
func (w *kindsWorld) named(template string) {
	w.names = names{}
	for _, c := range append(w.p.all(), w.p.main+"-none") {
		if to := strings.ReplaceAll(template, "{container}", c); to != c {
			w.names[c] = to
		}
	}
}

func (w *kindsWorld) sync() output {
	w.t.Helper()
	return w.f.must("sync", "-f", w.policy)
}

// quiet asserts that a pass over what did not change asks the destination nothing.
func (w *kindsWorld) quiet(after string) {
	w.t.Helper()
	w.mark()
	w.sync()
	if got := w.spent(); len(got) > 0 {
		w.t.Errorf("%s: an unchanged pass made %d requests to the destination:\n%s", after, len(got), strings.Join(got, "\n"))
	}
}

func (w *kindsWorld) alike() {
	w.t.Helper()
	alike(w.t, w.one, w.two, w.names, w.p.all()...)
}

// carry makes every edit in turn; each takes one pass, and no more requests than said.
func (w *kindsWorld) carry(edits []kindEdit) {
	for _, e := range edits {
		e.do(w.one, w.p)
		w.mark()
		w.sync()
		spent := w.spent()
		w.t.Logf("%s: %d requests at the destination", e.what, len(spent))
		if len(spent) == 0 || len(spent) > e.most {
			w.t.Errorf("%s took %d requests at the destination, %d are enough:\n%s", e.what, len(spent), e.most, strings.Join(spent, "\n"))
		}
		d := differences(w.one, w.two, w.p.main, w.names)
		d = append(d, differences(w.one, w.two, w.p.segs, w.names)...)
		d = append(d, differences(w.one, w.two, w.p.more, w.names)...)
		for _, s := range d {
			w.t.Errorf("after %s: %s", e.what, s)
		}
		if len(d) > 0 {
			w.t.FailNow() // every later comparison would say the same
		}
		w.quiet(e.what)
	}
}

// TestKinds carries every kind of object and every change of one, under the names of
// the source and under others.
func TestKinds(t *testing.T) {
	for _, template := range []string{"{container}", "dr-{container}"} {
		t.Run(template, func(t *testing.T) {
			w, _, _ := newFakeKinds(t, fakecloud.Options{}, template)
			w.p.furnish(w.one)
			w.sync()
			w.alike()
			w.quiet("the first pass")
			w.carry(kindEdits)
			w.f.checkLedger()
		})
	}
}
