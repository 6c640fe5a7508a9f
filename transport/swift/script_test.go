package swift_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"farshore/transport"
	"farshore/transport/swift"
)

// raw answers with headers and a body as they are, and closes the connection.
func raw(w http.ResponseWriter, status int, header map[string]string, body string) {
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	fmt.Fprintf(buf, "HTTP/1.1 %d X\r\nX-Trans-Id: tx-test\r\n", status)
	for k, v := range header {
		fmt.Fprintf(buf, "%s: %s\r\n", k, v)
	}
	fmt.Fprintf(buf, "\r\n%s", body)
	_ = buf.Flush()
}

func TestOpenMistrusts(t *testing.T) {
	data := "0123456789"
	etag := md5hex([]byte(data))
	head := map[string]string{"Etag": etag, "Content-Length": "10", "X-Timestamp": "1795367109.99720"}
	with := func(kv ...string) map[string]string {
		m := map[string]string{}
		for k, v := range head {
			m[k] = v
		}
		for i := 0; i < len(kv); i += 2 {
			if m[kv[i]] = kv[i+1]; kv[i+1] == "" {
				delete(m, kv[i])
			}
		}
		return m
	}
	whole := transport.OpenOptions{Length: -1}
	part := transport.OpenOptions{Offset: 2, Length: 3, ETag: etag}
	for name, c := range map[string]struct {
		o      transport.OpenOptions
		status int
		header map[string]string
		body   string
		class  transport.Class
		text   string // of the error; "": none
		opens  bool   // the error comes from reading
	}{
		"good":              {whole, 200, head, data, 0, "", true},
		"good part":         {part, 206, with("Content-Length", "3", "Content-Range", "bytes 2-4/10"), "234", 0, "", true},
		"cut short":         {whole, 200, head, data[:7], transport.Transient, "unexpected EOF", true},
		"part cut short":    {part, 206, with("Content-Length", "3", "Content-Range", "bytes 2-4/10"), "23", transport.Transient, "unexpected EOF", true},
		"flipped":           {whole, 200, head, "0123456780", transport.Corrupt, "but the object's ETag is " + etag, true},
		"unchecked":         {transport.OpenOptions{Length: -1, Unchecked: true}, 200, head, "0123456780", 0, "", true},
		"other version":     {transport.OpenOptions{Length: -1, ETag: etag}, 200, with("Etag", "ffff"), data, transport.Changed, "got ffff", false},
		"part of another":   {part, 206, with("Etag", "ffff", "Content-Length", "3", "Content-Range", "bytes 2-4/10"), "234", transport.Changed, "got ffff", false},
		"wrong part":        {part, 206, with("Content-Length", "3", "Content-Range", "bytes 3-5/10"), "345", transport.Changed, "bytes 3-5/10", false},
		"short part":        {part, 206, with("Content-Length", "2", "Content-Range", "bytes 2-3/10"), "23", transport.Changed, "bytes 2-3/10", false},
		"part unasked":      {whole, 206, with("Content-Length", "3", "Content-Range", "bytes 2-4/10"), "234", transport.Changed, "bytes 2-4/10", false},
		"nonsense range":    {part, 206, with("Content-Length", "3", "Content-Range", "bytes */10"), "234", transport.Permanent, "makes no sense", false},
		"range ignored":     {part, 200, head, data, transport.Permanent, "ignores Range", false},
		"no length":         {whole, 200, with("Content-Length", "", "Connection", "close"), data, transport.Permanent, "how long", false},
		"gzip left alone":   {whole, 200, with("Content-Encoding", "gzip"), data, 0, "", true},
		"quoted, upper":     {transport.OpenOptions{Length: -1, ETag: etag}, 200, with("Etag", `"`+strings.ToUpper(etag)+`"`), data, 0, "", true},
		"dlo":               {whole, 200, with("X-Object-Manifest", "c/p"), data, 0, "", true},
		"link":              {whole, 200, with("X-Symlink-Target", "c/p"), data, 0, "", false},
		"followed":          {whole, 200, with("Content-Location", "/v1/AUTH_x/c/p"), data, 0, "", false},
		"slo is not an MD5": {whole, 200, with("X-Static-Large-Object", "True", "Etag", `"ffff"`), data, 0, "", true},
	} {
		ep, _ := scripted(t, swift.Options{}, func(w http.ResponseWriter, r *http.Request) { raw(w, c.status, c.header, c.body) })
		o, body, err := ep.Open(t.Context(), "c", "n", c.o)
		if err == nil && body != nil {
			var got []byte
			got, err = io.ReadAll(body)
			if err == nil && string(got) != c.body {
				t.Errorf("%s: read %q", name, got)
			}
			if _, again := body.Read(make([]byte, 1)); again == nil || err != nil && !errors.Is(again, err) {
				t.Errorf("%s: after %v comes %v", name, err, again)
			}
			body.Close()
			if !c.opens {
				t.Errorf("%s: opened as %+v", name, o)
			}
		}
		if c.text == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if f := want(t, err, c.class, map[bool]int{true: 0, false: c.status}[c.opens], c.text); f.TxID != "tx-test" || f.Container != "c" || f.Name != "n" {
			t.Errorf("%s: %#v", name, f)
		}
		if c.class == transport.Transient && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v is no io.ErrUnexpectedEOF", name, err)
		}
	}
}

