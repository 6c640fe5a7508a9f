package swift

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"farshore/transport"
)

// Head describes an object without following a link or a manifest.
func (e *Endpoint) Head(ctx context.Context, container, name string) (transport.Object, error) {
	return e.HeadVersion(ctx, container, name, "")
}

// HeadVersion describes a version of an object.
//
// Asked for the manifest itself, Swift tells a DLO as listings show it and spares
// itself the listing of the segments; but of an SLO it then tells size and ETag of
// the JSON, so an SLO takes a second request.
func (e *Endpoint) HeadVersion(ctx context.Context, container, name, version string) (transport.Object, error) {
	r := request{op: "head", method: http.MethodHead, container: container, name: name}
	for try := 0; ; try++ {
		r.query = manifestItself
		if try%2 == 1 {
			r.query = nil
		}
		resp, seen, err := e.look(ctx, r, version)
		if err != nil {
			return transport.Object{}, asMarker(err, version, seen)
		}
		drain(resp.Body)
		o, err := describe(name, resp)
		if err != nil {
			return transport.Object{}, e.fail(r, nil, err)
		}
		// Between the two requests it may become the other kind.
		if other := map[bool]transport.Kind{true: transport.SLO, false: transport.DLO}[try%2 == 0]; o.Kind != other || try == 3 {
			return o, nil
		}
	}
}

// asMarker says of a version that is not there whether it is a delete marker, whose 404
// bears the content type that makes it one.
func asMarker(err error, version string, seen http.Header) error {
	var te *transport.Error
	if version != "" && seen.Get("Content-Type") == markerType && errors.As(err, &te) && te.Class == transport.NotFound {
		te.Err = transport.ErrMarker
	}
	return err
}

// manifestItself asks for a large object's manifest instead of the whole.
var manifestItself = url.Values{"multipart-manifest": {"get"}}

// look sends a HEAD or GET with ?symlink=get, so that a link is seen as a link, and
// gives beside the reply the headers of a reply of any status.
//
// In a versioned container Swift itself puts a link before every object
// (object_versioning), and its ETag answers conditions; so there the link is asked
// for the version first, and then the version for what is wanted. Time and expiry
// are the link's: listings show the one, and versions have no other.
func (e *Endpoint) look(ctx context.Context, r request, version string) (*http.Response, http.Header, error) {
	query := url.Values{"symlink": {"get"}}
	for k, v := range r.query {
		query[k] = v
	}
	r.query = query
	if version != "" {
		query.Set("version-id", version)
	}
	var seen http.Header
	r.seen = &seen
	e.mu.Lock()
	_, versions := e.versioned[r.container]
	e.mu.Unlock()
	if version != "" || !versions {
		resp, err := e.do(ctx, r)
		_, behind := kindOf(seen)
		if behind && err == nil {
			_ = resp.Body.Close()
		}
		switch {
		case !behind:
			return resp, seen, err
		case version != "": // the current one is a version with an id: there is no "null"
			f := e.fail(r, nil, errors.New("404 Not Found: there is no such version"))
			f.Class, f.Status, f.TxID = transport.NotFound, http.StatusNotFound, txID(seen)
			return nil, seen, f
		}
		e.mu.Lock()
		e.versioned[r.container] = struct{}{}
		e.mu.Unlock()
	}
	link, err := e.simple(ctx, request{op: r.op, method: http.MethodHead, container: r.container, name: r.name, query: url.Values{"symlink": {"get"}}})
	if err != nil {
		return nil, nil, err
	}
	_, behind := kindOf(link.Header)
	if behind {
		query.Set("version-id", link.Header.Get("X-Object-Version-Id"))
	}
	resp, err := e.do(ctx, r)
	if err == nil && behind {
		for _, name := range []string{"X-Timestamp", "X-Delete-At"} {
			if v := link.Header.Get(name); v != "" {
				resp.Header.Set(name, v)
			}
		}
	}
	return resp, seen, err
}

// describe reads a reply's headers. The size is that of the whole object.
func describe(name string, resp *http.Response) (transport.Object, error) {
	kind, _ := kindOf(resp.Header)
	etag, _, _ := cleanETag(resp.Header.Get("Etag"))
	o := transport.Object{Name: name, ETag: etag, Kind: kind, Modified: modified(resp.Header), Header: capture(resp.Header),
		Size: resp.ContentLength, Version: resp.Header.Get("X-Object-Version-Id"), TargetSize: number(resp.Header, "X-Symlink-Target-Bytes", 0)}
	if kind == transport.SLO {
		o.ManifestETag = unquote(resp.Header.Get("X-Manifest-Etag"))
	}
	if resp.StatusCode == http.StatusPartialContent {
		_, _, total, err := contentRange(resp.Header.Get("Content-Range"))
		if err != nil {
			return o, err
		}
		o.Size = total
	}
	if o.Size < 0 {
		return o, errors.New("the reply does not say how long the object is")
	}
	return o, nil
}

