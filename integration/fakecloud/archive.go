package fakecloud

import (
	"fmt"
	"math"
	"strings"
)

// The two older modes of versioning (S7; Swift's versioned_writes/legacy.py):
// what is overwritten goes to another container of the user's, and a DELETE
// brings it back (X-Versions-Location) or leaves a marker (X-History-Location).

// archiveName is the container that the header names; what follows a slash in it
// is left out.
func (v *versioning) archiveName() string {
	name, _, _ := strings.Cut(lenientPath(v.archive), "/")
	return name
}

func archivePrefix(name string) string { return fmt.Sprintf("%03x%s/", len(name), name) }

// archiveCurrent copies what name holds to the archive; false when that is not
// there.
func (r *Region) archiveCurrent(a *account, c *container, v *versioning, name string, now stamp) bool {
	old := c.live(name, now)
	if old == nil {
		return true
	}
	to := a.container(v.archiveName())
	if to == nil {
		return false
	}
	kept := *old
	kept.stamp = now
	to.write(archivePrefix(name)+old.stamp.internal(), &kept, now, false)
	return true
}

// archiveDelete is the first half of a DELETE in history mode.
func (r *Region) archiveDelete(a *account, c *container, v *versioning, name string, now stamp) bool {
	to := a.container(v.archiveName())
	if !r.archiveCurrent(a, c, v, name, now) || to == nil {
		return false
	}
	to.write(archivePrefix(name)+r.tick.next().internal(), &object{body: memBody{}, etag: md5Hex(nil), ctype: deleteMarker, stamp: now}, now, false)
	return true
}

// restoreArchived deletes in stack mode: the newest archived version takes the
// place of name. done is false when there is none and the DELETE goes on.
func (r *Region) restoreArchived(a *account, c *container, v *versioning, name string, now stamp) (out outcome, done bool) {
	from := a.container(v.archiveName())
	if from == nil {
		return out, false
	}
	type row struct {
		name string
		obj  *object
	}
	var rows []row
	from.settleLag()
	from.mu.RLock()
	from.page(listOptions{prefix: archivePrefix(name), limit: math.MaxInt, reverse: true}, func(n string, o *object) {
		rows = append(rows, row{n, o})
	})
	from.mu.RUnlock()
	restore := func(from *container, n string) bool {
		o := from.live(n, now)
		if o == nil {
			return false // listed, and gone since
		}
		back := *o
		back.stamp = now
		c.write(name, &back, now, false)
		return true
	}
	for i, old := range rows {
		if old.obj.ctype != deleteMarker {
			if !restore(from, old.name) {
				continue
			}
			return outcome{missing: !from.remove(old.name, now)}, true
		}
		if c.live(name, now) != nil {
			return outcome{}, false // back to the deleted state
		}
		// The marker is current: it goes, and what was before it comes back.
		for _, before := range rows[i+1:] {
			if before.obj.ctype == deleteMarker {
				break
			}
			if restore(from, before.name) {
				from.remove(before.name, now)
				break
			}
		}
		return outcome{missing: !from.remove(old.name, now)}, true
	}
	return outcome{}, false
}
