package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
)

// Need names a segment that a manifest needs: the first eight bytes of the SHA-256
// of "container/name" of the segment, at the destination. Two segments with the
// same Need are both kept while either is needed.
type Need [8]byte

// NeedOf gives the Need of a segment in a container of the destination.
func NeedOf(container, name string) Need {
	sum := sha256.Sum256([]byte(container + "/" + name))
	return Need(sum[:8])
}

func compareNeeds(a, b Need) int { return bytes.Compare(a[:], b[:]) }

// scanNeeds bounds one transaction of Needed, in needs looked at (R5): some
// milliseconds.
const scanNeeds = 100_000

// SetNeeds enqueues what the manifest that stands at a route's destination needs,
// under the object's name at the source, in order with Update, Confirm and the like
// about the same name; it does not wait. No needs remove the record. Those that
// come with the end of an intent go into its Confirmation.
//
// Needs belong to an object's replica, a series' replica or an intent of that name
// on that route: with the last of them the ledger drops the needs too. Set before
// there is any, they are kept (rather a segment too many than a manifest
// without one), and Check reports them.
func (l *Ledger) SetNeeds(r RouteID, name string, needs []Need) {
	if _, ok := l.findRouteID(r); !ok {
		_ = l.fail(fmt.Errorf("set needs of %q: %w: route %d", name, ErrUnknown, r))
		return
	}
	needs = sortedNeeds(needs)
	l.async("set needs", work{kind: workNamed, route: r, name: name, do: func(b *batch) error { return b.putNeeds(r, name, needs) }})
}

// sortedNeeds gives a copy in order, each once.
func sortedNeeds(needs []Need) []Need {
	out := slices.Clone(needs)
	slices.SortFunc(out, compareNeeds)
	return slices.Compact(out)
}

// Needs reads what is recorded under a name on a route, ascending; nil when there
// is nothing.
func (l *Ledger) Needs(r RouteID, name string) (out []Need, err error) {
	err = l.view("read needs", func(tx *bbolt.Tx) error {
		b := owned(tx, bucketNeeds, uint32(r))
		if b == nil {
			return nil
		}
		v := b.Get([]byte(name))
		if v == nil {
			return nil
		}
		if out, err = decodeNeeds(r, []byte(name), v); err != nil {
			return corrupt(l.path, err, "needs of %q on route %d", name, r)
		}
		return nil
	})
	return out, err
}

// Needed says which of the candidates a manifest on one of the routes needs: those
// alone are in the map. What was enqueued before counts. It reads all needs of
// the routes once, page by page; what is set meanwhile may or may not count, so
// the caller sees to it that no manifest comes to need a candidate until it is
// done with it.
func (l *Ledger) Needed(ctx context.Context, routes []RouteID, candidates []Need) (map[Need]bool, error) {
	if l.queue != nil {
		if err := l.Flush(ctx); err != nil {
			return nil, err
		}
	}
	sorted, found := sortedNeeds(candidates), map[Need]bool{}
	for _, r := range routes {
		for pos, more := "", true; more && len(found) < len(sorted); {
			if ctx.Err() != nil {
				return nil, fmt.Errorf("read needs: %w", context.Cause(ctx))
			}
			err := l.view("read needs", func(tx *bbolt.Tx) error {
				var err error
				pos, more, err = l.needsPage(tx, r, pos, func(_ string, needs []Need) {
					for _, n := range needs {
						if _, ok := slices.BinarySearchFunc(sorted, n, compareNeeds); ok {
							found[n] = true
						}
					}
				})
				return err
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return found, nil
}

// needsPage looks at one page of a route's needs, from the name above pos on.
func (l *Ledger) needsPage(tx *bbolt.Tx, r RouteID, pos string, see func(name string, needs []Need)) (next string, more bool, err error) {
	b := owned(tx, bucketNeeds, uint32(r))
	if b == nil {
		return "", false, nil
	}
	c, keys, seen := b.Cursor(), 0, 0
	for k, v := after(c, pos); k != nil; k, v = c.Next() {
		if keys++; keys > MaxPage || seen >= scanNeeds {
			return pos, true, nil
		}
		needs, err := decodeNeeds(r, k, v)
		if err != nil {
			return "", false, corrupt(l.path, err, "needs of %q on route %d", k, r)
		}
		see(string(k), needs)
		seen += len(needs)
		pos = string(k)
	}
	return pos, false, nil
}

func (b *batch) putNeeds(r RouteID, name string, needs []Need) error {
	if err := checkName(name); err != nil {
		return err
	}
	bk, err := b.sub(bucketNeeds, uint32(r), len(needs) > 0)
	if err != nil {
		return err
	}
	key := []byte(name)
	if len(needs) == 0 {
		return b.del(bk, key)
	}
	return b.put(bk, key, b.seal(func(a []byte) []byte { return appendNeeds(a, r, key, needs) }))
}

// settleNeeds drops the needs under a name on a route when nothing of that name
// is on that route any more.
func (b *batch) settleNeeds(r RouteID, name string) error {
	bk, err := b.sub(bucketNeeds, uint32(r), false)
	if err != nil || bk == nil || bk.Get([]byte(name)) == nil {
		return err
	}
	info, err := b.route(r)
	if err != nil {
		return err
	}
	var s *Series
	if o := b.series; o != nil && o.place == info.From && o.s.Name == name {
		s = &o.s // newer than its record
	}
	is, err := onRoute(b.tx, info, name, s)
	if err != nil {
		return corrupt(b.l.path, err, "records of %q of place %d", name, info.From)
	}
	if is {
		return nil
	}
	return b.del(bk, []byte(name))
}

// onRoute says whether an object's replica, a series' replica or an intent of this
// name is on the route; s, if not nil, stands for the series' record.
func onRoute(tx *bbolt.Tx, r *RouteInfo, name string, s *Series) (bool, error) {
	key := []byte(name)
	get := func(top string, owner uint32) []byte {
		if bk := owned(tx, top, owner); bk != nil {
			return bk.Get(key)
		}
		return nil
	}
	if get(bucketIntents, uint32(r.ID)) != nil {
		return true, nil
	}
	if v := get(bucketObjects, uint32(r.From)); v != nil {
		o, err := decodeObject(r.From, key, v)
		if err != nil {
			return false, err
		}
		if _, is := o.Replica(r.ID); is {
			return true, nil
		}
	}
	if s == nil {
		s = &Series{}
		if v := get(bucketSeries, uint32(r.From)); v != nil {
			var err error
			if *s, err = decodeSeries(r.From, key, v); err != nil {
				return false, err
			}
		}
	}
	return slices.Contains(s.routes(), r.ID), nil
}

func appendNeeds(b []byte, r RouteID, key []byte, needs []Need) []byte {
	from := len(b)
	b = append(b, recordVersion)
	b = binary.AppendUvarint(b, uint64(len(needs)))
	for _, n := range needs {
		b = append(b, n[:]...)
	}
	return seal(kindNeeds, uint32(r), key, b, from)
}

func decodeNeeds(r RouteID, key, v []byte) ([]Need, error) {
	body, err := unseal(kindNeeds, uint32(r), key, v)
	if err != nil {
		return nil, err
	}
	d := decoder{b: body}
	out := make([]Need, d.count())
	if len(out) == 0 {
		d.fail("no needs")
	}
	for i := range out {
		copy(out[i][:], d.take(8))
		if i > 0 && compareNeeds(out[i-1], out[i]) >= 0 {
			d.fail("needs not ascending")
		}
	}
	return out, d.done()
}
