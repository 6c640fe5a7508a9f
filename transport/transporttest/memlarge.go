package transporttest

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"farshore/transport"
)

// Manifests and links.

func kindOf(h transport.Header) transport.Kind {
	switch {
	case h[transport.TargetHeader] != "":
		return transport.Symlink
	case h[transport.ManifestHeader] != "":
		return transport.DLO
	}
	return transport.Plain
}

// become makes of an object what its headers say, or refuses it as Swift does; the lock is held.
func (m *Mem) become(op, container, name string, o *memObject) error {
	if o.kind == "" {
		o.kind = kindOf(o.header)
	}
	bad := func(format string, args ...any) error {
		return m.fail(op, container, name, transport.Permanent, 400, "400 Bad Request: "+format, args...)
	}
	switch o.kind {
	case transport.DLO:
		c, prefix, _ := strings.Cut(o.header[transport.ManifestHeader], "/")
		if c == "" || prefix == "" || prefix[0] == '/' || strings.ContainsAny(c+prefix, "?&") {
			return bad("X-Object-Manifest must be in the format container/prefix")
		}
	case transport.Symlink:
		if len(o.data) > 0 {
			return bad("Symlink requests require a zero byte body")
		}
		o.target = m.pointsTo(o.header)
		if o.target.Path == "/v1/"+m.account()+"/"+quotePath(container)+"/"+quotePath(name) {
			return bad("Symlink cannot target itself")
		}
		if o.target.ETag != "" {
			return m.pinned(op, container, name, o)
		}
	}
	return nil
}

func (m *Mem) account() string { return "AUTH_" + m.o.Project }

// pointsTo is what a listing shows of a link's target.
func (m *Mem) pointsTo(h transport.Header) transport.Target {
	account := h[transport.TargetAccountHeader]
	if account == "" {
		account = m.account()
	}
	return transport.Target{Path: "/v1/" + account + "/" + h[transport.TargetHeader], ETag: h[transport.TargetETagHeader]}
}

// pinned checks the target of a static link. Of an SLO it must be named by the MD5 of
// its stored manifest.
func (m *Mem) pinned(op, container, name string, o *memObject) error {
	to := m.at(o.target.Path)
	if to == nil {
		return m.fail(op, container, name, transport.NotFound, 409, "%w: 409 Conflict: X-Symlink-Target does not exist", transport.ErrTarget)
	}
	etag := to.etag
	if to.kind == transport.SLO {
		etag = to.json
	}
	if etag != o.target.ETag {
		return m.fail(op, container, name, transport.Corrupt, 409, "%w: 409 Conflict: Object Etag %q does not match X-Symlink-Target-Etag header %q", transport.ErrTarget, etag, o.target.ETag)
	}
	o.target.Size = to.size()
	if o.header["Content-Type"] == "" {
		o.header["Content-Type"] = to.header["Content-Type"]
	}
	return nil
}

// at finds the object of a target's path; nil in another account, too.
func (m *Mem) at(path string) *memObject {
	rest, ok := strings.CutPrefix(path, "/v1/"+m.account()+"/")
	if !ok {
		return nil
	}
	c, n, _ := strings.Cut(rest, "/")
	return m.find(unquotePath(c), unquotePath(n))
}

func quotePath(s string) string { return strings.ReplaceAll(url.PathEscape(s), "%2F", "/") }

func unquotePath(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		return plain
	}
	return s
}

// follow goes from a link to what it leads to; nil if that is nothing.
func (m *Mem) follow(o *memObject) *memObject {
	for range 2 {
		if o == nil || o.kind != transport.Symlink {
			return o
		}
		want := o.target.ETag
		if o = m.at(o.target.Path); o != nil && want != "" && want != o.etag && want != o.json {
			return nil
		}
	}
	if o != nil && o.kind == transport.Symlink {
		return nil
	}
	return o
}

