package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// collect reads blocks to their end.
func collect(b Blocks) (out []Hash, err error) {
	for {
		h, err := b.Next()
		if errors.Is(err, io.EOF) && !errors.Is(err, ErrFormat) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, h)
	}
}

func hashesOf(blocks ...[]byte) (out []Hash) {
	for _, b := range blocks {
		out = append(out, sha256.Sum256(b))
	}
	return out
}

// testBlocks are those of testdata's full backup.
func testBlocks() [][]byte {
	out := [][]byte{block(1), block(0), block(0), block(2)}
	for range 12 {
		out = append(out, block(0))
	}
	return out
}

func TestHashesOfABackup(t *testing.T) {
	h, err := OpenHashes(iotest.HalfReader(bytes.NewReader(sample(t, "full_sha256file"))))
	if err != nil {
		t.Fatal(err)
	}
	want := HashHead{BackupID: testFull, Name: "farshore db é😀", CreatedAt: "2026-09-21 14:13:20+00:00", BlockSize: 32768}
	if d := cmp.Diff(want, h.Head()); d != "" {
		t.Error(d)
	}
	got, err := collect(h)
	if err != nil || !slices.Equal(got, hashesOf(testBlocks()...)) {
		t.Errorf("%d hashes, %v", len(got), err)
	}
	want.Version, want.VolumeID = Version, testVolume
	if d := cmp.Diff(want, h.Head()); d != "" {
		t.Error(d)
	}
	if _, err := h.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}

func TestWhatIsNoHashFileIsRefused(t *testing.T) {
	good := string(sample(t, "full_sha256file"))
	hash := hex.EncodeToString(hashesOf(block(1))[0][:])
	for name, c := range map[string]struct{ from, to, says string }{
		"no hash":         {hash, hash[1:] + "g", "is no hash"},
		"short hash":      {hash, hash[1:], "is no hash"},
		"long hash":       {hash, hash + "0", "is no hash"},
		"upper case":      {hash, strings.ToUpper(hash), "is no hash"},
		"no comma":        {hash + `",`, hash + `"`, "where a comma should be"},
		"two commas":      {hash + `",`, hash + `",,`, "where a hash should begin"},
		"a number":        {`"` + hash + `"`, "1", "where a hash should begin"},
		"comma at once":   {`[`, `[,`, "where a hash should begin"},
		"no list":         {`"sha256s": [`, `"sha256s": 1, "x": [`, "sha256s: not in the form of a Cinder backup: it is no list"},
		"no hashes":       {`"sha256s"`, `"sha512s"`, "sha256s is missing"},
		"twice":           {`"version"`, `"sha256s": [], "version"`, "sha256s: not in the form of a Cinder backup: it is there twice"},
		"size later":      {`"chunk_size": 32768,`, ``, "chunk_size does not come before the hashes"},
		"no size":         {`"chunk_size": 32768`, `"chunk_size": 0`, "chunk_size: not in the form of a Cinder backup: it is 0"},
		"size's type":     {`"chunk_size": 32768`, `"chunk_size": "32768"`, "no number of bytes"},
		"version":         {`"version": "1.0.0"`, `"version": "1.1.0"`, `version is "1.1.0"`},
		"no version":      {`"version": "1.0.0",`, ``, `version is ""`},
		"no volume":       {`"volume_id"`, `"volume"`, "backup_id or volume_id is missing"},
		"backup's type":   {`"backup_id": "`, `"backup_id": 1, "x": "`, "backup_id: not in the form of a Cinder backup: it is neither a text nor null"},
		"large head":      {`{`, `{"x": "` + strings.Repeat("x", maxHead) + `", `, "no hashes within"},
		"large tail":      {`"version"`, `"x": "` + strings.Repeat("x", maxHead+hashesBuffer) + `", "version"`, "follow the hashes"},
		"cut in a hash":   {good[strings.Index(good, hash)+10:], "", "EOF"},
		"cut in the list": {good[strings.Index(good, "]"):], "", "EOF"},
		"cut at the end":  {good[len(good)-1:], "", "EOF"},
		"more":            {good[len(good)-1:], "} 1", "something follows it"},
		"nothing":         {good, "", "EOF"},
	} {
		at := strings.Index(good, c.from)
		if name == "more" || name == "cut at the end" {
			at = len(good) - 1
		}
		if at < 0 {
			t.Fatalf("%s: %q is not in the sample", name, c.from)
		}
		h, err := OpenHashes(strings.NewReader(good[:at] + c.to + good[at+len(c.from):]))
		if err == nil {
			_, err = collect(h)
			if _, again := h.Next(); !errors.Is(again, err) {
				t.Errorf("%s: then %v", name, again)
			}
		}
		if !errors.Is(err, ErrFormat) || !strings.Contains(fmt.Sprint(err), c.says) || !strings.HasPrefix(fmt.Sprint(err), "read _sha256file: ") {
			t.Errorf("%s: got %v, want %s", name, err, c.says)
		}
	}
	for _, n := range []int{10, strings.Index(good, hash) + 10, len(good) - 5} {
		h, err := OpenHashes(io.MultiReader(strings.NewReader(good[:n]), iotest.ErrReader(io.ErrUnexpectedEOF)))
		if err == nil {
			_, err = collect(h)
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, ErrFormat) {
			t.Errorf("a connection that broke after %d bytes: %v", n, err)
		}
	}
}

