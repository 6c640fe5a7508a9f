package volumes

import (
	"context"
	"testing"
	"time"

	"farshore/integration/fakecloud"
	"farshore/replicator/report"
	"farshore/transport"
)

// A cinder-backup that is restarted leaves the snapshot backing-up and the backup in error: nobody will end
// that, which is said after a minute. While a backup of the snapshot is being made, it is not.
func TestSnapshotLeftBackingUp(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	g.policy.Snapshot.Every = 100 * time.Hour
	v := g.volume("db", 6)
	ctx, source := context.Background(), g.regions["a"].Blocks
	snap, err := source.CreateSnapshot(ctx, v.ID(), "left", madeMetadata("dbs", "1"))
	if err != nil {
		t.Fatal(err)
	}
	g.until(func() bool {
		snap, err = source.Snapshot(ctx, snap.ID)
		return err != nil || snap.Status == "available"
	})
	g.from.AddBlockFault(fakecloud.BlockFault{Name: "hang", Kind: fakecloud.JobBackup, Step: 2, Times: 1})
	made, err := source.CreateBackup(ctx, transport.BackupSpec{Volume: v.ID(), Snapshot: snap.ID, Name: "left", Metadata: madeMetadata("dbs", "1")})
	if err != nil {
		t.Fatal(err)
	}
	g.clock.advance(time.Minute)
	var left orphan
	for range 10 {
		g.clock.advance(orphanLook)
		if snap, err = source.Snapshot(ctx, snap.ID); err != nil || snap.Status != "backing-up" {
			t.Fatalf("snapshot %+v, %v", snap, err)
		}
		if alone, err := left.look(ctx, g.shipper(), source, snap); alone || err != nil {
			t.Fatalf("taken for one that is left: %v", err)
		}
	}
	g.from.RestartBlock()
	if made, err = source.Backup(ctx, made.ID); err != nil || made.Status != "error" {
		t.Fatalf("backup %+v, %v", made, err)
	}
	for range 2 { // when the backup is taken back, and when its snapshot is to be used again
		began := g.clock.Now()
		res, err := g.try(ShipOptions{})
		if err != nil {
			t.Fatal(err)
		}
		wantFinding(t, res, report.KindLeftBehind, "a", "snapshot "+snap.ID, "stays backing-up", "openstack volume snapshot set --state ")
		if took := g.clock.Now().Sub(began); took < orphanLook || took > 5*time.Minute {
			t.Errorf("it is said after %s", took)
		}
	}
	if n := g.count("a", "backup"); n != 0 || len(g.points()) != 0 {
		t.Errorf("%d backups, points %+v", n, g.points())
	}

	// What the admin does about it lets the next pass use the snapshot.
	g.from.SetBlockStatus(snap.ID, "available")
	if res := g.ship(); res.Volumes.Landed != 1 || g.points()[0].Snapshot != snap.ID {
		t.Errorf("%+v %+v", res.Volumes, g.points())
	}
	g.clean()
}
