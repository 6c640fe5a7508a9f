package transporttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"farshore/transport"
)

func (s *suite) manifest() {
	parts := [][]byte{bytes.Repeat([]byte("a"), 70_000), []byte("b"), bytes.Repeat([]byte("c"), 12_345)}
	whole := bytes.Join(parts, nil)
	segs := s.segments("segs of %41/é \n x", parts)
	h := everyHeader()
	rc, err := s.ep.PutManifest(s.ctx, s.c, "m %41?", segs, transport.PutOptions{Header: h})
	if err != nil {
		s.Fatal(err)
	}
	s.kept(s.wantRaw("m %41?", whole), h)
	all := ""
	for _, g := range segs {
		all += g.ETag
	}
	if rc.ETag != hexMD5([]byte(all)) || rc.Modified.IsZero() {
		s.Errorf("receipt %+v", rc)
	}
	o, data := s.read("m %41?", transport.OpenOptions{Length: -1, ETag: rc.ETag})
	if o.Kind != transport.SLO || o.Size != int64(len(whole)) || o.ETag != rc.ETag || !bytes.Equal(data, whole) || !maps2Equal(o.Header, h) {
		s.Errorf("manifest reads as %+v", o)
	}
	// The same again is no trouble.
	if again, err := s.ep.PutManifest(s.ctx, s.c, "m %41?", segs, transport.PutOptions{Header: h}); err != nil || again.ETag != rc.ETag {
		s.Errorf("again: %+v %v", again, err)
	}
	for what, c := range map[string]struct {
		change func(g *transport.Segment)
		class  transport.Class
	}{
		"missing":    {func(g *transport.Segment) { g.Name += "x" }, transport.NotFound},
		"other etag": {func(g *transport.Segment) { g.ETag = hexMD5([]byte("?")) }, transport.Corrupt},
		"other size": {func(g *transport.Segment) { g.Size++ }, transport.Corrupt},
	} {
		bad := slices.Clone(segs)
		c.change(&bad[1])
		_, err := s.ep.PutManifest(s.ctx, s.c, "bad", bad, transport.PutOptions{Header: h})
		var f *transport.Error
		if !errors.As(err, &f) || f.Class != c.class {
			s.Errorf("%s: %v, class %s, want %s", what, err, transport.ClassOf(err), c.class)
		}
		s.wantNone("bad")
	}
	// Expiry of a hidden manifest.
	if _, err := s.ep.PutManifest(s.ctx, s.c, "dies", segs, transport.PutOptions{DeleteAfter: time.Hour}); err != nil {
		s.Fatal(err)
	}
	s.wantDeleteAt("dies", time.Hour)
}

func (s *suite) wantDeleteAt(name string, in time.Duration) {
	s.Helper()
	at, err := strconv.ParseInt(s.rawGet(name).Header.Get("X-Delete-At"), 10, 64)
	if err != nil {
		s.Fatalf("%s has no X-Delete-At", name)
	}
	if left := time.Until(time.Unix(at, 0)); left > in+30*time.Second || left < in-time.Minute {
		s.Errorf("%s dies in %v, want %v", name, left, in)
	}
}

