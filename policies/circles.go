package policies

import (
	"fmt"
	"slices"
	"strings"
)

// checkContainers checks a policy's patterns and its template, each for itself.
func (c *checker) checkContainers(i int, p Policy) {
	if p.Volumes != nil || !c.whole(i) || c.bad[policyPath(i, "containers")] {
		return
	}
	if len(p.Containers) == 0 {
		c.add(i, "containers", "names no container", `list names or patterns, as in ["assets-*"]`)
		return
	}
	before := len(c.problems)
	for n, raw := range p.Containers {
		if key := fmt.Sprintf("containers[%d]", n); c.whole(i, key) {
			c.checkPattern(i, key, raw)
		}
	}
	if len(c.problems) > before || !c.whole(i, "containers") {
		return
	}
	rules, err := compileRules(p.Containers)
	if err != nil {
		return
	}
	c.checkEffects(i, p, rules)
	if len(c.problems) > before || !c.whole(i, "container", "from") || !c.checkTemplate(i, p, rules) {
		return
	}
	c.rules[i] = rules
}

// checkPattern checks one pattern by itself.
func (c *checker) checkPattern(i int, key, raw string) {
	pattern, _ := strings.CutPrefix(raw, "!")
	g, err := compileGlob(pattern)
	switch {
	case err != nil:
		c.add(i, key, fmt.Sprintf("%q is no pattern: %v", raw, err), `put \ before a character that is meant as it is`)
	case pattern == "":
		c.add(i, key, fmt.Sprintf("%q names nothing", raw), "")
	case strings.Contains(pattern, "/"):
		c.add(i, key, fmt.Sprintf("%q can never match: a container's name cannot contain a slash", raw), "to select objects by name give prefix")
	case strings.Contains(unescaped(pattern), "{"):
		c.add(i, key, fmt.Sprintf("%q: alternatives in braces are not known here", raw), `list each pattern; for the character itself write \{`)
	case shortest(g) > maxContainerName:
		c.add(i, key, fmt.Sprintf("%q can never match: a container's name has at most %d bytes", raw, maxContainerName), "")
	}
}

// unescaped returns a pattern without the characters that a backslash makes literal.
func unescaped(pattern string) string {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		if pattern[i] == '\\' {
			i++
			continue
		}
		b.WriteByte(pattern[i])
	}
	return b.String()
}

// shortest returns the bytes of the shortest name a glob matches.
func shortest(g glob) int {
	n := 0
	for _, a := range g {
		switch {
		case a.single:
			n += len(string(a.spans[0].lo))
		case !a.star:
			n++
		}
	}
	return n
}

// checkEffects finds patterns that change nothing: selecting what is excluded
// again, excluding what was never selected.
func (c *checker) checkEffects(i int, p Policy, rules []rule) {
	set := []names{sourceNames(rules)}
	for n, r := range rules {
		this := [][]int{{n}}
		effect := func(v []verdict) bool {
			if !v[0].matches(n) {
				return false
			}
			if !r.not {
				return v[0].selected
			}
			wanted := false
			for m := range rules {
				wanted = wanted || !rules[m].not && v[0].matches(m)
			}
			return wanted && !v[0].selected
		}
		// Most patterns prove their use with the first name that comes to mind.
		if effect([]verdict{set[0].of(sample(r.glob, ""))}) || effect([]verdict{set[0].of(sample(r.glob, "x"))}) {
			continue
		}
		if _, useful, sure := find(set, this, effect); useful || !sure {
			continue
		}
		key := fmt.Sprintf("containers[%d]", n)
		_, matches, _ := find(set, this, func(v []verdict) bool { return v[0].matches(n) && (r.not || !reservedIn(v[0], rules)) })
		_, selectedLater, _ := find(set, this, func(v []verdict) bool { return v[0].matches(n) && v[0].selected })
		switch {
		case r.not && selectedLater:
			c.add(i, key, fmt.Sprintf("%q has no effect: a later pattern selects the same again", p.Containers[n]), "the last match wins: put what is excluded after it")
		case r.not:
			c.add(i, key, fmt.Sprintf("%q has no effect: no pattern selects what it excludes", p.Containers[n]), "")
		case !matches && r.glob.wild():
			c.add(i, key, fmt.Sprintf("%q can never match: wildcards leave alone %s*, *%s and %s", p.Containers[n], ownPrefix, segmentsSuffix, cinderContainer), "name such a container in full")
		default:
			c.add(i, key, fmt.Sprintf("%q has no effect: later patterns exclude all it matches", p.Containers[n]), "the last match wins")
		}
	}
}

// reservedIn tells whether a name is reserved: the reserved globs follow the rules.
func reservedIn(v verdict, rules []rule) bool {
	return v.matches(len(rules)) || v.matches(len(rules)+1) || v.matches(len(rules)+2)
}

