package transport_test

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"farshore/transport"
)

const md5Hello = "5d41402abc4b2a76b9719d911017c592"

func sum(s string) string {
	m := md5.Sum([]byte(s))
	return hex.EncodeToString(m[:])
}

func hello() transport.Body {
	return transport.Body{Size: 5, MD5: md5Hello, Open: func() (io.Reader, error) { return strings.NewReader("hello"), nil }}
}

var lost = &transport.Error{Op: "put", Region: "east", Container: "c", Name: "n", Class: transport.Transient, Err: io.ErrUnexpectedEOF}

func TestPutIsRepeatedByClass(t *testing.T) {
	for _, c := range []struct {
		name  string
		err   error
		once  bool
		tries int
	}{
		{"transient", failure(transport.Transient, 500), false, 6},
		{"throttled", failure(transport.Throttled, 429), false, 30},
		{"vague 503", failure(transport.Throttled, 503), false, 6},
		{"permanent", failure(transport.Permanent, 400), false, 1},
		{"denied", failure(transport.Denied, 403), false, 1},
		{"quota", failure(transport.Quota, 413), false, 1},
		{"changed", failure(transport.Changed, 412), false, 1},
		{"exists", failure(transport.Exists, 412), false, 1},
		{"not found", failure(transport.NotFound, 404), false, 1},
		{"corrupt", failure(transport.Corrupt, 422), false, 2},
		{"corrupt stream", failure(transport.Corrupt, 422), true, 1},
		{"transient stream", failure(transport.Transient, 500), true, 1},
		{"somebody else's time limit", failure(transport.Canceled, 0), false, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{put: func(int, transport.Body, transport.PutOptions) (transport.Receipt, error) {
					return transport.Receipt{}, c.err
				}}
				ep := transport.Retry(s, nil, transport.RetryPolicy{ThrottleElapsed: time.Hour})
				b := hello()
				b.Once = c.once
				_, err := ep.Put(t.Context(), "c", "n", b, transport.PutOptions{})
				if got := s.made("put"); got != c.tries {
					t.Errorf("%d tries, want %d", got, c.tries)
				}
				if transport.ClassOf(err) != transport.ClassOf(c.err) {
					t.Errorf("class %v of %v", transport.ClassOf(err), err)
				}
				var e *transport.Error
				if !errors.As(err, &e) || e.Region != "east" || e.Container != "c" || e.Name != "n" || e.Op != "put" {
					t.Errorf("lost its fields: %#v", err)
				}
				if says := strings.Contains(fmt.Sprint(err), fmt.Sprintf("(%d tries)", c.tries)); says != (c.tries > 1) {
					t.Errorf("tries in the text: %v", err)
				}
			})
		})
	}
}

func TestRetryWaitsLongerAndTellsTheObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []transport.Attempt
		link := transport.NewLink(transport.LinkOptions{Region: "east"})
		s := &script{put: func(try int, _ transport.Body, _ transport.PutOptions) (transport.Receipt, error) {
			if try < 5 {
				return transport.Receipt{}, failure(transport.Transient, 500)
			}
			return transport.Receipt{ETag: md5Hello}, nil
		}}
		ep := transport.Retry(s, link, transport.RetryPolicy{Observer: func(a transport.Attempt) { seen = append(seen, a) }})
		start := time.Now()
		rec, err := ep.Put(t.Context(), "c", "n", hello(), transport.PutOptions{})
		if err != nil || rec.ETag != md5Hello {
			t.Fatal(rec, err)
		}
		var sum time.Duration
		for i, a := range seen {
			base := 500 * time.Millisecond << i
			if a.Wait < base/2 || a.Wait > base*3/2+1 || a.Try != i+1 || a.Op != "put" || a.Region != "east" || a.Container != "c" || a.Name != "n" || a.Err == nil {
				t.Errorf("attempt %d: %+v", i, a)
			}
			sum += a.Wait
		}
		if len(seen) != 4 || time.Since(start) != sum {
			t.Errorf("%d waits, %v of %v", len(seen), time.Since(start), sum)
		}
		if got := link.Stats(); got.Retries != 4 || got.Requests != 5 || got.InFlight != 0 {
			t.Errorf("%+v", got)
		}
	})
}

func TestRetryAfterIsHonouredAndCapped(t *testing.T) {
	for _, c := range []struct{ after, least, most time.Duration }{
		{20 * time.Second, 20 * time.Second, 21 * time.Second},
		{24 * time.Hour, 2 * time.Minute, 121 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{head: func(try int) (transport.Object, error) {
				if try == 1 {
					return transport.Object{}, &transport.Error{Class: transport.Throttled, Status: 429, After: c.after}
				}
				return transport.Object{Size: 7}, nil
			}}
			start := time.Now()
			o, err := transport.Retry(s, nil, transport.RetryPolicy{}).Head(t.Context(), "c", "n")
			if took := time.Since(start); err != nil || o.Size != 7 || took < c.least || took > c.most {
				t.Errorf("%v %v after %v", o, err, took)
			}
		})
	}
}

func TestElapsedEndsTheTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{head: func(int) (transport.Object, error) {
			time.Sleep(3 * time.Minute) // each try takes longer than all are given
			return transport.Object{}, failure(transport.Transient, 504)
		}}
		_, err := transport.Retry(s, nil, transport.RetryPolicy{}).Head(t.Context(), "c", "n")
		if got := s.made("head"); got != 2 || !transport.Is(err, transport.Transient) {
			t.Errorf("%d tries, %v: one repetition is always made", got, err)
		}
	})
}

func TestCanceledContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{
			head: func(int) (transport.Object, error) { return transport.Object{}, failure(transport.Transient, 500) },
			put: func(int, transport.Body, transport.PutOptions) (transport.Receipt, error) {
				return transport.Receipt{}, nil
			},
		}
		ep := transport.Retry(s, nil, transport.RetryPolicy{})
		why := errors.New("the user pressed ^C")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(200*time.Millisecond, func() { cancel(why) })
		start := time.Now()
		_, err := ep.Head(ctx, "c", "n")
		if !errors.Is(err, why) || !transport.Is(err, transport.Canceled) || time.Since(start) != 200*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		_, err = ep.Put(ctx, "c", "n", hello(), transport.PutOptions{})
		if !errors.Is(err, why) || !transport.Is(err, transport.Canceled) || s.made("put") != 0 {
			t.Errorf("%v, %d calls", err, s.made("put"))
		}
	})
}

// The first try of an IfAbsent PUT was carried out, its reply lost.
func TestPutIfAbsentKnowsItsOwnObject(t *testing.T) {
	ours := transport.Header{transport.OriginHeader: "west/1/abc", "X-Object-Meta-A": "1"}
	bare := transport.Header{"X-Object-Meta-A": "1"}
	for _, c := range []struct {
		name string
		sent transport.Header
		etag string
		got  transport.Header
		ours bool
	}{
		{"the same", ours, md5Hello, ours, true},
		{"headers filled in by the server", ours, md5Hello, transport.Header{transport.OriginHeader: "west/1/abc", "Content-Type": "x"}, true},
		{"other bytes", ours, "0123", ours, false},
		{"another's stamp", ours, md5Hello, transport.Header{transport.OriginHeader: "south/9/abc"}, false},
		{"no stamp", ours, md5Hello, transport.Header{"X-Object-Meta-A": "1"}, false},
		{"no stamp on either", bare, md5Hello, transport.Header{"X-Object-Meta-A": "1", "Content-Type": "x"}, true},
		{"no stamp and other headers", bare, md5Hello, transport.Header{"X-Object-Meta-A": "2"}, false},
		{"a stamp where we set none", bare, md5Hello, ours, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				at := time.Date(2026, 3, 1, 12, 0, 0, 250_000_000, time.UTC)
				s := &script{
					put: func(try int, _ transport.Body, o transport.PutOptions) (transport.Receipt, error) {
						if try == 1 {
							return transport.Receipt{}, lost
						}
						return transport.Receipt{}, failure(transport.Exists, 412)
					},
					head: func(int) (transport.Object, error) {
						return transport.Object{ETag: c.etag, Header: c.got, Modified: at}, nil
					},
				}
				rec, err := transport.Retry(s, nil, transport.RetryPolicy{}).
					Put(t.Context(), "c", "n", hello(), transport.PutOptions{IfAbsent: true, Header: c.sent})
				if c.ours {
					if err != nil || rec.ETag != md5Hello || !rec.Modified.Equal(at.Add(750*time.Millisecond)) {
						t.Errorf("%+v %v", rec, err)
					}
				} else if !transport.Is(err, transport.Exists) {
					t.Errorf("%+v %v", rec, err)
				}
				if s.made("put") != 2 || s.made("head") != 1 {
					t.Errorf("calls %v", s.log)
				}
			})
		})
	}
}

// An object that was there before our first try is not ours, whatever it is.
func TestPutIfAbsentOnATakenName(t *testing.T) {
	s := &script{put: func(int, transport.Body, transport.PutOptions) (transport.Receipt, error) {
		return transport.Receipt{}, failure(transport.Exists, 412)
	}}
	_, err := transport.Retry(s, nil, transport.RetryPolicy{}).
		Put(t.Context(), "c", "n", hello(), transport.PutOptions{IfAbsent: true})
	if !transport.Is(err, transport.Exists) || s.made("put") != 1 || s.made("head") != 0 {
		t.Errorf("%v, calls %v", err, s.log)
	}
}

