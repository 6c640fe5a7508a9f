package replicator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

const (
	// bufferUpTo is the size up to which an object is held in memory whole, so
	// that a failed PUT can be sent again without reading the source again.
	bufferUpTo = 1 << 20
	// streamMemory is what a streamed object may hold in memory, times destinations.
	streamMemory = 1 << 20
	// maxLaggards bounds the copies that wait to try again alone, a destination.
	// Past it they are left to the next pass.
	maxLaggards = 4096
	// maxVersions is how often a copy begins again because the source replaced the object.
	maxVersions = 3
	// laggardWorkers try them, a destination.
	laggardWorkers = 4
)

// laggard is a copy that failed while others of the same object succeeded. It
// reads the source by itself, so that one bad destination holds nobody up (R13).
type laggard struct {
	it *item
	t  target
}

// copy sends an object to its targets: read once, sent to every one. Where the
// source replaced it meanwhile, the new version is sent instead.
func (p *pass) copy(ctx context.Context, it *item, targets []target) error {
	it.busy.Lock()
	defer it.busy.Unlock()
	for len(targets) > 0 {
		if err := p.copyOnce(ctx, it, targets); err != nil {
			return err
		}
		targets = it.takeAgain()
	}
	return context.Cause(ctx)
}

func (p *pass) copyOnce(ctx context.Context, it *item, targets []target) error {
	var whole, cut []target
	if it.entry.S3ETag != "" && p.losesS3ETag(it, targets) {
		return nil
	}
	// of a link that comes along no listing said whether it is static
	static := it.entry.Kind == transport.Symlink && (it.entry.Target.ETag != "" || len(it.above) > 0)
	if static || it.entry.Kind == transport.SLO {
		if err := p.bottomless(it); err != nil {
			return p.failAll(ctx, it, targets, err)
		}
	}
	if (it.entry.Kind == transport.DLO || static) && !it.ready {
		var err error
		if targets, err = p.prepare(ctx, it, targets); err != nil {
			return err
		}
		it.ready = true
	}
	if it.entry.Kind != transport.SLO {
		release, err := p.turn(ctx, it.name)
		if err != nil {
			return err
		}
		defer release()
	}
	targets, err := p.unbrought(it, targets)
	if err != nil {
		return err
	}
	for _, t := range targets {
		if t.d.dead.Load() || !p.e.mayTry(ctx, t.d.side.Region) {
			p.putOff(t.d.side.Region)
			continue
		}
		if layout, err := p.layout(ctx, t.d, it.entry); err == nil && layout.Count() > 0 {
			cut = append(cut, t)
		} else {
			whole = append(whole, t)
		}
	}
	if it.entry.Kind == transport.SLO {
		return p.copyManifest(ctx, it, append(whole, cut...))
	}
	if len(cut) > 0 {
		if err := p.large(ctx, it, cut); err != nil {
			return err
		}
	}
	switch len(whole) {
	case 0:
		return nil
	case 1:
		whole[0].final = true // the retry layer's full patience goes into this try
		return p.alone(ctx, it, whole[0])
	}
	return p.together(ctx, it, whole)
}

