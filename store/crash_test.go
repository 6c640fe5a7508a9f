package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"farshore/transport/chunk"
)

// scenario is a small transfer from plan to end; at each step it says what is
// promised by now.
func scenario(l *Ledger, promised func(string)) error {
	ctx := context.Background()
	r, err := l.Route(Route{From: paris("a"), To: lyon("a")})
	if err != nil {
		return err
	}
	promised("route")
	big := Intent{Route: r.ID, Name: "big", Layout: chunk.Layout{Size: 20, Chunk: 10}}
	if err := l.AddIntents(ctx, []Intent{{Route: r.ID, Name: "small"}, big}); err != nil {
		return err
	}
	promised("intents")
	for i := range 2 {
		if err := l.ChunkDone(ctx, r.ID, "big", ChunkRecord{Index: i}, &HashState{Chunks: i + 1, MD5: []byte{byte(i)}}); err != nil {
			return err
		}
		promised(fmt.Sprint("chunk ", i))
	}
	l.Confirm(Confirmation{Place: r.From, Route: r.ID, Name: "small", Apply: set(testObject("small", r.ID))})
	if err := l.Flush(ctx); err != nil {
		return err
	}
	promised("small")
	l.Confirm(Confirmation{Place: r.From, Route: r.ID, Name: "big", Apply: set(testObject("big", r.ID))})
	if err := l.SavePass(ctx, Pass{Key: "p", Ended: 1}); err != nil {
		return err
	}
	promised("pass")
	return l.Close()
}

// The crash comes before and after every commit of the scenario in turn; whatever
// was promised is there afterwards, nothing contradicts itself, and the scenario
// can be run again to its end.
func TestCrashAtEveryCommit(t *testing.T) {
	for n, crashed := 1, true; crashed; n++ {
		path := filepath.Join(t.TempDir(), "ledger.db")
		crashed = false
		points, last, at := 0, "", ""
		l := open(t, path, Options{Hook: func(point string) error {
			if points++; points == n {
				crashed, at = true, point
				return errCrash
			}
			return nil
		}})
		err := scenario(l, func(step string) { last = step })
		if crashed != errors.Is(err, errCrash) || !crashed && err != nil {
			t.Fatalf("point %d: crashed %v, error %v", n, crashed, err)
		}
		if crashed {
			if err := l.Close(); !errors.Is(err, errCrash) {
				t.Errorf("point %d: close: %v", n, err)
			}
		}
		mustCheck(t, path)

		l = open(t, path, Options{})
		r, known, _ := l.FindRoute(Route{From: paris("a"), To: lyon("a")})
		_, intent, _ := l.Intent(r.ID, "big")
		chunks, h, _ := l.Chunks(r.ID, "big")
		_, small, _ := l.Get(r.From, "small")
		_, big, _ := l.Get(r.From, "big")
		_, pass, _ := l.Pass("p")
		holds := map[string]bool{
			"route": known, "intents": known && (intent || big), "chunk 0": len(chunks) >= 1 && h.Chunks >= 1 || big,
			"chunk 1": len(chunks) == 2 && h.Chunks == 2 || big, "small": small, "pass": pass && big && !intent && chunks == nil,
		}
		for _, step := range []string{"route", "intents", "chunk 0", "chunk 1", "small", "pass"} {
			if last == "" {
				break
			}
			if !holds[step] {
				t.Errorf("point %d (%s): %q was promised and is not there", n, at, step)
			}
			if step == last {
				break
			}
		}
		if intent && big {
			t.Errorf("point %d: confirmed and still intended", n)
		}
		if err := scenario(l, func(string) {}); err != nil {
			t.Errorf("point %d: again: %v", n, err)
		}
		mustCheck(t, path)
		if crashed && n > 40 {
			t.Fatal("the scenario does not end")
		}
		if !crashed && n < 10 {
			t.Errorf("only %d points were tried", n-1)
		}
	}
}

