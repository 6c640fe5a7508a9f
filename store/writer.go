package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"
)

// When queued changes are committed: FlushEvery after the first of them, as soon
// as there are FlushCount, or at once when somebody waits for durability. What a
// kill -9 can lose of the asynchronous verbs is what was queued: normally one
// batch (promise 3). While the disk is slower than the callers more may wait, but
// never above queueLen, where they block.
const (
	FlushEvery = 100 * time.Millisecond
	FlushCount = 256

	queueLen = 4 * FlushCount
	// What has piled up during a commit goes into the next one together.
	maxBatch = 4 * FlushCount
)

type workKind uint8

const (
	workCatalog workKind = iota + 1 // do, before everything else: places, routes, passes, notes
	workUpdate
	workConfirm
	workIntent
	workDrop
	workChunk
	workNamed // do, in order with the others of its name: series, needs
)

// work is one change.
type work struct {
	kind   workKind
	place  PlaceID
	route  RouteID
	name   string
	do     func(b *batch) error              // of workCatalog and workNamed; of workConfirm, after the update, if not nil
	update func(o *Object, exists bool) bool // nil in a workConfirm that leaves the object
	intent *Intent
	chunk  ChunkRecord
	hash   *HashState
	reply  *reply // nil: nobody waits
}

// reply is how a waiter hears of its work. refused is set by the batch when this
// work alone was wrong; the rest of the batch is not touched by that.
type reply struct {
	ch      chan error
	refused error
}

// message is what travels to the writer: work, several, or a job that needs the
// file for itself.
type message struct {
	work  work
	more  []work
	reply *reply
	job   func() error
	mends bool  // of a job: it is done although nothing can be written
	gen   int64 // how often the ledger was recovered when the work began that this is part of
}

// urgent says that somebody waits for this message.
func (m *message) urgent() bool { return m.reply != nil }

// send queues m; it blocks while the queue is full.
func (l *Ledger) send(ctx context.Context, verb string, m message) error {
	l.queueMu.RLock()
	defer l.queueMu.RUnlock()
	if l.ended {
		return &Error{Kind: ErrClosed, Path: l.path, Detail: verb}
	}
	if l.queue == nil {
		return readOnlyError(l.path, verb)
	}
	m.gen = l.gen.Load()
	if since, ok := ctx.Value(sinceKey{l}).(int64); ok {
		if since != m.gen {
			return l.lost(verb)
		}
	}
	if err := l.Unwritable(); err != nil && !m.mends {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", verb, context.Cause(ctx))
	}
	select {
	case l.queue <- m:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", verb, context.Cause(ctx))
	}
}

// async queues work nobody waits for. What cannot be queued any more is not
// lost silently: Flush and Close report it.
func (l *Ledger) async(verb string, w work) {
	// A ledger that is full knows it already, and may have been recovered by now.
	if err := l.send(context.Background(), verb, message{work: w}); err != nil && !errors.Is(err, ErrFull) {
		_ = l.fail(err)
	}
}

// waitFor queues a message and waits until it is committed. When ctx ends first the
// work may still be committed later.
func (l *Ledger) waitFor(ctx context.Context, verb string, m message) error {
	r := &reply{ch: make(chan error, 1)}
	m.reply, m.work.reply = r, r
	for i := range m.more {
		m.more[i].reply = r
	}
	if err := l.send(ctx, verb, m); err != nil {
		return err
	}
	select {
	case err := <-r.ch:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", verb, context.Cause(ctx))
	}
}

func (l *Ledger) wait(verb string, w work) error {
	return l.waitFor(context.Background(), verb, message{work: w})
}

// Flush waits until everything enqueued before it is durable. It returns the
// first write error: after one, nothing is written any more, and every Flush says
// so. Only Recover ends that.
func (l *Ledger) Flush(ctx context.Context) error {
	return l.waitFor(ctx, "flush", message{})
}

