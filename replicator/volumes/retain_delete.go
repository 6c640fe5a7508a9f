package volumes

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

const workExpire = "expire" // a backup is being deleted, with its objects

// expiry is the Data of a workExpire.
type expiry struct {
	Volume, Backup    string
	Container, Prefix string
	Source            bool // at the point's source: the point lives on in its copies
	Replaced          bool // the copy lives on as a synthetic full, and its old backup goes
}

// expire deletes a backup: its record and objects at its region (C17), what Cinder left
// of its objects, its descriptor and block list, and what the ledger says of them. It
// returns when all of it is seen to be gone, and how many bytes of objects that were.
// A delete that was refused is as if it was never begun; one that fails in another way
// is gone on with by the next retention.
func (s *Shipper) expire(ctx context.Context, f *report.Findings, policy, point, region string, e expiry) (freed int64, err error) {
	data, err := json.Marshal(e)
	if err != nil {
		return 0, fmt.Errorf("describe delete: %w", err)
	}
	w, err := s.begin(ctx, store.Work{Kind: workExpire, Region: region, Policy: policy, Point: point, Resource: e.Backup, Data: data})
	if err != nil {
		return 0, err
	}
	return s.erase(ctx, f, w, e)
}

// erase does what expire says for a work that is begun.
func (s *Shipper) erase(ctx context.Context, f *report.Findings, w store.Work, e expiry) (freed int64, err error) {
	r, err := s.cinder(w.Region)
	if err != nil {
		return 0, err
	}
	if e, err = s.located(w, e); err != nil {
		return 0, err
	}
	_, freed, err = s.under(ctx, r.Objects, e.Container, e.Prefix)
	if err != nil {
		return 0, err
	}
	if err := s.removeOurs(ctx, r.Blocks, w, e); err != nil {
		var refused *pinnedError
		if errors.As(err, &refused) {
			err = errors.Join(err, s.done(ctx, w.ID))
		}
		return 0, err
	}
	if err := s.sweep(ctx, f, r.Objects, w, e); err != nil {
		return 0, err
	}
	if !e.Source {
		names := []string{descriptorName(e.Volume, e.Backup), blocksName(e.Volume, e.Backup)}
		if err := r.Objects.DeleteMany(ctx, PointsContainer, names); err != nil && !transport.Is(err, transport.NotFound) {
			return 0, err
		}
	}
	if err := s.forget(ctx, w, e); err != nil {
		return 0, err
	}
	return freed, s.done(ctx, w.ID)
}

// located fills in what a copy that is still on its way does not say of itself: its
// objects go under the names that they have at the source.
func (s *Shipper) located(w store.Work, e expiry) (expiry, error) {
	if e.Backup != "" && e.Container != "" && e.Prefix != "" {
		return e, nil
	}
	x, ok, err := s.o.Ledger.Point(w.Point)
	if err != nil || !ok {
		return e, fmt.Errorf("read restore point %s: %w", w.Point, cmp.Or(err, errors.New("it is not in the ledger any more")))
	}
	e.Backup, e.Container, e.Prefix = cmp.Or(e.Backup, x.ID), cmp.Or(e.Container, x.Container), cmp.Or(e.Prefix, x.Prefix)
	return e, nil
}

// pinnedError says that a backup is not deleted because of what others made of it.
type pinnedError struct {
	backup, region string
	upon           []string // increments upon it, as far as they can be seen
	unknown        []string // of them, those that Farshore made under another ledger
	theirs         string   // why the backup itself is not taken for ours; ""
	err            error
}

func (e *pinnedError) Error() string {
	switch {
	case e.theirs != "":
		return fmt.Sprintf("backup %s in region %s is not deleted: %s", e.backup, e.region, e.theirs)
	case len(e.unknown) > 0:
		return fmt.Sprintf("backup %s in region %s cannot be deleted: points that this ledger does not know are made upon it (%s)", e.backup, e.region, strings.Join(e.unknown, ", "))
	case len(e.upon) > 0:
		return fmt.Sprintf("backup %s in region %s cannot be deleted: increments that are not farshore's are made upon it (%s)", e.backup, e.region, strings.Join(e.upon, ", "))
	}
	return fmt.Sprintf("backup %s in region %s cannot be deleted, although nothing that can be seen is made upon it: %v", e.backup, e.region, e.err)
}

