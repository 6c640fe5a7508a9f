package replicator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"farshore/policies"
	"farshore/replicator/lag"
)

// A container that is moved to another candidate, or that a policy did not select before, has
// to be there since then, and what is in it waits since then, not for the years that it is
// old: else every such change would be late at once. Which regions a container had before
// follows from the policy as it was, so the ledger keeps a few of its eras, not the regions of
// every container.

const (
	// erasKept is how many eras of a policy are kept at most, the newest, and eraBytes how much
	// they may take. One that is larger alone is not kept.
	erasKept = 16
	eraBytes = 256 << 10
	// eraCounts is for how long after its end an era is kept: what was placed before waits,
	// if it still does, since an era that long ago.
	eraCounts = 30 * 24 * time.Hour
)

// era is a time in which a policy chose the same containers, and regions in the same way.
type era struct {
	Since      int64           `json:"since,omitempty"` // µs; 0: from the first on
	From       string          `json:"from"`
	Containers []string        `json:"containers"`
	Prefix     string          `json:"prefix,omitempty"`
	Name       string          `json:"name,omitempty"` // of the container there
	To         []string        `json:"to"`
	Place      *policies.Place `json:"place,omitempty"` // nil: all of To
	Out        []string        `json:"out,omitempty"`   // regions that were replaced
}

// holds says which regions had to hold all that a job is about.
func (r *era) holds(j Job) []string {
	p, c := j.Policy, j.From.Container
	if r.From != p.From || r.Name != p.Container || !strings.HasPrefix(p.Prefix, r.Prefix) {
		return nil
	}
	same := slices.Equal(r.Containers, p.Containers)
	p.Containers, p.To, p.Place = r.Containers, r.To, r.Place
	if !same && !p.Selects(c) {
		return nil
	}
	out := map[string]bool{}
	for _, name := range r.Out {
		out[name] = true
	}
	return p.Placed(c, out)
}

// eras are a policy's, the newest last, as of now.
func (e *Engine) eras(p policies.Policy, pl *placement) ([]era, error) {
	key := "eras/" + p.Name
	var all []era
	old, ok, err := e.o.Ledger.Note(key)
	if err != nil {
		return nil, err
	}
	if ok {
		if err := json.Unmarshal(old, &all); err != nil {
			return nil, fmt.Errorf("read what policy %s was about: %w", p.Name, err)
		}
	}
	now := era{From: p.From, Containers: p.Containers, Prefix: p.Prefix, Name: p.Container, To: p.To, Place: p.Place}
	if pl != nil {
		now.Out = slices.Sorted(maps.Keys(pl.out))
	}
	if n := len(all); n > 0 {
		if now.Since = all[n-1].Since; now.same(all[n-1]) {
			return all, nil
		}
		now.Since = micros(e.o.Clock.Now())
	}
	all = append(all, now)
	for len(all) > 1 && (len(all) > erasKept || now.Since-all[1].Since > eraCounts.Microseconds() || size(all) > eraBytes) {
		all = all[1:]
	}
	if size(all) > eraBytes {
		return nil, nil
	}
	return all, e.remember(key, all)
}

// same reports whether two eras are equal in what the ledger keeps of them.
func (r *era) same(x era) bool {
	a, err := json.Marshal(r)
	b, berr := json.Marshal(x)
	return err == nil && berr == nil && bytes.Equal(a, b)
}

// size is what the ledger has to keep.
func size(all []era) int {
	text, err := json.Marshal(all)
	if err != nil {
		return 0 // remember says so
	}
	return len(text)
}

// holdersOf says since when the regions of a job are to hold its container; nil: all of the
// policy's, as long as it is there.
func holdersOf(all []era, j Job) lag.Regions {
	if j.Policy.Place == nil && len(all) < 2 {
		return nil
	}
	since := lag.Regions{}
	for _, s := range j.To {
		since[s.Region] = time.Time{}
	}
	open := slices.Collect(maps.Keys(since))
	for i := len(all) - 1; i >= 0 && len(open) > 0; i-- {
		held := all[i].holds(j)
		open = slices.DeleteFunc(open, func(r string) bool { return !slices.Contains(held, r) })
		for _, r := range open {
			if at := all[i].Since; at != 0 {
				since[r] = time.UnixMicro(at)
			} else {
				since[r] = time.Time{}
			}
		}
	}
	return since
}
