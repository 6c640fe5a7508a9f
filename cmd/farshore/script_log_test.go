package main

import (
	"regexp"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// logOf is what a job has logged so far, or the file of one that has ended.
func logOf(ts *testscript.TestScript, name string) string {
	if j := worldOf(ts).jobs[name]; j != nil {
		text, _ := j.err.read()
		return text
	}
	return ts.ReadFile(name)
}

// apart NAME REGEXP REGEXP MOST: from the first line that matches the one to the first that
// matches the other it took that long at most, by the log's own times.
func apartCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) == 4, "apart NAME REGEXP REGEXP MOST")
	var at [2]time.Time
	for i := range at {
		m := regexp.MustCompile(`(?m)^time=(\S+) .*(?:` + args[1+i] + `)`).FindStringSubmatch(logOf(ts, args[0]))
		if m == nil {
			ts.Fatalf("%s never logged %s", args[0], args[1+i])
		}
		var err error
		at[i], err = time.Parse(time.RFC3339Nano, m[1])
		ts.Check(err)
	}
	most, err := time.ParseDuration(args[3])
	ts.Check(err)
	if took := at[1].Sub(at[0]); took > most {
		ts.Fatalf("it took %s", took)
	}
}

// paired NAME: every late event of the log is followed by one arrived event of its id, and
// there is one at least.
func pairedCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) == 1, "paired NAME")
	open, pairs := map[string]bool{}, 0
	for _, m := range regexp.MustCompile(`event=(late|arrived) id=([0-9a-f]+)`).FindAllStringSubmatch(logOf(ts, args[0]), -1) {
		if late := m[1] == "late"; late == open[m[2]] {
			ts.Fatalf("%s event %s without the other", m[1], m[2])
		} else if open[m[2]] = late; !late {
			pairs++
		}
	}
	for id, late := range open {
		if late {
			ts.Fatalf("late event %s has not arrived", id)
		}
	}
	if pairs == 0 {
		ts.Fatalf("there was no event")
	}
}
