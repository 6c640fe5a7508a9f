package policies

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing wrong with a policy file, and where.
type Problem struct {
	File    string // as given to Load or Parse
	Line    int    // from 1; 0 when the problem has no place in a file
	Column  int    // from 1, in characters
	Path    string // YAML path, such as policies[0].brake.deletes; empty for the file as a whole
	Message string
	Hint    string // what to do about it; may be empty
}

// Error writes the problem on one line: file:line:column: path: message (hint).
func (p Problem) Error() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File + ":")
	}
	if p.Line > 0 {
		fmt.Fprintf(&b, "%d:%d:", p.Line, p.Column)
	}
	if b.Len() > 0 {
		b.WriteString(" ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		b.WriteString(" (" + p.Hint + ")")
	}
	return b.String()
}

// Errors is every problem of a policy file, in the order of the file. It is
// never returned empty.
type Errors []Problem

// Error writes one problem a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// nearest returns the candidate most like a word, "" when none is like it.
func nearest(word string, candidates []string) string {
	best, distance := "", max(len(word)/3, 1)+1
	for _, c := range candidates {
		if d := editDistance(strings.ToLower(word), strings.ToLower(c)); d < distance {
			best, distance = c, d
		}
	}
	return best
}

// editDistance counts inserts, deletes, replacements and swaps of neighbours
// that turn a into b.
func editDistance(a, b string) int {
	if len(a) > maxContainerName || len(b) > maxContainerName {
		return maxContainerName
	}
	before, last, row := []int{}, make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = slices.Clone(last), row, slices.Clone(last)
	}
	return last[len(b)]
}
