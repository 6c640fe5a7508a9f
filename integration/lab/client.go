package lab

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// direct ignores proxies of the environment: the lab is on this machine.
var direct = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32, IdleConnTimeout: 10 * time.Second}}

// Client speaks to one account of one region's Swift, or to one project of its Cinder, with bare HTTP,
// to check from outside what the project says it did. A failed request (not a refused one) fails the test. It is safe for
// concurrent use.
type Client struct {
	// URL is the account's: http://host:port/v1/AUTH_project, or http://host:port/v3/project.
	URL string

	authURL string
	service string // its type in the catalog
	cloud   cloud
	mu      sync.Mutex
	token   string
}

// Reply is an answer with its whole body.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte

	what string
}

// Entry is one line of a container listing (S3, L1b).
type Entry struct {
	Name         string `json:"name"`
	Hash         string `json:"hash"`
	Bytes        int64  `json:"bytes"`
	ContentType  string `json:"content_type"`
	LastModified string `json:"last_modified"` // UTC with microseconds and no zone
	SLOEtag      string `json:"slo_etag"`      // of a static large object, in quotes
	Subdir       string `json:"subdir"`
}

// Client logs in to Swift as a cloud of the clouds file: l.Cloud("one", lab.Tenant), say.
func (l *Lab) Client(t testing.TB, name string) *Client {
	t.Helper()
	return l.client(t, name, "object-store")
}

func (l *Lab) client(t testing.TB, name, service string) *Client {
	t.Helper()
	c, ok := l.desc.Clouds[name]
	if !ok {
		t.Fatalf("the lab has no cloud %q", name)
	}
	cl := &Client{authURL: l.desc.AuthURL, service: service, cloud: c}
	cl.login(t)
	return cl
}

// login fetches a token and, from its catalog, the service's public URL in the cloud's region
// (Identity API v3, POST /auth/tokens).
func (c *Client) login(t testing.TB) {
	t.Helper()
	a := c.cloud.Auth
	body := map[string]any{"auth": map[string]any{
		"identity": map[string]any{"methods": []string{"password"}, "password": map[string]any{"user": map[string]any{
			"name": a["username"], "password": a["password"], "domain": map[string]string{"name": a["user_domain_name"]},
		}}},
		"scope": map[string]any{"project": map[string]any{
			"name": a["project_name"], "domain": map[string]string{"name": a["project_domain_name"]},
		}},
	}}
	if c.cloud.AuthType == "v3applicationcredential" {
		body = map[string]any{"auth": map[string]any{"identity": map[string]any{
			"methods": []string{"application_credential"},
			"application_credential": map[string]string{
				"id": a["application_credential_id"], "secret": a["application_credential_secret"],
			},
		}}}
	}
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatalf("encode login: %v", err)
	}
	r := send(t, http.MethodPost, c.authURL+"/auth/tokens", map[string]string{"Content-Type": "application/json"}, raw).
		Want(t, http.StatusCreated)
	var doc struct {
		Token struct {
			Catalog []struct {
				Type      string `json:"type"`
				Endpoints []struct{ URL, Interface, Region string }
			} `json:"catalog"`
		} `json:"token"`
	}
	if err := json.Unmarshal(r.Body, &doc); err != nil {
		t.Fatalf("parse token: %v", err)
	}
	c.token = r.Header.Get("X-Subject-Token")
	for _, s := range doc.Token.Catalog {
		for _, e := range s.Endpoints {
			if s.Type == c.service && e.Interface == "public" && e.Region == c.cloud.Region {
				c.URL = e.URL
				return
			}
		}
	}
	t.Fatalf("the catalog has no public %s in %s", c.service, c.cloud.Region)
}

// Token is the client's current token.
func (c *Client) Token() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.token
}

// Call sends one request. path is below the account, as Path makes it, perhaps with a query. After a
// 401 it logs in anew and sends once more.
func (c *Client) Call(t testing.TB, method, path string, header map[string]string, body []byte) Reply {
	t.Helper()
	token := c.Token()
	r := send(t, method, c.URL+path, withToken(header, token), body)
	if r.Status != http.StatusUnauthorized {
		return r
	}
	c.mu.Lock()
	if c.token == token {
		c.login(t)
	}
	token = c.token
	c.mu.Unlock()
	return send(t, method, c.URL+path, withToken(header, token), body)
}

func withToken(header map[string]string, token string) map[string]string {
	h := map[string]string{"X-Auth-Token": token}
	for k, v := range header {
		h[k] = v
	}
	return h
}

func send(t testing.TB, method, url string, header map[string]string, body []byte) Reply {
	t.Helper()
	resp := open(t, method, url, header, body)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: read body: %v", method, url, err)
	}
	return Reply{Status: resp.StatusCode, Header: resp.Header, Body: got, what: method + " " + url}
}

