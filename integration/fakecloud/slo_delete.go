package fakecloud

import (
	"net/http"
	"slices"
	"strings"
)

// deleteManifest removes a large object with its segments and says how it went.
// As in Swift, manifests are read first, so a segment that is named twice counts
// as deleted once and not found once.
func (q *request) deleteManifest() {
	if q.rg.opts.AsyncDelete && isTrue(q.q["async"]) {
		q.deleteAsync()
		return
	}
	r := newReport(q)
	r.counts, r.root = true, "delete"
	type item struct {
		place
		version  string
		manifest bool
	}
	own := place{q.acct, q.cont, q.obj}
	queue := []item{{own, q.q["version-id"], true}}
	for len(queue) > 0 {
		it := queue[0]
		queue = queue[1:]
		if !it.manifest {
			q.unlink(it.place, it.version, r)
			continue
		}
		m, problem := q.manifestAt(it.place)
		switch {
		case problem == notFound:
			r.notFound++
			continue
		case problem != "":
			r.problem(quotePath("/"+it.cont+"/"+it.obj), problem)
			continue
		case len(queue) > maxManifestSegments*10:
			r.problem(quotePath("/"+it.cont+"/"+it.obj), "Too many buffered slo segments to delete.")
			continue
		}
		for i := range m.segments {
			if s := &m.segments[i]; s.inline == nil {
				cont, obj, _ := strings.Cut(strings.TrimPrefix(s.name, "/"), "/")
				queue = append(queue, item{place: place{q.acct, cont, obj}, manifest: s.nested})
			}
		}
		queue = append(queue, item{it.place, it.version, false})
	}
	code := http.StatusOK
	if len(r.errors) > 0 {
		code = http.StatusBadRequest
	}
	r.finish(code)
}

// deleteAsync has the segments deleted later, which here is at once, and answers
// like a DELETE of the manifest. They must be plain and in one container.
func (q *request) deleteAsync() {
	own := place{q.acct, q.cont, q.obj}
	m, problem := q.manifestAt(own)
	switch problem {
	case "":
	case notFound:
		q.failText(http.StatusNotFound, problem)
		return
	case "Not an SLO manifest":
		q.failText(http.StatusBadRequest, problem)
		return
	case status(http.StatusUnauthorized):
		q.w.Header()["Www-Authenticate"] = []string{`Swift realm="unknown"`, q.keystoneURI()}
		q.failText(http.StatusUnauthorized, problem)
		return
	default:
		q.failText(http.StatusInternalServerError, problem)
		return
	}
	var names, conts []string
	for i := range m.segments {
		s := &m.segments[i]
		if s.inline != nil {
			continue
		}
		if s.nested {
			q.failText(http.StatusBadRequest, "No segments may be large objects.")
			return
		}
		cont, obj, _ := strings.Cut(strings.TrimPrefix(s.name, "/"), "/")
		names = append(names, obj)
		if !slices.Contains(conts, cont) {
			conts = append(conts, cont)
		}
	}
	if len(conts) > 1 {
		for i := range conts {
			conts[i] = `"` + quotePath(conts[i]) + `"`
		}
		q.failText(http.StatusBadRequest, "All segments must be in one container. Found segments in "+strings.Join(conts, ", "))
		return
	}
	for _, cont := range append(conts, q.cont) {
		if code := q.authorize(q.acct, cont, "x", http.MethodDelete); code != 0 {
			q.deny(code)
			return
		}
	}
	for _, n := range names {
		// The expirer goes past versioning.
		if c := q.rg.account(q.acct).container(conts[0]); c != nil {
			c.remove(n, q.now)
		}
	}
	q.deleteObject()
}

const notFound = "SLO manifest not found"

// manifestAt reads the manifest at p, by the query's version-id; problem is
// what Swift says when that cannot be done.
func (q *request) manifestAt(p place) (m *sloManifest, problem string) {
	sub := *q
	sub.q = params{"version-id": q.q["version-id"]}
	a := answer{code: q.authorize(p.acct, p.cont, p.obj, http.MethodGet)}
	if v := q.modeAt(p); a.code == 0 && sub.q["version-id"] != "" && sub.q["version-id"] != "null" {
		if _, ok := parseStamp(sub.q["version-id"]); !ok || v == nil || v.hidden == "" {
			a.code = http.StatusBadRequest
		}
	}
	if a.code == 0 {
		a = sub.resolve(p)
	}
	switch {
	case a.code == http.StatusNotFound:
		return nil, notFound
	case a.code == http.StatusUnauthorized:
		return nil, status(http.StatusUnauthorized)
	case a.code != 0:
		return nil, "Unable to load SLO manifest or segment."
	case a.obj.slo == nil:
		return nil, "Not an SLO manifest"
	}
	return a.obj.slo, ""
}

// unlink deletes one object, or one version of it, and counts it.
func (q *request) unlink(p place, version string, r *report) {
	if code := q.authorize(p.acct, p.cont, p.obj, http.MethodDelete); code != 0 {
		r.problem(quotePath("/"+p.cont+"/"+p.obj), status(code))
		return
	}
	a := q.rg.account(p.acct)
	c := a.container(p.cont)
	if c == nil {
		r.notFound++
		return
	}
	var out outcome
	if version != "" {
		ts, _ := parseStamp(version)
		out = q.deleteVersion(p, version, ts)
	} else {
		out = q.rg.erase(a, c, p.obj, q.rg.tick.next())
	}
	switch {
	case out.code != 0:
		r.problem(quotePath("/"+p.cont+"/"+p.obj), status(out.code))
	case out.missing:
		r.notFound++
	default:
		r.deleted++
	}
}
