package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// model is what a ledger should say, kept in maps.
type model struct {
	Objects map[PlaceID]map[string]Object
	Intents map[RouteID]map[string]Intent
	Chunks  map[RouteID]map[string]map[int]ChunkRecord
	Hashes  map[RouteID]map[string]HashState
	Passes  map[string]Pass
	Notes   map[string]string
	Listed  map[RouteID]time.Time
	Series  map[PlaceID]map[string]Series
	Needs   map[RouteID]map[string][]Need
	Along   map[PlaceID]map[Companion]bool
	Props   map[RouteID]props
	Points  map[string]Point
	Works   map[string]Work
	Drills  map[string]Drill
}

func newModel() *model {
	return &model{map[PlaceID]map[string]Object{}, map[RouteID]map[string]Intent{}, map[RouteID]map[string]map[int]ChunkRecord{},
		map[RouteID]map[string]HashState{}, map[string]Pass{}, map[string]string{}, map[RouteID]time.Time{},
		map[PlaceID]map[string]Series{}, map[RouteID]map[string][]Need{}, map[PlaceID]map[Companion]bool{}, map[RouteID]props{},
		map[string]Point{}, map[string]Work{}, map[string]Drill{}}
}

// at gives m[k], made when it is not there.
func at[K comparable, L comparable, V any](m map[K]map[L]V, k K) map[L]V {
	if m[k] == nil {
		m[k] = map[L]V{}
	}
	return m[k]
}

func (m *model) clone() *model {
	c := newModel()
	for p, os := range m.Objects {
		c.Objects[p] = maps.Clone(os) // records are replaced, never changed in place
	}
	for r, is := range m.Intents {
		c.Intents[r] = maps.Clone(is)
	}
	for r, ns := range m.Chunks {
		for n, cs := range ns {
			at(c.Chunks, r)[n] = maps.Clone(cs)
		}
	}
	for r, hs := range m.Hashes {
		c.Hashes[r] = maps.Clone(hs)
	}
	for p, ss := range m.Series {
		c.Series[p] = maps.Clone(ss)
	}
	for r, ns := range m.Needs {
		c.Needs[r] = maps.Clone(ns)
	}
	for p, cs := range m.Along {
		c.Along[p] = maps.Clone(cs)
	}
	c.Props = maps.Clone(m.Props)
	c.Points, c.Works, c.Drills = maps.Clone(m.Points), maps.Clone(m.Works), maps.Clone(m.Drills)
	c.Passes, c.Notes, c.Listed = maps.Clone(m.Passes), maps.Clone(m.Notes), maps.Clone(m.Listed)
	return c
}

func (m *model) update(p PlaceID, name string, fn func(*Object, bool) bool) {
	o, ok := at(m.Objects, p)[name]
	o.Name, o.Replicas = name, slices.Clone(o.Replicas)
	if fn(&o, ok) {
		m.Objects[p][name] = o
	} else {
		delete(m.Objects[p], name)
	}
}

func (m *model) dropIntent(r RouteID, name string) {
	delete(m.Intents[r], name)
	delete(m.Chunks[r], name)
	delete(m.Hashes[r], name)
}

func (m *model) addIntent(in Intent) {
	if old, ok := m.Intents[in.Route][in.Name]; ok && (old.Version != in.Version || old.Size != in.Size || old.Layout != in.Layout) {
		m.dropIntent(in.Route, in.Name)
	}
	at(m.Intents, in.Route)[in.Name] = in
}

