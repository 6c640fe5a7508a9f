// Package region is one Keystone login a region. It reads clouds.yaml, logs in by
// gophercloud, finds the region's endpoints in the catalog, keeps the token fresh, and
// hands out clients that share the login and one chain of transport/wire: a connection of
// ncw/swift for objects, a provider client of gophercloud for everything else.
//
// No other package but transport/swift names these clients. Nothing here prints a
// password or a token.
package region

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/ncw/swift/v2"

	"farshore/transport"
	"farshore/transport/wire"
)

// Config says which login and which region.
type Config struct {
	Name string // what the region is called in policies and messages
	// Cloud is the entry of clouds.yaml; empty: OS_CLOUD, or else "envvars". An
	// entry that is called "env" or "envvars" and is not in the file is read from OS_*.
	Cloud      string
	RegionName string // overrides the entry's region_name
	Interface  string // public, internal or admin; overrides the entry's
	// EndpointOverride replaces the catalog's URL of the object store. A URL without a
	// path keeps the catalog's path; %(project_id)s is replaced.
	EndpointOverride string
	CloudsFile       string        // empty: OS_CLIENT_CONFIG_FILE, ./, ~/.config/openstack, /etc/openstack
	Idle             time.Duration // the peer's longest silence; 0: wire.DefaultIdle
	UserAgent        string        // empty: "farshore"
	Clock            transport.Clock
	Observer         transport.Observer // told of every repeated login; may be nil
	// Base replaces the HTTP transport, and with it the TLS options of the entry.
	Base http.RoundTripper
}

// Region is an open login. All methods may be called concurrently.
type Region struct {
	name     string
	login    *login
	project  string
	storage  *url.URL
	endpoint gophercloud.EndpointOpts
	override map[string]string // service type to URL
	conn     *swift.Connection
	chain    http.RoundTripper
	counters *wire.Counters
	skew     *wire.Skew
	idle     func() // closes idle connections
}

// Open reads the cloud's entry, logs in and finds the object store. Transient
// failures of Keystone are tried again for about half a minute. Errors are
// *transport.Error; a wrong password is of class Denied.
func Open(ctx context.Context, c Config) (*Region, error) {
	if c.Name == "" {
		c.Name = c.Cloud
	}
	if c.Clock == nil {
		c.Clock = transport.SystemClock{}
	}
	if c.UserAgent == "" {
		c.UserAgent = "farshore"
	}
	cloud, err := loadCloud(c)
	if err != nil {
		return nil, &transport.Error{Op: "read clouds.yaml", Region: c.Name, Class: transport.Permanent, Err: err,
			Hint: "correct the entry, or name another file with OS_CLIENT_CONFIG_FILE"}
	}
	r := &Region{name: c.Name, endpoint: cloud.endpoint, override: cloud.override,
		counters: new(wire.Counters), skew: new(wire.Skew), idle: func() {}}
	base := c.Base
	if base == nil {
		t := wire.NewTransport(cloud.tls)
		base, r.idle = t, t.CloseIdleConnections
	}
	storagePath := new(atomicString)
	chain := wire.Chain(base, wire.Options{Idle: c.Idle, Counters: r.counters, Skew: r.skew,
		Kind: func(q *http.Request) wire.Kind { return wire.KindOf(q.URL.Path, storagePath.load()) }})
	r.chain, r.login = chain, newLogin(c, cloud, chain)
	if err := r.login.first(ctx); err != nil {
		r.idle()
		return nil, err
	}
	if err := r.locate(c); err != nil {
		r.idle()
		return nil, err
	}
	storagePath.store(r.storage.Path)
	r.conn = &swift.Connection{
		Auth:      r,
		Transport: &authorized{next: chain, login: r.login, storage: r.storage},
		UserAgent: c.UserAgent,
		// -1 and not 0, which would mean 3: one call is one attempt (N2). Tokens are
		// renewed below, in the transport, and everything else is tried again above.
		Retries: -1,
		// The client's own watchdogs are turned off: its reader goes on writing into
		// the caller's buffer after a timeout (timeout_reader.go), and its connect
		// timeout would cut off a COPY that works in silence. wire watches instead.
		ConnectTimeout: ncwNever,
		Timeout:        ncwNever,
	}
	if err := r.conn.Authenticate(ctx); err != nil {
		r.idle()
		return nil, r.login.wrap(err)
	}
	return r, nil
}

const ncwNever = 24 * time.Hour

