package volumes

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"farshore/transport/backup"
)

func TestMergeLeavesOutWhatIsOverwritten(t *testing.T) {
	at := func(part backup.Part, offset, length int64) backup.Extent {
		return backup.Extent{Part: part, Offset: offset, Length: length, Compression: "zlib", MD5: [16]byte{byte(offset), byte(length)}}
	}
	chain := []backup.Metadata{
		{Version: "1.0.0", BackupID: "full", VolumeID: "v", Name: "n0", Prefix: "f", Extents: []backup.Extent{at(1, 0, 100), at(2, 100, 100), at(4, 200, 50)}},
		{Version: "1.0.0", BackupID: "one", VolumeID: "v", Prefix: "a", Parent: "full", Extents: []backup.Extent{at(1, 0, 60), at(2, 200, 50)}},
		{Version: "1.0.0", BackupID: "none", VolumeID: "v", Parent: "one"},
		{Version: "1.0.0", BackupID: "two", VolumeID: "v", Name: "n2", Prefix: "b", Parent: "none", Extents: []backup.Extent{at(1, 60, 40), at(2, 90, 20)}},
	}
	pieces, m := merge(chain, "new prefix", "new")
	// f-1 is covered by a-1 and b-1 together; f-4 by a-2; f-2 shows from 110 on.
	if want := []piece{{0, 2}, {1, 1}, {1, 2}, {3, 1}, {3, 2}}; !slices.Equal(pieces, want) {
		t.Errorf("%v, want %v", pieces, want)
	}
	want := []backup.Extent{at(1, 100, 100), at(2, 0, 60), at(3, 200, 50), at(4, 60, 40), at(5, 90, 20)}
	if d := cmp.Diff(want, m.Extents); d != "" {
		t.Error(d)
	}
	if m.BackupID != "new" || m.Parent != "" || m.Name != "n2" || m.Prefix != "new prefix" || m.VolumeID != "v" || m.Version != "1.0.0" {
		t.Errorf("%+v", m)
	}
	if chain[3].Parent != "none" || chain[3].Extents[1].Part != 2 {
		t.Error("the chain itself was changed")
	}
}

// What is written in order, with or without what merge leaves out, is the same volume.
func TestVisibleIsWhatABytewiseWriteShows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size = 40
		n := rapid.IntRange(0, 30).Draw(t, "extents")
		extents := make([]backup.Extent, n)
		for i := range extents {
			off := rapid.IntRange(0, size-1).Draw(t, "offset")
			extents[i] = backup.Extent{Offset: int64(off), Length: int64(rapid.IntRange(1, size-off).Draw(t, "length"))}
		}
		last := make([]int, size)
		for i := range last {
			last[i] = -1
		}
		for i, x := range extents {
			for k := x.Offset; k < x.Offset+x.Length; k++ {
				last[k] = i
			}
		}
		seen := visible(extents)
		for i := range extents {
			if seen[i] != slices.Contains(last, i) {
				t.Fatalf("extent %d of %v: visible %v, last written %v", i, extents, seen[i], last)
			}
		}
	})
}
