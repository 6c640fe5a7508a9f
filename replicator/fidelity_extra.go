package replicator

import (
	"context"
	"fmt"
	"slices"
	"time"

	"farshore/policies"
	"farshore/replicator/plan"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// What stands at a destination and not at the source: copies whose objects were deleted,
// and what others wrote. Passes leave the latter alone, and say nothing of it; audits and
// certificates tell of it.

// walk compares what the source lists, and tells of what only a destination has.
func (x *certJob) walk(ctx context.Context) error {
	err := x.s.walk(ctx, x.visit, func(d *dest, e *transport.Entry) {
		if err := x.stray(d, e); err != nil {
			x.failMu.Lock()
			defer x.failMu.Unlock()
			x.fail = err
		}
	})
	x.failMu.Lock()
	defer x.failMu.Unlock()
	if x.fail != nil {
		return x.fail
	}
	return err
}

func standsAnywhere(s plan.Subject) bool {
	return slices.ContainsFunc(s.Dests, func(d plan.Dest) bool { return d.Entry != nil })
}

// extra deals with a name that the ledger knows and the source does not list.
func (x *certJob) extra(ctx context.Context, sub plan.Subject) error {
	_, err := x.p.src.Head(ctx, x.p.job.From.Container, sub.Name)
	switch {
	case err == nil: // its listing lags
		x.listed.Add(1)
		return x.object(ctx, sub)
	case transport.Is(err, transport.NotFound):
	case ctx.Err() != nil || !regionTrouble(err):
		return err
	default:
		x.unseen.Add(1)
		x.failed(x.p.job.From.Region, x.p.job.From.Container, sub.Name, err)
		return nil
	}
	for i, d := range x.p.dests {
		if sub.Dests[i].Entry == nil || d.dead.Load() {
			continue
		}
		r := x.rows(d, itemObject, sub.Name)
		there, err := d.ep.Head(ctx, d.side.Container, r.like.Name)
		if err != nil {
			if _, err := x.lost(ctx, d, r.like.Name, err); err != nil {
				return err
			}
			continue
		}
		rep, ours := sub.Record.Replica(d.info.ID)
		if !ours || rep.State == store.Conflict {
			e := *sub.Dests[i].Entry
			e.Name = r.like.Name
			if err := x.stray(d, &e); err != nil {
				return err
			}
			continue
		}
		r.add("content", report.Extra, x.deleteWaits(sub.Record.Missing), "", fmt.Sprintf("%d bytes, ETag %s", there.Size, there.ETag))
		if err := x.emit(r); err != nil {
			return err
		}
	}
	return nil
}

// deleteWaits says why a copy stands there although its object was deleted; missing is
// when that was first seen (µs), 0: not yet.
func (x *certJob) deleteWaits(missing int64) string {
	const gone = "its object was deleted at the source, or has expired"
	del := x.policy.Deletes
	switch due := time.UnixMicro(missing).Add(del.After).UTC(); {
	case !del.Propagate:
		return gone + "; the policy lets no deletes travel"
	case missing == 0 || !due.After(x.e.o.Clock.Now()):
		return gone + "; the next pass deals with its delete"
	default:
		return gone + "; its delete waits until " + due.Format(time.DateTime) + " UTC"
	}
}

// stray tells of an object at a destination that no record knows.
func (x *certJob) stray(d *dest, e *transport.Entry) error {
	if known, err := x.e.knownBack(d, e.Name); known || err != nil {
		return err
	}
	r := x.rows(d, itemObject, "")
	r.like.Name = e.Name
	x.findings.Add(foreignObject(x.policy, d, e))
	r.add("content", report.Extra, "it is in no record: not written by farshore, or not known to this ledger", "", fmt.Sprintf("%d bytes, ETag %s", e.Size, e.ETag))
	return x.emit(r)
}

// extraHistory tells of the versions of a name of which the source has none. What shows
// an object was told of as one.
func (x *certJob) extraHistory(d *dest, name string, there []transport.VersionEntry) error {
	if slices.ContainsFunc(there, func(v transport.VersionEntry) bool { return v.Latest && !v.Marker }) {
		return nil
	}
	r := x.rows(d, itemVersion, "")
	r.like.Name = name
	r.add("versions", report.Extra, "the source has none of this name", "", versionsText(there))
	return x.emit(r)
}

// knownBack reports whether the opposite direction has a destination's object as a source.
func (e *Engine) knownBack(d *dest, name string) (bool, error) {
	if d.back == 0 {
		return false, nil
	}
	_, ok, err := e.o.Ledger.Get(d.info.To, name)
	return ok, err
}

// foreignObject is the finding about an object that stands only at a destination.
func foreignObject(p policies.Policy, d *dest, e *transport.Entry) report.Finding {
	return report.Finding{Kind: report.KindForeign, Level: report.Info, Policy: p.Name, Region: d.side.Region, Container: d.side.Container, Name: e.Name,
		Op: "audit", Cause: fmt.Sprintf("it is in no record: not written by farshore, or not known to this ledger (%d bytes, %s)", e.Size, e.Modified.UTC().Format(time.DateTime)),
		Hint: "it is left alone; if it is an old copy whose source was deleted, remove it by hand"}
}
