package daemon

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"farshore/policies"
	"farshore/replicator/control"
	"farshore/transport"
)

// notes is a Memory that outlives a scheduler.
type notes struct {
	mu  sync.Mutex
	all map[string][]byte
	err error
}

func (n *notes) Note(key string) ([]byte, bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	v, ok := n.all[key]
	return v, ok, nil
}

func (n *notes) PutNote(key string, v []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err != nil {
		return n.err
	}
	n.all[key] = v
	return nil
}

func newNotes() *notes { return &notes{all: map[string][]byte{}} }

// diary notes when what was begun, as the time since it was made.
type diary struct {
	mu    sync.Mutex
	start time.Time
	lines []line
}

type line struct {
	at   time.Duration
	name string
}

func (d *diary) write(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line{time.Since(d.start), name})
}

// read gives the lines by time, and by name what was begun at one moment.
func (d *diary) read() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	lines := slices.SortedFunc(slices.Values(d.lines), func(a, b line) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.name, b.name))
	})
	var out []string
	for _, l := range lines {
		out = append(out, l.name+"@"+l.at.String())
	}
	return strings.Join(out, " ")
}

// every makes a task that takes so long.
func every(d *diary, policy string, kind Kind, pause, takes time.Duration) Task {
	return Task{Policy: policy, Kind: kind, First: kind == Pass, Next: func(last time.Time) time.Time { return last.Add(pause) },
		Do: func(ctx context.Context) Outcome {
			d.write(policy + "/" + string(kind))
			if err := transport.Sleep(ctx, transport.SystemClock{}, takes, nil); err != nil {
				return Outcome{Err: err}
			}
			return Outcome{}
		}}
}

// begin runs a scheduler over a memory and gives what ends it and waits for the end.
func begin(t *testing.T, m Memory, parallel int, tasks ...Task) (*Scheduler, func()) {
	t.Helper()
	return beginWith(t, Options{Memory: m, Parallel: parallel}, tasks...)
}

func beginWith(t *testing.T, o Options, tasks ...Task) (*Scheduler, func()) {
	t.Helper()
	s, err := New(o, tasks)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Run(ctx)
	}()
	return s, func() {
		cancel()
		<-ended
	}
}

func expect(t *testing.T, d *diary, want string) {
	t.Helper()
	synctest.Wait()
	if got := d.read(); got != want {
		t.Errorf("begun: %s\nwant:  %s", got, want)
	}
}

// A policy's tasks wait for each other, two policies do not.
func TestWhatIsDueBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{start: time.Now()}
		_, end := begin(t, newNotes(), 0, every(d, "a", Pass, 5*time.Minute, time.Minute), every(d, "a", Audit, 7*time.Minute, 10*time.Minute), every(d, "b", Pass, 6*time.Minute, time.Second))
		time.Sleep(20 * time.Minute)
		end()
		// a's pass of 10m waits for its audit of 7m to end
		expect(t, d, "a/pass@0s b/pass@0s a/pass@5m0s b/pass@6m0s a/audit@7m0s b/pass@12m0s a/pass@17m0s a/audit@18m0s b/pass@18m0s")
	})
}

// What takes longer than its interval neither overlaps itself nor piles up.
func TestLongRunsDoNotPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{start: time.Now()}
		_, end := begin(t, newNotes(), 0, every(d, "a", Pass, 5*time.Minute, 12*time.Minute))
		time.Sleep(30 * time.Minute)
		end()
		expect(t, d, "a/pass@0s a/pass@12m0s a/pass@24m0s")
	})
}

// A restart goes on with what was cut short, makes what was missed once, and leaves the
// rest until it is due: also an audit that was never made and is due a day after its
// policy was first seen.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{start: time.Now()}
		m := newNotes()
		tasks := []Task{every(d, "long", Pass, time.Hour, 40*time.Minute), every(d, "short", Pass, time.Hour, time.Minute), every(d, "short", Audit, 24*time.Hour, time.Minute)}
		_, end := begin(t, m, 0, tasks...)
		time.Sleep(10 * time.Minute)
		end()
		_, end = begin(t, m, 0, tasks...)
		time.Sleep(5 * time.Minute)
		end()
		expect(t, d, "long/pass@0s short/pass@0s long/pass@10m0s")
		time.Sleep(5 * time.Hour) // five passes are missed
		d.lines = nil
		_, end = begin(t, m, 0, tasks...)
		time.Sleep(90 * time.Minute)
		end()
		expect(t, d, "long/pass@5h15m0s short/pass@5h15m0s long/pass@6h15m0s short/pass@6h15m0s")
		d.lines = nil
		_, end = begin(t, m, 0, tasks[2])
		time.Sleep(18 * time.Hour)
		end()
		expect(t, d, "short/audit@24h0m0s")
	})
}

