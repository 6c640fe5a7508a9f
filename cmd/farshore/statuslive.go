package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/vbauerster/mpb/v8/cwriter"

	"farshore/policies"
	"farshore/replicator/control"
	"farshore/replicator/report"
	"farshore/transport"
)

// liveEvery is how often the live view of status is drawn.
const liveEvery = time.Second

// liveTerminal gives stdout, if it is a terminal that a view can be redrawn on.
func (c *console) liveTerminal() (f *os.File, ok bool) {
	f, ok = c.stdout.(*os.File)
	return f, ok && !c.json && !c.quiet && os.Getenv("TERM") != "dumb" && cwriter.IsTerminal(int(f.Fd()))
}

// watchLive draws what the holder of a ledger does again and again, in one place, until
// ctx ends, which is the way out of it, or the holder has gone.
func watchLive(ctx context.Context, cl *control.Client, st control.Status, out *os.File) error {
	var m meter
	drawn := 0
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	for {
		m.add(time.Now(), st.Snapshot)
		width, height, err := cwriter.GetSize(int(out.Fd()))
		if err != nil || width < 1 || height < 3 {
			width, height = 80, 24
		}
		lines := liveView(time.Now(), st, &m, width, height-1, os.Getenv("NO_COLOR") == "")
		back := ""
		if drawn > 0 {
			back = fmt.Sprintf("\x1b[%dA\r\x1b[J", drawn)
		}
		if _, err := fmt.Fprint(out, back+strings.Join(lines, "\n")+"\n"); err != nil {
			return fmt.Errorf("write to the terminal: %w", err)
		}
		drawn = len(lines)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		next, err := cl.Status(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, control.ErrNobody):
			return err
		case err == nil:
			st = next
		}
	}
}

// liveView draws a holder's state in at most height lines of at most width columns: who
// holds the ledger, what is carried to each region and how fast, what runs, waits or is
// due, how far each policy is behind. What has no room is counted in the last line. It
// has colours only where colour says so, and says nothing by colour alone.
func liveView(now time.Time, st control.Status, m *meter, width, height int, colour bool) []string {
	v := &view{width: width, colour: colour}
	state := "at work"
	if st.Stopping {
		state = "ending"
	}
	v.line(bold, "farshore %s: %s for %s, process %d, ledger %s", st.Version, state, seconds(max(now.Sub(st.Began), 0).Round(time.Second)), st.PID, st.Ledger)
	if st.Unwritable != "" {
		v.line(red, "NOTHING CAN BE WRITTEN: %s", st.Unwritable)
	}
	if line := refusedLine(st); line != "" {
		v.line(red, "%s", line)
	}
	v.line(plain, "limit of all bytes sent: %s; %s", policies.Rate(st.TotalLimit), phaseLine(st.Snapshot))
	for _, l := range st.Limits {
		v.line(plain, "%s", limitLine(l))
	}
	for _, r := range st.Snapshot.Regions {
		text := fmt.Sprintf("  %s: %s", r.Region, regionLine(r, m.rate(r.Region), st.Snapshot.Final))
		if r.Active > 0 {
			text += ", " + count(r.Active, "transfer") + " under way"
		}
		v.line(plain, "%s", text)
	}
	for _, x := range st.Commands {
		v.line(plain, "  %s", commandLineOf(x))
	}
	if len(st.Lag) > 0 {
		v.line(bold, "lag")
	}
	for _, l := range st.Lag {
		style := plain
		if l.Late.Is {
			style = red
		}
		v.line(style, "  %s → %s: %s", l.Policy, l.Region, lagLine(l))
		if l.Late.Cause != "" {
			v.line(plain, "    %s", l.Late.Cause)
		}
	}
	if len(st.Tasks) > 0 {
		v.line(bold, "tasks")
	}
	for _, rank := range []int{0, 1, 2} { // what runs, what has failed, what is due
		for _, t := range st.Tasks {
			if rankOf(t) == rank {
				v.line([]string{green, red, plain}[rank], "  %s", taskText(t, func(at time.Time) string { return clockOf(now, at) }))
			}
		}
	}
	return v.fit(height)
}

// clockOf is a time without its day, if that is today.
func clockOf(now, at time.Time) string {
	day, of := timeOf(at), timeOf(now)
	if i := strings.IndexByte(day, ' '); i > 0 && strings.HasPrefix(of, day[:i]) {
		return day[i+1:]
	}
	return day
}

// rankOf says where a task stands in the view.
func rankOf(t control.Task) int {
	switch {
	case t.Running || t.Asked:
		return 0
	case t.Error != "" || t.Errors > 0:
		return 1
	}
	return 2
}

// How lines are shown.
const (
	plain = ""
	bold  = "\x1b[1m"
	red   = "\x1b[31m"
	green = "\x1b[32m"
	reset = "\x1b[0m"
)

// view is what is drawn.
type view struct {
	width  int
	colour bool
	lines  []string
}

// line adds a line, cut to the width.
func (v *view) line(style, format string, args ...any) {
	text := report.Shorten(strings.NewReplacer("\n", " ", "\t", " ").Replace(printable(fmt.Sprintf(format, args...))), v.width)
	if v.colour && style != plain {
		text = style + text + reset
	}
	v.lines = append(v.lines, text)
}

// fit cuts what is below the height.
func (v *view) fit(height int) []string {
	if len(v.lines) <= height {
		return v.lines
	}
	more := len(v.lines) - height + 1
	v.lines = v.lines[:height-1]
	v.line(plain, "… and %s more: farshore status --once", count(int64(more), "line"))
	return v.lines
}

// commandLineOf is a command that is carried out for somebody, on one line.
func commandLineOf(x control.Command) string {
	text := fmt.Sprintf("command %s for process %d: %s", x.ID, x.PID, x.Command)
	switch {
	case x.Ending:
		text += "; it is ending"
	case len(x.Waits) > 0:
		text += "; it waits for " + strings.Join(x.Waits, ", ")
	default:
		text += "; " + cmp.Or(progressLine(x.Now), "at work")
	}
	return transport.PrintName(text)
}
