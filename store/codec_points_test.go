package store

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func genPoint(t *rapid.T, id string) Point {
	word := rapid.StringN(0, 8, -1)
	dict := rapid.MapOfN(word, word, 0, 2)
	p := Point{ID: id, Policy: word.Draw(t, "policy"), Region: "paris", Project: word.Draw(t, "project"), Snapshot: word.Draw(t, "snapshot"), SnapshotOurs: rapid.Bool().Draw(t, "ours"),
		Volume: PointVolume{ID: rapid.SampledFrom([]string{"v", "vol", "v\x00"}).Draw(t, "volume"), Name: word.Draw(t, "name"), Description: word.Draw(t, "description"),
			Size: rapid.Int().Draw(t, "size"), Type: word.Draw(t, "type"), Zone: word.Draw(t, "zone"), Bootable: rapid.Bool().Draw(t, "bootable"), Encrypted: rapid.Bool().Draw(t, "encrypted"),
			Metadata: dict.Draw(t, "metadata"), Image: dict.Draw(t, "image")},
		Taken: rapid.Int64().Draw(t, "taken"), Made: rapid.Int64().Draw(t, "made"), Container: word.Draw(t, "container"), Prefix: word.Draw(t, "prefix"), Parent: word.Draw(t, "parent"),
		Why: word.Draw(t, "why"), Objects: rapid.Int().Draw(t, "objects"), Bytes: rapid.Int64().Draw(t, "bytes"), Blocks: rapid.Int64().Draw(t, "blocks"),
		BlockSize: rapid.Int().Draw(t, "blockSize"), Gone: rapid.Int64().Draw(t, "gone"), Unseen: rapid.Bool().Draw(t, "unseen")}
	if rapid.Bool().Draw(t, "sums") {
		p.Metadata, p.BlocksDigest = Sum{9: byte(rapid.IntRange(0, 255).Draw(t, "a"))}, Sum{31: byte(rapid.IntRange(0, 255).Draw(t, "b"))}
	}
	for _, r := range []string{"berlin", "lyon"} {
		if !rapid.Bool().Draw(t, "copied") {
			continue
		}
		c := PointCopy{Region: r, State: rapid.SampledFrom([]CopyState{CopyShipping, CopyShipped, CopyLanded, CopyLost, CopyExpired}).Draw(t, "state"),
			Backup: word.Draw(t, "backup"), Synthetic: rapid.Bool().Draw(t, "synthetic"), Bytes: rapid.Int64().Draw(t, "bytes"), Landed: rapid.Int64().Draw(t, "landed"), Note: word.Draw(t, "note")}
		if rapid.Bool().Draw(t, "proved") {
			c.Proof = Proof{At: rapid.Int64().Draw(t, "at"), Kind: word.Draw(t, "kind"), OK: rapid.Bool().Draw(t, "ok"), Detail: word.Draw(t, "detail")}
		}
		p.SetCopy(c)
	}
	return p
}

func TestPointsComeBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.StringN(1, 40, -1).Draw(t, "id")
		p := genPoint(t, id)
		v, err := sealJSON(kindPoint, []byte(id), &p)
		if err != nil {
			t.Fatalf("append: %v", err)
		}
		got, err := decodePoint([]byte(id), v)
		if d := cmp.Diff(p, got, cmpopts.EquateEmpty()); err != nil || d != "" {
			t.Fatalf("%v (-wrote +read)\n%s", err, d)
		}
	})
}

