package page

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"slices"

	"farshore/replicator/report"
)

//go:embed page.html
var pageHTML string

// Style, Script and Icon are what the page refers to: /page.css, /page.js and /icon.svg
// of the same server.
var (
	//go:embed page.css
	Style []byte
	//go:embed page.js
	Script []byte
	//go:embed icon.svg
	Icon []byte
)

// ContentPolicy is the Content-Security-Policy to serve it with: its own style, script and
// icon, the script's refresh, and nothing else; nobody may frame it.
const ContentPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Pages writes pages. It may be used concurrently.
type Pages struct{ t *template.Template }

// New reads the page's template.
func New() (*Pages, error) {
	t, err := template.New("page").Funcs(template.FuncMap{
		"name": transportName, "utc": utc, "machine": machine, "ago": ago, "took": duration, "commas": commas, "size": size, "percent": percent, "count": countOf,
		"id":     func(kind string, i int) string { return fmt.Sprintf("%s-%d", kind, i+1) },
		"level":  levelStanding,
		"newest": newest,
		"latest": latest,
		"int64":  func(n int) int64 { return int64(n) },
		"share":  func(x float64) string { return fmt.Sprintf("%.0f %%", math.Floor(100*x)) },
	}).Parse(pageHTML)
	if err != nil {
		return nil, fmt.Errorf("read the page's template: %w", err)
	}
	return &Pages{t}, nil
}

// Write draws a view. What could not be drawn whole is not given in part.
func (p *Pages) Write(v View) ([]byte, error) {
	var b bytes.Buffer
	if err := p.t.Execute(&b, v); err != nil {
		return nil, fmt.Errorf("draw the page: %w", err)
	}
	return []byte(visible(b.String())), nil
}

func levelStanding(l report.Level) standing {
	switch l {
	case report.Error:
		return standing{bad, "error", ""}
	case report.Warn:
		return standing{warn, "warning", ""}
	}
	return standing{calm, "information", ""}
}

// shownPoints is how many points of a volume the table lists; the chart has them all.
const shownPoints = 12

// newest gives a volume's points for the table, the newest first.
func newest(v Volume) []Point {
	out := slices.Clone(v.Points[max(0, len(v.Points)-shownPoints):])
	slices.Reverse(out)
	return out
}

// latest gives the newest drills for the table, the newest first.
func latest(all []Drill) []Drill {
	out := slices.Clone(all[max(0, len(all)-shownPoints):])
	slices.Reverse(out)
	return out
}
