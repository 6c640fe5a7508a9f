// Package swift makes one account of an OpenStack Swift region an endpoint of a
// replication: transport.Source and transport.Sink over ncw/swift's Connection.
//
// Connection logs in. The requests are made here: its helpers lose what a faithful copy
// needs (raw manifests, links, exact headers, microseconds: N3), and its Call sends
// "Expect: 100-continue" with every body, follows redirects with the token, and starts
// a goroutine and a timer for each request and each read. Each method makes exactly one attempt: retrying, waiting and
// resuming are the business of transport.Retry alone. The one exception is a
// token that ran out (401): the login is renewed and the request sent once more
// where its body can still be had.
//
// Every error is a *transport.Error that says operation, region, item, class and
// the server's own words, and never holds a token.
package swift

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	ncw "github.com/ncw/swift/v2"

	"farshore/transport"
)

// Options describe an endpoint.
type Options struct {
	Region  string // the name used in errors and in Identity
	Project string // project id, for Identity
	// PageSize is the number of names asked for in one listing request; 0 means
	// as many as the server allows, at most 10,000.
	PageSize int
	// SplitOver is the number of objects from which a container is worth listing
	// in parts; 0 means 20,000.
	SplitOver int64
	// Clock dates what a server's reply does not date itself; nil means time.Now.
	Clock func() time.Time
}

// Endpoint is one account of a region. All methods may be called concurrently.
type Endpoint struct {
	conn *ncw.Connection
	o    Options

	base http.RoundTripper // of every request but the login's

	logins sync.Mutex // around conn: it does not guard what it lets be read
	spent  string     // the last token that a 401 made us give up

	asking    chan struct{} // holds one token while /info is read
	mu        sync.Mutex
	abilities *transport.Abilities
	answers   map[string]transport.Answer // what probes found out
	untilDry  bool                        // pages may be short: list until an empty one
	pageLimit int
	noMarker  bool                // the server refused our end_marker
	versioned map[string]struct{} // containers whose objects hide behind version links
}

var _ transport.Sink = (*Endpoint)(nil)

// New makes an endpoint of a connection, from which it takes the login and the
// transport; it opens nothing by itself. An Authenticator of the connection's own
// (transport/region's) must be safe for concurrent use; ncw's built-in ones are made anew.
func New(conn *ncw.Connection, o Options) *Endpoint {
	if o.SplitOver == 0 {
		o.SplitOver = 20_000
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	base := conn.Transport
	if base == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.DisableCompression = true
		base = t
	}
	own := &ncw.Connection{
		Domain: conn.Domain, DomainId: conn.DomainId, UserName: conn.UserName, UserId: conn.UserId, ApiKey: conn.ApiKey,
		ApplicationCredentialId: conn.ApplicationCredentialId, ApplicationCredentialName: conn.ApplicationCredentialName,
		ApplicationCredentialSecret: conn.ApplicationCredentialSecret, Token: conn.Token, AuthUrl: conn.AuthUrl,
		Retries: conn.Retries, UserAgent: conn.UserAgent, ConnectTimeout: conn.ConnectTimeout, Timeout: conn.Timeout,
		Region: conn.Region, AuthVersion: conn.AuthVersion, Internal: conn.Internal, Tenant: conn.Tenant,
		TenantId: conn.TenantId, EndpointType: conn.EndpointType, TenantDomain: conn.TenantDomain,
		TenantDomainId: conn.TenantDomainId, TrustId: conn.TrustId, Transport: edge{base},
	}
	if _, built := conn.Auth.(ncw.CustomEndpointAuthenticator); conn.Auth != nil && !built {
		own.Auth = login{conn.Auth}
	}
	if own.UserAgent == "" {
		own.UserAgent = ncw.DefaultUserAgent
	}
	return &Endpoint{conn: own, base: base, o: o, asking: make(chan struct{}, 1), answers: map[string]transport.Answer{}, versioned: map[string]struct{}{}}
}

// login hides Expires of a login that renews its tokens by itself: ncw takes a
// token with less than a minute to live for none, and every call would fail.
type login struct{ ncw.Authenticator }

