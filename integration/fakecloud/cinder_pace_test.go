package fakecloud

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestBackupTakesTime looks at a backup while it is written: its objects come
// one by one, the volume may change, and only the snapshot is busy.
func TestBackupTakesTime(t *testing.T) {
	g := newBlockRig(t, nil)
	v := g.one.volume(1)
	v.WriteAt(noise(1, 1<<20), 0)
	s := g.one.snap(v)
	like := g.one.r.Volume(g.one.must(202, "POST", "/volumes", jmap{"volume": jmap{"snapshot_id": s}}).str("volume", "id"))
	g.one.r.SetBlockPace(BlockPace{Step: time.Second, Window: time.Minute})
	b := g.one.must(202, "POST", "/backups", jmap{"backup": jmap{"volume_id": v.ID(), "snapshot_id": s}}).str("backup", "id")
	if got := g.one.get("snapshots", s).str("status"); got != stBackingUp {
		t.Errorf("snapshot is %s", got)
	}
	v.WriteAt(noise(2, 1<<20), 0) // does not reach the backup
	g.clock.add(time.Second + 5*time.Minute)
	if n := len(g.one.r.Names("volumebackups")); n != 5 {
		t.Errorf("%d objects after five minutes", n)
	}
	if m := g.one.get("backups", b); m.str("status") != stCreating || g.one.get("volumes", v.ID()).str("status") != stAvailable {
		t.Errorf("meanwhile: %v", m)
	}
	g.one.refused(400, "Backup status must be available", "POST", "/backups/"+b+"/restore", jmap{"restore": jmap{}})
	g.one.refused(400, "Backup status must be available or error", "DELETE", "/backups/"+b, nil)
	g.clock.add(time.Hour / 4)
	if m := g.one.get("backups", b); m.str("status") != stAvailable || g.one.get("snapshots", s).str("status") != stAvailable {
		t.Errorf("at the end: %v", m)
	}
	target := g.one.r.AddVolume("t", 1, "", nil)
	g.one.must(202, "POST", "/backups/"+b+"/restore", jmap{"restore": jmap{"volume_id": target.ID()}})
	if st := target.Status(); st != stRestoringB {
		t.Errorf("target is %s", st)
	}
	g.clock.add(30 * time.Minute)
	if st := target.Status(); st != stAvailable {
		t.Errorf("target is %s", st)
	}
	g.same(like, target)
}

// TestBackupOutlivesToken is C18: the token it was begun with has to last.
func TestBackupOutlivesToken(t *testing.T) {
	g := newBlockRig(t, nil)
	v := g.one.volume(1)
	s := g.one.snap(v)
	g.one.r.SetBlockPace(BlockPace{Window: 10 * time.Minute})
	b := g.one.must(202, "POST", "/backups", jmap{"backup": jmap{"volume_id": v.ID(), "snapshot_id": s}}).str("backup", "id")
	g.clock.add(3 * time.Hour)
	g.one.token = g.one.r.Token(User, Project)
	m := g.one.get("backups", b)
	if m.str("status") != stError || !strings.Contains(m.str("fail_reason"), "Object PUT failed") || !strings.Contains(m.str("fail_reason"), "401") {
		t.Errorf("backup: %v", m)
	}
	if st := g.one.get("snapshots", s).str("status"); st != stAvailable {
		t.Errorf("snapshot is %s", st)
	}
	g.one.must(202, "DELETE", "/backups/"+b, nil)
	if n := g.one.r.Names("volumebackups"); len(n) != 0 {
		t.Errorf("left: %q", n)
	}
}

