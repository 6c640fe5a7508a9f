package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"farshore/policies"
	"farshore/replicator/control"
	"farshore/replicator/daemon"
	"farshore/replicator/lag"
	"farshore/replicator/report"
	"farshore/transport"
	"farshore/transport/region"
)

// lagTick is how often a daemon judges what is late.
const lagTick = time.Second

// measure begins to measure lag, until the function it gives is called.
func (d *service) measure() (stop func()) {
	d.s.lag = lag.New(lag.Options{Clock: transport.SystemClock{}, Memory: d.s.ledger, Log: d.quiet, OnEvent: d.happened})
	d.page.peaks = d.s.lag.Peaks
	ticks, quit, ended := time.NewTicker(lagTick), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-ticks.C:
				d.s.lag.Tick()
			case <-quit:
				return
			}
		}
	}()
	return func() {
		ticks.Stop()
		close(quit)
		<-ended
		d.s.lag.Close()
	}
}

// happened hands an event to those who want to be told of it. It must not wait.
func (d *service) happened(e report.Event) {
	for _, hear := range d.hear {
		hear(e)
	}
}

// terms are what lag is measured by: of every policy of the file, whether it is worked on
// or not.
func (x *crew) terms() []lag.Terms {
	chosen := map[string]bool{}
	for _, t := range x.work.tasks {
		chosen[t.policy.Name] = true
	}
	var out []lag.Terms
	for _, p := range x.work.file.Policies {
		out = append(out, lag.Terms{Policy: p.Name, Regions: p.To, RPO: p.RPO, Poll: p.LongestPause(), Skew: skewOf(x.links.open[p.From]), Points: p.Volumes != nil, Idle: !chosen[p.Name]})
	}
	return out
}

// recall has the ledger correct what an earlier process noted of lag.
func (x *crew) recall(ctx context.Context) error {
	for _, t := range x.work.tasks {
		if err := x.engine.Recall(ctx, t.policy); err != nil {
			return err
		}
	}
	return nil
}

// skewOf tells how far a region's clock is ahead, as far as that can be told (R18).
func skewOf(r *region.Region) func() time.Duration {
	if r == nil {
		return nil
	}
	return func() time.Duration {
		d, unsure, ok := r.ClockSkew()
		if !ok || d.Abs() <= unsure {
			return 0
		}
		return d
	}
}

// await has the counters of a daemon say how much there is to do: what was done since it
// began, and what is known to wait for a region. What its passes have planned would not say
// so: of one that is cut off it stays for ever, and for a region that is down nothing is.
func await(s *report.Snapshot, lags []report.Lag) {
	for i := range s.Regions {
		r := &s.Regions[i]
		r.WantObjects, r.WantBytes = r.DoneObjects, r.DoneBytes
	}
	for _, l := range lags {
		i, there := slices.BinarySearchFunc(s.Regions, l.Region, func(r report.RegionSnapshot, name string) int { return strings.Compare(r.Region, name) })
		if !there {
			s.Regions = slices.Insert(s.Regions, i, report.RegionSnapshot{Region: l.Region})
		}
		s.Regions[i].WantObjects += l.Items
		s.Regions[i].WantBytes += l.Bytes
	}
}

// unforeseen takes the forecast from policies that carry nothing until a person says so: how
// fast they were says nothing of when.
func unforeseen(lags []report.Lag, tasks []control.Task) {
	for i := range lags {
		l := &lags[i]
		at := slices.IndexFunc(tasks, func(t control.Task) bool { return t.Policy == l.Policy && t.Kind == string(daemon.Pass) })
		if at < 0 || tasks[at].Running || l.Items == 0 {
			continue
		}
		switch {
		case tasks[at].Paused:
			l.Ahead = report.Forecast{None: report.NoForecastPaused}
		case tasks[at].Held:
			l.Ahead = report.Forecast{None: report.NoForecastStopped}
		}
	}
}

// showLag prints how policies stand, a line for each region.
func showLag(c *console, lags []report.Lag) {
	for _, l := range lags {
		c.warn("  %s → %s: %s", transport.PrintName(l.Policy), l.Region, lagLine(l))
		if l.Late.Cause != "" {
			c.warn("    %s", l.Late.Cause)
		}
		if l.Late.Hint != "" {
			c.warn("    → %s", l.Late.Hint)
		}
	}
}

// lagLine says in words how far a region is behind.
func lagLine(l report.Lag) string {
	line := "lag " + age(l.Seconds)
	if l.Late.RPO > 0 {
		line += " (rpo " + policies.FormatDuration(time.Duration(l.Late.RPO*float64(time.Second))) + ")"
	}
	switch {
	case l.Late.Is && l.Late.Items > 0:
		line += ", LATE: " + count(l.Late.Items, "item")
	case l.Late.Is:
		line += ", LATE: " + l.Late.Why
	}
	if l.Items > 0 {
		line += fmt.Sprintf(", %s, %s waiting", count(l.Items, "item"), size(l.Bytes))
		switch {
		case l.Ahead.None == report.NoForecastPaused:
			line += ", paused"
		case l.Ahead.None == report.NoForecastStopped:
			line += ", its last pass was stopped"
		case l.Ahead.ETA > 0:
			line += ", " + age(l.Ahead.ETA) + " left"
		case l.Ahead.ETA < 0 && l.Ahead.Miss:
			line += ", nothing moves"
		}
		if l.Ahead.Miss && l.Ahead.ETA >= 0 {
			line += ", the rpo will be missed"
		}
	}
	if l.Stuck > 0 {
		line += fmt.Sprintf(", %s not carried (see the findings)", count(l.Stuck, "item"))
	}
	if l.Past.Items > 0 {
		line += fmt.Sprintf("; confirmed after %s (p50), %s (p99)", exactly(l.Past.P50), exactly(l.Past.P99))
		if l.Late.RPO > 0 {
			line += fmt.Sprintf(", %.3g%% within the rpo", 100*l.Past.Within)
		}
	}
	return line
}
