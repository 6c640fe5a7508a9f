// Package daemon keeps doing what policies ask for: passes, audits and drills, each
// when it is due. It decides when, never what: a Task says how its work is done.
//
// A task never overlaps itself or another of its policy; different policies work side
// by side and share the engine's budget. What was due while nobody was there is caught
// up once. When something was begun and how it ended is remembered in the ledger, so
// that a restart neither forgets a daily audit nor makes it twice.
package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"farshore/replicator/control"
	"farshore/transport"
)

// Kind is what a task does.
type Kind string

// The kinds of tasks.
const (
	Pass  Kind = "pass"
	Audit Kind = "audit"
	Drill Kind = "drill"
)

// Task is something that a policy wants done again and again.
type Task struct {
	Policy string
	Kind   Kind
	// Next is when it is due again after it was begun at last; the zero time: never.
	Next func(last time.Time) time.Time
	// First is whether it is due at once when it was never done; else it is due at Next
	// of the moment at which it was seen for the first time.
	First bool
	// Spread is the most by which a moment is put off at random, so that what has the
	// same interval does not begin together for ever; 0: not at all.
	Spread time.Duration
	// Patience is how long after it was due it begins although Parallel others run, unless
	// as many again do already; 0: it waits until one of them ends. Those may be at
	// something that takes days.
	Patience time.Duration
	Do       func(context.Context) Outcome
}

// Outcome is how a task's work ended.
type Outcome struct {
	Errors int64 // error findings
	Err    error // why it could not be done, or not to its end
	Wait   bool  // trying again before the task is due is of no use: a person is asked for
}

// Memory keeps small values durably: the ledger.
type Memory interface {
	Note(key string) (value []byte, ok bool, err error)
	PutNote(key string, value []byte) error
}

// Options of a Scheduler.
type Options struct {
	Memory Memory
	Clock  transport.Clock // nil: the system's
	Log    *slog.Logger    // nil: silent
	// Parallel is how many policies are worked on at once; 0: 8.
	Parallel int
	// Turns keeps others from the policies that are worked on; nil: there are none.
	Turns *Turns
	// Down tells why nothing can be written down just now, such as a full disk; nil: that is
	// never known. Nothing is begun meanwhile, and what failed then is made as soon as it is
	// over: Nudge says when.
	Down func() error
}

// past is what is remembered of a task.
type past struct {
	Seen   time.Time `json:"seen"` // when it was there for the first time
	Began  time.Time `json:"began,omitzero"`
	Ended  time.Time `json:"ended,omitzero"` // zero: it was cut short
	Errors int64     `json:"errors,omitempty"`
	Err    string    `json:"error,omitempty"`
	Failed int       `json:"failed,omitempty"` // times in a row that it could not be done
	Wait   bool      `json:"wait,omitempty"`
	Paused bool      `json:"paused,omitempty"`
}

// entry is one task as it stands.
type entry struct {
	Task
	past
	due     time.Time // zero: never
	running bool
	asked   bool                    // a person asked for it: it begins next
	unsaved bool                    // what is remembered of it is older
	cancel  context.CancelCauseFunc // of the run under way
}

// Scheduler begins tasks when they are due. Its methods may be called concurrently.
type Scheduler struct {
	o    Options
	wake chan struct{}

	mu      sync.Mutex
	entries []*entry
	busy    int       // how many tasks run
	seen    time.Time // the clock when it was looked at last
	closed  bool
}

// A failed task is tried again after firstRetry, then after twice that, up to
// lastRetry, unless it is due before. A clock is looked at every tick at least, since
// it may be set while nobody waits for it.
const (
	firstRetry = time.Minute
	lastRetry  = 30 * time.Minute
	tick       = 30 * time.Second
)

