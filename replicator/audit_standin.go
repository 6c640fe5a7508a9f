package replicator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"farshore/replicator/plan"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// Where the source cannot be asked for an object, a repair reads it from another
// destination that has it as recorded.

// standIn is a destination in the source's place: it shows, under the source's names,
// times, ETags and headers, those objects whose copy there is the recorded one.
type standIn struct {
	transport.Sink
	p *pass // of the audited job
	d *dest
}

var errNotAsRecorded = errors.New("the copy there is not as recorded, so that nothing is repaired from it")

// recorded is what the ledger has of an object and of its copy at the stand-in.
func (s *standIn) recorded(name string) (store.Object, store.Replica, error) {
	o, ok, err := s.p.e.o.Ledger.Get(s.p.place, name)
	if err != nil {
		return o, store.Replica{}, err
	}
	rep, has := o.Replica(s.d.info.ID)
	if !ok || !has || rep.State != store.Confirmed || rep.Version != o.Version {
		return o, rep, s.refuse(name)
	}
	return o, rep, nil
}

func (s *standIn) refuse(name string) error {
	return &transport.Error{Op: "repair from", Region: s.d.side.Region, Container: s.d.side.Container, Name: s.p.destName(s.d, name), Class: transport.Changed, Err: errNotAsRecorded}
}

// as shows an object as the source had it; one that is not as recorded is refused.
func (s *standIn) as(o store.Object, rep store.Replica, there transport.Object) (transport.Object, error) {
	h := s.p.unmapped(there.Header, s.d)
	if there.ETag != destETagOf(rep) || there.Size != o.Size || o.Meta != [8]byte{} && h.Digest() != o.Meta {
		return there, s.refuse(o.Name)
	}
	there.Name, there.ETag, there.Modified, there.Header = o.Name, o.Version.ETag, microTime(o.Version.Modified), h
	if rep.ETag != "" { // in segments there, and plain at the source
		there.Kind = transport.Plain
	}
	return there, nil
}

// Head implements transport.Source.
func (s *standIn) Head(ctx context.Context, _, name string) (transport.Object, error) {
	o, rep, err := s.recorded(name)
	if err != nil {
		return transport.Object{}, err
	}
	there, err := s.Sink.Head(ctx, s.d.side.Container, s.p.destName(s.d, name))
	if err != nil {
		return there, err
	}
	return s.as(o, rep, there)
}

// Open implements transport.Source.
func (s *standIn) Open(ctx context.Context, _, name string, opts transport.OpenOptions) (transport.Object, io.ReadCloser, error) {
	o, rep, err := s.recorded(name)
	if err != nil {
		return transport.Object{}, nil, err
	}
	opts.ETag = destETagOf(rep)
	there, rc, err := s.Sink.Open(ctx, s.d.side.Container, s.p.destName(s.d, name), opts)
	if err != nil {
		return there, rc, err
	}
	if there, err = s.as(o, rep, there); err != nil && rc != nil {
		rc.Close()
		rc = nil
	}
	return there, rc, err
}

// sourceAway reports whether an object cannot be had from the source.
func (x *auditJob) sourceAway(r *replica) bool {
	return r.gone || x.p.src == nil || x.s.unseen.Load()
}

// standIns are the destinations that have, by the ledger, what a replica lacks.
func (x *auditJob) standIns(r *replica) []*dest {
	var out []*dest
	for _, d := range x.p.dests {
		rep, ok := r.sub.Record.Replica(d.info.ID)
		if ok && d != r.d && !d.dead.Load() && rep.State == store.Confirmed && rep.Version == r.sub.Record.Version {
			out = append(out, d)
		}
	}
	return out
}

// relay sends replicas again from other destinations. What points to others of them is
// tried again as long as that helps.
func (x *auditJob) relay(ctx context.Context, rs []*replica, causes *repairCauses) error {
	for {
		early, err := x.relayRound(ctx, rs, causes)
		if err != nil || len(early) == 0 || len(early) == len(rs) {
			return err
		}
		rs = early
	}
}

// relayRound gives those that point to what is not there yet.
func (x *auditJob) relayRound(ctx context.Context, rs []*replica, causes *repairCauses) (early []*replica, err error) {
	var mu sync.Mutex
	err = x.each(ctx, rs, func(ctx context.Context, r *replica) error {
		err := x.ensureBare(ctx, r.d)
		if err != nil {
			return x.unrelayed(ctx, r, err, causes)
		}
		for _, d := range x.standIns(r) {
			done, err := x.relayFrom(ctx, r, d, causes)
			if errors.Is(err, transport.ErrTarget) {
				mu.Lock()
				if !slices.Contains(early, r) {
					early = append(early, r)
				}
				mu.Unlock()
			}
			if err != nil {
				err = x.unrelayed(ctx, r, err, causes)
			}
			if done || err != nil {
				return err
			}
		}
		return nil
	})
	return early, err
}

