package daemon

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"farshore/replicator/control"
)

// breakable says whether anything can be written down.
type breakable struct {
	mu  sync.Mutex
	err error
}

func (b *breakable) set(n *notes, err error) {
	b.mu.Lock()
	b.err = err
	b.mu.Unlock()
	n.mu.Lock()
	n.err = err
	n.mu.Unlock()
}

func (b *breakable) down() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// While nothing can be written down nothing begins, which is shown of what is due; what
// failed by it, what came due and what a person asked for is made once it is over, at
// once, each once.
func TestHeldWhileDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, m, b := &diary{start: time.Now()}, newNotes(), &breakable{}
		full := errors.New("ledger /x: no space left; make room")
		failing := Task{Policy: "fails", Kind: Pass, First: true, Next: func(last time.Time) time.Time { return last.Add(10 * time.Hour) }}
		failing.Do = func(ctx context.Context) Outcome {
			d.write("fails/pass")
			time.Sleep(30 * time.Minute)
			return Outcome{Err: b.down()}
		}
		s, end := beginWith(t, Options{Memory: m, Down: b.down}, every(d, "a", Pass, time.Hour, 0), every(d, "asked", Pass, 10*time.Hour, 0), every(d, "later", Pass, 5*time.Hour, 0), failing)
		time.Sleep(20 * time.Minute)
		b.set(m, full)
		if err := s.Order(control.Order{Do: control.RunNow, Policy: "asked", Kind: "pass"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if got := d.read(); got != "a/pass@0s asked/pass@0s fails/pass@0s later/pass@0s" {
			t.Errorf("while down: %s", got)
		}
		for _, x := range s.Tasks() {
			if held := x.Policy != "later"; held != (x.Error == full.Error()) {
				t.Errorf("%+v", x)
			}
		}
		b.set(m, nil)
		s.Nudge()
		time.Sleep(45 * time.Minute)
		synctest.Wait()
		end()
		if got := d.read(); !strings.HasSuffix(got, " a/pass@2h20m0s asked/pass@2h20m0s fails/pass@2h20m0s") {
			t.Errorf("afterwards: %s", got)
		}
		for _, x := range s.Tasks() {
			if x.Error != "" {
				t.Errorf("%+v", x)
			}
		}
	})
}

// How a run ended that could not be written down is written down once that is possible: a
// restart would make it again.
func TestSavedOnceUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, m, b := &diary{start: time.Now()}, newNotes(), &breakable{}
		_, end := beginWith(t, Options{Memory: m, Down: b.down}, every(d, "a", Pass, 10*time.Hour, 20*time.Minute))
		time.Sleep(10 * time.Minute)
		b.set(m, errors.New("full"))
		time.Sleep(20 * time.Minute)
		b.set(m, nil)
		time.Sleep(tick)
		synctest.Wait()
		end()
		_, end = begin(t, m, 0, every(d, "a", Pass, 10*time.Hour, 0))
		time.Sleep(time.Hour)
		end()
		if got := d.read(); got != "a/pass@0s" {
			t.Error(got)
		}
	})
}
