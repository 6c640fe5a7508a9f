package page

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"

	"farshore/transport"
)

// transportName shows a name of others: quoted where it would not print as it is.
func transportName(s string) string { return transport.PrintName(s) }

// visible gives the page with every character that is not printed, but for its own line
// ends, as an escape: controls in what others wrote, among them those that turn text around.
func visible(page string) string {
	if !strings.ContainsFunc(page, hidden) {
		return page
	}
	var b strings.Builder
	b.Grow(len(page) + len(page)/8)
	for _, c := range page {
		if hidden(c) {
			fmt.Fprintf(&b, `\u%04x`, c)
		} else {
			b.WriteRune(c)
		}
	}
	return b.String()
}

func hidden(c rune) bool { return c != '\n' && !unicode.IsPrint(c) }

func commas(n int64) string { return humanize.Comma(n) }

// countOf is a number with its noun.
func countOf(n int64, noun string) string {
	if n != 1 {
		if cut, ok := strings.CutSuffix(noun, "y"); ok {
			noun = cut + "ies"
		} else {
			noun += "s"
		}
	}
	return commas(n) + " " + noun
}

func size(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

// duration is seconds for people: two units at most.
func duration(seconds float64) string {
	switch {
	case math.IsNaN(seconds) || math.IsInf(seconds, 0):
		return "?"
	case seconds < 0:
		return "-" + duration(-seconds)
	case seconds < 9.95:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", seconds), ".0") + " s"
	}
	s := int64(math.Round(seconds))
	for i, u := range units {
		if s < u.seconds {
			continue
		}
		text := fmt.Sprintf("%d %s", s/u.seconds, u.name)
		if i+1 < len(units) {
			if rest := s % u.seconds / units[i+1].seconds; rest > 0 {
				text += fmt.Sprintf(" %d %s", rest, units[i+1].name)
			}
		}
		return text
	}
	return "0 s"
}

var units = []struct {
	seconds int64
	name    string
}{{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}}

// ago is how long before now something was, or how long it will be until then.
func ago(now, t time.Time) string {
	switch d := now.Sub(t); {
	case d < 0:
		return "in " + duration(-d.Round(time.Second).Seconds())
	case d < time.Second:
		return "now"
	default:
		return duration(d.Truncate(time.Second).Seconds()) + " ago"
	}
}

func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// machine is a time for machines: the datetime attribute.
func machine(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// percent is a part of a whole, rounded down, so that 100 % is all of it.
func percent(part, whole int64) string {
	if whole <= 0 {
		return ""
	}
	p := math.Floor(1000*float64(part)/float64(whole)) / 10
	return strings.TrimSuffix(fmt.Sprintf("%.1f", min(p, 100)), ".0") + " %"
}
