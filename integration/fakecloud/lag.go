package fakecloud

import "time"

// Forever is a listing lag that only FlushListings ends.
const Forever = time.Duration(-1)

// lagState keeps the listing of a container behind its objects. While view is
// nil the listing is the truth. Guarded by container.mu.
type lagState struct {
	delay time.Duration
	clock func() time.Time
	view  *index
	queue []lagged
}

type lagged struct {
	due  time.Time // zero: until flushed
	name string
	obj  *object
}

// setLag starts (d > 0 or Forever) or ends (0) lag for the changes from now on;
// ending it shows what was held back.
func (c *container) setLag(d time.Duration, clock func() time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lag.delay, c.lag.clock = d, clock
	if d != 0 && c.lag.view == nil {
		c.lag.view = c.objs.clone()
	}
	if d == 0 {
		c.lag.view, c.lag.queue = nil, nil
	}
}

// flushLag shows everything held back so far; the lag stays for later changes.
func (c *container) flushLag() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lag.view != nil {
		c.lag.view, c.lag.queue = c.objs.clone(), nil
	}
}

// record notes a change; c.mu is held.
func (l *lagState) record(name string, o *object) {
	if l.view == nil {
		return
	}
	ch := lagged{name: name, obj: o}
	if l.delay > 0 {
		ch.due = l.clock().Add(l.delay)
	}
	l.queue = append(l.queue, ch)
}

// settleLag lets into the listing what is due.
func (c *container) settleLag() {
	c.mu.RLock()
	idle := len(c.lag.queue) == 0
	c.mu.RUnlock()
	if idle {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lag.view == nil {
		return
	}
	now := c.lag.clock()
	done := 0
	for _, ch := range c.lag.queue {
		if ch.due.IsZero() || ch.due.After(now) {
			break
		}
		if ch.obj != nil || c.base != nil && c.base.has(ch.name) {
			c.lag.view.set(ch.name, ch.obj)
		} else {
			c.lag.view.del(ch.name)
		}
		done++
	}
	c.lag.queue = c.lag.queue[done:]
}

// listedIndex is the index that listings read; c.mu is held.
func (c *container) listedIndex() *index {
	if c.lag.view != nil {
		return c.lag.view
	}
	return &c.objs
}
