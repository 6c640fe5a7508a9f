package replicator

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"farshore/replicator/plan"
	"farshore/store"
	"farshore/transport"
	"farshore/transport/chunk"
)

// pageSize is how many ledger records are held at once a range (R5).
const pageSize = 10000

// headsAtMost is how many names of a page are asked for one by one at a
// destination before its listing is read instead.
const headsAtMost = 4

// page plans the names in (lo, hi], which the source lists as entries, and hands
// out the steps. hi "" means to the end.
func (p *pass) page(ctx context.Context, lo, hi string, entries []transport.Entry) error {
	p.tally.listed.Add(int64(len(entries)))
	p.e.o.Progress.Listed(len(entries))
	for {
		var records []store.Object
		through := hi
		if p.known {
			var err error
			if records, err = p.e.o.Ledger.Page(p.place, lo, hi, p.job.From.Prefix, pageSize); err != nil {
				return err
			}
			if len(records) == pageSize {
				through = records[len(records)-1].Name // more may follow: plan up to here first
			}
		}
		n := len(entries)
		if through != "" {
			n, _ = slices.BinarySearchFunc(entries, through, func(e transport.Entry, name string) int {
				if e.Name <= name {
					return -1
				}
				return 1
			})
		}
		if err := p.part(ctx, lo, through, entries[:n], records); err != nil {
			return err
		}
		entries = entries[n:]
		if through == hi {
			return nil
		}
		lo = through
	}
}

// part plans one bounded stretch.
func (p *pass) part(ctx context.Context, lo, hi string, entries []transport.Entry, records []store.Object) error {
	subjects := merge(entries, records)
	o := p.planOptions()
	for i, d := range p.dests {
		if d.dead.Load() {
			continue
		}
		if err := p.addIntents(d, i, lo, hi, subjects); err != nil {
			return err
		}
		if d.list {
			var err error
			if subjects, err = p.addListed(ctx, d, i, lo, hi, subjects); err != nil {
				return err
			}
		}
		if err := p.addSisters(d, i, subjects); err != nil {
			return err
		}
		if err := p.abandonSisters(d, lo, hi, subjects); err != nil {
			return err
		}
	}
	var steps []plan.Step
	unchanged := map[int]int64{}
	for _, s := range subjects {
		if s.Entry != nil {
			p.listedHere.Add(1)
		}
		step := p.diff(s, o)
		if err := p.heirs(&s, &step); err != nil {
			return err
		}
		p.sight(&s, &step)
		switch {
		case !step.Idle():
			if s.Entry != nil { // a step outlives the page, which the endpoint uses again
				e := *s.Entry
				step.Subject.Entry = &e
			}
			steps = append(steps, step)
		case s.Entry != nil:
			unchanged[p.heldAt(s)]++
			p.tally.unchanged.Add(1)
			if s.Record != nil && s.Record.Missing != 0 && (!p.dry() || p.marking) {
				p.unmark(s.Name)
			}
		}
	}
	p.tally.heldMany(unchanged)
	steps, err := p.guard(ctx, steps, o)
	if err != nil {
		return err
	}
	if len(steps) > 0 {
		if err := p.note(ctx); err != nil {
			return err
		}
	}
	return p.handOut(ctx, steps)
}

// heldAt counts the regions that hold what the source lists now.
func (p *pass) heldAt(s plan.Subject) int {
	if s.Record == nil {
		return 0
	}
	v := plan.VersionOf(s.Entry)
	if s.Entry.Modified.UnixMicro() < s.Record.Version.Modified {
		v = s.Record.Version // the listing lags
	}
	return p.heldBy(s.Record, v)
}

// diff plans one name, leaving out destinations that are gone.
func (p *pass) diff(s plan.Subject, o plan.Options) plan.Step {
	dests := make([]plan.Dest, 0, len(s.Dests))
	for i, d := range s.Dests {
		if !p.dests[i].dead.Load() {
			d.Route, d.BackRoute = p.dests[i].info.ID, p.dests[i].back
			dests = append(dests, d)
		}
	}
	s.Dests = dests
	return plan.Diff(s, o)
}

