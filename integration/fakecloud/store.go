package fakecloud

import (
	"crypto/md5"
	"encoding/hex"
	"maps"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
)

// header is one stored header with the spelling that replies use.
type header struct{ name, value string }

// object is one version of an object. It never changes once stored: POST and
// PUT store another.
type object struct {
	body     body
	etag     string // MD5 of body; of the manifest JSON for an SLO
	ctype    string
	stamp    stamp    // X-Timestamp; a POST moves it, and with it last_modified
	headers  []header // user metadata and the allowed standard headers (S1)
	deleteAt int64    // seconds since the epoch, 0 = never
	slo      *sloManifest
	dlo      string // X-Object-Manifest as sent
	link     *symlink
	// sloMark is the ETag of the SLO that this object is or was copied from.
	// Swift copies that system metadata along, X-Fresh-Metadata or not, and
	// compares If-Match and If-None-Match with it instead of the shown ETag:
	// a collapsed copy answers 412 to its own MD5 (seen on Swift 2.30).
	sloMark string
}

// listedSize is what a listing shows; an SLO's is that of its content (S4).
func (o *object) listedSize() int64 {
	if o.slo != nil {
		return o.slo.size
	}
	return o.body.Len()
}

// expired says whether X-Delete-At has passed.
func (o *object) expired(now stamp) bool {
	return o.deleteAt != 0 && o.deleteAt*stampsPerSecond <= int64(now)
}

// container is one container; mu guards everything but the objects' content.
type container struct {
	name    string
	policy  string
	created stamp
	mode    atomic.Pointer[versioning] // nil: overwritten is gone

	mu       sync.RWMutex
	modified stamp             // of the container's own headers
	meta     map[string]string // X-Container-* as replies spell them
	objs     index             // the overlay, when base is set
	base     *synthetic
	count    int64
	bytes    int64
	expiry   map[string]int64 // names with X-Delete-At
	nextDue  int64            // earliest of them, 0 = none

	lag lagState
}

func newContainer(name, policy string, now stamp) *container {
	return &container{name: name, policy: policy, created: now, modified: now,
		meta: map[string]string{}, expiry: map[string]int64{}}
}

// get returns the stored object whether or not it has expired; nil if none.
func (c *container) get(name string) *object {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.getLocked(name)
}

func (c *container) getLocked(name string) *object {
	if o, ok := c.objs.get(name); ok {
		return o
	}
	if c.base != nil {
		if i, ok := c.base.find(name); ok {
			return c.base.object(i)
		}
	}
	return nil
}

// live returns the object that a request sees.
func (c *container) live(name string, now stamp) *object {
	o := c.get(name)
	if o == nil || o.expired(now) {
		return nil
	}
	return o
}

// verdict of a write.
type verdict int

const (
	stored verdict = iota
	exists         // If-None-Match: * found the name taken
	stale          // a newer version is there already
)

// write stores o, or removes name when o is nil.
func (c *container) write(name string, o *object, now stamp, onlyNew bool) verdict {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writeLocked(name, o, now, onlyNew)
}

func (c *container) writeLocked(name string, o *object, now stamp, onlyNew bool) verdict {
	old := c.getLocked(name)
	if old != nil {
		if onlyNew && !old.expired(now) {
			return exists
		}
		if o != nil && old.stamp > o.stamp {
			return stale
		}
		c.count--
		c.bytes -= old.body.Len()
	}
	switch {
	case o != nil:
		c.objs.set(name, o)
		c.count++
		c.bytes += o.body.Len()
	case c.base != nil && c.base.has(name):
		c.objs.set(name, nil)
	default:
		c.objs.del(name)
	}
	c.trackExpiry(name, o)
	c.lag.record(name, o)
	return stored
}

func (c *container) trackExpiry(name string, o *object) {
	if o == nil || o.deleteAt == 0 {
		if len(c.expiry) > 0 {
			delete(c.expiry, name)
		}
		return
	}
	c.expiry[name] = o.deleteAt
	if c.nextDue == 0 || o.deleteAt < c.nextDue {
		c.nextDue = o.deleteAt
	}
}

// expire removes what is past its X-Delete-At from container and listing, as
// the object-expirer does.
func (c *container) expire(now stamp) {
	sec := int64(now) / stampsPerSecond
	c.mu.RLock()
	due := c.nextDue != 0 && c.nextDue <= sec
	c.mu.RUnlock()
	if !due {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nextDue = 0
	for name, at := range c.expiry {
		if at <= sec {
			c.writeLocked(name, nil, now, false)
		} else if c.nextDue == 0 || at < c.nextDue {
			c.nextDue = at
		}
	}
}

// account is one Swift account of a region.
type account struct {
	name    string
	created stamp

	mu         sync.RWMutex
	meta       map[string]string
	containers map[string]*container
	made       bool     // by its first container or POST
	sorted     []string // names in byte order; nil when stale
}

func newAccount(name string, now stamp) *account {
	return &account{name: name, created: now, meta: map[string]string{}, containers: map[string]*container{}}
}

func (a *account) container(name string) *container {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.containers[name]
}

// create returns the container and whether it is new.
func (a *account) create(name, policy string, now stamp) (*container, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.containers[name]; c != nil {
		return c, false
	}
	c := newContainer(name, policy, now)
	a.containers[name] = c
	a.made = true
	a.sorted = nil
	return c, true
}

// drop removes an empty container; false when it holds objects.
func (a *account) drop(c *container, force bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	c.mu.RLock()
	empty := c.count == 0
	c.mu.RUnlock()
	if !empty && !force {
		return false
	}
	delete(a.containers, c.name)
	a.sorted = nil
	return true
}

// names are those that clients may see.
func (a *account) names() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sorted == nil {
		a.sorted = make([]string, 0, len(a.containers))
		for n := range maps.Keys(a.containers) {
			if !strings.HasPrefix(n, reserved) {
				a.sorted = append(a.sorted, n)
			}
		}
		sort.Strings(a.sorted)
	}
	return a.sorted
}

// usage sums the containers.
func (a *account) usage() (containers, objects, bytes int64) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, c := range a.containers {
		c.mu.RLock()
		objects += c.count
		bytes += c.bytes
		c.mu.RUnlock()
	}
	return int64(len(a.containers)), objects, bytes
}

// titled spells a header name as Swift stores it: Python's str.title, with the
// underscores that WSGI cannot tell from dashes.
func titled(name string) string {
	b := []byte(strings.ReplaceAll(name, "_", "-"))
	start := true
	for i, ch := range b {
		letter := ch|0x20 >= 'a' && ch|0x20 <= 'z'
		switch {
		case !letter:
		case start:
			b[i] = ch &^ 0x20
		default:
			b[i] = ch | 0x20
		}
		start = !letter
	}
	return string(b)
}

func md5Hex(p []byte) string {
	s := md5.Sum(p)
	return hex.EncodeToString(s[:])
}
