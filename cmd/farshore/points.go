package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"farshore/replicator/report"
	"farshore/replicator/volumes"
	"farshore/store"
	"farshore/transport"
)

type pointsOptions struct {
	selectOptions
	Volume string
	Region string
	From   string
}

func newPoints(c *console) *cobra.Command {
	var o pointsOptions
	cmd := &cobra.Command{
		Use:   "points [POLICY…]",
		Short: "List restore points of volumes, and the regions that can restore them",
		Long: `List the restore points of volumes: when the volume was like that, whether the backup is a
full one or an increment and how many backups a restore needs, its size, which regions hold
it and in what state, and when a volume restored from it was last compared with it.

States of a copy: shipping (objects are on the way), shipped (all are there, the record is not
imported: farshore points land), landed (the region's own Cinder can restore it), lost (an
audit found something missing or wrong), expired (removed by retention).

The list is the ledger's. With --from REGION it is what a region itself tells of, in its
container .farshore-points and its Cinder: neither the source nor a ledger is needed.`,
		Example: `  farshore points                                  # of every policy
  farshore points databases --volume db-1          # of one volume, by id or name
  farshore points --region lyon --json             # what lyon holds, by the ledger
  farshore points --from lyon                      # what lyon says of itself`,
		ValidArgsFunction: completeMore(&o.selectOptions, aboutVolumes),
	}
	f := cmd.Flags()
	o.AddFlags(f)
	f.StringVar(&o.Volume, "volume", "", "only points of this volume, by its id or name")
	f.StringVar(&o.Region, "region", "", "only points that are, or come to be, in this region")
	f.StringVar(&o.From, "from", "", "ask this region what it holds itself, instead of the ledger")
	c.completes(cmd, "volume", completeNothing)
	c.completes(cmd, "region", completeRegions(&o.selectOptions))
	c.completes(cmd, "from", completeRegions(&o.selectOptions))
	cmd.RunE = c.do(func(ctx context.Context, args []string) error { return runPoints(ctx, &o, args, c) })
	cmd.AddCommand(newPointsLand(c), newPointsForget(c))
	return cmd
}

// pointsResult is the result of points in JSON.
type pointsResult struct {
	Ledger string                 `json:"ledger"` // empty: a region was asked
	From   string                 `json:"from"`   // the region that was asked; empty: none
	Points []report.PointStanding `json:"points"`
}

func runPoints(ctx context.Context, o *pointsOptions, names []string, c *console) error {
	for flag, v := range map[string]string{"volume": o.Volume, "region": o.Region, "from": o.From} {
		if v == "" && o.flags.Changed(flag) {
			return usagef("leave it out for all", "--%s names nothing", flag)
		}
	}
	if o.From != "" && o.Region != "" && o.From != o.Region {
		return usagef("leave --region out, or --from: the ledger tells of all regions", "region %s tells only of what it holds itself", o.From)
	}
	out := pointsResult{From: o.From}
	var all []store.Point
	var err error
	if o.From != "" {
		all, err = pointsOf(ctx, o, c)
	} else {
		out.Ledger, all, err = pointsKnown(ctx, o, c)
	}
	if err != nil {
		return err
	}
	if err := knownPolicies(o, names, all); err != nil {
		return err
	}
	if err := knownPlaces(o, all); err != nil {
		return err
	}
	// Chains are counted among all of them, whatever is shown.
	out.Points = slices.DeleteFunc(volumes.Standing(all, o.From == ""), func(p report.PointStanding) bool {
		return len(names) > 0 && !slices.Contains(names, p.Policy) || o.Volume != "" && o.Volume != p.Volume && o.Volume != p.VolumeName || o.Region != "" && !inRegion(p, o.Region)
	})
	c.result = out
	showPoints(c, out)
	return nil
}

func inRegion(p report.PointStanding, region string) bool {
	return p.Region == region && p.Source != "gone" ||
		slices.ContainsFunc(p.Copies, func(x report.CopyStanding) bool { return x.Region == region && x.State != string(store.CopyExpired) })
}

// pointsKnown reads the ledger's points.
func pointsKnown(ctx context.Context, o *pointsOptions, c *console) (path string, all []store.Point, err error) {
	if path, err = o.findLedger(); err != nil {
		return "", nil, err
	}
	l, closing, err := c.look(ctx, path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil, &hintError{op: "open ledger", item: path, err: errors.New("there is none"), hint: "the first farshore sync makes it; name another with --ledger, or ask a region: farshore points --from REGION"}
	}
	if err != nil {
		return "", nil, err
	}
	all, err = l.Points("")
	return path, all, errors.Join(err, closing())
}

// pointsOf asks a region. The ledger may be in use meanwhile, or not be there.
func pointsOf(ctx context.Context, o *pointsOptions, c *console) ([]store.Point, error) {
	w, err := chooseRegions([]string{o.From}, o.selectOptions, nil)
	if err != nil {
		return nil, err
	}
	progress, log := report.NewProgress(time.Now()), c.logger()
	l, err := connect(ctx, w.regions, w.stall, w.spare, progress, log)
	if err != nil {
		return nil, stopOr(ctx, err)
	}
	defer l.Close()
	if err := cmp.Or(l.down[o.From], l.openBlocks(o.From)); err != nil {
		return nil, stopOr(ctx, err)
	}
	s := volumes.New(volumes.Options{Regions: map[string]volumes.Region{o.From: {Objects: l.sinks[o.From], Blocks: l.blocks[o.From]}}, Down: l.down, Progress: progress, Log: log})
	all, err := s.Described(ctx, o.From)
	return all, stopOr(ctx, err)
}

