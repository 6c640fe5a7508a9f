package fakecloud

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// errCut ends a handler whose connection a fault has taken away.
var errCut = errors.New("connection cut by a fault")

// replyPlan is what faults do to one reply; offsets are -1 when unused.
type replyPlan struct {
	truncate, flip, stall, hook int64
	cut                         Cut
	run                         func()
	mute                        bool // handled, but never answered
}

// responder counts, paces and spoils a reply. It is used by one goroutine.
type responder struct {
	http.ResponseWriter
	rg     *Region
	ctx    context.Context
	status int
	sent   int64
	plan   *replyPlan
	gone   bool
	before func() // completes the headers
}

func (w *responder) WriteHeader(code int) {
	if w.status != 0 {
		return
	}
	w.status = code
	if w.before != nil {
		w.before()
	}
	if p := w.plan; p != nil {
		if p.mute {
			return
		}
		h := w.Header()
		switch {
		case p.truncate < 0:
		case p.cut == CutShortLength:
			if n, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64); err == nil && n > p.truncate {
				h["Content-Length"] = []string{strconv.FormatInt(p.truncate, 10)}
			}
		case p.cut == CutChunked:
			delete(h, "Content-Length")
		}
	}
	w.ResponseWriter.WriteHeader(code)
}

// Write sends p; faults may end it with errCut.
func (w *responder) Write(p []byte) (int, error) {
	if w.gone {
		return 0, errCut
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.plan != nil {
		return w.spoiled(p)
	}
	return w.paced(p)
}

func (w *responder) paced(p []byte) (int, error) {
	if w.rg.link.rate.Load() <= 0 {
		n, err := w.ResponseWriter.Write(p)
		w.sent += int64(n)
		return n, err
	}
	done := 0
	for done < len(p) {
		part := p[done:min(len(p), done+slice)]
		if err := w.rg.link.carry(w.ctx, len(part)); err != nil {
			return done, err
		}
		n, err := w.ResponseWriter.Write(part)
		done += n
		w.sent += int64(n)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// spoiled writes p up to the next offset at which a fault waits, lets it
// happen, and goes on.
func (w *responder) spoiled(p []byte) (int, error) {
	plan := w.plan
	if plan.mute {
		return len(p), nil
	}
	done := 0
	for {
		if err := w.atOffset(); err != nil {
			return done, err
		}
		if done == len(p) {
			return done, nil
		}
		if plan.truncate == w.sent {
			return len(p), nil // a clean, wrong end: the rest is swallowed
		}
		end := int64(len(p) - done)
		for _, at := range []int64{plan.truncate, plan.stall, plan.hook, plan.flip, plan.flip + 1} {
			if at > w.sent {
				end = min(end, at-w.sent)
			}
		}
		part := p[done : done+int(end)]
		if plan.flip == w.sent {
			part = []byte{part[0] ^ 0xff}
		}
		n, err := w.paced(part)
		done += n
		if err != nil {
			return done, err
		}
	}
}

func (w *responder) atOffset() error {
	plan := w.plan
	if plan.hook == w.sent {
		plan.hook = -1
		plan.run()
	}
	if plan.stall == w.sent {
		w.flush()
		w.hold()
		return errCut
	}
	if plan.truncate == w.sent && (plan.cut == CutReset || plan.cut == CutClose) {
		w.flush()
		w.sever(plan.cut == CutReset)
		return errCut
	}
	return nil
}

func (w *responder) flush() {
	if w.plan != nil && w.plan.mute {
		return // flushing nothing says 200
	}
	// A client that has gone is noticed by the next write.
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// hold waits until the client or the region goes, then makes sure that nothing
// more is said: a handler that merely returned would have answered 200.
func (w *responder) hold() {
	<-w.ctx.Done()
	w.sever(true)
}

// sever takes the connection away from the server and ends it, with a TCP
// reset or an orderly close.
func (w *responder) sever(reset bool) {
	w.gone = true
	conn, buf, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return
	}
	_ = buf.Flush()
	if t, ok := conn.(*net.TCPConn); ok && reset {
		_ = t.SetLinger(0)
	}
	_ = conn.Close()
}

// bodyReader counts, paces and spoils a request's body.
type bodyReader struct {
	r     io.Reader
	w     *responder
	count int64
	plan  *bodyPlan
}

type bodyPlan struct {
	truncate, flip, stall int64 // -1 when unused
}

func (b *bodyReader) Read(p []byte) (int, error) {
	limited := b.w.rg.link.rate.Load() > 0
	if limited && len(p) > slice {
		p = p[:slice]
	}
	if pl := b.plan; pl != nil {
		if pl.stall == b.count {
			b.w.hold()
			return 0, errCut
		}
		if pl.truncate == b.count {
			b.w.sever(true)
			return 0, errCut
		}
		for _, at := range []int64{pl.truncate, pl.stall} {
			if at > b.count && at-b.count < int64(len(p)) {
				p = p[:at-b.count]
			}
		}
	}
	n, err := b.r.Read(p)
	if pl := b.plan; pl != nil && pl.flip >= b.count && pl.flip < b.count+int64(n) {
		p[pl.flip-b.count] ^= 0xff
	}
	b.count += int64(n)
	if limited && n > 0 {
		if cerr := b.w.rg.link.carry(b.w.ctx, n); cerr != nil {
			b.w.sever(true)
			return n, cerr
		}
	}
	return n, err
}

// prepare sorts the actions of a request into what happens now and what happens
// to its bodies. It reports false when the request ends here.
func (q *request) prepare(acts []Action) bool {
	for _, a := range acts {
		switch a.Kind {
		case kindDelay:
			if pause(q.w.ctx, a.Delay) != nil {
				q.w.sever(true)
				return false
			}
		case kindStall:
			q.w.hold()
			return false
		case kindReset:
			q.w.sever(true)
			return false
		case kindStatus:
			for k, v := range a.Header {
				q.w.Header().Set(k, v)
			}
			q.fail(a.Status)
			return false
		case kindLie:
			q.lieAt = a.After
		case kindTruncateBody, kindFlipBody, kindStallBody:
			q.spoilRequest(a)
		default:
			q.spoilReply(a)
		}
	}
	return true
}

func (q *request) spoilRequest(a Action) {
	if q.body.plan == nil {
		q.body.plan = &bodyPlan{-1, -1, -1}
	}
	switch a.Kind {
	case kindTruncateBody:
		q.body.plan.truncate = a.After
	case kindFlipBody:
		q.body.plan.flip = a.After
	case kindStallBody:
		q.body.plan.stall = a.After
	}
}

func (q *request) spoilReply(a Action) {
	if q.w.plan == nil {
		q.w.plan = &replyPlan{truncate: -1, flip: -1, stall: -1, hook: -1}
	}
	p := q.w.plan
	switch a.Kind {
	case kindTruncate:
		p.truncate, p.cut = a.After, a.Cut
	case kindFlip:
		p.flip = a.After
	case kindStallReply:
		p.stall = a.After
	case kindHook:
		p.hook, p.run = a.After, a.Hook
	case kindLose:
		p.mute = true
	case kindHang:
		p.mute, q.hang = true, true
	}
}

// settle ends a reply that faults have plans for.
func (q *request) settle() {
	p := q.w.plan
	if p == nil || q.w.gone {
		return
	}
	if p.mute {
		if q.hang {
			q.w.hold()
			return
		}
		q.w.sever(true)
		return
	}
	// An empty body reaches its offset 0 without a Write.
	if q.w.sent == 0 {
		_ = q.w.atOffset()
	}
}

// httpDate renders the Date header.
func httpDate(t time.Time) string {
	return t.UTC().Format("Mon, 02 Jan 2006 15:04:05") + " GMT"
}
