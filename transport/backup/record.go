package backup

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"
)

// Record is what export_record gives and import_record takes (I2), without its base64.
// Nobody verifies it (I6): what it says must be true.
type Record struct {
	ID                       string // kept by the importer (I4)
	VolumeID, SnapshotID     string // of the source region; dangling elsewhere
	Parent                   string // "" of a full one
	Name, Description        string
	Size                     int    // GiB of the volume
	Container, Prefix        string // Prefix is service_metadata
	Objects                  int    // data objects: object_count
	Created, DataTime        time.Time
	EncryptionKeyID          string
	Metadata                 map[string]string
	UserID, ProjectID, Zone  string // ignored by the importer (I5)
	Host, Status, FailReason string // likewise

	// extra has the fields of a record that was parsed and are not above.
	extra map[string]json.RawMessage
}

// recordTime is how oslo puts a time.
const recordTime = "2006-01-02T15:04:05Z"

// Encode gives the record as JSON: every field that Cinder's own has, null where there
// is nothing. num_dependent_backups is 0, or the backup would look pinned (I9).
func (r Record) Encode() ([]byte, error) {
	fields := map[string]any{"deleted": false, "temp_volume_id": nil, "temp_snapshot_id": nil, "restore_volume_id": nil, "updated_at": nil, "deleted_at": nil, "driver_info": struct{}{}}
	for key, v := range r.extra {
		fields[key] = v
	}
	for key, v := range r.texts() {
		fields[key] = nil
		if *v != "" {
			fields[key] = *v
		}
	}
	for key, t := range r.times() {
		fields[key] = nil
		if !t.IsZero() {
			fields[key] = t.UTC().Format(recordTime)
		}
	}
	metadata := r.Metadata
	if metadata == nil {
		metadata = map[string]string{}
	}
	maps.Copy(fields, map[string]any{"size": r.Size, "object_count": r.Objects, "metadata": metadata, "num_dependent_backups": 0, "service": Service})
	out, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("encode backup record: %w", err)
	}
	return out, nil
}

func (r *Record) texts() map[string]*string {
	return map[string]*string{"id": &r.ID, "volume_id": &r.VolumeID, "snapshot_id": &r.SnapshotID, "parent_id": &r.Parent, "display_name": &r.Name,
		"display_description": &r.Description, "container": &r.Container, "service_metadata": &r.Prefix, "encryption_key_id": &r.EncryptionKeyID,
		"user_id": &r.UserID, "project_id": &r.ProjectID, "availability_zone": &r.Zone, "host": &r.Host, "status": &r.Status, "fail_reason": &r.FailReason}
}

func (r *Record) times() map[string]*time.Time {
	return map[string]*time.Time{"created_at": &r.Created, "data_timestamp": &r.DataTime}
}

// ParseRecord reads a record. One without what an import requires (I3), or of another
// driver's format, is ErrFormat.
func ParseRecord(data []byte) (Record, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return Record{}, fmt.Errorf("parse backup record: %w: %w", ErrFormat, err)
	}
	bad := func(key string, err error) (Record, error) {
		return Record{}, fmt.Errorf("parse backup record: %w", formatError("%s %w", key, err))
	}
	for _, key := range []string{"id", "size", "display_name", "display_description", "container", "service_metadata", "object_count"} {
		if fields[key] == nil {
			return bad(key, errMissing)
		}
	}
	var r Record
	for key, to := range r.texts() {
		if raw, there := fields[key]; there {
			text, err := nullable(raw)
			if err != nil {
				return bad(key, err)
			}
			*to = text
		}
		delete(fields, key)
	}
	for key, to := range r.times() {
		text := ""
		if raw, there := fields[key]; there {
			var err error
			if text, err = nullable(raw); err != nil {
				return bad(key, err)
			}
		}
		if text != "" {
			at, err := parseTime(text)
			if err != nil {
				return bad(key, err)
			}
			*to = at
		}
		delete(fields, key)
	}
	service := ""
	for key, to := range map[string]any{"size": &r.Size, "object_count": &r.Objects, "metadata": &r.Metadata, "service": &service} {
		if raw, there := fields[key]; there {
			if err := json.Unmarshal(raw, to); err != nil {
				return bad(key, err)
			}
		}
		delete(fields, key)
	}
	if service != "" && service != Service {
		return bad("service", fmt.Errorf("is %q, %q is known", service, Service))
	}
	if r.ID == "" || r.Size < 0 || r.Objects < 0 {
		return bad("id, size or object_count", errMissing)
	}
	if len(r.Metadata) == 0 {
		r.Metadata = nil
	}
	delete(fields, "num_dependent_backups")
	if len(fields) > 0 {
		r.extra = fields
	}
	return r, nil
}

// parseTime reads the forms that Cinder and its clients write.
func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999"} {
		if at, err := time.Parse(layout, s); err == nil {
			return at.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("is %q, which is no time", s)
}
