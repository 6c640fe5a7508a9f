package lag

import "time"

// The rate is that of the last five minutes in which anything waited: idle time says
// nothing about how fast things go.
const (
	binLength = 10 * time.Second
	rateBins  = 30
	// stalledFor is how long nothing must have moved while something waited before that
	// is taken to be for ever.
	stalledFor = time.Minute
	// measuredFor is how long must be measured for a rate to say anything.
	measuredFor = binLength
	// restarted is how many items must have moved for the time before the first of them, in
	// which nothing did, not to count: a region that answers again goes as fast as it does.
	restarted = 10
)

type rateBin struct {
	busy         time.Duration
	items, bytes int64
}

// rate measures how fast a backlog shrinks.
type rate struct {
	bins []rateBin // the newest last
	seen time.Time // until when time is accounted for
}

// pass accounts for the time since the last call; busy says that something waited in it.
func (r *rate) pass(now time.Time, busy bool) {
	gone := now.Sub(r.seen)
	r.seen = now
	if !busy || gone <= 0 || gone > 24*time.Hour { // idle, or the clock was set
		return
	}
	for gone > 0 {
		b := r.bin()
		part := min(gone, binLength-b.busy)
		b.busy += part
		gone -= part
	}
}

// bin is the one that is being filled.
func (r *rate) bin() *rateBin {
	if n := len(r.bins); n == 0 || r.bins[n-1].busy >= binLength {
		if n == rateBins {
			r.bins = append(r.bins[:0], r.bins[1:]...)
		}
		r.bins = append(r.bins, rateBin{})
	}
	return &r.bins[len(r.bins)-1]
}

func (r *rate) add(bytes int64) {
	b := r.bin()
	b.items++
	b.bytes += bytes
}

// speed gives items and bytes a second, and how long it was measured.
func (r *rate) speed() (items, bytes float64, over time.Duration) {
	var sum rateBin
	idle := time.Duration(0) // before anything moved
	for _, b := range r.bins {
		if sum.busy += b.busy; sum.items+b.items == 0 {
			idle = sum.busy
		}
		sum.items += b.items
		sum.bytes += b.bytes
	}
	if sum.items >= restarted {
		sum.busy -= idle
	}
	if sum.busy < time.Millisecond {
		return 0, 0, 0
	}
	s := sum.busy.Seconds()
	return float64(sum.items) / s, float64(sum.bytes) / s, sum.busy
}
