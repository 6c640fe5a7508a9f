package fakecloud

import (
	"crypto/rand"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits as /info tells them; a stock Swift's.
const (
	maxObjectName    = 1024
	maxContainerName = 256
	maxFileSize      = 5368709122
	maxListing       = 10000
	maxMetaCount     = 90
	maxMetaName      = 128
	maxMetaValue     = 256
	maxMetaOverall   = 4096
)

// request is one Swift request on its way through.
type request struct {
	rg    *Region
	w     *responder
	r     *http.Request
	body  bodyReader
	q     params
	now   stamp // assigned on arrival, as Swift's proxy does
	tok   *token
	owner bool // has the account's rights, so sees ACLs

	class           Class
	acct, cont, obj string
	copying         bool
	hang            bool
	lieAt           int64
}

// ServeHTTP answers the region's Swift API and, under /_fake/, its control.
func (r *Region) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	raw, rawQuery, _ := strings.Cut(hr.RequestURI, "?")
	if !strings.HasPrefix(raw, "/") {
		raw = hr.URL.EscapedPath() // a proxy-style request line
	}
	if strings.HasPrefix(raw, "/_fake/") {
		r.serveAdmin(w, hr, raw)
		return
	}
	out := &responder{ResponseWriter: w, rg: r, ctx: hr.Context()}
	if r.link.roundTrip(out.ctx) != nil {
		out.sever(true)
		return
	}
	q := &request{rg: r, w: out, r: hr, q: parseQuery(rawQuery), now: r.tick.next(), lieAt: -1}
	q.body = bodyReader{r: hr.Body, w: out}
	// Assigned directly: these names are canonical, and Set costs on every request.
	h := w.Header()
	id := r.transID(q.now)
	h["X-Trans-Id"], h["X-Openstack-Request-Id"] = []string{id}, []string{id}
	h["Date"] = []string{httpDate(q.now.time())}
	if f := r.observer.Load(); f != nil {
		(*f)(hr)
	}
	ok := q.locate(raw)
	if q.prepare(r.strike(q)) && ok {
		q.route()
	}
	q.settle()
	q.account()
}

func requestID() string { return strings.ToLower(rand.Text()) }

// transID makes X-Trans-Id: tx, 21 hex digits, and the time.
func (r *Region) transID(now stamp) string {
	var b [21]byte
	n := mix(r.requests.Add(1))
	const digits = "0123456789abcdef"
	for i := range b {
		b[i] = digits[n&15]
		if n >>= 4; n == 0 {
			n = mix(uint64(i) + uint64(now))
		}
	}
	sec := strconv.FormatInt(int64(now)/stampsPerSecond, 16)
	return "tx" + string(b[:]) + "-" + strings.Repeat("0", max(0, 10-len(sec))) + sec
}

// locate finds what the path addresses. Swift unquotes the whole path before it
// splits it, so %2F is a slash like any other; nothing is cleaned.
func (q *request) locate(raw string) bool {
	path, err := url.PathUnescape(raw)
	if err != nil {
		q.failText(http.StatusPreconditionFailed, "Bad URL")
		return false
	}
	q.class = ClassInfo
	if path == "/info" || path == "/healthcheck" {
		return true
	}
	parts := strings.SplitN(strings.TrimPrefix(path, "/"), "/", 4)
	if parts[0] != "v1" && parts[0] != "v1.0" {
		q.fail(http.StatusNotFound)
		return false
	}
	if len(parts) < 2 || parts[1] == "" || len(parts) == 4 && parts[2] == "" {
		q.failText(http.StatusPreconditionFailed, "Bad URL")
		return false
	}
	q.acct, q.class = parts[1], ClassAccount
	if len(parts) > 2 && parts[2] != "" {
		q.cont, q.class = parts[2], ClassContainer
		if q.r.Method == http.MethodGet {
			q.class = ClassListing
		}
	}
	if len(parts) == 4 && parts[3] != "" {
		q.obj, q.class = parts[3], ClassObject
	}
	if _, bulk := q.q["bulk-delete"]; bulk && (q.r.Method == http.MethodPost || q.r.Method == http.MethodDelete) {
		q.class = ClassBulk
	}
	q.copying = q.obj != "" && (q.r.Method == "COPY" ||
		q.r.Method == http.MethodPut && q.r.Header.Get("X-Copy-From") != "")
	return true
}

