//go:build integration

package integration

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"farshore/integration/lab"
)

// said is a finding that is looked for: its words are parts of what is said.
type said struct{ kind, region, name, op, cause, hint string }

// finds wants one of the error findings to be this.
func (v *volumes) finds(a volumeAnswer, want said) {
	v.t.Helper()
	for _, f := range a.Result.Policies[0].Findings {
		if f.Kind == want.kind && f.Region == want.region && (want.name == "" || f.Name == want.name) && strings.Contains(f.Op, want.op) && strings.Contains(f.Cause, want.cause) && strings.Contains(f.Hint, want.hint) && f.Level == "error" {
			v.t.Logf("%s, %s, %s: %s → %s", f.Op, f.Region, f.Name, f.Cause, f.Hint)
			return
		}
	}
	v.t.Errorf("no finding %+v among %+v", want, a.Result.Policies[0].Findings)
}

// fails wants the command to have failed so.
func (v *volumes) fails(a volumeAnswer, want said) {
	v.t.Helper()
	e := a.Error
	if e == nil || e.Region != want.region || !strings.Contains(e.Op, want.op) || !strings.Contains(e.Cause, want.cause) || !strings.Contains(e.Hint, want.hint) {
		v.t.Errorf("the error is %+v, want %+v", e, want)
		return
	}
	v.t.Logf("%s, %s: %s → %s", e.Op, e.Region, e.Cause, e.Hint)
}

// sub is t.Run for a part of the test that works on the same volume.
func (v *volumes) sub(t *testing.T, name string, do func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		defer func(was testing.TB) { v.farshore.t = was }(v.farshore.t)
		v.farshore.t = t
		do(t)
	})
}

// TestLabVolumesRefused has all go wrong that can be foreseen, and a backup that fails: what is wrong is said with
// the region, the thing, the cause and what to do, and nothing is left of it.
func TestLabVolumesRefused(t *testing.T) {
	long(t)
	const hourly = "    snapshot: {every: 1h}\n"
	v := newVolumes(t, hourly)
	v.write(false, 0, 500)
	for name, flag := range map[string]string{"backups": "backups ", "backup_gigabytes": "backup-gigabytes ", "snapshots": "snapshots ", "gigabytes": "gigabytes "} {
		v.sub(t, "the source's quota "+name, func(t *testing.T) {
			v.one.Quota(t, map[string]int{name: 0})
			v.finds(v.ask(3, "sync"), said{"not-shipped", "one", v.volume, "ship volume shipped", "(region one): quota " + name + ": ", "openstack quota set --" + flag})
			v.nothingLeft()
		})
	}
	for name, flag := range map[string]string{"backups": "backups ", "backup_gigabytes": "backup-gigabytes "} {
		v.sub(t, "the destination's quota "+name, func(t *testing.T) {
			v.two.Quota(t, map[string]int{name: 0})
			a := v.ask(3, "sync")
			v.finds(a, said{"not-shipped", "two", "", "check quota", "quota " + name + ": ", "openstack quota set --" + flag})
			v.finds(a, said{"not-shipped", "one", v.volume, "ship volume", "no destination can take it now; nothing was begun", "what is said of the destinations"})
			v.nothingLeft()
		})
	}
	v.sub(t, "an encrypted volume", v.encrypted)
	v.sub(t, "a backup that fails", v.failing)
	var point string
	v.sub(t, "no right to import", func(t *testing.T) { point = v.noRight(t) })
	if point == "" {
		t.FailNow()
	}
	v.sub(t, "no such volume type", func(t *testing.T) {
		v.types = "nonesuch"
		defer func() { v.types = ""; v.says(hourly) }()
		v.says(hourly)
		v.fails(v.ask(1, "restore", point, "--to", "two"), said{"", "two", "", "choose the volume type", "there is no volume type nonesuch", "encrypted, gold-two, standard; name one with --type or in the policy's volume_types"})
		a := v.ask(3, "drill", "vols")
		if d := a.Result.Drill; d == nil || d.OK || len(d.Volumes) != 1 || !strings.Contains(d.Volumes[0].Cause, "there is no volume type nonesuch") {
			t.Errorf("the drill: %+v", d)
		}
		v.nothingLeft(v.kept()...)
	})
	for name, what := range map[string]string{"volumes": "the volume needs 1", "gigabytes": "the volume needs 1", "backups": "the proof's scratch backup needs 1", "backup_gigabytes": "the proof's scratch backup needs 1"} {
		v.sub(t, "too small a quota of "+name+" for a drill", func(t *testing.T) {
			v.two.Quota(t, map[string]int{name: 0})
			a := v.ask(3, "drill", "vols")
			d := a.Result.Drill
			if d == nil || d.OK || len(d.Volumes) != 1 || !strings.Contains(d.Volumes[0].Cause, what) || !strings.Contains(d.Volumes[0].Cause, "(region two)") || !strings.Contains(d.Volumes[0].Hint, "openstack quota set --"+strings.ReplaceAll(name, "_", "-")) || strings.Contains(d.Volumes[0].Hint, "--proof") {
				t.Errorf("the drill: %+v", d)
			} else {
				t.Logf("%s → %s", d.Volumes[0].Cause, d.Volumes[0].Hint)
			}
			v.nothingLeft(v.kept()...)
		})
	}
	v.checkLedger()
}

// kept are the ids of the volume's backups in both regions.
func (v *volumes) kept() []string { return append(v.backups(v.one), v.backups(v.two)...) }

