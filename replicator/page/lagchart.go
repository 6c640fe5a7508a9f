package page

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// LagChart draws how far the regions were behind in the last day, LongLagChart in the last
// two weeks, against the RPO. Each is nil when there are not two samples.
func (p Policy) LagChart(id string) *chart {
	return p.lagChart(id, "Lag of "+transportName(p.Name)+" by region, last 24 hours", func(l Lag) []Sample { return l.Samples })
}

// LongLagChart is described at LagChart.
func (p Policy) LongLagChart(id string) *chart {
	return p.lagChart(id, "Lag of "+transportName(p.Name)+" by region, last 14 days", func(l Lag) []Sample { return l.Longer })
}

func (p Policy) lagChart(id, title string, of func(Lag) []Sample) *chart {
	c := newChart(id, title, chartHeight)
	x := times{left: c.Left, right: c.Right}
	most, n := p.RPO.Seconds()*1.1, 0
	for _, l := range p.Lag {
		for _, s := range of(l) {
			if n == 0 || s.At.Before(x.from) {
				x.from = s.At
			}
			if n == 0 || s.At.After(x.to) {
				x.to = s.At
			}
			most = max(most, s.Value)
			n++
		}
	}
	if n < 2 || !x.to.After(x.from) {
		return nil
	}
	y, ticks := newSeconds(max(most, 1), c.Top, c.Bottom)
	c.X, c.Y = x.ticks(), ticks
	if p.RPO > 0 {
		c.Limit = &tick{y.at(p.RPO.Seconds()), "RPO " + duration(p.RPO.Seconds())}
	}
	var says []string
	var unknown holes
	at := map[int][]string{}
	for i, l := range p.Lag {
		class := fmt.Sprintf("s%d", i%maxSeries)
		worst := 0.0
		var path strings.Builder
		for _, part := range unknown.part(transportName(l.Region), of(l)) {
			drawn := thin(part, x, manySpots*2)
			for j, s := range drawn {
				verb := "L"
				if j == 0 {
					verb = "M"
				}
				fmt.Fprintf(&path, "%s%.1f %.1f", verb, x.at(s.At), y.at(s.Value))
				worst = max(worst, s.Value)
			}
			if len(drawn) == 1 { // else it could not be seen
				path.WriteString("h1")
			}
		}
		for _, s := range thin(of(l), x, manySpots) {
			k := column(x.at(s.At))
			at[k] = append(at[k], transportName(l.Region)+" "+duration(s.Value))
		}
		c.Lines = append(c.Lines, line{class, transportName(l.Region), path.String()})
		c.Legend = append(c.Legend, legend{Class: class, Path: "M0 5H24", Name: transportName(l.Region)})
		says = append(says, transportName(l.Region)+" "+duration(worst))
	}
	c.Desc = fmt.Sprintf("From %s to %s, the highest that was measured: %s.%s", utc(x.from), utc(x.to), strings.Join(says, ", "), unknown)
	if c.Limit != nil {
		c.Desc += " The line across is the " + c.Limit.Label + "."
	}
	for k, texts := range at {
		px := (float64(k) + 0.5) * (plotRight - plotLeft) / manySpots
		when := x.from.Add(time.Duration(px / (plotRight - plotLeft) * float64(x.to.Sub(x.from))))
		c.Spots = append(c.Spots, spot{X: plotLeft + px, Y: c.Top, Text: when.UTC().Format("2 Jan 15:04") + " UTC: " + strings.Join(texts, ", ")})
	}
	slices.SortFunc(c.Spots, func(a, b spot) int { return cmp.Compare(a.X, b.X) })
	return &c
}

// column is the part of the plot that a place is in.
func column(x float64) int {
	return min(int((x-plotLeft)/(plotRight-plotLeft)*manySpots), manySpots-1)
}

// thin leaves the highest sample of each of n parts of the axis.
func thin(all []Sample, x times, n int) []Sample {
	if len(all) <= n {
		return all
	}
	out := make([]Sample, 0, n)
	last := -1
	for _, s := range all {
		k := min(int((x.at(s.At)-x.left)/(x.right-x.left)*float64(n)), n-1)
		switch {
		case k != last:
			out = append(out, s)
			last = k
		case s.Value > out[len(out)-1].Value:
			out[len(out)-1] = s
		}
	}
	return out
}

// holes are the times of which nothing is known, and of which regions.
type holes struct {
	all     [][2]time.Time
	regions map[[2]time.Time][]string
}

// holesNamed is how many of them are named, the newest.
const holesNamed = 4

// part gives a region's samples in parts without a hole between them, and notes the holes.
func (h *holes) part(region string, all []Sample) [][]Sample {
	var out [][]Sample
	begin := 0
	for i, s := range all {
		if !s.Hole || i == 0 {
			continue
		}
		out = append(out, all[begin:i])
		begin = i
		hole := [2]time.Time{all[i-1].At, s.At}
		if h.regions == nil {
			h.regions = map[[2]time.Time][]string{}
		}
		if h.regions[hole] == nil {
			h.all = append(h.all, hole)
		}
		h.regions[hole] = append(h.regions[hole], region)
	}
	return append(out, all[begin:])
}

// String says of which times nothing is known: there the line is broken, and what was
// measured before and after says nothing of them.
func (h holes) String() string {
	if len(h.all) == 0 {
		return ""
	}
	slices.SortFunc(h.all, func(a, b [2]time.Time) int { return b[0].Compare(a[0]) })
	var says []string
	for _, hole := range h.all[:min(len(h.all), holesNamed)] {
		to := "15:04"
		if hole[0].UTC().YearDay() != hole[1].UTC().YearDay() {
			to = "2 Jan 15:04"
		}
		says = append(says, hole[0].UTC().Format("2 Jan 15:04")+" to "+hole[1].UTC().Format(to)+" ("+strings.Join(h.regions[hole], ", ")+")")
	}
	more := ""
	if n := len(h.all) - len(says); n > 0 {
		more = fmt.Sprintf(", and of %d more such times", n)
	}
	return " Nothing is known of " + strings.Join(says, ", ") + more + ": nobody measured then, or it was not kept."
}