// readAll reads everything a ledger says into a model, through the public verbs.
func readAll(t failer, l *Ledger, routes []RouteInfo) *model {
	t.Helper()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("read: %v", err)
		}
	}
	m := newModel()
	places, err := l.Places()
	ok(err)
	for _, p := range places {
		for after := ""; ; {
			page, err := l.Page(p.ID, after, "", "", 3)
			ok(err)
			for _, o := range page {
				at(m.Objects, p.ID)[o.Name] = o
				one, there, err := l.Get(p.ID, o.Name)
				ok(err)
				if d := cmp.Diff(o, one); d != "" || !there {
					t.Fatalf("Page and Get differ at %q: %s", o.Name, d)
				}
			}
			if len(page) < 3 {
				break
			}
			after = page[2].Name
		}
		var missing, bad []string
		var present int64
		for _, name := range slices.Sorted(maps.Keys(m.Objects[p.ID])) {
			o := m.Objects[p.ID][name]
			if o.Missing != 0 {
				missing = append(missing, name)
			} else {
				present++
			}
			if slices.ContainsFunc(o.Replicas, func(r Replica) bool { return r.State != Confirmed }) {
				bad = append(bad, name)
			}
		}
		if p.Objects != int64(len(m.Objects[p.ID])) || p.Present != present {
			t.Fatalf("place %d says %d objects, %d present; there are %d, %d", p.ID, p.Objects, p.Present, len(m.Objects[p.ID]), present)
		}
		got, err := l.MissingPage(p.ID, "", 0)
		ok(err)
		if d := cmp.Diff(missing, names(got)); d != "" {
			t.Fatalf("missing of place %d: %s", p.ID, d)
		}
		got, err = l.Troubled(p.ID, "", 0)
		ok(err)
		if d := cmp.Diff(bad, names(got)); d != "" {
			t.Fatalf("troubled of place %d: %s", p.ID, d)
		}
	}
	for _, r := range routes {
		info, there, err := l.FindRoute(r.Route)
		ok(err)
		var confirmed int64
		for _, o := range m.Objects[r.From] {
			if x, has := o.Replica(r.ID); has && x.State == Confirmed && x.Version == o.Version {
				confirmed++
			}
		}
		if !there || info.ID != r.ID || info.Confirmed != confirmed {
			t.Fatalf("route %d: got %+v (%v), want %d confirmed", r.ID, info, there, confirmed)
		}
		if !info.Listed.IsZero() {
			m.Listed[r.ID] = info.Listed
		}
		intents, err := l.Intents(r.ID, "", 0)
		ok(err)
		for _, in := range intents {
			at(m.Intents, r.ID)[in.Name] = in
		}
		for _, name := range modelNames() {
			chunks, h, err := l.Chunks(r.ID, name)
			ok(err)
			last := -1
			for _, c := range chunks {
				if c.Index <= last {
					t.Fatalf("chunks of %q not ascending: %v", name, chunks)
				}
				last = c.Index
				at(at(m.Chunks, r.ID), name)[c.Index] = c
			}
			if h.Chunks != 0 || h.MD5 != nil || h.SHA256 != nil {
				at(m.Hashes, r.ID)[name] = h
			}
		}
	}
	passes, err := l.Passes()
	ok(err)
	for _, p := range passes {
		m.Passes[p.Key] = p
	}
	keys, notes, err := l.Notes("n")
	ok(err)
	for i, k := range keys {
		v, there, err := l.Note(k)
		if ok(err); !there || !bytes.Equal(v, notes[i]) {
			t.Errorf("note %s is %q, there %v, and %q among all", k, v, there, notes[i])
		}
		m.Notes[k] = string(v)
	}
	if others, _, err := l.Notes("n1x"); err != nil || len(others) > 0 {
		t.Errorf("notes that nobody made: %q, %v", others, err)
	}
	m.readSeries(t, l, places, routes)
	m.readPoints(t, l)
	return m
}

func modelNames() []string {
	return []string{"a", "a\x00", "a\x00\x00\x00\x00\x00", "a/b", "b", "ä", "a\u0308", "\xff\xfe", "%41", "z" + strings.Repeat("y", 1023), "./c", "//d"}
}

// prune takes out inner maps without entries, which say the same as none at all.
func prune[K comparable, L comparable, V any](m map[K]map[L]V) {
	maps.DeleteFunc(m, func(_ K, v map[L]V) bool { return len(v) == 0 })
}

func equal(a, b *model) string {
	a, b = a.clone(), b.clone()
	for _, m := range []*model{a, b} {
		for _, c := range m.Chunks {
			prune(c)
		}
		prune(m.Objects)
		prune(m.Intents)
		prune(m.Chunks)
		prune(m.Hashes)
		prune(m.Series)
		prune(m.Needs)
		prune(m.Along)
	}
	return cmp.Diff(a, b, cmpopts.EquateEmpty())
}

// machine drives a ledger and models side by side. A crash may lose what was not
// durable, but only from the end: the ledger must then equal one of history's models.
type machine struct {
	t       failer
	path    string
	l       *Ledger
	routes  []RouteInfo
	history []*model // the last durable one first, then one after each change
	crashes *int
	crashIn int // commits until the hook fails; 0: never
	point   string
}

var errCrash = errors.New("crash")

func (m *machine) open() {
	l, err := Open(m.path, Options{NoSync: true, Hook: func(point string) error {
		if m.crashIn > 0 && point == m.point {
			if m.crashIn--; m.crashIn == 0 {
				*m.crashes++
				return errCrash
			}
		}
		return nil
	}})
	if err != nil {
		m.t.Fatalf("open: %v", err)
	}
	m.l = l
}

func (m *machine) now() *model { return m.history[len(m.history)-1] }

// change adds a state to history.
func (m *machine) change(fn func(*model)) {
	next := m.now().clone()
	fn(next)
	m.history = append(m.history, next)
}

