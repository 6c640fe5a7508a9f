package replicator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"farshore/replicator/audit"
	"farshore/replicator/report"
	"farshore/transport"
)

// ask settles a doubt by name: listings lag, a HEAD does not.
func (x *auditJob) ask(ctx context.Context, r *replica) error {
	x.heads.Add(1)
	obj, err := r.d.ep.Head(ctx, r.d.side.Container, x.p.destName(r.d, r.sub.Name))
	if err != nil && !transport.Is(err, transport.NotFound) {
		return x.unproved(ctx, r, err)
	}
	if x.overtaken(r) {
		return nil
	}
	if err != nil {
		return x.absent(ctx, r)
	}
	what := r.want.Differs(obj.ETag, obj.Size)
	if what == "" {
		if r.fault == "" { // else an earlier audit found its bytes bad: only a repair takes that back
			r.seen = true
		}
		return nil
	}
	if in, ok, err := x.e.o.Ledger.Intent(r.d.info.ID, r.sub.Name); err != nil || ok && in.ETag == obj.ETag {
		return err // a newer version of ours, which an interrupted pass has still to record
	}
	r.fault, r.cause = report.KindDamaged, "what stands there is not what was recorded: "+what
	if !r.want.Older(obj.Modified) && obj.ETag != r.want.ETag {
		r.theirs = true
		r.cause += fmt.Sprintf("; it was put there by somebody else at %s", obj.Modified.UTC().Format("2006-01-02 15:04:05"))
	}
	return nil
}

// absent deals with a recorded replica that is not there.
func (x *auditJob) absent(ctx context.Context, r *replica) error {
	if !r.gone && x.p.src != nil && !x.s.unseen.Load() {
		_, err := x.p.src.Head(ctx, x.p.job.From.Container, r.sub.Name)
		switch {
		case transport.Is(err, transport.NotFound):
			r.gone = true // deleted or expired since it was listed
		case err != nil && (ctx.Err() != nil || !regionTrouble(err)):
			return err
		}
	}
	if r.gone {
		r.fault = ""
		x.here.copiesGone.Add(1)
		x.lost.LoadOrStore("", r.sub.Name)
		return nil
	}
	r.fault, r.cause = report.KindMissing, "the ledger has a copy there, and neither the listing nor a HEAD finds it"
	if r.sub.Dests[r.i].Entry != nil {
		r.cause = "the ledger and the listing have a copy there, but a HEAD of it answers 404"
	}
	return nil
}

// overtaken reports whether the ledger's record changed since the page was read:
// a pass beside the audit carried something meanwhile, and vouches for it.
func (x *auditJob) overtaken(r *replica) bool {
	o, ok, err := x.e.o.Ledger.Get(x.p.place, r.sub.Name)
	if err != nil {
		return false
	}
	now, has := o.Replica(r.d.info.ID)
	if ok && has && now == r.rec {
		return false
	}
	r.fault = ""
	return true
}

// unproved reports a replica that could not be looked at.
func (x *auditJob) unproved(ctx context.Context, r *replica, err error) error {
	if ctx.Err() != nil || !regionTrouble(err) {
		return err
	}
	r.seen, r.fault = false, ""
	x.missed(r.d)
	x.e.breaker(r.d.side.Region).note(err)
	x.e.o.Progress.Region(r.d.side.Region).Failed()
	x.add(report.KindFailed, report.Error, r.d, r.sub.Name, "the copy could not be examined: "+err.Error(), transport.HintOf(err))
	return nil
}

// read reads a replica through and compares size and digests with what was
// recorded. Bad bytes must come twice to count as damage at rest.
func (x *auditJob) read(ctx context.Context, r *replica) error {
	slot, err := x.e.budget.stream(ctx)
	if err != nil {
		return err
	}
	defer slot()
	progress := x.e.o.Progress.Region(r.d.side.Region)
	progress.Active(1)
	defer progress.Active(-1)
	x.readCount.Add(1)
	obj, got, what, err := x.fetch(ctx, r, false)
	first := what
	if err == nil && what != "" || unreadable(r, err) {
		obj, got, what, err = x.fetch(ctx, r, true)
	}
	switch {
	case transport.Is(err, transport.NotFound) && first != "":
		x.bad(r, first+"; its region took it out of service when it noticed that too (404)") // Swift's quarantine
	case transport.Is(err, transport.Changed), transport.Is(err, transport.NotFound):
		r.seen = false
		return x.ask(ctx, r) // it was replaced or removed since it was listed
	case unreadable(r, err):
		x.bad(r, "its bytes cannot be read, although it is listed: "+err.Error())
	case err != nil:
		return x.unproved(ctx, r, err)
	case what == "" && first == "" && composed(r, obj):
		same, known, err := x.sameAsSource(ctx, r, got)
		if err != nil {
			return err
		}
		if known && !same {
			x.bad(r, "the bytes read are not those that the source has under the same ETag")
		}
	case what != "":
		same, err := x.settle(ctx, r, got)
		if err != nil {
			return err
		}
		if !same {
			x.bad(r, what)
		}
	case first != "":
		x.add(report.KindDamaged, report.Warn, r.d, r.sub.Name, "one read gave other bytes ("+first+"), a second one the right ones",
			"one of the region's disks or lines may be failing: tell its operator")
	}
	progress.Done()
	if r.fault != "" {
		return nil
	}
	return x.judgeHeaders(ctx, r, obj.Header)
}

