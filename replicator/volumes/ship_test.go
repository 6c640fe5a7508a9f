package volumes

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"farshore/integration/fakecloud"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
	"farshore/transport/backup"
)

func wantFinding(t *testing.T, res report.Result, kind, region string, parts ...string) {
	t.Helper()
	for _, f := range res.Findings {
		text := f.Op + ": " + f.Cause + " → " + f.Hint
		if f.Kind == kind && f.Region == region && !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(text, p) }) {
			return
		}
	}
	t.Errorf("no finding %s of region %q with %q among %s", kind, region, parts, findingsOf(res))
}

// Snapshots that are asked for one right after the other make a chain all the same,
// although Cinder's times are whole seconds.
func TestSnapshotsOfOneSecondMakeAChain(t *testing.T) {
	g := newRig(t, rigOptions{block: func(o *fakecloud.BlockOptions) { o.Pace = fakecloud.BlockPace{Step: time.Millisecond} }}, "b")
	g.volume("db", 1)
	for range 3 {
		s := g.shipper()
		s.o.Poll = 8 * time.Millisecond
		if res, err := s.Ship(t.Context(), g.policy, ShipOptions{SnapshotNow: true}); err != nil || res.Errors > 0 {
			t.Fatalf("%v %s", err, findingsOf(res))
		}
	}
	points := g.points()
	if len(points) != 3 || points[0].Parent != "" || points[1].Parent != points[0].ID || points[2].Parent != points[1].ID {
		t.Fatalf("%+v", points)
	}
	for i := 1; i < 3; i++ {
		if points[i].Taken <= points[i-1].Taken {
			t.Errorf("point %d is not younger than the one before", i)
		}
	}
}

// A chain of a full backup and increments in which ranges were rewritten and zeroed:
// every point restores, in every destination, to exactly its own bytes, and what a
// restore without source and ledger needs stands there.
func TestShipsAChain(t *testing.T) {
	g := newRig(t, rigOptions{}, "b", "c")
	v := g.volume("db", 1)
	v.Attach("server", "/dev/vdb") // in use all the time
	var want [][]byte
	for i := range 4 {
		if i > 0 {
			g.scribble(v, uint64(10+i), int64(i)*40_000, 20_000)
			_, _ = v.WriteAt(make([]byte, 9000), int64(i)*60_000)
			g.clock.advance(time.Hour)
		}
		want = append(want, content(v))
		if i == 0 {
			g.holdUntilCopied("b", "c")
		}
		res := g.ship()
		if i == 0 {
			g.from.OnBlockStep(nil)
			overlaps(t, res.Points[0])
		}
	}
	if v.Status() != "in-use" {
		t.Errorf("the volume is %s", v.Status())
	}
	points := g.points()
	if len(points) != 4 {
		t.Fatalf("%d points, want 4", len(points))
	}
	for i, p := range points {
		if (p.Parent == "") != (i == 0) || i > 0 && p.Parent != points[i-1].ID {
			t.Errorf("point %d is an increment upon %q (%s)", i, p.Parent, p.Why)
		}
		for _, region := range []string{"b", "c"} {
			c, _ := p.Copy(region)
			if c.State != store.CopyLanded {
				t.Errorf("point %d is %s in %s: %s", i, c.State, region, c.Note)
			}
			if got := g.restored(region, c.Backup); !bytes.Equal(got, want[i]) {
				t.Errorf("point %d restores to other bytes in %s", i, region)
			}
			g.described(p, c, want[i])
		}
	}
	g.clean()
}

// holdUntilCopied has a backup stand still in its midst until regions have some of it: its
// time passes by leaps, and copying takes as long as the machine likes.
func (g *rig) holdUntilCopied(regions ...string) {
	g.from.OnBlockStep(func(s fakecloud.BlockStep) {
		if s.Kind != fakecloud.JobBackup || s.Step != 8 {
			return
		}
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if !slices.ContainsFunc(regions, func(n string) bool { return len(g.cloud.Region(n).Names("volumebackups")) == 0 }) {
				return
			}
		}
	})
}

