package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"farshore/store"
)

// A ledger is looked at every roomTick for whether it can be written, and tried every
// roomRetry while it cannot.
const (
	roomTick  = time.Second
	roomRetry = 5 * time.Second
)

// keeper sees to it that a daemon whose ledger has no room left goes on by itself once
// there is room again. It says when that begins and when it ends; everybody else who could
// not write is silent about it (hushed).
type keeper struct {
	ledger interface {
		Unwritable() error
		Recover(context.Context) error
	}
	log  *slog.Logger
	over func() // when there is room again

	since time.Time // when it was seen first that there is no room; zero: there is
	again time.Time // when to try again
}

// start looks until the function it gives is called.
func (k *keeper) start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		t := time.NewTicker(roomTick)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-t.C:
				k.look(ctx, now)
			}
		}
	}()
	return func() { cancel(); <-ended }
}

// look looks once. Other failures than a lack of room are not for the keeper: the daemon
// is not alive with them (pulse).
func (k *keeper) look(ctx context.Context, now time.Time) {
	err := k.ledger.Unwritable()
	switch {
	case errors.Is(err, store.ErrFull) && k.since.IsZero():
		k.since, k.again = now, now.Add(roomRetry)
		k.log.Error("the ledger cannot be written: what runs fails, and nothing is begun until there is room", "err", err)
		return
	case !errors.Is(err, store.ErrFull) || now.Before(k.again) && now.After(k.since):
		return
	}
	k.again = now.Add(roomRetry)
	if err := k.ledger.Recover(ctx); err != nil {
		return
	}
	k.log.Info("the ledger is written again: work goes on", "after", now.Sub(k.since).Round(time.Second))
	k.since = time.Time{}
	k.over()
}

// hushed is a log without the many who could not write the ledger because there is no
// room: the keeper has said so.
type hushed struct{ slog.Handler }

func (h hushed) Handle(ctx context.Context, r slog.Record) error {
	said := false
	r.Attrs(func(a slog.Attr) bool {
		err, ok := a.Value.Any().(error)
		said = ok && errors.Is(err, store.ErrFull)
		return !said
	})
	if said {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h hushed) WithAttrs(a []slog.Attr) slog.Handler { return hushed{h.Handler.WithAttrs(a)} }
func (h hushed) WithGroup(name string) slog.Handler   { return hushed{h.Handler.WithGroup(name)} }
