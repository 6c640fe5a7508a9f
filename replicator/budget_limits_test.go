package replicator

import (
	"slices"
	"testing"
	"time"

	"farshore/policies"
	"farshore/transport"
	tt "farshore/transport/transporttest"
)

// held is a clock that stands until a test moves it; its timers ring when they are due.
type held struct {
	now    time.Time
	timers chan heldTimer
}

type heldTimer struct {
	due  time.Time
	ring chan time.Time
}

func (h *held) Now() time.Time { return h.now }

func (h *held) NewTimer(d time.Duration) transport.Timer {
	x := heldTimer{h.now.Add(d), make(chan time.Time, 1)}
	h.timers <- x
	return x
}

func (x heldTimer) C() <-chan time.Time { return x.ring }
func (x heldTimer) Stop() bool          { return true }

func rates(t *testing.T, b *budget, p policies.Policy, from, to string) (out []int64) {
	for _, l := range transport.LimitsOf(b.limit(t.Context(), p, from, to)) {
		out = append(out, l.Rate())
	}
	return out
}

// A transfer obeys the limit of all, that of its pair of regions and that of its policy;
// transfers of one pair, and of one policy, share theirs.
func TestATransferObeysEveryLimit(t *testing.T) {
	limits := policies.Limits{Streams: 1, Memory: 1 << 20, Total: 1000,
		Pairs: map[string]policies.Rate{policies.PairKey("a", "b"): 700, policies.PairKey("b", "a"): 600}}
	b := newBudget(limits, false, &tt.Quick{})
	slow, free := policies.NewPolicy("slow", "a", "b"), policies.NewPolicy("free", "a", "b")
	slow.Limit = 500
	for _, c := range []struct {
		p        policies.Policy
		from, to string
		want     []int64
	}{
		{slow, "a", "b", []int64{1000, 700, 500}},
		{free, "a", "b", []int64{1000, 700, 0}},
		{slow, "b", "a", []int64{1000, 600, 500}},
		{slow, "a", "d", []int64{1000, 0, 500}},
	} {
		if got := rates(t, b, c.p, c.from, c.to); !slices.Equal(got, c.want) {
			t.Errorf("%s, %s to %s: limits %v, not %v", c.p.Name, c.from, c.to, got, c.want)
		}
	}
	one, two := transport.LimitsOf(b.limit(t.Context(), slow, "a", "b")), transport.LimitsOf(b.limit(t.Context(), free, "a", "b"))
	three := transport.LimitsOf(b.limit(t.Context(), slow, "a", "d"))
	if one[0] != two[0] || one[1] != two[1] || one[2] == two[2] || one[2] != three[2] || one[1] == three[1] {
		t.Error("limits are not shared as they should be: total by all, a pair's by its transfers, a policy's by its own")
	}
}

// The limit of all follows the timetable within a second, and a person's order until it
// is taken back.
func TestTheTotalFollowsTheTimetable(t *testing.T) {
	slot, err := policies.ParseSlot("mon-fri 08:00-18:00 100B/s")
	if err != nil {
		t.Fatal(err)
	}
	clock := &held{now: time.Date(2027, time.March, 1, 7, 59, 59, 0, time.UTC), timers: make(chan heldTimer)} // a Monday
	b := newBudget(policies.Limits{Streams: 1, Memory: 1 << 20, Total: 1000, Timetable: []policies.Slot{slot}}, false, clock)
	if b.total.Rate() != 1000 {
		t.Fatalf("before the window: %d", b.total.Rate())
	}
	stop := b.follow()
	waiting := <-clock.timers
	// to lets time pass; the budget waits again when it has looked at the clock.
	to := func(at time.Time, want int64) {
		t.Helper()
		if waiting.due.Sub(clock.now) > time.Second {
			t.Fatalf("it looks again after %v", waiting.due.Sub(clock.now))
		}
		clock.now = at
		waiting.ring <- at
		waiting = <-clock.timers
		if got := b.total.Rate(); got != want {
			t.Errorf("at %v the total is %d, not %d", at, got, want)
		}
	}
	day := clock.now.Truncate(24 * time.Hour)
	to(day.Add(8*time.Hour), 100)
	to(day.Add(18*time.Hour-time.Second), 100)
	to(day.Add(18*time.Hour), 1000)
	e := &Engine{budget: b}
	e.SetTotalLimit(50)
	if e.TotalLimit() != 50 {
		t.Errorf("an order holds at once: %d", e.TotalLimit())
	}
	to(day.Add(32*time.Hour), 50)
	e.SetTotalLimit(-1)
	if e.TotalLimit() != 100 {
		t.Errorf("the timetable holds again: %d", e.TotalLimit())
	}
	to(day.Add(5*24*time.Hour+9*time.Hour), 1000) // Saturday
	stop()
}
