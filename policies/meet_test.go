package policies

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func rulesOf(t interface{ Fatal(...any) }, patterns ...string) []rule {
	rules, err := compileRules(patterns)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func TestMeet(t *testing.T) {
	for _, c := range []struct {
		a, aTemplate, b, bTemplate string
		want                       string // a shortest common name; "" when there is none
	}{
		{"assets-*", "", "*", "", "assets-"},
		{"assets-*", "", "logs-*", "", ""},
		{"assets-* !assets-tmp", "", "assets-tmp", "", ""},
		{"assets-*", "", "assets-tmp", "", "assets-tmp"},
		{"*", "paris-{container}", "*", "berlin-{container}", ""},
		{"*", "paris-{container}", "paris-x", "", "paris-x"},
		{"*", "{from}-{container}", "*", "", "paris-a"},
		{"*a", "", "b*", "", "ba"},
		{"[ab]?", "", "[bc][0-9]", "", "b0"},
		{"*", "", "volumebackups", "", ""}, // a wildcard leaves it alone
		{"*", "x-{container}", "x-volumebackups", "", ""},
		{"volumebackups", "", "volumebackups", "", "volumebackups"},
		{"a", "all", "b", "all", "all"},
		{"*x*", "", "*y*", "", "xy"},
		{"* !*x*", "", "*x*", "", ""},
		{"*", "{container}-a", "*", "b-{container}", "b-a"},
	} {
		pa, pb := Policy{From: "paris", Container: c.aTemplate}, Policy{From: "paris", Container: c.bTemplate}
		got, found, sure := meet(
			destinationNames(pa, rulesOf(t, strings.Fields(c.a)...)),
			destinationNames(pb, rulesOf(t, strings.Fields(c.b)...)))
		if !sure || found != (c.want != "") || len(got) != len(c.want) {
			t.Errorf("%s (%s) and %s (%s) meet at %q (%v, %v), want %q", c.a, c.aTemplate, c.b, c.bTemplate, got, found, sure, c.want)
		}
	}
}

// The oracle tries every short name on both policies.
func TestMeetAgainstOracle(t *testing.T) {
	var candidates []string
	parts := []string{"a", "b", "_", "c"}
	level := []string{""}
	for range 4 {
		var next []string
		for _, s := range level {
			for _, p := range parts {
				next = append(next, s+p)
			}
		}
		candidates, level = append(candidates, next...), next
	}
	candidates = append(candidates, "volumebackups", "a_segments", "_segments", ".farshore-x", ".farshore-", "a-volumebackups", "é", "volumebackupsa")
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) (Policy, []rule) {
			var patterns []string
			for range rapid.IntRange(1, 3).Draw(t, label) {
				pattern := rapid.SampledFrom([]string{"", "", "!"}).Draw(t, "not") + strings.Join(rapid.SliceOfN(
					rapid.SampledFrom([]string{"a", "b", "_", "*", "?", "[ab]", "[^a]", "_segments", "volumebackups"}), 1, 3).Draw(t, "pattern"), "")
				patterns = append(patterns, pattern)
			}
			p := Policy{From: "b", Containers: patterns, Container: rapid.SampledFrom([]string{"{container}", "a{container}", "{container}b", "{from}{container}", "{container}_segments"}).Draw(t, "template")}
			return p, rulesOf(t, patterns...)
		}
		a, rulesA := draw("a")
		b, rulesB := draw("b")
		writes := func(p Policy) map[string]bool {
			out := map[string]bool{}
			for _, name := range candidates {
				if p.Selects(name) {
					out[strings.ReplaceAll(strings.ReplaceAll(p.Container, "{container}", name), "{from}", p.From)] = true
				}
			}
			return out
		}
		got, found, sure := meet(destinationNames(a, rulesA), destinationNames(b, rulesB))
		if !sure {
			t.Fatalf("not sure about %q and %q", a.Containers, b.Containers)
		}
		shortest := ""
		byB := writes(b)
		for name := range writes(a) {
			if byB[name] && (shortest == "" || len(name) < len(shortest)) {
				shortest = name
			}
		}
		if shortest != "" && (!found || len([]rune(got)) > len([]rune(shortest))) {
			t.Fatalf("%v %s and %v %s meet at %q, but find says %q, %v", a.Containers, a.Container, b.Containers, b.Container, shortest, got, found)
		}
		if found && (!comesFrom(a, got) || !comesFrom(b, got)) {
			t.Fatalf("%v %s and %v %s do not both write %q", a.Containers, a.Container, b.Containers, b.Container, got)
		}
	})
}

// comesFrom tells whether a policy writes a name, by taking the template off it.
func comesFrom(p Policy, name string) bool {
	before, after, _ := strings.Cut(strings.ReplaceAll(p.Container, "{from}", p.From), "{container}")
	rest, ok := strings.CutPrefix(name, before)
	rest, ok2 := strings.CutSuffix(rest, after)
	return ok && ok2 && len(before)+len(after) <= len(name) && p.Selects(rest)
}

// A file as large as they get is checked in a moment: measured in processor time,
// so that a busy machine does not matter. Walking all patterns of each pair, as a
// first version did, took minutes.
func TestCheckIsQuick(t *testing.T) {
	f := &File{Regions: map[string]Region{"paris": {Name: "paris", Cloud: "p"}, "lyon": {Name: "lyon", Cloud: "l"}}, Limits: Limits{Memory: DefaultMemory}}
	for i := range 50 {
		p := NewPolicy(fmt.Sprintf("p%d", i), "paris", "lyon")
		for j := range 20 {
			p.Containers = append(p.Containers, fmt.Sprintf("*team%d-%d-*", i, j), fmt.Sprintf("!team%d-%d-*tmp*", i, j))
		}
		p.Container = fmt.Sprintf("p%d-{container}", i)
		f.Policies = append(f.Policies, p)
	}
	before := processorTime(t)
	if err := f.Check(); err != nil {
		t.Fatal(err)
	}
	if took := processorTime(t) - before; took > 10*time.Second {
		t.Errorf("50 policies of 40 patterns took %s", took)
	} else {
		t.Logf("50 policies of 40 patterns: %s", took)
	}
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
