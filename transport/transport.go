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
	// Kind is Plain, SLO or Symlink. A listing shows a DLO as a plain object, and in a
	// container with X-Versions-Enabled a link as well (a Head tells).
	Kind   Kind
	S3ETag string // the ETag that the S3 API shows, where it is another (S8, R3); else ""
	Target Target // of a Symlink
}

// Target is what a listing says of a symlink's target (S6).
type Target struct {
	Path string // "/v1/AUTH_x/container/name", the names percent-encoded by whoever made the link
	ETag string // of a static link: the target's ETag; else ""
	Size int64  // of a static link: the target's size; else 0
}

// Object is what a HEAD or GET says of an object.
type Object struct {
	Name     string
	Size     int64 // bytes of the whole object, also when a range was asked for
	ETag     string
	Modified time.Time // X-Timestamp where given (µs, equal to the listing's last_modified), else Last-Modified
	Header   Header    // what a copy must keep, and the OriginHeader if there is one
	Kind     Kind
	// Version is the version's id in a container with X-Versions-Enabled: "null" for one
	// that was written while versioning was off, "" where there never were versions (S7).
	Version string
	// TargetSize is the size that a static link's target had when the link was made.
	// The target itself stands in Header: X-Symlink-Target, -Account and -Etag.
	TargetSize int64
	// ManifestETag is, of an SLO, the MD5 of the manifest as the region stores it, with
	// its segments' times: another at every region. A static link to an SLO names it (S6).
	ManifestETag string
}

// VersionEntry is one row of a listing of versions (S7).
type VersionEntry struct {
	Entry
	ID     string // Swift's: decimal seconds of the write, or "null"
	Latest bool   // what a request without a version gets; if it is a marker: 404
	Marker bool   // a delete marker: no object, but the place where it was deleted
}

// ContainerInfo is what a HEAD of a container, or its row in the account listing, says.
type ContainerInfo struct {
	Name                     string
	Objects                  int64  // eventually consistent
	Bytes                    int64  // eventually consistent; with all versions
	Versioning               string // "" or the header that turns it on: X-Versions-Enabled, X-Versions-Location, X-History-Location; only from a HEAD
	QuotaBytes, QuotaObjects int64  // -1: none; only from a HEAD
	ReadACL                  string // only from a HEAD
	Policy                   string // storage policy; only from a HEAD
	// Header holds what a copy of the container keeps (KeepsContainer), and Keys its
	// secrets (IsKey); only from a HEAD, and of some only the owner is told.
	Header, Keys Header
}

// AccountInfo is what a HEAD of the account says.
type AccountInfo struct {
	Containers, Objects, Bytes int64 // eventually consistent
	// Header holds what a copy of the account keeps (KeepsAccount), and Keys its secrets (IsKey).
	Header, Keys Header
}

// Range is a part of a container's key space in byte order: names n with
// After < n <= Through that start with Prefix. Empty means unbounded.
type Range struct {
	Prefix         string
	After, Through string
}

