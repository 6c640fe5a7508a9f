package wire_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"farshore/transport"
	"farshore/transport/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// patient is a reader whose reads take a while each, of which a peer knows nothing.
type patient struct {
	ctx   context.Context
	n     int
	each  time.Duration
	bytes string
}

func (p *patient) Read(b []byte) (int, error) {
	if p.n == 0 {
		return 0, io.EOF
	}
	if err := transport.Sleep(p.ctx, transport.SystemClock{}, p.each, nil); err != nil {
		return 0, err
	}
	p.n--
	return copy(b, p.bytes), nil
}

func (p *patient) Close() error { return nil }

func reply(status int, body io.ReadCloser) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: body}
}

func request(ctx context.Context, method string, body io.Reader) *http.Request {
	r, err := http.NewRequestWithContext(ctx, method, "http://swift.example/v1/AUTH_p/c/o", body)
	if err != nil {
		panic(err)
	}
	return r
}

// sends reads the whole request body as a transport does: each read follows the
// writing of what was read before, which takes a time.
func sends(each time.Duration, then tripper) tripper {
	return func(r *http.Request) (*http.Response, error) {
		b := make([]byte, 1<<20)
		for {
			n, err := r.Body.Read(b)
			if n > 64<<10 {
				return nil, errors.New("a slice is too large")
			}
			if n > 0 {
				if serr := transport.Sleep(r.Context(), transport.SystemClock{}, each, nil); serr != nil {
					return nil, serr
				}
			}
			if err == io.EOF {
				return then(r)
			}
			if err != nil {
				return nil, err
			}
		}
	}
}

func hangs(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err() // as net/http does: the cause is not told
}

func created(*http.Request) (*http.Response, error) { return reply(201, http.NoBody), nil }

func stalled(t *testing.T, err error, phase wire.Phase, after, want time.Duration) {
	t.Helper()
	var s *wire.StallError
	if !errors.As(err, &s) || s.Phase != phase || after != want || !transport.Is(err, transport.Transient) {
		t.Errorf("%v after %v, want a stall while %s after %v", err, after, phase, want)
	}
}

func TestStallBeforeTheReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c wire.Counters
		rt := wire.Chain(tripper(hangs), wire.Options{Counters: &c})
		start := time.Now()
		_, err := rt.RoundTrip(request(t.Context(), "GET", nil))
		stalled(t, err, wire.Waiting, time.Since(start), time.Minute)

		start = time.Now()
		_, err = rt.RoundTrip(request(wire.WithIdle(t.Context(), time.Hour), "GET", nil))
		stalled(t, err, wire.Waiting, time.Since(start), time.Hour)
		if s := c.Snapshot(); s.Stalls != 2 || s.Status["none"] != 2 || s.Requests["GET object"] != 2 {
			t.Errorf("%+v", s)
		}
	})
}

// streamed hides from net/http that a body lies in memory.
func streamed(s string) io.Reader { return io.MultiReader(strings.NewReader(s)) }

func TestStallWhileSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := wire.Chain(sends(61*time.Second, created), wire.Options{})
		start := time.Now()
		_, err := rt.RoundTrip(request(t.Context(), "PUT", streamed("hello")))
		stalled(t, err, wire.Sending, time.Since(start), time.Minute)
		// After the last byte the server has the idle time for its answer.
		rt = wire.Chain(sends(59*time.Second, hangs), wire.Options{})
		start = time.Now()
		_, err = rt.RoundTrip(request(t.Context(), "PUT", streamed("hello")))
		stalled(t, err, wire.Waiting, time.Since(start), 119*time.Second)
	})
}

// A small body in memory reaches the transport as it is, so that headers and body
// leave in one packet; limits are obeyed before, and its bytes are counted.
func TestSmallBodiesGoInOnePiece(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got io.ReadCloser
		var c wire.Counters
		rt := wire.Chain(tripper(func(r *http.Request) (*http.Response, error) { got = r.Body; return created(r) }), wire.Options{Counters: &c})
		limited := transport.WithLimits(t.Context(), transport.NewLimiter(400_000, nil))
		for _, x := range []struct {
			size  int
			ctx   context.Context
			whole bool
			least time.Duration
		}{{5, t.Context(), true, 0}, {64 << 10, t.Context(), true, 0}, {64<<10 + 1, t.Context(), false, 0}, {20_000, limited, true, 0}, {20_000, limited, true, 40 * time.Millisecond}, {60_000, limited, false, 0}} {
			req, start := request(x.ctx, "PUT", strings.NewReader(strings.Repeat("x", x.size))), time.Now()
			before := c.Snapshot().Sent
			if _, err := rt.RoundTrip(req); err != nil {
				t.Fatal(err)
			}
			if (got == req.Body) != x.whole || time.Since(start) < x.least {
				t.Errorf("%d bytes: as it is: %v, want %v, after %v", x.size, got == req.Body, x.whole, time.Since(start))
			}
			if n := c.Snapshot().Sent - before; x.whole && n != int64(x.size) {
				t.Errorf("%d bytes counted as %d", x.size, n)
			}
		}
		// Who cannot pay in time sends nothing, and the body is closed all the same.
		ctx, cancel := context.WithTimeout(transport.WithLimits(t.Context(), transport.NewLimiter(2, nil)), 100*time.Millisecond)
		defer cancel()
		for i, want := range []error{nil, context.DeadlineExceeded} {
			closed := false
			req := request(ctx, "PUT", strings.NewReader("x"))
			req.Body = &closing{Reader: strings.NewReader("x"), closed: &closed}
			if _, err := rt.RoundTrip(req); !errors.Is(err, want) || closed != (i == 1) {
				t.Errorf("request %d: %v, want %v; closed %v", i, err, want, closed)
			}
		}
	})
}