func TestCollapseIsNeverStartedTwice(t *testing.T) {
	h := transport.Header{transport.OriginHeader: "west/2/x", "Content-Type": "a/b"}
	old := transport.Header{transport.OriginHeader: "west/1/x", "Content-Type": "a/b2"}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s := &script{
			collapse: func(int) (transport.Receipt, error) { return transport.Receipt{}, lost },
			head: func(try int) (transport.Object, error) {
				switch {
				case time.Since(start) < 20*time.Second:
					return transport.Object{}, failure(transport.NotFound, 404)
				case time.Since(start) < 4*time.Minute: // an older object of the same bytes is not the answer
					return transport.Object{ETag: md5Hello, Header: old}, nil
				}
				return transport.Object{ETag: md5Hello, Header: h}, nil
			},
		}
		rec, err := transport.Retry(s, nil, transport.RetryPolicy{}).
			Collapse(t.Context(), "s", "m", "c", "n", md5Hello, 1<<30, h)
		if err != nil || rec.ETag != md5Hello || s.made("collapse") != 1 {
			t.Errorf("%+v %v, calls %v", rec, err, s.log)
		}
		if took := time.Since(start); took < 4*time.Minute || took > 5*time.Minute || s.made("head") > 30 {
			t.Errorf("%v, %d heads", took, s.made("head"))
		}
	})
	// It is looked for as long as the size may take, ten minutes at most (R11).
	for size, longest := range map[int64]time.Duration{5: 15 * time.Second, 400_000_000: 115 * time.Second, 5 << 30: 10 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			s := &script{
				collapse: func(int) (transport.Receipt, error) { return transport.Receipt{}, failure(transport.Transient, 504) },
				head:     func(int) (transport.Object, error) { return transport.Object{}, failure(transport.NotFound, 404) },
			}
			_, err := transport.Retry(s, nil, transport.RetryPolicy{}).
				Collapse(t.Context(), "s", "m", "c", "n", md5Hello, size, h)
			if took := time.Since(start); !transport.Is(err, transport.Transient) || s.made("collapse") != 1 || took < longest || took > longest+30*time.Second {
				t.Errorf("%v after %v, %d copies", err, took, s.made("collapse"))
			}
		})
	}
}

func TestCollapseThatWasAnsweredIsRepeated(t *testing.T) {
	dial := &transport.Error{Class: transport.Transient, Err: &net.OpError{Op: "dial", Err: errors.New("connection refused")}}
	for _, fail := range []error{failure(transport.Transient, 500), failure(transport.Throttled, 498), dial} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{collapse: func(try int) (transport.Receipt, error) {
				if try < 3 {
					return transport.Receipt{}, fail
				}
				return transport.Receipt{ETag: md5Hello}, nil
			}}
			rec, err := transport.Retry(s, nil, transport.RetryPolicy{}).
				Collapse(t.Context(), "s", "m", "c", "n", md5Hello, 5, nil)
			if err != nil || rec.ETag != md5Hello || s.made("collapse") != 3 {
				t.Errorf("%v: %+v %v, calls %v", fail, rec, err, s.log)
			}
		})
	}
}

func TestManifestWhoseReplyWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		segments := []transport.Segment{{ETag: "aa"}, {ETag: "bb"}}
		h := transport.Header{"Content-Type": "a/b"}
		s := &script{
			manifest: func(int) (transport.Receipt, error) { return transport.Receipt{}, lost },
			head: func(int) (transport.Object, error) {
				return transport.Object{ETag: sum("aabb"), Header: transport.Header{"Content-Type": "a/b", "X-Delete-At": "17"}, Kind: transport.SLO}, nil
			},
		}
		rec, err := transport.Retry(s, nil, transport.RetryPolicy{}).
			PutManifest(t.Context(), "c", "n", segments, transport.PutOptions{Header: h, IfAbsent: true, DeleteAfter: time.Hour})
		if err != nil || rec.ETag != sum("aabb") || s.made("manifest") != 1 {
			t.Errorf("%+v %v, calls %v", rec, err, s.log)
		}
	})
}

func TestDeleteContainerTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{remove: func(try int) error {
			if try == 1 {
				return lost
			}
			return failure(transport.NotFound, 404)
		}}
		if err := transport.Retry(s, nil, transport.RetryPolicy{}).DeleteContainer(t.Context(), "c"); err != nil {
			t.Error(err)
		}
		s = &script{remove: func(int) error { return failure(transport.NotFound, 404) }}
		if err := transport.Retry(s, nil, transport.RetryPolicy{}).DeleteContainer(t.Context(), "c"); !transport.Is(err, transport.NotFound) {
			t.Error(err)
		}
	})
}