// overlaps asserts that the copy went on while the backup was written.
func overlaps(t *testing.T, x report.PointResult) {
	t.Helper()
	if x.BackupEnded.Before(x.BackupBegan) || x.FirstObject.IsZero() || x.LastObject.Before(x.FirstObject) {
		t.Errorf("times of the backup: %+v", x)
	}
	for _, r := range x.Regions {
		if !r.FirstObject.Before(x.LastObject) || r.Listed.Before(r.LastObject.Truncate(time.Second)) || r.Imported.Before(r.Listed) || r.State != "landed" || r.Sent != x.Bytes {
			t.Errorf("the source's last object is of %s; destination: %+v", x.LastObject, r)
		}
	}
}

// described asserts that a destination's descriptor says what the ledger does, and that
// its block lists, one upon another, are those of the content.
func (g *rig) described(p store.Point, c store.PointCopy, content []byte) {
	g.t.Helper()
	s := g.shipper()
	d, err := s.readDescriptor(g.t.Context(), c.Region, p.Volume.ID, c.Backup)
	if err != nil {
		g.t.Fatal(err)
	}
	p.Copies = nil
	d.Copy.Landed = c.Landed // it is written before
	d.Copy.State = c.State
	got, _ := json.Marshal([]any{d.Point, d.Copy})
	want, _ := json.Marshal([]any{p, c})
	if !bytes.Equal(got, want) {
		g.t.Errorf("the descriptor says %s\n the ledger %s", got, want)
	}
	var of []backup.Hash
	if err := backup.HashBlocks(bytes.NewReader(content), 4096, func(h backup.Hash) error { of = append(of, h); return nil }); err != nil {
		g.t.Fatal(err)
	}
	list := g.blocksAt(c.Region, p.Volume.ID, c)
	if n, first, err := backup.Compare(list, backup.SliceBlocks(of)); err != nil || n != 0 {
		g.t.Errorf("the block list of %s in %s differs in %d blocks, at %v; %v", p.ID, c.Region, n, first, err)
	}
}

// blocksAt opens a copy's block list upon its parents'.
func (g *rig) blocksAt(region, volume string, c store.PointCopy) backup.Blocks {
	g.t.Helper()
	var parent backup.Blocks
	if c.Parent != "" {
		d, err := g.shipper().readDescriptor(g.t.Context(), region, volume, c.Parent)
		if err != nil {
			g.t.Fatal(err)
		}
		parent = g.blocksAt(region, volume, d.Copy)
	}
	o, ok := g.cloud.Region(region).Get(PointsContainer, blocksName(volume, c.Backup))
	if !ok {
		g.t.Fatalf("no block list of %s in %s", c.Backup, region)
	}
	l, err := backup.OpenList(bytes.NewReader(o.Bytes()), parent)
	if err != nil {
		g.t.Fatal(err)
	}
	return l
}

// A destination that does not answer holds up nobody, and catches up from the same
// backups: the source makes no other one.
func TestOneDestinationDown(t *testing.T) {
	g := newRig(t, rigOptions{}, "b", "c")
	v := g.volume("db", 2)
	g.ship()
	if err := g.cloud.Region("c").Stop(); err != nil {
		t.Fatal(err)
	}
	var want [][]byte
	for i := range 2 {
		g.clock.advance(time.Hour)
		g.scribble(v, uint64(20+i), 100_000, 30_000)
		want = append(want, content(v))
		res, err := g.try(ShipOptions{})
		if err != nil {
			t.Fatal(err)
		}
		wantFinding(t, res, report.KindRegionDown, "c", "catches up")
		if i := slices.IndexFunc(res.Findings, func(f report.Finding) bool { return f.Kind != report.KindRegionDown && f.Kind != report.KindTooFew }); i >= 0 {
			t.Errorf("a finding beside: %s", findingsOf(res))
		}
	}
	for _, p := range g.points()[1:] {
		b, _ := p.Copy("b")
		c, _ := p.Copy("c")
		if b.State != store.CopyLanded || c.State != store.CopyShipping || p.Parent == "" {
			t.Errorf("while c is down point %s (parent %q) is %s in b and %s in c", p.ID, p.Parent, b.State, c.State)
		}
	}
	if err := g.cloud.Region("c").Start(); err != nil {
		t.Fatal(err)
	}
	res := g.ship()
	if res.Volumes.Landed != 2 || res.Volumes.Snapshots != 0 || g.count("a", "backup") != 3 {
		t.Errorf("catching up: %+v, %d backups at the source", res.Volumes, g.count("a", "backup"))
	}
	for i, p := range g.points()[1:] {
		if got := g.restored("c", p.ID); !bytes.Equal(got, want[i]) {
			t.Errorf("point %d restores to other bytes in c", i)
		}
	}
	g.clean()
}

