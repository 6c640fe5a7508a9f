package replicator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"farshore/replicator/lag"
	"farshore/replicator/plan"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// walkers is how many key ranges of one container are listed at once.
const walkers = 4

// splitFrom is the size of a container from which several of its ranges are listed at
// once; below, a listing has too few pages to be worth asking where to cut.
const splitFrom = 20_000

// readAhead is how many workers a pass has for each stream: one that writes, one that
// reads what is written next.
const readAhead = 2

// pass is one walk over a job's source.
type pass struct {
	e        *Engine
	job      Job
	o        SyncOptions
	findings *report.Findings
	tally    *tally
	lookout  *lag.Look // at all of the source; nil: nobody is told
	away     []string  // regions left out whose account is not even known

	kin        *kin
	src        transport.Sink
	account    string                   // the source's, as links say it: the end of its URL
	shape      *transport.ContainerInfo // of the source; nil: not asked, or gone
	shapeMu    sync.Mutex               // around asking for it
	histories  *histories               // of a container that has or had X-Versions-Enabled; else nil
	place      store.PlaceID
	known      bool  // the source place is in the ledger
	relays     bool  // the source is a copy: its stamp is the right one
	objects    int64 // in the source container, as its region counts
	present    int64
	dests      []*dest
	spares     []*dest         // see place.go
	clear      map[string]bool // regions of spares that hold nothing more
	rec        store.Pass
	resumed    bool
	released   bool // a person released the brake of an empty source
	gone       bool // the source container does not exist, and a person said to go on
	brakeToken string
	overwrites atomic.Int64 // counted by a dry walk, for the brake
	counting   bool
	marking    bool                              // counting, but for what of the source is gone or there again
	kept       map[string]bool                   // names due to be deleted that manifests still need
	keptWhy    []report.Finding                  // what to say of them at the end
	due        int64                             // what was missing by then was to be deleted, µs
	saving     sync.Mutex                        // around rec and noted
	noted      bool                              // rec is in the ledger
	start      func(func(context.Context) error) // gives work to the walk's workers
	listedHere atomic.Int64
}

// run makes the pass, and leaves the destinations' containers as they are to stand between passes.
func (p *pass) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer p.e.budget.follow()()
	p.beginLook()
	if err := p.open(ctx); err != nil || len(p.dests) == 0 {
		return err
	}
	work := p.work
	if p.histories != nil {
		work = p.carryHistories
	}
	err := work(ctx)
	if err == nil {
		err = p.trim(ctx)
	}
	return cmp.Or(err, p.closeArchives(ctx), p.closeProperties(ctx))
}

// work does what an interrupted pass left first, then everything.
func (p *pass) work(ctx context.Context) error {
	if !p.o.DryRun {
		left, err := p.unfinished(ctx)
		if err != nil {
			return err
		}
		if left {
			p.resumed = true
			fresh, findings := p.tally, p.findings
			p.tally = &tally{byCount: map[int]int64{}, byRegion: map[string]int64{}}
			p.findings = report.NewFindings(nil, nil) // whatever is still wrong, the full pass finds
			err := p.resume(ctx)
			fresh.addWork(p.tally)
			fresh.resumed.Add(p.tally.copied.Load())
			p.tally, p.findings = fresh, findings
			if err != nil {
				return err
			}
		}
	}
	if err := p.checkOverwrites(ctx, p.walkAll); err != nil {
		return err
	}
	if err := p.walkAll(ctx); err != nil {
		return err
	}
	if err := p.reportCannot(ctx); err != nil {
		return err
	}
	return p.endLook(ctx, p.deletes(ctx))
}

