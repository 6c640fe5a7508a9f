package replicator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"farshore/policies"
	"farshore/replicator/audit"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// The reasons of a brake, part of its token.
const (
	brakeEmpty      = "empty"
	brakeGone       = "gone"
	brakeDeletes    = "deletes"
	brakeOverwrites = "overwrites"
)

// token names one brake: the same place, reason and extent give the same token,
// so that it releases that pass and no worse one. It notes that the token which a
// person gave is of such a brake.
func (p *pass) token(reason string, n int64, more []byte) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%d\x00%s", p.job.From, reason, n, more)
	t := hex.EncodeToString(h.Sum(nil)[:6])
	if t == p.o.ReleaseBrake && p.o.matched != nil {
		p.o.matched.Store(true)
	}
	return t
}

// trips reports whether a brake holds: it does unless a person released it.
func (p *pass) trips(reason string, n int64) bool {
	return p.o.ReleaseBrake != p.token(reason, n, nil)
}

func (p *pass) stopped(token, cause, hint string) error {
	p.brakeToken = token
	p.findings.Add(report.Finding{Kind: report.KindBrake, Level: report.Error, Policy: p.job.Policy.Name, Region: p.job.From.Region, Container: p.job.From.Container,
		Op: "sync", Cause: cause, Hint: hint + "; if it is right, run the same command with --release-brake " + token})
	return fmt.Errorf("%s: %s: %w", p.job.From, cause, ErrBrake)
}

// checkEmpty stops a pass whose source has nothing although the ledger knows
// objects that this job copied, be they marked missing already or not: it trips
// at every pass until a person releases it.
func (p *pass) checkEmpty(ctx context.Context, why string) error {
	n, err := p.knownHere(ctx)
	if err != nil {
		return err
	}
	if !p.job.Policy.Brake.TripsEmpty(0, n) {
		return nil
	}
	if part, err := p.onlyAPart(ctx); part || err != nil {
		return err
	}
	reason := brakeEmpty
	if p.gone {
		reason = brakeGone
	}
	token := p.token(reason, n, nil)
	if p.released = p.o.ReleaseBrake == token; p.released || p.o.DryRun {
		return nil
	}
	return p.stopped(token, fmt.Sprintf("%s, but the ledger knows %d objects of it", why, n), "check that the source region and container are whole")
}

