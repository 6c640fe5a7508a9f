package volumes

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"farshore/integration/fakecloud"
	"farshore/store"
	"farshore/transport"
)

// shipFuse stops the world at the nth step, before or after what the step does, as a kill
// does: nothing that the program would do afterwards has any effect.
type shipFuse struct {
	mu     sync.Mutex
	left   int // 0: never
	after  bool
	steps  int
	blown  bool
	last   string
	cancel context.CancelFunc
}

var errFused = &transport.Error{Op: "live", Class: transport.Canceled, Err: errors.New("the program was killed")}

func (f *shipFuse) step(what string, do func() error) error {
	f.mu.Lock()
	if f.blown {
		f.mu.Unlock()
		return errFused
	}
	f.steps++
	hit := f.steps == f.left
	if hit {
		f.blown, f.last = true, what
	}
	f.mu.Unlock()
	if hit && !f.after {
		f.cancel()
		return errFused
	}
	err := do()
	if hit {
		f.cancel()
		return errFused
	}
	return err
}

func (f *shipFuse) wrap(name string, r Region) Region {
	r.Objects = &shipFusedSink{r.Objects, f, name}
	r.Blocks = &shipFusedBlocks{r.Blocks, f, name}
	if r.Import != nil {
		r.Import = &shipFusedBlocks{r.Import, f, name}
	}
	return r
}

type shipFusedSink struct {
	transport.Sink
	f    *shipFuse
	name string
}

func (s *shipFusedSink) List(ctx context.Context, c string, r transport.Range, yield func([]transport.Entry) error) error {
	return s.f.step("list "+s.name, func() error { return s.Sink.List(ctx, c, r, yield) })
}

func (s *shipFusedSink) Head(ctx context.Context, c, n string) (o transport.Object, err error) {
	err = s.f.step("head "+s.name, func() error { o, err = s.Sink.Head(ctx, c, n); return err })
	return o, err
}

func (s *shipFusedSink) Open(ctx context.Context, c, n string, oo transport.OpenOptions) (o transport.Object, rc io.ReadCloser, err error) {
	err = s.f.step("open "+s.name, func() error { o, rc, err = s.Sink.Open(ctx, c, n, oo); return err })
	return o, rc, err
}

func (s *shipFusedSink) Container(ctx context.Context, c string) (i transport.ContainerInfo, err error) {
	err = s.f.step("container "+s.name, func() error { i, err = s.Sink.Container(ctx, c); return err })
	return i, err
}

func (s *shipFusedSink) CreateContainer(ctx context.Context, c string, h transport.Header) error {
	return s.f.step("create container "+s.name, func() error { return s.Sink.CreateContainer(ctx, c, h) })
}

func (s *shipFusedSink) Put(ctx context.Context, c, n string, b transport.Body, o transport.PutOptions) (r transport.Receipt, err error) {
	err = s.f.step("put "+s.name, func() error { r, err = s.Sink.Put(ctx, c, n, b, o); return err })
	return r, err
}

func (s *shipFusedSink) DeleteMany(ctx context.Context, c string, names []string) error {
	return s.f.step("delete "+s.name, func() error { return s.Sink.DeleteMany(ctx, c, names) })
}

type shipFusedBlocks struct {
	transport.BlockStorage
	f    *shipFuse
	name string
}

func (b *shipFusedBlocks) Renew(ctx context.Context) (t time.Time, err error) {
	err = b.f.step("renew "+b.name, func() error { t, err = b.BlockStorage.Renew(ctx); return err })
	return t, err
}

func (b *shipFusedBlocks) Volumes(ctx context.Context) (l []transport.Volume, err error) {
	err = b.f.step("volumes "+b.name, func() error { l, err = b.BlockStorage.Volumes(ctx); return err })
	return l, err
}

func (b *shipFusedBlocks) Snapshots(ctx context.Context, v string) (l []transport.Snapshot, err error) {
	err = b.f.step("snapshots "+b.name, func() error { l, err = b.BlockStorage.Snapshots(ctx, v); return err })
	return l, err
}

func (b *shipFusedBlocks) Snapshot(ctx context.Context, id string) (s transport.Snapshot, err error) {
	err = b.f.step("snapshot "+b.name, func() error { s, err = b.BlockStorage.Snapshot(ctx, id); return err })
	return s, err
}

func (b *shipFusedBlocks) CreateSnapshot(ctx context.Context, v, n string, m map[string]string) (s transport.Snapshot, err error) {
	err = b.f.step("create snapshot "+b.name, func() error { s, err = b.BlockStorage.CreateSnapshot(ctx, v, n, m); return err })
	return s, err
}

func (b *shipFusedBlocks) DeleteSnapshot(ctx context.Context, id string) error {
	return b.f.step("delete snapshot "+b.name, func() error { return b.BlockStorage.DeleteSnapshot(ctx, id) })
}

func (b *shipFusedBlocks) Backups(ctx context.Context) (l []transport.Backup, err error) {
	err = b.f.step("backups "+b.name, func() error { l, err = b.BlockStorage.Backups(ctx); return err })
	return l, err
}

func (b *shipFusedBlocks) Backup(ctx context.Context, id string) (x transport.Backup, err error) {
	err = b.f.step("backup "+b.name, func() error { x, err = b.BlockStorage.Backup(ctx, id); return err })
	return x, err
}

func (b *shipFusedBlocks) CreateBackup(ctx context.Context, s transport.BackupSpec) (x transport.Backup, err error) {
	err = b.f.step("create backup "+b.name, func() error { x, err = b.BlockStorage.CreateBackup(ctx, s); return err })
	return x, err
}

func (b *shipFusedBlocks) DeleteBackup(ctx context.Context, id string) error {
	return b.f.step("delete backup "+b.name, func() error { return b.BlockStorage.DeleteBackup(ctx, id) })
}

func (b *shipFusedBlocks) ImportBackup(ctx context.Context, service string, record []byte) (id string, err error) {
	err = b.f.step("import "+b.name, func() error { id, err = b.BlockStorage.ImportBackup(ctx, service, record); return err })
	return id, err
}

// Killed at any step of any kind, before it or after it, the same command run again ends
// right: the increment is landed and restores, it is the only one, and nothing is left.
func TestKilledAnywhere(t *testing.T) {
	limit := 24 // of each kind; all with FARSHORE_CRASH_STEPS=1000
	if text := os.Getenv("FARSHORE_CRASH_STEPS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		limit = n
	}
	total := killedAt(t, 0, false)
	if total < 60 {
		t.Fatalf("only %d steps: the fuse sees nothing", total)
	}
	every := max(total/limit, 1)
	t.Logf("%d steps, every %dth", total, every)
	for i, after := range []bool{false, true} {
		for n := 1 + i*(every/2); n <= total; n += every {
			killedAt(t, n, after)
		}
	}
}

// killed does work that is killed at step n (0: not at all), before it or after it, and
// starts anew; cut is false if the work got to its end before.
func (g *rig) killed(n int, after bool, work func(context.Context) error) (f *shipFuse, cut bool) {
	g.t.Helper()
	ctx, cancel := context.WithCancel(g.t.Context())
	defer cancel()
	f = &shipFuse{left: n, after: after, cancel: cancel}
	g.wrap = f.wrap
	g.hook = func(point string) error { return f.step("ledger "+point, func() error { return nil }) }
	g.restart()
	err := work(ctx)
	if n == 0 && err != nil {
		g.t.Fatal(err)
	}
	g.wrap, g.hook = nil, nil
	g.restart()
	return f, n > 0 && (err != nil || f.blown)
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