// contentRange reads "bytes 5-9/20".
func contentRange(s string) (from, to, total int64, err error) {
	rest, ok := strings.CutPrefix(s, "bytes ")
	span, all, ok2 := strings.Cut(rest, "/")
	a, b, ok3 := strings.Cut(span, "-")
	if ok && ok2 && ok3 {
		var e1, e2, e3 error
		from, e1 = strconv.ParseInt(a, 10, 64)
		to, e2 = strconv.ParseInt(b, 10, 64)
		total, e3 = strconv.ParseInt(all, 10, 64)
		if e1 == nil && e2 == nil && e3 == nil && from <= to && to < total {
			return from, to, total, nil
		}
	}
	return 0, 0, 0, fmt.Errorf("the reply's Content-Range %q makes no sense", s)
}

// Open reads an object's bytes, or a range of them. With an ETag the server is
// asked for that version only (If-Match, L3), and the reply is checked to be it.
// The bytes of a whole plain object are compared with its ETag when they end.
//
// Nothing in the request tells a plain object from an SLO or a DLO, and only of a
// DLO the manifest's own bytes are wanted: that takes a second request.
func (e *Endpoint) Open(ctx context.Context, container, name string, o transport.OpenOptions) (transport.Object, io.ReadCloser, error) {
	obj, body, dynamic, err := e.open(ctx, container, name, o, nil)
	if dynamic {
		obj, body, _, err = e.open(ctx, container, name, o, manifestItself)
	}
	return obj, body, err
}

// open is Open with more of a query. dynamic says that the object is a DLO, and that
// what came, or did not, has to do with its segments.
func (e *Endpoint) open(ctx context.Context, container, name string, o transport.OpenOptions, query url.Values) (obj transport.Object, body io.ReadCloser, dynamic bool, err error) {
	r := request{op: "get", method: http.MethodGet, container: container, name: name, query: query,
		// No gzip on the way: the bytes and their length must be the object's own.
		header: map[string]string{"Accept-Encoding": "identity"}}
	if o.ETag != "" {
		r.header["If-Match"] = `"` + o.ETag + `"`
	}
	if o.Newest {
		r.header["X-Newest"] = "true"
	}
	switch {
	case o.Length == 0: // no range can say "nothing"
		r.method = http.MethodHead
	case o.Length > 0:
		r.header["Range"] = fmt.Sprintf("bytes=%d-%d", o.Offset, o.Offset+o.Length-1)
	case o.Offset > 0:
		r.header["Range"] = fmt.Sprintf("bytes=%d-", o.Offset)
	}
	resp, seen, err := e.look(ctx, r, o.Version)
	var kind transport.Kind
	if query == nil {
		kind = e.composed(ctx, r, o.Version, seen, err)
	}
	if kind == transport.DLO {
		if err == nil {
			_ = resp.Body.Close()
		}
		return transport.Object{}, nil, true, err
	}
	var f *transport.Error
	if kind == transport.SLO && errors.As(err, &f) && f.Status == http.StatusConflict {
		f.Class, f.Err = transport.Permanent, fmt.Errorf("%w: %w", transport.ErrManifest, f.Err)
		f.Hint = "nobody can read it in region " + e.o.Region + " as it is: upload it, or the segment, again there, or delete it"
		return transport.Object{}, nil, false, err
	}
	if errors.As(err, &f) && f.Status == http.StatusPreconditionFailed && o.ETag != "" {
		// An object that a server-side COPY made of an SLO keeps the SLO's ETag inside,
		// and Swift compares If-Match with that one although it shows the MD5 (seen on
		// Swift 2.30). So ask without the condition; the reply's own ETag decides.
		delete(r.header, "If-Match")
		resp, _, err = e.look(ctx, r, o.Version)
		if errors.As(err, &f) && (f.Status == http.StatusPreconditionFailed || f.Status == http.StatusRequestedRangeNotSatisfiable) {
			f.Class, f.Hint = transport.Changed, "" // what is there now is another version, and shorter
			return transport.Object{}, nil, false, err
		}
	}
	if errors.As(err, &f) && f.Status == http.StatusRequestedRangeNotSatisfiable {
		switch {
		case o.Offset == 0 && o.Length > 0: // an empty object satisfies no range
			o.Length = -1
			return e.open(ctx, container, name, o, query)
		case o.ETag == "":
			f.Class = transport.Changed // there is less of it than its listing said
		}
	}
	if err != nil {
		return transport.Object{}, nil, false, err
	}
	obj, body, class, err := e.opened(name, resp, o, r)
	if err != nil {
		_ = resp.Body.Close()
		f := e.fail(r, nil, err)
		f.Class, f.Status, f.TxID = class, resp.StatusCode, txID(resp.Header)
		return transport.Object{}, nil, false, f
	}
	return obj, body, false, nil
}

