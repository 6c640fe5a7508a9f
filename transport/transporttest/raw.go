package transporttest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// Raw speaks to the account behind an endpoint by another road than the
// endpoint, so that the two can be compared: plain HTTP on a Swift.
type Raw interface {
	// Do sends one request about an object or, if name is empty, a container, or if
	// that is empty as well, the account.
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
	target := strings.TrimRight(h.URL, "/")
	if container != "" {
		target += "/" + percent(container)
	}
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
