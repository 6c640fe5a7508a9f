//go:build integration

package integration

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// lagPoint is one figure of lag that the daemon gave, beside the observer's.
type lagPoint struct {
	at             time.Time
	policy         string
	said           float64 // lag_seconds
	known, atMost  float64
	truth, exposed band    // age of the oldest change that region two lacks; of the last look that counts
	bound          float64 // age of the look before the oldest such change
	lacks          float64 // age of the oldest change that region two lacks beyond doubt, known to anybody or not
}

// poll is the longest time between two looks.
func (p lagPoint) poll() time.Duration {
	every := soakEvery
	if p.policy == "vols" {
		every = soakVolumes
	}
	return every + every/10
}

// want is what lag_seconds should be: the truth, unless the source could not be looked at for longer than a poll; then
// what was written since may wait, too. To a volume its newest point is the look.
func (p lagPoint) want() band {
	b, poll := p.truth, p.poll().Seconds()
	if p.exposed.high > poll+2 {
		b.high = max(b.high, p.exposed.high, p.bound)
	}
	if p.policy == "vols" && p.exposed.low > 2*poll+2 {
		b.low = p.exposed.low
	}
	return b
}

// wrong says what the daemon's figures break; "": nothing.
func (p lagPoint) wrong() string {
	w, poll := p.want(), p.poll()
	switch {
	case w.off(p.said) > give(p.said, poll):
		return fmt.Sprintf("lag_seconds is %.1f", p.said)
	case p.known > p.truth.high+give(p.truth.high, poll):
		return fmt.Sprintf("lag_known_seconds is %.1f", p.known)
	case p.known < p.truth.low-give(p.truth.low, poll):
		return fmt.Sprintf("lag_known_seconds is %.1f", p.known)
	case p.atMost < p.lacks-2:
		return fmt.Sprintf("lag_at_most_seconds is %.1f", p.atMost)
	}
	return ""
}

// objectLag computes every figure about objects anew, after the fact.
func (o *observer) objectLag() (all []lagPoint) {
	source, dest := o.requests("one"), o.requests("two")
	var tracks []*track
	for _, c := range o.soak.writer.containers {
		seen := looks(source, c)
		gone, written := map[string][]logged{}, map[string][]logged{}
		for _, r := range dest {
			name, ok := cutContainer(r.path, c+"-copy")
			switch {
			case !ok || r.status[0] != '2':
			case r.method == http.MethodDelete:
				gone[name] = append(gone[name], r)
			case r.method == http.MethodPut || r.method == http.MethodPost:
				written[name] = append(written[name], r)
			}
		}
		for at, changes := range o.soak.writer.changes {
			if at.container == c {
				tracks = append(tracks, &track{changes: changes, shown: o.shown[at], gone: gone[at.name], written: written[at.name], looks: seen})
			}
		}
	}
	for _, s := range o.samples {
		p := lagPoint{at: s.answered, policy: "objects"}
		if !p.read(s) {
			continue
		}
		for _, c := range o.soak.writer.containers {
			e := o.exposure(looks(source, c), s.answered)
			p.exposed.low, p.exposed.high = max(p.exposed.low, e.low), max(p.exposed.high, e.high)
		}
		for _, t := range tracks {
			b := o.waits(t, s.asked, s.answered)
			p.truth.low, p.lacks = max(p.truth.low, b.low), max(p.lacks, o.lacks(t, s.asked))
			if b.high > p.truth.high {
				p.truth.high, p.bound = b.high, o.exposure(t.looks, s.answered.Add(-seconds(b.high))).high+b.high
			}
		}
		all = append(all, p)
	}
	return all
}

// read takes the daemon's figures from a sample.
func (p *lagPoint) read(s sample) bool {
	ok := s.series != nil
	for name, to := range map[string]*float64{"lag_seconds": &p.said, "lag_known_seconds": &p.known, "lag_at_most_seconds": &p.atMost} {
		v, is := s.series[lagSeries(name, p.policy)]
		*to, ok = v, ok && is
	}
	return ok
}

func cutContainer(path, container string) (name string, ok bool) {
	if len(path) > len(container) && path[:len(container)+1] == container+"/" {
		return path[len(container)+1:], true
	}
	return "", false
}

// exposure is how long ago the last look at the source began that can count. The latest may not have come to its end, and
// one in the last seconds before a kill may not have been written down.
func (o *observer) exposure(seen []logged, now time.Time) band {
	b := band{high: now.Sub(o.soak.began).Seconds()}
	b.low = b.high
	for i, l := range seen {
		if l.ended.After(now) {
			break
		}
		b.low = now.Sub(l.began).Seconds()
		if i == 0 {
			continue
		}
		before := seen[i-1]
		if o.killedBetween(before.began, l.began.Add(time.Nanosecond), 6*time.Second) {
			continue
		}
		b.high = now.Sub(before.began).Seconds()
	}
	return b
}

// killedBetween reports whether the daemon was killed between two times, or so much later.
func (o *observer) killedBetween(a, b time.Time, later time.Duration) bool {
	return slices.ContainsFunc(o.soak.outages, func(x outage) bool {
		return x.what == "daemon" && x.began.After(a) && x.began.Before(b.Add(later))
	})
}

// track is what happened to one object at both sides.
type track struct {
	changes []change
	shown   map[int]time.Time // when region two had a change
	gone    []logged          // deletes at region two
	written []logged          // PUTs and POSTs there
	looks   []logged          // at the container at the source
}

