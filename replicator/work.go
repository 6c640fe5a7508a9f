package replicator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"farshore/policies"
	"farshore/replicator/plan"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// item is one name being worked on. Its destinations finish at different times;
// when the last has, the object is counted by the regions that hold it.
type item struct {
	name    string
	entry   *transport.Entry
	record  *store.Object
	version store.Version

	above   []path                 // container and name of what it is brought for, outermost first
	ready   bool                   // what it points to has been brought
	asked   bool                   // its kind is what its region says of it, not only its listing
	needs   map[*dest][]store.Need // of a manifest: the segments that it needs at a destination; complete before it is written
	pins    map[*dest]string       // what a static link must call its target's version, where that is another
	busy    sync.Mutex             // held by who copies it: all but mu's fields are theirs, and a laggard waits
	mu      sync.Mutex
	open    int
	regions map[string]bool
	gone    bool     // it is gone since it was listed: not counted
	again   []target // the source replaced the object while it was copied to these
}

func (p *pass) newItem(s plan.Step) *item {
	it := &item{name: s.Subject.Name, entry: s.Subject.Entry, record: s.Subject.Record, open: 1, regions: map[string]bool{}}
	if it.entry == nil {
		return it
	}
	it.version = plan.VersionOf(it.entry)
	if it.record != nil {
		busy := map[store.RouteID]bool{}
		for _, rs := range s.Routes {
			busy[rs.Route] = true
		}
		for _, d := range p.holders() {
			if r, ok := it.record.Replica(d.info.ID); ok && !busy[d.info.ID] && r.State == store.Confirmed && r.Version == it.version && p.counts(d) {
				it.regions[d.side.Region] = true
			}
		}
	}
	return it
}

// more says that another part of the item will finish by itself.
func (it *item) more() {
	it.mu.Lock()
	it.open++
	it.mu.Unlock()
}

// confirmed says that a region holds the current version.
func (it *item) confirmed(region string) {
	it.mu.Lock()
	it.regions[region] = true
	it.mu.Unlock()
}

// holds reports whether a region was found or made to hold the current version.
func (it *item) holds(region string) bool {
	it.mu.Lock()
	defer it.mu.Unlock()
	return it.regions[region]
}

func (it *item) sendAgain(t target) {
	it.mu.Lock()
	it.again = append(it.again, t)
	it.mu.Unlock()
}

func (it *item) takeAgain() []target {
	it.mu.Lock()
	defer it.mu.Unlock()
	out := it.again
	it.again = nil
	return out
}

// finish ends one part; the last one counts the object.
func (p *pass) finish(it *item) {
	it.mu.Lock()
	it.open--
	last, n := it.open == 0 && !it.gone, len(it.regions)
	it.mu.Unlock()
	if last && it.entry != nil {
		p.tally.held(n)
	}
}

// target is a copy to one destination.
type target struct {
	d        *dest
	ifAbsent bool
	tries    int      // how often the source replaced the object under it
	final    bool     // it has been put off once already
	known    []string // ETags of ours that may stand there although ifAbsent was planned
	lost     bool     // an audit found it wrong: that it looks right does not make it so
}

// dispatch gives a step to the workers; it waits while all are busy.
func (p *pass) dispatch(s plan.Step) {
	for _, rs := range s.Routes {
		if rs.Action == plan.Copy {
			p.e.o.Progress.Region(p.byRoute(rs.Route).side.Region).Want(1, s.Subject.Entry.Size)
		}
	}
	p.start(func(ctx context.Context) error { return p.exec(ctx, s) })
}

