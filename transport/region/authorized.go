package region

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"farshore/transport"
)

// authorized puts the token into requests to the object store. A request that is
// refused with 401 is sent once more with a new one, if its body can be had again or
// nothing of it has been read.
type authorized struct {
	next    http.RoundTripper
	login   *login
	storage *url.URL
}

// RoundTrip implements http.RoundTripper.
func (a *authorized) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host != a.storage.Host || req.URL.Scheme != a.storage.Scheme {
		// A redirection elsewhere: the token is not for that host.
		out := req.Clone(req.Context())
		out.Header.Del("X-Auth-Token")
		return a.next.RoundTrip(out)
	}
	tok, err := a.login.valid(req.Context())
	if err != nil {
		closeBody(req)
		return nil, err
	}
	first := req
	if req.Header.Get("X-Auth-Token") != tok {
		first = req.Clone(req.Context())
		first.Header.Set("X-Auth-Token", tok)
	}
	held := &heldBody{}
	if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		first = first.WithContext(req.Context()) // a RoundTripper may not change its request
		held.body = req.Body
		first.Body = held
	}
	resp, err := a.next.RoundTrip(first)
	if err == nil && resp.StatusCode != http.StatusUnauthorized {
		a.login.works(tok)
	}
	if err != nil || resp.StatusCode != http.StatusUnauthorized || !a.login.worthwhile() {
		held.release()
		return resp, err
	}
	drain(resp)
	if held.seal() {
		err := a.login.renew(req.Context(), tok)
		closeBody(req)
		if err != nil {
			return nil, err
		}
		return nil, a.ended(req)
	}
	return a.again(req, first, tok)
}

// ended is the error of a request that the layer above has to make again.
func (a *authorized) ended(req *http.Request) error {
	return &transport.Error{Op: strings.ToLower(req.Method), Region: a.login.region, Class: transport.Transient, Status: 401,
		Err: errors.New("the token had ended and was renewed; the request has to be made again")}
}

// renewals is how often a request is sent again with a new token: tokens may end as
// fast as they are made, when somebody revokes them. If none of them was ever taken,
// renewing is of no use.
const renewals = 4

// again renews the token and sends the request again, of whose body nothing was read.
func (a *authorized) again(req, first *http.Request, tok string) (*http.Response, error) {
	worked := false // one of the new tokens did
	for n := 1; ; n++ {
		if err := a.login.renew(req.Context(), tok); err != nil {
			closeBody(req)
			return nil, err
		}
		tok = a.login.token()
		again := first.Clone(req.Context())
		again.Header.Set("X-Auth-Token", tok)
		again.Body = req.Body
		if req.GetBody != nil {
			var err error
			if again.Body, err = req.GetBody(); err != nil {
				return nil, err
			}
		}
		resp, err := a.next.RoundTrip(again)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode != http.StatusUnauthorized {
			a.login.works(tok)
			return resp, nil
		}
		if worked = worked || a.login.worked(tok); n == renewals && !worked {
			a.login.useless()
			return resp, nil
		}
		drain(resp)
		// a body that cannot be had again may have been read by now
		if n == renewals || req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
			return nil, a.ended(req)
		}
	}
}

func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
	_ = resp.Body.Close()
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// heldBody keeps a request's body open over a first try, and knows whether
// anything was read of it. A transport may go on reading after it has returned a
// reply; seal keeps it from taking bytes that the second try needs.
type heldBody struct {
	body io.ReadCloser

	mu            sync.Mutex
	begun, sealed bool
	free, closed  bool
}

var errSealed = errors.New("the request was answered before its body was read")

func (b *heldBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.sealed {
		b.mu.Unlock()
		return 0, errSealed
	}
	b.begun = true
	b.mu.Unlock()
	return b.body.Read(p)
}

// Close closes the body once it is released; a sealed one is closed by its owner.
func (b *heldBody) Close() error {
	b.mu.Lock()
	b.closed = true
	now := b.free
	b.mu.Unlock()
	if now {
		return b.body.Close()
	}
	return nil
}

// release leaves the body to the transport.
func (b *heldBody) release() {
	b.mu.Lock()
	b.free = true
	now := b.closed && b.body != nil
	b.mu.Unlock()
	if now {
		_ = b.body.Close()
	}
}

// seal takes the body back, and reports whether it was begun.
func (b *heldBody) seal() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sealed = true
	return b.begun
}
