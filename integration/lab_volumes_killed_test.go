//go:build integration

package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"farshore/integration/lab"
)

// cinderThing is what the suite looks at of a volume, snapshot or backup.
type cinderThing struct {
	ID, Name, Status string
	Volume           string `json:"volume_id"`
	Snapshot         string `json:"snapshot_id"`
}

// things are those of a kind in a region.
func (v *volumes) things(b *lab.Block, kind string) []cinderThing {
	v.t.Helper()
	var doc map[string][]cinderThing
	if err := json.Unmarshal(b.Do(v.t, "GET", "/"+kind+"/detail", nil).Want(v.t, 200).Body, &doc); err != nil {
		v.t.Fatal(err)
	}
	return doc[kind]
}

// in reports whether there is one of a kind with a status, of our volume or with a scratch name.
func (v *volumes) in(b *lab.Block, kind, status string) (x cinderThing, ok bool) {
	v.t.Helper()
	for _, x := range v.things(b, kind) {
		if x.Status == status && (x.Volume == v.volume || strings.HasPrefix(x.Name, "farshore-scratch-")) {
			return x, true
		}
	}
	return x, false
}

// objects counts the data objects of the volume's backups in a region.
func (v *volumes) objects(swift *lab.Client) (n int) {
	v.t.Helper()
	r := swift.Call(v.t, "GET", "/volumebackups?prefix="+url.QueryEscape("volume_"+v.volume+"/"), nil, nil).Want(v.t, 200, 204, 404)
	if r.Status == 404 {
		return 0
	}
	for name := range strings.Lines(string(r.Body)) {
		if name = strings.TrimSpace(name); !strings.HasSuffix(name, "_metadata") && !strings.HasSuffix(name, "_sha256file") {
			n++
		}
	}
	return n
}

