package replicator

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"farshore/policies"
	"farshore/replicator/audit"
	"farshore/replicator/plan"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// AuditOptions qualify an audit.
type AuditOptions struct {
	Read float64 // share of the destinations' objects that is read through, 0 to 1
	// ReadAll reads another slice each time instead, so that audits that follow each other
	// every Every read everything within it; 0: Read says how much.
	ReadAll, Every time.Duration
	Seed           int64 // chooses which; 0: taken from the clock, and reported
	Repair         bool  // send what is missing or damaged again
	// KeepEdits has a repair leave headers and properties that were changed at a
	// destination as they are: where nobody asked for just this repair, somebody may have
	// meant the change. Not where the policy takes over.
	KeepEdits bool
}

// Audit proves what the ledger says: it compares every recorded replica with what
// its destination lists, asks by name where they disagree, reads a sample of the
// bytes, and counts the replicas that it saw; those that it saw to be wrong the ledger
// counts no more. The error is nil when the audit ran, whatever it found.
func (e *Engine) Audit(ctx context.Context, p policies.Policy, jobs []Job, o AuditOptions) (report.Result, error) {
	began := e.o.Clock.Now()
	if o.Read < 0 || o.Read > 1 {
		return report.Result{}, &UsageError{Msg: fmt.Sprintf("the share to read is %g", o.Read), Hint: "give 0% to 100%"}
	}
	if o.Seed == 0 {
		o.Seed = began.UnixNano()
	}
	res := report.Result{Policy: p.Name, Command: "audit", Began: began.UTC()}
	f := report.NewFindings(p.Accept, e.o.OnFinding)
	a := &auditor{e: e, o: o, policy: p, findings: f, byRegion: map[string]int64{}, audited: map[store.RouteID]bool{},
		tally: &tally{byCount: map[int]int64{}, byRegion: map[string]int64{}}}
	defer e.budget.follow()()
	ctx, _ = e.budget.flow(ctx, p)
	along, firstErr := e.alongside(ctx, jobs)
	if firstErr != nil {
		jobs = nil
	}
	for _, j := range slices.Concat(along, jobs) {
		if firstErr = ctx.Err(); firstErr != nil {
			break
		}
		e.o.Progress.Phase("auditing the copies of " + j.From.String())
		if firstErr = a.job(ctx, j); firstErr != nil {
			break
		}
	}
	e.o.Progress.ListingDone()
	e.regionFindings(p, began, f)
	res.Totals, res.Replicas = a.tally.result(p)
	res.Totals.Read = a.readBytes.Load()
	res.Audit = a.totals()
	res.Audit.Round = a.round()
	if err := e.o.Ledger.Flush(ctx); firstErr == nil {
		firstErr = err
	}
	if firstErr == nil {
		firstErr = e.stand(ctx, p, &res.Replicas)
	}
	a.tooFew(res.Replicas, firstErr)
	res.Findings, res.Counts, res.Errors = f.List(), f.Counts(), f.Errors()
	res.Seconds = e.o.Clock.Now().Sub(began).Seconds()
	return res, firstErr
}

// auditor is one audit of a policy.
type auditor struct {
	e        *Engine
	o        AuditOptions
	policy   policies.Policy
	findings *report.Findings
	tally    *tally // what is there, and what repairs did

	seen, heads, readCount, readBytes, missing, damaged, repaired, foreign, unrecorded, changed, gone atomic.Int64
	headersDiffer, headersRepaired, propertiesDiffer, propertiesRepaired                              atomic.Int64

	mu       sync.Mutex
	byRegion map[string]int64 // replicas seen
	rounds   rounds
	blind    []string // destinations that could not be looked at

	audited map[store.RouteID]bool // of containers whose properties were compared
}

func (a *auditor) totals() *report.AuditTotals {
	a.mu.Lock()
	defer a.mu.Unlock()
	return &report.AuditTotals{Seed: a.o.Seed, Share: a.o.Read, Seen: a.seen.Load(), ByRegion: maps.Clone(a.byRegion), Heads: a.heads.Load(),
		ReadCount: a.readCount.Load(), ReadBytes: a.readBytes.Load(), Missing: a.missing.Load(), Damaged: a.damaged.Load(), Repaired: a.repaired.Load(),
		Foreign: a.foreign.Load(), Unrecorded: a.unrecorded.Load(), Changed: a.changed.Load(), Gone: a.gone.Load(),
		HeadersDiffer: a.headersDiffer.Load(), HeadersRepaired: a.headersRepaired.Load(),
		PropertiesDiffer: a.propertiesDiffer.Load(), PropertiesRepaired: a.propertiesRepaired.Load()}
}