type closing struct {
	io.Reader
	closed *bool
}

func (c *closing) Close() error { *c.closed = true; return nil }

func TestStallWhileReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c wire.Counters
		rt := wire.Chain(tripper(func(r *http.Request) (*http.Response, error) {
			return reply(200, io.NopCloser(io.MultiReader(strings.NewReader("hello"),
				&patient{ctx: r.Context(), n: 1, each: time.Hour, bytes: "x"}))), nil
		}), wire.Options{Counters: &c})
		resp, err := rt.RoundTrip(request(t.Context(), "GET", nil))
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		got, err := io.ReadAll(resp.Body)
		stalled(t, err, wire.Reading, time.Since(start), time.Minute)
		if s := c.Snapshot(); string(got) != "hello" || s.Received != 5 || s.Stalls != 1 {
			t.Errorf("%q, %+v", got, s)
		}
		_ = resp.Body.Close()
	})
}

// Hours pass, and none of it is the peer's doing.
func TestOurOwnTimeIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := transport.NewLimiter(100, nil) // 64 KiB take 11 minutes
		ctx := transport.WithLimits(t.Context(), limit)
		var c wire.Counters
		rt := wire.Chain(sends(30*time.Second, func(r *http.Request) (*http.Response, error) {
			return reply(201, &patient{ctx: r.Context(), n: 3, each: 59 * time.Second, bytes: "ok"}), nil
		}), wire.Options{Counters: &c})
		source := io.MultiReader(&patient{ctx: ctx, n: 2, each: time.Hour, bytes: "0123456789"}, strings.NewReader(strings.Repeat("x", 100_000)))
		start := time.Now()
		resp, err := rt.RoundTrip(request(ctx, "PUT", source))
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 2*time.Hour+1000*time.Second {
			t.Errorf("the limit did not hold: %v", took)
		}
		b := make([]byte, 2)
		for range 3 {
			time.Sleep(3 * time.Hour) // a slow reader of ours
			if _, err := resp.Body.Read(b); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := resp.Body.Read(b); err != io.EOF {
			t.Error(err)
		}
		if s := c.Snapshot(); s.Sent != 100_020 || s.Received != 6 || s.Stalls != 0 {
			t.Errorf("%+v", s)
		}
		_ = resp.Body.Close()
	})
}

func TestLimitFollowsTheRequestsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limited := transport.WithLimits(t.Context(), transport.NewLimiter(1000, nil), transport.NewLimiter(500, nil))
		rt := wire.Chain(sends(0, created), wire.Options{})
		for _, c := range []struct {
			ctx         context.Context
			least, most time.Duration
		}{{t.Context(), 0, 0}, {limited, 19 * time.Second, 21 * time.Second}} {
			start := time.Now()
			if _, err := rt.RoundTrip(request(c.ctx, "PUT", strings.NewReader(strings.Repeat("x", 10_000)))); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took < c.least || took > c.most {
				t.Errorf("took %v, want %v to %v", took, c.least, c.most)
			}
		}
		why := errors.New("that is enough")
		ctx, cancel := context.WithCancelCause(limited)
		time.AfterFunc(time.Second, func() { cancel(why) })
		if _, err := rt.RoundTrip(request(ctx, "PUT", strings.NewReader(strings.Repeat("x", 10_000)))); !errors.Is(err, why) {
			t.Errorf("%v", err)
		}
	})
}

