package replicator

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
	"farshore/transport/chunk"
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
	for _, t := range targets {
		if t.d.dead.Load() || !p.e.breaker(t.d.side.Region).allow() {
			p.tally.failed.Add(1) // the region is reported once, as a whole
			p.e.o.Progress.Region(t.d.side.Region).Failed()
			continue
		}
		if layout, err := p.layout(ctx, t.d, it.entry.Size); err == nil && layout.Count() > 0 {
			cut = append(cut, t)
		} else {
			whole = append(whole, t)
		}
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
	if transport.Is(err, transport.Changed) && t.tries < maxVersions {
		t.tries++
		it.sendAgain(t)
		return
	}
	switch transport.ClassOf(err) {
	case transport.Transient, transport.Throttled, transport.Corrupt:
		if t.d.late != nil && !t.final && ctx.Err() == nil {
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
	p.failed(ctx, it, t.d, err)
}

// read opens the source's current version for targets. ok is false when there is
// nothing to send: it is gone, or of a kind that is not carried.
func (p *pass) read(ctx context.Context, it *item, targets []target) (obj transport.Object, rc io.ReadCloser, ok bool, err error) {
	obj, rc, err = p.src.Open(ctx, p.job.From.Container, it.name, transport.OpenOptions{Length: -1})
	if transport.Is(err, transport.NotFound) {
		return obj, nil, false, p.vanished(ctx, it, targets)
	}
	if err != nil {
		for _, t := range targets {
			p.failed(ctx, it, t.d, err)
		}
		return obj, nil, false, context.Cause(ctx)
	}
	if why := carries(obj); why != "" {
		if rc != nil {
			rc.Close()
		}
		it.version = versionOf(obj)
		for _, t := range targets {
			p.cannot(it, t.d, why)
		}
		return obj, nil, false, nil
	}
	if obj.ETag != it.version.ETag {
		it.version, it.entry = versionOf(obj), withSize(it.entry, obj.Size)
		for _, t := range targets {
			if err := p.begin(ctx, it, t.d); err != nil {
				rc.Close()
				return obj, nil, false, err
			}
		}
	}
	it.version = versionOf(obj)
	return obj, rc, true, nil
}

func versionOf(o transport.Object) store.Version {
	return store.Version{ETag: o.ETag, Modified: micros(o.Modified)}
}

func withSize(e *transport.Entry, n int64) *transport.Entry {
	c := *e
	c.Size = n
	return &c
}

// vanished forgets the intents of an object that is gone since it was listed;
// the next listing lacks it, and the rules of deletes take over.
func (p *pass) vanished(_ context.Context, it *item, targets []target) error {
	for _, t := range targets {
		p.e.o.Ledger.DropIntent(t.d.info.ID, it.name)
	}
	return nil
}

// carries says why an object cannot be kept exactly; "" if it can.
func carries(o transport.Object) string {
	if o.Kind != transport.Plain {
		return string(o.Kind)
	}
	if len(o.ETag) != 32 || strings.Trim(o.ETag, "0123456789abcdef") != "" {
		return "its region gives no MD5 of it (ETag " + o.ETag + ")"
	}
	return ""
}

// alone copies to one destination with the full patience of the retry layer.
func (p *pass) alone(ctx context.Context, it *item, t target) error {
	free, err := p.e.budget.hold(ctx, min(max(it.entry.Size, 64<<10), streamMemory))
	if err != nil {
		return err
	}
	defer free()
	slot, err := p.e.budget.stream(ctx)
	if err != nil {
		return err
	}
	defer slot()
	obj, rc, ok, err := p.read(ctx, it, []target{t})
	if !ok {
		return err
	}
	body := transport.Body{Size: obj.Size, MD5: obj.ETag}
	sum := &summer{}
	if obj.Size <= bufferUpTo {
		data, err := p.readAll(rc, obj.Size)
		if err != nil {
			p.failed(ctx, it, t.d, err)
			return context.Cause(ctx)
		}
		sum.write(data)
		body.Open = p.counted(t.d, func() (io.Reader, error) { return bytes.NewReader(data), nil })
	} else {
		defer func() { rc.Close() }()
		first := true
		body.Open = p.counted(t.d, func() (io.Reader, error) {
			if !first {
				rc.Close()
				_, again, err := p.src.Open(ctx, p.job.From.Container, it.name, transport.OpenOptions{Length: -1, ETag: obj.ETag})
				if err != nil {
					return nil, err
				}
				rc = again
			}
			first = false
			sum.reset()
			return io.TeeReader(p.counting64(rc), sum), nil
		})
	}
	return p.put(ctx, it, t, obj, body, sum)
}

// together reads once and sends to several destinations at the same time. Each
// gets one try; who fails tries again alone.
func (p *pass) together(ctx context.Context, it *item, targets []target) error {
	n := int64(len(targets))
	free, err := p.e.budget.hold(ctx, min(max(it.entry.Size, 64<<10), streamMemory*n))
	if err != nil {
		return err
	}
	defer free()
	slot, err := p.e.budget.stream(ctx)
	if err != nil {
		return err
	}
	defer slot()
	obj, rc, ok, err := p.read(ctx, it, targets)
	if !ok {
		return err
	}
	sum := &summer{}
	bodies := make([]func() (io.Reader, error), len(targets))
	var streams *tee
	if obj.Size <= bufferUpTo {
		data, err := p.readAll(rc, obj.Size)
		if err != nil {
			for _, t := range targets {
				p.failed(ctx, it, t.d, err)
			}
			return context.Cause(ctx)
		}
		sum.write(data)
		for i := range targets {
			bodies[i] = func() (io.Reader, error) { return bytes.NewReader(data), nil }
		}
	} else {
		streams = newTee(len(targets), p.e.o.Clock)
		for i := range targets {
			bodies[i] = func() (io.Reader, error) { return streams.outs[i], nil }
		}
		pumped := make(chan struct{})
		go func() {
			defer close(pumped)
			defer rc.Close()
			streams.pump(ctx, io.TeeReader(p.counting64(rc), sum))
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
	h := p.stamped(obj, t.d)
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
		case transport.Is(err, transport.NotFound):
			// the container went away: make it again, once
			if cerr := t.d.ep.CreateContainer(ctx, t.d.side.Container); cerr != nil {
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
	if err != nil && ctx.Err() == nil && !regionTrouble(err) {
		return err
	}
	if err != nil {
		p.later(ctx, it, t, err)
	}
	return context.Cause(ctx)
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
	case there.ETag == etag && there.Size == obj.Size:
		p.done(it, t.d, obj, store.Replica{ETag: etag, Written: micros(there.Modified), Adopted: !slices.Contains(t.known, etag)}, sum)
		return false, nil
	case slices.Contains(t.known, there.ETag), p.job.Policy.Takeover:
		t.ifAbsent = false
		return true, nil
	}
	p.conflict(it, t.d, there.ETag)
	return false, nil
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
	p.tally.copied.Add(1)
	p.e.o.Progress.Region(d.side.Region).Done()
	it.confirmed(d.side.Region)
}

// asksFirst reports whether a destination ignores If-None-Match, so that it must
// be asked before a new name is written (R17).
func (p *pass) asksFirst(ctx context.Context, d *dest) bool {
	a, err := p.e.abilitiesOf(ctx, d.side.Region)
	return err == nil && a.IfNoneMatch == transport.No
}

// expired reports whether an object's X-Delete-At has passed: it is as good as gone.
func (p *pass) expired(o transport.Object) bool {
	var at int64
	if _, err := fmt.Sscan(o.Header["X-Delete-At"], &at); err != nil {
		return false
	}
	return p.e.o.Clock.Now().After(time.Unix(at, 0))
}

// stamped gives an object's headers with the origin stamp (R15).
func (p *pass) stamped(o transport.Object, d *dest) transport.Header {
	h := o.Header.Clone()
	stamp := fmt.Sprintf("%s %d %s", p.job.From.Region, micros(o.Modified), o.ETag)
	count, size := 1, len(transport.OriginHeader)-len(metaPrefix)+len(stamp)
	for k, v := range h {
		if strings.HasPrefix(k, metaPrefix) {
			count++
			size += len(k) - len(metaPrefix) + len(v)
		}
	}
	if count > maxMeta || size > maxMetaBytes {
		p.findings.Add(report.Finding{Kind: report.KindStamp, Level: report.Info, Policy: p.job.Policy.Name, Region: d.side.Region, Container: d.side.Container, Name: p.destName(d, o.Name),
			Op: "stamp", Cause: "the object's own metadata leaves no room for the origin stamp", Hint: "nothing to do; a lost ledger is rebuilt for it by content alone"})
		return h
	}
	h[transport.OriginHeader] = stamp
	return h
}

// Swift's default limits of X-Object-Meta headers.
const (
	metaPrefix   = "X-Object-Meta-"
	maxMeta      = 90
	maxMetaBytes = 4096
)

func (p *pass) readAll(rc io.ReadCloser, size int64) ([]byte, error) {
	defer rc.Close()
	data := make([]byte, size)
	if _, err := io.ReadFull(rc, data); err != nil {
		return nil, fmt.Errorf("read source: %w", err)
	}
	// the reader checks length and digest when it says EOF
	if n, err := io.CopyN(io.Discard, rc, 1); err != io.EOF {
		return nil, fmt.Errorf("read source: %d bytes more than announced: %w", n, err)
	}
	p.e.o.Progress.Read(len(data))
	p.tally.read.Add(size)
	return data, nil
}

// counting64 counts bytes read from the source.
func (p *pass) counting64(r io.Reader) io.Reader {
	return readFunc(func(b []byte) (int, error) {
		n, err := r.Read(b)
		p.e.o.Progress.Read(n)
		p.tally.read.Add(int64(n))
		return n, err
	})
}

// counted counts payload bytes handed to a destination, and those handed to it
// again because an earlier try failed.
func (p *pass) counted(d *dest, open func() (io.Reader, error)) func() (io.Reader, error) {
	progress := p.e.o.Progress.Region(d.side.Region)
	last := int64(0)
	return func() (io.Reader, error) {
		r, err := open()
		if err != nil {
			return nil, err
		}
		p.tally.sentTwice.Add(last)
		last = 0
		return readFunc(func(b []byte) (int, error) {
			n, err := r.Read(b)
			last += int64(n)
			progress.Sent(int64(n))
			p.tally.sent(d.side.Region, int64(n))
			return n, err
		}), nil
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }

// summer is the SHA-256 of what went by, and how much it was.
type summer struct {
	mu sync.Mutex
	h  hash.Hash
	n  int64
}

func (s *summer) reset() {
	s.mu.Lock()
	s.h, s.n = sha256.New(), 0
	s.mu.Unlock()
}

func (s *summer) write(b []byte) { _, _ = s.Write(b) }

func (s *summer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.h == nil {
		s.h = sha256.New()
	}
	s.h.Write(b)
	s.n += int64(len(b))
	return len(b), nil
}

// sum is the digest if exactly size bytes went by, else nil.
func (s *summer) sum(size int64) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n != size {
		return nil
	}
	if s.h == nil {
		s.h = sha256.New()
	}
	return s.h.Sum(nil)
}

// sweepLater removes what an abandoned segmented transfer left, beside the walk.
func (p *pass) sweepLater(d *dest, name string) {
	p.start(func(ctx context.Context) error {
		if err := p.sweep(ctx, d, name); err != nil {
			p.e.o.Log.Warn("segments left behind; they expire by themselves", "region", d.side.Region, "name", name, "err", err)
		}
		return nil
	})
}

// sweep removes all hidden segments of a destination name.
func (p *pass) sweep(ctx context.Context, d *dest, name string) error {
	prefix := chunk.ItemPrefix(d.side.Container, p.destName(d, name))
	var names []string
	err := d.ep.List(ctx, segmentContainer, transport.Range{Prefix: prefix}, func(page []transport.Entry) error {
		for _, e := range page {
			names = append(names, e.Name)
		}
		return nil
	})
	if transport.Is(err, transport.NotFound) {
		return nil
	}
	if err != nil || len(names) == 0 {
		return err
	}
	return d.ep.DeleteMany(ctx, segmentContainer, names)
}
