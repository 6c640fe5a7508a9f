package fakecloud

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// actVolume does what POST volumes/{id}/action names.
func (bc *blockCall) actVolume() (done, error) {
	v, err := bc.volume()
	if err != nil {
		return done{}, err
	}
	for act, raw := range bc.body {
		arg, _ := raw.(map[string]any)
		switch act {
		case "os-set_bootable":
			return bc.setBootable(v, arg)
		case "os-set_image_metadata":
			return bc.setImage(v, arg)
		case "os-unset_image_metadata":
			return bc.unsetImage(v, arg)
		case "os-show_image_metadata":
			return done{http.StatusOK, map[string]any{"metadata": nonNil(v.image)}}, nil
		case "os-extend":
			return bc.extend(v, arg)
		case "os-reset_status":
			return bc.resetVolume(v, arg)
		case "os-force_delete":
			if err := bc.allow("volume_extension:volume_admin_actions:force_delete"); err != nil {
				return done{}, err
			}
			return done{code: http.StatusAccepted}, bc.c.dropVolume(v, true, false)
		case "os-attach":
			return bc.attach(v, arg)
		case "os-detach", "os-force_detach":
			return bc.detach(v, act, arg)
		case "os-reserve":
			return bc.move(v, "reserve", stReserved, stAvailable, stInUse)
		case "os-unreserve":
			return bc.move(v, "unreserve", stAvailable, stReserved)
		case "os-begin_detaching":
			return bc.move(v, "begin_detaching", "detaching", stInUse)
		case "os-roll_detaching":
			return bc.move(v, "roll_detaching", stInUse, "detaching")
		case "os-update_readonly_flag":
			return done{code: http.StatusAccepted}, bc.allow("volume:update_readonly_flag")
		}
	}
	return done{}, badRequest("There is no such action: %s", keysOf(bc.body))
}

func nonNil(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return maps.Clone(m)
}

func (bc *blockCall) setBootable(v *volume, arg map[string]any) (done, error) {
	on, err := flag(arg, "bootable")
	if err != nil {
		return done{}, err
	}
	if err := bc.allow("volume:update"); err != nil {
		return done{}, err
	}
	v.bootable, v.updated = on, bc.c.now()
	return done{code: http.StatusOK}, nil
}

func (bc *blockCall) setImage(v *volume, arg map[string]any) (done, error) {
	in, err := metaIn(arg, "metadata")
	if err != nil {
		return done{}, err
	}
	if err := bc.allow("volume_extension:volume_image_metadata:set"); err != nil {
		return done{}, err
	}
	next := nonNil(v.image)
	maps.Copy(next, in)
	v.image = next
	return done{http.StatusOK, map[string]any{"metadata": maps.Clone(next)}}, nil
}

func (bc *blockCall) unsetImage(v *volume, arg map[string]any) (done, error) {
	key, _ := arg["key"].(string)
	if err := bc.allow("volume_extension:volume_image_metadata:remove"); err != nil {
		return done{}, err
	}
	if _, ok := v.image[key]; !ok {
		return done{}, &apiError{http.StatusNotFound, "Glance metadata for volume/snapshot " + v.id + " cannot be found."}
	}
	delete(v.image, key)
	return done{code: http.StatusOK}, nil
}

// extend makes a volume larger; one in use from microversion 3.42 on.
func (bc *blockCall) extend(v *volume, arg map[string]any) (done, error) {
	size, err := number(arg, "new_size")
	if err != nil {
		return done{}, err
	}
	if err := bc.allow("volume:extend"); err != nil {
		return done{}, err
	}
	if size <= v.size {
		return done{}, badRequest("Invalid input received: New size for extend must be greater than current size. (current: %d, extended: %d).", v.size, size)
	}
	before := v.status
	if before != stAvailable && (before != stInUse || bc.micro < 42) {
		return done{}, badRequest("Invalid volume: Volume %s status must be '{'status': 'available'}' to extend, currently %s.", v.id, before)
	}
	most := bc.c.limit(v.project, "gigabytes")
	if used := bc.c.used(v.project)["gigabytes"]; most >= 0 && used+size-v.size > most {
		return done{}, overQuota("VolumeSizeExceedsAvailableQuota", "Requested volume or snapshot exceeds allowed gigabytes quota. "+
			"Requested %dG, quota is %dG and %dG has been consumed.", size-v.size, most, used)
	}
	v.status = stExtending
	bc.c.begin(JobExtendVolume, v.id, bc.c.pace.Step, func(*job) (bool, string) {
		v.disk.size = max(v.disk.size, bc.c.bytes(size))
		v.size, v.status, v.updated = size, before, bc.c.now()
		return true, ""
	}, func(string) { v.status = "error_extending" })
	return done{code: http.StatusAccepted}, nil
}

