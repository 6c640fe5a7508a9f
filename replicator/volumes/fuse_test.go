package volumes

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"farshore/transport"
)

// fuse stops the world at the nth step, before or after what the step does, as a kill
// does: nothing that the program would do afterwards has any effect. Steps are the calls of
// each region's block storage and object store and the ledger's commits.
type fuse struct {
	mu     sync.Mutex
	left   int    // 0: never
	at     string // or at the first step of this kind
	after  bool
	steps  int
	blown  bool
	last   string
	cancel context.CancelFunc
}

var errFused = &transport.Error{Op: "live", Class: transport.Canceled, Err: errors.New("the program was killed")}

func (f *fuse) step(what string, do func() error) error {
	f.mu.Lock()
	if f.blown {
		f.mu.Unlock()
		return errFused
	}
	f.steps++
	hit := f.steps == f.left || what == f.at
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

func (f *fuse) wrap(name string, r Region) Region {
	r.Objects = &fusedSink{r.Objects, f, name}
	r.Blocks = &fusedBlocks{r.Blocks, f, name}
	if r.Import != nil {
		r.Import = &fusedBlocks{r.Import, f, name}
	}
	return r
}

type fusedSink struct {
	transport.Sink
	f    *fuse
	name string
}

func (s *fusedSink) List(ctx context.Context, c string, r transport.Range, yield func([]transport.Entry) error) error {
	return s.f.step("list "+s.name, func() error { return s.Sink.List(ctx, c, r, yield) })
}

func (s *fusedSink) Head(ctx context.Context, c, n string) (o transport.Object, err error) {
	err = s.f.step("head "+s.name, func() error { o, err = s.Sink.Head(ctx, c, n); return err })
	return o, err
}

func (s *fusedSink) Open(ctx context.Context, c, n string, oo transport.OpenOptions) (o transport.Object, rc io.ReadCloser, err error) {
	err = s.f.step("open "+s.name, func() error { o, rc, err = s.Sink.Open(ctx, c, n, oo); return err })
	return o, rc, err
}

func (s *fusedSink) Container(ctx context.Context, c string) (i transport.ContainerInfo, err error) {
	err = s.f.step("container "+s.name, func() error { i, err = s.Sink.Container(ctx, c); return err })
	return i, err
}

func (s *fusedSink) CreateContainer(ctx context.Context, c string, h transport.Header) error {
	return s.f.step("create container "+s.name, func() error { return s.Sink.CreateContainer(ctx, c, h) })
}

func (s *fusedSink) Put(ctx context.Context, c, n string, b transport.Body, o transport.PutOptions) (r transport.Receipt, err error) {
	err = s.f.step("put "+s.name, func() error { r, err = s.Sink.Put(ctx, c, n, b, o); return err })
	return r, err
}

func (s *fusedSink) DeleteMany(ctx context.Context, c string, names []string) error {
	return s.f.step("delete "+s.name, func() error { return s.Sink.DeleteMany(ctx, c, names) })
}

func (s *fusedSink) Containers(ctx context.Context, prefix string, yield func(transport.ContainerInfo) error) error {
	return s.f.step("containers "+s.name, func() error { return s.Sink.Containers(ctx, prefix, yield) })
}

func (s *fusedSink) DeleteContainer(ctx context.Context, c string) error {
	return s.f.step("delete container "+s.name, func() error { return s.Sink.DeleteContainer(ctx, c) })
}

func (s *fusedSink) Delete(ctx context.Context, c, n string) error {
	return s.f.step("delete "+s.name, func() error { return s.Sink.Delete(ctx, c, n) })
}

func (s *fusedSink) Collapse(ctx context.Context, fc, fn, tc, tn, md5 string, size int64, h transport.Header) (r transport.Receipt, err error) {
	err = s.f.step("copy "+s.name, func() error { r, err = s.Sink.Collapse(ctx, fc, fn, tc, tn, md5, size, h); return err })
	return r, err
}

type fusedBlocks struct {
	transport.BlockStorage
	f    *fuse
	name string
}

func (b *fusedBlocks) Renew(ctx context.Context) (t time.Time, err error) {
	err = b.f.step("renew "+b.name, func() error { t, err = b.BlockStorage.Renew(ctx); return err })
	return t, err
}

func (b *fusedBlocks) Volumes(ctx context.Context) (l []transport.Volume, err error) {
	err = b.f.step("volumes "+b.name, func() error { l, err = b.BlockStorage.Volumes(ctx); return err })
	return l, err
}

func (b *fusedBlocks) Snapshots(ctx context.Context, v string) (l []transport.Snapshot, err error) {
	err = b.f.step("snapshots "+b.name, func() error { l, err = b.BlockStorage.Snapshots(ctx, v); return err })
	return l, err
}

func (b *fusedBlocks) Snapshot(ctx context.Context, id string) (s transport.Snapshot, err error) {
	err = b.f.step("snapshot "+b.name, func() error { s, err = b.BlockStorage.Snapshot(ctx, id); return err })
	return s, err
}

func (b *fusedBlocks) CreateSnapshot(ctx context.Context, v, n string, m map[string]string) (s transport.Snapshot, err error) {
	err = b.f.step("create snapshot "+b.name, func() error { s, err = b.BlockStorage.CreateSnapshot(ctx, v, n, m); return err })
	return s, err
}

func (b *fusedBlocks) DeleteSnapshot(ctx context.Context, id string) error {
	return b.f.step("delete snapshot "+b.name, func() error { return b.BlockStorage.DeleteSnapshot(ctx, id) })
}

func (b *fusedBlocks) Backups(ctx context.Context) (l []transport.Backup, err error) {
	err = b.f.step("backups "+b.name, func() error { l, err = b.BlockStorage.Backups(ctx); return err })
	return l, err
}

func (b *fusedBlocks) Backup(ctx context.Context, id string) (x transport.Backup, err error) {
	err = b.f.step("backup "+b.name, func() error { x, err = b.BlockStorage.Backup(ctx, id); return err })
	return x, err
}

func (b *fusedBlocks) CreateBackup(ctx context.Context, s transport.BackupSpec) (x transport.Backup, err error) {
	err = b.f.step("create backup "+b.name, func() error { x, err = b.BlockStorage.CreateBackup(ctx, s); return err })
	return x, err
}

func (b *fusedBlocks) DeleteBackup(ctx context.Context, id string) error {
	return b.f.step("delete backup "+b.name, func() error { return b.BlockStorage.DeleteBackup(ctx, id) })
}

func (b *fusedBlocks) ImportBackup(ctx context.Context, service string, record []byte) (id string, err error) {
	err = b.f.step("import "+b.name, func() error { id, err = b.BlockStorage.ImportBackup(ctx, service, record); return err })
	return id, err
}

func (b *fusedBlocks) Volume(ctx context.Context, id string) (v transport.Volume, err error) {
	err = b.f.step("volume "+b.name, func() error { v, err = b.BlockStorage.Volume(ctx, id); return err })
	return v, err
}

func (b *fusedBlocks) CreateVolume(ctx context.Context, s transport.VolumeSpec) (v transport.Volume, err error) {
	err = b.f.step("create volume "+b.name, func() error { v, err = b.BlockStorage.CreateVolume(ctx, s); return err })
	return v, err
}

func (b *fusedBlocks) ChangeVolume(ctx context.Context, id string, c transport.VolumeChange) error {
	return b.f.step("change volume "+b.name, func() error { return b.BlockStorage.ChangeVolume(ctx, id, c) })
}

func (b *fusedBlocks) DeleteVolume(ctx context.Context, id string) error {
	return b.f.step("delete volume "+b.name, func() error { return b.BlockStorage.DeleteVolume(ctx, id) })
}

func (b *fusedBlocks) RestoreBackup(ctx context.Context, backup, volume string) error {
	return b.f.step("restore "+b.name, func() error { return b.BlockStorage.RestoreBackup(ctx, backup, volume) })
}

// crashAt has kill run to the end once (n is 0), which must take at least so many steps,
// and then kills at about limit of them, before them and after them, evenly spread; at
// as many as FARSHORE_CRASH_STEPS says, if it says anything.
func crashAt(t *testing.T, least, limit int, kill func(n int, after bool) (steps int)) {
	t.Helper()
	total := kill(0, false)
	if total < least {
		t.Fatalf("only %d steps: the fuse sees nothing", total)
	}
	if text := os.Getenv("FARSHORE_CRASH_STEPS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		limit = n
	}
	every := max(total/limit, 1)
	t.Logf("%d steps, every %dth", total, every)
	for i, after := range []bool{false, true} {
		for n := 1 + i*(every/2); n <= total && !t.Failed(); n += every {
			kill(n, after)
		}
	}
}

// killed does work that is killed at step n (0: not at all), before it or after it, and
// starts anew; cut is false if the work got to its end before.
func (g *rig) killed(n int, after bool, work func(context.Context) error) (f *fuse, cut bool) {
	g.t.Helper()
	f = &fuse{left: n, after: after}
	return f, g.killedBy(f, work)
}

func (g *rig) killedBy(f *fuse, work func(context.Context) error) (cut bool) {
	g.t.Helper()
	ctx, cancel := context.WithCancel(g.t.Context())
	defer cancel()
	f.cancel = cancel
	g.wrap = f.wrap
	g.hook = func(point string) error { return f.step("ledger "+point, func() error { return nil }) }
	g.restart()
	err := work(ctx)
	kills := f.left > 0 || f.at != ""
	if !kills && err != nil {
		g.t.Fatal(err)
	}
	g.wrap, g.hook = nil, nil
	g.restart()
	return kills && (err != nil || f.blown)
}