// What fails is tried again sooner than it is due, ever more rarely, unless that is of
// no use.
func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{start: time.Now()}
		failing := func(policy string, wait bool) Task {
			x := every(d, policy, Pass, 2*time.Hour, 0)
			x.Do = func(context.Context) Outcome {
				d.write(policy)
				return Outcome{Err: errors.New("region b does not answer"), Wait: wait}
			}
			return x
		}
		s, end := begin(t, newNotes(), 0, failing("down", false), failing("brake", true))
		time.Sleep(119 * time.Minute)
		synctest.Wait()
		got := d.read()
		if want := "down@1m0s down@3m0s down@7m0s down@15m0s down@31m0s down@1h1m0s down@1h31m0s"; !strings.HasSuffix(got, want) || strings.Count(got, "brake") != 1 {
			t.Errorf("%s", got)
		}
		if x := s.Tasks()[0]; x.Error != "region b does not answer" || x.Next.Sub(d.start) != 2*time.Hour+time.Minute {
			t.Errorf("%+v", x)
		}
		end()
	})
}

func TestOrders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{start: time.Now()}
		m := newNotes()
		tasks := []Task{every(d, "a", Pass, 10*time.Minute, time.Minute), every(d, "b", Pass, 10*time.Minute, time.Minute)}
		s, end := begin(t, m, 0, tasks...)
		order := func(do, policy, kind string) error {
			return s.Order(control.Order{Do: do, Policy: policy, Kind: kind})
		}
		time.Sleep(30 * time.Second) // both run
		if err := errors.Join(order(control.Pause, "a", ""), order(control.RunNow, "b", "pass")); err != nil {
			t.Fatal(err)
		}
		if err := order(control.Pause, "c", ""); !errors.Is(err, ErrNoSuchTask) || !strings.Contains(err.Error(), "a pass, b pass") {
			t.Error(err)
		}
		if err := order(control.RunNow, "a", "drill"); !errors.Is(err, ErrNoSuchTask) {
			t.Error(err)
		}
		time.Sleep(15 * time.Minute)
		end()
		if err := order(control.Resume, "a", ""); !errors.Is(err, ErrEnding) {
			t.Error(err)
		}
		expect(t, d, "a/pass@0s b/pass@0s b/pass@1m0s b/pass@11m0s")
		// It stays paused through a restart; a run that is asked for is made all the same.
		s, end = begin(t, m, 0, tasks...)
		defer end()
		synctest.Wait()
		if x := s.Tasks()[0]; !x.Paused || !x.Next.IsZero() || x.Running {
			t.Errorf("%+v", x)
		}
		if err := order(control.RunNow, "a", "pass"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if x := s.Tasks()[0]; !x.Paused || x.Running || x.Ended.Sub(d.start) != 16*time.Minute+30*time.Second {
			t.Errorf("%+v", x)
		}
		if err := order(control.Resume, "a", ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(8 * time.Minute)
		expect(t, d, "a/pass@0s b/pass@0s b/pass@1m0s b/pass@11m0s a/pass@15m30s b/pass@21m0s a/pass@25m30s")
	})
}

// What has waited longest comes first when there is room for one only.
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{start: time.Now()}
		_, end := begin(t, newNotes(), 1, every(d, "a", Pass, time.Minute, 10*time.Minute), every(d, "b", Pass, 5*time.Minute, time.Minute), every(d, "c", Pass, 2*time.Minute, time.Minute))
		time.Sleep(34*time.Minute + 30*time.Second)
		end()
		expect(t, d, "a/pass@0s b/pass@10m0s c/pass@11m0s a/pass@12m0s c/pass@22m0s a/pass@23m0s b/pass@33m0s c/pass@34m0s")
	})
}

