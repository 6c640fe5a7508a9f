package fakecloud

import (
	"fmt"
	"strings"
	"testing"
)

func etagOf(parts ...string) string { return md5Hex([]byte(strings.Join(parts, ""))) }

func TestSLO(t *testing.T) {
	g := newRig(t, RegionOptions{})
	h1, h2 := md5Hex([]byte("hello")), md5Hex([]byte("world!"))
	g.r.Put("s", "1", []byte("hello"), nil)
	g.r.Put("s", "2", []byte("world!"), nil)
	g.must(201, "PUT", "/c", "")
	manifest := fmt.Sprintf(`[{"path":"/s/1","etag":%q,"size_bytes":5},{"path":"s/2","range":"1-3"},{"data":"YWJj"}]`, h1)
	tag := etagOf(h1, h2+":1-3;", md5Hex([]byte("abc")))
	g.must(422, "PUT", "/c/o?multipart-manifest=put", manifest, "Etag", md5Hex([]byte(manifest)))
	g.must(404, "HEAD", "/c/o", "")
	a := g.must(201, "PUT", "/c/o?multipart-manifest=put", manifest, "Etag", tag, "If-None-Match", "*", "X-Object-Meta-M", "1")
	g.header(a, "Etag", `"`+tag+`"`)
	g.must(412, "PUT", "/c/o?multipart-manifest=put", manifest, "If-None-Match", "*")
	a = g.must(200, "GET", "/c/o", "")
	g.eq("content", a.body, "helloorlabc")
	g.header(a, "Etag", `"`+tag+`"`)
	g.header(a, "X-Static-Large-Object", "True")
	g.eq("range", g.must(206, "GET", "/c/o", "", "Range", "bytes=3-6", "If-Match", tag).body, "loor")
	g.header(g.must(200, "HEAD", "/c/o", ""), "Content-Length", "11")
	a = g.must(200, "GET", "/c/o?multipart-manifest=get", "")
	g.header(a, "Content-Type", "application/json; charset=utf-8")
	stored := md5Hex([]byte(a.body))
	g.header(a, "Etag", stored)
	raw := g.must(200, "GET", "/c/o?multipart-manifest=get&format=raw", "").body
	g.eq("raw", raw, fmt.Sprintf(`[{"etag": %q, "path": "/s/1", "size_bytes": 5}, {"etag": %q, "path": "/s/2", "range": "1-3", "size_bytes": 6}, {"data": "YWJj"}]`, h1, h2))
	row := g.list("/c?format=json")[0]
	g.eq("listed bytes", row.Bytes, int64(11))
	g.eq("listed hash", row.Hash, stored)
	g.eq("slo_etag", row.SLOETag, `"`+tag+`"`)
	// The container counts the manifest only (S4).
	g.header(g.must(204, "HEAD", "/c", ""), "X-Container-Bytes-Used", fmt.Sprint(len(g.must(200, "GET", "/c/o?multipart-manifest=get", "").body)))
	// What was read raw can be put again, elsewhere and nested.
	g.must(201, "PUT", "/c/again?multipart-manifest=put", raw, "Etag", tag)
	g.must(201, "PUT", "/c/nest?multipart-manifest=put", `[{"path":"/c/o"},{"path":"/c/again","range":"-3"}]`)
	g.eq("nested", g.must(200, "GET", "/c/nest", "").body, "helloorlabcabc")
	g.must(202, "POST", "/c/o", "", "X-Object-Meta-N", "2")
	g.eq("after POST", g.must(200, "GET", "/c/o", "").body, "helloorlabc")

	// A changed segment is a 409 where it is first, an early end where later.
	g.r.Put("s", "2", []byte("WORLD!"), nil)
	if a := g.do("GET", "/c/o", ""); a.code != 200 || a.err == nil || a.body != "hello" {
		t.Errorf("later segment changed: %d %q %v", a.code, a.body, a.err)
	}
	g.r.Put("s", "1", []byte("HELLO"), nil)
	g.must(409, "GET", "/c/o", "")
	del := g.must(200, "DELETE", "/c/o?multipart-manifest=delete", "", "Accept", "application/json")
	g.eq("delete", del.body, `{"Response Status": "200 OK", "Response Body": "", "Number Deleted": 3, "Number Not Found": 0, "Errors": []}`)
	g.eq("segments", len(g.r.Names("s")), 0)
}