// unrelayed keeps why a region could not be used; other errors end the audit.
func (x *auditJob) unrelayed(ctx context.Context, r *replica, err error, causes *repairCauses) error {
	if ctx.Err() != nil || !regionTrouble(err) {
		return err
	}
	causes.add(report.Finding{Name: r.sub.Name, Cause: err.Error()})
	return nil
}

// relayFrom copies one object from a destination to another; done says that the ledger
// has it there now.
func (x *auditJob) relayFrom(ctx context.Context, r *replica, from *dest, causes *repairCauses) (done bool, err error) {
	in := &standIn{Sink: from.ep, p: x.p, d: from}
	obj, err := in.Head(ctx, "", r.sub.Name)
	if err != nil {
		return false, err
	}
	o, _, err := x.e.o.Ledger.Get(x.p.place, r.sub.Name)
	if err != nil {
		return false, err
	}
	job := x.p.job
	job.From.Region = from.side.Region
	p := x.repairer(job, in, causes)
	p.relays = true
	it := &item{name: o.Name, record: &o, version: versionOf(obj), open: 1, regions: map[string]bool{}, ready: true,
		entry: &transport.Entry{Name: o.Name, Size: obj.Size, ETag: obj.ETag, Modified: obj.Modified, Kind: obj.Kind}}
	t := p.target(r.d, it, r.fault == report.KindMissing, plan.Step{})
	if err := p.begin(ctx, it, r.d); err != nil {
		return false, err
	}
	if obj.Kind == transport.SLO {
		err = p.relayManifest(ctx, it, t, in)
	} else {
		err = p.copy(ctx, it, []target{t})
	}
	if o.Missing != 0 { // it was sent again, and is missing at the source as before
		x.e.o.Ledger.Update(x.p.place, o.Name, func(now *store.Object, exists bool) bool {
			now.Missing = o.Missing
			return exists
		})
	}
	if ferr := x.e.o.Ledger.Flush(ctx); err == nil {
		err = ferr
	}
	x.tally.addWork(p.tally)
	return it.holds(r.d.side.Region), err
}

// relayManifest writes the manifest of an SLO as the stand-in has it, with the names that
// its segments' containers have at the target.
func (p *pass) relayManifest(ctx context.Context, it *item, t target, in *standIn) error {
	obj, raw, err := in.Sink.Manifest(ctx, in.d.side.Container, in.p.destName(in.d, it.name), "")
	if err != nil {
		return err
	}
	m, err := transport.ParseManifest(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", transport.PrintName(it.name), err)
	}
	o, rep, err := in.recorded(it.name)
	if err == nil {
		obj, err = in.as(o, rep, obj)
	}
	if err != nil {
		return err
	}
	names := map[string]string{}
	for _, c := range m.Containers() {
		if to := in.p.alongName(t.d, in.p.alongFrom(in.d, c)); to != c {
			names[c] = to
		}
	}
	if len(names) > 0 {
		m = m.In(names)
		raw = m.Encode()
	}
	it.needs = map[*dest][]store.Need{t.d: needsOf(m)}
	rec, err := t.d.ep.PutRaw(p.e.budget.limit(ctx, p.job.Policy, p.job.From.Region, t.d.side.Region), t.d.side.Container, p.destName(t.d, it.name), raw, obj.ETag,
		transport.PutOptions{Header: p.stamped(obj, t.d), IfAbsent: t.ifAbsent})
	if err != nil {
		return err
	}
	p.done(it, t.d, obj, store.Replica{Written: micros(rec.Modified)}, &summer{n: -1})
	return nil
}

// ensureBare makes a destination's container again where it is missing, without the
// properties that only the source could tell; the ledger forgets that they were carried,
// so that the next pass does it.
func (x *auditJob) ensureBare(ctx context.Context, d *dest) error {
	x.bare.Lock()
	defer x.bare.Unlock()
	if !d.absent || x.made[d] {
		return nil
	}
	pr := &destProps{off: true}
	if err := x.p.recall(d, pr); err != nil {
		return err
	}
	pr.own, pr.agreed = ownProps{}, map[string]plan.Agreed{}
	if err := x.p.keepProps(pr); err != nil {
		return err
	}
	if err := x.e.o.Ledger.PutProperties(pr.route, [8]byte{}, micros(x.e.o.Clock.Now())); err != nil {
		return err
	}
	if err := d.ep.CreateContainer(ctx, d.side.Container, nil); err != nil {
		return err
	}
	x.made[d] = true
	return nil
}
