package transport

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// What a placement probe makes is called so and has this in its metadata.
const (
	probeName = "farshore-probe-"
	probeKey  = "farshore_probe"
)

// The patience of a placement probe: an empty GiB takes a small cloud ten seconds (L10).
const (
	probePoll    = time.Second
	probeWait    = 10 * time.Minute
	probeCleanup = 2 * time.Minute
	probeStale   = 15 * time.Minute // what an earlier one left is removed after this
)

// PlacementProbe is what a probe found and did.
type PlacementProbe struct {
	Placed
	Took time.Duration // of the backup of an empty GiB; 0: there was none
	// Left is what could not be removed, each with the admin's command that does it.
	Left []string
}

// ProbePlacement makes a volume of 1 GiB and a backup of it, looks where the backup's
// objects are, and deletes both again; it needs that much quota for a minute or so. It
// also deletes what a probe that died has left there more than a quarter of an hour ago.
// say, which may be nil, is told of each step.
func ProbePlacement(ctx context.Context, b BlockStorage, objects Sink, clock Clock, say func(string)) (PlacementProbe, error) {
	var id [6]byte
	_, _ = rand.Read(id[:]) // never fails
	p := &placing{b: b, objects: objects, clock: clockOr(clock), say: say, id: probeName + hex.EncodeToString(id[:]), before: map[string]bool{}}
	if say == nil {
		p.say = func(string) {}
	}
	err := p.run(ctx)
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeCleanup)
	defer cancel()
	p.clear(clean)
	return p.out, err
}

type placing struct {
	b       BlockStorage
	objects Sink
	clock   Clock
	say     func(string)
	id      string

	before    map[string]bool // containers that were there
	container string          // of the backup
	now       time.Time       // the region's
	until     time.Time       // the end of the patience with deletes
	out       PlacementProbe
}

func (p *placing) run(ctx context.Context) error {
	p.out.Placed = Placed{PlacedUnknown, "the probe did not get as far as a backup"}
	err := p.objects.Containers(ctx, "", func(c ContainerInfo) error { p.before[c.Name] = true; return nil })
	if err != nil {
		return fmt.Errorf("probe where backups are stored: %w", err)
	}
	// A backup lives as long as its token only (R19).
	if _, err := p.b.Renew(ctx); err != nil {
		return fmt.Errorf("probe where backups are stored: %w", err)
	}
	mark := map[string]string{probeKey: p.id}
	p.say("making a volume of 1 GiB, " + p.id)
	v, err := p.b.CreateVolume(ctx, VolumeSpec{Name: p.id, Size: 1, Metadata: mark})
	if err != nil {
		return fmt.Errorf("probe where backups are stored: %w", err)
	}
	p.now = v.Created
	if err := p.await(ctx, "volume "+v.ID, func() (string, string, error) {
		v, err = p.b.Volume(ctx, v.ID)
		return v.Status, "", err
	}); err != nil {
		return err
	}
	p.say("backing it up")
	began := p.clock.Now()
	x, err := p.b.CreateBackup(ctx, BackupSpec{Volume: v.ID, Name: p.id, Metadata: mark})
	if err != nil {
		return fmt.Errorf("probe where backups are stored: %w", err)
	}
	if err := p.await(ctx, "backup "+x.ID, func() (string, string, error) {
		if x, err = p.b.Backup(ctx, x.ID); x.Container != "" {
			p.container = x.Container
		}
		return x.Status, x.FailReason, err
	}); err != nil {
		return err
	}
	p.out.Took = p.clock.Now().Sub(began)
	p.say("looking for its objects")
	p.out.Placed, err = placementOf(ctx, x, p.objects)
	return err
}

