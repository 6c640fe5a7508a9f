package lag

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"farshore/replicator/report"
)

// clock stands where it is set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }

func (c *clock) pass(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.now = c.now.Add(d) }

// notes are a ledger's; the next writes may fail.
type notes struct {
	m      map[string][]byte
	writes int
	fail   bool
}

func (n *notes) Note(k string) ([]byte, bool, error) { v, ok := n.m[k]; return v, ok, nil }

func (n *notes) PutNote(k string, v []byte) error {
	if n.fail {
		return errors.New("killed")
	}
	n.writes++
	if v == nil {
		delete(n.m, k)
		return nil
	}
	n.m[k] = slices.Clone(v)
	return nil
}

// desk is a tracker with everything around it.
type desk struct {
	*Tracker
	t      tester
	clock  *clock
	notes  *notes
	events []report.Event
	kept   int
}

// tester is a *testing.T or a *rapid.T.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func newDesk(t tester) *desk {
	d := &desk{t: t, clock: &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}, notes: &notes{m: map[string][]byte{}}}
	d.restart()
	return d
}

// restart is another process after a kill: what was not written is gone.
func (d *desk) restart() {
	d.Tracker = New(Options{Clock: d.clock, Memory: d.notes, Kept: d.kept, OnEvent: func(e report.Event) { d.events = append(d.events, e) }})
}

func (d *desk) follow(terms ...Terms) {
	d.t.Helper()
	if err := d.Follow(terms, nil); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) lag() report.Lag {
	d.t.Helper()
	all := d.Lags()
	if len(all) != 1 {
		d.t.Fatalf("%d lanes", len(all))
	}
	return all[0]
}

func (d *desk) told() string {
	var out []string
	for _, e := range d.events {
		line := string(e.Kind)
		if e.Reason != "" {
			line += ":" + e.Reason
		}
		out = append(out, line)
	}
	return strings.Join(out, " ")
}

// terms are of a policy that is never said to be looked at too seldom.
var terms = Terms{Policy: "p", Regions: []string{"b"}, RPO: time.Minute}

// polled are of one that is.
var polled = Terms{Policy: "p", Regions: []string{"b"}, RPO: time.Minute, Poll: 10 * time.Second}

func item(name string) Item { return Item{"p", "b", "c", name} }

// Every quantile is within 0.8 % of the exact one, or half a millisecond.
func TestHistogramError(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, all := histogram{}, []time.Duration{}
		for range rapid.IntRange(1, 300).Draw(t, "n") {
			// evenly over the orders of magnitude: a microsecond to 30 years
			d := time.Duration(math.Exp(rapid.Float64Range(math.Log(1e3), math.Log(1e18)).Draw(t, "log")))
			h.add(d)
			all = append(all, d)
		}
		text, err := h.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back histogram
		if err := back.UnmarshalText(text); err != nil {
			t.Fatal(err)
		}
		slices.Sort(all)
		q := []float64{0, 0.25, 0.5, 0.99, 0.999, 1}
		for i, got := range back.quantiles(q...) {
			want := all[max(int(math.Ceil(q[i]*float64(len(all)))), 1)-1]
			if diff := (got - want).Abs(); float64(diff) > 0.008*float64(want)+float64(time.Millisecond/2) {
				t.Fatalf("q%v: %v instead of %v", q[i], got, want)
			}
		}
	})
	if err := new(histogram).UnmarshalText([]byte("gICA")); err == nil {
		t.Error("a cut off histogram was read")
	}
	if n := int(bucketOf(math.MaxInt64)); n >= 2400 {
		t.Errorf("%d buckets", n)
	}
}

