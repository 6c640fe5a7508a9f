package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/transport"
)

// showAtMost is how many findings text shows; --json has them all (up to what is kept).
const showAtMost = 20

// showFindings prints findings, the worst first, one block each.
func showFindings(c *console, list []report.Finding, all int64) {
	rank := map[report.Level]int{report.Error: 0, report.Warn: 1, report.Info: 2}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b report.Finding) int { return cmp.Compare(rank[a.Level], rank[b.Level]) })
	shown := 0
	for _, f := range list {
		if c.quiet && f.Level != report.Error {
			continue
		}
		if shown++; shown > showAtMost {
			continue
		}
		head := fmt.Sprintf("%s: %s", f.Level, f.Kind)
		if at := place(f); at != "" {
			head += ": " + at
		}
		c.warn("%s", head)
		cause := f.Cause
		if f.Op != "" {
			cause = f.Op + ": " + cause
		}
		c.warn("    %s", cause)
		if f.Hint != "" {
			c.warn("    → %s", f.Hint)
		}
	}
	if more := max(all-int64(len(list)), 0) + int64(shown-min(shown, showAtMost)); more > 0 {
		c.warn("… and %s more (use --json)", humanize.Comma(more))
	}
}

// place is region:container/name, as far as a finding has them.
func place(f report.Finding) string {
	at := f.Region
	if f.Container != "" {
		if at != "" {
			at += ":"
		}
		at += transport.PrintName(f.Container)
	}
	if f.Name != "" {
		if at != "" {
			at += "/"
		}
		at += transport.PrintName(f.Name)
	}
	return at
}

// showResult prints what one policy's pass did.
func showResult(c *console, r report.Result) {
	if r.Volumes != nil {
		showVolumes(c, r)
		return
	}
	t, name := r.Totals, transport.PrintName(r.Policy)
	took := time.Duration(r.Seconds * float64(time.Second))
	copied := fmt.Sprintf("%s copied, %s in %s", count(t.Copied, "object"), size(t.Bytes), seconds(took))
	if t.Bytes > 0 && r.Seconds > 0.1 {
		copied += fmt.Sprintf(" (%s/s)", size(int64(float64(t.Bytes)/r.Seconds)))
	}
	c.say("%s: %s", name, copied)
	c.say("  %s", joined(
		[]string{"listed", "unchanged", "metadata updated", "properties carried", "adopted", "deleted", "waiting to be deleted", "conflicts", "cannot be kept", "failed"},
		[]int64{t.Listed, t.Unchanged, t.Metadata, t.Properties, t.Adopted, t.Deleted, t.Pending, t.Conflicts, t.Cannot, t.Failed}, 2))
	if len(t.ByRegion) > 1 {
		c.say("  sent: %s", byRegion(t.ByRegion))
	}
	if t.Twice > 0 {
		c.say("  sent twice: %s, because tries failed or runs were interrupted", size(t.Twice))
	}
	switch {
	case r.ResumedCopied > 0:
		c.say("  went on with an interrupted pass first: %s of the copies are of it, and counted as unchanged as well", humanize.Comma(r.ResumedCopied))
	case r.Resumed:
		c.say("  went on with an interrupted pass first")
	}
	c.say("  %s", replicas(r.Replicas))
}

// showPlan prints what a pass would do. The estimate needs a limit.
func showPlan(c *console, r report.Result, limit policies.Rate) {
	if r.Volumes != nil {
		showVolumePlan(c, r)
		return
	}
	t := r.Totals
	c.say("%s: would copy %s, %s", transport.PrintName(r.Policy), count(t.Copied, "object"), size(t.Bytes))
	c.say("  %s", joined(
		[]string{"listed", "unchanged", "metadata to look at", "properties to carry", "to adopt", "to delete", "conflicts", "cannot be kept"},
		[]int64{t.Listed, t.Unchanged, t.Metadata, t.Properties, t.Adopted, t.Deleted + t.Pending, t.Conflicts, t.Cannot}, 2))
	if len(t.ByRegion) > 1 {
		c.say("  to send: %s", byRegion(t.ByRegion))
	}
	if d := estimate(t.Bytes, limit); d > 0 {
		c.say("  at %s that takes at least %s", limit, seconds(d))
	}
	c.say("  %s now", replicas(r.Replicas))
}

// estimate is the least time that bytes take under a limit; 0 without one.
func estimate(bytes int64, limit policies.Rate) time.Duration {
	if limit <= 0 {
		return 0
	}
	return time.Duration(float64(bytes) / float64(limit) * float64(time.Second))
}

func replicas(r report.Replicas) string {
	switch {
	case r.Objects == 0 && !r.Satisfied:
		return "replicas: not judged"
	case r.Objects == 0:
		return "replicas: no objects"
	}
	copies := "a confirmed copy"
	if r.Wanted != 1 {
		copies = fmt.Sprintf("%d confirmed copies", r.Wanted)
	}
	line := fmt.Sprintf("replicas: %s of %s with %s", humanize.Comma(r.Objects-r.Short), count(r.Objects, "object"), copies)
	if r.Short > 0 {
		line += "; " + humanize.Comma(r.Short) + " with fewer"
	}
	return line
}

// joined lists counts by name, leaving out zeros after the first few.
func joined(names []string, counts []int64, always int) string {
	var parts []string
	for i, n := range counts {
		if i < always || n != 0 {
			parts = append(parts, humanize.Comma(n)+" "+names[i])
		}
	}
	return strings.Join(parts, ", ")
}

func byRegion(m map[string]int64) string {
	var parts []string
	for _, k := range sortedNames(m) {
		parts = append(parts, k+" "+size(m[k]))
	}
	return strings.Join(parts, ", ")
}

func sortedNames[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func count(n int64, noun string) string {
	return humanize.Comma(n) + " " + report.Noun(n, noun)
}

func size(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

// seconds rounds a time to what a person wants to know.
func seconds(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return policies.FormatDuration(d.Round(time.Second))
}