// fakeListing serves names in pages as a vendor might.
type fakeListing struct {
	names    []string
	short    int  // names missing from each page
	noLimit  bool // /info does not publish a listing limit
	refuses  bool // end_marker with control characters is a 400
	requests []string
}

func (f *fakeListing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/info" {
		if f.noLimit {
			w.WriteHeader(404)
			return
		}
		_, _ = io.WriteString(w, `{"swift": {"container_listing_limit": 10, "account_listing_limit": 10, "max_file_size": 7}, "slo": {"max_manifest_segments": 5}}`)
		return
	}
	q := r.URL.Query()
	f.requests = append(f.requests, r.URL.RawQuery)
	if f.refuses && strings.ContainsAny(q.Get("end_marker"), "\x00\x01") {
		w.WriteHeader(400)
		return
	}
	limit, _ := strconv.Atoi(q.Get("limit"))
	out := []map[string]any{}
	for _, n := range f.names {
		if n > q.Get("marker") && (q.Get("end_marker") == "" || n < q.Get("end_marker")) && strings.HasPrefix(n, q.Get("prefix")) && len(out) < limit-f.short {
			out = append(out, map[string]any{"name": n, "bytes": 1, "hash": "x"})
		}
	}
	_ = json.NewEncoder(w).Encode(out)
}

func TestListPages(t *testing.T) {
	var names []string
	for i := range 35 {
		names = append(names, fmt.Sprintf("n%02d", i))
	}
	for what, c := range map[string]struct {
		f        *fakeListing
		r        transport.Range
		want     []string
		requests int
	}{
		"swift":                    {&fakeListing{}, transport.Range{}, names, 4},
		"swift, full last page":    {&fakeListing{names: names[:30]}, transport.Range{}, names[:30], 4},
		"short pages":              {&fakeListing{noLimit: true, short: 9_997}, transport.Range{}, names, 13},
		"no info":                  {&fakeListing{noLimit: true}, transport.Range{}, names, 2},
		"a part":                   {&fakeListing{}, transport.Range{After: "n05", Through: "n20"}, names[6:21], 2},
		"up to the end of a page":  {&fakeListing{}, transport.Range{Through: "n09"}, names[:10], 1},
		"markers refused":          {&fakeListing{refuses: true}, transport.Range{After: "n05", Through: "n20"}, names[6:21], 3},
		"markers refused, no info": {&fakeListing{refuses: true, noLimit: true}, transport.Range{Through: "n20"}, names[:21], 2},
	} {
		if c.f.names == nil {
			c.f.names = names
		}
		ep, _ := scripted(t, swift.Options{}, c.f.ServeHTTP)
		var got []string
		err := ep.List(t.Context(), "c", c.r, func(page []transport.Entry) error {
			for _, e := range page {
				got = append(got, e.Name)
			}
			return nil
		})
		if err != nil || !slices.Equal(got, c.want) || len(c.f.requests) != c.requests {
			t.Errorf("%s: %v, %d names, want %d; %d requests, want %d: %q", what, err, len(got), len(c.want), len(c.f.requests), c.requests, c.f.requests)
		}
	}
}

func TestListMistrusts(t *testing.T) {
	for body, class := range map[string]transport.Class{
		`[{"name": "b"}, {"name": "a"}]`:           transport.Corrupt,
		`[{"name": "b"}, {"name": "b"}]`:           transport.Corrupt,
		`[{"name": "a"}, {"name": "b"}`:            transport.Transient,
		`<html>not found, but 200</html>`:          transport.Corrupt,
		`[{"name": "a", "last_modified": "soon"}]`: transport.Corrupt,
	} {
		ep, _ := scripted(t, swift.Options{}, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/info" {
				w.WriteHeader(404)
				return
			}
			_, _ = io.WriteString(w, body)
		})
		err := ep.List(t.Context(), "c", transport.Range{}, func([]transport.Entry) error { t.Error("a page of nonsense"); return nil })
		want(t, err, class, 0, "read listing: ")
	}
	// A marker that is not heeded would go round for ever.
	ep, _ := scripted(t, swift.Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/info" {
			w.WriteHeader(404)
			return
		}
		_, _ = io.WriteString(w, `[{"name": "a"}]`)
	})
	err := ep.List(t.Context(), "c", transport.Range{}, func([]transport.Entry) error { return nil })
	want(t, err, transport.Corrupt, 0, "listing not sorted: a comes after a")
}