// Killed for real, at any moment: what was printed is there (promise 3).
func TestKillAnywhere(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	path := tempPath(t)
	for round := range 6 {
		cmd, out := startChild(t, "write", path)
		kill := time.AfterFunc(time.Duration(50+rnd.IntN(250))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		planned, passed := -1, -1
		for out.Scan() {
			what, n, _ := strings.Cut(out.Text(), " ")
			i, err := strconv.Atoi(n)
			if err != nil {
				t.Fatalf("child: %s", out.Text())
			}
			if what == "planned" {
				planned = i
			} else {
				passed = i
			}
		}
		kill.Stop()
		_ = cmd.Wait()
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			continue // killed before it was there
		}
		mustCheck(t, path)
		l := open(t, path, Options{})
		r, _, err := l.FindRoute(Route{From: paris("a"), To: lyon("a")})
		if err != nil {
			t.Fatal(err)
		}
		if planned >= 0 {
			name := fmt.Sprintf("%08d", planned)
			_, done, err1 := l.Get(r.From, name)
			_, meant, err2 := l.Intent(r.ID, name)
			if !done && !meant || err1 != nil || err2 != nil {
				t.Errorf("round %d: %s was planned and is neither done nor intended (%v, %v)", round, name, err1, err2)
			}
		}
		if passed >= 0 {
			p, _, err := l.Pass("p")
			if err != nil || len(p.Ranges) != 1 || p.Ranges[0].Pos < fmt.Sprintf("%08d", passed) {
				t.Errorf("round %d: pass %+v, %v, want %d", round, p, err, passed)
			}
			for i := 0; i <= passed; i++ {
				name := fmt.Sprintf("%08d", i)
				if o, ok, err := l.Get(r.From, name); !ok || err != nil || o.Version.ETag != etag(name) {
					t.Fatalf("round %d: %s was promised: %v %v %v", round, name, o, ok, err)
				}
			}
		}
		t.Logf("round %d: planned %d, passed %d", round, planned, passed)
		closeAndCheck(t, l)
	}
}

func TestFullDisk(t *testing.T) {
	t.Run("file size limit", func(t *testing.T) {
		path := tempPath(t)
		expectFull(t, path, 4<<20)
	})
	t.Run("small file system", func(t *testing.T) {
		dir := t.TempDir()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
			t.Skipf("mounting a small file system takes root: %v (the file size limit above is the same path)", err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(dir, 0); err != nil {
				t.Errorf("unmount: %v", err)
			}
		})
		path := filepath.Join(dir, "ledger.db")
		expectFull(t, path, 0)
		// There is no room for a compaction, which must leave the ledger alone.
		l := open(t, path, Options{ReadOnly: true})
		want := l.Stats().Objects
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Compact(context.Background(), path, Options{}); !errors.Is(err, ErrFull) {
			t.Errorf("compact: got %v, want ErrFull", err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
			t.Errorf("left behind: %v, %v", left, err)
		}
		mustCheck(t, path)
		l = open(t, path, Options{ReadOnly: true})
		if got := l.Stats().Objects; got != want {
			t.Errorf("%d objects, want %d", got, want)
		}
		_ = l.Close()
	})
}

// expectFull lets another process fill a ledger, which makes sure that what was
// promised is there; afterwards the file is whole, and holds what was seen then.
func expectFull(t *testing.T, path string, limit int) {
	t.Helper()
	cmd, out := startChild(t, "fill", path, strconv.Itoa(limit))
	said := ""
	for out.Scan() {
		said = out.Text()
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	kept, err := strconv.Atoi(strings.TrimPrefix(said, "kept "))
	if err != nil {
		t.Fatalf("child said %q", said)
	}
	mustCheck(t, path)
	l := open(t, path, Options{ReadOnly: true})
	if got := l.Stats().Objects; got != int64(kept) {
		t.Errorf("%d objects, there were %d", got, kept)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	t.Logf("%d records fitted", kept)
}
