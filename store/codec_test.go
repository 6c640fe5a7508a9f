package store

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"farshore/transport/chunk"
)

func genTag(t *rapid.T) string {
	return rapid.OneOf(
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 16, 16), hex.EncodeToString),
		rapid.Just(""),
		rapid.SampledFrom([]string{"D41D8CD98F00B204E9800998ECF8427E", "d41d8cd98f00b204e9800998ecf8427", `"d41d8cd98f00b204e9800998ecf8427e"`,
			"d41d8cd98f00b204e9800998ecf8427g", "d41d8cd98f00b204e9800998ecf8427e-12"}),
		rapid.String(),
	).Draw(t, "tag")
}

func genVersion(t *rapid.T) Version {
	return Version{ETag: genTag(t), Modified: rapid.Int64().Draw(t, "modified")}
}

func genObject(t *rapid.T, name string, routes []RouteID) Object {
	o := Object{Name: name, Size: rapid.Int64().Draw(t, "size"), Version: genVersion(t)}
	if rapid.Bool().Draw(t, "sha") {
		copy(o.SHA256[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "sha256"))
	}
	if rapid.Bool().Draw(t, "hasMeta") {
		copy(o.Meta[:], rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "meta"))
	}
	if rapid.Bool().Draw(t, "isMissing") {
		o.Missing = rapid.Int64().Draw(t, "missing")
	}
	for _, r := range routes {
		if !rapid.Bool().Draw(t, "hasReplica") {
			continue
		}
		x := Replica{Route: r, State: rapid.SampledFrom([]ReplicaState{Confirmed, Conflict, Cannot, Lost}).Draw(t, "state"), Version: o.Version,
			Adopted: rapid.Bool().Draw(t, "adopted"), Note: rapid.SampledFrom([]string{"", "too large", "ü"}).Draw(t, "note")}
		if rapid.Bool().Draw(t, "otherVersion") {
			x.Version = genVersion(t)
		}
		if rapid.Bool().Draw(t, "otherETag") {
			x.ETag = genTag(t)
		}
		if rapid.Bool().Draw(t, "times") {
			x.Written, x.Confirmed = rapid.Int64().Draw(t, "written"), rapid.Int64().Draw(t, "confirmed")
		}
		o.SetReplica(x)
	}
	return o
}

func TestObjectComesBackAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringN(1, 40, -1).Draw(t, "name")
		o := genObject(t, name, []RouteID{1, 2, 200, 1<<32 - 1})
		b, err := appendObject([]byte("before"), 7, []byte(name), &o)
		if err != nil {
			t.Fatalf("append: %v", err)
		}
		got, err := decodeObject(7, []byte(name), b[len("before"):])
		if err != nil {
			t.Fatalf("decode: %v", err)
		}
		if d := cmp.Diff(o, got, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("(-wrote +read)\n%s", d)
		}
	})
}

// The encoding is a promise to every ledger out there: these bytes may not change
// without a new schema.
func TestObjectBytes(t *testing.T) {
	o := Object{Name: "a", Size: 300, Version: Version{ETag: "00112233445566778899aabbccddeeff", Modified: 1_000}}
	o.Replicas = []Replica{
		{Route: 2, State: Confirmed, Version: o.Version, Written: 1_005, Confirmed: 1_006},
		{Route: 5, State: Cannot, Version: Version{ETag: "x", Modified: 999}, Note: "no"},
	}
	b, err := appendObject(nil, 3, []byte("a"), &o)
	if err != nil {
		t.Fatal(err)
	}
	want := "01" + "00" + "ac02" + "00" + "00112233445566778899aabbccddeeff" + "d00f" + // version, flags, size, ETag, modified
		"02" + // replicas
		"02" + "19" + "0a" + "02" + // route 2, confirmed with both times, +5, +1
		"03" + "8303" + "0278" + "01" + "026e6f" // route 2+3, cannot with version and note, ETag "x", -1, "no"
	if got := hex.EncodeToString(b[:len(b)-crcSize]); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := hex.EncodeToString(b[len(b)-crcSize:]), "04879a05"; got != want {
		t.Errorf("checksum: got %s, want %s", got, want)
	}
}

func TestObjectsThatCannotBeKept(t *testing.T) {
	v := Version{ETag: "x"}
	for name, o := range map[string]Object{
		"route 0":      {Name: "a", Replicas: []Replica{{Route: 0, State: Confirmed, Version: v}}},
		"route twice":  {Name: "a", Replicas: []Replica{{Route: 1, State: Confirmed}, {Route: 1, State: Lost}}},
		"descending":   {Name: "a", Replicas: []Replica{{Route: 2, State: Confirmed}, {Route: 1, State: Lost}}},
		"no state":     {Name: "a", Replicas: []Replica{{Route: 2}}},
		"future state": {Name: "a", Replicas: []Replica{{Route: 2, State: Lost + 1}}},
	} {
		if b, err := appendObject([]byte("x"), 1, []byte("a"), &o); !errors.Is(err, ErrInvalid) || string(b) != "x" {
			t.Errorf("%s: got %v, %q, want ErrInvalid and the buffer as it was", name, err, b)
		}
	}
}

func TestOtherRecordsComeBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringN(1, 40, -1).Draw(t, "name")
		in := genIntent(t, 9, name)
		key := []byte(name)
		got, err := decodeIntent(9, key, appendIntent(nil, key, &in))
		if err != nil || got != in {
			t.Fatalf("intent: got %+v, %v, want %+v", got, err, in)
		}
		p := genPass(t, name)
		gotP, err := decodePass(key, appendPass(nil, key, &p))
		if d := cmp.Diff(p, gotP, cmpopts.EquateEmpty()); err != nil || d != "" {
			t.Fatalf("pass: %v %s", err, d)
		}
		h := HashState{Chunks: rapid.IntMin(0).Draw(t, "chunks"), MD5: rapid.SliceOf(rapid.Byte()).Draw(t, "md5"), SHA256: rapid.SliceOf(rapid.Byte()).Draw(t, "sha256")}
		gotH, err := decodeHash(9, key, appendHash(nil, 9, key, &h))
		if d := cmp.Diff(h, gotH, cmpopts.EquateEmpty()); err != nil || d != "" {
			t.Fatalf("digests: %v %s", err, d)
		}
	})
}

func genIntent(t *rapid.T, r RouteID, name string) Intent {
	in := Intent{Route: r, Name: name, Version: genVersion(t), Size: rapid.Int64().Draw(t, "size"), Began: rapid.Int64().Draw(t, "began")}
	switch rapid.IntRange(0, 2).Draw(t, "expect") {
	case 1:
		in.ETag = in.Version.ETag
	case 2:
		in.ETag = genTag(t)
	}
	if rapid.Bool().Draw(t, "large") {
		in.Layout = chunk.Layout{Size: rapid.Int64Range(1, 1000).Draw(t, "layoutSize"), Chunk: rapid.Int64Range(1, 400).Draw(t, "chunk")}
	}
	return in
}

func genPass(t *rapid.T, key string) Pass {
	p := Pass{Key: key, Began: rapid.Int64().Draw(t, "began"), Ended: rapid.Int64().Draw(t, "ended"), Resumed: rapid.Int().Draw(t, "resumed")}
	for range rapid.IntRange(0, 3).Draw(t, "ranges") {
		p.Ranges = append(p.Ranges, PassRange{Lo: rapid.String().Draw(t, "lo"), Hi: rapid.String().Draw(t, "hi"), Pos: rapid.String().Draw(t, "pos"), Done: rapid.Bool().Draw(t, "done")})
	}
	return p
}

func TestChunkKeysOfDifferentNamesNeverMeet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gen := rapid.Custom(func(t *rapid.T) string {
			return string(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'a'}), 1, 9).Draw(t, "name"))
		})
		a, b := gen.Draw(t, "a"), gen.Draw(t, "b")
		i := rapid.IntRange(0, 1<<31-1).Draw(t, "i")
		if a != b && bytes.HasPrefix(chunkKey(b, i), hashKey(a)) {
			t.Fatalf("chunk %d of %q looks like one of %q", i, b, a)
		}
		name, index, hash, err := splitChunkKey(chunkKey(a, i))
		if name != a || index != i || hash || err != nil {
			t.Fatalf("got %q %d %v %v", name, index, hash, err)
		}
	})
}

// Any single flipped bit, a cut, a record under another key, owner or kind: none
// may be believed.
func TestDamagedRecordsAreNotBelieved(t *testing.T) {
	o := testObject("photo.jpg", 1, 2)
	key := []byte(o.Name)
	v, err := appendObject(nil, 7, key, &o)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, p PlaceID, key, v []byte) {
		t.Helper()
		if got, err := decodeObject(p, key, v); !errors.Is(err, errDecode) {
			t.Errorf("%s: got %+v, %v", what, got, err)
		}
	}
	for bit := range len(v) * 8 {
		bad := bytes.Clone(v)
		bad[bit/8] ^= 1 << (bit % 8)
		refused("flipped bit", 7, key, bad)
	}
	for n := range v {
		refused("cut", 7, key, v[:n])
	}
	refused("other place", 8, key, v)
	refused("other name", 7, []byte("photo.jpf"), v)
	if _, err := decodeIntent(7, key, v); !errors.Is(err, errDecode) {
		t.Errorf("taken for an intent: %v", err)
	}
	body := append([]byte{recordVersion + 1}, v[1:len(v)-crcSize]...)
	refused("later record version", 7, key, seal(kindObject, 7, key, body, 0))
}

// FuzzDecodeObject feeds bodies under a right checksum, so that the decoder itself
// is met, and the same bytes as a whole record.
func FuzzDecodeObject(f *testing.F) {
	for _, o := range []Object{testObject("a"), testObject("b", 1, 2, 300), {Name: "c", Missing: 5, Size: -1, Meta: [8]byte{1}, SHA256: [32]byte{2}}} {
		v, err := appendObject(nil, 1, []byte("k"), &o)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(v[1 : len(v)-crcSize])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		key := []byte("k")
		_, _ = decodeObject(1, key, body)
		v := seal(kindObject, 1, key, append([]byte{recordVersion}, body...), 0)
		o, err := decodeObject(1, key, v)
		if err != nil {
			if !errors.Is(err, errDecode) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		again, err := appendObject(nil, 1, key, &o)
		if err != nil {
			t.Fatalf("decoded what cannot be encoded: %+v: %v", o, err)
		}
		back, err := decodeObject(1, key, again)
		if d := cmp.Diff(o, back, cmpopts.EquateEmpty()); err != nil || d != "" {
			t.Fatalf("%v %s", err, d)
		}
	})
}
