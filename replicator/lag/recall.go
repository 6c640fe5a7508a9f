package lag

import (
	"time"

	"farshore/replicator/report"
)

// Noted is an item that waits, or will, by what an earlier process noted.
type Noted struct {
	Item
	Due bool // it is to be deleted
}

// Noted gives what an earlier process noted of a policy, while Follow asks what the ledger
// knows better.
func (t *Tracker) Noted(policy string) (noted []Noted) {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.lanesOf(policy) {
		if !l.veiled {
			continue
		}
		for at, p := range l.places {
			noted = p.noted(noted, l.key, at)
		}
	}
	return noted
}

// noted adds what waits in a place, or will.
func (p *place) noted(all []Noted, k laneKey, at string) []Noted {
	for name, w := range p.items {
		all = append(all, Noted{Item{k.policy, k.region, at, name}, w.due})
	}
	for name := range p.coming {
		all = append(all, Noted{Item{k.policy, k.region, at, name}, true})
	}
	return all
}

// Recall gives what an earlier process noted of a policy's place, once; first is whether this
// is that time. The notes are some seconds old when a process is killed, and what was
// confirmed, begun or seen missing in these the ledger may know: its owner is to say so, by
// Held, Known, Due and Settled, before the next look comes to it.
func (t *Tracker) Recall(policy, at string) (noted []Noted, first bool) {
	if t == nil {
		return nil, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.lanesOf(policy) {
		p := l.places[at]
		if p == nil || p.recalled {
			continue
		}
		p.recalled, first = true, true
		noted = p.noted(noted, l.key, at)
	}
	return noted, first
}

// Known is Look.Waits of what is known without a look at the whole place: the next look that
// ends has the last word.
func (t *Tracker) Known(x Item, source, held time.Time, bytes int64) {
	t.at(x, func(l *lane, p *place, now time.Time) {
		t.waits(l, p, x.Name, source, held, now, bytes, p.items[x.Name].look)
	})
}

// Held says that a region had confirmed an item's change of the source time given when it
// was the time given by this machine's clock, although the item is noted as waiting.
func (t *Tracker) Held(x Item, source, at time.Time) {
	t.at(x, func(l *lane, p *place, now time.Time) {
		if at.After(now) {
			at = now
		}
		// since when the region is to hold the place is not known until it is listed
		if w, is := p.items[x.Name]; is && !w.due && (l.begins(p, source, now) >= w.since || source.UnixMicro() >= w.newest) {
			t.arrive(l, p, x.Name, source, at, w.bytes)
		}
	})
}

// Settled says that a region has nothing any more of an item that is noted as to be deleted.
// When that came about nobody knows: in the seconds after it was noted.
func (t *Tracker) Settled(x Item) {
	t.at(x, func(l *lane, p *place, _ time.Time) {
		t.stays(p, x.Name)
		if w, is := p.items[x.Name]; is && w.due {
			t.drop(l, p, x.Name, l.saved, report.ArrivedConfirmed)
			l.dirty = true
		}
	})
}
