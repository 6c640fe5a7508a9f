package lag

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"testing"
	"time"

	"farshore/replicator/report"
)

// at gives how a region stands.
func (d *desk) at(region string) report.Lag {
	d.t.Helper()
	for _, l := range d.Lags() {
		if l.Region == region {
			return l
		}
	}
	d.t.Fatalf("nothing is known of %s", region)
	return report.Lag{}
}

// What a region is to hold since a moment waits for it since then, however old it is: in
// the figures, for late events, in the quantiles and in the budget, and after a kill, too.
func TestPlacedElsewhere(t *testing.T) {
	d := newDesk(t)
	two := Terms{Policy: "p", Regions: []string{"b", "d"}, RPO: time.Minute}
	d.follow(two)
	written := d.clock.now
	place := func(where Regions) *Look {
		d.Placed("p", d.clock.now, map[string]Regions{"c": where, "other": {"b": time.Time{}}})
		d.Look("p", "other", "b").End()
		return d.Look("p", "c", slices.Collect(maps.Keys(where))...)
	}
	k := place(Regions{"b": {}})
	k.Waits("b", "n", written, time.Time{}, 1)
	k.Waits("d", "n", written, time.Time{}, 1) // is none of its business
	k.End()
	d.Confirmed(item("n"), written, 1, true)
	if x := d.at("d"); x.Items != 0 || x.Past.Items != 0 || x.AtMost != 0 {
		t.Fatalf("%+v", x)
	}

	d.clock.pass(time.Hour)
	moved := d.clock.now
	k = place(Regions{"d": moved})
	k.Waits("d", "n", written, time.Time{}, 1)
	k.Waits("d", "taken down", written, time.Time{}, 1)
	k.Due("d", "deleted", written)
	k.End()
	d.clock.pass(20 * time.Second)
	d.Tick()
	if x := d.at("d"); x.Known != 20 || x.Items != 3 || x.Late.Is || len(d.events) != 0 {
		t.Fatalf("%+v %s", x, d.told())
	}
	d.Confirmed(Item{"p", "d", "c", "n"}, written, 1, true)
	d.Confirmed(Item{"p", "d", "c", "in between"}, written, 1, true) // no look came to it
	d.Deleted(Item{"p", "d", "c", "deleted"}, written, true)
	if x := d.at("d").Past; x.Items != 3 || x.Max > 20.2 || x.Within != 1 || x.Budget != 1 {
		t.Errorf("%+v", x)
	}

	d.Close()
	d.restart()
	d.follow(two)
	if x := d.at("d"); x.Known != 20 || x.Items != 1 {
		t.Errorf("%+v", x)
	}
	d.clock.pass(10 * time.Second)
	k = place(Regions{"d": moved})
	k.Waits("d", "taken down", written, time.Time{}, 1)
	k.Waits("d", "seen now", written, time.Time{}, 1)
	k.End()
	if x := d.at("d"); x.Known != 30 || x.Items != 2 || x.Late.Is {
		t.Errorf("%+v", x)
	}
	d.clock.pass(31 * time.Second)
	d.Tick()
	if x := d.at("d"); d.told() != "late" || x.Known != 61 || x.Late.Items != 2 {
		t.Errorf("%s %+v", d.told(), x)
	}

	// back again: what waited is not d's any more
	k = place(Regions{"b": d.clock.now})
	k.End()
	d.clock.pass(7 * time.Second)
	d.Tick()
	d.clock.pass(7 * time.Second)
	d.Tick()
	if x := d.at("d"); d.told() != "late arrived:removed" || x.Items != 0 || d.events[1].Items != 2 {
		t.Errorf("%s %+v", d.told(), x)
	}
}

// A region that joins the policy is to have what is there since it joined, not since it was
// written.
func TestARegionJoins(t *testing.T) {
	d := newDesk(t)
	d.follow(terms)
	written := d.clock.now
	d.clock.pass(time.Hour)
	d.follow(Terms{Policy: "p", Regions: []string{"b", "d"}, RPO: time.Minute})
	d.Places("p", d.clock.now, []string{"c"})
	k := d.Look("p", "c")
	k.Waits("d", "n", written, time.Time{}, 1)
	k.End()
	d.clock.pass(20 * time.Second)
	d.Tick()
	if x := d.at("d"); x.Known != 20 || x.Late.Is || len(d.events) != 0 {
		t.Errorf("%+v %s", x, d.told())
	}
}