// New makes a scheduler of tasks and takes up what is remembered of them.
func New(o Options, tasks []Task) (*Scheduler, error) {
	if o.Clock == nil {
		o.Clock = transport.SystemClock{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Parallel <= 0 {
		o.Parallel = 8
	}
	if o.Turns == nil {
		o.Turns = &Turns{}
	}
	if o.Down == nil {
		o.Down = func() error { return nil }
	}
	s := &Scheduler{o: o, wake: make(chan struct{}, 1), seen: o.Clock.Now().Round(0)}
	for _, t := range tasks {
		e := &entry{Task: t}
		text, ok, err := o.Memory.Note(e.key())
		if err != nil {
			return nil, fmt.Errorf("read when %s was done last: %w", e.name(), err)
		}
		if ok {
			if err := json.Unmarshal(text, &e.past); err != nil {
				return nil, fmt.Errorf("read when %s was done last: %w", e.name(), err)
			}
		}
		if e.Seen.IsZero() {
			e.Seen = s.seen
			if err := s.save(e); err != nil {
				return nil, fmt.Errorf("write down that there is %s: %w", e.name(), err)
			}
		}
		e.plan(s.seen)
		s.entries = append(s.entries, e)
	}
	return s, nil
}

func (e *entry) key() string  { return "daemon/" + string(e.Kind) + "/" + e.Policy }
func (e *entry) name() string { return fmt.Sprintf("the %s of policy %s", e.Kind, e.Policy) }

// plan says when the task is due.
func (e *entry) plan(now time.Time) {
	if e.Began.After(now) { // the clock was set back
		e.Began = now
	}
	if e.Seen.After(now) {
		e.Seen = now
	}
	switch {
	case e.Began.IsZero() && e.First, !e.Began.IsZero() && e.Ended.IsZero():
		e.due = now // never done, or cut short: it goes on at once
		return
	case e.Began.IsZero():
		e.due = e.Next(e.Seen)
	default:
		e.due = e.Next(e.Began)
	}
	if e.due.IsZero() {
		return
	}
	if e.Spread > 0 {
		e.due = e.due.Add(rand.N(e.Spread))
	}
	if e.Failed > 0 && !e.Wait {
		again := now.Add(min(firstRetry<<min(e.Failed-1, 10), lastRetry))
		if again.Before(e.due) {
			e.due = again
		}
	}
}

// Run begins what is due until ctx ends, and returns when everything that was begun
// has ended. It may be called once.
func (s *Scheduler) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	defer func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
	}()
	for ctx.Err() == nil {
		moved := s.o.Turns.Moved()
		wait := s.begin(ctx, &running)
		t := s.o.Clock.NewTimer(min(wait, tick))
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-moved:
		case <-t.C():
		}
		t.Stop()
	}
}

// now is the time by the wall: what the system's clock measures between two moments
// does not show that it was set.
func (s *Scheduler) now() time.Time { return s.o.Clock.Now().Round(0) }

// begin starts what is due, what has waited longest first, and gives the time until
// the next is.
func (s *Scheduler) begin(ctx context.Context, running *sync.WaitGroup) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil { // asked under the lock: what ctx cut short is due at once, and not for this run
		return tick
	}
	now := s.now()
	if now.Before(s.seen) {
		s.o.Log.Warn("the clock was set back", "by", s.seen.Sub(now))
		for _, e := range s.entries {
			if !e.running {
				e.plan(now)
			}
		}
	}
	s.seen = now
	if err := s.o.Down(); err != nil {
		s.hold(now, err)
		return tick
	}
	order := slices.Clone(s.entries)
	slices.SortStableFunc(order, func(a, b *entry) int {
		if a.asked != b.asked {
			if a.asked {
				return -1
			}
			return 1
		}
		return cmp.Or(a.due.Compare(b.due), a.Began.Compare(b.Began))
	})
	wait := tick
	for _, e := range order {
		if e.unsaved && !e.running {
			_ = s.save(e) // if it cannot be, then at the next look
		}
		if e.running || e.due.IsZero() && !e.asked || e.Paused && !e.asked {
			continue
		}
		if d := e.due.Sub(now); d > 0 && !e.asked {
			wait = min(wait, d)
			continue
		}
		if s.busy >= s.o.Parallel {
			left := e.Patience - now.Sub(e.due)
			if e.Patience == 0 || s.busy >= 2*s.o.Parallel {
				continue // whoever ends wakes us
			}
			if left > 0 {
				wait = min(wait, left)
				continue
			}
		}
		if !s.o.Turns.try(e.Policy, e.name()) {
			continue // whoever ends wakes us
		}
		s.busy++
		e.running, e.asked = true, false
		var work context.Context
		work, e.cancel = context.WithCancelCause(ctx)
		running.Go(func() { s.do(ctx, work, e, now) })
	}
	return wait
}

// hold says of what is due why it does not begin; s.mu is held.
func (s *Scheduler) hold(now time.Time, why error) {
	for _, e := range s.entries {
		if !e.running && !e.Paused && (e.asked || !e.due.IsZero() && !e.due.After(now)) {
			e.Err = why.Error()
		}
	}
}

