package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

func TestNeedOfIsAPrefixOfSHA256(t *testing.T) {
	// printf c/n | sha256sum
	if got := fmt.Sprintf("%x", NeedOf("c", "n")); got != "335a17ed226fe2d0" {
		t.Errorf("got %s", got)
	}
	if NeedOf("a", "b/c") == NeedOf("a", "b/d") || NeedOf("a", "b") == NeedOf("a2", "b") {
		t.Error("two segments have one Need")
	}
}

func needy(t *testing.T, l *Ledger, r RouteID, name string) bool {
	t.Helper()
	flush(t, l)
	needs, err := l.Needs(r, name)
	if err != nil {
		t.Fatalf("needs: %v", err)
	}
	return needs != nil
}

// Needs stay as long as a replica, a version's replica or an intent of the name is
// on the route, and go with the last of them.
func TestNeedsGoWithWhatNeedsThem(t *testing.T) {
	ctx, need := context.Background(), []Need{{1}}
	drop := func(r RouteID) func(*Object, bool) bool {
		return func(o *Object, exists bool) bool { o.DropReplica(r); return exists }
	}
	for name, c := range map[string]struct {
		hold, release func(l *Ledger, r RouteInfo)
	}{
		"replica dropped": {func(l *Ledger, r RouteInfo) { l.Update(r.From, "m", set(testObject("m", r.ID))) },
			func(l *Ledger, r RouteInfo) { l.Update(r.From, "m", drop(r.ID)) }},
		"record dropped": {func(l *Ledger, r RouteInfo) { l.Update(r.From, "m", set(testObject("m", r.ID))) },
			func(l *Ledger, r RouteInfo) { l.Update(r.From, "m", func(*Object, bool) bool { return false }) }},
		"series dropped": {func(l *Ledger, r RouteInfo) { l.UpdateSeries(r.From, "m", setSeries(testSeries("m", 2, r.ID))) },
			func(l *Ledger, r RouteInfo) { l.UpdateSeries(r.From, "m", func(*Series, bool) bool { return false }) }},
		"series leaves the route": {func(l *Ledger, r RouteInfo) { l.UpdateSeries(r.From, "m", setSeries(testSeries("m", 2, r.ID))) },
			func(l *Ledger, r RouteInfo) { l.UpdateSeries(r.From, "m", setSeries(testSeries("m", 2))) }},
		"intent dropped": {func(l *Ledger, r RouteInfo) {
			if err := l.AddIntents(ctx, []Intent{{Route: r.ID, Name: "m"}}); err != nil {
				t.Fatal(err)
			}
		}, func(l *Ledger, r RouteInfo) { l.DropIntent(r.ID, "m") }},
		"intent ended, object without a replica": {func(l *Ledger, r RouteInfo) {
			if err := l.AddIntents(ctx, []Intent{{Route: r.ID, Name: "m"}}); err != nil {
				t.Fatal(err)
			}
		}, func(l *Ledger, r RouteInfo) {
			l.Confirm(Confirmation{Place: r.From, Route: r.ID, Name: "m", Apply: set(testObject("m")), Needs: need})
		}},
		"said to be none": {func(l *Ledger, r RouteInfo) { l.Update(r.From, "m", set(testObject("m", r.ID))) },
			func(l *Ledger, r RouteInfo) { l.SetNeeds(r.ID, "m", nil) }},
		"confirmed to be none": {func(l *Ledger, r RouteInfo) { l.Update(r.From, "m", set(testObject("m", r.ID))) },
			func(l *Ledger, r RouteInfo) {
				l.Confirm(Confirmation{Place: r.From, Route: r.ID, Name: "m", Needs: []Need{}})
			}},
	} {
		t.Run(name, func(t *testing.T) {
			l := fresh(t)
			r, other := route(t, l, paris("a"), lyon("a")), route(t, l, paris("a"), lyon("b"))
			c.hold(l, r)
			l.SetNeeds(r.ID, "m", need)
			l.Update(r.From, "n", set(testObject("n", r.ID, other.ID)))
			l.SetNeeds(r.ID, "n", need)
			l.SetNeeds(other.ID, "n", need)
			if !needy(t, l, r.ID, "m") {
				t.Fatal("the needs were not kept")
			}
			c.release(l, r)
			if needy(t, l, r.ID, "m") {
				t.Error("they are still there")
			}
			if !needy(t, l, r.ID, "n") || !needy(t, l, other.ID, "n") {
				t.Error("somebody else's went too")
			}
			closeAndCheck(t, l)
		})
	}
	t.Run("one of several goes", func(t *testing.T) {
		l := fresh(t)
		r, other := route(t, l, paris("a"), lyon("a")), route(t, l, paris("a"), lyon("b"))
		if err := l.AddIntents(ctx, []Intent{{Route: r.ID, Name: "m"}}); err != nil {
			t.Fatal(err)
		}
		l.UpdateSeries(r.From, "m", setSeries(testSeries("m", 2, r.ID)))
		l.Update(r.From, "m", set(testObject("m", r.ID, other.ID)))
		l.SetNeeds(r.ID, "m", need)
		l.SetNeeds(other.ID, "m", need)
		l.Update(r.From, "m", func(o *Object, _ bool) bool { o.Missing, o.Replicas[0].State = 1, Lost; return true })
		for i, step := range []func(){
			func() {},
			func() { l.Update(r.From, "m", drop(r.ID)) },
			func() { l.DropIntent(r.ID, "m") },
			func() { l.UpdateSeries(r.From, "m", setSeries(testSeries("m", 1, r.ID, other.ID))) },
		} {
			if step(); !needy(t, l, r.ID, "m") {
				t.Errorf("step %d: the needs went too early", i)
			}
		}
		l.UpdateSeries(r.From, "m", func(*Series, bool) bool { return false })
		if needy(t, l, r.ID, "m") || !needy(t, l, other.ID, "m") {
			t.Error("at the end: still there, or the other route's gone")
		}
		closeAndCheck(t, l)
	})
}

