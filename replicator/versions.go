package replicator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"farshore/store"
	"farshore/transport"
)

// Containers with X-Versions-Enabled (S7). A pass lists the source's versions, merges
// them with the histories that the ledger has of the place, and writes what a
// destination lacks there in the same order, delete markers included. Version ids
// cannot be chosen: the destination's stand in the ledger beside the source's.
//
// A destination keeps versions while it is written, whatever the source does at the
// time: what the source holds as version "null" has an id of its own there. Where the
// source has its versioning suspended, so has the destination between passes.
//
// Beside its history a name that shows an object has an ordinary record, so that
// counts, status and audits know it.

const versionsHeader = "X-Versions-Enabled"

// histories is what a pass over a container with versions knows besides.
type histories struct {
	suspended bool // at the source, now
	rows      int64

	mu    sync.Mutex
	again []*past // names whose content points at what was not there yet
	lanes map[*dest]*lane
	// visit gets the names of a stretch; nil: they are carried.
	visit func(ctx context.Context, lo, hi string, pasts []*past) error
}

// lane is what the pass knows of one destination of histories.
type lane struct {
	first bool // it was never compared with the source completely
	modes sync.Mutex
	mode  string // whether its container keeps versions, as the ledger knows: modeOn, modeOff; "": unknown
	back  store.PlaceID
}

// What the ledger notes of a destination's container.
const (
	modeOn  = "on"
	modeOff = "off"
)

func modeNote(d *dest) string { return fmt.Sprintf("versions/%d", d.info.ID) }

// comparedNote says that a destination's versions were once merged completely.
func comparedNote(d *dest) string { return fmt.Sprintf("histories/%d", d.info.ID) }

// keepsVersions reports whether a container has, or ever had, X-Versions-Enabled:
// Swift never forgets it.
func keepsVersions(info transport.ContainerInfo) bool {
	return info.Versioning == versionsHeader || info.Header[versionsHeader] != ""
}

// knowsHistories reports whether the ledger has histories of the place.
func (p *pass) knowsHistories() (bool, error) {
	if !p.known {
		return false, nil
	}
	some, err := p.e.o.Ledger.SeriesPage(p.place, "", "", "", 1)
	return len(some) > 0, err
}

// past is one name of a container with versions.
type past struct {
	name   string
	rows   []transport.VersionEntry // the source's, newest first
	series store.Series             // brought up to rows
	object *store.Object            // the ordinary record, if there is one
	news   bool                     // the ledger has another series
	todo   []*dest                  // destinations that need something
	there  map[*dest][]transport.VersionEntry
	begun  map[*dest]bool // an earlier run wrote there and did not record it, or may have
	final  bool           // it has been put off once already
	hidden bool           // the source shows none of it any more, although its listing says so: it has expired

	mu sync.Mutex // around series while several destinations are written at the same time
}

// carryHistories is the pass over a container with versions.
func (p *pass) carryHistories(ctx context.Context) error {
	h := p.histories
	for _, d := range p.dests {
		if err := p.openLane(ctx, d); err != nil {
			return err
		}
	}
	if err := p.checkOverwrites(ctx, p.walkHistories); err != nil {
		return err
	}
	h.rows = 0
	p.rec = store.Pass{Key: p.key(), Began: micros(p.e.o.Clock.Now()), Ranges: []store.PassRange{{}}}
	if err := p.savePass(ctx); err != nil {
		return err
	}
	if err := p.walkHistories(ctx); err != nil {
		return err
	}
	p.lookout.End()
	if p.dry() {
		return p.deleteVersions(ctx)
	}
	if err := p.e.o.Ledger.Flush(ctx); err != nil {
		return err
	}
	now := p.e.o.Clock.Now()
	for _, d := range p.dests {
		if d.dead.Load() {
			continue
		}
		if d.info.Listed.IsZero() {
			if err := p.e.o.Ledger.SetListed(d.info.ID, now); err != nil {
				return err
			}
		}
		if l := h.lanes[d]; l.first {
			if err := p.e.o.Ledger.PutNote(comparedNote(d), []byte("done")); err != nil {
				return err
			}
		}
	}
	p.rec.Ended, p.rec.Ranges[0].Done = micros(now), true
	if err := p.savePass(ctx); err != nil {
		return err
	}
	if h.rows == 0 && !p.gone {
		if err := p.checkEmpty(ctx, "the listing is empty"); err != nil {
			return err
		}
	}
	if err := p.endLook(ctx, p.deleteVersions(ctx)); err != nil {
		return err
	}
	return p.suspend(ctx)
}

