package replicator

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"farshore/replicator/plan"
	"farshore/replicator/report"
	"farshore/transport"
)

// The audit of containers compares what stands at each destination with what passes
// have carried there: properties, how versions are kept, the container itself. Passes
// ask a destination for none of it while the source does not change. A repair sets
// again what was changed there, as it does with headers of objects; what passes would
// not touch (set by others and never at the source, edited where there is a direction
// back, changed at both ends) it does not touch either.

// properties audits the containers of a job's destinations. Without the source nothing
// is known of what they should have, which summary says.
func (x *auditJob) properties(ctx context.Context) error {
	if x.s.unseen.Load() || x.p.src == nil {
		return nil
	}
	for _, d := range x.p.dests {
		if d.dead.Load() {
			continue
		}
		if err := x.container(ctx, d); err != nil {
			if ctx.Err() != nil || !regionTrouble(err) {
				return err
			}
			x.p.lose(d, err)
		}
	}
	return nil
}

// container audits one of them.
func (x *auditJob) container(ctx context.Context, d *dest) error {
	pr, err := x.p.properties(ctx, d)
	if err != nil {
		return err
	}
	var last [8]byte
	carried := false
	if !pr.off {
		if last, _, carried, err = x.e.o.Ledger.Properties(pr.route); err != nil {
			return err
		}
	}
	if d.absent {
		if carried || !d.info.Listed.IsZero() {
			return x.lostContainer(ctx, d)
		}
		return nil
	}
	if err := x.keeping(ctx, d, *d.seen); err != nil || pr.off || !carried || x.p.partial(d) && !pr.own.Made {
		return err
	}
	if x.audited[pr.route] { // by the job over another part of it
		return nil
	}
	x.audited[pr.route] = true
	pr.mu.Lock()
	defer pr.mu.Unlock()
	pr.own.Policy = d.seen.Policy
	if x.p.lossFindings(d, pr); pr.blocked {
		return nil
	}
	return x.drifted(ctx, d, pr, join(d.seen.Header, d.seen.Keys), last != pr.digest)
}

// lostContainer deals with a container that passes have made or filled and that is gone.
func (x *auditJob) lostContainer(ctx context.Context, d *dest) error {
	const cause = "the container is gone there"
	if !x.o.Repair {
		x.addOf(d, report.KindMissing, report.Error, cause, "make it again, with its properties and objects: farshore audit --repair")
		return nil
	}
	if err := x.p.ensureDest(ctx, d); err != nil {
		return err
	}
	info, err := d.ep.Container(ctx, d.side.Container)
	if err != nil {
		return err
	}
	x.addOf(d, report.KindRepaired, report.Info, cause+"; it was made again", "")
	return x.keeping(ctx, d, info) // a new container keeps no versions
}

// drifted compares a container's properties with those that were carried, and sets
// again, if that was asked for, what others changed; pr.mu is held. waiting says that
// the source's changed since: the next pass carries that.
func (x *auditJob) drifted(ctx context.Context, d *dest, pr *destProps, there transport.Header, waiting bool) error {
	m := x.p.merging(pr, there, func(n string) bool { return !pr.own.Open || !plan.IsQuota(n) })
	takeover := m.Takeover
	m.Takeover = false // what others changed is to be told apart from what changed at the source
	out := m.Do()
	fix := slices.Clone(out.Drifted)
	for _, n := range out.Touched() {
		if !waiting { // a repair that failed, or died, beside its write
			fix = append(fix, n)
			continue
		}
		x.addOf(d, report.KindUnrecorded, report.Info, n+" changed at the source since it was carried", "the next farshore sync carries it")
	}
	for _, n := range out.Foreign {
		if !slices.Contains(pr.own.Foreign, n) {
			x.addOf(d, report.KindForeignProperty, report.Info, n+" was set there by others, and the source has none; it is left alone", "nothing has to be done")
		}
	}
	x.propertiesDiffer.Add(int64(len(fix) + len(out.Conflicts)))
	if takeover {
		fix = append(fix, out.Conflicts...)
	}
	want := map[string]plan.Property{}
	for _, w := range pr.want {
		want[w.Name] = w
	}
	cause := func(n, when string) string {
		return n + " was changed there by others" + when + x.valuesOf(n, want[n].Value, there[n])
	}
	const since, both = " since it was carried", ", and at the source too, or before farshore came"
	for _, n := range out.Conflicts {
		if !takeover {
			x.addOf(d, report.KindConflict, report.Error, cause(n, both)+"; it is left alone",
				"give both the same value, or "+takeoverHint(x.policy)+" and run farshore sync")
		}
	}
	if !x.setsAgain() {
		for _, n := range fix {
			x.addOf(d, report.KindDegraded, report.Warn, cause(n, since), "give it the source's again with farshore audit --repair")
		}
		return nil
	}
	return x.setAgain(ctx, d, pr, there, want, fix, func(n string) string { return cause(n, since) })
}

