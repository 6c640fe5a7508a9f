package replicator

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // Swift's checksum
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
	"farshore/transport/chunk"
)

const (
	// segmentContainer holds the segments of objects on their way (R12).
	segmentContainer = ".farshore-segments"
	// segmentLife is how long an abandoned segment lies before it removes itself;
	// a transfer begun longer ago than resumeWithin starts anew.
	segmentLife  = 7 * 24 * time.Hour
	resumeWithin = 4 * 24 * time.Hour
	// giveUpCollapse is how many collapses in a row may fail in a region before
	// its large objects stay segmented (R11).
	giveUpCollapse = 2
)

var errDigest = errors.New("the bytes read do not have the MD5 that the source announced")

// large copies an object in chunks: each is read once, hashed, sent to every
// destination as a segment, and kept until all confirmed it; when the whole has
// the source's MD5 it is made visible (design §2).
func (p *pass) large(ctx context.Context, it *item, targets []target) error {
	obj, err := p.src.Head(ctx, p.job.From.Container, it.name)
	if transport.Is(err, transport.NotFound) {
		return p.vanished(ctx, it, targets)
	}
	if err != nil {
		return p.unread(ctx, it, targets, err)
	}
	if obj.Kind != it.entry.Kind {
		_, err := p.became(ctx, it, obj, targets)
		return err
	}
	if why := carries(obj); why != "" {
		it.version = versionOf(obj)
		for _, t := range targets {
			p.cannot(it, t.d, why)
		}
		return nil
	}
	if obj.Size <= p.job.Policy.Large.Over { // it shrank since it was listed
		it.version, it.entry = versionOf(obj), withSize(it.entry, obj.Size)
		for _, t := range targets {
			if err := p.begin(ctx, it, t.d); err != nil {
				return err
			}
			it.sendAgain(t)
		}
		return nil
	}
	moved := versionOf(obj) != it.version
	it.version, it.entry = versionOf(obj), withSize(it.entry, obj.Size)
	tr := &transfer{p: p, it: it, obj: obj}
	for _, t := range targets {
		s, layout, err := p.newSender(ctx, it, t, moved)
		if err != nil {
			if err := p.ended(ctx, it, t, err); err != nil {
				return err
			}
			continue
		}
		if tr.layout.Count() == 0 {
			tr.layout = layout
		}
		if layout != tr.layout { // cut otherwise by an earlier run: it goes on by itself
			if err := p.large(ctx, it, []target{t}); err != nil {
				return err
			}
			continue
		}
		tr.senders = append(tr.senders, s)
	}
	if len(tr.senders) == 0 {
		return nil
	}
	err = tr.send(ctx)
	if err == nil {
		err = tr.land(ctx)
	}
	for _, s := range tr.senders {
		if s.err != nil {
			if err := p.ended(ctx, it, s.t, s.err); err != nil {
				return err
			}
		} else if err != nil {
			if err := p.ended(ctx, it, s.t, err); err != nil {
				return err
			}
		}
	}
	return context.Cause(ctx)
}

// newSender prepares a destination: the intent, the segments that are there
// already, the container for the others.
func (p *pass) newSender(ctx context.Context, it *item, t target, moved bool) (*sender, chunk.Layout, error) {
	l := p.e.o.Ledger
	in, ok, err := l.Intent(t.d.info.ID, it.name)
	if err != nil {
		return nil, chunk.Layout{}, err
	}
	old := ok && p.e.o.Clock.Now().Sub(time.UnixMicro(in.Began)) > resumeWithin
	if !ok || moved && in.Version != it.version || old || in.Layout.Size != it.entry.Size {
		if ok {
			if err := p.sweep(ctx, t.d, it.name); err != nil {
				return nil, chunk.Layout{}, err
			}
			l.DropIntent(t.d.info.ID, it.name)
		}
		if err := p.begin(ctx, it, t.d); err != nil {
			return nil, chunk.Layout{}, err
		}
		if in, _, err = l.Intent(t.d.info.ID, it.name); err != nil {
			return nil, chunk.Layout{}, err
		}
	}
	s := &sender{t: t, have: map[int][16]byte{}, container: segmentContainer,
		prefix: chunk.Prefix(t.d.side.Container, p.destName(t.d, it.name), in.Version.ETag, in.Version.Modified, in.Layout)}
	if s.exact, err = p.collapses(ctx, t.d, it.entry.Size); err != nil {
		return nil, chunk.Layout{}, err
	}
	if !s.exact {
		s.container = t.d.side.Container + "_segments"
	}
	chunks, _, err := l.Chunks(t.d.info.ID, it.name)
	if err != nil {
		return nil, chunk.Layout{}, err
	}
	for _, c := range chunks {
		s.have[c.Index] = c.MD5
	}
	s.resumed = len(chunks) > 0
	if !s.exact {
		return s, in.Layout, p.e.ensureSegments(ctx, t.d.side.Region, t.d.side.Container, s.container)
	}
	return s, in.Layout, p.e.ensureContainer(ctx, t.d.side.Region, s.container)
}

