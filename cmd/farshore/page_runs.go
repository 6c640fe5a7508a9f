package main

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"

	"farshore/replicator/daemon"
	"farshore/replicator/page"
	"farshore/replicator/report"
	"farshore/transport"
)

// lastRun is how the last run of a task ended, with what it found.
type lastRun struct {
	Kind     daemon.Kind      `json:"kind"`
	Began    time.Time        `json:"began"`
	Ended    time.Time        `json:"ended"`
	OK       bool             `json:"ok"`
	Error    string           `json:"error,omitempty"`
	Facts    []string         `json:"facts"`
	Findings []report.Finding `json:"findings"` // keepFindings at most, the worst of them
	More     int64            `json:"more,omitempty"`
	// Replicas are as it counted them; absent: it did not look at everything.
	Replicas *report.Replicas `json:"replicas,omitempty"`
	Brakes   []string         `json:"brakes,omitempty"`  // tokens of those that stopped it
	Digests  []byte           `json:"digests,omitempty"` // of all findings, eight bytes each
}

// keepFindings is how many findings of a run are kept: the page and a webhook name so
// many. The log has had each.
const keepFindings = 50

// runs keeps the last run of every task of every policy, also through a restart.
type runs struct {
	memory daemon.Memory

	mu   sync.Mutex
	last map[string]lastRun // by key
}

func newRuns(memory daemon.Memory) *runs { return &runs{memory: memory, last: map[string]lastRun{}} }

func runKey(policy string, kind daemon.Kind) string { return "run/" + string(kind) + "/" + policy }

// get gives the last run of a task, if there was one.
func (k *runs) get(policy string, kind daemon.Kind) (lastRun, bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.read(runKey(policy, kind))
}

func (k *runs) read(key string) (lastRun, bool, error) {
	if r, ok := k.last[key]; ok {
		return r, !r.Began.IsZero(), nil
	}
	text, ok, err := k.memory.Note(key)
	if err != nil {
		return lastRun{}, false, fmt.Errorf("read the last run: %w", err)
	}
	var r lastRun
	if ok {
		if err := json.Unmarshal(text, &r); err != nil {
			return lastRun{}, false, fmt.Errorf("read the last run: %w", err)
		}
	}
	k.last[key] = r
	return r, !r.Began.IsZero(), nil
}

// put keeps a run, and gives those of its findings that the run before did not have.
func (k *runs) put(policy string, r lastRun, all []report.Finding) (fresh []report.Finding, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := runKey(policy, r.Kind)
	before, _, err := k.read(key)
	if err != nil {
		return nil, err
	}
	known := map[uint64]bool{}
	for d := before.Digests; len(d) >= 8; d = d[8:] {
		known[binary.BigEndian.Uint64(d)] = true
	}
	for _, f := range all {
		id := digest(f)
		r.Digests = binary.BigEndian.AppendUint64(r.Digests, id)
		if !known[id] {
			fresh = append(fresh, f)
		}
	}
	r.Findings = worst(all)
	r.More += int64(len(all) - len(r.Findings))
	text, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode a run: %w", err)
	}
	k.last[key] = r
	if err := k.memory.PutNote(key, text); err != nil {
		return fresh, fmt.Errorf("keep the last run: %w", err)
	}
	return fresh, nil
}

// worst gives the findings to name, the worst first.
func worst(all []report.Finding) []report.Finding {
	out := slices.Clone(all)
	slices.SortStableFunc(out, func(a, b report.Finding) int { return cmp.Compare(page.Rank(a.Level), page.Rank(b.Level)) })
	return out[:min(len(out), keepFindings)]
}

// digest tells findings apart. What makes one the same as that of the run before is what
// it is about, not the words of its cause.
func digest(f report.Finding) uint64 {
	h := fnv.New64a()
	for _, s := range []string{f.Kind, string(f.Level), f.Region, f.Container, f.Name, f.Op} {
		_, _ = h.Write(append([]byte(s), 0)) // never fails
	}
	return h.Sum64()
}

// passRun is a pass or an audit to keep.
func passRun(kind daemon.Kind, r report.Result, ended time.Time, err error) lastRun {
	x := lastRun{Kind: kind, Began: r.Began, Ended: ended, OK: err == nil && r.Errors == 0, Facts: facts(r), Brakes: r.Brakes}
	x.More = max(0, total(r.Counts)-int64(len(r.Findings)))
	if err != nil {
		x.Error = err.Error()
		return x
	}
	x.Replicas = &r.Replicas
	return x
}

// facts says in a few words what a pass or an audit did.
func facts(r report.Result) []string {
	var out []string
	add := func(n int64, format string) {
		if n > 0 {
			out = append(out, fmt.Sprintf(format, comma(n)))
		}
	}
	things := func(n int64, noun, did string) {
		if n > 0 {
			out = append(out, strings.TrimSpace(count(n, noun)+" "+did))
		}
	}
	if v := r.Volumes; v != nil {
		things(v.Volumes, "volume", "")
		things(v.Points, "point", "")
		things(v.Landed, "copy", "landed")
		things(v.Refused, "volume", "refused")
	}
	if a := r.Audit; a != nil {
		things(a.Seen, "replica", "as recorded")
		add(a.ReadCount, "%s read through")
		add(a.Missing, "%s missing")
		add(a.Damaged, "%s damaged")
		add(a.Repaired, "%s repaired")
	}
	if a := r.PointAudit; a != nil {
		things(int64(a.Whole), "copy", "of points whole")
		add(int64(a.Broken), "%s broken")
		add(a.Repaired, "%s repaired")
	}
	t := r.Totals
	things(t.Copied, "object", "copied")
	if t.Bytes > 0 {
		out = append(out, size(t.Bytes)+" sent")
	}
	add(t.Metadata, "%s headers updated")
	add(t.Adopted, "%s found there already")
	add(t.Deleted, "%s deleted")
	add(t.Pending, "%s deletes waiting")
	add(t.Unchanged, "%s unchanged")
	add(t.Failed, "%s failed")
	return out
}

// drillRun is a drill to keep.
func drillRun(r report.Drill, ended time.Time, err error) lastRun {
	x := lastRun{Kind: daemon.Drill, Began: r.Began, Ended: ended, OK: err == nil && r.OK}
	if err != nil {
		x.Error = err.Error()
		return x
	}
	if r.ID != "" {
		x.Facts = []string{drillLine(r), "report " + transport.PrintName(r.ID)}
	}
	return x
}
