package store

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func TestSeriesComesBackAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringN(1, 40, -1).Draw(t, "name")
		s := genSeries(t, name, []RouteID{1, 2, 200, 1<<32 - 1})
		if len(s.Versions) == 0 {
			t.Skip("none are kept")
		}
		b, err := appendSeries([]byte("before"), 7, []byte(name), &s)
		if err != nil {
			t.Fatalf("append: %v", err)
		}
		got, err := decodeSeries(7, []byte(name), b[len("before"):])
		if err != nil {
			t.Fatalf("decode: %v", err)
		}
		if d := cmp.Diff(s, got, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("(-wrote +read)\n%s", d)
		}
	})
}

// Whatever a server calls its versions comes back byte by byte; what only looks like
// Swift's times is not taken for one.
func TestVersionIDsComeBackAsTheyWere(t *testing.T) {
	for _, id := range []string{"", "null", "1790000000.12345", "0000000000.00000", "9999999999.99999", "1790000000.12345_0000000000000001", "1790000000.1234",
		"1790000000.123456", "179000000.123456", "1790000000x12345", "-790000000.12345", "1790000000.1234x", "+790000000.12345", " 790000000.12345",
		"3/L4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY", "\x00\xff"} {
		for _, near := range []int64{0, 1_790_000_000_123_450, -1 << 63, 1<<63 - 1} {
			b := appendID(nil, id, near)
			d := decoder{b: b}
			if got := d.id(near); got != id || d.done() != nil {
				t.Errorf("%q near %d: got %q, %v", id, near, got, d.err)
			}
		}
	}
	if b := appendID(nil, "1790000000.12345", 1_790_000_000_123_456); len(b) != 2 {
		t.Errorf("an id at its own time takes %d bytes, want 2", len(b))
	}
	for _, at := range []int64{-1, stampEnd} {
		d := decoder{b: appendID(nil, "0000000000.00000", -10*at)}
		if got := d.id(0); d.err == nil {
			t.Errorf("the time %d was read as %q", at, got)
		}
	}
}

// These bytes may not change without a new schema; docs/ledger.md has them too.
func TestSeriesBytes(t *testing.T) {
	s := Series{Name: "a", Versions: []SeriesVersion{
		{ID: "null", Size: 300, Version: Version{ETag: "00112233445566778899aabbccddeeff", Modified: 1_000_000}},
		{ID: "0000000002.00000", Version: Version{ETag: "x", Modified: 2_000_000}, Marker: true, Latest: true, Meta: [8]byte{1, 2, 3, 4, 5, 6, 7, 8},
			Replicas: []SeriesReplica{
				{Route: 2, State: Confirmed, ID: "0000000002.00003", Written: 2_000_020, Confirmed: 2_000_021},
				{Route: 5, State: Cannot, ETag: "y", Note: "no"},
			}},
	}}
	b, err := appendSeries(nil, 3, []byte("a"), &s)
	if err != nil {
		t.Fatal(err)
	}
	want := "01" + "02" + // record version, two versions
		"00" + "00" + "00112233445566778899aabbccddeeff" + "80897a" + "05" + "6e756c6c" + "ac02" + "00" + // flags, ETag, modified, id, size, no replicas
		"07" + "0278" + "80897a" + "0000" + "00" + "0102030405060708" + "02" + // marker and latest and digest, ETag, +1 s, id at that time, size 0, digest, two replicas
		"02" + "39" + "28" + "0002" + "02" + // route 2, confirmed with both times and id; +20 µs, id 10 µs later, +1 µs
		"03" + "c301" + "0279" + "026e6f" // route 2+3, cannot with ETag and note
	if got := hex.EncodeToString(b[:len(b)-crcSize]); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := hex.EncodeToString(b[len(b)-crcSize:]), "50917c61"; got != want {
		t.Errorf("checksum: got %s, want %s", got, want)
	}
}

func TestSeriesThatCannotBeKept(t *testing.T) {
	one := func(v SeriesVersion) []SeriesVersion { return []SeriesVersion{v} }
	rep := func(rs ...SeriesReplica) []SeriesReplica { return rs }
	for name, c := range map[string]struct {
		versions []SeriesVersion
		says     string
	}{
		"no id":        {one(SeriesVersion{}), "has no id"},
		"id twice":     {[]SeriesVersion{{ID: "null"}, {ID: "x"}, {ID: "null"}}, `"null" is there twice`},
		"stamp twice":  {[]SeriesVersion{{ID: testStamp(8)}, {ID: testStamp(8)}}, "is there twice"},
		"descending":   {[]SeriesVersion{{ID: testStamp(8)}, {ID: "null"}, {ID: testStamp(7)}}, "comes after a younger one"},
		"two latest":   {[]SeriesVersion{{ID: "a", Latest: true}, {ID: "b", Latest: true}}, "2 versions are the latest"},
		"route 0":      {one(SeriesVersion{ID: "a", Replicas: rep(SeriesReplica{State: Confirmed})}), "not ascending by route"},
		"route twice":  {one(SeriesVersion{ID: "a", Replicas: rep(SeriesReplica{Route: 1, State: Confirmed}, SeriesReplica{Route: 1, State: Lost})}), "not ascending by route"},
		"no state":     {one(SeriesVersion{ID: "a", Replicas: rep(SeriesReplica{Route: 1})}), "state 0"},
		"future state": {one(SeriesVersion{ID: "a", Replicas: rep(SeriesReplica{Route: 1, State: Lost + 1})}), "state 5"},
		"one version there, two here": {[]SeriesVersion{{ID: "a", Replicas: rep(SeriesReplica{Route: 1, State: Confirmed, ID: "far"})},
			{ID: "b", Replicas: rep(SeriesReplica{Route: 1, State: Confirmed, ID: "far"})}}, `is "far" on route 1, as another one`},
	} {
		s := Series{Name: "a", Versions: c.versions}
		if b, err := appendSeries([]byte("x"), 1, []byte("a"), &s); !errors.Is(err, ErrInvalid) || string(b) != "x" || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: got %v, %q, want ErrInvalid with %q and the buffer as it was", name, err, b, c.says)
		}
	}
	fine := Series{Name: "a", Versions: []SeriesVersion{
		{ID: "null", Latest: true, Replicas: rep(SeriesReplica{Route: 1, State: Confirmed, ID: "far"}, SeriesReplica{Route: 2, State: Confirmed, ID: "far"})},
		{ID: testStamp(1), Replicas: rep(SeriesReplica{Route: 1, State: Cannot})}, {ID: "x", Replicas: rep(SeriesReplica{Route: 1, State: Cannot})}, {ID: testStamp(2)}}}
	if err := fine.Valid(); err != nil {
		t.Errorf("the same id on two routes, none on one, the latest being the oldest: %v", err)
	}
}

