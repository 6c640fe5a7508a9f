// Package control lets people talk to the process that holds a ledger: what it is
// doing, its byte limit, what its daemon does when, and a graceful stop, as HTTP over a
// unix socket.
//
// Whoever opens a ledger for writing serves <ledger>.sock, mode 0600, so that only
// the same user (and root) can connect, or, where Allow names a group, mode 0660; there is
// no other authentication. Nothing secret
// is ever answered: no environment, no login, no token.
//
//	GET  /v1/status            Status
//	POST /v1/limits            Limits in, Status out
//	POST /v1/tasks             Order in, Status out; 409 when nobody there keeps a schedule,
//	                           422 with a hint for the token of a brake that does not hold
//	POST /v1/run               Request in: a command that the holder carries out on its
//	                           ledger; frames out, as it is said (run.go), then its exit code;
//	                           409 with a hint when it may not
//	POST /v1/cancel            Cancelled in: ends such a command; Status out
//	POST /v1/stop              ends the work as SIGTERM does; Status out
//
// Errors are {"error": "..."} with a status of 4xx or 5xx. Fields may be added within
// v1, none will be renamed or removed.
package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"farshore/replicator/report"
)

// Status is what the holder of a ledger is doing.
type Status struct {
	PID     int       `json:"pid"`
	Command string    `json:"command"` // as it was typed
	Version string    `json:"version"`
	Began   time.Time `json:"began"`
	Ledger  string    `json:"ledger"`
	// TotalLimit is the limit of all bytes sent, in force now, in bytes a second; 0: none.
	TotalLimit int64 `json:"total_limit"`
	// Limits are those of policies and of pairs of regions that were changed.
	Limits   []Limit `json:"limits,omitempty"`
	Stopping bool    `json:"stopping"` // it was asked to stop and is finishing
	// Unwritable is why the ledger cannot be written now; a daemon begins nothing meanwhile.
	Unwritable string `json:"unwritable,omitempty"`
	// Reading is how a daemon's policy file was read last.
	Reading  *Reading        `json:"policy_file,omitempty"`
	Snapshot report.Snapshot `json:"snapshot"`
	Lag      []report.Lag    `json:"lag,omitempty"`   // of a daemon: by policy and region
	Tasks    []Task          `json:"tasks,omitempty"` // what a daemon does again and again
	// Commands are those that it carries out for others, the oldest first.
	Commands []Command `json:"commands,omitempty"`
}

// Reading is how a daemon fared with its policy file.
type Reading struct {
	Taken time.Time `json:"taken"` // when the one in force was read
	// Refused is when a later one was refused, and Cause why; absent: none was.
	Refused time.Time `json:"refused,omitzero"`
	Cause   string    `json:"cause,omitempty"`
}

// Task is something that a daemon does again and again for a policy.
type Task struct {
	Policy  string    `json:"policy"`
	Kind    string    `json:"kind"` // pass, audit or drill
	Running bool      `json:"running"`
	Paused  bool      `json:"paused"`
	Asked   bool      `json:"asked"`          // a person asked for a run, which has not begun yet
	Began   time.Time `json:"began,omitzero"` // the run under way, or the last one
	Ended   time.Time `json:"ended,omitzero"` // absent: it runs, was cut short, or was never done
	Next    time.Time `json:"next,omitzero"`  // absent: it runs, is paused, or is never due
	Errors  int64     `json:"error_findings"` // of the last run
	Error   string    `json:"error,omitempty"`
	Held    bool      `json:"held,omitempty"` // the last run was stopped, by the brake or by a person, and is not tried again before Next
	// Brakes are the tokens of the brakes that stopped the last pass: an Order may name one.
	Brakes []string `json:"release_brakes,omitempty"`
}

// What an Order may ask for.
const (
	Pause  = "pause"
	Resume = "resume"
	RunNow = "run"
	Cancel = "cancel"
)

