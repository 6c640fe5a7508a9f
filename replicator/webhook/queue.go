package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"farshore/replicator/report"
	"farshore/transport"
)

// queue is what waits for one target, and the work of telling it.
type queue struct {
	s    *Sender
	key  string // of its note
	stop context.CancelFunc
	more chan struct{}

	mu     sync.Mutex
	target Target
	waiting
	stats Standing
}

func compare(a, b string) int { return strings.Compare(a, b) }

// become takes what the policy file says now of the same address.
func (q *queue) become(t Target) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.target = t
}

func (q *queue) load() error {
	text, ok, err := q.s.o.Memory.Note(q.key)
	if err == nil && ok {
		err = json.Unmarshal(text, &q.waiting)
	}
	if err != nil {
		return fmt.Errorf("read what waits for %s: %w", q.target.Host(), err)
	}
	return nil
}

// save keeps the queue; q.mu is held.
func (q *queue) save() error {
	text, err := json.Marshal(q.waiting)
	if err != nil {
		return fmt.Errorf("encode what waits: %w", err)
	}
	return q.s.o.Memory.PutNote(q.key, text)
}

func (q *queue) add(e report.Event) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !slices.Contains(q.target.Events, e.Kind) {
		return nil
	}
	text, err := encode(e)
	if err != nil {
		return err
	}
	id := string(e.Kind) + "-" + e.ID
	if slices.ContainsFunc(q.Items, func(x item) bool { return x.ID == id }) {
		return nil // told again after a restart, and still waiting
	}
	q.Items = append(q.Items, item{Event: text, Kind: e.Kind, ID: id, At: q.s.o.Clock.Now().UTC()})
	q.trim()
	err = q.save()
	select {
	case q.more <- struct{}{}:
	default:
	}
	return err
}

// trim lets the oldest go; q.mu is held.
func (q *queue) trim() {
	size := 0
	for _, x := range q.Items {
		size += len(x.Event) + 200
	}
	now, n := q.s.o.Clock.Now(), 0
	for len(q.Items) > 0 && (len(q.Items) > keepItems || size > keepBytes || now.Sub(q.Items[0].At) > keepFor) {
		size -= len(q.Items[0].Event) + 200
		q.Items = q.Items[1:]
		n++
	}
	if n > 0 {
		q.Dropped += int64(n)
		q.stats.Dropped += int64(n)
		q.s.o.Log.Warn("events are dropped that a webhook did not take", "webhook", q.target.Host(), "dropped", n, "waiting", len(q.Items))
	}
}

func (q *queue) standing() Standing {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := q.stats
	out.Host, out.Name, out.Waiting = q.target.Host(), q.target.Name, len(q.Items)
	return out
}

// next is what is to be told now, and to whom.
func (q *queue) next() (item, Target, int64, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.trim()
	if len(q.Items) == 0 {
		return item{}, q.target, 0, false
	}
	return q.Items[0], q.target, q.Dropped, true
}

// work tells what waits, one after the other, until ctx ends.
func (q *queue) work(ctx context.Context) {
	wait := firstRetry
	for ctx.Err() == nil {
		x, t, dropped, ok := q.next()
		if !ok {
			select {
			case <-ctx.Done():
			case <-q.more:
			}
			continue
		}
		err := q.s.post(ctx, t, x, dropped)
		if ctx.Err() != nil {
			return
		}
		if err = q.done(x, dropped, err); err == nil {
			wait = firstRetry
			continue
		}
		_ = transport.Sleep(ctx, q.s.o.Clock, wait, nil) // it ends early with ctx only
		wait = min(2*wait, lastRetry)
	}
}

