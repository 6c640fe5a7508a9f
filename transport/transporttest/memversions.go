package transporttest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"farshore/transport"
)

// Versions as Swift's object_versioning keeps them (S7), and as the older
// versioned_writes does.

const (
	nullVersion = "null"
	markerType  = "application/x-deleted;swift_versions_deleted=1"
)

// enabled reports whether a write makes a version.
func (c *memContainer) enabled() bool { return c.header["X-Versions-Enabled"] == "True" }

// ever reports whether there are or were versions.
func (c *memContainer) ever() bool { return c.header["X-Versions-Enabled"] != "" }

// versionID is a time as Swift writes it.
func versionID(t time.Time) string {
	return fmt.Sprintf("%010d.%05d", t.Unix(), t.Nanosecond()/10_000)
}

// asVersion is what stays of an object when a newer one takes its name: expiry is
// the name's, not the version's.
func (o *memObject) asVersion() *memObject {
	v := *o
	v.header, v.expires = v.header.Clone(), 0
	delete(v.header, "X-Delete-At")
	return &v
}

// write makes an object the current one of its name; the lock is held.
func (c *memContainer) write(name string, obj *memObject) {
	obj.id = ""
	if c.enabled() {
		c.keep(name)
		obj.id = versionID(obj.modified)
		c.versions[name] = slices.Insert(c.versions[name], 0, obj.asVersion())
	}
	c.put(name, obj)
}

// keep gives a current object that was written without versions an id and a place among them.
func (c *memContainer) keep(name string) {
	if old := c.objects[name]; old != nil && old.id == "" {
		v := *old // with an expiry of its own
		v.id = versionID(old.modified)
		c.versions[name] = slices.Insert(c.versions[name], 0, &v)
	}
}

// rewrite replaces an object by one with other metadata, which its version gets as well.
func (c *memContainer) rewrite(name string, obj *memObject) {
	for i, v := range c.versions[name] {
		if obj.id != "" && v.id == obj.id {
			c.versions[name] = slices.Clone(c.versions[name])
			c.versions[name][i] = obj.asVersion()
		}
	}
	c.put(name, obj)
}

// unlink deletes as a DELETE without a version does; it gives the marker's id.
func (m *Mem) unlink(op, container, name string) (id string, err error) {
	c := m.containers[container]
	switch {
	case c == nil:
		return "", nil
	case c.enabled():
		c.keep(name)
		marker := &memObject{etag: emptyMD5, header: transport.Header{"Content-Type": markerType}, modified: m.now(), kind: transport.Plain, marker: true}
		marker.id = versionID(marker.modified)
		c.versions[name] = slices.Insert(c.versions[name], 0, marker)
		c.remove(name)
		return marker.id, nil
	case c.header["X-Versions-Location"] != "" && c.objects[name] != nil:
		archive := m.containers[unquotePath(c.header["X-Versions-Location"])]
		if archive == nil {
			break
		}
		if all := archive.archived(name); len(all) > 0 {
			last := all[len(all)-1]
			back := *archive.objects[last]
			back.modified = m.now()
			archive.remove(last)
			c.put(name, &back)
			return "", nil
		}
	case c.header["X-History-Location"] != "" && c.objects[name] != nil:
		if err := m.archive(op, c, name); err != nil {
			return "", err
		}
		at := m.now()
		m.containers[unquotePath(c.header["X-History-Location"])].write(archivePrefix(name)+versionID(at),
			&memObject{etag: emptyMD5, header: transport.Header{"Content-Type": markerType}, modified: at, kind: transport.Plain})
	}
	c.remove(name)
	return "", nil
}

// archivePrefix is what precedes the names of an object's old versions in a
// container that X-Versions-Location or X-History-Location names.
func archivePrefix(name string) string { return fmt.Sprintf("%03x%s/", len(name), name) }

func (c *memContainer) archived(name string) (all []string) {
	for _, n := range c.names() {
		if strings.HasPrefix(n, archivePrefix(name)) {
			all = append(all, n)
		}
	}
	return all
}

// archive copies the current object of a name to where old ones go, before it is overwritten.
func (m *Mem) archive(op string, c *memContainer, name string) error {
	to := unquotePath(c.header["X-Versions-Location"] + c.header["X-History-Location"])
	old := c.objects[name]
	if to == "" || old == nil {
		return nil
	}
	archive := m.containers[to]
	if archive == nil {
		return m.fail(op, c.name, name, transport.Permanent, 412, "412 Precondition Failed")
	}
	kept := *old
	id := versionID(kept.modified)
	kept.modified = m.now()
	archive.write(archivePrefix(name)+id, &kept)
	return nil
}

// version finds one version; "": the current one. The lock is held.
func (m *Mem) version(container, name, version string) *memObject {
	if version == "" {
		return m.find(container, name)
	}
	c := m.containers[container]
	if c == nil {
		return nil
	}
	if version == nullVersion {
		if o := m.find(container, name); o != nil && o.id == "" {
			return o
		}
		return nil
	}
	for _, v := range c.versions[name] {
		if v.id == version && !v.marker && (v.expires == 0 || v.expires > m.o.Now().Unix()) {
			return v
		}
	}
	return nil
}

