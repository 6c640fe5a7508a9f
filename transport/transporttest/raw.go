package transporttest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"farshore/transport"
)

// Raw speaks to the account behind an endpoint by another road than the
// endpoint, so that the two can be compared: plain HTTP on a Swift.
type Raw interface {
	// Do sends one request about an object or, if name is empty, a container.
	Do(t testing.TB, method, container, name, query string, header map[string]string, body []byte) Reply
}

// Reply is what came back.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// HTTPRaw is Raw over HTTP.
type HTTPRaw struct {
	URL    string // storage URL
	Token  string
	Client *http.Client
}

// Do implements Raw. It makes the request line by itself, byte by byte.
func (h HTTPRaw) Do(t testing.TB, method, container, name, query string, header map[string]string, body []byte) Reply {
	t.Helper()
	target := strings.TrimRight(h.URL, "/") + "/" + percent(container)
	if name != "" {
		target += "/" + percent(name)
	}
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	// Opaque is sent as it is: nothing between here and the server cleans the path.
	u.Opaque = strings.TrimPrefix(target, u.Scheme+"://"+u.Host)
	u.RawQuery = query
	req := (&http.Request{Method: method, URL: u, Host: u.Host, Header: http.Header{}, ContentLength: int64(len(body))}).WithContext(context.Background())
	if len(body) > 0 {
		req.Body = io.NopCloser(bytes.NewReader(body))
	} else {
		req.Body = http.NoBody
	}
	for k, v := range header {
		req.Header[k] = []string{v}
	}
	req.Header["X-Auth-Token"] = []string{h.Token}
	resp, err := h.Client.Transport.RoundTrip(req) // no redirects
	if err != nil {
		t.Fatalf("raw %s %s: %v", method, target, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("raw %s %s: %v", method, target, err)
	}
	return Reply{resp.StatusCode, resp.Header, data}
}

// percent encodes every byte but letters, digits and slashes.
func percent(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '/' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// Raw gives the back door of a Mem in the shape of Swift's API, as far as the
// conformance suite needs it.
func (m *Mem) Raw() Raw { return memRaw{m} }

type memRaw struct{ m *Mem }

func (r memRaw) Do(t testing.TB, method, container, name, query string, header map[string]string, body []byte) Reply {
	t.Helper()
	ctx := context.Background()
	if name == "" {
		return r.container(t, method, container)
	}
	h := transport.Header{}
	for k, v := range header {
		if transport.Keeps(k) || k == transport.OriginHeader {
			h[k] = v
		}
	}
	switch method {
	case http.MethodGet, http.MethodHead:
		o, data, ok := r.m.Get(container, name)
		if !ok {
			return Reply{Status: 404}
		}
		out := http.Header{"Etag": {o.ETag}, "Content-Length": {fmt.Sprint(o.Size)}}
		for k, v := range o.Header {
			out[k] = []string{v}
		}
		if o.Kind == transport.SLO {
			out["X-Static-Large-Object"] = []string{"True"}
		}
		if method == http.MethodHead {
			data = nil
		}
		return Reply{200, out, data}
	case http.MethodPut:
		switch {
		case header["X-Symlink-Target"] != "":
			r.m.SetSymlink(container, name, header["X-Symlink-Target"])
		case header["X-Object-Manifest"] != "":
			r.m.SetDLO(container, name, header["X-Object-Manifest"])
		case strings.Contains(query, "multipart-manifest=put"):
			var parts []struct {
				Path string `json:"path"`
				ETag string `json:"etag"`
				Size int64  `json:"size_bytes"`
			}
			if err := json.Unmarshal(body, &parts); err != nil {
				t.Fatal(err)
			}
			var segs []transport.Segment
			for _, p := range parts {
				c, n, _ := strings.Cut(strings.TrimPrefix(p.Path, "/"), "/")
				segs = append(segs, transport.Segment{Container: c, Name: n, ETag: p.ETag, Size: p.Size})
			}
			if _, err := r.m.PutManifest(ctx, container, name, segs, transport.PutOptions{Header: h}); err != nil {
				t.Fatal(err)
			}
		default:
			if h["Content-Type"] == "" {
				h["Content-Type"] = "text/plain"
			}
			r.m.Set(container, name, body, h)
		}
		return Reply{Status: 201}
	case http.MethodPost:
		if err := r.m.Post(ctx, container, name, h); err != nil {
			return Reply{Status: 404}
		}
		return Reply{Status: 202}
	case http.MethodDelete:
		r.m.Remove(container, name)
		return Reply{Status: 204}
	}
	t.Fatalf("no raw %s", method)
	return Reply{}
}

func (r memRaw) container(t testing.TB, method, container string) Reply {
	t.Helper()
	ctx := context.Background()
	var err error
	switch method {
	case http.MethodPut:
		err = r.m.CreateContainer(ctx, container)
	case http.MethodDelete:
		err = r.m.DeleteContainer(ctx, container)
	case http.MethodHead:
		_, err = r.m.Container(ctx, container)
	case http.MethodGet:
		names := r.m.Names(container)
		return Reply{200, http.Header{}, []byte(strings.Join(names, "\n"))}
	}
	if err != nil {
		return Reply{Status: 404}
	}
	return Reply{Status: 204}
}
