package volumes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// ForgetRequest says which points are to be forgotten.
type ForgetRequest struct {
	Points []string // ids, or beginnings of some
	// SourceLost says that the source regions are gone for good: they are not asked whether
	// they still have the backups.
	SourceLost bool
}

// Forget lets go of points that no region can restore any more, and of the increments
// upon them: what is left of them (records, objects, descriptors) is removed at every
// destination, and they go from the ledger. The source is asked first whether it still
// has a backup. A point that something can be restored of is refused, and nothing is
// removed. What could not be removed is a finding, and the same request tries again.
func (s *Shipper) Forget(ctx context.Context, r ForgetRequest) ([]report.PointStanding, []report.Finding, error) {
	all, err := s.o.Ledger.Points("")
	if err != nil {
		return nil, nil, fmt.Errorf("read points: %w", err)
	}
	doomed := map[string]bool{}
	for _, name := range r.Points {
		x, err := pointNamed(all, name)
		if err == nil {
			err = s.mayForget(ctx, r, all, x)
		}
		if err != nil {
			return nil, nil, err
		}
		doomed[x.ID] = true
	}
	var list []store.Point
	for _, x := range all { // the oldest first, so that parents come before what is upon them
		if !doomed[x.ID] && doomed[x.Parent] {
			err := s.mayForget(ctx, r, all, x)
			if ctx.Err() != nil {
				return nil, nil, err
			}
			doomed[x.ID] = err == nil // one that a synthetic full stands for stays
		}
		if doomed[x.ID] {
			list = append(list, x)
		}
	}
	f := report.NewFindings(nil, s.o.OnFinding)
	var gone []store.Point
	for _, x := range slices.Backward(list) { // increments before what they are upon
		if err := s.forgetPoint(ctx, f, x); err != nil {
			return Standing(gone, true), f.List(), err
		}
		if _, still, err := s.o.Ledger.Point(x.ID); err != nil {
			return nil, nil, fmt.Errorf("read point %s: %w", x.ID, err)
		} else if !still {
			gone = append(gone, x)
		}
	}
	return Standing(gone, true), f.List(), nil
}

// pointNamed finds a point in the ledger by its id or the beginning of it. Volumes are
// not meant here: one point of many would be guessed at.
func pointNamed(all []store.Point, name string) (x store.Point, err error) {
	var ids []string
	for _, y := range all {
		if y.ID == name {
			return y, nil
		}
		if len(name) >= shortestID && strings.HasPrefix(y.ID, name) {
			x, ids = y, append(ids, y.ID)
		}
	}
	fail := func(hint, format string, args ...any) (store.Point, error) {
		return store.Point{}, &transport.Error{Op: "find point " + transport.PrintName(name), Class: transport.NotFound, Err: fmt.Errorf(format, args...), Hint: hint}
	}
	switch len(ids) {
	case 0:
		return fail("farshore points lists them; here a point is named by its id", "no point in the ledger has that id")
	case 1:
		return x, nil
	}
	return fail("give more of the id: "+few(ids), "%d points begin so", len(ids))
}

// mayForget refuses a point that can be restored somewhere, by what the ledger says and
// what its source answers now.
func (s *Shipper) mayForget(ctx context.Context, r ForgetRequest, all []store.Point, x store.Point) error {
	refuse := func(region, cause, hint string) error {
		return &transport.Error{Op: "forget point " + x.ID, Region: region, Class: transport.Permanent, Err: errors.New(cause), Hint: hint}
	}
	for _, c := range x.Copies {
		switch {
		case c.State == store.CopyShipped:
			return refuse(c.Region, "its objects are there, and only its record is not imported", "farshore points land "+x.ID+" --to "+c.Region)
		case chainLength(landedAt(all, c.Region, false), c.Backup) > 0:
			return refuse(c.Region, "the region can restore it", "if that is not so, farshore audit "+before(x.Policy)+"says why; retention removes what keep does not choose")
		}
	}
	if x.Gone != 0 || r.SourceLost {
		return nil
	}
	src, err := s.cinder(x.Region)
	if err == nil {
		_, err = src.Blocks.Backup(ctx, x.ID)
	}
	switch {
	case err == nil:
		return refuse(x.Region, "the source still has its backup", "farshore audit "+before(x.Policy)+"--repair sends what is missing again")
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !transport.Is(err, transport.NotFound):
		return refuse(x.Region, "the source cannot be asked whether it still has its backup: "+err.Error(), "if the region is gone for good, add --source-lost")
	}
	return nil
}

// forgetPoint removes what is left of a point everywhere, and then the point.
func (s *Shipper) forgetPoint(ctx context.Context, f *report.Findings, x store.Point) error {
	err := s.o.Ledger.UpdatePoint(ctx, x.ID, func(p *store.Point, exists bool) bool {
		if p.Gone == 0 {
			p.Gone = s.o.Clock.Now().UnixMicro()
		}
		left := slices.ContainsFunc(p.Copies, func(c store.PointCopy) bool { return c.State != store.CopyExpired })
		return exists && left
	})
	if err != nil {
		return fmt.Errorf("record that backup %s is gone: %w", x.ID, err)
	}
	told := report.NewFindings(nil, nil)
	r := &retention{s: s, p: policies.Policy{Name: x.Policy}, f: told, out: &report.Retention{}}
	for _, c := range x.Copies {
		if c.State == store.CopyExpired {
			continue
		}
		err := r.expire(ctx, x.ID, c.Region, expiry{Volume: x.Volume.ID, Backup: c.Backup, Container: c.Container, Prefix: c.Prefix})
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			r.report(&report.Fate{Region: c.Region, Point: x.ID, Act: report.Delete}, err)
		}
	}
	for _, y := range told.List() {
		if y.Kind != report.KindLeftover { // the point is not gone, which is all that was asked for
			y.Level = report.Error
		}
		f.Add(y)
	}
	return nil
}
