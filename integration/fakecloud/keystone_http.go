package fakecloud

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxAuthBody is Keystone's max_request_body_size.
const maxAuthBody = 114688

// ServeHTTP answers the identity API v3 (api-ref identity/v3): discovery,
// tokens, catalog, and what openstackclient looks up about projects.
func (k *keystone) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h["Vary"] = []string{"X-Auth-Token"}
	h["X-Openstack-Request-Id"] = []string{"req-" + requestID()}
	h["Date"] = []string{httpDate(k.clock())}
	path := strings.TrimSuffix(r.URL.Path, "/")
	switch {
	case path == "":
		k.discovery(w)
	case path == "/v3":
		k.reply(w, http.StatusOK, map[string]any{"version": k.version()})
	case path == "/v3/auth/tokens":
		k.serveTokens(w, r)
	default:
		k.serveKnown(w, r, strings.TrimPrefix(path, "/v3"))
	}
}

func (k *keystone) version() map[string]any {
	return map[string]any{"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z",
		"links": []any{map[string]any{"rel": "self", "href": k.url() + "/v3/"}},
		"media-types": []any{map[string]any{"base": "application/json",
			"type": "application/vnd.openstack.identity-v3+json"}}}
}

func (k *keystone) discovery(w http.ResponseWriter) {
	w.Header().Set("Location", k.url()+"/v3/")
	k.reply(w, http.StatusMultipleChoices,
		map[string]any{"versions": map[string]any{"values": []any{k.version()}}})
}

func (k *keystone) reply(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header()["Content-Type"] = []string{"application/json"}
	w.WriteHeader(code)
	// The client may be gone; there is nobody to tell.
	_, _ = w.Write(b)
}

func (k *keystone) fail(w http.ResponseWriter, code int, message string) {
	if code == http.StatusUnauthorized {
		k.refuse()
		w.Header()["WWW-Authenticate"] = []string{`Keystone uri="` + k.url() + `/v3"`}
	}
	k.reply(w, code, map[string]any{"error": map[string]any{
		"code": code, "message": message, "title": http.StatusText(code)}})
}

const needAuth = "The request you have made requires authentication."

