package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// cinderBackups are all objects of three backups that Cinder 21.3 made in the lab of a
// volume of 1 GiB, one upon another: a full one, one of three blocks in two places, one
// of nothing; and the exported record of the second, "record.json".
func cinderBackups(t *testing.T) (objects map[string][]byte, chain []*Metadata) {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(sample(t, "cinder-21.3.tar.gz")))
	if err != nil {
		t.Fatal(err)
	}
	objects = map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		name := strings.ReplaceAll(h.Name, "%", "/") // no object's name has one
		if objects[name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		if _, part, ok := SplitName(name); ok && part == MetadataPart {
			m, err := ReadMetadata(bytes.NewReader(objects[name]))
			if err != nil {
				t.Fatal(err)
			}
			if m.Prefix == "" {
				m.Prefix = strings.TrimSuffix(name, "_metadata")
			}
			chain = append(chain, &m)
		}
	}
	slices.SortFunc(chain, func(a, b *Metadata) int { return strings.Compare(a.Prefix, b.Prefix) }) // by time
	return objects, chain
}

// What Cinder itself wrote: every object has its place, _metadata is written again byte
// by byte, and the data objects of each chain hash to what Cinder's own list says.
func TestBackupsOfRealCinder(t *testing.T) {
	objects, chain := cinderBackups(t)
	if len(chain) != 3 || len(chain[0].Extents) != 21 || len(chain[1].Extents) != 2 || len(chain[2].Extents) != 0 ||
		chain[1].Parent != chain[0].BackupID || chain[2].Parent != chain[1].BackupID || chain[0].Parent != "" {
		t.Fatalf("another set of backups: %+v", chain)
	}
	var parent []Hash
	for n, m := range chain {
		p, err := ParsePrefix(m.Prefix)
		if err != nil || p.Backup != m.BackupID || p.Volume != m.VolumeID || p.Zone != "zone-one" {
			t.Errorf("%d: prefix %+v, %v", n, p, err)
		}
		var out bytes.Buffer
		if _, err := m.WriteTo(&out); err != nil || out.String() != string(objects[MetadataPart.Name(m.Prefix)]) {
			t.Errorf("%d: _metadata is written differently: %v\n%s", n, err, cmp.Diff(string(objects[MetadataPart.Name(m.Prefix)]), out.String()))
		}
		v := m.VolumeMeta
		if v.Version != 2 || v.Size != 1 || v.Name != "farshore-golden é ✓" || v.Description != "größe" || v.Zone != "zone-one" || v.Status != "available" || v.EncryptionKeyID != "" || v.Bootable ||
			v.Metadata["dr"] != "gold" || v.Metadata["note"] != "a \"quoted\" \\ value\n" || v.Image["os_distro"] != "debian" || v.Image["min_ram"] != "0" {
			t.Errorf("%d: volume %+v", n, v)
		}
		h, err := OpenHashes(bytes.NewReader(objects[HashesPart.Name(m.Prefix)]))
		if err != nil {
			t.Fatal(err)
		}
		want, err := collect(h)
		if err != nil || len(want) != 32768 || h.Head().BlockSize != 32768 || h.Head().BackupID != m.BackupID || h.Head().VolumeID != m.VolumeID {
			t.Fatalf("%d: %d hashes, %+v, %v", n, len(want), h.Head(), err)
		}
		// The first two objects of 50 MiB are enough: all others are of zeros.
		begin := *chain[0]
		begin.Extents = begin.Extents[:2]
		hasher, err := HashObjects(32768, append([]*Metadata{&begin}, chain[1:n+1]...), func(n, i int) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(objects[chain[n].Extents[i].Object(chain[n].Prefix)])), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if differing, first, err := Compare(hasher, SliceBlocks(want[:2*1600])); differing != 0 || err != nil {
			t.Errorf("%d: the objects' blocks are others than Cinder's: %d, first %v, %v", n, differing, first, err)
		}
		if others := slices.Compact(slices.Clone(want[2*1600:])); len(others) != 1 {
			t.Errorf("%d: %d different runs behind them", n, len(others))
		}
		list, info := writeList(t, want, parent)
		if n > 0 && len(list) > 200 || info.Blocks != 32768 {
			t.Errorf("%d: a list of %d bytes for %d blocks", n, len(list), info.Blocks)
		}
		parent = want
	}
	for name := range objects {
		if _, _, ok := SplitName(name); !ok && name != "record.json" {
			t.Errorf("%s belongs to no backup", name)
		}
	}
	t.Run("record", func(t *testing.T) {
		r, err := ParseRecord(objects["record.json"])
		if err != nil || r.ID != chain[1].BackupID || r.Parent != chain[0].BackupID || r.Prefix != chain[1].Prefix || r.Objects != 2 || r.Size != 1 || r.Container != "farshore-golden" ||
			r.DataTime.Format("15:04:05") != "01:42:24" || r.Metadata["farshore_work"] != "w1" {
			t.Errorf("%+v, %v", r, err)
		}
		out, err := r.Encode()
		var was, is map[string]any
		if err := errors.Join(err, json.Unmarshal(objects["record.json"], &was), json.Unmarshal(out, &is)); err != nil {
			t.Fatal(err)
		}
		was["num_dependent_backups"], was["display_description"] = 0.0, nil // "" is null, and nothing is pinned
		if d := cmp.Diff(was, is); d != "" {
			t.Error(d)
		}
	})
}
