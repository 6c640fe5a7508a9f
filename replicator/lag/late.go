package lag

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"farshore/replicator/report"
)

// namedAtMost is how many late items are named.
const namedAtMost = 10

// calmAtMost is the longest that nothing must be late before an episode is over: what
// wavers about its rpo is one episode, not one a second.
const calmAtMost = time.Minute

// episode is the time from a late event to its arrived event.
type episode struct {
	ID    string        `json:"id"`
	Began time.Time     `json:"began"`
	Told  bool          `json:"told"` // the late event was
	Late  report.Event  `json:"late"`
	Sum   lateSum       `json:"sum"`           // of what was late and is not any more
	Lag   int64         `json:"lag"`           // the longest so far, µs
	Blind bool          `json:"blind"`         // it began because the source was not looked at
	Calm  time.Time     `json:"calm,omitzero"` // since when nothing is late
	RPO   time.Duration `json:"rpo"`           // when something was late last
}

// lateSum counts what was late, by the reason why it is not any more.
type lateSum struct {
	Items map[string]int64 `json:"items,omitempty"`
	Bytes int64            `json:"bytes,omitempty"`
	Lag   int64            `json:"lag,omitempty"` // the longest, µs
}

func (s *lateSum) add(why string, bytes, lag int64) {
	s.join(lateSum{map[string]int64{why: 1}, bytes, lag})
}

func (s *lateSum) join(o lateSum) {
	if s.Items == nil && len(o.Items) > 0 {
		s.Items = map[string]int64{}
	}
	for why, n := range o.Items {
		s.Items[why] += n
	}
	s.Bytes += o.Bytes
	s.Lag = max(s.Lag, o.Lag)
}

func (s *lateSum) total() (n int64) {
	for _, x := range s.Items {
		n += x
	}
	return n
}

// reasons are why an item is not late any more, the best news first.
var reasons = []string{report.ArrivedConfirmed, report.ArrivedGone, report.ArrivedStuck, report.ArrivedRemoved}

// why sums up the reasons in one: that of the best news there is.
func (s *lateSum) why(other string) string {
	for _, w := range reasons {
		if s.Items[w] > 0 {
			return w
		}
	}
	return other
}

// sight is how a lane stands at a moment.
type sight struct {
	now    time.Time
	items  int64
	bytes  int64
	oldest int64 // µs; 0: nothing waits
	bound  int64 // µs: nothing that waits has changed before
	stuck  int64
	rough  bool
	late   int64
	lateB  int64
	named  []report.LateItem
	asOf   time.Time // not before since
	blind  bool      // nobody looked for longer than should be
}

// look sees how the lane stands; names are wanted with named.
func (l *lane) look(now time.Time, named bool) sight {
	l.mature(now)
	s := sight{now: now, asOf: l.asOf(), bound: now.UnixMicro()}
	if s.asOf.Before(l.since) {
		s.asOf = l.since
	}
	border := int64(0) // what waits since before is late
	if l.terms.RPO > 0 {
		border = now.UnixMicro() - l.terms.RPO.Microseconds()
	}
	older := func(since int64) {
		if since != 0 && (s.oldest == 0 || since < s.oldest) {
			s.oldest = since
		}
	}
	took, looked := time.Duration(0), false
	for at, p := range l.places {
		took += p.took
		looked = looked || p.look > 0
		s.stuck += p.stuck
		for name, w := range p.items {
			s.items++
			s.bytes += w.bytes
			older(w.since)
			s.bound = min(s.bound, w.bound)
			if w.since < border {
				s.late++
				s.lateB += w.bytes
				if named {
					s.name(at, name, w)
				}
			}
		}
		if m := p.more.join(p.seen); m.items > 0 {
			s.rough = true
			s.items += m.items
			s.bytes += m.bytes
			older(m.oldest)
			if m.oldest < border {
				s.late++ // at least
			}
		}
	}
	if c := l.carried; c.Items > 0 {
		s.rough = true
		if looked { // and may have seen the same
			s.items, s.bytes = max(s.items, c.Items), max(s.bytes, c.Bytes)
		} else {
			s.items, s.bytes = s.items+c.Items, s.bytes+c.Bytes
		}
		older(c.Oldest)
		if c.Oldest < border {
			s.late = max(s.late, 1)
		}
	}
	s.blind = l.terms.Poll > 0 && now.Sub(s.asOf) > l.terms.Poll+min(took, l.terms.Poll)+2*time.Second
	return s
}

