package policies

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A judgement names what a plain look at all items would.
func TestJudgingAgainstOracle(t *testing.T) {
	regions := []string{"lyon", "berlin", "madrid"}
	rapid.Check(t, func(t *rapid.T) {
		p := NewPolicy("p", "paris", regions...)
		p.Replicas = rapid.IntRange(1, 3).Draw(t, "replicas")
		keep := rapid.IntRange(0, 5).Draw(t, "keep")
		j := NewJudging(p, keep)
		var short []Wanting
		lacking, byCount := map[string]Short{}, map[int]int64{}
		n := rapid.IntRange(0, 40).Draw(t, "items")
		for i := range n {
			h := Held{Container: "c", Name: fmt.Sprint(i), Since: time.Unix(int64(rapid.IntRange(1, 20).Draw(t, "since")), 0)}
			w := Wanting{Container: h.Container, Name: h.Name, Since: h.Since}
			for _, r := range regions {
				if rapid.Bool().Draw(t, "at "+r) {
					h.Regions = append(h.Regions, r)
				} else {
					w.Lacks = append(w.Lacks, r)
				}
			}
			j.Add(h, regions)
			byCount[len(h.Regions)]++
			if len(h.Regions) >= p.Replicas {
				continue
			}
			short = append(short, w)
			for _, r := range w.Lacks {
				x := lacking[r]
				if x.Objects++; x.Objects == 1 || w.Since.Before(x.Since) {
					x.Since = w.Since
				}
				lacking[r] = x
			}
		}
		slices.SortFunc(short, older)
		got := j.Standing()
		want := Standing{Verdict: Verdict{Satisfied: len(short) == 0, Short: int64(len(short)), Needed: p.Replicas}, Objects: int64(n)}
		if len(short) > 0 {
			want.Since = short[0].Since
		}
		if got.Verdict != want.Verdict || got.Objects != want.Objects || !got.Since.Equal(want.Since) || !maps.Equal(got.Lacking, lacking) || !maps.Equal(got.ByCount, byCount) {
			t.Fatalf("%+v, want %+v, lacking %v", got, want, lacking)
		}
		first := short[:min(keep, len(short))]
		if !slices.EqualFunc(got.Oldest, first, func(a, b Wanting) bool { return a.Name == b.Name && slices.Equal(a.Lacks, b.Lacks) }) {
			t.Fatalf("oldest %v, want %v", got.Oldest, first)
		}
	})
}
