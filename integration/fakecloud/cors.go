package fakecloud

import (
	"net/http"
	"slices"
	"strings"
)

// corsMethods are what containers and objects allow across origins.
const corsMethods = "DELETE, POST, OPTIONS, HEAD, PUT, GET"

// corsOf returns what the request's container says of other origins.
func (q *request) corsOf() (meta map[string]string, allowed bool) {
	c := q.rg.account(q.acct).container(q.cont)
	if c == nil {
		return nil, false
	}
	meta = map[string]string{}
	c.mu.RLock()
	for _, k := range []string{"Allow-Origin", "Max-Age", "Expose-Headers"} {
		meta[k] = c.meta["X-Container-Meta-Access-Control-"+k]
	}
	c.mu.RUnlock()
	origins := strings.Fields(meta["Allow-Origin"])
	return meta, slices.Contains(origins, q.r.Header.Get("Origin")) || slices.Contains(origins, "*")
}

// allowOrigin adds the CORS headers when the reply's other headers are there.
func (q *request) allowOrigin() {
	meta, ok := q.corsOf()
	if !ok {
		return
	}
	q.w.before = func() {
		h := q.w.Header()
		expose := []string{"cache-control", "content-language", "content-type", "expires", "last-modified", "pragma", "etag",
			"x-timestamp", "x-trans-id", "x-openstack-request-id"}
		for k := range h {
			if strings.HasPrefix(k, "X-Container-Meta") || strings.HasPrefix(k, "X-Object-Meta") {
				expose = append(expose, strings.ToLower(k))
			}
		}
		for _, k := range strings.Fields(meta["Expose-Headers"]) {
			expose = append(expose, strings.ToLower(k))
		}
		slices.Sort(expose)
		h["Access-Control-Expose-Headers"] = []string{strings.Join(slices.Compact(expose), ", ")}
		q.nameOrigin(meta)
	}
}

// nameOrigin says which origin is welcome.
func (q *request) nameOrigin(meta map[string]string) {
	h := q.w.Header()
	if strings.TrimSpace(meta["Allow-Origin"]) == "*" {
		h["Access-Control-Allow-Origin"] = []string{"*"}
		return
	}
	h["Access-Control-Allow-Origin"] = []string{q.r.Header.Get("Origin")}
	vary := "Origin"
	if v := h["Vary"]; v != nil {
		vary += ", " + v[0]
	}
	h["Vary"] = []string{vary}
}

// options answers OPTIONS: a CORS preflight, or what methods there are.
func (q *request) options() {
	h := q.w.Header()
	methods := corsMethods
	h["Allow"] = []string{methods}
	if q.obj != "" {
		methods += ", COPY"
	}
	if q.r.Header.Get("Origin") == "" || q.cont == "" {
		h["Allow"] = []string{methods}
		q.done(http.StatusOK)
		return
	}
	meta, ok := q.corsOf()
	asked := q.r.Header.Get("Access-Control-Request-Method")
	if !ok || asked == "" || !slices.Contains(strings.Split(corsMethods, ", "), asked) {
		q.w.Header()["Www-Authenticate"] = []string{q.keystoneURI()}
		q.fail(http.StatusUnauthorized)
		return
	}
	h["Allow"], h["Access-Control-Allow-Methods"] = []string{methods}, []string{methods}
	q.nameOrigin(meta)
	if age := meta["Max-Age"]; age != "" {
		h["Access-Control-Max-Age"] = []string{age}
	}
	if want := q.r.Header.Get("Access-Control-Request-Headers"); want != "" {
		h["Access-Control-Allow-Headers"] = []string{want}
		vary := "Access-Control-Request-Headers"
		if v := h["Vary"]; v != nil {
			vary = v[0] + ", " + vary
		}
		h["Vary"] = []string{vary}
	}
	h["Content-Type"], h["Content-Length"] = nil, []string{"0"}
	q.w.WriteHeader(http.StatusOK)
}
