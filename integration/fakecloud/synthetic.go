package fakecloud

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"strconv"
	"sync"
	"time"
)

// Synthetic describes a container of any number of objects whose names, sizes
// and bytes are computed, so that a million of them cost no memory to speak of.
type Synthetic struct {
	// Count is the number of objects.
	Count int
	// Seed decides the bytes: the same seed, index and size give the same content.
	Seed int64
	// Size gives the bytes of object i; nil means 4096 each. Keep it small where
	// listings matter: each first listing of an entry computes its MD5.
	Size func(i int) int64
	// Prefix and Dir shape the names: Prefix + "d%06d/" + "o%09d", where Dir > 0
	// puts that many objects under each d part and 0 leaves that part out.
	Prefix string
	Dir    int
	// ContentType defaults to application/octet-stream.
	ContentType string
	// Modified is the time of object 0; each following one is 10 ms later. Zero
	// makes the last one an hour old: what is changed later must not be older.
	Modified time.Time
}

// synthetic is the base layer of such a container. Names ascend with the index.
type synthetic struct {
	Synthetic
	first stamp
	total int64

	mu   sync.Mutex
	sums []*sumPage // MD5s computed so far, by pages of sumPageLen
}

const (
	sumPageLen    = 1024
	syntheticStep = stamp(1000) // 10 ms
	nameDigits    = 9
	dirDigits     = 6
)

type sumPage struct {
	have [sumPageLen]bool
	sum  [sumPageLen][16]byte
}

func newSynthetic(s Synthetic, now stamp) *synthetic {
	if s.Size == nil {
		s.Size = func(int) int64 { return 4096 }
	}
	if s.ContentType == "" {
		s.ContentType = "application/octet-stream"
	}
	y := &synthetic{Synthetic: s, first: now - 3600*stampsPerSecond - stamp(s.Count)*syntheticStep,
		sums: make([]*sumPage, (s.Count+sumPageLen-1)/sumPageLen)}
	if !s.Modified.IsZero() {
		y.first = stampOf(s.Modified)
	}
	for i := range s.Count {
		y.total += s.Size(i)
	}
	return y
}

func padded(b []byte, n, digits int) []byte {
	for limit, d := 10, 1; d < digits; d, limit = d+1, limit*10 {
		if n < limit {
			for ; d < digits; d++ {
				b = append(b, '0')
			}
			break
		}
	}
	return strconv.AppendInt(b, int64(n), 10)
}

// name is the name of object i.
func (y *synthetic) name(i int) string {
	b := make([]byte, 0, len(y.Prefix)+dirDigits+nameDigits+3)
	b = append(b, y.Prefix...)
	if y.Dir > 0 {
		b = append(padded(append(b, 'd'), i/y.Dir, dirDigits), '/')
	}
	return string(padded(append(b, 'o'), i, nameDigits))
}

// lower returns the first index whose name is >= s.
func (y *synthetic) lower(s string) int {
	lo, hi := 0, y.Count
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if y.name(mid) < s {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

func (y *synthetic) find(name string) (int, bool) {
	i := y.lower(name)
	return i, i < y.Count && y.name(i) == name
}

func (y *synthetic) has(name string) bool {
	_, ok := y.find(name)
	return ok
}

func (y *synthetic) body(i int) synthBody {
	return synthBody{seed: mix(uint64(y.Seed)) ^ mix(uint64(i)+1)<<1, size: y.Size(i)}
}

// sum returns the MD5 of object i, computing it once.
func (y *synthetic) sum(i int) string {
	p := i / sumPageLen
	y.mu.Lock()
	page := y.sums[p]
	if page == nil {
		page = new(sumPage)
		y.sums[p] = page
	}
	have, sum := page.have[i%sumPageLen], page.sum[i%sumPageLen]
	y.mu.Unlock()
	if !have {
		h := md5.New()
		b := y.body(i)
		// A hash takes every write.
		_ = b.writeTo(h, 0, b.size)
		h.Sum(sum[:0])
		y.mu.Lock()
		page.have[i%sumPageLen], page.sum[i%sumPageLen] = true, sum
		y.mu.Unlock()
	}
	return hex.EncodeToString(sum[:])
}

func (y *synthetic) stamp(i int) stamp { return y.first + stamp(i)*syntheticStep }

func (y *synthetic) object(i int) *object {
	return &object{body: y.body(i), etag: y.sum(i), ctype: y.ContentType, stamp: y.stamp(i)}
}

// SetSynthetic fills a new or empty container with computed objects. Overwrites,
// POSTs and deletes then work as on any other; only what was changed is held.
func (r *Region) SetSynthetic(containerName string, s Synthetic) error {
	if s.Count < 0 || s.Dir < 0 || (s.Dir > 0 && s.Count/s.Dir >= 1_000_000) || s.Count >= 1_000_000_000 {
		return fmt.Errorf("set synthetic %s: count %d, dir %d out of range", containerName, s.Count, s.Dir)
	}
	c := r.ensure(containerName)
	y := newSynthetic(s, r.tick.next())
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.objs.n > 0 || c.base != nil {
		return fmt.Errorf("set synthetic %s: container is not empty", containerName)
	}
	c.base = y
	c.count, c.bytes = int64(y.Count), y.total
	return nil
}
