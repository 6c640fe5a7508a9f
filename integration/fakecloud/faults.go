package fakecloud

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Match says which requests a fault befalls. Empty fields match everything.
type Match struct {
	Method    string // "GET", or several: "GET,HEAD"
	Container string
	Name      string // exact object name
	Prefix    string // of the object name
	// Class narrows to account, container, listing or object requests.
	Class Class
	// Query must appear in the raw query, e.g. "multipart-manifest=put".
	Query string
	// Func is a further condition; it must not touch the body.
	Func func(*http.Request) bool `json:"-"`
	// Skip lets that many matching requests pass first; Times then strikes that
	// many (0: all). Rate in (0,1] strikes only that share of them, by Seed.
	Skip, Times int
	Rate        float64
	Seed        int64
}

// Fault is a scripted failure. Name appears in counts and reports.
type Fault struct {
	Name  string
	Match Match
	Do    Action
}

// How a body ends when it is cut.
type Cut string

const (
	// CutReset ends the connection with a TCP reset.
	CutReset Cut = "reset"
	// CutClose closes the connection before the announced length.
	CutClose Cut = "close"
	// CutShortLength announces the shortened length: a clean, wrong answer.
	CutShortLength Cut = "short-length"
	// CutChunked sends no length and ends the chunked body early: a clean, wrong answer.
	CutChunked Cut = "chunked"
)

// Action is what a fault does; make one with the functions below.
type Action struct {
	Kind   string            `json:"kind"`
	Status int               `json:"status,omitempty"`
	Header map[string]string `json:"header,omitempty"`
	After  int64             `json:"after,omitempty"`
	Cut    Cut               `json:"cut,omitempty"`
	Delay  time.Duration     `json:"delay,omitempty"`
	Hook   func()            `json:"-"`
}

const (
	kindStatus       = "status"
	kindDelay        = "delay"
	kindReset        = "reset"
	kindStall        = "stall"
	kindStallReply   = "stall-reply"
	kindStallBody    = "stall-request"
	kindTruncate     = "truncate"
	kindTruncateBody = "truncate-request"
	kindFlip         = "flip"
	kindFlipBody     = "flip-request"
	kindLie          = "lie"
	kindHook         = "hook"
	kindLose         = "lose-reply"
	kindHang         = "hang-reply"
)

// Status answers with code and headers without doing anything (Retry-After for
// 429, 498, 503; 413 as a quota would).
func Status(code int, header map[string]string) Action {
	return Action{Kind: kindStatus, Status: code, Header: header}
}

// Delay waits (real time) before the request is handled.
func Delay(d time.Duration) Action { return Action{Kind: kindDelay, Delay: d} }

// Reset resets the connection before the request is handled.
func Reset() Action { return Action{Kind: kindReset} }

// Stall never answers: it holds the request until the client or the region goes.
func Stall() Action { return Action{Kind: kindStall} }

// StallReply stops sending after n bytes of the reply's body.
func StallReply(n int64) Action { return Action{Kind: kindStallReply, After: n} }

// StallRequest stops reading after n bytes of the request's body.
func StallRequest(n int64) Action { return Action{Kind: kindStallBody, After: n} }

// Truncate ends the reply's body after n bytes in the way of cut.
func Truncate(n int64, cut Cut) Action { return Action{Kind: kindTruncate, After: n, Cut: cut} }

// TruncateRequest resets the connection after n bytes of the request's body;
// nothing is stored.
func TruncateRequest(n int64) Action { return Action{Kind: kindTruncateBody, After: n} }

// FlipReply inverts byte n of the reply's body.
func FlipReply(n int64) Action { return Action{Kind: kindFlip, After: n} }

// FlipRequest inverts byte n of the request's body on its way in: a sent Etag
// no longer fits, so the answer is 422 and nothing is stored.
func FlipRequest(n int64) Action { return Action{Kind: kindFlipBody, After: n} }

// Lie stores the request's body with byte n inverted, yet answers and lists
// the ETag of what was sent.
func Lie(n int64) Action { return Action{Kind: kindLie, After: n} }

// Hook runs f after n bytes of the reply's body have been sent (at once for an
// empty body): to replace an object while it is read.
func Hook(n int64, f func()) Action { return Action{Kind: kindHook, After: n, Hook: f} }

