package page

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// element is one start tag of the page.
type element struct {
	name string
	attr map[string]string
	text string // directly in it
	up   []string
}

// elements reads the page as a browser would: each start tag with what it is inside of.
func elements(t *testing.T, page string) []element {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(strings.Replace(page, "<!DOCTYPE html>", "", 1)))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	var out []element
	var open []int
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the page cannot be read: %v", err)
		}
		switch x := tok.(type) {
		case xml.StartElement:
			e := element{name: x.Name.Local, attr: map[string]string{}}
			for _, i := range open {
				e.up = append(e.up, out[i].name)
			}
			for _, a := range x.Attr {
				e.attr[a.Name.Local] = a.Value
			}
			open = append(open, len(out))
			out = append(out, e)
		case xml.EndElement:
			if len(open) == 0 || out[open[len(open)-1]].name != x.Name.Local {
				t.Fatalf("</%s> ends nothing", x.Name.Local)
			}
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				out[open[len(open)-1]].text += string(x)
			}
		}
	}
	if len(open) != 0 {
		t.Fatalf("%d elements are not ended", len(open))
	}
	return out
}

// What a screen reader and a keyboard need is there, nothing is asked of elsewhere, and
// nothing stands in the markup that the policy it is served with forbids.
func TestMarkup(t *testing.T) {
	all := elements(t, draw(t, sample()))
	ids, count := map[string]bool{}, map[string]int{}
	for _, e := range all {
		if e.name != "title" || e.up[len(e.up)-1] == "head" { // marks have titles too
			count[e.name]++
		}
		if id := e.attr["id"]; id != "" {
			if ids[id] {
				t.Errorf("two elements have the id %s", id)
			}
			ids[id] = true
		}
	}
	level := 0
	captions, heads := 0, 0
	for _, e := range all {
		for k, v := range e.attr {
			if k == "style" || strings.HasPrefix(k, "on") {
				t.Errorf("<%s %s=…> is not allowed by its own policy", e.name, k)
			}
			switch k {
			case "href", "src":
				if !strings.HasPrefix(v, "#") && !strings.HasPrefix(v, "/") {
					t.Errorf("<%s> leads elsewhere: %s", e.name, v)
				}
				if name, ok := strings.CutPrefix(v, "#"); ok && !ids[name] {
					t.Errorf("nothing has the id %s", name)
				}
			case "aria-labelledby", "aria-describedby":
				for name := range strings.FieldsSeq(v) {
					if !ids[name] {
						t.Errorf("<%s> is labelled by %s, which is not there", e.name, name)
					}
				}
			}
		}
		switch e.name {
		case "table":
			heads++
		case "caption":
			captions++
		case "th":
			if e.attr["scope"] == "" {
				t.Errorf("a <th> (%s) has no scope", e.text)
			}
		case "section", "nav":
			if e.attr["aria-labelledby"]+e.attr["aria-label"] == "" {
				t.Errorf("a <%s> has no name", e.name)
			}
		case "svg":
			if e.attr["aria-hidden"] == "" && (e.attr["role"] != "img" || e.attr["aria-labelledby"] == "") {
				t.Errorf("a drawing without a name: %v", e.attr)
			}
		case "script", "style":
			if strings.TrimSpace(e.text) != "" {
				t.Errorf("<%s> in the page itself", e.name)
			}
		case "h1", "h2", "h3", "h4":
			n := int(e.name[1] - '0')
			if n > level+1 {
				t.Errorf("<%s> follows <h%d>", e.name, level)
			}
			level = n
		case "div":
			if e.attr["class"] == "scroll" && (e.attr["tabindex"] != "0" || e.attr["role"] != "region" || e.attr["aria-label"]+e.attr["aria-labelledby"] == "") {
				t.Errorf("what scrolls cannot be reached by keys: %v", e.attr)
			}
		}
	}
	if captions != heads || heads < 12 {
		t.Errorf("%d tables, %d captions", heads, captions)
	}
	for name, n := range map[string]int{"h1": 1, "main": 1, "header": 1, "footer": 1, "nav": 1, "title": 1} {
		if count[name] != n {
			t.Errorf("%d <%s>, want %d", count[name], name, n)
		}
	}
	body := slices.IndexFunc(all, func(e element) bool { return e.name == "body" })
	if first := all[body+1]; first.attr["class"] != "skip" || first.attr["href"] != "#main" {
		t.Errorf("the first thing a key reaches is %v", first)
	}
	if strings.Contains(draw(t, sample()), `http-equiv="refresh"`) {
		t.Error("it refreshes itself without a script")
	}
}

// A view without anything is a page too.
func TestEmpty(t *testing.T) {
	all := elements(t, draw(t, View{Now: now, Began: now}))
	if len(all) < 30 {
		t.Errorf("only %d elements", len(all))
	}
}

// Text and marks can be read against what they stand on, in both schemes (WCAG 2.2 AA).
func TestContrast(t *testing.T) {
	light, dark, ok := strings.Cut(string(Style), "@media (prefers-color-scheme: dark)")
	if !ok {
		t.Fatal("there is no dark scheme")
	}
	dark, _, _ = strings.Cut(dark, "\n* {")
	for scheme, css := range map[string]string{"light": light, "dark": dark} {
		colour := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z0-9]+): #([0-9a-f]{6})`).FindAllStringSubmatch(css, -1) {
			colour[m[1]] = luminance(t, m[2])
		}
		need := func(ink, ground string, least float64) {
			a, b := colour[ink], colour[ground]
			if colour[ink] == 0 && colour[ground] == 0 {
				t.Fatalf("%s: %s or %s is no colour", scheme, ink, ground)
			}
			if got := (max(a, b) + 0.05) / (min(a, b) + 0.05); got < least {
				t.Errorf("%s: %s on %s has a contrast of %.2f, want %.1f", scheme, ink, ground, got, least)
			}
		}
		for _, ink := range []string{"ink", "soft", "link", "good", "warn", "bad", "calm"} {
			need(ink, "page", 4.5)
			need(ink, "box", 4.5)
		}
		for _, x := range []string{"good", "warn", "bad"} {
			need(x, x+"bg", 4.5)
		}
		for _, mark := range []string{"s0", "s1", "s2", "s3", "s4", "s5", "focus"} {
			need(mark, "page", 3)
		}
	}
}

func luminance(t *testing.T, hex string) float64 {
	out := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		c := float64(n) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		out += weight * c
	}
	return out
}
