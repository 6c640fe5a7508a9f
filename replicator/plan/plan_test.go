package plan

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"farshore/store"
	"farshore/transport"
	"farshore/transport/chunk"
)

// The route of the tests, and the one the other way.
const (
	there = store.RouteID(1)
	back  = store.RouteID(2)
)

// TestDiff says every rule in one line. A version is content,seconds: a,1. The
// words are
//
//	src:a,1[,kind]        the source's listing
//	rec:a,1[,missing]     the ledger's record, with at most one replica:
//	ok:a,1,w3[,z]         confirmed, written at 3 s, with ETag z at the destination if it is another
//	lost:a,1,w3  conflict:a,1,z  cannot:a,1[,z]
//	dst:a,3[,kind]  dst:- the destination's row, or that it has none; without either it was not listed
//	intent:a[,cut]        a copy of a was begun; cut: in chunks
//	back:b,3[,missing]    the record of the destination's object as a source, with
//	bok:b,3,w1[,z]        its confirmed replica here
//	takeover  deletes  now:100
//
// Sizes follow from the content: "a" is 1 byte, "b" 2 and so on.
func TestDiff(t *testing.T) {
	for _, c := range []struct{ rule, given, want string }{
		// First contact: what stands at the destination decides.
		{"new, the destination has nothing", "src:a,1 dst:-", "copy new"},
		{"new, the destination was never listed", "src:a,1", "copy new"},
		{"identical content is adopted", "src:a,1 dst:a,9", "adopt a,9"},
		{"other content is a conflict", "src:a,1 dst:z,9", "conflict z"},
		{"of the same content, a manifest is not it", "src:a,1 dst:a,9,slo", "conflict a"},
		{"takeover overwrites what is not ours", "src:a,1 dst:z,9 takeover", "copy"},
		{"takeover sends nothing that is there already", "src:a,1 dst:a,9 takeover", "adopt a,9"},

		// Later passes: no listing of the destination.
		{"unchanged", "src:a,1 rec:a,1 ok:a,1,w3", "none"},
		{"changed", "src:b,2 rec:a,1 ok:a,1,w3", "copy"},
		{"touched: the same content, a newer time", "src:a,2 rec:a,1 ok:a,1,w3", "meta"},
		{"recorded for another destination only", "src:a,1 rec:a,1", "copy new"},
		{"the ledger knows a newer source, the copy is older", "src:b,2 rec:b,2 ok:a,1,w3", "copy"},

		// The same once somebody looked at the destination (guard, opposite route).
		{"changed, our copy stands there", "src:b,2 rec:a,1 ok:a,1,w3 dst:a,3", "copy"},
		{"changed, our copy was edited there", "src:b,2 rec:a,1 ok:a,1,w3 dst:z,9", "conflict z"},
		{"changed, our copy was removed there", "src:b,2 rec:a,1 ok:a,1,w3 dst:-", "copy new"},
		{"changed on both sides to the same", "src:b,2 rec:a,1 ok:a,1,w3 dst:b,9", "adopt b,9"},
		{"touched, our copy was edited there", "src:a,2 rec:a,1 ok:a,1,w3 dst:z,9", "conflict z"},
		{"touched, our copy was removed there", "src:a,2 rec:a,1 ok:a,1,w3 dst:-", "copy new"},
		{"touched, our copy stands there", "src:a,2 rec:a,1 ok:a,1,w3 dst:a,3", "meta"},
		{"unchanged, edited there: no pass's business", "src:a,1 rec:a,1 ok:a,1,w3 dst:z,9", "none"},
		{"unchanged, removed there: an audit's business", "src:a,1 rec:a,1 ok:a,1,w3 dst:-", "none"},

		// Segmented copies have an ETag of their own.
		{"segmented, unchanged", "src:a,1 rec:a,1 ok:a,1,w3,s dst:s,3,slo", "none"},
		{"segmented, touched", "src:a,2 rec:a,1 ok:a,1,w3,s dst:s,3,slo", "meta"},
		{"segmented, changed", "src:b,2 rec:a,1 ok:a,1,w3,s dst:s,3,slo", "copy"},
		{"segmented, edited there", "src:b,2 rec:a,1 ok:a,1,w3,s dst:z,9,slo", "conflict z"},

		// The source's listing lags (R2).
		{"an older row than the ledger's is ignored", "src:a,1 rec:b,2 ok:b,2,w3 now:9", "none"},
		{"also where a destination lacks it", "src:a,1 rec:b,2 now:9", "none"},
		{"after a day it is believed", "src:a,1 rec:b,2 ok:b,2,w3 now:86403", "copy"},
		{"a row of the same time is not old", "src:b,2 rec:b,2 now:9", "copy new"},

		// The destination's listing lags behind our own write.
		{"an older row than our write", "src:c,20 rec:b,10 ok:b,10,w15 dst:a,5", "copy"},
		{"an older row that looks like an edit", "src:c,20 rec:b,10 ok:b,10,w15 dst:z,14", "copy"},
		{"an older row with this very content: we overwrote it since", "src:a,20 rec:b,10 ok:b,10,w15 dst:a,5", "copy"},
		{"touched, and an older row with this very content", "src:a,20 rec:a,10 ok:a,10,w15 dst:a,5", "meta"},
		{"a row of the second of our write: ask by name", "src:c,20 rec:b,10 ok:b,10,w15 dst:z,15", "recheck"},
		{"the same with takeover", "src:c,20 rec:b,10 ok:b,10,w15 dst:z,15 takeover", "copy"},
		{"a row newer than our write is an edit", "src:c,20 rec:b,10 ok:b,10,w15 dst:z,16", "conflict z"},
		{"our write is not listed yet", "src:c,20 rec:b,10 ok:b,10,w15 dst:-", "copy new"},

		// Conflicts of earlier passes.
		{"a conflict is asked for by name", "src:a,1 rec:a,1 conflict:a,1,z", "recheck"},
		{"also when the source changed", "src:b,2 rec:a,1 conflict:a,1,z", "recheck"},
		{"with takeover it is overwritten", "src:a,1 rec:a,1 conflict:a,1,z takeover", "copy"},
		{"listed, it still stands", "src:a,1 rec:a,1 conflict:a,1,z dst:z,9", "conflict z"},
		{"listed, another stands there", "src:a,1 rec:a,1 conflict:a,1,z dst:y,9", "conflict y"},
		{"listed, it was removed", "src:a,1 rec:a,1 conflict:a,1,z dst:-", "copy new"},
		{"listed, the source took over its content", "src:z,2 rec:a,1 conflict:a,1,z dst:z,9", "adopt z,9"},
		{"what stood in the conflict is never ours", "src:b,2 rec:a,1 conflict:a,1,z dst:z,9", "conflict z"},
		{"a conflict's own version is not ours either", "src:b,2 rec:a,1 conflict:a,1,z dst:a,9", "conflict a"},

		// What an audit found (Lost).
		{"lost", "src:a,1 rec:a,1 lost:a,1,w3", "copy"},
		{"lost, nothing stands there", "src:a,1 rec:a,1 lost:a,1,w3 dst:-", "copy new"},
		{"lost, listed as if whole: the bytes are bad", "src:a,1 rec:a,1 lost:a,1,w3 dst:a,3", "copy"},
		{"lost, and changed at the source", "src:b,2 rec:a,1 lost:a,1,w3 dst:a,3", "copy"},
		{"lost, and replaced by others", "src:a,1 rec:a,1 lost:a,1,w3 dst:z,9", "conflict z"},
		{"lost, segmented", "src:a,1 rec:a,1 lost:a,1,w3,s dst:s,3,slo", "copy"},
		{"lost, first made over there, bytes bad", "src:a,1 rec:a,1 lost:a,1,w3 dst:a,3 back:a,3 bok:a,3,w1", "copy"},
		{"lost, first made over there, gone", "src:a,1 rec:a,1 lost:a,1,w3 dst:- back:a,3 bok:a,3,w1", "copy new"},

		// Kinds that are not carried.
		{"a static large object is copied as any other", "src:a,1,slo", "copy new"},
		{"a symlink, too", "src:a,1,symlink dst:-", "copy new"},
		{"said once", "src:a,1,slo rec:a,1 cannot:a,1", "none"},
		{"a DLO looks plain in a listing", "src:a,1 rec:a,1 cannot:a,1", "none"},
		{"tried again for another version", "src:b,2,slo rec:a,1 cannot:a,1", "copy new"},
		{"plain again", "src:b,2 rec:a,1 cannot:a,1", "copy new"},
		{"plain again, and our older copy stands there", "src:c,3 rec:b,2 cannot:b,2,a dst:a,3", "copy"},
		{"plain again, our older copy, not listed", "src:c,3 rec:b,2 cannot:b,2,a", "copy"},
		{"plain again, others wrote there", "src:c,3 rec:b,2 cannot:b,2,a dst:z,9", "conflict z"},

		// Copies that an earlier run began.
		{"begun, and nothing there", "src:a,1 intent:a dst:-", "copy new"},
		{"begun, and it arrived", "src:a,1 intent:a dst:a,9", "adopt a,9"},
		{"begun, it arrived, and the source changed since", "src:b,2 intent:a dst:a,9", "copy"},
		{"begun, and others wrote there", "src:a,1 intent:a dst:z,9", "conflict z"},
		{"begun in chunks: a manifest of that size may be ours", "src:a,1 intent:a,cut dst:s,9,slo/1", "copy new"},
		{"begun in chunks: a manifest of another size is not", "src:a,1 intent:a,cut dst:s,9,slo", "conflict s"},
		{"begun in chunks: a plain object is not", "src:a,1 intent:a,cut dst:z,9", "conflict z"},

		// The way back. A sent a to B; B is a source now, and A the destination.
		{"home: our own write is not news", "src:a,3 dst:a,1 back:a,1 bok:a,1,w3", "adopt a,1"},
		{"home, segmented", "src:s,3 dst:a,1 back:a,1 bok:a,1,w3,s", "adopt a,1"},
		{"edited here since", "src:b,9 dst:a,1 back:a,1 bok:a,1,w3", "copy"},
		{"edited here since, not the first way back", "src:b,9 rec:a,3 ok:a,3,w1 dst:a,1 back:a,1 bok:a,1,w3", "copy"},
		{"touched here since", "src:a,9 dst:a,1 back:a,1 bok:a,1,w3", "meta"},
		{"edited there since: the other direction carries it", "src:a,3 dst:b,5 back:a,1 bok:a,1,w3", "none"},
		{"edited there, and carried here and on again", "src:a,3 rec:a,3 ok:a,3,w1 dst:b,5 back:b,5 bok:a,1,w3", "none"},
		{"edited on both sides", "src:b,9 dst:c,5 back:a,1 bok:a,1,w3", "conflict c"},
		{"edited on both sides, not the first way back", "src:b,9 rec:a,3 ok:a,3,w1 dst:c,5 back:a,1 bok:a,1,w3", "conflict c"},
		{"edited on both sides to the same", "src:b,9 dst:b,5 back:a,1 bok:a,1,w3", "adopt b,5"},
		{"deleted there: the other direction carries it", "src:a,3 dst:- back:a,1 bok:a,1,w3", "none"},
		{"lost there, and on its way back already", "src:a,3 dst:- back:a,1 bok:a,1,w3 intent:a", "copy new"},
		{"deleted there, edited here: the edit wins", "src:b,9 dst:- back:a,1 bok:a,1,w3", "copy new"},
		{"deleted there, touched here: the touch wins", "src:a,9 dst:- back:a,1 bok:a,1,w3", "copy new"},
		{"the listing here lags behind our own write here", "src:a,5 dst:b,3 back:b,3 bok:b,3,w7", "none"},
		{"the same, changed there since", "src:a,5 dst:c,9 back:b,3 bok:b,3,w7", "none"},
		{"after a day it is believed", "src:a,5 dst:b,3 back:b,3 bok:b,3,w7 now:86407", "copy"},
		{"an edit in the second of our write", "src:a,7 dst:b,3 back:b,3 bok:b,3,w7", "copy"},
		{"there it changed again after our write", "src:b,9 dst:c,7 back:c,7 bok:a,1,w3", "conflict c"},
		{"there is an edit that the other direction knows as a conflict", "src:b,9 rec:b,9 conflict:b,9,c dst:c,5 back:c,5", "conflict c"},
		{"unedited there, and its last copy here was edited", "src:c,9 rec:a,3 ok:a,3,w1 dst:b,5 back:b,5 bok:b,5,w7", "copy"},

		// Deletes.
		{"gone here", "rec:a,1 ok:a,1,w3", "gone"},
		{"gone here, known", "rec:a,1,missing ok:a,1,w3", "none"},
		{"listed again after it was missing", "src:a,1 rec:a,1,missing ok:a,1,w3", "none"},
		{"deleted here, never recorded: the delete may travel", "dst:a,1 back:a,1 bok:a,1,w3 deletes", "inherit a,3,w1"},
		{"the same, segmented here", "dst:a,1 back:a,1 bok:a,1,w3,s deletes", "inherit s,3,w1,a"},
		{"not where deletes do not travel", "dst:a,1 back:a,1 bok:a,1,w3", "none"},
		{"not when it was edited there", "dst:b,5 back:a,1 bok:a,1,w3 deletes", "none"},
		{"not when it is gone there too", "dst:- back:a,1 bok:a,1,w3 deletes", "none"},
		{"not when the edit there is on its way here", "dst:b,5 back:b,5 bok:a,1,w3 deletes", "none"},
		{"not when it is missing there", "dst:a,1 back:a,1,missing bok:a,1,w3 deletes", "none"},
		{"not when the destination was not listed", "back:a,1 bok:a,1,w3 deletes", "none"},
		{"not what was never sent here", "dst:a,1 back:a,1 deletes", "none"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s, o := parse(t, c.given)
			if got := format(Diff(s, o)); got != c.want {
				t.Errorf("%s\n got %s\nwant %s", c.given, got, c.want)
			}
		})
	}
}

