package policies

import (
	"cmp"
	"slices"
	"time"
)

// Held says where one item has confirmed replicas of what its source has now.
type Held struct {
	Container, Name string
	Since           time.Time // what it must have replicas of is so old; or since when it lacks them again
	Regions         []string
}

// Wanting is an item that has too few replicas.
type Wanting struct {
	Container, Name string
	Since           time.Time
	Lacks           []string // regions it is to be at and is not, in the order of the policy
}

// Short says how many items with too few replicas a region lacks, and since when.
type Short struct {
	Objects int64
	Since   time.Time
}

// Standing is the answer of a Judging.
type Standing struct {
	Verdict
	Objects int64
	ByCount map[int]int64    // items by the number of their confirmed replicas
	Since   time.Time        // since when the one that waits longest does; zero: none does
	Lacking map[string]Short // by region
	Oldest  []Wanting        // those that wait longest, the first first; bounded
}

// Judging decides item by item which have too few replicas, where and since when, in
// memory that does not grow with them. It is Judge with names: counts alone are Judge's.
type Judging struct {
	p    Policy
	keep int
	s    Standing
}

// NewJudging begins a judgement that names at most keep items.
func NewJudging(p Policy, keep int) *Judging {
	return &Judging{p: p, keep: keep, s: Standing{Verdict: Verdict{Needed: p.Replicas}, ByCount: map[int]int64{}, Lacking: map[string]Short{}}}
}

// Add judges one item, which is to be at the regions given.
func (j *Judging) Add(h Held, at []string) {
	j.s.Objects++
	j.s.ByCount[len(h.Regions)]++
	if len(h.Regions) >= j.p.Replicas {
		return
	}
	j.s.Short++
	var lacks []string
	for _, r := range at {
		if slices.Contains(h.Regions, r) {
			continue
		}
		lacks = append(lacks, r)
		x := j.s.Lacking[r]
		x.Objects++
		if x.Since.IsZero() || h.Since.Before(x.Since) {
			x.Since = h.Since
		}
		j.s.Lacking[r] = x
	}
	if j.s.Since.IsZero() || h.Since.Before(j.s.Since) {
		j.s.Since = h.Since
	}
	w := Wanting{Container: h.Container, Name: h.Name, Since: h.Since, Lacks: lacks}
	i, _ := slices.BinarySearchFunc(j.s.Oldest, w, older)
	if i >= j.keep {
		return
	}
	j.s.Oldest = slices.Insert(j.s.Oldest, i, w)
	if len(j.s.Oldest) > j.keep {
		j.s.Oldest = j.s.Oldest[:j.keep]
	}
}

func older(a, b Wanting) int {
	return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Container, b.Container), cmp.Compare(a.Name, b.Name))
}

// Standing is the judgement of what was added.
func (j *Judging) Standing() Standing {
	s := j.s
	s.Satisfied = s.Short == 0
	return s
}
