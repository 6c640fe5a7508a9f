package policies

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

// maxContainerName is Swift's limit for a container's name, in bytes.
const maxContainerName = 256

// ownPrefix begins the names of the containers Farshore keeps for itself (R12).
const ownPrefix = ".farshore-"

// segmentsSuffix ends the names of containers that hold the segments of large
// objects, Farshore's own (R12) and, by custom, those of other clients.
const segmentsSuffix = "_segments"

// cinderContainer is where cinder-backup stores by default (C1).
const cinderContainer = "volumebackups"

// Reserved tells why no wildcard ever matches a container: "" for those it may.
// Segments travel as part of their objects, and backups with their records.
func Reserved(container string) string {
	switch {
	case strings.HasPrefix(container, ownPrefix):
		return "is Farshore's own"
	case strings.HasSuffix(container, segmentsSuffix):
		return "holds segments of large objects"
	case container == cinderContainer:
		return "holds Cinder's backups"
	}
	return ""
}

// Selects tells whether the policy covers a container. The patterns are tried in
// order and the last that matches decides; "!" in front excludes. "*" stands for
// any characters, "?" for one, "[a-z]" for one of a set, "[^a-z]" for one outside
// of it, "\" takes the next character as it is. A reserved container is matched
// only by its name in full. Patterns that cannot be read (Check refuses them)
// select nothing.
func (p Policy) Selects(container string) bool {
	rules, err := compileRules(p.Containers)
	if err != nil {
		return false
	}
	matches := func(i int) bool { return rules[i].glob.match(container) }
	return selected(rules, decide(rules, matches, Reserved(container) != ""))
}

// Skips tells why a container that the policy's wildcards would match is left
// alone all the same; "" when that is not so. Worth a line in a report: someone
// may have meant it.
func (p Policy) Skips(container string) string {
	reason := Reserved(container)
	rules, err := compileRules(p.Containers)
	if reason == "" || err != nil || p.Selects(container) {
		return ""
	}
	matches := func(i int) bool { return rules[i].glob.match(container) }
	if !selected(rules, decide(rules, matches, false)) {
		return ""
	}
	return reason
}

// literalPattern returns the pattern that matches one name and nothing else.
func literalPattern(name string) string {
	name = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
	if strings.HasPrefix(name, "!") {
		return `\` + name
	}
	return name
}

// Destination returns the name a container has at the destination: the template
// with {container} and {from} filled in. It is an error when Swift would refuse
// the name (empty, over 256 bytes, with a slash) or when it is one of Farshore's own.
func (p Policy) Destination(container string) (string, error) {
	template := cmp.Or(p.Container, DefaultTemplate)
	name := strings.NewReplacer("{container}", container, "{from}", p.From).Replace(template)
	if err := checkContainerName(name); err != nil {
		return "", fmt.Errorf("name container %q at the destination by %q: %w", container, template, err)
	}
	return name, nil
}

// fillFrom returns the template with {from} filled in.
func fillFrom(p Policy) string {
	return strings.ReplaceAll(cmp.Or(p.Container, DefaultTemplate), "{from}", p.From)
}

func checkContainerName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("%q is no container name", name)
	case len(name) > maxContainerName:
		return fmt.Errorf("the name has %d bytes, a container's name at most %d", len(name), maxContainerName)
	case strings.Contains(name, "/"):
		return errors.New("a container's name cannot contain a slash")
	case strings.HasPrefix(name, ownPrefix):
		return fmt.Errorf("names that begin with %q are Farshore's own", ownPrefix)
	}
	return nil
}