// openLane finds out how a destination's container keeps versions, and has it do so
// if the source does.
func (p *pass) openLane(ctx context.Context, d *dest) error {
	l := &lane{}
	p.histories.lanes[d] = l
	_, compared, err := p.e.o.Ledger.Note(comparedNote(d))
	if err != nil {
		return err
	}
	l.first = !compared
	mode, _, err := p.e.o.Ledger.Note(modeNote(d))
	if err != nil {
		return err
	}
	l.mode = string(mode)
	if d.back != 0 {
		back, ok, err := p.e.o.Ledger.FindPlace(d.info.Route.To)
		if err != nil {
			return err
		}
		if l.back = back; !ok {
			d.back = 0
		}
	}
	if p.dry() || d.dead.Load() || p.histories.suspended && l.mode != "" {
		return nil
	}
	if err := p.keepVersionsAt(ctx, d); err != nil {
		if ctx.Err() != nil || !regionTrouble(err) {
			return err
		}
		p.lose(d, err)
	}
	return nil
}

// keepVersionsAt sees that a destination's container keeps versions, before anything
// is written there.
func (p *pass) keepVersionsAt(ctx context.Context, d *dest) error {
	l := p.histories.lanes[d]
	l.modes.Lock()
	defer l.modes.Unlock()
	if l.mode == modeOn {
		return nil
	}
	err := d.ep.PostContainer(ctx, d.side.Container, transport.Header{versionsHeader: "true"}, nil)
	if transport.Is(err, transport.NotFound) {
		if err = p.makeContainer(ctx, d); err == nil {
			err = d.ep.PostContainer(ctx, d.side.Container, transport.Header{versionsHeader: "true"}, nil)
		}
	}
	if err != nil {
		return noVersions(err)
	}
	l.mode = modeOn
	return p.e.o.Ledger.PutNote(modeNote(d), []byte(modeOn))
}

// noVersions explains why a container is refused its versions (S7, S11).
func noVersions(err error) error {
	var te *transport.Error
	if !errors.As(err, &te) || te.Class != transport.Permanent {
		return err
	}
	x := *te
	text := strings.ToLower(te.Error())
	switch {
	case strings.Contains(text, "container sync"):
		x.Hint = "container sync and versions exclude each other: remove X-Container-Sync-To from the destination's container, or choose another one"
	case strings.Contains(text, "legacy"), strings.Contains(text, "one way of versioning"):
		x.Hint = "the destination's container has X-Versions-Location or X-History-Location: remove it there, or choose another container"
	default:
		x.Hint = cmp.Or(te.Hint, "the destination must have object versioning: farshore region check "+te.Region)
	}
	return &x
}

// suspend leaves the destinations as the source is between passes.
func (p *pass) suspend(ctx context.Context) error {
	if !p.histories.suspended || p.dry() {
		return nil
	}
	for _, d := range p.dests {
		l := p.histories.lanes[d]
		if d.dead.Load() || l.mode != modeOn {
			continue
		}
		// not known until it is done: a run that dies in between must not take it for on
		l.mode = ""
		if err := p.e.o.Ledger.PutNote(modeNote(d), nil); err != nil {
			return err
		}
		err := d.ep.PostContainer(ctx, d.side.Container, transport.Header{versionsHeader: "false"}, nil)
		if err != nil {
			if ctx.Err() != nil || !regionTrouble(err) {
				return err
			}
			p.failed(ctx, &item{}, d, err)
			continue
		}
		l.mode = modeOff
		if err := p.e.o.Ledger.PutNote(modeNote(d), []byte(modeOff)); err != nil {
			return err
		}
	}
	return nil
}
