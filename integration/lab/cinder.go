package lab

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Volume types that the lab's regions have. Each region has one more that no other has: GoldType.
const (
	StandardType  = "standard"  // in every region, and its default
	EncryptedType = "encrypted" // LUKS, with a key that the whole lab shares; in every region
)

// GoldType is the volume type that only the region with this alias has.
func GoldType(alias string) string { return "gold-" + alias }

// Zone is the one availability zone of a region's Cinder.
func Zone(alias string) string { return "zone-" + alias }

// RequireCinder is Require for a lab with Cinder in two regions at least.
func RequireCinder(t testing.TB) *Lab {
	t.Helper()
	l := Require(t)
	if n := len(l.CinderRegions()); n < 2 {
		t.Fatalf("the lab has Cinder in %d regions: run FARSHORE_LAB_SERVICES='swift cinder' integration/lab/up", n)
	}
	return l
}

// CinderRegions are the regions that have a Cinder, in the order of their aliases.
func (l *Lab) CinderRegions() []Region {
	var with []Region
	for _, r := range l.desc.Regions {
		if r.Cinder != "" {
			with = append(with, r)
		}
	}
	return with
}

// VolumeFile is the file that holds a volume's bytes, as long as the volume is large, with holes for
// zeros. It may be read and written whenever Cinder is not working on the volume.
func (l *Lab) VolumeFile(t testing.TB, alias, volume string) string {
	t.Helper()
	return l.file(t, alias, "volume-"+volume)
}

// VolumeSHA256 hashes a volume's bytes, of which there must be so many GiB.
func (l *Lab) VolumeSHA256(t testing.TB, alias, volume string, gib int64) string {
	t.Helper()
	f, err := os.Open(l.VolumeFile(t, alias, volume))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil || n != gib<<30 {
		t.Fatalf("volume %s in region %s has %d bytes (%v), want %d GiB", volume, alias, n, err, gib)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// SnapshotFile is the same of a snapshot.
func (l *Lab) SnapshotFile(t testing.TB, alias, snapshot string) string {
	t.Helper()
	return l.file(t, alias, "snapshot-"+snapshot)
}

func (l *Lab) file(t testing.TB, alias, name string) string {
	t.Helper()
	for _, r := range l.CinderRegions() {
		if r.Alias == alias {
			path := filepath.Join(r.Volumes, name)
			if _, err := os.Stat(path); err != nil {
				t.Fatalf("find the file in region %s: %v", alias, err)
			}
			return path
		}
	}
	t.Fatalf("region %s has no Cinder", alias)
	return ""
}

// Block is a client of one region's Cinder (Block Storage API v3, microversion 3.70) with bare HTTP:
// it shares no code with the project. It is safe for concurrent use.
type Block struct {
	*Client
	// Alias is the region's.
	Alias string

	lab *Lab
}

// Block logs in to the Cinder of a region as who: Tenant or Admin, say.
func (l *Lab) Block(t testing.TB, alias, who string) *Block {
	t.Helper()
	return &Block{Client: l.client(t, l.Cloud(alias, who), "volumev3"), Alias: alias, lab: l}
}

// Do sends one request below the project, with body as JSON unless it is nil.
func (b *Block) Do(t testing.TB, method, path string, body any) Reply {
	t.Helper()
	header := map[string]string{"OpenStack-API-Version": "volume 3.70", "Content-Type": "application/json"}
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			t.Fatalf("encode request: %v", err)
		}
	}
	return b.Call(t, method, path, header, raw)
}

// JSON is the object under one key of a reply's body.
func (r Reply) JSON(t testing.TB, key string) map[string]any {
	t.Helper()
	var doc map[string]map[string]any
	if err := json.Unmarshal(r.Body, &doc); err != nil || doc[key] == nil {
		t.Fatalf("%s: no %q in %.300s (%v)", r.what, key, r.Body, err)
	}
	return doc[key]
}

// Kinds of things that a Cinder has, as its paths spell them.
const (
	Volumes   = "volumes"
	Snapshots = "snapshots"
	Backups   = "backups"
)

func singular(kind string) string { return strings.TrimSuffix(kind, "s") }

// Create makes a volume, snapshot or backup of these properties, and gives its id once it is
// available. It is deleted when the test ends.
func (b *Block) Create(t testing.TB, kind string, properties map[string]any) string {
	t.Helper()
	id := b.Begin(t, kind, properties)
	b.Wait(t, kind, id, "available")
	return id
}

// Begin is Create without waiting.
func (b *Block) Begin(t testing.TB, kind string, properties map[string]any) string {
	t.Helper()
	r := b.Do(t, http.MethodPost, "/"+kind, map[string]any{singular(kind): properties}).Want(t, 202)
	id := r.JSON(t, singular(kind))["id"].(string)
	t.Cleanup(func() { b.Remove(t, kind, id) })
	return id
}

