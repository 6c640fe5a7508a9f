package volumes

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// The kinds of works that restore.
const (
	workRestore = "restore" // gone on with by the same request
	workDrill   = "drill"   // cleared away by the next drill
)

// ProofMode says how a restored volume is proven.
type ProofMode string

// The ways to prove a restore.
const (
	ProofNone   ProofMode = "none"
	ProofBlocks ProofMode = "blocks" // back it up again and compare the digests of all blocks (L5)
)

// DefaultWait is how long a restore waits for a region's Cinder.
const DefaultWait = 24 * time.Hour

// RestoreRequest says what is to be restored, and into what. Two equal requests are
// the same restore: the second goes on with the first if that was interrupted.
type RestoreRequest struct {
	Point  string                                // a point's id or the beginning of one, or the id or name of a volume: its newest point
	To     string                                // the region, by the policy's name of it; the source's own does, too
	Name   string                                // of the new volume; "": the source volume's
	Type   string                                // name of a volume type; "": by Types, else the source's if there is one, else the default
	Types  func(policy string) map[string]string // a policy's map of volume types; nil: none has one
	Zone   string                                // availability zone; "": the region's default
	Proof  ProofMode                             // "": none
	Wait   time.Duration                         // for one thing that the region's Cinder does; 0: DefaultWait
	Anyway bool                                  // start although the token will end before the restore is done (R19)
	// Chosen is told, before anything is made, which point is taken, and if that is not the
	// volume's newest the finding that says why; nil: nobody is.
	Chosen func(report.Restore, *report.Finding)
	// Abandon clears away what an equal request left when it was interrupted, instead of
	// going on with it.
	Abandon bool
}

// restoreData is a restore's Work.Data.
type restoreData struct {
	Name, Type, Zone string
	Phase            restorePhase
	Began            time.Time
	TokenEnds        time.Time     // of the token that the restore was started with
	Spans            []report.Span // of what is done
	Span             report.Span   // the one that runs
	RTO              float64       // seconds; 0: not ready yet
	Proof            *report.Proof // nil: not proven yet
}

// The spans of a restore, in order.
const (
	spanFind    = "find the point"
	spanCheck   = "check"
	spanMake    = "make the volume"
	spanFill    = "restore the backup"
	spanFinish  = "set the properties"
	spanBackUp  = "back the volume up again"
	spanCompare = "compare the blocks"
	spanRemove  = "remove the scratch volume"
)

// spanRank is a span's place among the spans; -1: there is none.
func spanRank(name string) int {
	return slices.Index([]string{spanFind, spanCheck, spanMake, spanFill, spanFinish, spanBackUp, spanCompare, spanRemove}, name)
}

// restorePhase is what was about to be done when the work was last recorded.
type restorePhase string

const (
	phaseMaking    restorePhase = "making"    // the volume
	phaseRestoring restorePhase = "restoring" // the backup was, or is about to be, restored into it
	phaseRestored  restorePhase = "restored"  // the volume is as it should be, and has its name
)

// restoring is one restore under way.
type restoring struct {
	s       *Shipper
	req     RestoreRequest
	scratch bool // a drill's: the volume keeps its scratch name and is removed
	r       Region
	f       *report.Findings
	chain   []link
	whole   map[string]extent // backups whose objects were seen, by their ids there
	point   store.Point       // the last of the chain
	at      store.PointCopy
	work    store.Work
	data    restoreData
	out     report.Restore
	doing   string // the span that is shown
}

// Restore makes a volume of a point, in a region that holds it. The volume appears
// under a scratch name and gets its own when it is whole. What an error leaves behind
// is removed, and what could not be is told in the findings; a context that ended
// leaves everything for the same request to go on with.
func (s *Shipper) Restore(ctx context.Context, req RestoreRequest) (report.Restore, []report.Finding, error) {
	f := report.NewFindings(nil, s.o.OnFinding)
	out, err := s.restore(ctx, req, false, f, nil)
	return out, f.List(), err
}

// restore restores; a drill has the volume stay scratch. whole, unless nil, is told of the
// result when the volume is as it should be and proven, before the work is forgotten: an
// error of it, or a kill before it returns, has the same request come by here again.
func (s *Shipper) restore(ctx context.Context, req RestoreRequest, scratch bool, f *report.Findings, whole func(report.Restore) error) (report.Restore, error) {
	j := &restoring{s: s, req: req, scratch: scratch, f: f}
	j.req.Wait = cmp.Or(req.Wait, DefaultWait)
	j.data.Began = s.o.Clock.Now().UTC()
	defer func() { s.release(j.work.ID) }()
	err := j.prepare(ctx)
	if err == nil && !req.Abandon {
		err = j.run(ctx)
	}
	j.end()
	if err == nil && whole != nil && !req.Abandon {
		err = whole(j.result())
	}
	if j.work.ID != "" && ctx.Err() == nil {
		err = j.finish(ctx, err)
	}
	return j.result(), err
}