// A change waits from its source time on until it is confirmed, in the figures and in the
// window.
func TestWaitsAndArrives(t *testing.T) {
	d := newDesk(t)
	d.follow(polled)
	begin := d.clock.now
	d.clock.pass(10 * time.Second)
	d.Places("p", d.clock.Now(), []string{"c"})
	k := d.Look("p", "c")
	k.Waits("b", "old", begin.Add(-time.Hour), time.Time{}, 5) // from before the policy: since it began
	k.Waits("b", "new", begin.Add(4*time.Second), time.Time{}, 7)
	k.Stuck("b")
	k.End()
	d.clock.pass(time.Second)
	x := d.lag()
	if x.Seconds != 11 || x.Known != 11 || x.AtMost != 11 || x.Items != 2 || x.Bytes != 12 || x.Stuck != 1 || x.Late.Is || !x.AsOf.Equal(begin.Add(10*time.Second)) {
		t.Errorf("%+v", x)
	}
	d.Confirmed(item("old"), begin.Add(-time.Hour), 5, true)
	d.clock.pass(time.Second)
	if x = d.lag(); x.Known != 8 || x.Items != 1 || x.Past.Items != 1 || math.Abs(x.Past.P50-11) > 0.1 {
		t.Errorf("%+v", x)
	}
	// confirmed in an older version than known by now: the newer one waits
	d.Places("p", d.clock.Now(), []string{"c"})
	k = d.Look("p", "c")
	k.Waits("b", "new", begin.Add(11*time.Second), time.Time{}, 7)
	k.End()
	if x = d.lag(); x.Known != 8 {
		t.Errorf("the oldest change counts: %+v", x)
	}
	d.Confirmed(item("new"), begin.Add(4*time.Second), 7, true)
	if x = d.lag(); x.Known != 1 || x.Items != 1 {
		t.Errorf("%+v", x)
	}
	d.Confirmed(item("new"), begin.Add(11*time.Second), 7, true)
	if x = d.lag(); x.Known != 0 || x.Seconds != 0 || x.AtMost != 0 || x.Items != 0 || x.Bytes != 0 || x.Past.Items != 3 || x.Past.Bytes != 19 || x.Past.Within != 1 || x.Past.Budget != 1 {
		t.Errorf("%+v", x)
	}
	// what nobody looked at for long counts as unknown
	d.clock.pass(11 * time.Second)
	if x = d.lag(); x.Seconds != 0 || x.AtMost != 11 {
		t.Errorf("%+v", x)
	}
	d.clock.pass(2 * time.Second)
	if x = d.lag(); x.Seconds != 13 || x.Known != 0 {
		t.Errorf("a look is overdue: %+v", x)
	}
	if d.events != nil {
		t.Errorf("%+v", d.events)
	}
}

// A clock that is ahead at the source is corrected, and a change is never of the future.
func TestSkew(t *testing.T) {
	d := newDesk(t)
	x := terms
	x.Skew = func() time.Duration { return time.Minute }
	d.follow(x)
	d.clock.pass(time.Hour)
	k := d.Look("p", "c")
	k.Waits("b", "n", d.clock.now.Add(30*time.Second), time.Time{}, 0) // 30 s ago
	k.Waits("b", "m", d.clock.now.Add(90*time.Second), time.Time{}, 0)
	k.End()
	if got := d.lag(); got.Known != 30 || got.Items != 2 {
		t.Errorf("%+v", got)
	}
}

// What was confirmed before the look came to it does not wait.
func TestConfirmedDuringLook(t *testing.T) {
	d := newDesk(t)
	d.follow(terms)
	at := d.clock.now
	d.Places("p", at, []string{"c"})
	k := d.Look("p", "c")
	d.Confirmed(item("a"), at, 1, true)
	k.Waits("b", "a", at, time.Time{}, 1)
	k.End()
	if got := d.lag(); got.Items != 0 || got.Past.Items != 1 {
		t.Errorf("%+v", got)
	}
	k = d.Look("p", "c") // another look is another matter
	k.Waits("b", "a", at, time.Time{}, 1)
	k.End()
	if got := d.lag(); got.Items != 1 {
		t.Errorf("%+v", got)
	}
}

// What a look read before a confirmation waits no more once another look, begun after it,
// has ended: two volumes' points may land beside one another.
func TestALookThatAnotherOvertook(t *testing.T) {
	d := newDesk(t)
	d.follow(terms)
	d.Places("p", d.clock.now, []string{"c"})
	source := d.clock.now
	d.clock.pass(time.Second)
	old := d.Look("p", "c")
	d.Confirmed(item("o"), source, 10, true)
	d.Look("p", "c").End()
	old.Waits("b", "o", source, time.Time{}, 10)
	old.Due("b", "deleted", source)
	old.End()
	if l := d.lag(); l.Items != 0 || l.Known != 0 || l.Past.Items != 1 {
		t.Errorf("%+v", l)
	}
}

