package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"farshore/policies"
	"farshore/replicator"
)

// What the end of a command means.
const (
	exitDone        = 0
	exitCannot      = 1
	exitUsage       = 2
	exitFindings    = 3
	exitBrake       = 4
	exitInterrupted = 130
)

// exitCodes is the table that every command's help ends with.
func exitCodes() [][2]string {
	return [][2]string{
		{"0", "done; also after a SIGTERM that was drained, and for a plan with work pending (unless --check)"},
		{"1", "could not run: no login, no such container, ledger in use or damaged"},
		{"2", "wrong usage, or something wrong in the policy file"},
		{"3", "ran, but error findings remain: failed items, too few replicas, damage"},
		{"4", "stopped by the brake; the output has the --release-brake TOKEN that lets the same pass go on"},
		{"130", "interrupted"},
	}
}

func exitHelp() string {
	var b strings.Builder
	b.WriteString("Exit codes:")
	for _, row := range exitCodes() {
		fmt.Fprintf(&b, "\n  %-4s %s", row[0], row[1])
	}
	return b.String()
}

// usageError is a command line that cannot be meant.
type usageError struct{ msg, hint string }

func (e *usageError) Error() string { return e.msg }

func usagef(hint, format string, args ...any) error {
	return &usageError{msg: fmt.Sprintf(format, args...), hint: hint}
}

// asUsage makes a usage error of what cobra and pflag complain about.
func asUsage(cmd *cobra.Command, err error) error {
	var u *usageError
	if errors.As(err, &u) {
		return err
	}
	msg := strings.SplitN(err.Error(), "\n", 2)[0]
	if m := together.FindStringSubmatch(msg); m != nil {
		names := strings.Fields(m[1])
		for i := range names {
			names[i] = "--" + names[i]
		}
		msg = strings.Join(names, " and ") + " cannot be given together: choose one of them"
	}
	return &usageError{msg: msg, hint: "see " + cmd.CommandPath() + " --help"}
}

// together is how cobra says that of some flags one may be given.
var together = regexp.MustCompile(`^if any flags in the group \[.*\] are set none of the others can be; \[(.*)\] were all set$`)

// findingsError says that the command ran and found errors, which it has shown.
type findingsError struct{ n int64 }

func (e *findingsError) Error() string { return count(e.n, "error finding") + " left" }

// exitOf gives the exit code of a command's error.
func exitOf(err error) int {
	var (
		usage   *usageError
		job     *replicator.UsageError
		file    policies.Errors
		problem policies.Problem
		found   *findingsError
		stop    *stopped
		on      *passedOn
	)
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &on):
		return on.code
	case errors.As(err, &stop):
		return stop.code
	case errors.As(err, &usage), errors.As(err, &job), errors.As(err, &file), errors.As(err, &problem):
		return exitUsage
	case errors.Is(err, replicator.ErrBrake):
		return exitBrake
	case errors.As(err, &found):
		return exitFindings
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	return exitCannot
}

// worse gives the error that decides the exit code of a run over several policies:
// what could not run comes before the brake, the brake before findings.
func worse(a, b error) error {
	rank := func(err error) int {
		switch exitOf(err) {
		case exitDone:
			return 0
		case exitFindings:
			return 1
		case exitBrake:
			return 2
		}
		return 3
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}