func (j *restoring) result() report.Restore {
	out := j.out
	out.Began, out.Spans, out.RTO = j.data.Began, slices.Clone(j.data.Spans), j.data.RTO
	out.Seconds = j.s.o.Clock.Now().Sub(j.data.Began).Seconds()
	return out
}

// prepare finds the point and what can be gone on with, and checks all that can be
// checked before anything is made.
func (j *restoring) prepare(ctx context.Context) (err error) {
	s := j.s
	j.start(spanFind)
	if j.r, err = s.region(j.req.To); err != nil {
		return err
	}
	if j.r.Blocks == nil {
		return &transport.Error{Op: "restore", Region: j.req.To, Class: transport.Permanent, Err: errors.New("the region has no block storage"), Hint: "farshore region check " + j.req.To}
	}
	x, err := j.choose(ctx)
	if err != nil {
		return err
	}
	j.point, j.out.Known = x.point, x.known
	j.describe()
	var older *report.Finding
	if x.newer.ID != "" {
		f := x.older(j.req.To)
		older = &f
		j.f.Add(f)
	}
	if j.req.Chosen != nil {
		j.req.Chosen(j.out, older)
	}
	if j.chain, err = s.chain(ctx, j.point, j.req.To); err != nil {
		return err
	}
	j.at = j.chain[len(j.chain)-1].at
	for _, l := range j.chain {
		j.out.Backups = append(j.out.Backups, l.at.Backup)
	}
	if !j.scratch {
		if err := j.adopt(); err != nil {
			return err
		}
	}
	if j.req.Abandon && j.work.ID == "" {
		return &transport.Error{Op: "abandon the restore of point " + j.point.ID, Region: j.req.To, Class: transport.NotFound, Err: errors.New("no such restore was interrupted"),
			Hint: "it is known by the same POINT, --to, --name, --type and --zone"}
	}
	if j.data.Phase == phaseRestored || j.req.Abandon {
		return nil
	}
	j.start(spanCheck)
	if err := j.check(ctx); err != nil {
		return err
	}
	if j.work.ID != "" {
		return nil
	}
	j.data.Phase = phaseMaking
	j.work = store.Work{Kind: workRestore, Region: j.req.To, Policy: j.point.Policy, Point: j.point.ID}
	if j.scratch {
		j.work.Kind = workDrill
	}
	return j.begin(ctx)
}

// describe fills in what the point says of the result.
func (j *restoring) describe() {
	p := j.point
	j.data.Name = cmp.Or(j.req.Name, p.Volume.Name)
	j.out.Point, j.out.Policy, j.out.Taken, j.out.From, j.out.Region = p.ID, p.Policy, time.UnixMicro(p.Taken).UTC(), p.Region, j.req.To
	j.out.SourceVolume, j.out.SourceVolumeName, j.out.Size, j.out.Name = p.Volume.ID, p.Volume.Name, p.Volume.Size, j.data.Name
}

// adopt finds the work of an equal request that was interrupted.
func (j *restoring) adopt() error {
	list, err := j.s.works(workRestore)
	if err != nil {
		return err
	}
	for _, w := range list {
		var d restoreData
		if w.Region == j.req.To && j.s.left(w) && w.Point != j.point.ID {
			j.f.Add(report.Finding{Kind: report.KindLeftBehind, Level: report.Info, Policy: w.Policy, Region: w.Region, Name: scratchName(w.ID), Op: "look for interrupted restores",
				Cause: "a restore of point " + w.Point + " was interrupted", Hint: "the command that began it goes on with it, or with --abandon clears it away"})
		}
		if w.Region != j.req.To || w.Point != j.point.ID || !j.s.left(w) {
			continue
		}
		if err := json.Unmarshal(w.Data, &d); err != nil {
			return fmt.Errorf("read work %s: %w", w.ID, err)
		}
		if d.Name != j.data.Name || j.req.Type != "" && d.Type != j.req.Type || j.req.Zone != d.Zone {
			continue
		}
		j.s.adopted(w.ID)
		j.work, j.data, j.out.Resumed = w, d, true
		j.out.Volume, j.out.Type = w.Resource, d.Type
		return nil
	}
	return nil
}

// adopted notes that a work of an earlier run is now this run's.
func (s *Shipper) adopted(id string) { s.o.Hands.take(id, s) }

// release notes that nobody is at a work any more: whoever wants may go on with it.
func (s *Shipper) release(id string) { s.o.Hands.drop(id) }

func (j *restoring) begin(ctx context.Context) (err error) {
	if j.work.Data, err = json.Marshal(j.data); err != nil {
		return fmt.Errorf("encode the restore: %w", err)
	}
	j.work, err = j.s.begin(ctx, j.work)
	return err
}

// save records how far the restore is.
func (j *restoring) save(ctx context.Context) (err error) {
	if j.work.Data, err = json.Marshal(j.data); err != nil {
		return fmt.Errorf("encode the restore: %w", err)
	}
	return j.s.note(ctx, j.work)
}

