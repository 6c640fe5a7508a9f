package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"farshore/policies"
	"farshore/replicator"
	"farshore/replicator/control"
	"farshore/replicator/daemon"
	"farshore/replicator/page"
	"farshore/replicator/report"
	"farshore/replicator/volumes"
	"farshore/store"
	"farshore/transport"
)

// How much of what the ledger has is drawn: the rest is counted.
const (
	shownVolumes = 20
	shownPoints  = 200 // of a volume
	shownDrills  = 60
)

// standing is what the ledger says of the policies, as it was read at a time.
type standing struct {
	at       time.Time
	holdings map[string][]page.Holding // of containers, by policy
	points   map[string]*page.Points
	copies   map[string]report.PointSummary
	drills   map[string][]page.Drill
}

// view is what the page shows now; b.mu is held.
func (b *wall) view(now time.Time) (page.View, error) {
	st := b.eyes.session.Status()
	if age := now.Sub(b.seen.at); age > ledgerAge || age < 0 {
		seen, err := readStanding(b.eyes.session.ledger, now)
		if err != nil {
			return page.View{}, err
		}
		b.seen = seen
	}
	host, _ := os.Hostname() // none is none
	v := page.View{Now: now, Version: st.Version, Host: host, PID: st.PID, Began: st.Began, Ledger: st.Ledger, Stopping: st.Stopping}
	if st.TotalLimit > 0 {
		v.Limit = policies.Rate(st.TotalLimit).String()
	}
	hosts := map[string]int{}
	for _, h := range b.hooks.Standings() {
		hosts[h.Host]++
	}
	for _, h := range b.hooks.Standings() {
		name := h.Host
		if hosts[name] > 1 { // the rest of the address may be secret
			name += " (" + h.Name + ")"
		}
		v.Hooks = append(v.Hooks, page.Hook{Host: name, Waiting: h.Waiting, Delivered: h.Delivered, Dropped: h.Dropped, Error: h.Error, Since: h.Since})
	}
	b.eyes.mu.Lock()
	defer b.eyes.mu.Unlock()
	x := b.eyes.crew
	if x == nil {
		return v, nil
	}
	v.Regions = pageRegions(x, st.Snapshot)
	for _, t := range x.work.tasks {
		p, err := b.policy(t.policy, x, st)
		if err != nil {
			return page.View{}, err
		}
		v.Policies = append(v.Policies, p)
	}
	return v, nil
}

func pageRegions(x *crew, s report.Snapshot) []page.Region {
	out := []page.Region{}
	for _, name := range sortedNames(x.work.regions) {
		r := page.Region{Name: name}
		r.Up = !x.links.mute(name)
		for _, g := range x.links.gates {
			if st := g.Stats(); st.Region == name {
				r.RequestsLimit = int(st.Limit)
			}
		}
		for _, y := range s.Regions {
			if y.Region == name {
				r.Active, r.Copied, r.CopiedBytes, r.Failed, r.Retries = y.Active, y.DoneObjects, y.DoneBytes, y.Failed, y.Retries
				r.Waiting, r.WaitingBytes = y.WantObjects-y.DoneObjects, y.WantBytes-y.DoneBytes
			}
		}
		out = append(out, r)
	}
	return out
}

