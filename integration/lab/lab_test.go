package lab_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"farshore/integration/lab"
)

// describe makes a state folder for a Keystone and Swift that handler plays.
func describe(t *testing.T, handler http.Handler) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	raw, err := json.Marshal(map[string]any{
		"auth_url": srv.URL + "/v3",
		"regions":  []map[string]string{{"alias": "one", "name": "R1", "swift": srv.URL, "cinder": srv.URL + "/cinder"}},
		"clouds":   map[string]any{"lab-one": map[string]any{"region_name": "R1", "auth": map[string]string{"username": "tenant"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "lab.json"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FARSHORE_LAB_STATE", dir)
	return srv
}

func TestOpenSaysWhatIsDown(t *testing.T) {
	t.Setenv("FARSHORE_LAB_STATE", t.TempDir())
	if _, err := lab.Open(context.Background()); err == nil || !strings.Contains(err.Error(), "lab.json") {
		t.Fatalf("without a lab: %v", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/v3", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/healthcheck", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	mux.HandleFunc("/cinder/healthcheck", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) })
	srv := describe(t, mux)
	_, err := lab.Open(context.Background())
	for _, want := range []string{srv.URL + "/healthcheck: 503", srv.URL + "/cinder/healthcheck: 502"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("with an ill proxy and API: %v", err)
		}
	}
	srv.Close()
	if _, err := lab.Open(context.Background()); err == nil || strings.Count(err.Error(), "connection refused") != 3 {
		t.Fatalf("with all down: %v", err)
	}
}

// failing records that a test was failed and ends its goroutine, as testing.T does.
type failing struct {
	testing.TB
	failed, skipped atomic.Bool
}

func (f *failing) Helper()               {}
func (f *failing) Fatalf(string, ...any) { f.failed.Store(true); panic(f) }
func (f *failing) Skipf(string, ...any)  { f.skipped.Store(true); panic(f) }

func TestRequireFailsAndNeverSkips(t *testing.T) {
	t.Setenv("FARSHORE_LAB_STATE", t.TempDir())
	f := &failing{TB: t}
	func() {
		defer func() {
			if r := recover(); r != f {
				t.Errorf("Require ended with %v", r)
			}
		}()
		lab.Require(f)
	}()
	if !f.failed.Load() || f.skipped.Load() {
		t.Fatalf("failed %v, skipped %v", f.failed.Load(), f.skipped.Load())
	}
}

func TestClientLogsInAgainAndReadsEveryPage(t *testing.T) {
	var logins atomic.Int32
	var srv *httptest.Server
	names := []string{"a", "b", "c"}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v3", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /healthcheck", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /cinder/healthcheck", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /v3/auth/tokens", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Subject-Token", fmt.Sprint("token-", logins.Add(1)))
		w.WriteHeader(201)
		fmt.Fprintf(w, `{"token":{"catalog":[{"type":"object-store","endpoints":[
			{"interface":"public","region":"R0","url":"http://wrong"},
			{"interface":"internal","region":"R1","url":"http://wrong"},
			{"interface":"public","region":"R1","url":"%s/v1/AUTH_x"}]}]}}`, srv.URL)
	})
	mux.HandleFunc("GET /v1/AUTH_x/box", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Auth-Token") != "token-2" {
			w.WriteHeader(401)
			return
		}
		page := []map[string]string{}
		for _, n := range names {
			if n > r.URL.Query().Get("marker") && len(page) < 2 {
				page = append(page, map[string]string{"name": n})
			}
		}
		if err := json.NewEncoder(w).Encode(page); err != nil {
			t.Error(err)
		}
	})
	srv = describe(t, mux)
	c := lab.Require(t).Client(t, "lab-one")
	if diff := cmp.Diff(names, lab.Names(c.List(t, "box", nil))); diff != "" {
		t.Fatal(diff)
	}
	if n := logins.Load(); n != 2 {
		t.Fatalf("%d logins, want 2: one at first, one after the 401", n)
	}
}

func TestPathsAreEscaped(t *testing.T) {
	if got, want := lab.Path("a b", "dir/ä?#%2F"), "/a%20b/dir/%C3%A4%3F%23%252F"; got != want {
		t.Fatalf("path %s, want %s", got, want)
	}
}
