package transport

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"
)

// Retry puts the one retry layer before an endpoint, which makes one attempt a
// call. Transient and Throttled failures are made again within the policy; others are
// the caller's, except that Corrupt bytes which can be had once more get a second try.
//
// Every request takes a slot of link, a GET only until its headers are there:
// readers that are held open must not keep others out. link may be nil: no gate.
//
// Errors keep the fields of the last attempt's *Error and say how many tries there
// were. A context that has ended already is refused before anything is sent.
func Retry(ep Sink, link *Link, p RetryPolicy) Sink {
	if link == nil {
		link = NewLink(LinkOptions{Start: 1 << 20, Max: 1 << 20, Clock: p.Clock})
	}
	return &retrier{ep: ep, link: link, p: p.withDefaults()}
}

type retrier struct {
	ep   Sink
	link *Link
	p    RetryPolicy

	heard atomic.Bool // the region has answered something
}

var _ Sink = (*retrier)(nil)

// budget starts the bookkeeping of a call, and refuses it if ctx has ended.
func (r *retrier) budget(ctx context.Context, op, container, name string) (*budget, error) {
	p := r.p
	if r.heard.Load() {
		p.Refused = 0
	}
	if once, _ := ctx.Value(onceKey{}).(bool); once {
		p.Attempts, p.ThrottleAttempts = 1, 1
	}
	p.Observer = func(a Attempt) {
		r.link.Retried()
		if r.p.Observer != nil {
			r.p.Observer(a)
		}
	}
	b := newBudget(p, Attempt{Op: op, Region: r.link.region, Container: container, Name: name})
	if cause := context.Cause(ctx); cause != nil {
		return nil, b.canceled(cause, nil)
	}
	return b, nil
}

// once makes one attempt within a slot.
func (r *retrier) once(ctx context.Context, b *budget, bytes int64, f func() error) error {
	release, err := r.link.Acquire(ctx)
	if err != nil {
		return b.canceled(err, nil)
	}
	err = f()
	if err != nil {
		bytes = 0
	}
	var e *Error
	if err == nil || errors.As(err, &e) && e.Status != 0 {
		r.heard.Store(true)
	}
	release(Result{Err: err, Bytes: bytes})
	return err
}

// call makes attempts until one succeeds or the budget is used up.
func (r *retrier) call(ctx context.Context, op, container, name string, f func() error) error {
	b, err := r.budget(ctx, op, container, name)
	if err != nil {
		return err
	}
	for {
		err := r.once(ctx, b, 0, f)
		if err == nil {
			return nil
		}
		if err = b.failed(ctx, err); err != nil {
			return err
		}
	}
}

func (r *retrier) Container(ctx context.Context, container string) (info ContainerInfo, err error) {
	err = r.call(ctx, "look at", container, "", func() (err error) {
		info, err = r.ep.Container(ctx, container)
		return err
	})
	return info, err
}

func (r *retrier) Split(ctx context.Context, container string, rg Range, n int) (cuts []string, err error) {
	err = r.call(ctx, "list", container, "", func() (err error) {
		cuts, err = r.ep.Split(ctx, container, rg, n)
		return err
	})
	return cuts, err
}

func (r *retrier) Head(ctx context.Context, container, name string) (o Object, err error) {
	err = r.call(ctx, "head", container, name, func() (err error) {
		o, err = r.ep.Head(ctx, container, name)
		return err
	})
	return o, err
}

func (r *retrier) CreateContainer(ctx context.Context, container string, h Header) error {
	return r.call(ctx, "create", container, "", func() error { return r.ep.CreateContainer(ctx, container, h) })
}

func (r *retrier) DeleteContainer(ctx context.Context, container string) error {
	again := false
	return r.call(ctx, "delete", container, "", func() error {
		err := r.ep.DeleteContainer(ctx, container)
		if again && Is(err, NotFound) {
			return nil // by the try before, whose reply was lost
		}
		again = true
		return err
	})
}

func (r *retrier) Post(ctx context.Context, container, name string, h Header) error {
	return r.call(ctx, "post", container, name, func() error { return r.ep.Post(ctx, container, name, h) })
}

func (r *retrier) Delete(ctx context.Context, container, name string) error {
	return r.call(ctx, "delete", container, name, func() error { return r.ep.Delete(ctx, container, name) })
}

func (r *retrier) DeleteMany(ctx context.Context, container string, names []string) error {
	return r.call(ctx, "delete", container, "", func() error { return r.ep.DeleteMany(ctx, container, names) })
}

func (r *retrier) Abilities(ctx context.Context) (a Abilities, err error) {
	err = r.call(ctx, "ask for the limits", "", "", func() (err error) {
		a, err = r.ep.Abilities(ctx)
		return err
	})
	return a, err
}

func (r *retrier) Identity(ctx context.Context) (id Identity, err error) {
	err = r.call(ctx, "log in", "", "", func() (err error) {
		id, err = r.ep.Identity(ctx)
		return err
	})
	return id, err
}

