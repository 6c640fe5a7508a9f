package report

import (
	"strconv"
	"strings"
)

// Count is a number of things in a sentence: "1 copy", "2 copies". noun is what one of
// them is called; what follows it in the sentence is the caller's, see Are.
func Count[N int | int64](n N, noun string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(noun, "y"):
		noun = strings.TrimSuffix(noun, "y") + "ies"
	default:
		noun += "s"
	}
	return strconv.FormatInt(int64(n), 10) + " " + noun
}

// Are is the verb after a Count: "is" of one, "are" of none or more.
func Are[N int | int64](n N) string {
	if n == 1 {
		return "is"
	}
	return "are"
}
