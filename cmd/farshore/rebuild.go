package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"farshore/policies"
	"farshore/replicator"
	"farshore/replicator/control"
	"farshore/replicator/report"
	"farshore/replicator/volumes"
	"farshore/store"
	"farshore/transport"
)

func newLedgerRebuild(c *console) *cobra.Command {
	o := selectOptions{volumes: true}
	cmd := &cobra.Command{
		Use:   "rebuild [POLICY… | CLOUD:CONTAINER[/PREFIX] CLOUD:CONTAINER[/PREFIX]…]",
		Short: "Make a new ledger from what the regions hold, when it is lost or damaged",
		Long: `Make a new ledger from what the regions themselves hold: what is identical on both sides, and
what carries farshore's stamp, is recorded as a copy. Nothing is copied, changed or deleted in
any region. The old ledger, if there is one, is moved aside when the new one is complete, and
stays where it is if anything fails. What is not named starts anew: its next pass adopts what
is identical. Of a policy of volumes, the restore points are found by what each destination
holds of them itself; the source may be gone.

` + placesHelp,
		Example: `  farshore ledger rebuild                          # for all policies of ./farshore.yaml
  farshore ledger rebuild paris:photos lyon:photos`,
		ValidArgsFunction: completeTasks(&o),
	}
	o.AddFlags(cmd.Flags())
	cmd.RunE = c.do(func(ctx context.Context, args []string) error { return runLedgerRebuild(ctx, &o, args, c) })
	return cmd
}

// rebuildResult is the result of ledger rebuild in JSON.
type rebuildResult struct {
	passResult
	MovedTo string `json:"moved_to"` // where the old ledger is now; empty: there was none, or nothing was changed
}

func runLedgerRebuild(ctx context.Context, o *selectOptions, args []string, c *console) error {
	w, err := choose(args, *o, adHocOptions{})
	if err != nil {
		return err
	}
	release, err := holdOld(ctx, w.ledger)
	if err != nil {
		return err
	}
	fresh := w.ledger + ".rebuild"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return errors.Join(fmt.Errorf("remove what an earlier rebuild left: %w", err), release())
	}
	out := rebuildResult{}
	err = eachPolicy(ctx, w, c, func(ctx context.Context, c *console) (context.Context, *session, error) {
		return openSession(ctx, fresh, w.ledger, c)
	}, duty{command: "rebuild", objects: func(ctx context.Context, e *replicator.Engine, p policies.Policy, jobs []replicator.Job) (report.Result, error) {
		r, err := e.Rebuild(ctx, p, jobs)
		if err == nil && r.Counts[report.KindRegionDown] > 0 {
			err = &hintError{op: "rebuild ledger", item: w.ledger, err: errors.New("a region did not answer, so that what it holds cannot be told"), hint: "run it again when the region is back: farshore region check"}
		}
		return r, err
	}, volumes: func(ctx context.Context, s *volumes.Shipper, p policies.Policy) (report.Result, error) {
		r, err := s.RebuildPoints(ctx, p)
		if err == nil && r.Counts[report.KindRegionDown] > 0 {
			err = &hintError{op: "rebuild ledger", item: w.ledger, err: errors.New("a destination did not answer, so that what it holds cannot be told"), hint: "run it again when the region is back: farshore region check"}
		}
		return r, err
	}}, func(c *console, r report.Result) {
		if w.isAboutVolumes(r.Policy) {
			c.say("%s: %s found, %s of points", transport.PrintName(r.Policy), count(r.Replicas.Objects, "point"), count(r.Totals.Adopted, "copy"))
			c.say("  %s", asPoints(replicas(r.Replicas)))
			return
		}
		c.say("%s: %s listed, %s found again", transport.PrintName(r.Policy), count(r.Totals.Listed, "object"), count(r.Totals.Adopted, "copy"))
		c.say("  %s", replicas(r.Replicas))
	})
	if passes, ok := c.result.(*passResult); ok {
		out.passResult = *passes
	}
	c.result = &out
	var found *findingsError
	if err != nil && !errors.As(err, &found) {
		_ = os.Remove(fresh) // half of it is of no use, and it is made anew next time
		return errors.Join(err, release())
	}
	// The old ledger's lock ends here, with its file still in place; whoever takes it in
	// this instant works on a file that is about to be moved, and is adopted later.
	if rerr := release(); rerr != nil {
		return rerr
	}
	if exists(w.ledger) {
		out.MovedTo = w.ledger + ".before-rebuild-" + time.Now().UTC().Format("20060102T150405Z")
		for base, n := out.MovedTo, 2; exists(out.MovedTo); n++ { // another one of this very second is not lost
			out.MovedTo = fmt.Sprintf("%s-%d", base, n)
		}
		if err := os.Rename(w.ledger, out.MovedTo); err != nil {
			return fmt.Errorf("move the old ledger aside: %w", err)
		}
		c.say("the old ledger is now %s", out.MovedTo)
	}
	if err := os.Rename(fresh, w.ledger); err != nil {
		return fmt.Errorf("put the new ledger in place: %w", err)
	}
	return err
}

// holdOld locks the ledger that is to be replaced, if it can be opened at all, and
// returns what lets go of it.
func holdOld(ctx context.Context, path string) (func() error, error) {
	nothing := func() error { return nil }
	if !exists(path) {
		return nothing, nil
	}
	l, err := store.Open(path, store.Options{})
	switch {
	case err == nil:
		return l.Close, nil
	case errors.Is(err, store.ErrCorrupt), errors.Is(err, store.ErrNewer):
		if st, serr := control.NewClient(path).Status(ctx); serr == nil {
			return nil, &heldError{path: path, status: &st, err: err}
		}
		return nothing, nil
	}
	return nil, closedFor(heldBy(ctx, path, err))
}