// exec carries out one step. Its error is one that ends the pass: the ledger's
// or the context's. Everything else becomes a finding.
func (p *pass) exec(ctx context.Context, s plan.Step) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	it := p.newItem(s)
	defer p.finish(it)
	if s.Gone || len(s.Inherit) > 0 {
		p.markMissing(s)
		return nil
	}
	var copies []target
	var metas []*dest
	for _, rs := range s.Routes {
		d := p.byRoute(rs.Route)
		if rs.Action != plan.Copy {
			p.sweepBegun(ctx, d, s)
		}
		switch rs.Action {
		case plan.Copy:
			copies = append(copies, p.target(d, it, rs.IfAbsent, s))
		case plan.Meta:
			metas = append(metas, d)
		case plan.Adopt:
			begun, other := p.standing(d, s)
			if begun { // ours, from a run that died: its headers may be older than the source's
				metas = append(metas, d)
				continue
			}
			if !rs.Ours && s.Subject.Entry.Kind == transport.Plain && s.Subject.Entry.Size == 0 {
				// Listings show a dynamic manifest as an object of no bytes. The write that is
				// to be refused, because something stands there, compares what the two are.
				if err := p.begin(ctx, it, d); err != nil {
					return err
				}
				copies = append(copies, p.target(d, it, true, s))
				continue
			}
			if other {
				p.otherHeaders(it, d)
			}
			if s.Subject.Entry.Kind == transport.SLO {
				if err := p.learnManifest(ctx, it, d); err != nil {
					p.failed(ctx, it, d, err)
					continue
				}
			}
			p.adopt(it, d, it.version, rs.ETag, rs.Written)
		case plan.Conflict:
			p.conflict(it, d, rs.ETag)
		case plan.Recheck:
			t, again, err := p.recheck(ctx, it, p.target(d, it, false, s))
			if err != nil {
				p.failed(ctx, it, d, err)
			} else if again {
				copies = append(copies, t)
			}
		}
	}
	if len(metas) > 0 {
		more, err := p.meta(ctx, it, metas, s)
		if err != nil {
			return err
		}
		copies = append(copies, more...)
	}
	if len(copies) > 0 {
		return p.copy(ctx, it, copies)
	}
	return context.Cause(ctx)
}

// standing says of an object to adopt whether an earlier run of ours began it, and
// whether the listings already show other headers than the source's.
func (p *pass) standing(d *dest, s plan.Step) (begun, other bool) {
	for _, sd := range s.Subject.Dests {
		if sd.Route == d.info.ID {
			begun = sd.Intent != nil
			other = sd.Back == nil && sd.Entry != nil && sd.Entry.ContentType != s.Subject.Entry.ContentType
		}
	}
	return begun, other
}

// sweepBegun removes the segments of a transfer that an earlier run began and this
// one will not go on with: it had landed, or what stands there is not ours.
func (p *pass) sweepBegun(ctx context.Context, d *dest, s plan.Step) {
	for _, sd := range s.Subject.Dests {
		if sd.Route != d.info.ID || sd.Intent == nil || sd.Intent.Layout.Count() == 0 {
			continue
		}
		if err := p.sweep(ctx, d, s.Subject.Name); err != nil {
			p.e.o.Log.Warn("segments left behind; they expire by themselves", "region", d.side.Region, "name", s.Subject.Name, "err", err)
		}
	}
}

func (p *pass) target(d *dest, it *item, ifAbsent bool, s plan.Step) target {
	t := target{d: d, ifAbsent: ifAbsent}
	if it.record != nil {
		if r, ok := it.record.Replica(d.info.ID); ok && r.State != store.Conflict {
			t.known = append(t.known, r.Version.ETag)
			if r.ETag != "" {
				t.known = append(t.known, r.ETag)
			}
		}
	}
	for _, sd := range s.Subject.Dests {
		if sd.Route == d.info.ID && sd.Intent != nil && sd.Intent.ETag != "" {
			t.known = append(t.known, sd.Intent.ETag)
		}
		if sd.Route == d.info.ID {
			t.known = append(t.known, sd.Known...)
		}
	}
	return t
}

// adopt records identical content that stands at the destination already.
func (p *pass) adopt(it *item, d *dest, v store.Version, etag string, written int64) {
	rep := store.Replica{Route: d.info.ID, State: store.Confirmed, Version: v, Written: written, Confirmed: micros(p.e.o.Clock.Now()), Adopted: true}
	if etag != v.ETag {
		rep.ETag = etag
	}
	size := it.entry.Size
	p.confirm(it, d, rep, func(o *store.Object) { p.newer(o, v, size) })
	p.tally.adopted.Add(1)
	it.confirmed(d.side.Region)
}

