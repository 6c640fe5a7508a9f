package volumes

import (
	"context"
	"crypto/md5" //nolint:gosec // Cinder's checksum
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"farshore/store"
	"farshore/transport"
	"farshore/transport/backup"
)

// copiesAtOnce is how many server-side copies are under way at a destination together:
// its proxies do the work, and have other work as well.
const copiesAtOnce = 4

// copy has the region copy the objects, but for those that an earlier run had copied,
// and gives what is to stand under the new prefix.
func (m *merging) copy(ctx context.Context, pieces []piece, meta *backup.Metadata) ([]transport.Entry, error) {
	there, err := m.listing(ctx, m.d.Container, m.d.Prefix)
	if err != nil {
		return nil, err
	}
	from := make([]map[string]transport.Entry, len(m.chain))
	for i, l := range m.chain {
		if from[i], err = m.listing(ctx, l.at.Container, l.at.Prefix); err != nil {
			return nil, err
		}
	}
	want := make([]transport.Entry, len(pieces))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(copiesAtOnce)
	for n, pc := range pieces {
		c := m.chain[pc.chain].at
		name := pc.part.Name(c.Prefix)
		e, listed := from[pc.chain][name]
		known, is := m.etags[pc.chain][name]
		if !listed || is && known != e.ETag {
			_ = g.Wait()
			return nil, &transport.Error{Op: "copy object inside the region", Region: m.w.Region, Container: c.Container, Name: name, Class: transport.Corrupt,
				Err: errors.New("it is not as it was confirmed"), Hint: "farshore audit --repair sends it again"}
		}
		to := transport.Entry{Name: meta.Extents[n].Object(m.d.Prefix), Size: e.Size, ETag: e.ETag}
		want[n] = to
		if has, ok := there[to.Name]; ok && has.ETag == to.ETag && has.Size == to.Size {
			continue
		}
		g.Go(func() error {
			if !is { // nobody vouches for it but its own content
				if err := m.s.readExtent(gctx, m.r.Objects, c, meta.Extents[n], name, e); err != nil {
					return err
				}
			}
			_, err := m.r.Objects.Collapse(gctx, c.Container, name, m.d.Container, to.Name, e.ETag, e.Size, transport.Header{"Content-Type": "application/octet-stream"})
			if err == nil {
				m.copied.Add(e.Size)
			}
			return err
		})
	}
	return want, g.Wait()
}

func (m *merging) listing(ctx context.Context, container, prefix string) (map[string]transport.Entry, error) {
	return listing(ctx, m.r.Objects, container, prefix)
}

// listing lists what begins with a prefix, by name.
func listing(ctx context.Context, objects transport.Source, container, prefix string) (map[string]transport.Entry, error) {
	out := map[string]transport.Entry{}
	err := objects.List(ctx, container, transport.Range{Prefix: prefix}, func(page []transport.Entry) error {
		for _, e := range page {
			out[e.Name] = e
		}
		return nil
	})
	if transport.Is(err, transport.NotFound) {
		err = nil
	}
	return out, err
}

// readExtent reads a data object through, and fails with class Corrupt if its content
// is not what _metadata says (C6).
func (s *Shipper) readExtent(ctx context.Context, objects transport.Source, c store.PointCopy, x backup.Extent, name string, e transport.Entry) error {
	_, body, err := objects.Open(ctx, c.Container, name, transport.OpenOptions{ETag: e.ETag, Length: -1, Unchecked: true})
	if err != nil {
		return err
	}
	if body == nil {
		return corruptExtent(c, name, errors.New("it is a link or a manifest"))
	}
	defer body.Close()
	h := md5.New() //nolint:gosec // Cinder's checksum
	in, err := backup.Decompress(body, x.Compression, x.Length)
	if err == nil {
		_, err = io.Copy(h, in)
	}
	if errors.Is(err, backup.ErrFormat) {
		return corruptExtent(c, name, err)
	}
	if err == nil && [16]byte(h.Sum(nil)) != x.MD5 {
		return corruptExtent(c, name, fmt.Errorf("its content has MD5 %x, not %x as _metadata says", h.Sum(nil), x.MD5))
	}
	return err
}

func corruptExtent(c store.PointCopy, name string, err error) error {
	return &transport.Error{Op: "read data object", Region: c.Region, Container: c.Container, Name: name, Class: transport.Corrupt, Err: err, Hint: "farshore audit --repair sends it again"}
}

