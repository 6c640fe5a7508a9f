package store

import (
	"bytes"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
)

// Series is what the ledger knows of the history of one name in a versioned
// container. Swift makes version ids itself, so those of the source are mapped to
// those that a destination gave (S7).
type Series struct {
	Name string
	// Versions are oldest first, which is how they have to be replayed.
	Versions []SeriesVersion
}

// SeriesVersion is one version of a name.
type SeriesVersion struct {
	ID      string // the source's version id, opaque and never ""
	Version Version
	Size    int64
	Marker  bool    // a delete marker, which has no content
	Latest  bool    // what a request without a version id gets; not always the youngest one
	Meta    [8]byte // digest of the kept headers; zero when never seen
	// Missing is when (µs) a listing first lacked the version; 0 while it is listed.
	Missing int64
	// Replicas are ascending by Route, one a route.
	Replicas []SeriesReplica
}

// SeriesReplica is what the ledger knows of one version on one route.
type SeriesReplica struct {
	Route     RouteID
	ID        string // the destination's version id; "" when it has none (yet)
	ETag      string // the destination's when it is not the version's, as in Replica
	Written   int64  // µs, as in Replica
	Confirmed int64  // µs: when the destination confirmed it
	State     ReplicaState
	Current   bool   // the destination gives it to a request without a version id
	Touched   bool   // its headers changed at the source since, and are to be carried
	Adopted   bool   // found identical there, not sent
	Note      string // as in Replica
}

// Find gives the version with the source's id, to read or change in place; nil
// when there is none.
func (s *Series) Find(id string) *SeriesVersion {
	for i := range s.Versions {
		if s.Versions[i].ID == id {
			return &s.Versions[i]
		}
	}
	return nil
}

// Replica returns the version's replica on a route.
func (v *SeriesVersion) Replica(r RouteID) (SeriesReplica, bool) {
	for _, x := range v.Replicas {
		if x.Route == r {
			return x, true
		}
	}
	return SeriesReplica{}, false
}

// SetReplica adds or replaces the replica of x.Route, keeping the order.
func (v *SeriesVersion) SetReplica(x SeriesReplica) {
	for i := range v.Replicas {
		if v.Replicas[i].Route >= x.Route {
			if v.Replicas[i].Route == x.Route {
				v.Replicas[i] = x
				return
			}
			v.Replicas = append(v.Replicas[:i], append([]SeriesReplica{x}, v.Replicas[i:]...)...)
			return
		}
	}
	v.Replicas = append(v.Replicas, x)
}

// DropReplica removes the replica of a route, if there is one.
func (v *SeriesVersion) DropReplica(r RouteID) {
	for i := range v.Replicas {
		if v.Replicas[i].Route == r {
			v.Replicas = append(v.Replicas[:i], v.Replicas[i+1:]...)
			return
		}
	}
}

// Valid says what would keep the ledger from taking a series (ErrInvalid): an id
// that is empty or there twice, at the source or on a route; Swift's ids (times)
// that do not ascend; more than one latest version; replicas that are not ascending
// by route or without a state. A caller that builds one from somebody's listing
// asks before UpdateSeries, where it is a write error.
func (s *Series) Valid() error {
	type far struct {
		route RouteID
		id    string
	}
	ids, fars := map[string]struct{}{}, make(map[far]struct{}, len(s.Versions))
	latest, last := 0, int64(-1)
	bad := func(id, format string, args ...any) error {
		return fmt.Errorf("%w: series %q: version %q %s", ErrInvalid, s.Name, id, fmt.Sprintf(format, args...))
	}
	for i := range s.Versions {
		v := &s.Versions[i]
		if v.ID == "" {
			return bad(v.ID, "has no id")
		}
		if at, ok := parseStamp(v.ID); ok {
			if at <= last {
				return bad(v.ID, "is there twice, or comes after a younger one")
			}
			last = at
		} else {
			if _, twice := ids[v.ID]; twice {
				return bad(v.ID, "is there twice")
			}
			ids[v.ID] = struct{}{}
		}
		if v.Latest {
			latest++
		}
		var route RouteID
		for _, r := range v.Replicas {
			if r.Route <= route {
				return bad(v.ID, "has replicas not ascending by route")
			}
			route = r.Route
			if r.State < Confirmed || r.State > Lost {
				return bad(v.ID, "has a replica of state %d", r.State)
			}
			if _, twice := fars[far{route, r.ID}]; twice {
				return bad(v.ID, "is %q on route %d, as another one", r.ID, route)
			}
			if r.ID != "" {
				fars[far{route, r.ID}] = struct{}{}
			}
		}
	}
	if latest > 1 {
		return fmt.Errorf("%w: series %q: %d versions are the latest", ErrInvalid, s.Name, latest)
	}
	return nil
}

