package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"farshore/replicator/report"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// notes is a ledger's notes.
type notes struct {
	mu  sync.Mutex
	all map[string][]byte
	err error
}

func newNotes() *notes { return &notes{all: map[string][]byte{}} }

func (n *notes) Note(key string) ([]byte, bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	v, ok := n.all[key]
	return bytes.Clone(v), ok, nil
}

func (n *notes) PutNote(key string, v []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err != nil {
		return n.err
	}
	if delete(n.all, key); v != nil {
		n.all[key] = bytes.Clone(v)
	}
	return nil
}

func (n *notes) text() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var b strings.Builder
	for k, v := range n.all {
		fmt.Fprintf(&b, "%s=%s\n", k, v)
	}
	return b.String()
}

// got is a request as a receiver saw it.
type got struct {
	at   time.Duration
	head http.Header
	body []byte
	p    Payload
	e    report.Event
}

// receiver takes requests in memory, or does not.
type receiver struct {
	mu    sync.Mutex
	began time.Time
	fail  func(n int) error // of the n-th request; nil: taken
	tries []time.Duration
	taken []got
}

func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	at := time.Since(r.began)
	r.tries = append(r.tries, at)
	resp := &http.Response{StatusCode: 204, Status: "204 No Content", Body: http.NoBody, Request: req}
	if r.fail != nil {
		if err := r.fail(len(r.tries)); errors.Is(err, errStatus) {
			resp.StatusCode, resp.Status = 500, "500 Oh"
			return resp, nil
		} else if err != nil {
			return nil, err
		}
	}
	x := got{at: at, head: req.Header, body: b}
	if err := errors.Join(json.Unmarshal(b, &x.p), json.Unmarshal(x.p.Event, &x.e)); err != nil {
		return nil, err
	}
	r.taken = append(r.taken, x)
	return resp, nil
}

var errStatus = errors.New("answer 500")

func (r *receiver) ids() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, x := range r.taken {
		out = append(out, x.p.Delivery)
	}
	return strings.Join(out, " ")
}

func (r *receiver) set(fail func(int) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = fail
}

const secretURL = "https://me:hunter2@hooks.example/T000/B000/XYZZY?k=v"

func target(t *testing.T, events ...report.EventKind) Target {
	t.Helper()
	u, err := url.Parse(secretURL)
	if err != nil {
		t.Fatal(err)
	}
	return Target{URL: u, Secret: []byte("s3cret"), Events: events}
}

func event(kind report.EventKind, id string) report.Event {
	return report.Event{Kind: kind, ID: id, At: time.Now().UTC(), Policy: "photos", Text: id + " of <photos> & co"}
}

// A receiver that is away gets every event when it is back: in order, once, signed.
func TestAwayAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := newNotes(), &receiver{began: time.Now()}
		var log bytes.Buffer
		r.set(func(n int) error {
			if n%2 == 0 {
				return errStatus
			}
			return &url.Error{Op: "Post", URL: secretURL, Err: errors.New("connection refused")}
		})
		s := New(Options{Memory: m, Client: r, Log: slog.New(slog.NewTextHandler(&log, nil)), From: Origin{Host: "ops1", Version: "v1", Ledger: "/l.db"}})
		if err := s.Follow(t.Context(), []Target{target(t, report.EventLate, report.EventArrived)}); err != nil {
			t.Fatal(err)
		}
		for _, e := range []report.Event{event(report.EventLate, "1"), event(report.EventDrill, "2"), event(report.EventArrived, "1"), event(report.EventLate, "3")} {
			s.Tell(e)
		}
		s.Tell(event(report.EventLate, "3")) // told again: it waits already
		time.Sleep(time.Hour)
		r.set(nil)
		time.Sleep(lastRetry)
		synctest.Wait()
		if got := r.ids(); got != "late-1 arrived-1 late-3" {
			t.Errorf("delivered: %s", got)
		}
		if want := []time.Duration{0, 5 * time.Second, 15 * time.Second, 35 * time.Second, 75 * time.Second, 155 * time.Second, 315 * time.Second, 635 * time.Second, 1235 * time.Second}; !strings.HasPrefix(fmt.Sprint(r.tries), strings.TrimSuffix(fmt.Sprint(want), "]")) {
			t.Errorf("tried at %v, want to begin with %v", r.tries, want)
		}
		x := r.taken[0]
		if x.head.Get("X-Farshore-Signature") != Sign([]byte("s3cret"), x.body) || x.head.Get("X-Farshore-Event") != "late" || x.head.Get("X-Farshore-Delivery") != "late-1" || x.head.Get("Content-Type") != "application/json" {
			t.Errorf("headers: %v", x.head)
		}
		if x.p.Schema != 1 || x.p.Host != "ops1" || x.p.Ledger != "/l.db" || x.e.Policy != "photos" || x.e.Text != "1 of <photos> & co" {
			t.Errorf("payload: %s", x.body)
		}
		if st := s.Standings()[0]; st.Waiting != 0 || st.Delivered != 3 || st.Failed < 9 || st.Error != "" || st.Host != "https://hooks.example" {
			t.Errorf("%+v", st)
		}
		s.Close()
		for _, secret := range []string{"hunter2", "XYZZY", "s3cret", "T000"} {
			if strings.Contains(log.String()+m.text(), secret) {
				t.Errorf("%s stands in the log or the ledger:\n%s%s", secret, log.String(), m.text())
			}
		}
		if !strings.Contains(log.String(), "does not take events") || !strings.Contains(log.String(), "takes events again") {
			t.Errorf("log: %s", log.String())
		}
	})
}

