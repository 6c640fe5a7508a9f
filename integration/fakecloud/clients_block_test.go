//go:build integration

package fakecloud

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// cinderScript drives a volume through python-cinderclient from one region to
// the other, and says what became of it as JSON.
const cinderScript = `
import json, os, sys
from cinderclient import client, exceptions
from keystoneauth1 import session
from keystoneauth1.identity import v3

def cinder(region, user):
    auth = v3.Password(auth_url=os.environ['AUTH'], username=user, password=os.environ['PASSWORD'],
                       project_name='demo', user_domain_name='Default', project_domain_name='Default')
    return client.Client('3.70', session=session.Session(auth=auth), region_name=region)

north, south = cinder('north', 'demo'), cinder('south', 'demo')
nadmin, sadmin = cinder('north', 'admin'), cinder('south', 'admin')
out = {}
v = north.volumes.find(name='src')
out['type'], out['status'] = v.volume_type, v.status
s = north.volume_snapshots.create(v.id, name='snap', metadata={'why': 'test'})
s = north.volume_snapshots.get(s.id)
out['snapshot'] = [s.status, s.size, s.metadata]
b = north.backups.create(v.id, name='full', snapshot_id=s.id, metadata={'k': 'v'})
b = north.backups.get(b.id)
out['backup'] = [b.status, b.object_count, b.container, b.metadata, b.is_incremental]
out['backup_id'] = b.id
try:
    north.backups.export_record(b.id)
except exceptions.Forbidden as e:
    out['export'] = str(e)
rec = nadmin.backups.export_record(b.id)
i = sadmin.backups.import_record(rec['backup_service'], rec['backup_url'])
i = south.backups.get(i['id'])
out['imported'] = [i.id == b.id, i.status]
try:
    sadmin.backups.import_record(rec['backup_service'], rec['backup_url'])
except exceptions.BadRequest as e:
    out['again'] = str(e)
t = south.volumes.create(1, name='dst', volume_type='fast')
r = south.restores.restore(i.id, t.id)
t = south.volumes.get(t.id)
out['restored'] = [t.status, t.id == r.volume_id, t.metadata.get('src_backup_id') == b.id]
out['target'] = t.id
south.volumes.set_bootable(t, True)
south.volumes.set_image_metadata(t, {'os': 'linux'})
t = south.volumes.get(t.id)
out['boot'] = [t.bootable, t.volume_image_metadata]
out['quota'] = south.quotas.get(south.client.get_project_id(), usage=True).backups
lim = {l.name: l.value for l in south.limits.get().absolute}
out['limits'] = [lim['totalVolumesUsed'], lim['totalBackupsUsed']]
out['zones'] = [z.zoneName for z in south.availability_zones.list()]
out['types'] = sorted(x.name for x in south.volume_types.list())
out['default'] = south.volume_types.default().name
try:
    south.volumes.create(5000, name='huge')
except exceptions.OverLimit as e:
    out['over'] = str(e)
out['marked'] = len(north.backups.list(search_opts={'volume_id': v.id}))
json.dump(out, sys.stdout)
`

func TestCinderclient(t *testing.T) {
	c := startTwo(t)
	s := newStock(t, c, "north")
	north, south := c.Region("north"), c.Region("south")
	src := north.AddVolume("src", 1, "fast", map[string]string{"dr": "gold"})
	src.WriteAt(s.file("bytes", 200_000), 123_456_789)
	// The script has no Swift client: the objects are carried when the record is exported.
	south.CreateContainer("volumebackups")
	copied := func() {
		for _, n := range north.Names("volumebackups") {
			o, _ := north.Get("volumebackups", n)
			south.Put("volumebackups", n, o.Bytes(), nil)
		}
	}
	north.OnBlockStep(func(st BlockStep) {
		if st.Kind == JobBackup && st.Done {
			copied()
		}
	})
	s.env = append(s.env, "AUTH="+north.AuthURL(), "PASSWORD="+Password)
	var out map[string]any
	if err := json.Unmarshal([]byte(s.run("python3", "-c", cinderScript)), &out); err != nil {
		t.Fatal(err)
	}
	id, _ := out["backup_id"].(string)
	want := map[string]string{
		"type": `"fast"`, "status": `"available"`, "snapshot": `["available",1,{"why":"test"}]`,
		"backup": `["available",21,"volumebackups",{"k":"v"},false]`, "imported": `[true,"available"]`,
		"restored": `["available",true,true]`, "boot": `["true",{"os":"linux"}]`, "quota": `{"in_use":1,"limit":10,"reserved":0}`,
		"limits": `[1,1]`, "zones": `["nova"]`, "types": `["fast","luks","standard"]`, "default": `"standard"`, "marked": `1`,
	}
	for k, w := range want {
		got, err := json.Marshal(out[k])
		if err != nil || string(got) != w {
			t.Errorf("%s: %s, want %s", k, got, w)
		}
	}
	for k, w := range map[string]string{"export": "Policy doesn't allow backup:export-import to be performed. (HTTP 403)",
		"again": "Invalid backup: Backup already exists in database. (HTTP 400)", "over": "Requested 5000G, quota is 1000G"} {
		if got, _ := out[k].(string); !strings.Contains(got, w) {
			t.Errorf("%s: %q, want %q", k, got, w)
		}
	}
	target, _ := out["target"].(string)
	dst := south.Volume(target)
	if dst == nil {
		t.Fatalf("no volume %q", target)
	}
	a, b := make([]byte, 300_000), make([]byte, 300_000)
	src.ReadAt(a, 123_400_000)
	dst.ReadAt(b, 123_400_000)
	if !bytes.Equal(a, b) || bytes.Equal(a, make([]byte, len(a))) {
		t.Error("the restored volume differs")
	}
	if st := south.BlockResources(); len(st) != 2 || st[0].ID != id {
		t.Errorf("left in the south: %+v", st)
	}
}

func TestOpenstackVolumes(t *testing.T) {
	c := startTwo(t)
	s := newStock(t, c, "north")
	s.run("openstack", "volume", "create", "--size", "1", "--property", "dr=gold", "--type", "fast", "v")
	s.run("openstack", "volume", "snapshot", "create", "--volume", "v", "snap")
	s.run("openstack", "volume", "backup", "create", "--snapshot", "snap", "--name", "b", "v")
	var rows []map[string]any
	if err := json.Unmarshal([]byte(s.run("openstack", "volume", "backup", "list", "-f", "json")), &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1 || rows[0]["Name"] != "b" || rows[0]["Status"] != "available" {
		t.Errorf("backups: %v", rows)
	}
	admin := newStock(t, c, "north-admin")
	admin.run("openstack", "volume", "backup", "set", "--state", "error", "b")
	if out := s.run("openstack", "volume", "show", "v", "-f", "json"); !strings.Contains(out, `"dr": "gold"`) {
		t.Errorf("volume: %s", out)
	}
	s.run("openstack", "volume", "backup", "delete", "b")
	s.run("openstack", "volume", "snapshot", "delete", "snap")
	s.run("openstack", "volume", "delete", "v")
	if left := c.Region("north").BlockResources(); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
}
