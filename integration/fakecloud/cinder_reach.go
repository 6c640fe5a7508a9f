package fakecloud

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// BlockVolume is a handle on a volume for tests, which reach its bytes without
// Cinder. Its methods are safe for concurrent use.
type BlockVolume struct {
	c *cinder
	v *volume
}

// Volume finds a volume of any project by its id; nil if there is none.
func (r *Region) Volume(id string) *BlockVolume {
	c := r.block
	c.settle()
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.volumes[id]
	if v == nil {
		return nil
	}
	return &BlockVolume{c, v}
}

// AddVolume makes an available volume of Project with that many GiB of zeros,
// without a request; typ "" is the default type.
func (r *Region) AddVolume(name string, size int, typ string, metadata map[string]string) *BlockVolume {
	c := r.block
	c.mu.Lock()
	defer c.mu.Unlock()
	v := &volume{head: head{id: newUUID(), name: &name, project: r.ks.project(Project).ID, status: stAvailable, size: size,
		meta: nonNil(metadata), created: c.now()}, typ: c.types[0], zone: c.opts.Zones[0], disk: newDisk(c.bytes(size)), launched: c.now()}
	for _, u := range r.ks.users {
		if u.Name == User {
			v.user = u.ID
		}
	}
	if t := c.typeOf(typ); t != nil {
		v.typ = t
	}
	if v.typ.Encrypted {
		v.key = newUUID()
	}
	c.volumes[v.id] = v
	return &BlockVolume{c, v}
}

// ID is the volume's id.
func (b *BlockVolume) ID() string { return b.v.id }

// Size is the volume's size in bytes.
func (b *BlockVolume) Size() int64 {
	b.c.mu.Lock()
	defer b.c.mu.Unlock()
	return b.v.disk.size
}

// Status is the volume's status.
func (b *BlockVolume) Status() string {
	b.c.settle()
	b.c.mu.Lock()
	defer b.c.mu.Unlock()
	return b.v.status
}

// ReadAt fills p from off, with zeros past the end. It never fails.
func (b *BlockVolume) ReadAt(p []byte, off int64) (int, error) {
	b.c.settle()
	b.c.mu.Lock()
	defer b.c.mu.Unlock()
	b.v.disk.readAt(p, off)
	return len(p), nil
}

// WriteAt writes p at off, as a guest would. It never fails.
func (b *BlockVolume) WriteAt(p []byte, off int64) (int, error) {
	b.c.settle()
	b.c.mu.Lock()
	defer b.c.mu.Unlock()
	b.v.disk.writeAt(p, off)
	return len(p), nil
}

// Equal says whether the two volumes have the same bytes up to the shorter's
// end, and if not where the first difference is.
func (b *BlockVolume) Equal(o *BlockVolume) (bool, int64) {
	mine, its := make([]byte, diskPage), make([]byte, diskPage)
	for off := int64(0); off < min(b.Size(), o.Size()); off += diskPage {
		_, _ = b.ReadAt(mine, off)
		_, _ = o.ReadAt(its, off)
		for i := range mine {
			if mine[i] != its[i] {
				return false, off + int64(i)
			}
		}
	}
	return true, 0
}

// Attach marks the volume as in use by a server, Detach as available again.
func (b *BlockVolume) Attach(server, device string) {
	b.c.mu.Lock()
	defer b.c.mu.Unlock()
	a := &attachment{id: newUUID(), volume: b.v.id, instance: server, device: device, mode: "rw", status: "attached",
		project: b.v.project, at: b.c.now()}
	b.c.attachments[a.id] = a
	b.v.status, b.v.updated = stInUse, b.c.now()
	b.v.attachMeta = map[string]string{"attached_mode": "rw", "readonly": "False"}
}

// Detach ends Attach.
func (b *BlockVolume) Detach() {
	b.c.mu.Lock()
	defer b.c.mu.Unlock()
	b.c.detachAll(b.v.id)
	b.v.status, b.v.updated = stAvailable, b.c.now()
	delete(b.v.attachMeta, "attached_mode")
}

// SetImage gives the volume image metadata and makes it bootable, as a volume
// made of an image is.
func (b *BlockVolume) SetImage(m map[string]string) {
	b.c.mu.Lock()
	defer b.c.mu.Unlock()
	b.v.image, b.v.bootable = maps.Clone(m), true
}

// BlockResource is a volume, snapshot or backup as tests count them.
type BlockResource struct {
	Kind      string            `json:"kind"` // volume, snapshot or backup
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	Status    string            `json:"status"`
	Project   string            `json:"project"`             // by name
	Volume    string            `json:"volume,omitempty"`    // of a snapshot or backup
	Parent    string            `json:"parent,omitempty"`    // of a backup
	Container string            `json:"container,omitempty"` // of a backup
	Prefix    string            `json:"prefix,omitempty"`    // of a backup
	Size      int               `json:"size"`
	Metadata  map[string]string `json:"metadata"`
	Created   time.Time         `json:"created"`
}

// BlockResources lists everything that Cinder has, of all projects, by kind and
// then name and id.
func (r *Region) BlockResources() []BlockResource {
	c := r.block
	c.settle()
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []BlockResource
	add := func(kind string, h *head) *BlockResource {
		p := h.project
		if known := r.ks.project(p); known != nil {
			p = known.Name
		}
		out = append(out, BlockResource{Kind: kind, ID: h.id, Name: text(h.name), Status: h.status, Project: p, Size: h.size,
			Metadata: nonNil(h.meta), Created: h.created})
		return &out[len(out)-1]
	}
	for _, v := range c.volumes {
		add("volume", &v.head)
	}
	for _, s := range c.snapshots {
		add("snapshot", &s.head).Volume = s.volume
	}
	for _, b := range c.backups {
		x := add("backup", &b.head)
		x.Volume, x.Parent, x.Container, x.Prefix = b.volume, b.parent, text(b.container), text(b.prefix)
	}
	slices.SortFunc(out, func(a, b BlockResource) int {
		return strings.Compare(a.Kind+"\x00"+a.Name+"\x00"+a.ID, b.Kind+"\x00"+b.Name+"\x00"+b.ID)
	})
	return out
}

// SetBlockStatus sets the status of a volume, snapshot or backup; false if there
// is none of that id.
func (r *Region) SetBlockStatus(id, status string) bool {
	c := r.block
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range []*head{headOf(c.volumes[id]), headOf(c.snapshots[id]), headOf(c.backups[id])} {
		if h != nil {
			h.status = status
			return true
		}
	}
	return false
}

func headOf[T any, P interface {
	*T
	base() *head
}](x P) *head {
	if x == nil {
		return nil
	}
	return x.base()
}

// SetQuota sets a limit of one of the projects by its name: volumes, gigabytes,
// snapshots, backups, backup_gigabytes or per_volume_gigabytes; -1 is none.
func (r *Region) SetQuota(projectName, resource string, limit int) {
	c := r.block
	c.mu.Lock()
	defer c.mu.Unlock()
	p := r.ks.project(projectName)
	if p == nil {
		return
	}
	if c.limits[p.ID] == nil {
		c.limits[p.ID] = map[string]int{}
	}
	c.limits[p.ID][resource] = limit
}
