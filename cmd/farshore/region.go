package main

import "github.com/spf13/cobra"

func newRegion(c *console) *cobra.Command { return group("region", "Look at a region") }
