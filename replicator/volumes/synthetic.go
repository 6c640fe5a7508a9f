package volumes

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
	"farshore/transport/backup"
)

const workSynthetic = "synthetic" // a synthetic full is being made

// synthesis is the Data of a workSynthetic: what is being made, and of what.
type synthesis struct {
	Volume    string
	Backup    string // the synthetic full's id, container and prefix
	Container string
	Prefix    string
	Old       expiry // the backup of the point's copy that it takes the place of
}

// newBackupID makes an id of the form that Cinder's own have.
func newBackupID() (string, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("make a backup's id: %w", err)
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-"), nil
}

// synthesize makes a point's copy in a region a full backup of its own, of objects that
// are already there: no byte crosses regions, and the source is not asked (L6, R22).
// The objects are copied by the region itself, with the ETag that each was confirmed by;
// the new record is imported when the listing shows all of them and the block list is
// that of the point; then the copy is the synthetic full, and its old backup goes.
// copied is in bytes.
//
// Refused for good, nothing of it is left behind; interrupted, the next retention goes on.
func (s *Shipper) synthesize(ctx context.Context, p policies.Policy, f *report.Findings, x store.Point, region string) (copied int64, err error) {
	c, _ := x.Copy(region)
	r, err := s.cinder(region)
	if err != nil {
		return 0, err
	}
	if c.State != store.CopyLanded {
		return 0, synthError(region, x.ID, transport.Changed, fmt.Errorf("its copy is %s", c.State))
	}
	q, err := r.Blocks.Quotas(ctx)
	if err != nil {
		return 0, err
	}
	if err := short(region, q, need{backups: 1, backupGigabytes: x.Volume.Size}, need{}); err != nil {
		return 0, err // the old chain is counted until it is deleted
	}
	id, err := newBackupID()
	if err != nil {
		return 0, err
	}
	old, err := backup.ParsePrefix(c.Prefix)
	if err != nil {
		return 0, synthError(region, x.ID, transport.Permanent, err)
	}
	d := synthesis{Volume: x.Volume.ID, Backup: id, Container: c.Container,
		Old:    expiry{Volume: x.Volume.ID, Backup: c.Backup, Container: c.Container, Prefix: c.Prefix, Replaced: true},
		Prefix: backup.Prefix{Volume: x.Volume.ID, At: s.o.Clock.Now(), Zone: old.Zone, Backup: id}.String()}
	data, err := json.Marshal(d)
	if err != nil {
		return 0, fmt.Errorf("describe synthetic full: %w", err)
	}
	w, err := s.begin(ctx, store.Work{Kind: workSynthetic, Region: region, Policy: p.Name, Point: x.ID, Resource: id, Data: data})
	if err != nil {
		return 0, err
	}
	return s.merge(ctx, p, f, w, d)
}

func synthError(region, point string, class transport.Class, err error) error {
	return &transport.Error{Op: "make a synthetic full of point " + point, Region: region, Class: class, Err: err, Hint: "farshore audit tells what is wrong with its chain, and --repair mends it"}
}

// merge makes the synthetic full of a work, as far as it is not there yet. What fails
// for good is cleared away.
func (s *Shipper) merge(ctx context.Context, p policies.Policy, f *report.Findings, w store.Work, d synthesis) (copied int64, err error) {
	m := &merging{s: s, p: p, f: f, w: w, d: d}
	err = m.make(ctx)
	if err == nil || ctx.Err() != nil || passing(err) {
		return m.copied.Load(), err
	}
	_, cerr := s.erase(ctx, f, w, expiry{Volume: d.Volume, Backup: d.Backup, Container: d.Container, Prefix: d.Prefix, Replaced: true})
	return m.copied.Load(), errors.Join(err, cerr)
}

// resumeSynthetic goes on with a synthetic full that an earlier run began, or clears it
// away where the point's copy is no longer what it was to take the place of.
func (s *Shipper) resumeSynthetic(ctx context.Context, p policies.Policy, f *report.Findings, w store.Work) error {
	var d synthesis
	if err := json.Unmarshal(w.Data, &d); err != nil {
		return fmt.Errorf("read work %s: %w", w.ID, err)
	}
	x, _, err := s.o.Ledger.Point(w.Point)
	if err != nil {
		return fmt.Errorf("read restore point %s: %w", w.Point, err)
	}
	switch c, ok := x.Copy(w.Region); {
	case ok && c.Backup == d.Backup, ok && c.Backup == d.Old.Backup && c.State == store.CopyLanded:
		_, err = s.merge(ctx, p, f, w, d)
	default:
		_, err = s.erase(ctx, f, w, expiry{Volume: d.Volume, Backup: d.Backup, Container: d.Container, Prefix: d.Prefix, Replaced: true})
	}
	return err
}

