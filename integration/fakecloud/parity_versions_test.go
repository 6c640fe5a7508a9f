//go:build lab

package fakecloud

import "fmt"

// versionScript is about X-Versions-Enabled (S7).
func versionScript(sc *script) {
	c, name, do := sc.c, sc.name, sc.do
	p := c + "p" // never versioned
	do("PUT", p, "")
	do("PUT", p+"/t", "target", "Content-Type", "t/t")
	do("GET", p+"?versions", "")
	do("GET", p+"/t?version-id=null", "")
	do("GET", p+"/t?version-id=1", "")
	do("POST", p+"/t?version-id=null", "")
	do("DELETE", p+"/none?version-id=null", "")
	do("PUT", c, "")
	do("PUT", c+"/before", "first", "Content-Type", "t/b", "X-Object-Meta-A", "1")
	do("PUT", c+"/before2", "2nd", "Content-Type", "t/b")
	do("POST", c, "", "X-Versions-Enabled", "maybe")
	do("HEAD", c, "")
	do("GET", c+"?versions", "")
	do("POST", c, "", "X-Versions-Enabled", "true")
	do("HEAD", c, "")
	do("GET", c+"/before", "")
	do("HEAD", c+"/none", "")
	look := func(n string) {
		for _, m := range []string{"GET", "HEAD"} {
			do(m, c+"/"+n, "")
			do(m, c+"/"+n+"?symlink=get", "")
		}
	}
	list := func(q string) {
		do("GET", c+"?versions"+q, "").loosely()
	}
	do("PUT", c+"/before", "second", "Content-Type", "t/b2; charset=x", "X-Object-Meta-B", "2").keep("b1")
	look("before")
	do("PUT", c+"/o", "one", "Content-Type", "t/1", "X-Object-Meta-A", "1").keep("o1")
	do("PUT", c+"/o", "two!", "Content-Type", "t/2", "X-Object-Meta-A", "2").keep("o2")
	do("PUT", c+"/o", "three", "Content-Type", "t/3", "Etag", sum("x"))
	do("PUT", c+"/o", "three", "Content-Type", "t/3", "Etag", sum("three")).keep("o3")
	do("PUT", c+"/%25 %C3%BC?x", "odd", "Content-Type", "t/o").statusOnly()
	do("PUT", c+"/%25%20%C3%BC", "odd", "Content-Type", "t/o").keep("odd1")
	do("PUT", c+"/%25%20%C3%BC", "odder", "Content-Type", "t/o").keep("odd2")
	look("o")
	look("%25%20%C3%BC")
	for _, v := range []string{"{o1}", "{o2}", "{o3}", "null", "1", "x", "0000000001.00000", "", "-1", "{o1}0", "99999999999"} {
		for _, m := range []string{"GET", "HEAD", "POST"} {
			do(m, c+"/o?version-id="+v, "")
		}
	}
	do("GET", c+"/o?version-id={o2}", "", "Range", "bytes=1-2")
	do("GET", c+"/o?version-id={o2}", "", "If-Match", sum("two!"))
	do("GET", c+"/o?version-id={o2}", "", "If-None-Match", sum("two!"))
	do("GET", c+"/before?version-id=null", "")
	do("GET", c+"/before2?version-id=null", "")
	do("GET", c+"/o", "", "If-None-Match", sum("three"))
	do("GET", c+"/o", "", "Range", "bytes=9-")
	do("PUT", c+"/o", "never", "If-None-Match", "*")
	do("PUT", c+"/new", "x", "If-None-Match", "*").keep("new1")
	for _, f := range []string{"", "?format=json", "?format=xml", "?format=json&prefix=o"} {
		do("GET", c+f, "").loosely()
	}
	do("HEAD", c, "")
	list("")
	list("&format=json")
	list("&format=xml")
	list("&prefix=o")
	list("&reverse=true")

	// POST changes the current version, and the link.
	do("POST", c+"/o", "", "X-Object-Meta-P", "1")
	do("POST", c+"/o", "", "X-Object-Meta-P", "2", "Content-Type", "t/p; a=b", "X-Delete-At", "9999999999")
	do("GET", c+"/o?version-id={o3}", "")
	look("o")
	list("&prefix=o")

	// Deletes.
	do("DELETE", c+"/o", "").keep("od")
	look("o")
	do("GET", c+"/o?version-id={od}", "")
	do("HEAD", c+"/o?version-id={od}", "")
	do("GET", c+"/o?version-id={o3}", "")
	do("DELETE", c+"/o", "").keep("od2")
	do("DELETE", c+"/never", "").keep("nd")
	do("DELETE", c+"/before2", "").keep("b2d")
	list("")
	do("PUT", c+"/o?version-id={od}", "")
	do("PUT", c+"/o?version-id={od}", "", "Content-Type", "t/x")
	do("DELETE", c+"/o?version-id={od2}", "")
	do("DELETE", c+"/o?version-id={od}", "")
	do("GET", c+"/o", "")
	list("&prefix=o")
	do("PUT", c+"/o?version-id={o2}", "")
	do("PUT", c+"/o?version-id={o2}", "body")
	do("PUT", c+"/o?version-id=0000000001.00000", "")
	look("o")
	list("&prefix=o")
	do("PUT", c+"/o?version-id={o1}", "", "X-Object-Meta-Z", "1")
	look("o")
	do("DELETE", c+"/o?version-id={o3}", "")
	do("DELETE", c+"/o?version-id={o1}", "")
	do("DELETE", c+"/o?version-id={o1}", "")
	do("DELETE", c+"/o?version-id=x", "")
	look("o")
	list("&prefix=o")
	do("PUT", c+"/o", "four").keep("o4")
	do("DELETE", c+"/o?version-id=null", "")
	look("o")
	list("&prefix=o")
	do("PUT", c+"/o?version-id={o4}", "")

	// Large objects, links and copies.
	do("PUT", c+"/seg", "segment", "Content-Type", "t/s")
	do("PUT", c+"/slo"+put, `[{"path":"`+c+`/seg"},{"path":"`+p+`/t"}]`, "Content-Type", "t/l; charset=y").keep("s1")
	look("slo")
	do("GET", c+"/slo", "", "If-Match", sum(sum("segment")+sum("target")))
	do("GET", c+"/slo"+get, "").loosely()
	do("GET", c+"/slo"+getRaw, "")
	do("GET", c+"/slo"+getRaw+"&version-id={s1}", "")
	do("GET", c+"/slo?version-id={s1}", "", "Range", "bytes=5-8")
	list("&prefix=s")
	do("GET", c+"?format=json&prefix=s", "").loosely()
	do("PUT", c+"/slo", "plain now", "Content-Type", "t/n").keep("s2")
	do("DELETE", c+"/slo"+remove+"&version-id={s2}", "", asJSON...)
	do("GET", c+"/slo?version-id={s1}", "")
	do("PUT", c+"/dlo", "", "X-Object-Manifest", name+"/se", "Content-Type", "t/d")
	look("dlo")
	do("POST", c+"/dlo", "", "X-Object-Meta-A", "1")
	look("dlo")
	do("PUT", c+"/ln", "", "X-Symlink-Target", name+"p/t")
	look("ln")
	do("PUT", c+"/lst", "", "X-Symlink-Target", name+"p/t", "X-Symlink-Target-Etag", sum("target"))
	look("lst")
	do("POST", c+"/ln", "", "X-Object-Meta-A", "1")
	do("PUT", p+"/into", "", "X-Symlink-Target", name+"/seg")
	do("GET", p+"/into", "")
	do("PUT", p+"/intostatic", "", "X-Symlink-Target", name+"/seg", "X-Symlink-Target-Etag", sum("segment"))
	do("GET", p+"/intostatic", "")
	do("COPY", c+"/before?version-id={b1}", "", "Destination", name+"p/copied")
	do("HEAD", p+"/copied", "")
	do("COPY", c+"/before?version-id={b1}", "", "Destination", name+"/before").keep("b3")
	do("COPY", c+"/seg", "", "Destination", name+"/seg2").keep("seg2")
	do("COPY", c+"/seg?version-id=null", "", "Destination", name+"/seg3")
	do("COPY", c+"/slo"+get+"&version-id={s1}", "", "Destination", name+"/slo2").keep("s3")
	do("GET", c+"/slo2"+getRaw, "")
	list("")
	do("GET", c+"?format=json", "").loosely()

	// Pages.
	for i := range 5 {
		do("PUT", c+"/page/a", fmt.Sprint(i)).keep(fmt.Sprintf("pa%d", i))
		do("PUT", c+"/page/b", fmt.Sprint(i)).keep(fmt.Sprintf("pb%d", i))
	}
	do("DELETE", c+"/page/a", "").keep("pad")
	for _, q := range []string{"&limit=3", "&limit=3&marker=page/a&version_marker={pa3}", "&marker=page/a&version_marker={pa0}", "&marker=page/a", "&version_marker={pa3}",
		"&marker=page/a&version_marker=x", "&marker=page/a&version_marker=null", "&delimiter=/", "&delimiter=/&prefix=page/", "&prefix=page/&limit=4&reverse=on",
		"&prefix=page/&reverse=on&marker=page/b&version_marker={pb2}", "&delimiter=1", "&delimiter=.", "&end_marker=page/b", "&limit=0", "&limit=10001", "&limit=1",
		"&prefix=", "&marker=", "&limit=x", "&path=page", "&marker=zz"} {
		list(q)
	}
	for _, a := range []string{"text/plain", "application/xml", "application/json", "*/*", "text/html"} {
		do("GET", c+"?versions", "", "Accept", a).loosely()
	}
	do("HEAD", c+"?versions", "")

	// Disabled.
	do("POST", c, "", "X-Versions-Enabled", "false")
	do("HEAD", c, "")
	do("PUT", c+"/page/b", "plain", "Content-Type", "t/p")
	look("page/b")
	do("GET", c+"/page/b?version-id={pb4}", "")
	list("&prefix=page/")
	do("DELETE", c+"/page/b", "")
	look("page/b")
	list("&prefix=page/")
	do("PUT", c+"/page/b", "plain again")
	do("POST", c, "", "X-Versions-Enabled", "1")
	do("PUT", c+"/page/b", "versioned again").keep("pb6")
	list("&prefix=page/")
	do("GET", c+"/page/b", "")
	do("PUT", c+"/expiring", "x", "X-Delete-At", "9999999999").keep("e1")
	look("expiring")
	do("GET", c+"/expiring?version-id={e1}", "")
	do("POST", "?bulk-delete", name+"/expiring\n"+name+"/none\n"+name, "Content-Type", "text/plain", "Accept", "application/json")
	list("&prefix=e")
	do("POST", c, "", "X-Versions-Location", name+"p")
	do("HEAD", c, "")
	do("POST", c, "", "X-Remove-Versions-Location", "x")
	do("PUT", c+"d", "", "X-Versions-Enabled", "true", "X-Storage-Policy", "Policy-0")
	do("PUT", c+"d", "", "X-Versions-Enabled", "false")
	do("HEAD", c+"d", "")
	do("PUT", c+"d/x", "x")
	do("DELETE", c+"d", "")
	do("DELETE", c+"d/x", "")
	do("DELETE", c+"d", "")
	do("PUT", c+"d", "", "X-Versions-Enabled", "true")
	do("PUT", c+"d/x", "x").keep("x1")
	do("DELETE", c+"d/x", "").keep("x2")
	do("DELETE", c+"d", "")
	do("DELETE", c+"d/x?version-id={x1}", "")
	do("DELETE", c+"d/x?version-id={x2}", "")
	do("DELETE", c+"d", "")
	do("HEAD", c+"d", "")
	do("PUT", c+"d", "")
	do("HEAD", c+"d", "")
	do("POST", c+"d", "", "X-Container-Sync-To", "http://127.0.0.1/v1/a/b", "X-Container-Sync-Key", "k")
	do("HEAD", c+"d", "")
	do("POST", c+"d", "", "X-Versions-Enabled", "true")
	do("POST", c+"d", "", "X-Container-Sync-To", "")
	do("POST", c+"d", "", "X-Versions-Enabled", "true")

	// Rights.
	do("POST", c, "", "X-Container-Read", ".r:*,.rlistings", "X-Container-Write", "{otherproject}:*")
	do("GET", c+"/page/b", "").as(nobody)
	do("GET", c+"/page/b?version-id={pb6}", "").as(nobody)
	do("GET", c+"?versions&prefix=page/b", "").as(nobody).loosely()
	do("PUT", c+"/page/b", "theirs").as(other).keep("pb7")
	do("GET", c+"/page/b?version-id={pb7}", "").as(other)
	do("DELETE", c+"/page/b?version-id={pb6}", "").as(other)
	do("DELETE", c+"/page/b?version-id={pb7}", "").as(other)
	do("DELETE", c+"/page/b", "").as(other)
	do("GET", "?format=json&prefix="+name, "").statusOnly()
	do("GET", "/%00versions%00"+name, "")
	do("GET", c+"/%00a", "").statusOnly()
}

