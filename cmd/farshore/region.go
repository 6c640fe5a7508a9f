package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
	"farshore/transport/swift"
	"farshore/transport/wire"
)

type regionCheckOptions struct {
	selectOptions
	Probe     bool
	Scratch   string
	NoVolumes bool
}

func newRegion(c *console) *cobra.Command {
	var o regionCheckOptions
	cmd := &cobra.Command{
		Use: "check NAME", Short: "Say whether a region can be copied from and to, and what will not work",
		Long: `Log in to a region and say what it can do: NAME is a region of the policy file, or else an entry
of clouds.yaml. Without --probe nothing is written there. With it, what the engine relies on is
really tried in a scratch container, which is removed again, and the answers are kept in the
ledger, so that passes are planned by them.

Of block storage it says where backups of volumes are stored, which decides whether volumes can be
shipped; who may import backup records (of the policy file, import_cloud's login is asked); what of
the quotas is used; which volume types there are; and whether a token lives as long as a backup of
the largest volume takes. Where no backup shows where they are stored, --probe makes a volume of
1 GiB and a backup of it, looks, and deletes both.`,
		Example: `  farshore region check lyon
  farshore region check lyon --probe
  farshore region check lyon --probe --scratch my-own-container
  farshore region check lyon --probe --no-volumes`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: completeRegions(&o.selectOptions),
	}
	o.AddFlags(cmd.Flags())
	cmd.Flags().BoolVar(&o.Probe, "probe", false, "try what is needed in a scratch container")
	cmd.Flags().StringVar(&o.Scratch, "scratch", ".farshore-probe", "the container to try in; made and removed again if it is missing")
	cmd.Flags().BoolVar(&o.NoVolumes, "no-volumes", false, "leave block storage out")
	cmd.RunE = c.do(func(ctx context.Context, args []string) error { return runRegionCheck(ctx, &o, args[0], c) })
	return group(c, "region", "Look at a region", cmd)
}

// regionResult is the result of region check in JSON.
type regionResult struct {
	Region      string        `json:"region"`
	Project     string        `json:"project"`
	URL         string        `json:"url"`
	SkewSeconds *float64      `json:"clock_skew_seconds"` // the region's clock minus this machine's; null: unknown
	Probed      bool          `json:"probed"`
	Source      bool          `json:"can_be_source"`
	Destination *bool         `json:"can_be_destination"` // null: not known without --probe
	Checks      []swift.Check `json:"checks"`
	Ledger      string        `json:"recorded_in"` // empty: the answers were not kept
	Blocks      *blockResult  `json:"block_storage"`
}

func runRegionCheck(ctx context.Context, o *regionCheckOptions, name string, c *console) error {
	r, ledger, err := findRegion(o, name)
	if err != nil {
		return err
	}
	l, err := connect(ctx, map[string]policies.Region{name: r}, wire.DefaultIdle, none, report.NewProgress(time.Now()), c.logger())
	if err != nil {
		return err
	}
	defer l.Close()
	if err := l.down[name]; err != nil {
		return err
	}
	var found swift.ProbeReport
	if o.Probe {
		found, err = l.raw[name].Probe(ctx, o.Scratch)
		if transport.Is(err, transport.Denied) && found.Answers()["create-container"] == transport.No {
			err = nil // a login that only reads: that is an answer, and the rest was found out
		}
	} else {
		found, err = l.raw[name].Check(ctx)
	}
	if err != nil {
		return err
	}
	answers := found.Answers()
	out := regionResult{Region: name, Project: l.open[name].Identity().Project, URL: found.URL, Probed: o.Probe, Checks: found.Checks,
		Source: answers["account"] != transport.No && answers["list-containers"] != transport.No && answers["read"] != transport.No && answers["list"] != transport.No}
	if skew, _, ok := l.open[name].ClockSkew(); ok {
		s := skew.Seconds()
		out.SkewSeconds = &s
	}
	if !o.NoVolumes {
		if out.Blocks, err = checkBlocks(ctx, l, name, o.Probe, c); err != nil {
			return err
		}
	}
	if o.Probe {
		can := answers["write"] == transport.Yes && answers["read"] == transport.Yes && answers["delete"] == transport.Yes
		out.Destination = &can
		if err := keepAnswers(ctx, ledger, name, answers, out.Blocks); err != nil {
			fmt.Fprintf(c, "%s  the answers were not kept in the ledger: check again later\n", textOf(err))
		} else {
			out.Ledger = ledger
		}
	}
	c.result = out
	abilities, err := l.sinks[name].Abilities(ctx)
	if err != nil {
		return err
	}
	showRegion(c, out, abilities)
	if !o.NoVolumes {
		showBlocks(c, out.Blocks)
	}
	if out.Ledger != "" {
		c.say("  kept in ledger %s", out.Ledger)
	}
	badImport := out.Blocks != nil && slices.ContainsFunc(out.Blocks.Checks, func(x swift.Check) bool { return x.Name == "import-login" })
	if !out.Source || out.Destination != nil && !*out.Destination || badImport {
		return &findingsError{n: 1}
	}
	return nil
}