// A thousand late items are one event, followed by one when the last has arrived.
func TestLateAndArrived(t *testing.T) {
	for _, x := range []struct {
		name string
		end  func(d *desk, at time.Time)
		why  string
		n    int64
	}{
		{"confirmed", func(d *desk, at time.Time) {
			for i := range 1000 {
				d.Confirmed(item(fmt.Sprint(i)), at, 1, true)
			}
		}, "late arrived:confirmed", 1000},
		{"gone at the source", func(d *desk, _ time.Time) { d.Look("p", "c").End() }, "late arrived:gone", 1000},
		{"container gone", func(d *desk, at time.Time) { d.Places("p", at, nil) }, "late arrived:gone", 1000},
		{"stuck", func(d *desk, _ time.Time) {
			for i := range 1000 {
				d.Stuck(item(fmt.Sprint(i)))
			}
		}, "late arrived:stuck", 1000},
		{"mostly confirmed", func(d *desk, at time.Time) {
			d.Confirmed(item("7"), at, 1, true)
			d.Look("p", "c").End()
		}, "late arrived:confirmed", 1000},
		{"rpo removed", func(d *desk, _ time.Time) { d.follow(Terms{Policy: "p", Regions: []string{"b"}}) }, "late arrived:relaxed", 0},
		{"policy removed", func(d *desk, _ time.Time) { d.follow() }, "late arrived:removed", 0},
		{"region removed", func(d *desk, _ time.Time) { d.follow(Terms{Policy: "p", Regions: []string{"x"}}) }, "late arrived:removed", 0},
		{"container kept elsewhere", func(d *desk, at time.Time) { d.Placed("p", at, map[string]Regions{"c": {"x": at}}) }, "late arrived:removed", 1000},
	} {
		for _, killed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%v", x.name, killed), func(t *testing.T) {
				d := newDesk(t)
				d.follow(terms)
				at := d.clock.now
				d.Places("p", at, []string{"c"})
				k := d.Look("p", "c")
				for i := range 1000 {
					k.Waits("b", fmt.Sprint(i), at, time.Time{}, 1)
				}
				k.End()
				d.clock.pass(time.Minute)
				d.Tick()
				if len(d.events) != 0 {
					t.Fatalf("%+v", d.events)
				}
				d.clock.pass(time.Second)
				d.Tick()
				d.Tick()
				if d.told() != "late" || d.events[0].Items != 1000 || d.events[0].Lag != 61 || len(d.events[0].Oldest) != 10 {
					t.Fatalf("%s %+v", d.told(), d.events)
				}
				if got := d.lag().Late; !got.Is || got.Items != 1000 || got.Episode != d.events[0].ID || len(got.Oldest) != 10 || got.Oldest[0].Name != "0" {
					t.Fatalf("%+v", got)
				}
				if killed {
					d.restart()
					if !strings.HasSuffix(x.name, " removed") || x.name == "rpo removed" {
						d.follow(terms)
						d.Places("p", d.clock.now, []string{"c"})
						k := d.Look("p", "c")
						for i := range 1000 {
							k.Waits("b", fmt.Sprint(i), at, time.Time{}, 1)
						}
						k.End()
					}
				}
				d.clock.pass(time.Second)
				x.end(d, at)
				d.Tick()
				d.clock.pass(7 * time.Second) // more than a tenth of the rpo
				d.Tick()
				d.Tick()
				if d.told() != x.why || d.events[0].ID != d.events[1].ID || d.events[1].Items != x.n {
					t.Fatalf("%s: %+v", d.told(), d.events)
				}
				if x.n > 0 && (d.events[1].Lag != 62 || d.events[1].Took != 1) {
					t.Errorf("%+v", d.events[1])
				}
				if _, left := d.notes.m["lag/p\x00b"]; left == (x.name == "region removed") {
					t.Errorf("left behind: %v", left)
				}
			})
		}
	}
}

// What arrives late before anybody asked is told of all the same.
func TestLateBetweenTwoTicks(t *testing.T) {
	d := newDesk(t)
	d.follow(terms)
	at := d.clock.now
	k := d.Look("p", "c")
	k.Waits("b", "n", at, time.Time{}, 9)
	k.End()
	d.clock.pass(2 * time.Minute)
	d.Confirmed(item("n"), at, 9, true)
	d.Look("p", "c").End()
	d.Tick()
	d.clock.pass(10 * time.Second)
	d.Tick()
	if d.told() != "late arrived:confirmed" || d.events[0].Items != 1 || d.events[1].Items != 1 || d.events[1].Bytes != 9 || d.events[1].Lag != 120 {
		t.Errorf("%s %+v", d.told(), d.events)
	}
	if x := d.lag().Past; x.Within != 0 || x.Budget > -998 {
		t.Errorf("%+v", x)
	}
}