// name keeps an item among the oldest that are named.
func (s *sight) name(place, name string, w wait) {
	x := report.LateItem{Place: place, Name: name, Since: time.UnixMicro(w.since).UTC(), Bytes: w.bytes}
	before := func(a, b report.LateItem) int {
		return cmp.Or(a.Since.Compare(b.Since), strings.Compare(a.Place, b.Place), strings.Compare(a.Name, b.Name))
	}
	if len(s.named) == namedAtMost && before(x, s.named[namedAtMost-1]) >= 0 {
		return
	}
	at, _ := slices.BinarySearchFunc(s.named, x, before)
	s.named = slices.Insert(s.named, at, x)
	s.named = s.named[:min(len(s.named), namedAtMost)]
}

// known is the age of the oldest change that is known and waits.
func (s *sight) known() time.Duration {
	if s.oldest == 0 {
		return 0
	}
	return max(s.now.Sub(time.UnixMicro(s.oldest)), 0)
}

// atMost is the age that no change which waits exceeds, seen or not.
func (s *sight) atMost() time.Duration {
	return max(s.now.Sub(s.asOf), s.now.Sub(time.UnixMicro(s.bound)), s.known(), 0)
}

// lag is the figure to go by.
func (s *sight) lag() time.Duration {
	if s.blind {
		return s.atMost()
	}
	return s.known()
}

// judge decides what is late now, and tells what has changed. The caller holds t.saving.
func (t *Tracker) judge(now time.Time) {
	t.mu.Lock()
	var tell []*lane
	for _, l := range t.lanes {
		if l.judge(now, t.set); l.untold() {
			tell = append(tell, l)
		}
	}
	t.mu.Unlock()
	slices.SortFunc(tell, func(a, b *lane) int { return strings.Compare(a.key.note(), b.key.note()) })
	for _, l := range tell {
		t.tell(l)
	}
}

func (l *lane) untold() bool { return l.ended != nil || l.episode != nil && !l.episode.Told }

// setBy is by how much a clock that was set differs at least from one that nobody sets.
const setBy = 5 * time.Second

// heed notices that the clock was set, or that the machine slept. Ages are of no use then
// until the source was looked at again.
func (t *Tracker) heed(now time.Time) {
	last := t.ticked
	if t.ticked = now; last.IsZero() {
		return
	}
	if by := now.Round(0).Sub(last.Round(0)) - t.passed(last, now); by.Abs() > setBy {
		t.set = now.Round(0)
		t.o.Log.Warn("the clock was set, or the machine slept: what is late is judged once the sources were looked at again", "by", by)
	}
}

// graceAtMost bounds how long a clock that was set keeps what is late from being told: what
// was due on the way is caught up with at once, and nothing may hide behind it for long.
const graceAtMost = 10 * time.Minute

// grace is how long after the clock was set nothing is found late: a look is due in that time.
func (l *lane) grace() time.Duration {
	return min(2*max(l.terms.Poll, 30*time.Second)+2*time.Second, graceAtMost)
}

// judge begins or ends the lane's episode. The end of one that was not told yet waits
// until it is.
func (l *lane) judge(now, set time.Time) {
	if l.terms.Idle || l.veiled || l.ended != nil {
		return
	}
	rpo := l.terms.RPO
	s := l.look(now, true)
	l.peak = max(l.peak, s.lag())
	lost := l.lost
	l.lost = lateSum{}
	blind := s.blind && rpo > 0 && s.atMost() > rpo
	late := rpo > 0 && s.late > 0 || blind
	if l.episode == nil {
		if !late && lost.total() == 0 || now.Sub(set) < l.grace() {
			return
		}
		l.begin(now, s, lost, blind)
	}
	e := l.episode
	if e.Sum.join(lost); len(lost.Items) > 0 {
		l.dirty = true
	}
	if late {
		e.Lag, e.Calm, e.RPO = max(e.Lag, s.lag().Microseconds()), time.Time{}, rpo
		return
	}
	if e.Calm.IsZero() || e.Calm.After(now) {
		e.Calm = now
		l.dirty = true
	}
	if now.Sub(e.Calm) < min(rpo/10, calmAtMost) {
		return
	}
	other := report.ArrivedRelaxed
	if e.Blind && rpo == e.RPO {
		other = report.ArrivedSeen
	}
	l.end(e.Calm, e.Sum.why(other))
}

