package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"farshore/policies"
	"farshore/replicator"
	"farshore/replicator/control"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

func TestExitCodes(t *testing.T) {
	denied := &transport.Error{Op: "log in", Region: "lyon", Class: transport.Denied}
	for _, x := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{denied, 1},
		{errors.New("anything"), 1},
		{&store.Error{Kind: store.ErrFull}, 1},
		{&heldError{err: &store.Error{Kind: store.ErrLocked}}, 1},
		{usagef("", "no"), 2},
		{fmt.Errorf("policy x: %w", &replicator.UsageError{Msg: "no"}), 2},
		{policies.Errors{{Message: "no"}}, 2},
		{&findingsError{n: 1}, 3},
		{&brakeError{err: fmt.Errorf("x: %w", replicator.ErrBrake)}, 4},
		{&saidError{err: fmt.Errorf("x: %w", replicator.ErrBrake)}, 4},
		{&stopped{how: "interrupted", code: exitInterrupted}, 130},
		{&stopped{how: "terminated", code: exitDone}, 0},
		{fmt.Errorf("copy: %w", context.Canceled), 130},
	} {
		if got := exitOf(x.err); got != x.want {
			t.Errorf("exit code of %v is %d, want %d", x.err, got, x.want)
		}
	}
	order := []error{nil, &findingsError{n: 1}, &brakeError{err: replicator.ErrBrake}, denied}
	for i, a := range order {
		for j, b := range order {
			if got := worse(a, b); got != order[max(i, j)] {
				t.Errorf("worse(%v, %v) is %v", a, b, got)
			}
		}
	}
	for _, row := range exitCodes() {
		if !strings.Contains(exitHelp(), "  "+row[0]+" ") {
			t.Errorf("the help lacks exit code %s", row[0])
		}
	}
}

// Every error says operation, region, item, cause and hint where it has them (promise 10).
func TestErrorsTakenApart(t *testing.T) {
	began := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, x := range []struct {
		err  error
		want jsonError
		text []string
	}{
		{fmt.Errorf("pass: %w", &transport.Error{Op: "put", Region: "lyon", Container: "photos", Name: "a\nb", Class: transport.Quota, Err: errors.New("413 full")}),
			jsonError{Op: "put", Region: "lyon", Item: "photos/a\nb", Cause: "413 full", Hint: "raise the quota of the account or container in region lyon, or free space there"},
			[]string{`farshore: pass: put photos/"a\nb" (region lyon): 413 full`, "\n  hint: raise the quota"}},
		{&store.Error{Kind: store.ErrFull, Path: "l.db", Detail: "write", Hint: "make room"},
			jsonError{Op: "use ledger", Item: "l.db", Cause: "no space left for the ledger: write", Hint: "make room"},
			[]string{"farshore: ledger l.db: no space left for the ledger: write\n  hint: make room\n"}},
		{usagef("say more", "no %s", "sense"), jsonError{Op: "read the command line", Cause: "no sense", Hint: "say more"}, []string{"farshore: no sense\n  hint: say more\n"}},
		{&replicator.UsageError{Msg: "same place", Hint: "choose another"}, jsonError{Op: "check the request", Cause: "same place", Hint: "choose another"}, []string{"farshore: same place\n  hint: choose another\n"}},
		{policies.Errors{{File: "f.yaml", Line: 2, Column: 3, Path: "a.b", Message: "no", Hint: "yes"}},
			jsonError{Op: "read policy file", Item: "f.yaml", Cause: "1 problem", Hint: "docs/policy.md has every key", Problems: []jsonProblem{{File: "f.yaml", Line: 2, Column: 3, Path: "a.b", Message: "no", Hint: "yes"}}},
			[]string{"farshore: the policy file has 1 problem:\n  f.yaml:2:3: a.b: no (yes)\n"}},
		{&brakeError{finding: report.Finding{Region: "paris", Container: "photos", Cause: "too many", Hint: "--release-brake abc"}, err: fmt.Errorf("paris:photos: too many: %w", replicator.ErrBrake)},
			jsonError{Op: "sync", Region: "paris", Item: "photos", Cause: "too many", Hint: "--release-brake abc"},
			[]string{"farshore: paris:photos: too many: stopped by the brake\n  hint: --release-brake abc\n"}},
		{&heldError{path: "my l.db", status: &control.Status{PID: 7, Command: "farshore sync", Began: began}},
			jsonError{Op: "open ledger", Item: "my l.db", Cause: "it is in use by process 7 (farshore sync), since " + began.Local().Format("15:04:05"), Hint: `wait until it has ended, or watch it: farshore status --ledger "my l.db"`},
			[]string{"farshore: open ledger my l.db: it is in use by process 7"}},
		{&heldError{path: "l.db", err: &store.Error{Kind: store.ErrLocked, Detail: "process 9 (cp)"}},
			jsonError{Op: "open ledger", Item: "l.db", Cause: "it is in use: process 9 (cp)", Hint: "wait until it has ended, or watch it: farshore status --ledger l.db"}, nil},
		{errors.New("plain"), jsonError{Cause: "plain"}, []string{"farshore: plain\n"}},
	} {
		if d := cmp.Diff(&x.want, describe(x.err)); d != "" {
			t.Errorf("%v taken apart (-want +got):\n%s", x.err, d)
		}
		for _, want := range x.text {
			if got := textOf(x.err); !strings.Contains(got, want) {
				t.Errorf("text is %q, want %q in it", got, want)
			}
		}
	}
}

