package lag

import (
	"slices"
	"time"

	"farshore/replicator/report"
)

// Look is a look at one place of a policy, at all that is there, for all its regions.
type Look struct {
	t      *Tracker
	policy string
	place  string
	began  time.Time
	number map[*lane]uint64

	stuck map[string]int64     // by region; under the tracker's lock
	asOf  map[string]time.Time // by region, where it is not when the look began
}

// Look begins a look, for the regions named; none: for all of the policy. Nothing follows
// from one that does not End.
func (t *Tracker) Look(policy, at string, regions ...string) *Look {
	if t == nil {
		return nil
	}
	now := t.o.Clock.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	k := &Look{t: t, policy: policy, place: at, began: now, number: map[*lane]uint64{}, stuck: map[string]int64{}, asOf: map[string]time.Time{}}
	for _, l := range t.lanesOf(policy) {
		if len(regions) > 0 && !slices.Contains(regions, l.key.region) {
			continue
		}
		p := l.places[at]
		if p == nil { // nobody listed it: the policy is given its places by hand
			p = &place{asOf: l.floor, items: map[string]wait{}, looked: l.carried.Items == 0}
			l.places[at] = p
		}
		p.look++
		p.early = map[string]int64{}
		p.more, p.seen = p.more.join(p.seen), overflow{} // the look before may not have ended
		k.number[l] = p.look
	}
	return k
}

// Waits says that a region lacks an item's change of the time given, by the source's clock.
// held is the time of the change that it has; zero: none, or it is not known.
func (k *Look) Waits(region, name string, source, held time.Time, bytes int64) {
	k.at(region, name, source, func(l *lane, p *place, now time.Time) {
		k.t.waits(l, p, name, source, held, now, bytes, p.look)
	})
}

// at is Tracker.at of an item that the look came to, unless there is something newer: a
// look that began since (what this one read may have been confirmed meanwhile), or a
// confirmation of the time given or a later one.
func (k *Look) at(region, name string, changed time.Time, do func(l *lane, p *place, now time.Time)) {
	if k == nil {
		return
	}
	k.t.at(Item{k.policy, region, k.place, name}, func(l *lane, p *place, now time.Time) {
		if done, ok := p.early[name]; k.number[l] == p.look && (!ok || done < changed.UnixMicro()) {
			do(l, p, now)
		}
	})
}

// at does something about an item with the tracker locked and accounts up to now, if
// somebody follows the item's place.
func (t *Tracker) at(x Item, do func(l *lane, p *place, now time.Time)) {
	if t == nil {
		return
	}
	now := t.o.Clock.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.lanes[laneKey{x.Policy, x.Region}]; l != nil && l.places[x.Place] != nil {
		l.account(now)
		do(l, l.places[x.Place], now)
	}
}

// waits keeps an item that a look saw; the tracker's lock is held.
func (t *Tracker) waits(l *lane, p *place, name string, source, held, now time.Time, bytes int64, look uint64) {
	t.stays(p, name)
	w, is := p.items[name]
	if is && w.due { // it is there again
		t.drop(l, p, name, now, report.ArrivedGone)
		w, is = wait{}, false
	}
	if !is {
		w.since = l.begins(p, source, now)
		w.bound = min(max(p.asOf.UnixMicro(), l.from(p).UnixMicro()), w.since)
		if t.kept >= t.o.Kept {
			p.seen.add(w.since, bytes)
			l.many = true
			return
		}
		t.kept++
		l.n++
	} else if !held.IsZero() && w.since <= l.begins(p, held, now) { // a process before did not live to say so
		w.since = l.begins(p, source, now)
	}
	w.newest, w.bytes, w.look = max(w.newest, source.UnixMicro()), bytes, look
	p.items[name] = w
}

// from is since when the region is to hold a place's items.
func (l *lane) from(p *place) time.Time {
	if p.since.After(l.since) {
		return p.since
	}
	return l.since
}

