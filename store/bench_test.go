package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// benchRecords is how many records the benchmarks of a first pass write: a million,
// or FARSHORE_BENCH_RECORDS (ten million is what design §8 speaks of).
func benchRecords(b *testing.B) int {
	n, err := strconv.Atoi(os.Getenv("FARSHORE_BENCH_RECORDS"))
	if err != nil {
		n = 1_000_000
	}
	return n
}

// benchName is of a usual length (38 bytes).
func benchName(i int) string { return fmt.Sprintf("assets/2026/%05d/picture-%09d.jpg", i/10_000, i) }

// shuffled visits 0..n-1 in a scattered order without a table: i*step mod n.
func shuffled(n int) func(int) int {
	step := int(float64(n)*0.6180339887) | 1
	for gcd(step, n) != 1 {
		step += 2
	}
	return func(i int) int { return int(int64(i) * int64(step) % int64(n)) }
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// BenchmarkFirstPass writes a record with two replicas for each object, as fast as
// the ledger takes them, with fsync, in listing order and in random order, and
// measures what the file is good for afterwards. One iteration is one ledger; run
// it with -benchtime=1x.
func BenchmarkFirstPass(b *testing.B) {
	n := benchRecords(b)
	for _, order := range []string{"listing", "random"} {
		b.Run(fmt.Sprintf("%s/%d", order, n), func(b *testing.B) {
			for range b.N {
				firstPass(b, n, order == "random")
			}
		})
	}
}

func firstPass(b *testing.B, n int, random bool) {
	defer watchMemory(b)()
	path := filepath.Join(b.TempDir(), "ledger.db")
	l := open(b, path, Options{})
	r1, r2 := route(b, l, paris("a"), lyon("a")), route(b, l, paris("a"), Place{Region: "berlin", Project: "p1", Container: "a"})
	at := func(i int) int { return i }
	if random {
		at = shuffled(n)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	record := func(i int) Object {
		o := Object{Name: benchName(i), Size: rnd.Int64N(1 << 22)}
		var md5 [16]byte
		for j := range md5 {
			md5[j] = byte(rnd.Uint32())
		}
		o.Version = Version{ETag: fmt.Sprintf("%x", md5), Modified: 1_790_000_000_000_000 + rnd.Int64N(1e13)}
		o.Meta = [8]byte(md5[:8])
		w := 1_800_000_000_000_000 + int64(i)*20
		for _, r := range []RouteID{r1.ID, r2.ID} {
			o.Replicas = append(o.Replicas, Replica{Route: r, State: Confirmed, Version: o.Version, Written: w + rnd.Int64N(1e6), Confirmed: w + 1_000_000 + rnd.Int64N(1e6)})
		}
		return o
	}
	b.ResetTimer()
	began, cpu := time.Now(), cpuTime(b)
	for i := range n {
		o := record(at(i))
		l.Update(r1.From, o.Name, func(to *Object, _ bool) bool { *to = o; return true })
	}
	flush(b, l)
	took := time.Since(began)
	b.ReportMetric(float64((cpuTime(b)-cpu).Nanoseconds())/float64(n), "cpu-ns/record")
	s := l.Stats()
	b.ReportMetric(float64(n)/took.Seconds(), "records/s")
	b.ReportMetric(float64(s.FileBytes)/float64(n), "file-B/record")
	b.ReportMetric(float64(s.Pages-s.FreePages)*float64(s.PageBytes)/float64(n), "used-B/record")
	b.ReportMetric(float64(n)/float64(s.Commits), "records/commit")

	timed(b, "change/s", func() float64 { // what a pass over random changes costs
		at := shuffled(n)
		m := min(n, 200_000)
		for i := range m {
			l.Update(r1.From, benchName(at(i)), func(o *Object, _ bool) bool { o.Version.Modified++; return true })
		}
		flush(b, l)
		return float64(m)
	})
	timed(b, "read/s", func() float64 {
		read := 0
		for after := ""; ; {
			page, err := l.Page(r1.From, after, "", "", 0)
			if err != nil {
				b.Fatal(err)
			}
			if read += len(page); len(page) < MaxPage {
				return float64(read)
			}
			after = page[len(page)-1].Name
		}
	})
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	began = time.Now()
	l, err := Open(path, Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(time.Since(began).Microseconds())/1000, "open-ms")
	timed(b, "check/s", func() float64 {
		if err := l.Check(context.Background(), func(p Problem) error { return fmt.Errorf("%v", p) }); err != nil {
			b.Fatal(err)
		}
		return float64(n)
	})
	timed(b, "compact/s", func() float64 {
		if err := l.Compact(context.Background()); err != nil {
			b.Fatal(err)
		}
		return float64(n)
	})
	b.ReportMetric(float64(l.Stats().FileBytes)/float64(n), "compact-B/record")
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}

// cpuTime is what this process has used, user and system: on a busy machine the
// only figure worth comparing.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// watchMemory reports the most memory of this process that is not a file's
// (design §8: a mapped ledger is cache).
func watchMemory(b *testing.B) (stop func()) {
	anon := func() (kib float64) {
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			return 0
		}
		for _, line := range strings.Split(string(status), "\n") {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "RssAnon:" {
				kib, _ = strconv.ParseFloat(f[1], 64)
			}
		}
		return kib
	}
	end, done := make(chan struct{}), make(chan float64)
	go func() {
		peak := anon()
		for {
			select {
			case <-end:
				done <- peak
				return
			case <-time.After(20 * time.Millisecond):
				peak = max(peak, anon())
			}
		}
	}()
	return func() {
		close(end)
		b.ReportMetric(<-done/1024, "peak-anon-MiB")
	}
}

// timed reports how many things a second fn did.
func timed(b *testing.B, unit string, fn func() float64) {
	b.Helper()
	began := time.Now()
	did := fn()
	b.ReportMetric(did/time.Since(began).Seconds(), unit)
}

// BenchmarkChunkDone is the latency of a durable verb, alone and with 16 at once.
func BenchmarkChunkDone(b *testing.B) {
	for _, at := range []int{1, 16} {
		b.Run(fmt.Sprintf("streams=%d", at), func(b *testing.B) {
			l := fresh(b)
			r := route(b, l, paris("a"), lyon("a"))
			in := Intent{Route: r.ID, Name: "big"}
			in.Layout.Size, in.Layout.Chunk = 1<<40, 1
			if err := l.AddIntents(context.Background(), []Intent{in}); err != nil {
				b.Fatal(err)
			}
			b.SetParallelism(at)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				rnd := rand.New(rand.NewPCG(rand.Uint64(), 0))
				for pb.Next() {
					if err := l.ChunkDone(context.Background(), r.ID, "big", ChunkRecord{Index: rnd.IntN(1 << 20)}, nil); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func BenchmarkDecodeObject(b *testing.B) {
	o := testObject(benchName(1), 1, 2)
	v, err := appendObject(nil, 1, []byte(o.Name), &o)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(v)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeObject(1, []byte(o.Name), v); err != nil {
			b.Fatal(err)
		}
	}
}
