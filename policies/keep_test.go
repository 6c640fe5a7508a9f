package policies

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// at reads "2026-11-22 13:00", in Paris.
func parisTime(t *testing.T, text string) time.Time {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.ParseInLocation("2006-01-02 15:04", text, zone)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// The table of docs/policy.md: what stays, and by which rule.
func TestKeepSelectsAsDocumented(t *testing.T) {
	k := Keep{Last: 2, Daily: 3, Weekly: 2, Monthly: 3}
	var taken []time.Time
	var want []string
	for line := range strings.Lines(`
2026-08-31 20:00 | monthly 2026-08
2026-10-30 20:00 |
2026-10-31 20:00 | monthly 2026-10
2026-11-14 20:00 |
2026-11-15 20:00 | weekly 2026-W46
2026-11-20 20:00 | daily 2026-11-20
2026-11-21 08:00 |
2026-11-21 20:00 | daily 2026-11-21
2026-11-22 08:00 | last
2026-11-22 20:00 | last, daily 2026-11-22, weekly 2026-W47, monthly 2026-11
`) {
		at, why, ok := strings.Cut(strings.TrimSpace(line), " |")
		if ok {
			taken, want = append(taken, parisTime(t, at)), append(want, strings.TrimSpace(why))
		}
	}
	if len(taken) != 10 {
		t.Fatalf("%d lines", len(taken))
	}
	got := k.Select(taken, taken[0].Location())
	for i := range taken {
		if got[i] != want[i] {
			t.Errorf("%s: %q, want %q", taken[i].Format("2006-01-02 15:04"), got[i], want[i])
		}
	}
}

func TestKeepRules(t *testing.T) {
	zone := parisTime(t, "2026-01-01 00:00").Location()
	utc := func(text string) time.Time {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	day := func(list ...string) (out []time.Time) {
		for _, s := range list {
			out = append(out, utc(s))
		}
		return out
	}
	for name, c := range map[string]struct {
		keep  *Keep
		zone  *time.Location
		taken []time.Time
		stay  []int
	}{
		"none at all":   {&Keep{Last: 3}, zone, nil, nil},
		"no keep":       {nil, zone, day("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"), []int{0, 1}},
		"fewer":         {&Keep{Last: 3}, nil, day("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"), []int{0, 1}},
		"last of equal": {&Keep{Last: 1}, nil, day("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"), []int{1}},
		// 23:30 UTC is the next day in Paris.
		"a day's end in the zone": {&Keep{Daily: 2}, zone, day("2026-01-01T22:30:00Z", "2026-01-01T23:30:00Z", "2026-01-02T10:00:00Z"), []int{0, 2}},
		"a day's end in UTC":      {&Keep{Daily: 2}, nil, day("2026-01-01T22:30:00Z", "2026-01-01T23:30:00Z", "2026-01-02T10:00:00Z"), []int{1, 2}},
		// A gap costs nothing: two days that have points, whenever they were.
		"gaps": {&Keep{Daily: 2}, nil, day("2025-03-01T00:00:00Z", "2025-03-02T00:00:00Z", "2026-01-02T10:00:00Z"), []int{1, 2}},
		// In Paris 02:00 to 03:00 comes twice on 25 October 2026, first as +02:00 (00:00 UTC).
		"an hour twice": {&Keep{Hourly: 2}, zone, day("2026-10-25T00:10:00Z", "2026-10-25T00:50:00Z", "2026-10-25T01:10:00Z", "2026-10-25T01:50:00Z"), []int{1, 3}},
		// Half an hour off: hours begin at :30 UTC.
		"hours of India": {&Keep{Hourly: 2}, time.FixedZone("IST", 19800), day("2026-01-01T00:20:00Z", "2026-01-01T00:40:00Z", "2026-01-01T01:20:00Z"), []int{0, 2}},
		// 2026-12-31 is a Thursday of week 53, as is 2027-01-03; the 4th is a Monday.
		"weeks over new year": {&Keep{Weekly: 2}, nil, day("2026-12-28T00:00:00Z", "2026-12-31T00:00:00Z", "2027-01-03T23:00:00Z", "2027-01-04T00:00:00Z"), []int{2, 3}},
		"months of two years": {&Keep{Monthly: 2}, nil, day("2025-11-30T00:00:00Z", "2026-11-01T00:00:00Z"), []int{0, 1}},
		"years":               {&Keep{Yearly: 2}, zone, day("2024-06-01T00:00:00Z", "2025-12-31T22:30:00Z", "2025-12-31T23:30:00Z"), []int{1, 2}},
		"years in UTC":        {&Keep{Yearly: 2}, nil, day("2024-06-01T00:00:00Z", "2025-12-31T22:30:00Z", "2025-12-31T23:30:00Z"), []int{0, 2}},
		"rules together":      {&Keep{Last: 1, Yearly: 1}, nil, day("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"), []int{1}},
	} {
		var stay []int
		for i, why := range c.keep.Select(c.taken, c.zone) {
			if why != "" {
				stay = append(stay, i)
			}
		}
		if !slices.Equal(stay, c.stay) {
			t.Errorf("%s: %v stay, want %v", name, stay, c.stay)
		}
	}
}

// Whatever the times: no rule keeps more than its number, the newest stays, and what was
// let go is not missed when it is asked again without it.
func TestKeepHoldsForAnyTimes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 4)
		k := Keep{Last: n.Draw(t, "last"), Hourly: n.Draw(t, "hourly"), Daily: n.Draw(t, "daily"), Weekly: n.Draw(t, "weekly"), Monthly: n.Draw(t, "monthly"), Yearly: n.Draw(t, "yearly")}
		minutes := rapid.SliceOfN(rapid.Int64Range(0, 2_000_000), 0, 60).Draw(t, "minutes")
		slices.Sort(minutes)
		var taken []time.Time
		for _, m := range minutes {
			taken = append(taken, time.Unix(1_790_000_000+60*m, 0))
		}
		why := k.Select(taken, nil)
		var left []time.Time
		var reasons []string
		for i := range taken {
			if why[i] != "" {
				left, reasons = append(left, taken[i]), append(reasons, why[i])
			}
		}
		if most := k.Last + k.Hourly + k.Daily + k.Weekly + k.Monthly + k.Yearly; len(left) > most {
			t.Fatalf("%d stay of at most %d", len(left), most)
		}
		if k != (Keep{}) && len(taken) > 0 && why[len(why)-1] == "" {
			t.Fatal("the newest may go")
		}
		if again := k.Select(left, nil); !slices.Equal(again, reasons) {
			t.Fatalf("asked again: %q, was %q", again, reasons)
		}
	})
}

