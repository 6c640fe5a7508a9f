package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"farshore/replicator/report"
	"farshore/replicator/volumes"
	"farshore/transport"
)

type forgetOptions struct {
	selectOptions
	SourceLost bool
}

func newPointsForget(c *console) *cobra.Command {
	var o forgetOptions
	cmd := &cobra.Command{
		Use:   "forget POINT…",
		Short: "Remove what is left of restore points that no region can restore any more",
		Long: `Let go of restore points that are lost for good: no region can restore them, and their source
no longer has the backups. What is left of them at the destinations is removed (records,
objects, descriptions), and so are the increments upon them that are lost with them. Until
then each pass and each audit reports them as an error (lost-point).

A point that any region can still restore, whose record only has to be imported, or whose
source still has the backup, is refused. The source is asked; with --source-lost it is not.
POINT is a point's id, or the first six or more characters of one.`,
		Example: `  farshore points forget 3fa9c1d2
  farshore points forget 3fa9c1d2 --source-lost      # the source region is gone for good`,
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: completeNothing,
	}
	f := cmd.Flags()
	o.AddFlags(f)
	f.BoolVar(&o.SourceLost, "source-lost", false, "the source region is gone for good: do not ask it whether it still has the backups")
	cmd.RunE = c.do(func(ctx context.Context, args []string) error { return runPointsForget(ctx, &o, args, c) })
	return cmd
}

// forgetResult is the result of points forget in JSON.
type forgetResult struct {
	Ledger    string                 `json:"ledger"`
	Forgotten []report.PointStanding `json:"forgotten"`
	Findings  []report.Finding       `json:"findings"`
	Errors    int64                  `json:"error_findings"`
}

func runPointsForget(ctx context.Context, o *forgetOptions, points []string, c *console) error {
	_, all, err := pointsKnown(ctx, &pointsOptions{selectOptions: o.selectOptions}, c)
	if err != nil {
		return err
	}
	meant := map[string]bool{} // their volumes; which points exactly is found out with the ledger held
	for _, x := range all {
		if slices.ContainsFunc(points, func(name string) bool { return strings.HasPrefix(x.ID, name) }) {
			meant[x.Volume.ID] = true
		}
	}
	var regions []string
	for _, x := range all {
		if !meant[x.Volume.ID] {
			continue
		}
		if !o.SourceLost {
			regions = append(regions, x.Region)
		}
		for _, y := range x.Copies {
			regions = append(regions, y.Region)
		}
	}
	slices.Sort(regions)
	w, err := chooseRegions(slices.Compact(regions), o.selectOptions, nil)
	if err != nil {
		return err
	}
	w.spare = func(string, []string, []error) bool { return true } // who needs the region says so
	out := forgetResult{Ledger: w.ledger, Findings: []report.Finding{}}
	err = withVolumes(ctx, w, c, func(ctx context.Context, s *volumes.Shipper) (err error) {
		out.Forgotten, out.Findings, err = s.Forget(ctx, volumes.ForgetRequest{Points: points, SourceLost: o.SourceLost})
		return err
	})
	if err != nil {
		return err
	}
	for _, f := range out.Findings {
		if f.Level == report.Error {
			out.Errors++
		}
	}
	c.result = out
	for _, x := range out.Forgotten {
		c.say("forgot point %s of %s, of %s", x.Point, transport.PrintName(volumeLabel(x)), timeOf(x.Taken))
	}
	showFindings(c, out.Findings, int64(len(out.Findings)))
	if out.Errors > 0 {
		return &findingsError{n: out.Errors}
	}
	return nil
}
