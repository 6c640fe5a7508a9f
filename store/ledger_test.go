package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"farshore/transport/chunk"
)

func TestOpenCreatesPrivateFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "deep", "ledger.db")
	l := open(t, path, Options{})
	for name, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700 | os.ModeDir} {
		info, err := os.Stat(name)
		if err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
	closeAndCheck(t, l)
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestReadOnlyNeverCreatesOrWrites(t *testing.T) {
	path := tempPath(t)
	if _, err := Open(path, Options{ReadOnly: true}); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("missing file: got %v, want os.ErrNotExist", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("it was created")
	}
	l := open(t, path, Options{})
	r := route(t, l, paris("a"), lyon("a"))
	l.Update(r.From, "x", set(testObject("x", r.ID)))
	closeAndCheck(t, l)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	ro := open(t, path, Options{ReadOnly: true})
	ro2 := open(t, path, Options{ReadOnly: true}) // readers share
	if o, ok, err := ro2.Get(r.From, "x"); !ok || err != nil || o.Name != "x" {
		t.Errorf("get: %v %v %v", o, ok, err)
	}
	ctx := context.Background()
	_, errPlace := ro.PlaceID(paris("new"))
	_, errSparse := ro.CompactIfSparse(ctx)
	for what, err := range map[string]error{"place": errPlace, "listed": ro.SetListed(r.ID, time.Unix(1, 0)), "intents": ro.AddIntents(ctx, []Intent{{Route: r.ID, Name: "x"}}),
		"pass": ro.SavePass(ctx, Pass{Key: "k"}), "note": ro.PutNote("k", []byte("v")), "compact": ro.Compact(ctx), "sparse": errSparse, "flush": ro.Flush(ctx)} {
		if !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s: got %v, want ErrReadOnly", what, err)
		}
	}
	ro.Update(r.From, "x", func(*Object, bool) bool { t.Error("update ran"); return false })
	if err := ro.Close(); !errors.Is(err, ErrReadOnly) {
		t.Errorf("the lost update is not told: %v", err)
	}
	_ = ro2.Close()
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the file changed (%v)", err)
	}
}

func TestPlacesAndRoutesKeepTheirNumbers(t *testing.T) {
	path := tempPath(t)
	l := open(t, path, Options{Clock: func() time.Time { return time.Unix(1_800_000_000, 0) }})
	if _, ok, err := l.FindPlace(paris("a")); ok || err != nil {
		t.Fatalf("found a place in an empty ledger: %v", err)
	}
	a, err := l.PlaceID(paris("a"))
	if err != nil || a == 0 {
		t.Fatalf("place: %d, %v", a, err)
	}
	ab, err := l.Route(Route{From: paris("a"), FromPrefix: "in/", To: lyon("b"), ToPrefix: "out/"})
	if err != nil || ab.ID == 0 || ab.From != a || ab.Route.To != lyon("b") || ab.ToPrefix != "out/" {
		t.Fatalf("route: %+v, %v", ab, err)
	}
	plain := route(t, l, paris("a"), lyon("b"))
	if plain.ID == ab.ID || plain.To != ab.To {
		t.Errorf("prefixes are part of a route, not of its place: %+v, %+v", ab, plain)
	}
	other := Place{Region: "paris", Project: "p2", Container: "a"}
	if id, err := l.PlaceID(other); err != nil || id == a {
		t.Errorf("another project's container has the same number (%v)", err)
	}
	at := time.Date(2026, 5, 4, 3, 2, 1, 123456789, time.FixedZone("x", 3600))
	if err := l.SetListed(ab.ID, at); err != nil {
		t.Fatal(err)
	}
	if err := l.SetListed(99, at); !errors.Is(err, ErrUnknown) {
		t.Errorf("unknown route: %v", err)
	}
	closeAndCheck(t, l)

	l = open(t, path, Options{})
	again, ok, err := l.FindRoute(ab.Route)
	want := ab
	want.Listed = at.Truncate(time.Microsecond).UTC()
	if d := cmp.Diff(want, again); d != "" || !ok || err != nil {
		t.Errorf("after reopening: %v %v %s", ok, err, d)
	}
	rs, err := l.Routes()
	if err != nil || len(rs) != 2 || rs[0].ID != ab.ID || rs[1].ID != plain.ID {
		t.Errorf("routes: %+v, %v", rs, err)
	}
	if next := route(t, l, lyon("b"), paris("a")); next.ID <= plain.ID || next.From != ab.To {
		t.Errorf("number used again: %+v", next)
	}
	closeAndCheck(t, l)
}

