package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"farshore/store"
	"farshore/transport"
)

// A history is written oldest first: "x1" is content x with id 1 (ten seconds after the
// one before), "m2" a marker, "x0" version "null"; "*" makes one the latest.

func versionID(n int) string {
	if n == 0 {
		return NullVersion
	}
	return Stamp(int64(n) * 10_000_000)
}

func entries(text string) (out []transport.VersionEntry) {
	for _, w := range strings.Fields(text) {
		latest := strings.HasSuffix(w, "*")
		w = strings.TrimSuffix(w, "*")
		n, _ := strconv.Atoi(w[1:])
		e := transport.VersionEntry{ID: versionID(n), Latest: latest, Marker: w[0] == 'm'}
		e.Name, e.ETag, e.Size, e.Modified = "n", w[:1], 1, time.UnixMicro(int64(n)*10_000_000)
		if n == 0 {
			e.Modified = time.UnixMicro(990_000_000)
		}
		out = append(out, e)
	}
	slices.Reverse(out)
	return out
}

// short says an id as it is written above.
func short(ids []string) string {
	var out []string
	for _, id := range ids {
		for n := range 100 {
			if versionID(n) == id {
				id = strconv.Itoa(n)
			}
		}
		out = append(out, id)
	}
	return strings.Join(out, " ")
}

func (d *Deeds) text() string {
	var out []string
	add := func(what string, ids []string) {
		if len(ids) > 0 {
			out = append(out, what+" "+short(ids))
		}
	}
	var doubt, foreign, adopt []string
	for _, r := range d.Doubt {
		doubt = append(doubt, r.ID)
	}
	for _, r := range d.Foreign {
		foreign = append(foreign, r.ID)
	}
	for _, a := range d.Adopt {
		adopt = append(adopt, short([]string{a.ID})+"="+short([]string{a.Row.ID}))
	}
	add("doubt", doubt)
	add("foreign", foreign)
	add("adopt", adopt)
	add("lost", d.Lost)
	add("post", d.Post)
	add("append", d.Append)
	add("drop", d.Drop)
	add("skip", d.Skip)
	if d.Current != "" {
		add("show", []string{d.Current})
	}
	if d.Keep {
		out = append(out, "keep")
	}
	return strings.Join(out, "; ")
}

