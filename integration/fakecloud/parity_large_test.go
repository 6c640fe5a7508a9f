//go:build lab

package fakecloud

import (
	"fmt"
	"strings"
)

const (
	put    = "?multipart-manifest=put"
	get    = "?multipart-manifest=get"
	getRaw = "?multipart-manifest=get&format=raw"
	remove = "?multipart-manifest=delete"
)

var asJSON = []string{"Accept", "application/json"}

// sloScript is about static large objects (S3, S4).
func sloScript(sc *script) {
	c, name, do := sc.c, sc.name, sc.do
	s, s2 := c+"s", c+"s2"
	for _, n := range []string{c, s, s2} {
		do("PUT", n, "")
	}
	path := func(cont, obj, more string) string { return `{"path":"/` + name + cont + "/" + obj + `"` + more + `}` }
	do("PUT", s+"/1", "hello", "Content-Type", "t/s; charset=x")
	do("PUT", s+"/2", "world!", "Content-Type", "t/s")
	do("PUT", s+"/empty", "")
	do("PUT", s2+"/%2541%20%3F%23%C3%BC", "strange", "Content-Type", "t/s")
	do("PUT", s2+"/A", "not this one", "Content-Type", "t/s")
	three := "[" + path("s", "1", `,"etag":"`+sum("hello")+`","size_bytes":5`) + "," + path("s", "2", `,"range":"1-3"`) +
		`,{"data":"YWJj"},` + path("s2", `%41 ?#ü`, `,"size_bytes":"7"`) + "]"
	do("PUT", c+"/slo"+put, three, "Content-Type", "t/l; charset=utf-8", "X-Object-Meta-A", "1", "Etag", `"`+sum(sum("hello")+
		sum("world!")+":1-3;"+sum("abc")+sum("strange"))+`"`)
	do("PUT", c+"/typed.html"+put, "["+path("s", "1", "")+"]")
	do("PUT", c+"/bytes"+put, "["+path("s", "1", "")+"]", "Content-Type", "t/l;swift_bytes=99;x=y")
	do("PUT", c+"/whole"+put, "["+path("s", "1", `,"range":"0-4"`)+","+path("s", "2", `,"range":"-2"`)+","+path("s", "2", `,"range":"4-"`)+"]")
	do("PUT", c+"/last"+put, "["+path("s", "1", "")+","+path("s", "empty", "")+"]")
	do("PUT", c+"/nest"+put, `[{"path":"`+name+`/slo"},{"path":"`+c+`/slo","range":"-9"},{"path":"//`+name+`s/1"}]`, "Content-Type", "t/l")
	do("PUT", c+"/nest2"+put, `[{"path":"`+c+`/nest","range":"3-30"},{"path":"`+c+`/nest"}]`, "Content-Type", "t/l")
	for _, o := range []string{"/slo", "/nest", "/nest2", "/typed.html", "/bytes", "/whole", "/last"} {
		do("GET", c+o, "")
		do("HEAD", c+o, "")
		do("GET", c+o, "", "Range", "bytes=3-7")
		do("GET", c+o+get, "").loosely()
		do("HEAD", c+o+get, "").loosely()
		do("GET", c+o+getRaw, "")
		do("HEAD", c+o+getRaw, "").loosely()
	}
	for _, r := range []string{"bytes=99-", "bytes=0-0", "bytes=-3", "bytes=0-1,8-9", "bytes=0-99", "bytes=4-1", "bytes=5-5,99-"} {
		do("GET", c+"/slo", "", "Range", r)
		do("HEAD", c+"/slo", "", "Range", r)
	}
	do("GET", c+"/slo"+get, "", "Range", "bytes=0-3")
	tag := sum(sum("hello") + sum("world!") + ":1-3;" + sum("abc") + sum("strange"))
	for _, m := range []string{"GET", "HEAD"} {
		for _, h := range []string{"If-Match", "If-None-Match"} {
			do(m, c+"/slo", "", h, tag)
			do(m, c+"/slo", "", h, `"`+tag+`"`)
			do(m, c+"/slo", "", h, "x")
			do(m, c+"/slo", "", h, "*")
			do(m, c+"/slo"+get, "", h, tag).loosely()
		}
		do(m, c+"/slo", "", "Range", "bytes=2-6", "If-Match", tag)
		do(m, c+"/slo", "", "Range", "bytes=2-6", "If-Match", "x")
	}
	for _, f := range []string{"format=json", "format=xml", ""} {
		do("GET", c+"?"+f, "").loosely()
	}
	do("HEAD", c, "")

	// Refusals.
	big := "[" + strings.Repeat(path("s", "1", "")+",", 1000) + path("s", "1", "") + "]"
	for _, bad := range []string{"", "x", "{}", "null", "[]", `[{"data":"YQ=="}]`, "[" + path("s", "none", "") + "]",
		"[" + path("none", "1", "") + "]", "[" + path("s", "1", `,"etag":"x","size_bytes":7`) + "]", "[" + path("s", "1", `,"zork":1,"ark":2`) + "]",
		"[" + path("s", "1", `,"range":"9-"`) + "]", "[" + path("s", "1", `,"range":"9-","size_bytes":5`) + "]", "[" + path("s", "1", `,"range":"a"`) + "]",
		`[{"path":"x"}]`, `[{"path":7}]`, "[" + path("s", "1", `,"etag":7`) + "]", "[" + path("s", "1", `,"size_bytes":"z"`) + "]",
		"[" + path("s", "1", `,"size_bytes":0`) + "," + path("s", "1", "") + "]", "[" + path("s", "empty", "") + "," + path("s", "1", "") + "]",
		"[" + path("s", "1", `,"range":"1-2,3-4"`) + "]", `[{"data":"!"}]`, `[{"data":""},` + path("s", "1", "") + "]", `[{"data":7},` + path("s", "1", "") + "]",
		`[{"data":"YQ==","path":"/x/y"}]`, `[{"path":"` + c + `/bad"}]`, "[" + path("s", "1", `,"etag":null,"size_bytes":null,"range":null`) + "]", big,
		"[" + path("s", "1", `,"etag":"`+strings.ToUpper(sum("hello"))+`"`) + "]", "[" + path("s", "%41 \u00fc", "") + "]"} {
		do("PUT", c+"/bad"+put, bad, "Content-Type", "t/l")
		do("PUT", c+"/bad"+put, bad, "Content-Type", "t/l", "Accept", "application/json")
		do("PUT", c+"/bad"+put+"&heartbeat=on", bad, "Content-Type", "t/l", "Accept", "application/json")
		do("PUT", c+"/bad"+put+"&heartbeat=on", bad, "Content-Type", "t/l")
		do("DELETE", c+"/bad", "").statusOnly()
	}
	for _, h := range []string{"", "&heartbeat=on"} {
		do("PUT", c+"/tagged"+put+h, three, "Etag", sum("x"))
		do("PUT", c+"/tagged"+put+h, three, "Etag", tag)
		do("PUT", c+"/tagged"+put+h, three, "If-None-Match", "*")
		do("PUT", c+"/tagged"+put+h, three, "Accept", "application/json")
		do("PUT", c+"none/x"+put+h, three)
		do("PUT", c+"/x"+put+h, three, "X-Delete-At", "1")
		do("PUT", c+"/x"+put+h, three, "X-Copy-From", name+"/slo")
		do("PUT", c+"/x"+put+h, three).as(nobody).statusOnly() // the errors come in any order
		do("PUT", c+"/x"+put+h, three, "X-Object-Meta-"+strings.Repeat("n", 129), "x")
	}
	do("PUT", c+"/dlosego", "own", "X-Object-Manifest", name+"s/1")
	do("PUT", c+"/dloseg"+put, `[{"path":"`+c+`/dlosego"}]`)
	do("GET", c+"/dloseg", "")
	do("PUT", c+"/x", "x", "X-Static-Large-Object", "true")
	do("POST", c+"/slo", "", "X-Static-Large-Object", "true")

	// POST keeps what it is.
	do("POST", c+"/slo", "", "X-Object-Meta-B", "2")
	do("HEAD", c+"/slo", "")
	do("POST", c+"/slo", "", "Content-Type", "t/other")
	do("GET", c+"/slo", "")
	do("GET", c+"?prefix=slo&format=json", "").loosely()
	do("HEAD", c, "")

	// COPY, of the content and of the manifest.
	whole := "helloorlabcstrange"
	do("COPY", c+"/slo", "", "Destination", name+"/flat", "Etag", sum("x"))
	do("COPY", c+"/slo", "", "Destination", name+"/flat", "Etag", sum(whole))
	do("HEAD", c+"/flat", "")
	do("COPY", c+"/slo"+get, "", "Destination", name+"/same", "X-Object-Meta-C", "3")
	do("GET", c+"/same", "")
	do("GET", c+"/same"+getRaw, "")
	do("PUT", c+"/same2"+get, "", "X-Copy-From", name+"/slo", "X-Fresh-Metadata", "true")
	do("HEAD", c+"/same2", "")
	do("PUT", c+"/same3"+get, "", "X-Copy-From", name+"/slo", "Etag", sum("x"))
	do("PUT", c+"/same3"+get, "", "X-Copy-From", name+"/slo", "Etag", tag)
	do("PUT", c+"/same3"+get, "", "X-Copy-From", name+"/slo", "If-None-Match", "*")
	do("PUT", c+"/plain"+get, "", "X-Copy-From", name+"s/1")
	do("HEAD", c+"/plain", "")
	do("GET", c+"?prefix=same&format=json", "").loosely()

	// Segments that changed or went.
	do("PUT", s+"/2", "WORLD!", "Content-Type", "t/s")
	do("HEAD", c+"/slo", "")
	do("GET", c+"/slo", "", "Range", "bytes=0-2")
	do("GET", c+"/slo", "", "Range", "bytes=5-6")
	do("GET", c+"/nest", "", "Range", "bytes=6-")
	do("GET", c+"/nest", "", "Range", "bytes=18-20")
	do("COPY", c+"/slo", "", "Destination", name+"/broken")
	// Beyond what the server still holds back, the connection ends early.
	do("PUT", s+"/big", strings.Repeat("x", 200_000))
	do("PUT", s+"/after", "goes")
	do("PUT", c+"/cut"+put, "["+path("s", "big", "")+","+path("s", "after", "")+"]")
	do("DELETE", s+"/after", "")
	do("GET", c+"/cut", "")
	do("GET", c+"/cut", "", "Range", "bytes=200000-")
	// A nested manifest is read as it is.
	do("PUT", s+"/3", "shortened", "Content-Type", "t/s")
	do("PUT", c+"/inner"+put, "["+path("s", "3", "")+"]")
	do("PUT", c+"/outer"+put, "["+path("", "inner", "")+","+path("", "inner", `,"range":"2-6"`)+"]")
	do("PUT", c+"/inner"+put, "["+path("s2", "A", "")+"]")
	do("GET", c+"/outer", "")
	do("HEAD", c+"/outer", "")
	do("DELETE", s+"/1", "")
	do("GET", c+"/slo", "")
	do("GET", c+"/nest", "")
	do("GET", c+"/slo", "", "Range", "bytes=9-12")
	do("COPY", c+"/slo", "", "Destination", name+"/broken")
	do("COPY", c+"/slo"+get, "", "Destination", name+"/broken").statusOnly() // the errors come in any order

	// Deletes.
	do("DELETE", c+"/nest2"+remove, "", asJSON...)
	do("DELETE", c+"/slo"+remove, "")
	do("DELETE", c+"/slo"+remove, "", "Accept", "application/xml")
	do("DELETE", c+"/flat"+remove, "", asJSON...)
	do("DELETE", c+"/none"+remove+"&async=yes", "", asJSON...)
	do("DELETE", c+"/bytes"+remove+"&async=yes", "", asJSON...)
	do("DELETE", c+"/typed.html"+remove, "").as(nobody)
	do("DELETE", c+"/typed.html"+remove, "", asJSON...).as(other)
	do("DELETE", c+"none/x"+remove, "", asJSON...)
	do("GET", c+"?format=json", "").loosely()
}

