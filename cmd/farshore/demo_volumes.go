package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"farshore/integration/fakecloud"
)

// demoVolumePolicy is what should be true of volumes. It is a file of its own, so that the
// commands about containers have nothing to do with them.
const demoVolumePolicy = `regions:
  paris: {}
  lyon: {}
ledger: ledger.db
policies:
  - name: databases
    from: paris
    to: [lyon]
    volumes: {names: [db]}
    snapshot: {every: 1h}
`

const (
	demoVolumeFile = "volumes.yaml"
	demoVolumeName = "db"
	demoWritten    = 24 << 20 // bytes of the volume that are not zero
	demoRewritten  = 1 << 20  // that change before the second snapshot
)

// demoBlocks is an emulated Cinder whose GiB are small: the story is the same, and a
// laptop hashes them in no time.
func demoBlocks() fakecloud.BlockOptions {
	return fakecloud.BlockOptions{GiB: 64 << 20, ObjectSize: 4 << 20}
}

// addVolume puts a volume into paris, and lets users of the others import records.
func (w *demoWorld) addVolume() error {
	w.db = w.paris.AddVolume(demoVolumeName, 1, "", map[string]string{"dr": "gold"})
	w.writeVolume(2, demoWritten)
	for _, r := range w.replicas() {
		r.SetBlockRule("backup:backup-import", "member")
	}
	if err := os.WriteFile(filepath.Join(w.dir, demoVolumeFile), []byte(demoVolumePolicy), 0o600); err != nil {
		return fmt.Errorf("write policy file: %w", err)
	}
	return nil
}

// writeVolume writes random bytes to the volume's beginning, as a guest would.
func (w *demoWorld) writeVolume(seed byte, n int) {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data) // never fails
	_, _ = w.db.WriteAt(data, 0)                      // neither does this
}

// volumes ships a volume's snapshots to lyon, and has one restored there and proven.
func (d *demo) volumes(ctx context.Context) error {
	const file = " -f " + demoVolumeFile
	if err := d.show(ctx, 0, "sync"+file, "^db of .*: full .*; lyon landed$"); err != nil {
		return err
	}
	d.writeVolume(3, demoRewritten)
	d.narrate("its guest writes %s; a second snapshot ships what changed:", size(demoRewritten))
	if err := d.show(ctx, 0, "sync --snapshot-now"+file, "^db of .*: increment, 2nd of its chain, .*; lyon landed$"); err != nil {
		return err
	}
	const back = "db-back"
	if err := d.show(ctx, 0, "restore db --to lyon --name "+back+" --proof blocks"+file, "^proven: .* are equal to the source's"); err != nil {
		return err
	}
	if err := d.show(ctx, 0, "drill databases"+file, "^drill .* passed: databases: 1 restore, RTO "); err != nil {
		return err
	}
	var made []string
	for _, x := range d.lyon.BlockResources() {
		if x.Kind == "volume" {
			made = append(made, x.Name)
			if v := d.lyon.Volume(x.ID); x.Name == back && v != nil {
				if same, at := v.Equal(d.db); !same || v.Size() != d.db.Size() {
					return fmt.Errorf("volume %s at lyon differs from that of paris at byte %d", back, at)
				}
				d.fact("volume_bytes_identical", v.Size())
			}
		}
	}
	if len(made) != 1 || made[0] != back {
		return errors.New("lyon does not have the restored volume alone: " + fmt.Sprint(made))
	}
	return nil
}
