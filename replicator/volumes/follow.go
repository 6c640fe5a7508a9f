package volumes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"farshore/replicator"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
	"farshore/transport/backup"
)

// trip is one point on its way to the destinations, in one pass.
type trip struct {
	*run
	pt    store.Point
	md    backup.Metadata
	rows  []row           // the data objects as the source lists them, by number
	meta  transport.Entry // _metadata, likewise
	lists lists

	mu      sync.Mutex
	res     report.PointResult
	regions map[string]*report.PointRegion
}

// row is one data object in the source's listing.
type row struct {
	part     backup.Part
	size     int64
	etag     string
	modified time.Time
}

// stall is how long a pass waits for a backup of which nothing is seen. An increment of a
// large volume that did not change writes nothing for long; the next pass waits again.
const stall = 2 * time.Hour

// liveNames is how many names wait for the copier while a backup is being written; what
// does not fit is taken from the listing at the end.
const liveNames = 4096

// carry takes a point as far as it goes in this pass: through its backup, to every
// destination that has not landed it.
func (r *run) carry(ctx context.Context, pt store.Point, resumed bool) error {
	t := &trip{run: r, pt: pt, res: r.resultOf(pt, resumed), regions: map[string]*report.PointRegion{}}
	defer t.close()
	defer r.unclaim(pt.Volume.ID)
	err := r.tellPoints(pt.Volume.ID)
	if err == nil {
		err = t.travel(ctx)
	}
	var again *tryFullError
	if !errors.As(err, &again) {
		r.addPoint(t.result())
	} else if resumed {
		return nil // its snapshot is due again, in this very pass
	}
	return err
}

// resultOf is what a report says of a point before anything is done about it.
func (r *run) resultOf(pt store.Point, resumed bool) report.PointResult {
	res := report.PointResult{Point: pt.ID, Volume: pt.Volume.ID, VolumeName: pt.Volume.Name, Size: pt.Volume.Size, Snapshot: pt.Snapshot,
		Taken: time.UnixMicro(pt.Taken).UTC(), Incremental: pt.Parent != "", Parent: pt.Parent, Why: pt.Why, Objects: pt.Objects, Bytes: pt.Bytes, Resumed: resumed}
	if points, err := r.pointsOf(pt.Volume.ID); err == nil {
		res.Chain, _ = chainOf(byID(points), &pt)
	}
	for _, c := range pt.Copies {
		res.Regions = append(res.Regions, report.PointRegion{Region: c.Region, State: string(c.State), Note: c.Note})
	}
	return res
}

// result is what a report says of the point now.
func (t *trip) result() report.PointResult {
	pt, ok, err := t.s.o.Ledger.Point(t.pt.ID)
	if err != nil || !ok {
		pt = t.pt
	}
	now := t.resultOf(pt, t.res.Resumed)
	now.BackupBegan, now.BackupEnded, now.FirstObject, now.LastObject = t.res.BackupBegan, t.res.BackupEnded, t.res.FirstObject, t.res.LastObject
	for i := range now.Regions {
		if seen := t.regions[now.Regions[i].Region]; seen != nil {
			x := *seen
			x.Region, x.State, x.Note = now.Regions[i].Region, now.Regions[i].State, now.Regions[i].Note
			now.Regions[i] = x
		}
	}
	return now
}

// at gives what is noted of a destination; t.mu is held.
func (t *trip) at(region string) *report.PointRegion {
	if t.regions[region] == nil {
		t.regions[region] = &report.PointRegion{}
	}
	return t.regions[region]
}

func (t *trip) travel(ctx context.Context) error {
	dests, err := t.roomy(ctx)
	if err != nil {
		return err
	}
	if t.pt.Made == 0 {
		if err := t.follow(ctx, dests); err != nil {
			return err
		}
		if err := t.describe(ctx); err != nil {
			return err
		}
	}
	if len(dests) == 0 {
		return nil
	}
	if t.res.Resumed && t.pt.Gone == 0 {
		if err := t.stillThere(ctx); err != nil {
			return err
		}
	}
	return t.deliver(ctx, dests)
}

