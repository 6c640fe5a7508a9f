package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"farshore/transport/chunk"
)

// Without anybody asking, a change is on disk after FlushEvery.
func TestQueuedChangesAreWrittenInTime(t *testing.T) {
	path := tempPath(t)
	synctest.Test(t, func(t *testing.T) {
		var commits atomic.Int32
		l, err := Open(path, Options{Hook: func(p string) error {
			if p == "commit:after" {
				commits.Add(1)
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		p, err := l.PlaceID(paris("a"))
		if err != nil {
			t.Fatal(err)
		}
		put := func(i int) { l.Update(p, fmt.Sprint(i), set(testObject("x"))) }
		commits.Store(0)
		for i := range 10 {
			put(i)
		}
		time.Sleep(FlushEvery - time.Millisecond)
		synctest.Wait()
		if got := commits.Load(); got != 0 {
			t.Errorf("%d commits before the time", got)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if got := commits.Load(); got != 1 {
			t.Errorf("%d commits after FlushEvery, want 1", got)
		}
		if got, err := l.Page(p, "", "", "", 0); len(got) != 10 || err != nil {
			t.Errorf("%d records, %v", len(got), err)
		}
		for i := range FlushCount {
			put(i + 100)
		}
		synctest.Wait() // no time passes
		if got := commits.Load(); got < 2 {
			t.Errorf("a full batch waits")
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
	mustCheck(t, path)
}

// A slow disk holds the callers back after four batches, and no more are kept in memory.
func TestBackPressure(t *testing.T) {
	block := make(chan struct{})
	var on atomic.Bool
	l := open(t, tempPath(t), Options{Hook: func(p string) error {
		if on.Load() && p == "commit:before" {
			<-block
		}
		return nil
	}})
	p, err := l.PlaceID(paris("a"))
	if err != nil {
		t.Fatal(err)
	}
	on.Store(true)
	const queue, total = 4 * 256, 16 * 256 // four batches; the constants are promises
	var sent atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range total {
			l.Update(p, fmt.Sprint(i), set(testObject("x")))
			sent.Add(1)
		}
	}()
	for l.Stats().Queued < queue {
		time.Sleep(time.Millisecond)
	}
	if got := sent.Load(); got > 2*queue+1 || l.Stats().Queued > queue {
		t.Errorf("%d went in, want at most a batch and the queue", got)
	}
	short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := l.Flush(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("flush does not heed its context: %v", err)
	}
	close(block)
	<-done
	flush(t, l)
	if s := l.Stats(); s.Objects != total || s.MaxBatch > queue {
		t.Errorf("stats: %+v", s)
	}
	closeAndCheck(t, l)
}

// An unchanged record costs no commit: a pass over an unchanged container writes nothing.
func TestUnchangedRecordsAreNotWritten(t *testing.T) {
	l := fresh(t)
	r := route(t, l, paris("a"), lyon("a"))
	l.Update(r.From, "x", set(testObject("x", r.ID)))
	flush(t, l)
	before := l.Stats().Commits
	l.Update(r.From, "x", func(*Object, bool) bool { return true })
	l.Update(r.From, "y", func(*Object, bool) bool { return false })
	l.DropIntent(r.ID, "nothing")
	flush(t, l)
	if err := l.SetListed(r.ID, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if got := l.Stats().Commits; got != before {
		t.Errorf("%d commits for nothing", got-before)
	}
	closeAndCheck(t, l)
}

func TestManyAtOnce(t *testing.T) {
	l := open(t, tempPath(t), Options{})
	ctx := context.Background()
	r := route(t, l, paris("a"), lyon("a"))
	const workers, each = 8, 60
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				name := fmt.Sprintf("%d/%d", w, i)
				in := Intent{Route: r.ID, Name: name, Layout: chunk.Layout{Size: 1, Chunk: 1}}
				if err := l.AddIntents(ctx, []Intent{in}); err != nil {
					t.Error(err)
				}
				if err := l.ChunkDone(ctx, r.ID, name, ChunkRecord{}, nil); err != nil {
					t.Error(err)
				}
				l.Update(r.From, "shared", func(o *Object, _ bool) bool { o.Size++; return true })
				l.Confirm(Confirmation{Place: r.From, Route: r.ID, Name: name, Apply: set(testObject(name, r.ID))})
				if _, err := l.Page(r.From, "", "", "", 50); err != nil {
					t.Error(err)
				}
				switch i {
				case 20:
					if err := l.Compact(ctx); err != nil {
						t.Error(err)
					}
				case 40:
					if err := l.Check(ctx, func(p Problem) error { return errors.New(p.String()) }); err != nil {
						t.Error(err)
					}
				}
				_ = l.Stats()
			}
		})
	}
	wg.Wait()
	flush(t, l)
	o, _, err := l.Get(r.From, "shared")
	if err != nil || o.Size != workers*each {
		t.Errorf("shared counter %d, %v", o.Size, err)
	}
	if rs, err := l.Routes(); err != nil || rs[0].Confirmed != workers*each {
		t.Errorf("routes %+v, %v", rs, err)
	}
	if left, err := l.Intents(r.ID, "", 0); len(left) != 0 || err != nil {
		t.Errorf("intents left: %v %v", left, err)
	}
	if s := l.Stats(); s.Commits >= s.Changes {
		t.Errorf("no grouping: %+v", s)
	}
	closeAndCheck(t, l)
}

// Whoever waits for durability while a commit runs shares the next one.
func TestWaitersShareACommit(t *testing.T) {
	block, entered := make(chan struct{}), make(chan struct{}, 100)
	var on atomic.Bool
	l := open(t, tempPath(t), Options{Hook: func(p string) error {
		if on.Load() && p == "commit:before" {
			entered <- struct{}{}
			<-block
		}
		return nil
	}})
	r := route(t, l, paris("a"), lyon("a"))
	on.Store(true)
	var wg sync.WaitGroup
	wg.Go(func() { _ = l.PutNote("first", []byte("x")) })
	<-entered
	const waiters = 20
	for i := range waiters {
		wg.Go(func() {
			if err := l.AddIntents(context.Background(), []Intent{{Route: r.ID, Name: fmt.Sprint(i)}}); err != nil {
				t.Error(err)
			}
		})
	}
	for l.Stats().Queued < waiters {
		time.Sleep(time.Millisecond)
	}
	close(block)
	wg.Wait()
	if n := len(entered); n != 1 {
		t.Errorf("%d commits for %d that waited, want 1", n, waiters)
	}
	closeAndCheck(t, l)
}

// Keys in order fill their pages (R8): ten million records have to fit in 3 GiB.
func TestListingOrderFillsPages(t *testing.T) {
	l := open(t, tempPath(t), Options{NoSync: true})
	r := route(t, l, paris("a"), lyon("a"))
	var bytes int64
	const ranges, each = 4, 4_000
	for i := range each { // several ranges at once, each in order
		for k := range ranges {
			o := testObject(fmt.Sprintf("%d/picture-%09d.jpg", k, i), r.ID)
			v, err := appendObject(nil, r.From, []byte(o.Name), &o)
			if err != nil {
				t.Fatal(err)
			}
			bytes += int64(elementSize + len(o.Name) + len(v))
			l.Update(r.From, o.Name, set(o))
		}
	}
	flush(t, l)
	s := l.Stats()
	if used := (s.Pages - s.FreePages) * pageBytes; float64(bytes)/float64(used) < 0.8 {
		t.Errorf("%d bytes of records take %d bytes of pages", bytes, used)
	}
	closeAndCheck(t, l)
}