// A source that nobody looks at is late, too: nothing is known of it.
func TestBlind(t *testing.T) {
	d := newDesk(t)
	d.follow(polled)
	d.Places("p", d.clock.now, []string{"c"})
	d.Look("p", "c").End()
	d.clock.pass(61 * time.Second)
	d.Tick()
	if d.told() != "late" || d.events[0].Items != 0 || !strings.Contains(d.events[0].Text, "not looked at") {
		t.Fatalf("%+v", d.events)
	}
	d.Places("p", d.clock.now, []string{"c"})
	d.Look("p", "c").End()
	d.clock.pass(7 * time.Second)
	d.Tick()
	d.clock.pass(7 * time.Second)
	d.Tick()
	if d.told() != "late arrived:seen" {
		t.Errorf("%+v", d.events)
	}
}

// Why nobody knows is told with the late event, and in the figures until it is known again.
// Of volumes it is restore points that did not come, not looks.
func TestBlindSaysWhy(t *testing.T) {
	for points, want := range map[bool]string{false: "the source was not looked at", true: "no new restore point has reached it"} {
		d := newDesk(t)
		x := polled
		x.Points = points
		d.follow(x)
		d.Trouble("p", "the login was refused", "look at the role")
		d.Trouble("another", "nothing of ours", "")
		d.clock.pass(61 * time.Second)
		d.Tick()
		l := d.lag().Late
		if !l.Is || l.Why != want || l.Cause != "the login was refused" || l.Hint != "look at the role" {
			t.Errorf("%+v", l)
		}
		if e := d.events[0]; e.Cause != l.Cause || e.Hint != l.Hint || !strings.Contains(e.Text, want+", longer than its rpo of 1m0s; the login was refused; look at the role") {
			t.Errorf("%+v", e)
		}
		d.Trouble("p", "", "")
		d.Places("p", d.clock.now, []string{"c"})
		d.Look("p", "c").End()
		if l := d.lag().Late; l.Is || l.Why+l.Cause+l.Hint != "" {
			t.Errorf("%+v", l)
		}
	}
}

// Killed at any write, every late event is followed by exactly one arrived event of its
// id, and nobody hears of an event that is not durable.
func TestPairsAfterKill(t *testing.T) {
	for killAt := range 20 {
		d := newDesk(t)
		at := d.clock.now
		wake := func() {
			d.notes.fail = false
			d.restart()
			d.follow(terms)
			d.Places("p", d.clock.now, []string{"c"})
		}
		wake()
		arrived := false
		for step := range 40 {
			if step == killAt {
				d.notes.fail = true // nothing is written any more
			}
			if step == killAt+1 {
				wake()
			}
			k := d.Look("p", "c")
			if !arrived {
				k.Waits("b", "n", at, time.Time{}, 1)
			}
			k.End()
			if step == 12 {
				d.Confirmed(item("n"), at, 1, true)
				arrived = true
			}
			d.clock.pass(8 * time.Second)
			d.Tick()
		}
		ids := map[string]int{}
		for i, e := range d.events {
			ids[string(e.Kind)+e.ID]++
			if e.Kind == report.EventArrived && !slices.ContainsFunc(d.events[:i], func(l report.Event) bool { return l.ID == e.ID }) {
				t.Errorf("killed at %d: it arrived before it was late: %s", killAt, d.told())
			}
		}
		late, arrivals := 0, 0
		for k := range ids {
			if strings.HasPrefix(k, "late") {
				late++
				if ids["arrived"+k[4:]] == 0 {
					t.Errorf("killed at %d: %s never arrived: %s", killAt, k, d.told())
				}
			} else {
				arrivals++
			}
		}
		if arrivals != late || late == 0 || late > 2 || len(d.events) > 3 {
			t.Errorf("killed at %d: %s", killAt, d.told())
		}
	}
}

