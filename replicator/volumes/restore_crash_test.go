package volumes

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"farshore/integration/fakecloud"
	"farshore/policies"
	"farshore/replicator/report"
)

func small(o *fakecloud.BlockOptions) { o.GiB, o.Pace.Window = 256<<10, time.Second }

// Killed before or after any step, a restore is gone on with by the same request: one
// volume, right and proven, and nothing else.
func TestRestoreKilledAnywhere(t *testing.T) {
	g := newRig(t, rigOptions{block: small}, "b")
	want := content(g.volume("db", 1))
	g.ship()
	req := RestoreRequest{Point: "db", To: "b", Proof: ProofBlocks}
	resumed, ended := 0, 0
	kill := func(n int, after bool) int {
		var out report.Restore
		var err error
		f, cut := g.killed(n, after, func(ctx context.Context) error {
			out, _, err = g.shipper().Restore(ctx, req)
			return err
		})
		if cut && err != nil {
			// Killed when only the answer was missing, it is over: again would be once more.
			if works, werr := g.ledger.Works(); werr == nil && len(works) == 0 && g.count("b", "volume") == 1 {
				ended++
			} else {
				out = g.restore(req)
			}
		}
		v := g.cloud.Region("b").Volume(out.Volume)
		if v == nil || !bytes.Equal(content(v), want) || out.Proof == nil || !out.Proof.OK {
			t.Errorf("%+v, proof %+v", out, out.Proof)
		}
		g.bare("b", 1, 1)
		if out.Resumed {
			resumed++
		}
		inOrder(t, out)
		if t.Failed() {
			t.Fatalf("killed at step %d (%s, after it: %v)", n, f.last, after)
		}
		if err := g.shipper().removeVolume(t.Context(), g.regions["b"].Blocks, "b", out.Volume); err != nil {
			t.Fatal(err)
		}
		return f.steps
	}
	crashAt(t, 40, 14, kill)
	if resumed < 10 || ended > 2 {
		t.Errorf("only %d restores were gone on with, %d had ended", resumed, ended)
	}
}

// What a killed drill of volumes left is removed by the next one, wherever it was killed.
func TestDrillKilledAnywhere(t *testing.T) {
	g := newRig(t, rigOptions{block: small}, "b")
	g.volume("db", 1)
	g.ship()
	kill := func(n int, after bool) int {
		f, cut := g.killed(n, after, func(ctx context.Context) error {
			_, err := g.shipper().Drill(ctx, DrillRequest{Policy: g.policy})
			return err
		})
		if d := g.drill(DrillRequest{}); cut && !d.OK {
			t.Errorf("the next drill: %+v", d)
		}
		g.bare("b", 0, 1)
		if t.Failed() {
			t.Fatalf("killed at step %d (%s, after it: %v)", n, f.last, after)
		}
		return f.steps
	}
	crashAt(t, 40, 8, kill)
}

// So is what a killed drill of containers left.
func TestContainerDrillKilledAnywhere(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	b := g.cloud.Region("b")
	b.CreateContainer("dr-photos")
	for i := range 6 {
		b.Put("dr-photos", fmt.Sprintf("p/%02d", i), bytes.Repeat([]byte{byte(i)}, 1000), nil)
	}
	names, containers := b.Names("dr-photos"), b.ContainerNames()
	req := DrillRequest{Policy: policies.NewPolicy("photos", "a", "b"), Share: 1, Seed: 7}
	req.Policy.Containers, req.Policy.Container = []string{"photos"}, "dr-{container}"
	left := 0 // drills that left a container to be reaped
	kill := func(n int, after bool) int {
		f, cut := g.killed(n, after, func(ctx context.Context) error {
			_, err := g.shipper().Drill(ctx, req)
			return err
		})
		if len(b.ContainerNames()) > len(containers) {
			left++
		}
		if d := g.drill(req); cut && (!d.OK || len(d.Containers) != 1 || d.Containers[0].Restored != 6) {
			t.Errorf("the next drill: %+v", d)
		}
		g.bare("b", 0, 0)
		if got := b.ContainerNames(); !slices.Equal(got, containers) || !slices.Equal(b.Names("dr-photos"), names) {
			t.Errorf("b has the containers %q, had %q", got, containers)
		}
		if t.Failed() {
			t.Fatalf("killed at step %d (%s, after it: %v)", n, f.last, after)
		}
		return f.steps
	}
	crashAt(t, 20, 12, kill)
	if left < 8 {
		t.Errorf("only %d drills left anything", left)
	}
}

// Killed anywhere, at either side, the same command ends with one volume, right and
// proven, its source retired, and nothing else.
func TestMigrateKilledAnywhere(t *testing.T) {
	g := newRig(t, rigOptions{block: small}, "b")
	seed := uint64(0)
	kill := func(n int, after bool) int {
		seed++
		v := g.volume("db", seed)
		want := content(v)
		req := MigrateRequest{Volume: v.ID(), From: "a", To: "b", Passes: 3, Delta: 1, Proof: ProofBlocks, Retire: true}
		f, _ := g.killed(n, after, func(ctx context.Context) error {
			_, err := g.shipper().Migrate(ctx, req)
			return err
		})
		m := g.migrate(req)
		if x := g.cloud.Region("b").Volume(m.Restore.Volume); x == nil || !bytes.Equal(content(x), want) || m.Restore.Proof == nil || !m.Restore.Proof.OK || !m.Retired {
			t.Errorf("migration %+v", m)
		}
		g.bare("a", 0, 0)
		g.bare("b", 1, 0)
		if t.Failed() {
			t.Fatalf("killed at step %d (%s, after it: %v)", n, f.last, after)
		}
		if err := g.shipper().removeVolume(t.Context(), g.regions["b"].Blocks, "b", m.Restore.Volume); err != nil {
			t.Fatal(err)
		}
		return f.steps
	}
	crashAt(t, 100, 8, kill)
}

// A source that was on its way out when the run was killed is seen to be gone by the next.
func TestMigrateKilledWhileRetiring(t *testing.T) {
	g := newRig(t, rigOptions{block: small}, "b")
	v := g.volume("db", 1)
	req := MigrateRequest{Volume: v.ID(), From: "a", To: "b", Passes: 3, Delta: 1, Proof: ProofBlocks, Retire: true}
	if !g.killedBy(&fuse{at: "delete volume a", after: true}, func(ctx context.Context) error {
		_, err := g.shipper().Migrate(ctx, req)
		return err
	}) {
		t.Fatal("not killed")
	}
	if x, err := g.regions["a"].Blocks.Volume(t.Context(), v.ID()); err != nil || x.Status != "deleting" {
		t.Fatalf("the source is %s, %v", x.Status, err)
	}
	if m := g.migrate(req); !m.Retired || m.State != migrateRetired {
		t.Errorf("migration %+v", m)
	}
	g.bare("a", 0, 0)
	g.bare("b", 1, 0)
}
