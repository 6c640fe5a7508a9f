package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"farshore/integration/bench/proc"
)

// sample is one measured run.
type sample struct {
	proc.Usage
	Source, Copy int64 // requests made to either region
}

// entrant is one program (and way to call it) that takes part in a row.
type entrant struct {
	name string
	// command is the call that copies container to copied. ledger is farshore's.
	command func(b *bench, s *site, container, copied, ledger string) (*exec.Cmd, error)
}

// bench is one run of the benchmark.
type bench struct {
	ctx      context.Context
	dir      string // for ledgers, configurations
	farshore string // the binary
	self     string // this program
	sizes    sizes
	runs     int
	streams  int // farshore's --streams; the rivals get as many
	isFull   bool
	log      func(format string, args ...any)
	id       string // of this run, in containers' names
	count    int
}

// longest is how long one run of a program may take.
const longest = 2 * time.Hour

// fresh makes a name nobody has used.
func (b *bench) fresh(what string) string {
	b.count++
	return fmt.Sprintf("bench-%s-%s-%d", b.id, what, b.count)
}

// bare is the environment without credentials, proxies and configurations of the user.
func (b *bench) bare() []string {
	env := []string{"HOME=" + b.dir, "XDG_STATE_HOME=", "XDG_CONFIG_HOME=", "XDG_RUNTIME_DIR="}
	for _, kv := range os.Environ() {
		k, _, _ := strings.Cut(kv, "=")
		switch {
		case strings.HasPrefix(k, "OS_"), strings.HasPrefix(k, "XDG_"), strings.HasPrefix(k, "RCLONE_"), k == "HOME",
			strings.HasSuffix(strings.ToLower(k), "_proxy"):
		default:
			env = append(env, kv)
		}
	}
	return env
}

// farshoreWith is `farshore sync` with more flags.
func farshoreWith(name string, flags ...string) entrant {
	return entrant{name, func(b *bench, s *site, container, copied, ledger string) (*exec.Cmd, error) {
		args := append([]string{"sync", s.source.cloud + ":" + container, s.copy.cloud + ":" + copied, "--ledger", ledger, "--json",
			"--streams", fmt.Sprint(b.streams)}, flags...)
		cmd := exec.Command(b.farshore, args...)
		cmd.Env = append(b.bare(), "OS_CLIENT_CONFIG_FILE="+s.clouds)
		return cmd, nil
	}}
}

// rcloneWith is `rclone copy` or `rclone sync` with more flags.
func rcloneWith(name, verb string, transfers int, flags ...string) entrant {
	return entrant{name, func(b *bench, s *site, container, copied, _ string) (*exec.Cmd, error) {
		args := append([]string{verb, s.source.cloud + ":" + container, s.copy.cloud + ":" + copied, "--config", s.rclone, "--quiet",
			"--transfers", fmt.Sprint(transfers), "--checkers", fmt.Sprint(transfers)}, flags...)
		cmd := exec.Command("rclone", args...)
		cmd.Env = b.bare()
		return cmd, nil
	}}
}

// floorWith is this program's own bare loop.
func floorWith(listOnly bool) entrant {
	return entrant{floor, func(b *bench, s *site, container, copied, _ string) (*exec.Cmd, error) {
		spec, err := json.Marshal(floorSpec{From: s.source.creds, To: s.copy.creds, Container: container, Copied: copied,
			Streams: b.streams, ListOnly: listOnly})
		if err != nil {
			return nil, err
		}
		cmd := exec.Command(b.self, "floor")
		cmd.Stdin, cmd.Env = bytes.NewReader(spec), b.bare()
		return cmd, nil
	}}
}

