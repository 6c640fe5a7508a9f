//go:build lab

package fakecloud

// webScript is about static web sites and the deletes that happen later. The
// lab's own proxies have neither; FARSHORE_PARITY_PROXY can name one that has
// staticweb in its pipeline and allow_async_delete set.
func webScript(sc *script) {
	c, name, do := sc.c, sc.name, sc.do
	do("PUT", c, "", "X-Container-Read", ".r:*")
	for n, body := range map[string]string{"index.html": "<index>", "404error.html": "<none>", "401error.html": "<denied>", "dir/index.html": "<dir>",
		"list/a%20b%22%26": "y", "list/c/d": "x"} {
		do("PUT", c+"/"+n, body).statusOnly()
	}
	do("PUT", c+"/marked", "", "Content-Type", "application/directory")
	do("PUT", c+"/marked/index.html", "<marked>")
	look := func() {
		for _, p := range []string{"", "/", "/index.html", "/none", "/dir", "/dir/", "/list", "/list/", "/list/c", "/list/c/", "/none/", "/marked", "/marked/"} {
			do("GET", c+p, "").as(nobody)
			do("HEAD", c+p, "").as(nobody)
		}
		do("GET", c+"/", "", "X-Web-Mode", "true")
		do("GET", c+"/", "")
		do("GET", c+"/index.html", "", "Range", "bytes=1-3").as(nobody)
	}
	look()
	do("POST", c, "", "X-Container-Meta-Web-Index", "index.html")
	look()
	do("POST", c, "", "X-Container-Meta-Web-Error", "error.html")
	look()
	do("POST", c, "", "X-Container-Meta-Web-Listings", "true", "X-Container-Read", ".r:*,.rlistings")
	look()
	do("POST", c, "", "X-Container-Meta-Web-Index", "", "X-Container-Meta-Web-Error", "", "X-Container-Meta-Web-Listings-Label", "My <site>",
		"X-Container-Meta-Web-Listings-Css", "style sheet.css")
	look()
	do("POST", c, "", "X-Container-Read", "", "X-Container-Meta-Web-Error", "error.html")
	look()

	s := c + "s"
	do("PUT", s, "")
	for _, n := range []string{"/1", "/2", "/3"} {
		do("PUT", s+n, n)
	}
	seg := func(p string) string { return `{"path":"` + p + `"}` }
	do("PUT", c+"/one"+put, "["+seg(s+"/1")+","+seg(s+"/2")+"]")
	do("PUT", c+"/twoconts"+put, "["+seg(s+"/3")+","+seg(c+"/index.html")+"]")
	do("PUT", c+"/nested"+put, "["+seg(c+"/twoconts")+"]")
	for _, o := range []string{"/one", "/one", "/nested", "/index.html", "/none"} {
		do("DELETE", c+o+remove+"&async=yes", "")
	}
	do("DELETE", c+"/twoconts"+remove+"&async=yes", "").statusOnly()
	do("DELETE", c+"/nested"+remove+"&async=yes", "").as(nobody)
	do("DELETE", c+"/"+name+remove+"&async=no", "", asJSON...)
}
