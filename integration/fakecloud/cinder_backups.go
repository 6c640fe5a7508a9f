package fakecloud

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

func (bc *blockCall) backup() (*backup, error) { return own(bc, "Backup", bc.c.backups, bc.path[1]) }

func (bc *blockCall) viewBackup(b *backup) map[string]any {
	m := map[string]any{
		"id": b.id, "status": b.status, "size": b.size, "object_count": b.objects, "availability_zone": orNull(b.zone),
		"container": b.container, "created_at": stampOrNull(b.created), "updated_at": stampOrNull(b.updated), "name": b.name,
		"description": b.desc, "fail_reason": b.reason, "volume_id": b.volume, "links": bc.links("backups", b.id),
		"is_incremental": b.parent != "", "has_dependent_backups": b.dependents != 0, "snapshot_id": orNull(b.snapshot),
		"data_timestamp": stampOrNull(b.dataTime),
	}
	if bc.micro >= 43 {
		m["metadata"] = b.meta
	}
	if bc.micro >= 64 && b.key != "" {
		m["encryption_key_id"] = b.key
	}
	if bc.micro >= 18 && bc.admin {
		m["os-backup-project-attr:project_id"] = b.project
	}
	if bc.micro >= 56 && bc.admin {
		m["user_id"] = b.user
	}
	return m
}

func (bc *blockCall) briefBackup(b *backup) map[string]any {
	return map[string]any{"id": b.id, "name": b.name, "links": bc.links("backups", b.id)}
}

func (bc *blockCall) listBackups() (done, error) {
	if err := bc.allow("backup:get_all"); err != nil {
		return done{}, err
	}
	match := func(b *backup, key, want string) bool {
		switch key {
		case "volume_id":
			return b.volume == want
		case "parent_id":
			return b.parent == want
		}
		return true
	}
	return collection(bc, "backups", bc.c.backups, []string{"volume_id"}, match, func(b *backup, detail bool) map[string]any {
		if detail {
			return bc.viewBackup(b)
		}
		return bc.briefBackup(b)
	})
}

func (bc *blockCall) showBackup() (done, error) {
	b, err := bc.backup()
	if err != nil {
		return done{}, err
	}
	return done{http.StatusOK, map[string]any{"backup": bc.viewBackup(b)}}, bc.allow("backup:get")
}

func (bc *blockCall) updateBackup() (done, error) {
	b, err := bc.backup()
	if err != nil {
		return done{}, err
	}
	m, err := bc.object("backup", "name", "description", "metadata")
	if err != nil {
		return done{}, err
	}
	if err := bc.allow("backup:update"); err != nil {
		return done{}, err
	}
	if err := b.rename(m); err != nil {
		return done{}, err
	}
	if m["metadata"] != nil && bc.micro >= 43 {
		if b.meta, err = metaIn(m, "metadata"); err != nil {
			return done{}, err
		}
	}
	b.updated = bc.c.now()
	return done{http.StatusOK, map[string]any{"backup": bc.briefBackup(b)}}, nil
}

// createBackup begins a backup of a snapshot, or of a volume itself (C12).
func (bc *blockCall) createBackup() (done, error) {
	allowed := []string{"volume_id", "container", "description", "incremental", "force", "name", "snapshot_id"}
	if bc.micro >= 43 {
		allowed = append(allowed, "metadata")
	}
	if bc.micro >= 51 {
		allowed = append(allowed, "availability_zone")
	}
	m, err := bc.object("backup", allowed...)
	if err != nil {
		return done{}, err
	}
	b := &backup{head: head{id: newUUID(), project: bc.tok.project.ID, user: bc.tok.user.ID, status: stCreating, created: bc.c.now()}}
	if b.volume, err = requiredID(m, "backup", "volume_id"); err != nil {
		return done{}, err
	}
	v, err := own(bc, "Volume", bc.c.volumes, b.volume)
	if err != nil {
		return done{}, err
	}
	if err := bc.allow("backup:create"); err != nil {
		return done{}, err
	}
	if err := bc.readBackup(b, m); err != nil {
		return done{}, err
	}
	s, err := bc.backupSource(b, v, m)
	if err != nil {
		return done{}, err
	}
	b.size = v.size
	if err := bc.c.reserve(b.project, "backups", b.size); err != nil {
		return done{}, err
	}
	incremental, err := flag(m, "incremental")
	if err != nil {
		return done{}, err
	}
	if incremental {
		p, err := bc.c.parentFor(b, s)
		if err != nil {
			return done{}, err
		}
		b.parent = p.id
	}
	b.dataTime = b.created
	if s != nil {
		b.dataTime = s.created
		s.status = stBackingUp
	} else {
		v.previous, v.status = v.status, stBackingUp
	}
	bc.c.backups[b.id] = b
	bc.c.startBackup(b, v, s, bc.tok)
	return done{http.StatusAccepted, map[string]any{"backup": bc.briefBackup(b)}}, nil
}

func (bc *blockCall) readBackup(b *backup, m map[string]any) error {
	if err := b.rename(m); err != nil {
		return err
	}
	var err error
	if b.container, err = optional(m, "container"); err != nil {
		return err
	}
	if text(b.container) == "" {
		b.container = nil
	}
	zone, err := optional(m, "availability_zone")
	if err != nil {
		return err
	}
	b.zone = text(zone)
	b.meta, err = metaIn(m, "metadata")
	return err
}

