package replicator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// Where a policy places containers (policies.Place), a job goes to the regions that were
// chosen. Other candidates that hold copies, from the time before the choice changed, are
// its spares: nothing is sent to them; their copies count and are deleted where the
// source's are, until they are trimmed (place_trim.go).

// placement is how the candidates of a policy stand at one time.
type placement struct {
	out    map[string]time.Time // regions that are replaced, and since when they are down
	routes []store.RouteInfo
}

// placement asks the candidates; nil where the policy places nothing.
func (e *Engine) placement(ctx context.Context, p policies.Policy) (*placement, error) {
	if p.Place == nil {
		return nil, nil
	}
	routes, err := e.o.Ledger.Routes()
	if err != nil {
		return nil, err
	}
	pl := &placement{out: map[string]time.Time{}, routes: routes}
	if p.Place.ReplaceAfter <= 0 {
		return pl, nil
	}
	up := make([]bool, len(p.To))
	var wg sync.WaitGroup
	for i, r := range p.To {
		wg.Go(func() { up[i] = e.answers(ctx, r) })
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for i, r := range p.To {
		o, err := e.outage(r, up[i], p.OutageGap())
		if err != nil {
			return nil, err
		}
		if o.Out(p.Place.ReplaceAfter) {
			pl.out[r] = o.Since
		}
	}
	return pl, nil
}

// answers reports whether a region can be reached. One that answers with a refusal does:
// another one would not make it right.
func (e *Engine) answers(ctx context.Context, region string) bool {
	ep, err := e.region(region)
	switch {
	case err != nil:
	case e.breaker(region).isOpen():
		err = e.askAgain(ctx, region)
	default:
		_, err = ep.Account(ctx)
		e.breaker(region).note(err)
		if transport.Is(err, transport.Transient) && ctx.Err() == nil {
			e.blame(region, err)
		}
	}
	return err == nil || !transport.Is(err, transport.Transient)
}

// outage remembers how a region was found.
func (e *Engine) outage(region string, up bool, gap time.Duration) (o policies.Outage, err error) {
	was, err := outageOf(e.o.Ledger, region)
	if err != nil {
		return was, err
	}
	if o = was.Saw(up, e.o.Clock.Now().UTC(), gap); o == was {
		return o, nil
	}
	return o, e.remember(outageKey+region, o)
}

// stillOut asks at a pass's end for the candidates that did not answer at its beginning, so
// that a pass which takes longer than replace_after is no time in which nobody asked.
func (e *Engine) stillOut(ctx context.Context, p policies.Policy, began time.Time) error {
	if p.Place == nil || p.Place.ReplaceAfter <= 0 {
		return nil
	}
	for _, r := range p.To {
		o, err := outageOf(e.o.Ledger, r)
		if err != nil {
			return err
		}
		if o.Since.IsZero() || began.Sub(o.Seen) > p.OutageGap() {
			continue
		}
		if up := e.answers(ctx, r); ctx.Err() != nil {
			return nil //nolint:nilerr // the pass says so
		} else if up {
			o = policies.Outage{}
		} else {
			o.Seen = e.o.Clock.Now().UTC()
		}
		if err := e.remember(outageKey+r, o); err != nil {
			return err
		}
	}
	return nil
}

// outageKey begins the notes of regions that do not answer.
const outageKey = "outage/"

func outageOf(l *store.Ledger, region string) (o policies.Outage, err error) {
	text, ok, err := l.Note(outageKey + region)
	if err != nil || !ok {
		return o, err
	}
	if err := json.Unmarshal(text, &o); err != nil {
		return o, fmt.Errorf("read since when region %s is down: %w", region, err)
	}
	return o, nil
}

// remember writes a note, unless the ledger is only read.
func (e *Engine) remember(key string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	if err := e.o.Ledger.PutNote(key, text); err != nil && !errors.Is(err, store.ErrReadOnly) {
		return err
	}
	return nil
}

// place narrows a job to the regions chosen for its container.
func (e *Engine) place(ctx context.Context, pl *placement, j Job) (Job, error) {
	if pl == nil || len(j.To) == 0 {
		return j, nil
	}
	out := map[string]bool{}
	for r := range pl.out {
		out[r] = true
	}
	chosen := j.Policy.Placed(j.From.Container, out)
	j.out = pl.out
	all := j.To
	j.To = slices.DeleteFunc(slices.Clone(all), func(s Side) bool { return !slices.Contains(chosen, s.Region) })
	if len(j.To) == len(all) {
		return j, nil
	}
	id, err := e.identity(ctx, j.From.Region)
	if err != nil {
		return j, err
	}
	from := store.Place{Region: j.From.Region, Project: id.Project, Container: j.From.Container}
	var trimmed []string
	if place, ok, err := e.o.Ledger.FindPlace(from); err != nil {
		return j, err
	} else if ok {
		if trimmed, err = e.trimmed(j.Policy, place); err != nil {
			return j, err
		}
	}
	for _, s := range all {
		has := slices.ContainsFunc(pl.routes, func(r store.RouteInfo) bool {
			return r.Route.From == from && r.FromPrefix == j.From.Prefix && r.Route.To.Region == s.Region && r.Route.To.Container == s.Container && r.ToPrefix == s.Prefix
		})
		if has && !slices.Contains(j.To, s) && !slices.Contains(trimmed, s.Region) {
			j.spare = append(j.spare, s)
		}
	}
	return j, nil
}

// everywhere is a job that goes to all candidates: where the ledger is lost, so is what
// was placed where.
func everywhere(j Job) Job {
	if j.Policy.Place == nil || len(j.To) == 0 {
		return j
	}
	all := newJob(j.Policy, j.From.Container, j.To[0].Container)
	j.To, j.spare = all.To, nil
	return j
}

func trimmedKey(p policies.Policy, place store.PlaceID) string {
	return fmt.Sprintf("trimmed/%s/%d", p.Name, place)
}

// trimmed are the regions that hold nothing of a place any more, although the ledger has
// routes to them.
func (e *Engine) trimmed(p policies.Policy, place store.PlaceID) ([]string, error) {
	text, ok, err := e.o.Ledger.Note(trimmedKey(p, place))
	if err != nil || !ok {
		return nil, err
	}
	var regions []string
	if err := json.Unmarshal(text, &regions); err != nil {
		return nil, fmt.Errorf("read which regions hold nothing: %w", err)
	}
	return regions, nil
}

// chosenAgain takes the job's regions from those that hold nothing, before anything is
// sent to them.
func (p *pass) chosenAgain() error {
	if p.job.Policy.Place == nil || p.job.along || p.o.DryRun {
		return nil
	}
	old, err := p.e.trimmed(p.job.Policy, p.place)
	if err != nil || len(old) == 0 {
		return err
	}
	still := slices.DeleteFunc(slices.Clone(old), func(r string) bool {
		return slices.ContainsFunc(p.job.To, func(s Side) bool { return s.Region == r })
	})
	if len(still) == len(old) {
		return nil
	}
	return p.e.remember(trimmedKey(p.job.Policy, p.place), still)
}

// openSpares finds what the ledger knows of the spares.
func (p *pass) openSpares(ctx context.Context, from store.Place) error {
	if err := p.chosenAgain(); err != nil {
		return err
	}
	for _, s := range p.job.spare {
		id, err := p.e.identity(ctx, s.Region)
		if err != nil && (ctx.Err() != nil || !regionTrouble(err)) {
			return err
		}
		if err != nil {
			continue // never reached: the ledger has nothing there
		}
		info, ok, err := p.e.o.Ledger.FindRoute(p.route(from, s, id.Project))
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		d := &dest{side: s, url: id.URL, info: info}
		if d.ep, err = p.e.region(s.Region); err == nil {
			err = p.e.askAgain(ctx, s.Region)
		}
		d.dead.Store(err != nil)
		p.spares = append(p.spares, d)
	}
	return nil
}

// holders are all destinations at which the ledger may have copies of the job.
func (p *pass) holders() []*dest {
	if len(p.spares) == 0 {
		return p.dests
	}
	return slices.Concat(p.dests, p.spares)
}

// counts reports whether a destination's copies are replicas. Those of a spare that does
// not answer are not: it was replaced for that.
func (p *pass) counts(d *dest) bool { return !d.dead.Load() || !slices.Contains(p.spares, d) }

// replacedFindings says which regions are replaced.
func (e *Engine) replacedFindings(p policies.Policy, jobs []Job, f *report.Findings) {
	out := map[string]time.Time{}
	for _, j := range jobs {
		maps.Copy(out, j.out)
	}
	for _, r := range slices.Sorted(maps.Keys(out)) {
		at := e.o.Clock.Now().Sub(out[r]).Round(time.Second)
		var where []string
		n := 0
		for _, j := range jobs {
			if slices.Contains(j.Policy.Placed(j.From.Container, nil), r) {
				n++
				for _, s := range j.To {
					if s.Region != r && !slices.Contains(where, s.Region) {
						where = append(where, s.Region)
					}
				}
			}
		}
		if n == 0 {
			continue
		}
		slices.Sort(where)
		f.Add(report.Finding{Kind: report.KindReplaced, Level: report.Warn, Policy: p.Name, Region: r, Op: "place containers",
			Cause: fmt.Sprintf("it has not answered for %s, longer than replace_after (%s): %d containers that it would hold are kept at %s",
				policies.FormatDuration(at), policies.FormatDuration(p.Place.ReplaceAfter), n, strings.Join(where, ", ")),
			Hint: "when it answers again it catches up by itself, and what was placed elsewhere is removed there: farshore region check " + r})
	}
}