// In one transaction with the end of the intent: a crash leaves both or neither.
func TestNeedsAreConfirmedWithTheManifest(t *testing.T) {
	for _, point := range []string{"commit:before", "commit:after"} {
		path := tempPath(t)
		armed := false
		l := open(t, path, Options{NoSync: true, Hook: func(p string) error {
			if armed && p == point {
				return errCrash
			}
			return nil
		}})
		r := route(t, l, paris("a"), lyon("a"))
		if err := l.AddIntents(context.Background(), []Intent{{Route: r.ID, Name: "m"}}); err != nil {
			t.Fatal(err)
		}
		armed = true
		l.Confirm(Confirmation{Place: r.From, Route: r.ID, Name: "m", Apply: set(testObject("m", r.ID)), Series: setSeries(testSeries("m", 1, r.ID)), Needs: []Need{{1}}})
		if err := l.Flush(context.Background()); !errors.Is(err, errCrash) {
			t.Fatalf("flush: %v", err)
		}
		_ = l.Close()
		mustCheck(t, path)
		l = open(t, path, Options{NoSync: true})
		_, intent, err1 := l.Intent(r.ID, "m")
		_, object, err2 := l.Get(r.From, "m")
		_, series, err3 := l.Series(r.From, "m")
		needs, err4 := l.Needs(r.ID, "m")
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			t.Fatal(err)
		}
		done := point == "commit:after"
		if intent == done || object != done || series != done || (needs != nil) != done {
			t.Errorf("%s: intent %v, object %v, series %v, needs %v", point, intent, object, series, needs)
		}
		closeAndCheck(t, l)
	}
}

// Page by page, over several routes, and not one is missed at the seams.
func TestNeededFindsEachAcrossPages(t *testing.T) {
	l := open(t, tempPath(t), Options{NoSync: true})
	one, two, none := route(t, l, paris("a"), lyon("a")), route(t, l, paris("a"), lyon("b")), route(t, l, paris("a"), lyon("c"))
	const names = MaxPage + 1_500
	for i := range names {
		name := fmt.Sprintf("%06d", i)
		l.Confirm(Confirmation{Place: one.From, Route: one.ID, Name: name, Apply: set(Object{Replicas: []Replica{{Route: one.ID, State: Confirmed}}}), Needs: []Need{NeedOf("one", name)}})
	}
	const large = 30 // times 10,000: three transactions
	for i := range large {
		var needs []Need
		for j := range 10_000 {
			needs = append(needs, NeedOf("two", fmt.Sprint(i, j)))
		}
		name := fmt.Sprintf("large %06d", i)
		l.Confirm(Confirmation{Place: two.From, Route: two.ID, Name: name, Apply: set(Object{Replicas: []Replica{{Route: two.ID, State: Confirmed}}}), Needs: needs})
	}
	var candidates []Need
	want := map[Need]bool{}
	add := func(n Need, needed bool) {
		candidates = append(candidates, n, n) // twice does no harm
		if needed {
			want[n] = true
		}
	}
	for _, i := range []int{0, MaxPage - 1, MaxPage, MaxPage + 1, names - 1} {
		add(NeedOf("one", fmt.Sprintf("%06d", i)), true)
		add(NeedOf("One", fmt.Sprintf("%06d", i)), false)
	}
	for i := range large {
		add(NeedOf("two", fmt.Sprint(i, 0)), true)
		add(NeedOf("two", fmt.Sprint(i, 9_999)), true)
		add(NeedOf("two", fmt.Sprint(i, 10_000)), false)
	}
	before := slices.Clone(candidates)
	ctx := context.Background()
	got, err := l.Needed(ctx, []RouteID{none.ID, one.ID, two.ID, 99}, candidates) // nothing was flushed
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%d of %d found, %v", len(got), len(want), err)
	}
	if !slices.Equal(candidates, before) {
		t.Error("the caller's slice was sorted")
	}
	got, err = l.Needed(ctx, []RouteID{one.ID}, candidates)
	if len(got) != 5 || err != nil {
		t.Errorf("on one route: %d, %v", len(got), err)
	}
	if got, err = l.Needed(ctx, []RouteID{one.ID, two.ID}, nil); len(got) != 0 || err != nil {
		t.Errorf("no candidates: %v, %v", got, err)
	}
	for _, c := range []struct {
		route RouteID
		names int
	}{{one.ID, MaxPage}, {two.ID, scanNeeds / 10_000}} {
		seen := 0
		err := l.view("test", func(tx *bbolt.Tx) error {
			_, more, err := l.needsPage(tx, c.route, "", func(string, []Need) { seen++ })
			if !more {
				t.Errorf("route %d: one transaction read it all", c.route)
			}
			return err
		})
		if seen != c.names || err != nil {
			t.Errorf("route %d: one transaction read %d names, want %d (%v)", c.route, seen, c.names, err)
		}
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := l.Needed(gone, []RouteID{one.ID}, candidates); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	closeAndCheck(t, l)
	ro := open(t, l.Path(), Options{ReadOnly: true})
	if got, err := ro.Needed(ctx, []RouteID{one.ID, two.ID}, candidates); !maps.Equal(got, want) || err != nil {
		t.Errorf("read-only: %d, %v", len(got), err)
	}
	var out strings.Builder
	if err := ro.Dump(ctx, &out); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), `{"type":"needs"`); n != names+large {
		t.Errorf("%d needs were dumped of %d", n, names+large)
	}
	_ = ro.Close()
}

