package volumes

import (
	"bytes"
	"testing"
	"time"

	"farshore/store"
)

// A chain of a full backup and increments in which ranges were rewritten and zeroed:
// every point restores, in the destination, to exactly its own bytes.
func TestShipsAChain(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	v := g.volume("db", 1)
	var want [][]byte
	for i := range 4 {
		if i > 0 {
			g.scribble(v, uint64(10+i), int64(i)*40_000, 20_000)
			_, _ = v.WriteAt(make([]byte, 9000), int64(i)*60_000)
			g.clock.advance(time.Hour)
		}
		want = append(want, content(v))
		g.ship()
	}
	points := g.points()
	if len(points) != 4 {
		t.Fatalf("%d points, want 4", len(points))
	}
	for i, p := range points {
		c, _ := p.Copy("b")
		if c.State != store.CopyLanded {
			t.Errorf("point %d is %s: %s", i, c.State, c.Note)
		}
		if (p.Parent == "") != (i == 0) || i > 0 && p.Parent != points[i-1].ID {
			t.Errorf("point %d is an increment upon %q (%s)", i, p.Parent, p.Why)
		}
		if got := g.restored("b", c.Backup); !bytes.Equal(got, want[i]) {
			t.Errorf("point %d restores to other bytes", i)
		}
	}
	g.clean()
}