func TestPlacesCreatedAtOnceAreOne(t *testing.T) {
	l := fresh(t)
	var wg sync.WaitGroup
	ids, routes := make([]PlaceID, 16), make([]RouteID, 16)
	for i := range ids {
		wg.Go(func() {
			ids[i], _ = l.PlaceID(paris("same"))
			r, _ := l.Route(Route{From: paris("same"), To: lyon("same")})
			routes[i] = r.ID
		})
	}
	wg.Wait()
	if len(slices.Compact(ids)) != 1 || len(slices.Compact(routes)) != 1 || ids[0] == 0 || routes[0] == 0 {
		t.Errorf("places %v, routes %v", ids, routes)
	}
	closeAndCheck(t, l)
}

func TestPageBounds(t *testing.T) {
	l := fresh(t)
	r := route(t, l, paris("a"), lyon("a"))
	all := []string{"a", "a/1", "a/2", "a/2\x00", "b", "b/", "c", "\xff"}
	for _, n := range all {
		l.Update(r.From, n, set(testObject(n, r.ID)))
	}
	flush(t, l)
	for _, c := range []struct {
		after, through, prefix string
		limit                  int
		want                   []string
	}{
		{want: all},
		{limit: 2, want: all[:2]},
		{after: "a/1", want: all[2:]},
		{after: "a/11", want: all[2:]},
		{after: "a/1", through: "a/2", want: all[2:3]},
		{after: "a", through: "b", want: all[1:5]},
		{through: "0", want: nil},
		{prefix: "a/", want: all[1:4]},
		{prefix: "a/", after: "a/1", want: all[2:4]},
		{prefix: "a/", after: "b", want: nil},
		{prefix: "b", through: "b", want: all[4:5]},
		{prefix: "a/", limit: 1, want: all[1:2]},
		{after: "\xff", want: nil},
		{after: "zzz", limit: MaxPage + 1, want: all[7:]},
	} {
		got, err := l.Page(r.From, c.after, c.through, c.prefix, c.limit)
		if d := cmp.Diff(c.want, names(got)); d != "" || err != nil {
			t.Errorf("after %q through %q prefix %q limit %d: %v %s", c.after, c.through, c.prefix, c.limit, err, d)
		}
	}
	// Every cut gives the same whole, as a pass in ranges needs.
	for _, cut := range all {
		lo, err1 := l.Page(r.From, "", cut, "", 0)
		hi, err2 := l.Page(r.From, cut, "", "", 0)
		if d := cmp.Diff(all, append(names(lo), names(hi)...)); d != "" || err1 != nil || err2 != nil {
			t.Errorf("cut at %q: %s", cut, d)
		}
	}
	if got, err := l.Page(999, "", "", "", 0); got != nil || err != nil {
		t.Errorf("unknown place: %v, %v", got, err)
	}
	closeAndCheck(t, l)
}

func TestNoPageIsLargerThanMaxPage(t *testing.T) {
	l := open(t, tempPath(t), Options{NoSync: true})
	r := route(t, l, paris("a"), lyon("a"))
	for i := range MaxPage + 5 {
		l.Update(r.From, fmt.Sprintf("%06d", i), func(o *Object, _ bool) bool { o.Missing = 1; return true })
	}
	flush(t, l)
	for what, read := range map[string]func(string, int) ([]Object, error){
		"page":    func(after string, n int) ([]Object, error) { return l.Page(r.From, after, "", "", n) },
		"missing": func(after string, n int) ([]Object, error) { return l.MissingPage(r.From, after, n) },
	} {
		one, err := read("", 1<<30)
		if len(one) != MaxPage || err != nil {
			t.Fatalf("%s: %d records, %v", what, len(one), err)
		}
		two, err := read(one[MaxPage-1].Name, 0)
		if len(two) != 5 || two[0].Name != fmt.Sprintf("%06d", MaxPage) || err != nil {
			t.Errorf("%s: then %d records, %v", what, len(two), err)
		}
	}
	closeAndCheck(t, l)
}

