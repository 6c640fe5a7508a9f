package volumes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"farshore/replicator"
	"farshore/replicator/report"
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

// pick is the point that a name stands for at a region.
type pick struct {
	point store.Point
	known string
	newer store.Point // the newest of the volume that was named, where that is another; else without an id
	why   string      // why the newest is not taken
	again string      // what a repair does about that: import it, or send it; empty: what its state says
	ofAll bool        // it was chosen among a volume's points
	// lost is the newest point that the region once had in full, where that cannot be restored
	// there any more; else without an id. It is no newer one that is still on its way.
	lost    store.Point
	whyLost string
}

// shortestID is how much of an id is enough to name a point by.
const shortestID = 6

// findPoint finds what a restore is to restore: by a point's id or the beginning of
// one, or by the id or name of a volume, of which the newest point is taken that region can
// restore. damaged says of backups there, by their ids, why they cannot be; nil: of none.
func (s *Shipper) findPoint(ctx context.Context, name, region string, damaged map[string]string) (pick, error) {
	if name == "" { // it would be the name of a volume that has none
		return pick{}, &replicator.UsageError{Msg: "no point is named", Hint: "give a point's id, or a volume's id or name: farshore points lists them"}
	}
	fail := func(hint, format string, args ...any) (pick, error) {
		return pick{}, &transport.Error{Op: "find point " + transport.PrintName(name), Region: region, Class: transport.NotFound, Err: fmt.Errorf(format, args...), Hint: hint}
	}
	named := func(p store.Point) bool {
		c, _ := at(p, region)
		return p.ID == name || c.Backup == name || ofVolume(p, name) || len(name) >= shortestID && strings.HasPrefix(p.ID, name)
	}
	list, known, err := s.pointsAt(ctx, region, named)
	if err != nil {
		return pick{}, err
	}
	if len(list) == 0 {
		cause, hint, err := s.notThere(ctx, region, named)
		if err != nil {
			return pick{}, err
		}
		short, _, err := s.pointsAt(ctx, region, func(p store.Point) bool { return strings.HasPrefix(p.ID, name) })
		if err != nil {
			return pick{}, err
		}
		if len(name) < shortestID && len(short) > 0 {
			hint = fmt.Sprintf("of a point's id give %d characters or more; %s", shortestID, hint)
		}
		return fail(hint, "%s", cause)
	}
	if i := slices.IndexFunc(list, func(p store.Point) bool { c, _ := at(p, region); return p.ID == name || c.Backup == name }); i >= 0 {
		return pick{point: list[i], known: known}, nil
	}
	volumes := map[string]bool{}
	for _, p := range list {
		volumes[p.Volume.ID] = true
	}
	byID := slices.DeleteFunc(slices.Clone(list), func(p store.Point) bool { return ofVolume(p, name) })
	switch {
	case len(byID) > 1:
		return fail("give more of the id", "%d points begin so", len(byID))
	case len(byID) == 1 && len(list) == 1:
		return pick{point: list[0], known: known}, nil
	case len(volumes) > 1:
		return fail("give the volume's id: "+strings.Join(sortedKeys(volumes), ", "), "%d volumes have that name", len(volumes))
	}
	// Its other points count, too: it may have had another name when they were made.
	if list, known, err = s.pointsAt(ctx, region, func(p store.Point) bool { return volumes[p.Volume.ID] }); err != nil {
		return pick{}, err
	}
	there, err := s.records(ctx, region)
	if err != nil {
		return pick{}, err
	}
	x, err := s.newest(list, known, region, "", there, damaged)
	x.ofAll = true
	return x, err
}

// records are the ids of the backups that a region's Cinder has and could restore.
func (s *Shipper) records(ctx context.Context, region string) (map[string]bool, error) {
	r, err := s.cinder(region)
	if err != nil {
		return nil, err
	}
	list, err := r.Blocks.Backups(ctx)
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, b := range list {
		if restorable(b.Status) {
			there[b.ID] = true
		}
	}
	return there, nil
}