func (bc *blockCall) resetVolume(v *volume, arg map[string]any) (done, error) {
	if err := bc.allow("volume_extension:volume_admin_actions:reset_status"); err != nil {
		return done{}, err
	}
	st, _ := arg["status"].(string)
	st = strings.ToLower(st)
	if st == stDeleting || st == "error_deleting" {
		return done{}, badRequest("Cannot reset-state to %s", st)
	}
	if st == stInUse && len(bc.c.attachmentsOf(v.id)) == 0 {
		return done{}, badRequest("Cannot reset-state to in-use because volume does not have any attachments.")
	}
	if st != "" {
		v.status = st
	}
	if a, _ := arg["attach_status"].(string); strings.ToLower(a) == "detached" {
		bc.c.detachAll(v.id)
	}
	v.updated = bc.c.now()
	return done{code: http.StatusAccepted}, nil
}

// move changes a volume's status, from one of those that allow it.
func (bc *blockCall) move(v *volume, act, to string, from ...string) (done, error) {
	if err := bc.allow("volume_extension:volume_actions:" + act); err != nil {
		return done{}, err
	}
	if !slices.Contains(from, v.status) {
		return done{}, badRequest("Invalid volume: Volume status must be %s to %s, but current status is: %s.", strings.Join(from, " or "), act, v.status)
	}
	v.status = to
	return done{code: http.StatusAccepted}, nil
}

func (c *cinder) attachmentsOf(volume string) []*attachment {
	var out []*attachment
	for _, a := range c.attachments {
		if a.volume == volume {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b *attachment) int { return strings.Compare(a.id, b.id) })
	return out
}

func (c *cinder) detachAll(volume string) {
	for _, a := range c.attachmentsOf(volume) {
		delete(c.attachments, a.id)
	}
}

// attach marks a volume as in use, as Nova's older way does.
func (bc *blockCall) attach(v *volume, arg map[string]any) (done, error) {
	if err := bc.allow("volume_extension:volume_actions:attach"); err != nil {
		return done{}, err
	}
	if !slices.Contains([]string{stAvailable, stReserved, "attaching"}, v.status) {
		return done{}, badRequest("Error attaching volume - InvalidVolume: Invalid volume: volume is already attached")
	}
	get := func(k string) string { s, _ := arg[k].(string); return s }
	a := &attachment{id: newUUID(), volume: v.id, instance: get("instance_uuid"), host: get("host_name"), device: get("mountpoint"),
		mode: get("mode"), status: "attached", project: v.project, at: bc.c.now()}
	bc.c.attachments[a.id] = a
	v.status, v.updated = stInUse, bc.c.now()
	v.attachMeta = map[string]string{"attached_mode": "rw", "readonly": "False"}
	return done{code: http.StatusAccepted}, nil
}

func (bc *blockCall) detach(v *volume, act string, arg map[string]any) (done, error) {
	rule := "volume_extension:volume_actions:detach"
	if act == "os-force_detach" {
		rule = "volume_extension:volume_admin_actions:force_detach"
	}
	if err := bc.allow(rule); err != nil {
		return done{}, err
	}
	if id, _ := arg["attachment_id"].(string); id != "" {
		delete(bc.c.attachments, id)
	} else {
		bc.c.detachAll(v.id)
	}
	if len(bc.c.attachmentsOf(v.id)) == 0 {
		v.status = stAvailable
		delete(v.attachMeta, "attached_mode")
	}
	v.updated = bc.c.now()
	return done{code: http.StatusAccepted}, nil
}

// The attachments API, Nova's newer way (3.27).

func (bc *blockCall) viewAttachment(a *attachment) map[string]any {
	return map[string]any{"id": a.id, "status": a.status, "instance": orNull(a.instance), "volume_id": a.volume,
		"attached_at": stampOrNull(a.at), "detached_at": nil, "attach_mode": orNull(a.mode), "connection_info": map[string]any{}}
}

