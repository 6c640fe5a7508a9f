package page

import (
	"fmt"
	"slices"
	"strings"

	"farshore/replicator/report"
)

// standing is how something stands, in a class of the style sheet and in words: colour
// alone says nothing.
type standing struct{ Class, Word, Why string }

const (
	good = "good"
	warn = "warn"
	bad  = "bad"
	calm = "calm"
)

// marks stand before the words, for those who see no colours.
var marks = map[string]string{good: "✓", warn: "!", bad: "✗", calm: "–"}

// Mark is the sign of the class.
func (s standing) Mark() string { return marks[s.Class] }

// Standing says how the policy is, by the worst that is known of it.
func (p Policy) Standing() standing {
	paused, began := false, false
	for _, t := range p.Tasks {
		paused = paused || t.Paused
		began = began || !t.Began.IsZero()
		if t.Error != "" && !t.Running {
			return standing{bad, "failing", "the last " + t.Kind + " could not be done, or not to its end"}
		}
	}
	errors, warnings := p.counts()
	switch late := p.overdue(); {
	case late != "":
		return standing{bad, "late", late}
	case p.Replicas != nil && !p.Replicas.Satisfied:
		return standing{bad, "too few copies", fmt.Sprintf("%s with fewer than %d confirmed", countOf(p.Replicas.Short, p.noun()), p.Replicas.Wanted)}
	case errors > 0:
		return standing{bad, "errors found", countOf(errors, "error finding")}
	case paused:
		return standing{warn, "paused", "nothing more is begun until farshore resume"}
	case p.trouble() != "":
		return standing{warn, "not whole everywhere", p.trouble()}
	case warnings > 0:
		return standing{warn, "warnings", countOf(warnings, "warning")}
	case !began || p.Replicas == nil && len(p.Runs) == 0:
		return standing{calm, "not looked at yet", "no pass has ended"}
	}
	return standing{good, "as it should be", ""}
}

// overdue says what is later than the policy allows.
func (p Policy) overdue() string {
	var late []string
	for _, l := range p.Lag {
		if l.Late.Is {
			what := countOf(l.Late.Items, "item")
			if l.Late.Items == 0 {
				what = l.Late.Why
			}
			late = append(late, fmt.Sprintf("%s, %s %s behind", what, transportName(l.Region), duration(l.Seconds)))
		}
	}
	if len(late) == 0 {
		return ""
	}
	text := strings.Join(late, "; ") + "; the RPO is " + duration(p.RPO.Seconds())
	for _, l := range p.Lag { // the cause is the same for all
		if l.Late.Cause != "" {
			return strings.Join(slices.DeleteFunc([]string{text, l.Late.Cause, l.Late.Hint}, func(s string) bool { return s == "" }), ". ")
		}
	}
	return text
}

// Oldest names what has waited longest of all that is late, with where it is missing.
func (p Policy) Oldest() (out []waiting) {
	for _, l := range p.Lag {
		for _, x := range l.Late.Oldest {
			out = append(out, waiting{x, l.Region})
		}
	}
	slices.SortStableFunc(out, func(a, b waiting) int { return a.Since.Compare(b.Since) })
	return out[:min(len(out), 10)]
}

// waiting is something late, and the region that lacks it.
type waiting struct {
	report.LateItem
	Region string
}

// Standing says how a region's lag stands against the RPO.
func (l Lag) Standing() standing {
	switch {
	case l.Late.Is:
		return standing{bad, "late", ""}
	case l.Ahead.Miss:
		return standing{warn, "will be late", ""}
	case l.Late.RPO == 0:
		return standing{calm, "no RPO", ""}
	}
	return standing{good, "within the RPO", ""}
}

// Forecast says when what waits will have arrived.
func (l Lag) Forecast() string {
	switch {
	case l.Items == 0:
		return "nothing waits"
	case l.Ahead.None == report.NoForecastYet:
		return "not known yet"
	case l.Ahead.None == report.NoForecastPaused:
		return "none: the policy is paused"
	case l.Ahead.None != "":
		return "none: the last pass was stopped"
	case l.Ahead.ETA < 0:
		return "nothing moves now"
	}
	return "done in " + duration(l.Ahead.ETA)
}

// trouble says which regions lack something that they had, or cannot use what they have.
func (p Policy) trouble() string {
	var out []string
	for _, h := range p.Holdings {
		if h.Trouble != "" {
			out = append(out, transportName(h.Region)+": "+h.Trouble)
		}
	}
	return strings.Join(out, "; ")
}

// counts adds up the findings of the last runs.
func (p Policy) counts() (errors, warnings int64) {
	for _, r := range p.Runs {
		for _, f := range r.Findings {
			switch f.Level {
			case report.Error:
				errors++
			case report.Warn:
				warnings++
			}
		}
	}
	return errors, warnings
}

func (p Policy) noun() string {
	if p.Volumes {
		return "restore point"
	}
	return "object"
}

// named is a finding with the run that made it.
type named struct {
	report.Finding
	Run Run
}

