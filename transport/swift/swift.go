// Package swift makes one account of an OpenStack Swift region an endpoint of a
// replication: transport.Source and transport.Sink over ncw/swift's Connection.
//
// Every request goes through Connection.Call (N3), because the helpers above it
// lose what a faithful copy needs: raw manifests, links, exact headers,
// microseconds. Each method makes exactly one attempt: retrying, waiting and
// resuming are the business of transport.Retry alone. The one exception is a
// token that ran out (401): the login is renewed and the request sent once more
// where its body can still be had.
//
// Every error is a *transport.Error that says operation, region, item, class and
// the server's own words, and never holds a token.
package swift

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
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

	mu        sync.Mutex
	spent     string // the last token that a 401 made us give up
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
	return &Endpoint{conn: own, o: o, answers: map[string]transport.Answer{}, versioned: map[string]struct{}{}}
}

// login hides Expires of a login that renews its tokens by itself: ncw takes a
// token with less than a minute to live for none, and every call would fail.
type login struct{ ncw.Authenticator }

// edge puts right what Connection.Call does to every request.
//
// It sends "Expect: 100-continue" with every body. That costs a round trip, and a
// refusal (401, 412, 413) that takes the server longer than the transport's
// patience meets a body which eventlet will not read after an unanswered Expect: on
// the lab 3 of 20 refusals of 8 and 64 MiB were lost to a broken pipe. Without
// Expect eventlet answers at once and discards the body: none of 40 was lost.
//
// Its http.Client follows redirects, with the token, to wherever they point (a POST
// to a symlink answers 307: S6). And it takes note of an error's text only if the
// text does not end with the first read, which it does.
type edge struct{ base http.RoundTripper }

func (t edge) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Header.Get("Expect") != "" {
		req = req.Clone(req.Context()) // a RoundTripper may not change its request
		req.Header.Del("Expect")
	}
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		return resp, err
	}
	said, ok := req.Context().Value(saidKey{}).(*said)
	if ok {
		said.body = resp.Body
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	resp.Header.Del("Location")
	if ok && resp.Body != nil {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 8<<10))
		said.words = string(text)
		drain(resp.Body)
		resp.Body = http.NoBody
	}
	return resp, nil
}

// saidKey leads to where edge puts what the server said.
type saidKey struct{}

// said is a reply past ncw/swift: the text of a failure, which ncw loses, and the
// body itself, because ncw's reader starts a goroutine and a timer for every Read.
type said struct {
	words string
	body  io.ReadCloser
}

// CloseIdleConnections lets Connection drop the pool when it logs in again.
func (t edge) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
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

// do sends a request and returns a reply of class 2xx, whose body the caller must
// close. Any other outcome is an error.
func (e *Endpoint) do(ctx context.Context, r request) (*http.Response, error) {
	if err := ctx.Err(); err != nil {
		return nil, e.fail(r, nil, err)
	}
	header := ncw.Headers{}
	for k, v := range r.header {
		header[k] = v
	}
	if err := checkHeader(header); err != nil {
		return nil, e.fail(r, nil, err)
	}
	opts := ncw.RequestOpts{
		Container: r.container, ObjectName: r.name, Operation: r.method, Parameters: r.query, Headers: header,
		Retries:  -1, // neither ncw's own retries nor its 401 loop: one attempt is one attempt
		OnReAuth: func() (string, error) { return e.conn.StorageUrl, nil },
	}
	if r.body == nil {
		if r.method != http.MethodGet && r.method != http.MethodHead {
			header["Content-Length"] = "0"
		}
	} else {
		header["Content-Length"] = strconv.FormatInt(r.body.Size, 10)
	}
	var sent *payload
	for again := false; ; again = true {
		target := r.url
		if target == "" {
			var err error
			if target, err = e.conn.GetStorageUrl(ctx); err != nil {
				return nil, e.fail(request{op: "log in"}, nil, err)
			}
		} else {
			opts.OnReAuth = nil
		}
		opts.Body = nil
		if r.body != nil && r.body.Size > 0 {
			if sent == nil {
				in, err := r.body.Open()
				if err != nil {
					return nil, e.bodyError(r, err)
				}
				sent = &payload{in: in, left: r.body.Size}
			}
			opts.Body = sent
		}
		var said said
		resp, _, err := e.conn.Call(context.WithValue(ctx, saidKey{}, &said), target, opts)
		if resp != nil && r.seen != nil {
			*r.seen = resp.Header
		}
		if err == nil {
			if said.body != nil {
				resp.Body = said.body
			}
			return resp, nil
		}
		if sent != nil {
			if broken := sent.detach(); broken != nil {
				return nil, e.bodyError(r, broken)
			}
		}
		if resp != nil {
			err = errors.New(said.words)
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
	e.mu.Lock()
	defer e.mu.Unlock()
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
	u, err := e.conn.GetStorageUrl(ctx)
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

// detach ends the reading for good (no other method is called after it) and says how the body itself broke, if it did.
func (p *payload) detach() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.detached = true
	return p.err
}
