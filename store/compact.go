package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// When CompactIfSparse thinks that it is worth it (R8).
const (
	SparseBytes = 64 << 20 // file larger than this
	sparseShare = 2        // more than one page in this many is free
)

// compactTx bounds the memory of a compaction, in bytes of keys and values.
const compactTx = 4 << 20

func compactPath(path string) string { return path + ".compact" }

// Compact rewrites the ledger at path without its free pages: to path.compact,
// synced, then renamed over it. It holds the file's lock throughout, and refuses
// (ErrLocked) while somebody else does. Killed at any moment it leaves the ledger
// as it was.
func Compact(ctx context.Context, path string, o Options) (before, after int64, err error) {
	if o.ReadOnly {
		return 0, 0, readOnlyError(path, "compact")
	}
	if _, err := os.Stat(path); err != nil { // Open would create it
		return 0, 0, &Error{Path: path, Detail: "compact", Err: err}
	}
	l, err := Open(path, o)
	if err != nil {
		return 0, 0, err
	}
	before = l.Stats().FileBytes
	if err := l.Compact(ctx); err != nil {
		return before, before, errors.Join(err, l.Close())
	}
	after = l.Stats().FileBytes
	return before, after, l.Close()
}

// Compact rewrites an open ledger. Writers wait meanwhile, readers do not but for
// the moment of the swap. A failure leaves the ledger as it was, in use.
func (l *Ledger) Compact(ctx context.Context) error {
	if l.queue == nil {
		return readOnlyError(l.path, "compact")
	}
	return l.exclusive(ctx, "compact", func() error { return l.compact(ctx) })
}

// CompactIfSparse compacts when the file is larger than SparseBytes and more than
// half of its pages are free; it says whether it did. It takes about a second
// for each 100 MB that stay.
func (l *Ledger) CompactIfSparse(ctx context.Context) (done bool, err error) {
	if l.queue == nil {
		return false, readOnlyError(l.path, "compact")
	}
	err = l.exclusive(ctx, "compact", func() error {
		done, err = l.compactIfSparse(ctx)
		return err
	})
	return done, err
}

// compactIfSparse runs where nobody else writes.
func (l *Ledger) compactIfSparse(ctx context.Context) (bool, error) {
	info, err := l.file.Stat()
	if err != nil {
		return false, wrap(l.path, "compact", err)
	}
	all, free := pages(l.db)
	if info.Size() <= SparseBytes || sparseShare*free <= all {
		return false, nil
	}
	return true, l.compact(ctx)
}

// compact runs where nobody else writes, and swaps the file under the readers.
func (l *Ledger) compact(ctx context.Context) error {
	tmp := compactPath(l.real)
	db, file, err := l.compactInto(ctx, tmp)
	if err != nil {
		return wrap(l.path, "compact", errors.Join(err, os.Remove(tmp)))
	}
	// The new file is locked before it gets the name, so nobody comes in between;
	// whoever waits for the old one notices in openFile.
	l.dbMu.Lock()
	defer l.dbMu.Unlock()
	if err := os.Rename(tmp, l.real); err != nil {
		return wrap(l.path, "compact", errors.Join(err, db.Close(), os.Remove(tmp)))
	}
	old := l.db
	l.db, l.file = db, file
	err = guard(old.Close)
	if !l.opts.NoSync {
		err = errors.Join(syncDir(filepath.Dir(l.real)), err)
	}
	return wrap(l.path, "compact", err)
}

func (l *Ledger) compactInto(ctx context.Context, tmp string) (db *bbolt.DB, file *os.File, err error) {
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, err
	}
	err = guard(func() error {
		db, err = bbolt.Open(tmp, 0o600, &bbolt.Options{
			Timeout: 1, NoSync: true, NoGrowSync: true, FreelistType: bbolt.FreelistMapType, PageSize: pageBytes, InitialMmapSize: initialMmap,
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				var err error
				file, err = os.OpenFile(name, flag|os.O_EXCL, mode)
				return file, err
			},
		})
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	err = guard(func() error {
		if err := copyAll(ctx, db, l.db); err != nil {
			return err
		}
		if l.opts.NoSync {
			return nil
		}
		return db.Sync()
	})
	if err != nil {
		return nil, nil, errors.Join(err, guard(db.Close))
	}
	db.NoSync, db.NoGrowSync = l.opts.NoSync, l.opts.NoSync
	return db, file, nil
}

// copyAll copies every bucket in key order. bbolt has a Compact of its own, which
// cannot be cancelled and loses the error of its last transaction.
func copyAll(ctx context.Context, to, from *bbolt.DB) error {
	return from.View(func(src *bbolt.Tx) error {
		c := &copier{ctx: ctx, db: to}
		if err := c.next(); err != nil {
			return err
		}
		err := src.ForEach(func(name []byte, b *bbolt.Bucket) error { return c.bucket([][]byte{name}, b) })
		if err != nil {
			if c.tx != nil {
				_ = c.tx.Rollback() // the file is thrown away
			}
			return err
		}
		return c.tx.Commit()
	})
}

// copier writes in bounded transactions.
type copier struct {
	ctx  context.Context //nolint:containedctx // lives as long as one call of copyAll
	db   *bbolt.DB
	tx   *bbolt.Tx
	size int
}

func (c *copier) next() (err error) {
	if c.tx != nil {
		err, c.tx = c.tx.Commit(), nil
		if err != nil {
			return err
		}
	}
	c.size = 0
	c.tx, err = c.db.Begin(true)
	return err
}

// open finds the bucket of a path in the current transaction, or makes it.
func (c *copier) open(path [][]byte) (*bbolt.Bucket, error) {
	b, err := c.tx.CreateBucketIfNotExists(path[0])
	for _, name := range path[1:] {
		if err == nil {
			b, err = b.CreateBucketIfNotExists(name)
		}
	}
	if err == nil {
		b.FillPercent = fillOrdered
	}
	return b, err
}

func (c *copier) bucket(path [][]byte, src *bbolt.Bucket) error {
	dst, err := c.open(path)
	if err != nil {
		return err
	}
	if err := dst.SetSequence(src.Sequence()); err != nil {
		return err
	}
	return src.ForEach(func(k, v []byte) error {
		if err := c.ctx.Err(); err != nil {
			return fmt.Errorf("compact: %w", context.Cause(c.ctx))
		}
		if v == nil {
			if err := c.bucket(append(path[:len(path):len(path)], k), src.Bucket(k)); err != nil {
				return err
			}
			dst, err = c.open(path) // the nested one may have begun another transaction
			return err
		}
		if c.size > compactTx {
			if err := c.next(); err != nil {
				return err
			}
			if dst, err = c.open(path); err != nil {
				return err
			}
		}
		c.size += len(k) + len(v)
		return dst.Put(k, v)
	})
}
