package wire

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"farshore/transport"
)

type chain struct {
	base http.RoundTripper
	o    Options
}

// RoundTrip implements http.RoundTripper.
func (c *chain) RoundTrip(req *http.Request) (*http.Response, error) {
	kind, told := req.Context().Value(kindKey{}).(Kind)
	if !told {
		kind = c.o.Kind(req)
	}
	idle := c.o.Idle
	if d, ok := req.Context().Value(idleKey{}).(time.Duration); ok && d > 0 {
		idle = d
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	w := newWatch(idle, cancel)
	out := req.WithContext(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		if ready, err := c.atOnce(req); err != nil {
			cancel(errDone)
			_ = req.Body.Close()
			return nil, err
		} else if !ready {
			c.wrap(req, out, w)
		}
	}
	start := time.Now()
	w.arm(Waiting)
	resp, err := c.base.RoundTrip(out)
	w.headersCame()
	if err != nil {
		c.o.Counters.count(req.Method, kind, 0)
		err = w.explain(err)
		if req.Context().Err() == nil {
			c.o.Counters.unanswered(start)
		}
		if w.stalled() {
			c.o.Counters.stalls.Add(1)
		}
		cancel(errDone)
		return nil, err
	}
	c.o.Counters.count(req.Method, kind, resp.StatusCode)
	c.o.Counters.answered()
	if kind.store() {
		c.o.Skew.observe(resp.Header.Get("Date"), start, time.Now())
	}
	resp.Body = &replyBody{body: resp.Body, watch: w, cancel: cancel, counters: c.o.Counters}
	return resp, nil
}

// atOnce pays for a body that lies in memory and may be handed over in one piece. It
// goes on as it is, so that net/http sends it in one packet with the headers.
func (c *chain) atOnce(req *http.Request) (bool, error) {
	n := int(min(req.ContentLength, maxSlice+1))
	if req.GetBody == nil || n < 1 || n > maxSlice || transport.LimitedSlice(req.Context(), n) < n {
		return false, nil
	}
	if err := transport.WaitLimits(req.Context(), n); err != nil {
		return false, err
	}
	c.o.Counters.sent.Add(int64(n))
	return true, nil
}

// wrap puts counter, limits and watchdog before the body of out, a copy of req.
func (c *chain) wrap(req, out *http.Request, w *watch) {
	wrap := func(b io.ReadCloser) io.ReadCloser {
		return &requestBody{body: b, ctx: out.Context(), watch: w, counters: c.o.Counters}
	}
	out.Body = wrap(req.Body)
	if get := req.GetBody; get != nil {
		out.GetBody = func() (io.ReadCloser, error) {
			b, err := get()
			if err != nil {
				return nil, err
			}
			return wrap(b), nil
		}
	}
}

// watch ends a request once its peer has been silent for idle. It runs only
// while the next move is the peer's: the time spent in our own limits, in the source of
// a body, or between a caller's reads of the reply is not the peer's.
type watch struct {
	idle   time.Duration
	cancel context.CancelCauseFunc
	timer  *time.Timer

	mu      sync.Mutex
	armed   bool
	headers bool // the reply's headers have come
	phase   Phase
	bytes   int64
	err     *StallError
}

func newWatch(idle time.Duration, cancel context.CancelCauseFunc) *watch {
	return &watch{idle: idle, cancel: cancel}
}

// begin and end the waiting. mu is held.
func (w *watch) begin() {
	w.armed = true
	if w.timer == nil {
		w.timer = time.AfterFunc(w.idle, w.fire)
		return
	}
	w.timer.Reset(w.idle)
}

func (w *watch) end() {
	w.armed = false
	if w.timer != nil {
		w.timer.Stop()
	}
}

// fire runs on the timer. A timer that was stopped too late finds armed false.
func (w *watch) fire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.armed {
		return
	}
	w.armed = false
	w.err = &StallError{Idle: w.idle, Phase: w.phase, Bytes: w.bytes}
	w.cancel(w.err)
}

func (w *watch) arm(p Phase) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return
	}
	if w.phase != p {
		w.phase, w.bytes = p, 0
	}
	w.begin()
}

func (w *watch) disarm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end()
}

// bodyReads tells that the transport asks for more of the request body, so what
// it had is on its way: the next move is ours.
func (w *watch) bodyReads() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.headers {
		w.end()
	}
}

// bodyRead tells that n bytes were handed to the transport; after the last ones
// only the reply is missing.
func (w *watch) bodyRead(n int, last bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.headers || w.err != nil {
		// A server may answer before it has read everything. From then on its
		// silence is measured where the reply is read.
		return
	}
	sent := w.bytes + int64(n)
	w.phase = Sending
	if last {
		w.phase, sent = Waiting, 0
	}
	w.bytes = sent
	w.begin()
}

func (w *watch) headersCame() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.headers = true
	w.end()
}

func (w *watch) read(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bytes += int64(n)
}

func (w *watch) stalled() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err != nil
}

// explain replaces the "context canceled" that our own ending of the request
// causes below by the reason.
func (w *watch) explain(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	return err
}

// requestBody counts, limits and watches the bytes of a request.
type requestBody struct {
	body     io.ReadCloser
	ctx      context.Context // the request's: waiting for a limit ends with it
	watch    *watch
	counters *Counters
}

func (b *requestBody) Read(p []byte) (int, error) {
	b.watch.bodyReads()
	n, err := b.body.Read(p[:transport.LimitedSlice(b.ctx, min(len(p), maxSlice))])
	if n > 0 {
		if werr := transport.WaitLimits(b.ctx, n); werr != nil {
			return 0, werr
		}
		b.counters.sent.Add(int64(n))
	}
	b.watch.bodyRead(n, err != nil)
	return n, err
}

func (b *requestBody) Close() error { return b.body.Close() }

// replyBody counts and watches the bytes of a reply. Reads are not concurrent
// with each other; Close may come at any time.
type replyBody struct {
	body     io.ReadCloser
	watch    *watch
	cancel   context.CancelCauseFunc
	counters *Counters
	ended    atomic.Bool
}

func (b *replyBody) Read(p []byte) (int, error) {
	b.watch.arm(Reading)
	n, err := b.body.Read(p)
	b.watch.disarm()
	b.watch.read(n)
	b.counters.received.Add(int64(n))
	if err == nil {
		return n, nil
	}
	if !errors.Is(err, io.EOF) {
		err = b.watch.explain(err)
		if b.watch.stalled() && b.ended.CompareAndSwap(false, true) {
			b.counters.stalls.Add(1)
		}
	}
	b.cancel(errDone)
	return n, err
}

func (b *replyBody) Close() error {
	b.watch.disarm()
	b.cancel(errDone)
	return b.body.Close()
}