// routes gives the routes that any version has a replica on.
func (s *Series) routes() (out []RouteID) {
	for i := range s.Versions {
		for j := range s.Versions[i].Replicas {
			if r := s.Versions[i].Replicas[j].Route; !slices.Contains(out, r) { // they are few
				out = append(out, r)
			}
		}
	}
	return out
}

// Series reads the history of one name.
func (l *Ledger) Series(p PlaceID, name string) (s Series, ok bool, err error) {
	err = l.view("read series", func(tx *bbolt.Tx) error {
		b := owned(tx, bucketSeries, uint32(p))
		if b == nil {
			return nil
		}
		v := b.Get([]byte(name))
		if v == nil {
			return nil
		}
		if s, err = decodeSeries(p, []byte(name), v); err != nil {
			return corrupt(l.path, err, "series %q of place %d", name, p)
		}
		ok = true
		return nil
	})
	return s, ok, err
}

// SeriesPage reads up to limit series (at most, and by default, MaxPage) with names
// in (after, through] that begin with prefix, ascending by bytes; "" means no
// bound. It ends early when it has read MaxPage versions, so that only an empty
// page is the end.
func (l *Ledger) SeriesPage(p PlaceID, afterName, through, prefix string, limit int) ([]Series, error) {
	limit = pageLimit(limit)
	var out []Series
	err := l.view("read series", func(tx *bbolt.Tx) error {
		b := owned(tx, bucketSeries, uint32(p))
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
		for versions := 0; k != nil && len(out) < limit && versions < MaxPage; k, v = c.Next() {
			if !bytes.HasPrefix(k, []byte(prefix)) || through != "" && string(k) > through {
				return nil
			}
			s, err := decodeSeries(p, k, v)
			if err != nil {
				return corrupt(l.path, err, "series %q of place %d", k, p)
			}
			out = append(out, s)
			versions += len(s.Versions)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// UpdateSeries enqueues a read-modify-write of the history of one name, in order
// with Update, Confirm and the like about the same name; what Update says of fn and
// of waiting holds here too. One without versions is removed. fn must leave the
// series Valid, with replicas on routes that start at p, and share no slices with
// it: the next change is made in place.
func (l *Ledger) UpdateSeries(p PlaceID, name string, fn func(s *Series, exists bool) (keep bool)) {
	l.async("update series", work{kind: workNamed, place: p, name: name, do: func(b *batch) error { return b.updateSeries(p, name, fn) }})
}

// openSeries is the history at hand. Changes of one name follow each other in a
// batch, so that a long one is decoded and encoded once for all of them.
type openSeries struct {
	place  PlaceID
	bucket *bbolt.Bucket
	exists bool
	s      Series
}

func (b *batch) updateSeries(p PlaceID, name string, fn func(*Series, bool) bool) error {
	if err := checkName(name); err != nil {
		return err
	}
	if _, err := b.place(p); err != nil {
		return err
	}
	if err := b.openSeries(p, name); err != nil {
		return err
	}
	o := b.series
	had := o.s.routes()
	b.foreign = true
	keep := fn(&o.s, o.exists)
	b.foreign = false
	o.s.Name = name
	if !keep {
		o.s.Versions = nil
	}
	o.exists = len(o.s.Versions) > 0
	for _, id := range o.s.routes() {
		r, err := b.route(id)
		if err != nil {
			return err
		}
		if r.From != p {
			return fmt.Errorf("%w: series %q of place %d has a replica on route %d, which starts elsewhere", ErrInvalid, name, p, id)
		}
	}
	for _, r := range had {
		if err := b.settleNeeds(r, name); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) openSeries(p PlaceID, name string) error {
	if b.series != nil && b.series.place == p && b.series.s.Name == name {
		return nil
	}
	if err := b.closeSeries(); err != nil {
		return err
	}
	bk, err := b.sub(bucketSeries, uint32(p), true)
	if err != nil {
		return err
	}
	o := &openSeries{place: p, bucket: bk, s: Series{Name: name}}
	if v := bk.Get([]byte(name)); v != nil {
		o.exists = true
		if o.s, err = decodeSeries(p, []byte(name), v); err != nil {
			return corrupt(b.l.path, err, "series %q of place %d", name, p)
		}
	}
	b.series = o
	return nil
}

// closeSeries writes the history at hand.
func (b *batch) closeSeries() error {
	o := b.series
	if b.series = nil; o == nil {
		return nil
	}
	key := []byte(o.s.Name)
	if !o.exists {
		return b.del(o.bucket, key)
	}
	from := len(b.arena)
	var err error
	if b.arena, err = appendSeries(b.arena, o.place, key, &o.s); err != nil {
		return err
	}
	return b.put(o.bucket, key, b.arena[from:len(b.arena):len(b.arena)])
}