// hashFile is a _sha256file of n blocks that is never in memory.
func hashFile(n int) io.Reader {
	r, w := io.Pipe()
	go func() {
		b := []byte("{\n  \"backup_id\": \"b\",\n  \"chunk_size\": 32768,\n  \"sha256s\": [")
		for i := range n {
			if i > 0 {
				b = append(b, ',')
			}
			var h Hash
			binary.BigEndian.PutUint64(h[24:], uint64(i))
			b = append(hex.AppendEncode(append(b, "\n    \""...), h[:]), '"')
			if len(b) > 1<<16 || i == n-1 {
				if _, err := w.Write(b); err != nil {
					return
				}
				b = b[:0]
			}
		}
		_, _ = w.Write([]byte("\n  ],\n  \"version\": \"1.0.0\",\n  \"volume_id\": \"v\"\n}"))
		_ = w.Close()
	}()
	return r
}

// The list of a TiB is 2.4 GB of JSON: neither it nor the compact list grows in memory.
func TestHashesAndListsTakeNoMemory(t *testing.T) {
	const n = 200_000
	file := hashFile(n)
	h, err := OpenHashes(file)
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	list := new(bytes.Buffer)
	list.Grow(n*sha256.Size + n)
	runtime.ReadMemStats(&before)
	info, err := WriteList(list, 32768, h, nil, Hash{})
	if err != nil || info.Blocks != n {
		t.Fatalf("%+v, %v", info, err)
	}
	l, err := OpenList(list, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		if _, err := l.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Next(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	perHash := float64(after.TotalAlloc-before.TotalAlloc) / n
	t.Logf("%.1f bytes allocated a block, in all", perHash)
	if perHash > 8 {
		t.Errorf("%.1f bytes allocated a block", perHash)
	}
}

func TestHashBlocks(t *testing.T) {
	for name, c := range map[string]struct {
		data []byte
		want []Hash
	}{
		"nothing":   {nil, nil},
		"whole":     {slices.Concat(block(1), block(2)), hashesOf(block(1), block(2))},
		"one short": {slices.Concat(block(1), []byte("x")), hashesOf(block(1), []byte("x"))},
	} {
		var got []Hash
		err := HashBlocks(iotest.HalfReader(bytes.NewReader(c.data)), 32768, func(h Hash) error { got = append(got, h); return nil })
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
	for _, broken := range []error{errTest, io.ErrUnexpectedEOF} {
		n := 0
		err := HashBlocks(io.MultiReader(bytes.NewReader(make([]byte, 40_000)), iotest.ErrReader(broken)), 32768, func(Hash) error { n++; return nil })
		if !errors.Is(err, broken) || n != 1 {
			t.Errorf("%v after %d blocks: half a block is none", err, n)
		}
	}
	if err := HashBlocks(bytes.NewReader(block(1)), 32768, func(Hash) error { return errTest }); !errors.Is(err, errTest) {
		t.Error(err)
	}
}

// FuzzReadHashes: what is taken is JSON, and says the same to encoding/json.
func FuzzReadHashes(f *testing.F) {
	f.Add(sample(f, "full_sha256file"))
	f.Add([]byte(`{"backup_id":"b","chunk_size":1,"sha256s":[],"version":"1.0.0","volume_id":"v"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := OpenHashes(bytes.NewReader(data))
		var got []Hash
		if err == nil {
			got, err = collect(h)
		}
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		var want struct {
			Hashes []string `json:"sha256s"`
			Size   int      `json:"chunk_size"`
		}
		if err := json.Unmarshal(data, &want); err != nil || len(want.Hashes) != len(got) || want.Size != h.Head().BlockSize {
			t.Fatalf("%v: %d hashes, JSON has %d", err, len(got), len(want.Hashes))
		}
		for i := range got {
			if hex.EncodeToString(got[i][:]) != want.Hashes[i] {
				t.Fatalf("hash %d is %x, JSON has %s", i, got[i], want.Hashes[i])
			}
		}
	})
}
