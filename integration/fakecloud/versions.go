package fakecloud

import (
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Object versions lie as in Swift (S7): a versioned container has a hidden one,
// whose objects are named by object and, counting down, time; what the user's
// container holds is a static link to the current of them. So a listing of the
// hidden container is one of the versions, newest first.

// reserved starts and separates the parts of names that no client can address.
const reserved = "\x00"

// deleteMarker is the type of the version that a DELETE leaves.
const deleteMarker = "application/x-deleted;swift_versions_deleted=1"

// versioning is how a container keeps what is overwritten and deleted.
type versioning struct {
	hidden  string // container of the versions, once versioning was enabled
	enabled bool
	told    bool   // enabled was set to whatever it is
	archive string // the older modes: the container that X-Versions-Location names, quoted
	history bool   // X-History-Location: a DELETE leaves a marker
}

func hiddenName(cont string) string { return reserved + "versions" + reserved + cont }

// versionName is the name of a version in the hidden container.
func versionName(obj string, ts stamp) string {
	return reserved + obj + reserved + (maxStamp - ts).internal()
}

// splitVersion undoes versionName.
func splitVersion(name string) (obj, id string, ok bool) {
	rest, ok := strings.CutPrefix(name, reserved)
	if !ok {
		return name, "", false
	}
	obj, inv, ok := strings.Cut(rest, reserved)
	ts, valid := parseStamp(inv)
	return obj, (maxStamp - ts).internal(), ok && valid
}

// maxStamp is the last time that a Swift timestamp can tell.
const maxStamp = stamp(999_999_999_999_999)

// internal renders a timestamp as names and version ids have it.
func (s stamp) internal() string {
	v := s.header()
	if n := len("1795367109.44684") - len(v); n > 0 {
		v = strings.Repeat("0", n) + v
	}
	return v
}

// parseStamp reads a timestamp as a client may write it.
func parseStamp(s string) (stamp, bool) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f >= 0 && f < 1e10) {
		return 0, false
	}
	return stamp(math.Round(f * stampsPerSecond)), true
}

// outcome of a write or delete by the container's rules of versioning.
type outcome struct {
	verdict
	code    int    // an error, when not 0
	text    string // of the error
	version string // X-Object-Version-Id
	current string // X-Object-Current-Version-Id
	missing bool   // nothing was there to delete
}

// noHidden is what Swift says when the hidden container has gone.
func noHidden() outcome {
	return outcome{code: http.StatusInternalServerError,
		text: "The versions container does not exist. You may want to re-enable object versioning."}
}

// save stores o in c under name, after what the name held is kept.
func (r *Region) save(a *account, c *container, name string, o *object, now stamp, onlyNew bool) outcome {
	v := c.mode.Load()
	switch {
	case v == nil:
		return outcome{verdict: c.write(name, o, now, onlyNew)}
	case v.archive != "":
		if !r.archiveCurrent(a, c, v, name, now) {
			return outcome{code: http.StatusPreconditionFailed}
		}
	case v.enabled:
		return r.saveVersion(a, c, v, name, o, now, onlyNew)
	}
	return outcome{verdict: c.write(name, o, now, onlyNew)}
}

// keepCurrent moves an object from before versioning was enabled among the
// versions; false when there is no place for them.
func keepCurrent(c, hidden *container, name string, now stamp) bool {
	old := c.live(name, now)
	if old == nil || old.link != nil && old.link.version != "" {
		return true
	}
	if hidden == nil {
		return false
	}
	kept := *old
	kept.stamp = now
	hidden.write(versionName(name, old.stamp), &kept, now, false)
	return true
}

func (r *Region) saveVersion(a *account, c *container, v *versioning, name string, o *object, now stamp, onlyNew bool) outcome {
	hidden := a.container(v.hidden)
	if !keepCurrent(c, hidden, name, now) || hidden == nil {
		return noHidden()
	}
	// X-Delete-At is the link's: the version stays.
	body := *o
	body.deleteAt = 0
	hidden.write(versionName(name, now), &body, now, false)
	return r.linkVersion(c, v, name, o, now, now, onlyNew)
}

