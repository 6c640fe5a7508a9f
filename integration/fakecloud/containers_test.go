package fakecloud

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestContainerRights(t *testing.T) {
	g := newRig(t, RegionOptions{})
	g.r.Put("c", "o", []byte("x"), nil)
	o := g.r.Token(OtherUser, OtherProject)
	tok := g.r.ks.check(o)
	pair := tok.project.ID + ":" + tok.user.ID
	for _, c := range []struct {
		read, write                      string
		nobody, list, get, theyList, put int // list is nobody's too
	}{
		{"", "", 401, 401, 403, 403, 403},
		{".r:*", "", 200, 401, 200, 403, 403},
		{".r:*,.rlistings", "", 200, 200, 200, 200, 403},
		{".rlistings", "", 401, 401, 403, 403, 403},
		{pair, "", 401, 401, 200, 200, 403},
		{"*:" + tok.user.ID, tok.project.ID + ":*", 401, 401, 200, 200, 201},
		{"*:*", "", 401, 401, 200, 200, 403},
		{tok.project.ID, tok.project.ID, 401, 401, 403, 403, 403},
		{"member", "member", 401, 401, 403, 403, 403}, // a role counts at home only
		{"x:" + tok.user.ID, pair, 401, 401, 403, 403, 201},
	} {
		g.must(204, "POST", "/c", "", "X-Container-Read", c.read, "X-Container-Write", c.write)
		what := fmt.Sprintf("%q %q", c.read, c.write)
		g.eq(what+" nobody GET", g.do("GET", "/c/o", "", "X-Auth-Token", "").code, c.nobody)
		g.eq(what+" nobody list", g.do("GET", "/c", "", "X-Auth-Token", "").code, c.list)
		g.eq(what+" other GET", g.do("GET", "/c/o", "", "X-Auth-Token", o).code, c.get)
		g.eq(what+" other list", g.do("GET", "/c", "", "X-Auth-Token", o).code, c.theyList)
		g.eq(what+" other PUT", g.do("PUT", "/c/n", "x", "X-Auth-Token", o).code, c.put)
		g.eq(what+" other POST of the container", g.do("POST", "/c", "", "X-Auth-Token", o).code, 403)
	}
	g.must(400, "POST", "/c", "", "X-Container-Write", ".r:*")
	g.must(400, "POST", "/c", "", "X-Container-Read", ".zz:x")
	g.must(204, "POST", "/c", "", "X-Container-Read", " a , .referrer : *.example.com,.ref:-.bad.example.com ,", "X-Container-Meta-Temp-Url-Key", "secret")
	a := g.must(204, "HEAD", "/c", "")
	g.header(a, "X-Container-Read", "a,.r:.example.com,.r:-.bad.example.com")
	g.header(a, "X-Container-Meta-Temp-Url-Key", "secret")
	g.must(200, "GET", "/c/o", "", "X-Auth-Token", "", "Referer", "http://www.example.com/x")
	g.must(401, "GET", "/c/o", "", "X-Auth-Token", "", "Referer", "http://www.bad.example.com/x")
	a = g.must(204, "HEAD", "/c", "", "X-Auth-Token", g.r.Token(ReaderUser, Project))
	g.header(a, "X-Container-Meta-Temp-Url-Key", "")
	g.header(a, "X-Container-Read", "")
}

func TestContainerHeaders(t *testing.T) {
	g := newRig(t, RegionOptions{Policies: []string{"gold", "Silver"}})
	g.must(201, "PUT", "/c", "", "X-Storage-Policy", "silver", "X-Container-Meta-A", "1", "X-Container-Meta-B", "2")
	g.header(g.must(204, "HEAD", "/c", ""), "X-Storage-Policy", "Silver")
	g.must(409, "PUT", "/c", "", "X-Storage-Policy", "gold")
	g.must(400, "PUT", "/d", "", "X-Storage-Policy", "lead")
	g.must(202, "PUT", "/c", "", "X-Container-Meta-A", "", "X-Remove-Container-Meta-B", "x")
	a := g.must(204, "HEAD", "/c", "")
	g.header(a, "X-Container-Meta-A", "")
	g.header(a, "X-Container-Meta-B", "")
	var many []string
	for i := range 90 {
		many = append(many, fmt.Sprintf("X-Container-Meta-H%d", i), "v")
	}
	g.must(204, "POST", "/c", "", many...)
	g.must(400, "POST", "/c", "", "X-Container-Meta-One-More", "v") // 91 in all
	g.must(204, "POST", "/c", "", "X-Container-Meta-One-More", "v", "X-Container-Meta-H0", "")

	g.must(202, "PUT", "/c", "", "X-Container-Meta-Quota-Bytes", "5", "X-Container-Meta-H1", "")
	g.must(201, "PUT", "/c/a", "12345")
	g.eq("over quota", g.must(413, "PUT", "/c/b", "6").body, "Upload exceeds quota.")
	g.must(413, "PUT", "/c/b", "", "X-Copy-From", "c/a")
	g.must(403, "POST", "", "", "X-Account-Meta-Quota-Bytes", "7")
	admin := g.r.Token(AdminUser, Project)
	g.must(204, "POST", "", "", "X-Account-Meta-Quota-Bytes", "7", "X-Auth-Token", admin)
	g.must(201, "PUT", "/d", "")
	g.must(201, "PUT", "/d/a", "12")
	g.must(413, "PUT", "/d/b", "1")
	g.must(201, "PUT", "/d/b", "1", "X-Auth-Token", admin)
}