// merge brings listing and ledger together by name.
func merge(entries []transport.Entry, records []store.Object) []plan.Subject {
	out := make([]plan.Subject, 0, max(len(entries), len(records)))
	for len(entries) > 0 || len(records) > 0 {
		switch {
		case len(records) == 0 || len(entries) > 0 && entries[0].Name < records[0].Name:
			out = append(out, plan.Subject{Name: entries[0].Name, Entry: &entries[0]})
			entries = entries[1:]
		case len(entries) == 0 || records[0].Name < entries[0].Name:
			out = append(out, plan.Subject{Name: records[0].Name, Record: &records[0]})
			records = records[1:]
		default:
			out = append(out, plan.Subject{Name: entries[0].Name, Entry: &entries[0], Record: &records[0]})
			entries, records = entries[1:], records[1:]
		}
	}
	return out
}

// at gives the part of a subject about destination i.
func (p *pass) at(s *plan.Subject, i int) *plan.Dest {
	if s.Dests == nil {
		s.Dests = make([]plan.Dest, len(p.dests))
	}
	return &s.Dests[i]
}

func find(subjects []plan.Subject, name string) (int, bool) {
	return slices.BinarySearchFunc(subjects, name, func(s plan.Subject, n string) int { return strings.Compare(s.Name, n) })
}

// addIntents brings in copies that an earlier run began and did not confirm.
func (p *pass) addIntents(d *dest, i int, lo, hi string, subjects []plan.Subject) error {
	for j := range subjects {
		p.at(&subjects[j], i)
	}
	if !d.begun {
		return nil
	}
	return p.eachIntent(d.info.ID, lo, hi, func(in store.Intent) error {
		if at, ok := find(subjects, in.Name); ok && (subjects[at].Entry != nil || p.dry()) {
			p.at(&subjects[at], i).Intent = &in
		} else if !p.dry() { // its object is gone
			p.start(func(ctx context.Context) error {
				if err := p.abandon(ctx, d, in); err != nil {
					return err
				}
				p.markMissing(plan.Step{Subject: plan.Subject{Name: in.Name}}) // of what arrived the walk had no record to mark
				return nil
			})
		}
		return nil
	})
}

// eachIntent calls fn for the copies that were begun on a route, with names in (lo, hi]
// in byte order; hi "" means to the end. It ends with fn's first error.
func (p *pass) eachIntent(r store.RouteID, lo, hi string, fn func(store.Intent) error) error {
	for after := lo; ; {
		page, err := p.e.o.Ledger.Intents(r, after, pageSize)
		if err != nil {
			return err
		}
		for _, in := range page {
			if hi != "" && in.Name > hi {
				return nil
			}
			if err := fn(in); err != nil {
				return err
			}
		}
		if len(page) < pageSize {
			return nil
		}
		after = page[len(page)-1].Name
	}
}

// addListed merges the destination's listing, and what the ledger knows of the
// destination's objects as sources of the opposite direction. Objects that stand
// only at the destination are none of a pass's business (an audit reports them).
func (p *pass) addListed(ctx context.Context, d *dest, i int, lo, hi string, subjects []plan.Subject) ([]plan.Subject, error) {
	r := transport.Range{Prefix: d.side.Prefix}
	if lo != "" {
		r.After = p.destName(d, lo)
	}
	if hi != "" {
		r.Through = p.destName(d, hi)
	}
	if d.back != 0 {
		after := r.After
		for {
			page, err := p.e.o.Ledger.Page(d.info.To, after, r.Through, d.side.Prefix, pageSize)
			if err != nil {
				return nil, err
			}
			for k := range page {
				name := p.srcName(d, page[k].Name)
				at, ok := find(subjects, name)
				if !ok {
					subjects = slices.Insert(subjects, at, plan.Subject{Name: name})
				}
				p.at(&subjects[at], i).Back = &page[k]
			}
			if len(page) < pageSize {
				break
			}
			after = page[len(page)-1].Name
		}
	}
	if d.absent {
		return p.markListed(i, subjects), nil
	}
	err := d.ep.List(ctx, d.side.Container, r, func(page []transport.Entry) error {
		for k := range page {
			if at, ok := find(subjects, p.srcName(d, page[k].Name)); ok {
				e := page[k]
				p.at(&subjects[at], i).Entry = &e
			}
		}
		return nil
	})
	if transport.Is(err, transport.NotFound) && ctx.Err() == nil {
		err = p.recreate(ctx, d)
	}
	if err != nil {
		if ctx.Err() == nil && regionTrouble(err) {
			p.lose(d, err)
			return subjects, nil
		}
		return nil, err
	}
	return p.markListed(i, subjects), nil
}