// waits is how long the object's oldest change that region two lacks has waited, if any does.
func (o *observer) waits(t *track, asked, answered time.Time) (b band) {
	if from := o.since(t, answered, true); !from.IsZero() {
		b.high = max(0, answered.Sub(from).Seconds())
	}
	if from := o.since(t, asked, false); !from.IsZero() {
		b.low = max(0, asked.Sub(from).Seconds())
	}
	return b
}

// since is when the oldest change began to wait: strictly, what only may wait does.
func (o *observer) since(t *track, now time.Time, strict bool) time.Time {
	held := -1 // the newest change that region two has
	for i, c := range t.changes {
		if at := o.had(t, c); !at.IsZero() && (!at.After(now) && !strict || strict && !o.sure(t, at).After(now)) {
			held = i
		}
	}
	last := -1
	for i, c := range t.changes {
		if c.began.Before(now) && strict || c.ended.Before(now) {
			last = i
		}
	}
	has := held >= 0 && !t.changes[held].gone()
	if last <= held || t.changes[last].gone() && !has {
		return time.Time{}
	}
	if strict {
		first := t.changes[held+1]
		if !first.gone() {
			return first.began
		}
		due := first.began.Add(soakGrace)
		if last > held+1 && t.changes[held+2].began.Before(due) { // made again before that was due
			return t.changes[held+2].began
		}
		if due.After(now) {
			return time.Time{}
		}
		return due
	}
	// What the daemon must know: what a look showed, of the run of changes that ends with the last.
	if c := t.changes[last]; c.gone() {
		if n := after(t.looks, c.ended) + 1; n < len(t.looks) { // the first may have been cut off
			return t.looks[n].ended.Add(soakGrace)
		}
		return time.Time{}
	}
	for i := held + 1; i <= last; i++ {
		if slices.ContainsFunc(t.changes[i:last+1], change.gone) {
			continue
		}
		until := now
		if i < last {
			until = t.changes[i+1].began
		}
		for _, l := range t.looks {
			if l.began.After(t.changes[i].ended) && l.ended.Before(until) && l.ended.Add(2*time.Second).Before(now) {
				return t.changes[i].ended
			}
		}
	}
	return time.Time{}
}

// lacks is the age of the oldest change that region two lacks, of those since the object was deleted last.
func (o *observer) lacks(t *track, now time.Time) float64 {
	oldest := 0.0
	for i := len(t.changes) - 1; i >= 0; i-- {
		c := t.changes[i]
		if c.ended.After(now) {
			continue
		}
		if at := o.had(t, c); c.gone() || !at.IsZero() && at.Before(now) {
			break
		}
		oldest = now.Sub(c.ended).Seconds()
	}
	return oldest
}

// had is when region two had a change, or something newer that stands for it; zero: never seen.
func (o *observer) had(t *track, c change) time.Time {
	if !c.gone() {
		return cmp.Or(t.shown[c.number], t.wrote(c))
	}
	for _, r := range t.gone {
		if r.began.After(c.began) {
			return r.ended
		}
	}
	return time.Time{}
}

// wrote is when region two got what stood at the source from this change until the next; zero: never. A copy that was soon
// replaced is in no listing that was read, but in the log.
func (t *track) wrote(c change) time.Time {
	for _, r := range t.written {
		next := slices.IndexFunc(t.changes, func(x change) bool { return x.began.After(c.ended) })
		if r.began.After(c.ended) && (next < 0 || r.ended.Before(t.changes[next].began)) {
			return r.ended
		}
	}
	return time.Time{}
}

// after is the first look that began at a time or later.
func after(looks []logged, at time.Time) int {
	n, _ := slices.BinarySearchFunc(looks, at, func(l logged, at time.Time) int { return l.began.Compare(at) })
	return n
}

// sure is when the daemon must know that region two has what it got at a time: when that request was over, for an object's time
// is when it began; where that region or the daemon went away at that moment, the answer may have been lost, and a later look
// shows it.
func (o *observer) sure(t *track, at time.Time) time.Time {
	for _, r := range t.written {
		if !r.began.After(at) && r.ended.After(at) {
			at = r.ended
			break
		}
	}
	for _, x := range o.soak.outages {
		if x.what == "one" || at.Before(x.began.Add(-3*time.Second)) || at.After(x.began.Add(3*time.Second)) {
			continue
		}
		if n := after(t.looks, x.end) + 1; n < len(t.looks) {
			return t.looks[n].ended
		}
	}
	return at
}

// volumeLag does the same for the volume: what counts is the newest point that has landed.
func (o *observer) volumeLag() (all []lagPoint) {
	points := o.points()
	for _, s := range o.samples {
		p := lagPoint{at: s.answered, policy: "vols"}
		if !p.read(s) {
			continue
		}
		p.exposed = o.newest(points, s)
		p.lacks = p.exposed.low
		for _, x := range o.soak.block.snapshots { // what waits for longest, and is newer
			if age := s.answered.Sub(x.taken).Seconds(); age > 0 && age < p.exposed.high {
				p.truth.high = max(p.truth.high, age)
			}
		}
		all = append(all, p)
	}
	return all
}

// newest is the age of the newest landed point. Before there is one it is the time since the daemon first gave
// figures: until then it is not at work, and nobody can ask it.
func (o *observer) newest(points map[string]string, s sample) band {
	waiting := s.answered.Sub(o.samples[0].asked).Seconds()
	b := band{waiting, waiting}
	for _, x := range o.soak.block.snapshots {
		l := o.landed[points[x.id]]
		if age := s.answered.Sub(x.taken).Seconds(); !l.by.IsZero() {
			if !l.after.After(s.answered) {
				b.low = min(b.low, age)
			}
			if l.by.Before(s.asked) {
				b.high = min(b.high, age)
			}
		}
	}
	return b
}
