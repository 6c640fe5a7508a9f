package store

import (
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"
)

func (c *checker) series(tx *bbolt.Tx) error {
	return c.owners(tx, bucketSeries, c.knownPlace, func(owner uint32, b *bbolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			if err := c.tick(); err != nil {
				return err
			}
			key := fmt.Sprintf("series/%d/%q", owner, k)
			s, err := decodeSeries(PlaceID(owner), k, v)
			if err != nil {
				return c.report(ProblemRecord, key, "%v", err)
			}
			if err := s.Valid(); err != nil {
				if err := c.report(ProblemOrder, key, "%v", err); err != nil {
					return err
				}
			}
			for _, id := range s.routes() {
				if r := c.routes[id]; r == nil || r.From != PlaceID(owner) {
					if err := c.report(ProblemReference, key, "has a replica on route %d, which is not there or starts elsewhere", id); err != nil {
						return err
					}
				}
			}
			return nil
		})
	})
}

func (c *checker) needs(tx *bbolt.Tx) error {
	return c.owners(tx, bucketNeeds, c.knownRoute, func(owner uint32, b *bbolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			if err := c.tick(); err != nil {
				return err
			}
			key := fmt.Sprintf("needs/%d/%q", owner, k)
			if _, err := decodeNeeds(RouteID(owner), k, v); err != nil {
				return c.report(ProblemRecord, key, "%v", err)
			}
			r := c.routes[RouteID(owner)]
			if r == nil {
				return nil // reported with the bucket
			}
			// What does not decode there was reported already.
			if is, err := onRoute(tx, r, string(k), nil); err == nil && !is {
				return c.report(ProblemReference, key, "belongs to no replica and no intent")
			}
			return nil
		})
	})
}

func (c *checker) along(tx *bbolt.Tx) error {
	return c.owners(tx, bucketAlong, c.knownPlace, func(owner uint32, b *bbolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			if _, err := decodeCompanion(PlaceID(owner), k, v); err != nil {
				return c.report(ProblemRecord, fmt.Sprintf("along/%d/%q", owner, k), "%v", err)
			}
			return nil
		})
	})
}

func (c *checker) properties(tx *bbolt.Tx) error {
	return tx.Bucket([]byte(bucketProperties)).ForEach(func(k, v []byte) error {
		key := fmt.Sprintf("properties/%x", k)
		if _, _, err := decodeProperties(k, v); err != nil {
			return c.report(ProblemRecord, key, "%v", err)
		}
		if len(k) != 4 || !c.knownRoute(binary.BigEndian.Uint32(k)) {
			return c.report(ProblemReference, key, "belongs to a number that is not there")
		}
		return nil
	})
}
