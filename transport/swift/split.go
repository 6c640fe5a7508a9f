package swift

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"unicode/utf8"

	"farshore/transport"
)

// Split finds existing names that cut a range into parts, with listings of one
// name each: the first and the last name, then the names next to guesses between
// them. Swift cannot count the names of a range, so the guess is by spelling:
// parts are equal only as far as names are spread evenly.
func (e *Endpoint) Split(ctx context.Context, container string, rg transport.Range, n int) ([]string, error) {
	if n < 2 {
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
			for _, guess := range between(g[0], g[1], each, alphabet(append(cuts, first, last))) {
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
	rows, err := e.rows(r, resp, "")
	if err != nil || len(rows) == 0 {
		return "", err
	}
	return rows[0].name, nil
}

// alphabet is the set of bytes that names of this kind are likely made of: those
// seen, and with a digit or letter the rest of its family (hex digits only, if no
// other letter was seen). Guessing in it makes obj-00000017 as easy to halve as
// a random string.
func alphabet(names []string) []byte {
	var seen [256]bool
	hex := true
	for _, s := range names {
		for i := 0; i < len(s); i++ {
			seen[s[i]] = true
			if c := s[i] | 0x20; c > 'f' && c <= 'z' {
				hex = false
			}
		}
	}
	end := func(letter byte) byte {
		if hex {
			return letter + 5
		}
		return letter + 25
	}
	for _, family := range [][2]byte{{'0', '9'}, {'a', end('a')}, {'A', end('A')}} {
		if slices.Contains(seen[family[0]:int(family[1])+1], true) {
			for c := family[0]; c <= family[1]; c++ {
				seen[c] = true
			}
		}
	}
	var out []byte
	for c, ok := range seen {
		if ok && c != 0 {
			out = append(out, byte(c))
		}
	}
	return out
}

// between gives n strings spread evenly between low and high, as numbers written
// in the digits of an alphabet after what the two have in common.
func between(low, high string, n int, digits []byte) []string {
	common := 0
	for common < len(low) && common < len(high) && low[common] == high[common] {
		common++
	}
	base := float64(len(digits))
	if n < 1 || base < 2 {
		return nil
	}
	value := func(s string) float64 {
		v, weight := 0.0, 1.0
		for i := common; i < len(s) && i < common+8; i++ {
			weight /= base
			at, _ := slices.BinarySearch(digits, s[i])
			v += weight * float64(at)
		}
		return v
	}
	from, to := value(low), value(high)
	var out []string
	for i := 1; i <= n; i++ {
		v := from + (to-from)*float64(i)/float64(n+1)
		guess := []byte(low[:common])
		for range 8 {
			v *= base
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
