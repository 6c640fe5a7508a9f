package transport_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"farshore/transport"
)

func flowing(t *testing.T, name string) context.Context {
	return transport.WithFlow(t.Context(), transport.NewFlow(name))
}

// What comes free goes to the flow that has the least; the last of it is never taken by
// one that has some.
func TestAPoolIsDealtOutByFlows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := transport.NewPool(8, 2, nil)
		var held [2]atomic.Int64
		ctx := []context.Context{flowing(t, "big"), flowing(t, "small")}
		free := [2]chan func(){make(chan func(), 100), make(chan func(), 100)}
		want := func(who, n int) {
			for range n {
				go func() {
					release, err := p.Acquire(ctx[who], 1)
					if err != nil {
						t.Error(err)
						return
					}
					held[who].Add(1)
					free[who] <- func() { held[who].Add(-1); release(); release() }
				}()
			}
			synctest.Wait()
		}
		expect := func(big, small int64) {
			t.Helper()
			if synctest.Wait(); held[0].Load() != big || held[1].Load() != small {
				t.Fatalf("big has %d, not %d; small has %d, not %d", held[0].Load(), big, held[1].Load(), small)
			}
		}
		want(0, 40)
		expect(6, 0) // two are left for who comes next
		want(1, 20)
		expect(6, 2)
		(<-free[0])()
		expect(5, 3)
		(<-free[0])()
		expect(4, 4)
		(<-free[1])()
		expect(4, 4)
		for range 20 + 40 - 3 {
			if held[0].Load() > 0 {
				(<-free[0])()
			} else {
				(<-free[1])()
			}
			synctest.Wait()
		}
		expect(0, 0)
	})
}

// Who wants much is not overtaken for ever by those who want little, and who stops
// waiting holds nobody up.
func TestAPoolHoldsNobodyBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := transport.NewPool(10, 0, nil)
		first, err := p.Acquire(flowing(t, "a"), 4)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(flowing(t, "b"))
		why := errors.New("enough")
		var order []string
		var mu sync.Mutex
		take := func(ctx context.Context, who string, n int64) {
			go func() {
				release, err := p.Acquire(ctx, n)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					if !errors.Is(err, why) {
						t.Error(err)
					}
					order = append(order, who+" gave up")
					return
				}
				order = append(order, who)
				release()
			}()
			synctest.Wait()
		}
		take(ctx, "much", 100) // all there is
		take(flowing(t, "a"), "little", 1)
		if len(order) != 0 {
			t.Fatalf("%v: overtaken", order)
		}
		cancel(why)
		synctest.Wait()
		take(flowing(t, "b"), "much again", 100)
		first()
		synctest.Wait()
		if len(order) != 3 || order[0] != "much gave up" && order[1] != "much gave up" || order[2] != "much again" {
			t.Errorf("%v", order)
		}
		if _, err := p.Acquire(ctx, 1); !errors.Is(err, why) {
			t.Errorf("an ended context: %v", err)
		}
	})
}

// Under a limit, each flow that always wants some gets as many bytes as another, however
// many streams it has and however large its slices are; in a hurry it gets more.
func TestALimitIsDealtOutByFlows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 1 << 20
		l := transport.NewLimiter(rate, nil)
		end, cancel := context.WithTimeout(t.Context(), 400*time.Second)
		defer cancel()
		var sent [3]atomic.Int64
		stream := func(who int, f *transport.Flow, slice int) {
			go func() {
				for l.Wait(transport.WithFlow(end, f), slice) == nil {
					sent[who].Add(int64(slice))
				}
			}()
		}
		most := func(d time.Duration) (parts [3]float64) {
			var before [3]int64
			for i := range sent {
				before[i] = sent[i].Load()
			}
			time.Sleep(d)
			for i := range sent {
				parts[i] = float64(sent[i].Load()-before[i]) / (rate * d.Seconds())
			}
			return parts
		}
		near := func(what string, got [3]float64, want ...float64) {
			t.Helper()
			for i := range want {
				if got[i] < want[i]-0.02 || got[i] > want[i]+0.02 {
					t.Errorf("%s: parts %.3f, not %.3f", what, got, want)
				}
			}
		}
		big, small, late := transport.NewFlow("big"), transport.NewFlow("small"), transport.NewFlow("late")
		for range 14 {
			stream(0, big, 48<<10)
		}
		near("alone", most(50*time.Second), 1, 0, 0)
		stream(1, small, 4<<10)
		stream(1, small, 4<<10)
		near("two", most(50*time.Second), 0.5, 0.5, 0) // and it does not make up for the time before
		stream(2, late, 16<<10)
		stream(2, late, 16<<10)
		near("three", most(60*time.Second), 1./3, 1./3, 1./3)
		now := time.Now()
		late.Hurry(now.Add(10*time.Second), now.Add(70*time.Second))
		time.Sleep(10 * time.Second)
		near("one in a hurry", most(60*time.Second), 1./6, 1./6, 4./6)
		near("too late to hurry", most(60*time.Second), 1./3, 1./3, 1./3)
		cancel()
		synctest.Wait()
	})
}

// One flow whose requests take the whole link for long does not keep another from it.
func TestALinkIsSharedByFlows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := transport.NewLink(transport.LinkOptions{Start: 4, Max: 4})
		big, small := flowing(t, "big"), flowing(t, "small")
		for range 20 {
			go func() {
				release, err := l.Acquire(big)
				if err != nil {
					t.Error(err)
					return
				}
				time.Sleep(time.Minute)
				release(transport.Result{})
			}()
		}
		synctest.Wait()
		began := time.Now()
		for range 10 {
			release, err := l.Acquire(small)
			if err != nil {
				t.Fatal(err)
			}
			if n := l.Stats().InFlight; n > 5 {
				t.Errorf("%d at once", n)
			}
			time.Sleep(time.Second)
			release(transport.Result{})
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("ten requests of a second took %v beside another's", took)
		}
		time.Sleep(time.Hour)
		if s := l.Stats(); s.InFlight != 0 || s.Waiting != 0 || s.Requests != 30 {
			t.Errorf("%+v", s)
		}
	})
}