type nameOrID struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Domain struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"domain"`
}

// matches compares by id, or by name within the one domain there is.
func (n nameOrID) matches(id, name string) bool {
	if n.ID != "" {
		return n.ID == id
	}
	return n.Name == name && (n.Domain.ID == defaultDomainI || n.Domain.Name == defaultDomain)
}

type authRequest struct {
	Auth struct {
		Identity struct {
			Methods  []string `json:"methods"`
			Password struct {
				User struct {
					nameOrID
					Password string `json:"password"`
				} `json:"user"`
			} `json:"password"`
			Token struct {
				ID string `json:"id"`
			} `json:"token"`
			AppCred struct {
				ID     string   `json:"id"`
				Name   string   `json:"name"`
				Secret string   `json:"secret"`
				User   nameOrID `json:"user"`
			} `json:"application_credential"`
		} `json:"identity"`
		Scope json.RawMessage `json:"scope"`
	} `json:"auth"`
}

func (k *keystone) serveTokens(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPost:
		k.login(w, r)
		return
	case http.MethodGet, http.MethodHead, http.MethodDelete:
	default:
		k.fail(w, http.StatusMethodNotAllowed, "The method is not allowed for the requested URL.")
		return
	}
	if k.check(r.Header.Get("X-Auth-Token")) == nil {
		k.fail(w, http.StatusUnauthorized, needAuth)
		return
	}
	t := k.check(r.Header.Get("X-Subject-Token"))
	if t == nil {
		k.fail(w, http.StatusNotFound, "Could not recognize Fernet token")
		return
	}
	if r.Method == http.MethodDelete {
		k.revoke(t.id)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header()["X-Subject-Token"] = []string{t.id}
	k.reply(w, http.StatusOK, map[string]any{"token": k.describe(t, r.URL.Query().Has("nocatalog"))})
}

func (k *keystone) login(w http.ResponseWriter, r *http.Request) {
	var q authRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAuthBody)).Decode(&q); err != nil {
		k.fail(w, http.StatusBadRequest, "Expecting to find auth in request body. The server could not comply "+
			"with the request since it is either malformed or otherwise incorrect. The client is assumed to be in error.")
		return
	}
	var u *user
	var forced *project
	var notAfter time.Time
	id := q.Auth.Identity
	switch {
	case slices.Contains(id.Methods, "password"):
		for _, c := range k.users {
			if id.Password.User.matches(c.ID, c.Name) && id.Password.User.Password == c.password {
				u = c
			}
		}
	case slices.Contains(id.Methods, "application_credential"):
		for _, c := range k.creds {
			known := id.AppCred.ID == c.ID
			if id.AppCred.ID == "" {
				known = id.AppCred.Name == c.Name && id.AppCred.User.matches(c.user.ID, c.user.Name)
			}
			if known && id.AppCred.Secret == c.secret {
				u, forced = c.user, c.project
			}
		}
	case slices.Contains(id.Methods, "token"):
		// Rescoping never lengthens a token's life.
		if t := k.check(id.Token.ID); t != nil {
			u, notAfter = t.user, t.expires
		}
	}
	if u == nil {
		k.fail(w, http.StatusUnauthorized, needAuth)
		return
	}
	p, ok := k.scope(q.Auth.Scope, u, forced)
	if !ok {
		k.fail(w, http.StatusUnauthorized, needAuth)
		return
	}
	t := k.issue(u, p, id.Methods, notAfter)
	w.Header()["X-Subject-Token"] = []string{t.id}
	k.reply(w, http.StatusCreated, map[string]any{"token": k.describe(t, r.URL.Query().Has("nocatalog"))})
}

// scope finds the project a token is wanted for; false when the user has no
// role in it or no such project exists.
func (k *keystone) scope(raw json.RawMessage, u *user, forced *project) (*project, bool) {
	if forced != nil {
		return forced, true
	}
	var s struct {
		Project *nameOrID `json:"project"`
	}
	if len(raw) == 0 || raw[0] != '{' {
		return nil, true // none, or the string "unscoped"
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, false
	}
	if s.Project == nil {
		return nil, false // domain, system and trust scopes: no roles here
	}
	for _, p := range k.projects {
		if s.Project.matches(p.ID, p.Name) && len(u.roles[p.ID]) > 0 {
			return p, true
		}
	}
	return nil, false
}

const keystoneTime = "2006-01-02T15:04:05.000000Z"

func domainRef() map[string]any {
	return map[string]any{"id": defaultDomainI, "name": defaultDomain}
}

func (k *keystone) describe(t *token, noCatalog bool) map[string]any {
	m := map[string]any{
		"methods":    t.methods,
		"user":       map[string]any{"domain": domainRef(), "id": t.user.ID, "name": t.user.Name, "password_expires_at": nil},
		"audit_ids":  []string{t.audit},
		"issued_at":  t.issued.UTC().Format(keystoneTime),
		"expires_at": t.expires.UTC().Format(keystoneTime),
	}
	if t.project != nil {
		m["project"] = map[string]any{"domain": domainRef(), "id": t.project.ID, "name": t.project.Name}
		m["is_domain"] = false
		roles := []any{}
		for _, r := range t.roles {
			roles = append(roles, map[string]any{"id": md5Hex([]byte("role/" + r)), "name": r})
		}
		m["roles"] = roles
		if !noCatalog {
			m["catalog"] = k.catalog(t.project)
		}
	}
	return m
}

func (k *keystone) catalog(p *project) []any {
	k.mu.RLock()
	defer k.mu.RUnlock()
	service := func(kind, name string, url func(ksRegion) string) map[string]any {
		eps := []any{}
		for _, r := range k.regions {
			if url(r) == "" {
				continue
			}
			for _, iface := range []string{"public", "internal", "admin"} {
				eps = append(eps, map[string]any{"id": md5Hex([]byte(kind + r.name + iface)), "interface": iface,
					"region_id": r.name, "region": r.name, "url": url(r)})
			}
		}
		return map[string]any{"endpoints": eps, "id": md5Hex([]byte("service/" + kind)), "type": kind, "name": name}
	}
	block := func(r ksRegion) string {
		if !r.block {
			return ""
		}
		return r.url + blockRoot + "/v3/" + p.ID
	}
	images := func(r ksRegion) string {
		if !r.block {
			return ""
		}
		return r.url + imageRoot
	}
	return []any{
		service("identity", "keystone", func(ksRegion) string { return k.url() + "/v3" }),
		service("object-store", "swift", func(r ksRegion) string { return r.url + "/v1/AUTH_" + p.ID }),
		service("volumev3", "cinderv3", block),
		service("block-storage", "cinder", block),
		service("image", "glance", images),
	}
}

// serveKnown answers the few reads that clients do besides tokens.
func (k *keystone) serveKnown(w http.ResponseWriter, r *http.Request, path string) {
	t := k.check(r.Header.Get("X-Auth-Token"))
	if t == nil {
		k.fail(w, http.StatusUnauthorized, needAuth)
		return
	}
	if r.Method != http.MethodGet {
		k.fail(w, http.StatusForbidden, "You are not authorized to perform the requested action.")
		return
	}
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	links := map[string]any{"next": nil, "previous": nil, "self": k.url() + "/v3" + path}
	switch {
	case path == "/auth/catalog" && t.project != nil:
		k.reply(w, http.StatusOK, map[string]any{"catalog": k.catalog(t.project), "links": links})
	case path == "/auth/projects", path == "/projects", path == "/users/"+t.user.ID+"/projects":
		list := []any{}
		for _, p := range k.projects {
			if len(t.user.roles[p.ID]) > 0 && matchesQuery(r, p.Name) {
				list = append(list, k.projectRef(p))
			}
		}
		k.reply(w, http.StatusOK, map[string]any{"projects": list, "links": links})
	case len(parts) == 2 && parts[0] == "projects" && k.project(parts[1]) != nil:
		p := k.project(parts[1])
		if len(t.user.roles[p.ID]) == 0 || p.ID != parts[1] {
			k.fail(w, http.StatusNotFound, "Could not find project: "+parts[1]+".")
			return
		}
		k.reply(w, http.StatusOK, map[string]any{"project": k.projectRef(p)})
	case path == "/users/"+t.user.ID:
		k.reply(w, http.StatusOK, map[string]any{"user": map[string]any{"id": t.user.ID, "name": t.user.Name,
			"domain_id": defaultDomainI, "enabled": true}})
	default:
		k.fail(w, http.StatusNotFound, "The requested URL was not found on the server.")
	}
}

func matchesQuery(r *http.Request, name string) bool {
	want := r.URL.Query().Get("name")
	return want == "" || want == name
}

func (k *keystone) projectRef(p *project) map[string]any {
	return map[string]any{"id": p.ID, "name": p.Name, "domain_id": defaultDomainI, "description": "", "enabled": true,
		"parent_id": defaultDomainI, "is_domain": false, "tags": []any{}, "options": map[string]any{},
		"links": map[string]any{"self": k.url() + "/v3/projects/" + p.ID}}
}