// Destinations are decided one by one.
func TestDiffManyDestinations(t *testing.T) {
	s, o := parse(t, "src:b,2 rec:a,1 ok:a,1,w3")
	s.Record.SetReplica(store.Replica{Route: 3, State: store.Confirmed, Version: VersionOf(s.Entry)})
	s.Record.SetReplica(store.Replica{Route: 5, State: store.Conflict, Version: version("a", 1), ETag: etag("z")})
	s.Dests = append(s.Dests, Dest{Route: 3}, Dest{Route: 4}, Dest{Route: 5})
	var got []string
	for _, r := range Diff(s, o).Routes {
		got = append(got, fmt.Sprintf("%d %s %v", r.Route, r.Action, r.IfAbsent))
	}
	if want := "1 copy false, 4 copy true, 5 recheck false"; strings.Join(got, ", ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, ", "), want)
	}
}

// Two pure calls give the same, and leave what they were given alone.
func TestDiffKeepsItsHandsOff(t *testing.T) {
	given := "src:b,9 rec:a,3 ok:a,3,w1 dst:c,5 back:a,1 bok:a,1,w3 intent:b takeover deletes"
	s, o := parse(t, given)
	first := format(Diff(s, o))
	if second := format(Diff(s, o)); first != second {
		t.Errorf("first %s, then %s", first, second)
	}
	fresh, _ := parse(t, given)
	if fmt.Sprintf("%+v %+v", *s.Record, *s.Dests[0].Back) != fmt.Sprintf("%+v %+v", *fresh.Record, *fresh.Dests[0].Back) {
		t.Error("Diff changed its subject")
	}
}

