package transporttest

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"slices"
	"strconv"

	"farshore/transport"
)

// The methods of this file look at or change a Mem behind the endpoint's back.
// They panic where the test itself is wrong (a container that is not there).

// Set writes an object as another client of the account would, and describes it.
// The container is made if it is missing.
func (m *Mem) Set(container, name string, data []byte, h transport.Header) transport.Object {
	sum := md5.Sum(data)
	return m.set(container, name, &memObject{data: slices.Clone(data), etag: hex.EncodeToString(sum[:]), kind: kindOf(h), header: h.Clone()})
}

// SetSymlink makes a symlink to "container/name", URL-encoded.
func (m *Mem) SetSymlink(container, name, target string) transport.Object {
	return m.set(container, name, &memObject{etag: emptyMD5, kind: transport.Symlink,
		header: transport.Header{"Content-Type": "application/symlink", transport.TargetHeader: target}})
}

// SetDLO makes a dynamic large object of "container/prefix", URL-encoded.
func (m *Mem) SetDLO(container, name, target string) transport.Object {
	return m.set(container, name, &memObject{etag: emptyMD5, kind: transport.DLO, header: transport.Header{transport.ManifestHeader: target}})
}

const emptyMD5 = "d41d8cd98f00b204e9800998ecf8427e"

func (m *Mem) set(container, name string, o *memObject) transport.Object {
	if err := m.CreateContainer(context.Background(), container, nil); err != nil {
		panic(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if o.header["Content-Type"] == "" {
		o.header["Content-Type"] = "application/octet-stream"
	}
	if at, err := strconv.ParseInt(o.header["X-Delete-At"], 10, 64); err == nil {
		o.expires = at
	}
	if o.kind == transport.Symlink {
		o.target = m.pointsTo(o.header)
	}
	c := m.containers[container]
	if err := m.archive("put", c, name); err != nil {
		panic(err)
	}
	o.modified = m.now()
	c.write(name, o)
	return o.describe(name, c.ever())
}

// Get shows an object and what Open reads of it; ok is false if there is none.
func (m *Mem) Get(container, name string) (o transport.Object, data []byte, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	obj := m.find(container, name)
	if obj == nil {
		return transport.Object{}, nil, false
	}
	d := obj.describe(name, m.containers[container].ever())
	data, err := m.content("get", container, name, obj)
	if err != nil {
		return d, nil, true
	}
	return d, slices.Clone(data), true
}

// Names lists a container's objects as they are, whatever its listing shows; nil if there is none.
func (m *Mem) Names(container string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.containers[container]
	if c == nil {
		return nil
	}
	return slices.Clone(c.names())
}

// Remove deletes an object as another client would.
func (m *Mem) Remove(container, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.unlink("delete", container, name); err != nil {
		panic(err)
	}
}

// RemoveContainer deletes a container with all that is in it.
func (m *Mem) RemoveContainer(container string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.containers, container)
}

// Rot changes an object's bytes but not its ETag or timestamp, as a failing disk does.
func (m *Mem) Rot(container, name string, spoil func(data []byte) []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.containers[container].objects[name]
	fresh := *old
	fresh.data = spoil(slices.Clone(old.data))
	m.containers[container].objects[name] = &fresh
}

// Freeze makes a container's listing and counters stay as they are now: it lags.
func (m *Mem) Freeze(container string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.containers[container]
	c.frozen, c.lags = nil, false
	var all []transport.Entry
	for _, e := range c.listing(transport.Range{}) {
		all = append(all, e)
	}
	c.frozen, c.frozenV, c.lags = all, c.versionRows(), true
}

// Thaw lets the listing catch up.
func (m *Mem) Thaw(container string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.containers[container]
	c.frozen, c.lags = nil, false
}

// Expire removes what has passed its X-Delete-At, as the object expirer does, and
// gives the number of objects removed.
func (m *Mem) Expire() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.containers {
		for name, o := range c.objects {
			if o.expires != 0 && o.expires <= m.o.Now().Unix() {
				c.remove(name)
				n++
			}
		}
	}
	return n
}

// SetQuota bounds the account's bytes; -1: no bound.
func (m *Mem) SetQuota(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.quota = bytes
}

// SetAbilities changes what the account says of itself.
func (m *Mem) SetAbilities(change func(a *transport.Abilities)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(&m.abilities)
}

// Copy gives an account with the same content, which goes on by itself.
func (m *Mem) Copy() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &Mem{o: m.o, containers: map[string]*memContainer{}, last: m.last, abilities: m.abilities, header: m.header.Clone(), quota: m.quota}
	again := func(o *memObject) *memObject {
		x := *o
		x.header = o.header.Clone()
		return &x
	}
	for name, of := range m.containers {
		x := *of
		x.header, x.objects, x.versions, x.sorted = of.header.Clone(), map[string]*memObject{}, map[string][]*memObject{}, nil
		for n, o := range of.objects {
			x.objects[n] = again(o)
		}
		for n, all := range of.versions {
			for _, o := range all {
				x.versions[n] = append(x.versions[n], again(o))
			}
		}
		c.containers[name] = &x
	}
	return c
}
