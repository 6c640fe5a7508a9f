package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"farshore/policies"
	"farshore/replicator"
	"farshore/replicator/control"
	"farshore/replicator/lag"
	"farshore/replicator/report"
	"farshore/replicator/volumes"
	"farshore/store"
	"farshore/transport"
)

// session is an open ledger, the socket beside it, and what is shown of the work.
type session struct {
	ledger   *store.Ledger
	progress *report.Progress
	server   *control.Server // nil: reading only, or no socket could be made
	cleanup  string          // a folder to remove at the end

	guests guests
	hands  *volumes.Hands
	guest  *guest       // nil: the ledger is this session's own
	log    *slog.Logger // of commands that are carried out for others; nil: silent

	path   string
	began  time.Time
	cancel context.CancelCauseFunc

	mu       sync.Mutex
	engine   *replicator.Engine
	daemon   bool             // it will have a schedule
	schedule scheduler        // of a daemon at work; nil: nothing is done again and again
	limit    *int64           // wanted before there was an engine
	lag      *lag.Tracker     // of a daemon; nil: not measured
	reading  *control.Reading // of a daemon's policy file
	stopping bool
}

// opener opens the ledger of a command. The context it returns also ends when somebody
// stops the work by the socket.
type opener func(ctx context.Context, c *console) (context.Context, *session, error)

// openFor opens a ledger for writing.
func openFor(path string) opener {
	return func(ctx context.Context, c *console) (context.Context, *session, error) {
		if c.guest != nil {
			return c.guest.open(ctx, path, true)
		}
		return openSession(ctx, path, path, c)
	}
}

// lookAt opens a ledger for reading only.
func lookAt(path string) opener {
	return func(ctx context.Context, c *console) (context.Context, *session, error) {
		if c.guest != nil {
			return c.guest.open(ctx, path, false)
		}
		s, err := lookSession(path)
		if err != nil {
			err = c.passOn(ctx, path, err)
		}
		return ctx, s, err
	}
}

// openSession opens the ledger for writing and serves the socket of the ledger it stands for.
func openSession(ctx context.Context, path, standsFor string, c *console) (context.Context, *session, error) {
	l, err := store.Open(path, store.Options{})
	if err != nil {
		return ctx, nil, c.passOn(ctx, path, err)
	}
	s := newSession(l)
	if s.path, err = filepath.Abs(standsFor); err != nil {
		s.path = standsFor
	}
	ctx, s.cancel = context.WithCancelCause(ctx)
	context.AfterFunc(ctx, s.guests.close)
	if s.server, err = control.Serve(standsFor, s); err != nil {
		// The work matters more than watching it.
		fmt.Fprintf(c, "farshore: %v\n  hint: the work goes on, but farshore status, limit and stop cannot reach it\n", err)
	}
	return ctx, s, nil
}

// lookSession opens the ledger for reading only. Where there is none yet, an empty one
// in a temporary folder takes its place, so that a plan leaves nothing behind.
func lookSession(path string) (*session, error) {
	l, err := store.Open(path, store.Options{ReadOnly: true})
	if err == nil {
		return newSession(l), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "farshore-plan-")
	if err != nil {
		return nil, fmt.Errorf("make a temporary folder: %w", err)
	}
	if l, err = store.Open(filepath.Join(dir, "ledger.db"), store.Options{}); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	s := newSession(l)
	s.cleanup = dir
	return s, nil
}

func newSession(l *store.Ledger) *session {
	now := time.Now()
	return &session{ledger: l, path: l.Path(), began: now, progress: report.NewProgress(now), hands: &volumes.Hands{}, cancel: func(error) {}}
}

// Close lets go of the ledger: the socket first, so that nobody is told of a holder
// that no longer holds it.
func (s *session) Close() error {
	if s.guest != nil {
		return s.ledger.Flush(context.Background()) // it stays open
	}
	var errs []error
	s.guests.close()
	s.guests.busy.Wait()
	if s.server != nil {
		errs = append(errs, s.server.Close())
	}
	errs = append(errs, s.ledger.Close())
	if s.cleanup != "" {
		errs = append(errs, os.RemoveAll(s.cleanup))
	}
	s.cancel(nil)
	return errors.Join(errs...)
}

// allow lets the group that a policy file names speak to this process. One that there is
// not, or that this user is not in, is no reason not to work.
func (s *session) allow(f *policies.File) error {
	if s.server == nil || f == nil || s.guest != nil {
		return nil
	}
	return s.server.Allow(f.ControlGroup)
}

// drive gives the session the engine whose limit the socket changes.
func (s *session) drive(e *replicator.Engine) {
	if s.guest != nil {
		return // the limits are the daemon's
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.engine = e
	if s.limit != nil {
		e.SetTotalLimit(*s.limit)
	}
}

// scheduler is a daemon's schedule.
type scheduler interface {
	Tasks() []control.Task
	Order(o control.Order) error
	Nudge()
}

// follow gives the session the schedule that the socket shows and changes.
func (s *session) follow(x scheduler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.schedule = x
}

// nudge has the schedule looked at now.
func (s *session) nudge() {
	s.mu.Lock()
	schedule := s.schedule
	s.mu.Unlock()
	if schedule != nil {
		schedule.Nudge()
	}
}

// Order implements control.Handler.
func (s *session) Order(o control.Order) error {
	s.mu.Lock()
	schedule, daemon := s.schedule, s.daemon
	s.mu.Unlock()
	switch {
	case schedule == nil && daemon:
		return notYet()
	case schedule == nil:
		return errors.New("this process works once and ends: only farshore run keeps a schedule")
	}
	return schedule.Order(o)
}

// lasts says that the session is a daemon's, which is not at work yet.
func (s *session) lasts() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.daemon = true
}