// ErrCancelled is why a task's work was ended by a person (Order of control.Cancel).
var ErrCancelled = errors.New("cancelled")

// do makes one run of a task. work ends with ctx, or when a person cancels the run.
func (s *Scheduler) do(ctx, work context.Context, e *entry, began time.Time) {
	s.mu.Lock()
	e.Began, e.Ended = began, time.Time{}
	err := s.save(e)
	s.mu.Unlock()
	out := Outcome{Err: err}
	if err == nil {
		out = e.Do(work)
	}
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(context.Cause(work), ErrCancelled) && out.Err != nil && ctx.Err() == nil {
		out.Err, out.Wait = ErrCancelled, true // its next moment is early enough
	}
	e.cancel(nil)
	e.running, e.cancel = false, nil
	s.busy--
	s.o.Turns.free(e.Policy)
	e.Errors, e.Err, e.Wait = out.Errors, "", out.Wait
	if ctx.Err() == nil { // else it was cut short, and goes on at the next start
		e.Ended = now
	}
	held := out.Err != nil && !out.Wait && s.o.Down() != nil // it waits for that, and for nothing else
	switch {
	case out.Err == nil:
		e.Failed = 0
	case ctx.Err() == nil:
		e.Err = out.Err.Error()
		if !held {
			e.Failed++
		}
	}
	if err := s.save(e); err != nil {
		s.o.Log.Error("cannot write down how "+e.name()+" ended", "err", err)
	}
	e.plan(now)
	if held {
		e.due = now
	}
	s.Nudge()
}

// save remembers a task; s.mu is held.
func (s *Scheduler) save(e *entry) error {
	text, err := json.Marshal(e.past)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	err = s.o.Memory.PutNote(e.key(), text)
	e.unsaved = err != nil
	return err
}

// Nudge has Run look at once for what is due.
func (s *Scheduler) Nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Why an order was refused.
var (
	ErrNoSuchTask = errors.New("no such task")
	ErrEnding     = errors.New("it is ending")
)

// Order does what a person wants of a policy: pause, resume and cancel are for all its
// tasks, run for one of them. What runs when its policy is paused runs to its end. Running
// a paused one once leaves it paused. What is cancelled is cut off as by the end of Run,
// and gone on with when it is due again.
func (s *Scheduler) Order(o control.Order) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrEnding
	}
	found, runs := false, false
	for _, e := range s.entries {
		if e.Policy != o.Policy || o.Do == control.RunNow && e.Kind != Kind(o.Kind) {
			continue
		}
		found = true
		switch o.Do {
		case control.Cancel:
			e.asked = false
			if e.running {
				runs = true
				e.cancel(ErrCancelled)
			}
		case control.RunNow:
			e.asked = true
		case control.Pause, control.Resume:
			was := e.Paused
			e.Paused = o.Do == control.Pause
			if err := s.save(e); err != nil {
				e.Paused = was
				return fmt.Errorf("write down that %s is paused or not: %w", e.name(), err)
			}
		}
	}
	if !found {
		return fmt.Errorf("%w: policy %q has no %s (there are: %s)", ErrNoSuchTask, o.Policy, cmp.Or(string(o.Kind), "task"), s.names())
	}
	if o.Do == control.Cancel && !runs {
		return fmt.Errorf("%w of policy %q: none of its tasks runs now", ErrNoSuchTask, o.Policy)
	}
	s.Nudge()
	return nil
}

// Looked is when it looked last for what is due: Run does so every 30 s at least, so that
// a much later clock says that it hangs, or has ended.
func (s *Scheduler) Looked() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// names lists the tasks there are; s.mu is held.
func (s *Scheduler) names() string {
	var all []string
	for _, e := range s.entries {
		all = append(all, e.Policy+" "+string(e.Kind))
	}
	return strings.Join(all, ", ")
}

// Tasks says how every task stands.
func (s *Scheduler) Tasks() []control.Task {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []control.Task{}
	for _, e := range s.entries {
		t := control.Task{Policy: e.Policy, Kind: string(e.Kind), Running: e.running, Paused: e.Paused, Asked: e.asked, Began: e.Began.UTC(), Ended: e.Ended.UTC(), Errors: e.Errors, Error: e.Err, Held: e.Err != "" && e.Wait}
		if !e.running && !e.asked && !e.due.IsZero() && !e.Paused {
			t.Next = e.due.UTC()
		}
		out = append(out, t)
	}
	return out
}
