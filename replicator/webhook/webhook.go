// Package webhook tells others of events by HTTP requests: each event at least once, in
// order, however long the receiver is away, within bounds.
//
// What is to be told waits in the ledger until the receiver has taken it, so that a restart
// forgets nothing. Telling never waits for a receiver. Addresses and secrets are never
// logged nor kept in the ledger: a queue goes by a digest of its address, messages name the
// host.
package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"farshore/replicator/report"
	"farshore/transport"
)

// Target is one receiver.
type Target struct {
	URL    *url.URL
	Name   string             // in the policy file: several may be at one host
	Secret []byte             // signs requests; empty: they are not signed
	Slack  bool               // one line of text instead of the event
	Events []report.EventKind // that it is told of
}

// id is what a queue goes by in the ledger; it does not give the address away.
func (t Target) id() string {
	sum := sha256.Sum256([]byte(t.URL.String()))
	return hex.EncodeToString(sum[:8])
}

// Host is what a target is called: the address without what may be secret in it.
func (t Target) Host() string { return t.URL.Scheme + "://" + t.URL.Host }

// Memory keeps small values durably: the ledger.
type Memory interface {
	Note(key string) (value []byte, ok bool, err error)
	PutNote(key string, value []byte) error
}

// Options of a Sender.
type Options struct {
	Memory Memory
	Clock  transport.Clock   // nil: the system's
	Log    *slog.Logger      // nil: silent
	Client http.RoundTripper // nil: the system's
	From   Origin
}

// Origin says in every request who sent it.
type Origin struct {
	Host    string `json:"host"`
	Version string `json:"version"`
	Ledger  string `json:"ledger"` // its path
}

// What waits for a receiver is bounded: past keepItems, keepBytes or keepFor the oldest
// goes, and the next request says how many did. A failed request is made again after
// firstRetry, then after twice that, up to lastRetry.
const (
	keepItems  = 200
	keepBytes  = 512 << 10 // half of what a note can have
	keepFor    = 24 * time.Hour
	firstRetry = 5 * time.Second
	lastRetry  = 10 * time.Minute
	patience   = 15 * time.Second // for one request
)

// Sender tells its targets of events. Its methods may be called concurrently.
type Sender struct {
	o      Options
	client *http.Client

	mu     sync.Mutex
	queues map[string]*queue // by the target's id
	all    sync.WaitGroup
	closed bool
}

// New makes a sender without targets.
func New(o Options) *Sender {
	if o.Clock == nil {
		o.Clock = transport.SystemClock{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &http.Client{Transport: o.Client, Timeout: patience,
		// A redirect would carry the event, and its signature, to an address nobody named.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &Sender{o: o, client: c, queues: map[string]*queue{}}
}

// Follow has the sender tell these targets from now on. What waited for one that is still
// there goes on waiting, what waited for one that is not is forgotten. ctx ends the work.
func (s *Sender) Follow(ctx context.Context, targets []Target) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("the sender of webhooks is closed")
	}
	there := map[string]bool{}
	for _, t := range targets {
		id := t.id()
		there[id] = true
		if q := s.queues[id]; q != nil {
			q.become(t)
			continue
		}
		q := &queue{s: s, key: "webhook/" + id, target: t, more: make(chan struct{}, 1)}
		if err := q.load(); err != nil {
			return err
		}
		working, stop := context.WithCancel(ctx)
		q.stop = stop
		s.queues[id] = q
		s.all.Go(func() { q.work(working) })
	}
	for id, q := range s.queues {
		if !there[id] {
			q.stop()
			delete(s.queues, id)
			if err := s.o.Memory.PutNote(q.key, nil); err != nil {
				return fmt.Errorf("forget what waited for %s: %w", q.target.Host(), err)
			}
		}
	}
	return nil
}

// Tell has an event told to every target that wants to know. It returns when that is
// durable, and never waits for a receiver; what cannot be kept is logged.
func (s *Sender) Tell(e report.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.queues {
		if err := q.add(e); err != nil {
			s.o.Log.Error("an event is not told", "webhook", q.target.Host(), "event", e.Kind, "err", err)
		}
	}
}

// Close ends all requests and waits until they have. What waits stays in the ledger.
func (s *Sender) Close() {
	s.mu.Lock()
	s.closed = true
	for _, q := range s.queues {
		q.stop()
	}
	s.mu.Unlock()
	s.all.Wait()
}

// Standing is how a target stands.
type Standing struct {
	Host      string
	Name      string
	Waiting   int   // events
	Delivered int64 // since the process began
	Failed    int64 // requests, since the process began
	Dropped   int64 // events that will never be told, since the process began
	Error     string
	Since     time.Time // since when it fails; zero: it does not
}

// Standings says how all targets stand, by host.
func (s *Sender) Standings() []Standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []Standing{}
	for _, q := range s.queues {
		out = append(out, q.standing())
	}
	slices.SortFunc(out, func(a, b Standing) int { return compare(a.Host+" "+a.Name, b.Host+" "+b.Name) })
	return out
}

// item is an event that waits.
type item struct {
	Event json.RawMessage  `json:"event"` // a report.Event
	Kind  report.EventKind `json:"kind"`
	ID    string           `json:"id"` // of the delivery: the same each time it is tried
	At    time.Time        `json:"at"`
}

// waiting is a queue as the ledger has it.
type waiting struct {
	Items   []item `json:"items"`
	Dropped int64  `json:"dropped"` // since the last one delivered
}