// composed gives the kind of a large object whose segments a reply to a GET or HEAD was
// about; "" of others, and of an SLO that could be read. Refusals do not say the kind:
// 404 where the container of a DLO's segments is missing, 409 where a segment is, 416 for
// a range that the concatenation lacks (S4, S5).
func (e *Endpoint) composed(ctx context.Context, r request, version string, seen http.Header, err error) transport.Kind {
	if kind, _ := kindOf(seen); kind == transport.DLO {
		return kind
	}
	var f *transport.Error
	if !errors.As(err, &f) {
		return ""
	}
	switch f.Status {
	case http.StatusNotFound, http.StatusConflict, http.StatusRequestedRangeNotSatisfiable:
		if o, err := e.HeadVersion(ctx, r.container, r.name, version); err == nil && (o.Kind == transport.DLO || o.Kind == transport.SLO) {
			return o.Kind
		}
	}
	return ""
}

// opened checks that a reply is what was asked for and makes its reader.
func (e *Endpoint) opened(name string, resp *http.Response, o transport.OpenOptions, r request) (transport.Object, io.ReadCloser, transport.Class, error) {
	obj, err := describe(name, resp)
	switch {
	case err != nil:
		return obj, nil, transport.Permanent, err
	case obj.Kind == transport.Symlink:
		_ = resp.Body.Close()
		return obj, nil, 0, nil
	case o.ETag != "" && obj.ETag != o.ETag:
		return obj, nil, transport.Changed, fmt.Errorf("asked for version %s, got %s", o.ETag, obj.ETag)
	}
	length := obj.Size
	if resp.StatusCode == http.StatusPartialContent {
		from, to, total, err := contentRange(resp.Header.Get("Content-Range"))
		if err != nil {
			return obj, nil, transport.Permanent, err
		}
		length = to - from + 1
		last := total - 1
		if o.Length > 0 {
			last = min(last, o.Offset+o.Length-1)
		}
		if r.header["Range"] == "" || from != o.Offset || to != last {
			return obj, nil, transport.Changed, fmt.Errorf("asked for %q, got %q", r.header["Range"], resp.Header.Get("Content-Range"))
		}
	} else if o.Length != 0 && (o.Offset > 0 || o.Length > 0 && o.Length < obj.Size) {
		return obj, nil, transport.Permanent, errors.New("the server ignores Range and answers with the whole object")
	}
	if o.Length == 0 {
		length = 0
	}
	body := &reader{body: resp.Body, left: length, e: e, r: r, tx: txID(resp.Header)}
	if length == obj.Size && o.Length != 0 && obj.Kind != transport.SLO && !o.Unchecked && len(obj.ETag) == 2*md5.Size {
		body.sum, body.want = md5.New(), obj.ETag
	}
	return obj, body, 0, nil
}

// reader gives exactly the announced bytes, or an error that says what went wrong.
type reader struct {
	body io.ReadCloser
	left int64
	sum  hash.Hash // nil: not checked
	want string
	err  error
	e    *Endpoint
	r    request
	tx   string
}

func (b *reader) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 && b.left > 0 {
		return 0, nil
	}
	if b.left == 0 {
		return 0, b.end()
	}
	n, err := b.body.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if b.sum != nil {
		b.sum.Write(p[:n])
	}
	switch {
	case err == io.EOF && b.left > 0:
		b.err = b.broken(transport.Transient, fmt.Errorf("the body ended %d bytes early: %w", b.left, io.ErrUnexpectedEOF))
	case err != nil && err != io.EOF:
		f := b.e.fail(b.r, nil, err)
		f.TxID = b.tx
		b.err = f
	case b.left == 0 && n == 0, err == io.EOF:
		return n, b.end()
	}
	return n, b.err
}

// end is reached when all announced bytes are there: is there more, and is it what the ETag says?
func (b *reader) end() error {
	var one [1]byte
	n, _ := io.ReadFull(b.body, one[:])
	switch {
	case n > 0:
		b.err = b.broken(transport.Corrupt, errors.New("the body is longer than announced"))
	case b.sum != nil && hex.EncodeToString(b.sum.Sum(nil)) != b.want:
		b.err = b.broken(transport.Corrupt, fmt.Errorf("the bytes have MD5 %x but the object's ETag is %s", b.sum.Sum(nil), b.want))
	default:
		b.err = io.EOF
	}
	return b.err
}

func (b *reader) broken(c transport.Class, err error) error {
	f := b.e.fail(b.r, nil, err)
	f.Class, f.TxID = c, b.tx
	return f
}

// Close ends the reading; the connection is used again only if all was read.
func (b *reader) Close() error {
	if b.err == nil {
		b.err = b.broken(transport.Permanent, errors.New("read after close"))
	}
	return b.body.Close()
}
