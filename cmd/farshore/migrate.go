package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"farshore/policies"
	"farshore/replicator"
	"farshore/replicator/report"
	"farshore/replicator/volumes"
	"farshore/transport"
)

type migrateOptions struct {
	selectOptions
	limitOptions
	volumeOptions
	From, To   string
	Passes     int
	Delta      string
	Cutover    bool
	NoWait     bool
	Retire     bool
	KeepPoints bool
}

func newMigrate(c *console) *cobra.Command {
	return group(c, "migrate", "Move a volume or a container to another region", newMigrateVolume(c), newMigrateContainer(c))
}

func newMigrateVolume(c *console) *cobra.Command {
	var o migrateOptions
	cmd := &cobra.Command{
		Use:   "volume VOLUME --from REGION --to REGION",
		Short: "Move a volume: passes while it is in use, then a final one",
		Long: `Move a volume to another region, with little downtime. While it is in use, each pass takes
a snapshot and ships what changed since the last one; when a pass carried no more than
--delta, or after --passes of them, only the final pass is left. It is made when nothing
writes to the volume any more: as soon as it is detached, which is waited for, or at once with --cutover,
which says so. Then the volume is restored in the other region and proven: every block's
SHA-256 is compared with the source's.

VOLUME is an id, or a name that one volume of the project has there.

Run the same command again after any interruption: it goes on from where it was, and says so
when all is done. The source volume is not changed, unless --retire is given: it is
removed then, after the proof, and only if it was not used since the final pass. Whether one
was that was attached at the final pass nothing tells: --cutover vouches for it. The passes'
backups are removed at both sides after the proof, unless --keep-points is given.`,
		Example: `  farshore migrate volume db-data --from paris --to lyon
  farshore migrate volume 5f0c…e1 --from paris --to lyon --no-wait      # only the passes, if it is in use
  farshore migrate volume 5f0c…e1 --from paris --to lyon --cutover      # nobody writes to it any more
  farshore migrate volume 5f0c…e1 --from paris --to lyon --cutover --retire`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: completeNothing,
	}
	f := cmd.Flags()
	o.selectOptions.AddFlags(f)
	o.limitOptions.AddFlags(f)
	o.volumeOptions.AddFlags(f, volumes.ProofBlocks)
	f.Lookup("type").Usage = "its volume type (default: of the same name, else the region's default; a policy's volume_types are for its own points)"
	f.StringVar(&o.From, "from", "", "the region it is in")
	f.StringVar(&o.To, "to", "", "the region it goes to")
	f.IntVar(&o.Passes, "passes", 5, "make at most so many passes before the final one")
	f.StringVar(&o.Delta, "delta", "64MiB", "a pass that carried no more is the last before the final one")
	f.BoolVar(&o.Cutover, "cutover", false, "nobody writes to the volume any more: make the final pass although it is attached")
	f.BoolVar(&o.NoWait, "no-wait", false, "end when only the final pass is left, instead of waiting until the volume is detached")
	f.BoolVar(&o.Retire, "retire", false, "remove the source volume, after the proof, unless it was used since the final pass")
	f.BoolVar(&o.KeepPoints, "keep-points", false, "leave the passes' backups at both sides")
	for _, name := range []string{"from", "to"} {
		_ = cmd.MarkFlagRequired(name)
		c.completes(cmd, name, completeRegions(&o.selectOptions))
	}
	c.completes(cmd, "proof", cobra.FixedCompletions([]cobra.Completion{"none", "blocks"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = c.do(func(ctx context.Context, args []string) error { return runMigrateVolume(ctx, &o, args[0], c) })
	return cmd
}

// migrateResult is the result of migrate volume in JSON.
type migrateResult struct {
	Ledger    string           `json:"ledger"`
	Migration report.Migration `json:"migration"`
}

func runMigrateVolume(ctx context.Context, o *migrateOptions, volume string, c *console) error {
	v, err := o.request()
	if err != nil {
		return err
	}
	delta, err := policies.ParseSize(o.Delta)
	if err != nil {
		return usagef("", "--delta: %v", err)
	}
	if o.Passes < 1 {
		return usagef("", "--passes is at least 1, not %d", o.Passes)
	}
	w, err := chooseRegions([]string{o.From, o.To}, o.selectOptions, &o.limitOptions)
	if err != nil {
		return err
	}
	r := volumes.MigrateRequest{Volume: volume, From: o.From, To: o.To, Name: v.Name, Type: v.Type, Zone: v.Zone, Proof: v.Proof, Wait: v.Wait, Anyway: v.Anyway,
		Passes: o.Passes, Delta: delta, Cutover: o.Cutover, NoWait: o.NoWait, Retire: o.Retire, KeepPoints: o.KeepPoints}
	out := &migrateResult{Ledger: w.ledger}
	err = withVolumes(ctx, w, c, func(ctx context.Context, s *volumes.Shipper) (err error) {
		out.Migration, err = s.Migrate(ctx, r)
		return err
	})
	if out.Migration.Volume != "" {
		c.result = out
		showMigration(c, out.Migration, o.Retire)
	}
	var stop *stopped
	if errors.As(err, &stop) {
		c.warn("%s: the same command goes on from here", stop.how)
	}
	return volumeError(err, out.Migration.Errors)
}

// showMigration prints how far a migration is. A source that is still there with retire has an
// error or a finding that says why.
func showMigration(c *console, m report.Migration, retire bool) {
	name := transport.PrintName(cmp.Or(m.Name, m.Volume))
	for i, p := range m.Passes {
		kind, final := "full", ""
		if p.Incremental {
			kind = "increment"
		}
		if p.Final {
			final = ", the final one"
		}
		c.say("pass %d: %s%s: %s in %s, as the volume was at %s", i+1, kind, final, size(p.Bytes), exactly(p.Seconds), timeOf(p.Taken))
	}
	switch m.State {
	case "waiting":
		c.warn("%s: only the final pass is left: %s", name, m.WaitingOn)
	case "done", "retired":
		if m.Already {
			rest := "; nothing is left to do"
			if m.SourceUsed != "" || retire && !m.Retired {
				rest = ""
			}
			c.say("%s: moved to volume %s in %s at %s%s", name, m.Restore.Volume, m.To, timeOf(m.Ended), rest)
		} else {
			showRestore(c, *m.Restore)
			c.say("%s: moved from %s to %s: %s, %s between the regions, down for %s", name, m.From, m.To, count(int64(len(m.Passes)), "pass"), size(m.Bytes), exactly(m.Downtime))
		}
		switch {
		case m.Retired:
			c.say("  the source volume was removed")
		case m.SourceUsed == "" && !retire:
			c.say("  the source volume is as it was; --retire removes it")
		}
	default:
		if m.Restore != nil {
			showRestore(c, *m.Restore)
		}
	}
	showFindings(c, m.Findings, int64(len(m.Findings)))
}

type migrateContainerOptions struct {
	selectOptions
	limitOptions
	From, To, Name string
	Passes         int
	Delta          string
	Cutover        bool
	Takeover       bool
	ReleaseBrake   string
}

func newMigrateContainer(c *console) *cobra.Command {
	var o migrateContainerOptions
	cmd := &cobra.Command{
		Use:   "container CONTAINER[/PREFIX] --from REGION --to REGION",
		Short: "Move a container's objects: passes until little is left, then a final one",
		Long: `Copy a container to another region in passes, until one carried no more than --delta, or
--passes were made. Writers may go on meanwhile. When they have been stopped, run the same
command with --cutover: it makes a final pass, in which objects that are gone at the source go at
the destination too, and then compares every copy with what the ledger says. The source
is not changed; remove it when you no longer need it.

The same command goes on after an interruption, and a pass with nothing to do costs a
listing of the source.`,
		Example: `  farshore migrate container photos --from paris --to lyon
  farshore migrate container photos --from paris --to lyon --cutover`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: completeNothing,
	}
	f := cmd.Flags()
	o.selectOptions.AddFlags(f)
	o.limitOptions.AddFlags(f)
	f.StringVar(&o.From, "from", "", "the region it is in")
	f.StringVar(&o.To, "to", "", "the region it goes to")
	f.StringVar(&o.Name, "name", "", "its name there (default: the same)")
	f.IntVar(&o.Passes, "passes", 5, "make at most so many passes before the final one")
	f.StringVar(&o.Delta, "delta", "64MiB", "a pass that carried no more is the last before the final one")
	f.BoolVar(&o.Cutover, "cutover", false, "nobody writes to the container any more: make the final pass, and compare")
	f.BoolVar(&o.Takeover, "takeover", false, "overwrite what stands there and is not ours")
	f.StringVar(&o.ReleaseBrake, "release-brake", "", "go on with the pass that a brake stopped; the TOKEN is in its output")
	for _, name := range []string{"from", "to"} {
		_ = cmd.MarkFlagRequired(name)
		c.completes(cmd, name, completeRegions(&o.selectOptions))
	}
	cmd.RunE = c.do(func(ctx context.Context, args []string) error { return runMigrateContainer(ctx, &o, args[0], c) })
	return cmd
}

func runMigrateContainer(ctx context.Context, o *migrateContainerOptions, from string, c *console) error {
	delta, err := policies.ParseSize(o.Delta)
	if err != nil {
		return usagef("", "--delta: %v", err)
	}
	container, prefix, below := strings.Cut(from, "/")
	to := o.To + ":" + cmp.Or(o.Name, container)
	if below {
		to += "/" + prefix
	}
	w, err := choose([]string{o.From + ":" + from, to}, o.selectOptions, adHocOptions{Delete: o.Cutover, Takeover: o.Takeover})
	if err != nil {
		return err
	}
	if err := o.apply(&w.reach); err != nil {
		return err
	}
	// The passes with and without deletes are one migration: of one name, so that each
	// goes on with what the other left.
	t := &w.tasks[0]
	t.policy.Name = fmt.Sprintf("migrate %s:%s to %s", o.From, from, to)
	t.jobs[0].Policy = t.policy
	passes := 0
	return eachPolicy(ctx, w, c, openFor(w.ledger), duty{command: "sync", objects: func(ctx context.Context, e *replicator.Engine, p policies.Policy, jobs []replicator.Job) (report.Result, error) {
		var all report.Result
		for {
			r, err := e.Sync(ctx, p, jobs, replicator.SyncOptions{ReleaseBrake: o.ReleaseBrake})
			passes++
			all = addPass(all, r)
			if err != nil || r.Errors > 0 || r.Totals.Bytes <= delta || passes >= max(o.Passes, 1) {
				if err != nil || r.Errors > 0 || !o.Cutover {
					return all, err
				}
				break
			}
		}
		last, err := e.Sync(ctx, p, jobs, replicator.SyncOptions{ReleaseBrake: o.ReleaseBrake})
		if all = addPass(all, last); err != nil || last.Errors > 0 {
			return all, err
		}
		audit, err := e.Audit(ctx, p, jobs, replicator.AuditOptions{})
		all.Findings, all.Counts, all.Errors, all.Audit = audit.Findings, audit.Counts, audit.Errors, audit.Audit
		return all, err
	}}, func(c *console, r report.Result) {
		showResult(c, r)
		switch {
		case r.Audit != nil:
			r.Totals = report.Totals{} // the passes', which showResult told of: the audit sends nothing
			showAudit(c, r)
			c.say("  the final pass is made and every copy was seen; the source is as it was")
		case !o.Cutover && r.Errors == 0:
			c.say("  %s; stop what writes to it, and run the same command with --cutover", count(int64(passes), "pass"))
		}
	})
}

// addPass sums passes over one container up: what was done adds up, how things stand is the last one's.
func addPass(sum, r report.Result) report.Result {
	t := r.Totals
	t.Copied, t.Bytes, t.Read, t.Metadata, t.Adopted = t.Copied+sum.Totals.Copied, t.Bytes+sum.Totals.Bytes, t.Read+sum.Totals.Read, t.Metadata+sum.Totals.Metadata, t.Adopted+sum.Totals.Adopted
	t.Properties, t.Deleted, t.Twice = t.Properties+sum.Totals.Properties, t.Deleted+sum.Totals.Deleted, t.Twice+sum.Totals.Twice
	for region, n := range sum.Totals.ByRegion {
		if t.ByRegion == nil {
			t.ByRegion = map[string]int64{}
		}
		t.ByRegion[region] += n
	}
	if !sum.Began.IsZero() {
		r.Began, r.Resumed = sum.Began, r.Resumed || sum.Resumed
	}
	r.Seconds += sum.Seconds
	r.Totals, r.Command = t, "migrate"
	return r
}
