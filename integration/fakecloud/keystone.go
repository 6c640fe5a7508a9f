package fakecloud

import (
	"crypto/rand"
	"sync"
	"time"
)

// domain, project, user and credential are what a Keystone knows.
type project struct {
	ID, Name string
}

type user struct {
	ID, Name, password string
	roles              map[string][]string // project id -> role names
}

type appCred struct {
	ID, Name, secret string
	user             *user
	project          *project
}

// token is one issued token. Immutable but for its presence in keystone.tokens.
type token struct {
	id      string
	user    *user
	project *project // nil: unscoped
	roles   []string
	methods []string
	issued  time.Time
	expires time.Time
	audit   string
}

func (t *token) hasRole(name string) bool {
	if t == nil {
		return false
	}
	for _, r := range t.roles {
		if r == name {
			return true
		}
	}
	return false
}

// keystone is one Keystone with its own users, projects and tokens.
type keystone struct {
	srv   *service
	clock func() time.Time
	life  time.Duration

	projects []*project
	users    []*user
	creds    []*appCred

	mu      sync.RWMutex
	regions []ksRegion
	tokens  map[string]*token
	issued  int64
	denied  int64
}

// ksRegion is a region as the catalog has it: where its services are, and
// whether Cinder and Glance are among them.
type ksRegion struct {
	name, url string
	block     bool
}

func newKeystone(name, addr string, opts Options) (*keystone, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	k := &keystone{clock: opts.Clock, life: opts.TokenLife, tokens: map[string]*token{}}
	demo := &project{ID: md5Hex([]byte("project/" + name + "/" + Project)), Name: Project}
	other := &project{ID: md5Hex([]byte("project/" + name + "/" + OtherProject)), Name: OtherProject}
	k.projects = []*project{demo, other}
	add := func(n string, roles map[string][]string) *user {
		u := &user{ID: md5Hex([]byte("user/" + name + "/" + n)), Name: n, password: Password, roles: roles}
		k.users = append(k.users, u)
		return u
	}
	u := add(User, map[string][]string{demo.ID: {"member", "reader"}})
	add(OtherUser, map[string][]string{other.ID: {"member", "reader"}})
	add(ReaderUser, map[string][]string{demo.ID: {"reader"}})
	adminRoles := []string{"admin", "member", "reader", "ResellerAdmin"}
	add(AdminUser, map[string][]string{demo.ID: adminRoles, other.ID: adminRoles})
	k.creds = []*appCred{{ID: md5Hex([]byte("cred/" + name)), Name: AppCredName, secret: AppCredSecret, user: u, project: demo}}
	k.srv = &service{handler: k, addr: addr}
	return k, k.srv.start()
}

func (k *keystone) appCredID() string { return k.creds[0].ID }

func (k *keystone) url() string { return "http://" + k.srv.address() }

func (k *keystone) addRegion(r ksRegion) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.regions = append(k.regions, r)
}

func (k *keystone) project(name string) *project {
	for _, p := range k.projects {
		if p.Name == name || p.ID == name {
			return p
		}
	}
	return nil
}

// check returns the token if it is known and not expired.
func (k *keystone) check(id string) *token {
	if id == "" {
		return nil
	}
	k.mu.RLock()
	t := k.tokens[id]
	k.mu.RUnlock()
	if t == nil || !k.clock().Before(t.expires) {
		return nil
	}
	return t
}

// issue makes a token for u scoped to p (nil: unscoped), good until at the
// latest notAfter when that is set.
func (k *keystone) issue(u *user, p *project, methods []string, notAfter time.Time) *token {
	now := k.clock()
	t := &token{id: "gAAAAA" + rand.Text() + rand.Text(), user: u, project: p, methods: methods,
		issued: now, expires: now.Add(k.life), audit: rand.Text()[:22]}
	if !notAfter.IsZero() && notAfter.Before(t.expires) {
		t.expires = notAfter
	}
	if p != nil {
		t.roles = u.roles[p.ID]
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tokens[t.id] = t
	k.issued++
	return t
}

func (k *keystone) revoke(id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.tokens[id]
	delete(k.tokens, id)
	return ok
}

// expireAll makes every token issued so far invalid.
func (k *keystone) expireAll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.tokens)
}

func (k *keystone) refuse() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.denied++
}
