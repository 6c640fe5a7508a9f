package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/replicator/volumes"
	"farshore/store"
	"farshore/transport"
)

type drillOptions struct {
	selectOptions
	Point   string
	Regions []string
	Type    string
	Read    string
	Seed    int64
	Wait    time.Duration
	Out     string
	List    bool
	Show    string
}

// AddFlags adds them.
func (o *drillOptions) AddFlags(f *pflag.FlagSet) {
	o.selectOptions.AddFlags(f)
	f.StringVar(&o.Point, "point", "", "instead of a policy: one point, as farshore restore takes it")
	f.StringSliceVar(&o.Regions, "region", nil, "only in these regions (default: every destination of the policy)")
	f.StringVar(&o.Type, "type", "", "volume type of the scratch volumes (default: as farshore restore chooses)")
	f.StringVar(&o.Read, "read", "100%", "of a policy about containers: restore this share of the objects, such as 5%")
	f.Int64Var(&o.Seed, "seed", 0, "take the same sample as an earlier drill, whose report has it")
	f.DurationVar(&o.Wait, "wait", volumes.DefaultWait, "how long to wait for one thing that the region's Cinder does")
	f.StringVar(&o.Out, "out", "", "write the report into this folder, as text, JSON and one HTML page that needs nothing else")
	f.BoolVar(&o.List, "list", false, "list the reports that the ledger has (of the policy, if one is named)")
	f.StringVar(&o.Show, "show", "", "show the report with this id (or the beginning of it) from the ledger; with --out write it again")
}

func newDrill(c *console) *cobra.Command {
	var o drillOptions
	cmd := &cobra.Command{
		Use:   "drill POLICY | --point POINT --region REGION",
		Short: "Rehearse a restore: restore into scratch resources, prove it, measure it, remove it",
		Long: `Rehearse what farshore restore would do after a disaster. Of each volume of the policy
the newest point is restored into a scratch volume in each destination; that volume is
backed up into a scratch container, every block's SHA-256 is compared with the point's,
and all of it is removed again. The report says what was proven, by which digests, and
how long each phase took (RTO); it is kept in the ledger and, with --out, written to files.
Of a policy about containers all objects, or the share that --read gives, are read from
the replica, written to a scratch container and read again from there.

It asks nothing of the source region, and needs no ledger that knows the points: what a
region holds tells of itself. What fails makes the command end with 3. What an
interrupted drill left behind (everything called farshore-scratch-…) is removed by the
next one.`,
		Example: `  farshore drill databases                                # every volume, in every destination
  farshore drill databases --region lyon --out /srv/drills
  farshore drill --point 3fa9c1d2 --region lyon
  farshore drill assets --read 5%                         # a policy about containers
  farshore drill --list
  farshore drill --show 91c2 --out .`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: completePolicies(&o.selectOptions),
	}
	o.AddFlags(cmd.Flags())
	c.completes(cmd, "region", completeRegions(&o.selectOptions))
	_ = cmd.MarkFlagDirname("out")
	cmd.RunE = c.do(func(ctx context.Context, args []string) error {
		if o.List || o.Show != "" {
			return showDrills(ctx, &o, args, c)
		}
		return runDrill(ctx, &o, args, c)
	})
	return cmd
}

// completePolicies offers the policies of the file.
func completePolicies(o *selectOptions) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		f, err := o.load()
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return policyNames(f), cobra.ShellCompDirectiveNoFileComp
	}
}

// What says how objects, and how volumes, are restored.
var (
	objectFlags = []string{"read", "seed"}
	volumeFlags = []string{"type", "wait"}
)

// without refuses flags that would do nothing.
func (o *drillOptions) without(why string, names ...string) error {
	if name := given(o.flags, names); name != "" {
		return usagef("leave it out: "+why, "--%s has nothing to say here", name)
	}
	return nil
}

