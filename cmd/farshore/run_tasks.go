package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"farshore/policies"
	"farshore/replicator"
	"farshore/replicator/daemon"
	"farshore/replicator/report"
	"farshore/replicator/volumes"
)

// tasks is what a crew's policies want done again and again.
func (d *service) tasks(ctx context.Context, x *crew) []daemon.Task {
	ship := x.shipper(ctx, x.work.aboutVolumes())
	var all []daemon.Task
	for _, t := range x.work.tasks {
		p := t.policy
		all = append(all, daemon.Task{Policy: p.Name, Kind: daemon.Pass, Next: p.Next, First: p.Every > 0, Spread: cmp.Or(p.Watch, p.Every) / 10, Patience: p.RPO / 4,
			Do: func(ctx context.Context) daemon.Outcome {
				return d.outcome(ctx, x, t, ship, daemon.Pass, d.passing(p.Name))
			}})
		if p.Audit.Every > 0 {
			all = append(all, daemon.Task{Policy: p.Name, Kind: daemon.Audit, Spread: p.Audit.Every / 10,
				Next: func(last time.Time) time.Time { return last.Add(p.Audit.Every) },
				Do: func(ctx context.Context) daemon.Outcome {
					// the next audit may begin late, and takes its time
					o := replicator.AuditOptions{Read: p.Audit.Read, ReadAll: p.Audit.ReadAll, Every: p.Audit.Every * 5 / 4, Seed: newSeed(), Repair: true, KeepEdits: true}
					return d.outcome(ctx, x, t, ship, daemon.Audit, auditing(o))
				}})
		}
		if p.Drill != nil {
			all = append(all, daemon.Task{Policy: p.Name, Kind: daemon.Drill,
				Next: func(last time.Time) time.Time { return p.Drill.Schedule.Next(last, p.Timezone) },
				Do:   func(ctx context.Context) daemon.Outcome { return d.drill(ctx, p, ship) }})
		}
	}
	return all
}

// passing is the duty of a scheduled pass.
func (d *service) passing(policy string) duty {
	o := replicator.SyncOptions{ReleaseBrake: d.told.token(policy), Watching: !d.told.asked(policy)}
	return duty{command: "sync", objects: func(ctx context.Context, e *replicator.Engine, p policies.Policy, jobs []replicator.Job) (report.Result, error) {
		return e.Sync(ctx, p, jobs, o)
	}, volumes: func(ctx context.Context, s *volumes.Shipper, p policies.Policy) (report.Result, error) {
		return s.Pass(ctx, p, volumes.ShipOptions{})
	}}
}

// outcome makes a run of a task and logs what came of it.
func (d *service) outcome(ctx context.Context, x *crew, t task, ship *volumes.Shipper, kind daemon.Kind, duty duty) daemon.Outcome {
	log := d.log.With("policy", t.policy.Name)
	level := slog.LevelInfo
	if t.policy.Watch > 0 && kind == daemon.Pass {
		level = slog.LevelDebug // every few seconds: what comes of it is logged
	}
	begun := level
	if d.told.first(t.policy.Name) {
		begun = slog.LevelInfo // so that the log says once that it is at work
	}
	log.Log(ctx, begun, string(kind)+" begins")
	began := time.Now()
	r, err := x.one(d.s.ledger.Since(ctx), t, ship, duty)
	if ctx.Err() != nil {
		log.Info(string(kind)+" was cut short: it is gone on with", "copied", r.Totals.Copied, "bytes", r.Totals.Bytes)
		return daemon.Outcome{Err: ctx.Err()}
	}
	d.told.findings(log, t.policy.Name, kind, r.Findings)
	before, _, _ := d.page.runs.get(t.policy.Name, kind) // unknown: it is told once more
	d.keep(t.policy.Name, passRun(kind, r, time.Now(), err), r.Findings)
	if kind == daemon.Pass {
		cause, hint := trouble(t.policy, r, err)
		d.s.lag.Trouble(t.policy.Name, cause, hint)
	}
	if kind == daemon.Audit {
		d.audited(t.policy.Name, r, err)
	}
	d.eyes.counted(t.policy.Name, r.Replicas)
	args := []any{"took", time.Since(began).Round(time.Millisecond), "copied", r.Totals.Copied, "bytes", r.Totals.Bytes, "deleted", r.Totals.Deleted, "unchanged", r.Totals.Unchanged,
		"errors", r.Errors, "replicas", r.Replicas.Wanted, "satisfied", r.Replicas.Satisfied}
	out := daemon.Outcome{Errors: r.Errors, Err: err, Wait: errors.Is(err, replicator.ErrBrake)}
	if len(before.Brakes) > 0 && err == nil {
		log.Info("no brake stops the " + string(kind) + " any more")
	}
	switch {
	case out.Wait:
		logBrake(log, t.policy.Name, before.Brakes, r, err)
	case err != nil:
		log.Error(string(kind)+" failed", append(args, "err", err)...)
	default:
		if n := r.Totals; n.Copied+n.Deleted+n.Metadata+n.Adopted+n.Trimmed+n.Properties > 0 || r.Errors > 0 {
			level = slog.LevelInfo
		}
		if level > begun { // nothing said that it began
			args = append([]any{"began", began.UTC().Format(time.RFC3339)}, args...)
		}
		log.Log(ctx, level, string(kind)+" ended", args...)
	}
	return out
}