// dloScript is about dynamic large objects (S5).
func dloScript(sc *script) {
	c, name, do := sc.c, sc.name, sc.do
	s := c + "s"
	do("PUT", c, "")
	do("PUT", s, "")
	for i, body := range []string{"one", "two2", "three"} {
		do("PUT", fmt.Sprintf("%s/p%%20%%25/%d", s, i), body, "Content-Type", "t/s")
	}
	do("PUT", s+"/p", "outside")
	do("PUT", c+"/dlo", "own bytes", "X-Object-Manifest", name+"s/p%20%25/", "Content-Type", "t/d", "X-Object-Meta-A", "1")
	do("PUT", c+"/empty", "", "X-Object-Manifest", name+"s/nothing", "Content-Type", "t/d")
	do("PUT", c+"/gone", "", "X-Object-Manifest", name+"none/x", "Content-Type", "t/d")
	do("PUT", c+"/utf", "", "X-Object-Manifest", name+"s/p%20%25/%C3%BC", "Content-Type", "t/d")
	for _, bad := range []string{"x", "/x/y", "x/", "/x", name + "s/p?x", name + "s/p&x", name + "s//p", "", "a%2Fb"} {
		do("PUT", c+"/bad", "", "X-Object-Manifest", bad)
		do("HEAD", c+"/bad", "")
	}
	tag := sum(sum("one") + sum("two2") + sum("three"))
	for _, o := range []string{"/dlo", "/empty", "/gone", "/utf"} {
		do("GET", c+o, "")
		do("HEAD", c+o, "")
		do("GET", c+o+get, "")
		do("HEAD", c+o+get, "")
		do("GET", c+o, "", "Range", "bytes=2-4")
	}
	for _, r := range []string{"bytes=99-", "bytes=0-0", "bytes=-3", "bytes=0-1,8-9", "bytes=0-99", "bytes=7-", "bytes=12-"} {
		do("GET", c+"/dlo", "", "Range", r)
		do("HEAD", c+"/dlo", "", "Range", r)
	}
	for _, m := range []string{"GET", "HEAD"} {
		for _, h := range []string{"If-Match", "If-None-Match"} {
			do(m, c+"/dlo", "", h, tag)
			do(m, c+"/dlo", "", h, sum("own bytes"))
			do(m, c+"/dlo", "", h, "*")
		}
	}
	do("GET", c+"?format=json", "")
	do("HEAD", c, "")
	do("COPY", c+"/dlo", "", "Destination", name+"/flat")
	do("GET", c+"/flat", "")
	do("COPY", c+"/dlo"+get, "", "Destination", name+"/same")
	do("GET", c+"/same", "")
	do("GET", c+"/same"+get, "")
	do("COPY", c+"/dlo", "", "Destination", name+"/other", "X-Object-Manifest", name+"s/p%20%25/2")
	do("GET", c+"/other", "")
	do("PUT", c+"/part", "", "X-Copy-From", name+"/dlo", "Range", "bytes=1-4")
	do("GET", c+"/part", "")
	do("PUT", c+"/sum", "", "X-Copy-From", name+"/dlo", "Etag", sum("x"))
	do("PUT", c+"/sum", "", "X-Copy-From", name+"/dlo", "Etag", sum("onetwo2three"))
	do("POST", c+"/same", "", "X-Object-Meta-B", "2", "X-Object-Manifest", name+"s/p%20%25/1")
	do("GET", c+"/same", "")
	do("POST", c+"/dlo", "", "X-Object-Meta-B", "2")
	do("GET", c+"/dlo", "")
	do("POST", c+"/dlo", "", "X-Object-Manifest", "nonsense")
	do("GET", c+"/dlo", "")
	do("POST", c+"/dlo", "", "X-Object-Manifest", name+"s/p")
	do("GET", c+"/dlo", "")
	// A large object as a segment of another.
	do("PUT", s+"/q/1"+put, `[{"path":"`+s+`/p"}]`, "Content-Type", "t/l")
	do("PUT", c+"/over", "", "X-Object-Manifest", name+"s/q/", "Content-Type", "t/d")
	do("HEAD", c+"/over", "").loosely()
	do("PUT", s+"/r/1", "inner", "X-Object-Manifest", name+"s/p", "Content-Type", "t/d")
	do("PUT", c+"/over2", "", "X-Object-Manifest", name+"s/r/", "Content-Type", "t/d")
	do("GET", c+"/over2", "")
	do("PUT", s+"/t/1", "", "X-Symlink-Target", name+"s/p")
	do("PUT", c+"/over3", "", "X-Object-Manifest", name+"s/t/", "Content-Type", "t/d")
	do("HEAD", c+"/over3", "").loosely()
	do("GET", c+"/dlo", "").as(nobody)
	do("POST", c, "", "X-Container-Read", ".r:*")
	do("GET", c+"/over2", "").as(nobody)
	do("POST", s, "", "X-Container-Read", ".r:*")
	do("GET", c+"/over2", "").as(nobody)
	do("POST", s, "", "X-Container-Read", ".r:*,.rlistings")
	do("GET", c+"/over2", "").as(nobody)
}