// Without the right to import, points are shipped and wait; the rule is named. With it,
// the next pass imports them, parents first, and copies nothing again.
func TestImportDenied(t *testing.T) {
	g := newRig(t, rigOptions{noImport: true}, "b")
	v := g.volume("db", 3)
	for i := range 2 {
		res, err := g.try(ShipOptions{})
		if err != nil {
			t.Fatal(err)
		}
		wantFinding(t, res, report.KindNotImported, "b", "backup:backup-import", "import_cloud", "farshore points land")
		g.scribble(v, uint64(30+i), 0, 10_000)
		g.clock.advance(time.Hour)
	}
	for _, p := range g.points() {
		if c, _ := p.Copy("b"); c.State != store.CopyShipped || !strings.Contains(c.Note, "backup:backup-import") || c.Objects != p.Objects || c.Backup != p.ID {
			t.Errorf("copy: %+v", c)
		}
	}
	if n := g.count("b", "backup"); n != 0 {
		t.Errorf("%d backups in b", n)
	}
	reg := g.regions["b"]
	reg.Import = g.admin["b"]
	g.regions["b"] = reg
	g.policy.Snapshot.Every = 100 * time.Hour
	res := g.ship()
	if res.Volumes.Landed != 2 || res.Totals.Bytes != 0 || g.count("b", "backup") != 2 {
		t.Errorf("landing: %+v, %d bytes, %d backups", res.Volumes, res.Totals.Bytes, g.count("b", "backup"))
	}
	g.clean()
}

// status gives all volumes of the source a status.
func (g *rig) status(status string) {
	for _, x := range g.from.BlockResources() {
		if x.Kind == "volume" && !g.from.SetBlockStatus(x.ID, status) {
			g.t.Fatalf("volume %s is not there", x.ID)
		}
	}
}

// What cannot come to a good end is refused before anything is made, and by a plan.
func TestRefusedBefore(t *testing.T) {
	for name, c := range map[string]struct {
		set    func(*rig)
		kind   string
		region string
		parts  []string
	}{
		"backups":    {func(g *rig) { g.from.SetQuota(fakecloud.Project, "backups", 0) }, report.KindNotShipped, "a", []string{"quota backups: 0 of 0 are used", "openstack quota set --backups 1"}},
		"gigabytes":  {func(g *rig) { g.from.SetQuota(fakecloud.Project, "backup_gigabytes", 0) }, report.KindNotShipped, "a", []string{"quota backup_gigabytes", "--backup-gigabytes 1"}},
		"snapshots":  {func(g *rig) { g.from.SetQuota(fakecloud.Project, "snapshots", 0) }, report.KindNotShipped, "a", []string{"quota snapshots"}},
		"there":      {func(g *rig) { g.cloud.Region("b").SetQuota(fakecloud.Project, "backup_gigabytes", 0) }, report.KindNotShipped, "b", []string{"quota backup_gigabytes"}},
		"in error":   {func(g *rig) { g.status("error_extending") }, report.KindNotShipped, "a", []string{"its status is error_extending", "openstack volume set --state available "}},
		"serviced":   {func(g *rig) { g.status("maintenance") }, report.KindNotShipped, "a", []string{"its status is maintenance", "openstack volume show "}},
		"no such id": {func(g *rig) { g.policy.Volumes.All = false; g.policy.Volumes.IDs = []string{"nobody"} }, report.KindNotShipped, "a", []string{"there is no such volume"}},
		"encrypted": {func(g *rig) {
			g.from.AddVolume("secret", 1, "luks", nil)
			g.policy.Volumes.All = false
			g.policy.Volumes.Names = []string{"secret"}
		}, report.KindCannot, "a", []string{"the volume is encrypted", "Barbican"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, rigOptions{}, "b")
			g.volume("db", 4)
			c.set(g)
			plan, err := g.try(ShipOptions{DryRun: true})
			if err != nil {
				t.Fatal(err)
			}
			wantFinding(t, plan, c.kind, c.region, c.parts...)
			res, err := g.try(ShipOptions{})
			if err != nil {
				t.Fatal(err)
			}
			wantFinding(t, res, c.kind, c.region, c.parts...)
			if n := g.count("a", "backup") + g.count("b", "backup"); n != 0 || len(g.points()) != 0 || res.Volumes.Snapshots != 0 {
				t.Errorf("%d backups, %d points, %+v", n, len(g.points()), res.Volumes)
			}
			g.clean()
		})
	}
}

