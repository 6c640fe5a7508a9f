package swift

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"farshore/transport"
)

// maxParts bounds what Split may cost: two small requests a part.
const maxParts = 64

// Split finds existing names that cut a range into parts, with listings of one
// name each: the first and the last name, then the names next to guesses between
// them. Swift cannot count the names of a range, so the guess is by spelling:
// parts are equal only as far as names are spread evenly.
func (e *Endpoint) Split(ctx context.Context, container string, rg transport.Range, n int) ([]string, error) {
	if n = min(n, maxParts); n < 2 {
		return nil, nil
	}
	c, err := e.Container(ctx, container)
	if err != nil || c.Objects < e.o.SplitOver {
		return nil, err
	}
	first, err := e.next(ctx, container, rg, false)
	if err != nil || first == "" {
		return nil, err
	}
	last, err := e.next(ctx, container, rg, true)
	if err != nil || last <= first {
		return nil, err
	}
	var cuts []string
	gaps := [][2]string{{first, last}}
	// Guesses between the same two names often meet the same next name; what is
	// still missing is looked for again between the names found so far.
	for budget := 2 * n; budget > 0 && len(cuts) < n-1 && len(gaps) > 0; {
		each := (n - 1 - len(cuts) + len(gaps) - 1) / len(gaps)
		var wider [][2]string
		for _, g := range gaps {
			low := g[0]
			for _, guess := range between(g[0], g[1], each, append(slices.Clone(cuts), first, last)) {
				if budget--; budget < 0 || len(cuts) >= n-1 {
					break
				}
				name, err := e.next(ctx, container, transport.Range{Prefix: rg.Prefix, After: guess, Through: last}, false)
				if err != nil {
					return nil, err
				}
				if name == "" || name <= low || name >= g[1] || name == last {
					continue
				}
				cuts = append(cuts, name)
				wider = append(wider, [2]string{low, name})
				low = name
			}
			if low != g[0] {
				wider = append(wider, [2]string{low, g[1]})
			}
		}
		gaps = wider
	}
	slices.Sort(cuts)
	return slices.Compact(cuts), nil
}

// next is the first or, backwards, the last name of a range; "" if there is none.
// A server without reverse gives its first name for the last: nothing is cut then.
func (e *Endpoint) next(ctx context.Context, container string, rg transport.Range, backwards bool) (string, error) {
	r := request{op: "list", method: http.MethodGet, container: container, query: url.Values{"format": {"json"}, "limit": {"1"}}}
	setIf(r.query, "prefix", rg.Prefix)
	low, high := rg.After, rg.Through
	if high != "" {
		high += lastByte
	}
	if backwards { // markers change places
		r.query.Set("reverse", "true")
		low, high = high, low
	}
	setIf(r.query, "marker", low)
	setIf(r.query, "end_marker", high)
	resp, err := e.do(ctx, r)
	if err != nil {
		return "", err
	}
	found := ""
	err = e.rows(r, resp, "", func(w *row) { found = w.name })
	return found, err
}

// between gives up to n strings spread evenly between low and high. What follows
// the part that the two have in common is read as a number, each place with the
// digits that names seem to have there; so obj-00000017 is as easy to divide as a
// random string.
func between(low, high string, n int, names []string) []string {
	common := 0
	for common < len(low) && common < len(high) && low[common] == high[common] {
		common++
	}
	var places [][]byte
	for i := range 8 { // as much as a float64 can tell apart
		if digits := place(names, low[:common], common+i); len(digits) > 0 {
			places = append(places, digits)
		} else {
			break
		}
	}
	value := func(s string) float64 {
		v, weight := 0.0, 1.0
		for i, digits := range places {
			if common+i >= len(s) {
				break
			}
			weight /= float64(len(digits))
			at, _ := slices.BinarySearch(digits, s[common+i])
			v += weight * float64(at)
		}
		return v
	}
	from, to := value(low), value(high)
	var out []string
	for i := 1; i <= n; i++ {
		v := from + (to-from)*float64(i)/float64(n+1)
		guess := []byte(low[:common])
		for _, digits := range places {
			v *= float64(len(digits))
			at := min(int(v), len(digits)-1)
			guess = append(guess, digits[at])
			v -= float64(at)
		}
		// A guess may end inside a character; what is asked of Swift must be UTF-8.
		if s := string(valid(guess)); s > low && s < high && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// place gives the bytes, in order, that names with the prefix have or may have at a
// place: those seen there and, for a digit or a letter, the rest of its family (of
// hex digits, as long as no other letter is seen).
func place(names []string, prefix string, at int) []byte {
	var seen [256]bool
	var digit, lower, upper, beyond bool
	for _, s := range names {
		if at >= len(s) || !strings.HasPrefix(s, prefix) {
			continue
		}
		c := s[at]
		seen[c] = true
		digit = digit || c >= '0' && c <= '9'
		lower = lower || c >= 'a' && c <= 'z'
		upper = upper || c >= 'A' && c <= 'Z'
		beyond = beyond || (c|0x20) > 'f' && (c|0x20) <= 'z'
	}
	fill := func(from, to byte) {
		for c := from; c <= to; c++ {
			seen[c] = true
		}
	}
	letters := byte(25)
	if digit && !beyond {
		letters = 5
	}
	if digit {
		fill('0', '9')
	}
	if lower {
		fill('a', 'a'+letters)
	}
	if upper {
		fill('A', 'A'+letters)
	}
	var out []byte
	for c, ok := range seen {
		if ok {
			out = append(out, byte(c))
		}
	}
	return out
}

// valid cuts a string before the first byte that is not UTF-8.
func valid(b []byte) []byte {
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size <= 1 {
			return b[:i]
		}
		i += size
	}
	return b
}
