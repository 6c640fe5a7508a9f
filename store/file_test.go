package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
)

var update = flag.Bool("update", false, "write testdata anew")

func TestLockedByAnotherProcess(t *testing.T) {
	path := tempPath(t)
	sample(t, path, 3)
	cmd, out := startChild(t, "hold", path)
	if !out.Scan() || out.Text() != "held" {
		t.Fatalf("child: %q", out.Text())
	}
	began := time.Now()
	for _, o := range []Options{{}, {ReadOnly: true}, {Timeout: 120 * time.Millisecond}} {
		_, err := Open(path, o)
		if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), path) {
			t.Errorf("open %+v: %v", o, err)
		}
		if _, proc := os.Stat("/proc/locks"); proc == nil && !strings.Contains(fmt.Sprint(err), fmt.Sprintf("process %d (store.test)", cmd.Process.Pid)) {
			t.Errorf("it does not say by whom: %v", err)
		}
	}
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("it waited %v", d)
	}
	if err := Check(context.Background(), path, nil); !errors.Is(err, ErrLocked) {
		t.Errorf("check: %v", err)
	}
	if _, _, err := Compact(context.Background(), path, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("compact: %v", err)
	}
	// The one who waits gets it when the holder dies.
	got := make(chan error, 1)
	go func() {
		l, err := Open(path, Options{Timeout: 20 * time.Second})
		if err == nil {
			err = l.Close()
		}
		got <- err
	}()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Errorf("after the holder died: %v", err)
	}
	mustCheck(t, path)
}

