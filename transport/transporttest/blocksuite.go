package transporttest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"farshore/transport"
)

// Blocks is a region's block storage under test and what the suite needs beside it.
type Blocks struct {
	Storage transport.BlockStorage
	// Importer is a login of the same project that may import records; nil: none is tried.
	Importer transport.BlockStorage
	// Objects is the account that the region's backups are stored in.
	Objects transport.Sink
	// Write and Read reach the bytes of a volume that is available.
	Write func(t testing.TB, volume string, offset int64, data []byte)
	Read  func(t testing.TB, volume string, offset, length int64) []byte
	// Attach makes a volume in use; nil: not tried.
	Attach func(t testing.TB, volume string) (detach func())
	// Poll is the time between two looks at what is going on; 0: 200 ms.
	Poll time.Duration
}

// SuiteBlockPage is the page size that a Storage under test should be made with, so that
// a few things make several pages.
const SuiteBlockPage = 2

// RunBlocks is the conformance suite of block storage: what BlockStorage's contract says,
// and of backups what shipping relies on. make is called once. Everything is done with
// volumes of 1 GiB of names of their own, which are deleted again; it takes at most five
// volumes, three snapshots and three backups at once. The parts named in lacks are skipped.
func RunBlocks(t *testing.T, make func(t *testing.T) Blocks, lacks ...string) {
	b := make(t)
	if b.Poll == 0 {
		b.Poll = 200 * time.Millisecond
	}
	for _, c := range []struct {
		name string
		run  func(*blockSuite)
	}{
		{"Identity", (*blockSuite).identity}, {"Volumes", (*blockSuite).volumes}, {"VolumePages", (*blockSuite).volumePages},
		{"Types", (*blockSuite).types}, {"Quotas", (*blockSuite).quotas}, {"Snapshots", (*blockSuite).snapshots},
		{"InUse", (*blockSuite).inUse}, {"Backups", (*blockSuite).backups}, {"BackupOfVolume", (*blockSuite).backupOfVolume},
		{"Import", (*blockSuite).imports}, {"Placement", (*blockSuite).placement}, {"Errors", (*blockSuite).errors},
	} {
		t.Run(c.name, func(t *testing.T) {
			if slices.Contains(lacks, c.name) {
				t.Skip("known to be lacking")
			}
			var id [4]byte
			_, _ = rand.Read(id[:])
			c.run(&blockSuite{T: t, Blocks: b, ctx: t.Context(), id: "conformance-" + hex.EncodeToString(id[:])})
		})
	}
}

type blockSuite struct {
	*testing.T
	Blocks
	ctx context.Context
	id  string // begins every name
}

// suiteWait is how long the slowest region may take for anything.
const suiteWait = 10 * time.Minute

// await looks until a thing has a status ("": is gone), and fails if it gets another
// that does not end in -ing, or is an error.
func (s *blockSuite) await(what, want string, status func(context.Context) (string, error)) {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), suiteWait)
	defer cancel()
	for {
		now, err := status(ctx)
		switch {
		case want == "" && transport.Is(err, transport.NotFound):
			return
		case err != nil:
			s.Fatalf("%s: %v", what, err)
		case now == want:
			return
		case strings.HasPrefix(now, "error") || !strings.Contains(now, "ing") && (want != "" || now != "available"):
			s.Fatalf("%s is %q, not %q", what, now, want)
		}
		select {
		case <-time.After(s.Poll):
		case <-ctx.Done():
			s.Fatalf("%s is %q for %v, not %q", what, now, suiteWait, want)
		}
	}
}

func (s *blockSuite) volumeIs(id, want string) {
	s.Helper()
	s.await("volume "+id, want, func(ctx context.Context) (string, error) { v, err := s.Storage.Volume(ctx, id); return v.Status, err })
}

func (s *blockSuite) snapshotIs(id, want string) {
	s.Helper()
	s.await("snapshot "+id, want, func(ctx context.Context) (string, error) { v, err := s.Storage.Snapshot(ctx, id); return v.Status, err })
}

func (s *blockSuite) backupIs(id, want string) transport.Backup {
	s.Helper()
	var x transport.Backup
	s.await("backup "+id, want, func(ctx context.Context) (_ string, err error) {
		x, err = s.Storage.Backup(ctx, id)
		return x.Status + x.FailReason, err
	})
	return x
}

// newVolume makes a volume of 1 GiB, which is deleted at the end.
func (s *blockSuite) newVolume(spec transport.VolumeSpec) transport.Volume {
	s.Helper()
	if spec.Name == "" {
		spec.Name = s.id
	}
	spec.Size = 1
	v, err := s.Storage.CreateVolume(s.ctx, spec)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		if err := s.Storage.DeleteVolume(context.Background(), v.ID); err != nil {
			s.Error(err)
			return
		}
		s.volumeIs(v.ID, "")
	})
	s.volumeIs(v.ID, "available")
	return v
}

