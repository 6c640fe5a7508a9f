package replicator

import (
	"context"
	"fmt"
	"sort"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"farshore/replicator/plan"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// survey walks a job's names in order and brings together what the source lists,
// what the ledger knows and what every destination lists: a page at a time, so
// that memory does not grow with the containers, several key ranges at once, and
// with no transaction open while a region is asked (R5). It changes nothing.
type survey struct {
	e     *Engine
	p     *pass // of the job; its dests are those that have a route
	known bool  // the source place is in the ledger

	unseen  atomic.Bool // the source does not list: nothing follows from a name's absence
	whyNot  error       // why, if it is more than that its container is gone
	srcGone bool        // its container does not exist, or is empty although the ledger knows objects of it
	mu      sync.Mutex
}

// survey opens a job. With create, places and routes that the ledger lacks are made.
func (e *Engine) survey(ctx context.Context, j Job, f *report.Findings, create bool) (*survey, error) {
	s := &survey{e: e, p: &pass{e: e, job: j, findings: f}}
	srcID, err := e.identity(ctx, j.From.Region)
	if err != nil {
		return nil, err
	}
	s.p.account = accountOf(srcID.URL)
	l := e.o.Ledger
	from := store.Place{Region: j.From.Region, Project: srcID.Project, Container: j.From.Container}
	if create {
		s.p.place, err = l.PlaceID(from)
		s.known = true
	} else {
		s.p.place, s.known, err = l.FindPlace(from)
	}
	if err != nil {
		return nil, err
	}
	s.p.known = s.known
	present, err := s.present()
	if err != nil {
		return nil, err
	}
	var info transport.ContainerInfo
	if s.p.src, err = e.region(j.From.Region); err == nil {
		info, err = s.p.src.Container(ctx, j.From.Container)
	}
	switch {
	case transport.Is(err, transport.NotFound), err == nil && info.Objects == 0 && present > 0:
		s.srcGone = true
		s.unseen.Store(true)
	case err != nil && (ctx.Err() != nil || !regionTrouble(err)):
		return nil, err
	case err != nil:
		s.sourceLost(err)
	default:
		s.p.shape = &info
	}
	for i, to := range j.To {
		d, err := s.openDest(ctx, from, to, i, create)
		if err != nil {
			return nil, err
		}
		if d != nil {
			s.p.dests = append(s.p.dests, d)
		}
	}
	return s, nil
}

// present is how many objects the last pass saw at the source.
func (s *survey) present() (int64, error) {
	if !s.known {
		return 0, nil
	}
	places, err := s.e.o.Ledger.Places()
	for _, x := range places {
		if x.ID == s.p.place {
			return x.Present, nil
		}
	}
	return 0, err
}

func (s *survey) openDest(ctx context.Context, from store.Place, to Side, i int, create bool) (*dest, error) {
	e, l := s.e, s.e.o.Ledger
	d := &dest{side: to}
	id, err := e.identity(ctx, to.Region)
	if err != nil && ctx.Err() == nil && regionTrouble(err) {
		e.blame(to.Region, err) // never reached before: not even its account is known
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d.url = id.URL
	r := s.p.route(from, to, id.Project)
	ok := true
	if create {
		d.info, err = l.Route(r)
	} else {
		d.info, ok, err = l.FindRoute(r)
	}
	if err != nil {
		return nil, err
	}
	if !ok {
		d.info = store.RouteInfo{ID: unknownRoute - store.RouteID(i), Route: r}
	}
	back, ok, err := l.FindRoute(r.Back())
	if err != nil {
		return nil, err
	}
	if ok {
		d.back, d.info.To = back.ID, back.From
	}
	if d.ep, err = e.region(to.Region); err == nil {
		err = e.askAgain(ctx, to.Region)
	}
	if err == nil {
		var info transport.ContainerInfo
		if info, err = d.ep.Container(ctx, to.Container); err == nil {
			d.seen = &info
		}
	}
	switch {
	case transport.Is(err, transport.NotFound):
		d.absent = true
	case err != nil && (ctx.Err() != nil || !regionTrouble(err)):
		return nil, err
	case err != nil:
		s.p.lose(d, err)
	}
	return d, nil
}

// unknownRoute and the numbers below it stand for routes that the ledger does not
// have: no replica is on them.
const unknownRoute = store.RouteID(1<<32 - 1)

// sourceLost says that the source answers no more: what it has is unknown.
func (s *survey) sourceLost(err error) {
	s.mu.Lock()
	if s.whyNot == nil {
		s.whyNot = err
	}
	s.mu.Unlock()
	s.unseen.Store(true)
}

// walk calls visit with the names that the source lists or the ledger knows, in
// parts, from several goroutines; a part's Dests are those of s.p.dests, Listed
// where the destination answered; their entries have a ContentType only where it is
// not the source's. stray, if not nil, gets what stands at a destination under other names.
func (s *survey) walk(ctx context.Context, visit func(context.Context, []plan.Subject) error, stray func(*dest, *transport.Entry)) error {
	var cuts []string
	if !s.unseen.Load() {
		var err error
		r := transport.Range{Prefix: s.p.job.From.Prefix}
		// each range holds a page of every destination besides the source's
		n := max(1, 2*walkers/(1+len(s.p.dests)))
		if cuts, err = s.p.src.Split(ctx, s.p.job.From.Container, r, min(n, walkers)); err != nil {
			if ctx.Err() != nil || !regionTrouble(err) {
				return err
			}
			s.sourceLost(err)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	lo := ""
	for _, hi := range append(cuts, "") {
		w, from := &surveyWalk{s: s, visit: visit, stray: stray}, lo
		g.Go(func() error { return w.run(ctx, from, hi) })
		lo = hi
	}
	return g.Wait()
}

// surveyWalk is one key range of a survey.
type surveyWalk struct {
	s     *survey
	visit func(context.Context, []plan.Subject) error
	stray func(*dest, *transport.Entry)
}

func (w *surveyWalk) run(ctx context.Context, lo, hi string) error {
	s := w.s
	pos := lo
	// A page is visited when the next one is there: the last one then takes the rest
	// of the range with it, and a destination is asked once a page.
	var pending []transport.Entry
	if !s.unseen.Load() {
		var failed error
		err := s.p.src.List(ctx, s.p.job.From.Container, transport.Range{Prefix: s.p.job.From.Prefix, After: lo, Through: hi}, func(page []transport.Entry) error {
			if len(page) == 0 {
				return nil
			}
			if n := len(pending); n > 0 {
				last := pending[n-1].Name
				if failed = w.stretch(ctx, pos, last, pending); failed != nil {
					return failed
				}
				pos = last
			}
			pending = append(pending[:0], page...)
			return nil
		})
		switch {
		case failed != nil:
			return failed
		case err != nil && (ctx.Err() != nil || !regionTrouble(err)):
			return err
		case err != nil:
			s.sourceLost(err)
		}
	}
	return w.stretch(ctx, pos, hi, pending)
}

// upTo counts the entries with names up to through; "" is beyond all.
func upTo(entries []transport.Entry, through string) int {
	if through == "" {
		return len(entries)
	}
	return sort.Search(len(entries), func(i int) bool { return entries[i].Name > through })
}

// stretch visits (lo, hi], of which the source lists entries.
func (w *surveyWalk) stretch(ctx context.Context, lo, hi string, entries []transport.Entry) error {
	s := w.s
	s.e.o.Progress.Listed(len(entries))
	for {
		var records []store.Object
		through := hi
		if s.known {
			var err error
			if records, err = s.e.o.Ledger.Page(s.p.place, lo, hi, s.p.job.From.Prefix, pageSize); err != nil {
				return err
			}
			if len(records) == pageSize {
				through = records[len(records)-1].Name
			}
		}
		n := upTo(entries, through)
		if err := w.part(ctx, lo, through, entries[:n], records); err != nil {
			return err
		}
		entries = entries[n:]
		if through == hi {
			return ctx.Err()
		}
		lo = through
	}
}

// part asks the destinations, all at the same time, what they list in (lo, hi].
func (w *surveyWalk) part(ctx context.Context, lo, hi string, entries []transport.Entry, records []store.Object) error {
	p := w.s.p
	subjects := merge(entries, records)
	for j := range subjects {
		subjects[j].Dests = make([]plan.Dest, len(p.dests))
		for i, d := range p.dests {
			subjects[j].Dests[i].Route = d.info.ID
		}
	}
	g, lctx := errgroup.WithContext(ctx)
	for i, d := range p.dests {
		if d.dead.Load() || len(subjects) == 0 && w.stray == nil {
			continue
		}
		if d.absent {
			p.markListed(i, subjects)
			continue
		}
		r := transport.Range{Prefix: d.side.Prefix}
		if lo != "" {
			r.After = p.destName(d, lo)
		}
		if hi != "" {
			r.Through = p.destName(d, hi)
		}
		g.Go(func() error {
			err := d.ep.List(lctx, d.side.Container, r, func(page []transport.Entry) error {
				for k := range page {
					e := page[k]
					if at, ok := find(subjects, p.srcName(d, e.Name)); ok {
						e.Name = subjects[at].Name // nothing is kept twice
						if src := subjects[at].Entry; src == nil || src.ContentType == e.ContentType {
							e.ContentType = ""
						}
						subjects[at].Dests[i].Entry = &e
					} else if w.stray != nil {
						w.stray(d, &e)
					}
				}
				return nil
			})
			switch {
			case err == nil, transport.Is(err, transport.NotFound):
				p.markListed(i, subjects)
			case ctx.Err() != nil || !regionTrouble(err):
				return err
			default:
				p.lose(d, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("compare with destinations: %w", err)
	}
	return w.visit(ctx, subjects)
}
