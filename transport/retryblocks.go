package transport

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// RetryBlocks puts the retry layer before a region's block storage: what reads, deletes
// or sets is made again within the policy, and every request takes a slot of link (nil:
// no gate). What creates (CreateVolume, CreateSnapshot, CreateBackup, RestoreBackup and
// ImportBackup) is made again only where it surely was not carried out: no connection was
// made, or the token was refused. It fails with any other failure, for nobody knows here
// what came of it, and its caller looks for what it may have made (R6).
func RetryBlocks(b BlockStorage, link *Link, p RetryPolicy) BlockStorage {
	if link == nil {
		link = NewLink(LinkOptions{Start: 1 << 20, Max: 1 << 20, Clock: p.Clock})
	}
	return &blockRetrier{b: b, r: &retrier{link: link, p: p.withDefaults()}}
}

type blockRetrier struct {
	b BlockStorage
	r *retrier // for its call and once; it has no endpoint
}

var _ BlockStorage = (*blockRetrier)(nil)

// again makes a call that can be repeated.
func again[T any](ctx context.Context, r *retrier, op string, f func() (T, error)) (v T, err error) {
	err = r.call(ctx, op, "", "", func() (err error) {
		v, err = f()
		return err
	})
	return v, err
}

// create makes a call that cannot be repeated once it may have been carried out.
func create[T any](ctx context.Context, r *retrier, op string, f func() (T, error)) (v T, err error) {
	b, err := r.budget(ctx, op, "", "")
	if err != nil {
		return v, err
	}
	for {
		err := r.once(ctx, b, 0, func() (err error) {
			v, err = f()
			return err
		})
		if err == nil || !neverBegun(err) {
			return v, err
		}
		if err = b.failed(ctx, err); err != nil {
			return v, err
		}
	}
}

// neverBegun reports whether a failed request surely was not carried out.
func neverBegun(err error) bool {
	var op *net.OpError
	var e *Error
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &e) && e.Status == http.StatusUnauthorized && e.Class == Transient
}

func (b *blockRetrier) Identity(ctx context.Context) (Identity, error) {
	return again(ctx, b.r, "log in", func() (Identity, error) { return b.b.Identity(ctx) })
}

// Renew is the login's, which has retries of its own.
func (b *blockRetrier) Renew(ctx context.Context) (time.Time, error) { return b.b.Renew(ctx) }

func (b *blockRetrier) Volumes(ctx context.Context) ([]Volume, error) {
	return again(ctx, b.r, "list volumes", func() ([]Volume, error) { return b.b.Volumes(ctx) })
}

func (b *blockRetrier) Volume(ctx context.Context, id string) (Volume, error) {
	return again(ctx, b.r, "show volume "+id, func() (Volume, error) { return b.b.Volume(ctx, id) })
}

func (b *blockRetrier) CreateVolume(ctx context.Context, s VolumeSpec) (Volume, error) {
	return create(ctx, b.r, "create volume "+PrintName(s.Name), func() (Volume, error) { return b.b.CreateVolume(ctx, s) })
}

func (b *blockRetrier) ChangeVolume(ctx context.Context, id string, c VolumeChange) error {
	return b.r.call(ctx, "change volume "+id, "", "", func() error { return b.b.ChangeVolume(ctx, id, c) })
}

func (b *blockRetrier) DeleteVolume(ctx context.Context, id string) error {
	return b.r.call(ctx, "delete volume "+id, "", "", func() error { return b.b.DeleteVolume(ctx, id) })
}

func (b *blockRetrier) VolumeTypes(ctx context.Context) ([]VolumeType, error) {
	return again(ctx, b.r, "list volume types", func() ([]VolumeType, error) { return b.b.VolumeTypes(ctx) })
}

func (b *blockRetrier) Snapshots(ctx context.Context, volume string) ([]Snapshot, error) {
	return again(ctx, b.r, "list snapshots", func() ([]Snapshot, error) { return b.b.Snapshots(ctx, volume) })
}

func (b *blockRetrier) Snapshot(ctx context.Context, id string) (Snapshot, error) {
	return again(ctx, b.r, "show snapshot "+id, func() (Snapshot, error) { return b.b.Snapshot(ctx, id) })
}

func (b *blockRetrier) CreateSnapshot(ctx context.Context, volume, name string, metadata map[string]string) (Snapshot, error) {
	return create(ctx, b.r, "create snapshot of volume "+volume, func() (Snapshot, error) {
		return b.b.CreateSnapshot(ctx, volume, name, metadata)
	})
}

func (b *blockRetrier) DeleteSnapshot(ctx context.Context, id string) error {
	return b.r.call(ctx, "delete snapshot "+id, "", "", func() error { return b.b.DeleteSnapshot(ctx, id) })
}

func (b *blockRetrier) Backups(ctx context.Context) ([]Backup, error) {
	return again(ctx, b.r, "list backups", func() ([]Backup, error) { return b.b.Backups(ctx) })
}

func (b *blockRetrier) Backup(ctx context.Context, id string) (Backup, error) {
	return again(ctx, b.r, "show backup "+id, func() (Backup, error) { return b.b.Backup(ctx, id) })
}

func (b *blockRetrier) CreateBackup(ctx context.Context, s BackupSpec) (Backup, error) {
	return create(ctx, b.r, "create backup of snapshot "+s.Snapshot, func() (Backup, error) { return b.b.CreateBackup(ctx, s) })
}

func (b *blockRetrier) DeleteBackup(ctx context.Context, id string) error {
	return b.r.call(ctx, "delete backup "+id, "", "", func() error { return b.b.DeleteBackup(ctx, id) })
}

func (b *blockRetrier) RestoreBackup(ctx context.Context, backup, volume string) error {
	_, err := create(ctx, b.r, "restore backup "+backup+" to volume "+volume, func() (struct{}, error) {
		return struct{}{}, b.b.RestoreBackup(ctx, backup, volume)
	})
	return err
}

func (b *blockRetrier) ImportRights(ctx context.Context) (ImportRights, error) {
	return again(ctx, b.r, "try to import a record", func() (ImportRights, error) { return b.b.ImportRights(ctx) })
}

func (b *blockRetrier) ImportBackup(ctx context.Context, service string, record []byte) (string, error) {
	return create(ctx, b.r, "import backup record", func() (string, error) { return b.b.ImportBackup(ctx, service, record) })
}

func (b *blockRetrier) Quotas(ctx context.Context) (VolumeQuotas, error) {
	return again(ctx, b.r, "ask for the quotas", func() (VolumeQuotas, error) { return b.b.Quotas(ctx) })
}
