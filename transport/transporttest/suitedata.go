package transporttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"farshore/transport"
)

func (s *suite) ranges() {
	data := make([]byte, 100_000)
	for i := range data {
		data[i] = byte(i * 7 >> 3)
	}
	s.rawPut("plain", data, map[string]string{"Content-Type": "text/plain"})
	s.slo("slo", [][]byte{data[:40_000], data[40_000:40_001], data[40_001:]})
	for _, name := range []string{"plain", "slo"} {
		head, err := s.ep.Head(s.ctx, s.c, name)
		if err != nil {
			s.Fatal(err)
		}
		size := int64(len(data))
		for _, r := range [][2]int64{{0, -1}, {0, size}, {0, size + 10}, {0, 1}, {1, 1}, {39_990, 20}, {40_000, 1}, {5, -1}, {size - 1, -1}, {size - 1, 1},
			{size - 1, 50}, {12_345, 50_000}, {0, 0}, {7, 0}} {
			for _, etag := range []string{"", head.ETag} {
				o, got := s.read(name, transport.OpenOptions{Offset: r[0], Length: r[1], ETag: etag, Newest: r[0] == 5})
				end := size
				if r[1] >= 0 {
					end = min(size, r[0]+r[1])
				}
				if !bytes.Equal(got, data[r[0]:end]) {
					s.Fatalf("%s %v: got %d bytes, want %d", name, r, len(got), end-r[0])
				}
				if o.Size != size || o.ETag != head.ETag || !o.Modified.Equal(head.Modified) || o.Kind != head.Kind || o.Name != name {
					s.Fatalf("%s %v: %+v, want what head says: %+v", name, r, o, head)
				}
			}
		}
		_, _, err = s.ep.Open(s.ctx, s.c, name, transport.OpenOptions{Offset: size, Length: -1})
		s.wantError(err, transport.Changed, s.c, name)
		_, _, err = s.ep.Open(s.ctx, s.c, name, transport.OpenOptions{Offset: size + 5, Length: 3, ETag: head.ETag})
		s.wantError(err, transport.Permanent, s.c, name)
	}
	s.rawPut("empty", nil, nil)
	for _, length := range []int64{-1, 0, 5} {
		if o, got := s.read("empty", transport.OpenOptions{Length: length}); len(got) != 0 || o.Size != 0 {
			s.Fatalf("empty: %+v %q", o, got)
		}
	}
	// Closing early is no error and harms nobody.
	_, r, err := s.ep.Open(s.ctx, s.c, "plain", transport.OpenOptions{Length: -1})
	if err != nil {
		s.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		s.Fatal(err)
	}
	if err := r.Close(); err != nil {
		s.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 10)); err == nil || err == io.EOF {
		s.Fatalf("read after close: %v", err)
	}
}

func (s *suite) versions() {
	old, fresh := bytes.Repeat([]byte("old "), 5000), bytes.Repeat([]byte("new "), 5000)
	s.rawPut("v", old, nil)
	etag := hexMD5(old)
	for _, o := range []transport.OpenOptions{{ETag: etag, Length: -1}, {ETag: etag, Offset: 100, Length: 100}, {ETag: etag, Length: 0}} {
		if got, _ := s.read("v", o); got.ETag != etag {
			s.Fatalf("%+v: %+v", o, got)
		}
	}
	s.rawPut("v", fresh, nil)
	for _, o := range []transport.OpenOptions{{ETag: etag, Length: -1}, {ETag: etag, Offset: 100, Length: 100}, {ETag: etag, Length: 0}, {ETag: etag, Offset: 1 << 20, Length: 5}} {
		_, r, err := s.ep.Open(s.ctx, s.c, "v", o)
		s.wantError(err, transport.Changed, s.c, "v")
		if r != nil {
			s.Fatal("an error and a reader")
		}
	}
	if got, data := s.read("v", transport.OpenOptions{Length: -1}); got.ETag != hexMD5(fresh) || !bytes.Equal(data, fresh) {
		s.Fatalf("unpinned: %+v", got)
	}
	a := s.slo("s", [][]byte{old})
	s.slo("s", [][]byte{fresh})
	_, _, err := s.ep.Open(s.ctx, s.c, "s", transport.OpenOptions{ETag: a.ETag, Length: -1})
	s.wantError(err, transport.Changed, s.c, "s")
}

