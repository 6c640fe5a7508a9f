package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

func digestOf(hashes []Hash) Hash {
	all := sha256.New()
	for _, h := range hashes {
		all.Write(h[:])
	}
	return Hash(all.Sum(nil))
}

// genHashes are few different ones, so that runs are met.
func genHashes(t *rapid.T, label string) []Hash {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Hash { return Hash{31: byte(rapid.IntRange(0, 3).Draw(t, "hash"))} }), 0, 40).Draw(t, label)
}

func writeList(t failer, hashes, parent []Hash) ([]byte, ListInfo) {
	t.Helper()
	var out bytes.Buffer
	var p Blocks
	var digest Hash
	if parent != nil {
		p, digest = SliceBlocks(parent), digestOf(parent)
	}
	info, err := WriteList(&out, 32768, SliceBlocks(hashes), p, digest)
	if err != nil {
		t.Fatalf("write list: %v", err)
	}
	return out.Bytes(), info
}

type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

func TestListsComeBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		chain := [][]Hash{genHashes(t, "full")}
		for range rapid.IntRange(0, 3).Draw(t, "increments") {
			chain = append(chain, genHashes(t, "increment"))
		}
		var blocks Blocks
		var lists []*List
		for i, hashes := range chain {
			var parent []Hash
			if i > 0 && chain[i-1] != nil {
				parent = chain[i-1]
			}
			data, info := writeList(t, hashes, parent)
			want := ListInfo{Blocks: int64(len(hashes)), BlockSize: 32768, Digest: digestOf(hashes)}
			if parent != nil {
				want.Parent = digestOf(parent)
			}
			if info != want {
				t.Fatalf("written: %+v, want %+v", info, want)
			}
			l, err := OpenList(iotest.OneByteReader(bytes.NewReader(data)), blocks)
			if err != nil {
				t.Fatal(err)
			}
			blocks, lists = l, append(lists, l)
		}
		got, err := collect(blocks)
		last := len(chain) - 1
		if err != nil || !slices.Equal(got, chain[last]) {
			t.Fatalf("got %x, %v, want %x", got, err, chain[last])
		}
		if info := lists[last].Info(); info.Blocks != int64(len(got)) || info.Digest != digestOf(got) {
			t.Fatalf("read: %+v", info)
		}
	})
}

// The form is a promise to every container out there: these bytes may not change
// without another version.
func TestListBytes(t *testing.T) {
	a, b, c := Hash{0: 0xaa}, Hash{0: 0xbb}, Hash{0: 0xcc}
	zeros := strings.Repeat("00", 31)
	parent := []Hash{a, b, b, a, c}
	data, info := writeList(t, []Hash{a, b, c, c, c, a, b}, parent)
	digest := digestOf(parent)
	want := "4653424c" + "01" + "808002" + hex.EncodeToString(digest[:]) + // magic, version, 32768, parent
		"08" + // 2 as in the parent
		"09" + "cc" + zeros + // 2 × c
		"04" + // another one, which is as in the parent
		"0a" + "aa" + zeros + "bb" + zeros + // 2 hashes
		"1f" + hex.EncodeToString(info.Digest[:]) // 7 blocks in all
	if got := hex.EncodeToString(data[:len(data)-4]); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := hex.EncodeToString(data[len(data)-4:]); got != "3c612aa9" {
		t.Errorf("checksum %s", got)
	}
}

func TestListsAreSmall(t *testing.T) {
	const n = 32768 // a GiB
	full := make([]Hash, n)
	for i := range n / 8 {
		full[i] = sha256.Sum256([]byte(fmt.Sprint(i))) // the rest is of zeros
	}
	changed := slices.Clone(full)
	for i := range 32 {
		changed[100*i] = sha256.Sum256([]byte(fmt.Sprint("new", i)))
	}
	whole, _ := writeList(t, full, nil)
	delta, _ := writeList(t, changed, full)
	t.Logf("a GiB of which an eighth is in use: %d bytes; with 1 MiB changed in 32 places: %d bytes", len(whole), len(delta))
	if len(whole) > 33*n/8+1000 || len(delta) > 32*40+200 {
		t.Errorf("%d and %d bytes", len(whole), len(delta))
	}
}