func (p *pass) markListed(i int, subjects []plan.Subject) []plan.Subject {
	for j := range subjects {
		p.at(&subjects[j], i).Listed = true
	}
	return subjects
}

// recreate makes a destination container again that somebody removed.
func (p *pass) recreate(ctx context.Context, d *dest) error {
	if p.dry() {
		return nil
	}
	return p.makeContainer(ctx, d)
}

// guard looks at the destination before something there is overwritten or
// touched: Swift has no compare-and-swap (S9), and an edit made there by others
// must become a conflict, not a loss (promise 4). It costs a listing of the
// stretch that changed, or a HEAD each where they are few.
func (p *pass) guard(ctx context.Context, steps []plan.Step, o plan.Options) ([]plan.Step, error) {
	for i, d := range p.dests {
		if d.list || d.dead.Load() {
			continue
		}
		var touched []int
		for j, s := range steps {
			for _, rs := range s.Routes {
				if rs.Route == d.info.ID && (rs.Action == plan.Copy && !rs.IfAbsent || rs.Action == plan.Meta) {
					touched = append(touched, j)
				}
			}
		}
		if len(touched) == 0 {
			continue
		}
		err := p.look(ctx, d, i, steps, touched)
		if err != nil {
			if ctx.Err() == nil && regionTrouble(err) {
				p.lose(d, err)
			} else {
				return nil, err
			}
		}
		for _, j := range touched {
			steps[j].Subject.Dests = p.widen(steps[j].Subject.Dests)
			steps[j] = p.diff(steps[j].Subject, o)
		}
	}
	return steps, nil
}