func TestVolumesMatch(t *testing.T) {
	meta := map[string]string{"dr": "gold", "empty": ""}
	for _, c := range []struct {
		v    Volumes
		want bool
	}{
		{Volumes{All: true}, true},
		{Volumes{IDs: []string{"x", "id"}}, true},
		{Volumes{IDs: []string{"name"}}, false},
		{Volumes{Names: []string{"name"}}, true},
		{Volumes{Names: []string{"id"}}, false},
		{Volumes{Metadata: map[string]string{"dr": "gold"}}, true},
		{Volumes{Metadata: map[string]string{"dr": "gold", "empty": ""}}, true},
		{Volumes{Metadata: map[string]string{"dr": "silver"}}, false},
		{Volumes{Metadata: map[string]string{"dr": "gold", "absent": ""}}, false},
		{Volumes{}, false},
	} {
		if got := c.v.Matches("id", "name", meta); got != c.want {
			t.Errorf("%+v: %v", c.v, got)
		}
	}
}

func TestVolumesShared(t *testing.T) {
	all, ids, names := Volumes{All: true}, Volumes{IDs: []string{"a", "b"}}, Volumes{Names: []string{"n", "m"}}
	gold, more, other := Volumes{Metadata: map[string]string{"dr": "gold"}}, Volumes{Metadata: map[string]string{"dr": "gold", "x": "y"}}, Volumes{Metadata: map[string]string{"dr": "silver"}}
	for _, c := range []struct {
		a, b Volumes
		want string
	}{
		{all, all, "every volume"}, {all, ids, "volume a"}, {all, names, `a volume named "n"`}, {all, gold, "each volume with the metadata {dr: gold}"},
		{ids, Volumes{IDs: []string{"c", "b"}}, "volume b"}, {ids, Volumes{IDs: []string{"c"}}, ""}, {names, Volumes{Names: []string{"m"}}, `a volume named "m"`},
		{gold, more, "each volume with the metadata {dr: gold, x: y}"}, {gold, other, ""}, {gold, gold, "each volume with the metadata {dr: gold}"},
		{ids, names, ""}, {ids, gold, ""}, {names, gold, ""},
	} {
		for range 2 {
			if got := sharedVolumes(&c.a, &c.b); got != c.want {
				t.Errorf("%s: %q, want %q", fmt.Sprint(c.a, c.b), got, c.want)
			}
			c.a, c.b = c.b, c.a
		}
	}
}

// Regions that turn out to be one account share their volumes too.
func TestCheckPlacesOfVolumes(t *testing.T) {
	f, err := Parse("f", []byte(`
regions: {paris: {}, alias: {}, lyon: {}}
policies:
  - {name: a, from: paris, to: [lyon], volumes: {names: [db]}}
  - {name: b, from: alias, to: [lyon], volumes: all}
`))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.CheckPlaces(map[string]string{"paris": "https://a/v1/AUTH_1", "alias": "https://a/v1/AUTH_2"}); err != nil {
		t.Errorf("two accounts: %v", err)
	}
	err = f.CheckPlaces(map[string]string{"paris": "https://a/v1/AUTH_1", "alias": "https://a/v1/AUTH_1"})
	if err == nil || !strings.Contains(err.Error(), `f:5:49: policies[1].volumes: this policy and "a" (in line 4) would both back up a volume named "db" of alias`) {
		t.Errorf("one account: %v", err)
	}
}
