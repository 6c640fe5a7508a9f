package swift_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ncw "github.com/ncw/swift/v2"
	"go.uber.org/goleak"

	"farshore/transport"
	"farshore/transport/swift"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// canary is the token of every scripted server's login: it must never be in an error.
const canary = "canary-token-3f1c"

// static is a login that hands out canary, canary1, canary2 …
type static struct {
	url    string
	logins atomic.Int32
	fail   error
}

func (s *static) Request(context.Context, *ncw.Connection) (*http.Request, error) {
	s.logins.Add(1)
	return nil, s.fail
}
func (s *static) Response(context.Context, *http.Response) error { return nil }
func (s *static) StorageUrl(bool) string                         { return s.url + "/v1/AUTH_x" }
func (s *static) Token() string                                  { return fmt.Sprint(canary, s.logins.Load()) }
func (s *static) CdnUrl() string                                 { return "" }

// scripted makes an endpoint on a server that answers as the test says. /info is
// answered with 404 unless the handler takes it.
func scripted(t *testing.T, o swift.Options, h http.HandlerFunc) (*swift.Endpoint, *static) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Trans-Id", "tx-test")
		h(w, r)
	}))
	tr := &http.Transport{DisableCompression: true}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		srv.Close()
	})
	auth := &static{url: srv.URL}
	o.Region = "scripted"
	return swift.New(&ncw.Connection{Auth: auth, Transport: tr, Retries: 3, Timeout: time.Hour, ConnectTimeout: time.Hour}, o), auth
}

func md5hex(b []byte) string {
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}

func bodyOf(b []byte) transport.Body {
	return transport.Body{Size: int64(len(b)), MD5: md5hex(b), Open: func() (io.Reader, error) { return bytes.NewReader(b), nil }}
}

// want checks class and fields of an error, and that it holds no token.
func want(t *testing.T, err error, c transport.Class, status int, text string) *transport.Error {
	t.Helper()
	var f *transport.Error
	if !errors.As(err, &f) {
		t.Fatalf("%v is no *transport.Error", err)
	}
	if f.Class != c || f.Status != status || !strings.Contains(err.Error(), text) || f.Op == "" || f.Region != "scripted" {
		t.Fatalf("%q: class %q, status %d, %#v; want %q, %d, %q", err, f.Class, f.Status, f, c, status, text)
	}
	if s := fmt.Sprintf("%v %+v %#v %s", err, f, f, transport.HintOf(err)); strings.Contains(s, canary) {
		t.Fatalf("a token in %s", s)
	}
	return f
}

