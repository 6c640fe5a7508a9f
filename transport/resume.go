package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// resuming reads one version of an object over as many requests as it takes.
type resuming struct {
	ctx context.Context // of Open: it bounds the whole reading
	r   *retrier
	b   *budget
	o   OpenOptions // of the next request: offset and length move on, the ETag is pinned
	end int64       // offset after the last byte

	mu     sync.Mutex // Close may come while Read waits
	body   io.ReadCloser
	closed bool
	failed error
}

func newResuming(ctx context.Context, r *retrier, b *budget, obj Object, body io.ReadCloser, o OpenOptions) *resuming {
	end := obj.Size
	if o.Length >= 0 {
		end = min(end, o.Offset+o.Length)
	}
	o.ETag = obj.ETag
	b.refill()
	b.total = 0
	return &resuming{ctx: ctx, r: r, b: b, o: o, end: max(end, o.Offset), body: body}
}

// Read implements io.Reader. An end before the last byte is a failure, and
// resumed like one.
func (s *resuming) Read(p []byte) (int, error) {
	if s.failed != nil {
		return 0, s.failed
	}
	for {
		body, err := s.current()
		if err != nil {
			return 0, err
		}
		if body == nil {
			if err := s.reopen(); err != nil {
				s.failed = err
				return 0, err
			}
			continue
		}
		n, err := body.Read(p)
		if n > 0 {
			s.o.Offset += int64(n)
			s.b.refill()
		}
		if s.o.Offset > s.end {
			s.failed = s.error(Corrupt, fmt.Errorf("more bytes came than the object has"))
			return n, s.failed
		}
		if err == nil {
			return n, nil
		}
		if s.o.Offset == s.end && (errors.Is(err, io.EOF) || passing(err)) {
			s.failed = io.EOF // every byte is here, whatever became of the connection
			return n, io.EOF
		}
		if s.o.Offset == s.end { // all of it came and is refused as a whole: only a new reading can help
			s.failed = err
			return n, err
		}
		if err = s.interrupted(err); err != nil {
			s.failed = err
			return n, err
		}
		if n > 0 {
			return n, nil
		}
	}
}

func (s *resuming) current() (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("read of a closed reader")
	}
	return s.body, nil
}

// interrupted ends the present request and waits, or says why not to go on.
func (s *resuming) interrupted(err error) error {
	s.mu.Lock()
	if s.body != nil {
		_ = s.body.Close()
		s.body = nil
	}
	s.mu.Unlock()
	if errors.Is(err, io.EOF) {
		err = s.error(Transient, fmt.Errorf("the bytes ended at %d of %d: %w", s.o.Offset, s.end, io.ErrUnexpectedEOF))
	}
	var known *Error
	if passing(err) && !errors.As(err, &known) {
		err = s.error(Transient, err)
	}
	return s.b.failed(s.ctx, err)
}

// passing reports whether an error of a body may go away. One without a class
// comes from below the endpoint, as the connection's.
func passing(err error) bool {
	switch ClassOf(err) {
	case Transient, Throttled:
		return true
	case Permanent:
		var known *Error
		return !errors.As(err, &known)
	}
	return false
}

// reopen asks for the rest. It takes no slot: a stream that has begun must be able
// to end, or two regions that copy to each other could wait for each other for ever.
func (s *resuming) reopen() error {
	for {
		if cause := s.r.link.WaitPause(s.ctx); cause != nil {
			return s.b.canceled(cause, nil)
		}
		o := s.o
		if o.Length >= 0 {
			o.Length = s.end - o.Offset
		}
		began := s.r.p.Clock.Now()
		obj, body, err := s.r.ep.Open(s.ctx, s.b.at.Container, s.b.at.Name, o)
		s.r.link.Report(began, Result{Err: err})
		if err == nil {
			if err = s.same(obj, body); err == nil {
				return s.adopt(body)
			}
			if body != nil {
				_ = body.Close()
			}
		}
		if err = s.b.failed(s.ctx, err); err != nil {
			return err
		}
	}
}

// same checks that the reply continues the version that was begun.
func (s *resuming) same(obj Object, body io.ReadCloser) error {
	if body == nil || obj.ETag != s.o.ETag {
		return s.error(Changed, errors.New("the object was replaced while it was read"))
	}
	return nil
}

func (s *resuming) adopt(body io.ReadCloser) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = body.Close()
		return errors.New("read of a closed reader")
	}
	s.body = body
	return nil
}

func (s *resuming) error(c Class, err error) error {
	at := s.b.at
	return &Error{Op: at.Op, Region: at.Region, Container: at.Container, Name: at.Name, Class: c, Err: err}
}

// Close implements io.Closer.
func (s *resuming) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.body == nil {
		return nil
	}
	body := s.body
	s.body = nil
	return body.Close()
}

// unknown is the error of a call whose outcome could not be found out.
func (b *budget) unknown(lost error, waited time.Duration) error {
	return &Error{Op: b.at.Op, Region: b.at.Region, Container: b.at.Container, Name: b.at.Name, Class: Transient,
		Err: fmt.Errorf("its reply was lost and the object has not appeared within %v: %w", waited, lost)}
}
