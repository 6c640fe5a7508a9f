// Package lag measures how far regions are behind their sources, policy by policy: what
// waits and since when, how long changes took to be confirmed, whether that keeps within
// the policy's rpo, and when a backlog will be gone. It is told by the engine what a look
// at a source shows and what was confirmed, and knows nothing else: no region, no ledger
// but a place for notes.
//
// A change waits from its source timestamp on, corrected by the source's clock (R18); a
// delete from when it is due: first seen missing (R4), and the policy's grace period over.
// Of an item that changes again while it waits the oldest change counts. What the source
// had before the region was to hold it waits from then on, and not for the years that it is
// old: since the policy was first at work for the region, or since the place was moved there.
package lag

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"farshore/replicator/report"
)

// Clock tells the time.
type Clock interface{ Now() time.Time }

// Memory keeps small values durably: the ledger.
type Memory interface {
	Note(key string) (value []byte, ok bool, err error)
	PutNote(key string, value []byte) error
}

// Options of a Tracker.
type Options struct {
	Clock  Clock
	Memory Memory
	Log    *slog.Logger // nil: silent
	// OnEvent is told of late and arrived events, in order, after they are durable; nil:
	// nobody. It must not call the tracker.
	OnEvent func(report.Event)
	// Kept is how many waiting items are kept one by one, of all policies; 0: 100,000.
	// Past it they are only counted.
	Kept int
}

// Terms are what of a policy concerns lag.
type Terms struct {
	Policy  string
	Regions []string      // the destinations
	RPO     time.Duration // 0: nothing is ever late
	Poll    time.Duration // longest time between two looks; 0: never said to be stale
	Points  bool          // a look is a restore point: of volumes
	// Skew is how far the source's clock is ahead of this machine's; nil: not at all.
	Skew func() time.Duration
	// Idle says that the policy exists and is not worked on now: what is known of it
	// stays, and nothing is judged.
	Idle bool
}

// Tracker knows the lag of every policy and region. Its methods may be called
// concurrently. A nil Tracker may be told everything and knows nothing.
type Tracker struct {
	o Options

	saving sync.Mutex // held from judging until what was judged is durable and told

	mu    sync.Mutex
	lanes map[laneKey]*lane
	kept  int // items in all places

	ticked time.Time                                // when it was judged last
	set    time.Time                                // when the clock was found to have been set; zero: never
	passed func(since, now time.Time) time.Duration // by a clock that nobody sets
}

type laneKey struct{ policy, region string }

func (k laneKey) note() string { return "lag/" + k.policy + "\x00" + k.region }

// lane is one policy's way to one region.
type lane struct {
	key   laneKey
	terms Terms

	cause, hint string // why the last pass did not do all; empty: it did

	since  time.Time // when the policy was first at work for the region
	listed time.Time // when the places were listed last; zero: never
	floor  time.Time // all looks together when the process began, as the one before left them
	places map[string]*place
	past   window
	rate   rate
	peak   time.Duration // the highest lag since Peaks was asked last

	carried carried // what waited when the process before ended and is not told one by one
	episode *episode
	ended   *report.Event // the end of an episode that was not told yet
	lost    lateSum       // what was late and is not any more, since the last judgement

	// veiled says that its notes were read and are not compared with the ledger yet: until
	// then nothing is judged by them, and nobody is told.
	veiled bool

	parked time.Time // when its policy left the file; zero: it is there

	n     int   // items in its places
	next  int64 // µs: when the first of those that are coming is due
	many  bool  // a place has more than is kept one by one
	dirty bool
	saved time.Time
}

// place is a container of a policy, or a volume.
type place struct {
	since  time.Time // when the region was chosen to hold it; zero: as long as it is there
	asOf   time.Time // when the last complete look began; zero: none yet
	took   time.Duration
	look   uint64 // the number of the look under way, or of the last one
	items  map[string]wait
	stuck  int64
	more   overflow         // of the last complete look
	seen   overflow         // of the look under way
	early  map[string]int64 // source times confirmed during a look, before the look came to them
	coming map[string]coming
	looked bool // by this process, completely
	// recalled says that what an earlier process noted was compared with what it did.
	recalled bool
}

// wait is one item that waits.
type wait struct {
	since  int64 // µs by this machine's clock
	bound  int64 // µs: the look before the first that saw it; it may have changed since then
	newest int64 // µs by the source's: the newest change known
	bytes  int64
	look   uint64 // that saw it last
	due    bool   // it is to be deleted, since then
}

