package region

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"farshore/transport"
)

// A token is renewed in the background when less of its life is left than this, or
// than a quarter of it.
const renewAhead = 5 * time.Minute

// quiet is how long no further renewal is tried after one that failed or whose
// token was refused too: hundreds of streams would ask Keystone at once otherwise.
const quiet = 10 * time.Second

// login keeps one Keystone token alive.
type login struct {
	region   string
	clock    transport.Clock
	policy   transport.RetryPolicy
	auth     gophercloud.AuthOptions
	secrets  []string
	provider *gophercloud.ProviderClient

	relogin func(context.Context) error // gophercloud's; nil: the token cannot be renewed
	life    context.Context             // the region's: a renewal outlives the request that asked for it
	cancel  context.CancelFunc

	good atomic.Pointer[string] // the token that the object store last took

	mu         sync.Mutex
	closed     bool
	renewal    *renewal  // under way
	made, ends time.Time // of the token
	failed     time.Time // when a renewal last failed or was of no use
	lastErr    error
}

func newLogin(c Config, cl *cloud, chain http.RoundTripper) *login {
	l := &login{region: c.Name, clock: c.Clock, auth: cl.auth, secrets: cl.secrets(),
		policy: transport.RetryPolicy{Attempts: 5, Elapsed: 30 * time.Second, Max: 8 * time.Second,
			ThrottleAttempts: 8, ThrottleElapsed: time.Minute, Clock: c.Clock, Observer: c.Observer}}
	l.life, l.cancel = context.WithCancel(context.Background())
	l.provider = &gophercloud.ProviderClient{HTTPClient: http.Client{Transport: chain, CheckRedirect: sameHost}}
	l.provider.UseTokenLock()
	l.provider.UserAgent.Prepend(c.UserAgent)
	return l
}

// sameHost refuses redirections to another host: Go would send X-Auth-Token along,
// as it knows only the standard headers for secrets.
func sameHost(req *http.Request, via []*http.Request) error {
	if req.URL.Host != via[0].URL.Host || req.URL.Scheme != via[0].URL.Scheme {
		return http.ErrUseLastResponse
	}
	if len(via) >= 10 {
		return errors.New("stopped after 10 redirects")
	}
	return nil
}

// first logs in for the first time.
func (l *login) first(ctx context.Context) error {
	fresh, err := openstack.NewClient(l.auth.IdentityEndpoint)
	if err != nil {
		return l.wrap(errors.New("auth_url is not a URL"))
	}
	l.provider.IdentityBase, l.provider.IdentityEndpoint = fresh.IdentityBase, fresh.IdentityEndpoint
	asked := l.clock.Now()
	policy := l.policy
	policy.Refused = transport.RefusedPatience
	_, err = transport.Try(ctx, policy, l.attempt(), func(ctx context.Context) (struct{}, error) {
		return struct{}{}, l.wrap(openstack.Authenticate(ctx, l.provider, l.auth))
	})
	if err != nil {
		return err
	}
	if l.relogin = l.provider.ReauthFunc; l.relogin != nil {
		// A request of gophercloud's that gets a 401 comes through here too. Its own
		// context must not end a login which others wait for.
		l.provider.ReauthFunc = func(context.Context) error { return l.renew(l.life, l.token()) }
	}
	return l.note(asked)
}

func (l *login) attempt() transport.Attempt { return transport.Attempt{Op: "log in", Region: l.region} }

// note takes the times of the newest token, which was asked for at that time.
func (l *login) note(asked time.Time) error {
	ends, err := l.readEnd()
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.made, l.ends, l.lastErr = asked, ends, nil
	return nil
}

func (l *login) readEnd() (time.Time, error) {
	r, ok := l.provider.GetAuthResult().(interface {
		ExtractToken() (*tokens.Token, error)
	})
	if !ok {
		return time.Time{}, l.refused(errors.New("Keystone v3 is needed; auth_url leads to another version"))
	}
	t, err := r.ExtractToken()
	if err != nil {
		return time.Time{}, l.refused(errors.New("Keystone's reply holds no token"))
	}
	return t.ExpiresAt, nil
}

func (l *login) refused(err error) error {
	return &transport.Error{Op: "log in", Region: l.region, Class: transport.Permanent, Err: err}
}

// catalog gives the service catalog and project of the token.
func (l *login) catalog() (*tokens.ServiceCatalog, string, error) {
	r, ok := l.provider.GetAuthResult().(interface {
		ExtractServiceCatalog() (*tokens.ServiceCatalog, error)
		ExtractProject() (*tokens.Project, error)
	})
	if !ok {
		return nil, "", l.refused(errors.New("Keystone v3 is needed; auth_url leads to another version"))
	}
	c, err := r.ExtractServiceCatalog()
	if err != nil {
		return nil, "", l.refused(errors.New("Keystone's reply holds no catalog"))
	}
	p, err := r.ExtractProject()
	if err != nil || p == nil || p.ID == "" {
		e := &transport.Error{Op: "log in", Region: l.region, Class: transport.Denied,
			Err:  errors.New("the login is not scoped to a project"),
			Hint: "set project_name (and project_domain_name) or project_id in the clouds.yaml entry"}
		return nil, "", e
	}
	return c, p.ID, nil
}

func (l *login) token() string { return l.provider.Token() }

func (l *login) expires() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ends
}

