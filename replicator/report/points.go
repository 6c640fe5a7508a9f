package report

import "time"

// Kinds of findings about restore points.
const (
	KindRecordLost = "lost-record"      // a region's Cinder no longer has a copy's backup record
	KindPinned     = "pinned-backup"    // a backup that retention would remove has increments that are not ours
	KindNotMerged  = "not-synthesized"  // a synthetic full that should be made was not
	KindPointGone  = "gone-at-source"   // the source no longer has a point's backup
	KindLeftover   = "leftover-objects" // objects of a deleted backup were still there, and were removed
	KindUnknown    = "unknown-point"    // a backup at a destination that no record knows
	KindNotEqual   = "not-equal"        // a restored volume is not equal to its point
	KindPointLost  = "lost-point"       // a point that cannot be restored where it was, or nowhere at all
	KindSourceUsed = "source-used"      // a volume was used after the final pass of its migration
	KindOlderPoint = "older-point"      // an older point than the newest is taken, which cannot be restored
)

// Act is what retention does with one copy of a point.
type Act string

// The acts.
const (
	Keep       Act = "keep"
	Delete     Act = "delete"
	Synthesize Act = "synthesize" // made a full of its own, of objects that are already there
)

// Fate is what retention decided of one point at one side, and why.
type Fate struct {
	Volume string    `json:"volume"`
	Region string    `json:"region"`
	Source bool      `json:"source"` // the side is the point's source, and keep_source was asked
	Point  string    `json:"point"`
	Taken  time.Time `json:"taken"`
	Act    Act       `json:"act"`
	Why    string    `json:"why"`
	Done   bool      `json:"done"` // carried out; always false of keep and of a plan
}

// Retention is what a policy's retention decided and did.
type Retention struct {
	Kept        int    `json:"kept"`        // copies and source backups that stay
	Deleted     int    `json:"deleted"`     // that were deleted; of a plan: that would be
	Synthesized int    `json:"synthesized"` // synthetic fulls made
	Failed      int    `json:"failed"`      // acts that were not carried out
	Freed       int64  `json:"freed_bytes"` // of deleted objects
	Copied      int64  `json:"server_side_copied_bytes"`
	Points      []Fate `json:"points"`
}

// PointAudit counts what an audit of restore points saw. A copy is one point in one
// destination.
type PointAudit struct {
	Seed        int64            `json:"seed"`
	Share       float64          `json:"read_share"`
	Points      int64            `json:"points"`       // that the policy has, as farshore points lists them
	Alone       int64            `json:"points_alone"` // of these: that only the source has, for retention removed every copy
	Copies      int              `json:"copies"`
	Whole       int              `json:"whole"`  // copies found as recorded, with all that they need
	Broken      int              `json:"broken"` // copies with something missing, damaged or lost, or upon one
	ByRegion    map[string]int64 `json:"whole_by_region"`
	Objects     int64            `json:"objects"` // listed as recorded
	ReadCount   int64            `json:"read_objects"`
	ReadBytes   int64            `json:"read_back_bytes"`
	Missing     int64            `json:"missing"` // objects
	Damaged     int64            `json:"damaged"` // objects
	LostRecords int64            `json:"lost_records"`
	Repaired    int64            `json:"repaired"` // objects sent again and records imported again
}
