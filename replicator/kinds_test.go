package replicator

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
	tt "farshore/transport/transporttest"
)

func (w *world) container(region, name string) {
	w.t.Helper()
	if err := w.mem[region].CreateContainer(w.t.Context(), name, nil); err != nil {
		w.t.Fatal(err)
	}
}

// putAt writes an object with given bytes and headers.
func (w *world) putAt(region, container, name, data string, h transport.Header) {
	w.t.Helper()
	sum := md5.Sum([]byte(data))
	_, err := w.mem[region].Put(w.t.Context(), container, name, transport.Body{Size: int64(len(data)), MD5: hex.EncodeToString(sum[:]),
		Open: func() (io.Reader, error) { return strings.NewReader(data), nil }}, transport.PutOptions{Header: h})
	if err != nil {
		w.t.Fatal(err)
	}
}

// segment describes a whole object as a part of a manifest.
func (w *world) segment(container, name string) transport.Part {
	w.t.Helper()
	o, err := w.mem["a"].Head(w.t.Context(), container, name)
	if err != nil {
		w.t.Fatal(err)
	}
	return transport.Part{Container: container, Name: name, ETag: o.ETag, Size: o.Size}
}

func (w *world) slo(container, name string, h transport.Header, parts ...transport.Part) {
	w.t.Helper()
	m := transport.Manifest(parts)
	etag, err := m.ETag()
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.mem["a"].PutRaw(w.t.Context(), container, name, m.Encode(), etag, transport.PutOptions{Header: h}); err != nil {
		w.t.Fatal(err)
	}
}

// alike asserts that a container holds the same objects at b as at the source, kind by kind.
func (w *world) alike(container, there string) {
	w.t.Helper()
	names := w.mem["a"].Names(container)
	if got := w.mem["b"].Names(there); !slices.Equal(got, names) {
		w.t.Fatalf("container %s has %q at b, the source %q", there, got, names)
	}
	for _, n := range names {
		want, raw, err := w.mem["a"].Manifest(w.t.Context(), container, n, "")
		if err != nil {
			w.t.Fatal(err)
		}
		got, copied, err := w.mem["b"].Manifest(w.t.Context(), there, n, "")
		if err != nil {
			w.t.Fatal(err)
		}
		if want.Kind != got.Kind || want.ETag != got.ETag || want.Size != got.Size {
			w.t.Fatalf("%q is %s %s of %d bytes at b, %s %s of %d at the source", n, got.Kind, got.ETag, got.Size, want.Kind, want.ETag, want.Size)
		}
		if container == there && want.Header.Digest() != got.Header.Digest() && want.Header[transport.TargetETagHeader] == got.Header[transport.TargetETagHeader] {
			w.t.Fatalf("%q at b has headers %v, the source %v", n, got.Header, want.Header)
		}
		if container == there && !bytes.Equal(raw, copied) {
			w.t.Fatalf("%q at b has the manifest %s, the source %s", n, copied, raw)
		}
		_, data, _ := w.mem["a"].Get(container, n)
		_, there, _ := w.mem["b"].Get(there, n)
		if !bytes.Equal(data, there) {
			w.t.Fatalf("%q reads as %d bytes at b, %d at the source", n, len(there), len(data))
		}
	}
}

// furnish puts every kind of object into the source.
func (w *world) furnish() {
	w.container("a", "segs")
	w.container("a", "more")
	w.putAt("a", "c", "plain", "hello", transport.Header{"X-Object-Meta-K": "v"})
	for i := range 3 {
		w.putAt("a", "segs", fmt.Sprintf("s%%41/%d", i), strings.Repeat(string(rune('a'+i)), 1000+i), nil)
	}
	w.putAt("a", "more", "é?#", "other container", nil)
	w.slo("c", "slo", transport.Header{"Content-Type": "video/x", "X-Object-Meta-Owner": "me"},
		w.segment("segs", "s%41/0"), w.segment("segs", "s%41/1"), transport.Part{Data: []byte("inline"), Size: -1}, w.segment("more", "é?#"))
	part := w.segment("segs", "s%41/2")
	part.Range = "10-99"
	w.slo("c", "ranges", nil, part, w.segment("segs", "s%41/2"))
	w.slo("segs", "inner", nil, w.segment("segs", "s%41/0"), w.segment("segs", "s%41/1"))
	inner := w.segment("segs", "inner")
	w.slo("c", "nested", nil, inner, w.segment("segs", "s%41/2"))
	for i := range 4 {
		w.putAt("a", "more", fmt.Sprintf("dyn/%d", i), fmt.Sprintf("part %d;", i), nil)
	}
	w.putAt("a", "c", "dlo", "own bytes", transport.Header{transport.ManifestHeader: "more/dyn/"})
	w.putAt("a", "c", "soft", "", transport.Header{transport.TargetHeader: "c/plain", "X-Object-Meta-L": "1"})
	w.putAt("a", "c", "dangling", "", transport.Header{transport.TargetHeader: "nowhere/nothing"})
	w.putAt("a", "more", "target", "pinned", nil)
	w.putAt("a", "c", "0static", "", transport.Header{transport.TargetHeader: "more/target", transport.TargetETagHeader: w.segment("more", "target").ETag})
}

