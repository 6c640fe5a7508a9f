package replicator

import "farshore/store"

// countCovered counts, for the brake, the names of which a destination shows a version of
// ours and would show another after the pass, or nothing: an overwrite and a delete at
// the source both travel as something put on top. What was covered stays in the history,
// but what reads the destination gets what a mass change has made of the source.
func (p *pass) countCovered(pasts []*past) {
	for _, x := range pasts {
		for _, d := range x.todo {
			if covers(&x.series, d.info.ID) {
				p.addOverwrite()
				break
			}
		}
	}
}

// covers reports whether a version or a delete marker is due at a destination that is
// younger than what it shows there.
func covers(s *store.Series, route store.RouteID) bool {
	shown := false
	for i := range s.Versions { // oldest first
		v := &s.Versions[i]
		rep, has := v.Replica(route)
		switch {
		case has && rep.State == store.Confirmed:
			shown = shown || rep.Current && !v.Marker
		case shown && v.Missing == 0 && (!has || rep.State == store.Lost):
			return true
		}
	}
	return false
}
