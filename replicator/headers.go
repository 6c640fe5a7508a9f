package replicator

import (
	"context"
	"slices"

	"farshore/replicator/audit"
	"farshore/replicator/plan"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// meta carries a change of headers: one HEAD at the source, and a POST to the
// destinations only if the headers differ from those the ledger knows (R2), and
// only where nobody else changed them meanwhile (promise 4).
func (p *pass) meta(ctx context.Context, it *item, dests []*dest, s plan.Step) ([]target, error) {
	obj, err := p.src.Head(ctx, p.job.From.Container, it.name)
	if err != nil {
		if transport.Is(err, transport.NotFound) {
			return nil, nil // gone since it was listed: the next pass sees it missing
		}
		for _, d := range dests {
			p.failed(ctx, it, d, err)
		}
		return nil, context.Cause(ctx)
	}
	v := versionOf(obj)
	var out []target
	if v.ETag != it.version.ETag { // overwritten since it was listed
		it.version = v
		for _, d := range dests {
			if err := p.begin(ctx, it, d); err != nil {
				return nil, err
			}
			out = append(out, p.target(d, it, false, s))
		}
		return out, nil
	}
	it.version = v
	for _, d := range dests {
		var at plan.Dest
		if i := slices.IndexFunc(s.Subject.Dests, func(sd plan.Dest) bool { return sd.Route == d.info.ID }); i >= 0 {
			at = s.Subject.Dests[i]
		}
		if obj.Kind == transport.SLO {
			again, err := p.repointed(ctx, it, d)
			switch {
			case err != nil && (ctx.Err() != nil || !regionTrouble(err)):
				return nil, err
			case err != nil:
				p.failed(ctx, it, d, err)
				continue
			case again:
				if err := p.begin(ctx, it, d); err != nil {
					return nil, err
				}
				out = append(out, p.target(d, it, false, s))
				continue
			}
		}
		todo, err := p.headersAt(ctx, it, d, &at, obj)
		if err == nil && todo == postHeaders && (obj.Kind == transport.Symlink || at.Entry != nil && at.Entry.Kind == transport.Symlink) {
			// a POST cannot point a link elsewhere, nor make or end one (S6)
			e := *it.entry
			e.Kind, e.Target.ETag = obj.Kind, obj.Header[transport.TargetETagHeader]
			it.entry = &e
			if err := p.begin(ctx, it, d); err != nil {
				return nil, err
			}
			out = append(out, p.target(d, it, false, s))
			continue
		}
		if err == nil && todo == postHeaders && obj.Kind == transport.DLO && (at.Head == nil || !pointsAlike(p.mapped(obj.Header, d), at.Head.Header)) {
			// it may be one only since now
			ready, derr := p.prepareDLO(ctx, it, []target{p.target(d, it, false, s)}, obj.Header[transport.ManifestHeader])
			if derr != nil {
				return nil, derr
			}
			if len(ready) == 0 {
				continue // reported
			}
		}
		if err == nil && todo == postHeaders {
			err = d.ep.Post(p.e.budget.limit(ctx, p.job.Policy, p.job.From.Region, d.side.Region), d.side.Container, p.destName(d, it.name), p.stamped(obj, d))
		}
		switch {
		case err != nil:
			p.e.breaker(d.side.Region).note(err)
			p.failed(ctx, it, d, err)
			continue
		case todo == headersConflict:
			p.headerConflict(it, d, at)
			continue
		case todo == postHeaders:
			p.tally.meta.Add(1)
		default:
			p.tally.unchanged.Add(1)
		}
		rep := store.Replica{Route: d.info.ID, State: store.Confirmed, Version: v, Confirmed: micros(p.e.o.Clock.Now())}
		if it.record != nil {
			if old, ok := it.record.Replica(d.info.ID); ok {
				rep.ETag, rep.Written, rep.Adopted = old.ETag, old.Written, old.Adopted
			}
		}
		digest := obj.Header.Digest()
		p.confirm(it, d, rep, func(o *store.Object) {
			p.newer(o, v, obj.Size)
			o.Meta = digest
		})
		it.confirmed(d.side.Region)
	}
	return out, context.Cause(ctx)
}

// headersTodo is what the headers of one destination's object need.
type headersTodo uint8

const (
	headersEqual    headersTodo = iota // it has the source's
	postHeaders                        // it has those that we know: they may be replaced
	headersConflict                    // somebody else changed them
)

// headersAt decides whether a destination's headers may be replaced by those of obj,
// the source's object. Where a listing cannot tell that nobody touched them since we
// wrote, it costs a HEAD, unless one was made already; at keeps it.
func (p *pass) headersAt(ctx context.Context, it *item, d *dest, at *plan.Dest, obj transport.Object) (headersTodo, error) {
	want := obj.Header.Digest()
	var rep store.Replica
	var known [][8]byte // headers that are ours, or that the opposite direction knows
	if it.record != nil {
		rep, _ = it.record.Replica(d.info.ID)
		// the record's digest is of its newest version, which not every destination has
		if rep.State == store.Confirmed && rep.Version == it.record.Version && it.record.Meta != [8]byte{} {
			known = append(known, it.record.Meta)
		}
	}
	if at.Back != nil && at.Back.Meta != [8]byte{} {
		known = append(known, at.Back.Meta)
	}
	if slices.Contains(known, want) {
		return headersEqual, nil
	}
	if p.job.Policy.Takeover || at.Intent != nil || (at.Head == nil || len(known) == 0) && untouched(*at, rep) {
		return postHeaders, nil
	}
	if at.Head == nil {
		there, err := d.ep.Head(ctx, d.side.Container, p.destName(d, it.name))
		if err != nil {
			return 0, err
		}
		at.Head = &there
	}
	switch there := p.unmapped(at.Head.Header, d).Digest(); {
	case there == want:
		return headersEqual, nil
	case slices.Contains(known, there), p.wroteHeaders(at.Head.Header, rep, len(known) == 0), pinnedAsWritten(*at.Head, rep):
		return postHeaders, nil
	}
	return headersConflict, nil
}

// pinnedAsWritten reports whether a static link is, by its time, as we wrote it. What it
// calls its target's version may be another at every region (S6), so that its headers
// cannot be told from others' by those of the source.
func pinnedAsWritten(there transport.Object, rep store.Replica) bool {
	return there.Header[transport.TargetETagHeader] != "" && rep.State == store.Confirmed && micros(there.Modified) <= rep.Written
}

// untouched reports whether a destination's object is, by its time, as it was when we
// wrote it or adopted it, or when the opposite direction carried it here. The region's own
// time of a write of ours is known to the second only (L1b), so an edit within the
// same second is not seen unless its headers are looked at.
func untouched(at plan.Dest, rep store.Replica) bool {
	if at.Entry == nil {
		return false
	}
	if at.Back != nil {
		br, ok := at.Back.Replica(at.BackRoute)
		if ok && br.State == store.Confirmed && br.Version == at.Back.Version && plan.VersionOf(at.Entry) == br.Version {
			return true
		}
	}
	return rep.State == store.Confirmed && micros(at.Entry.Modified) <= rep.Written
}

// wroteHeaders reports whether headers that the ledger does not know are ours all the
// same, by their stamp. It names a newer version of the source than was recorded when
// a run wrote them and could not say so any more. The recorded version itself proves
// something only where the ledger has no digest of it (unknown): an edit by others
// mostly removes the stamp, but a client that sends everything back leaves it.
func (p *pass) wroteHeaders(there transport.Header, rep store.Replica, unknown bool) bool {
	x, ok := audit.ReadOrigin(there)
	return ok && x.Region == p.job.From.Region && x.Version.ETag == rep.Version.ETag && rep.State == store.Confirmed &&
		(x.Version.Modified > rep.Version.Modified || unknown && x.Version == rep.Version)
}

// headerConflict records that the headers were changed on both sides. That the bytes
// are still those of the copy is said by its time, which a foreign object's has not.
func (p *pass) headerConflict(it *item, d *dest, at plan.Dest) {
	p.tally.conflicts.Add(1)
	rep := store.Replica{Route: d.info.ID, State: store.Conflict, Version: it.version, Note: "headers changed on both sides"}
	if at.Entry != nil {
		rep.Written = micros(at.Entry.Modified)
	}
	if it.record != nil {
		if old, ok := it.record.Replica(d.info.ID); ok && old.Written != 0 {
			rep.ETag, rep.Written, rep.Adopted = old.ETag, old.Written, old.Adopted
		}
	}
	size := it.entry.Size
	p.confirm(it, d, rep, func(o *store.Object) { p.newer(o, rep.Version, size) })
	p.findings.Add(report.Finding{Kind: report.KindConflict, Level: report.Error, Policy: p.job.Policy.Name, Region: d.side.Region, Container: d.side.Container,
		Name: p.destName(d, it.name), Op: "update metadata", Cause: "its headers were changed there by others and at the source too; they were left alone",
		Hint: "give both objects the headers you want, or " + takeoverHint(p.job.Policy) + " to have the source's"})
}
