package volumes

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"farshore/integration/fakecloud"
	"farshore/policies"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

func (g *rig) drill(r DrillRequest) report.Drill {
	g.t.Helper()
	if r.Policy.Name == "" && r.Point == "" {
		r.Policy = g.policy
	}
	d, err := g.shipper().Drill(context.Background(), r)
	if err != nil {
		g.t.Fatalf("drill: %v", err)
	}
	return d
}

// A drill restores the newest point of each volume in each destination, proves it,
// removes all of it, and keeps a report, with the source stopped and the ledger lost.
func TestDrillWithoutSourceAndLedger(t *testing.T) {
	g := newRig(t, rigOptions{}, "b", "c")
	v1 := g.volume("db", 1)
	g.volume("logs", 2)
	g.ship()
	g.scribble(v1, 9, 1000, 50_000)
	g.clock.advance(time.Hour)
	g.ship()
	g.disaster()
	before := g.cloud.Region("b").BlockResources()
	d := g.drill(DrillRequest{Version: "1.2.3"})
	if !d.OK || len(d.Volumes) != 4 || d.RTO <= 0 || d.RPO <= 0 || d.Errors != 0 {
		t.Fatalf("drill %+v", d)
	}
	for _, v := range d.Volumes {
		r := v.Restore
		if !v.OK || r.Proof == nil || !r.Proof.OK || r.Proof.Against != proofBlocks || !r.Removed || r.Known != knownDestination || len(r.Backups) != 2 {
			t.Errorf("volume %+v proof %+v", v, r.Proof)
		}
		var sum float64
		for _, s := range r.Spans {
			sum += s.Seconds
		}
		if sum > r.Seconds+0.001 || sum < r.Seconds-1 {
			t.Errorf("phases %+v are %f s of %f", r.Spans, sum, r.Seconds)
		}
	}
	for _, region := range []string{"b", "c"} {
		g.bare(region, 0, 4)
	}
	if now := g.cloud.Region("b").BlockResources(); len(now) != len(before) {
		t.Errorf("region b has %+v, had %+v", now, before)
	}
	list, err := g.ledger.Drills("dbs")
	if err != nil || len(list) != 1 || !list[0].OK || list[0].ID != d.ID {
		t.Fatalf("reports %+v, %v", list, err)
	}
	var kept report.Drill
	if err := json.Unmarshal(list[0].Report, &kept); err != nil || len(kept.Volumes) != 4 {
		t.Errorf("report %s: %v", list[0].Report, err)
	}
	var page bytes.Buffer
	if err := DrillPage(&page, d); err != nil {
		t.Fatal(err)
	}
	html := page.String()
	for _, s := range []string{"Passed", "1.2.3", "db", "logs", d.Volumes[0].Restore.Proof.Found, d.ID, "Ready to be attached", "prefers-color-scheme: dark"} {
		if !strings.Contains(html, s) {
			t.Errorf("the page has no %q", s)
		}
	}
	for _, s := range []string{"http://", "https://", "src=", "<script", "<link", "@import", "ZgotmplZ", "FAILED"} {
		if strings.Contains(html, s) {
			t.Errorf("the page has %q", s)
		}
	}
}

// A drill that finds a damaged copy fails, says where, still tries the others, and
// leaves nothing.
func TestDrillFailsLoudly(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	g.volume("db", 1)
	g.volume("logs", 2)
	g.ship()
	var p store.Point
	for _, x := range g.points() {
		if x.Volume.Name == "db" {
			p = x
		}
	}
	c, _ := p.Copy("b")
	b := g.cloud.Region("b")
	names := g.dataObjects("b", c)
	other, _ := b.Get(c.Container, names[1])
	b.Put(c.Container, names[0], other.Bytes(), nil)
	d := g.drill(DrillRequest{})
	if d.OK || len(d.Volumes) != 2 {
		t.Fatalf("drill %+v", d)
	}
	for _, v := range d.Volumes {
		if bad := v.Restore.SourceVolumeName == "db"; v.OK == bad || bad != strings.Contains(v.Cause, "at offset 0") || !v.Restore.Removed {
			t.Errorf("volume %+v", v)
		}
	}
	g.bare("b", 0, 2)
	list, _ := g.ledger.Drills("")
	if len(list) != 1 || list[0].OK {
		t.Errorf("reports %+v", list)
	}
	var page bytes.Buffer
	if err := DrillPage(&page, d); err != nil || !strings.Contains(page.String(), "<strong>Failed.</strong>") || !strings.Contains(page.String(), "bytes at offset 0") {
		t.Errorf("page: %v %s", err, page.String())
	}
	if d := g.drill(DrillRequest{Point: "logs", Regions: []string{"b"}}); !d.OK || len(d.Volumes) != 1 {
		t.Errorf("drill of a point: %+v", d)
	}
	for _, r := range []DrillRequest{{Point: "nosuch", Regions: []string{"b"}}, {Policy: g.policy, Type: "nosuch"}} { // not the copies' fault
		before, _ := g.ledger.Drills("")
		if _, err := g.shipper().Drill(t.Context(), r); !transport.Is(err, transport.NotFound) || transport.HintOf(err) == "" || strings.Contains(transport.HintOf(err), "volume_types") {
			t.Errorf("drill of %+v: %v → %s", r, err, transport.HintOf(err))
		}
		if list, _ := g.ledger.Drills(""); len(list) != len(before) {
			t.Errorf("drill of %+v: a report was kept", r)
		}
	}
	p2 := g.policy
	p2.Name = "other"
	if d := g.drill(DrillRequest{Policy: p2}); d.OK || d.Errors != 1 || d.Findings[0].Kind != report.KindNoPoint || d.Findings[0].Region != "b" || d.Findings[0].Policy != "other" {
		t.Errorf("drill of nothing: %+v", d)
	}
}

