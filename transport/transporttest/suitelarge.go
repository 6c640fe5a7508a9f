package transporttest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"farshore/transport"
)

// made checks that a test's own preparation worked.
func (s *suite) made(r Reply) Reply {
	s.Helper()
	if r.Status/100 != 2 {
		s.Fatalf("prepare: %d %s", r.Status, r.Body)
	}
	return r
}

func (s *suite) putRaw(container, name string, m transport.Manifest, o transport.PutOptions) transport.Receipt {
	s.Helper()
	etag, err := m.ETag()
	if err != nil {
		s.Fatal(err)
	}
	rc, err := s.ep.PutRaw(s.ctx, container, name, m.Encode(), etag, o)
	if err != nil || rc.ETag != etag {
		s.Fatalf("put manifest %q: %+v %v", name, rc, err)
	}
	return rc
}

// rawManifest writes and reads manifests with all that a manifest can hold: segments
// in two containers, a stretch of one, bytes of its own, another SLO.
func (s *suite) rawManifest() {
	other := s.newContainer()
	a, b, c := bytes.Repeat([]byte("a"), 40_000), []byte("bbbbbbbbbb"), []byte("c")
	s.rawPut("seg %41/é ?\n1", a, nil)
	s.made(s.raw.Do(s, http.MethodPut, other, "lead/ %2F", "", nil, b))
	s.rawPut("last", c, nil)
	inner := transport.Manifest{{Container: s.c, Name: "seg %41/é ?\n1", ETag: hexMD5(a), Size: int64(len(a))}, {Container: s.c, Name: "last", ETag: hexMD5(c), Size: 1}}
	innerRC := s.putRaw(s.c, "inner", inner, transport.PutOptions{})
	data := []byte("own \x00 bytes \xff")
	m := transport.Manifest{
		{Container: other, Name: "lead/ %2F", ETag: hexMD5(b), Size: 10, Range: "2-4"},
		{Data: data, Size: -1},
		{Container: s.c, Name: "inner", ETag: innerRC.ETag, Size: 40_001},
		{Container: s.c, Name: "inner", ETag: innerRC.ETag, Size: 40_001, Range: "39998-40000"},
		{Container: other, Name: "lead/ %2F", ETag: hexMD5(b), Size: 10},
	}
	whole := slices.Concat(b[2:5], data, a, c, a[39_998:], c, b)
	h := everyHeader()
	rc := s.putRaw(s.c, "outer %41", m, transport.PutOptions{Header: h})
	s.kept(s.wantRaw("outer %41", whole), h)
	if rc.Modified.IsZero() {
		s.Errorf("receipt %+v", rc)
	}
	o, raw, err := s.ep.Manifest(s.ctx, s.c, "outer %41", "")
	if err != nil {
		s.Fatal(err)
	}
	got, err := transport.ParseManifest(raw)
	if err != nil || !slices.EqualFunc(got, m, samePart) {
		s.Errorf("manifest %s (%v), want %s", raw, err, m.Encode())
	}
	head, err := s.ep.Head(s.ctx, s.c, "outer %41")
	if err != nil || head.Kind != transport.SLO || head.ETag != rc.ETag || head.Size != int64(len(whole)) || !maps2Equal(head.Header, h) || head.ManifestETag == "" {
		s.Errorf("head: %+v %v", head, err)
	}
	if o.Kind != head.Kind || o.ETag != head.ETag || o.Size != head.Size || !o.Modified.Equal(head.Modified) || !maps2Equal(o.Header, head.Header) {
		s.Errorf("manifest's object %+v, head %+v", o, head)
	}
	if got := s.list(transport.Range{Prefix: "outer"}); len(got) != 1 || got[0].ETag != rc.ETag || got[0].Size != head.Size {
		s.Errorf("listed as %+v", got)
	}
	// What was read can be written, with the segments elsewhere as well.
	s.made(s.raw.Do(s, http.MethodPut, other, "inner", "", nil, s.wantRaw("inner", slices.Concat(a, c)).Body))
	moved := got.In(map[string]string{other: s.c, s.c: other})
	if _, err := s.ep.PutRaw(s.ctx, s.c, "nowhere", moved.Encode(), rc.ETag, transport.PutOptions{}); !errors.Is(err, transport.ErrTarget) {
		s.Errorf("a manifest of segments that are elsewhere: %v", err)
	}
	if again, err := s.ep.PutRaw(s.ctx, s.c, "again", raw, "", transport.PutOptions{Header: h}); err != nil || again.ETag != rc.ETag {
		s.Errorf("again: %+v %v", again, err)
	}
	s.kept(s.wantRaw("again", whole), h)
	s.badManifests(m, rc.ETag)
	// Of what is no SLO there is no manifest.
	for _, name := range []string{"last", "link", "dlo"} {
		if name != "last" {
			header := map[string]string{"link": transport.TargetHeader, "dlo": transport.ManifestHeader}[name]
			s.made(s.raw.Do(s, http.MethodPut, s.c, name, "", map[string]string{header: percent(s.c) + "/inner"}, nil))
		}
		if o, raw, err := s.ep.Manifest(s.ctx, s.c, name, ""); err != nil || len(raw) != 0 || o.Kind == transport.SLO || o.Name != name {
			s.Errorf("manifest of %s: %+v %q %v", name, o, raw, err)
		}
	}
	_, _, err = s.ep.Manifest(s.ctx, s.c, "none", "")
	s.wantError(err, transport.NotFound, s.c, "none")
	// Without its first segment nobody can read it, and trying again does not help.
	s.made(s.raw.Do(s, http.MethodDelete, other, "lead/ %2F", "", nil, nil))
	_, _, err = s.ep.Open(s.ctx, s.c, "outer %41", transport.OpenOptions{Length: -1})
	s.wantError(err, transport.Permanent, s.c, "outer %41")
	if !errors.Is(err, transport.ErrManifest) {
		s.Errorf("%v is no ErrManifest", err)
	}
	if o, _, err := s.ep.Manifest(s.ctx, s.c, "outer %41", ""); err != nil || o.ETag != rc.ETag {
		s.Errorf("its manifest: %+v %v", o, err)
	}
}

