package policies

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"time"
)

// Place says at how many of a policy's candidate regions a container is kept, and how
// these are chosen. The container is the unit, so that a manifest and what it needs
// lie together.
type Place struct {
	Copies       int            // how many candidates get a container; at least Policy.Replicas
	Prefer       []string       // are chosen before all others, in this order
	Weights      map[string]int // share of the containers, against the others'; 1 where none is given
	ReplaceAfter time.Duration  // a region that is down for longer is replaced by another candidate; 0: never
}

// maxWeight bounds a region's weight.
const maxWeight = 1000

// Placed chooses the regions that a container is kept at: the first of Ranking that are
// not out. Where too few are left, those that are out fill up, the best first: they are
// waited for. Without Place these are all candidates. The order is that of p.To.
func (p Policy) Placed(container string, out map[string]bool) []string {
	if p.Place == nil {
		return p.To
	}
	var up, down []string
	for _, r := range p.Ranking(container) {
		if out[r] {
			down = append(down, r)
		} else {
			up = append(up, r)
		}
	}
	chosen := append(up, down...)
	chosen = chosen[:min(p.Place.Copies, len(chosen))]
	at := make([]string, 0, len(chosen))
	for _, r := range p.To {
		if slices.Contains(chosen, r) {
			at = append(at, r)
		}
	}
	return at
}

// Ranking orders the candidates for a container: the preferred ones, then the others by
// weighted rendezvous hashing (Schindelhauer and Schomaker, "Weighted Distributed Hash
// Tables"): a region's rank depends on no other region, so that one more or less, or
// another weight, moves only the containers that it must.
func (p Policy) Ranking(container string) []string {
	place := p.Place
	if place == nil {
		return p.To
	}
	type candidate struct {
		region string
		prefer int
		score  float64
	}
	// A container of segments is kept where the one is whose manifests need them.
	unit := p.From + "\x00" + strings.TrimSuffix(container, segmentsSuffix) + "\x00"
	list := make([]candidate, 0, len(p.To))
	for _, r := range p.To {
		c := candidate{region: r, prefer: slices.Index(place.Prefer, r)}
		if c.prefer < 0 {
			c.prefer = len(place.Prefer)
		}
		sum := sha256.Sum256([]byte(unit + r))
		// 53 bits and a half: never 0, never 1
		u := (float64(binary.BigEndian.Uint64(sum[:])>>11) + 0.5) / (1 << 53)
		c.score = float64(max(place.Weights[r], 1)) / -math.Log(u)
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.prefer, b.prefer), cmp.Compare(b.score, a.score), cmp.Compare(a.region, b.region))
	})
	ranked := make([]string, len(list))
	for i, c := range list {
		ranked[i] = c.region
	}
	return ranked
}

// Outage is what is remembered of a region that does not answer. The zero value is of
// one that does.
type Outage struct {
	Since time.Time `json:"since"` // when it was first found so
	Seen  time.Time `json:"seen"`  // and when at last
}

// Saw is the outage after the region was asked at now. Where nobody asked for longer
// than gap, it may have answered meanwhile: it begins anew.
func (o Outage) Saw(up bool, now time.Time, gap time.Duration) Outage {
	switch {
	case up:
		return Outage{}
	case o.Since.IsZero() || now.Sub(o.Seen) > gap || now.Before(o.Since):
		return Outage{Since: now, Seen: now}
	}
	return Outage{Since: o.Since, Seen: now}
}

// OutageGap is how long nobody may have asked for a region before its outage counts from
// the beginning: ReplaceAfter, and never less than two passes are apart.
func (p Policy) OutageGap() time.Duration {
	pause, _ := p.longestPause()
	return max(p.Place.ReplaceAfter, 2*pause)
}

// Out reports whether the region is down for at least patience; never where that is 0.
func (o Outage) Out(patience time.Duration) bool {
	return patience > 0 && !o.Since.IsZero() && o.Seen.Sub(o.Since) >= patience
}