func open(t testing.TB, method, url string, header map[string]string, body []byte) *http.Response {
	t.Helper()
	// Bounds a region that hangs; a COPY of some GiB takes tens of seconds (L1).
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := direct.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return resp
}

// Want fails the test unless the status is one of these.
func (r Reply) Want(t testing.TB, statuses ...int) Reply {
	t.Helper()
	if !slices.Contains(statuses, r.Status) {
		t.Fatalf("%s: status %d, want %v: %.300s", r.what, r.Status, statuses, r.Body)
	}
	return r
}

// Path is the path of a container, or of an object in it, below the account.
func Path(container string, object ...string) string {
	p := "/" + url.PathEscape(container)
	for _, o := range object {
		p += "/" + strings.ReplaceAll(url.PathEscape(o), "%2F", "/")
	}
	return p
}

// Scratch makes a container of one name, which no other test has, in all these accounts. It and its
// _segments are emptied and deleted when the test ends.
func Scratch(t testing.TB, clients ...*Client) string {
	t.Helper()
	name := "t-" + strings.ToLower(rand.Text()[:12])
	for _, c := range clients {
		t.Cleanup(func() {
			c.Remove(t, name+"_segments")
			c.Remove(t, name)
		})
		c.Call(t, http.MethodPut, Path(name), nil, nil).Want(t, 201)
	}
	return name
}

// Remove deletes a container and all in it. That it does not exist is no failure.
func (c *Client) Remove(t testing.TB, container string) {
	t.Helper()
	if c.Call(t, http.MethodHead, Path(container), nil, nil).Status == http.StatusNotFound {
		return
	}
	for _, e := range c.List(t, container, nil) {
		c.Call(t, http.MethodDelete, Path(container, e.Name), nil, nil).Want(t, 204, 404)
	}
	c.Call(t, http.MethodDelete, Path(container), nil, nil).Want(t, 204, 404)
}

// Put writes an object and checks that the ETag answered is the body's MD5.
func (c *Client) Put(t testing.TB, container, object string, body []byte, header map[string]string) {
	t.Helper()
	r := c.Call(t, http.MethodPut, Path(container, object), header, body).Want(t, 201)
	sum := md5.Sum(body)
	if want := hex.EncodeToString(sum[:]); r.Header.Get("Etag") != want {
		t.Fatalf("PUT %s/%s: ETag %s, want %s", container, object, r.Header.Get("Etag"), want)
	}
}

// Get reads an object.
func (c *Client) Get(t testing.TB, container, object string) Reply {
	t.Helper()
	return c.Call(t, http.MethodGet, Path(container, object), nil, nil).Want(t, 200)
}

// Head reads an object's headers.
func (c *Client) Head(t testing.TB, container, object string) http.Header {
	t.Helper()
	return c.Call(t, http.MethodHead, Path(container, object), nil, nil).Want(t, 200).Header
}

// Digest reads an object of any size, keeping nothing, and gives the bytes' number and their MD5 in
// hexadecimal.
func (c *Client) Digest(t testing.TB, container, object string) (size int64, sum string) {
	t.Helper()
	resp := open(t, http.MethodGet, c.URL+Path(container, object), withToken(nil, c.Token()), nil)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s/%s: %s", container, object, resp.Status)
	}
	h := md5.New()
	size, err := io.Copy(h, resp.Body)
	if err != nil {
		t.Fatalf("GET %s/%s: read body: %v", container, object, err)
	}
	return size, hex.EncodeToString(h.Sum(nil))
}

// List gives the whole listing of a container, page by page; query may narrow it (prefix, marker,
// end_marker, delimiter) or set the page's length (limit).
func (c *Client) List(t testing.TB, container string, query url.Values) []Entry {
	t.Helper()
	q := url.Values{"format": {"json"}}
	for k, v := range query {
		q[k] = v
	}
	var all []Entry
	for {
		var page []Entry
		r := c.Call(t, http.MethodGet, Path(container)+"?"+q.Encode(), nil, nil).Want(t, 200)
		if err := json.Unmarshal(r.Body, &page); err != nil {
			t.Fatalf("parse listing of %s: %v", container, err)
		}
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
		last := page[len(page)-1]
		q.Set("marker", last.Name+last.Subdir)
	}
}

// Names are the entries' names.
func Names(entries []Entry) []string {
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name
	}
	return names
}

// Manifest is the body of PUT ?multipart-manifest=put for segments of one container, in order (S3).
func Manifest(t testing.TB, container string, segments []Entry) []byte {
	t.Helper()
	type segment struct {
		Path string `json:"path"`
		Etag string `json:"etag"`
		Size int64  `json:"size_bytes"`
	}
	list := make([]segment, len(segments))
	for i, s := range segments {
		list[i] = segment{Path: fmt.Sprintf("/%s/%s", container, s.Name), Etag: s.Hash, Size: s.Bytes}
	}
	raw, err := json.Marshal(list)
	if err != nil {
		t.Fatalf("encode manifest: %v", err)
	}
	return raw
}
