package transporttest

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"io"
	"slices"
	"strings"

	"farshore/transport"
)

// Containers implements transport.Source.
func (m *Mem) Containers(ctx context.Context, prefix string, yield func(transport.ContainerInfo) error) error {
	if err := m.canceled(ctx, "list", "", ""); err != nil {
		return err
	}
	m.mu.Lock()
	var all []transport.ContainerInfo
	for name, c := range m.containers {
		if strings.HasPrefix(name, prefix) {
			all = append(all, c.describe(false))
		}
	}
	m.mu.Unlock()
	slices.SortFunc(all, func(a, b transport.ContainerInfo) int { return strings.Compare(a.Name, b.Name) })
	for _, c := range all {
		if err := yield(c); err != nil {
			return err
		}
	}
	return nil
}

// Container implements transport.Source.
func (m *Mem) Container(ctx context.Context, container string) (transport.ContainerInfo, error) {
	if err := m.canceled(ctx, "head", container, ""); err != nil {
		return transport.ContainerInfo{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.containers[container]
	if c == nil {
		return transport.ContainerInfo{}, m.missing("head", container, "")
	}
	return c.describe(true), nil
}

// List implements transport.Source. Each page shows the container as it is then;
// objects that have expired stay listed until Expire, as on Swift.
func (m *Mem) List(ctx context.Context, container string, r transport.Range, yield func([]transport.Entry) error) error {
	for after := r.After; ; {
		if err := m.canceled(ctx, "list", container, ""); err != nil {
			return err
		}
		page, full, err := m.page(container, transport.Range{Prefix: r.Prefix, After: after, Through: r.Through})
		if err != nil {
			return err
		}
		if len(page) > 0 {
			after = page[len(page)-1].Name
			if err := yield(page); err != nil {
				return err
			}
		}
		if !full {
			return nil
		}
	}
}

func (m *Mem) page(container string, r transport.Range) (page []transport.Entry, full bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.containers[container]
	if c == nil {
		return nil, false, m.missing("list", container, "")
	}
	for _, e := range c.listing(r) {
		if len(page) == m.o.PageSize {
			return page, true, nil
		}
		page = append(page, e)
	}
	return page, false, nil
}

// listing gives the entries of a range; one page of them is enough for any caller.
func (c *memContainer) listing(r transport.Range) func(func(int, transport.Entry) bool) {
	in := func(name string) bool {
		return name > r.After && (r.Through == "" || name <= r.Through) && strings.HasPrefix(name, r.Prefix)
	}
	return func(yield func(int, transport.Entry) bool) {
		if c.lags {
			for i, e := range c.frozen {
				if in(e.Name) && !yield(i, e) {
					return
				}
			}
			return
		}
		names := c.names()
		start, _ := slices.BinarySearch(names, max(r.After, r.Prefix))
		for i, name := range names[start:] {
			if r.Through != "" && name > r.Through {
				return
			}
			if in(name) && !yield(i, c.objects[name].entry(name)) {
				return
			}
		}
	}
}

// Split implements transport.Source: exactly equal parts.
func (m *Mem) Split(ctx context.Context, container string, r transport.Range, n int) ([]string, error) {
	if err := m.canceled(ctx, "list", container, ""); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.containers[container]
	if c == nil {
		return nil, m.missing("head", container, "")
	}
	var names []string
	for _, e := range c.listing(r) {
		names = append(names, e.Name)
	}
	if len(names) < m.o.SplitOver || n < 2 {
		return nil, nil
	}
	var cuts []string
	for i := 1; i < n; i++ {
		cuts = append(cuts, names[i*len(names)/n])
	}
	return slices.Compact(cuts), nil
}

// Head implements transport.Source.
func (m *Mem) Head(ctx context.Context, container, name string) (transport.Object, error) {
	return m.HeadVersion(ctx, container, name, "")
}

// Open implements transport.Source. The reader gives the version that was opened,
// whatever happens to the object meanwhile; an SLO's segments are looked up now.
func (m *Mem) Open(ctx context.Context, container, name string, o transport.OpenOptions) (transport.Object, io.ReadCloser, error) {
	if err := m.canceled(ctx, "get", container, name); err != nil {
		return transport.Object{}, nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	obj := m.version(container, name, o.Version)
	if obj == nil {
		return transport.Object{}, nil, m.missing("get", container, name)
	}
	d := obj.describe(name, o.Version != "" || m.containers[container].ever())
	if o.ETag != "" && o.ETag != obj.etag {
		return transport.Object{}, nil, m.fail("get", container, name, transport.Changed, 412, "412 Precondition Failed")
	}
	if obj.kind == transport.Symlink {
		return d, nil, nil
	}
	data, err := m.content("get", container, name, obj)
	if err != nil {
		return transport.Object{}, nil, err
	}
	whole := o.Offset == 0 && (o.Length < 0 || o.Length >= int64(len(data)))
	if o.Length != 0 && o.Offset > 0 && o.Offset >= int64(len(data)) {
		class := transport.Permanent
		if o.ETag == "" {
			class = transport.Changed
		}
		return transport.Object{}, nil, m.fail("get", container, name, class, 416, "416 Requested Range Not Satisfiable")
	}
	part := data[min(o.Offset, int64(len(data))):]
	if o.Length >= 0 && o.Length < int64(len(part)) {
		part = part[:o.Length]
	}
	r := &memReader{ctx: ctx, m: m, d: d, container: container, in: bytes.NewReader(part)}
	if sum := md5.Sum(data); whole && d.Kind != transport.SLO && !o.Unchecked && hex.EncodeToString(sum[:]) != d.ETag {
		r.end = m.fail("get", container, name, transport.Corrupt, 200, "the bytes have MD5 %x but the object's ETag is %s", sum, d.ETag)
	}
	return d, r, nil
}

type memReader struct {
	ctx       context.Context
	m         *Mem
	d         transport.Object
	container string
	in        *bytes.Reader
	end       error // instead of io.EOF
	closed    bool
}

func (r *memReader) Read(p []byte) (int, error) {
	if r.closed {
		return 0, r.m.fail("get", r.container, r.d.Name, transport.Permanent, 0, "read after close")
	}
	if err := r.m.canceled(r.ctx, "get", r.container, r.d.Name); err != nil {
		return 0, err
	}
	n, err := r.in.Read(p)
	if err == io.EOF && r.end != nil {
		err = r.end
	}
	return n, err
}

func (r *memReader) Close() error {
	r.closed = true
	return nil
}