// newer brings an object's record to a source version, unless it knows a newer one.
func (p *pass) newer(o *store.Object, v store.Version, size int64) {
	o.Missing = 0
	if o.Version == v || v.Modified < o.Version.Modified {
		return
	}
	if o.Version.ETag != v.ETag {
		o.SHA256, o.Meta = [32]byte{}, [8]byte{}
	}
	o.Version, o.Size = v, size
}

// confirm records a replica and forgets its intent, in one transaction.
func (p *pass) confirm(it *item, d *dest, rep store.Replica, change func(*store.Object)) {
	needs := it.needs[d]
	if needs == nil && it.record != nil && rep.State == store.Confirmed && it.entry != nil && it.entry.Kind != transport.SLO {
		needs = []store.Need{} // it may have been a manifest before
	}
	p.e.o.Ledger.Confirm(store.Confirmation{Place: p.place, Route: d.info.ID, Name: it.name, Needs: needs, Apply: func(o *store.Object, _ bool) bool {
		o.Name = it.name
		change(o)
		o.SetReplica(rep)
		return true
	}})
	p.tellConfirmed(it, d, rep)
}

// conflict records that something not ours stands at the destination.
func (p *pass) conflict(it *item, d *dest, etag string) {
	p.tally.conflicts.Add(1)
	rep := store.Replica{Route: d.info.ID, State: store.Conflict, Version: it.version, ETag: etag, Note: "not written by farshore"}
	if it.record != nil {
		if old, ok := it.record.Replica(d.info.ID); ok && old.State == store.Confirmed {
			rep.Note = "changed on both sides"
		}
	}
	size := it.entry.Size
	p.confirm(it, d, rep, func(o *store.Object) { p.newer(o, rep.Version, size) })
	p.findings.Add(report.Finding{Kind: report.KindConflict, Level: report.Error, Policy: p.job.Policy.Name, Region: d.side.Region, Container: d.side.Container,
		Name: p.destName(d, it.name), Op: "copy", Cause: "an object that is not ours stands there (" + rep.Note + ", ETag " + etag + "); it was left alone",
		Hint: "remove or rename the one you do not want, or " + takeoverHint(p.job.Policy) + " to overwrite it"})
}

// cannot records an object of a kind that is not carried. The pass's end reports
// it, as every later pass does (reportCannot).
func (p *pass) cannot(it *item, d *dest, why string) {
	size := it.entry.Size
	rep := store.Replica{Route: d.info.ID, State: store.Cannot, Version: it.version, Note: why}
	if it.record != nil { // an older version of ours that stands there stays ours
		if old, ok := it.record.Replica(d.info.ID); ok && old.State != store.Conflict {
			if rep.ETag = old.ETag; rep.ETag == "" && old.State != store.Cannot {
				rep.ETag = old.Version.ETag
			}
		}
	}
	p.confirm(it, d, rep, func(o *store.Object) { p.newer(o, rep.Version, size) })
}

// takeoverHint says how a person has what is not ours overwritten.
func takeoverHint(p policies.Policy) string {
	if p.IsAdHoc() {
		return "give --takeover"
	}
	return "set takeover: true in the policy"
}