// request reads the command line.
func (o *drillOptions) request(args []string) (volumes.DrillRequest, *volumeWork, error) {
	r := volumes.DrillRequest{Point: o.Point, Regions: o.Regions, Type: o.Type, Wait: o.Wait, Seed: o.Seed, Version: version}
	share, err := policies.ParseShare(o.Read)
	switch {
	case err != nil || share <= 0:
		return r, nil, usagef("more than 0%, up to 100%", "--read %s is no share", o.Read)
	case o.Point == "" && len(args) == 0:
		return r, nil, usagef("name a policy, or --point POINT and --region REGION", "drill what?")
	case o.Point != "" && len(args) > 0:
		return r, nil, usagef("leave one of them out", "a policy and --point are both given")
	case o.Point != "" && len(o.Regions) == 0:
		return r, nil, usagef("add --region REGION", "--point needs the region that restores it")
	case o.Wait < time.Second:
		return r, nil, usagef("", "--wait is at least 1s, not %s", o.Wait)
	}
	if o.Point != "" {
		if err := o.without("a point is a volume's", objectFlags...); err != nil {
			return r, nil, err
		}
	}
	r.Share = float64(share)
	w, err := chooseRegions(o.Regions, o.selectOptions, nil)
	if err != nil || len(args) == 0 {
		return r, w, err
	}
	if w.file == nil {
		_, err := o.load() // says where it looked
		return r, nil, err
	}
	named, err := policiesNamed(w.file, args)
	if err != nil {
		return r, nil, err
	}
	p := named[0]
	about, others := "volumes", objectFlags
	if p.Volumes == nil {
		about, others = "containers", volumeFlags
	}
	if err := o.without("policy "+p.Name+" is about "+about, others...); err != nil {
		return r, nil, err
	}
	for _, region := range o.Regions {
		if !slices.Contains(p.To, region) && region != p.From {
			return r, nil, usagef("it copies from "+p.From+" to "+strings.Join(p.To, ", "), "policy %s does not copy to region %s", p.Name, region)
		}
	}
	if len(o.Regions) == 0 {
		for _, region := range p.To {
			w.regions[region] = w.file.Regions[region]
		}
	}
	r.Policy, w.about = p, []string{p.Name}
	// One region that refuses the login keeps no other from its drill.
	w.spare = func(name string, names []string, failed []error) bool { return len(names) > 1 }
	return r, w, nil
}

// writable finds out before a drill whether its report can be written into a folder,
// which it makes; "" is none. Where a command was passed on, who asked has done so.
func (c *console) writable(folder string) error {
	if folder == "" || c.guest != nil {
		return nil
	}
	err := os.MkdirAll(folder, 0o755)
	if err == nil {
		var f *os.File
		if f, err = os.CreateTemp(folder, ".farshore-drill-*"); err == nil {
			err = errors.Join(f.Close(), os.Remove(f.Name()))
		}
	}
	if err != nil {
		return &hintError{op: "write the report", item: folder, err: err, hint: "nothing was started: name a folder with --out that can be written to"}
	}
	return nil
}

// drillResult is the result of drill in JSON.
type drillResult struct {
	Ledger string       `json:"ledger"`
	Drill  report.Drill `json:"drill"`
	Files  []string     `json:"files,omitempty"`
}

func runDrill(ctx context.Context, o *drillOptions, args []string, c *console) error {
	r, w, err := o.request(args)
	if err == nil {
		err = c.writable(o.Out)
	}
	if err != nil {
		return err
	}
	if o.Seed == 0 {
		r.Seed = newSeed()
	}
	out := &drillResult{Ledger: w.ledger}
	err = withVolumes(ctx, w, c, func(ctx context.Context, s *volumes.Shipper) (err error) {
		out.Drill, err = s.Drill(ctx, r)
		return err
	})
	if err != nil {
		return err
	}
	c.result = out
	showDrill(c, out.Drill)
	if out.Files, err = c.writeDrill(o.Out, out.Drill); err != nil {
		return err
	}
	for _, f := range out.Files {
		c.say("wrote %s", f)
	}
	if !out.Drill.OK {
		return &findingsError{n: max(out.Drill.Errors, 1)}
	}
	return nil
}

// drillsResult is the result of drill --list and --show in JSON.
type drillsResult struct {
	Ledger string         `json:"ledger"`
	Drills []report.Drill `json:"drills"`
	Files  []string       `json:"files,omitempty"`
}

// showDrills lists or shows reports of the ledger.
func showDrills(ctx context.Context, o *drillOptions, args []string, c *console) error {
	others := append([]string{"point", "region"}, append(objectFlags, volumeFlags...)...)
	if o.Show == "" {
		others = append(others, "out") // the reports are many
	}
	if err := o.without("nothing is restored", others...); err != nil {
		return err
	}
	path, err := o.findLedger()
	if err != nil {
		return err
	}
	l, closing, err := c.look(ctx, path)
	if errors.Is(err, os.ErrNotExist) {
		return &hintError{op: "open ledger", item: path, err: errors.New("there is none, so no drill has been"), hint: "name another with --ledger"}
	}
	if err != nil {
		return err
	}
	defer func() { _ = closing() }()
	policy := ""
	if len(args) > 0 {
		policy = args[0]
	}
	list, err := l.Drills(policy)
	if err == nil && len(list) == 0 && policy != "" {
		err = o.knownToDrill(l, policy)
	}
	if err != nil {
		return err
	}
	out := &drillsResult{Ledger: path, Drills: []report.Drill{}}
	for _, x := range list {
		var d report.Drill
		if o.Show != "" && (len(x.ID) < len(o.Show) || x.ID[:len(o.Show)] != o.Show) {
			continue
		}
		if err := json.Unmarshal(x.Report, &d); err != nil {
			return fmt.Errorf("read the report of drill %s: %w", x.ID, err)
		}
		out.Drills = append(out.Drills, d)
	}
	c.result = out
	if o.Show == "" {
		for _, d := range out.Drills {
			c.say("%s  %s  %s  %s", d.ID, timeOf(d.Began), verdict(d.OK), drillLine(d))
		}
		if len(out.Drills) == 0 {
			c.say("no drill yet")
		}
		return nil
	}
	if len(out.Drills) != 1 {
		return &hintError{op: "find drill", item: o.Show, err: fmt.Errorf("%d reports have an id that begins so", len(out.Drills)), hint: "farshore drill --list shows them"}
	}
	showDrill(c, out.Drills[0])
	if out.Files, err = c.writeDrill(o.Out, out.Drills[0]); err != nil {
		return err
	}
	for _, f := range out.Files {
		c.say("wrote %s", f)
	}
	return nil
}

