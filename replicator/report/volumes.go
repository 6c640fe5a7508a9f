package report

import "time"

// PointResult is what a pass over a policy of volumes did, or for a plan would do,
// about one restore point.
type PointResult struct {
	Point      string    `json:"point"` // the backup's id at the source; "" of a plan
	Volume     string    `json:"volume"`
	VolumeName string    `json:"volume_name"`
	Size       int       `json:"size_gib"`
	Snapshot   string    `json:"snapshot"`       // "" of a plan that would take one
	Taken      time.Time `json:"taken,omitzero"` // when the volume was like this
	// Incremental tells an increment, upon Parent, from a full backup; Why says why it is full.
	Incremental bool   `json:"incremental"`
	Parent      string `json:"parent,omitempty"`
	Why         string `json:"why_full,omitempty"`
	Chain       int    `json:"chain"`   // backups that a restore of it needs, itself included
	Objects     int    `json:"objects"` // data objects
	Bytes       int64  `json:"bytes"`   // of the objects that travel: data and _metadata
	Resumed     bool   `json:"resumed,omitempty"`

	// The backup at the source, as far as this pass saw it. First and last object are
	// the source's own times of them.
	BackupBegan time.Time `json:"backup_began,omitzero"`
	BackupEnded time.Time `json:"backup_ended,omitzero"`
	FirstObject time.Time `json:"first_object,omitzero"`
	LastObject  time.Time `json:"last_object,omitzero"`

	Regions []PointRegion `json:"regions"` // by name
}

// PointRegion is a point's way to one destination.
type PointRegion struct {
	Region string `json:"region"`
	State  string `json:"state"` // shipping, shipped, landed; of a plan: wanted
	Sent   int64  `json:"bytes_sent"`
	// First and last data object as the destination dates them, when its listing was found
	// to be complete, and when the record was available.
	FirstObject time.Time `json:"first_object,omitzero"`
	LastObject  time.Time `json:"last_object,omitzero"`
	Listed      time.Time `json:"listed,omitzero"`
	Imported    time.Time `json:"imported,omitzero"`
	Note        string    `json:"note,omitempty"` // why it is not landed
}

// VolumeTotals sums up a pass over a policy of volumes.
type VolumeTotals struct {
	Volumes   int64 `json:"volumes"`         // that the policy selects
	Refused   int64 `json:"refused_volumes"` // of these: that cannot be backed up, or not now
	Snapshots int64 `json:"snapshots_taken"`
	Removed   int64 `json:"snapshots_removed"`
	Points    int64 `json:"points"`        // that the policy has, as farshore points lists them
	Alone     int64 `json:"points_alone"`  // of these: that only the source has, for retention removed every copy
	Landed    int64 `json:"landed_copies"` // copies of points that came to stand complete in this pass
}
