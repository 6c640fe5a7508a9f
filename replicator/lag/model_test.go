package lag

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"farshore/replicator/report"
)

// observer stands outside: it keeps every change, sight and confirmation there ever was,
// and works everything out from these lists each time it is asked.
type observer struct {
	places  []string
	changes map[string][]time.Time // by place/name: at the source
	gone    map[string]bool        // deleted there since
	seen    map[string][]time.Time // that looks showed while they were not confirmed
	arrived map[string]time.Time   // the newest change confirmed
	bytes   map[string]int64
	looks   map[string]time.Time // by place
	listed  time.Time
	delays  []time.Duration
	inexact map[string]bool // places that were not looked at since a kill
	vague   map[string]bool // items that waited when it came: since when may be forgotten
	ghosts  map[string]bool // items that may be taken for what they were before it
	killed  bool
}

// waiting gives since when each item waits, as far as looks showed it.
func (o *observer) waiting() map[string]time.Time {
	out := map[string]time.Time{}
	for name, seen := range o.seen {
		for _, at := range seen {
			if at.After(o.arrived[name]) && (out[name].IsZero() || at.Before(out[name])) {
				out[name] = at
			}
		}
	}
	return out
}

// truth is how old the oldest change is that the source has and the region has not.
func (o *observer) truth(now time.Time) (oldest time.Duration) {
	for name, all := range o.changes {
		if o.gone[name] {
			continue
		}
		for _, at := range all {
			if at.After(o.arrived[name]) {
				oldest = max(oldest, now.Sub(at))
			}
		}
	}
	return oldest
}

