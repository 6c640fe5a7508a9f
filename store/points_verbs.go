package store

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
)

// UpdatePoint is a read-modify-write of one restore point; it and everything enqueued
// before it are durable when it returns. fn gets the point as committed (or changed
// earlier in the queue), or an empty one with the id when there is none, and says
// whether to keep it; false removes it. What Update says of fn holds here too. A point
// that is not Valid is refused with ErrInvalid and nothing is changed. Once it is queued
// it is waited for, whatever becomes of ctx, so that fn never runs afterwards.
func (l *Ledger) UpdatePoint(ctx context.Context, id string, fn func(p *Point, exists bool) (keep bool)) error {
	if err := checkID(id); err != nil {
		return fmt.Errorf("update point: %w", err)
	}
	return l.waitOut(ctx, "update point", work{kind: workCatalog, do: func(b *batch) error { return b.updatePoint(id, fn) }})
}

// waitOut queues one work and waits until it is committed or refused.
func (l *Ledger) waitOut(ctx context.Context, verb string, w work) error {
	w.reply = &reply{ch: make(chan error, 1)}
	if err := l.send(ctx, verb, message{work: w, reply: w.reply}); err != nil {
		return err
	}
	return <-w.reply.ch
}

func (b *batch) updatePoint(id string, fn func(*Point, bool) bool) error {
	key, points, index := []byte(id), b.tx.Bucket([]byte(bucketPoints)), b.tx.Bucket([]byte(bucketVolumes))
	p := Point{ID: id}
	old := points.Get(key)
	if old != nil {
		var err error
		if p, err = decodePoint(key, old); err != nil {
			return corrupt(b.l.path, err, "point %q", id)
		}
	}
	was := volumeKey(p.Volume.ID, id)
	b.foreign = true
	keep := fn(&p, old != nil)
	b.foreign = false
	p.ID = id
	if !keep {
		if old == nil {
			return nil
		}
		if err := b.del(points, key); err != nil {
			return err
		}
		return b.del(index, was)
	}
	if err := p.Valid(); err != nil {
		return err
	}
	v, err := sealJSON(kindPoint, key, &p)
	if err != nil {
		return err
	}
	if err := b.put(points, key, v); err != nil {
		return err
	}
	is := volumeKey(p.Volume.ID, id)
	if old != nil && !bytes.Equal(was, is) {
		if err := b.del(index, was); err != nil {
			return err
		}
	}
	return b.put(index, is, []byte{recordVersion})
}

// Point reads one restore point.
func (l *Ledger) Point(id string) (p Point, ok bool, err error) {
	err = l.view("read point", func(tx *bbolt.Tx) error {
		v := tx.Bucket([]byte(bucketPoints)).Get([]byte(id))
		if v == nil {
			return nil
		}
		if p, err = decodePoint([]byte(id), v); err != nil {
			return corrupt(l.path, err, "point %q", id)
		}
		ok = true
		return nil
	})
	return p, ok, err
}

