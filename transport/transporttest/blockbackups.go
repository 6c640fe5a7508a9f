package transporttest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"farshore/transport"
)

func (s *blockSuite) snapshots() {
	v := s.newVolume(transport.VolumeSpec{})
	meta := map[string]string{"farshore": "policy", "n": "1"}
	a := s.newSnapshot(v.ID, meta)
	b := s.newSnapshot(v.ID, nil)
	got, err := s.Storage.Snapshot(s.ctx, a.ID)
	if err != nil || got.ID != a.ID || got.Name != s.id+" é" || got.Volume != v.ID || got.Size != 1 || got.Status != "available" ||
		!maps.Equal(got.Metadata, meta) || time.Since(got.Created).Abs() > 10*time.Minute {
		s.Errorf("%+v %v", got, err)
	}
	other := s.newVolume(transport.VolumeSpec{})
	c := s.newSnapshot(other.ID, nil)
	for volume, want := range map[string][]string{v.ID: {a.ID, b.ID}, other.ID: {c.ID}} {
		list, err := s.Storage.Snapshots(s.ctx, volume)
		var ids []string
		for _, x := range list {
			ids = append(ids, x.ID)
		}
		slices.Sort(ids)
		slices.Sort(want)
		if err != nil || !slices.Equal(ids, want) {
			s.Errorf("snapshots of %s: %v %v, want %v", volume, ids, err, want)
		}
	}
	all, err := s.Storage.Snapshots(s.ctx, "")
	seen := map[string]transport.Snapshot{}
	for _, x := range all {
		seen[x.ID] = x
	}
	if err != nil || seen[a.ID].Volume != v.ID || !maps.Equal(seen[a.ID].Metadata, meta) || seen[b.ID].ID == "" || seen[c.ID].Volume != other.ID {
		s.Errorf("%+v %v", all, err)
	}
	s.wants(s.Storage.DeleteVolume(s.ctx, v.ID), transport.Changed, "delete volume "+v.ID)
	_, err = s.Storage.CreateSnapshot(s.ctx, missing, s.id, nil)
	s.wants(err, transport.NotFound, missing)
}

// missing is an id of nothing.
const missing = "00000000-0000-4000-8000-00000000dead"

func (s *blockSuite) inUse() {
	if s.Attach == nil {
		s.Skip("nothing here makes a volume in use")
	}
	v := s.newVolume(transport.VolumeSpec{Metadata: map[string]string{"mine": "1"}})
	detach := s.Attach(s, v.ID)
	defer detach()
	got, err := s.Storage.Volume(s.ctx, v.ID)
	if err != nil || got.Status != "in-use" || got.Attachments != 1 || !maps.Equal(got.Metadata, map[string]string{"mine": "1"}) {
		s.Errorf("%+v %v", got, err)
	}
	snap := s.newSnapshot(v.ID, nil)
	x := s.newBackup(transport.BackupSpec{Volume: v.ID, Snapshot: snap.ID})
	if x.Objects == 0 || x.Snapshot != snap.ID {
		s.Errorf("%+v", x)
	}
	if got, err := s.Storage.Volume(s.ctx, v.ID); err != nil || got.Status != "in-use" {
		s.Errorf("after its snapshot's backup: %+v %v", got, err)
	}
	s.wants(s.Storage.DeleteVolume(s.ctx, v.ID), transport.Changed)
}

// description is what the suite reads of a backup's own description (C5, C6).
type description struct {
	Version  string  `json:"version"`
	BackupID string  `json:"backup_id"`
	VolumeID string  `json:"volume_id"`
	Parent   *string `json:"parent_id"`
	Objects  []map[string]struct {
		Offset, Length int64
		Compression    string
		MD5            string `json:"md5"`
	} `json:"objects"`
}

// written reads the description of a backup, and verifies that it names the objects that
// are there, all of them and no others. prefix is before all their names.
func (s *blockSuite) written(x transport.Backup) (w description, prefix string) {
	s.Helper()
	var listed []string
	err := s.Objects.List(s.ctx, x.Container, transport.Range{Prefix: "volume_" + x.Volume + "/"}, func(page []transport.Entry) error {
		for _, e := range page {
			if strings.Contains(e.Name, "_backup_"+x.ID) {
				listed = append(listed, e.Name)
			}
			if name, ok := strings.CutSuffix(e.Name, "_backup_"+x.ID+"_metadata"); ok {
				prefix = name + "_backup_" + x.ID
			}
		}
		return nil
	})
	if err != nil || prefix == "" {
		s.Fatalf("%v, %q", err, listed)
	}
	if err := json.Unmarshal(s.object(x.Container, prefix+"_metadata"), &w); err != nil {
		s.Fatal(err)
	}
	named := []string{prefix + "_metadata", prefix + "_sha256file"}
	for _, o := range w.Objects {
		for name := range o {
			named = append(named, name)
		}
	}
	slices.Sort(named)
	if !slices.Equal(named, listed) || x.Objects != len(w.Objects) || w.BackupID != x.ID || w.VolumeID != x.Volume || w.Version != "1.0.0" {
		s.Errorf("%+v: named %q, listed %q", x, named, listed)
	}
	return w, prefix
}

