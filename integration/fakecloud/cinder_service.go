package fakecloud

import (
	"maps"
	"net/http"
	"slices"
)

// What Cinder tells of itself: types, limits, zones, services, user messages.

func (bc *blockCall) viewType(t *BlockType) map[string]any {
	m := map[string]any{"id": t.id, "name": t.Name, "is_public": !t.Private, "description": nil, "extra_specs": map[string]any{}}
	if bc.admin {
		m["qos_specs_id"] = nil
	}
	return m
}

func (bc *blockCall) listTypes() (done, error) {
	out := []any{}
	// Newest first, and the default one was made first.
	for _, t := range slices.Backward(bc.c.types) {
		if !t.Private || bc.admin {
			m := bc.viewType(t)
			m["os-volume-type-access:is_public"] = !t.Private
			out = append(out, m)
		}
	}
	return done{http.StatusOK, map[string]any{"volume_types": out}}, nil
}

func (bc *blockCall) typ() (*BlockType, error) {
	id := bc.path[1]
	if id == "default" {
		return bc.c.types[0], nil
	}
	for _, t := range bc.c.types {
		if t.id == id && (!t.Private || bc.admin) {
			return t, nil
		}
	}
	return nil, missing("Volume type", id)
}

func (bc *blockCall) showType() (done, error) {
	t, err := bc.typ()
	if err != nil {
		return done{}, err
	}
	m := bc.viewType(t)
	if bc.path[1] != "default" {
		m["os-volume-type-access:is_public"] = !t.Private
	}
	return done{http.StatusOK, map[string]any{"volume_type": m}}, nil
}

func (bc *blockCall) showTypeSpecs() (done, error) {
	_, err := bc.typ()
	return done{http.StatusOK, map[string]any{"extra_specs": map[string]any{}}}, err
}

func (bc *blockCall) showTypeEncryption() (done, error) {
	t, err := bc.typ()
	if err != nil {
		return done{}, err
	}
	if !bc.admin {
		return done{}, &apiError{http.StatusForbidden, "Policy doesn't allow volume_extension:volume_type_encryption:get to be performed."}
	}
	if !t.Encrypted {
		return done{http.StatusOK, map[string]any{}}, nil
	}
	return done{http.StatusOK, map[string]any{"volume_type_id": t.id, "provider": "luks", "cipher": "aes-xts-plain64", "key_size": 256,
		"control_location": "front-end", "encryption_id": uuidOf("encryption/" + t.id), "deleted": false, "deleted_at": nil,
		"created_at": nil, "updated_at": nil}}, nil
}

func quotaNames() []string {
	return []string{"volumes", "snapshots", "gigabytes", "backups", "backup_gigabytes", "per_volume_gigabytes", "groups"}
}

func (bc *blockCall) showLimits() (done, error) {
	p := bc.tok.project.ID
	if other := bc.query.Get("project_id"); other != "" && bc.admin && bc.micro >= 39 {
		p = other
	}
	used := bc.c.used(p)
	abs := map[string]any{}
	for name, key := range map[string]string{"volumes": "maxTotalVolumes", "gigabytes": "maxTotalVolumeGigabytes", "snapshots": "maxTotalSnapshots",
		"backups": "maxTotalBackups", "backup_gigabytes": "maxTotalBackupGigabytes"} {
		abs[key] = bc.c.limit(p, name)
	}
	for name, key := range map[string]string{"volumes": "totalVolumesUsed", "gigabytes": "totalGigabytesUsed", "snapshots": "totalSnapshotsUsed",
		"backups": "totalBackupsUsed", "backup_gigabytes": "totalBackupGigabytesUsed"} {
		abs[key] = used[name]
	}
	return done{http.StatusOK, map[string]any{"limits": map[string]any{"rate": []any{}, "absolute": abs}}}, nil
}

func (bc *blockCall) quotaSet(project string, usage bool) map[string]any {
	used := bc.c.used(project)
	out := map[string]any{}
	names := quotaNames()
	for _, t := range bc.c.types {
		names = append(names, "volumes_"+t.Name, "snapshots_"+t.Name, "gigabytes_"+t.Name)
	}
	for _, n := range names {
		out[n] = bc.c.limit(project, n)
		if usage {
			out[n] = map[string]any{"limit": bc.c.limit(project, n), "in_use": used[n], "reserved": 0}
		}
	}
	return out
}

