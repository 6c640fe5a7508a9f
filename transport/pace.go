package transport

import "time"

// The pace keeper's constants. A window is long enough to be measured and short
// enough that a link of many streams is found within seconds.
const (
	minWindow     = 200 * time.Millisecond
	gain          = 1.05        // what counts as more throughput
	slump         = 0.7         // what counts as a region that has become slower
	holdFor       = 10          // windows at a limit that was settled on, before the next probe
	requestWeight = 128 << 10   // bytes that a request costs beside its body
	calmAfterCut  = time.Second // before growing again after a throttled reply
	// How long a limit at which the region throttled is not tried again.
	ceilingFor = 30 * time.Second
)

// pace finds the least number of requests at once that gives the most throughput.
// It climbs: a window of requests is measured at one limit, then at the next, and
// the better one is kept; from where it has settled it probes, in turn, fewer and more.
//
// Throughput is bytes plus a weight a request, so that small and large objects count
// on one scale. Latency needs no measuring of its own: at a given number at once it
// rises exactly as throughput falls.
type pace struct {
	began   time.Time // of the window; zero: begins with the next result
	done    int
	work    float64
	crowded bool      // somebody had to wait for a slot in this window
	until   time.Time // no climbing before

	climb    climb
	last     float64 // throughput to beat
	previous int     // the limit at which it was measured; 0: not measured yet
	best     float64 // throughput where it has settled
	holding  int     // windows until the next probe
	fewer    bool    // the next probe is downwards
}

type climb int

const (
	growing climb = iota
	settled
	shrinking
)

func (p *pace) forget() { *p = pace{} }

// hold keeps the limit for a while after it was cut, and starts over from there.
func (p *pace) hold(now time.Time) { *p = pace{until: now.Add(calmAfterCut)} }

// step counts a finished request and gives the limit from now on.
func (p *pace) step(limit, most int, now time.Time, bytes int64) int {
	if p.began.IsZero() {
		p.began, p.done, p.work = now, 0, 0
		return limit
	}
	p.done++
	p.work += requestWeight + float64(bytes)
	took := now.Sub(p.began)
	if took < minWindow || p.done < max(3*limit, 12) {
		return limit
	}
	rate, crowded := p.work/took.Seconds(), p.crowded
	p.began, p.done, p.work, p.crowded = now, 0, 0, false
	if !crowded || now.Before(p.until) {
		// Fewer requests were wanted than allowed: the window says nothing of the link.
		p.previous, p.climb = 0, growing
		return limit
	}
	return p.next(limit, most, rate)
}

func (p *pace) next(limit, most int, rate float64) int {
	switch p.climb {
	case growing:
		switch {
		case p.previous == 0 || rate >= p.last*gain:
			if limit >= most {
				return p.settle(limit, rate, true)
			}
			return p.probe(growing, limit, rate, most)
		}
		return p.settle(p.previous, p.last, true) // the last step brought nothing
	case shrinking:
		if rate*gain < p.last {
			return p.settle(p.previous, p.last, false) // the last step cost something
		}
		if limit == 1 {
			return p.settle(limit, rate, false)
		}
		// What is to be beaten stays what it was before the first step down: small
		// losses must not add up.
		return p.probe(shrinking, limit, p.last, most)
	}
	p.holding--
	switch {
	case rate < slump*p.best && limit > 1:
		return p.probe(shrinking, limit, rate, most)
	case p.holding > 0:
		p.best = max(p.best, rate)
		return limit
	case p.fewer && limit > 1:
		return p.probe(shrinking, limit, rate, most)
	case limit < most:
		return p.probe(growing, limit, rate, most)
	}
	return p.settle(limit, rate, true)
}

// probe takes a step to another limit.
func (p *pace) probe(c climb, limit int, rate float64, most int) int {
	p.climb, p.previous, p.last = c, limit, rate
	step := max(limit/4, 1)
	if c == shrinking {
		return limit - step
	}
	return min(limit+step, most)
}

// settle stays at a limit for some windows.
func (p *pace) settle(limit int, rate float64, fewer bool) int {
	p.climb, p.best, p.holding, p.fewer, p.previous = settled, rate, holdFor, fewer, 0
	return limit
}
