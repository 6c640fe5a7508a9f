package policies

import (
	"fmt"
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