func samePart(a, b transport.Part) bool {
	return a.Container == b.Container && a.Name == b.Name && a.ETag == b.ETag && a.Size == b.Size && a.Range == b.Range && bytes.Equal(a.Data, b.Data)
}

// badManifests tries manifests that must be refused, and leave nothing.
func (s *suite) badManifests(good transport.Manifest, etag string) {
	s.Helper()
	for what, c := range map[string]struct {
		change func(m transport.Manifest)
		class  transport.Class
		target bool
	}{
		"missing":    {func(m transport.Manifest) { m[0].Name += "x" }, transport.NotFound, true},
		"no segment": {func(m transport.Manifest) { m[2].Container += " none" }, transport.NotFound, true},
		"other etag": {func(m transport.Manifest) { m[2].ETag = hexMD5([]byte("?")) }, transport.Corrupt, true},
		"other size": {func(m transport.Manifest) { m[0].Size++ }, transport.Corrupt, true},
		"other sum":  {func(m transport.Manifest) { m[0].Range = "1-4" }, transport.Corrupt, false},
	} {
		bad := slices.Clone(good)
		c.change(bad)
		_, err := s.ep.PutRaw(s.ctx, s.c, "bad", bad.Encode(), etag, transport.PutOptions{})
		s.wantError(err, c.class, s.c, "bad")
		if errors.Is(err, transport.ErrTarget) != c.target {
			s.Errorf("%s: %v", what, err)
		}
		s.wantNone("bad")
	}
	for what, raw := range map[string]string{"no JSON": `[{`, "no path": `[{"path": "c"}]`, "itself": fmt.Sprintf(`[{"path": %q}]`, s.c+"/bad"),
		"data only": `[{"data": "` + base64.StdEncoding.EncodeToString([]byte("x")) + `"}]`} {
		_, err := s.ep.PutRaw(s.ctx, s.c, "bad", []byte(raw), hexMD5(nil), transport.PutOptions{})
		if err == nil || transport.ClassOf(err) != transport.Permanent {
			s.Errorf("%s: %v, class %s", what, err, transport.ClassOf(err))
		}
		s.wantNone("bad")
	}
	a, err := s.ep.Abilities(s.ctx)
	if err != nil {
		s.Fatal(err)
	}
	long := make(transport.Manifest, a.MaxSegments+1)
	for i := range long {
		long[i] = good[0]
	}
	sum, err := long.ETag()
	if err != nil {
		s.Fatal(err)
	}
	if _, err = s.ep.PutRaw(s.ctx, s.c, "bad", long.Encode(), sum, transport.PutOptions{}); err == nil || transport.ClassOf(err) != transport.Quota {
		s.Errorf("%d segments: %v", len(long), err)
	}
}

