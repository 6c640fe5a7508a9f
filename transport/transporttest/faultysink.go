package transporttest

import (
	"bytes"
	"context"
	"io"

	"farshore/transport"
)

func (f *faulty) Containers(ctx context.Context, prefix string, yield func(transport.ContainerInfo) error) error {
	return f.do(Call{Method: Containers, Name: prefix}, func(*Call, *Fault) error { return f.ep.Containers(ctx, prefix, yield) })
}

func (f *faulty) Container(ctx context.Context, container string) (i transport.ContainerInfo, err error) {
	err = f.do(Call{Method: Container, Container: container}, func(*Call, *Fault) (err error) {
		i, err = f.ep.Container(ctx, container)
		return err
	})
	return i, err
}

// List meets Break and Truncate by the entry: that many are yielded first.
func (f *faulty) List(ctx context.Context, container string, r transport.Range, yield func([]transport.Entry) error) error {
	return f.do(Call{Method: List, Container: container, Name: r.Prefix}, func(c *Call, flt *Fault) error {
		return paged(f, c, flt, func(y func([]transport.Entry) error) error { return f.ep.List(ctx, container, r, y) }, yield)
	})
}

// Versions meets them likewise.
func (f *faulty) Versions(ctx context.Context, container string, r transport.Range, yield func([]transport.VersionEntry) error) error {
	return f.do(Call{Method: Versions, Container: container, Name: r.Prefix}, func(c *Call, flt *Fault) error {
		return paged(f, c, flt, func(y func([]transport.VersionEntry) error) error { return f.ep.Versions(ctx, container, r, y) }, yield)
	})
}

func paged[E any](f *faulty, c *Call, flt *Fault, list func(func([]E) error) error, yield func([]E) error) error {
	given, ended := int64(0), false
	err := list(func(page []E) error {
		if err := f.s.alive(); err != nil {
			return err
		}
		f.s.mu.Lock()
		c.Names++
		f.s.mu.Unlock()
		if flt != nil && flt.end >= 0 && given+int64(len(page)) > flt.end {
			page, ended = page[:flt.end-given], true
		}
		given += int64(len(page))
		if len(page) > 0 {
			if err := yield(page); err != nil {
				return err
			}
		}
		if ended {
			return io.EOF
		}
		return nil
	})
	if !ended || err != io.EOF {
		return err
	}
	if flt.endErr == nil {
		return nil
	}
	cut := *flt
	cut.class = transport.Transient
	return f.made(c, &cut)
}

func (f *faulty) Split(ctx context.Context, container string, r transport.Range, n int) (cuts []string, err error) {
	err = f.do(Call{Method: Split, Container: container, Name: r.Prefix}, func(*Call, *Fault) (err error) {
		cuts, err = f.ep.Split(ctx, container, r, n)
		return err
	})
	return cuts, err
}

func (f *faulty) Head(ctx context.Context, container, name string) (o transport.Object, err error) {
	err = f.do(Call{Method: Head, Container: container, Name: name}, func(*Call, *Fault) (err error) {
		o, err = f.ep.Head(ctx, container, name)
		return err
	})
	if err != nil {
		return transport.Object{}, err
	}
	return o, nil
}

func (f *faulty) Open(ctx context.Context, container, name string, opts transport.OpenOptions) (o transport.Object, body io.ReadCloser, err error) {
	err = f.do(Call{Method: Open, Container: container, Name: name, Offset: opts.Offset, ETag: opts.ETag, Version: opts.Version}, func(c *Call, flt *Fault) error {
		var in io.ReadCloser
		if o, in, err = f.ep.Open(ctx, container, name, opts); err == nil && in != nil {
			body = &closing{stream{in: in, s: f.s, call: c, flt: flt}, in}
		}
		return err
	})
	if err != nil {
		if body != nil {
			_ = body.Close()
		}
		return transport.Object{}, nil, err
	}
	return o, body, nil
}

func (f *faulty) CreateContainer(ctx context.Context, container string, h transport.Header) error {
	return f.do(Call{Method: CreateContainer, Container: container}, func(*Call, *Fault) error { return f.ep.CreateContainer(ctx, container, h) })
}

func (f *faulty) DeleteContainer(ctx context.Context, container string) error {
	return f.do(Call{Method: DeleteContainer, Container: container}, func(*Call, *Fault) error { return f.ep.DeleteContainer(ctx, container) })
}

func (f *faulty) Put(ctx context.Context, container, name string, body transport.Body, o transport.PutOptions) (rc transport.Receipt, err error) {
	err = f.do(Call{Method: Put, Container: container, Name: name, IfAbsent: o.IfAbsent}, func(c *Call, flt *Fault) (err error) {
		watched := body
		watched.Open = func() (io.Reader, error) {
			in, err := body.Open()
			if err != nil {
				return nil, err
			}
			return &stream{in: in, s: f.s, call: c, flt: flt}, nil
		}
		if body.Size == 0 && body.Open == nil {
			watched.Open = func() (io.Reader, error) { return bytes.NewReader(nil), nil }
		}
		rc, err = f.ep.Put(ctx, container, name, watched, o)
		return err
	})
	return written(rc, err)
}

func written(rc transport.Receipt, err error) (transport.Receipt, error) {
	if err != nil {
		return transport.Receipt{}, err
	}
	return rc, nil
}

func (f *faulty) Post(ctx context.Context, container, name string, h transport.Header) error {
	return f.do(Call{Method: Post, Container: container, Name: name}, func(*Call, *Fault) error { return f.ep.Post(ctx, container, name, h) })
}

func (f *faulty) PutManifest(ctx context.Context, container, name string, segments []transport.Segment, o transport.PutOptions) (rc transport.Receipt, err error) {
	err = f.do(Call{Method: PutManifest, Container: container, Name: name, Names: len(segments), IfAbsent: o.IfAbsent}, func(*Call, *Fault) (err error) {
		rc, err = f.ep.PutManifest(ctx, container, name, segments, o)
		return err
	})
	return written(rc, err)
}

func (f *faulty) Collapse(ctx context.Context, fromContainer, fromName, toContainer, toName, md5 string, size int64, h transport.Header) (rc transport.Receipt, err error) {
	err = f.do(Call{Method: Collapse, Container: toContainer, Name: toName}, func(*Call, *Fault) (err error) {
		rc, err = f.ep.Collapse(ctx, fromContainer, fromName, toContainer, toName, md5, size, h)
		return err
	})
	return written(rc, err)
}

func (f *faulty) Delete(ctx context.Context, container, name string) error {
	return f.do(Call{Method: Delete, Container: container, Name: name}, func(*Call, *Fault) error { return f.ep.Delete(ctx, container, name) })
}

func (f *faulty) DeleteMany(ctx context.Context, container string, names []string) error {
	c := Call{Method: DeleteMany, Container: container, Names: len(names)}
	if len(names) > 0 {
		c.Name = names[0]
	}
	return f.do(c, func(*Call, *Fault) error { return f.ep.DeleteMany(ctx, container, names) })
}

func (f *faulty) Abilities(ctx context.Context) (transport.Abilities, error) {
	return f.ep.Abilities(ctx)
}

func (f *faulty) Identity(ctx context.Context) (transport.Identity, error) { return f.ep.Identity(ctx) }
