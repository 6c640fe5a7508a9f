package store

import (
	"context"
	"crypto/md5"
	"fmt"
	"os"
	"path/filepath"
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
