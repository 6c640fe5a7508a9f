package transport_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"farshore/transport"
)

// part is a body that gives the bytes up to a cut and then an error.
type part struct {
	io.Reader
	err    error
	closed *int
}

func (p part) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if err == io.EOF && p.err != nil {
		err = p.err
	}
	return n, err
}

func (p part) Close() error { *p.closed++; return nil }

func TestReaderResumes(t *testing.T) {
	content := []byte(strings.Repeat("0123456789abcdef", 1000))
	object := transport.Object{Size: int64(len(content)), ETag: "e1"}
	for _, c := range []struct {
		name           string
		offset, length int64
		cut            error // nil: a clean, early EOF
	}{
		{"reset", 0, -1, &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}},
		{"classed", 0, -1, failure(transport.Transient, 0)},
		{"unclassed", 0, -1, errors.New("chunk too short")},
		{"early EOF", 0, -1, nil},
		{"a range", 101, 7001, nil},
		{"a tail", 9000, -1, io.ErrUnexpectedEOF},
		{"a range past the end", 15990, 100, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				closed, opened := 0, 0
				s := &script{open: func(try int, o transport.OpenOptions) (transport.Object, io.ReadCloser, error) {
					if try > 1 && o.ETag != "e1" {
						t.Errorf("try %d asks for version %q", try, o.ETag)
					}
					end := object.Size
					if o.Length >= 0 {
						end = min(end, o.Offset+o.Length)
					}
					b := content[o.Offset:end]
					opened++
					// Far more cuts than a call has tries; each after some progress.
					return object, part{bytes.NewReader(b[:min(len(b), 503)]), c.cut, &closed}, nil
				}}
				link := transport.NewLink(transport.LinkOptions{Start: 1, Max: 1})
				o, r, err := transport.Retry(s, link, transport.RetryPolicy{}).
					Open(t.Context(), "c", "n", transport.OpenOptions{Offset: c.offset, Length: c.length})
				if err != nil || o.ETag != "e1" {
					t.Fatal(o, err)
				}
				if n := link.Stats().InFlight; n != 0 {
					t.Errorf("an open reader holds %d slots", n)
				}
				// The only slot is taken: what has begun must go on all the same.
				release, err := link.Acquire(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer release(transport.Result{})
				got, err := io.ReadAll(r)
				want := content[c.offset:]
				if c.length >= 0 {
					want = want[:min(int64(len(want)), c.length)]
				}
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%v, %d bytes of %d", err, len(got), len(want))
				}
				if err := r.Close(); err != nil || closed != opened {
					t.Errorf("%v, %d of %d closed", err, closed, opened)
				}
				if _, err := r.Read(make([]byte, 1)); err == nil {
					t.Error("a closed reader reads")
				}
			})
		})
	}
}

func TestReaderGivesUpWithoutProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := 0
		s := &script{open: func(try int, o transport.OpenOptions) (transport.Object, io.ReadCloser, error) {
			b := "hello"[o.Offset:]
			if try == 1 {
				b = "he"
			} else {
				b = b[:0]
			}
			return transport.Object{Size: 5, ETag: "e"}, part{strings.NewReader(b), nil, &closed}, nil
		}}
		_, r, err := transport.Retry(s, nil, transport.RetryPolicy{}).Open(t.Context(), "c", "n", transport.OpenOptions{Length: -1})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if string(got) != "he" || !transport.Is(err, transport.Transient) || !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			t.Errorf("%q %v", got, err)
		}
		if n := s.made("open"); n != 6 {
			t.Errorf("%d requests", n)
		}
		if _, again := r.Read(make([]byte, 1)); again != err {
			t.Errorf("then %v", again)
		}
		_ = r.Close()
	})
}

func TestReaderNoticesANewVersion(t *testing.T) {
	for _, c := range []struct {
		name string
		obj  transport.Object
		err  error
	}{
		{"412", transport.Object{}, failure(transport.Changed, 412)},
		{"a server without If-Match", transport.Object{Size: 5, ETag: "e2"}, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			closed := 0
			s := &script{open: func(try int, o transport.OpenOptions) (transport.Object, io.ReadCloser, error) {
				if try == 1 {
					return transport.Object{Size: 5, ETag: "e"}, part{strings.NewReader("he"), nil, &closed}, nil
				}
				if c.err != nil {
					return transport.Object{}, nil, c.err
				}
				return c.obj, part{strings.NewReader("LLO"), nil, &closed}, nil
			}}
			_, r, err := transport.Retry(s, nil, transport.RetryPolicy{}).Open(t.Context(), "c", "n", transport.OpenOptions{Length: -1})
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if string(got) != "he" || !transport.Is(err, transport.Changed) || s.made("open") != 2 {
				t.Errorf("%s: %q %v, %d requests", c.name, got, err, s.made("open"))
			}
			_ = r.Close()
		})
	}
}

// An endpoint that finds at the last byte that the whole is wrong is believed: there
// is nothing to go on with.
func TestReaderRefusedAsAWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := 0
		s := &script{open: func(int, transport.OpenOptions) (transport.Object, io.ReadCloser, error) {
			return transport.Object{Size: 5, ETag: "e"}, part{strings.NewReader("hallo"), failure(transport.Corrupt, 0), &closed}, nil
		}}
		_, r, err := transport.Retry(s, nil, transport.RetryPolicy{}).Open(t.Context(), "c", "n", transport.OpenOptions{Length: -1})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if string(got) != "hallo" || !transport.Is(err, transport.Corrupt) || s.made("open") != 1 {
			t.Errorf("%q %v, %d requests", got, err, s.made("open"))
		}
		_ = r.Close()
	})
}

func TestReaderOfLinksIsNil(t *testing.T) {
	s := &script{open: func(int, transport.OpenOptions) (transport.Object, io.ReadCloser, error) {
		return transport.Object{Kind: transport.Symlink}, nil, nil
	}}
	o, r, err := transport.Retry(s, nil, transport.RetryPolicy{}).Open(t.Context(), "c", "n", transport.OpenOptions{Length: -1})
	if err != nil || r != nil || o.Kind != transport.Symlink {
		t.Error(o, r, err)
	}
}

// Two regions copy to each other, one slot each, and every stream holds a reader
// on one while it needs a slot of the other.
func TestOppositeCopiesDoNotBlockEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := 0
		side := func() transport.Sink {
			s := &script{
				open: func(int, transport.OpenOptions) (transport.Object, io.ReadCloser, error) {
					return transport.Object{Size: 5, ETag: "e"}, part{strings.NewReader("hello"), nil, &closed}, nil
				},
				put: func(_ int, b transport.Body, _ transport.PutOptions) (transport.Receipt, error) {
					r, _ := b.Open()
					time.Sleep(time.Second)
					_, err := io.ReadAll(r)
					return transport.Receipt{}, err
				},
			}
			return transport.Retry(s, transport.NewLink(transport.LinkOptions{Start: 1, Max: 1}), transport.RetryPolicy{})
		}
		a, b := side(), side()
		cp := func(from, to transport.Sink, done chan<- error) {
			_, r, err := from.Open(t.Context(), "c", "n", transport.OpenOptions{Length: -1})
			if err == nil {
				_, err = to.Put(t.Context(), "c", "n", transport.Body{Size: 5, MD5: md5Hello, Once: true, Open: func() (io.Reader, error) { return r, nil }}, transport.PutOptions{})
			}
			done <- err
		}
		done := make(chan error)
		for range 5 {
			go cp(a, b, done)
			go cp(b, a, done)
		}
		for range 10 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}
