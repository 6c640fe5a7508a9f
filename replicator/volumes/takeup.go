package volumes

import (
	"context"
	"fmt"
	"slices"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/store"
)

// takeUp makes points of what a policy's destinations hold of it and the ledger does not
// know, as RebuildPoints does; with each ledger a destination is looked at once. When an
// earlier ledger was lost, retention would else never see what only the destinations have.
// Points of volumes that the policy does not select are left alone: another policy of the
// same name, with a ledger of its own, may have made them.
//
// A destination that does not answer is asked the next time; whoever calls finds that it is down.
func (s *Shipper) takeUp(ctx context.Context, p policies.Policy, f *report.Findings) error {
	var asked []string
	a := &pointAudit{s: s, p: p, f: f, whole: map[string]map[string]bool{}}
	for _, to := range p.To {
		if _, known, err := s.o.Ledger.Note(takenUpKey(p, to)); err != nil {
			return fmt.Errorf("read whether the points of region %s were taken up: %w", to, err)
		} else if known {
			continue
		}
		var totals report.Totals
		b := &rebuilding{pointAudit: a, op: "take up points", selected: true, totals: &totals}
		err := b.region(ctx, to)
		switch {
		case err != nil && ctx.Err() == nil && regional(err):
			s.o.Log.Warn("a destination was not asked for points that the ledger does not know", "region", to, "err", err)
			continue
		case err != nil:
			return err
		}
		asked = append(asked, to)
		if n := totals.Adopted; n > 0 {
			f.Add(report.Finding{Kind: report.KindUnknown, Level: report.Info, Policy: p.Name, Region: to, Op: b.op,
				Cause: fmt.Sprintf("copies of %s that the ledger did not know: they are in it now", report.Count(n, "point")), Hint: "keep applies to them as to all others; farshore points " + before(p.Name) + "lists them"})
		}
	}
	if len(asked) == 0 { // as in every pass but the first
		return nil
	}
	points, err := a.mine()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(points, func(x store.Point) bool { return x.Unseen }) {
		b := &rebuilding{pointAudit: a, op: "take up points", totals: &report.Totals{}}
		if err := b.source(ctx); err != nil {
			return err
		}
	}
	for _, to := range asked { // not before all is recorded: a run that is killed asks again
		if err := s.noteTakenUp(p, to); err != nil {
			return err
		}
	}
	return nil
}

// takenUpKey is where it is noted that a ledger has all points that a destination held when
// it first asked.
func takenUpKey(p policies.Policy, to string) string {
	return "taken-up/" + p.From + "/" + to + "/" + p.Name
}

func (s *Shipper) noteTakenUp(p policies.Policy, to string) error {
	if err := s.o.Ledger.PutNote(takenUpKey(p, to), []byte{1}); err != nil {
		return fmt.Errorf("record that the points of region %s were taken up: %w", to, err)
	}
	return nil
}
