package volumes

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/store"
)

// census counts a policy's points, in the same way and with the same words whoever asks:
// a pass by what the ledger says, an audit by what it saw.
type census struct {
	p      policies.Policy
	mine   []store.Point
	byID   map[string]*store.Point
	held   map[string]map[string]store.PointCopy // what each region has landed, by region and backup
	points int64                                 // of the policy
	alone  int64                                 // of these: retention removed every copy, and left them at the source
}

// newCensus counts the policy's points; all are those of all policies, which may be
// among their parents.
func newCensus(p policies.Policy, mine, all []store.Point) *census {
	c := &census{p: p, mine: mine, byID: byID(all), held: map[string]map[string]store.PointCopy{}, points: int64(len(mine))}
	for _, x := range all {
		for _, region := range append(regionsOf(x), x.Region) {
			if c.held[region] == nil {
				c.held[region] = landedAt(all, region, false)
			}
		}
	}
	for _, x := range mine {
		if x.Made != 0 && c.letGo(x) {
			c.alone++
		}
	}
	return c
}

// whole reports whether a copy and all that it is an increment upon are landed.
func (c *census) whole(_ store.Point, at store.PointCopy) bool {
	return at.State == store.CopyLanded && chainLength(c.held[at.Region], at.Backup) > 0
}

// letGo reports whether retention removed a point, and no destination can restore it any more.
func (c *census) letGo(x store.Point) bool {
	n, expired := c.standing(x, c.whole)
	return n == 0 && expired > 0
}

// standing counts the destinations where a copy counts, and those where retention removed it.
func (c *census) standing(x store.Point, holds func(store.Point, store.PointCopy) bool) (n, expired int) {
	for _, to := range c.p.To {
		at, _ := x.Copy(to)
		switch {
		case at.State == store.CopyExpired:
			expired++
		case holds(x, at):
			n++
		}
	}
	return n, expired
}

// replicas counts the points by the regions that hold them; holds says of a point
// whether a copy counts. One that retention removed in a region counts as if it was
// there, unless it is nowhere any more: then it is not counted.
func (c *census) replicas(holds func(store.Point, store.PointCopy) bool) report.Replicas {
	counts := policies.ReplicaCounts{ByRegions: map[int]int64{}}
	for _, x := range c.mine {
		n, expired := c.standing(x, holds)
		if x.Made == 0 || n == 0 && expired > 0 {
			continue
		}
		counts.Objects++
		counts.ByRegions[n+expired]++
	}
	v := policies.Judge(c.p, counts)
	return report.Replicas{Wanted: v.Needed, Objects: counts.Objects, ByCount: counts.ByRegions, Short: v.Short, Satisfied: v.Satisfied}
}

// judge makes the findings of points that are lost for good, and of too few replicas of
// others. repaired says that a repair has just looked for them.
func (c *census) judge(f *report.Findings, r report.Replicas, repaired bool) {
	dead := c.dead()
	for _, x := range c.mine {
		if !dead[x.ID] || dead[x.Parent] {
			continue
		}
		also := ""
		if n := c.upon(x, func(y store.Point) bool { return dead[y.ID] }); n > 0 {
			also = fmt.Sprintf("; with it %s upon it %s lost", report.Count(n, "increment"), report.Are(n))
		}
		hint := "farshore audit " + before(c.p.Name) + "--repair looks for it once more; if it is gone for good: farshore points forget " + x.ID
		if repaired {
			hint = "the repair found it nowhere. When a region that holds it answers again, repair again; if it is gone for good: farshore points forget " + x.ID
		}
		f.Add(report.Finding{Kind: report.KindPointLost, Level: report.Error, Policy: c.p.Name, Region: x.Region, Name: x.ID, Op: "count replicas",
			Cause: fmt.Sprintf("point %s of volume %s, of %s, can be restored nowhere: %s%s", x.ID, volumeOf(x), when(x.Taken).Format(time.RFC3339), strings.Join(lossOf(x), "; "), also),
			Hint:  hint})
	}
	if lost := int64(len(dead)); !r.Satisfied && r.Short != lost {
		cause := fmt.Sprintf("%d of %s can be restored in fewer than %s beside the source", r.Short, report.Count(r.Objects, "point"), report.Count(r.Wanted, "region"))
		f.Add(report.Finding{Kind: report.KindTooFew, Level: report.Error, Policy: c.p.Name, Op: "count replicas", Cause: cause,
			Hint: "the other findings say why, warnings only without --quiet; farshore points " + before(c.p.Name) + "shows which"})
	}
}

// dead are the points that no region can restore, nor will be able to by what is still
// known to be there.
func (c *census) dead() map[string]bool {
	out := map[string]bool{}
	for _, x := range c.mine {
		if x.Made != 0 && !c.letGo(x) && c.isDead(x) {
			out[x.ID] = true
		}
	}
	return out
}

func (c *census) isDead(x store.Point) bool {
	if x.Gone == 0 || chainLength(c.held[x.Region], x.ID) > 0 {
		return false
	}
	return !slices.ContainsFunc(x.Copies, func(at store.PointCopy) bool { return at.State == store.CopyShipped || c.whole(x, at) })
}

// lossOf says of a point that can be restored nowhere what became of it where it was.
func lossOf(x store.Point) []string {
	out := []string{x.Region + ": it no longer has the backup"}
	for _, at := range x.Copies {
		if at.State != store.CopyExpired {
			out = append(out, at.Region+": "+whyNot(x, at.Region))
		}
	}
	return out
}

// upon counts the policy's points that are increments upon one, at any remove, and that
// want chooses.
func (c *census) upon(x store.Point, want func(store.Point) bool) (n int) {
	for _, y := range c.mine {
		if y.ID != x.ID && want(y) && slices.Contains(c.parents(y), x.ID) {
			n++
		}
	}
	return n
}

// parents are what a point is an increment upon at its source, the nearest first.
func (c *census) parents(x store.Point) (out []string) {
	for x.Parent != "" && len(out) <= len(c.byID) {
		out = append(out, x.Parent)
		p := c.byID[x.Parent]
		if p == nil {
			break
		}
		x = *p
	}
	return out
}

// lostCopies makes a finding of each copy that an audit found lost and that can be sent
// again, once for it and all that is an increment upon it there.
func (c *census) lostCopies(f *report.Findings) {
	dead := c.dead()
	for _, to := range c.p.To {
		for _, x := range c.mine {
			at, ok := x.Copy(to)
			if !ok || at.State != store.CopyLost || dead[x.ID] {
				continue
			}
			also := ""
			n := c.upon(x, func(y store.Point) bool {
				their, ok := y.Copy(to)
				return ok && their.State == store.CopyLanded && chainLength(c.held[to], their.Backup) == 0
			})
			if n > 0 {
				also = fmt.Sprintf("; %s upon it cannot be restored there either", report.Count(n, "increment"))
			}
			f.Add(report.Finding{Kind: report.KindPointLost, Level: report.Warn, Policy: c.p.Name, Region: to, Name: x.ID, Op: "count replicas",
				Cause: fmt.Sprintf("point %s of volume %s, of %s: %s%s", x.ID, volumeOf(x), when(x.Taken).Format(time.RFC3339), whyNot(x, to), also),
				Hint:  "farshore audit " + before(c.p.Name) + "--repair sends it again"})
		}
	}
}
