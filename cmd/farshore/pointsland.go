package main

import (
	"context"

	"github.com/spf13/cobra"

	"farshore/replicator/report"
	"farshore/transport"
)

type landOptions struct {
	selectOptions
	To string
}

func newPointsLand(c *console) *cobra.Command {
	var o landOptions
	cmd := &cobra.Command{
		Use:   "land POINT --to REGION",
		Short: "Import the record of a restore point that is shipped, and of those it needs",
		Long: `Make a restore point that is shipped one that the region's own Cinder can restore: its record
is imported, after those of the points that it is an increment upon. Importing is an admin's
right by default; where the passes' own login has it not, somebody who has runs this, with the
region's import_cloud or a clouds.yaml of their own. The login must be scoped to the project
whose the points are: what it imports becomes its own project's.

POINT is a point's id, the first six or more characters of one, or the id or name of a volume,
whose newest point is taken. It is looked for in the ledger and, if that knows none such, in
what the region itself holds. Its objects are listed and compared with its own list of them before anything is imported.`,
		Example: `  farshore points land 3fa9c1d2 --to lyon
  farshore points land db-1 --to lyon --ledger /var/lib/farshore/ledger.db`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: completeNothing,
	}
	f := cmd.Flags()
	o.AddFlags(f)
	f.StringVar(&o.To, "to", "", "the region whose Cinder is to know the point")
	c.completes(cmd, "to", completeRegions(&o.selectOptions))
	cmd.RunE = c.do(func(ctx context.Context, args []string) error { return runPointsLand(ctx, &o, args[0], c) })
	return cmd
}

func runPointsLand(ctx context.Context, o *landOptions, point string, c *console) error {
	if o.To == "" {
		return usagef("such as --to lyon", "land where? --to names the region")
	}
	w, err := chooseRegions([]string{o.To}, o.selectOptions, nil)
	if err != nil {
		return err
	}
	out := &passResult{Ledger: w.ledger, Policies: []policyResult{}}
	var r report.Result
	err = w.run(ctx, c, openFor(w.ledger), w.spare, func(ctx context.Context, x *running) (err error) {
		release, err := x.turnAbout(ctx)
		if err != nil {
			return stopOr(ctx, err)
		}
		defer release()
		s := x.shipper(ctx, []string{o.To})
		defer s.LetGo()
		if r, err = s.Land(ctx, point, o.To); err != nil {
			return stopOr(ctx, err)
		}
		r = withMaps(r)
		addFindings(&r, x.links.importFindings(r.Policy, o.To))
		return nil
	})
	if err != nil {
		return err
	}
	out.Policies = append(out.Policies, policyResult{Result: r})
	c.result = out
	showPointResults(c, "", r.Points)
	switch {
	case r.Volumes != nil && r.Volumes.Landed == 0 && r.Errors == 0:
		c.say("nothing to do: it had landed in %s", transport.PrintName(o.To))
	case r.Volumes != nil:
		c.say("%s landed in %s", count(r.Volumes.Landed, "copy"), transport.PrintName(o.To))
	}
	showFindings(c, r.Findings, total(r.Counts))
	if r.Errors > 0 {
		return &findingsError{n: r.Errors}
	}
	return nil
}
