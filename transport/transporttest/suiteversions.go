package transporttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"farshore/transport"
)

// versioned turns versions on in the suite's container.
func (s *suite) versioned(on bool) {
	s.Helper()
	if a, err := s.ep.Abilities(s.ctx); err != nil || a.Versioning == transport.No {
		s.Skip("the region keeps no versions", err)
	}
	if err := s.ep.PostContainer(s.ctx, s.c, transport.Header{"X-Versions-Enabled": fmt.Sprint(on)}, nil); err != nil {
		s.Fatal(err)
	}
	i, err := s.ep.Container(s.ctx, s.c)
	if err != nil || (i.Versioning == "X-Versions-Enabled") != on {
		s.Fatalf("versions on: %+v %v", i, err)
	}
}

func (s *suite) listVersions(r transport.Range) []transport.VersionEntry {
	s.Helper()
	var all []transport.VersionEntry
	if err := s.ep.Versions(s.ctx, s.c, r, func(page []transport.VersionEntry) error {
		if len(page) == 0 {
			s.Error("an empty page")
		}
		all = append(all, page...)
		clear(page)
		return nil
	}); err != nil {
		s.Fatalf("versions %+v: %v", r, err)
	}
	return all
}

// shape writes a listing of versions in a form to compare: name=content, with * for
// the current one and - for a delete marker.
func (s *suite) shape(all []transport.VersionEntry, content map[string]string) []string {
	s.Helper()
	var out []string
	for _, v := range all {
		text := content[v.ID]
		if v.Marker {
			text = "-"
		} else if v.ID == nullVersion {
			text = "null"
		}
		if v.Latest {
			text += "*"
		}
		out = append(out, v.Name+"="+text)
	}
	return out
}

func (s *suite) wantVersions(content map[string]string, want ...string) {
	s.Helper()
	if got := s.shape(s.listVersions(transport.Range{}), content); !slices.Equal(got, want) {
		s.Fatalf("versions\n%q\nwant\n%q", got, want)
	}
}

// versionIs reads one version by its id, by both roads.
func (s *suite) versionIs(name, id string, data []byte, h transport.Header) {
	s.Helper()
	r := s.raw.Do(s, http.MethodGet, s.c, name, "version-id="+id+"&symlink=get", nil, nil)
	if r.Status != 200 || !bytes.Equal(r.Body, data) {
		s.Errorf("raw version %s of %s: %d %q, want %q", id, name, r.Status, r.Body, data)
	}
	s.kept(r, h)
	o, err := s.ep.HeadVersion(s.ctx, s.c, name, id)
	if err != nil || o.Version != id || o.ETag != hexMD5(data) || o.Size != int64(len(data)) || !maps2Equal(o.Header, h) {
		s.Errorf("version %s of %s: head %+v %v, want %q", id, name, o, err, h)
	}
	for _, etag := range []string{"", hexMD5(data)} {
		o, got := s.read(name, transport.OpenOptions{Length: -1, Version: id, ETag: etag})
		if o.Version != id || !bytes.Equal(got, data) || !maps2Equal(o.Header, h) {
			s.Errorf("version %s of %s: %+v %q, want %q", id, name, o, got, data)
		}
	}
}

