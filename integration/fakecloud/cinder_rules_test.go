package fakecloud

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestBlockRights(t *testing.T) {
	g := newBlockRig(t, nil)
	v := g.one.volume(1)
	b := g.one.backup(v, g.one.snap(v), false)
	reader := g.one.as(ReaderUser, Project)
	reader.must(200, "GET", "/volumes/detail", nil)
	reader.refused(403, "Policy doesn't allow volume:create to be performed.", "POST", "/volumes", jmap{"volume": jmap{"size": 1}})
	reader.refused(403, "backup:restore", "POST", "/backups/"+b+"/restore", jmap{"restore": jmap{}})
	g.one.refused(403, "Policy doesn't allow backup:export-import to be performed.", "GET", "/backups/"+b+"/export_record", nil)
	g.one.refused(403, "reset_status", "POST", "/backups/"+b+"/action", jmap{"os-reset_status": jmap{"status": "error"}})
	// An empty record tells whether one may import (R21).
	empty := jmap{"backup-record": jmap{"backup_service": "cinder.backup.drivers.swift.SwiftBackupDriver", "backup_url": base64.StdEncoding.EncodeToString([]byte("{}"))}}
	g.one.refused(403, "Policy doesn't allow backup:backup-import to be performed.", "POST", "/backups/import_record", empty)
	g.one.as(AdminUser, Project).refused(400, "missing an id", "POST", "/backups/import_record", empty)
	g.one.r.SetBlockRule("backup:backup-import", "member")
	g.one.refused(400, "missing an id", "POST", "/backups/import_record", empty)
	// Others' things are not there.
	stranger := g.one.as(OtherUser, OtherProject)
	code, _ := stranger.do("GET", "/volumes/"+v.ID(), nil)
	if code != 400 {
		t.Errorf("another project in the path: %d", code)
	}
	// What another project makes cannot be seen by the first.
	all := g.one.must(200, "GET", "/backups", nil)
	if n := len(all.at("backups").([]any)); n != 1 {
		t.Errorf("%d backups", n)
	}
	// Without a token, and with an ended one: 401 in Keystone's form.
	g.one.r.ExpireTokens()
	if m := g.one.must(401, "GET", "/volumes", nil); m.str("error", "message") == "" {
		t.Errorf("401: %v", m)
	}
}