// exclusive runs job between two batches, when everything queued before is
// committed: nothing is written meanwhile.
func (l *Ledger) exclusive(ctx context.Context, verb string, job func() error) error {
	if l.queue == nil {
		return job()
	}
	// The job looks after ctx itself: returning before it ended would leave it running.
	r := &reply{ch: make(chan error, 1)}
	if err := l.send(ctx, verb, message{job: job, reply: r}); err != nil {
		return err
	}
	return <-r.ch
}

// write is the single writer. It holds no transaction while it waits.
func (l *Ledger) write() {
	defer close(l.stopped)
	timer := time.NewTimer(FlushEvery)
	defer timer.Stop()
	var c collected
	for m := range l.queue {
		l.take(&c, m)
		if !c.urgent {
			timer.Reset(FlushEvery)
		}
		for waiting := true; waiting && !c.urgent && len(c.works) < FlushCount; {
			select {
			case m, ok := <-l.queue:
				if waiting = ok; ok {
					l.take(&c, m)
				}
			case <-timer.C:
				waiting = false
			}
		}
		// Group commit: whoever came meanwhile goes along.
		for more := true; more && c.job == nil && len(c.works) < maxBatch; {
			select {
			case m, ok := <-l.queue:
				if more = ok; ok {
					l.take(&c, m)
				}
			default:
				more = false
			}
		}
		l.commit(&c)
		c.reset()
	}
}

// take adds m to a batch, unless the ledger was recovered since it was sent: what
// was written before it may be missing.
func (l *Ledger) take(c *collected, m message) {
	if m.gen == l.gen.Load() {
		c.add(m)
	} else if m.reply != nil {
		m.reply.ch <- l.lost("write")
	}
}

// collected is a batch in the making.
type collected struct {
	works   []work
	replies []*reply
	job     *message
	urgent  bool
}

func (c *collected) add(m message) {
	c.urgent = c.urgent || m.urgent()
	if m.job != nil {
		c.job = &m
		return
	}
	if m.work.kind != 0 {
		c.works = append(c.works, m.work)
	}
	c.works = append(c.works, m.more...)
	if m.reply != nil {
		c.replies = append(c.replies, m.reply)
	}
}

func (c *collected) reset() {
	clear(c.works)
	clear(c.replies)
	*c = collected{works: c.works[:0], replies: c.replies[:0]}
	if cap(c.works) > 4*maxBatch {
		c.works = nil // a large AddIntents went through
	}
}

func (l *Ledger) commit(c *collected) {
	err := l.Unwritable()
	if err == nil && len(c.works) > 0 {
		if err = l.apply(c.works); err != nil {
			err = l.fail(err)
		}
	}
	for _, r := range c.replies {
		if err == nil {
			r.ch <- r.refused
		} else {
			r.ch <- err
		}
	}
	if c.job != nil {
		if err == nil || c.job.mends {
			err = c.job.job()
		}
		c.job.reply.ch <- err
	}
}

// apply writes one batch in one transaction.
func (l *Ledger) apply(works []work) error {
	order := sorted(works, l.sourceOf)
	l.tuneGrowth()
	committed := false
	b := newBatch(l, len(works))
	err := guardExcept(&b.foreign, func() error {
		tx, err := l.db.Begin(true)
		if err != nil {
			return err
		}
		rolledBack := false
		defer func() {
			// Only a panic comes here with the transaction open.
			if !rolledBack && !b.foreign && guard(tx.Rollback) != nil {
				l.markWedged()
			}
		}()
		b.tx = tx
		err = b.apply(order)
		if err == nil {
			err = b.finish()
		}
		if err == nil && b.dirty {
			err = l.hook("commit:before")
		}
		if err != nil || !b.dirty {
			rb := tx.Rollback()
			rolledBack = true
			return errors.Join(err, rb)
		}
		err = tx.Commit()
		rolledBack = true
		if err != nil {
			return err
		}
		committed = true
		l.publish(b, len(works))
		return nil
	})
	if err == nil && committed {
		err = l.hook("commit:after")
	}
	return wrap(l.path, "write", err)
}