// keptVersions goes through the life of objects in a container with X-Versions-Enabled.
func (s *suite) keptVersions() {
	s.rawPut("a", []byte("before"), map[string]string{"Content-Type": "a/b"})
	if o, err := s.ep.Head(s.ctx, s.c, "a"); err != nil || o.Version != "" {
		s.Errorf("without versions: %+v %v", o, err)
	}
	content := map[string]string{}
	s.wantVersions(content, "a=null*")
	s.versionIs("a", nullVersion, []byte("before"), transport.Header{"Content-Type": "a/b"})
	s.versioned(true)
	put := func(name, data string, h transport.Header) string {
		s.Helper()
		rc := s.mustPut(name, []byte(data), transport.PutOptions{Header: h, Versioned: true})
		if rc.Version == "" {
			s.Fatalf("put %s: no version in %+v", name, rc)
		}
		content[rc.Version] = data
		return rc.Version
	}
	every := everyHeader()
	one := put("a", "one", every)
	for _, v := range s.listVersions(transport.Range{}) {
		if v.Size == 6 {
			content[v.ID] = "before" // it has got an id
		}
	}
	s.wantVersions(content, "a=one*", "a=before")
	lasting := every.Clone()
	delete(lasting, "X-Delete-At") // expiry is the name's
	s.versionIs("a", one, []byte("one"), lasting)
	if o, err := s.ep.Head(s.ctx, s.c, "a"); err != nil || o.Version != one || !maps2Equal(o.Header, every) {
		s.Errorf("current: %+v %v", o, err)
	}
	two := put("a", "two", transport.Header{"Content-Type": "2/2"})
	put("a/b", "other", nil)
	s.wantVersions(content, "a=two*", "a=one", "a=before", "a/b=other*")
	// A post changes the current version.
	posted := transport.Header{"Content-Type": "3/3", "X-Object-Meta-P": "é"}
	if err := s.ep.Post(s.ctx, s.c, "a", posted); err != nil {
		s.Fatal(err)
	}
	s.versionIs("a", two, []byte("two"), posted)
	s.versionIs("a", one, []byte("one"), lasting)
	// Delete markers, of nothing as well.
	mark := func(name string) string {
		s.Helper()
		rc, err := s.ep.DeleteMarker(s.ctx, s.c, name)
		if err != nil || rc.Version == "" || rc.Modified.IsZero() {
			s.Fatalf("delete %s: %+v %v", name, rc, err)
		}
		return rc.Version
	}
	first, second := mark("a"), mark("a")
	mark("never")
	s.wantVersions(content, "a=-*", "a=-", "a=two", "a=one", "a=before", "a/b=other*", "never=-*")
	s.wantNone("a")
	_, err := s.ep.Head(s.ctx, s.c, "a")
	s.wantError(err, transport.NotFound, s.c, "a")
	for _, id := range []string{first, "1000000000.00001", nullVersion} {
		_, err = s.ep.HeadVersion(s.ctx, s.c, "a", id)
		s.wantError(err, transport.NotFound, s.c, "a")
		if is := errors.Is(err, transport.ErrMarker); is != (id == first) {
			s.Errorf("version %s of a is a delete marker: %v (%v)", id, is, err)
		}
		_, _, err = s.ep.Open(s.ctx, s.c, "a", transport.OpenOptions{Length: -1, Version: id})
		s.wantError(err, transport.NotFound, s.c, "a")
	}
	if len(s.list(transport.Range{})) != 1 {
		s.Errorf("listed %+v", s.list(transport.Range{}))
	}
	// An older version comes back without becoming a new one.
	if err := s.ep.Revive(s.ctx, s.c, "a", one); err != nil {
		s.Fatal(err)
	}
	s.wantRaw("a", []byte("one"))
	s.wantVersions(content, "a=-", "a=-", "a=two", "a=one*", "a=before", "a/b=other*", "never=-*")
	if o, err := s.ep.Head(s.ctx, s.c, "a"); err != nil || o.Version != one {
		s.Errorf("revived: %+v %v", o, err)
	}
	s.wantError(s.ep.Revive(s.ctx, s.c, "a", "1000000000.00001"), transport.NotFound, s.c, "a")
	for _, id := range []string{second, nullVersion, ""} {
		s.wantError(s.ep.Revive(s.ctx, s.c, "a", id), transport.Permanent, s.c, "a")
	}
	// Versions go one by one; of the current one the name goes with it.
	for range 2 {
		for _, id := range []string{second, two, nullVersion} {
			if err := s.ep.DeleteVersion(s.ctx, s.c, "a", id); err != nil {
				s.Fatal(err)
			}
		}
		s.wantRaw("a", []byte("one"))
		s.wantVersions(content, "a=-", "a=one*", "a=before", "a/b=other*", "never=-*")
	}
	if err := s.ep.DeleteVersion(s.ctx, s.c, "a", one); err != nil {
		s.Fatal(err)
	}
	s.wantNone("a")
	s.wantVersions(content, "a=-*", "a=before", "a/b=other*", "never=-*")
	s.wantError(s.ep.DeleteVersion(s.ctx, s.c, "a", ""), transport.Permanent, s.c, "a")
	// A container with versions is not empty.
	if err := s.ep.DeleteVersion(s.ctx, s.c, "a", first); err != nil {
		s.Fatal(err)
	}
	s.wantVersions(content, "a=before", "a/b=other*", "never=-*")
	s.suspended(content)
	s.versionedKinds(content)
}