// What is read at once goes to the socket at once: under a limit, no more than
// the limit lets pass at once.
func TestSlices(t *testing.T) {
	for _, c := range []struct {
		rate int64
		want int
	}{{0, 64 << 10}, {100 << 20, 64 << 10}, {200_000, 16 << 10}, {4000, 1000}} {
		synctest.Test(t, func(t *testing.T) {
			most := 0
			rt := wire.Chain(tripper(func(r *http.Request) (*http.Response, error) {
				b := make([]byte, 1<<20)
				for {
					n, err := r.Body.Read(b)
					most = max(most, n)
					if err == io.EOF {
						return created(r)
					}
				}
			}), wire.Options{})
			ctx := transport.WithLimits(t.Context(), transport.NewLimiter(c.rate, nil))
			if _, err := rt.RoundTrip(request(ctx, "PUT", io.LimitReader(zeros{}, 300_000))); err != nil || most != c.want {
				t.Errorf("%v, slices of %d bytes at %d a second, want %d", err, most, c.rate, c.want)
			}
		})
	}
}

// The caller's own end is not explained away.
func TestCallersCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := wire.Chain(tripper(hangs), wire.Options{}).RoundTrip(request(ctx, "GET", nil))
		if !errors.Is(err, context.DeadlineExceeded) || !transport.Is(err, transport.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

// Over a real connection: what net/http makes of our cancelling is still a stall,
// nothing is unzipped, and an early answer does not count as the peer's silence.
func TestRealConnections(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case "GET":
			w.Header().Set("Content-Length", "10")
			_, _ = w.Write([]byte("hello"))
			_ = http.NewResponseController(w).Flush()
			<-release
		case "HEAD":
			<-release
		case "POST":
			if r.Header.Get("Accept-Encoding") != "" {
				t.Errorf("asks for %q", r.Header.Get("Accept-Encoding"))
			}
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write([]byte("not really gzip"))
		case "PUT":
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		}
	}))
	defer s.Close()
	defer close(release)
	base := wire.NewTransport(nil)
	defer base.CloseIdleConnections()
	var c wire.Counters
	client := &http.Client{Transport: wire.Chain(base, wire.Options{Idle: 50 * time.Millisecond, Counters: &c})}
	do := func(method string, body io.Reader) (*http.Response, []byte, error) {
		req, err := http.NewRequest(method, s.URL+"/v1/AUTH_p/c/o", body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return nil, nil, err
		}
		defer func() { _ = resp.Body.Close() }()
		b, err := io.ReadAll(resp.Body)
		return resp, b, err
	}
	var stall *wire.StallError
	if _, b, err := do("GET", nil); !errors.As(err, &stall) || string(b) != "hello" || stall.Phase != wire.Reading || stall.Bytes != 5 {
		t.Errorf("GET: %q %v", b, err)
	}
	if _, _, err := do("HEAD", nil); !errors.As(err, &stall) || stall.Phase != wire.Waiting || !transport.Is(err, transport.Transient) {
		t.Errorf("HEAD: %v", err)
	}
	if resp, b, err := do("POST", nil); err != nil || string(b) != "not really gzip" || resp.Uncompressed || resp.ContentLength != 15 {
		t.Errorf("POST: %q %v", b, err)
	}
	if resp, _, err := do("PUT", io.LimitReader(zeros{}, 8<<20)); err == nil && resp.StatusCode != 413 {
		t.Errorf("PUT: %v", resp.Status)
	}
	got := c.Snapshot()
	for k, want := range map[string]int64{"GET object": 1, "HEAD object": 1, "POST object": 1, "PUT object": 1} {
		if got.Requests[k] != want {
			t.Errorf("%s: %d", k, got.Requests[k])
		}
	}
	if got.Received != 20 || got.Stalls != 2 || got.Total() != 4 || got.Status["2xx"] != 2 {
		t.Errorf("%+v", got)
	}
	if base.Protocols.HTTP2() || !base.Protocols.HTTP1() {
		t.Error("HTTP/2 is on")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A request that finds its idle connection closed is sent again by net/http from GetBody.
func TestBodyCanBeHadAgain(t *testing.T) {
	var bodies []string
	rt := wire.Chain(tripper(func(r *http.Request) (*http.Response, error) {
		for range 2 {
			b, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			bodies = append(bodies, string(b))
			if r.Body, err = r.GetBody(); err != nil {
				return nil, err
			}
		}
		return created(r)
	}), wire.Options{})
	if _, err := rt.RoundTrip(request(t.Context(), "PUT", strings.NewReader("hello"))); err != nil || strings.Join(bodies, ",") != "hello,hello" {
		t.Errorf("%v %v", bodies, err)
	}
	var got io.ReadCloser
	rt = wire.Chain(tripper(func(r *http.Request) (*http.Response, error) { got = r.Body; return created(r) }), wire.Options{})
	if _, err := rt.RoundTrip(request(t.Context(), "PUT", http.NoBody)); err != nil || got != http.NoBody {
		t.Errorf("%v: NoBody must stay itself, or it is sent chunked", err)
	}
}

func TestKindOf(t *testing.T) {
	for _, c := range []struct {
		path, storage string
		want          wire.Kind
	}{
		{"/v1/AUTH_p", "", wire.Account}, {"/v1/AUTH_p/", "", wire.Account},
		{"/v1/AUTH_p/c", "", wire.Container}, {"/v1/AUTH_p/c/", "", wire.Container},
		{"/v1/AUTH_p/c/o", "", wire.Object}, {"/v1/AUTH_p/c//", "", wire.Object}, {"/v1/AUTH_p/info/v3/auth/tokens", "", wire.Object},
		{"/info", "/v1/AUTH_p", wire.Info}, {"/swift/info", "/swift/v1", wire.Info},
		{"/swift/v1", "/swift/v1", wire.Account}, {"/swift/v1/c", "/swift/v1", wire.Container}, {"/swift/v1/c/o/p", "/swift/v1/", wire.Object},
		{"/swift/v1x", "/swift/v1", wire.Other},
		{"/v3/auth/tokens", "/v1/AUTH_p", wire.Auth}, {"/identity/v3/auth/tokens", "", wire.Auth}, {"/v3/", "", wire.Auth},
		{"/v3/abc/backups/info", "", wire.Other}, {"/", "", wire.Other}, {"/v1/", "", wire.Other},
	} {
		if got := wire.KindOf(c.path, c.storage); got != c.want {
			t.Errorf("%s under %q: %v, want %v", c.path, c.storage, got, c.want)
		}
	}
}

// The server's clock is ahead by 90.4 s; its Date has whole seconds only.
func TestSkewIsFoundToAFraction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ahead = 90400 * time.Millisecond
		var skew wire.Skew
		if _, _, ok := skew.Estimate(); ok {
			t.Error("an estimate of nothing")
		}
		off := ahead
		rt := wire.Chain(tripper(func(r *http.Request) (*http.Response, error) {
			time.Sleep(10 * time.Millisecond)
			resp := reply(200, http.NoBody)
			resp.Header.Set("Date", time.Now().Add(off).UTC().Truncate(time.Second).Format(http.TimeFormat))
			time.Sleep(10 * time.Millisecond)
			return resp, nil
		}), wire.Options{Skew: &skew})
		ask := func() {
			if _, err := rt.RoundTrip(request(t.Context(), "HEAD", nil)); err != nil {
				t.Fatal(err)
			}
		}
		ask()
		got, within, ok := skew.Estimate()
		if !ok || (got-ahead).Abs() > within || within > 520*time.Millisecond {
			t.Errorf("%v ± %v of %v", got, within, ahead)
		}
		for range 100 {
			time.Sleep(37 * time.Millisecond)
			ask()
		}
		if got, within, _ = skew.Estimate(); (got-ahead).Abs() > within || within > 40*time.Millisecond {
			t.Errorf("%v ± %v of %v", got, within, ahead)
		}
		off = -5 * time.Second // the clock was set
		ask()
		if got, _, _ = skew.Estimate(); (got - off).Abs() > time.Second {
			t.Errorf("%v after the clock was set to %v", got, off)
		}
	})
}

