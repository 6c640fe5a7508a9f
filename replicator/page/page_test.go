package page

import (
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"farshore/replicator/report"
)

var now = time.Date(2027, 3, 9, 14, 30, 12, 0, time.UTC)

// sample is a view with everything in it: a policy that is well, one that is late and has
// findings, one of volumes with drills, and one that nobody looked at yet.
func sample() View {
	v := View{Now: now, Version: "v1.2", Host: "ops1", PID: 4711, Began: now.Add(-50 * time.Hour), Ledger: "/var/lib/farshore/ledger.db", Limit: "200 MiB/s",
		Regions: []Region{{Name: "berlin"}, {Name: "lyon", Up: true, Active: 6, Waiting: 1234, WaitingBytes: 5 << 30, Copied: 88213, CopiedBytes: 3 << 40, Failed: 2, Retries: 17, RequestsLimit: 24}}}
	v.Hooks = []Hook{{Host: "https://alerts.example", Delivered: 12}, {Host: "https://hooks.example", Waiting: 3, Error: "it answered 500 Oh", Since: now.Add(-time.Hour)}}
	v.Policies = []Policy{assets(), photos(), databases(), {Name: "new", From: "paris", To: []string{"lyon"}, Wanted: 1, What: "containers new*", Tasks: []Task{{Kind: "pass", Next: now.Add(time.Minute)}}}}
	return v
}

func assets() Policy {
	return Policy{Name: "assets", From: "paris", To: []string{"lyon", "berlin"}, Wanted: 1, What: "containers assets*, !assets-tmp", RPO: 15 * time.Minute,
		Tasks:    []Task{{Kind: "pass", Began: now.Add(-3 * time.Minute), Ended: now.Add(-2 * time.Minute), Next: now.Add(2 * time.Minute)}, {Kind: "audit", Began: now.Add(-9 * time.Hour), Ended: now.Add(-8 * time.Hour), Next: now.Add(15 * time.Hour)}},
		Replicas: &report.Replicas{Wanted: 1, Objects: 84000, ByCount: map[int]int64{1: 40, 2: 83960}, Satisfied: true},
		Holdings: []Holding{{Region: "lyon", Up: true, Has: 84000, Of: 84000}, {Region: "berlin", Has: 83960, Of: 84000}},
		Lag:      []Lag{lag("lyon", 15*time.Minute, 21, false, 40), lag("berlin", 15*time.Minute, 240, false, 300)},
		Runs: []Run{{Kind: "pass", Began: now.Add(-3 * time.Minute), Ended: now.Add(-2 * time.Minute), OK: true, Facts: []string{"12 objects copied", "83,988 unchanged"},
			Findings: []report.Finding{{Kind: report.KindRegionDown, Level: report.Warn, Region: "berlin", Cause: "connection refused", Hint: "farshore region check berlin"}}}}}
}

func photos() Policy {
	p := Policy{Name: "photos", From: "paris", To: []string{"lyon"}, Wanted: 1, What: "containers photos", RPO: 5 * time.Minute,
		Tasks:    []Task{{Kind: "pass", Running: true, Began: now.Add(-12 * time.Minute)}},
		Replicas: &report.Replicas{Wanted: 1, Objects: 5000, ByCount: map[int]int64{0: 412, 1: 4588}, Short: 412},
		Holdings: []Holding{{Region: "lyon", Up: true, Has: 4588, Of: 5000}},
		Lag:      []Lag{lag("lyon", 5*time.Minute, 1320, true, 900)},
		Runs: []Run{{Kind: "pass", Began: now.Add(-30 * time.Minute), Ended: now.Add(-20 * time.Minute), Facts: []string{"88 objects copied", "2 failed"}, More: 3,
			Findings: []report.Finding{{Kind: report.KindConflict, Level: report.Error, Region: "lyon", Container: "photos", Name: "2027/été \u202egpj.exe", Cause: "something that Farshore did not write stands there", Hint: "remove or rename the one you do not want"},
				{Kind: report.KindCannot, Level: report.Warn, Region: "lyon", Container: "photos", Name: "x", Cause: "a storage policy means nothing there"}}}}}
	p.Lag[0].Late.Oldest = []report.LateItem{{Place: "photos", Name: "2027/IMG_1.jpg", Since: now.Add(-22 * time.Minute), Bytes: 4 << 20}}
	return p
}

