package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// pointActions are those of the machine for what format 3 brought.
func (m *machine) pointActions(route func(*rapid.T) RouteInfo, name *rapid.Generator[string]) map[string]func(*rapid.T) {
	ctx := context.Background()
	id := rapid.SampledFrom([]string{"a", "a\x00", "b", "ä"})
	return map[string]func(*rapid.T){
		"point": func(rt *rapid.T) {
			n := id.Draw(rt, "id")
			if rapid.IntRange(0, 3).Draw(rt, "what") == 0 {
				m.change(func(x *model) { delete(x.Points, n) })
				m.durable(m.l.UpdatePoint(ctx, n, func(*Point, bool) bool { return false }))
				return
			}
			p := genPoint(rt, n)
			for i := range p.Copies {
				p.Copies[i].Parent = "" // Check would ask for it
			}
			m.change(func(x *model) { x.Points[n] = p })
			m.durable(m.l.UpdatePoint(ctx, n, setPoint(p)))
		},
		"work": func(rt *rapid.T) {
			w := Work{ID: id.Draw(rt, "id"), Kind: "k", Region: "r", Began: rapid.Int64Range(0, 2).Draw(rt, "began"), Data: rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(rt, "data")}
			if rapid.Bool().Draw(rt, "drop") {
				m.change(func(x *model) { delete(x.Works, w.ID) })
				m.durable(m.l.DropWork(ctx, w.ID))
				return
			}
			m.change(func(x *model) { x.Works[w.ID] = w })
			m.durable(m.l.PutWork(ctx, w))
		},
		"drill": func(rt *rapid.T) {
			d := Drill{ID: id.Draw(rt, "id"), Policy: rapid.SampledFrom([]string{"p", "q"}).Draw(rt, "policy"), Began: rapid.Int64Range(0, 2).Draw(rt, "began")}
			m.change(func(x *model) { x.Drills[d.ID] = d })
			m.durable(m.l.PutDrill(ctx, d))
		},
		"forget": func(rt *rapid.T) {
			p, names := route(rt).From, rapid.SliceOfN(name, 0, 3).Draw(rt, "names")
			m.change(func(x *model) {
				for _, n := range names {
					for _, r := range m.routesFrom(p) {
						x.dropIntent(r, n)
					}
					delete(x.Objects[p], n)
					x.settle(m.routes, p, n)
				}
			})
			err := m.l.ForgetObjects(ctx, p, names)
			if err == nil && len(names) == 0 {
				m.history = m.history[:len(m.history)-1] // nothing was asked for, nothing is promised
				return
			}
			m.durable(err)
		},
	}
}

// readPoints is readAll's part for what format 3 brought.
func (m *model) readPoints(t failer, l *Ledger) {
	t.Helper()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("read: %v", err)
		}
	}
	all, err := l.Points("")
	ok(err)
	of := map[string][]Point{}
	for _, p := range all {
		m.Points[p.ID] = p
		of[p.Volume.ID] = append(of[p.Volume.ID], p)
		one, there, err := l.Point(p.ID)
		ok(err)
		if d := cmp.Diff(p, one); d != "" || !there {
			t.Fatalf("Points and Point differ at %q: %s", p.ID, d)
		}
	}
	for _, v := range []string{"v", "vol", "v\x00", "none"} {
		got, err := l.Points(v)
		ok(err)
		if d := cmp.Diff(of[v], got, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("points of %q: %s", v, d)
		}
	}
	works, err := l.Works()
	ok(err)
	if !slices.IsSortedFunc(works, func(a, b Work) int { return int(a.Began - b.Began) }) {
		t.Fatalf("works not by their beginning: %v", works)
	}
	for _, w := range works {
		m.Works[w.ID] = w
	}
	drills, err := l.Drills("")
	ok(err)
	n := 0
	for _, policy := range []string{"p", "q"} {
		of, err := l.Drills(policy)
		ok(err)
		n += len(of)
	}
	for _, d := range drills {
		m.Drills[d.ID] = d
	}
	if n != len(drills) || n != len(m.Drills) {
		t.Fatalf("%d drills by policy, %d in all: %s", n, len(drills), fmt.Sprint(drills))
	}
}
