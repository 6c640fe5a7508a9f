package main

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"farshore/replicator/control"
	"farshore/replicator/report"
)

func TestLiveView(t *testing.T) {
	began := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	snapshot := func(done int64) report.Snapshot {
		return report.Snapshot{Phase: "copying paris:a\x1b[2Jb", Listed: 1200, Regions: []report.RegionSnapshot{{Region: "lyon", WantObjects: 10, WantBytes: 100 << 20, DoneObjects: 2, DoneBytes: done, Active: 3}}}
	}
	var m meter
	m.add(began, snapshot(0))
	m.add(began.Add(2*time.Second), snapshot(20<<20))
	st := control.Status{PID: 7, Version: "v1", Began: began, Ledger: "/var/lib/farshore/ledger.db", TotalLimit: 20 << 20, Snapshot: snapshot(20 << 20),
		Commands: []control.Command{{ID: "4", PID: 99, Command: "farshore sync docs", Waits: []string{"the pass of policy docs"}}},
		Lag:      []report.Lag{{Policy: "docs", Region: "lyon", Seconds: 700, Late: report.Lateness{RPO: 300, Is: true, Items: 2}}},
		Tasks: []control.Task{{Policy: "idle", Kind: "audit", Next: began.Add(time.Hour)}, {Policy: "bad", Kind: "pass", Error: "no login", Began: began, Ended: began},
			{Policy: "docs", Kind: "pass", Running: true, Began: began}}}
	text := strings.Join(liveView(began.Add(time.Minute), st, &m, 200, 50, false), "\n")
	last := -1
	for _, want := range []string{"farshore v1: at work for 1m, process 7, ledger /var/lib/farshore/ledger.db", "limit of all bytes sent: 20MiB/s; copying paris:a", "1,200 listed",
		"lyon: 20 MiB of 100 MiB+, 2 of 10+ objects, 10 MiB/s, 3 transfers under way", "command 4 for process 99: farshore sync docs; it waits for the pass of policy docs",
		"docs → lyon: lag", "LATE: 2 items", "docs: pass since", "bad: pass last at", "it FAILED: no login", "idle: audit never yet"} {
		at := strings.Index(text, want)
		if at <= last {
			t.Errorf("%q is at %d, after %d, in\n%s", want, at, last, text)
		}
		last = at
	}
	if strings.Contains(text, "\x1b") {
		t.Errorf("without colours there is an escape sequence in %q", text)
	}
	// On a terminal of the usual width one sees when each task is next.
	usual := st
	usual.Tasks = []control.Task{{Policy: "database-volumes", Kind: "audit", Began: began, Ended: began.Add(754 * time.Second), Next: began.Add(time.Hour), Error: strings.Repeat("refused ", 20)}}
	if text := strings.Join(liveView(began.Add(time.Minute), usual, &m, 80, 50, false), "\n"); !strings.Contains(text, "; next at "+began.Add(time.Hour).Local().Format(time.TimeOnly)+";") {
		t.Errorf("in 80 columns: %s", text)
	}
	refused := st
	refused.Reading = &control.Reading{Taken: began, Refused: began.Add(time.Hour), Cause: "farshore.yaml:3: no such key\x1b[2J"}
	if text := strings.Join(liveView(began, refused, &m, 200, 50, false), "\n"); !strings.Contains(text, "THE POLICY FILE WAS REFUSED at ") || !strings.Contains(text, "stays in force: \"farshore.yaml:3: no such key") || strings.Contains(text, "\x1b") {
		t.Errorf("a policy file that was refused: %q", text)
	}
	for _, width := range []int{1, 20, 79} {
		for height := 2; height < 14; height++ {
			lines := liveView(began.Add(time.Minute), st, &m, width, height, false)
			if len(lines) > height {
				t.Errorf("%d lines in a height of %d", len(lines), height)
			}
			for _, l := range lines {
				if n := utf8.RuneCountInString(l); n > width {
					t.Errorf("%d columns in a width of %d: %q", n, width, l)
				}
			}
		}
	}
	if lines := liveView(began, st, &m, 80, 5, false); !strings.HasPrefix(lines[4], "… and 6 lines more") {
		t.Errorf("what has no room is not counted: %q", lines)
	}
	if text := strings.Join(liveView(began, st, &m, 80, 50, true), "\n"); !strings.Contains(text, red+"  docs → lyon") || strings.Contains(text, "\x1b[2J") {
		t.Errorf("with colours: %q", text)
	}
}
