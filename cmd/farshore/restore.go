package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/replicator/volumes"
	"farshore/transport"
	"farshore/transport/region"
	"farshore/transport/wire"
)

// volumeOptions are the flags of commands that make a volume in a region.
type volumeOptions struct {
	Name, Type, Zone string
	Proof            string
	Wait             time.Duration
	Anyway           bool
}

// AddFlags adds them; proof is the default of --proof.
func (o *volumeOptions) AddFlags(f *pflag.FlagSet, proof volumes.ProofMode) {
	f.StringVar(&o.Name, "name", "", "the new volume's name (default: the source volume's)")
	f.StringVar(&o.Type, "type", "", "its volume type (default: by volume_types of the point's policy, else of the same name, else the region's default)")
	f.StringVar(&o.Zone, "zone", "", "its availability zone (default: the region's)")
	f.StringVar(&o.Proof, "proof", string(proof), "none, or blocks: back the new volume up again and compare the SHA-256 of every block with the point's")
	f.DurationVar(&o.Wait, "wait", volumes.DefaultWait, "how long to wait for one thing that the region's Cinder does")
	f.BoolVar(&o.Anyway, "anyway", false, "start although the token will end before the restore is done")
}

// request checks them and fills them in.
func (o *volumeOptions) request() (volumes.RestoreRequest, error) {
	r := volumes.RestoreRequest{Name: o.Name, Type: o.Type, Zone: o.Zone, Wait: o.Wait, Anyway: o.Anyway}
	var err error
	if r.Proof, err = proofMode(o.Proof); err != nil {
		return r, err
	}
	if o.Wait < time.Second {
		return r, usagef("", "--wait is at least 1s, not %s", o.Wait)
	}
	return r, nil
}

func proofMode(s string) (volumes.ProofMode, error) {
	if m := volumes.ProofMode(s); m == volumes.ProofNone || m == volumes.ProofBlocks {
		return m, nil
	}
	return "", usagef("", "--proof is none or blocks, not %q", s)
}

type restoreOptions struct {
	selectOptions
	limitOptions
	volumeOptions
	To      string
	Abandon bool
}

