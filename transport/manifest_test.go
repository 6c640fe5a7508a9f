package transport_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"farshore/transport"
)

// rawForm and getForm are what a Swift 2.30 answered to GET with and without
// format=raw, for an SLO of the ETag below.
const (
	rawForm = `[{"etag": "f97c5d29941bfb1b2fdab0874906ab82", "path": "/ktx poke/seg1", "size_bytes": 3}, ` +
		`{"etag": "c29061571064e796be195d4b9b99bc8b", "path": "/ktx poke/seg2", "range": "3-5", "size_bytes": 6}, {"data": "aGVsbG8="}]`
	getForm = `[{"name": "/ktx poke/seg1", "bytes": 3, "hash": "f97c5d29941bfb1b2fdab0874906ab82", "content_type": "a/b", "last_modified": "2026-11-22T21:00:53.000000"}, ` +
		`{"name": "/ktx poke/seg2", "bytes": 6, "hash": "c29061571064e796be195d4b9b99bc8b", "content_type": "a/b", "last_modified": "2026-11-22T21:00:53.000000", "range": "3-5", "sub_slo": true}, {"data": "aGVsbG8="}]`
	putForm = `[{"path": "ktx poke/seg1", "size_bytes": "3", "etag": "\"F97C5D29941BFB1B2FDAB0874906AB82\""}, ` +
		`{"path": "//ktx poke/seg2", "etag": "c29061571064e796be195d4b9b99bc8b", "range": "-3", "size_bytes": 6}, {"data": "aGVsbG8="}]`
	swiftsETag = "75b5107aee84cd948f078b773d7f1feb"
)

func TestManifestAsSwiftHasIt(t *testing.T) {
	want := transport.Manifest{{Container: "ktx poke", Name: "seg1", ETag: "f97c5d29941bfb1b2fdab0874906ab82", Size: 3},
		{Container: "ktx poke", Name: "seg2", ETag: "c29061571064e796be195d4b9b99bc8b", Size: 6, Range: "3-5"}, {Data: []byte("hello"), Size: -1}}
	for _, form := range []string{rawForm, getForm, putForm} {
		m, err := transport.ParseManifest([]byte(form))
		if err != nil {
			t.Fatal(err)
		}
		etag, err := m.ETag()
		size, err2 := m.Size()
		if etag != swiftsETag || size != 11 || err != nil || err2 != nil {
			t.Errorf("%s: ETag %s, %d bytes, %v %v", form, etag, size, err, err2)
		}
		if form == putForm {
			m[1].Range = "3-5" // as Swift writes "-3"
		}
		if d := cmp.Diff(want, m); d != "" {
			t.Errorf("%s: %s", form, d)
		}
	}
	const encoded = `[{"path":"/ktx poke/seg1","etag":"f97c5d29941bfb1b2fdab0874906ab82","size_bytes":3},` +
		`{"path":"/ktx poke/seg2","etag":"c29061571064e796be195d4b9b99bc8b","size_bytes":6,"range":"3-5"},{"data":"aGVsbG8="}]`
	if got := string(want.Encode()); got != encoded {
		t.Errorf("encoded %s", got)
	}
	moved := want.In(map[string]string{"ktx poke": "b", "": "no"})
	if etag, _ := moved.ETag(); moved[1].Container != "b" || moved[2].Container != "" || want[1].Container != "ktx poke" || etag != swiftsETag {
		t.Errorf("moved %+v", moved)
	}
	if got := moved.Containers(); !slices.Equal(got, []string{"b"}) {
		t.Errorf("containers %q", got)
	}
}

// Names are never decoded, and are written as they are.
func TestManifestNames(t *testing.T) {
	for _, name := range []string{"%41", "a/b//c/", "é\u2028<&>", "\"\\\n\x01", " lead and trail ", "?x=1", "//two"} {
		m := transport.Manifest{{Container: "c %41", Name: name, Size: -1}}
		got, err := transport.ParseManifest(m.Encode())
		if err != nil || len(got) != 1 || got[0].Name != name || got[0].Container != "c %41" || got[0].Size != -1 || got[0].ETag != "" {
			t.Errorf("%q comes back as %+v %v (%s)", name, got, err, m.Encode())
		}
	}
	if b := (transport.Manifest{{Container: "c", Name: "<é&>", Size: 1}}).Encode(); !bytes.Contains(b, []byte(`"/c/<é&>"`)) {
		t.Errorf("encoded %s", b)
	}
}

