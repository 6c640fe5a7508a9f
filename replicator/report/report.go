// Package report describes progress and results as plain data. Text, JSON, and
// later metrics and pages, all read these types; nothing here does any work.
package report

import (
	"sort"
	"sync"
	"time"
)

// Level says how bad a finding is.
type Level string

// The levels. Only Error findings make a command exit with 3.
const (
	Info  Level = "info"
	Warn  Level = "warn"
	Error Level = "error"
)

// Finding is one thing a person should know, with what to do about it.
type Finding struct {
	Kind      string `json:"kind"` // stable, documented in docs/json.md
	Level     Level  `json:"level"`
	Policy    string `json:"policy,omitempty"`
	Region    string `json:"region,omitempty"`
	Project   string `json:"project,omitempty"`
	Container string `json:"container,omitempty"`
	Name      string `json:"name,omitempty"`
	Op        string `json:"op,omitempty"`
	Cause     string `json:"cause"`
	Hint      string `json:"hint,omitempty"`
}

// The kinds of findings.
const (
	KindConflict   = "conflict"          // something not ours stands at the destination
	KindCannot     = "cannot"            // a property or kind that cannot be kept, so nothing was copied
	KindFailed     = "failed"            // an item could not be copied this time
	KindTooFew     = "too-few-replicas"  // fewer confirmed replicas than the policy wants
	KindBrake      = "brake"             // deletes or overwrites past the policy's bound
	KindRegionDown = "region-down"       // a region does not answer; its work waits in the ledger
	KindMissing    = "missing-replica"   // an audit did not find a recorded replica
	KindDamaged    = "damaged-replica"   // an audit found other bytes than recorded
	KindForeign    = "foreign-object"    // an audit found an object at the destination that is not ours
	KindUnrecorded = "unrecorded-source" // an audit found a source object no pass has seen yet
	KindDegraded   = "degraded"          // done, but not in the way the policy asked
	KindSkew       = "clock-skew"        // a region's clock differs from ours by more than 2 s
	KindRepaired   = "repaired"          // an audit's repair sent a replica again
	// KindForeignProperty is a property that others gave a destination's container and its source has not.
	KindForeignProperty = "foreign-property"
	KindUnread          = "not-read-in-time" // not everything that stands at a destination was read within read_all_in
	KindReplaced        = "replaced"         // a region is down for longer than replace_after: others hold what it would
	KindStamp           = "stamp-left-out"   // the origin stamp did not fit beside the object's own metadata
	// KindNoPoint is a drill that found nothing to restore.
	KindNoPoint = "nothing-to-restore"

	KindNotImported = "not-imported" // a point's objects stand at a destination, its record does not: rights or quota are missing
	KindNotShipped  = "not-shipped"  // a volume could not be backed up or shipped this time
	KindLeftBehind  = "left-behind"  // something that only an admin can remove, with the command that does
	KindPlacement   = "placement"    // a region's cinder-backup stores where its objects cannot be carried from or to
	KindTokenLife   = "token-life"   // a backup takes, or may take, longer than the token lives that it is started with
)

// keepPerKind bounds the findings kept in memory; all are counted.
const keepPerKind = 1000

// Findings collects findings from many goroutines in bounded memory.
type Findings struct {
	mu     sync.Mutex
	list   []Finding
	kept   map[string]int
	counts map[string]int64
	levels map[Level]int64
	accept map[string]bool
	onAdd  func(Finding)
}

// NewFindings makes an empty collection. The kinds in accept are lowered to
// Info; onAdd, if not nil, sees every finding at once.
func NewFindings(accept []string, onAdd func(Finding)) *Findings {
	f := &Findings{kept: map[string]int{}, counts: map[string]int64{}, levels: map[Level]int64{}, accept: map[string]bool{}, onAdd: onAdd}
	for _, k := range accept {
		f.accept[k] = true
	}
	return f
}

// Add records a finding.
func (f *Findings) Add(x Finding) {
	if f.accept[x.Kind] {
		x.Level = Info
	}
	f.mu.Lock()
	f.counts[x.Kind]++
	f.levels[x.Level]++
	if f.kept[x.Kind] < keepPerKind {
		f.kept[x.Kind]++
		f.list = append(f.list, x)
	}
	f.mu.Unlock()
	if f.onAdd != nil {
		f.onAdd(x)
	}
}

// List returns the findings kept, in order of container, name, kind, region.
func (f *Findings) List() []Finding {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := append([]Finding{}, f.list...)
	sort.SliceStable(out, func(i, j int) bool {
		a, b := out[i], out[j]
		if a.Container != b.Container {
			return a.Container < b.Container
		}
		if a.Name != b.Name {
			return a.Name < b.Name
		}
		if a.Kind != b.Kind {
			return a.Kind < b.Kind
		}
		return a.Region < b.Region
	})
	return out
}

// Counts returns how many findings of each kind there were, kept or not.
func (f *Findings) Counts() map[string]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make(map[string]int64, len(f.counts))
	for k, v := range f.counts {
		out[k] = v
	}
	return out
}

// Errors is the number of findings of level Error.
func (f *Findings) Errors() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.levels[Error]
}

