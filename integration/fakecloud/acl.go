package fakecloud

import (
	"net/http"
	"net/url"
	"slices"
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
	if acl != "" && (obj != "" || read) && q.allowed(acl, obj != "", mine) {
		return 0
	}
	return denied
}

// allowed reads an ACL as it is stored: project:user with stars, .r:host for
// whoever comes from there (listings also need .rlistings), and role names,
// which count in one's own project only.
func (q *request) allowed(acl string, object, mine bool) bool {
	var hosts, groups []string
	for item := range strings.SplitSeq(acl, ",") {
		if host, ok := strings.CutPrefix(item, ".r:"); ok {
			hosts = append(hosts, host)
		} else {
			groups = append(groups, lenientPath(item))
		}
	}
	known := q.tok != nil && q.tok.project != nil
	if known {
		for _, p := range []string{q.tok.project.ID, q.tok.project.Name, "*"} {
			for _, u := range []string{q.tok.user.ID, q.tok.user.Name, "*"} {
				if slices.Contains(groups, p+":"+u) {
					return true
				}
			}
		}
	}
	if q.welcome(hosts) {
		// Whoever is not to list is not let in by a role either.
		return object || slices.Contains(groups, ".rlistings")
	}
	return known && mine && slices.ContainsFunc(groups, func(g string) bool { return q.tok.hasRole(strings.ToLower(g)) })
}

// welcome compares the Referer with the hosts of .r: items, the last of which
// that fits decides.
func (q *request) welcome(hosts []string) bool {
	ok := false
	from := "unknown"
	if ref, err := url.Parse(q.r.Referer()); err == nil && ref.Hostname() != "" {
		from = strings.ToLower(ref.Hostname())
	}
	for _, h := range hosts {
		h, no := strings.CutPrefix(h, "-")
		if h == from || strings.HasPrefix(h, ".") && strings.HasSuffix(from, h) || h == "*" && !no {
			ok = !no
		}
	}
	return ok
}

// cleanACL brings an ACL into the form that is stored (swift.common.middleware.acl,
// clean_acl); bad says what is wrong with it.
func cleanACL(value string, write bool) (clean, bad string) {
	var out []string
	for raw := range strings.SplitSeq(value, ",") {
		if raw = strings.TrimSpace(raw); raw == "" {
			continue
		}
		first, second, ok := strings.Cut(raw, ":")
		first, second = strings.TrimSpace(first), strings.TrimSpace(second)
		switch {
		case !ok || !strings.HasPrefix(first, "."):
			out = append(out, raw)
			continue
		case !slices.Contains([]string{".r", ".ref", ".referer", ".referrer"}, first):
			return "", "Unknown designator '" + first + "' in ACL: '" + raw + "'"
		case write:
			return "", "Referrers not allowed in write ACL: '" + raw + "'"
		}
		host, no := strings.CutPrefix(second, "-")
		if host = strings.TrimSpace(host); host != "*" {
			host = strings.TrimSpace(strings.TrimPrefix(host, "*"))
		}
		if host == "" || host == "." {
			return "", "No host/domain value after referrer designation in ACL: '" + raw + "'"
		}
		if no {
			host = "-" + host
		}
		out = append(out, ".r:"+host)
	}
	return strings.Join(out, ","), ""
}

func (q *request) deny(code int) {
	if q.r.Method != http.MethodGet && q.r.Method != http.MethodHead {
		q.w.before = nil // refused before CORS is looked at
	}
	if code == http.StatusUnauthorized {
		q.challenge()
	}
	q.fail(code)
}

// challenge says where to get a token.
func (q *request) challenge() {
	q.w.Header()["Www-Authenticate"] = []string{`Swift realm="` + q.acct + `"`, q.keystoneURI()}
}

func (q *request) keystoneURI() string { return `Keystone uri="` + q.rg.ks.url() + `"` }
