package fakecloud

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

func (bc *blockCall) volume() (*volume, error) { return own(bc, "Volume", bc.c.volumes, bc.path[1]) }

// view is a volume as GET shows it. Creates leave out what extensions add.
func (bc *blockCall) viewVolume(v *volume, extended bool) map[string]any {
	attached := []any{}
	for _, a := range bc.c.attachmentsOf(v.id) {
		if a.status != "attached" {
			continue
		}
		host := any(nil)
		if bc.admin {
			host = orNull(a.host)
		}
		attached = append(attached, map[string]any{"id": v.id, "attachment_id": a.id, "volume_id": v.id, "server_id": orNull(a.instance),
			"host_name": host, "device": orNull(a.device), "attached_at": stampOrNull(a.at)})
	}
	m := map[string]any{
		"id": v.id, "status": v.status, "size": v.size, "availability_zone": v.zone, "created_at": stampOrNull(v.created),
		"updated_at": stampOrNull(v.updated), "name": v.name, "description": v.desc, "volume_type": v.typ.Name,
		"snapshot_id": orNull(v.snapshot), "source_volid": orNull(v.source), "metadata": v.shownMeta(), "links": bc.links("volumes", v.id),
		"user_id": v.user, "bootable": strconv.FormatBool(v.bootable), "encrypted": v.key != "", "replication_status": nil,
		"consistencygroup_id": nil, "multiattach": false, "attachments": attached,
	}
	if bc.admin {
		m["migration_status"] = nil
	}
	if extended {
		m["os-vol-tenant-attr:tenant_id"] = v.project
		if bc.admin {
			m["os-vol-host-attr:host"] = bc.c.rg.opts.Name + "@files#files"
			m["os-vol-mig-status-attr:migstat"], m["os-vol-mig-status-attr:name_id"] = nil, nil
		}
		if len(v.image) > 0 {
			m["volume_image_metadata"] = maps.Clone(v.image)
		}
	}
	since := func(micro int, key string, value any) {
		if bc.micro >= micro {
			m[key] = value
		}
	}
	since(13, "group_id", nil)
	if v.launched.IsZero() {
		// No back end has it yet.
		since(48, "shared_targets", true)
		since(48, "service_uuid", nil)
	} else {
		since(48, "shared_targets", false)
		since(48, "service_uuid", uuidOf("service/"+bc.c.rg.opts.Name))
	}
	if bc.admin {
		since(21, "provider_id", nil)
		since(61, "cluster_name", nil)
	}
	since(63, "volume_type_id", v.typ.id)
	if v.key != "" {
		since(64, "encryption_key_id", v.key)
	}
	since(65, "consumes_quota", true)
	return m
}

// shownMeta is the metadata with what Cinder adds of its own to a volume that is
// or was attached.
func (v *volume) shownMeta() map[string]string {
	m := maps.Clone(v.meta)
	maps.Copy(m, v.attachMeta)
	return m
}

func (bc *blockCall) listVolumes() (done, error) {
	if err := bc.allow("volume:get_all"); err != nil {
		return done{}, err
	}
	match := func(v *volume, key, want string) bool {
		switch key {
		case "metadata":
			m, err := literal(want)
			return err == nil && hasAll(v.meta, m)
		case "bootable":
			return strconv.FormatBool(v.bootable) == strings.ToLower(want)
		case "availability_zone":
			return v.zone == want
		case "size":
			return strconv.Itoa(v.size) == want
		}
		return true
	}
	return collection(bc, "volumes", bc.c.volumes, []string{"metadata", "bootable", "availability_zone", "size"}, match,
		func(v *volume, detail bool) map[string]any {
			if detail {
				return bc.viewVolume(v, true)
			}
			return map[string]any{"id": v.id, "name": v.name, "links": bc.links("volumes", v.id)}
		})
}

func (bc *blockCall) showVolume() (done, error) {
	v, err := bc.volume()
	if err != nil {
		return done{}, err
	}
	return done{http.StatusOK, map[string]any{"volume": bc.viewVolume(v, true)}}, bc.allow("volume:get")
}

