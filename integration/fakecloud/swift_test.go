package fakecloud

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

type listed struct {
	Name         string `json:"name"`
	Subdir       string `json:"subdir"`
	Bytes        int64  `json:"bytes"`
	Hash         string `json:"hash"`
	ContentType  string `json:"content_type"`
	LastModified string `json:"last_modified"`
	SLOETag      string `json:"slo_etag"`
	SymlinkPath  string `json:"symlink_path"`
}

func (g *rig) list(path string) []listed {
	g.t.Helper()
	a := g.must(200, "GET", path, "")
	var out []listed
	if err := json.Unmarshal([]byte(a.body), &out); err != nil {
		g.t.Fatalf("listing %s: %v", path, err)
	}
	return out
}

func names(rows []listed) []string {
	var out []string
	for _, r := range rows {
		out = append(out, r.Name+r.Subdir)
	}
	return out
}

// hostile names must come back byte for byte.
var hostile = []string{"plain", "with space", "%41", "a?b", "a#b", "new\nline", "/lead", "./dot", "a//b", "trail/", "..", "../up",
	"emoji 🚢", "e\u0301 decomposed", "\u00e9 composed", "+plus", "a&b=c", "tab\t", "quo\"te\\", "\x01ctl", "ü", strings.Repeat("n", 1024)}

func escape(name string) string { return strings.ReplaceAll(url.PathEscape(name), "%2F", "/") }

func TestHostileNamesKeepTheirBytes(t *testing.T) {
	g := newRig(t, RegionOptions{})
	g.must(201, "PUT", "/c", "")
	for _, n := range hostile {
		g.must(201, "PUT", "/c/"+escape(n), "body of "+n)
	}
	want := slices.Clone(hostile)
	slices.Sort(want)
	if got := names(g.list("/c?format=json")); !slices.Equal(got, want) {
		t.Errorf("listing: got %q, want %q", got, want)
	}
	for _, n := range hostile {
		g.eq("body of "+n, g.must(200, "GET", "/c/"+escape(n), "").body, "body of "+n)
	}
	// A slash is a slash, escaped or not, and nothing is cleaned.
	g.eq("escaped slash", g.must(200, "GET", "/c%2Fa%2F%2Fb", "").body, "body of a//b")
	for _, n := range hostile {
		g.must(204, "DELETE", "/c/"+escape(n), "")
	}
	g.must(204, "DELETE", "/c", "")
	g.must(412, "PUT", "/c/nul%00", "x")
	g.must(412, "PUT", "/c/bad%ff", "x")
}

// Both markers are exclusive: a listing cut at every name, with end_marker=hi%00
// where hi belongs to the range, must give each name once (R1).
func TestListingSplitAtEveryName(t *testing.T) {
	g := newRig(t, RegionOptions{})
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	set := map[string]bool{}
	for len(set) < 60 {
		n := ""
		for range 1 + rnd.IntN(4) {
			n += []string{"a", "b", "/", "a/", "\x01", "é", "z", "0"}[rnd.IntN(8)]
		}
		set[n] = true
	}
	var all []string
	for n := range set {
		all = append(all, n)
		g.r.Put("c", n, []byte(n), nil)
	}
	slices.Sort(all)
	for i, cut := range all {
		lo := names(g.list("/c?format=json&end_marker=" + url.QueryEscape(cut+"\x00")))
		hi := names(g.list("/c?format=json&marker=" + url.QueryEscape(cut)))
		if !slices.Equal(lo, all[:i+1]) || !slices.Equal(hi, all[i+1:]) {
			t.Fatalf("cut at %q: %q and %q", cut, lo, hi)
		}
		lo = names(g.list("/c?format=json&end_marker=" + url.QueryEscape(cut)))
		if !slices.Equal(lo, all[:i]) {
			t.Fatalf("end_marker %q is not exclusive: %q", cut, lo)
		}
		back := names(g.list("/c?format=json&reverse=true&marker=" + url.QueryEscape(cut)))
		slices.Reverse(back)
		if !slices.Equal(back, all[:i]) {
			t.Fatalf("reverse from %q: %q", cut, back)
		}
	}
	for limit := 1; limit < 10; limit++ {
		var got []string
		marker := ""
		for {
			page := names(g.list("/c?format=json&limit=" + strconv.Itoa(limit) + "&marker=" + url.QueryEscape(marker)))
			if len(page) == 0 {
				break
			}
			if len(page) > limit {
				t.Fatalf("limit %d gave %d", limit, len(page))
			}
			got = append(got, page...)
			marker = page[len(page)-1]
		}
		if !slices.Equal(got, all) {
			t.Fatalf("pages of %d: %q", limit, got)
		}
	}
	for _, prefix := range []string{"a", "a/", "/", "é", "zz"} {
		var want []string
		for _, n := range all {
			if strings.HasPrefix(n, prefix) {
				want = append(want, n)
			}
		}
		if got := names(g.list("/c?format=json&prefix=" + url.QueryEscape(prefix))); !slices.Equal(got, want) {
			t.Errorf("prefix %q: got %q, want %q", prefix, got, want)
		}
	}
}

