package region_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"farshore/integration/fakecloud"
	"farshore/transport"
	"farshore/transport/region"
	"farshore/transport/transporttest"
)

func TestOpen(t *testing.T) {
	c, file := cloud(t, fakecloud.Options{})
	two := c.Region("RegionTwo")
	two.Put("photos", "a b%41?#.jpg", []byte("hello"), nil)
	r := open(t, region.Config{Name: "lyon", Cloud: "RegionTwo", CloudsFile: file})
	id := r.Identity()
	if id.Region != "lyon" || id.URL != two.StorageURL() || id.Project == "" || !strings.HasSuffix(id.URL, id.Project) {
		t.Errorf("%+v", id)
	}
	names, err := r.SwiftConnection().ContainerNames(t.Context(), nil)
	if err != nil || len(names) != 1 || names[0] != "photos" {
		t.Errorf("%v %v", names, err)
	}
	if got, err := call(t.Context(), r, "GET", "photos", "a b%41?#.jpg", nil, 0); err != nil || got != "hello" {
		t.Errorf("%q %v", got, err)
	}
	s := r.Counters()
	if s.Requests["POST auth"] != 1 || s.Requests["GET account"] != 1 || s.Requests["GET object"] != 1 || s.Total() != 3 {
		t.Errorf("%+v", s)
	}
	if skew, within, ok := r.ClockSkew(); !ok || skew.Abs() > within {
		t.Errorf("skew %v ± %v %v", skew, within, ok)
	}
	if e := r.Expires(); time.Until(e) < 50*time.Minute {
		t.Errorf("the token ends %v", e)
	}
}

func TestApplicationCredential(t *testing.T) {
	_, file := cloud(t, fakecloud.Options{})
	r := open(t, region.Config{Cloud: "RegionOne-appcred", CloudsFile: file})
	if _, err := r.SwiftConnection().ContainerNames(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if err := r.Renew(t.Context()); err != nil {
		t.Error(err)
	}
}

// All tokens end in the middle of the work of many streams: nothing fails, and
// there is one login for all of them.
func TestTokensEndUnderManyStreams(t *testing.T) {
	c, file := cloud(t, fakecloud.Options{})
	one := c.Region("RegionOne")
	one.Put("c", "o", []byte("hello"), nil)
	r := open(t, region.Config{Cloud: "RegionOne", CloudsFile: file})
	for round := range 3 {
		one.ExpireTokens()
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if got, err := call(t.Context(), r, "GET", "c", "o", nil, 0); err != nil || got != "hello" {
					t.Errorf("%q %v", got, err)
				}
			})
		}
		wg.Wait()
		if issued, _ := one.TokensIssued(); issued != int64(round+2) {
			t.Errorf("%d tokens after round %d", issued, round)
		}
	}
}

// A transfer that has begun goes on when its token ends.
func TestTokenEndsWithinATransfer(t *testing.T) {
	c, file := cloud(t, fakecloud.Options{})
	one := c.Region("RegionOne")
	data := make([]byte, 4<<20)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	one.Put("c", "big", data, nil)
	r := open(t, region.Config{Cloud: "RegionOne", CloudsFile: file})

	pr, pw := io.Pipe()
	go func() {
		_, _ = pw.Write(data[:1<<20])
		one.ExpireTokens()
		_, _ = pw.Write(data[1<<20:])
		_ = pw.Close()
	}()
	if _, err := call(t.Context(), r, "PUT", "c", "copy", pr, int64(len(data))); err != nil {
		t.Fatal(err)
	}
	if o, ok := one.Get("c", "copy"); !ok || !bytes.Equal(o.Bytes(), data) {
		t.Error("the copy differs")
	}
}

