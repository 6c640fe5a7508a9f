package fakecloud

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

func (bc *blockCall) snapshot() (*snapshot, error) {
	return own(bc, "Snapshot", bc.c.snapshots, bc.path[1])
}

func (bc *blockCall) viewSnapshot(s *snapshot) map[string]any {
	return map[string]any{"id": s.id, "created_at": stampOrNull(s.created), "updated_at": stampOrNull(s.updated), "name": s.name,
		"description": s.desc, "volume_id": s.volume, "status": s.status, "size": s.size, "metadata": maps.Clone(s.meta)}
}

// detailSnapshot is viewSnapshot with what later microversions tell.
func (bc *blockCall) detailSnapshot(s *snapshot, extended bool) map[string]any {
	m := bc.viewSnapshot(s)
	if extended {
		m["os-extended-snapshot-attributes:project_id"] = s.project
		m["os-extended-snapshot-attributes:progress"] = "100%"
		if s.status == stCreating {
			m["os-extended-snapshot-attributes:progress"] = "0%"
		}
	}
	if bc.micro >= 14 {
		m["group_snapshot_id"] = nil
	}
	if bc.micro >= 41 {
		m["user_id"] = s.user
	}
	if bc.micro >= 65 {
		m["consumes_quota"] = true
	}
	return m
}

func (bc *blockCall) listSnapshots() (done, error) {
	if err := bc.allow("volume:get_all_snapshots"); err != nil {
		return done{}, err
	}
	match := func(s *snapshot, key, want string) bool {
		switch key {
		case "volume_id":
			return s.volume == want
		case "metadata":
			m, err := literal(want)
			return err == nil && hasAll(s.meta, m)
		}
		return true
	}
	allowed := []string{"volume_id"}
	if bc.micro >= 22 {
		allowed = append(allowed, "metadata")
	}
	return collection(bc, "snapshots", bc.c.snapshots, allowed, match,
		func(s *snapshot, detail bool) map[string]any {
			if detail {
				return bc.detailSnapshot(s, true)
			}
			return bc.viewSnapshot(s)
		})
}

func (bc *blockCall) showSnapshot() (done, error) {
	s, err := bc.snapshot()
	if err != nil {
		return done{}, err
	}
	return done{http.StatusOK, map[string]any{"snapshot": bc.detailSnapshot(s, true)}}, bc.allow("volume:get_snapshot")
}

// createSnapshot keeps the volume as it is now. A volume in use wants force, or
// microversion 3.66, which in turn refuses a force that is false.
func (bc *blockCall) createSnapshot() (done, error) {
	m, err := bc.object("snapshot", "name", "description", "display_name", "volume_id", "force", "metadata")
	if err != nil {
		return done{}, err
	}
	id, err := requiredID(m, "snapshot", "volume_id")
	if err != nil {
		return done{}, err
	}
	v, err := own(bc, "Volume", bc.c.volumes, id)
	if err != nil {
		return done{}, err
	}
	force, err := flag(m, "force")
	if err != nil {
		return done{}, err
	}
	inUse := force
	if bc.micro >= 66 {
		if _, given := m["force"]; given && m["force"] != nil && !force {
			return done{}, badRequest("Since microversion 3.66 the 'force' flag is invalid for this request.  For backward compatability, " + //nolint:misspell // Cinder's own words
				"however, when the 'force' flag is passed with a value evaluating to True, it is silently ignored.")
		}
		inUse = true
	}
	if err := bc.allow("volume:create_snapshot"); err != nil {
		return done{}, err
	}
	fit := []string{stAvailable}
	if inUse {
		fit = append(fit, stInUse)
	}
	if v.status == stError {
		return done{}, badRequest("Invalid volume: The snapshot cannot be created when the volume is in error status.")
	}
	if !slices.Contains(fit, v.status) {
		return done{}, badRequest("Invalid volume: Volume %s status must be %s, but current status is: %s.", v.id, strings.Join(fit, ", "), v.status)
	}
	s := &snapshot{head: head{id: newUUID(), project: bc.tok.project.ID, user: bc.tok.user.ID, status: stCreating, size: v.size,
		created: bc.c.now()}, volume: v.id, typ: v.typ, key: v.key}
	if err := s.rename(m); err != nil {
		return done{}, err
	}
	if s.meta, err = metaIn(m, "metadata"); err != nil {
		return done{}, err
	}
	if err := bc.c.reserve(s.project, "snapshots", s.size); err != nil {
		return done{}, err
	}
	s.disk = v.disk.clone(0)
	bc.c.snapshots[s.id] = s
	bc.c.begin(JobCreateSnapshot, s.id, bc.c.pace.Step, func(*job) (bool, string) {
		s.status, s.updated = stAvailable, bc.c.now()
		return true, ""
	}, func(string) { s.status = stError })
	return done{http.StatusAccepted, map[string]any{"snapshot": bc.detailSnapshot(s, false)}}, nil
}