// merging is one synthetic full being made.
type merging struct {
	s *Shipper
	p policies.Policy
	f *report.Findings
	w store.Work
	d synthesis

	r      Region
	x      store.Point
	old    store.PointCopy
	chain  []link              // the full one first, the point itself last
	metas  []backup.Metadata   // of their copies here
	etags  []map[string]string // what their objects' ETags must be, by name; of some it may not be known
	copied atomic.Int64
}

func (m *merging) make(ctx context.Context) (err error) {
	if m.r, err = m.s.cinder(m.w.Region); err != nil {
		return err
	}
	x, ok, err := m.s.o.Ledger.Point(m.w.Point)
	if err != nil || !ok {
		return fmt.Errorf("read restore point %s: %w", m.w.Point, cmp.Or(err, errors.New("it is not in the ledger any more")))
	}
	m.x = x
	if m.old, _ = x.Copy(m.w.Region); m.old.Backup == m.d.Backup {
		return m.finish(ctx) // all that was missing is the end of its old backup
	}
	t := m.trip()
	if note, err := t.mayImport(ctx, m.r, m.old); err != nil || note != "" {
		return cmp.Or(err, error(&transport.Error{Op: "import backup " + m.d.Backup, Region: m.w.Region, Class: transport.Denied, Err: errors.New(note)}))
	}
	if err := m.read(ctx); err != nil {
		return err
	}
	pieces, meta := merge(m.metas, m.d.Prefix, m.d.Backup)
	m.s.o.Progress.Phase(fmt.Sprintf("making a synthetic full of point %s in %s: %s", x.ID, m.w.Region, report.Count(len(pieces), "object")))
	want, err := m.copy(ctx, pieces, &meta)
	if err != nil {
		return err
	}
	listed, sum, err := m.putMetadata(ctx, &meta)
	if err != nil {
		return err
	}
	want = append(want, listed)
	if err := m.listed(ctx, want); err != nil {
		return err
	}
	c := m.old
	c.Backup, c.Parent, c.Synthetic, c.Container, c.Prefix, c.Metadata = m.d.Backup, "", true, m.d.Container, m.d.Prefix, sum
	c.Objects, c.Bytes = len(pieces), 0
	for _, e := range want {
		c.Bytes += e.Size
	}
	c.Shipped, c.Proof, c.Note = m.s.o.Clock.Now().UnixMicro(), store.Proof{}, ""
	if err := m.putBlocks(ctx, c); err != nil {
		return err
	}
	if err := m.land(ctx, t, c); err != nil {
		return err
	}
	c.Landed = m.s.o.Clock.Now().UnixMicro()
	if err := m.s.putDescriptor(ctx, m.x, c); err != nil {
		return err
	}
	if err := m.record(ctx, c, want); err != nil {
		return err
	}
	return m.finish(ctx)
}

// trip is the vehicle of the code that imports records.
func (m *merging) trip() *trip {
	r := m.s.newRun(m.p, ShipOptions{})
	r.f = m.f
	return &trip{run: r, pt: m.x, regions: map[string]*report.PointRegion{}}
}

// read gets the lists of the whole chain, as they stand at the destination, and what is
// known of each object's ETag.
func (m *merging) read(ctx context.Context) error {
	var err error
	if m.chain, err = m.s.chain(ctx, m.x, m.w.Region); err != nil {
		return err
	}
	for _, l := range m.chain {
		if l.at.State != store.CopyLanded {
			return synthError(m.w.Region, m.x.ID, transport.Permanent, fmt.Errorf("backup %s of its chain is %s", l.at.Backup, l.at.State))
		}
		md, err := m.s.readMetadata(ctx, m.r.Objects, l.at)
		if err != nil {
			return err
		}
		etags, err := m.s.confirmed(ctx, l.point, l.at)
		if err != nil {
			return err
		}
		m.metas, m.etags = append(m.metas, md), append(m.etags, etags)
	}
	return nil
}

// confirmed gives the ETags with which a copy's objects were confirmed, by name. A
// rebuilt ledger knows none.
func (s *Shipper) confirmed(ctx context.Context, x store.Point, c store.PointCopy) (map[string]string, error) {
	out := map[string]string{}
	here := store.Place{Region: c.Region, Project: c.Project, Container: c.Container}
	if c.Synthetic {
		place, ok, err := s.o.Ledger.FindPlace(here)
		if err != nil || !ok {
			return out, err
		}
		return out, s.objects(ctx, place, c.Prefix, func(o store.Object) { out[o.Name] = o.Version.ETag })
	}
	route, ok, err := s.o.Ledger.FindRoute(store.Route{From: store.Place{Region: x.Region, Project: x.Project, Container: x.Container}, To: here})
	if err != nil || !ok {
		return out, err
	}
	return out, s.objects(ctx, route.From, c.Prefix, func(o store.Object) {
		if rep, has := o.Replica(route.ID); has && rep.State == store.Confirmed {
			out[o.Name] = cmp.Or(rep.ETag, rep.Version.ETag)
		}
	})
}
