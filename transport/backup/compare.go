package backup

import (
	"errors"
	"fmt"
	"io"
)

// Range is a run of blocks.
type Range struct {
	Block, Count int64
}

// maxRanges is how many ranges Compare tells: enough to see what kind of difference it is.
const maxRanges = 8

// Compare reads both to their ends, tells how many blocks differ, and which come first.
// Blocks that only one of them has differ.
func Compare(a, b Blocks) (differing int64, first []Range, err error) {
	var endA, endB bool
	for n := int64(0); ; n++ {
		var x, y Hash
		if x, endA, err = nextUnless(a, endA); err != nil {
			return 0, nil, fmt.Errorf("compare blocks: %w", err)
		}
		if y, endB, err = nextUnless(b, endB); err != nil {
			return 0, nil, fmt.Errorf("compare blocks: %w", err)
		}
		if endA && endB {
			return differing, first, nil
		}
		if endA == endB && x == y {
			continue
		}
		differing++
		last := len(first) - 1
		switch {
		case last >= 0 && first[last].Block+first[last].Count == n:
			first[last].Count++
		case len(first) < maxRanges:
			first = append(first, Range{Block: n, Count: 1})
		}
	}
}

func nextUnless(b Blocks, end bool) (Hash, bool, error) {
	if end {
		return Hash{}, true, nil
	}
	h, err := b.Next()
	if errors.Is(err, io.EOF) {
		return Hash{}, true, nil
	}
	return h, false, err
}
