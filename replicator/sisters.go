package replicator

import (
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
