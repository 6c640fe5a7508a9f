package replicator

import (
	"cmp"
	"context"

	"farshore/replicator/audit"
	"farshore/replicator/plan"
	"farshore/store"
	"farshore/transport"
)

// shownBy is the id of the version that rows say a name shows; "" if it shows none.
func shownBy(rows []transport.VersionEntry) (id string) {
	for _, r := range rows {
		if r.Latest && !r.Marker {
			id = r.ID
		}
	}
	return id
}

// showOnly has rows say that a name shows the one at i; -1: none.
func showOnly(rows []transport.VersionEntry, i int) {
	for j := range rows {
		rows[j].Latest = j == i
	}
}

// otherwiseShown reports whether rows disagree with the ledger about what a name shows at a
// destination. Where the ledger knows no ids yet it has no say.
func (x *past) otherwiseShown(d *dest, rows []transport.VersionEntry) bool {
	known, shown := false, ""
	for i := range x.series.Versions {
		r, ok := x.series.Versions[i].Replica(d.info.ID)
		switch {
		case !ok || r.State != store.Confirmed:
		case r.ID == "":
			return false
		default:
			if known = true; r.Current {
				shown = r.ID
			}
		}
	}
	return known && shown != shownBy(rows)
}

// makeCurrent makes a version of a destination the current one. A "null" version
// gives way to no link without getting lost (S7), so it gets an id first.
func (p *pass) makeCurrent(ctx context.Context, x *past, s *pastSide, id string) error {
	if s.current == plan.NullVersion {
		if err := p.noCurrent(ctx, x, s); err != nil {
			return err
		}
	}
	if err := s.d.ep.Revive(ctx, s.d.side.Container, p.destName(s.d, x.name), id); err != nil {
		return err
	}
	s.become(x, id)
	return nil
}

// noCurrent has a name show nothing at a destination, with no trace: a marker that is
// made and removed leaves none, and makes a version of what was "null".
func (p *pass) noCurrent(ctx context.Context, x *past, s *pastSide) error {
	name := p.destName(s.d, x.name)
	rec, err := s.d.ep.DeleteMarker(ctx, s.d.side.Container, name)
	if err != nil {
		return err
	}
	if rec.Version != "" {
		if err := s.d.ep.DeleteVersion(ctx, s.d.side.Container, name, rec.Version); err != nil {
			return err
		}
	}
	if s.current == plan.NullVersion {
		ids, err := p.idsAt(ctx, x, s.d)
		if err != nil {
			return err
		}
		s.newID(x, ids)
	}
	s.become(x, "")
	return nil
}

// idsAt lists what stands at a destination under a name, by id.
func (p *pass) idsAt(ctx context.Context, x *past, d *dest) (map[string]transport.VersionEntry, error) {
	name, ids := p.destName(d, x.name), map[string]transport.VersionEntry{}
	err := d.ep.Versions(ctx, d.side.Container, transport.Range{Prefix: name, Through: name}, func(page []transport.VersionEntry) error {
		for _, r := range page {
			if r.Name == name {
				ids[r.ID] = r
			}
		}
		return nil
	})
	return ids, err
}

// newID notes the id that a destination's "null" version has got: of those that stand
// there, the one that was not known.
func (s *pastSide) newID(x *past, ids map[string]transport.VersionEntry) {
	var null *store.SeriesVersion
	for i := range x.series.Versions {
		v := &x.series.Versions[i]
		if r, ok := v.Replica(s.d.info.ID); ok {
			delete(ids, r.ID)
			if r.ID == plan.NullVersion {
				null = v
			}
		}
	}
	if null == nil {
		return
	}
	for _, r := range x.there[s.d] {
		delete(ids, r.ID)
	}
	rep, _ := null.Replica(s.d.info.ID)
	rep.ID = "" // where the listing lags, the next pass finds it
	for id, r := range ids {
		if r.ETag == null.Version.ETag && r.Size == null.Size && !r.Marker {
			rep.ID = id
		}
	}
	null.SetReplica(rep)
}

// become notes which version a destination shows.
func (s *pastSide) become(x *past, id string) {
	s.current = id
	for i := range x.series.Versions {
		v := &x.series.Versions[i]
		if r, ok := v.Replica(s.d.info.ID); ok {
			r.Current = id != "" && r.ID == id && r.State == store.Confirmed
			v.SetReplica(r)
		}
	}
}

// right reports whether a destination shows what it should.
func (s *pastSide) right(x *past) bool {
	if s.deeds.Keep {
		return true
	}
	if s.deeds.Current == "" {
		return s.current == ""
	}
	rep, ok := x.series.Find(s.deeds.Current).Replica(s.d.info.ID)
	return ok && rep.ID == s.current
}

// stillShown asks the source which version it shows, before a destination is made to
// show another: listings lag (R4).
func (p *pass) stillShown(ctx context.Context, x *past) (bool, error) {
	want := ""
	if l := plan.Latest(&x.series); l != nil && !l.Marker {
		want = l.ID
	}
	obj, err := p.src.HeadVersion(ctx, p.job.From.Container, x.name, "")
	switch {
	case transport.Is(err, transport.NotFound):
		x.hide()
		return want == "", nil
	case err != nil:
		return false, err
	}
	return want == cmp.Or(obj.Version, plan.NullVersion), nil
}

// relinked reports whether a "null" version, which looked only touched because neither it
// nor what it replaced has bytes, became a link, another link or none any more: no POST
// makes one of it. It is written again, as the newest, which it is.
func (p *pass) relinked(now, there transport.Object, d *dest) bool {
	if now.Kind != transport.Symlink && there.Kind != transport.Symlink {
		return false
	}
	h := p.mapped(now.Header, d)
	if h[transport.TargetETagHeader] != "" && there.Header[transport.TargetETagHeader] != "" {
		h[transport.TargetETagHeader] = there.Header[transport.TargetETagHeader] // of an SLO it is another at every region
	}
	return now.Kind != there.Kind || !pointsAlike(h, there.Header)
}

// oursStill reports whether the headers of a version at a destination are as we wrote
// them: by its time, by the digest that the ledger has (of the newest headers, which
// not every destination got), or by the stamp, which an edit mostly removes.
func (p *pass) oursStill(there transport.Object, v *store.SeriesVersion, rep store.SeriesReplica) bool {
	o, stamped := audit.ReadOrigin(there.Header)
	return stamped && o.Region == p.job.From.Region || micros(there.Modified) <= rep.Written ||
		v.Meta != ([8]byte{}) && p.unmapped(there.Header, p.byRoute(rep.Route)).Digest() == v.Meta
}