// tooFew reports a policy that is not met, with what each region holds.
func (a *auditor) tooFew(v report.Replicas, err error) {
	if v.Satisfied || err != nil {
		return
	}
	var held []string
	for _, to := range a.policy.To {
		held = append(held, fmt.Sprintf("%s %d", to, a.byRegion[to]))
	}
	cause := fmt.Sprintf("of %d objects, %d have fewer replicas than the %d wanted; seen by region: %s", v.Objects, v.Short, v.Wanted, strings.Join(held, ", ")) + sinceText(v.Since)
	if len(a.blind) > 0 {
		cause += "; not answering: " + strings.Join(a.blind, ", ")
	}
	a.findings.Add(report.Finding{Kind: report.KindTooFew, Level: report.Error, Policy: a.policy.Name, Op: "count replicas", Cause: cause,
		Hint: "run farshore sync for what no pass has carried yet, farshore audit --repair for what is missing or damaged"})
}

// auditJob is the audit of one job.
type auditJob struct {
	*auditor
	s *survey
	p *pass
	// since is when the last complete pass began: an older object without a record
	// is one that the pass did not carry. 0: not known.
	since  int64
	never  bool           // no pass has ever been completed
	slices []slice        // what is read, by destination; nil: a sample
	unread sync.Map       // *dest: not all of its slice was read
	bare   sync.Mutex     // around made
	made   map[*dest]bool // whose containers were made again while the source was away

	fresh, news, lost sync.Map // one example each of unrecorded, changed and gone names
	here              struct{ unrecorded, changed, copiesGone atomic.Int64 }
}

func (a *auditor) job(ctx context.Context, j Job) error {
	s, err := a.e.survey(ctx, j, a.findings, false)
	if err != nil {
		return err
	}
	x := &auditJob{auditor: a, s: s, p: s.p, never: true, made: map[*dest]bool{}}
	x.p.findings, x.p.tally = a.findings, a.tally
	if nothing, err := x.pointsNowhere(); err != nil || nothing {
		return err
	}
	if len(s.p.dests) > maxDests {
		return &UsageError{Msg: fmt.Sprintf("%s has %d destinations; an audit takes %d", j.From, len(s.p.dests), maxDests), Hint: "audit it in parts"}
	}
	for _, d := range s.p.dests {
		if !d.info.Listed.IsZero() {
			x.never = false
		}
	}
	rec, ok, err := a.e.o.Ledger.Pass(s.p.key())
	if err != nil {
		return err
	}
	if ok && rec.Ended != 0 {
		x.since = rec.Began
	}
	if err := x.properties(ctx); err != nil {
		return err
	}
	walk := func() error { return s.walk(ctx, x.visit, x.stray) }
	if versioned, err := s.p.knowsHistories(); err != nil {
		return err
	} else if versioned {
		walk = func() error { return x.histories(ctx) }
	}
	if err := x.openSlices(); err != nil {
		return err
	}
	if err := walk(); err != nil {
		return err
	}
	if err := x.closeSlices(); err != nil {
		return err
	}
	x.summary()
	return ctx.Err()
}

// summary reports what only its number matters of.
func (x *auditJob) summary() {
	from := x.p.job.From
	note := func(kind string, level report.Level, n int64, example *sync.Map, cause, hint string) {
		if n == 0 {
			return
		}
		name, _ := example.Load("")
		text, _ := name.(string)
		x.findings.Add(report.Finding{Kind: kind, Level: level, Policy: x.policy.Name, Region: from.Region, Container: from.Container, Op: "audit",
			Cause: fmt.Sprintf("%d objects %s, such as %s", n, cause, transport.PrintName(text)), Hint: hint})
	}
	note(report.KindUnrecorded, report.Info, x.here.unrecorded.Load(), &x.fresh, "are in no record: no pass has carried them yet", "the next farshore sync copies them")
	note(report.KindUnrecorded, report.Info, x.here.changed.Load(), &x.news, "changed or were touched since the last pass; their copies were judged by the version it carried", "the next farshore sync carries them")
	note(report.KindMissing, report.Info, x.here.copiesGone.Load(), &x.lost, "were deleted or have expired at the source, and their copies are gone too", "nothing to do if that was meant")
	if err := x.s.whyNot; err != nil {
		x.findings.Add(report.Finding{Kind: report.KindRegionDown, Level: report.Warn, Policy: x.policy.Name, Region: from.Region, Container: from.Container, Op: "list source",
			Cause: err.Error() + "; the copies were judged by the ledger alone: what is new at the source, and what its container should have, is not known", Hint: "farshore region check " + from.Region})
	}
	if x.s.srcGone {
		x.findings.Add(report.Finding{Kind: report.KindDegraded, Level: report.Warn, Policy: x.policy.Name, Region: from.Region, Container: from.Container, Op: "list source",
			Cause: "the source container is gone, or empty although the ledger knows objects of it; the copies were judged by the ledger alone", Hint: "if it was lost, see \"The source region is lost\" in docs/operations.md"})
	}
	for _, to := range x.p.job.To {
		i := slices.IndexFunc(x.p.dests, func(d *dest) bool { return d.side == to })
		if i < 0 || x.p.dests[i].dead.Load() {
			x.mu.Lock()
			if !slices.Contains(x.blind, to.Region) {
				x.blind = append(x.blind, to.Region)
			}
			x.mu.Unlock()
		}
	}
}