// done writes down how telling went.
func (q *queue) done(x item, dropped int64, err error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	log := q.s.o.Log.With("webhook", q.target.Host())
	if err != nil {
		q.stats.Failed++
		q.stats.Error = err.Error()
		if q.stats.Since.IsZero() {
			q.stats.Since = q.s.o.Clock.Now()
			log.Warn("a webhook does not take events: they wait", "event", x.Kind, "err", err, "waiting", len(q.Items))
		}
		return err
	}
	q.stats.Delivered++
	if !q.stats.Since.IsZero() {
		log.Info("a webhook takes events again", "waiting", len(q.Items)-1)
		q.stats.Since, q.stats.Error = time.Time{}, ""
	}
	q.Dropped -= dropped
	if i := slices.IndexFunc(q.Items, func(y item) bool { return y.ID == x.ID }); i >= 0 {
		q.Items = slices.Delete(q.Items, i, i+1)
	}
	if err := q.save(); err != nil {
		log.Error("cannot write down that an event was told: it is told again after a restart", "event", x.Kind, "err", err)
	}
	return nil
}

// Payload is what a target gets, but for Slack.
type Payload struct {
	Schema   int    `json:"schema"`   // 1
	Delivery string `json:"delivery"` // the same each time that it is tried
	Origin
	Dropped int64           `json:"dropped_before"` // older events that will never be told
	Event   json.RawMessage `json:"event"`          // a report.Event
}

// body is what is sent.
func body(o Origin, t Target, x item, dropped int64) ([]byte, error) {
	if !t.Slack {
		return json.Marshal(Payload{Schema: 1, Delivery: x.ID, Origin: o, Dropped: dropped, Event: x.Event})
	}
	var e report.Event
	if err := json.Unmarshal(x.Event, &e); err != nil {
		return nil, err
	}
	text := "farshore: " + e.Text
	if dropped > 0 {
		text += fmt.Sprintf(" (%d older events were dropped)", dropped)
	}
	// The three characters that Slack gives a meaning.
	text = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
	return json.Marshal(map[string]string{"text": text})
}

// post makes one request. Its error does not name the address.
func (s *Sender) post(ctx context.Context, t Target, x item, dropped int64) error {
	b, err := body(s.o.From, t, x, dropped)
	if err != nil {
		return fmt.Errorf("encode an event: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.URL.String(), bytes.NewReader(b))
	if err != nil {
		return errors.New("make a request: the address is not usable")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "farshore/"+s.o.From.Version)
	req.Header.Set("X-Farshore-Event", string(x.Kind))
	req.Header.Set("X-Farshore-Delivery", x.ID)
	if len(t.Secret) > 0 {
		req.Header.Set("X-Farshore-Signature", Sign(t.Secret, b))
	}
	resp, err := s.client.Do(req)
	if err != nil {
		for u := (*url.Error)(nil); errors.As(err, &u); { // it names the address
			err = u.Err
		}
		return err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("it answered %s", resp.Status)
	}
	return nil
}

// Sign is the signature of a request's body: "sha256=" and the hex HMAC-SHA256 of it.
func Sign(secret, body []byte) string {
	m := hmac.New(sha256.New, secret)
	_, _ = m.Write(body) // never fails
	return "sha256=" + hex.EncodeToString(m.Sum(nil))
}

// A queue must hold many events, so one of them is bounded: what has longer lists is told
// with the beginning of them, and then without.
const (
	longestList  = 20
	longestEvent = 64 << 10
)

func encode(e report.Event) (json.RawMessage, error) {
	for _, n := range []int{longestList, 1, 0} {
		text, err := json.Marshal(cut(e, n))
		if err != nil {
			return nil, fmt.Errorf("encode an event: %w", err)
		}
		if len(text) <= longestEvent {
			return text, nil
		}
	}
	return nil, fmt.Errorf("an event of more than %d bytes", longestEvent)
}

// cut leaves n of each list of an event.
func cut(e report.Event, n int) report.Event {
	if len(e.Findings) > n {
		e.More += int64(len(e.Findings) - n)
		e.Findings = e.Findings[:n]
	}
	e.Oldest = e.Oldest[:min(len(e.Oldest), n)]
	if e.Drill != nil {
		d := *e.Drill
		d.Volumes, d.Containers, d.Findings = d.Volumes[:min(len(d.Volumes), n)], d.Containers[:min(len(d.Containers), n)], d.Findings[:min(len(d.Findings), n)]
		e.Drill = &d
	}
	if e.Audit != nil {
		a := *e.Audit
		a.Findings, a.Points = a.Findings[:min(len(a.Findings), n)], nil
		a.Retention = nil
		e.Audit = &a
	}
	return e
}
