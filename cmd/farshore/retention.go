package main

import (
	"slices"

	"farshore/replicator/report"
	"farshore/transport"
)

// retentionWork counts what a retention would do.
func retentionWork(r *report.Retention) int64 {
	if r == nil {
		return 0
	}
	return int64(r.Deleted + r.Synthesized)
}

// showRetention prints what a retention did or, of a plan, would do; nothing if that is
// nothing.
func showRetention(c *console, r *report.Retention, plan bool) {
	if r == nil || r.Deleted+r.Synthesized+r.Failed == 0 {
		return
	}
	deleted, made := " deleted", " made"
	if plan {
		deleted, made = " to delete", " to make"
	}
	line := count(int64(r.Kept), "backup") + " kept, " + count(int64(r.Deleted), "backup") + deleted
	if r.Freed > 0 {
		line += " (" + size(r.Freed) + ")"
	}
	if r.Synthesized > 0 {
		line += ", " + count(int64(r.Synthesized), "synthetic full") + made
	}
	if r.Copied > 0 {
		line += " (" + size(r.Copied) + " copied inside the region)"
	}
	if r.Failed > 0 {
		line += ", " + count(int64(r.Failed), "act") + " not carried out"
	}
	c.say("  retention: %s", line)
	for _, x := range r.Points {
		if x.Act != report.Keep {
			c.say("    %s: %s %s of %s: %s", transport.PrintName(x.Region), x.Act, x.Point, x.Taken.Local().Format("2006-01-02 15:04:05"), x.Why)
		}
	}
}

// isAboutVolumes reports whether a policy of the work is.
func (w *work) isAboutVolumes(policy string) bool {
	return slices.ContainsFunc(w.tasks, func(t task) bool { return t.policy.Name == policy && t.policy.Volumes != nil })
}
