package daemon

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"farshore/replicator/control"
)

// A person who waits for two policies gets them before the schedule does, when both are
// free, and keeps their tasks from being begun until they are let go.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{start: time.Now()}
		turns := &Turns{}
		_, end := beginWith(t, Options{Memory: newNotes(), Turns: turns}, every(d, "a", Pass, time.Minute, 30*time.Second), every(d, "b", Pass, time.Minute, 50*time.Second))
		defer end()
		synctest.Wait()
		var waited []string
		began := time.Now()
		release, err := turns.Take(t.Context(), "a person", []string{"b", "a", "b"}, func(by map[string]string) { waited = append(waited, by["a"]+"/"+by["b"]) })
		if err != nil || time.Since(began) != 50*time.Second {
			t.Fatalf("Take: %v after %s", err, time.Since(began))
		}
		if len(waited) != 2 || waited[0] != "the pass of policy a/the pass of policy b" || waited[1] != "/the pass of policy b" {
			t.Errorf("it waited for %q", waited)
		}
		if turns.try("a", "somebody else") {
			t.Error("somebody else got a policy that is taken")
		}
		time.Sleep(5 * time.Minute)
		expect(t, d, "a/pass@0s b/pass@0s")
		release()
		release()
		expect(t, d, "a/pass@0s b/pass@0s a/pass@5m50s b/pass@5m50s")
	})
}

// Who gives up waiting keeps nobody.
func TestTurnsGivenUp(t *testing.T) {
	turns := &Turns{}
	if !turns.try("a", "a pass") {
		t.Fatal("a free policy is not given")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("no more patience")
	if _, err := turns.Take(ctx, "a person", []string{"a", "b"}, func(map[string]string) { cancel(why) }); !errors.Is(err, why) {
		t.Errorf("Take: %v", err)
	}
	if !turns.try("b", "a pass") {
		t.Error("b is kept by somebody who went away")
	}
}

// What a person cancels is cut off, is not tried again at once, and goes on when it is due.
func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{start: time.Now()}
		s, end := beginWith(t, Options{Memory: newNotes()}, every(d, "a", Pass, 10*time.Minute, 5*time.Minute))
		defer end()
		time.Sleep(time.Minute)
		if err := s.Order(control.Order{Do: control.Cancel, Policy: "a"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if x := s.Tasks()[0]; x.Running || x.Error != ErrCancelled.Error() || x.Ended.IsZero() {
			t.Errorf("a cancelled task: %+v", x)
		}
		if err := s.Order(control.Order{Do: control.Cancel, Policy: "a"}); !errors.Is(err, ErrNoSuchTask) {
			t.Errorf("cancelling what does not run: %v", err)
		}
		time.Sleep(10 * time.Minute)
		expect(t, d, "a/pass@0s a/pass@10m0s")
	})
}
