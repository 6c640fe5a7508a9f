//go:build lab

package fakecloud

import (
	"fmt"
	"strings"
)

// containerScript is about containers: metadata, rights, quotas, policies, CORS.
func containerScript(sc *script) {
	c, do := sc.c, sc.do
	do("PUT", c, "", "X-Container-Meta-A", "1", "X-Container-Meta-b_C-d", "two", "X-Container-Meta-Empty", "", "X-Storage-Policy", "policy-0")
	do("HEAD", c, "")
	do("PUT", c, "", "X-Container-Meta-A", "3", "X-Storage-Policy", "nonsense")
	do("PUT", c, "", "X-Container-Meta-A", "3", "X-Storage-Policy", "Policy-0")
	do("PUT", c+"x", "", "X-Storage-Policy", "0")
	do("PUT", c+"x", "", "X-Storage-Policy", "")
	do("POST", c, "", "X-Storage-Policy", "nonsense")
	do("HEAD", c, "")
	do("POST", c, "", "X-Container-Meta-A", "", "X-Remove-Container-Meta-B_c-D", "x")
	do("HEAD", c, "")
	do("POST", c, "", "X-Container-Meta-A", "4", "X-Remove-Container-Meta-A", "x")
	do("POST", c, "", "X-Remove-Container-Meta-A", "")
	do("HEAD", c, "")
	do("POST", c+"none", "")
	for _, m := range []string{"PUT", "POST"} {
		do(m, c, "", "X-Container-Meta-"+strings.Repeat("n", 128), strings.Repeat("v", 256))
		do(m, c, "", "X-Container-Meta-"+strings.Repeat("n", 129), "v")
		do(m, c, "", "X-Container-Meta-N", strings.Repeat("v", 257))
		do(m, c, "", "X-Container-Meta-", "v")
		do(m, c, "", "X-Container-Meta-Bad", "\xff")
		do(m, c, "", "X-Container-Meta-Good", "ü %C3%BC")
		do(m, c, "", headers("X-Container-Meta-", 91, 1)...)
		do(m, c, "", headers("X-Container-Meta-", 40, 200)...)
		do(m, c, "", "X-Container-Meta-Quota-Bytes", "x")
		do(m, c, "", "X-Container-Meta-Quota-Count", "-1")
		do(m, c, "", "X-Container-Read", ".r:", "X-Container-Meta-A", "1")
		do(m, c, "", "X-Container-Read", ".x:y")
		do(m, c, "", "X-Container-Write", ".r:*")
		do(m, c, "", "X-Container-Read", " a , b:c ,, .referrer : *.example.com, .ref:-.bad.example.com,.rlistings ", "X-Container-Write", "x , y")
		do("HEAD", c, "")
	}
	// The limits hold for what headers add up to, too.
	for i := range 5 {
		do("POST", c, "", headers(fmt.Sprintf("X-Container-Meta-R%d-", i), 20, 5)...)
	}
	do("HEAD", c, "")

	// Rights.
	r := c + "r"
	do("PUT", r, "")
	do("PUT", r+"/o", "body", "Content-Type", "t/o")
	do("PUT", r+"/sub/o", "body", "Content-Type", "t/o")
	do("POST", r, "", "X-Container-Meta-Temp-Url-Key", "secret", "X-Container-Meta-Temp-Url-Key-2", "secret2", "X-Container-Sync-Key", "k", "X-Container-Meta-Seen", "yes")
	try := func(user string, header ...string) {
		do("HEAD", r, "", header...).as(user)
		do("GET", r, "", header...).as(user)
		do("HEAD", r+"/o", "", header...).as(user)
		do("GET", r+"/none", "", header...).as(user)
		do("PUT", r+"/"+user+"new", "x", append([]string{"Content-Type", "t/n"}, header...)...).as(user)
		do("POST", r+"/o", "", header...).as(user)
		do("DELETE", r+"/none", "", header...).as(user)
		do("DELETE", r+"/"+user+"new", "", header...).as(user)
		do("COPY", r+"/o", "", append([]string{"Destination", r[1:] + "/copied"}, header...)...).as(user)
		do("POST", r, "", append([]string{"X-Container-Meta-By", user}, header...)...).as(user)
		do("PUT", r, "", header...).as(user)
		do("DELETE", r, "", header...).as(user)
		do("GET", r+"none/x", "", header...).as(user)
		do("PUT", r+"none/x", "", header...).as(user)
		do("GET", r+"none", "", header...).as(user)
	}
	for _, acl := range [][2]string{{"", ""}, {".r:*", ""}, {".r:*,.rlistings", ""}, {".rlistings", ""}, {"{otherproject}:{otheruser}", ""}, {"{otherproject}:*", "{otherproject}:*"},
		{"*:{otheruser}", "*:{otheruser}"}, {"*:*", ""}, {"{otherproject}", "{otherproject}"}, {"{otherproject}:x", "x:{otheruser}"}, {"member", "member"}, {"", "*:*"},
		{".r:.example.com,.r:-bad.example.com", ""}} {
		do("POST", r, "", "X-Container-Read", acl[0], "X-Container-Write", acl[1])
		try(other)
		try(nobody)
		if strings.Contains(acl[0], "example") {
			for _, ref := range []string{"http://www.example.com/x", "http://bad.example.com/", "http://example.com:80", "http://user@www.example.com/", "example.com", "ftp://a.example.com"} {
				do("HEAD", r+"/o", "", "Referer", ref).as(nobody)
			}
		}
	}
	do("HEAD", r, "")
	do("COPY", r+"/o", "", "Destination", r[1:]+"/x", "Destination-Account", "AUTH_{otherproject}")
	do("COPY", r+"/o", "", "Destination", r[1:]+"/x", "Destination-Account", "a/b")
	do("PUT", r+"/x", "", "X-Copy-From", "a/b", "X-Copy-From-Account", "AUTH_{otherproject}")
	do("GET", "", "").as(other)
	do("HEAD", "", "").as(nobody)
	do("POST", "", "", "X-Account-Meta-A", "1").as(other)

	// Quotas. A POST makes Swift forget the counts that it remembers.
	q := c + "q"
	do("PUT", q, "", "X-Container-Meta-Quota-Bytes", "10", "X-Container-Meta-Quota-Count", "3")
	fill := func(n, body string, header ...string) {
		do("PUT", q+"/"+n, body, header...)
		do("POST", q, "")
	}
	fill("a", "12345")
	fill("b", "123456")
	fill("b", "12345")
	fill("c", "x")
	fill("c", "")
	fill("d", "")
	fill("a", "")
	do("POST", q, "", "X-Container-Meta-Quota-Count", "9")
	fill("e", "", "X-Copy-From", q[1:]+"/b")
	fill("slo"+put, `[{"path":"`+q+`/b"}]`)
	do("DELETE", q+"/a", "")
	do("POST", q, "", "X-Remove-Container-Meta-Quota-Bytes", "x")
	fill("slo"+put, `[{"path":"`+q+`/b"}]`)
	do("HEAD", q, "")
	do("POST", q, "", "X-Container-Meta-Quota-Bytes", "1")
	do("PUT", q+"/z", "zz").as(nobody)
	do("POST", q+"/b", "", "X-Object-Meta-A", "1")

	// CORS.
	o := c + "o"
	do("PUT", o, "", "X-Container-Meta-Access-Control-Allow-Origin", "http://a.example http://b.example", "X-Container-Meta-Access-Control-Max-Age", "77",
		"X-Container-Meta-Access-Control-Expose-Headers", "X-Foo x-bar")
	do("PUT", o+"/o", "x", "Content-Type", "t/o", "X-Object-Meta-A", "1")
	do("PUT", c+"/plain", "x", "Content-Type", "t/o").statusOnly()
	for _, origin := range []string{"http://a.example", "http://b.example", "http://c.example", ""} {
		h := []string{"Origin", origin}
		for _, path := range []string{o, o + "/o", o + "/none", c, o + "none", ""} {
			if path != "" {
				do("HEAD", path, "", h...)
			}
			do("OPTIONS", path, "", h...)
			do("OPTIONS", path, "", append([]string{"Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "X-A, x-b"}, h...)...).as(nobody)
			do("OPTIONS", path, "", append([]string{"Access-Control-Request-Method", "PATCH"}, h...)...)
		}
		do("GET", o+"/o", "", h...)
		do("GET", o+"/o", "", h...).as(nobody)
		do("PUT", o+"/p", "x", h...)
		do("POST", o+"/p", "", h...)
		do("DELETE", o+"/p", "", h...)
		do("POST", o, "", h...)
		do("GET", o+"?format=json", "", h...)
	}
	do("POST", o, "", "X-Container-Meta-Access-Control-Allow-Origin", "*")
	do("GET", o+"/o", "", "Origin", "http://x.example")
	do("OPTIONS", o+"/o", "", "Origin", "http://x.example", "Access-Control-Request-Method", "PUT")
	do("OPTIONS", "", "")
	do("OPTIONS", o, "")
	do("PATCH", o, "")
	do("PATCH", "", "")
}

// headers are n headers whose names start with prefix, each with a value of that
// many bytes.
func headers(prefix string, n, size int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("%sH%03d", prefix, i), strings.Repeat("v", size))
	}
	return out
}

// limitScript is about what objects may carry. It stays clear of metadata that
// passes Swift and that a file system as small as the lab's cannot hold (L11).
func limitScript(sc *script) {
	c, do := sc.c, sc.do
	do("PUT", c, "")
	for _, m := range []string{"PUT", "POST"} {
		o := c + "/o"
		body := map[string]string{"PUT": "x"}[m]
		do(m, o, body, headers("X-Object-Meta-", 90, 1)...)
		do("HEAD", o, "")
		do(m, o, body, headers("X-Object-Meta-", 91, 1)...)
		do(m, o, body, headers("X-Object-Meta-", 16, 256)...)
		do(m, o, body, "X-Object-Meta-A", strings.Repeat("v", 256))
		do(m, o, body, "X-Object-Meta-A", strings.Repeat("v", 257))
		do(m, o, body, "X-Object-Meta-"+strings.Repeat("n", 128), "v")
		do(m, o, body, "X-Object-Meta-"+strings.Repeat("n", 129), "v")
		do(m, o, body, "X-Object-Meta-", "v")
		do(m, o, body, "X-Object-Meta-Empty", "", "X-Object-Meta-Sp", "  a  b  ")
		do("HEAD", o, "")
		do(m, o, body, "X-Object-Meta-U", "ü", "X-Object-Meta-Under_Score", "1", "X-Object-Meta-Q", "=?UTF-8?Q?x?=")
		do("HEAD", o, "")
		for _, at := range []string{"1", "x", "-1", "1.5", "", "9999999999", "99999999999", "+9999999999", " 9999999999 "} {
			do(m, o, body, "X-Delete-At", at)
			do("HEAD", o, "")
		}
		for _, after := range []string{"0", "-1", "x", "1.5", "99999"} {
			do(m, o, body, "X-Delete-After", after)
			do("HEAD", o, "")
		}
		do(m, o, body, "X-Delete-After", "99999", "X-Delete-At", "1")
		do(m, o, body, "X-Timestamp", "1")
		do(m, o, body, "X-Object-Sysmeta-A", "1", "X-Object-Transient-Sysmeta-B", "1", "X-Backend-X", "1")
		do("HEAD", o, "")
		do(m, o, body, "Content-Type", "t/x; swift_bytes=7")
		do(m, o, body, "Content-Type", "t/x;  a=b ;c=\"d e\";f")
		do("HEAD", o, "")
		do("GET", c+"?format=json", "")
		do(m, o, body, "Content-Encoding", "zip", "Content-Disposition", "attachment; filename=\"ü\"", "Content-Language", "de", "Cache-Control", "no-store",
			"Expires", "Sun, 22 Nov 2037 17:05:11 GMT", "X-Robots-Tag", "noindex", "X-Foo", "dropped")
		do("HEAD", o, "")
		do(m, c+"/"+strings.Repeat("n", 1024), body)
		do(m, c+"/"+strings.Repeat("n", 1025), body)
		do(m, c+"/"+strings.Repeat("%C3%BC", 512), body)
		do(m, c+"/"+strings.Repeat("%C3%BC", 513), body)
		do(m, "/"+strings.Repeat("n", 257)+"/o", body)
	}
	do("PUT", c+"/guess.html", "x")
	do("HEAD", c+"/guess.html", "")
	do("PUT", c+"/guess.tar.gz", "x", "X-Detect-Content-Type", "true", "Content-Type", "t/x")
	do("HEAD", c+"/guess.tar.gz", "")
	do("PUT", c+"/guess.unknownext", "x")
	do("HEAD", c+"/guess.unknownext", "")
	do("PUT", "/"+strings.Repeat("n", 256), "")
	do("DELETE", "/"+strings.Repeat("n", 256), "")
	do("PUT", "/"+strings.Repeat("n", 257), "")
	do("GET", "/"+strings.Repeat("n", 257), "")
	do("PUT", "/"+strings.Repeat("%C3%BC", 200), "")
	do("DELETE", "/"+strings.Repeat("%C3%BC", 200), "")
	do("PUT", "/"+strings.Repeat("%C3%BC", 257), "")
	do("PUT", "/a%2Fb/", "")
	do("POST", "", "", "X-Account-Meta-Parity", "1", "X-Account-Meta-Temp-Url-Key", "key")
	do("POST", "", "", "X-Account-Meta-Parity", "", "X-Remove-Account-Meta-Temp-Url-Key", "x")
	do("POST", "", "", "X-Account-Meta-"+strings.Repeat("n", 129), "v")
	do("POST", "", "", "X-Account-Meta-A", strings.Repeat("v", 257))
	do("POST", "", "", headers("X-Account-Meta-", 91, 1)...)
	do("POST", "", "", "X-Account-Meta-Quota-Bytes", "1")
	do("POST", "", "", "X-Remove-Account-Meta-Quota-Bytes", "1")
	do("POST", "", "", "X-Account-Meta-Quota-Bytes", "x").as(admin)
	do("PUT", "", "")
	do("DELETE", "", "")
}
