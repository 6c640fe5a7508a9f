package volumes

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
	"farshore/transport/backup"
)

// importRecord makes the point known to the destination's Cinder (I1, I13). note says
// why it was not done where that is nobody's failure.
func (t *trip) importRecord(ctx context.Context, c store.PointCopy) (note string, err error) {
	r, err := t.s.cinder(c.Region)
	if err != nil {
		return "", err
	}
	done, err := t.imported(ctx, r, c)
	if done || err != nil {
		return "", err
	}
	if note, err = t.mayImport(ctx, r, c); note != "" || err != nil {
		return note, err
	}
	if c.Parent != "" {
		if b, err := r.Blocks.Backup(ctx, c.Parent); transport.Is(err, transport.NotFound) || err == nil && b.Status == "error" {
			note := "its parent, backup " + c.Parent + ", is not there"
			t.notImported(c.Region, note+"; the objects stand there", "farshore points --volume "+t.pt.Volume.ID+" shows what holds the parent up; the next pass tries again")
			return note, nil
		} else if err != nil {
			return "", err
		}
	}
	if c.Note != "" { // it was shipped a while ago, and somebody may have removed what was in the way with all under its name
		_, _, err := t.s.checkBackup(ctx, r.Objects, c)
		if transport.Is(err, transport.NotFound) || transport.Is(err, transport.Corrupt) {
			return "", t.shipAgain(ctx, c.Region, "its objects are no longer there as they were shipped: "+err.Error())
		}
		if err != nil {
			return "", err
		}
	}
	record, err := recordOf(t.pt, c).Encode()
	if err != nil {
		return "", fmt.Errorf("encode record of backup %s: %w", c.Backup, err)
	}
	t.s.o.Progress.Phase("importing backup " + c.Backup + " in " + c.Region)
	err = t.claimsIn(c.Region).making(t.pt.Volume.ID, need{}, func() error {
		_, err := r.importer().ImportBackup(ctx, backup.Service, record)
		return err
	})
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return "", err
	case transport.Is(err, transport.Denied):
		return t.denied(c.Region, transport.ImportRights{Allowed: transport.No, Rule: importRule}), nil
	case transport.Is(err, transport.Quota):
		t.notImported(c.Region, err.Error(), transport.HintOf(err))
		return err.Error(), nil
	case passing(err), transport.Is(err, transport.Exists): // perhaps only the reply was lost
	default:
		return "", err
	}
	_, err = t.settled(ctx, r, c, importPatience, err)
	return "", err
}

// importPatience is how long an import may take. It is a matter of seconds unless
// cinder-backup is down, or died of the record and leaves it creating for ever; what is
// done later, the next pass finds.
const importPatience = 5 * time.Minute

// settled waits until an import has ended, well or in error. lost is the error of the request
// that began it, whose reply may only be lost; nil: there was none.
func (t *trip) settled(ctx context.Context, r Region, c store.PointCopy, patience time.Duration, lost error) (b transport.Backup, err error) {
	began := t.s.o.Clock.Now()
	err = t.s.await(ctx, "importing backup "+c.Backup+" in "+c.Region, func(ctx context.Context) (bool, error) {
		b, err = r.Blocks.Backup(ctx, c.Backup)
		waited := t.s.o.Clock.Now().Sub(began)
		switch {
		case transport.Is(err, transport.NotFound) && lost != nil && (!passing(lost) || waited >= t.s.o.Lost):
			return false, lost
		case transport.Is(err, transport.NotFound) && waited < patience:
			return false, nil
		case err != nil:
			return false, err
		case b.Status == "creating" && waited >= patience:
			return false, creatingError(c)
		case b.Status == "creating":
			return false, nil
		case strings.HasPrefix(b.Status, "error"):
			return false, t.importFailed(c, b)
		}
		return true, nil
	})
	return b, err
}

// creatingError is of a record that stays creating. Cinder takes no other way out of that
// than to be rid of it, and leaves the objects, which the record does not name yet.
func creatingError(c store.PointCopy) error {
	return &stuckError{what: "the record of backup", region: c.Region, id: c.Backup, status: "creating", command: dropCreating(c)}
}

// dropCreating is the admin's command that ends it.
func dropCreating(c store.PointCopy) string {
	return "openstack volume backup delete --force " + c.Backup
}

