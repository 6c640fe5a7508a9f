package fakecloud

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"
)

// copyTo is the COPY method: the same as a PUT with X-Copy-From at the
// Destination.
func (q *request) copyTo() {
	h := q.r.Header
	dest := h.Get("Destination")
	if dest == "" {
		q.failText(http.StatusPreconditionFailed, "Destination header required")
		return
	}
	cont, obj, ok := splitPath(dest)
	if !ok {
		q.failText(http.StatusPreconditionFailed, "Destination header must be of the form <container name>/<object name>")
		return
	}
	from, fromAccount := quotePath("/"+q.cont+"/"+q.obj), q.acct
	if acct := h.Get("Destination-Account"); acct != "" {
		q.acct = lenientPath(acct)
	}
	q.cont, q.obj = cont, obj
	q.copyObject(from, fromAccount)
}

// copyObject is a server-side copy. What it copies is what a GET with the same
// headers would send, conditions and Range included; so If-None-Match: * is a
// 304 on an existing source, and a large object lands as a plain one (L1).
func (q *request) copyObject(from, fromAccount string) {
	h := q.r.Header
	if q.r.ContentLength > 0 {
		q.failPlain(http.StatusBadRequest, "Copy requests require a zero byte body")
		return
	}
	srcAccount := q.acct
	if fromAccount != "" {
		srcAccount = lenientPath(fromAccount)
	}
	srcCont, srcObj, ok := splitPath(from)
	if !ok {
		q.failText(http.StatusPreconditionFailed, "X-Copy-From header must be of the form <container name>/<object name>")
		return
	}
	if code := q.authorize(q.acct, q.cont, q.obj, http.MethodPut); code != 0 {
		q.deny(code)
		return
	}
	if code := q.authorize(srcAccount, srcCont, srcObj, http.MethodGet); code != 0 {
		q.deny(code)
		return
	}
	asManifest := q.q["multipart-manifest"] == "get"
	if asManifest {
		q.q["format"] = "raw"
	}
	src := q.open(srcAccount, srcCont, srcObj)
	if src.obj == nil || src.code != http.StatusOK {
		q.failAnswer(src)
		return
	}
	if code := conditional(h, src.match, src.obj.stamp); code != 0 && q.rg.opts.Profile == Swift {
		src.obj.writeHeaders(q.w.Header())
		q.w.Header()["Etag"], q.w.Header()["Accept-Ranges"] = []string{src.etag}, []string{"bytes"}
		q.done(code)
		return
	}
	content, partial, ok := q.copyContent(src)
	if !ok {
		return
	}
	q.inherit(src, asManifest)
	extra := [][2]string{{"X-Copied-From-Account", srcAccount}, {"X-Copied-From", quotePath(srcCont + "/" + srcObj)},
		{"X-Copied-From-Last-Modified", src.obj.stamp.lastModified()}}
	for k, vs := range h {
		if strings.HasPrefix(k, "X-Object-Meta-") || k == "X-Delete-At" {
			extra = append(extra, [2]string{titled(k), vs[0]})
		}
	}
	if asManifest && src.obj.slo != nil {
		h.Del("If-None-Match")
		q.copying = true
		q.storeManifest(src.obj.slo.raw(), extra)
		return
	}
	q.storeCopy(src, content, partial, extra)
}

// copyContent applies Range and the size limit to what is copied.
func (q *request) copyContent(src answer) (content body, partial, ok bool) {
	content = src.content
	if content.Len() > maxFileSize {
		q.fail(http.StatusRequestEntityTooLarge)
		return nil, false, false
	}
	if ranges, ranged := parseRange(q.r.Header.Get("Range"), content.Len()); ranged {
		if len(ranges) != 1 {
			q.fail(http.StatusRequestedRangeNotSatisfiable)
			return nil, false, false
		}
		return join([]piece{{body: content, off: ranges[0].off, n: ranges[0].n}}), true, true
	}
	return content, false, true
}

// inherit adds to the request what the source has and the client did not say:
// everything, or with X-Fresh-Metadata the type only.
func (q *request) inherit(src answer, asManifest bool) {
	h := q.r.Header
	if h.Get("Content-Type") == "" {
		h["Content-Type"] = []string{src.obj.ctype}
	}
	if asManifest && src.obj.dlo != "" {
		h["X-Object-Manifest"] = []string{src.obj.dlo}
	}
	if isTrue(h.Get("X-Fresh-Metadata")) {
		return
	}
	for _, x := range src.obj.headers {
		if k := http.CanonicalHeaderKey(x.name); h[k] == nil {
			h[k] = []string{x.value}
		}
	}
	if src.obj.deleteAt != 0 && h["X-Delete-At"] == nil && h["X-Delete-After"] == nil {
		w := http.Header{}
		src.obj.writeHeaders(w)
		h["X-Delete-At"] = w["X-Delete-At"]
	}
}

func (q *request) storeCopy(src answer, content body, partial bool, extra [][2]string) {
	h := q.r.Header
	a, c := q.target()
	if c == nil {
		return
	}
	if !q.checkObjectHeaders() || q.overQuota(a, c, content.Len()) {
		return
	}
	large := src.obj.slo != nil || src.obj.dlo != "" && q.q["multipart-manifest"] != "get"
	sum := src.etag
	if large || partial {
		hash := md5.New()
		if err := content.writeTo(hash, 0, content.Len()); err != nil {
			if errors.Is(err, errSegment) {
				q.fail(http.StatusConflict)
				return
			}
			q.fail(http.StatusInternalServerError)
			return
		}
		sum = hex.EncodeToString(hash.Sum(nil))
		if rate := q.rg.opts.CopyRate; rate > 0 {
			if pause(q.w.ctx, time.Duration(float64(content.Len())/float64(rate)*float64(time.Second))) != nil {
				q.w.sever(true)
				return
			}
		}
		// A plain object's copy is checked against the source's own ETag, and what
		// the client says is overridden; only here is the client's Etag enforced.
		if want := strings.Trim(h.Get("Etag"), `" `); want != "" && want != sum && q.rg.opts.Profile == Swift {
			q.w.Header()["Last-Modified"] = []string{q.now.lastModified()}
			q.fail(http.StatusUnprocessableEntity)
			return
		}
	}
	o := &object{body: content, etag: sum, stamp: q.now, sloMark: src.obj.sloMark}
	o.describe(h, q.obj, nil)
	q.commit(c, o, false, o.etag, extra)
}
