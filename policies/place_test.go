package policies

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func placing(copies int, to ...string) Policy {
	p := NewPolicy("p", "paris", to...)
	p.Replicas, p.Place = copies, &Place{Copies: copies}
	return p
}

var someRegions = []string{"lyon", "berlin", "madrid", "oslo", "rome", "bern"}

// One region more, less, heavier or out moves only what it must.
func TestPlacementMovesOnlyWhatItMust(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, len(someRegions)).Draw(t, "regions")
		all := rapid.Permutation(someRegions).Draw(t, "order")[:n]
		copies := rapid.IntRange(1, n-1).Draw(t, "copies")
		p := placing(copies, all...)
		p.Place.Weights = map[string]int{}
		for _, r := range all {
			p.Place.Weights[r] = rapid.IntRange(1, 5).Draw(t, "weight of "+r)
		}
		p.Place.Prefer = all[:rapid.IntRange(0, n).Draw(t, "preferred")]
		container := rapid.StringMatching(`[a-z]{1,12}`).Draw(t, "container")
		with := p.Placed(container, nil)
		if len(with) != copies {
			t.Fatalf("placed at %v, wanted %d", with, copies)
		}
		last := all[n-1]
		less := p
		less.To = all[:n-1]
		without := less.Placed(container, nil)
		for _, r := range with {
			if r != last && !slices.Contains(without, r) {
				t.Fatalf("%s came, and moved what %s had: %v before, %v after", last, r, without, with)
			}
		}
		if !slices.Contains(with, last) && !slices.Equal(with, without) {
			t.Fatalf("%s came and got nothing: still %v became %v", last, without, with)
		}
		// a region that is out is as one that is not there, for the others
		if out := p.Placed(container, map[string]bool{last: true}); !slices.Equal(out, without) {
			t.Fatalf("%s out: %v; not there: %v", last, out, without)
		}
		heavier := p
		heavier.Place = &Place{Copies: copies, Prefer: p.Place.Prefer, Weights: map[string]int{}}
		for r, w := range p.Place.Weights {
			heavier.Place.Weights[r] = w
		}
		heavier.Place.Weights[last] += 3
		after := heavier.Placed(container, nil)
		if slices.Contains(with, last) && !slices.Equal(after, with) {
			t.Fatalf("%s became heavier: %v became %v", last, with, after)
		}
		for _, r := range after {
			if r != last && !slices.Contains(with, r) {
				t.Fatalf("%s became heavier, and %s got something: %v became %v", last, r, with, after)
			}
		}
		// the order of the list says nothing but the order of the answer
		turned := p
		turned.To = slices.Clone(all)
		slices.Reverse(turned.To)
		back := turned.Placed(container, nil)
		slices.Reverse(back)
		if !slices.Equal(back, with) {
			t.Fatalf("in another order: %v, not %v", back, with)
		}
	})
}

// However many are out, a container is kept at Copies regions, and at as many that are
// up as there are.
func TestPlacementNeverFallsShort(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, len(someRegions)).Draw(t, "regions")
		copies := rapid.IntRange(1, n).Draw(t, "copies")
		p := placing(copies, someRegions[:n]...)
		out, up := map[string]bool{}, 0
		for _, r := range p.To {
			if out[r] = rapid.Bool().Draw(t, r+" is out"); !out[r] {
				up++
			}
		}
		at := p.Placed(rapid.StringMatching(`[a-z]{1,12}`).Draw(t, "container"), out)
		alive := 0
		for _, r := range at {
			if !out[r] {
				alive++
			}
		}
		if len(at) != copies || alive != min(copies, up) {
			t.Fatalf("at %v of %v, out %v", at, p.To, out)
		}
	})
}

func TestPlacementFollowsWeights(t *testing.T) {
	p := placing(1, "lyon", "berlin", "madrid")
	p.Place.Weights = map[string]int{"berlin": 2, "madrid": 5}
	const many = 20_000
	got := map[string]int{}
	for i := range many {
		got[p.Placed(fmt.Sprintf("container-%d", i), nil)[0]]++
	}
	for r, share := range map[string]float64{"lyon": 1.0 / 8, "berlin": 2.0 / 8, "madrid": 5.0 / 8} {
		// four standard deviations of so many draws
		if bound := 4 * math.Sqrt(share*(1-share)/many); math.Abs(float64(got[r])/many-share) > bound {
			t.Errorf("%s has %d of %d, its weight gives %.1f %%", r, got[r], many, 100*share)
		}
	}
	p.Place.Prefer = []string{"lyon"}
	for i := range 100 {
		if at := p.Placed(fmt.Sprintf("container-%d", i), nil); at[0] != "lyon" {
			t.Fatalf("lyon is preferred, and container-%d is at %v", i, at)
		}
	}
	if a, b := p.Ranking("films"), p.Ranking("films_segments"); !slices.Equal(a, b) {
		t.Errorf("films at %v, its segments at %v", a, b)
	}
	if at := NewPolicy("p", "paris", "lyon", "berlin").Placed("x", map[string]bool{"lyon": true}); !slices.Equal(at, []string{"lyon", "berlin"}) {
		t.Errorf("without place: %v", at)
	}
}

// What is chosen is kept through releases: containers would move otherwise.
func TestPlacementIsForEver(t *testing.T) {
	p := placing(2, "lyon", "berlin", "madrid", "oslo")
	p.Place.Weights = map[string]int{"oslo": 3}
	for container, want := range map[string]string{"assets": "[lyon madrid oslo berlin]", "films": "[berlin oslo lyon madrid]", "ünï": "[oslo lyon madrid berlin]"} {
		if got := fmt.Sprint(p.Ranking(container)); got != want {
			t.Errorf("%s: %s, was %s", container, got, want)
		}
	}
}

func TestOutage(t *testing.T) {
	t0 := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	const patience = 2 * time.Hour
	at := func(h float64) time.Time { return t0.Add(time.Duration(h * float64(time.Hour))) }
	var o Outage
	for _, x := range []struct {
		hour float64
		up   bool
		out  bool
	}{
		{0, true, false}, {1, false, false}, {2.9, false, false}, {3, false, true}, {4, false, true},
		{5, true, false}, {6, false, false}, // it answered: from the beginning
		{7.9, false, false}, {8, false, true},
		{11, false, false}, // nobody asked for three hours
		{13, false, true},
	} {
		if o = o.Saw(x.up, at(x.hour), patience); o.Out(patience) != x.out {
			t.Errorf("hour %v: out %v, %+v", x.hour, !x.out, o)
		}
	}
	daily := placing(1, "lyon", "berlin")
	daily.Place.ReplaceAfter = patience
	if daily.OutageGap() != patience {
		t.Error("a pass every five minutes:", daily.OutageGap())
	}
	daily.Every = 24 * time.Hour
	if daily.OutageGap() != 48*time.Hour {
		t.Error("a pass a day:", daily.OutageGap())
	}
	if o.Out(0) {
		t.Error("out although it is never to be replaced")
	}
	if o = o.Saw(false, at(-5), patience); !o.Since.Equal(at(-5)) {
		t.Errorf("the clock was set back: %+v", o)
	}
}