// onlyAPart reports whether nothing is left of a part of a container that comes along,
// while the container has other objects: the parts of a dynamic large object were deleted,
// the container was not lost.
func (p *pass) onlyAPart(ctx context.Context) (bool, error) {
	if !p.job.along || p.job.From.Prefix == "" || p.gone {
		return false, nil
	}
	some := false
	err := p.src.List(ctx, p.job.From.Container, transport.Range{}, func(page []transport.Entry) error {
		some = len(page) > 0
		return errEnough
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return some, err
}

var errEnough = errors.New("a page is enough")

// knownHere counts the objects that this job has copied.
func (p *pass) knownHere(ctx context.Context) (int64, error) {
	n, after := int64(0), ""
	for {
		page, err := p.e.o.Ledger.Page(p.place, after, "", p.job.From.Prefix, pageSize)
		if err != nil || len(page) == 0 {
			return n, err
		}
		for i := range page {
			if p.onRoutes(&page[i]) {
				n++
			}
		}
		if err := ctx.Err(); err != nil {
			return n, err
		}
		after = page[len(page)-1].Name
	}
}

// checkOverwrites walks once without changing anything, to count what would be
// overwritten before the first of it is.
func (p *pass) checkOverwrites(ctx context.Context, walk func(context.Context) error) error {
	if p.job.Policy.Brake.Overwrites < 0 || p.o.DryRun || p.present == 0 {
		return nil
	}
	saved := p.tally
	p.tally = &tally{byCount: map[int]int64{}, byRegion: map[string]int64{}}
	p.counting = true
	err := walk(ctx)
	p.counting, p.tally = false, saved
	p.listedHere.Store(0)
	if err != nil {
		return err
	}
	n := p.overwrites.Load()
	if !p.job.Policy.Brake.TripsOverwrites(n, p.present) || !p.trips(brakeOverwrites, n) {
		return nil
	}
	return p.stopped(p.token(brakeOverwrites, n, nil), fmt.Sprintf("%d of %d objects would be overwritten, more than the policy's %s", n, p.present, p.job.Policy.Brake.Overwrites),
		"look for mass changes at the source, such as encryption by others")
}

func (p *pass) addOverwrite() { p.overwrites.Add(1) }

// deletes carries out the deletes whose grace period is over, behind the brake.
func (p *pass) deletes(ctx context.Context) error {
	if !p.known {
		return nil
	}
	pol := p.job.Policy
	now := micros(p.e.o.Clock.Now())
	h := sha256.New()
	due, waiting, err := p.eachDue(ctx, now, func(o store.Object) error { return name(h, o.Name) })
	if p.o.DryRun {
		p.tally.pending.Add(due)
	} else {
		p.tally.pending.Add(waiting)
	}
	if err != nil || due == 0 {
		return err
	}
	total := p.present
	places, err := p.e.o.Ledger.Places()
	if err != nil {
		return err
	}
	for _, x := range places {
		if x.ID == p.place {
			total = x.Objects
		}
	}
	if token := p.token(brakeDeletes, due, h.Sum(nil)); pol.Brake.TripsDeletes(due, total) && p.o.ReleaseBrake != token && !p.released {
		return p.stopped(token, fmt.Sprintf("%d of %d objects would be deleted, more than the policy's %s", due, total, pol.Brake.Deletes),
			"check that the source is whole")
	}
	if p.o.DryRun {
		return nil
	}
	p.e.o.Progress.Phase("deleting what " + p.job.From.String() + " no longer has")
	if p.kept, _, err = p.stillNeeded(ctx, now); err != nil {
		return err
	}
	if err := p.deleteDue(ctx, now, func(name string) bool { return !p.kept[name] }); err != nil {
		return err
	}
	p.due = now
	return p.deleteFreed(ctx, now)
}

// deleteFreed deletes what was kept for manifests that are gone by now: a manifest goes
// before the segments that it needs, and so do those of other containers.
func (p *pass) deleteFreed(ctx context.Context, now int64) error {
	for p.keptWhy = nil; len(p.kept) > 0; {
		left, why, err := p.stillNeeded(ctx, now)
		if err != nil {
			return err
		}
		if len(left) == len(p.kept) {
			p.keptWhy = why
			return nil
		}
		if err := p.deleteDue(ctx, now, func(name string) bool { return p.kept[name] && !left[name] }); err != nil {
			return err
		}
		p.kept = left
	}
	return nil
}

// deleteDue deletes those of the objects due whose names are chosen.
func (p *pass) deleteDue(ctx context.Context, now int64, chosen func(name string) bool) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(p.e.o.Limits.Streams)
	_, _, err := p.eachDue(gctx, now, func(o store.Object) error {
		if chosen(o.Name) {
			g.Go(func() error { return p.deleteOne(gctx, o) })
		}
		return nil
	})
	if werr := g.Wait(); werr != nil {
		return werr
	}
	if err != nil {
		return err
	}
	return p.e.o.Ledger.Flush(ctx)
}

// stillNeeded finds the objects due to be deleted that a manifest at a destination
// still needs: deleted, they would take away what may be its only readable copy.
func (p *pass) stillNeeded(ctx context.Context, now int64) (kept map[string]bool, said []report.Finding, err error) {
	routes, err := p.e.o.Ledger.Routes()
	if err != nil {
		return nil, nil, err
	}
	kept = map[string]bool{}
	for _, d := range p.holders() {
		var there []store.RouteID
		for _, r := range routes {
			if r.Route.To.Region == d.info.Route.To.Region && r.Route.To.Project == d.info.Route.To.Project {
				there = append(there, r.ID)
			}
		}
		var needs []store.Need
		if _, _, err := p.eachDue(ctx, now, func(o store.Object) error {
			needs = append(needs, store.NeedOf(d.side.Container, p.destName(d, o.Name)))
			return nil
		}); err != nil {
			return nil, nil, err
		}
		found, err := p.e.o.Ledger.Needed(ctx, there, needs)
		if err != nil {
			return nil, nil, err
		}
		if len(found) == 0 {
			continue
		}
		n := 0
		if _, _, err := p.eachDue(ctx, now, func(o store.Object) error {
			if found[store.NeedOf(d.side.Container, p.destName(d, o.Name))] {
				kept[o.Name] = true
				n++
			}
			return nil
		}); err != nil {
			return nil, nil, err
		}
		said = append(said, report.Finding{Kind: report.KindDegraded, Level: report.Info, Policy: p.job.Policy.Name, Region: d.side.Region, Container: d.side.Container,
			Op: "delete", Cause: fmt.Sprintf("%d objects that the source no longer has stay, because static large objects here still need them as segments", n),
			Hint: "they go by themselves when those are replaced or deleted"})
	}
	return kept, said, nil
}

func name(h hash.Hash, s string) error {
	_, err := fmt.Fprintf(h, "%d:%s", len(s), s)
	return err
}

// eachDue calls fn for the objects of this job that may be deleted now, and counts
// them and those whose grace period is not over.
func (p *pass) eachDue(ctx context.Context, now int64, fn func(store.Object) error) (due, waiting int64, err error) {
	err = p.eachMissing(ctx, func(o store.Object) error {
		if !p.onRoutes(&o) {
			return nil
		}
		if o.Missing+p.job.Policy.Deletes.After.Microseconds() > now {
			waiting++
			return nil
		}
		due++
		return fn(o)
	})
	return due, waiting, err
}

// eachMissing calls fn for the objects of this job's source that are to be deleted, by
// whoever has them, once their grace period is over.
func (p *pass) eachMissing(ctx context.Context, fn func(store.Object) error) error {
	if !p.job.Policy.Deletes.Propagate {
		return nil
	}
	after := ""
	for {
		page, err := p.e.o.Ledger.MissingPage(p.place, after, pageSize)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, o := range page {
			if !strings.HasPrefix(o.Name, p.job.From.Prefix) {
				continue
			}
			if err := fn(o); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		after = page[len(page)-1].Name
	}
}

// onRoutes reports whether a destination of this job has anything of the object.
func (p *pass) onRoutes(o *store.Object) bool {
	for _, d := range p.holders() {
		if _, ok := o.Replica(d.info.ID); ok {
			return true
		}
	}
	return false
}

// deleteOne removes an object's replicas, after the source confirmed by name
// that it is gone (R4), and only where what stands there is still ours.
func (p *pass) deleteOne(ctx context.Context, o store.Object) error {
	it := &item{name: o.Name, record: &o, regions: map[string]bool{}, open: 1}
	_, err := p.src.Head(ctx, p.job.From.Container, o.Name)
	if err == nil {
		p.unmark(o.Name) // the listing lagged; the next pass carries whatever it is now
		return nil
	}
	if !transport.Is(err, transport.NotFound) {
		for _, d := range p.dests {
			p.failed(ctx, it, d, err)
		}
		return context.Cause(ctx)
	}
	var drop []store.RouteID
	var conflicts atomic.Int64
	for _, d := range p.holders() {
		rep, ok := o.Replica(d.info.ID)
		if !ok || d.dead.Load() {
			continue
		}
		if rep.State == store.Confirmed || rep.State == store.Lost || rep.State == store.Cannot && rep.ETag != "" {
			gone, err := p.deleteAt(ctx, it, d, rep, sourceGone)
			if err != nil {
				p.e.breaker(d.side.Region).note(err)
				p.failed(ctx, it, d, err)
				continue
			}
			if gone {
				p.tally.deleted.Add(1)
			} else {
				conflicts.Add(1)
			}
		}
		drop = append(drop, d.info.ID)
		if p.job.along {
			drop = append(drop, d.sisters...) // the same object; see heirs
		}
		p.tellDeleted(d, &o)
	}
	p.e.o.Ledger.Update(p.place, o.Name, func(o *store.Object, exists bool) bool {
		for _, r := range drop {
			o.DropReplica(r)
		}
		return exists && (len(o.Replicas) > 0 || o.Missing == 0)
	})
	return context.Cause(ctx)
}

// sourceGone is why a replica is deleted.
const sourceGone = "the source's object was deleted"

// wrote reports whether an adopted object is after all one that we wrote, which the
// ledger did not know when it found it, by its stamp.
func (p *pass) wrote(there transport.Object, rep store.Replica) bool {
	x, ok := audit.ReadOrigin(there.Header)
	return ok && x.Region == p.job.From.Region && x.Version.ETag == rep.Version.ETag
}

// deleteAt deletes one replica; false if something else stands there, which stays:
// what was adopted too, for others wrote it (promise 4), unless the opposite direction
// knows it as its source. why is for people.
func (p *pass) deleteAt(ctx context.Context, it *item, d *dest, rep store.Replica, why string) (bool, error) {
	nm := p.destName(d, it.name)
	there, err := d.ep.Head(ctx, d.side.Container, nm)
	switch {
	case transport.Is(err, transport.NotFound):
		return true, nil
	case err != nil:
		return false, err
	case there.ETag != rep.Version.ETag && there.ETag != rep.ETag:
		p.tally.conflicts.Add(1)
		p.findings.Add(report.Finding{Kind: report.KindConflict, Level: report.Warn, Policy: p.job.Policy.Name, Region: d.side.Region, Container: d.side.Container, Name: nm,
			Op: "delete", Cause: why + ", but what stands here is not what we wrote (ETag " + there.ETag + "); it stays and is no longer ours",
			Hint: "remove it by hand if it is not wanted"})
		return false, nil
	case rep.Adopted && d.back == 0 && !p.wrote(there, rep):
		p.findings.Add(report.Finding{Kind: report.KindForeign, Level: report.Warn, Policy: p.job.Policy.Name, Region: d.side.Region, Container: d.side.Container, Name: nm,
			Op: "delete", Cause: why + "; the same bytes stood here before farshore came, written by others, so they stay and are no longer counted as a copy",
			Hint: "remove it by hand if it is not wanted"})
		return false, nil
	}
	if err := d.ep.Delete(ctx, d.side.Container, nm); err != nil {
		return false, err
	}
	if rep.ETag != "" {
		if err := p.sweepOld(ctx, d, it.name, ""); err != nil {
			p.e.o.Log.Warn("segments left behind", "region", d.side.Region, "name", nm, "err", err)
		}
	}
	return true, nil
}

// deletesKey is of a note that there is while passes on a route carry deletes, where a policy
// the other way is declared: its audits have to know.
func deletesKey(r store.RouteID) string { return fmt.Sprintf("deletes/%d", r) }

// noteDeletes writes that note, or takes it back.
func (e *Engine) noteDeletes(r store.RouteID, p policies.Policy) error {
	_, noted, err := e.o.Ledger.Note(deletesKey(r))
	carries := p.Bidirectional && p.Deletes.Propagate
	if err != nil || noted == carries {
		return err
	}
	if !carries {
		return e.o.Ledger.PutNote(deletesKey(r), nil)
	}
	return e.o.Ledger.PutNote(deletesKey(r), []byte(p.Name))
}