// setAgain gives a container the source's properties again and looks at them once more.
func (x *auditJob) setAgain(ctx context.Context, d *dest, pr *destProps, there transport.Header, want map[string]plan.Property, names []string, cause func(string) string) error {
	if len(names) == 0 {
		return nil
	}
	do := plan.Merged{Set: transport.Header{}, Decided: names, Next: map[string]plan.Agreed{}}
	for _, n := range names {
		w := want[n]
		if w.Value == "" {
			do.Remove = append(do.Remove, n)
		} else {
			do.Set[n] = w.Value
		}
		if w.Source != "" {
			do.Next[n] = plan.Agreed{From: plan.PropertyDigest(n, w.Source), To: plan.PropertyDigest(n, w.Value), By: pr.route}
		}
	}
	if done, err := x.p.apply(ctx, d, pr, there, do); err != nil || !done {
		return err
	}
	info, err := d.ep.Container(ctx, d.side.Container)
	if err != nil {
		return err
	}
	now := join(info.Header, info.Keys)
	for _, n := range names {
		if now[n] != want[n].Value {
			x.addOf(d, report.KindDegraded, report.Warn, cause(n)+"; its repair failed: the region does not keep it", "look whether the region allows it: farshore region check "+d.side.Region)
			continue
		}
		x.propertiesRepaired.Add(1)
		x.addOf(d, report.KindRepaired, report.Info, cause(n)+"; it was set again, and seen there", "")
	}
	return nil
}

// valuesOf shows what a property should be and is, unless it is a secret.
func (x *auditJob) valuesOf(name, want, there string) string {
	if transport.IsKey(name) {
		return ""
	}
	return valuesOf(report.FidelityRow{Source: want, There: there})
}

// keeping compares how a container keeps what is overwritten in it with what passes have
// set: X-Versions-Enabled, and the older X-Versions-Location and X-History-Location.
func (x *auditJob) keeping(ctx context.Context, d *dest, info transport.ContainerInfo) error {
	mode, _, err := x.e.o.Ledger.Note(modeNote(d))
	if err != nil {
		return err
	}
	on := info.Versioning == versionsHeader
	switch string(mode) {
	case modeOn:
		if !on {
			err = x.keep(ctx, d, report.Error, "it keeps no versions there any more: what is overwritten is lost", transport.Header{versionsHeader: "true"})
		}
	case modeOff:
		if on {
			err = x.keep(ctx, d, report.Warn, "it keeps versions there, which are suspended at the source", transport.Header{versionsHeader: "false"})
		}
	}
	if err != nil {
		return err
	}
	noted, _, err := x.e.o.Ledger.Note(archiveNote(d))
	if err != nil {
		return err
	}
	for _, h := range archiveHeaders {
		to, ok := strings.CutPrefix(string(noted), h+"=")
		if is := transport.Unquote(info.Header[h]); ok && is != to {
			return x.keep(ctx, d, report.Warn, fmt.Sprintf("%s is %q there, not %q", h, is, to), transport.Header{h: to})
		}
	}
	return nil
}

// keep reports that a container does not keep versions as it should, after setting it
// if that was asked for.
func (x *auditJob) keep(ctx context.Context, d *dest, level report.Level, cause string, set transport.Header) error {
	x.propertiesDiffer.Add(1)
	if !x.o.Repair {
		x.addOf(d, report.KindDegraded, level, cause, "set it again with farshore audit --repair")
		return nil
	}
	err := d.ep.PostContainer(ctx, d.side.Container, set, nil)
	switch {
	case err != nil && (ctx.Err() != nil || !regionTrouble(err)):
		return err
	case err != nil:
		err = noVersions(err)
		x.addOf(d, report.KindDegraded, level, cause+"; its repair failed: "+err.Error(), cmp.Or(transport.HintOf(err), "see what the region says"))
		return nil
	}
	x.propertiesRepaired.Add(1)
	x.addOf(d, report.KindRepaired, report.Info, cause+"; it was set again", "look whether versions were lost meanwhile")
	return nil
}

// addOf reports something about a destination's container.
func (x *auditJob) addOf(d *dest, kind string, level report.Level, cause, hint string) {
	x.findings.Add(report.Finding{Kind: kind, Level: level, Policy: x.policy.Name, Region: d.side.Region, Container: d.side.Container, Op: "audit", Cause: cause, Hint: hint})
}
