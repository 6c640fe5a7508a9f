package volumes

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"farshore/integration/fakecloud"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
	"farshore/transport/backup"
	"farshore/transport/cinder"
)

// An operator lands what could only be shipped: the whole chain, parents first, and
// without any ledger from what the destination holds.
func TestLand(t *testing.T) {
	for _, lost := range []bool{false, true} {
		g := newRig(t, rigOptions{noImport: true}, "b")
		v := g.volume("db", 3)
		for i := range 3 {
			if _, err := g.try(ShipOptions{}); err != nil {
				t.Fatal(err)
			}
			g.scribble(v, uint64(30+i), 0, 10_000)
			g.clock.advance(time.Hour)
		}
		points := g.points()
		if lost {
			_ = g.ledger.Close()
			if err := os.Remove(g.path); err != nil {
				t.Fatal(err)
			}
			g.open()
			if err := g.from.Stop(); err != nil {
				t.Fatal(err)
			}
		}
		res, err := g.shipper().Land(context.Background(), points[1].ID[:8], "b")
		if err != nil || res.Errors == 0 || g.count("b", "backup") != 0 {
			t.Errorf("without the right: %+v, %v", res, err)
		}
		wantFinding(t, res, report.KindNotImported, "b", "backup:backup-import")
		reg := g.regions["b"]
		reg.Import = g.admin["b"]
		g.regions["b"] = reg
		for again := range 2 {
			res, err = g.shipper().Land(context.Background(), points[1].ID[:8], "b")
			if err != nil || res.Errors > 0 || len(res.Points) != 2 || res.Points[1].Regions[0].State != "landed" || res.Volumes.Landed != int64(2-2*again) {
				t.Errorf("landing (again %d, ledger lost %v): %+v, %v", again, lost, res, err)
			}
		}
		if n := g.count("b", "backup"); n != 2 {
			t.Errorf("%d backups in b", n)
		}
		for _, p := range g.points()[:2] {
			if c, _ := p.Copy("b"); c.State != store.CopyLanded || c.Note != "" {
				t.Errorf("copy %+v", c)
			}
		}
		g.restored("b", points[1].ID)
		if _, err := g.shipper().Land(context.Background(), points[2].ID, "a"); err == nil && lost {
			t.Error("it was landed at its source")
		}
	}
}

// What is not whole at the destination is not imported.
func TestLandLooksFirst(t *testing.T) {
	g := newRig(t, rigOptions{noImport: true}, "b")
	g.volume("db", 3)
	if _, err := g.try(ShipOptions{}); err != nil {
		t.Fatal(err)
	}
	p := g.points()[0]
	g.cloud.Region("b").Delete(p.Container, p.Prefix+"-00002")
	reg := g.regions["b"]
	reg.Import = g.admin["b"]
	g.regions["b"] = reg
	_, err := g.shipper().Land(context.Background(), p.ID, "b")
	if !transport.Is(err, transport.Corrupt) || g.count("b", "backup") != 0 {
		t.Errorf("%v, %d backups", err, g.count("b", "backup"))
	}
}