// policy is one policy's part.
func (b *wall) policy(p policies.Policy, x *crew, st control.Status) (page.Policy, error) {
	out := page.Policy{Name: p.Name, From: p.From, To: p.To, Wanted: p.Replicas, What: selects(p), Volumes: p.Volumes != nil, RPO: p.RPO,
		Points: b.seen.points[p.Name], Drills: b.seen.drills[p.Name]}
	for _, t := range st.Tasks {
		if t.Policy == p.Name {
			out.Tasks = append(out.Tasks, page.Task{Kind: t.Kind, Running: t.Running, Paused: t.Paused, Asked: t.Asked, Began: t.Began, Ended: t.Ended, Next: t.Next, Errors: t.Errors, Error: t.Error})
		}
	}
	var counted time.Time
	for _, kind := range []daemon.Kind{daemon.Pass, daemon.Audit, daemon.Drill} {
		r, ok, err := b.runs.get(p.Name, kind)
		if err != nil {
			return out, err
		}
		if !ok {
			continue
		}
		out.Runs = append(out.Runs, page.Run{Kind: string(kind), Began: r.Began, Ended: r.Ended, OK: r.OK, Error: r.Error, Facts: r.Facts, Findings: r.Findings, More: r.More})
		if r.Replicas != nil && r.Ended.After(counted) {
			out.Replicas, counted = r.Replicas, r.Ended
		}
	}
	if p.Volumes != nil {
		out.Holdings = pointHoldings(b.seen.copies[p.Name], p)
		if out.Points == nil {
			out.Points = &page.Points{}
		}
	} else {
		out.Holdings = containerHoldings(b.seen.holdings[p.Name], p)
	}
	for i := range out.Holdings {
		out.Holdings[i].Up = !x.links.mute(out.Holdings[i].Region)
	}
	for _, l := range st.Lag {
		if l.Policy == p.Name {
			day, long := b.past.of(p.Name, l.Region)
			out.Lag = append(out.Lag, page.Lag{Lag: l, Samples: day, Longer: long})
		}
	}
	slices.SortFunc(out.Lag, func(a, b page.Lag) int { return cmp.Compare(a.Region, b.Region) })
	return out, nil
}

// selects is what a policy is about, in words.
func selects(p policies.Policy) string {
	v := p.Volumes
	if v == nil {
		text := "containers " + strings.Join(p.Containers, ", ")
		if p.Prefix != "" {
			text += ", objects " + transport.PrintName(p.Prefix) + "…"
		}
		return text
	}
	switch {
	case v.All:
		return "all volumes"
	case len(v.Names) > 0:
		return "volumes " + strings.Join(v.Names, ", ")
	case len(v.IDs) > 0:
		return "volumes " + strings.Join(v.IDs, ", ")
	}
	var says []string
	for _, k := range sortedNames(v.Metadata) {
		says = append(says, k+"="+v.Metadata[k])
	}
	return "volumes with " + strings.Join(says, ", ")
}

// containerHoldings are those of the policy's regions. Where only some of the regions hold
// an object, no region's own count can be complete.
func containerHoldings(all []page.Holding, p policies.Policy) []page.Holding {
	out := []page.Holding{}
	for _, h := range all {
		if !slices.Contains(p.To, h.Region) {
			continue
		}
		if p.Replicas < len(p.To) {
			h.All, h.Of = max(h.Of, 0), -1
		}
		out = append(out, h)
	}
	return out
}

func pointHoldings(s report.PointSummary, p policies.Policy) []page.Holding {
	out := []page.Holding{}
	for _, r := range s.Regions {
		if !slices.Contains(p.To, r.Region) {
			continue
		}
		h := page.Holding{Region: r.Region, Has: int64(r.Restorable), Of: int64(r.Restorable + r.NotImported + r.Shipping + r.Lost), Newest: r.Newest}
		h.Trouble = joined([]string{"lost", "not imported"}, []int64{int64(r.Lost), int64(r.NotImported)}, 0)
		out = append(out, h)
	}
	return out
}

