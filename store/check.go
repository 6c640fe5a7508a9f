package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"go.etcd.io/bbolt"
)

// The kinds of Problem.
const (
	ProblemPage      = "page"      // the file's own structure
	ProblemRecord    = "record"    // does not decode, or its checksum is wrong
	ProblemBucket    = "bucket"    // missing, or not one of ours
	ProblemCount     = "count"     // a counter disagrees with the records
	ProblemIndex     = "index"     // an index disagrees with the records
	ProblemReference = "reference" // names a place, route, object, intent or backup that is not there
	ProblemOrder     = "order"     // a series' versions contradict each other
)

// Problem is one thing that Check found.
type Problem struct {
	Kind   string `json:"kind"`
	Key    string `json:"key"`
	Detail string `json:"detail"`
}

// String puts it on one line.
func (p Problem) String() string { return p.Kind + " " + p.Key + ": " + p.Detail }

// pageProblems bounds how much of bbolt's own findings is passed on: one bad page
// can make thousands.
const pageProblems = 100

// Check examines the ledger at path, which nobody may have open for writing, and
// calls yield for every problem; an error of yield ends it and is returned. It
// changes nothing. It returns an error when it could not look: no such file, in
// use, no ledger, damaged beyond reading, of another format. Memory: about 50
// bytes a page of the file, bbolt's own check's.
func Check(ctx context.Context, path string, yield func(Problem) error) error {
	return checkWith(ctx, path, Options{}, yield)
}

func checkWith(ctx context.Context, path string, o Options, yield func(Problem) error) error {
	o.ReadOnly = true
	db, file, err := openFile(path, o)
	if err != nil {
		return err
	}
	return errors.Join(checkFile(ctx, path, db, file, yield), guard(db.Close))
}

// Check examines an open ledger like the function Check. What was enqueued before
// is committed first, and writers wait until it is done: bbolt's check cannot run
// beside them.
func (l *Ledger) Check(ctx context.Context, yield func(Problem) error) error {
	if err := l.usable("check"); err != nil {
		return err
	}
	return l.exclusive(ctx, "check", func() error {
		l.dbMu.RLock()
		defer l.dbMu.RUnlock()
		return checkFile(ctx, l.path, l.db, l.file, yield)
	})
}

// yieldError keeps what the caller's yield said apart from damage.
type yieldError struct{ err error }

func (e *yieldError) Error() string { return e.err.Error() }
func (e *yieldError) Unwrap() error { return e.err }

func checkFile(ctx context.Context, path string, db *bbolt.DB, file *os.File, yield func(Problem) error) error {
	found := 0
	var stop error
	c := &checker{ctx: ctx}
	c.yield = func(p Problem) error {
		if stop != nil {
			return stop // told to stop is told for good
		}
		found++
		c.foreign = true
		err := yield(p)
		c.foreign = false
		if err != nil {
			stop = &yieldError{err}
		}
		return stop
	}
	err := walkPages(file, c.tick, func(id uint64, detail string) error {
		return c.report(ProblemPage, fmt.Sprintf("page %d", id), "%s", detail)
	})
	if err == nil && found == 0 {
		// Only now is it safe to let bbolt follow the pages.
		err = c.bolt(db)
	}
	if err == nil && found == 0 {
		err = guardExcept(&c.foreign, func() error {
			have, err := readSchema(db)
			switch {
			case err != nil:
				return unfit(path, err)
			case have > schemaVersion:
				return &Error{Kind: ErrNewer, Path: path, Detail: fmt.Sprintf("format %d", have), Hint: "check it with the newer farshore"}
			case have < schemaVersion:
				return &Error{Path: path, Detail: fmt.Sprintf("format %d is older", have), Hint: "run a command that writes, such as `farshore ledger compact`: it keeps a copy of the file and brings it up to date"}
			}
			return db.View(c.records)
		})
	}
	var own *yieldError
	if errors.As(err, &own) {
		return own.err
	}
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("check: %w", context.Cause(ctx))
	}
	return wrap(path, "check", err)
}

// checker looks at the records and remembers what has to add up.
type checker struct {
	ctx   context.Context //nolint:containedctx // lives as long as one check
	yield func(Problem) error
	seen  int
	// foreign is set while yield runs: its panic is not damage.
	foreign bool

	places map[PlaceID]*PlaceInfo // with what the records say
	routes map[RouteID]*RouteInfo
	blind  bool // a record did not decode, so that counts cannot agree
}

