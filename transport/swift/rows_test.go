package swift

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"farshore/transport"
)

func decode(r io.Reader) (out []transport.Entry, err error) {
	err = decodeRows(r, func(w *row) error {
		out = append(out, w.entry())
		return nil
	})
	return out, err
}

const md = "0123456789abcdef0123456789abcdef"

func TestRows(t *testing.T) {
	at := time.Date(2026, 11, 22, 17, 5, 10, 469640000, time.UTC)
	one := func(s string) string {
		return `[{"bytes": 5, "hash": "` + md + `", "last_modified": "2026-11-22T17:05:10.469640", "content_type": "t/t", ` + s + `}]`
	}
	plain := transport.Entry{Size: 5, ETag: md, Modified: at, ContentType: "t/t", Kind: transport.Plain}
	with := func(change func(e *transport.Entry)) []transport.Entry {
		e := plain
		change(&e)
		return []transport.Entry{e}
	}
	named := func(name string) []transport.Entry { return with(func(e *transport.Entry) { e.Name = name }) }
	slo := with(func(e *transport.Entry) { e.Name, e.Kind, e.ETag = "n", transport.SLO, "feed" })
	for in, want := range map[string][]transport.Entry{
		`[]`:                           nil,
		" \r\n[ \t]\n":                 nil,
		one(`"name": "n"`):             named("n"),
		one(`"name":"n" , "x" : null`): named("n"),
		one(`"x": [1, {"a": "]}", "b": [true, false, null, -1.5e3]}, ""], "name": "n"`): named("n"),
		one(`"name": "a\/b\\\"\b\f\n\r\t\u00e1\u0000\uD83D\ude00é"`):                    named("a/b\\\"\b\f\n\r\tá\x00😀é"),
		one(`"name": "\\"`):                                                      named(`\`),
		one(`"name": "\\\\\""`):                                                  named(`\\"`),
		one("\"name\": \"raw\xff\xc3\""):                                         named("raw\xff\xc3"),
		one(`"name": "` + strings.Repeat(`\u00e9`, 40000) + `"`):                 named(strings.Repeat("é", 40000)),
		one(`"name": "n", "slo_etag": "\"feed\""`):                               slo,
		one(`"name": "n", "slo_etag": "FEED"`):                                   slo,
		one(`"name": "n", "hash": "x; slo_etag=feed"`):                           slo,
		one(`"name": "n", "hash": "x;s3_etag=abc-2;slo_etag=\"feed\""`):          with(func(e *transport.Entry) { *e = slo[0]; e.S3ETag = "abc-2" }),
		one(`"name": "n", "hash": "` + strings.ToUpper(md) + `; s3_etag=abc-2"`): with(func(e *transport.Entry) { *e = named("n")[0]; e.S3ETag = "abc-2" }),
		one(`"name": "n", "s3_etag": "\"abc-2\""`):                               with(func(e *transport.Entry) { *e = named("n")[0]; e.S3ETag = "abc-2" }),
		one(`"name": "n", "slo_etag": null, "symlink_path": null`):               named("n"),
		one(`"name": "n", "symlink_path": "/v1/a/c/o", "slo_etag": "\"feed\""`): with(func(e *transport.Entry) {
			e.Name, e.Kind, e.Target = "n", transport.Symlink, transport.Target{Path: "/v1/a/c/o"}
		}),
		one(`"name": "n", "symlink_path": "/v1/a/c/o%20x", "symlink_etag": "\"FEED\"", "symlink_bytes": 17`): with(func(e *transport.Entry) {
			e.Name, e.Kind, e.Target = "n", transport.Symlink, transport.Target{Path: "/v1/a/c/o%20x", ETag: "feed", Size: 17}
		}),
		one(`"name": "n", "symlink_path": "/v1/a/c/n?version-id=1", "version_symlink": true`): named("n"),
		one(`"name": "n", "last_modified": "2026-11-22T18:05:10.469+01:00"`): with(func(e *transport.Entry) {
			e.Name, e.Modified = "n", at.Truncate(time.Millisecond)
		}),
		one(`"name": "n", "last_modified": "2026-11-22T17:05:10"`):            with(func(e *transport.Entry) { e.Name, e.Modified = "n", at.Truncate(time.Second) }),
		one(`"name": "n", "last_modified": "2026-11-22T17:05:10.469640000Z"`): named("n"),
		`[{"subdir": "a/"}, {"name": "b", "bytes": 1}, {"subdir": "c/"}]`:     {{Name: "b", Size: 1, Kind: transport.Plain}},
	} {
		for what, r := range map[string]io.Reader{"at once": strings.NewReader(in), "byte by byte": iotest.OneByteReader(strings.NewReader(in))} {
			got, err := decode(r)
			if err != nil {
				t.Errorf("%.200s (%s): %v", in, what, err)
			} else if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%.200s (%s): %s", in, what, d)
			}
		}
		// Cut anywhere, it is a listing that did not arrive, or none.
		for n := 0; n < len(strings.TrimRight(in, "\n")) && n < 300; n++ {
			if _, err := decode(strings.NewReader(in[:n])); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%q: %v", in[:n], err)
			}
		}
	}
	for _, in := range []string{`{}`, `x`, `<html>`, `[1]`, `["a"]`, `[{"name": "n"} {"name": "o"}]`, `[{"name": "n"},]`, `[{"bytes": 1}]`, `[{}]`,
		`[{"name": ""}]`, `[{"name": 1}]`, `[{"name": "n", "bytes": "1"}]`, `[{"name": "n", "bytes": 1.5}]`, `[{"name": "n", "bytes": true}]`,
		`[{"name": "\ud800"}]`, `[{"name": "\ude00x"}]`, `[{"name": "\ud800\u0041"}]`, `[{"name": "\u12g4"}]`, `[{"name": "\u12"}]`, `[{"name": "\x"}]`,
		`[{"name": "n" "bytes": 1}]`, `[{"name" "n"}]`, `[{name: 1}]`, `[{"name": "n", "last_modified": "yesterday"}]`,
		`[{"name": "n", "last_modified": "2026-13-22T17:05:10.469640"}]`, `[{"name": "n", "x": ` + strings.Repeat("[", 100) + `}]`,
		`[{"name": "` + strings.Repeat("x", 2<<20) + `"}]`} {
		_, err := decode(strings.NewReader(in))
		if bad := new(rowError); !errors.As(err, &bad) {
			t.Errorf("%.100q is accepted: %v", in, err)
		}
	}
	stop := errors.New("stop")
	if err := decodeRows(strings.NewReader(one(`"name": "n"`)), func(*row) error { return stop }); err != stop {
		t.Error(err)
	}
	trouble := errors.New("trouble")
	if _, err := decode(io.MultiReader(strings.NewReader(`[{"name": "n"`), iotest.ErrReader(trouble))); err != trouble {
		t.Error(err)
	}
}

