package page

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"farshore/replicator/report"
)

// How a policy stands is the worst that is known of it.
func TestStanding(t *testing.T) {
	fine := Task{Kind: "pass", Began: now.Add(-time.Minute), Ended: now}
	good := report.Replicas{Wanted: 1, Satisfied: true}
	for name, c := range map[string]struct {
		p          Policy
		class, say string
	}{
		"well":         {Policy{Tasks: []Task{fine}, Replicas: &good}, "good", "as it should be"},
		"new":          {Policy{Tasks: []Task{{Kind: "pass"}}}, "calm", "not looked at yet"},
		"failing":      {Policy{Tasks: []Task{{Kind: "pass", Began: now, Ended: now, Error: "no"}}, Replicas: &good}, "bad", "failing"},
		"trying again": {Policy{Tasks: []Task{{Kind: "pass", Running: true, Began: now, Error: "no"}}, Replicas: &good}, "good", "as it should be"},
		"late":         {Policy{RPO: time.Minute, Tasks: []Task{fine}, Replicas: &good, Lag: []Lag{{Lag: report.Lag{Region: "lyon", Seconds: 90, Late: report.Lateness{Is: true, Items: 3}}}}}, "bad", "late: 3 items, lyon 1 min 30 s behind; the RPO is 1 min"},
		"short":        {Policy{Tasks: []Task{fine}, Replicas: &report.Replicas{Wanted: 2, Short: 1}}, "bad", "too few copies: 1 object with fewer than 2 confirmed"},
		"errors":       {Policy{Tasks: []Task{fine}, Replicas: &good, Runs: []Run{{Findings: []report.Finding{{Level: report.Error}, {Level: report.Warn}}}}}, "bad", "errors found: 1 error finding"},
		"warnings":     {Policy{Tasks: []Task{fine}, Replicas: &good, Runs: []Run{{Findings: []report.Finding{{Level: report.Warn}, {Level: report.Warn}}}}}, "warn", "warnings: 2 warnings"},
		"lost":         {Policy{Tasks: []Task{fine}, Replicas: &good, Holdings: []Holding{{Region: "lyon", Up: true, Trouble: "1 lost"}}}, "warn", "not whole everywhere: lyon: 1 lost"},
		"information":  {Policy{Tasks: []Task{fine}, Replicas: &good, Runs: []Run{{Findings: []report.Finding{{Level: report.Info}}}}}, "good", "as it should be"},
		"paused":       {Policy{Tasks: []Task{{Kind: "pass", Paused: true, Began: now, Ended: now}}, Replicas: &good}, "warn", "paused"},
	} {
		got := c.p.Standing()
		if text := got.Word + ": " + got.Why; got.Class != c.class || !strings.HasPrefix(text, c.say) {
			t.Errorf("%s: %s, %s", name, got.Class, text)
		}
	}
}

// The whole is as bad as its worst part, and a region that is away is said.
func TestVerdict(t *testing.T) {
	v := sample()
	if got := v.Verdict(); got.Class != "bad" || got.Word != "photos needs attention" || got.Why != "Not reached: berlin." {
		t.Errorf("%+v", got)
	}
	v.Policies = v.Policies[2:3]
	if got := v.Verdict(); got.Class != "warn" || got.Word != "Regions do not answer" {
		t.Errorf("%+v", got)
	}
	v.Regions = v.Regions[1:]
	if got := v.Verdict(); got.Class != "good" {
		t.Errorf("%+v", got)
	}
}

// Findings come worst first, with where they were made, and what is not shown is counted.
func TestFindings(t *testing.T) {
	v := sample()
	var says []string
	for _, f := range v.Found() {
		says = append(says, string(f.Level)+" "+f.Policy+" "+f.Kind+" "+f.Run.Kind)
	}
	if got := strings.Join(says, "; "); got != "error photos conflict pass; warn assets region-down pass; warn photos cannot pass" {
		t.Error(got)
	}
	if v.Unshown() != 3 {
		t.Error(v.Unshown())
	}
}

// A lag twice the RPO is drawn twice as high, time runs to the right, and the highest of
// what is left out stays.
func TestLagChart(t *testing.T) {
	p := Policy{Name: "p", RPO: 100 * time.Second, Lag: []Lag{{Lag: report.Lag{Region: "lyon"}}}}
	if p.LagChart("c") != nil {
		t.Error("a chart of nothing")
	}
	for i := range 1440 {
		v := 50.0
		if i == 700 {
			v = 200
		}
		p.Lag[0].Samples = append(p.Lag[0].Samples, Sample{At: now.Add(time.Duration(i) * time.Minute), Value: v})
	}
	c := p.LagChart("c")
	points := regexp.MustCompile(`[ML]([0-9.]+) ([0-9.]+)`).FindAllStringSubmatch(c.Lines[0].Path, -1)
	if len(points) < 200 || len(points) > 242 {
		t.Errorf("%d points are drawn", len(points))
	}
	last, high := -1.0, c.H
	for _, m := range points {
		x, y := number(t, m[1]), number(t, m[2])
		if x <= last || x < c.Left || x > c.Right || y < c.Top || y > c.Bottom {
			t.Fatalf("%.1f %.1f after %.1f", x, y, last)
		}
		last, high = x, min(high, y)
	}
	if up, twice := c.Bottom-c.Limit.At, c.Bottom-high; up <= 0 || twice/up < 1.98 || twice/up > 2.02 {
		t.Errorf("the RPO is %.1f high, twice as much %.1f", up, twice)
	}
	if c.Limit.Label != "RPO 1 min 40 s" || !strings.Contains(c.Desc, "the highest that was measured: lyon 3 min 20 s. The line") || strings.Contains(c.Desc, "othing is known") {
		t.Errorf("%s; %s", c.Limit.Label, c.Desc)
	}
	if len(c.Spots) != manySpots || !strings.HasSuffix(c.Spots[0].Text, "lyon 50 s") {
		t.Errorf("%d spots, the first %q", len(c.Spots), c.Spots[0].Text)
	}
}