// content is what Open reads: an SLO's segments in a row, else the object's own bytes.
func (m *Mem) content(op, container, name string, obj *memObject) ([]byte, error) {
	if obj.kind != transport.SLO {
		return obj.data, nil
	}
	var all []byte
	for _, p := range obj.parts {
		if p.Data != nil {
			all = append(all, p.Data...)
			continue
		}
		seg := m.follow(m.find(p.Container, p.Name))
		if seg == nil || seg.etag != p.ETag || seg.size() != p.Size {
			return nil, m.fail(op, container, name, transport.Permanent, 409, "%w: 409 Conflict: segment %s", transport.ErrManifest, transport.PrintName(p.Name))
		}
		part, err := m.content(op, p.Container, p.Name, seg)
		if err != nil {
			return nil, err
		}
		if p.Range != "" {
			var first, last int
			if _, err := fmt.Sscanf(p.Range, "%d-%d", &first, &last); err == nil && last < len(part) {
				part = part[first : last+1]
			}
		}
		all = append(all, part...)
	}
	return all, nil
}

// whole is what a GET without parameters gives: links are followed, and a DLO is the
// concatenation of what the container's listing shows.
func (m *Mem) whole(op, container, name string, obj *memObject) ([]byte, error) {
	if obj = m.follow(obj); obj == nil {
		return nil, m.missing(op, container, name)
	}
	if obj.kind != transport.DLO {
		return m.content(op, container, name, obj)
	}
	c, prefix, _ := strings.Cut(unquotePath(obj.header[transport.ManifestHeader]), "/")
	in := m.containers[c]
	if in == nil {
		return nil, m.missing(op, container, name)
	}
	var all []byte
	for _, e := range in.listing(transport.Range{Prefix: prefix}) {
		seg := m.follow(m.find(c, e.Name))
		if seg == nil {
			return nil, m.fail(op, container, name, transport.Transient, 409, "409 Conflict: segment %s is missing", transport.PrintName(e.Name))
		}
		part, err := m.content(op, c, e.Name, seg)
		if err != nil {
			return nil, err
		}
		all = append(all, part...)
	}
	return all, nil
}

// PutManifest implements transport.Sink.
func (m *Mem) PutManifest(ctx context.Context, container, name string, segments []transport.Segment, o transport.PutOptions) (transport.Receipt, error) {
	list := make(transport.Manifest, len(segments))
	for i, s := range segments {
		list[i] = transport.Part{Container: s.Container, Name: s.Name, ETag: s.ETag, Size: s.Size}
	}
	etag, err := list.ETag()
	if err != nil {
		return transport.Receipt{}, m.fail("put manifest", container, name, transport.Permanent, 0, "%w", err)
	}
	return m.putSLO(ctx, container, name, list, etag, o)
}

// PutRaw implements transport.Sink.
func (m *Mem) PutRaw(ctx context.Context, container, name string, manifest []byte, etag string, o transport.PutOptions) (transport.Receipt, error) {
	list, err := transport.ParseManifest(manifest)
	if err == nil && etag == "" {
		etag, err = list.ETag()
	}
	if err != nil {
		return transport.Receipt{}, m.fail("put manifest", container, name, transport.Permanent, 0, "%w", err)
	}
	return m.putSLO(ctx, container, name, list, etag, o)
}

