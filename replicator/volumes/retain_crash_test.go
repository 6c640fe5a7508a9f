package volumes

import (
	"bytes"
	"context"
	"testing"
	"time"

	"farshore/integration/fakecloud"
	"farshore/policies"
	"farshore/store"
)

// A retention that makes a synthetic full and deletes chains at both sides, killed
// before and after every step: at no moment is the newest point not to be restored, and
// the next retention ends it with nothing left behind.
func TestRetentionKilledAnywhere(t *testing.T) {
	crashAt(t, 60, 9, func(n int, after bool) int { return retentionKilledAt(t, n, after) })
}

func retentionKilledAt(t *testing.T, n int, after bool) int {
	g := newRig(t, rigOptions{block: func(o *fakecloud.BlockOptions) { o.GiB = 256 << 10; o.Pace.Window = time.Second }}, "b")
	g.policy.MaxChain = policies.MaxChain{Source: 2, Destination: 1}
	want := g.chain(3) // a full one, an increment, and once more
	g.policy.Keep, g.policy.KeepSource = &policies.Keep{Last: 1}, &policies.Keep{Last: 1}
	f, cut := g.killed(n, after, func(ctx context.Context) error {
		_, err := g.shipper().Retain(ctx, g.policy, RetainOptions{})
		return err
	})
	if n > 0 && !cut {
		return f.steps // fewer polls this time
	}
	newest := func() store.PointCopy {
		all := g.copies("b")
		return all[len(all)-1]
	}
	if got := g.restored("b", newest().Backup); !bytes.Equal(got, want[3]) {
		t.Error("after the kill the newest point restores to other bytes")
	}
	g.retain()
	for _, region := range []string{"a", "b"} {
		g.consistent(region)
	}
	c := newest()
	if left := g.points(); len(left) != 2 || !c.Synthetic || c.State != store.CopyLanded || len(g.objects("b", c.Container, "")) != c.Objects+1 {
		t.Errorf("%d points are left, the newest copy is %+v", len(left), c)
	}
	if got := g.restored("b", c.Backup); !bytes.Equal(got, want[3]) {
		t.Error("in the end it restores to other bytes")
	}
	if works, err := g.ledger.Works(); err != nil || len(works) > 0 {
		t.Errorf("works are left: %+v, %v", works, err)
	}
	if t.Failed() {
		t.Fatalf("killed at step %d (%s, after it: %v)", n, f.last, after)
	}
	_ = g.ledger.Close()
	return f.steps
}
