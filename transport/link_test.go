package transport_test

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"farshore/transport"
)

// server is a simulated region: requests take base as long as there are at most
// knee of them, and proportionally longer above; beyond refuse they get 429.
type server struct {
	mu     sync.Mutex
	now    int
	base   time.Duration
	knee   int
	refuse int
	after  time.Duration
	served int
}

func (s *server) request() error {
	s.mu.Lock()
	s.now++
	n, d := s.now, s.base
	if n > s.knee {
		d = d * time.Duration(n) / time.Duration(s.knee)
	}
	refused := s.refuse > 0 && n > s.refuse
	if refused {
		d = 5 * time.Millisecond
	}
	s.mu.Unlock()
	time.Sleep(time.Duration(float64(d) * (0.9 + 0.2*rand.Float64())))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now--
	if refused {
		return &transport.Error{Class: transport.Throttled, Status: 429, After: s.after}
	}
	s.served++
	return nil
}

func (s *server) done() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.served
}

// drive sends requests as fast as the link lets them, over 100 streams, until stop.
func drive(l *transport.Link, s *server) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			for {
				release, err := l.Acquire(ctx)
				if err != nil {
					return
				}
				release(transport.Result{Err: s.request(), Bytes: 4096})
			}
		})
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

func TestLinkFindsTheKnee(t *testing.T) {
	for _, knee := range []int{2, 8, 30, 200} {
		synctest.Test(t, func(t *testing.T) {
			s := &server{base: 50 * time.Millisecond, knee: knee}
			l := transport.NewLink(transport.LinkOptions{Region: "east", Max: 64})
			stop := drive(l, s)
			time.Sleep(30 * time.Second)
			from, limits := s.done(), 0.0
			for range 80 {
				time.Sleep(500 * time.Millisecond)
				limits += float64(l.Stats().Limit)
			}
			rate, limit := float64(s.done()-from)/40, limits/80
			best := float64(min(knee, 64)) / 0.05
			t.Logf("knee %d: limit %.1f, %.0f of %.0f requests a second", knee, limit, rate, best)
			if rate < 0.9*best {
				t.Errorf("only %.0f requests a second of %.0f", rate, best)
			}
			// Above the knee more requests at once only make each slower.
			if limit > math.Max(2*float64(knee), 6) {
				t.Errorf("limit %.1f at a knee of %d", limit, knee)
			}
			stop()
			if n := l.Stats().InFlight + l.Stats().Waiting; n != 0 {
				t.Errorf("%d left over", n)
			}
		})
	}
}

func TestLinkGrowsFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{base: 50 * time.Millisecond, knee: 1000}
		l := transport.NewLink(transport.LinkOptions{Max: 64})
		defer drive(l, s)()
		time.Sleep(4 * time.Second)
		if got := l.Stats().Limit; got < 60 {
			t.Errorf("limit %d after 4 s", got)
		}
	})
}

func TestLinkShrinksWhenTheRegionSlowsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{base: 20 * time.Millisecond, knee: 40}
		l := transport.NewLink(transport.LinkOptions{Max: 64})
		defer drive(l, s)()
		time.Sleep(20 * time.Second)
		before := l.Stats().Limit
		s.mu.Lock()
		s.knee = 4
		s.mu.Unlock()
		time.Sleep(2 * time.Minute)
		if after := l.Stats().Limit; before < 25 || after > before/2 {
			t.Errorf("limit %d, then %d after the region bore only a tenth", before, after)
		}
	})
}

func TestLinkBacksOffFromThrottling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{base: 50 * time.Millisecond, knee: 1000, refuse: 10}
		l := transport.NewLink(transport.LinkOptions{Max: 64})
		defer drive(l, s)()
		time.Sleep(time.Minute)
		st := l.Stats()
		served := s.done()
		t.Logf("%+v, served %d", st, served)
		if st.Limit > 16 {
			t.Errorf("limit %d at a region that refuses more than 10", st.Limit)
		}
		if share := float64(st.Throttles) / float64(st.Requests); share > 0.05 {
			t.Errorf("%.0f %% of the requests were throttled", 100*share)
		}
		if served < 60*10*20*3/4 {
			t.Errorf("only %d requests served", served)
		}
	})
}

func TestLinkHonoursRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := transport.NewLink(transport.LinkOptions{Start: 8})
		start := time.Now()
		release, err := l.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		release(transport.Result{Err: &transport.Error{Class: transport.Throttled, After: 7 * time.Second}})
		if got := l.Stats(); got.Limit != 4 || got.Throttles != 1 || !got.PausedUntil.Equal(start.Add(7*time.Second)) {
			t.Errorf("%+v", got)
		}
		for range 3 {
			release, err := l.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			release(transport.Result{})
		}
		if took := time.Since(start); took != 7*time.Second {
			t.Errorf("the pause took %v", took)
		}
		if got := l.Stats(); !got.PausedUntil.IsZero() || got.InFlight != 0 {
			t.Errorf("%+v", got)
		}
		// A day is not waited for.
		release, _ = l.Acquire(t.Context())
		release(transport.Result{Err: &transport.Error{Class: transport.Throttled, After: 24 * time.Hour}})
		start = time.Now()
		if release, err = l.Acquire(t.Context()); err != nil || time.Since(start) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		release(transport.Result{})
	})
}

// A storm of refusals of requests that were under way together is one refusal.
func TestLinkCutsOncePerStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := transport.NewLink(transport.LinkOptions{Start: 16})
		var releases []func(transport.Result)
		for range 16 {
			r, err := l.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			releases = append(releases, r)
		}
		time.Sleep(time.Second)
		for _, r := range releases {
			r(transport.Result{Err: &transport.Error{Class: transport.Throttled}})
		}
		if got := l.Stats(); got.Limit != 8 || got.Throttles != 16 {
			t.Errorf("%+v", got)
		}
	})
}

func TestLinkPausesGrowWhileItGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := transport.NewLink(transport.LinkOptions{MaxPause: 20 * time.Second})
		var last time.Duration
		for i := range 12 {
			start := time.Now()
			release, err := l.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			last = time.Since(start)
			if last > 20*time.Second {
				t.Errorf("pause %d took %v", i, last)
			}
			time.Sleep(time.Millisecond)
			release(transport.Result{Err: &transport.Error{Class: transport.Throttled}})
		}
		if last < 10*time.Second {
			t.Errorf("the last pause was only %v", last)
		}
		if got := l.Stats().Limit; got != 1 {
			t.Errorf("limit %d", got)
		}
	})
}

func TestLinkIsFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := transport.NewLink(transport.LinkOptions{Start: 1, Max: 1})
		hold, err := l.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var order []int
		canceled, cancel := context.WithCancel(t.Context())
		for i := range 6 {
			ctx := t.Context()
			if i == 2 {
				ctx = canceled
			}
			go func() {
				release, err := l.Acquire(ctx)
				if err != nil {
					return
				}
				order = append(order, i)
				release(transport.Result{})
			}()
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		hold(transport.Result{})
		hold(transport.Result{}) // does nothing
		synctest.Wait()
		if len(order) != 5 || order[0] != 0 || order[2] != 3 || order[4] != 5 {
			t.Errorf("order %v", order)
		}
		if got := l.Stats(); got.InFlight != 0 || got.Waiting != 0 || got.Requests != 6 {
			t.Errorf("%+v", got)
		}
	})
}

// leaps is a clock whose readings are given beforehand.
type leaps struct {
	transport.SystemClock
	start time.Time
	at    []time.Duration
}

func (l *leaps) Now() time.Time {
	d := l.at[0]
	if len(l.at) > 1 {
		l.at = l.at[1:]
	}
	return l.start.Add(d)
}

// The pause ends just when the only stream has taken its place in the queue.
func TestLinkPauseEndsWhileQueueing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := &leaps{start: time.Now(), at: []time.Duration{0, 0, 0, 999 * time.Millisecond, 1001 * time.Millisecond}}
		l := transport.NewLink(transport.LinkOptions{Clock: clock})
		release, err := l.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		release(transport.Result{Err: &transport.Error{Class: transport.Throttled, After: time.Second}})
		if clock.Now(); len(clock.at) != 2 {
			t.Fatalf("%d readings left", len(clock.at))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if release, err = l.Acquire(ctx); err != nil {
			t.Fatal("it waits for ever: ", err)
		}
		release(transport.Result{})
	})
}

// Slots are neither lost nor doubled when waiting streams give up at random.
func TestLinkKeepsItsSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		l := transport.NewLink(transport.LinkOptions{Start: 4, Max: 4})
		var wg sync.WaitGroup
		var mu sync.Mutex
		now, most := 0, 0
		for i := range 200 {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			wg.Go(func() {
				for range 20 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(200))*time.Millisecond)
					release, err := l.Acquire(ctx)
					if err == nil {
						mu.Lock()
						now++
						most = max(most, now)
						mu.Unlock()
						time.Sleep(time.Duration(rng.IntN(5)) * time.Millisecond)
						mu.Lock()
						now--
						mu.Unlock()
						var fail error
						if rng.IntN(200) == 0 {
							fail = &transport.Error{Class: transport.Throttled, After: 30 * time.Millisecond}
						}
						release(transport.Result{Err: fail})
					}
					cancel()
				}
			})
		}
		wg.Wait()
		if got := l.Stats(); got.InFlight != 0 || got.Waiting != 0 || most > 4 {
			t.Errorf("%+v, %d at once", got, most)
		}
		l.SetMax(2)
		if got := l.Stats(); got.Limit > 2 || got.Max != 2 {
			t.Errorf("%+v", got)
		}
	})
}

// Two links of one copy bound each other: neither may take the other's limit for
// its own region's.
func TestLinksOfOneCopyGrowTogether(t *testing.T) {
	for _, streams := range []int{16, 40} {
		synctest.Test(t, func(t *testing.T) {
			from, to := &server{base: 50 * time.Millisecond, knee: 1000}, &server{base: 50 * time.Millisecond, knee: 1000}
			source, dest := transport.NewLink(transport.LinkOptions{}), transport.NewLink(transport.LinkOptions{})
			ctx, cancel := context.WithCancel(context.Background())
			slots := make(chan struct{}, streams)
			pass := func(l *transport.Link, s *server) {
				if release, err := l.Acquire(ctx); err == nil {
					release(transport.Result{Err: s.request(), Bytes: 4096})
				}
			}
			var wg sync.WaitGroup
			for range 2 * streams {
				wg.Go(func() {
					for ctx.Err() == nil {
						pass(source, from)
						slots <- struct{}{}
						pass(dest, to)
						<-slots
					}
				})
			}
			began := time.Now()
			for to.done() < 1000 {
				time.Sleep(10 * time.Millisecond)
			}
			took, least := time.Since(began), time.Duration(1000/streams)*50*time.Millisecond
			t.Logf("%d streams: 1,000 objects in %v, %v at best, limits %d and %d", streams, took, least, source.Stats().Limit, dest.Stats().Limit)
			if took > least+least/4+500*time.Millisecond {
				t.Errorf("%d streams: 1,000 objects in %v, %v at best, limits %d and %d", streams, took, least, source.Stats().Limit, dest.Stats().Limit)
			}
			cancel()
			wg.Wait()
		})
	}
}
