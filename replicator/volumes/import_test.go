package volumes

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"farshore/integration/fakecloud"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// A record that stays creating holds up nobody but itself: a pass, points land and an audit say
// so with the admin's command that ends it, nobody calls the point landed, and once it
// is gone the next pass imports it anew.
func TestAnImportThatNeverEnds(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	v, other := g.volume("db", 4), g.volume("other", 5)
	b := g.cloud.Region("b")
	b.AddBlockFault(fakecloud.BlockFault{Name: "import", Kind: fakecloud.JobImport, Times: 1})
	began := g.clock.Now()
	res, err := g.try(ShipOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if took := g.clock.Now().Sub(began); took > time.Hour {
		t.Errorf("the pass took %s", took)
	}
	var stuck, landed store.Point
	for _, p := range g.points() {
		if c, _ := p.Copy("b"); c.State == store.CopyLanded {
			landed = p
		} else {
			stuck = p
		}
	}
	if stuck.ID == "" || landed.ID == "" {
		t.Fatalf("points %+v", g.points())
	}
	command := "openstack volume backup delete --force " + stuck.ID
	says := func(what string, list []report.Finding, kind, text string) {
		t.Helper()
		for _, f := range list {
			if f.Kind == kind && f.Region == "b" && f.Name == stuck.ID && strings.Contains(f.Cause, "creating") && strings.Contains(f.Hint, text) {
				return
			}
		}
		t.Errorf("%s: %+v", what, list)
	}
	says("pass", res.Findings, report.KindNotShipped, command)
	began = g.clock.Now()
	if res, err = g.try(ShipOptions{}); err != nil {
		t.Fatal(err)
	}
	says("pass again", res.Findings, report.KindNotShipped, command)
	if took := g.clock.Now().Sub(began); took > 5*time.Minute {
		t.Errorf("the pass after it took %s", took)
	}
	if res, err = g.shipper().Land(t.Context(), stuck.ID, "b"); err != nil {
		t.Fatal(err)
	}
	says("points land", res.Findings, report.KindNotImported, command)
	says("audit", g.audit(AuditOptions{}).Findings, report.KindNotImported, "farshore points land "+stuck.ID+" --to b")
	all, err := g.shipper().Described(t.Context(), "b")
	if err != nil || len(all) != 2 {
		t.Fatalf("%d points, %v", len(all), err)
	}
	for _, p := range all {
		if c, _ := p.Copy("b"); p.ID == stuck.ID && (c.State != store.CopyShipped || c.Note != "its record is creating") || p.ID == landed.ID && c.State != store.CopyLanded {
			t.Errorf("the region says of point %s: %+v", p.ID, c)
		}
	}
	if _, _, err := g.shipper().Restore(t.Context(), RestoreRequest{Point: stuck.ID, To: "b"}); err == nil {
		t.Error("it was restored")
	}

	// the admin's command takes the record and leaves the objects
	b.SetBlockStatus(stuck.ID, "error")
	if err := g.regions["b"].Blocks.DeleteBackup(t.Context(), stuck.ID); err != nil {
		t.Fatal(err)
	}
	g.until(func() bool {
		_, err := g.regions["b"].Blocks.Backup(t.Context(), stuck.ID)
		return transport.Is(err, transport.NotFound)
	})
	b.ClearBlockFaults()
	g.ship()
	for _, p := range g.points() {
		want := map[string]*fakecloud.BlockVolume{v.ID(): v, other.ID(): other}[p.Volume.ID]
		if got := g.restored("b", p.ID); !bytes.Equal(got, content(want)) {
			t.Errorf("the point of volume %s restores to other bytes", p.Volume.Name)
		}
	}
	g.clean()
}

// Cinder's database has room for 255 characters of a record's name, and cinder-backup dies of
// more: the longest name that a volume can have is shortened.
func TestALongName(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	name := strings.Repeat("ñ", 255)
	v := g.volume(name, 4)
	g.ship()
	p := g.points()[0]
	r, err := g.regions["b"].Blocks.Backup(t.Context(), p.ID)
	if err != nil {
		t.Fatal(err)
	}
	if n := len([]rune(r.Name)); n != 255 || !strings.HasSuffix(r.Name, "Z") || !strings.HasPrefix(r.Name, name[:200]) {
		t.Errorf("the record is called %q, %d characters", r.Name, n)
	}
	out := g.restore(RestoreRequest{Point: p.ID, To: "b", Proof: ProofBlocks})
	if got := g.cloud.Region("b").Volume(out.Volume); !bytes.Equal(content(got), content(v)) || out.Name != name {
		t.Errorf("restored %+v", out)
	}
	g.clean()
}