// startLaggards runs the workers that try failed copies again, alone.
func (p *pass) startLaggards(ctx context.Context) *errgroup.Group {
	g, ctx := errgroup.WithContext(ctx)
	for _, d := range p.dests {
		late := d.late
		for range laggardWorkers {
			g.Go(func() error {
				for l := range late {
					err := p.copyLate(ctx, l)
					p.finish(l.it)
					if err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	return g
}

func (p *pass) copyLate(ctx context.Context, l laggard) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return p.copy(ctx, l.it, []target{l.t})
}

// later puts a failed copy off until it can be tried alone, or reports it.
func (p *pass) later(ctx context.Context, it *item, t target, err error) {
	var te *transport.Error
	if errors.As(err, &te) && te.Region == t.d.side.Region {
		p.e.breaker(t.d.side.Region).note(err)
	}
	if (transport.Is(err, transport.Changed) || errors.Is(err, errDigest)) && t.tries < maxVersions {
		t.tries++
		it.sendAgain(t)
		return
	}
	switch transport.ClassOf(err) {
	case transport.Transient, transport.Throttled, transport.Corrupt:
		// In this order: who tries alone is still at it when the walk has closed d.late.
		if !t.final && t.d.late != nil && ctx.Err() == nil {
			t.final = true
			it.more()
			select {
			case t.d.late <- laggard{it, t}:
				return
			default:
				p.finish(it)
			}
		}
	}
	if !p.gaveUp(ctx, t.d.side.Region, err) {
		p.failed(ctx, it, t.d, err)
	}
}

// putOff counts a copy that waits for its region: that is reported once, as a whole.
func (p *pass) putOff(region string) {
	p.tally.failed.Add(1)
	p.e.o.Progress.Region(region).Failed()
}

// gaveUp puts a copy off whose destination region answers nobody, and reports whether that
// is so: then it is not this object.
func (p *pass) gaveUp(ctx context.Context, region string, err error) bool {
	var te *transport.Error
	if !errors.As(err, &te) || te.Region != region || ctx.Err() != nil || !unreachable(err) && !p.silent(ctx, te) {
		return false
	}
	p.e.breaker(region).gaveUp(err)
	p.putOff(region)
	return true
}

// silent reports whether a region that gave no answer at all has none for the smallest
// question either, or was found so a moment ago.
func (p *pass) silent(ctx context.Context, te *transport.Error) bool {
	if te.Status != 0 || te.Class != transport.Transient {
		return false
	}
	return p.e.breaker(te.Region).refusal() != nil || transport.Is(p.e.probe(ctx, te.Region), transport.Transient)
}

// unreachable reports whether nobody listens where the region should be.
func unreachable(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// alone copies to one destination with the full patience of the retry layer.
func (p *pass) alone(ctx context.Context, it *item, t target) error {
	turn, err := p.e.budget.turn(ctx, min(max(it.entry.Size, 64<<10), streamMemory), it.entry.Size <= bufferUpTo)
	if err != nil {
		return err
	}
	defer turn.end()
	src, err := p.read(ctx, it, []target{t})
	if src == nil {
		return err
	}
	if err := turn.write(ctx); err != nil {
		src.close()
		return err
	}
	obj, sum := src.obj, &summer{}
	body := transport.Body{Size: obj.Size, MD5: obj.ETag}
	if src.stream == nil {
		sum.write(src.data)
		body.Open = p.counted(t.d, func() (io.Reader, error) { return bytes.NewReader(src.data), nil })
		return p.put(ctx, it, t, obj, body, sum)
	}
	defer func() { src.close() }()
	first := true
	body.Open = p.counted(t.d, func() (io.Reader, error) {
		if !first {
			src.close()
			_, again, err := p.src.Open(ctx, p.job.From.Container, it.name, transport.OpenOptions{Length: -1, ETag: obj.ETag, Unchecked: true})
			if err != nil {
				return nil, err
			}
			src.stream = again
		}
		first = false
		sum.reset()
		return io.TeeReader(p.countRead(src.stream), sum), nil
	})
	return p.put(ctx, it, t, obj, body, sum)
}

// together reads once and sends to several destinations at the same time. Each
// gets one try; who fails tries again alone.
func (p *pass) together(ctx context.Context, it *item, targets []target) error {
	n := int64(len(targets))
	turn, err := p.e.budget.turn(ctx, min(max(it.entry.Size, 64<<10), streamMemory*n), it.entry.Size <= bufferUpTo)
	if err != nil {
		return err
	}
	defer turn.end()
	src, err := p.read(ctx, it, targets)
	if src == nil {
		return err
	}
	if err := turn.write(ctx); err != nil {
		src.close()
		return err
	}
	obj, sum := src.obj, &summer{}
	bodies := make([]func() (io.Reader, error), len(targets))
	var streams *tee
	if src.stream == nil {
		sum.write(src.data)
		for i := range targets {
			bodies[i] = func() (io.Reader, error) { return bytes.NewReader(src.data), nil }
		}
	} else {
		streams = newTee(len(targets), p.e.o.Clock)
		for i := range targets {
			bodies[i] = func() (io.Reader, error) { return streams.outs[i], nil }
		}
		pumped := make(chan struct{})
		go func() {
			defer close(pumped)
			defer src.close()
			streams.pump(ctx, io.TeeReader(p.countRead(src.stream), sum))
		}()
		defer func() { <-pumped }()
	}
	var g errgroup.Group
	for i, t := range targets {
		g.Go(func() error {
			body := transport.Body{Size: obj.Size, MD5: obj.ETag, Once: true, Open: p.counted(t.d, bodies[i])}
			if streams != nil {
				defer streams.outs[i].leave() // a reader that ended early must not hold the others up
			}
			return p.put(ctx, it, t, obj, body, sum)
		})
	}
	return g.Wait()
}

// put sends one object to one destination and records what came of it.
func (p *pass) put(ctx context.Context, it *item, t target, obj transport.Object, body transport.Body, sum *summer) error {
	region := p.e.o.Progress.Region(t.d.side.Region)
	region.Active(1)
	defer region.Active(-1)
	if p.expired(obj) {
		return p.vanished(ctx, it, []target{t})
	}
	h := it.pinned(p.stamped(obj, t.d), t.d)
	name := p.destName(t.d, it.name)
	lctx := p.e.budget.limit(ctx, p.job.Policy, p.job.From.Region, t.d.side.Region)
	for range 3 {
		if t.ifAbsent && p.asksFirst(ctx, t.d) {
			if again, err := p.exists(ctx, it, &t, obj, obj.ETag, sum, false); err != nil || !again {
				return p.ended(ctx, it, t, err)
			}
		}
		rec, err := t.d.ep.Put(lctx, t.d.side.Container, name, body, transport.PutOptions{Header: h, IfAbsent: t.ifAbsent})
		switch {
		case err == nil && rec.ETag != obj.ETag:
			err = &transport.Error{Op: "put", Region: t.d.side.Region, Container: t.d.side.Container, Name: name, Class: transport.Corrupt,
				Err: fmt.Errorf("the destination answered ETag %s for content with MD5 %s", rec.ETag, obj.ETag)}
			return p.ended(ctx, it, t, err)
		case err == nil:
			p.done(it, t.d, obj, store.Replica{Written: micros(rec.Modified)}, sum)
			return nil
		case errors.Is(err, transport.ErrExpired):
			return p.ended(ctx, it, t, err)
		case transport.Is(err, transport.NotFound):
			// the container went away: make it again, once
			if cerr := p.makeContainer(ctx, t.d); cerr != nil {
				return p.ended(ctx, it, t, cerr)
			}
		case transport.Is(err, transport.Exists):
			p.tally.sentTwice.Add(obj.Size)
			if again, err := p.exists(ctx, it, &t, obj, obj.ETag, sum, true); err != nil || !again {
				return p.ended(ctx, it, t, err)
			}
		default:
			return p.ended(ctx, it, t, err)
		}
		if body.Once {
			return p.ended(ctx, it, t, transient(t.d, name, "the stream was used up"))
		}
	}
	return p.ended(ctx, it, t, transient(t.d, name, "the destination's object changes while it is written"))
}

func transient(d *dest, name, why string) error {
	return &transport.Error{Op: "put", Region: d.side.Region, Container: d.side.Container, Name: name, Class: transport.Transient, Err: fmt.Errorf("%s", why)}
}

// ended deals with the error of a copy that is over, if there is one.
func (p *pass) ended(ctx context.Context, it *item, t target, err error) error {
	if p.lostMeanwhile(it, err) {
		return p.vanished(ctx, it, []target{t})
	}
	if err != nil && ctx.Err() == nil && !regionTrouble(err) {
		return err
	}
	if err != nil {
		p.later(ctx, it, t, err)
	}
	return context.Cause(ctx)
}

// lostMeanwhile reports whether a copy failed because the source has the object no more:
// it was deleted, or has expired.
func (p *pass) lostMeanwhile(it *item, err error) bool {
	var te *transport.Error
	return errors.Is(err, transport.ErrExpired) || errors.As(err, &te) && te.Class == transport.NotFound &&
		te.Region == p.job.From.Region && te.Container == p.job.From.Container && te.Name == it.name
}

// exists decides what to do about an object that stands where a new one was to
// be written: again says that the write should be tried once more.
func (p *pass) exists(ctx context.Context, it *item, t *target, obj transport.Object, etag string, sum *summer, sent bool) (again bool, err error) {
	there, err := t.d.ep.Head(ctx, t.d.side.Container, p.destName(t.d, it.name))
	switch {
	case transport.Is(err, transport.NotFound):
		if !sent {
			t.ifAbsent = false // asked, and nothing is there
		}
		return true, nil
	case err != nil:
		return false, err
	case there.ETag == etag && there.Size == obj.Size && pointsAlike(it.pinned(p.mapped(obj.Header, t.d), t.d), there.Header):
		if done, err := p.brought(it, t.d); done || err != nil {
			return false, err
		}
		if obj.Kind == transport.SLO { // the same bytes may consist of other segments
			same, err := p.sameManifest(ctx, it, t.d)
			if err != nil {
				return false, err
			}
			if !same && (slices.Contains(t.known, etag) || p.stampedHere(there)) {
				t.ifAbsent = false
				return true, nil
			}
		}
		if there.Header.Digest() != obj.Header.Digest() {
			if err := p.sameContent(ctx, it, t, obj, there); err != nil {
				return false, err
			}
		}
		p.done(it, t.d, obj, store.Replica{ETag: etag, Written: micros(there.Modified), Adopted: !slices.Contains(t.known, etag)}, sum)
		return false, nil
	case slices.Contains(t.known, there.ETag), p.job.Policy.Takeover:
		t.ifAbsent = false
		return true, nil
	}
	p.conflict(it, t.d, there.ETag)
	return false, nil
}

// sameContent deals with identical bytes under other headers: an older try of ours
// gets the source's headers of now; what others wrote is left as it is, and said.
func (p *pass) sameContent(ctx context.Context, it *item, t *target, obj, there transport.Object) error {
	if slices.Contains(t.known, there.ETag) || p.stampedHere(there) {
		p.tally.meta.Add(1)
		return t.d.ep.Post(ctx, t.d.side.Container, p.destName(t.d, it.name), p.stamped(obj, t.d))
	}
	p.otherHeaders(it, t.d)
	return nil
}

// stampedHere reports whether an object says of itself that it is a copy from this source.
func (p *pass) stampedHere(there transport.Object) bool {
	return strings.HasPrefix(there.Header[transport.OriginHeader], p.job.From.Region+" ")
}

// otherHeaders reports an adopted object whose headers are not the source's.
func (p *pass) otherHeaders(it *item, d *dest) {
	p.findings.Add(report.Finding{Kind: report.KindDegraded, Level: report.Warn, Policy: p.job.Policy.Name, Region: d.side.Region, Container: d.side.Container,
		Name: p.destName(d, it.name), Op: "adopt", Cause: "the bytes stood there already, written by others under other headers; they were left as they are",
		Hint: "remove the object there to have it copied with the source's headers"})
}

// done records a confirmed replica of the version that was read.
func (p *pass) done(it *item, d *dest, obj transport.Object, rep store.Replica, sum *summer) {
	v := versionOf(obj)
	rep.Route, rep.State, rep.Version, rep.Confirmed = d.info.ID, store.Confirmed, v, micros(p.e.o.Clock.Now())
	if rep.ETag == v.ETag {
		rep.ETag = ""
	}
	digest, whole := obj.Header.Digest(), sum.sum(obj.Size)
	p.confirm(it, d, rep, func(o *store.Object) {
		p.newer(o, v, obj.Size)
		if o.Version == v {
			o.Meta = digest
			if whole != nil {
				o.SHA256 = [32]byte(whole)
			}
		}
	})
	p.e.breaker(d.side.Region).note(nil)
	if rep.Adopted {
		p.tally.adopted.Add(1)
	} else {
		p.tally.copied.Add(1)
	}
	p.e.o.Progress.Region(d.side.Region).Done()
	it.confirmed(d.side.Region)
}

// asksFirst reports whether a destination ignores If-None-Match, so that it must
// be asked before a new name is written (R17).
func (p *pass) asksFirst(ctx context.Context, d *dest) bool {
	a, err := p.e.abilitiesOf(ctx, d.side.Region)
	return err == nil && a.IfNoneMatch == transport.No
}