// More than can be kept one by one: counted, and the lag never too small.
func TestMoreThanKept(t *testing.T) {
	d := newDesk(t)
	d.kept = 10
	d.restart()
	d.follow(terms)
	at := d.clock.now
	d.clock.pass(30 * time.Second)
	d.Places("p", d.clock.now, []string{"c"})
	order := rand.New(rand.NewPCG(1, 2)).Perm(100) //nolint:gosec // an order, no secret
	k := d.Look("p", "c")
	for _, i := range order {
		k.Waits("b", fmt.Sprint(i), at.Add(time.Duration(i)*100*time.Millisecond), time.Time{}, 2)
	}
	k.End()
	for n, i := range order {
		x := d.lag()
		oldest := slices.Min(order[n:])
		if want := 30 - float64(oldest)/10; x.Known < want-1e-6 || x.Items != int64(100-n) || x.Bytes != int64(200-2*n) {
			t.Fatalf("after %d: %v %d %d, want %v", n, x.Known, x.Items, x.Bytes, want)
		}
		d.Confirmed(item(fmt.Sprint(i)), at.Add(time.Duration(i)*100*time.Millisecond), 2, true)
	}
	if x := d.lag(); x.Items != 0 || x.Known != 0 || x.Rough || x.Past.Items != 100 {
		t.Errorf("%+v", x)
	}
}

// What has arrived takes no room: a first pass over a million objects leaves nothing behind.
func TestNothingIsLeftOfWhatArrived(t *testing.T) {
	d := newDesk(t)
	d.follow(terms)
	at := d.clock.now
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc) //nolint:gosec // far from its end
	}
	before := heap()
	const containers, each = 50, 10_000
	var names []string
	for c := range containers {
		names = append(names, fmt.Sprint("c", c))
	}
	d.Places("p", at, names)
	for _, name := range names {
		k := d.Look("p", name)
		for i := range each {
			k.Waits("b", fmt.Sprint(i), at, time.Time{}, 1)
		}
		k.End()
		for i := range each {
			d.Confirmed(Item{"p", "b", name, fmt.Sprint(i)}, at, 1, true)
		}
	}
	if x := d.lag(); x.Items != 0 || x.Past.Items != containers*each {
		t.Errorf("%+v", x)
	}
	if left := heap() - before; left > 4<<20 {
		t.Errorf("%d bytes are left of %d items that arrived", left, containers*each)
	}
	runtime.KeepAlive(d)
}

// After a restart the figures are those from before until the sources were looked at.
func TestRestart(t *testing.T) {
	d := newDesk(t)
	d.follow(terms)
	at := d.clock.now
	d.Places("p", at, []string{"c"})
	k := d.Look("p", "c")
	for i := range savedItems + 50 {
		k.Waits("b", fmt.Sprint(i), at.Add(time.Duration(i)*time.Microsecond), time.Time{}, 1)
	}
	k.End()
	d.Confirmed(item("149"), at.Add(time.Second), 1, true)
	d.Close()
	d.restart()
	d.clock.pass(20 * time.Second)
	d.follow(terms)
	x := d.lag()
	if x.Known != 20 || x.Items != savedItems+49 || x.Bytes != savedItems+49 || !x.Rough || x.Past.Items != 1 || !x.AsOf.Equal(at) || !x.Since.Equal(at) {
		t.Fatalf("%+v", x)
	}
	d.Places("p", d.clock.now, []string{"c"})
	if x = d.lag(); x.Known != 20 || !x.AsOf.Equal(at) {
		t.Fatalf("%+v", x)
	}
	k = d.Look("p", "c")
	k.Waits("b", "3", at.Add(3*time.Second), time.Time{}, 1)
	k.End()
	if x = d.lag(); math.Abs(x.Known-20) > 0.001 || x.Items != 1 || x.Rough || !x.AsOf.Equal(d.clock.now) {
		t.Errorf("%+v", x)
	}
}

// waiting is a desk at which items named 0, 1 and so on, each of so many bytes, wait since now.
func waiting(t *testing.T, items int, bytes int64) (d *desk, since time.Time) {
	t.Helper()
	d = newDesk(t)
	d.follow(terms)
	since = d.clock.now
	k := d.Look("p", "c")
	for i := range items {
		k.Waits("b", fmt.Sprint(i), since, time.Time{}, bytes)
	}
	k.End()
	return d, since
}

