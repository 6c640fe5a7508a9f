package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"farshore/policies"
	"farshore/replicator"
)

// reach is the ledger and the regions that a command works with, and within which limits.
type reach struct {
	ledger  string
	file    *policies.File // nil: ad hoc, or none was found and none is needed
	regions map[string]policies.Region
	limits  policies.Limits
	stall   time.Duration // how long a peer may be silent
	daemon  bool          // several policies are worked on at once
}

// running is a command at work: its ledger is open, its regions are logged in.
type running struct {
	*session
	links   *links
	engine  *replicator.Engine
	limits  policies.Limits
	log     *slog.Logger
	reach   *reach
	console *console // nil: a daemon's own
	hide    func()   // hides the progress; calling it twice does nothing
}

// run opens the ledger, logs in to the regions, and runs do with an engine over both.
// Progress is shown until do hides it or returns.
func (r *reach) run(ctx context.Context, c *console, open opener, spare spareFunc, do func(context.Context, *running) error) (err error) {
	ctx, s, err := open(ctx, c)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := s.Close(); cerr != nil && err == nil {
			err = cerr
		}
	}()
	if err := s.allow(r.file); err != nil {
		fmt.Fprintf(c, "farshore: %v\n  hint: the work goes on; name a group in control_group: that this user is in\n", err)
	}
	hide := startProgress(c, s.progress)
	s.progress.Phase("logging in")
	x, err := r.login(ctx, s, spare, c.logger())
	if err != nil {
		hide()
		return stopOr(ctx, err)
	}
	defer x.links.Close()
	x.hide, x.console = hide, c
	if s.guest != nil {
		ctx = s.guest.limited(ctx, r.limits)
	}
	defer func() { x.hide() }()
	x.drive()
	return do(ctx, x)
}

// login logs in to the regions and makes an engine over them and the session's ledger.
func (r *reach) login(ctx context.Context, s *session, spare spareFunc, log *slog.Logger) (*running, error) {
	if s.guest != nil {
		if err := s.guest.mayLogIn(r); err != nil {
			return nil, err
		}
	}
	links, err := connect(ctx, r.regions, r.stall, spare, s.progress, log)
	if err != nil {
		return nil, err
	}
	x := &running{session: s, reach: r, links: links, log: log, hide: func() {}, limits: r.limits,
		engine: replicator.New(replicator.Options{Ledger: s.ledger, Regions: links.sinks, Down: links.down, Limits: r.limits, SideBySide: r.daemon,
			Progress: s.progress, Log: log, Lag: s.lag})}
	if s.guest != nil {
		s.guest.within(x.engine)
	}
	return x, nil
}

// drive has the process work with this engine: its memory is bounded, and the socket
// changes its limit.
func (x *running) drive() {
	if x.guest == nil {
		boundMemory(x.limits)
	}
	x.session.drive(x.engine)
}

// checkPlaces refuses a policy file in which two names of regions lead to one account,
// which only logins tell. nil is no file.
func (x *running) checkPlaces(ctx context.Context, f *policies.File) error {
	if f == nil {
		return nil
	}
	return f.CheckPlaces(x.engine.Accounts(ctx, sortedNames(f.Regions)))
}

// stopOr is how a run was stopped from outside, if it was, else its error.
func stopOr(ctx context.Context, err error) error {
	if stop := stopOf(ctx); stop != nil {
		return stop
	}
	return err
}
