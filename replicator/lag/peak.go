package lag

import (
	"cmp"
	"slices"
	"strings"
)

// Peak is the most that a policy was behind at a region.
type Peak struct {
	Policy, Region string
	Seconds        float64
}

// Peaks gives the highest lag that every policy at work had at every region since it was
// asked last. What waited only between two looks at the figures is in it: a change that was
// found and confirmed at once had waited since it was made.
func (t *Tracker) Peaks() []Peak {
	if t == nil {
		return nil
	}
	now := t.o.Clock.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []Peak
	for k, l := range t.lanes {
		if l.terms.Idle || l.veiled {
			continue
		}
		s := l.look(now, false)
		out = append(out, Peak{k.policy, k.region, max(l.peak, s.lag()).Seconds()})
		l.peak = 0
	}
	slices.SortFunc(out, func(a, b Peak) int {
		return cmp.Or(strings.Compare(a.Policy, b.Policy), strings.Compare(a.Region, b.Region))
	})
	return out
}
