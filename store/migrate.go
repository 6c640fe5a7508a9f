package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// schemaVersion is the format that this version writes. Every released one has
// its file in testdata (R9) and its step in migrations.
const schemaVersion = 3

// migration brings a ledger from one format to the next in steps, each in a
// transaction of its own which also keeps the cursor: a killed one goes on where
// it was.
type migration struct {
	from uint32
	// step does a bounded piece of work from cursor on (nil at the start) and
	// says where the next one begins; nil when there is nothing left.
	step func(tx *bbolt.Tx, cursor []byte) (next []byte, err error)
}

// migrations are all steps there are; format 1 is the first.
func migrations() []migration {
	return []migration{
		{from: 1, step: addBuckets(bucketSeries, bucketNeeds, bucketAlong, bucketProperties)},
		{from: 2, step: addBuckets(bucketPoints, bucketVolumes, bucketWorks, bucketDrills)},
	}
}

// addBuckets makes those that the next format has and the one before has not.
func addBuckets(names ...string) func(*bbolt.Tx, []byte) ([]byte, error) {
	return func(tx *bbolt.Tx, _ []byte) (next []byte, err error) {
		for _, name := range names {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return nil, err
			}
		}
		return nil, nil
	}
}

// readSchema reads the format's number; any error means that this is no ledger.
func readSchema(db *bbolt.DB) (uint32, error) {
	var have uint32
	err := db.View(func(tx *bbolt.Tx) error {
		m := tx.Bucket([]byte(bucketMeta))
		if m == nil {
			return fmt.Errorf("%w: a database of something else", errForeign)
		}
		v := m.Get([]byte(metaSchema))
		if len(v) != 4 {
			return fmt.Errorf("%w: format number of %d bytes", errDamaged, len(v))
		}
		have = binary.BigEndian.Uint32(v)
		return nil
	})
	return have, err
}

// migrate copies the file aside as PATH.v<N>.bak and then takes it to format want.
func migrate(db *bbolt.DB, path string, have, want uint32, steps []migration) error {
	cursor, begun, err := migrationCursor(db)
	if err != nil {
		return err
	}
	if !begun {
		// Only an untouched file is worth keeping: a resumed migration has its copy already.
		if err := copyAside(db, fmt.Sprintf("%s.v%d.bak", path, have)); err != nil {
			return fmt.Errorf("copy aside: %w", err)
		}
	}
	for have < want {
		var m *migration
		for i := range steps {
			if steps[i].from == have {
				m = &steps[i]
			}
		}
		if m == nil {
			return fmt.Errorf("no way from format %d to %d", have, want)
		}
		for {
			err := db.Update(func(tx *bbolt.Tx) (err error) {
				if cursor, err = m.step(tx, cursor); err != nil {
					return err
				}
				meta := tx.Bucket([]byte(bucketMeta))
				if cursor != nil {
					return meta.Put([]byte(metaMigrate), cursor)
				}
				return errors.Join(meta.Delete([]byte(metaMigrate)), meta.Put([]byte(metaSchema), be32(have+1)))
			})
			if err != nil {
				return err
			}
			if cursor == nil {
				break
			}
		}
		have++
	}
	return nil
}

func migrationCursor(db *bbolt.DB) (cursor []byte, begun bool, err error) {
	err = db.View(func(tx *bbolt.Tx) error {
		if v := tx.Bucket([]byte(bucketMeta)).Get([]byte(metaMigrate)); v != nil {
			cursor, begun = append([]byte{}, v...), true
		}
		return nil
	})
	return cursor, begun, err
}

// copyAside writes a consistent copy and puts it in place in one go.
func copyAside(db *bbolt.DB, to string) error {
	tmp := to + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp) }() // gone when it was renamed
	w := bufio.NewWriterSize(f, 1<<20)
	err = db.View(func(tx *bbolt.Tx) error {
		_, err := tx.WriteTo(w)
		return err
	})
	if err := errors.Join(err, w.Flush(), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, to); err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}
