//go:build lab

package fakecloud

import (
	"bytes"
	"cmp"
	"crypto/md5"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// side is one of the two object stores that must answer alike.
type side struct {
	name, url, token string
}

// request sends one step; paths go out exactly as written.
func (s side) request(t *testing.T, st step) (code int, header http.Header, body string) {
	t.Helper()
	root := strings.SplitN(strings.TrimPrefix(s.url, "http://"), "/", 2)
	fill := strings.NewReplacer("ACCOUNT", root[1][strings.LastIndex(root[1], "/")+1:])
	var rd io.Reader
	if st.body != "" {
		rd = strings.NewReader(fill.Replace(st.body))
	}
	req, err := http.NewRequest(st.method, s.url, rd)
	if err != nil {
		t.Fatal(err)
	}
	raw, query, _ := strings.Cut(st.path, "?")
	req.URL.Opaque, req.URL.RawQuery = "/"+root[1]+raw, query
	if st.method == "PUT" && st.body == "" {
		req.Body, req.ContentLength = http.NoBody, 0
	}
	if !st.anonymous {
		req.Header.Set("X-Auth-Token", s.token)
	}
	for i := 0; i < len(st.header); i += 2 {
		req.Header[http.CanonicalHeaderKey(st.header[i])] = []string{st.header[i+1]}
	}
	resp, err := (&http.Transport{DisableCompression: true, DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatalf("%s: %s %s: %v", s.name, st.method, st.path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s: %s %s: %v", s.name, st.method, st.path, err)
	}
	return resp.StatusCode, resp.Header, strings.ReplaceAll(string(b), root[1], "v1/ACCOUNT")
}

type step struct {
	method, path, body string
	header             []string
	anonymous          bool
}

// volatile is what two clusters cannot agree on: times, manifest hashes (they
// cover times), and random boundaries.
var volatile = regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+|[0-9a-f]{32}|\w{3}, \d\d \w{3} \d{4} [\d:]+ GMT`)

// compared are the headers whose values must be equal; timed ones must merely
// both be there.
var compared = []string{"Content-Type", "Content-Range", "Content-Encoding", "Content-Disposition", "X-Static-Large-Object",
	"X-Object-Manifest", "X-Symlink-Target", "X-Copied-From", "X-Object-Meta-A", "X-Object-Meta-B", "X-Object-Meta-Cd-1e", "X-Container-Meta-A",
	"X-Container-Object-Count", "X-Container-Bytes-Used", "X-Container-Read", "X-Storage-Policy", "Accept-Ranges", "Vary"}

var timed = []string{"Last-Modified", "X-Timestamp", "X-Delete-At", "X-Trans-Id", "Date", "Etag", "Location", "Content-Location",
	"X-Copied-From-Last-Modified", "X-Manifest-Etag", "Www-Authenticate"}

// TestParityWithSwift replays one script on fakecloud and on a real Swift. Point
// it with FARSHORE_PARITY_AUTH_URL, _USER, _PASSWORD, _PROJECT and _REGION.
func TestParityWithSwift(t *testing.T) {
	cloud, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer cloud.Close()
	r := cloud.Regions()[0]
	fake := side{"fakecloud", r.StorageURL(), r.Token(User, Project)}
	real := login(t)
	prefix := fmt.Sprintf("/parity%d", os.Getpid())
	steps := script(prefix)
	t.Cleanup(func() {
		for _, c := range []string{prefix, prefix + "s"} {
			_, _, body := real.request(t, step{method: "GET", path: c})
			for _, n := range strings.Split(strings.TrimSuffix(body, "\n"), "\n") {
				real.request(t, step{method: "DELETE", path: c + "/" + escape(n)})
			}
			real.request(t, step{method: "DELETE", path: c})
		}
	})
	for i, st := range steps {
		wantCode, wantHeader, wantBody := real.request(t, st)
		code, header, body := fake.request(t, st)
		what := fmt.Sprintf("step %d: %s %s %v", i, st.method, st.path, st.header)
		if code != wantCode {
			t.Errorf("%s: status %d, Swift says %d (%q; Swift: %q)", what, code, wantCode, body, wantBody)
			continue
		}
		for _, h := range compared {
			if h == "Content-Type" && code == http.StatusNotModified {
				continue // net/http leaves it out
			}
			if got, want := header.Get(h), wantHeader.Get(h); volatile.ReplaceAllString(got, "~") != volatile.ReplaceAllString(want, "~") {
				t.Errorf("%s: %s %q, Swift says %q", what, h, got, want)
			}
		}
		for _, h := range timed {
			if got, want := header.Get(h), wantHeader.Get(h); (got == "") != (want == "") {
				t.Errorf("%s: %s %q, Swift says %q", what, h, got, want)
			}
		}
		if got, want := volatile.ReplaceAllString(body, "~"), volatile.ReplaceAllString(wantBody, "~"); got != want {
			t.Errorf("%s: body %q, Swift says %q", what, got, want)
		}
	}
}

func login(t *testing.T) side {
	t.Helper()
	env := func(name, otherwise string) string { return cmp.Or(os.Getenv("FARSHORE_PARITY_"+name), otherwise) }
	auth := env("AUTH_URL", "http://127.0.0.1:17500/v3")
	domain := map[string]any{"name": "Default"}
	body, err := json.Marshal(map[string]any{"auth": map[string]any{
		"identity": map[string]any{"methods": []string{"password"}, "password": map[string]any{"user": map[string]any{
			"name": env("USER", "tenant"), "domain": domain, "password": env("PASSWORD", "labsecret")}}},
		"scope": map[string]any{"project": map[string]any{"name": env("PROJECT", "tenant"), "domain": domain}}}})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(auth+"/auth/tokens", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatalf("the lab is not there: %v", err)
	}
	defer resp.Body.Close()
	var tok tokenBody
	if err := json.NewDecoder(resp.Body).Decode(&tok); err != nil || resp.StatusCode != 201 {
		t.Fatalf("lab login: %d %v", resp.StatusCode, err)
	}
	for _, s := range tok.Token.Catalog {
		for _, e := range s.Endpoints {
			if s.Type == "object-store" && e.Interface == "public" && e.Region == env("REGION", "RegionOne") {
				return side{"swift", e.URL, resp.Header.Get("X-Subject-Token")}
			}
		}
	}
	t.Fatal("no object-store in the lab's catalog")
	return side{}
}

func script(c string) []step {
	var out []step
	do := func(method, path, body string, header ...string) {
		out = append(out, step{method: method, path: path, body: body, header: header})
	}
	anon := func(method, path string) { out = append(out, step{method: method, path: path, anonymous: true}) }
	md5sum := func(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }
	s := c + "s"
	name := strings.TrimPrefix(c, "/")
	do("PUT", c, "")
	do("PUT", c, "", "X-Container-Meta-A", "1", "X-Container-Read", ".r:*")
	do("PUT", s, "")
	do("HEAD", c, "")
	do("GET", c, "")
	do("GET", c+"?format=json", "")
	do("GET", c+"?format=xml", "")
	do("PUT", c+"/a", "hello", "Content-Type", "t/a", "X-Object-Meta-A", "1", "X-Object-Meta-Cd-1e", "x", "Content-Encoding", "zip")
	for _, m := range []string{"HEAD", "GET"} {
		do(m, c+"/a", "")
		do(m, c+"/none", "")
		do(m, c+"none", "")
		do(m, c+"/a", "", "If-Match", md5sum("hello"))
		do(m, c+"/a", "", "If-Match", "x")
		do(m, c+"/a", "", "If-None-Match", md5sum("hello"))
		do(m, c+"/a", "", "If-Modified-Since", "Sun, 22 Nov 2037 17:05:11 GMT")
		do(m, c+"/a", "", "If-Unmodified-Since", "Sun, 22 Nov 2015 17:05:11 GMT")
	}
	for _, rng := range []string{"bytes=1-2", "bytes=-2", "bytes=3-", "bytes=9-", "bytes=4-2", "bytes=-99", "x", "bytes=-0"} {
		do("GET", c+"/a", "", "Range", rng)
	}
	do("PUT", c+"/empty", "", "Content-Type", "t/e")
	for _, rng := range []string{"bytes=0-", "bytes=-5", "bytes=0-3"} {
		do("GET", c+"/empty", "", "Range", rng)
	}
	for _, n := range hostile {
		do("PUT", c+"/"+escape(n), "x", "Content-Type", "t/h")
		do("HEAD", c+"/"+escape(n), "")
	}
	for _, q := range []string{"format=json", "", "limit=3", "limit=x", "limit=-1", "limit=10001", "limit=0", "delimiter=/", "delimiter=/&marker=./",
		"delimiter=/&marker=.", "delimiter=/&reverse=true", "reverse=1&marker=b", "prefix=a", "prefix=/", "end_marker=b", "end_marker=a%2F%2Fb%00", "marker=a",
		"marker=b&end_marker=a", "path=", "path=a", "format=xml&delimiter=/", "prefix=%ff", "delimiter=%20&prefix=w", "prefix=e%CC%81"} {
		do("GET", c+"?"+q, "")
	}
	do("GET", c, "", "Accept", "application/json")
	for _, n := range hostile {
		do("DELETE", c+"/"+escape(n), "")
	}
	do("DELETE", c+"/..", "")
	do("PUT", c+"/nul%00", "x")
	do("PUT", c+"/bad%ff", "x")
	do("PUT", c+"/"+strings.Repeat("n", 1025), "x")
	do("PUT", "/"+strings.Repeat("n", 257), "")
	do("PUT", c+"/a", "x", "If-None-Match", "*")
	do("PUT", c+"/a", "x", "If-None-Match", "abc")
	do("PUT", c+"/a", "x", "Etag", md5sum("y"))
	do("PUT", c+"/x", "x", "X-Delete-At", "1")
	do("PUT", c+"/x", "x", "X-Delete-At", "z")
	do("PUT", c+"/x", "x", "X-Delete-After", "z")
	do("PUT", c+"/x", "x", "X-Object-Manifest", "z")
	do("PUT", c+"/x", "x", "X-Static-Large-Object", "true")
	do("PUT", c+"/exp", "x", "X-Delete-After", "500", "Content-Type", "t/x")
	do("HEAD", c+"/exp", "")
	do("POST", c+"/exp", "")
	do("HEAD", c+"/exp", "")
	do("POST", c+"/a", "", "X-Object-Meta-B", "2")
	do("HEAD", c+"/a", "")
	do("POST", c+"/none", "")
	// Large objects.
	do("PUT", s+"/1", "hello", "Content-Type", "t/s")
	do("PUT", s+"/2", "world!", "Content-Type", "t/s")
	seg := func(n, more string) string { return `{"path":"/` + name + `s/` + n + `"` + more + `}` }
	put := "?multipart-manifest=put"
	do("PUT", c+"/slo"+put, "["+seg("1", "")+","+seg("2", `,"range":"1-3"`)+`,{"data":"YWJj"}]`, "Content-Type", "t/l", "X-Object-Meta-A", "1")
	do("PUT", c+"/nest"+put, `[{"path":"`+c+`/slo"},{"path":"`+c+`/slo","range":"-3"}]`, "Content-Type", "t/l")
	for _, o := range []string{"/slo", "/nest"} {
		do("GET", c+o, "")
		do("HEAD", c+o, "")
		do("GET", c+o, "", "Range", "bytes=3-7")
		do("GET", c+o, "", "Range", "bytes=99-")
		do("GET", c+o+"?multipart-manifest=get", "")
		do("GET", c+o+"?multipart-manifest=get&format=raw", "")
	}
	do("GET", c+"?format=json", "")
	for _, bad := range []string{"x", "{}", "[]", `[{"data":"YQ=="}]`, "[" + seg("none", "") + "]", "[" + seg("1", `,"etag":"x","size_bytes":7`) + "]",
		"[" + seg("1", `,"zork":1`) + "]", "[" + seg("1", `,"range":"9-"`) + "]", "[" + seg("1", `,"range":"a"`) + "]", `[{"path":"x"}]`, "[1]",
		"[" + seg("1", `,"range":"1-2,3-4"`) + "]", `[{"data":"!"}]`, "[" + strings.Repeat(seg("1", "")+",", 1000) + seg("1", "") + "]"} {
		do("PUT", c+"/bad"+put, bad, "Content-Type", "t/l")
		do("PUT", c+"/bad"+put+"&heartbeat=on", bad, "Content-Type", "t/l", "Accept", "application/json")
	}
	do("PUT", c+"/slo"+put, "["+seg("1", "")+"]", "If-None-Match", "*")
	do("PUT", c+"/bad"+put, "["+seg("1", "")+"]", "Etag", md5sum("x"))
	do("POST", c+"/slo", "", "X-Object-Meta-B", "2")
	do("HEAD", c+"/slo", "")
	// Copies.
	whole := md5sum("helloorlabc")
	do("PUT", c+"/flat", "", "X-Copy-From", c+"/slo", "Etag", md5sum("x"))
	do("PUT", c+"/flat", "", "X-Copy-From", c+"/slo", "Etag", whole)
	do("GET", c+"/flat", "")
	do("GET", c+"/flat", "", "If-Match", whole)
	do("GET", c+"/flat", "", "If-None-Match", whole)
	do("PUT", c+"/fresh", "", "X-Copy-From", c+"/slo", "X-Fresh-Metadata", "true", "X-Object-Meta-A", "7")
	do("HEAD", c+"/fresh", "")
	do("PUT", c+"/new", "", "X-Copy-From", c+"/a", "If-None-Match", "*")
	do("PUT", c+"/new", "", "X-Copy-From", c+"/none")
	do("PUT", c+"/new", "", "X-Copy-From", c+"/a", "Etag", md5sum("x"))
	do("PUT", c+"/new", "", "X-Copy-From", "bad")
	do("PUT", c+"/new", "body", "X-Copy-From", c+"/a")
	do("PUT", c+"/part", "", "X-Copy-From", c+"/slo", "Range", "bytes=2-4")
	do("GET", c+"/part", "")
	do("COPY", c+"/a", "", "Destination", name+"/copied")
	do("COPY", c+"/a", "")
	do("COPY", c+"/a", "", "Destination", "bad")
	do("HEAD", c+"/copied", "")
	do("PUT", c+"/sloc?multipart-manifest=get", "", "X-Copy-From", c+"/slo")
	do("GET", c+"/sloc", "")
	// DLO, links, bulk.
	do("PUT", c+"/dlo", "own", "X-Object-Manifest", name+"s/", "Content-Type", "t/d")
	do("PUT", c+"/dlo", "own", "X-Object-Manifest", name+"s/%31", "Content-Type", "t/d")
	do("GET", c+"/dlo", "")
	do("HEAD", c+"/dlo", "")
	do("GET", c+"/dlo?multipart-manifest=get", "")
	do("POST", c+"/dlo", "")
	do("GET", c+"/dlo", "")
	do("PUT", c+"/ln", "", "X-Symlink-Target", name+"/a")
	do("GET", c+"/ln", "")
	do("GET", c+"/ln?symlink=get", "")
	do("POST", c+"/ln", "", "X-Object-Meta-A", "9")
	do("PUT", c+"/lst", "", "X-Symlink-Target", name+"/a", "X-Symlink-Target-Etag", md5sum("hello"))
	do("PUT", c+"/lst", "", "X-Symlink-Target", name+"/a", "X-Symlink-Target-Etag", "x")
	do("PUT", c+"/lst", "", "X-Symlink-Target", name+"/none", "X-Symlink-Target-Etag", "x")
	do("PUT", c+"/lbad", "", "X-Symlink-Target", name+"/lbad")
	do("PUT", c+"/lbad", "body", "X-Symlink-Target", name+"/a")
	do("PUT", c+"/lbad", "", "X-Symlink-Target", "bad")
	do("GET", c+"?format=json&prefix=l", "")
	do("POST", "?bulk-delete", name+"/copied\n"+name+"/none", "Content-Type", "text/plain", "Accept", "application/json")
	do("POST", "?bulk-delete", name+"/none\n"+name, "Content-Type", "text/plain")
	do("DELETE", c+"/nest?multipart-manifest=delete", "", "Accept", "application/json")
	do("DELETE", c+"/a?multipart-manifest=delete", "", "Accept", "application/json")
	do("DELETE", c+"/none?multipart-manifest=delete", "", "Accept", "application/json")
	do("GET", c+"/sloc", "")
	// Rights and containers.
	anon("GET", c+"/a")
	anon("GET", c)
	anon("PUT", c+"/a")
	do("PATCH", c+"/a", "")
	do("OPTIONS", c+"/a", "")
	do("DELETE", c, "")
	do("DELETE", c+"none", "")
	do("POST", c, "", "X-Container-Meta-Quota-Count", "1", "X-Remove-Container-Read", "x")
	do("PUT", c+"/over", "x")
	do("POST", c, "", "X-Container-Meta-Quota-Count", "x")
	do("PUT", c, "", "X-Storage-Policy", "none")
	return slices.Clip(out)
}