func (s *suite) collapse() {
	a, err := s.ep.Abilities(s.ctx)
	if err != nil || a.CopyCollapses == transport.No || a.CopyETag == transport.No {
		s.Skip("the region cannot collapse", err)
	}
	parts := [][]byte{bytes.Repeat([]byte("1"), 100_000), bytes.Repeat([]byte("2"), 50_000)}
	whole := bytes.Join(parts, nil)
	segs := s.segments("s", parts)
	from := "hidden/manifest é%41?"
	if _, err := s.ep.PutManifest(s.ctx, s.c, from, segs, transport.PutOptions{Header: transport.Header{"Content-Type": "m/m", "X-Object-Meta-Hidden": "1"},
		DeleteAfter: time.Hour}); err != nil {
		s.Fatal(err)
	}
	to := "to %41 é\n?"
	h := everyHeader()
	delete(h, "X-Delete-At")
	// The wrong MD5 leaves nothing.
	_, err = s.ep.Collapse(s.ctx, s.c, from, s.c, to, hexMD5([]byte("other")), int64(len(whole)), h)
	s.wantError(err, transport.Corrupt, s.c, to)
	s.wantNone(to)
	rc, err := s.ep.Collapse(s.ctx, s.c, from, s.c, to, hexMD5(whole), int64(len(whole)), h)
	if err != nil || rc.ETag != hexMD5(whole) || rc.Modified.IsZero() {
		s.Fatalf("%+v %v", rc, err)
	}
	r := s.wantRaw(to, whole)
	s.kept(r, h) // above all, the manifest's X-Delete-At did not come along
	if r.Header.Get("X-Static-Large-Object") != "" || strings.Trim(r.Header.Get("Etag"), `"`) != hexMD5(whole) {
		s.Errorf("the copy is no plain object: %v", r.Header)
	}
	if o, err := s.ep.Head(s.ctx, s.c, to); err != nil || o.Kind != transport.Plain || o.Size != int64(len(whole)) {
		s.Errorf("%+v %v", o, err)
	}
	// It can be read pinned to its MD5, whole and in part: Swift's own If-Match still
	// knows it by the manifest's ETag.
	if o, data := s.read(to, transport.OpenOptions{Length: -1, ETag: hexMD5(whole)}); !bytes.Equal(data, whole) || o.ETag != hexMD5(whole) {
		s.Errorf("read pinned: %+v", o)
	}
	if _, data := s.read(to, transport.OpenOptions{Offset: 99_990, Length: 20, ETag: hexMD5(whole)}); !bytes.Equal(data, whole[99_990:100_010]) {
		s.Errorf("part read pinned: %q", data)
	}
	_, _, err = s.ep.Open(s.ctx, s.c, to, transport.OpenOptions{Length: -1, ETag: hexMD5([]byte("other"))})
	s.wantError(err, transport.Changed, s.c, to)
	// Over an existing object: right replaces, wrong leaves it.
	_, err = s.ep.Collapse(s.ctx, s.c, from, s.c, to, hexMD5([]byte("other")), int64(len(whole)), transport.Header{"Content-Type": "b/b"})
	s.wantError(err, transport.Corrupt, s.c, to)
	s.kept(s.wantRaw(to, whole), h)
	if _, err = s.ep.Collapse(s.ctx, s.c, from, s.c, to, hexMD5(whole), int64(len(whole)), transport.Header{"Content-Type": "b/b"}); err != nil {
		s.Fatal(err)
	}
	s.kept(s.wantRaw(to, whole), transport.Header{"Content-Type": "b/b"})
	// Into another container; with segments gone, the copy stays.
	other := s.newContainer()
	if _, err = s.ep.Collapse(s.ctx, s.c, from, other, to, hexMD5(whole), int64(len(whole)), h); err != nil {
		s.Fatal(err)
	}
	for _, g := range segs {
		s.raw.Do(s, http.MethodDelete, g.Container, g.Name, "", nil, nil)
	}
	if r := s.raw.Do(s, http.MethodGet, other, to, "", nil, nil); !bytes.Equal(r.Body, whole) {
		s.Errorf("the copy depends on its segments: %d", r.Status)
	}
	_, err = s.ep.Collapse(s.ctx, s.c, "none", s.c, to, hexMD5(whole), int64(len(whole)), h)
	s.wantError(err, transport.NotFound, s.c, to)
	s.copyPlain(other, to, h)
}