func etag(letter string) string { return strings.Repeat(letter, 32) }

func size(letter string) int64 { return int64(letter[0]-'a') + 1 }

func version(letter string, seconds int64) store.Version {
	return store.Version{ETag: etag(letter), Modified: seconds * 1e6}
}

func parse(t *testing.T, given string) (Subject, Options) {
	t.Helper()
	s := Subject{Name: "n"}
	o := Options{Now: 1000 * 1e6}
	d := Dest{Route: there}
	number := func(text string) int64 {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", given, err)
		}
		return n
	}
	entry := func(f []string) *transport.Entry {
		e := &transport.Entry{Name: s.Name, ETag: etag(f[0]), Size: size(f[0]), Modified: time.Unix(number(f[1]), 0).UTC(), Kind: transport.Plain}
		if len(f) > 2 {
			kind, bytes, ok := strings.Cut(f[2], "/")
			if e.Kind = transport.Kind(kind); ok {
				e.Size = number(bytes)
			}
		}
		return e
	}
	object := func(f []string) *store.Object {
		x := &store.Object{Name: s.Name, Version: version(f[0], number(f[1])), Size: size(f[0])}
		if len(f) > 2 {
			x.Missing = 1
		}
		return x
	}
	replica := func(route store.RouteID, state store.ReplicaState, f []string) store.Replica {
		r := store.Replica{Route: route, State: state, Version: version(f[0], number(f[1]))}
		for _, x := range f[2:] {
			if w, ok := strings.CutPrefix(x, "w"); ok && w != "" {
				r.Written = number(w) * 1e6
			} else {
				r.ETag = etag(x)
			}
		}
		return r
	}
	states := map[string]store.ReplicaState{"ok": store.Confirmed, "lost": store.Lost, "conflict": store.Conflict, "cannot": store.Cannot}
	for _, word := range strings.Fields(given) {
		key, rest, _ := strings.Cut(word, ":")
		f := strings.Split(rest, ",")
		switch key {
		case "src":
			s.Entry = entry(f)
		case "rec":
			s.Record = object(f)
		case "ok", "lost", "conflict", "cannot":
			s.Record.SetReplica(replica(there, states[key], f))
		case "dst":
			if d.Listed = true; rest != "-" {
				d.Entry = entry(f)
			}
		case "intent":
			d.Intent = &store.Intent{Route: there, Name: s.Name, ETag: etag(f[0]), Size: size(f[0])}
			if len(f) > 1 {
				d.Intent.Layout = chunk.Layout{Size: size(f[0]), Chunk: 1}
			}
		case "back":
			d.Back, d.BackRoute = object(f), back
		case "bok":
			d.Back.SetReplica(replica(back, store.Confirmed, f))
		case "takeover":
			o.Takeover = true
		case "deletes":
			o.Deletes = true
		case "now":
			o.Now = number(rest) * 1e6
		default:
			t.Fatalf("%s: what is %s?", given, word)
		}
	}
	s.Dests = []Dest{d}
	return s, o
}

func format(step Step) string {
	var out []string
	if step.Gone {
		out = append(out, "gone")
	}
	for _, r := range step.Inherit {
		text := fmt.Sprintf("inherit %c,%d,w%d", r.Version.ETag[0], r.Version.Modified/1e6, r.Written/1e6)
		if r.ETag != "" && r.ETag != r.Version.ETag {
			text += fmt.Sprintf(",%c", r.ETag[0])
		}
		out = append(out, text)
	}
	for _, r := range step.Routes {
		text := r.Action.String()
		switch r.Action {
		case Copy:
			if r.IfAbsent {
				text += " new"
			}
		case Adopt:
			text += fmt.Sprintf(" %c,%d", r.ETag[0], r.Written/1e6)
		case Conflict:
			text += fmt.Sprintf(" %c", r.ETag[0])
		}
		out = append(out, text)
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, " ")
}