// putMetadata writes the list of the synthetic full, after all its data, and gives its
// row of the listing.
func (m *merging) putMetadata(ctx context.Context, meta *backup.Metadata) (e transport.Entry, sum store.Sum, err error) {
	text := newSpool()
	defer text.Close()
	h := sha256.New()
	if _, err := meta.WriteTo(io.MultiWriter(text, h)); err != nil {
		return e, sum, err
	}
	body := text.body()
	e = transport.Entry{Name: backup.MetadataPart.Name(m.d.Prefix), Size: body.Size, ETag: body.MD5}
	_, err = m.r.Objects.Put(ctx, m.d.Container, e.Name, body, transport.PutOptions{Header: transport.Header{"Content-Type": "application/json"}})
	return e, store.Sum(h.Sum(nil)), err
}

// putBlocks writes the whole list of the point's blocks beside the synthetic full, made
// of the lists of the chain, provided that it is the point's own: then what a proof
// compares a restored volume with is what the source's volume was.
func (m *merging) putBlocks(ctx context.Context, c store.PointCopy) error {
	if m.x.BlocksDigest == (store.Sum{}) {
		return nil
	}
	j := &restoring{s: m.s, r: m.r, point: m.x, chain: m.chain, at: m.old}
	list, err := j.openBlocks(ctx)
	if err != nil {
		return err
	}
	defer list.close()
	text := newSpool()
	defer text.Close()
	info, err := backup.WriteList(text, list.blockSize, list, nil, backup.Hash{})
	if err == nil && store.Sum(info.Digest) != m.x.BlocksDigest {
		err = fmt.Errorf("the digest of its blocks is %x, not %s", info.Digest, m.x.BlocksDigest)
	}
	if err != nil {
		return synthError(m.w.Region, m.x.ID, transport.ClassOf(err), err)
	}
	return putOwn(ctx, m.r.Objects, blocksName(m.d.Volume, c.Backup), text.body(), "application/octet-stream")
}

// listed waits until the listing of the new prefix is exactly what a restore asks for
// (C13), ETag by ETag.
func (m *merging) listed(ctx context.Context, want []transport.Entry) error {
	end := m.s.o.Clock.Now().Add(m.s.o.Lost)
	return m.s.await(ctx, "checking the listing of a synthetic full in "+m.w.Region, func(ctx context.Context) (bool, error) {
		got, err := m.listing(ctx, m.d.Container, m.d.Prefix)
		if err != nil {
			return false, err
		}
		why := ""
		for _, e := range want {
			if g, ok := got[e.Name]; !ok {
				why = e.Name + " is not listed"
			} else if g.ETag != e.ETag || g.Size != e.Size {
				why = fmt.Sprintf("%s has ETag %s and %d bytes, not %s and %d", e.Name, g.ETag, g.Size, e.ETag, e.Size)
			}
		}
		if len(got) > len(want) && why == "" {
			why = fmt.Sprintf("%d objects are listed, not %d", len(got), len(want))
		}
		if why != "" && m.s.o.Clock.Now().After(end) {
			return false, synthError(m.w.Region, m.x.ID, transport.Permanent, errors.New(why))
		}
		return why == "", nil
	})
}

// land imports the record and waits until the region's Cinder could restore it.
func (m *merging) land(ctx context.Context, t *trip, c store.PointCopy) error {
	_, err := m.r.Blocks.Backup(ctx, c.Backup)
	if err == nil { // of an import before
		_, err = t.settled(ctx, m.r, c, m.s.o.Lost, nil)
	}
	if err != nil && !transport.Is(err, transport.NotFound) {
		return err
	}
	note, err := t.importRecord(ctx, c)
	if err == nil && note != "" {
		err = &transport.Error{Op: "import backup " + c.Backup, Region: c.Region, Class: transport.Denied, Err: errors.New(note)}
	}
	return err
}

// record makes the synthetic full the point's copy. Its objects get records of their own,
// at the place where they are: no source has them.
func (m *merging) record(ctx context.Context, c store.PointCopy, want []transport.Entry) error {
	l := m.s.o.Ledger
	place, err := l.PlaceID(store.Place{Region: c.Region, Project: c.Project, Container: c.Container})
	if err != nil {
		return err
	}
	for _, e := range want {
		l.Update(place, e.Name, func(o *store.Object, _ bool) bool {
			*o = store.Object{Name: e.Name, Size: e.Size, Version: store.Version{ETag: e.ETag, Modified: c.Shipped}, Replicas: o.Replicas}
			return true
		})
	}
	if err := l.Flush(ctx); err != nil {
		return err
	}
	return l.UpdatePoint(ctx, m.x.ID, func(p *store.Point, exists bool) bool {
		if now, ok := p.Copy(c.Region); ok && now.Backup == m.old.Backup {
			p.SetCopy(c)
		}
		return exists
	})
}

// finish removes the backup that the synthetic full took the place of: nothing is an
// increment upon it.
func (m *merging) finish(ctx context.Context) error {
	if _, err := m.s.expire(ctx, m.f, m.p.Name, m.x.ID, m.w.Region, m.d.Old); err != nil {
		return err
	}
	return m.s.done(ctx, m.w.ID)
}
