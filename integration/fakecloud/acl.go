package fakecloud

import (
	"net/http"
	"net/url"
	"strings"
)

// owns says whether the token has an operator role over the account.
func (q *request) owns(acct string) bool {
	if q.tok.hasRole("ResellerAdmin") {
		return true
	}
	return q.tok != nil && q.tok.project != nil && acct == "AUTH_"+q.tok.project.ID &&
		(q.tok.hasRole("member") || q.tok.hasRole("admin"))
}

// authorize decides as Swift's keystoneauth does: 0, 401 or 403.
func (q *request) authorize(acct, cont, obj, method string) int {
	denied := http.StatusForbidden
	if q.tok == nil {
		denied = http.StatusUnauthorized
	}
	if q.owns(acct) {
		return 0
	}
	mine := q.tok != nil && q.tok.project != nil && acct == "AUTH_"+q.tok.project.ID
	read := method == http.MethodGet || method == http.MethodHead
	if mine && read && q.tok.hasRole("reader") {
		return 0
	}
	if cont == "" {
		return denied
	}
	q.rg.mu.RLock()
	a := q.rg.accounts[acct]
	q.rg.mu.RUnlock()
	if a == nil {
		return denied
	}
	c := a.container(cont)
	if c == nil {
		return denied
	}
	c.mu.RLock()
	acl := c.meta["X-Container-Write"]
	if read {
		acl = c.meta["X-Container-Read"]
	}
	c.mu.RUnlock()
	if acl != "" && (obj != "" || read) && q.allowed(acl, obj != "") {
		return 0
	}
	return denied
}

// allowed reads an ACL: .r:* and .r:host for anyone (listings also need
// .rlistings), project:user with stars, and role names.
func (q *request) allowed(acl string, object bool) bool {
	listings, anyone := false, false
	for item := range strings.SplitSeq(acl, ",") {
		item = strings.TrimSpace(item)
		if item == ".rlistings" {
			listings = true
			continue
		}
		if who, ok := cutAny(item, ".r:", ".ref:", ".referer:", ".referrer:"); ok {
			ref, err := url.Parse(q.r.Referer())
			anyone = anyone || who == "*" || err == nil && who != "" &&
				(ref.Hostname() == who || strings.HasPrefix(who, ".") && strings.HasSuffix(ref.Hostname(), who))
			continue
		}
		if q.tok == nil || q.tok.project == nil {
			continue
		}
		p, u, pair := strings.Cut(item, ":")
		if pair && (p == "*" || p == q.tok.project.ID || p == q.tok.project.Name) &&
			(u == "*" || u == q.tok.user.ID || u == q.tok.user.Name) || !pair && q.tok.hasRole(item) {
			return true
		}
	}
	return anyone && (object || listings)
}

func cutAny(s string, prefixes ...string) (string, bool) {
	for _, p := range prefixes {
		if rest, ok := strings.CutPrefix(s, p); ok {
			return rest, true
		}
	}
	return s, false
}

func (q *request) deny(code int) {
	if code == http.StatusUnauthorized {
		q.challenge()
	}
	q.fail(code)
}

// challenge says where to get a token.
func (q *request) challenge() {
	q.w.Header()["Www-Authenticate"] = []string{`Swift realm="` + q.acct + `"`, `Keystone uri="` + q.rg.ks.url() + `"`}
}
