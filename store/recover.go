package store

import (
	"bytes"
	"context"
	"errors"

	"go.etcd.io/bbolt"
)

// probe is what Recover writes to see that there is room again: as much as a small
// file grows by at a time, lest the next batch find it full anew.
const (
	probeNote  = "probe"
	probeBytes = MaxNote
)

// sinceKey is the context key of how often a ledger had been recovered.
type sinceKey struct{ l *Ledger }

// Since gives a context for work that begins now. What is queued without waiting is
// lost when the ledger is full, and the Flush that follows must say so, also if there
// is room again by then: under this context every verb that takes one fails once
// Recover has been needed. Whoever calls Recover gives all work such a context.
func (l *Ledger) Since(ctx context.Context) context.Context {
	return context.WithValue(ctx, sinceKey{l}, l.gen.Load())
}

func (l *Ledger) lost(verb string) error {
	return &Error{Kind: ErrFull, Path: l.path, Detail: verb, Err: errors.New("for a while, so that what this work wrote last may be missing"),
		Hint: "there is room again: farshore run goes on by itself, another command is run again; nothing confirmed was lost"}
}

// Recover has a ledger that was full (ErrFull) take writes again, once there is room;
// until then it returns that error. Of other failures it returns the error and does
// nothing: after an error of the disk itself nobody knows what the system has thrown
// away, and only another process can begin anew from what is on the disk.
//
// The file is opened anew: after a failed write, bbolt's picture of the file (its size,
// the mapping, the free pages) may be another than the file. Somebody else may take the
// lock in that moment; that is final, too.
func (l *Ledger) Recover(ctx context.Context) error {
	if err := l.Unwritable(); err == nil || !errors.Is(err, ErrFull) {
		return err
	}
	r := &reply{ch: make(chan error, 1)}
	if err := l.send(ctx, "recover", message{job: l.recoverNow, reply: r, mends: true}); err != nil {
		return err
	}
	return <-r.ch
}

// recoverNow runs where nobody else writes.
func (l *Ledger) recoverNow() error {
	if err := l.Unwritable(); err == nil || !errors.Is(err, ErrFull) {
		return err
	}
	if free, ok := freeBytes(l.path); ok && free < probeBytes {
		return l.Unwritable() // opening a large ledger takes a second, and would be in vain
	}
	err := l.reopen()
	if err == nil {
		// Two transactions: they write both of bbolt's meta pages, of which the one of the
		// failed transaction may be on the disk or not.
		err = l.apply([]work{noteWork(probeNote, bytes.Repeat([]byte{0x5a}, probeBytes))})
	}
	if err == nil {
		err = l.apply([]work{noteWork(probeNote, nil)})
	}
	// Whoever sees the ledger writable must see the new number, too.
	if err == nil {
		l.gen.Add(1)
	}
	l.stateMu.Lock()
	defer l.stateMu.Unlock()
	if !l.dead {
		l.failed = err
	}
	return l.failed
}

// reopen exchanges the open file for the same, opened anew.
func (l *Ledger) reopen() error {
	l.dbMu.Lock()
	defer l.dbMu.Unlock()
	_ = l.letGo() // it may not know any more what it has mapped
	l.db = nil
	o := l.opts
	o.Timeout = 0
	db, file, err := openFile(l.path, o)
	if err != nil {
		return err
	}
	l.db, l.file = db, file
	l.stateMu.Lock()
	l.wedged = false
	l.stateMu.Unlock()
	var cat catalog
	if err := guard(func() error {
		return db.View(func(tx *bbolt.Tx) (err error) {
			cat, err = readCatalog(tx)
			return err
		})
	}); err != nil {
		return wrap(l.path, "open", err)
	}
	l.catMu.Lock()
	l.cat = cat
	l.catMu.Unlock()
	return nil
}
