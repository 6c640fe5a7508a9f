package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"farshore/policies"
	"farshore/replicator/daemon"
	"farshore/replicator/lag"
	"farshore/replicator/page"
	"farshore/replicator/report"
)

// memory is a ledger's notes.
type memory struct {
	mu   sync.Mutex
	all  map[string][]byte
	puts int
	err  error
}

func newMemory() *memory { return &memory{all: map[string][]byte{}} }

func (m *memory) Note(key string) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.all[key]
	return bytes.Clone(v), ok, nil
}

func (m *memory) PutNote(key string, v []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.puts++
	if m.err != nil {
		return m.err
	}
	m.all[key] = bytes.Clone(v)
	return nil
}

var pageNow = time.Date(2027, 3, 28, 0, 30, 0, 0, time.UTC)

// A run's findings are kept through a restart, the worst of them, and only those are new
// that the run before did not have.
func TestRunsKept(t *testing.T) {
	m := newMemory()
	k := newRuns(m)
	find := func(level report.Level, name string) report.Finding {
		return report.Finding{Kind: "k", Level: level, Name: name, Cause: "c " + name}
	}
	var all []report.Finding
	for range keepFindings {
		all = append(all, find(report.Info, strings.Repeat("i", len(all)+1)))
	}
	all = append(all, find(report.Warn, "w"), find(report.Error, "e"))
	fresh, err := k.put("photos", lastRun{Kind: daemon.Pass, Began: pageNow, More: 5}, all)
	if err != nil || len(fresh) != len(all) {
		t.Fatalf("%d fresh, %v", len(fresh), err)
	}
	k = newRuns(m) // a restart
	r, ok, err := k.get("photos", daemon.Pass)
	if err != nil || !ok || len(r.Findings) != keepFindings || r.Findings[0].Name != "e" || r.Findings[1].Name != "w" || r.More != 7 || !r.Began.Equal(pageNow) {
		t.Errorf("%v %v %d findings, %d more, first %+v", ok, err, len(r.Findings), r.More, r.Findings[0])
	}
	all[0].Cause = "in other words"
	fresh, err = k.put("photos", lastRun{Kind: daemon.Pass, Began: pageNow.Add(time.Hour)}, append(all, find(report.Error, "new")))
	if err != nil || len(fresh) != 1 || fresh[0].Name != "new" {
		t.Errorf("%+v, %v", fresh, err)
	}
	if fresh, _ = k.put("photos", lastRun{Kind: daemon.Audit, Began: pageNow}, all[:1]); len(fresh) != 1 {
		t.Error("what the pass found is not new to the audit")
	}
	if _, ok, _ := k.get("docs", daemon.Pass); ok {
		t.Error("a policy that never ran has a last run")
	}
	m.err = errors.New("no space left on device")
	if fresh, err = k.put("photos", lastRun{Kind: daemon.Pass, Began: pageNow.Add(2 * time.Hour)}, []report.Finding{find(report.Error, "newer")}); err == nil || len(fresh) != 1 {
		t.Errorf("a full ledger: %v, %d fresh", err, len(fresh))
	}
	if r, _, _ := k.get("photos", daemon.Pass); len(r.Findings) != 1 {
		t.Error("what could not be kept is not shown either")
	}
}

// Lag is kept for a day by the minute and for two weeks by the highest of a quarter of an
// hour, through a restart, in few writes and little room.
func TestLagHistory(t *testing.T) {
	m := newMemory()
	h := newLagHistory(m)
	at := pageNow
	step := func(seconds float64, d time.Duration) {
		h.add(at, []lag.Peak{{Policy: "p", Region: "lyon", Seconds: seconds}})
		at = at.Add(d)
	}
	for range 15 * 96 {
		step(14, lagSpan)
	}
	for i := range 26 * 60 {
		step(float64(i%15), lagEvery)
	}
	day, long := h.of("p", "lyon")
	if len(day) != 1441 || len(long) < 14*96-1 || len(long) > 14*96+1 {
		t.Fatalf("%d by the minute, %d of the long ones", len(day), len(long))
	}
	for i, s := range long {
		if s.Value != 14 || i > 0 && s.At.Sub(long[i-1].At) != 15*time.Minute {
			t.Fatalf("the %d. span is %+v", i, s)
		}
	}
	if m.puts > 15*96+26*4 {
		t.Errorf("%d writes in 15 days and 26 hours", m.puts)
	}
	if n := len(m.all[laneKey("p", "lyon")]); n > 100<<10 {
		t.Errorf("%d bytes", n)
	}
	h.save([]lag.Peak{{Policy: "p", Region: "lyon"}})
	again := newLagHistory(m)
	day2, long2 := again.of("p", "lyon")
	if d := cmp.Diff([][]page.Sample{day, long}, [][]page.Sample{day2, long2}); d != "" {
		t.Errorf("after a restart (-before +after):\n%s", d)
	}
	again.add(day[10].At, []lag.Peak{{Policy: "p", Region: "lyon", Seconds: 3}}) // the clock was set back
	if got, _ := again.of("p", "lyon"); len(got) > 13 || got[len(got)-1].Value != 3 {
		t.Errorf("after the clock was set back there are %d, the last %+v", len(got), got[len(got)-1])
	}
}

