package store

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/bbolt"
)

// MaxPage is the most records one read returns (R5).
const MaxPage = 10_000

// MaxNote is the longest value of a note, in bytes.
const MaxNote = 1 << 20

func checkName(name string) error {
	if name == "" || len(name) > MaxName {
		return fmt.Errorf("%w: a name of %d bytes (1 to %d are possible)", ErrInvalid, len(name), MaxName)
	}
	return nil
}

func pageLimit(limit int) int {
	if limit <= 0 || limit > MaxPage {
		return MaxPage
	}
	return limit
}

// owned gives one owner's bucket in a read transaction, or nil.
func owned(tx *bbolt.Tx, top string, owner uint32) *bbolt.Bucket {
	return tx.Bucket([]byte(top)).Bucket(be32(owner))
}

// after puts a cursor on the first key above after; "" is before all keys.
func after(c *bbolt.Cursor, after string) (k, v []byte) {
	k, v = c.Seek([]byte(after))
	if after != "" && k != nil && string(k) == after {
		return c.Next()
	}
	return k, v
}

// Get reads one object's record.
func (l *Ledger) Get(p PlaceID, name string) (o Object, ok bool, err error) {
	err = l.view("read object", func(tx *bbolt.Tx) error {
		b := owned(tx, bucketObjects, uint32(p))
		if b == nil {
			return nil
		}
		v := b.Get([]byte(name))
		if v == nil {
			return nil
		}
		if o, err = decodeObject(p, []byte(name), v); err != nil {
			return corrupt(l.path, err, "object %q of place %d", name, p)
		}
		ok = true
		return nil
	})
	return o, ok, err
}