// A region whose backups are elsewhere is refused: by what is known of it before any
// snapshot, else by the first backup, which is removed again.
func TestPlacement(t *testing.T) {
	for _, where := range []fakecloud.BlockPlacement{fakecloud.SingleUser, fakecloud.Elsewhere} {
		t.Run(string(where), func(t *testing.T) {
			g := newRig(t, rigOptions{block: func(o *fakecloud.BlockOptions) { o.Placement = where }}, "b")
			v := g.volume("db", 5)
			res, err := g.try(ShipOptions{})
			if err != nil {
				t.Fatal(err)
			}
			wantFinding(t, res, report.KindPlacement, "a", "per_user")
			if n := g.count("a", "backup"); n != 0 || len(g.points()) != 0 {
				t.Errorf("%d backups, %d points are left", n, len(g.points()))
			}
			g.clean()
			ctx := context.Background()
			b, err := g.regions["a"].Blocks.CreateBackup(ctx, transport.BackupSpec{Volume: v.ID(), Name: "theirs"})
			if err != nil {
				t.Fatal(err)
			}
			g.until(func() bool { b, err = g.regions["a"].Blocks.Backup(ctx, b.ID); return b.Status == "available" })
			g.clock.advance(time.Hour)
			if res, err = g.try(ShipOptions{}); err != nil {
				t.Fatal(err)
			}
			wantFinding(t, res, report.KindPlacement, "a", "per_user")
			if res.Volumes.Snapshots != 0 || g.count("a", "backup") != 1 {
				t.Errorf("%+v, %d backups", res.Volumes, g.count("a", "backup"))
			}
		})
	}
}

// A backup that goes to error is removed with what was carried of it. An increment is
// made again as a full one first.
func TestBackupFails(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	v := g.volume("db", 6)
	g.from.AddBlockFault(fakecloud.BlockFault{Name: "full", Kind: fakecloud.JobBackup, Step: 3, Fail: "the disk is on fire"})
	res, err := g.try(ShipOptions{})
	if err != nil {
		t.Fatal(err)
	}
	wantFinding(t, res, report.KindNotShipped, "a", "the disk is on fire", "openstack volume message list")
	g.nothingOf("b")
	if len(g.points()) != 0 || g.count("a", "backup") != 0 {
		t.Errorf("points %+v, %d backups", g.points(), g.count("a", "backup"))
	}
	g.clean()
	g.from.ClearBlockFaults()
	g.clock.advance(time.Hour)
	g.ship()
	g.scribble(v, 61, 0, 50_000)
	g.clock.advance(time.Hour)
	g.from.AddBlockFault(fakecloud.BlockFault{Name: "increment", Kind: fakecloud.JobBackup, Step: 2, Times: 1, Fail: "the parent has another block size"})
	res = g.ship()
	points := g.points()
	if len(points) != 2 || points[1].Parent != "" || points[1].Why != "Cinder could not make an increment" || len(res.Points) != 1 {
		t.Errorf("points %+v, result %+v", points, res.Points)
	}
	if got := g.restored("b", points[1].ID); !bytes.Equal(got, content(v)) {
		t.Error("it restores to other bytes")
	}
	g.clean()
}

// nothingOf asserts that a destination holds no object of any point.
func (g *rig) nothingOf(region string) {
	g.t.Helper()
	r := g.cloud.Region(region)
	for _, c := range r.ContainerNames() {
		if names := r.Names(c); len(names) > 0 {
			g.t.Errorf("%s has %q in %s", region, names, c)
		}
	}
}

