package volumes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// The kinds of works.
const (
	workSnapshot = "snapshot" // a snapshot at the source
	workBackup   = "backup"   // a backup of a snapshot at the source
)

// begin makes it durable that something is about to be made, before it is (R6). It
// fills in the ID, unless there is one already, and the time.
func (s *Shipper) begin(ctx context.Context, w store.Work) (store.Work, error) {
	if w.ID == "" {
		id, err := newWorkID()
		if err != nil {
			return w, err
		}
		w.ID = id
	}
	w.Began = s.o.Clock.Now().UnixMicro()
	s.o.Hands.take(w.ID, s)
	return w, s.note(ctx, w)
}

// note records what became known of a work: the id that the region gave, or its data.
func (s *Shipper) note(ctx context.Context, w store.Work) error {
	if err := s.o.Ledger.PutWork(ctx, w); err != nil {
		return fmt.Errorf("record work %s: %w", w.ID, err)
	}
	return nil
}

// done forgets a work: what it made is recorded elsewhere, or is gone.
func (s *Shipper) done(ctx context.Context, id string) error {
	if err := s.o.Ledger.DropWork(ctx, id); err != nil {
		return fmt.Errorf("end work %s: %w", id, err)
	}
	s.o.Hands.drop(id)
	return nil
}

// works gives the works of some kinds (none: all), the oldest first.
func (s *Shipper) works(kinds ...string) ([]store.Work, error) {
	all, err := s.o.Ledger.Works()
	if err != nil {
		return nil, fmt.Errorf("read works: %w", err)
	}
	return slices.DeleteFunc(all, func(w store.Work) bool { return len(kinds) > 0 && !slices.Contains(kinds, w.Kind) }), nil
}

// left reports whether a work is of an earlier run, so that nobody is at it now.
func (s *Shipper) left(w store.Work) bool {
	return !s.o.Hands.has(w.ID)
}

// reap clears away the scratch resources of works of the kinds given that an earlier
// run left behind, and forgets the works. What cannot be removed is a finding, and
// is tried again by the next run.
func (s *Shipper) reap(ctx context.Context, f *report.Findings, kinds ...string) error {
	list, err := s.works(kinds...)
	if err != nil {
		return err
	}
	for _, w := range list {
		if !s.left(w) {
			continue
		}
		err := s.clear(ctx, w.Region, w.ID)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			f.Add(report.Finding{Kind: report.KindLeftBehind, Level: report.Warn, Policy: w.Policy, Region: w.Region, Name: scratchName(w.ID),
				Op: "clear away what an interrupted " + w.Kind + " left", Cause: err.Error(), Hint: removeHint(err)})
			continue
		}
		if err := s.done(ctx, w.ID); err != nil {
			return err
		}
	}
	return nil
}

// removeHint says how to remove what only an admin can.
func removeHint(err error) string {
	if h := transport.HintOf(err); h != "" {
		return h
	}
	return "the next run tries again"
}

// clear removes everything of a work that has a scratch name: backups, then volumes,
// then its container. It returns when all of it is gone.
func (s *Shipper) clear(ctx context.Context, region, work string) error {
	r, err := s.region(region)
	if err != nil {
		return err
	}
	ours := func(name string, metadata map[string]string) bool {
		return name == scratchName(work) || strings.HasPrefix(name, scratchPrefix) && metadata[keyWork] == work
	}
	if r.Blocks != nil {
		if err := s.clearBackups(ctx, r.Blocks, region, ours); err != nil {
			return err
		}
		if err := s.clearVolumes(ctx, r.Blocks, region, ours); err != nil {
			return err
		}
	}
	return s.clearContainer(ctx, r.Objects, scratchContainer(work))
}

