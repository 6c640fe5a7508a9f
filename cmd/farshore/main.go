// Command farshore keeps data that lives in one OpenStack region alive in others.
//
// Each command is a file: its options, its flags, and a function that does it. wire.go
// brings up the regions, session.go the ledger and its control socket, console.go says
// what happened as text or JSON, exitcode.go what a command's end means.
package main

import (
	"context"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"
)

// version is set by the linker (see the Makefile).
var version = "unknown"

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run carries out one command line and returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	c := newConsole(stdout, stderr, args)
	ctx, done := catchSignals(context.Background())
	defer done()
	return execute(ctx, c, newRoot(c), args)
}

// execute has the command of the line do its work, says what is to be said at the end,
// and returns the exit code.
func execute(ctx context.Context, c *console, root *cobra.Command, args []string) int {
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !c.started {
		err = asUsage(cmd, err)
	}
	return c.finish(cmd, err)
}

// asksJSON finds --json before the flags are parsed, for errors of that parsing.
func asksJSON(args []string) bool {
	if i := slices.Index(args, "--"); i >= 0 {
		args = args[:i]
	}
	return slices.Contains(args, "--json") || slices.Contains(args, "--json=true")
}