func TestIntentsGoWithTheirChunks(t *testing.T) {
	l := fresh(t)
	ctx := context.Background()
	r := route(t, l, paris("a"), lyon("a"))
	lay := chunk.Layout{Size: 30, Chunk: 10}
	big := Intent{Route: r.ID, Name: "big", Version: Version{ETag: etag("v1"), Modified: 1}, Size: 30, Layout: lay}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	chunks := func(want int) {
		t.Helper()
		got, _, err := l.Chunks(r.ID, "big")
		if err != nil || len(got) != want {
			t.Errorf("chunks: %v, %v, want %d", got, err, want)
		}
	}
	must(l.AddIntents(ctx, []Intent{big, {Route: r.ID, Name: "big2", Layout: lay}}))
	must(l.ChunkDone(ctx, r.ID, "big", ChunkRecord{Index: 2, MD5: [16]byte{2}}, nil))
	must(l.ChunkDone(ctx, r.ID, "big", ChunkRecord{Index: 0, MD5: [16]byte{1}}, &HashState{Chunks: 1, MD5: []byte("m"), SHA256: []byte("s")}))
	must(l.ChunkDone(ctx, r.ID, "big2", ChunkRecord{Index: 1}, nil))
	got, h, err := l.Chunks(r.ID, "big")
	if d := cmp.Diff([]ChunkRecord{{0, [16]byte{1}}, {2, [16]byte{2}}}, got); d != "" || err != nil {
		t.Errorf("chunks: %v %s", err, d)
	}
	if d := cmp.Diff(HashState{1, []byte("m"), []byte("s")}, h); d != "" {
		t.Errorf("digests: %s", d)
	}

	later := big
	later.Began, later.ETag = 77, "known now"
	must(l.AddIntents(ctx, []Intent{later}))
	chunks(2) // the same version, size and layout: resume
	later.Layout.Chunk = 15
	must(l.AddIntents(ctx, []Intent{later}))
	chunks(0)
	for _, bad := range []int{-1, 2} {
		if err := l.ChunkDone(ctx, r.ID, "big", ChunkRecord{Index: bad}, nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("chunk %d of 2: %v", bad, err)
		}
	}
	must(l.ChunkDone(ctx, r.ID, "big", ChunkRecord{Index: 1}, nil))

	l.Confirm(Confirmation{Place: r.From, Route: r.ID, Name: "big", Apply: set(testObject("big", r.ID))})
	flush(t, l)
	if _, ok, err := l.Intent(r.ID, "big"); ok || err != nil {
		t.Errorf("confirmed, but the intent is there (%v)", err)
	}
	chunks(0)
	if err := l.ChunkDone(ctx, r.ID, "big", ChunkRecord{}, nil); !errors.Is(err, ErrNoIntent) {
		t.Errorf("late chunk: %v", err)
	}
	if got, _, err := l.Chunks(r.ID, "big2"); err != nil || len(got) != 1 {
		t.Errorf("the neighbour's chunks: %v, %v", got, err)
	}
	left, err := l.Intents(r.ID, "big", 0)
	if err != nil || len(left) != 1 || left[0].Name != "big2" {
		t.Errorf("intents: %v, %v", left, err)
	}
	closeAndCheck(t, l)
}