// bigPage is a page as Swift sends it.
func bigPage(n int) []byte {
	var b bytes.Buffer
	b.WriteByte('[')
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, `{"bytes": %d, "hash": "%032x", "name": "some/folder/obj-%08d", "content_type": "application/octet-stream", "last_modified": "2026-11-22T17:05:10.%06d"}`, i, i, i, i)
	}
	b.WriteByte(']')
	return b.Bytes()
}

func FuzzRows(f *testing.F) {
	f.Add([]byte(`[{"name": "a\u00e1\ud83d\ude00", "bytes": 1, "x": [{}]}]`))
	f.Add(bigPage(2))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := decode(bytes.NewReader(in))
		if err != nil {
			return
		}
		// What both accept, both read alike, unless encoding/json puts in U+FFFD.
		var want []struct {
			Name  string
			Bytes int64
		}
		if json.Unmarshal(in, &want) != nil || bytes.Contains(in, []byte("ubdir")) || len(want) != len(got) {
			return
		}
		for i, w := range want {
			if !strings.Contains(w.Name, "\ufffd") && strings.Count(string(in), "ame\"") == len(want) && w.Name != got[i].Name {
				t.Fatalf("%q: name %q, want %q", in, got[i].Name, w.Name)
			}
		}
	})
}

func BenchmarkRows(b *testing.B) {
	page := bigPage(10_000)
	b.SetBytes(int64(len(page)))
	b.ReportAllocs()
	for b.Loop() {
		entries := make([]transport.Entry, 0, 10_000)
		if err := decodeRows(bytes.NewReader(page), func(w *row) error { entries = append(entries, w.entry()); return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRowsEncodingJSON(b *testing.B) {
	page := bigPage(10_000)
	b.SetBytes(int64(len(page)))
	b.ReportAllocs()
	for b.Loop() {
		var rows []struct {
			Name         string `json:"name"`
			Hash         string `json:"hash"`
			Bytes        int64  `json:"bytes"`
			ContentType  string `json:"content_type"`
			LastModified string `json:"last_modified"`
		}
		if err := json.Unmarshal(page, &rows); err != nil {
			b.Fatal(err)
		}
	}
}
