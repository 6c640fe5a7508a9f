package lag

import (
	"time"

	"farshore/replicator/report"
)

// The window of delays is the hour under way and the 23 before.
const (
	sliceLength = time.Hour
	slices24    = 24
)

// Objective is the share of items that is meant to be confirmed within a policy's rpo; the
// rest is its error budget.
const Objective = 0.999

// hour is what was confirmed in one hour.
type hour struct {
	Hour   int64         `json:"hour"` // since 1970
	Items  int64         `json:"items"`
	Bytes  int64         `json:"bytes"`
	Within int64         `json:"within"` // items that were confirmed within rpo, as it was then
	Max    time.Duration `json:"max_ns"`
	Delays histogram     `json:"delays"`
}

// window keeps the hours that count, the newest last.
type window []hour

func hourOf(t time.Time) int64 { return t.Unix() / int64(sliceLength/time.Second) }

// trim forgets hours that do not count any more. A clock that was set back leaves hours
// of the future: they go, too.
func (w *window) trim(now time.Time) {
	last := hourOf(now)
	kept := (*w)[:0]
	for _, h := range *w {
		if h.Hour <= last && h.Hour > last-slices24 {
			kept = append(kept, h)
		}
	}
	clear((*w)[len(kept):])
	*w = kept
}

func (w *window) add(now time.Time, d time.Duration, bytes int64, within bool) {
	at := hourOf(now)
	if n := len(*w); n == 0 || (*w)[n-1].Hour != at {
		w.trim(now)
		*w = append(*w, hour{Hour: at, Delays: histogram{}})
	}
	h := &(*w)[len(*w)-1]
	h.Items++
	h.Bytes += bytes
	if within {
		h.Within++
	}
	h.Max = max(h.Max, d)
	h.Delays.add(d)
}

// delays sums the window up; late is how many items are late now.
func (w *window) delays(now, since time.Time, rpo time.Duration, late int64) report.Delays {
	w.trim(now)
	begin := time.Unix((hourOf(now)-slices24+1)*int64(sliceLength/time.Second), 0)
	if since.After(begin) {
		begin = since
	}
	out := report.Delays{Window: max(now.Sub(begin).Seconds(), 0), Within: 1, Objective: Objective, Budget: 1}
	all := histogram{}
	within, longest := int64(0), time.Duration(0)
	for _, h := range *w {
		out.Items += h.Items
		out.Bytes += h.Bytes
		within += h.Within
		longest = max(longest, h.Max)
		all.merge(h.Delays)
	}
	q := all.quantiles(0.5, 0.99, 0.999)
	for i, to := range []*float64{&out.P50, &out.P99, &out.P999} {
		*to = min(q[i], longest).Seconds()
	}
	out.Max = longest.Seconds()
	if n := out.Items + late; rpo > 0 && n > 0 {
		out.Within = float64(within) / float64(n)
		out.Budget = 1 - (1-out.Within)/(1-Objective)
	}
	return out
}