func (c *checker) report(kind, key, format string, args ...any) error {
	return c.yield(Problem{Kind: kind, Key: key, Detail: fmt.Sprintf(format, args...)})
}

func (c *checker) tick() error {
	if c.seen++; c.seen%1024 == 0 {
		return c.ctx.Err()
	}
	return nil
}

// bolt runs bbolt's own check. Its channel is always drained: the goroutine behind
// it would stay otherwise.
func (c *checker) bolt(db *bbolt.DB) error {
	return guardExcept(&c.foreign, func() error {
		return db.View(func(tx *bbolt.Tx) error {
			var err error
			n := 0
			for found := range tx.Check() {
				if n++; err == nil && n <= pageProblems {
					err = c.report(ProblemPage, "file", "%v", found)
				}
			}
			if err == nil && n > pageProblems {
				err = c.report(ProblemPage, "file", "and %d more", n-pageProblems)
			}
			return err
		})
	})
}

func (c *checker) records(tx *bbolt.Tx) error {
	missing := false
	for _, name := range topBuckets() {
		if tx.Bucket([]byte(name)) == nil {
			missing = true
			if err := c.report(ProblemBucket, name, "is not there"); err != nil {
				return err
			}
		}
	}
	err := tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
		if b == nil || !slices.Contains(topBuckets(), string(name)) {
			return c.report(ProblemBucket, fmt.Sprintf("%q", name), "is not one of ours")
		}
		return nil
	})
	if err != nil || missing {
		return err
	}
	for _, part := range []func(*bbolt.Tx) error{
		c.meta, c.catalog, c.allObjects, c.indexOwners, c.intents, c.chunks, c.passes,
		c.series, c.needs, c.along, c.properties, c.points, c.works, c.counts,
	} {
		if err := part(tx); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) meta(tx *bbolt.Tx) error {
	m := tx.Bucket([]byte(bucketMeta))
	if _, n := binary.Varint(m.Get([]byte(metaCreated))); n <= 0 {
		if err := c.report(ProblemRecord, "meta/created", "is no time"); err != nil {
			return err
		}
	}
	if n := len(m.Get([]byte(metaUUID))); n != 16 {
		return c.report(ProblemRecord, "meta/uuid", "has %d bytes", n)
	}
	return nil
}

func (c *checker) catalog(tx *bbolt.Tx) error {
	c.places, c.routes = map[PlaceID]*PlaceInfo{}, map[RouteID]*RouteInfo{}
	names, ways := map[Place]PlaceID{}, map[Route]RouteID{}
	pb := tx.Bucket([]byte(bucketPlaces))
	err := pb.ForEach(func(k, v []byte) error {
		key := fmt.Sprintf("places/%x", k)
		if len(k) != 4 || uint64(binary.BigEndian.Uint32(k)) > pb.Sequence() {
			return c.report(ProblemRecord, key, "number was never given out")
		}
		p, err := decodePlace(PlaceID(binary.BigEndian.Uint32(k)), k, v)
		if err != nil {
			return c.report(ProblemRecord, key, "%v", err)
		}
		if other, ok := names[p.Place]; ok {
			if err := c.report(ProblemReference, key, "is the same place as %d", other); err != nil {
				return err
			}
		}
		names[p.Place] = p.ID
		c.places[p.ID] = &PlaceInfo{ID: p.ID, Place: p.Place}
		return nil
	})
	if err != nil {
		return err
	}
	rb := tx.Bucket([]byte(bucketRoutes))
	return rb.ForEach(func(k, v []byte) error {
		key := fmt.Sprintf("routes/%x", k)
		if len(k) != 4 || uint64(binary.BigEndian.Uint32(k)) > rb.Sequence() {
			return c.report(ProblemRecord, key, "number was never given out")
		}
		r, err := decodeRoute(RouteID(binary.BigEndian.Uint32(k)), k, v)
		if err != nil {
			return c.report(ProblemRecord, key, "%v", err)
		}
		from, ok1 := c.places[r.From]
		to, ok2 := c.places[r.To]
		if !ok1 || !ok2 {
			return c.report(ProblemReference, key, "goes from place %d to place %d, which are not both there", r.From, r.To)
		}
		r.Route.From, r.Route.To = from.Place, to.Place
		if other, ok := ways[r.Route]; ok {
			if err := c.report(ProblemReference, key, "is the same route as %d", other); err != nil {
				return err
			}
		}
		ways[r.Route] = r.ID
		r.Confirmed = 0
		c.routes[r.ID] = &r
		return nil
	})
}