func TestParseSide(t *testing.T) {
	for arg, want := range map[string]replicator.Side{
		"paris:photos":          {Region: "paris", Container: "photos"},
		"paris:photos/":         {Region: "paris", Container: "photos"},
		"paris:photos/a":        {Region: "paris", Container: "photos", Prefix: "a"},
		"paris:photos/a/b:c//":  {Region: "paris", Container: "photos", Prefix: "a/b:c//"},
		"paris:a:b c%41?#é/x":   {Region: "paris", Container: "a:b c%41?#é", Prefix: "x"},
		"paris:.hidden/":        {Region: "paris", Container: ".hidden"},
		"paris:photos//leading": {Region: "paris", Container: "photos", Prefix: "/leading"},
	} {
		got, err := parseSide(arg)
		if err != nil || got != want {
			t.Errorf("parseSide(%q) is %+v, %v; want %+v", arg, got, err, want)
		}
	}
	for _, arg := range []string{"", "photos", ":photos", "paris:", "paris:/a", "a/b:c", "paris:.farshore-segments", "paris:" + strings.Repeat("x", 257)} {
		if got, err := parseSide(arg); exitOf(err) != exitUsage {
			t.Errorf("parseSide(%q) is %+v, %v; want a usage error", arg, got, err)
		}
	}
}

// Text shows the worst findings first, twenty at most, and says how many there are.
func TestFindingsShown(t *testing.T) {
	var list []report.Finding
	for i := range 30 {
		list = append(list, report.Finding{Kind: "degraded", Level: report.Info, Container: "c", Name: fmt.Sprint(i), Cause: "x"})
	}
	list = append(list, report.Finding{Kind: "failed", Level: report.Error, Region: "lyon", Container: "c", Name: "a\x1b[2Jb", Op: "put", Cause: "no", Hint: "do this"})
	show := func(quiet bool) string {
		var out bytes.Buffer
		c := newConsole(&out, &out, nil)
		c.quiet = quiet
		showFindings(c, list, 5000)
		return out.String()
	}
	got := show(false)
	if want := "error: failed: lyon:c/\"a\\x1b[2Jb\"\n    put: no\n    → do this\ninfo: degraded: c/0\n"; !strings.HasPrefix(got, want) {
		t.Errorf("findings begin with\n%s\nwant\n%s", got, want)
	}
	if n := strings.Count(got, "degraded"); n != showAtMost-1 {
		t.Errorf("%d findings beside the error are shown", n)
	}
	if !strings.HasSuffix(got, "… and 4,980 more (use --json)\n") {
		t.Errorf("it ends with %q", got[max(0, len(got)-60):])
	}
	if got := show(true); strings.Contains(got, "degraded") || !strings.Contains(got, "failed") {
		t.Errorf("--quiet shows\n%s", got)
	}
}

