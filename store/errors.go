package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	berrors "go.etcd.io/bbolt/errors"
)

// What can be wrong with the file as a whole. They come wrapped in an *Error,
// which says which file and what to do next.
var (
	ErrLocked   = errors.New("ledger is in use")
	ErrNewer    = errors.New("ledger was written by a newer version")
	ErrCorrupt  = errors.New("ledger is damaged")
	ErrFull     = errors.New("no space left for the ledger")
	ErrReadOnly = errors.New("ledger is open for reading only")
	ErrClosed   = errors.New("ledger is closed")
)

// What can be wrong with a request.
var (
	// ErrUnknown: a place or route number that this ledger never gave out.
	ErrUnknown = errors.New("unknown place or route")
	// ErrNoIntent: a chunk was reported for an object without a matching intent.
	ErrNoIntent = errors.New("no such intent")
	// ErrInvalid: a record that cannot be kept, such as one with an empty name.
	ErrInvalid = errors.New("invalid record")
)

// Error is a failure of the ledger with what a person needs to act on it.
type Error struct {
	Kind   error  // one of the sentinels above, or nil
	Path   string // of the ledger
	Detail string // what was found, in a few words; may be ""
	Hint   string // what to do next; may be ""
	Err    error  // the cause below; may be nil
}

// Error puts it on one line.
func (e *Error) Error() string {
	var s strings.Builder
	fmt.Fprintf(&s, "ledger %s", e.Path)
	if e.Kind != nil {
		s.WriteString(": " + strings.TrimPrefix(e.Kind.Error(), "ledger "))
	}
	if e.Detail != "" {
		s.WriteString(": " + e.Detail)
	}
	if e.Err != nil {
		s.WriteString(": " + e.Err.Error())
	}
	if e.Hint != "" {
		s.WriteString("; " + e.Hint)
	}
	return s.String()
}

// Unwrap gives both the kind and the cause to errors.Is.
func (e *Error) Unwrap() []error {
	var out []error
	if e.Kind != nil {
		out = append(out, e.Kind)
	}
	if e.Err != nil {
		out = append(out, e.Err)
	}
	return out
}

func corrupt(path string, err error, format string, args ...any) *Error {
	detail := fmt.Sprintf(format, args...)
	return &Error{Kind: ErrCorrupt, Path: path, Detail: detail, Err: err,
		Hint: "run `farshore ledger check`, keep the file, and go back to a copy or run `farshore ledger rebuild`"}
}

// unfit is the error for a file that cannot be opened: damaged, or no ledger at all.
func unfit(path string, err error) *Error {
	e := corrupt(path, err, "")
	if errors.Is(err, errForeign) {
		e.Hint = "nothing was changed; name another file, or move this one away to start a new ledger"
	}
	return e
}

// full says whether an error means that the file could not grow. Truncate's
// errno is lost inside bbolt's grow (it formats with %s), hence the texts.
func full(err error) bool {
	for _, no := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, no) || strings.Contains(err.Error(), "file resize error") && strings.Contains(err.Error(), no.Error()) {
			return true
		}
	}
	return errors.Is(err, io.ErrShortWrite) || errors.Is(err, berrors.ErrMaxSizeReached)
}

// wrap turns what bbolt and the file system say into this package's errors.
func wrap(path, verb string, err error) error {
	if err == nil {
		return nil
	}
	if known := (*Error)(nil); errors.As(err, &known) {
		return err
	}
	var fault *faultError
	switch {
	case errors.As(err, &fault):
		// A hole of a sparse file that the file system can no longer back faults like damage does.
		if free, ok := freeBytes(path); ok && free < 1<<16 && fault.memory {
			return fullError(path, verb, err)
		}
		return corrupt(path, err, "%s", verb)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return corrupt(path, err, "%s", verb)
	case full(err):
		return fullError(path, verb, err)
	case errors.Is(err, berrors.ErrDatabaseReadOnly):
		return readOnlyError(path, verb)
	case errors.Is(err, os.ErrPermission):
		return &Error{Path: path, Detail: verb, Err: err, Hint: "check the owner and mode of the file and its folder"}
	}
	return &Error{Path: path, Detail: verb, Err: err}
}

func fullError(path, verb string, err error) error {
	e := &Error{Kind: ErrFull, Path: path, Detail: verb, Err: err, Hint: "make room there (or raise the quota or file size limit): farshore run then goes on by itself, another command is run again; nothing confirmed was lost"}
	if free, ok := freeBytes(path); ok {
		e.Detail = fmt.Sprintf("%s (%d bytes free there)", verb, free)
	}
	return e
}

func readOnlyError(path, verb string) error {
	return &Error{Kind: ErrReadOnly, Path: path, Detail: verb, Hint: "use a command that writes, or ask the process that holds the ledger"}
}

// faultError is a panic or memory fault inside bbolt: damaged pages, or a file
// that became shorter than its mapping.
type faultError struct {
	what   string
	memory bool
}

func (e *faultError) Error() string { return e.what }
