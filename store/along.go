package store

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
)

// Companion is a part of another container of the same region and project, which
// comes along with a place because manifests there name segments in it.
type Companion struct {
	Container string
	Prefix    string // of the segments' names; "": all of the container
}

// AddCompanion records that a companion comes along with a place; durable when it
// returns. One that is there already costs nothing.
func (l *Ledger) AddCompanion(p PlaceID, c Companion) error {
	key, err := companionKey(c)
	if err != nil {
		return fmt.Errorf("add companion: %w", err)
	}
	return l.wait("add companion", work{kind: workCatalog, do: func(b *batch) error {
		if _, err := b.place(p); err != nil {
			return err
		}
		bk, err := b.sub(bucketAlong, uint32(p), true)
		if err != nil {
			return err
		}
		return b.put(bk, key, b.seal(func(a []byte) []byte {
			return seal(kindAlong, uint32(p), key, append(a, recordVersion), len(a))
		}))
	}})
}

// DropCompanion takes a companion back; durable when it returns. One that is not
// there is fine.
func (l *Ledger) DropCompanion(p PlaceID, c Companion) error {
	key, err := companionKey(c)
	if err != nil {
		return fmt.Errorf("drop companion: %w", err)
	}
	return l.wait("drop companion", work{kind: workCatalog, do: func(b *batch) error {
		bk, err := b.sub(bucketAlong, uint32(p), false)
		if err != nil {
			return err
		}
		return b.del(bk, key)
	}})
}

// Companions reads what comes along with a place, by container and prefix.
func (l *Ledger) Companions(p PlaceID) (out []Companion, err error) {
	err = l.view("read companions", func(tx *bbolt.Tx) error {
		b := owned(tx, bucketAlong, uint32(p))
		if b == nil {
			return nil
		}
		return b.ForEach(func(k, v []byte) error {
			c, err := decodeCompanion(p, k, v)
			if err != nil {
				return corrupt(l.path, err, "companion %q of place %d", k, p)
			}
			out = append(out, c)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b Companion) int {
		return cmp.Or(cmp.Compare(a.Container, b.Container), cmp.Compare(a.Prefix, b.Prefix))
	})
	return out, nil
}

// companionKey is the length of the container's name, the name, and the prefix.
func companionKey(c Companion) ([]byte, error) {
	if c.Container == "" || len(c.Container)+len(c.Prefix) > MaxName {
		return nil, fmt.Errorf("%w: container %q with prefix %q (1 to %d bytes are possible)", ErrInvalid, c.Container, c.Prefix, MaxName)
	}
	return append(hashKey(c.Container), c.Prefix...), nil
}

func decodeCompanion(p PlaceID, key, v []byte) (Companion, error) {
	body, err := unseal(kindAlong, uint32(p), key, v)
	if err != nil {
		return Companion{}, err
	}
	d := decoder{b: body}
	if err := d.done(); err != nil {
		return Companion{}, err
	}
	if len(key) < 2 || int(binary.BigEndian.Uint16(key)) > len(key)-2 {
		return Companion{}, fmt.Errorf("%w: companion key's length", errDecode)
	}
	n := 2 + int(binary.BigEndian.Uint16(key))
	return Companion{Container: string(key[2:n]), Prefix: string(key[n:])}, nil
}

// PutProperties records the digest of the container's or account's properties that
// were last carried on a route, and when (µs); durable when it returns.
func (l *Ledger) PutProperties(r RouteID, digest [8]byte, at int64) error {
	return l.wait("put properties", work{kind: workCatalog, do: func(b *batch) error {
		if _, err := b.route(r); err != nil {
			return err
		}
		key := be32(uint32(r))
		return b.put(b.tx.Bucket([]byte(bucketProperties)), key, b.seal(func(a []byte) []byte { return appendProperties(a, key, digest, at) }))
	}})
}

// Properties reads what PutProperties recorded; ok is false when there is nothing.
func (l *Ledger) Properties(r RouteID) (digest [8]byte, at int64, ok bool, err error) {
	err = l.view("read properties", func(tx *bbolt.Tx) error {
		key := be32(uint32(r))
		v := tx.Bucket([]byte(bucketProperties)).Get(key)
		if v == nil {
			return nil
		}
		if digest, at, err = decodeProperties(key, v); err != nil {
			return corrupt(l.path, err, "properties of route %d", r)
		}
		ok = true
		return nil
	})
	return digest, at, ok, err
}

func appendProperties(b, key []byte, digest [8]byte, at int64) []byte {
	from := len(b)
	b = append(b, recordVersion)
	b = append(b, digest[:]...)
	b = binary.AppendVarint(b, at)
	return seal(kindProperties, 0, key, b, from)
}

func decodeProperties(key, v []byte) (digest [8]byte, at int64, err error) {
	body, err := unseal(kindProperties, 0, key, v)
	if err != nil {
		return digest, 0, err
	}
	d := decoder{b: body}
	copy(digest[:], d.take(8))
	at = d.varint()
	return digest, at, d.done()
}
