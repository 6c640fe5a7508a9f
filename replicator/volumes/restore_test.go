package volumes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"farshore/integration/fakecloud"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// chained ships a chain of a volume to b: a full backup and increments in which ranges
// were rewritten and zeroed. It gives the points and the bytes each must have.
func (g *rig) chained(n int) (points []store.Point, want [][]byte) {
	g.t.Helper()
	want = g.chain(n-1, func(v *fakecloud.BlockVolume) { v.SetImage(map[string]string{"image_name": "debian", "min_disk": "1"}) })
	if points = g.points(); len(points) != n {
		g.t.Fatalf("%d points, want %d", len(points), n)
	}
	return points, want
}

// restore restores and must do so without an error or an error finding.
func (g *rig) restore(r RestoreRequest) report.Restore {
	g.t.Helper()
	out, findings, err := g.shipper().Restore(context.Background(), r)
	if err != nil {
		g.t.Fatalf("restore: %v", err)
	}
	for _, f := range findings {
		if f.Level == report.Error {
			g.t.Fatalf("restore: finding %+v", f)
		}
	}
	return out
}

// bare asserts that a region has volumes and backups as counted and no scratch things,
// and that the ledger has no work.
func (g *rig) bare(region string, volumes, backups int) {
	g.t.Helper()
	for kind, want := range map[string]int{"volume": volumes, "backup": backups, "snapshot": 0} {
		if n := g.count(region, kind); n != want {
			g.t.Errorf("region %s has %d of kind %s, want %d: %+v", region, n, kind, want, g.cloud.Region(region).BlockResources())
		}
	}
	for _, c := range g.cloud.Region(region).ContainerNames() {
		if strings.HasPrefix(c, scratchContainerPrefix) {
			g.t.Errorf("container %s is left in %s", c, region)
		}
	}
	if works, err := g.ledger.Works(); err != nil || len(works) > 0 {
		g.t.Errorf("works are left: %+v, %v", works, err)
	}
}

// Each point of a chain restores to its own bytes, with the volume's properties, and
// the proof says so.
func TestRestoresAndProvesEveryPoint(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	points, want := g.chained(4)
	g.bare("b", 0, 4)
	for i, p := range points {
		out := g.restore(RestoreRequest{Point: p.ID, To: "b", Proof: ProofBlocks, Name: fmt.Sprintf("db-%d", i)})
		v := g.cloud.Region("b").Volume(out.Volume)
		if v == nil || !bytes.Equal(content(v), want[i]) {
			t.Fatalf("point %d restores to other bytes", i)
		}
		got, err := g.regions["b"].Blocks.Volume(t.Context(), out.Volume)
		if err != nil {
			t.Fatal(err)
		}
		if got.Name != out.Name || got.Name != fmt.Sprintf("db-%d", i) || !got.Bootable || got.Image["image_name"] != "debian" || got.Status != "available" {
			t.Errorf("volume %+v", got)
		}
		if len(got.Metadata) != 0 {
			t.Errorf("it has the metadata %v, the source none", got.Metadata)
		}
		if out.Proof == nil || !out.Proof.OK || out.Proof.Blocks != v.Size()/4096 || out.Proof.Expected != out.Proof.Found || out.Proof.Hashed != hashedService {
			t.Errorf("proof %+v", out.Proof)
		}
		if len(out.Backups) != i+1 || out.RTO <= 0 || out.Seconds <= out.RTO || out.Known != knownLedger {
			t.Errorf("restore %+v", out)
		}
		x, _, _ := g.ledger.Point(p.ID)
		if c, _ := x.Copy("b"); !c.Proof.OK || c.Proof.At == 0 || c.Proof.Kind != out.Proof.Against {
			t.Errorf("recorded proof %+v", c.Proof)
		}
		g.bare("b", i+1, 4)
	}
}

// A volume's metadata is as at the source, and so is its description.
func TestRestoreKeepsMetadata(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	v := g.from.AddVolume("db", 1, "fast", map[string]string{"dr": "gold", "a": "ü"})
	desc := "orders"
	if err := g.regions["a"].Blocks.ChangeVolume(t.Context(), v.ID(), transport.VolumeChange{Description: &desc}); err != nil {
		t.Fatal(err)
	}
	g.ship()
	out := g.restore(RestoreRequest{Point: "db", To: "b"})
	got, err := g.regions["b"].Blocks.Volume(t.Context(), out.Volume)
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(got.Metadata, map[string]string{"dr": "gold", "a": "ü"}) || got.Description != desc || got.Type != "fast" || got.Name != "db" || got.Bootable {
		t.Errorf("volume %+v", got)
	}
}