// open finds the place, the routes and the state of both ends.
func (p *pass) open(ctx context.Context) error {
	var err error
	if p.src, err = p.e.region(p.job.From.Region); err != nil {
		return err
	}
	srcID, err := p.e.identity(ctx, p.job.From.Region)
	if err != nil {
		return err
	}
	l := p.e.o.Ledger
	p.account = accountOf(srcID.URL)
	from := store.Place{Region: p.job.From.Region, Project: srcID.Project, Container: p.job.From.Container}
	if p.o.DryRun {
		p.place, p.known, err = l.FindPlace(from)
	} else {
		p.place, err = l.PlaceID(from)
		p.known = true
	}
	if err != nil {
		return err
	}
	known := int64(0) // objects of the place that the ledger has
	if p.known {
		places, err := l.Places()
		if err != nil {
			return err
		}
		for _, x := range places {
			if x.ID == p.place {
				p.present, known = x.Present, x.Objects
			}
		}
	}
	var gone error
	early, err := p.askEarly(ctx, from)
	if err != nil {
		return err
	}
	info, err := p.src.Container(ctx, p.job.From.Container)
	p.objects = info.Objects
	begun := false // copies of a run that died before it recorded any
	if transport.Is(err, transport.NotFound) && known == 0 && p.known {
		routes, lerr := l.Routes()
		if lerr == nil {
			begun, lerr = p.e.begun(routes, from)
		}
		if lerr != nil {
			return lerr
		}
	}
	switch {
	case transport.Is(err, transport.NotFound) && (known > 0 || begun):
		p.gone, gone = true, err
	case err != nil:
		return err
	case keepsVersions(info):
		p.histories = &histories{suspended: info.Versioning == "", lanes: map[*dest]*lane{}}
	}
	if !p.gone {
		p.shape = &info
	} else if some, err := p.knowsHistories(); err != nil {
		return err
	} else if some {
		p.histories = &histories{lanes: map[*dest]*lane{}}
	}
	alive := 0
	for i, to := range p.job.To {
		d, err := p.openDest(ctx, srcID, from, to, i, info, early[i])
		if err != nil && regionTrouble(err) && ctx.Err() == nil {
			p.leaveOut(to, err) // never reached before: not even its account is known
			p.away = append(p.away, to.Region)
			continue
		}
		if err != nil {
			return err
		}
		for _, other := range p.dests {
			if d.url != "" && d.url == other.url && d.side.Container == other.side.Container && overlap(d.side.Prefix, other.side.Prefix) {
				return &UsageError{Msg: fmt.Sprintf("two destinations are the same place: %s and %s are both container %s of account %s; one copy would count as two", other.side, d.side, transport.PrintName(d.side.Container), d.url),
					Hint: "leave one of them out"}
			}
		}
		p.dests = append(p.dests, d)
		if !d.dead.Load() {
			alive++
		}
	}
	if err := p.openSpares(ctx, from); err != nil {
		return err
	}
	if p.gone {
		if n, err := p.knownHere(ctx); err != nil || n == 0 && !begun {
			return cmp.Or(err, gone)
		}
		if err := p.checkEmpty(ctx, "the container is gone"); err != nil {
			return err
		}
	}
	if alive == 0 {
		err := cmp.Or(p.countOnly(ctx), p.lookOnly(ctx))
		p.dests = nil
		return err
	}
	if len(p.dests) > 1 {
		for _, d := range p.dests {
			d.late = make(chan laggard, maxLaggards)
		}
	}
	return nil
}

// countOnly walks the ledger for the replica counts when no destination can be used. What
// the source holds and the ledger has never seen counts as held nowhere.
func (p *pass) countOnly(ctx context.Context) error {
	after, present := "", int64(0)
	for ctx.Err() == nil && p.known {
		page, err := p.e.o.Ledger.Page(p.place, after, "", p.job.From.Prefix, pageSize)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		for i := range page {
			if page[i].Missing == 0 {
				present++
				p.tally.held(p.heldBy(&page[i], page[i].Version))
			}
		}
		after = page[len(page)-1].Name
	}
	if err := ctx.Err(); err != nil || p.gone {
		return err
	}
	there := p.objects
	if p.job.From.Prefix != "" {
		there = 0
		err := p.src.List(ctx, p.job.From.Container, transport.Range{Prefix: p.job.From.Prefix}, func(page []transport.Entry) error {
			there += int64(len(page))
			return nil
		})
		if err != nil {
			return err
		}
	}
	if there > present {
		p.tally.heldMany(map[int]int64{0: there - present})
	}
	return nil
}

// key names the pass in the ledger.
func (p *pass) key() string {
	return fmt.Sprintf("%s\x00%d\x00%s", p.job.Policy.Name, p.place, p.job.From.Prefix)
}

// unfinished loads the pass that was interrupted, if there is one.
func (p *pass) unfinished(context.Context) (bool, error) {
	rec, ok, err := p.e.o.Ledger.Pass(p.key())
	if err != nil || !ok || rec.Ended != 0 {
		return false, err
	}
	p.rec = rec
	return true, nil
}

// walkAll lists the whole source, several key ranges at once, and carries out
// what the pages need.
func (p *pass) walkAll(ctx context.Context) error {
	r := transport.Range{Prefix: p.job.From.Prefix}
	var cuts []string
	var err error
	if !p.gone && p.objects >= splitFrom {
		if cuts, err = p.src.Split(ctx, p.job.From.Container, r, walkers); err != nil {
			return err
		}
	}
	p.rec = store.Pass{Key: p.key(), Began: micros(p.e.o.Clock.Now()), Resumed: p.rec.Resumed}
	lo := ""
	for _, c := range append(cuts, "") {
		p.rec.Ranges = append(p.rec.Ranges, store.PassRange{Lo: lo, Hi: c, Pos: lo})
		lo = c
	}
	p.noted = false
	if !p.dry() { // what was done before is seen by the walk
		if err := p.e.o.Ledger.Flush(ctx); err != nil {
			return err
		}
	}
	if err := p.walk(ctx, false); err != nil {
		return err
	}
	if p.dry() {
		return nil
	}
	if err := p.e.o.Ledger.Flush(ctx); err != nil {
		return err
	}
	now := p.e.o.Clock.Now()
	for _, d := range p.dests {
		if d.info.Listed.IsZero() && !d.dead.Load() {
			if err := p.e.o.Ledger.SetListed(d.info.ID, now); err != nil {
				return err
			}
		}
	}
	p.rec.Ended = micros(now)
	if err := p.savePass(ctx); err != nil {
		return err
	}
	if p.listedHere.Load() == 0 && !p.gone {
		return p.checkEmpty(ctx, "the listing is empty")
	}
	return nil
}