// suspended writes while versioning is off, where there are versions.
func (s *suite) suspended(content map[string]string) {
	s.Helper()
	s.versioned(false)
	rc := s.mustPut("a/b", []byte("null one"), transport.PutOptions{Header: transport.Header{"Content-Type": "0/0"}})
	if rc.Version != "" {
		s.Errorf("a version %q while there are none", rc.Version)
	}
	s.wantVersions(content, "a=before", "a/b=null*", "a/b=other", "never=-*")
	s.versionIs("a/b", nullVersion, []byte("null one"), transport.Header{"Content-Type": "0/0"})
	if o, err := s.ep.Head(s.ctx, s.c, "a/b"); err != nil || o.Version != nullVersion {
		s.Errorf("current: %+v %v", o, err)
	}
	if rc, err := s.ep.DeleteMarker(s.ctx, s.c, "a/b"); err != nil || rc.Version != "" {
		s.Errorf("a marker while there are none: %+v %v", rc, err)
	}
	s.wantVersions(content, "a=before", "a/b=other", "never=-*")
	s.mustPut("a/b", []byte("null two"), transport.PutOptions{})
	if err := s.ep.DeleteVersion(s.ctx, s.c, "a/b", nullVersion); err != nil {
		s.Fatal(err)
	}
	s.wantNone("a/b")
	s.wantVersions(content, "a=before", "a/b=other", "never=-*")
	s.versioned(true)
}