func (s *blockSuite) object(container, name string) []byte {
	s.Helper()
	_, r, err := s.Objects.Open(s.ctx, container, name, transport.OpenOptions{Length: -1})
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	b, err := io.ReadAll(r)
	if err != nil {
		s.Fatal(err)
	}
	return b
}

func noise(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// Where the suite writes into volumes: a little on both sides of an object's boundary (C4).
const (
	low  = 3<<20 + 512
	high = 50<<20 - 64<<10
)

// backups makes a full and an increment upon it, of snapshots, and restores both over one
// volume: the older one after the newer, so that what it zeroes is seen.
func (s *blockSuite) backups() {
	v := s.newVolume(transport.VolumeSpec{Metadata: map[string]string{"dr": "gold"}})
	first := noise(1, 256<<10)
	s.Write(s, v.ID, low, first)
	s.Write(s, v.ID, high, noise(2, 128<<10))
	one := s.newSnapshot(v.ID, nil)
	meta := map[string]string{"farshore_work": s.id}
	full := s.newBackup(transport.BackupSpec{Volume: v.ID, Snapshot: one.ID, Name: s.id + " full é", Description: "a full one", Metadata: meta})
	if full.Name != s.id+" full é" || full.Description != "a full one" || full.Volume != v.ID || full.Snapshot != one.ID || full.Container == "" ||
		full.Size != 1 || full.Objects == 0 || full.Incremental || full.Dependents || !maps.Equal(full.Metadata, meta) || full.FailReason != "" ||
		!full.DataTime.Equal(one.Created) || full.Created.Before(full.DataTime) {
		s.Errorf("%+v", full)
	}
	w, _ := s.written(full)
	if w.Parent != nil {
		s.Errorf("a full one has parent %s", *w.Parent)
	}
	s.snapshotIs(one.ID, "available")

	s.Write(s, v.ID, low, make([]byte, 64<<10)) // zeroed again
	s.Write(s, v.ID, high+100, noise(3, 1000))
	two := s.newSnapshot(v.ID, nil)
	inc := s.newBackup(transport.BackupSpec{Volume: v.ID, Snapshot: two.ID, Incremental: true, Container: full.Container})
	if !inc.Incremental || inc.Dependents || !inc.DataTime.Equal(two.Created) || inc.Container != full.Container {
		s.Errorf("%+v", inc)
	}
	if w, _ := s.written(inc); w.Parent == nil || *w.Parent != full.ID {
		s.Errorf("the increment's parent is %v, not %s", w.Parent, full.ID)
	}
	if got, err := s.Storage.Backup(s.ctx, full.ID); err != nil || !got.Dependents {
		s.Errorf("%+v %v", got, err)
	}
	s.wants(s.Storage.DeleteBackup(s.ctx, full.ID), transport.Changed, "delete backup "+full.ID, "increments")
	all, err := s.Storage.Backups(s.ctx)
	listed := map[string]transport.Backup{}
	for _, x := range all {
		listed[x.ID] = x
	}
	if err != nil || !listed[inc.ID].Incremental || !maps.Equal(listed[full.ID].Metadata, meta) || listed[full.ID].Objects != full.Objects {
		s.Errorf("%+v %v", all, err)
	}

	to := s.newVolume(transport.VolumeSpec{})
	want := append(make([]byte, 64<<10), first[64<<10:]...)
	for _, c := range []struct {
		backup string
		low    []byte
	}{{inc.ID, want}, {full.ID, first}} {
		s.restore(c.backup, to.ID)
		if got := s.Read(s, to.ID, low, int64(len(c.low))); !bytes.Equal(got, c.low) {
			s.Errorf("backup %s restored other bytes", c.backup)
		}
		if got := s.Read(s, to.ID, high, 128<<10); bytes.Equal(got, noise(2, 128<<10)) != (c.backup == full.ID) {
			s.Errorf("backup %s restored the other one's bytes", c.backup)
		}
	}
	// C15: what a restore does to the volume.
	if got, err := s.Storage.Volume(s.ctx, to.ID); err != nil || got.Name != s.id ||
		!maps.Equal(got.Metadata, map[string]string{"dr": "gold", "src_backup_id": full.ID}) {
		s.Errorf("restored: %+v %v", got, err)
	}
}

// restore writes a backup over a volume and waits for both.
func (s *blockSuite) restore(backup, volume string) {
	s.Helper()
	if _, err := s.Storage.Renew(s.ctx); err != nil {
		s.Fatal(err)
	}
	if err := s.Storage.RestoreBackup(s.ctx, backup, volume); err != nil {
		s.Fatal(err)
	}
	s.volumeIs(volume, "available")
	s.backupIs(backup, "available")
}

// backupOfVolume makes what a proof makes: a full one of a volume that nobody uses, in a
// container of its own.
func (s *blockSuite) backupOfVolume() {
	v := s.newVolume(transport.VolumeSpec{})
	s.Write(s, v.ID, low, noise(5, 1000))
	container := "." + s.id
	if err := s.Objects.CreateContainer(s.ctx, container, nil); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { // after the backup
		if err := s.Objects.DeleteContainer(context.Background(), container); err != nil {
			s.Error(err)
		}
	})
	x := s.newBackup(transport.BackupSpec{Volume: v.ID, Container: container})
	if x.Container != container || x.Snapshot != "" || x.Volume != v.ID {
		s.Errorf("%+v", x)
	}
	s.written(x)
	s.volumeIs(v.ID, "available")
}