// collapses reports whether a destination turns segments into a plain object.
func (p *pass) collapses(ctx context.Context, d *dest, size int64) (bool, error) {
	if p.job.Policy.Large.As == policies.Segmented {
		return false, nil
	}
	a, err := p.e.abilitiesOf(ctx, d.side.Region)
	if err != nil {
		return false, err
	}
	why := ""
	p.e.mu.Lock()
	failures := p.e.noCopy[d.side.Region]
	p.e.mu.Unlock()
	switch {
	case a.MaxObject > 0 && size > a.MaxObject:
		why = fmt.Sprintf("it is larger than one object may be there (%d bytes)", a.MaxObject)
	case a.CopyCollapses == transport.No || a.CopyETag == transport.No:
		why = "the region's server-side copy does not make a checked plain object of segments"
	case failures >= giveUpCollapse:
		why = "server-side copies failed repeatedly in the region"
	default:
		return true, nil
	}
	p.findings.Add(report.Finding{Kind: report.KindDegraded, Level: report.Warn, Policy: p.job.Policy.Name, Region: d.side.Region, Container: d.side.Container, Op: "collapse",
		Cause: "a large object stays segmented: " + why, Hint: "set large: {as: segmented} to make this the rule, or run farshore region check " + d.side.Region + " --probe"})
	return false, nil
}

// send reads and sends every chunk that some destination lacks.
func (tr *transfer) send(ctx context.Context) error {
	p, n := tr.p, tr.layout.Count()
	for _, s := range tr.senders {
		if s.resumed { // it may have landed before the ledger heard of it
			there, err := s.t.d.ep.Head(ctx, s.t.d.side.Container, p.destName(s.t.d, tr.it.name))
			if err == nil && there.ETag == tr.obj.ETag && there.Size == tr.obj.Size {
				s.fail(errLanded)
				tr.landed(ctx, s, transport.Receipt{ETag: there.ETag, Modified: there.Modified})
				continue
			}
			if err != nil && !transport.Is(err, transport.NotFound) {
				s.fail(err)
				continue
			}
		}
		_, h, err := p.e.o.Ledger.Chunks(s.t.d.info.ID, tr.it.name)
		if err != nil {
			return err
		}
		if h.Chunks > tr.state.Chunks {
			tr.state = h
		}
	}
	if !tr.anyAlive() {
		return tr.clearLanded()
	}
	if err := tr.restoreHashes(); err != nil {
		return err
	}
	first := tr.state.Chunks
	tr.ready = make([]chan *piece, n)
	for i := first; i < n; i++ {
		tr.ready[i] = make(chan *piece, 1)
	}
	window := min(int(p.e.o.Limits.Memory/max(tr.layout.Chunk, 1)), p.e.o.Limits.Streams)
	tr.reads = make(chan struct{}, max(window/2, 1))
	g, sending := errgroup.WithContext(ctx)
	g.Go(func() error { return tr.digest(sending, first, n) })
	g.Go(func() error { return tr.feed(sending, g, first, n) })
	if err := g.Wait(); err != nil {
		return err
	}
	if !tr.anyAlive() {
		return nil
	}
	if got := hex.EncodeToString(tr.md5.Sum(nil)); got != tr.obj.ETag {
		for _, s := range tr.senders { // which chunk is wrong cannot be told: start anew
			p.forget(ctx, s.t.d, tr.it.name)
		}
		return &transport.Error{Op: "get", Region: p.job.From.Region, Container: p.job.From.Container, Name: tr.it.name, Class: transport.Corrupt,
			Err: fmt.Errorf("%w: %s, not %s", errDigest, got, tr.obj.ETag)}
	}
	return tr.clearLanded()
}