// A container drill restores a sample, reads it back, and finds what is damaged.
func TestDrillOfContainers(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	b := g.cloud.Region("b")
	b.CreateContainer("dr-photos")
	b.CreateContainer("other")
	for i := range 40 {
		b.Put("dr-photos", fmt.Sprintf("p/%02d", i), bytes.Repeat([]byte{byte(i)}, 1000+i), map[string]string{"X-Object-Meta-N": fmt.Sprint(i)})
	}
	b.Put("dr-photos", "empty", nil, nil)
	p := policies.NewPolicy("photos", "a", "b")
	p.Containers, p.Container = []string{"photos"}, "dr-{container}"
	d := g.drill(DrillRequest{Policy: p, Share: 1, Seed: 7})
	if !d.OK || len(d.Containers) != 1 {
		t.Fatalf("drill %+v", d)
	}
	if c := d.Containers[0]; c.Container != "dr-photos" || c.Listed != 41 || c.Restored != 41 || c.Bytes != 40*1000+780 || c.Differing+c.Failed != 0 {
		t.Errorf("container %+v", c)
	}
	d = g.drill(DrillRequest{Policy: p, Share: 0.3, Seed: 7})
	if c := d.Containers[0]; !d.OK || c.Restored == 0 || c.Restored > 30 {
		t.Errorf("sample %+v", c)
	}
	if !b.Corrupt("dr-photos", "p/11") {
		t.Fatal("nothing to damage")
	}
	d = g.drill(DrillRequest{Policy: p, Share: 1})
	if c := d.Containers[0]; d.OK || c.Failed != 1 || c.Restored != 40 {
		t.Errorf("container %+v", c)
	}
	if len(d.Findings) != 1 || d.Findings[0].Name != "p/11" {
		t.Errorf("findings %+v", d.Findings)
	}
	g.bare("b", 0, 0)
	for _, bad := range []struct{ template, name string }{{"{container}", "photos2"}, {"x-{container}", "photos"}, {"{from}-{container}", "b-photos"}} {
		p.Container = bad.template
		if from, ok := sourceOf(p, bad.name); ok {
			t.Errorf("%s is taken for %s's copy by %s", bad.name, from, bad.template)
		}
	}
	p.Container = "{from}-{container}-x"
	if from, ok := sourceOf(p, "a-photos-x"); !ok || from != "photos" {
		t.Error("a-photos-x is not known")
	}
	p.Container = "fixed"
	if from, ok := sourceOf(p, "fixed"); !ok || from != "photos" {
		t.Error("fixed is not known")
	}
}

// Volumes of layers: the hashes of what a restore of them would write, in any order of
// extents, and with every object read at most once.
func TestHashLayers(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	points, want := g.chained(4)
	for i, p := range points {
		chain, err := g.shipper().chain(t.Context(), p, "b")
		if err != nil || len(chain) != i+1 {
			t.Fatalf("chain %+v, %v", chain, err)
		}
		var layers []layer
		for _, l := range chain {
			m, err := g.shipper().readMetadata(t.Context(), g.regions["b"].Objects, l.at)
			if err != nil {
				t.Fatal(err)
			}
			layers = append(layers, layer{l.at.Container, l.at.Prefix, m})
		}
		opened := map[string]int{}
		open := openIn(g.regions["b"].Objects)
		h := hashLayers(t.Context(), func(ctx context.Context, c, n string) (io.ReadCloser, error) {
			opened[n]++
			return open(ctx, c, n)
		}, layers, 4096)
		for at := 0; at < len(want[i]); at += 4096 {
			got, err := h.Next()
			if err != nil {
				t.Fatal(err)
			}
			if got != sha256.Sum256(want[i][at:at+4096]) {
				t.Fatalf("point %d: block at %d is another", i, at)
			}
		}
		if _, err := h.Next(); err == nil {
			t.Error("it goes on")
		}
		h.close()
		for name, k := range opened {
			if k > 1 {
				t.Errorf("%s was opened %d times", name, k)
			}
		}
	}
}

// A drill that has no room for what it makes says which quota, makes nothing, and is not told to leave its proof out.
func TestDrillWithoutRoom(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	g.volume("db", 1)
	g.ship()
	b := g.cloud.Region("b")
	before := fmt.Sprint(b.BlockResources())
	for _, name := range []string{"volumes", "gigabytes", "backups", "backup_gigabytes"} {
		b.SetQuota(fakecloud.Project, name, 0)
		d := g.drill(DrillRequest{})
		b.SetQuota(fakecloud.Project, name, 100)
		if d.OK || len(d.Volumes) != 1 || !strings.Contains(d.Volumes[0].Cause, "check the quota of "+name+" (region b)") {
			t.Fatalf("%s: %+v", name, d)
		}
		if h := d.Volumes[0].Hint; !strings.Contains(h, "openstack quota set --"+strings.ReplaceAll(name, "_", "-")) || strings.Contains(h, "--proof") {
			t.Errorf("%s: hint %q", name, h)
		}
		if after := fmt.Sprint(b.BlockResources()); after != before {
			t.Errorf("%s: %s, before it %s", name, after, before)
		}
	}
}
