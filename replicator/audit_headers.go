package replicator

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"farshore/replicator/plan"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// sameVersion reports whether a replica is of the version that the source lists, so
// that its headers should be the source's.
func (x *auditJob) sameVersion(r *replica) bool {
	return r.sub.Entry != nil && plan.VersionOf(r.sub.Entry) == r.sub.Record.Version && r.rec.Version == r.sub.Record.Version
}

// askHeaders settles a doubt about headers by name: listings lag, a HEAD does not.
func (x *auditJob) askHeaders(ctx context.Context, r *replica) error {
	x.heads.Add(1)
	obj, err := r.d.ep.Head(ctx, r.d.side.Container, x.p.destName(r.d, r.sub.Name))
	if err != nil {
		if ctx.Err() != nil || !regionTrouble(err) {
			return err
		}
		return nil // its bytes were seen; what became of it meanwhile is the next audit's
	}
	if r.want.Differs(obj.ETag, obj.Size) != "" || x.overtaken(r) {
		return nil
	}
	return x.judgeHeaders(ctx, r, obj.Header)
}

// judgeHeaders compares the headers that stand at a destination with those that were
// copied: by the ledger's digest or, where it has none (the object was adopted), by
// the source's own. It reports a difference, after its repair if that was asked for.
func (x *auditJob) judgeHeaders(ctx context.Context, r *replica, stands transport.Header) error {
	rec := r.sub.Record
	there := x.p.unmapped(stands, r.d)
	if r.rec.Version != rec.Version || rec.Meta != [8]byte{} && there.Digest() == rec.Meta {
		return nil
	}
	if known, err := x.carriedBack(r, stands); err != nil || known {
		return err
	}
	src, err := x.sourceOf(ctx, r)
	if err != nil {
		return err
	}
	if src == nil && rec.Meta == [8]byte{} || src != nil && src.Header.Digest() == there.Digest() {
		return nil
	}
	x.headersDiffer.Add(1)
	cause, hint := "its headers are not those that were copied; the bytes are right", "give it the source's with farshore audit --repair"
	if src != nil {
		cause = "its headers are not the source's (" + differing(there, src.Header) + "); the bytes are right"
	}
	switch {
	case r.d.back != 0:
		hint = "they were edited there: the pass in the opposite direction carries it"
	case r.rec.Adopted && !x.policy.Takeover:
		hint = "it stood there already, written by others: remove it there to have it copied with the source's headers, or " + takeoverHint(x.policy)
	case src == nil:
		hint = "the source does not answer, or changed since: run farshore sync, then farshore audit --repair"
	case x.setsAgain():
		return x.repairHeaders(ctx, r, *src, cause)
	}
	x.add(report.KindDegraded, report.Warn, r.d, r.sub.Name, cause, hint)
	return nil
}

// setsAgain reports whether what was changed at a destination is to be set again.
func (x *auditJob) setsAgain() bool {
	return x.o.Repair && (!x.o.KeepEdits || x.policy.Takeover)
}

// carriedBack reports whether the opposite direction knows those headers: they were
// edited at the destination and it carried them here already.
func (x *auditJob) carriedBack(r *replica, there transport.Header) (bool, error) {
	if r.d.back == 0 {
		return false, nil
	}
	o, ok, err := x.e.o.Ledger.Get(r.d.info.To, x.p.destName(r.d, r.sub.Name))
	return ok && o.Meta == there.Digest(), err
}

// sourceOf asks the source for the object; nil if it does not have the version that
// was recorded any more, or does not answer.
func (x *auditJob) sourceOf(ctx context.Context, r *replica) (*transport.Object, error) {
	if x.p.src == nil || x.s.unseen.Load() {
		return nil, nil
	}
	src, err := x.p.src.Head(ctx, x.p.job.From.Container, r.sub.Name)
	switch {
	case err != nil && (ctx.Err() != nil || !regionTrouble(err)):
		return nil, err
	case err != nil || versionOf(src) != r.rec.Version:
		return nil, nil
	}
	return &src, nil
}

// repairHeaders gives a replica the source's headers and looks at them once more.
func (x *auditJob) repairHeaders(ctx context.Context, r *replica, src transport.Object, cause string) error {
	name := x.p.destName(r.d, r.sub.Name)
	err := r.d.ep.Post(x.e.budget.limit(ctx, x.policy, x.p.job.From.Region, r.d.side.Region), r.d.side.Container, name, x.p.stamped(src, r.d))
	var now transport.Object
	if err == nil {
		now, err = r.d.ep.Head(ctx, r.d.side.Container, name)
	}
	if is := x.p.unmapped(now.Header, r.d); err == nil && is.Digest() != src.Header.Digest() {
		err = &transport.Error{Op: "post", Region: r.d.side.Region, Container: r.d.side.Container, Name: name, Class: transport.Permanent,
			Err: fmt.Errorf("the destination does not keep them: %s", differing(is, src.Header))}
	}
	if err != nil {
		if ctx.Err() != nil || !regionTrouble(err) {
			return err
		}
		x.add(report.KindDegraded, report.Warn, r.d, r.sub.Name, cause+"; their repair failed: "+err.Error(), transport.HintOf(err))
		return nil
	}
	digest := src.Header.Digest()
	x.e.o.Ledger.Update(x.p.place, r.sub.Name, func(o *store.Object, exists bool) bool {
		if o.Version == r.rec.Version {
			o.Meta = digest
		}
		return exists
	})
	x.headersRepaired.Add(1)
	x.tally.meta.Add(1)
	x.add(report.KindRepaired, report.Info, r.d, r.sub.Name, cause+"; they were set again, and seen there by name", "")
	return nil
}

// differing names the headers that are not the same in both.
func differing(a, b transport.Header) string {
	names := map[string]bool{}
	for _, h := range []transport.Header{a, b} {
		for k := range h {
			if k != transport.OriginHeader && a[k] != b[k] {
				names[k] = true
			}
		}
	}
	list := make([]string, 0, len(names))
	for k := range names {
		list = append(list, transport.PrintName(k))
	}
	slices.Sort(list)
	if len(list) > 8 {
		list = append(list[:8], fmt.Sprintf("%d more", len(list)-8))
	}
	return strings.Join(list, ", ")
}
