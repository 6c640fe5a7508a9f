package volumes

import (
	"maps"
	"slices"
	"sync"

	"farshore/transport"
)

// need is what one thing that is about to be made takes of a region's quotas. The amounts
// of gigabytes are in GiB.
type need struct {
	backups, backupGigabytes, snapshots, gigabytes int
	room                                           string // how many backups a volume comes to, where there is no room for one more
}

func (n need) plus(m need) need {
	return need{backups: n.backups + m.backups, backupGigabytes: n.backupGigabytes + m.backupGigabytes, snapshots: n.snapshots + m.snapshots, gigabytes: n.gigabytes + m.gigabytes}
}

// claims is the room in one region's quotas that a pass has promised to volumes, and that
// the region does not count yet. Without it the volumes that are worked on together would
// all be promised the last backup of a quota. It may be used concurrently.
type claims struct {
	// mu is held while quotas are read and room is claimed, and while that which was promised is made,
	// so that it is always counted once: here, or by the region.
	mu sync.Mutex
	by map[string]need // by what it is promised to
}

// claim promises what owner needs, if get says that the quotas have room for it beside what
// others are promised. What owner was promised before is no longer.
func (c *claims) claim(region, owner string, n need, get func() (transport.VolumeQuotas, error)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	q, err := get()
	if err != nil {
		return err
	}
	delete(c.by, owner)
	var others need
	for _, x := range c.by {
		others = others.plus(x)
	}
	if err := short(region, q, n, others); err != nil {
		return err
	}
	if c.by == nil {
		c.by = map[string]need{}
	}
	c.by[owner] = n
	return nil
}

// making makes what owner was promised, but for left, which is to come. What is made is the region's to count.
func (c *claims) making(owner string, left need, do func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, promised := c.by[owner]; promised {
		c.by[owner] = left
	}
	return do()
}

// free takes a promise back.
func (c *claims) free(owner string) {
	c.mu.Lock()
	delete(c.by, owner)
	c.mu.Unlock()
}

// claimsIn gives what was promised of a region's quotas.
func (r *run) claimsIn(region string) *claims {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.claims[region] == nil {
		r.claims[region] = &claims{}
	}
	return r.claims[region]
}

// unclaim takes back all that a volume was promised anywhere.
func (r *run) unclaim(owner string) {
	r.mu.Lock()
	all := slices.Collect(maps.Values(r.claims))
	r.mu.Unlock()
	for _, c := range all {
		c.free(owner)
	}
}