func (bc *blockCall) attachment() (*attachment, error) {
	a := bc.c.attachments[bc.path[1]]
	if a == nil || !bc.admin && a.project != bc.tok.project.ID {
		return nil, &apiError{http.StatusNotFound, "Volume attachment could not be found with filter: attachment_id = " + bc.path[1] + "."}
	}
	return a, nil
}

func (bc *blockCall) listAttachments() (done, error) {
	out := []any{}
	for _, id := range slices.Sorted(maps.Keys(bc.c.attachments)) {
		a := bc.c.attachments[id]
		if want := bc.query.Get("volume_id"); a.project != bc.tok.project.ID || want != "" && a.volume != want {
			continue
		}
		row := bc.viewAttachment(a)
		if len(bc.path) == 1 {
			for _, k := range []string{"attached_at", "detached_at", "attach_mode", "connection_info"} {
				delete(row, k)
			}
		}
		out = append(out, row)
	}
	return done{http.StatusOK, map[string]any{"attachments": out}}, nil
}

func (bc *blockCall) showAttachment() (done, error) {
	a, err := bc.attachment()
	if err != nil {
		return done{}, err
	}
	return done{http.StatusOK, map[string]any{"attachment": bc.viewAttachment(a)}}, nil
}

// createAttachment reserves the volume, or with a connector attaches it.
func (bc *blockCall) createAttachment() (done, error) {
	m, err := bc.object("attachment", "volume_uuid", "instance_uuid", "connector", "mode")
	if err != nil {
		return done{}, err
	}
	if v, given := m["instance_uuid"]; given && v == nil {
		return done{}, badRequest("Invalid input for field/attribute instance_uuid. Value: None. None is not of type 'string'")
	}
	id, err := requiredID(m, "attachment", "volume_uuid")
	if err != nil {
		return done{}, err
	}
	v, err := own(bc, "Volume", bc.c.volumes, id)
	if err != nil {
		return done{}, err
	}
	if err := bc.allow("volume:attachment_create"); err != nil {
		return done{}, err
	}
	if v.status != stAvailable {
		return done{}, badRequest("Invalid volume: Volume %s status must be available or downloading to reserve, but the current status is %s.", v.id, v.status)
	}
	instance, _ := m["instance_uuid"].(string)
	a := &attachment{id: newUUID(), volume: v.id, instance: instance, status: stReserved, project: v.project}
	bc.c.attachments[a.id] = a
	v.status = stReserved
	bc.connect(a, v, m)
	return done{http.StatusOK, map[string]any{"attachment": bc.viewAttachment(a)}}, nil
}

func (bc *blockCall) connect(a *attachment, v *volume, m map[string]any) {
	con, ok := m["connector"].(map[string]any)
	if !ok {
		return
	}
	a.host, _ = con["host"].(string)
	a.device, _ = con["mountpoint"].(string)
	a.mode, a.status, a.at = "rw", "attaching", bc.c.now()
	v.status = "attaching"
}

func (bc *blockCall) updateAttachment() (done, error) {
	a, err := bc.attachment()
	if err != nil {
		return done{}, err
	}
	m, err := bc.object("attachment", "connector")
	if err != nil {
		return done{}, err
	}
	if v := bc.c.volumes[a.volume]; v != nil {
		bc.connect(a, v, m)
	}
	return done{http.StatusOK, map[string]any{"attachment": bc.viewAttachment(a)}}, nil
}

func (bc *blockCall) completeAttachment() (done, error) {
	a, err := bc.attachment()
	if err != nil {
		return done{}, err
	}
	a.status, a.at = "attached", bc.c.now()
	if v := bc.c.volumes[a.volume]; v != nil {
		v.status = stInUse
	}
	return done{code: http.StatusNoContent}, nil
}

func (bc *blockCall) deleteAttachment() (done, error) {
	a, err := bc.attachment()
	if err != nil {
		return done{}, err
	}
	delete(bc.c.attachments, a.id)
	if v := bc.c.volumes[a.volume]; v != nil && len(bc.c.attachmentsOf(v.id)) == 0 {
		v.status = stAvailable
	}
	return done{http.StatusOK, map[string]any{"attachments": []any{}}}, nil
}
