package replicator

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"farshore/replicator/audit"
	"farshore/replicator/plan"
	"farshore/store"
	"farshore/transport"
)

// weigh looks at a destination and decides.
func (p *pass) weigh(ctx context.Context, x *past, d *dest) (plan.Deeds, error) {
	t := plan.There{Route: d.info.ID, Begun: x.begun[d], BackRoute: d.back}
	var err error
	if t.Rows, err = p.rowsAt(ctx, x, d); err != nil {
		return plan.Deeds{}, err
	}
	if d.back != 0 {
		back, ok, err := p.e.o.Ledger.Series(p.histories.lanes[d].back, p.srcToBack(d, x.name))
		if err != nil {
			return plan.Deeds{}, err
		}
		if ok {
			t.Back = &back
		}
	}
	t.Other = map[string]bool{}
	for {
		rows, others := len(t.Rows), len(t.Other)
		deeds := plan.Weigh(&x.series, t, p.planOptions())
		if len(deeds.Doubt) > 0 {
			t.Stamped = map[string]bool{}
			for _, r := range deeds.Doubt {
				obj, there, err := p.thereStill(ctx, x, d, r, &t)
				if err != nil {
					return plan.Deeds{}, err
				}
				if o, ok := audit.ReadOrigin(obj.Header); there && ok && o.Region == p.job.From.Region {
					t.Stamped[r.ID] = true
				}
			}
			deeds = plan.Weigh(&x.series, t, p.planOptions())
		}
		if err := p.findOthers(ctx, x, d, deeds.Adopt, &t); err != nil {
			return plan.Deeds{}, err
		}
		if !p.histories.lanes[d].first { // passes may have deleted there what is listed
			for _, r := range deeds.Foreign {
				if _, _, err := p.thereStill(ctx, x, d, r, &t); err != nil {
					return plan.Deeds{}, err
				}
			}
		}
		if len(t.Rows) == rows && len(t.Other) == others {
			return deeds, nil
		}
		t.Stamped = nil
	}
}

// thereStill asks a destination for a version that it lists. One that was deleted may be
// listed for a while: it is left out of what is there.
func (p *pass) thereStill(ctx context.Context, x *past, d *dest, r transport.VersionEntry, t *plan.There) (obj transport.Object, is bool, err error) {
	obj, is, err = p.versionThere(ctx, x, d, r.ID)
	if err == nil && !is {
		t.Rows = slices.DeleteFunc(slices.Clone(t.Rows), func(y transport.VersionEntry) bool { return y.ID == r.ID })
		x.seen(d, t.Rows)
	}
	return obj, is, err
}

// versionThere asks a destination for a version by its id; of a delete marker it gives no
// more than that it stands there.
func (p *pass) versionThere(ctx context.Context, x *past, d *dest, id string) (obj transport.Object, is bool, err error) {
	obj, err = d.ep.HeadVersion(ctx, d.side.Container, p.destName(d, x.name), id)
	switch {
	case errors.Is(err, transport.ErrMarker):
		return transport.Object{}, true, nil
	case transport.Is(err, transport.NotFound):
		return transport.Object{}, false, nil
	}
	return obj, err == nil, err
}

// findOthers asks what versions without bytes are that listings make look like the
// source's: links and dynamic manifests are no empty objects (S5, S6). Where passes may
// have deleted versions it asks whether one that looks like the source's, or a delete
// marker, stands there at all.
func (p *pass) findOthers(ctx context.Context, x *past, d *dest, adopt []plan.Adoption, t *plan.There) error {
	for _, a := range adopt {
		empty := a.Row.Size == 0 && !a.Row.Marker && !plan.IsPastNull(a.ID)
		if a.Ours && !x.begun[d] || !empty && p.histories.lanes[d].first {
			continue
		}
		there, is, err := p.thereStill(ctx, x, d, a.Row, t)
		if err != nil {
			return err
		}
		if !is || !empty {
			continue
		}
		want, err := p.src.HeadVersion(ctx, p.job.From.Container, x.name, a.ID)
		if transport.Is(err, transport.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		h := p.mapped(want.Header, d)
		if h[transport.TargetETagHeader] != "" && there.Header[transport.TargetETagHeader] != "" {
			h[transport.TargetETagHeader] = there.Header[transport.TargetETagHeader] // of an SLO it is another at every region
		}
		if want.Kind != there.Kind || !pointsAlike(h, there.Header) {
			t.Other[a.Row.ID] = true
		}
	}
	return nil
}

// rowsAt gives the versions of a name that stand at a destination, newest first. A
// listing may lag behind what was written: what the ledger knows and the listing
// lacks is asked for by name. So is the current version where the listing has another
// than the ledger, and after a run that died, which may have written that one last.
func (p *pass) rowsAt(ctx context.Context, x *past, d *dest) ([]transport.VersionEntry, error) {
	name := p.destName(d, x.name)
	rows, listed := x.there[d]
	if !listed {
		err := d.ep.Versions(ctx, d.side.Container, transport.Range{Prefix: name, Through: name}, func(page []transport.VersionEntry) error {
			for _, r := range page {
				if r.Name == name {
					rows = append(rows, r)
				}
			}
			return nil
		})
		if err != nil && !transport.Is(err, transport.NotFound) {
			return nil, err
		}
	}
	ask := func(id string, marker bool) error {
		obj, there, err := p.versionThere(ctx, x, d, id)
		switch {
		case err != nil:
			return err
		case !there && id == "":
			showOnly(rows, -1)
			return nil
		case !there:
			return nil
		case marker:
			rows = append(rows, transport.VersionEntry{ID: id, Marker: true, Entry: transport.Entry{Name: name}})
			return nil
		}
		is := cmp.Or(obj.Version, plan.NullVersion)
		at := slices.IndexFunc(rows, func(r transport.VersionEntry) bool { return r.ID == is })
		if at < 0 {
			rows = append(rows, transport.VersionEntry{ID: is, Entry: transport.Entry{Name: name, Size: obj.Size, ETag: obj.ETag, Modified: obj.Modified,
				ContentType: obj.Header["Content-Type"], Kind: obj.Kind}})
			at = len(rows) - 1
		}
		if id == "" {
			showOnly(rows, at)
		}
		return nil
	}
	for i := range x.series.Versions {
		r, ok := x.series.Versions[i].Replica(d.info.ID)
		if ok && r.ID == "" && !p.histories.lanes[d].first {
			r.ID = plan.Stamp(r.Written) // it was "null": what is written after it gives it the time of its own write as its id (S7)
		}
		if !ok || r.State != store.Confirmed || r.ID == "" || slices.ContainsFunc(rows, func(y transport.VersionEntry) bool { return y.ID == r.ID }) {
			continue
		}
		if err := ask(r.ID, x.series.Versions[i].Marker); err != nil {
			return nil, err
		}
	}
	if x.begun[d] || x.otherwiseShown(d, rows) {
		if err := ask("", false); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(rows, func(a, b transport.VersionEntry) int {
		newest := func(r transport.VersionEntry) string {
			if r.ID == plan.NullVersion {
				return "~"
			}
			return r.ID
		}
		return strings.Compare(newest(b), newest(a))
	})
	x.seen(d, rows)
	return rows, nil
}
