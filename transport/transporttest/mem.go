// Package transporttest has what tests of a replication need: Mem, an account in
// memory with Swift's semantics; Faulty, which lets calls fail, break, lie or stop
// the world at a chosen step; and Run, the conformance suite that every endpoint
// must pass. It is for tests only.
package transporttest

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"farshore/transport"
)

// MemOptions describe an account in memory. The zero value is good.
type MemOptions struct {
	Region  string           // default "mem"
	Project string           // default "project"
	Now     func() time.Time // the server's clock; default time.Now
	// Policies are the storage policies' names, the default first; default Policy-0 only.
	Policies []string
	// PageSize is the number of entries in a listing page; default 10,000.
	PageSize int
	// SplitOver is the number of objects from which Split cuts; default 20,000.
	SplitOver int
	// BulkDelete is the ability of that name; default 10,000.
	BulkDelete int
}

// Mem is an account of a region in memory, with Swift's semantics. It is safe for
// concurrent use. Beside transport.Sink it has methods that set, show and spoil
// its state behind the endpoint's back.
type Mem struct {
	o          MemOptions
	mu         sync.Mutex
	containers map[string]*memContainer
	last       time.Time
	abilities  transport.Abilities
	header     transport.Header // of the account, keys included
	quota      int64            // bytes; -1: none
}

type memContainer struct {
	name     string
	header   transport.Header // keys included
	objects  map[string]*memObject
	versions map[string][]*memObject  // of every name, newest first; those with an id
	frozen   []transport.Entry        // what listings show while they lag
	frozenV  []transport.VersionEntry // and those of versions
	lags     bool
	sorted   []string // names in order; nil: to be made again
}

type memObject struct {
	data     []byte
	etag     string
	header   transport.Header
	modified time.Time
	expires  int64 // unix seconds, 0: never
	kind     transport.Kind
	parts    transport.Manifest // of an SLO, as it was checked
	json     string             // of an SLO: the MD5 of the manifest as it is stored
	target   transport.Target   // of a symlink
	id       string             // of a version; "": written while there were none
	marker   bool               // a delete marker, among versions only
}

var _ transport.Sink = (*Mem)(nil)

