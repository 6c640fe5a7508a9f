package swift

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"farshore/transport"
)

func TestInfoURL(t *testing.T) {
	for path, want := range map[string]string{"/v1/AUTH_x": "/info", "/swift/v1/AUTH_x": "/swift/info", "/swift/v1": "/swift/info",
		"/v1.0/x": "/info", "/a/b/v1/AUTH_v2": "/a/b/info", "/odd": "/info"} {
		if got, err := infoURL("https://h:1" + path); err != nil || got != "https://h:1"+want {
			t.Errorf("%s: %s %v, want %s", path, got, err, want)
		}
	}
}

func TestEpoch(t *testing.T) {
	for in, want := range map[string]string{"1795367109.99720": "2026-11-22T17:05:09.9972Z", "1795367109": "2026-11-22T17:05:09Z",
		"0000001795.000001": "1970-01-01T00:29:55.000001Z", "1795367109.99720_0000000000000001": "2026-11-22T17:05:09.9972Z",
		"1795367109.1234567": "2026-11-22T17:05:09.123456Z"} {
		if got, ok := parseEpoch(in); !ok || got.Format(time.RFC3339Nano) != want {
			t.Errorf("%s: %v %v, want %s", in, got.Format(time.RFC3339Nano), ok, want)
		}
	}
	for _, in := range []string{"", "x", "1.x", "now"} {
		if got, ok := parseEpoch(in); ok {
			t.Errorf("%q: %v", in, got)
		}
	}
}

func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"<html><h1>Not Found</h1><p>The resource could not be found.</p></html>": "Not Found The resource could not be found.",
		"Upload exceeds quota.": "Upload exceeds quota.", "a\r\n  b\x1b[1mc\x00": "a b[1mc", "": "", "<p": "",
		"<head><title>nginx</title></head>&lt;b&gt; &amp; more": "<b> & more",
		strings.Repeat("é", 200):                                strings.Repeat("é", 150) + "…",
	} {
		if got := transport.OneLine(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestBetween measures how evenly names of usual kinds are cut, by their ranks.
func TestBetween(t *testing.T) {
	kinds := map[string]func(i int) string{
		"counted":   func(i int) string { return fmt.Sprintf("obj-%08d", i) },
		"hex":       func(i int) string { return fmt.Sprintf("%08x", uint32(i)*2654435761) },
		"uuid-like": func(i int) string { return fmt.Sprintf("%08x-%04x-11ef", uint32(i)*2654435761, i%65536) },
		"dated":     func(i int) string { return fmt.Sprintf("logs/2026-%02d-%02d/%02d.gz", i/2800%12+1, i/100%28+1, i%100) },
		"letters": func(i int) string {
			n := uint32(i) * 2654435761
			return string([]byte{byte('a' + n>>8%26), byte('a' + n>>13%26), byte('a' + n>>18%26)}) + fmt.Sprint(i)
		},
	}
	for kind, name := range kinds {
		var names []string
		for i := range 33_600 {
			names = append(names, name(i))
		}
		slices.Sort(names)
		for _, n := range []int{2, 4, 16} {
			var ranks []int
			for _, g := range between(names[0], names[len(names)-1], n-1, []string{names[0], names[len(names)-1]}) {
				if !utf8.ValidString(g) {
					t.Errorf("%s: %q is no UTF-8", kind, g)
				}
				at, _ := slices.BinarySearch(names, g)
				ranks = append(ranks, at)
			}
			widest, last := 0, 0
			for _, at := range append(ranks, len(names)) {
				widest, last = max(widest, at-last), at
			}
			t.Logf("%s in %d: %d cuts, widest part %.2f of the ideal", kind, n, len(ranks), float64(widest)*float64(n)/float64(len(names)))
			if widest > 3*len(names)/n {
				t.Errorf("%s in %d: a part of %d of %d names", kind, n, widest, len(names))
			}
		}
	}
	if got := between("a", "\U0010ffff", 5, []string{"a", "\U0010ffff", "é", "日本"}); slices.ContainsFunc(got, func(s string) bool { return !utf8.ValidString(s) }) {
		t.Errorf("%q", got)
	}
}
