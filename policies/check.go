package policies

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// maxPut is Swift's usual limit for one PUT, and so for an object that is not
// cut and for one chunk.
const maxPut = int64(5 << 30)

// minChunk keeps the number of requests and of segments reasonable.
const minChunk = int64(64 << 10)

// Check finds what is wrong with a file beyond single values: names that lead
// nowhere, numbers that contradict each other, two policies that could write one
// destination container, circles nobody declared (R16). It returns nil or
// Errors. Parse has called it already; it is for files made or changed by code.
func (f *File) Check() error {
	if problems := f.check(); len(problems) > 0 {
		return problems
	}
	return nil
}

// CheckPlaces is Check's judgement of what several policies do to one container or volume,
// once it is known where regions really are: accounts has the storage URL of their
// account, by the name of the region, and regions with equal ones are one place
// whatever the file calls them (R16). A region that is not in it is judged by the file.
// It returns nil or Errors.
func (f *File) CheckPlaces(accounts map[string]string) error {
	found := *f
	found.Regions = maps.Clone(f.Regions)
	for name, url := range accounts {
		if r, ok := found.Regions[name]; ok {
			r.Cloud, r.RegionName, r.Endpoint = "", "", url
			found.Regions[name] = r
		}
	}
	c := &checker{File: &found, rules: make([][]rule, len(f.Policies))}
	for i, p := range f.Policies {
		c.checkContainers(i, p)
	}
	c.problems = nil // what is wrong with a single policy is said by Check
	c.checkMeetings()
	c.checkCircles()
	c.checkShared()
	if len(c.problems) > 0 {
		return c.problems
	}
	return nil
}

// checker collects the problems of one Check.
type checker struct {
	*File
	problems Errors
	rules    [][]rule // per policy; nil where containers cannot be judged

	smallMemory bool // it has been said that the default chunk does not fit
}

func (f *File) check() Errors {
	c := &checker{File: f, rules: make([][]rule, len(f.Policies))}
	c.checkLimits()
	first := map[string]int{}
	for i, p := range f.Policies {
		if j, twice := first[p.Name]; twice && p.Name != "" && c.whole(i, "name") {
			c.add(i, "name", fmt.Sprintf("another policy is named %q", p.Name), c.lineHint(j, "name"))
		} else if !twice {
			first[p.Name] = i
		}
		c.checkRegions(i, p)
		c.checkNumbers(i, p)
		c.checkPlace(i, p)
		c.checkSnapshots(i, p)
		c.checkContainers(i, p)
	}
	c.checkMeetings()
	c.checkCircles()
	c.checkShared()
	return c.problems
}

func policyPath(i int, key string) string {
	if key == "" {
		return fmt.Sprintf("policies[%d]", i)
	}
	return fmt.Sprintf("policies[%d].%s", i, key)
}

// whole tells whether nothing was wrong with the value of a policy's key, so
// that judging it makes sense.
func (c *checker) whole(i int, keys ...string) bool {
	for _, key := range keys {
		if c.bad.under(policyPath(i, key)) {
			return false
		}
	}
	return !c.bad[policyPath(i, "")]
}

// add notes a problem of a policy at the place of a key, or at the policy's own
// place when the key is not in the file.
func (c *checker) add(i int, key, message, hint string) {
	path := policyPath(i, key)
	at, ok := c.at[path]
	if !ok {
		at = c.at[policyPath(i, "")]
	}
	c.addAt(path, at, message, hint)
}

func (c *checker) addAt(path string, at position, message, hint string) {
	c.problems = append(c.problems, Problem{c.Name, at.line, at.column, path, message, hint})
}

func (c *checker) lineHint(i int, key string) string {
	if at, ok := c.at[policyPath(i, key)]; ok {
		return fmt.Sprintf("in line %d", at.line)
	}
	return ""
}