// owners calls fn for each nested bucket of a top bucket.
func (c *checker) owners(tx *bbolt.Tx, top string, known func(uint32) bool, fn func(owner uint32, b *bbolt.Bucket) error) error {
	tb := tx.Bucket([]byte(top))
	return tb.ForEach(func(k, v []byte) error {
		key := fmt.Sprintf("%s/%x", top, k)
		if v != nil || len(k) != 4 {
			return c.report(ProblemBucket, key, "is not a bucket of ours")
		}
		owner := binary.BigEndian.Uint32(k)
		if !known(owner) {
			if err := c.report(ProblemReference, key, "belongs to a number that is not there"); err != nil {
				return err
			}
		}
		return fn(owner, tb.Bucket(k))
	})
}

func (c *checker) knownPlace(n uint32) bool { return c.places[PlaceID(n)] != nil }
func (c *checker) knownRoute(n uint32) bool { return c.routes[RouteID(n)] != nil }

func (c *checker) allObjects(tx *bbolt.Tx) error {
	return c.owners(tx, bucketObjects, c.knownPlace, func(owner uint32, b *bbolt.Bucket) error {
		missing := c.indexWalk(tx, bucketMissing, owner)
		trouble := c.indexWalk(tx, bucketTroubled, owner)
		err := b.ForEach(func(k, v []byte) error {
			if err := c.tick(); err != nil {
				return err
			}
			o, err := decodeObject(PlaceID(owner), k, v)
			if err != nil {
				c.blind = true
				return errors.Join(c.report(ProblemRecord, fmt.Sprintf("objects/%d/%q", owner, k), "%v", err),
					missing.at(k, nil), trouble.at(k, nil))
			}
			is, bad := o.Missing != 0, troubled(&o)
			if err := errors.Join(missing.at(k, &is), trouble.at(k, &bad)); err != nil {
				return err
			}
			return c.object(owner, &o)
		})
		if err != nil {
			return err
		}
		return errors.Join(missing.end(), trouble.end())
	})
}

func (c *checker) object(owner uint32, o *Object) error {
	key := func() string { return fmt.Sprintf("objects/%d/%q", owner, o.Name) }
	if p := c.places[PlaceID(owner)]; p != nil {
		p.Objects++
		if o.Missing == 0 {
			p.Present++
		}
	}
	for i := range o.Replicas {
		r := c.routes[o.Replicas[i].Route]
		if r == nil || r.From != PlaceID(owner) {
			if err := c.report(ProblemReference, key(), "has a replica on route %d, which is not there or starts elsewhere", o.Replicas[i].Route); err != nil {
				return err
			}
			continue
		}
		if confirmed(o, &o.Replicas[i]) {
			r.Confirmed++
		}
	}
	return nil
}

// indexWalk goes through an index beside the records, which have the same order.
type indexWalk struct {
	c      *checker
	name   string
	cursor *bbolt.Cursor
	k      []byte
}

func (c *checker) indexWalk(tx *bbolt.Tx, top string, owner uint32) *indexWalk {
	w := &indexWalk{c: c, name: fmt.Sprintf("%s/%d", top, owner)}
	if b := owned(tx, top, owner); b != nil {
		w.cursor = b.Cursor()
		w.k, _ = w.cursor.First()
	}
	return w
}

// at compares the index at a record; want is nil when the record cannot be read.
func (w *indexWalk) at(name []byte, want *bool) error {
	for w.k != nil && bytes.Compare(w.k, name) < 0 {
		if err := w.stray(); err != nil {
			return err
		}
	}
	has := w.k != nil && bytes.Equal(w.k, name)
	if has {
		w.k, _ = w.cursor.Next()
	}
	if want == nil || has == *want {
		return nil
	}
	if has {
		return w.c.report(ProblemIndex, fmt.Sprintf("%s/%q", w.name, name), "should not be there")
	}
	return w.c.report(ProblemIndex, fmt.Sprintf("%s/%q", w.name, name), "is not there")
}

