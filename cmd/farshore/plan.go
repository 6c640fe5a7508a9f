package main

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"farshore/policies"
	"farshore/replicator"
	"farshore/replicator/report"
	"farshore/replicator/volumes"
)

type planOptions struct {
	selectOptions
	limitOptions
	adHocOptions
	Check bool
}

// AddFlags adds them.
func (o *planOptions) AddFlags(f *pflag.FlagSet) {
	o.selectOptions.AddFlags(f)
	o.limitOptions.AddFlags(f)
	o.adHocOptions.AddFlags(f)
	f.BoolVar(&o.Check, "check", false, "exit 3 when there is anything to do")
}

func newPlan(c *console) *cobra.Command {
	o := planOptions{selectOptions: selectOptions{volumes: true}}
	cmd := &cobra.Command{
		Use:   "plan [POLICY… | CLOUD:CONTAINER[/PREFIX] CLOUD:CONTAINER[/PREFIX]…]",
		Short: "Say what a pass would do: counts, bytes, quota, time",
		Long: `Say what farshore sync with the same arguments would do, and change nothing: not at a
region, not in the ledger, which is opened for reading only. A ledger that does not exist yet
is not made.

` + placesHelp,
		Example: `  farshore plan
  farshore plan assets --limit 100MiB/s          # with the least time that takes
  farshore plan paris:photos lyon:photos --delete
  farshore plan --check || echo "something to do"`,
		ValidArgsFunction: completeTasks(&o.selectOptions),
	}
	o.AddFlags(cmd.Flags())
	cmd.RunE = c.do(func(ctx context.Context, args []string) error { return runPlan(ctx, &o, args, c) })
	return cmd
}

func runPlan(ctx context.Context, o *planOptions, args []string, c *console) error {
	w, err := choose(args, o.selectOptions, o.adHocOptions)
	if err != nil {
		return err
	}
	if err := o.apply(&w.reach); err != nil {
		return err
	}
	return planWork(ctx, w, "", c, &o.Check)
}

// planWork makes a dry pass. With check set, work that is pending is an exit code of 3.
func planWork(ctx context.Context, w *work, releaseBrake string, c *console, check *bool) error {
	pending := int64(0)
	err := eachPolicy(ctx, w, c, lookAt(w.ledger), duty{command: "plan", objects: func(ctx context.Context, e *replicator.Engine, p policies.Policy, jobs []replicator.Job) (report.Result, error) {
		r, err := e.Sync(ctx, p, jobs, replicator.SyncOptions{DryRun: true, ReleaseBrake: releaseBrake})
		t := r.Totals
		pending += t.Copied + t.Metadata + t.Adopted + t.Deleted + t.Pending
		return r, err
	}, volumes: func(ctx context.Context, s *volumes.Shipper, p policies.Policy) (report.Result, error) {
		r, err := s.Pass(ctx, p, volumes.ShipOptions{DryRun: true})
		pending += int64(len(r.Points)) + retentionWork(r.Retention)
		return r, err
	}}, func(c *console, r report.Result) { showPlan(c, r, w.limits.Total) })
	if out, ok := c.result.(*passResult); ok {
		for i := range out.Policies {
			out.Policies[i].EstimateSeconds = estimate(out.Policies[i].Totals.Bytes, w.limits.Total).Seconds()
		}
	}
	if check != nil && *check && pending > 0 {
		err = worse(err, &findingsError{n: pending})
	}
	return err
}