// pages lists names in pages of three, failing at the tries given.
func pages(names []string, fail func(try, page int) error) func(int, transport.Range, func([]transport.Entry) error) error {
	return func(try int, r transport.Range, yield func([]transport.Entry) error) error {
		for page := 0; ; page++ {
			if err := fail(try, page); err != nil {
				return err
			}
			var p []transport.Entry
			for _, n := range names {
				if n > r.After && (r.Through == "" || n <= r.Through) && len(p) < 3 {
					p = append(p, transport.Entry{Name: n})
				}
			}
			if len(p) == 0 {
				return nil
			}
			if err := yield(p); err != nil {
				return fmt.Errorf("wrapped by the endpoint: %w", err)
			}
			r.After = p[len(p)-1].Name
		}
	}
}

func TestListGoesOnAfterAFailedPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names []string
		for i := range 40 {
			names = append(names, fmt.Sprintf("n%03d", i))
		}
		// Every try fails on its second page: twice as many failures as a call has
		// tries, but each after progress.
		s := &script{list: pages(names, func(try, page int) error {
			if page == 1 {
				return failure(transport.Transient, 500)
			}
			return nil
		})}
		var got []string
		link := transport.NewLink(transport.LinkOptions{Start: 1, Max: 1})
		ep := transport.Retry(s, link, transport.RetryPolicy{})
		err := ep.List(t.Context(), "c", transport.Range{}, func(p []transport.Entry) error {
			if n := link.Stats().InFlight; n != 0 {
				t.Errorf("%d slots are held while the caller works", n)
			}
			for _, e := range p {
				got = append(got, e.Name)
			}
			return nil
		})
		if err != nil || strings.Join(got, " ") != strings.Join(names, " ") {
			t.Errorf("%v: %d names of %d: %v", err, len(got), len(names), got)
		}
		if s.made("list") < 10 || link.Stats().InFlight != 0 {
			t.Errorf("%d lists, %+v", s.made("list"), link.Stats())
		}

		stop := errors.New("enough")
		n := s.made("list")
		err = ep.List(t.Context(), "c", transport.Range{}, func([]transport.Entry) error { return stop })
		if !errors.Is(err, stop) || s.made("list") != n+1 || link.Stats().InFlight != 0 {
			t.Errorf("%v, %d lists more, %+v", err, s.made("list")-n, link.Stats())
		}

		s = &script{list: pages(names, func(_, page int) error {
			if page == 1 {
				return failure(transport.Denied, 403)
			}
			return nil
		})}
		if err = transport.Retry(s, link, transport.RetryPolicy{}).List(t.Context(), "c", transport.Range{}, func([]transport.Entry) error { return nil }); !transport.Is(err, transport.Denied) {
			t.Error(err)
		}
	})
}

func TestContainersAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := []string{"a", "b", "c", "d"}
		s := &script{rows: func(try int, yield func(transport.ContainerInfo) error) error {
			for i, n := range all {
				if try == 1 && i == 2 {
					return failure(transport.Transient, 0)
				}
				if err := yield(transport.ContainerInfo{Name: n}); err != nil {
					return err
				}
			}
			return nil
		}}
		link := transport.NewLink(transport.LinkOptions{Start: 1, Max: 1})
		var got []string
		err := transport.Retry(s, link, transport.RetryPolicy{}).Containers(t.Context(), "", func(c transport.ContainerInfo) error {
			if n := link.Stats().InFlight; n != 0 {
				t.Errorf("%d slots held", n)
			}
			got = append(got, c.Name)
			return nil
		})
		if err != nil || strings.Join(got, "") != "abcd" || s.made("containers") != 2 || link.Stats().InFlight != 0 {
			t.Errorf("%v %v %+v", err, got, link.Stats())
		}
	})
}

// Where nobody listens a call gives up within seconds, unless the region has answered
// before: then it is restarting, and has the whole patience.
func TestRefusedConnections(t *testing.T) {
	for _, before := range []error{nil, failure(transport.NotFound, 404), lost} {
		synctest.Test(t, func(t *testing.T) {
			refused := &transport.Error{Class: transport.Transient, Err: &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}}
			s := &script{head: func(try int) (transport.Object, error) {
				if try == 1 {
					return transport.Object{}, before
				}
				return transport.Object{}, refused
			}}
			ep := transport.Retry(s, nil, transport.RetryPolicy{Refused: transport.RefusedPatience})
			if before != lost { //nolint:errorlint // the very one
				_, _ = ep.Head(t.Context(), "c", "n")
			}
			start, made := time.Now(), s.made("head")
			_, err := ep.Head(t.Context(), "c", "n")
			took, tries := time.Since(start), s.made("head")-made
			// the try after the patience ends the call; the wait before it, the fourth, is 4 s and half as much at most
			longest := transport.RefusedPatience + 6*time.Second
			if quick := before == lost; !transport.Is(err, transport.Transient) || quick && took >= longest || quick != (tries < 6) { //nolint:errorlint // the very one
				t.Errorf("after %v: %v in %v, %d tries", before, err, took, tries)
			}
		})
	}
}
