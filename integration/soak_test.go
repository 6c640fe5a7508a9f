//go:build integration

package integration

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"farshore/integration/lab"
)

// What the soak's policy says of objects and of the volume.
const (
	soakEvery   = 5 * time.Second  // of objects
	soakGrace   = 10 * time.Second // of deletes
	soakVolumes = 15 * time.Second // every, of the volume
	soakRPO     = 30 * time.Second // of objects
	soakSample  = 2 * time.Second
	soakCalm    = time.Minute
)

// TestSoak has a daemon hold a policy of objects and one of a volume true for FARSHORE_SOAK (30m, say), while others
// write at the source, the regions go and come, limits change, and the daemon is killed five times. Then both regions must
// be identical, restore points restore, what it said about lag agree with an observer, and memory,
// goroutines and descriptors be where they were. FARSHORE_SEED plays a run's script again; with FARSHORE_SOAK_OUT=docs
// the result is written down there.
func TestSoak(t *testing.T) {
	if os.Getenv("FARSHORE_SOAK") == "" {
		t.Skip("runs for half an hour: make soak, or FARSHORE_SOAK=3m")
	}
	length, err := time.ParseDuration(os.Getenv("FARSHORE_SOAK"))
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	if s := os.Getenv("FARSHORE_SEED"); s != "" {
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("FARSHORE_SEED=%d", seed)
	s := newSoak(t, seed, length)
	s.live()
	s.settle()
	s.prove()
}

// soak is one run.
type soak struct {
	t        *testing.T
	seed     uint64
	length   time.Duration
	rng      *rand.Rand
	lab      *lab.Lab
	writer   *soakWriter
	block    *blockWriter
	daemon   *soakDaemon
	watch    *observer
	began    time.Time
	lived    time.Duration
	settled  time.Time // when the calm after all had arrived was over
	limits   int
	outages  []outage
	sourced  bool // the source is away
	restored []string
	restores chan restoredMeanwhile
	figures  map[string][]lagPoint // by policy
	compared []string              // what the comparison of the containers said
}

// outage is a time without a region, or without the daemon.
type outage struct {
	what       string // one, two, daemon
	began, end time.Time
}

func newSoak(t *testing.T, seed uint64, length time.Duration) *soak {
	rng := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n)) }
	l := lab.RequireCinder(t)
	one, two := l.Client(t, "lab-one"), l.Client(t, "lab-two")
	containers := []string{lab.Scratch(t, one), lab.Scratch(t, one)}
	for _, c := range containers {
		t.Cleanup(func() { two.Remove(t, c+"-copy") })
	}
	t.Cleanup(func() { two.Remove(t, ".farshore-segments") })
	v := newVolumes(t, "")
	v.rng = rng(1)
	v.says(fmt.Sprintf("    every: %v\n    rpo: 10m\n    audit: {every: 7m, read: 5%%}\n", soakVolumes), fmt.Sprintf(`
  - name: objects
    from: one
    to: [two]
    containers: [%q, %q]
    container: "{container}-copy"
    every: %v
    rpo: %v
    deletes: {propagate: true, after: %v}
    large: {as: exact, over: 2MiB, chunk: 1MiB}
    audit: {every: 5m, read: 10%%}
`, containers[0], containers[1], soakEvery, soakRPO, soakGrace))
	s := &soak{t: t, seed: seed, length: length, rng: rng(2), lab: l, writer: newSoakWriter(t, one, rng(3), containers...), block: &blockWriter{volumes: v}}
	s.daemon = newSoakDaemon(t, v.farshore, v.policy)
	s.watch = newObserver(t, s, two, v)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the daemon's log ends:\n%s", s.daemon.said(60))
		}
	})
	return s
}

// event is something that happens at a time.
type event struct {
	at   time.Duration
	what string
	do   func()
}

