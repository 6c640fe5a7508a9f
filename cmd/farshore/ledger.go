package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"farshore/replicator/control"
	"farshore/store"
)

func newLedger(c *console) *cobra.Command {
	return group(c, "ledger", "Look after the ledger: what has been copied, and where to",
		newLedgerPath(c), newLedgerCheck(c), newLedgerDump(c), newLedgerBackup(c), newLedgerCompact(c), newLedgerRebuild(c))
}

// ledgerCommand makes a command about one ledger file.
func ledgerCommand(c *console, cmd *cobra.Command, f func(ctx context.Context, path string, c *console) error) *cobra.Command {
	var o selectOptions
	o.AddFlags(cmd.Flags())
	cmd.Args, cmd.ValidArgsFunction = cobra.NoArgs, cobra.NoFileCompletions
	cmd.RunE = c.do(func(ctx context.Context, _ []string) error {
		path, err := o.findLedger()
		if err != nil {
			return err
		}
		err = f(ctx, path, c)
		if errors.Is(err, os.ErrNotExist) {
			return &hintError{op: "open ledger", item: path, err: errors.New("there is none"), hint: "name another with --ledger, or the policy file with -f"}
		}
		return c.passOn(ctx, path, err)
	})
	return cmd
}

func newLedgerPath(c *console) *cobra.Command {
	return ledgerCommand(c, &cobra.Command{Use: "path", Short: "Print where the ledger and its control socket are",
		Example: `  ls -l "$(farshore ledger path -q)"`}, runLedgerPath)
}

type ledgerPathResult struct {
	Ledger string `json:"ledger"`
	Socket string `json:"socket"`
}

func runLedgerPath(_ context.Context, path string, c *console) error {
	c.result = ledgerPathResult{path, control.Path(path)}
	c.warn("%s", path)
	c.say("%s", control.Path(path))
	return nil
}

func newLedgerCheck(c *console) *cobra.Command {
	return ledgerCommand(c, &cobra.Command{Use: "check", Short: "Examine every page and record of the ledger",
		Long:    "Examine the ledger's file, every record of it, and that counters, indexes and references agree. It changes nothing.",
		Example: `  farshore ledger check --ledger /var/lib/farshore/ledger.db`}, runLedgerCheck)
}

type ledgerCheckResult struct {
	Ledger   string          `json:"ledger"`
	Problems []store.Problem `json:"problems"` // the first thousand
	Count    int64           `json:"count"`
}

func runLedgerCheck(ctx context.Context, path string, c *console) error {
	out := ledgerCheckResult{Ledger: path, Problems: []store.Problem{}}
	check := func(ctx context.Context, yield func(store.Problem) error) error { return store.Check(ctx, path, yield) }
	if c.guest != nil {
		check = c.guest.s.ledger.Check
	}
	err := check(ctx, func(p store.Problem) error {
		if out.Count++; len(out.Problems) < 1000 {
			out.Problems = append(out.Problems, p)
		}
		if out.Count <= showAtMost {
			c.warn("%s", p)
		}
		return nil
	})
	c.result = out
	switch {
	case err != nil:
		return err
	case out.Count > showAtMost:
		c.warn("… and %d more (use --json)", out.Count-showAtMost)
	}
	if out.Count > 0 {
		c.warn("ledger %s: %s\n    → keep the file, and go back to a copy of it or run farshore ledger rebuild", path, count(out.Count, "problem"))
		return &findingsError{n: out.Count}
	}
	c.say("ledger %s: no problems", path)
	return nil
}

func newLedgerDump(c *console) *cobra.Command {
	return ledgerCommand(c, &cobra.Command{Use: "dump", Short: "Write the whole ledger as JSON lines",
		Long:    "Write the whole ledger to stdout, one JSON document a line; docs/ledger.md has the fields. With --json too, as it is JSON already.",
		Example: `  farshore ledger dump | zstd > ledger.jsonl.zst`}, runLedgerDump)
}

func runLedgerDump(ctx context.Context, path string, c *console) error {
	l, closing, err := c.look(ctx, path)
	if err != nil {
		return err
	}
	defer func() { _ = closing() }() // it was only read
	if err := l.Dump(ctx, c.stdout); err != nil {
		return fmt.Errorf("dump ledger: %w", err)
	}
	return nil
}

func newLedgerCompact(c *console) *cobra.Command {
	return ledgerCommand(c, &cobra.Command{Use: "compact", Short: "Rewrite the ledger without its free pages",
		Long:    "Rewrite the ledger beside itself and put it in its own place at once. Needs room for a second copy; it is refused while somebody uses the ledger.",
		Example: `  farshore ledger compact`}, runLedgerCompact)
}

type ledgerCompactResult struct {
	Ledger string `json:"ledger"`
	Before int64  `json:"before_bytes"`
	After  int64  `json:"after_bytes"`
}

func runLedgerCompact(ctx context.Context, path string, c *console) error {
	before, after, err := compact(ctx, path, c)
	if err != nil {
		return err
	}
	c.result = ledgerCompactResult{path, before, after}
	c.say("ledger %s: %s before, %s after", path, size(before), size(after))
	return nil
}

// compact rewrites a ledger that is closed, or the one that is open here.
func compact(ctx context.Context, path string, c *console) (before, after int64, err error) {
	if c.guest == nil {
		return store.Compact(ctx, path, store.Options{})
	}
	_, s, err := c.guest.open(ctx, path, true)
	if err != nil {
		return 0, 0, err
	}
	before = s.ledger.Stats().FileBytes
	err = s.ledger.Compact(ctx)
	return before, s.ledger.Stats().FileBytes, err
}