// taken says that the policy file in force was read at a time.
func (s *session) taken(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reading = &control.Reading{Taken: at.UTC()}
}

// refused says that a later one could not be taken. The log says so once, and who looks the
// day after must see it, too.
func (s *session) refused(at time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reading != nil {
		s.reading.Refused, s.reading.Cause = at.UTC(), strings.ReplaceAll(err.Error(), "\n", "; ")
	}
}

// notYet is what a daemon says that has not begun to work.
func notYet() error {
	return &control.Refusal{Msg: "farshore run has only just begun: it has not logged in to its regions yet", Hint: "run the command again in a moment"}
}

// Status implements control.Handler.
func (s *session) Status() control.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := control.Status{PID: os.Getpid(), Command: commandLine(os.Args), Version: version, Began: s.began.UTC().Truncate(time.Second), Ledger: s.path,
		Stopping: s.stopping, Snapshot: s.progress.Snapshot()}
	if s.engine != nil {
		st.TotalLimit = s.engine.TotalLimit()
	}
	st.Commands, st.Limits = s.guests.commands(), s.guests.changed()
	if s.schedule != nil {
		st.Tasks = s.schedule.Tasks()
	}
	if s.reading != nil {
		x := *s.reading
		st.Reading = &x
	}
	st.Lag = s.lag.Lags()
	if s.schedule != nil {
		await(&st.Snapshot, st.Lag)
		unforeseen(st.Lag, st.Tasks)
		if !slices.ContainsFunc(st.Tasks, func(t control.Task) bool { return t.Running }) {
			st.Snapshot.Phase = "idle"
		}
	}
	if err := s.ledger.Unwritable(); err != nil {
		st.Unwritable = err.Error()
	}
	return st
}

// SetTotalLimit implements control.Handler.
func (s *session) SetTotalLimit(bytesPerSecond int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = &bytesPerSecond
	if s.engine != nil {
		s.engine.SetTotalLimit(bytesPerSecond)
	}
}

// Stop implements control.Handler.
func (s *session) Stop() {
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	s.cancel(&stopped{how: "stopped", code: exitDone})
}

// told logs what is done for others.
func (s *session) told(msg string, args ...any) {
	if s.log != nil {
		s.log.Info(msg, args...)
	}
}

// commandLine is the command as it could be typed again. No flag takes a secret.
func commandLine(args []string) string {
	out := make([]string, len(args))
	for i, a := range args {
		if i == 0 {
			a = filepath.Base(a)
		}
		out[i] = quoted(a)
	}
	return strings.Join(out, " ")
}

func quoted(arg string) string {
	if arg == "" || strings.ContainsAny(arg, " \"'\\$&|;<>*?()[]{}!`~#") || transport.PrintName(arg) != arg {
		return strconv.Quote(arg)
	}
	return arg
}

// heldError says who holds a ledger that somebody else wants.
type heldError struct {
	path   string
	status *control.Status // nil: the holder does not answer
	closed bool            // it is wanted closed
	err    error
}

// heldBy asks the holder of a locked ledger who it is; other errors pass through.
func heldBy(ctx context.Context, path string, err error) error {
	if !errors.Is(err, store.ErrLocked) {
		return err
	}
	held := &heldError{path: path, err: err}
	if st, serr := control.NewClient(path).Status(ctx); serr == nil {
		held.status = &st
	}
	return held
}

func (e *heldError) Error() string { return "open ledger " + e.path + ": " + e.cause() }
func (e *heldError) Unwrap() error { return e.err }

func (e *heldError) cause() string {
	if e.status == nil {
		var le *store.Error
		if errors.As(e.err, &le) && le.Detail != "" {
			return "it is in use: " + le.Detail
		}
		return "it is in use by another process, which does not answer on its socket"
	}
	s := e.status
	text := fmt.Sprintf("it is in use by process %d (%s), since %s", s.PID, s.Command, s.Began.Local().Format("15:04:05"))
	if line := progressLine(s.Snapshot); line != "" {
		text += "; " + line
	}
	return text
}

// closedFor says of what needs the ledger closed how to have it so.
func closedFor(err error) error {
	var held *heldError
	if errors.As(err, &held) {
		held.closed = true
	}
	return err
}

func (e *heldError) hint() string {
	if e.closed {
		return "this needs the ledger for itself: end who holds it with farshore stop --ledger " + quoted(e.path) + " (of a service: systemctl stop farshore), and start it again afterwards"
	}
	if e.status != nil && len(e.status.Tasks) > 0 {
		return "it works until it is ended: have it make a pass or an audit with farshore run-now, or end it with farshore stop --ledger " + quoted(e.path)
	}
	return "wait until it has ended, or watch it: farshore status --ledger " + quoted(e.path)
}
