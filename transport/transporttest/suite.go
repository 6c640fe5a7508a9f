package transporttest

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"farshore/transport"
)

// Run is the conformance suite: every line of transport's contract, tried on an
// endpoint and verified by raw. make is called once. Endpoints whose page size or
// split threshold can be chosen should use SuitePage and SuiteSplit, so that a
// few names already make several pages and parts. Everything is done in
// containers of random names, which are removed again. The parts named in lacks are
// skipped: what a vendor is known not to do.
func Run(t *testing.T, make func(t *testing.T) (transport.Sink, Raw), lacks ...string) {
	ep, raw := make(t)
	for _, c := range []struct {
		name string
		run  func(*suite)
	}{
		{"Names", (*suite).names}, {"ListSplitEverywhere", (*suite).listSplit}, {"ListEntries", (*suite).listEntries},
		{"ListStops", (*suite).listStops}, {"Split", (*suite).split}, {"Containers", (*suite).containers},
		{"Ranges", (*suite).ranges}, {"Versions", (*suite).versions}, {"Headers", (*suite).headers}, {"Post", (*suite).post},
		{"Put", (*suite).put}, {"PutBrokenBodies", (*suite).putBroken}, {"IfAbsent", (*suite).ifAbsent}, {"Manifest", (*suite).manifest},
		{"Collapse", (*suite).collapse}, {"Kinds", (*suite).kinds}, {"Delete", (*suite).remove}, {"Expiry", (*suite).expiry},
		{"RawManifest", (*suite).rawManifest}, {"DLO", (*suite).dlo}, {"Links", (*suite).links}, {"KeptVersions", (*suite).keptVersions},
		{"VersionPages", (*suite).versionPages}, {"OldVersioning", (*suite).oldVersioning}, {"ContainerProperties", (*suite).containerProperties},
		{"AccountProperties", (*suite).accountProperties}, {"Limits", (*suite).limits},
		{"Errors", (*suite).failures}, {"Canceled", (*suite).canceled}, {"Account", (*suite).account}, {"Parallel", (*suite).parallel},
	} {
		t.Run(c.name, func(t *testing.T) {
			if slices.Contains(lacks, c.name) {
				t.Skip("known to be lacking")
			}
			s := &suite{T: t, ep: ep, raw: raw, ctx: t.Context()}
			s.c = s.newContainer()
			c.run(s)
		})
	}
}

// What endpoints under test should be made with.
const (
	SuitePage  = 7
	SuiteSplit = 40
)

type suite struct {
	*testing.T
	ep  transport.Sink
	raw Raw
	ctx context.Context
	c   string // a container of its own
}

// newContainer makes a container by raw and removes it, with all in it, at the end.
func (s *suite) newContainer() string {
	s.Helper()
	var id [6]byte
	_, _ = rand.Read(id[:])
	name := "conformance " + hex.EncodeToString(id[:]) + " é%41"
	if r := s.raw.Do(s, http.MethodPut, name, "", "", nil, nil); r.Status/100 != 2 {
		s.Fatalf("make container: %d %s", r.Status, r.Body)
	}
	s.Cleanup(func() { s.discard(name) })
	return name
}

// discard removes a container with all its objects and versions.
func (s *suite) discard(name string) {
	ctx := context.Background()
	s.raw.Do(s, http.MethodPost, name, "", "", map[string]string{"X-Versions-Enabled": "false", "X-Remove-Versions-Location": "x", "X-Remove-History-Location": "x"}, nil)
	for range 5 {
		_ = s.ep.List(ctx, name, transport.Range{}, func(page []transport.Entry) error {
			for _, e := range page {
				s.raw.Do(s, http.MethodDelete, name, e.Name, "", nil, nil)
			}
			return nil
		})
		_ = s.ep.Versions(ctx, name, transport.Range{}, func(page []transport.VersionEntry) error {
			for _, v := range page {
				if v.ID != nullVersion {
					s.raw.Do(s, http.MethodDelete, name, v.Name, "version-id="+v.ID, nil, nil)
				}
			}
			return nil
		})
		if r := s.raw.Do(s, http.MethodDelete, name, "", "", nil, nil); r.Status != http.StatusConflict {
			return
		}
		time.Sleep(200 * time.Millisecond) // a listing that lags
	}
	s.Errorf("container %q could not be removed", name)
}

