package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// The size of the file's pages (fixed, so that a ledger may move between
// machines) and of the address space reserved at the start: remapping a grown
// file has to wait for readers, reserving costs nothing.
const (
	pageBytes   = 4096
	initialMmap = 256 << 20
)

// Options says how to open a ledger. The zero value is right for production.
type Options struct {
	// Timeout is how long to wait for another process to let go of the file; 0: not at all.
	Timeout  time.Duration
	ReadOnly bool
	Clock    func() time.Time // nil: time.Now
	// NoSync leaves out fsync: for tests only, a power cut loses or damages the file.
	NoSync bool
	// Hook is for crash tests: it is called with "commit:before" and
	// "commit:after" around each commit. An error acts like a crash: the batch is
	// not written (before) or written but not acknowledged (after), and the
	// ledger refuses everything from then on with that error.
	Hook func(point string) error
}

// Ledger is an open ledger. All methods may be called concurrently.
type Ledger struct {
	path string // as given
	real string // with links resolved: what is renamed over
	opts Options

	// dbMu guards db against being closed or swapped (Compact, Recover) under a reader;
	// the writer goroutine alone changes it.
	dbMu   sync.RWMutex
	db     *bbolt.DB // nil: Recover could not open it again
	file   *os.File  // db's own; only to let go of the lock when db cannot be closed
	closed bool

	catMu sync.RWMutex
	cat   catalog

	// queueMu keeps Close from closing queue under a sender.
	queueMu sync.RWMutex
	queue   chan message
	stopped chan struct{} // closed when the writer is gone; nil when read-only
	ended   bool          // queue is closed
	gen     atomic.Int64  // how often Recover ended a full disk

	stateMu  sync.Mutex
	failed   error // the first write error; only Recover takes it back
	dead     bool  // as if crashed: reading is refused too
	wedged   bool  // a transaction could not be rolled back
	commits  int64
	changes  int64
	maxBatch int
}

// Open opens the ledger at path and, unless ReadOnly, creates it (mode 0600, its
// folder 0700) when there is none, and brings an older one up to date after
// copying it aside. It locks the file: against everybody, or, ReadOnly, against
// writers. It never repairs or truncates. Failures are *Error of kind ErrLocked,
// ErrNewer, ErrCorrupt (also for files that are no ledger), ErrFull or
// ErrReadOnly; a missing file opened ReadOnly is os.ErrNotExist.
func Open(path string, o Options) (*Ledger, error) {
	return openSchema(path, o, schemaVersion, migrations())
}

func openSchema(path string, o Options, schema uint32, steps []migration) (*Ledger, error) {
	if o.Clock == nil {
		o.Clock = wallClock
	}
	if !o.ReadOnly {
		if err := create(path, o, schema); err != nil {
			return nil, wrap(path, "create", err)
		}
	}
	db, file, err := openFile(path, o)
	if err != nil {
		return nil, err
	}
	l := &Ledger{path: path, opts: o, db: db, file: file}
	if l.real, err = filepath.EvalSymlinks(path); err != nil {
		return nil, wrap(path, "open", errors.Join(err, l.release()))
	}
	if err := l.load(schema, steps); err != nil {
		return nil, errors.Join(err, l.release())
	}
	if !o.ReadOnly {
		// A compaction that was killed leaves its half; the lock says that it is nobody's.
		_ = os.Remove(compactPath(l.real))
		l.queue = make(chan message, queueLen)
		l.stopped = make(chan struct{})
		go l.write()
	}
	return l, nil
}

// load checks the schema, migrates, and reads the catalog.
func (l *Ledger) load(schema uint32, steps []migration) error {
	err := guard(func() error {
		have, err := readSchema(l.db)
		if err != nil {
			return unfit(l.path, err)
		}
		switch {
		case have > schema:
			return &Error{Kind: ErrNewer, Path: l.path, Detail: fmt.Sprintf("format %d, this version knows %d", have, schema), Hint: "use the newer farshore"}
		case have < schema && l.opts.ReadOnly:
			return &Error{Kind: ErrReadOnly, Path: l.path, Detail: fmt.Sprintf("format %d has to be brought to %d first", have, schema), Hint: "run a command that writes, such as `farshore ledger compact`: it keeps a copy of the file and brings it up to date"}
		case have < schema:
			if err := migrate(l.db, l.real, have, schema, steps); err != nil {
				return fmt.Errorf("migrate from format %d: %w", have, err)
			}
		}
		return l.db.View(func(tx *bbolt.Tx) error {
			l.cat, err = readCatalog(tx)
			return err
		})
	})
	if errors.Is(err, errDecode) {
		return corrupt(l.path, err, "places and routes")
	}
	return wrap(l.path, "open", err)
}

// openFile opens and locks an existing file and makes sure that it is the one
// which is called path once the lock is held: a compaction may have replaced it
// while we waited.
func openFile(path string, o Options) (*bbolt.DB, *os.File, error) {
	for {
		db, file, err := openOnce(path, o)
		if err != nil {
			return nil, nil, err
		}
		mine, err1 := file.Stat()
		named, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(mine, named) {
			return db, file, nil
		}
		_ = db.Close()
		if err := errors.Join(err1, err2); err != nil {
			return nil, nil, &Error{Path: path, Detail: "open", Err: err}
		}
	}
}

