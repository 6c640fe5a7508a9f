package volumes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// close lets go of what a migration that is done no longer needs, provided that the new
// volume is proven: its points, and with Retire the source.
func (m *migration) close(ctx context.Context) error {
	out := &m.st.Report
	if err := m.tidy(ctx); err != nil {
		return err
	}
	proven := out.Restore.Proof != nil && out.Restore.Proof.OK
	if !proven {
		if m.r.Retire {
			return &transport.Error{Op: "retire volume " + m.r.Volume, Region: m.r.From, Class: transport.Permanent, Err: errors.New("the new volume was never proven equal to it"),
				Hint: "it was migrated with --proof none: compare them yourself, and remove it with: openstack volume delete " + m.r.Volume}
		}
		return nil
	}
	if !m.r.KeepPoints {
		if err := m.dropPoints(ctx); err != nil {
			return err
		}
	}
	if m.r.Retire && !out.Retired {
		if out.Name != "" { // which finds it when the source is gone
			if err := m.s.o.Ledger.PutNote(m.nameKey(out.Name), []byte(m.r.Volume)); err != nil {
				return fmt.Errorf("record the migration: %w", err)
			}
		}
		if err := m.retire(ctx); err != nil {
			return err
		}
		out.Retired, out.State = true, migrateRetired
	}
	return m.save()
}

// tidy ends what an earlier run was at when it was killed: clearing away what the proof
// needed, and removing points.
func (m *migration) tidy(ctx context.Context) error {
	list, err := m.s.works(workRestore, workExpire)
	if err != nil {
		return err
	}
	for _, w := range list {
		if w.Policy != m.p.Name || !m.s.left(w) {
			continue
		}
		if w.Kind == workRestore { // the volume has its own name by now
			if err := m.s.clear(ctx, w.Region, w.ID); err != nil {
				return err
			}
			if err := m.s.done(ctx, w.ID); err != nil {
				return err
			}
			continue
		}
		if _, err := m.s.goOn(ctx, m.f, w); err != nil {
			return err
		}
	}
	return nil
}

// dropPoints removes the migration's own points at both sides, the newest first: an
// increment goes before its parent. One that others' backups are increments upon stays.
func (m *migration) dropPoints(ctx context.Context) error {
	policy := m.p.Name
	points, err := m.points()
	if err != nil {
		return err
	}
	for _, p := range slices.Backward(points) {
		if c, ok := p.Copy(m.r.To); ok && c.State != store.CopyExpired {
			if err := m.drop(ctx, policy, p, m.r.To, expiry{Volume: p.Volume.ID, Backup: c.Backup, Container: c.Container, Prefix: c.Prefix}); err != nil {
				return err
			}
		}
		if p.Gone == 0 {
			if err := m.drop(ctx, policy, p, m.r.From, expiry{Volume: p.Volume.ID, Backup: p.ID, Container: p.Container, Prefix: p.Prefix, Source: true}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *migration) drop(ctx context.Context, policy string, p store.Point, region string, e expiry) error {
	_, err := m.s.expire(ctx, m.f, policy, p.ID, region, e)
	if err == nil || ctx.Err() != nil {
		return err
	}
	m.f.Add(report.Finding{Kind: report.KindLeftBehind, Level: report.Warn, Policy: policy, Region: region, Name: e.Backup, Op: "remove a pass's backup", Cause: err.Error(), Hint: cmp.Or(hintOf(err), "the same command tries again")})
	return nil
}

// used says why the source may hold what the final pass did not carry; empty: it does not.
func (m *migration) used(v transport.Volume) string {
	switch was := m.st.Source; {
	case !was.Seen:
		return "it is not known whether anybody wrote to it since the final pass"
	case was.Attached && !m.r.Cutover:
		return "it was attached when the final pass was made, and nothing tells whether anybody wrote to it before it was detached"
	case !was.Attached && !v.Updated.Equal(was.Updated):
		return fmt.Sprintf("it was changed at %s, after the final pass: it may have been attached and written to", v.Updated.UTC().Format(time.RFC3339))
	}
	return ""
}

// anew says how to move again a source that was written to after its migration was done.
func (m *migration) anew() string {
	return fmt.Sprintf("remove the new volume (openstack volume delete %s in region %s) and run the same command again: it moves the volume anew", m.st.Report.Restore.Volume, m.r.To)
}

// sourceSince looks whether the source of a migration that is done was used since.
func (m *migration) sourceSince(ctx context.Context) error {
	out := &m.st.Report
	out.SourceUsed = ""
	v, err := m.src.Blocks.Volume(ctx, m.r.Volume)
	if transport.Is(err, transport.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if was := m.st.Source; was.Seen && was.Attached && v.Updated.Equal(was.Updated) { // as it was vouched for
		return nil
	}
	if out.SourceUsed = m.used(v); out.SourceUsed != "" && !m.r.Retire { // of which it is the error
		m.f.Add(report.Finding{Kind: report.KindSourceUsed, Level: report.Warn, Region: m.r.From, Name: m.r.Volume, Op: "look at the source volume", Cause: out.SourceUsed,
			Hint: fmt.Sprintf("what was written to it since is not in volume %s in region %s. If that matters, and the new volume does not hold what matters more, %s", out.Restore.Volume, m.r.To, m.anew())})
	}
	return nil
}

// retire removes the source volume. It must be detached, must not have been used since
// the final pass, and must have no snapshots: whoever took them wants them.
func (m *migration) retire(ctx context.Context) error {
	fail := func(hint, format string, args ...any) error {
		return &transport.Error{Op: "retire volume " + m.r.Volume, Region: m.r.From, Class: transport.Changed, Err: fmt.Errorf(format, args...), Hint: hint}
	}
	v, err := m.src.Blocks.Volume(ctx, m.r.Volume)
	if transport.Is(err, transport.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if v.Status == "deleting" { // an earlier run, which was killed, has asked for it
		return m.s.removeVolume(ctx, m.src.Blocks, m.r.From, m.r.Volume)
	}
	if v.Attachments > 0 || v.Status != statusAvailable {
		return fail("detach it and run the same command again", "it is %s", v.Status)
	}
	if cause := m.used(v); cause != "" {
		kept := fmt.Sprintf("nothing was removed. If what was written matters, %s; if it does not: openstack volume delete %s in region %s", m.anew(), m.r.Volume, m.r.From)
		if m.st.Source.Seen && m.st.Source.Attached {
			kept = "if nobody did, say so with --cutover; else " + kept
		}
		return fail(kept, "%s", cause)
	}
	list, err := m.src.Blocks.Snapshots(ctx, m.r.Volume)
	if err != nil {
		return err
	}
	if len(list) > 0 {
		return fail("remove what is not wanted (openstack volume snapshot delete "+list[0].ID+") and run the same command again", "it has %s that the migration did not take", report.Count(len(list), "snapshot"))
	}
	return m.s.removeVolume(ctx, m.src.Blocks, m.r.From, m.r.Volume)
}