// script draws from the seed what happens when.
func (s *soak) script() []event {
	var all []event
	d := s.length
	part := func(x float64) time.Duration { return time.Duration(x * float64(d)) }
	between := func(a, b time.Duration) time.Duration { return a + time.Duration(s.rng.Int64N(int64(b-a)+1)) }
	add := func(at time.Duration, what string, do func()) { all = append(all, event{at, what, do}) }
	// The last life is the longest: memory is judged by it.
	const kills = 5
	for i := range kills {
		at := between(part(0.06+0.09*float64(i)), part(0.06+0.09*float64(i)+0.05))
		add(at, "kill", func() { s.outage("daemon"); s.daemon.kill() })
		add(at+between(time.Second, min(20*time.Second, part(0.03))), "start", func() { s.daemon.start(); s.over("daemon") })
	}
	slots := []string{"one", "one", "two", "two", "two"}
	s.rng.Shuffle(len(slots), func(i, j int) { slots[i], slots[j] = slots[j], slots[i] })
	for i, alias := range slots {
		slot := part(0.15)
		from := part(0.08) + time.Duration(i)*slot
		at := between(from, from+slot/2)
		add(at, "stop "+alias, func() { s.away(alias) })
		add(at+between(min(10*time.Second, slot/4), min(90*time.Second, slot/2)), "start "+alias, func() { s.back(alias) })
	}
	limits := [][]string{{"1MiB/s"}, {"256KiB/s"}, {"off"}, {"2MiB/s", "--of", "objects"}, {"policy", "--of", "objects"}, {"1MiB/s", "--pair", "one->two"}, {"policy", "--pair", "one->two"}, {"policy"}}
	for i, l := range limits {
		at := between(part(0.1*float64(i+1)), part(0.1*float64(i+1)+0.08))
		add(at, "limit "+strings.Join(l, " "), func() { s.limit(l) })
	}
	for at := part(0.02); at < part(0.95); at += between(8*time.Second, 25*time.Second) {
		add(at, "", s.block.change)
	}
	for i := range 6 {
		if at := between(part(0.02+0.15*float64(i)), part(0.05+0.15*float64(i))); d >= 10*time.Minute || i%3 == 0 {
			add(at, "snapshot", s.snap)
		}
	}
	add(part(0.85), "restore", s.restoreMeanwhile)
	slices.SortStableFunc(all, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	return all
}

// live plays the script.
func (s *soak) live() {
	s.block.change()
	s.t.Cleanup(s.block.one.Attach(s.t, s.block.volume))
	var wg sync.WaitGroup
	quit := make(chan struct{})
	s.began = time.Now()
	s.watch.mark()
	s.daemon.start()
	wg.Go(func() { s.writer.run(quit) })
	s.watch.run()
	for _, e := range s.script() {
		time.Sleep(time.Until(s.began.Add(e.at)))
		if s.t.Failed() {
			break
		}
		if e.what != "" {
			s.t.Logf("%7.1f s  %s", time.Since(s.began).Seconds(), e.what)
		}
		e.do()
	}
	if s.t.Failed() {
		for _, o := range s.outages {
			if o.end.IsZero() && o.what != "daemon" {
				s.back(o.what)
			}
		}
		close(quit)
		wg.Wait()
		s.t.FailNow()
	}
	time.Sleep(time.Until(s.began.Add(s.length)))
	close(quit)
	wg.Wait()
	s.lived = time.Since(s.began)
}

func (s *soak) outage(what string) {
	s.outages = append(s.outages, outage{what: what, began: time.Now()})
}

func (s *soak) over(what string) {
	for i := range s.outages {
		if o := &s.outages[i]; o.what == what && o.end.IsZero() {
			o.end = time.Now()
		}
	}
}

func (s *soak) away(alias string) {
	if alias == "one" {
		s.writer.away.Lock()
		s.sourced = true
	}
	s.outage(alias)
	s.lab.StopRegion(s.t, alias)
}

func (s *soak) back(alias string) {
	s.lab.StartRegion(s.t, alias)
	s.over(alias)
	if alias == "one" {
		s.sourced = false
		s.writer.away.Unlock()
	}
}

// limit changes one in flight; a daemon that is dead has none.
func (s *soak) limit(args []string) {
	if s.running() {
		s.daemon.ask(append([]string{"limit"}, args...)...)
		s.limits++
	}
}

func (s *soak) running() bool {
	return !slices.ContainsFunc(s.outages, func(o outage) bool { return o.what == "daemon" && o.end.IsZero() })
}

// snap has the volume's owner take a snapshot, unless the region is away.
func (s *soak) snap() {
	if !s.sourced {
		s.block.snap()
		s.block.change()
	}
}

// settle waits until all that was written has arrived, and then for a calm while, in which leaks show.
func (s *soak) settle() {
	s.t.Helper()
	for end := time.Now().Add(10 * time.Minute); ; time.Sleep(soakSample) {
		s.daemon.alive()
		missing := s.watch.missing()
		if missing == "" {
			break
		}
		if time.Now().After(end) {
			s.t.Fatalf("ten minutes after the last change: %s\n%s", missing, s.daemon.said(60))
		}
	}
	s.t.Logf("all has arrived %.0f s after the last change", (time.Since(s.began) - s.lived).Seconds())
	time.Sleep(min(soakCalm, s.length/6))
	s.settled = time.Now()
}
