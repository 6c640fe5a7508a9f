//go:build integration

package integration

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// publish writes the result into a folder: a table and a plot.
func (s *soak) publish(dir string) {
	s.t.Helper()
	for name, text := range map[string]string{"soak.md": s.page(), "soak.svg": s.plot()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

// page is the table.
func (s *soak) page() string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	row := func(what, format string, args ...any) { say("| %s | "+format+" |", append([]any{what}, args...)...) }
	say("# Soak\n")
	say("`make soak`, %s: `farshore run` on the [lab](../integration/lab/README.md), two real regions with Swift and Cinder on one machine of %d cores, for %s. Others write objects and a volume in region one while regions are", s.began.UTC().Format("2 January 2006"), runtime.NumCPU(), s.length)
	say("stopped and started, limits change, and the daemon is killed with `kill -9`. The script is random, from a seed; `FARSHORE_SEED=%d make soak` plays this one again. [The test](../integration/soak_test.go) fails if anything said here is not so.\n", s.seed)
	say("| | |\n| --- | --- |")
	w := s.writer
	row("objects written", "%d changes in two containers: %d created, %d overwritten, %d POSTed, %d deleted", w.done, w.counts["created"], w.counts["overwritten"], w.counts["POSTed"], w.counts["deleted"])
	row("volume", "1 GiB, attached; %d MiB written or zeroed meanwhile, %d snapshots by its owner", s.block.written, len(s.block.snapshots))
	for _, what := range []string{"one", "two", "daemon"} {
		var each []string
		for _, o := range s.outages {
			if o.what == what {
				each = append(each, fmt.Sprintf("%.0f s", o.end.Sub(o.began).Seconds()))
			}
		}
		name := "region " + what + " (" + map[string]string{"one": "source", "two": "destination"}[what] + ") away"
		if what == "daemon" {
			name = "daemon killed"
		}
		row(name, "%d times: %s", len(each), strings.Join(each, ", "))
	}
	row("limits changed in flight", "%d times", s.limits)
	row("at the end", "both regions identical (names, SHA-256 and headers by python-swiftclient: %s)", strings.Join(s.compared, "; "))
	row("restore points", "%d landed; two restored with the SHA-256 of the volume when its snapshot was taken: %s", len(s.block.snapshots), strings.Join(s.restored, "; "))
	row("late events of objects", "%d, each followed by its arrived event", len(s.daemon.events("late", "objects")))
	for _, policy := range []string{"objects", "vols"} {
		row(map[string]string{"objects": "lag of objects", "vols": "lag of the volume"}[policy], "%s", s.agreed(policy))
	}
	lowest, highest := math.Inf(1), 0.0
	for _, x := range s.watch.samples {
		lowest, highest = min(lowest, x.load), max(highest, x.load)
	}
	row("load of the machine", "%.0f to %.0f", lowest, highest)
	n := len(s.daemon.lives) - 1
	slope, mean := s.growth()
	row("memory", "RssAnon %.1f MiB on average in the last life of %.0f min, its first minute left out; by least squares %+.3f MiB a minute; peak of all lives %.1f MiB", mean, s.settled.Sub(s.daemon.lives[n].began).Minutes(), slope, s.peak())
	began := s.daemon.lives[n].began
	early, late := s.within(n, began.Add(soakCalm/2), began.Add(3*soakCalm)), s.within(n, s.settled.Add(-soakCalm), s.settled)
	fds := func(x sample) float64 { return float64(x.fds) }
	row("goroutines, at least", "%.0f in the first minutes of that life, %.0f in its last one", least(early, goroutines), least(late, goroutines))
	row("descriptors, at least", "%.0f and %.0f", least(early, fds), least(late, fds))
	say("\n![memory and lag over time](soak.svg)\n")
	say("The observer shares nothing with the program: it knows what the writers did when, reads each copy's number and time in the destination's listings, deletes and looks at the source in the regions' own logs, and imported backups in Cinder. A figure")
	say("of lag agrees if it is within 5 %%, or one poll and two seconds, of the observer's. Where nobody could look at the source (it was away, or the daemon was dead) lag is the age of the last look, as the observer finds that in the source's log.")
	return b.String()
}

// agreed says how the figures of a policy compare.
func (s *soak) agreed(policy string) string {
	all := s.figures[policy]
	agree, tight, farthest, longest := 0, 0, 0.0, 0.0
	for _, p := range all {
		if p.wrong() == "" {
			agree++
		}
		w := p.want()
		if w.high-w.low <= give(w.high, p.poll()) {
			tight++
		}
		farthest, longest = max(farthest, w.off(p.said)), max(longest, p.said)
	}
	return fmt.Sprintf("%d figures, one every %.0f s; %d agree with the observer's, in %d of them he had no doubt; the longest lag was %.0f s, the farthest figure %.1f s off", len(all), soakSample.Seconds(), agree, tight, longest, farthest)
}

func (s *soak) peak() float64 {
	most := 0.0
	for _, x := range s.watch.samples {
		most = max(most, float64(x.anon)/(1<<20))
	}
	return most
}

const (
	plotWidth, plotHeight = 900.0, 170.0
	plotLeft, plotTop     = 60.0, 34.0
)

// dot is a point of a curve; value is NaN where it is broken.
type dot struct {
	at    time.Time
	value float64
}

// plot draws memory and lag over time, with what was away when.
func (s *soak) plot() string {
	var b strings.Builder
	const panels = 3
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="sans-serif" font-size="12">`+"\n", plotLeft+plotWidth+20, panels*(plotHeight+60)+20)
	b.WriteString(`<rect width="100%" height="100%" fill="white"/>` + "\n")
	var memory []dot
	life := 0
	for _, x := range s.watch.samples {
		if x.life != life {
			memory = append(memory, dot{x.asked, math.NaN()})
		}
		life = x.life
		memory = append(memory, dot{x.asked, float64(x.anon) / (1 << 20)})
	}
	lag := func(policy string, get func(lagPoint) float64) (out []dot) {
		for _, p := range s.figures[policy] {
			if n := len(out); n > 0 && p.at.Sub(out[n-1].at) > 5*soakSample {
				out = append(out, dot{p.at, math.NaN()})
			}
			out = append(out, dot{p.at, get(p)})
		}
		return out
	}
	said := func(p lagPoint) float64 { return p.said }
	observed := func(p lagPoint) float64 { return p.want().high }
	s.panel(&b, 0, "RssAnon, MiB (each life of the daemon; dashed: killed; red: region one away; blue: region two away)", memory, nil)
	s.panel(&b, 1, "lag of objects, s: what the daemon said (black) and the observer's (orange)", lag("objects", said), lag("objects", observed))
	s.panel(&b, 2, "lag of the volume, s: the same", lag("vols", said), lag("vols", observed))
	b.WriteString("</svg>\n")
	return b.String()
}

func (s *soak) panel(b *strings.Builder, n int, title string, curve, behind []dot) {
	top := plotTop + float64(n)*(plotHeight+60)
	span := s.settled.Sub(s.began).Seconds()
	most := 1.0
	for _, d := range slices.Concat(curve, behind) {
		if !math.IsNaN(d.value) {
			most = max(most, d.value)
		}
	}
	x := func(at time.Time) float64 {
		return plotLeft + plotWidth*min(max(at.Sub(s.began).Seconds()/span, 0), 1)
	}
	y := func(v float64) float64 { return top + plotHeight*(1-v/(1.05*most)) }
	fmt.Fprintf(b, `<text x="%.0f" y="%.0f">%s</text>`+"\n", plotLeft, top-10, title)
	for _, o := range s.outages {
		switch o.what {
		case "daemon":
			fmt.Fprintf(b, `<line x1="%[1]f" x2="%[1]f" y1="%.0f" y2="%.0f" stroke="gray" stroke-dasharray="3"/>`+"\n", x(o.began), top, top+plotHeight)
		default:
			fmt.Fprintf(b, `<rect x="%.1f" y="%.0f" width="%.1f" height="%.0f" fill="%s"/>`+"\n", x(o.began), top, x(o.end)-x(o.began), plotHeight, map[string]string{"one": "#fbdcdc", "two": "#dce6fb"}[o.what])
		}
	}
	fmt.Fprintf(b, `<rect x="%.0f" y="%.0f" width="%.0f" height="%.0f" fill="none" stroke="black"/>`+"\n", plotLeft, top, plotWidth, plotHeight)
	for _, share := range []float64{0, 0.5, 1} {
		fmt.Fprintf(b, `<text x="%.0f" y="%.1f" text-anchor="end">%.0f</text>`+"\n", plotLeft-6, y(share*most)+4, share*most)
	}
	for m := 0.0; m*60 <= span; m += max(1, math.Round(span/600)) {
		at := x(s.began.Add(time.Duration(m * float64(time.Minute))))
		fmt.Fprintf(b, `<text x="%.1f" y="%.0f" text-anchor="middle">%.0f min</text>`+"\n", at, top+plotHeight+16, m)
	}
	draw := func(dots []dot, color string, width float64) {
		var path strings.Builder
		move := true
		for _, d := range dots {
			if move = move || math.IsNaN(d.value); math.IsNaN(d.value) || d.at.After(s.settled) {
				continue
			}
			fmt.Fprintf(&path, "%s%.1f %.1f", map[bool]string{true: "M", false: "L"}[move], x(d.at), y(d.value))
			move = false
		}
		fmt.Fprintf(b, `<path d="%s" fill="none" stroke="%s" stroke-width="%g"/>`+"\n", path.String(), color, width)
	}
	draw(behind, "orange", 3)
	draw(curve, "black", 1)
}
