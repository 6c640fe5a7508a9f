//go:build integration

package integration

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// held stands between the program and a real object store, and stops one transfer in the middle until it is told
// to let go.
type held struct {
	url string

	mu                     sync.Mutex
	method, prefix, suffix string
	after                  int64
	holding                bool
	gate                   chan struct{}
}

func newHeld(t *testing.T, to string) *held {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	h := &held{gate: make(chan struct{})}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: u.Scheme, Host: u.Host})
			if h.wants(r.Out) && r.Out.Method == http.MethodPut {
				r.Out.Body = h.slow(r.Out.Body)
			}
		},
		ModifyResponse: func(r *http.Response) error {
			if h.wants(r.Request) && r.Request.Method == http.MethodGet {
				r.Body = h.slow(r.Body)
			}
			return nil
		},
		FlushInterval: -1,
		ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	server := httptest.NewServer(proxy)
	h.url = server.URL + u.Path
	t.Cleanup(func() { h.free(); server.Close() })
	return h
}

// hold has the next transfer of an object whose path holds prefix and ends with suffix stop after so many bytes.
func (h *held) hold(method, prefix, suffix string, after int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.method, h.prefix, h.suffix, h.after, h.gate = method, prefix, suffix, after, make(chan struct{})
}

// holds reports whether a transfer stands still.
func (h *held) holds() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.holding
}

// free lets it go on, and holds none any more.
func (h *held) free() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.method != "" {
		h.method, h.holding = "", false
		close(h.gate)
	}
}

func (h *held) wants(r *http.Request) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.method == r.Method && strings.Contains(r.URL.Path, h.prefix) && strings.HasSuffix(r.URL.Path, h.suffix)
}

func (h *held) slow(body io.ReadCloser) io.ReadCloser {
	h.mu.Lock()
	defer h.mu.Unlock()
	return &slowBody{ReadCloser: body, h: h, left: h.after, gate: h.gate}
}

type slowBody struct {
	io.ReadCloser
	h    *held
	left int64
	gate chan struct{}
}

func (b *slowBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		b.h.mu.Lock()
		b.h.holding = b.h.method != ""
		b.h.mu.Unlock()
		<-b.gate
	} else if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	return n, err
}
