package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The board asks for series that docs/metrics.md names, with labels that they have, and
// its panels have titles and descriptions, and do not lie on one another.
func TestGrafanaBoard(t *testing.T) {
	text, err := os.ReadFile("deploy/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		UID    string
		Panels []struct {
			ID                       int
			Type, Title, Description string
			GridPos                  struct{ X, Y, W, H int }
			Targets                  []struct {
				Expr, RefID string
			}
		}
		Templating struct {
			List []struct{ Name, Definition string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	labels := documentedLabels(t)
	asked := map[string]bool{}
	check := func(where, expr string) {
		names := regexp.MustCompile(`farshore_[a-z_]+`).FindAllString(expr, -1)
		if len(names) == 0 {
			t.Errorf("%s: %q asks for nothing of ours", where, expr)
		}
		for _, name := range names {
			if asked[name] = true; labels[name] == "" {
				t.Errorf("%s: docs/metrics.md has no series %s", where, name)
			}
		}
		for _, m := range regexp.MustCompile(`(farshore_[a-z_]+)\{([^}]*)\}`).FindAllStringSubmatch(expr, -1) {
			for _, l := range regexp.MustCompile(`([a-z]+)[=!]~?"`).FindAllStringSubmatch(m[2], -1) {
				if !strings.Contains(labels[m[1]], "`"+l[1]+"`") {
					t.Errorf("%s: %s has no label %s, only %s", where, m[1], l[1], labels[m[1]])
				}
			}
		}
		if strings.Count(expr, "(") != strings.Count(expr, ")") || strings.Count(expr, "{") != strings.Count(expr, "}") {
			t.Errorf("%s: %q is not balanced", where, expr)
		}
	}
	for _, v := range board.Templating.List {
		if v.Definition != "" {
			check("variable "+v.Name, v.Definition)
		}
	}
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range board.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the id %d", p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if at := [2]int{x, y}; taken[at] != "" || x >= 24 {
					t.Fatalf("%s lies on %q, or beyond the edge", p.Title, taken[at])
				} else {
					taken[at] = p.Title
				}
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Title == "" || p.Description == "" || len(p.Targets) == 0 {
			t.Errorf("panel %d (%s) says too little", p.ID, p.Title)
		}
		for _, q := range p.Targets {
			check(p.Title, q.Expr)
		}
	}
	if board.UID == "" || len(asked) < 20 {
		t.Errorf("the board asks only for %d series", len(asked))
	}
}

// documentedLabels gives the column of labels of each series of docs/metrics.md, with what
// "same" stands for.
func documentedLabels(t *testing.T) map[string]string {
	doc, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	out, last := map[string]string{}, ""
	for _, m := range regexp.MustCompile("(?m)^\\| `(farshore_[a-z_]+)` \\| ([^|]*)\\|").FindAllStringSubmatch(string(doc), -1) {
		if strings.HasPrefix(m[2], "same") {
			m[2] = last + m[2]
		} else {
			last = m[2]
		}
		out[m[1]] = " " + m[2]
	}
	return out
}

// The alert rules ask for series that docs/metrics.md names.
func TestAlertRules(t *testing.T) {
	text, err := os.ReadFile("deploy/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	labels := documentedLabels(t)
	rules := regexp.MustCompile(`(?m)^ *expr: (.*)$`).FindAllStringSubmatch(string(text), -1)
	if len(rules) < 9 {
		t.Fatalf("only %d rules", len(rules))
	}
	for _, m := range rules {
		for _, name := range regexp.MustCompile(`farshore_[a-z_]+`).FindAllString(m[1], -1) {
			if labels[name] == "" {
				t.Errorf("%s: docs/metrics.md has no series %s", m[1], name)
			}
		}
	}
}
