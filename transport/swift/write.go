package swift

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"farshore/transport"
)

// Put writes an object: plain, a DLO or a link, as its headers say. Its MD5 goes along as ETag, so the server refuses
// other bytes (422), and what the server says it stored is compared again. An
// X-Delete-At that has passed gives class NotFound and transport.ErrExpired.
func (e *Endpoint) Put(ctx context.Context, container, name string, body transport.Body, o transport.PutOptions) (transport.Receipt, error) {
	if strings.Contains(o.Header["Content-Type"], ";swift_") {
		return e.putReserved(ctx, container, name, body, o)
	}
	r := request{op: "put", method: http.MethodPut, container: container, name: name, body: &body}
	header, err := writing(o.Header, o)
	if err == nil && body.MD5 == "" {
		err = errors.New("a body without MD5")
	}
	if err != nil {
		return transport.Receipt{}, e.permanent(r, err)
	}
	r.header = header
	r.header["Etag"] = body.MD5
	var seen http.Header
	r.seen = &seen
	resp, err := e.simple(ctx, r)
	if id := seen.Get("X-Object-Version-Id"); id != "" && transport.Is(err, transport.Exists) {
		// object_versioning stores the bytes before it meets the condition.
		_ = e.DeleteVersion(context.WithoutCancel(ctx), container, name, id)
	}
	if err != nil {
		return transport.Receipt{}, linkError(err, r)
	}
	return e.receipt(r, resp, body.MD5)
}

// putReserved writes an object whose content type has a parameter of Swift's own, as the
// delete markers that X-History-Location leaves in an archive have. A PUT with one is
// refused (400), a POST is not.
func (e *Endpoint) putReserved(ctx context.Context, container, name string, body transport.Body, o transport.PutOptions) (transport.Receipt, error) {
	plain := o
	plain.Header = o.Header.Clone()
	plain.Header["Content-Type"], _, _ = strings.Cut(o.Header["Content-Type"], ";swift_")
	rec, err := e.Put(ctx, container, name, body, plain)
	if transport.Is(err, transport.Exists) { // perhaps by a try before this one, which got no further
		got, herr := e.Head(ctx, container, name)
		if herr != nil || got.ETag != body.MD5 || got.Header.Digest() != plain.Header.Digest() || got.Header[transport.OriginHeader] != o.Header[transport.OriginHeader] {
			return rec, err
		}
		err = nil
	}
	if err == nil {
		err = e.Post(ctx, container, name, o.Header)
	}
	if err != nil {
		return transport.Receipt{}, err
	}
	got, err := e.Head(ctx, container, name)
	if err != nil {
		return transport.Receipt{}, err
	}
	rec.ETag, rec.Modified = got.ETag, got.Modified.Add(time.Second-1).Truncate(time.Second)
	return rec, nil
}

// linkError tells what a refused static link lacks: its target, which must be there
// with the ETag that the link names (S6).
func linkError(err error, r request) error {
	var f *transport.Error
	if r.header[transport.TargetETagHeader] == "" || !errors.As(err, &f) || f.Status != http.StatusConflict {
		return err
	}
	switch text := f.Err.Error(); {
	case strings.Contains(text, "does not exist"):
		f.Class = transport.NotFound
	case strings.Contains(text, "not match"):
		f.Class = transport.Corrupt
	default:
		return err
	}
	f.Err = fmt.Errorf("%w: %w", transport.ErrTarget, f.Err)
	f.Hint = "the link's target must be at the region first, with the ETag that the link names"
	return f
}

// permanent is an error of the request itself, before anything was sent.
func (e *Endpoint) permanent(r request, err error) error {
	f := e.fail(r, nil, err)
	f.Class = transport.Permanent
	return f
}

