package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// stopped is why the work was ended before it was done.
type stopped struct {
	how  string // interrupted, terminated or stopped: part of the JSON shape
	code int
}

func (s *stopped) Error() string { return s.how }

// stopOf gives the person's or the system's wish that ended ctx, nil if there was none.
func stopOf(ctx context.Context) *stopped {
	var s *stopped
	if ctx.Err() != nil && errors.As(context.Cause(ctx), &s) {
		return s
	}
	return nil
}

// catchSignals ends the context at the first SIGINT or SIGTERM: transfers are cut off,
// the ledger is flushed, and the same command goes on from there. A second one ends the
// process at once, which the ledger bears as well (promise 3).
func catchSignals(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	quit := make(chan struct{})
	go func() {
		for first := true; ; first = false {
			select {
			case <-quit:
				return
			case s := <-signals:
				if !first {
					os.Exit(exitInterrupted)
				}
				if s == syscall.SIGTERM {
					cancel(&stopped{how: "terminated", code: exitDone})
				} else {
					cancel(&stopped{how: "interrupted", code: exitInterrupted})
				}
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(quit)
		cancel(nil)
	}
}