// What waits is told by the next process; what waited for a webhook that is no more is not.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := newNotes(), &receiver{began: time.Now()}
		r.set(func(int) error { return errStatus })
		s := New(Options{Memory: m, Client: r})
		if err := s.Follow(t.Context(), []Target{target(t, report.EventLate)}); err != nil {
			t.Fatal(err)
		}
		s.Tell(event(report.EventLate, "a"))
		s.Tell(event(report.EventLate, "b"))
		synctest.Wait()
		s.Close()
		if err := s.Follow(t.Context(), nil); err == nil {
			t.Error("a closed sender follows")
		}
		r.set(nil)
		s = New(Options{Memory: m, Client: r})
		if err := s.Follow(t.Context(), []Target{target(t, report.EventLate)}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := r.ids(); got != "late-a late-b" {
			t.Errorf("the next process delivered %q", got)
		}
		r.set(func(int) error { return errStatus })
		s.Tell(event(report.EventLate, "c"))
		synctest.Wait()
		if err := s.Follow(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if got := m.text(); got != "" {
			t.Errorf("the ledger still has %s", got)
		}
		s.Close()
	})
}

// A queue is bounded in number, bytes and age; the next request says what was lost.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := newNotes(), &receiver{began: time.Now()}
		r.set(func(int) error { return errStatus })
		s := New(Options{Memory: m, Client: r})
		if err := s.Follow(t.Context(), []Target{target(t, report.EventLate, report.EventFinding)}); err != nil {
			t.Fatal(err)
		}
		for i := range keepItems + 7 {
			s.Tell(event(report.EventLate, fmt.Sprint(i)))
		}
		if st := s.Standings()[0]; st.Waiting != keepItems || st.Dropped != 7 {
			t.Errorf("%d wait, %d are dropped", st.Waiting, st.Dropped)
		}
		long := event(report.EventFinding, "long")
		for range 300 {
			long.Findings = append(long.Findings, report.Finding{Kind: report.KindFailed, Cause: strings.Repeat("x", 1000)})
		}
		for i := range 40 {
			long.ID = fmt.Sprint("long", i)
			s.Tell(long)
		}
		if n := len(m.text()); n > 900<<10 {
			t.Errorf("the ledger keeps %d bytes, a note can have 1 MiB", n)
		}
		before := s.Standings()[0].Dropped
		r.set(nil)
		time.Sleep(lastRetry)
		synctest.Wait()
		if r.taken[0].p.Dropped != before || r.taken[1].p.Dropped != 0 {
			t.Errorf("the first says %d were dropped, the second %d; %d were", r.taken[0].p.Dropped, r.taken[1].p.Dropped, before)
		}
		if last := r.taken[len(r.taken)-1].e; len(last.Findings) != longestList || last.More != 300-longestList {
			t.Errorf("%d findings and %d more", len(last.Findings), last.More)
		}
		r.set(func(int) error { return errStatus })
		s.Tell(event(report.EventLate, "old"))
		time.Sleep(keepFor + lastRetry)
		if st := s.Standings()[0]; st.Waiting != 0 {
			t.Errorf("%d wait after a day", st.Waiting)
		}
		s.Close()
	})
}

// A ledger that is full is said, and stops nobody.
func TestFullLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := newNotes(), &receiver{began: time.Now()}
		var log bytes.Buffer
		s := New(Options{Memory: m, Client: r, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err := s.Follow(t.Context(), []Target{target(t, report.EventLate)}); err != nil {
			t.Fatal(err)
		}
		m.mu.Lock()
		m.err = errors.New("no space left on device")
		m.mu.Unlock()
		s.Tell(event(report.EventLate, "x"))
		synctest.Wait()
		s.Close()
		if !strings.Contains(log.String(), "no space left") || r.ids() != "late-x" {
			t.Errorf("delivered %q; log: %s", r.ids(), log.String())
		}
	})
}

// Over real connections: what arrives is signed, Slack gets a line of text, a redirect is
// not followed, and a slow receiver keeps nobody waiting.
func TestOverHTTP(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	bodies, release := make(chan string, 4), make(chan struct{})
	s1 := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		b, _ := io.ReadAll(req.Body)
		switch req.URL.Path {
		case "/slack":
			bodies <- string(b)
		case "/moved":
			http.Redirect(rw, req, elsewhere.URL, http.StatusTemporaryRedirect)
			bodies <- "moved"
		case "/slow":
			bodies <- "slow"
			select {
			case <-release:
			case <-req.Context().Done():
			}
		}
	}))
	defer s1.Close()
	defer close(release)
	s := New(Options{Memory: newNotes()})
	var targets []Target
	for _, path := range []string{"/slack", "/moved", "/slow"} {
		u, err := url.Parse(s1.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		targets = append(targets, Target{URL: u, Slack: path == "/slack", Events: []report.EventKind{report.EventDrill}})
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := s.Follow(ctx, targets); err != nil {
		t.Fatal(err)
	}
	s.Tell(event(report.EventDrill, "7"))
	seen := map[string]bool{}
	for range 3 {
		select {
		case b := <-bodies:
			seen[b] = true
		case <-time.After(time.Minute):
			t.Fatalf("only %v arrived", seen)
		}
	}
	if !seen["moved"] || !seen["slow"] || !seen[`{"text":"farshore: 7 of \u0026lt;photos\u0026gt; \u0026amp; co"}`] {
		t.Errorf("%v", seen)
	}
	s.Close() // though one of them never answers
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}
