//go:build integration

package integration

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"farshore/integration/lab"
)

// labAccount is the tenant's account of a real region.
func labAccount(t testing.TB, c *lab.Client) account {
	return account{t: t, url: c.URL, token: c.Token}
}

// newLabKinds is kindsWorld on two of the lab's regions. The containers' names need
// quoting; all begin alike, so that the proxy's log can be searched for them.
func newLabKinds(t *testing.T, template string) (*kindsWorld, *labWorld) {
	t.Helper()
	l := lab.Require(t)
	lw := &labWorld{t: t, lab: l, one: l.Client(t, "lab-one"), two: l.Client(t, "lab-two")}
	lw.from = lab.Scratch(t, lw.one)
	lw.to = strings.ReplaceAll(template, "{container}", lw.from)
	lw.f = newFarshore(t, l.CloudsFile())
	w := &kindsWorld{t: t, f: lw.f, one: labAccount(t, lw.one), two: labAccount(t, lw.two),
		p: places{main: lw.from, segs: lw.from + " %41é?#", more: lw.from + "+more"}}
	w.later = func() { time.Sleep(1100 * time.Millisecond) } // real regions have real seconds
	w.named(template)
	t.Cleanup(func() {
		for _, c := range w.p.all() {
			for _, cl := range []*lab.Client{lw.one, lw.two} {
				cl.Remove(t, c)
				cl.Remove(t, w.names.of(c))
			}
		}
	})
	w.policy = w.f.policyFile(fmt.Sprintf(kindsPolicy, "lab-one", "lab-two", w.p.main, w.p.segs, w.p.more, template))
	since := int64(0)
	w.mark = func() { since = lw.mark() }
	w.spent = func() []string {
		_, lines := lw.requests(since)
		return slices.DeleteFunc(lines, func(l string) bool {
			return strings.Contains(l, " SLO ") || strings.Contains(l, " DLO ") || strings.Contains(l, " SYM ")
		})
	}
	return w, lw
}

// swiftclient compares a container of the two regions with python-swiftclient.
func (w *labWorld) swiftclient(container, copied string) {
	w.t.Helper()
	cmd := exec.Command("/usr/bin/python3", "testdata/compare.py", "--kinds", container, copied)
	cmd.Env = append(w.lab.OpenRC("lab-one"), "OTHER_REGION=RegionTwo")
	out, err := cmd.CombinedOutput()
	w.t.Logf("python-swiftclient, %s: %s", container, strings.TrimSpace(string(out)))
	if err != nil {
		w.t.Fatalf("the containers differ: %v", err)
	}
}

// TestLabKinds carries every kind of object and every change of one on real Swift,
// there and, after edits over there, back.
func TestLabKinds(t *testing.T) {
	w, lw := newLabKinds(t, "{container}")
	w.p.furnish(w.one)
	w.sync()
	w.alike()
	for _, c := range w.p.all() {
		lw.swiftclient(c, c)
	}
	w.quiet("the first pass")
	w.carry(kindEdits)

	w.later()
	w.editThere(w.two)
	back := w.f.policyFile(strings.ReplaceAll(fmt.Sprintf(kindsPolicy, "lab-two", "lab-one", w.p.main, w.p.segs, w.p.more, "{container}"), "name: kinds", "name: back"))
	if o := w.f.must("sync", "-f", back); o.JSON.Result.Policies[0].Totals.Conflicts != 0 {
		t.Fatalf("the way back: %s", o.Stdout)
	}
	alike(t, w.two, w.one, names{}, w.p.all()...)
	for _, c := range w.p.all() {
		lw.swiftclient(c, c)
	}
	w.f.checkLedger()
}

// TestLabKindsElsewhere gives the containers other names at the destination: what
// points into them follows.
func TestLabKindsElsewhere(t *testing.T) {
	w, _ := newLabKinds(t, "{container}-copy")
	w.p.furnish(w.one)
	w.sync()
	w.alike()
	w.quiet("the first pass")
	some := slices.Clone(kindEdits)
	if !full() {
		some = slices.DeleteFunc(some, func(e kindEdit) bool { return !strings.Contains(e.what, "SLO") && !strings.Contains(e.what, "link") })
	}
	w.carry(some)
}

// TestLabBothWays has a policy in each direction over containers with every kind:
// neither sends the other's copies back.
func TestLabBothWays(t *testing.T) {
	w, _ := newLabKinds(t, "{container}")
	w.bothWays("lab-one", "lab-two", w.editThere)
}
