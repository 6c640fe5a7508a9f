package policies

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Select says which of some restore points stay, by the times they show, in ascending
// order: for each why, in a few words, or "" when it may go. A nil Keep keeps all.
//
// Last keeps so many of the newest. Each other rule goes through the periods that have a
// point, by the clock on the wall in zone (nil: UTC), the newest first, and keeps the
// newest point of each until it has so many; a period without a point costs nothing, and
// the one that is not over yet counts. Weeks are ISO weeks, which begin on Monday. An
// hour that the change back from summer time repeats is two. A point stays when
// any rule keeps it. It is the same for the same times, whenever it is asked.
func (k *Keep) Select(taken []time.Time, zone *time.Location) []string {
	if k == nil {
		return slices.Repeat([]string{"all are kept"}, len(taken))
	}
	if zone == nil {
		zone = time.UTC
	}
	why := make([][]string, len(taken))
	for _, rule := range k.rules() {
		last, left := "", rule.count
		for i := len(taken) - 1; i >= 0 && left > 0; i-- {
			period := rule.period(taken[i].In(zone))
			if period == last && period != "" {
				continue
			}
			last = period
			left--
			why[i] = append(why[i], strings.TrimSpace(rule.name+" "+period))
		}
	}
	out := make([]string, len(taken))
	for i := range why {
		out[i] = strings.Join(why[i], ", ")
	}
	return out
}

// keepRule is one rule of a Keep; period tells times of one period from all others, and
// is "" where each time counts by itself.
type keepRule struct {
	name   string
	count  int
	period func(wall time.Time) string
}

func (k *Keep) rules() []keepRule {
	layout := func(s string) func(time.Time) string {
		return func(t time.Time) string { return t.Format(s) }
	}
	return []keepRule{
		{"last", k.Last, func(time.Time) string { return "" }},
		{"hourly", k.Hourly, layout("2006-01-02 15:00 -07:00")},
		{"daily", k.Daily, layout("2006-01-02")},
		{"weekly", k.Weekly, func(t time.Time) string {
			year, week := t.ISOWeek()
			return fmt.Sprintf("%d-W%02d", year, week)
		}},
		{"monthly", k.Monthly, layout("2006-01")},
		{"yearly", k.Yearly, layout("2006")},
	}
}

// Matches tells whether a volume is one of those, by what its region says of it.
func (v *Volumes) Matches(id, name string, metadata map[string]string) bool {
	switch {
	case v.All:
		return true
	case len(v.IDs) > 0:
		return slices.Contains(v.IDs, id)
	case len(v.Names) > 0:
		return slices.Contains(v.Names, name)
	}
	for key, want := range v.Metadata {
		if got, there := metadata[key]; !there || got != want {
			return false
		}
	}
	return len(v.Metadata) > 0
}

// sharedVolumes says which volumes both select for certain; "" if that cannot be told
// without asking the region.
func sharedVolumes(a, b *Volumes) string {
	for range 2 {
		switch {
		case a.All && b.All:
			return "every volume"
		case a.All && len(b.IDs) > 0:
			return "volume " + b.IDs[0]
		case a.All && len(b.Names) > 0:
			return fmt.Sprintf("a volume named %q", b.Names[0])
		case a.All && len(b.Metadata) > 0, len(a.Metadata) > 0 && len(b.Metadata) > 0 && within(a.Metadata, b.Metadata):
			return "each volume with the metadata " + formatMap(b.Metadata)
		}
		a, b = b, a
	}
	for _, id := range a.IDs {
		if slices.Contains(b.IDs, id) {
			return "volume " + id
		}
	}
	for _, name := range a.Names {
		if slices.Contains(b.Names, name) {
			return fmt.Sprintf("a volume named %q", name)
		}
	}
	return ""
}

// within tells whether all of a is in b too, so that whoever asks for b gets what asks for a.
func within(a, b map[string]string) bool {
	for key, want := range a {
		if got, there := b[key]; !there || got != want {
			return false
		}
	}
	return true
}