// every header that a copy keeps, with values that clients have been seen to change.
func everyHeader() transport.Header {
	return transport.Header{"Content-Type": "text/x; charset=\"UTF-8\"; a=b", "Content-Encoding": "gzip", "Content-Language": "de, en",
		"Content-Disposition": `attachment; filename="a b.txt"; filename*=UTF-8''%e2%82%ac`, "Cache-Control": "no-cache, max-age=0",
		"Expires": "Thu, 01 Dec 2094 16:00:00 GMT", "X-Robots-Tag": "noindex", "X-Delete-At": strconv.FormatInt(time.Now().Add(240*time.Hour).Unix(), 10),
		"X-Object-Meta-Plain": "value", "X-Object-Meta-Percent": "100%41%zz+%20", "X-Object-Meta-Utf8": "näïve €\U0001F600", "X-Object-Meta-Empty": "",
		"X-Object-Meta-Quotes": `"a", 'b'; c=d`, "X-Object-Meta-Inner-Space": "a  b\tc", "X-Object-Meta-Long": strings.Repeat("l", 256),
		"X-Object-Meta-Mtime": "1695300000.123456789", "X-Object-Meta-123": "digits"}
}

func (s *suite) headers() {
	data := []byte("with headers")
	every := everyHeader()
	s.mustPut("all", data, transport.PutOptions{Header: every})
	s.kept(s.wantRaw("all", data), every)
	for k, v := range every {
		h := transport.Header{"Content-Type": "a/b", k: v}
		name := "one " + k
		s.mustPut(name, data, transport.PutOptions{Header: h})
		s.kept(s.wantRaw(name, data), h)
		s.rawPut("raw "+k, data, map[string]string(h))
		o, err := s.ep.Head(s.ctx, s.c, "raw "+k)
		if err != nil || !maps2Equal(o.Header, h) {
			s.Errorf("head of %s: %q %v, want %q", k, o.Header, err, h)
		}
		if o, _ := s.read("raw "+k, transport.OpenOptions{Length: -1}); !maps2Equal(o.Header, h) {
			s.Errorf("open of %s: %q, want %q", k, o.Header, h)
		}
	}
	// The stamp travels with writes and is seen, but is no header that a copy keeps.
	h := transport.Header{"Content-Type": "a/b", transport.OriginHeader: "paris 1 abc"}
	s.mustPut("stamped", data, transport.PutOptions{Header: h})
	if o, err := s.ep.Head(s.ctx, s.c, "stamped"); err != nil || !maps2Equal(o.Header, h) {
		s.Errorf("stamp: %q %v", o.Header, err)
	}
	// Many headers; one more than the region says it takes is refused. (All 90 of
	// them would not fit the attributes of some file systems under a Swift: L11.)
	a, err := s.ep.Abilities(s.ctx)
	if err != nil {
		s.Fatal(err)
	}
	many := transport.Header{"Content-Type": "a/b"}
	for i := range a.MaxMetaCount + 1 {
		if many[fmt.Sprintf("X-Object-Meta-K%02d", i)] = strconv.Itoa(i); i == 30 {
			s.mustPut("many", data, transport.PutOptions{Header: many})
			s.kept(s.wantRaw("many", data), many)
		}
	}
	_, err = s.ep.Put(s.ctx, s.c, "too many", body(data), transport.PutOptions{Header: many})
	s.wantError(err, transport.Permanent, s.c, "too many")
	// What Swift would drop in silence, or HTTP cannot carry, is refused.
	for _, bad := range []transport.Header{{"X-Custom": "1"}, {"X-Static-Large-Object": "true"}} {
		_, err = s.ep.Put(s.ctx, s.c, "bad", body(data), transport.PutOptions{Header: bad})
		s.wantError(err, transport.Permanent, s.c, "bad")
	}
	s.wantNone("bad")
}

func maps2Equal(a, b transport.Header) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return true
}

func (s *suite) post() {
	data := []byte("bytes stay")
	every := everyHeader()
	s.mustPut("p", data, transport.PutOptions{Header: every})
	s.mustPut("bystander", data, transport.PutOptions{Header: every})
	next := transport.Header{"Content-Type": "new/type", "Content-Language": "fr", "X-Object-Meta-New": "né%41", "X-Object-Meta-Plain": "changed"}
	for _, h := range []transport.Header{next, every, {"Content-Type": "only/type"}} {
		if err := s.ep.Post(s.ctx, s.c, "p", h); err != nil {
			s.Fatal(err)
		}
		s.kept(s.wantRaw("p", data), h)
	}
	s.kept(s.wantRaw("bystander", data), every)
	rc := s.slo("s", [][]byte{data})
	if err := s.ep.Post(s.ctx, s.c, "s", next); err != nil {
		s.Fatal(err)
	}
	if o, err := s.ep.Head(s.ctx, s.c, "s"); err != nil || o.Kind != transport.SLO || o.ETag != rc.ETag || !maps2Equal(o.Header, next) {
		s.Fatalf("posted manifest: %+v %v", o, err)
	}
	s.wantError(s.ep.Post(s.ctx, s.c, "none", next), transport.NotFound, s.c, "none")
	s.wantNone("none")
}