// createVolume makes an empty volume, or one of a snapshot, volume or backup.
func (bc *blockCall) createVolume() (done, error) {
	m, err := bc.object("volume", "name", "description", "display_name", "display_description", "size", "volume_type", "metadata",
		"availability_zone", "snapshot_id", "source_volid", "consistencygroup_id", "group_id", "imageRef", "image_id", "backup_id",
		"multiattach", "user_id", "project_id", "status", "attach_status")
	if err != nil {
		return done{}, err
	}
	if err := bc.allow("volume:create"); err != nil {
		return done{}, err
	}
	n, err := bc.newVolume(m)
	if err != nil {
		return done{}, err
	}
	fill, err := bc.volumeSource(n, m)
	if err != nil {
		return done{}, err
	}
	if n.size == 0 {
		return done{}, badRequest("Invalid input received: Volume size '%d' must be an integer and greater than 0", n.size)
	}
	if most := bc.c.limit(n.project, "per_volume_gigabytes"); most >= 0 && n.size > most {
		return done{}, overQuota("VolumeSizeExceedsLimit", "Requested volume size %dG is larger than maximum allowed limit %dG.", n.size, most)
	}
	if err := bc.c.reserve(n.project, "volumes", n.size); err != nil {
		return done{}, err
	}
	bc.c.volumes[n.id] = n
	if n.typ.Encrypted {
		n.key = newUUID()
	}
	bc.c.makeVolume(n, fill)
	return done{http.StatusAccepted, map[string]any{"volume": bc.viewVolume(n, false)}}, nil
}

// newVolume reads what a create says about the volume itself.
func (bc *blockCall) newVolume(m map[string]any) (*volume, error) {
	v := &volume{head: head{id: newUUID(), project: bc.tok.project.ID, user: bc.tok.user.ID, status: stCreating, created: bc.c.now()}}
	var err error
	if v.name, err = optional(m, "name"); err != nil {
		return nil, err
	}
	if v.desc, err = optional(m, "description"); err != nil {
		return nil, err
	}
	if v.size, err = number(m, "size"); err != nil {
		return nil, err
	}
	if v.meta, err = metaIn(m, "metadata"); err != nil {
		return nil, err
	}
	typ, err := optional(m, "volume_type")
	if err != nil {
		return nil, err
	}
	v.typ = bc.c.types[0]
	if text(typ) != "" {
		v.typ = bc.c.typeOf(*typ)
		if v.typ == nil || v.typ.Private && !bc.admin {
			if isUUID(*typ) {
				return nil, missing("Volume type", *typ)
			}
			return nil, missing("Volume type with name", *typ)
		}
	}
	zone, err := optional(m, "availability_zone")
	if err != nil {
		return nil, err
	}
	v.zone = bc.c.opts.Zones[0]
	if text(zone) != "" {
		if v.zone = *zone; !slices.Contains(bc.c.opts.Zones, v.zone) {
			return nil, badRequest("Availability zone '%s' is invalid.", v.zone)
		}
	}
	if text2, _ := optional(m, "imageRef"); text(text2) != "" {
		return nil, badRequest("Invalid image identifier or unable to access requested image.")
	}
	return v, nil
}

