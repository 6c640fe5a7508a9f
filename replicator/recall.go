package replicator

import (
	"context"
	"strings"
	"time"

	"farshore/policies"
	"farshore/replicator/lag"
	"farshore/replicator/plan"
	"farshore/store"
)

// Recall tells the tracker what the ledger knows to have arrived, or to be deleted, of what a
// process before this one noted to be waiting for a policy's regions (lag.Tracker.Follow). The
// notes are exact when a pass has ended (lag.Tracker.Save) and some seconds old when it is cut
// off. It asks no region for more than its account, and the ledger for the items noted only.
func (e *Engine) Recall(ctx context.Context, p policies.Policy) error {
	if p.Volumes != nil {
		return nil // the points of a pass that is cut off are looked at when it goes on, which is at once
	}
	at := map[string]*recaller{}
	for _, n := range e.o.Lag.Noted(p.Name) {
		r := at[n.Place]
		if r == nil {
			container := n.Place
			if p.Prefix != "" {
				container = strings.TrimSuffix(container, "/"+p.Prefix)
			}
			dest, err := p.Destination(container)
			if err != nil {
				continue // its policy has changed: the first listing says what becomes of it
			}
			if r, err = e.recaller(ctx, newJob(p, container, dest)); err != nil {
				return err
			}
			at[n.Place] = r
		}
		if err := r.compare(n); err != nil {
			return err
		}
	}
	return nil
}

// recall tells the tracker what the ledger knows of a job's place beyond what a process
// before this one noted of its lag, some seconds before it was killed: what was confirmed
// since does not wait, copies that were begun do, and so does what was first seen missing.
// Else that would show when the first pass has come so far, after it has gone on with what
// was interrupted.
func (e *Engine) recall(ctx context.Context, j Job) error {
	noted, first := e.o.Lag.Recall(j.Policy.Name, placeOf(j.From))
	if !first {
		return nil
	}
	r, err := e.recaller(ctx, j)
	if err != nil || !r.known {
		return err
	}
	for _, n := range noted {
		if err := r.compare(n); err != nil {
			return err
		}
	}
	if err := r.begun(ctx); err != nil {
		return err
	}
	return r.missing(ctx)
}

// recaller compares one job's lag with the ledger.
type recaller struct {
	e      *Engine
	p      *pass
	known  bool                       // the ledger has the job's place
	routes map[string][]store.RouteID // by region
}

func (e *Engine) recaller(ctx context.Context, j Job) (*recaller, error) {
	r := &recaller{e: e, p: &pass{e: e, job: j}, routes: map[string][]store.RouteID{}}
	id, err := e.identity(ctx, j.From.Region)
	if err != nil {
		return r, ctx.Err() // never reached: the ledger has nothing of it
	}
	from := store.Place{Region: j.From.Region, Project: id.Project, Container: j.From.Container}
	if r.p.place, r.known, err = e.o.Ledger.FindPlace(from); err != nil || !r.known {
		return r, err
	}
	for _, to := range j.To {
		id, err := e.identity(ctx, to.Region)
		if err != nil {
			continue // as above
		}
		info, ok, err := e.o.Ledger.FindRoute(r.p.route(from, to, id.Project))
		if err != nil {
			return r, err
		}
		if ok {
			r.routes[to.Region] = append(r.routes[to.Region], info.ID)
		}
	}
	return r, nil
}

// compare ends the wait of what the ledger says has arrived, or has been deleted.
func (r *recaller) compare(n lag.Noted) error {
	if len(r.routes[n.Region]) == 0 {
		return nil
	}
	o, ok, err := r.e.o.Ledger.Get(r.p.place, n.Name)
	if err != nil {
		return err
	}
	if n.Due {
		if has, _, _ := r.held(&o, n.Region); !has && (!ok || o.Missing != 0) {
			r.e.o.Lag.Settled(n.Item)
		}
		return nil
	}
	if _, all, since := r.held(&o, n.Region); ok && all {
		r.e.o.Lag.Held(n.Item, since.source, since.confirmed)
	}
	return nil
}

// held says whether a region has anything of an object, and whether everything there is
// confirmed, of which source time at least and when at the latest.
func (r *recaller) held(o *store.Object, region string) (has, all bool, of struct{ source, confirmed time.Time }) {
	all = true
	for _, id := range r.routes[region] {
		rep, ok := o.Replica(id)
		has = has || ok
		if !ok || rep.State != store.Confirmed {
			all = false
			continue
		}
		source, confirmed := time.UnixMicro(rep.Version.Modified), time.UnixMicro(rep.Confirmed)
		if of.source.IsZero() || source.Before(of.source) {
			of.source = source
		}
		if confirmed.After(of.confirmed) {
			of.confirmed = confirmed
		}
	}
	return has, all, of
}

// begun has the copies wait that were begun.
func (r *recaller) begun(ctx context.Context) error {
	for region, routes := range r.routes {
		for _, route := range routes {
			err := r.p.eachIntent(route, "", "", func(in store.Intent) error {
				o, _, err := r.e.o.Ledger.Get(r.p.place, in.Name)
				if err != nil {
					return err
				}
				held := time.Time{}
				if rep, ok := o.Replica(route); ok && rep.State == store.Confirmed {
					if rep.Version.Modified >= in.Version.Modified {
						return ctx.Err()
					}
					held = time.UnixMicro(rep.Version.Modified)
				}
				r.e.o.Lag.Known(r.p.lagItem(region, in.Name), time.UnixMicro(in.Version.Modified), held, in.Size)
				return ctx.Err()
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// missing has the deletes wait, as soon as they are due.
func (r *recaller) missing(ctx context.Context) error {
	return r.p.eachMissing(ctx, func(o store.Object) error {
		for region := range r.routes {
			if has, _, _ := r.held(&o, region); has {
				r.e.o.Lag.Due(r.p.lagItem(region, o.Name), r.p.dueSince(&o))
			}
		}
		return nil
	})
}

// tellWaiting tells the tracker what an audit's listing of the source shows that a
// destination does not have yet: for a pass to carry, which an audit puts off.
func (x *auditJob) tellWaiting(s *plan.Subject) error {
	if x.e.o.Lag == nil || x.p.job.along || s.Entry == nil {
		return nil
	}
	v := plan.VersionOf(s.Entry)
	for _, d := range x.p.dests {
		if s.Record != nil {
			if r, ok := s.Record.Replica(d.info.ID); v.Modified < s.Record.Version.Modified || ok && r.Version == v {
				continue
			}
		}
		if came, err := x.p.cameFrom(d, s.Name, v); err != nil || came {
			return err
		}
		// as it is now: a pass beside the audit may have carried it since the page was read
		o, _, err := x.e.o.Ledger.Get(x.p.place, s.Name)
		if err != nil {
			return err
		}
		held := time.Time{}
		if r, ok := o.Replica(d.info.ID); ok && r.Version.Modified >= v.Modified {
			continue
		} else if ok && r.State == store.Confirmed {
			held = time.UnixMicro(r.Version.Modified)
		}
		x.e.o.Lag.Known(x.p.lagItem(d.side.Region, s.Name), time.UnixMicro(v.Modified), held, s.Entry.Size)
	}
	return nil
}