// copyPlain checks that a plain object is copied by the same rules (L6).
func (s *suite) copyPlain(other, taken string, h transport.Header) {
	data := []byte("a plain object\x00")
	s.rawPut("plain source", data, map[string]string{"Content-Type": "p/p", "X-Object-Meta-Gone": "stays behind"})
	_, err := s.ep.Collapse(s.ctx, s.c, "plain source", other, "plain copy", hexMD5([]byte("other")), int64(len(data)), h)
	s.wantError(err, transport.Corrupt, other, "plain copy")
	if _, err := s.ep.Head(s.ctx, other, "plain copy"); !transport.Is(err, transport.NotFound) {
		s.Errorf("a refused copy was made: %v", err)
	}
	for _, name := range []string{"plain copy", taken} { // a new name, and over an object
		rc, err := s.ep.Collapse(s.ctx, s.c, "plain source", other, name, hexMD5(data), int64(len(data)), h)
		if err != nil || rc.ETag != hexMD5(data) {
			s.Fatalf("%+v %v", rc, err)
		}
		r := s.raw.Do(s, http.MethodGet, other, name, "", nil, nil)
		if !bytes.Equal(r.Body, data) {
			s.Errorf("%s: %d %q", name, r.Status, r.Body)
		}
		s.kept(r, h)
	}
}

// kinds checks that links and manifests are told and never followed.
func (s *suite) kinds() {
	s.rawPut("target", []byte("the target"), map[string]string{"Content-Type": "t/t"})
	for name, header := range map[string]string{"link": "X-Symlink-Target", "dlo": "X-Object-Manifest"} {
		if r := s.raw.Do(s, http.MethodPut, s.c, name, "", map[string]string{header: percent(s.c) + "/target", "Content-Type": "l/l"}, nil); r.Status != 201 {
			s.Fatalf("make %s: %d %s", name, r.Status, r.Body)
		}
	}
	if r := s.raw.Do(s, http.MethodPut, s.c, "dangling", "", map[string]string{"X-Symlink-Target": percent(s.c) + "/nowhere", "Content-Type": "l/l"}, nil); r.Status != 201 {
		s.Fatalf("make a dangling link: %d %s", r.Status, r.Body)
	}
	s.slo("slo", [][]byte{[]byte("a")})
	for name, kind := range map[string]transport.Kind{"target": transport.Plain, "link": transport.Symlink, "dangling": transport.Symlink, "dlo": transport.DLO, "slo": transport.SLO} {
		o, err := s.ep.Head(s.ctx, s.c, name)
		if err != nil || o.Kind != kind {
			s.Errorf("head %s: kind %q, %v", name, o.Kind, err)
		}
		o, r, err := s.ep.Open(s.ctx, s.c, name, transport.OpenOptions{Length: -1})
		if err != nil || o.Kind != kind {
			s.Fatalf("open %s: kind %q, %v", name, o.Kind, err)
		}
		if read := kind != transport.Symlink; read != (r != nil) {
			s.Errorf("open %s (%s): reader %v", name, kind, r)
		}
		if r != nil {
			_, _ = io.Copy(io.Discard, r)
			_ = r.Close()
		}
	}
	if err := s.ep.Post(s.ctx, s.c, "link", transport.Header{"Content-Type": "l/l", "X-Object-Meta-Of": "link"}); err != nil {
		s.Errorf("post to a link: %v", err)
	}
	if r := s.raw.Do(s, http.MethodHead, s.c, "target", "", nil, nil); r.Header.Get("X-Object-Meta-Of") != "" {
		s.Error("a post to a link changed its target")
	}
	if err := s.ep.Delete(s.ctx, s.c, "link"); err != nil {
		s.Fatal(err)
	}
	s.wantRaw("target", []byte("the target"))
}