func (w *indexWalk) stray() error {
	err := w.c.report(ProblemIndex, fmt.Sprintf("%s/%q", w.name, w.k), "names an object that is not there")
	w.k, _ = w.cursor.Next()
	return err
}

func (w *indexWalk) end() error {
	for w.k != nil {
		if err := w.stray(); err != nil {
			return err
		}
	}
	return nil
}

// indexOwners finds indexes of places that have no records at all.
func (c *checker) indexOwners(tx *bbolt.Tx) error {
	for _, top := range []string{bucketMissing, bucketTroubled} {
		err := c.owners(tx, top, c.knownPlace, func(owner uint32, _ *bbolt.Bucket) error {
			if owned(tx, bucketObjects, owner) != nil {
				return nil
			}
			return c.indexWalk(tx, top, owner).end()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) intents(tx *bbolt.Tx) error {
	return c.owners(tx, bucketIntents, c.knownRoute, func(owner uint32, b *bbolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			if err := c.tick(); err != nil {
				return err
			}
			if _, err := decodeIntent(RouteID(owner), k, v); err != nil {
				return c.report(ProblemRecord, fmt.Sprintf("intents/%d/%q", owner, k), "%v", err)
			}
			return nil
		})
	})
}

func (c *checker) chunks(tx *bbolt.Tx) error {
	return c.owners(tx, bucketChunks, c.knownRoute, func(owner uint32, b *bbolt.Bucket) error {
		intents := owned(tx, bucketIntents, owner)
		return b.ForEach(func(k, v []byte) error {
			if err := c.tick(); err != nil {
				return err
			}
			key := fmt.Sprintf("chunks/%d/%q", owner, k)
			name, index, hash, err := splitChunkKey(k)
			if err == nil && hash {
				_, err = decodeHash(RouteID(owner), k, v)
			} else if err == nil {
				_, err = decodeChunk(RouteID(owner), k, v, index)
			}
			if err != nil {
				return c.report(ProblemRecord, key, "%v", err)
			}
			var iv []byte
			if intents != nil {
				iv = intents.Get([]byte(name))
			}
			if iv == nil {
				return c.report(ProblemReference, key, "belongs to no intent")
			}
			// An intent that does not decode was reported already.
			if in, err := decodeIntent(RouteID(owner), []byte(name), iv); err == nil && !hash && index >= in.Layout.Count() {
				return c.report(ProblemReference, key, "chunk %d of %d", index, in.Layout.Count())
			}
			return nil
		})
	})
}

func (c *checker) passes(tx *bbolt.Tx) error {
	err := tx.Bucket([]byte(bucketPasses)).ForEach(func(k, v []byte) error {
		if _, err := decodePass(k, v); err != nil {
			return c.report(ProblemRecord, fmt.Sprintf("passes/%q", k), "%v", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return tx.Bucket([]byte(bucketNotes)).ForEach(func(k, v []byte) error {
		if _, err := decodeNote(k, v); err != nil {
			return c.report(ProblemRecord, fmt.Sprintf("notes/%q", k), "%v", err)
		}
		return nil
	})
}

// counts compares the counters with what the records added up to.
func (c *checker) counts(tx *bbolt.Tx) error {
	if c.blind {
		return nil
	}
	for id, want := range c.places {
		k := be32(uint32(id))
		p, err := decodePlace(id, k, tx.Bucket([]byte(bucketPlaces)).Get(k))
		if err == nil && (p.Objects != want.Objects || p.Present != want.Present) {
			if err := c.report(ProblemCount, fmt.Sprintf("places/%d", id), "says %d objects, %d present; there are %d and %d",
				p.Objects, p.Present, want.Objects, want.Present); err != nil {
				return err
			}
		}
	}
	for id, want := range c.routes {
		k := be32(uint32(id))
		r, err := decodeRoute(id, k, tx.Bucket([]byte(bucketRoutes)).Get(k))
		if err == nil && r.Confirmed != want.Confirmed {
			if err := c.report(ProblemCount, fmt.Sprintf("routes/%d", id), "says %d confirmed; there are %d", r.Confirmed, want.Confirmed); err != nil {
				return err
			}
		}
	}
	return nil
}
