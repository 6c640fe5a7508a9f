package fakecloud

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

func (q *request) serveAccount() {
	a := q.rg.account(q.acct)
	switch q.r.Method {
	case http.MethodHead, http.MethodGet:
		q.readAccount(a)
	case http.MethodPost, http.MethodPut:
		q.postAccount(a)
	case http.MethodDelete:
		// Only a reseller may, and an emulated account does not need it.
		q.fail(http.StatusForbidden)
	default:
		q.notAllowed()
	}
}

func (q *request) readAccount(a *account) {
	opts, ok := q.listOptions()
	if !ok {
		return
	}
	containers, objects, bytes := a.usage()
	h := q.w.Header()
	h["X-Account-Container-Count"] = []string{strconv.FormatInt(containers, 10)}
	h["X-Account-Object-Count"] = []string{strconv.FormatInt(objects, 10)}
	h["X-Account-Bytes-Used"] = []string{strconv.FormatInt(bytes, 10)}
	h["X-Timestamp"] = []string{a.created.header()}
	a.mu.RLock()
	made := a.made
	if made {
		h["Accept-Ranges"] = []string{"bytes"}
		h["X-Account-Project-Domain-Id"] = []string{defaultDomainI}
	} else {
		h["X-Put-Timestamp"] = []string{a.created.header()}
	}
	for k, v := range a.meta {
		if q.owner || strings.HasPrefix(k, "X-Account-Meta-") && !strings.HasPrefix(k, "X-Account-Meta-Temp-Url-Key") {
			h[k] = []string{v}
		}
	}
	a.mu.RUnlock()
	if q.r.Method == http.MethodHead {
		code := http.StatusNoContent
		if !made {
			code = http.StatusOK // Swift makes the listing of an account not made yet up
		}
		q.send(code, opts.format.mime(), "")
		return
	}
	out := newListing(opts.format, "account", a.name)
	for _, e := range q.accountPage(a, opts) {
		out.container(e, q.rg.opts.Profile)
	}
	q.sendListing(out)
}

// accountPage picks the containers that the options ask for.
func (q *request) accountPage(a *account, o listOptions) []accountRow {
	names := a.names()
	if o.reverse {
		names = slices.Clone(names)
		slices.Reverse(names)
	}
	var rows []accountRow
	last := ""
	for _, n := range names {
		if len(rows) >= o.limit {
			break
		}
		if !o.admits(n) {
			continue
		}
		if dir, ok := o.subdir(n); ok {
			if dir != last && dir != o.marker {
				rows = append(rows, accountRow{name: dir, dir: true})
			}
			last = dir
			continue
		}
		c := a.container(n)
		if c == nil {
			continue
		}
		c.mu.RLock()
		row := accountRow{name: n, count: c.count, bytes: c.bytes, modified: c.modified}
		c.mu.RUnlock()
		row.bytes += a.hiddenBytes(c)
		rows = append(rows, row)
	}
	return rows
}

func (q *request) postAccount(a *account) {
	h := q.r.Header
	if !q.owner {
		q.fail(http.StatusForbidden)
		return
	}
	quota := h.Get("X-Account-Meta-Quota-Bytes")
	// Quotas are the reseller's to set, as the account_quotas middleware has it.
	if _, set := h["X-Account-Meta-Quota-Bytes"]; (set || h.Get("X-Remove-Account-Meta-Quota-Bytes") != "") &&
		!q.tok.hasRole("ResellerAdmin") {
		q.fail(http.StatusForbidden)
		return
	}
	if quota != "" && !digits(quota) {
		q.fail(http.StatusBadRequest)
		return
	}
	if msg := checkMeta(h, "X-Account-Meta-", true); msg != "" {
		q.failPlain(http.StatusBadRequest, msg)
		return
	}
	a.mu.Lock()
	meta, msg := merged(a.meta, h, "Account", nil)
	made := a.made
	if msg == "" {
		a.meta, a.made = meta, true
	}
	a.mu.Unlock()
	if msg != "" {
		q.failText(http.StatusBadRequest, msg)
		return
	}
	switch {
	case q.r.Method == http.MethodPost:
		q.done(http.StatusNoContent)
	case made:
		q.fail(http.StatusAccepted)
	default:
		q.done(http.StatusCreated)
	}
}

func digits(s string) bool {
	_, err := strconv.ParseUint(s, 10, 63)
	return err == nil
}

// merged is meta with X-<kind>-Meta-* and the other settable headers applied: an
// empty value or an X-Remove-… header removes. What adds up to more than the
// limits is told as msg.
func merged(meta map[string]string, h http.Header, kind string, others []string) (out map[string]string, msg string) {
	out = maps.Clone(meta)
	prefix := "X-" + kind + "-Meta-"
	for k, vs := range h {
		if strings.HasPrefix(k, prefix) || slices.Contains(others, k) {
			set(out, titled(k), vs[0])
		}
	}
	for k, vs := range h {
		rest, ok := strings.CutPrefix(k, "X-Remove-")
		if ok && vs[0] != "" && (strings.HasPrefix("X-"+rest, prefix) || slices.Contains(others, "X-"+rest)) {
			delete(out, titled("X-"+rest))
		}
	}
	count, size := 0, 0
	for k, v := range out {
		if strings.HasPrefix(k, prefix) {
			count++
			size += len(k) - len(prefix) + len(v)
		}
	}
	switch {
	case count > maxMetaCount:
		msg = "Too many metadata items; max " + strconv.Itoa(maxMetaCount)
	case size > maxMetaOverall:
		msg = "Total metadata too large; max " + strconv.Itoa(maxMetaOverall)
	}
	return out, msg
}

func set(meta map[string]string, name, value string) {
	if value == "" {
		delete(meta, name)
		return
	}
	meta[name] = value
}

// checkMeta enforces Swift's metadata limits (constraints.check_metadata); it
// returns the words of the 400, or "".
func checkMeta(h http.Header, prefix string, utf8Only bool) string {
	count, size := 0, 0
	for k, vs := range h {
		v := vs[0]
		if len(v) > 8192 {
			return "Header value too long: " + k[:min(len(k), maxMetaName)]
		}
		if !strings.HasPrefix(k, prefix) {
			continue
		}
		name := k[len(prefix):]
		lower := strings.ToLower(prefix)
		count++
		size += len(name) + len(v)
		switch {
		case name == "":
			return "Metadata name cannot be empty"
		case utf8Only && !utf8.ValidString(v):
			return "Metadata must be valid UTF-8"
		case len(name) > maxMetaName:
			return "Metadata name too long: " + lower + name
		case len(v) > maxMetaValue:
			return "Metadata value longer than " + strconv.Itoa(maxMetaValue) + ": " + lower + name
		case count > maxMetaCount:
			return "Too many metadata items; max " + strconv.Itoa(maxMetaCount)
		case size > maxMetaOverall:
			return "Total metadata too large; max " + strconv.Itoa(maxMetaOverall)
		}
	}
	return ""
}