// NewMem makes an empty account.
func NewMem(o MemOptions) *Mem {
	if o.Region == "" {
		o.Region = "mem"
	}
	if o.Project == "" {
		o.Project = "project"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.PageSize == 0 {
		o.PageSize = 10_000
	}
	if o.SplitOver == 0 {
		o.SplitOver = 20_000
	}
	if o.BulkDelete == 0 {
		o.BulkDelete = 10_000
	}
	if len(o.Policies) == 0 {
		o.Policies = []string{"Policy-0"}
	}
	yes := transport.Yes
	return &Mem{o: o, containers: map[string]*memContainer{}, header: transport.Header{}, quota: -1, abilities: transport.Abilities{
		MaxObject: 5<<30 + 2, MaxName: 1024, MaxContainerName: 256, MaxMetaCount: 90, MaxMetaBytes: 4096, MaxMetaValue: 256,
		SLO: yes, MaxSegments: 1000, MaxManifest: 8 << 20, MinSegment: 1, BulkDelete: o.BulkDelete, IfNoneMatch: yes,
		DLO: yes, Symlink: yes, StaticLink: yes, Versioning: yes, VersionsLocation: yes,
		IfMatchRange: yes, CopyETag: yes, CopyCollapses: yes, RawManifest: yes, NULEndMarker: yes, DeleteAfter: yes}}
}

// now is the server's time: 10 µs fine like Swift's timestamps, never twice the same.
func (m *Mem) now() time.Time {
	t := m.o.Now().UTC().Truncate(10 * time.Microsecond)
	if !t.After(m.last) {
		t = m.last.Add(10 * time.Microsecond)
	}
	m.last = t
	return t
}

func (m *Mem) fail(op, container, name string, c transport.Class, status int, format string, args ...any) *transport.Error {
	return &transport.Error{Op: op, Region: m.o.Region, Container: container, Name: name, Class: c, Status: status,
		TxID: "txmem", Err: fmt.Errorf(format, args...)}
}

func (m *Mem) missing(op, container, name string) *transport.Error {
	return m.fail(op, container, name, transport.NotFound, 404, "404 Not Found")
}

// canceled refuses a context that has ended, as every endpoint must.
func (m *Mem) canceled(ctx context.Context, op, container, name string) error {
	if err := ctx.Err(); err != nil {
		return &transport.Error{Op: op, Region: m.o.Region, Container: container, Name: name, Class: transport.Canceled, Err: err}
	}
	return nil
}

// find gives a living object.
func (m *Mem) find(container, name string) *memObject {
	c := m.containers[container]
	if c == nil {
		return nil
	}
	o := c.objects[name]
	if o == nil || o.expires != 0 && o.expires <= m.o.Now().Unix() {
		return nil
	}
	return o
}

// size is what a listing shows: of an SLO that of the whole.
func (o *memObject) size() int64 {
	if o.kind != transport.SLO {
		return int64(len(o.data))
	}
	n, _ := o.parts.Size() // was checked when it was written
	return n
}

func (o *memObject) describe(name string, versioned bool) transport.Object {
	d := transport.Object{Name: name, Size: o.size(), ETag: o.etag, Modified: o.modified, Header: o.header.Clone(), Kind: o.kind,
		Version: o.id, TargetSize: o.target.Size, ManifestETag: o.json}
	if versioned && d.Version == "" {
		d.Version = nullVersion
	}
	return d
}

func (o *memObject) entry(name string) transport.Entry {
	e := transport.Entry{Name: name, Size: o.size(), ETag: o.etag, Modified: o.modified, ContentType: tight(o.header["Content-Type"]), Kind: o.kind}
	switch {
	case o.kind == transport.DLO, o.kind == transport.Symlink && o.id != "":
		e.Kind = transport.Plain // nothing in the listing tells
	case o.kind == transport.Symlink:
		e.Target = o.target
	}
	return e
}

// put stores an object; the lock is held.
func (c *memContainer) put(name string, o *memObject) {
	if _, ok := c.objects[name]; !ok {
		c.sorted = nil
	}
	c.objects[name] = o
}

func (c *memContainer) remove(name string) {
	if _, ok := c.objects[name]; ok {
		delete(c.objects, name)
		c.sorted = nil
	}
}

func (c *memContainer) names() []string {
	if c.sorted == nil {
		c.sorted = make([]string, 0, len(c.objects))
		for n := range c.objects {
			c.sorted = append(c.sorted, n)
		}
		slices.Sort(c.sorted)
	}
	return c.sorted
}

// headers checks and completes the headers of a write; the lock is held.
func (m *Mem) headers(op, container, name string, h transport.Header, after time.Duration) (transport.Header, int64, error) {
	out, count, bytes := transport.Header{}, 0, 0
	for k, v := range h {
		switch {
		case !transport.Keeps(k) && k != transport.OriginHeader:
			return nil, 0, m.fail(op, container, name, transport.Permanent, 0, "header %q is not kept", k)
		case strings.HasPrefix(k, "X-Object-Meta-"):
			count++
			bytes += len(k) - len("X-Object-Meta-") + len(v)
			if len(v) > m.abilities.MaxMetaValue {
				return nil, 0, m.fail(op, container, name, transport.Permanent, 400, "400 Bad Request: Metadata value longer than %d: %s", m.abilities.MaxMetaValue, k)
			}
		}
		out[k] = v
	}
	if count > m.abilities.MaxMetaCount || bytes > m.abilities.MaxMetaBytes {
		return nil, 0, m.fail(op, container, name, transport.Permanent, 400, "400 Bad Request: Too many metadata items or bytes")
	}
	if len(name) > m.abilities.MaxName {
		return nil, 0, m.fail(op, container, name, transport.Permanent, 400, "400 Bad Request: Object name length of %d longer than %d", len(name), m.abilities.MaxName)
	}
	now := m.o.Now().Unix()
	if after > 0 {
		out["X-Delete-At"] = strconv.FormatInt(now+int64((after+time.Second-1)/time.Second), 10)
	}
	var expires int64
	if v, ok := out["X-Delete-At"]; ok {
		at, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return nil, 0, m.fail(op, container, name, transport.Permanent, 400, "400 Bad Request: Non-integer X-Delete-At")
		}
		if at < now {
			return nil, 0, m.fail(op, container, name, transport.NotFound, 400, "%w", transport.ErrExpired)
		}
		expires = at
	}
	return out, expires, nil
}