func TestProgressText(t *testing.T) {
	at := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	snap := func(done int64) report.Snapshot {
		return report.Snapshot{Phase: "copying", Listed: 1234, Regions: []report.RegionSnapshot{{Region: "lyon", WantObjects: 10, WantBytes: 100 << 20, DoneObjects: 2, DoneBytes: done, Retries: 1, Failed: 1}}}
	}
	var m meter
	for i := range 100 {
		m.add(at.Add(time.Duration(i)*time.Second), snap(int64(i)<<20))
	}
	if got := m.rate("lyon"); got != 1<<20 {
		t.Errorf("the rate is %v, want %v", got, 1<<20)
	}
	if len(m.samples) > 8 {
		t.Errorf("%d samples are kept", len(m.samples))
	}
	r := snap(50 << 20).Regions[0]
	if got, want := regionLine(r, m.rate("lyon"), true), "50 MiB of 100 MiB, 2 of 10 objects, 1.0 MiB/s, 50s left, 1 failed, 1 retry"; got != want {
		t.Errorf("a region's line is %q, want %q", got, want)
	}
	if got, want := regionLine(r, 0, false), "50 MiB of 100 MiB+, 2 of 10+ objects, 1 failed, 1 retry"; got != want {
		t.Errorf("a region's line is %q, want %q", got, want)
	}
	if got, want := progressLine(snap(0)), "copying; 1,234 listed; lyon: 0 B of 100 MiB+, 2 of 10+ objects, 1 failed, 1 retry"; got != want {
		t.Errorf("a snapshot's line is %q, want %q", got, want)
	}
}

func TestCommandLine(t *testing.T) {
	if got, want := commandLine([]string{"/usr/bin/farshore", "sync", "paris:my photos", "lyon:$x", ""}), `farshore sync "paris:my photos" "lyon:$x" ""`; got != want {
		t.Errorf("it is %s, want %s", got, want)
	}
}

// Names come from others: no escape sequence and no line of theirs gets out, wherever
// a name is printed.
func TestNamesCannotCommandATerminal(t *testing.T) {
	const bad = "a\x1b[2J\nfarshore: fine\u009bb"
	var out, errs bytes.Buffer
	c := newConsole(&out, &errs, nil)
	side := replicator.Side{Region: "paris", Container: bad, Prefix: bad}
	showResult(c, report.Result{Policy: "ad hoc paris:" + bad})
	showPlan(c, report.Result{Policy: "ad hoc paris:" + bad}, 0)
	showAudit(c, report.Result{Policy: "ad hoc paris:" + bad, Audit: &report.AuditTotals{}})
	now := time.Now()
	at := end(store.Place{Region: "paris", Container: bad}, bad)
	showStanding(c, statusResult{Passes: []passStatus{{Policy: "ad hoc paris:" + bad, Region: "paris", Container: bad}, {Policy: bad, Region: "paris", Container: bad, Ended: &now}}, Routes: []routeStatus{{From: at, To: at}}})
	snapshot := report.Snapshot{Phase: "copying " + side.String(), Regions: []report.RegionSnapshot{{Region: "lyon", WantObjects: 1}}}
	showHolder(c, control.Status{Command: commandLine([]string{"farshore", "sync", "paris:" + bad}), Snapshot: snapshot})
	c.say("%s", progressLine(snapshot))
	_, err := parseSide("paris:.farshore-" + bad)
	c.finish(&cobra.Command{}, err)
	_, err = choose([]string{"paris:" + bad, bad}, selectOptions{}, adHocOptions{})
	c.finish(&cobra.Command{}, err)
	c.finish(&cobra.Command{}, &transport.Error{Op: "list", Region: "paris", Container: bad, Err: errors.New("a proxy said \x1b[31mno")})
	for _, text := range []string{out.String(), errs.String()} {
		if strings.ContainsAny(text, "\x1b\u009b") || strings.Contains(text, "\nfarshore: fine") || text == "" {
			t.Errorf("it prints %q", text)
		}
	}
	if at != "paris:"+bad+"/"+bad {
		t.Errorf("JSON has %q", at)
	}
}