func TestWrongRequestsHarmNobodyElse(t *testing.T) {
	l := fresh(t)
	ctx := context.Background()
	r := route(t, l, paris("a"), lyon("a"))
	for what, err := range map[string]error{
		"no name":       l.AddIntents(ctx, []Intent{{Route: r.ID, Name: "ok"}, {Route: r.ID}}),
		"long name":     l.AddIntents(ctx, []Intent{{Route: r.ID, Name: strings.Repeat("x", MaxName+1)}}),
		"no key":        l.SavePass(ctx, Pass{}),
		"no note":       l.PutNote("", []byte("x")),
		"large note":    l.PutNote("x", make([]byte, MaxNote+1)),
		"chunk no name": l.ChunkDone(ctx, r.ID, "", ChunkRecord{}, nil),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", what, err)
		}
	}
	if err := l.AddIntents(ctx, []Intent{{Route: r.ID, Name: "ok"}, {Route: 99, Name: "x"}}); !errors.Is(err, ErrUnknown) {
		t.Errorf("unknown route: %v", err)
	}
	if _, ok, _ := l.Intent(r.ID, "ok"); ok {
		t.Errorf("half of a refused AddIntents was kept")
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if err := l.AddIntents(gone, []Intent{{Route: r.ID, Name: "x"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	flush(t, l)
	closeAndCheck(t, l)
}

// What nobody waits for cannot be refused to anybody, so it stops the ledger:
// nothing is dropped in silence.
func TestAsynchronousMistakesStopTheLedger(t *testing.T) {
	for what, c := range map[string]struct {
		do   func(l *Ledger, r RouteInfo)
		want error
	}{
		"unknown place":   {func(l *Ledger, r RouteInfo) { l.Update(99, "x", set(Object{})) }, ErrUnknown},
		"no name":         {func(l *Ledger, r RouteInfo) { l.Update(r.From, "", set(Object{})) }, ErrInvalid},
		"unknown replica": {func(l *Ledger, r RouteInfo) { l.Update(r.From, "x", set(testObject("x", 99))) }, ErrUnknown},
		"foreign replica": {func(l *Ledger, r RouteInfo) { l.Update(r.To, "x", set(testObject("x", r.ID))) }, ErrInvalid},
		"confirm elsewhere": {func(l *Ledger, r RouteInfo) {
			l.Confirm(Confirmation{Place: r.To, Route: r.ID, Name: "x", Apply: set(Object{})})
		}, ErrUnknown},
		"replica no state": {func(l *Ledger, r RouteInfo) {
			l.Update(r.From, "x", func(o *Object, _ bool) bool { o.Replicas = []Replica{{Route: r.ID}}; return true })
		}, ErrInvalid},
	} {
		t.Run(what, func(t *testing.T) {
			l := fresh(t)
			r := route(t, l, paris("a"), lyon("a"))
			l.Update(r.From, "before", set(testObject("before", r.ID)))
			flush(t, l)
			c.do(l, r)
			if err := l.Flush(context.Background()); !errors.Is(err, c.want) {
				t.Errorf("flush: %v, want %v", err, c.want)
			}
			if err := l.PutNote("k", []byte("v")); !errors.Is(err, c.want) {
				t.Errorf("writes on: %v", err)
			}
			if _, ok, err := l.Get(r.From, "before"); !ok || err != nil {
				t.Errorf("reading has to go on: %v %v", ok, err)
			}
			if err := l.Close(); !errors.Is(err, c.want) {
				t.Errorf("close: %v", err)
			}
			mustCheck(t, l.Path())
		})
	}
}

func TestClosedLedgerRefuses(t *testing.T) {
	l := fresh(t)
	r := route(t, l, paris("a"), lyon("a"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	_, _, errGet := l.Get(r.From, "x")
	_, errPage := l.Page(r.From, "", "", "", 0)
	_, errPlaces := l.Places()
	for what, err := range map[string]error{"get": errGet, "page": errPage, "places": errPlaces, "flush": l.Flush(ctx), "close": l.Close(),
		"note": l.PutNote("k", nil), "compact": l.Compact(ctx), "check": l.Check(ctx, nil)} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: got %v, want ErrClosed", what, err)
		}
	}
	l.Update(r.From, "x", nil) // must neither block nor panic
}

func TestUpdateSeesWhatWasQueuedBefore(t *testing.T) {
	l := fresh(t)
	r := route(t, l, paris("a"), lyon("a"))
	for i := range 1000 {
		l.Update(r.From, "counter", func(o *Object, exists bool) bool {
			if exists != (i > 0) || o.Size != int64(i) || o.Name != "counter" {
				t.Errorf("step %d: %v %+v", i, exists, o)
			}
			o.Size++
			o.Name = "not heeded"
			return true
		})
	}
	flush(t, l)
	if o, ok, err := l.Get(r.From, "counter"); !ok || err != nil || o.Size != 1000 {
		t.Errorf("got %+v %v %v", o, ok, err)
	}
	closeAndCheck(t, l)
}
