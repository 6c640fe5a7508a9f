//go:build lab

package fakecloud

// linkScript is about symlinks (S6).
func linkScript(sc *script) {
	c, name, do := sc.c, sc.name, sc.do
	d := c + "d"
	do("PUT", c, "")
	do("PUT", d, "")
	do("PUT", d+"/o%20%251", "target", "Content-Type", "t/t", "X-Object-Meta-A", "1")
	link := func(n, to string, header ...string) *step {
		return do("PUT", c+"/"+n, "", append([]string{"X-Symlink-Target", to}, header...)...)
	}
	look := func(n string) {
		for _, m := range []string{"GET", "HEAD"} {
			do(m, c+"/"+n, "")
			do(m, c+"/"+n+"?symlink=get", "")
		}
		do("GET", c+"/"+n, "", "Range", "bytes=1-2")
		do("GET", c+"/"+n+"?symlink=get", "", "Range", "bytes=1-2")
	}
	tgt := name + "d/o%20%251"
	link("soft", tgt, "X-Object-Meta-L", "1")
	link("typed", tgt, "Content-Type", "t/l", "Content-Encoding", "zip")
	link("static", tgt, "X-Symlink-Target-Etag", sum("target"), "X-Object-Meta-L", "2")
	link("quoted", tgt, "X-Symlink-Target-Etag", `"`+sum("target")+`"`, "Content-Type", "t/l")
	link("two", name+"/soft")
	link("three", name+"/two")
	link("statictwo", name+"/static", "X-Symlink-Target-Etag", sum("target"))
	link("staticsoft", name+"/soft", "X-Symlink-Target-Etag", sum(""))
	link("dangling", name+"d/none", "Content-Type", "t/l")
	link("danglingc", name+"none/none")
	link("slashes", "no%2Fscheme/a//b%2Fc")
	link("loop1", name+"/loop2")
	link("loop2", name+"/loop1")
	link("acct", tgt, "X-Symlink-Target-Account", "AUTH_{project}")
	link("foreign", "x/y", "X-Symlink-Target-Account", "AUTH_{otherproject}")
	for _, n := range []string{"soft", "typed", "static", "quoted", "two", "three", "statictwo", "staticsoft", "dangling", "danglingc", "slashes",
		"loop1", "acct", "foreign"} {
		look(n)
	}
	// Refusals.
	for _, h := range [][]string{{"X-Symlink-Target-Etag", "x"}, {"X-Symlink-Target-Etag", `a"b`}, {"X-Symlink-Target-Etag", "a;b"}, {"X-Symlink-Target-Etag", ""},
		{"X-Symlink-Target-Account", "a/b"}, {"X-Symlink-Target-Account", ""}, {"Content-Length", "0", "X-Object-Manifest", "a/b"}, {"X-Delete-At", "1"}, {"Etag", "x"}, {"If-None-Match", "*"}} {
		link("bad", tgt, h...)
		do("HEAD", c+"/bad?symlink=get", "")
	}
	link("bad2", name+"d/none", "X-Symlink-Target-Etag", sum("target"))
	link("bad2", name+"none/none", "X-Symlink-Target-Etag", sum("target"))
	link("bad2", name+"/loop1", "X-Symlink-Target-Etag", sum(""))
	link("bad2", name+"/dangling", "X-Symlink-Target-Etag", sum("target"))
	link("bad2", "y/x", "X-Symlink-Target-Etag", sum("target"), "X-Symlink-Target-Account", "AUTH_{otherproject}")
	link("bad2", name+"/bad2")
	for _, to := range []string{"x", "/x/y", "x/", "", "x/%ff", "%2Fx/y", "a/b/c"} {
		link("bad3", to)
		do("HEAD", c+"/bad3?symlink=get", "")
	}
	do("PUT", c+"/bad4", "body", "X-Symlink-Target", tgt)
	do("POST", c+"/soft", "", "X-Symlink-Target", tgt)
	do("POST", d+"/o%20%251", "", "X-Symlink-Target", tgt)
	// Listings.
	for _, q := range []string{"?format=json", "", "?format=xml"} {
		do("GET", c+q, "")
	}
	do("HEAD", c, "")
	// Conditions and headers that belong to target or link.
	for _, q := range []string{"", "?symlink=get"} {
		do("GET", c+"/soft"+q, "", "If-Match", sum("target"))
		do("GET", c+"/soft"+q, "", "If-None-Match", sum("target"))
		do("GET", c+"/soft"+q, "", "If-Match", sum(""))
		do("GET", c+"/dangling"+q, "", "If-Match", "*")
		do("GET", c+"/dangling"+q, "", "If-None-Match", "*")
	}
	// POST is done to the link, and told so.
	do("POST", c+"/soft", "", "X-Object-Meta-A", "9", "Content-Type", "t/posted")
	do("POST", c+"/static", "", "X-Object-Meta-A", "9")
	do("POST", c+"/foreign", "", "X-Object-Meta-A", "9")
	do("POST", c+"/dangling", "", "X-Delete-At", "9999999999")
	for _, n := range []string{"soft", "static", "foreign", "dangling"} {
		look(n)
	}
	do("GET", c+"?format=json&prefix=s", "")
	// A copy is of the target, unless the link is asked for.
	do("COPY", c+"/soft", "", "Destination", name+"/copied")
	look("copied")
	do("COPY", c+"/soft?symlink=get", "", "Destination", name+"/copiedlink")
	look("copiedlink")
	do("COPY", c+"/static?symlink=get", "", "Destination", name+"/copiedstatic")
	look("copiedstatic")
	do("COPY", c+"/dangling", "", "Destination", name+"/copied2")
	do("COPY", c+"/dangling?symlink=get", "", "Destination", name+"/copied2")
	do("COPY", c+"/three", "", "Destination", name+"/copied3")
	do("PUT", c+"/copied4?symlink=get", "", "X-Copy-From", name+"/soft", "X-Symlink-Target", name+"/two")
	look("copied4")
	do("GET", c+"?format=json&prefix=copied", "")
	// A large object as target.
	do("PUT", d+"/slo"+put, `[{"path":"`+d+`/o %251"},{"path":"`+d+`/o %1"}]`, "Content-Type", "t/s")
	do("PUT", d+"/seg2", "target", "Content-Type", "t/s")
	do("PUT", d+"/slo"+put, `[{"path":"`+d+`/o %1"},{"path":"`+d+`/seg2"}]`, "Content-Type", "t/s")
	do("GET", d+"/slo"+get, "").loosely()
	link("toslo", name+"d/slo")
	link("toslo2", name+"d/slo", "X-Symlink-Target-Etag", sum(sum("target")+sum("target")))
	look("toslo")
	do("GET", c+"/toslo"+get, "").loosely()
	do("GET", c+"/toslo"+getRaw, "")
	do("PUT", c+"/ofslo"+put, `[{"path":"`+c+`/toslo"},{"path":"`+c+`/soft"}]`, "Content-Type", "t/s")
	do("GET", c+"/ofslo", "").loosely()
	do("GET", c+"/ofslo"+getRaw, "")
	do("PUT", d+"/dlo", "", "X-Object-Manifest", tgt)
	link("todlo", name+"d/dlo")
	do("GET", c+"/todlo", "")
	do("DELETE", c+"/toslo"+remove, "", asJSON...)
	do("HEAD", c+"/toslo?symlink=get", "")
	// What becomes of links when the target changes.
	do("PUT", d+"/o%20%251", "other", "Content-Type", "t/t2")
	for _, n := range []string{"soft", "static", "statictwo"} {
		look(n)
	}
	do("COPY", c+"/static", "", "Destination", name+"/copied5")
	do("DELETE", c+"/soft", "")
	do("HEAD", d+"/o%20%251", "")
	do("PUT", c+"/two", "plain now")
	look("two")
	do("GET", c+"?format=json&prefix=t", "").loosely()
	// Rights are those over the target.
	do("POST", c, "", "X-Container-Read", ".r:*")
	do("GET", c+"/acct", "").as(nobody)
	do("GET", c+"/acct", "").as(other)
	do("GET", c+"/acct?symlink=get", "").as(nobody)
	do("POST", d, "", "X-Container-Read", ".r:*")
	do("GET", c+"/acct", "").as(nobody)
	do("DELETE", d+"/o%20%251", "")
	do("GET", c+"/acct", "").as(nobody)
	do("GET", c+"/static", "")
}
