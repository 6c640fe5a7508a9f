package main

import (
	"context"
	"errors"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"farshore/policies"
	"farshore/replicator"
	"farshore/replicator/report"
	"farshore/replicator/volumes"
	"farshore/transport"
)

type auditOptions struct {
	selectOptions
	limitOptions
	Read     string
	Seed     int64
	Repair   bool
	Replicas int
	Fidelity bool
	Output   string
}

// AddFlags adds them.
func (o *auditOptions) AddFlags(f *pflag.FlagSet) {
	o.selectOptions.AddFlags(f)
	o.limitOptions.AddFlags(f)
	f.StringVar(&o.Read, "read", "0%", "read this share of the destinations' objects through, such as 5%, and compare every byte's digest")
	f.Int64Var(&o.Seed, "seed", 0, "take the same sample as an earlier audit, which printed it")
	f.BoolVar(&o.Repair, "repair", false, "send again what is missing or damaged, set again headers and properties that differ, and look again")
	f.IntVar(&o.Replicas, "replicas", 0, "ad hoc: how many destinations must hold a copy (default: all)")
	f.BoolVar(&o.Fidelity, "fidelity", false, "compare every property of everything with its source, by name, and say of each: kept, mapped or cannot")
	f.StringVar(&o.Output, "output", "", "with --fidelity: write a row for each property to this file, as JSON lines (with --json and without this: to stdout)")
}

func newAudit(c *console) *cobra.Command {
	o := auditOptions{selectOptions: selectOptions{volumes: true}}
	cmd := &cobra.Command{
		Use:   "audit [POLICY… | CLOUD:CONTAINER[/PREFIX] CLOUD:CONTAINER[/PREFIX]…]",
		Short: "Prove what the ledger says: count the replicas that are really there",
		Long: `Compare every copy that the ledger has with what its region lists now, ask by name where
they disagree, and count the replicas that were seen, not those believed. What comes along by
itself (segments, link targets, archives of old versions) is audited too. With --read, a
sample of the objects is read through; each audit takes another sample, so that in time
everything is read. Headers are compared as far as a listing or a read shows them, and
properties of containers with those that were carried. What is missing or damaged counts as a
replica no more, and the next pass sends it again. In the regions it changes nothing unless
--repair is given: then it is sent again now and looked at once more, and headers and
properties that were changed at the destination are set again. What others put in a copy's
place is left alone.

It works without the source, too: then it looks at the containers that the ledger knows,
says what it could not compare, and --repair takes what it needs from another destination.

Of a policy of volumes it proves the restore points: that each destination's Cinder has the
record, that the listing of its objects is what the backup's own list names, and, with
--read, that the objects' content has the digests that Cinder took of it. --repair sends
again what is missing or damaged, from the source or another destination, and imports lost
records.

With --fidelity it trusts no record: it asks both ends for each object, version, container
and, where the policy chooses it, account, and compares content, kind, manifests, links,
histories and every header, one by one. What is not the same is an error (cannot), unless
the policy accepts it. That costs two HEADs an object and a copy. It needs both ends and no
ledger, and changes nothing; run it after a pass.

` + placesHelp,
		Example: `  farshore audit                       # all policies of ./farshore.yaml
  farshore audit assets --read 5%      # and read one object in twenty
  farshore audit --read 100% --repair  # everything, and mend it
  farshore audit paris:photos lyon:photos   # what was copied ad hoc
  farshore audit --fidelity --output certificate.jsonl
  farshore audit paris:photos lyon:photos --fidelity --read 100%`,
		ValidArgsFunction: completeTasks(&o.selectOptions),
	}
	o.AddFlags(cmd.Flags())
	cmd.RunE = c.do(func(ctx context.Context, args []string) error { return runAudit(ctx, &o, args, c) })
	return cmd
}

