package volumes

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"farshore/integration/fakecloud"
	"farshore/store"
)

// Killed at any step of any kind, before it or after it, the same command run again ends
// right: the increment is landed and restores, it is the only one, and nothing is left.
func TestKilledAnywhere(t *testing.T) {
	crashAt(t, 60, 24, func(n int, after bool) int { return killedAt(t, n, after) })
}

// killedAt ships a full backup, then an increment that is killed at step n (0: not at
// all), and then again. It gives the number of steps that were made.
func killedAt(t *testing.T, n int, after bool) int {
	g := newRig(t, rigOptions{block: func(o *fakecloud.BlockOptions) { o.GiB = 256 << 10; o.Pace.Window = 2 * time.Second }}, "b")
	v := g.volume("db", 1)
	g.ship()
	g.scribble(v, 2, 100_000, 90_000)
	want := content(v)
	g.clock.advance(time.Hour)
	f, cut := g.killed(n, after, func(ctx context.Context) error {
		_, err := g.shipper().Ship(ctx, g.policy, ShipOptions{})
		return err
	})
	where := f.last
	if n > 0 {
		if !cut {
			return f.steps // fewer polls this time
		}
		res := g.ship()
		if res.Volumes.Points != 2 {
			t.Errorf("%d points", res.Volumes.Points)
		}
	}
	points := g.points()
	if len(points) != 2 || g.count("a", "backup") != 2 || g.count("b", "backup") != 2 || points[1].Parent != points[0].ID {
		t.Fatalf("killed at step %d (%s, after it: %v): points %+v, %d backups at the source, %d there", n, where, after, points, g.count("a", "backup"), g.count("b", "backup"))
	}
	if c, _ := points[1].Copy("b"); c.State != store.CopyLanded {
		t.Errorf("the copy is %s: %s", c.State, c.Note)
	}
	if got := g.restored("b", points[1].ID); !bytes.Equal(got, want) {
		t.Errorf("it restores to other bytes")
	}
	g.sameObjects()
	g.clean()
	if t.Failed() {
		t.Fatalf("killed at step %d (%s, after it: %v)", n, where, after)
	}
	_ = g.ledger.Close()
	return f.steps
}

// sameObjects asserts that a destination holds the source's backups' objects and the
// points' own two, and nothing else.
func (g *rig) sameObjects() {
	g.t.Helper()
	want := slices.DeleteFunc(g.from.Names("volumebackups"), func(n string) bool { return strings.HasSuffix(n, "_sha256file") })
	if got := g.cloud.Region("b").Names("volumebackups"); !slices.Equal(got, want) {
		g.t.Errorf("b holds %q, the source %q", got, want)
	}
	var own []string
	for _, p := range g.points() {
		own = append(own, blocksName(p.Volume.ID, p.ID), descriptorName(p.Volume.ID, p.ID))
	}
	slices.Sort(own)
	if got := g.cloud.Region("b").Names(PointsContainer); !slices.Equal(got, own) {
		g.t.Errorf("b holds %q in %s, want %q", got, PointsContainer, own)
	}
}