// A PUT whose token has ended is sent with the next one as long as its body, waiting
// for "100 Continue", was not begun; else it is a Transient error, and the next
// attempt succeeds.
func TestTokenHasEndedBeforeAPut(t *testing.T) {
	c, file := cloud(t, fakecloud.Options{})
	one := c.Region("RegionOne")
	one.CreateContainer("c")
	r := open(t, region.Config{Cloud: "RegionOne", CloudsFile: file})
	for _, size := range []int{0, 5, 1 << 20, 3 << 20} {
		one.ExpireTokens()
		data := bytes.Repeat([]byte("x"), size)
		// Once, as a stream: nothing below may need to rewind it.
		_, err := call(t.Context(), r, "PUT", "c", "o", io.MultiReader(bytes.NewReader(data)), int64(size))
		switch {
		case err != nil && !transport.Is(err, transport.Transient):
			t.Errorf("%d bytes: %v is %v", size, err, transport.ClassOf(err))
		case err != nil:
			if _, err = call(t.Context(), r, "PUT", "c", "o", bytes.NewReader(data), int64(size)); err != nil {
				t.Errorf("%d bytes, again: %v", size, err)
			}
		}
		if o, ok := one.Get("c", "o"); !ok || !bytes.Equal(o.Bytes(), data) {
			t.Errorf("%d bytes: something else was stored", size)
		}
	}
	if issued, _ := one.TokensIssued(); issued != 5 {
		t.Errorf("%d tokens", issued)
	}
}

// The caller who happens to start a login gives up; the others must not.
func TestCanceledCallerDoesNotEndTheLogin(t *testing.T) {
	c, file := cloud(t, fakecloud.Options{})
	one := c.Region("RegionOne")
	one.Put("c", "o", []byte("hello"), nil)
	g := newGate(t)
	r := open(t, region.Config{Cloud: "RegionOne", CloudsFile: file, Base: g})
	one.ExpireTokens()
	asked, leave := make(chan struct{}), make(chan struct{})
	g.set(func(q *http.Request) (*http.Response, error) {
		if isLogin(q) {
			close(asked)
			<-leave
		}
		return nil, nil
	})
	first, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error)
	go func() {
		_, err := call(first, r, "GET", "c", "o", nil, 0)
		gaveUp <- err
	}()
	<-asked
	done := make(chan error)
	for range 5 {
		go func() {
			got, err := call(t.Context(), r, "GET", "c", "o", nil, 0)
			if err == nil && got != "hello" {
				err = fmt.Errorf("got %q", got)
			}
			done <- err
		}()
	}
	cancel()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) || !transport.Is(err, transport.Canceled) {
		t.Errorf("%v", err)
	}
	close(leave)
	for range 5 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := g.logins(); n != 2 {
		t.Errorf("%d logins", n)
	}
}

// Before its end a token is renewed in the background; past it, before the request.
func TestTokensAreRenewedAhead(t *testing.T) {
	clock := new(transporttest.Quick)
	c, file := cloud(t, fakecloud.Options{Clock: clock.Now})
	one := c.Region("RegionOne")
	one.Put("c", "o", []byte("hello"), nil)
	g := newGate(t)
	r := open(t, region.Config{Cloud: "RegionOne", CloudsFile: file, Base: g, Clock: clock})
	renewed := make(chan struct{}, 10)
	g.set(func(q *http.Request) (*http.Response, error) {
		if isLogin(q) {
			renewed <- struct{}{}
		}
		return nil, nil
	})
	get := func() {
		t.Helper()
		if got, err := call(t.Context(), r, "GET", "c", "o", nil, 0); err != nil || got != "hello" {
			t.Errorf("%q %v", got, err)
		}
	}
	first := r.Expires()
	clock.Advance(54 * time.Minute)
	get()
	if n := g.logins(); n != 1 {
		t.Errorf("%d logins with 6 minutes left", n)
	}
	clock.Advance(2 * time.Minute)
	get()
	<-renewed
	for r.Expires().Equal(first) { // the request did not wait for it
		get()
	}
	second := r.Token()
	clock.Advance(2 * time.Hour)
	get()
	<-renewed
	if r.Token() == second || g.logins() != 3 {
		t.Errorf("%d logins", g.logins())
	}
	if s := r.Counters(); s.Status["4xx"] != 0 {
		t.Errorf("a token was used past its end: %+v", s)
	}
}