// dlo writes a dynamic large object that holds bytes itself, and sees both contents.
func (s *suite) dlo() {
	parts, own := [][]byte{[]byte("first,"), []byte("second")}, []byte("the manifest's own")
	s.segments("seg é %41", parts)
	both := []string{percent(s.c) + "/seg%20%C3%A9%20%2541/", percent(s.c) + "/seg%20" + "é" + "%20%2541/"}
	for i, value := range both {
		name := fmt.Sprint("dlo ", i)
		h := everyHeader()
		h[transport.ManifestHeader] = value
		rc := s.mustPut(name, own, transport.PutOptions{Header: h})
		s.kept(s.wantRaw(name, bytes.Join(parts, nil)), h)
		s.dloIs(name, own, h)
		if got := s.list(transport.Range{Prefix: name}); len(got) != 1 || got[0].ETag != rc.ETag || got[0].Size != int64(len(own)) || got[0].Kind != transport.Plain {
			s.Errorf("%s: listed as %+v", name, got)
		}
		next := transport.Header{"Content-Type": "n/n", "X-Object-Meta-A": "b", transport.ManifestHeader: value}
		if err := s.ep.Post(s.ctx, s.c, name, next); err != nil {
			s.Fatal(err)
		}
		s.kept(s.wantRaw(name, bytes.Join(parts, nil)), next)
		s.dloIs(name, own, next)
		delete(next, transport.ManifestHeader)
		if err := s.ep.Post(s.ctx, s.c, name, next); err != nil {
			s.Fatal(err)
		}
		s.kept(s.wantRaw(name, own), next) // it is no DLO any more
		if o, err := s.ep.Head(s.ctx, s.c, name); err != nil || o.Kind != transport.Plain {
			s.Errorf("%s without its header: %+v %v", name, o, err)
		}
	}
	// The manifest is there whatever becomes of its segments.
	for name, value := range map[string]string{"no container": percent(s.c+" none") + "/x", "no segments": percent(s.c) + "/none",
		"as it is": s.c[:12] + "/plain text"} {
		h := transport.Header{"Content-Type": "a/b", transport.ManifestHeader: value}
		s.mustPut(name, own, transport.PutOptions{Header: h})
		s.dloIs(name, own, h)
	}
	s.mustPut("empty", nil, transport.PutOptions{Header: transport.Header{transport.ManifestHeader: both[0]}})
	if o, got := s.read("empty", transport.OpenOptions{Length: -1}); o.Kind != transport.DLO || len(got) != 0 {
		s.Errorf("empty manifest: %+v %q", o, got)
	}
	_, err := s.ep.Put(s.ctx, s.c, "bad", body(own), transport.PutOptions{Header: transport.Header{transport.ManifestHeader: "no-slash"}})
	s.wantError(err, transport.Permanent, s.c, "bad")
	s.wantNone("bad")
}

// dloIs compares all that an endpoint says of a DLO.
func (s *suite) dloIs(name string, own []byte, h transport.Header) {
	s.Helper()
	size := int64(len(own))
	is := func(o transport.Object) bool {
		return o.Kind == transport.DLO && o.Size == size && o.ETag == hexMD5(own) && maps2Equal(o.Header, h)
	}
	if o, err := s.ep.Head(s.ctx, s.c, name); err != nil || !is(o) {
		s.Errorf("%s: head %+v %v", name, o, err)
	}
	for _, o := range []transport.OpenOptions{{Length: -1}, {Length: -1, ETag: hexMD5(own)}, {Length: 0}, {Offset: size - 2, Length: 2, ETag: hexMD5(own)}, {Offset: size - 1, Length: -1}, {Length: 5}} {
		end := size
		if o.Length >= 0 {
			end = o.Offset + o.Length
		}
		if obj, got := s.read(name, o); !is(obj) || !bytes.Equal(got, own[o.Offset:end]) {
			s.Errorf("%s %+v: read %q of %+v", name, o, got, obj)
		}
	}
	_, _, err := s.ep.Open(s.ctx, s.c, name, transport.OpenOptions{Length: -1, ETag: hexMD5([]byte("other"))})
	s.wantError(err, transport.Changed, s.c, name)
}