// A token that ends before a backup does explains its error, and what is known to take
// longer than a token lives is refused.
func TestTokenLife(t *testing.T) {
	g := newRig(t, rigOptions{tokenLife: 4 * time.Minute, block: func(o *fakecloud.BlockOptions) { o.Pace.Window = 10 * time.Second }}, "b")
	v := g.volume("db", 7) // 16 windows of 10 s each
	g.ship()
	g.from.SetBlockPace(fakecloud.BlockPace{Step: time.Second, Window: 20 * time.Second})
	g.clock.advance(time.Hour)
	res, err := g.try(ShipOptions{})
	if err != nil {
		t.Fatal(err)
	}
	wantFinding(t, res, report.KindNotShipped, "a", "the token that it was started with ended at")
	if len(g.points()) != 1 || g.count("a", "backup") != 1 {
		t.Errorf("%d points, %d backups", len(g.points()), g.count("a", "backup"))
	}
	g.clean()
	big := g.from.AddVolume("big", 4, "", nil)
	g.policy.Volumes.All = false
	g.policy.Volumes.IDs = []string{big.ID()}
	if res, err = g.try(ShipOptions{}); err != nil {
		t.Fatal(err)
	}
	wantFinding(t, res, report.KindTokenLife, "a", "nothing was begun", "expiration of Keystone")
	_ = v
	g.clean()
}

// Snapshots that others make are watched: of a volume without points only the newest
// becomes one, later ones all do, in order, and none is deleted.
func TestWatchesSnapshots(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	g.policy.Snapshot = nil
	v := g.volume("db", 8)
	ctx := context.Background()
	snap := func(name string) transport.Snapshot {
		s, err := g.regions["a"].Blocks.CreateSnapshot(ctx, v.ID(), name, nil)
		if err != nil {
			t.Fatal(err)
		}
		g.clock.advance(time.Minute)
		return s
	}
	snap("old")
	one := snap("one")
	g.ship()
	if p := g.points(); len(p) != 1 || p[0].Snapshot != one.ID || p[0].SnapshotOurs {
		t.Fatalf("points %+v", p)
	}
	if res := g.ship(); len(res.Points) != 0 {
		t.Errorf("nothing was due: %+v", res.Points)
	}
	g.scribble(v, 80, 0, 9000)
	two := snap("two")
	g.scribble(v, 81, 0, 9000)
	three := snap("three")
	gone := snap("gone")
	g.wrap = func(name string, r Region) Region { // it is listed, and gone when it is looked at
		if name == "a" {
			r.Blocks = &vanishing{BlockStorage: r.Blocks, id: gone.ID}
		}
		return r
	}
	res := g.ship()
	if len(res.Points) != 2 || res.Points[0].Snapshot != two.ID || res.Points[1].Snapshot != three.ID || res.Points[1].Chain != 3 {
		t.Errorf("points %+v", res.Points)
	}
	if n := g.count("a", "snapshot"); n != 4 {
		t.Errorf("%d snapshots, want the 4 that others made and are there", n)
	}
}

// vanishing deletes a snapshot as soon as it was listed.
type vanishing struct {
	transport.BlockStorage
	id string
}

func (v *vanishing) Snapshots(ctx context.Context, volume string) ([]transport.Snapshot, error) {
	list, err := v.BlockStorage.Snapshots(ctx, volume)
	if err == nil {
		err = v.DeleteSnapshot(ctx, v.id)
	}
	return list, err
}

// A plan says what a pass would do, and does nothing.
func TestPlan(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	g.volume("db", 9)
	res, err := g.try(ShipOptions{DryRun: true})
	if err != nil || len(res.Points) != 1 || res.Points[0].Why == "" || res.Points[0].Regions[0].State != "wanted" {
		t.Errorf("%+v, %v", res.Points, err)
	}
	if g.count("a", "snapshot")+g.count("a", "backup") != 0 || len(g.points()) != 0 {
		t.Error("it did something")
	}
	g.clean()
}

