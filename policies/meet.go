package policies

import (
	"encoding/binary"
	"slices"
	"strings"
	"unicode/utf8"
)

// This file answers questions about *all* container names at once: can two
// policies write the same one, can a pattern match anything. Patterns are regular
// languages, so walking all of their automata side by side, over one character
// out of each class they can tell apart, gives exact answers and an example name.

// names is a set of container names: those a policy's rules select, or what its
// template makes of them.
type names struct {
	rules []rule
	globs []glob // of the rules, then of the reserved names, then of the empty name; with the template around each
}

// sourceNames is the set of containers the policy selects at its source.
func sourceNames(rules []rule) names { return framedNames(rules, "", "") }

// destinationNames is the set of names that the policy writes at its destinations.
func destinationNames(p Policy, rules []rule) names {
	before, after, ok := strings.Cut(fillFrom(p), "{container}")
	if !ok {
		g := literalGlob(before)
		return names{rules: []rule{{glob: g}}, globs: []glob{g, {}}}
	}
	return framedNames(rules, before, after)
}

func framedNames(rules []rule, before, after string) names {
	n := names{rules: rules}
	for _, r := range rules {
		n.globs = append(n.globs, r.glob)
	}
	star := glob{{star: true}}
	n.globs = append(n.globs,
		slices.Concat(literalGlob(ownPrefix), star),
		slices.Concat(star, literalGlob(segmentsSuffix)),
		literalGlob(cinderContainer),
		glob{})
	for i, g := range n.globs {
		n.globs[i] = slices.Concat(literalGlob(before), g, literalGlob(after))
	}
	return n
}

func literalGlob(s string) glob {
	var g glob
	for _, c := range s {
		g = append(g, literalAtom(c))
	}
	return g
}

// verdict says what a set makes of one name.
type verdict struct {
	selected bool
	matches  func(rule int) bool
}

func (n names) judge(matches func(int) bool) verdict {
	reserved, empty := false, len(n.globs)-1
	for i := len(n.rules); i < empty; i++ {
		reserved = reserved || matches(i)
	}
	return verdict{!matches(empty) && selected(n.rules, decide(n.rules, matches, reserved)), matches}
}

// of says what the set makes of a name.
func (n names) of(name string) verdict {
	done := make([]bool, len(n.globs))
	for i, g := range n.globs {
		done[i] = g.match(name)
	}
	return n.judge(func(i int) bool { return done[i] })
}

// sample returns a name that a glob matches, with a filler for each star.
func sample(g glob, filler string) string {
	var b strings.Builder
	for _, a := range g {
		switch {
		case a.star:
			b.WriteString(filler)
		case a.not:
			letters := alphabet([]glob{{a}})
			if c := slices.IndexFunc(letters, a.has); c >= 0 {
				b.WriteRune(letters[c])
			}
		default:
			b.WriteRune(a.spans[0].lo)
		}
	}
	return b.String()
}

// selecting returns the rules that select, any one of which a name in the set must match.
func (n names) selecting() []int {
	var out []int
	for i, r := range n.rules {
		if !r.not {
			out = append(out, i)
		}
	}
	return out
}

// maxMeetStates bounds the walk. Real files need some hundreds; what needs more
// is answered "cannot tell".
const maxMeetStates = 20_000

// meet looks for a shortest name that is in both sets.
func meet(a, b names) (name string, found, sure bool) {
	if !beginAlike(a, b) {
		return "", false, true
	}
	return find([]names{a, b}, [][]int{a.selecting(), b.selecting()}, func(v []verdict) bool { return v[0].selected && v[1].selected })
}

// beginAlike tells whether some selecting rules of both sets agree in the
// characters they begin with. It answers for most pairs of policies what the walk
// would answer more slowly.
func beginAlike(a, b names) bool {
	for _, i := range a.selecting() {
		for _, j := range b.selecting() {
			g, h := a.globs[i], b.globs[j]
			n := 0
			for n < len(g) && n < len(h) && g[n].single && h[n].single && g[n].spans[0] == h[n].spans[0] {
				n++
			}
			if n == len(g) || n == len(h) || !g[n].single || !h[n].single {
				return true
			}
		}
	}
	return false
}

