package lag

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"farshore/replicator/report"
)

const (
	// saveEvery is how often what has changed is written at most, but for events.
	saveEvery = 5 * time.Second
	// savedItems is how many of the oldest waiting items are written by name.
	savedItems = 100
	indexNote  = "lag"
)

// memo is what is kept of a lane.
type memo struct {
	At      time.Time     `json:"at,omitzero"` // when it was written
	Since   time.Time     `json:"since"`
	AsOf    time.Time     `json:"as_of,omitzero"`
	Items   []memoItem    `json:"items,omitempty"`
	Coming  []memoItem    `json:"coming,omitempty"` // deletes that are not due yet
	Carried carried       `json:"more,omitzero"`
	Hours   window        `json:"hours,omitempty"`
	Episode *episode      `json:"episode,omitempty"`
	Ended   *report.Event `json:"ended,omitempty"`
	Parked  time.Time     `json:"parked,omitzero"`
}

type memoItem struct {
	Place  string `json:"place"`
	Name   string `json:"name"`
	Since  int64  `json:"since"`
	Bound  int64  `json:"bound"`
	Newest int64  `json:"newest"`
	Bytes  int64  `json:"bytes"`
	Due    bool   `json:"due,omitempty"`
}

// memo gives what is to be kept; the tracker's lock is held.
func (l *lane) memo() memo {
	m := memo{At: l.saved, Since: l.since, AsOf: l.asOf(), Hours: l.past, Episode: l.episode, Ended: l.ended, Carried: l.carried, Parked: l.parked}
	before := func(a, b memoItem) int {
		return cmp.Or(cmp.Compare(a.Since, b.Since), strings.Compare(a.Place, b.Place), strings.Compare(a.Name, b.Name))
	}
	for at, p := range l.places {
		for name, w := range p.items {
			x := memoItem{at, name, w.since, w.bound, w.newest, w.bytes, w.due}
			if n := len(m.Items); n < savedItems || before(x, m.Items[n-1]) < 0 {
				i, _ := slices.BinarySearchFunc(m.Items, x, before)
				m.Items = slices.Insert(m.Items, i, x)
				if n < savedItems {
					continue
				}
				x = m.Items[n]
				m.Items = m.Items[:n]
			}
			m.Carried = m.Carried.join(carried{1, x.Bytes, x.Since})
		}
		for name, c := range p.coming {
			x := memoItem{Place: at, Name: name, Since: c.due, Due: true}
			if n := len(m.Coming); n < savedItems || before(x, m.Coming[n-1]) < 0 {
				i, _ := slices.BinarySearchFunc(m.Coming, x, before)
				m.Coming = slices.Insert(m.Coming, i, x)
				m.Coming = m.Coming[:min(n+1, savedItems)]
			}
		}
		if o := p.more.join(p.seen); o.items > 0 {
			m.Carried = m.Carried.join(carried{o.items, o.bytes, o.oldest})
		}
	}
	return m
}

func (c carried) join(o carried) carried {
	if c.Items == 0 || o.Items > 0 && o.Oldest < c.Oldest {
		c.Oldest = o.Oldest
	}
	return carried{c.Items + o.Items, c.Bytes + o.Bytes, c.Oldest}
}

func (t *Tracker) readLane(k laneKey, now time.Time) (*lane, error) {
	l := &lane{key: k, terms: Terms{Policy: k.policy, Idle: true}, since: now, next: math.MaxInt64, places: map[string]*place{}, rate: rate{seen: now}, dirty: true}
	text, ok, err := t.o.Memory.Note(k.note())
	if err != nil || !ok {
		return l, err
	}
	var m memo
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("read the lag of policy %s, region %s: %w", k.policy, k.region, err)
	}
	l.veiled, l.saved = true, m.At
	l.since, l.floor, l.carried, l.past, l.episode, l.ended, l.parked = m.Since, m.AsOf, m.Carried, m.Hours, m.Episode, m.Ended, m.Parked
	at := func(name string) *place {
		if l.places[name] == nil {
			l.places[name] = &place{asOf: l.floor, items: map[string]wait{}}
		}
		return l.places[name]
	}
	for _, x := range m.Coming {
		p := at(x.Place)
		if p.coming == nil {
			p.coming = map[string]coming{}
		}
		p.coming[x.Name] = coming{due: x.Since}
		l.next = min(l.next, x.Since)
	}
	for _, x := range m.Items {
		p := at(x.Place)
		if _, is := p.items[x.Name]; !is {
			l.n++
		}
		p.items[x.Name] = wait{since: x.Since, bound: x.Bound, newest: x.Newest, bytes: x.Bytes, due: x.Due}
	}
	return l, nil
}