func openOnce(path string, o Options) (db *bbolt.DB, file *os.File, err error) {
	err = guard(func() error {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			// bbolt takes 0 for "wait for ever".
			Timeout:         max(o.Timeout, 1),
			ReadOnly:        o.ReadOnly,
			NoSync:          o.NoSync,
			NoGrowSync:      o.NoSync,
			FreelistType:    bbolt.FreelistMapType,
			PreLoadFreelist: true,
			PageSize:        pageBytes,
			InitialMmapSize: initialMmap,
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				f, err := os.OpenFile(name, flag&^os.O_CREATE, mode)
				if err != nil {
					return nil, err
				}
				file = f
				if err := lock(f, !o.ReadOnly, o.Timeout); err != nil {
					return nil, err
				}
				// bbolt would take an empty file for a new one, and trusts sizes and counts.
				if err := inspect(f); err != nil {
					return nil, unfit(path, err)
				}
				return f, nil
			},
		})
		return err
	})
	if err == nil {
		return db, file, nil
	}
	if file != nil {
		_ = file.Close() // a second close does no harm
	}
	if errors.Is(err, berrors.ErrTimeout) {
		e := &Error{Kind: ErrLocked, Path: path, Hint: "wait for it, stop it, or ask it (farshore status)"}
		if who := holder(path); who != "" {
			e.Detail = "by " + who
		}
		return nil, nil, e
	}
	return nil, nil, wrap(path, "open", err)
}

// create makes an empty ledger where there is nothing. It is made under another
// name and linked into place, so that nobody ever sees half of one.
func create(path string, o Options, schema uint32) error {
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return err
	}
	tmp := f.Name()
	defer func() { _ = os.Remove(tmp) }()
	if err := f.Close(); err != nil {
		return err
	}
	db, err := bbolt.Open(tmp, 0o600, &bbolt.Options{NoSync: o.NoSync, NoGrowSync: o.NoSync, FreelistType: bbolt.FreelistMapType, PageSize: pageBytes})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error { return initialise(tx, o.Clock(), schema) })
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp, path); err != nil && !errors.Is(err, os.ErrExist) {
		// A file system without hard links: the rename may only race with another first start.
		if _, there := os.Lstat(path); !errors.Is(there, os.ErrNotExist) {
			return there
		}
		if err := os.Rename(tmp, path); err != nil {
			return err
		}
	}
	if o.NoSync {
		return nil
	}
	return syncDir(dir)
}

func initialise(tx *bbolt.Tx, now time.Time, schema uint32) error {
	for _, name := range topBuckets() {
		if _, err := tx.CreateBucket([]byte(name)); err != nil {
			return err
		}
	}
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // RFC 9562, version 4
	m := tx.Bucket([]byte(bucketMeta))
	return errors.Join(
		m.Put([]byte(metaSchema), be32(schema)),
		m.Put([]byte(metaCreated), appendTime(now)),
		m.Put([]byte(metaUUID), id[:]))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Path is the name the ledger was opened by.
func (l *Ledger) Path() string { return l.path }

// Close commits what is queued, compacts the file when it has become sparse
// (CompactIfSparse), and lets go of it. It returns the first write error, unless
// Recover took it back. A second Close returns ErrClosed.
func (l *Ledger) Close() error {
	l.queueMu.Lock()
	if l.ended {
		l.queueMu.Unlock()
		return &Error{Kind: ErrClosed, Path: l.path}
	}
	l.ended = true
	if l.queue != nil {
		close(l.queue)
	}
	l.queueMu.Unlock()
	if l.stopped != nil {
		<-l.stopped
	}
	err := l.Unwritable()
	if err == nil && !l.opts.ReadOnly {
		// Not worth failing for: the file is whole, only larger than it need be.
		_, _ = l.compactIfSparse(context.Background())
	}
	return errors.Join(err, l.release())
}

func (l *Ledger) release() error {
	l.dbMu.Lock()
	defer l.dbMu.Unlock()
	l.closed = true
	return l.letGo()
}

// letGo closes the file; dbMu is held.
func (l *Ledger) letGo() error {
	if l.db == nil {
		return nil
	}
	l.stateMu.Lock()
	wedged := l.wedged
	l.stateMu.Unlock()
	if wedged {
		// bbolt's Close would wait for ever for the transaction that panicked; closing the file gives up the lock.
		return l.file.Close()
	}
	return guard(l.db.Close)
}

// view runs fn in a read transaction. fn must copy what it keeps, and do no I/O.
func (l *Ledger) view(verb string, fn func(tx *bbolt.Tx) error) error {
	l.dbMu.RLock()
	defer l.dbMu.RUnlock()
	if l.closed {
		return &Error{Kind: ErrClosed, Path: l.path, Detail: verb}
	}
	l.stateMu.Lock()
	dead, failed := l.dead, l.failed
	l.stateMu.Unlock()
	if dead || l.db == nil {
		return failed
	}
	return wrap(l.path, verb, guard(func() error { return l.db.View(fn) }))
}

// fail records the first write error.
func (l *Ledger) fail(err error) error {
	l.stateMu.Lock()
	defer l.stateMu.Unlock()
	if l.failed == nil {
		l.failed = err
	}
	return l.failed
}

// Unwritable is why nothing is written any more: the first write error; nil: the
// ledger takes what is written.
func (l *Ledger) Unwritable() error {
	l.stateMu.Lock()
	defer l.stateMu.Unlock()
	return l.failed
}

// guard turns panics of bbolt and faults on its mapping into errors: damaged
// pages must not take the process down. It must not surround foreign code, see
// guardExcept.
func guard(fn func() error) error {
	var never bool
	return guardExcept(&never, fn)
}

// guardExcept is guard for a fn that calls a caller's function now and then: while
// *foreign is set, a panic is the caller's and goes its way.
func guardExcept(foreign *bool, fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if *foreign {
			return
		}
		if r := recover(); r != nil {
			_, memory := r.(interface{ Addr() uintptr })
			err = &faultError{what: fmt.Sprint(r), memory: memory}
		}
	}()
	return fn()
}