func (q *request) route() {
	if q.acct == "" {
		q.serveInfo()
		return
	}
	if !validName(q.acct) || !validName(q.cont) || !validName(q.obj) {
		q.failText(http.StatusPreconditionFailed, "Invalid UTF8 or contains NULL")
		return
	}
	q.tok = q.rg.ks.check(q.r.Header.Get("X-Auth-Token"))
	q.owner = q.owns(q.acct)
	if q.r.Method == http.MethodOptions {
		q.notAllowed()
		return
	}
	if code := q.authorize(q.acct, q.cont, q.obj, q.r.Method); code != 0 {
		q.deny(code)
		return
	}
	switch {
	case q.class == ClassBulk:
		q.bulkDelete()
	case q.obj != "":
		q.serveObject()
	case q.cont != "":
		q.serveContainer()
	default:
		q.serveAccount()
	}
}

func validName(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }

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
		q.w.Header()["Www-Authenticate"] = []string{`Swift realm="` + q.acct + `"`, `Keystone uri="` + q.rg.ks.url() + `"`}
	}
	q.fail(code)
}

// params are query parameters by name, last one winning, blanks kept.
type params map[string]string

func parseQuery(raw string) params {
	if raw == "" {
		return nil
	}
	p := params{}
	for kv := range strings.SplitSeq(raw, "&") {
		k, v, _ := strings.Cut(kv, "=")
		if k == "" {
			continue
		}
		p[lenient(k)] = lenient(v)
	}
	return p
}

// lenient unquotes as Python does, leaving alone what is not an escape.
func lenient(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			b = append(b, ' ')
		case s[i] == '%' && i+2 < len(s):
			if v, err := hex.DecodeString(s[i+1 : i+3]); err == nil {
				b = append(b, v[0])
				i += 2
				continue
			}
			b = append(b, '%')
		default:
			b = append(b, s[i])
		}
	}
	return string(b)
}

// isTrue reads a flag as Swift's config_true_value does.
func isTrue(s string) bool {
	switch strings.ToLower(s) {
	case "true", "1", "yes", "on", "t", "y":
		return true
	}
	return false
}

// reason gives title and paragraph of Swift's error pages (swob.RESPONSE_REASONS).
func reason(code int) (title, text string) {
	switch code {
	case 202:
		return "Accepted", "The request is accepted for processing."
	case 400:
		return "Bad Request", "The server could not comply with the request since it is either malformed or otherwise incorrect."
	case 401:
		return "Unauthorized", "This server could not verify that you are authorized to access the document you requested."
	case 403:
		return "Forbidden", "Access was denied to this resource."
	case 404:
		return "Not Found", "The resource could not be found."
	case 405:
		return "Method Not Allowed", "The method is not allowed for this resource."
	case 408:
		return "Request Timeout", "The server has waited too long for the request to be sent by the client."
	case 409:
		return "Conflict", "There was a conflict when trying to complete your request."
	case 411:
		return "Length Required", "Content-Length header required."
	case 412:
		return "Precondition Failed", "A precondition for this request was not met."
	case 413:
		return "Request Entity Too Large", "The body of your request was too large for this server."
	case 416:
		return "Requested Range Not Satisfiable", "The Range requested is not available."
	case 422:
		return "Unprocessable Entity", "Unable to process the contained instructions"
	case 498:
		return "Rate Limited", "Slow down"
	case 499:
		return "Client Disconnect", "The client was disconnected during request."
	case 500:
		return "Internal Error", "The server has either erred or is incapable of performing the requested operation."
	case 503:
		return "Service Unavailable", "The server is currently unavailable. Please try again at a later time."
	}
	return http.StatusText(code), ""
}

func (q *request) fail(code int) {
	title, text := reason(code)
	if text == "" {
		q.send(code, "text/html; charset=UTF-8", "")
		return
	}
	q.send(code, "text/html; charset=UTF-8", "<html><h1>"+title+"</h1><p>"+text+"</p></html>")
}

// failText answers with a body of our own words, in Swift's text/html default.
func (q *request) failText(code int, text string) {
	q.send(code, "text/html; charset=UTF-8", text)
}

func (q *request) failPlain(code int, text string) { q.send(code, "text/plain", text) }

// send answers with a small body, which HEAD does not get.
func (q *request) send(code int, ctype, body string) {
	h := q.w.Header()
	h["Content-Type"] = []string{ctype}
	if q.r.Method == http.MethodHead {
		body = ""
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	q.w.WriteHeader(code)
	if body != "" {
		// Nobody is left to tell when the client has gone.
		_, _ = io.WriteString(q.w, body)
	}
}

// notAllowed answers OPTIONS, and 405 for all else.
func (q *request) notAllowed() {
	q.w.Header()["Allow"] = []string{"PUT, DELETE, HEAD, GET, POST, OPTIONS"}
	if q.r.Method == http.MethodOptions {
		q.done(http.StatusOK)
		return
	}
	q.fail(http.StatusMethodNotAllowed)
}

// done answers with an empty body.
func (q *request) done(code int) { q.send(code, "text/html; charset=UTF-8", "") }