// Where is what a finding is about: region, container, name.
func (f named) Where() string {
	at := make([]string, 0, 3)
	for _, s := range []string{f.Region, f.Container, f.Name} {
		if s != "" {
			at = append(at, transportName(s))
		}
	}
	return strings.Join(at, " / ")
}

// Found is every error and warning of the policies' last runs, the worst first; Told is
// what is said for information only.
func (v View) Found() []named {
	return v.findings(func(l report.Level) bool { return l != report.Info })
}

// Told is described at Found.
func (v View) Told() []named {
	return v.findings(func(l report.Level) bool { return l == report.Info })
}

func (v View) findings(want func(report.Level) bool) []named {
	var out []named
	for _, p := range v.Policies {
		for _, r := range p.Runs {
			for _, f := range r.Findings {
				if f.Policy == "" {
					f.Policy = p.Name
				}
				if want(f.Level) {
					out = append(out, named{f, r})
				}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b named) int { return Rank(a.Level) - Rank(b.Level) })
	return out
}

// Rank orders levels, the worst first.
func Rank(l report.Level) int {
	switch l {
	case report.Error:
		return 0
	case report.Warn:
		return 1
	}
	return 2
}

// Unshown counts the findings that the runs had and the page does not list.
func (v View) Unshown() (n int64) {
	for _, p := range v.Policies {
		for _, r := range p.Runs {
			n += r.More
		}
	}
	return n
}

// Verdict sums the policies up.
func (v View) Verdict() standing {
	var no, maybe []string
	for _, p := range v.Policies {
		switch p.Standing().Class {
		case bad:
			no = append(no, transportName(p.Name))
		case warn:
			maybe = append(maybe, transportName(p.Name))
		}
	}
	down := []string{}
	for _, r := range v.Regions {
		if !r.Up {
			down = append(down, transportName(r.Name))
		}
	}
	why := ""
	if len(down) > 0 {
		why = "Not reached: " + strings.Join(down, ", ") + "."
	}
	all := countOf(int64(len(v.Policies)), "policy")
	switch {
	case len(no) > 0:
		return standing{bad, strings.Join(no, ", ") + needs(len(no)) + " attention", why}
	case len(maybe) > 0 || len(down) > 0:
		word := "Regions do not answer"
		if len(maybe) > 0 {
			word = "Worth a look: " + strings.Join(maybe, ", ")
		}
		return standing{warn, word, why}
	case len(v.Policies) == 0:
		return standing{calm, "The file has no policies", ""}
	}
	return standing{good, "Nothing needs attention", all}
}

func needs(n int) string {
	if n == 1 {
		return " needs"
	}
	return " need"
}

// Standing says whether a webhook takes what it is told.
func (h Hook) Standing() standing {
	switch {
	case h.Error != "":
		return standing{bad, "does not take events", h.Error}
	case h.Dropped > 0:
		return standing{warn, "has missed events", ""}
	}
	return standing{good, "takes events", ""}
}

// Standing says how a run ended.
func (r Run) Standing() standing {
	switch {
	case r.Error != "":
		return standing{bad, "failed", r.Error}
	case !r.OK:
		return standing{bad, "ended with errors", ""}
	}
	return standing{good, "ended well", ""}
}

// Standing says how a drill ended.
func (d Drill) Standing() standing {
	if d.OK {
		return standing{good, "passed", ""}
	}
	return standing{bad, "failed", ""}
}

// Standing says whether a region has all it should.
func (h Holding) Standing() standing {
	switch {
	case !h.Up:
		return standing{bad, "does not answer", ""}
	case h.Trouble != "":
		return standing{bad, h.Trouble, ""}
	case h.Of >= 0 && h.Has < h.Of:
		return standing{warn, fmt.Sprintf("%s to come", commas(h.Of-h.Has)), ""}
	case h.Of < 0:
		return standing{calm, "", ""}
	}
	return standing{good, "complete", ""}
}

// Standing says how a task is.
func (t Task) Standing() standing {
	switch {
	case t.Running:
		return standing{calm, "running", ""}
	case t.Error != "":
		return standing{bad, "failed", t.Error}
	case t.Errors > 0:
		return standing{bad, countOf(t.Errors, "error finding"), ""}
	case t.Paused:
		return standing{warn, "paused", ""}
	case t.Began.IsZero():
		return standing{calm, "never yet", ""}
	case t.Ended.IsZero():
		return standing{warn, "was cut short, goes on", ""}
	}
	return standing{good, "ended well", ""}
}

// Standing says where a point can be restored.
func (p Point) Standing() standing {
	landed, lost, live := 0, 0, 0
	for _, r := range p.Regions {
		switch r.State {
		case "landed":
			landed++
			live++
		case "lost":
			lost++
			live++
		case "expired":
		default:
			live++
		}
	}
	switch {
	case lost > 0:
		return standing{bad, "lost", ""}
	case live == 0:
		return standing{calm, "at the source only", ""}
	case landed == live:
		return standing{good, "can be restored", ""}
	}
	return standing{warn, "on the way", ""}
}
