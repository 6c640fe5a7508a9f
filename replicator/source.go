package replicator

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"strings"
	"sync"
	"time"

	"farshore/replicator/audit"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// source is an object as it was opened: its whole content in data if it is small,
// else a stream that has begun.
type source struct {
	obj    transport.Object
	data   []byte
	stream io.ReadCloser // nil: data is all
}

// read opens the source's current version for targets. A nil source without an
// error means that there is nothing to send: it is gone, of a kind that is not
// carried, or could not be read, which is reported.
func (p *pass) read(ctx context.Context, it *item, targets []target) (*source, error) {
	var src *source
	var err error
	for range 3 { // what was damaged on the way is read again
		if src, err = p.openSource(ctx, it); !transport.Is(err, transport.Corrupt) {
			break
		}
	}
	if transport.Is(err, transport.NotFound) {
		return nil, p.vanished(ctx, it, targets)
	}
	if err != nil {
		return nil, p.unread(ctx, it, targets, err)
	}
	p.e.breaker(p.job.From.Region).note(nil)
	obj := src.obj
	if obj.Kind != it.entry.Kind {
		src.close()
		_, err := p.became(ctx, it, obj, targets)
		return nil, err
	}
	if why := carries(obj); why != "" {
		it.version = versionOf(obj)
		for _, t := range targets {
			p.cannot(it, t.d, why)
		}
		return nil, nil
	}
	changed := obj.ETag != it.version.ETag
	it.version = versionOf(obj)
	if changed {
		it.entry = withSize(it.entry, obj.Size)
		for _, t := range targets {
			if err := p.begin(ctx, it, t.d); err != nil {
				src.close()
				return nil, err
			}
		}
	}
	return src, nil
}

// unread reports an object whose source could not be read. When the source region
// as a whole does not answer, the pass ends: nothing can be copied from it.
func (p *pass) unread(ctx context.Context, it *item, targets []target, err error) error {
	b := p.e.breaker(p.job.From.Region)
	b.note(err)
	if ctx.Err() == nil && b.isOpen() {
		return fmt.Errorf("the source stopped answering: %w", err)
	}
	for _, t := range targets {
		p.failed(ctx, it, t.d, err)
	}
	return context.Cause(ctx)
}

func (s *source) close() {
	if s.stream != nil {
		s.stream.Close()
		s.stream = nil
	}
}

// openSource opens an object and, if it is small, reads it whole.
func (p *pass) openSource(ctx context.Context, it *item) (*source, error) {
	// A stream is not digested here: every destination checks it against the ETag
	// and, where it does not agree, it is read again.
	unchecked := it.entry.Size > bufferUpTo
	obj, rc, err := p.src.Open(ctx, p.job.From.Container, it.name, transport.OpenOptions{Length: -1, Unchecked: unchecked})
	if err != nil {
		return nil, err
	}
	src := &source{obj: obj, stream: rc}
	if carries(obj) != "" || obj.Kind != it.entry.Kind || rc == nil {
		src.close()
		return src, nil
	}
	if obj.ETag == it.version.ETag && obj.Size != it.entry.Size {
		src.close()
		return nil, p.corrupt(it, fmt.Errorf("the reply announces %d bytes, the listing %d for the same ETag", obj.Size, it.entry.Size))
	}
	if obj.Size > bufferUpTo {
		return src, nil
	}
	src.stream = nil
	defer rc.Close()
	// one byte more than announced, so that the reader says whether length and digest are right
	buf := make([]byte, obj.Size+1)
	n, err := io.ReadFull(p.countRead(rc), buf)
	switch {
	case err == nil, n < int(obj.Size) && (err == io.EOF || err == io.ErrUnexpectedEOF): //nolint:errorlint // ReadFull's own, bare
		err = p.corrupt(it, fmt.Errorf("%d bytes or more came of %d announced", n, obj.Size))
	case err == io.EOF || err == io.ErrUnexpectedEOF: //nolint:errorlint // ReadFull's own, bare
		err = nil
	}
	src.data = buf[:n]
	return src, err
}

func (p *pass) corrupt(it *item, err error) error {
	return &transport.Error{Op: "get", Region: p.job.From.Region, Container: p.job.From.Container, Name: it.name, Class: transport.Corrupt, Err: err}
}

func versionOf(o transport.Object) store.Version {
	return store.Version{ETag: o.ETag, Modified: micros(o.Modified)}
}

func withSize(e *transport.Entry, n int64) *transport.Entry {
	c := *e
	c.Size = n
	return &c
}

// vanished gives up the intents of an object that is gone since it was listed;
// the next listing lacks it, and the rules of deletes take over.
func (p *pass) vanished(ctx context.Context, it *item, targets []target) error {
	for _, t := range targets {
		in, ok, err := p.e.o.Ledger.Intent(t.d.info.ID, it.name)
		if err == nil && ok {
			err = p.abandon(ctx, t.d, in)
		}
		if err != nil {
			return err
		}
		p.e.o.Lag.Gone(p.lagItem(t.d.side.Region, it.name))
	}
	it.mu.Lock()
	it.gone = true
	it.mu.Unlock()
	return nil
}

// carries says why an object cannot be kept exactly; "" if it can.
func carries(o transport.Object) string {
	if len(o.ETag) != 32 || strings.Trim(o.ETag, "0123456789abcdef") != "" {
		return "its region gives no MD5 of it (ETag " + o.ETag + ")"
	}
	return ""
}

// expired reports whether an object's X-Delete-At has passed: it is as good as gone.
func (p *pass) expired(o transport.Object) bool {
	var at int64
	if o.Header["X-Delete-At"] == "" {
		return false
	}
	if _, err := fmt.Sscan(o.Header["X-Delete-At"], &at); err != nil {
		return false
	}
	return p.e.o.Clock.Now().After(time.Unix(at, 0))
}

// stamped gives an object's headers with the origin stamp (R15), never with the one that
// the source's object has itself. On the way back to the region that it came from it gets
// none. In a container with versions it does: by it a write that was tried again is told
// from an older version with the same bytes.
func (p *pass) stamped(o transport.Object, d *dest) transport.Header {
	h := p.mapped(o.Header, d)
	if p.relays {
		return h
	}
	delete(h, transport.OriginHeader)
	origin, known := audit.ReadOrigin(o.Header)
	if !p.job.Policy.Stamp || known && origin.Region == d.side.Region && p.histories == nil {
		return h
	}
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

// countRead counts bytes read from the source.
func (p *pass) countRead(r io.Reader) io.Reader {
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