func (l *lane) begin(now time.Time, s sight, lost lateSum, blind bool) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d", l.key.note(), now.UnixMicro()))
	e := &episode{ID: hex.EncodeToString(sum[:8]), Began: now.UTC(), RPO: l.terms.RPO, Lag: lost.Lag, Blind: blind && s.late+lost.total() == 0}
	items := s.late + lost.total()
	lag := max(s.lag(), time.Duration(lost.Lag)*time.Microsecond)
	text := fmt.Sprintf("policy %s: %d items wait for region %s for longer than its rpo of %s", l.key.policy, items, l.key.region, l.terms.RPO)
	if e.Blind {
		text = fmt.Sprintf("policy %s, region %s: for %s %s, longer than its rpo of %s", l.key.policy, l.key.region, lag.Round(time.Second), l.unseen(), l.terms.RPO)
		for _, x := range []string{l.cause, l.hint} {
			if x != "" {
				text += "; " + x
			}
		}
	}
	e.Late = report.Event{Kind: report.EventLate, ID: e.ID, At: e.Began, Policy: l.key.policy, Region: l.key.region, Text: text,
		Items: items, Bytes: s.lateB + lost.Bytes, Lag: lag.Seconds(), RPO: l.terms.RPO.Seconds(), Oldest: s.named}
	if e.Blind {
		e.Late.Cause, e.Late.Hint = l.cause, l.hint
	}
	l.episode, l.dirty = e, true
}

// unseen says what did not come about where nothing is known to wait, and it is late all
// the same. The source of volumes may have been looked at well enough: what counts there is
// a restore point.
func (l *lane) unseen() string {
	if l.terms.Points {
		return "no new restore point has reached it"
	}
	return "the source was not looked at"
}

// end ends the episode.
func (l *lane) end(at time.Time, why string) {
	e := l.episode
	lag := time.Duration(max(e.Lag, e.Sum.Lag)) * time.Microsecond
	var parts []string
	for _, w := range reasons {
		if n := e.Sum.Items[w]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, w))
		}
	}
	text := fmt.Sprintf("policy %s: nothing is late for region %s any more", l.key.policy, l.key.region)
	if len(parts) > 0 {
		text += " (" + strings.Join(parts, ", ") + ")"
	} else {
		text += " (" + why + ")"
	}
	l.ended = &report.Event{Kind: report.EventArrived, ID: e.ID, At: at.UTC(), Policy: l.key.policy, Region: l.key.region, Reason: why, Text: text,
		Items: e.Sum.total(), Bytes: e.Sum.Bytes, Lag: lag.Seconds(), RPO: e.RPO.Seconds(), Took: at.Sub(e.Began).Seconds()}
	l.dirty = true
}

// tell makes a lane's news durable and then tells of it: told twice after a crash, never
// not at all, and never what a restart would not know of.
func (t *Tracker) tell(l *lane) {
	if !t.save(l) {
		return
	}
	t.mu.Lock()
	var news []report.Event
	if e := l.episode; e != nil && !e.Told {
		news = append(news, e.Late)
		e.Told = true
	}
	if l.ended != nil {
		news = append(news, *l.ended)
		l.episode, l.ended = nil, nil
	}
	l.dirty = true
	t.mu.Unlock()
	for _, e := range news {
		t.o.Log.Warn(e.Text, "event", e.Kind, "id", e.ID, "policy", e.Policy, "region", e.Region, "items", e.Items, "lag", e.Lag)
		if t.o.OnEvent != nil {
			t.o.OnEvent(e)
		}
	}
	t.save(l)
}

// remove ends a lane whose policy has gone, or does not name the region any more, and says
// whether its notes are kept: those of a policy may be wanted again.
func (t *Tracker) remove(l *lane, now time.Time, mayReturn bool) (kept bool) {
	if l.episode != nil && l.ended == nil {
		l.end(now, report.ArrivedRemoved)
	}
	if l.untold() {
		t.tell(l)
	}
	switch ago := now.Sub(l.parked); {
	case !mayReturn, !l.parked.IsZero() && ago > parkedFor:
		t.forget(l)
		return false
	case l.parked.IsZero():
		l.parked = now
		t.save(l)
	}
	return true
}