func TestManifestRanges(t *testing.T) {
	for in, want := range map[string]struct {
		span   string
		length int64
	}{"0-9": {"", 10}, "0-": {"", 10}, "-10": {"", 10}, "-11": {"", 10}, "0-99": {"", 10}, "": {"", 10}, "0-8": {"0-8", 9}, "1-9": {"1-9", 9}, "1-": {"1-9", 9},
		"1-99": {"1-9", 9}, "9-9": {"9-9", 1}, "-1": {"9-9", 1}, "3-5": {"3-5", 3}} {
		p := transport.Part{Container: "c", Name: "n", ETag: "e", Size: 10, Range: in}
		span, err := p.Span()
		n, err2 := transport.Manifest{p}.Size()
		if span != want.span || n != want.length || err != nil || err2 != nil {
			t.Errorf("%q: %q, %d bytes, %v %v", in, span, n, err, err2)
		}
	}
	for _, bad := range []string{"-", "x", "1", "5-3", "10-", "10-20", "a-b", "1-x", "-x", "-0"} {
		if span, err := (transport.Part{Size: 10, Range: bad}).Span(); err == nil {
			t.Errorf("%q is taken for %q", bad, span)
		}
	}
	// Without the size an open range means nothing.
	for _, open := range []string{"3-", "-3"} {
		if _, err := (transport.Manifest{{ETag: "e", Size: -1, Range: open}}).ETag(); err == nil {
			t.Errorf("%q of an unknown size", open)
		}
	}
	if etag, err := (transport.Manifest{{Size: 3}}).ETag(); err == nil {
		t.Errorf("a segment without an ETag gives %s", etag)
	}
	if n, err := (transport.Manifest{{ETag: "e", Size: -1}}).Size(); err == nil {
		t.Errorf("a segment without a size gives %d", n)
	}
}

func TestManifestNonsense(t *testing.T) {
	for _, bad := range []string{``, `{`, `{}`, `[1]`, `[{}]`, `[{"path": "c"}]`, `[{"path": "/"}]`, `[{"path": "c/"}]`, `[{"data": "?"}]`,
		`[{"path": "c/n", "size_bytes": -1}]`, `[{"path": "c/n", "size_bytes": 1.5}]`, `[{"path": "c/n", "size_bytes": "x"}]`, `[{"path": 3}]`} {
		if m, err := transport.ParseManifest([]byte(bad)); err == nil {
			t.Errorf("%s is read as %+v", bad, m)
		}
	}
	m, err := transport.ParseManifest([]byte(`[{"path": "c/n", "etag": null, "size_bytes": null, "range": null}]`))
	if err != nil || m[0].Size != -1 || m[0].ETag != "" {
		t.Errorf("%+v %v", m, err)
	}
}

// What is read once reads the same again, and has one ETag.
func FuzzManifest(f *testing.F) {
	for _, s := range []string{rawForm, getForm, putForm, `[]`, `[{"path": "c/%41", "range": "1-"}]`, `[{"data": "AA=="}, {"data": "AA"}]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := transport.ParseManifest(raw)
		if err != nil {
			return
		}
		again, err := transport.ParseManifest(m.Encode())
		if err != nil {
			t.Fatalf("%s: %v", m.Encode(), err)
		}
		if d := cmp.Diff(m, again); d != "" {
			t.Fatal(d)
		}
		a, errA := m.ETag()
		b, errB := again.ETag()
		if a != b || (errA == nil) != (errB == nil) || errors.Is(errA, nil) && len(a) != 32 {
			t.Fatalf("%s %v, then %s %v", a, errA, b, errB)
		}
	})
}
