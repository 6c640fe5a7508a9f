package volumes

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // Swift's checksum
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
	"farshore/transport/backup"
)

// Descriptor is what a destination itself holds of a point, in PointsContainer: all that
// a restore needs when neither its source nor a ledger is left.
type Descriptor struct {
	Format int             `json:"format"`
	Point  store.Point     `json:"point"` // without copies
	Copy   store.PointCopy `json:"copy"`  // the one in this region
}

// descriptorFormat is what this version writes, and the newest that it reads.
const descriptorFormat = 1

// maxDescriptor bounds what is read of one.
const maxDescriptor = 4 << 20

// putDescriptor writes a point's descriptor at a destination.
func (s *Shipper) putDescriptor(ctx context.Context, pt store.Point, c store.PointCopy) error {
	r, err := s.region(c.Region)
	if err != nil {
		return err
	}
	pt.Copies, pt.Unseen = nil, false
	c.Proof, c.Note = store.Proof{}, ""
	text, err := json.MarshalIndent(Descriptor{Format: descriptorFormat, Point: pt, Copy: c}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode descriptor of point %s: %w", pt.ID, err)
	}
	return putSmall(ctx, r.Objects, descriptorName(pt.Volume.ID, c.Backup), text, "application/json")
}

// readDescriptor reads the descriptor of a point's copy by the id of its backup there.
func (s *Shipper) readDescriptor(ctx context.Context, region, volume, backup string) (Descriptor, error) {
	r, err := s.region(region)
	if err != nil {
		return Descriptor{}, err
	}
	name := descriptorName(volume, backup)
	_, body, err := r.Objects.Open(ctx, PointsContainer, name, transport.OpenOptions{Length: -1})
	if err != nil {
		return Descriptor{}, err
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, maxDescriptor))
	if err != nil {
		return Descriptor{}, err
	}
	bad := func(err error) error {
		return &transport.Error{Op: "read descriptor", Region: region, Container: PointsContainer, Name: name, Class: transport.Corrupt, Err: err,
			Hint: "farshore audit writes it again from the ledger, or the source"}
	}
	var d Descriptor
	if err := json.Unmarshal(text, &d); err != nil {
		return d, bad(err)
	}
	if d.Format > descriptorFormat {
		return d, bad(fmt.Errorf("it has format %d; this version reads up to %d", d.Format, descriptorFormat))
	}
	if err := d.Point.Valid(); err != nil || d.Copy.Backup != backup {
		return d, bad(errors.Join(err, fmt.Errorf("it describes backup %q", d.Copy.Backup)))
	}
	d.Copy.Region = region // it may go by another name here than where it was written
	return d, nil
}

// descriptors calls see with every descriptor that a destination holds (volume "": of
// all volumes), or with the error of reading one.
func (s *Shipper) descriptors(ctx context.Context, region, volume string, see func(Descriptor, error) error) error {
	r, err := s.region(region)
	if err != nil {
		return err
	}
	prefix := ""
	if volume != "" {
		prefix = volume + "/"
	}
	err = r.Objects.List(ctx, PointsContainer, transport.Range{Prefix: prefix}, func(page []transport.Entry) error {
		for _, e := range page {
			name, ok := strings.CutSuffix(e.Name, descriptorSuffix)
			if !ok {
				continue
			}
			vol, id, _ := strings.Cut(name, "/")
			d, err := s.readDescriptor(ctx, region, vol, id)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := see(d, err); err != nil {
				return err
			}
		}
		return nil
	})
	if transport.Is(err, transport.NotFound) {
		return nil
	}
	return err
}

// putSmall writes an object of Farshore's own into PointsContainer, over what is there.
func putSmall(ctx context.Context, sink transport.Sink, name string, data []byte, kind string) error {
	sum := md5.Sum(data) //nolint:gosec // Swift's checksum
	body := transport.Body{Size: int64(len(data)), MD5: hex.EncodeToString(sum[:]), Open: func() (io.Reader, error) { return bytes.NewReader(data), nil }}
	return putOwn(ctx, sink, name, body, kind)
}