// backupSource checks what is to be backed up; a nil snapshot is the volume.
func (bc *blockCall) backupSource(b *backup, v *volume, m map[string]any) (*snapshot, error) {
	id, err := idIn(m, "snapshot_id")
	if err != nil {
		return nil, err
	}
	force, err := flag(m, "force")
	if err != nil {
		return nil, err
	}
	if id != "" {
		s, err := own(bc, "Snapshot", bc.c.snapshots, id)
		if err != nil {
			return nil, err
		}
		if s.volume != v.id {
			return nil, badRequest("Invalid volume: Volume %s does not match with snapshot.volume_id %s.", v.id, s.volume)
		}
		if s.status != stAvailable {
			return nil, badRequest(`Invalid snapshot: Snapshot to be backed up must be available, but the current status is "%s".`, s.status)
		}
		b.snapshot = s.id
		return s, nil
	}
	switch {
	case v.status != stAvailable && v.status != stInUse:
		return nil, badRequest(`Invalid volume: Volume to be backed up must be available or in-use, but the current status is "%s".`, v.status)
	case v.status == stInUse && !force:
		return nil, badRequest("Invalid volume: Backing up an in-use volume must use the force flag.")
	}
	return nil, nil
}

// parentFor chooses what an increment is made upon, which the caller cannot:
// the backup of the volume with the newest data, for a snapshot the newest that
// is older than it (C11). Times are whole seconds, as the database keeps them.
func (c *cinder) parentFor(b *backup, s *snapshot) (*backup, error) {
	var all []*backup
	for _, x := range c.backups {
		if x.volume == b.volume && x.project == b.project {
			all = append(all, x)
		}
	}
	if len(all) == 0 {
		return nil, badRequest("Invalid backup: No backups available to do an incremental backup.")
	}
	slices.SortFunc(all, func(x, y *backup) int { return strings.Compare(x.id, y.id) })
	key := func(x *backup) time.Time {
		if s != nil && !x.dataTime.Before(s.created) {
			return time.Time{}
		}
		return x.dataTime
	}
	best := all[0]
	for _, x := range all[1:] {
		if key(x).After(key(best)) {
			best = x
		}
	}
	if best.status != stAvailable {
		return nil, badRequest("Invalid backup: The parent backup must be available for incremental backup.")
	}
	return best, nil
}

func (bc *blockCall) deleteBackup() (done, error) {
	b, err := bc.backup()
	if err != nil {
		return done{}, err
	}
	if err := bc.allow("backup:delete"); err != nil {
		return done{}, err
	}
	return done{code: http.StatusAccepted}, bc.c.dropBackup(b, false, bc.tok)
}

func (bc *blockCall) actBackup() (done, error) {
	b, err := bc.backup()
	if err != nil {
		return done{}, err
	}
	for act, arg := range bc.body {
		switch act {
		case "os-reset_status":
			m, _ := arg.(map[string]any)
			st, _ := m["status"].(string)
			if st = strings.ToLower(st); st != stAvailable && st != stError {
				return done{}, badRequest("Backup status: %s is invalid, valid statuses are: ['available', 'error'].", st)
			}
			if err := bc.allow("volume_extension:backup_admin_actions:reset_status"); err != nil {
				return done{}, err
			}
			// The manager takes notice of those only that its driver has begun.
			if b.service != nil {
				b.status, b.updated = st, bc.c.now()
			}
			return done{code: http.StatusAccepted}, nil
		case "os-force_delete":
			if err := bc.allow("volume_extension:backup_admin_actions:force_delete"); err != nil {
				return done{}, err
			}
			return done{code: http.StatusAccepted}, bc.c.dropBackup(b, true, bc.tok)
		}
	}
	return done{}, badRequest("There is no such action: %s", keysOf(bc.body))
}

// restoreBackup begins to write a backup over a volume, or over a new one of the
// region's default type.
func (bc *blockCall) restoreBackup() (done, error) {
	b, err := bc.backup()
	if err != nil {
		return done{}, err
	}
	m, err := bc.object("restore", "name", "volume_id")
	if err != nil {
		return done{}, err
	}
	if err := bc.allow("backup:restore"); err != nil {
		return done{}, err
	}
	id, err := idIn(m, "volume_id")
	if err != nil {
		return done{}, err
	}
	name, err := optional(m, "name")
	if err != nil {
		return done{}, err
	}
	if b.status != stAvailable {
		return done{}, badRequest("Invalid backup: Backup status must be available")
	}
	var v *volume
	if id != "" {
		if v, err = own(bc, "Volume", bc.c.volumes, id); err != nil {
			return done{}, err
		}
	} else if v, err = bc.restoreTarget(b, name); err != nil {
		return done{}, err
	}
	if v.status != stAvailable {
		return done{}, badRequest("Invalid volume: Volume to be restored to must be available")
	}
	if b.size > v.size {
		return done{}, badRequest("Invalid volume: volume size %d is too small to restore backup of size %d.", v.size, b.size)
	}
	bc.c.startRestore(b, v, bc.tok, stRestoringB)
	return done{http.StatusAccepted, map[string]any{"restore": map[string]any{"backup_id": b.id, "volume_id": v.id, "volume_name": v.name}}}, nil
}

// restoreTarget makes the volume that a restore without one wants; the API waits
// until it is there.
func (bc *blockCall) restoreTarget(b *backup, name *string) (*volume, error) {
	c := bc.c
	if name == nil {
		n := "restore_backup_" + b.id
		name = &n
	}
	if err := c.reserve(bc.tok.project.ID, "volumes", b.size); err != nil {
		return nil, err
	}
	desc := "auto-created_from_restore_from_backup"
	v := &volume{head: head{id: newUUID(), name: name, desc: &desc, project: bc.tok.project.ID, user: bc.tok.user.ID, status: stAvailable,
		size: b.size, meta: map[string]string{}, created: c.now()}, typ: c.types[0], zone: c.opts.Zones[0], fresh: true,
		disk: newDisk(c.bytes(b.size)), launched: c.now()}
	if v.typ.Encrypted {
		v.key = newUUID()
	}
	c.volumes[v.id] = v
	return v, nil
}