func (bc *blockCall) updateSnapshot() (done, error) {
	s, err := bc.snapshot()
	if err != nil {
		return done{}, err
	}
	m, err := bc.object("snapshot", "name", "description", "display_name", "display_description")
	if err != nil {
		return done{}, err
	}
	if err := bc.allow("volume:update_snapshot"); err != nil {
		return done{}, err
	}
	if err := s.rename(m); err != nil {
		return done{}, err
	}
	s.updated = bc.c.now()
	return done{http.StatusOK, map[string]any{"snapshot": bc.detailSnapshot(s, false)}}, nil
}

func (bc *blockCall) deleteSnapshot() (done, error) {
	s, err := bc.snapshot()
	if err != nil {
		return done{}, err
	}
	if err := bc.allow("volume:delete_snapshot"); err != nil {
		return done{}, err
	}
	return done{code: http.StatusAccepted}, bc.c.dropSnapshot(s, false)
}

func (c *cinder) dropSnapshot(s *snapshot, force bool) error {
	if !force && s.status != stAvailable && s.status != stError {
		return badRequest("Invalid snapshot: Snapshot status must be available or error and must not be part of a group.")
	}
	s.status = stDeleting
	c.begin(JobDeleteSnapshot, s.id, c.pace.Step, func(*job) (bool, string) {
		delete(c.snapshots, s.id)
		return true, ""
	}, func(string) { s.status = "error_deleting" })
	return nil
}

func (bc *blockCall) actSnapshot() (done, error) {
	s, err := bc.snapshot()
	if err != nil {
		return done{}, err
	}
	for act, arg := range bc.body {
		switch act {
		case "os-reset_status":
			if err := bc.allow("volume_extension:snapshot_admin_actions:reset_status"); err != nil {
				return done{}, err
			}
			m, _ := arg.(map[string]any)
			st, _ := m["status"].(string)
			s.status = strings.ToLower(st)
			return done{code: http.StatusAccepted}, nil
		case "os-force_delete":
			if err := bc.allow("volume_extension:snapshot_admin_actions:force_delete"); err != nil {
				return done{}, err
			}
			return done{code: http.StatusAccepted}, bc.c.dropSnapshot(s, true)
		}
	}
	return done{}, badRequest("There is no such action: %v", keysOf(bc.body))
}

func keysOf(m map[string]any) string { return strings.Join(slices.Sorted(maps.Keys(m)), ", ") }

func (bc *blockCall) showSnapshotMeta() (done, error) {
	s, err := bc.snapshot()
	if err != nil {
		return done{}, err
	}
	return done{http.StatusOK, map[string]any{"metadata": maps.Clone(s.meta)}}, nil
}

func (bc *blockCall) setSnapshotMeta() (done, error) {
	s, err := bc.snapshot()
	if err != nil {
		return done{}, err
	}
	if err := bc.allow("volume:update_snapshot_metadata"); err != nil {
		return done{}, err
	}
	return bc.setMeta(&s.meta)
}

func (bc *blockCall) dropSnapshotMeta() (done, error) {
	s, err := bc.snapshot()
	if err != nil {
		return done{}, err
	}
	if err := bc.allow("volume:delete_snapshot_metadata"); err != nil {
		return done{}, err
	}
	if _, ok := s.meta[bc.path[3]]; !ok {
		return done{}, noMeta("Snapshot", s.id, bc.path[3])
	}
	delete(s.meta, bc.path[3])
	return done{code: http.StatusOK}, nil
}