// Volumes of one name are told apart by their ids in a drill, too; one in two regions is one.
func TestADrillOfVolumesOfOneName(t *testing.T) {
	var d report.Drill
	for _, x := range []report.Restore{
		{SourceVolume: "1", SourceVolumeName: "db", Region: "b"}, {SourceVolume: "2", SourceVolumeName: "db", Region: "b"},
		{SourceVolume: "3", SourceVolumeName: "web", Region: "b"}, {SourceVolume: "3", SourceVolumeName: "web", Region: "c"}, {SourceVolume: "4", Region: "b"},
	} {
		d.Volumes = append(d.Volumes, report.DrillVolume{OK: true, Restore: x})
	}
	var out bytes.Buffer
	showDrill(newConsole(&out, &out, nil), d)
	var got []string
	for line := range strings.Lines(out.String()) {
		if name, _, ok := strings.Cut(line, ": restored from "); ok {
			got = append(got, name)
		}
	}
	if want := []string{"db (1) in b", "db (2) in b", "web in b", "web in c", "4 in b"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// What a daemon counts as to be done is what waits, for regions that no pass has come to, too;
// and nothing is foreseen of what is carried when a person says so.
func TestWhatWaits(t *testing.T) {
	s := report.Snapshot{Regions: []report.RegionSnapshot{{Region: "lyon", WantObjects: 90, WantBytes: 900, DoneObjects: 10, DoneBytes: 100, Failed: 5}, {Region: "rome", WantObjects: 7, DoneObjects: 7}}}
	lags := []report.Lag{{Policy: "a", Region: "berlin", Items: 3, Bytes: 30}, {Policy: "a", Region: "lyon", Items: 1, Bytes: 10}, {Policy: "b", Region: "lyon", Items: 2, Bytes: 20}, {Policy: "c", Region: "lyon"}}
	await(&s, lags)
	want := []report.RegionSnapshot{{Region: "berlin", WantObjects: 3, WantBytes: 30}, {Region: "lyon", WantObjects: 13, WantBytes: 130, DoneObjects: 10, DoneBytes: 100, Failed: 5}, {Region: "rome", WantObjects: 7, DoneObjects: 7}}
	if !slices.Equal(s.Regions, want) {
		t.Errorf("%+v", s.Regions)
	}
	for i := range lags {
		lags[i].Ahead = report.Forecast{ETA: 60, Miss: true}
	}
	unforeseen(lags, []control.Task{{Policy: "a", Kind: "audit", Paused: true}, {Policy: "a", Kind: "pass", Paused: true}, {Policy: "b", Kind: "pass", Held: true}, {Policy: "c", Kind: "pass", Held: true}})
	for i, none := range []string{report.NoForecastPaused, report.NoForecastPaused, report.NoForecastStopped, ""} {
		if got := lags[i].Ahead; got.None != none || got.Miss != (none == "") {
			t.Errorf("%s at %s: %+v", lags[i].Policy, lags[i].Region, got)
		}
	}
	if line := lagLine(lags[0]); !strings.HasSuffix(line, "3 items, 30 B waiting, paused") {
		t.Error(line)
	}
	unforeseen(lags[3:], []control.Task{{Policy: "c", Kind: "pass", Paused: true, Running: true}})
	if lags[3].Ahead.ETA != 60 {
		t.Errorf("%+v", lags[3].Ahead)
	}
}
