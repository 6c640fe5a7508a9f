//go:build integration

package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"farshore/integration/lab"
)

// volumes is a volume of the lab's region one that a policy ships to region two.
type volumes struct {
	*farshore
	lab      *lab.Lab
	one, two *lab.Block
	swift    *lab.Client // region two's
	volume   string
	policy   string
	rng      *rand.Rand
	others   []string // what stood there before, as left says it
}

func newVolumes(t *testing.T, keys string) *volumes {
	l := lab.RequireCinder(t)
	v := &volumes{farshore: newFarshore(t, l.CloudsFile()), lab: l, one: l.Block(t, "one", lab.Tenant), two: l.Block(t, "two", lab.Tenant),
		swift: l.Client(t, "lab-two"), rng: rand.New(rand.NewPCG(11, 12))}
	v.volume = v.one.Create(t, lab.Volumes, map[string]any{"size": 1, "name": "shipped ✓", "volume_type": lab.GoldType("one"), "metadata": map[string]string{"dr": "gold"}})
	v.says(keys)
	t.Cleanup(v.clear)
	v.others = v.left()
	return v
}

// says writes the policy anew, with more keys, and other policies after it.
func (v *volumes) says(keys string, more ...string) {
	v.t.Helper()
	v.policy = v.policyFile(fmt.Sprintf(`
regions:
  one: {cloud: lab-one}
  two: {cloud: lab-two, import_cloud: lab-two-admin}
policies:
  - name: vols
    from: one
    to: [two]
    volumes: {ids: [%s]}
    volume_types: {%s: %s}
%s%s`, v.volume, lab.GoldType("one"), lab.GoldType("two"), keys, strings.Join(more, "")))
}

// clear removes the volume's backups at both sides and what is kept of its points. Increments go first.
func (v *volumes) clear() {
	for _, b := range []*lab.Block{v.two, v.one} {
		for range 40 { // a chain is as long at most
			ids := v.backups(b)
			if len(ids) == 0 {
				break
			}
			b.Remove(v.t, lab.Backups, ids[len(ids)-1])
		}
	}
	for _, e := range v.swift.List(v.t, ".farshore-points", url.Values{"prefix": {v.volume}}) {
		v.swift.Call(v.t, "DELETE", lab.Path(".farshore-points", e.Name), nil, nil)
	}
}

// backups are the ids of the volume's backups in a region, the oldest first.
func (v *volumes) backups(b *lab.Block) []string {
	v.t.Helper()
	type row struct {
		ID     string
		Volume string `json:"volume_id"`
		Data   string `json:"data_timestamp"`
	}
	var doc struct{ Backups []row }
	if err := json.Unmarshal(b.Do(v.t, "GET", "/backups/detail", nil).Want(v.t, 200).Body, &doc); err != nil {
		v.t.Fatal(err)
	}
	slices.SortFunc(doc.Backups, func(a, b row) int { return strings.Compare(a.Data, b.Data) })
	var out []string
	for _, x := range doc.Backups {
		if x.Volume == v.volume {
			out = append(out, x.ID)
		}
	}
	return out
}

// left are the names of scratch volumes, backups and containers, of snapshots of Farshore's, and of what is
// in the middle of something, in both regions, but for what stood there before.
func (v *volumes) left() (names []string) {
	v.t.Helper()
	for _, b := range []*lab.Block{v.one, v.two} {
		for _, kind := range []string{lab.Volumes, lab.Snapshots, lab.Backups} {
			var doc map[string][]struct{ Name, Status string }
			if err := json.Unmarshal(b.Do(v.t, "GET", "/"+kind+"/detail", nil).Want(v.t, 200).Body, &doc); err != nil {
				v.t.Fatal(err)
			}
			for _, x := range doc[kind] {
				if strings.HasPrefix(x.Name, "farshore-scratch-") || kind == lab.Snapshots && strings.HasPrefix(x.Name, "farshore-") || strings.HasSuffix(x.Status, "ing") {
					names = append(names, b.Alias+" "+kind+" "+x.Name+" "+x.Status)
				}
			}
		}
	}
	for _, e := range strings.Fields(string(v.swift.Call(v.t, "GET", "?prefix=.farshore-scratch-", nil, nil).Body)) {
		names = append(names, "container "+e)
	}
	return slices.DeleteFunc(names, func(n string) bool { return slices.Contains(v.others, n) })
}