// dry reports whether the walk only looks.
func (p *pass) dry() bool { return p.o.DryRun || p.counting }

// savePass makes the state of the walk durable.
func (p *pass) savePass(ctx context.Context) error {
	if p.dry() {
		return nil
	}
	p.saving.Lock()
	defer p.saving.Unlock()
	rec := p.rec
	rec.Ranges = slices.Clone(p.rec.Ranges)
	return p.e.o.Ledger.SavePass(ctx, rec)
}

// note makes it durable that there is a walk, before it changes anything. A walk that
// finds nothing to do is noted once, when it has ended.
func (p *pass) note(ctx context.Context) error {
	p.saving.Lock()
	noted := p.noted
	p.noted = true
	p.saving.Unlock()
	if noted {
		return nil
	}
	return p.savePass(ctx)
}

// advance notes how far a range is planned.
func (p *pass) advance(ctx context.Context, r *store.PassRange, pos string, done bool) error {
	p.saving.Lock()
	r.Pos, r.Done = pos, done
	noted := p.noted
	p.saving.Unlock()
	if !noted {
		return nil
	}
	return p.savePass(ctx)
}

// resume goes on with an interrupted pass: first the copies it had planned, then
// the key ranges it had not listed yet. What it had listed is not listed again here.
func (p *pass) resume(ctx context.Context) error {
	p.rec.Resumed++
	p.noted = true
	if err := p.walk(ctx, true); err != nil {
		return err
	}
	return p.e.o.Ledger.Flush(ctx)
}

// walk runs the ranges of p.rec, and before them, if asked, the intents that an
// interrupted pass left in the part it had listed.
func (p *pass) walk(ctx context.Context, intentsFirst bool) error {
	var laggards *errgroup.Group
	if !p.dry() && len(p.dests) > 1 {
		laggards = p.startLaggards(ctx)
	}
	steps, working := errgroup.WithContext(ctx)
	work := make(chan func(context.Context) error)
	// The same few goroutines do everything: a new one for each object would have to
	// grow its stack anew.
	for range readAhead*p.e.o.Limits.Streams + walkers {
		steps.Go(func() error {
			for do := range work {
				if err := do(working); err != nil {
					return err
				}
			}
			return nil
		})
	}
	p.start = func(do func(context.Context) error) {
		select {
		case work <- do:
		case <-working.Done(): // the pass ends, and with it what was to be done
		}
	}
	err := p.walkRanges(working, intentsFirst)
	close(work)
	if werr := steps.Wait(); werr != nil && (err == nil || errors.Is(err, context.Canceled)) {
		err = werr // the walkers were only cancelled because of it
	}
	if laggards != nil {
		for _, d := range p.dests {
			close(d.late)
			d.late = make(chan laggard, maxLaggards)
		}
		if lerr := laggards.Wait(); err == nil {
			err = lerr
		}
	}
	return err
}

func (p *pass) walkRanges(ctx context.Context, intentsFirst bool) error {
	if intentsFirst {
		if err := p.driveIntents(ctx); err != nil {
			return err
		}
	}
	ranges, listing := errgroup.WithContext(ctx)
	for i := range p.rec.Ranges {
		if !p.rec.Ranges[i].Done {
			ranges.Go(func() error { return p.walkRange(listing, &p.rec.Ranges[i]) })
		}
	}
	return ranges.Wait()
}

// walkRange lists one key range page by page.
func (p *pass) walkRange(ctx context.Context, r *store.PassRange) error {
	pos := r.Pos
	if p.gone {
		return p.page(ctx, pos, r.Hi, nil)
	}
	err := p.src.List(ctx, p.job.From.Container, transport.Range{Prefix: p.job.From.Prefix, After: pos, Through: r.Hi}, func(page []transport.Entry) error {
		if len(page) == 0 {
			return nil
		}
		last := page[len(page)-1].Name
		if err := p.page(ctx, pos, last, page); err != nil {
			return err
		}
		pos = last
		return p.advance(ctx, r, pos, false)
	})
	if err != nil {
		return err
	}
	// what the ledger knows beyond the last listed name
	if err := p.page(ctx, pos, r.Hi, nil); err != nil {
		return err
	}
	return p.advance(ctx, r, r.Hi, true)
}

// planOptions are the policy's rules as the plan needs them.
func (p *pass) planOptions() plan.Options {
	return plan.Options{Now: micros(p.e.o.Clock.Now()), Takeover: p.job.Policy.Takeover, Deletes: p.job.Policy.Deletes.Propagate}
}
