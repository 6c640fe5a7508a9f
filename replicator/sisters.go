package replicator

import (
	"context"
	"slices"
	"strings"

	"farshore/replicator/plan"
	"farshore/store"
)

// Sisters are routes that write the same names into the same container: over all of it,
// and over a part of it that comes along or had a pass of its own. What one of them wrote
// is no stranger's to another.

// findSisters looks for those of a destination.
func (p *pass) findSisters(d *dest) error {
	routes, err := p.e.o.Ledger.Routes()
	if err != nil {
		return err
	}
	for _, r := range routes {
		if r.ID == d.info.ID || r.Route.From != d.info.Route.From || r.Route.To != d.info.Route.To || !alikeNamed(r.Route, d.info.Route) {
			continue
		}
		d.sisters = append(d.sisters, r.ID)
	}
	return nil
}

// alikeNamed reports whether two routes have names in common, and call them alike.
func alikeNamed(a, b store.Route) bool {
	if len(a.FromPrefix) > len(b.FromPrefix) {
		a, b = b, a
	}
	rest, part := strings.CutPrefix(b.FromPrefix, a.FromPrefix)
	return part && b.ToPrefix == a.ToPrefix+rest
}

// writtenBySisters gives the ETags that sisters wrote under a name, or may have: those
// of begun have copies that did not end.
func (p *pass) writtenBySisters(d *dest, name string, rec *store.Object, begun []store.RouteID) ([]string, error) {
	var out []string
	for _, id := range d.sisters {
		if rec != nil {
			if r, ok := rec.Replica(id); ok && (r.State == store.Confirmed || r.State == store.Lost) {
				out = append(out, destETagOf(r))
			}
		}
		if !slices.Contains(begun, id) {
			continue
		}
		in, ok, err := p.e.o.Ledger.Intent(id, name)
		if err != nil {
			return nil, err
		}
		if ok && in.ETag != "" {
			out = append(out, in.ETag)
		}
	}
	return out, nil
}

// addSisters notes them for the names of a part of the source.
func (p *pass) addSisters(d *dest, i int, subjects []plan.Subject) error {
	if len(d.sisters) == 0 {
		return nil
	}
	var begun []store.RouteID
	for _, id := range d.sisters {
		waiting, err := p.e.o.Ledger.Intents(id, "", 1)
		if err != nil {
			return err
		}
		if len(waiting) > 0 {
			begun = append(begun, id)
		}
	}
	for j := range subjects {
		s := &subjects[j]
		if s.Entry == nil {
			continue
		}
		known, err := p.writtenBySisters(d, s.Name, s.Record, begun)
		if err != nil {
			return err
		}
		p.at(s, i).Known = known
	}
	return nil
}

// heirs gives this route the replicas that sisters alone have, or a newer one than its own,
// of an object which the source does not list any more: what comes along is looked after,
// deletes included, by the pass over the part or the whole that came along, whichever of
// its routes brought the object.
// What one of them has begun to send since is abandonSisters' to look at first.
func (p *pass) heirs(s *plan.Subject, step *plan.Step) error {
	if !p.job.along || s.Entry != nil || s.Record == nil {
		return nil
	}
	for _, d := range p.dests {
		if d.dead.Load() {
			continue
		}
		r, ok := inherited(d, s.Record)
		for i := 0; ok && i < len(d.sisters); i++ {
			_, begun, err := p.e.o.Ledger.Intent(d.sisters[i], s.Name)
			if err != nil {
				return err
			}
			ok = !begun
		}
		if ok {
			step.Inherit = append(step.Inherit, r)
		}
	}
	return nil
}

// inherited is the newest replica that sisters have, where the destination's own route has
// none or an older one: what stands there is then what the sister wrote over it.
func inherited(d *dest, o *store.Object) (newest store.Replica, found bool) {
	newest, known := o.Replica(d.info.ID)
	for _, id := range d.sisters {
		if r, ok := o.Replica(id); ok && r.State == store.Confirmed && (!known && !found || r.Version.Modified > newest.Version.Modified) {
			newest, found = r, true
			newest.Route = d.info.ID
		}
	}
	return newest, found
}

// abandonSisters deals with what sisters had begun to send in (lo, hi] when their run died,
// and the source has lost since: their own pass may never come, for the next run brings on
// them only what the source still has.
func (p *pass) abandonSisters(d *dest, lo, hi string, subjects []plan.Subject) error {
	if !p.job.along || p.dry() {
		return nil
	}
	for _, id := range d.sisters {
		err := p.eachIntent(id, lo, hi, func(in store.Intent) error {
			at, ok := find(subjects, in.Name)
			if strings.HasPrefix(in.Name, p.job.From.Prefix) && (!ok || subjects[at].Entry == nil) {
				p.start(func(ctx context.Context) error { return p.abandonSister(ctx, d, in) })
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// abandonSister deals with one of them. No copy of it runs meanwhile.
func (p *pass) abandonSister(ctx context.Context, d *dest, in store.Intent) error {
	release, err := p.turn(ctx, in.Name)
	if err != nil {
		return err
	}
	defer release()
	if _, ok, err := p.e.o.Ledger.Intent(in.Route, in.Name); err != nil || !ok {
		return err
	}
	if err := p.abandon(ctx, d, in); err != nil {
		return err
	}
	p.e.o.Ledger.Update(p.place, in.Name, func(o *store.Object, exists bool) bool {
		r, ok := inherited(d, o)
		if !exists || !ok {
			return exists // as it is
		}
		o.SetReplica(r)
		if o.Missing == 0 {
			o.Missing = micros(p.e.o.Clock.Now())
		}
		return true
	})
	return p.e.o.Ledger.Flush(ctx)
}
