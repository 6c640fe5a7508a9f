package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"farshore/store"
)

// fullLedger has no room until it is given some.
type fullLedger struct {
	err   error
	room  bool
	tried int
}

func (l *fullLedger) Unwritable() error { return l.err }
func (l *fullLedger) Recover(context.Context) error {
	l.tried++
	if l.room {
		l.err = nil
	}
	return l.err
}

// The keeper says once that there is no room and once that there is again, tries every few
// seconds and no oftener, whatever the clock does, and leaves other failures alone.
func TestKeeper(t *testing.T) {
	var log bytes.Buffer
	l, over := &fullLedger{}, 0
	k := keeper{ledger: l, log: slog.New(slog.NewTextHandler(&log, nil)), over: func() { over++ }}
	now := time.Date(2026, 3, 29, 0, 59, 0, 0, time.UTC)
	look := func(seconds int) {
		for range seconds {
			now = now.Add(roomTick)
			k.look(t.Context(), now)
		}
	}
	look(3)
	l.err = fmt.Errorf("write: %w", store.ErrFull)
	look(31)
	if l.tried != 6 || over != 0 || strings.Count(log.String(), "\n") != 1 {
		t.Errorf("tried %d times in half a minute, log: %s", l.tried, &log)
	}
	now = now.Add(-time.Hour)
	l.room = true
	look(6)
	if over != 1 || l.err != nil || strings.Count(log.String(), "\n") != 2 || !strings.Contains(log.String(), "written again") {
		t.Errorf("over %d, %v, log: %s", over, l.err, &log)
	}
	log.Reset()
	l.err = errors.New("input/output error")
	tried := l.tried
	look(20)
	if l.tried != tried || log.Len() > 0 {
		t.Errorf("another failure: %d tries, log: %s", l.tried-tried, &log)
	}
}

// Those who could not write are silent about a full disk, and about nothing else.
func TestHushed(t *testing.T) {
	var text bytes.Buffer
	log := slog.New(hushed{slog.NewTextHandler(&text, nil)})
	full := fmt.Errorf("save: %w", store.ErrFull)
	log.Warn("no", "err", full)
	log.With("policy", "x").WithGroup("g").Error("no", "n", 1, "err", full)
	if text.Len() > 0 {
		t.Error(text.String())
	}
	log.With("policy", "x").Error("yes", "err", errors.New("other"))
	log.Info("yes", "n", 1)
	if strings.Count(text.String(), "msg=yes") != 2 {
		t.Error(text.String())
	}
}