// TestWeigh holds every rule of what a destination needs. have maps the source's ids to
// the destination's on the route; flags: L lost, T touched, A adopted, C cannot.
func TestWeigh(t *testing.T) {
	for _, c := range []struct {
		rule, source, have, there, want string
		begun, stamped, takeover        bool
	}{
		{rule: "everything is new", source: "a1 m2 b3*", want: "append 1 2 3; show 3"},
		{rule: "what is recorded is there", source: "a1 b3*", have: "1=11 3=13", there: "a11 b13*", want: "show 3"},
		{rule: "a new version", source: "a1 b3 c4*", have: "1=11 3=13", there: "a11 b13*", want: "append 4; show 4"},
		{rule: "identical versions in the same order are adopted", source: "a1 m2 b3*", there: "a11 m12 b13*", want: "adopt 1=11 2=12 3=13; show 3"},
		{rule: "a part of them, too, if it is the oldest", source: "a1 b3*", there: "a11*", want: "adopt 1=11; append 3; show 3"},
		{rule: "a part that is not the oldest is not in order", source: "a1 b3*", there: "b13*", want: "foreign 13"},
		{rule: "another order", source: "a1 b3*", there: "b11 a13*", want: "doubt 13"},
		{rule: "another order, by others", source: "a1 b3*", there: "b11 a13*", stamped: true, want: "foreign 13"},
		{rule: "others' version is asked for its stamp", source: "a1*", there: "z11*", want: "doubt 11"},
		{rule: "others' marker is foreign at once", source: "a1*", there: "a11 m12*", want: "foreign 12"},
		{rule: "takeover writes after what others wrote", source: "a1*", there: "m12*", takeover: true, want: "append 1; show 1"},
		{rule: "an old copy of ours is no conflict", source: "a1*", there: "z11*", stamped: true, want: "append 1; show 1"},
		{rule: "a run that died had written one", source: "a1 b3*", have: "1=11", there: "a11 b13*", begun: true, want: "adopt 3=13; show 3"},
		{rule: "a run that died left one too many", source: "a1*", have: "1=12", there: "a11 a12*", begun: true, stamped: true, want: "drop 11; show 1"},
		{rule: "and a marker", source: "a1*", have: "1=11", there: "a11 m12*", begun: true, want: "drop 12; show 1"},
		{rule: "the same bytes twice are two versions", source: "a1 a2*", have: "1=11", there: "a11*", want: "append 2; show 2"},
		{rule: "a null version got an id", source: "a1 b3*", have: "1=0 3=13", there: "a12 b13*", want: "adopt 1=12; show 3"},
		{rule: "touched", source: "a1 b3*", have: "1=11T 3=13", there: "a11 b13*", want: "post 1; show 3"},
		{rule: "an older one was revived", source: "a1* b3", have: "1=11 3=13", there: "a11 b13*", want: "show 1"},
		{rule: "deleted without a trace", source: "a1 b3", have: "1=11 3=13", there: "a11 b13*", want: ""},
		{rule: "a new marker", source: "a1 m2*", have: "1=11", there: "a11*", want: "append 2"},
		{rule: "the copy of what is gone may stay until its delete is due", source: "a1 m2*", have: "1=11 2=12 9=13", there: "a11 m12 z13*", want: "keep"},
		{rule: "removed there by others", source: "a1 b3*", have: "1=11 3=13", there: "a11", want: "lost 3; append 3; show 3"},
		{rule: "one lacks in the middle: younger ones are written again", source: "a1 b2 c3*", have: "1=11 2=12 3=13", there: "a11 c13*", want: "lost 2; append 2 3; drop 13; show 3"},
		{rule: "but not when others wrote one of them", source: "a1 b2 c3*", have: "1=11 2=12 3=13A", there: "a11 c13*", want: "foreign 13"},
		{rule: "what an audit found damaged", source: "a1 b3*", have: "1=11L 3=13", there: "a11 b13*", want: "append 1 3; drop 11 13; show 3"},
		{rule: "what cannot be there keeps nobody", source: "a1 b3*", have: "1=C", there: "", want: "append 3; show 3"},
		{rule: "the latest cannot be there", source: "a1 b3*", have: "1=11 3=C", there: "a11*", want: "show 3; keep"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			rows := entries(c.source)
			s := Track(store.Series{Name: "n"}, rows, 1)
			for _, w := range strings.Fields(c.have) {
				from, to, _ := strings.Cut(w, "=")
				n, _ := strconv.Atoi(from)
				rep := store.SeriesReplica{Route: 1, State: store.Confirmed}
				switch to[len(to)-1] {
				case 'L':
					rep.State = store.Lost
				case 'T':
					rep.Touched = true
				case 'A':
					rep.Adopted = true
				case 'C':
					rep.State = store.Cannot
				}
				if far := strings.TrimRight(to, "LTAC"); far != "" {
					m, _ := strconv.Atoi(far)
					rep.ID = versionID(m)
				}
				v := s.Find(versionID(n))
				if v == nil { // gone at the source
					s.Versions = append(s.Versions, store.SeriesVersion{ID: versionID(n), Missing: 1, Version: store.Version{ETag: "z"}, Size: 1})
					v = &s.Versions[len(s.Versions)-1]
				}
				v.SetReplica(rep)
			}
			there := There{Route: 1, Rows: entries(c.there), Begun: c.begun}
			if c.stamped {
				there.Stamped = map[string]bool{}
				for _, r := range there.Rows {
					there.Stamped[r.ID] = !strings.Contains(c.rule, "by others")
				}
			}
			d := Weigh(&s, there, Options{Takeover: c.takeover})
			if got := d.text(); got != c.want {
				t.Errorf("source %s, recorded %s, there %s\n got %s\nwant %s", c.source, c.have, c.there, got, c.want)
			}
		})
	}
}