// overflow counts what is not kept one by one.
type overflow struct {
	items, bytes int64
	oldest       int64 // µs; 0: nothing
}

func (o *overflow) add(since, bytes int64) {
	if o.items++; o.items == 1 || since < o.oldest {
		o.oldest = since
	}
	o.bytes += bytes
}

// join takes the worse of two views of one place.
func (o overflow) join(x overflow) overflow {
	if x.items > o.items {
		o.items, o.bytes = x.items, x.bytes
	}
	if o.oldest == 0 || x.oldest != 0 && x.oldest < o.oldest {
		o.oldest = x.oldest
	}
	return o
}

func (o *overflow) take(bytes int64) {
	if o.items--; o.items <= 0 {
		*o = overflow{}
		return
	}
	o.bytes = max(o.bytes-bytes, 0)
}

// carried is what a process before knew of, beyond what it named.
type carried struct {
	Items  int64 `json:"items,omitempty"`
	Bytes  int64 `json:"bytes,omitempty"`
	Oldest int64 `json:"oldest,omitempty"` // µs
}

// New makes a tracker that follows nothing yet.
func New(o Options) *Tracker {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Kept <= 0 {
		o.Kept = 100_000
	}
	return &Tracker{o: o, lanes: map[laneKey]*lane{}, passed: func(since, now time.Time) time.Duration { return now.Sub(since) }}
}

// parkedFor is how long the notes of a policy that left the file are kept: it may come back.
const parkedFor = 30 * 24 * time.Hour

// Follow says which policies there are. The late events of others are paired. What is known
// of them is put by, for parkedFor; of a region that a policy no longer names it is
// forgotten. It reads what an earlier process noted, and must be called
// before the policies are worked on, and again whenever they change. recall is called before
// anything is judged by these notes or told of them, to say what the ledger knows better of
// what Noted gives; nil: nothing.
func (t *Tracker) Follow(all []Terms, recall func() error) error {
	if t == nil {
		return nil
	}
	t.saving.Lock()
	defer t.saving.Unlock()
	known, err := t.readIndex()
	if err != nil {
		return err
	}
	now := t.o.Clock.Now()
	t.mu.Lock()
	want, there := map[laneKey]bool{}, map[string]bool{}
	for _, terms := range all {
		there[terms.Policy] = true
		for _, region := range terms.Regions {
			want[laneKey{terms.Policy, region}] = true
		}
	}
	var missing []laneKey
	for k := range want {
		if t.lanes[k] == nil {
			missing = append(missing, k)
		}
	}
	for _, k := range known {
		if t.lanes[k] == nil && !want[k] {
			missing = append(missing, k)
		}
	}
	t.mu.Unlock()
	read := map[laneKey]*lane{}
	for _, k := range missing {
		if read[k], err = t.readLane(k, now); err != nil {
			return err
		}
	}
	if err := t.writeIndex(slices.Concat(known, missing)); err != nil { // before any note of theirs
		return err
	}
	t.mu.Lock()
	for k, l := range read {
		t.lanes[k] = l
		t.kept += l.keeps()
	}
	for _, terms := range all {
		for _, region := range terms.Regions {
			l := t.lanes[laneKey{terms.Policy, region}]
			l.terms, l.parked = terms, time.Time{}
		}
	}
	var gone []*lane
	for k, l := range t.lanes {
		if !want[k] {
			gone = append(gone, l)
			t.kept -= l.keeps()
			delete(t.lanes, k)
		}
	}
	t.mu.Unlock()
	slices.SortFunc(gone, func(a, b *lane) int { return strings.Compare(a.key.note(), b.key.note()) })
	kept := slices.Collect(maps.Keys(want))
	for _, l := range gone {
		if t.remove(l, now, !there[l.key.policy]) {
			kept = append(kept, l.key)
		}
	}
	if recall != nil {
		if err := recall(); err != nil {
			return err
		}
	}
	t.mu.Lock()
	for _, l := range t.lanes {
		l.veiled = false
	}
	t.mu.Unlock()
	t.judge(now)
	return t.writeIndex(kept)
}

// Trouble says why the last pass of a policy did not do all that it should, and what to do
// about it; an empty cause: it did. What is late and nobody knows how late is told with it.
func (t *Tracker) Trouble(policy, cause, hint string) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.lanesOf(policy) {
		l.cause, l.hint = cause, hint
	}
}

// lanesOf gives a policy's lanes; the tracker's lock is held.
func (t *Tracker) lanesOf(policy string) []*lane {
	var out []*lane
	for k, l := range t.lanes {
		if k.policy == policy {
			out = append(out, l)
		}
	}
	return out
}

