// Package transport says what an endpoint of a replication must be able to do
// (Source, Sink), what an object looks like on the way (Entry, Object, Header),
// how errors are classed, and holds the one retry layer and the byte limits.
//
// It knows no vendor client, no ledger and no policy: the endpoints below it
// (transport/swift) speak to a region, the replicator above it decides.
package transport

import (
	"context"
	"errors"
	"io"
	"time"
)

// Kind is what an object is at its region.
type Kind string

// The kinds of Swift objects (openstack-facts S3, S5, S6).
const (
	Plain   Kind = "object"
	SLO     Kind = "slo"     // static large object: a manifest that names its segments
	DLO     Kind = "dlo"     // dynamic large object: a prefix whose listing is the content
	Symlink Kind = "symlink" // a link to another object
)

// Entry is one row of a container listing.
type Entry struct {
	Name        string    // exact bytes of the name
	Size        int64     // bytes of content; for an SLO the listed total
	ETag        string    // identity of the content: slo_etag for an SLO, else the hash; lower hex, unquoted, without parameters (R3)
	Modified    time.Time // last_modified, µs, UTC
	ContentType string    // as listed: Swift drops the blanks around parameters there
	Kind        Kind      // Plain, SLO or Symlink; a DLO cannot be told from a plain object in a listing
}

// Object is what a HEAD or GET says of an object.
type Object struct {
	Name     string
	Size     int64 // bytes of the whole object, also when a range was asked for
	ETag     string
	Modified time.Time // X-Timestamp where given (µs, equal to the listing's last_modified), else Last-Modified
	Header   Header    // what a copy must keep, and the OriginHeader if there is one
	Kind     Kind
}

// ContainerInfo is what a HEAD of a container, or its row in the account listing, says.
type ContainerInfo struct {
	Name                     string
	Objects                  int64  // eventually consistent
	Bytes                    int64  // eventually consistent
	Versioning               string // "" or the header that turns it on: X-Versions-Enabled, X-Versions-Location, X-History-Location; only from a HEAD
	QuotaBytes, QuotaObjects int64  // -1: none; only from a HEAD
	ReadACL                  string // only from a HEAD
	Policy                   string // storage policy; only from a HEAD
}

// Range is a part of a container's key space in byte order: names n with
// After < n <= Through that start with Prefix. Empty means unbounded.
type Range struct {
	Prefix         string
	After, Through string
}

// OpenOptions choose the part and the version of an object to read.
type OpenOptions struct {
	ETag   string // only this version: anything else is an error of class Changed
	Offset int64
	Length int64 // -1: to the end
	Newest bool  // ask every replica (X-Newest)
	// Unchecked leaves the MD5 of a whole plain object to a caller that computes it anyway.
	Unchecked bool
}

// Source reads a region. All methods may be called concurrently.
type Source interface {
	// Containers lists the account's containers whose name starts with prefix, in order.
	Containers(ctx context.Context, prefix string, yield func(ContainerInfo) error) error
	// Container describes one container; class NotFound if there is none.
	Container(ctx context.Context, container string) (ContainerInfo, error)
	// List calls yield with pages (at most 10,000 entries, ascending by name, no
	// duplicates); a page is yield's only during the call. An error of yield ends it and is returned.
	List(ctx context.Context, container string, r Range, yield func(page []Entry) error) error
	// Split returns up to n-1 names that cut the range into parts of very roughly
	// equal size, ascending; none when the container is small or nothing is known.
	Split(ctx context.Context, container string, r Range, n int) ([]string, error)
	// Head describes an object: links and manifests are described, not followed.
	Head(ctx context.Context, container, name string) (Object, error)
	// Open reads an object's bytes. The reader fails with an error (never io.EOF)
	// if fewer bytes than announced arrive, or if the bytes of a whole plain object
	// have another MD5 than its ETag (class Corrupt). The object describes the version
	// that is being read. For a Kind other than Plain and SLO the reader is nil.
	Open(ctx context.Context, container, name string, o OpenOptions) (Object, io.ReadCloser, error)
}