// write changes the volume's bytes at MiBs: random, or zero.
func (v *volumes) write(zero bool, at ...int64) {
	v.t.Helper()
	f, err := os.OpenFile(v.lab.VolumeFile(v.t, "one", v.volume), os.O_WRONLY, 0)
	if err != nil {
		v.t.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, 1<<20)
	for _, off := range at {
		for i := 0; !zero && i < len(buf); i += 8 {
			x := v.rng.Uint64()
			for k := range 8 {
				buf[i+k] = byte(x >> (8 * k))
			}
		}
		if _, err := f.WriteAt(buf, off<<20); err != nil {
			v.t.Fatal(err)
		}
	}
}

// sum is the SHA-256 of a volume's bytes.
func (v *volumes) sum(alias, volume string) string { return v.lab.VolumeSHA256(v.t, alias, volume, 1) }

// put counts the bytes that region two's proxy took since a mark of its log, apart from what region two's
// own Cinder sent it.
func (v *volumes) put(since int64) (n int64) {
	v.t.Helper()
	n, _ = v.moved("two", "PUT", since)
	return n
}

// moved counts the bytes that a region's proxy took from farshore and gave it, by one method, since a mark of its log.
func (v *volumes) moved(alias, method string, since int64) (in, out int64) {
	v.t.Helper()
	text, err := os.ReadFile(swiftLog(v.lab, alias))
	if err != nil {
		v.t.Fatal(err)
	}
	for line := range strings.Lines(string(text[since:])) {
		f := strings.Fields(line)
		if len(f) > 12 && f[4] == method && strings.HasPrefix(f[9], "farshore/") {
			got, _ := strconv.ParseInt(f[11], 10, 64) // "-" is none
			gave, _ := strconv.ParseInt(f[12], 10, 64)
			in, out = in+got, out+gave
		}
	}
	return in, out
}

// volumeAnswer is what the suites read of the commands about volumes (docs/json.md).
type volumeAnswer struct {
	Exit   int
	Error  *struct{ Op, Region, Item, Cause, Hint string }
	Result struct {
		Policies []struct {
			Points []struct {
				Point, Parent string
				Incremental   bool
				Why_full      string
				Bytes         int64
				Chain         int
				Backup_began  time.Time
				Backup_ended  time.Time
				First_object  time.Time
				Last_object   time.Time
				Regions       []struct {
					Region, State, Note                         string
					Bytes_sent                                  int64
					First_object, Last_object, Listed, Imported time.Time
				}
			}
			Retention *struct {
				Deleted, Synthesized, Failed int
				Server_side_copied_bytes     int64
			}
			Findings       []struct{ Kind, Level, Region, Container, Name, Op, Cause, Hint string }
			Finding_counts map[string]int64
		}
		Restore   *restoreAnswer
		Migration *struct {
			State, Volume string
			Passes        []struct {
				Incremental, Final bool
				Bytes              int64
			}
			Bytes                 int64
			Downtime_seconds      float64
			Already_done, Retired bool
			Restore               *restoreAnswer
		}
		Drill *struct {
			OK          bool
			Rto_seconds float64
			Volumes     []struct {
				OK      bool
				Cause   string
				Restore restoreAnswer
			}
		}
	}
}

type restoreAnswer struct {
	Volume, Known string
	Rto_seconds   float64
	Proof         *struct {
		OK               bool
		Against          string
		Blocks           int64
		Differing_blocks int64
		First_differing  []struct{ Offset, Length int64 }
	}
}

