package volumes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"farshore/store"
	"farshore/transport"
)

// How a point was found.
const (
	knownLedger      = "ledger"
	knownDestination = "destination" // from what the region itself holds
)

// link is one backup of the chain that a restore needs, at the region that restores it.
type link struct {
	point store.Point
	at    store.PointCopy
}

// at gives a point as it stands at a region: a copy, or at its source the backup itself.
func at(p store.Point, region string) (store.PointCopy, bool) {
	if p.Region == region {
		c := store.PointCopy{Region: region, Project: p.Project, State: store.CopyLanded, Backup: p.ID, Parent: p.Parent, Container: p.Container,
			Prefix: p.Prefix, Objects: p.Objects, Bytes: p.Bytes, Metadata: p.Metadata, Landed: p.Made}
		return c, p.Made != 0 && p.Gone == 0
	}
	for _, c := range p.Copies {
		if c.Region == region {
			return c, true
		}
	}
	return store.PointCopy{}, false
}

// pointsAt gives the points of a region that want chooses, the oldest first: those that the ledger
// knows, and if there are none, those that the region's own descriptors tell of.
func (s *Shipper) pointsAt(ctx context.Context, region string, want func(store.Point) bool) (list []store.Point, known string, err error) {
	choose := func(all []store.Point) (out []store.Point) {
		for _, p := range all {
			if _, ok := at(p, region); ok && want(p) {
				out = append(out, p)
			}
		}
		return out
	}
	all, err := s.o.Ledger.Points("")
	if err != nil {
		return nil, "", fmt.Errorf("read points: %w", err)
	}
	if list = choose(all); len(list) > 0 {
		return list, knownLedger, nil
	}
	if all, err = s.Described(ctx, region); err != nil {
		return nil, "", err
	}
	return choose(all), knownDestination, nil
}

// findPoint finds what a restore is to restore: by a point's id or the beginning of
// one, or by the id or name of a volume, of which the newest point is taken that region can
// restore.
func (s *Shipper) findPoint(ctx context.Context, name, region string) (store.Point, string, error) {
	fail := func(hint, format string, args ...any) (store.Point, string, error) {
		return store.Point{}, "", &transport.Error{Op: "find point " + transport.PrintName(name), Region: region, Class: transport.NotFound, Err: fmt.Errorf(format, args...), Hint: hint}
	}
	const shortest = 6 // of the beginning of an id
	list, known, err := s.pointsAt(ctx, region, func(p store.Point) bool {
		c, _ := at(p, region)
		return p.ID == name || c.Backup == name || p.Volume.ID == name || p.Volume.Name == name ||
			len(name) >= shortest && strings.HasPrefix(p.ID, name)
	})
	if err != nil {
		return store.Point{}, "", err
	}
	if len(list) == 0 {
		return fail("farshore points lists them; a point that is not shipped to "+region+" yet cannot be restored there", "nothing there has that id or is of a volume of that id or name")
	}
	if i := slices.IndexFunc(list, func(p store.Point) bool { c, _ := at(p, region); return p.ID == name || c.Backup == name }); i >= 0 {
		return list[i], known, nil
	}
	volumes := map[string]bool{}
	var newest *store.Point
	for i, p := range list {
		volumes[p.Volume.ID] = true
		if c, _ := at(p, region); c.State == store.CopyLanded {
			newest = &list[i]
		}
	}
	byID := slices.DeleteFunc(slices.Clone(list), func(p store.Point) bool { return p.Volume.ID == name || p.Volume.Name == name })
	switch {
	case len(byID) > 1:
		return fail("give more of the id", "%d points begin so", len(byID))
	case len(byID) == 1 && len(list) == 1:
		return list[0], known, nil
	case len(volumes) > 1:
		return fail("give the volume's id: "+strings.Join(sortedKeys(volumes), ", "), "%d volumes have that name", len(volumes))
	case newest == nil:
		return list[len(list)-1], known, nil // the check says why it cannot be restored
	}
	return *newest, known, nil
}

// chain gives the backups that a point needs at a region, the full one first.
func (s *Shipper) chain(ctx context.Context, p store.Point, region string) ([]link, error) {
	c, ok := at(p, region)
	if !ok {
		return nil, &transport.Error{Op: "find point " + p.ID, Region: region, Class: transport.NotFound, Err: errors.New("the region has no copy of it"), Hint: "farshore points says which have"}
	}
	out := []link{{p, c}}
	if c.Parent == "" {
		return out, nil
	}
	all, err := s.o.Ledger.Points(p.Volume.ID)
	if err != nil {
		return nil, fmt.Errorf("read points: %w", err)
	}
	asked := false // the region itself
	seen := map[string]bool{c.Backup: true}
	for out[0].at.Parent != "" {
		parent := out[0].at.Parent
		i := slices.IndexFunc(all, func(q store.Point) bool { c, ok := at(q, region); return ok && c.Backup == parent })
		if i < 0 && !asked { // a ledger may know the later points only
			if all, err = s.Described(ctx, region); err != nil {
				return nil, err
			}
			asked = true
			continue
		}
		if i < 0 || seen[parent] {
			return nil, &transport.Error{Op: "find point " + p.ID, Region: region, Class: transport.NotFound,
				Err: fmt.Errorf("backup %s is an increment upon %s, which no point of the region is", out[0].at.Backup, parent), Hint: "farshore audit --repair sends what is missing again"}
		}
		seen[parent] = true
		c, _ := at(all[i], region)
		out = slices.Insert(out, 0, link{all[i], c})
	}
	return out, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
