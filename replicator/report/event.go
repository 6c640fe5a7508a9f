package report

import "time"

// EventKind says what happened.
type EventKind string

// The kinds of events.
const (
	EventLate    EventKind = "late"    // something has waited for longer than the policy's rpo
	EventArrived EventKind = "arrived" // nothing has any more; it has the ID of its late event
	EventFinding EventKind = "finding" // a pass, an audit or a drill found something new
	EventDrill   EventKind = "drill"   // a drill has ended
	EventAudit   EventKind = "audit"   // an audit has ended
)

// Why an EventArrived came.
const (
	ArrivedConfirmed = "confirmed" // the region has confirmed what was late
	ArrivedGone      = "gone"      // the source no longer has it
	ArrivedStuck     = "stuck"     // a conflict, or what cannot be kept: a finding says which
	ArrivedSeen      = "seen"      // the source was looked at again, and nothing was late
	ArrivedRelaxed   = "relaxed"   // the policy's rpo was lengthened or removed
	ArrivedRemoved   = "removed"   // the policy, or the region in it, was removed, or the container is placed elsewhere
)

// Event is something that happened and that people may want to be told of at once. It is
// told at least once: after a crash perhaps again, with the same ID and Kind.
type Event struct {
	Kind   EventKind `json:"kind"`
	ID     string    `json:"id"` // of late and arrived: the same, and of no other pair
	At     time.Time `json:"at"`
	Policy string    `json:"policy"`
	Region string    `json:"region,omitempty"`
	Text   string    `json:"text"` // one line for people

	Reason string     `json:"reason,omitempty"`  // of arrived
	Items  int64      `json:"items,omitempty"`   // of late: that were late then; of arrived: that were late in all
	Bytes  int64      `json:"bytes,omitempty"`   // of these
	Lag    float64    `json:"lag_seconds"`       // of late: when it was found; of arrived: the longest in between
	RPO    float64    `json:"rpo_seconds"`       // of late and arrived
	Oldest []LateItem `json:"oldest,omitempty"`  // of late: what waited longest
	Took   float64    `json:"seconds,omitempty"` // of arrived: since the late event
	Cause  string     `json:"cause,omitempty"`   // of late, where no item is known to be: why the last pass did not do all
	Hint   string     `json:"hint,omitempty"`    // and what to do about it

	Run      string    `json:"run,omitempty"`           // of finding: pass, audit or drill
	Findings []Finding `json:"findings,omitempty"`      // of finding: the worst of the new ones
	More     int64     `json:"more_findings,omitempty"` // of finding: new ones that are not among these
	Drill    *Drill    `json:"drill,omitempty"`         // of drill
	Audit    *Result   `json:"audit,omitempty"`         // of audit
}