func hexMD5(b []byte) string {
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}

// body makes a payload of bytes.
func body(b []byte) transport.Body {
	return transport.Body{Size: int64(len(b)), MD5: hexMD5(b), Open: func() (io.Reader, error) { return bytes.NewReader(b), nil }}
}

func (s *suite) mustPut(name string, data []byte, o transport.PutOptions) transport.Receipt {
	s.Helper()
	rc, err := s.ep.Put(s.ctx, s.c, name, body(data), o)
	if err != nil {
		s.Fatalf("put %q: %v", name, err)
	}
	if rc.ETag != hexMD5(data) {
		s.Fatalf("put %q: receipt has ETag %s, not %s", name, rc.ETag, hexMD5(data))
	}
	return rc
}

func (s *suite) rawPut(name string, data []byte, header map[string]string) {
	s.Helper()
	if r := s.raw.Do(s, http.MethodPut, s.c, name, "", header, data); r.Status != http.StatusCreated {
		s.Fatalf("raw put %q: %d %s", name, r.Status, r.Body)
	}
}

func (s *suite) rawGet(name string) Reply {
	s.Helper()
	return s.raw.Do(s, http.MethodGet, s.c, name, "", nil, nil)
}

// wantRaw checks by raw that an object has these bytes.
func (s *suite) wantRaw(name string, data []byte) Reply {
	s.Helper()
	r := s.rawGet(name)
	if r.Status != http.StatusOK || !bytes.Equal(r.Body, data) {
		s.Fatalf("raw get %q: %d, %d bytes; want 200, %d bytes", name, r.Status, len(r.Body), len(data))
	}
	return r
}

func (s *suite) wantNone(name string) {
	s.Helper()
	if r := s.rawGet(name); r.Status != http.StatusNotFound {
		s.Fatalf("raw get %q: %d, want 404", name, r.Status)
	}
}