func TestDamagedSeriesAndNeedsAreNotBelieved(t *testing.T) {
	key, s := []byte("photo.jpg"), testSeries("photo.jpg", 4, 1, 2)
	v, err := appendSeries(nil, 7, key, &s)
	if err != nil {
		t.Fatal(err)
	}
	needs := appendNeeds(nil, 7, key, sortedNeeds([]Need{NeedOf("c", "1"), NeedOf("c", "2")}))
	digest := appendProperties(nil, key, [8]byte{1}, 5)
	for name, c := range map[string]struct {
		v      []byte
		decode func(owner uint32, key, v []byte) error
	}{
		"series":     {v, func(o uint32, k, v []byte) error { _, err := decodeSeries(PlaceID(o), k, v); return err }},
		"needs":      {needs, func(o uint32, k, v []byte) error { _, err := decodeNeeds(RouteID(o), k, v); return err }},
		"properties": {digest, func(_ uint32, k, v []byte) error { _, _, err := decodeProperties(k, v); return err }},
	} {
		if err := c.decode(7, key, c.v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for bit := range len(c.v) * 8 {
			bad := bytes.Clone(c.v)
			bad[bit/8] ^= 1 << (bit % 8)
			if err := c.decode(7, key, bad); !errors.Is(err, errDecode) {
				t.Errorf("%s: bit %d: %v", name, bit, err)
			}
		}
		for n := range c.v {
			if err := c.decode(7, key, c.v[:n]); !errors.Is(err, errDecode) {
				t.Errorf("%s: cut to %d: %v", name, n, err)
			}
		}
		if err := c.decode(8, key, c.v); name != "properties" && !errors.Is(err, errDecode) {
			t.Errorf("%s: other owner: %v", name, err)
		}
		if err := c.decode(7, []byte("photo.jpf"), c.v); !errors.Is(err, errDecode) {
			t.Errorf("%s: other key: %v", name, err)
		}
	}
	for name, needs := range map[string][]Need{"descending": {{2}, {1}}, "twice": {{1}, {1}}, "none": {}} {
		if _, err := decodeNeeds(7, key, appendNeeds(nil, 7, key, needs)); !errors.Is(err, errDecode) {
			t.Errorf("needs %s: %v", name, err)
		}
	}
}

// FuzzDecodeSeries feeds bodies under a right checksum, and the same bytes as a
// whole record.
func FuzzDecodeSeries(f *testing.F) {
	for _, s := range []Series{testSeries("a", 1), testSeries("b", 7, 1, 2, 300)} {
		v, err := appendSeries(nil, 1, []byte("k"), &s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(v[1 : len(v)-crcSize])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		key := []byte("k")
		_, _ = decodeSeries(1, key, body)
		s, err := decodeSeries(1, key, seal(kindSeries, 1, key, append([]byte{recordVersion}, body...), 0))
		if err != nil {
			if !errors.Is(err, errDecode) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		again, err := appendSeries(nil, 1, key, &s)
		if errors.Is(err, ErrInvalid) && s.Valid() != nil {
			return // it decodes, and Check finds it
		}
		if err != nil {
			t.Fatalf("decoded what cannot be encoded: %+v: %v", s, err)
		}
		back, err := decodeSeries(1, key, again)
		if d := cmp.Diff(s, back, cmpopts.EquateEmpty()); err != nil || d != "" {
			t.Fatalf("%v %s", err, d)
		}
	})
}

func TestSetReplicaOfAVersionKeepsTheOrder(t *testing.T) {
	var v SeriesVersion
	for _, r := range []RouteID{5, 1, 9, 5} {
		v.SetReplica(SeriesReplica{Route: r, State: Confirmed, Written: int64(r)})
	}
	v.SetReplica(SeriesReplica{Route: 9, State: Lost})
	v.DropReplica(1)
	v.DropReplica(2)
	if want := []SeriesReplica{{Route: 5, State: Confirmed, Written: 5}, {Route: 9, State: Lost}}; !slices.Equal(v.Replicas, want) {
		t.Errorf("got %+v", v.Replicas)
	}
	if x, ok := v.Replica(9); !ok || x.State != Lost {
		t.Errorf("route 9: %+v %v", x, ok)
	}
	if _, ok := v.Replica(1); ok {
		t.Error("route 1 is still there")
	}
}
