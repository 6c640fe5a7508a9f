package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"farshore/replicator/report"
)

const (
	barEvery   = 200 * time.Millisecond
	lineEvery  = 10 * time.Second
	rateWindow = 5 * time.Second // over which a rate is averaged
)

// snapshots says how far some work is.
type snapshots interface{ Snapshot() report.Snapshot }

// startProgress shows how the work goes on stderr until the returned function is
// called: bars on a terminal, elsewhere a line every ten seconds.
func startProgress(c *console, p snapshots) (stop func()) {
	if c.guest != nil {
		return c.guest.show(p)
	}
	if c.quiet || c.json && !c.terminal() {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c.terminal() {
			showBars(ctx, c, p)
		} else {
			showLines(ctx, c, p)
		}
	}()
	return func() { // any number of times
		cancel()
		<-done
	}
}

func showLines(ctx context.Context, c *console, p snapshots) {
	t := time.NewTicker(lineEvery)
	defer t.Stop()
	var m meter
	m.add(time.Now(), p.Snapshot())
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			s := p.Snapshot()
			m.add(now, s)
			fmt.Fprintln(c, phaseLine(s))
			for _, r := range s.Regions {
				fmt.Fprintf(c, "  %s: %s\n", r.Region, regionLine(r, m.rate(r.Region), s.Final))
			}
		}
	}
}

// board is what the bars show, renewed by one goroutine and read by theirs.
type board struct {
	mu    sync.Mutex
	phase string
	lines map[string]string
}

func (b *board) line(region string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if region == "" {
		return b.phase
	}
	return b.lines[region]
}

func showBars(ctx context.Context, c *console, p snapshots) {
	all := mpb.New(mpb.WithOutput(c.stderr), mpb.WithWidth(30), mpb.WithRefreshRate(barEvery), mpb.WithAutoRefresh())
	c.setBars(all)
	b := &board{lines: map[string]string{}}
	head := all.New(1, mpb.NopStyle(), mpb.BarRemoveOnComplete(), mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return b.line("") })))
	bars := map[string]*mpb.Bar{}
	var m meter
	draw := func(now time.Time) {
		s := p.Snapshot()
		m.add(now, s)
		b.mu.Lock()
		b.phase = phaseLine(s)
		for _, r := range s.Regions {
			b.lines[r.Region] = regionLine(r, m.rate(r.Region), s.Final)
		}
		b.mu.Unlock()
		for _, r := range s.Regions {
			if r.WantObjects == 0 {
				continue
			}
			bar := bars[r.Region]
			if bar == nil {
				bar = all.AddBar(0, mpb.BarRemoveOnComplete(), mpb.PrependDecorators(decor.Name(r.Region, decor.WCSyncSpaceR)),
					mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return b.line(r.Region) })))
				bars[r.Region] = bar
			}
			// An object without bytes counts for one, so that a bar of empty objects moves too.
			bar.SetTotal(r.WantBytes+r.WantObjects+1, false)
			bar.SetCurrent(min(r.DoneBytes+r.DoneObjects, r.WantBytes+r.WantObjects))
		}
	}
	t := time.NewTicker(barEvery)
	defer t.Stop()
	for {
		draw(time.Now())
		select {
		case <-t.C:
			continue
		case <-ctx.Done():
		}
		break
	}
	c.setBars(nil)
	for _, bar := range bars {
		bar.Abort(true)
	}
	head.Abort(true)
	all.Wait()
}

// meter averages the bytes a second of each region over the last few seconds.
type meter struct {
	samples []sample
}

type sample struct {
	at    time.Time
	bytes map[string]int64
}

func (m *meter) add(now time.Time, s report.Snapshot) {
	x := sample{at: now, bytes: map[string]int64{}}
	for _, r := range s.Regions {
		x.bytes[r.Region] = r.DoneBytes
	}
	m.samples = append(m.samples, x)
	for len(m.samples) > 2 && now.Sub(m.samples[1].at) >= rateWindow {
		m.samples = m.samples[1:]
	}
}

// rate is in bytes a second; 0 while nothing is known.
func (m *meter) rate(region string) float64 {
	if len(m.samples) < 2 {
		return 0
	}
	first, last := m.samples[0], m.samples[len(m.samples)-1]
	d := last.at.Sub(first.at).Seconds()
	if d <= 0 {
		return 0
	}
	return max(float64(last.bytes[region]-first.bytes[region])/d, 0)
}

func phaseLine(s report.Snapshot) string {
	line := printable(s.Phase)
	if s.Listed > 0 {
		line += fmt.Sprintf("; %s listed", humanize.Comma(s.Listed))
	}
	return line
}

// regionLine says how a region stands. Totals that may still grow have a plus sign.
func regionLine(r report.RegionSnapshot, rate float64, final bool) string {
	more := "+"
	if final {
		more = ""
	}
	line := fmt.Sprintf("%s of %s%s, %s of %s%s objects", size(r.DoneBytes), size(r.WantBytes), more, humanize.Comma(r.DoneObjects), humanize.Comma(r.WantObjects), more)
	if rate >= 1 {
		line += fmt.Sprintf(", %s/s", size(int64(rate)))
		if left := float64(r.WantBytes - r.DoneBytes); final && left > 0 {
			line += ", " + seconds(time.Duration(left/rate*float64(time.Second)).Round(time.Second)) + " left"
		}
	}
	if r.Failed > 0 {
		line += ", " + humanize.Comma(r.Failed) + " failed"
	}
	if r.Retries > 0 {
		line += ", " + count(r.Retries, "retry")
	}
	return line
}

// progressLine is a snapshot on one line, for a message.
func progressLine(s report.Snapshot) string {
	parts := []string{}
	if s.Phase != "" {
		parts = append(parts, phaseLine(s))
	}
	for _, r := range s.Regions {
		if r.WantObjects > 0 {
			parts = append(parts, r.Region+": "+regionLine(r, 0, s.Final))
		}
	}
	return strings.Join(parts, "; ")
}
