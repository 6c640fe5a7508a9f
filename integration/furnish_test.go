package integration

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// places are the containers of a data set: one that a policy names, and two that its
// objects point into.
type places struct {
	main, segs, more string
	fewer            int // headers that the region's file system has no room for (L11)
}

func (p places) all() []string { return []string{p.main, p.segs, p.more} }

func zipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.String()
}

// metaHeaders are n X-Object-Meta headers.
func metaHeaders(n int) map[string]string {
	h := map[string]string{}
	for i := range n {
		h[fmt.Sprintf("X-Object-Meta-%c%d", 'A'+i%26, i)] = fmt.Sprint(i)
	}
	return h
}

// everyHeader are all headers that a client can give an object (S1).
func everyHeader() map[string]string {
	return map[string]string{
		"Content-Type":             `text/html; charset="utf-8"; profile=x`,
		"Content-Disposition":      `attachment; filename="naïve \"plan\".html"; filename*=UTF-8''na%C3%AFve.html`,
		"Content-Language":         "de, fr-CA",
		"Cache-Control":            "public, max-age=31536000, immutable",
		"Expires":                  "Thu, 01 Dec 2044 16:00:00 GMT",
		"X-Robots-Tag":             "noindex, unavailable_after: 25 Jun 2045 15:00:00 PST",
		"X-Delete-At":              fmt.Sprint(time.Now().Add(48 * time.Hour).Unix()),
		"X-Object-Meta-City":       "Zürich 🚢 東京",
		"X-Object-Meta-Long":       strings.Repeat("é", 128), // 256 bytes, all that Swift takes
		"X-Object-Meta-Quoted":     `"quoted", %41 & <b>; a=b \ end`,
		"X-Object-Meta-Mixed-Case": "Case Is Kept",
		"X-Object-Meta-Under_Bar":  "1",
	}
}

