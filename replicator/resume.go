package replicator

import (
	"context"
	"time"

	"farshore/replicator/plan"
	"farshore/store"
	"farshore/transport"
)

// driveIntents plans again the copies that the interrupted pass had begun in the
// part of the source it had listed, without listing it again.
func (p *pass) driveIntents(ctx context.Context) error {
	for i, d := range p.dests {
		if d.dead.Load() {
			continue
		}
		err := p.eachIntent(d.info.ID, "", "", func(in store.Intent) error {
			if p.listedBefore(in.Name) && p.firstWith(i, in.Name) {
				return p.driveIntent(ctx, in.Name)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// listedBefore reports whether the interrupted pass had listed a name.
func (p *pass) listedBefore(name string) bool {
	for _, r := range p.rec.Ranges {
		if name > r.Lo && (r.Done && (r.Hi == "" || name <= r.Hi) || name <= r.Pos) {
			return true
		}
	}
	return false
}

// firstWith reports whether destination i is the first one with an intent for
// the name, so that a fan-out is driven once.
func (p *pass) firstWith(i int, name string) bool {
	for _, d := range p.dests[:i] {
		if _, ok, err := p.e.o.Ledger.Intent(d.info.ID, name); err == nil && ok && !d.dead.Load() {
			return false
		}
	}
	return true
}

// driveIntent goes on with one copy to every destination that waits for it.
func (p *pass) driveIntent(ctx context.Context, name string) error {
	s := plan.Subject{Name: name}
	rec, ok, err := p.e.o.Ledger.Get(p.place, name)
	if err != nil {
		return err
	}
	if ok {
		s.Record = &rec
	}
	var routes []plan.RouteStep
	for i, d := range p.dests {
		in, ok, err := p.e.o.Ledger.Intent(d.info.ID, name)
		if err != nil {
			return err
		}
		at := p.at(&s, i)
		at.Route = d.info.ID
		if !ok || d.dead.Load() {
			continue
		}
		at.Intent = &in
		s.Entry = &transport.Entry{Name: name, Size: in.Size, ETag: in.Version.ETag, Modified: time.UnixMicro(in.Version.Modified), Kind: transport.Plain}
		absent := true
		if s.Record != nil {
			r, has := s.Record.Replica(d.info.ID)
			absent = !has || r.State != store.Confirmed && r.State != store.Lost
		}
		routes = append(routes, plan.RouteStep{Route: d.info.ID, Action: plan.Copy, IfAbsent: absent, Why: "interrupted"})
	}
	if len(routes) > 0 {
		p.dispatch(plan.Step{Subject: s, Routes: routes})
	}
	return ctx.Err()
}
