package main

import (
	"context"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

type versionResult struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	System  string `json:"system"`
	Commit  string `json:"commit"` // empty: built outside of a checkout
}

// commit is set by the linker (see the Makefile); empty: what the build itself noted.
var commit = ""

func newVersion(c *console) *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Print the version", Example: "  farshore version --json", Args: cobra.NoArgs}
	cmd.RunE = c.do(func(context.Context, []string) error { return runVersion(c) })
	return cmd
}

func runVersion(c *console) error {
	v := versionResult{Version: version, Commit: commit, Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && v.Commit == "" {
				v.Commit = s.Value
			}
		}
	}
	c.result = v
	c.warn("farshore %s (%s, %s)", v.Version, v.Go, v.System)
	return nil
}