// replica is one object at one destination under examination.
type replica struct {
	sub  *plan.Subject
	obj  *object
	i    int // index of its destination
	d    *dest
	rec  store.Replica
	want audit.Expected

	seen    bool   // it stands there as recorded
	fault   string // KindMissing or KindDamaged; "": none
	cause   string
	theirs  bool // somebody else's object has taken its place
	byBytes bool // found by reading, so a repair is proved by reading
	gone    bool // the source no longer has the object: nothing to repair from
	fixed   bool // it was sent again, and proved
}

// object is what a part keeps of one name. There are thousands of it at a time, so
// it is small; a replica that needs a closer look has a struct of its own.
type object struct {
	version store.Version // the replicas that count are of this one
	counts  bool          // it is one of the objects that must have replicas
	gone    bool          // the source no longer has it
	cannot  bool          // a destination cannot keep it, which a pass has found
	seen    uint64        // destinations, by bit, that have the replica as recorded
	held    uint64        // the same, of the version that counts
}

// maxDests is how many destinations an object's bits are for.
const maxDests = 64

// mark notes that a replica was seen whole.
func (r *replica) mark() {
	r.obj.seen |= 1 << r.i
	if r.fixed || r.rec.Version == r.obj.version {
		r.obj.held |= 1 << r.i
	}
}

// visit judges one part of the names.
func (x *auditJob) visit(ctx context.Context, subjects []plan.Subject) error {
	objects := make([]object, len(subjects))
	var doubts, sample, headers []*replica
	for j := range subjects {
		s := &subjects[j]
		objects[j] = x.object(s)
		if err := x.tellWaiting(s); err != nil {
			return err
		}
		if s.Record == nil {
			continue
		}
		for i := range s.Dests {
			r := replica{sub: s, obj: &objects[j], i: i, d: x.p.dests[i]}
			switch recorded, doubt := x.compare(&r); {
			case doubt:
				doubts = append(doubts, &replica{})
				*doubts[len(doubts)-1] = r
			case recorded && x.takes(r.d, s.Name, ""):
				sample = append(sample, &replica{})
				*sample[len(sample)-1] = r
			case recorded:
				r.mark()
				if s.Dests[i].Entry.ContentType != "" && x.sameVersion(&r) {
					headers = append(headers, &replica{})
					*headers[len(headers)-1] = r
				}
			}
		}
	}
	if err := x.each(ctx, doubts, x.ask); err != nil {
		return err
	}
	examined := slices.Concat(doubts, sample)
	for _, r := range doubts {
		if r.seen && x.takes(r.d, r.sub.Name, "") {
			sample = append(sample, r)
		}
	}
	for _, r := range sample {
		x.e.o.Progress.Region(r.d.side.Region).Want(1, max(r.want.Size, 0))
	}
	if err := x.each(ctx, sample, x.read); err != nil {
		return err
	}
	if err := x.each(ctx, headers, x.askHeaders); err != nil {
		return err
	}
	var faults []*replica
	for _, r := range examined {
		if r.fault != "" {
			faults = append(faults, r)
		}
	}
	if err := x.faults(ctx, faults); err != nil {
		return err
	}
	for _, r := range examined {
		if r.seen && r.fault == "" {
			x.trustAgain(r)
			r.mark()
		}
	}
	x.count(objects)
	return nil
}

// each examines replicas, several at the same time.
func (x *auditJob) each(ctx context.Context, rs []*replica, do func(context.Context, *replica) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(x.e.o.Limits.Streams)
	for _, r := range rs {
		g.Go(func() error {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			return do(ctx, r)
		})
	}
	return g.Wait()
}

// object decides whether an object counts, and by which version: the one that the
// last pass saw, unless the policy's RPO has passed since a newer one, or a pass
// should have seen it.
func (x *auditJob) object(s *plan.Subject) object {
	e, r := s.Entry, s.Record
	if r == nil {
		x.unrecorded.Add(1)
		x.here.unrecorded.Add(1)
		x.fresh.LoadOrStore("", s.Name)
		return object{version: plan.VersionOf(e), counts: x.never || x.due(e.Modified)}
	}
	o := object{version: r.Version, counts: true}
	newer := e != nil && plan.VersionOf(e) != r.Version && micros(e.Modified) >= r.Version.Modified
	if r.Missing != 0 && !newer || e == nil && !x.s.unseen.Load() { // one that was put back is there, although no pass saw it yet
		o.gone, o.counts = true, false
		x.gone.Add(1)
		return o
	}
	if newer {
		x.changed.Add(1)
		x.here.changed.Add(1)
		x.news.LoadOrStore("", s.Name)
		if x.due(e.Modified) {
			o.version = plan.VersionOf(e)
		}
	}
	return o
}

