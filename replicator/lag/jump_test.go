package lag

import (
	"fmt"
	"testing"
	"time"

	"farshore/replicator/report"
)

// A clock that is set: no figure is ever negative, a jump makes nobody late who was looked
// at as often as should be, and what was late is paired.
func TestClockJumps(t *testing.T) {
	d := newDesk(t)
	var all []Terms
	for i := range 20 {
		all = append(all, Terms{Policy: fmt.Sprint("p", i), Regions: []string{"b"}, RPO: time.Hour, Poll: 10 * time.Minute, Points: i%2 == 0})
	}
	d.follow(all...)
	look := func() {
		for _, x := range all {
			at := d.clock.Now()
			d.Places(x.Policy, at, []string{"c"})
			k := d.Look(x.Policy, "c")
			if x.Points {
				k.AsOf("b", at)
			}
			k.End()
		}
	}
	sane := func(when string) {
		t.Helper()
		for _, l := range d.Lags() {
			for name, v := range map[string]float64{"lag": l.Seconds, "known": l.Known, "at most": l.AtMost, "p50": l.Past.P50, "p99": l.Past.P99, "max": l.Past.Max} {
				if v < 0 {
					t.Errorf("%s: %s of %s is %g s", when, name, l.Policy, v)
				}
			}
		}
	}
	// run lets time pass as a daemon has it: judged each second, looked at every five minutes.
	run := func(when string, d2 time.Duration) {
		for s := range int(d2 / time.Second) {
			d.clock.pass(time.Second)
			if s%300 == 299 {
				look()
			}
			d.Tick()
		}
		sane(when)
	}
	look()
	run("at first", 12*time.Minute)
	jumped := time.Duration(0)
	d.passed = func(since, now time.Time) time.Duration {
		by := jumped
		jumped = 0
		return now.Sub(since) - by
	}
	for _, by := range []time.Duration{24 * time.Hour, -24 * time.Hour, 3 * time.Hour, -90 * time.Minute} {
		d.clock.pass(by)
		jumped = by
		d.Tick()
		sane(by.String())
		run(by.String(), 12*time.Minute)
		// What is confirmed at that moment took no less than nothing.
		d.Confirmed(Item{Policy: "p1", Region: "b", Place: "c", Name: "o"}, d.clock.Now().Add(by), 1, true)
		sane(by.String())
	}
	if len(d.events) > 0 {
		t.Errorf("%d events, the first: %+v", len(d.events), d.events[0])
	}

	// Those whom nobody looks at afterwards are late all the same.
	d.clock.pass(24 * time.Hour)
	jumped = 24 * time.Hour
	for range int(70 * time.Minute / time.Second) {
		d.clock.pass(time.Second)
		d.Tick()
	}
	if len(d.events) != len(all) || d.events[0].Kind != report.EventLate {
		t.Errorf("%d events after an hour without a look", len(d.events))
	}
	look()
	run("at last", 10*time.Minute)
	if len(d.events) != 2*len(all) {
		t.Errorf("%d events: not paired", len(d.events))
	}
}
