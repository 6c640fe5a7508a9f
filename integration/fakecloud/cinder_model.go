package fakecloud

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// The states that more than one place knows.
const (
	stCreating   = "creating"
	stAvailable  = "available"
	stInUse      = "in-use"
	stError      = "error"
	stDeleting   = "deleting"
	stBackingUp  = "backing-up"
	stRestoring  = "restoring"
	stExtending  = "extending"
	stRestoringB = "restoring-backup"
	stErrRestore = "error_restoring"
	stReserved   = "reserved"
)

// head is what volumes, snapshots and backups have in common.
type head struct {
	id            string
	name, desc    *string
	project, user string
	status        string
	size          int // GiB
	meta          map[string]string
	created       time.Time
	updated       time.Time
}

type volume struct {
	head
	typ      *BlockType
	zone     string
	previous string // the status before a backup of the volume itself
	bootable bool
	key      string            // encryption_key_id
	image    map[string]string // volume_image_metadata
	snapshot string            // made of
	source   string
	launched time.Time
	fresh    bool // made by a restore that was given no volume: zeros are skipped (C14)
	disk     *disk
	// attachMeta is what GET shows among the metadata of what is or was attached.
	attachMeta map[string]string
}

type snapshot struct {
	head
	volume string
	typ    *BlockType
	key    string
	disk   *disk
}

// backup is a row of the backups table, which is also what a record holds (I2).
type backup struct {
	head
	volume, snapshot string
	host, zone       string
	container        *string
	parent           string
	reason           *string // fail_reason
	prefix           *string // service_metadata
	service          *string
	objects          int
	dataTime         time.Time
	dependents       int
	restoreVolume    string
	key              string
	elsewhere        *disk // the bytes, where they are not in Swift
	volumeMeta       string
}

type attachment struct {
	id, volume, instance, host, device, mode, status string
	project                                          string
	at                                               time.Time
}

type message struct {
	id, project, resource, kind, action, detail, event, request string
	text                                                        string
	created                                                     time.Time
}

func newUUID() string {
	var b [16]byte
	// It never fails.
	_, _ = rand.Read(b[:])
	return dashed(hex.EncodeToString(b[:]))
}

// text is the value of what may be null.
func text(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// orNull is nil for "".
func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// newestFirst is the order of Cinder's lists: created_at and id, both descending.
func newestFirst[T interface{ base() *head }](list []T) {
	slices.SortFunc(list, func(a, b T) int {
		x, y := a.base(), b.base()
		return cmp.Or(y.created.Compare(x.created), strings.Compare(y.id, x.id))
	})
}

func (h *head) base() *head { return h }

// bytes is the size of n of the API's GiB.
func (c *cinder) bytes(n int) int64 { return int64(n) * c.opts.GiB }

// typeOf finds a volume type by name or id.
func (c *cinder) typeOf(s string) *BlockType {
	for _, t := range c.types {
		if t.id == s || t.Name == s {
			return t
		}
	}
	return nil
}

// quota resources with their default limits.
func defaultLimit(resource string) int {
	switch resource {
	case "volumes", "snapshots", "backups", "groups":
		return 10
	case "gigabytes", "backup_gigabytes":
		return 1000
	}
	return -1
}

func (c *cinder) limit(project, resource string) int {
	if n, ok := c.limits[project][resource]; ok {
		return n
	}
	if n, ok := c.opts.Quota[resource]; ok {
		return n
	}
	return defaultLimit(resource)
}

// used sums what a project has, snapshots counting as gigabytes too.
func (c *cinder) used(project string) map[string]int {
	n := map[string]int{}
	for _, v := range c.volumes {
		if v.project == project {
			n["volumes"]++
			n["gigabytes"] += v.size
			n["volumes_"+v.typ.Name]++
			n["gigabytes_"+v.typ.Name] += v.size
		}
	}
	for _, s := range c.snapshots {
		if s.project == project {
			n["snapshots"]++
			n["gigabytes"] += s.size
			n["snapshots_"+s.typ.Name]++
			n["gigabytes_"+s.typ.Name] += s.size
		}
	}
	for _, b := range c.backups {
		if b.project == project {
			n["backups"]++
			n["backup_gigabytes"] += b.size
		}
	}
	return n
}

// reserve is an error if one more of kind (volumes, snapshots or backups) with
// that size would be over quota. Increments count in full (I10).
func (c *cinder) reserve(project, kind string, size int) error {
	have := c.used(project)
	gigs := "gigabytes"
	if kind == "backups" {
		gigs = "backup_gigabytes"
	}
	over := func(resource string, n int) bool {
		limit := c.limit(project, resource)
		return limit >= 0 && have[resource]+n > limit
	}
	// Cinder looks at them in alphabetical order, and gigabytes come first.
	if over(gigs, size) {
		if kind == "backups" {
			return overQuota("VolumeBackupSizeExceedsAvailableQuota", "Requested backup exceeds allowed Backup gigabytes quota. "+
				"Requested %dG, quota is %dG and %dG has been consumed.", size, c.limit(project, gigs), have[gigs])
		}
		return overQuota("VolumeSizeExceedsAvailableQuota", "Requested volume or snapshot exceeds allowed gigabytes quota. "+
			"Requested %dG, quota is %dG and %dG has been consumed.", size, c.limit(project, gigs), have[gigs])
	}
	if !over(kind, 1) {
		return nil
	}
	limit := c.limit(project, kind)
	switch kind {
	case "volumes":
		return overQuota("VolumeLimitExceeded", "Maximum number of volumes allowed (%d) exceeded for quota 'volumes'.", limit)
	case "snapshots":
		return overQuota("SnapshotLimitExceeded", "Maximum number of snapshots allowed (%d) exceeded", limit)
	}
	return overQuota("BackupLimitExceeded", "Maximum number of backups allowed (%d) exceeded", limit)
}