func TestCORS(t *testing.T) {
	g := newRig(t, RegionOptions{})
	g.must(201, "PUT", "/c", "", "X-Container-Meta-Access-Control-Allow-Origin", "http://a http://b",
		"X-Container-Meta-Access-Control-Max-Age", "7", "X-Container-Meta-Access-Control-Expose-Headers", "X-Foo")
	g.must(201, "PUT", "/c/o", "x", "X-Object-Meta-Mine", "1")
	a := g.must(200, "GET", "/c/o", "", "Origin", "http://b")
	g.header(a, "Access-Control-Allow-Origin", "http://b")
	g.header(a, "Vary", "Origin")
	for _, h := range []string{"etag", "x-object-meta-mine", "x-foo"} {
		if !strings.Contains(a.header.Get("Access-Control-Expose-Headers"), h) {
			t.Errorf("%s is not exposed: %q", h, a.header.Get("Access-Control-Expose-Headers"))
		}
	}
	g.header(g.must(200, "GET", "/c/o", "", "Origin", "http://z"), "Access-Control-Allow-Origin", "")
	a = g.must(200, "OPTIONS", "/c/o", "", "Origin", "http://a", "Access-Control-Request-Method", "PUT", "X-Auth-Token", "")
	g.header(a, "Access-Control-Allow-Origin", "http://a")
	g.header(a, "Access-Control-Max-Age", "7")
	g.must(401, "OPTIONS", "/c/o", "", "Origin", "http://z", "Access-Control-Request-Method", "PUT")
	g.header(g.must(200, "OPTIONS", "/c/o", ""), "Allow", "DELETE, POST, OPTIONS, HEAD, PUT, GET, COPY")
}

func TestStaticWeb(t *testing.T) {
	g := newRig(t, RegionOptions{StaticWeb: true})
	g.r.Put("c", "index.html", []byte("<index>"), nil)
	g.r.Put("c", "404err.html", []byte("<none>"), nil)
	g.r.Put("c", "dir/a b", make([]byte, 3000), nil)
	g.must(204, "POST", "/c", "", "X-Container-Read", ".r:*,.rlistings", "X-Container-Meta-Web-Index", "index.html",
		"X-Container-Meta-Web-Error", "err.html", "X-Container-Meta-Web-Listings", "true")
	anon := func(code int, path string) reply {
		t.Helper()
		return g.must(code, "GET", path, "", "X-Auth-Token", "")
	}
	g.eq("index", anon(200, "/c/").body, "<index>")
	g.eq("error page", anon(404, "/c/none").body, "<none>")
	if to := anon(301, "/c").header.Get("Location"); !strings.HasSuffix(to, "/c/") {
		t.Errorf("redirect to %q", to)
	}
	list := anon(200, "/c/dir/").body
	if !strings.Contains(list, `<a href="a%20b">a b</a>`) || !strings.Contains(list, ">3Ki<") {
		t.Errorf("listing: %s", list)
	}
	g.eq("with a token", g.must(200, "GET", "/c", "").body, "404err.html\ndir/a b\nindex.html\n")
}

func TestObjectLimits(t *testing.T) {
	g := newRig(t, RegionOptions{})
	g.must(201, "PUT", "/c", "")
	many := func(n, size int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprintf("X-Object-Meta-%03d", i), strings.Repeat("v", size))
		}
		return out
	}
	for _, c := range []struct {
		code int
		h    []string
	}{
		{201, many(90, 1)}, {400, many(91, 1)}, {201, many(15, 256)}, {400, many(16, 256)}, {400, many(1, 257)},
		{201, []string{"X-Object-Meta-" + strings.Repeat("n", 128), "v"}}, {400, []string{"X-Object-Meta-" + strings.Repeat("n", 129), "v"}},
		{400, []string{"X-Delete-At", fmt.Sprint(g.clock.Now().Unix())}}, {400, []string{"X-Delete-After", "0"}},
		{400, []string{"Content-Type", "t/x; swift_bytes=7"}},
	} {
		a := g.do("PUT", "/c/o", "x", c.h...)
		if a.code != c.code {
			t.Errorf("%.80q: %d, want %d: %s", c.h, a.code, c.code, a.body)
		}
	}
	// Names are counted in characters.
	g.must(201, "PUT", "/c/"+strings.Repeat("%C3%BC", 1024), "x")
	g.must(400, "PUT", "/c/"+strings.Repeat("%C3%BC", 1025), "x")
	g.header(g.must(200, "HEAD", "/c/"+strings.Repeat("%C3%BC", 1024), ""), "Content-Length", "1")
	g.must(201, "PUT", "/c/e", "x", "X-Delete-After", "10")
	g.header(g.must(200, "HEAD", "/c/e", ""), "X-Delete-At", fmt.Sprint(g.clock.Now().Unix()+10))
	g.clock.add(10 * time.Second)
	g.must(404, "GET", "/c/e", "")
	g.must(201, "PUT", "/c/far", "x", "X-Delete-At", "99999999999")
	g.header(g.must(200, "HEAD", "/c/far", ""), "X-Delete-At", "9999999999")
	g.must(201, "PUT", "/c/typed", "x", "Content-Type", "t/x; a=b")
	g.eq("listed type", g.list("/c?format=json&prefix=typed")[0].ContentType, "t/x;a=b")
}
