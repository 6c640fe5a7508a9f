package volumes

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"

	"farshore/store"
	"farshore/transport"
	"farshore/transport/backup"
)

// Described gives the points that a region itself tells of, each with its one copy there,
// the oldest first: neither their source nor a ledger is asked. Descriptors are written before records are imported, so Cinder is
// asked which are; of the others it is looked whether their objects are there still, else
// they are lost. A descriptor that cannot be read is passed over.
func (s *Shipper) Described(ctx context.Context, region string) ([]store.Point, error) {
	r, err := s.cinder(region)
	if err != nil {
		return nil, err
	}
	backups, err := r.Blocks.Backups(ctx)
	if err != nil {
		return nil, err
	}
	records := map[string]string{}
	for _, b := range backups {
		records[b.ID] = b.Status
	}
	var out []store.Point
	err = s.descriptors(ctx, region, "", func(d Descriptor, err error) error {
		if err != nil {
			s.o.Log.Warn("a descriptor cannot be read", "region", region, "err", err)
			return nil
		}
		d.Copy.State = store.CopyLanded
		if status := records[d.Copy.Backup]; !restorable(status) {
			if d.Copy.State, d.Copy.Note, err = s.stands(ctx, r.Objects, d.Copy); err != nil {
				return err
			}
			if status != "" && d.Copy.State == store.CopyShipped {
				d.Copy.Note = "its record is " + status
			}
		}
		p := d.Point
		p.SetCopy(d.Copy)
		out = append(out, p)
		return nil
	})
	slices.SortFunc(out, func(a, b store.Point) int { return cmp.Or(cmp.Compare(a.Taken, b.Taken), cmp.Compare(a.ID, b.ID)) })
	return out, err
}

// restorable reports whether Cinder restores a backup whose record has that status, now or
// after the restore that runs.
func restorable(status string) bool { return status == statusAvailable || status == "restoring" }

// objectsGone is said of a copy whose _metadata, the last of its objects to be written, is not there.
const objectsGone = "its objects are gone there"

// stands finds out whether the objects are there still of a copy whose record is not. What
// cannot be looked at is believed to be.
func (s *Shipper) stands(ctx context.Context, sink transport.Sink, at store.PointCopy) (store.CopyState, string, error) {
	names, _, err := s.under(ctx, sink, at.Container, backup.MetadataPart.Name(at.Prefix))
	switch {
	case err != nil && ctx.Err() != nil:
		return "", "", context.Cause(ctx)
	case err != nil:
		s.o.Log.Warn("the objects of a backup cannot be listed", "region", at.Region, "backup", at.Backup, "err", err)
	case len(names) == 0:
		return store.CopyLost, objectsGone, nil
	}
	return store.CopyShipped, "", nil
}

// readMetadata reads a backup's _metadata in a region, and sees that it is the one that
// was recorded.
func (s *Shipper) readMetadata(ctx context.Context, sink transport.Sink, at store.PointCopy) (backup.Metadata, error) {
	name := backup.MetadataPart.Name(at.Prefix)
	_, body, err := sink.Open(ctx, at.Container, name, transport.OpenOptions{Length: -1})
	if err != nil {
		return backup.Metadata{}, err
	}
	defer body.Close()
	sum := sha256.New()
	in := io.TeeReader(body, sum)
	m, err := backup.ReadMetadata(in)
	if err == nil {
		_, err = io.Copy(io.Discard, in)
	}
	if got := store.Sum(sum.Sum(nil)); err == nil && at.Metadata != (store.Sum{}) && got != at.Metadata {
		err = fmt.Errorf("it has the SHA-256 %s, and %s was recorded", got, at.Metadata)
	}
	if err != nil {
		class := transport.ClassOf(err)
		if class == transport.Permanent {
			class = transport.Corrupt
		}
		return backup.Metadata{}, &transport.Error{Op: "read _metadata", Region: at.Region, Container: at.Container, Name: name, Class: class, Err: err, Hint: "farshore audit --repair sends it again"}
	}
	return m, nil
}

// checkBackup compares the listing under a backup's prefix with the backup's own list of
// objects, and counts the data objects and the bytes of all: one more or less, and a restore
// ends without a word of why (C13, L7).
func (s *Shipper) checkBackup(ctx context.Context, sink transport.Sink, at store.PointCopy) (objects, bytes int64, err error) {
	m, err := s.readMetadata(ctx, sink, at)
	if err != nil {
		return 0, 0, err
	}
	return s.compareListing(ctx, sink, at, m)
}

// compareListing compares what is listed under a backup's prefix with what its _metadata
// names, and counts the data objects and the bytes of all.
func (s *Shipper) compareListing(ctx context.Context, sink transport.Sink, at store.PointCopy, m backup.Metadata) (objects, bytes int64, err error) {
	fail := func(format string, args ...any) error {
		return &transport.Error{Op: "compare the objects of backup " + at.Backup, Region: at.Region, Container: at.Container, Name: at.Prefix, Class: transport.Corrupt,
			Err: fmt.Errorf(format, args...), Hint: "Cinder would not restore it: farshore audit --repair sends what is missing again, and names what does not belong there"}
	}
	var listed bool
	err = sink.List(ctx, at.Container, transport.Range{Prefix: at.Prefix}, func(page []transport.Entry) error {
		for _, e := range page {
			prefix, part, ok := backup.SplitName(e.Name)
			if !ok || prefix != at.Prefix || part > 0 && !m.Has(part) {
				return fail("%s is there, and its _metadata does not name it", transport.PrintName(e.Name))
			}
			switch part {
			case backup.HashesPart:
				continue
			case backup.MetadataPart:
				listed = true
			default:
				objects++
			}
			bytes += e.Size
		}
		return nil
	})
	switch {
	case err != nil:
		return objects, bytes, err
	case !listed:
		return objects, bytes, fail("its _metadata is not listed")
	case objects < int64(len(m.Extents)):
		return objects, bytes, fail("%d of its %d data objects are listed", objects, len(m.Extents))
	}
	return objects, bytes, nil
}
