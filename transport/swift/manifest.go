package swift

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"farshore/transport"
	"farshore/transport/wire"
)

// patient lets a server work on size bytes without a sign of life: 60 s and a
// second for every 10 MB (R11).
func patient(ctx context.Context, size int64) context.Context {
	return wire.WithIdle(ctx, time.Minute+time.Duration(size/10_000_000)*time.Second)
}

// maxManifest bounds a manifest that is read; Swift takes 8 MiB (S4).
const maxManifest = 64 << 20

// Manifest reads an SLO's manifest (S3). Its own ETag there is that of the JSON, so
// ETag and size of the whole are computed as Swift computes them.
func (e *Endpoint) Manifest(ctx context.Context, container, name, version string) (transport.Object, []byte, error) {
	r := request{op: "get manifest", method: http.MethodGet, container: container, name: name,
		query: url.Values{"multipart-manifest": {"get"}, "format": {"raw"}}, header: map[string]string{"Accept-Encoding": "identity"}}
	resp, _, err := e.look(ctx, r, version)
	if err != nil {
		return transport.Object{}, nil, err
	}
	defer resp.Body.Close()
	o, err := describe(name, resp)
	if err != nil || o.Kind != transport.SLO {
		return o, nil, e.failIf(r, resp, err)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxManifest+1))
	switch {
	case err != nil:
		f := e.fail(r, nil, err)
		f.TxID = txID(resp.Header)
		return transport.Object{}, nil, f
	case len(raw) > maxManifest:
		return transport.Object{}, nil, e.permanent(r, fmt.Errorf("the manifest has more than %d bytes", maxManifest))
	}
	m, err := transport.ParseManifest(raw)
	if err == nil {
		o.ETag, err = m.ETag()
	}
	if err == nil {
		o.Size, err = m.Size()
	}
	if err != nil {
		return transport.Object{}, nil, e.failIf(r, resp, err)
	}
	return o, m.Encode(), nil
}

// failIf is the error of a reply that makes no sense, or nil.
func (e *Endpoint) failIf(r request, resp *http.Response, err error) error {
	if err == nil {
		return nil
	}
	f := e.fail(r, nil, err)
	f.TxID = txID(resp.Header)
	return f
}

// PutManifest writes a static large object (S3, S4). Size and ETag of every
// segment are said, so the server checks each; the ETag of the whole is said as
// well and compared with the reply.
func (e *Endpoint) PutManifest(ctx context.Context, container, name string, segments []transport.Segment, o transport.PutOptions) (transport.Receipt, error) {
	m, size := make(transport.Manifest, len(segments)), int64(0)
	for i, s := range segments {
		m[i] = transport.Part{Container: s.Container, Name: s.Name, ETag: s.ETag, Size: s.Size}
		size += s.Size
	}
	want, err := m.ETag()
	if err != nil {
		return transport.Receipt{}, e.permanent(request{op: "put manifest", container: container, name: name}, err)
	}
	return e.putSLO(patient(ctx, size), container, name, m.Encode(), want, o)
}

// PutRaw writes a static large object of a manifest in raw form.
func (e *Endpoint) PutRaw(ctx context.Context, container, name string, manifest []byte, etag string, o transport.PutOptions) (transport.Receipt, error) {
	m, err := transport.ParseManifest(manifest)
	if err == nil && etag == "" {
		etag, err = m.ETag()
	}
	if err != nil {
		return transport.Receipt{}, e.permanent(request{op: "put manifest", container: container, name: name}, err)
	}
	size, _ := m.Size()
	return e.putSLO(patient(ctx, size), container, name, manifest, etag, o)
}