// volumeSource reads what a new volume is made of.
func (bc *blockCall) volumeSource(v *volume, m map[string]any) (volumeFill, error) {
	var f volumeFill
	id, err := idIn(m, "snapshot_id")
	if err != nil {
		return f, err
	}
	if id != "" {
		s, err := own(bc, "Snapshot", bc.c.snapshots, id)
		if err != nil {
			return f, err
		}
		if s.status != stAvailable {
			return f, badRequest("Invalid snapshot: Originating snapshot status must be one of 'available' values")
		}
		if err := v.fits(s.size, "Invalid input received: Volume size '%d'GB cannot be smaller than the snapshot size %dGB. "+
			"They must be >= original snapshot size."); err != nil {
			return f, err
		}
		v.snapshot, f.from = s.id, s.disk
		if m["volume_type"] == nil {
			v.typ = s.typ
		}
		return f, nil
	}
	if id, err = idIn(m, "source_volid"); err != nil {
		return f, err
	}
	if id != "" {
		s, err := own(bc, "Volume", bc.c.volumes, id)
		if err != nil {
			return f, err
		}
		if s.status != stAvailable && s.status != stInUse {
			return f, badRequest("Invalid volume: Originating source volume status must be one of 'available, in-use' values")
		}
		if err := v.fits(s.size, "Invalid input received: Volume size '%d'GB cannot be smaller than original volume size  %dGB. "+
			"They must be >= original volume size."); err != nil {
			return f, err
		}
		v.source, f.from = s.id, s.disk
		v.image, v.bootable = maps.Clone(s.image), s.bootable
		return f, nil
	}
	if id, err = idIn(m, "backup_id"); err != nil || id == "" {
		return f, err
	}
	if bc.micro < 47 {
		return f, badRequest("Invalid input for field/attribute volume. Additional properties are not allowed ('backup_id' was unexpected)")
	}
	b, err := own(bc, "Backup", bc.c.backups, id)
	if err != nil {
		return f, err
	}
	if b.status != stAvailable {
		return f, badRequest("Invalid backup: Originating backup status must be one of 'available' values")
	}
	if err := v.fits(b.size, "Invalid input received: Volume size %dGB cannot be smaller than the backup size %dGB. It must be >= backup size."); err != nil {
		return f, err
	}
	f.backup, f.call = b, bc
	return f, nil
}

// fits gives a new volume the size of what it is made of, or is an error, with both
// sizes in its text, if the size asked for is smaller.
func (v *volume) fits(size int, format string) error {
	if v.size == 0 {
		v.size = size
	}
	if v.size < size {
		return badRequest(format, v.size, size)
	}
	return nil
}

func (bc *blockCall) updateVolume() (done, error) {
	v, err := bc.volume()
	if err != nil {
		return done{}, err
	}
	m, err := bc.object("volume", "name", "description", "display_name", "display_description", "metadata")
	if err != nil {
		return done{}, err
	}
	if err := bc.allow("volume:update"); err != nil {
		return done{}, err
	}
	if err := v.rename(m); err != nil {
		return done{}, err
	}
	if m["metadata"] != nil {
		meta, err := metaIn(m, "metadata")
		if err != nil {
			return done{}, err
		}
		v.meta = meta
	}
	v.updated = bc.c.now()
	return done{http.StatusOK, map[string]any{"volume": bc.viewVolume(v, false)}}, nil
}

// rename takes name and description where they are given.
func (h *head) rename(m map[string]any) error {
	for key, to := range map[string]**string{"name": &h.name, "display_name": &h.name, "description": &h.desc, "display_description": &h.desc} {
		if _, given := m[key]; !given {
			continue
		}
		p, err := optional(m, key)
		if err != nil {
			return err
		}
		*to = p
	}
	return nil
}

const volumeBusy = "must not be migrating, attached, belong to a group, have snapshots, awaiting a transfer, or be disassociated from " +
	"snapshots after volume transfer."

func (bc *blockCall) deleteVolume() (done, error) {
	v, err := bc.volume()
	if err != nil {
		return done{}, err
	}
	if err := bc.allow("volume:delete"); err != nil {
		return done{}, err
	}
	force := bc.micro >= 23 && isTrue(bc.query.Get("force"))
	if force {
		if err := bc.allow("volume:force_delete"); err != nil {
			return done{}, err
		}
	}
	return done{code: http.StatusAccepted}, bc.c.dropVolume(v, force, isTrue(bc.query.Get("cascade")))
}

