package store

import (
	"bytes"
	"fmt"
)

// putIntent writes an intent. One for another version or layout makes the
// chunks of the old one worthless.
func (b *batch) putIntent(in *Intent) error {
	if _, err := b.route(in.Route); err != nil {
		return err
	}
	bk, err := b.sub(bucketIntents, uint32(in.Route), true)
	if err != nil {
		return err
	}
	key := []byte(in.Name)
	if v := bk.Get(key); v != nil {
		old, err := decodeIntent(in.Route, key, v)
		if err != nil {
			return corrupt(b.l.path, err, "intent %q of route %d", in.Name, in.Route)
		}
		if old.Version != in.Version || old.Size != in.Size || old.Layout != in.Layout {
			if err := b.dropChunks(in.Route, in.Name); err != nil {
				return err
			}
		}
	}
	return b.put(bk, key, b.seal(func(a []byte) []byte { return appendIntent(a, key, in) }))
}

func (b *batch) dropIntent(r RouteID, name string) error {
	bk, err := b.sub(bucketIntents, uint32(r), false)
	if err != nil || bk == nil {
		return err
	}
	if bk.Get([]byte(name)) == nil {
		return nil // and so no chunks
	}
	if err := b.dropChunks(r, name); err != nil {
		return err
	}
	return b.del(bk, []byte(name))
}

func (b *batch) dropChunks(r RouteID, name string) error {
	bk, err := b.sub(bucketChunks, uint32(r), false)
	if err != nil || bk == nil {
		return err
	}
	prefix := hashKey(name)
	var keys [][]byte // deleting under a cursor skips keys
	c := bk.Cursor()
	for k, _ := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	for _, k := range keys {
		if err := b.del(bk, k); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) putChunk(r RouteID, name string, c ChunkRecord, h *HashState) error {
	ib, err := b.sub(bucketIntents, uint32(r), false)
	if err != nil {
		return err
	}
	var v []byte
	if ib != nil {
		v = ib.Get([]byte(name))
	}
	if v == nil {
		return fmt.Errorf("%w: object %q on route %d", ErrNoIntent, name, r)
	}
	in, err := decodeIntent(r, []byte(name), v)
	if err != nil {
		return corrupt(b.l.path, err, "intent %q of route %d", name, r)
	}
	if c.Index >= in.Layout.Count() {
		return fmt.Errorf("%w: object %q on route %d has no chunk %d", ErrInvalid, name, r, c.Index)
	}
	bk, err := b.sub(bucketChunks, uint32(r), true)
	if err != nil {
		return err
	}
	key := chunkKey(name, c.Index)
	if err := b.put(bk, key, b.seal(func(a []byte) []byte { return appendChunk(a, r, key, c) })); err != nil || h == nil {
		return err
	}
	hk := hashKey(name)
	return b.put(bk, hk, b.seal(func(a []byte) []byte { return appendHash(a, r, hk, h) }))
}