// valid gives a token to use now. Near its end a new one is fetched in the
// background; past its end, first.
func (l *login) valid(ctx context.Context) (string, error) {
	tok := l.token()
	if l.relogin == nil {
		return tok, nil
	}
	now := l.clock.Now()
	l.mu.Lock()
	left, life, calm := l.ends.Sub(now), l.ends.Sub(l.made), now.Sub(l.failed) < quiet
	l.mu.Unlock()
	switch {
	case life <= 0 || left > min(renewAhead, life/4):
		return tok, nil
	case left > 0:
		if !calm {
			l.start(tok)
		}
		return tok, nil
	}
	if err := l.renew(ctx, tok); err != nil {
		return "", err
	}
	return l.token(), nil
}

// renew replaces the token previous, once for all who ask at the same time. It does
// nothing if it has been replaced already. It waits no longer than ctx, but the login
// goes on for the others.
func (l *login) renew(ctx context.Context, previous string) error {
	if l.relogin == nil {
		return &transport.Error{Op: "log in", Region: l.region, Class: transport.Denied,
			Err:  errors.New("the token has ended, and a login by token cannot make a new one"),
			Hint: "put a password or an application credential into the clouds.yaml entry"}
	}
	if l.token() != previous {
		return nil
	}
	l.mu.Lock()
	calm, last := l.clock.Now().Sub(l.failed) < quiet, l.lastErr
	l.mu.Unlock()
	if calm && last != nil {
		return last
	}
	for {
		r := l.start(previous)
		select {
		case <-r.done:
		case <-ctx.Done():
			return &transport.Error{Op: "log in", Region: l.region, Class: transport.Canceled, Err: context.Cause(ctx)}
		}
		// The renewal under way may have been the one that made previous.
		if r.err != nil || r.previous == previous || l.token() != previous {
			return r.err
		}
	}
}

// renewal is one login for all who wait for it. err may be read once done is closed.
type renewal struct {
	previous string // the token it replaces
	done     chan struct{}
	err      error
}

// start begins a renewal, or joins the one under way.
func (l *login) start(previous string) *renewal {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.renewal != nil {
		return l.renewal
	}
	r := &renewal{previous: previous, done: make(chan struct{})}
	if l.closed {
		r.err = &transport.Error{Op: "log in", Region: l.region, Class: transport.Canceled, Err: errors.New("the region is closed")}
		close(r.done)
		return r
	}
	l.renewal = r
	go func() {
		defer close(r.done)
		r.err = l.again(previous)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.renewal = nil
	}()
	return r
}

func (l *login) again(previous string) error {
	if l.token() != previous {
		return nil
	}
	asked := l.clock.Now()
	_, err := transport.Try(l.life, l.policy, l.attempt(), func(ctx context.Context) (struct{}, error) {
		return struct{}{}, l.wrap(l.relogin(ctx))
	})
	if err == nil {
		return l.note(asked)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed, l.lastErr = l.clock.Now(), err
	return err
}

// works notes that the object store took a token.
func (l *login) works(tok string) {
	if p := l.good.Load(); p == nil || *p != tok {
		l.good.Store(&tok)
	}
}

// worked reports whether the object store took a token before, or a newer one is there
// by now: if it is refused, it has ended, and the login is not to blame.
func (l *login) worked(tok string) bool {
	p := l.good.Load()
	return p != nil && *p == tok || l.token() != tok
}

// useless notes that a fresh token was refused as well.
func (l *login) useless() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = l.clock.Now()
}

// worthwhile reports whether a 401 is worth a renewal: not while renewals do not help.
func (l *login) worthwhile() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.relogin != nil && l.clock.Now().Sub(l.failed) >= quiet
}

// stop ends renewals and waits for them.
func (l *login) stop() {
	l.cancel()
	l.mu.Lock()
	l.closed = true
	r := l.renewal
	l.mu.Unlock()
	if r != nil {
		<-r.done
	}
}

// wrap classes an error of gophercloud's and leaves nothing of the login in it.
// The error itself is not kept: it holds the whole reply, and Keystone's
// complaints about a request quote it.
func (l *login) wrap(err error) error {
	if err == nil {
		return nil
	}
	var known *transport.Error
	if errors.As(err, &known) {
		return known
	}
	e := &transport.Error{Op: "log in", Region: l.region, Class: transport.ClassOf(err)}
	var (
		code gophercloud.ErrUnexpectedResponseCode
		cut  *url.Error
	)
	switch {
	case errors.As(err, &code):
		e.Status, e.Class = code.Actual, transport.ClassOfStatus(code.Actual)
		e.TxID = code.ResponseHeader.Get("X-Openstack-Request-Id")
		e.After = transport.RetryAfter(code.ResponseHeader.Get("Retry-After"), l.clock.Now())
		e.Err = fmt.Errorf("Keystone answers %d %s", code.Actual, http.StatusText(code.Actual))
		switch code.Actual {
		case 401:
			e.Hint = "the password, user or domain is wrong, or the application credential has ended; check the clouds.yaml entry of region " + l.region
		case 404:
			e.Class = transport.Permanent
			e.Hint = "auth_url does not lead to a Keystone; it usually ends in /v3"
		}
	case errors.As(err, &cut):
		// Kept for errors.Is: contexts, refused connections, certificates. It
		// holds no request and its text no password.
		e.Err = l.clean(fmt.Errorf("reach Keystone at %s: %w", hostOf(cut.URL), cut.Err))
	default:
		e.Err = l.clean(err)
	}
	return e
}

func hostOf(raw string) string {
	if u, err := url.Parse(raw); err == nil {
		return u.Host
	}
	return "auth_url"
}

// clean gives the error as it is unless its text shows a secret.
func (l *login) clean(err error) error {
	text := err.Error()
	for _, s := range append([]string{l.token()}, l.secrets...) {
		if s != "" {
			text = strings.ReplaceAll(text, s, "***")
		}
	}
	if text == err.Error() {
		return err
	}
	return errors.New(text)
}
