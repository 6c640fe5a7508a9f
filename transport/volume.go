package transport

import (
	"context"
	"time"
)

// Volume is a volume as its region describes it.
type Volume struct {
	ID, Name, Description string
	Size                  int    // GiB
	Type                  string // name of the volume type
	Zone                  string // availability zone
	Status                string // Cinder's own word: available, in-use, creating, restoring-backup, error_restoring …
	Bootable, Encrypted   bool
	Attachments           int
	Metadata              map[string]string
	Image                 map[string]string // volume_image_metadata: what Glance said of the image it was made of; nil if none
	Created               time.Time
	// Updated is when Cinder last changed its record of the volume, as it does when it is attached and
	// detached, and not for its snapshots and their backups. Zero: never.
	Updated time.Time
}

// Snapshot is a snapshot of a volume.
type Snapshot struct {
	ID, Name, Description string
	Volume                string // the volume's id
	Size                  int    // GiB, of the volume when it was taken
	Status                string // creating, available, backing-up, error …
	Metadata              map[string]string
	Created               time.Time
}

// Backup is a backup as its region's Cinder records it.
type Backup struct {
	ID, Name, Description string
	Volume, Snapshot      string // ids; of an imported record, those of the region it comes from
	Container             string // of the object store
	Zone                  string // availability zone; "" unless it was asked for or the record imported
	Size                  int    // GiB of the volume
	Objects               int    // data objects, without the two side files (C4)
	Status, FailReason    string // creating, available, restoring, deleting, error …
	Incremental           bool
	Dependents            bool // other backups are increments upon it (C17)
	Metadata              map[string]string
	Created, DataTime     time.Time // DataTime: when the data was like this, the snapshot's time (C11)
}

// VolumeType is a kind of volume that a region offers.
type VolumeType struct {
	ID, Name  string
	Default   bool
	Encrypted Answer // only an admin is told
}

// Amount is how much of a quota is used. A Limit of -1 is none.
type Amount struct{ Limit, Used int }

// Free is what is left; ok is false if there is no limit.
func (a Amount) Free() (n int, ok bool) { return max(a.Limit-a.Used, 0), a.Limit >= 0 }

// VolumeQuotas are a project's quotas at a region's Cinder.
type VolumeQuotas struct {
	Volumes, Gigabytes, Snapshots, Backups, BackupGigabytes Amount
}

// VolumeSpec describes a volume to be made.
type VolumeSpec struct {
	Name, Description string
	Size              int    // GiB
	Type, Zone        string // "": the region's default
	Metadata          map[string]string
}

// VolumeChange sets what a restore overwrites or loses (C15). A nil field stays as it is.
type VolumeChange struct {
	Name, Description *string
	Metadata          map[string]string // replaces all of it
	Bootable          *bool
	Image             map[string]string // sets these keys of the image metadata
}

// BackupSpec describes a backup of a snapshot (never of a volume: C12).
type BackupSpec struct {
	Volume, Snapshot  string // ids; a Snapshot of "" backs the volume itself up, which only a proof does
	Name, Description string
	Container         string // "": the region's default
	Incremental       bool
	Metadata          map[string]string // microversion 3.43
}

// ImportRights say whether a login may import backup records (I12, R21).
type ImportRights struct {
	Allowed Answer
	Rule    string // the rule of Cinder's policy that says no: backup:backup-import
	Project string // whose the imported records will be
}

// BlockStorage is a region's Cinder, for one project. All methods may be called
// concurrently. Creates that may have been carried out are not repeated by anybody: a
// caller gives each a name of its own and, when a reply was lost, looks for that name (R6). Deletes of what is not
// there are no error. Errors are *Error: NotFound, Denied (a missing right), Exists (an
// imported record's id is taken), Changed (its status does not allow it), Quota (413),
// Throttled, Transient or Permanent.
//
// Nothing here waits: a create gives what the region answered, mostly in a status that
// ends in "-ing", and the caller asks again.
type BlockStorage interface {
	// Identity names the account; URL is the volume endpoint's.
	Identity(ctx context.Context) (Identity, error)
	// Renew makes a fresh token and tells when it ends: a backup or restore lives only as
	// long as the token that it was started with (R19, C18).
	Renew(ctx context.Context) (ends time.Time, err error)

	Volumes(ctx context.Context) ([]Volume, error)
	Volume(ctx context.Context, id string) (Volume, error)
	CreateVolume(ctx context.Context, s VolumeSpec) (Volume, error)
	ChangeVolume(ctx context.Context, id string, c VolumeChange) error
	DeleteVolume(ctx context.Context, id string) error
	VolumeTypes(ctx context.Context) ([]VolumeType, error)

	// Snapshots lists those of a volume, or with "" all of the project.
	Snapshots(ctx context.Context, volume string) ([]Snapshot, error)
	Snapshot(ctx context.Context, id string) (Snapshot, error)
	// CreateSnapshot works on volumes in use as well (force; no need of it from 3.66 on).
	CreateSnapshot(ctx context.Context, volume, name string, metadata map[string]string) (Snapshot, error)
	DeleteSnapshot(ctx context.Context, id string) error

	Backups(ctx context.Context) ([]Backup, error)
	Backup(ctx context.Context, id string) (Backup, error)
	CreateBackup(ctx context.Context, s BackupSpec) (Backup, error)
	// DeleteBackup removes a backup with its objects (C17).
	DeleteBackup(ctx context.Context, id string) error
	// RestoreBackup writes a backup over an existing volume, always (C14).
	RestoreBackup(ctx context.Context, backup, volume string) error

	// ImportRights finds out without side effects whether ImportBackup is allowed (R21).
	ImportRights(ctx context.Context) (ImportRights, error)
	// ImportBackup makes a record of what Record.Encode of transport/backup gives. It
	// verifies nothing and is done when the backup is available (I6, I7).
	ImportBackup(ctx context.Context, service string, record []byte) (id string, err error)

	Quotas(ctx context.Context) (VolumeQuotas, error)
}