// begins is from when a change waits: its time by this machine's clock, not before the
// region was to hold it and not in the future.
func (l *lane) begins(p *place, source, now time.Time) int64 {
	if l.terms.Skew != nil {
		source = source.Add(-l.terms.Skew())
	}
	if from := l.from(p); source.Before(from) {
		source = from
	}
	if source.After(now) {
		source = now
	}
	return source.UnixMicro()
}

// AsOf says that for a region the look shows the source not as it is now but as it was at
// an earlier time; zero: not at all.
func (k *Look) AsOf(region string, at time.Time) {
	if k == nil {
		return
	}
	k.t.mu.Lock()
	k.asOf[region] = at
	k.t.mu.Unlock()
}

// Stuck counts an item that waits for a person.
func (k *Look) Stuck(region string) {
	if k == nil {
		return
	}
	k.t.mu.Lock()
	k.stuck[region]++
	k.t.mu.Unlock()
}

// End says that the look has seen everything: what it did not see waiting does not wait.
func (k *Look) End() {
	if k == nil {
		return
	}
	now := k.t.o.Clock.Now()
	k.t.mu.Lock()
	defer k.t.mu.Unlock()
	for l, number := range k.number {
		p := l.places[k.place]
		if k.t.lanes[l.key] != l || p == nil || p.look != number { // removed, or looked at anew
			continue
		}
		l.account(now)
		for name, w := range p.items {
			if w.look != number {
				k.t.drop(l, p, name, now, report.ArrivedGone)
			}
		}
		for name, c := range p.coming {
			if c.look != number {
				k.t.stays(p, name)
			}
		}
		p.stuck, p.more, p.seen, p.early = k.stuck[l.key.region], p.seen, overflow{}, nil
		l.count()
		p.asOf, p.took, p.looked = k.began, now.Sub(k.began), true
		if at, other := k.asOf[l.key.region]; other {
			p.asOf = at
		}
		l.settle()
		l.dirty = true
	}
}

// Item names something that a policy carries to a region.
type Item struct{ Policy, Region, Place, Name string }

// Confirmed says that a region has confirmed an item's change of the source time given;
// fresh: that it had not confirmed this very change before.
func (t *Tracker) Confirmed(x Item, source time.Time, bytes int64, fresh bool) {
	t.confirmed(x, source, bytes, fresh, (*lane).begins)
}

// Deleted says that a delete that was due at a time by this machine's clock was carried out;
// fresh: that it had waited since then.
func (t *Tracker) Deleted(x Item, due time.Time, fresh bool) {
	t.confirmed(x, due, 0, fresh, func(l *lane, p *place, due, _ time.Time) int64 {
		return max(due.UnixMicro(), l.from(p).UnixMicro())
	})
}

func (t *Tracker) confirmed(x Item, source time.Time, bytes int64, fresh bool, begins func(l *lane, p *place, source, now time.Time) int64) {
	t.at(x, func(l *lane, p *place, now time.Time) {
		t.stays(p, x.Name)
		if _, is := p.items[x.Name]; is {
			t.arrive(l, p, x.Name, source, now, bytes)
			return
		}
		switch {
		case fresh && p.seen.items > 0:
			p.seen.take(bytes)
		case fresh && p.more.items > 0:
			p.more.take(bytes)
		case p.early != nil:
			p.early[x.Name] = source.UnixMicro()
		}
		if l.many {
			l.count()
		}
		if fresh {
			l.done(now, begins(l, p, source, now), bytes)
		}
	})
}

// arrive ends the wait of an item whose change of the source time given was confirmed at a
// time.
func (t *Tracker) arrive(l *lane, p *place, name string, source, at time.Time, bytes int64) {
	w := p.items[name]
	l.done(at, w.since, bytes)
	if source.UnixMicro() < w.newest && !w.due { // it has changed again meanwhile
		w.since = l.begins(p, time.UnixMicro(w.newest), at)
		p.items[name] = w
		return
	}
	t.drop(l, p, name, at, report.ArrivedConfirmed)
}