// dropVolume begins to delete a volume, with its snapshots if asked.
func (c *cinder) dropVolume(v *volume, force, cascade bool) error {
	free := []string{stAvailable, stError, stErrRestore, "error_extending", "error_managing"}
	words := "status must be available or error or error_restoring or error_extending or error_managing and"
	if force {
		words = ""
	}
	bad := !force && !slices.Contains(free, v.status)
	for _, a := range c.attachmentsOf(v.id) {
		bad = bad || a.status == "attached"
	}
	var snaps []*snapshot
	for _, s := range c.snapshots {
		if s.volume == v.id {
			snaps = append(snaps, s)
			bad = bad || !cascade || !force && s.status != stAvailable && s.status != stError && s.status != stDeleting
		}
	}
	if bad {
		return badRequest("Invalid volume: Volume %s %s", words, volumeBusy)
	}
	for _, s := range snaps {
		delete(c.snapshots, s.id)
	}
	v.status = stDeleting
	c.begin(JobDeleteVolume, v.id, c.pace.Step, func(*job) (bool, string) {
		delete(c.volumes, v.id)
		for id, a := range c.attachments {
			if a.volume == v.id {
				delete(c.attachments, id)
			}
		}
		return true, ""
	}, func(string) { v.status = "error_deleting" })
	return nil
}

func (bc *blockCall) showVolumeMeta() (done, error) {
	v, err := bc.volume()
	if err != nil {
		return done{}, err
	}
	if len(bc.path) == 3 {
		if bc.micro >= 15 {
			bc.tag = metaTag(v.meta)
		}
		return done{http.StatusOK, map[string]any{"metadata": maps.Clone(v.meta)}}, nil
	}
	val, ok := v.meta[bc.path[3]]
	if !ok {
		return done{}, noMeta("Volume", v.id, bc.path[3])
	}
	return done{http.StatusOK, map[string]any{"meta": map[string]any{bc.path[3]: val}}}, nil
}

// metaTag is the ETag of a volume's metadata, which a PUT may want with If-Match.
func metaTag(meta map[string]string) string {
	return md5Hex([]byte(pyJSON(map[string]any{"metadata": meta}, 0)))
}

func noMeta(kind, id, key string) error {
	return &apiError{http.StatusNotFound, kind + " " + id + " has no metadata with key " + key + "."}
}

// setVolumeMeta adds (POST), replaces all (PUT) or sets one (PUT of a key).
func (bc *blockCall) setVolumeMeta() (done, error) {
	v, err := bc.volume()
	if err != nil {
		return done{}, err
	}
	rule := "volume:create_volume_metadata"
	if bc.q.r.Method == http.MethodPut {
		rule = "volume:update_volume_metadata"
	}
	if err := bc.allow(rule); err != nil {
		return done{}, err
	}
	if m := bc.q.r.Header.Get("If-Match"); m != "" && rule == "volume:update_volume_metadata" && bc.micro >= 15 && strings.Trim(m, `"`) != metaTag(v.meta) {
		return done{code: http.StatusPreconditionFailed}, nil
	}
	d, err := bc.setMeta(&v.meta)
	if err == nil {
		v.updated = bc.c.now()
	}
	return d, err
}

func (bc *blockCall) setMeta(to *map[string]string) (done, error) {
	key := "metadata"
	if len(bc.path) == 4 {
		key = "meta"
	}
	if bc.body[key] == nil {
		return done{}, badRequest("Invalid input for field/attribute body. '%s' is a required property", key)
	}
	in, err := metaIn(bc.body, key)
	if err != nil {
		return done{}, err
	}
	if _, ok := in[bc.path[len(bc.path)-1]]; key == "meta" && (!ok || len(in) != 1) {
		return done{}, badRequest("Request body and URI mismatch")
	}
	next := maps.Clone(*to)
	if key == "metadata" && bc.q.r.Method == http.MethodPut {
		next = map[string]string{}
	}
	maps.Copy(next, in)
	*to = next
	if key == "meta" {
		return done{http.StatusOK, map[string]any{"meta": in}}, nil
	}
	return done{http.StatusOK, map[string]any{"metadata": maps.Clone(next)}}, nil
}

func (bc *blockCall) dropVolumeMeta() (done, error) {
	v, err := bc.volume()
	if err != nil {
		return done{}, err
	}
	if err := bc.allow("volume:delete_volume_metadata"); err != nil {
		return done{}, err
	}
	if _, ok := v.meta[bc.path[3]]; !ok {
		return done{}, noMeta("Volume", v.id, bc.path[3])
	}
	delete(v.meta, bc.path[3])
	return done{code: http.StatusOK}, nil
}