// stillThere notes of a point that was made before whether its source has lost it. Then
// it can be landed where all of it stands, and nowhere else.
func (t *trip) stillThere(ctx context.Context) error {
	_, err := t.from.Blocks.Backup(ctx, t.pt.ID)
	if !transport.Is(err, transport.NotFound) {
		return err
	}
	if err := t.save(ctx, func(p *store.Point) { p.Gone = t.s.o.Clock.Now().UnixMicro() }); err != nil {
		return err
	}
	return &transport.Error{Op: "ship point " + t.pt.ID, Region: t.p.From, Class: transport.NotFound, Err: errors.New("the source no longer has its backup: regions that lack it will not get it"),
		Hint: "farshore points says where it stands; nothing of Farshore's deletes a backup that is on its way"}
}

// save changes the point in the ledger, and what the trip knows of it. Only one
// goroutine may use the trip meanwhile.
func (t *trip) save(ctx context.Context, change func(*store.Point)) error {
	var now store.Point
	err := t.s.o.Ledger.UpdatePoint(ctx, t.pt.ID, func(p *store.Point, exists bool) bool {
		if exists {
			change(p)
		}
		now = *p
		return exists
	})
	if err == nil {
		now.Copies = slices.Clone(now.Copies)
		t.pt = now
	}
	return err
}

// saveCopy changes the point's copy in a region. Destinations do so at the same time.
func (t *trip) saveCopy(ctx context.Context, region string, change func(*store.PointCopy)) error {
	var now store.PointCopy
	err := t.s.o.Ledger.UpdatePoint(ctx, t.pt.ID, func(p *store.Point, exists bool) bool {
		if c, ok := p.Copy(region); ok {
			change(&c)
			p.SetCopy(c)
			now = c
		}
		return exists
	})
	if err == nil && now.Region != "" {
		t.mu.Lock()
		t.pt.SetCopy(now)
		t.mu.Unlock()
	}
	return err
}

// copyAt gives the point's copy in a region as the trip knows it.
func (t *trip) copyAt(region string) store.PointCopy {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, _ := t.pt.Copy(region)
	return c
}

// follow waits for the backup to be complete, and copies its objects while Cinder
// writes them.
func (t *trip) follow(ctx context.Context, dests []string) error {
	names := make(chan transport.Entry, liveNames)
	var copying sync.WaitGroup
	var res replicator.CopyResult
	var copied error
	ended := make(chan struct{})
	started := false
	begin := func() {
		started = true
		copying.Go(func() {
			defer close(ended)
			res, copied = t.s.o.Engine.CopyNames(ctx, t.job(dests), names, t.f)
		})
	}
	last, idle := "", t.s.o.Clock.Now()
	t.res.BackupBegan = t.s.o.Clock.Now().UTC()
	what := fmt.Sprintf("backing up %s (backup %s)", volumeName(transport.Volume{ID: t.pt.Volume.ID, Name: t.pt.Volume.Name}), t.pt.ID)
	err := t.s.await(ctx, what, func(ctx context.Context) (bool, error) {
		b, err := t.from.Blocks.Backup(ctx, t.pt.ID)
		if err != nil {
			return false, err
		}
		if t.pt.Prefix == "" {
			if err := t.findPrefix(ctx, b); err != nil {
				return false, err
			}
		}
		if t.pt.Prefix != "" && len(dests) > 0 {
			if !started {
				begin()
			}
			before := last
			if last, err = t.offer(ctx, names, last); err != nil {
				return false, err
			}
			if last != before {
				idle = t.s.o.Clock.Now()
			}
		}
		switch {
		case b.Status == "available":
			return true, nil
		case strings.HasPrefix(b.Status, "error"):
			return false, t.broken(b)
		case t.s.o.Clock.Now().Sub(idle) > stall:
			return false, &stuckError{what: "backup", region: t.p.From, id: b.ID, status: b.Status, command: "openstack volume backup set --state error " + b.ID}
		}
		return false, nil
	})
	t.res.BackupEnded = t.s.o.Clock.Now().UTC()
	close(names)
	copying.Wait()
	t.add(res)
	var failed *brokenError
	gone := transport.Is(err, transport.NotFound)
	switch {
	case copied != nil && (ctx.Err() != nil || !regional(copied)):
		return copied
	case ctx.Err() != nil, err == nil:
		return err
	case errors.As(err, &failed), gone:
		if derr := t.discard(ctx, t.pt); derr != nil {
			return errors.Join(err, derr)
		}
		if t.pt.SnapshotOurs && t.pt.Parent == "" && !gone { // the next one is due in its time
			if derr := t.s.removeSnapshot(ctx, t.from.Blocks, t.p.From, t.pt.Snapshot); derr != nil {
				return errors.Join(err, derr)
			}
		}
		if t.pt.Parent != "" && !gone {
			return &tryFullError{why: "Cinder could not make an increment", cause: err}
		}
	}
	return err
}