// Any flipped bit, any cut and anything behind it is found, at the end at the latest.
func TestDamagedListsAreNotBelieved(t *testing.T) {
	parent := []Hash{{1}, {2}, {2}, {2}, {3}, {4}}
	hashes := []Hash{{1}, {2}, {5}, {5}, {6}, {7}, {4}}
	for name, p := range map[string][]Hash{"whole": nil, "delta": parent} {
		good, _ := writeList(t, hashes, p)
		read := func(data []byte) ([]Hash, error) {
			l, err := OpenList(bytes.NewReader(data), SliceBlocks(parent))
			if err != nil {
				return nil, err
			}
			return collect(l)
		}
		if got, err := read(good); err != nil || !slices.Equal(got, hashes) {
			t.Fatalf("%s: %x, %v", name, got, err)
		}
		for bit := range 8 * len(good) {
			bad := bytes.Clone(good)
			bad[bit/8] ^= 1 << (bit % 8)
			if got, err := read(bad); !errors.Is(err, ErrFormat) {
				t.Errorf("%s: bit %d: %x, %v", name, bit, got, err)
			}
		}
		for n := range good {
			if _, err := read(good[:n]); !errors.Is(err, ErrFormat) || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s: cut to %d: %v", name, n, err)
			}
		}
		if _, err := read(append(bytes.Clone(good), 0)); !errors.Is(err, ErrFormat) || !strings.Contains(fmt.Sprint(err), "something follows") {
			t.Errorf("%s: more: %v", name, err)
		}
		l, err := OpenList(io.MultiReader(bytes.NewReader(good[:len(good)-10]), iotest.ErrReader(io.ErrUnexpectedEOF)), SliceBlocks(parent))
		if err == nil {
			_, err = collect(l)
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, ErrFormat) {
			t.Errorf("%s: a connection that broke: %v", name, err)
		}
	}
}

type failing struct {
	left int
	Blocks
}

func (f *failing) Next() (Hash, error) {
	if f.left--; f.left < 0 {
		return Hash{}, errTest
	}
	return f.Blocks.Next()
}