func (c *checker) checkLimits() {
	for i, s := range c.Limits.Timetable {
		path := fmt.Sprintf("limits.timetable[%d]", i)
		if s.Rate > 0 && c.Limits.Total > 0 && s.Rate >= c.Limits.Total && !c.bad["limits.total"] {
			c.addAt(path, c.at[path], fmt.Sprintf("has no effect: %s is not below the total of %s", s.Rate, c.Limits.Total),
				"total is the ceiling at all times: raise it, and give windows for the slower hours")
		}
	}
	for _, key := range slices.Sorted(maps.Keys(c.Limits.Pairs)) {
		from, to, _ := strings.Cut(key, "->")
		path := joinKey("limits.pairs", key)
		if c.bad[path] {
			continue
		}
		at := c.at[path]
		if from == to {
			c.addAt(path, at, "a pair needs two different regions", "")
		}
		for _, name := range slices.Compact([]string{from, to}) {
			c.checkKnown(path, at, name)
		}
	}
}

// checkKnown refuses the name of a region that is not in the file.
func (c *checker) checkKnown(path string, at position, name string) {
	if c.bad.under("regions") && len(c.Regions) == 0 {
		return
	}
	if _, ok := c.Regions[name]; ok {
		return
	}
	known := slices.Sorted(maps.Keys(c.Regions))
	hint := "regions are " + strings.Join(known, ", ")
	if meant := nearest(name, known); meant != "" {
		hint = fmt.Sprintf("did you mean %s?", meant)
	}
	if len(known) == 0 {
		hint = "none is named under regions"
	}
	c.addAt(path, at, fmt.Sprintf("there is no region %q", name), hint)
}

// checkRegions checks from and to, and replicas against them.
func (c *checker) checkRegions(i int, p Policy) {
	if !c.whole(i) {
		return
	}
	from, fromKnown := c.Regions[p.From]
	if c.whole(i, "from") {
		c.checkKnown(policyPath(i, "from"), c.place(i, "from"), p.From)
	}
	if !c.whole(i, "to") {
		return
	}
	if len(p.To) == 0 {
		c.add(i, "to", "names no region", "list the regions that hold the copies, as in [lyon]")
		return
	}
	for n, name := range p.To {
		key := fmt.Sprintf("to[%d]", n)
		g, known := c.Regions[name]
		if slices.Index(p.To, name) < n {
			c.add(i, key, fmt.Sprintf("%s is listed twice", name), "each region holds one replica")
			continue
		}
		if !known {
			c.checkKnown(policyPath(i, key), c.place(i, key), name)
			continue
		}
		if name == p.From {
			c.add(i, key, fmt.Sprintf("%s is also the source", name), "a replica is a copy outside of the source region")
		} else if fromKnown && sameRegion(g, from) {
			c.add(i, key, fmt.Sprintf("%s and %s are the same place: cloud %s, region %s", name, p.From, g.Cloud, orUnnamed(g.RegionName)), "a replica is a copy outside of the source region")
		}
		for _, other := range p.To[:n] {
			if o, ok := c.Regions[other]; ok && other != name && sameRegion(g, o) {
				c.add(i, key, fmt.Sprintf("%s and %s are the same place: cloud %s, region %s", name, other, g.Cloud, orUnnamed(g.RegionName)), "one copy would count as two replicas")
			}
		}
	}
	if c.whole(i, "replicas") && (p.Replicas > len(p.To) || p.Replicas < 1) {
		c.add(i, "replicas", fmt.Sprintf("%d replicas need as many regions in to, which has %d", p.Replicas, len(p.To)), "")
	}
}

func orUnnamed(region string) string {
	if region == "" {
		return "as in clouds.yaml"
	}
	return region
}

func (c *checker) place(i int, key string) position {
	if at, ok := c.at[policyPath(i, key)]; ok {
		return at
	}
	return c.at[policyPath(i, "")]
}

