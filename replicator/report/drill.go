package report

import "time"

// Drill is the report of a restore drill: what was restored, what that proves, and how
// long it took.
type Drill struct {
	ID      string `json:"id"`
	Policy  string `json:"policy"` // "": of a single point
	Version string `json:"version"`
	// Source says whether the source region was asked for anything; a drill needs none of it.
	Source     string           `json:"source_region"`
	Regions    []string         `json:"regions"`
	Began      time.Time        `json:"began"`
	Seconds    float64          `json:"seconds"`
	OK         bool             `json:"ok"`
	RTO        float64          `json:"rto_seconds"` // of the slowest volume
	RPO        float64          `json:"rpo_seconds"` // age of the oldest of the points restored, when the drill began
	Volumes    []DrillVolume    `json:"volumes"`
	Containers []DrillContainer `json:"containers"`
	Findings   []Finding        `json:"findings"`
	Errors     int64            `json:"error_findings"`
}

// DrillVolume is one volume of a drill, at one region.
type DrillVolume struct {
	OK      bool    `json:"ok"`
	Age     float64 `json:"age_seconds"` // of the point, when the drill began
	Cause   string  `json:"cause,omitempty"`
	Hint    string  `json:"hint,omitempty"`
	Restore Restore `json:"restore"`
}

// DrillContainer is one container of a drill, at one region.
type DrillContainer struct {
	OK        bool    `json:"ok"`
	Region    string  `json:"region"`
	Container string  `json:"container"`
	Share     float64 `json:"share"` // of the objects that were to be restored, 0 to 1
	Seed      int64   `json:"seed"`  // chose them
	Listed    int64   `json:"listed"`
	Restored  int64   `json:"restored"`
	Bytes     int64   `json:"bytes"`
	Recorded  int64   `json:"recorded"` // compared with a SHA-256 of the ledger; the others with the copy's own MD5
	Differing int64   `json:"differing"`
	Failed    int64   `json:"failed"`
	Skipped   int64   `json:"skipped"` // links, and objects that one PUT cannot write
	Seconds   float64 `json:"seconds"` // until the last object was restored
	Verify    float64 `json:"verify_seconds"`
	Cause     string  `json:"cause,omitempty"`
}