// trouble says why a pass did not do all that it should, as far as that may keep the
// policy late without anything being known to wait: the source cannot be looked at, or no
// restore point can be made or landed.
func trouble(p policies.Policy, r report.Result, err error) (cause, hint string) {
	if err != nil {
		return apart(err)
	}
	for _, f := range worst(r.Findings) {
		if f.Level == report.Error && (p.Volumes != nil || f.Region == p.From) {
			return f.Kind + " " + joinNames(f.Region, f.Container, f.Name) + ": " + f.Cause, f.Hint
		}
	}
	return "", ""
}

func (d *service) drill(ctx context.Context, p policies.Policy, ship *volumes.Shipper) daemon.Outcome {
	log := d.log.With("policy", p.Name)
	log.Info("drill begins")
	began := time.Now().UTC()
	ctx = d.s.ledger.Since(ctx)
	ship = ship.Apart()
	defer ship.LetGo() // a drill that a person cancels is cleared away by the next one
	r, err := ship.Drill(ctx, volumes.DrillRequest{Policy: p, Wait: volumes.DefaultWait, Share: 1, Seed: newSeed(), Version: version})
	switch {
	case ctx.Err() != nil:
		log.Info("drill was cut short: it is made again")
		return daemon.Outcome{Err: ctx.Err()}
	case err != nil:
		log.Error("drill failed", "err", err)
		d.keep(p.Name, drillRun(report.Drill{Began: began}, time.Now(), err), nil)
		d.drilled(p.Name, report.Drill{Policy: p.Name, Began: began}, err)
		return daemon.Outcome{Err: err}
	}
	d.told.findings(log, p.Name, daemon.Drill, r.Findings)
	d.keep(p.Name, drillRun(r, time.Now(), nil), r.Findings)
	d.drilled(p.Name, r, nil)
	if !r.OK {
		log.Error("drill FAILED", "report", r.ID, "hint", "farshore drill --show "+r.ID)
		return daemon.Outcome{Errors: max(r.Errors, 1)}
	}
	log.Info("drill passed", "report", r.ID, "what", drillLine(r))
	return daemon.Outcome{}
}

// newSeed chooses another sample each time.
func newSeed() int64 { return time.Now().UnixNano() >> 16 }

// told is what a daemon has logged already, and what people told it.
type told struct {
	mu     sync.Mutex
	before map[string]map[string]bool // by policy and kind: findings of the run before
	tokens map[string]string          // by policy: a brake's, for its next pass
	whole  map[string]bool            // policies whose next pass a person asked for
	begun  map[string]bool            // policies of which something was begun
}

func newTold() *told {
	return &told{before: map[string]map[string]bool{}, tokens: map[string]string{}, whole: map[string]bool{}, begun: map[string]bool{}}
}

// findings logs those that the run before did not have.
func (t *told) findings(log *slog.Logger, policy string, kind daemon.Kind, all []report.Finding) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := string(kind) + "/" + policy
	now := map[string]bool{}
	for _, f := range all {
		id := f.Kind + "\x00" + f.Region + "\x00" + f.Container + "\x00" + f.Name + "\x00" + f.Op
		now[id] = true
		if t.before[key][id] {
			continue
		}
		level := slog.LevelInfo
		switch f.Level {
		case report.Warn:
			level = slog.LevelWarn
		case report.Error:
			level = slog.LevelError
		}
		args := []any{"kind", f.Kind}
		for _, x := range [][2]string{{"region", f.Region}, {"container", f.Container}, {"name", f.Name}, {"op", f.Op}, {"cause", f.Cause}, {"hint", f.Hint}} {
			if x[1] != "" {
				args = append(args, x[0], x[1])
			}
		}
		log.Log(context.Background(), level, "finding", args...)
	}
	t.before[key] = now
}

// first tells, once, whether nothing of a policy was begun yet in this process.
func (t *told) first(policy string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.begun[policy]
	t.begun[policy] = true
	return !was
}

// asked tells, once, whether a person asked for a policy's pass: it looks at everything.
func (t *told) asked(policy string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.whole[policy]
	delete(t.whole, policy)
	return was
}

// token takes the brake's token that a person gave for a policy's next pass.
func (t *told) token(policy string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	token := t.tokens[policy]
	delete(t.tokens, policy)
	return token
}