func (s *suite) read(name string, o transport.OpenOptions) (transport.Object, []byte) {
	s.Helper()
	obj, r, err := s.ep.Open(s.ctx, s.c, name, o)
	if err != nil {
		s.Fatalf("open %q %+v: %v", name, o, err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		s.Fatalf("read %q %+v: %v", name, o, err)
	}
	return obj, data
}

func (s *suite) list(r transport.Range) []transport.Entry {
	s.Helper()
	var all []transport.Entry
	err := s.ep.List(s.ctx, s.c, r, func(page []transport.Entry) error {
		if len(page) == 0 || len(page) > 10_000 {
			s.Errorf("a page of %d entries", len(page))
		}
		all = append(all, page...)
		clear(page) // it is ours only now: whoever keeps it will see
		return nil
	})
	if err != nil {
		s.Fatalf("list %+v: %v", r, err)
	}
	return all
}

func namesOf(entries []transport.Entry) []string {
	out := []string{}
	for _, e := range entries {
		out = append(out, e.Name)
	}
	return out
}

// wantError checks class and fields of an error.
func (s *suite) wantError(err error, c transport.Class, container, name string) *transport.Error {
	s.Helper()
	var f *transport.Error
	if !errors.As(err, &f) {
		s.Fatalf("error %v is no *transport.Error", err)
	}
	id, _ := s.ep.Identity(context.Background())
	switch {
	case f.Class != c:
		s.Fatalf("error %v has class %q, want %q", err, f.Class, c)
	case f.Op == "" || f.Region != id.Region || f.Container != container || f.Name != name:
		s.Fatalf("error %#v does not name operation, region %q, container %q, name %q", f, id.Region, container, name)
	case f.Err == nil || strings.ContainsAny(f.Err.Error(), "\n<>"):
		s.Fatalf("error %#v has no cause of one plain line", f)
	case c != transport.Canceled && transport.HintOf(err) == "" && c != transport.Permanent:
		s.Fatalf("error %v has no hint", err)
	}
	return f
}

// hostile are names that clients have been seen to lose, change or confuse.
func hostile() []string {
	return []string{"a", "a b", " lead", "trail ", "%41", "%2F", "a%", "q?x=y", "h#f", "semi;colon", "amp&x=1", "plus+plus",
		"new\nline", "tab\there", "cr\rx", "/", "/lead", "//two", "./dot", "../up", "a/./b", "a/../b", "a//b", "dir/", ".", "..", "\x01", "\x7f",
		"back\\slash", "quo\"te", "<tag>", "col:on", "com,ma", "a\u0301", "\u00e1", "emoji\U0001F600", "\u2028", "\ufeffbom", "\u202eright",
		"~tilde", "*", "'", "zz", strings.Repeat("x", 1024), strings.Repeat("é", 512), "\U0010FFFF"}
}

func (s *suite) names() {
	want := hostile()
	for i, name := range want {
		data := []byte("content of " + name)
		if i%2 == 0 {
			s.mustPut(name, data, transport.PutOptions{})
		} else {
			s.rawPut(name, data, nil)
		}
		s.wantRaw(name, data)
		o, err := s.ep.Head(s.ctx, s.c, name)
		if err != nil || o.Name != name || o.Size != int64(len(data)) || o.ETag != hexMD5(data) || o.Kind != transport.Plain {
			s.Fatalf("head %q: %+v %v", name, o, err)
		}
		if got, b := s.read(name, transport.OpenOptions{Length: -1}); !bytes.Equal(b, data) || got.Name != name {
			s.Fatalf("read %q: %q", name, b)
		}
		if err := s.ep.Post(s.ctx, s.c, name, transport.Header{"Content-Type": "x/y", "X-Object-Meta-N": "1"}); err != nil {
			s.Fatalf("post %q: %v", name, err)
		}
		if r := s.rawGet(name); r.Header.Get("X-Object-Meta-N") != "1" {
			s.Fatalf("post %q changed something else", name)
		}
	}
	slices.Sort(want)
	if got := namesOf(s.list(transport.Range{})); !slices.Equal(got, want) {
		s.Fatalf("listed\n%q\nwant\n%q", got, want)
	}
	// All of them in one DeleteMany, with names between that do not exist.
	var all []string
	for _, n := range want {
		all = append(all, n)
		if len(n) < 1000 {
			all = append(all, n+" missing")
		}
	}
	if err := s.ep.DeleteMany(s.ctx, s.c, all); err != nil {
		s.Fatalf("delete many: %v", err)
	}
	for _, n := range want {
		s.wantNone(n)
	}
	if left := s.list(transport.Range{}); len(left) != 0 {
		s.Fatalf("left: %q", namesOf(left))
	}
}

// listSplit cuts the listing at every name, and between names, and compares (R1).
func (s *suite) listSplit() {
	want := hostile()
	slices.Sort(want)
	for _, name := range want {
		s.rawPut(name, nil, nil)
	}
	for i, cut := range want {
		low, high := s.list(transport.Range{Through: cut}), s.list(transport.Range{After: cut})
		if got := append(namesOf(low), namesOf(high)...); !slices.Equal(got, want) || len(low) != i+1 {
			s.Fatalf("cut at %q: %d and %d names, want %d and %d\n%q\n%q", cut, len(low), len(high), i+1, len(want)-i-1, namesOf(low), namesOf(high))
		}
	}
	for _, cut := range []string{"!", "a\x01", "b", "new", "zzz", "\U0010FFFF\U0010FFFF"} {
		low, high := s.list(transport.Range{Through: cut}), s.list(transport.Range{After: cut})
		if got := append(namesOf(low), namesOf(high)...); !slices.Equal(got, want) {
			s.Fatalf("cut at %q gives %q", cut, got)
		}
	}
	for _, r := range []transport.Range{{Prefix: "a"}, {Prefix: "a/"}, {Prefix: "/"}, {Prefix: "."}, {Prefix: "é"}, {Prefix: "nothing"}, {Prefix: "%"},
		{Prefix: "a", After: "a b"}, {Prefix: "a", Through: "a/./b"}, {Prefix: "a", After: "a/./b", Through: "amp&x=1"}, {After: "b", Through: "b"},
		{After: "z", Through: "b"}, {Prefix: "a", After: "b"}, {Prefix: "c", After: "a", Through: "b"}} {
		var in []string
		for _, n := range want {
			if n > r.After && (r.Through == "" || n <= r.Through) && strings.HasPrefix(n, r.Prefix) {
				in = append(in, n)
			}
		}
		if got := namesOf(s.list(r)); !slices.Equal(got, in) {
			s.Fatalf("%+v: %q, want %q", r, got, in)
		}
	}
}

func (s *suite) listEntries() {
	data := []byte("hello")
	rc := s.mustPut("plain", data, transport.PutOptions{Header: transport.Header{"Content-Type": "text/x; charset=\"utf-8\""}})
	s.mustPut("empty", nil, transport.PutOptions{})
	slo := s.slo("slo", [][]byte{[]byte("one"), []byte("twotwo")})
	if r := s.raw.Do(s, http.MethodPut, s.c, "link", "", map[string]string{"X-Symlink-Target": percent(s.c) + "/plain", "Content-Type": "l/k"}, nil); r.Status != 201 {
		s.Fatalf("make link: %d %s", r.Status, r.Body)
	}
	all := map[string]transport.Entry{}
	for _, e := range s.list(transport.Range{}) {
		all[e.Name] = e
	}
	for name, want := range map[string]transport.Entry{
		"plain": {Size: 5, ETag: hexMD5(data), ContentType: "text/x; charset=\"utf-8\"", Kind: transport.Plain},
		"empty": {Size: 0, ETag: hexMD5(nil), ContentType: "application/octet-stream", Kind: transport.Plain},
		"slo":   {Size: 9, ETag: slo.ETag, ContentType: "application/octet-stream", Kind: transport.SLO},
	} {
		got := all[name]
		o, err := s.ep.Head(s.ctx, s.c, name)
		if err != nil {
			s.Fatal(err)
		}
		if !got.Modified.Equal(o.Modified) || got.Modified.IsZero() || got.Modified.Location() != time.UTC {
			s.Errorf("%s: listed as of %v, head says %v", name, got.Modified, o.Modified)
		}
		if o.ETag != got.ETag || o.Size != got.Size || o.Kind != got.Kind || tight(o.Header["Content-Type"]) != tight(got.ContentType) {
			s.Errorf("%s: listing %+v and head %+v disagree", name, got, o)
		}
		want.Name, want.Modified, want.ContentType, got.ContentType = name, got.Modified, tight(want.ContentType), tight(got.ContentType)
		if got != want {
			s.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	if k := all["link"].Kind; k != transport.Symlink {
		s.Errorf("the link is listed as %q", k)
	}
	if m := all["plain"].Modified; m.After(rc.Modified) || rc.Modified.Sub(m) >= time.Second || rc.Modified.Nanosecond() != 0 {
		s.Errorf("receipt %v, listing %v: want rounded up to the second", rc.Modified, m)
	}
	// A POST moves last_modified, not the ETag.
	if err := s.ep.Post(s.ctx, s.c, "plain", transport.Header{"Content-Type": "t/t"}); err != nil {
		s.Fatal(err)
	}
	after := s.list(transport.Range{Prefix: "plain"})[0]
	if !after.Modified.After(all["plain"].Modified) || after.ETag != all["plain"].ETag || after.ContentType != "t/t" {
		s.Errorf("after a post: %+v, before %+v", after, all["plain"])
	}
	if o, _ := s.ep.Head(s.ctx, s.c, "plain"); !o.Modified.Equal(after.Modified) {
		s.Errorf("after a post: head %v, listing %v", o.Modified, after.Modified)
	}
}

// tight takes the blanks around a content type's parameters away, as Swift's listings do.
func tight(s string) string { return strings.ReplaceAll(s, "; ", ";") }

// listStops checks that yield's error ends a listing and comes back as it is.
func (s *suite) listStops() {
	for i := range 3 * SuitePage {
		s.rawPut(fmt.Sprintf("%03d", i), nil, nil)
	}
	stop, pages := errors.New("stop"), 0
	err := s.ep.List(s.ctx, s.c, transport.Range{}, func([]transport.Entry) error { pages++; return stop })
	if !errors.Is(err, stop) || pages != 1 {
		s.Fatalf("%v after %d pages", err, pages)
	}
	if got := s.list(transport.Range{}); len(got) != 3*SuitePage {
		s.Fatalf("%d names", len(got))
	}
	if got := s.list(transport.Range{Prefix: "none"}); len(got) != 0 {
		s.Fatalf("%q", namesOf(got))
	}
}

func (s *suite) split() {
	if cuts, err := s.ep.Split(s.ctx, s.c, transport.Range{}, 4); err != nil || len(cuts) != 0 {
		s.Fatalf("an empty container is cut at %q, %v", cuts, err)
	}
	var want []string
	for i := range SuiteSplit + 20 {
		want = append(want, fmt.Sprintf("obj-%08d", i*17))
		s.rawPut(want[i], nil, nil)
	}
	for _, r := range []transport.Range{{}, {Prefix: "obj-"}, {After: want[10], Through: want[50]}, {Prefix: "none"}, {After: "zzz"}} {
		for _, n := range []int{0, 1, 2, 4, 16} {
			cuts, err := s.ep.Split(s.ctx, s.c, r, n)
			if err != nil {
				s.Fatalf("split %+v in %d: %v", r, n, err)
			}
			if len(cuts) > max(n-1, 0) || !slices.IsSorted(cuts) || len(slices.Compact(slices.Clone(cuts))) != len(cuts) {
				s.Fatalf("split %+v in %d: %q", r, n, cuts)
			}
			for _, c := range cuts {
				if !strings.HasPrefix(c, r.Prefix) || c <= r.After || r.Through != "" && c > r.Through {
					s.Fatalf("split %+v in %d: %q is outside", r, n, c)
				}
			}
		}
	}
	// The parts put together are the whole.
	cuts, err := s.ep.Split(s.ctx, s.c, transport.Range{}, 4)
	if err != nil {
		s.Fatal(err)
	}
	var got []string
	for i := range len(cuts) + 1 {
		r := transport.Range{}
		if i > 0 {
			r.After = cuts[i-1]
		}
		if i < len(cuts) {
			r.Through = cuts[i]
		}
		part := namesOf(s.list(r))
		if len(cuts) == 3 && (len(part) < len(want)/12 || len(part) > len(want)/2) {
			s.Errorf("part %d of %d has %d of %d names", i, len(cuts)+1, len(part), len(want))
		}
		got = append(got, part...)
	}
	if !slices.Equal(got, want) || len(cuts) < 2 {
		s.Fatalf("cut at %q: %d names of %d", cuts, len(got), len(want))
	}
}

// slo makes a static large object by raw, out of segments in the same container.
func (s *suite) slo(name string, parts [][]byte) transport.Receipt {
	s.Helper()
	segs := s.segments("seg/"+name, parts)
	type part struct {
		Path string `json:"path"`
		ETag string `json:"etag"`
		Size int64  `json:"size_bytes"`
	}
	var m []part
	all := ""
	for _, g := range segs {
		m = append(m, part{"/" + g.Container + "/" + g.Name, g.ETag, g.Size})
		all += g.ETag
	}
	manifest, _ := json.Marshal(m)
	r := s.raw.Do(s, http.MethodPut, s.c, name, "multipart-manifest=put", map[string]string{"Content-Type": "application/octet-stream"}, manifest)
	if r.Status != http.StatusCreated {
		s.Fatalf("raw manifest: %d %s", r.Status, r.Body)
	}
	return transport.Receipt{ETag: hexMD5([]byte(all))}
}

func (s *suite) segments(prefix string, parts [][]byte) []transport.Segment {
	s.Helper()
	var segs []transport.Segment
	for i, p := range parts {
		name := fmt.Sprintf("%s/%08d", prefix, i)
		s.rawPut(name, p, nil)
		segs = append(segs, transport.Segment{Container: s.c, Name: name, ETag: hexMD5(p), Size: int64(len(p))})
	}
	return segs
}

// kept compares what raw sees of an object's kept headers with what was asked for.
func (s *suite) kept(r Reply, want transport.Header) {
	s.Helper()
	got := transport.Header{}
	for k, v := range r.Header {
		if transport.Keeps(k) || k == transport.OriginHeader {
			got[k] = v[0]
		}
	}
	if !maps.Equal(got, want) {
		s.Errorf("headers %q, want %q", got, want)
	}
}