// findRegion finds a region by the policy file's name for it, or as a cloud.
func findRegion(o *regionCheckOptions, name string) (policies.Region, string, error) {
	if err := o.check(); err != nil {
		return policies.Region{}, "", err
	}
	f, err := o.load()
	var usage *usageError
	if err != nil && (o.PolicyFile != "" || !errors.As(err, &usage)) {
		return policies.Region{}, "", err
	}
	ledger := ledgerPath(o.Ledger, f)
	if f != nil && f.Regions[name].Name != "" {
		return f.Regions[name], ledger, nil
	}
	return policies.Region{Name: name, Cloud: name}, ledger, knownRegion(f, name)
}

// keepAnswers records what a probe found where the engine looks for it.
func keepAnswers(ctx context.Context, path, name string, answers map[string]transport.Answer, blocks *blockResult) error {
	tried := map[string]transport.Answer{}
	for k := range (transport.Abilities{}).Tried() {
		if a := answers[k]; a == transport.Yes || a == transport.No {
			tried[k] = a
		}
	}
	text, err := json.Marshal(tried)
	if err != nil {
		return fmt.Errorf("encode answers: %w", err)
	}
	l, err := store.Open(path, store.Options{Timeout: time.Second})
	if err != nil {
		return heldBy(ctx, path, err)
	}
	err = l.PutNote("probe/"+name, text)
	if err == nil && blocks != nil && blocks.Placement != transport.PlacedUnknown {
		err = l.PutNote("placement/"+name, []byte(blocks.Placement))
	}
	return errors.Join(err, l.Close())
}

// inWords says what an answer means for the work: when it is yes, and when it is no.
func inWords() map[string][2]string {
	return map[string][2]string{
		"login":            {"the login works", "the login does not work"},
		"account":          {"the account may be looked at", "the account may not be looked at"},
		"list-containers":  {"containers may be listed: policies can select them by wildcards", "containers may not be listed: name each in full"},
		"info":             {"the region publishes its limits", "the region does not publish its limits: Swift's defaults are assumed"},
		"create-container": {"containers may be made", "containers may not be made: make the destination's by hand, and try it with --probe --scratch CONTAINER"},
		"write":            {"objects may be written", "objects may not be written: it cannot be a destination"},
		"read":             {"objects may be read", "objects may not be read"},
		"list":             {"objects may be listed", "objects may not be listed: it cannot be a source"},
		"delete":           {"objects may be deleted", "objects may not be deleted: deletes cannot travel here, and segments stay behind"},
		"if-none-match":    {"a new object never overwrites one that somebody put there meanwhile", "a new object may overwrite one that somebody put there at the same moment: keep others from writing to destinations"},
		"if-match-range":   {"parts of an object are always of one version", "parts of an object may be of two versions while it is replaced: such copies are found by their checksum and made again"},
		"slo":              {"objects can be sent in segments", "objects cannot be sent in segments: one larger than a single PUT cannot be copied here"},
		"raw-manifest":     {"manifests can be read as they were written", "manifests cannot be read as they were written"},
		"copy-etag":        {"the region checks a server-side copy against the checksum", "the region does not check a server-side copy: each is compared afterwards"},
		"copy-collapses":   {"large objects arrive as the plain objects they were (large: exact)", "large objects stay in segments (large: segmented)"},
		"nul-end-marker":   {"listings can be cut exactly", "listings are cut on our side: a few names are listed twice"},
		"delete-after":     {"what an interrupted run leaves dies by itself", "what an interrupted run leaves must be swept by the next pass"},
		"bulk-delete":      {"many objects can be deleted by one request", "objects are deleted one by one"},
	}
}

func showRegion(c *console, r regionResult, a transport.Abilities) {
	can := "can be copied from"
	switch {
	case !r.Source:
		can = "cannot be copied from"
	case r.Destination == nil:
		can += "; whether it can be copied to is found out by --probe"
	}
	if r.Destination != nil {
		if *r.Destination {
			can += ", and can be copied to"
		} else {
			can += ", and cannot be copied to"
		}
	}
	c.say("region %s %s", r.Region, can)
	c.say("  object store %s, project %s", r.URL, r.Project)
	if r.SkewSeconds != nil {
		d := time.Duration(*r.SkewSeconds * float64(time.Second))
		verdict := "fine"
		if d.Abs() > maxSkew {
			verdict = "set both by NTP"
		}
		c.say("  its clock differs from this machine's by %s: %s", d.Round(time.Millisecond), verdict)
	}
	showChecks(c, r.Checks, inWords())
	c.say("  limits: %s a PUT, names of %d bytes, containers' names of %d, %d headers of metadata of %s together, %d segments a manifest",
		size(a.MaxObject), a.MaxName, a.MaxContainerName, a.MaxMetaCount, size(int64(a.MaxMetaBytes)), a.MaxSegments)
}

// showChecks says what was found out, in words.
func showChecks(c *console, checks []swift.Check, words map[string][2]string) {
	for _, x := range checks {
		text, mark := x.Name+" could not be found out", "?"
		switch x.Answer {
		case transport.Yes:
			text, mark = cmp.Or(words[x.Name][0], x.Name), "yes"
		case transport.No:
			text, mark = cmp.Or(words[x.Name][1], x.Name), "NO"
		}
		if x.Detail != "" {
			text += " (" + x.Detail + ")"
		}
		c.say("  %-3s  %s", mark, text)
	}
}
