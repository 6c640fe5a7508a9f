package policies

import (
	"path"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestSelects(t *testing.T) {
	for _, c := range []struct {
		patterns string
		yes, no  string
	}{
		{"assets-* !assets-tmp", "assets- assets-a assets-tmp2", "assets assets-tmp xassets-a"},
		{"*", "a volumebackups2 a_segments2 farshore-x", ".farshore-segments .farshore- a_segments _segments volumebackups"},
		{"* a_segments", "a_segments b", "b_segments"},
		{"* volumebackups", "volumebackups", "volumebackups_segments"},
		{"volumebackup?", "volumebackupx", "volumebackups"},
		{".farshore-* .farshore-x", ".farshore-x", ".farshore-y"},
		{"* a_segments !*_segments", "a", "a_segments"},
		{"!tmp *", "tmp", ""},
		{"a* !a[0-9]* a1", "ab a1 a", "a2 a11"},
		{"x[^ab]", "xc xä", "xa xb x xcc"},
		{`a\*b`, "a*b", "aXb ab"},
		{`\!a`, "!a", "a"},
		{"a?c", "abc aéc", "ac abbc"},
		{"[a-c", "", "a [a-c"},
		{"!a", "", "a b"},
	} {
		p := Policy{Containers: strings.Fields(c.patterns)}
		for _, name := range strings.Fields(c.yes) {
			if !p.Selects(name) {
				t.Errorf("%s does not select %q", c.patterns, name)
			}
		}
		for _, name := range strings.Fields(c.no) {
			if p.Selects(name) {
				t.Errorf("%s selects %q", c.patterns, name)
			}
		}
	}
	if (Policy{}).Selects("a") {
		t.Error("no patterns select a container")
	}
}

func TestSkips(t *testing.T) {
	p := Policy{Containers: []string{"*", "b_segments", "!c_*"}}
	for name, skipped := range map[string]bool{"a": false, "a_segments": true, "b_segments": false, "c_segments": false, "volumebackups": true, ".farshore-x": true} {
		if got := p.Skips(name) != ""; got != skipped {
			t.Errorf("Skips(%q) = %q", name, p.Skips(name))
		}
	}
}

// drawPattern makes patterns and names over few letters, so that they meet often.
func drawPattern(t *rapid.T) string {
	parts := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "_", "é", "*", "?", "[ab]", "[^a]", "[a-b_]", `\*`, `\b`, "[", "[]", "[^]a]", "-", `[\]a]`, "_segments", "volumebackups", ".farshore-"}), 1, 4)
	return strings.Join(parts.Draw(t, "pattern"), "")
}

func drawName(t *rapid.T) string {
	parts := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "_", "é", "*", "]", "-", "_segments", "volumebackups", ".farshore-"}), 0, 5)
	return strings.Join(parts.Draw(t, "name"), "")
}

// The oracle is the standard library's path.Match under the documented rule,
// written the simplest way.
func TestSelectsAgainstOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var patterns []string
		for range rapid.IntRange(1, 4).Draw(t, "n") {
			patterns = append(patterns, rapid.SampledFrom([]string{"", "!"}).Draw(t, "not")+drawPattern(t))
		}
		name := drawName(t)
		want, broken := false, false
		for _, raw := range patterns {
			pattern := strings.TrimPrefix(raw, "!")
			ok, err := path.Match(pattern, name)
			broken = broken || err != nil
			reserved := strings.HasPrefix(name, ".farshore-") || strings.HasSuffix(name, "_segments") || name == "volumebackups"
			wild := strings.ContainsAny(strings.NewReplacer(`\*`, "", `\b`, "").Replace(pattern), "*?[")
			if ok && raw != pattern {
				want = false
			} else if ok && (!reserved || !wild) {
				want = true
			}
		}
		if got := (Policy{Containers: patterns}).Selects(name); got != (want && !broken) {
			t.Fatalf("%q selects %q: %v, the oracle says %v", patterns, name, got, want)
		}
	})
}

func TestLiteralPatternMatchesItsNameOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringOfN(rapid.SampledFrom([]rune(`ab*?[]\!^-é_`)), 1, 8, -1).Draw(t, "name")
		other := rapid.StringOfN(rapid.SampledFrom([]rune(`ab*?[]\!^-é_`)), 1, 8, -1).Draw(t, "other")
		p := AdHoc("paris", name, []string{"lyon"}, "", false)
		if !p.Selects(name) || other != name && p.Selects(other) {
			t.Fatalf("AdHoc(%q): %q, selects itself %v, selects %q %v", name, p.Containers, p.Selects(name), other, p.Selects(other))
		}
	})
}

func TestDestination(t *testing.T) {
	for _, c := range []struct{ template, container, want string }{
		{"", "photos", "photos"},
		{"{container}", "photos", "photos"},
		{"{from}-{container}", "photos", "paris-photos"},
		{"{container}", "{from}", "{from}"},
		{"fixed", "photos", "fixed"},
		{"{container}", strings.Repeat("é", 128), strings.Repeat("é", 128)},
		{"x{container}", strings.Repeat("é", 128), ""},
		{"{container}", "a/b", ""},
		{"{container}", ".farshore-segments", ""},
		{"copy-of-{container}", ".farshore-segments", "copy-of-.farshore-segments"},
		{"{container}", "..", ""},
		{"{container}", "", ""},
	} {
		got, err := Policy{From: "paris", Container: c.template}.Destination(c.container)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("Destination(%q) by %q = %q, %v; want %q", c.container, c.template, got, err, c.want)
		}
	}
}