// encrypted has a volume whose backups would be ciphertext.
func (v *volumes) encrypted(t *testing.T) {
	id := v.one.Create(t, lab.Volumes, map[string]any{"size": 1, "name": "secret", "volume_type": lab.EncryptedType})
	if got := v.one.Show(t, lab.Volumes, id); got["encrypted"] != true {
		t.Fatalf("the lab made a volume that is not encrypted: %v", got)
	}
	v.says("", fmt.Sprintf("  - {name: secrets, from: one, to: [two], volumes: {ids: [%s]}, snapshot: {every: 1h}}\n", id))
	defer v.says("    snapshot: {every: 1h}\n")
	v.finds(v.ask(3, "sync", "secrets"), said{"cannot", "one", id, "back up volume secret", "the volume is encrypted: its backup would hold ciphertext, and the key is a secret of this region's Barbican", "copy it into an unencrypted volume"})
	v.fails(v.ask(1, "migrate", "volume", id, "--from", "one", "--to", "two"), said{"", "one", "", "migrate volume " + id, "is encrypted", "have an operator copy the key"})
	v.nothingLeft(id)
}

// failing has region one's Swift refuse what its cinder-backup writes.
func (v *volumes) failing(t *testing.T) {
	v.swiftOne.Call(t, "PUT", "/volumebackups", map[string]string{"X-Container-Meta-Quota-Bytes": "1000"}, nil).Want(t, 201, 202)
	defer v.swiftOne.Call(t, "POST", "/volumebackups", map[string]string{"X-Remove-Container-Meta-Quota-Bytes": "x"}, nil)
	v.finds(v.ask(3, "sync"), said{"not-shipped", "one", v.volume, "ship volume shipped", "ended in error: Object PUT failed: ", "the backup and what was carried of it were removed"})
	v.nothingLeft()
}

// noRight ships without the right to import, has an admin land the point, and imports a point before the program
// does: first another one of the same id, then itself. It gives the last point.
func (v *volumes) noRight(t *testing.T) string {
	const hourly = "    snapshot: {every: 1h}\n"
	landedBy := "cloud: lab-two, import_cloud: lab-two-admin"
	v.region2 = "cloud: lab-two"
	defer func() { v.region2 = ""; v.says(hourly) }()
	v.says(hourly)
	shipped := func(a volumeAnswer) string {
		t.Helper()
		x := a.Result.Policies[0].Points
		if len(x) != 1 || x[0].Regions[0].State != "shipped" {
			t.Fatalf("points without the right: %+v", x)
		}
		v.finds(a, said{"not-imported", "two", x[0].Point, "import backup", "rule backup:backup-import of Cinder's policy denies it; the objects stand there", "farshore points land " + x[0].Point + " --to two"})
		return x[0].Point
	}
	point := shipped(v.ask(3, "sync"))
	v.finds(v.ask(3, "points", "land", point, "--to", "two"), said{"not-imported", "two", point, "", "rule backup:backup-import", "import_cloud of region two"})
	v.fails(v.ask(1, "restore", point, "--to", "two"), said{"", "two", "", "restore point " + point, "is not imported: the login may not import", "farshore points land " + point + " --to two"})

	// The operator's turn; but somebody has imported another backup of this id.
	record := v.record(t, point)
	v.importAs(t, record, func(r map[string]any) {
		r["object_count"], r["service_metadata"] = 7, "volume_other/20260101000000/az_x_backup_"+point
	})
	v.region2 = landedBy
	v.says(hourly)
	v.finds(v.ask(3, "points", "land", point, "--to", "two"), said{"not-imported", "two", point, "import backup", "a backup of this id is there with 7 objects in container volumebackups; the point has 21", "openstack volume backup delete " + point})
	v.two.Remove(t, lab.Backups, point)
	if a := v.ask(0, "points", "land", point, "--to", "two"); a.Result.Policies[0].Points[0].Regions[0].State != "landed" {
		t.Errorf("landed by the operator: %+v", a.Result.Policies[0].Points)
	}
	if b := v.two.Show(t, lab.Backups, point); b["status"] != "available" {
		t.Errorf("the record: %v", b)
	}

	// The next one is imported by hand, as it is.
	v.region2 = "cloud: lab-two"
	v.says(hourly)
	v.write(false, 501)
	next := shipped(v.ask(3, "sync", "--snapshot-now"))
	v.importAs(t, v.record(t, next), func(map[string]any) {})
	if a := v.ask(0, "sync"); a.Result.Policies[0].Points[0].Regions[0].State != "landed" {
		t.Errorf("what was imported by hand: %+v %+v", a.Result.Policies[0].Points, a.Result.Policies[0].Findings)
	}
	if here, there := v.backups(v.one), v.backups(v.two); !slices.Equal(here, there) || len(here) != 2 {
		t.Errorf("backups here %q, there %q", here, there)
	}
	v.nothingLeft(v.kept()...)
	return next
}

// record is what region one's Cinder says of a backup to an admin.
func (v *volumes) record(t *testing.T, backup string) map[string]any {
	t.Helper()
	return v.lab.Block(t, "one", lab.Admin).Do(t, "GET", "/backups/"+backup+"/export_record", nil).Want(t, 200).JSON(t, "backup-record")
}

// importAs has region two's admin import a record that was changed.
func (v *volumes) importAs(t *testing.T, record map[string]any, change func(map[string]any)) {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(record["backup_url"].(string))
	var r map[string]any
	if err == nil {
		err = json.Unmarshal(raw, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	change(r)
	if raw, err = json.Marshal(r); err != nil {
		t.Fatal(err)
	}
	v.lab.Block(t, "two", lab.Admin).Do(t, "POST", "/backups/import_record", map[string]any{"backup-record": map[string]any{
		"backup_service": record["backup_service"], "backup_url": base64.StdEncoding.EncodeToString(raw)}}).Want(t, 201)
	v.two.Wait(t, lab.Backups, r["id"].(string), "available")
}
