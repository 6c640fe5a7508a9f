package region_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ncw/swift/v2"
	"go.uber.org/goleak"

	"farshore/integration/fakecloud"
	"farshore/transport"
	"farshore/transport/region"
	"farshore/transport/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gate is a base transport whose requests a test can look at, hold up and answer.
type gate struct {
	base *http.Transport
	mu   sync.Mutex
	hook func(*http.Request) (*http.Response, error) // nil results: go on
	auth int                                         // logins asked for
}

func newGate(t *testing.T) *gate {
	g := &gate{base: wire.NewTransport(nil)}
	t.Cleanup(g.base.CloseIdleConnections)
	return g
}

func (g *gate) set(hook func(*http.Request) (*http.Response, error)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hook = hook
}

func (g *gate) logins() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.auth
}

func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
	g.mu.Lock()
	if isLogin(r) {
		g.auth++
	}
	hook := g.hook
	g.mu.Unlock()
	if hook != nil {
		if resp, err := hook(r); resp != nil || err != nil {
			if r.Body != nil {
				_ = r.Body.Close()
			}
			return resp, err
		}
	}
	return g.base.RoundTrip(r)
}

func isLogin(r *http.Request) bool {
	return r.Method == "POST" && strings.HasSuffix(r.URL.Path, "/auth/tokens")
}

func answer(r *http.Request, status int, body string, header ...string) *http.Response {
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), Header: h, Request: r,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
}

// cloud starts a fake cloud of two regions under one Keystone.
func cloud(t *testing.T, o fakecloud.Options) (c *fakecloud.Cloud, file string) {
	t.Helper()
	clearEnv(t)
	o.SharedKeystone = true
	c, err := fakecloud.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if file, err = c.CloudsYAML(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	return c, file
}

// clearEnv keeps an openrc of the machine that runs the tests out of them.
func clearEnv(t *testing.T) {
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "OS_") {
			t.Setenv(name, "")
		}
	}
}

func open(t *testing.T, c region.Config) *region.Region {
	t.Helper()
	r, err := region.Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// call makes one request of the connection.
func call(ctx context.Context, r *region.Region, method, container, name string, body io.Reader, size int64) (string, error) {
	o := swift.RequestOpts{Operation: method, Container: container, ObjectName: name, Body: body}
	if body != nil {
		o.Headers = swift.Headers{"Content-Length": fmt.Sprint(size)}
	}
	resp, _, err := r.SwiftConnection().Call(ctx, r.Identity().URL, o)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func wantClass(t *testing.T, err error, class transport.Class, texts ...string) {
	t.Helper()
	var e *transport.Error
	if !errors.As(err, &e) || e.Class != class || transport.HintOf(err) == "" {
		t.Errorf("%v: %#v, want class %v and a hint", err, e, class)
		return
	}
	for _, s := range texts {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%v does not say %q", err, s)
		}
	}
}
