package main

import (
	"context"

	"github.com/spf13/cobra"

	"farshore/replicator/control"
)

func newCancel(c *console) *cobra.Command {
	var o selectOptions
	var id string
	cmd := &cobra.Command{
		Use:   "cancel POLICY | --command ID",
		Short: "Have farshore run cut off what it does for a policy, or for somebody",
		Long: `Cut off the task of a policy that farshore run is at, as SIGTERM would: what is confirmed is
written down, and it is gone on with when it is due again; farshore run-now makes that now,
farshore pause never. With --command, cut off a command that is carried out for somebody;
farshore status shows their ids. It does not wait for the end.`,
		Example: `  farshore cancel assets
  farshore cancel --command 3`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: completePolicies(&o),
	}
	o.AddFlags(cmd.Flags())
	cmd.Flags().StringVar(&id, "command", "", "a command that is carried out for somebody, by its id")
	c.completes(cmd, "command", completeNothing)
	cmd.RunE = c.do(func(ctx context.Context, args []string) error {
		switch {
		case (id == "") == (len(args) == 0):
			return usagef("name one of them", "cancel what? A policy's task, or --command ID")
		case len(args) > 0:
			return order(ctx, &o, c, control.Order{Do: control.Cancel, Policy: args[0]})
		}
		return ask(ctx, &o, c, func(ctx context.Context, cl *control.Client) (control.Status, error) {
			return cl.Cancel(ctx, control.Cancelled{ID: id})
		}, func(control.Status) { c.say("command %s is ending", id) })
	})
	return cmd
}
