package volumes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"farshore/store"
	"farshore/transport"
)

// made is what the work of a snapshot or backup says of it.
type made struct {
	Volume   string `json:"volume"`
	Snapshot string `json:"snapshot,omitempty"`
}

func (m made) encode() ([]byte, error) {
	data, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode work: %w", err)
	}
	return data, nil
}

// backUp begins a backup of a snapshot and makes it a point: the work is durable before
// Cinder is asked, the point as soon as Cinder says its id.
func (r *run) backUp(ctx context.Context, v transport.Volume, snap transport.Snapshot, c choice) (store.Point, error) {
	data, err := made{Volume: v.ID, Snapshot: snap.ID}.encode()
	if err != nil {
		return store.Point{}, err
	}
	w, err := r.s.begin(ctx, store.Work{Kind: workBackup, Region: r.p.From, Policy: r.p.Name, Data: data})
	if err != nil {
		return store.Point{}, err
	}
	name := madeName(r.p.Name, w.ID)
	began := r.s.o.Clock.Now()
	var b transport.Backup
	err = r.claimsIn(r.p.From).making(v.ID, need{}, func() (err error) {
		b, err = r.from.Blocks.CreateBackup(ctx, transport.BackupSpec{Volume: v.ID, Snapshot: snap.ID, Name: name,
			Description: "restore point of policy " + r.p.Name, Incremental: c.parent != nil, Metadata: madeMetadata(r.p.Name, w.ID)})
		return err
	})
	if passing(err) && ctx.Err() == nil { // perhaps only the reply was lost
		var found bool
		if b, found, err = r.lostBackup(ctx, name, err); !found {
			return store.Point{}, err // the work stays: the next run looks again
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			return store.Point{}, err
		}
		if derr := r.s.done(ctx, w.ID); derr != nil {
			return store.Point{}, derr
		}
		if c.parent != nil && (transport.Is(err, transport.Changed) || transport.Is(err, transport.Permanent)) {
			return r.backUp(ctx, v, snap, choice{why: "Cinder refused an increment", chain: 1})
		}
		return store.Point{}, err
	}
	pt := store.Point{ID: b.ID, Policy: r.p.Name, Region: r.p.From, Project: r.project, Volume: describeVolume(v, snap.Size), Snapshot: snap.ID,
		SnapshotOurs: ours(r.p.Name, snap.Metadata), Taken: snap.Created.UnixMicro(), Container: b.Container, Why: c.why}
	if c.parent != nil {
		pt.Parent = c.parent.ID
	}
	return pt, r.keep(ctx, &pt, w.ID, began.UnixMicro())
}

// keep makes a new point durable, with what its destinations are, and ends its work.
func (r *run) keep(ctx context.Context, pt *store.Point, work string, began int64) error {
	for _, to := range r.p.To {
		r.mu.Lock()
		project := r.there[to]
		r.mu.Unlock()
		pt.SetCopy(store.PointCopy{Region: to, Project: project, State: store.CopyShipping, Began: began})
	}
	err := r.s.o.Ledger.UpdatePoint(ctx, pt.ID, func(p *store.Point, exists bool) bool {
		if !exists {
			*p = *pt
		}
		return true
	})
	if err != nil || work == "" {
		return err
	}
	return r.s.done(ctx, work)
}

// describeVolume is what a restore needs to know of a volume.
func describeVolume(v transport.Volume, size int) store.PointVolume {
	return store.PointVolume{ID: v.ID, Name: v.Name, Description: v.Description, Size: size, Type: v.Type, Zone: v.Zone,
		Bootable: v.Bootable, Encrypted: v.Encrypted, Metadata: v.Metadata, Image: v.Image}
}

// lostBackup looks for the backup of a create whose reply was lost.
func (r *run) lostBackup(ctx context.Context, name string, lost error) (b transport.Backup, found bool, err error) {
	end := r.s.o.Clock.Now().Add(r.s.o.Lost)
	err = r.s.await(ctx, "looking for a backup whose reply was lost", func(ctx context.Context) (bool, error) {
		list, err := r.from.Blocks.Backups(ctx)
		if err != nil {
			return false, err
		}
		for _, x := range list {
			if x.Name == name {
				b, found = x, true
			}
		}
		return found || r.s.o.Clock.Now().After(end), nil
	})
	if err == nil && !found {
		err = lost
	}
	return b, found, err
}

