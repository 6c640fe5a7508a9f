package fakecloud

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Region is one emulated region: a Swift with its accounts. All methods are
// safe for concurrent use. Methods that take a container name mean the account
// of Project.
type Region struct {
	cloud    *Cloud
	opts     RegionOptions
	ks       *keystone
	srv      *service
	link     link
	tick     ticker
	requests atomic.Uint64 // numbers X-Trans-Id

	block *cinder // nil: the region has no Cinder

	mu       sync.RWMutex
	accounts map[string]*account

	lagMu sync.Mutex
	lag   time.Duration // for containers made from now on

	faults   faultBox
	anyFault atomic.Bool
	counters counterBox
	log      logBox
	observer atomic.Pointer[func(*http.Request)]
}

func newRegion(c *Cloud, ro RegionOptions, ks *keystone) *Region {
	r := &Region{cloud: c, opts: ro, ks: ks, accounts: map[string]*account{}, tick: ticker{clock: c.opts.Clock}}
	addr := ro.Listen
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	r.requests.Store(rand.Uint64())
	r.link.latency.Store(int64(ro.Latency))
	r.link.rate.Store(ro.Bandwidth)
	r.srv = &service{handler: r, addr: addr, small: func() bool { return r.link.rate.Load() > 0 }}
	return r
}

// Start brings the region's Swift and Cinder up again on the port they had, with their data.
func (r *Region) Start() error { return r.srv.start() }

// Stop cuts all connections and refuses new ones until Start. Data stays.
func (r *Region) Stop() error { return r.srv.stop() }

// StopKeystone cuts the region's Keystone off (everyone's when it is shared).
func (r *Region) StopKeystone() error { return r.ks.srv.stop() }

// StartKeystone ends StopKeystone; tokens issued before are still good.
func (r *Region) StartKeystone() error { return r.ks.srv.start() }

// Name is the region's name in the catalog.
func (r *Region) Name() string { return r.opts.Name }

// URL is the root of the region's Swift.
func (r *Region) URL() string { return "http://" + r.srv.address() }

// StorageURL is the object-store endpoint of Project.
func (r *Region) StorageURL() string { return r.URL() + "/v1/" + r.accountName() }

// AuthURL is the identity endpoint, ending in /v3.
func (r *Region) AuthURL() string { return r.ks.url() + "/v3" }

// Token issues a token for one of the users in one of the projects without
// HTTP; "" when there is no such user or it has no role there.
func (r *Region) Token(userName, projectName string) string {
	p := r.ks.project(projectName)
	for _, u := range r.ks.users {
		if p != nil && u.Name == userName && len(u.roles[p.ID]) > 0 {
			return r.ks.issue(u, p, []string{"password"}, time.Time{}).id
		}
	}
	return ""
}

// ExpireTokens makes every token issued so far invalid (401).
func (r *Region) ExpireTokens() { r.ks.expireAll() }

// TokensIssued counts tokens of the region's Keystone, and Keystone's 401s.
func (r *Region) TokensIssued() (issued, denied int64) {
	r.ks.mu.RLock()
	defer r.ks.mu.RUnlock()
	return r.ks.issued, r.ks.denied
}

// SetLatency and SetBandwidth change the link for requests from now on.
func (r *Region) SetLatency(d time.Duration) { r.link.latency.Store(int64(d)) }

// SetBandwidth takes bytes per second; 0 lifts the limit.
func (r *Region) SetBandwidth(bytesPerSecond int64) { r.link.rate.Store(bytesPerSecond) }

// OnRequest calls f for each request before it is handled; nil ends that.
func (r *Region) OnRequest(f func(*http.Request)) {
	if f == nil {
		r.observer.Store(nil)
		return
	}
	r.observer.Store(&f)
}

// SetListingLag delays how changes from now on show in object listings, in all
// containers: by d of the cloud's clock, until FlushListings (Forever), or not
// at all (0, which also shows what is still held back).
func (r *Region) SetListingLag(d time.Duration) {
	r.lagMu.Lock()
	r.lag = d
	r.lagMu.Unlock()
	r.eachContainer(func(c *container) { c.setLag(d, r.cloud.opts.Clock) })
}

// FlushListings shows in listings all that has been held back so far.
func (r *Region) FlushListings() { r.eachContainer((*container).flushLag) }

func (r *Region) eachContainer(f func(*container)) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, a := range r.accounts {
		for _, n := range a.names() {
			if c := a.container(n); c != nil {
				f(c)
			}
		}
	}
}

func (r *Region) accountName() string {
	return "AUTH_" + r.ks.project(Project).ID
}

