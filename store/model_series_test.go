package store

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func (m *model) updateSeries(r []RouteInfo, p PlaceID, name string, fn func(*Series, bool) bool) {
	s, ok := at(m.Series, p)[name]
	s = cloneSeries(s)
	s.Name = name
	if fn(&s, ok) && len(s.Versions) > 0 {
		m.Series[p][name] = s
	} else {
		delete(m.Series[p], name)
	}
	m.settle(r, p, name)
}

// settle drops the needs that nothing speaks of any more, on all routes from a place.
func (m *model) settle(routes []RouteInfo, p PlaceID, name string) {
	for _, r := range routes {
		if r.From == p && !m.onRoute(r, name) {
			delete(m.Needs[r.ID], name)
		}
	}
}

func (m *model) onRoute(r RouteInfo, name string) bool {
	_, intent := m.Intents[r.ID][name]
	o := m.Objects[r.From][name]
	_, replica := o.Replica(r.ID)
	s := m.Series[r.From][name]
	return intent || replica || slices.Contains(s.routes(), r.ID)
}

// modelNeeds are the needs that the machine uses; the last one never.
func modelNeeds() (out []Need) {
	for i := range 9 {
		out = append(out, NeedOf("segments", fmt.Sprint(i)))
	}
	return out
}

// genNeeds gives nil, none or some, which a Confirmation tells apart.
func genNeeds(t *rapid.T) []Need {
	if rapid.Bool().Draw(t, "unsaid") {
		return nil
	}
	all := modelNeeds()
	return rapid.SliceOfN(rapid.SampledFrom(all[:len(all)-1]), 0, 5).Draw(t, "needs")
}

// genSeries makes a valid series: Swift's ids ascend, others lie anywhere.
func genSeries(t *rapid.T, name string, routes []RouteID) Series {
	s := Series{Name: name}
	stamp, latest := rapid.Int64Range(0, 170_000_000_000_000).Draw(t, "first"), rapid.IntRange(0, 6).Draw(t, "latest")
	for i := range rapid.IntRange(0, 5).Draw(t, "versions") {
		v := SeriesVersion{ID: fmt.Sprintf("%010d.%05d", stamp/100_000, stamp%100_000), Version: genVersion(t), Size: rapid.Int64().Draw(t, "size"),
			Marker: rapid.Bool().Draw(t, "marker"), Latest: i == latest}
		stamp += rapid.Int64Range(1, 1<<40).Draw(t, "step")
		if rapid.Bool().Draw(t, "otherID") {
			v.ID = fmt.Sprint(rapid.SampledFrom([]string{"null", "", "1790000000.12345_0000000000000001-", "v\xff"}).Draw(t, "id"), i)
		}
		if rapid.Bool().Draw(t, "near") {
			v.Version.Modified = stamp * 10
		}
		if rapid.Bool().Draw(t, "hasMeta") {
			copy(v.Meta[:], rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "meta"))
		}
		for _, r := range routes {
			if !rapid.Bool().Draw(t, "hasReplica") {
				continue
			}
			x := SeriesReplica{Route: r, State: rapid.SampledFrom([]ReplicaState{Confirmed, Conflict, Cannot, Lost}).Draw(t, "state"),
				ID:   rapid.SampledFrom([]string{"", fmt.Sprintf("%010d.%05d", i, 99_999), fmt.Sprint("id", i)}).Draw(t, "farID"),
				Note: rapid.SampledFrom([]string{"", "too large"}).Draw(t, "note")}
			if rapid.Bool().Draw(t, "otherETag") {
				x.ETag = genTag(t)
			}
			if rapid.Bool().Draw(t, "times") {
				x.Written, x.Confirmed = rapid.Int64().Draw(t, "written"), rapid.Int64().Draw(t, "confirmed")
			}
			v.SetReplica(x)
		}
		s.Versions = append(s.Versions, v)
	}
	return s
}

// seriesMutation is a change that does the same whenever it is run.
func (m *machine) seriesMutation(rt *rapid.T, p PlaceID, name string) func(*Series, bool) bool {
	rs := m.routesFrom(p)
	switch rapid.IntRange(0, 5).Draw(rt, "mutation") {
	case 0:
		return func(*Series, bool) bool { return false }
	case 1: // the oldest goes
		return func(s *Series, exists bool) bool {
			if exists {
				s.Versions = s.Versions[1:]
			}
			return true
		}
	case 2: // a route is forgotten
		r := rapid.SampledFrom(rs).Draw(rt, "route")
		return func(s *Series, exists bool) bool {
			for i := range s.Versions {
				s.Versions[i].DropReplica(r)
			}
			return exists
		}
	case 3: // the youngest is lost
		r := rapid.SampledFrom(rs).Draw(rt, "route")
		return func(s *Series, exists bool) bool {
			if exists {
				s.Versions[len(s.Versions)-1].SetReplica(SeriesReplica{Route: r, State: Lost, Note: "gone"})
			}
			return exists
		}
	default:
		return setSeries(genSeries(rt, name, rs))
	}
}

