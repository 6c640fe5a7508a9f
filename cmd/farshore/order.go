package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"farshore/replicator/control"
	"farshore/replicator/daemon"
	"farshore/transport"
)

func newPause(c *console) *cobra.Command {
	return newOrder(c, control.Pause, &cobra.Command{Use: "pause POLICY", Short: "Have farshore run begin nothing more for a policy",
		Long: `Have farshore run begin nothing more for a policy, until farshore resume: no pass, no audit,
no drill. What runs is not cut off. It lasts through restarts of farshore run.`,
		Example: `  farshore pause assets
  farshore pause assets --ledger /var/lib/farshore/ledger.db`})
}

func newResume(c *console) *cobra.Command {
	return newOrder(c, control.Resume, &cobra.Command{Use: "resume POLICY", Short: "Have farshore run work on a paused policy again",
		Long: `Have farshore run work on a paused policy again: what was due meanwhile is made up for once.`, Example: `  farshore resume assets`})
}

func newOrder(c *console, do string, cmd *cobra.Command) *cobra.Command {
	var o selectOptions
	cmd.Args, cmd.ValidArgsFunction = cobra.ExactArgs(1), completePolicies(&o)
	o.AddFlags(cmd.Flags())
	cmd.RunE = c.do(func(ctx context.Context, args []string) error {
		return order(ctx, &o, c, control.Order{Do: do, Policy: args[0]})
	})
	return cmd
}

func newRunNow(c *console) *cobra.Command {
	var o selectOptions
	var audit, drill bool
	x := control.Order{Do: control.RunNow}
	cmd := &cobra.Command{
		Use:   "run-now POLICY",
		Short: "Have farshore run make a pass, an audit or a drill of a policy now",
		Long: `Have farshore run make a pass of a policy now, or its audit or drill, due or not, also while
it is paused. It begins when what runs for the policy has ended; this command does not wait.`,
		Example: `  farshore run-now assets
  farshore run-now assets --audit
  farshore run-now assets --release-brake 4f1c09ab   # farshore status has the brake's token`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: completePolicies(&o),
	}
	o.AddFlags(cmd.Flags())
	cmd.Flags().BoolVar(&audit, "audit", false, "the policy's audit, with repair")
	cmd.Flags().BoolVar(&drill, "drill", false, "the policy's drill")
	cmd.Flags().StringVar(&x.ReleaseBrake, "release-brake", "", "let a pass go on that a brake stopped; farshore status has the TOKEN, and the log of farshore run")
	cmd.MarkFlagsMutuallyExclusive("audit", "drill", "release-brake")
	cmd.RunE = c.do(func(ctx context.Context, args []string) error {
		x.Policy, x.Kind = args[0], string(daemon.Pass)
		switch {
		case audit:
			x.Kind = string(daemon.Audit)
		case drill:
			x.Kind = string(daemon.Drill)
		}
		return order(ctx, &o, c, x)
	})
	return cmd
}

// order has the daemon that holds the ledger do something, and shows the policy's tasks.
func order(ctx context.Context, o *selectOptions, c *console, x control.Order) error {
	return ask(ctx, o, c, func(ctx context.Context, cl *control.Client) (control.Status, error) { return cl.Order(ctx, x) },
		func(st control.Status) {
			for _, t := range st.Tasks {
				if t.Policy == x.Policy {
					c.say("%s", taskLine(t))
				}
			}
		})
}

// showTasks prints what a daemon does when.
func showTasks(c *console, tasks []control.Task) {
	for _, t := range tasks {
		c.warn("  %s", taskLine(t))
	}
}

// taskLine is a task on one line.
func taskLine(t control.Task) string { return taskText(t, timeOf) }

// taskText has what is short first: the end of a line may be cut.
func taskText(t control.Task, at func(time.Time) string) string {
	var says []string
	if t.Paused {
		says = append(says, "paused")
	}
	if t.Asked {
		says = append(says, "asked for, and begins when it can")
	}
	switch {
	case t.Running:
		says = append(says, "since "+at(t.Began))
	case t.Began.IsZero():
		says = append(says, "never yet")
	case t.Ended.IsZero():
		says = append(says, "was cut short at its last run, of "+at(t.Began))
	default:
		says = append(says, "last at "+at(t.Began)+", it took "+seconds(t.Ended.Sub(t.Began)))
	}
	if !t.Next.IsZero() {
		says = append(says, "next at "+at(t.Next))
	}
	if !t.Running && t.Error != "" {
		says = append(says, "it FAILED: "+t.Error)
	} else if !t.Running && t.Errors > 0 {
		says = append(says, count(t.Errors, "error finding"))
	}
	if !t.Running {
		for _, token := range t.Brakes {
			says = append(says, "if that is meant: "+releaseLine(t.Policy, token))
		}
	}
	return transport.PrintName(t.Policy) + ": " + t.Kind + " " + strings.Join(says, "; ")
}

// releaseLine is the command that lets a pass go on which a brake stopped.
func releaseLine(policy, token string) string {
	return "farshore run-now " + quoted(policy) + " --release-brake " + token
}
