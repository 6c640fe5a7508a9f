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
