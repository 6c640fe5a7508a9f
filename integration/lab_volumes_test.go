//go:build integration

package integration

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"farshore/integration/lab"
)

// TestLabVolumes ships a chain of backups of a volume in use between two real Cinders: each
// point restores to exactly its own bytes, an increment costs what it holds, and a byte that
// was changed in a copied object is found by the proof and by the audit.
func TestLabVolumes(t *testing.T) {
	v := newVolumes(t, "    max_chain: {source: 30, destination: 30}\n")
	defer v.one.Attach(t, v.volume)()
	v.write(false, 0, 1, 2, 3, 100, 101, 333, 512, 900, 1023)
	type point struct{ id, sum string }
	var points []point
	var kept []string
	for i := range scaled(2, 5) {
		switch {
		case i > 0 && i%2 == 1: // rewritten, and zeroed: a restore must not bring the old bytes back (C14)
			v.write(false, 2, int64(200+i))
			v.write(true, 100, 512)
		case i > 0:
			v.write(false, 100, 333)
			v.write(true, 1, int64(200+i-1))
		}
		snapshot := v.one.Create(t, lab.Snapshots, map[string]any{"volume_id": v.volume, "name": fmt.Sprint("by others ", i), "force": true})
		sum := v.sum("one", v.volume)
		v.write(false, 700) // after the snapshot
		mark := logMark(v.t, v.lab)
		a := v.ask(0, "sync")
		p := a.Result.Policies[0]
		if len(p.Points) != 1 || p.Points[0].Incremental != (i > 0) || p.Points[0].Regions[0].State != "landed" || p.Points[0].Chain != i+1 {
			t.Fatalf("pass %d: %+v %+v", i, p.Points, p.Findings)
		}
		x := p.Points[0]
		points = append(points, point{x.Point, sum})
		kept = append(kept, x.Point, snapshot)
		sent, most := v.put(mark), int64(1.02*float64(x.Bytes))+64<<10
		t.Logf("point %d: %d bytes of backup, %d sent (at most %d); backup %s to %s, its objects %s to %s; copied %s to %s, listed %s, imported %s", i, x.Bytes, sent, most,
			clock(x.Backup_began), clock(x.Backup_ended), clock(x.First_object), clock(x.Last_object), clock(x.Regions[0].First_object), clock(x.Regions[0].Last_object), clock(x.Regions[0].Listed), clock(x.Regions[0].Imported))
		if sent > most || sent < x.Bytes {
			t.Errorf("pass %d sent %d bytes between the regions, want %d to %d", i, sent, x.Bytes, most)
		}
		if !x.Regions[0].First_object.Before(x.Backup_ended) || i == 0 && !x.Regions[0].First_object.Before(x.Last_object) {
			t.Error("nothing was copied while the backup was being written")
		}
	}
	mark := logMark(v.t, v.lab)
	if a := v.ask(0, "sync"); len(a.Result.Policies[0].Points) != 0 || v.put(mark) != 0 {
		t.Errorf("nothing is due, and a pass sent %d bytes: %+v", v.put(mark), a.Result.Policies[0].Points)
	}
	for i, p := range points {
		var proof []string
		if i == len(points)-1 {
			proof = []string{"--proof", "blocks"}
		}
		sum, r := v.restored(p.id, append(proof, "--name", fmt.Sprint("restored ", i))...)
		t.Logf("point %d restored in %.1f s", i, r.Rto_seconds)
		if sum != p.sum {
			t.Errorf("point %d: SHA-256 %s restored, %s backed up", i, sum, p.sum)
		}
		if proof != nil && (r.Proof == nil || !r.Proof.OK || r.Proof.Blocks != 32768) {
			t.Errorf("proof of point %d: %+v", i, r.Proof)
		}
	}

	// one byte of a raw object of an increment: Cinder restores it without a word (L7)
	last := points[len(points)-1].id
	name := ""
	for _, e := range v.swift.List(t, "volumebackups", url.Values{"prefix": {"volume_" + v.volume + "/"}}) {
		if strings.Contains(e.Name, last) && e.Bytes == 1<<20 && name == "" {
			name = e.Name
		}
	}
	if name == "" {
		t.Fatal("no raw MiB among the increment's objects")
	}
	lost := v.ledger + ".lost"
	if err := os.Rename(v.ledger, lost); err != nil {
		t.Fatal(err)
	}
	v.ask(0, "ledger", "rebuild", "vols")
	if a := v.ask(0, "audit", "--read", "100%"); len(a.Result.Policies[0].Findings) != 0 {
		t.Errorf("the audit by a ledger that was made of what the regions hold: %+v", a.Result.Policies[0].Findings)
	}
	body := v.swift.Get(t, "volumebackups", name).Body
	rotten := bytes.Clone(body)
	rotten[300_000] ^= 1
	v.swift.Put(t, "volumebackups", name, rotten, nil)
	if a := v.ask(3, "audit", "--read", "100%"); a.Result.Policies[0].Finding_counts["damaged-replica"] == 0 {
		t.Errorf("the same audit of a damaged copy: %+v", a.Result.Policies[0].Findings)
	}
	if err := os.Rename(lost, v.ledger); err != nil {
		t.Fatal(err)
	}
	ledger := v.ledger
	v.ledger += ".fresh" // which knows no ETag: only the restored bytes can tell
	a := v.ask(3, "restore", last, "--to", "two", "--proof", "blocks", "--name", "rotten")
	if r := a.Result.Restore; r == nil || r.Proof == nil || r.Proof.OK || r.Proof.Differing_blocks != 1 || len(r.Proof.First_differing) != 1 || r.Proof.First_differing[0].Length != 32768 ||
		r.Proof.First_differing[0].Offset%(1<<20) != 300_000/32768*32768 {
		t.Errorf("the proof of a damaged copy: %+v", a.Result.Restore)
	}
	v.two.Remove(t, lab.Volumes, a.Result.Restore.Volume)
	v.ledger = ledger
	a = v.ask(3, "audit", "--read", "100%")
	if a.Result.Policies[0].Finding_counts["damaged-replica"] == 0 {
		t.Errorf("the audit of a damaged copy: %+v", a.Result.Policies[0].Findings)
	}
	v.ask(0, "audit", "--read", "100%", "--repair")
	if got := v.swift.Get(t, "volumebackups", name).Body; !bytes.Equal(got, body) {
		t.Error("the repair did not bring the bytes back")
	}
	v.checkLedger()
	v.nothingLeft(kept...)
}

