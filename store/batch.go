package store

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"go.etcd.io/bbolt"
)

// How full a leaf page is left when it is split. Keys that arrive in order never
// come back to the left half, so it may be full (R8); at random keys it would only
// be split again.
const (
	fillOrdered = 0.9
	fillRandom  = 0.5
)

// batch is one write transaction in the making. It sees the catalog as the
// last commit left it, plus its own changes.
type batch struct {
	l     *Ledger
	tx    *bbolt.Tx
	dirty bool
	// foreign is set while a caller's function runs: its panic is not damage.
	foreign bool

	places  map[PlaceID]*PlaceInfo // copies, perhaps changed
	routes  map[RouteID]*RouteInfo
	made    map[Place]PlaceID // created in this batch
	madeR   map[Route]RouteID
	from    map[PlaceID][]RouteID // routes by where they start; nil: nobody asked
	objects map[PlaceID]*objects
	subs    map[subKey]*bbolt.Bucket
	series  *openSeries
	had     []RouteID // of the object at hand, before it was changed
	arena   []byte    // records of this batch: bbolt keeps the slices until the commit
}

type subKey struct {
	top   string
	owner uint32
}

// objects is one place's records, with what is known of the order they come in.
type objects struct {
	b                  *bbolt.Bucket
	c                  *bbolt.Cursor
	missing, troubled  *bbolt.Bucket
	next               []byte // the key after the last new one
	inserts, neighbour int
}

func newBatch(l *Ledger, works int) *batch {
	return &batch{l: l, arena: make([]byte, 0, 128*works+512),
		places: map[PlaceID]*PlaceInfo{}, routes: map[RouteID]*RouteInfo{},
		made: map[Place]PlaceID{}, madeR: map[Route]RouteID{}, objects: map[PlaceID]*objects{}, subs: map[subKey]*bbolt.Bucket{}}
}

