package fakecloud

import (
	"net/http"
	"strings"
)

// versioningChange is what a PUT or POST of a container says of versions; the
// zero value says nothing.
type versioningChange struct {
	set     bool
	enabled bool
	old     bool // about the older modes: archive, or none when that is empty
	archive string
	history bool
}

// readVersioning reads the headers; false when it has answered that they do not
// go together. c is nil for a container to be made.
func (q *request) readVersioning(c *container) (versioningChange, bool) {
	h := q.r.Header
	var out versioningChange
	var now versioning
	if c != nil && c.mode.Load() != nil {
		now = *c.mode.Load()
	}
	stack, hasStack := h["X-Versions-Location"]
	history, hasHistory := h["X-History-Location"]
	switch {
	case hasStack && hasHistory && stack[0] != "" && history[0] != "":
		q.failPlain(http.StatusBadRequest, "Only one of x-versions-location or x-history-location may be specified")
		return out, false
	case hasHistory && (!hasStack || history[0] != ""):
		out.old, out.history, out.archive = true, true, history[0]
	case hasStack:
		out.old, out.archive = true, stack[0]
	}
	if strings.Contains(out.archive, "/") {
		q.failText(http.StatusPreconditionFailed, "Container name cannot contain slashes")
		return out, false
	}
	if out.archive == "" && (h.Get("X-Remove-Versions-Location") != "" || h.Get("X-Remove-History-Location") != "") {
		out.old = true
	}
	if v, ok := h["X-Versions-Enabled"]; ok {
		out.set, out.enabled = true, isTrue(v[0])
		syncs := false
		if c != nil {
			c.mu.RLock()
			syncs = c.meta["X-Container-Sync-To"] != ""
			c.mu.RUnlock()
		}
		switch {
		case now.archive != "":
			q.failText(http.StatusBadRequest, "Cannot enable object versioning on a container that is already using "+
				"the legacy versioned writes feature.")
			return out, false
		case syncs:
			q.failText(http.StatusBadRequest, "Cannot enable object versioning on a container configured as source "+
				"of container syncing.")
			return out, false
		}
	}
	return out, true
}

// setVersioning applies a change; enabling makes the hidden container.
func (r *Region) setVersioning(a *account, c *container, ch versioningChange, now stamp) {
	if !ch.set && !ch.old {
		return
	}
	v := &versioning{}
	if old := c.mode.Load(); old != nil {
		*v = *old
	}
	if ch.old {
		v.archive, v.history = ch.archive, ch.history
	}
	if ch.set {
		v.told, v.enabled = true, ch.enabled
		if ch.enabled {
			v.hidden = hiddenName(c.name)
			r.makeContainer(a, v.hidden, c.policy, now)
		}
	}
	if *v == (versioning{}) {
		v = nil
	}
	c.mode.Store(v)
}

func (v *versioning) writeHeaders(h http.Header) {
	if v.told {
		h["X-Versions-Enabled"] = []string{map[bool]string{true: "True", false: "False"}[v.enabled]}
	}
	switch {
	case v.archive == "":
	case v.history:
		h["X-History-Location"] = []string{v.archive}
	default:
		h["X-Versions-Location"] = []string{v.archive}
	}
}

// hiddenBytes is what the versions of c take.
func (a *account) hiddenBytes(c *container) int64 {
	v := c.mode.Load()
	if v == nil || v.hidden == "" {
		return 0
	}
	hidden := a.container(v.hidden)
	if hidden == nil {
		return 0
	}
	hidden.mu.RLock()
	defer hidden.mu.RUnlock()
	return hidden.bytes
}
