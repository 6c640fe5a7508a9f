package report

import (
	"sync"
	"sync/atomic"
	"time"
)

// Progress holds the live counters of a run. Workers add to it, displays and the
// control socket read snapshots; all methods may be called concurrently.
type Progress struct {
	mu      sync.Mutex
	regions map[string]*RegionProgress
	phase   atomic.Value // string
	listed  atomic.Int64
	read    atomic.Int64
	ended   atomic.Bool // the listing is complete, so the totals are final
	began   time.Time
}

// RegionProgress is what is on its way to one region.
type RegionProgress struct {
	wantObjects, wantBytes atomic.Int64
	doneObjects, doneBytes atomic.Int64
	failed                 atomic.Int64
	retries                atomic.Int64
	active                 atomic.Int64
}

// NewProgress starts the counters at the time given.
func NewProgress(began time.Time) *Progress {
	p := &Progress{regions: map[string]*RegionProgress{}, began: began}
	p.phase.Store("starting")
	return p
}

// Region returns the counters of one destination region, making them on first use.
func (p *Progress) Region(name string) *RegionProgress {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.regions[name]
	if r == nil {
		r = &RegionProgress{}
		p.regions[name] = r
	}
	return r
}

// Phase says what the run is doing now, for people.
func (p *Progress) Phase(s string) { p.phase.Store(s) }

// Listed adds source entries seen.
func (p *Progress) Listed(n int) { p.listed.Add(int64(n)) }

// Read adds bytes read from the source.
func (p *Progress) Read(n int) { p.read.Add(int64(n)) }

// ListingDone says that no more work will be found, so totals and ETA are final.
func (p *Progress) ListingDone() { p.ended.Store(true) }

// Want adds work that was planned.
func (r *RegionProgress) Want(objects, bytes int64) {
	r.wantObjects.Add(objects)
	r.wantBytes.Add(bytes)
}

// Sent adds payload bytes handed to the region.
func (r *RegionProgress) Sent(n int64) { r.doneBytes.Add(n) }

// Done adds an object confirmed by the region.
func (r *RegionProgress) Done() { r.doneObjects.Add(1) }

// Failed adds an object that could not be copied this time.
func (r *RegionProgress) Failed() { r.failed.Add(1) }

// Retried adds a repeated request.
func (r *RegionProgress) Retried() { r.retries.Add(1) }

// Active adds to (or, negative, takes from) the transfers under way.
func (r *RegionProgress) Active(n int64) { r.active.Add(n) }

// Snapshot is the state of a run at one moment.
type Snapshot struct {
	Phase   string           `json:"phase"`
	Began   time.Time        `json:"began"`
	Listed  int64            `json:"listed"`
	Read    int64            `json:"read_bytes"`
	Final   bool             `json:"final"` // the totals will not grow any more
	Regions []RegionSnapshot `json:"regions"`
}

// RegionSnapshot is one destination's part of a Snapshot.
type RegionSnapshot struct {
	Region      string `json:"region"`
	WantObjects int64  `json:"want_objects"`
	WantBytes   int64  `json:"want_bytes"`
	DoneObjects int64  `json:"done_objects"`
	DoneBytes   int64  `json:"done_bytes"`
	Failed      int64  `json:"failed"`
	Retries     int64  `json:"retries"`
	Active      int64  `json:"active"`
}

// Snapshot copies the counters; regions ascend by name.
func (p *Progress) Snapshot() Snapshot {
	s := Snapshot{Phase: p.phase.Load().(string), Began: p.began, Listed: p.listed.Load(), Read: p.read.Load(), Final: p.ended.Load()}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range sortedKeys(p.regions) {
		r := p.regions[n]
		s.Regions = append(s.Regions, RegionSnapshot{Region: n,
			WantObjects: r.wantObjects.Load(), WantBytes: r.wantBytes.Load(),
			DoneObjects: r.doneObjects.Load(), DoneBytes: r.doneBytes.Load(),
			Failed: r.failed.Load(), Retries: r.retries.Load(), Active: r.active.Load()})
	}
	return s
}