func (s *suite) remove() {
	s.rawPut("x", []byte("x"), nil)
	for range 2 {
		if err := s.ep.Delete(s.ctx, s.c, "x"); err != nil {
			s.Fatal(err)
		}
		s.wantNone("x")
	}
	if err := s.ep.Delete(s.ctx, s.c+" none", "x"); err != nil {
		s.Errorf("delete in a container that is not there: %v", err)
	}
	s.slo("slo", [][]byte{[]byte("keep me")})
	s.slo("bulk", [][]byte{[]byte("me too")})
	if err := s.ep.Delete(s.ctx, s.c, "slo"); err != nil {
		s.Fatal(err)
	}
	if err := s.ep.DeleteMany(s.ctx, s.c, []string{"bulk"}); err != nil {
		s.Fatal(err)
	}
	s.wantNone("slo")
	s.wantNone("bulk")
	s.wantRaw("seg/slo/00000000", []byte("keep me"))
	s.wantRaw("seg/bulk/00000000", []byte("me too"))
	if err := s.ep.DeleteMany(s.ctx, s.c, nil); err != nil {
		s.Errorf("delete nothing: %v", err)
	}
	if err := s.ep.DeleteMany(s.ctx, s.c+" none", []string{"a", "b"}); err != nil {
		s.Errorf("delete many in a container that is not there: %v", err)
	}
	// Containers.
	s.wantError(s.ep.DeleteContainer(s.ctx, s.c), transport.Permanent, s.c, "")
	name := s.c + " second"
	for range 2 {
		if err := s.ep.CreateContainer(s.ctx, name, nil); err != nil {
			s.Fatal(err)
		}
		if r := s.raw.Do(s, http.MethodHead, name, "", "", nil, nil); r.Status/100 != 2 {
			s.Errorf("container made: %d", r.Status)
		}
	}
	for range 2 {
		if err := s.ep.DeleteContainer(s.ctx, name); err != nil {
			s.Fatal(err)
		}
		if r := s.raw.Do(s, http.MethodHead, name, "", "", nil, nil); r.Status != http.StatusNotFound {
			s.Errorf("container removed: %d", r.Status)
		}
	}
}

func (s *suite) expiry() {
	for after, want := range map[time.Duration]time.Duration{time.Hour: time.Hour, 7 * 24 * time.Hour: 7 * 24 * time.Hour, 90*time.Second + time.Millisecond: 91 * time.Second} {
		s.mustPut("after", []byte("x"), transport.PutOptions{DeleteAfter: after, Header: transport.Header{"Content-Type": "a/b"}})
		s.wantDeleteAt("after", want)
	}
	// DeleteAfter is said once more than X-Delete-At.
	s.mustPut("both", []byte("x"), transport.PutOptions{DeleteAfter: time.Hour, Header: everyHeader()})
	s.wantDeleteAt("both", time.Hour)
	past := transport.Header{"Content-Type": "a/b", "X-Delete-At": strconv.FormatInt(time.Now().Add(-time.Hour).Unix(), 10)}
	_, err := s.ep.Put(s.ctx, s.c, "past", body([]byte("x")), transport.PutOptions{Header: past})
	s.wantError(err, transport.NotFound, s.c, "past")
	if !errors.Is(err, transport.ErrExpired) {
		s.Errorf("%v is no ErrExpired", err)
	}
	s.wantNone("past")
	s.rawPut("lives", []byte("x"), nil)
	if err = s.ep.Post(s.ctx, s.c, "lives", past); !errors.Is(err, transport.ErrExpired) {
		s.Errorf("post: %v is no ErrExpired", err)
	}
	s.wantRaw("lives", []byte("x"))
	bad := transport.Header{"X-Delete-At": "tomorrow"}
	_, err = s.ep.Put(s.ctx, s.c, "bad", body([]byte("x")), transport.PutOptions{Header: bad})
	s.wantError(err, transport.Permanent, s.c, "bad")
}

