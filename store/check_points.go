package store

import (
	"fmt"

	"go.etcd.io/bbolt"
)

// points looks at the restore points, their index, and whether each copy that could be
// restored has what it is an increment upon.
func (c *checker) points(tx *bbolt.Tx) error {
	index := tx.Bucket([]byte(bucketVolumes))
	type far struct{ region, backup string }
	kept, indexed := map[far]bool{}, map[string]bool{}
	type child struct{ point, region, parent string }
	var children []child
	blind := false
	err := tx.Bucket([]byte(bucketPoints)).ForEach(func(k, v []byte) error {
		if err := c.tick(); err != nil {
			return err
		}
		key := fmt.Sprintf("points/%q", k)
		p, err := decodePoint(k, v)
		if err != nil {
			blind = true
			return c.report(ProblemRecord, key, "%v", err)
		}
		at := volumeKey(p.Volume.ID, p.ID)
		indexed[string(at)] = true
		if index.Get(at) == nil {
			if err := c.report(ProblemIndex, fmt.Sprintf("volumes/%q", at), "is not there"); err != nil {
				return err
			}
		}
		for _, x := range p.Copies {
			if x.State == CopyExpired {
				continue
			}
			kept[far{x.Region, x.Backup}] = true
			if x.Parent != "" && (x.State == CopyLanded || x.State == CopyShipped) {
				children = append(children, child{p.ID, x.Region, x.Parent})
			}
		}
		return nil
	})
	if err != nil || blind { // what does not decode would be missing everywhere else
		return err
	}
	for _, x := range children {
		if !kept[far{x.region, x.parent}] {
			if err := c.report(ProblemReference, fmt.Sprintf("points/%q", x.point), "its copy in %s is an increment upon backup %s, which no point has there", x.region, x.parent); err != nil {
				return err
			}
		}
	}
	return index.ForEach(func(k, _ []byte) error {
		if indexed[string(k)] {
			return nil
		}
		return c.report(ProblemIndex, fmt.Sprintf("volumes/%q", k), "names a point that is not there, or of another volume")
	})
}

func (c *checker) works(tx *bbolt.Tx) error {
	err := tx.Bucket([]byte(bucketWorks)).ForEach(func(k, v []byte) error {
		if _, err := decodeWork(k, v); err != nil {
			return c.report(ProblemRecord, fmt.Sprintf("works/%q", k), "%v", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return tx.Bucket([]byte(bucketDrills)).ForEach(func(k, v []byte) error {
		if _, err := decodeDrill(k, v); err != nil {
			return c.report(ProblemRecord, fmt.Sprintf("drills/%q", k), "%v", err)
		}
		return nil
	})
}
