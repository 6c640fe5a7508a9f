package transport_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"farshore/transport"
)

// within is the number of bytes between two moments.
func (s *sent) within(from, to time.Time) (n int) {
	for i, at := range s.at {
		if !at.Before(from) && at.Before(to) {
			n += s.n[i]
		}
	}
	return n
}

// Eight streams of two policies under a pair's limit of 20 MiB/s and a looser total: over
// any 5 s no more than 5 % above it, and a change of either holds a second later at most.
func TestEightStreamsKeepAPairsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const mib = 1 << 20
		total, pair := transport.NewLimiter(50*mib, nil), transport.NewLimiter(20*mib, nil)
		ctx, cancel := context.WithCancel(transport.WithLimits(t.Context(), total, pair))
		var s sent
		var wg sync.WaitGroup
		for i := range 8 {
			mine := transport.WithFlow(ctx, transport.NewFlow([]string{"a", "b"}[i%2]))
			wg.Go(func() {
				for transport.WaitLimits(mine, 64<<10) == nil {
					s.add(64 << 10)
				}
			})
		}
		began := time.Now()
		time.Sleep(15 * time.Second)
		pair.Set(5 * mib) // by a person
		lower := time.Now()
		time.Sleep(10 * time.Second)
		total.Set(2 * mib) // by the timetable
		lowest := time.Now()
		time.Sleep(20 * time.Second)
		total.Set(0)
		pair.Set(0)
		pair.Set(40 * mib)
		higher := time.Now()
		time.Sleep(10 * time.Second)
		end := time.Now()
		cancel()
		wg.Wait()
		for _, c := range []struct {
			what     string
			from, to time.Time
			rate     float64
		}{
			{"the pair's limit", began, lower, 20 * mib},
			{"a second after a lower one", lower.Add(time.Second), lowest, 5 * mib},
			{"a second after the total is the lowest", lowest.Add(time.Second), higher, 2 * mib},
			{"a second after a higher one", higher.Add(time.Second), end, 40 * mib},
		} {
			most, least := 0, 1<<40
			for at := c.from; !at.Add(5 * time.Second).After(c.to); at = at.Add(20 * time.Millisecond) {
				n := s.within(at, at.Add(5*time.Second))
				most, least = max(most, n), min(least, n)
			}
			t.Logf("%s: between %.3f and %.3f of it over any 5 s", c.what, float64(least)/5/c.rate, float64(most)/5/c.rate)
			if float64(most) > 1.05*5*c.rate {
				t.Errorf("%s: %.3f of it in 5 s", c.what, float64(most)/5/c.rate)
			}
			if float64(least) < 0.9*5*c.rate {
				t.Errorf("%s: only %.3f of it in 5 s", c.what, float64(least)/5/c.rate)
			}
		}
	})
}
