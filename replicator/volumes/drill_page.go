package volumes

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"farshore/replicator/report"
)

//go:embed drill_page.html
var drillPage string

// DrillPage writes a drill's report as one HTML page that needs nothing else: no script,
// no font, no picture from elsewhere, so that it can be filed as it is.
func DrillPage(w io.Writer, d report.Drill) error {
	t, err := template.New("drill").Funcs(template.FuncMap{
		"took":    tookText,
		"share":   func(part, whole float64) float64 { return 100 * part / max(whole, 1e-9) },
		"percent": func(x float64) string { return fmt.Sprintf("%.3g %%", 100*x) },
		"utc":     func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"count":   humanize.Comma,
		"bytes":   func(n int64) string { return humanize.IBytes(uint64(max(n, 0))) },
		"blocks":  func(n int) string { return humanize.IBytes(uint64(max(n, 0))) },
		"list": func(l []string) string {
			if n := len(l); n > 1 {
				return strings.Join(l[:n-1], ", ") + " and " + l[n-1]
			}
			return strings.Join(l, ", ")
		},
		"ready":   func(r report.Restore) []report.Span { ready, _ := r.Phases(); return ready },
		"later":   func(r report.Restore) []report.Span { _, later := r.Phases(); return later },
		"against": proofText,
		"hashed":  hashedText,
		"last":    func(l []string) string { return l[len(l)-1] },
	}).Parse(drillPage)
	if err != nil {
		return fmt.Errorf("read the report's template: %w", err)
	}
	if err := t.Execute(w, d); err != nil {
		return fmt.Errorf("write the report's page: %w", err)
	}
	return nil
}

// tookText is a number of seconds for people: to the tenth below a minute, to the second above.
func tookText(seconds float64) string {
	if seconds < 60 {
		return fmt.Sprintf("%.1f s", seconds)
	}
	return (time.Duration(math.Round(seconds)) * time.Second).String()
}

// proofText says what a restored volume was compared with.
func proofText(p report.Proof) string {
	switch p.Against {
	case proofBlocks:
		return "the list of block digests made from the source region's own when the backup was taken, kept beside the backup"
	case proofSource:
		return "the source region's own list of block digests, read now"
	}
	return "digests of the region's own copies of the backup, each of which has the MD5 that the source region recorded"
}

// hashedText says who computed the digests of the restored volume.
func hashedText(p report.Proof) string {
	if p.Hashed == hashedService {
		return "the region's backup service, which read the whole restored volume"
	}
	return "Farshore, from a backup that the region's backup service made of the whole restored volume"
}