// Put implements transport.Sink.
func (m *Mem) Put(ctx context.Context, container, name string, body transport.Body, o transport.PutOptions) (transport.Receipt, error) {
	if err := m.canceled(ctx, "put", container, name); err != nil {
		return transport.Receipt{}, err
	}
	m.mu.Lock()
	err := m.mayPut("put", container, name, o)
	m.mu.Unlock()
	if err != nil {
		return transport.Receipt{}, err
	}
	in, err := body.Open()
	if err != nil {
		return transport.Receipt{}, err
	}
	data := make([]byte, 0, min(body.Size, 1<<20))
	buf := bytes.NewBuffer(data)
	n, err := io.Copy(buf, io.LimitReader(in, body.Size+1))
	switch {
	case err != nil:
		return transport.Receipt{}, err
	case n != body.Size:
		return transport.Receipt{}, m.fail("put", container, name, transport.Transient, 499, "the body has %d bytes instead of %d: %w", n, body.Size, io.ErrUnexpectedEOF)
	}
	if err := m.canceled(ctx, "put", container, name); err != nil {
		return transport.Receipt{}, err
	}
	sum := md5.Sum(buf.Bytes())
	etag := hex.EncodeToString(sum[:])
	if body.MD5 != etag {
		return transport.Receipt{}, m.fail("put", container, name, transport.Corrupt, 422, "422 Unprocessable Entity")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.store("put", container, name, &memObject{data: buf.Bytes(), etag: etag}, o)
}

// mayPut looks whether a PUT is refused before its body; the lock is held.
func (m *Mem) mayPut(op, container, name string, o transport.PutOptions) error {
	if m.containers[container] == nil {
		return m.missing(op, container, name)
	}
	if o.IfAbsent && m.find(container, name) != nil {
		return m.fail(op, container, name, transport.Exists, 412, "412 Precondition Failed")
	}
	return nil
}

// store completes a write of any kind; the lock is held.
func (m *Mem) store(op, container, name string, obj *memObject, o transport.PutOptions) (transport.Receipt, error) {
	if err := m.mayPut(op, container, name, o); err != nil {
		return transport.Receipt{}, err
	}
	var err error
	if obj.header, obj.expires, err = m.headers(op, container, name, o.Header, o.DeleteAfter); err != nil {
		return transport.Receipt{}, err
	}
	if err := m.become(op, container, name, obj); err != nil {
		return transport.Receipt{}, err
	}
	c := m.containers[container]
	if m.quota >= 0 && m.used()+int64(len(obj.data)) > m.quota || c.full(obj) {
		return transport.Receipt{}, m.fail(op, container, name, transport.Quota, 413, "413 Request Entity Too Large: Upload exceeds quota.")
	}
	if obj.header["Content-Type"] == "" {
		obj.header["Content-Type"] = "application/octet-stream"
	}
	if err := m.archive(op, c, name); err != nil {
		return transport.Receipt{}, err
	}
	obj.modified = m.now()
	c.write(name, obj)
	return transport.Receipt{ETag: obj.etag, Modified: ceil(obj.modified), Version: obj.id}, nil
}

// ceil rounds up to the whole second, as Swift's Last-Modified is (L1b).
func ceil(t time.Time) time.Time {
	if s := t.Truncate(time.Second); s.Before(t) {
		return s.Add(time.Second)
	}
	return t
}

func (m *Mem) used() (n int64) {
	for _, c := range m.containers {
		n += c.bytes()
	}
	return n
}

// Post implements transport.Sink.
func (m *Mem) Post(ctx context.Context, container, name string, h transport.Header) error {
	if err := m.canceled(ctx, "post", container, name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.find(container, name)
	if old == nil {
		return m.missing("post", container, name)
	}
	header, expires, err := m.headers("post", container, name, h, 0)
	if err != nil {
		return err
	}
	for _, k := range []string{transport.TargetHeader, transport.TargetAccountHeader, transport.TargetETagHeader} {
		delete(header, k)
		if v, ok := old.header[k]; ok {
			header[k] = v
		}
	}
	if header["Content-Type"] == "" {
		header["Content-Type"] = old.header["Content-Type"]
	}
	fresh := *old // readers that are open keep the version they have
	fresh.header, fresh.expires, fresh.modified = header, expires, m.now()
	if fresh.kind == transport.Plain || fresh.kind == transport.DLO {
		fresh.kind = kindOf(header)
	}
	m.containers[container].rewrite(name, &fresh)
	return nil
}

// Delete implements transport.Sink.
func (m *Mem) Delete(ctx context.Context, container, name string) error {
	if err := m.canceled(ctx, "delete", container, name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.unlink("delete", container, name)
	return err
}

// DeleteMany implements transport.Sink.
func (m *Mem) DeleteMany(ctx context.Context, container string, names []string) error {
	for _, name := range names {
		if err := m.Delete(ctx, container, name); err != nil {
			return err
		}
	}
	return nil
}

// Abilities implements transport.Sink.
func (m *Mem) Abilities(context.Context) (transport.Abilities, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.abilities, nil
}

// Identity implements transport.Sink.
func (m *Mem) Identity(context.Context) (transport.Identity, error) {
	return transport.Identity{Region: m.o.Region, Project: m.o.Project, URL: "mem://" + m.o.Region + "/AUTH_" + m.o.Project}, nil
}