func newRestore(c *console) *cobra.Command {
	var o restoreOptions
	cmd := &cobra.Command{
		Use:   "restore POINT --to REGION | CLOUD:CONTAINER[/PREFIX] --to CLOUD:CONTAINER[/PREFIX]",
		Short: "Make a volume of a restore point, or bring objects back from a replica",
		Long: `Make a volume of a restore point, in a region that holds the point: one of the destinations
it was shipped to, or the source itself. POINT is a point's id, the first six or more
characters of one, or the id or name of a volume, whose newest point is taken. Points are looked for in the ledger and,
if it knows none such, in what the region itself holds: neither the source region nor a
ledger is needed.

A volume is made first (size, type, zone, then name, description, metadata, bootable flag
and image metadata as at the source), and the region's own Cinder restores the backup
into it. Before anything is made, the backup's objects are compared with its own list of
them, and quotas, volume type and the token's life are checked. The volume has a scratch
name until it is whole. With --proof blocks it is then backed up once more, into a scratch container, and every
block's SHA-256 is compared with the point's; until that has ended the volume cannot
be attached.

An interrupted restore is gone on with by the same command; with --abandon that clears
away what is there of it.

With CLOUD:CONTAINER, the objects of a replica (all, or those below a prefix) are copied to the
container that --to names, as farshore sync does it ad hoc: what is there and identical is
left alone, and what is there and is not farshore's is not overwritten.

` + placesHelp,
		Example: `  farshore restore 3fa9c1d2 --to lyon                        # a point, by the beginning of its id
  farshore restore db-data --to lyon --proof blocks          # a volume's newest point, proven
  farshore restore db-data --to lyon --name db-copy --type premium
  farshore restore lyon:photos/2026/ --to paris:photos-back/2026/`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: completeNothing,
	}
	f := cmd.Flags()
	o.selectOptions.AddFlags(f)
	o.limitOptions.AddFlags(f)
	o.volumeOptions.AddFlags(f, volumes.ProofNone)
	f.StringVar(&o.To, "to", "", "the region that restores, or for objects CLOUD:CONTAINER[/PREFIX]")
	f.BoolVar(&o.Abandon, "abandon", false, "clear away what this command left when it was interrupted")
	c.completes(cmd, "to", completeRegions(&o.selectOptions))
	c.completes(cmd, "proof", cobra.FixedCompletions([]cobra.Completion{"none", "blocks"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = c.do(func(ctx context.Context, args []string) error {
		if strings.Contains(args[0], ":") {
			if name := given(cmd.Flags(), []string{"name", "type", "zone", "proof", "wait", "anyway", "abandon"}); name != "" {
				return usagef("leave it out; what a replica holds is proven by farshore drill POLICY and farshore audit --read", "--%s is for the restore of a volume, and %s is objects", name, transport.PrintName(args[0]))
			}
			return restoreObjects(ctx, &o, args[0], c)
		}
		return runRestore(ctx, &o, args[0], c)
	})
	return cmd
}

// completeNothing offers nothing: points are known to a ledger that may be in use.
func completeNothing(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// restoreObjects is an ad hoc pass from the replica to where the objects are wanted.
func restoreObjects(ctx context.Context, o *restoreOptions, from string, c *console) error {
	if !strings.Contains(o.To, ":") {
		return usagef("such as --to paris:photos-back", "objects are restored to a container: --to CLOUD:CONTAINER[/PREFIX]")
	}
	s := &syncOptions{selectOptions: o.selectOptions, limitOptions: o.limitOptions, restore: true}
	return runSync(ctx, s, []string{from, o.To}, c)
}

// volumeWork is what a command about volumes was asked to do, and with which regions.
type volumeWork struct {
	reach
	spare spareFunc
	about []string // the policies that it is about
}

// chooseRegions finds regions in the policy file, if there is one, and else in clouds.yaml.
func chooseRegions(names []string, s selectOptions, l *limitOptions) (*volumeWork, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	w := &volumeWork{reach: reach{regions: map[string]policies.Region{}, stall: wire.DefaultIdle}, spare: none}
	if s.hasFile() {
		f, err := s.load()
		if err != nil {
			return nil, err
		}
		w.file, w.limits = f, f.Limits
	}
	w.ledger = ledgerPath(s.Ledger, w.file)
	for _, n := range names {
		w.regions[n] = policies.Region{Name: n, Cloud: n}
		if w.file != nil && w.file.Regions[n].Name != "" {
			w.regions[n] = w.file.Regions[n]
		} else if err := knownRegion(w.file, n); err != nil {
			return nil, err
		}
	}
	if l == nil {
		return w, nil
	}
	return w, l.apply(&w.reach)
}

// knownRegion refuses the name of a region that is neither in the policy file, nil where
// there is none, nor in clouds.yaml, and says which names are.
func knownRegion(f *policies.File, name string) error {
	clouds, err := region.Names()
	if err != nil || slices.Contains(clouds, name) || fromEnvironment(name) {
		return nil // without a clouds.yaml, the login says so
	}
	if f == nil {
		return usagef("it has: "+strings.Join(clouds, ", "), "no region %q: there is no policy file, and it is no entry of clouds.yaml", name)
	}
	return usagef("the regions of "+f.Name+" are: "+strings.Join(sortedNames(f.Regions), ", ")+"; entries of clouds.yaml: "+strings.Join(clouds, ", "), "no region %q", name)
}

// policy gives a policy of the file by its name.
func (w *volumeWork) policy(name string) (policies.Policy, bool) {
	if w.file != nil {
		for _, p := range w.file.Policies {
			if p.Name == name {
				return p, true
			}
		}
	}
	return policies.Policy{}, false
}

// types is the file's map of volume types for what a policy made.
func (w *volumeWork) types(policy string) map[string]string {
	p, _ := w.policy(policy)
	return p.VolumeTypes
}

// withVolumes runs do with the ledger open, the regions logged in and a shipper.
func withVolumes(ctx context.Context, w *volumeWork, c *console, do func(context.Context, *volumes.Shipper) error) error {
	return w.run(ctx, c, openFor(w.ledger), w.spare, func(ctx context.Context, x *running) error {
		release, err := x.turnAbout(ctx, w.about...)
		if err != nil {
			return stopOr(ctx, err)
		}
		defer release()
		ship := x.shipper(ctx, sortedNames(w.regions))
		defer ship.LetGo()
		return stopOr(ctx, do(ctx, ship))
	})
}

// restoreResult is the result of restore in JSON.
type restoreResult struct {
	Ledger   string           `json:"ledger"`
	Restore  report.Restore   `json:"restore"`
	Findings []report.Finding `json:"findings"`
	Errors   int64            `json:"error_findings"`
}

func runRestore(ctx context.Context, o *restoreOptions, point string, c *console) error {
	r, err := o.request()
	if err != nil {
		return err
	}
	switch {
	case o.To == "":
		return usagef("such as --to lyon", "restore where? --to names the region")
	case strings.Contains(o.To, ":"):
		return usagef("a volume is made in a region: --to "+strings.SplitN(o.To, ":", 2)[0], "--to %s is a container, and %s is a point", o.To, point)
	}
	w, err := chooseRegions([]string{o.To}, o.selectOptions, &o.limitOptions)
	if err != nil {
		return err
	}
	r.Point, r.To = point, o.To
	r.Types, r.Abandon = w.types, o.Abandon
	r.Chosen = func(x report.Restore, older *report.Finding) { c.chosen(x, older) }
	out := &restoreResult{Ledger: w.ledger, Findings: []report.Finding{}}
	err = withVolumes(ctx, w, c, func(ctx context.Context, s *volumes.Shipper) (err error) {
		out.Restore, out.Findings, err = s.Restore(ctx, r)
		return err
	})
	for _, f := range out.Findings {
		if f.Level == report.Error {
			out.Errors++
		}
	}
	if out.Restore.Point != "" {
		c.result = out
		if o.Abandon && err == nil {
			c.say("cleared away what was left of the restore of point %s in %s", out.Restore.Point, o.To)
		} else {
			showRestore(c, out.Restore)
		}
	}
	showFindings(c, out.Findings, int64(len(out.Findings)))
	var stop *stopped
	if errors.As(err, &stop) && out.Restore.Point != "" {
		c.warn("%s: the same command goes on from here", stop.how)
	}
	return volumeError(err, out.Errors)
}

// chosen tells on stderr, while there is time to think again, which point is taken.
func (c *console) chosen(r report.Restore, older *report.Finding) {
	if !c.json && !c.quiet {
		fmt.Fprint(c, printable(fmt.Sprintf("taking point %s of %s, as the volume was at %s in %s\n", r.Point, transport.PrintName(cmp.Or(r.SourceVolumeName, r.SourceVolume)), timeOf(r.Taken), r.From)))
	}
	if older != nil {
		fmt.Fprint(c, printable(fmt.Sprintf("farshore: warning: not the newest point of the volume: %s\n  hint: %s\n", older.Cause, older.Hint)))
	}
}

// volumeError gives what decides the exit code: a proof that does not agree and error
// findings are not the same as a command that could not run.
func volumeError(err error, findings int64) error {
	var bad *volumes.ProofError
	var failed *volumes.MigrateError
	switch {
	case errors.As(err, &bad), errors.As(err, &failed):
		return &findingsError{n: max(findings, 1)}
	case err == nil && findings > 0:
		return &findingsError{n: findings}
	}
	return err
}

// showRestore prints what was restored.
func showRestore(c *console, r report.Restore) {
	if r.Volume == "" {
		return
	}
	name := cmp.Or(r.Name, r.SourceVolumeName, r.SourceVolume)
	c.say("%s: volume %s in %s, %d GiB%s", transport.PrintName(name), r.Volume, r.Region, r.Size, of(" of type ", r.Type))
	c.say("  as it was at %s in %s (point %s, %s)", timeOf(r.Taken), r.From, r.Point, count(int64(len(r.Backups)), "backup"))
	if r.Resumed {
		c.say("  went on with an interrupted restore")
	}
	showPhases(c, r)
	if r.Proof != nil {
		showProof(c, *r.Proof)
	}
}

// showPhases prints how long what took.
func showPhases(c *console, r report.Restore) {
	ready, later := r.Phases()
	c.say("  ready after %s: %s", exactly(r.RTO), phases(ready))
	if len(later) > 0 {
		c.say("  then: %s", phases(later))
	}
}

func of(before, s string) string {
	if s == "" {
		return ""
	}
	return before + transport.PrintName(s)
}

// exactly is a number of seconds, to the tenth.
func exactly(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(100 * time.Millisecond).String()
}

func phases(spans []report.Span) string {
	parts := make([]string, len(spans))
	for i, s := range spans {
		parts[i] = s.Name + " " + exactly(s.Seconds)
	}
	return strings.Join(parts, ", ")
}

func showProof(c *console, p report.Proof) {
	against := map[string]string{"blocks": "the source's block list", "source": "the source's block list, read now", "objects": "the region's own copies of the objects"}[p.Against]
	if p.OK {
		c.say("  proven: %s blocks of %s are equal to %s (SHA-256 %s)", humanize.Comma(p.Blocks), size(int64(p.BlockSize)), against, p.Found)
		return
	}
	c.warn("  NOT EQUAL: %s of %s of %s %s from %s", humanize.Comma(p.Differing), count(p.Blocks, "block"), size(int64(p.BlockSize)), report.Differ(p.Differing), against)
	for _, x := range p.First {
		c.warn("    %s at offset %s", count(x.Length, "byte"), humanize.Comma(x.Offset))
	}
}