// Body is the payload of a PUT.
type Body struct {
	Size int64  // exact number of bytes
	MD5  string // lower hex; sent as ETag so that the server refuses other bytes. Never empty.
	// Open returns the bytes from the start. Once is true if it can be called only
	// one time (a stream): such a PUT is never sent again by the retry layer.
	Open func() (io.Reader, error)
	Once bool
}

// ErrExpired is within the error (class NotFound) of a write whose X-Delete-At has
// passed: the object has ended its life by now, at the source as well.
var ErrExpired = errors.New("its X-Delete-At has passed")

// PutOptions qualify a PUT.
type PutOptions struct {
	Header      Header
	IfAbsent    bool          // If-None-Match: *; class Exists if the name is taken
	DeleteAfter time.Duration // X-Delete-After; 0: none
}

// Receipt is what the destination said of a completed write.
type Receipt struct {
	ETag string // the destination's ETag, unquoted
	// Modified is the destination's time of the write, rounded up to the whole
	// second by Swift (L1b): the listing's last_modified is never later.
	Modified time.Time
}

// Segment is one part of a static large object.
type Segment struct {
	Container, Name, ETag string
	Size                  int64
}

// Sink writes a region. All methods may be called concurrently; all are
// idempotent, so a call whose reply was lost may be made again.
type Sink interface {
	Source
	// CreateContainer makes the container if it is missing.
	CreateContainer(ctx context.Context, container string) error
	DeleteContainer(ctx context.Context, container string) error
	// Put writes a plain object; it appears whole or not at all. A failure of the
	// body's own reader that is already a *Error is returned as it is.
	Put(ctx context.Context, container, name string, body Body, o PutOptions) (Receipt, error)
	// Post replaces all metadata of an object without touching its bytes.
	Post(ctx context.Context, container, name string, h Header) error
	// PutManifest writes a static large object. Receipt.ETag is the SLO's ETag.
	// Segments that are missing are class NotFound; of another size or ETag, Corrupt.
	PutManifest(ctx context.Context, container, name string, segments []Segment, o PutOptions) (Receipt, error)
	// Collapse copies an SLO, inside the region, to a plain object with exactly the
	// given headers, provided the content's MD5 is md5 (else class Corrupt and
	// nothing is written): L1, R11. It may take long and is silent meanwhile.
	Collapse(ctx context.Context, fromContainer, fromName, toContainer, toName, md5 string, size int64, h Header) (Receipt, error)
	// Delete removes an object, never following a link or manifest. Missing is not an error.
	Delete(ctx context.Context, container, name string) error
	// DeleteMany removes objects of one container, in bulk where the server can.
	DeleteMany(ctx context.Context, container string, names []string) error
	// Abilities says what the server can do, from /info and earlier probes.
	Abilities(ctx context.Context) (Abilities, error)
	// Identity names the account behind the endpoint: two endpoints with equal
	// identities are the same place whatever they are called (R16).
	Identity(ctx context.Context) (Identity, error)
}

// Identity is where an account really is.
type Identity struct {
	Region  string // the name it goes by in the policy or on the command line
	Project string // project id
	URL     string // storage URL of the account
}

// Abilities are a region's limits and features. Yes/no features that /info does
// not publish are Unknown until Probe has tried them (R17).
type Abilities struct {
	MaxObject        int64 // bytes of one PUT
	MaxName          int   // bytes
	MaxContainerName int   // bytes
	MaxMetaCount     int
	MaxMetaBytes     int // names and values together
	MaxMetaValue     int
	SLO              Answer
	MaxSegments      int
	MaxManifest      int64
	MinSegment       int64
	BulkDelete       int    // names a call; 0: no bulk delete
	IfNoneMatch      Answer // PUT with If-None-Match: * is refused on an existing name
	IfMatchRange     Answer // GET with If-Match and Range answers 412 on another version
	CopyETag         Answer // a COPY with a wrong Etag is refused
	CopyCollapses    Answer // a COPY of an SLO makes a plain object
	RawManifest      Answer
	NULEndMarker     Answer
	DeleteAfter      Answer
}

// Answer is what is known of a feature.
type Answer string

// The answers a probe can give.
const (
	Unknown Answer = "unknown"
	Yes     Answer = "yes"
	No      Answer = "no"
)