func TestBlockFaults(t *testing.T) {
	g := newBlockRig(t, nil)
	v := g.one.volume(1)
	s := g.one.snap(v)
	begin := jmap{"backup": jmap{"name": "b", "volume_id": v.ID(), "snapshot_id": s}}
	admin := g.one.as(AdminUser, Project)

	// Ends in error half way.
	g.one.r.AddBlockFault(BlockFault{Name: "driver", Kind: JobBackup, Step: 4, Times: 1, Fail: "no space left"})
	b := g.one.must(202, "POST", "/backups", begin).str("backup", "id")
	if m := g.one.get("backups", b); m.str("status") != stError || m.str("fail_reason") != "no space left" || len(g.one.r.Names("volumebackups")) != 3 {
		t.Errorf("failed: %v", m)
	}
	g.one.must(202, "DELETE", "/backups/"+b, nil)

	// Stuck, until an admin forces it away.
	g.one.r.AddBlockFault(BlockFault{Name: "stuck", Kind: JobBackup, Step: 2, Times: 1})
	b = g.one.must(202, "POST", "/backups", begin).str("backup", "id")
	g.clock.add(24 * time.Hour)
	g.one.token, admin.token = g.one.r.Token(User, Project), admin.r.Token(AdminUser, Project)
	if st := g.one.get("backups", b).str("status"); st != stCreating || g.one.get("snapshots", s).str("status") != stBackingUp {
		t.Errorf("stuck backup is %s", st)
	}
	g.one.refused(400, "Snapshot status must be available or error", "DELETE", "/snapshots/"+s, nil)
	admin.must(202, "POST", "/backups/"+b+"/action", jmap{"os-force_delete": jmap{}})
	if code, _ := g.one.do("GET", "/backups/"+b, nil); code != 404 || len(g.one.r.Names("volumebackups")) != 0 {
		t.Errorf("after the force delete: %d", code)
	}
	g.one.r.ReleaseBlock() // the driver sees that it is gone
	if st := g.one.get("snapshots", s).str("status"); st != stAvailable {
		t.Errorf("snapshot is %s", st)
	}

	// Carried out, but the reply never comes.
	g.one.r.AddFault(Fault{Name: "lost", Match: Match{Class: ClassBackup, Method: "POST", Times: 1}, Do: LoseReply()})
	if code, _ := g.one.do("POST", "/backups", begin); code != 0 {
		t.Errorf("the reply came: %d", code)
	}
	list := g.one.must(200, "GET", "/backups/detail?name=b", nil).at("backups").([]any)
	if len(list) != 1 || list[0].(map[string]any)["status"] != stAvailable {
		t.Errorf("after a lost reply: %v", list)
	}

	// Refusals in Cinder's form.
	for _, code := range []int{403, 413, 500, 503} {
		g.one.r.AddFault(Fault{Name: "refuse", Match: Match{Class: ClassVolume, Method: "POST", Times: 1}, Do: Status(code, nil)})
		g.one.refused(code, "", "POST", "/volumes", jmap{"volume": jmap{"size": 1}})
	}
	if err := g.one.r.VerifyFaultsUsed(); err != nil {
		t.Error(err)
	}
	g.one.r.AddBlockFault(BlockFault{Name: "never", Kind: JobRestore})
	if err := g.one.r.VerifyFaultsUsed(); err == nil || !strings.Contains(err.Error(), `"never"`) {
		t.Errorf("an unused fault: %v", err)
	}
	g.one.r.ClearBlockFaults()

	// A hook sees a backup half way, and so do requests that it makes.
	var seen []string
	g.one.r.OnBlockStep(func(st BlockStep) {
		if st.Kind == JobBackup && st.Step == 3 {
			seen = g.one.r.Names("volumebackups")
		}
	})
	before := len(g.one.r.Names("volumebackups"))
	g.one.must(202, "POST", "/backups", begin)
	g.one.r.OnBlockStep(nil)
	if len(seen) != before+3 {
		t.Errorf("the hook saw %d objects, %d were there before", len(seen), before)
	}

	// A restart of the services ends what is under way.
	g.one.r.SetBlockPace(BlockPace{Window: time.Hour})
	b = g.one.must(202, "POST", "/backups", begin).str("backup", "id")
	g.one.r.SetBlockPace(BlockPace{Step: time.Hour})
	gone := g.one.must(202, "POST", "/volumes", jmap{"volume": jmap{"size": 1}}).str("volume", "id")
	g.one.r.RestartBlock()
	if x, y := g.one.get("backups", b).str("status"), g.one.get("volumes", gone).str("status"); x != stError || y != stError {
		t.Errorf("after the restart: backup %s, volume %s", x, y)
	}
	if st := g.one.get("snapshots", s).str("status"); st != stBackingUp {
		t.Errorf("after the restart the snapshot is %s", st)
	}
	admin.must(202, "POST", "/snapshots/"+s+"/action", jmap{"os-reset_status": jmap{"status": "available"}})
	g.one.must(202, "DELETE", "/snapshots/"+s, nil)
}

func TestPlacements(t *testing.T) {
	for _, p := range []BlockPlacement{SingleUser, Elsewhere} {
		g := newBlockRig(t, func(o *BlockOptions) { o.Placement = p })
		v := g.one.volume(1)
		v.WriteAt(noise(1, 100_000), 4096)
		b := g.one.backup(v, g.one.snap(v), false)
		if names := g.one.r.ContainerNames(); len(names) != 0 {
			t.Errorf("%s: containers in the project's account: %q", p, names)
		}
		v.WriteAt(noise(2, 100_000), 0)
		target := g.one.volume(1)
		g.one.restore(b, target)
		if ok, at := v.Equal(target); ok || at != 0 {
			t.Errorf("%s: restored %v, %d", p, ok, at)
		}
		rec := g.one.as(AdminUser, Project).must(200, "GET", "/backups/"+b+"/export_record", nil)
		if nfs := strings.Contains(rec.str("backup-record", "backup_service"), "nfs"); nfs != (p == Elsewhere) {
			t.Errorf("%s: %v", p, rec)
		}
		g.one.must(202, "DELETE", "/backups/"+b, nil)
	}
}

