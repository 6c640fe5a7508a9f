package report

import "time"

// Span is a part of some work with how long it took. The parts of one work follow one
// another without gaps that matter.
type Span struct {
	Name    string    `json:"name"`
	Began   time.Time `json:"began"`
	Seconds float64   `json:"seconds"`
}

// Restore is the outcome of restoring a point into a volume.
type Restore struct {
	Point  string    `json:"point"`
	Policy string    `json:"policy,omitempty"`
	Taken  time.Time `json:"taken"` // when the volume was like this
	From   string    `json:"from"`  // the region it comes from
	Region string    `json:"region"`
	// SourceVolume is the volume the point is of, Volume what was made of it.
	SourceVolume     string `json:"source_volume"`
	SourceVolumeName string `json:"source_volume_name"`
	Volume           string `json:"volume"`
	Name             string `json:"name"`
	Size             int    `json:"size_gib"`
	Type             string `json:"type"`
	Zone             string `json:"zone"`
	// Backups are the destination's backups that were restored one upon another, the full one first.
	Backups []string  `json:"backups"`
	Objects int64     `json:"objects"` // data objects of these
	Bytes   int64     `json:"bytes"`   // of these objects, as they are stored
	Known   string    `json:"known"`   // how the point was found: ledger, or destination
	Began   time.Time `json:"began"`
	Seconds float64   `json:"seconds"` // all of it, with the proof
	// RTO is the time in seconds from the start until the volume could be attached: without the proof.
	RTO     float64 `json:"rto_seconds"`
	Spans   []Span  `json:"phases"`
	Resumed bool    `json:"resumed,omitempty"` // an interrupted restore was gone on with
	Removed bool    `json:"removed,omitempty"` // it was a drill: the volume was removed again
	Proof   *Proof  `json:"proof"`             // nil: none was asked for
}

// Phases gives the parts up to when the volume could be attached, and those after it:
// the proof, and what was cleared away.
func (r Restore) Phases() (ready, later []Span) {
	for i, s := range r.Spans {
		if s.Began.Sub(r.Began).Seconds() >= r.RTO && r.RTO > 0 {
			return r.Spans[:i], r.Spans[i:]
		}
	}
	return r.Spans, nil
}

// Proof is what came of comparing the blocks of a restored volume with its point's.
type Proof struct {
	// Against says what the volume was compared with: blocks (the list made from the
	// source's own at the time of the backup), source (the source's list, read now) or
	// objects (the destination's copies, hashed now; it proves the restore, and that the
	// copies agree with the source's own MD5 of each extent).
	Against   string    `json:"against"`
	OK        bool      `json:"ok"`
	At        time.Time `json:"at"`
	Blocks    int64     `json:"blocks"`
	BlockSize int       `json:"block_size"`
	// Expected and Found are hex SHA-256s over the SHA-256s of all blocks in order.
	Expected  string  `json:"expected"`
	Found     string  `json:"found"`
	Differing int64   `json:"differing_blocks"`
	First     []Range `json:"first_differing,omitempty"` // at most eight
	// How the volume's blocks were hashed: the destination's backup service did it
	// (service), or its scratch backup was read and hashed here (read), which is so where
	// its block size is another.
	Hashed string `json:"hashed_by"`
}

// Range is a part of a volume, in bytes.
type Range struct {
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
}