// Order is what a person wants of a policy's tasks.
type Order struct {
	Do     string `json:"do"` // Pause, Resume, RunNow or Cancel
	Policy string `json:"policy"`
	Kind   string `json:"kind,omitempty"` // with RunNow: pass, audit or drill
	// ReleaseBrake is the token of a brake that stopped the policy's pass; with RunNow of a pass.
	ReleaseBrake string `json:"release_brake,omitempty"`
}

// Limits are what may be changed while a pass runs.
type Limits struct {
	// Total is the limit of all bytes sent, in bytes a second: 0 for none, negative
	// for what the policy file says again. It lasts until the process ends.
	Total *int64 `json:"total,omitempty"`
	// Policy or Pair (as in "paris->lyon") say that Rate, in the same way, is of one policy
	// or of what goes from one region to another; of a daemon only.
	Policy string `json:"policy,omitempty"`
	Pair   string `json:"pair,omitempty"`
	Rate   *int64 `json:"rate,omitempty"`
}

// Limit is a limit that somebody changed while the process runs.
type Limit struct {
	Policy string `json:"policy,omitempty"`
	Pair   string `json:"pair,omitempty"`
	Rate   int64  `json:"rate"` // bytes a second; 0: none
}

// Handler is the process that is talked to. Its methods may be called concurrently.
type Handler interface {
	Status() Status
	SetTotalLimit(bytesPerSecond int64)
	SetLimit(l Limit) error // a negative rate takes it back
	Order(o Order) error    // what it says is for the person who asked
	// Run carries out a command and gives its exit code. An error means that it was not
	// begun, and nothing was sent: *Refusal when it may not. ctx ends when who asked has
	// gone.
	Run(ctx context.Context, r Request, s *Stream) (code int, err error)
	Cancel(x Cancelled) error
	Stop()
}

// ErrNobody says that nobody serves the socket: no process holds the ledger, or one
// that does not serve it (it is starting, ending, or was killed).
var ErrNobody = errors.New("nobody answers")

// longest is the longest path of a socket that is used as it is: the kernel allows
// 107 bytes on Linux and 103 elsewhere.
const longest = 100

// Path is where the socket of a ledger lies: beside it, or, where that is too long for
// a socket, under a name made of its hash in $XDG_RUNTIME_DIR, or else in a folder of
// the user's own under the system's temporary one.
func Path(ledger string) string {
	full := ledger
	if abs, err := filepath.Abs(ledger); err == nil {
		full = abs
	}
	// One ledger has one socket, by whatever link it is reached.
	if dir, err := filepath.EvalSymlinks(filepath.Dir(full)); err == nil {
		full = filepath.Join(dir, filepath.Base(full))
	}
	if file, err := filepath.EvalSymlinks(full); err == nil {
		full = file
	}
	if p := full + ".sock"; len(p) <= longest {
		return p
	}
	sum := sha256.Sum256([]byte(full))
	name := "farshore-" + hex.EncodeToString(sum[:12]) + ".sock"
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" && len(dir)+1+len(name) <= longest {
		return filepath.Join(dir, name)
	}
	return filepath.Join(os.TempDir(), "farshore-"+strconv.Itoa(os.Getuid()), name)
}

// makeRoom sees that a socket can be made at path: its folder is there and nobody
// else's, and what a killed process left is removed. Only a socket is ever removed.
func makeRoom(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of the control socket: %w", err)
	}
	if dir == filepath.Join(os.TempDir(), "farshore-"+strconv.Itoa(os.Getuid())) {
		if err := ownFolder(dir); err != nil {
			return err
		}
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look at the control socket: %w", err)
	case info.Mode().Type() != os.ModeSocket:
		return fmt.Errorf("%s is in the way of the control socket and is no socket: move it away", path)
	}
	// The caller holds the ledger's lock, so whoever made this socket is gone.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove an old control socket: %w", err)
	}
	return nil
}