// linkVersion makes version ts of name, which is o, the current one.
func (r *Region) linkVersion(c *container, v *versioning, name string, o *object, ts, now stamp, onlyNew bool) outcome {
	l := &symlink{target: quotePath(v.hidden + "/" + versionName(name, ts)), version: ts.internal(),
		etag: o.etag, bytes: o.listedSize()}
	if o.slo != nil {
		l.sloETag = o.slo.etag
	}
	if o.link != nil && o.link.etag != "" {
		l.etag, l.bytes, l.sloETag = o.link.etag, o.link.bytes, o.link.sloETag
	}
	ctype, _, _ := strings.Cut(o.ctype, ";")
	link := &object{body: memBody{}, etag: md5Hex(nil), ctype: ctype, stamp: now, headers: o.headers, deleteAt: o.deleteAt, link: l}
	return outcome{verdict: c.write(name, link, now, onlyNew), version: ts.internal()}
}

// erase deletes name, keeping what it held if the container says so.
func (r *Region) erase(a *account, c *container, name string, now stamp) outcome {
	v := c.mode.Load()
	switch {
	case v == nil:
	case v.archive != "" && v.history:
		if !r.archiveDelete(a, c, v, name, now) {
			return outcome{code: http.StatusPreconditionFailed}
		}
	case v.archive != "":
		if out, done := r.restoreArchived(a, c, v, name, now); done {
			return out
		}
	case v.enabled:
		hidden := a.container(v.hidden)
		if !keepCurrent(c, hidden, name, now) {
			return noHidden()
		}
		if hidden == nil {
			return outcome{code: http.StatusPreconditionFailed}
		}
		hidden.write(versionName(name, now), &object{body: memBody{}, etag: md5Hex(nil), ctype: deleteMarker, stamp: now}, now, false)
		return outcome{missing: !c.remove(name, now), version: now.internal()}
	}
	return outcome{missing: !c.remove(name, now)}
}

// modeAt is how the container at p is versioned; nil when it is not.
func (q *request) modeAt(p place) *versioning {
	if c := q.rg.account(p.acct).container(p.cont); c != nil {
		return c.mode.Load()
	}
	return nil
}

// versionAsked checks ?version-id=; false when it has answered.
func (q *request) versionAsked(p place) (id string, ts stamp, ok bool) {
	id = q.q["version-id"]
	if id == "" {
		return "", 0, true
	}
	v := q.modeAt(p)
	switch {
	case q.r.Method == http.MethodPost:
		q.failText(http.StatusBadRequest, "POST to a specific version is not allowed")
		return id, 0, false
	case id == "null":
		return id, 0, true
	case v == nil || v.hidden == "":
		q.failText(http.StatusBadRequest, "version-aware operations require that the container is versioned")
		return id, 0, false
	}
	if ts, ok = parseStamp(id); !ok {
		q.failText(http.StatusBadRequest, "Invalid version parameter")
	}
	return id, ts, ok
}

// resolve finds what a read of p means: a version, or the current one.
func (q *request) resolve(p place) answer {
	v := q.modeAt(p)
	id := q.q["version-id"]
	switch {
	case id == "null":
		a := q.follow(p, "", true)
		if a.code == 0 && strings.Contains(lenientPath(a.location), reserved+"versions"+reserved) {
			return answer{code: http.StatusNotFound}
		}
		if a.code == 0 {
			a.version = "null"
		}
		return a
	case id != "":
		ts, _ := parseStamp(id)
		at := place{p.acct, v.hidden, versionName(p.obj, ts)}
		if code := q.authorize(at.acct, at.cont, at.obj, q.r.Method); code != 0 {
			return answer{code: code}
		}
		a := q.follow(at, "", true)
		switch {
		case a.code != 0:
		case a.obj.ctype == deleteMarker:
			return answer{code: http.StatusNotFound, ctype: deleteMarker, version: id}
		default:
			a.version = id
		}
		return a
	}
	a := q.follow(p, "", true)
	if v != nil && v.hidden != "" {
		a.nameVersion(p, v)
	}
	return a
}

// nameVersion tells the version in the place of where it is hidden.
func (a *answer) nameVersion(p place, v *versioning) {
	a.version = "null"
	own := "/v1/" + p.acct + "/" + v.hidden + "/"
	if name, ok := strings.CutPrefix(lenientPath(a.location), own); ok {
		if _, id, ok := splitVersion(name); ok {
			a.version = id
			a.location = p.path() + "?version-id=" + id
		}
	}
	for i, x := range a.extra {
		if name, ok := strings.CutPrefix(lenientPath(x[1]), v.hidden+"/"); ok && x[0] == "X-Symlink-Target" {
			if _, id, ok := splitVersion(name); ok {
				a.version = id
				a.extra[i][1] = quotePath(p.cont+"/"+p.obj) + "?version-id=" + id
			}
		}
	}
}

