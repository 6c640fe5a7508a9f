//go:build integration

package integration

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"farshore/integration/lab"
)

// TestLabMigration moves a bootable volume that is written to all through the first passes, and when they were made.
func TestLabMigration(t *testing.T) {
	long(t)
	v := newVolumes(t, "")
	v.one.Do(t, "POST", "/volumes/"+v.volume+"/action", map[string]any{"os-set_bootable": map[string]any{"bootable": true}}).Want(t, 200)
	v.one.Do(t, "POST", "/volumes/"+v.volume+"/action", map[string]any{"os-set_image_metadata": map[string]any{"metadata": map[string]string{"os_distro": "debian"}}}).Want(t, 200)
	v.write(false, 0, 1, 2, 500)
	detach := v.one.Attach(t, v.volume)
	migrate := func(more ...string) volumeAnswer {
		t.Helper()
		return v.ask(0, append([]string{"migrate", "volume", v.volume, "--from", "one", "--to", "two", "--type", lab.GoldType("two")}, more...)...)
	}
	stop, stopped := make(chan struct{}), make(chan int64)
	go func() {
		file, n := v.lab.VolumeFile(t, "one", v.volume), int64(0)
		for {
			select {
			case <-stop:
				stopped <- n
				return
			case <-time.After(time.Second):
				n++
				if err := scribble(file, 100<<20+n<<16, 64<<10); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	// No pass is small enough, so that there are two.
	a := migrate("--no-wait", "--passes", "2", "--delta", "1KiB")
	close(stop)
	writes := <-stopped
	if m := a.Result.Migration; len(m.Passes) != 2 || m.Passes[0].Final || m.Passes[0].Incremental || m.Passes[1].Final || !m.Passes[1].Incremental || m.Passes[1].Bytes < 64<<10 || m.State != "waiting" {
		t.Fatalf("passes while in use: %+v", m)
	}
	v.write(false, 1, 777)
	v.write(true, 500)
	detach()
	v.one.Wait(t, lab.Volumes, v.volume, "available")
	want := v.sum("one", v.volume)
	a = migrate()
	m := a.Result.Migration
	if m.State != "done" || len(m.Passes) != 3 || !m.Passes[2].Final || !m.Passes[2].Incremental || m.Downtime_seconds <= 0 || m.Restore == nil || m.Restore.Proof == nil || !m.Restore.Proof.OK {
		t.Fatalf("the final pass: %+v", m)
	}
	t.Logf("%d writes during the first passes; passes %+v, %d bytes, downtime %.1f s", writes, m.Passes, m.Bytes, m.Downtime_seconds)
	moved := m.Restore.Volume
	t.Cleanup(func() { v.two.Remove(t, lab.Volumes, moved) })
	if got := v.sum("two", moved); got != want {
		t.Errorf("SHA-256 %s there, %s here", got, want)
	}
	got := v.two.Show(t, lab.Volumes, moved)
	if got["name"] != longName || got["volume_type"] != lab.GoldType("two") || got["status"] != "available" || got["bootable"] != "true" ||
		fmt.Sprint(got["metadata"]) != "map[dr:gold]" || fmt.Sprint(got["volume_image_metadata"]) != "map[os_distro:debian]" || got["availability_zone"] != lab.Zone("two") {
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
	v.nothingLeft(moved)
}

// scribble writes random bytes into a file.
func scribble(file string, at int64, n int) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(content(uint64(at), n), at); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}