func TestEveryKindArrivesAsItIs(t *testing.T) {
	w := newWorld(t, "b")
	w.furnish()
	r := w.sync()
	w.alike("c", "c")
	w.alike("segs", "segs")
	if got := w.mem["b"].Names("more"); !slices.Equal(got, w.mem["a"].Names("more")) {
		t.Fatalf("more holds %q", got)
	}
	if !r.Replicas.Satisfied {
		t.Fatalf("replicas %+v", r.Replicas)
	}
	w.forget()
	w.sync()
	if n := w.faults["b"].Count(); n != 0 {
		t.Errorf("an unchanged pass made %d requests to the destination", n)
	}
	w.restart()
}

// pinnedTo are the headers of a static link to an object of c as the source has it now.
func pinnedTo(w *world, name string) transport.Header {
	w.t.Helper()
	o, err := w.mem["a"].Head(w.t.Context(), "c", name)
	if err != nil {
		w.t.Fatal(err)
	}
	etag := o.ETag
	if o.Kind == transport.SLO {
		etag = o.ManifestETag
	}
	return transport.Header{transport.TargetHeader: "c/" + name, transport.TargetETagHeader: etag}
}

// What a pass over each change needs, and that one pass is enough.
func TestKindsConvergeInOnePass(t *testing.T) {
	for name, change := range map[string]func(w *world){
		"a link is pointed elsewhere": func(w *world) {
			w.putAt("a", "c", "soft", "", transport.Header{transport.TargetHeader: "c/slo"})
		},
		"a link that is pinned to an SLO is pinned to another": func(w *world) {
			w.slo("c", "other", nil, w.segment("segs", "s%41/1"))
			w.putAt("a", "c", "pinned", "", pinnedTo(w, "other"))
		},
		"a link that is pinned to an SLO is pinned to a plain object": func(w *world) { w.putAt("a", "c", "pinned", "", pinnedTo(w, "plain")) },
		"a link that is pinned to an SLO becomes a manifest": func(w *world) {
			w.putAt("a", "c", "pinned", "", transport.Header{transport.ManifestHeader: "more/dyn/"})
		},
		"a link becomes an empty object": func(w *world) { w.putAt("a", "c", "soft", "", nil) },
		"an empty object becomes a link": func(w *world) {
			w.putAt("a", "c", "empty", "", transport.Header{transport.TargetHeader: "c/plain"})
		},
		"an SLO becomes a plain object": func(w *world) { w.putAt("a", "c", "slo", "plain now", nil) },
		"a plain object becomes an SLO": func(w *world) { w.slo("c", "plain", nil, w.segment("segs", "s%41/1")) },
		"an SLO gets other segments": func(w *world) {
			w.putAt("a", "segs", "fresh", "new segment", nil)
			w.slo("c", "slo", nil, w.segment("segs", "fresh"), w.segment("segs", "s%41/0"))
		},
		"an SLO's metadata": func(w *world) {
			if err := w.mem["a"].Post(w.t.Context(), "c", "slo", transport.Header{"Content-Type": "video/y", "X-Object-Meta-New": "1"}); err != nil {
				w.t.Fatal(err)
			}
		},
		"a DLO gets a segment": func(w *world) { w.putAt("a", "more", "dyn/9", "the last", nil) },
		"a DLO's metadata": func(w *world) {
			if err := w.mem["a"].Post(w.t.Context(), "c", "dlo", transport.Header{transport.ManifestHeader: "more/dyn/", "X-Object-Meta-New": "1"}); err != nil {
				w.t.Fatal(err)
			}
		},
		"a DLO becomes a plain object": func(w *world) {
			if err := w.mem["a"].Post(w.t.Context(), "c", "dlo", transport.Header{"X-Object-Meta-New": "1"}); err != nil {
				w.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "b")
			w.furnish()
			w.putAt("a", "c", "empty", "", nil)
			w.putAt("a", "c", "pinned", "", pinnedTo(w, "slo"))
			w.sync()
			w.clock.advance(time.Minute)
			change(w)
			w.forget()
			r := w.sync()
			w.alike("c", "c")
			w.alike("segs", "segs")
			t.Logf("%d requests to the destination, %+v", w.faults["b"].Count(), r.Totals)
			w.forget()
			w.sync()
			if n := w.faults["b"].Count(); n != 0 {
				t.Errorf("the next pass made %d requests to the destination", n)
			}
			w.restart()
		})
	}
}

