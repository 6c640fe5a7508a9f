package fakecloud

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// blockRoot is where Cinder lives on the region's port, as devstack has it.
const blockRoot = "/volume"

// The versions of the API (block storage v3).
const (
	maxMicro     = 70
	maxBlockBody = 114688 // osapi_max_request_body_size
)

// apiError is an answer of Cinder's that is not what was asked for.
type apiError struct {
	code int
	text string
}

func (e *apiError) Error() string { return strconv.Itoa(e.code) + " " + e.text }

func badRequest(format string, args ...any) error {
	return &apiError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

func missing(kind, id string) error {
	return &apiError{http.StatusNotFound, kind + " " + id + " could not be found."}
}

func overQuota(class, format string, args ...any) error {
	return &apiError{http.StatusRequestEntityTooLarge, class + ": " + fmt.Sprintf(format, args...)}
}

// faultName is what Cinder calls a status in its bodies (api/openstack/wsgi.py, Fault).
func faultName(code int) string {
	switch code {
	case 400:
		return "badRequest"
	case 401:
		return "unauthorized"
	case 403:
		return "forbidden"
	case 404:
		return "itemNotFound"
	case 405:
		return "badMethod"
	case 409:
		return "conflictingRequest"
	case 413:
		return "overLimit"
	case 415:
		return "badMediaType"
	case 501:
		return "notImplemented"
	case 503:
		return "serviceUnavailable"
	}
	return "computeFault"
}

// blockCall is one request to Cinder on its way through; its handlers run with
// cinder.mu held.
type blockCall struct {
	q     *request
	c     *cinder
	tok   *token
	admin bool
	micro int      // 3.micro is the microversion that was asked for
	path  []string // after the project
	query url.Values
	body  map[string]any
	tag   string // ETag of the reply
}

// done is what a handler answers; a nil body is an empty one.
type done struct {
	code int
	body any
}

// failBlock answers in Cinder's form; "" stands for the usual words.
func (q *request) failBlock(code int, message string) {
	if message == "" {
		if _, message = reason(code); message == "" {
			message = http.StatusText(code)
		}
		switch code {
		case http.StatusInternalServerError:
			message = "The server has either erred or is incapable of performing the requested operation."
		case http.StatusForbidden:
			message = "Policy doesn't allow this to be performed."
		}
	}
	f := map[string]any{"code": code, "message": message}
	if code == http.StatusRequestEntityTooLarge {
		q.w.Header()["Retry-After"] = []string{"0"}
		f["retryAfter"] = "0"
	}
	q.sendJSON(code, map[string]any{faultName(code): f})
}

func (q *request) sendJSON(code int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		q.send(http.StatusInternalServerError, "text/plain", err.Error())
		return
	}
	q.send(code, "application/json", string(b))
}

// locateBlock sorts a request to Cinder for counters and faults: q.obj becomes
// the id of what it is about, q.cont the collection.
func (q *request) locateBlock(raw string) {
	q.block = true
	q.class = ClassBlock
	parts := pathParts(strings.TrimPrefix(raw, blockRoot))
	if len(parts) == 0 || parts[0] != "v3" {
		return
	}
	parts = parts[1:]
	if len(parts) > 0 && len(parts[0]) == 32 {
		parts = parts[1:]
	}
	q.bpath = parts
	if len(parts) == 0 {
		return
	}
	q.cont = parts[0]
	if len(parts) > 1 && parts[1] != "detail" {
		q.obj = parts[1]
	}
	last := parts[len(parts)-1]
	switch {
	case parts[0] == "volumes" && len(parts) == 3 && last == "action":
		q.class = ClassVolumeAction
	case parts[0] == "volumes":
		q.class = ClassVolume
	case parts[0] == "snapshots":
		q.class = ClassSnapshot
	case parts[0] == "backups" && last == "import_record":
		q.class = ClassImport
	case parts[0] == "backups" && len(parts) == 3 && last == "restore":
		q.class = ClassRestore
	case parts[0] == "backups":
		q.class = ClassBackup
	}
}

func pathParts(raw string) []string {
	var out []string
	for p := range strings.SplitSeq(raw, "/") {
		if s, err := url.PathUnescape(p); err == nil && s != "" {
			out = append(out, s)
		}
	}
	return out
}

// serveBlock answers a request to Cinder. Work that it starts and that is due at
// once is done before the answer goes out; the answer shows it as it began.
func (q *request) serveBlock() {
	c := q.rg.block
	h := q.w.Header()
	h["X-Compute-Request-Id"] = []string{"req-" + newUUID()}
	h["X-Openstack-Request-Id"] = h["X-Compute-Request-Id"]
	rest := pathParts(strings.TrimPrefix(q.r.URL.EscapedPath(), blockRoot))
	if len(rest) == 0 {
		h["Openstack-Api-Version"], h["Vary"] = []string{"volume 3." + strconv.Itoa(maxMicro)}, []string{"OpenStack-API-Version"}
		q.sendJSON(http.StatusMultipleChoices, q.rg.blockVersions())
		return
	}
	if rest[0] != "v3" {
		q.fail(http.StatusNotFound)
		return
	}
	q.tok = q.rg.ks.check(q.r.Header.Get("X-Auth-Token"))
	if q.tok == nil || q.tok.project == nil {
		h["Www-Authenticate"] = []string{q.keystoneURI()}
		q.sendJSON(http.StatusUnauthorized, map[string]any{"error": map[string]any{"code": http.StatusUnauthorized, "title": "Unauthorized",
			"message": "The request you have made requires authentication."}})
		return
	}
	call := &blockCall{q: q, c: c, tok: q.tok, admin: q.tok.hasRole("admin"), path: q.bpath, query: q.r.URL.Query()}
	if err := call.version(); err != nil {
		q.failCall(err)
		return
	}
	h["Openstack-Api-Version"] = []string{"volume 3." + strconv.Itoa(call.micro)}
	h["Vary"] = []string{"OpenStack-API-Version"}
	if len(rest) == 1 {
		q.sendJSON(http.StatusOK, q.rg.blockVersions())
		return
	}
	if len(rest[1]) == 32 && rest[1] != q.tok.project.ID {
		q.failBlock(http.StatusBadRequest, "Malformed request url")
		return
	}
	if err := call.read(); err != nil {
		if !errors.Is(err, errCut) {
			q.failCall(err)
		}
		return
	}
	code, body, err := call.handle()
	c.settle()
	switch {
	case err != nil:
		q.failCall(err)
	case body == nil:
		q.send(code, "application/json", "")
	case call.tag != "":
		// Cinder's reply with an ETag is one of webob's own, and its type webob's.
		h["Etag"] = []string{call.tag}
		q.send(code, "text/html; charset=UTF-8", string(body))
	default:
		q.send(code, "application/json", string(body))
	}
}