// imports carries a backup to another container and imports its record under another id.
func (s *blockSuite) imports() {
	rights, err := s.Storage.ImportRights(s.ctx)
	id, _ := s.Storage.Identity(s.ctx)
	if err != nil || rights.Allowed == transport.Unknown || rights.Project != id.Project || (rights.Allowed == transport.No) != (rights.Rule != "") {
		s.Errorf("%+v %v", rights, err)
	}
	if rights.Allowed == transport.No {
		_, err := s.Storage.ImportBackup(s.ctx, swiftDriver, s.record(transport.Backup{ID: missing, Size: 1}, "x"))
		s.wants(err, transport.Denied, rights.Rule, missing)
	}
	if s.Importer == nil {
		s.Skip("no login here may import records")
	}
	rights, err = s.Importer.ImportRights(s.ctx)
	if err != nil || rights.Allowed != transport.Yes || rights.Rule != "" || rights.Project != id.Project {
		s.Fatalf("the importer: %+v %v", rights, err)
	}
	v := s.newVolume(transport.VolumeSpec{})
	data := noise(7, 100_000)
	s.Write(s, v.ID, low, data)
	snap := s.newSnapshot(v.ID, nil)
	x := s.newBackup(transport.BackupSpec{Volume: v.ID, Snapshot: snap.ID})
	w, prefix := s.written(x)
	copied := x
	copied.Container, copied.ID = "copy-"+s.id, fmt.Sprintf("%s%08x", x.ID[:len(x.ID)-8], rand.Uint32())
	if err := s.Objects.CreateContainer(s.ctx, copied.Container, nil); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { // Cinder has deleted the objects with the backup (L8)
		if err := s.Objects.DeleteContainer(context.Background(), copied.Container); err != nil {
			s.Error(err)
		}
	})
	names := []string{prefix + "_metadata"} // _sha256file need not travel (L4)
	for _, o := range w.Objects {
		names = slices.AppendSeq(names, maps.Keys(o))
	}
	for _, name := range names {
		if _, err := s.Objects.Put(s.ctx, copied.Container, name, body(s.object(x.Container, name)), transport.PutOptions{}); err != nil {
			s.Fatal(err)
		}
	}
	_, err = s.Importer.ImportBackup(s.ctx, swiftDriver, []byte(`{"id": "`+copied.ID+`"}`)) // no size (I3)
	s.wants(err, transport.Permanent, "size")
	got, err := s.Importer.ImportBackup(s.ctx, swiftDriver, s.record(copied, prefix))
	if err != nil || got != copied.ID {
		s.Fatalf("%s %v, want %s", got, err, copied.ID)
	}
	s.dropBackup(copied.ID)
	imported := s.backupIs(copied.ID, "available")
	if imported.Name != x.Name || imported.Container != copied.Container || imported.Volume != v.ID || imported.Size != 1 ||
		imported.Objects != x.Objects || !imported.DataTime.Equal(x.DataTime) || imported.Incremental {
		s.Errorf("%+v", imported)
	}
	_, err = s.Importer.ImportBackup(s.ctx, swiftDriver, s.record(copied, prefix))
	s.wants(err, transport.Exists, copied.ID)
	to := s.newVolume(transport.VolumeSpec{})
	s.restore(copied.ID, to.ID)
	if !bytes.Equal(s.Read(s, to.ID, low, int64(len(data))), data) {
		s.Error("the imported backup restored other bytes")
	}
}