// checkNumbers finds values that contradict each other.
func (c *checker) checkNumbers(i int, p Policy) {
	if c.whole(i, "rpo", "every", "schedule", "timezone") && p.RPO > 0 {
		if gap, what := p.longestPause(); gap > p.RPO {
			c.add(i, "rpo", fmt.Sprintf("cannot be kept: %s may be lost, but %s", FormatDuration(p.RPO), what), "look more often, or allow a longer rpo")
		}
	}
	if p.Volumes == nil {
		c.checkLarge(i, p.Large)
	}
	if c.whole(i, "audit") && p.Audit.Read > 0 && p.Audit.Every == 0 {
		c.add(i, "audit.read", "has no effect: no audit is made", "give audit.every")
	}
	if c.whole(i, "audit") && p.Audit.ReadAll > 0 {
		switch {
		case p.Volumes != nil:
			c.add(i, "audit.read_all_in", "has no meaning in a policy of volumes", "give audit.read")
		case p.Audit.Read > 0:
			c.add(i, "audit.read_all_in", "cannot stand beside read", "remove one")
		case p.Audit.ReadAll < p.Audit.Every:
			c.add(i, "audit.read_all_in", fmt.Sprintf("%s is less than the %s between two audits", FormatDuration(p.Audit.ReadAll), FormatDuration(p.Audit.Every)), "make audits more often, or give more time")
		}
	}
	for n, kind := range p.Accept {
		key := fmt.Sprintf("accept[%d]", n)
		switch {
		case !c.whole(i, key):
		case !kindName(kind):
			c.add(i, key, fmt.Sprintf("%q is no kind of finding", kind), "kinds are words such as foreign-object")
		case slices.Contains(neverAccepted(), kind):
			c.add(i, key, kind+" cannot be accepted: it says that the policy is not kept", "lower replicas, or raise the brake's bounds, if less is enough")
		}
	}
}

func (c *checker) checkLarge(i int, large Large) {
	if c.whole(i, "large.chunk") {
		switch {
		case large.Chunk < minChunk:
			c.add(i, "large.chunk", FormatSize(large.Chunk)+" is too small", "at least "+FormatSize(minChunk))
		case large.Chunk > maxPut:
			c.add(i, "large.chunk", FormatSize(large.Chunk)+" is more than Swift takes in one request", "at most "+FormatSize(maxPut))
		case large.Chunk > c.Limits.Memory && !c.bad["limits.memory"]:
			c.addChunk(i, fmt.Sprintf("a chunk of %s does not fit into limits.memory (%s)", FormatSize(large.Chunk), FormatSize(c.Limits.Memory)), "make chunks smaller or allow more memory")
		}
	}
	if !c.whole(i, "large.over") {
		return
	}
	if large.Over > maxPut {
		c.add(i, "large.over", FormatSize(large.Over)+" is more than Swift takes in one request", "at most "+FormatSize(maxPut))
	} else if large.Over < large.Chunk && c.whole(i, "large.chunk") {
		c.add(i, "large.over", fmt.Sprintf("%s is less than one chunk (%s)", FormatSize(large.Over), FormatSize(large.Chunk)), "")
	}
}

// addChunk notes a problem of a chunk's size: with memory, and once, where the
// size is the default.
func (c *checker) addChunk(i int, message, hint string) {
	memory, said := c.at["limits.memory"]
	if _, own := c.at[policyPath(i, "large.chunk")]; own || !said {
		c.add(i, "large.chunk", message, hint)
		return
	}
	if !c.smallMemory {
		c.addAt("limits.memory", memory, message, hint)
	}
	c.smallMemory = true
}

// longestPause returns the longest time between two passes and how to say it.
func (p Policy) longestPause() (time.Duration, string) {
	every, what := p.Every, "passes are "
	if p.Volumes != nil && p.Snapshot != nil && p.Snapshot.Every > every {
		every, what = p.Snapshot.Every, "snapshots are "
	}
	if p.Schedule.IsZero() {
		return every, what + FormatDuration(every) + " apart"
	}
	gap := p.Schedule.longestGap(p.Timezone)
	return gap, fmt.Sprintf("passes by %q are up to %s apart", p.Schedule, FormatDuration(gap))
}

// neverAccepted are the kinds of findings by which a policy itself fails: to lower them
// would make a pass or an audit look good that is not.
func neverAccepted() []string {
	return []string{"too-few-replicas", "missing-replica", "damaged-replica", "brake"}
}

func kindName(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz-") == "" && strings.Trim(s, "-") == s
}