// TestModel has changes, looks, confirmations, kills and restarts follow one another at
// random, and compares every figure with the observer's.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := newDesk(rt)
		o := &observer{places: []string{"c0", "c1"}, changes: map[string][]time.Time{}, gone: map[string]bool{}, seen: map[string][]time.Time{},
			arrived: map[string]time.Time{}, bytes: map[string]int64{}, looks: map[string]time.Time{}, inexact: map[string]bool{}, vague: map[string]bool{}, ghosts: map[string]bool{}}
		x := Terms{Policy: "p", Regions: []string{"b"}, RPO: time.Duration(rapid.IntRange(5, 60).Draw(rt, "rpo")) * time.Second}
		d.follow(x)
		list := func() {
			o.listed = d.clock.Now()
			d.Places("p", o.listed, o.places)
		}
		look := func(place string) {
			o.looks[place] = d.clock.Now()
			k := d.Look("p", place)
			for _, name := range slices.Sorted(maps.Keys(o.changes)) {
				if o.gone[name] || name[:2] != place {
					continue
				}
				newest := o.changes[name][len(o.changes[name])-1]
				if newest.After(o.arrived[name]) {
					k.Waits("b", name, newest, o.arrived[name], o.bytes[name])
					o.seen[name] = append(o.seen[name], newest)
				}
			}
			k.End()
			for name := range o.seen {
				if name[:2] == place && o.gone[name] {
					delete(o.seen, name)
				}
			}
			delete(o.inexact, place)
			for name := range o.ghosts {
				if name[:2] == place {
					delete(o.ghosts, name)
					o.vague[name] = true // for as long as it waits
				}
			}
		}
		list()
		for _, p := range o.places {
			look(p)
		}
		check := func() {
			now := d.clock.Now()
			l := d.lag()
			if truth := o.truth(now); truth.Seconds() > l.AtMost+1e-6 {
				rt.Fatalf("a change is %v old, and lag is at most %v", truth, l.AtMost)
			}
			waiting := o.waiting()
			maps.DeleteFunc(o.vague, func(name string, _ bool) bool { return waiting[name].IsZero() })
			if len(o.inexact)+len(o.vague) > 0 {
				return
			}
			known, bytes, late := time.Duration(0), int64(0), int64(0)
			for name, since := range waiting {
				known = max(known, now.Sub(since))
				bytes += o.bytes[name]
				if now.Sub(since) > x.RPO {
					late++
				}
			}
			if math.Abs(l.Known-known.Seconds()) > 1e-6 || l.Items != int64(len(waiting)) || l.Bytes != bytes || l.Late.Items != late || l.Late.Is != (late > 0) || l.Rough {
				rt.Fatalf("%+v instead of %v, %d items, %d bytes, %d late", l, known, len(waiting), bytes, late)
			}
			asOf := o.listed
			for _, p := range o.places {
				if o.looks[p].Before(asOf) {
					asOf = o.looks[p]
				}
			}
			if !l.AsOf.Equal(asOf) {
				rt.Fatalf("as of %v instead of %v", l.AsOf, asOf)
			}
			if o.killed {
				return
			}
			slices.Sort(o.delays)
			within := 0
			for _, took := range o.delays {
				if took <= x.RPO {
					within++
				}
			}
			if l.Past.Items != int64(len(o.delays)) {
				rt.Fatalf("%d confirmed instead of %d", l.Past.Items, len(o.delays))
			}
			if n := len(o.delays) + int(late); n > 0 && math.Abs(l.Past.Within-float64(within)/float64(n)) > 1e-9 {
				rt.Fatalf("%v within the rpo instead of %d of %d", l.Past.Within, within, n)
			}
			for q, got := range map[float64]float64{0.5: l.Past.P50, 0.99: l.Past.P99, 0.999: l.Past.P999} {
				if n := len(o.delays); n > 0 {
					if want := o.delays[int(math.Ceil(q*float64(n)))-1].Seconds(); math.Abs(got-want) > 0.01*want+0.0006 {
						rt.Fatalf("quantile %v: %v instead of %v", q, got, want)
					}
				}
			}
		}
		names := []string{"c0/a", "c0/b", "c0/c", "c1/a", "c1/b"}
		rt.Repeat(map[string]func(*rapid.T){
			"change": func(t *rapid.T) {
				name := rapid.SampledFrom(names).Draw(t, "name")
				o.changes[name] = append(o.changes[name], d.clock.Now())
				o.bytes[name] = 100
				delete(o.gone, name)
			},
			"delete": func(t *rapid.T) {
				name := rapid.SampledFrom(names).Draw(t, "name")
				o.gone[name] = true
				o.changes[name] = slices.DeleteFunc(o.changes[name], func(at time.Time) bool { return at.After(o.arrived[name]) })
			},
			"look": func(t *rapid.T) {
				list()
				for _, p := range o.places {
					if rapid.Bool().Draw(t, p) {
						look(p)
					}
				}
			},
			"abandoned look": func(t *rapid.T) { d.Look("p", rapid.SampledFrom(o.places).Draw(t, "place")) },
			"confirm": func(t *rapid.T) {
				name := rapid.SampledFrom(names).Draw(t, "name")
				all := o.changes[name]
				if len(all) == 0 || o.gone[name] || !all[len(all)-1].After(o.arrived[name]) {
					return
				}
				since, is := o.waiting()[name]
				at := all[len(all)-1]
				if is && rapid.Bool().Draw(t, "the one that was seen") {
					at = o.seen[name][len(o.seen[name])-1]
				}
				if !is {
					since = at
				}
				d.Confirmed(Item{"p", "b", name[:2], name}, at, o.bytes[name], true)
				o.arrived[name] = at
				o.delays = append(o.delays, d.clock.Now().Sub(since))
			},
			"time": func(t *rapid.T) {
				d.clock.pass(time.Duration(rapid.IntRange(1, 20_000).Draw(t, "ms")) * time.Millisecond)
				d.Tick()
			},
			"restart": func(t *rapid.T) {
				if rapid.Bool().Draw(t, "killed") {
					o.killed = true
					o.inexact["c0"] = true
					for name := range o.waiting() {
						o.vague[name] = true
					}
					// what was deleted just before the kill, and is there again, is taken for what it was
					for _, name := range names {
						o.ghosts[name] = true
					}
				} else {
					d.Close()
				}
				if len(o.inexact) > 0 {
					for _, p := range o.places {
						o.inexact[p] = true
					}
				}
				floor := o.listed // who starts anew knows one time for all
				for _, p := range o.places {
					if o.looks[p].Before(floor) {
						floor = o.looks[p]
					}
				}
				for _, p := range o.places {
					o.looks[p] = floor
				}
				d.restart()
				d.follow(x)
				list()
			},
			"": func(*rapid.T) { check() },
		})
		d.paired(rt, true)
		list()
		for _, p := range o.places {
			look(p)
		}
		for _, name := range names {
			if all := o.changes[name]; len(all) > 0 && !o.gone[name] {
				d.Confirmed(Item{"p", "b", name[:2], name}, all[len(all)-1], 1, true)
			}
		}
		d.Tick()
		d.clock.pass(time.Minute)
		d.Tick()
		d.paired(rt, false)
		if l := d.lag(); l.Known != 0 || l.Items != 0 || l.Late.Episode != "" {
			rt.Fatalf("at the end: %+v", l)
		}
	})
}

// paired sees that late and arrived events alternate, each pair with an id of its own;
// told again after a crash, an event is the same.
func (d *desk) paired(t *rapid.T, open bool) {
	var last report.Event
	ids := map[string]bool{}
	for _, e := range d.events {
		if e.ID == last.ID && e.Kind == last.Kind && fmt.Sprint(e) == fmt.Sprint(last) {
			continue
		}
		switch e.Kind {
		case report.EventLate:
			if ids[e.ID] || last.Kind == report.EventLate {
				t.Fatalf("late before the one before arrived: %s", d.told())
			}
			ids[e.ID] = true
		default:
			if last.Kind != report.EventLate || last.ID != e.ID {
				t.Fatalf("arrived without being late: %s", d.told())
			}
		}
		last = e
	}
	if !open && last.Kind == report.EventLate {
		t.Fatalf("never arrived: %s", d.told())
	}
}
