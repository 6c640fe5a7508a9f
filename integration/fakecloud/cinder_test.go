package fakecloud

import (
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// TestChainAcrossRegions restores each of a full backup and three increments,
// in which ranges were rewritten and zeroed, in the other region.
func TestChainAcrossRegions(t *testing.T) {
	g := newBlockRig(t, nil)
	v := g.one.volume(2)
	var points []string
	var kept []*BlockVolume
	edits := []func(){
		func() { v.WriteAt(noise(1, 300_000), 0); v.WriteAt(noise(2, 5000), 1_500_000) },
		func() { v.WriteAt(noise(3, 4096*3), 4096*20); v.WriteAt(make([]byte, 100_000), 50_000) },
		func() { v.WriteAt(noise(4, 10), 2<<20-10) },
		func() {},
	}
	for i, edit := range edits {
		edit()
		g.clock.add(time.Minute)
		s := g.one.snap(v)
		like := g.one.must(202, "POST", "/volumes", jmap{"volume": jmap{"snapshot_id": s}})
		kept = append(kept, g.one.r.Volume(like.str("volume", "id")))
		g.same(v, kept[i])
		points = append(points, g.one.backup(v, s, i > 0))
	}
	for i, p := range points {
		g.one.carry(g.two, p)
		if got, want := g.two.get("backups", p).at("is_incremental"), i > 0; got != want {
			t.Errorf("point %d: is_incremental %v", i, got)
		}
	}
	for i, p := range points {
		target := g.two.volume(2)
		target.WriteAt(noise(9, 2<<20), 0) // everything has to be written over
		g.two.restore(p, target)
		g.same(kept[i], target)
	}
	// Without a volume of one's own, ranges zeroed since the full keep their old bytes (C14).
	m := g.two.must(202, "POST", "/backups/"+points[1]+"/restore", jmap{"restore": jmap{}})
	made := g.two.r.Volume(m.str("restore", "volume_id"))
	if ok, _ := kept[1].Equal(made); ok && !g.two.r.block.opts.DenseRestore {
		t.Log("note: the zeroed range was not a whole MiB of an object")
	}
	// The increment without changes has no objects.
	if n := g.one.get("backups", points[3]).at("object_count"); n != 0.0 {
		t.Errorf("object_count of an unchanged increment: %v", n)
	}
}

// TestBackupFormat reads what a backup wrote by the facts alone (C3–C8).
func TestBackupFormat(t *testing.T) {
	g := newBlockRig(t, nil)
	v := g.one.volume(1)
	data := noise(5, 100_000)
	v.WriteAt(data, 0)
	g.one.must(200, "POST", "/volumes/"+v.ID()+"/metadata", jmap{"metadata": jmap{"dr": "gold"}})
	full := g.one.backup(v, g.one.snap(v), false)
	prefix := g.one.prefix(full)
	want := fmt.Sprintf("volume_%s/20260102030405/az_nova_backup_%s", v.ID(), full)
	if prefix != want {
		t.Fatalf("prefix %s, want %s", prefix, want)
	}
	names := g.one.r.Names("volumebackups")
	if len(names) != 18 || names[0] != prefix+"-00001" || names[15] != prefix+"-00016" || names[16] != prefix+"_metadata" ||
		names[17] != prefix+"_sha256file" {
		t.Fatalf("names: %q", names)
	}
	meta, _ := g.one.r.Get("volumebackups", prefix+"_metadata")
	if !bytes.HasPrefix(meta.Bytes(), []byte("{\n  \"backup_description\": null,\n  \"backup_id\": \""+full+"\",\n")) {
		t.Errorf("_metadata begins %.100q", meta.Bytes())
	}
	var m struct {
		Objects []map[string]struct {
			Offset, Length   int64
			Compression, MD5 string
		}
		VolumeMeta string  `json:"volume_meta"`
		CreatedAt  string  `json:"created_at"`
		ParentID   *string `json:"parent_id"`
	}
	decode(t, meta.Bytes(), &m)
	var all []byte
	for i, o := range m.Objects {
		for n, e := range o {
			obj, _ := g.one.r.Get("volumebackups", n)
			b := obj.Bytes()
			if e.Compression == "zlib" {
				z, err := zlib.NewReader(bytes.NewReader(b))
				if err != nil {
					t.Fatal(err)
				}
				if b, err = io.ReadAll(z); err != nil {
					t.Fatal(err)
				}
			}
			if int64(len(b)) != e.Length || md5Hex(b) != e.MD5 || e.Offset != int64(len(all)) {
				t.Errorf("object %d: %+v, %d bytes", i, e, len(b))
			}
			if wantc := map[bool]string{true: "none", false: "zlib"}[i == 0]; e.Compression != wantc {
				t.Errorf("object %d is %s", i, e.Compression)
			}
			all = append(all, b...)
		}
	}
	if !bytes.Equal(all[:len(data)], data) || len(all) != 1<<20 || m.ParentID != nil || m.CreatedAt != "2026-01-02 03:04:05+00:00" {
		t.Errorf("content or header is wrong: %d bytes, parent %v, created %q", len(all), m.ParentID, m.CreatedAt)
	}
	var vm struct {
		Version int
		Base    map[string]any    `json:"volume-base-metadata"`
		User    map[string]string `json:"volume-metadata"`
	}
	decode(t, []byte(m.VolumeMeta), &vm)
	if vm.Version != 2 || vm.Base["size"] != 1.0 || vm.Base["volume_type_id"] == "" || vm.User["dr"] != "gold" {
		t.Errorf("volume_meta: %s", m.VolumeMeta)
	}
	sums, _ := g.one.r.Get("volumebackups", prefix+"_sha256file")
	var f struct {
		ChunkSize int      `json:"chunk_size"`
		Sums      []string `json:"sha256s"`
	}
	decode(t, sums.Bytes(), &f)
	for i, s := range f.Sums {
		h := sha256.Sum256(all[i*4096 : (i+1)*4096])
		if s != hex.EncodeToString(h[:]) {
			t.Fatalf("block %d: %s", i, s)
		}
	}
	if f.ChunkSize != 4096 || len(f.Sums) != 256 {
		t.Errorf("chunk_size %d, %d sums", f.ChunkSize, len(f.Sums))
	}
}

// TestIncrementRuns checks that an increment holds the runs of changed blocks of
// each window, no less and no more (C10).
func TestIncrementRuns(t *testing.T) {
	g := newBlockRig(t, nil)
	v := g.one.volume(1)
	v.WriteAt(noise(1, 1<<20), 0)
	g.one.backup(v, g.one.snap(v), false)
	g.clock.add(time.Second)
	v.WriteAt([]byte{1, 2, 3}, 4096*3+5)   // one block
	v.WriteAt(noise(2, 4096*3), 4096*15)   // across a window's end at block 16
	v.WriteAt([]byte{9}, 1<<20-1)          // the last
	v.WriteAt(make([]byte, 4096), 4096*32) // a block becomes zeros
	inc := g.one.backup(v, g.one.snap(v), true)
	meta, _ := g.one.r.Get("volumebackups", g.one.prefix(inc)+"_metadata")
	var m struct {
		Objects []map[string]struct{ Offset, Length int64 }
	}
	decode(t, meta.Bytes(), &m)
	var got []string
	for _, o := range m.Objects {
		for n, e := range o {
			got = append(got, fmt.Sprintf("%s %d+%d", n[len(n)-6:], e.Offset/4096, e.Length/4096))
		}
	}
	if s := strings.Join(got, ", "); s != "-00001 3+1, -00002 15+1, -00003 16+2, -00004 32+1, -00005 255+1" {
		t.Errorf("runs: %s", s)
	}
}

// TestParentChoice is C11: the newest data older than the snapshot, whatever the caller wants.
func TestParentChoice(t *testing.T) {
	g := newBlockRig(t, nil)
	v := g.one.volume(1)
	first := g.one.snap(v)
	g.one.refused(400, "No backups available to do an incremental backup", "POST", "/backups",
		jmap{"backup": jmap{"volume_id": v.ID(), "snapshot_id": first, "incremental": true}})
	full := g.one.backup(v, first, false)
	g.clock.add(time.Minute)
	second := g.one.snap(v)
	g.clock.add(time.Minute)
	third := g.one.snap(v)
	newest := g.one.backup(v, third, true)
	older := g.one.backup(v, second, true)
	parents := map[string]string{}
	for _, b := range g.one.r.BlockResources() {
		parents[b.ID] = b.Parent
	}
	if parents[newest] != full || parents[older] != full {
		t.Errorf("parents: %v; full %s newest %s older %s", parents, full, newest, older)
	}
	g.one.refused(400, "Incremental backups exist for this backup", "DELETE", "/backups/"+full, nil)
	if g.one.get("backups", full).at("has_dependent_backups") != true {
		t.Error("the parent shows no dependents")
	}
	g.clock.add(time.Minute)
	g.one.r.SetBlockStatus(newest, "error")
	g.one.refused(400, "The parent backup must be available", "POST", "/backups",
		jmap{"backup": jmap{"volume_id": v.ID(), "snapshot_id": g.one.snap(v), "incremental": true}})
	g.one.must(202, "DELETE", "/backups/"+newest, nil)
	g.one.must(202, "DELETE", "/backups/"+older, nil)
	g.one.must(202, "DELETE", "/backups/"+full, nil)
	if names := g.one.r.Names("volumebackups"); len(names) != 0 {
		t.Errorf("left in Swift: %q", names)
	}
	// A grown volume wants a full backup.
	g.one.backup(v, first, false)
	g.one.must(202, "POST", "/volumes/"+v.ID()+"/action", jmap{"os-extend": jmap{"new_size": 2}})
	g.clock.add(time.Minute)
	id := g.one.must(202, "POST", "/backups", jmap{"backup": jmap{"volume_id": v.ID(), "snapshot_id": g.one.snap(v), "incremental": true}}).str("backup", "id")
	if m := g.one.get("backups", id); m.str("status") != "error" || !strings.Contains(m.str("fail_reason"), "Volume size increased") {
		t.Errorf("increment of a grown volume: %v", m)
	}
	// So does another block size of the operator's.
	g.one.must(202, "DELETE", "/backups/"+id, nil)
	g.one.backup(v, g.one.snap(v), false)
	g.clock.add(time.Minute)
	s := g.one.snap(v)
	g.one.r.block.opts.BlockSize = 8192
	id = g.one.must(202, "POST", "/backups", jmap{"backup": jmap{"volume_id": v.ID(), "snapshot_id": s, "incremental": true}}).str("backup", "id")
	if m := g.one.get("backups", id); m.str("status") != "error" || !strings.Contains(m.str("fail_reason"), "Hash block size has changed") {
		t.Errorf("increment with another block size: %v", m)
	}
}
