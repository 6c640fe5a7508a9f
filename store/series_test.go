package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
)

func mustSeries(t *testing.T, l *Ledger, p PlaceID, name string) (Series, bool) {
	t.Helper()
	s, ok, err := l.Series(p, name)
	if err != nil {
		t.Fatalf("series %q: %v", name, err)
	}
	return s, ok
}

// A name with thousands of versions, replayed one by one: each change is seen by the
// next, all of them survive a compaction and a restart, and the record stays small.
func TestSeriesOfThousandsOfVersions(t *testing.T) {
	const n = 5_000
	l := open(t, tempPath(t), Options{NoSync: true})
	r, r2 := route(t, l, paris("a"), lyon("a")), route(t, l, paris("a"), lyon("b"))
	want := testSeries("v", n, r.ID, r2.ID)
	bare := cloneSeries(want)
	for i := range bare.Versions {
		bare.Versions[i].Replicas = nil
	}
	l.UpdateSeries(r.From, "v", setSeries(bare))
	l.UpdateSeries(r.From, "neighbour", setSeries(testSeries("neighbour", 2)))
	for i := 0; i < n; i += 10 { // ten at a time, as if they had been sent meanwhile
		l.UpdateSeries(r.From, "v", func(s *Series, exists bool) bool {
			for _, v := range want.Versions[i : i+10] {
				at := s.Find(v.ID)
				if at == nil || !exists {
					t.Errorf("version %d (%s) is not there", i, v.ID)
					return exists
				}
				for _, x := range v.Replicas {
					at.SetReplica(x)
				}
			}
			return true
		})
	}
	flush(t, l)
	if s, ok := mustSeries(t, l, r.From, "v"); !ok || cmp.Diff(want, s) != "" {
		t.Fatalf("%v: %d versions: %s", ok, len(s.Versions), cmp.Diff(want, s))
	}
	v, err := appendSeries(nil, r.From, []byte("v"), &want)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d versions with two replicas in %d bytes, %.1f a version", n, len(v), float64(len(v))/n)
	if len(v) > 60*n {
		t.Errorf("%d bytes for %d versions", len(v), n)
	}
	page, err := l.SeriesPage(r.From, "", "", "", 0)
	if err != nil || len(page) != 2 || page[0].Name != "neighbour" || len(page[1].Versions) != n {
		t.Errorf("page: %d, %v", len(page), err)
	}
	if err := l.Compact(context.Background()); err != nil {
		t.Fatal(err)
	}
	closeAndCheck(t, l)
	l = open(t, l.Path(), Options{NoSync: true})
	if s, ok := mustSeries(t, l, r.From, "v"); !ok || cmp.Diff(want, s) != "" {
		t.Errorf("after compaction and restart: %v, %d versions", ok, len(s.Versions))
	}
	for range 14 { // 5,000 halved
		l.UpdateSeries(r.From, "v", func(s *Series, _ bool) bool {
			s.Versions = s.Versions[(len(s.Versions)+1)/2:] // the last one goes at the end
			return true
		})
		if flush(t, l); !has(t, l, r.From, "v") {
			break
		}
	}
	if has(t, l, r.From, "v") {
		t.Error("the last version went and the key stayed")
	}
	closeAndCheck(t, l)
}

func has(t *testing.T, l *Ledger, p PlaceID, name string) bool {
	t.Helper()
	_, ok := mustSeries(t, l, p, name)
	return ok
}

func TestSeriesWithoutVersionsIsRemoved(t *testing.T) {
	l := fresh(t)
	r := route(t, l, paris("a"), lyon("a"))
	for _, gone := range []func(*Series, bool) bool{
		func(s *Series, _ bool) bool { s.Versions = nil; return true },
		func(*Series, bool) bool { return false },
	} {
		l.UpdateSeries(r.From, "a", setSeries(testSeries("a", 3, r.ID)))
		if flush(t, l); !has(t, l, r.From, "a") {
			t.Fatal("it was not kept")
		}
		l.UpdateSeries(r.From, "a", gone)
		if flush(t, l); has(t, l, r.From, "a") {
			t.Error("it is still there")
		}
	}
	l.UpdateSeries(r.From, "never", func(s *Series, exists bool) bool {
		if exists || s.Name != "never" || len(s.Versions) != 0 {
			t.Errorf("handed out: %+v, %v", s, exists)
		}
		s.Name = "other"
		return true
	})
	if flush(t, l); has(t, l, r.From, "never") || has(t, l, r.From, "other") {
		t.Error("a series of no versions was kept")
	}
	closeAndCheck(t, l)
}

