package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	if c.guest != nil {
		return sendLedger(ctx, path, to, c)
	}
	taken := func() error {
		return &hintError{op: "back up ledger", item: to, err: errors.New("there is a file of that name"), hint: "name another: none is overwritten"}
	}
	if exists(to) {
		return taken() // before a holder is asked for gigabytes
	}
	l, closing, err := c.look(ctx, path)
	var on *passedOn
	switch {
	case errors.As(err, &on) && on.code == exitDone:
		if perr := store.Publish(received(to), to); perr != nil {
			return errors.Join(perr, os.Remove(received(to)))
		}
		return err
	case errors.Is(err, os.ErrNotExist):
		return &hintError{op: "open ledger", item: path, err: errors.New("there is none"), hint: "name another with --ledger, or the policy file with -f"}
	case err != nil:
		_ = os.Remove(received(to)) // half of it, or nothing
		return err
	}
	defer func() { _ = closing() }() // it was only read
	n, err := l.Backup(ctx, to)
	if errors.Is(err, os.ErrExist) {
		return taken()
	}
	if err != nil {
		return err
	}
	c.result = ledgerBackupResult{path, to, n}
	c.say("ledger %s: copied to %s, %s", path, to, size(n))
	return nil
}

// received is the file that a holder sends its ledger into.
func received(to string) string { return to + ".received" }

// sendLedger copies the ledger of this process to who asked. It is copied beside itself
// first: while somebody slow takes it, the ledger must neither grow nor wait.
func sendLedger(ctx context.Context, path, to string, c *console) error {
	l, closing, err := c.look(ctx, path)
	if err != nil {
		return err
	}
	defer func() { _ = closing() }()
	spool := l.Path() + ".backup-" + c.guest.id
	if err := os.Remove(spool); err != nil && !errors.Is(err, os.ErrNotExist) { // of a killed process
		return fmt.Errorf("remove what an earlier backup left: %w", err)
	}
	n, err := l.Backup(ctx, spool)
	if err != nil {
		return err
	}
	from, err := os.Open(spool)
	if err := errors.Join(err, os.Remove(spool)); err != nil {
		return fmt.Errorf("read the copy: %w", err)
	}
	defer func() { _ = from.Close() }()
	w, err := c.create(received(to), 0o600)
	if err != nil {
		return err
	}
	if _, err = io.Copy(w, from); err == nil {
		err = context.Cause(ctx)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("send the copy: %w", err)
	}
	c.result = ledgerBackupResult{path, to, n}
	c.say("ledger %s: copied to %s, %s", path, to, size(n))
	return nil
}