// furnish puts every kind of object into an account.
func (p places) furnish(a account) {
	a.t.Helper()
	for _, c := range p.all() {
		a.must("PUT", objectPath("", c), nil, "", 201, 202)
	}
	a.put(p.main, "headers/every", "the content", everyHeader())
	a.put(p.main, "headers/gzip", zipped("unpacked"), map[string]string{"Content-Type": "text/plain; charset=us-ascii", "Content-Encoding": "gzip"})
	for _, n := range []int{88, 89, 90} { // Swift takes 90; the stamp is one more
		a.put(p.main, fmt.Sprintf("headers/%d", n), fmt.Sprint(n), metaHeaders(n-p.fewer))
	}
	a.put(p.main, "headers/none", "no header at all", nil)
	a.put(p.main, "empty", "", nil)
	a.put(p.main, "plain", "hello", map[string]string{"X-Object-Meta-K": "v"})
	a.put(p.main, "other plain", "good bye", map[string]string{"Content-Type": "text/x"})

	seg := func(c, name, body string) {
		a.put(c, name, body, map[string]string{"Content-Type": "application/x-segment"})
	}
	for i := range 3 {
		seg(p.segs, fmt.Sprintf("s%%41/%d", i), strings.Repeat(string(rune('a'+i)), 1000+i))
	}
	seg(p.segs, "what? #1 é 中", "a name to be quoted;")
	seg(p.segs, "sA/0", "not the one with %41")
	seg(p.more, "in another", "in another container;")
	seg(p.main, "own/seg", "in the same container;")
	inline := base64.StdEncoding.EncodeToString([]byte("inline bytes;"))
	a.manifest(p.main, "slo/whole", map[string]string{"Content-Type": "video/mp4; codecs=avc1", "X-Object-Meta-Owner": "Zoë", "Cache-Control": "no-cache",
		"Content-Disposition": "inline", "X-Delete-At": fmt.Sprint(time.Now().Add(72 * time.Hour).Unix())},
		part(p.segs, "s%41/0"), part(p.segs, "what? #1 é 中"), map[string]any{"data": inline}, part(p.more, "in another"), part(p.main, "own/seg"))
	a.manifest(p.main, "slo/ranges", nil, part(p.segs, "s%41/2", "range", "10-99"), part(p.segs, "s%41/2", "range", "-5"), part(p.segs, "s%41/2", "range", "900-"),
		map[string]any{"data": inline}, part(p.segs, "s%41/2"))
	a.manifest(p.main, "slo/one", map[string]string{"Content-Encoding": "gzip"}, part(p.segs, "sA/0"))
	a.manifest(p.segs, "inner", nil, part(p.segs, "s%41/0"), part(p.segs, "s%41/1", "range", "0-9"))
	a.manifest(p.main, "slo/nested", nil, part(p.segs, "inner"), part(p.segs, "inner", "range", "5-1005"), part(p.segs, "s%41/2"))
	a.manifest(p.main, "slo/deep", nil, part(p.main, "slo/nested"), part(p.main, "slo/ranges", "range", "3-40"))

	for i := range 4 {
		seg(p.more, fmt.Sprintf("dyn %%41?/%d", i), fmt.Sprintf("part %d;", i))
	}
	dlo := url.PathEscape(p.more) + "/" + strings.ReplaceAll(url.PathEscape("dyn %41?/"), "%2F", "/")
	a.put(p.main, "dlo/own bytes", "own bytes", map[string]string{"X-Object-Manifest": dlo, "Content-Type": "text/dlo; x=1", "X-Object-Meta-D": "ü"})
	a.put(p.main, "dlo/empty", "", map[string]string{"X-Object-Manifest": dlo})
	a.put(p.main, "dlo/nothing", "", map[string]string{"X-Object-Manifest": url.PathEscape(p.more) + "/no such/"})
	a.put(p.main, "dlo/no container", "", map[string]string{"X-Object-Manifest": p.main + "-none/x"})
	seg(p.more, "few/1", "the only one;")
	a.put(p.main, "dlo/few", "", map[string]string{"X-Object-Manifest": url.PathEscape(p.more) + "/few/"})

	a.link(p.main, "link/soft", p.main, "plain", "", map[string]string{"X-Object-Meta-L": "of the link", "Content-Type": "application/x-link; a=b"})
	a.link(p.main, "link/to slo", p.main, "slo/whole", "", nil)
	a.link(p.main, "link/to dlo", p.main, "dlo/own bytes", "", nil)
	a.link(p.main, "link/to link", p.main, "link/soft", "", nil)
	a.link(p.main, "link/dangling", p.main, "nobody", "", nil)
	a.link(p.main, "link/nowhere", p.main+"-none", "nothing", "", nil)
	a.link(p.main, "link/across", p.segs, "what? #1 é 中", "", nil)
	a.link(p.main, "link/a round", p.main, "link/round", "", nil)
	a.link(p.main, "link/round", p.main, "link/a round", "", nil)
	a.put(p.more, "pinned", "what a static link is pinned to", map[string]string{"X-Object-Meta-P": "1"})
	a.link(p.main, "0static", p.more, "pinned", a.etag(p.more, "pinned"), map[string]string{"X-Object-Meta-S": "ß"})
	a.link(p.main, "0static to slo", p.main, "slo/whole", a.listed(p.main, "slo/whole").str("hash"), nil)
	a.link(p.main, "0static to static", p.main, "0static", a.etag(p.more, "pinned"), nil)
	a.link(p.main, "0static to plain", p.main, "plain", a.etag(p.main, "plain"), nil)
}

// etag is that of the object itself, links not followed.
func (a account) etag(container, name string) string {
	a.t.Helper()
	return strings.Trim(a.must("HEAD", objectPath("symlink=get", container, name), nil, "", 200).header.Get("Etag"), `"`)
}

func (a account) listed(container, name string) row {
	a.t.Helper()
	for _, r := range a.list(container) {
		if r.str("name") == name {
			return r
		}
	}
	a.t.Fatalf("%s does not list %q", container, name)
	return nil
}

// kindEdit is one change of a furnished data set, that one pass has to carry.
type kindEdit struct {
	what string
	do   func(a account, p places)
	// most is how many requests at the destination are enough: what is to be replaced
	// is looked at first (an SLO twice, for its manifest has an ETag of its own).
	most int
}

