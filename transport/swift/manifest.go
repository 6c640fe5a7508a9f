package swift

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"farshore/transport"
	"farshore/transport/wire"
)

// patient lets a server work on size bytes without a sign of life: 60 s and a
// second for every 10 MB (R11).
func patient(ctx context.Context, size int64) context.Context {
	return wire.WithIdle(ctx, time.Minute+time.Duration(size/10_000_000)*time.Second)
}

// PutManifest writes a static large object (S3, S4). Size and ETag of every
// segment are said, so the server checks each; the ETag of the whole is said as
// well and compared with the reply.
func (e *Endpoint) PutManifest(ctx context.Context, container, name string, segments []transport.Segment, o transport.PutOptions) (transport.Receipt, error) {
	type part struct {
		Path string `json:"path"`
		ETag string `json:"etag"`
		Size int64  `json:"size_bytes"`
	}
	r := request{op: "put manifest", method: http.MethodPut, container: container, name: name,
		query: url.Values{"multipart-manifest": {"put"}, "heartbeat": {"on"}}}
	sum, size := md5.New(), int64(0)
	parts := make([]part, len(segments))
	for i, s := range segments {
		parts[i] = part{Path: "/" + s.Container + "/" + s.Name, ETag: s.ETag, Size: s.Size}
		sum.Write([]byte(s.ETag))
		size += s.Size
	}
	var manifest bytes.Buffer
	enc := json.NewEncoder(&manifest)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(parts); err != nil {
		return transport.Receipt{}, e.permanent(r, err)
	}
	header, err := writing(o.Header, o)
	if err != nil {
		return transport.Receipt{}, e.permanent(r, err)
	}
	want := hex.EncodeToString(sum.Sum(nil))
	r.header = header
	r.header["Etag"] = want
	r.header["Accept"] = "application/json"
	r.body = &transport.Body{Size: int64(manifest.Len()), Open: func() (io.Reader, error) { return bytes.NewReader(manifest.Bytes()), nil }}
	resp, err := e.do(patient(ctx, size), r)
	if err != nil {
		return transport.Receipt{}, err
	}
	if resp.StatusCode != http.StatusAccepted {
		drain(resp.Body)
		return e.receipt(r, resp, want)
	}
	// With heartbeat=on the status line is sent before the work is done: the
	// outcome stands in the body.
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
			f.Class = refused(answer.Errors)
		}
		return transport.Receipt{}, f
	}
	resp.StatusCode = http.StatusCreated
	resp.Header.Set("Etag", answer.ETag)
	resp.Header.Set("Last-Modified", answer.LastModified)
	return e.receipt(r, resp, want)
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
	clean, _ := cleanETag(etag)
	if o, err := e.Head(ctx, container, name); err == nil && clean != "" && o.ETag == clean {
		_ = e.Delete(ctx, container, name)
	}
}
