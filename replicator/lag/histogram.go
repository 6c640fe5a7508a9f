package lag

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"slices"
	"time"
)

// histogram counts durations, as HDR histograms do: in whole milliseconds below 64 ms,
// above in 64 buckets for each doubling, so that a bucket is at most 1/64 of its values
// wide and its middle at most 0.8 % away from any of them. Memory is what its used buckets
// take: 2,304 at most, for up to 34 years.
type histogram map[uint16]uint32

// perDoubling is how many buckets there are for each doubling.
const perDoubling = 64

// longest is the longest time that is told apart, in ms.
const longest = 1<<40 - 1

func bucketOf(d time.Duration) uint16 {
	ms := uint64(min(max((d-1)/(time.Millisecond/2)+1, 0)/2, longest)) // rounded
	if ms < perDoubling {
		return uint16(ms)
	}
	shift := bits.Len64(ms) - 7
	return uint16(uint64(perDoubling*(shift+1)) + ms>>shift - perDoubling)
}

// middle is the duration that stands for a bucket's.
func middle(b uint16) time.Duration {
	if b < perDoubling {
		return time.Duration(b) * time.Millisecond
	}
	shift := int(b)/perDoubling - 1
	low := (uint64(b)%perDoubling + perDoubling) << shift
	return time.Duration(2*low+1<<shift-1) * (time.Millisecond / 2)
}

func (h histogram) add(d time.Duration) {
	if b := bucketOf(d); h[b] < math.MaxUint32 {
		h[b]++
	}
}

func (h histogram) merge(o histogram) {
	for b, n := range o {
		h[b] += min(n, math.MaxUint32-h[b])
	}
}

// quantiles gives, for each share in ascending order, the smallest duration that at least
// that share of all is not above; zeros of an empty histogram.
func (h histogram) quantiles(shares ...float64) []time.Duration {
	total := uint64(0)
	for _, n := range h {
		total += uint64(n)
	}
	out := make([]time.Duration, len(shares))
	if total == 0 {
		return out
	}
	seen, i := uint64(0), 0
	for _, b := range slices.Sorted(maps.Keys(h)) {
		seen += uint64(h[b])
		for i < len(shares) && seen >= max(uint64(math.Ceil(shares[i]*float64(total))), 1) {
			out[i] = middle(b)
			i++
		}
	}
	return out
}

// MarshalText implements encoding.TextMarshaler: bucket numbers, each as the distance from
// the one before, and counts, as varints in base64.
func (h histogram) MarshalText() ([]byte, error) {
	var raw []byte
	last := uint16(0)
	for _, b := range slices.Sorted(maps.Keys(h)) {
		raw = binary.AppendUvarint(raw, uint64(b-last))
		raw = binary.AppendUvarint(raw, uint64(h[b]))
		last = b
	}
	return []byte(base64.StdEncoding.EncodeToString(raw)), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *histogram) UnmarshalText(text []byte) error {
	raw, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil {
		return fmt.Errorf("read histogram: %w", err)
	}
	out, at := histogram{}, uint64(0)
	for len(raw) > 0 {
		step, n := binary.Uvarint(raw)
		if n <= 0 {
			return errHistogram
		}
		count, m := binary.Uvarint(raw[n:])
		if at += step; m <= 0 || at > uint64(bucketOf(math.MaxInt64)) || count > math.MaxUint32 {
			return errHistogram
		}
		out[uint16(at)] = uint32(count)
		raw = raw[n+m:]
	}
	*h = out
	return nil
}

var errHistogram = errors.New("read histogram: it is cut off or damaged")