// A replaced manifest's old segments go, but not while any manifest needs them.
func TestSegmentsGoWithTheLastManifest(t *testing.T) {
	w := newWorld(t, "b")
	w.policy.Deletes = policies.Deletes{Propagate: true}
	w.policy.Brake = policies.Brake{Deletes: policies.Off, Overwrites: policies.Off}
	w.container("a", "segs")
	w.putAt("a", "segs", "old", "old bytes", nil)
	w.putAt("a", "segs", "new", "new bytes", nil)
	w.slo("c", "x", nil, w.segment("segs", "old"))
	w.slo("c", "y", nil, w.segment("segs", "old"))
	w.sync()
	w.clock.advance(time.Minute)
	w.slo("c", "x", nil, w.segment("segs", "new"))
	w.mem["a"].Remove("segs", "old") // y is broken at the source from now on
	w.sync()
	if got := w.mem["b"].Names("segs"); !slices.Equal(got, []string{"new", "old"}) {
		t.Fatalf("a segment that y needs is gone: %q", got)
	}
	if _, data, ok := w.mem["b"].Get("c", "y"); !ok || string(data) != "old bytes" {
		t.Fatalf("y reads %q at b", data)
	}
	w.clock.advance(time.Minute)
	w.slo("c", "y", nil, w.segment("segs", "new"))
	w.sync()
	if got := w.mem["b"].Names("segs"); !slices.Equal(got, []string{"new"}) {
		t.Fatalf("segments left: %q", got)
	}
	w.alike("c", "c")
	w.restart()
}

// Where containers have other names at the destination, what points into them follows.
func TestPointersFollowTheNamesAtTheDestination(t *testing.T) {
	w := newWorld(t, "b")
	w.policy.Container = "dr-{container}"
	w.furnish()
	w.sync()
	w.alike("c", "dr-c")
	w.alike("segs", "dr-segs")
	got, _, _ := w.mem["b"].Get("dr-c", "soft")
	if got.Header[transport.TargetHeader] != "dr-c/plain" {
		t.Errorf("the link points to %s", got.Header[transport.TargetHeader])
	}
	if got, _, _ = w.mem["b"].Get("dr-c", "dlo"); got.Header[transport.ManifestHeader] != "dr-more/dyn/" {
		t.Errorf("the manifest points to %s", got.Header[transport.ManifestHeader])
	}
	w.forget()
	w.sync()
	if n := w.faults["b"].Count(); n != 0 {
		t.Errorf("an unchanged pass made %d requests to the destination", n)
	}
}

// A manifest whose segments cannot be had is not written, and says so.
func TestABrokenManifestIsReported(t *testing.T) {
	w := newWorld(t, "b")
	w.furnish()
	w.mem["a"].Remove("segs", "s%41/1")
	r, err := w.try(w.policy, SyncOptions{})
	if err != nil || r.Counts[report.KindFailed] == 0 {
		t.Fatalf("%v %+v", err, r.Findings)
	}
	for _, n := range []string{"slo", "nested"} {
		if _, _, ok := w.mem["b"].Get("c", n); ok {
			t.Errorf("%s was written without its segment", n)
		}
	}
	if _, data, ok := w.mem["b"].Get("c", "ranges"); !ok || len(data) == 0 {
		t.Error("a whole manifest was held up by a broken one")
	}
}

// A segment that somebody removed at the destination is sent again with the manifest.
func TestALostSegmentIsSentAgain(t *testing.T) {
	w := newWorld(t, "b")
	w.furnish()
	w.sync()
	w.mem["b"].Remove("segs", "s%41/0")
	w.clock.advance(time.Minute)
	w.slo("c", "slo", transport.Header{"X-Object-Meta-Now": "2"}, w.segment("segs", "s%41/0"))
	w.sync()
	w.alike("c", "c")
}