func databases() Policy {
	p := Policy{Name: "databases", From: "paris", To: []string{"lyon"}, Wanted: 1, What: "volumes db, logs", Volumes: true, RPO: 2 * time.Hour,
		Tasks:    []Task{{Kind: "pass", Began: now.Add(-40 * time.Minute), Ended: now.Add(-35 * time.Minute), Next: now.Add(20 * time.Minute)}, {Kind: "drill", Began: now.Add(-3 * day), Ended: now.Add(-3 * day), Errors: 0, Next: now.Add(4 * day)}},
		Replicas: &report.Replicas{Wanted: 1, Objects: 30, ByCount: map[int]int64{1: 30}, Satisfied: true},
		Holdings: []Holding{{Region: "lyon", Up: true, Has: 29, Of: 30, Newest: now.Add(-40 * time.Minute)}},
		Lag:      []Lag{lag("lyon", 2*time.Hour, 2400, false, 2000)},
		Runs:     []Run{{Kind: "pass", Began: now.Add(-40 * time.Minute), Ended: now.Add(-35 * time.Minute), OK: true, Facts: []string{"2 points shipped"}}},
		Points:   &Points{}}
	for i, name := range []string{"db", "logs"} {
		v := Volume{ID: fmt.Sprintf("5f0c%d", i), Name: name}
		for h := 30; h >= 0; h -= 2 {
			state := "landed"
			switch {
			case h == 12 && i == 1:
				state = "lost"
			case h == 0:
				state = "shipping"
			}
			v.Points = append(v.Points, Point{ID: fmt.Sprintf("b%d-%d", i, h), Taken: now.Add(-time.Duration(h)*time.Hour - 40*time.Minute), Kind: "increment", Regions: []PointAt{{Region: "lyon", State: state, Proven: h == 6}}})
		}
		p.Points.Volumes = append(p.Points.Volumes, v)
	}
	for w := 8; w >= 0; w-- {
		p.Drills = append(p.Drills, Drill{ID: fmt.Sprintf("drill-%d", w), Began: now.Add(-time.Duration(w) * 7 * day), OK: w != 3, RTO: 95 + 12*float64(w%4), RPO: 3000, Seconds: 260})
	}
	return p
}

// lag makes a day of samples around a level.
func lag(region string, rpo time.Duration, seconds float64, late bool, level float64) Lag {
	l := Lag{Lag: report.Lag{Region: region, Seconds: seconds, Known: seconds, Items: int64(seconds) / 3, Bytes: int64(seconds) << 20, Past: report.Delays{Items: 5000, P50: level / 20, P99: level / 2, P999: level, Budget: 0.82}}}
	l.Late = report.Lateness{RPO: rpo.Seconds(), Is: late}
	if late {
		l.Late.Items = 412
		l.Ahead.ETA = -1
	}
	for m := 24 * 60; m >= 0; m-- {
		x := level * (0.3 + 0.25*math.Sin(float64(m)/90) + 0.1*math.Sin(float64(m)/7))
		if late && m < 40 {
			x += float64(40-m) * 33
		}
		l.Samples = append(l.Samples, Sample{At: now.Add(-time.Duration(m) * time.Minute), Value: x})
	}
	for q := 14 * 96; q >= 0; q -= 4 {
		l.Longer = append(l.Longer, Sample{At: now.Add(-time.Duration(q) * 15 * time.Minute), Value: level * (0.4 + 0.3*math.Sin(float64(q)/50))})
	}
	return l
}

func draw(t *testing.T, v View) string {
	t.Helper()
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Write(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// FARSHORE_PAGE_OUT=FOLDER writes the sample with its files there, to be looked at.
func TestSample(t *testing.T) {
	dir := os.Getenv("FARSHORE_PAGE_OUT")
	if dir == "" {
		dir = t.TempDir()
	}
	for name, b := range map[string][]byte{"page.css": Style, "page.js": Script, "icon.svg": Icon, "index.html": []byte(draw(t, sample()))} {
		if err := os.WriteFile(dir+"/"+name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

const hostile = "</script><script>alert(1)</script>\" onload=\"x' <img src=x> \u202egpj\u2066\x00\x1b[31m {{.}} &amp;"

// fill puts the hostile text into every string of a value.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if v.String() != "" && v.Type() != reflect.TypeOf(report.Error) {
			v.SetString(hostile)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			fill(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i))
			}
		}
	}
}

// Whatever others named their containers, and whatever servers answered: it is text.
func TestHostile(t *testing.T) {
	honest := draw(t, sample())
	v := sample()
	fill(reflect.ValueOf(&v).Elem())
	v.Policies[0].Tasks[0].Kind, v.Policies[0].Tasks[0].Error = "pass", hostile
	got := draw(t, v)
	for _, tag := range []string{"<script", "<img", "onload=\"", "</script"} {
		if a, b := strings.Count(honest, tag), strings.Count(got, tag); a != b {
			t.Errorf("%q stands there %d times, honestly %d times", tag, b, a)
		}
	}
	for i, c := range got {
		if c != '\n' && !unicode.IsPrint(c) {
			t.Fatalf("%U stands in the page, after %.80q", c, got[max(0, i-80):i])
		}
	}
	if n := strings.Count(got, "&lt;script&gt;alert(1)"); n < 40 {
		t.Errorf("the text is shown only %d times: it was dropped somewhere", n)
	}
	if !strings.Contains(got, `\u202e`) {
		t.Error("what turns text around is not shown as an escape")
	}
}