func putOwn(ctx context.Context, sink transport.Sink, name string, body transport.Body, kind string) error {
	o := transport.PutOptions{Header: transport.Header{"Content-Type": kind}}
	_, err := sink.Put(ctx, PointsContainer, name, body, o)
	if transport.Is(err, transport.NotFound) {
		if err = sink.CreateContainer(ctx, PointsContainer, nil); err == nil {
			_, err = sink.Put(ctx, PointsContainer, name, body, o)
		}
	}
	return err
}

// describe reads what Cinder wrote beside the data of a backup that is complete, and
// makes the point complete in the ledger.
func (t *trip) describe(ctx context.Context) error {
	if t.pt.Prefix == "" {
		if err := t.place(ctx); err != nil {
			return err
		}
	}
	sum, err := t.inventory(ctx)
	if err != nil {
		return err
	}
	if t.md.Parent != t.pt.Parent {
		if err := t.otherParent(ctx); err != nil {
			return err
		}
	}
	list, err := t.blocks(ctx)
	switch {
	case err != nil && (ctx.Err() != nil || !regional(err) && !errors.Is(err, backup.ErrFormat)):
		return err
	case err != nil:
		t.f.Add(report.Finding{Kind: report.KindDegraded, Level: report.Warn, Policy: t.p.Name, Region: t.p.From, Container: t.pt.Container, Name: t.pt.Prefix,
			Op: "read the hashes of the volume's blocks", Cause: err.Error(), Hint: "the point can be restored; a proof of it compares with the destination's own objects instead"})
		list = &blockList{}
	}
	bytes := t.meta.Size
	for _, x := range t.rows {
		bytes += x.size
	}
	if n := len(t.rows); n > 0 {
		byTime := func(a, b row) int { return a.modified.Compare(b.modified) }
		t.res.FirstObject, t.res.LastObject = slices.MinFunc(t.rows, byTime).modified, slices.MaxFunc(t.rows, byTime).modified
	}
	return t.save(ctx, func(p *store.Point) {
		p.Made, p.Objects, p.Bytes, p.Metadata = t.meta.Modified.UnixMicro(), len(t.rows), bytes, sum
		p.Parent = t.md.Parent
		if p.Parent != "" {
			p.Why = ""
		}
		p.Blocks, p.BlockSize, p.BlocksDigest = list.blocks, list.blockSize, list.digest
	})
}

// place waits a little for the objects of a complete backup to be listed. None at all
// means that this Cinder stores elsewhere (C2, R20): then nothing can be carried, and
// what was made is removed again.
func (t *trip) place(ctx context.Context) error {
	end := t.s.o.Clock.Now().Add(t.s.o.Lost)
	err := t.s.await(ctx, "looking for the backup's objects", func(ctx context.Context) (bool, error) {
		b, err := t.from.Blocks.Backup(ctx, t.pt.ID)
		if err == nil {
			err = t.findPrefix(ctx, b)
		}
		return t.pt.Prefix != "" || t.s.o.Clock.Now().After(end), err
	})
	if err != nil || t.pt.Prefix != "" {
		return err
	}
	err = placementError(t.p.From, t.pt.ID)
	if derr := t.discard(ctx, t.pt); derr != nil {
		return errors.Join(err, derr)
	}
	if t.pt.SnapshotOurs {
		if derr := t.s.removeSnapshot(ctx, t.from.Blocks, t.p.From, t.pt.Snapshot); derr != nil {
			return errors.Join(err, derr)
		}
	}
	return err
}

// inventory reads _metadata and lists the data objects at the source, until the two
// agree: a listing may lag.
func (t *trip) inventory(ctx context.Context) (sum store.Sum, err error) {
	if t.md.BackupID == "" {
		if sum, err = t.readMetadata(ctx); err != nil {
			return sum, err
		}
	}
	end := t.s.o.Clock.Now().Add(t.s.o.Lost)
	err = t.s.await(ctx, "listing backup "+t.pt.ID, func(ctx context.Context) (bool, error) {
		why, err := t.listSource(ctx)
		if err != nil || why == "" {
			return err == nil, err
		}
		if t.s.o.Clock.Now().After(end) {
			return false, &transport.Error{Op: "list backup " + t.pt.ID, Region: t.p.From, Container: t.pt.Container, Name: t.pt.Prefix, Class: transport.Permanent,
				Err: fmt.Errorf("its objects are not those that its _metadata names: %s", why), Hint: "the next pass looks again; if it persists, the backup is damaged: delete it, and a new one is made"}
		}
		return false, nil
	})
	return sum, err
}

