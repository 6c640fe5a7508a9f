// Package policies says what should be true: which containers of which region
// are to be kept alive where, how many confirmed copies there must be, how
// often that is looked after, and within which limits.
//
// It reads the policy file (docs/policy.md) and answers questions about it. It
// does no other I/O, knows no endpoint and no ledger, and takes every time it
// needs as an argument, so all of it can be tested as plain functions. All
// values are plain data: safe for concurrent reading, copied by assignment
// (slices and maps are shared, treat them as read-only).
package policies

import (
	"time"
	_ "time/tzdata" // a timezone named in the file must load on hosts without a zone database too
)

// Defaults of the policy file.
const (
	DefaultStreams    = 16
	DefaultMemory     = int64(64 << 20)
	DefaultEvery      = 5 * time.Minute
	DefaultTemplate   = "{container}"
	DefaultGrace      = 24 * time.Hour // how long a propagated delete waits
	DefaultBrake      = Share(0.05)    // of deletes; overwrites are off
	DefaultAtLeast    = 100            // fewer changes than this never trip the brake
	DefaultAuditEvery = 24 * time.Hour
	DefaultOver       = int64(64 << 20)
	DefaultChunk      = DefaultMemory / DefaultStreams // every stream can hold one
	DefaultChainFrom  = 30                             // backups in a chain at the source
	DefaultChainTo    = 8                              // and at a destination
	DefaultFullEvery  = 30 * 24 * time.Hour            // between two full backups of a volume
)

// How many restore points of a volume may be kept, and how long a chain may be at most.
const (
	maxCount = 1_000_000
	maxChain = 1000
)

// File is a whole policy file.
type File struct {
	Name     string            // the path it was read from, for messages
	Timezone *time.Location    // never nil after Parse; UTC by default
	Regions  map[string]Region // by the name policies use
	Ledger   string            // path of the ledger file; empty: the program's default
	// ControlGroup is the group of the system whose members may use the control socket
	// (mode 0660); empty: nobody but the user (0600).
	ControlGroup string
	Limits       Limits
	Webhooks     []Webhook
	Policies     []Policy

	at  map[string]position // where each YAML path stands, for the messages of Check
	bad marks               // values that could not be read: Check says nothing more of them
}

// Region is one (cloud, region, project): what a login is made from.
type Region struct {
	Name        string // the key under regions
	Cloud       string // entry of clouds.yaml; default: Name
	RegionName  string // region of the catalog (YAML key region); empty: what the cloud entry says
	Interface   string // public, internal or admin; empty: what the cloud entry says
	ImportCloud string // entry of clouds.yaml used to import backup records only
	Endpoint    string // object-store URL used instead of the catalog's
}

// sameRegion tells whether two entries lead to the same account by what the
// file says. Entries that differ in name and still share a URL are found at run
// time, when the URLs are known (R16).
func sameRegion(a, b Region) bool {
	return a.Cloud == b.Cloud && a.RegionName == b.RegionName && a.Endpoint == b.Endpoint
}

// Limits bound what all policies together may use.
type Limits struct {
	Total     Rate            // ceiling of all bytes sent; 0: none
	Streams   int             // objects, or chunks of large ones, sent at once in all; small ones are read ahead
	Memory    int64           // bytes of chunks held in memory in all
	Timetable []Slot          // windows with a lower ceiling
	Pairs     map[string]Rate // ceiling per region pair, by PairKey
	Timezone  *time.Location  // in which the timetable is read; nil: UTC
}

// Policy says what should be true of some containers of one region.
type Policy struct {
	Name     string
	From     string   // region that is copied
	To       []string // candidate regions for replicas
	Replicas int      // how many of To must hold a confirmed copy
	Place    *Place   // which of To get a container; nil: all

	Containers []string // globs, "!" excludes, the last match wins; see Selects
	Container  string   // template of the name at the destination; see Destination
	Prefix     string   // only objects whose names start so; empty: all

	Every    time.Duration  // pause between passes; 0 when Schedule is set
	Watch    time.Duration  // pause between looks at containers where something changes; 0: Every
	Schedule Schedule       // or a cron schedule
	Timezone *time.Location // of Schedule; nil: UTC
	RPO      time.Duration  // how much may be lost; 0: not judged

	Deletes Deletes
	Brake   Brake
	Audit   Audit
	Large   Large
	Limit   Rate // ceiling of this policy's bytes; 0: none

	Properties Properties
	Map        Map
	Stamp      bool // objects written get the origin stamp, by which a lost ledger is rebuilt (R15)

	Takeover      bool     // what stands at the destination may be overwritten
	Bidirectional bool     // a policy the other way is intended
	Strict        bool     // what cannot be kept exactly is not copied
	Accept        []string // kinds of findings that are lowered to info

	Volumes     *Volumes // non-nil: the policy is about volumes, not containers
	Snapshot    *Snapshot
	Keep        *Keep
	KeepSource  *Keep
	VolumeTypes map[string]string // source type: destination type
	Drill       *Drill
	MaxChain    MaxChain
	FullEvery   time.Duration // the source makes a full backup when the last one is so old; 0: never by time
}

// Deletes says whether an object deleted at the source goes at the destination too.
type Deletes struct {
	Propagate bool
	After     time.Duration // grace period before that happens
}