// archiveScript is about the two older modes of versioning.
func archiveScript(sc *script) {
	c, name, do := sc.c, sc.name, sc.do
	for _, mode := range []string{"X-Versions-Location", "X-History-Location"} {
		d, a := c+mode[2:3], c+mode[2:3]+"a"
		dn, an := d[1:], a[1:]
		do("PUT", a, "")
		do("PUT", d, "", mode, an+"x/y")
		do("PUT", d, "", mode, an)
		do("HEAD", d, "")
		do("GET", d, "")
		do("POST", d, "", "X-Versions-Enabled", "true")
		do("POST", d, "", "X-Versions-Location", an, "X-History-Location", an)
		do("POST", d, "", "X-Versions-Location", "", "X-History-Location", "")
		do("HEAD", d, "")
		do("POST", d, "", mode, an, "X-Remove-Versions-Location", "x")
		do("HEAD", d, "")
		all := func() {
			do("GET", a+"?format=json", "").loosely()
			do("GET", d+"?format=json", "").loosely()
		}
		do("PUT", d+"/o%20%25%C3%BC", "one", "Content-Type", "t/1; charset=x", "X-Object-Meta-A", "1")
		do("PUT", d+"/o%20%25%C3%BC", "two", "Content-Type", "t/2", "X-Delete-At", "9999999999")
		do("PUT", d+"/o%20%25%C3%BC", "three", "Content-Type", "t/3")
		all()
		do("GET", a+"/none", "")
		do("DELETE", d+"/o%20%25%C3%BC", "")
		all()
		do("GET", d+"/o%20%25%C3%BC", "")
		do("DELETE", d+"/o%20%25%C3%BC", "")
		all()
		do("GET", d+"/o%20%25%C3%BC", "")
		do("DELETE", d+"/o%20%25%C3%BC", "")
		do("DELETE", d+"/o%20%25%C3%BC", "")
		all()
		do("DELETE", d+"/never", "")
		do("PUT", d+"/slo"+put, `[{"path":"`+d+`/none"}]`)
		do("PUT", d+"/s", "seg", "Content-Type", "t/s")
		do("PUT", d+"/slo"+put, `[{"path":"`+d+`/s"}]`, "Content-Type", "t/l")
		do("PUT", d+"/slo", "over", "Content-Type", "t/n")
		do("PUT", d+"/ln", "", "X-Symlink-Target", dn+"/s")
		do("PUT", d+"/ln", "over")
		do("COPY", d+"/s", "", "Destination", dn+"/ln")
		do("POST", d+"/ln", "", "X-Object-Meta-A", "1")
		all()
		do("DELETE", d+"/slo", "")
		do("DELETE", d+"/ln", "")
		do("DELETE", d+"/ln", "")
		all()
		do("GET", d+"/slo", "")
		do("GET", d+"/ln", "")
		do("GET", d+"/s?version-id=1", "")
		do("GET", d+"?versions", "").loosely()
		// The one mode over what the other kept.
		if mode == "X-History-Location" {
			do("POST", d, "", "X-Versions-Location", an)
			do("HEAD", d, "")
			for _, n := range []string{"/slo", "/slo", "/slo", "/ln", "/ln", "/ln", "/ln", "/never", "/never"} {
				do("DELETE", d+n, "")
				do("GET", d+n, "")
			}
			all()
		}
		do("POST", d, "", mode, name+"none")
		do("PUT", d+"/fresh", "x")
		do("PUT", d+"/fresh", "y")
		do("DELETE", d+"/fresh", "")
		do("DELETE", d+"/fresh", "")
		do("POST", d, "", "X-Remove-"+mode[2:], "x")
		do("HEAD", d, "")
		do("PUT", d+"/fresh", "y")
		do("POST", d, "", mode, "")
		do("POST", d, "", mode, "%C3%BC%20x")
		do("HEAD", d, "")
	}
}
