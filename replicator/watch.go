package replicator

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// A policy that watches (policies.Policy.Watch) has a pass every few seconds, and most of
// its containers are idle. A pass leaves out those of which all is known: the last look at
// them found nothing to say and nothing left to do, the account's listing shows as many
// objects and bytes as then, and their turn has not come. A turn comes as soon as the next
// pass where something changed, and twice as long after each look that found nothing, up
// to Every: that is what finds an overwrite which leaves the counters as they are, or what
// an account's listing shows late. It is kept in memory: after a start everything is
// looked at.

// glance is what is known of one container that is watched.
type glance struct {
	objects, bytes int64 // as the account listed it before the last look
	counts         map[int]int64
	pause          time.Duration // between the last look and the next
	next           time.Time
}

// workDone is what a pass has done and found so far.
type workDone struct {
	done, left, findings int64
	counts               map[int]int64
}

// sum takes it from a pass's tally and findings.
func (p *pass) sum() workDone {
	t := p.tally
	t.mu.Lock()
	counts := maps.Clone(t.byCount)
	t.mu.Unlock()
	n := int64(0)
	for _, k := range p.findings.Counts() {
		n += k
	}
	return workDone{done: t.copied.Load() + t.meta.Load() + t.adopted.Load() + t.deleted.Load() + t.properties.Load() + t.trimmed.Load(),
		left: t.failed.Load() + t.pending.Load() + t.conflicts.Load() + t.cannot.Load(), findings: n, counts: counts}
}

func watchKey(j Job) string { return j.Policy.Name + "\x00" + j.From.String() }

// known gives the counts of a container that need not be looked at now.
func (e *Engine) known(j Job) (map[int]int64, bool) {
	if j.listed == nil || len(j.spare) > 0 || len(j.out) > 0 {
		return nil, false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	g := e.glances[watchKey(j)]
	if g == nil || g.counts == nil || g.objects != j.listed.Objects || g.bytes != j.listed.Bytes || !e.o.Clock.Now().Before(g.next) {
		return nil, false
	}
	return g.counts, true
}

// looked notes what a pass over a container, begun at a time, has found.
func (e *Engine) looked(p *pass, began time.Time, before workDone, err error) error {
	j := p.job
	if j.listed == nil || j.Policy.Watch <= 0 || p.o.DryRun {
		return nil
	}
	now := p.sum()
	g := &glance{objects: j.listed.Objects, bytes: j.listed.Bytes}
	e.mu.Lock()
	old := e.glances[watchKey(j)]
	e.mu.Unlock()
	busy := old == nil || now.done > before.done || g.objects != old.objects || g.bytes != old.bytes
	switch {
	case busy:
		g.pause = j.Policy.Watch
	default:
		g.pause = min(2*old.pause, j.Policy.Every)
	}
	// apart by a tenth, so that what began together does not stay so
	g.next = began.Add(g.pause - rand.N(g.pause/10+1))
	counts, short := map[int]int64{}, false
	for k, n := range now.counts {
		if n -= before.counts[k]; n > 0 {
			counts[k] = n
			short = short || k < j.Policy.Replicas
		}
	}
	more, cerr := e.o.Ledger.Companions(p.place)
	if cerr != nil {
		return cerr
	}
	whole := !slices.ContainsFunc(p.dests, func(d *dest) bool { return d.dead.Load() })
	if err == nil && whole && !short && len(more) == 0 && len(p.dests) == len(j.To) && now.left == before.left && now.findings == before.findings {
		g.counts = counts
	}
	e.mu.Lock()
	e.glances[watchKey(j)] = g
	e.mu.Unlock()
	return nil
}