// With the source gone and the ledger lost, what the destination holds suffices, and
// proves itself by its own objects where no block list is left.
func TestRestoresFromTheDestinationAlone(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	points, want := g.chained(3)
	g.disaster()
	last := points[len(points)-1]
	dropLists := func() {
		for _, n := range g.cloud.Region("b").Names(PointsContainer) {
			if strings.HasSuffix(n, blocksSuffix) {
				g.cloud.Region("b").Delete(PointsContainer, n)
			}
		}
	}
	for i, against := range []string{proofBlocks, proofObjects} {
		if against == proofObjects {
			dropLists()
		}
		out := g.restore(RestoreRequest{Point: last.Volume.ID, To: "b", Proof: ProofBlocks})
		if got := content(g.cloud.Region("b").Volume(out.Volume)); !bytes.Equal(got, want[2]) {
			t.Fatal("other bytes")
		}
		if out.Known != knownDestination || out.Proof == nil || !out.Proof.OK || out.Proof.Against != against || len(out.Backups) != 3 {
			t.Errorf("restore %+v, proof %+v", out, out.Proof)
		}
		g.bare("b", i+1, 3)
	}
}

// What cannot go well is refused before anything is made, and says what to do.
func TestRestoreRefusesBeforehand(t *testing.T) {
	point := func(g *rig, change func(p *store.Point, c *store.PointCopy)) {
		g.t.Helper()
		p := g.points()[0]
		err := g.ledger.UpdatePoint(g.t.Context(), p.ID, func(p *store.Point, _ bool) bool {
			c, _ := p.Copy("b")
			change(p, &c)
			p.SetCopy(c)
			return true
		})
		if err != nil {
			g.t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name    string
		prepare func(g *rig, at store.PointCopy)
		req     RestoreRequest
		says    []string
	}{
		{"object missing", func(g *rig, at store.PointCopy) {
			g.cloud.Region("b").Delete(at.Container, g.dataObjects("b", at)[3])
		}, RestoreRequest{}, []string{"15 of its 16 data objects", "audit --repair"}},
		{"object too many", func(g *rig, at store.PointCopy) {
			g.cloud.Region("b").Put(at.Container, at.Prefix+"-00077", []byte("x"), nil)
		}, RestoreRequest{}, []string{"-00077 is there", "audit --repair"}},
		{"other _metadata", func(g *rig, at store.PointCopy) {
			o, _ := g.cloud.Region("b").Get(at.Container, at.Prefix+"_metadata")
			g.cloud.Region("b").Put(at.Container, at.Prefix+"_metadata", append(o.Bytes(), ' '), nil)
		}, RestoreRequest{}, []string{"SHA-256", "was recorded"}},
		{"no record", func(g *rig, at store.PointCopy) {
			names := g.cloud.Region("b").Names(at.Container)
			keep := map[string][]byte{}
			for _, n := range names {
				o, _ := g.cloud.Region("b").Get(at.Container, n)
				keep[n] = o.Bytes()
			}
			if err := g.regions["b"].Blocks.DeleteBackup(g.t.Context(), at.Backup); err != nil {
				g.t.Fatal(err)
			}
			g.until(func() bool { return g.count("b", "backup") == 0 })
			for n, data := range keep {
				g.cloud.Region("b").Put(at.Container, n, data, nil)
			}
		}, RestoreRequest{}, []string{"no longer has its record", "audit --repair"}},
		{"not imported", func(g *rig, _ store.PointCopy) {
			point(g, func(_ *store.Point, c *store.PointCopy) { c.State, c.Note = store.CopyShipped, "the rule says no" })
		}, RestoreRequest{}, []string{"the rule says no", "points land"}},
		{"encrypted", func(g *rig, _ store.PointCopy) {
			point(g, func(p *store.Point, _ *store.PointCopy) { p.Volume.Encrypted = true })
		}, RestoreRequest{}, []string{"encrypted", "Barbican"}},
		{"type", func(*rig, store.PointCopy) {}, RestoreRequest{Type: "nosuch"}, []string{"no volume type nosuch", "standard"}},
		{"volumes", func(g *rig, _ store.PointCopy) { g.cloud.Region("b").SetQuota(fakecloud.Project, "volumes", 0) }, RestoreRequest{}, []string{"volumes", "openstack quota set --volumes 1"}},
		{"gigabytes", func(g *rig, _ store.PointCopy) { g.cloud.Region("b").SetQuota(fakecloud.Project, "gigabytes", 0) }, RestoreRequest{}, []string{"gigabytes"}},
		{"scratch", func(g *rig, _ store.PointCopy) { g.cloud.Region("b").SetQuota(fakecloud.Project, "backups", 1) }, RestoreRequest{Proof: ProofBlocks}, []string{"backups", "--proof none"}},
		{"no such point", func(*rig, store.PointCopy) {}, RestoreRequest{Point: "ffffffff"}, []string{"ffffffff", "farshore points"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newRig(t, rigOptions{}, "b")
			g.volume("db", 1)
			g.ship()
			at, _ := g.points()[0].Copy("b")
			c.prepare(g, at)
			backups := g.count("b", "backup")
			if c.req.Point == "" {
				c.req.Point = "db"
			}
			c.req.To = "b"
			_, _, err := g.shipper().Restore(t.Context(), c.req)
			if err == nil {
				t.Fatal("it was restored")
			}
			text := err.Error() + " → " + hintOf(err)
			for _, s := range c.says {
				if !strings.Contains(text, s) {
					t.Errorf("%q does not say %q", text, s)
				}
			}
			g.bare("b", 0, backups)
		})
	}
}

// A restore that ends in error_restoring is explained as far as can be, and leaves nothing.
func TestRestoreExplainsAFailure(t *testing.T) {
	t.Run("token", func(t *testing.T) {
		g := newRig(t, rigOptions{}, "b")
		g.volume("db", 1)
		g.ship()
		g.cloud.Region("b").SetBlockPace(fakecloud.BlockPace{Step: time.Second, Window: 20 * time.Second})
		g.cloud.Region("b").AddBlockFault(fakecloud.BlockFault{Kind: fakecloud.JobRestore, Step: 8, Fail: "401"})
		g.wrap = func(_ string, r Region) Region {
			r.Blocks = shortLived{r.Blocks, g.clock}
			return r
		}
		_, _, err := g.shipper().Restore(t.Context(), RestoreRequest{Point: "db", To: "b"})
		if err == nil || !strings.Contains(err.Error(), "token that it was started with ended") || !strings.Contains(hintOf(err), "service tokens") {
			t.Errorf("restore: %v", err)
		}
		g.bare("b", 0, 1)

		// Once it is known how slow the region is, it is refused beforehand.
		g.cloud.Region("b").ClearBlockFaults()
		if err := g.shipper().learnSpeed("b", 1, 400*time.Second); err != nil {
			t.Fatal(err)
		}
		_, _, err = g.shipper().Restore(t.Context(), RestoreRequest{Point: "db", To: "b"})
		if err == nil || !strings.Contains(err.Error(), "lives 2m0s, and restoring 1 GiB takes about 6m40s") || !strings.Contains(hintOf(err), "--anyway") {
			t.Errorf("restore: %v", err)
		}
		g.restore(RestoreRequest{Point: "db", To: "b", Anyway: true})
		g.bare("b", 1, 1)
	})
	t.Run("any", func(t *testing.T) {
		g := newRig(t, rigOptions{}, "b")
		g.volume("db", 1)
		g.ship()
		g.cloud.Region("b").AddBlockFault(fakecloud.BlockFault{Kind: fakecloud.JobRestore, Step: 2, Fail: "disk gone"})
		_, _, err := g.shipper().Restore(t.Context(), RestoreRequest{Point: "db", To: "b"})
		if err == nil || !strings.Contains(err.Error(), "became error_restoring") || !strings.Contains(hintOf(err), "; or an object of the copy is damaged: farshore audit dbs --read 100% --repair") {
			t.Errorf("restore: %v → %s", err, hintOf(err))
		}
		g.bare("b", 0, 1)
	})
	t.Run("stuck", func(t *testing.T) {
		g := newRig(t, rigOptions{}, "b")
		g.volume("db", 1)
		g.ship()
		g.cloud.Region("b").AddBlockFault(fakecloud.BlockFault{Kind: fakecloud.JobRestore, Step: 2})
		req := RestoreRequest{Point: "db", To: "b", Wait: time.Hour}
		s := g.shipper()
		_, _, err := s.Restore(t.Context(), req)
		var stuck *stuckError
		if !errors.As(err, &stuck) || !strings.Contains(err.Error(), "openstack volume set --state error "+stuck.id) || !strings.Contains(err.Error(), "the same command goes on") {
			t.Fatalf("restore: %v", err)
		}
		g.cloud.Region("b").ReleaseBlock()
		g.cloud.Region("b").ClearBlockFaults()
		if out, _, err := s.Restore(t.Context(), req); err != nil || !out.Resumed || out.Volume != stuck.id {
			t.Errorf("restore %+v: %v", out, err)
		}
		g.bare("b", 1, 1)
	})
	t.Run("abandoned", func(t *testing.T) {
		g := newRig(t, rigOptions{}, "b")
		g.volume("db", 1)
		g.ship()
		req := RestoreRequest{Point: "db", To: "b"}
		cut := g.killedBy(&fuse{at: "create volume b", after: true}, func(ctx context.Context) error {
			_, _, err := g.shipper().Restore(ctx, req)
			return err
		})
		if !cut {
			t.Fatal("not killed")
		}
		if n := g.count("b", "volume"); n != 1 {
			t.Fatalf("%d volumes", n)
		}
		req.Abandon = true
		if _, _, err := g.shipper().Restore(t.Context(), req); err != nil {
			t.Error(err)
		}
		g.bare("b", 0, 1)
		if _, _, err := g.shipper().Restore(t.Context(), req); !transport.Is(err, transport.NotFound) {
			t.Errorf("again: %v", err)
		}
	})
	t.Run("at the source", func(t *testing.T) {
		g := newRig(t, rigOptions{}, "b")
		want := content(g.volume("db", 1))
		g.ship()
		out := g.restore(RestoreRequest{Point: "db", To: "a", Name: "back", Proof: ProofBlocks})
		if !bytes.Equal(content(g.from.Volume(out.Volume)), want) || !out.Proof.OK || out.Proof.Against != proofSource {
			t.Errorf("restore %+v", out)
		}
		g.bare("a", 2, 1)
	})
}

// shortLived is a region whose tokens live two minutes.
type shortLived struct {
	transport.BlockStorage
	clock *leap
}

func (x shortLived) Renew(context.Context) (time.Time, error) {
	return x.clock.Now().Add(2 * time.Minute), nil
}

// inOrder asserts that each part of a restore is told of once, after the one before it
// had ended, and that they make up all of the time until the volume was ready.
func inOrder(t *testing.T, r report.Restore) {
	t.Helper()
	var sum float64
	for i, s := range r.Spans {
		if i == 0 {
			continue
		}
		last := r.Spans[i-1]
		if spanRank(s.Name) <= spanRank(last.Name) || s.Began.Sub(last.Began).Seconds() < last.Seconds-0.001 {
			t.Errorf("%q after %q: %+v", s.Name, last.Name, r.Spans)
		}
	}
	ready, _ := r.Phases()
	for _, s := range ready {
		sum += s.Seconds
	}
	if sum > r.RTO+0.001 || sum < r.RTO-0.1 {
		t.Errorf("the parts are %f s, and the volume was ready after %f: %+v", sum, r.RTO, r.Spans)
	}
}

// The newest point of a volume is taken that the region can restore; that it is not the
// newest of all is told, with why and what to do.
func TestRestoreTellsOfAnOlderPoint(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	points, want := g.chained(3)
	for _, c := range []struct {
		at     int // the point that is changed
		change func(*store.PointCopy)
		takes  int
		says   []string
	}{
		{2, func(c *store.PointCopy) { c.State = store.CopyLanded }, 2, nil},
		{2, func(c *store.PointCopy) { c.State, c.Note = store.CopyShipped, "the rule says no" }, 1, []string{"not imported there (the rule says no)", "points land " + points[2].ID + " --to b"}},
		{2, func(c *store.PointCopy) { c.State, c.Note = store.CopyLost, "it burned" }, 1, []string{"lost (it burned)", "farshore audit dbs --repair"}},
		{2, func(c *store.PointCopy) { c.State, c.Note = store.CopyShipping, "" }, 1, []string{"not been shipped"}},
		{2, func(c *store.PointCopy) { c.State = store.CopyLanded }, 2, nil},
		{1, func(c *store.PointCopy) { c.State = store.CopyLost }, 0, []string{"increment upon is lost there"}},
	} {
		err := g.ledger.UpdatePoint(t.Context(), points[c.at].ID, func(p *store.Point, _ bool) bool {
			x, _ := p.Copy("b")
			c.change(&x)
			p.SetCopy(x)
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		told := ""
		out, findings, err := g.shipper().Restore(t.Context(), RestoreRequest{Point: "db", To: "b", Chosen: func(r report.Restore, f *report.Finding) {
			if told = r.Point; (f != nil) != (c.says != nil) {
				t.Errorf("told beforehand of %+v", f)
			}
		}})
		if err != nil || out.Point != points[c.takes].ID || told != out.Point || !bytes.Equal(content(g.cloud.Region("b").Volume(out.Volume)), want[c.takes]) {
			t.Errorf("%v: restored %+v, told of %s: %v", c.says, out, told, err)
		}
		if len(findings) != min(len(c.says), 1) {
			t.Fatalf("%v: findings %+v", c.says, findings)
		}
		for _, s := range c.says {
			f := findings[0]
			text := f.Cause + " → " + f.Hint
			if !strings.Contains(text, s) || !strings.Contains(text, out.Point) || f.Name != points[2].ID || f.Kind != report.KindOlderPoint || f.Level != report.Warn || f.Region != "b" {
				t.Errorf("finding %+v does not say %q", f, s)
			}
		}
	}
	// What is not there at all is told with what is.
	_, _, err := g.shipper().Restore(t.Context(), RestoreRequest{Point: "nosuch", To: "b"})
	if err == nil || !strings.Contains(hintOf(err), "it has points of: db ("+points[0].Volume.ID+")") {
		t.Errorf("%v → %s", err, hintOf(err))
	}
}
