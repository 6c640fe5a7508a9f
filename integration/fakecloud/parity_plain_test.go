//go:build lab

package fakecloud

import "strings"

func sum(s string) string { return md5Hex([]byte(s)) }

// plainScript is about ordinary objects, listings, and a little of the rest.
func plainScript(sc *script) {
	c, name, do := sc.c, sc.name, sc.do
	anon := func(method, path string) { do(method, path, "").as(nobody) }
	s := c + "s"
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
		do(m, c+"/a", "", "If-Match", sum("hello"))
		do(m, c+"/a", "", "If-Match", "x")
		do(m, c+"/a", "", "If-None-Match", sum("hello"))
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
	do("PUT", c+"/a", "x", "Etag", sum("y"))
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
	do("PUT", c+"/bad"+put, "["+seg("1", "")+"]", "Etag", sum("x"))
	do("POST", c+"/slo", "", "X-Object-Meta-B", "2")
	do("HEAD", c+"/slo", "")
	// Copies.
	whole := sum("helloorlabc")
	do("PUT", c+"/flat", "", "X-Copy-From", c+"/slo", "Etag", sum("x"))
	do("PUT", c+"/flat", "", "X-Copy-From", c+"/slo", "Etag", whole)
	do("GET", c+"/flat", "")
	do("GET", c+"/flat", "", "If-Match", whole)
	do("GET", c+"/flat", "", "If-None-Match", whole)
	do("PUT", c+"/fresh", "", "X-Copy-From", c+"/slo", "X-Fresh-Metadata", "true", "X-Object-Meta-A", "7")
	do("HEAD", c+"/fresh", "")
	do("PUT", c+"/new", "", "X-Copy-From", c+"/a", "If-None-Match", "*")
	do("PUT", c+"/new", "", "X-Copy-From", c+"/none")
	do("PUT", c+"/new", "", "X-Copy-From", c+"/a", "Etag", sum("x"))
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
	do("PUT", c+"/lst", "", "X-Symlink-Target", name+"/a", "X-Symlink-Target-Etag", sum("hello"))
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
}
