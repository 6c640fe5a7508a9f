package report

import "time"

// PointStanding is a restore point, and where it stands.
type PointStanding struct {
	Point      string    `json:"point"` // the backup's id at the source
	Policy     string    `json:"policy"`
	Region     string    `json:"region"` // the source
	Volume     string    `json:"volume"`
	VolumeName string    `json:"volume_name"`
	Size       int       `json:"size_gib"`
	Type       string    `json:"volume_type"`
	Taken      time.Time `json:"taken"` // when the volume was like this
	// Kind is full, increment or, while its backup is not complete, making.
	Kind    string         `json:"kind"`
	Parent  string         `json:"parent,omitempty"`
	Why     string         `json:"why_full,omitempty"`
	Source  string         `json:"source"` // has, gone, or unknown: the list is a destination's own, or a rebuilt ledger's whose source was not asked yet
	Chain   int            `json:"chain"`  // backups that a restore at the source needs, itself included; 0: it cannot be done there, or is not known
	Objects int            `json:"objects"`
	Bytes   int64          `json:"bytes"`
	Blocks  string         `json:"blocks_sha256,omitempty"` // SHA-256 over the SHA-256s of all its blocks
	Copies  []CopyStanding `json:"copies"`                  // by region
}

// CopyStanding is a copy of a restore point at a destination.
type CopyStanding struct {
	Region string `json:"region"`
	State  string `json:"state"` // shipping, shipped, landed, lost, expired
	Backup string `json:"backup"`
	// Kind is full, increment, or synthetic: a full one made there, of objects that were there.
	Kind    string    `json:"kind"`
	Parent  string    `json:"parent,omitempty"` // the backup there that it is an increment upon
	Chain   int       `json:"chain"`            // backups that a restore there needs, itself included; 0: it cannot be done now
	Objects int       `json:"objects"`
	Bytes   int64     `json:"bytes"`
	Landed  time.Time `json:"landed,omitzero"`
	// Proof is the last one; nil: never.
	Proof *ProofStanding `json:"proof"`
	Note  string         `json:"note,omitempty"` // why it is not landed, or lost
}

// ProofStanding is what the last comparison of a restored volume with its point said.
type ProofStanding struct {
	At      time.Time `json:"at"`
	Against string    `json:"against"` // as in Proof
	OK      bool      `json:"ok"`
	Detail  string    `json:"detail,omitempty"`
}

// PointSummary says how the restore points of a policy stand, by what the ledger knows.
type PointSummary struct {
	Policy  string    `json:"policy"`
	Region  string    `json:"region"` // the source
	Volumes int       `json:"volumes"`
	Points  int       `json:"points"`
	Newest  time.Time `json:"newest"` // when the volume of the newest complete point was like that; zero: there is none
	Age     float64   `json:"age_seconds"`
	// Regions are the destinations, by name.
	Regions []PointRegionSummary `json:"regions"`
	// Proof is the last comparison of a restored volume with a point, Drill the last drill of
	// the policy; nil: never.
	Proof *ProofSummary `json:"last_proof"`
	Drill *DrillSummary `json:"last_drill"`
}

// PointRegionSummary says how a policy's points stand at one destination.
type PointRegionSummary struct {
	Region      string    `json:"region"`
	Restorable  int       `json:"restorable"`   // landed, with all that they need
	NotImported int       `json:"not_imported"` // shipped
	Shipping    int       `json:"shipping"`
	Lost        int       `json:"lost"`            // or upon one that is
	Newest      time.Time `json:"newest,omitzero"` // of the restorable ones
	Age         float64   `json:"age_seconds"`     // 0: there is none
}

// ProofSummary is a proof, and what was proven.
type ProofSummary struct {
	ProofStanding
	Point      string `json:"point"`
	VolumeName string `json:"volume_name"`
	Region     string `json:"region"`
}

// DrillSummary is a drill that was made.
type DrillSummary struct {
	ID    string    `json:"id"`
	Began time.Time `json:"began"`
	OK    bool      `json:"ok"`
}
