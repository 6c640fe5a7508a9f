package replicator

import (
	"context"
	"fmt"
	"sync"

	"farshore/transport"
)

// Manifests may need manifests, and several the same: each level of them would double what
// is asked of those below. So within a run of a policy one of those who need an object
// brings it while the others wait, and what nobody can read is known from then on.

// bringing keeps count of who brings what.
type bringing struct {
	mu     sync.Mutex
	busy   map[path]chan struct{} // closed when whoever brings it is done
	below  map[path]map[path]int  // what waits for what: there are circles of links
	broken map[path]string        // the ETag of what nobody can read at the source
}

// path is a container and a name at the source.
type path = [2]string

func newBringing() *bringing {
	return &bringing{busy: map[path]chan struct{}{}, below: map[path]map[path]int{}, broken: map[path]string{}}
}

// alone waits until nobody else brings an object that is needed for what stands above it.
// In a circle nobody waits: it is followed until it is known as one.
func (b *bringing) alone(ctx context.Context, of path, above []path) (release func(), err error) {
	var need path
	if len(above) > 0 {
		need = above[len(above)-1]
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.below[need] == nil {
		b.below[need] = map[path]int{}
	}
	b.below[need][of]++
	done := func() {
		if b.below[need][of]--; b.below[need][of] == 0 {
			delete(b.below[need], of)
		}
		if len(b.below[need]) == 0 {
			delete(b.below, need)
		}
	}
	for {
		others, busy := b.busy[of]
		if !busy {
			break
		}
		if b.leads(of, need, map[path]bool{}) {
			return func() {
				b.mu.Lock()
				defer b.mu.Unlock()
				done()
			}, nil
		}
		b.mu.Unlock()
		select {
		case <-others:
			b.mu.Lock()
		case <-ctx.Done():
			b.mu.Lock()
			done()
			return nil, context.Cause(ctx)
		}
	}
	mine := make(chan struct{})
	b.busy[of] = mine
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.busy, of)
		close(mine)
		done()
	}, nil
}

// leads reports whether an object waits for another, or something that it waits for does.
func (b *bringing) leads(from, to path, seen map[path]bool) bool {
	if from == to {
		return true
	}
	if seen[from] {
		return false
	}
	seen[from] = true
	for next := range b.below[from] {
		if b.leads(next, to, seen) {
			return true
		}
	}
	return false
}

// found remembers that nobody can read an object at the source.
func (b *bringing) found(of path, etag string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broken[of] = etag
}

// isBroken reports whether that was found of an object; etag "": of whatever is there.
func (b *bringing) isBroken(of path, etag string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	is, ok := b.broken[of]
	return ok && (etag == "" || etag == is)
}

// broken finds out whether a manifest that could not be written can be read at the source,
// and gives the error that says that nobody can; nil if it can.
func (p *pass) broken(ctx context.Context, it *item, m transport.Manifest) (is, err error) {
	segment, err := p.brokenHere(ctx, m)
	if err != nil || segment == "" {
		return nil, err
	}
	from := p.job.From
	p.kin.bringing.found(path{from.Container, it.name}, it.version.ETag)
	return &transport.Error{Op: "read manifest", Region: from.Region, Container: from.Container, Name: it.name, Class: transport.Permanent,
		Err:  fmt.Errorf("%w: %s", transport.ErrManifest, segment),
		Hint: "nobody can read it in region " + from.Region + " as it is: upload it, or the segment, again there, or delete it"}, nil
}

// brokenHere names a segment of a manifest that the source itself does not have as the
// manifest says, or that nobody can read there; "" if there is none.
func (p *pass) brokenHere(ctx context.Context, m transport.Manifest) (string, error) {
	wants := segmentsOf(m, nil)
	for _, w := range wants {
		if p.kin.bringing.isBroken(path{w.container, w.name}, w.etag) {
			return transport.PrintName(w.container + "/" + w.name), nil
		}
	}
	for _, w := range wants {
		obj, err := p.src.Head(ctx, w.container, w.name)
		if transport.Is(err, transport.NotFound) || err == nil && (w.etag != "" && w.etag != obj.ETag || w.size >= 0 && w.size != obj.Size) {
			return transport.PrintName(w.container + "/" + w.name), nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", nil
}
