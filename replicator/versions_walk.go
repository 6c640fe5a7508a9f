package replicator

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"farshore/replicator/plan"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// walkHistories lists the source's versions, several key ranges at once, and has
// workers carry out what the names need.
func (p *pass) walkHistories(ctx context.Context) error {
	r := transport.Range{Prefix: p.job.From.Prefix}
	var cuts []string
	if !p.gone {
		var err error
		if cuts, err = p.src.Split(ctx, p.job.From.Container, r, walkers); err != nil {
			return err
		}
	}
	steps, working := errgroup.WithContext(ctx)
	steps.SetLimit(readAhead*p.e.o.Limits.Streams + walkers)
	p.start = func(work func(context.Context) error) { steps.Go(func() error { return work(working) }) }
	ranges, listing := errgroup.WithContext(working)
	lo := ""
	for _, hi := range append(cuts, "") {
		from := lo
		ranges.Go(func() error { return p.walkHistory(listing, from, hi) })
		lo = hi
	}
	err := ranges.Wait()
	if werr := steps.Wait(); werr != nil && (err == nil || ctx.Err() == nil) {
		err = cmp.Or(werr, err)
	}
	if err != nil {
		return err
	}
	for _, x := range p.histories.again { // what they point at may stand there by now
		x.final = true
		if err := p.carry(ctx, x); err != nil {
			return err
		}
	}
	return nil
}

// named are the rows of one name.
type named struct {
	name string
	rows []transport.VersionEntry
}

// walkHistory lists one key range. A page may end within a name, so the last name of
// what has come waits for the next page.
func (p *pass) walkHistory(ctx context.Context, lo, hi string) error {
	var names []named
	pos := lo
	if !p.gone {
		err := p.src.Versions(ctx, p.job.From.Container, transport.Range{Prefix: p.job.From.Prefix, After: lo, Through: hi}, func(page []transport.VersionEntry) error {
			p.histories.mu.Lock()
			p.histories.rows += int64(len(page))
			p.histories.mu.Unlock()
			p.tally.listed.Add(int64(len(page)))
			p.e.o.Progress.Listed(len(page))
			for _, v := range page {
				if n := len(names); n > 0 && names[n-1].name == v.Name {
					names[n-1].rows = append(names[n-1].rows, v)
					continue
				}
				names = append(names, named{v.Name, []transport.VersionEntry{v}})
			}
			whole := len(names) - 1
			if whole < 1 {
				return nil
			}
			through := names[whole-1].name
			if err := p.historyPart(ctx, pos, through, names[:whole]); err != nil {
				return err
			}
			pos = through
			names = append([]named(nil), names[whole])
			return nil
		})
		if err != nil {
			return err
		}
	}
	return p.historyPart(ctx, pos, hi, names)
}

// historyPart plans the names in (lo, hi], of which the source lists those given.
func (p *pass) historyPart(ctx context.Context, lo, hi string, names []named) error {
	l := p.e.o.Ledger
	for {
		var series []store.Series
		var objects []store.Object
		through := hi
		if p.known {
			var err error
			if series, err = l.SeriesPage(p.place, lo, hi, p.job.From.Prefix, pageSize); err != nil {
				return err
			}
			if len(series) > 0 {
				through = series[len(series)-1].Name // more may follow
			}
			if objects, err = l.Page(p.place, lo, through, p.job.From.Prefix, pageSize); err != nil {
				return err
			}
			if len(objects) == pageSize {
				through = objects[pageSize-1].Name
				series = slices.DeleteFunc(series, func(s store.Series) bool { return s.Name > through })
			}
		}
		n := len(names)
		if through != "" {
			n, _ = slices.BinarySearchFunc(names, through, func(x named, name string) int {
				if x.name <= name {
					return -1
				}
				return 1
			})
		}
		visit := p.stretch
		if p.histories.visit != nil {
			visit = p.histories.visit
		}
		if err := visit(ctx, lo, through, mergePasts(names[:n], series, objects)); err != nil {
			return err
		}
		names = names[n:]
		if through == hi {
			return ctx.Err()
		}
		lo = through
	}
}