func (s *Shipper) clearBackups(ctx context.Context, b transport.BlockStorage, region string, ours func(string, map[string]string) bool) error {
	list, err := b.Backups(ctx)
	if err != nil {
		return err
	}
	for _, x := range list {
		if ours(x.Name, x.Metadata) {
			if err := s.removeBackup(ctx, b, region, x.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Shipper) clearVolumes(ctx context.Context, b transport.BlockStorage, region string, ours func(string, map[string]string) bool) error {
	list, err := b.Volumes(ctx)
	if err != nil {
		return err
	}
	for _, x := range list {
		if ours(x.Name, x.Metadata) {
			if err := s.removeVolume(ctx, b, region, x.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// clearings is how often a container is cleared that was found filled again, a second apart:
// a write that was given up may arrive after the listing, which may itself lag.
const clearings = 5

// clearContainer removes a container with all that is in it. Missing is no error.
func (s *Shipper) clearContainer(ctx context.Context, sink transport.Sink, container string) error {
	for n := 1; ; n++ {
		err := clearOnce(ctx, sink, container)
		var te *transport.Error
		if n == clearings || !errors.As(err, &te) || te.Status != http.StatusConflict {
			return err
		}
		if err := transport.Sleep(ctx, s.o.Clock, time.Second, nil); err != nil {
			return err
		}
	}
}

func clearOnce(ctx context.Context, sink transport.Sink, container string) error {
	var names []string
	err := sink.List(ctx, container, transport.Range{}, func(page []transport.Entry) error {
		for _, e := range page {
			names = append(names, e.Name)
		}
		return nil
	})
	if err == nil && len(names) > 0 {
		err = sink.DeleteMany(ctx, container, names)
	}
	if err == nil {
		err = sink.DeleteContainer(ctx, container)
	}
	if transport.Is(err, transport.NotFound) {
		return nil
	}
	return err
}

// stuckError says that something stays in a status that only an admin ends.
type stuckError struct{ what, region, id, status, command string }

func (e *stuckError) Error() string {
	return fmt.Sprintf("%s %s in region %s stays %s: only an admin can end that: %s", e.what, e.id, e.region, e.status, e.command)
}

func (e *stuckError) hint() string { return "an admin runs: " + e.command }

// removeBackup deletes a backup and waits until it is gone, its objects with it (C17).
func (s *Shipper) removeBackup(ctx context.Context, b transport.BlockStorage, region, id string) error {
	asked := false
	return s.remove(ctx, "backup", region, id, func(ctx context.Context) (string, error) {
		x, err := b.Backup(ctx, id)
		if err != nil {
			return "", err
		}
		if !asked && (x.Status == "available" || x.Status == "error") {
			asked = true
			return "deleting", b.DeleteBackup(ctx, id)
		}
		return x.Status, nil
	}, fmt.Sprintf("openstack volume backup set --state error %s && openstack volume backup delete %s", id, id))
}

// removeVolume deletes a volume and waits until it is gone.
func (s *Shipper) removeVolume(ctx context.Context, b transport.BlockStorage, region, id string) error {
	asked := false
	return s.remove(ctx, "volume", region, id, func(ctx context.Context) (string, error) {
		x, err := b.Volume(ctx, id)
		if err != nil {
			return "", err
		}
		if !asked && (x.Status == "available" || strings.HasPrefix(x.Status, "error") && x.Status != "error_deleting") {
			asked = true
			return "deleting", b.DeleteVolume(ctx, id)
		}
		return x.Status, nil
	}, fmt.Sprintf("openstack volume set --state error %s && openstack volume delete %s", id, id))
}

// removeSnapshot deletes a snapshot and waits until it is gone.
func (s *Shipper) removeSnapshot(ctx context.Context, b transport.BlockStorage, region, id string) error {
	asked := false
	var left orphan
	command := fmt.Sprintf("openstack volume snapshot set --state error %s && openstack volume snapshot delete %s", id, id)
	return s.remove(ctx, "snapshot", region, id, func(ctx context.Context) (string, error) {
		x, err := b.Snapshot(ctx, id)
		if err != nil {
			return "", err
		}
		if alone, err := left.look(ctx, s, b, x); err != nil {
			return "", err
		} else if alone {
			return "", &stuckError{what: "snapshot", region: region, id: id, status: x.Status, command: command}
		}
		if !asked && (x.Status == "available" || x.Status == "error") {
			asked = true
			return "deleting", b.DeleteSnapshot(ctx, id)
		}
		return x.Status, nil
	}, command)
}

// remove asks for something until it is gone. A status that no delete ends, or one
// that lasts longer than patience, is a *stuckError with the admin's command.
func (s *Shipper) remove(ctx context.Context, what, region, id string, step func(context.Context) (status string, err error), command string) error {
	since, last := s.o.Clock.Now(), ""
	return s.await(ctx, fmt.Sprintf("removing %s %s in %s", what, id, region), func(ctx context.Context) (bool, error) {
		status, err := step(ctx)
		if transport.Is(err, transport.NotFound) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		if status != last {
			since, last = s.o.Clock.Now(), status
		}
		if status == "error_deleting" || s.o.Clock.Now().Sub(since) > patience {
			return false, &stuckError{what: what, region: region, id: id, status: status, command: command}
		}
		return false, nil
	})
}
