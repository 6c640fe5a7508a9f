package policies

import (
	"fmt"
	"maps"
	"slices"
)

// place reads which candidates get a container.
func (r *reader) place(out **Place) func(value) {
	return func(v value) {
		got := &Place{Weights: map[string]int{}}
		*out = got
		r.fields(v, "a mapping such as {copies: 2, replace_after: 2h}",
			field{"copies", r.count(&got.Copies, 1, 1000)},
			field{"prefer", r.texts(&got.Prefer, "region names")},
			field{"weights", func(v value) {
				list, ok := r.entries(v, "a mapping such as {lyon: 2}")
				if ok && len(list) == 0 {
					r.problem(v, "is empty", "")
				}
				for _, e := range list {
					n := 0
					r.count(&n, 1, maxWeight)(e.value)
					got.Weights[e.key] = n
				}
			}},
			field{"replace_after", unit(r, &got.ReplaceAfter, parsePositive)},
		)
	}
}

// checkPlace checks when containers are looked at, and how they are placed against the
// candidates.
func (c *checker) checkPlace(i int, p Policy) {
	if c.whole(i, "watch", "every", "schedule") && p.Watch > 0 {
		switch {
		case !p.Schedule.IsZero():
			c.add(i, "watch", "cannot stand beside schedule", "give every")
		case p.Watch >= p.Every:
			c.add(i, "watch", fmt.Sprintf("has no effect: every container is looked at every %s", FormatDuration(p.Every)), "give less than every")
		}
	}
	if p.Place == nil || !c.whole(i, "place", "to", "replicas") {
		return
	}
	switch n := p.Place.Copies; {
	case n > len(p.To):
		c.add(i, "place.copies", fmt.Sprintf("%d copies need as many regions in to, which has %d", n, len(p.To)), "")
	case n < p.Replicas:
		c.add(i, "place.copies", fmt.Sprintf("%d copies cannot be the %d replicas that must hold", n, p.Replicas), fmt.Sprintf("say replicas: %d, or make more copies", n))
	case n == len(p.To):
		at := "place.copies"
		if !c.given(i, at) {
			at = "place"
		}
		c.add(i, at, fmt.Sprintf("has no effect: all %d regions in to get a copy", n), "leave place out, give replicas, or more candidates")
	}
	for n, name := range p.Place.Prefer {
		key := fmt.Sprintf("place.prefer[%d]", n)
		if !slices.Contains(p.To, name) {
			c.add(i, key, name+" is no candidate", "to names them")
		} else if slices.Index(p.Place.Prefer, name) < n {
			c.add(i, key, name+" is listed twice", "")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Place.Weights)) {
		if !slices.Contains(p.To, name) {
			c.add(i, "place.weights."+name, name+" is no candidate", "to names them")
		}
	}
	// what is trimmed at a place that is a source too would be taken for a delete there
	if p.Bidirectional {
		c.add(i, "place", "cannot stand beside bidirectional", "let every candidate have a copy")
	}
}

// given tells whether a policy's key stands in the file.
func (c *checker) given(i int, key string) bool {
	_, ok := c.at[policyPath(i, key)]
	return ok
}