// When a fresh token is refused as well, Keystone is not asked again and again.
func TestRefusedForGood(t *testing.T) {
	c, file := cloud(t, fakecloud.Options{})
	one := c.Region("RegionOne")
	one.CreateContainer("c")
	clock := new(transporttest.Quick)
	r := open(t, region.Config{Cloud: "RegionOne", CloudsFile: file, Clock: clock})
	one.AddFault(fakecloud.Fault{Name: "refuse", Do: fakecloud.Status(401, nil)})
	for range 20 {
		if _, err := call(t.Context(), r, "GET", "c", "o", nil, 0); err == nil || !strings.Contains(err.Error(), "401") {
			t.Errorf("%v", err)
		}
	}
	if issued, _ := one.TokensIssued(); issued != 5 { // the first, and four that helped no more
		t.Errorf("%d tokens", issued)
	}
	one.ClearFaults()
	one.ExpireTokens()
	clock.Advance(time.Minute)
	if _, err := r.SwiftConnection().ContainerNames(t.Context(), nil); err != nil {
		t.Errorf("later: %v", err)
	}
}

func TestKeystoneIsTriedAgain(t *testing.T) {
	_, file := cloud(t, fakecloud.Options{})
	g := newGate(t)
	var told []transport.Attempt
	tries := 0
	g.set(func(q *http.Request) (*http.Response, error) {
		if !isLogin(q) {
			return nil, nil
		}
		switch tries++; tries {
		case 1:
			return answer(q, 503, "busy", "Retry-After", "9"), nil
		case 2:
			return nil, io.ErrUnexpectedEOF
		case 3:
			return answer(q, 500, "oops"), nil
		}
		return nil, nil
	})
	r := open(t, region.Config{Name: "lyon", Cloud: "RegionOne", CloudsFile: file, Base: g, Clock: new(transporttest.Quick),
		Observer: func(a transport.Attempt) { told = append(told, a) }})
	if len(told) != 3 || told[0].Op != "log in" || told[0].Region != "lyon" || told[0].Wait < 9*time.Second || !transport.Is(told[1].Err, transport.Transient) {
		t.Errorf("%+v", told)
	}
	// And in the middle of the work.
	tries = 0
	if err := r.Renew(t.Context()); err != nil || tries != 4 {
		t.Errorf("%v after %d tries", err, tries)
	}
	g.set(func(q *http.Request) (*http.Response, error) { return answer(q, 500, "oops"), nil })
	err := r.Renew(t.Context())
	wantClass(t, err, transport.Transient, "lyon", "Keystone answers 500", "(5 tries)")
}

func TestWrongLogins(t *testing.T) {
	c, file := cloud(t, fakecloud.Options{})
	auth := c.Region("RegionOne").AuthURL()
	_ = file
	dir := t.TempDir()
	entry := func(extra string) string {
		return write(t, dir, "clouds.yaml", "clouds:\n  x:\n    region_name: RegionOne\n"+extra)
	}
	for _, k := range []struct {
		name, extra string
		class       transport.Class
		texts       []string
	}{
		{"password", "    auth: {auth_url: '" + auth + "', username: demo, password: canary-7f, project_name: demo}\n", transport.Denied, []string{"lyon", "401"}},
		{"nothing listens", "    auth: {auth_url: 'http://127.0.0.1:1/v3', username: demo, password: canary-7f, project_name: demo}\n", transport.Transient, []string{"127.0.0.1:1", "refused", " tries)"}},
		{"not a Keystone", "    auth: {auth_url: '" + c.Region("RegionOne").URL() + "/nothing/v3', username: demo, password: canary-7f, project_name: demo}\n", transport.Permanent, []string{"Keystone answers 40"}},
		{"token", "    auth_type: v3token\n    auth: {auth_url: '" + auth + "', token: canary-7f, project_name: demo}\n", transport.Denied, []string{"401"}},
		{"credential", "    auth_type: v3applicationcredential\n    auth: {auth_url: '" + auth + "', application_credential_id: abc, application_credential_secret: canary-7f}\n", transport.Denied, []string{"401"}},
	} {
		t.Run(k.name, func(t *testing.T) {
			clock := new(transporttest.Quick)
			start := clock.Now()
			_, err := region.Open(t.Context(), region.Config{Name: "lyon", Cloud: "x", CloudsFile: entry(k.extra), Clock: clock})
			if took := clock.Now().Sub(start); took > 9*time.Second { // a person waits for it
				t.Errorf("it took %s to say no", took)
			}
			if k.name == "not a Keystone" && transport.ClassOf(err) == transport.Denied {
				k.class = transport.Denied // a Swift behind auth_url answers 401
			}
			wantClass(t, err, k.class, k.texts...)
			noCanary(t, err)
		})
	}
}