func (t *trip) readMetadata(ctx context.Context) (store.Sum, error) {
	name := backup.MetadataPart.Name(t.pt.Prefix)
	_, body, err := t.from.Objects.Open(ctx, t.pt.Container, name, transport.OpenOptions{Length: -1})
	if err != nil {
		return store.Sum{}, err
	}
	defer body.Close()
	h := sha256.New()
	in := io.TeeReader(body, h)
	md, err := backup.ReadMetadata(in)
	if err == nil {
		_, err = io.Copy(io.Discard, in)
	}
	if err == nil && (md.BackupID != t.pt.ID || md.Prefix != "" && md.Prefix != t.pt.Prefix) {
		err = fmt.Errorf("it is of backup %s under %s", md.BackupID, md.Prefix)
	}
	if err != nil {
		return store.Sum{}, &transport.Error{Op: "read _metadata", Region: t.p.From, Container: t.pt.Container, Name: name, Class: transport.ClassOf(err), Err: err,
			Hint: "the next pass reads it again; if it persists, the backup is damaged: delete it, and a new one is made"}
	}
	t.md = md
	return store.Sum(h.Sum(nil)), nil
}

// listSource lists the backup's objects at the source and compares them with _metadata;
// why says what is not right.
func (t *trip) listSource(ctx context.Context) (why string, err error) {
	t.rows, t.meta = t.rows[:0], transport.Entry{}
	err = t.from.Objects.List(ctx, t.pt.Container, transport.Range{Prefix: t.pt.Prefix}, func(page []transport.Entry) error {
		for _, e := range page {
			prefix, part, ok := backup.SplitName(e.Name)
			switch {
			case !ok || prefix != t.pt.Prefix:
				why = "there is " + transport.PrintName(e.Name) + " besides"
			case part == backup.MetadataPart:
				t.meta = e
			case part > 0:
				t.rows = append(t.rows, row{part: part, size: e.Size, etag: e.ETag, modified: e.Modified})
			}
		}
		return nil
	})
	if err != nil || why != "" {
		return why, err
	}
	slices.SortFunc(t.rows, func(a, b row) int { return int(a.part - b.part) })
	for i, e := range t.md.Extents {
		if i >= len(t.rows) || t.rows[i].part != e.Part {
			return fmt.Sprintf("%s is not listed", transport.PrintName(e.Object(t.pt.Prefix))), nil
		}
	}
	switch {
	case len(t.rows) > len(t.md.Extents):
		return fmt.Sprintf("there are %d objects, it names %d", len(t.rows), len(t.md.Extents)), nil
	case t.meta.Name == "":
		return "_metadata is not listed", nil
	}
	return "", nil
}

// otherParent deals with an increment upon another backup than was expected: somebody
// made one in between. It serves if it is a point, too; else the backup is of no use.
func (t *trip) otherParent(ctx context.Context) error {
	if t.md.Parent == "" {
		return nil // a full one after all: better still
	}
	parent, ok, err := t.s.o.Ledger.Point(t.md.Parent)
	if err != nil || ok && parent.Made != 0 && parent.Gone == 0 && parent.Region == t.p.From {
		return err
	}
	cause := &transport.Error{Op: "back up snapshot " + t.pt.Snapshot, Region: t.p.From, Name: t.pt.ID, Class: transport.Changed,
		Err: fmt.Errorf("Cinder made it an increment upon backup %s, which is no point of Farshore's", t.md.Parent)}
	if err := t.discard(ctx, t.pt); err != nil {
		return errors.Join(cause, err)
	}
	return &tryFullError{why: "the newest backup is no point of Farshore's", cause: cause}
}