// Places says which places a policy has, as a listing showed that began at the time given,
// and that all its regions are to hold them. What waited in others is gone.
func (t *Tracker) Places(policy string, at time.Time, names []string) {
	where := map[string]Regions{}
	for _, n := range names {
		where[n] = nil
	}
	t.Placed(policy, at, where)
}

// Regions are those that are to hold a place, each with the time by this machine's clock
// since when; zero: as long as the place is there. nil: all regions of the policy.
type Regions map[string]time.Time

// Placed is Places of a policy that does not keep everything at all its regions: where says,
// by place, which do. What waited for others is not theirs to have any more.
func (t *Tracker) Placed(policy string, at time.Time, where map[string]Regions) {
	if t == nil {
		return
	}
	now := t.o.Clock.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.lanesOf(policy) {
		l.account(now)
		for n, p := range l.places {
			regions, there := where[n]
			if there && regions.has(l.key.region) {
				continue
			}
			why := report.ArrivedGone
			if there {
				why = report.ArrivedRemoved
			}
			for name := range p.items {
				t.drop(l, p, name, now, why)
			}
			t.kept -= len(p.coming)
			delete(l.places, n)
		}
		for n, regions := range where {
			if !regions.has(l.key.region) {
				continue
			}
			if l.places[n] == nil { // what it had at the last listing was nothing
				l.places[n] = &place{asOf: l.before(), items: map[string]wait{}, looked: l.carried.Items == 0}
			}
			l.places[n].since = regions[l.key.region]
		}
		l.listed = at
		l.count()
		l.settle()
		l.dirty = true
	}
}

func (r Regions) has(region string) bool {
	_, is := r[region]
	return is || r == nil
}

// before is the time of the look before the first: of a place that was not there.
func (l *lane) before() time.Time {
	if l.listed.IsZero() {
		return l.floor
	}
	return l.listed
}

// settle forgets what an earlier process knew when every place was looked at since.
func (l *lane) settle() {
	if l.listed.IsZero() {
		return
	}
	for _, p := range l.places {
		if !p.looked {
			return
		}
	}
	l.carried = carried{}
}

// asOf is when the oldest look that counts began; zero: something was never looked at.
func (l *lane) asOf() time.Time {
	if l.listed.IsZero() {
		return l.floor
	}
	oldest := l.listed
	for _, p := range l.places {
		if p.asOf.Before(oldest) {
			oldest = p.asOf
		}
	}
	return oldest
}

// account brings the busy time up to now, before something changes, and what is due by now
// among what waits.
func (l *lane) account(now time.Time) {
	l.rate.pass(now, l.n > 0 || l.many)
	l.mature(now)
}

// count renews what l.many says.
func (l *lane) count() {
	l.many = false
	for _, p := range l.places {
		l.many = l.many || p.more.items > 0 || p.seen.items > 0
	}
}

// done adds what was confirmed to the window and to the rate.
func (l *lane) done(now time.Time, since, bytes int64) {
	d := max(now.Sub(time.UnixMicro(since)), 0)
	l.peak = max(l.peak, d)
	l.past.add(now, d, bytes, l.terms.RPO == 0 || d <= l.terms.RPO)
	l.rate.add(bytes)
	l.dirty = true
}

// Gone says that the source has an item no more.
func (t *Tracker) Gone(x Item) { t.left(x, report.ArrivedGone) }

// Stuck says that an item waits for a person now.
func (t *Tracker) Stuck(x Item) { t.left(x, report.ArrivedStuck) }

func (t *Tracker) left(x Item, why string) {
	t.at(x, func(l *lane, p *place, now time.Time) {
		t.stays(p, x.Name)
		if _, is := p.items[x.Name]; !is {
			return
		}
		t.drop(l, p, x.Name, now, why)
		if why == report.ArrivedStuck {
			p.stuck++
		}
		l.dirty = true
	})
}

// drop takes an item out of those that wait, and keeps in mind whether it was late.
func (t *Tracker) drop(l *lane, p *place, name string, now time.Time, why string) {
	w := p.items[name]
	l.peak = max(l.peak, now.Sub(time.UnixMicro(w.since)))
	if delete(p.items, name); len(p.items) == 0 {
		p.items = map[string]wait{} // one that was emptied keeps the room it had
	}
	t.kept--
	l.n--
	if rpo := l.terms.RPO; rpo > 0 && now.UnixMicro()-w.since > rpo.Microseconds() {
		l.lost.add(why, w.bytes, now.UnixMicro()-w.since)
	}
}
