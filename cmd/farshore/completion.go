package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"farshore/policies"
	"farshore/transport/region"
)

func newCompletion(c *console) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print a completion script for a shell",
		Long:  "Print a script that lets a shell complete commands, flags, policies of the policy file and clouds of clouds.yaml.",
		Example: `  source <(farshore completion bash)
  farshore completion bash > /etc/bash_completion.d/farshore
  farshore completion zsh > "${fpath[1]}/_farshore"
  farshore completion fish > ~/.config/fish/completions/farshore.fish`,
		Args: cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs), ValidArgs: []string{"bash", "zsh", "fish"},
	}
	cmd.RunE = c.do(func(_ context.Context, args []string) error {
		root := cmd.Root()
		switch args[0] {
		case "zsh":
			return root.GenZshCompletion(c.checked())
		case "fish":
			return root.GenFishCompletion(c.checked(), true)
		}
		return root.GenBashCompletionV2(c.checked(), true)
	})
	return cmd
}

// completeTasks offers policies, and clouds with a colon for ad hoc places. Containers
// are not offered: that would need a login at each press of the key.
func completeTasks(o *selectOptions) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var out []cobra.Completion
		adHoc := len(args) > 0 && strings.Contains(args[0], ":")
		if f, err := o.load(); err == nil && !adHoc {
			for _, p := range f.Policies {
				out = append(out, p.Name)
			}
		}
		if clouds, err := region.Names(); err == nil && (len(args) == 0 || adHoc) {
			for _, n := range clouds {
				out = append(out, n+":")
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
}

// completeMore offers the policies of the file that want chooses and that are not named yet.
func completeMore(o *selectOptions, want func(policies.Policy) bool) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var out []cobra.Completion
		if f, err := o.load(); err == nil {
			for _, p := range f.Policies {
				if want(p) && !slices.Contains(args, p.Name) {
					out = append(out, p.Name)
				}
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

func aboutVolumes(p policies.Policy) bool { return p.Volumes != nil }

func anyPolicy(policies.Policy) bool { return true }

// completeRegions offers the names that region check takes.
func completeRegions(o *selectOptions) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var out []cobra.Completion
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		if f, err := o.load(); err == nil {
			out = append(out, sortedNames(f.Regions)...)
		}
		if clouds, err := region.Names(); err == nil {
			out = append(out, clouds...)
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

// completes says what a flag's values are completed by. A command that is carried out for
// others has no shell, and cobra never forgets what it was told.
func (c *console) completes(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	if c.guest == nil {
		_ = cmd.RegisterFlagCompletionFunc(flag, f) // the error is of a flag that there is not
	}
}
