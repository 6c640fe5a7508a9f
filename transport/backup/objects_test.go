package backup

import (
	"bytes"
	"compress/zlib"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
)

func deflate(t testing.TB, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestDecompress(t *testing.T) {
	data := slices.Concat(block(1), block(0), block(2))
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	zstded := z.EncodeAll(data, nil)
	_ = z.Close()
	for compression, stored := range map[string][]byte{"none": data, "off": data, "no": data, "zlib": deflate(t, data), "gzip": deflate(t, data), "bz2": sample(t, "three.bz2"), "bzip2": sample(t, "three.bz2"), "zstd": zstded} {
		r, err := Decompress(iotest.OneByteReader(bytes.NewReader(stored)), compression, int64(len(data)))
		if err != nil {
			t.Fatalf("%s: %v", compression, err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes, %v", compression, len(got), err)
		}
		for _, length := range []int64{0, 1, int64(len(data)) - 1, int64(len(data)) + 1} {
			r, err := Decompress(bytes.NewReader(stored), compression, length)
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			if !errors.Is(err, ErrFormat) || !strings.Contains(fmt.Sprint(err), compression+" object") {
				t.Errorf("%s: taken for %d bytes: %v", compression, length, err)
			}
		}
		for _, n := range []int{0, 1, len(stored) / 2, len(stored) - 1} {
			r, err := Decompress(bytes.NewReader(stored[:n]), compression, int64(len(data)))
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			if !errors.Is(err, ErrFormat) {
				t.Errorf("%s: cut to %d: %v", compression, n, err)
			}
			r, err = Decompress(io.MultiReader(bytes.NewReader(stored[:n]), iotest.ErrReader(io.ErrUnexpectedEOF)), compression, int64(len(data)))
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, ErrFormat) {
				t.Errorf("%s: broken off after %d: %v", compression, n, err)
			}
		}
		if compression == "none" || compression == "off" || compression == "no" {
			continue
		}
		bad := bytes.Clone(stored)
		bad[len(bad)/2] ^= 1
		r, err = Decompress(bytes.NewReader(bad), compression, int64(len(data)))
		if err == nil {
			var got []byte
			if got, err = io.ReadAll(r); err == nil && bytes.Equal(got, data) {
				continue // the bit means nothing
			}
		}
		if !errors.Is(err, ErrFormat) {
			t.Errorf("%s: a flipped bit: %v", compression, err)
		}
	}
	if _, err := Decompress(nil, "lz4", 1); !errors.Is(err, ErrFormat) || !strings.Contains(fmt.Sprint(err), `"lz4" is not known`) {
		t.Error(err)
	}
}

// store is backups' objects in memory.
type store struct {
	objects map[string][]byte
	opened  []string
	open    int
}

type body struct {
	io.Reader
	s *store
}

func (b body) Close() error { b.s.open--; return nil }

func (s *store) opener(chain ...*Metadata) Opener {
	return func(n, i int) (io.ReadCloser, error) {
		name := chain[n].Extents[i].Object(chain[n].Prefix)
		data, ok := s.objects[name]
		if !ok {
			return nil, fmt.Errorf("no object %s: %w", name, errTest)
		}
		s.opened = append(s.opened, name)
		s.open++
		return body{iotest.HalfReader(bytes.NewReader(data)), s}, nil
	}
}

// put makes a backup of runs of blocks: where each begins, in bytes, and what it has.
func (s *store) put(prefix string, runs ...run) *Metadata {
	m := &Metadata{Prefix: prefix}
	for i, r := range runs {
		e := Extent{Part: Part(i + 1), Offset: r.at, Length: int64(len(r.data)), Compression: "none", MD5: md5.Sum(r.data)}
		m.Extents = append(m.Extents, e)
		s.objects[e.Object(prefix)] = r.data
	}
	return m
}

type run struct {
	at   int64
	data []byte
}

const kib32 = 32768

func TestHashObjectsOfAChain(t *testing.T) {
	s := &store{objects: map[string][]byte{}}
	full := s.put("full", run{0, slices.Concat(block(1), block(2))}, run{2 * kib32, slices.Concat(block(3), block(4))}, run{4 * kib32, block(5)})
	first := s.put("first", run{kib32, block(12)}, run{2 * kib32, block(13)})
	none := s.put("none")
	last := s.put("last", run{0, block(21)}, run{2 * kib32, block(23)}, run{4 * kib32, block(25)})
	full.Extents[1].Compression = "zlib"
	s.objects["full-00002"] = deflate(t, s.objects["full-00002"])
	for name, c := range map[string]struct {
		chain []*Metadata
		want  [][]byte
	}{
		"full":  {[]*Metadata{full}, [][]byte{block(1), block(2), block(3), block(4), block(5)}},
		"one":   {[]*Metadata{full, first}, [][]byte{block(1), block(12), block(13), block(4), block(5)}},
		"three": {[]*Metadata{full, first, none, last}, [][]byte{block(21), block(12), block(23), block(4), block(25)}},
	} {
		s.opened = nil
		h, err := HashObjects(kib32, c.chain, s.opener(c.chain...))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := collect(h); err != nil || !slices.Equal(got, hashesOf(c.want...)) {
			t.Errorf("%s: %d blocks, %v", name, len(got), err)
		}
		n := 0
		for _, m := range c.chain {
			n += len(m.Extents)
		}
		slices.Sort(s.opened)
		if len(slices.Compact(s.opened)) != n || s.open != 0 {
			t.Errorf("%s: %d objects opened once, of %d; %d are open", name, len(s.opened), n, s.open)
		}
	}
	// Another block size, which the scratch backup of another region may have.
	for size, want := range map[int][]Hash{
		2 * kib32: hashesOf(slices.Concat(block(1), block(2)), slices.Concat(block(3), block(4)), block(5)),
		kib32 / 2: hashesOf(block(1)[:kib32/2], block(1)[:kib32/2], block(2)[:kib32/2], block(2)[:kib32/2], block(3)[:kib32/2], block(3)[:kib32/2], block(4)[:kib32/2], block(4)[:kib32/2], block(5)[:kib32/2], block(5)[:kib32/2]),
		8 * kib32: hashesOf(slices.Concat(block(1), block(2), block(3), block(4), block(5))),
	} {
		h, _ := HashObjects(size, []*Metadata{full}, s.opener(full))
		if got, err := collect(h); err != nil || !slices.Equal(got, want) {
			t.Errorf("blocks of %d: %d, %v", size, len(got), err)
		}
	}
}

// In a synthetic full the extents of several backups follow each other, and those that
// were wholly overwritten are left out.
func TestHashObjectsOfASyntheticFull(t *testing.T) {
	s := &store{objects: map[string][]byte{}}
	m := s.put("s", run{0, slices.Concat(block(1), block(2))}, run{4 * kib32, block(5)}, run{kib32, block(12)}, run{2 * kib32, block(13)}, run{2 * kib32, slices.Concat(block(23), block(24))})
	h, _ := HashObjects(kib32, []*Metadata{m}, s.opener(m))
	if got, err := collect(h); err != nil || !slices.Equal(got, hashesOf(block(1), block(12), block(23), block(24), block(5))) {
		t.Errorf("%d blocks, %v", len(got), err)
	}
}

func TestObjectsThatAreWrongAreNotHashed(t *testing.T) {
	fresh := func() (*store, *Metadata, *Metadata) {
		s := &store{objects: map[string][]byte{}}
		return s, s.put("full", run{0, block(1)}, run{kib32, block(2)}, run{2 * kib32, block(3)}), s.put("inc", run{kib32, block(12)})
	}
	for name, c := range map[string]struct {
		spoil func(s *store, full, inc *Metadata)
		says  string
	}{
		"another object": {func(s *store, _, _ *Metadata) { s.objects["full-00002"] = block(9) }, "full-00002: not in the form of a Cinder backup: its MD5 is"},
		"cut":            {func(s *store, _, _ *Metadata) { s.objects["inc-00001"] = block(12)[1:] }, "inc-00001: read none object: not in the form of a Cinder backup: 32767 bytes of 32768"},
		"longer":         {func(s *store, _, _ *Metadata) { s.objects["full-00003"] = append(block(3), 0) }, "full-00003: read none object: not in the form of a Cinder backup: more than"},
		"compressed":     {func(_ *store, full, _ *Metadata) { full.Extents[0].Compression = "zlib" }, "full-00001: read zlib object"},
		"a gap":          {func(_ *store, full, _ *Metadata) { full.Extents = slices.Delete(full.Extents, 0, 1) }, "no object has block 0"},
		"not at a block": {func(_ *store, _, inc *Metadata) { inc.Extents[0].Offset = 7 }, "inc-00001 begins at 7: blocks of 32768 bytes do not fit"},
		"half a block":   {func(s *store, _, inc *Metadata) { *inc = *s.put("inc", run{kib32, block(12)[:kib32/2]}) }, "an object ends within block 1, which is not the last"},
		"a gap inside": {func(s *store, full, _ *Metadata) {
			*full = *s.put("full", run{0, block(1)[:kib32/2]}, run{kib32, block(2)})
		}, "full-00002 begins at 32768: blocks of 32768 bytes do not fit"},
	} {
		s, full, inc := fresh()
		c.spoil(s, full, inc)
		h, err := HashObjects(kib32, []*Metadata{full, inc}, s.opener(full, inc))
		if err != nil {
			t.Fatal(err)
		}
		got, err := collect(h)
		if !errors.Is(err, ErrFormat) || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: %d blocks, %v, want %s", name, len(got), err, c.says)
		}
		if _, again := h.Next(); !errors.Is(again, err) || s.open != 0 {
			t.Errorf("%s: then %v, %d objects open", name, again, s.open)
		}
	}
	s, full, inc := fresh()
	delete(s.objects, "inc-00001")
	h, _ := HashObjects(kib32, []*Metadata{full, inc}, s.opener(full, inc))
	if _, err := collect(h); !errors.Is(err, errTest) || errors.Is(err, ErrFormat) || s.open != 0 {
		t.Errorf("one that cannot be opened: %v, %d open", err, s.open)
	}
	s, full, _ = fresh()
	h, _ = HashObjects(kib32/2, []*Metadata{full}, s.opener(full))
	if _, err := h.Next(); err != nil || s.open != 1 {
		t.Errorf("%v, %d open", err, s.open)
	}
	h.Close()
	h.Close()
	if _, err := h.Next(); err == nil || s.open != 0 {
		t.Errorf("closed: %v, %d open", err, s.open)
	}
	for _, c := range []struct {
		size  int
		chain []*Metadata
	}{{0, []*Metadata{full}}, {1, nil}} {
		if _, err := HashObjects(c.size, c.chain, nil); err == nil {
			t.Error("made of nothing")
		}
	}
}