var errLanded = errors.New("landed before")

// clearLanded lets senders that had landed before be seen as done.
func (tr *transfer) clearLanded() error {
	var rest []*sender
	for _, s := range tr.senders {
		if !errors.Is(s.err, errLanded) {
			rest = append(rest, s)
		}
	}
	tr.senders = rest
	return nil
}

func (tr *transfer) anyAlive() bool {
	for _, s := range tr.senders {
		if s.alive() {
			return true
		}
	}
	return false
}

// feed starts the chunks in order, as memory and streams allow.
func (tr *transfer) feed(ctx context.Context, g *errgroup.Group, first, n int) error {
	for i := range n {
		if !tr.anyAlive() {
			return nil
		}
		need := i >= first
		for _, s := range tr.senders {
			need = need || s.alive() && !s.has(i)
		}
		if !need {
			continue
		}
		x := tr.layout.Extent(i)
		free, err := tr.p.e.budget.hold(ctx, x.Length)
		if err != nil {
			return err
		}
		slot, err := tr.p.e.budget.stream(ctx)
		if err != nil {
			free()
			return err
		}
		g.Go(func() error {
			defer slot()
			return tr.chunk(ctx, x, free, i >= first)
		})
	}
	return nil
}

// chunk reads one extent and sends it to every destination that lacks it.
func (tr *transfer) chunk(ctx context.Context, x chunk.Extent, free func(), digest bool) error {
	c := &piece{refs: 1, free: free, buffer: &tr.p.e.buffers}
	defer c.done()
	p := tr.p
	select {
	case tr.reads <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := tr.readChunk(ctx, c, x); err != nil {
		<-tr.reads
		return err
	}
	<-tr.reads
	sum := md5.Sum(c.data) //nolint:gosec // Swift's checksum
	if digest {
		c.refs++
		tr.ready[x.Index] <- c
	}
	var wanting []*sender
	for _, s := range tr.senders {
		if s.alive() && !s.has(x.Index) {
			wanting = append(wanting, s)
		}
	}
	var g errgroup.Group
	slow, stop := context.WithCancelCause(ctx)
	var firstDone sync.Once
	var watch sync.WaitGroup
	defer watch.Wait()
	defer stop(nil)
	began := p.e.o.Clock.Now()
	for _, s := range wanting {
		g.Go(func() error {
			err := tr.sendChunk(ctx, slow, s, x, sum, c.data, len(wanting) > 1)
			if err == nil && len(wanting) > 1 {
				firstDone.Do(func() { watch.Go(func() { tr.hurry(slow, stop, began) }) })
			}
			if err != nil {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if !regionTrouble(err) {
					return err // the ledger's
				}
				if transport.Is(err, transport.Canceled) && errors.Is(context.Cause(slow), errFellBehind) {
					err = &transport.Error{Op: "put", Region: s.t.d.side.Region, Container: s.container, Name: chunk.SegmentName(s.prefix, x.Index), Class: transport.Transient,
						Err: errFellBehind} // it tries again alone
				}
				s.fail(err)
			}
			return nil
		})
	}
	return g.Wait()
}

// readChunk reads one extent of the pinned version into a buffer.
func (tr *transfer) readChunk(ctx context.Context, c *piece, x chunk.Extent) error {
	p := tr.p
	_, rc, err := p.src.Open(ctx, p.job.From.Container, tr.it.name, transport.OpenOptions{ETag: tr.obj.ETag, Offset: x.Offset, Length: x.Length})
	if err != nil {
		return err
	}
	defer rc.Close()
	if b, ok := p.e.buffers.Get().(*[]byte); ok && int64(cap(*b)) >= x.Length {
		c.data = (*b)[:x.Length]
	} else {
		c.data = make([]byte, x.Length)
	}
	if _, err := io.ReadFull(p.countRead(rc), c.data); err != nil {
		return fmt.Errorf("read chunk %d of the source: %w", x.Index, err)
	}
	return nil
}

// hurry gives the other destinations of a chunk as long again as the fastest
// took, and patience, before they are detached from this object (R13).
func (tr *transfer) hurry(ctx context.Context, stop context.CancelCauseFunc, began time.Time) {
	clock := tr.p.e.o.Clock
	t := clock.NewTimer(max(patience, 3*clock.Now().Sub(began)))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C():
		stop(errFellBehind)
	}
}

