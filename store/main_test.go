package store

import (
	"context"
	"crypto/md5"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// childEnv makes the test binary play another process: "role argument".
const childEnv = "FARSHORE_STORE_CHILD"

func TestMain(m *testing.M) {
	if role := os.Getenv(childEnv); role != "" {
		os.Exit(child(strings.Fields(role)))
	}
	goleak.VerifyTestMain(m)
}

func tempPath(t testing.TB) string { return filepath.Join(t.TempDir(), "ledger.db") }

func open(t testing.TB, path string, o Options) *Ledger {
	t.Helper()
	l, err := Open(path, o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = l.Close() }) // a second Close does no harm
	return l
}

func fresh(t testing.TB) *Ledger { return open(t, tempPath(t), Options{}) }

func closeAndCheck(t testing.TB, l *Ledger) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	mustCheck(t, l.Path())
}

// failer is the part of testing.TB that rapid's T has too, which must be the one
// that fails for rapid to find the smallest case.
type failer interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

func mustCheck(t failer, path string) {
	t.Helper()
	for _, p := range problems(t, path) {
		t.Errorf("check: %s", p)
	}
}

func problems(t failer, path string) (found []Problem) {
	t.Helper()
	if err := Check(context.Background(), path, func(p Problem) error { found = append(found, p); return nil }); err != nil {
		t.Fatalf("check: %v", err)
	}
	return found
}

func paris(container string) Place {
	return Place{Region: "paris", Project: "p1", Container: container}
}
func lyon(container string) Place { return Place{Region: "lyon", Project: "p1", Container: container} }

func route(t testing.TB, l *Ledger, from, to Place) RouteInfo {
	t.Helper()
	r, err := l.Route(Route{From: from, To: to})
	if err != nil {
		t.Fatalf("route: %v", err)
	}
	return r
}

func etag(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }

// testObject is a record like those of a first pass.
func testObject(name string, routes ...RouteID) Object {
	o := Object{Name: name, Size: int64(len(name)), Version: Version{ETag: etag(name), Modified: 1_790_000_000_123_456}}
	for _, r := range routes {
		o.SetReplica(Replica{Route: r, State: Confirmed, Version: o.Version, Written: o.Version.Modified + 5_000_000, Confirmed: o.Version.Modified + 5_250_000})
	}
	return o
}

func set(o Object) func(*Object, bool) bool {
	return func(to *Object, _ bool) bool {
		*to = o
		to.Replicas = append([]Replica(nil), o.Replicas...)
		return true
	}
}

func flush(t testing.TB, l *Ledger) {
	t.Helper()
	if err := l.Flush(context.Background()); err != nil {
		t.Fatalf("flush: %v", err)
	}
}

func names(objects []Object) (out []string) {
	for _, o := range objects {
		out = append(out, o.Name)
	}
	return out
}

// testStamp is a version id of Swift's.
func testStamp(i int) string { return fmt.Sprintf("%010d.%05d", 1_790_000_000+i/7, i%7*12_345) }

// testSeries is a history with something of everything.
func testSeries(name string, versions int, routes ...RouteID) Series {
	s := Series{Name: name}
	for i := range versions {
		v := SeriesVersion{ID: testStamp(i), Size: int64(i), Version: Version{ETag: etag(fmt.Sprint(name, i)), Modified: 1_790_000_000_000_000 + int64(i)/7*1_000_000 + int64(i)%7*123_450}}
		switch {
		case i == 0:
			v.ID = "null" // what was there before the container was versioned
		case i%5 == 2:
			v.Marker = true
		case i%5 == 3:
			v.Meta = [8]byte{byte(i)}
		}
		for j, r := range routes {
			x := SeriesReplica{Route: r, State: Confirmed, ID: fmt.Sprintf("%010d.%05d", 1_795_000_000+i, 7*j), Written: 1_795_000_000_500_000 + int64(i)*1_000_000}
			x.Confirmed = x.Written + 250_000
			if i%5 == 4 {
				x = SeriesReplica{Route: r, State: Cannot, Note: "too large"}
			}
			v.SetReplica(x)
		}
		s.Versions = append(s.Versions, v)
	}
	if versions > 0 {
		s.Versions[versions-1].Latest = true
	}
	return s
}

// cloneSeries shares nothing with s.
func cloneSeries(s Series) Series {
	s.Versions = slices.Clone(s.Versions)
	for i := range s.Versions {
		s.Versions[i].Replicas = slices.Clone(s.Versions[i].Replicas)
	}
	return s
}

func setSeries(s Series) func(*Series, bool) bool {
	return func(to *Series, _ bool) bool { *to = cloneSeries(s); return true }
}