// Changes of one name, whatever their kind, are applied in the order they were
// queued in, and all that end an intent in one transaction.
func TestSeriesAndNeedsKeepTheirOrderWithTheOthers(t *testing.T) {
	l := fresh(t)
	r := route(t, l, paris("a"), lyon("a"))
	var got []string
	note := func(s string) { got = append(got, s) } // the writer alone calls it, Flush waits for it
	object := func(s string) func(*Object, bool) bool {
		return func(o *Object, _ bool) bool {
			note(s)
			o.SetReplica(Replica{Route: r.ID, State: Confirmed})
			return true
		}
	}
	series := func(s string) func(*Series, bool) bool {
		return func(x *Series, _ bool) bool { note(s); *x = testSeries("m", 1, r.ID); return true }
	}
	l.UpdateSeries(r.From, "m", series("1"))
	l.Update(r.From, "m", object("2"))
	l.SetNeeds(r.ID, "m", []Need{{1}})
	l.UpdateSeries(r.From, "m", series("3"))
	l.Confirm(Confirmation{Place: r.From, Route: r.ID, Name: "m", Apply: object("4"), Series: series("5"), Needs: []Need{{3}, {2}, {3}}})
	l.Update(r.From, "a", object("before"))
	l.UpdateSeries(r.From, "m", series("6"))
	l.Confirm(Confirmation{Place: r.From, Route: r.ID, Name: "m", Series: series("7")})
	l.Confirm(Confirmation{Place: r.From, Route: r.ID, Name: "m"})
	flush(t, l)
	got = slices.DeleteFunc(got, func(s string) bool { return s == "before" })
	if want := []string{"1", "2", "3", "4", "5", "6", "7"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if needs, err := l.Needs(r.ID, "m"); !slices.Equal(needs, []Need{{2}, {3}}) || err != nil {
		t.Errorf("needs %v, %v: the Confirmation's, in order and each once", needs, err)
	}
	closeAndCheck(t, l)
}

func TestSeriesPageBounds(t *testing.T) {
	l := fresh(t)
	r := route(t, l, paris("a"), lyon("a"))
	for _, name := range []string{"b/2", "a", "b/1", "b/\xff", "c", "b"} {
		l.UpdateSeries(r.From, name, setSeries(testSeries(name, 1)))
	}
	flush(t, l)
	for _, c := range []struct {
		after, through, prefix string
		limit                  int
		want                   string
	}{
		{"", "", "", 0, `["a" "b" "b/1" "b/2" "b/\xff" "c"]`},
		{"", "", "", 2, `["a" "b"]`},
		{"b", "", "", 2, `["b/1" "b/2"]`},
		{"b0", "", "", 0, `["c"]`},
		{"", "b/1", "", 0, `["a" "b" "b/1"]`},
		{"", "", "b/", 0, `["b/1" "b/2" "b/\xff"]`},
		{"b/1", "b/2", "b/", 0, `["b/2"]`},
		{"c", "", "", 0, `[]`},
		{"", "", "x", 0, `[]`},
	} {
		page, err := l.SeriesPage(r.From, c.after, c.through, c.prefix, c.limit)
		var got []string
		for _, s := range page {
			got = append(got, s.Name)
		}
		if fmt.Sprintf("%q", got) != c.want || err != nil {
			t.Errorf("%+v: got %q, %v", c, got, err)
		}
	}
	if page, err := l.SeriesPage(99, "", "", "", 0); len(page) != 0 || err != nil {
		t.Errorf("unknown place: %v, %v", page, err)
	}
	closeAndCheck(t, l)
}

// A page is bounded by what it holds, not by names alone; nothing is skipped.
func TestSeriesPageEndsAfterMaxPageVersions(t *testing.T) {
	l := open(t, tempPath(t), Options{NoSync: true})
	r := route(t, l, paris("a"), lyon("a"))
	sizes := []int{3_000, 8_000, MaxPage + 5, 1, 1}
	for i, n := range sizes {
		l.UpdateSeries(r.From, fmt.Sprint(i), setSeries(testSeries(fmt.Sprint(i), n)))
	}
	flush(t, l)
	var pages []int
	for after, seen := "", 0; ; {
		page, err := l.SeriesPage(r.From, after, "", "", 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, s := range page {
			if len(s.Versions) != sizes[seen] {
				t.Errorf("series %q has %d versions", s.Name, len(s.Versions))
			}
			seen++
		}
		pages, after = append(pages, len(page)), page[len(page)-1].Name
	}
	if !slices.Equal(pages, []int{2, 1, 2}) {
		t.Errorf("pages of %v", pages)
	}
	closeAndCheck(t, l)
}

func TestMistakesInASeriesStopTheLedger(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(l *Ledger, r RouteInfo)
		want error
	}{
		"not valid": {func(l *Ledger, r RouteInfo) {
			l.UpdateSeries(r.From, "a", setSeries(Series{Versions: make([]SeriesVersion, 1)}))
		}, ErrInvalid},
		"no name":         {func(l *Ledger, r RouteInfo) { l.UpdateSeries(r.From, "", setSeries(testSeries("", 1))) }, ErrInvalid},
		"unknown place":   {func(l *Ledger, r RouteInfo) { l.UpdateSeries(99, "a", setSeries(testSeries("a", 1))) }, ErrUnknown},
		"unknown route":   {func(l *Ledger, r RouteInfo) { l.UpdateSeries(r.From, "a", setSeries(testSeries("a", 1, 99))) }, ErrUnknown},
		"starts at other": {func(l *Ledger, r RouteInfo) { l.UpdateSeries(r.To, "a", setSeries(testSeries("a", 1, r.ID))) }, ErrInvalid},
		"needs, route":    {func(l *Ledger, r RouteInfo) { l.SetNeeds(99, "a", []Need{{1}}) }, ErrUnknown},
		"needs, name":     {func(l *Ledger, r RouteInfo) { l.SetNeeds(r.ID, "", []Need{{1}}) }, ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			l := fresh(t)
			r := route(t, l, paris("a"), lyon("a"))
			c.do(l, r)
			if err := l.Flush(context.Background()); !errors.Is(err, c.want) {
				t.Errorf("flush: %v, want %v", err, c.want)
			}
			if err := l.Close(); !errors.Is(err, c.want) {
				t.Errorf("close: %v, want %v", err, c.want)
			}
			mustCheck(t, l.Path())
		})
	}
}