func TestErrorClasses(t *testing.T) {
	var status atomic.Int32
	var count atomic.Int32
	ep, auth := scripted(t, swift.Options{}, func(w http.ResponseWriter, r *http.Request) {
		count.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/html; charset=UTF-8")
		w.Header().Set("Retry-After", "17")
		w.WriteHeader(int(status.Load()))
		_, _ = io.WriteString(w, "<html><head><title>t</title></head><h1>Some Title</h1><p>the server&#39;s\r\n own  words</p></html>")
	})
	ctx := t.Context()
	head := func() error { _, err := ep.Head(ctx, "c", "n"); return err }
	get := func() error { _, _, err := ep.Open(ctx, "c", "n", transport.OpenOptions{Length: -1}); return err }
	pinned := func() error {
		_, _, err := ep.Open(ctx, "c", "n", transport.OpenOptions{Length: 5, ETag: md5hex(nil)})
		return err
	}
	put := func() error { _, err := ep.Put(ctx, "c", "n", bodyOf([]byte("x")), transport.PutOptions{}); return err }
	absent := func() error {
		_, err := ep.Put(ctx, "c", "n", bodyOf([]byte("x")), transport.PutOptions{IfAbsent: true})
		return err
	}
	post := func() error { return ep.Post(ctx, "c", "n", transport.Header{}) }
	del := func() error { return ep.Delete(ctx, "c", "n") }
	drop := func() error { return ep.DeleteContainer(ctx, "c") }
	for _, c := range []struct {
		status int
		call   func() error
		class  transport.Class
	}{
		{300, get, transport.Permanent}, {302, put, transport.Permanent}, {304, get, transport.Permanent},
		{400, get, transport.Permanent}, {401, get, transport.Denied}, {401, put, transport.Denied}, {403, put, transport.Denied}, {404, get, transport.NotFound},
		{405, get, transport.Permanent}, {408, put, transport.Transient}, {409, put, transport.Transient}, {409, drop, transport.Permanent},
		{410, get, transport.NotFound}, {411, put, transport.Permanent}, {412, pinned, transport.Changed}, {412, absent, transport.Exists},
		{412, put, transport.Permanent}, {413, put, transport.Quota}, {416, get, transport.Changed}, {422, put, transport.Corrupt}, {429, get, transport.Throttled},
		{498, get, transport.Throttled}, {499, put, transport.Transient}, {500, get, transport.Transient}, {501, get, transport.Permanent}, {502, post, transport.Transient},
		{503, get, transport.Throttled}, {504, del, transport.Transient}, {507, put, transport.Transient}, {418, get, transport.Permanent},
		{404, head, transport.NotFound}, {503, head, transport.Throttled}, {412, head, transport.Permanent},
	} {
		status.Store(int32(c.status))
		before, logins := count.Load(), auth.logins.Load()
		err := c.call()
		f := want(t, err, c.class, c.status, fmt.Sprint(c.status))
		if f.Op != "head" && c.status != 304 && !strings.Contains(err.Error(), "the server's own words") {
			t.Errorf("%v does not say what the server said", err)
		}
		if f.TxID != "tx-test" || f.After != 17*time.Second || f.Container != "c" || strings.ContainsAny(err.Error(), "<>\n") {
			t.Errorf("%d: %#v", c.status, f)
		}
		sent, tries := count.Load()-before, int32(1)
		if c.status == 412 && c.class == transport.Changed {
			tries = 2 // once more without If-Match, which does not know collapsed objects
		}
		if f.Op == "get" && (c.status == 404 || c.status == 416) {
			tries = 2 // it may be a DLO whose segments are not there
		}
		if c.status == 401 {
			tries = 2 // a fresh token, once
			if auth.logins.Load() != logins+1 && logins != 0 {
				t.Errorf("%d logins", auth.logins.Load()-logins)
			}
		}
		if sent != tries {
			t.Errorf("%d: %d requests, want %d", c.status, sent, tries)
		}
	}
	for _, s := range []int{404, 410} {
		status.Store(int32(s))
		if err := errors.Join(del(), drop()); err != nil {
			t.Errorf("deleting what is not there: %v", err)
		}
	}
	status.Store(307)
	if err := post(); err != nil {
		t.Errorf("posting to a link: %v", err)
	}
}

func TestRetryAfterDate(t *testing.T) {
	ep, _ := scripted(t, swift.Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", "Sun, 06 Nov 1994 08:49:37 GMT")
		w.Header().Set("Retry-After", "Sun, 06 Nov 1994 08:50:07 GMT")
		w.WriteHeader(503)
	})
	_, err := ep.Head(t.Context(), "c", "n")
	if f := want(t, err, transport.Throttled, 503, "503 Service Unavailable"); f.After != 30*time.Second {
		t.Errorf("wait %v", f.After)
	}
}

// TestNoRedirects: a reply that points elsewhere must not take the token there.
func TestNoRedirects(t *testing.T) {
	var led atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { led.Add(1) }))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		ep, _ := scripted(t, swift.Options{}, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+r.URL.Path, status)
		})
		_, err := ep.Head(t.Context(), "c", "n")
		want(t, err, transport.Permanent, status, "")
		_ = ep.Post(t.Context(), "c", "n", transport.Header{})
		_ = ep.Delete(t.Context(), "c", "n")
	}
	if n := led.Load(); n != 0 {
		t.Errorf("%d requests were led astray", n)
	}
}

