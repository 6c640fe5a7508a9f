package main

import (
	"context"

	"github.com/spf13/cobra"
)

const rootLong = `Farshore keeps data that lives in one OpenStack region alive in others.

It copies Swift containers from a region to others, records every copy that a
destination confirmed in a ledger, and goes on from there after any interruption.
Logins come from clouds.yaml; what should be true stands in a policy file
(docs/policy.md), or on the command line for a single container.`

const envHelp = `Environment:
  OS_CLIENT_CONFIG_FILE  the clouds.yaml to use (else ./clouds.yaml, ~/.config/openstack/clouds.yaml,
                         /etc/openstack/clouds.yaml; a secure.yaml beside it is merged in)
  OS_CLOUD, OS_*         a cloud called "env" is read from the variables of an openrc file
  XDG_STATE_HOME         where the default ledger lies (else ~/.local/state)
  XDG_CONFIG_HOME        where the default policy file is looked for (else ~/.config)
  XDG_RUNTIME_DIR        where a control socket lies whose path would be too long beside the ledger`

// newRoot makes the whole command line.
func newRoot(c *console) *cobra.Command {
	root := &cobra.Command{
		Use: "farshore", Short: "Keep data of one OpenStack region alive in others", Long: rootLong,
		Example: `  farshore sync paris:photos lyon:photos        # one container, now
  farshore sync -f farshore.yaml                # every policy of a file, now
  farshore plan -f farshore.yaml                # what that would do
  farshore region check lyon --probe            # can this region do what is needed?`,
		Args: noSuchCommand, SilenceErrors: true, SilenceUsage: true,
		RunE: c.help,
	}
	root.SetOut(c.checked())
	root.SetErr(c.stderr)
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpCommand(&cobra.Command{Hidden: true, Use: "no-help"})
	c.AddFlags(root.PersistentFlags())
	root.AddCommand(newSync(c), newPlan(c), newAudit(c), newPoints(c), newRestore(c), newDrill(c), newMigrate(c), newRun(c), newStatus(c), newLimit(c), newPause(c), newResume(c), newRunNow(c), newCancel(c), newStop(c), newLedger(c), newPolicy(c), newRegion(c), newDemo(c), newVersion(c), newCompletion(c), newMan(c))
	finishHelp(root)
	return root
}

// runner is what a command does once its line is understood.
type runner func(ctx context.Context, args []string) error

// do makes a RunE of it, and notes that errors from here on are not of usage.
func (c *console) do(f runner) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := c.check(); err != nil {
			return err
		}
		c.started, c.cmd, c.words = true, cmd, args
		return f(cmd.Context(), args)
	}
}

// finishHelp ends every command's help with the exit codes and the environment.
func finishHelp(cmd *cobra.Command) {
	if cmd.Long == "" {
		cmd.Long = cmd.Short + "."
	}
	cmd.Long += helpTail()
	for _, sub := range cmd.Commands() {
		finishHelp(sub)
	}
}

// helpTail is what every command's help ends with.
func helpTail() string { return "\n\n" + exitHelp() + "\n\n" + envHelp }

// help is what a command says that only holds others. It is no JSON, so with --json
// the missing word is an error.
func (c *console) help(cmd *cobra.Command, _ []string) error {
	if c.json {
		return usagef("see "+cmd.CommandPath()+" --help", "%s needs a command", cmd.CommandPath())
	}
	return cmd.Help()
}

// group makes a command that only holds others.
func group(c *console, use, short string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: noSuchCommand, RunE: c.help}
	cmd.AddCommand(subs...)
	return cmd
}

// noSuchCommand refuses words behind a command that only holds others.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "see " + cmd.CommandPath() + " --help"
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "did you mean " + near[0] + "?"
	}
	return usagef(hint, "no command %q in %s", args[0], cmd.CommandPath())
}
