package policies

import (
	"testing"

	"pgregory.net/rapid"
)

func TestBrake(t *testing.T) {
	b := Brake{Deletes: 0.05, Overwrites: Off, AtLeast: 100}
	for _, c := range []struct {
		count, total int64
		trips        bool
	}{
		{0, 0, false},
		{99, 100, false},   // fewer than at_least
		{100, 2000, false}, // exactly 5 %
		{101, 2000, true},  // more
		{100, 1999, true},  // 100 of 1999 is more than 5 %
		{5000, 100000, false},
		{5001, 100000, true},
		{100, 0, true}, // of nothing known, anything is too much
	} {
		if got := b.TripsDeletes(c.count, c.total); got != c.trips {
			t.Errorf("%d of %d deletes: %v", c.count, c.total, got)
		}
		if b.TripsOverwrites(c.count, c.total) {
			t.Errorf("%d of %d overwrites trip a brake that is off", c.count, c.total)
		}
	}
	zero := Brake{Deletes: 0, Overwrites: 1}
	if !zero.TripsDeletes(1, 1_000_000) || zero.TripsDeletes(0, 10) || zero.TripsOverwrites(10, 10) {
		t.Error("0% trips on the first delete only, 100% on nothing")
	}
	if !b.TripsEmpty(0, 1) || b.TripsEmpty(0, 0) || b.TripsEmpty(1, 1000) {
		t.Error("an empty source trips the brake whenever something is known, and then only")
	}
	hoc := AdHoc("paris", "c", []string{"lyon"}, "", true).Brake
	if hoc.TripsDeletes(5, 10) || !hoc.TripsDeletes(6, 10) || !hoc.TripsDeletes(1, 1) {
		t.Error("ad hoc deletes stop past half of the objects, however few")
	}
	if d := AdHoc("paris", "c", []string{"lyon"}, "", false).Deletes; d.Propagate {
		t.Error("ad hoc deletes without being told to")
	}
	if d := AdHoc("paris", "c", []string{"lyon"}, "", true).Deletes; !d.Propagate || d.After != 0 {
		t.Errorf("ad hoc deletes: %+v", d)
	}
}

func TestJudge(t *testing.T) {
	two := Policy{Replicas: 2}
	for _, c := range []struct {
		p      Policy
		counts ReplicaCounts
		want   Verdict
	}{
		{two, ReplicaCounts{}, Verdict{true, 0, 2}},
		{two, ReplicaCounts{Objects: 5}, Verdict{false, 5, 2}},
		{two, ReplicaCounts{10, map[int]int64{2: 7, 1: 3}}, Verdict{false, 3, 2}},
		{two, ReplicaCounts{10, map[int]int64{2: 7, 3: 3}}, Verdict{true, 0, 2}},
		{two, ReplicaCounts{10, map[int]int64{0: 2, 2: 7}}, Verdict{false, 3, 2}}, // one is not counted at all
		{Policy{Replicas: 1}, ReplicaCounts{10, map[int]int64{1: 9, 0: 1}}, Verdict{false, 1, 1}},
	} {
		if got := Judge(c.p, c.counts); got != c.want {
			t.Errorf("Judge(%d, %v) = %+v, want %+v", c.p.Replicas, c.counts, got, c.want)
		}
	}
}

// The oracle counts objects one by one.
func TestJudgeAgainstOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		needed := rapid.IntRange(1, 4).Draw(t, "needed")
		held := rapid.SliceOfN(rapid.IntRange(0, 5), 0, 50).Draw(t, "held")
		counts := ReplicaCounts{Objects: int64(len(held)), ByRegions: map[int]int64{}}
		short := int64(0)
		for _, k := range held {
			counts.ByRegions[k]++
			if k < needed {
				short++
			}
		}
		if got := Judge(Policy{Replicas: needed}, counts); got != (Verdict{short == 0, short, needed}) {
			t.Fatalf("Judge = %+v, want %d short", got, short)
		}
	})
}