const swiftDriver = "cinder.backup.drivers.swift.SwiftBackupDriver"

// record is a backup's record as export_record would give it (I2).
func (s *blockSuite) record(x transport.Backup, prefix string) []byte {
	stamp := func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
	b, err := json.Marshal(map[string]any{"id": x.ID, "size": x.Size, "volume_id": x.Volume, "snapshot_id": x.Snapshot, "container": x.Container,
		"display_name": x.Name, "display_description": x.Description, "object_count": x.Objects, "service_metadata": prefix,
		"service": swiftDriver, "parent_id": nil, "num_dependent_backups": 0, "status": "available", "driver_info": map[string]any{},
		"data_timestamp": stamp(x.DataTime), "created_at": stamp(x.Created), "metadata": map[string]string{}, "encryption_key_id": nil})
	if err != nil {
		s.Fatal(err)
	}
	return b
}

func (s *blockSuite) placement() {
	for range 2 { // without a backup to judge by, and with one
		p, err := transport.FindPlacement(s.ctx, s.Storage, s.Objects)
		if err != nil || p.Where != transport.PlacedPerUser && p.Where != transport.PlacedUnknown || p.Why == "" {
			s.Errorf("%+v %v", p, err)
		}
		if p.Where == transport.PlacedPerUser {
			break
		}
		v := s.newVolume(transport.VolumeSpec{})
		s.newBackup(transport.BackupSpec{Volume: v.ID})
		if p, err := transport.FindPlacement(s.ctx, s.Storage, s.Objects); err != nil || p.Where != transport.PlacedPerUser {
			s.Errorf("%+v %v", p, err)
		}
	}
	p, err := transport.ProbePlacement(s.ctx, s.Storage, s.Objects, nil, func(step string) { s.Log(step) })
	if err != nil || p.Where != transport.PlacedPerUser || p.Took <= 0 || len(p.Left) > 0 {
		s.Errorf("%+v %v", p, err)
	}
	volumes, verr := s.Storage.Volumes(s.ctx)
	backups, berr := s.Storage.Backups(s.ctx)
	if verr != nil || berr != nil || slices.ContainsFunc(volumes, func(v transport.Volume) bool { return strings.HasPrefix(v.Name, "farshore-probe-") }) ||
		slices.ContainsFunc(backups, func(x transport.Backup) bool { return strings.HasPrefix(x.Name, "farshore-probe-") }) {
		s.Errorf("the probe left something: %+v %v, %+v %v", volumes, verr, backups, berr)
	}
}

func (s *blockSuite) errors() {
	ctx, st := s.ctx, s.Storage
	for _, id := range []string{missing, "", "../volumes", "a b", "detail/?x"} {
		_, err := st.Volume(ctx, id)
		s.wants(err, transport.NotFound, "show volume")
		_, err = st.Snapshot(ctx, id)
		s.wants(err, transport.NotFound, "show snapshot")
		_, err = st.Backup(ctx, id)
		s.wants(err, transport.NotFound, "show backup")
		s.wants(st.ChangeVolume(ctx, id, transport.VolumeChange{Name: &s.id}), transport.NotFound, "change volume")
		_, err = st.CreateBackup(ctx, transport.BackupSpec{Volume: id, Snapshot: id, Name: s.id})
		s.wants(err, transport.NotFound, "create backup of")
	}
	for _, err := range []error{st.DeleteVolume(ctx, missing), st.DeleteSnapshot(ctx, missing), st.DeleteBackup(ctx, missing)} {
		if err != nil {
			s.Error(err) // gone is what was wanted
		}
	}
	v := s.newVolume(transport.VolumeSpec{})
	snap := s.newSnapshot(v.ID, nil)
	s.wants(st.RestoreBackup(ctx, missing, v.ID), transport.NotFound, "restore backup "+missing)
	s.wants(st.RestoreBackup(ctx, missing, ""), transport.NotFound, "restore backup")
	_, err := st.CreateBackup(ctx, transport.BackupSpec{Volume: v.ID, Snapshot: missing, Name: s.id})
	s.wants(err, transport.NotFound, missing)
	_, err = st.CreateBackup(ctx, transport.BackupSpec{Volume: v.ID, Snapshot: snap.ID, Incremental: true, Name: s.id})
	s.wants(err, transport.Changed, "create backup of snapshot "+snap.ID, "full")
}