// readStanding reads what the ledger knows of all policies.
func readStanding(l *store.Ledger, now time.Time) (standing, error) {
	out := standing{at: now, points: map[string]*page.Points{}, copies: map[string]report.PointSummary{}, drills: map[string][]page.Drill{}}
	var err error
	if out.holdings, err = readHoldings(l); err != nil {
		return out, err
	}
	points, err := l.Points("")
	if err != nil {
		return out, err
	}
	drills, err := l.Drills("")
	if err != nil {
		return out, err
	}
	for _, s := range volumes.Summary(points, drills, now) {
		out.copies[s.Policy] = s
	}
	for _, x := range points {
		addPoint(out.points, x)
	}
	for _, p := range out.points {
		p.More = max(0, len(p.Volumes)-shownVolumes)
		p.Volumes = p.Volumes[:len(p.Volumes)-p.More]
	}
	for _, d := range drills {
		var r struct {
			RTO     float64 `json:"rto_seconds"`
			RPO     float64 `json:"rpo_seconds"`
			Seconds float64 `json:"seconds"`
		}
		if err := json.Unmarshal(d.Report, &r); err != nil {
			return out, fmt.Errorf("read the report of drill %s: %w", d.ID, err)
		}
		all := append(out.drills[d.Policy], page.Drill{ID: d.ID, Began: micros(d.Began), OK: d.OK, RTO: r.RTO, RPO: r.RPO, Seconds: r.Seconds})
		out.drills[d.Policy] = all[max(0, len(all)-shownDrills):]
	}
	return out, nil
}

func micros(t int64) time.Time { return time.UnixMicro(t).UTC() }

// addPoint adds a point to its policy's volumes; they come the oldest first.
func addPoint(all map[string]*page.Points, x store.Point) {
	if x.Made == 0 {
		return // its backup is not complete
	}
	p := all[x.Policy]
	if p == nil {
		p = &page.Points{}
		all[x.Policy] = p
	}
	i := slices.IndexFunc(p.Volumes, func(v page.Volume) bool { return v.ID == x.Volume.ID })
	if i < 0 {
		i = len(p.Volumes)
		p.Volumes = append(p.Volumes, page.Volume{ID: x.Volume.ID})
	}
	v := &p.Volumes[i]
	v.Name = x.Volume.Name
	pt := page.Point{ID: x.ID, Taken: micros(x.Taken), Kind: "full"}
	if x.Parent != "" {
		pt.Kind = "increment"
	}
	for _, c := range x.Copies {
		pt.Regions = append(pt.Regions, page.PointAt{Region: c.Region, State: string(c.State), Proven: c.Proof.At != 0 && c.Proof.OK})
	}
	if v.Points = append(v.Points, pt); len(v.Points) > shownPoints {
		v.Points = v.Points[1:]
		v.More++
	}
}

// readHoldings counts what each region has of each policy of containers.
func readHoldings(l *store.Ledger) (map[string][]page.Holding, error) {
	places, err := l.Places()
	if err != nil {
		return nil, err
	}
	present := map[store.PlaceID]int64{}
	for _, p := range places {
		present[p.ID] = p.Present
	}
	passes, err := l.Passes()
	if err != nil {
		return nil, err
	}
	type walk struct {
		place  store.PlaceID
		prefix string
	}
	owners := map[walk][]string{}
	for _, p := range passes {
		if policy, id, prefix, ok := replicator.PassOf(p.Key); ok {
			w := walk{id, prefix}
			owners[w] = append(owners[w], policy)
		}
	}
	routes, err := l.Routes()
	if err != nil {
		return nil, err
	}
	sums := map[string]map[string]*page.Holding{}
	for _, r := range routes {
		for _, policy := range owners[walk{r.From, r.FromPrefix}] {
			if sums[policy] == nil {
				sums[policy] = map[string]*page.Holding{}
			}
			h := sums[policy][r.Route.To.Region]
			if h == nil {
				h = &page.Holding{Region: r.Route.To.Region}
				sums[policy][h.Region] = h
			}
			h.Has += r.Confirmed
			if r.FromPrefix != "" || h.Of < 0 { // the ledger counts whole containers
				h.Of = -1
			} else {
				h.Of += present[r.From]
			}
		}
	}
	out := map[string][]page.Holding{}
	for policy, regions := range sums {
		for _, name := range sortedNames(regions) {
			out[policy] = append(out[policy], *regions[name])
		}
	}
	return out, nil
}
