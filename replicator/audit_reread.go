package replicator

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"farshore/policies"
	"farshore/replicator/audit"
	"farshore/replicator/report"
	"farshore/store"
)

// Where a policy has everything read within some time, each audit reads a slice of the
// names, by the place that a digest gives each: the slices follow each other through a
// round, so that nothing is left to chance and what is read at a time is much the same,
// whatever the containers. How far a route is, is in the ledger. A slice that was not
// read to its end, or not at a destination that did not answer, is read the next time.

// reread is how far the copies on one route have been read.
type reread struct {
	Began time.Time `json:"began"`          // of the round
	Until float64   `json:"until"`          // what is below has been read, 0 to 1
	Whole time.Time `json:"whole,omitzero"` // when the last round that was completed began
}

// slice is what an audit reads of one route: names at [lo, hi) of the round.
type slice struct {
	key    string
	was    reread
	lo, hi float64
}

func rereadKey(p policies.Policy, r store.RouteID) string {
	return fmt.Sprintf("reread/%s/%d", p.Name, r)
}

// sliceOf says what is due of a round by the time at which the next audit begins.
func sliceOf(was reread, now time.Time, every, all time.Duration) slice {
	if was.Began.IsZero() || was.Began.After(now) {
		was.Began, was.Until = now, 0
	}
	due := float64(now.Add(every).Sub(was.Began)) / float64(all)
	return slice{was: was, lo: was.Until, hi: min(max(due, was.Until), 1)}
}

// after is how far a route is when its slice has been read.
func (s slice) after(now time.Time) reread {
	x := s.was
	if x.Until = s.hi; x.Until >= 1 {
		x = reread{Began: now, Whole: x.Began}
	}
	return x
}

// openSlices finds what is to be read at each destination of a job.
func (x *auditJob) openSlices() error {
	if x.o.ReadAll <= 0 {
		return nil
	}
	x.slices = make([]slice, len(x.p.dests))
	for i, d := range x.p.dests {
		key := rereadKey(x.policy, d.info.ID)
		text, ok, err := x.e.o.Ledger.Note(key)
		if err != nil {
			return err
		}
		var was reread
		if ok {
			if err := json.Unmarshal(text, &was); err != nil {
				return fmt.Errorf("read how far the copies at %s were read: %w", d.side, err)
			}
		}
		x.slices[i] = sliceOf(was, x.e.o.Clock.Now().UTC(), x.o.Every, x.o.ReadAll)
		x.slices[i].key = key
	}
	return nil
}

// takes reports whether an audit reads what a name has at a destination; version is that
// of a history, else "".
func (x *auditJob) takes(d *dest, name, version string) bool {
	if version != "" {
		name += "\x00" + version
	}
	if x.slices == nil {
		return audit.Sampled(x.o.Seed, name, x.o.Read)
	}
	i := slices.Index(x.p.dests, d)
	at := audit.Position(name)
	return at >= x.slices[i].lo && at < x.slices[i].hi
}

// missed notes that not all was read at a destination that was to be.
func (x *auditJob) missed(d *dest) { x.unread.Store(d, true) }

// closeSlices writes down what has been read of a job whose walk came to its end.
func (x *auditJob) closeSlices() error {
	now := x.e.o.Clock.Now().UTC()
	for i, d := range x.p.dests {
		if x.slices == nil {
			return nil
		}
		is := x.slices[i].was
		if _, missed := x.unread.Load(d); !missed && !d.dead.Load() && d.info.ID < unknownRoute-store.RouteID(maxDests) {
			is = x.slices[i].after(now)
			if err := x.e.remember(x.slices[i].key, is); err != nil {
				return err
			}
		}
		x.mu.Lock()
		x.rounds.add(is, d.side)
		x.mu.Unlock()
	}
	return nil
}

// rounds puts together how far the routes of a policy are.
type rounds struct {
	any     bool
	reread       // the earliest of each
	partial bool // some route was never read through
	late    Side // which began first
}

func (r *rounds) add(x reread, at Side) {
	if x.Began.IsZero() {
		return
	}
	if !r.any || x.Began.Before(r.Began) || x.Began.Equal(r.Began) && x.Until < r.Until {
		r.Began, r.Until, r.late = x.Began, x.Until, at
	}
	r.partial = r.partial || x.Whole.IsZero()
	if r.Whole.IsZero() || x.Whole.Before(r.Whole) {
		r.Whole = x.Whole
	}
	r.any = true
}

// round is the report of it, with a finding where the time is over.
func (a *auditor) round() *report.ReadRound {
	if a.o.ReadAll <= 0 || !a.rounds.any {
		return nil
	}
	r := a.rounds
	out := &report.ReadRound{AllIn: a.o.ReadAll.Seconds(), Began: r.Began, Covered: r.Until}
	if !r.partial {
		out.Whole = r.Whole
	}
	if over := a.e.o.Clock.Now().Sub(r.Began) - a.o.ReadAll; over > 0 {
		a.findings.Add(report.Finding{Kind: report.KindUnread, Level: report.Warn, Policy: a.policy.Name, Region: r.late.Region, Container: r.late.Container, Op: "read copies",
			Cause: fmt.Sprintf("%.0f %% of the copies have been read since %s, and all were to be read within %s", 100*r.Until, r.Began.Format("2006-01-02 15:04:05 UTC"), policies.FormatDuration(a.o.ReadAll)),
			Hint:  "see why audits did not come to their end, or could not read there: farshore status; or give more time with read_all_in"})
	}
	return out
}