// putSLO writes a manifest. heartbeat=on keeps the connection alive while the region
// looks at a thousand segments: it answers 202 before the work is done, and the
// outcome stands in the body. The version's id stands in neither, so in a versioned
// container it is asked for, and so is, beforehand, whether the name is free: the
// version that a refused If-None-Match leaves there could not be found again.
func (e *Endpoint) putSLO(ctx context.Context, container, name string, manifest []byte, want string, o transport.PutOptions) (transport.Receipt, error) {
	r := request{op: "put manifest", method: http.MethodPut, container: container, name: name,
		query: url.Values{"multipart-manifest": {"put"}, "heartbeat": {"on"}}}
	header, err := writing(o.Header, o)
	if err != nil {
		return transport.Receipt{}, e.permanent(r, err)
	}
	if o.IfAbsent && o.Versioned {
		now, err := e.current(ctx, container, name)
		if err != nil {
			return transport.Receipt{}, err
		}
		if now.id != "" {
			f := e.fail(r, nil, errors.New("the name is taken"))
			f.Class, f.Status = transport.Exists, http.StatusPreconditionFailed
			return transport.Receipt{}, f
		}
		delete(header, "If-None-Match")
	}
	r.header = header
	r.header["Etag"] = want
	r.header["Accept"] = "application/json"
	r.body = &transport.Body{Size: int64(len(manifest)), Open: func() (io.Reader, error) { return bytes.NewReader(manifest), nil }}
	resp, err := e.do(ctx, r)
	if err != nil {
		return transport.Receipt{}, err
	}
	if resp.StatusCode != http.StatusAccepted {
		drain(resp.Body)
		return e.receipt(r, resp, want)
	}
	var answer struct {
		Status       string      `json:"Response Status"`
		Body         string      `json:"Response Body"`
		ETag         string      `json:"Etag"`
		LastModified string      `json:"Last Modified"`
		Errors       [][2]string `json:"Errors"`
	}
	if err := readJSON(resp.Body, &answer); err != nil {
		return transport.Receipt{}, e.unread(r, resp, err)
	}
	if len(answer.Status) < 3 || answer.Status[0] != '2' {
		text := answer.Body
		if len(answer.Errors) > 0 {
			text = fmt.Sprintf("%d segments refused, the first: %s: %s;", len(answer.Errors),
				transport.PrintName(answer.Errors[0][0]), answer.Errors[0][1])
		}
		f := e.reported(r, resp, answer.Status, text)
		if len(answer.Errors) > 0 {
			if f.Class = refused(answer.Errors); f.Class != transport.Transient {
				f.Err = fmt.Errorf("%w: %w", transport.ErrTarget, f.Err)
				f.Hint = "the segments must be at the region first, as the manifest names them"
			}
		}
		if first := append(answer.Errors, [2]string{"", answer.Status})[0][1]; strings.HasPrefix(first, "401") {
			e.endedWithin(ctx, container, f)
		}
		return transport.Receipt{}, f
	}
	resp.StatusCode = http.StatusCreated
	resp.Header.Set("Etag", answer.ETag)
	resp.Header.Set("Last-Modified", answer.LastModified)
	rc, err := e.receipt(r, resp, want)
	if err == nil && o.Versioned {
		rc.Version, err = e.written(ctx, container, name, want)
	}
	return rc, err
}

// written gives the id of the version that a write has just made, if it is still the
// current one and the one with that ETag; else "".
func (e *Endpoint) written(ctx context.Context, container, name, etag string) (string, error) {
	now, err := e.current(ctx, container, name)
	if err != nil || now.id == "" || now.id == noVersion {
		return "", err
	}
	o, err := e.simple(ctx, request{op: "head", method: http.MethodHead, container: container, name: name, query: url.Values{"version-id": {now.id}}})
	if err != nil || unquote(o.Header.Get("Etag")) != etag {
		return "", err
	}
	return now.id, nil
}

// refused classes a manifest whose segments the server did not accept: a missing
// one is NotFound (it expired, or its write was never confirmed), another size or
// ETag is Corrupt, and anything else passes.
func refused(errs [][2]string) transport.Class {
	class := transport.Transient
	for _, s := range errs {
		switch {
		case len(s[1]) >= 3 && s[1][:3] == "404":
			return transport.NotFound
		case s[1] == "Etag Mismatch" || s[1] == "Size Mismatch":
			class = transport.Corrupt
		}
	}
	return class
}

// Collapse has the server copy an SLO to a plain object (L1). The expected MD5
// goes along as Etag: if the content has another, Swift answers 422 and writes
// nothing. X-Fresh-Metadata keeps the manifest's own headers, its X-Delete-At
// above all, from coming along. A server that ignores Etag on a copy is found out
// by the reply; what it wrote is then removed again.
func (e *Endpoint) Collapse(ctx context.Context, fromContainer, fromName, toContainer, toName, md5 string, size int64, h transport.Header) (transport.Receipt, error) {
	r := request{op: "collapse", method: http.MethodPut, container: toContainer, name: toName}
	header, err := writing(h, transport.PutOptions{})
	if err != nil {
		return transport.Receipt{}, e.permanent(r, err)
	}
	r.header = header
	r.header["X-Copy-From"] = "/" + escapePath(fromContainer) + "/" + escapePath(fromName)
	r.header["X-Fresh-Metadata"] = "true"
	r.header["Etag"] = md5
	resp, err := e.simple(patient(ctx, size), r)
	if err != nil {
		return transport.Receipt{}, err
	}
	rc, err := e.receipt(r, resp, md5)
	if transport.Is(err, transport.Corrupt) {
		e.undo(ctx, toContainer, toName, resp.Header.Get("Etag"))
	}
	return rc, err
}

// undo removes an object that should not be there, provided it is still the one
// that the reply to our own write named.
func (e *Endpoint) undo(ctx context.Context, container, name, etag string) {
	clean, _, _ := cleanETag(etag)
	if o, err := e.Head(ctx, container, name); err == nil && clean != "" && o.ETag == clean {
		_ = e.Delete(ctx, container, name)
	}
}