// ofVolume reports whether a point is of the volume of an id or a name.
func ofVolume(p store.Point, name string) bool {
	return name != "" && (p.Volume.ID == name || p.Volume.Name == name)
}

// newest chooses among a volume's points in a region, the oldest first, the newest that
// the region can restore by what is known of them and by the records that are there (the
// ledger's word may be old); if there is none, the newest, so that the check says why. With
// a policy, only its own points are newer than others. damaged is findPoint's.
func (s *Shipper) newest(list []store.Point, known, region, policy string, there map[string]bool, damaged map[string]string) (pick, error) {
	all := list
	if known == knownLedger { // it may know of points that have not got there
		var err error
		if all, err = s.o.Ledger.Points(list[0].Volume.ID); err != nil {
			return pick{}, fmt.Errorf("read points: %w", err)
		}
	}
	out := pick{point: list[len(list)-1], known: known}
	held := landedAt(all, region, true)
	for _, p := range all {
		if c, _ := at(p, region); !there[c.Backup] || damaged[c.Backup] != "" || c.Parent != "" && !there[c.Parent] {
			delete(held, c.Backup)
		}
	}
	for _, p := range slices.Backward(list) {
		if c, _ := at(p, region); chainLength(held, c.Backup) > 0 {
			out.point = p
			break
		}
	}
	if policy != "" {
		all = slices.DeleteFunc(slices.Clone(all), func(p store.Point) bool { return p.Policy != policy })
	}
	why := func(p store.Point) (why, again string) {
		switch c, ok := at(p, region); {
		case !ok || c.State != store.CopyLanded:
			return whyNot(p, region), ""
		case !there[c.Backup]:
			return "the region's Cinder no longer has its record, or it is in error there", "imports"
		case len(damaged) > 0: // it, or what it is an increment upon
			return cmp.Or(damaged[c.Backup], whyNot(p, region)), "sends"
		}
		return whyNot(p, region), ""
	}
	if n := len(all); n > 0 && all[n-1].ID != out.point.ID {
		out.newer = all[n-1]
		out.why, out.again = why(out.newer)
	}
	for _, p := range slices.Backward(all) {
		c, _ := at(p, region)
		if c.State != store.CopyLanded && c.State != store.CopyLost && (c.State != store.CopyShipped || c.Landed == 0) {
			continue
		}
		if p.ID != out.point.ID {
			out.lost = p
			out.whyLost, _ = why(p)
		}
		break
	}
	return out, nil
}

// landedAt gives what a region can restore of points, by the backup's id there, without
// regard to chains. The points must be all of their volumes, unless trusting is given:
// a parent that none of them is counts as being there.
func landedAt(points []store.Point, region string, trusting bool) map[string]store.PointCopy {
	held, known := map[string]store.PointCopy{}, map[string]bool{}
	for _, p := range points {
		c, ok := at(p, region)
		if ok {
			known[c.Backup] = true
		}
		if ok && c.State == store.CopyLanded {
			held[c.Backup] = c
		}
	}
	for id, c := range held {
		if trusting && c.Parent != "" && !known[c.Parent] {
			c.Parent = ""
			held[id] = c
		}
	}
	return held
}

// whyNot says in a few words why a region cannot restore a point now.
func whyNot(p store.Point, region string) string {
	c, ok := at(p, region)
	note := func(text string) string {
		if c.Note != "" {
			text += " (" + c.Note + ")"
		}
		return text
	}
	switch {
	case p.Made == 0:
		return "its backup is not complete yet"
	case p.Region == region && !ok:
		return "the region no longer has its backup"
	case !ok || c.State == store.CopyShipping:
		return "it has not been shipped there yet"
	case c.State == store.CopyShipped:
		return note("its record is not imported there")
	case c.State == store.CopyLost:
		return note("its copy there is lost")
	case c.State == store.CopyExpired:
		return "retention has removed it there"
	}
	return "a backup that it is an increment upon is lost there"
}