// mergePasts brings listing and ledger together by name.
func mergePasts(names []named, series []store.Series, objects []store.Object) []*past {
	var out []*past
	for len(names)+len(series)+len(objects) > 0 {
		least := ""
		for i, n := range []int{len(names), len(series), len(objects)} {
			if n == 0 {
				continue
			}
			name := ""
			switch i {
			case 0:
				name = names[0].name
			case 1:
				name = series[0].Name
			default:
				name = objects[0].Name
			}
			if least == "" || name < least {
				least = name
			}
		}
		x := &past{name: least, series: store.Series{Name: least}}
		if len(names) > 0 && names[0].name == least {
			x.rows, names = names[0].rows, names[1:]
		}
		if len(series) > 0 && series[0].Name == least {
			x.series, series = series[0], series[1:]
		}
		if len(objects) > 0 && objects[0].Name == least {
			x.object, objects = &objects[0], objects[1:]
		}
		out = append(out, x)
	}
	return out
}

// stretch decides which names need anything, makes that durable and hands them out.
func (p *pass) stretch(ctx context.Context, lo, hi string, pasts []*past) error {
	begun := map[*dest]map[string]bool{}
	for _, d := range p.dests {
		var err error
		if begun[d], err = p.begunIn(d, lo, hi); err != nil {
			return err
		}
	}
	pasts = withBegun(pasts, begun)
	now := micros(p.e.o.Clock.Now())
	for _, x := range pasts {
		x.track(now)
	}
	if err := p.forgetBroken(ctx, pasts); err != nil {
		return err
	}
	var busy []*past
	for _, x := range pasts {
		if len(x.series.Versions) == 0 && !isBegun(begun, x.name) { // no destination had it
			if x.object != nil && !p.dry() {
				p.e.o.Ledger.Update(p.place, x.name, func(*store.Object, bool) bool { return false })
			}
			continue
		}
		x.begun = map[*dest]bool{}
		for _, d := range p.dests {
			if d.dead.Load() {
				continue
			}
			x.begun[d] = begun[d][x.name]
			if !x.begun[d] && plan.Settled(&x.series, d.info.ID) {
				continue
			}
			if !x.begun[d] && d.back != 0 {
				back, _, err := p.e.o.Ledger.Series(p.histories.lanes[d].back, p.srcToBack(d, x.name))
				if err != nil {
					return err
				}
				if plan.Undone(&x.series, plan.There{Route: d.info.ID, Back: &back, BackRoute: d.back}) {
					continue
				}
			}
			x.todo = append(x.todo, d)
		}
		p.sightPast(x)
		switch {
		case len(x.todo) == 0 && !p.counting:
			p.rest(x)
		case len(x.todo) > 0:
			busy = append(busy, x)
		}
	}
	if p.counting {
		p.countCovered(busy)
		return ctx.Err()
	}
	if err := p.lookAhead(ctx, lo, busy); err != nil {
		return err
	}
	return p.handOutPasts(ctx, busy, now)
}

// track brings a name's history up to what the source lists.
func (x *past) track(now int64) {
	was := x.series
	if len(was.Versions) == 0 && x.object != nil {
		x.series = plan.Seed(x.object)
	}
	x.series = plan.Track(x.series, x.rows, now)
	x.news = !sameSeries(was, x.series)
}

// withBegun adds names that an earlier run wrote and that the source has lost since.
func withBegun(pasts []*past, begun map[*dest]map[string]bool) []*past {
	known := map[string]bool{}
	for _, x := range pasts {
		known[x.name] = true
	}
	for _, names := range begun {
		for name := range names {
			if !known[name] {
				known[name] = true
				pasts = append(pasts, &past{name: name, series: store.Series{Name: name}})
			}
		}
	}
	slices.SortFunc(pasts, func(a, b *past) int { return strings.Compare(a.name, b.name) })
	return pasts
}

func isBegun(begun map[*dest]map[string]bool, name string) bool {
	for _, names := range begun {
		if names[name] {
			return true
		}
	}
	return false
}

// srcToBack is what a name is called where the opposite direction has it as a source.
func (p *pass) srcToBack(d *dest, name string) string { return p.destName(d, name) }

// rest deals with a name that needs nothing.
func (p *pass) rest(x *past) {
	if x.news && !p.dry() {
		p.saveSeries(x)
		p.saveObject(x, nil)
	}
	p.countPast(x)
	p.tally.unchanged.Add(int64(len(x.rows)))
}