func TestSLORefusals(t *testing.T) {
	g := newRig(t, RegionOptions{})
	g.r.Put("s", "1", []byte("hello"), nil)
	g.must(201, "PUT", "/c", "")
	for manifest, want := range map[string]string{
		`nonsense`:             "Manifest must be valid JSON.\n",
		`{}`:                   "Manifest must be a list.\n",
		`[{"path":"/s/none"}]`: "Errors:\n/s/none, 404 Not Found\n",
		`[{"path":"/s/1","etag":"x","size_bytes":7}]`: "Errors:\n/s/1, Size Mismatch\n/s/1, Etag Mismatch\n",
		`[{"path":"/s/1","zork":1}]`:                  "Index 0: extraneous keys \"zork\"\n",
		`[{"path":"justone"}]`:                        "Index 0: path does not refer to an object. Path must be of the form /container/object.\n",
		`[{"path":"/c/o"}]`:                           "Index 0: manifest must not include itself as a segment\n",
		`[{"data":"YQ=="}]`:                           "Inline data segments require at least one object-backed segment.\n",
		`[{"path":"/s/1","range":"7-9"}]`:             "Errors:\n/s/1, Unsatisfiable Range\n",
	} {
		a := g.must(400, "PUT", "/c/o?multipart-manifest=put", manifest)
		g.eq(manifest, a.body, want)
	}
	g.must(413, "PUT", "/c/o?multipart-manifest=put", "["+strings.Repeat(`{"path":"/s/1"},`, 1000)+`{"path":"/s/1"}]`)
	g.must(201, "PUT", "/c/o?multipart-manifest=put", "["+strings.Repeat(`{"path":"/s/1"},`, 999)+`{"path":"/s/1"}]`)
	g.eq("1000 segments", len(g.must(200, "GET", "/c/o", "").body), 5000)
	// With heartbeat the status is in the body (S3).
	a := g.must(202, "PUT", "/c/hb?multipart-manifest=put&heartbeat=on", `[{"path":"/s/none"}]`, "Accept", "application/json")
	if !strings.Contains(a.body, `"Response Status": "400 Bad Request"`) {
		t.Errorf("heartbeat: %s", a.body)
	}
	a = g.must(202, "PUT", "/c/hb?multipart-manifest=put&heartbeat=on", `[{"path":"/s/1"}]`, "Accept", "application/json")
	if !strings.Contains(a.body, `"Response Status": "201 Created"`) || !strings.HasPrefix(a.body, " \r\n\r\n") {
		t.Errorf("heartbeat: %q", a.body)
	}
}

func TestDLOFollowsTheListing(t *testing.T) {
	g := newRig(t, RegionOptions{})
	g.r.Put("s", "p/1", []byte("one"), nil)
	g.must(201, "PUT", "/c", "")
	g.must(201, "PUT", "/c/o", "own", "X-Object-Manifest", "s/p%2F")
	g.r.SetListingLag(Forever)
	g.r.Put("s", "p/2", []byte("two"), nil)
	g.eq("listing lags", g.must(200, "GET", "/c/o", "").body, "one")
	g.r.FlushListings()
	a := g.must(200, "GET", "/c/o", "")
	g.eq("listing caught up", a.body, "onetwo")
	g.header(a, "Etag", `"`+etagOf(md5Hex([]byte("one")), md5Hex([]byte("two")))+`"`)
	g.header(a, "X-Object-Manifest", "s/p%2F")
	g.eq("manifest itself", g.must(200, "GET", "/c/o?multipart-manifest=get", "").body, "own")
	g.must(202, "POST", "/c/o", "")
	g.eq("a POST without the header makes it plain", g.must(200, "GET", "/c/o", "").body, "own")
}