func (x *auditJob) bad(r *replica, cause string) {
	r.seen, r.fault, r.cause, r.byBytes = false, report.KindDamaged, cause, true
}

// unreadable reports whether an error speaks of the object rather than of its region.
func unreadable(r *replica, err error) bool {
	there := r.sub.Dests[r.i].Entry
	return (r.want.Segmented() || there != nil && there.Kind == transport.SLO) && manifestBroken(err)
}

// manifestBroken reports whether an error is what reading a static manifest gives whose
// segments are missing or changed: 409 (S4), or an early end; and 500 where a manifest
// within it is no manifest any more, which no retry changed.
func manifestBroken(err error) bool {
	var te *transport.Error
	return errors.As(err, &te) && (te.Status == http.StatusConflict || te.Status == http.StatusInternalServerError || errors.Is(err, io.ErrUnexpectedEOF))
}

// fetch reads a replica and says what is wrong with the bytes.
func (x *auditJob) fetch(ctx context.Context, r *replica, newest bool) (transport.Object, *audit.Digest, string, error) {
	progress := x.e.o.Progress.Region(r.d.side.Region)
	obj, got, err := digestOf(ctx, r.d.ep, r.d.side.Container, x.p.destName(r.d, r.sub.Name), transport.OpenOptions{ETag: r.want.ETag, Length: -1, Newest: newest, Unchecked: true},
		func(n int) {
			progress.Sent(int64(n))
			x.readBytes.Add(int64(n))
		})
	if err != nil {
		return obj, nil, "", err
	}
	want := r.want
	if composed(r, obj) {
		want.MD5 = ""
	}
	return obj, got, want.Differ(got), nil
}

// composed reports whether the ETag, there as at the source, is that of a static large
// object: the MD5 of its segments' ETags, which says nothing of the bytes as a whole (S3).
func composed(r *replica, obj transport.Object) bool {
	return obj.Kind == transport.SLO && r.want.ETag == r.want.MD5
}

// sameAsSource compares what was read with what the source gives now; known is false
// where it cannot be asked.
func (x *auditJob) sameAsSource(ctx context.Context, r *replica, got *audit.Digest) (same, known bool, err error) {
	if x.p.src == nil || x.s.unseen.Load() {
		return false, false, nil
	}
	_, src, err := digestOf(ctx, x.p.src, x.p.job.From.Container, r.sub.Name, transport.OpenOptions{ETag: r.rec.Version.ETag, Length: -1, Unchecked: true}, x.e.o.Progress.Read)
	if err != nil {
		if ctx.Err() != nil || !regionTrouble(err) {
			return false, false, err
		}
		return false, false, nil
	}
	return src.Equal(got), true, nil
}

// settle asks the source, where the ledger has no SHA-256, whether bytes that do
// not fit their ETag are after all the source's own.
func (x *auditJob) settle(ctx context.Context, r *replica, got *audit.Digest) (same bool, err error) {
	if r.want.SHA256 != [32]byte{} {
		return false, nil
	}
	same, _, err = x.sameAsSource(ctx, r, got)
	if err != nil || !same {
		return false, err // where the source cannot be asked, the ETag stands against the bytes
	}
	x.add(report.KindDegraded, report.Warn, r.d, r.sub.Name, "its bytes do not have the MD5 of its ETag, but source and copy are the same", "nothing to do here; the source may have been damaged before it was copied")
	return true, nil
}

// digestOf reads an object to its end.
func digestOf(ctx context.Context, ep transport.Source, container, name string, o transport.OpenOptions, count func(int)) (transport.Object, *audit.Digest, error) {
	obj, rc, err := ep.Open(ctx, container, name, o)
	if err != nil {
		return obj, nil, err
	}
	if rc == nil {
		return obj, nil, &transport.Error{Op: "get", Container: container, Name: name, Class: transport.Changed, Err: errors.New("it is a link or a dynamic large object now")}
	}
	defer rc.Close()
	d := audit.NewDigest()
	buf := make([]byte, 64<<10)
	for {
		n, err := rc.Read(buf)
		_, _ = d.Write(buf[:n]) // a digest takes everything
		count(n)
		if err == io.EOF {
			return obj, d, nil
		}
		if err != nil {
			return obj, nil, err
		}
	}
}

// deletedThere reports whether a policy the other way is about to carry here that somebody
// deleted an object at the destination, which is its source.
func (x *auditJob) deletedThere(d *dest, name string) bool {
	if d.back == 0 || !x.policy.Bidirectional {
		return false
	}
	o, ok, err := x.e.o.Ledger.Get(d.info.To, x.p.destName(d, name))
	if err != nil || !ok || o.Missing == 0 {
		return false
	}
	_, carries, err := x.e.o.Ledger.Note(deletesKey(d.back))
	return err == nil && carries
}