// countPast counts the regions that hold what a name shows.
func (p *pass) countPast(x *past) {
	p.pendingVersions(x)
	excused := slices.Contains(p.job.Policy.Accept, report.KindCannot)
	for i := range x.series.Versions {
		v := &x.series.Versions[i]
		found := false
		for _, d := range p.dests {
			if r, ok := v.Replica(d.info.ID); ok && v.Missing == 0 && r.State == store.Cannot {
				found = true
				p.cannotFinding(d, x.name, "version "+v.ID+": "+r.Note)
			}
		}
		if found && excused && v.Latest {
			p.tally.excused.Add(1)
		}
	}
	if o, ok := plan.Present(&x.series); ok {
		p.tally.held(p.heldBy(&o, o.Version))
	}
}

// begunIn reads which names in (lo, hi] an earlier run began at a destination.
func (p *pass) begunIn(d *dest, lo, hi string) (map[string]bool, error) {
	if !d.begun {
		return nil, nil
	}
	out := map[string]bool{}
	return out, p.eachIntent(d.info.ID, lo, hi, func(in store.Intent) error {
		out[in.Name] = true
		return nil
	})
}

// lookAhead reads the versions that stand at destinations for many names at once:
// for all of a first pass, and where more than a few names need something.
func (p *pass) lookAhead(ctx context.Context, lo string, busy []*past) error {
	for _, d := range p.dests {
		var mine []*past
		for _, x := range busy {
			if slices.Contains(x.todo, d) {
				mine = append(mine, x)
			}
		}
		first := p.histories.lanes[d].first
		if len(mine) == 0 || !first && len(mine) <= headsAtMost || d.dead.Load() {
			continue
		}
		byName := map[string]*past{}
		for _, x := range mine {
			byName[p.destName(d, x.name)] = x
			x.seen(d, nil)
		}
		if d.absent {
			continue
		}
		r := transport.Range{Prefix: d.side.Prefix, Through: p.destName(d, mine[len(mine)-1].name)}
		if lo != "" {
			r.After = p.destName(d, lo)
		}
		err := d.ep.Versions(ctx, d.side.Container, r, func(page []transport.VersionEntry) error {
			for _, v := range page {
				if x := byName[v.Name]; x != nil {
					x.there[d] = append(x.there[d], v)
				}
			}
			return nil
		})
		if transport.Is(err, transport.NotFound) {
			err = nil // it is made with the first write
		}
		if err != nil {
			if ctx.Err() != nil || !regionTrouble(err) {
				return err
			}
			p.lose(d, err)
		}
	}
	return nil
}

func (x *past) seen(d *dest, rows []transport.VersionEntry) {
	if x.there == nil {
		x.there = map[*dest][]transport.VersionEntry{}
	}
	x.there[d] = rows
}

// handOutPasts makes the intents of names durable (R6) and gives them to the workers.
func (p *pass) handOutPasts(ctx context.Context, busy []*past, now int64) error {
	var intents []store.Intent
	for _, x := range busy {
		x.todo = slices.DeleteFunc(x.todo, func(d *dest) bool { return d.dead.Load() })
		v := youngest(&x.series)
		for _, d := range x.todo {
			if !x.begun[d] {
				intents = append(intents, store.Intent{Route: d.info.ID, Name: x.name, Version: v.Version, Size: v.Size, Began: now})
			}
		}
	}
	if p.dry() {
		for _, x := range busy {
			if err := p.countDeeds(ctx, x); err != nil {
				return err
			}
		}
		return nil
	}
	if len(intents) > 0 {
		if err := p.e.o.Ledger.AddIntents(ctx, intents); err != nil {
			return err
		}
	}
	for _, x := range busy {
		p.start(func(ctx context.Context) error { return p.carry(ctx, x) })
	}
	return ctx.Err()
}

func youngest(s *store.Series) store.SeriesVersion {
	if n := len(s.Versions); n > 0 {
		return s.Versions[n-1]
	}
	return store.SeriesVersion{}
}

// countDeeds adds what a name needs to the totals of a plan.
func (p *pass) countDeeds(ctx context.Context, x *past) error {
	p.countPast(x)
	for _, d := range x.todo {
		deeds, err := p.weigh(ctx, x, d)
		if err != nil {
			if ctx.Err() != nil || !regionTrouble(err) {
				return err
			}
			p.lose(d, err)
			continue
		}
		if len(deeds.Foreign) > 0 {
			p.tally.conflicts.Add(1)
		}
		p.tally.adopted.Add(int64(len(deeds.Adopt)))
		p.tally.meta.Add(int64(len(deeds.Post)))
		for _, id := range deeds.Append {
			p.tally.copied.Add(1)
			p.tally.sent(d.side.Region, x.series.Find(id).Size)
		}
	}
	return nil
}
