package lag

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// start has a desk with one place that was looked at.
func start(t *testing.T) *desk {
	d := newDesk(t)
	d.follow(terms)
	d.Places("p", d.clock.now, []string{"c"})
	d.Look("p", "c").End()
	return d
}

// known asserts how old the oldest change is that is known and waits, and how many do.
func (d *desk) known(seconds float64, items int64) {
	d.t.Helper()
	if l := d.lag(); math.Abs(l.Known-seconds) > 1e-6 || l.Items != items {
		d.t.Fatalf("%v s known, %d items, instead of %v and %d", l.Known, l.Items, seconds, items)
	}
}

// A delete waits as soon as it is due, although nobody looks at that moment, and a kill
// before does not matter.
func TestDeleteBecomesDue(t *testing.T) {
	for _, killed := range []bool{false, true} {
		d := start(t)
		at := d.clock.now
		k := d.Look("p", "c")
		k.Due("b", "x", at.Add(10*time.Second))
		k.Due("b", "later", at.Add(2*time.Hour))
		k.End()
		d.clock.pass(5 * time.Second)
		d.known(0, 0)
		if killed {
			d.Tick()
			d.restart()
			d.follow(terms)
		}
		d.clock.pass(10 * time.Second)
		d.known(5, 1)
		if l := d.lag(); l.AtMost != 15 {
			t.Errorf("at most %v", l.AtMost)
		}
		d.Deleted(item("x"), at.Add(10*time.Second), true)
		if d.known(0, 0); d.lag().Past.Items != 1 || math.Abs(d.lag().Past.Max-5) > 0.05 {
			t.Errorf("%+v", d.lag().Past)
		}
		if d.kept = d.Tracker.kept; d.kept != 0 {
			t.Errorf("%d kept", d.kept)
		}
	}
}

// What is there again is not deleted, and waits as what it is now.
func TestDeleteTakenBack(t *testing.T) {
	d := start(t)
	at := d.clock.now
	for i, due := range []time.Duration{10 * time.Second, 0} { // one in its grace period, one that is late
		name := fmt.Sprint(i)
		k := d.Look("p", "c")
		k.Due("b", name, d.clock.now.Add(due))
		k.End()
		d.clock.pass(5 * time.Second)
		at = d.clock.now
		k = d.Look("p", "c")
		k.Waits("b", name, at, time.Time{}, 7)
		k.End()
		d.clock.pass(20 * time.Second)
		d.known(20, 1)
		d.Confirmed(item(name), at, 7, true)
		d.known(0, 0)
	}
	k := d.Look("p", "c")
	k.Waits("b", "x", at, time.Time{}, 7)
	k.Due("b", "x", d.clock.now.Add(time.Second)) // by an older record
	k.End()
	d.known(20, 1)
	k = d.Look("p", "c")
	k.Due("b", "x", d.clock.now.Add(time.Second)) // what was not copied is gone
	k.Due("b", "y", d.clock.now.Add(time.Second))
	k.End()
	d.known(0, 0)
	d.Gone(item("x"))
	d.Look("p", "c").End() // y is there again
	d.clock.pass(time.Minute)
	if d.known(0, 0); d.Tracker.kept != 0 {
		t.Errorf("%d kept", d.Tracker.kept)
	}
}

// After a kill the ledger's owner corrects what was noted seconds before it.
func TestRecall(t *testing.T) {
	d := start(t)
	d.clock.pass(time.Minute)
	at := d.clock.now
	k := d.Look("p", "c")
	for _, n := range []string{"held", "older", "gone"} {
		k.Waits("b", n, at, time.Time{}, 1)
	}
	k.Due("b", "deleted", at.Add(time.Second))
	k.End()
	d.Close()
	d.clock.pass(4 * time.Second)
	confirmed := d.clock.now // is not written
	d.clock.pass(16 * time.Second)
	d.restart()
	d.follow(terms)
	d.Places("p", d.clock.now, []string{"c"})
	d.known(20, 4)
	noted, first := d.Recall("p", "c")
	if len(noted) != 4 || !first {
		t.Fatal(noted, first)
	}
	for _, n := range noted {
		if n.Due != (n.Name == "deleted") {
			t.Error(n)
		}
	}
	d.Held(item("held"), at, confirmed)
	d.Held(item("older"), at.Add(-time.Second), confirmed)
	d.Gone(item("gone"))
	d.Gone(item("deleted"))
	d.known(20, 1)
	if p := d.lag().Past; p.Items != 1 || math.Abs(p.Max-4) > 0.04 {
		t.Errorf("%+v", p)
	}
	d.Known(item("begun"), at.Add(10*time.Second), time.Time{}, 1)
	d.Due(item("missing"), d.clock.now.Add(time.Second))
	d.Held(item("older"), at, confirmed)
	d.known(10, 1)
	d.clock.pass(2 * time.Second)
	d.known(12, 2)
	d.Look("p", "c").End()
	d.known(0, 0)
	if noted, first = d.Recall("p", "c"); len(noted) > 0 || first {
		t.Error(noted, first)
	}
}
