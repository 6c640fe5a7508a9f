package backup

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
)

// Metadata is a backup's _metadata (C5, C6).
type Metadata struct {
	Version     string
	BackupID    string
	VolumeID    string
	Name        string // "" may have been null
	Description string // likewise
	CreatedAt   string // as Cinder puts it: 2026-09-21 14:13:20+00:00, with or without the zone
	Parent      string // the backup's id that it is an increment upon; "" of a full one
	// Prefix is what the data objects' names begin with; "" when there are none, as of an
	// increment upon a volume that did not change.
	Prefix  string
	Extents []Extent // in write order: of two that overlap the later one counts (C13)
	// VolumeMeta is what a restore sets on the volume (C15); its Raw is what WriteTo writes.
	VolumeMeta VolumeMeta

	// raw has the fields as they were read, so that what was not changed is written as it was.
	raw map[string]json.RawMessage
}

// Extent is one data object: a part of the volume.
type Extent struct {
	Part           Part  // its number in the object's name
	Offset, Length int64 // bytes, before compression
	Compression    string
	MD5            [16]byte // before compression: the ETag only where Compression is none
}

// Object is the data object's name.
func (e Extent) Object(prefix string) string { return e.Part.Name(prefix) }

// End is the first byte after it.
func (e Extent) End() int64 { return e.Offset + e.Length }

// Names gives all objects that a restore needs, under a prefix: the data objects in
// write order, then _metadata. A listing of the prefix must show these and, at most,
// _sha256file besides, or Cinder refuses to restore (C13).
func (m *Metadata) Names(prefix string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, e := range m.Extents {
			if !yield(e.Object(prefix)) {
				return
			}
		}
		yield(MetadataPart.Name(prefix))
	}
}

// Has says whether a part is one of those that Names gives.
func (m *Metadata) Has(p Part) bool {
	if p == MetadataPart {
		return true
	}
	_, ok := slices.BinarySearchFunc(m.Extents, p, func(e Extent, p Part) int { return int(e.Part - p) })
	return ok
}

// Data is how many bytes of the volume the extents have, before compression.
func (m *Metadata) Data() (n int64) {
	for _, e := range m.Extents {
		n += e.Length
	}
	return n
}

// extentJSON is an extent's value in the list.
type extentJSON struct {
	Compression *string `json:"compression"`
	Length      *int64  `json:"length"`
	MD5         *string `json:"md5"`
	Offset      *int64  `json:"offset"`
}

// ReadMetadata reads a _metadata to its end. What it cannot be sure of is ErrFormat,
// with the field's name: another version, a data object that is not numbered above the
// one before it or has another prefix, a compression that is not known. Fields of
// a data object other than Cinder's four are not kept.
func ReadMetadata(r io.Reader) (Metadata, error) {
	m := Metadata{raw: map[string]json.RawMessage{}}
	from := &source{r: r}
	d := json.NewDecoder(from)
	err := eachField(d, func(key string) error {
		if key == "objects" {
			return m.readExtents(d)
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return err
		}
		m.raw[key] = v
		return nil
	})
	if err == nil {
		err = atEnd(d)
	}
	if err == nil {
		err = m.settle()
	}
	if err != nil {
		return Metadata{}, from.failed("_metadata", err)
	}
	return m, nil
}

// eachField reads an object, with see called where each value begins. A key that is
// there twice is refused.
func eachField(d *json.Decoder, see func(key string) error) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	if t != json.Delim('{') {
		return formatError("it is no object")
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		key, ok := t.(string)
		if !ok || seen[key] {
			return formatError("field %v is there twice", t)
		}
		seen[key] = true
		if err := see(key); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	_, err = d.Token()
	return err
}

// atEnd makes sure that nothing but white space follows.
func atEnd(d *json.Decoder) error {
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		if err != nil {
			return err
		}
		return formatError("something follows it")
	}
	return nil
}

func (m *Metadata) readExtents(d *json.Decoder) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	if t != json.Delim('[') {
		return formatError("it is no list")
	}
	m.Extents = []Extent{} // there is a list, if only an empty one
	for d.More() {
		var one map[string]extentJSON
		if err := d.Decode(&one); err != nil {
			return err
		}
		if len(one) != 1 {
			return formatError("element %d has %d names", len(m.Extents), len(one))
		}
		for name, x := range one {
			if err := m.addExtent(name, x); err != nil {
				return err
			}
		}
	}
	_, err = d.Token()
	return err
}

func (m *Metadata) addExtent(name string, x extentJSON) error {
	prefix, part, ok := splitData(name)
	switch {
	case !ok:
		return formatError("%q is no data object's name", name)
	case len(m.Extents) == 0:
		m.Prefix = prefix
	case prefix != m.Prefix:
		return formatError("%q has another prefix than those before, %q", name, m.Prefix)
	case part <= m.Extents[len(m.Extents)-1].Part:
		return formatError("%q comes after number %d", name, m.Extents[len(m.Extents)-1].Part)
	}
	switch {
	case x.Offset == nil || *x.Offset < 0:
		return formatError("%q: offset is missing or negative", name)
	case x.Length == nil || *x.Length <= 0 || *x.Length > math.MaxInt64-*x.Offset:
		return formatError("%q: length is missing or impossible", name)
	case x.Compression == nil:
		return formatError("%q: compression is missing", name)
	case x.MD5 == nil:
		return formatError("%q: md5 is missing", name)
	}
	compression, ok := compressionName(*x.Compression)
	if !ok {
		return formatError("%q: compression %q is not known", name, *x.Compression)
	}
	e := Extent{Part: part, Offset: *x.Offset, Length: *x.Length, Compression: compression}
	if n, err := hex.Decode(e.MD5[:], []byte(*x.MD5)[:min(len(*x.MD5), 32)]); err != nil || n != 16 || hex.EncodeToString(e.MD5[:]) != *x.MD5 {
		return formatError("%q: md5 %q is none", name, *x.MD5)
	}
	m.Extents = append(m.Extents, e)
	return nil
}

// texts are the fields that hold a text or null, and where they go.
func (m *Metadata) texts() map[string]*string {
	return map[string]*string{"version": &m.Version, "backup_id": &m.BackupID, "volume_id": &m.VolumeID, "backup_name": &m.Name,
		"backup_description": &m.Description, "created_at": &m.CreatedAt, "parent_id": &m.Parent, "volume_meta": &m.VolumeMeta.Raw}
}

// settle reads the fields out of raw and sees that none is missing.
func (m *Metadata) settle() error {
	if m.Extents == nil {
		return formatError("objects is missing")
	}
	for key, to := range m.texts() {
		text, err := nullable(m.raw[key])
		if err != nil {
			return formatError("%s: %w", key, err)
		}
		*to = text
	}
	if m.Version != Version {
		return formatError("version is %q, %q is known", m.Version, Version)
	}
	for _, key := range []string{"backup_id", "volume_id"} {
		if *m.texts()[key] == "" {
			return formatError("%s is empty", key)
		}
	}
	var err error
	if m.VolumeMeta, err = parseVolumeMeta(m.VolumeMeta.Raw); err != nil {
		return formatError("volume_meta: %w", err)
	}
	return nil
}

var errMissing = errors.New("is missing")

// nullable reads a text, or null as "".
func nullable(raw json.RawMessage) (string, error) {
	if raw == nil {
		return "", errMissing
	}
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", errors.New("is neither a text nor null")
	}
	if s == nil {
		return "", nil
	}
	return *s, nil
}
