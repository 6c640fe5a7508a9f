package fakecloud

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeClock is a clock that tests move.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *fakeClock {
	return &fakeClock{now: time.Date(2026, 1, 2, 3, 4, 5, 123456000, time.UTC)}
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// rig is one region with a client that sends paths exactly as given.
type rig struct {
	t      *testing.T
	cloud  *Cloud
	r      *Region
	clock  *fakeClock
	token  string
	client *http.Client
}

func newRig(t *testing.T, opts RegionOptions) *rig {
	t.Helper()
	clock := newClock()
	if opts.Name == "" {
		opts.Name = "one"
	}
	c, err := Start(Options{Regions: []RegionOptions{opts}, Clock: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	r := c.Region(opts.Name)
	return &rig{t: t, cloud: c, r: r, clock: clock, token: r.Token(User, Project),
		client: &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}}}
}

// reply is an answer read to its end; err is what ended it otherwise.
type reply struct {
	code   int
	header http.Header
	body   string
	err    error
}

// do sends a request; headers are name, value, name, value….
func (g *rig) do(method, path, body string, headers ...string) reply {
	g.t.Helper()
	return g.doCtx(context.Background(), method, path, body, headers...)
}

func (g *rig) doCtx(ctx context.Context, method, path, body string, headers ...string) reply {
	g.t.Helper()
	base, err := url.Parse(g.r.StorageURL())
	if err != nil {
		g.t.Fatal(err)
	}
	raw, query, _ := strings.Cut(path, "?")
	u := &url.URL{Scheme: "http", Host: base.Host, Opaque: base.Path + raw, RawQuery: query}
	var rd io.Reader
	if body != "" {
		rd = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+base.Host, rd)
	if err != nil {
		g.t.Fatal(err)
	}
	req.URL = u
	req.Header.Set("X-Auth-Token", g.token)
	for i := 0; i < len(headers); i += 2 {
		req.Header[http.CanonicalHeaderKey(headers[i])] = []string{headers[i+1]}
	}
	if req.Header.Get("X-Auth-Token") == "" {
		req.Header.Del("X-Auth-Token")
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return reply{code: resp.StatusCode, header: resp.Header, body: string(b), err: err}
}

// must fails the test unless the answer has the status.
func (g *rig) must(code int, method, path, body string, headers ...string) reply {
	g.t.Helper()
	a := g.do(method, path, body, headers...)
	if a.err != nil || a.code != code {
		g.t.Fatalf("%s %s: status %d, error %v, want %d; body %q", method, path, a.code, a.err, code, a.body)
	}
	return a
}

func (g *rig) eq(what string, got, want any) {
	g.t.Helper()
	if got != want {
		g.t.Errorf("%s: got %#v, want %#v", what, got, want)
	}
}

func (g *rig) header(a reply, name, want string) {
	g.t.Helper()
	if got := a.header.Get(name); got != want {
		g.t.Errorf("%s: got %q, want %q (all: %v)", name, got, want, a.header)
	}
}

// rawSend writes bytes to the region's port and returns what comes back until
// the connection ends.
func (g *rig) rawSend(s string) string {
	g.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.r.URL(), "http://"))
	if err != nil {
		g.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, s); err != nil {
		g.t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		g.t.Fatal(err)
	}
	var b bytes.Buffer
	// A reset is one of the expected ends.
	_, _ = io.Copy(&b, conn)
	return b.String()
}
