package store

// Point is a restore point: a backup of a volume's snapshot at its source region, and
// the copies of it in others.
type Point struct {
	ID              string // the backup's id at the source
	Policy          string
	Region, Project string // of the source
	Volume          PointVolume
	Snapshot        string      // its id at the source
	SnapshotOurs    bool        // Farshore took the snapshot, and may delete it
	Taken           int64       // µs: the snapshot's time, which is what the point shows
	Made            int64       // µs: when the backup was complete; 0: not yet
	Container       string      // of the source's object store
	Prefix          string      // of its objects there
	Parent          string      // ID of the point it is an increment upon; "" of a full one
	Why             string      // why it is full, in a few words; "" of an increment
	Objects         int         // data objects
	Bytes           int64       // of all objects that travel: data and _metadata
	Metadata        [32]byte    // SHA-256 of _metadata as the source wrote it
	Blocks          int64       // of the whole volume
	BlockSize       int         // bytes; 32,768 unless the operator chose otherwise
	BlocksDigest    [32]byte    // SHA-256 over the SHA-256s of all blocks in order; zero: not known yet
	Gone            int64       // µs: since when the source no longer has the backup; 0: it has
	Copies          []PointCopy // ascending by Region, one a region
}

// PointVolume is the volume as it was when the point was made: what a restore makes again.
type PointVolume struct {
	ID, Name, Description string
	Size                  int // GiB
	Type, Zone            string
	Bootable, Encrypted   bool
	Metadata, Image       map[string]string
}

// CopyState is how far a point's copy is.
type CopyState string

// The states, in order. Only Landed and Proven copies count as replicas.
const (
	CopyShipping CopyState = "shipping" // objects are on the way
	CopyShipped  CopyState = "shipped"  // all objects are confirmed and listed; the record is not imported
	CopyLanded   CopyState = "landed"   // the region's own Cinder can restore it
	CopyLost     CopyState = "lost"     // an audit found objects or the record missing or wrong
	CopyExpired  CopyState = "expired"  // removed by retention
)

// PointCopy is a point in a region that is not its source.
type PointCopy struct {
	Region, Project   string
	State             CopyState
	Backup            string // its id there: the point's own, or another if it is a synthetic full
	Parent            string // the backup there it is an increment upon; "" of a full or synthetic one
	Synthetic         bool
	Container, Prefix string
	Objects           int
	Bytes             int64
	Metadata          [32]byte // SHA-256 of _metadata as it stands there
	Began, Shipped    int64    // µs
	Landed            int64    // µs
	Proof             Proof    // the last one
	Note              string   // why it is not landed, or lost
}

// Proof says what came of comparing a restored volume with its point.
type Proof struct {
	At     int64  // µs; 0: never
	Kind   string // "blocks" (the source's block list), "objects" (the destination's own objects)
	OK     bool
	Detail string // of a mismatch: the first differing offsets
}

// Work is something that is about to be made in a region's Cinder or object store,
// under a name of its own, so that a restart finds it and goes on or clears it away (R6).
type Work struct {
	ID       string // unique; part of the name and metadata of what is made
	Kind     string // snapshot, backup, volume, restore, proof, synthetic, import …
	Region   string
	Policy   string
	Point    string // ID of the point it is about; may be ""
	Resource string // the id that the region gave it; "" if not known yet
	Began    int64  // µs
	Data     []byte // JSON of whoever does the work
}

// Drill is the report of a restore drill, kept as its writer's JSON.
type Drill struct {
	ID     string
	Policy string
	Began  int64 // µs
	OK     bool
	Report []byte // JSON
}