// knownToDrill refuses a policy that is neither in the policy file nor was ever drilled.
func (o *drillOptions) knownToDrill(l *store.Ledger, policy string) error {
	all, err := l.Drills("")
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, d := range all {
		known[d.Policy] = true
	}
	o.addNames(known, anyPolicy)
	delete(known, "") // of drills of one point
	if known[policy] {
		return nil
	}
	return usagef("there are: "+cmp.Or(strings.Join(sortedNames(known), ", "), "none"), "no policy %q", policy)
}

func verdict(ok bool) string {
	if ok {
		return "passed"
	}
	return "FAILED"
}

// drillLine is a drill on one line.
func drillLine(d report.Drill) string {
	what := "point"
	if d.Policy != "" {
		what = transport.PrintName(d.Policy)
	}
	if len(d.Containers) > 0 {
		return fmt.Sprintf("%s: %s, %s", what, count(int64(len(d.Containers)), "container"), exactly(d.Seconds))
	}
	// a restore of each volume in each region
	restores := fmt.Sprintf("%s: %s, ", what, count(int64(len(d.Volumes)), "restore"))
	if d.RTO == 0 { // which would read as the best of all
		return restores + "none came to its end"
	}
	return restores + fmt.Sprintf("RTO %s, RPO %s", exactly(d.RTO), exactly(d.RPO))
}

// showDrill prints a report.
func showDrill(c *console, d report.Drill) {
	say := c.say
	if !d.OK {
		say = c.warn // loudly, with --quiet too
	}
	say("drill %s %s: %s", d.ID, verdict(d.OK), drillLine(d))
	findings := d.Findings
	called := callVolumes(d.Volumes, func(v report.DrillVolume) (id, name string) {
		return cmp.Or(v.Restore.SourceVolume, v.Restore.Point), v.Restore.SourceVolumeName
	})
	for _, v := range d.Volumes {
		r := v.Restore
		findings = slices.DeleteFunc(slices.Clone(findings), func(f report.Finding) bool { return f.Region == r.Region && f.Cause == v.Cause }) // told here
		name := called(v)
		if !v.OK {
			c.warn("%s in %s: FAILED: %s", name, r.Region, cmp.Or(v.Cause, "it could not be removed"))
			if v.Hint != "" {
				c.warn("    → %s", v.Hint)
			}
		} else {
			c.say("%s in %s: restored from point %s of %s (%s old)", name, r.Region, r.Point, timeOf(r.Taken), exactly(v.Age))
		}
		if r.RTO > 0 {
			showPhases(c, r)
		}
		if r.Proof != nil {
			showProof(c, *r.Proof)
		}
	}
	for _, x := range d.Containers {
		line := fmt.Sprintf("%s:%s: %s of %s restored and compared, %s in %s", x.Region, transport.PrintName(x.Container), count(x.Restored, "object"), humanize.Comma(x.Listed), size(x.Bytes), exactly(x.Seconds+x.Verify))
		if x.OK {
			c.say("%s", line)
			continue
		}
		c.warn("FAILED: %s; %d differ, %d failed%s", line, x.Differing, x.Failed, of("; ", x.Cause))
	}
	showFindings(c, findings, int64(len(findings)))
}

// writeDrill writes a report into a folder in three forms; "" writes nothing.
func (c *console) writeDrill(folder string, d report.Drill) ([]string, error) {
	if folder == "" {
		return nil, nil
	}
	if c.guest == nil {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, fmt.Errorf("make the folder of the report: %w", err)
		}
	}
	forms := map[string]func(io.Writer) error{
		".html": func(w io.Writer) error { return volumes.DrillPage(w, d) },
		".json": func(w io.Writer) error { return writeJSON(w, d) },
		".txt": func(w io.Writer) error {
			t := newConsole(w, w, nil)
			showDrill(t, d)
			return t.lost
		},
	}
	base := filepath.Join(folder, fmt.Sprintf("drill-%s-%s", d.Began.UTC().Format("20060102T150405Z"), d.ID))
	var files []string
	for _, ext := range sortedNames(forms) {
		var text bytes.Buffer
		err := forms[ext](&text)
		if err == nil {
			err = c.write(base+ext, text.Bytes())
		}
		if err != nil {
			return files, fmt.Errorf("write the report: %w", err)
		}
		files = append(files, base+ext)
	}
	return files, nil
}