// hook calls the test's hook; its error is a crash.
func (l *Ledger) hook(point string) error {
	if l.opts.Hook == nil {
		return nil
	}
	err := l.opts.Hook(point)
	if err != nil {
		l.stateMu.Lock()
		l.dead = true
		if l.failed == nil {
			l.failed = err
		}
		l.stateMu.Unlock()
	}
	return err
}

func (l *Ledger) markWedged() {
	l.stateMu.Lock()
	l.wedged = true
	l.stateMu.Unlock()
}

// tuneGrowth lets a small file grow in small steps and a large one in large:
// each step costs an fsync, and a new ledger should not be 16 MiB.
func (l *Ledger) tuneGrowth() {
	l.db.AllocSize = 1 << 20
	if info, err := l.file.Stat(); err == nil && info.Size() >= 64<<20 {
		l.db.AllocSize = 16 << 20
	}
}

// publish makes a committed batch's places, routes and figures visible.
func (l *Ledger) publish(b *batch, changes int) {
	l.catMu.Lock()
	for id, p := range b.places {
		l.cat.places[id], l.cat.placeIDs[p.Place] = *p, id
	}
	for id, r := range b.routes {
		l.cat.routes[id], l.cat.routeIDs[r.Route] = *r, id
	}
	l.catMu.Unlock()
	l.stateMu.Lock()
	l.commits++
	l.changes += int64(changes)
	l.maxBatch = max(l.maxBatch, changes)
	l.stateMu.Unlock()
}

// sourceOf is the place whose names a change is about.
func (l *Ledger) sourceOf(w *work) PlaceID {
	if w.place != 0 || w.route == 0 {
		return w.place
	}
	info, _ := l.findRouteID(w.route)
	return info.From
}

// sorted gives the order to apply a batch in: the catalog's changes first, the
// others by source place and name, which keeps neighbouring keys together. The
// sort is stable and everything about one object has the same place and name, so
// changes that could depend on each other keep their order.
func sorted(works []work, source func(*work) PlaceID) []*work {
	type keyed struct {
		place PlaceID
		w     *work
	}
	keys := make([]keyed, len(works))
	for i := range works {
		keys[i] = keyed{source(&works[i]), &works[i]}
	}
	slices.SortStableFunc(keys, func(a, b keyed) int {
		if a.w.kind == workCatalog || b.w.kind == workCatalog {
			return boolInt(b.w.kind == workCatalog) - boolInt(a.w.kind == workCatalog)
		}
		if a.place != b.place {
			return int(int64(a.place) - int64(b.place))
		}
		return strings.Compare(a.w.name, b.w.name)
	})
	out := make([]*work, len(keys))
	for i := range keys {
		out[i] = keys[i].w
	}
	return out
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Stats tells how the ledger is doing, as of the last commit.
func (l *Ledger) Stats() Stats {
	l.catMu.RLock()
	s := Stats{Places: len(l.cat.places), Routes: len(l.cat.routes), PageBytes: pageBytes}
	for _, p := range l.cat.places {
		s.Objects += p.Objects
	}
	l.catMu.RUnlock()
	l.stateMu.Lock()
	s.Commits, s.Changes, s.MaxBatch = l.commits, l.changes, l.maxBatch
	l.stateMu.Unlock()
	s.Queued = len(l.queue)
	l.dbMu.RLock()
	defer l.dbMu.RUnlock()
	if l.closed || l.db == nil {
		return s
	}
	if info, err := l.file.Stat(); err == nil {
		s.FileBytes = info.Size()
	}
	s.PageBytes = l.db.Info().PageSize
	s.Pages, s.FreePages = pages(l.db)
	return s
}

// pages counts the pages below the high-water mark and the free ones among them.
func pages(db *bbolt.DB) (all, free int64) {
	_ = guard(func() error {
		return db.View(func(tx *bbolt.Tx) error {
			all = tx.Size() / int64(db.Info().PageSize)
			return nil
		})
	})
	st := db.Stats()
	return all, int64(st.FreePageN + st.PendingPageN)
}