// receipt reads the reply to a write and insists on the ETag.
func (e *Endpoint) receipt(r request, resp *http.Response, want string) (transport.Receipt, error) {
	etag, _, _ := cleanETag(resp.Header.Get("Etag"))
	if etag == "" && resp.StatusCode == http.StatusAccepted {
		// Swift's answer to a PUT that is older than what the object servers already have.
		f := e.fail(r, nil, errors.New("202 Accepted: a newer write of this name has won"))
		f.Class, f.Status, f.TxID = transport.Transient, resp.StatusCode, txID(resp.Header)
		return transport.Receipt{}, f
	}
	if etag != want {
		f := e.fail(r, nil, fmt.Errorf("the region stored MD5 %q instead of %s", etag, want))
		f.Class, f.Status, f.TxID = transport.Corrupt, resp.StatusCode, txID(resp.Header)
		return transport.Receipt{}, f
	}
	rc := transport.Receipt{ETag: etag, Version: resp.Header.Get("X-Object-Version-Id")}
	for _, name := range []string{"Last-Modified", "Date"} {
		if t, err := http.ParseTime(resp.Header.Get(name)); err == nil {
			rc.Modified = t.UTC()
			return rc, nil
		}
	}
	rc.Modified = e.o.Clock().UTC().Truncate(time.Second).Add(time.Second)
	return rc, nil
}

// Post replaces an object's metadata. Swift then drops whatever of X-Object-Meta-*,
// Content-Encoding, -Disposition, -Language, Cache-Control, Expires, X-Robots-Tag,
// X-Delete-At and X-Object-Manifest is not said again, and keeps the content
// type unless one is said. At a symlink it changes the link and answers 307 (S6),
// which is success here; what it points to cannot be said again (400). An X-Delete-At that has passed gives class NotFound and
// transport.ErrExpired: by now the source must be gone, too.
func (e *Endpoint) Post(ctx context.Context, container, name string, h transport.Header) error {
	r := request{op: "post", method: http.MethodPost, container: container, name: name}
	header, err := wanted(h)
	if err != nil {
		return e.permanent(r, err)
	}
	for _, name := range []string{transport.TargetHeader, transport.TargetAccountHeader, transport.TargetETagHeader} {
		delete(header, name)
	}
	r.header = header
	_, err = e.simple(ctx, r)
	var f *transport.Error
	if errors.As(err, &f) && f.Status == http.StatusTemporaryRedirect {
		return nil
	}
	return err
}

// Delete removes an object: of a manifest the manifest only, of a link the link.
func (e *Endpoint) Delete(ctx context.Context, container, name string) error {
	_, err := e.simple(ctx, request{op: "delete", method: http.MethodDelete, container: container, name: name})
	if transport.Is(err, transport.NotFound) {
		return nil
	}
	return err
}

// DeleteMany removes objects of one container by bulk-delete (G11), or one by
// one where the server has none. Objects that are missing are not an error; if
// others fail, the error says how many and names the first.
func (e *Endpoint) DeleteMany(ctx context.Context, container string, names []string) error {
	a, err := e.Abilities(ctx)
	if err != nil {
		return err
	}
	if a.BulkDelete <= 0 {
		for _, name := range names {
			if err := e.Delete(ctx, container, name); err != nil {
				return err
			}
		}
		return nil
	}
	var lines bytes.Buffer
	count, longest := 0, a.MaxContainerName+a.MaxName+1
	send := func() error {
		if count == 0 {
			return nil
		}
		err := e.bulk(ctx, container, lines.Bytes(), count)
		lines.Reset()
		count = 0
		return err
	}
	for _, name := range names {
		line := escapePath(container) + "/" + escapePath(name)
		if len(line) > longest {
			line = bulkLine(container) + "/" + bulkLine(name)
		}
		if len(line) > longest { // Swift gives up on lines twice as long as its read buffer
			if err := e.Delete(ctx, container, name); err != nil {
				return err
			}
			continue
		}
		lines.WriteString(line + "\n")
		if count++; count == a.BulkDelete {
			if err := send(); err != nil {
				return err
			}
		}
	}
	return send()
}