func (bc *blockCall) showQuotas() (done, error) {
	p := bc.path[1]
	if p != bc.tok.project.ID && !bc.admin {
		return done{}, &apiError{http.StatusForbidden, "Policy doesn't allow volume_extension:quotas:show to be performed."}
	}
	set := bc.quotaSet(p, isTrue(bc.query.Get("usage")))
	if len(bc.path) == 3 {
		for n := range set {
			set[n] = defaultLimit(n)
		}
	}
	set["id"] = p
	return done{http.StatusOK, map[string]any{"quota_set": set}}, nil
}

func (bc *blockCall) setQuotas() (done, error) {
	m, ok := bc.body["quota_set"].(map[string]any)
	if !ok {
		return done{}, badRequest("Invalid input for field/attribute body. 'quota_set' is a required property")
	}
	if err := bc.allow("volume_extension:quotas:update"); err != nil {
		return done{}, err
	}
	p := bc.path[1]
	next := maps.Clone(bc.c.limits[p])
	if next == nil {
		next = map[string]int{}
	}
	for k, v := range m {
		n, ok := v.(float64)
		if !ok {
			continue // tenant_id and its like
		}
		if used := bc.c.used(p)[k]; n >= 0 && int(n) < used {
			return done{}, badRequest("Quota %s limit must be equal or greater than existing resources. Current usage is %d and the requested limit is %d.",
				k, used, int(n))
		}
		next[k] = int(n)
	}
	bc.c.limits[p] = next
	return done{http.StatusOK, map[string]any{"quota_set": bc.quotaSet(p, false)}}, nil
}

func (bc *blockCall) listZones() (done, error) {
	out := []any{}
	for _, z := range bc.c.opts.Zones {
		out = append(out, map[string]any{"zoneName": z, "zoneState": map[string]any{"available": true}})
	}
	return done{http.StatusOK, map[string]any{"availabilityZoneInfo": out}}, nil
}

func (bc *blockCall) listServices() (done, error) {
	if err := bc.allow("volume_extension:services:index"); err != nil {
		return done{}, err
	}
	out := []any{}
	for _, b := range []string{"cinder-scheduler", "cinder-volume", "cinder-backup"} {
		host := bc.c.rg.opts.Name
		if b == "cinder-volume" {
			host += "@files"
		}
		out = append(out, map[string]any{"binary": b, "host": host, "zone": bc.c.opts.Zones[0], "status": "enabled", "state": "up",
			"updated_at": stampOrNull(bc.c.now())})
	}
	return done{http.StatusOK, map[string]any{"services": out}}, nil
}

// tell leaves a user message, as failed work does (message_field.py has the numbers).
func (c *cinder) tell(project, kind, id, action, what, detail, words string) {
	c.messages = append(c.messages, &message{id: newUUID(), project: project, kind: kind, resource: id, action: action, detail: detail,
		event: "VOLUME_" + kind + "_" + action + "_" + detail, text: what + ":" + words, request: "req-" + newUUID(), created: c.now()})
}

func (bc *blockCall) viewMessage(m *message) map[string]any {
	return map[string]any{"id": m.id, "event_id": m.event, "user_message": m.text, "message_level": "ERROR", "created_at": stampOrNull(m.created),
		"guaranteed_until": stampOrNull(m.created.AddDate(0, 0, 30)), "request_id": m.request, "resource_type": m.kind,
		"resource_uuid": m.resource, "links": bc.links("messages", m.id)}
}

func (bc *blockCall) listMessages() (done, error) {
	out := []any{}
	for _, m := range slices.Backward(bc.c.messages) {
		want := bc.query.Get("resource_uuid")
		if m.project == bc.tok.project.ID && (want == "" || want == m.resource) {
			out = append(out, bc.viewMessage(m))
		}
	}
	return done{http.StatusOK, map[string]any{"messages": out}}, nil
}

func (bc *blockCall) message() (int, error) {
	i := slices.IndexFunc(bc.c.messages, func(m *message) bool { return m.id == bc.path[1] && m.project == bc.tok.project.ID })
	if i < 0 {
		return i, missing("Message", bc.path[1])
	}
	return i, nil
}

func (bc *blockCall) showMessage() (done, error) {
	i, err := bc.message()
	if err != nil {
		return done{}, err
	}
	return done{http.StatusOK, map[string]any{"message": bc.viewMessage(bc.c.messages[i])}}, nil
}

func (bc *blockCall) deleteMessage() (done, error) {
	i, err := bc.message()
	if err != nil {
		return done{}, err
	}
	bc.c.messages = slices.Delete(bc.c.messages, i, i+1)
	return done{code: http.StatusNoContent}, nil
}
