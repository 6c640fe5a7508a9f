package volumes

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"farshore/replicator/report"
)

var dayOne = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// points makes items of short words, one an hour: "f" a full, "a<f" an increment upon
// f; "!" behind it: lost; "~": being made; "^": not landed; "#": held; "+24h": the time
// from the first one.
func points(words string) []item {
	var out []item
	for i, w := range strings.Fields(words) {
		x := item{Volume: "v", Landed: true, Taken: dayOne.Add(time.Duration(i) * time.Hour).UnixMicro()}
		if name, at, ok := strings.Cut(w, "+"); ok {
			d, err := time.ParseDuration(at)
			if err != nil {
				panic(err)
			}
			w, x.Taken = name, dayOne.Add(d).UnixMicro()
		}
		for strings.ContainsAny(w[len(w)-1:], "!~^#") {
			switch w[len(w)-1] {
			case '!':
				x.State = broken
			case '~':
				x.State, x.Landed = busy, false
			case '^':
				x.Landed = false
			case '#':
				x.Hold = "held"
			}
			w = w[:len(w)-1]
		}
		x.Point, x.Parent, _ = strings.Cut(w, "<")
		x.Backup = x.Point
		out = append(out, x)
	}
	return out
}

// keepLast chooses the last n and, of each of the last days that have one, the newest.
func keepLast(n, days int) func([]time.Time) []string {
	return func(taken []time.Time) []string {
		out := make([]string, len(taken))
		day, left := "", days
		for i := len(taken) - 1; i >= 0; i-- {
			if d := taken[i].Format(time.DateOnly); left > 0 && d != day {
				out[i], day = "daily", d
				left--
			}
			if len(taken)-i <= n {
				out[i] = "last"
			}
		}
		return out
	}
}

func keepAll(taken []time.Time) []string {
	return slices.Repeat([]string{"all"}, len(taken))
}

func told(verdicts []report.Fate) []string {
	var out []string
	for _, v := range verdicts {
		out = append(out, fmt.Sprintf("%s %s: %s", v.Act, v.Point, v.Why))
	}
	return out
}

func TestDecide(t *testing.T) {
	unwanted := "no rule of keep chooses it"
	for name, c := range map[string]struct {
		points string
		choose func([]time.Time) []string
		bound  int
		want   []string
	}{
		"nothing": {choose: keepLast(1, 0)},
		"no keep keeps all": {points: "f a<f b<a", choose: keepAll, want: []string{
			"keep f: all", "keep a: all", "keep b: all"}},
		"parents stay": {points: "f a<f b<a c<b", choose: keepLast(2, 0), want: []string{
			"keep f: a parent of b", "keep a: a parent of b", "keep b: last", "keep c: last"}},
		"increments go before their parents": {points: "f a<f b<a g c<g", choose: keepLast(2, 0), want: []string{
			"delete b: " + unwanted, "delete a: " + unwanted, "delete f: " + unwanted, "keep g: last", "keep c: last"}},
		"a branch goes, its stem stays": {points: "f a<f b<f c<b", choose: keepLast(1, 0), want: []string{
			"delete a: " + unwanted, "keep f: a parent of c", "keep b: a parent of c", "keep c: last"}},
		"the newest stays, whatever keep says": {points: "f g", choose: keepLast(0, 0), want: []string{
			"delete f: " + unwanted, "keep g: the newest"}},
		"the newest that is landed, too": {points: "e f g^", choose: keepLast(1, 0), want: []string{
			"delete e: " + unwanted, "keep f: last", "keep g: not landed yet"}},
		"what is not landed takes nobody's place": {points: "a b c d^ e<d f^", choose: keepLast(2, 0), want: []string{
			"delete a: " + unwanted, "keep b: last", "keep c: last", "keep d: a parent of e", "keep e: not landed yet", "keep f: not landed yet"}},
		"held": {points: "e# f# g", choose: keepLast(1, 0), want: []string{
			"keep e: held", "keep f: held", "keep g: last"}},
		"what is being made takes nobody's place and keeps its parents": {points: "e f g<e~", choose: keepLast(1, 0), want: []string{
			"keep e: a parent of g", "keep f: last", "keep g: being made"}},
		"what is lost takes nobody's place": {points: "e f g h! i<h", choose: keepLast(2, 0), want: []string{
			"delete e: " + unwanted, "keep f: last", "keep g: last", "keep h: lost; audit --repair sends it again", "keep i: lost; audit --repair sends it again"}},
		"what was lost long ago goes": {points: "e! f g", choose: keepLast(2, 0), want: []string{
			"delete e: " + unwanted, "keep f: last", "keep g: last"}},
		"a parent that nobody knows": {points: "b<a g", choose: keepLast(1, 0), want: []string{
			"delete b: " + unwanted, "keep g: last"}},
		"no bound at the source": {points: "f a<f b<a c<b", choose: keepLast(1, 0), want: []string{
			"keep f: a parent of c", "keep a: a parent of c", "keep b: a parent of c", "keep c: last"}},
		"at the bound": {points: "f a<f b<a", choose: keepLast(1, 0), bound: 3, want: []string{
			"keep f: a parent of b", "keep a: a parent of b", "keep b: last"}},
		"past the bound": {points: "f a<f b<a c<b", choose: keepLast(1, 0), bound: 3, want: []string{
			"synthesize c: a restore needs 4 backups, and max_chain is 3",
			"delete b: " + unwanted, "delete a: " + unwanted, "delete f: " + unwanted}},
		"past the bound, the old chain still in use": {points: "f a<f b<a c<b", choose: keepLast(2, 0), bound: 3, want: []string{
			"synthesize c: a restore needs 4 backups, and max_chain is 3",
			"keep f: a parent of b", "keep a: a parent of b", "keep b: last"}},
		"past the bound, while an increment is on its way": {points: "f a<f b<a c<b d<c~", choose: keepLast(1, 0), bound: 3, want: []string{
			"keep f: a parent of c", "keep a: a parent of c", "keep b: a parent of c", "keep c: last", "keep d: being made"}},
		"nor while one is not landed yet": {points: "f a<f b<a c<b^", choose: keepLast(1, 0), bound: 2, want: []string{
			"keep f: a parent of b", "keep a: a parent of b", "keep b: last", "keep c: not landed yet"}},
		// b is the first day's last point, which stays for a week of days; c and the rest
		// of its chain do not.
		"one that stays for long loses its parents": {points: "f+20h a<f+22h b<a+23h c<b+25h g+26h h<g+27h", choose: keepLast(2, 7), bound: 8, want: []string{
			"delete c: " + unwanted,
			"synthesize b: it stays (daily), and nothing else needs its parents",
			"delete a: " + unwanted, "delete f: " + unwanted,
			"keep g: last", "keep h: last"}},
		"but not one that goes soon": {points: "f a<f b<a g h<g", choose: keepLast(3, 0), bound: 8, want: []string{
			"keep f: a parent of b", "keep a: a parent of b", "keep b: last", "keep g: last", "keep h: last"}},
		// Both b and d stay for long, and d's chain goes over b: d first, then b.
		"two of one chain": {points: "f+21h a<f+22h b<a+23h c<b+25h d<c+47h g+49h", choose: keepLast(1, 7), bound: 8, want: []string{
			"synthesize d: it stays (daily), and nothing else needs its parents",
			"delete c: " + unwanted,
			"synthesize b: it stays (daily), and nothing else needs its parents",
			"delete a: " + unwanted, "delete f: " + unwanted,
			"keep g: last"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := side{Region: "lyon", Items: points(c.points), Choose: c.choose, MaxChain: c.bound}
			if d := cmp.Diff(c.want, told(s.decide())); d != "" {
				t.Error(d)
			}
		})
	}
}

