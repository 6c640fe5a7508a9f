package volumes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"farshore/replicator/report"
	"farshore/transport"
)

// makeVolume gives the scratch volume that is to be filled, made now or by an earlier run.
func (j *restoring) makeVolume(ctx context.Context) (transport.Volume, error) {
	j.start(spanMake)
	v, found, err := j.made(ctx)
	if err != nil {
		return v, err
	}
	if found && strings.HasPrefix(v.Status, "error") { // an earlier run's, which did not get to remove it
		if err := j.s.removeVolume(ctx, j.r.Blocks, j.req.To, v.ID); err != nil {
			return v, err
		}
		found, j.data.Phase = false, phaseMaking
	}
	if !found {
		// C14: always a volume of our own, never one that the restore would make.
		p := j.point.Volume
		v, err = j.r.Blocks.CreateVolume(ctx, transport.VolumeSpec{Name: scratchName(j.work.ID), Description: "being restored from point " + j.point.ID,
			Size: p.Size, Type: j.data.Type, Zone: j.data.Zone, Metadata: madeMetadata(j.point.Policy, j.work.ID)})
		if passing(err) { // the reply was lost: it may have been made all the same (R6)
			var lerr error
			if v, found, lerr = j.made(ctx); lerr != nil || !found {
				return v, cmp.Or(lerr, err)
			}
		} else if err != nil {
			return v, j.refused(err)
		}
	}
	j.work.Resource, j.out.Volume = v.ID, v.ID
	if err := j.save(ctx); err != nil {
		return v, err
	}
	err = j.wait(ctx, "volume", "creating", func(ctx context.Context) (string, error) {
		v, err = j.r.Blocks.Volume(ctx, v.ID)
		return v.Status, err
	})
	if err == nil && v.Status == "error" {
		err = &transport.Error{Op: "create volume " + v.ID, Region: j.req.To, Class: transport.Permanent, Err: fmt.Errorf("the region's Cinder could not make it: %d GiB of type %s", v.Size, v.Type),
			Hint: "openstack volume message list says why; often there is no room in that type or zone: give another with --type or --zone"}
	}
	return v, err
}

// made finds the scratch volume that an earlier try made: by its id, or where that never
// became known by its name.
func (j *restoring) made(ctx context.Context) (transport.Volume, bool, error) {
	if j.work.Resource != "" {
		v, err := j.r.Blocks.Volume(ctx, j.work.Resource)
		if err == nil || !transport.Is(err, transport.NotFound) {
			return v, err == nil, err
		}
	}
	list, err := j.r.Blocks.Volumes(ctx)
	if err != nil {
		return transport.Volume{}, false, err
	}
	i := slices.IndexFunc(list, func(v transport.Volume) bool { return v.Name == scratchName(j.work.ID) })
	if i < 0 {
		return transport.Volume{}, false, nil
	}
	return list[i], true, nil
}

// refused says what to do about a volume that the region refuses to make.
func (j *restoring) refused(err error) error {
	var te *transport.Error
	if errors.As(err, &te) && te.Hint == "" {
		switch te.Class {
		case transport.Quota:
			te.Hint = fmt.Sprintf("the project's quota in region %s has no room for a volume of %d GiB (a quota of the volume type counts, too): openstack quota show --volume", j.req.To, j.point.Volume.Size)
		case transport.Permanent, transport.NotFound:
			te.Hint = "check the volume type and the zone: openstack volume type list; openstack availability zone list --volume"
		}
	}
	return err
}

// wait asks until a status is no longer the passing one given. One that lasts longer than the request
// allows is a *stuckError.
func (j *restoring) wait(ctx context.Context, what, during string, status func(context.Context) (string, error)) error {
	now := j.s.o.Clock.Now()
	began, phase := now, j.phase(j.doing)
	if j.data.Span.Name == j.doing { // of an earlier run, perhaps
		began = j.data.Span.Began
	}
	return j.s.await(ctx, phase, func(ctx context.Context) (bool, error) {
		is, err := status(ctx)
		if err != nil {
			return false, err
		}
		if is == during && j.s.o.Clock.Now().Sub(now) > j.req.Wait {
			id := j.work.Resource
			return false, &stuckError{what: what, region: j.req.To, id: id, status: is,
				command: fmt.Sprintf("openstack volume set --state error %s (and openstack volume backup set --state available %s)", id, j.at.Backup)}
		}
		j.s.o.Progress.Phase(fmt.Sprintf("%s, %s", phase, j.s.o.Clock.Now().Sub(began).Round(time.Second)))
		return is != during, nil
	})
}

// The statuses of a volume while, and after, a backup is restored into it (C15).
const (
	statusAvailable = "available"
	statusRestoring = "restoring-backup"
)