// versionedKinds keeps versions of every kind of object.
func (s *suite) versionedKinds(content map[string]string) {
	s.Helper()
	segs := s.newContainer()
	s.made(s.raw.Do(s, http.MethodPut, segs, "seg/1", "", nil, []byte("one")))
	m := transport.Manifest{{Container: segs, Name: "seg/1", ETag: hexMD5([]byte("one")), Size: 3}}
	var ids []string
	for range 2 {
		rc := s.putRaw(s.c, "slo", m, transport.PutOptions{Header: transport.Header{"Content-Type": "s/s"}, Versioned: true})
		if rc.Version == "" {
			s.Fatalf("manifest: no version in %+v", rc)
		}
		ids = append(ids, rc.Version)
		o, raw, err := s.ep.Manifest(s.ctx, s.c, "slo", rc.Version)
		if err != nil || o.ETag != rc.ETag || o.Version != rc.Version || !bytes.Contains(raw, []byte("seg/1")) {
			s.Errorf("manifest of a version: %+v %s %v", o, raw, err)
		}
		m = append(m, m[0])
	}
	for i, id := range ids {
		if o, got := s.read("slo", transport.OpenOptions{Length: -1, Version: id}); o.Kind != transport.SLO || string(got) != strings.Repeat("one", i+1) {
			s.Errorf("version %d of an SLO: %+v %q", i, o, got)
		}
	}
	if _, err := s.ep.PutRaw(s.ctx, s.c, "slo", m.Encode(), "", transport.PutOptions{IfAbsent: true, Versioned: true}); transport.ClassOf(err) != transport.Exists {
		s.Errorf("manifest over another: %v", err)
	}
	dlo := transport.Header{"Content-Type": "d/d", transport.ManifestHeader: percent(segs) + "/seg/"}
	link := transport.Header{"Content-Type": "l/l", transport.TargetHeader: percent(segs) + "/seg/1"}
	for name, h := range map[string]transport.Header{"dlo": dlo, "link": link} {
		own := []byte(map[string]string{"dlo": "its own"}[name])
		rc := s.mustPut(name, own, transport.PutOptions{Header: h})
		s.mustPut(name, []byte("plain now"), transport.PutOptions{})
		o, err := s.ep.HeadVersion(s.ctx, s.c, name, rc.Version)
		if err != nil || o.Kind != transport.Kind(map[string]transport.Kind{"dlo": transport.DLO, "link": transport.Symlink}[name]) || !maps2Equal(o.Header, h) || o.ETag != hexMD5(own) {
			s.Errorf("version of a %s: %+v %v", name, o, err)
		}
		if name == "dlo" {
			if o, got := s.read(name, transport.OpenOptions{Length: -1, Version: rc.Version, ETag: hexMD5(own)}); o.Kind != transport.DLO || !bytes.Equal(got, own) {
				s.Errorf("version of a DLO: %+v %q", o, got)
			}
		} else if _, r, err := s.ep.Open(s.ctx, s.c, name, transport.OpenOptions{Length: -1, Version: rc.Version}); err != nil || r != nil {
			s.Errorf("version of a link: %v %v", r, err)
		}
		// The same kind as the current one.
		s.mustPut(name, own, transport.PutOptions{Header: h})
		if o, err := s.ep.Head(s.ctx, s.c, name); err != nil || !maps2Equal(o.Header, h) || o.ETag != hexMD5(own) {
			s.Errorf("current %s: %+v %v", name, o, err)
		}
		_, r, err := s.ep.Open(s.ctx, s.c, name, transport.OpenOptions{Length: -1})
		if err != nil || (r == nil) != (name == "link") {
			s.Errorf("open the current %s: %v %v", name, r, err)
		}
		if r != nil {
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, own) {
				s.Errorf("the current %s: %q %v", name, got, err)
			}
			r.Close()
		}
	}
	kinds := map[string][]transport.Kind{}
	for _, v := range s.listVersions(transport.Range{}) {
		kinds[v.Name] = append(kinds[v.Name], v.Kind)
	}
	for name, want := range map[string][]transport.Kind{"slo": {transport.SLO, transport.SLO},
		"link": {transport.Symlink, transport.Plain, transport.Symlink}, "dlo": {transport.Plain, transport.Plain, transport.Plain}} {
		if !slices.Equal(kinds[name], want) {
			s.Errorf("versions of %s are listed as %q", name, kinds[name])
		}
	}
	// A refused If-None-Match leaves no version behind.
	before := len(s.listVersions(transport.Range{}))
	_, err := s.ep.Put(s.ctx, s.c, "dlo", body([]byte("refused")), transport.PutOptions{IfAbsent: true})
	s.wantError(err, transport.Exists, s.c, "dlo")
	if got := s.listVersions(transport.Range{}); len(got) != before {
		s.Errorf("%d versions instead of %d after a refused write", len(got), before)
	}
	_ = content
}