func TestBlockCounters(t *testing.T) {
	g := newBlockRig(t, nil)
	g.one.r.ResetCounters()
	g.one.r.LogRequests(true)
	v := g.one.volume(1)
	b := g.one.backup(v, g.one.snap(v), false)
	g.one.restore(b, v)
	c := g.one.r.Counters()
	for _, k := range []Kind{{ClassVolume, http.MethodPost}, {ClassSnapshot, http.MethodPost}, {ClassBackup, http.MethodPost},
		{ClassBackup, http.MethodGet}, {ClassRestore, http.MethodPost}} {
		if c[k].Requests != 1 {
			t.Errorf("%v: %+v", k, c[k])
		}
	}
	if n := c.Of(ClassObject, http.MethodPut).Requests; n != 0 {
		t.Errorf("the service's own writes counted as %d requests", n)
	}
	i := slices.IndexFunc(g.one.r.Requests(), func(e Entry) bool { return e.Class == ClassRestore })
	if i < 0 || g.one.r.Requests()[i].Object != b {
		t.Errorf("log: %+v", g.one.r.Requests())
	}
}

func TestBlockControl(t *testing.T) {
	g := newBlockRig(t, nil)
	v := g.one.r.AddVolume("v", 1, "", nil)
	control := func(code int, method, what string, body any) string {
		t.Helper()
		j, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequest(method, g.one.r.URL()+"/_fake/"+what, bytes.NewReader(j))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != code {
			t.Fatalf("%s %s: %d %s %v", method, what, resp.StatusCode, raw, err)
		}
		return string(raw)
	}
	sum := func() string {
		b := make([]byte, v.Size())
		v.ReadAt(b, 0)
		h := sha256.Sum256(b)
		return hex.EncodeToString(h[:])
	}
	empty := sum()
	control(200, "POST", "block-write", jmap{"id": v.ID(), "offset": 5000, "seed": 3, "size": 70_000})
	if written := sum(); written == empty || !strings.Contains(control(200, "POST", "block-sum", jmap{"id": v.ID()}), written) {
		t.Error("block-sum is not the SHA-256 of what was written")
	}
	control(200, "POST", "block-write", jmap{"id": v.ID(), "offset": 5000, "size": 70_000})
	if sum() != empty || len(v.v.disk.pages) != 0 {
		t.Errorf("zeros were written: %d pages", len(v.v.disk.pages))
	}
	control(400, "POST", "block-write", jmap{"id": v.ID(), "offset": 1 << 20, "size": 1})
	control(404, "POST", "block-sum", jmap{"id": "none"})
	control(200, "POST", "block-faults", jmap{"name": "f", "kind": JobCreateVolume, "fail": "no"})
	g.one.must(202, "POST", "/volumes", jmap{"volume": jmap{"size": 1, "name": "w"}})
	var list []BlockResource
	decode(t, []byte(control(200, "GET", "block", nil)), &list)
	if len(list) != 2 || list[1].Name != "w" || list[1].Status != "error" || list[0].Status != "available" {
		t.Errorf("block: %+v", list)
	}
}

// TestBlockConcurrency runs eight volumes through backup and restore at once.
func TestBlockConcurrency(t *testing.T) {
	g := newBlockRig(t, func(o *BlockOptions) { o.Quota = map[string]int{"volumes": 50, "snapshots": 50, "backups": 50} })
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			v := g.one.r.AddVolume(fmt.Sprint("v", i), 1, "", nil)
			v.WriteAt(noise(uint64(i), 100_000), int64(i)*1000)
			code, m := g.one.do("POST", "/snapshots", jmap{"snapshot": jmap{"volume_id": v.ID()}})
			bcode, b := g.one.do("POST", "/backups", jmap{"backup": jmap{"volume_id": v.ID(), "snapshot_id": m.str("snapshot", "id")}})
			to := g.one.r.AddVolume(fmt.Sprint("t", i), 1, "", nil)
			rcode, _ := g.one.do("POST", "/backups/"+b.str("backup", "id")+"/restore", jmap{"restore": jmap{"volume_id": to.ID()}})
			if code != 202 || bcode != 202 || rcode != 202 {
				t.Errorf("volume %d: %d, %d, %d", i, code, bcode, rcode)
				return
			}
			if ok, at := v.Equal(to); !ok || to.Status() != stAvailable {
				t.Errorf("volume %d: %s, differs at %d", i, to.Status(), at)
			}
		})
	}
	wg.Wait()
}