// knownPolicies refuses names that neither the policy file nor any point has.
func knownPolicies(o *pointsOptions, names []string, all []store.Point) error {
	if len(names) == 0 {
		return nil
	}
	known := map[string]bool{}
	for _, p := range all {
		known[p.Policy] = true
	}
	o.addNames(known, aboutVolumes)
	for _, n := range names {
		if !known[n] {
			return usagef("the policies of volumes are: "+cmp.Or(strings.Join(sortedNames(known), ", "), "none"), "no policy %q of volumes", n)
		}
	}
	return nil
}

// knownPlaces refuses a volume that no point is of, and a region that neither a point nor
// the policy file knows.
func knownPlaces(o *pointsOptions, all []store.Point) error {
	labels, regions := map[string]bool{}, map[string]bool{}
	found := o.Volume == ""
	for _, p := range all {
		regions[p.Region] = true
		for _, x := range p.Copies {
			regions[x.Region] = true
		}
		label := p.Volume.ID
		if p.Volume.Name != "" {
			label = transport.PrintName(p.Volume.Name) + " (" + p.Volume.ID + ")"
		}
		labels[label] = true
		found = found || o.Volume == p.Volume.ID || o.Volume == p.Volume.Name
	}
	if f, err := o.load(); err == nil {
		for name := range f.Regions {
			regions[name] = true
		}
	}
	switch {
	case !found:
		return &hintError{op: "find volume", item: transport.PrintName(o.Volume), err: errors.New("no point is of a volume with that id or name"), hint: "there are points of: " + cmp.Or(strings.Join(sortedNames(labels), ", "), "none")}
	case o.Region != "" && !regions[o.Region]:
		return usagef("there are: "+cmp.Or(strings.Join(sortedNames(regions), ", "), "none"), "no region %q", o.Region)
	}
	return nil
}

// showPoints prints the points of each volume under a line of its own, the newest last.
func showPoints(c *console, out pointsResult) {
	if len(out.Points) == 0 {
		c.say("no restore point")
		return
	}
	var order []string
	of := map[string][]report.PointStanding{}
	for _, p := range out.Points {
		key := p.Region + "/" + p.Volume
		if of[key] == nil {
			order = append(order, key)
		}
		of[key] = append(of[key], p)
	}
	slices.SortStableFunc(order, func(a, b string) int {
		x, y := of[a][0], of[b][0]
		return cmp.Or(cmp.Compare(x.Region, y.Region), cmp.Compare(x.VolumeName, y.VolumeName), cmp.Compare(x.Volume, y.Volume))
	})
	for _, key := range order {
		list := of[key]
		newest := list[len(list)-1]
		c.say("%s (%s) of %s, %d GiB: %s", transport.PrintName(cmp.Or(newest.VolumeName, "unnamed")), newest.Volume, newest.Region, newest.Size, count(int64(len(list)), "point"))
		for _, p := range list {
			c.say("  %s  %s  %-14s %9s  %s", timeOf(p.Taken), p.Point, kindOf(p), size(p.Bytes), strings.Join(standsWhere(p, out.From != ""), "; "))
		}
	}
}

// volumeLabel is what people call a point's volume.
func volumeLabel(p report.PointStanding) string { return cmp.Or(p.VolumeName, p.Volume) }

// timeOf is a point's time in a line of text.
func timeOf(t time.Time) string { return t.Local().Format(time.DateTime) }

// kindOf says what a point is, in a column.
func kindOf(p report.PointStanding) string {
	if p.Kind == "increment" && p.Chain > 0 {
		return fmt.Sprintf("increment, %d", p.Chain)
	}
	return p.Kind
}

// standsWhere says where a point is: at its source, then in each region. With own, a
// region tells of itself, which knows nothing of the source.
func standsWhere(p report.PointStanding, own bool) []string {
	var out []string
	switch {
	case p.Kind == "making":
	case p.Source == "has":
		out = append(out, p.Region)
	case p.Source == "unknown" && !own:
		out = append(out, p.Region+" unknown")
	}
	for _, x := range p.Copies {
		if x.State == string(store.CopyExpired) {
			continue
		}
		line := x.Region + " " + x.State
		switch {
		case x.State == string(store.CopyLanded) && x.Chain == 0:
			line += ", without what it needs"
		case x.State == string(store.CopyLanded) && x.Kind == "synthetic":
			line += " (synthetic full)"
		case x.State == string(store.CopyLanded) && x.Chain != p.Chain && x.Chain > 1:
			line += fmt.Sprintf(" (chain of %d)", x.Chain)
		case x.Note != "":
			line += ": " + x.Note
		}
		if x.Proof != nil && x.Proof.OK {
			line += ", proven " + x.Proof.At.Local().Format("2006-01-02 15:04")
		} else if x.Proof != nil {
			line += ", NOT EQUAL when it was compared on " + x.Proof.At.Local().Format("2006-01-02 15:04")
		}
		out = append(out, line)
	}
	if len(out) == 0 {
		return []string{"nowhere"}
	}
	return out
}
