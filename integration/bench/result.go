package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// result is what one entrant's runs measured.
type result struct {
	Who     string
	Samples []sample
}

// check is a figure beside what the design wants of it.
type check struct {
	What, Got, Want string
	Judged, OK      bool
}

// row is one row with its outcome.
type row struct {
	ID, Title, Note string
	Bytes           int64 // copied in one run; 0: CPU per GiB means nothing
	Results         []result
	Checks          []check
	Table           []string // a table of its own instead of Results, in Markdown
	Err             string
	At              time.Time
	Commit          string
	Load            float64 // of the machine, at the row's beginning
}

// spread is a median with what it lies between.
type spread struct{ mid, low, high float64 }

func spreadOf(x []float64) spread {
	if len(x) == 0 {
		return spread{}
	}
	x = slices.Sorted(slices.Values(x))
	mid := x[len(x)/2]
	if len(x)%2 == 0 {
		mid = (mid + x[len(x)/2-1]) / 2
	}
	return spread{mid, x[0], x[len(x)-1]}
}

func (r result) wall() spread {
	var x []float64
	for _, s := range r.Samples {
		x = append(x, s.Wall.Seconds())
	}
	return spreadOf(x)
}

func (r result) cpu() spread {
	var x []float64
	for _, s := range r.Samples {
		x = append(x, s.CPU.Seconds())
	}
	return spreadOf(x)
}

// ratio is how many times longer a took than b, run by run: pairs that ran one after
// the other had the same machine.
func ratio(a, b result) spread {
	var x []float64
	for i := range min(len(a.Samples), len(b.Samples)) {
		x = append(x, a.Samples[i].Wall.Seconds()/b.Samples[i].Wall.Seconds())
	}
	return spreadOf(x)
}

func (r *row) find(who string) *result {
	for i := range r.Results {
		if r.Results[i].Who == who {
			return &r.Results[i]
		}
	}
	return nil
}

// us is farshore's result, if it has one.
func (r *row) us() *result {
	if x := r.find(ours); x != nil && len(x.Samples) > 0 {
		return x
	}
	return nil
}

func (r *row) judge(what, got, want string, ok bool) {
	r.Checks = append(r.Checks, check{What: what, Got: got, Want: want, Judged: true, OK: ok})
}

func (r *row) say(what, got, want string) {
	r.Checks = append(r.Checks, check{What: what, Got: got, Want: want})
}

// faster compares with the fastest of the ways to call rclone.
func (r *row) faster(want float64) {
	best := ""
	for _, x := range r.Results {
		if strings.HasPrefix(x.Who, "rclone") && len(x.Samples) > 0 && (best == "" || x.wall().mid < r.find(best).wall().mid) {
			best = x.Who
		}
	}
	r.fasterThan(best, want)
}

func (r *row) fasterThan(who string, want float64) {
	if us, x := r.us(), r.find(who); us != nil && x != nil && len(x.Samples) > 0 {
		got := ratio(*x, *us)
		r.judge("against "+who, fmt.Sprintf("%.2f × as fast (%.2f–%.2f)", got.mid, got.low, got.high), fmt.Sprintf("≥ %.1f ×", want), got.mid >= want)
	}
}

// ofFloor wants nine tenths of the floor's speed.
func (r *row) ofFloor() {
	const want = 0.9
	if us, x := r.us(), r.find(floor); us != nil && x != nil && len(x.Samples) > 0 {
		got := ratio(*x, *us)
		r.judge("against the floor", fmt.Sprintf("%.0f %% of its speed (%.0f–%.0f)", 100*got.mid, 100*got.low, 100*got.high),
			fmt.Sprintf("≥ %.0f %%", 100*want), got.mid >= want)
	}
}

func (r *row) overFloor(want float64) {
	if us, x := r.us(), r.find(floor); us != nil && x != nil && len(x.Samples) > 0 {
		got := ratio(*us, *x)
		r.judge("against listing alone", fmt.Sprintf("%.2f × its time (%.2f–%.2f)", got.mid, got.low, got.high), fmt.Sprintf("≤ %.2f ×", want), got.mid <= want)
	}
}

// ofLink compares with the time that the link alone needs for the bytes.
func (r *row) ofLink(bytes, perSecond int64, want float64) {
	if us := r.us(); us != nil {
		got := float64(bytes) / float64(perSecond) / us.wall().mid
		r.judge("of the link", fmt.Sprintf("%.1f %%", 100*got), fmt.Sprintf("≥ %.0f %%", 100*want), got >= want)
	}
}

func (r *row) noRequests() {
	if us := r.us(); us != nil {
		most := int64(0)
		for _, s := range us.Samples {
			most = max(most, s.Copy)
		}
		r.judge("requests to the destination", fmt.Sprint(most), "0", most == 0)
	}
}

// memory judges farshore's peak over all its runs of the row.
func (r *row) memory() {
	most := int64(0)
	for _, x := range r.Results {
		if strings.HasPrefix(x.Who, ours) {
			for _, s := range x.Samples {
				most = max(most, s.Anon)
			}
		}
	}
	if most > 0 {
		r.judge("peak RssAnon", fmt.Sprintf("%.0f MiB", mib(most)), fmt.Sprintf("≤ %.0f MiB", mib(memoryBar)), most <= memoryBar)
	}
}

// grouped writes 1,000,000.
func grouped(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// amount writes 300 MiB.
func amount(n int64) string {
	if n%gib == 0 {
		return fmt.Sprintf("%d GiB", n/gib)
	}
	return fmt.Sprintf("%d MiB", n/mb)
}
