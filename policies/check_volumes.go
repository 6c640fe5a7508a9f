package policies

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// checkSnapshots finds snapshots that would be wanted more often than anybody looks.
func (c *checker) checkSnapshots(i int, p Policy) {
	if p.Volumes == nil || p.Snapshot == nil || !p.Schedule.IsZero() || !c.whole(i, "snapshot", "every", "schedule") || p.Every <= p.Snapshot.Every {
		return
	}
	c.add(i, "snapshot.every", fmt.Sprintf("cannot be kept: a snapshot each %s, but passes are %s apart", FormatDuration(p.Snapshot.Every), FormatDuration(p.Every)),
		"look more often (every), or take fewer snapshots")
}

// checkShared refuses policies that would back up one volume twice. Cinder makes an
// increment upon the volume's newest backup, whoever made that (C11), so that neither
// policy's destinations would have all that a restore needs.
func (c *checker) checkShared() {
	judged := func(i int) bool { return c.Policies[i].Volumes != nil && c.whole(i, "volumes", "from") }
	for i, p := range c.Policies {
		for j := range i {
			o := c.Policies[j]
			if !judged(i) || !judged(j) || !c.samePlace(p.From, o.From) {
				continue
			}
			if shared := sharedVolumes(p.Volumes, o.Volumes); shared != "" {
				c.add(i, "volumes", fmt.Sprintf("this policy and %q%s would both back up %s of %s: the increments of each would be upon the other's backups", o.Name, c.inLine(j, "volumes"), shared, p.From),
					"let one policy have all the regions in to")
				break // the first says enough
			}
		}
	}
}

// inLine is lineHint in brackets.
func (c *checker) inLine(i int, key string) string {
	if hint := c.lineHint(i, key); hint != "" {
		return " (" + hint + ")"
	}
	return ""
}

// formatMap writes a mapping as the policy file would.
func formatMap(m map[string]string) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, key+": "+m[key])
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
