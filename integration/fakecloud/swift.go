package fakecloud

import (
	"crypto/rand"
	"encoding/hex"
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
	deferred        bool       // rights over the target are looked at when it is written
	given           *given     // content that does not come from the client
	held            *heldReply // takes the reply in the place of the client
	stored          bool
	hang            bool
	lieAt           int64
	block           bool     // to Cinder
	bpath           []string // what follows the project in the path
}

// ServeHTTP answers the region's Swift API, under /volume its Cinder's and under
// /_fake/ its control.
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
	ok := true
	r.settleBlock()
	images := r.block != nil && under(raw, imageRoot)
	switch {
	case images:
		q.class = ClassBlock
	case r.block != nil && under(raw, blockRoot):
		q.locateBlock(raw)
	default:
		ok = q.locate(raw)
	}
	switch {
	case !q.prepare(r.strike(q)) || !ok:
	case images:
		q.serveImages(raw)
	case q.block:
		q.serveBlock()
	default:
		q.route()
	}
	q.settle()
	q.account()
}

// under says whether a path is root or below it.
func under(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }

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
		q.options()
		return
	}
	if q.cont != "" && q.r.Header["Origin"] != nil {
		q.allowOrigin()
	}
	if q.rg.opts.StaticWeb && q.serveWeb() {
		return
	}
	multipart := q.q["multipart-manifest"]
	q.deferred = q.copying || q.obj != "" && (multipart == "put" && q.r.Method == http.MethodPut ||
		multipart == "delete" && q.r.Method == http.MethodDelete)
	if !q.deferred {
		if code := q.authorize(q.acct, q.cont, q.obj, q.r.Method); code != 0 {
			q.deny(code)
			return
		}
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