func TestLockedInThisProcess(t *testing.T) {
	l := fresh(t)
	if _, err := Open(l.Path(), Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("second open: %v", err)
	}
	ro := Options{ReadOnly: true}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	r := open(t, l.Path(), ro)
	if _, err := Open(l.Path(), Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("write beside a reader: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// A file that somebody writes at this moment is in use, and never looks damaged.
func TestBusyLedgerIsNotTakenForDamaged(t *testing.T) {
	l := open(t, tempPath(t), Options{NoSync: true})
	r := route(t, l, paris("a"), lyon("a"))
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; !stop.Load(); i++ {
			name := fmt.Sprint(i % 1000)
			l.Update(r.From, name, func(o *Object, _ bool) bool { o.Size = int64(i); return true })
			if err := l.Flush(context.Background()); err != nil {
				t.Error(err)
			}
		}
	}()
	for i := range 400 {
		if _, err := Open(l.Path(), Options{ReadOnly: i%2 == 0}); !errors.Is(err, ErrLocked) {
			t.Fatalf("open %d: %v", i, err)
		}
	}
	stop.Store(true)
	<-done
	closeAndCheck(t, l)
}

// The ledger may be reached by a symbolic link, which a compaction must not replace.
func TestLinkedLedgerStaysLinked(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "disk"), 0o700); err != nil {
		t.Fatal(err)
	}
	path, to := filepath.Join(dir, "ledger.db"), filepath.Join(dir, "disk", "real.db")
	sample(t, to, 3)
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Compact(context.Background(), path, Options{}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.Readlink(path); got != to {
		t.Errorf("link to %q, %v", got, err)
	}
	mustCheck(t, path)
	mustCheck(t, to)
}

// shrink fills a ledger and empties most of it, so that it is sparse.
func shrink(t *testing.T, l *Ledger, objects, nameBytes, keep int) RouteInfo {
	t.Helper()
	r := route(t, l, paris("a"), lyon("a"))
	pad := strings.Repeat("n", nameBytes-8)
	for i := range objects {
		name := fmt.Sprintf("%08d%s", i, pad)
		l.Update(r.From, name, set(testObject(name, r.ID)))
	}
	flush(t, l)
	for i := keep; i < objects; i++ {
		l.Update(r.From, fmt.Sprintf("%08d%s", i, pad), func(*Object, bool) bool { return false })
	}
	flush(t, l)
	return r
}

func TestCompactShrinksUnderReadersAndWriters(t *testing.T) {
	l := open(t, tempPath(t), Options{NoSync: true})
	r := shrink(t, l, 10_000, 900, 500)
	if err := l.PutNote("k", []byte("v")); err != nil {
		t.Fatal(err)
	}
	before := l.Stats()
	if did, err := l.CompactIfSparse(context.Background()); did || err != nil {
		t.Errorf("a small file was compacted (%v)", err)
	}
	var stop atomic.Bool
	done := make(chan error, 2)
	go func() {
		for !stop.Load() {
			page, err := l.Page(r.From, "", "", "", 100)
			if err == nil && len(page) != 100 {
				err = fmt.Errorf("page of %d", len(page))
			}
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	go func() {
		for i := 0; !stop.Load(); i++ {
			l.Update(r.From, "zz", func(o *Object, _ bool) bool { o.Size++; return true })
		}
		done <- nil
	}()
	if err := l.Compact(context.Background()); err != nil {
		t.Fatal(err)
	}
	stop.Store(true)
	for range 2 {
		if err := <-done; err != nil {
			t.Errorf("beside the compaction: %v", err)
		}
	}
	flush(t, l)
	after := l.Stats()
	if after.FileBytes > before.FileBytes/4 || after.Objects < 500 || after.Objects > 501 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if v, ok, err := l.Note("k"); string(v) != "v" || !ok || err != nil {
		t.Errorf("note: %q %v %v", v, ok, err)
	}
	if next := route(t, l, lyon("a"), paris("b")); next.ID != r.ID+1 {
		t.Errorf("the sequence of numbers was lost: %+v", next)
	}
	if _, err := Open(l.Path(), Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("the compacted file is not locked: %v", err)
	}
	closeAndCheck(t, l)
	if info, err := os.Stat(l.Path()); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := os.Stat(compactPath(l.Path())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

func TestSparseLedgerIsCompactedAtClose(t *testing.T) {
	path := tempPath(t)
	l := open(t, path, Options{NoSync: true})
	shrink(t, l, 9_000, 12_000, 10)
	s := l.Stats()
	if s.FileBytes <= SparseBytes || 2*s.FreePages <= s.Pages {
		t.Fatalf("not sparse: %+v", s)
	}
	closeAndCheck(t, l)
	if info, err := os.Stat(path); err != nil || info.Size() > 4<<20 {
		t.Errorf("%d bytes after close, %d before (%v)", info.Size(), s.FileBytes, err)
	}
	l = open(t, path, Options{ReadOnly: true})
	if got := l.Stats().Objects; got != 10 {
		t.Errorf("%d objects", got)
	}
	_ = l.Close()
}

func TestCompactFile(t *testing.T) {
	path := tempPath(t)
	l := open(t, path, Options{NoSync: true})
	shrink(t, l, 5_000, 900, 100)
	closeAndCheck(t, l)
	// A killed compaction's half is in the way.
	if err := os.WriteFile(compactPath(path), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := Compact(cancelled, path, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	before, after, err := Compact(context.Background(), path, Options{})
	if err != nil || after >= before/2 {
		t.Errorf("%d to %d bytes, %v", before, after, err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != after {
		t.Errorf("said %d, is %d (%v)", after, info.Size(), err)
	}
	mustCheck(t, path)
	if _, _, err := Compact(context.Background(), path+"x", Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

// Whoever waits for the lock while the file is replaced must get the new file, not
// write into the one that lost its name.
func TestWaiterGetsTheCompactedFile(t *testing.T) {
	path := tempPath(t)
	l := open(t, path, Options{NoSync: true})
	shrink(t, l, 3_000, 900, 10)
	got := make(chan error, 1)
	go func() {
		w, err := Open(path, Options{Timeout: 20 * time.Second})
		if err == nil {
			err = errors.Join(w.PutNote("waiter", []byte("was here")), w.Close())
		}
		got <- err
	}()
	// It has the old file open when its lock attempt shows among this process's descriptors.
	for !descriptorTwice(t, path) {
		time.Sleep(time.Millisecond)
	}
	if err := l.Compact(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	r := open(t, path, Options{ReadOnly: true})
	if v, ok, err := r.Note("waiter"); string(v) != "was here" || !ok || err != nil {
		t.Errorf("the waiter wrote elsewhere: %q %v %v", v, ok, err)
	}
	closeAndCheck(t, r)
}

func descriptorTwice(t *testing.T, path string) bool {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("no /proc: %v", err)
	}
	n := 0
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && to == path {
			n++
		}
	}
	return n >= 2
}

func TestDump(t *testing.T) {
	path := tempPath(t)
	l := open(t, path, Options{Clock: func() time.Time { return time.Unix(1_790_000_000, 0) }})
	fillSample(t, l, 8)
	r, _, _ := l.FindRoute(Route{From: paris("a"), To: lyon("a")})
	l.Update(r.From, "bad\xff<&>", set(testObject("bad")))
	var one, two bytes.Buffer
	if err := l.Dump(context.Background(), &one); err != nil {
		t.Fatal(err)
	}
	closeAndCheck(t, l)
	ro := open(t, path, Options{ReadOnly: true})
	if err := ro.Dump(context.Background(), &two); err != nil {
		t.Fatal(err)
	}
	_ = ro.Close()
	if d := cmp.Diff(one.String(), two.String()); d != "" {
		t.Errorf("two dumps of one ledger differ: %s", d)
	}
	var got bytes.Buffer
	for _, line := range bytes.SplitAfter(one.Bytes(), []byte("\n")) {
		if len(line) > 0 && !json.Valid(line) {
			t.Errorf("not JSON: %s", line)
		}
		var meta struct{ Type, UUID string }
		if json.Unmarshal(line, &meta) == nil && meta.Type == "meta" {
			if len(meta.UUID) != 36 || meta.UUID[14] != '4' {
				t.Errorf("uuid %q", meta.UUID)
			}
			line = bytes.ReplaceAll(line, []byte(meta.UUID), []byte("UUID"))
		}
		got.Write(line)
	}
	golden(t, "dump.jsonl", got.Bytes())

	gone, cancel := context.WithCancel(context.Background())
	cancel()
	ro = open(t, path, Options{ReadOnly: true})
	if err := ro.Dump(gone, &two); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := ro.Dump(context.Background(), brokenWriter{}); !errors.Is(err, errBroken) {
		t.Errorf("broken pipe: %v", err)
	}
	_ = ro.Close()
}

var errBroken = errors.New("broken")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got)\n%s", path, d)
	}
}

func TestMetaHoldsWhatIsDocumented(t *testing.T) {
	path := tempPath(t)
	sample(t, path, 0)
	tamper(t, path, func(tx *bbolt.Tx) error {
		m := tx.Bucket([]byte("meta"))
		if got := m.Get([]byte("schema")); !bytes.Equal(got, []byte{0, 0, 0, schemaVersion}) {
			t.Errorf("schema %x", got)
		}
		if v, n := binary.Varint(m.Get([]byte("created"))); n <= 0 || v != 1_790_000_000_000_000 {
			t.Errorf("created %d", v)
		}
		return nil
	})
}