// What rots is named by whoever reads it, and a write that meets it stops the ledger.
func TestBitRotInWhatFormat2Brought(t *testing.T) {
	path := tempPath(t)
	sample(t, path, 3)
	rot := func(b *bbolt.Bucket, key []byte) error {
		v := slices.Clone(b.Get(key))
		if v == nil {
			return fmt.Errorf("no record %q", key)
		}
		v[len(v)/2] ^= 1
		return b.Put(key, v)
	}
	tamper(t, path, func(tx *bbolt.Tx) error {
		one, two := be32(1), be32(2)
		companion, err := companionKey(Companion{Container: "a_segments"})
		return errors.Join(err, rot(tx.Bucket([]byte(bucketSeries)).Bucket(one), []byte("history")), rot(tx.Bucket([]byte(bucketNeeds)).Bucket(one), []byte("history")),
			rot(tx.Bucket([]byte(bucketAlong)).Bucket(one), companion), rot(tx.Bucket([]byte(bucketProperties)), two))
	})
	var found []string
	for _, p := range problems(t, path) {
		found = append(found, p.Kind+" "+p.Key)
	}
	want := []string{`record series/1/"history"`, `record needs/1/"history"`, `record along/1/"\x00\na_segments"`, "record properties/00000002"}
	if d := cmp.Diff(want, found); d != "" {
		t.Errorf("check: %s", d)
	}
	l := open(t, path, Options{})
	_, _, errSeries := l.Series(1, "history")
	_, errPage := l.SeriesPage(1, "", "", "", 0)
	_, errNeeds := l.Needs(1, "history")
	_, errNeeded := l.Needed(context.Background(), []RouteID{1, 2}, []Need{{1}})
	_, errAlong := l.Companions(1)
	_, _, _, errProperties := l.Properties(2)
	errDump := l.Dump(context.Background(), new(strings.Builder))
	for says, errs := range map[string][]error{`series "history" of place 1`: {errSeries, errPage, errDump}, `needs of "history" on route 1`: {errNeeds, errNeeded},
		"companion \"\\x00\\na_segments\" of place 1": {errAlong}, "properties of route 2": {errProperties}} {
		for i, err := range errs {
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(fmt.Sprint(err), says) || !strings.Contains(fmt.Sprint(err), "checksum") {
				t.Errorf("%d: got %v, want %s", i, err, says)
			}
		}
	}
	l.UpdateSeries(1, "history", func(*Series, bool) bool { t.Error("a false record was handed out"); return true })
	if err := l.Flush(context.Background()); !errors.Is(err, ErrCorrupt) {
		t.Errorf("flush: %v", err)
	}
	_ = l.Close() // says it again
}

// BenchmarkUpdateSeries is the cost of one change to a long history.
func BenchmarkUpdateSeries(b *testing.B) {
	l := open(b, tempPath(b), Options{NoSync: true})
	r := route(b, l, paris("a"), lyon("a"))
	l.UpdateSeries(r.From, "v", setSeries(testSeries("v", 5_000, r.ID)))
	flush(b, l)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		l.UpdateSeries(r.From, "v", func(s *Series, _ bool) bool { s.Versions[i%5_000].Size++; return true })
		i++
	}
	flush(b, l)
}
