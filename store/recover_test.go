package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestRecover: a ledger that was full takes writes again when there is room, without
// being opened anew by its user; work that may have lost something is told so, even if it
// asks only then.
func TestRecover(t *testing.T) {
	t.Run("file size limit", func(t *testing.T) {
		path := tempPath(t)
		cmd, out := startChild(t, "room", path)
		said := ""
		for out.Scan() {
			said = out.Text()
		}
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		t.Log(said)
		mustCheck(t, path)
	})
	t.Run("small file system", func(t *testing.T) {
		dir := t.TempDir()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=3m"); err != nil {
			t.Skipf("mounting a small file system takes root: %v (the file size limit above is the same path)", err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(dir, 0); err != nil {
				t.Errorf("unmount: %v", err)
			}
		})
		path, ballast := filepath.Join(dir, "ledger.db"), filepath.Join(dir, "ballast")
		if err := os.WriteFile(ballast, make([]byte, 1536<<10), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := fillAndRecover(path, func() error { return os.Remove(ballast) }); err != nil {
			t.Fatal(err)
		}
		mustCheck(t, path)
	})
}

// childRoom plays fillAndRecover under a limit of the file's size, which it lifts again.
func childRoom(path string) error {
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		return err
	}
	small := was
	small.Cur = 2 << 20
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
		return err
	}
	return fillAndRecover(path, func() error { return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was) })
}

func fillAndRecover(path string, makeRoom func() error) error {
	l, r, err := openWithRoute(path)
	if err != nil {
		return err
	}
	old := l.Since(context.Background())
	durable := 0
	for err == nil {
		for i := range 500 {
			name := fmt.Sprintf("%08d", durable+i)
			l.Update(r.From, name, set(testObject(name, r.ID)))
		}
		if err = l.Flush(old); err == nil {
			durable += 500
		}
	}
	if durable == 0 || !errors.Is(err, ErrFull) {
		return fmt.Errorf("after %d: got %v, want ErrFull", durable, err)
	}
	for range 3 {
		if err := l.Recover(context.Background()); !errors.Is(err, ErrFull) || !errors.Is(l.Unwritable(), ErrFull) {
			return fmt.Errorf("there is no room yet: got %v", err)
		}
	}
	meanwhile := l.Since(context.Background())
	l.Update(r.From, "lost", set(testObject("lost", r.ID)))
	if _, ok, err := l.Get(r.From, "00000000"); err != nil || !ok {
		return fmt.Errorf("read on a full disk: %v %v", ok, err)
	}

	if err := makeRoom(); err != nil {
		return err
	}
	if err := l.Recover(context.Background()); err != nil || l.Unwritable() != nil {
		return fmt.Errorf("there is room: got %v", err)
	}
	for what, ctx := range map[string]context.Context{"before": old, "while it was full": meanwhile} {
		if err := l.Flush(ctx); !errors.Is(err, ErrFull) {
			return fmt.Errorf("work that began %s may have lost something: got %v, want ErrFull", what, err)
		}
		if err := l.SavePass(ctx, Pass{Key: "p", Ended: 1}); !errors.Is(err, ErrFull) {
			return fmt.Errorf("a pass that began %s ends: got %v, want ErrFull", what, err)
		}
	}
	now := l.Since(context.Background())
	for i := range 5000 {
		name := fmt.Sprintf("new-%08d", i)
		l.Update(r.From, name, set(testObject(name, r.ID)))
	}
	if err := errors.Join(l.Flush(now), l.SavePass(now, Pass{Key: "p", Ended: 2}), l.PutNote("k", []byte("v"))); err != nil {
		return fmt.Errorf("after it: %w", err)
	}
	if err := l.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}

	if l, err = Open(path, Options{}); err != nil {
		return err
	}
	if n := l.Stats().Objects; n < int64(durable+5000) || n > int64(durable+5500) {
		return fmt.Errorf("%d objects, %d and 5000 were promised", n, durable)
	}
	if _, ok, _ := l.Get(r.From, "lost"); ok {
		return errors.New("what was refused is there")
	}
	if p, ok, _ := l.Pass("p"); !ok || p.Ended != 2 {
		return fmt.Errorf("pass %v %v", p, ok)
	}
	if _, ok, _ := l.Note(probeNote); ok {
		return errors.New("the probe is still there")
	}
	fmt.Println("before", durable, "and after")
	return l.Close()
}

// Whoever was waiting to be queued when the ledger was recovered is told, too.
func TestRecoverRefusesStragglers(t *testing.T) {
	l := open(t, tempPath(t), Options{})
	var c collected
	r := &reply{ch: make(chan error, 1)}
	straggler := message{work: noteWork("k", []byte("v")), reply: r}
	l.gen.Add(1)
	l.take(&c, straggler)
	if err := <-r.ch; !errors.Is(err, ErrFull) || len(c.works) != 0 {
		t.Errorf("got %v, %d works", err, len(c.works))
	}
	l.take(&c, message{work: noteWork("k", []byte("v")), gen: 1})
	if len(c.works) != 1 {
		t.Error("what is of now was refused")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// Of another failure there is no recovery: nobody knows what the system threw away.
func TestRecoverLeavesOtherErrors(t *testing.T) {
	for _, why := range []error{errors.New("input/output error"), errCrash} {
		l := open(t, tempPath(t), Options{})
		_ = l.fail(why)
		if err := l.Recover(t.Context()); !errors.Is(err, why) {
			t.Errorf("got %v, want %v", err, why)
		}
		if err := l.PutNote("k", nil); !errors.Is(err, why) {
			t.Errorf("written: %v", err)
		}
		_ = l.Close()
	}
}
