package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
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
	if e.Region != "" { // not of one: something of the ledger
		fmt.Fprintf(&b, " (region %s)", e.Region)
	}
	b.WriteString(": ")
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

// Classified is an error of another package that knows its class.
type Classified interface {
	error
	ErrorClass() Class
}

// ClassOf gives the class of an error. Failures of the network (lost or refused
// connections, dial timeouts, names that do not resolve, bodies cut short) are
// Transient, refused certificates Permanent like every error of unknown origin.
func ClassOf(err error) Class {
	var (
		e    *Error
		c    Classified
		op   *net.OpError
		dns  *net.DNSError
		cert *tls.CertificateVerificationError
		u    *url.Error
	)
	switch {
	case err == nil:
		return Permanent
	case errors.As(err, &e):
		return e.Class
	case errors.As(err, &c):
		return c.ErrorClass()
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.As(err, &cert):
		return Permanent
	case errors.As(err, &op), errors.As(err, &dns):
		// Before DeadlineExceeded: a dial that timed out by itself says it is that too.
		return Transient
	case errors.Is(err, context.DeadlineExceeded):
		return Canceled
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return Transient
	case errors.As(err, &u):
		return classOfURL(u)
	}
	return Permanent
}

// classOfURL classes what http.Client could not finish: a bare EOF is a server that
// closed the connection; net/http's own complaints have no types and are known by
// their texts.
func classOfURL(u *url.Error) Class {
	if errors.Is(u.Err, io.EOF) {
		return Transient
	}
	text := u.Err.Error()
	for _, t := range []string{"server closed", "connection lost", "transport connection broken",
		"TLS handshake timeout", "idle connection", "malformed HTTP response"} {
		if strings.Contains(text, t) {
			return Transient
		}
	}
	return Permanent
}

// ClassOfStatus gives the class of an HTTP reply's status from a Swift or
// Keystone server (openstack-facts N2, L1, L1b; api-ref object-store). 409 on an
// object is an older timestamp at some replica and passes; on a container it is "not empty": the
// endpoint tells them apart.
func ClassOfStatus(status int) Class {
	switch status {
	case 401, 403:
		return Denied
	case 404, 410:
		return NotFound
	case 408, 499, 500, 502, 504, 507:
		return Transient
	case 412:
		return Changed
	case 413:
		return Quota
	case 422:
		return Corrupt
	case 429, 498, 503:
		return Throttled
	}
	if status > 504 {
		return Transient
	}
	return Permanent
}

// Is reports whether err is of the class.
func Is(err error, c Class) bool { return err != nil && ClassOf(err) == c }

// AfterOf gives the Retry-After of an error; 0: none was given.
func AfterOf(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.After
	}
	return 0
}

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
		return "a pass tries again by itself; if it persists, check that the region answers: farshore region check " + e.Region
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

// RetryAfter reads a Retry-After header, seconds or an HTTP date; 0: none, or past.
func RetryAfter(header string, now time.Time) time.Duration {
	header = strings.TrimSpace(header)
	if s, err := strconv.ParseFloat(header, 64); err == nil {
		if !(s > 0) { // NaN, too
			return 0
		}
		return time.Duration(min(s, 1e6) * float64(time.Second))
	}
	if t, err := http.ParseTime(header); err == nil {
		return max(t.Sub(now), 0)
	}
	return 0
}