// putVersion makes an older version the current one.
func (q *request) putVersion(id string, ts stamp, size int64) {
	a, c := q.target()
	if c == nil {
		return
	}
	v := c.mode.Load()
	switch {
	case size > 0:
		q.failPlain(http.StatusBadRequest, "PUT version-id requests require a zero byte body")
		return
	case id == "null":
		q.failPlain(http.StatusInternalServerError, swiftFails) // Swift does not foresee it
		return
	}
	hidden := a.container(v.hidden)
	if hidden == nil {
		out := noHidden()
		q.failPlain(out.code, out.text)
		return
	}
	o := hidden.live(versionName(q.obj, ts), q.now)
	if o == nil {
		q.failPlain(http.StatusNotFound, "The specified version does not exist")
		return
	}
	if o.ctype == deleteMarker { // refused as a client's own content type
		q.w.Header()["Etag"], q.w.Header()["X-Object-Version-Id"] = []string{o.etag}, []string{ts.internal()}
		q.failText(http.StatusBadRequest, "Invalid Content-Type, swift_* is not a valid parameter name.")
		return
	}
	link := *o
	link.describe(q.r.Header, q.obj, o)
	link.ctype, link.dlo = o.ctype, ""
	q.replyStored(q.rg.linkVersion(c, v, q.obj, &link, ts, q.now, false), o.etag, nil)
}

// deleteVersion deletes one version for good, and the link if it is current.
func (q *request) deleteVersion(p place, id string, ts stamp) outcome {
	a := q.rg.account(p.acct)
	c := a.container(p.cont)
	if id == "null" {
		return outcome{missing: !c.remove(p.obj, q.now)}
	}
	v := c.mode.Load()
	out := outcome{version: id, current: "null"}
	current, trusted := c.live(p.obj, q.now), false
	switch {
	case current == nil || current.link == nil || current.link.version == "":
	case current.link.version == ts.internal():
		// Who may delete the link may delete what it leads to: Swift asks once.
		trusted = c.remove(p.obj, q.now)
	default:
		out.current = current.link.version
	}
	if !trusted {
		if out.code = q.authorize(p.acct, v.hidden, versionName(p.obj, ts), http.MethodDelete); out.code != 0 {
			return out
		}
	}
	hidden := a.container(v.hidden)
	out.missing = hidden == nil || !hidden.remove(versionName(p.obj, ts), q.now)
	return out
}

// dropContainer removes an empty container with its hidden one: 0, or why not.
func (r *Region) dropContainer(a *account, c *container) (code int, text string) {
	if v := c.mode.Load(); v != nil && v.hidden != "" {
		if hidden := a.container(v.hidden); hidden != nil && !a.drop(hidden, false) {
			return http.StatusConflict, "Delete all versions before deleting container."
		}
	}
	if !a.drop(c, false) {
		return http.StatusConflict, ""
	}
	return 0, ""
}

// Version is one version of an object as tests see it.
type Version struct {
	Object
	ID      string // X-Object-Version-Id; "null" for one from before versioning
	Deleted bool   // a delete marker
	Latest  bool
}

// Versions lists all versions in a versioned container, by name and from the
// newest to the oldest; nil when it never was versioned.
func (r *Region) Versions(containerName string) []Version {
	a := r.account(r.accountName())
	c := a.container(containerName)
	if c == nil || c.mode.Load() == nil || c.mode.Load().hidden == "" {
		return nil
	}
	var out []Version
	for _, row := range c.versionRows(a.container(c.mode.Load().hidden), listOptions{limit: math.MaxInt}, listOptions{limit: math.MaxInt}) {
		out = append(out, Version{Object: row.obj.public(row.name), ID: row.id, Deleted: row.obj.ctype == deleteMarker, Latest: row.latest})
	}
	slices.SortStableFunc(out, func(a, b Version) int { return strings.Compare(a.Name, b.Name) })
	return out
}
