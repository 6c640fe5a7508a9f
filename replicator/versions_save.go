package replicator

import (
	"fmt"
	"slices"

	"farshore/replicator/plan"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// sameSeries reports whether two histories are equal.
func sameSeries(a, b store.Series) bool {
	return slices.EqualFunc(a.Versions, b.Versions, func(x, y store.SeriesVersion) bool {
		return x.ID == y.ID && x.Version == y.Version && x.Size == y.Size && x.Marker == y.Marker && x.Latest == y.Latest &&
			x.Meta == y.Meta && x.Missing == y.Missing && slices.Equal(x.Replicas, y.Replicas)
	})
}

// snapshot is a copy of a history for the ledger's goroutine, which reads it while the pass
// goes on with its own.
func snapshot(s store.Series) store.Series {
	s.Versions = slices.Clone(s.Versions)
	for i := range s.Versions {
		s.Versions[i].Replicas = slices.Clone(s.Versions[i].Replicas)
	}
	return s
}

// saveSeries enqueues what is known of a name. Replicas on other routes than this
// pass's are left as the ledger has them by then.
func (p *pass) saveSeries(x *past) {
	mine, rows, now := snapshot(x.series), slices.Clone(x.rows), micros(p.e.o.Clock.Now())
	p.e.o.Ledger.UpdateSeries(p.place, x.name, func(s *store.Series, _ bool) bool {
		s.Name = x.name
		*s = plan.Track(*s, rows, now)
		known := len(s.Versions)
		for i := range mine.Versions { // what was an object before there were versions
			if v := mine.Versions[i]; v.Missing != 0 && len(v.Replicas) > 0 && s.Find(v.ID) == nil {
				v.Replicas = slices.Clone(v.Replicas)
				s.Versions = append(s.Versions, v)
			}
		}
		if len(s.Versions) > known {
			*s = plan.Track(*s, rows, now) // in order
		}
		for i := range mine.Versions {
			from := &mine.Versions[i]
			to := s.Find(from.ID)
			if to == nil {
				continue
			}
			if from.Meta != ([8]byte{}) {
				to.Meta = from.Meta
			}
			if to.Missing != 0 {
				to.Missing = from.Missing
			}
			for _, d := range p.dests {
				if r, ok := from.Replica(d.info.ID); ok {
					to.SetReplica(r)
				} else {
					to.DropReplica(d.info.ID)
				}
			}
		}
		return len(s.Versions) > 0
	})
}

// saveObject enqueues the ordinary record of a name; ended, if not nil, is the
// destination whose work on it is over.
func (p *pass) saveObject(x *past, ended *dest) {
	mine := snapshot(x.series)
	now, ok := plan.Present(&mine)
	apply := func(o *store.Object, exists bool) bool {
		if !ok {
			return exists && !historied(mine, p.dests) && len(o.Replicas) > 0
		}
		kept := o.Replicas
		if o.Version.ETag == now.Version.ETag {
			now.SHA256 = o.SHA256
		}
		*o = now
		o.Replicas = slices.Clone(now.Replicas)
		for _, r := range kept {
			if _, is := o.Replica(r.Route); !is && !onRoute(&mine, r.Route) {
				o.SetReplica(r)
			}
		}
		return true
	}
	if ended == nil {
		p.e.o.Ledger.Update(p.place, x.name, apply)
		return
	}
	p.e.o.Ledger.Confirm(store.Confirmation{Place: p.place, Route: ended.info.ID, Name: x.name, Apply: apply})
}

// onRoute reports whether a history has anything on a route.
func onRoute(s *store.Series, r store.RouteID) bool {
	return slices.ContainsFunc(s.Versions, func(v store.SeriesVersion) bool { _, ok := v.Replica(r); return ok })
}

// historied reports whether a destination has a part of the history.
func historied(s store.Series, dests []*dest) bool {
	return slices.ContainsFunc(dests, func(d *dest) bool { return onRoute(&s, d.info.ID) })
}

// pastConflict reports a name at a destination that has versions of others.
func (p *pass) pastConflict(x *past, d *dest, foreign []transport.VersionEntry) {
	p.tally.conflicts.Add(1)
	note := "others wrote versions there"
	for i := range x.series.Versions {
		v := &x.series.Versions[i]
		if r, ok := v.Replica(d.info.ID); v.Missing == 0 && (!ok || r.State == store.Lost) {
			v.SetReplica(store.SeriesReplica{Route: d.info.ID, State: store.Conflict, Note: note})
		}
	}
	p.findings.Add(report.Finding{Kind: report.KindConflict, Level: report.Error, Policy: p.job.Policy.Name, Region: d.side.Region, Container: d.side.Container,
		Name: p.destName(d, x.name), Op: "copy versions", Cause: fmt.Sprintf("%d versions that are not ours, or not in the source's order, stand there (the oldest has id %s); the name was left alone", len(foreign), foreign[0].ID),
		Hint: "remove the versions that you do not want, or set takeover: true in the policy to have the source's written after them"})
}