// Totals counts what a pass did or, for a plan, would do.
type Totals struct {
	Listed     int64            `json:"listed"`           // source entries seen
	Unchanged  int64            `json:"unchanged"`        // entries that needed nothing
	Copied     int64            `json:"copied"`           // objects sent, once a destination
	Bytes      int64            `json:"bytes"`            // bytes sent to destinations
	Read       int64            `json:"read_bytes"`       // bytes read from the source
	Metadata   int64            `json:"metadata_updates"` // POSTs
	Adopted    int64            `json:"adopted"`          // found identical at the destination
	Properties int64            `json:"properties"`       // properties of containers and accounts set or removed
	Deleted    int64            `json:"deleted"`          // deletes carried out
	Trimmed    int64            `json:"trimmed"`          // copies removed because the regions chosen hold them
	Pending    int64            `json:"pending_deletes"`  // deletes that wait for their grace period
	Conflicts  int64            `json:"conflicts"`
	Cannot     int64            `json:"cannot"`
	Failed     int64            `json:"failed"`
	Twice      int64            `json:"bytes_sent_twice"` // bytes sent again because a try failed or a run was interrupted
	ByRegion   map[string]int64 `json:"bytes_by_region,omitempty"`
}

// Replicas says how a policy stands.
type Replicas struct {
	Wanted    int           `json:"wanted"`
	Objects   int64         `json:"objects"`
	ByCount   map[int]int64 `json:"by_count"` // objects by the number of regions that hold a confirmed copy
	Short     int64         `json:"short"`    // objects with fewer than wanted
	Satisfied bool          `json:"satisfied"`
	// Of a pass or an audit of a policy that is not satisfied, by what the ledger knows:
	Since   time.Time          `json:"since,omitzero"`    // since when the object that waits longest has fewer
	Lacking map[string]Lacking `json:"lacking,omitempty"` // by region where they are to be
	Oldest  []Wanting          `json:"oldest,omitempty"`  // those that wait longest, at most ten
}

// Lacking says how many of the objects that have too few replicas a region has not.
type Lacking struct {
	Objects int64     `json:"objects"`
	Since   time.Time `json:"since"`
}

// Wanting is an object that has too few replicas.
type Wanting struct {
	Container string    `json:"container"`
	Name      string    `json:"name"`
	Since     time.Time `json:"since"` // it was written at the source then, or lost its replicas
	Lacks     []string  `json:"lacks"` // regions
}

// AuditTotals counts what an audit saw. A replica is one object at one destination.
type AuditTotals struct {
	Seed       int64            `json:"seed"`            // chose the sample; the same seed takes the same objects
	Share      float64          `json:"read_share"`      // of the destinations' objects that were to be read, 0 to 1
	Seen       int64            `json:"seen"`            // replicas found as recorded
	ByRegion   map[string]int64 `json:"seen_by_region"`  // the same, by region
	Heads      int64            `json:"heads"`           // doubts that were asked for by name
	ReadCount  int64            `json:"read_objects"`    // replicas read through
	ReadBytes  int64            `json:"read_back_bytes"` // bytes read from destinations
	Missing    int64            `json:"missing"`         // recorded, and not there
	Damaged    int64            `json:"damaged"`         // there, and not as recorded
	Repaired   int64            `json:"repaired"`        // of those two, sent again and seen whole
	Foreign    int64            `json:"foreign"`         // at a destination, and in no record
	Unrecorded int64            `json:"unrecorded"`      // source objects no pass has seen yet
	Changed    int64            `json:"changed"`         // source objects changed or touched since the last pass
	Gone       int64            `json:"gone_at_source"`  // recorded objects the source no longer has

	// Round is how far the policy's read_all_in has come; nil: it has none.
	Round *ReadRound `json:"read_round,omitempty"`

	HeadersDiffer   int64 `json:"headers_differ"`   // replicas whose bytes are right and whose headers are not those copied
	HeadersRepaired int64 `json:"headers_repaired"` // of these, given the source's again

	PropertiesDiffer   int64 `json:"properties_differ"`   // properties of destinations' containers that are not as they were carried
	PropertiesRepaired int64 `json:"properties_repaired"` // of these, set again
}

// ReadRound says how far the reading of everything that stands at the destinations has
// come: of that destination and container which is the furthest behind.
type ReadRound struct {
	AllIn   float64   `json:"all_in_seconds"` // within which everything is to be read
	Began   time.Time `json:"began"`
	Covered float64   `json:"covered"`                 // share that has been read since, 0 to 1
	Whole   time.Time `json:"all_read_since,omitzero"` // everything was read since then; zero: not yet
}

// Result is the outcome of one policy's pass, plan or audit.
type Result struct {
	Policy   string           `json:"policy"`
	Command  string           `json:"command"` // sync, plan, audit, rebuild
	Began    time.Time        `json:"began"`
	Seconds  float64          `json:"seconds"`
	Totals   Totals           `json:"totals"`
	Replicas Replicas         `json:"replicas"`
	Findings []Finding        `json:"findings"`
	Counts   map[string]int64 `json:"finding_counts,omitempty"`
	Errors   int64            `json:"error_findings"`
	Brake    string           `json:"release_brake,omitempty"` // the token that lets the same pass go on
	Brakes   []string         `json:"-"`                       // those of all its containers, of which Brake is the last
	Resumed  bool             `json:"resumed,omitempty"`       // an interrupted pass was gone on with first
	Audit    *AuditTotals     `json:"audit,omitempty"`         // of an audit only
	Fidelity *FidelityTotals  `json:"fidelity,omitempty"`      // of a fidelity certificate only

	Retention  *Retention  `json:"retention,omitempty"`   // of a retention only
	PointAudit *PointAudit `json:"point_audit,omitempty"` // of an audit of restore points only

	Volumes *VolumeTotals `json:"volumes,omitempty"` // of a policy of volumes only, as are Points
	Points  []PointResult `json:"points,omitempty"`

	ResumedCopied int64 `json:"resumed_copied,omitempty"` // of Totals.Copied: what the interrupted pass had left; they are among Totals.Unchanged too
	BrakeReleased bool  `json:"brake_released,omitempty"` // the token given was of a brake that this pass met
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