// TestTrack holds how a history follows the source.
func TestTrack(t *testing.T) {
	s := Track(store.Series{Name: "n"}, entries("a1 b0*"), 7)
	held := 0
	hold := func(id string) {
		held++
		s.Find(id).SetReplica(store.SeriesReplica{Route: 1, ID: fmt.Sprint("x", held), State: store.Confirmed})
	}
	hold(versionID(1))
	hold(NullVersion)
	says := func(want string) {
		t.Helper()
		var out []string
		for _, v := range s.Versions {
			text := short([]string{v.ID})
			if v.Latest {
				text += "*"
			}
			if v.Missing != 0 {
				text += fmt.Sprint("-", v.Missing)
			}
			if r, ok := v.Replica(1); ok && r.Touched {
				text += "t"
			}
			out = append(out, text)
		}
		if err := s.Valid(); err != nil {
			t.Error(err)
		}
		if got := strings.Join(out, " "); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	says("1 0*")
	s = Track(s, entries("a1 b99 c0*"), 8) // the null version got the id of its time (990 s), and another followed
	says("1 99 0*")
	if r, _ := s.Find(versionID(99)).Replica(1); r.ID != "x2" {
		t.Errorf("the replica of the renamed version is %+v", r)
	}
	hold(NullVersion)
	s = Track(s, entries("b99 d0*"), 9) // null was overwritten by null, and 1 removed
	says("1-9 99 null@0000000990.00000-9 0*")
	s = Track(s, entries("a1* b99"), 10) // 1 was only missing from a listing; null without a copy is forgotten
	says("1* 99 null@0000000990.00000-9")
	rows := entries("a1* b99")
	rows[1].Modified = rows[1].Modified.Add(time.Second)
	s = Track(s, rows, 11)
	says("1*t 99 null@0000000990.00000-9")
	if Settled(&s, 1) {
		t.Error("touched, and nothing to do")
	}

	s = Track(store.Series{Name: "n"}, entries("a0*"), 12)
	hold(NullVersion)
	s = Track(s, entries("b100 a0*"), 13) // removed, another written, and then the same bytes again as null
	says("null@0000000990.00000-13 0000001000.00000 0*")

	s = Track(store.Series{Name: "n"}, entries("b0*"), 14)
	hold(NullVersion)
	rows = entries("b99 c0*")
	for i := range rows {
		if rows[i].ID == versionID(99) {
			rows[i].Modified = rows[i].Modified.Add(time.Second)
		}
	}
	s = Track(s, rows, 15) // got an id, and perhaps other headers since
	says("99t 0*")
}

// TestSettled holds what needs no look at a destination.
func TestSettled(t *testing.T) {
	confirmed := func(current bool) []store.SeriesReplica {
		return []store.SeriesReplica{{Route: 1, ID: "x", State: store.Confirmed, Current: current}}
	}
	for _, c := range []struct {
		rule     string
		versions []store.SeriesVersion
		want     bool
	}{
		{"all there, the latest shown", []store.SeriesVersion{{ID: "1", Replicas: confirmed(false)}, {ID: "2", Latest: true, Replicas: confirmed(true)}}, true},
		{"another is shown", []store.SeriesVersion{{ID: "1", Replicas: confirmed(true)}, {ID: "2", Latest: true, Replicas: confirmed(false)}}, false},
		{"its id there is not known", []store.SeriesVersion{{ID: "1", Latest: true, Replicas: []store.SeriesReplica{{Route: 1, State: store.Confirmed, Current: true}}}}, false},
		{"one lacks", []store.SeriesVersion{{ID: "1"}, {ID: "2", Latest: true, Replicas: confirmed(true)}}, false},
		{"one is gone at the source", []store.SeriesVersion{{ID: "1", Missing: 5, Replicas: confirmed(true)}, {ID: "2", Marker: true, Latest: true, Replicas: confirmed(false)}}, true},
		{"a marker is the latest and something is shown", []store.SeriesVersion{{ID: "1", Replicas: confirmed(true)}, {ID: "2", Marker: true, Latest: true, Replicas: confirmed(false)}}, false},
		{"the latest cannot be there, an older is shown", []store.SeriesVersion{{ID: "1", Replicas: confirmed(true)}, {ID: "2", Latest: true,
			Replicas: []store.SeriesReplica{{Route: 1, State: store.Cannot}}}}, true},
	} {
		s := store.Series{Name: "n", Versions: c.versions}
		if got := Settled(&s, 1); got != c.want {
			t.Errorf("%s: %v", c.rule, got)
		}
	}
}