// ask runs a command and wants it to end so.
func (v *volumes) ask(exit int, args ...string) volumeAnswer {
	v.t.Helper()
	o := v.run(append(args, "-f", v.policy)...)
	var a volumeAnswer
	if err := json.Unmarshal([]byte(o.Stdout), &a); err != nil || o.Exit != exit {
		v.t.Fatalf("farshore %q: exit %d, want %d (%v)\n%s\n%s", args, o.Exit, exit, err, o.Stdout, o.Stderr)
	}
	return a
}

// restored restores a point in region two, and gives what the volume's bytes are then; the volume goes again.
func (v *volumes) restored(point string, more ...string) (sum string, r restoreAnswer) {
	v.t.Helper()
	a := v.ask(0, append([]string{"restore", point, "--to", "two"}, more...)...)
	r = *a.Result.Restore
	sum = v.sum("two", r.Volume)
	v.two.Remove(v.t, lab.Volumes, r.Volume)
	return sum, r
}

// TestLabVolumes ships a chain of backups of a volume in use between two real Cinders: each
// point restores to exactly its own bytes, an increment costs what it holds, and a byte that
// was changed in a copied object is found by the proof and by the audit.
func TestLabVolumes(t *testing.T) {
	v := newVolumes(t, "    max_chain: {source: 30, destination: 30}\n")
	defer v.one.Attach(t, v.volume)()
	v.write(false, 0, 1, 2, 3, 100, 101, 333, 512, 900, 1023)
	type point struct{ id, sum string }
	var points []point
	for i := range scaled(2, 5) {
		switch {
		case i > 0 && i%2 == 1: // rewritten, and zeroed: a restore must not bring the old bytes back (C14)
			v.write(false, 2, int64(200+i))
			v.write(true, 100, 512)
		case i > 0:
			v.write(false, 100, 333)
			v.write(true, 1, int64(200+i-1))
		}
		v.one.Create(t, lab.Snapshots, map[string]any{"volume_id": v.volume, "name": fmt.Sprint("by others ", i), "force": true})
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
		sent, most := v.put(mark), int64(1.02*float64(x.Bytes))+64<<10
		t.Logf("point %d: %d bytes of backup, %d sent (at most %d); backup %s to %s, its objects %s to %s; copied %s to %s, listed %s, imported %s", i, x.Bytes, sent, most,
			clock(x.Backup_began), clock(x.Backup_ended), clock(x.First_object), clock(x.Last_object), clock(x.Regions[0].First_object), clock(x.Regions[0].Last_object), clock(x.Regions[0].Listed), clock(x.Regions[0].Imported))
		if sent > most || sent < x.Bytes {
			t.Errorf("pass %d sent %d bytes between the regions, want %d to %d", i, sent, x.Bytes, most)
		}
		if i == 0 && !x.Regions[0].First_object.Before(x.Backup_ended) {
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
	body := v.swift.Get(t, "volumebackups", name).Body
	rotten := bytes.Clone(body)
	rotten[300_000] ^= 1
	v.swift.Put(t, "volumebackups", name, rotten, nil)
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
	if left := v.left(); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

// long leaves to `make lab-full` what would take the quick run minutes.
func long(t *testing.T) {
	t.Helper()
	if !full() {
		t.Skip("make lab-full runs it")
	}
}

func clock(at time.Time) string { return at.UTC().Format("15:04:05.0") }

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
	if left := v.left(); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestLabMigration moves a volume that is written to during the first passes.
func TestLabMigration(t *testing.T) {
	long(t)
	v := newVolumes(t, "")
	v.write(false, 0, 1, 2, 500)
	detach := v.one.Attach(t, v.volume)
	migrate := func(more ...string) volumeAnswer {
		t.Helper()
		return v.ask(0, append([]string{"migrate", "volume", v.volume, "--from", "one", "--to", "two", "--type", lab.GoldType("two")}, more...)...)
	}
	a := migrate("--no-wait", "--passes", "1")
	if m := a.Result.Migration; len(m.Passes) != 1 || m.Passes[0].Final || m.State != "waiting" {
		t.Fatalf("passes while in use: %+v", m)
	}
	v.write(false, 1, 777)
	v.write(true, 500)
	detach()
	v.one.Wait(t, lab.Volumes, v.volume, "available")
	want := v.sum("one", v.volume)
	a = migrate()
	m := a.Result.Migration
	if m.State != "done" || len(m.Passes) != 2 || !m.Passes[1].Final || !m.Passes[1].Incremental || m.Downtime_seconds <= 0 || m.Restore == nil || m.Restore.Proof == nil || !m.Restore.Proof.OK {
		t.Fatalf("the final pass: %+v", m)
	}
	t.Logf("%d passes, %d bytes, downtime %.1f s", len(m.Passes), m.Bytes, m.Downtime_seconds)
	moved := m.Restore.Volume
	t.Cleanup(func() { v.two.Remove(t, lab.Volumes, moved) })
	if got := v.sum("two", moved); got != want {
		t.Errorf("SHA-256 %s there, %s here", got, want)
	}
	if got := v.two.Show(t, lab.Volumes, moved); got["name"] != "shipped ✓" || got["volume_type"] != lab.GoldType("two") || got["status"] != "available" {
		t.Errorf("the new volume: %v", got)
	}
	if got := v.one.Show(t, lab.Volumes, v.volume); got["status"] != "available" || v.sum("one", v.volume) != want {
		t.Errorf("the source: %v", got)
	}
	if a = migrate(); !a.Result.Migration.Already_done || a.Result.Migration.Restore.Volume != moved {
		t.Errorf("a second run: %+v", a.Result.Migration)
	}
	// Nothing of what was done since the final pass counts as a use of the volume.
	if a = migrate("--retire"); !a.Result.Migration.Retired {
		t.Errorf("retire: %+v", a.Result.Migration)
	}
	v.one.Do(t, "GET", "/volumes/"+v.volume, nil).Want(t, 404)
	if left := v.left(); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestLabVolumesKilled kills the command in the middle of whatever it does: run again, it
// ends right, and nothing is left behind.
func TestLabVolumesKilled(t *testing.T) {
	long(t)
	v := newVolumes(t, "    snapshot: {every: 1h}\n")
	v.write(false, 0, 5, 9)
	seed := uint64(time.Now().UnixNano())
	if one, err := strconv.ParseUint(os.Getenv("FARSHORE_SEED"), 10, 64); err == nil {
		seed = one
	}
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	kill := func(within time.Duration, args ...string) {
		t.Helper()
		after := time.Duration(rng.Int64N(int64(within)))
		t.Logf("%v killed after %v: %v", args, after, v.runAndKill(after, append(args, "-f", v.policy)...))
	}
	for range 6 {
		kill(20*time.Second, "sync")
	}
	v.ask(0, "sync")
	want := v.sum("one", v.volume)
	ids := v.backups(v.two)
	if here := v.backups(v.one); len(ids) != 1 || !slices.Equal(ids, here) {
		t.Fatalf("backups there %q, here %q", ids, here)
	}
	t.Cleanup(func() { // a restore that was not killed in time made one, too
		var doc struct{ Volumes []struct{ ID, Name string } }
		if err := json.Unmarshal(v.two.Do(t, "GET", "/volumes", nil).Want(t, 200).Body, &doc); err != nil {
			t.Fatal(err)
		}
		for _, x := range doc.Volumes {
			if x.Name == "after kills" {
				v.two.Remove(t, lab.Volumes, x.ID)
			}
		}
	})
	for range 6 {
		kill(40*time.Second, "restore", ids[0], "--to", "two", "--proof", "blocks", "--name", "after kills")
	}
	a := v.ask(0, "restore", ids[0], "--to", "two", "--proof", "blocks", "--name", "after kills")
	if got := v.sum("two", a.Result.Restore.Volume); got != want || !a.Result.Restore.Proof.OK {
		t.Errorf("SHA-256 %s restored, %s backed up; %+v", got, want, a.Result.Restore.Proof)
	}
	if left := v.left(); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
	v.checkLedger()
}
