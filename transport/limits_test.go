package transport_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"farshore/transport"
)

// sent records when bytes passed a limiter.
type sent struct {
	mu sync.Mutex
	at []time.Time
	n  []int
}

func (s *sent) add(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at, s.n = append(s.at, time.Now()), append(s.n, n)
}

// most is the largest number of bytes in any span of that length.
func (s *sent) most(span time.Duration) (most int) {
	sum, j := 0, 0
	for i := range s.at {
		for sum += s.n[i]; s.at[i].Sub(s.at[j]) >= span; j++ {
			sum -= s.n[j]
		}
		most = max(most, sum)
	}
	return most
}

func (s *sent) total() (n int) {
	for _, v := range s.n {
		n += v
	}
	return n
}

func TestLimiterHoldsOverAnyFiveSeconds(t *testing.T) {
	for _, rate := range []int64{20_000, 300_000, 5_000_000, 30_000_000} {
		synctest.Test(t, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("rate %d seed %d", rate, seed)
			l := transport.NewLimiter(rate, nil)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			slice := min(64<<10, int(rate/100))
			var s sent
			var wg sync.WaitGroup
			for i := range 12 {
				rng := rand.New(rand.NewPCG(seed, uint64(i)))
				wg.Go(func() {
					for {
						n := 1 + rng.IntN(slice)
						if l.Wait(ctx, n) != nil {
							return
						}
						s.add(n)
						if rng.IntN(50) == 0 { // a source that pauses must not save up a burst
							time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
						}
					}
				})
			}
			wg.Wait()
			// A wait that has just ended may have been granted in part before the span.
			if got, bound := s.most(5*time.Second), float64(rate)*5*1.05+float64(slice); float64(got) > bound {
				t.Errorf("%d bytes in 5 s, limit %d a second", got, rate)
			}
			if got := s.total(); float64(got) < float64(rate)*20*0.93-12*64<<10 {
				t.Errorf("only %d bytes in 20 s of %d a second", got, rate)
			}
		})
	}
}

func TestLimiterFollowsAChangeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := transport.NewLimiter(1000, nil)
		start := time.Now()
		done := make(chan time.Duration)
		go func() {
			if err := l.Wait(t.Context(), 1_000_000); err != nil { // 1,000 s at the old rate
				t.Error(err)
			}
			done <- time.Since(start)
		}()
		time.Sleep(2 * time.Second)
		l.Set(10_000_000)
		if took := <-done; took > 2200*time.Millisecond {
			t.Errorf("finished after %v", took)
		}
		if l.Rate() != 10_000_000 {
			t.Errorf("rate %d", l.Rate())
		}
		l.Set(0)
		before := time.Now()
		if err := l.Wait(t.Context(), 1<<40); err != nil || time.Since(before) != 0 {
			t.Errorf("unlimited: %v after %v", err, time.Since(before))
		}
		// And slower: what was granted under the old rate must not last.
		l.Set(1000)
		before = time.Now()
		if err := l.Wait(t.Context(), 10_000); err != nil || time.Since(before) < 9*time.Second {
			t.Errorf("slower: %v after %v", err, time.Since(before))
		}
	})
}

func TestLimiterUnlimitedWakesAWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := transport.NewLimiter(1, nil)
		done := make(chan error)
		go func() { done <- l.Wait(t.Context(), 1_000_000) }()
		time.Sleep(time.Second)
		start := time.Now()
		l.Set(0)
		if err := <-done; err != nil || time.Since(start) != 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestLimiterEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := transport.NewLimiter(10, nil)
		why := errors.New("stop now")
		ctx, cancel := context.WithCancelCause(t.Context())
		var wg sync.WaitGroup
		for range 3 { // one at its turn, two before it
			wg.Go(func() {
				if err := l.Wait(ctx, 1<<20); !errors.Is(err, why) {
					t.Errorf("got %v", err)
				}
			})
		}
		synctest.Wait()
		cancel(why)
		wg.Wait()
		if err := l.Wait(ctx, 1); !errors.Is(err, why) {
			t.Errorf("an ended context gave %v", err)
		}
	})
}

func TestLimitersTravelInTheContext(t *testing.T) {
	a, b := transport.NewLimiter(1, nil), transport.NewLimiter(2, nil)
	one := transport.WithLimits(context.Background(), a, nil)
	two := transport.WithLimits(one, b)
	if got := transport.LimitsOf(two); len(got) != 2 || got[0] != a || got[1] != b {
		t.Errorf("got %v", got)
	}
	if got := transport.LimitsOf(one); len(got) != 1 {
		t.Errorf("the outer context changed: %v", got)
	}
	if got := transport.LimitsOf(context.Background()); got != nil {
		t.Errorf("got %v", got)
	}
}