// settle takes over what an earlier run made and did not live to record, and what a
// lost ledger knew: a backup that carries this policy's mark and is no point becomes
// one. Snapshots need no more than their mark.
func (r *run) settle(ctx context.Context) error {
	backups, err := r.from.Blocks.Backups(ctx)
	if err != nil {
		return err
	}
	for _, b := range backups {
		if !ours(r.p.Name, b.Metadata) || b.Snapshot == "" {
			continue
		}
		if _, known, err := r.s.o.Ledger.Point(b.ID); err != nil {
			return err
		} else if !known {
			if err := r.adopt(ctx, b); err != nil {
				return err
			}
		}
	}
	works, err := r.s.works(workSnapshot, workBackup)
	if err != nil {
		return err
	}
	for _, w := range works {
		if w.Policy == r.p.Name && w.Region == r.p.From && r.s.left(w) {
			if err := r.s.done(ctx, w.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// adopt makes a point of a backup that the ledger does not know.
func (r *run) adopt(ctx context.Context, b transport.Backup) error {
	v, err := r.from.Blocks.Volume(ctx, b.Volume)
	if transport.Is(err, transport.NotFound) {
		v, err = transport.Volume{ID: b.Volume}, nil
	}
	if err != nil {
		return err
	}
	if !r.p.Volumes.Matches(v.ID, v.Name, v.Metadata) {
		return nil // another policy of the same name, with a ledger of its own, made it
	}
	pt := store.Point{ID: b.ID, Policy: r.p.Name, Region: r.p.From, Project: r.project, Volume: describeVolume(v, b.Size), Snapshot: b.Snapshot,
		SnapshotOurs: true, Taken: b.DataTime.UnixMicro(), Container: b.Container}
	if snap, err := r.from.Blocks.Snapshot(ctx, b.Snapshot); err == nil {
		pt.Taken, pt.SnapshotOurs = snap.Created.UnixMicro(), ours(r.p.Name, snap.Metadata)
	} else if !transport.Is(err, transport.NotFound) {
		return err
	}
	r.s.o.Log.Info("a backup of this policy that the ledger does not know becomes a point", "backup", b.ID)
	return r.keep(ctx, &pt, "", b.Created.UnixMicro())
}

// tryFullError says that Cinder could not make an increment, and that it is gone again.
type tryFullError struct {
	why   string
	cause error
}

func (e *tryFullError) Error() string { return e.why + ": " + e.cause.Error() }
func (e *tryFullError) Unwrap() error { return e.cause }

// discard takes back a point that came to nothing: its backup, what was carried of it,
// and its record, in this order, so that a run that is interrupted here is gone on with.
func (r *run) discard(ctx context.Context, pt store.Point) error {
	if err := r.s.removeBackup(ctx, r.from.Blocks, r.p.From, pt.ID); err != nil {
		return err
	}
	if err := r.clearCopies(ctx, pt); err != nil {
		return err
	}
	return r.s.o.Ledger.UpdatePoint(ctx, pt.ID, func(*store.Point, bool) bool { return false })
}

// clearCopies removes what was carried of a point, everywhere, and forgets it.
func (r *run) clearCopies(ctx context.Context, pt store.Point) error {
	if pt.Prefix == "" {
		return nil // nothing was carried yet
	}
	var failed error
	names := map[string]bool{}
	for _, c := range pt.Copies {
		reg, err := r.s.region(c.Region)
		if err == nil {
			err = r.clearPrefix(ctx, reg.Objects, pt, names)
		}
		if err != nil {
			failed = errors.Join(failed, err)
		}
	}
	if failed != nil {
		return failed
	}
	place, ok, err := r.s.o.Ledger.FindPlace(store.Place{Region: pt.Region, Project: pt.Project, Container: pt.Container})
	if err != nil || !ok {
		return err
	}
	list := make([]string, 0, len(names))
	for n := range names {
		list = append(list, n)
	}
	return r.s.o.Ledger.ForgetObjects(ctx, place, list)
}

func (r *run) clearPrefix(ctx context.Context, sink transport.Sink, pt store.Point, seen map[string]bool) error {
	var names []string
	err := sink.List(ctx, pt.Container, transport.Range{Prefix: pt.Prefix}, func(page []transport.Entry) error {
		for _, e := range page {
			names = append(names, e.Name)
			seen[e.Name] = true
		}
		return nil
	})
	if transport.Is(err, transport.NotFound) {
		return nil
	}
	if err != nil || len(names) == 0 {
		return err
	}
	return sink.DeleteMany(ctx, pt.Container, names)
}
