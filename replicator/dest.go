package replicator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// dest is one destination of a pass.
type dest struct {
	url     string // of the account
	side    Side
	ep      transport.Sink
	info    store.RouteInfo
	back    store.RouteID            // the opposite route, 0 if the ledger has none
	list    bool                     // its listing is merged: first pass, or an opposite route exists
	begun   bool                     // intents of an earlier run wait on this route
	sisters []store.RouteID          // routes that write the same names there
	fresh   bool                     // its container had nothing in it when this pass began
	absent  bool                     // dry run: its container does not exist yet
	seen    *transport.ContainerInfo // its container, as this pass found it; nil: not asked
	props   *destProps
	propsMu sync.Mutex // around finding them out
	full    sync.Once  // around asking for its account's quota
	fullWhy string
	archive *archive     // how its container archives what is overwritten; nil: not at all
	dead    atomic.Bool  // it stopped answering: left out of the rest of the pass
	late    chan laggard // copies that failed beside others and try again alone; nil with one destination
}

// lose leaves a destination out of the rest of the pass.
func (p *pass) lose(d *dest, err error) {
	d.dead.Store(true)
	p.leaveOut(d.side, err)
}

// leaveOut reports a destination that cannot be used: as a region that does not
// answer, or, where waiting will not help (no right, a wrong name), as an error.
func (p *pass) leaveOut(to Side, err error) {
	switch transport.ClassOf(err) {
	case transport.Transient, transport.Throttled:
		p.e.blame(to.Region, err)
		return
	}
	p.findings.Add(report.Finding{Kind: report.KindFailed, Level: report.Error, Policy: p.job.Policy.Name, Region: to.Region, Container: to.Container,
		Op: "use destination", Cause: err.Error(), Hint: cmp.Or(transport.HintOf(err), "check the destination's name and rights: farshore region check "+to.Region+" --probe")})
}

// overlap reports whether two prefixes have names in common.
func overlap(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) }

// regionTrouble reports whether an error speaks of a region that cannot be used
// now rather than of a mistake or of the ledger.
func regionTrouble(err error) bool {
	var te *transport.Error
	return errors.As(err, &te)
}

func (p *pass) openDest(ctx context.Context, srcID transport.Identity, from store.Place, to Side, i int, src transport.ContainerInfo, early <-chan looked) (*dest, error) {
	id, err := p.e.identity(ctx, to.Region)
	if err != nil {
		return nil, err
	}
	if id.URL == srcID.URL && to.Container == from.Container && overlap(to.Prefix, p.job.From.Prefix) {
		return nil, &UsageError{Msg: fmt.Sprintf("source and destination are the same place: %s and %s are both container %s of account %s", p.job.From, to, transport.PrintName(to.Container), id.URL),
			Hint: "choose another destination container or region"}
	}
	l := p.e.o.Ledger
	r := p.route(from, to, id.Project)
	d := &dest{side: to, url: id.URL}
	if p.o.DryRun {
		var ok bool
		if d.info, ok, err = l.FindRoute(r); err == nil && !ok {
			d.info = store.RouteInfo{ID: store.RouteID(1<<31 + i), Route: r}
		}
	} else {
		d.info, err = l.Route(r)
	}
	if err != nil {
		return nil, err
	}
	back, ok, err := l.FindRoute(r.Back())
	if err != nil {
		return nil, err
	}
	if !p.o.DryRun {
		if err := p.e.noteDeletes(d.info.ID, p.job.Policy); err != nil {
			return nil, err
		}
	}
	if ok {
		d.back = back.ID
		d.info.To = back.From
	}
	d.list = d.info.Listed.IsZero() || ok
	waiting, err := l.Intents(d.info.ID, "", 1)
	if err != nil {
		return nil, err
	}
	d.begun = len(waiting) > 0
	if err := p.findSisters(d); err != nil {
		return nil, err
	}
	if d.ep, err = p.e.region(to.Region); err == nil && d.info.Listed.IsZero() {
		if err = p.e.askAgain(ctx, to.Region); err == nil { // else another container's pass may have asked just now
			err = p.firstContact(ctx, d, src, early)
			p.e.breaker(to.Region).note(err) // it answers again, if it did not
		}
	} else if err == nil {
		err = p.e.askAgain(ctx, to.Region)
	}
	if err == nil {
		err = p.carryProperties(ctx, d)
	}
	if aerr := p.openArchive(d); aerr != nil {
		return nil, aerr
	}
	if err != nil && regionTrouble(err) && ctx.Err() == nil {
		p.lose(d, err) // what the ledger says of it still counts
		err = nil
	}
	return d, err
}