// clockSlack is how far the clocks of a source and of this machine may be apart
// before a pass counts as later than an object.
const clockSlack = time.Minute

// due reports whether a source version of that time should have replicas by now.
func (x *auditJob) due(modified time.Time) bool {
	if rpo := x.policy.RPO; rpo > 0 && x.e.o.Clock.Now().Sub(modified) > rpo {
		return true
	}
	return x.since != 0 && micros(modified.Add(clockSlack)) < x.since
}

// compare sets one record against one row. It reports whether the row is as
// recorded, or whether the replica must be asked for by name; neither where there is
// nothing to prove.
func (x *auditJob) compare(r *replica) (recorded, doubt bool) {
	s, d, gone := r.sub, r.d, r.obj.gone
	at := &s.Dests[r.i]
	var ok bool
	if r.rec, ok = s.Record.Replica(d.info.ID); !ok {
		if at.Entry != nil {
			e := *at.Entry
			e.Name = x.p.destName(d, s.Name)
			x.stray(d, &e)
		}
		return false, false
	}
	switch r.rec.State {
	case store.Conflict:
		if !gone {
			x.add(report.KindConflict, report.Error, d, s.Name, "an object that is not ours stands there ("+r.rec.Note+")",
				"remove or rename the one you do not want, or "+takeoverHint(x.policy)+", and run farshore sync")
		}
		return false, false
	case store.Cannot:
		if !gone {
			r.obj.cannot = r.obj.cannot || r.rec.Version == r.obj.version
			x.p.cannotFinding(d, s.Name, r.rec.Note)
		}
		return false, false
	}
	if gone && x.policy.Deletes.Propagate || d.dead.Load() || !at.Listed {
		return false, false // its delete is on its way, or nobody answers
	}
	if at.Entry == nil && x.deletedThere(d, s.Name) {
		if r.obj.counts {
			r.obj.counts = false
			x.gone.Add(1)
		}
		return false, false
	}
	r.want, r.gone = audit.Expect(s.Record, r.rec), gone
	if r.rec.State == store.Lost && !missed(r.rec) { // what was only missed may be back
		r.fault, r.byBytes = report.KindDamaged, true
		r.cause = "an earlier audit found it so, and it was not sent again since: " + r.rec.Note
		return false, true
	}
	r.seen = r.rec.State == store.Confirmed && at.Entry != nil && r.want.Differs(at.Entry.ETag, at.Entry.Size) == ""
	return r.seen, !r.seen
}

// excuses reports whether the policy accepts objects that cannot be kept: it is not short
// of their replicas, in a pass or in an audit.
func (x *auditJob) excuses() bool { return slices.Contains(x.policy.Accept, report.KindCannot) }

// stray reports what stands at a destination and is in no record of this route.
func (x *auditJob) stray(d *dest, e *transport.Entry) {
	if known, err := x.e.knownBack(d, e.Name); err == nil && known {
		return
	}
	x.foreign.Add(1)
	x.findings.Add(foreignObject(x.policy, d, e))
}

// add reports something about one object at one destination.
func (x *auditJob) add(kind string, level report.Level, d *dest, name, cause, hint string) {
	x.findings.Add(report.Finding{Kind: kind, Level: level, Policy: x.policy.Name, Region: d.side.Region, Container: d.side.Container, Name: x.p.destName(d, name),
		Op: "audit", Cause: cause, Hint: hint})
}

// count adds a part's replicas to the proof. Two destinations in one region count
// as one.
func (x *auditJob) count(objects []object) {
	regions := map[string]int64{}
	held := map[int]int64{}
	var here []string
	for _, o := range objects {
		here = here[:0]
		for i, d := range x.p.dests {
			if o.seen&(1<<i) != 0 {
				x.seen.Add(1)
				regions[d.side.Region]++
			}
			if o.held&(1<<i) != 0 && !slices.Contains(here, d.side.Region) {
				here = append(here, d.side.Region)
			}
		}
		if o.counts {
			held[len(here)]++
			if o.cannot && len(here) < x.policy.Replicas && x.excuses() {
				x.tally.excused.Add(1)
			}
		}
	}
	x.tally.heldMany(held)
	x.mu.Lock()
	for k, n := range regions {
		x.byRegion[k] += n
	}
	x.mu.Unlock()
}