// Containers holds a slot until the first row: what the caller does with the rows
// may need slots of the same link.
func (r *retrier) Containers(ctx context.Context, prefix string, yield func(ContainerInfo) error) error {
	b, err := r.budget(ctx, "list", "", "")
	if err != nil {
		return err
	}
	var (
		last    string
		any     bool
		stopped error // by yield: not a failure of the listing
	)
	for {
		release, err := r.link.Acquire(ctx)
		if err != nil {
			return b.canceled(err, nil)
		}
		began := r.p.Clock.Now()
		err = r.ep.Containers(ctx, prefix, func(c ContainerInfo) error {
			release(Result{})
			if any && c.Name <= last {
				return nil // told already, before a failure
			}
			b.refill()
			if stopped = yield(c); stopped != nil {
				return stopped
			}
			last, any = c.Name, true
			return nil
		})
		release(Result{Err: err})
		switch {
		case stopped != nil:
			return stopped
		case err == nil:
			return nil
		}
		r.link.Report(began, Result{Err: err})
		if err = b.failed(ctx, err); err != nil {
			return err
		}
	}
}

// List goes on after the last name it has told of when a page fails. It holds a
// slot for the pages' requests, but not while the caller works on a page.
func (r *retrier) List(ctx context.Context, container string, rg Range, yield func([]Entry) error) error {
	b, err := r.budget(ctx, "list", container, "")
	if err != nil {
		return err
	}
	var stopped error
	for {
		release, err := r.link.Acquire(ctx)
		if err != nil {
			return b.canceled(err, nil)
		}
		err = r.ep.List(ctx, container, rg, func(page []Entry) error {
			release(Result{})
			if len(page) > 0 {
				b.refill()
				last := page[len(page)-1].Name
				if stopped = yield(page); stopped != nil {
					return stopped
				}
				rg.After = last
			}
			next, err := r.link.Acquire(ctx)
			if err != nil {
				stopped = b.canceled(err, nil)
				return stopped
			}
			release = next
			return nil
		})
		release(Result{Err: err})
		switch {
		case stopped != nil:
			return stopped
		case err == nil:
			return nil
		}
		if err = b.failed(ctx, err); err != nil {
			return err
		}
	}
}

// Put sends the body again only if it can be had again. An IfAbsent PUT whose
// first try was carried out although it failed (its reply was lost, or too few
// replicas answered) finds its own object on the next: that is success, and told from another's
// object by ETag and stamp.
func (r *retrier) Put(ctx context.Context, container, name string, body Body, o PutOptions) (rec Receipt, err error) {
	b, err := r.budget(ctx, "put", container, name)
	if err != nil {
		return rec, err
	}
	b.repeatCorrupt = !body.Once
	for {
		if got, ok, err := r.already(ctx, b, body.MD5, o); ok || err != nil {
			return got, err
		}
		err := r.once(ctx, b, body.Size, func() (err error) {
			rec, err = r.ep.Put(ctx, container, name, body, o)
			return err
		})
		switch {
		case err == nil:
			return rec, nil
		case body.Once:
			return Receipt{}, err
		case b.total > 0 && o.IfAbsent && Is(err, Exists):
			return r.settle(ctx, err, container, name, body.MD5, o)
		}
		if err = b.failed(ctx, err); err != nil {
			return Receipt{}, err
		}
	}
}

// settle decides whether the object that is in the way of a repeated IfAbsent PUT
// is the one that the first try wrote.
func (r *retrier) settle(ctx context.Context, exists error, container, name, etag string, o PutOptions) (Receipt, error) {
	got, err := r.Head(ctx, container, name)
	if err != nil {
		return Receipt{}, err
	}
	if got.Header[OriginHeader] != o.Header[OriginHeader] || !made(got, etag, o) {
		return Receipt{}, exists
	}
	return receiptOf(got), nil
}

// receiptOf gives the receipt that the PUT of an object got or would have got.
func receiptOf(o Object) Receipt {
	at := o.Modified.Truncate(time.Second)
	if at.Before(o.Modified) {
		at = at.Add(time.Second) // as Swift rounds in the reply of a PUT (L1b)
	}
	return Receipt{ETag: o.ETag, Modified: at, Version: o.Version}
}

// already looks, before a write into a versioned container is made again, whether
// an earlier try was carried out: another version is more than the source has. Where that
// cannot be found out the write is not made again: its caller looks later.
func (r *retrier) already(ctx context.Context, b *budget, etag string, o PutOptions) (Receipt, bool, error) {
	if b.total == 0 || !o.Versioned {
		return Receipt{}, false, nil
	}
	got, err := r.Head(ctx, b.at.Container, b.at.Name)
	switch {
	case Is(err, NotFound):
		return Receipt{}, false, nil
	case err != nil:
		return Receipt{}, false, err
	case got.Header[OriginHeader] != o.Header[OriginHeader] || !made(got, etag, o):
		return Receipt{}, false, nil // perhaps an older version with the same bytes
	}
	return receiptOf(got), true, nil
}

func (r *retrier) PutManifest(ctx context.Context, container, name string, segments []Segment, o PutOptions) (Receipt, error) {
	sum := md5.New()
	for _, s := range segments {
		sum.Write([]byte(s.ETag))
	}
	return r.silent(ctx, "put", container, name, hex.EncodeToString(sum.Sum(nil)), o, int64(len(segments))*silentRate/20, func() (Receipt, error) {
		return r.ep.PutManifest(ctx, container, name, segments, o)
	})
}

