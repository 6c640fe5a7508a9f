package store

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Point is a restore point: a backup of a volume's snapshot at its source region, and
// the copies of it in others. In JSON, as in the ledger's own records, times are µs.
type Point struct {
	ID           string      `json:"id"` // the backup's id at the source
	Policy       string      `json:"policy,omitempty"`
	Region       string      `json:"region"`            // of the source
	Project      string      `json:"project,omitempty"` // of the source
	Volume       PointVolume `json:"volume"`
	Snapshot     string      `json:"snapshot,omitempty"`      // its id at the source
	SnapshotOurs bool        `json:"snapshot_ours,omitempty"` // Farshore took the snapshot, and may delete it
	Taken        int64       `json:"taken,omitempty"`         // µs: the snapshot's time, which is what the point shows
	Made         int64       `json:"made,omitempty"`          // µs: when the backup was complete; 0: not yet
	Container    string      `json:"container,omitempty"`     // of the source's object store
	Prefix       string      `json:"prefix,omitempty"`        // of its objects there
	Parent       string      `json:"parent,omitempty"`        // ID of the point it is an increment upon; "" of a full one
	Why          string      `json:"why,omitempty"`           // why it is full, in a few words; "" of an increment
	Objects      int         `json:"objects,omitempty"`       // data objects
	Bytes        int64       `json:"bytes,omitempty"`         // of all objects that travel: data and _metadata
	Metadata     Sum         `json:"metadata_sha256,omitzero"`
	Blocks       int64       `json:"blocks,omitempty"`       // of the whole volume
	BlockSize    int         `json:"block_size,omitempty"`   // bytes; 32,768 unless the operator chose otherwise
	BlocksDigest Sum         `json:"blocks_sha256,omitzero"` // SHA-256 over the SHA-256s of all blocks in order; zero: not known yet
	Gone         int64       `json:"gone,omitempty"`         // µs: since when the source no longer has the backup; 0: it has
	Unseen       bool        `json:"unseen,omitempty"`       // found at a destination, and its source was not asked yet whether it has the backup
	Copies       []PointCopy `json:"copies,omitempty"`       // ascending by Region, one a region
}

// Sum is a SHA-256; zero is none. Its text is 64 digits of lower-case hex.
type Sum [32]byte

// String is the sum's text; "" of none.
func (s Sum) String() string {
	if s == (Sum{}) {
		return ""
	}
	return hex.EncodeToString(s[:])
}

// MarshalText never fails.
func (s Sum) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes what MarshalText gives and nothing else.
func (s *Sum) UnmarshalText(text []byte) error {
	*s = Sum{}
	if len(text) == 0 {
		return nil
	}
	if len(text) != 2*len(s) || strings.ToLower(string(text)) != string(text) {
		return fmt.Errorf("%q is no SHA-256 in lower-case hex", text)
	}
	_, err := hex.Decode(s[:], text)
	return err
}

// PointVolume is the volume as it was when the point was made: what a restore makes again.
type PointVolume struct {
	ID          string            `json:"id"`
	Name        string            `json:"name,omitempty"`
	Description string            `json:"description,omitempty"`
	Size        int               `json:"size,omitempty"` // GiB
	Type        string            `json:"type,omitempty"` // the volume type's name
	Zone        string            `json:"zone,omitempty"`
	Bootable    bool              `json:"bootable,omitempty"`
	Encrypted   bool              `json:"encrypted,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`
	Image       map[string]string `json:"image,omitempty"`
}

// CopyState is how far a point's copy is.
type CopyState string

// The states, in order. Only Landed copies count as replicas.
const (
	CopyShipping CopyState = "shipping" // objects are on the way
	CopyShipped  CopyState = "shipped"  // all objects are confirmed and listed; the record is not imported
	CopyLanded   CopyState = "landed"   // the region's own Cinder can restore it
	CopyLost     CopyState = "lost"     // an audit found objects or the record missing or wrong
	CopyExpired  CopyState = "expired"  // removed by retention
)

// PointCopy is a point in a region that is not its source.
type PointCopy struct {
	Region    string    `json:"region"`
	Project   string    `json:"project,omitempty"`
	State     CopyState `json:"state"`
	Backup    string    `json:"backup,omitempty"` // its id there: the point's own, or another if it is a synthetic full
	Parent    string    `json:"parent,omitempty"` // the backup there it is an increment upon; "" of a full or synthetic one
	Synthetic bool      `json:"synthetic,omitempty"`
	Container string    `json:"container,omitempty"`
	Prefix    string    `json:"prefix,omitempty"`
	Objects   int       `json:"objects,omitempty"`
	Bytes     int64     `json:"bytes,omitempty"`
	Metadata  Sum       `json:"metadata_sha256,omitzero"` // of _metadata as it stands there
	Began     int64     `json:"began,omitempty"`          // µs
	Shipped   int64     `json:"shipped,omitempty"`        // µs
	Landed    int64     `json:"landed,omitempty"`         // µs
	Proof     Proof     `json:"proof,omitzero"`           // the last one
	Note      string    `json:"note,omitempty"`           // why it is not landed, or lost
}