// find looks for a shortest name of which all sets together say what is wanted.
// needed lists for each set the rules of which at least one must match the name:
// beginnings that none of them can go on from are not followed. sure is false
// when the sets were too intricate to look at every possibility.
func find(sets []names, needed [][]int, want func([]verdict) bool) (name string, found, sure bool) {
	var globs []glob
	var needs []uint // per glob, the sets that need it, as bits
	for i, s := range sets {
		first := len(globs)
		globs = append(globs, s.globs...)
		needs = append(needs, make([]uint, len(s.globs))...)
		for _, r := range needed[i] {
			needs[first+r] = 1 << i
		}
	}
	letters := alphabet(globs)
	hopeful := func(spots []spot) bool {
		alive := uint(0)
		for _, s := range spots {
			alive |= needs[s.glob]
		}
		return alive == 1<<len(sets)-1
	}
	type node struct {
		spots []spot
		from  int
		char  rune
	}
	var start []spot
	for g := range globs {
		start = enter(start, globs, g, 0)
	}
	seen := map[string]bool{key(start): true}
	queue := []node{{spots: start, from: -1}}
	for head := 0; head < len(queue); head++ {
		if head > 0 && want(verdicts(sets, globs, queue[head].spots)) {
			var chars []rune
			for i := head; i > 0; i = queue[i].from {
				chars = append(chars, queue[i].char)
			}
			slices.Reverse(chars)
			return string(chars), true, true
		}
		for _, c := range letters {
			next := step(globs, queue[head].spots, c)
			if !hopeful(next) {
				continue
			}
			if k := key(next); !seen[k] {
				if len(queue) == maxMeetStates {
					return "", false, false
				}
				seen[k] = true
				queue = append(queue, node{next, head, c})
			}
		}
	}
	return "", false, true
}

// spot is a place in a glob: what is left to match begins at atom.
type spot struct{ glob, atom int32 }

// enter adds a place, and the one behind a star, which may match nothing.
func enter(spots []spot, globs []glob, g, at int) []spot {
	spots = append(spots, spot{int32(g), int32(at)})
	if at < len(globs[g]) && globs[g][at].star {
		return enter(spots, globs, g, at+1)
	}
	return spots
}

func step(globs []glob, spots []spot, c rune) []spot {
	var next []spot
	for _, s := range spots {
		g, at := int(s.glob), int(s.atom)
		switch {
		case at >= len(globs[g]):
		case globs[g][at].star:
			next = enter(next, globs, g, at)
		case globs[g][at].has(c):
			next = enter(next, globs, g, at+1)
		}
	}
	slices.SortFunc(next, func(a, b spot) int {
		if a.glob != b.glob {
			return int(a.glob - b.glob)
		}
		return int(a.atom - b.atom)
	})
	return slices.Compact(next)
}

func key(spots []spot) string {
	b := make([]byte, 0, 4*len(spots))
	for _, s := range spots {
		b = binary.AppendUvarint(b, uint64(s.glob))
		b = binary.AppendUvarint(b, uint64(s.atom))
	}
	return string(b)
}

func verdicts(sets []names, globs []glob, spots []spot) []verdict {
	done := make([]bool, len(globs))
	for _, s := range spots {
		if int(s.atom) == len(globs[s.glob]) {
			done[s.glob] = true
		}
	}
	out := make([]verdict, len(sets))
	first := 0
	for i, s := range sets {
		mine := done[first : first+len(s.globs)]
		out[i] = s.judge(func(r int) bool { return mine[r] })
		first += len(s.globs)
	}
	return out
}

// alphabet returns one character out of each class of characters that the globs
// do not tell apart, readable ones where there is a choice.
func alphabet(globs []glob) []rune {
	cuts := []rune{1, '/', '/' + 1, 0xD800, 0xE000, utf8.MaxRune + 1}
	for _, g := range globs {
		for _, a := range g {
			for _, s := range a.spans {
				cuts = append(cuts, s.lo, s.hi+1)
			}
		}
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	var readable, others []rune
	for i, lo := range cuts[:len(cuts)-1] {
		if lo == '/' || lo >= 0xD800 && lo < 0xE000 || lo < 1 {
			continue
		}
		c, plain := lo, false
		for _, s := range []span{{'a', 'z'}, {'0', '9'}, {'A', 'Z'}} {
			if first := max(lo, s.lo); first <= min(cuts[i+1]-1, s.hi) {
				c, plain = first, true
				break
			}
		}
		if plain {
			readable = append(readable, c)
		} else {
			others = append(others, c)
		}
	}
	return append(readable, others...)
}