// A policy that leaves the file and comes back has its lag and its quantiles, as after a
// restart; while it is away nothing is said of it, and its late event is paired.
func TestAPolicyComesBack(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		d := newDesk(t)
		other := Terms{Policy: "q", Regions: []string{"b"}}
		d.follow(terms, other)
		began := d.clock.now
		d.Places("p", began, []string{"c"})
		d.clock.pass(10 * time.Second)
		looked := d.clock.now
		k := d.Look("p", "c")
		k.Waits("b", "n", began, time.Time{}, 7)
		k.End()
		d.Places("p", looked, []string{"c"})
		d.Confirmed(item("other"), began, 3, true)
		d.clock.pass(55 * time.Second)
		d.Tick()
		if d.told() != "late" {
			t.Fatal(d.told())
		}
		for _, away := range []time.Duration{time.Minute, 29 * 24 * time.Hour, 31 * 24 * time.Hour} {
			before := d.clock.now
			d.follow(other)
			if restarted {
				d.restart()
				d.follow(other)
			}
			d.events = nil
			d.clock.pass(away)
			d.Tick()
			if all := d.Lags(); len(all) != 1 || all[0].Policy != "q" || len(d.events) != 0 {
				t.Fatalf("while it is away: %+v %s", all, d.told())
			}
			d.follow(other)
			d.follow(terms, other)
			d.Tick()
			x := d.Lags()[0]
			if away > parkedFor {
				if !x.Since.Equal(d.clock.now) || x.Items != 0 {
					t.Errorf("after %v: %+v", away, x)
				}
				continue
			}
			if x.Policy != "p" || x.Items != 1 || x.Bytes != 7 || x.Known != d.clock.now.Sub(began).Seconds() || !x.AsOf.Equal(looked) || !x.Since.Equal(began) {
				t.Errorf("after %v: %+v", away, x)
			}
			if want := int64(1); away < time.Hour && (x.Past.Items != want || x.Past.Max != 10) {
				t.Errorf("since %v: %+v", before, x.Past)
			}
			if d.told() != "late" { // it is, again, with an id of its own
				t.Errorf("after %v: %s", away, d.told())
			}
		}
	}
}

// A process that is killed right after a pass knows at the next start how it ended, without
// anything else that could tell.
func TestSave(t *testing.T) {
	d := newDesk(t)
	d.follow(polled, Terms{Policy: "q", Regions: []string{"b"}})
	at := d.clock.now
	pass := func(lacks bool) {
		d.Places("p", d.clock.now, []string{"c"})
		k := d.Look("p", "c")
		if lacks {
			k.Waits("b", "n", at, time.Time{}, 1)
		}
		k.End()
	}
	pass(true)
	d.Tick()
	d.clock.pass(4 * time.Second)
	pass(true)
	d.Confirmed(item("n"), at, 1, true)
	looked := d.clock.now
	writes := d.notes.writes
	d.Save("p")
	d.Save("p")
	if n := d.notes.writes - writes; n != 1 {
		t.Errorf("%d writes", n)
	}
	d.restart()
	d.clock.pass(8 * time.Second)
	d.follow(polled)
	d.Tick()
	if x := d.lag(); x.Items != 0 || x.Seconds != 0 || !x.AsOf.Equal(looked) || x.Past.Items != 1 || len(d.events) != 0 {
		t.Errorf("%+v %s", x, d.told())
	}
}

// What the ledger knows better than the notes is heard before anything is judged by these or
// told of them.
func TestRecallBeforeAnythingIsTold(t *testing.T) {
	d := newDesk(t)
	d.follow(terms)
	old := d.clock.now
	d.clock.pass(time.Hour)
	at := d.clock.now
	d.Placed("p", at, map[string]Regions{"c": {"b": at}})
	k := d.Look("p", "c")
	k.Waits("b", "old", old, time.Time{}, 1)
	k.Waits("b", "waits", at, time.Time{}, 1)
	k.End()
	d.Close()
	d.restart()
	d.clock.pass(61 * time.Second)
	err := d.Follow([]Terms{terms, {Policy: "new", Regions: []string{"b"}}}, func() error {
		if l := d.Lags(); len(l) != 1 || l[0].Policy != "new" {
			t.Errorf("told before it is compared: %+v", l)
		}
		if noted := d.Noted("p"); len(noted) != 2 || len(d.Noted("new")) != 0 {
			t.Errorf("%+v", noted)
		}
		d.Held(item("old"), old, at.Add(time.Second))
		return nil
	})
	if err != nil || len(d.Noted("p")) != 0 {
		t.Fatal(err, d.Noted("p"))
	}
	if x := d.Lags()[1]; x.Items != 1 || d.told() != "late" || d.events[0].Items != 1 || x.Past.Items != 1 || x.Past.Max != 1 {
		t.Errorf("%+v %+v", x, d.events)
	}
}

// There is no forecast before a rate was measured, and the time in which a region was away
// does not slow down what it takes since.
func TestForecastNeedsARate(t *testing.T) {
	d, at := waiting(t, 1000, 1)
	confirm := func(from, to int) report.Forecast {
		for i := from; i < to; i++ {
			d.clock.pass(100 * time.Millisecond)
			d.Confirmed(item(strconv.Itoa(i)), at, 1, true)
		}
		return d.lag().Ahead
	}
	if x := confirm(0, 1); x.None != report.NoForecastYet || x.ETA != 0 || x.Miss {
		t.Errorf("after one item: %+v", x)
	}
	for range 29 {
		d.clock.pass(10 * time.Second)
		d.Lags()
	}
	if x := d.lag().Ahead; x.None != "" || x.ETA < 1000 {
		t.Errorf("nearly nothing moves: %+v", x)
	}
	for range 30 {
		d.clock.pass(10 * time.Second)
		d.Lags()
	}
	if x := d.lag().Ahead; x.None != "" || x.ETA != -1 || !x.Miss {
		t.Errorf("nothing moves: %+v", x)
	}
	if x := confirm(1, 201); x.None != "" || math.Abs(x.ETA-80) > 8 {
		t.Errorf("it moves again: %+v", x)
	}
}