// edge keeps the login from following redirects with what it holds.
type edge struct{ http.RoundTripper }

func (t edge) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(req)
	if err == nil && resp.StatusCode >= 300 {
		resp.Header.Del("Location")
	}
	return resp, err
}

// CloseIdleConnections lets Connection drop the pool when it logs in again.
func (t edge) CloseIdleConnections() {
	if c, ok := t.RoundTripper.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// request is one HTTP request to the account.
type request struct {
	op              string // for errors
	method          string
	container, name string
	query           url.Values
	header          map[string]string
	body            *transport.Body // nil: none
	url             string          // overrides the storage URL
	seen            *http.Header    // takes the headers of a reply of any status
}

// inMemory is the size up to which a body is read before its request is made: the
// transport then sends headers and body in one go, and can send them again.
const inMemory = 64 << 10

// do sends a request and returns a reply of class 2xx, whose body the caller must
// close. Any other outcome is an error. No redirection is followed: it would take the
// token to wherever it points (a POST to a symlink answers 307: S6).
//
// There is no "Expect: 100-continue". It costs a round trip, and a refusal (401, 412,
// 413) that takes the server longer than the transport's patience meets a body which
// eventlet will not read after an unanswered Expect: on the lab 3 of 20 refusals of 8
// and 64 MiB were lost to a broken pipe. Without Expect eventlet answers at once and
// discards the body: none of 40 was lost.
func (e *Endpoint) do(ctx context.Context, r request) (*http.Response, error) {
	if err := ctx.Err(); err != nil {
		return nil, e.fail(r, nil, err)
	}
	if err := checkHeader(r.header); err != nil {
		return nil, e.fail(r, nil, err)
	}
	var sent *payload
	var whole []byte
	for again := false; ; again = true {
		storage, token, err := e.login(ctx)
		if err != nil {
			return nil, e.fail(request{op: "log in"}, nil, err)
		}
		req, err := r.http(ctx, storage, token, e.conn.UserAgent)
		if err != nil {
			return nil, e.fail(r, nil, err)
		}
		if r.body != nil && r.body.Size > 0 {
			if sent == nil && whole == nil {
				in, err := r.body.Open()
				if err != nil {
					return nil, e.bodyError(r, err)
				}
				sent = &payload{in: in, left: r.body.Size}
			}
			if whole == nil && r.body.Size <= inMemory {
				if whole, err = sent.all(); err != nil {
					return nil, e.bodyError(r, err)
				}
				sent = nil
			}
			if whole != nil {
				req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(whole)), nil }
				req.Body, _ = req.GetBody()
			} else {
				req.Body = io.NopCloser(sent)
			}
		}
		resp, err := e.base.RoundTrip(req)
		if err != nil { // as http.Client does: net/http's own errors have no types, and are classed by this one's
			err = &url.Error{Op: r.method, URL: r.container, Err: err}
		}
		if resp != nil && r.seen != nil {
			*r.seen = resp.Header
		}
		if err == nil && resp.StatusCode < 300 {
			return resp, nil
		}
		if sent != nil {
			if broken := sent.detach(); broken != nil {
				if resp != nil {
					_ = resp.Body.Close()
				}
				return nil, e.bodyError(r, broken)
			}
		}
		if resp != nil {
			err = errors.New(words(resp))
		}
		if resp == nil || resp.StatusCode != http.StatusUnauthorized || again {
			return nil, e.fail(r, resp, err)
		}
		e.renew(resp)
		switch {
		case sent == nil:
		case !sent.touched: // the reply came before the first byte
			sent = &payload{in: sent.in, left: r.body.Size}
		case r.body.Once:
			f := e.fail(r, resp, errors.New("the token was renewed, send again"))
			f.Class, f.Hint = transport.Transient, ""
			return nil, f
		default:
			sent = nil
		}
	}
}

