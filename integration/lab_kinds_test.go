//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
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
	lw := &labWorld{t: t, lab: l, way: way{"one", "two"}, one: l.Client(t, "lab-one"), two: l.Client(t, "lab-two")}
	lw.from = lab.Scratch(t, lw.one)
	lw.to = strings.ReplaceAll(template, "{container}", lw.from)
	lw.f = newFarshore(t, l.CloudsFile())
	w := &kindsWorld{t: t, f: lw.f, one: labAccount(t, lw.one), two: labAccount(t, lw.two),
		p: places{main: lw.from, segs: lw.from + " %41é?#", more: lw.from + "+more"}}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(l.CloudsFile()), &fs); err != nil {
		t.Fatal(err)
	}
	if fs.Type == 0xEF53 { // ext4; a refused one would have the proxy shun its only disk for a minute
		t.Log("the lab is on ext4, which has no room for 90 headers (L11); it has it on tmpfs and xfs")
		w.p.fewer = 70
	}
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
	w.policy = w.f.policyFile(kindsPolicyText("lab-one", "lab-two", w.p, template))
	w.seldom = scaled(10, 1)
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
	w.f.certified("-f", w.policy, "--read", "100%")
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
	// the edits have left objects whose segments were replaced, which nobody can read (409, 500)
	(&script{a: w.two, p: w.p, began: time.Now()}).mend()
	w.f.must("sync", "-f", back)
	w.f.certified("-f", back, "--read", "100%")
	w.f.checkLedger()
}

// certified makes the fidelity certificate of a run: every row is kept, or mapped with
// how, and there are rows of objects and of containers.
func (f *farshore) certified(args ...string) {
	f.t.Helper()
	path := filepath.Join(f.t.TempDir(), "rows.jsonl")
	if o := f.run(append([]string{"audit", "--fidelity", "--output", path}, args...)...); o.Exit != 0 {
		f.t.Errorf("the certificate: exit %d\n%s%s", o.Exit, o.Stdout, o.Stderr)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		f.t.Fatal(err)
	}
	rows, mapped := map[string]int{}, map[string]int{}
	for line := range strings.Lines(string(raw)) {
		var r struct{ Item, Name, Property, Verdict, Why, Source, There string }
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			f.t.Fatal(err)
		}
		rows[r.Item]++
		switch {
		case r.Verdict == "kept":
		case r.Verdict == "mapped" && r.Why != "":
			mapped[r.Property+": "+r.Why]++
		default:
			f.t.Errorf("the certificate: %s", strings.TrimSpace(line))
		}
	}
	f.t.Logf("certificate of %q: rows %v, mapped %v", args, rows, mapped)
	if rows["object"]+rows["version"] == 0 || rows["container"] == 0 {
		f.t.Errorf("the certificate has the rows %v", rows)
	}
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

// TestLabBroken has what nobody can read at the source: a manifest whose segment was
// replaced, a static link whose target was. They are reported by name at every pass,
// never flattened and never counted as done, and hold nothing else up.
func TestLabBroken(t *testing.T) {
	w, _ := newLabKinds(t, "{container}")
	p := w.p
	for _, c := range p.all() {
		w.one.must("PUT", objectPath("", c), nil, "", 201, 202)
	}
	w.one.put(p.segs, "1", "first", nil)
	w.one.put(p.segs, "2", "second", nil)
	w.one.manifest(p.main, "slo", nil, part(p.segs, "1"), part(p.segs, "2"))
	w.one.manifest(p.main, "whole", nil, part(p.segs, "1"))
	w.one.put(p.more, "target", "pinned", nil)
	w.one.link(p.main, "static", p.more, "target", w.one.etag(p.more, "target"), nil)
	w.one.put(p.main, "plain", "p", nil)
	w.one.put(p.segs, "2", "another second", nil)
	w.one.put(p.more, "target", "another", nil)
	for i := range 2 {
		o := w.f.run("sync", "-f", w.policy)
		x := o.JSON.Result.Policies[0]
		var failed []string
		for _, f := range x.Findings {
			if f.Kind == "failed" {
				failed = append(failed, f.Name)
				if f.Cause == "" || f.Hint == "" || f.Region == "" || f.Container == "" {
					t.Errorf("finding %+v", f)
				}
			}
		}
		slices.Sort(failed)
		if o.Exit != 3 || fmt.Sprint(failed) != "[slo static]" || x.Replicas.Short != 2 {
			t.Fatalf("pass %d: exit %d, failed %q, %d short\n%s", i, o.Exit, failed, x.Replicas.Short, o.Stdout)
		}
	}
	var there []string
	for _, r := range w.two.list(p.main) {
		there = append(there, r.str("name"))
	}
	if fmt.Sprint(there) != "[plain whole]" {
		t.Errorf("the destination has %q", there)
	}
	w.one.remove(p.main, "slo")
	w.one.remove(p.main, "static")
	w.sync()
	w.alike()
	w.quiet("what was broken is gone")
}

// TestLabEdits plays ten of the scripts of TestEdits on real regions, undisturbed but
// for kills.
func TestLabEdits(t *testing.T) {
	for _, seed := range seeds(t, 3, 10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w, lw := newLabKinds(t, "{container}")
			policy := kindsPolicyText("lab-one", "lab-two", w.p, "{container}")
			if seed%2 == 1 {
				policy = mainOnly(policy, w.p)
			}
			w.policy = w.f.policyFile(w.enlarge(policy, "{container}"))
			t.Cleanup(func() {
				for _, c := range []*lab.Client{lw.one, lw.two} {
					labUnversion(t, c, w.past)
					c.Remove(t, w.past)
					c.Remove(t, w.spare)
				}
			})
			w.play(seed, 25, func(*rand.Rand) {}, func() {})
		})
	}
}
