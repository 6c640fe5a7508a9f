package replicator

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"farshore/transport/transporttest"
)

// What has waited longest is sent first, whatever its name: of what one page of the
// listing shows, nothing goes out earlier or later than its age says by more than what
// is under way at once.
func TestOldestChangeFirst(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) { oldestFirst(t, seed) })
}

func oldestFirst(t *testing.T, seed uint64) {
	w := newWorld(t, "b")
	w.limits.Streams = 1
	// nothing takes longer than a write: whoever is to go next is there when it ends
	w.faults["b"].Add(transporttest.Put, transporttest.Before(func() { time.Sleep(time.Second) }).On("c", "").Times(-1))
	for round := range 2 { // a first pass, and one over what was overwritten
		age := map[string]int{}
		for i, n := range rand.New(rand.NewPCG(seed, 0)).Perm(200) {
			w.clock.advance(time.Minute)
			w.put(fmt.Sprintf("o%03d", n), uint64(round*200+i), 10+i%7, nil)
			age[fmt.Sprintf("o%03d", n)] = i
		}
		w.clock.advance(time.Hour)
		w.forget()
		w.sync()
		sent := 0
		for _, c := range w.faults["b"].Calls() {
			if c.Method != transporttest.Put || c.Container != "c" {
				continue
			}
			if off := age[c.Name] - sent; max(off, -off) > readAhead+walkers {
				t.Errorf("%s, number %d by age, was sent as number %d", c.Name, age[c.Name], sent)
			}
			sent++
		}
		if sent != 200 {
			t.Errorf("%d were sent", sent)
		}
		seed++
	}
	w.same("b")
}