// offer gives the copier the data objects that came after last, as far as it has room,
// and says which was the last given.
func (t *trip) offer(ctx context.Context, names chan<- transport.Entry, last string) (string, error) {
	full := errors.New("no room")
	err := t.from.Objects.List(ctx, t.pt.Container, transport.Range{Prefix: t.pt.Prefix + "-", After: last}, func(page []transport.Entry) error {
		for _, e := range page {
			select {
			case names <- e:
				last = e.Name
			default:
				return full
			}
		}
		return nil
	})
	if errors.Is(err, full) || transport.Is(err, transport.NotFound) {
		err = nil
	}
	return last, err
}

// findPrefix looks for the backup's objects in the project's account. Their names tell
// when it began to be written (C3), so that older backups' need not be listed.
func (t *trip) findPrefix(ctx context.Context, b transport.Backup) error {
	prefix, err := findPrefix(ctx, t.from.Objects, b)
	if err != nil || prefix == "" {
		return err
	}
	return t.save(ctx, func(p *store.Point) { p.Container, p.Prefix = b.Container, prefix })
}

// clockSlack is how far the clocks of a region's services may be apart.
const clockSlack = 10 * time.Minute

// findPrefix finds what a backup's objects are called in an account; "": there are none.
func findPrefix(ctx context.Context, objects transport.Source, b transport.Backup) (prefix string, err error) {
	if b.Container == "" {
		return "", nil
	}
	root := "volume_" + b.Volume + "/"
	r := transport.Range{Prefix: root}
	if !b.Created.IsZero() && b.Volume != "" {
		r.After = root + b.Created.Add(-clockSlack).UTC().Format("20060102150405")
	}
	found := errors.New("found")
	err = objects.List(ctx, b.Container, r, func(page []transport.Entry) error {
		for _, e := range page {
			if p, _, ok := backup.SplitName(e.Name); ok && strings.HasSuffix(p, "_backup_"+b.ID) {
				prefix = p
				return found
			}
		}
		return nil
	})
	if errors.Is(err, found) || transport.Is(err, transport.NotFound) {
		err = nil
	}
	return prefix, err
}

// job is the copy of the point's objects.
func (t *trip) job(dests []string) replicator.CopyJob {
	job := copyJob(t.p, t.pt, dests)
	job.Look = t.res.Resumed
	return job
}

func (t *trip) add(res replicator.CopyResult) {
	t.run.mu.Lock()
	x := &t.copied
	x.Copied += res.Totals.Copied
	x.Bytes += res.Totals.Bytes
	x.Read += res.Totals.Read
	x.Adopted += res.Totals.Adopted
	x.Conflicts += res.Totals.Conflicts
	x.Failed += res.Totals.Failed
	x.Twice += res.Totals.Twice
	for region, n := range res.Totals.ByRegion {
		x.ByRegion[region] += n
	}
	t.run.mu.Unlock()
	t.mu.Lock()
	for region, n := range res.Totals.ByRegion {
		t.at(region).Sent += n
	}
	t.mu.Unlock()
	for region, err := range res.Down {
		t.lose(region, err)
	}
}

// brokenError is a backup that ended in error.
type brokenError struct{ cause *transport.Error }

func (e *brokenError) Error() string { return e.cause.Error() }
func (e *brokenError) Unwrap() error { return e.cause }

// broken explains a backup that ended in error.
func (t *trip) broken(b transport.Backup) error {
	reason := b.FailReason
	if reason == "" {
		reason = "Cinder gives no reason"
	}
	e := &transport.Error{Op: "back up snapshot " + t.pt.Snapshot, Region: t.p.From, Name: b.ID, Class: transport.Permanent,
		Err:  fmt.Errorf("backup %s ended in %s: %s", b.ID, b.Status, reason),
		Hint: "openstack volume message list, and the log of cinder-backup, tell more; the backup and what was carried of it were removed"}
	if ends := t.tokenEnd(); !ends.IsZero() && t.s.o.Clock.Now().After(ends.Add(-time.Minute)) {
		e.Hint = fmt.Sprintf("the token that it was started with ended at %s, and cinder-backup cannot renew it: have the operator lengthen the life of tokens ([token] expiration of Keystone), or use smaller volumes; "+
			"the backup and what was carried of it were removed", ends.UTC().Format(time.RFC3339))
	}
	return &brokenError{e}
}