// checkTemplate checks the name at the destination: that Swift takes it, and
// that no two containers become one.
func (c *checker) checkTemplate(i int, p Policy, rules []rule) bool {
	filled := fillFrom(p)
	before, after, varies := strings.Cut(filled, "{container}")
	rest := strings.ReplaceAll(filled, "{container}", "")
	switch {
	case strings.Contains(after, "{container}"):
		c.add(i, "container", "{container} can stand only once in a name", "")
		return false
	case strings.ContainsAny(rest, "{}"):
		c.add(i, "container", fmt.Sprintf("%q has braces that are neither {container} nor {from}", p.Container), c.braceHint(rest))
		return false
	case strings.Contains(rest, "/"):
		c.add(i, "container", "a container's name cannot contain a slash", "")
		return false
	case len(rest) > maxContainerName:
		c.add(i, "container", fmt.Sprintf("the name has more than %d bytes", maxContainerName), "")
		return false
	case strings.HasPrefix(before, ownPrefix):
		c.add(i, "container", fmt.Sprintf("names that begin with %q are Farshore's own", ownPrefix), "")
		return false
	}
	ok := true
	var one *string
	for n, r := range rules {
		if r.not {
			continue
		}
		if !r.glob.wild() {
			name := r.glob.literal()
			if _, err := p.Destination(name); varies && err != nil {
				c.add(i, fmt.Sprintf("containers[%d]", n), err.Error(), "choose another container template")
				ok = false
			}
			if one == nil || *one == name {
				one = &name
				continue
			}
		}
		if !varies {
			c.add(i, "container", fmt.Sprintf("%q gives every container of the policy the same name", p.Container), "add {container}, or make the policy one of a single container")
			return false
		}
	}
	return ok
}

func (c *checker) braceHint(rest string) string {
	_, inner, _ := strings.Cut(rest, "{")
	inner, _, _ = strings.Cut(inner, "}")
	if meant := nearest(inner, []string{"container", "from"}); meant != "" {
		return fmt.Sprintf("did you mean {%s}?", meant)
	}
	return ""
}

// checkMeetings refuses two policies that could write one container: each would
// take the other's objects for conflicts, or delete them (R16).
func (c *checker) checkMeetings() {
	judged := c.judged()
	for n, j := range judged {
		for _, i := range judged[:n] {
			a, b := &c.Policies[i], &c.Policies[j]
			region, other, ok := c.sharedRegion(a.To, b.To)
			if !ok {
				continue
			}
			if other != region {
				region += fmt.Sprintf(" (the same place as %s)", other)
			}
			name, found, sure := meet(destinationNames(*a, c.rules[i]), destinationNames(*b, c.rules[j]))
			switch {
			case found:
				c.add(j, "containers", fmt.Sprintf("this policy and %q (%s) would both write container %q at %s", a.Name, c.lineHint(i, ""), name, region),
					"give one another container template, or exclude the containers here")
			case !sure:
				c.add(j, "containers", fmt.Sprintf("the patterns of this policy and %q are too intricate to tell whether both could write one container at %s", a.Name, region), "write simpler patterns")
			}
		}
	}
}

// judged returns the policies whose containers are known well enough to compare.
func (c *checker) judged() []int {
	var out []int
	for i, rules := range c.rules {
		if rules != nil {
			out = append(out, i)
		}
	}
	return out
}

// sharedRegion returns a region of the first list that is, by any name, also in
// the second, and its name there.
func (c *checker) sharedRegion(as, bs []string) (a, b string, ok bool) {
	for _, a := range as {
		for _, b := range bs {
			if c.samePlace(a, b) {
				return a, b, true
			}
		}
	}
	return "", "", false
}

func (c *checker) samePlace(a, b string) bool {
	x, okX := c.Regions[a]
	y, okY := c.Regions[b]
	return okX && okY && (a == b || sameRegion(x, y))
}

// checkCircles refuses policies whose copies come back to where they began,
// unless each of them says bidirectional: true.
func (c *checker) checkCircles() {
	next := make([][]int, len(c.Policies))
	judged := c.judged()
	for _, i := range judged {
		for _, j := range judged {
			a, b := &c.Policies[i], &c.Policies[j]
			if i == j {
				continue
			}
			if _, _, ok := c.sharedRegion(a.To, []string{b.From}); !ok {
				continue
			}
			if _, found, sure := meet(destinationNames(*a, c.rules[i]), sourceNames(c.rules[j])); found || !sure {
				next[i] = append(next[i], j)
			}
		}
	}
	told := map[int]bool{}
	for _, i := range judged {
		if circle := shortestCircle(next, i); circle != nil && !told[i] {
			c.checkCircle(circle, told)
		}
	}
}

// checkCircle judges one circle, which begins at circle[0], and notes in told the
// policies that need no second telling.
func (c *checker) checkCircle(circle []int, told map[int]bool) {
	way, undeclared, grows := []string{}, []int{}, true
	renames := false
	for _, i := range circle {
		p := c.Policies[i]
		way = append(way, fmt.Sprintf("%s (%s)", p.From, p.Name))
		if !p.Bidirectional && !told[i] {
			undeclared = append(undeclared, i)
		}
		told[i] = true
		filled := fillFrom(p)
		grows = grows && strings.Contains(filled, "{container}")
		renames = renames || filled != DefaultTemplate
	}
	way = append(way, c.Policies[circle[0]].From)
	route := strings.Join(way, " → ")
	if grows && renames {
		c.add(slices.Max(circle), "container", "copies would come back under a longer name, and so for ever: "+route, "use container: \"{container}\" in each of these policies, or exclude the copies")
		return
	}
	for _, i := range undeclared {
		c.add(i, "bidirectional", "copies would come back to where they began: "+route, "if that is meant, say bidirectional: true in each of these policies")
	}
}

// shortestCircle returns the shortest way from a policy back to itself, starting
// with it, or nil.
func shortestCircle(next [][]int, start int) []int {
	before := map[int]int{}
	queue := []int{start}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for _, n := range next[at] {
			if n == start {
				circle := []int{at}
				for at != start {
					at = before[at]
					circle = append(circle, at)
				}
				slices.Reverse(circle)
				return circle
			}
			if _, seen := before[n]; !seen {
				before[n] = at
				queue = append(queue, n)
			}
		}
	}
	return nil
}
