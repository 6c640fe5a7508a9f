//go:build integration

package lab_test

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"farshore/integration/lab"
)

const mib = 1 << 20

// scribble writes random MiBs into a volume.
func scribble(t *testing.T, l *lab.Lab, alias, volume string, at ...int64) {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	src := rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, seed)))
	f, err := os.OpenFile(l.VolumeFile(t, alias, volume), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, mib)
	for _, off := range at {
		if _, err := src.Read(buf); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(buf, off*mib); err != nil {
			t.Fatal(err)
		}
	}
}

// backupObjects are the names of a backup's objects: its id is in all of them (C3).
func backupObjects(t *testing.T, c *lab.Client, container, backup string) []string {
	t.Helper()
	return slices.DeleteFunc(lab.Names(c.List(t, container, nil)), func(n string) bool { return !strings.Contains(n, backup) })
}

// A volume's bytes from one region to another by nothing but public APIs: snapshot, backup, copies of
// its objects, record, restore.
func TestAVolumeGoesFromRegionToRegion(t *testing.T) {
	l := lab.RequireCinder(t)
	one, two := l.Block(t, "one", lab.Tenant), l.Block(t, "two", lab.Tenant)
	swiftOne, swiftTwo := l.Client(t, "lab-one"), l.Client(t, "lab-two")
	container := lab.Scratch(t, swiftOne, swiftTwo)

	volume := one.Create(t, lab.Volumes, map[string]any{"size": 1, "name": "carried", "volume_type": lab.GoldType("one")})
	scribble(t, l, "one", volume, 0, 1, 333, 1023)
	want := l.VolumeSHA256(t, "one", volume, 1)
	defer one.Attach(t, volume)()
	snapshot := one.Create(t, lab.Snapshots, map[string]any{"volume_id": volume, "name": "carried"})
	scribble(t, l, "one", volume, 5) // after the snapshot, so in no backup of it
	backup := one.Create(t, lab.Backups, map[string]any{"volume_id": volume, "snapshot_id": snapshot, "container": container, "name": "carried"})
	if got := one.Show(t, lab.Backups, backup); got["object_count"] != 21.0 || got["container"] != container {
		t.Fatalf("backup: %v", got) // C4
	}
	objects := backupObjects(t, swiftOne, container, backup)
	if len(objects) != 23 {
		t.Fatalf("objects: %v", objects)
	}
	for _, name := range objects {
		if !strings.HasPrefix(name, "volume_"+volume+"/") || !strings.Contains(name, "/az_"+lab.Zone("one")+"_backup_"+backup) {
			t.Fatalf("object name %s", name) // C3
		}
		if !strings.HasSuffix(name, "_sha256file") { // L4
			swiftTwo.Put(t, container, name, swiftOne.Get(t, container, name).Body, nil)
		}
	}

	record := one.Do(t, http.MethodGet, "/backups/"+backup+"/export_record", nil)
	record.Want(t, 403) // I12
	record = l.Block(t, "one", lab.Admin).Do(t, http.MethodGet, "/backups/"+backup+"/export_record", nil).Want(t, 200)
	body := map[string]any{"backup-record": record.JSON(t, "backup-record")}
	two.Do(t, http.MethodPost, "/backups/import_record", body).Want(t, 403)
	if id := l.Block(t, "two", lab.Admin).Do(t, http.MethodPost, "/backups/import_record", body).Want(t, 201).JSON(t, "backup")["id"]; id != backup {
		t.Fatalf("imported as %v, want %s", id, backup) // I4
	}
	t.Cleanup(func() { two.Remove(t, lab.Backups, backup) })
	two.Wait(t, lab.Backups, backup, "available")

	target := two.Create(t, lab.Volumes, map[string]any{"size": 2, "volume_type": lab.GoldType("two"), "availability_zone": lab.Zone("two")})
	scribble(t, l, "two", target, 2, 1023)
	two.Do(t, http.MethodPost, "/backups/"+backup+"/restore", map[string]any{"restore": map[string]string{"volume_id": target}}).Want(t, 202)
	two.Wait(t, lab.Volumes, target, "available")
	two.Wait(t, lab.Backups, backup, "available")
	if err := os.Truncate(l.VolumeFile(t, "two", target), 1<<30); err != nil { // the second GiB is no part of it
		t.Fatal(err)
	}
	if got := l.VolumeSHA256(t, "two", target, 1); got != want {
		t.Fatalf("restored volume has SHA-256 %s, want %s", got, want)
	}
}

