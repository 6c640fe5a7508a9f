package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// A copy made beside writers is whole, has what was queued before, and is never half there.
func TestBackupBesideWriters(t *testing.T) {
	l := open(t, tempPath(t), Options{NoSync: true})
	r := route(t, l, paris("a"), lyon("a"))
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; !stop.Load(); i++ {
			name := fmt.Sprintf("%06d", i%5000)
			if i%3 == 2 {
				l.Update(r.From, name, func(*Object, bool) bool { return false })
				continue
			}
			l.Update(r.From, name, set(testObject(name, r.ID)))
		}
	}()
	dir := t.TempDir()
	for i := range 5 {
		to := filepath.Join(dir, fmt.Sprint("copy", i))
		mark := fmt.Sprint("queued before ", i)
		l.Update(r.From, mark, set(testObject(mark, r.ID)))
		size, err := l.Backup(context.Background(), to)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(to); err != nil || info.Mode() != 0o600 || info.Size() != size || size == 0 {
			t.Fatalf("%v, %v, and %d bytes were told", info, err, size)
		}
		mustCheck(t, to)
		c, err := Open(to, Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, ok, err := c.Get(r.From, mark); !ok || err != nil {
			t.Errorf("what was queued before copy %d is not in it: %v", i, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	stop.Store(true)
	<-done
	if left, err := os.ReadDir(dir); len(left) != 5 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
	closeAndCheck(t, l)
}

func TestBackupRefuses(t *testing.T) {
	l := fresh(t)
	if err := l.PutNote("k", []byte("v")); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	to := filepath.Join(dir, "copy")
	if err := os.WriteFile(to, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Backup(context.Background(), to); !errors.Is(err, os.ErrExist) {
		t.Errorf("over a file: %v", err)
	}
	if text, err := os.ReadFile(to); string(text) != "mine" || err != nil {
		t.Errorf("the file in the way is %q now (%v)", text, err)
	}
	if err := os.Remove(to); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	ro := func() *Ledger {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return open(t, l.Path(), Options{ReadOnly: true})
	}()
	if _, err := ro.Backup(ctx, to); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if left, err := os.ReadDir(dir); len(left) != 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
	// What a killed one left is in nobody's way; a reader can copy, too.
	if err := os.WriteFile(to+".part", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ro.Backup(context.Background(), to); err != nil {
		t.Fatal(err)
	}
	mustCheck(t, to)
	if left, err := os.ReadDir(dir); len(left) != 1 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := ro.Backup(context.Background(), filepath.Join(dir, "nowhere", "copy")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("into no folder: %v", err)
	}
	if err := ro.Close(); err != nil {
		t.Error(err)
	}
}
