package replicator

import (
	"context"
	"fmt"
	"sync"

	"farshore/transport"
)

// The older ways of keeping versions, X-Versions-Location and X-History-Location: what
// is overwritten or deleted goes to another container, the archive, under names of its
// own. Both containers travel as ordinary ones, the archive as what comes along. While
// Farshore writes, the destination must not archive by itself what the archive's own
// pass brings, nor bring an old version back at a delete: so the header is off there
// from the first write of a pass to its end. What a run that died left off, the next
// pass sets again.

var archiveHeaders = []string{"X-Versions-Location", "X-History-Location"}

// archive is how a destination's container is to archive between passes.
type archive struct {
	header   string // "": not at all
	from, to string // the archive's name at the source and there

	mu    sync.Mutex
	noted string // what the ledger says stands there: header=container, archiveUnknown; "": nothing
	off   bool   // nothing is archived there while this pass lasts
}

// archiveUnknown is noted before a destination's archiving changes.
const archiveUnknown = "?"

func (a *archive) want() string {
	if a.header == "" {
		return ""
	}
	return a.header + "=" + a.to
}

func archiveNote(d *dest) string { return fmt.Sprintf("archive/%d", d.info.ID) }

// openArchive finds out how a destination archives, and takes that off before the
// pass's first write there.
func (p *pass) openArchive(d *dest) error {
	a := &archive{}
	noted, _, err := p.e.o.Ledger.Note(archiveNote(d))
	if err != nil {
		return err
	}
	a.noted = string(noted)
	if p.shape != nil {
		for _, h := range archiveHeaders {
			if to := transport.Unquote(p.shape.Header[h]); to != "" {
				a.header, a.from, a.to = h, to, p.alongName(d, to)
				if err := p.comesAlong(to, ""); err != nil {
					return err
				}
			}
		}
	}
	if d.seen != nil && a.noted == "" { // it was there before farshore
		for _, h := range archiveHeaders {
			if to := d.seen.Header[h]; to != "" {
				a.noted = h + "=" + transport.Unquote(to)
			}
		}
	}
	if a.header == "" && a.noted == "" {
		return nil
	}
	d.archive = a
	if !p.dry() && d.ep != nil {
		d.ep = &unarchived{Sink: d.ep, container: d.side.Container, off: func(ctx context.Context) error { return p.archiveOff(ctx, d) }}
	}
	return nil
}

// changing notes, before a destination's archiving changes, that it is not known.
func (p *pass) changing(d *dest) error {
	if d.archive.noted == archiveUnknown {
		return nil
	}
	d.archive.noted = archiveUnknown
	return p.e.o.Ledger.PutNote(archiveNote(d), []byte(archiveUnknown))
}

// archiveOff takes the header off at a destination, once a pass.
func (p *pass) archiveOff(ctx context.Context, d *dest) error {
	a := d.archive
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.off || a.noted == "" {
		return nil
	}
	if err := p.changing(d); err != nil {
		return err
	}
	err := d.ep.PostContainer(ctx, d.side.Container, nil, archiveHeaders)
	if err != nil && !transport.Is(err, transport.NotFound) {
		return err
	}
	a.off = true
	return nil
}

// closeArchives has the destinations archive as the source does, from now on.
func (p *pass) closeArchives(ctx context.Context) error {
	for _, d := range p.dests {
		a := d.archive
		if a == nil || p.dry() || d.dead.Load() || d.ep == nil || a.noted == a.want() {
			continue
		}
		if err := p.closeArchive(ctx, d); err != nil {
			if ctx.Err() != nil || !regionTrouble(err) {
				return err
			}
			p.failed(ctx, &item{}, d, err)
		}
	}
	return nil
}

func (p *pass) closeArchive(ctx context.Context, d *dest) error {
	a := d.archive
	if a.header == "" {
		if err := p.archiveOff(ctx, d); err != nil {
			return err
		}
	} else {
		if err := p.changing(d); err != nil {
			return err
		}
		// A container whose archive is missing takes no writes (412).
		if _, err := p.along(ctx, a.from); err != nil {
			if !transport.Is(err, transport.NotFound) {
				return err
			}
			if err := d.ep.CreateContainer(ctx, a.to, nil); err != nil {
				return err
			}
		}
		if err := d.ep.PostContainer(ctx, d.side.Container, transport.Header{a.header: a.to}, nil); err != nil {
			return err
		}
	}
	a.noted, a.off = a.want(), a.header == ""
	return p.e.o.Ledger.PutNote(archiveNote(d), []byte(a.noted))
}

// unarchived takes a container's archiving off before the first write to it.
type unarchived struct {
	transport.Sink
	container string
	off       func(context.Context) error
}

func (u *unarchived) before(ctx context.Context, container string) error {
	if container != u.container {
		return nil
	}
	return u.off(ctx)
}

func (u *unarchived) Put(ctx context.Context, container, name string, body transport.Body, o transport.PutOptions) (transport.Receipt, error) {
	if err := u.before(ctx, container); err != nil {
		return transport.Receipt{}, err
	}
	return u.Sink.Put(ctx, container, name, body, o)
}

func (u *unarchived) PutManifest(ctx context.Context, container, name string, segments []transport.Segment, o transport.PutOptions) (transport.Receipt, error) {
	if err := u.before(ctx, container); err != nil {
		return transport.Receipt{}, err
	}
	return u.Sink.PutManifest(ctx, container, name, segments, o)
}

func (u *unarchived) PutRaw(ctx context.Context, container, name string, manifest []byte, etag string, o transport.PutOptions) (transport.Receipt, error) {
	if err := u.before(ctx, container); err != nil {
		return transport.Receipt{}, err
	}
	return u.Sink.PutRaw(ctx, container, name, manifest, etag, o)
}

func (u *unarchived) Collapse(ctx context.Context, fromContainer, fromName, toContainer, toName, md5 string, size int64, h transport.Header) (transport.Receipt, error) {
	if err := u.before(ctx, toContainer); err != nil {
		return transport.Receipt{}, err
	}
	return u.Sink.Collapse(ctx, fromContainer, fromName, toContainer, toName, md5, size, h)
}

func (u *unarchived) Delete(ctx context.Context, container, name string) error {
	if err := u.before(ctx, container); err != nil {
		return err
	}
	return u.Sink.Delete(ctx, container, name)
}

func (u *unarchived) DeleteMany(ctx context.Context, container string, names []string) error {
	if err := u.before(ctx, container); err != nil {
		return err
	}
	return u.Sink.DeleteMany(ctx, container, names)
}