func TestQuotasAreTheAdminsToSet(t *testing.T) {
	l := lab.RequireCinder(t)
	two := l.Block(t, "two", lab.Tenant)
	volume := map[string]any{"volume": map[string]any{"size": 1}}
	two.Quota(t, map[string]int{"volumes": 0})
	two.Do(t, http.MethodPost, "/volumes", volume).Want(t, 413)
	path := "/os-quota-sets/" + l.ProjectID("tenant")
	two.Do(t, http.MethodPut, path, map[string]any{"quota_set": map[string]int{"volumes": 9}}).Want(t, 403)
	l.Block(t, "one", lab.Tenant).Create(t, lab.Volumes, map[string]any{"size": 1}) // the other region's are its own
}

// A backup is held where it is by a frozen service, and ends in error when the service was killed.
func TestBackupServicesCanBeTakenAway(t *testing.T) {
	l := lab.RequireCinder(t)
	two := l.Block(t, "two", lab.Tenant)
	swift := l.Client(t, "lab-two")
	container := lab.Scratch(t, swift)
	writes := func(backup string) { // waits until it does
		for end := time.Now().Add(2 * time.Minute); len(backupObjects(t, swift, container, backup)) == 0; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the backup writes nothing")
			}
		}
	}
	volume := two.Create(t, lab.Volumes, map[string]any{"size": 1})
	scribble(t, l, "two", volume, 0, 1000)
	snapshot := two.Create(t, lab.Snapshots, map[string]any{"volume_id": volume})
	source := map[string]any{"volume_id": volume, "snapshot_id": snapshot, "container": container}

	first := two.Begin(t, lab.Backups, source)
	writes(first)
	l.FreezeRegion(t, "two", lab.Backup)
	n := len(backupObjects(t, swift, container, first))
	time.Sleep(2 * time.Second) // a moving one writes an object in a tenth of that
	if got := two.Show(t, lab.Backups, first)["status"]; got != "creating" || len(backupObjects(t, swift, container, first)) != n {
		t.Fatalf("a frozen backup is %v, or writes on", got)
	}
	l.ThawRegion(t, "two", lab.Backup)
	two.Wait(t, lab.Backups, first, "available")
	two.Wait(t, lab.Snapshots, snapshot, "available")

	second := two.Begin(t, lab.Backups, source)
	writes(second)
	l.KillRegion(t, "two", lab.Backup)
	l.StartRegion(t, "two", lab.Backup)
	if got := two.Show(t, lab.Backups, second); got["status"] != "error" {
		t.Fatalf("a killed backup is %v", got)
	}
	// What it was made of stays "backing-up", which only an admin can change.
	if got := two.Show(t, lab.Snapshots, snapshot)["status"]; got != "backing-up" {
		t.Fatalf("the killed backup's snapshot is %v", got)
	}
	two.Do(t, http.MethodDelete, "/snapshots/"+snapshot, nil).Want(t, 400)
	two.ResetState(t, lab.Snapshots, snapshot, "available")
}

// cinder-backup has the token of whoever asked, and no other (C18).
func TestABackupEndsWithItsToken(t *testing.T) {
	l := lab.RequireCinder(t)
	two, swift := l.Block(t, "two", lab.Tenant), l.Client(t, "lab-two")
	container := lab.Scratch(t, swift)
	volume := two.Create(t, lab.Volumes, map[string]any{"size": 1})
	snapshot := two.Create(t, lab.Snapshots, map[string]any{"volume_id": volume})

	const life = 20 * time.Second
	l.TokenLife(t, life)
	short := l.Block(t, "two", lab.Tenant)
	began := time.Now()
	backup := short.Begin(t, lab.Backups, map[string]any{"volume_id": volume, "snapshot_id": snapshot, "container": container})
	l.FreezeRegion(t, "two", lab.Backup)
	time.Sleep(life + time.Second - time.Since(began)) // by Keystone's own clock
	l.ThawRegion(t, "two", lab.Backup)
	if reason, _ := two.Wait(t, lab.Backups, backup, "error")["fail_reason"].(string); !strings.Contains(reason, "401") {
		t.Fatalf("it failed for %q", reason)
	}
	two.Wait(t, lab.Snapshots, snapshot, "available")
}

// The API alone can be taken away, and its region's Swift stays.
func TestACinderCanBeTakenAway(t *testing.T) {
	l := lab.RequireCinder(t)
	two := l.CinderRegions()[1]
	answers := func() bool {
		resp, err := (&http.Client{Timeout: 2 * time.Second}).Get(two.Cinder + "/healthcheck")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}
	l.FreezeRegion(t, two.Alias, lab.Cinder)
	if answers() {
		t.Fatal("a frozen Cinder answers")
	}
	l.Client(t, "lab-two").Call(t, http.MethodHead, "", nil, nil).Want(t, 204)
	l.ThawRegion(t, two.Alias, lab.Cinder)
	l.StopRegion(t, two.Alias)
	if answers() {
		t.Fatal("a stopped region's Cinder answers")
	}
	l.StartRegion(t, two.Alias)
	if !answers() {
		t.Fatal("a started region's Cinder does not answer")
	}
}
