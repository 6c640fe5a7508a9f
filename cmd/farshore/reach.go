package main

import (
	"context"
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
}

// running is a command at work: its ledger is open, its regions are logged in.
type running struct {
	*session
	links  *links
	engine *replicator.Engine
	log    *slog.Logger
	hide   func() // hides the progress; calling it twice does nothing
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
	x := &running{session: s, log: c.logger(), hide: startProgress(c, s.progress)}
	defer func() { x.hide() }()
	s.progress.Phase("logging in")
	if x.links, err = connect(ctx, r.regions, r.stall, spare, s.progress, x.log); err != nil {
		return stopOr(ctx, err)
	}
	defer x.links.Close()
	boundMemory(r.limits)
	x.engine = replicator.New(replicator.Options{Ledger: s.ledger, Regions: x.links.sinks, Down: x.links.down, Limits: r.limits, Progress: s.progress, Log: x.log})
	s.drive(x.engine)
	return do(ctx, x)
}

// stopOr is how a run was stopped from outside, if it was, else its error.
func stopOr(ctx context.Context, err error) error {
	if stop := stopOf(ctx); stop != nil {
		return stop
	}
	return err
}
