package replicator

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// examples is how many objects with too few replicas are named.
const examples = 10

// Standing says, by the ledger alone, which objects of a policy about containers, and of
// what comes along with them, have too few confirmed replicas, at which regions and since
// when: of what the last passes saw at the source. It reads every record of them once, page by page, and asks nobody,
// so that it may be called on a ledger that is only read. now judges which regions are
// replaced.
func Standing(ctx context.Context, l *store.Ledger, p policies.Policy) (policies.Standing, error) {
	j := policies.NewJudging(p, examples)
	groups, err := routesOf(l, p)
	if err != nil {
		return policies.Standing{}, err
	}
	out, err := replacedBy(l, p)
	if err != nil {
		return policies.Standing{}, err
	}
	excused := slices.Contains(p.Accept, report.KindCannot)
	for _, g := range groups {
		at := p.Placed(g.placed, out)
		for after := ""; ; {
			if err := ctx.Err(); err != nil {
				return policies.Standing{}, err
			}
			page, err := l.Page(g.place.ID, after, "", g.prefix, store.MaxPage)
			if err != nil {
				return policies.Standing{}, err
			}
			if len(page) == 0 {
				break
			}
			for i := range page {
				if o := &page[i]; o.Missing == 0 {
					g.judge(j, o, at, out, excused)
				}
			}
			after = page[len(page)-1].Name
		}
	}
	return j.Standing(), nil
}

// routeGroup is one container of a policy, or one that comes along, with its routes.
type routeGroup struct {
	place  store.PlaceInfo
	prefix string
	dest   string // the container's name at the destinations
	placed string // the container that says which regions have it
	routes []store.RouteInfo
}

// routesOf finds what the ledger has of a policy's containers and of those that come along
// with them, by container.
func routesOf(l *store.Ledger, p policies.Policy) ([]*routeGroup, error) {
	places, err := l.Places()
	if err != nil {
		return nil, err
	}
	routes, err := l.Routes()
	if err != nil {
		return nil, err
	}
	projects := map[string]string{}
	for _, region := range append([]string{p.From}, p.To...) {
		text, ok, err := l.Note("identity/" + region)
		if err != nil {
			return nil, err
		}
		var id transport.Identity
		if ok {
			if err := json.Unmarshal(text, &id); err != nil {
				return nil, fmt.Errorf("read the identity of region %s: %w", region, err)
			}
			projects[region] = id.Project
		}
	}
	var out []*routeGroup
	here := map[string]store.PlaceInfo{}
	for _, pl := range places {
		if pl.Region != p.From || pl.Project != projects[p.From] {
			continue
		}
		here[pl.Container] = pl
		if !p.Selects(pl.Container) {
			continue
		}
		if dest, err := p.Destination(pl.Container); err == nil { // else a name too long, which a pass reports
			out = append(out, &routeGroup{place: pl, prefix: p.Prefix, dest: dest, placed: pl.Container})
		}
	}
	for i := 0; i < len(out); i++ { // what comes along may have others come along
		list, err := l.Companions(out[i].place.ID)
		if err != nil {
			return nil, err
		}
		for _, c := range list {
			if g := out[i].companion(p, here, c); g != nil && !slices.ContainsFunc(out, func(o *routeGroup) bool { return o.covers(p, g) }) {
				out = append(out, g)
			}
		}
	}
	for _, g := range out {
		for _, r := range routes {
			to := r.Route.To
			if r.From == g.place.ID && r.FromPrefix == g.prefix && r.ToPrefix == g.prefix && to.Container == g.dest && slices.Contains(p.To, to.Region) && to.Project == projects[to.Region] {
				g.routes = append(g.routes, r)
			}
		}
	}
	return slices.DeleteFunc(out, func(g *routeGroup) bool { return len(g.routes) == 0 }), nil
}

// companion is what comes along with a group; nil if the ledger has nothing of it.
func (g *routeGroup) companion(p policies.Policy, here map[string]store.PlaceInfo, c store.Companion) *routeGroup {
	pl, ok := here[c.Container]
	if !ok {
		return nil
	}
	above := pass{job: Job{Policy: p, From: Side{Container: g.place.Container}}}
	return &routeGroup{place: pl, prefix: c.Prefix, dest: above.alongName(&dest{side: Side{Container: g.dest}}, c.Container), placed: g.placed}
}

// covers reports whether all that another group counts is counted here.
func (g *routeGroup) covers(p policies.Policy, o *routeGroup) bool {
	return g.place.ID == o.place.ID && strings.HasPrefix(o.prefix, g.prefix) && (p.Place == nil || g.placed == o.placed)
}

// replacedBy are the regions that the last pass left out.
func replacedBy(l *store.Ledger, p policies.Policy) (map[string]bool, error) {
	out := map[string]bool{}
	if p.Place == nil {
		return out, nil
	}
	for _, region := range p.To {
		o, err := outageOf(l, region)
		if err != nil {
			return nil, err
		}
		out[region] = o.Out(p.Place.ReplaceAfter)
	}
	return out, nil
}

// judge adds one object. Copies at a region that is replaced count only where no other
// could take its place.
func (g *routeGroup) judge(j *policies.Judging, o *store.Object, at []string, out map[string]bool, excused bool) {
	h := policies.Held{Container: g.place.Container, Name: o.Name, Since: microTime(o.Version.Modified).UTC()}
	var lost int64
	for _, r := range g.routes {
		region := r.Route.To.Region
		rep, ok := o.Replica(r.ID)
		if !ok || rep.Version != o.Version || out[region] && !slices.Contains(at, region) {
			continue
		}
		switch rep.State {
		case store.Confirmed:
			h.Regions = append(h.Regions, region)
		case store.Lost:
			lost = max(lost, rep.Confirmed)
		case store.Cannot:
			if excused {
				return
			}
		}
	}
	if lost != 0 && microTime(lost).After(h.Since) {
		h.Since = microTime(lost).UTC() // it had them until then
	}
	j.Add(h, at)
}

// stand adds to a count of replicas what the ledger knows of those that are lacking.
func (e *Engine) stand(ctx context.Context, p policies.Policy, r *report.Replicas) error {
	if r.Satisfied || p.IsAdHoc() {
		return nil
	}
	known, err := Replicas(ctx, e.o.Ledger, p)
	if err != nil {
		return err
	}
	r.Since, r.Lacking, r.Oldest = known.Since, known.Lacking, known.Oldest
	return nil
}

// Replicas is a Standing as reports have it.
func Replicas(ctx context.Context, l *store.Ledger, p policies.Policy) (report.Replicas, error) {
	s, err := Standing(ctx, l, p)
	if err != nil {
		return report.Replicas{}, err
	}
	r := report.Replicas{Wanted: s.Needed, Objects: s.Objects, ByCount: s.ByCount, Short: s.Short, Satisfied: s.Satisfied,
		Since: s.Since, Lacking: map[string]report.Lacking{}, Oldest: []report.Wanting{}}
	for region, x := range s.Lacking {
		r.Lacking[region] = report.Lacking{Objects: x.Objects, Since: x.Since}
	}
	for _, x := range s.Oldest {
		r.Oldest = append(r.Oldest, report.Wanting{Container: x.Container, Name: x.Name, Since: x.Since, Lacks: x.Lacks})
	}
	return r, nil
}

// sinceText is " since TIME" where that is known.
func sinceText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return ", the first of them since " + t.UTC().Format("2006-01-02 15:04:05") + " UTC"
}