// http makes the request but for its body.
func (r request) http(ctx context.Context, storage, token, agent string) (*http.Request, error) {
	target := r.url
	if target == "" {
		target = storage
	}
	at, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	if r.container != "" {
		at.Path += "/" + r.container
		if r.name != "" {
			at.Path += "/" + r.name
		}
		at.RawPath = ""
	}
	if r.query != nil {
		at.RawQuery = r.query.Encode()
	}
	header := make(http.Header, len(r.header)+3)
	for k, v := range r.header {
		header.Set(k, v)
	}
	header["User-Agent"] = []string{agent}
	header["X-Auth-Token"] = []string{token}
	req := &http.Request{Method: r.method, URL: at, Host: at.Host, Header: header, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	if r.body != nil {
		req.ContentLength = r.body.Size
	}
	if req.ContentLength == 0 && r.method != http.MethodGet && r.method != http.MethodHead {
		req.Body = http.NoBody // Content-Length: 0 is said
	}
	return req.WithContext(ctx), nil
}

// words is what the server said in a reply that is a failure.
func words(resp *http.Response) string {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 8<<10))
	drain(resp.Body)
	return string(text)
}

// login gives the account's URL and the token, after logging in where there is none.
func (e *Endpoint) login(ctx context.Context) (storage, token string, err error) {
	e.logins.Lock()
	defer e.logins.Unlock()
	if !e.conn.Authenticated() {
		if err := e.conn.Authenticate(ctx); err != nil {
			return "", "", err
		}
	}
	return e.conn.StorageUrl, e.conn.AuthToken, nil
}

// simple sends a request whose reply's body does not matter.
func (e *Endpoint) simple(ctx context.Context, r request) (*http.Response, error) {
	resp, err := e.do(ctx, r)
	if err != nil {
		return nil, err
	}
	drain(resp.Body)
	return resp, nil
}

// renew gives up the token that a reply refused, unless another caller already has.
func (e *Endpoint) renew(resp *http.Response) {
	e.logins.Lock()
	defer e.logins.Unlock()
	token := resp.Request.Header.Get("X-Auth-Token")
	if token != e.spent {
		e.spent = token
		e.conn.UnAuthenticate()
	}
}

// drain reads what little a reply still holds, so that its connection is used again.
func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 256<<10)
	_ = body.Close()
}

// Identity names the account.
func (e *Endpoint) Identity(ctx context.Context) (transport.Identity, error) {
	u, _, err := e.login(ctx)
	if err != nil {
		return transport.Identity{}, e.fail(request{op: "log in"}, nil, err)
	}
	return transport.Identity{Region: e.o.Region, Project: e.o.Project, URL: strings.TrimRight(u, "/")}, nil
}

var errTooLong = errors.New("the body is longer than its announced size")

// payload hands a body to one request, counts it, remembers how it broke, and
// can be taken away: net/http may go on reading a body after the reply is there.
type payload struct {
	mu       sync.Mutex
	in       io.Reader
	left     int64
	touched  bool
	detached bool
	err      error
}

func (p *payload) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.detached:
		return 0, errors.New("the request is over")
	case p.err != nil:
		return 0, p.err
	case p.left == 0: // net/http looks once past the end
		var one [1]byte
		if n, _ := p.in.Read(one[:]); n > 0 {
			p.err = errTooLong
			return 0, p.err
		}
		return 0, io.EOF
	}
	p.touched = true
	n, err := p.in.Read(b[:min(int64(len(b)), p.left)])
	p.left -= int64(n)
	switch {
	case err == io.EOF && p.left > 0:
		p.err = fmt.Errorf("the body ended %d bytes early: %w", p.left, io.ErrUnexpectedEOF)
		return n, p.err
	case err != nil && err != io.EOF:
		p.err = err
		return n, err
	}
	return n, nil
}

// all reads the body to its end, which must be where it was announced.
func (p *payload) all() ([]byte, error) {
	buf := make([]byte, p.left)
	_, err := io.ReadFull(p, buf)
	if err == nil {
		var past [1]byte
		_, err = p.Read(past[:])
	}
	if err == io.EOF { //nolint:errorlint // payload's own, bare: it ended where it should
		return buf, nil
	}
	return nil, p.err
}

// detach ends the reading for good (no other method is called after it) and says how the body itself broke, if it did.
func (p *payload) detach() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.detached = true
	return p.err
}
