// Package page draws what a daemon knows as one HTML page: how every policy stands, in
// which regions its copies are, how far they lag, what runs, what was found and what to do
// about it. It is handed plain data and asks nobody: no ledger, no region, no clock.
//
// The page holds every fact without a script; the script refreshes it in place and shows
// the values of charts under the pointer. Nothing comes from elsewhere, and Policy, the
// Content-Security-Policy it is served with, forbids everything else. Names and causes are
// whatever people and servers wrote: they are escaped, and controls that would turn text
// around are shown as escapes.
package page

import (
	"time"

	"farshore/replicator/report"
)

// View is what the page shows.
type View struct {
	Now      time.Time // when all of it was looked up
	Version  string
	Host     string
	PID      int
	Began    time.Time // the process
	Ledger   string    // its path
	Stopping bool      // it was asked to end and is finishing
	Limit    string    // of all bytes sent, for people; "": none
	Regions  []Region  // by name
	Policies []Policy  // in the file's order
	Hooks    []Hook    // by host
}

// Hook is somebody who is told of events.
type Hook struct {
	Host      string // without what may be secret in the address
	Waiting   int    // events
	Delivered int64  // since the process began
	Dropped   int64  // the same, never to be told
	Error     string // why it does not take events; "": it does
	Since     time.Time
}

// Region is one region of the policy file, and what is on its way there.
type Region struct {
	Name          string
	Up            bool  // it could be logged in to
	Active        int64 // transfers under way
	Waiting       int64 // changes that are known to wait for it, of all policies
	WaitingBytes  int64
	Copied        int64 // objects, since the process began
	CopiedBytes   int64
	Failed        int64
	Retries       int64
	RequestsLimit int // requests at once that it is found to bear; 0: not known
}

// Policy is one policy and how it stands.
type Policy struct {
	Name     string
	From     string   // region
	To       []string // regions
	Wanted   int      // confirmed copies
	What     string   // what it selects, in words
	Volumes  bool     // of volumes, else of containers
	RPO      time.Duration
	Tasks    []Task
	Replicas *report.Replicas // as the last run counted them; nil: none did yet
	Holdings []Holding        // by region
	Lag      []Lag            // by region
	Runs     []Run            // the last of each kind: pass, audit, drill
	Points   *Points          // of volumes only
	Drills   []Drill          // the oldest first
}

// Task is something that the daemon does for a policy again and again.
type Task struct {
	Kind    string // pass, audit, drill
	Running bool
	Paused  bool
	Asked   bool
	Began   time.Time // zero: never yet
	Ended   time.Time // zero: it runs, or was cut short
	Next    time.Time // zero: not planned
	Errors  int64
	Error   string
}

// Holding is how much of a policy one destination region has.
type Holding struct {
	Region  string
	Up      bool
	Has     int64     // confirmed copies of the current objects, or points that can be restored
	Of      int64     // objects, or points, of the source; negative: not known
	All     int64     // objects of the source, where each is in some of the regions only; 0: not known
	Trouble string    // in words, such as "2 lost"
	Newest  time.Time // of points: the newest that can be restored; zero: none, or of objects
}

// Lag is how far one region's copies are behind the source, and were.
type Lag struct {
	report.Lag
	Samples []Sample // of the last day, the oldest first
	Longer  []Sample // of the last two weeks, the same
}

// Sample is a value at a time.
type Sample struct {
	At    time.Time
	Value float64
	Hole  bool // nothing is known of the time since the one before
}

// Run is the outcome of a pass, an audit or a drill.
type Run struct {
	Kind     string
	Began    time.Time
	Ended    time.Time
	OK       bool
	Error    string   // why it could not be done, or not to its end
	Facts    []string // what it did, in words
	Findings []report.Finding
	More     int64 // findings that are not among these
}

// Points are the restore points of a policy of volumes.
type Points struct {
	Volumes []Volume
	More    int // volumes that are not among these
}

// Volume is one volume with its restore points.
type Volume struct {
	ID     string
	Name   string
	Points []Point // the oldest first
	More   int     // older ones that are not among these
}

// Point is one restore point.
type Point struct {
	ID      string
	Taken   time.Time
	Kind    string // full, increment
	Regions []PointAt
}

// PointAt is a point's copy in one region.
type PointAt struct {
	Region string
	State  string // landed, shipped, shipping, lost, expired
	Proven bool   // its last proof found it equal
}

// Drill is one rehearsal of a restore.
type Drill struct {
	ID      string
	Began   time.Time
	OK      bool
	RTO     float64 // seconds; 0: nothing was restored
	RPO     float64 // seconds
	Seconds float64
}