func TestDeltasNeedTheirParent(t *testing.T) {
	parent, hashes := []Hash{{1}, {2}, {3}, {4}}, []Hash{{1}, {2}, {9}, {4}}
	delta, info := writeList(t, hashes, parent)
	read := func(p Blocks) error {
		l, err := OpenList(bytes.NewReader(delta), p)
		if err != nil {
			return err
		}
		if l.Info().Parent != info.Parent || l.Info().BlockSize != 32768 {
			t.Errorf("head: %+v", l.Info())
		}
		_, err = collect(l)
		return err
	}
	if err := read(nil); err == nil || errors.Is(err, ErrFormat) || !strings.Contains(fmt.Sprint(err), "not at hand") {
		t.Errorf("without: %v", err)
	}
	if err := read(SliceBlocks([]Hash{{1}, {8}, {3}, {4}})); !errors.Is(err, ErrFormat) || !strings.Contains(fmt.Sprint(err), "a delta on another list") {
		t.Errorf("another: %v", err)
	}
	if err := read(SliceBlocks(parent[:3])); !errors.Is(err, ErrFormat) || !strings.Contains(fmt.Sprint(err), "the parent's list has 3 blocks only") {
		t.Errorf("shorter: %v", err)
	}
	if err := read(SliceBlocks(append(slices.Clone(parent), Hash{5}))); err != nil {
		t.Errorf("longer, and the same so far: %v", err)
	}
	if err := read(&failing{2, SliceBlocks(parent)}); !errors.Is(err, errTest) || errors.Is(err, ErrFormat) {
		t.Errorf("one that cannot be read: %v", err)
	}
	// Writing reads both to their ends, where a list says whether it was whole.
	for name, c := range map[string]struct {
		blocks, parent Blocks
		digest         Hash
	}{
		"blocks fail":        {&failing{2, SliceBlocks(hashes)}, nil, Hash{}},
		"parent fails":       {SliceBlocks(hashes), &failing{2, SliceBlocks(parent)}, info.Parent},
		"parent's end fails": {SliceBlocks(hashes[:2]), &failing{3, SliceBlocks(parent)}, info.Parent},
	} {
		if _, err := WriteList(io.Discard, 1, c.blocks, c.parent, c.digest); !errors.Is(err, errTest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, c := range map[string]struct {
		size   int
		parent Blocks
		digest Hash
	}{"no size": {0, nil, Hash{}}, "no parent": {1, nil, Hash{1}}, "no digest": {1, SliceBlocks(nil), Hash{}}} {
		if _, err := WriteList(io.Discard, c.size, SliceBlocks(hashes), c.parent, c.digest); err == nil {
			t.Errorf("%s: written", name)
		}
	}
	if _, err := WriteList(errWriter{}, 1, SliceBlocks(hashes), nil, Hash{}); !errors.Is(err, errTest) {
		t.Errorf("a full disk: %v", err)
	}
}

func TestCompare(t *testing.T) {
	base := []Hash{{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}, {8}, {9}}
	change := func(at ...int) []Hash {
		out := slices.Clone(base)
		for _, i := range at {
			out[i] = Hash{31: 1}
		}
		return out
	}
	wide := make([]Hash, 40)
	sparse := slices.Clone(wide)
	for i := 0; i < 40; i += 2 {
		sparse[i] = Hash{1}
	}
	for name, c := range map[string]struct {
		a, b  []Hash
		n     int64
		first []Range
	}{
		"equal":     {base, base, 0, nil},
		"nothing":   {nil, nil, 0, nil},
		"one":       {base, change(3), 1, []Range{{3, 1}}},
		"two runs":  {base, change(0, 1, 2, 9), 4, []Range{{0, 3}, {9, 1}}},
		"shorter":   {base, change(1)[:8], 3, []Range{{1, 1}, {8, 2}}},
		"longer":    {nil, base, 10, []Range{{0, 10}}},
		"many runs": {wide, sparse, 20, []Range{{0, 1}, {2, 1}, {4, 1}, {6, 1}, {8, 1}, {10, 1}, {12, 1}, {14, 1}}},
	} {
		for range 2 {
			n, first, err := Compare(SliceBlocks(c.a), SliceBlocks(c.b))
			if n != c.n || !slices.Equal(first, c.first) || err != nil {
				t.Errorf("%s: %d %v %v", name, n, first, err)
			}
			c.a, c.b = c.b, c.a
		}
	}
	if n, first, err := Compare(SliceBlocks(base), &failing{3, SliceBlocks(change(0))}); n != 0 || first != nil || !errors.Is(err, errTest) {
		t.Errorf("%d %v %v: nothing is known of what could not be read", n, first, err)
	}
}

// FuzzOpenList: whatever comes, it ends, and what is taken is written the same again or
// shorter.
func FuzzOpenList(f *testing.F) {
	parent := []Hash{{1}, {2}, {2}, {2}, {3}, {4}}
	whole, _ := writeList(f, []Hash{{1}, {2}, {5}, {5}}, nil)
	delta, _ := writeList(f, []Hash{{1}, {2}, {5}, {5}, {6}, {7}, {4}}, parent)
	f.Add(whole)
	f.Add(delta)
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := OpenList(bytes.NewReader(data), SliceBlocks(parent))
		var got []Hash
		for err == nil && len(got) < 1<<20 { // a run of one hash may be as long as it likes
			var h Hash
			if h, err = l.Next(); err == nil {
				got = append(got, h)
			}
		}
		if !errors.Is(err, io.EOF) || errors.Is(err, ErrFormat) {
			if err != nil && !errors.Is(err, ErrFormat) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		if l.Info().Digest != digestOf(got) || l.Info().Blocks != int64(len(got)) {
			t.Fatalf("%+v of %d hashes", l.Info(), len(got))
		}
	})
}