func TestImportRules(t *testing.T) {
	g := newBlockRig(t, nil)
	v := g.one.volume(1)
	b := g.one.backup(v, g.one.snap(v), false)
	rec := g.one.as(AdminUser, Project).must(200, "GET", "/backups/"+b+"/export_record", nil)
	raw, err := base64.StdEncoding.DecodeString(rec.str("backup-record", "backup_url"))
	if err != nil {
		t.Fatal(err)
	}
	var row map[string]any
	decode(t, raw, &row)
	for _, k := range []string{"driver_info", "id", "project_id", "parent_id", "service_metadata", "num_dependent_backups", "encryption_key_id",
		"temp_snapshot_id", "data_timestamp", "created_at"} {
		if _, ok := row[k]; !ok {
			t.Errorf("the record has no %s", k)
		}
	}
	pack := func(service string, row map[string]any) jmap {
		j, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		return jmap{"backup-record": jmap{"backup_service": service, "backup_url": base64.StdEncoding.EncodeToString(j)}}
	}
	admin := g.two.as(AdminUser, Project)
	row["project_id"], row["status"], row["availability_zone"] = "nobody", "error", "moon"
	admin.must(201, "POST", "/backups/import_record", pack("cinder.backup.drivers.swift", row))
	m := g.two.get("backups", b)
	if m.str("status") != stAvailable || m.str("availability_zone") != "nova" || m.str("volume_id") != v.ID() || m.at("object_count") != 16.0 ||
		m.str("created_at") != "2026-01-02T03:04:05.000000" {
		t.Errorf("imported: %v", m)
	}
	admin.refused(400, "Backup already exists in database.", "POST", "/backups/import_record", pack("", row))
	g.two.must(202, "DELETE", "/backups/"+b, nil)
	admin.must(201, "POST", "/backups/import_record", pack("", row)) // an empty service is any
	g.two.must(202, "DELETE", "/backups/"+b, nil)
	admin.must(201, "POST", "/backups/import_record", pack("cinder.backup.drivers.s3", row))
	if m := g.two.get("backups", b); m.str("status") != "error" {
		t.Errorf("a record of another driver: %v", m)
	}
	g.two.must(202, "DELETE", "/backups/"+b, nil)
	delete(row, "service_metadata")
	admin.must(201, "POST", "/backups/import_record", pack("", row))
	if m := g.two.get("backups", b); m.str("status") != "error" || !strings.Contains(m.str("fail_reason"), "missing fields (service_metadata)") {
		t.Errorf("a record without a field: %v", m)
	}
	g.two.must(202, "DELETE", "/backups/"+b, nil)
	delete(row, "size")
	admin.refused(400, "missing size attribute", "POST", "/backups/import_record", pack("", row))
	admin.refused(400, "Can't parse", "POST", "/backups/import_record",
		jmap{"backup-record": jmap{"backup_service": "", "backup_url": "bm8="}})
	// Imported by an admin of another project, it is that project's (L8).
	row["size"], row["service_metadata"] = 1, "x"
	url := g.two.r.VolumeURL()
	other := *g.two
	other.token = g.two.r.Token(AdminUser, OtherProject)
	j, _ := json.Marshal(pack("", row))
	req, err := http.NewRequest("POST", strings.Replace(url, g.two.r.ks.project(Project).ID, g.two.r.ks.project(OtherProject).ID, 1)+
		"/backups/import_record", strings.NewReader(string(j)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", other.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if code, _ := g.two.do("GET", "/backups/"+b, nil); resp.StatusCode != 201 || code != 404 {
		t.Errorf("imported for another project: %d, seen by the first: %d", resp.StatusCode, code)
	}
}

// TestRestoreMistrust is C13 and L7: the listing decides, the bytes do not.
func TestRestoreMistrust(t *testing.T) {
	g := newBlockRig(t, nil)
	v := g.one.volume(1)
	v.WriteAt(noise(1, 1<<20), 0)
	b := g.one.backup(v, g.one.snap(v), false)
	prefix := g.one.prefix(b)
	try := func(want string) *BlockVolume {
		t.Helper()
		target := g.one.volume(1)
		g.one.must(202, "POST", "/backups/"+b+"/restore", jmap{"restore": jmap{"volume_id": target.ID()}})
		if got := target.Status(); got != want {
			t.Errorf("volume is %s, want %s", got, want)
		}
		if m := g.one.get("backups", b); m.str("status") != stAvailable || m.at("fail_reason") != nil {
			t.Errorf("backup: %v", m)
		}
		return target
	}
	g.same(v, try(stAvailable))
	g.one.r.Put("volumebackups", prefix+"-extra", nil, nil)
	try(stErrRestore)
	g.one.r.Delete("volumebackups", prefix+"-extra")
	g.one.r.SetListingLag(Forever)
	o, _ := g.one.r.Get("volumebackups", prefix+"-00002")
	g.one.r.Delete("volumebackups", prefix+"-00002")
	g.one.r.FlushListings()
	g.one.r.Put("volumebackups", prefix+"-00002", o.Bytes(), nil)
	try(stErrRestore) // there, but not listed yet
	g.one.r.FlushListings()
	g.same(v, try(stAvailable))
	g.one.r.Delete("volumebackups", prefix+"_sha256file") // not needed (L4)
	g.one.r.FlushListings()
	first, _ := g.one.r.Get("volumebackups", prefix+"-00001")
	g.one.r.Put("volumebackups", prefix+"-00002", first.Bytes(), nil)
	if ok, at := v.Equal(try(stAvailable)); ok || at != 64<<10 {
		t.Errorf("a wrong object: volumes equal %v at %d", ok, at)
	}
	g.one.must(200, "GET", "/messages", nil)
	if n := len(g.one.must(200, "GET", "/messages?resource_uuid="+b, nil).at("messages").([]any)); n != 2 {
		t.Errorf("%d messages about the restores that failed", n)
	}
}

// TestSparseHazard is C14: a volume that the restore makes itself keeps, for an
// increment, the MiBs that were zeroed since the full.
func TestSparseHazard(t *testing.T) {
	for _, dense := range []bool{false, true} {
		g := newBlockRig(t, func(o *BlockOptions) { o.GiB, o.ObjectSize, o.DenseRestore = 4<<20, 4<<20, dense })
		v := g.one.volume(1)
		v.WriteAt(noise(1, 4<<20), 0)
		g.one.backup(v, g.one.snap(v), false)
		g.clock.add(time.Minute)
		v.WriteAt(make([]byte, 1<<20), 1<<20)
		inc := g.one.backup(v, g.one.snap(v), true)
		m := g.one.must(202, "POST", "/backups/"+inc+"/restore", jmap{"restore": jmap{}})
		ok, at := v.Equal(g.one.r.Volume(m.str("restore", "volume_id")))
		if ok != dense || !dense && at != 1<<20 {
			t.Errorf("dense %v: equal %v, first difference at %d", dense, ok, at)
		}
		target := g.one.volume(1)
		g.one.restore(inc, target)
		g.same(v, target)
	}
}

// TestRestoredAttributes is C15.
func TestRestoredAttributes(t *testing.T) {
	g := newBlockRig(t, nil)
	v := g.one.r.AddVolume("root disk", 1, "fast", map[string]string{"dr": "gold"})
	v.SetImage(map[string]string{"image_name": "debian", "min_ram": "0"})
	b := g.one.backup(v, g.one.snap(v), false)
	g.one.carry(g.two, b)
	plain := g.two.must(202, "POST", "/volumes", jmap{"volume": jmap{"size": 1, "volume_type": "fast", "metadata": jmap{"mine": "yes"}}}).str("volume", "id")
	named := g.two.must(202, "POST", "/volumes", jmap{"volume": jmap{"size": 1, "name": "kept"}}).str("volume", "id")
	for _, id := range []string{plain, named} {
		g.two.restore(b, g.two.r.Volume(id))
		m := g.two.get("volumes", id)
		want := map[string]string{plain: "root disk", named: "kept"}[id]
		if m.str("name") != want || m.str("bootable") != "true" || m.str("volume_image_metadata", "image_name") != "debian" {
			t.Errorf("restored: %v", m)
		}
		if m.str("metadata", "dr") != "gold" || m.at("metadata", "mine") != nil || m.str("metadata", "src_backup_id") != b {
			t.Errorf("metadata: %v", m.at("metadata"))
		}
	}
	// A volume of the restore's own has the default type.
	m := g.two.must(202, "POST", "/backups/"+b+"/restore", jmap{"restore": jmap{}})
	if got := g.two.get("volumes", m.str("restore", "volume_id")); got.str("volume_type") != "standard" || got.str("name") != "root disk" {
		t.Errorf("made by the restore: %v", got)
	}
	// Encrypted volumes need the same type id, which no other region has (C16).
	luks := g.one.r.AddVolume("secret", 1, "luks", nil)
	lb := g.one.backup(luks, g.one.snap(luks), false)
	g.one.carry(g.two, lb)
	target := g.two.must(202, "POST", "/volumes", jmap{"volume": jmap{"size": 1, "volume_type": "luks"}}).str("volume", "id")
	g.two.must(202, "POST", "/backups/"+lb+"/restore", jmap{"restore": jmap{"volume_id": target}})
	if st := g.two.get("volumes", target).str("status"); st != stErrRestore {
		t.Errorf("an encrypted volume restored elsewhere is %s", st)
	}
	back := g.one.must(202, "POST", "/volumes", jmap{"volume": jmap{"size": 1, "volume_type": "luks"}}).str("volume", "id")
	g.one.restore(lb, g.one.r.Volume(back))
}

func TestBlockQuotas(t *testing.T) {
	g := newBlockRig(t, func(o *BlockOptions) { o.Quota = map[string]int{"per_volume_gigabytes": 5} })
	for resource, n := range map[string]int{"volumes": 2, "gigabytes": 8, "snapshots": 1, "backups": 1, "backup_gigabytes": 1} {
		g.one.r.SetQuota(Project, resource, n)
	}
	create := func(size int) jmap { return jmap{"volume": jmap{"size": size}} }
	g.one.refused(413, "VolumeSizeExceedsLimit: Requested volume size 6G is larger than maximum allowed limit 5G.", "POST", "/volumes", create(6))
	big := g.one.volume(5)
	g.one.refused(413, "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes quota. Requested 4G, quota is 8G and 5G",
		"POST", "/volumes", create(4))
	v := g.one.volume(1)
	g.one.refused(413, "VolumeLimitExceeded: Maximum number of volumes allowed (2)", "POST", "/volumes", create(1))
	g.one.refused(413, "gigabytes quota", "POST", "/snapshots", jmap{"snapshot": jmap{"volume_id": big.ID()}})
	s := g.one.snap(v)
	g.one.refused(413, "SnapshotLimitExceeded: Maximum number of snapshots allowed (1) exceeded", "POST", "/snapshots", jmap{"snapshot": jmap{"volume_id": v.ID()}})
	b := g.one.backup(v, s, false)
	g.one.refused(413, "VolumeBackupSizeExceedsAvailableQuota: Requested backup exceeds allowed Backup gigabytes quota. Requested 1G, quota is 1G and 1G",
		"POST", "/backups", jmap{"backup": jmap{"volume_id": v.ID(), "snapshot_id": s}})
	abs := g.one.must(200, "GET", "/limits", nil).at("limits", "absolute").(map[string]any)
	for k, n := range map[string]float64{"maxTotalVolumes": 2, "totalVolumesUsed": 2, "maxTotalVolumeGigabytes": 8, "totalGigabytesUsed": 7,
		"totalSnapshotsUsed": 1, "totalBackupsUsed": 1, "totalBackupGigabytesUsed": 1} {
		if abs[k] != n {
			t.Errorf("%s is %v, want %v", k, abs[k], n)
		}
	}
	project := g.one.r.ks.project(Project).ID
	set := g.one.must(200, "GET", "/os-quota-sets/"+project+"?usage=True", nil)
	if set.at("quota_set", "backups", "in_use") != 1.0 || set.at("quota_set", "backups", "limit") != 1.0 || set.str("quota_set", "id") != project {
		t.Errorf("quota set: %v", set)
	}
	// What is gone is free again, the extra backup of an import counts too.
	g.one.must(202, "DELETE", "/backups/"+b, nil)
	g.one.backup(v, s, false)
	g.two.r.SetQuota(Project, "backups", 0)
	rec := g.one.as(AdminUser, Project)
	id := g.one.r.BlockResources()[0].ID
	g.two.as(AdminUser, Project).refused(413, "BackupLimitExceeded: Maximum number of backups allowed (0) exceeded", "POST", "/backups/import_record",
		rec.must(200, "GET", "/backups/"+id+"/export_record", nil))
	g.one.as(AdminUser, Project).must(200, "PUT", "/os-quota-sets/"+project, jmap{"quota_set": jmap{"volumes": 3}})
	g.one.refused(403, "volume_extension:quotas:update", "PUT", "/os-quota-sets/"+project, jmap{"quota_set": jmap{"volumes": 30}})
}

func TestBlockStatesAndLists(t *testing.T) {
	g := newBlockRig(t, func(o *BlockOptions) { o.PageSize = 2 })
	v := g.one.volume(1)
	g.one.refused(400, "Availability zone 'moon' is invalid.", "POST", "/volumes", jmap{"volume": jmap{"size": 1, "availability_zone": "moon"}})
	g.one.refused(404, "Volume type with name gold could not be found.", "POST", "/volumes", jmap{"volume": jmap{"size": 1, "volume_type": "gold"}})
	g.one.refused(400, "'colour' was unexpected", "POST", "/volumes", jmap{"volume": jmap{"size": 1, "colour": "red"}})
	g.one.refused(400, "", "POST", "/volumes", jmap{"volume": jmap{}})
	g.one.refused(404, "could not be found", "GET", "/volumes/"+uuidOf("x"), nil)
	v.Attach("server", "/dev/vda")
	m := g.one.get("volumes", v.ID())
	if m.str("status") != stInUse || len(m.at("attachments").([]any)) != 1 {
		t.Errorf("attached: %v", m)
	}
	g.one.refused(400, "must not be migrating, attached", "DELETE", "/volumes/"+v.ID(), nil)
	g.one.refused(400, "in-use volume must use the force flag", "POST", "/backups", jmap{"backup": jmap{"volume_id": v.ID()}})
	old := *g.one
	old.micro = "3.65"
	old.refused(400, "status must be available, but current status is: in-use.", "POST", "/snapshots", jmap{"snapshot": jmap{"volume_id": v.ID()}})
	old.must(202, "POST", "/snapshots", jmap{"snapshot": jmap{"volume_id": v.ID(), "force": true}})
	g.one.refused(400, "Since microversion 3.66", "POST", "/snapshots", jmap{"snapshot": jmap{"volume_id": v.ID(), "force": false}})
	s := g.one.snap(v) // in use, and no force: 3.66
	b := g.one.backup(v, s, false)
	if st := g.one.get("volumes", v.ID()).str("status"); st != stInUse {
		t.Errorf("after a backup of its snapshot the volume is %s", st)
	}
	v.Detach()
	g.one.refused(400, "have snapshots", "DELETE", "/volumes/"+v.ID(), nil)
	small := g.one.volume(1)
	g.one.must(202, "POST", "/volumes/"+small.ID()+"/action", jmap{"os-extend": jmap{"new_size": 3}})
	big := g.one.backup(small, g.one.snap(small), false)
	g.one.refused(400, "volume size 1 is too small to restore backup of size 3.", "POST", "/backups/"+big+"/restore",
		jmap{"restore": jmap{"volume_id": v.ID()}})
	// Pages of two, by following the links.
	for i := range 3 {
		g.clock.add(time.Second)
		g.one.must(202, "POST", "/volumes", jmap{"volume": jmap{"size": 1, "name": fmt.Sprint("n", i), "metadata": jmap{"k": fmt.Sprint(i)}}})
	}
	var names []string
	path := "/volumes/detail"
	for pages := 0; path != "" && pages < 9; pages++ {
		m := g.one.must(200, "GET", path, nil)
		path = ""
		for _, x := range m.at("volumes").([]any) {
			names = append(names, fmt.Sprint(x.(map[string]any)["name"]))
		}
		if l, ok := m.at("volumes_links").([]any); ok {
			path = strings.TrimPrefix(l[0].(map[string]any)["href"].(string), g.one.r.VolumeURL())
		}
	}
	if strings.Join(names, " ") != "n2 n1 n0 v v" {
		t.Errorf("listed: %q", names)
	}
	one := g.one.must(200, "GET", "/volumes/detail?metadata=%7B%27k%27%3A+%271%27%7D", nil)
	if l := one.at("volumes").([]any); len(l) != 1 || l[0].(map[string]any)["name"] != "n1" {
		t.Errorf("by metadata: %v", l)
	}
	if l := g.one.must(200, "GET", "/backups/detail?volume_id="+v.ID(), nil).at("backups").([]any); len(l) != 1 || l[0].(map[string]any)["id"] != b {
		t.Errorf("backups of the volume: %v", l)
	}
	code, _ := (&blockSide{t: t, r: g.one.r, token: g.one.token, micro: "3.71"}).do("GET", "/volumes", nil)
	if code != http.StatusNotAcceptable {
		t.Errorf("microversion 3.71: %d", code)
	}
}
