package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/replicator/volumes"
	"farshore/transport"
)

// volumeFunc is what a command does for a policy of volumes; nil: it has nothing to say
// about them.
type volumeFunc func(context.Context, *volumes.Shipper, policies.Policy) (report.Result, error)

// aboutVolumes gives the regions of the tasks that are about volumes.
func (w *work) aboutVolumes() []string {
	var names []string
	for _, t := range w.tasks {
		if t.policy.Volumes != nil {
			names = append(names, append([]string{t.policy.From}, t.policy.To...)...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// shipper makes ready what commands about volumes work with: the block storage of the
// regions named and the logins that import. A region without block storage, or whose
// import login cannot be used, is left as it is: who needs it says so.
func (x *running) shipper(ctx context.Context, names []string) *volumes.Shipper {
	l := x.links
	if err := l.openBlocks(names...); err != nil {
		x.log.Warn("no block storage", "err", err)
	}
	l.openImports(ctx, names...)
	for name, err := range l.importErrs {
		x.log.Warn("no login to import by", "region", name, "err", err)
	}
	regions := map[string]volumes.Region{}
	for name, sink := range l.sinks {
		regions[name] = volumes.Region{Objects: sink, Blocks: l.blocks[name], Import: l.imports[name]}
	}
	return volumes.New(volumes.Options{Ledger: x.ledger, Engine: x.engine, Regions: regions, Down: l.down, Progress: x.progress, Log: x.log, Lag: x.lag, Hands: x.hands})
}

// importFindings says of the import logins of regions that they cannot be used.
func (l *links) importFindings(policy string, regions ...string) (out []report.Finding) {
	for _, name := range slices.Sorted(slices.Values(regions)) {
		if err := l.importErrs[name]; err != nil {
			hint := "records are imported by the region's own login, if it may; see import_cloud in the policy file"
			if h := transport.HintOf(err); h != "" {
				hint = h + ". Until then " + hint
			}
			out = append(out, report.Finding{Kind: report.KindNotImported, Level: report.Warn, Policy: policy, Region: name, Op: "log in to import", Cause: err.Error(), Hint: hint})
		}
	}
	return out
}

// showVolumes prints what one pass over volumes did.
func showVolumes(c *console, r report.Result) {
	v, t, name := r.Volumes, r.Totals, transport.PrintName(r.Policy)
	took := time.Duration(r.Seconds * float64(time.Second))
	c.say("%s: %s, %s in %s", name, count(v.Volumes, "volume"), landed(v.Landed, t.Bytes), seconds(took))
	line := count(v.Snapshots, "snapshot") + " taken"
	if v.Removed > 0 {
		line += ", " + humanize.Comma(v.Removed) + " removed again"
	}
	if v.Refused > 0 {
		line += ", " + count(v.Refused, "volume") + " left out"
	}
	c.say("  %s, %s", line, inAll(v.Points, v.Alone))
	showPointResults(c, "  ", r.Points)
	if t.Twice > 0 {
		c.say("  sent twice: %s, because tries failed or runs were interrupted", size(t.Twice))
	}
	showRetention(c, r.Retention, false)
	c.say("  %s", asPoints(replicas(r.Replicas)))
}

// inAll is how many points a policy has, and how many of them retention has left at the
// source alone.
func inAll(points, alone int64) string {
	line := count(points, "point") + " in all"
	if alone > 0 {
		line += ", " + humanize.Comma(alone) + " of them at the source alone"
	}
	return line
}

// asPoints says of points what is said of objects.
func asPoints(line string) string {
	return strings.NewReplacer("objects", "points", "object", "point", "confirmed copy", "landed copy", "confirmed copies", "landed copies").Replace(line)
}

func landed(n, bytes int64) string {
	if n == 0 && bytes == 0 {
		return "nothing to ship"
	}
	return fmt.Sprintf("%s landed, %s sent", count(n, "copy"), size(bytes))
}

// showPointResults prints each point on a line.
func showPointResults(c *console, indent string, list []report.PointResult) {
	called := callVolumes(list, func(x report.PointResult) (id, name string) { return x.Volume, x.VolumeName })
	for _, x := range list {
		c.say("%s%s%s", indent, called(x), pointLine(x))
	}
}

// callVolumes gives what the volumes of a list are called: by their names, those of one name by
// their ids, too.
func callVolumes[T any](list []T, of func(T) (id, name string)) func(T) string {
	ids := map[string]string{} // of the volume that has a name; empty: several have
	for _, x := range list {
		id, name := of(x)
		if other, ok := ids[name]; ok && other != id {
			id = ""
		}
		ids[name] = id
	}
	return func(x T) string {
		switch id, name := of(x); {
		case name == "":
			return id
		case ids[name] == "" && id != "":
			return transport.PrintName(name) + " (" + id + ")"
		default:
			return transport.PrintName(name)
		}
	}
}

// pointLine says of a point what it is, and where it stands.
func pointLine(x report.PointResult) (line string) {
	kind := "full (" + x.Why + ")"
	if x.Why == "" {
		kind = "full"
	}
	if x.Incremental {
		kind = "increment, " + humanize.Ordinal(x.Chain) + " of its chain"
	}
	if !x.Taken.IsZero() {
		line += " of " + x.Taken.Local().Format("2006-01-02 15:04:05")
	}
	line += ": " + kind
	if x.Bytes > 0 {
		line += ", " + size(x.Bytes)
	}
	for _, g := range x.Regions {
		line += "; " + g.Region + " " + g.State
	}
	return line
}

// showVolumePlan prints what a pass over volumes would do.
func showVolumePlan(c *console, r report.Result) {
	c.say("%s: %s, would make or go on with %s", transport.PrintName(r.Policy), count(r.Volumes.Volumes, "volume"), count(int64(len(r.Points)), "point"))
	showPointResults(c, "  ", r.Points)
	showRetention(c, r.Retention, true)
}
