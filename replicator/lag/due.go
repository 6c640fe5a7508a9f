package lag

import (
	"math"
	"time"

	"farshore/replicator/report"
)

// A delete waits from when it is due, and when that will be is known as soon as the item was
// first seen missing. So it needs no look at that moment: it is kept until then, and counts
// from then on by itself. What is due later than the looks to come is left to them.
const (
	// dueAhead is how long ahead a delete is kept.
	dueAhead = time.Hour
	// dueAtMost is how many a place keeps.
	dueAtMost = 10_000
)

// coming is a delete that is not due yet.
type coming struct {
	due  int64 // µs by this machine's clock
	look uint64
}

// Due says that a region still has what the source no longer has, and that it is to go at a
// time by this machine's clock, which may be still to come.
func (k *Look) Due(region, name string, at time.Time) {
	k.at(region, name, at, func(l *lane, p *place, now time.Time) { k.t.due(l, p, name, at, now, p.look) })
}

// Due is Look.Due of what is known without a look.
func (t *Tracker) Due(x Item, at time.Time) {
	t.at(x, func(l *lane, p *place, now time.Time) { t.due(l, p, x.Name, at, now, 0) })
}

func (t *Tracker) due(l *lane, p *place, name string, at, now time.Time, look uint64) {
	since := max(at.UnixMicro(), l.from(p).UnixMicro())
	w, is := p.items[name]
	if is && !w.due && (look == 0 || w.look == look) {
		return // it was there when this look came to it
	}
	if since > now.UnixMicro() {
		if is { // its changes are not to be had any more
			t.drop(l, p, name, now, report.ArrivedGone)
		}
		t.come(l, p, name, coming{since, look}, now)
		return
	}
	if !is {
		if t.kept >= t.o.Kept {
			p.seen.add(since, 0)
			l.many = true
			return
		}
		t.kept++
		l.n++
	} else if w.due {
		since = min(since, w.since)
	}
	p.items[name] = wait{since: since, bound: since, newest: since, look: look, due: true}
}

// come keeps a delete until it is due.
func (t *Tracker) come(l *lane, p *place, name string, c coming, now time.Time) {
	if _, is := p.coming[name]; !is {
		if c.due-now.UnixMicro() > dueAhead.Microseconds() || len(p.coming) >= dueAtMost || t.kept >= t.o.Kept {
			return
		}
		t.kept++
	}
	if p.coming == nil {
		p.coming = map[string]coming{}
	}
	p.coming[name] = c
	l.next = min(l.next, c.due)
}

// stays says that an item is not to be deleted after all, or has been.
func (t *Tracker) stays(p *place, name string) {
	if _, is := p.coming[name]; is {
		delete(p.coming, name)
		t.kept--
	}
}

// mature lets the deletes wait that are due by now.
func (l *lane) mature(now time.Time) {
	if l.next > now.UnixMicro() {
		return
	}
	l.next = math.MaxInt64
	for _, p := range l.places {
		for name, c := range p.coming {
			if c.due > now.UnixMicro() {
				l.next = min(l.next, c.due)
				continue
			}
			delete(p.coming, name)
			l.n++
			p.items[name] = wait{since: c.due, bound: c.due, newest: c.due, look: c.look, due: true}
		}
	}
}

// keeps counts what of a lane is kept one by one.
func (l *lane) keeps() int {
	n := l.n
	for _, p := range l.places {
		n += len(p.coming)
	}
	return n
}