// Audit says how copies are proved again after they were made.
type Audit struct {
	Every time.Duration // between listing comparisons; 0: never
	Read  float64       // share 0..1 of the destination's bytes that is read again each time
	// ReadAll has each audit read so much, another part each time, that all is read within it; 0: Read says how much.
	ReadAll time.Duration
}

// LargeAs is how a large object stands at the destination.
type LargeAs string

// The two ways a large object may stand at the destination.
const (
	Exact     LargeAs = "exact"     // as one plain object, collapsed from its segments by the server
	Segmented LargeAs = "segmented" // as a static large object
)

// Large says how objects too big for one PUT travel. Sizes are bytes.
type Large struct {
	As    LargeAs
	Over  int64 // objects larger than this are cut
	Chunk int64 // into pieces of this size
}

// Properties says which properties travel beside the objects.
type Properties struct {
	Containers  bool     // metadata, ACLs, quotas, CORS, static web, versioning mode of containers
	TempURLKeys bool     // of containers and, with AccountMetadata, of the account: they are secrets
	Account     []string // of the account: AccountMetadata, AccountQuotas
}

// What Properties.Account may name.
const (
	AccountMetadata = "metadata"
	AccountQuotas   = "quotas"
)

// Map says what stands at the destinations for ids and names that mean nothing there.
type Map struct {
	Projects        map[string]string // project ids in ACLs
	Users           map[string]string // user ids in ACLs
	StoragePolicies map[string]string // storage policies of containers
}

// Volumes selects Cinder volumes; exactly one of the fields is set.
type Volumes struct {
	All      bool
	IDs      []string
	Names    []string
	Metadata map[string]string // all of these must be equal
}

// Snapshot says how often the source takes a snapshot by itself.
type Snapshot struct {
	Every time.Duration
}

// Keep says how many restore points stay.
type Keep struct {
	Last, Hourly, Daily, Weekly, Monthly, Yearly int
}

// MaxChain says how many backups a restore may need, the full one included: 1 is full
// ones only, 0 no bound.
type MaxChain struct {
	Source      int // above it, the source makes a full backup
	Destination int // above it, the destination makes a synthetic full of what it has
}

// Drill says when restores are rehearsed.
type Drill struct {
	Schedule Schedule
}

// NewPolicy returns a policy with every default of the file set: one replica in
// each region of to, a pass every five minutes, no deletes.
func NewPolicy(name, from string, to ...string) Policy {
	return Policy{
		Name: name, From: from, To: to, Replicas: len(to),
		Container:  DefaultTemplate,
		Every:      DefaultEvery,
		Deletes:    Deletes{After: DefaultGrace},
		Brake:      Brake{Deletes: DefaultBrake, Overwrites: Off, AtLeast: DefaultAtLeast},
		Audit:      Audit{Every: DefaultAuditEvery},
		Large:      Large{As: Exact, Over: DefaultOver, Chunk: DefaultChunk},
		Properties: Properties{Containers: true},
		Stamp:      true,
		MaxChain:   MaxChain{Source: DefaultChainFrom, Destination: DefaultChainTo},
		FullEvery:  DefaultFullEvery,
	}
}

// AdHoc returns the policy of a single `sync FROM:CONTAINER TO:NAME`: that one
// container, under the name template (empty: its own name), nothing deleted. With deletes, what is missing at
// the source goes at once, and the brake stands at half of the objects however few they are.
func AdHoc(from, container string, to []string, template string, deletes bool) Policy {
	p := NewPolicy("ad hoc", from, to...)
	p.Containers = []string{literalPattern(container)}
	if template != "" {
		p.Container = template
	}
	p.Every, p.Audit = 0, Audit{}
	if deletes {
		p.Deletes = Deletes{Propagate: true}
		p.Brake = Brake{Deletes: 0.5, Overwrites: Off, AtLeast: 1}
	}
	return p
}

// IsAdHoc tells whether the policy was made of a command line, by AdHoc: it has no file
// in which something could be changed, and no time at which it runs.
func (p Policy) IsAdHoc() bool { return p.Every <= 0 && p.Schedule.IsZero() }

// Next tells when the next pass begins after a pass began at after: that plus
// Every (or Watch), or the schedule's next time in the policy's timezone. Zero means never
// (a policy with neither, such as one made by AdHoc).
func (p Policy) Next(after time.Time) time.Time {
	if !p.Schedule.IsZero() {
		return p.Schedule.Next(after, p.Timezone)
	}
	if p.Every <= 0 {
		return time.Time{}
	}
	if p.Watch > 0 {
		return after.Add(p.Watch)
	}
	return after.Add(p.Every)
}

// PairKey is the key of Limits.Pairs for bytes going from one region to another,
// written in the file the same way: "paris->lyon".
func PairKey(from, to string) string { return from + "->" + to }

// Pair returns the ceiling for bytes going from one region to another; 0: none.
func (l Limits) Pair(from, to string) Rate { return l.Pairs[PairKey(from, to)] }

// RateAt returns the ceiling of all bytes at a moment: the lowest of the total
// and of every timetable window that is open then, by the clock on the wall in
// the limits' timezone. 0 means no ceiling. When in doubt, slower.
func (l Limits) RateAt(t time.Time) Rate {
	zone := l.Timezone
	if zone == nil {
		zone = time.UTC
	}
	rate := l.Total
	for _, s := range l.Timetable {
		if s.open(t.In(zone)) && (rate == 0 || s.Rate < rate) {
			rate = s.Rate
		}
	}
	return rate
}
