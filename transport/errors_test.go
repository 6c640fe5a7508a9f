package transport_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"farshore/transport"
)

type typed struct{ error }

func (typed) ErrorClass() transport.Class { return transport.Throttled }

func TestClassOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want transport.Class
	}{
		{nil, transport.Permanent},
		{errors.New("x"), transport.Permanent},
		{fmt.Errorf("a: %w", &transport.Error{Class: transport.Quota}), transport.Quota},
		{fmt.Errorf("a: %w", typed{errors.New("x")}), transport.Throttled},
		{fmt.Errorf("a: %w", context.Canceled), transport.Canceled},
		{fmt.Errorf("a: %w", context.DeadlineExceeded), transport.Canceled},
		{fmt.Errorf("a: %w", io.ErrUnexpectedEOF), transport.Transient},
		{&net.DNSError{Err: "no such host", IsNotFound: true}, transport.Transient},
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, transport.Permanent},
	} {
		if got := transport.ClassOf(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
	if transport.Is(nil, transport.Permanent) {
		t.Error("no error has a class")
	}
}

// The errors of real connections, as net/http gives them.
func TestClassOfRealFailures(t *testing.T) {
	client := &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: time.Second}).DialContext}}
	defer client.CloseIdleConnections()
	get := func(ctx context.Context, url string) error {
		req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		_, err = io.ReadAll(resp.Body)
		return err
	}
	hijack := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			c, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = rw.WriteString(answer)
			_ = rw.Flush()
			_ = c.Close()
		}
	}
	serve := func(h http.HandlerFunc) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL
	}
	closed := httptest.NewServer(nil)
	closed.Close()
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() { // resets every connection
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = bufio.NewReader(c).ReadString('\n')
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		}
	}()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	late, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		url  string
		want transport.Class
	}{
		"refused":           {nil, closed.URL, transport.Transient},
		"reset":             {nil, "http://" + l.Addr().String(), transport.Transient},
		"closed unanswered": {nil, serve(hijack("")), transport.Transient},
		"cut headers":       {nil, serve(hijack("HTTP/1.1 200 OK\r\nConte")), transport.Transient},
		"cut body":          {nil, serve(hijack("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")), transport.Transient},
		"cut chunk":         {nil, serve(hijack("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nabc")), transport.Transient},
		"not HTTP":          {nil, serve(hijack("SSH-2.0-OpenSSH\r\n\r\n")), transport.Transient},
		"unknown authority": {nil, secure.URL, transport.Permanent},
		"no host":           {nil, "http://farshore.invalid/", transport.Transient},
		"bad scheme":        {nil, "gopher://x/", transport.Permanent},
		"canceled":          {ended, closed.URL, transport.Canceled},
		"too late":          {late, closed.URL, transport.Canceled},
	} {
		ctx := c.ctx
		if ctx == nil {
			ctx = context.Background()
		}
		err := get(ctx, c.url)
		if err == nil || transport.ClassOf(err) != c.want {
			t.Errorf("%s: %v is %v, want %v", name, err, transport.ClassOf(err), c.want)
		}
	}
	// A dial that times out by its own limit claims to be the context's end.
	timeout := &net.OpError{Op: "dial", Err: dialTimeout{}}
	if !errors.Is(timeout, context.DeadlineExceeded) || transport.ClassOf(timeout) != transport.Transient {
		t.Errorf("a dial timeout is %v", transport.ClassOf(timeout))
	}
}

// dialTimeout is net's unexported timeoutError.
type dialTimeout struct{}

func (dialTimeout) Error() string        { return "i/o timeout" }
func (dialTimeout) Timeout() bool        { return true }
func (dialTimeout) Is(target error) bool { return target == context.DeadlineExceeded }

func TestClassOfStatus(t *testing.T) {
	want := map[transport.Class][]int{
		transport.Denied:    {401, 403},
		transport.NotFound:  {404, 410},
		transport.Transient: {408, 499, 500, 502, 504, 507, 520, 599},
		transport.Changed:   {412},
		transport.Quota:     {413},
		transport.Corrupt:   {422},
		transport.Throttled: {429, 498, 503},
		transport.Permanent: {400, 405, 411, 416, 501},
	}
	for class, list := range want {
		for _, status := range list {
			if got := transport.ClassOfStatus(status); got != class {
				t.Errorf("%d: %v, want %v", status, got, class)
			}
		}
	}
}

func TestRetryAfterHeader(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"":                              0,
		"7":                             7 * time.Second,
		" 1.5 ":                         1500 * time.Millisecond,
		"-3":                            0,
		"soon":                          0,
		"NaN":                           0,
		"Sun, 01 Mar 2026 12:00:30 GMT": 30 * time.Second,
		"Sun, 01 Mar 2026 11:00:30 GMT": 0,
		"1e300":                         1e6 * time.Second,
	} {
		if got := transport.RetryAfter(header, now); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
}