// SwiftConnection gives the connection of ncw/swift over this login. It makes one
// attempt a call. Its token is put in and renewed by the transport, so a 401 reaches
// the caller only when a fresh token is refused too; a request whose body was already
// partly sent when its token was refused fails with a Transient error, and the next
// attempt carries the new one. There is one connection a region; it may be used
// concurrently. Pass its calls Identity's URL.
func (r *Region) SwiftConnection() *swift.Connection { return r.conn }

// Provider gives the gophercloud client over this login, for the other services;
// EndpointOpts says where they are.
func (r *Region) Provider() *gophercloud.ProviderClient { return r.login.provider }

// EndpointOpts selects this region's endpoints in the catalog.
func (r *Region) EndpointOpts() gophercloud.EndpointOpts { return r.endpoint }

// Override gives the URL which clouds.yaml sets for a service type; empty: the catalog's.
func (r *Region) Override(serviceType string) string { return r.override[normalType(serviceType)] }

// Identity says where the account really is (R16).
func (r *Region) Identity() transport.Identity {
	return transport.Identity{Region: r.name, Project: r.project, URL: r.storage.String()}
}

// Name is what the region is called in policies.
func (r *Region) Name() string { return r.name }

// Counters gives what was sent and received since Open, Keystone's requests included.
func (r *Region) Counters() wire.Snapshot { return r.counters.Snapshot() }

// Silent is since when the region has answered no request, Keystone's included; zero: it
// answered the last one.
func (r *Region) Silent() time.Time { return r.counters.Silent() }

// ClockSkew is the object store's clock minus this machine's and how far off the
// figure may be; ok is false before the first reply (R18).
func (r *Region) ClockSkew() (skew, uncertainty time.Duration, ok bool) { return r.skew.Estimate() }

// Renew makes a new token now; a login by a fixed token cannot (class Denied). Operations
// that live only as long as the token they were started with begin with it (R19).
func (r *Region) Renew(ctx context.Context) error { return r.login.renew(ctx, r.login.token()) }

// Renewable reports whether Renew can make new tokens: not for a login by token.
func (r *Region) Renewable() bool { return r.login.relogin != nil }

// Close ends the idle connections and waits for a renewal of the token in flight. The
// region must not be used afterwards.
func (r *Region) Close() {
	r.login.stop()
	r.idle()
}

// String names the region; the login stays out of %v, %+v, %#v and of logs, of a
// copied Region's, too.
func (r Region) String() string { return "region " + r.name }

// GoString is String, so that %#v shows no login.
func (r Region) GoString() string { return r.String() }

// LogValue shows only the name in logs.
func (r Region) LogValue() slog.Value { return slog.StringValue(r.name) }

// Request implements swift.Authenticator: it sees that there is a valid token and
// never needs the client to log in by itself.
func (r *Region) Request(ctx context.Context, _ *swift.Connection) (*http.Request, error) {
	_, err := r.login.valid(ctx)
	return nil, err
}

// Response implements swift.Authenticator; it is never called, as Request asks for nothing.
func (r *Region) Response(context.Context, *http.Response) error { return nil }

// StorageUrl implements swift.Authenticator.
func (r *Region) StorageUrl(bool) string { return r.storage.String() }

// Token implements swift.Authenticator.
func (r *Region) Token() string { return r.login.token() }

// CdnUrl implements swift.Authenticator; there is none.
func (r *Region) CdnUrl() string { return "" }

// Expires implements swift.Expireser: when the token ends by Keystone's clock.
func (r *Region) Expires() time.Time { return r.login.expires() }

var (
	_ swift.Authenticator = (*Region)(nil)
	_ swift.Expireser     = (*Region)(nil)
)

// locate finds the object store's URL.
func (r *Region) locate(c Config) error {
	catalog, project, err := r.login.catalog()
	if err != nil {
		return err
	}
	r.project = project
	override := c.EndpointOverride
	if override == "" {
		override = r.override["object-store"]
	}
	found, ferr := findService(catalog, r.endpoint, "object-store")
	raw := found
	if override != "" {
		if raw, err = applyOverride(override, found, "/v1/AUTH_"+project, project); err != nil {
			return r.wrong(err)
		}
	} else if ferr != nil {
		return r.wrong(ferr)
	}
	u, err := url.Parse(strings.TrimSuffix(raw, "/"))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return r.wrong(fmt.Errorf("the object store's URL %q is not an http or https URL", raw))
	}
	r.storage = u
	return nil
}

func (r *Region) wrong(err error) error {
	return &transport.Error{Op: "find the object store", Region: r.name, Class: transport.Permanent, Err: err,
		Hint: "set region_name (and interface) of the clouds.yaml entry to one of the catalog's"}
}