// LoseReply handles the request, then resets the connection instead of answering.
func LoseReply() Action { return Action{Kind: kindLose} }

// HangReply handles the request, then never answers.
func HangReply() Action { return Action{Kind: kindHang} }

// armed is a fault in force with its counts; guarded by faultBox.mu.
type armed struct {
	Fault
	id      int
	seen    int // matching requests
	struck  int
	random  *rand.Rand
	removed bool
}

// faultBox holds a region's faults.
type faultBox struct {
	mu   sync.Mutex
	next int
	all  []*armed
}

// AddFault puts a fault in force and returns its id. Faults are tried in the
// order they were added; several can strike one request.
func (r *Region) AddFault(f Fault) int {
	r.faults.mu.Lock()
	defer r.faults.mu.Unlock()
	r.faults.next++
	a := &armed{Fault: f, id: r.faults.next}
	if f.Match.Rate > 0 {
		a.random = rand.New(rand.NewPCG(uint64(f.Match.Seed), 1))
	}
	r.faults.all = append(r.faults.all, a)
	r.anyFault.Store(true)
	return a.id
}

// RemoveFault ends a fault; its counts stay.
func (r *Region) RemoveFault(id int) {
	r.faults.mu.Lock()
	defer r.faults.mu.Unlock()
	for _, a := range r.faults.all {
		a.removed = a.removed || a.id == id
	}
}

// ClearFaults forgets all faults and their counts.
func (r *Region) ClearFaults() {
	r.faults.mu.Lock()
	defer r.faults.mu.Unlock()
	r.faults.all = nil
	r.anyFault.Store(false)
}

// FaultCount returns how many requests the fault has struck.
func (r *Region) FaultCount(id int) int {
	r.faults.mu.Lock()
	defer r.faults.mu.Unlock()
	for _, a := range r.faults.all {
		if a.id == id {
			return a.struck
		}
	}
	return 0
}

// VerifyFaultsUsed is an error naming each fault that struck nothing, or fewer
// than its Times: a test whose fault never happened has proved nothing.
func (r *Region) VerifyFaultsUsed() error {
	r.faults.mu.Lock()
	defer r.faults.mu.Unlock()
	var unused []string
	for _, a := range r.faults.all {
		if a.struck == 0 || a.struck < a.Match.Times {
			unused = append(unused, fmt.Sprintf("%q (%s) struck %d, matched %d, wanted %d",
				a.Name, a.Do.Kind, a.struck, a.seen, max(1, a.Match.Times)))
		}
	}
	if r.block != nil {
		unused = append(unused, r.block.unusedFaults()...)
	}
	if unused == nil {
		return nil
	}
	return fmt.Errorf("verify faults of %s: %s", r.opts.Name, strings.Join(unused, "; "))
}

// strike returns the actions that befall q.
func (r *Region) strike(q *request) []Action {
	if !r.anyFault.Load() {
		return nil
	}
	r.faults.mu.Lock()
	defer r.faults.mu.Unlock()
	var out []Action
	for _, a := range r.faults.all {
		if a.removed || !a.Match.fits(q) {
			continue
		}
		a.seen++
		if a.seen <= a.Match.Skip || a.Match.Times > 0 && a.struck >= a.Match.Times {
			continue
		}
		if a.random != nil && a.random.Float64() >= a.Match.Rate {
			continue
		}
		a.struck++
		out = append(out, a.Do)
	}
	return out
}

func (m *Match) fits(q *request) bool {
	if m.Method != "" && !methodIn(m.Method, q.r.Method) {
		return false
	}
	if m.Class != "" && m.Class != q.class ||
		m.Container != "" && m.Container != q.cont ||
		m.Name != "" && m.Name != q.obj ||
		m.Prefix != "" && (q.obj == "" || !strings.HasPrefix(q.obj, m.Prefix)) ||
		m.Query != "" && !strings.Contains(q.r.URL.RawQuery, m.Query) {
		return false
	}
	return m.Func == nil || m.Func(q.r)
}

func methodIn(list, method string) bool {
	for m := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(m) == method {
			return true
		}
	}
	return false
}
