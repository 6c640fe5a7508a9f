package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"farshore/policies"
)

func newPolicy(c *console) *cobra.Command {
	check := &cobra.Command{
		Use: "check [FILE]", Short: "Check a policy file, without asking any region",
		Long: `Check a policy file: unknown keys, wrong units, and combinations that cannot be meant, such
as two policies that write one container. All problems are shown, each with its place.`,
		Example: `  farshore policy check farshore.yaml`,
		Args:    cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return []cobra.Completion{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
		},
	}
	check.RunE = c.do(func(_ context.Context, args []string) error {
		return runPolicyCheck(strings.Join(args, ""), c)
	})
	return group(c, "policy", "Look after the policy file", check)
}

type policyCheckResult struct {
	File     string      `json:"file"`
	Ledger   string      `json:"ledger"`
	Regions  []string    `json:"regions"`
	Policies []policyRow `json:"policies"`
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
	f, err := loadPolicies(file)
	if err != nil {
		return err
	}
	out := policyCheckResult{File: f.Name, Ledger: ledgerPath("", f), Regions: sortedNames(f.Regions), Policies: []policyRow{}}
	c.say("%s: no problems; %s, ledger %s", f.Name, count(int64(len(f.Regions)), "region"), out.Ledger)
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
		c.say("  %s: %s of %s to %s, %d replicas, %s", p.Name, what, p.From, strings.Join(p.To, ", "), p.Replicas, row.When)
	}
	c.result = out
	return nil
}

func when(p policies.Policy) string {
	if !p.Schedule.IsZero() {
		return "at " + p.Schedule.String()
	}
	return "every " + policies.FormatDuration(p.Every)
}
