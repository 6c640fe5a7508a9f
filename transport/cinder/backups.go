package cinder

import (
	"context"
	"encoding/json"
	"errors"
	"maps"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/backups"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/snapshots"
	"github.com/gophercloud/gophercloud/v2/pagination"

	"farshore/transport"
)

// Snapshots lists the snapshots of a volume, or with "" all of the project.
func (s *Storage) Snapshots(ctx context.Context, volume string) ([]transport.Snapshot, error) {
	op := "list snapshots"
	if volume != "" {
		op += " of volume " + volume
		if err := s.checkID(op, volume); err != nil {
			return nil, err
		}
	}
	found, err := pages(ctx, s, op, "", func(c *gophercloud.ServiceClient, limit int, marker string) pagination.Pager {
		return snapshots.ListDetail(c, snapshots.ListOpts{VolumeID: volume, Limit: limit, Marker: marker})
	}, snapshots.ExtractSnapshots, func(v snapshots.Snapshot) string { return v.ID })
	return convert(found, snapshotOf), err
}

// Snapshot describes one snapshot.
func (s *Storage) Snapshot(ctx context.Context, id string) (transport.Snapshot, error) {
	op := "show snapshot " + id
	if err := s.checkID(op, id); err != nil {
		return transport.Snapshot{}, err
	}
	v, err := snapshots.Get(ctx, s.client, id).Extract()
	if err != nil {
		return transport.Snapshot{}, s.fail(op, err)
	}
	return snapshotOf(*v), nil
}

func snapshotOf(v snapshots.Snapshot) transport.Snapshot {
	return transport.Snapshot{ID: v.ID, Name: v.Name, Description: v.Description, Volume: v.VolumeID, Size: v.Size, Status: v.Status,
		Metadata: maps.Clone(v.Metadata), Created: v.CreatedAt}
}

// CreateSnapshot takes a snapshot, also of a volume in use.
func (s *Storage) CreateSnapshot(ctx context.Context, volume, name string, metadata map[string]string) (transport.Snapshot, error) {
	op := "create snapshot of volume " + volume
	if err := s.checkID(op, volume); err != nil {
		return transport.Snapshot{}, err
	}
	v, err := snapshots.Create(ctx, s.client, snapshots.CreateOpts{VolumeID: volume, Name: name, Force: true, Metadata: metadata}).Extract()
	if err != nil {
		return transport.Snapshot{}, s.fail(op, err)
	}
	return snapshotOf(*v), nil
}

// DeleteSnapshot removes a snapshot.
func (s *Storage) DeleteSnapshot(ctx context.Context, id string) error {
	return s.remove("delete snapshot "+id, id,
		func() error { return snapshots.Delete(ctx, s.client, id).ExtractErr() },
		func() (string, error) { v, err := s.Snapshot(ctx, id); return v.Status, err })
}

// Backups lists the project's backups.
func (s *Storage) Backups(ctx context.Context) ([]transport.Backup, error) {
	found, err := pages(ctx, s, "list backups", withMetadata, func(c *gophercloud.ServiceClient, limit int, marker string) pagination.Pager {
		return backups.ListDetail(c, backups.ListDetailOpts{Limit: limit, Marker: marker})
	}, backups.ExtractBackups, func(b backups.Backup) string { return b.ID })
	return convert(found, backupOf), err
}

// Backup describes one backup.
func (s *Storage) Backup(ctx context.Context, id string) (transport.Backup, error) {
	op := "show backup " + id
	if err := s.checkID(op, id); err != nil {
		return transport.Backup{}, err
	}
	var b *backups.Backup
	err := s.at(withMetadata, func(c *gophercloud.ServiceClient) (err error) {
		b, err = backups.Get(ctx, c, id).Extract()
		return err
	})
	if err != nil {
		return transport.Backup{}, s.fail(op, err)
	}
	return backupOf(*b), nil
}

func backupOf(b backups.Backup) transport.Backup {
	out := transport.Backup{ID: b.ID, Name: b.Name, Description: b.Description, Volume: b.VolumeID, Snapshot: b.SnapshotID,
		Container: b.Container, Size: b.Size, Objects: b.ObjectCount, Status: b.Status, FailReason: b.FailReason,
		Incremental: b.IsIncremental, Dependents: b.HasDependentBackups, Created: b.CreatedAt, DataTime: b.DataTimestamp}
	if b.AvailabilityZone != nil {
		out.Zone = *b.AvailabilityZone
	}
	if b.Metadata != nil {
		out.Metadata = maps.Clone(*b.Metadata)
	}
	return out
}

// CreateBackup begins a backup. Cinder's answer holds its id and name only; the rest is
// what was asked for.
func (s *Storage) CreateBackup(ctx context.Context, spec transport.BackupSpec) (transport.Backup, error) {
	op, item := "create backup of snapshot "+spec.Snapshot, spec.Snapshot
	if spec.Snapshot == "" {
		op, item = "create backup of volume "+spec.Volume, spec.Volume
	}
	for _, id := range []string{item, spec.Volume} {
		if err := s.checkID(op, id); err != nil {
			return transport.Backup{}, err
		}
	}
	opts := backups.CreateOpts{VolumeID: spec.Volume, SnapshotID: spec.Snapshot, Name: spec.Name, Description: spec.Description,
		Container: spec.Container, Incremental: spec.Incremental}
	var b *backups.Backup
	metadata := spec.Metadata
	err := s.at(withMetadata, func(c *gophercloud.ServiceClient) (err error) {
		if c.Microversion == "" {
			metadata = nil // the region is older: its schema refuses it
		}
		opts.Metadata = metadata
		b, err = backups.Create(ctx, c, opts).Extract()
		return err
	})
	if err != nil {
		return transport.Backup{}, s.fail(op, err)
	}
	return transport.Backup{ID: b.ID, Name: b.Name, Description: spec.Description, Volume: spec.Volume, Snapshot: spec.Snapshot,
		Container: spec.Container, Status: "creating", Incremental: spec.Incremental, Metadata: maps.Clone(metadata)}, nil
}

// DeleteBackup removes a backup with its objects.
func (s *Storage) DeleteBackup(ctx context.Context, id string) error {
	return s.remove("delete backup "+id, id,
		func() error { return backups.Delete(ctx, s.client, id).ExtractErr() },
		func() (string, error) { b, err := s.Backup(ctx, id); return b.Status, err })
}

// RestoreBackup begins to write a backup over an existing volume.
func (s *Storage) RestoreBackup(ctx context.Context, backup, volume string) error {
	op := "restore backup " + backup + " to volume " + volume
	for _, id := range []string{backup, volume} { // an empty volume would have Cinder make one (C14)
		if err := s.checkID(op, id); err != nil {
			return err
		}
	}
	if err := backups.RestoreFromBackup(ctx, s.client, backup, backups.RestoreOpts{VolumeID: volume}).Err; err != nil {
		return s.fail(op, err)
	}
	return nil
}

// importRule is the rule of Cinder's policy for records (I12).
const importRule = "backup:backup-import"

// swiftService is the driver whose records these are (I1).
const swiftService = "cinder.backup.drivers.swift.SwiftBackupDriver"

var errTookNothing = errors.New("a record without an id was accepted: what answers there is no Cinder")

// ImportRights asks for the import of a record that names no backup. Cinder looks at the
// right first (403) and refuses the record afterwards (400), before anything is made
// (cinder/backup/api.py, import_record).
func (s *Storage) ImportRights(ctx context.Context) (transport.ImportRights, error) {
	out := transport.ImportRights{Allowed: transport.Unknown, Project: s.region.Identity().Project}
	_, err := backups.Import(ctx, s.client, backups.ImportOpts{BackupService: swiftService, BackupURL: []byte("{}")}).Extract()
	if err == nil {
		// No Cinder does this; one that did would have a record by now.
		return out, s.fail("try to import a record", errTookNothing)
	}
	f := s.fail("try to import a record", err)
	switch {
	case f.Status == 400:
		out.Allowed = transport.Yes
	case f.Status == 403:
		out.Allowed = transport.No
		if out.Rule = ruleOf(f.Err.Error()); out.Rule == "" {
			out.Rule = importRule
		}
	default:
		return out, f
	}
	return out, nil
}

// ImportBackup asks for a record to be imported.
func (s *Storage) ImportBackup(ctx context.Context, service string, record []byte) (string, error) {
	var is struct {
		ID string `json:"id"`
	}
	_ = json.Unmarshal(record, &is) // for the error only: Cinder judges the record
	op := "import the record of backup " + transport.PrintName(is.ID)
	b, err := backups.Import(ctx, s.client, backups.ImportOpts{BackupService: service, BackupURL: record}).Extract()
	if err != nil {
		return "", s.fail(op, err)
	}
	return b.ID, nil
}