// sendChunk sends one segment, while slow lasts, and makes its receipt durable.
func (tr *transfer) sendChunk(ctx, slow context.Context, s *sender, x chunk.Extent, sum [16]byte, data []byte, beside bool) error {
	p := tr.p
	body := transport.Body{Size: x.Length, MD5: hex.EncodeToString(sum[:]), Once: beside,
		Open: p.counted(s.t.d, func() (io.Reader, error) { return bytes.NewReader(data), nil })}
	o := transport.PutOptions{Header: transport.Header{"Content-Type": "application/octet-stream"}}
	if s.exact {
		o.DeleteAfter = segmentLife
	}
	lctx := p.e.budget.limit(slow, p.job.Policy, p.job.From.Region, s.t.d.side.Region)
	rec, err := s.t.d.ep.Put(lctx, s.container, chunk.SegmentName(s.prefix, x.Index), body, o)
	if err != nil && beside && transport.Is(err, transport.Transient) && slow.Err() == nil {
		rec, err = s.t.d.ep.Put(lctx, s.container, chunk.SegmentName(s.prefix, x.Index), body, o)
	}
	if err != nil {
		return err
	}
	if rec.ETag != body.MD5 {
		return &transport.Error{Op: "put", Region: s.t.d.side.Region, Container: s.container, Name: chunk.SegmentName(s.prefix, x.Index), Class: transport.Corrupt,
			Err: fmt.Errorf("the destination answered ETag %s for content with MD5 %s", rec.ETag, body.MD5)}
	}
	tr.mu.Lock()
	state := tr.state
	tr.mu.Unlock()
	if err := p.e.o.Ledger.ChunkDone(ctx, s.t.d.info.ID, tr.it.name, store.ChunkRecord{Index: x.Index, MD5: sum}, &state); err != nil {
		return err
	}
	s.mu.Lock()
	s.have[x.Index] = sum
	s.mu.Unlock()
	return nil
}

// restoreHashes takes up the digests of the whole where an earlier run left them.
func (tr *transfer) restoreHashes() error {
	tr.md5, tr.sha = md5.New(), sha256.New() //nolint:gosec // Swift's checksum
	if tr.state.Chunks == 0 {
		return nil
	}
	for _, x := range []struct {
		h    hash.Hash
		data []byte
	}{{tr.md5, tr.state.MD5}, {tr.sha, tr.state.SHA256}} {
		if err := x.h.(encoding.BinaryUnmarshaler).UnmarshalBinary(x.data); err != nil {
			return fmt.Errorf("restore digest state from the ledger: %w", err)
		}
	}
	return nil
}

// digest lets the chunks pass, in order, through the digests of the whole.
func (tr *transfer) digest(ctx context.Context, first, n int) error {
	for i := first; i < n; i++ {
		if !tr.anyAlive() {
			return nil
		}
		select {
		case c := <-tr.ready[i]:
			tr.md5.Write(c.data)
			tr.sha.Write(c.data)
			c.done()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		m, err := tr.md5.(encoding.BinaryMarshaler).MarshalBinary()
		if err != nil {
			return fmt.Errorf("save digest state: %w", err)
		}
		s, err := tr.sha.(encoding.BinaryMarshaler).MarshalBinary()
		if err != nil {
			return fmt.Errorf("save digest state: %w", err)
		}
		tr.mu.Lock()
		tr.state = store.HashState{Chunks: i + 1, MD5: m, SHA256: s}
		tr.mu.Unlock()
	}
	return nil
}
