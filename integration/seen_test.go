package integration

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// account speaks to one Swift account, emulated or real, with bare HTTP: it shares
// nothing with the program, follows no redirect and decodes no body.
type account struct {
	t     testing.TB
	url   string
	token func() string
}

var bare = &http.Client{
	Transport:     &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// answer is a reply with what could be read of its body.
type answer struct {
	what   string
	status int
	header http.Header
	body   []byte
	cut    error // the body ended before it should
}

// objectPath is the path of an object, or of a container, with a query.
func objectPath(query string, container string, object ...string) string {
	p := "/" + url.PathEscape(container)
	for _, o := range object {
		p += "/" + strings.ReplaceAll(url.PathEscape(o), "%2F", "/")
	}
	if query != "" {
		p += "?" + query
	}
	return p
}

func (a account) send(method, path string, header map[string]string, body string) answer {
	a.t.Helper()
	req, err := http.NewRequest(method, a.url+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", a.token())
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := bare.Do(req)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	r := answer{what: method + " " + path, status: resp.StatusCode, header: resp.Header}
	r.body, r.cut = io.ReadAll(resp.Body)
	return r
}

func (a account) must(method, path string, header map[string]string, body string, statuses ...int) answer {
	a.t.Helper()
	r := a.send(method, path, header, body)
	if !slices.Contains(statuses, r.status) {
		a.t.Fatalf("%s: status %d, not %v: %.400s", r.what, r.status, statuses, r.body)
	}
	return r
}

func (a account) put(container, name, body string, header map[string]string) {
	a.t.Helper()
	a.must("PUT", objectPath("", container, name), header, body, 201)
}

func (a account) post(container, name string, header map[string]string) {
	a.t.Helper()
	a.must("POST", objectPath("", container, name), header, "", 202, 307) // 307 for a link, which has taken it (S6)
}

func (a account) remove(container, name string) {
	a.t.Helper()
	a.must("DELETE", objectPath("", container, name), nil, "", 204)
}

// manifest writes a static large object from what a client sends.
func (a account) manifest(container, name string, header map[string]string, parts ...map[string]any) {
	a.t.Helper()
	raw, err := json.Marshal(parts)
	if err != nil {
		a.t.Fatal(err)
	}
	a.must("PUT", objectPath("multipart-manifest=put", container, name), header, string(raw), 201)
}

func part(container, name string, more ...any) map[string]any {
	m := map[string]any{"path": "/" + container + "/" + name}
	for i := 0; i < len(more); i += 2 {
		m[more[i].(string)] = more[i+1]
	}
	return m
}

// link writes a link; etag pins it to a version.
func (a account) link(container, name, toContainer, toName, etag string, header map[string]string) {
	a.t.Helper()
	h := maps.Clone(header)
	if h == nil {
		h = map[string]string{}
	}
	h["X-Symlink-Target"] = strings.TrimPrefix(objectPath("", toContainer, toName), "/")
	if etag != "" {
		h["X-Symlink-Target-Etag"] = etag
	}
	a.put(container, name, "", h)
}

// row is a line of a listing with all that Swift says there.
type row map[string]any

func (r row) str(key string) string {
	s, _ := r[key].(string)
	return s
}

func (a account) list(container string) []row {
	a.t.Helper()
	var all []row
	marker := ""
	for {
		r := a.must("GET", objectPath("format=json&marker="+url.QueryEscape(marker), container), nil, "", 200, 404)
		if r.status == 404 {
			return nil
		}
		var page []row
		if err := json.Unmarshal(r.body, &page); err != nil {
			a.t.Fatalf("%s: %v", r.what, err)
		}
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
		marker = page[len(page)-1].str("name")
	}
}

// object is all that a client can see of an object, in lines: one fact each, so that
// two of them are compared line by line.
type object map[string]string

// passing are headers that belong to the reply or to the region's own bookkeeping.
var passing = []string{"Date", "X-Trans-Id", "X-Openstack-Request-Id", "X-Timestamp", "Last-Modified", "Connection", "Vary", "Content-Location",
	"X-Manifest-Etag"} // the MD5 of the manifest with its segments' times, S3

const stampHeader = "X-Object-Meta-Farshore-Origin"

// look sees an object as itself, as a manifest, and as a reader who follows everything.
func (a account) look(container string, r row) object {
	a.t.Helper()
	name := r.str("name")
	o := object{"listed content_type": r.str("content_type"), "listed bytes": fmt.Sprint(r["bytes"]), "listed slo_etag": r.str("slo_etag"),
		"listed symlink_path": r.str("symlink_path"), "listed symlink_bytes": fmt.Sprint(r["symlink_bytes"])}
	head := a.send("HEAD", objectPath("symlink=get", container, name), nil, "")
	o["HEAD status"] = fmt.Sprint(head.status)
	for k, v := range head.header {
		if !slices.Contains(passing, k) {
			o["HEAD "+k] = strings.Join(v, " | ")
		}
	}
	if head.header.Get("X-Static-Large-Object") != "" {
		raw := a.must("GET", objectPath("multipart-manifest=get&format=raw", container, name), nil, "", 200)
		o["manifest"] = string(raw.body)
	} else {
		o["listed hash"] = r.str("hash") // of an SLO it is of the manifest with its segments' times
	}
	own := a.send("GET", objectPath("symlink=get&multipart-manifest=get", container, name), nil, "")
	if head.header.Get("X-Static-Large-Object") == "" {
		sum := sha256.Sum256(own.body)
		o["own bytes"] = fmt.Sprintf("%d %s", len(own.body), hex.EncodeToString(sum[:]))
	}
	got := a.send("GET", objectPath("", container, name), nil, "")
	sum := sha256.Sum256(got.body)
	o["GET"] = fmt.Sprintf("status %d, %d bytes, SHA-256 %s, cut %v", got.status, len(got.body), hex.EncodeToString(sum[:]), got.cut != nil)
	if got.status >= 300 {
		o["GET"] = fmt.Sprintf("status %d", got.status) // the body is words about it
	}
	return o
}

func (a account) all(container string) map[string]object {
	a.t.Helper()
	out := map[string]object{}
	for _, r := range a.list(container) {
		out[r.str("name")] = a.look(container, r)
	}
	return out
}

// names maps containers of one side to those of the other; what is not in it has its own name.
type names map[string]string

func (n names) of(container string) string {
	if to, ok := n[container]; ok {
		return to
	}
	return container
}

// as rewrites what an object says to the names of the other side.
func (n names) as(o object) object {
	out := maps.Clone(o)
	if m := o["manifest"]; m != "" && len(n) > 0 {
		out["manifest"] = n.inManifest(m)
	}
	for from, to := range n {
		quoted, there := pyQuote(from), pyQuote(to)
		for _, k := range []string{"HEAD X-Symlink-Target", "HEAD X-Object-Manifest"} {
			for _, spelling := range []string{quoted, url.PathEscape(from)} { // a manifest's is its client's
				if rest, ok := strings.CutPrefix(o[k], spelling+"/"); ok {
					out[k] = there + "/" + rest
				}
			}
		}
		if rest, ok := strings.CutPrefix(o["listed symlink_path"], "/"); ok {
			acct, path, _ := strings.Cut(strings.TrimPrefix(rest, "v1/"), "/")
			if rest, ok := strings.CutPrefix(path, quoted+"/"); ok {
				out["listed symlink_path"] = "/v1/" + acct + "/" + there + "/" + rest
			}
		}
	}
	return out
}

// pyQuote encodes as Swift does in what it answers.
func pyQuote(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}

// inManifest rewrites the paths of a manifest, and nothing else of it: Swift writes
// JSON as Python does, every letter beyond ASCII escaped.
func (n names) inManifest(m string) string {
	for from, to := range n {
		m = strings.ReplaceAll(m, `"path": "/`+escaped(from)+"/", `"path": "/`+"\x00"+escaped(to)+"/")
	}
	return strings.ReplaceAll(m, "\x00", "")
}

func escaped(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r < 0x80 {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// differences compares a container with its copy, fact by fact.
func differences(a, b account, container string, n names) []string {
	a.t.Helper()
	var out []string
	want, got := a.all(container), b.all(n.of(container))
	for _, name := range slices.Sorted(maps.Keys(want)) {
		y, ok := got[name]
		if !ok {
			out = append(out, fmt.Sprintf("%s/%q is missing at the destination", container, name))
			continue
		}
		x := n.as(want[name])
		for _, k := range slices.Sorted(maps.Keys(merged(x, y))) {
			switch {
			case x[k] == y[k], k == "HEAD "+stampHeader:
			case k == "listed symlink_path" && a.url != b.url: // says the account too
				if _, p, _ := strings.Cut(strings.TrimPrefix(x[k], "/v1/"), "/"); !strings.HasSuffix(y[k], "/"+p) {
					out = append(out, fmt.Sprintf("%s/%q: %s: %q at the source, %q at the destination", container, name, k, x[k], y[k]))
				}
			case k == "HEAD X-Symlink-Target-Etag" && x[k] != "" && y[k] != "" && strings.HasPrefix(y["GET"], "status 200") && x["GET"] == y["GET"]:
				// of a link to an SLO it is the MD5 of the manifest as its region keeps it (S6): that the
				// region follows the link proves that it is right
			default:
				out = append(out, fmt.Sprintf("%s/%q: %s: %q at the source, %q at the destination", container, name, k, x[k], y[k]))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[name]; !ok {
			out = append(out, fmt.Sprintf("%s/%q stands only at the destination", container, name))
		}
	}
	return out
}

func merged(x, y object) object {
	m := maps.Clone(x)
	maps.Copy(m, y)
	return m
}

// alike fails the test with everything that is not the same at both sides.
func alike(t testing.TB, a, b account, n names, containers ...string) {
	t.Helper()
	for _, c := range containers {
		d := differences(a, b, c, n)
		for i, s := range d {
			if i == 20 {
				t.Errorf("and %d more", len(d)-i)
				break
			}
			t.Error(s)
		}
	}
}

// total is the length of an answer's body, for messages.
func (r answer) String() string {
	return fmt.Sprintf("%s: %d %s", r.what, r.status, bytes.TrimSpace(r.body[:min(len(r.body), 200)]))
}