// A forecast says when a backlog will be gone, and whether in time.
func TestForecast(t *testing.T) {
	d, at := waiting(t, 1000, 1<<20)
	for i := range 100 { // 10 a second
		d.clock.pass(100 * time.Millisecond)
		d.Confirmed(item(fmt.Sprint(i)), at, 1<<20, true)
	}
	x := d.lag().Ahead
	if math.Abs(x.ETA-90) > 1 || math.Abs(x.Worst-100) > 1 || !x.Miss || math.Abs(x.ItemsRate-10) > 0.1 || math.Abs(x.BytesRate-10<<20) > 1e5 {
		t.Errorf("%+v", x)
	}
	for i := 100; i < 600; i++ { // faster
		d.clock.pass(10 * time.Millisecond)
		d.Confirmed(item(fmt.Sprint(i)), at, 1<<20, true)
	}
	if x = d.lag().Ahead; math.Abs(x.ETA-10) > 0.5 || x.Miss {
		t.Errorf("%+v", x)
	}
	for range 30 { // then nothing moves
		d.clock.pass(10 * time.Second)
		d.Lags()
	}
	if x = d.lag().Ahead; x.ETA != -1 || !x.Miss {
		t.Errorf("%+v", x)
	}
	d.Look("p", "c").End()
	if x = d.lag().Ahead; x.ETA != 0 || x.Miss {
		t.Errorf("%+v", x)
	}
}

// Writes are bounded: not one for each confirmation.
func TestWrites(t *testing.T) {
	d := newDesk(t)
	d.follow(terms)
	d.Places("p", d.clock.now, []string{"c"})
	d.Tick()
	before := d.notes.writes
	for i := range 600 { // a minute
		d.Confirmed(item(fmt.Sprint(i)), d.clock.now, 1, true)
		d.clock.pass(100 * time.Millisecond)
		d.Tick()
	}
	if n := d.notes.writes - before; n < 11 || n > 13 {
		t.Errorf("%d writes", n)
	}
	before = d.notes.writes
	d.clock.pass(time.Minute)
	d.Tick()
	d.Tick()
	if n := d.notes.writes - before; n > 1 {
		t.Errorf("%d writes of what did not change", n)
	}
}

// Everybody may speak at the same time.
func TestAtTheSameTime(t *testing.T) {
	d := newDesk(t)
	var told sync.Mutex
	d.Tracker = New(Options{Clock: d.clock, Memory: &locked{n: d.notes}, Kept: 50, OnEvent: func(e report.Event) {
		told.Lock()
		defer told.Unlock()
		d.events = append(d.events, e)
	}})
	two := []Terms{{Policy: "p", Regions: []string{"b", "d"}, RPO: time.Second}}
	d.follow(two...)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for range 50 {
				at := d.clock.Now()
				d.Places("p", at, []string{"c", "e"})
				k := d.Look("p", "c")
				for j := range 30 {
					k.Waits("b", fmt.Sprint(i, j), at, time.Time{}, 1)
					k.Waits("d", fmt.Sprint(i, j), at, time.Time{}, 1)
				}
				k.End()
				d.clock.pass(time.Second)
				for j := range 30 {
					d.Confirmed(Item{"p", "b", "c", fmt.Sprint(i, j)}, at, 1, true)
					d.Gone(Item{"p", "d", "c", fmt.Sprint(i, j)})
				}
				d.Tick()
				d.Lags()
				if i == 0 {
					d.follow(two...)
				}
			}
		})
	}
	all.Wait()
	d.Look("p", "c").End()
	d.Look("p", "e").End()
	for _, l := range d.Lags() {
		if l.Items != 0 || l.Known != 0 || l.Rough {
			t.Errorf("%+v", l)
		}
	}
	if d.Tracker.kept != 0 {
		t.Errorf("%d items are counted", d.Tracker.kept)
	}
}

// locked are notes that many write.
type locked struct {
	mu sync.Mutex
	n  *notes
}

func (l *locked) Note(k string) ([]byte, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n.Note(k)
}

func (l *locked) PutNote(k string, v []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n.PutNote(k, v)
}

// What a change costs, of a hundred thousand that wait.
func BenchmarkTracker(b *testing.B) {
	d := newDesk(b)
	d.follow(terms)
	at := d.clock.Now()
	names := make([]string, 100_000)
	for i := range names {
		names[i] = fmt.Sprintf("some/longer/name/of/an/object-%07d", i)
	}
	for b.Loop() {
		k := d.Look("p", "c")
		for _, n := range names {
			k.Waits("b", n, at, time.Time{}, 1)
		}
		k.End()
		d.Tick()
		for _, n := range names {
			d.Confirmed(item(n), at, 1, true)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(names)), "ns/change")
}
