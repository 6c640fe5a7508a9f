package fakecloud

import (
	"strconv"
	"sync/atomic"
	"time"
)

// stamp is a Swift timestamp: units of 10 µs since the epoch, the five
// decimals that X-Timestamp shows.
type stamp int64

const stampsPerSecond = 100_000

func stampOf(t time.Time) stamp { return stamp(t.UnixNano() / int64(10*time.Microsecond)) }

func (s stamp) time() time.Time { return time.Unix(0, int64(s)*int64(10*time.Microsecond)).UTC() }

// header renders X-Timestamp: 1795367109.44684.
func (s stamp) header() string {
	b := make([]byte, 0, 16)
	b = strconv.AppendInt(b, int64(s)/stampsPerSecond, 10)
	b = append(b, '.')
	frac := int64(s) % stampsPerSecond
	for div := int64(stampsPerSecond / 10); div > 0; div /= 10 {
		b = append(b, byte('0'+frac/div%10))
	}
	return string(b)
}

// lastModified renders the header of the same name, which Swift rounds up to
// the whole second, so that an If-Modified-Since with it never misses (L1b).
func (s stamp) lastModified() string {
	sec := (int64(s) + stampsPerSecond - 1) / stampsPerSecond
	return time.Unix(sec, 0).UTC().Format("Mon, 02 Jan 2006 15:04:05") + " GMT"
}

// listed renders last_modified of a listing: microseconds without a zone for
// Swift; Ceph RGW gives milliseconds and a Z.
func (s stamp) listed(p Profile) string {
	if p == RGW {
		return s.time().Format("2006-01-02T15:04:05.000Z")
	}
	return s.time().Format("2006-01-02T15:04:05.000000")
}

// ticker hands out stamps of one region that never repeat or go back, as the
// timestamps of one busy proxy do not.
type ticker struct {
	clock func() time.Time
	last  atomic.Int64
}

func (t *ticker) next() stamp {
	now := int64(stampOf(t.clock()))
	for {
		last := t.last.Load()
		v := max(now, last+1)
		if t.last.CompareAndSwap(last, v) {
			return stamp(v)
		}
	}
}
