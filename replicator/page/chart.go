package page

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"

	"farshore/replicator/report"
)

// chart is a drawing in the coordinates of its SVG: plain numbers for the template.
type chart struct {
	ID, Title, Desc          string
	W, H                     float64
	Left, Top, Right, Bottom float64 // of the plot
	X, Y                     []tick
	Lines                    []line
	Marks                    []mark
	Limit                    *tick // a bound that should not be passed
	Rows                     []tick
	Legend                   []legend
	Spots                    []spot // what the script shows under the pointer
}

type tick struct {
	At    float64
	Label string
}

// line is one series. Series differ in dashes as well as in colour.
type line struct {
	Class string // s0, s1, …
	Name  string
	Path  string
}

// mark is one thing that happened. Its class gives it colour, its Path a shape.
type mark struct {
	Class, Path, Title string
}

type legend struct{ Class, Path, Name string }

type spot struct {
	X, Y float64
	Text string
}

// The drawing's size. It scales with the page and scrolls where that is narrow.
const (
	chartWidth  = 720.0
	chartHeight = 210.0
	plotLeft    = 84.0
	plotRight   = chartWidth - 12
	plotTop     = 12.0
	rowHeight   = 30.0
	labelWidth  = 150.0 // of rows
	manySpots   = 120   // columns of a chart that answer the pointer
	maxSeries   = 6     // that the style sheet tells apart
)

// times is an axis of time.
type times struct {
	from, to    time.Time
	left, right float64
}

func (x times) at(t time.Time) float64 {
	span := x.to.Sub(x.from).Seconds()
	if span <= 0 {
		return (x.left + x.right) / 2
	}
	return x.left + (x.right-x.left)*t.Sub(x.from).Seconds()/span
}

var timeSteps = []time.Duration{time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 3 * time.Hour,
	6 * time.Hour, 12 * time.Hour, day, 2 * day, 7 * day, 14 * day, 30 * day, 90 * day, 365 * day, 5 * 365 * day}

const day = 24 * time.Hour

// ticks are round moments, eight at most.
func (x times) ticks() []tick {
	span := x.to.Sub(x.from)
	step := timeSteps[len(timeSteps)-1]
	for _, s := range timeSteps {
		if span <= 8*s {
			step = s
			break
		}
	}
	layout := "15:04"
	switch {
	case step >= 90*day:
		layout = "2006-01-02"
	case step >= day:
		layout = "2 Jan"
	case x.from.UTC().YearDay() != x.to.UTC().YearDay():
		layout = "2 Jan 15:04"
	}
	var out []tick
	for t := x.from.UTC().Truncate(step); !t.After(x.to) && len(out) < 10; t = t.Add(step) {
		if at := x.at(t); !t.Before(x.from) && at < x.right-20 && at > x.left+10 {
			out = append(out, tick{at, t.Format(layout)})
		}
	}
	return out
}

var valueSteps = []float64{0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 2 * 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 2 * 86400, 7 * 86400, 14 * 86400, 30 * 86400, 90 * 86400, 365 * 86400}

// seconds is an axis of durations from 0 up.
type seconds struct{ top, bottom, most float64 }

func (y seconds) at(v float64) float64 {
	return y.bottom - (y.bottom-y.top)*min(max(v, 0), y.most)/y.most
}

// ticks are round durations, six at most; the axis ends at one.
func newSeconds(most, top, bottom float64) (seconds, []tick) {
	step := valueSteps[len(valueSteps)-1]
	for _, s := range valueSteps {
		if most <= 5*s {
			step = s
			break
		}
	}
	n := max(math.Ceil(most/step), 1)
	y := seconds{top: top, bottom: bottom, most: n * step}
	var out []tick
	for i := 0.0; i <= n && i <= 12; i++ {
		out = append(out, tick{y.at(i * step), duration(i * step)})
	}
	return y, out
}

func newChart(id, title string, height float64) chart {
	return chart{ID: id, Title: title, W: chartWidth, H: height, Left: plotLeft, Right: plotRight, Top: plotTop, Bottom: height - 26}
}

