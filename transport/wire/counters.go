package wire

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Kind is what a request is about.
type Kind int

// The kinds. Other is everything that is not Keystone's, the object store's or block
// storage's; Block is told by WithKind only.
const (
	Other Kind = iota
	Auth
	Block
	Info
	Account
	Container
	Object
)

var kindNames = [...]string{"other", "auth", "block", "info", "account", "container", "object"}

func (k Kind) String() string { return kindNames[k] }

func (k Kind) store() bool { return k >= Info }

// KindOf tells what a path is about. storage is the path of the account's storage
// URL; where it is empty, /v1/<account> is assumed.
func KindOf(path, storage string) Kind {
	storage = strings.TrimSuffix(storage, "/")
	rest, ok := "", false
	switch {
	case storage != "":
		rest, ok = strings.CutPrefix(path, storage)
	case strings.HasPrefix(path, "/v1/"):
		account, after, more := strings.Cut(path[len("/v1/"):], "/")
		if ok = account != ""; more {
			rest = "/" + after
		}
	}
	if ok && (rest == "" || rest[0] == '/') {
		container, object, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
		switch {
		case container == "":
			return Account
		case object == "":
			return Container
		}
		return Object
	}
	switch {
	case path == "/info" || strings.HasSuffix(path, "/info") && !strings.Contains(path, "/v3/"):
		return Info
	case strings.Contains(path+"/", "/auth/tokens/"), strings.HasSuffix(strings.TrimSuffix(path, "/"), "/v3"):
		return Auth
	}
	return Other
}

var methods = []string{"GET", "HEAD", "PUT", "POST", "DELETE", "COPY", "other"}

// Counters count requests and body bytes. The zero value is ready; all methods
// may be called concurrently.
type Counters struct {
	requests       [7][7]atomic.Int64 // method, kind
	status         [6]atomic.Int64    // hundreds; 0: no reply
	throttled      atomic.Int64
	stalls         atomic.Int64
	sent, received atomic.Int64
	silent         atomic.Int64 // Unix ns; see Silent
}

// Silent is when the first of the last requests began that got no reply at all; zero: the
// last one got one, or nothing was asked. What the caller gave up does not count.
func (c *Counters) Silent() time.Time {
	if ns := c.silent.Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Time{}
}

func (c *Counters) answered() { c.silent.Store(0) }

func (c *Counters) unanswered(began time.Time) { c.silent.CompareAndSwap(0, began.UnixNano()) }

func (c *Counters) count(method string, k Kind, status int) {
	m := slices.Index(methods, method)
	if m < 0 {
		m = len(methods) - 1
	}
	c.requests[m][k].Add(1)
	if s := status / 100; s < len(c.status) {
		c.status[s].Add(1)
	}
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, 498:
		c.throttled.Add(1)
	}
}

// Snapshot is what Counters had counted at a moment.
type Snapshot struct {
	// Requests counts attempts by method and kind, as in "PUT object".
	Requests map[string]int64 `json:"requests"`
	// Status counts replies by "2xx" … "5xx", and "none" for requests that got no reply.
	Status    map[string]int64 `json:"status"`
	Throttled int64            `json:"throttled"` // 429, 498, 503
	Stalls    int64            `json:"stalls"`    // ended by the watchdog
	Sent      int64            `json:"sent"`      // bytes of request bodies
	Received  int64            `json:"received"`  // bytes of reply bodies
}

// Snapshot reads the counters. What is counted meanwhile may be missing in part.
func (c *Counters) Snapshot() Snapshot {
	s := Snapshot{Requests: map[string]int64{}, Status: map[string]int64{}, Throttled: c.throttled.Load(),
		Stalls: c.stalls.Load(), Sent: c.sent.Load(), Received: c.received.Load()}
	for m := range c.requests {
		for k := range c.requests[m] {
			if n := c.requests[m][k].Load(); n > 0 {
				s.Requests[methods[m]+" "+Kind(k).String()] = n
			}
		}
	}
	for i := range c.status {
		if n := c.status[i].Load(); n > 0 {
			name := "none"
			if i > 0 {
				name = string(rune('0'+i)) + "xx"
			}
			s.Status[name] = n
		}
	}
	return s
}

// Total is the number of requests.
func (s Snapshot) Total() int64 {
	var n int64
	for _, v := range s.Requests {
		n += v
	}
	return n
}

// Skew estimates by how much a server's clock is ahead of ours (R18), from the
// Date of its replies. One reply bounds it to a second plus its round trip; the bounds of
// many replies meet within milliseconds. The zero value is ready.
type Skew struct {
	mu       sync.Mutex
	low, top time.Duration
	since    time.Time
}

// skewAge is how long bounds are believed: clocks drift and are set.
const skewAge = 10 * time.Minute

func (s *Skew) observe(date string, sent, received time.Time) {
	at, err := http.ParseTime(date)
	if err != nil {
		return
	}
	low, top := at.Sub(received), at.Add(time.Second).Sub(sent)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() || received.Sub(s.since) > skewAge || low > s.top || top < s.low {
		s.low, s.top, s.since = low, top, received
		return
	}
	s.low, s.top = max(s.low, low), min(s.top, top)
}

// Estimate gives the server's clock minus ours, and how far off that may be; ok
// is false as long as no reply was seen.
func (s *Skew) Estimate() (skew, uncertainty time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() {
		return 0, 0, false
	}
	return (s.low + s.top) / 2, (s.top - s.low) / 2, true
}