// bulkLine quotes only what a line of a bulk-delete cannot hold as it is: Swift
// unquotes each line and strips ASCII blanks from its ends.
func bulkLine(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c == '%' || c == 0x7f {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// bulk is one bulk-delete. It answers 200 whatever happens; the truth is in the body.
func (e *Endpoint) bulk(ctx context.Context, container string, lines []byte, count int) error {
	r := request{op: "delete", method: http.MethodPost, query: url.Values{"bulk-delete": {""}},
		header: map[string]string{"Content-Type": "text/plain", "Accept": "application/json"},
		body:   &transport.Body{Size: int64(len(lines)), Open: func() (io.Reader, error) { return bytes.NewReader(lines), nil }}}
	resp, err := e.do(ctx, r)
	r.container = container
	if err != nil {
		return e.named(err, container)
	}
	var answer struct {
		Status string      `json:"Response Status"`
		Body   string      `json:"Response Body"`
		Errors [][2]string `json:"Errors"`
	}
	err = readJSON(resp.Body, &answer)
	switch {
	case err != nil:
		return e.unread(r, resp, err)
	case len(answer.Errors) > 0:
		first := answer.Errors[0]
		name, err := url.PathUnescape(strings.TrimPrefix(first[0], "/"))
		if err != nil {
			name = first[0]
		}
		r.name = strings.TrimPrefix(name, container+"/")
		f := e.reported(r, resp, first[1], fmt.Sprintf("%d of %d objects failed, the first with", len(answer.Errors), count))
		if strings.HasPrefix(first[1], "401") {
			e.endedWithin(ctx, container, f)
		}
		return f
	case !strings.HasPrefix(answer.Status, "200"):
		f := e.reported(r, resp, answer.Status, answer.Body)
		if strings.HasPrefix(answer.Status, "401") {
			e.endedWithin(ctx, container, f)
		}
		return f
	}
	return nil
}

// endedWithin deals with a token that ended before a request that Swift itself makes
// others of. It lets such a request in unauthorized and only refuses the others (slo.py,
// bulk.py), so its own status is none that has the token renewed; that of a plain
// request is.
func (e *Endpoint) endedWithin(ctx context.Context, container string, f *transport.Error) {
	if _, err := e.Container(ctx, container); err == nil {
		f.Class, f.Hint = transport.Transient, ""
	}
}

// unread is the error of a write whose outcome stands in a body that did not
// arrive: it may be done or not, so it is to be made again.
func (e *Endpoint) unread(r request, resp *http.Response, err error) *transport.Error {
	f := e.fail(r, nil, fmt.Errorf("read the answer: %w", err))
	if f.TxID = txID(resp.Header); f.Class != transport.Canceled {
		f.Class = transport.Transient
	}
	return f
}

// named puts the container into the error of a request to the account.
func (e *Endpoint) named(err error, container string) error {
	var f *transport.Error
	if errors.As(err, &f) && f.Container == "" {
		f.Container = container
	}
	return err
}

// reported makes the error of a status that stands in a body ("400 Bad Request").
func (e *Endpoint) reported(r request, resp *http.Response, status, text string) *transport.Error {
	code, _, _ := strings.Cut(strings.TrimSpace(status), " ")
	n, err := strconv.Atoi(code)
	if err != nil {
		n = 0
	}
	f := e.fail(r, nil, errors.New(transport.OneLine(strings.TrimSpace(text+" "+status))))
	f.Class, f.Hint = classify(e.o.Region, r, n, text)
	f.Status, f.TxID = n, txID(resp.Header)
	if n == http.StatusBadRequest && strings.Contains(text, "X-Delete-At in past") {
		f.Class, f.Err = transport.NotFound, transport.ErrExpired
	}
	return f
}

// readJSON reads a whole reply; Swift sends blanks before it to keep the connection alive.
func readJSON(body io.ReadCloser, into any) error {
	defer drain(body)
	raw, err := io.ReadAll(io.LimitReader(body, 16<<20))
	if err != nil {
		return err
	}
	return json.Unmarshal(bytes.TrimSpace(raw), into)
}

// escapePath writes a name as Swift reads it in headers and bodies: everything
// but unreserved characters and slashes is percent-encoded, byte by byte.
func escapePath(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.~/", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteString("%" + digits[c>>4:c>>4+1] + digits[c&15:c&15+1])
		}
	}
	return b.String()
}