// A record of the point's id that is somebody else's, seen or not, is left alone and told
// of, with what to do; when that was done, the point lands, whatever went with the record.
func TestARecordOfTheIDIsThere(t *testing.T) {
	for name, x := range map[string]struct {
		login  string
		change func(*backup.Record)
		says   []string
	}{
		"in another container": {"b-admin", func(r *backup.Record) { r.Container = "elsewhere" },
			[]string{"a backup of this id is there with 16 objects in container elsewhere; the point has 16 in volumebackups", "openstack volume backup delete "}},
		"of more objects": {"b-admin", func(r *backup.Record) { r.Objects += 7 },
			[]string{"a backup of this id is there with 23 objects in container volumebackups; the point has 16", "openstack volume backup delete "}},
		"another project's": {"b-other", func(*backup.Record) {}, []string{"already exists", "perhaps another project's: openstack volume backup show as an admin tells whose"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, rigOptions{noImport: true}, "b")
			want := content(g.volume("db", 6))
			if _, err := g.try(ShipOptions{}); err != nil {
				t.Fatal(err)
			}
			p := g.points()[0]
			c, _ := p.Copy("b")
			rec := recordOf(p, c)
			x.change(&rec)
			text, err := rec.Encode()
			if err != nil {
				t.Fatal(err)
			}
			file, err := g.cloud.CloudsYAML(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			owner, err := cinder.New(g.login(file, "b", x.login), cinder.Options{Clock: g.clock.Now})
			if err != nil {
				t.Fatal(err)
			}
			g.cloud.Region("b").SetBlockRule(importRule, "member")
			if _, err := owner.ImportBackup(t.Context(), backup.Service, text); err != nil {
				t.Fatal(err)
			}
			var theirs transport.Backup
			g.until(func() bool {
				theirs, err = owner.Backup(t.Context(), p.ID)
				return err != nil || theirs.Status != "creating"
			})
			g.cloud.Region("b").SetBlockRule(importRule, "")
			reg := g.regions["b"]
			reg.Import = g.admin["b"]
			g.regions["b"] = reg

			for range 2 {
				res, err := g.try(ShipOptions{})
				if err != nil {
					t.Fatal(err)
				}
				wantFinding(t, res, report.KindNotShipped, "b", append(x.says, p.ID)...)
			}
			res, err := g.shipper().Land(t.Context(), p.ID, "b")
			if err != nil || res.Errors != 1 || res.Volumes.Landed != 0 {
				t.Errorf("landing: %+v, %v", res, err)
			}
			wantFinding(t, res, report.KindNotImported, "b", append(x.says, p.ID)...)
			if c, _ := g.points()[0].Copy("b"); c.State != store.CopyShipped || !strings.Contains(c.Note, x.says[0]) {
				t.Errorf("copy %+v", c)
			}
			g.sameObjects()
			if now, err := owner.Backup(t.Context(), p.ID); err != nil || now.Container != theirs.Container || now.Objects != theirs.Objects || now.Status != statusAvailable {
				t.Errorf("theirs is %+v, was %+v, %v", now, theirs, err)
			}

			if err := owner.DeleteBackup(t.Context(), p.ID); err != nil { // as the hint says
				t.Fatal(err)
			}
			g.until(func() bool { return g.count("b", "backup") == 0 })
			for range 2 { // the objects may have gone with it
				if res, err = g.try(ShipOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			if c, _ := g.points()[0].Copy("b"); res.Errors > 0 || c.State != store.CopyLanded || c.Note != "" {
				t.Fatalf("copy %+v%s", c, findingsOf(res))
			}
			g.sameObjects()
			if !bytes.Equal(g.restored("b", p.ID), want) {
				t.Error("it restores to other bytes")
			}
			g.clean()
		})
	}
}

// An import that ends in error is reported, what it left is removed, and the next pass
// lands the point; whatever the delete took away is copied again.
func TestImportFails(t *testing.T) {
	for _, took := range []bool{false, true} {
		g := newRig(t, rigOptions{}, "b")
		v := g.volume("db", 4)
		b := g.cloud.Region("b")
		b.AddBlockFault(fakecloud.BlockFault{Name: "import", Kind: fakecloud.JobImport, Times: 1, Fail: "no driver"})
		res, err := g.try(ShipOptions{})
		if err != nil {
			t.Fatal(err)
		}
		wantFinding(t, res, report.KindNotShipped, "b", "the import ended in error: no driver")
		p := g.points()[0]
		if c, _ := p.Copy("b"); c.State != store.CopyShipped || !strings.Contains(c.Note, "no driver") {
			t.Errorf("copy %+v", c)
		}
		passes := 1
		if took {
			b.Delete(p.Container, p.Prefix+"-00001")
			passes = 2
		}
		for range passes {
			if res, err = g.try(ShipOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if res.Errors > 0 || g.count("b", "backup") != 1 {
			t.Errorf("%s; %d backups", findingsOf(res), g.count("b", "backup"))
		}
		if got := g.restored("b", p.ID); !bytes.Equal(got, content(v)) {
			t.Error("it restores to other bytes")
		}
		g.clean()
	}
}

// Points that a lost ledger knew are taken up again from the source's backups and from what
// the destinations hold, and go on to where they have not landed.
func TestTakesUpAgain(t *testing.T) {
	g := newRig(t, rigOptions{}, "b", "c")
	v := g.volume("db", 5)
	g.ship()
	want := content(v)
	if err := g.cloud.Region("c").Stop(); err != nil {
		t.Fatal(err)
	}
	g.scribble(v, 51, 0, 30_000)
	g.clock.advance(time.Hour)
	if _, err := g.try(ShipOptions{}); err != nil {
		t.Fatal(err)
	}
	_ = g.ledger.Close()
	if err := os.Remove(g.path); err != nil {
		t.Fatal(err)
	}
	g.open()
	if err := g.cloud.Region("c").Start(); err != nil {
		t.Fatal(err)
	}
	g.policy.Snapshot.Every = 100 * time.Hour
	res := g.ship()
	points := g.points()
	if len(points) != 2 || points[1].Parent != points[0].ID || res.Volumes.Snapshots != 0 || res.Volumes.Landed != 1 {
		t.Errorf("points %+v, %+v", points, res.Volumes)
	}
	// three copies were there, records and all
	if res.Totals.Bytes != points[1].Bytes || g.count("b", "backup") != 2 || g.count("c", "backup") != 2 {
		t.Errorf("%d bytes sent, %d was missing", res.Totals.Bytes, points[1].Bytes)
	}
	if got := g.restored("c", points[0].ID); !bytes.Equal(got, want) {
		t.Error("it restores to other bytes")
	}
	g.clean()
}

// Where neither ledger nor source says so, it is looked whether a point's objects are
// there: one without is lost, and nobody is sent to land it.
func TestObjectsGoneWithoutALedger(t *testing.T) {
	g := newRig(t, rigOptions{noImport: true}, "b")
	g.volume("db", 3)
	if _, err := g.try(ShipOptions{}); err != nil {
		t.Fatal(err)
	}
	p := g.points()[0]
	restore := func() string {
		_, _, err := g.shipper().Restore(t.Context(), RestoreRequest{Point: p.ID, To: "b"})
		if err == nil {
			t.Fatal("it was restored")
		}
		return err.Error() + " → " + transport.HintOf(err)
	}
	g.disaster()
	if got := restore(); strings.Contains(got, "may not") || !strings.Contains(got, "is not imported") || !strings.Contains(got, "points land "+p.ID) {
		t.Errorf("shipped: %s", got)
	}
	b := g.cloud.Region("b")
	for _, n := range b.Names(p.Container) {
		b.Delete(p.Container, n)
	}
	list, err := g.shipper().Described(t.Context(), "b")
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v %v", list, err)
	}
	if c, _ := list[0].Copy("b"); c.State != store.CopyLost || c.Note != objectsGone {
		t.Errorf("copy %+v", c)
	}
	if got := restore(); strings.Contains(got, "points land") || !strings.Contains(got, "lost there: "+objectsGone) || !strings.Contains(got, "audit --repair") {
		t.Errorf("gone: %s", got)
	}
	land := func() {
		t.Helper()
		_, err := g.shipper().Land(t.Context(), p.ID, "b")
		if err == nil || !strings.Contains(err.Error(), objectsGone) || !strings.Contains(transport.HintOf(err), "audit --repair") {
			t.Errorf("land: %v → %s", err, transport.HintOf(err))
		}
	}
	land()
	c, _ := p.Copy("b") // a ledger that has not heard of it
	c.State = store.CopyShipped
	p.SetCopy(c)
	if err := g.ledger.UpdatePoint(t.Context(), p.ID, func(x *store.Point, _ bool) bool { *x = p; return true }); err != nil {
		t.Fatal(err)
	}
	land()
}
