package store

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// The buckets of the file; docs/ledger.md has their keys and values.
const (
	bucketMeta     = "meta"
	bucketPlaces   = "places"
	bucketRoutes   = "routes"
	bucketObjects  = "objects"
	bucketMissing  = "missing"
	bucketTroubled = "troubled"
	bucketIntents  = "intents"
	bucketChunks   = "chunks"
	bucketPasses   = "passes"
	bucketNotes    = "notes"
	bucketSeries   = "series"
	bucketNeeds    = "needs"
	bucketAlong    = "along"

	bucketProperties = "properties"
	bucketPoints     = "points"
	bucketVolumes    = "volumes"
	bucketWorks      = "works"
	bucketDrills     = "drills"
)

// The keys of bucket meta.
const (
	metaSchema  = "schema"
	metaCreated = "created"
	metaUUID    = "uuid"
	metaMigrate = "migrate" // where an unfinished migration is
)

func topBuckets() []string {
	return []string{bucketMeta, bucketPlaces, bucketRoutes, bucketObjects, bucketMissing, bucketTroubled,
		bucketIntents, bucketChunks, bucketPasses, bucketNotes, bucketSeries, bucketNeeds, bucketAlong, bucketProperties,
		bucketPoints, bucketVolumes, bucketWorks, bucketDrills}
}

func appendTime(t time.Time) []byte { return binary.AppendVarint(nil, t.UnixMicro()) }

// catalog is all places and routes, in memory: they are few, and every verb needs them.
type catalog struct {
	places   map[PlaceID]PlaceInfo
	routes   map[RouteID]RouteInfo
	placeIDs map[Place]PlaceID
	routeIDs map[Route]RouteID
}

func readCatalog(tx *bbolt.Tx) (catalog, error) {
	c := catalog{map[PlaceID]PlaceInfo{}, map[RouteID]RouteInfo{}, map[Place]PlaceID{}, map[Route]RouteID{}}
	err := tx.Bucket([]byte(bucketPlaces)).ForEach(func(k, v []byte) error {
		if len(k) != 4 {
			return fmt.Errorf("%w: place key %x", errDecode, k)
		}
		p, err := decodePlace(PlaceID(binary.BigEndian.Uint32(k)), k, v)
		if err != nil {
			return fmt.Errorf("place %x: %w", k, err)
		}
		c.places[p.ID], c.placeIDs[p.Place] = p, p.ID
		return nil
	})
	if err != nil {
		return c, err
	}
	return c, tx.Bucket([]byte(bucketRoutes)).ForEach(func(k, v []byte) error {
		if len(k) != 4 {
			return fmt.Errorf("%w: route key %x", errDecode, k)
		}
		r, err := decodeRoute(RouteID(binary.BigEndian.Uint32(k)), k, v)
		if err != nil {
			return fmt.Errorf("route %x: %w", k, err)
		}
		from, ok1 := c.places[r.From]
		to, ok2 := c.places[r.To]
		if !ok1 || !ok2 {
			return fmt.Errorf("%w: route %d names a place that is not there", errDecode, r.ID)
		}
		r.Route.From, r.Route.To = from.Place, to.Place
		c.routes[r.ID], c.routeIDs[r.Route] = r, r.ID
		return nil
	})
}

// FindPlace looks a place up and never creates it.
func (l *Ledger) FindPlace(p Place) (PlaceID, bool, error) {
	if err := l.usable("find place"); err != nil {
		return 0, false, err
	}
	l.catMu.RLock()
	defer l.catMu.RUnlock()
	id, ok := l.cat.placeIDs[p]
	return id, ok, nil
}

// PlaceID finds or creates a place; a new one is durable when this returns.
func (l *Ledger) PlaceID(p Place) (PlaceID, error) {
	if id, ok, err := l.FindPlace(p); ok || err != nil {
		return id, err
	}
	var id PlaceID
	err := l.wait("create place", work{kind: workCatalog, do: func(b *batch) (err error) {
		id, err = b.ensurePlace(p)
		return err
	}})
	return id, err
}

// FindRoute looks a route up and never creates it.
func (l *Ledger) FindRoute(r Route) (RouteInfo, bool, error) {
	if err := l.usable("find route"); err != nil {
		return RouteInfo{}, false, err
	}
	l.catMu.RLock()
	defer l.catMu.RUnlock()
	id, ok := l.cat.routeIDs[r]
	return l.cat.routes[id], ok, nil
}

// Route finds or creates a route, and its places with it; a new one is durable
// when this returns.
func (l *Ledger) Route(r Route) (RouteInfo, error) {
	if info, ok, err := l.FindRoute(r); ok || err != nil {
		return info, err
	}
	err := l.wait("create route", work{kind: workCatalog, do: func(b *batch) error { return b.ensureRoute(r) }})
	if err != nil {
		return RouteInfo{}, err
	}
	info, _, err := l.FindRoute(r)
	return info, err
}

// Routes gives all routes by number, as of the last commit.
func (l *Ledger) Routes() ([]RouteInfo, error) {
	if err := l.usable("read routes"); err != nil {
		return nil, err
	}
	l.catMu.RLock()
	defer l.catMu.RUnlock()
	return sortedValues(l.cat.routes), nil
}

// Places gives all places by number, as of the last commit.
func (l *Ledger) Places() ([]PlaceInfo, error) {
	if err := l.usable("read places"); err != nil {
		return nil, err
	}
	l.catMu.RLock()
	defer l.catMu.RUnlock()
	return sortedValues(l.cat.places), nil
}

func sortedValues[K ~uint32, V any](m map[K]V) []V {
	out := make([]V, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[k])
	}
	return out
}

// SetListed records when the destination's listing of a route was first merged
// completely; durable when this returns. The zero time takes it back.
func (l *Ledger) SetListed(r RouteID, at time.Time) error {
	return l.wait("record first listing", work{kind: workCatalog, do: func(b *batch) error {
		info, err := b.route(r)
		if err != nil {
			return err
		}
		if at.IsZero() {
			info.Listed = time.Time{}
		} else {
			info.Listed = time.UnixMicro(at.UnixMicro()).UTC()
		}
		return nil
	}})
}

func (l *Ledger) findRouteID(r RouteID) (RouteInfo, bool) {
	l.catMu.RLock()
	defer l.catMu.RUnlock()
	info, ok := l.cat.routes[r]
	return info, ok
}

// usable refuses what does not touch the file the way view does.
func (l *Ledger) usable(verb string) error {
	l.dbMu.RLock()
	defer l.dbMu.RUnlock()
	if l.closed {
		return &Error{Kind: ErrClosed, Path: l.path, Detail: verb}
	}
	l.stateMu.Lock()
	defer l.stateMu.Unlock()
	if l.dead {
		return l.failed
	}
	return nil
}
