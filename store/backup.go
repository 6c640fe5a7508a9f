package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// Backup writes a consistent copy of the ledger to a new file (mode 0600) and gives its
// size in bytes. What was enqueued before is in it. The file has its name only when it is
// whole and synced; an existing one is os.ErrExist and stays as it is. The ledger may be
// in use meanwhile, also by writers: its file grows by what they write until the copy is
// made, and only a compaction waits. Killed, it may leave the file TO.part, which the next
// one removes.
func (l *Ledger) Backup(ctx context.Context, to string) (size int64, err error) {
	if l.queue != nil {
		if err := l.Flush(ctx); err != nil {
			return 0, err
		}
	}
	if _, err := os.Lstat(to); err == nil {
		return 0, &Error{Path: to, Detail: "back up", Err: os.ErrExist}
	}
	tmp := to + ".part"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, wrap(to, "back up", err)
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, wrap(to, "back up", err)
	}
	defer func() { _ = os.Remove(tmp) }()
	w := bufio.NewWriterSize(&until{ctx: ctx, w: f}, 1<<20)
	err = l.view("back up", func(tx *bbolt.Tx) error {
		size, err = tx.WriteTo(w)
		return err
	})
	err = errors.Join(err, w.Flush())
	if err == nil && !l.opts.NoSync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, wrap(to, "back up", err)
	}
	// Never over a file that somebody has made meanwhile.
	if err := os.Link(tmp, to); err != nil {
		if _, there := os.Lstat(to); !errors.Is(there, os.ErrNotExist) {
			return 0, wrap(to, "back up", err)
		}
		if err := os.Rename(tmp, to); err != nil { // a file system without hard links
			return 0, wrap(to, "back up", err)
		}
	}
	if l.opts.NoSync {
		return size, nil
	}
	return size, wrap(to, "back up", syncDir(filepath.Dir(to)))
}

// until writes until a context ends.
type until struct {
	ctx context.Context //nolint:containedctx // lives as long as one Backup
	w   io.Writer
}

func (u *until) Write(b []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, fmt.Errorf("write copy: %w", context.Cause(u.ctx))
	}
	return u.w.Write(b)
}