// apply runs the works in order. An error is the whole batch's, unless the work
// has somebody to be told that it alone was refused.
func (b *batch) apply(works []*work) error {
	for _, w := range works {
		err := b.one(w)
		if err != nil && w.reply != nil && refusal(err) {
			if w.reply.refused == nil {
				w.reply.refused = err
			}
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func refusal(err error) bool {
	return errors.Is(err, ErrNoIntent) || errors.Is(err, ErrUnknown) || errors.Is(err, ErrInvalid)
}

func (b *batch) one(w *work) error {
	switch w.kind {
	case workCatalog, workNamed:
		return w.do(b)
	case workUpdate:
		return b.update(w.place, w.name, w.update)
	case workConfirm:
		if err := b.dropIntent(w.route, w.name); err != nil {
			return err
		}
		if w.update != nil {
			if err := b.update(w.place, w.name, w.update); err != nil {
				return err
			}
		}
		if w.do != nil {
			if err := w.do(b); err != nil {
				return err
			}
		}
		return b.settleNeeds(w.route, w.name)
	case workIntent:
		return b.putIntent(w.intent)
	case workDrop:
		if err := b.dropIntent(w.route, w.name); err != nil {
			return err
		}
		return b.settleNeeds(w.route, w.name)
	case workChunk:
		return b.putChunk(w.route, w.name, w.chunk, w.hash)
	}
	return fmt.Errorf("unknown kind of work %d", w.kind)
}

// finish writes the history at hand and the changed places and routes and sets how pages are to be split.
func (b *batch) finish() error {
	if err := b.closeSeries(); err != nil {
		return err
	}
	for id, p := range b.places {
		key := be32(uint32(id))
		if err := b.put(b.tx.Bucket([]byte(bucketPlaces)), key, b.seal(func(a []byte) []byte { return appendPlace(a, key, p) })); err != nil {
			return err
		}
	}
	for id, r := range b.routes {
		key := be32(uint32(id))
		if err := b.put(b.tx.Bucket([]byte(bucketRoutes)), key, b.seal(func(a []byte) []byte { return appendRoute(a, key, r) })); err != nil {
			return err
		}
	}
	for _, o := range b.objects {
		o.b.FillPercent = fillRandom
		if 2*o.neighbour >= o.inserts {
			o.b.FillPercent = fillOrdered
		}
	}
	return nil
}

// seal encodes into the arena; the slice stays valid when the arena moves on.
func (b *batch) seal(enc func([]byte) []byte) []byte {
	from := len(b.arena)
	b.arena = enc(b.arena)
	return b.arena[from:len(b.arena):len(b.arena)]
}

// put writes unless the very same bytes are there, which spares an unchanged
// ledger its commits.
func (b *batch) put(bk *bbolt.Bucket, key, value []byte) error {
	if old := bk.Get(key); old != nil && bytes.Equal(old, value) {
		return nil
	}
	b.dirty = true
	return bk.Put(key, value)
}

func (b *batch) del(bk *bbolt.Bucket, key []byte) error {
	if bk == nil || bk.Get(key) == nil {
		return nil
	}
	b.dirty = true
	return bk.Delete(key)
}

// sub gives the bucket of one owner below a top bucket; nil when it is not there
// and not to be made.
func (b *batch) sub(top string, owner uint32, make bool) (*bbolt.Bucket, error) {
	k := subKey{top, owner}
	if bk, known := b.subs[k]; bk != nil || known && !make {
		return bk, nil
	}
	key := be32(owner)
	bk := b.tx.Bucket([]byte(top)).Bucket(key)
	if bk == nil && make {
		var err error
		if bk, err = b.tx.Bucket([]byte(top)).CreateBucket(key); err != nil {
			return nil, err
		}
		b.dirty = true
	}
	if bk != nil {
		bk.FillPercent = fillOrdered
	}
	b.subs[k] = bk
	return bk, nil
}

func (b *batch) place(id PlaceID) (*PlaceInfo, error) {
	if p := b.places[id]; p != nil {
		return p, nil
	}
	b.l.catMu.RLock()
	p, ok := b.l.cat.places[id]
	b.l.catMu.RUnlock()
	if !ok {
		return nil, fmt.Errorf("%w: place %d", ErrUnknown, id)
	}
	b.places[id] = &p
	return &p, nil
}

func (b *batch) route(id RouteID) (*RouteInfo, error) {
	if r := b.routes[id]; r != nil {
		return r, nil
	}
	r, ok := b.l.findRouteID(id)
	if !ok {
		return nil, fmt.Errorf("%w: route %d", ErrUnknown, id)
	}
	b.routes[id] = &r
	return &r, nil
}

func (b *batch) ensurePlace(p Place) (PlaceID, error) {
	if id, ok := b.made[p]; ok {
		return id, nil
	}
	b.l.catMu.RLock()
	id, ok := b.l.cat.placeIDs[p]
	b.l.catMu.RUnlock()
	if ok {
		return id, nil
	}
	n, err := b.number(bucketPlaces)
	if err != nil {
		return 0, err
	}
	id = PlaceID(n)
	b.places[id], b.made[p] = &PlaceInfo{ID: id, Place: p}, id
	return id, nil
}

func (b *batch) ensureRoute(r Route) error {
	b.l.catMu.RLock()
	_, ok := b.l.cat.routeIDs[r]
	b.l.catMu.RUnlock()
	if _, made := b.madeR[r]; ok || made {
		return nil
	}
	from, err := b.ensurePlace(r.From)
	if err != nil {
		return err
	}
	to, err := b.ensurePlace(r.To)
	if err != nil {
		return err
	}
	n, err := b.number(bucketRoutes)
	if err != nil {
		return err
	}
	id := RouteID(n)
	b.routes[id], b.madeR[r] = &RouteInfo{ID: id, From: from, To: to, Route: r}, id
	return nil
}

// number takes the next number of a bucket's sequence: never 0, never twice.
func (b *batch) number(bucket string) (uint32, error) {
	n, err := b.tx.Bucket([]byte(bucket)).NextSequence()
	if err != nil {
		return 0, err
	}
	if n > math.MaxUint32 {
		return 0, fmt.Errorf("%w: %s are used up", ErrInvalid, bucket)
	}
	b.dirty = true
	return uint32(n), nil
}

// update is the read-modify-write of one object's record, its two indexes and
// the counters of its place and routes.
func (b *batch) update(p PlaceID, name string, fn func(*Object, bool) bool) error {
	if err := checkName(name); err != nil {
		return err
	}
	info, err := b.place(p)
	if err != nil {
		return err
	}
	os, err := b.objectsOf(p)
	if err != nil {
		return err
	}
	key := []byte(name)
	next, old := os.c.Seek(key)
	exists := next != nil && bytes.Equal(next, key)
	o := Object{Name: name}
	if exists {
		if o, err = decodeObject(p, key, old); err != nil {
			return corrupt(b.l.path, err, "object %q of place %d", name, p)
		}
	}
	if err := b.count(&o, exists, info, -1); err != nil {
		return err
	}
	b.had = b.had[:0]
	for i := range o.Replicas {
		b.had = append(b.had, o.Replicas[i].Route)
	}
	wasMissing, wasTroubled := exists && o.Missing != 0, exists && troubled(&o)
	b.foreign = true
	keep := fn(&o, exists)
	b.foreign = false
	o.Name = name
	switch {
	case keep:
		from := len(b.arena)
		if b.arena, err = appendObject(b.arena, p, key, &o); err != nil {
			return err
		}
		v := b.arena[from:len(b.arena):len(b.arena)]
		if !exists {
			os.inserted(next)
		}
		if !exists || !bytes.Equal(old, v) {
			b.dirty = true
			if err := os.b.Put(key, v); err != nil {
				return err
			}
		}
	case exists:
		b.dirty = true
		if err := os.b.Delete(key); err != nil {
			return err
		}
	}
	if err := b.count(&o, keep, info, +1); err != nil {
		return err
	}
	if err := b.index(&os.missing, bucketMissing, p, key, wasMissing, keep && o.Missing != 0); err != nil {
		return err
	}
	if err := b.index(&os.troubled, bucketTroubled, p, key, wasTroubled, keep && troubled(&o)); err != nil {
		return err
	}
	for _, r := range b.had {
		if _, has := o.Replica(r); !keep || !has {
			if err := b.settleNeeds(r, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// objectsOf gives a place's records, with their bucket made.
func (b *batch) objectsOf(p PlaceID) (*objects, error) {
	if os := b.objects[p]; os != nil {
		return os, nil
	}
	bk, err := b.sub(bucketObjects, uint32(p), true)
	if err != nil {
		return nil, err
	}
	os := &objects{b: bk, c: bk.Cursor()}
	b.objects[p] = os
	return os, nil
}

// inserted learns that a new key went in before next: when the one before it did
// too, they are neighbours, and keys come in order.
func (os *objects) inserted(next []byte) {
	if os.inserts > 0 && bytes.Equal(os.next, next) && (os.next == nil) == (next == nil) {
		os.neighbour++
	}
	os.inserts++
	os.next = next
}

// count adds an object's share of the counters, or takes it back.
func (b *batch) count(o *Object, exists bool, p *PlaceInfo, sign int64) error {
	if !exists {
		return nil
	}
	p.Objects += sign
	if o.Missing == 0 {
		p.Present += sign
	}
	for i := range o.Replicas {
		r, err := b.route(o.Replicas[i].Route)
		if err != nil {
			return err
		}
		if r.From != p.ID {
			return fmt.Errorf("%w: object %q of place %d has a replica on route %d, which starts elsewhere", ErrInvalid, o.Name, p.ID, r.ID)
		}
		if confirmed(o, &o.Replicas[i]) {
			r.Confirmed += sign
		}
	}
	return nil
}

func confirmed(o *Object, r *Replica) bool { return r.State == Confirmed && r.Version == o.Version }

func troubled(o *Object) bool {
	for i := range o.Replicas {
		if o.Replicas[i].State != Confirmed {
			return true
		}
	}
	return false
}

// index brings an index of names up to date.
func (b *batch) index(bk **bbolt.Bucket, top string, p PlaceID, key []byte, was, is bool) (err error) {
	if was == is {
		return nil
	}
	if *bk == nil {
		if *bk, err = b.sub(top, uint32(p), is); err != nil {
			return err
		}
	}
	if is {
		return b.put(*bk, key, []byte{recordVersion})
	}
	return b.del(*bk, key)
}
