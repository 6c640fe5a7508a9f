package integration

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"farshore/integration/fakecloud"
)

// fakeAccount is the project's account at an emulated region.
func fakeAccount(t testing.TB, r *fakecloud.Region) account {
	return account{t: t, url: r.StorageURL(), token: func() string { return r.Token(fakecloud.User, fakecloud.Project) }}
}

var fakePlaces = places{main: "main", segs: "segs %41é", more: "more+=:@"}

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

func kindsPolicyText(one, two string, p places, template string) string {
	return fmt.Sprintf(kindsPolicy, one, two, p.main, p.segs, p.more, template)
}

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
	// later lets the second pass in which the program wrote: a region tells the time of
	// a write in whole seconds, so an edit of headers or of a link's target within that
	// second cannot be told from it (L1b).
	later func()
	// seldom has edits compared a few at a time: a real region answers in milliseconds,
	// not in microseconds.
	seldom int
	// past and spare are two containers more that scripts edit.
	past, spare string
}

func newFakeKinds(t *testing.T, o fakecloud.Options, container string) (*kindsWorld, *fakecloud.Region, *fakecloud.Region) {
	t.Helper()
	ahead := &atomic.Int64{}
	o.Clock = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	cloud, f := fake(t, o, "one", "two")
	one, two := cloud.Region("one"), cloud.Region("two")
	w := &kindsWorld{t: t, f: f, one: fakeAccount(t, one), two: fakeAccount(t, two), p: fakePlaces}
	w.later = func() { ahead.Add(int64(2 * time.Second)) }
	w.named(container)
	w.policy = f.policyFile(kindsPolicyText("one", "two", w.p, container))
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
	for i, e := range edits {
		e.do(w.one, w.p)
		w.mark()
		w.sync()
		spent := w.spent()
		w.t.Logf("%s: %d requests at the destination", e.what, len(spent))
		if len(spent) == 0 || len(spent) > e.most {
			w.t.Errorf("%s took %d requests at the destination, %d are enough:\n%s", e.what, len(spent), e.most, strings.Join(spent, "\n"))
		}
		w.quiet(e.what)
		if w.seldom > 1 && i%w.seldom != w.seldom-1 && i != len(edits)-1 {
			continue
		}
		var d []string
		for _, c := range w.p.all() {
			d = append(d, differences(w.one, w.two, c, w.names)...)
			if x, y := w.one.shape(c), w.two.shape(w.names.of(c)); !slices.Equal(x, y) {
				d = append(d, fmt.Sprintf("container %s has %q at the source, %q at the destination", c, x, y))
			}
		}
		for _, s := range d {
			w.t.Errorf("after %s: %s", e.what, s)
		}
		if len(d) > 0 {
			w.t.FailNow() // every later comparison would say the same
		}
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

const bothWaysPolicy = `
regions:
  one: {cloud: %[1]s}
  two: {cloud: %[2]s}
limits: {streams: 4}
policies:
  - &both
    name: there
    from: one
    to: [two]
    containers: [%[3]q, %[4]q, %[5]q]
    deletes: {propagate: true, after: 0s}
    brake: {deletes: off}
    bidirectional: true
  - <<: *both
    name: back
    from: two
    to: [one]
`

// bothWays runs a policy in each direction: what one carries, the other never sends
// back, in whatever order edits come.
func (w *kindsWorld) bothWays(one, two string, edit func(account)) {
	w.t.Helper()
	w.policy = w.f.policyFile(fmt.Sprintf(bothWaysPolicy, one, two, w.p.main, w.p.segs, w.p.more))
	w.p.furnish(w.one)
	total := func(o output) (copied, posted, deleted int64) {
		for _, p := range o.JSON.Result.Policies {
			if p.Totals.Conflicts+p.Totals.Cannot+p.Totals.Failed != 0 {
				w.t.Errorf("%s: %+v %+v", p.Policy, p.Totals, p.Findings)
			}
			copied += p.Totals.Copied
			posted += p.Totals.Metadata_updates
			deleted += p.Totals.Deleted
		}
		return copied, posted, deleted
	}
	still := func(after string) {
		w.t.Helper()
		for range 2 {
			o := w.sync()
			if c, p, d := total(o); c+p+d != 0 {
				w.t.Errorf("after %s: nothing changed, and %d were copied, %d posted, %d deleted:\n%s", after, c, p, d, o.Stdout)
			}
		}
	}
	objects := int64(0)
	for _, c := range w.p.all() {
		objects += int64(len(w.one.list(c)))
	}
	if c, p, d := total(w.sync()); c != objects || p+d != 0 {
		w.t.Errorf("the first pass copied %d, posted %d, deleted %d of %d objects", c, p, d, objects)
	}
	w.alike()
	still("the first pass")
	w.later()
	edit(w.two)
	w.sync() // there: what is edited over there is not overwritten; back: carries it
	w.alike()
	still("edits at two")
	w.later()
	for _, e := range kindEdits {
		e.do(w.one, w.p)
	}
	w.sync()
	w.alike()
	still("edits at one")
	w.f.checkLedger()
}

func TestKindsBothWays(t *testing.T) {
	w, _, _ := newFakeKinds(t, fakecloud.Options{SharedKeystone: true}, "{container}")
	w.bothWays("one", "two", w.editThere)
}
