package volumes

import (
	"context"
	"fmt"
	"time"

	"farshore/replicator/report"
	"farshore/transport"
)

// planned says what a pass would do about a volume's snapshots: those that are due, and
// the one that it would take.
func (r *run) planned(ctx context.Context, v transport.Volume, due []transport.Snapshot, take bool) error {
	if take {
		due = append(due, transport.Snapshot{Volume: v.ID, Size: v.Size, Created: r.s.o.Clock.Now()})
	}
	if len(due) == 0 {
		return nil
	}
	backups, err := r.from.Blocks.Backups(ctx)
	if err != nil {
		return err
	}
	points, err := r.pointsOf(v.ID)
	if err != nil {
		return err
	}
	for i, snap := range due {
		// What is planned adds up, so that each has a claim of its own.
		if err := r.preflight(ctx, fmt.Sprintf("%s %d", v.ID, i), v, snap.Size, take && i == len(due)-1); err != nil {
			return err
		}
		x := report.PointResult{Volume: v.ID, VolumeName: v.Name, Size: snap.Size, Snapshot: snap.ID, Taken: snap.Created.UTC().Truncate(time.Second)}
		if c := choose(r.p, snap, backups, points); i == 0 || c.parent == nil && points != nil {
			x.Why, x.Chain = c.why, c.chain
			if c.parent != nil {
				x.Incremental, x.Parent = true, c.parent.ID
			}
		} else { // upon the one planned before it
			last := r.lastPlanned(v.ID)
			x.Incremental, x.Chain = true, last.Chain+1
		}
		for _, to := range r.p.To {
			if r.usable(to) {
				x.Regions = append(x.Regions, report.PointRegion{Region: to, State: "wanted"})
			}
		}
		r.addPoint(x)
	}
	return nil
}

// lastPlanned is the point of a volume that was planned last.
func (r *run) lastPlanned(volume string) (last report.PointResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.points {
		if x.Volume == volume {
			last = x
		}
	}
	return last
}