var kindEdits = []kindEdit{
	{"every header replaced by POST", func(a account, p places) {
		a.post(p.main, "headers/every", map[string]string{"Content-Type": "text/css; charset=latin-1", "Content-Language": "is", "X-Object-Meta-New": "þ", "Cache-Control": "no-store"})
	}, 2},
	{"POST that takes all metadata away", func(a account, p places) { a.post(p.main, "headers/90", nil) }, 2},
	{"gzip object overwritten", func(a account, p places) {
		a.put(p.main, "headers/gzip", zipped("more of it"), map[string]string{"Content-Encoding": "gzip"})
	}, 2},
	{"SLO's metadata by POST", func(a account, p places) {
		a.post(p.main, "slo/whole", map[string]string{"Content-Type": "video/webm", "X-Object-Meta-Owner": "Anaïs"})
	}, 3},
	{"SLO gets other segments", func(a account, p places) {
		a.put(p.segs, "fresh", "a fresh segment", nil)
		a.manifest(p.main, "slo/one", nil, part(p.segs, "fresh"), part(p.segs, "s%41/0", "range", "1-2"))
	}, 4},
	{"SLO becomes plain", func(a account, p places) { a.put(p.main, "slo/ranges", "plain now", nil) }, 3},
	{"and SLO again", func(a account, p places) {
		a.manifest(p.main, "slo/ranges", nil, part(p.segs, "s%41/2", "range", "10-99"), part(p.segs, "s%41/1"))
	}, 2},
	{"plain becomes SLO", func(a account, p places) { a.manifest(p.main, "other plain", nil, part(p.segs, "s%41/1")) }, 2},
	{"plain becomes DLO", func(a account, p places) {
		a.put(p.main, "headers/none", "x", map[string]string{"X-Object-Manifest": url.PathEscape(p.more) + "/few/"})
	}, 3},
	{"DLO gets a segment", func(a account, p places) { a.put(p.more, "dyn %41?/9", "the last", nil) }, 1},
	{"DLO loses a segment", func(a account, p places) { a.remove(p.more, "dyn %41?/0") }, 2},
	{"DLO's metadata by POST", func(a account, p places) {
		a.post(p.main, "dlo/empty", map[string]string{"X-Object-Manifest": url.PathEscape(p.more) + "/dyn%20%2541%3F/", "X-Object-Meta-New": "1"})
	}, 2},
	{"DLO becomes plain by POST", func(a account, p places) {
		a.post(p.main, "dlo/own bytes", map[string]string{"X-Object-Meta-New": "1"})
	}, 2},
	{"link's metadata by POST", func(a account, p places) { a.post(p.main, "link/to slo", map[string]string{"X-Object-Meta-New": "1"}) }, 2},
	{"link points elsewhere", func(a account, p places) { a.link(p.main, "link/soft", p.main, "slo/nested", "", nil) }, 2},
	{"link becomes static", func(a account, p places) {
		a.link(p.main, "link/across", p.more, "pinned", a.etag(p.more, "pinned"), nil)
	}, 2},
	{"static link becomes soft", func(a account, p places) { a.link(p.main, "0static", p.more, "pinned", "", nil) }, 2},
	{"link becomes an empty object", func(a account, p places) { a.put(p.main, "link/to link", "", nil) }, 2},
	{"empty object becomes a link", func(a account, p places) { a.link(p.main, "empty", p.main, "plain", "", nil) }, 2},
	{"SLO and its segment go", func(a account, p places) {
		a.remove(p.main, "slo/one")
		a.remove(p.segs, "fresh")
	}, 5},
	{"container gets an ACL and metadata", func(a account, p places) {
		a.must("POST", objectPath("", p.main), map[string]string{"X-Container-Read": ".r:*", "X-Container-Meta-Colour": "Zürich"}, "", 204)
	}, 2},
	{"ACL removed", func(a account, p places) {
		a.must("POST", objectPath("", p.main), map[string]string{"X-Remove-Container-Read": "x"}, "", 204)
	}, 2},
	{"link and DLO go", func(a account, p places) {
		a.remove(p.main, "link/dangling")
		a.remove(p.main, "dlo/nothing")
	}, 4},
}

// editThere makes an edit of every kind.
func (w *kindsWorld) editThere(a account) {
	w.t.Helper()
	p := w.p
	a.put(p.main, "plain", "edited there", map[string]string{"X-Object-Meta-K": "w"})
	a.post(p.main, "slo/whole", map[string]string{"Content-Type": "video/there", "X-Object-Meta-There": "ö"})
	a.put(p.segs, "made there", "a segment of there", nil)
	a.manifest(p.main, "slo/nested", nil, part(p.segs, "made there"), part(p.segs, "inner"))
	a.manifest(p.main, "slo/new", nil, part(p.segs, "made there", "range", "2-7"))
	a.put(p.main, "dlo/new", "x", map[string]string{"X-Object-Manifest": url.PathEscape(p.more) + "/few/"})
	a.put(p.more, "few/2", "one more;", nil)
	a.link(p.main, "link/to dlo", p.main, "slo/new", "", nil)
	a.link(p.main, "link/new", p.segs, "made there", a.etag(p.segs, "made there"), nil)
	a.put(p.main, "link/round", "no link any more", nil)
}