// account returns the account, making it on first use as account_autocreate does.
func (r *Region) account(name string) *account {
	r.mu.RLock()
	a := r.accounts[name]
	r.mu.RUnlock()
	if a != nil {
		return a
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if a = r.accounts[name]; a == nil {
		a = newAccount(name, r.tick.next())
		r.accounts[name] = a
	}
	return a
}

// makeContainer creates a container of an account with the region's lag.
func (r *Region) makeContainer(a *account, name, policy string, now stamp) (*container, bool) {
	c, made := a.create(name, policy, now)
	if made {
		r.lagMu.Lock()
		d := r.lag
		r.lagMu.Unlock()
		if d != 0 {
			c.setLag(d, r.cloud.opts.Clock)
		}
	}
	return c, made
}

// CreateContainer makes the container if need be.
func (r *Region) CreateContainer(name string) { r.ensure(name) }

func (r *Region) ensure(name string) *container {
	c, _ := r.makeContainer(r.account(r.accountName()), name, r.opts.Policies[0], r.tick.next())
	return c
}

// Object is one stored object as tests see it.
type Object struct {
	Name, ETag, ContentType string
	Size                    int64 // of the content; an SLO's is that of its segments
	Header                  http.Header
	Modified                time.Time
	SLO                     bool
	data                    body
}

// Bytes returns the stored bytes; for an SLO those of its manifest.
func (o Object) Bytes() []byte {
	b := collector{p: make([]byte, 0, o.data.Len())}
	_ = o.data.writeTo(&b, 0, o.data.Len())
	return b.p
}

type collector struct{ p []byte }

func (c *collector) Write(p []byte) (int, error) {
	c.p = append(c.p, p...)
	return len(p), nil
}

// Put stores an object, and its container if need be. headers are those of a
// PUT (Content-Type, X-Object-Meta-*, X-Delete-At …); data is not copied.
func (r *Region) Put(containerName, name string, data []byte, headers map[string]string) {
	h := http.Header{}
	for k, v := range headers {
		h[http.CanonicalHeaderKey(k)] = []string{v}
	}
	now := r.tick.next()
	o := &object{body: newMemBody(data), etag: md5Hex(data), stamp: now}
	o.describe(h, name, nil)
	c := r.ensure(containerName)
	r.save(r.account(r.accountName()), c, name, o, now, false)
}

// Get returns a stored object, large or not, as it lies there; in a versioned
// container that is the current version.
func (r *Region) Get(containerName, name string) (Object, bool) {
	r.settleBlock()
	c := r.find(containerName)
	if c == nil {
		return Object{}, false
	}
	o := c.live(name, r.tick.next())
	if o != nil && o.link != nil && o.link.version != "" {
		to := o.link.place("")
		if c = r.find(to.cont); c == nil {
			return Object{}, false
		}
		o = c.live(to.obj, r.tick.next())
	}
	if o == nil {
		return Object{}, false
	}
	return o.public(name), true
}

func (o *object) public(name string) Object {
	h := http.Header{}
	for _, x := range o.headers {
		h.Set(x.name, x.value)
	}
	if o.deleteAt != 0 {
		h.Set("X-Delete-At", fmt.Sprint(o.deleteAt))
	}
	if o.dlo != "" {
		h.Set("X-Object-Manifest", o.dlo)
	}
	if o.link != nil {
		for _, x := range o.link.headers() {
			h.Set(x[0], x[1])
		}
	}
	return Object{Name: name, ETag: o.etag, ContentType: o.ctype, Size: o.listedSize(), Header: h,
		Modified: o.stamp.time(), SLO: o.slo != nil, data: o.body}
}

// Delete removes an object as a DELETE would; false when there is none.
func (r *Region) Delete(containerName, name string) bool {
	c := r.find(containerName)
	if c == nil {
		return false
	}
	return !r.erase(r.account(r.accountName()), c, name, r.tick.next()).missing
}

// DeleteContainer removes a container with all its objects.
func (r *Region) DeleteContainer(name string) {
	if c := r.find(name); c != nil {
		r.account(r.accountName()).drop(c, true)
	}
}

// Names lists the objects that exist (whatever listings show), in byte order.
func (r *Region) Names(containerName string) []string {
	r.settleBlock()
	c := r.find(containerName)
	if c == nil {
		return nil
	}
	c.expire(r.tick.next())
	c.mu.RLock()
	defer c.mu.RUnlock()
	var out []string
	walk(c.base, &c.objs, span{}, false, func(name string, _ func() *object) bool {
		out = append(out, name)
		return true
	})
	return out
}

// ContainerNames lists the containers of Project in byte order.
func (r *Region) ContainerNames() []string {
	r.settleBlock()
	return append([]string(nil), r.account(r.accountName()).names()...)
}

// Corrupt inverts one byte of an object at rest, in the middle, leaving its
// ETag as it was; false when there is nothing to damage.
func (r *Region) Corrupt(containerName, name string) bool {
	c := r.find(containerName)
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.getLocked(name)
	if o == nil || o.body.Len() == 0 {
		return false
	}
	bad := *o
	bad.body = flipped{o.body, o.body.Len() / 2}
	c.objs.set(name, &bad)
	return true
}

func (r *Region) find(containerName string) *container {
	return r.account(r.accountName()).container(containerName)
}