// Where nothing is known the line is broken, and the text says of which time and regions.
func TestLagChartHole(t *testing.T) {
	p := Policy{Name: "p", Lag: []Lag{{Lag: report.Lag{Region: "berlin"}}, {Lag: report.Lag{Region: "lyon"}}}}
	for i, minute := range []int{0, 1, 2, 20, 21, 40} {
		s := Sample{At: now.Add(time.Duration(minute) * time.Minute), Value: 5, Hole: minute == 20 || minute == 40}
		if p.Lag[1].Samples = append(p.Lag[1].Samples, s); i < 5 {
			p.Lag[0].Samples = append(p.Lag[0].Samples, s)
		}
	}
	c := p.LagChart("c")
	for i, want := range []string{"MLLML", "MLLMLMh"} {
		if got := regexp.MustCompile(`[^A-Za-z]`).ReplaceAllString(c.Lines[i].Path, ""); got != want {
			t.Errorf("%s is drawn as %s, not %s: %s", c.Lines[i].Name, got, want, c.Lines[i].Path)
		}
	}
	if want := "berlin 5 s, lyon 5 s. Nothing is known of 9 Mar 14:51 to 15:10 (lyon), 9 Mar 14:32 to 14:50 (berlin, lyon): nobody measured then, or it was not kept."; !strings.HasSuffix(c.Desc, want) {
		t.Errorf("%s\nwant …%s", c.Desc, want)
	}
	for minute := 60; minute < 200; minute += 20 {
		p.Lag[1].Samples = append(p.Lag[1].Samples, Sample{At: now.Add(time.Duration(minute) * time.Minute), Hole: true})
	}
	if c = p.LagChart("c"); strings.Count(c.Desc, "(lyon)") != holesNamed || !strings.Contains(c.Desc, ", and of 5 more such times: ") {
		t.Error(c.Desc)
	}
}

func number(t *testing.T, s string) float64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Points stand in the order of their times, in the row of their volume, with a mark of
// their own for each state.
func TestPointChart(t *testing.T) {
	c := databases().PointChart("c")
	if len(c.Rows) != 2 || c.Rows[0].Label != "db" || len(c.Marks) != 32 || len(c.Spots) != 32 {
		t.Fatalf("%d rows, %d marks", len(c.Rows), len(c.Marks))
	}
	classes := map[string]int{}
	for i, m := range c.Marks {
		classes[m.Class]++
		if i > 0 && i != 16 && c.Spots[i].X <= c.Spots[i-1].X {
			t.Errorf("mark %d is not right of the one before", i)
		}
	}
	if got := fmt.Sprint(classes); got != "map[bad:1 good:29 warn:2]" {
		t.Error(got)
	}
	one := Policy{Points: &Points{Volumes: []Volume{{ID: "v", Points: []Point{{ID: "p", Taken: now}}}}}}
	if c := one.PointChart("c"); c == nil || len(c.Marks) != 1 || c.Spots[0].X <= c.Left || c.Spots[0].X >= c.Right || !strings.Contains(c.Desc, "to "+utc(now)+".") {
		t.Errorf("a single point: %+v", c)
	}
	if (Policy{Points: &Points{}}).PointChart("c") != nil || (Policy{}).PointChart("c") != nil {
		t.Error("a chart of nothing")
	}
}

func TestDrillChart(t *testing.T) {
	c := databases().DrillChart("c")
	if len(c.Marks) != 9 || c.Marks[5].Class != "bad" || !strings.Contains(c.Marks[5].Title, "failed, RTO 2 min 11 s") || !strings.Contains(c.Desc, "1 of them failed; the last took 1 min 35 s") {
		t.Errorf("%+v", c)
	}
}

func TestText(t *testing.T) {
	for in, want := range map[float64]string{0: "0 s", 0.25: "0.2 s", 9: "9 s", 59.6: "1 min", 61: "1 min 1 s", 3600: "1 h", 90061: "1 d 1 h", -5: "-5 s"} {
		if got := duration(in); got != want {
			t.Errorf("duration(%v) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[[2]int64]string{{0, 0}: "", {1, 3}: "33.3 %", {9999, 10000}: "99.9 %", {5, 5}: "100 %", {7, 5}: "100 %"} {
		if got := percent(in[0], in[1]); got != want {
			t.Errorf("percent(%v) = %q, want %q", in, got, want)
		}
	}
	if got := ago(now, now.Add(-90*time.Second)) + "; " + ago(now, now.Add(time.Hour)) + "; " + ago(now, now); got != "1 min 30 s ago; in 1 h; now" {
		t.Error(got)
	}
	if got := visible("a\u202eb\x00é\n"); got != `a\u202eb\u0000é`+"\n" {
		t.Errorf("%q", got)
	}
}