func TestCopies(t *testing.T) {
	g := newRig(t, RegionOptions{})
	g.r.Put("s", "1", []byte("hello"), nil)
	g.r.Put("s", "2", []byte("world"), nil)
	sum, zeros := md5Hex([]byte("helloworld")), strings.Repeat("0", 32)
	g.must(201, "PUT", "/c", "")
	g.must(201, "PUT", "/c/big?multipart-manifest=put", `[{"path":"/s/1"},{"path":"/s/2"}]`, "Content-Type", "x/big", "X-Object-Meta-A", "1", "X-Delete-After", "1000")
	// Collapsing: plain, MD5 of the whole, Etag enforced, nothing stored when wrong (L1).
	g.must(422, "PUT", "/c/flat", "", "X-Copy-From", "/c/big", "Etag", zeros)
	g.must(404, "HEAD", "/c/flat", "")
	a := g.must(201, "PUT", "/c/flat", "", "X-Copy-From", "/c/big", "Etag", sum)
	g.header(a, "Etag", sum)
	g.header(a, "X-Copied-From", "c/big")
	a = g.must(200, "GET", "/c/flat", "")
	g.eq("flat", a.body, "helloworld")
	g.header(a, "X-Static-Large-Object", "")
	g.header(a, "Content-Type", "x/big")
	g.header(a, "X-Object-Meta-A", "1")
	if a.header.Get("X-Delete-At") == "" {
		t.Error("X-Delete-At of the source did not come along")
	}
	g.must(201, "PUT", "/c/fresh", "", "X-Copy-From", "/c/big", "X-Fresh-Metadata", "true", "X-Object-Meta-B", "2")
	a = g.must(200, "HEAD", "/c/fresh", "")
	g.header(a, "X-Object-Meta-A", "")
	g.header(a, "X-Object-Meta-B", "2")
	g.header(a, "X-Delete-At", "")
	// A collapsed copy keeps the SLO's mark: conditions know only that.
	mark := etagOf(md5Hex([]byte("hello")), md5Hex([]byte("world")))
	g.must(412, "GET", "/c/fresh", "", "If-Match", sum)
	g.must(200, "GET", "/c/fresh", "", "If-Match", mark)
	// If-None-Match: * is the source's condition: 304, nothing written.
	g.must(304, "PUT", "/c/new", "", "X-Copy-From", "/c/flat", "If-None-Match", "*")
	g.must(404, "HEAD", "/c/new", "")
	g.must(404, "PUT", "/c/new", "", "X-Copy-From", "/c/none", "If-None-Match", "*")
	// A plain source's own Etag rules; the client's is overridden.
	g.header(g.must(201, "PUT", "/c/new", "", "X-Copy-From", "/s/1", "Etag", zeros), "Etag", md5Hex([]byte("hello")))
	g.must(201, "COPY", "/c/new", "", "Destination", "c/dest%20name")
	g.eq("COPY", g.must(200, "GET", "/c/dest%20name", "").body, "hello")
	g.must(201, "PUT", "/c/part", "", "X-Copy-From", "/c/big", "Range", "bytes=3-6")
	g.eq("part", g.must(200, "GET", "/c/part", "").body, "lowo")
	g.must(201, "PUT", "/c/same?multipart-manifest=get", "", "X-Copy-From", "/c/big")
	g.header(g.must(200, "HEAD", "/c/same", ""), "Etag", `"`+mark+`"`)
	g.must(404, "PUT", "/none/o", "", "X-Copy-From", "/c/big")
	g.must(400, "PUT", "/c/o", "body", "X-Copy-From", "/c/big")
	g.must(412, "COPY", "/c/new", "")
	c := g.r.Counters()
	g.eq("copies counted", c.Of(ClassObject, "COPY").Requests, int64(12))
	g.eq("copies sent bytes in", c.Of(ClassObject, "COPY").In, int64(0))
}

