package replicator

import (
	"maps"
	"sync"
	"sync/atomic"

	"farshore/policies"
	"farshore/replicator/report"
)

// tally counts what a policy's passes do, from many goroutines.
type tally struct {
	listed, unchanged, copied, bytes, read, meta, adopted  atomic.Int64
	deleted, pending, conflicts, cannot, failed, sentTwice atomic.Int64
	properties                                             atomic.Int64 // of containers and accounts, set or removed
	trimmed                                                atomic.Int64 // copies removed from where others than those chosen hold them
	resumed                                                atomic.Int64 // of copied: what an interrupted pass had left
	excused                                                atomic.Int64 // objects that cannot be kept, in a policy that accepts that

	mu       sync.Mutex
	byCount  map[int]int64 // present objects by confirmed regions
	byRegion map[string]int64
}

// held counts one present object that k regions hold.
func (t *tally) held(k int) { t.heldMany(map[int]int64{k: 1}) }

func (t *tally) heldMany(m map[int]int64) {
	t.mu.Lock()
	for k, n := range m {
		t.byCount[k] += n
	}
	t.mu.Unlock()
}

// sent counts payload bytes handed to a region.
func (t *tally) sent(region string, n int64) {
	t.bytes.Add(n)
	t.mu.Lock()
	t.byRegion[region] += n
	t.mu.Unlock()
}

func (t *tally) result(p policies.Policy) (report.Totals, report.Replicas) {
	t.mu.Lock()
	defer t.mu.Unlock()
	objects := int64(0)
	for _, n := range t.byCount {
		objects += n
	}
	v := policies.Judge(p, policies.ReplicaCounts{Objects: objects, ByRegions: t.byCount})
	v.Short = max(v.Short-t.excused.Load(), 0)
	v.Satisfied = v.Short == 0
	return report.Totals{Listed: t.listed.Load(), Unchanged: t.unchanged.Load(), Copied: t.copied.Load(), Bytes: t.bytes.Load(),
			Read: t.read.Load(), Metadata: t.meta.Load(), Adopted: t.adopted.Load(), Properties: t.properties.Load(), Deleted: t.deleted.Load(), Pending: t.pending.Load(),
			Conflicts: t.conflicts.Load(), Cannot: t.cannot.Load(), Failed: t.failed.Load(), Trimmed: t.trimmed.Load(), Twice: t.sentTwice.Load(), ByRegion: maps.Clone(t.byRegion)},
		report.Replicas{Wanted: v.Needed, Objects: objects, ByCount: maps.Clone(t.byCount), Short: v.Short, Satisfied: v.Satisfied}
}

// addWork adds what another tally did, leaving out what it saw.
func (t *tally) addWork(o *tally) {
	for _, x := range [][2]*atomic.Int64{{&t.copied, &o.copied}, {&t.bytes, &o.bytes}, {&t.read, &o.read}, {&t.meta, &o.meta}, {&t.adopted, &o.adopted},
		{&t.deleted, &o.deleted}, {&t.trimmed, &o.trimmed}, {&t.properties, &o.properties}, {&t.sentTwice, &o.sentTwice}} {
		x[0].Add(x[1].Load())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, v := range o.byRegion {
		t.byRegion[k] += v
	}
}