// Whatever the chains and the rules, verdicts can be carried out in their order with
// nothing that stays ever short of a parent.
func TestDecideNeverBreaksAChain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 14).Draw(t, "points")
		items := make([]item, n)
		for i := range items {
			x := item{Volume: "v", Point: fmt.Sprint(i), Backup: fmt.Sprint(i), Taken: dayOne.Add(time.Duration(i) * 5 * time.Hour).UnixMicro()}
			if p := rapid.IntRange(-2, i-1).Draw(t, "parent"); p >= 0 {
				x.Parent = fmt.Sprint(p)
			}
			x.State = rapid.SampledFrom([]itemState{present, present, present, present, busy, broken}).Draw(t, "state")
			x.Landed = x.State != busy && rapid.IntRange(0, 5).Draw(t, "landed") > 0
			if rapid.IntRange(0, 9).Draw(t, "held") == 0 {
				x.Hold = "held"
			}
			items[i] = x
		}
		s := side{Region: "lyon", Items: items, Choose: keepLast(rapid.IntRange(0, 4).Draw(t, "last"), rapid.IntRange(0, 3).Draw(t, "daily")),
			MaxChain: rapid.IntRange(0, 4).Draw(t, "bound")}
		verdicts := s.decide()
		tr := newTree(items)
		why := s.wanted(tr)
		there := map[string]string{} // backup: its parent
		for _, x := range items {
			there[x.Backup] = x.Parent
		}
		upon := func(b string) (out []string) {
			for c, p := range there {
				if p == b {
					out = append(out, c)
				}
			}
			return out
		}
		seen := map[string]int{}
		for _, v := range verdicts {
			seen[v.Point]++
			switch v.Act {
			case report.Delete:
				if u := upon(v.Point); len(u) > 0 {
					t.Fatalf("%s is deleted before %v: %v", v.Point, u, told(verdicts))
				}
				delete(there, v.Point)
			case report.Synthesize:
				if u := upon(v.Point); len(u) > 0 {
					t.Fatalf("%s is made a full under %v: %v", v.Point, u, told(verdicts))
				}
				for p := there[v.Point]; p != ""; p = there[p] {
					if _, ok := there[p]; !ok {
						t.Fatalf("%s cannot be made a full without %s: %v", v.Point, p, told(verdicts))
					}
				}
				there[v.Point] = ""
			}
		}
		for i, x := range items {
			if seen[x.Point] != 1 {
				t.Fatalf("%s has %d verdicts: %v", x.Point, seen[x.Point], told(verdicts))
			}
			if why[i] == "" {
				continue
			}
			parent, ok := there[x.Backup]
			if !ok {
				t.Fatalf("%s is wanted (%s) and gone: %v", x.Point, why[i], told(verdicts))
			}
			if _, ok := there[parent]; parent != "" && !ok && tr.whole[i] {
				t.Fatalf("%s lost its parent %s: %v", x.Point, parent, told(verdicts))
			}
		}
	})
}