func TestSymlinks(t *testing.T) {
	g := newRig(t, RegionOptions{})
	g.r.Put("c", "o", []byte("target"), map[string]string{"Content-Type": "t/t"})
	g.must(201, "PUT", "/c/l", "", "X-Symlink-Target", "c/o")
	a := g.must(200, "GET", "/c/l", "")
	g.eq("through", a.body, "target")
	if !strings.HasSuffix(a.header.Get("Content-Location"), "/c/o") {
		t.Errorf("Content-Location %q", a.header.Get("Content-Location"))
	}
	a = g.must(200, "GET", "/c/l?symlink=get", "")
	g.eq("itself", a.body, "")
	g.header(a, "X-Symlink-Target", "c/o")
	g.must(409, "PUT", "/c/st", "", "X-Symlink-Target", "c/o", "X-Symlink-Target-Etag", "wrong")
	g.must(409, "PUT", "/c/st", "", "X-Symlink-Target", "c/none", "X-Symlink-Target-Etag", "wrong")
	g.must(201, "PUT", "/c/st", "", "X-Symlink-Target", "c/o", "X-Symlink-Target-Etag", md5Hex([]byte("target")))
	g.r.Put("c", "o", []byte("other"), nil)
	g.must(409, "GET", "/c/st", "")
	g.must(400, "PUT", "/c/l2", "body", "X-Symlink-Target", "c/o")
	g.must(412, "PUT", "/c/l2", "", "X-Symlink-Target", "o")
	g.must(307, "POST", "/c/l", "", "X-Object-Meta-A", "1")
	g.header(g.must(200, "HEAD", "/c/l?symlink=get", ""), "X-Object-Meta-A", "1")
	g.must(201, "PUT", "/c/loop", "", "X-Symlink-Target", "c/loop2")
	g.must(201, "PUT", "/c/loop2", "", "X-Symlink-Target", "c/loop")
	g.must(409, "GET", "/c/loop", "")
	for _, row := range g.list("/c?format=json&prefix=l&limit=1") {
		if !strings.HasSuffix(row.SymlinkPath, "/c/o") {
			t.Errorf("listed: %+v", row)
		}
	}
}

func TestBulkDelete(t *testing.T) {
	g := newRig(t, RegionOptions{})
	g.r.Put("c", "a b", nil, nil)
	g.r.Put("c", "x+y", nil, nil)
	g.r.CreateContainer("empty")
	a := g.must(200, "POST", "?bulk-delete", "c/a%20b\n/c/x+y\nc/none\nempty\nc", "Content-Type", "text/plain", "Accept", "application/json")
	g.eq("report", a.body, `{"Response Status": "200 OK", "Response Body": "", "Number Deleted": 4, "Number Not Found": 1, "Errors": []}`)
	g.eq("left", len(g.r.ContainerNames()), 0)
}

func TestRGWProfile(t *testing.T) {
	g := newRig(t, RegionOptions{Profile: RGW})
	g.r.Put("c", "o", []byte("x"), nil)
	g.must(400, "GET", "/c?end_marker=o%00", "")
	g.must(201, "PUT", "/c/o", "y", "If-None-Match", "*")
	g.must(201, "PUT", "/c/slo?multipart-manifest=put", `[{"path":"/c/o"}]`)
	g.header(g.must(200, "HEAD", "/c/slo", ""), "Etag", etagOf(md5Hex([]byte("y"))))
	g.must(201, "PUT", "/c/flat", "", "X-Copy-From", "/c/slo", "Etag", strings.Repeat("0", 32))
	if lm := g.list("/c?format=json")[0].LastModified; len(lm) != len("2026-01-02T03:04:05.123Z") {
		t.Errorf("last_modified %q", lm)
	}
}