// fillVolume restores the backup into the volume, unless that has been done.
func (j *restoring) fillVolume(ctx context.Context, v transport.Volume) error {
	j.start(spanFill)
	began := j.s.o.Clock.Now()
	watched := false // from its beginning
	if j.data.Phase == phaseRestoring && v.Status == statusAvailable && j.filled(v) {
		return nil
	}
	if v.Status != statusRestoring {
		ends, err := j.r.Blocks.Renew(ctx) // R19: the restore lives as long as this token
		if err != nil {
			return err
		}
		j.data.Phase, j.data.TokenEnds = phaseRestoring, ends
		if err := j.save(ctx); err != nil {
			return err
		}
		if err := j.r.Blocks.RestoreBackup(ctx, j.at.Backup, v.ID); err != nil {
			if !passing(err) {
				return err
			}
			now, lerr := j.r.Blocks.Volume(ctx, v.ID) // the reply was lost
			if lerr != nil || now.Status == statusAvailable && !j.filled(now) {
				return cmp.Or(lerr, err)
			}
		}
		watched = true
	}
	err := j.wait(ctx, "volume", statusRestoring, func(ctx context.Context) (status string, err error) {
		v, err = j.r.Blocks.Volume(ctx, v.ID)
		return v.Status, err
	})
	switch {
	case err != nil:
		return err
	case v.Status != statusAvailable:
		return j.explain(ctx, v)
	case watched:
		return j.s.learnSpeed(j.req.To, v.Size, j.s.o.Clock.Now().Sub(began))
	}
	return nil
}

// filled reports whether a volume of ours that was to be restored into was: Cinder then
// notes the backup's id in its metadata, and replaces what we gave it if the source's
// had any (C15).
func (j *restoring) filled(v transport.Volume) bool {
	return v.Metadata["src_backup_id"] == j.at.Backup || v.Metadata[keyWork] != j.work.ID
}

// explain says why a restore failed, as far as that can be told: Cinder tells nothing (L7).
func (j *restoring) explain(ctx context.Context, v transport.Volume) error {
	why, hint := "Cinder gives no reason", "the region's operator finds it in cinder-backup's log under the backup's id "+j.at.Backup
	if j.req.To != j.point.Region {
		hint += "; or an object of the copy is damaged: farshore audit " + before(j.point.Policy) + "--read 100% --repair"
	}
	if b, err := j.r.Blocks.Backup(ctx, j.at.Backup); err == nil && b.FailReason != "" {
		why = b.FailReason
	}
	if told, what := j.tokenEnded(why, hint); told != why {
		why, hint = told, what
	} else if err := j.checkObjects(ctx); err != nil {
		return err // what a restore trips over without a word: one object too few or too many (C13)
	}
	return &transport.Error{Op: "restore point " + j.point.ID, Region: j.req.To, Class: transport.Permanent, Err: fmt.Errorf("volume %s became %s: %s", v.ID, v.Status, why), Hint: hint}
}

// tokenEnded adds to why something failed in the region that the token it was started
// with has ended since, if that is so (C18), and then says what to do about that.
func (j *restoring) tokenEnded(why, hint string) (string, string) {
	ends := j.data.TokenEnds
	if ends.IsZero() || j.s.o.Clock.Now().Before(ends) {
		return why, hint
	}
	return fmt.Sprintf("the token that it was started with ended at %s, and cinder-backup cannot renew it; %s", ends.UTC().Format(time.RFC3339), why),
		"ask the operator for longer tokens, or for service tokens between cinder-backup and Swift; a volume of this size needs about " + j.estimate().Round(time.Second).String()
}

// finishVolume sets what the restore overwrote or lost (C15), and the volume's own name.
func (j *restoring) finishVolume(ctx context.Context) error {
	j.start(spanFinish)
	p, name := j.point.Volume, j.data.Name
	if j.scratch {
		name = scratchName(j.work.ID)
	}
	change := transport.VolumeChange{Name: &name, Description: &p.Description, Metadata: keptMetadata(p.Metadata), Bootable: &p.Bootable, Image: p.Image}
	id := j.work.Resource
	if err := j.r.Blocks.ChangeVolume(ctx, id, change); err != nil {
		return err
	}
	v, err := j.r.Blocks.Volume(ctx, id)
	if err != nil {
		return err
	}
	var lost []string
	if v.Name != name || v.Description != p.Description {
		lost = append(lost, "name or description")
	}
	if v.Bootable != p.Bootable {
		lost = append(lost, "bootable flag")
	}
	if !maps.Equal(keptMetadata(v.Metadata), change.Metadata) {
		lost = append(lost, "metadata")
	}
	for k, want := range p.Image {
		if v.Image[k] != want {
			lost = append(lost, "image metadata "+k)
		}
	}
	if len(lost) > 0 {
		slices.Sort(lost)
		j.f.Add(report.Finding{Kind: report.KindDegraded, Level: report.Warn, Policy: j.point.Policy, Region: j.req.To, Name: id, Op: "set the volume's properties",
			Cause: "the region did not take: " + strings.Join(lost, ", "), Hint: "set them by hand: openstack volume set " + id})
	}
	j.out.Type, j.out.Zone = v.Type, v.Zone
	if !j.scratch {
		j.out.Name = v.Name
	}
	return nil
}
