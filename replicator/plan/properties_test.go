package plan

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"farshore/store"
	"farshore/transport"
)

func TestContainerProperties(t *testing.T) {
	h := transport.Header{"X-Container-Meta-Colour": "red", "X-Container-Meta-Quota-Bytes": "5", "X-Container-Meta-Access-Control-Allow-Origin": "*",
		"X-Container-Meta-Web-Index": "i.html", "X-Container-Read": ".r:*,p1:*,p9:*", "X-Container-Write": "p1:u1", transport.PolicyHeader: "gold",
		"X-Versions-Enabled": "True", "X-Versions-Location": "v", "X-History-Location": "h"}
	keys := transport.Header{"X-Container-Meta-Temp-Url-Key": "k"}
	got := ContainerProperties(h, keys, IDs{Projects: map[string]string{"p1": "q1"}, Users: map[string]string{"u1": "v1"}})
	want := []Property{
		{Name: "X-Container-Meta-Access-Control-Allow-Origin", Source: "*", Value: "*"},
		{Name: "X-Container-Meta-Colour", Source: "red", Value: "red"},
		{Name: "X-Container-Meta-Quota-Bytes", Source: "5", Value: "5"},
		{Name: "X-Container-Meta-Temp-Url-Key", Source: "k", Value: "k"},
		{Name: "X-Container-Meta-Web-Index", Source: "i.html", Value: "i.html"},
		{Name: "X-Container-Read", Source: ".r:*,p1:*,p9:*", Value: ".r:*,q1:*", Mapped: []string{"project p1 → q1"}, Lost: []string{"project p9"}},
		{Name: "X-Container-Write", Source: "p1:u1", Value: "q1:v1", Mapped: []string{"project p1 → q1", "user u1 → v1"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAccountProperties(t *testing.T) {
	h := transport.Header{"X-Account-Meta-Team": "web", "X-Account-Meta-Quota-Bytes": "7"}
	keys := transport.Header{"X-Account-Meta-Temp-Url-Key": "k"}
	for _, c := range []struct {
		metadata, quotas bool
		want             string
	}{{false, false, ""}, {true, false, "Team Temp-Url-Key"}, {false, true, "Quota-Bytes"}, {true, true, "Quota-Bytes Team Temp-Url-Key"}} {
		var names []string
		for _, p := range AccountProperties(h, keys, c.metadata, c.quotas) {
			names = append(names, strings.TrimPrefix(p.Name, "X-Account-Meta-"))
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("metadata %v quotas %v: %q, not %q", c.metadata, c.quotas, got, c.want)
		}
	}
}

// TestMerge decides one property, m, for everything that can have become of it at both
// ends since they agreed.
func TestMerge(t *testing.T) {
	const me, other = store.RouteID(1), store.RouteID(2)
	dig := func(v string) string { return PropertyDigest("m", v) }
	was := func(v string) *string { d := dig(v); return &d }
	at := func(from, to string, by store.RouteID) *Agreed { return &Agreed{From: dig(from), To: dig(to), By: by} }
	for _, c := range []struct {
		name                string
		source, want, there string
		base                *Agreed
		both, takeover      bool
		does                string // "set v", "remove", "conflict", "foreign", "drifted", ""
		next                *Agreed
	}{
		{name: "new at the source", source: "a", want: "a", does: "set a", next: at("a", "a", me)},
		{name: "there already", source: "a", want: "a", there: "a", next: at("a", "a", me)},
		{name: "others have set another there", source: "a", want: "a", there: "x", does: "conflict"},
		{name: "and may be overwritten", source: "a", want: "a", there: "x", takeover: true, does: "set a", next: at("a", "a", me)},
		{name: "only others have it", there: "x", does: "foreign"},
		{name: "only others have it, who may be overwritten", there: "x", takeover: true, does: "foreign"},
		{name: "only the other end of a pair has it", there: "x", both: true},
		{name: "nothing of an ACL is left", source: "a", want: "", there: "x", does: "foreign"},
		{name: "unchanged", source: "a", want: "a", there: "a", base: at("a", "a", me), next: at("a", "a", me)},
		{name: "changed at the source", source: "b", want: "b", there: "a", base: at("a", "a", me), does: "set b", next: at("b", "b", me)},
		{name: "changed at both ends", source: "b", want: "b", there: "x", base: at("a", "a", me), does: "conflict", next: at("a", "a", me)},
		{name: "changed at both ends, taken over", source: "b", want: "b", there: "x", base: at("a", "a", me), takeover: true, does: "set b", next: at("b", "b", me)},
		{name: "changed to the same at both ends", source: "b", want: "b", there: "b", base: at("a", "a", me), next: at("b", "b", me)},
		{name: "removed at the source", there: "a", base: at("a", "a", me), does: "remove"},
		{name: "removed at both ends", base: at("a", "a", me)},
		{name: "removed at the source, changed there", there: "x", base: at("a", "a", me), does: "conflict", next: at("a", "a", me)},
		{name: "changed there only", source: "a", want: "a", there: "x", base: at("a", "a", me), does: "drifted", next: at("a", "a", me)},
		{name: "removed there only", source: "a", want: "a", base: at("a", "a", me), does: "drifted", next: at("a", "a", me)},
		{name: "changed there only, taken over", source: "a", want: "a", there: "x", base: at("a", "a", me), takeover: true, does: "set a", next: at("a", "a", me)},
		{name: "changed there only, which the way back carries", source: "a", want: "a", there: "x", base: at("a", "a", me), both: true, takeover: true, next: at("a", "a", me)},
		{name: "mapped in another way now", source: "a", want: "b2", there: "b1", base: at("a", "b1", me), does: "set b2", next: at("a", "b2", me)},
		{name: "what an id was mapped to has no entry any more", source: "a", there: "b1", base: at("a", "b1", me), does: "remove", next: at("a", "", me)},
		// the way back: the pair agreed by the other direction
		{name: "back: unchanged", source: "b", want: "b", there: "a", base: at("b", "a", other), both: true, next: at("b", "a", other)},
		{name: "back: unchanged, and less is left of it on the way back", source: "b", want: "", there: "a", base: at("b", "a", other), both: true, next: at("b", "a", other)},
		{name: "back: changed here only", source: "c", want: "c", there: "a", base: at("b", "a", other), both: true, does: "set c", next: at("c", "c", me)},
		{name: "back: changed there only", source: "b", want: "b", there: "x", base: at("b", "a", other), both: true, next: at("b", "a", other)},
		{name: "back: changed at both ends", source: "c", want: "c", there: "x", base: at("b", "a", other), both: true, does: "conflict", next: at("b", "a", other)},
		{name: "back: removed here", there: "a", base: at("b", "a", other), both: true, does: "remove"},
		// a run that died beside its write
		{name: "died before the write", source: "a", want: "a", base: &Agreed{From: dig("a"), To: dig("a"), By: me, Was: was("")}, does: "set a", next: at("a", "a", me)},
		{name: "died after the write", source: "a", want: "a", there: "a", base: &Agreed{From: dig("a"), To: dig("a"), By: me, Was: was("")}, next: at("a", "a", me)},
		{name: "died before the write, the source changed again", source: "c", want: "c", there: "a", base: &Agreed{From: dig("b"), To: dig("b"), By: me, Was: was("a")}, does: "set c", next: at("c", "c", me)},
		{name: "died before a removal", there: "a", base: &Agreed{By: me, Was: was("a")}, does: "remove"},
		{name: "died, and others changed it", source: "a", want: "a", there: "x", base: &Agreed{From: dig("a"), To: dig("a"), By: me, Was: was("")}, does: "drifted",
			next: &Agreed{From: dig("a"), To: dig("a"), By: me, Was: was("")}},
	} {
		m := Merge{There: transport.Header{}, Base: map[string]Agreed{}, Me: me, Both: c.both, Takeover: c.takeover}
		if c.source != "" {
			m.Want = []Property{{Name: "m", Source: c.source, Value: c.want}}
		}
		if c.there != "" {
			m.There["m"] = c.there
		}
		if c.base != nil {
			m.Base["m"] = *c.base
		}
		out := m.Do()
		var does []string
		for n, v := range out.Set {
			does = append(does, "set "+v)
			if n != "m" {
				t.Errorf("%s: sets %s", c.name, n)
			}
		}
		for what, names := range map[string][]string{"remove": out.Remove, "conflict": out.Conflicts, "foreign": out.Foreign, "drifted": out.Drifted} {
			if len(names) > 0 {
				does = append(does, what)
			}
		}
		if got := strings.Join(does, ", "); got != c.does {
			t.Errorf("%s: %q, not %q", c.name, got, c.does)
		}
		next := map[string]Agreed{}
		if c.next != nil {
			next["m"] = *c.next
		}
		if diff := cmp.Diff(next, out.Next); diff != "" {
			t.Errorf("%s: agreed afterwards: %s", c.name, diff)
		}
	}
}

// TestMergeComesToRest drives two ends and both directions through random changes: when
// nobody changes anything any more, no direction does, and nothing goes back and forth.
func TestMergeComesToRest(t *testing.T) {
	for seed := range 400 {
		value := [2]string{}
		agreed := map[string]Agreed{} // in the view of direction 0, from end 0 to end 1
		pass := func(dir int) (changed bool, conflict bool) {
			m := Merge{There: transport.Header{}, Base: map[string]Agreed{}, Me: store.RouteID(1 + dir), Both: true}
			if v := value[dir]; v != "" {
				m.Want = []Property{{Name: "m", Source: v, Value: v}}
			}
			if v := value[1-dir]; v != "" {
				m.There["m"] = v
			}
			for n, a := range agreed {
				if dir == 1 {
					a = a.Flip()
				}
				m.Base[n] = a
			}
			out := m.Do()
			for _, v := range out.Set {
				value[1-dir] = v
			}
			if len(out.Remove) > 0 {
				value[1-dir] = ""
			}
			agreed = map[string]Agreed{}
			for n, a := range out.Next {
				if dir == 1 {
					a = a.Flip()
				}
				agreed[n] = a
			}
			return out.Changes() > 0, len(out.Conflicts) > 0
		}
		state, history := uint64(seed)*2654435761+1, ""
		random := func(n uint64) uint64 { state = state*6364136223846793005 + 1442695040888963407; return state >> 33 % n }
		for range 12 {
			switch random(4) {
			case 0, 1:
				end := random(2)
				value[end] = []string{"", "a", "b", "c"}[random(4)]
				history += fmt.Sprintf(" end %d is %q;", end, value[end])
			case 2:
				pass(0)
				history += " there;"
			case 3:
				pass(1)
				history += " back;"
			}
		}
		pass(0)
		pass(1)
		for round := range 3 {
			for dir := range 2 {
				before := value
				changed, conflict := pass(dir)
				if changed {
					t.Fatalf("seed %d:%s round %d, direction %d: %q → %q after everything was carried", seed, history, round, dir, before, value)
				}
				if value[0] != value[1] && !conflict {
					t.Fatalf("seed %d:%s the ends stay %q without a conflict", seed, history, value)
				}
			}
		}
	}
}
