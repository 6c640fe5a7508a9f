package lag

import (
	"fmt"
	"testing"
	"time"
)

// The highest lag is told of what was found and confirmed between two questions, of what left
// the source while it waited, of what still waits, and of a source that nobody looked at: once.
func TestPeaks(t *testing.T) {
	d := newDesk(t)
	d.follow(polled)
	begin := d.clock.now
	want := func(what string, seconds float64) {
		t.Helper()
		if got := fmt.Sprint(d.Peaks()); got != fmt.Sprint([]Peak{{"p", "b", seconds}}) {
			t.Errorf("%s: %s, want %v s", what, got, seconds)
		}
	}
	look := func(waits map[string]time.Duration) {
		d.Places("p", d.clock.Now(), []string{"c"})
		k := d.Look("p", "c")
		for name, since := range waits {
			k.Waits("b", name, begin.Add(since), time.Time{}, 5)
		}
		k.End()
	}
	look(nil)
	d.clock.pass(8 * time.Second)
	look(map[string]time.Duration{"quick": time.Second, "left": 2 * time.Second, "stays": 4 * time.Second})
	want("it waits", 7)
	d.Confirmed(item("quick"), begin.Add(time.Second), 5, true)
	want("confirmed at once", 7)
	want("told already", 6)
	d.clock.pass(time.Second)
	d.Gone(item("left"))
	want("gone", 7)
	want("what is left", 5)
	d.Confirmed(item("stays"), begin.Add(4*time.Second), 5, true)
	d.Peaks()
	want("nothing", 0)
	d.clock.pass(14 * time.Second)
	d.Tick()
	look(nil)
	want("nobody looked", 15)
	want("looked at again", 0)
	if (*Tracker)(nil).Peaks() != nil {
		t.Error("nobody knows something")
	}
}