func TestUnreachable(t *testing.T) {
	srv := httptest.NewServer(nil)
	url := srv.URL
	srv.Close()
	ep := swift.New(&ncw.Connection{Auth: &static{url: url}, Transport: &http.Transport{}}, swift.Options{Region: "scripted"})
	_, err := ep.Head(t.Context(), "c", "n\n")
	f := want(t, err, transport.Transient, 0, "refused")
	if strings.Contains(err.Error(), "AUTH_x") || f.Name != "n\n" {
		t.Errorf("%v", err)
	}
	login := &transport.Error{Op: "log in", Region: "scripted", Class: transport.Denied, Status: 401, Err: errors.New("wrong password"), Hint: "look here"}
	ep = swift.New(&ncw.Connection{Auth: &static{url: url, fail: login}, Transport: &http.Transport{}}, swift.Options{Region: "scripted"})
	_, err = ep.Head(t.Context(), "c", "n")
	want(t, err, transport.Denied, 401, "log in (region scripted): wrong password")
	if transport.HintOf(err) != "look here" {
		t.Errorf("hint %q", transport.HintOf(err))
	}
}

// TestTokenRenewed: a token that runs out costs one renewal, whatever is under
// way, and loses nothing that can be sent again.
func TestTokenRenewed(t *testing.T) {
	var valid atomic.Value
	valid.Store(canary + "1")
	var got sync.Map
	ep, auth := scripted(t, swift.Options{}, func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		if r.Header.Get("X-Auth-Token") != valid.Load() {
			w.WriteHeader(401)
			return
		}
		if r.URL.Path == "/info" {
			_, _ = io.WriteString(w, `{"swift": {"max_file_size": 7}}`)
			return
		}
		if w.Header().Set("Content-Length", "0"); r.Method == "PUT" {
			got.Store(r.URL.Path, string(data))
			w.Header().Set("Etag", md5hex(data))
			w.WriteHeader(201)
		}
	})
	if _, err := ep.Head(t.Context(), "c", "warm"); err != nil {
		t.Fatal(err)
	}
	valid.Store(canary + "2") // the first token is void from now on
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if _, err := ep.Put(t.Context(), "c", fmt.Sprint(i), bodyOf([]byte(fmt.Sprint("body ", i))), transport.PutOptions{}); err != nil {
				t.Errorf("put %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	for i := range 20 {
		if v, _ := got.Load(fmt.Sprint("/v1/AUTH_x/c/", i)); v != fmt.Sprint("body ", i) {
			t.Errorf("put %d stored %q", i, v)
		}
	}
	if n := auth.logins.Load(); n != 2 {
		t.Errorf("%d logins, want 2", n)
	}
	// A stream cannot be sent twice: it says so, and the next attempt has the new token.
	valid.Store(canary + "3")
	stream := strings.Repeat("stream", 20_000)
	once := bodyOf([]byte(stream))
	opened := 0
	once.Once, once.Open = true, func() (io.Reader, error) { opened++; return strings.NewReader(stream), nil }
	_, err := ep.Put(t.Context(), "c", "once", once, transport.PutOptions{})
	want(t, err, transport.Transient, 401, "the token was renewed, send again")
	if _, err := ep.Put(t.Context(), "c", "once", once, transport.PutOptions{}); err != nil || opened != 2 {
		t.Errorf("%v, opened %d times", err, opened)
	}
	// One that fits into memory can.
	valid.Store(canary + "4")
	opened = 0
	small := bodyOf([]byte("small"))
	small.Once, small.Open = true, func() (io.Reader, error) { opened++; return strings.NewReader("small"), nil }
	if _, err := ep.Put(t.Context(), "c", "small", small, transport.PutOptions{}); err != nil || opened != 1 {
		t.Errorf("%v, opened %d times", err, opened)
	}
	// What is asked beside the account is asked there again.
	valid.Store(canary + "5")
	if a, err := ep.Abilities(t.Context()); err != nil || a.MaxObject != 7 {
		t.Errorf("%+v %v", a, err)
	}
	// A token that is refused again and again is a login that does not work.
	valid.Store("none")
	_, err = ep.Head(t.Context(), "c", "n")
	want(t, err, transport.Denied, 401, "401")
}