// older makes a finding of a point that is taken although it is not the volume's newest.
func (x pick) older(region string) report.Finding {
	hint := "farshore points " + before(x.newer.Policy) + "--volume " + x.newer.Volume.ID + " shows where the newest stands"
	c, _ := at(x.newer, region)
	if x.again != "" && region != x.newer.Region {
		hint = "farshore audit " + before(x.newer.Policy) + "--repair " + x.again + " it again"
	}
	switch c.State {
	case store.CopyShipped:
		hint = "farshore points land " + x.newer.ID + " --to " + region + " imports it"
	case store.CopyLost:
		hint = "farshore audit " + before(x.newer.Policy) + "--repair sends it again"
	case store.CopyShipping, store.CopyLanded, store.CopyExpired:
	}
	return report.Finding{Kind: report.KindOlderPoint, Level: report.Warn, Policy: x.newer.Policy, Region: region, Name: x.newer.ID, Op: "choose the newest point of volume " + volumeOf(x.newer),
		Cause: fmt.Sprintf("point %s of %s is taken, for the newest, of %s, cannot be restored there: %s", x.point.ID, when(x.point.Taken).Format(time.RFC3339), when(x.newer.Taken).Format(time.RFC3339), x.why), Hint: hint}
}

// lostThere makes a finding of the newest point that the region had and cannot restore any
// more: what is taken instead of it is not what a disaster was to find there.
func (x pick) lostThere(region string) report.Finding {
	hint := "farshore audit " + before(x.lost.Policy) + "--repair sends or imports it again"
	if c, _ := at(x.lost, region); c.State == store.CopyShipped {
		hint = "farshore points land " + x.lost.ID + " --to " + region + " imports it"
	}
	return report.Finding{Kind: report.KindPointLost, Level: report.Error, Policy: x.lost.Policy, Region: region, Name: x.lost.ID, Op: "choose the newest point of volume " + volumeOf(x.lost),
		Cause: fmt.Sprintf("the newest point that the region had, of %s, cannot be restored there any more: %s; point %s of %s is taken instead", when(x.lost.Taken).Format(time.RFC3339), x.whyLost, x.point.ID, when(x.point.Taken).Format(time.RFC3339)), Hint: hint}
}

// notThere says why nothing that is named was found in a region, and what there is.
func (s *Shipper) notThere(ctx context.Context, region string, named func(store.Point) bool) (cause, hint string, err error) {
	all, err := s.o.Ledger.Points("")
	if err != nil {
		return "", "", fmt.Errorf("read points: %w", err)
	}
	elsewhere := map[string]bool{}
	for _, p := range all {
		if !named(p) {
			continue
		}
		for _, r := range append([]string{p.Region}, regionsOf(p)...) {
			if c, ok := at(p, r); ok && c.State == store.CopyLanded {
				elsewhere[r] = true
			}
		}
	}
	if len(elsewhere) > 0 {
		return "the region has no copy of it", "it can be restored in: " + strings.Join(sortedKeys(elsewhere), ", "), nil
	}
	list, _, err := s.pointsAt(ctx, region, func(store.Point) bool { return true })
	if err != nil {
		return "", "", err
	}
	volumes := map[string]bool{}
	for _, p := range list {
		volumes[volumeOf(p)] = true
	}
	cause = "nothing there has that id or is of a volume of that id or name"
	if len(volumes) == 0 {
		return cause, "the region holds no point at all: farshore points says where there are any", nil
	}
	return cause, "it has points of: " + few(sortedKeys(volumes)) + "; farshore points lists them", nil
}

// regionsOf are the regions that have, or had, a copy of a point.
func regionsOf(p store.Point) (out []string) {
	for _, c := range p.Copies {
		out = append(out, c.Region)
	}
	return out
}

// few is a list for a message, cut where it gets long.
func few(list []string) string {
	const most = 10
	if n := len(list) - most; n > 0 {
		return strings.Join(list[:most], ", ") + fmt.Sprintf(" and %d more", n)
	}
	return strings.Join(list, ", ")
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