func (s *suite) put() {
	for _, size := range []int{0, 1, 4096, 1<<20 - 1, 1 << 20, 3<<20 + 5} {
		data := bytes.Repeat([]byte("0123456789abcdef!"), size/17+1)[:size]
		name := fmt.Sprint("size ", size)
		rc := s.mustPut(name, data, transport.PutOptions{Header: transport.Header{"Content-Type": "a/b"}})
		s.kept(s.wantRaw(name, data), transport.Header{"Content-Type": "a/b"})
		if d := time.Since(rc.Modified); d > time.Hour || d < -time.Hour {
			s.Errorf("receipt of %v", rc.Modified)
		}
	}
	// Overwriting replaces bytes and every header.
	s.mustPut("o", []byte("one"), transport.PutOptions{Header: everyHeader()})
	s.mustPut("o", []byte("two"), transport.PutOptions{Header: transport.Header{"Content-Type": "a/b"}})
	s.kept(s.wantRaw("o", []byte("two")), transport.Header{"Content-Type": "a/b"})
	// A stream can be sent, too.
	b := body([]byte("streamed"))
	b.Once = true
	b.Open = func() (io.Reader, error) {
		return io.MultiReader(strings.NewReader("stre"), strings.NewReader("amed")), nil
	}
	if _, err := s.ep.Put(s.ctx, s.c, "once", b, transport.PutOptions{}); err != nil {
		s.Fatal(err)
	}
	s.wantRaw("once", []byte("streamed"))
}

// putBroken checks that a body other than announced leaves nothing behind, and
// what was there before as it was.
func (s *suite) putBroken() {
	old := []byte("the old one")
	s.rawPut("old", old, nil)
	good := bytes.Repeat([]byte("x"), 2<<20)
	opens := func(r io.Reader) func() (io.Reader, error) { return func() (io.Reader, error) { return r, nil } }
	source := &transport.Error{Op: "get", Region: "elsewhere", Container: "c", Name: "n", Class: transport.Changed, Err: errors.New("it went")}
	plain := errors.New("disk trouble")
	for _, size := range []int{100, len(good)} {
		for _, name := range []string{"old", "fresh"} {
			want := body(good[:size])
			for what, r := range map[string]io.Reader{"short": bytes.NewReader(good[:size-1]), "empty": bytes.NewReader(nil),
				"half": bytes.NewReader(good[:size/2]), "other": bytes.NewReader(bytes.Repeat([]byte("y"), size))} {
				b := want
				b.Open, b.Once = opens(r), true
				_, err := s.ep.Put(s.ctx, s.c, name, b, transport.PutOptions{})
				class := transport.Transient
				if what == "other" {
					class = transport.Corrupt
				}
				s.wantError(err, class, s.c, name)
				if class == transport.Transient && !errors.Is(err, io.ErrUnexpectedEOF) {
					s.Errorf("%s: %v is no io.ErrUnexpectedEOF", what, err)
				}
			}
			b := want
			b.Once = true
			b.Open = opens(io.MultiReader(bytes.NewReader(good[:size/2]), failing{source}))
			if _, err := s.ep.Put(s.ctx, s.c, name, b, transport.PutOptions{}); !errors.Is(err, source) || transport.ClassOf(err) != transport.Changed {
				s.Errorf("a body that breaks with %v gives %v", source, err)
			}
			b.Open = opens(io.MultiReader(bytes.NewReader(good[:size/2]), failing{plain}))
			if _, err := s.ep.Put(s.ctx, s.c, name, b, transport.PutOptions{}); !errors.Is(err, plain) {
				s.Errorf("a body that breaks with %v gives %v", plain, err)
			}
			b.Open = func() (io.Reader, error) { return nil, plain }
			if _, err := s.ep.Put(s.ctx, s.c, name, b, transport.PutOptions{}); !errors.Is(err, plain) {
				s.Errorf("a body that does not open with %v gives %v", plain, err)
			}
			b.MD5, b.Open = hexMD5([]byte("else")), want.Open
			_, err := s.ep.Put(s.ctx, s.c, name, b, transport.PutOptions{})
			s.wantError(err, transport.Corrupt, s.c, name)
		}
	}
	// Longer than announced: an error; and if the announced part is what its MD5
	// says, the region may have taken that.
	b := body(good[:100])
	b.Open = opens(bytes.NewReader(good[:101]))
	if _, err := s.ep.Put(s.ctx, s.c, "long", b, transport.PutOptions{}); err == nil {
		s.Error("a body longer than announced is accepted")
	}
	s.wantNone("fresh")
	s.wantRaw("old", old)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func (s *suite) ifAbsent() {
	if a, err := s.ep.Abilities(s.ctx); err != nil || a.IfNoneMatch == transport.No {
		s.Skip("the region has no If-None-Match", err)
	}
	big := bytes.Repeat([]byte("b"), 3<<20)
	for i, data := range [][]byte{[]byte("first"), big} {
		name := fmt.Sprint("n", i)
		s.mustPut(name, data, transport.PutOptions{IfAbsent: true})
		for _, other := range [][]byte{[]byte("second"), big[1:], data} {
			_, err := s.ep.Put(s.ctx, s.c, name, body(other), transport.PutOptions{IfAbsent: true})
			s.wantError(err, transport.Exists, s.c, name)
		}
		s.wantRaw(name, data)
	}
	segs := s.segments("x", [][]byte{[]byte("a"), []byte("b")})
	_, err := s.ep.PutManifest(s.ctx, s.c, "n0", segs, transport.PutOptions{IfAbsent: true})
	s.wantError(err, transport.Exists, s.c, "n0")
	if _, err := s.ep.PutManifest(s.ctx, s.c, "m", segs, transport.PutOptions{IfAbsent: true}); err != nil {
		s.Fatal(err)
	}
	s.wantRaw("m", []byte("ab"))
	s.wantRaw("n0", []byte("first"))
	s.raw.Do(s, http.MethodDelete, s.c, "n0", "", nil, nil)
	s.mustPut("n0", []byte("again"), transport.PutOptions{IfAbsent: true})
}

func (s *suite) parallel() {
	const n = 24
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() {
			name, data := fmt.Sprint("o", i%12), bytes.Repeat([]byte{byte(i)}, 1000+i%12)
			rc, err := s.ep.Put(s.ctx, s.c, name, body(data), transport.PutOptions{})
			if err == nil && rc.ETag != hexMD5(data) {
				err = fmt.Errorf("receipt %+v", rc)
			}
			var r io.ReadCloser
			var o transport.Object
			if err == nil {
				o, r, err = s.ep.Open(s.ctx, s.c, name, transport.OpenOptions{Length: -1})
			}
			if err == nil {
				var got []byte
				if got, err = io.ReadAll(r); err == nil && hexMD5(got) != o.ETag {
					err = errors.New("bytes of one version with the ETag of another")
				}
				_ = r.Close()
			}
			errs[i] = err
		})
	}
	wg.Wait()
	// Writes of the same name at the same microsecond may be refused, never mixed up.
	for i, err := range errs {
		if err != nil && transport.ClassOf(err) != transport.Transient {
			s.Errorf("worker %d: %v", i, err)
		}
	}
	if got := s.list(transport.Range{}); len(got) != 12 {
		s.Errorf("listed %q", namesOf(got))
	}
}