// Points reads the restore points of a volume, by its id at the source, or with "" all
// there are; ascending by Taken, then ID. It reads page by page: what others write
// meanwhile may or may not be in it.
func (l *Ledger) Points(volume string) (out []Point, err error) {
	if volume == "" {
		err = l.scan("read points", bucketPoints, nil, func(k, v []byte) error {
			p, err := decodePoint(k, v)
			if err != nil {
				return corrupt(l.path, err, "point %q", k)
			}
			out = append(out, p)
			return nil
		})
	} else if checkID(volume) == nil {
		prefix := hashKey(volume)
		err = l.scan("read points", bucketVolumes, prefix, func(k, _ []byte) error {
			p, ok, err := l.Point(string(k[len(prefix):]))
			if ok {
				out = append(out, p)
			}
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b Point) int { return cmp.Or(cmp.Compare(a.Taken, b.Taken), cmp.Compare(a.ID, b.ID)) })
	return out, nil
}

// volumeKey is the key of the index of points by volume; hashKey's length in front
// keeps one volume's points from looking like another's.
func volumeKey(volume, point string) []byte { return append(hashKey(volume), point...) }

// scan hands out copies of what a bucket has under keys that begin with prefix, in
// order. No transaction is open while see runs, and none outlives a page (R5).
func (l *Ledger) scan(verb, bucket string, prefix []byte, see func(k, v []byte) error) error {
	for pos := prefix; ; {
		var keys, values [][]byte
		err := l.view(verb, func(tx *bbolt.Tx) error {
			c := tx.Bucket([]byte(bucket)).Cursor()
			k, v := c.First()
			if len(pos) > 0 {
				k, v = c.Seek(pos)
			}
			for ; k != nil && bytes.HasPrefix(k, prefix) && len(keys) < MaxPage; k, v = c.Next() {
				keys, values = append(keys, bytes.Clone(k)), append(values, bytes.Clone(v))
			}
			return nil
		})
		if err != nil {
			return err
		}
		for i := range keys {
			if err := see(keys[i], values[i]); err != nil {
				return err
			}
		}
		if len(keys) < MaxPage {
			return nil
		}
		pos = append(keys[len(keys)-1], 0) // the least key after it
	}
}

// PutWork records what is about to be made, or what became of it, under its ID; it and
// everything enqueued before it are durable when it returns.
func (l *Ledger) PutWork(ctx context.Context, w Work) error {
	if err := w.valid(); err != nil {
		return fmt.Errorf("put work: %w", err)
	}
	return l.putJSON(ctx, "put work", bucketWorks, kindWork, w.ID, &w)
}

// DropWork removes a work; durable when it returns. One that is not there is fine.
func (l *Ledger) DropWork(ctx context.Context, id string) error {
	return l.waitOut(ctx, "drop work", work{kind: workCatalog, do: func(b *batch) error {
		return b.del(b.tx.Bucket([]byte(bucketWorks)), []byte(id))
	}})
}

// Works reads all works, ascending by Began, then ID.
func (l *Ledger) Works() (out []Work, err error) {
	err = l.scan("read works", bucketWorks, nil, func(k, v []byte) error {
		w, err := decodeWork(k, v)
		if err != nil {
			return corrupt(l.path, err, "work %q", k)
		}
		out = append(out, w)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b Work) int { return cmp.Or(cmp.Compare(a.Began, b.Began), cmp.Compare(a.ID, b.ID)) })
	return out, nil
}

// PutDrill keeps a drill's report under its ID; durable when it returns.
func (l *Ledger) PutDrill(ctx context.Context, d Drill) error {
	if err := d.valid(); err != nil {
		return fmt.Errorf("put drill: %w", err)
	}
	return l.putJSON(ctx, "put drill", bucketDrills, kindDrill, d.ID, &d)
}

// Drills reads the drills of a policy, or with "" all, ascending by Began, then ID.
func (l *Ledger) Drills(policy string) (out []Drill, err error) {
	err = l.scan("read drills", bucketDrills, nil, func(k, v []byte) error {
		d, err := decodeDrill(k, v)
		if err != nil {
			return corrupt(l.path, err, "drill %q", k)
		}
		if policy == "" || d.Policy == policy {
			out = append(out, d)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b Drill) int { return cmp.Or(cmp.Compare(a.Began, b.Began), cmp.Compare(a.ID, b.ID)) })
	return out, nil
}

// putJSON encodes now, so that the caller may go on using v.
func (l *Ledger) putJSON(ctx context.Context, verb, bucket string, kind byte, id string, v any) error {
	key := []byte(id)
	record, err := sealJSON(kind, key, v)
	if err != nil {
		return fmt.Errorf("%s %q: %w", verb, id, err)
	}
	return l.waitOut(ctx, verb, work{kind: workCatalog, do: func(b *batch) error {
		return b.put(b.tx.Bucket([]byte(bucket)), key, record)
	}})
}

// ForgetObjects removes the records of objects at a source place, with their replicas
// on every route and the intents of those names: of a point that was taken away at the
// source and everywhere else. Names that have none are fine. It is done in
// transactions of at most MaxPage names, in order, each durable before the next; all
// are when it returns nil.
func (l *Ledger) ForgetObjects(ctx context.Context, p PlaceID, names []string) error {
	for _, name := range names {
		if err := checkName(name); err != nil {
			return fmt.Errorf("forget objects: %w", err)
		}
	}
	for page := range slices.Chunk(names, MaxPage) {
		works := make([]work, len(page))
		for i, name := range page {
			works[i] = work{kind: workNamed, place: p, name: name, do: func(b *batch) error { return b.forget(p, name) }}
		}
		if err := l.waitFor(ctx, "forget objects", message{more: works}); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) forget(p PlaceID, name string) error {
	if _, err := b.place(p); err != nil {
		return err
	}
	for _, r := range b.routesFrom(p) {
		if err := b.dropIntent(r, name); err != nil {
			return err
		}
	}
	if err := b.update(p, name, func(*Object, bool) bool { return false }); err != nil {
		return err
	}
	for _, r := range b.routesFrom(p) {
		if err := b.settleNeeds(r, name); err != nil {
			return err
		}
	}
	return nil
}

// routesFrom gives the routes that start at a place, those made in this batch included.
func (b *batch) routesFrom(p PlaceID) []RouteID {
	if b.from == nil {
		b.from = map[PlaceID][]RouteID{}
		b.l.catMu.RLock()
		for id, r := range b.l.cat.routes {
			b.from[r.From] = append(b.from[r.From], id)
		}
		b.l.catMu.RUnlock()
		for _, id := range b.madeR { // works of the catalog come first, so that no route is made later
			b.from[b.routes[id].From] = append(b.from[b.routes[id].From], id)
		}
	}
	return b.from[p]
}