func (m *machine) routesFrom(p PlaceID) (out []RouteID) {
	for _, r := range m.routes {
		if r.From == p {
			out = append(out, r.ID)
		}
	}
	return out
}

// seriesActions are those of the machine for what format 2 brought.
func (m *machine) seriesActions(route func(*rapid.T) RouteInfo, name *rapid.Generator[string]) map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"series": func(rt *rapid.T) {
			p, n := route(rt).From, name.Draw(rt, "name")
			fn := m.seriesMutation(rt, p, n)
			m.l.UpdateSeries(p, n, fn)
			m.change(func(x *model) { x.updateSeries(m.routes, p, n, fn) })
		},
		"confirm series": func(rt *rapid.T) {
			r, n := route(rt), name.Draw(rt, "name")
			fn, needs := m.seriesMutation(rt, r.From, n), genNeeds(rt)
			m.l.Confirm(Confirmation{Place: r.From, Route: r.ID, Name: n, Series: fn, Needs: needs})
			m.change(func(x *model) {
				x.dropIntent(r.ID, n)
				x.updateSeries(m.routes, r.From, n, fn)
				if needs != nil {
					x.setNeeds(r.ID, n, needs)
				}
				x.settle(m.routes, r.From, n)
			})
		},
		"needs": func(rt *rapid.T) {
			r, n, needs := route(rt), name.Draw(rt, "name"), genNeeds(rt)
			if !m.now().onRoute(r, n) {
				needs = nil // others would stay, and Check would say so
			}
			m.l.SetNeeds(r.ID, n, needs)
			m.change(func(x *model) { x.setNeeds(r.ID, n, needs) })
		},
		"companion": func(rt *rapid.T) {
			p := route(rt).From
			c := Companion{rapid.SampledFrom([]string{"c", "c\x00", "cc"}).Draw(rt, "container"), rapid.SampledFrom([]string{"", "c", "\xff/"}).Draw(rt, "prefix")}
			if rapid.Bool().Draw(rt, "drop") {
				m.change(func(x *model) { delete(x.Along[p], c) })
				m.durable(m.l.DropCompanion(p, c))
				return
			}
			m.change(func(x *model) { at(x.Along, p)[c] = true })
			m.durable(m.l.AddCompanion(p, c))
		},
		"properties": func(rt *rapid.T) {
			r, x := route(rt).ID, props{[8]byte{byte(rapid.IntRange(0, 3).Draw(rt, "digest"))}, rapid.Int64().Draw(rt, "at")}
			m.change(func(m *model) { m.Props[r] = x })
			m.durable(m.l.PutProperties(r, x.Digest, x.At))
		},
	}
}

type props struct {
	Digest [8]byte
	At     int64
}

func (m *model) setNeeds(r RouteID, name string, needs []Need) {
	if len(needs) == 0 {
		delete(m.Needs[r], name)
		return
	}
	at(m.Needs, r)[name] = sortedNeeds(needs)
}

// readSeries is readAll's part for what format 2 brought.
func (m *model) readSeries(t failer, l *Ledger, places []PlaceInfo, routes []RouteInfo) {
	t.Helper()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("read: %v", err)
		}
	}
	for _, p := range places {
		for after := ""; ; {
			page, err := l.SeriesPage(p.ID, after, "", "", 2)
			ok(err)
			if len(page) == 0 {
				break
			}
			for _, s := range page {
				if s.Name <= after {
					t.Fatalf("%q comes after %q", s.Name, after)
				}
				after = s.Name
				at(m.Series, p.ID)[s.Name] = s
				one, there, err := l.Series(p.ID, s.Name)
				ok(err)
				if d := cmp.Diff(s, one); d != "" || !there {
					t.Fatalf("SeriesPage and Series differ at %q: %s", s.Name, d)
				}
			}
		}
		all, err := l.Companions(p.ID)
		ok(err)
		for _, c := range all {
			at(m.Along, p.ID)[c] = true
		}
		if len(all) != len(m.Along[p.ID]) {
			t.Fatalf("companions of place %d: %v", p.ID, all)
		}
	}
	for _, r := range routes {
		for _, name := range modelNames() {
			needs, err := l.Needs(r.ID, name)
			ok(err)
			if needs != nil {
				at(m.Needs, r.ID)[name] = needs
			}
		}
		want := map[Need]bool{}
		for _, needs := range m.Needs[r.ID] {
			for _, n := range needs {
				want[n] = true
			}
		}
		got, err := l.Needed(context.Background(), []RouteID{r.ID}, modelNeeds())
		ok(err)
		if !maps.Equal(got, want) {
			t.Fatalf("needed on route %d: %v, want %v", r.ID, got, want)
		}
		digest, at, there, err := l.Properties(r.ID)
		ok(err)
		if there {
			m.Props[r.ID] = props{digest, at}
		}
	}
}