// Show is all that Cinder says of a thing.
func (b *Block) Show(t testing.TB, kind, id string) map[string]any {
	t.Helper()
	return b.Do(t, http.MethodGet, "/"+kind+"/"+id, nil).Want(t, 200).JSON(t, singular(kind))
}

// waitLimit bounds a wait: a backup or restore of a GiB takes tens of seconds on two cores (L10).
const waitLimit = 5 * time.Minute

// Wait waits until the thing has the status, and gives what Cinder then says of it. Another status
// that cannot change by itself fails the test.
func (b *Block) Wait(t testing.TB, kind, id, status string) map[string]any {
	t.Helper()
	for end := time.Now().Add(waitLimit); ; time.Sleep(200 * time.Millisecond) {
		got := b.Show(t, kind, id)
		now, _ := got["status"].(string)
		if now == status {
			return got
		}
		settled := now == "available" || strings.HasPrefix(now, "error")
		// A restore's volume and backup, and a backup's snapshot, are available before and after.
		if settled && now != "available" || time.Now().After(end) {
			t.Fatalf("%s %s in region %s is %s (%v), want %s", singular(kind), id, b.Alias, now, got["fail_reason"], status)
		}
	}
}

// Remove deletes a thing and waits until it is gone, by force and as an admin where the tenant may
// not. That it does not exist is no failure.
func (b *Block) Remove(t testing.TB, kind, id string) {
	t.Helper()
	path := "/" + kind + "/" + id
	if r := b.Do(t, http.MethodDelete, path, nil); r.Status != 202 && r.Status != 404 {
		b.ForceDelete(t, kind, id)
	}
	for end := time.Now().Add(waitLimit); ; time.Sleep(200 * time.Millisecond) {
		r := b.Do(t, http.MethodGet, path, nil).Want(t, 200, 404)
		if r.Status == 404 {
			return
		}
		now := r.JSON(t, singular(kind))["status"]
		if now == "error_deleting" || time.Now().After(end) {
			t.Fatalf("%s %s in region %s is not deleted: %v", singular(kind), id, b.Alias, now)
		}
	}
}

// ForceDelete has an admin delete a thing whatever its status, where its kind allows (a backup's
// objects too).
func (b *Block) ForceDelete(t testing.TB, kind, id string) {
	t.Helper()
	b.act(t, kind, id, "os-force_delete", map[string]any{})
}

// ResetState has an admin write another status over a thing's.
func (b *Block) ResetState(t testing.TB, kind, id, status string) {
	t.Helper()
	b.act(t, kind, id, "os-reset_status", map[string]any{"status": status})
}

func (b *Block) act(t testing.TB, kind, id, action string, arguments any) {
	t.Helper()
	b.lab.Block(t, b.Alias, Admin).
		Do(t, http.MethodPost, "/"+kind+"/"+id+"/action", map[string]any{action: arguments}).Want(t, 202)
}

// Quota sets quotas of the tenant's project in this region until the test ends: volumes, gigabytes,
// snapshots, backups, backup_gigabytes; -1 is none.
func (b *Block) Quota(t testing.TB, limits map[string]int) {
	t.Helper()
	admin := b.lab.Block(t, b.Alias, Admin)
	path := "/os-quota-sets/" + b.lab.ProjectID("tenant")
	t.Cleanup(func() { admin.Do(t, http.MethodDelete, path, nil).Want(t, 200) })
	admin.Do(t, http.MethodPut, path, map[string]any{"quota_set": limits}).Want(t, 200)
}

// Attach makes a volume in-use, by a bare host as far as Cinder knows (attachments API, microversion
// 3.54), until the function given is called or the test ends. A detachment from a server would have
// to be asked for by Nova (bug 2004555), which the lab does not have.
func (b *Block) Attach(t testing.TB, volume string) (detach func()) {
	t.Helper()
	r := b.Do(t, http.MethodPost, "/attachments", map[string]any{"attachment": map[string]any{
		"volume_uuid": volume,
		"connector":   map[string]any{"host": "lab", "ip": "127.0.0.1", "platform": "x86_64", "os_type": "linux", "mountpoint": "/dev/vdb"},
	}}).Want(t, 200)
	path := "/attachments/" + r.JSON(t, "attachment")["id"].(string)
	b.Do(t, http.MethodPost, path+"/action", map[string]any{"os-complete": map[string]any{}}).Want(t, 204)
	b.Wait(t, Volumes, volume, "in-use")
	detach = func() {
		t.Helper()
		b.Do(t, http.MethodDelete, path, nil).Want(t, 200, 404)
	}
	t.Cleanup(detach)
	return detach
}