// Versions implements transport.Source.
func (m *Mem) Versions(ctx context.Context, container string, r transport.Range, yield func([]transport.VersionEntry) error) error {
	if err := m.canceled(ctx, "list", container, ""); err != nil {
		return err
	}
	m.mu.Lock()
	c := m.containers[container]
	if c == nil {
		m.mu.Unlock()
		return m.missing("list", container, "")
	}
	rows := c.frozenV
	if !c.lags {
		rows = c.versionRows()
	}
	m.mu.Unlock()
	var in []transport.VersionEntry
	for _, v := range rows {
		if v.Name > r.After && (r.Through == "" || v.Name <= r.Through) && strings.HasPrefix(v.Name, r.Prefix) {
			in = append(in, v)
		}
	}
	for page := range slices.Chunk(in, m.o.PageSize) {
		if err := m.canceled(ctx, "list", container, ""); err != nil {
			return err
		}
		if err := yield(page); err != nil {
			return err
		}
	}
	return nil
}

// versionRows is the listing with ?versions.
func (c *memContainer) versionRows() []transport.VersionEntry {
	names := slices.Clone(c.names())
	for name := range c.versions {
		names = append(names, name)
	}
	slices.Sort(names)
	var rows []transport.VersionEntry
	for _, name := range slices.Compact(names) {
		current := c.objects[name]
		if current != nil && current.id == "" {
			rows = append(rows, transport.VersionEntry{Entry: current.entry(name), ID: nullVersion, Latest: true})
		}
		for i, v := range c.versions[name] {
			latest := current != nil && current.id == v.id || current == nil && i == 0 && v.marker
			e := v.entry(name)
			if v.kind == transport.Symlink {
				e.Kind, e.Target = v.kind, v.target
			}
			rows = append(rows, transport.VersionEntry{Entry: e, ID: v.id, Latest: latest, Marker: v.marker})
		}
	}
	return rows
}

// HeadVersion implements transport.Source.
func (m *Mem) HeadVersion(ctx context.Context, container, name, version string) (transport.Object, error) {
	if err := m.canceled(ctx, "head", container, name); err != nil {
		return transport.Object{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.version(container, name, version)
	if o == nil {
		err := m.missing("head", container, name)
		if m.marker(container, name, version) {
			err.Err = transport.ErrMarker
		}
		return transport.Object{}, err
	}
	return o.describe(name, version != "" || m.containers[container].ever()), nil
}

// marker reports whether a version is a delete marker; the lock is held.
func (m *Mem) marker(container, name, version string) bool {
	c := m.containers[container]
	return c != nil && slices.ContainsFunc(c.versions[name], func(v *memObject) bool { return v.marker && v.id == version })
}

// DeleteMarker implements transport.Sink.
func (m *Mem) DeleteMarker(ctx context.Context, container, name string) (transport.Receipt, error) {
	if err := m.canceled(ctx, "delete", container, name); err != nil {
		return transport.Receipt{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	id, err := m.unlink("delete", container, name)
	if err != nil || id == "" {
		return transport.Receipt{}, err
	}
	return transport.Receipt{Version: id, Modified: ceil(m.containers[container].versions[name][0].modified)}, nil
}

// DeleteVersion implements transport.Sink.
func (m *Mem) DeleteVersion(ctx context.Context, container, name, version string) error {
	const op = "delete version"
	if err := m.canceled(ctx, op, container, name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.containers[container]
	switch {
	case version == "":
		return m.fail(op, container, name, transport.Permanent, 0, "no version is said")
	case c == nil:
		return nil
	case version != nullVersion && !c.ever():
		return m.fail(op, container, name, transport.Permanent, 400, "400 Bad Request: version-aware operations require that the container is versioned")
	}
	id := version
	if version == nullVersion {
		id = ""
	}
	if now := c.objects[name]; now != nil && now.id == id {
		c.remove(name)
	}
	c.versions[name] = slices.DeleteFunc(slices.Clone(c.versions[name]), func(v *memObject) bool { return v.id == id })
	if len(c.versions[name]) == 0 {
		delete(c.versions, name)
	}
	return nil
}

// Revive implements transport.Sink.
func (m *Mem) Revive(ctx context.Context, container, name, version string) error {
	const op = "revive version"
	if err := m.canceled(ctx, op, container, name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.containers[container]
	switch {
	case version == nullVersion, version == "":
		return m.fail(op, container, name, transport.Permanent, 0, "version %q cannot be made the current one", version)
	case c == nil:
		return m.missing(op, container, name)
	}
	for _, v := range c.versions[name] {
		if v.id == version && v.marker {
			return m.fail(op, container, name, transport.Permanent, 400, "400 Bad Request: Invalid Content-Type, swift_* is not a valid parameter name.")
		}
	}
	if m.version(container, name, version) == nil {
		return m.missing(op, container, name)
	}
	again := *m.version(container, name, version)
	again.modified = m.now()
	c.put(name, &again)
	return nil
}