// OpenOptions choose the part and the version of an object to read.
type OpenOptions struct {
	ETag string // only this version: anything else is an error of class Changed
	// Version asks for a version by its id (S7); "": the current one.
	Version string
	Offset  int64
	Length  int64 // -1: to the end
	Newest  bool  // ask every replica (X-Newest)
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
	// Versions lists every version of the names in the range (S7), by name and then
	// newest first, as List lists names. A container that never had X-Versions-Enabled
	// shows its objects as versions "null".
	Versions(ctx context.Context, container string, r Range, yield func(page []VersionEntry) error) error
	// Head describes an object: links and manifests are described, not followed. Size
	// and ETag are the listing's: of an SLO those of the whole, of a DLO those of the
	// bytes that the manifest itself holds.
	Head(ctx context.Context, container, name string) (Object, error)
	// HeadVersion describes one version ("": the current one). A delete marker is class NotFound, with ErrMarker.
	HeadVersion(ctx context.Context, container, name, version string) (Object, error)
	// Manifest gives an SLO's manifest as Sink.PutRaw takes it (ParseManifest reads it),
	// and the SLO as Head describes it; of another kind of object it gives no bytes.
	// version: as of HeadVersion.
	Manifest(ctx context.Context, container, name, version string) (Object, []byte, error)
	// Open reads an object's bytes. The reader fails with an error (never io.EOF)
	// if fewer bytes than announced arrive, or if the bytes of a whole plain object
	// have another MD5 than its ETag (class Corrupt). The object describes the version
	// that is being read. Of a DLO the reader gives the manifest's own bytes, not the
	// concatenation; for a Symlink it is nil.
	Open(ctx context.Context, container, name string, o OpenOptions) (Object, io.ReadCloser, error)
	// Account describes the account.
	Account(ctx context.Context) (AccountInfo, error)
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

// ErrMarker is within the error (class NotFound) of a HEAD of a version that is a delete
// marker: unlike a version that is not there, it stands there.
var ErrMarker = errors.New("it is a delete marker")

// ErrManifest is within the error (class Permanent) of a read of a static large object
// that nobody can read: its manifest names a segment that is missing, or that another
// object has taken the place of.
var ErrManifest = errors.New("its manifest is broken: a segment is missing or is another by now")

// ErrTarget is within the error of a write that points at what is not there, or not
// as it says: a segment of a manifest, or the target of a static link. The class is
// NotFound if it is missing and Corrupt if its size or ETag is another.
var ErrTarget = errors.New("it points to what is not there as it says")

// PutOptions qualify a PUT.
type PutOptions struct {
	// Header may make the object a DLO (X-Object-Manifest) or, with an empty body, a
	// link (X-Symlink-Target and its like).
	Header      Header
	IfAbsent    bool          // If-None-Match: *; class Exists if the name is taken
	DeleteAfter time.Duration // X-Delete-After; 0: none
	// Versioned says that the container keeps versions: a try that failed may have been
	// carried out, so the retry layer looks before it writes a second version.
	Versioned bool
}

// Receipt is what the destination said of a completed write.
type Receipt struct {
	ETag string // the destination's ETag, unquoted
	// Modified is the destination's time of the write, rounded up to the whole
	// second by Swift (L1b): the listing's last_modified is never later.
	Modified time.Time
	Version  string // the new version's id in a container with X-Versions-Enabled; else ""
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
	// CreateContainer makes the container if it is missing, with the headers and in the
	// storage policy (X-Storage-Policy) of h, which may be nil. One that is there gets
	// the headers as PostContainer sets them; another policy there is class Permanent.
	CreateContainer(ctx context.Context, container string, h Header) error
	// PostContainer sets headers of a container (KeepsContainer) and removes others.
	// What is in neither stays; the storage policy cannot be changed.
	PostContainer(ctx context.Context, container string, set Header, remove []string) error
	// PostAccount does the same for the account (KeepsAccount). Quotas are the
	// operator's: class Denied for anybody else.
	PostAccount(ctx context.Context, set Header, remove []string) error
	DeleteContainer(ctx context.Context, container string) error
	// Put writes a plain object, a DLO or a link; it appears whole or not at all. A
	// failure of the body's own reader that is already a *Error is returned as it is.
	Put(ctx context.Context, container, name string, body Body, o PutOptions) (Receipt, error)
	// Post replaces all metadata of an object without touching its bytes: without
	// X-Object-Manifest in h a DLO becomes a plain object (S2). A link keeps its target
	// whatever h says (S6). In a versioned container it changes the current version.
	Post(ctx context.Context, container, name string, h Header) error
	// PutManifest writes a static large object. Receipt.ETag is the SLO's ETag.
	// Segments that are missing are class NotFound; of another size or ETag, Corrupt.
	PutManifest(ctx context.Context, container, name string, segments []Segment, o PutOptions) (Receipt, error)
	// PutRaw writes a static large object of a manifest in the form that Manifest gives
	// (S3). etag is the SLO's (Manifest's or SLO.ETag): a region that computes another
	// refuses (Corrupt). Errors and Receipt are those of PutManifest.
	PutRaw(ctx context.Context, container, name string, manifest []byte, etag string, o PutOptions) (Receipt, error)
	// Collapse copies an object, inside the region, to a plain object with exactly the
	// given headers, provided the content's MD5 is md5 (else class Corrupt and
	// nothing is written): L1, R11. An SLO's segments become one; a plain object is
	// copied as it is (L6). It may take long and is silent meanwhile.
	Collapse(ctx context.Context, fromContainer, fromName, toContainer, toName, md5 string, size int64, h Header) (Receipt, error)
	// Delete removes an object, never following a link or manifest. Missing is not an
	// error. In a container with X-Versions-Enabled it makes a delete marker, even of nothing.
	Delete(ctx context.Context, container, name string) error
	// DeleteMany removes objects of one container, in bulk where the server can.
	DeleteMany(ctx context.Context, container string, names []string) error
	// DeleteMarker is Delete in a container with X-Versions-Enabled: Receipt.Version is
	// the marker's id, and "" if there was none to make (versioning is off).
	DeleteMarker(ctx context.Context, container, name string) (Receipt, error)
	// DeleteVersion removes one version for good. Of the current one the name goes, too:
	// no older version comes in its place. Missing is not an error.
	DeleteVersion(ctx context.Context, container, name, version string) error
	// Revive makes an older version the current one; it makes no new version.
	Revive(ctx context.Context, container, name, version string) error
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
	DLO              Answer
	Symlink          Answer
	StaticLink       Answer // links that pin their target's ETag
	Versioning       Answer // X-Versions-Enabled
	VersionsLocation Answer // X-Versions-Location and X-History-Location, the older way
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