// measure runs one entrant once.
func (b *bench) measure(s *site, e entrant, container, copied, ledger string) (sample, error) {
	made, err := e.command(b, s, container, copied, ledger)
	if err != nil {
		return sample{}, err
	}
	ctx, cancel := context.WithTimeout(b.ctx, longest)
	defer cancel()
	cmd := exec.CommandContext(ctx, made.Path, made.Args[1:]...)
	cmd.Env, cmd.Stdin, cmd.Dir = made.Env, made.Stdin, b.dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	end, err := s.requests(container, copied, copied+"_segments", ".farshore-segments")
	if err != nil {
		return sample{}, err
	}
	usage, err := proc.Run(cmd)
	x := sample{Usage: usage}
	var cerr error
	if x.Source, x.Copy, cerr = end(); err == nil {
		err = cerr
	}
	if err == nil && usage.Exit != 0 {
		err = fmt.Errorf("%s: exit code %d: %s%s", e.name, usage.Exit, tail(errs.Bytes()), tail(out.Bytes()))
	}
	return x, err
}

// tail is the end of what a program said.
func tail(b []byte) string {
	const most = 600
	b = bytes.TrimSpace(b)
	if len(b) > most {
		b = append([]byte("… "), b[len(b)-most:]...)
	}
	return string(b)
}

// race runs the entrants n times over, in turns, each time into a new container and
// with a new ledger, and checks every copy. The order of the turns rotates, so that
// nobody always runs first.
func (b *bench) race(s *site, r *row, container string, n int, entrants ...entrant) error {
	for _, e := range entrants {
		r.Results = append(r.Results, result{Who: e.name})
	}
	for round := range n {
		for i := range entrants {
			at := (i + round) % len(entrants)
			e := entrants[at]
			copied := b.fresh("to")
			if err := s.copy.create(b.ctx, copied); err != nil {
				return err
			}
			x, err := b.measure(s, e, container, copied, filepath.Join(b.dir, copied+".db"))
			if err == nil {
				if err = b.verify(s, container, copied); err != nil {
					err = fmt.Errorf("%s made a wrong copy: %w", e.name, err)
				}
			}
			err = errors.Join(err, s.drop(b.ctx, s.copy, copied))
			if err != nil {
				return err
			}
			r.Results[at].Samples = append(r.Results[at].Samples, x)
			b.tell(r, e.name, round, n, x)
		}
	}
	return nil
}

// again runs entrants n times over a copy that each has made for itself before.
func (b *bench) again(s *site, r *row, container string, n int, first []entrant, entrants ...entrant) error {
	copies := make([]string, len(entrants))
	for i, e := range entrants {
		r.Results = append(r.Results, result{Who: e.name})
		copies[i] = b.fresh("to")
		if err := s.copy.create(b.ctx, copies[i]); err != nil {
			return err
		}
		if _, err := b.measure(s, first[i], container, copies[i], filepath.Join(b.dir, copies[i]+".db")); err != nil {
			return fmt.Errorf("first pass: %w", err)
		}
	}
	for round := range n {
		for i := range entrants {
			at := (i + round) % len(entrants)
			x, err := b.measure(s, entrants[at], container, copies[at], filepath.Join(b.dir, copies[at]+".db"))
			if err != nil {
				return err
			}
			r.Results[at].Samples = append(r.Results[at].Samples, x)
			b.tell(r, entrants[at].name, round, n, x)
		}
	}
	for i := range entrants {
		if err := b.verify(s, container, copies[i]); err != nil {
			return fmt.Errorf("%s: %w", entrants[i].name, err)
		}
		if err := s.drop(b.ctx, s.copy, copies[i]); err != nil {
			return err
		}
	}
	return nil
}

// verify compares both ends, over a link without delay.
func (b *bench) verify(s *site, container, copied string) error {
	return s.unhindered(func() error { return same(b.ctx, s.source.account, s.copy.account, container, copied) })
}

func (b *bench) tell(r *row, who string, round, n int, x sample) {
	b.log("%-16s %-22s %d/%d  %8.3f s wall  %8.3f s CPU  %6.1f MiB anon  requests %d + %d", r.ID, who, round+1, n,
		x.Wall.Seconds(), x.CPU.Seconds(), mib(x.Anon), x.Source, x.Copy)
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }
