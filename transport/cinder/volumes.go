package cinder

import (
	"context"
	"maps"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/limits"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/quotasets"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumetypes"
	"github.com/gophercloud/gophercloud/v2/pagination"

	"farshore/transport"
)

// Volumes lists the project's volumes.
func (s *Storage) Volumes(ctx context.Context) ([]transport.Volume, error) {
	found, err := pages(ctx, s, "list volumes", "", func(c *gophercloud.ServiceClient, limit int, marker string) pagination.Pager {
		return volumes.List(c, volumes.ListOpts{Limit: limit, Marker: marker})
	}, volumes.ExtractVolumes, func(v volumes.Volume) string { return v.ID })
	return convert(found, volumeOf), err
}

// Volume describes one volume.
func (s *Storage) Volume(ctx context.Context, id string) (transport.Volume, error) {
	op := "show volume " + id
	if err := s.checkID(op, id); err != nil {
		return transport.Volume{}, err
	}
	v, err := volumes.Get(ctx, s.client, id).Extract()
	if err != nil {
		return transport.Volume{}, s.fail(op, err)
	}
	return volumeOf(*v), nil
}

func volumeOf(v volumes.Volume) transport.Volume {
	out := transport.Volume{ID: v.ID, Name: v.Name, Description: v.Description, Size: v.Size, Type: v.VolumeType, Zone: v.AvailabilityZone,
		Status: v.Status, Bootable: v.Bootable == "true", Encrypted: v.Encrypted, Attachments: len(v.Attachments),
		Metadata: maps.Clone(v.Metadata), Created: v.CreatedAt, Updated: v.UpdatedAt}
	// What Cinder itself keeps of attachments and shows among the user's metadata
	// (cinder/api/api_utils.py, _visible_admin_metadata_keys).
	delete(out.Metadata, "readonly")
	delete(out.Metadata, "attached_mode")
	if len(v.VolumeImageMetadata) > 0 {
		out.Image = maps.Clone(v.VolumeImageMetadata)
	}
	return out
}

// CreateVolume makes an empty volume.
func (s *Storage) CreateVolume(ctx context.Context, spec transport.VolumeSpec) (transport.Volume, error) {
	v, err := volumes.Create(ctx, s.client, volumes.CreateOpts{Size: spec.Size, Name: spec.Name, Description: spec.Description,
		VolumeType: spec.Type, AvailabilityZone: spec.Zone, Metadata: spec.Metadata}, nil).Extract()
	if err != nil {
		return transport.Volume{}, s.fail("create volume "+transport.PrintName(spec.Name), err)
	}
	return volumeOf(*v), nil
}

// update is a volumes.UpdateOpts that can also take all metadata away.
type update map[string]any

// ToVolumeUpdateMap implements volumes.UpdateOptsBuilder.
func (u update) ToVolumeUpdateMap() (map[string]any, error) { return map[string]any{"volume": u}, nil }

// ChangeVolume sets what is said; it can be repeated.
func (s *Storage) ChangeVolume(ctx context.Context, id string, c transport.VolumeChange) error {
	op := "change volume " + id
	if err := s.checkID(op, id); err != nil {
		return err
	}
	u := update{}
	if c.Name != nil {
		u["name"] = *c.Name
	}
	if c.Description != nil {
		u["description"] = *c.Description
	}
	if c.Metadata != nil {
		u["metadata"] = c.Metadata
	}
	if len(u) > 0 {
		if err := volumes.Update(ctx, s.client, id, u).Err; err != nil {
			return s.fail(op, err)
		}
	}
	if c.Bootable != nil {
		if err := volumes.SetBootable(ctx, s.client, id, volumes.BootableOpts{Bootable: *c.Bootable}).ExtractErr(); err != nil {
			return s.fail("set the bootable flag of volume "+id, err)
		}
	}
	if len(c.Image) > 0 {
		if err := volumes.SetImageMetadata(ctx, s.client, id, volumes.ImageMetadataOpts{Metadata: c.Image}).Err; err != nil {
			return s.fail("set the image metadata of volume "+id, err)
		}
	}
	return nil
}

// DeleteVolume removes a volume that is not attached and has no snapshots.
func (s *Storage) DeleteVolume(ctx context.Context, id string) error {
	return s.remove("delete volume "+id, id,
		func() error { return volumes.Delete(ctx, s.client, id, nil).ExtractErr() },
		func() (string, error) { v, err := s.Volume(ctx, id); return v.Status, err })
}

// remove deletes what may be on its way out by now: Cinder refuses to delete what it is
// deleting already.
func (s *Storage) remove(op, id string, do func() error, status func() (string, error)) error {
	if err := s.checkID(op, id); err != nil {
		return err
	}
	err := do()
	if err == nil {
		return nil
	}
	f := s.fail(op, err)
	if f.Class == transport.NotFound {
		return nil
	}
	if f.Class == transport.Changed {
		if now, err := status(); transport.Is(err, transport.NotFound) || err == nil && now == "deleting" {
			return nil
		}
	}
	return f
}

// VolumeTypes lists the types that the project may use. Whether they encrypt is known to
// admins only.
func (s *Storage) VolumeTypes(ctx context.Context) ([]transport.VolumeType, error) {
	const op = "list volume types"
	found, err := pages(ctx, s, op, "", func(c *gophercloud.ServiceClient, limit int, marker string) pagination.Pager {
		return volumetypes.List(c, volumetypes.ListOpts{Limit: limit, Marker: marker})
	}, volumetypes.ExtractVolumeTypes, func(t volumetypes.VolumeType) string { return t.ID })
	if err != nil {
		return nil, err
	}
	normal, err := volumetypes.Get(ctx, s.client, "default").Extract()
	if err != nil { // a region may have none
		if f := s.fail(op, err); f.Class != transport.NotFound && f.Class != transport.Denied {
			return nil, f
		}
		normal = &volumetypes.VolumeType{}
	}
	out := make([]transport.VolumeType, len(found))
	denied := false
	for i, t := range found {
		out[i] = transport.VolumeType{ID: t.ID, Name: t.Name, Default: t.ID == normal.ID, Encrypted: transport.Unknown}
		if denied {
			continue
		}
		spec, err := volumetypes.GetEncryption(ctx, s.client, t.ID).Extract()
		if err != nil {
			if f := s.fail(op, err); f.Class != transport.Denied && f.Class != transport.NotFound {
				return nil, f
			}
			denied = true
			continue
		}
		if out[i].Encrypted = transport.No; spec.Provider != "" {
			out[i].Encrypted = transport.Yes
		}
	}
	return out, nil
}

// Quotas asks for the project's quotas and, where it may not, for its limits, which
// tell the same but for what is reserved at the moment.
func (s *Storage) Quotas(ctx context.Context) (transport.VolumeQuotas, error) {
	const op = "ask for the quotas"
	q, err := quotasets.GetUsage(ctx, s.client, s.region.Identity().Project).Extract()
	if err == nil {
		amount := func(u quotasets.QuotaUsage) transport.Amount {
			return transport.Amount{Limit: u.Limit, Used: u.InUse + u.Reserved}
		}
		return transport.VolumeQuotas{Volumes: amount(q.Volumes), Gigabytes: amount(q.Gigabytes), Snapshots: amount(q.Snapshots),
			Backups: amount(q.Backups), BackupGigabytes: amount(q.BackupGigabytes)}, nil
	}
	if f := s.fail(op, err); f.Class != transport.Denied && f.Class != transport.NotFound {
		return transport.VolumeQuotas{}, f
	}
	l, err := limits.Get(ctx, s.client).Extract()
	if err != nil {
		return transport.VolumeQuotas{}, s.fail(op, err)
	}
	a := l.Absolute
	return transport.VolumeQuotas{Volumes: transport.Amount{Limit: a.MaxTotalVolumes, Used: a.TotalVolumesUsed},
		Gigabytes:       transport.Amount{Limit: a.MaxTotalVolumeGigabytes, Used: a.TotalGigabytesUsed},
		Snapshots:       transport.Amount{Limit: a.MaxTotalSnapshots, Used: a.TotalSnapshotsUsed},
		Backups:         transport.Amount{Limit: a.MaxTotalBackups, Used: a.TotalBackupsUsed},
		BackupGigabytes: transport.Amount{Limit: a.MaxTotalBackupGigabytes, Used: a.TotalBackupGigabytesUsed}}, nil
}

func convert[A, B any](in []A, f func(A) B) []B {
	if in == nil {
		return nil
	}
	out := make([]B, len(in))
	for i, v := range in {
		out[i] = f(v)
	}
	return out
}
