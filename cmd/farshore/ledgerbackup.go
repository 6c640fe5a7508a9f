package main

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"farshore/store"
)

func newLedgerBackup(c *console) *cobra.Command {
	var o selectOptions
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a copy of the ledger, also while it is in use",
		Long: `Write a consistent copy of the ledger to a new file, also while farshore run or another command works
on it. The copy has its name only when it is whole and on the disk; a file of that name is never
overwritten. To go back to it, put it in the ledger's place while nothing runs; the next pass finds what
came since then in place, and may send again what changed.`,
		Example: `  farshore ledger backup /var/backups/farshore-$(date +%F).db
  farshore ledger check --ledger /var/backups/farshore-2026-11-23.db`,
		Args: cobra.ExactArgs(1),
	}
	o.AddFlags(cmd.Flags())
	cmd.RunE = c.do(func(ctx context.Context, args []string) error {
		path, err := o.findLedger()
		if err != nil {
			return err
		}
		return runLedgerBackup(ctx, path, args[0], c)
	})
	return cmd
}

// ledgerBackupResult is the result of ledger backup in JSON.
type ledgerBackupResult struct {
	Ledger string `json:"ledger"`
	Backup string `json:"backup"`
	Bytes  int64  `json:"bytes"`
}

func runLedgerBackup(ctx context.Context, path, to string, c *console) error {
	l, err := store.Open(path, store.Options{ReadOnly: true})
	if errors.Is(err, os.ErrNotExist) {
		return &hintError{op: "open ledger", item: path, err: errors.New("there is none"), hint: "name another with --ledger, or the policy file with -f"}
	}
	if err != nil {
		return heldBy(ctx, path, err)
	}
	defer func() { _ = l.Close() }() // it was only read
	n, err := l.Backup(ctx, to)
	if errors.Is(err, os.ErrExist) {
		return &hintError{op: "back up ledger", item: to, err: errors.New("there is a file of that name"), hint: "name another: none is overwritten"}
	}
	if err != nil {
		return err
	}
	c.result = ledgerBackupResult{path, to, n}
	c.say("ledger %s: copied to %s, %s", path, to, size(n))
	return nil
}
