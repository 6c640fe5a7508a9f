package report

import "time"

// Migration is the outcome of moving a volume to another region.
type Migration struct {
	Volume  string          `json:"volume"` // at the source
	Name    string          `json:"name"`
	From    string          `json:"from"`
	To      string          `json:"to"`
	State   string          `json:"state"` // passes, waiting, restoring, done, retired
	Began   time.Time       `json:"began"` // the first pass, of whatever run
	Seconds float64         `json:"seconds"`
	Passes  []MigrationPass `json:"passes"`
	Bytes   int64           `json:"bytes"` // between the regions, of all passes
	Restore *Restore        `json:"restore"`
	// Downtime is how long the volume could be used nowhere, in seconds: from the final
	// pass's snapshot until the restored volume could be attached. The proof came after.
	Downtime float64   `json:"downtime_seconds"`
	Ended    time.Time `json:"ended,omitzero"`
	Already  bool      `json:"already_done,omitempty"` // an earlier run had done it
	Retired  bool      `json:"retired"`                // the source volume was removed
	// SourceUsed is why the source volume may hold what the new one does not, of a migration that
	// an earlier run had done; empty: it does not.
	SourceUsed string    `json:"source_used,omitempty"`
	Findings   []Finding `json:"findings"`
	Errors     int64     `json:"error_findings"`
	WaitingOn  string    `json:"waiting_on,omitempty"` // what the final pass waits for
}

// List makes its lists lists in JSON, where they are empty, too.
func (m *Migration) List() {
	if m.Passes == nil {
		m.Passes = []MigrationPass{}
	}
	if m.Findings == nil {
		m.Findings = []Finding{}
	}
}

// MigrationPass is one snapshot shipped.
type MigrationPass struct {
	Point       string    `json:"point"`
	Taken       time.Time `json:"taken"`
	Incremental bool      `json:"incremental"`
	Bytes       int64     `json:"bytes"`
	Seconds     float64   `json:"seconds"`
	Final       bool      `json:"final"`
}
