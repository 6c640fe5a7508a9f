package fakecloud

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// exportRecord gives a backup's row for another Cinder (I1, I2).
func (bc *blockCall) exportRecord() (done, error) {
	b, err := bc.backup()
	if err != nil {
		return done{}, err
	}
	if err := bc.allow("backup:export-import"); err != nil {
		return done{}, err
	}
	if b.status != stAvailable {
		return done{}, badRequest("Invalid backup: Backup status must be available and not %s.", b.status)
	}
	iso := func(t time.Time) any {
		if t.IsZero() {
			return nil
		}
		return t.Format("2006-01-02T15:04:05Z")
	}
	row := []pair{{"driver_info", map[string]any{}}, {"id", b.id}, {"user_id", b.user}, {"project_id", b.project}, {"volume_id", b.volume},
		{"host", orNull(b.host)}, {"availability_zone", orNull(b.zone)}, {"container", b.container}, {"parent_id", orNull(b.parent)},
		{"status", b.status}, {"fail_reason", b.reason}, {"size", b.size}, {"display_name", b.name}, {"display_description", b.desc},
		{"service_metadata", b.prefix}, {"service", b.service}, {"object_count", b.objects}, {"temp_volume_id", nil},
		{"temp_snapshot_id", nil}, {"num_dependent_backups", b.dependents}, {"snapshot_id", orNull(b.snapshot)},
		{"data_timestamp", iso(b.dataTime)}, {"restore_volume_id", orNull(b.restoreVolume)}, {"metadata", b.meta},
		{"encryption_key_id", orNull(b.key)}, {"created_at", iso(b.created)}, {"updated_at", iso(b.updated)}, {"deleted_at", nil},
		{"deleted", false}}
	return done{http.StatusOK, map[string]any{"backup-record": map[string]any{"backup_service": b.service,
		"backup_url": base64.StdEncoding.EncodeToString([]byte(pyJSON(row, 0)))}}}, nil
}

// record is a backup's row as it is imported; a nil member is null or missing.
type record struct {
	ID          *string           `json:"id"`
	VolumeID    *string           `json:"volume_id"`
	Container   *string           `json:"container"`
	ParentID    *string           `json:"parent_id"`
	Size        *int              `json:"size"`
	Name        *string           `json:"display_name"`
	Description *string           `json:"display_description"`
	Prefix      *string           `json:"service_metadata"`
	Objects     *int              `json:"object_count"`
	Dependents  *int              `json:"num_dependent_backups"`
	SnapshotID  *string           `json:"snapshot_id"`
	DataTime    *time.Time        `json:"data_timestamp"`
	RestoreID   *string           `json:"restore_volume_id"`
	Metadata    map[string]string `json:"metadata"`
	Key         *string           `json:"encryption_key_id"`
	Created     *time.Time        `json:"created_at"`
	Updated     *time.Time        `json:"updated_at"`
}

// importRecord makes a backup of a record. Nothing is verified (I4–I7); the right
// is looked at before the record is (R21).
func (bc *blockCall) importRecord() (done, error) {
	m, err := bc.object("backup-record", "backup_service", "backup_url")
	if err != nil {
		return done{}, err
	}
	service, sok := m["backup_service"].(string)
	url, uok := m["backup_url"].(string)
	raw, derr := base64.StdEncoding.DecodeString(url)
	switch {
	case !sok || len(service) > 255:
		return done{}, badRequest("Invalid input for field/attribute backup-record. 'backup_service' is a required property")
	case !uok || url == "" || derr != nil:
		return done{}, badRequest("Invalid input for field/attribute backup_url. Value: %s. '%s' is not a 'base64'", url, url)
	}
	if err := bc.allow("backup:backup-import"); err != nil {
		return done{}, err
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(raw, &given); err != nil {
		return done{}, badRequest("Invalid input received: Can't parse backup record.")
	}
	if _, ok := given["id"]; !ok {
		return done{}, badRequest("Invalid input received: Provided backup record is missing an id")
	}
	if _, ok := given["size"]; !ok {
		return done{}, badRequest("Invalid input received: Provided backup record is missing size attribute")
	}
	var rec record
	recErr := json.Unmarshal(raw, &rec)
	id, size := text(rec.ID), 0
	if rec.Size != nil {
		size = *rec.Size
	}
	if !isUUID(id) {
		return done{}, badRequest("Invalid input received: the record's id is no uuid")
	}
	if bc.c.backups[id] != nil {
		return done{}, badRequest("Invalid backup: Backup already exists in database.")
	}
	if err := bc.c.reserve(bc.tok.project.ID, "backups", size); err != nil {
		return done{}, err
	}
	b := &backup{head: head{id: id, project: bc.tok.project.ID, user: bc.tok.user.ID, status: stCreating, meta: map[string]string{},
		created: bc.c.now()}, volume: "00000000-0000-0000-0000-000000000000"}
	bc.c.backups[id] = b
	bc.c.begin(JobImport, id, bc.c.pace.Step, func(*job) (bool, string) {
		if reason := bc.c.checkRecord(given, service); reason != "" {
			return true, reason
		}
		if recErr != nil {
			return true, recErr.Error()
		}
		if len([]rune(text(rec.Name))) > maxText || len([]rune(text(rec.Description))) > maxText {
			return true, "" // the manager dies of what its database refuses, and leaves the record creating
		}
		bc.c.adopt(b, rec)
		return true, ""
	}, func(reason string) { b.status, b.reason = stError, &reason })
	return done{http.StatusCreated, map[string]any{"backup": bc.briefBackup(b)}}, nil
}

// maxText is how many characters a name or a description has room for in Cinder's database.
const maxText = 255

// checkRecord is what the manager looks at; an empty service matches any driver.
func (c *cinder) checkRecord(given map[string]json.RawMessage, service string) string {
	if !strings.HasPrefix(c.driver(), service) {
		return "Import record failed, cannot find backup service to perform the import. Request service " + service + "."
	}
	var lost []string
	for _, k := range []string{"display_name", "display_description", "container", "size", "service_metadata", "object_count", "id"} {
		if _, ok := given[k]; !ok {
			lost = append(lost, k)
		}
	}
	if lost != nil {
		slices.Sort(lost)
		return "Driver successfully decoded imported backup data, but there are missing fields (" + strings.Join(lost, ", ") + ")."
	}
	return ""
}

// adopt takes the record's word for everything but whose it is and where (I5).
func (c *cinder) adopt(b *backup, r record) {
	driver := c.driver()
	b.name, b.desc, b.container, b.prefix, b.service = r.Name, r.Description, r.Container, r.Prefix, &driver
	b.host, b.zone = c.rg.opts.Name, c.opts.Zones[0]
	b.parent, b.snapshot, b.restoreVolume, b.key = text(r.ParentID), text(r.SnapshotID), text(r.RestoreID), text(r.Key)
	if r.VolumeID != nil {
		b.volume = *r.VolumeID
	}
	if r.Size != nil {
		b.size = *r.Size
	}
	if r.Objects != nil {
		b.objects = *r.Objects
	}
	if r.Dependents != nil {
		b.dependents = *r.Dependents
	}
	if r.Metadata != nil {
		b.meta = maps.Clone(r.Metadata)
	}
	for from, to := range map[*time.Time]*time.Time{r.DataTime: &b.dataTime, r.Created: &b.created, r.Updated: &b.updated} {
		if from != nil {
			*to = from.UTC().Truncate(time.Second)
		}
	}
	b.status = stAvailable
}