func (m *Mem) putSLO(ctx context.Context, container, name string, list transport.Manifest, etag string, o transport.PutOptions) (transport.Receipt, error) {
	const op = "put manifest"
	if err := m.canceled(ctx, op, container, name); err != nil {
		return transport.Receipt{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	err := m.mayPut(op, container, name, o)
	if err == nil {
		list, err = m.checked(op, container, name, list)
	}
	if err != nil {
		return transport.Receipt{}, err
	}
	got, err := list.ETag()
	switch {
	case err != nil:
		return transport.Receipt{}, m.fail(op, container, name, transport.Permanent, 400, "400 Bad Request: %w", err)
	case got != etag:
		return transport.Receipt{}, m.fail(op, container, name, transport.Corrupt, 422, "422 Unprocessable Entity")
	}
	// What Swift stores names each segment's time, so it differs from region to region.
	sum := md5.New()
	fmt.Fprintf(sum, "%s", list.Encode())
	for _, p := range list {
		if seg := m.find(p.Container, p.Name); seg != nil {
			fmt.Fprint(sum, seg.modified.UnixMicro())
		}
	}
	return m.store(op, container, name, &memObject{kind: transport.SLO, parts: list, etag: got, json: hex.EncodeToString(sum.Sum(nil))}, o)
}

// checked is a manifest with what Swift finds out about its segments, or why it refuses them.
func (m *Mem) checked(op, container, name string, list transport.Manifest) (transport.Manifest, error) {
	out, objects := slices.Clone(list), 0
	for i, p := range list {
		if p.Data != nil {
			continue
		}
		objects++
		if p.Container == container && p.Name == name {
			return nil, m.fail(op, container, name, transport.Permanent, 400, "400 Bad Request: Index %d: manifest must not include itself as a segment", i)
		}
		seg := m.follow(m.find(p.Container, p.Name))
		switch {
		case seg == nil:
			return nil, m.fail(op, container, name, transport.NotFound, 400, "%w: segment %s: 404 Not Found", transport.ErrTarget, transport.PrintName(p.Name))
		case p.ETag != "" && seg.etag != p.ETag:
			return nil, m.fail(op, container, name, transport.Corrupt, 400, "%w: segment %s: Etag Mismatch", transport.ErrTarget, transport.PrintName(p.Name))
		case p.Size >= 0 && seg.size() != p.Size:
			return nil, m.fail(op, container, name, transport.Corrupt, 400, "%w: segment %s: Size Mismatch", transport.ErrTarget, transport.PrintName(p.Name))
		case seg.size() == 0 && i < len(list)-1:
			return nil, m.fail(op, container, name, transport.Permanent, 400, "400 Bad Request: segment %s: Too small", transport.PrintName(p.Name))
		}
		p.ETag, p.Size = seg.etag, seg.size()
		span, err := p.Span()
		if err != nil {
			return nil, m.fail(op, container, name, transport.Permanent, 400, "400 Bad Request: Index %d: unsatisfiable range", i)
		}
		p.Range = span
		out[i] = p
	}
	switch {
	case objects > m.abilities.MaxSegments:
		return nil, m.fail(op, container, name, transport.Quota, 413, "413 Request Entity Too Large: Number of object-backed segments must be <= %d", m.abilities.MaxSegments)
	case objects == 0 && len(list) > 0:
		return nil, m.fail(op, container, name, transport.Permanent, 400, "400 Bad Request: Inline data segments require at least one object-backed segment.")
	}
	return out, nil
}

// Manifest implements transport.Source.
func (m *Mem) Manifest(ctx context.Context, container, name, version string) (transport.Object, []byte, error) {
	if err := m.canceled(ctx, "get manifest", container, name); err != nil {
		return transport.Object{}, nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.version(container, name, version)
	if o == nil {
		return transport.Object{}, nil, m.missing("get manifest", container, name)
	}
	d := o.describe(name, version != "" || m.containers[container].ever())
	if o.kind != transport.SLO {
		return d, nil, nil
	}
	return d, o.parts.Encode(), nil
}

// Collapse implements transport.Sink.
func (m *Mem) Collapse(ctx context.Context, fromContainer, fromName, toContainer, toName, sum string, size int64, h transport.Header) (transport.Receipt, error) {
	const op = "collapse"
	if err := m.canceled(ctx, op, toContainer, toName); err != nil {
		return transport.Receipt{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	from := m.find(fromContainer, fromName)
	if from == nil || m.containers[toContainer] == nil {
		return transport.Receipt{}, m.missing(op, toContainer, toName)
	}
	data, err := m.content(op, toContainer, toName, from)
	if err != nil {
		return transport.Receipt{}, err
	}
	got := md5.Sum(data)
	if hex.EncodeToString(got[:]) != sum {
		return transport.Receipt{}, m.fail(op, toContainer, toName, transport.Corrupt, 422, "422 Unprocessable Entity")
	}
	if int64(len(data)) != size {
		return transport.Receipt{}, fmt.Errorf("collapse %s: the caller says %d bytes, the content has %d", toName, size, len(data))
	}
	return m.store(op, toContainer, toName, &memObject{data: bytes.Clone(data), etag: sum, kind: transport.Plain}, transport.PutOptions{Header: h})
}