func runAudit(ctx context.Context, o *auditOptions, args []string, c *console) error {
	read, err := policies.ParseShare(o.Read)
	if err != nil || read < 0 {
		return usagef("from 0% to 100%", "--read %s is no share", o.Read)
	}
	o.volumes = !o.Fidelity // a certificate is of objects
	w, err := choose(args, o.selectOptions, adHocOptions{Replicas: o.Replicas})
	if err != nil {
		return err
	}
	if err := o.apply(&w.reach); err != nil {
		return err
	}
	switch {
	case o.Output != "" && !o.Fidelity:
		return usagef("add --fidelity", "--output is for a fidelity certificate")
	case o.Repair && o.Fidelity:
		return usagef("repair first, then run it again with --fidelity", "a fidelity certificate changes nothing: --repair does not go with it")
	case o.Fidelity:
		return runFidelity(ctx, o, w, read, c)
	}
	if !exists(w.ledger) {
		return &hintError{op: "open ledger", item: w.ledger, err: errors.New("there is none: nothing was ever copied by it"),
			hint: "name another with --ledger, or farshore ledger rebuild if it was lost"}
	}
	w.withoutSource = true
	opts := replicator.AuditOptions{Read: float64(read), Seed: o.Seed, Repair: o.Repair}
	return eachPolicy(ctx, w, c, openFor(w.ledger), auditing(opts), showAudit)
}

// auditing is the duty of an audit, which goes on where a source does not answer.
func auditing(o replicator.AuditOptions) duty {
	return duty{command: "audit", away: true,
		objects: func(ctx context.Context, e *replicator.Engine, p policies.Policy, jobs []replicator.Job) (report.Result, error) {
			return e.Audit(ctx, p, jobs, o)
		},
		volumes: func(ctx context.Context, s *volumes.Shipper, p policies.Policy) (report.Result, error) {
			return s.AuditPoints(ctx, p, volumes.AuditOptions{Read: o.Read, Seed: o.Seed, Repair: o.Repair})
		}}
}

// showAudit prints what one policy's audit saw.
func showAudit(c *console, r report.Result) {
	if r.PointAudit != nil {
		showPointAudit(c, r)
	}
	a := r.Audit
	if a == nil {
		return
	}
	c.say("%s: %s seen as recorded (%s)", transport.PrintName(r.Policy), count(a.Seen, "copy"), seen(a.ByRegion))
	c.say("  %s", joined(
		[]string{"missing", "damaged", "repaired", "foreign at destinations", "not recorded yet", "changed since the last pass", "gone at the source", "with other headers", "of them set again",
			"other properties of containers", "of those set again"},
		[]int64{a.Missing, a.Damaged, a.Repaired, a.Foreign, a.Unrecorded, a.Changed, a.Gone, a.HeadersDiffer, a.HeadersRepaired, a.PropertiesDiffer, a.PropertiesRepaired}, 2))
	if a.ReadCount > 0 {
		c.say("  read through: %s, %s (seed %d)", count(a.ReadCount, "object"), size(a.ReadBytes), a.Seed)
	}
	if r.Totals.Copied > 0 {
		c.say("  sent again: %s, %s", count(r.Totals.Copied, "object"), size(r.Totals.Bytes))
	}
	c.say("  %s", replicas(r.Replicas))
}

// showPointAudit prints what an audit of restore points saw.
func showPointAudit(c *console, r report.Result) {
	a := r.PointAudit
	c.say("%s: %s found as recorded (%s), %s", transport.PrintName(r.Policy), count(int64(a.Whole), "copy"), seen(a.ByRegion), inAll(a.Points, a.Alone))
	c.say("  %s listed as recorded", count(a.Objects, "object"))
	if line := joined([]string{"copies that cannot be restored", "objects missing", "damaged", "records lost", "repaired"},
		[]int64{int64(a.Broken), a.Missing, a.Damaged, a.LostRecords, a.Repaired}, 0); line != "" {
		c.say("  %s", line)
	}
	if a.ReadCount > 0 {
		c.say("  read through: %s, %s (seed %d)", count(a.ReadCount, "object"), size(a.ReadBytes), a.Seed)
	}
	if r.Totals.Copied > 0 {
		c.say("  sent again: %s, %s", count(r.Totals.Copied, "object"), size(r.Totals.Bytes))
	}
	c.say("  %s", asPoints(replicas(r.Replicas)))
}

func seen(byRegion map[string]int64) string {
	out := ""
	for i, name := range sortedNames(byRegion) {
		if i > 0 {
			out += ", "
		}
		out += name + " " + humanize.Comma(byRegion[name])
	}
	if out == "" {
		return "none"
	}
	return out
}
