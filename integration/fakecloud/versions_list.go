package fakecloud

import (
	"net/http"
	"slices"
	"strings"
)

// versionRow is one row of a ?versions listing.
type versionRow struct {
	name   string
	obj    *object // nil: a subdir
	at     *container
	id     string
	latest bool
}

// versionRows joins a page of the container with one of its hidden container,
// as Swift does (object_versioning.py, _list_versions): what has no version yet
// comes first among its name's.
func (c *container) versionRows(hidden *container, own, theirs listOptions) []versionRow {
	type row struct {
		name string
		obj  *object
	}
	rows := func(c *container, o listOptions) (out []row) {
		c.settleLag()
		c.mu.RLock()
		defer c.mu.RUnlock()
		c.page(o, func(name string, obj *object) { out = append(out, row{name, obj}) })
		return out
	}
	var nulls, versions, dirs []versionRow
	var subdirs []string
	current := map[string]*object{} // by the name in the hidden container
	latest := map[string]bool{}
	for _, r := range rows(c, own) {
		switch {
		case r.obj == nil:
			subdirs = append(subdirs, r.name)
		case c.linksOwn(r.obj):
			current[r.obj.link.place("").obj] = r.obj
		default:
			nulls = append(nulls, versionRow{name: r.name, obj: r.obj, at: c, id: "null", latest: true})
			latest[r.name] = true
		}
	}
	if hidden != nil {
		for _, r := range rows(hidden, theirs) {
			if r.obj == nil {
				name, _, _ := strings.Cut(strings.TrimPrefix(r.name, reserved), reserved)
				subdirs = append(subdirs, name)
				continue
			}
			name, id, ok := splitVersion(r.name)
			if !ok {
				continue
			}
			v := versionRow{name: name, obj: r.obj, at: hidden, id: id}
			if current[r.name] != nil || r.obj.ctype == deleteMarker && !latest[name] {
				v.latest, latest[name] = true, true
			}
			versions = append(versions, v)
		}
	}
	slices.Sort(subdirs)
	for _, d := range slices.Compact(subdirs) {
		dirs = append(dirs, versionRow{name: d})
	}
	return slices.Concat(nulls, versions, dirs)
}

// linksOwn says whether o is the current version of an object of c.
func (c *container) linksOwn(o *object) bool {
	v := c.mode.Load()
	return v != nil && v.hidden != "" && o.link != nil && o.link.version != "" &&
		strings.HasPrefix(o.link.target, quotePath(v.hidden)+"/")
}

// listVersions answers GET ?versions, which is JSON or nothing.
func (q *request) listVersions(c *container, own listOptions) {
	h := q.w.Header()
	delete(h, "Vary")
	accept := q.r.Header.Get("Accept")
	if f := q.q["format"]; f != "" {
		accept = map[bool]string{true: "application/json"}[f == "json"]
		if accept == "" {
			accept = "text/plain"
		}
	}
	if accept != "" && !wantsJSON(accept) {
		q.bare()
		q.fail(http.StatusNotAcceptable)
		return
	}
	theirs := listOptions{limit: own.limit, delimiter: q.q["delimiter"], reverse: own.reverse} // no path, no end_marker
	if prefix, ok := q.q["prefix"]; ok {
		theirs.prefix = reserved + prefix
	}
	marker, marked := q.q["marker"]
	if vm, ok := q.q["version_marker"]; ok {
		switch ts, valid := parseStamp(vm); {
		case !marked:
			q.bare()
			q.failText(http.StatusBadRequest, "version_marker param requires marker")
			return
		case vm == "null":
			theirs.marker = marker
		case !valid:
			q.bare()
			q.failText(http.StatusBadRequest, "invalid version_marker param")
			return
		default:
			theirs.marker = versionName(marker, ts)
		}
	} else if marked {
		theirs.marker = reserved + marker + reserved + ":" // after all digits
	}
	if strings.ContainsAny(theirs.delimiter, "0123456789."+reserved) {
		q.bare()
		q.failText(http.StatusBadRequest, "invalid delimiter param")
		return
	}
	rows := c.versionRows(q.rg.account(q.acct).container(hiddenName(c.name)), own, theirs)
	slices.SortStableFunc(rows, func(a, b versionRow) int {
		if own.reverse {
			a, b = b, a
		}
		return strings.Compare(a.name, b.name)
	})
	rows = rows[:min(len(rows), own.limit)]
	l := newListing(jsonFormat, "container", c.name)
	for i := range rows {
		l.version(&rows[i], q.acct, q.rg.opts.Profile)
	}
	q.sendListing(l)
}

// wantsJSON says whether an Accept header allows application/json.
func wantsJSON(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		switch mime, _, _ := strings.Cut(strings.TrimSpace(part), ";"); mime {
		case "*/*", "application/*", "application/json":
			return true
		}
	}
	return false
}