// Page reads up to limit records (at most, and by default, MaxPage) with names in
// (after, through] that begin with prefix, ascending by bytes; "" means no bound.
func (l *Ledger) Page(p PlaceID, afterName, through, prefix string, limit int) ([]Object, error) {
	limit = pageLimit(limit)
	var out []Object
	err := l.view("read page", func(tx *bbolt.Tx) error {
		b := owned(tx, bucketObjects, uint32(p))
		if b == nil {
			return nil
		}
		c := b.Cursor()
		var k, v []byte
		if prefix > afterName {
			k, v = c.Seek([]byte(prefix))
		} else {
			k, v = after(c, afterName)
		}
		for ; k != nil && len(out) < limit; k, v = c.Next() {
			if !bytes.HasPrefix(k, []byte(prefix)) || through != "" && string(k) > through {
				return nil
			}
			o, err := decodeObject(p, k, v)
			if err != nil {
				return corrupt(l.path, err, "object %q of place %d", k, p)
			}
			if len(out) == cap(out) { // by much: to grow as append does moves a full page four times over
				out = slices.Grow(out, min(64+3*len(out), limit-len(out)))
			}
			out = append(out, o)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// MissingPage reads up to limit records of objects that the last listing lacked
// (Missing != 0), with names above after, ascending.
func (l *Ledger) MissingPage(p PlaceID, after string, limit int) ([]Object, error) {
	return l.indexed(bucketMissing, p, after, limit)
}

// Troubled reads up to limit records of objects that have a replica in another
// state than Confirmed, with names above after, ascending.
func (l *Ledger) Troubled(p PlaceID, after string, limit int) ([]Object, error) {
	return l.indexed(bucketTroubled, p, after, limit)
}

func (l *Ledger) indexed(index string, p PlaceID, from string, limit int) ([]Object, error) {
	limit = pageLimit(limit)
	var out []Object
	err := l.view("read "+index, func(tx *bbolt.Tx) error {
		ib, ob := owned(tx, index, uint32(p)), owned(tx, bucketObjects, uint32(p))
		if ib == nil {
			return nil
		}
		c := ib.Cursor()
		for k, _ := after(c, from); k != nil && len(out) < limit; k, _ = c.Next() {
			var v []byte
			if ob != nil {
				v = ob.Get(k)
			}
			o, err := decodeObject(p, k, v)
			if err != nil {
				return corrupt(l.path, err, "object %q of place %d, named by index %s", k, p, index)
			}
			out = append(out, o)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Update enqueues a read-modify-write of one object's record. fn gets the record
// as committed (or changed earlier in the queue), or an empty one with the name
// when there is none, and says whether to keep it; false deletes it. fn runs in
// the writer's transaction: it must be quick, do no I/O, call no method of the
// ledger, and do the same when it is run twice. It must leave replicas
// ascending by route, on routes that start at p.
//
// Update does not wait for the disk, but blocks while more than four batches are
// queued. What goes wrong is reported by Flush and Close.
func (l *Ledger) Update(p PlaceID, name string, fn func(o *Object, exists bool) (keep bool)) {
	l.async("update object", work{kind: workUpdate, place: p, name: name, update: fn})
}

// Confirm enqueues the end of an intent; like Update it does not wait.
func (l *Ledger) Confirm(c Confirmation) {
	if info, ok := l.findRouteID(c.Route); !ok || info.From != c.Place {
		_ = l.fail(fmt.Errorf("confirm %q: %w: route %d from place %d", c.Name, ErrUnknown, c.Route, c.Place))
		return
	}
	w := work{kind: workConfirm, place: c.Place, route: c.Route, name: c.Name, update: c.Apply}
	if c.Series != nil || c.Needs != nil {
		needs := sortedNeeds(c.Needs)
		w.do = func(b *batch) error {
			if c.Series != nil {
				if err := b.updateSeries(c.Place, c.Name, c.Series); err != nil {
					return err
				}
			}
			if c.Needs == nil {
				return nil
			}
			return b.putNeeds(c.Route, c.Name, needs)
		}
	}
	l.async("confirm", w)
}

// AddIntents records intents; they are durable when it returns, all or none. One
// for a name that has an intent already replaces it, and keeps its chunks only
// when version, size and layout are the same.
func (l *Ledger) AddIntents(ctx context.Context, ins []Intent) error {
	works := make([]work, len(ins))
	for i := range ins {
		in := ins[i]
		if err := checkName(in.Name); err != nil {
			return fmt.Errorf("add intent: %w", err)
		}
		if _, ok := l.findRouteID(in.Route); !ok {
			return fmt.Errorf("add intent %q: %w: route %d", in.Name, ErrUnknown, in.Route)
		}
		works[i] = work{kind: workIntent, route: in.Route, name: in.Name, intent: &in}
	}
	return l.waitFor(ctx, "add intents", message{more: works})
}

// DropIntent enqueues the removal of an intent with its chunks; one that is not
// there is fine.
func (l *Ledger) DropIntent(r RouteID, name string) {
	l.async("drop intent", work{kind: workDrop, route: r, name: name})
}

// Intent reads one intent.
func (l *Ledger) Intent(r RouteID, name string) (in Intent, ok bool, err error) {
	err = l.view("read intent", func(tx *bbolt.Tx) error {
		b := owned(tx, bucketIntents, uint32(r))
		if b == nil {
			return nil
		}
		v := b.Get([]byte(name))
		if v == nil {
			return nil
		}
		if in, err = decodeIntent(r, []byte(name), v); err != nil {
			return corrupt(l.path, err, "intent %q of route %d", name, r)
		}
		ok = true
		return nil
	})
	return in, ok, err
}

// Intents reads up to limit intents of a route with names above afterName, ascending.
func (l *Ledger) Intents(r RouteID, afterName string, limit int) ([]Intent, error) {
	limit = pageLimit(limit)
	var out []Intent
	err := l.view("read intents", func(tx *bbolt.Tx) error {
		b := owned(tx, bucketIntents, uint32(r))
		if b == nil {
			return nil
		}
		c := b.Cursor()
		for k, v := after(c, afterName); k != nil && len(out) < limit; k, v = c.Next() {
			in, err := decodeIntent(r, k, v)
			if err != nil {
				return corrupt(l.path, err, "intent %q of route %d", k, r)
			}
			out = append(out, in)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// ChunkDone records that a destination confirmed a chunk of an intent, and, when
// h is not nil, the digest states to go on from. Both are durable when it
// returns. Without such an intent it is ErrNoIntent; an index beyond the intent's
// layout is ErrInvalid.
func (l *Ledger) ChunkDone(ctx context.Context, r RouteID, name string, c ChunkRecord, h *HashState) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("record chunk: %w", err)
	}
	if c.Index < 0 || h != nil && h.Chunks < 0 {
		return fmt.Errorf("record chunk of %q: %w: negative index", name, ErrInvalid)
	}
	if h != nil {
		h = &HashState{Chunks: h.Chunks, MD5: bytes.Clone(h.MD5), SHA256: bytes.Clone(h.SHA256)}
	}
	return l.waitFor(ctx, "record chunk", message{work: work{kind: workChunk, route: r, name: name, chunk: c, hash: h}})
}

// Chunks reads what is confirmed of an intent, ascending by index, and the digest
// states (zero when there are none).
func (l *Ledger) Chunks(r RouteID, name string) (out []ChunkRecord, h HashState, err error) {
	err = l.view("read chunks", func(tx *bbolt.Tx) error {
		b := owned(tx, bucketChunks, uint32(r))
		if b == nil || checkName(name) != nil {
			return nil
		}
		c, prefix := b.Cursor(), hashKey(name)
		for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
			var one ChunkRecord
			_, index, hash, err := splitChunkKey(k)
			switch {
			case err != nil:
			case hash:
				h, err = decodeHash(r, k, v)
			default:
				one, err = decodeChunk(r, k, v, index)
				out = append(out, one)
			}
			if err != nil {
				return corrupt(l.path, err, "chunks of %q on route %d", name, r)
			}
		}
		return nil
	})
	if err != nil {
		return nil, HashState{}, err
	}
	return out, h, nil
}

// SavePass records a pass under its key; it and everything enqueued before it
// are durable when it returns.
func (l *Ledger) SavePass(ctx context.Context, p Pass) error {
	if err := checkName(p.Key); err != nil {
		return fmt.Errorf("save pass: %w", err)
	}
	p.Ranges = append([]PassRange(nil), p.Ranges...)
	return l.waitFor(ctx, "save pass", message{work: work{kind: workCatalog, do: func(b *batch) error {
		key := []byte(p.Key)
		return b.put(b.tx.Bucket([]byte(bucketPasses)), key, b.seal(func(a []byte) []byte { return appendPass(a, key, &p) }))
	}}})
}

// Pass reads one pass.
func (l *Ledger) Pass(key string) (p Pass, ok bool, err error) {
	err = l.view("read pass", func(tx *bbolt.Tx) error {
		v := tx.Bucket([]byte(bucketPasses)).Get([]byte(key))
		if v == nil {
			return nil
		}
		if p, err = decodePass([]byte(key), v); err != nil {
			return corrupt(l.path, err, "pass %q", key)
		}
		ok = true
		return nil
	})
	return p, ok, err
}

// Passes reads all passes, ascending by key.
func (l *Ledger) Passes() (out []Pass, err error) {
	err = l.view("read passes", func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucketPasses)).ForEach(func(k, v []byte) error {
			p, err := decodePass(k, v)
			if err != nil {
				return corrupt(l.path, err, "pass %q", k)
			}
			out = append(out, p)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// PutNote keeps a small value (at most MaxNote bytes) of the engine's own, such
// as what a probe found out about a region; durable when it returns. A nil value
// removes the note. Never put secrets here: a ledger is copied and dumped.
func (l *Ledger) PutNote(key string, value []byte) error {
	if err := checkName(key); err != nil {
		return fmt.Errorf("put note: %w", err)
	}
	if len(value) > MaxNote {
		return fmt.Errorf("put note %q: %w: %d bytes, %d are possible", key, ErrInvalid, len(value), MaxNote)
	}
	return l.wait("put note", noteWork(key, bytes.Clone(value)))
}

func noteWork(key string, value []byte) work {
	return work{kind: workCatalog, do: func(b *batch) error {
		k, bk := []byte(key), b.tx.Bucket([]byte(bucketNotes))
		if value == nil {
			return b.del(bk, k)
		}
		return b.put(bk, k, b.seal(func(a []byte) []byte { return appendNote(a, k, value) }))
	}}
}

// Note reads a note; the value is the caller's own copy.
func (l *Ledger) Note(key string) (value []byte, ok bool, err error) {
	err = l.view("read note", func(tx *bbolt.Tx) error {
		v := tx.Bucket([]byte(bucketNotes)).Get([]byte(key))
		if v == nil {
			return nil
		}
		if value, err = decodeNote([]byte(key), v); err != nil {
			return corrupt(l.path, err, "note %q", strings.ToValidUTF8(key, "?"))
		}
		ok = true
		return nil
	})
	return value, ok, err
}

// Notes reads the notes of which the keys begin with a prefix, in the order of their keys;
// the values are the caller's own copies.
func (l *Ledger) Notes(prefix string) (keys []string, values [][]byte, err error) {
	err = l.view("read notes", func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(bucketNotes)).Cursor()
		for k, v := c.Seek([]byte(prefix)); k != nil && bytes.HasPrefix(k, []byte(prefix)); k, v = c.Next() {
			value, err := decodeNote(k, v)
			if err != nil {
				return corrupt(l.path, err, "note %q", strings.ToValidUTF8(string(k), "?"))
			}
			keys, values = append(keys, string(k)), append(values, value)
		}
		return nil
	})
	return keys, values, err
}