func TestDelimiterListing(t *testing.T) {
	g := newRig(t, RegionOptions{})
	for _, n := range []string{"./dot", "/lead", "a", "b/1", "b/2/x", "b/2/y", "b0", "c"} {
		g.r.Put("c", n, nil, nil)
	}
	for query, want := range map[string]string{
		"delimiter=/":                      "./ / a b/ b0 c",
		"delimiter=/&marker=./":            "/ a b/ b0 c",
		"delimiter=/&marker=.":             "./ / a b/ b0 c",
		"delimiter=/&prefix=b/":            "b/1 b/2/",
		"delimiter=/&prefix=b":             "b/ b0",
		"delimiter=/&reverse=on":           "c b0 b/ a / ./",
		"delimiter=/&reverse=on&marker=b/": "a / ./",
		"delimiter=/&limit=2":              "./ /",
		"path=b":                           "b/1",
		"path=b/2":                         "b/2/x b/2/y",
		"delimiter=2/":                     "./dot /lead a b/1 b/2/ b0 c",
		"limit=0":                          "",
	} {
		if got := strings.Join(names(g.list("/c?format=json&"+query)), " "); got != want {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
	a := g.must(200, "GET", "/c?format=xml&delimiter=/&prefix=b", "")
	if !strings.Contains(a.body, `<subdir name="b/"><name>b/</name></subdir><object><name>b0</name>`) {
		t.Errorf("xml: %s", a.body)
	}
	g.eq("plain", g.must(200, "GET", "/c?prefix=b/2", "").body, "b/2/x\nb/2/y\n")
	g.must(204, "GET", "/c?prefix=none", "")
	g.must(412, "GET", "/c?limit=10001", "")
}

func TestObjectHeadersAndTimes(t *testing.T) {
	g := newRig(t, RegionOptions{})
	g.must(201, "PUT", "/c", "")
	put := g.must(201, "PUT", "/c/o", "hello", "Content-Type", "text/x", "X-Object-Meta-Color-1a", "blue", "X-Object-Meta-Empty", "",
		"Content-Encoding", "gzip", "Content-Disposition", "inline", "Content-Language", "en", "Cache-Control", "no", "Expires", "never",
		"X-Robots-Tag", "noindex", "X-Container-Meta-Not", "mine")
	// 03:04:05.12 is shown as the next whole second in replies (L1b) …
	g.header(put, "Last-Modified", "Fri, 02 Jan 2026 03:04:06 GMT")
	g.header(put, "Etag", md5Hex([]byte("hello")))
	head := g.must(200, "HEAD", "/c/o", "", "Accept-Encoding", "identity")
	for k, v := range map[string]string{"Content-Type": "text/x", "Content-Length": "5", "Content-Encoding": "gzip",
		"Content-Disposition": "inline", "Content-Language": "en", "Cache-Control": "no", "Expires": "never", "X-Robots-Tag": "noindex",
		"X-Object-Meta-Color-1a": "blue", "Last-Modified": "Fri, 02 Jan 2026 03:04:06 GMT", "Date": "Fri, 02 Jan 2026 03:04:05 GMT"} {
		g.header(head, k, v)
	}
	if _, ok := head.header["X-Object-Meta-Empty"]; !ok {
		t.Error("an empty metadata value was dropped")
	}
	if !strings.HasPrefix(head.header.Get("X-Timestamp"), "1767323045.123") || head.header.Get("X-Trans-Id") == "" {
		t.Errorf("X-Timestamp %q, X-Trans-Id %q", head.header.Get("X-Timestamp"), head.header.Get("X-Trans-Id"))
	}
	// … and in microseconds in listings.
	row := g.list("/c?format=json")[0]
	if !strings.HasPrefix(row.LastModified, "2026-01-02T03:04:05.123") || len(row.LastModified) != 26 {
		t.Errorf("last_modified %q", row.LastModified)
	}
	g.eq("hash", row.Hash, md5Hex([]byte("hello")))

	// A POST replaces all metadata, keeps the type, moves last_modified, not hash.
	g.clock.add(time.Minute)
	g.must(202, "POST", "/c/o", "", "X-Object-Meta-New", "1")
	head = g.must(200, "HEAD", "/c/o", "")
	g.header(head, "Content-Type", "text/x")
	g.header(head, "X-Object-Meta-New", "1")
	g.header(head, "X-Object-Meta-Color-1a", "")
	g.header(head, "Content-Encoding", "")
	after := g.list("/c?format=json")[0]
	if after.Hash != row.Hash || after.LastModified <= row.LastModified {
		t.Errorf("after a POST: %+v, before %+v", after, row)
	}
	g.must(404, "POST", "/c/none", "")
}

func TestRefusedPuts(t *testing.T) {
	g := newRig(t, RegionOptions{})
	g.must(201, "PUT", "/c", "")
	many := func(n int) (h []string) {
		for i := range n {
			h = append(h, fmt.Sprintf("X-Object-Meta-K%d", i), "v")
		}
		return h
	}
	g.must(201, "PUT", "/c/ok", "x", many(90)...)
	g.must(400, "PUT", "/c/o", "x", many(91)...)
	big := func(n int) (h []string) {
		for i := range n {
			h = append(h, fmt.Sprintf("X-Object-Meta-%02d", i), strings.Repeat("v", 254))
		}
		return h
	}
	g.must(201, "PUT", "/c/ok", "x", big(16)...) // 16 × 256 = 4096
	g.must(400, "PUT", "/c/o", "x", big(17)...)
	for _, bad := range [][]string{
		{"X-Delete-At", "1"}, {"X-Delete-At", "soon"}, {"X-Delete-After", "x"}, {"X-Delete-After", "0"},
		{"X-Object-Meta-A", strings.Repeat("v", 257)}, {"X-Object-Meta-" + strings.Repeat("n", 129), "v"},
		{"If-None-Match", "abc"}, {"X-Object-Manifest", "nocontainer"}, {"X-Static-Large-Object", "true"},
	} {
		g.must(400, "PUT", "/c/o", "x", bad...)
	}
	g.must(400, "PUT", "/c/"+strings.Repeat("n", 1025), "x")
	g.must(400, "PUT", "/"+strings.Repeat("n", 257), "")
	g.must(404, "PUT", "/none/o", "x")
	g.must(422, "PUT", "/c/o", "x", "Etag", md5Hex([]byte("y")))
	g.must(201, "PUT", "/c/o", "x", "If-None-Match", "*", "Etag", `"`+md5Hex([]byte("x"))+`"`)
	g.must(412, "PUT", "/c/o", "y", "If-None-Match", "*")
	g.eq("content", g.must(200, "GET", "/c/o", "").body, "x")
	g.must(409, "DELETE", "/c", "")
	// Shorter than announced: nothing is stored.
	g.rawSend("PUT " + strings.TrimPrefix(g.r.StorageURL(), g.r.URL()) + "/c/short HTTP/1.1\r\nHost: x\r\nX-Auth-Token: " + g.token +
		"\r\nContent-Length: 10\r\nConnection: close\r\n\r\nabc")
	g.must(404, "HEAD", "/c/short", "")
}

func TestRangesAndConditions(t *testing.T) {
	g := newRig(t, RegionOptions{})
	g.r.Put("c", "o", []byte("0123456789"), nil)
	for rng, want := range map[string]string{"bytes=0-3": "0123", "bytes=7-": "789", "bytes=-2": "89", "bytes=8-99": "89", "bytes=-99": "0123456789"} {
		a := g.must(206, "GET", "/c/o", "", "Range", rng)
		g.eq(rng, a.body, want)
	}
	g.header(g.must(206, "GET", "/c/o", "", "Range", "bytes=2-4"), "Content-Range", "bytes 2-4/10")
	g.header(g.must(416, "GET", "/c/o", "", "Range", "bytes=10-"), "Content-Range", "bytes */10")
	g.eq("nonsense is ignored", g.must(200, "GET", "/c/o", "", "Range", "bytes=5-2").body, "0123456789")
	multi := g.must(206, "GET", "/c/o", "", "Range", "bytes=0-0,9-9")
	if !strings.Contains(multi.body, "bytes 0-0/10\r\n\r\n0\r\n") || !strings.Contains(multi.body, "bytes 9-9/10\r\n\r\n9\r\n") {
		t.Errorf("multipart: %q", multi.body)
	}
	tag := md5Hex([]byte("0123456789"))
	g.must(206, "GET", "/c/o", "", "If-Match", `"`+tag+`"`, "Range", "bytes=0-3")
	g.must(412, "GET", "/c/o", "", "If-Match", "other", "Range", "bytes=0-3")
	g.must(304, "GET", "/c/o", "", "If-None-Match", tag)
	g.must(404, "GET", "/c/none", "")
	g.must(412, "GET", "/c/none", "", "If-Match", "*")
}

func TestExpiryFollowsTheClock(t *testing.T) {
	g := newRig(t, RegionOptions{})
	g.must(201, "PUT", "/c", "")
	g.must(201, "PUT", "/c/o", "x", "X-Delete-After", "60")
	g.header(g.must(200, "HEAD", "/c/o", ""), "X-Delete-At", "1767323105")
	g.clock.add(59 * time.Second)
	g.must(200, "GET", "/c/o", "")
	g.clock.add(2 * time.Second)
	g.must(404, "GET", "/c/o", "")
	g.must(404, "DELETE", "/c/o", "")
	g.eq("listing", len(g.list("/c?format=json")), 0)
	// A POST without it lifts it (S2).
	g.must(201, "PUT", "/c/p", "x", "X-Delete-After", "60")
	g.must(202, "POST", "/c/p", "")
	g.clock.add(10 * time.Minute)
	g.must(200, "GET", "/c/p", "")
	g.must(204, "DELETE", "/c/p", "")
	g.must(204, "DELETE", "/c", "")
}

func TestQuotas(t *testing.T) {
	g := newRig(t, RegionOptions{})
	g.must(201, "PUT", "/c", "", "X-Container-Meta-Quota-Bytes", "10", "X-Container-Meta-Quota-Count", "2")
	g.must(413, "PUT", "/c/o", "12345678901")
	g.must(201, "PUT", "/c/a", "12345")
	g.must(201, "PUT", "/c/b", "12345")
	g.must(413, "PUT", "/c/d", "x")
	g.must(204, "POST", "/c", "", "X-Remove-Container-Meta-Quota-Bytes", "x", "X-Container-Meta-Quota-Count", "")
	g.must(201, "PUT", "/c/d", "x")
	g.must(204, "POST", "/c", "", "X-Container-Meta-Quota-Count", "4")
	g.must(201, "PUT", "/c/fourth", "x")
	g.must(413, "PUT", "/c/fifth", "x")
	g.must(204, "DELETE", "/c/fourth", "")
	g.must(204, "POST", "/c", "", "X-Remove-Container-Meta-Quota-Count", "x")
	g.must(400, "POST", "/c", "", "X-Container-Meta-Quota-Bytes", "lots")
	g.must(403, "POST", "", "", "X-Account-Meta-Quota-Bytes", "1")
	g.must(204, "POST", "", "", "X-Account-Meta-Quota-Bytes", "12", "X-Auth-Token", g.r.Token(AdminUser, Project))
	g.must(413, "PUT", "/c/e", "too much")
}

func TestRightsAndACLs(t *testing.T) {
	g := newRig(t, RegionOptions{})
	g.must(201, "PUT", "/c", "")
	g.must(201, "PUT", "/c/o", "x")
	reader, other := g.r.Token(ReaderUser, Project), g.r.Token(OtherUser, OtherProject)
	as := func(tok string) []string { return []string{"X-Auth-Token", tok} }
	g.must(200, "GET", "/c/o", "", as(reader)...)
	g.must(200, "GET", "/c", "", as(reader)...)
	g.must(403, "PUT", "/c/p", "x", as(reader)...)
	g.must(403, "DELETE", "/c/o", "", as(reader)...)
	g.must(403, "POST", "/c/o", "", as(reader)...)
	g.must(403, "PUT", "/d", "", as(reader)...)
	g.must(403, "GET", "/c/o", "", as(other)...)
	g.must(401, "GET", "/c/o", "", as("")...)
	a := g.must(401, "GET", "/c/o", "", as("bad")...)
	if !strings.Contains(a.header.Get("Www-Authenticate"), "Swift realm=") {
		t.Errorf("401 headers: %v", a.header)
	}
	g.must(204, "POST", "/c", "", "X-Container-Read", ".r:*", "X-Container-Write", "*:"+OtherUser)
	g.must(200, "GET", "/c/o", "", as("")...)
	g.must(401, "GET", "/c", "", as("")...)
	g.must(201, "PUT", "/c/p", "x", as(other)...)
	g.must(204, "POST", "/c", "", "X-Container-Read", ".r:*,.rlistings")
	seen := g.must(200, "GET", "/c", "", as("")...)
	g.header(seen, "X-Container-Read", "")
	g.header(g.must(204, "HEAD", "/c", ""), "X-Container-Read", ".r:*,.rlistings")
}

func TestContainersAndAccount(t *testing.T) {
	g := newRig(t, RegionOptions{Policies: []string{"gold", "tin"}})
	g.must(201, "PUT", "/b", "", "X-Storage-Policy", "tin", "X-Container-Meta-A", "1")
	g.must(202, "PUT", "/b", "", "X-Container-Meta-B", "2")
	g.must(409, "PUT", "/b", "", "X-Storage-Policy", "gold")
	g.must(400, "PUT", "/x", "", "X-Storage-Policy", "none")
	g.must(201, "PUT", "/a", "")
	g.must(201, "PUT", "/b/o", "12345")
	h := g.must(204, "HEAD", "/b", "")
	for k, v := range map[string]string{"X-Container-Object-Count": "1", "X-Container-Bytes-Used": "5", "X-Storage-Policy": "tin",
		"X-Container-Meta-A": "1", "X-Container-Meta-B": "2"} {
		g.header(h, k, v)
	}
	acc := g.must(204, "HEAD", "", "")
	for k, v := range map[string]string{"X-Account-Container-Count": "2", "X-Account-Object-Count": "1", "X-Account-Bytes-Used": "5"} {
		g.header(acc, k, v)
	}
	rows := g.must(200, "GET", "?format=json", "").body
	if !strings.HasPrefix(rows, `[{"name": "a", "count": 0, "bytes": 0, "last_modified": "2026-`) || !strings.Contains(rows, `"name": "b", "count": 1, "bytes": 5`) {
		t.Errorf("account listing: %s", rows)
	}
	g.eq("marker", g.must(200, "GET", "?marker=a", "").body, "b\n")
	g.must(404, "HEAD", "/none", "")
	g.must(404, "DELETE", "/none", "")
	var info map[string]map[string]any
	resp, err := http.Get(g.r.URL() + "/info")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&info); err != nil || info["slo"]["max_manifest_segments"] != 1000.0 {
		t.Errorf("info: %v %v", err, info)
	}
}
