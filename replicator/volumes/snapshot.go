package volumes

import (
	"context"
	"fmt"
	"slices"
	"time"

	"farshore/store"
	"farshore/transport"
)

// snapshot takes a snapshot of a volume and waits until it can be backed up.
func (r *run) snapshot(ctx context.Context, v transport.Volume) (transport.Snapshot, error) {
	if err := r.tellApart(ctx, v.ID); err != nil {
		return transport.Snapshot{}, err
	}
	data, err := made{Volume: v.ID}.encode()
	if err != nil {
		return transport.Snapshot{}, err
	}
	w, err := r.s.begin(ctx, store.Work{Kind: workSnapshot, Region: r.p.From, Policy: r.p.Name, Data: data})
	if err != nil {
		return transport.Snapshot{}, err
	}
	name := madeName(r.p.Name, w.ID)
	r.s.o.Progress.Phase("taking a snapshot of " + volumeName(v))
	var snap transport.Snapshot
	err = r.claimsIn(r.p.From).making(v.ID, need{backups: 1, backupGigabytes: v.Size}, func() (err error) {
		snap, err = r.from.Blocks.CreateSnapshot(ctx, v.ID, name, madeMetadata(r.p.Name, w.ID))
		return err
	})
	if passing(err) && ctx.Err() == nil { // perhaps only the reply was lost
		var found bool
		if snap, found, err = r.lostSnapshot(ctx, v.ID, name, err); !found {
			return snap, err // the work stays: the next run looks again
		}
	}
	if err != nil {
		if ctx.Err() == nil {
			if derr := r.s.done(ctx, w.ID); derr != nil {
				return snap, derr
			}
		}
		return snap, err
	}
	r.count(func() { r.volumes.Snapshots++ })
	w.Resource = snap.ID
	if err := r.s.note(ctx, w); err != nil {
		return snap, err
	}
	if snap, err = r.ready(ctx, snap.ID); err != nil {
		return snap, err
	}
	return snap, r.s.done(ctx, w.ID) // from here on its metadata says whose it is
}

// tellApart waits until a snapshot taken now is younger than the volume's last point:
// Cinder keeps these times by the second, and makes an increment only upon what is older
// (C11), so that one of the same second would go upon the point before.
func (r *run) tellApart(ctx context.Context, volume string) error {
	points, err := r.pointsOf(volume)
	if err != nil {
		return err
	}
	var last int64
	for _, pt := range points {
		last = max(last, pt.Taken)
	}
	next := time.UnixMicro(last).Truncate(time.Second).Add(time.Second)
	// The region's clock may be ahead of this one: a second is enough by any clock.
	return transport.Sleep(ctx, r.s.o.Clock, min(next.Sub(r.s.o.Clock.Now()), time.Second), nil)
}

// ready waits until a snapshot can be backed up. One that failed is removed. One that
// stays in another status for long is left to an admin: a cinder-backup that was killed
// leaves snapshots backing-up for ever.
func (r *run) ready(ctx context.Context, id string) (snap transport.Snapshot, err error) {
	since := r.s.o.Clock.Now()
	var left orphan
	err = r.s.await(ctx, "waiting for snapshot "+id, func(ctx context.Context) (bool, error) {
		if snap, err = r.from.Blocks.Snapshot(ctx, id); err != nil {
			return false, err
		}
		switch snap.Status {
		case "available":
			return true, nil
		case "error":
			return false, &transport.Error{Op: "take snapshot", Region: r.p.From, Name: id, Class: transport.Permanent,
				Err: fmt.Errorf("snapshot %s of volume %s ended in error", id, snap.Volume), Hint: "the volume's back end refused it: openstack volume message list tells why; the snapshot was removed"}
		}
		alone, err := left.look(ctx, r.s, r.from.Blocks, snap)
		if err == nil && (alone || r.s.o.Clock.Now().Sub(since) > patience) {
			err = &stuckError{what: "snapshot", region: r.p.From, id: id, status: snap.Status, command: "openstack volume snapshot set --state available " + id}
		}
		return false, err
	})
	if err != nil && snap.Status == "error" && ours(r.p.Name, snap.Metadata) && ctx.Err() == nil {
		if rerr := r.s.removeSnapshot(ctx, r.from.Blocks, r.p.From, id); rerr != nil {
			r.leftBehind("snapshot "+id, rerr)
		}
	}
	return snap, err
}

// orphan watches a snapshot that is backing-up. Cinder says so of it just before it has the backup, and
// takes it back before the backup is complete: one of which no backup is being made at two looks is
// what a cinder-backup that was killed has left.
type orphan struct {
	looked int
	next   time.Time
}

// orphanLook is how long an orphan waits before each look.
const orphanLook = 30 * time.Second

// look reports whether nobody will end what the snapshot is in.
func (o *orphan) look(ctx context.Context, s *Shipper, b transport.BlockStorage, snap transport.Snapshot) (bool, error) {
	now := s.o.Clock.Now()
	if snap.Status != "backing-up" {
		*o = orphan{}
		return false, nil
	}
	if o.next.IsZero() {
		o.next = now.Add(orphanLook)
	}
	if now.Before(o.next) {
		return false, nil
	}
	o.next = now.Add(orphanLook)
	list, err := b.Backups(ctx)
	if err != nil {
		return false, err
	}
	if o.looked++; slices.ContainsFunc(list, func(x transport.Backup) bool { return x.Snapshot == snap.ID && x.Status == "creating" }) {
		o.looked = 0
	}
	return o.looked >= 2, nil
}

// ours reports whether something in a Cinder was made for a policy.
func ours(policy string, metadata map[string]string) bool {
	return metadata[keyPolicy] == policy && metadata[keyWork] != ""
}

// lostSnapshot looks for the snapshot of a create whose reply was lost.
func (r *run) lostSnapshot(ctx context.Context, volume, name string, lost error) (snap transport.Snapshot, found bool, err error) {
	end := r.s.o.Clock.Now().Add(r.s.o.Lost)
	err = r.s.await(ctx, "looking for a snapshot whose reply was lost", func(ctx context.Context) (bool, error) {
		list, err := r.from.Blocks.Snapshots(ctx, volume)
		if err != nil {
			return false, err
		}
		for _, x := range list {
			if x.Name == name {
				snap, found = x, true
			}
		}
		return found || r.s.o.Clock.Now().After(end), nil
	})
	if err == nil && !found {
		err = lost
	}
	return snap, found, err
}

// dropSnapshots removes the snapshots that Farshore took of a volume for this policy
// and that are backed up: Cinder makes the next increment from the backup's own list,
// not from the snapshot (C8, C11).
func (r *run) dropSnapshots(ctx context.Context, volume string, points []store.Point) error {
	made := map[string]bool{}
	for _, pt := range points {
		if pt.Made != 0 && pt.SnapshotOurs {
			made[pt.Snapshot] = true
		}
	}
	list, err := r.from.Blocks.Snapshots(ctx, volume)
	if err != nil {
		return err
	}
	for _, x := range list {
		if !made[x.ID] || !ours(r.p.Name, x.Metadata) {
			continue
		}
		if err := r.s.removeSnapshot(ctx, r.from.Blocks, r.p.From, x.ID); err != nil {
			if ctx.Err() != nil || !regional(err) {
				return err
			}
			r.leftBehind("snapshot "+x.ID, err)
			continue
		}
		r.count(func() { r.volumes.Removed++ })
	}
	return nil
}