func TestCompanions(t *testing.T) {
	l := fresh(t)
	r := route(t, l, paris("a"), lyon("a"))
	for _, c := range []Companion{{"b", ""}, {"a\x00", "x"}, {"a", "\x00x"}, {"b", ""}, {"abc", "z"}, {"a", ""}} {
		if err := l.AddCompanion(r.From, c); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.AddCompanion(r.To, Companion{"other", ""}); err != nil {
		t.Fatal(err)
	}
	commits := l.Stats().Commits
	if err := errors.Join(l.AddCompanion(r.From, Companion{"b", ""}), l.DropCompanion(r.From, Companion{"b", "never"}), l.DropCompanion(99, Companion{"b", ""})); err != nil {
		t.Error(err)
	}
	if n := l.Stats().Commits; n != commits {
		t.Errorf("%d commits for what was there already", n-commits)
	}
	if err := l.DropCompanion(r.From, Companion{"abc", "z"}); err != nil {
		t.Error(err)
	}
	for err, want := range map[error]error{
		l.AddCompanion(99, Companion{"b", ""}):                               ErrUnknown,
		l.AddCompanion(r.From, Companion{"", "p"}):                           ErrInvalid,
		l.AddCompanion(r.From, Companion{"c", strings.Repeat("x", MaxName)}): ErrInvalid,
		l.DropCompanion(r.From, Companion{}):                                 ErrInvalid,
		l.PutProperties(99, [8]byte{}, 1):                                    ErrUnknown,
	} {
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	long := Companion{strings.Repeat("c", 256), strings.Repeat("x", MaxName-256)}
	if err := l.AddCompanion(r.To, long); err != nil {
		t.Errorf("the longest: %v", err)
	}
	closeAndCheck(t, l)
	l = open(t, l.Path(), Options{})
	want := []Companion{{"a", ""}, {"a", "\x00x"}, {"a\x00", "x"}, {"b", ""}}
	if got, err := l.Companions(r.From); !slices.Equal(got, want) || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := l.Companions(r.To); !slices.Equal(got, []Companion{long, {"other", ""}}) || err != nil {
		t.Errorf("the other place: %d, %v", len(got), err)
	}
	if got, err := l.Companions(99); got != nil || err != nil {
		t.Errorf("unknown place: %v, %v", got, err)
	}
	closeAndCheck(t, l)
}

func TestProperties(t *testing.T) {
	l := fresh(t)
	r, r2 := route(t, l, paris("a"), lyon("a")), route(t, l, paris("a"), lyon("b"))
	for _, at := range []int64{5, 1_790_000_000_000_000} {
		if err := l.PutProperties(r.ID, [8]byte{1, byte(at)}, at); err != nil {
			t.Fatal(err)
		}
		if digest, got, ok, err := l.Properties(r.ID); digest != [8]byte{1, byte(at)} || got != at || !ok || err != nil {
			t.Errorf("got %x %d %v %v", digest, got, ok, err)
		}
	}
	if _, _, ok, err := l.Properties(r2.ID); ok || err != nil {
		t.Errorf("the other route: %v %v", ok, err)
	}
	closeAndCheck(t, l)
}

func TestCheckFindsContradictionsInWhatFormat2Brought(t *testing.T) {
	one := be32(1)
	series := func(change func(s *Series)) func(*bbolt.Tx) error {
		return func(tx *bbolt.Tx) error {
			b, key, s := tx.Bucket([]byte(bucketSeries)).Bucket(one), []byte("history"), testSeries("history", 5, 1, 2)
			change(&s)
			v, err := appendSeries(nil, 1, key, &s)
			return errors.Join(err, b.Put(key, v))
		}
	}
	put := func(top string, owner uint32, key, value []byte) func(*bbolt.Tx) error {
		return func(tx *bbolt.Tx) error {
			b, err := tx.Bucket([]byte(top)).CreateBucketIfNotExists(be32(owner))
			return errors.Join(err, b.Put(key, value))
		}
	}
	companion, _ := companionKey(Companion{Container: "x"})
	for name, c := range map[string]struct {
		do   func(tx *bbolt.Tx) error
		want []string
	}{
		"nothing": {series(func(*Series) {}), nil},
		"series on an unknown route": {series(func(s *Series) { s.Versions[1].SetReplica(SeriesReplica{Route: 77, State: Confirmed}) }),
			[]string{`reference series/1/"history": has a replica on route 77`}},
		"series of an unknown place": {put(bucketSeries, 9, []byte("x"), mustAppend(t, 9, "x")), []string{"reference series/00000009"}},
		"ids twice":                  {put(bucketSeries, 1, []byte("x"), forged("x", "null", "null")), []string{`order series/1/"x": invalid record: series "x": version "null" is there twice`}},
		"younger first":              {put(bucketSeries, 1, []byte("x"), forged("x", testStamp(2), testStamp(1))), []string{`order series/1/"x"`}},
		"series rotten":              {put(bucketSeries, 1, []byte("x"), []byte("rotten")), []string{`record series/1/"x"`}},
		"needs of nothing":           {put(bucketNeeds, 2, []byte("x"), appendNeeds(nil, 2, []byte("x"), []Need{{1}})), []string{`reference needs/2/"x": belongs to no replica`}},
		"needs of another route": {func(tx *bbolt.Tx) error {
			return series(func(s *Series) {
				for i := range s.Versions {
					s.Versions[i].DropReplica(1)
				}
			})(tx)
		}, []string{`reference needs/1/"history": belongs to no replica`}},
		"needs rotten":               {put(bucketNeeds, 1, []byte("000001"), []byte("rotten")), []string{`record needs/1/"000001"`}},
		"companion of unknown place": {put(bucketAlong, 9, companion, seal(kindAlong, 9, companion, []byte{recordVersion}, 0)), []string{"reference along/00000009"}},
		"companion with a body":      {put(bucketAlong, 1, companion, seal(kindAlong, 1, companion, []byte{recordVersion, 0}, 0)), []string{"record along/1/"}},
		"companion's key":            {put(bucketAlong, 1, []byte{0, 9, 'x'}, seal(kindAlong, 1, []byte{0, 9, 'x'}, []byte{recordVersion}, 0)), []string{"record along/1/"}},
		"properties of unknown route": {func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte(bucketProperties)).Put(be32(77), appendProperties(nil, be32(77), [8]byte{}, 1))
		}, []string{"reference properties/0000004d"}},
		"properties rotten": {func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketProperties)).Put(one, []byte("rotten")) }, []string{"record properties/00000001"}},
		"no bucket":         {func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte(bucketNeeds)) }, []string{"bucket needs: is not there"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := tempPath(t)
			sample(t, path, 30)
			tamper(t, path, c.do)
			var got []string
			for _, p := range problems(t, path) {
				got = append(got, p.String())
			}
			ok := len(got) == len(c.want)
			for i := range min(len(got), len(c.want)) {
				ok = ok && strings.HasPrefix(got[i], c.want[i])
			}
			if !ok {
				t.Errorf("got %q\nwant %q", got, c.want)
			}
		})
	}
}

func mustAppend(t *testing.T, p PlaceID, name string) []byte {
	t.Helper()
	s := testSeries(name, 2)
	v, err := appendSeries(nil, p, []byte(name), &s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// forged is a series of place 1 that the ledger would not take.
func forged(name string, ids ...string) []byte {
	b := []byte{recordVersion, byte(len(ids))}
	for _, id := range ids {
		b = append(b, 0, 1, 0) // no flags, empty tag, no time
		b = append(appendID(b, id, 0), 0, 0)
	}
	return seal(kindSeries, 1, []byte(name), b, 0)
}
