package lag

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"farshore/replicator/report"
)

// Lags says how every policy that is worked on stands at every region, by policy and
// region.
func (t *Tracker) Lags() []report.Lag {
	if t == nil {
		return nil
	}
	now := t.o.Clock.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []report.Lag
	for _, l := range t.lanes {
		if !l.terms.Idle && !l.veiled {
			out = append(out, l.report(now))
		}
	}
	slices.SortFunc(out, func(a, b report.Lag) int {
		return cmp.Or(strings.Compare(a.Policy, b.Policy), strings.Compare(a.Region, b.Region))
	})
	return out
}

func (l *lane) report(now time.Time) report.Lag {
	l.account(now)
	s := l.look(now, true)
	rpo := l.terms.RPO
	out := report.Lag{Policy: l.key.policy, Region: l.key.region, Seconds: s.lag().Seconds(), Known: s.known().Seconds(), AtMost: s.atMost().Seconds(),
		Since: l.since.UTC(), Poll: l.terms.Poll.Seconds(), Items: s.items, Bytes: s.bytes, Stuck: s.stuck, Rough: s.rough,
		Late: report.Lateness{RPO: rpo.Seconds(), Is: rpo > 0 && s.lag() > rpo, Items: s.late, Bytes: s.lateB, Oldest: s.named},
		Past: l.past.delays(now, l.since, rpo, s.late), Ahead: l.forecast(now)}
	if at := l.asOf(); !at.IsZero() {
		out.AsOf = at.UTC()
	}
	if out.Late.Is && s.late == 0 {
		out.Late.Why, out.Late.Cause, out.Late.Hint = l.unseen(), l.cause, l.hint
	}
	if out.Late.Oldest == nil {
		out.Late.Oldest = []report.LateItem{}
	}
	if e := l.episode; e != nil {
		out.Late.Episode, out.Late.Began = e.ID, e.Began
	}
	return out
}

// forecastBins is into how many ages a backlog is parted to see when each will be through.
const forecastBins = 128

// forecast says when what waits will have arrived, at the rate of the last minutes and if
// the oldest goes first.
func (l *lane) forecast(now time.Time) report.Forecast {
	items, bytes, over := l.rate.speed()
	out := report.Forecast{BytesRate: bytes, ItemsRate: items}
	oldest, newest := int64(math.MaxInt64), int64(math.MinInt64)
	each := func(see func(since, items, bytes int64)) {
		for _, p := range l.places {
			for _, w := range p.items {
				see(w.since, 1, w.bytes)
			}
			if m := p.more.join(p.seen); m.items > 0 {
				see(m.oldest, m.items, m.bytes)
			}
		}
	}
	each(func(since, _, _ int64) { oldest, newest = min(oldest, since), max(newest, since) })
	if newest < oldest {
		return out
	}
	if over < measuredFor {
		out.None = report.NoForecastYet
		return out
	}
	// border: what waits since then or later is not late yet
	border := int64(math.MinInt64)
	if l.terms.RPO > 0 {
		border = now.UnixMicro() - l.terms.RPO.Microseconds()
	}
	type bin struct{ items, bytes, oldest, risk int64 } // risk: the oldest of what is not late yet
	bins := [forecastBins]bin{}
	width := (newest-oldest)/forecastBins + 1
	each(func(since, items, bytes int64) {
		b := &bins[(since-oldest)/width]
		b.items += items
		b.bytes += bytes
		if b.oldest == 0 || since < b.oldest {
			b.oldest = since
		}
		if since >= border && (b.risk == 0 || since < b.risk) {
			b.risk = since
		}
	})
	var doneItems, doneBytes int64
	for _, b := range bins {
		if b.items == 0 {
			continue
		}
		doneItems += b.items
		doneBytes += b.bytes
		if items == 0 || doneBytes > 0 && bytes == 0 {
			out.ETA, out.Worst = -1, -1
			out.Miss = l.terms.RPO > 0 && over >= stalledFor
			return out
		}
		eta := float64(doneItems) / items // until the bin is through
		if doneBytes > 0 {
			eta = max(eta, float64(doneBytes)/bytes)
		}
		out.ETA = eta
		out.Worst = max(out.Worst, float64(now.UnixMicro()-b.oldest)/1e6+eta)
		if l.terms.RPO > 0 && b.risk != 0 && float64(now.UnixMicro()-b.risk)/1e6+eta > l.terms.RPO.Seconds() {
			out.Miss = true
		}
	}
	return out
}