// A plan counts what waits for a destination that is down, and says that it is.
func TestPlanWithADestinationDown(t *testing.T) {
	g := newRig(t, rigOptions{}, "b", "c")
	g.volume("db", 9)
	if err := g.cloud.Region("c").Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := g.try(ShipOptions{}); err != nil {
		t.Fatal(err)
	}
	res, err := g.try(ShipOptions{DryRun: true})
	if err != nil || len(res.Points) != 1 || res.Points[0].Point != g.points()[0].ID {
		t.Errorf("%+v, %v", res.Points, err)
	}
	wantFinding(t, res, report.KindRegionDown, "c", "", "catches up")
	if err := g.cloud.Region("c").Start(); err != nil {
		t.Fatal(err)
	}
	g.ship()
	if res, err = g.try(ShipOptions{DryRun: true}); err != nil || len(res.Points)+len(res.Findings) > 0 {
		t.Errorf("when all is done: %+v, %v%s", res.Points, err, findingsOf(res))
	}
}

// A backup that hangs is named with the admin's command, and keeps no other volume from
// being shipped; when the admin has ended it, the next pass clears it away and goes on.
func TestBackupHangs(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	g.volume("db", 6)
	g.volume("other", 7)
	g.from.AddBlockFault(fakecloud.BlockFault{Name: "hang", Kind: fakecloud.JobBackup, Step: 3, Times: 1})
	res, err := g.try(ShipOptions{})
	if err != nil {
		t.Fatal(err)
	}
	wantFinding(t, res, report.KindLeftBehind, "a", "stays creating", "openstack volume backup set --state error ")
	if res.Volumes.Landed != 1 {
		t.Errorf("%+v", res.Volumes)
	}
	stuck := slices.IndexFunc(g.points(), func(p store.Point) bool { return p.Made == 0 })
	if stuck < 0 || !g.from.SetBlockStatus(g.points()[stuck].ID, "error") {
		t.Fatalf("no point is on its way: %+v", g.points())
	}
	g.from.SetBlockStatus(g.points()[stuck].Snapshot, "available")
	g.from.ClearBlockFaults()
	g.policy.Snapshot.Every = 100 * time.Hour
	if res, err = g.try(ShipOptions{}); err != nil {
		t.Fatal(err)
	}
	wantFinding(t, res, report.KindNotShipped, "a", "ended in error")
	res = g.ship()
	if n := g.count("a", "backup"); n != 2 || len(g.points()) != 2 || g.count("b", "backup") != 2 || res.Volumes.Snapshots != 1 {
		t.Errorf("%d backups, %d points, %d there, %+v", n, len(g.points()), g.count("b", "backup"), res.Volumes)
	}
	g.clean()
}

// What the source has lost is said once, and keeps no new point from being made.
func TestSourceLosesABackup(t *testing.T) {
	g := newRig(t, rigOptions{}, "b", "c")
	v := g.volume("db", 8)
	if err := g.cloud.Region("c").Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := g.try(ShipOptions{}); err != nil {
		t.Fatal(err)
	}
	old := g.points()[0]
	if err := g.regions["a"].Blocks.DeleteBackup(t.Context(), old.ID); err != nil {
		t.Fatal(err)
	}
	g.until(func() bool { return g.count("a", "backup") == 0 })
	if err := g.cloud.Region("c").Start(); err != nil {
		t.Fatal(err)
	}
	g.clock.advance(time.Hour)
	g.scribble(v, 9, 0, 1000)
	res, err := g.try(ShipOptions{})
	if err != nil {
		t.Fatal(err)
	}
	wantFinding(t, res, report.KindNotShipped, "a", "the source no longer has its backup")
	points := g.points()
	if len(points) != 2 || points[0].Gone == 0 || points[1].Parent != "" {
		t.Fatalf("points %+v", points)
	}
	for _, region := range []string{"b", "c"} {
		if c, _ := points[1].Copy(region); c.State != store.CopyLanded {
			t.Errorf("in %s: %+v", region, c)
		}
	}
	g.clock.advance(time.Hour)
	if res, err = g.try(ShipOptions{}); err != nil || res.Counts[report.KindNotShipped] != 0 {
		t.Errorf("it is said again: %s, %v", findingsOf(res), err)
	}
	g.clean()
}
