package year

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"farshore/policies"
	"farshore/store"
)

// heldPoint is a restore point that a region has had.
type heldPoint struct {
	id    string // of the point
	taken time.Time
}

// side is what a policy about volumes keeps in one region.
type side struct {
	region string
	source bool
	keep   *policies.Keep
}

func sidesOf(p policies.Policy) []side {
	sides := []side{{p.From, true, p.KeepSource}}
	for _, to := range p.To {
		sides = append(sides, side{to, false, p.Keep})
	}
	return sides
}

// has gives the backup of a point that the ledger has at a side, and its parent's.
func (s side) has(pt store.Point) (backup, parent string, ok bool) {
	if s.source {
		return pt.ID, pt.Parent, pt.Gone == 0 && pt.Made != 0
	}
	c, ok := pt.Copy(s.region)
	return c.Backup, c.Parent, ok && c.State == store.CopyLanded
}

// chosen is a rule of docs/policy.md told another way than policies.Keep has it: a point
// stays when it is the newest of its period, and fewer than n periods after that have one.
func chosen(k *policies.Keep, points []heldPoint, zone *time.Location) map[string]bool {
	out := map[string]bool{}
	if k == nil {
		for _, p := range points {
			out[p.id] = true
		}
		return out
	}
	rule := func(n int, period func(time.Time) string) {
		for _, p := range points {
			later, newest := map[string]bool{}, true
			for _, q := range points {
				if !q.taken.After(p.taken) {
					continue
				}
				newest = newest && period(q.taken.In(zone)) != period(p.taken.In(zone))
				later[period(q.taken.In(zone))] = true
			}
			if newest && len(later) < n {
				out[p.id] = true
			}
		}
	}
	rule(k.Last, func(t time.Time) string { return fmt.Sprint(t.UnixMicro()) })
	rule(k.Daily, func(t time.Time) string { return fmt.Sprint(t.Year(), t.YearDay()) })
	rule(k.Weekly, func(t time.Time) string { // weeks have their Monday
		return t.AddDate(0, 0, -(int(t.Weekday())+6)%7).Format(time.DateOnly)
	})
	rule(k.Monthly, func(t time.Time) string { return fmt.Sprint(t.Year(), t.Month()) })
	return out
}

// kept asserts that of all points that a side has ever had it still has those that the
// policy keeps. One that stays among all that ever were also stays among those that are
// left, and one that may go may go for ever, so that no order of passes excuses a loss.
func (j *judge) kept(p policies.Policy, points []store.Point) {
	for _, s := range sidesOf(p) {
		key := p.Name + " in " + s.region
		there := map[string]bool{}
		for _, pt := range points {
			if _, _, ok := s.has(pt); !ok || pt.Policy != p.Name {
				continue
			}
			there[pt.ID] = true
			if !slices.ContainsFunc(j.had[key], func(h heldPoint) bool { return h.id == pt.ID }) {
				j.had[key] = append(j.had[key], heldPoint{pt.ID, time.UnixMicro(pt.Taken).UTC()})
			}
		}
		stays := chosen(s.keep, j.had[key], cmp.Or(p.Timezone, time.UTC))
		for _, h := range j.had[key] {
			if stays[h.id] && !there[h.id] {
				j.w.t.Errorf("%s: the point of %v is gone, which its policy keeps", key, h.taken)
			}
		}
		j.count["points that must stay"] += len(stays)
		// What may go is of no use to the rules any more.
		j.had[key] = slices.DeleteFunc(j.had[key], func(h heldPoint) bool { return !stays[h.id] })
	}
}

// trimmed asserts that a pass that had its chance left nothing that the policy does not
// keep, that nothing kept stands upon, and that has landed where it should.
func (j *judge) trimmed(p policies.Policy) {
	points, err := j.w.ledger.Points("")
	if err != nil {
		j.w.t.Fatal(err)
	}
	points = slices.DeleteFunc(points, func(pt store.Point) bool { return pt.Policy != p.Name })
	for _, s := range sidesOf(p) {
		var has []heldPoint
		parents := map[string]string{} // of a backup
		for _, pt := range points {
			if backup, parent, ok := s.has(pt); ok {
				has = append(has, heldPoint{pt.ID, time.UnixMicro(pt.Taken).UTC()})
				parents[backup] = parent
			}
		}
		stays := chosen(s.keep, has, cmp.Or(p.Timezone, time.UTC))
		needed := map[string]bool{}
		for _, pt := range points {
			backup, _, ok := s.has(pt)
			if !ok || !stays[pt.ID] && !(s.source && j.wanted(p, pt)) {
				continue
			}
			for b := backup; b != "" && !needed[b]; b = parents[b] {
				needed[b] = true
			}
		}
		for backup := range parents {
			j.count["points looked at"]++
			if !needed[backup] {
				j.w.t.Errorf("%s: %s still has the backup %s, which no rule keeps and nothing stands upon", p.Name, s.region, backup)
			}
		}
	}
}

// landed says whether any restore point of a policy can be restored at a destination.
func (j *judge) landed(p policies.Policy) bool {
	points, err := j.w.ledger.Points("")
	if err != nil {
		j.w.t.Fatal(err)
	}
	return slices.ContainsFunc(points, func(pt store.Point) bool {
		return pt.Policy == p.Name && slices.ContainsFunc(pt.Copies, func(c store.PointCopy) bool { return c.State == store.CopyLanded })
	})
}

// wanted says whether the source's point has not landed at as many destinations as it should.
func (j *judge) wanted(p policies.Policy, pt store.Point) bool {
	n := 0
	for _, c := range pt.Copies {
		if c.State == store.CopyLanded || c.State == store.CopyExpired {
			n++
		}
	}
	return n < p.Replicas
}
