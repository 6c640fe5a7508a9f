package volumes

import (
	"context"
	"strings"
	"testing"

	"farshore/integration/fakecloud"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// asked remembers what volumes a region was asked to make.
type asked struct {
	transport.BlockStorage
	specs *[]transport.VolumeSpec
}

func (a asked) CreateVolume(ctx context.Context, s transport.VolumeSpec) (transport.Volume, error) {
	*a.specs = append(*a.specs, s)
	return a.BlockStorage.CreateVolume(ctx, s)
}

// A volume is made of the type that was asked for, else of the one its policy maps its own to,
// else of its own, else of the default; and in the zone that was asked for. So are a
// drill's and a migration's.
func TestTypeAndZone(t *testing.T) {
	const zone = "zone-2"
	g := newRig(t, rigOptions{block: func(o *fakecloud.BlockOptions) {
		o.GiB = 256 << 10
		o.Types = []fakecloud.BlockType{{Name: "standard"}, {Name: "fast"}, {Name: "premium"}, {Name: "archive"}}
		o.Zones = []string{"nova", zone}
	}}, "b")
	for _, n := range []string{"fast", "archive"} {
		v := g.from.AddVolume("of-"+n, 1, n, nil)
		g.scribble(v, 1, 0, 10_000)
	}
	g.ship()
	for _, p := range g.points() { // as of a region that has a type of which this one knows nothing
		if p.Volume.Name != "of-archive" {
			continue
		}
		if err := g.ledger.UpdatePoint(t.Context(), p.ID, func(p *store.Point, _ bool) bool { p.Volume.Type = "elsewhere"; return true }); err != nil {
			t.Fatal(err)
		}
	}
	g.policy.VolumeTypes = map[string]string{"fast": "premium", "elsewhere": "archive"}
	mapped := func(policy string) map[string]string {
		if policy != g.policy.Name {
			t.Errorf("asked for the types of policy %q", policy)
		}
		return g.policy.VolumeTypes
	}
	var specs []transport.VolumeSpec
	g.wrap = func(_ string, r Region) Region { r.Blocks = asked{r.Blocks, &specs}; return r }
	for _, c := range []struct {
		what      string
		req       RestoreRequest
		typ, zone string
		warns     bool
	}{
		{"its own", RestoreRequest{Point: "of-fast"}, "fast", "nova", false},
		{"mapped", RestoreRequest{Point: "of-fast", Types: mapped}, "premium", "nova", false},
		{"asked for", RestoreRequest{Point: "of-fast", Types: mapped, Type: "archive", Zone: zone}, "archive", zone, false},
		{"mapped, of a type that is not there", RestoreRequest{Point: "of-archive", Types: mapped, Zone: zone}, "archive", zone, false},
		{"of a type that is not there", RestoreRequest{Point: "of-archive"}, "standard", "nova", true},
	} {
		c.req.To = "b"
		out, findings, err := g.shipper().Restore(t.Context(), c.req)
		if err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		v, err := g.regions["b"].Blocks.Volume(t.Context(), out.Volume)
		if err != nil || v.Type != c.typ || v.Zone != c.zone || out.Type != c.typ || out.Zone != c.zone {
			t.Errorf("%s: it is of type %s in zone %s, want %s and %s; %+v, %v", c.what, v.Type, v.Zone, c.typ, c.zone, out, err)
		}
		if warned := len(findings) == 1 && findings[0].Kind == report.KindDegraded && strings.Contains(findings[0].Hint, "volume_types: {elsewhere: …}"); warned != c.warns || len(findings) > 1 {
			t.Errorf("%s: findings %+v", c.what, findings)
		}
	}

	specs = nil
	d := g.drill(DrillRequest{})
	types := map[string]string{}
	for _, v := range d.Volumes {
		types[v.Restore.SourceVolumeName] = v.Restore.Type
	}
	if !d.OK || len(specs) != 2 || types["of-fast"] != "premium" || types["of-archive"] != "archive" {
		t.Errorf("the drill's are %v: %+v", types, d)
	}
	for _, s := range specs {
		if s.Type != "premium" && s.Type != "archive" {
			t.Errorf("the drill asked for %+v", s)
		}
	}
	if d = g.drill(DrillRequest{Type: "standard"}); !d.OK || d.Volumes[0].Restore.Type != "standard" {
		t.Errorf("a drill of another type: %+v", d)
	}

	v := g.from.AddVolume("moves", 1, "fast", nil)
	_, err := g.shipper().Migrate(t.Context(), MigrateRequest{Volume: v.ID(), From: "a", To: "b", Type: "nosuch", Passes: 1})
	if err == nil || !strings.Contains(transport.HintOf(err), "name one with --type") || strings.Contains(transport.HintOf(err), "volume_types") {
		t.Errorf("it moves to no type: %v → %s", err, transport.HintOf(err))
	}
	m := g.migrate(MigrateRequest{Volume: v.ID(), From: "a", To: "b", Type: "premium", Zone: zone, Passes: 1, Proof: ProofNone})
	if v, err := g.regions["b"].Blocks.Volume(t.Context(), m.Restore.Volume); err != nil || v.Type != "premium" || v.Zone != zone {
		t.Errorf("it moved to %+v, %v", v, err)
	}
}