func (s *blockSuite) newSnapshot(volume string, metadata map[string]string) transport.Snapshot {
	s.Helper()
	v, err := s.Storage.CreateSnapshot(s.ctx, volume, s.id+" é", metadata)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		if err := s.Storage.DeleteSnapshot(context.Background(), v.ID); err != nil {
			s.Error(err)
			return
		}
		s.snapshotIs(v.ID, "")
	})
	s.snapshotIs(v.ID, "available")
	// The reply to the creation has the time in microseconds, and all later ones in seconds.
	if v, err = s.Storage.Snapshot(s.ctx, v.ID); err != nil {
		s.Fatal(err)
	}
	return v
}

// newBackup makes a backup, which is deleted at the end.
func (s *blockSuite) newBackup(spec transport.BackupSpec) transport.Backup {
	s.Helper()
	if _, err := s.Storage.Renew(s.ctx); err != nil {
		s.Fatal(err)
	}
	if spec.Name == "" {
		spec.Name = s.id
	}
	x, err := s.Storage.CreateBackup(s.ctx, spec)
	if err != nil {
		s.Fatal(err)
	}
	if x.ID == "" || x.Name != spec.Name || !strings.HasSuffix(x.Status, "ing") {
		s.Errorf("created: %+v", x)
	}
	s.dropBackup(x.ID)
	return s.backupIs(x.ID, "available")
}

func (s *blockSuite) dropBackup(id string) {
	s.Cleanup(func() {
		if err := s.Storage.DeleteBackup(context.Background(), id); err != nil {
			s.Error(err)
			return
		}
		s.backupIs(id, "")
	})
}

// wants fails unless an error is of the class and says all of the texts.
func (s *blockSuite) wants(err error, class transport.Class, texts ...string) {
	s.Helper()
	var e *transport.Error
	if !errors.As(err, &e) || e.Class != class || e.Op == "" || e.Region == "" || e.Err == nil {
		s.Errorf("%v (%#v) is of class %v, not %v", err, err, transport.ClassOf(err), class)
		return
	}
	for _, text := range texts {
		if !strings.Contains(e.Error()+" hint: "+transport.HintOf(e), text) {
			s.Errorf("%v hint: %s: does not say %q", e, transport.HintOf(e), text)
		}
	}
}

func (s *blockSuite) identity() {
	id, err := s.Storage.Identity(s.ctx)
	if err != nil || id.Project == "" || id.Region == "" || !strings.HasPrefix(id.URL, "http") {
		s.Errorf("%+v %v", id, err)
	}
	objects, err := s.Objects.Identity(s.ctx)
	if err != nil || objects.Project != id.Project || objects.Region != id.Region {
		s.Errorf("%+v %v, %+v", objects, err, id)
	}
	ends, err := s.Storage.Renew(s.ctx)
	if err != nil || time.Until(ends) < time.Minute {
		s.Errorf("a fresh token ends %v, %v", ends, err)
	}
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	_, err = s.Storage.Volumes(ctx)
	s.wants(err, transport.Canceled)
}

func (s *blockSuite) volumes() {
	name := s.id + " é%41/?"
	v := s.newVolume(transport.VolumeSpec{Name: name, Description: "what it is\nfor", Metadata: map[string]string{"dr": "gold", "a:b/c d": "é"}})
	if v.ID == "" || v.Name != name || v.Size != 1 {
		s.Errorf("created: %+v", v)
	}
	got, err := s.Storage.Volume(s.ctx, v.ID)
	if err != nil {
		s.Fatal(err)
	}
	if got.Name != name || got.Description != "what it is\nfor" || got.Size != 1 || got.Type == "" || got.Zone == "" || got.Bootable || got.Encrypted ||
		got.Attachments != 0 || got.Image != nil || !maps.Equal(got.Metadata, map[string]string{"dr": "gold", "a:b/c d": "é"}) ||
		time.Since(got.Created).Abs() > 10*time.Minute {
		s.Errorf("%+v", got)
	}
	other, text, yes, no := s.id+" renamed", "", true, false
	for _, c := range []transport.VolumeChange{
		{Name: &other, Metadata: map[string]string{"dr": "silver"}},
		{Description: &text, Bootable: &yes, Image: map[string]string{"os_distro": "debian", "hw_disk_bus": "scsi"}},
		{Bootable: &no, Image: map[string]string{"os_distro": "suse"}}, {},
	} {
		if err := s.Storage.ChangeVolume(s.ctx, v.ID, c); err != nil {
			s.Error(err)
		}
		if c.Bootable != nil {
			if got, err := s.Storage.Volume(s.ctx, v.ID); err != nil || got.Bootable != *c.Bootable {
				s.Errorf("%+v %v", got, err)
			}
		}
	}
	got, err = s.Storage.Volume(s.ctx, v.ID)
	if err != nil || got.Name != other || got.Description != "" || !maps.Equal(got.Metadata, map[string]string{"dr": "silver"}) ||
		got.Image["os_distro"] != "suse" || got.Image["hw_disk_bus"] != "scsi" {
		s.Errorf("changed: %+v %v", got, err)
	}
	if err := s.Storage.ChangeVolume(s.ctx, v.ID, transport.VolumeChange{Metadata: map[string]string{}}); err != nil {
		s.Error(err)
	}
	if got, err := s.Storage.Volume(s.ctx, v.ID); err != nil || len(got.Metadata) != 0 || got.Name != other {
		s.Errorf("all metadata away: %+v %v", got, err)
	}
	data := []byte("the volume's own bytes")
	s.Write(s, v.ID, 1<<20+7, data)
	if got := s.Read(s, v.ID, 1<<20+6, int64(len(data))+2); !bytes.Equal(got, append(append([]byte{0}, data...), 0)) {
		s.Errorf("read %q", got)
	}
}

