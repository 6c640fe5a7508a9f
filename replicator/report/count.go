package report

import (
	"strconv"
	"strings"
)

// Count is a number of things in a sentence: "1 copy", "2 copies". noun is what one of
// them is called; what follows it in the sentence is the caller's, see Are.
func Count[N int | int64](n N, noun string) string {
	return strconv.FormatInt(int64(n), 10) + " " + Noun(n, noun)
}

// Noun is what that many things are called, of which one is called noun.
func Noun[N int | int64](n N, noun string) string {
	switch {
	case n == 1:
		return noun
	case strings.HasSuffix(noun, "y"):
		return strings.TrimSuffix(noun, "y") + "ies"
	case strings.HasSuffix(noun, "ss"):
		return noun + "es"
	}
	return noun + "s"
}

// Shorten cuts a text to at most so many characters, the last of which tells of it.
func Shorten(text string, most int) string {
	if r := []rune(text); len(r) > most {
		return string(r[:max(most-1, 0)]) + "…"
	}
	return text
}

// Are is the verb after a Count: "is" of one, "are" of none or more.
func Are[N int | int64](n N) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// Differ is another.
func Differ[N int | int64](n N) string {
	if n == 1 {
		return "differs"
	}
	return "differ"
}