func TestKindsFoundByAnOlderVersionAreCarriedNow(t *testing.T) {
	w := newWorld(t, "b")
	w.furnish()
	w.sync()
	place, _, err := w.ledger.FindPlace(store.Place{Region: "a", Project: w.project("a"), Container: "c"})
	if err != nil {
		t.Fatal(err)
	}
	w.mem["b"].Remove("c", "slo")
	w.ledger.Update(place, "slo", func(o *store.Object, _ bool) bool {
		r := o.Replicas[0]
		r.State, r.Note = store.Cannot, "slo"
		o.SetReplica(r)
		return true
	})
	w.sync()
	w.alike("c", "c")
}

func (w *world) project(region string) string {
	id, err := w.mem[region].Identity(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return id.Project
}

// A lost ledger is rebuilt with what manifests need: nothing is sent again, and no
// segment goes while it is needed.
func TestARebuiltLedgerKnowsWhatManifestsNeed(t *testing.T) {
	for _, rebuilt := range []bool{true, false} {
		w := newWorld(t, "b")
		w.policy.Deletes = policies.Deletes{Propagate: true}
		w.policy.Brake = policies.Brake{Deletes: policies.Off, Overwrites: policies.Off}
		w.furnish()
		w.sync()
		_ = w.ledger.Close()
		w.path = filepath.Join(t.TempDir(), "new.db")
		w.open()
		w.forget()
		if rebuilt {
			w.rebuild()
		}
		w.clock.advance(time.Minute)
		w.sync()
		if n := w.faults["b"].Bytes(tt.Put, tt.PutRaw); n > 4096 { // the manifest of the DLO and links hold some bytes
			t.Errorf("rebuilt %v: %d bytes were sent again", rebuilt, n)
		}
		w.alike("c", "c")
		w.clock.advance(time.Minute)
		w.mem["a"].Remove("segs", "s%41/1")
		_, _ = w.try(w.policy, SyncOptions{})
		_, _ = w.try(w.policy, SyncOptions{})
		if !slices.Contains(w.mem["b"].Names("segs"), "s%41/1") {
			t.Errorf("rebuilt %v: a segment that manifests need is gone", rebuilt)
		}
	}
}

// What comes along with manifests is no work that an interrupted pass had left.
func TestWhatComesAlongWasNotInterrupted(t *testing.T) {
	w := newWorld(t, "b")
	w.furnish()
	r := w.sync()
	if r.Resumed || r.ResumedCopied != 0 || r.Totals.Copied == 0 {
		t.Errorf("resumed %v, %d copies of it, of %d", r.Resumed, r.ResumedCopied, r.Totals.Copied)
	}
}

// An object whose manifest is broken at the source fails at once, as what it is: the
// error names it there, and the destination has nothing to do with it.
func TestABrokenManifestNamesItsSource(t *testing.T) {
	for what, spoil := range map[string]func(*world){
		"a segment is gone":    func(w *world) { w.mem["a"].Remove("segs", "1") },
		"a segment is another": func(w *world) { w.putAt("a", "segs", "1", "other", nil) },
	} {
		for _, versions := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, versions %v", what, versions), func(t *testing.T) {
				w := newWorld(t, "b")
				if versions {
					w.enable("true")
				}
				w.container("a", "segs")
				w.putAt("a", "segs", "1", "first", nil)
				w.putAt("a", "c", "before", "plain", nil)
				w.slo("c", "x", nil, w.segment("segs", "1"))
				w.putAt("a", "c", "y", "plain", nil)
				spoil(w)
				r, err := w.try(w.policy, SyncOptions{})
				if err != nil || r.Counts[report.KindRegionDown] != 0 {
					t.Fatalf("%v %+v", err, r.Findings)
				}
				f := report.Finding{}
				for _, x := range r.Findings {
					if x.Name == "x" {
						f = x
					}
				}
				if versions {
					if f.Kind != report.KindCannot || !strings.Contains(f.Cause, "segs/1") || !strings.Contains(f.Cause, "at the source as well") {
						t.Errorf("%+v", r.Findings)
					}
				} else if f.Kind != report.KindFailed || f.Region != "a" || f.Container != "c" || !strings.Contains(f.Cause, "manifest is broken") || !strings.Contains(f.Cause, "segs/1") || !strings.Contains(f.Hint, "region a") {
					t.Errorf("%+v", r.Findings)
				}
				for _, n := range []string{"before", "y"} {
					if _, _, ok := w.mem["b"].Get("c", n); !ok {
						t.Errorf("%s waits for a broken manifest", n)
					}
				}
				heads := 0
				for _, c := range w.faults["a"].Calls() {
					if c.Name == "x" {
						heads++
					}
				}
				if heads > 20 {
					t.Errorf("the source was asked for it %d times", heads)
				}
			})
		}
	}
}
