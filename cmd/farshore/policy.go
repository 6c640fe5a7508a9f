package main

import (
	"context"
	"os/user"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"farshore/policies"
	"farshore/transport/region"
)

func newPolicy(c *console) *cobra.Command {
	var o policyCheckOptions
	check := &cobra.Command{
		Use: "check [FILE]", Short: "Check a policy file, without asking any region",
		Long: `Check a policy file: unknown keys, wrong units, and combinations that cannot be meant, such
as two policies that write one container. All problems are shown, each with its place. Where
there is a clouds.yaml, the entries that the regions name must be in it.`,
		Example: `  farshore policy check                    # the file that other commands would take
  farshore policy check -f farshore.yaml   # or: farshore policy check farshore.yaml`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return []cobra.Completion{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
		},
	}
	o.AddFlags(check.Flags())
	check.RunE = c.do(func(_ context.Context, args []string) error {
		if err := o.take(args); err != nil {
			return err
		}
		return runPolicyCheck(o.PolicyFile, c)
	})
	return group(c, "policy", "Look after the policy file", check)
}

type policyCheckOptions struct{ selectOptions }

// AddFlags adds them: of what selects policies only the file is meant here.
func (o *policyCheckOptions) AddFlags(f *pflag.FlagSet) {
	o.flags = f
	o.addFile(f)
}

// take reads the argument, which says the same as the flag.
func (o *policyCheckOptions) take(args []string) error {
	if err := o.check(); err != nil {
		return err
	}
	file := strings.Join(args, "")
	switch {
	case len(args) > 0 && file == "":
		return usagef("leave it out for the default", "the argument names no file")
	case file != "" && o.PolicyFile != "" && file != o.PolicyFile:
		return usagef("name one of them", "two files are named: %s and %s", file, o.PolicyFile)
	case file != "":
		o.PolicyFile = file
	}
	return nil
}

type policyCheckResult struct {
	File     string      `json:"file"`
	Ledger   string      `json:"ledger"`
	Regions  []string    `json:"regions"`
	Policies []policyRow `json:"policies"`
	Warnings []string    `json:"warnings"` // what commands would go on without
}

type policyRow struct {
	Name       string   `json:"name"`
	From       string   `json:"from"`
	To         []string `json:"to"`
	Replicas   int      `json:"replicas"`
	Containers []string `json:"containers"`
	When       string   `json:"when"`
}

func runPolicyCheck(file string, c *console) error {
	f, _, err := loadPolicies(file)
	if err != nil {
		return err
	}
	if err := cloudsKnown(f); err != nil {
		return err
	}
	if _, err := hooksOf(f); err != nil {
		return err
	}
	out := policyCheckResult{File: f.Name, Ledger: ledgerPath("", f), Regions: sortedNames(f.Regions), Policies: []policyRow{}, Warnings: []string{}}
	if f.ControlGroup != "" {
		if _, err := user.LookupGroup(f.ControlGroup); err != nil {
			out.Warnings = append(out.Warnings, "control_group: this machine has no group "+f.ControlGroup+": farshore run would warn of it, and leave the socket to its own user")
		}
	}
	verdict := "no problems"
	if n := len(out.Warnings); n > 0 {
		verdict = count(int64(n), "warning")
	}
	c.say("%s: %s; %s, ledger %s", f.Name, verdict, count(int64(len(f.Regions)), "region"), out.Ledger)
	for _, w := range out.Warnings {
		c.warn("  warning: %s", w)
	}
	for _, p := range f.Policies {
		row := policyRow{Name: p.Name, From: p.From, To: p.To, Replicas: p.Replicas, Containers: p.Containers, When: when(p)}
		if row.Containers == nil {
			row.Containers = []string{}
		}
		out.Policies = append(out.Policies, row)
		what := strings.Join(p.Containers, " ")
		if p.Volumes != nil {
			what = "volumes"
		}
		c.say("  %s: %s of %s to %s, %s, %s", p.Name, what, p.From, strings.Join(p.To, ", "), count(int64(p.Replicas), "replica"), row.When)
	}
	c.result = out
	return nil
}

// cloudsKnown sees that what the file says of logins is in the clouds.yaml that other
// commands would read. Where there is none, or it cannot be read, they say so.
func cloudsKnown(f *policies.File) error {
	names, err := region.Names()
	if err != nil {
		return nil
	}
	for _, n := range sortedNames(f.Regions) {
		r := f.Regions[n]
		for _, x := range [][2]string{{"cloud", r.Cloud}, {"import_cloud", r.ImportCloud}} {
			if x[1] != "" && !slices.Contains(names, x[1]) && !fromEnvironment(x[1]) {
				return usagef("clouds.yaml has: "+strings.Join(names, ", "), "%s: region %s: its %s, %s, is no entry of clouds.yaml", f.Name, n, x[0], x[1])
			}
		}
	}
	return nil
}

// fromEnvironment reports whether a cloud's name stands for the OS_* variables.
func fromEnvironment(cloud string) bool { return cloud == "env" || cloud == "envvars" }

func when(p policies.Policy) string {
	if !p.Schedule.IsZero() {
		return "at " + p.Schedule.String()
	}
	return "every " + policies.FormatDuration(p.Every)
}