// links writes links of every kind and sees that none is followed.
func (s *suite) links() {
	s.rawPut("to %41 é", []byte("the target"), map[string]string{"Content-Type": "t/t"})
	target := percent(s.c) + "/" + percent("to %41 é")
	slo := s.slo("slo", [][]byte{[]byte("one"), []byte("two")})
	manifest, err := s.ep.Head(s.ctx, s.c, "slo")
	if err != nil {
		s.Fatal(err)
	}
	s.made(s.raw.Do(s, http.MethodPut, s.c, "middle", "", map[string]string{transport.TargetHeader: target}, nil))
	every := everyHeader()
	every[transport.TargetHeader] = target
	for name, c := range map[string]struct {
		h    transport.Header
		want string // what it leads to
		size int64
	}{
		"soft":       {transport.Header{transport.TargetHeader: target}, "the target", 0},
		"all":        {every, "the target", 0},
		"static":     {transport.Header{transport.TargetHeader: target, transport.TargetETagHeader: hexMD5([]byte("the target"))}, "the target", 10},
		"static slo": {transport.Header{transport.TargetHeader: percent(s.c) + "/slo", transport.TargetETagHeader: manifest.ManifestETag}, "onetwo", 6},
		"dangling":   {transport.Header{transport.TargetHeader: percent(s.c) + "/none"}, "", 0},
		"abroad":     {transport.Header{transport.TargetHeader: "c/n", transport.TargetAccountHeader: "AUTH_of-nobody"}, "", 0},
		"link":       {transport.Header{transport.TargetHeader: percent(s.c) + "/middle"}, "the target", 0},
		"circle":     {transport.Header{transport.TargetHeader: percent(s.c) + "/circle%20too"}, "", 0},
	} {
		c.h["Content-Type"] = "l/l"
		rc, err := s.ep.Put(s.ctx, s.c, name, body(nil), transport.PutOptions{Header: c.h})
		if err != nil || rc.ETag != hexMD5(nil) {
			s.Fatalf("%s: %+v %v", name, rc, err)
		}
		if r := s.raw.Do(s, http.MethodGet, s.c, name, "symlink=get", nil, nil); r.Status != 200 || len(r.Body) != 0 {
			s.Errorf("%s: %d %q", name, r.Status, r.Body)
		} else {
			s.kept(r, c.h)
		}
		if r := s.rawGet(name); c.want != "" && string(r.Body) != c.want || c.want == "" && r.Status < 400 && name != "circle" {
			s.Errorf("%s leads to %d %q", name, r.Status, r.Body)
		}
		s.linkIs(name, c.h, c.size)
		next := transport.Header{"Content-Type": "m/m", "X-Object-Meta-Of": "link"}
		for k, v := range c.h {
			if strings.HasPrefix(k, "X-Symlink-") {
				next[k] = v
			}
		}
		if err := s.ep.Post(s.ctx, s.c, name, next); err != nil {
			s.Errorf("post to %s: %v", name, err)
		}
		s.linkIs(name, next, c.size)
	}
	if r := s.wantRaw("to %41 é", []byte("the target")); r.Header.Get("X-Object-Meta-Of") != "" {
		s.Error("a post to a link changed its target")
	}
	_, err = s.ep.Put(s.ctx, s.c, "full", body([]byte("x")), transport.PutOptions{Header: transport.Header{transport.TargetHeader: target}})
	s.wantError(err, transport.Permanent, s.c, "full")
	for name, c := range map[string]struct {
		h     transport.Header
		class transport.Class
	}{
		"no target":    {transport.Header{transport.TargetHeader: percent(s.c) + "/none", transport.TargetETagHeader: hexMD5(nil)}, transport.NotFound},
		"other target": {transport.Header{transport.TargetHeader: target, transport.TargetETagHeader: hexMD5([]byte("other"))}, transport.Corrupt},
		"by slo etag":  {transport.Header{transport.TargetHeader: percent(s.c) + "/slo", transport.TargetETagHeader: slo.ETag}, transport.Corrupt},
	} {
		_, err := s.ep.Put(s.ctx, s.c, name, body(nil), transport.PutOptions{Header: c.h})
		s.wantError(err, c.class, s.c, name)
		if !errors.Is(err, transport.ErrTarget) {
			s.Errorf("%s: %v is no ErrTarget", name, err)
		}
		s.wantNone(name)
	}
}

func (s *suite) linkIs(name string, h transport.Header, size int64) {
	s.Helper()
	is := func(o transport.Object) bool {
		return o.Kind == transport.Symlink && o.Size == 0 && o.ETag == hexMD5(nil) && maps2Equal(o.Header, h) && o.TargetSize == size && o.Name == name
	}
	if o, err := s.ep.Head(s.ctx, s.c, name); err != nil || !is(o) {
		s.Errorf("%s: head %+v %v, want %q", name, o, err, h)
	}
	var r io.ReadCloser
	o, r, err := s.ep.Open(s.ctx, s.c, name, transport.OpenOptions{Length: -1, ETag: hexMD5(nil)})
	if err != nil || r != nil || !is(o) {
		s.Errorf("%s: open %+v %v %v", name, o, r, err)
	}
	got := s.list(transport.Range{Prefix: name, Through: name})
	if len(got) != 1 || got[0].Kind != transport.Symlink || got[0].Target.ETag != h[transport.TargetETagHeader] || got[0].Target.Size != size ||
		!strings.HasSuffix(got[0].Target.Path, "/"+h[transport.TargetHeader]) || !strings.HasPrefix(got[0].Target.Path, "/v1/"+h[transport.TargetAccountHeader]) {
		s.Errorf("%s: listed as %+v", name, got)
	}
}