// TestLabDrillWithoutSourceOrLedger rehearses the disaster: the source region is gone, the
// ledger is lost, and what the destination holds is enough to restore and to prove.
func TestLabDrillWithoutSourceOrLedger(t *testing.T) {
	long(t)
	v := newVolumes(t, "    snapshot: {every: 1h}\n")
	v.write(false, 0, 5, 1023)
	v.ask(0, "sync")
	v.write(false, 6)
	a := v.ask(0, "sync", "--snapshot-now")
	point := a.Result.Policies[0].Points[0]
	if !point.Incremental {
		t.Fatalf("%+v", point)
	}
	for _, file := range []string{v.ledger, v.ledger + ".sock"} {
		if err := os.RemoveAll(file); err != nil {
			t.Fatal(err)
		}
	}
	v.lab.StopRegion(t, "one")
	out := t.TempDir()
	a = v.ask(0, "drill", "--point", point.Point, "--region", "two", "--out", out)
	d := a.Result.Drill
	if d == nil || !d.OK || len(d.Volumes) != 1 || d.Rto_seconds <= 0 || d.Volumes[0].Restore.Proof == nil || !d.Volumes[0].Restore.Proof.OK || d.Volumes[0].Restore.Known != "destination" {
		t.Fatalf("the drill: %+v", d)
	}
	t.Logf("RTO %.1f s", d.Rto_seconds)
	page := false
	files, err := os.ReadDir(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(out, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f.Name(), ".html") {
			page = strings.Contains(string(text), point.Point) && !strings.Contains(string(text), "src=\"http") && !strings.Contains(string(text), "href=\"http")
		}
	}
	if !page {
		t.Error("no page about the point that stands alone")
	}
	v.lab.StartRegion(t, "one")
	v.nothingLeft(v.backups(v.two)...)
}
