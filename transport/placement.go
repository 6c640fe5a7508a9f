package transport

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Placement is where a region's cinder-backup puts the objects of a backup. No API tells
// it: it is found out by looking for them (R20, C2).
type Placement string

// The placements. A volume can be shipped from and landed in a region of PerUser only:
// there the project itself can read and write the objects.
const (
	PlacedUnknown    Placement = "unknown"
	PlacedPerUser    Placement = "swift per_user"
	PlacedSingleUser Placement = "swift single_user" // in the operator's account, or in an S3
	PlacedElsewhere  Placement = "other"             // Ceph, NFS, …: no objects at all
)

// Placed is what was found out about a region, and by what.
type Placed struct {
	Where Placement
	Why   string // in words; never empty
}

// judged is how many backups without a trace in the account it takes to believe that
// none leaves one.
const judged = 3

// FindPlacement looks at the region's backups and for their objects in the project's
// account, without changing anything. Only backups of volumes that are there are
// believed: the objects of an imported one were put into the account by whoever imported
// it. Without any, the placement is unknown, and ProbePlacement finds it out.
func FindPlacement(ctx context.Context, b BlockStorage, objects Source) (Placed, error) {
	all, err := b.Backups(ctx)
	if err != nil {
		return Placed{}, fmt.Errorf("find where backups are stored: %w", err)
	}
	none := Placed{PlacedUnknown, "there is no backup of a volume of this region to judge by"}
	all = slices.DeleteFunc(all, func(x Backup) bool { return x.Status != "available" && x.Status != "restoring" })
	if len(all) == 0 {
		return none, nil
	}
	volumes, err := b.Volumes(ctx)
	if err != nil {
		return Placed{}, fmt.Errorf("find where backups are stored: %w", err)
	}
	here := map[string]bool{}
	for _, v := range volumes {
		here[v.ID] = true
	}
	all = slices.DeleteFunc(all, func(x Backup) bool { return !here[x.Volume] })
	slices.SortFunc(all, func(x, y Backup) int { return y.Created.Compare(x.Created) })
	found, seen := none, 0
	for _, x := range all {
		if seen == judged {
			break
		}
		p, err := placementOf(ctx, x, objects)
		if err != nil {
			return Placed{}, err
		}
		if p.Where == PlacedPerUser {
			return p, nil
		}
		if x.Incremental && x.Objects == 0 && x.Container != "" {
			continue // of a volume in which nothing had changed: it has little to be seen of it anywhere
		}
		if seen == 0 {
			found = p
		}
		seen++
	}
	return found, nil
}

// aDirectory is what the NFS and POSIX drivers name their directory of a backup
// (cinder/backup/drivers/posix.py, update_container_name).
var aDirectory = regexp.MustCompile(`^[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f-]{36}$`)

var errSeenOne = errors.New("seen one")

// noObjects is the placement of a backup that no object can be of.
func noObjects(x Backup) Placed {
	return Placed{PlacedElsewhere, "backup " + x.ID + " has no objects: cinder-backup stores in something that has none, such as Ceph"}
}

// placementOf looks for the objects of a backup that is available (C3). Of an increment
// upon an unchanged volume that is its _metadata alone, which no count tells of (C4, C5).
func placementOf(ctx context.Context, x Backup, objects Source) (Placed, error) {
	switch {
	case x.Container == "":
		return noObjects(x), nil
	case aDirectory.MatchString(x.Container):
		return Placed{PlacedElsewhere, "backup " + x.ID + " lies in a directory, " + x.Container + ": cinder-backup stores in files, such as NFS"}, nil
	}
	err := objects.List(ctx, x.Container, Range{Prefix: "volume_" + x.Volume + "/"}, func(page []Entry) error {
		if slices.ContainsFunc(page, func(e Entry) bool {
			return strings.Contains(e.Name, "_backup_"+x.ID+"-") || strings.HasSuffix(e.Name, "_backup_"+x.ID+"_metadata")
		}) {
			return errSeenOne
		}
		return nil
	})
	switch {
	case errors.Is(err, errSeenOne):
		return Placed{PlacedPerUser, "the objects of backup " + x.ID + " are in container " + PrintName(x.Container) + " of this project's account"}, nil
	case Is(err, Denied):
		return Placed{PlacedUnknown, "this login may not look for the objects of backup " + x.ID + " in container " + PrintName(x.Container)}, nil
	case (err == nil || Is(err, NotFound)) && x.Objects == 0:
		return noObjects(x), nil
	case err == nil, Is(err, NotFound):
		return Placed{PlacedSingleUser, "the objects of backup " + x.ID + " are not in this project's account: they are in the operator's, or in an S3"}, nil
	}
	return Placed{}, fmt.Errorf("look for the objects of backup %s: %w", x.ID, err)
}