// DrillChart draws how long restores took, drill by drill. It is nil when there are not
// two drills.
func (p Policy) DrillChart(id string) *chart {
	if len(p.Drills) < 2 {
		return nil
	}
	c := newChart(id, "RTO of the drills of "+transportName(p.Name), chartHeight)
	x := times{from: p.Drills[0].Began, to: p.Drills[len(p.Drills)-1].Began, left: c.Left + 12, right: c.Right - 12}
	most := 1.0
	for _, d := range p.Drills {
		most = max(most, d.RTO)
	}
	y, ticks := newSeconds(most, c.Top, c.Bottom)
	c.X, c.Y = x.ticks(), ticks
	var path strings.Builder
	failed := 0
	for _, d := range p.Drills {
		px, py := x.at(d.Began), y.at(d.RTO)
		verb := "L"
		if path.Len() == 0 {
			verb = "M"
		}
		fmt.Fprintf(&path, "%s%.1f %.1f", verb, px, py)
		s := d.Standing()
		if !d.OK {
			failed++
		}
		text := fmt.Sprintf("%s: %s, RTO %s, RPO %s", utc(d.Began), s.Word, duration(d.RTO), duration(d.RPO))
		c.Marks = append(c.Marks, mark{s.Class, shape(s.Class, px, py), text})
		c.Spots = append(c.Spots, spot{px, py, text})
	}
	c.Lines = []line{{"trend", "RTO", path.String()}}
	c.Legend = []legend{{good, shape(good, 12, 5), "passed"}, {bad, shape(bad, 12, 5), "failed"}}
	last := p.Drills[len(p.Drills)-1]
	c.Desc = fmt.Sprintf("%s from %s to %s, %d of them failed; the last took %s until the slowest volume could be attached.",
		countOf(int64(len(p.Drills)), "drill"), utc(x.from), utc(x.to), failed, duration(last.RTO))
	return &c
}

// shape is a mark's outline around a point.
func shape(class string, x, y float64) string {
	switch class {
	case good: // a disc
		return fmt.Sprintf("M%.1f %.1fa5 5 0 1 0 10 0a5 5 0 1 0 -10 0z", x-5, y)
	case warn: // a triangle
		return fmt.Sprintf("M%.1f %.1fl6 10h-12z", x, y-6)
	case bad: // a cross
		return fmt.Sprintf("M%.1f %.1fl8 8m0 -8l-8 8", x-4, y-4)
	}
	return fmt.Sprintf("M%.1f %.1fl5 5l-5 5l-5 -5z", x, y-5) // a diamond
}

// PointChart draws the restore points of the volumes on a line of time. It is nil where
// there is none.
func (p Policy) PointChart(id string) *chart {
	if p.Points == nil {
		return nil
	}
	n := 0
	x := times{left: plotLeft + labelWidth - 60, right: plotRight - 12}
	for _, v := range p.Points.Volumes {
		for _, pt := range v.Points {
			if n == 0 || pt.Taken.Before(x.from) {
				x.from = pt.Taken
			}
			if n == 0 || pt.Taken.After(x.to) {
				x.to = pt.Taken
			}
			n++
		}
	}
	if n == 0 {
		return nil
	}
	height := plotTop + rowHeight*float64(len(p.Points.Volumes)) + 26
	c := newChart(id, "Restore points of "+transportName(p.Name), height)
	c.Left = x.left - 12
	if !x.to.After(x.from) { // a single moment, at the end: what comes after it is not known
		x.from = x.from.Add(-time.Minute)
	}
	c.X = x.ticks()
	for i, v := range p.Points.Volumes {
		py := plotTop + rowHeight*(float64(i)+0.5)
		c.Rows = append(c.Rows, tick{py, report.Shorten(cmp.Or(transportName(v.Name), v.ID), 18)})
		for _, pt := range v.Points {
			s := pt.Standing()
			text := fmt.Sprintf("%s: %s of %s, %s", utc(pt.Taken), pt.Kind, cmp.Or(transportName(v.Name), v.ID), s.Word)
			px := x.at(pt.Taken)
			c.Marks = append(c.Marks, mark{s.Class, shape(s.Class, px, py), text})
			c.Spots = append(c.Spots, spot{px, py, text})
		}
	}
	c.Legend = []legend{{good, shape(good, 12, 5), "can be restored"}, {warn, shape(warn, 12, 5), "on the way"}, {bad, shape(bad, 12, 5), "lost"}, {calm, shape(calm, 12, 5), "at the source only"}}
	c.Desc = fmt.Sprintf("%s of %s, from %s to %s. The table below has them.", countOf(int64(n), "restore point"), countOf(int64(len(p.Points.Volumes)), "volume"), utc(x.from), utc(x.to))
	return &c
}