// start ends the span that runs and begins another. A restore that is gone on with is
// still in the span in which it was interrupted until it gets past that: what is looked at
// again on the way there is a part of it.
func (j *restoring) start(name string) {
	j.doing = name
	j.s.o.Progress.Phase(j.phase(name))
	if j.out.Resumed && spanRank(name) <= max(spanRank(j.data.Span.Name), j.lastSpan()) {
		return
	}
	j.end()
	j.data.Span = report.Span{Name: name, Began: j.s.o.Clock.Now().UTC()}
}

// lastSpan is the place of the last span that has ended.
func (j *restoring) lastSpan() int {
	if n := len(j.data.Spans); n > 0 {
		return spanRank(j.data.Spans[n-1].Name)
	}
	return -1
}

func (j *restoring) end() {
	x := &j.data.Span
	if x.Name == "" {
		return
	}
	x.Seconds = j.s.o.Clock.Now().Sub(x.Began).Seconds()
	j.data.Spans = append(j.data.Spans, *x)
	*x = report.Span{}
}

// phase is what a span is called while it runs.
func (j *restoring) phase(span string) string {
	going := ""
	if j.out.Resumed {
		going = "going on with "
	}
	return fmt.Sprintf("%s%s: %s in %s", going, cmp.Or(j.data.Name, j.req.Point), span, j.req.To)
}

// run carries the restore out from where it is.
func (j *restoring) run(ctx context.Context) error {
	if j.data.Phase != phaseRestored {
		v, err := j.makeVolume(ctx)
		if err != nil {
			return err
		}
		if err := j.fillVolume(ctx, v); err != nil {
			return err
		}
		if err := j.finishVolume(ctx); err != nil {
			return err
		}
		j.end()
		j.data.RTO = j.s.o.Clock.Now().Sub(j.data.Began).Seconds()
		j.data.Phase = phaseRestored
		if err := j.save(ctx); err != nil {
			return err
		}
	}
	if j.req.Proof != ProofBlocks {
		return nil
	}
	if j.data.Proof == nil {
		proof, err := j.prove(ctx)
		if err != nil {
			return fmt.Errorf("prove the restored volume: %w", err)
		}
		if err := j.s.recordProof(ctx, j.point.ID, j.req.To, proof); err != nil {
			return err
		}
		j.end()
		j.data.Proof = &proof
		if err := j.save(ctx); err != nil {
			return err
		}
	}
	proof := *j.data.Proof
	j.out.Proof = &proof
	if !proof.OK {
		bad := &ProofError{Point: j.point.ID, Policy: j.point.Policy, Region: j.req.To, Source: volumeOf(j.point), Volume: j.work.Resource, Proof: proof}
		j.f.Add(report.Finding{Kind: report.KindNotEqual, Level: report.Error, Policy: j.point.Policy, Region: j.req.To, Name: j.point.ID,
			Op: "prove the restore of volume " + bad.Source, Cause: bad.Error(), Hint: bad.hint()})
		return bad
	}
	return nil
}

// finish clears up: everything of the work after an error or a drill, and only what
// the proof needed otherwise. What may yet go well stays for the same request to go on with.
func (j *restoring) finish(ctx context.Context, failed error) error {
	var stuck *stuckError
	if !j.scratch && !j.req.Abandon && (passing(failed) || errors.As(failed, &stuck)) {
		return fmt.Errorf("%w; the same command goes on from here", failed)
	}
	// The volume has its own name by now unless it is scratch, so that it is not cleared.
	if j.scratch {
		j.start(spanRemove)
	}
	err := j.s.clear(ctx, j.req.To, j.work.ID)
	j.end()
	if j.out.Removed = err == nil && j.scratch; err == nil {
		err = j.s.done(ctx, j.work.ID)
	}
	if j.data.Phase != phaseRestored && err == nil {
		j.out.Volume = ""
	}
	if ctx.Err() != nil {
		return cmp.Or(failed, context.Cause(ctx))
	}
	if err != nil {
		j.f.Add(report.Finding{Kind: report.KindLeftBehind, Level: report.Error, Policy: j.point.Policy, Region: j.req.To, Name: scratchName(j.work.ID),
			Op: "clear away the scratch resources", Cause: err.Error(), Hint: removeHint(err)})
	}
	return failed
}

// recordProof notes in the ledger what came of a proof, if it knows the point.
func (s *Shipper) recordProof(ctx context.Context, point, region string, p report.Proof) error {
	err := s.o.Ledger.UpdatePoint(ctx, point, func(x *store.Point, exists bool) bool {
		for i := range x.Copies {
			if c := &x.Copies[i]; c.Region == region {
				c.Proof = store.Proof{At: p.At.UnixMicro(), Kind: p.Against, OK: p.OK, Detail: detailOf(p)}
			}
		}
		return exists
	})
	if err != nil {
		return fmt.Errorf("record the proof of point %s: %w", point, err)
	}
	return nil
}

// keptMetadata is a volume's metadata without what an interrupted restore could have left of ours.
func keptMetadata(m map[string]string) map[string]string {
	out := maps.Clone(m)
	if out == nil {
		out = map[string]string{}
	}
	delete(out, keyWork)
	return out
}
