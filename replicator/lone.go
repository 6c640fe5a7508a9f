package replicator

import (
	"context"
	"sync"

	"farshore/store"
)

// lone keeps copies of one object from running beside each other: that of the walk over
// its container, and those for the manifests and links that need it. Two of them
// would sweep each other's segments away.
type lone struct {
	mu   sync.Mutex
	busy map[loneKey]*loneTurn

	late sync.Mutex
	// fresh are copies that the ledger may not show yet: it is written in batches.
	fresh map[loneKey]bool
}

// freshAtMost bounds them; past it the ledger is flushed.
const freshAtMost = 4096

type loneKey struct {
	place store.PlaceID
	name  string
}

type loneTurn struct {
	free    chan struct{} // holds one token while nobody copies
	waiting int
}

// turn waits until no other copy of the object runs and the ledger shows what those
// before did. Who has it must not wait for another object's turn.
func (p *pass) turn(ctx context.Context, name string) (release func(), err error) {
	l, key := &p.kin.lone, loneKey{p.place, name}
	leave, err := l.hold(ctx, key)
	if err != nil {
		return nil, err
	}
	if err := l.settle(ctx, p.e.o.Ledger, key); err != nil {
		leave()
		return nil, err
	}
	return func() {
		if p.kin.knows(p.job.From.Container) {
			l.late.Lock()
			l.fresh[key] = true
			l.late.Unlock()
		}
		leave()
	}, nil
}

// settle sees that the ledger shows the copies of an object.
func (l *lone) settle(ctx context.Context, ledger *store.Ledger, key loneKey) error {
	l.late.Lock()
	defer l.late.Unlock()
	if !l.fresh[key] && len(l.fresh) < freshAtMost {
		return nil
	}
	if err := ledger.Flush(ctx); err != nil {
		return err
	}
	clear(l.fresh)
	return nil
}

func (l *lone) hold(ctx context.Context, key loneKey) (release func(), err error) {
	l.mu.Lock()
	t := l.busy[key]
	if t == nil {
		t = &loneTurn{free: make(chan struct{}, 1)}
		t.free <- struct{}{}
		l.busy[key] = t
	}
	t.waiting++
	l.mu.Unlock()
	leave := func() {
		l.mu.Lock()
		if t.waiting--; t.waiting == 0 {
			delete(l.busy, key)
		}
		l.mu.Unlock()
	}
	select {
	case <-t.free:
		return func() {
			t.free <- struct{}{}
			leave()
		}, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}

// brought reports whether another copy of this run has carried the version meanwhile:
// the walk over a container plans from what the ledger said before that.
func (p *pass) brought(it *item, d *dest) (bool, error) {
	if !p.kin.knows(p.job.From.Container) {
		return false, nil
	}
	rec, ok, err := p.e.o.Ledger.Get(p.place, it.name)
	if err != nil || !ok {
		return false, err
	}
	rep, ok := rec.Replica(d.info.ID)
	if !ok || rep.State != store.Confirmed || rep.Version.ETag != it.version.ETag || it.version.Modified != 0 && rep.Version != it.version {
		return false, nil
	}
	p.e.o.Ledger.DropIntent(d.info.ID, it.name)
	p.e.o.Progress.Region(d.side.Region).Done()
	it.confirmed(d.side.Region)
	return true, nil
}

// unbrought leaves out the targets to which another copy has carried the version.
func (p *pass) unbrought(it *item, targets []target) ([]target, error) {
	var left []target
	for _, t := range targets {
		done, err := p.brought(it, t.d)
		if err != nil {
			return nil, err
		}
		if !done {
			left = append(left, t)
		}
	}
	return left, nil
}

// knows reports whether single objects of a container were brought in this run.
func (k *kin) knows(container string) bool {
	_, ok := k.known.Load(container)
	return ok
}
