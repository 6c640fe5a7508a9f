package lag

import "time"

// Noted is an item that waits, or will, by what an earlier process noted.
type Noted struct {
	Item
	Due bool // it is to be deleted
}

// Recall gives what an earlier process noted of a policy's place, once; first is whether this
// is that time. The notes are some seconds old when a process is killed, and what was
// confirmed, begun or seen missing in these the ledger may know: its owner is to say so, by
// Held, Known, Due and Gone, before the next look comes to it.
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
		for name, w := range p.items {
			noted = append(noted, Noted{Item{policy, l.key.region, at, name}, w.due})
		}
		for name := range p.coming {
			noted = append(noted, Noted{Item{policy, l.key.region, at, name}, true})
		}
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
		if w, is := p.items[x.Name]; is && !w.due && l.begins(source, now) >= w.since {
			t.arrive(l, p, x.Name, source, at, w.bytes)
		}
	})
}