func (s *blockSuite) volumePages() {
	want := map[string]bool{}
	for i := range 5 {
		want[s.newVolume(transport.VolumeSpec{Name: fmt.Sprint(s.id, i)}).ID] = true
	}
	all, err := s.Storage.Volumes(s.ctx)
	if err != nil {
		s.Fatal(err)
	}
	seen := map[string]int{}
	for _, v := range all {
		seen[v.ID]++
		if want[v.ID] && (!strings.HasPrefix(v.Name, s.id) || v.Status != "available" || v.Type == "") {
			s.Errorf("listed: %+v", v)
		}
	}
	for id := range want {
		if seen[id] != 1 {
			s.Errorf("volume %s is listed %d times", id, seen[id])
		}
	}
}

func (s *blockSuite) types() {
	all, err := s.Storage.VolumeTypes(s.ctx)
	if err != nil || len(all) == 0 {
		s.Fatalf("%v %v", all, err)
	}
	var normal string
	for _, v := range all {
		if v.ID == "" || v.Name == "" || v.Default && normal != "" || v.Encrypted == "" {
			s.Errorf("%+v", v)
		}
		if v.Default {
			normal = v.Name
		}
	}
	v := s.newVolume(transport.VolumeSpec{})
	if got, err := s.Storage.Volume(s.ctx, v.ID); err != nil || normal != "" && got.Type != normal {
		s.Errorf("a volume of no type got %q, the default is %q", got.Type, normal)
	}
	for _, t := range all {
		if !t.Default && !strings.HasPrefix(t.Name, "_") && t.Encrypted != transport.Yes {
			v := s.newVolume(transport.VolumeSpec{Type: t.Name})
			if got, err := s.Storage.Volume(s.ctx, v.ID); err != nil || got.Type != t.Name {
				s.Errorf("a volume of type %q got %q", t.Name, got.Type)
			}
			break
		}
	}
	_, err = s.Storage.CreateVolume(s.ctx, transport.VolumeSpec{Name: s.id, Size: 1, Type: "no such type"})
	s.wants(err, transport.NotFound, "create volume "+s.id, "no such type", "volume type list")
	_, err = s.Storage.CreateVolume(s.ctx, transport.VolumeSpec{Name: s.id, Size: 1, Zone: "no-such-zone"})
	s.wants(err, transport.Permanent, "no-such-zone")
}

func (s *blockSuite) quotas() {
	before, err := s.Storage.Quotas(s.ctx)
	if err != nil {
		s.Fatal(err)
	}
	v := s.newVolume(transport.VolumeSpec{})
	s.newSnapshot(v.ID, nil)
	after, err := s.Storage.Quotas(s.ctx)
	if err != nil || after.Volumes.Used != before.Volumes.Used+1 || after.Snapshots.Used != before.Snapshots.Used+1 ||
		after.Gigabytes.Used <= before.Gigabytes.Used || after.Backups != before.Backups || after.BackupGigabytes != before.BackupGigabytes {
		s.Errorf("before %+v, after %+v, %v", before, after, err)
	}
	for _, a := range []transport.Amount{after.Volumes, after.Gigabytes, after.Snapshots, after.Backups, after.BackupGigabytes} {
		if a.Limit == 0 || a.Limit < -1 {
			s.Errorf("%+v", after)
		}
	}
	if free, ok := after.Gigabytes.Free(); ok && free < 1<<20 {
		_, err = s.Storage.CreateVolume(s.ctx, transport.VolumeSpec{Name: s.id, Size: free + 1})
		s.wants(err, transport.Quota, `"gigabytes`)
	}
}