// imported reports whether the record is there already. One that an import left in
// error is removed, so that it can be made anew.
func (t *trip) imported(ctx context.Context, r Region, c store.PointCopy) (bool, error) {
	b, err := r.Blocks.Backup(ctx, c.Backup)
	switch {
	case transport.Is(err, transport.NotFound):
		return false, nil
	case err != nil:
		return false, err
	case b.Status == "creating": // an earlier run began it
		if b, err = t.settled(ctx, r, c, t.s.o.Lost, nil); err != nil && !strings.HasPrefix(b.Status, "error") {
			return false, err
		}
	}
	if !strings.HasPrefix(b.Status, "error") {
		if b.Container != c.Container || b.Objects != c.Objects {
			return false, &transport.Error{Op: "import backup " + c.Backup, Region: c.Region, Class: transport.Exists,
				Err:  fmt.Errorf("a backup of this id is there with %s in container %s; the point has %d in %s", report.Count(b.Objects, "object"), b.Container, c.Objects, c.Container),
				Hint: "remove it if it is not wanted: openstack volume backup delete " + c.Backup + " (that removes the objects under its name as well; they are copied again)"}
		}
		return true, nil
	}
	// Cinder may remove the objects with it (C17): then they are copied again.
	if err := t.s.removeBackup(ctx, r.Blocks, c.Region, c.Backup); err != nil {
		return false, err
	}
	_, _, err = t.s.checkBackup(ctx, r.Objects, c)
	if err == nil || passing(err) || ctx.Err() != nil {
		return false, err
	}
	return false, t.shipAgain(ctx, c.Region, "an import had failed, and removing what it left took the objects away")
}

func (t *trip) importFailed(c store.PointCopy, b transport.Backup) error {
	return &transport.Error{Op: "import backup " + c.Backup, Region: c.Region, Class: transport.Permanent,
		Err:  fmt.Errorf("the import ended in %s: %s", b.Status, cmp.Or(b.FailReason, "Cinder gives no reason")),
		Hint: "the region's cinder-backup must have the Swift driver: farshore region check " + c.Region + "; the next pass tries again"}
}

// importRule is the rule of Cinder's policy that imports need (I12).
const importRule = "backup:backup-import"

// mayImport finds out whether the region's login may import (R21), and whether records
// would come to belong to the right project (L8). note says why not.
func (t *trip) mayImport(ctx context.Context, r Region, c store.PointCopy) (note string, err error) {
	t.s.mu.Lock()
	rights, known := t.s.rights[c.Region]
	t.s.mu.Unlock()
	if !known {
		if rights, err = r.importer().ImportRights(ctx); err != nil {
			return "", err
		}
		t.s.mu.Lock()
		t.s.rights[c.Region] = rights
		t.s.mu.Unlock()
	}
	switch {
	case rights.Allowed == transport.No:
		return t.denied(c.Region, rights), nil
	case rights.Project != "" && c.Project != "" && rights.Project != c.Project:
		note = fmt.Sprintf("import_cloud is scoped to project %s, the region's login to %s: the record would belong to another project", rights.Project, c.Project)
		t.notImported(c.Region, note, "scope import_cloud of region "+c.Region+" to the same project")
		return note, nil
	}
	return "", nil
}

// denied reports that the record has to be imported by somebody who may.
func (t *trip) denied(region string, rights transport.ImportRights) string {
	rule := cmp.Or(rights.Rule, importRule)
	note := fmt.Sprintf("the login may not import backup records: rule %s of Cinder's policy denies it", rule)
	t.notImported(region, note+"; the objects stand there", fmt.Sprintf("have the operator grant rule %s to a role of this login, or name an admin's login of the same project as import_cloud of region %s; "+
		"or an operator runs: farshore points land %s --to %s", rule, region, t.pt.ID, region))
	return note
}

func (t *trip) notImported(region, cause, hint string) {
	t.f.Add(report.Finding{Kind: report.KindNotImported, Level: report.Error, Policy: t.p.Name, Region: region, Name: t.pt.ID, Op: "import backup", Cause: cause, Hint: hint})
}

// recordOf is the record of a point's copy, made of what the ledger knows (I2, I13).
// Its parent is the copy's, which may be a synthetic full (I5).
func recordOf(pt store.Point, c store.PointCopy) backup.Record {
	taken := " " + time.UnixMicro(pt.Taken).UTC().Format("2006-01-02T15:04:05Z")
	r := backup.Record{ID: c.Backup, VolumeID: pt.Volume.ID, SnapshotID: pt.Snapshot, Parent: c.Parent, Size: pt.Volume.Size,
		Name:        report.Shorten(volumeName(transport.Volume{ID: pt.Volume.ID, Name: pt.Volume.Name}), maxText-len(taken)) + taken,
		Description: report.Shorten(fmt.Sprintf("restore point of policy %s, from region %s", pt.Policy, pt.Region), maxText), Container: c.Container, Prefix: c.Prefix, Objects: c.Objects,
		DataTime: time.UnixMicro(pt.Taken).UTC(), Metadata: map[string]string{keyPolicy: pt.Policy}}
	if p, err := backup.ParsePrefix(c.Prefix); err == nil {
		r.Created = p.At
	}
	return r
}

// maxText is how many characters Cinder's database takes of a record's name or description;
// cinder-backup dies of more, and the record stays creating.
const maxText = 255
