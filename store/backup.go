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
	if err = errors.Join(err, w.Flush(), f.Close()); err != nil {
		return 0, wrap(to, "back up", err)
	}
	return size, publish(tmp, to, !l.opts.NoSync)
}

// Publish gives a copy of a ledger, such as one that came over a wire, its name, when it is
// a ledger and on the disk. A file of that name is os.ErrExist and stays as it is, as does
// the copy when anything fails.
func Publish(tmp, to string) error {
	l, err := Open(tmp, Options{ReadOnly: true})
	if err == nil {
		err = l.Close()
	}
	if err != nil {
		return err
	}
	return publish(tmp, to, true)
}

func publish(tmp, to string, sync bool) error {
	if sync {
		f, err := os.OpenFile(tmp, os.O_RDWR, 0)
		if err == nil {
			err = errors.Join(f.Sync(), f.Close())
		}
		if err != nil {
			return wrap(to, "back up", err)
		}
	}
	// Never over a file that somebody has made meanwhile.
	err := os.Link(tmp, to)
	if err == nil {
		err = os.Remove(tmp)
	} else if _, there := os.Lstat(to); errors.Is(there, os.ErrNotExist) {
		err = os.Rename(tmp, to) // a file system without hard links
	}
	if err == nil && sync {
		err = syncDir(filepath.Dir(to))
	}
	return wrap(to, "back up", err)
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
