package main

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"farshore/replicator/control"
	"farshore/replicator/daemon"
	"farshore/replicator/report"
)

// logBrake says that a pass was stopped: as an error when that begins, and not again at each
// pass until a person has come. Another extent has other tokens, which a person needs.
func logBrake(log *slog.Logger, policy string, before []string, r report.Result, err error) {
	level, msg := slog.LevelError, "pass was stopped by the brake"
	switch {
	case slices.Equal(before, r.Brakes):
		level, msg = slog.LevelInfo, "pass is still stopped by the brake"
	case len(before) > 0:
		level, msg = slog.LevelWarn, "pass was stopped by the brake again, for another extent"
	}
	var hints []string
	for _, token := range r.Brakes {
		hints = append(hints, releaseLine(policy, token))
	}
	log.Log(context.Background(), level, msg, "err", err, "copied", r.Totals.Copied, "bytes", r.Totals.Bytes, "hint", "if that is meant: "+strings.Join(hints, "; "))
}

// orders is a schedule that also keeps tokens of brakes.
type orders struct {
	*daemon.Scheduler
	told *told
	runs *runs
}

// Tasks says how every task stands, with the brakes that stopped it.
func (o *orders) Tasks() []control.Task {
	all := o.Scheduler.Tasks()
	for i, t := range all {
		if r, _, err := o.runs.get(t.Policy, daemon.Kind(t.Kind)); err == nil {
			all[i].Brakes = r.Brakes
		}
	}
	return all
}

// Order does what a person wants.
func (o *orders) Order(x control.Order) error {
	o.told.mu.Lock()
	defer o.told.mu.Unlock()
	if err := o.known(x); err != nil {
		return err
	}
	if err := o.Scheduler.Order(x); err != nil {
		return err
	}
	if x.Do == control.RunNow && x.Kind == string(daemon.Pass) {
		o.told.whole[x.Policy] = true
	}
	if x.Do == control.RunNow && x.ReleaseBrake != "" {
		o.told.tokens[x.Policy] = x.ReleaseBrake
	}
	return nil
}

// known refuses a token that no brake of the policy's last pass has: it would release
// nothing, and who gave it would wait in vain.
func (o *orders) known(x control.Order) error {
	if x.Do != control.RunNow || x.ReleaseBrake == "" {
		return nil
	}
	if !slices.ContainsFunc(o.Scheduler.Tasks(), func(t control.Task) bool { return t.Policy == x.Policy }) {
		return nil // the schedule says so
	}
	r, _, err := o.runs.get(x.Policy, daemon.Pass)
	switch {
	case err != nil:
		return err
	case len(r.Brakes) == 0:
		return &control.Refusal{Usage: true, Msg: "no brake stopped the last pass of policy " + quoted(x.Policy) + ": there is nothing to release", Hint: "farshore status shows the token of a brake that holds; without one, leave --release-brake out"}
	case !slices.Contains(r.Brakes, x.ReleaseBrake):
		return &control.Refusal{Usage: true, Msg: "the brake that stopped the last pass of policy " + quoted(x.Policy) + " has another token than " + quoted(x.ReleaseBrake), Hint: "farshore status shows the token; if more is to be deleted or overwritten by now than when you were given yours, look again whether that is meant"}
	}
	return nil
}
