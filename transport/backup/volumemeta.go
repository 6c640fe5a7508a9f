package backup

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// VolumeMeta is the volume as the backup's volume_meta has it (C9). A restore puts the
// metadata and the image's back (C15).
type VolumeMeta struct {
	Raw             string // as it was read: JSON; "" of none
	Version         int    // 1 or 2
	Size            int    // GiB
	TypeID          string // of the volume type, of no meaning in another region
	Zone            string
	Name            string
	Description     string
	Status          string
	Bootable        bool
	EncryptionKeyID string            // "" of a volume that is not encrypted
	Metadata        map[string]string // nil: none
	Image           map[string]string // volume-glance-metadata; nil: none
}

func parseVolumeMeta(raw string) (VolumeMeta, error) {
	v := VolumeMeta{Raw: raw}
	if raw == "" {
		return v, nil
	}
	var top struct {
		Version int                        `json:"version"`
		Base    map[string]json.RawMessage `json:"volume-base-metadata"`
		Meta    map[string]json.RawMessage `json:"volume-metadata"`
		Glance  map[string]json.RawMessage `json:"volume-glance-metadata"`
	}
	if err := json.Unmarshal([]byte(raw), &top); err != nil {
		return VolumeMeta{}, err
	}
	if top.Version != 1 && top.Version != 2 {
		return VolumeMeta{}, fmt.Errorf("its version is %d, 1 and 2 are known", top.Version)
	}
	v.Version = top.Version
	for key, to := range map[string]*string{"volume_type_id": &v.TypeID, "availability_zone": &v.Zone, "display_name": &v.Name, "display_description": &v.Description,
		"status": &v.Status, "encryption_key_id": &v.EncryptionKeyID} {
		if raw, there := top.Base[key]; there {
			text, err := nullable(raw)
			if err != nil {
				return VolumeMeta{}, fmt.Errorf("%s %w", key, err)
			}
			*to = text
		}
	}
	if raw, there := top.Base["size"]; there && json.Unmarshal(raw, &v.Size) != nil {
		return VolumeMeta{}, errors.New("size is no number")
	}
	// A column of the database, true or 1 by the driver of it.
	b, err := strconv.ParseBool(plainText(top.Base["bootable"]))
	v.Bootable = err == nil && b
	v.Metadata, v.Image = plainTexts(top.Meta), plainTexts(top.Glance)
	return v, nil
}

func plainTexts(raw map[string]json.RawMessage) map[string]string {
	if raw == nil {
		return nil
	}
	out := make(map[string]string, len(raw))
	for k, v := range raw {
		out[k] = plainText(v)
	}
	return out
}

// plainText is a text without its quotes, and anything else as JSON has it.
func plainText(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}
