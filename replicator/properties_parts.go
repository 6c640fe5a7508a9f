package replicator

import (
	"fmt"

	"farshore/replicator/plan"
	"farshore/store"
)

// A container has its properties as a whole, whatever part of it comes along: they are
// kept under the route of the whole container as soon as there is one.

// partial reports whether the job is about a part of a container: such a pass brings
// properties along only where it has made the container itself. Others' objects stand
// in the rest of it.
func (p *pass) partial(d *dest) bool {
	return (p.job.From.Prefix != "" || d.side.Prefix != "") && (d.props == nil || !d.props.whole)
}

// wholeRoute finds the route of the whole container that a part of comes along from: its
// single objects were brought on that one. d's own where there is none.
func (p *pass) wholeRoute(d *dest) (r store.RouteInfo, whole bool, err error) {
	of := d.info.Route
	of.FromPrefix, of.ToPrefix = "", ""
	if r, whole, err = p.e.o.Ledger.FindRoute(of); err != nil || whole {
		return r, whole, err
	}
	return d.info, false, nil
}

// recall reads what the ledger has of a destination's properties.
func (p *pass) recall(d *dest, pr *destProps) error {
	r := d.info
	if p.job.along && p.partial(d) {
		var err error
		if r, pr.whole, err = p.wholeRoute(d); err != nil {
			return err
		}
	}
	pr.route = r.ID
	var err error
	if pr.pairKey, pr.flip, pr.both, err = p.pairOf(r); err != nil {
		return err
	}
	from, err := p.keptUnder(r)
	if err != nil {
		return err
	}
	key, flip, _, err := p.pairOf(from)
	if err != nil {
		return err
	}
	if err := p.e.readNote(ownKey(from.ID), &pr.own); err != nil {
		return err
	}
	stored := map[string]plan.Agreed{}
	if !pr.both || d.back != 0 || pr.whole { // a destination that was found empty agrees to nothing any more
		if err := p.e.readNote(key, &stored); err != nil {
			return err
		}
	}
	pr.agreed = turned(stored, flip)
	for n, a := range pr.agreed {
		if a.By == from.ID {
			a.By = r.ID
			pr.agreed[n] = a
		}
	}
	return nil
}

// pairOf names the note of what a route and the one back have agreed; flip says that it is
// written from the other one's view, both that there is one.
func (p *pass) pairOf(r store.RouteInfo) (key string, flip, both bool, err error) {
	back, both, err := p.e.o.Ledger.FindRoute(r.Route.Back())
	first := r.ID
	if both && back.ID < first {
		first, flip = back.ID, true
	}
	return fmt.Sprintf("agreed/%d", first), flip, both, err
}

// keptUnder finds the route under which a container's properties are kept so far: a part of
// it that came along before anything else may have made it.
func (p *pass) keptUnder(r store.RouteInfo) (store.RouteInfo, error) {
	if _, known, err := p.e.o.Ledger.Note(ownKey(r.ID)); err != nil || known || r.Route.FromPrefix+r.Route.ToPrefix != "" {
		return r, err
	}
	routes, err := p.e.o.Ledger.Routes()
	if err != nil {
		return r, err
	}
	for _, x := range routes {
		var own ownProps
		if x.Route.From != r.Route.From || x.Route.To != r.Route.To {
			continue
		}
		if err := p.e.readNote(ownKey(x.ID), &own); err != nil {
			return r, err
		}
		if own.Made {
			return x, nil
		}
	}
	return r, nil
}