// Proof says what came of comparing a restored volume with its point.
type Proof struct {
	At     int64  `json:"at"`   // µs; 0: never
	Kind   string `json:"kind"` // "blocks" (the source's block list), "objects" (the destination's own objects)
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"` // of a mismatch: the first differing offsets
}

// Work is something that is about to be made in a region's Cinder or object store,
// under a name of its own, so that a restart finds it and goes on or clears it away (R6).
type Work struct {
	ID       string `json:"id"`   // unique; part of the name and metadata of what is made
	Kind     string `json:"kind"` // snapshot, backup, volume, restore, proof, synthetic, import …
	Region   string `json:"region"`
	Policy   string `json:"policy,omitempty"`
	Point    string `json:"point,omitempty"`    // ID of the point it is about; may be ""
	Resource string `json:"resource,omitempty"` // the id that the region gave it; "" if not known yet
	Began    int64  `json:"began,omitempty"`    // µs
	Data     []byte `json:"data,omitempty"`     // JSON of whoever does the work, at most MaxData
}

// Drill is the report of a restore drill, kept as its writer's JSON.
type Drill struct {
	ID     string `json:"id"`
	Policy string `json:"policy,omitempty"`
	Began  int64  `json:"began,omitempty"` // µs
	OK     bool   `json:"ok"`
	Report []byte `json:"report,omitempty"` // JSON, at most MaxData
}

// MaxData is the most that a work's Data or a drill's Report may have, in bytes.
const MaxData = 16 << 20

// Copy returns the point's copy in a region.
func (p *Point) Copy(region string) (PointCopy, bool) {
	for _, c := range p.Copies {
		if c.Region == region {
			return c, true
		}
	}
	return PointCopy{}, false
}

// SetCopy adds or replaces the copy in c.Region, keeping the order.
func (p *Point) SetCopy(c PointCopy) {
	at, there := p.find(c.Region)
	if there {
		p.Copies[at] = c
		return
	}
	p.Copies = slices.Insert(p.Copies, at, c)
}

// DropCopy removes the copy in a region, if there is one.
func (p *Point) DropCopy(region string) {
	if at, there := p.find(region); there {
		p.Copies = slices.Delete(p.Copies, at, at+1)
	}
}

func (p *Point) find(region string) (at int, there bool) {
	return slices.BinarySearchFunc(p.Copies, region, func(c PointCopy, r string) int { return strings.Compare(c.Region, r) })
}

// Valid says what would keep the ledger from taking a point (ErrInvalid): no id, no
// region or no volume, copies that are not ascending by region, or one without a state.
func (p *Point) Valid() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: point %q: %s", ErrInvalid, p.ID, fmt.Sprintf(format, args...))
	}
	if err := checkID(p.ID); err != nil {
		return bad("%v", err)
	}
	if err := checkID(p.Volume.ID); err != nil {
		return bad("volume: %v", err)
	}
	if p.Region == "" {
		return bad("no region")
	}
	last := ""
	for _, c := range p.Copies {
		if c.Region <= last || !utf8.ValidString(c.Region) {
			return bad("copies not ascending by region: %q after %q", c.Region, last)
		}
		last = c.Region
		switch c.State {
		case CopyShipping, CopyShipped, CopyLanded, CopyLost, CopyExpired:
		default:
			return bad("copy in %s has the state %q", c.Region, c.State)
		}
	}
	return nil
}

func (w *Work) valid() error {
	if err := checkID(w.ID); err != nil {
		return fmt.Errorf("work: %w", err)
	}
	if w.Kind == "" || w.Region == "" {
		return fmt.Errorf("%w: work %q without a kind or a region", ErrInvalid, w.ID)
	}
	return checkData("work", w.ID, w.Data)
}

func (d *Drill) valid() error {
	if err := checkID(d.ID); err != nil {
		return fmt.Errorf("drill: %w", err)
	}
	return checkData("drill", d.ID, d.Report)
}

func checkData(what, id string, data []byte) error {
	if len(data) > MaxData {
		return fmt.Errorf("%w: %s %q with %d bytes of data, %d are possible", ErrInvalid, what, id, len(data), MaxData)
	}
	return nil
}

// checkID is checkName for what is kept as JSON, which has UTF-8 only.
func checkID(id string) error {
	if !utf8.ValidString(id) {
		return fmt.Errorf("%w: the id %q is not UTF-8", ErrInvalid, id)
	}
	return checkName(id)
}