// Counters know since when nothing was answered: any reply ends that, and what the caller
// gave up says nothing.
func TestSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c wire.Counters
		var answer func() (*http.Response, error)
		chain := wire.Chain(tripper(func(*http.Request) (*http.Response, error) { return answer() }), wire.Options{Idle: time.Minute, Counters: &c})
		ask := func(ctx context.Context) time.Time {
			t.Helper()
			time.Sleep(time.Second)
			if resp, err := chain.RoundTrip(request(ctx, http.MethodGet, nil)); err == nil {
				_ = resp.Body.Close()
			}
			return c.Silent()
		}
		refused := func() (*http.Response, error) { return nil, errors.New("connection refused") }
		answer = func() (*http.Response, error) { return reply(200, http.NoBody), nil }
		if at := ask(t.Context()); !at.IsZero() {
			t.Errorf("it answered, and is silent since %s", at)
		}
		answer = refused
		given, give := context.WithCancel(t.Context())
		give()
		if at := ask(given); !at.IsZero() {
			t.Errorf("the caller gave up, and it is silent since %s", at)
		}
		want := time.Now().Add(time.Second)
		for range 3 {
			if at := ask(t.Context()); !at.Equal(want) {
				t.Errorf("silent since %s, want %s", at, want)
			}
		}
		answer = func() (*http.Response, error) { return reply(500, http.NoBody), nil }
		if at := ask(t.Context()); !at.IsZero() {
			t.Errorf("it answered, and is silent since %s", at)
		}
	})
}
