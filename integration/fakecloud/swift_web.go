package fakecloud

import (
	"fmt"
	"html"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// site is a container as a web site (Swift's staticweb.py).
type site struct {
	q                                           *request
	c                                           *container
	index, errors, listings, css, label, dirSet string
}

// serveWeb answers a read without a token, or in X-Web-Mode, from a container
// that is set up as a web site; false when the request is an ordinary one.
func (q *request) serveWeb() bool {
	if q.r.Method != http.MethodGet && q.r.Method != http.MethodHead || q.cont == "" ||
		q.tok != nil && !isTrue(q.r.Header.Get("X-Web-Mode")) {
		return false
	}
	c := q.rg.account(q.acct).container(q.cont)
	if c == nil {
		return false
	}
	c.mu.RLock()
	get := func(k string) string { return strings.TrimSpace(c.meta["X-Container-Meta-Web-"+k]) }
	s := &site{q: q, c: c, index: get("Index"), errors: get("Error"), listings: get("Listings"), css: get("Listings-Css"),
		label: get("Listings-Label"), dirSet: get("Directory-Type")}
	c.mu.RUnlock()
	if s.dirSet == "" {
		s.dirSet = "application/directory"
	}
	if q.obj == "" {
		return s.container()
	}
	return s.object()
}

func (s *site) container() bool {
	q := s.q
	if code := q.authorize(q.acct, q.cont, "", http.MethodGet); code != 0 {
		s.fail(answer{code: code})
		return true
	}
	if s.index == "" && s.listings == "" {
		if !isTrue(q.r.Header.Get("X-Web-Mode")) {
			return false
		}
		q.fail(http.StatusNotFound)
		return true
	}
	switch a := s.open(s.index); {
	case !s.slash():
		s.redirect()
	case s.index != "" && a.code != http.StatusOK && a.code != http.StatusNotFound:
		s.fail(a)
	case s.index == "" || a.code == http.StatusNotFound:
		if isTrue(s.listings) {
			q.varies()
		}
		s.list("")
	default:
		q.varies()
		q.answerRead(a)
	}
	return true
}

// varies is what Swift says where the path is a container's and the answer good.
func (q *request) varies() {
	if _, ok := q.q["format"]; !ok {
		q.w.Header()["Vary"] = []string{"Accept"}
	}
}

func (s *site) object() bool {
	q := s.q
	a := s.open(q.obj)
	marker := a.code == http.StatusOK && a.ctype == s.dirSet && a.content.Len() <= 1
	if a.code != http.StatusNotFound && !marker || s.index == "" && s.listings == "" {
		return false // ordinary, as are errors other than 404
	}
	base := q.obj
	if !s.slash() {
		base += "/"
	}
	if s.index != "" {
		in := s.open(base + s.index)
		switch {
		case in.code == http.StatusOK && !s.slash():
			s.redirect()
			return true
		case in.code == http.StatusOK:
			q.answerRead(in)
			return true
		}
	}
	if s.slash() {
		s.list(q.obj)
		return true
	}
	if rows, code := s.rows(base, 1); code != 0 || len(rows) == 0 {
		s.fail(answer{code: http.StatusNotFound})
	} else {
		s.redirect()
	}
	return true
}

// open reads an object with the client's rights.
func (s *site) open(obj string) answer {
	q := s.q
	if code := q.authorize(q.acct, q.cont, obj, http.MethodGet); code != 0 {
		return answer{code: code}
	}
	return q.open(place{q.acct, q.cont, obj})
}

// slash says whether the request's path ends in one.
func (s *site) slash() bool {
	path, _, _ := strings.Cut(s.q.r.RequestURI, "?")
	return strings.HasSuffix(path, "/") || strings.HasSuffix(path, "%2F")
}

func (s *site) path() string {
	p := "/v1/" + s.q.acct + "/" + s.q.cont
	if s.q.obj != "" {
		p += "/" + s.q.obj
	} else if s.slash() {
		p += "/"
	}
	return p
}

func (s *site) redirect() {
	s.q.w.Header()["Location"] = []string{"http://" + s.q.r.Host + quotePath(s.path()+"/")}
	s.q.fail(http.StatusMovedPermanently)
}

// fail sends an error with the page that the site has for it, if any.
func (s *site) fail(a answer) {
	if s.errors != "" {
		if a.code == http.StatusUnauthorized {
			s.q.w.Header()["Www-Authenticate"] = []string{s.q.keystoneURI()}
		}
		if page := s.open(strconv.Itoa(a.code) + s.errors); page.code == http.StatusOK {
			h := s.q.w.Header()
			page.obj.writeHeaders(h)
			h["Accept-Ranges"], h["Content-Type"], h["Etag"] = []string{"bytes"}, []string{page.ctype}, []string{page.etag}
			s.q.stream(a.code, page.content, byteRange{0, page.content.Len()})
			return
		}
	}
	if a.text != "" {
		s.q.failText(a.code, a.text)
		return
	}
	s.q.failAnswer(a)
}

// webRow is a line of an HTML listing; a nil object is a directory.
type webRow struct {
	name string
	obj  *object
}

// rows lists what is right below prefix; code is why not.
func (s *site) rows(prefix string, limit int) (out []webRow, code int) {
	q := s.q
	if code = q.authorize(q.acct, q.cont, "", http.MethodGet); code != 0 {
		return nil, code
	}
	s.c.expire(q.now)
	s.c.settleLag()
	s.c.mu.RLock()
	defer s.c.mu.RUnlock()
	s.c.page(listOptions{prefix: prefix, delimiter: "/", limit: limit}, func(name string, o *object) {
		out = append(out, webRow{name, o})
	})
	return out, 0
}

const doctype = `<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN" "http://www.w3.org/TR/html4/loose.dtd">` + "\n<html>\n"

// quoted escapes as Python's html.escape does.
func quoted(s string) string {
	return strings.NewReplacer("&#34;", "&quot;", "&#39;", "&#x27;").Replace(html.EscapeString(s))
}

// list sends the HTML listing of what is under prefix.
func (s *site) list(prefix string) {
	label := s.path()
	if s.label != "" {
		parts := strings.SplitN(label, "/", 5)
		label = s.label + "/" + strings.Join(parts[min(4, len(parts)):], "/")
	}
	if !isTrue(s.listings) {
		s.fail(answer{code: http.StatusNotFound, text: s.disabled(label, prefix)})
		return
	}
	rows, code := s.rows(prefix, maxListing)
	if code == 0 && prefix != "" && len(rows) == 0 {
		code = http.StatusNotFound
	}
	if code != 0 {
		s.fail(answer{code: code})
		return
	}
	var dirs, files strings.Builder
	for _, r := range rows {
		name := strings.TrimPrefix(r.name, prefix)
		if r.obj == nil {
			webLine(&dirs, "item subdir", name, "&nbsp;", "&nbsp;")
			continue
		}
		row := s.c.shown(r.obj)
		var class []string
		for t := range strings.SplitSeq(row.ctype, "/") {
			class = append(class, "type-"+quoted(strings.ToLower(t)))
		}
		webLine(&files, "item "+strings.Join(class, " "), name, readable(row.bytes), r.obj.stamp.time().Format("2006-01-02 15:04:05"))
	}
	var b strings.Builder
	b.WriteString(doctype + " <head>\n  <title>Listing of " + quoted(label) + "</title>\n")
	if s.css != "" {
		b.WriteString(`  <link rel="stylesheet" type="text/css" href="` + s.cssPath(prefix) + "\" />\n")
	} else {
		b.WriteString("  <style type=\"text/css\">\n   h1 {font-size: 1em; font-weight: bold;}\n" +
			"   th {text-align: left; padding: 0px 1em 0px 1em;}\n   td {padding: 0px 1em 0px 1em;}\n" +
			"   a {text-decoration: none;}\n  </style>\n")
	}
	b.WriteString(" </head>\n <body>\n  <h1 id=\"title\">Listing of " + quoted(label) + "</h1>\n  <table id=\"listing\">\n" +
		"   <tr id=\"heading\">\n    <th class=\"colname\">Name</th>\n    <th class=\"colsize\">Size</th>\n" +
		"    <th class=\"coldate\">Date</th>\n   </tr>\n")
	if prefix != "" {
		b.WriteString("   <tr id=\"parent\" class=\"item\">\n    <td class=\"colname\"><a href=\"../\">../</a></td>\n" +
			"    <td class=\"colsize\">&nbsp;</td>\n    <td class=\"coldate\">&nbsp;</td>\n   </tr>\n")
	}
	b.WriteString(dirs.String() + files.String() + "  </table>\n </body>\n</html>\n")
	s.q.sendText(http.StatusOK, "text/html; charset=UTF-8", b.String())
}

func webLine(b *strings.Builder, class, name, size, date string) {
	fmt.Fprintf(b, "   <tr class=\"%s\">\n    <td class=\"colname\"><a href=\"%s\">%s</a></td>\n    <td class=\"colsize\">%s</td>\n"+
		"    <td class=\"coldate\">%s</td>\n   </tr>\n", class, quotePath(name), quoted(name), size, date)
}

// disabled is the page of a site without listings.
func (s *site) disabled(label, prefix string) string {
	page := doctype + "<head>\n<title>Listing of " + quoted(label) + "</title>\n"
	if s.css != "" {
		page += `  <link rel="stylesheet" type="text/css" href="` + s.cssPath(prefix) + "\" />\n"
	} else {
		page += "  <style type=\"text/css\">\n   h1 {font-size: 1em; font-weight: bold;}\n   p {font-size: 2}\n  </style>\n"
	}
	page += "</head>\n<body>  <h1>Web Listing Disabled</h1>   <p>The owner of this web site has disabled web listing." +
		"   <p>If you are the owner of this web site, you can enable   web listing by setting X-Container-Meta-Web-Listings.</p>"
	if s.index != "" {
		page += "<h1>Index File Not Found</h1> <p>The owner of this web site has set  <b>X-Container-Meta-Web-Index: " + s.index +
			"</b>.  However, this file is not found.</p>"
	}
	return page + " </body>\n</html>\n"
}

func (s *site) cssPath(prefix string) string {
	if strings.HasPrefix(s.css, "/") || strings.HasPrefix(s.css, "http://") || strings.HasPrefix(s.css, "https://") {
		return strings.ReplaceAll(quotePath(s.css), "%3A", ":")
	}
	return strings.Repeat("../", strings.Count(prefix, "/")) + quotePath(s.css)
}

// readable is swift.common.utils.human_readable.
func readable(n int64) string {
	v, unit := float64(n), -1
	for ; v >= 1024 && unit+1 < len("KMGTPEZY"); unit++ {
		v = math.RoundToEven(v / 1024)
	}
	if unit < 0 {
		return strconv.FormatInt(n, 10)
	}
	return fmt.Sprintf("%d%ci", int64(v), "KMGTPEZY"[unit])
}