// await waits until a thing is available.
func (p *placing) await(ctx context.Context, what string, look func() (status, reason string, err error)) error {
	for end := p.clock.Now().Add(probeWait); ; {
		status, reason, err := look()
		switch {
		case err != nil && !Is(err, Transient) && !Is(err, Throttled):
			return fmt.Errorf("probe where backups are stored: %w", err)
		case err == nil && status == "available":
			return nil
		case err == nil && strings.HasPrefix(status, "error"):
			p.out.Why = strings.TrimSuffix(fmt.Sprintf("the probe's %s ended in status %s: %s", what, status, reason), ": ")
			return &Error{Op: "probe where backups are stored", Region: p.region(ctx), Class: Permanent, Err: errors.New(p.out.Why),
				Hint: "its operator sees the reason in the logs of cinder-volume or cinder-backup"}
		case p.clock.Now().After(end):
			return &Error{Op: "probe where backups are stored", Region: p.region(ctx), Class: Transient,
				Err:  fmt.Errorf("%s is %s after %s", what, status, probeWait),
				Hint: "its operator sees whether cinder-volume and cinder-backup work"}
		}
		if err := Sleep(ctx, p.clock, probePoll, nil); err != nil {
			return err
		}
	}
}

func (p *placing) region(ctx context.Context) string {
	id, _ := p.b.Identity(ctx)
	return id.Region
}

// clear deletes what this probe made and what old ones left, found by name: also what
// was made by a call whose reply was lost. Backups go before their volumes.
func (p *placing) clear(ctx context.Context) {
	p.say("deleting what was made")
	p.until = p.clock.Now().Add(probeCleanup)
	ours := func(name string, metadata map[string]string, created time.Time) bool {
		if name == p.id {
			return true
		}
		old := !p.now.IsZero() && !created.IsZero() && p.now.Sub(created) > probeStale
		return strings.HasPrefix(name, probeName) && (metadata == nil || metadata[probeKey] == name) && old
	}
	all, err := p.b.Backups(ctx)
	if err != nil {
		p.left("backups named " + p.id + " could not be looked for: " + err.Error())
	}
	for _, x := range all {
		if !ours(x.Name, x.Metadata, x.Created) {
			continue
		}
		if p.container == "" {
			p.container = x.Container
		}
		err := p.gone(ctx, func() error { return p.b.DeleteBackup(ctx, x.ID) }, func() error { _, err := p.b.Backup(ctx, x.ID); return err })
		if err != nil {
			p.left(fmt.Sprintf("openstack volume backup set --state error %s; openstack volume backup delete %s  (%v)", x.ID, x.ID, err))
		}
	}
	volumes, err := p.b.Volumes(ctx)
	if err != nil {
		p.left("volumes named " + p.id + " could not be looked for: " + err.Error())
	}
	for _, v := range volumes {
		if !ours(v.Name, v.Metadata, v.Created) {
			continue
		}
		err := p.gone(ctx, func() error { return p.b.DeleteVolume(ctx, v.ID) }, func() error { _, err := p.b.Volume(ctx, v.ID); return err })
		if err != nil {
			p.left(fmt.Sprintf("openstack volume set --state error %s; openstack volume delete %s  (%v)", v.ID, v.ID, err))
		}
	}
	// Cinder makes the container of the first backup; nothing but an empty one can be deleted.
	if p.container != "" && !p.before[p.container] {
		if err := p.objects.DeleteContainer(ctx, p.container); err != nil && !Is(err, NotFound) && !Is(err, Denied) {
			p.left(fmt.Sprintf("openstack container delete %s  (%v)", PrintName(p.container), err))
		}
	}
}

func (p *placing) left(what string) { p.out.Left = append(p.out.Left, what) }

// gone deletes until the thing is not there any more: one that is being made cannot be
// deleted yet.
func (p *placing) gone(ctx context.Context, remove, look func() error) error {
	asked := false
	for {
		if !asked {
			switch err := remove(); {
			case err == nil:
				asked = true
			case !slices.Contains([]Class{Changed, Transient, Throttled}, ClassOf(err)):
				return err
			}
		}
		if err := look(); Is(err, NotFound) {
			return nil
		}
		if p.clock.Now().After(p.until) || Sleep(ctx, p.clock, probePoll, nil) != nil {
			return fmt.Errorf("it is still there after %s", probeCleanup)
		}
	}
}
