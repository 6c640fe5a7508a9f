package volumes

import (
	"slices"

	"farshore/transport/backup"
)

// piece is one data object that goes into a synthetic full.
type piece struct {
	chain int         // which backup of the chain it comes from
	part  backup.Part // its number there
}

// merge plans a synthetic full of a chain, the full one first: its data objects are
// those of the whole chain that are still visible, in the order in which they would be
// restored, numbered anew (L6, R22). An object that later ones overwrite wholly is left
// out; one that they overwrite in part stays, before them. Piece n becomes extent n of
// the _metadata.
func merge(chain []backup.Metadata, prefix, id string) ([]piece, backup.Metadata) {
	var all []backup.Extent
	var from []piece
	for c, m := range chain {
		all = append(all, m.Extents...)
		for _, x := range m.Extents {
			from = append(from, piece{c, x.Part})
		}
	}
	seen := visible(all)
	out := chain[len(chain)-1] // what a restore sets on the volume is what it sets last
	out.BackupID, out.Parent, out.Prefix, out.Extents = id, "", prefix, nil
	var pieces []piece
	for i, x := range all {
		if seen[i] {
			pieces = append(pieces, from[i])
			x.Part = backup.Part(len(pieces))
			out.Extents = append(out.Extents, x)
		}
	}
	return pieces, out
}

// visible tells of extents in write order which of them show at least one byte when
// all are written.
func visible(extents []backup.Extent) []bool {
	edges := make([]int64, 0, 2*len(extents))
	for _, x := range extents {
		edges = append(edges, x.Offset, x.Offset+x.Length)
	}
	slices.Sort(edges)
	edges = slices.Compact(edges)
	// free[c] leads to the first cell from c on that nothing later covers; cell c is
	// what lies between edges c and c+1.
	free := make([]int, len(edges)+1)
	for c := range free {
		free[c] = c
	}
	find := func(c int) int {
		for free[c] != c {
			free[c] = free[free[c]]
			c = free[c]
		}
		return c
	}
	cell := func(offset int64) int {
		c, _ := slices.BinarySearch(edges, offset)
		return c
	}
	seen := make([]bool, len(extents))
	for i := len(extents) - 1; i >= 0; i-- {
		x := extents[i]
		end := cell(x.Offset + x.Length)
		for c := find(cell(x.Offset)); c < end; c = find(c) {
			seen[i] = true
			free[c] = c + 1
		}
	}
	return seen
}
