package replicator

import (
	"fmt"
	"slices"
	"strings"

	"farshore/replicator/plan"
	"farshore/replicator/report"
)

// propFinding is a finding about a property of a destination's container.
func (p *pass) propFinding(d *dest, kind string, level report.Level, cause, hint string) {
	p.findings.Add(report.Finding{Kind: kind, Level: level, Policy: p.job.Policy.Name, Region: d.side.Region, Container: d.side.Container,
		Op: "carry properties", Cause: cause, Hint: hint})
}

// lossFindings says what of a container cannot be kept. Every pass says it again, and
// asks nobody for it. In a strict policy it also keeps the container from being touched.
func (p *pass) lossFindings(d *dest, pr *destProps) {
	level := report.Warn
	if p.job.Policy.Strict {
		level = report.Error
	}
	for _, w := range pr.want {
		if len(w.Lost) == 0 {
			continue
		}
		pr.blocked = p.job.Policy.Strict
		p.propFinding(d, report.KindCannot, level, fmt.Sprintf("%s names %s, of whom the policy does not say who they are there: they were left out", w.Name, strings.Join(w.Lost, ", ")), p.idHint(d, w))
	}
	if pr.own.Blind {
		pr.blocked = p.job.Policy.Strict
		cause, hint := p.hidden()
		p.propFinding(d, report.KindCannot, level, cause, hint)
	}
	if pr.policy != "" && pr.own.Policy != "" && pr.own.Policy != pr.policy {
		pr.blocked = p.job.Policy.Strict
		p.propFinding(d, report.KindCannot, level, fmt.Sprintf("the container is in the storage policy %s there, not in %s", pr.own.Policy, pr.policy),
			"a container's storage policy cannot be changed: name the one you want in map: {storage_policies: {…}}, and remove the container there if it should be made again")
	}
}

func (p *pass) idHint(d *dest, w plan.Property) string {
	r := d.info.Route
	if slices.Contains(w.Lost, "project "+r.From.Project) {
		return fmt.Sprintf("map: {projects: {%s: %s}} in the policy says that the projects of the two accounts stand for each other; map: {users: …} does it for users", r.From.Project, r.To.Project)
	}
	return "say who they are in the policy: map: {projects: {…}, users: {…}}"
}

// mergeFindings says what was left alone.
func (p *pass) mergeFindings(d *dest, pr *destProps, m plan.Merged) {
	for _, n := range m.Conflicts {
		p.propFinding(d, report.KindConflict, report.Error, n+" was changed there by others, and at the source too; it was left alone",
			"give both the same value, or set takeover: true in the policy to overwrite it")
	}
	for _, n := range m.Drifted {
		p.propFinding(d, report.KindDegraded, report.Warn, n+" was changed there by others since it was carried; it was left alone",
			"farshore audit --repair sets it again; with takeover: true in the policy every pass does")
	}
	for _, n := range m.Foreign {
		if slices.Contains(pr.own.Foreign, n) {
			continue
		}
		pr.own.Foreign = append(pr.own.Foreign, n)
		p.propFinding(d, report.KindForeignProperty, report.Info, n+" was set there by others, and the source has none; it was left alone",
			"nothing has to be done; it is not mentioned again")
	}
}
