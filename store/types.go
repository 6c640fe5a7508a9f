package store

import (
	"time"

	"farshore/transport/chunk"
)

// Place is a container in a region, told apart by project from the start (R7).
type Place struct {
	Region    string // the policy's or command line's name of the region
	Project   string // project id
	Container string
}

// PlaceID is the short number a ledger gives a place.
type PlaceID uint32

// Route is one way that objects travel: from a place (below a prefix) to a place
// (below another prefix).
type Route struct {
	From       Place
	FromPrefix string
	To         Place
	ToPrefix   string
}

// Back is the opposite way.
func (r Route) Back() Route {
	return Route{From: r.To, FromPrefix: r.ToPrefix, To: r.From, ToPrefix: r.FromPrefix}
}

// RouteID is the short number a ledger gives a route; never 0, never used again.
type RouteID uint32

// RouteInfo is a route with what the ledger knows of it as a whole.
type RouteInfo struct {
	ID       RouteID
	From, To PlaceID
	Route
	// Listed is when the destination's listing was first merged completely, so
	// that nothing there is unknown; zero before (design §2, first pass).
	Listed    time.Time
	Confirmed int64 // replicas in state Confirmed at the object's current version
}

// Version identifies one version of an object at its source (R3).
type Version struct {
	ETag     string // lower hex
	Modified int64  // µs since 1970 UTC, the source's own clock
}

// ReplicaState is what is known of a copy at a destination.
type ReplicaState uint8

// The states. Only Confirmed counts as a replica.
const (
	Confirmed ReplicaState = iota + 1 // the destination's own checksum and size equal the source's
	Conflict                          // something that is not ours stands there
	Cannot                            // cannot be kept exactly, so it is not copied; Note says why
	Lost                              // an audit found it missing or damaged; to be sent again
)

// Replica is what the ledger knows of one object on one route.
type Replica struct {
	Route   RouteID
	State   ReplicaState
	Version Version // the source version that was copied (or found in conflict, or refused)
	// ETag is the destination's ETag when it is not Version.ETag (segmented objects; the foreign object of a conflict).
	ETag      string
	Written   int64  // µs; not earlier than the destination's last_modified of our write, at most 1 s later; 0: unknown
	Confirmed int64  // µs: when the destination confirmed it; of a Lost one: when that was found, if it is known
	Adopted   bool   // found identical there, not sent
	Note      string // for Conflict, Cannot and Lost: why, in a few words
}

// Object is the record of one object at a source place.
type Object struct {
	Name    string
	Size    int64
	Version Version
	SHA256  [32]byte // of the content; zero when it was never read through
	Meta    [8]byte  // digest of the kept headers; zero when never seen
	// Missing is when (µs) a listing first lacked the object; 0 while it is listed.
	Missing  int64
	Replicas []Replica // ascending by Route, one a route
}

// Replica returns the object's replica on a route.
func (o *Object) Replica(r RouteID) (Replica, bool) {
	for _, x := range o.Replicas {
		if x.Route == r {
			return x, true
		}
	}
	return Replica{}, false
}

// SetReplica adds or replaces the replica of x.Route, keeping the order.
func (o *Object) SetReplica(x Replica) {
	for i := range o.Replicas {
		if o.Replicas[i].Route >= x.Route {
			if o.Replicas[i].Route == x.Route {
				o.Replicas[i] = x
				return
			}
			o.Replicas = append(o.Replicas[:i], append([]Replica{x}, o.Replicas[i:]...)...)
			return
		}
	}
	o.Replicas = append(o.Replicas, x)
}

// DropReplica removes the replica of a route, if there is one.
func (o *Object) DropReplica(r RouteID) {
	for i := range o.Replicas {
		if o.Replicas[i].Route == r {
			o.Replicas = append(o.Replicas[:i], o.Replicas[i+1:]...)
			return
		}
	}
}

// Intent is durable before the first byte of a copy goes to a destination (R6).
type Intent struct {
	Route   RouteID
	Name    string // at the source
	Version Version
	Size    int64
	ETag    string       // the destination's ETag when done; "" if it cannot be known yet
	Layout  chunk.Layout // of a segmented transfer; zero otherwise
	Began   int64        // µs
}

// ChunkRecord says that a destination confirmed one segment of an intent.
type ChunkRecord struct {
	Index int
	MD5   [16]byte // of the segment, as the destination confirmed it
}

// HashState is the state of the whole-object digests after the first Chunks
// chunks, so that a restart need not read them again (encoding.BinaryMarshaler
// of crypto/md5 and crypto/sha256).
type HashState struct {
	Chunks      int
	MD5, SHA256 []byte
}

// PassRange is a part of a pass's key space, (Lo, Hi], listed up to Pos. All
// names up to Pos are durable: confirmed, or planned as intents.
type PassRange struct {
	Lo, Hi, Pos string
	Done        bool
}

// Pass is a walk over one source place for one policy; unfinished, a restart goes on with it.
type Pass struct {
	Key     string // who: policy (or ad hoc) and place; the engine's choice
	Began   int64  // µs
	Ended   int64  // µs; 0: unfinished
	Ranges  []PassRange
	Resumed int // how many times it was gone on with
}

// PlaceInfo is a place with what the ledger holds of it.
type PlaceInfo struct {
	ID PlaceID
	Place
	Objects int64 // records
	Present int64 // records of objects that the last listing had (Missing == 0)
}

// Confirmation ends an intent: in one transaction the intent goes, with its
// chunks and digest states, and the object's record is changed.
type Confirmation struct {
	Place PlaceID // the route's source
	Route RouteID
	Name  string // at the source
	// Apply changes the object's record, as the function of Update does; nil leaves it.
	Apply func(o *Object, exists bool) (keep bool)
	// Series changes the name's history, as the function of UpdateSeries does; nil leaves it.
	Series func(s *Series, exists bool) (keep bool)
	// Needs are those of the manifest that stands there now; nil leaves what is
	// recorded, none (not nil) removes it.
	Needs []Need
}

// Stats is how the ledger is doing.
type Stats struct {
	FileBytes int64 // size of the file
	Pages     int64 // in use or free, of PageBytes each
	FreePages int64 // kept for later writes; Compact gives them back
	PageBytes int
	Places    int
	Routes    int
	Objects   int64 // records
	Commits   int64 // since Open
	Changes   int64 // since Open: updates, intents, chunks and so on, committed
	MaxBatch  int   // most changes in one commit since Open
	Queued    int   // requests that wait now
}
