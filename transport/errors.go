package transport

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Class is what an error means for the caller. An endpoint decides it once, at
// the edge; nobody looks at status codes or texts after that.
type Class int

// The classes.
const (
	Permanent Class = iota // trying again cannot help
	Transient              // a passing failure: try again later
	Throttled              // the server asks for less: 429, 498, 503
	NotFound
	Exists   // the name is taken (If-None-Match)
	Changed  // the object is no longer the version asked for
	Denied   // no right, or the login failed
	Quota    // the account or container may not grow (413)
	Corrupt  // bytes or checksums do not agree
	Canceled // the caller's context ended
)

func (c Class) String() string {
	return [...]string{"permanent", "transient", "throttled", "not found", "exists", "changed",
		"denied", "quota", "corrupt", "canceled"}[c]
}

// Error is a failed operation on a region. Its text names operation, item,
// region and cause; Hint says what to do next (promise 10).
type Error struct {
	Op        string // "get", "put", "list", "log in" …
	Region    string
	Container string
	Name      string
	Class     Class
	Status    int           // HTTP status; 0: none
	After     time.Duration // Retry-After; 0: not given
	TxID      string        // X-Trans-Id, to search a server's log with
	Err       error
	Hint      string // overrides the class's hint
}

// Error gives one line: put photos/a%0Ab (region lyon): 413 quota exceeded.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Container != "" {
		fmt.Fprintf(&b, " %s", PrintName(e.Container))
		if e.Name != "" {
			fmt.Fprintf(&b, "/%s", PrintName(e.Name))
		}
	}
	fmt.Fprintf(&b, " (region %s): ", e.Region)
	switch {
	case e.Err != nil:
		b.WriteString(e.Err.Error())
	default:
		b.WriteString(e.Class.String())
	}
	if e.TxID != "" {
		fmt.Fprintf(&b, " [%s]", e.TxID)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// PrintName makes a name safe to print on one line of a terminal.
func PrintName(s string) string {
	q := fmt.Sprintf("%q", s)
	if q[1:len(q)-1] == s {
		return s
	}
	return q
}

// ClassOf gives the class of an error; errors of unknown origin are Permanent.
func ClassOf(err error) Class {
	var e *Error
	switch {
	case err == nil:
		return Permanent
	case errors.As(err, &e):
		return e.Class
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Canceled
	}
	return Permanent
}

// Is reports whether err is of the class.
func Is(err error, c Class) bool { return err != nil && ClassOf(err) == c }

// HintOf says what the person reading the error can do next.
func HintOf(err error) string {
	var e *Error
	if !errors.As(err, &e) {
		return ""
	}
	if e.Hint != "" {
		return e.Hint
	}
	switch e.Class {
	case Transient:
		return "it will be tried again by the next pass; if it persists, check that the region answers: farshore region check " + e.Region
	case Throttled:
		return "the region asks for less: lower limits.streams or run at a quieter hour; the next pass goes on from here"
	case NotFound:
		return "check the name, and that the login may see it: farshore region check " + e.Region
	case Exists:
		return "something not written by farshore has this name; remove it, or set takeover: true in the policy"
	case Changed:
		return "the object was replaced while it was read; the next pass takes the new version"
	case Denied:
		return "the login lacks the right or its password is wrong: farshore region check " + e.Region + " --probe"
	case Quota:
		return "raise the quota of the account or container in region " + e.Region + ", or free space there"
	case Corrupt:
		return "bytes were damaged on the way or at rest; run farshore audit --read 100% and report it to the region's operator if it returns"
	}
	return ""
}
