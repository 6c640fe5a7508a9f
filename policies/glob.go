package policies

import (
	"errors"
	"strings"
)

// atom is one element of a glob.
type atom struct {
	star   bool // any run of characters, also none; otherwise exactly one character out of spans
	not    bool // one outside of spans
	spans  []span
	single bool // exactly the one character of spans[0]: a literal
}

type span struct{ lo, hi rune }

func (a atom) has(c rune) bool {
	for _, s := range a.spans {
		if s.lo <= c && c <= s.hi {
			return !a.not
		}
	}
	return a.not
}

// glob is a compiled pattern, matched character by character.
type glob []atom

// compileGlob reads a pattern: "*", "?", "[a-z]", "[^a-z]", and "\" which takes
// the next character as it is.
func compileGlob(pattern string) (glob, error) {
	var g glob
	chars := []rune(pattern)
	for i := 0; i < len(chars); i++ {
		switch chars[i] {
		case '*':
			if len(g) == 0 || !g[len(g)-1].star {
				g = append(g, atom{star: true})
			}
		case '?':
			g = append(g, atom{not: true})
		case '[':
			a, next, err := compileClass(chars, i+1)
			if err != nil {
				return nil, err
			}
			g, i = append(g, a), next
		case '\\':
			if i++; i == len(chars) {
				return nil, errors.New(`a pattern ends in \ with nothing after it`)
			}
			g = append(g, literalAtom(chars[i]))
		default:
			g = append(g, literalAtom(chars[i]))
		}
	}
	return g, nil
}

func literalAtom(c rune) atom { return atom{single: true, spans: []span{{c, c}}} }

// compileClass reads the inside of brackets from chars[i] on and returns the
// index of the closing one.
func compileClass(chars []rune, i int) (atom, int, error) {
	var a atom
	if i < len(chars) && chars[i] == '^' {
		a.not = true
		i++
	}
	one := func() (rune, bool) {
		if i < len(chars) && chars[i] == '\\' {
			i++
		} else if i < len(chars) && (chars[i] == ']' || chars[i] == '-') {
			return 0, false
		}
		if i >= len(chars) {
			return 0, false
		}
		i++
		return chars[i-1], true
	}
	for i < len(chars) && (chars[i] != ']' || len(a.spans) == 0) {
		lo, ok := one()
		if !ok {
			break
		}
		hi := lo
		if i < len(chars) && chars[i] == '-' {
			i++
			if hi, ok = one(); !ok {
				break
			}
		}
		if hi < lo {
			return a, i, errors.New("a span in brackets runs backwards")
		}
		a.spans = append(a.spans, span{lo, hi})
	}
	if i >= len(chars) || chars[i] != ']' || len(a.spans) == 0 {
		return a, i, errors.New("brackets that are empty or not closed")
	}
	return a, i, nil
}

// wild tells whether the glob can match more than one name.
func (g glob) wild() bool {
	for _, a := range g {
		if !a.single {
			return true
		}
	}
	return false
}

// literal returns the one name a glob without wildcards matches.
func (g glob) literal() string {
	var b strings.Builder
	for _, a := range g {
		b.WriteRune(a.spans[0].lo)
	}
	return b.String()
}

// match tells whether the whole name is matched. It goes back to the last star
// only, which is enough and never costs more than length times length.
func (g glob) match(name string) bool {
	chars := []rune(name)
	at, star, retry := 0, -1, 0
	for i := 0; i < len(chars); {
		switch {
		case at < len(g) && g[at].star:
			star, retry = at, i
			at++
		case at < len(g) && g[at].has(chars[i]):
			at++
			i++
		case star >= 0:
			retry++
			at, i = star+1, retry
		default:
			return false
		}
	}
	for at < len(g) && g[at].star {
		at++
	}
	return at == len(g)
}

// rule is one pattern of a policy's containers.
type rule struct {
	glob glob
	not  bool
}

// compileRules reads a policy's container patterns.
func compileRules(patterns []string) ([]rule, error) {
	rules := make([]rule, len(patterns))
	for i, raw := range patterns {
		pattern, not := strings.CutPrefix(raw, "!")
		g, err := compileGlob(pattern)
		if err != nil {
			return nil, err
		}
		rules[i] = rule{g, not}
	}
	return rules, nil
}

// decide says which rule decides about a name, -1 for none, given which rules
// match it and whether the name is reserved. The last match wins; a wildcard does
// not match what is reserved, but may exclude it.
func decide(rules []rule, matches func(int) bool, reserved bool) int {
	for i := len(rules) - 1; i >= 0; i-- {
		if matches(i) && (rules[i].not || !reserved || !rules[i].glob.wild()) {
			return i
		}
	}
	return -1
}

// selected tells whether a decision of decide means the name is selected.
func selected(rules []rule, decision int) bool { return decision >= 0 && !rules[decision].not }