func (r *retrier) Collapse(ctx context.Context, fromContainer, fromName, toContainer, toName, md5 string, size int64, h Header) (Receipt, error) {
	return r.silent(ctx, "collapse", toContainer, toName, md5, PutOptions{Header: h}, size, func() (Receipt, error) {
		return r.ep.Collapse(ctx, fromContainer, fromName, toContainer, toName, md5, size, h)
	})
}

// A silent call's work on so many bytes a second, and silentLeast beside, is far
// slower than any seen (L1: 100 MB/s): after that it is not running any more.
const (
	silentRate  = 4_000_000
	silentLeast = 15 * time.Second
)

// silent makes a call that the server works on in silence (R11). When the reply
// is lost the work may be going on: a second call would start it a second time beside
// the first, so its outcome is looked for instead, for as long as work on size bytes
// can take and no longer than RetryPolicy.SilentWait.
func (r *retrier) silent(ctx context.Context, op, container, name, etag string, o PutOptions, size int64, f func() (Receipt, error)) (rec Receipt, err error) {
	b, err := r.budget(ctx, op, container, name)
	if err != nil {
		return rec, err
	}
	for {
		if got, ok, err := r.already(ctx, b, etag, o); ok || err != nil {
			return got, err
		}
		err := r.once(ctx, b, 0, func() (err error) {
			rec, err = f()
			return err
		})
		if err == nil {
			return rec, nil
		}
		if b.total > 0 && o.IfAbsent && Is(err, Exists) {
			return r.settle(ctx, err, container, name, etag, o)
		}
		if replyLost(err) && context.Cause(ctx) == nil {
			longest := silentLeast + time.Duration(size/silentRate)*time.Second
			return r.look(ctx, b, err, etag, o, min(longest, r.p.SilentWait))
		}
		if err = b.failed(ctx, err); err != nil {
			return Receipt{}, err
		}
	}
}

// look asks for the object until it is the one that a call whose reply was lost was to make.
func (r *retrier) look(ctx context.Context, b *budget, lost error, etag string, o PutOptions, longest time.Duration) (Receipt, error) {
	b.total++
	wait, end := 2*time.Second, r.p.Clock.Now().Add(longest)
	for {
		got, err := r.Head(ctx, b.at.Container, b.at.Name)
		switch {
		case err == nil && made(got, etag, o):
			return receiptOf(got), nil
		case context.Cause(ctx) != nil:
			return Receipt{}, b.canceled(context.Cause(ctx), lost)
		case err != nil && !Is(err, NotFound) && !Is(err, Transient) && !Is(err, Throttled):
			return Receipt{}, err
		}
		left := end.Sub(r.p.Clock.Now())
		if left <= 0 {
			return Receipt{}, b.unknown(lost, longest)
		}
		if cause := Sleep(ctx, r.p.Clock, min(wait, left), nil); cause != nil {
			return Receipt{}, b.canceled(cause, lost)
		}
		wait = min(wait*2, 20*time.Second)
	}
}

// made reports whether the object is what the call was to make, and not an older
// one with the same bytes.
func made(got Object, etag string, o PutOptions) bool {
	if !strings.EqualFold(got.ETag, etag) {
		return false
	}
	if stamp := o.Header[OriginHeader]; stamp != "" && got.Header[OriginHeader] == stamp {
		return true
	}
	// What was not said the server may have filled in.
	rest := got.Header.Clone()
	if _, said := o.Header["Content-Type"]; !said {
		delete(rest, "Content-Type")
	}
	if o.DeleteAfter > 0 {
		delete(rest, "X-Delete-At")
	}
	return rest.Digest() == o.Header.Digest()
}

// replyLost reports whether a failed request may have been, or still be, carried
// out: no reply came, or only a gateway's that has no answer either. A server's own
// error is an answer, and a connection that was never made carried nothing.
func replyLost(err error) bool {
	if err == nil || !Is(err, Transient) && !Is(err, Canceled) {
		return false
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return false
	}
	var e *Error
	if errors.As(err, &e) {
		switch e.Status {
		case 0, 408, 499, 502, 504:
			return true
		}
		return false
	}
	return true
}

// Open gives a reader that goes on where it was when the bytes stop coming.
func (r *retrier) Open(ctx context.Context, container, name string, o OpenOptions) (Object, io.ReadCloser, error) {
	b, err := r.budget(ctx, "get", container, name)
	if err != nil {
		return Object{}, nil, err
	}
	b.repeatCorrupt = true
	var (
		obj  Object
		body io.ReadCloser
	)
	for {
		err := r.once(ctx, b, 0, func() (err error) {
			obj, body, err = r.ep.Open(ctx, container, name, o)
			return err
		})
		if err == nil {
			break
		}
		if err = b.failed(ctx, err); err != nil {
			return Object{}, nil, err
		}
	}
	if body == nil {
		return obj, nil, nil
	}
	return obj, newResuming(ctx, r, b, obj, body, o), nil
}
