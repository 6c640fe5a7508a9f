// Command bench measures everything of design §8 in one run: farshore beside rclone
// and beside the least that a copy can be (a bare GET→PUT loop), on emulated regions
// and, with -lab, on the lab's real Swifts.
//
//	go run ./integration/bench                  # all rows on emulated regions
//	go run ./integration/bench -lab -scale -write
//	go run ./integration/bench -rows near-small,far-small -n 9
//
// Everything that is measured, and the emulated regions too, run in processes of
// their own, so that CPU time and memory are the program's alone. Every copy is
// compared with its source before its time counts. Tables go to standard output in
// Markdown, progress to standard error. It exits with 1 when a row could not run or,
// with -check, when a figure misses what the design wants of it.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"farshore/policies"
)

func main() {
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "serve":
		// It ends with its standard input; a Ctrl-C is for its parent.
		signal.Ignore(os.Interrupt)
		err = serveMain(os.Args[2])
	case len(os.Args) == 2 && os.Args[1] == "floor":
		err = floorMain()
	default:
		err = benchMain()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	rows                                   string
	runs, streams                          int
	lab, scale, quick, full, write, judged bool
	state                                  string
}

func benchMain() error {
	var o options
	flag.StringVar(&o.rows, "rows", "", "comma-separated rows to run; default all (lab rows need -lab, scale -scale, unless named here); none: only show what -state has")
	flag.IntVar(&o.runs, "n", 5, "paired runs of each entrant")
	flag.IntVar(&o.streams, "streams", policies.DefaultStreams, "farshore's --streams; rclone's transfers and checkers and the floor's workers are as many")
	flag.BoolVar(&o.lab, "lab", false, "also the rows on the lab (integration/lab/up)")
	flag.BoolVar(&o.scale, "scale", false, "also the container of a million objects")
	flag.BoolVar(&o.quick, "quick", false, "small sizes and one run: does it work at all")
	flag.BoolVar(&o.full, "full", false, "1 GiB instead of 300 MiB on the lab, ten million ledger records instead of one")
	flag.BoolVar(&o.write, "write", false, "put the tables into "+page)
	flag.BoolVar(&o.judged, "check", false, "exit with 1 when a figure misses what the design wants")
	flag.StringVar(&o.state, "state", "", "a file that keeps the rows: those not run now are shown as they were run last")
	flag.Parse()
	if flag.NArg() > 0 || o.runs < 1 || o.streams < 1 {
		return errors.New("wrong usage; see -help")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return measureAll(ctx, o)
}

// chosen gives the rows to run.
func chosen(o options) ([]spec, error) {
	var out []spec
	named := map[string]bool{}
	if o.rows == "none" {
		return nil, nil
	}
	for _, id := range strings.FieldsFunc(o.rows, func(r rune) bool { return r == ',' || r == ' ' }) {
		if !slices.ContainsFunc(specs(), func(s spec) bool { return s.id == id }) {
			return nil, fmt.Errorf("no row %q", id)
		}
		named[id] = true
	}
	for _, s := range specs() {
		asked := s.need == "" || s.need == "lab" && o.lab || s.need == "scale" && o.scale
		if len(named) == 0 && asked || named[s.id] {
			out = append(out, s)
		}
	}
	return out, nil
}

func measureAll(ctx context.Context, o options) error {
	todo, err := chosen(o)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "farshore-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	began := time.Now()
	b := &bench{ctx: ctx, dir: dir, runs: o.runs, streams: o.streams, sizes: usualSizes, isFull: o.full, id: strings.ToLower(rand.Text()[:6]),
		log: func(format string, args ...any) {
			fmt.Fprintf(os.Stderr, "%6.1f s  "+format+"\n", append([]any{time.Since(began).Seconds()}, args...)...)
		}}
	if o.quick {
		b.sizes, b.runs = quickSizes, 1
	}
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.farshore, err = binary(ctx, dir); err != nil {
		return err
	}
	if _, err := exec.LookPath("rclone"); err != nil {
		return fmt.Errorf("rclone is not installed (apt-get install rclone): %w", err)
	}
	rows, failed := kept(o.state), false
	commit := said("git", "describe", "--always", "--dirty")
	for _, s := range todo {
		r := row{ID: s.id, At: time.Now(), Commit: commit, Load: load()}
		b.log("%s", s.id)
		if err := s.run(b, &r); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			r.Err, failed = err.Error(), true
			b.log("%s: %v", s.id, err)
		}
		if s.id != "ledger" {
			r.memory()
		}
		rows = slices.DeleteFunc(rows, func(old row) bool { return old.ID == s.id })
		rows = append(rows, r)
		for _, c := range r.Checks {
			b.log("%-16s %s: %s (wanted %s)%s", s.id, c.What, c.Got, c.Want, map[bool]string{true: "  MISSED"}[c.Judged && !c.OK])
		}
		if err := keep(o.state, rows); err != nil {
			return err
		}
	}
	order := map[string]int{}
	for i, s := range specs() {
		order[s.id] = i
	}
	slices.SortFunc(rows, func(a, b row) int { return order[a.ID] - order[b.ID] })
	text := markdown(describe(b), "go run ./integration/bench "+strings.Join(os.Args[1:], " "), rows)
	fmt.Println(text)
	if o.write {
		if err := writePage(text); err != nil {
			return err
		}
	}
	if failed {
		return errors.New("some rows could not run")
	}
	if o.judged && slices.ContainsFunc(rows, func(r row) bool {
		return slices.ContainsFunc(r.Checks, func(c check) bool { return c.Judged && !c.OK })
	}) {
		return errors.New("some figures miss what the design wants")
	}
	return nil
}

// binary is FARSHORE_BIN, or built now.
func binary(ctx context.Context, dir string) (string, error) {
	if bin := os.Getenv("FARSHORE_BIN"); bin != "" {
		return filepath.Abs(bin)
	}
	bin := filepath.Join(dir, "farshore")
	if out, err := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", bin, "farshore/cmd/farshore").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build farshore: %w: %s", err, tail(out))
	}
	return bin, nil
}

// kept reads the rows of a state file; none when there is no such file.
func kept(path string) []row {
	var rows []row
	if raw, err := os.ReadFile(path); err == nil && json.Unmarshal(raw, &rows) != nil {
		return nil
	}
	return rows
}

func keep(path string, rows []row) error {
	if path == "" {
		return nil
	}
	raw, err := json.MarshalIndent(rows, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		return fmt.Errorf("keep rows: %w", err)
	}
	return nil
}
