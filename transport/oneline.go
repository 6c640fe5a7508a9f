package transport

import (
	"html"
	"regexp"
	"strings"
	"unicode/utf8"
)

// The texts of error pages, from one line of words to Keystone's JSON.
var (
	titleTag = regexp.MustCompile(`(?is)<(title|head|style|script)[^>]*>.*?</(title|head|style|script)>`)
	anyTag   = regexp.MustCompile(`<[^>]*>?`)
	spaces   = regexp.MustCompile(`\s+`)
)

// OneLine makes the text of a reply that is a failure readable in an error: no HTML, no
// line breaks, at most 300 bytes.
func OneLine(text string) string {
	if strings.Contains(text, "<") {
		text = html.UnescapeString(anyTag.ReplaceAllString(titleTag.ReplaceAllString(text, " "), " "))
	}
	text = strings.TrimSpace(spaces.ReplaceAllString(text, " "))
	if len(text) > 300 {
		cut := 300
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, text)
}
