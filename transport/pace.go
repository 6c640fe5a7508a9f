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
	busy          = 0.85        // the part of its slots that a link uses when they are what bounds it
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
//
// Only windows in which the slots were taken nearly all the time count. Where other
// things set the speed - the number of streams, or the other region of a copy, whose own
// link may still be climbing - the throughput says nothing of this one.
type pace struct {
	began time.Time // of the window; zero: begins with the next result
	done  int
	work  float64
	held  time.Duration // for which the slots of finished requests were held, together
	until time.Time     // no climbing before

	climb    climb
	found    bool    // it has settled once: steps are smaller from then on
	last     float64 // throughput to beat
	previous int     // the limit at which it was measured; 0: not measured yet
	best     float64 // throughput where it has settled
	holding  int     // windows until the next probe
	fewer    bool    // the next probe is downwards
	doubt    bool    // the last step down seemed to cost something
}

type climb int

const (
	growing climb = iota
	settled
	shrinking
)

func (p *pace) forget() { *p = pace{} }

// hold keeps the limit for a while after it was cut, and starts over from there.
func (p *pace) hold(now time.Time) { *p = pace{until: now.Add(calmAfterCut), found: true} }

// step counts a finished request that held its slot since began, and gives the limit
// from now on.
func (p *pace) step(limit, most int, began, now time.Time, bytes int64) int {
	if p.began.IsZero() {
		p.began, p.done, p.work, p.held = now, 0, 0, 0
		return limit
	}
	p.done++
	p.held += now.Sub(began)
	p.work += requestWeight + float64(bytes)
	took := now.Sub(p.began)
	if took < minWindow || p.done < max(3*limit, 12) {
		return limit
	}
	rate, used := p.work/took.Seconds(), p.held.Seconds()/took.Seconds()
	p.began, p.done, p.work, p.held = now, 0, 0, 0
	if used < busy*float64(limit) || now.Before(p.until) {
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
			if p.doubt = !p.doubt && rate > slump*p.last; p.doubt {
				return limit // chance, perhaps: one short window is little to go by
			}
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
	p.climb, p.previous, p.last, p.doubt = c, limit, rate, false
	step := max(limit/4, 1)
	if c == shrinking {
		return limit - step
	}
	if !p.found {
		step = max(limit/2, 1)
	}
	return min(limit+step, most)
}

// settle stays at a limit for some windows.
func (p *pace) settle(limit int, rate float64, fewer bool) int {
	p.climb, p.best, p.holding, p.fewer, p.previous = settled, rate, holdFor, fewer, 0
	if !p.found { // perhaps it began far above what the region bears: look downwards soon
		p.found, p.holding = true, 1
	}
	return limit
}