// reportCannot reports what the ledger holds as impossible to keep, found by this
// pass or an earlier one. It is never counted as done; a policy that accepts it
// is not short of those objects' replicas.
func (p *pass) reportCannot(ctx context.Context) error {
	excused := slices.Contains(p.job.Policy.Accept, report.KindCannot)
	after := ""
	for p.known {
		page, err := p.e.o.Ledger.Troubled(p.place, after, pageSize)
		if err != nil || len(page) == 0 {
			return err
		}
		for i := range page {
			o := &page[i]
			if o.Missing != 0 || !strings.HasPrefix(o.Name, p.job.From.Prefix) {
				continue
			}
			found := false
			for _, d := range p.dests {
				if r, ok := o.Replica(d.info.ID); ok && r.State == store.Cannot && r.Version == o.Version {
					found = true
					p.cannotFinding(d, o.Name, r.Note)
				}
			}
			if found && excused {
				p.tally.excused.Add(1)
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		after = page[len(page)-1].Name
	}
	return nil
}

func (p *pass) cannotFinding(d *dest, name, why string) {
	p.tally.cannot.Add(1)
	hint := "accept it with accept: [cannot] in the policy, or copy it by other means"
	if p.job.Policy.IsAdHoc() {
		hint = "copy it by other means; in a policy file, accept: [cannot] accepts it"
	}
	p.findings.Add(report.Finding{Kind: report.KindCannot, Level: report.Error, Policy: p.job.Policy.Name, Region: d.side.Region, Container: p.job.From.Container,
		Name: name, Op: "copy", Cause: why + "; nothing was copied", Hint: hint})
}

// failed reports a copy that did not succeed this time; its intent stays, and
// the next pass tries again.
func (p *pass) failed(ctx context.Context, it *item, d *dest, err error) {
	if ctx.Err() != nil {
		return
	}
	p.tally.failed.Add(1)
	p.e.o.Progress.Region(d.side.Region).Failed()
	region := d.side.Region
	var te *transport.Error
	if errors.As(err, &te) && te.Region != "" {
		region = te.Region
	}
	container, name := p.job.From.Container, it.name
	if region == d.side.Region {
		container, name = d.side.Container, p.destName(d, it.name)
	}
	p.findings.Add(report.Finding{Kind: report.KindFailed, Level: report.Error, Policy: p.job.Policy.Name, Region: region, Container: container,
		Name: name, Op: fmt.Sprintf("copy to %s", d.side), Cause: err.Error(), Hint: p.hintAt(ctx, d, err)})
}

// recheck looks by name at what was a conflict, or looks like one in a listing that
// may lag; again says that the target is to be written.
func (p *pass) recheck(ctx context.Context, it *item, t target) (_ target, again bool, err error) {
	d := t.d
	obj, err := d.ep.Head(ctx, d.side.Container, p.destName(d, it.name))
	switch {
	case transport.Is(err, transport.NotFound):
		if err := p.begin(ctx, it, d); err != nil {
			return target{}, false, err
		}
		t.ifAbsent = true
		return t, true, nil
	case err != nil:
		return target{}, false, err
	case t.lost && slices.Contains(t.known, obj.ETag):
		t.ifAbsent = false
		return t, true, p.begin(ctx, it, d)
	case obj.ETag == it.version.ETag && obj.Size == it.entry.Size:
		if plain, err := p.plainAtSource(ctx, it); err != nil {
			return target{}, false, err
		} else if plain && obj.Kind == transport.Plain {
			p.adopt(it, d, it.version, obj.ETag, micros(obj.Modified))
			return target{}, false, nil
		}
		t.ifAbsent = true // what it is and points to is compared when it is written
		return t, true, p.begin(ctx, it, d)
	case slices.Contains(t.known, obj.ETag):
		return t, true, p.begin(ctx, it, d)
	default:
		p.conflict(it, d, obj.ETag)
	}
	return target{}, false, nil
}

// plainAtSource reports whether the source's object consists of its own bytes: where only
// a listing told so it may be a dynamic manifest (S5).
func (p *pass) plainAtSource(ctx context.Context, it *item) (bool, error) {
	if it.entry.Kind != transport.Plain || it.asked {
		return it.entry.Kind == transport.Plain, nil
	}
	obj, err := p.src.Head(ctx, p.job.From.Container, it.name)
	if transport.Is(err, transport.NotFound) {
		return false, nil // the copy finds that, too
	}
	return err == nil && obj.Kind == transport.Plain, err
}

// begin makes an intent durable for a copy that was not planned as one.
func (p *pass) begin(ctx context.Context, it *item, d *dest) error {
	layout, err := p.layout(ctx, d, it.entry)
	if err != nil {
		return err
	}
	return p.e.o.Ledger.AddIntents(ctx, []store.Intent{{Route: d.info.ID, Name: it.name, Version: it.version, Size: it.entry.Size, ETag: it.version.ETag,
		Layout: layout, Began: micros(p.e.o.Clock.Now())}})
}

// settle finds out what became of a copy that an earlier run began with another
// version: if it arrived, the ledger learns that it is ours.
func (p *pass) settle(ctx context.Context, d *dest, in store.Intent, rs *plan.RouteStep) error {
	obj, err := d.ep.Head(ctx, d.side.Container, p.destName(d, in.Name))
	if err != nil && !transport.Is(err, transport.NotFound) {
		return err
	}
	if err == nil && obj.ETag == in.ETag {
		rs.IfAbsent = false
		if known, err := p.hadBefore(in); known || err != nil {
			return err
		}
		p.e.o.Ledger.Confirm(store.Confirmation{Place: p.place, Route: in.Route, Name: in.Name, Apply: func(o *store.Object, exists bool) bool {
			o.Name = in.Name
			if !exists {
				p.newer(o, in.Version, in.Size)
			}
			o.SetReplica(store.Replica{Route: in.Route, State: store.Confirmed, Version: in.Version, Written: micros(obj.Modified), Confirmed: micros(p.e.o.Clock.Now()),
				Adopted: p.job.Policy.Stamp && !strings.HasPrefix(obj.Header[transport.OriginHeader], p.job.From.Region+" ")})
			return true
		}})
		return p.e.o.Ledger.Flush(ctx)
	}
	if in.Layout.Count() > 0 {
		return p.sweep(ctx, d, in.Name)
	}
	return nil
}

// hadBefore reports whether the ledger knows a copy with the ETag that a copy begun was to
// have: one with other headers, or a link to elsewhere, for all links have the ETag of no
// bytes. What stands there then does not tell whether the new one arrived.
func (p *pass) hadBefore(in store.Intent) (bool, error) {
	rec, ok, err := p.e.o.Ledger.Get(p.place, in.Name)
	if err != nil || !ok {
		return false, err
	}
	rep, ok := rec.Replica(in.Route)
	return ok && rep.State == store.Confirmed && rep.Version != in.Version && destETagOf(rep) == in.ETag, nil
}

// markMissing notes that the source no longer lists an object, or, on the way
// back, that an object once sent here was deleted here.
func (p *pass) markMissing(s plan.Step) {
	now := micros(p.e.o.Clock.Now())
	p.e.o.Ledger.Update(p.place, s.Subject.Name, func(o *store.Object, exists bool) bool {
		o.Name = s.Subject.Name
		if !exists {
			if len(s.Inherit) == 0 {
				return false
			}
			o.Version = s.Inherit[0].Version
		}
		for _, r := range s.Inherit {
			o.SetReplica(r)
		}
		if o.Missing == 0 {
			o.Missing = now
		}
		return true
	})
}

// unmark notes that an object is listed again.
func (p *pass) unmark(name string) {
	p.e.o.Ledger.Update(p.place, name, func(o *store.Object, exists bool) bool {
		o.Missing = 0
		return exists
	})
}

// count adds a step to the totals of a plan.
func (p *pass) count(s plan.Step) {
	e := s.Subject.Entry
	held := 0
	if e != nil {
		held = p.heldAt(s.Subject)
		p.tally.held(held)
	}
	overwrites := false // once, wherever: the brake's bound is a share of the objects
	for _, rs := range s.Routes {
		d := p.byRoute(rs.Route)
		switch rs.Action {
		case plan.Copy:
			p.tally.copied.Add(1)
			p.tally.sent(d.side.Region, e.Size)
			overwrites = overwrites || !rs.IfAbsent
		case plan.Meta:
			p.tally.meta.Add(1)
		case plan.Adopt:
			p.tally.adopted.Add(1)
		case plan.Conflict, plan.Recheck:
			p.tally.conflicts.Add(1)
		}
	}
	if overwrites {
		p.addOverwrite()
	}
	if s.Gone || len(s.Inherit) > 0 {
		p.tally.pending.Add(1)
	}
}