func noCanary(t *testing.T, v any) {
	t.Helper()
	for _, f := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(f, v); strings.Contains(s, "canary-7f") {
			t.Errorf("%s shows the secret: %s", f, s)
		}
	}
	for err, _ := v.(error); err != nil; err = errors.Unwrap(err) {
		if s := fmt.Sprintf("%+v %#v", err, err); strings.Contains(s, "canary-7f") {
			t.Errorf("%T shows the secret: %s", err, s)
		}
	}
}

// A Keystone that quotes the request in its complaint must not have us print it.
func TestSecretsAreNotEchoed(t *testing.T) {
	_, file := cloud(t, fakecloud.Options{})
	g := newGate(t)
	for _, status := range []int{400, 401, 403, 404, 409, 500, 503, 201} {
		g.set(func(q *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(q.Body)
			if err != nil {
				return nil, err
			}
			return answer(q, status, `{"error": {"message": "bad request: `+strings.ReplaceAll(string(body), `"`, `'`)+`"}}`), nil
		})
		_, err := region.Open(t.Context(), region.Config{Name: "lyon", Cloud: "RegionOne", CloudsFile: file, Base: g, Clock: new(transporttest.Quick)})
		if err == nil {
			t.Fatalf("%d: opened", status)
		}
		for e := err; e != nil; e = errors.Unwrap(e) {
			if s := fmt.Sprintf("%v %+v %#v", e, e, e); strings.Contains(s, fakecloud.Password) {
				t.Errorf("%d: %T shows the secret: %s", status, e, s)
			}
		}
	}
	g.set(nil)
	r := open(t, region.Config{Name: "lyon", Cloud: "RegionOne", CloudsFile: file, Base: g})
	for _, f := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, v := range []any{r, *r, []any{r}, struct{ R *region.Region }{r}} {
			if s := fmt.Sprintf(f, v); strings.Contains(s, fakecloud.Password) || strings.Contains(s, r.Token()) {
				t.Errorf("%s shows the login: %s", f, s)
			}
		}
	}
	if s := r.LogValue().String(); s != "lyon" {
		t.Errorf("logs %q", s)
	}
}

// A redirection to another host is not followed with the token.
func TestTokenStaysWithItsHost(t *testing.T) {
	_, file := cloud(t, fakecloud.Options{})
	g := newGate(t)
	r := open(t, region.Config{Cloud: "RegionOne", CloudsFile: file, Base: g})
	var elsewhere http.Header
	g.set(func(q *http.Request) (*http.Response, error) {
		if q.URL.Host == "evil.example" {
			elsewhere = q.Header.Clone()
			return answer(q, 200, "mine"), nil
		}
		return answer(q, 302, "", "Location", "http://evil.example/v1/x"), nil
	})
	_, _ = call(t.Context(), r, "GET", "c", "o", nil, 0)
	if elsewhere == nil || elsewhere.Get("X-Auth-Token") != "" {
		t.Errorf("sent elsewhere: %v", elsewhere)
	}
}

func TestCloseEndsARenewal(t *testing.T) {
	c, file := cloud(t, fakecloud.Options{})
	one := c.Region("RegionOne")
	g := newGate(t)
	r := open(t, region.Config{Cloud: "RegionOne", CloudsFile: file, Base: g})
	asked := make(chan struct{})
	g.set(func(q *http.Request) (*http.Response, error) {
		if isLogin(q) {
			close(asked)
			<-q.Context().Done()
			return nil, q.Context().Err()
		}
		return nil, nil
	})
	one.ExpireTokens()
	done := make(chan error)
	go func() { done <- r.Renew(t.Context()) }()
	<-asked
	r.Close()
	if err := <-done; !transport.Is(err, transport.Canceled) {
		t.Errorf("%v", err)
	}
	if err := r.Renew(t.Context()); !transport.Is(err, transport.Canceled) {
		t.Errorf("after Close: %v", err)
	}
}