// look fills in what stands at destination i for the touched steps.
func (p *pass) look(ctx context.Context, d *dest, i int, steps []plan.Step, touched []int) error {
	full := make([]plan.Subject, len(touched)) // steps hold subjects without lost destinations; widen them again
	for k, j := range touched {
		full[k] = steps[j].Subject
		full[k].Dests = p.widen(full[k].Dests)
	}
	if len(touched) <= headsAtMost {
		g, ctx := errgroup.WithContext(ctx)
		for k := range full {
			g.Go(func() error {
				obj, err := d.ep.Head(ctx, d.side.Container, p.destName(d, full[k].Name))
				if err != nil && !transport.Is(err, transport.NotFound) {
					return err
				}
				at := p.at(&full[k], i)
				at.Listed = true
				if err == nil {
					at.Head = &obj
					at.Entry = &transport.Entry{Name: full[k].Name, Size: obj.Size, ETag: obj.ETag, Modified: obj.Modified, ContentType: obj.Header["Content-Type"], Kind: obj.Kind}
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
	} else {
		// the range begins behind a name that sorts just before the first one
		first := p.destName(d, full[0].Name)
		r := transport.Range{Prefix: d.side.Prefix, After: first[:len(first)-1], Through: p.destName(d, full[len(full)-1].Name)}
		err := d.ep.List(ctx, d.side.Container, r, func(page []transport.Entry) error {
			for k := range page {
				if at, ok := find(full, p.srcName(d, page[k].Name)); ok {
					e := page[k]
					p.at(&full[at], i).Entry = &e
				}
			}
			return nil
		})
		if transport.Is(err, transport.NotFound) {
			err = p.recreate(ctx, d)
		}
		if err != nil {
			return err
		}
		p.markListed(i, full)
	}
	for k, j := range touched {
		steps[j].Subject = full[k]
	}
	return nil
}

// widen gives a subject one Dest a destination again, after diff left out lost ones.
func (p *pass) widen(have []plan.Dest) []plan.Dest {
	out := make([]plan.Dest, len(p.dests))
	for i, d := range p.dests {
		for _, h := range have {
			if h.Route == d.info.ID {
				out[i] = h
			}
		}
	}
	return out
}

// handOut makes the intents of a stretch durable and gives its steps to the workers.
func (p *pass) handOut(ctx context.Context, steps []plan.Step) error {
	if p.dry() {
		if p.marking {
			p.mark(steps)
		}
		for _, s := range steps {
			p.count(s)
		}
		return nil
	}
	var intents []store.Intent
	now := micros(p.e.o.Clock.Now())
	for j := range steps {
		s := &steps[j]
		for k := range s.Routes {
			rs := &s.Routes[k]
			if rs.Action != plan.Copy {
				continue
			}
			d := p.byRoute(rs.Route)
			in, err := p.intent(ctx, d, s, rs, now)
			if err != nil {
				return err
			}
			if in != nil {
				intents = append(intents, *in)
			}
		}
	}
	if len(intents) > 0 {
		if err := p.e.o.Ledger.AddIntents(ctx, intents); err != nil {
			return err
		}
	}
	// What waits longest goes first, so that in a backlog nothing young makes another late.
	slices.SortStableFunc(steps, func(a, b plan.Step) int { return cmp.Compare(since(a), since(b)) })
	for _, s := range steps {
		p.dispatch(s)
	}
	return ctx.Err()
}

// since is when the source changed what a step carries, in µs; 0 for what it has no more,
// whose grace is over or begins.
func since(s plan.Step) int64 {
	if s.Subject.Entry == nil {
		return 0
	}
	return s.Subject.Entry.Modified.UnixMicro()
}

// intent is what must be durable before a copy begins; nil when it already is.
func (p *pass) intent(ctx context.Context, d *dest, s *plan.Step, rs *plan.RouteStep, now int64) (*store.Intent, error) {
	e := s.Subject.Entry
	in := &store.Intent{Route: rs.Route, Name: s.Subject.Name, Version: plan.VersionOf(e), Size: e.Size, ETag: e.ETag, Began: now}
	layout, err := p.layout(ctx, d, e)
	if err != nil {
		if ctx.Err() == nil && regionTrouble(err) {
			p.lose(d, err)
			return nil, nil
		}
		return nil, err
	}
	in.Layout = layout
	var old *store.Intent
	for _, sd := range s.Subject.Dests {
		if sd.Route == rs.Route {
			old = sd.Intent
		}
	}
	if old == nil {
		return in, nil
	}
	if old.Version == in.Version && old.Layout == in.Layout {
		return nil, nil // the same copy goes on
	}
	// Another version was on its way when the earlier run ended. If it arrived, it
	// is ours, and the ledger must say so before the intent is replaced.
	if err := p.settle(ctx, d, *old, rs); err != nil && (ctx.Err() != nil || !regionTrouble(err)) {
		return nil, err
	}
	return in, nil
}

// layout says how an object is cut for a destination; zero: not at all. What consists of
// other objects is not cut: they are.
func (p *pass) layout(ctx context.Context, d *dest, e *transport.Entry) (chunk.Layout, error) {
	size := e.Size
	if size <= p.job.Policy.Large.Over || e.Kind == transport.SLO || e.Kind == transport.Symlink {
		return chunk.Layout{}, nil
	}
	a, err := p.e.abilitiesOf(ctx, d.side.Region)
	if err != nil {
		return chunk.Layout{}, err
	}
	if a.SLO == transport.No {
		return chunk.Layout{}, nil
	}
	segments := a.MaxSegments
	if segments <= 0 {
		segments = defaultSegments
	}
	return chunk.Plan(size, max(p.job.Policy.Large.Chunk, a.MinSegment), segments), nil
}

// defaultSegments is Swift's default limit of a manifest (S4).
const defaultSegments = 1000

func (p *pass) byRoute(r store.RouteID) *dest {
	for _, d := range p.dests {
		if d.info.ID == r {
			return d
		}
	}
	return nil
}