// The day on which summer time begins has no 02:30 and one pass all the same, that on
// which it ends has it twice (policies.Schedule).
func TestSummerTime(t *testing.T) {
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	schedule, err := policies.ParseSchedule("30 2 * * *")
	if err != nil {
		t.Fatal(err)
	}
	for _, begins := range []time.Time{time.Date(2027, 3, 26, 12, 0, 0, 0, paris), time.Date(2027, 10, 29, 12, 0, 0, 0, paris)} {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Until(begins))
			days := map[string]int{}
			p := Task{Policy: "a", Kind: Pass, Next: func(last time.Time) time.Time { return schedule.Next(last, paris) }, Do: func(context.Context) Outcome {
				days[time.Now().In(paris).Format(time.DateOnly)]++
				return Outcome{}
			}}
			_, end := begin(t, newNotes(), 0, p)
			time.Sleep(4 * 24 * time.Hour)
			end()
			if len(days) != 4 {
				t.Errorf("%v", days)
			}
			for day, n := range days {
				want := 1
				if day == "2027-10-31" {
					want = 2
				}
				if n != want {
					t.Errorf("%s: %d passes", day, n)
				}
			}
		})
	}
}

// setClock is the system's clock, set wrong by a person.
type setClock struct {
	transport.SystemClock
	mu sync.Mutex
	by time.Duration
}

func (c *setClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.by)
}

// A clock that was a year ahead and is set right again does not stop anything for a year.
func TestClockIsSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{start: time.Now()}
		c := &setClock{by: 365 * 24 * time.Hour}
		_, end := beginWith(t, Options{Memory: newNotes(), Clock: c}, every(d, "a", Pass, 10*time.Minute, 0))
		time.Sleep(time.Minute)
		c.mu.Lock()
		c.by = 0
		c.mu.Unlock()
		time.Sleep(25 * time.Minute)
		end()
		if got := strings.Count(d.read(), "a/pass"); got != 3 {
			t.Errorf("%s", d.read())
		}
	})
}

// Nothing begins that cannot be written down: a restart would not know of it.
func TestFullLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{start: time.Now()}
		m := newNotes()
		s, end := begin(t, m, 0, every(d, "a", Pass, time.Hour, 0), every(d, "a", Audit, time.Hour, 0))
		synctest.Wait()
		m.mu.Lock()
		m.err = errors.New("no space left on device")
		m.mu.Unlock()
		time.Sleep(61 * time.Minute)
		synctest.Wait()
		if x := s.Tasks()[0]; x.Error != "no space left on device" || d.read() != "a/pass@0s" {
			t.Errorf("%+v %s", x, d.read())
		}
		m.mu.Lock()
		m.err = nil
		m.mu.Unlock()
		time.Sleep(5 * time.Minute)
		end()
		if !strings.Contains(d.read(), "a/pass@1h") || !strings.Contains(d.read(), "a/audit@1h") {
			t.Error(d.read())
		}
	})
}

// A clock that jumps a week ahead: what would have been due on the way is made once, each,
// and what comes after keeps its pace; the same when it jumps back.
func TestClockJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{start: time.Now()}
		c := &setClock{}
		jump := func(by time.Duration) {
			c.mu.Lock()
			c.by += by
			c.mu.Unlock()
		}
		s, end := beginWith(t, Options{Memory: newNotes(), Clock: c}, every(d, "a", Pass, 10*time.Minute, 0), every(d, "b", Pass, 24*time.Hour, 0), every(d, "c", Audit, 24*time.Hour, 0))
		time.Sleep(59 * time.Second) // it looks again at the minute
		jump(7 * 24 * time.Hour)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := d.read(); got != "a/pass@0s b/pass@0s a/pass@1m0s b/pass@1m0s c/audit@1m0s" {
			t.Errorf("ahead: %s", got)
		}
		time.Sleep(25 * time.Minute) // to 27 min; a at 11 and 21 after the jump
		jump(-7 * 24 * time.Hour)
		time.Sleep(25 * time.Minute) // b and c are due a day later by any clock
		end()
		if got := strings.Count(d.read(), "a/pass"); got < 6 || got > 7 {
			t.Errorf("back: %s", d.read())
		}
		if got := strings.Count(d.read(), "b/pass") + strings.Count(d.read(), "c/audit"); got != 3 {
			t.Errorf("back: %s", d.read())
		}
		for _, x := range s.Tasks() {
			if x.Began.After(c.Now()) || x.Ended.After(c.Now()) && x.Policy == "a" || x.Next.Sub(c.Now()) > 24*time.Hour {
				t.Errorf("%s %s began %s, is next at %s; now it is %s", x.Policy, x.Kind, x.Began, x.Next, c.Now())
			}
		}
	})
}
