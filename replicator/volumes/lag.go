package volumes

import (
	"time"

	"farshore/replicator/lag"
	"farshore/store"
)

// To lag a volume is a place and a restore point an item in it, which waits for each
// destination from the time that it shows until its record is landed there. What was
// written since the newest point that landed is not protected, whatever waits: that
// point's time is as of when the volume is known.

// tellVolumes says which volumes the policy has, as a listing showed that began then.
func (r *run) tellVolumes(at time.Time, ids []string) {
	if !r.o.DryRun {
		r.s.o.Lag.Places(r.p.Name, at, ids)
	}
}

// tellPoints says how a volume's points stand.
func (r *run) tellPoints(volume string) error {
	if r.s.o.Lag == nil || r.o.DryRun {
		return nil
	}
	look := r.s.o.Lag.Look(r.p.Name, volume)
	points, err := r.mine(volume)
	if err != nil {
		return err
	}
	for _, to := range r.p.To {
		newest := int64(0)
		for _, pt := range points {
			if c, _ := pt.Copy(to); c.State == store.CopyLanded {
				newest = max(newest, pt.Taken)
			}
		}
		asOf := time.Time{}
		if newest != 0 {
			asOf = time.UnixMicro(newest)
		}
		look.AsOf(to, asOf)
		for _, pt := range points {
			c, ok := pt.Copy(to)
			switch {
			case pt.Taken == 0 || pt.Taken <= newest: // a newer one has landed: nothing is lost without it
			case c.State == store.CopyShipped, pt.Gone == 0 && (!ok || c.State == store.CopyShipping):
				look.Waits(to, pt.ID, time.UnixMicro(pt.Taken), asOf, pt.Bytes)
			case c.State == store.CopyLost || pt.Gone != 0 && (!ok || c.State == store.CopyShipping):
				look.Stuck(to)
			}
		}
	}
	look.End()
	return nil
}

// tellLanded says that a point has landed.
func (t *trip) tellLanded(region string) error {
	t.s.o.Lag.Confirmed(lag.Item{Policy: t.p.Name, Region: region, Place: t.pt.Volume.ID, Name: t.pt.ID}, time.UnixMicro(t.pt.Taken), t.pt.Bytes, true)
	return t.tellPoints(t.pt.Volume.ID)
}