// killIn runs a command, waits until what it is killed in has been reached, holds that as it is, sends it
// SIGKILL, and lets go on what was held. It fails the test unless the signal is what ended the command, and the
// state was the same before and after it.
func (v *volumes) killIn(what string, reached func() bool, hold func() (release func()), args ...string) {
	v.t.Helper()
	cmd := v.command(v.t.Context(), append(args, "-f", v.policy, "--json", "--ledger", v.ledger)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	if err := cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	for end := time.Now().Add(5 * time.Minute); !reached(); time.Sleep(20 * time.Millisecond) {
		select {
		case <-ended:
			v.t.Fatalf("farshore %q ended before it could be killed (%s)\n%s", args, what, out.String())
		default:
		}
		if time.Now().After(end) {
			_ = cmd.Process.Kill()
			<-ended
			v.t.Fatalf("farshore %q did not come to the place where it is killed (%s)\n%s", args, what, out.String())
		}
	}
	release := hold()
	if !reached() {
		v.t.Errorf("%s was over before the kill", what)
	}
	if err := cmd.Process.Kill(); err != nil {
		v.t.Errorf("kill: %v", err)
	}
	<-ended
	if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !s.Signaled() || s.Signal() != syscall.SIGKILL {
		v.t.Errorf("farshore ended with %v, not by the signal (%s)\n%s", cmd.ProcessState, what, out.String())
	}
	if !reached() {
		v.t.Errorf("%s was over when it was killed", what)
	}
	v.t.Logf("killed after %.1f s: %s", time.Since(began).Seconds(), what)
	release()
}

// freezing holds a service of a region.
func (v *volumes) freezing(alias, service string) func() func() {
	return func() func() {
		v.t.Helper()
		v.lab.FreezeRegion(v.t, alias, service)
		return func() { v.lab.ThawRegion(v.t, alias, service) }
	}
}

func nothing() func() { return func() {} }

// TestLabVolumesKilled kills the command with SIGKILL in each of its states, seen from outside: while the snapshot
// is made, with half of the backup's objects written, in the middle of an object that is copied, while the record is
// imported, while the backup is restored, while the proof's backup is made, and while the proof reads. Run again it
// goes on each time and ends right; nothing is left in either Cinder or either Swift but what only an admin can
// remove, and the command for that is the one that was named.
func TestLabVolumesKilled(t *testing.T) {
	long(t)
	v := newVolumes(t, "")
	const hourly = "    snapshot: {every: 1h}\n"
	held := newHeld(t, v.swift.URL)
	v.region2 = fmt.Sprintf("cloud: lab-two, import_cloud: lab-two-admin, endpoint: %q", held.url)
	v.says(hourly)
	v.write(false, 0, 1, 5, 300, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007) // the last object has 8 MiB
	want := v.sum("one", v.volume)

	v.lab.FreezeRegion(t, "one", lab.Volume) // a small file's snapshot takes no time
	v.killIn("snapshot creating", func() bool { _, ok := v.in(v.one, lab.Snapshots, "creating"); return ok },
		func() func() { return func() { v.lab.ThawRegion(t, "one", lab.Volume) } }, "sync")
	taken := v.of(lab.Snapshots, v.volume)

	v.killIn("backup creating, with half of its objects", func() bool {
		_, ok := v.in(v.one, lab.Backups, "creating")
		n := v.objects(v.swiftOne)
		return ok && n >= 8 && n <= 20
	}, v.freezing("one", lab.Backup), "sync")
	if got := v.of(lab.Snapshots, v.volume); len(got) != 1 || !slices.Equal(got, taken) {
		t.Errorf("snapshots %q, want the first one alone: %q", got, taken)
	}
	made := v.backups(v.one)
	if len(made) != 1 {
		t.Fatalf("backups in region one: %q", made)
	}
	point := made[0]

	held.hold("PUT", "volume_"+v.volume, "-00021", 3<<20)
	v.killIn("an object copied, 3 of its 8 MiB", func() bool { return held.holds() && !v.listed(v.swift, point, "-00021") }, nothing, "sync")
	held.free()
	v.one.Wait(t, lab.Backups, point, "available")

	v.lab.FreezeRegion(t, "two", lab.Backup)
	v.killIn("record importing", func() bool { // a record has its id alone until it is imported
		return slices.ContainsFunc(v.things(v.two, lab.Backups), func(x cinderThing) bool { return x.ID == point && x.Status == "creating" })
	}, func() func() { return func() { v.lab.ThawRegion(t, "two", lab.Backup) } }, "sync")

	// What only an admin ends: region one cannot delete the snapshot's file any more.
	file := v.lab.SnapshotFile(t, "one", taken[0])
	for _, do := range []error{os.Remove(file), os.Mkdir(file, 0o700)} {
		if do != nil {
			t.Fatal(do)
		}
	}
	a := v.ask(0, "sync")
	if x := a.Result.Policies[0].Points; len(x) != 1 || x[0].Point != point || x[0].Regions[0].State != "landed" {
		t.Fatalf("the point after the kills: %+v %+v", x, a.Result.Policies[0].Findings)
	}
	v.adminEnds(a, file, taken[0])
	if a := v.ask(0, "sync"); len(a.Result.Policies[0].Findings) != 0 {
		t.Errorf("when the admin was there: %+v", a.Result.Policies[0].Findings)
	}
	if here, there := v.backups(v.one), v.backups(v.two); !slices.Equal(here, made) || !slices.Equal(there, made) {
		t.Errorf("backups here %q, there %q, want %q", here, there, made)
	}
	v.nothingLeft(point)

	restore := []string{"restore", point, "--to", "two", "--proof", "blocks", "--name", "after kills"}
	v.killIn("restore downloading", func() bool {
		x, ok := v.in(v.two, lab.Volumes, "restoring-backup")
		return ok && v.allocated("two", x.ID) >= 1<<20
	}, v.freezing("two", lab.Backup), restore...)
	scratch, _ := v.in(v.two, lab.Volumes, "restoring-backup")
	v.killIn("the proof's backup creating", func() bool { _, ok := v.in(v.two, lab.Backups, "creating"); return ok }, v.freezing("two", lab.Backup), restore...)
	held.hold("GET", ".farshore-scratch-", "_sha256file", 64<<10)
	v.killIn("the proof reading", held.holds, nothing, restore...)
	held.free()
	a = v.ask(0, restore...)
	r := a.Result.Restore
	t.Cleanup(func() { v.two.Remove(t, lab.Volumes, r.Volume) })
	if got := v.sum("two", r.Volume); got != want || r.Proof == nil || !r.Proof.OK || !r.Resumed {
		t.Errorf("SHA-256 %s restored, %s backed up; %+v %+v", got, want, r, r.Proof)
	}
	if scratch.ID != "" && scratch.ID != r.Volume {
		t.Errorf("volume %s was made, and before the kill %s", r.Volume, scratch.ID)
	}
	v.nothingLeft(point, r.Volume)
	v.checkLedger()
}

// adminEnds wants the finding about a snapshot that cannot be deleted to name an admin's command, puts right what was
// in the way, and runs just that command.
func (v *volumes) adminEnds(a volumeAnswer, file, snapshot string) {
	v.t.Helper()
	command := fmt.Sprintf("openstack volume snapshot set --state error %s && openstack volume snapshot delete %s", snapshot, snapshot)
	for _, f := range a.Result.Policies[0].Findings {
		if f.Kind != "left-behind" {
			continue
		}
		v.t.Logf("%s (region %s): %s → %s", f.Op, f.Region, f.Cause, f.Hint)
		if f.Region != "one" || !strings.Contains(f.Cause, "error_deleting") || f.Hint != "an admin runs: "+command {
			v.t.Errorf("the finding: %+v", f)
		}
		for _, do := range []error{os.Remove(file), os.WriteFile(file, nil, 0o600)} {
			if do != nil {
				v.t.Fatal(do)
			}
		}
		cmd := exec.Command("/bin/sh", "-c", strings.TrimPrefix(f.Hint, "an admin runs: "))
		cmd.Env = append(v.lab.Env("lab-one-admin"), "PATH=/usr/bin:/bin")
		if out, err := cmd.CombinedOutput(); err != nil {
			v.t.Errorf("%s: %v\n%s", cmd, err, out)
		}
		for end := time.Now().Add(time.Minute); len(v.of(lab.Snapshots, v.volume)) > 0; time.Sleep(200 * time.Millisecond) {
			if time.Now().After(end) {
				v.t.Fatal("the command that was named did not remove the snapshot")
			}
		}
		return
	}
	v.t.Errorf("nothing said of snapshot %s: %+v", snapshot, a.Result.Policies[0].Findings)
}

// listed reports whether a backup's object with this end is in a region's listing.
func (v *volumes) listed(swift *lab.Client, backup, suffix string) bool {
	v.t.Helper()
	r := swift.Call(v.t, "GET", "/volumebackups?prefix="+url.QueryEscape("volume_"+v.volume+"/"), nil, nil).Want(v.t, 200, 204, 404)
	return r.Status != 404 && slices.ContainsFunc(strings.Fields(string(r.Body)), func(n string) bool {
		return strings.Contains(n, backup) && strings.HasSuffix(n, suffix)
	})
}

// allocated is how much of a volume's file is not a hole.
func (v *volumes) allocated(alias, volume string) int64 {
	v.t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(v.lab.VolumeFile(v.t, alias, volume), &st); err != nil {
		v.t.Fatal(err)
	}
	return st.Blocks * 512
}