// versionPages lists names whose versions are cut by pages at every place.
func (s *suite) versionPages() {
	s.versioned(true)
	content := map[string]string{}
	put := func(name, data string) string {
		s.Helper()
		rc := s.mustPut(name, []byte(data), transport.PutOptions{})
		content[rc.Version] = data
		return rc.Version
	}
	mark := func(name string) {
		s.Helper()
		if _, err := s.ep.DeleteMarker(s.ctx, s.c, name); err != nil {
			s.Fatal(err)
		}
	}
	var want []string
	for i := range SuitePage - 1 {
		name := fmt.Sprint("0 ", i)
		put(name, "x")
		want = append(want, name+"=x*")
	}
	put("b", "0")
	put("b", "1")
	want = append(want, "b=null*", "b=1", "b=0") // the null one ends a page
	var third string
	for i := range 13 {
		if id := put("c/d é", fmt.Sprint(i)); i == 2 {
			third = id
		}
	}
	mark("c/d é") // and below: its current version is far from the newest
	want = append(want, "c/d é=-")
	for i := 12; i >= 0; i-- {
		want = append(want, fmt.Sprint("c/d é=", i))
	}
	want[len(want)-3] += "*"
	for i := range 9 {
		put("c/d é/x", fmt.Sprint(i))
		mark("c/d é/x")
	}
	want = append(want, "c/d é/x=-*", "c/d é/x=8")
	for i := 7; i >= 0; i-- {
		want = append(want, "c/d é/x=-", fmt.Sprint("c/d é/x=", i))
	}
	// No version is current, and the newest is no marker.
	put("e", "0")
	mark("e")
	put("e", "1")
	if err := s.ep.DeleteVersion(s.ctx, s.c, "e", put("e", "2")); err != nil {
		s.Fatal(err)
	}
	want = append(want, "e=1", "e=-", "e=0")
	if err := s.ep.Revive(s.ctx, s.c, "c/d é", third); err != nil {
		s.Fatal(err)
	}
	s.versioned(false)
	s.mustPut("b", []byte("off"), transport.PutOptions{})
	s.wantVersions(content, want...)
	// From and to every name, and by prefix.
	for _, r := range []transport.Range{{After: "a"}, {After: "b"}, {After: "c/d é"}, {Through: "c/d é"}, {After: "a", Through: "c/d é/x"}, {Prefix: "c/"}, {Prefix: "c/d é"},
		{Prefix: "c/", After: "c/d é"}, {Through: "b!"}, {After: "zz"}, {After: "b", Through: "b"}, {Prefix: "nothing"}} {
		var in []string
		for _, w := range want {
			if n, _, _ := strings.Cut(w, "="); n > r.After && (r.Through == "" || n <= r.Through) && strings.HasPrefix(n, r.Prefix) {
				in = append(in, w)
			}
		}
		if got := s.shape(s.listVersions(r), content); !slices.Equal(got, in) {
			s.Errorf("%+v: versions\n%q\nwant\n%q", r, got, in)
		}
	}
	stop := fmt.Errorf("stop")
	if err := s.ep.Versions(s.ctx, s.c, transport.Range{}, func([]transport.VersionEntry) error { return stop }); err != stop { //nolint:errorlint // it must be the very error
		s.Errorf("yield's error comes back as %v", err)
	}
	err := s.ep.Versions(s.ctx, s.c+" none", transport.Range{}, func([]transport.VersionEntry) error { return nil })
	s.wantError(err, transport.NotFound, s.c+" none", "")
}

// oldVersioning has containers whose old objects go to another container.
func (s *suite) oldVersioning() {
	if a, err := s.ep.Abilities(s.ctx); err != nil || a.VersionsLocation == transport.No {
		s.Skip("the region has no X-Versions-Location", err)
	}
	for _, header := range []string{"X-Versions-Location", "X-History-Location"} {
		archive := s.newContainer()
		if err := s.ep.PostContainer(s.ctx, s.c, transport.Header{header: percent(archive)}, nil); err != nil {
			s.Fatal(err)
		}
		i, err := s.ep.Container(s.ctx, s.c)
		if err != nil || i.Versioning != header || i.Header[header] != percent(archive) {
			s.Fatalf("%+v %v", i, err)
		}
		count := func(want int) {
			s.Helper()
			n := 0
			if err := s.ep.List(s.ctx, archive, transport.Range{Prefix: "002o1/"}, func(page []transport.Entry) error { n += len(page); return nil }); err != nil || n != want {
				s.Errorf("%s: %d objects in the archive, want %d (%v)", header, n, want, err)
			}
		}
		s.mustPut("o1", []byte("one"), transport.PutOptions{})
		count(0)
		s.mustPut("o1", []byte("two"), transport.PutOptions{})
		count(1)
		if err := s.ep.Delete(s.ctx, s.c, "o1"); err != nil {
			s.Fatal(err)
		}
		if header == "X-History-Location" {
			count(3) // with a marker
			s.wantNone("o1")
		} else {
			count(0)
			s.wantRaw("o1", []byte("one"))
		}
		if err := s.ep.PostContainer(s.ctx, s.c, nil, []string{header}); err != nil {
			s.Fatal(err)
		}
		if i, err := s.ep.Container(s.ctx, s.c); err != nil || i.Versioning != "" || i.Header[header] != "" {
			s.Fatalf("%+v %v", i, err)
		}
		if err := s.ep.Delete(s.ctx, s.c, "o1"); err != nil {
			s.Fatal(err)
		}
	}
}