// save writes a lane; the caller holds t.saving. What cannot be written is said, and tried
// again.
func (t *Tracker) save(l *lane) bool {
	t.mu.Lock()
	l.dirty, l.saved = false, t.o.Clock.Now()
	text, err := json.Marshal(l.memo())
	t.mu.Unlock()
	if err == nil {
		err = t.o.Memory.PutNote(l.key.note(), text)
	}
	if err != nil {
		t.o.Log.Warn("cannot keep the lag", "policy", l.key.policy, "region", l.key.region, "err", err)
		t.mu.Lock()
		l.dirty = true
		t.mu.Unlock()
	}
	return err == nil
}

func (t *Tracker) forget(l *lane) {
	if err := t.o.Memory.PutNote(l.key.note(), nil); err != nil {
		t.o.Log.Warn("cannot forget the lag", "policy", l.key.policy, "region", l.key.region, "err", err)
	}
}

// Save writes what has changed of a policy, so that a process which is killed after a pass
// knows at the next start how it ended. It is to be called before the end of the pass is
// written down: who sees no such end makes the pass again at once.
func (t *Tracker) Save(policy string) {
	if t == nil {
		return
	}
	t.saving.Lock()
	defer t.saving.Unlock()
	t.mu.Lock()
	var due []*lane
	for _, l := range t.lanesOf(policy) {
		if l.dirty {
			due = append(due, l)
		}
	}
	t.mu.Unlock()
	for _, l := range due {
		t.save(l)
	}
}

// Tick judges what is late by now, tells of it, and writes what has changed. It is to be
// called every second or so.
func (t *Tracker) Tick() { t.tick(saveEvery) }

// Close writes what has changed.
func (t *Tracker) Close() { t.tick(0) }

func (t *Tracker) tick(every time.Duration) {
	if t == nil {
		return
	}
	t.saving.Lock()
	defer t.saving.Unlock()
	now := t.o.Clock.Now()
	t.heed(now)
	t.judge(now)
	t.mu.Lock()
	var due []*lane
	for _, l := range t.lanes {
		if ago := now.Sub(l.saved); l.dirty && (ago >= every || ago < 0) {
			due = append(due, l)
		}
	}
	t.mu.Unlock()
	for _, l := range due {
		t.save(l)
	}
}

// readIndex gives the lanes of which there are notes.
func (t *Tracker) readIndex() ([]laneKey, error) {
	text, ok, err := t.o.Memory.Note(indexNote)
	if err != nil || !ok {
		return nil, err
	}
	var names [][2]string
	if err := json.Unmarshal(text, &names); err != nil {
		return nil, fmt.Errorf("read the list of lags: %w", err)
	}
	out := make([]laneKey, len(names))
	for i, n := range names {
		out[i] = laneKey{n[0], n[1]}
	}
	return out, nil
}

func (t *Tracker) writeIndex(keys []laneKey) error {
	names := make([][2]string, len(keys))
	for i, k := range keys {
		names[i] = [2]string{k.policy, k.region}
	}
	slices.SortFunc(names, func(a, b [2]string) int { return cmp.Or(strings.Compare(a[0], b[0]), strings.Compare(a[1], b[1])) })
	text, err := json.Marshal(slices.Compact(names))
	if err != nil {
		return fmt.Errorf("encode the list of lags: %w", err)
	}
	if old, ok, err := t.o.Memory.Note(indexNote); err != nil || ok && string(old) == string(text) {
		return err
	}
	return t.o.Memory.PutNote(indexNote, text)
}
