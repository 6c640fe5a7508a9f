package replicator

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"farshore/policies"
	"farshore/replicator/lag"
)

// A container that is moved to another candidate has to be there since then, and what is in
// it waits since then, not for the years that it is old: else every move would be late at
// once. Who was chosen before follows from the policy as it was, so the ledger keeps a few
// of its eras, not the regions of every container.

const (
	// erasKept is how many eras of a policy are kept at most, the newest.
	erasKept = 16
	// eraCounts is for how long after its end an era is kept: what was placed before waits,
	// if it still does, since an era that long ago.
	eraCounts = 30 * 24 * time.Hour
)

// era is a time in which a policy chose regions in the same way.
type era struct {
	Since int64           `json:"since,omitempty"` // µs; 0: from the first on
	To    []string        `json:"to"`
	Place *policies.Place `json:"place,omitempty"` // nil: all of To
	Out   []string        `json:"out,omitempty"`   // regions that were replaced
}

// holds says which regions a container is kept at in an era.
func (r *era) holds(p policies.Policy, container string) []string {
	out := map[string]bool{}
	for _, name := range r.Out {
		out[name] = true
	}
	p.To, p.Place = r.To, r.Place
	return p.Placed(container, out)
}

// eras are a policy's, the newest last, as of now; nil where it has never placed anything.
func (e *Engine) eras(p policies.Policy, pl *placement) ([]era, error) {
	key := "eras/" + p.Name
	text, ok, err := e.o.Ledger.Note(key)
	if err != nil || !ok && pl == nil {
		return nil, err
	}
	var all []era
	if ok {
		if err := json.Unmarshal(text, &all); err != nil {
			return nil, fmt.Errorf("read how policy %s placed containers: %w", p.Name, err)
		}
	}
	now := era{To: p.To, Place: p.Place}
	if pl != nil {
		now.Out = slices.Sorted(maps.Keys(pl.out))
	}
	if n := len(all); n > 0 {
		if last := all[n-1]; last.same(now) {
			return all, nil
		}
		now.Since = micros(e.o.Clock.Now())
	}
	all = append(all, now)
	for len(all) > erasKept || len(all) > 1 && now.Since-all[1].Since > eraCounts.Microseconds() {
		all = all[1:]
	}
	return all, e.remember(key, all)
}

// same reports whether two eras choose alike.
func (r *era) same(x era) bool {
	return slices.Equal(r.To, x.To) && slices.Equal(r.Out, x.Out) && reflect.DeepEqual(r.Place, x.Place)
}

// holdersOf says since when the regions of a job are to hold its container; nil: all of the
// policy's, as long as it is there.
func holdersOf(all []era, j Job) lag.Regions {
	if len(all) == 0 {
		return nil
	}
	out := lag.Regions{}
	for _, s := range j.To {
		since := int64(0)
		for i := len(all) - 1; i >= 0 && slices.Contains(all[i].holds(j.Policy, j.From.Container), s.Region); i-- {
			since = all[i].Since
		}
		out[s.Region] = time.Time{}
		if since != 0 {
			out[s.Region] = time.UnixMicro(since)
		}
	}
	return out
}