func TestWriteMistrusts(t *testing.T) {
	var answer func(w http.ResponseWriter, r *http.Request, body []byte)
	var calls []string
	ep, _ := scripted(t, swift.Options{}, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		calls = append(calls, r.Method+" "+r.URL.RequestURI())
		if r.URL.Path == "/info" {
			_, _ = io.WriteString(w, `{"swift": {"container_listing_limit": 10}, "bulk_delete": {"max_deletes_per_request": 3}}`)
			return
		}
		if r.Header.Get("Expect") != "" {
			t.Error("Expect is sent")
		}
		answer(w, r, body)
	})
	ctx, data := t.Context(), []byte("data")
	segs := []transport.Segment{{Container: "s", Name: "a%41/é", ETag: md5hex(data), Size: 4}}
	slo := md5hex([]byte(md5hex(data)))
	reply := func(status int, etag, body string) func(http.ResponseWriter, *http.Request, []byte) {
		return func(w http.ResponseWriter, r *http.Request, _ []byte) {
			w.Header().Set("Etag", etag)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	put := func() error { _, err := ep.Put(ctx, "c", "n", bodyOf(data), transport.PutOptions{}); return err }
	manifest := func() error {
		_, err := ep.PutManifest(ctx, "c", "n", segs, transport.PutOptions{})
		return err
	}
	answer = reply(201, md5hex([]byte("other")), "")
	want(t, put(), transport.Corrupt, 201, "stored MD5")
	answer = reply(202, "", "<p>The request is accepted for processing.</p>")
	want(t, put(), transport.Transient, 202, "a newer write")
	answer = reply(201, "", "")
	want(t, put(), transport.Corrupt, 201, "stored MD5")
	want(t, manifest(), transport.Corrupt, 201, "stored MD5")
	_, err := ep.Put(ctx, "c", "n", transport.Body{Size: 0}, transport.PutOptions{})
	want(t, err, transport.Permanent, 0, "without MD5")
	answer = reply(201, `"`+slo+`"`, "")
	if err := manifest(); err != nil {
		t.Error(err)
	}
	heartbeat := func(json string) func(http.ResponseWriter, *http.Request, []byte) {
		return func(w http.ResponseWriter, r *http.Request, body []byte) {
			if got := r.URL.RawQuery; got != "heartbeat=on&multipart-manifest=put" || r.Header.Get("Etag") != slo || r.Header.Get("Accept") != "application/json" {
				t.Errorf("manifest sent with %q %v", got, r.Header)
			}
			if want := `[{"path":"/s/a%41/é","etag":"` + md5hex(data) + `","size_bytes":4}]`; string(body) != want {
				t.Errorf("manifest %s, want %s", body, want)
			}
			w.WriteHeader(202)
			_, _ = io.WriteString(w, " \r\n \r\n\r\n"+json)
		}
	}
	answer = heartbeat(`{"Response Status": "201 Created", "Etag": "\"` + slo + `\"", "Last Modified": "Sun, 22 Nov 2026 17:06:31 GMT", "Errors": []}`)
	rc, err := ep.PutManifest(ctx, "c", "n", segs, transport.PutOptions{})
	if err != nil || rc.ETag != slo || rc.Modified.Unix() != 1795367191 {
		t.Errorf("%+v %v", rc, err)
	}
	for body, c := range map[string]struct {
		class  transport.Class
		status int
	}{
		`{"Response Status": "400 Bad Request", "Errors": [["/s/a", "404 Not Found"]]}`:   {transport.NotFound, 400},
		`{"Response Status": "400 Bad Request", "Errors": [["/s/a", "Etag Mismatch"]]}`:   {transport.Corrupt, 400},
		`{"Response Status": "400 Bad Request", "Errors": [["/s/a", "503 Unavailable"]]}`: {transport.Transient, 400},
		`{"Response Status": "503 Service Unavailable", "Response Body": "later"}`:        {transport.Throttled, 503},
		`{"Response Status": "413 Too Large", "Response Body": "Upload exceeds quota."}`:  {transport.Quota, 413},
		`{"Response Status": "422 Unprocessable Entity"}`:                                 {transport.Corrupt, 422},
		`{"Response Status": "201 Created", "Etag": "ffff"}`:                              {transport.Corrupt, 201},
		`{"Response Stat`: {transport.Transient, 0},
		``:                {transport.Transient, 0},
	} {
		answer = heartbeat(body)
		want(t, manifest(), c.class, c.status, "put manifest c/n")
	}
	// A server that ignores Etag on a COPY: what it wrote is removed again.
	calls = nil
	answer = func(w http.ResponseWriter, r *http.Request, _ []byte) {
		w.Header().Set("Etag", "ffff")
		w.Header().Set("Content-Length", "0")
		if r.Method == "PUT" {
			if r.Header.Get("X-Copy-From") != "/s/a%2541/%C3%A9" || r.Header.Get("X-Fresh-Metadata") != "true" || r.Header.Get("Etag") != md5hex(data) || r.Header.Get("If-None-Match") != "" {
				t.Errorf("collapse sent with %v", r.Header)
			}
			w.WriteHeader(201)
		}
	}
	_, err = ep.Collapse(ctx, "s", "a%41/é", "c", "n", md5hex(data), 4, transport.Header{})
	want(t, err, transport.Corrupt, 201, "stored MD5")
	if got := []string{"PUT /v1/AUTH_x/c/n", "HEAD /v1/AUTH_x/c/n?multipart-manifest=get&symlink=get", "DELETE /v1/AUTH_x/c/n"}; !slices.Equal(calls, got) {
		t.Errorf("calls %q, want %q", calls, got)
	}
	// Bulk deletes: in batches, with every failure heard.
	bulk := func(json string) func(http.ResponseWriter, *http.Request, []byte) {
		return func(w http.ResponseWriter, r *http.Request, body []byte) { _, _ = io.WriteString(w, "  \r\n"+json) }
	}
	calls, answer = nil, bulk(`{"Response Status": "200 OK", "Errors": [], "Number Deleted": 3}`)
	if err := ep.DeleteMany(ctx, "c", []string{"a", "b", "c", "d"}); err != nil || !slices.Equal(calls, []string{"GET /info", "POST /v1/AUTH_x?bulk-delete=", "POST /v1/AUTH_x?bulk-delete="}) {
		t.Errorf("%v %q", err, calls)
	}
	answer = bulk(`{"Response Status": "400 Bad Request", "Errors": [["c/a%2541%0A", "403 Forbidden"], ["c/b", "500"]]}`)
	if f := want(t, ep.DeleteMany(ctx, "c", []string{"x"}), transport.Denied, 403, "2 of 1 objects failed"); f.Name != "a%41\n" || f.Container != "c" {
		t.Errorf("%#v", f)
	}
	answer = bulk(`{"Response Status": "502 Bad Gateway", "Response Body": "oh", "Errors": []}`)
	want(t, ep.DeleteMany(ctx, "c", []string{"x"}), transport.Transient, 502, "oh")
	answer = bulk(`{"Resp`)
	want(t, ep.DeleteMany(ctx, "c", []string{"x"}), transport.Transient, 0, "read the answer")
	answer = reply(503, "", "")
	if f := want(t, ep.DeleteMany(ctx, "c", []string{"x"}), transport.Throttled, 503, "delete c"); f.Container != "c" {
		t.Errorf("%#v", f)
	}
}

// TestEarlyAnswer: the body of a request is not touched any more once its outcome
// is returned, even while net/http is still sending it.
func TestEarlyAnswer(t *testing.T) {
	var servers sync.WaitGroup
	t.Cleanup(servers.Wait)
	goOn := make(chan struct{})
	ep, _ := scripted(t, swift.Options{}, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 412 X\r\nContent-Length: 2\r\n\r\nno")
		servers.Go(func() { // takes more of the body only when the request is over
			defer conn.Close()
			<-goOn
			_, _ = io.Copy(io.Discard, conn)
		})
	})
	data := bytes.Repeat([]byte("x"), 32<<20) // more than socket buffers hold
	for range 5 {
		watched := &watchedReader{in: bytes.NewReader(data)}
		body := bodyOf(nil)
		body.Size, body.Open = int64(len(data)), func() (io.Reader, error) { return watched, nil }
		_, err := ep.Put(t.Context(), "c", "n", body, transport.PutOptions{IfAbsent: true})
		watched.over.Store(true)
		goOn <- struct{}{}
		want(t, err, transport.Exists, 412, "no")
		servers.Wait()
		if watched.late.Load() {
			t.Error("the body was read after the request")
		}
	}
}

type watchedReader struct {
	in         io.Reader
	over, late atomic.Bool
}

func (r *watchedReader) Read(p []byte) (int, error) {
	if r.over.Load() {
		r.late.Store(true)
	}
	return r.in.Read(p)
}