// canceled checks that a context that has ended is refused before anything is sent.
func (s *suite) canceled() {
	s.rawPut("here", []byte("x"), nil)
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	calls := map[string]func() error{
		"containers": func() error { return s.ep.Containers(ctx, "", func(transport.ContainerInfo) error { return nil }) },
		"container":  func() error { _, err := s.ep.Container(ctx, s.c); return err },
		"list": func() error {
			return s.ep.List(ctx, s.c, transport.Range{}, func([]transport.Entry) error { return nil })
		},
		"split": func() error { _, err := s.ep.Split(ctx, s.c, transport.Range{}, 4); return err },
		"head":  func() error { _, err := s.ep.Head(ctx, s.c, "here"); return err },
		"open":  func() error { _, _, err := s.ep.Open(ctx, s.c, "here", transport.OpenOptions{Length: -1}); return err },
		"put": func() error {
			_, err := s.ep.Put(ctx, s.c, "new", body([]byte("y")), transport.PutOptions{})
			return err
		},
		"post":       func() error { return s.ep.Post(ctx, s.c, "here", transport.Header{"Content-Type": "a/b"}) },
		"manifest":   func() error { _, err := s.ep.PutManifest(ctx, s.c, "new", nil, transport.PutOptions{}); return err },
		"collapse":   func() error { _, err := s.ep.Collapse(ctx, s.c, "here", s.c, "new", hexMD5(nil), 0, nil); return err },
		"delete":     func() error { return s.ep.Delete(ctx, s.c, "here") },
		"deletemany": func() error { return s.ep.DeleteMany(ctx, s.c, []string{"here"}) },
		"create":     func() error { return s.ep.CreateContainer(ctx, s.c+"x", nil) },
		"remove":     func() error { return s.ep.DeleteContainer(ctx, s.c) },
	}
	for name, call := range calls {
		if err := call(); transport.ClassOf(err) != transport.Canceled || err == nil {
			s.Errorf("%s: %v, class %s", name, err, transport.ClassOf(err))
		}
	}
	s.wantRaw("here", []byte("x"))
	s.wantNone("new")
	if got := slices.Sorted(slices.Values(namesOf(s.list(transport.Range{})))); len(got) != 1 {
		s.Errorf("listed %q", got)
	}
}