// failures checks classes and fields of the errors of every method.
func (s *suite) failures() {
	none := s.c + " none"
	h := transport.Header{"Content-Type": "a/b"}
	for _, c := range []string{s.c, none} {
		_, err := s.ep.Head(s.ctx, c, "no\nne")
		s.wantError(err, transport.NotFound, c, "no\nne")
		_, _, err = s.ep.Open(s.ctx, c, "none", transport.OpenOptions{Length: -1})
		s.wantError(err, transport.NotFound, c, "none")
		_, _, err = s.ep.Open(s.ctx, c, "none", transport.OpenOptions{Length: -1, ETag: hexMD5(nil)})
		s.wantError(err, transport.NotFound, c, "none")
		s.wantError(s.ep.Post(s.ctx, c, "none", h), transport.NotFound, c, "none")
	}
	_, err := s.ep.Container(s.ctx, none)
	s.wantError(err, transport.NotFound, none, "")
	err = s.ep.List(s.ctx, none, transport.Range{}, func([]transport.Entry) error { return nil })
	s.wantError(err, transport.NotFound, none, "")
	_, err = s.ep.Split(s.ctx, none, transport.Range{}, 4)
	s.wantError(err, transport.NotFound, none, "")
	_, err = s.ep.Put(s.ctx, none, "x", body([]byte("x")), transport.PutOptions{})
	s.wantError(err, transport.NotFound, none, "x")
	big := body(bytes.Repeat([]byte("x"), 4<<20))
	_, err = s.ep.Put(s.ctx, none, "x", big, transport.PutOptions{IfAbsent: true})
	s.wantError(err, transport.NotFound, none, "x")
	segs := s.segments("s", [][]byte{[]byte("a")})
	_, err = s.ep.PutManifest(s.ctx, none, "x", segs, transport.PutOptions{})
	s.wantError(err, transport.NotFound, none, "x")
	long := strings.Repeat("n", 1025)
	_, err = s.ep.Put(s.ctx, s.c, long, body([]byte("x")), transport.PutOptions{})
	f := s.wantError(err, transport.Permanent, s.c, long)
	if f.TxID == "" || f.Status == 0 || !strings.Contains(err.Error(), f.TxID) {
		s.Errorf("error %#v has no status and transaction id", f)
	}
	_, err = s.ep.Put(s.ctx, s.c, "x", body([]byte("x")), transport.PutOptions{Header: transport.Header{"X-Object-Meta-Long": strings.Repeat("v", 257)}})
	s.wantError(err, transport.Permanent, s.c, "x")
	s.wantError(s.ep.CreateContainer(s.ctx, strings.Repeat("c", 257), nil), transport.Permanent, strings.Repeat("c", 257), "")
}

func (s *suite) containers() {
	second := s.newContainer()
	var got []string
	prefix := "conformance "
	err := s.ep.Containers(s.ctx, prefix, func(i transport.ContainerInfo) error {
		got = append(got, i.Name)
		return nil
	})
	if err != nil || !slices.IsSorted(got) || !slices.Contains(got, s.c) || !slices.Contains(got, second) {
		s.Fatalf("%q %v", got, err)
	}
	stop := errors.New("stop")
	if err := s.ep.Containers(s.ctx, prefix, func(transport.ContainerInfo) error { return stop }); !errors.Is(err, stop) {
		s.Errorf("yield's error comes back as %v", err)
	}
	if err := s.ep.Containers(s.ctx, prefix+"nothing like it", func(i transport.ContainerInfo) error { return fmt.Errorf("%q", i.Name) }); err != nil {
		s.Errorf("no container: %v", err)
	}
	s.rawPut("x", []byte("12345"), nil)
	i, err := s.ep.Container(s.ctx, s.c)
	if err != nil || i.Name != s.c || i.Objects != 1 || i.Bytes != 5 || i.QuotaBytes != -1 || i.QuotaObjects != -1 || i.Versioning != "" || i.Policy == "" {
		s.Errorf("%+v %v", i, err)
	}
}

// account checks what the endpoint says of itself.
func (s *suite) account() {
	id, err := s.ep.Identity(s.ctx)
	if err != nil || id.Region == "" || id.URL == "" || strings.HasSuffix(id.URL, "/") {
		s.Errorf("%+v %v", id, err)
	}
	a, err := s.ep.Abilities(s.ctx)
	if err != nil || a.MaxObject < 1<<20 || a.MaxName < 256 || a.MaxContainerName < 64 || a.MaxMetaCount < 10 || a.MaxMetaBytes < 1024 ||
		a.MaxMetaValue < 128 || a.MaxSegments < 10 || a.MaxManifest < 1024 {
		s.Errorf("%+v %v", a, err)
	}
	if a.DLO == transport.No { // every Swift has it; where it is published, it is published as there
		s.Errorf("%+v", a)
	}
	for name, v := range a.Tried() {
		if v != transport.Yes && v != transport.No && v != transport.Unknown {
			s.Errorf("%s is %q", name, v)
		}
	}
}