// These bytes may not change without a new schema; docs/ledger.md has them too.
func TestPointBytes(t *testing.T) {
	p := Point{ID: "b2", Region: "paris", Volume: PointVolume{ID: "v", Size: 1, Metadata: map[string]string{"dr": "gold", "a": "<"}}, Taken: 5, Parent: "b1", Metadata: Sum{31: 0xab},
		Copies: []PointCopy{{Region: "lyon", State: CopyLanded, Backup: "b2", Parent: "b1", Proof: Proof{At: 7, Kind: "blocks", OK: true}}}}
	v, err := sealJSON(kindPoint, []byte("b2"), &p)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"b2","region":"paris","volume":{"id":"v","size":1,"metadata":{"a":"\u003c","dr":"gold"}},"taken":5,"parent":"b1",` +
		`"metadata_sha256":"00000000000000000000000000000000000000000000000000000000000000ab",` +
		`"copies":[{"region":"lyon","state":"landed","backup":"b2","parent":"b1","proof":{"at":7,"kind":"blocks","ok":true}}]}`
	if v[0] != recordVersion || string(v[1:len(v)-crcSize]) != want {
		t.Errorf("got  %s\nwant %s", v[1:len(v)-crcSize], want)
	}
	if got, want := hex.EncodeToString(v[len(v)-crcSize:]), "898a1b5d"; got != want {
		t.Errorf("checksum: got %s, want %s", got, want)
	}
}

func TestSumsAreHexOrNothing(t *testing.T) {
	full := "00000000000000000000000000000000000000000000000000000000000000ab"
	for text, want := range map[string]bool{"": true, full: true, full[1:]: false, full + "0": false, "AB" + full[2:]: false, "xy" + full[2:]: false} {
		s := Sum{1}
		err := s.UnmarshalText([]byte(text))
		if (err == nil) != want || want && s.String() != text {
			t.Errorf("%q: %v, %q", text, err, s)
		}
	}
	if b, err := json.Marshal(struct {
		S Sum `json:"s,omitzero"`
	}{}); string(b) != "{}" || err != nil {
		t.Errorf("%s, %v", b, err)
	}
}

func TestDamagedPointsAreNotBelieved(t *testing.T) {
	p, key := testPoint(1, "v", "lyon"), []byte("backup-001")
	v, err := sealJSON(kindPoint, key, &p)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, key, v []byte) {
		t.Helper()
		if got, err := decodePoint(key, v); !errors.Is(err, errDecode) || got.ID != "" {
			t.Errorf("%s: got %+v, %v", what, got, err)
		}
	}
	for bit := range len(v) * 8 {
		bad := bytes.Clone(v)
		bad[bit/8] ^= 1 << (bit % 8)
		refused("flipped bit", key, bad)
	}
	for n := range v {
		refused("cut", key, v[:n])
	}
	refused("other id", []byte("backup-002"), v)
	if _, err := decodeWork(key, v); !errors.Is(err, errDecode) {
		t.Errorf("taken for a work: %v", err)
	}
	for name, body := range map[string]string{"no JSON": "x", "two": `{"id":"backup-001"}{}`, "none": "", "a list": "[]", "null": "null"} {
		refused(name, key, seal(kindPoint, 0, key, append([]byte{recordVersion}, body...), 0))
	}
}

// FuzzDecodePoint feeds bodies under a right checksum: what decodes can be written
// again and is the same.
func FuzzDecodePoint(f *testing.F) {
	for _, p := range []Point{testPoint(1, "v"), testPoint(2, "v", "berlin", "lyon")} {
		p.ID = "k"
		body, err := json.Marshal(&p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		key := []byte("k")
		p, err := decodePoint(key, seal(kindPoint, 0, key, append([]byte{recordVersion}, body...), 0))
		if err != nil {
			if !errors.Is(err, errDecode) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		again, err := sealJSON(kindPoint, key, &p)
		if err != nil {
			t.Fatalf("decoded what cannot be encoded: %+v: %v", p, err)
		}
		back, err := decodePoint(key, again)
		if d := cmp.Diff(p, back, cmpopts.EquateEmpty()); err != nil || d != "" {
			t.Fatalf("%v %s", err, d)
		}
	})
}

func TestSetCopyKeepsTheOrder(t *testing.T) {
	var p Point
	for _, r := range []string{"m", "a", "z", "m"} {
		p.SetCopy(PointCopy{Region: r, State: CopyShipping, Bytes: int64(len(p.Copies))})
	}
	p.DropCopy("a")
	p.DropCopy("b")
	want := []PointCopy{{Region: "m", State: CopyShipping, Bytes: 3}, {Region: "z", State: CopyShipping, Bytes: 2}}
	if d := cmp.Diff(want, p.Copies); d != "" {
		t.Error(d)
	}
	if c, ok := p.Copy("m"); !ok || c.Bytes != 3 {
		t.Errorf("%+v, %v", c, ok)
	}
	if _, ok := p.Copy("a"); ok {
		t.Error("it is still there")
	}
}
