package transport

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"
)

// idle is a region with two volumes in which nothing changes, and one account.
type idle struct {
	BlockStorage
	Source
	backups []Backup
	names   []string // in the container
	none    bool     // there is no container
}

func (s *idle) Backups(context.Context) ([]Backup, error) { return slices.Clone(s.backups), nil }

func (s *idle) Volumes(context.Context) ([]Volume, error) { return []Volume{{ID: "v"}}, nil }

func (s *idle) List(_ context.Context, container string, r Range, yield func([]Entry) error) error {
	if s.none || container != "dr" {
		return &Error{Op: "list", Container: container, Class: NotFound}
	}
	var page []Entry
	for _, n := range s.names {
		if strings.HasPrefix(n, r.Prefix) {
			page = append(page, Entry{Name: n})
		}
	}
	return yield(page)
}

// An increment of a volume in which nothing changed has no data objects. Its _metadata is
// a trace all the same, and without one it says nothing of where backups are.
func TestPlacementByIdleVolumes(t *testing.T) {
	when := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	full := Backup{ID: "full", Volume: "v", Container: "dr", Objects: 3, Status: "available", Created: when}
	list := []Backup{full}
	for i, id := range []string{"i1", "i2", "i3", "i4"} {
		list = append(list, Backup{ID: id, Volume: "v", Container: "dr", Incremental: true, Status: "available", Created: when.Add(time.Duration(i+1) * time.Hour)})
	}
	ceph := full
	ceph.Objects = 0
	at := func(id, part string) string { return "volume_v/20260101000000/az_nova_backup_" + id + part }
	for name, c := range map[string]struct {
		s    idle
		want Placement
	}{
		"only _metadata":          {idle{backups: list[1:], names: []string{at("i1", "_metadata"), at("i4", "_metadata")}}, PlacedPerUser},
		"another's _metadata":     {idle{backups: list[1:], names: []string{at("i9", "_metadata")}}, PlacedUnknown},
		"the full one":            {idle{backups: list, names: []string{at("full", "-00001")}}, PlacedPerUser},
		"in another account":      {idle{backups: list, none: true}, PlacedSingleUser},
		"a pool without objects":  {idle{backups: []Backup{ceph}, none: true}, PlacedElsewhere},
		"increments upon a pool":  {idle{backups: append([]Backup{ceph}, list[1:]...), none: true}, PlacedElsewhere},
		"nothing but empty there": {idle{backups: list[1:], none: true}, PlacedUnknown},
	} {
		if p, err := FindPlacement(t.Context(), &c.s, &c.s); err != nil || p.Where != c.want || p.Why == "" {
			t.Errorf("%s: %+v %v, want %s", name, p, err, c.want)
		}
	}
}