// handle runs the request and renders its answer before anything goes on.
func (bc *blockCall) handle() (int, []byte, error) {
	bc.c.mu.Lock()
	defer bc.c.mu.Unlock()
	d, err := bc.dispatch()
	if err != nil || d.body == nil {
		return d.code, nil, err
	}
	b, err := json.Marshal(d.body)
	return d.code, b, err
}

func (q *request) failCall(err error) {
	var e *apiError
	if errors.As(err, &e) {
		q.failBlock(e.code, e.text)
		return
	}
	q.failBlock(http.StatusInternalServerError, "")
}

// version reads the microversion that is asked for; without one it is 3.0 (G4).
func (bc *blockCall) version() error {
	for part := range strings.SplitSeq(bc.q.r.Header.Get("OpenStack-API-Version"), ",") {
		name, v, ok := strings.Cut(strings.TrimSpace(part), " ")
		if !ok || name != "volume" {
			continue
		}
		if v == "latest" {
			bc.micro = maxMicro
			return nil
		}
		major, minor, _ := strings.Cut(v, ".")
		n, err := strconv.Atoi(minor)
		if _, merr := strconv.Atoi(major); err != nil || merr != nil {
			return badRequest("API Version String %s is of invalid format. Must be of format MajorNum.MinorNum.", v)
		}
		if major != "3" || n > maxMicro {
			if !strings.Contains(v, "2.0") && !strings.Contains(v, "1.0") {
				bc.q.w.Header()["Openstack-Api-Version"], bc.q.w.Header()["Vary"] = []string{"volume " + v}, []string{"OpenStack-API-Version"}
			}
			return &apiError{http.StatusNotAcceptable, fmt.Sprintf(
				"Version %s is not supported by the API. Minimum is 3.0 and maximum is 3.%d.", v, maxMicro)}
		}
		bc.micro = n
	}
	return nil
}

func (bc *blockCall) read() error {
	if bc.q.r.Method != http.MethodPost && bc.q.r.Method != http.MethodPut {
		return nil
	}
	raw, err := io.ReadAll(io.LimitReader(&bc.q.body, maxBlockBody+1))
	if err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	if len(raw) > maxBlockBody {
		return &apiError{http.StatusRequestEntityTooLarge, "Request is too large."}
	}
	if len(raw) == 0 {
		return nil
	}
	if err := json.Unmarshal(raw, &bc.body); err != nil {
		return badRequest("Malformed request body")
	}
	return nil
}

func (r *Region) blockVersions() map[string]any {
	return map[string]any{"versions": []any{map[string]any{"id": "v3.0", "status": "CURRENT",
		"version": "3." + strconv.Itoa(maxMicro), "min_version": "3.0", "updated": "2018-07-17T00:00:00Z",
		"links": []any{map[string]any{"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"},
			map[string]any{"rel": "self", "href": r.URL() + blockRoot + "/v3/"}},
		"media-types": []any{map[string]any{"base": "application/json", "type": "application/vnd.openstack.volume+json;version=3"}}}}}
}

// allow is an error unless the caller has the role that rule asks for (I12).
func (bc *blockCall) allow(rule string) error {
	role := bc.c.rules[rule]
	if role == "" {
		role = defaultRole(rule)
	}
	if bc.admin || role != "admin" && bc.tok.hasRole(role) {
		return nil
	}
	return &apiError{http.StatusForbidden, "Policy doesn't allow " + rule + " to be performed."}
}

// defaultRole is Cinder's own policy, with the defaults that tell readers from
// members.
func defaultRole(rule string) string {
	switch rule {
	case "backup:export-import", "backup:backup-import", "volume_extension:quotas:update", "volume:force_delete", "volume_extension:services:index":
		return "admin"
	case "volume:get", "volume:get_all", "volume:get_snapshot", "volume:get_all_snapshots", "backup:get", "backup:get_all",
		"volume:get_volume_metadata", "volume:get_snapshot_metadata", "message:get", "message:get_all":
		return "reader"
	}
	if strings.Contains(rule, "_admin_actions:") {
		return "admin"
	}
	return "member"
}

// link makes the links of one thing of a collection.
func (bc *blockCall) links(collection, id string) []any {
	root, p := bc.q.rg.URL()+blockRoot, bc.tok.project.ID+"/"+collection+"/"+id
	return []any{map[string]any{"rel": "self", "href": root + "/v3/" + p}, map[string]any{"rel": "bookmark", "href": root + "/" + p}}
}