// What a killed daemon did not write down is a hole, in both charts, and what one that was
// ended in the middle of a span had measured of it counts.
func TestLagHistoryHole(t *testing.T) {
	m := newMemory()
	at := time.Date(2027, 3, 28, 0, 0, 0, 0, time.UTC)
	run := func(h *lagHistory, minutes int, seconds float64) []lag.Peak {
		peaks := []lag.Peak{{Policy: "p", Region: "lyon", Seconds: seconds}}
		for range minutes {
			h.add(at, peaks)
			at = at.Add(lagEvery)
		}
		return peaks
	}
	said := func(h *lagHistory) string {
		var out []string
		day, long := h.of("p", "lyon")
		for i, all := range [][]page.Sample{day, long} {
			for _, s := range all {
				if i == 1 || s.Hole {
					out = append(out, fmt.Sprintf("%d %s %v %v", i, s.At.Format("15:04"), s.Value, s.Hole))
				}
			}
		}
		return strings.Join(out, "; ")
	}
	h := newLagHistory(m)
	h.save(run(h, 20, 70)) // ended at 0:20
	h = newLagHistory(m)
	run(h, 20, 3) // killed at 0:40: it wrote at 0:30
	h = newLagHistory(m)
	at = at.Add(25 * time.Minute)
	run(h, 26, 5) // 1:05 to 1:31
	if got, want := said(h), "0 01:05 5 true; 1 00:00 70 false; 1 00:15 70 false; 1 00:30 3 false; 1 01:00 5 true; 1 01:15 5 false"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// An address of this machine answers under no other name, and every answer keeps a browser
// from doing more than to show.
func TestPageGuard(t *testing.T) {
	pages, err := page.New()
	if err != nil {
		t.Fatal(err)
	}
	b := &wall{pages: pages, drawn: []byte("drawn")}
	b.at = time.Now()
	for at, want := range map[string]map[string]int{
		"127.0.0.1:9913": {"127.0.0.1:9913": 200, "localhost:9913": 200, "[::1]:9913": 200, "10.0.0.5": 200, "evil.example": 403, "evil.example:9913": 403, "localhost.evil.example": 403},
		"10.0.0.5:9913":  {"farshore.example": 200},
	} {
		addr, err := net.ResolveTCPAddr("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		mux := http.NewServeMux()
		b.handle(mux, addr)
		for host, code := range want {
			for _, path := range []string{"/page.css", "/page.js", "/icon.svg"} {
				req := httptest.NewRequest(http.MethodGet, path, nil)
				req.Host = host
				rw := httptest.NewRecorder()
				mux.ServeHTTP(rw, req)
				h := rw.Header()
				if rw.Code != code || h.Get("Content-Security-Policy") != page.ContentPolicy || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cross-Origin-Resource-Policy") != "same-origin" || h.Get("Cache-Control") != "no-store" {
					t.Errorf("%s asked as %s for %s: %d %v, want %d", at, host, path, rw.Code, h, code)
				}
			}
		}
		rw := httptest.NewRecorder()
		mux.ServeHTTP(rw, httptest.NewRequest(http.MethodPost, "http://127.0.0.1/", nil))
		if rw.Code != http.StatusMethodNotAllowed {
			t.Errorf("a POST is answered %d", rw.Code)
		}
	}
}

// Addresses and secrets are read beside the policy file, and what is wrong with them is
// said without them.
func TestHooksOf(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"url": "https://me:hunter2@hooks.example/T0\n", "plain": "http://hooks.example/hunter2", "secret": "s3cret\n", "two": "a\nb\n", "empty": "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := &policies.File{Name: filepath.Join(dir, "farshore.yaml"), Webhooks: []policies.Webhook{{URLFile: "url", SecretFile: "secret", Format: policies.FormatSlack, Events: []string{policies.OnLate}}}}
	all, err := hooksOf(f)
	if err != nil || len(all) != 1 || all[0].Host() != "https://hooks.example" || string(all[0].Secret) != "s3cret" || !all[0].Slack || all[0].Events[0] != report.EventLate {
		t.Fatalf("%+v, %v", all, err)
	}
	for what, c := range map[string]struct {
		w    policies.Webhook
		says string
	}{
		"in the clear": {policies.Webhook{URLFile: "plain"}, "the URL in plain would be sent in the clear (write https, or add allow_http: true)"},
		"missing":      {policies.Webhook{URLFile: "nosuch"}, "no such file"},
		"two lines":    {policies.Webhook{URL: "https://a.example", SecretFile: "two"}, "must hold one line"},
		"empty":        {policies.Webhook{URL: "https://a.example", SecretFile: "empty"}, "must hold one line"},
		"twice":        {policies.Webhook{URLFile: "url"}, "another one has the same address"},
	} {
		f.Webhooks = append(f.Webhooks[:1:1], c.w)
		_, err := hooksOf(f)
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "webhooks[1]") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