func (e *pinnedError) Unwrap() error { return e.err }

func (e *pinnedError) hint() string {
	switch {
	case e.theirs != "":
		return "delete it by hand if it is not wanted: openstack volume backup delete " + e.backup
	case len(e.unknown) > 0:
		return "Farshore made them, with another ledger: farshore ledger rebuild finds them; where that ledger is in use still, its own retention deletes them"
	case len(e.upon) > 0:
		return "delete those first, if they are not wanted: openstack volume backup delete " + strings.Join(e.upon, " ")
	}
	return "an increment of another project or a failed one may be upon it; as an admin: openstack volume backup list --all-projects --long, delete what is, and then openstack volume backup delete " + e.backup
}

// removeOurs deletes the record with its objects, provided that it is what the ledger
// says: the same volume and container. A record that is not there is fine.
func (s *Shipper) removeOurs(ctx context.Context, b transport.BlockStorage, w store.Work, e expiry) error {
	x, err := b.Backup(ctx, e.Backup)
	if transport.Is(err, transport.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if x.Volume != e.Volume || x.Container != e.Container {
		return &pinnedError{backup: e.Backup, region: w.Region, theirs: fmt.Sprintf("it is of volume %s in container %s, not of volume %s in %s", x.Volume, x.Container, e.Volume, e.Container)}
	}
	err = s.removeBackup(ctx, b, w.Region, e.Backup)
	if !transport.Is(err, transport.Changed) {
		return err
	}
	list, lerr := b.Backups(ctx)
	if lerr != nil {
		return errors.Join(err, lerr)
	}
	known, kerr := s.backupsKnown(e.Volume, w.Region)
	if kerr != nil {
		return kerr
	}
	pinned := &pinnedError{backup: e.Backup, region: w.Region, err: err}
	for _, y := range list {
		if y.Volume == e.Volume && y.Incremental && !known[y.ID] && !y.DataTime.Before(x.DataTime) {
			pinned.upon = append(pinned.upon, y.ID)
			if _, made := y.Metadata[keyPolicy]; made || strings.HasPrefix(y.Name, madePrefix) && !strings.HasPrefix(y.Name, scratchPrefix) {
				pinned.unknown = append(pinned.unknown, y.ID)
			}
		}
	}
	slices.Sort(pinned.upon)
	slices.Sort(pinned.unknown)
	return pinned
}

// backupsKnown are the ids of a volume's backups in a region that the ledger knows.
func (s *Shipper) backupsKnown(volume, region string) (map[string]bool, error) {
	points, err := s.o.Ledger.Points(volume)
	if err != nil {
		return nil, fmt.Errorf("read restore points of volume %s: %w", volume, err)
	}
	known := map[string]bool{}
	for i := range points {
		if points[i].Region == region {
			known[points[i].ID] = true
		}
		if c, ok := points[i].Copy(region); ok {
			known[c.Backup] = true
		}
	}
	return known, nil
}

// under lists what begins with a backup's prefix; without one, it has no objects yet.
func (s *Shipper) under(ctx context.Context, sink transport.Sink, container, prefix string) (names []string, bytes int64, err error) {
	if container == "" || prefix == "" {
		return nil, 0, nil
	}
	err = sink.List(ctx, container, transport.Range{Prefix: prefix}, func(page []transport.Entry) error {
		for _, e := range page {
			names, bytes = append(names, e.Name), bytes+e.Size
		}
		return nil
	})
	if transport.Is(err, transport.NotFound) {
		return nil, 0, nil
	}
	return names, bytes, err
}

// sweep removes what Cinder left of a deleted backup's objects, which it does when
// the listing it deletes by lags, and returns when none are listed.
func (s *Shipper) sweep(ctx context.Context, f *report.Findings, sink transport.Sink, w store.Work, e expiry) error {
	swept := 0
	err := s.await(ctx, fmt.Sprintf("seeing the objects of backup %s go in %s", e.Backup, w.Region), func(ctx context.Context) (bool, error) {
		left, _, err := s.under(ctx, sink, e.Container, e.Prefix)
		if err != nil || len(left) == 0 {
			return err == nil, err
		}
		swept = max(swept, len(left))
		return false, sink.DeleteMany(ctx, e.Container, left)
	})
	if err == nil && swept > 0 {
		f.Add(report.Finding{Kind: report.KindLeftover, Level: report.Info, Policy: w.Policy, Region: w.Region, Container: e.Container, Name: e.Prefix, Op: "delete point",
			Cause: fmt.Sprintf("%s of the backup, still listed after its delete, had to be removed", report.Count(swept, "object"))})
	}
	return err
}

// forget writes into the ledger that a backup is gone, and lets go of a point of which
// there is nothing left anywhere.
func (s *Shipper) forget(ctx context.Context, w store.Work, e expiry) error {
	x, ok, err := s.o.Ledger.Point(w.Point)
	if err != nil {
		return fmt.Errorf("read restore point %s: %w", w.Point, err)
	}
	if ok && !e.Source {
		if c, there := x.Copy(w.Region); there {
			to := store.Place{Region: w.Region, Project: c.Project, Container: e.Container}
			if err := s.forgetReplicas(ctx, store.Place{Region: x.Region, Project: x.Project, Container: x.Container}, to, e.Prefix); err != nil {
				return err
			}
		}
	}
	last := false
	err = s.o.Ledger.UpdatePoint(ctx, w.Point, func(p *store.Point, exists bool) bool {
		if !exists {
			return false
		}
		if e.Source {
			p.Gone = s.o.Clock.Now().UnixMicro()
		} else if c, there := p.Copy(w.Region); there && !e.Replaced && cmp.Or(c.Backup, p.ID) == e.Backup {
			c.State, c.Note = store.CopyExpired, ""
			p.SetCopy(c)
		}
		last = p.Gone != 0 && !slices.ContainsFunc(p.Copies, func(c store.PointCopy) bool { return c.State != store.CopyExpired })
		return !last
	})
	if err != nil {
		return fmt.Errorf("record that backup %s is gone: %w", e.Backup, err)
	}
	if !last || !ok {
		return nil
	}
	place, found, err := s.o.Ledger.FindPlace(store.Place{Region: x.Region, Project: x.Project, Container: x.Container})
	if err != nil || !found {
		return err
	}
	var names []string
	err = s.objects(ctx, place, x.Prefix, func(o store.Object) { names = append(names, o.Name) })
	if err == nil {
		err = s.o.Ledger.ForgetObjects(ctx, place, names)
	}
	return err
}

// forgetReplicas takes from the records of a backup's objects that one destination has them.
func (s *Shipper) forgetReplicas(ctx context.Context, from, to store.Place, prefix string) error {
	// The objects of a synthetic full have records of their own, at the destination.
	if own, ok, err := s.o.Ledger.FindPlace(to); err != nil {
		return err
	} else if ok {
		var names []string
		if err := s.objects(ctx, own, prefix, func(o store.Object) { names = append(names, o.Name) }); err != nil {
			return err
		}
		if err := s.o.Ledger.ForgetObjects(ctx, own, names); err != nil {
			return err
		}
	}
	route, ok, err := s.o.Ledger.FindRoute(store.Route{From: from, To: to})
	if err != nil || !ok {
		return err
	}
	err = s.objects(ctx, route.From, prefix, func(o store.Object) {
		s.o.Ledger.Update(route.From, o.Name, func(o *store.Object, exists bool) bool {
			o.DropReplica(route.ID)
			return exists && len(o.Replicas) > 0
		})
	})
	if err != nil {
		return err
	}
	return s.o.Ledger.Flush(ctx)
}

// objects walks the ledger's records of objects whose names begin with a backup's
// prefix; without one, it has none.
func (s *Shipper) objects(ctx context.Context, place store.PlaceID, prefix string, see func(store.Object)) error {
	if prefix == "" {
		return nil
	}
	for after := ""; ; {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		page, err := s.o.Ledger.Page(place, after, "", prefix, store.MaxPage)
		if err != nil {
			return err
		}
		for _, o := range page {
			see(o)
		}
		if len(page) < store.MaxPage {
			return nil
		}
		after = page[len(page)-1].Name
	}
}