// firstContact makes the destination container and looks at its quota, before
// the first pass of a route only: an unchanged pass asks the destination nothing.
func (p *pass) firstContact(ctx context.Context, d *dest, src transport.ContainerInfo, early <-chan looked) error {
	var info transport.ContainerInfo
	var err error
	if early != nil {
		l := <-early
		info, err = l.info, l.err
	} else {
		info, err = d.ep.Container(ctx, d.side.Container)
	}
	gone := transport.Is(err, transport.NotFound)
	if err != nil && !gone {
		return err
	}
	d.fresh = gone
	p.checkRoom(ctx, d, src, info)
	if err := p.forgetBack(d, gone || info.Objects == 0); err != nil {
		return err
	}
	if gone {
		if p.o.DryRun {
			d.absent = true
			return nil
		}
		return p.makeContainer(ctx, d)
	}
	d.seen = &info
	if info.QuotaBytes >= 0 && info.Bytes+src.Bytes > info.QuotaBytes {
		p.findings.Add(report.Finding{Kind: report.KindDegraded, Level: report.Warn, Policy: p.job.Policy.Name, Region: d.side.Region, Container: d.side.Container,
			Op: "check quota", Cause: fmt.Sprintf("the container's quota is %d bytes, %d are used and the source holds %d", info.QuotaBytes, info.Bytes, src.Bytes),
			Hint: "raise the container's quota (X-Container-Meta-Quota-Bytes) before the copy fails with 413"})
	}
	return nil
}

// forgetBack ends the belief in the opposite route where nothing stands at the
// destination any more: it was a source and is lost, and that its names are gone
// is no delete of each (which would be left to the opposite direction). It holds,
// through interruptions, until the first pass is complete.
func (p *pass) forgetBack(d *dest, empty bool) error {
	if d.back == 0 {
		return nil
	}
	note := fmt.Sprintf("lost/%d", d.info.ID)
	_, known, err := p.e.o.Ledger.Note(note)
	if err != nil || !known && !empty {
		return err
	}
	d.back = 0
	if known || p.o.DryRun {
		return nil
	}
	return p.e.o.Ledger.PutNote(note, []byte("the destination was found empty"))
}

// heldBy counts the regions that hold a confirmed copy of a version.
func (p *pass) heldBy(o *store.Object, v store.Version) int {
	n := 0
	var seen []string
	for _, d := range p.holders() {
		r, ok := o.Replica(d.info.ID)
		if ok && r.State == store.Confirmed && r.Version == v && p.counts(d) && !slices.Contains(seen, d.side.Region) {
			seen = append(seen, d.side.Region)
			n++
		}
	}
	return n
}

// route is the job's way to one of its destinations, in that project.
func (p *pass) route(from store.Place, to Side, project string) store.Route {
	return store.Route{From: from, FromPrefix: p.job.From.Prefix, To: store.Place{Region: to.Region, Project: project, Container: to.Container}, ToPrefix: to.Prefix}
}

// destName maps a source name to its name at a destination.
func (p *pass) destName(d *dest, name string) string {
	return d.side.Prefix + strings.TrimPrefix(name, p.job.From.Prefix)
}

// srcName maps a destination's name back.
func (p *pass) srcName(d *dest, name string) string {
	return p.job.From.Prefix + strings.TrimPrefix(name, d.side.Prefix)
}