// durable is called after a verb that promises durability returned.
func (m *machine) durable(err error) {
	if errors.Is(err, errCrash) {
		m.crashed()
		return
	}
	if err != nil {
		m.t.Fatalf("unexpected: %v", err)
	}
	m.history = m.history[len(m.history)-1:]
	if d := equal(m.now(), readAll(m.t, m.l, m.routes)); d != "" {
		m.t.Fatalf("after a durable verb (-model +ledger)\n%s", d)
	}
}

// crashed reopens after the hook's error and finds the state in history.
func (m *machine) crashed() {
	if _, _, err := m.l.Get(1, "a"); !errors.Is(err, errCrash) {
		m.t.Fatalf("a crashed ledger still reads: %v", err)
	}
	if err := m.l.Flush(context.Background()); !errors.Is(err, errCrash) {
		m.t.Fatalf("a crashed ledger still flushes: %v", err)
	}
	if err := m.l.Close(); !errors.Is(err, errCrash) {
		m.t.Fatalf("close does not tell: %v", err)
	}
	m.reborn()
}

// reborn opens the file after a crash and finds its state in history.
func (m *machine) reborn() {
	m.crashIn = 0
	mustCheck(m.t, m.path)
	m.open()
	got := readAll(m.t, m.l, m.routes)
	for _, h := range m.history {
		if equal(h, got) == "" {
			m.history = []*model{h}
			return
		}
	}
	m.t.Fatalf("after a crash the ledger is none of the %d states since the last durable one; last (-model +ledger)\n%s", len(m.history), equal(m.now(), got))
}

func TestLedgerBehavesLikeMaps(t *testing.T) {
	dir := t.TempDir()
	runs, crashes := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		m := &machine{t: rt, crashes: &crashes, path: fmt.Sprintf("%s/%d.db", dir, runs)}
		m.open()
		defer func() {
			_ = m.l.Close()
			mustCheck(rt, m.path)
		}()
		for _, r := range []Route{{From: paris("one"), To: lyon("one")}, {From: paris("one"), To: lyon("two"), ToPrefix: "p/"}, {From: lyon("one"), To: paris("back")}} {
			info, err := m.l.Route(r)
			if err != nil {
				rt.Fatalf("route: %v", err)
			}
			m.routes = append(m.routes, info)
		}
		m.history = []*model{newModel()}
		ctx := context.Background()
		name := rapid.SampledFrom(modelNames())
		anyRoute := rapid.Custom(func(t *rapid.T) RouteInfo { return rapid.SampledFrom(m.routes).Draw(t, "route") })
		mutation := func(rt *rapid.T, p PlaceID, name string) func(*Object, bool) bool {
			rs := m.routesFrom(p)
			switch rapid.IntRange(0, 4).Draw(rt, "mutation") {
			case 0:
				return func(*Object, bool) bool { return false }
			case 1:
				at := rapid.Int64Range(0, 3).Draw(rt, "missing")
				return func(o *Object, exists bool) bool { o.Missing = at; return exists }
			case 2:
				x := Replica{Route: rapid.SampledFrom(rs).Draw(rt, "route"), State: Lost, Note: "gone"}
				return func(o *Object, _ bool) bool { x.Version = o.Version; o.SetReplica(x); return true }
			default:
				return set(genObject(rt, name, rs))
			}
		}
		actions := map[string]func(*rapid.T){
			"update": func(rt *rapid.T) {
				p, n := anyRoute.Draw(rt, "of").From, name.Draw(rt, "name")
				fn := mutation(rt, p, n)
				m.l.Update(p, n, fn)
				m.change(func(x *model) { x.update(p, n, fn); x.settle(m.routes, p, n) })
			},
			"confirm": func(rt *rapid.T) {
				r, n := anyRoute.Draw(rt, "of"), name.Draw(rt, "name")
				fn, needs := mutation(rt, r.From, n), genNeeds(rt)
				m.l.Confirm(Confirmation{Place: r.From, Route: r.ID, Name: n, Apply: fn, Needs: needs})
				m.change(func(x *model) {
					x.dropIntent(r.ID, n)
					x.update(r.From, n, fn)
					if needs != nil {
						x.setNeeds(r.ID, n, needs)
					}
					x.settle(m.routes, r.From, n)
				})
			},
			"drop": func(rt *rapid.T) {
				r, n := anyRoute.Draw(rt, "of"), name.Draw(rt, "name")
				m.l.DropIntent(r.ID, n)
				m.change(func(x *model) { x.dropIntent(r.ID, n); x.settle(m.routes, r.From, n) })
			},
			"intents": func(rt *rapid.T) {
				var ins []Intent
				for range rapid.IntRange(1, 4).Draw(rt, "n") {
					in := genIntent(rt, anyRoute.Draw(rt, "of").ID, name.Draw(rt, "name"))
					if old, ok := m.now().Intents[in.Route][in.Name]; ok && rapid.Bool().Draw(rt, "again") {
						in = old
					}
					ins = append(ins, in)
				}
				m.change(func(x *model) {
					for _, in := range ins {
						x.addIntent(in)
					}
				})
				m.durable(m.l.AddIntents(ctx, ins))
			},
			"chunk": func(rt *rapid.T) {
				r, n := anyRoute.Draw(rt, "of").ID, name.Draw(rt, "name")
				if is := m.now().Intents[r]; len(is) > 0 && rapid.IntRange(0, 9).Draw(rt, "hit") > 0 {
					n = rapid.SampledFrom(slices.Sorted(maps.Keys(is))).Draw(rt, "name")
				}
				in, ok := m.now().Intents[r][n]
				c := ChunkRecord{Index: rapid.IntRange(0, max(0, in.Layout.Count()-1)).Draw(rt, "index"), MD5: [16]byte{byte(rapid.IntRange(0, 255).Draw(rt, "md5"))}}
				var h *HashState
				if rapid.Bool().Draw(rt, "hash") {
					h = &HashState{Chunks: c.Index + 1, MD5: []byte{1, 2}, SHA256: []byte{3, byte(c.Index)}}
				}
				err := m.l.ChunkDone(ctx, r, n, c, h)
				if !ok && !errors.Is(err, errCrash) {
					if !errors.Is(err, ErrNoIntent) {
						rt.Fatalf("chunk without intent: %v", err)
					}
					m.durable(nil)
					return
				}
				if ok && in.Layout.Count() == 0 && !errors.Is(err, errCrash) {
					if !errors.Is(err, ErrInvalid) {
						rt.Fatalf("chunk of an object that has none: %v", err)
					}
					m.durable(nil)
					return
				}
				if ok && in.Layout.Count() > 0 {
					m.change(func(x *model) {
						at(at(x.Chunks, r), n)[c.Index] = c
						if h != nil {
							at(x.Hashes, r)[n] = HashState{h.Chunks, bytes.Clone(h.MD5), bytes.Clone(h.SHA256)}
						}
					})
				}
				m.durable(err)
			},
			"pass": func(rt *rapid.T) {
				p := genPass(rt, rapid.SampledFrom([]string{"p1", "p2"}).Draw(rt, "key"))
				m.change(func(x *model) { x.Passes[p.Key] = p })
				m.durable(m.l.SavePass(ctx, p))
			},
			"note": func(rt *rapid.T) {
				k, v := rapid.SampledFrom([]string{"n1", "n2"}).Draw(rt, "key"), rapid.SampledFrom([]string{"", "x", "longer"}).Draw(rt, "value")
				if rapid.Bool().Draw(rt, "remove") {
					m.change(func(x *model) { delete(x.Notes, k) })
					m.durable(m.l.PutNote(k, nil))
					return
				}
				m.change(func(x *model) { x.Notes[k] = v })
				m.durable(m.l.PutNote(k, []byte(v)))
			},
			"listed": func(rt *rapid.T) {
				r, at := anyRoute.Draw(rt, "of").ID, time.UnixMicro(rapid.Int64Range(1, 9).Draw(rt, "at")).UTC()
				m.change(func(x *model) { x.Listed[r] = at })
				m.durable(m.l.SetListed(r, at))
			},
			"flush":   func(*rapid.T) { m.durable(m.l.Flush(ctx)) },
			"compact": func(*rapid.T) { m.durable(m.l.Compact(ctx)) },
			"crash soon": func(rt *rapid.T) {
				m.point = rapid.SampledFrom([]string{"commit:before", "commit:after"}).Draw(rt, "point")
				m.crashIn = rapid.IntRange(1, 3).Draw(rt, "commits")
			},
			"reopen": func(rt *rapid.T) {
				err := m.l.Close()
				if errors.Is(err, errCrash) {
					m.reborn()
					return
				}
				if err != nil {
					rt.Fatalf("close: %v", err)
				}
				m.open()
				m.durable(nil)
			},
		}
		maps.Copy(actions, m.seriesActions(func(rt *rapid.T) RouteInfo { return anyRoute.Draw(rt, "of") }, name))
		maps.Copy(actions, m.pointActions(func(rt *rapid.T) RouteInfo { return anyRoute.Draw(rt, "of") }, name))
		rt.Repeat(actions)
	})
	t.Logf("%d runs, %d crashes", runs, crashes)
	if crashes == 0 {
		t.Errorf("no crash was met in %d runs", runs)
	}
}
