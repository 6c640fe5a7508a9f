package fakecloud

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSyntheticContainer(t *testing.T) {
	g := newRig(t, RegionOptions{})
	size := func(i int) int64 { return int64(i % 5000) }
	if err := g.r.SetSynthetic("c", Synthetic{Count: 1_000_000, Seed: 7, Size: size, Dir: 1000, Prefix: "p/"}); err != nil {
		t.Fatal(err)
	}
	g.header(g.must(204, "HEAD", "/c", ""), "X-Container-Object-Count", "1000000")
	rows := g.list("/c?format=json&limit=3&marker=" + url.QueryEscape("p/d000499/o000499997"))
	if got := strings.Join(names(rows), " "); got != "p/d000499/o000499998 p/d000499/o000499999 p/d000500/o000500000" {
		t.Fatalf("listing: %s", got)
	}
	a := g.must(200, "GET", "/c/p/d000499/o000499998", "")
	g.eq("size", len(a.body), 4998)
	g.eq("hash", rows[0].Hash, md5Hex([]byte(a.body)))
	g.header(a, "Etag", rows[0].Hash)
	g.eq("a part", g.must(206, "GET", "/c/p/d000499/o000499998", "", "Range", "bytes=1001-1099").body, a.body[1001:1100])
	g.eq("last", g.list("/c?format=json&reverse=1&limit=1")[0].Name, "p/d000999/o000999999")
	g.eq("dirs", len(g.list("/c?format=json&prefix=p/&delimiter=/")), 1000)
	// The overlay: overwrite, post, delete, add.
	g.must(201, "PUT", "/c/p/d000000/o000000001", "over")
	g.must(202, "POST", "/c/p/d000000/o000000002", "", "X-Object-Meta-A", "1")
	g.must(204, "DELETE", "/c/p/d000000/o000000003", "")
	g.must(201, "PUT", "/c/p/d000000/o0000000035", "between")
	g.must(404, "GET", "/c/p/d000000/o000000003", "")
	g.must(404, "DELETE", "/c/p/d000000/o000000003", "")
	g.header(g.must(204, "HEAD", "/c", ""), "X-Container-Object-Count", "1000000")
	rows = g.list("/c?format=json&limit=5")
	if got := strings.Join(names(rows), " "); got != "p/d000000/o000000000 p/d000000/o000000001 p/d000000/o000000002 p/d000000/o0000000035 p/d000000/o000000004" {
		t.Errorf("overlaid listing: %s", got)
	}
	g.eq("overwritten", rows[1].Hash, md5Hex([]byte("over")))
	if rows[2].LastModified <= rows[0].LastModified || rows[2].Bytes != 2 {
		t.Errorf("posted: %+v", rows[2])
	}
	g.must(201, "PUT", "/c/p/d000000/o000000003", "back")
	g.header(g.must(204, "HEAD", "/c", ""), "X-Container-Object-Count", "1000001")
	if !g.r.Corrupt("c", "p/d000000/o000000004") {
		t.Error("corrupt")
	}
	a = g.must(200, "GET", "/c/p/d000000/o000000004", "")
	if a.header.Get("Etag") == md5Hex([]byte(a.body)) {
		t.Error("a corrupted synthetic object still fits its ETag")
	}
	if err := g.r.SetSynthetic("c", Synthetic{Count: 1}); err == nil {
		t.Error("a second synthetic layer was accepted")
	}
}

// The index against a sorted slice, by random operations.
func TestIndexKeepsOrder(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var x index
	model := map[string]*object{}
	for step := range 40_000 {
		name := fmt.Sprint(rnd.IntN(6000))
		if rnd.IntN(3) == 0 {
			_, had := model[name]
			if x.del(name) != had {
				t.Fatalf("step %d: del %s", step, name)
			}
			delete(model, name)
			continue
		}
		o := &object{}
		x.set(name, o)
		model[name] = o
	}
	want := slices.Sorted(maps.Keys(model))
	if x.n != len(want) {
		t.Fatalf("n %d, want %d", x.n, len(want))
	}
	for range 300 {
		from := fmt.Sprint(rnd.IntN(7000))
		i, _ := slices.BinarySearch(want, from)
		cur := x.seek(from, false)
		for _, n := range want[i:min(i+700, len(want))] {
			e, ok := cur.peek()
			if !ok || e.name != n || e.obj != model[n] {
				t.Fatalf("from %s: got %q %v, want %q", from, e.name, ok, n)
			}
			cur.advance()
		}
		cur = x.seek(from, true)
		for j := i - 1; j >= max(0, i-700); j-- {
			if e, ok := cur.peek(); !ok || e.name != want[j] {
				t.Fatalf("back from %s: got %q, want %q", from, e.name, want[j])
			}
			cur.advance()
		}
	}
	if cp := x.clone(); cp.n != x.n {
		t.Error("clone")
	}
}

// A full chunk splits right wherever the new name falls.
func TestIndexSplitsAnywhere(t *testing.T) {
	for at := range chunkMax + 1 {
		var x index
		for i := range chunkMax {
			x.set(fmt.Sprintf("%04d", 2*i), nil)
		}
		x.set(fmt.Sprintf("%04d", 2*at-1), nil)
		cur, last, n := x.seek("", false), "", 0
		for e, ok := cur.peek(); ok; e, ok = cur.peek() {
			if e.name <= last && n > 0 {
				t.Fatalf("insert at %d: %q after %q", at, e.name, last)
			}
			last, n = e.name, n+1
			cur.advance()
		}
		if n != chunkMax+1 {
			t.Fatalf("insert at %d: %d names", at, n)
		}
	}
}

func TestBodies(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 3*blockSize+77)
	for i := range data {
		data[i] = byte(rnd.Uint32())
	}
	var synth collector
	if err := (synthBody{seed: 5, size: 200_001}).writeTo(&synth, 0, 200_001); err != nil {
		t.Fatal(err)
	}
	read, err := readBody(strings.NewReader(string(data)), -1, 1<<40, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	half := join([]piece{{body: newMemBody(data), off: 10, n: blockSize}, {body: newMemBody(data), off: blockSize + 10, n: int64(len(data)) - blockSize - 10}})
	for name, c := range map[string]struct {
		b    body
		want []byte
	}{"memory": {newMemBody(data), data}, "chunked": {read, data}, "joined": {half, data[10:]}, "synthetic": {synthBody{5, 200_001}, synth.p}} {
		if c.b.Len() != int64(len(c.want)) {
			t.Fatalf("%s: length %d, want %d", name, c.b.Len(), len(c.want))
		}
		for range 50 {
			off := rnd.Int64N(c.b.Len())
			n := rnd.Int64N(c.b.Len() - off)
			var got collector
			if err := c.b.writeTo(&got, off, n); err != nil || string(got.p) != string(c.want[off:off+n]) {
				t.Fatalf("%s: %d bytes from %d differ, error %v", name, n, off, err)
			}
		}
	}
	if _, err := readBody(strings.NewReader("abc"), 5, 10, io.Discard); err != io.ErrUnexpectedEOF {
		t.Errorf("short body: %v", err)
	}
	if _, err := readBody(strings.NewReader("abcdef"), -1, 5, io.Discard); err != errTooLarge {
		t.Errorf("large body: %v", err)
	}
}
