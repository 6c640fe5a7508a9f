package volumes

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"farshore/policies"
	"farshore/replicator"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// MigrateRequest says which volume is to move where. The volume and the two regions
// name the migration: the same again goes on with it.
type MigrateRequest struct {
	Volume, From, To string
	Name, Type, Zone string // of the new volume, as in RestoreRequest
	Passes           int    // at most so many before the final one; at least 1
	Delta            int64  // a pass that carried no more bytes than this is the last before the final one
	Cutover          bool   // make the final pass although the volume is in use: nobody writes to it any more
	Retire           bool   // remove the source volume once the proof agrees
	KeepPoints       bool   // leave the migration's points at both sides after the proof
	Proof            ProofMode
	NoWait           bool          // end with the state waiting rather than wait until the volume is detached
	Wait             time.Duration // as in RestoreRequest
	Anyway           bool          // as in RestoreRequest
}

// The states of a migration (report.Migration.State).
const (
	migratePasses    = "passes"
	migrateWaiting   = "waiting" // for the volume to be detached, or for --cutover
	migrateRestoring = "restoring"
	migrateDone      = "done"
	migrateRetired   = "retired"
)

// migrationState is what the ledger keeps of a migration, beside its points.
type migrationState struct {
	Report     report.Migration
	Final      string    // the final pass's point
	FinalBegan time.Time // when nobody wrote any more
}

// migration is one under way.
type migration struct {
	s   *Shipper
	r   MigrateRequest
	p   policies.Policy
	f   *report.Findings
	src Region
	st  migrationState
}

// Migrate moves a volume to another region: passes while it is in use, each a snapshot
// shipped as an increment, until little is left; then a final one when nobody writes to
// it, and a restore, which is proven. The source is only touched with Retire, and only
// after the proof. What was done stands in the ledger, so that the same request goes
// on after any interruption, and says so when there is nothing left to do.
func (s *Shipper) Migrate(ctx context.Context, r MigrateRequest) (report.Migration, error) {
	m := &migration{s: s, r: r, f: report.NewFindings(nil, s.o.OnFinding)}
	began := s.o.Clock.Now()
	err := m.run(ctx, began)
	out := m.st.Report
	out.Seconds = s.o.Clock.Now().Sub(began).Seconds()
	out.Findings, out.Errors = m.f.List(), m.f.Errors()
	return out, err
}

func (m *migration) run(ctx context.Context, began time.Time) (err error) {
	if m.r.From == m.r.To {
		return &replicator.UsageError{Msg: "source and destination are the same region: " + m.r.From, Hint: "choose another with --to"}
	}
	if m.r.Retire && m.r.Proof != ProofBlocks {
		return &replicator.UsageError{Msg: "the source is retired only after a proof", Hint: "leave --proof none out"}
	}
	if err := m.load(); err != nil {
		return err
	}
	if m.src, err = m.s.cinder(m.r.From); err != nil {
		return err
	}
	if _, err := m.s.cinder(m.r.To); err != nil {
		return err
	}
	if m.ended() {
		again, err := m.again(ctx)
		if err != nil || !again {
			return err
		}
	}
	out := &m.st.Report
	if out.Began.IsZero() {
		out.Began = began.UTC()
	}
	m.p = migrationPolicy(m.r)
	if m.st.Final == "" {
		if err := m.passes(ctx); err != nil || out.State == migrateWaiting {
			return err
		}
	}
	if err := m.restore(ctx); err != nil {
		return err
	}
	return m.close(ctx)
}

// migrationPolicy is the policy that a migration's passes are made by. It takes no
// snapshots by itself, and none but its own travel.
func migrationPolicy(r MigrateRequest) policies.Policy {
	p := policies.NewPolicy("migrate "+r.Volume+" to "+r.To, r.From, r.To)
	p.Every, p.Audit, p.Stamp = 0, policies.Audit{}, true
	p.Volumes = &policies.Volumes{IDs: []string{r.Volume}}
	const never = 100 * 365 * 24 * time.Hour
	p.Snapshot = &policies.Snapshot{Every: never}
	return p
}

func (m *migration) key() string {
	return "migration/" + m.r.From + "/" + m.r.Volume + "/" + m.r.To
}

func (m *migration) load() error {
	text, ok, err := m.s.o.Ledger.Note(m.key())
	if err != nil {
		return fmt.Errorf("read the migration: %w", err)
	}
	if ok {
		if err := json.Unmarshal(text, &m.st); err != nil {
			return fmt.Errorf("read the migration: %w", err)
		}
	}
	out := &m.st.Report
	out.Volume, out.From, out.To = m.r.Volume, m.r.From, m.r.To
	return nil
}

func (m *migration) save() error {
	text, err := json.Marshal(m.st)
	if err == nil {
		err = m.s.o.Ledger.PutNote(m.key(), text)
	}
	if err != nil {
		return fmt.Errorf("record the migration: %w", err)
	}
	return nil
}

func (m *migration) ended() bool {
	return m.st.Report.State == migrateDone || m.st.Report.State == migrateRetired
}

// again looks at a migration that was done before: it retires the source if that is
// asked for now, and begins a new one if what was made is no longer there.
func (m *migration) again(ctx context.Context) (bool, error) {
	out := &m.st.Report
	_, err := m.s.o.Regions[m.r.To].Blocks.Volume(ctx, out.Restore.Volume)
	switch {
	case err == nil:
		out.Already = true
		return false, m.close(ctx)
	case !transport.Is(err, transport.NotFound):
		return false, err
	case out.Retired:
		return false, &transport.Error{Op: "migrate volume " + m.r.Volume, Region: m.r.To, Class: transport.NotFound,
			Err:  fmt.Errorf("it was moved to volume %s on %s, which is not there any more, and the source was retired", out.Restore.Volume, out.Ended.Format(time.RFC3339)),
			Hint: "farshore points shows whether a point of it is left to restore"}
	}
	m.st = migrationState{Report: report.Migration{Volume: m.r.Volume, From: m.r.From, To: m.r.To}}
	return true, m.save()
}

// passes ships until the final point has landed. With the state waiting, nothing is
// wrong but that the volume is still in use.
func (m *migration) passes(ctx context.Context) error {
	out := &m.st.Report
	for {
		v, err := m.src.Blocks.Volume(ctx, m.r.Volume)
		if err != nil {
			return err
		}
		if out.Name = v.Name; out.State == "" {
			if err := m.s.couldRestore(ctx, m.restoreRequest(), v, m.f); err != nil {
				return err
			}
		}
		if v.Encrypted {
			return encryptedError("migrate volume "+v.ID, m.r.From, v.ID)
		}
		n := len(out.Passes)
		small := n > 0 && (out.Passes[n-1].Bytes <= m.r.Delta || n >= max(m.r.Passes, 1))
		idle := v.Attachments == 0 && v.Status == statusAvailable
		final := idle || m.r.Cutover && small
		if small && !final {
			out.State, out.WaitingOn = migrateWaiting, fmt.Sprintf("volume %s is %s: detach it, or stop what writes to it and give --cutover", v.ID, v.Status)
			if err := m.save(); err != nil || m.r.NoWait {
				return err
			}
			if err := m.detached(ctx); err != nil {
				return err
			}
			continue
		}
		out.State, out.WaitingOn = migratePasses, ""
		switch {
		case !final:
			m.st.FinalBegan = time.Time{}
		case m.st.FinalBegan.IsZero():
			m.st.FinalBegan = m.s.o.Clock.Now().UTC()
		}
		if err := m.save(); err != nil {
			return err
		}
		if err := m.pass(ctx, final); err != nil {
			return err
		}
		if !final {
			continue
		}
		if now, err := m.src.Blocks.Volume(ctx, m.r.Volume); err != nil {
			return err
		} else if !m.r.Cutover && now.Attachments > 0 { // somebody began to use it again meanwhile
			m.st.FinalBegan = time.Time{}
			out.Passes[len(out.Passes)-1].Final = false
			continue
		}
		m.st.Final, out.State = out.Passes[len(out.Passes)-1].Point, migrateRestoring
		return m.save()
	}
}

// detached waits until nothing uses the volume any more.
func (m *migration) detached(ctx context.Context) error {
	return m.s.await(ctx, "waiting until volume "+m.r.Volume+" is detached", func(ctx context.Context) (bool, error) {
		v, err := m.src.Blocks.Volume(ctx, m.r.Volume)
		return v.Attachments == 0 && v.Status == statusAvailable, err
	})
}

// pass ships one snapshot, and what earlier runs left on its way.
func (m *migration) pass(ctx context.Context, final bool) error {
	began := m.s.o.Clock.Now()
	res, err := m.s.Ship(ctx, m.p, ShipOptions{SnapshotNow: true})
	for _, f := range res.Findings {
		m.f.Add(f)
	}
	if err != nil {
		return err
	}
	if res.Errors > 0 {
		return &MigrateError{Volume: m.r.Volume, To: m.r.To}
	}
	out := &m.st.Report
	for _, x := range res.Points {
		if !slices.ContainsFunc(out.Passes, func(p report.MigrationPass) bool { return p.Point == x.Point }) {
			out.Passes = append(out.Passes, report.MigrationPass{Point: x.Point, Taken: x.Taken, Incremental: x.Incremental, Bytes: x.Bytes})
			out.Bytes += x.Bytes
		}
	}
	slices.SortFunc(out.Passes, func(a, b report.MigrationPass) int {
		return cmp.Or(a.Taken.Compare(b.Taken), cmp.Compare(a.Point, b.Point))
	})
	if len(res.Points) == 0 {
		return &MigrateError{Volume: m.r.Volume, To: m.r.To}
	}
	last := &out.Passes[len(out.Passes)-1]
	last.Seconds, last.Final = m.s.o.Clock.Now().Sub(began).Seconds(), final
	return m.save()
}

// MigrateError says that a pass did not carry the volume; the findings say why.
type MigrateError struct{ Volume, To string }

func (e *MigrateError) Error() string {
	return fmt.Sprintf("volume %s did not get to region %s: see the findings", e.Volume, e.To)
}

func (m *migration) restoreRequest() RestoreRequest {
	r := m.r
	return RestoreRequest{Point: m.st.Final, To: r.To, Name: r.Name, Type: r.Type, Zone: r.Zone, Proof: r.Proof, Wait: r.Wait, Anyway: r.Anyway}
}

// restore makes the volume of the final point.
func (m *migration) restore(ctx context.Context) error {
	out := &m.st.Report
	if out.Restore != nil && out.State == migrateDone {
		return nil
	}
	ready := func(x report.Restore) error {
		out.Restore, out.State, out.Ended = &x, migrateDone, m.s.o.Clock.Now().UTC()
		out.Downtime = x.Began.Sub(m.st.FinalBegan).Seconds() + x.RTO
		return m.save()
	}
	x, err := m.s.restore(ctx, m.restoreRequest(), false, m.f, ready)
	if out.Restore == nil {
		out.Restore = &x
	}
	return err
}

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
		if w.Policy != migrationPolicy(m.r).Name || !m.s.left(w) {
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
		var e expiry
		if err := json.Unmarshal(w.Data, &e); err != nil {
			return fmt.Errorf("read work %s: %w", w.ID, err)
		}
		if _, err := m.s.erase(ctx, m.f, w, e); err != nil {
			return err
		}
	}
	return nil
}

// dropPoints removes the migration's own points at both sides, the newest first: an
// increment goes before its parent. One that others' backups are increments upon stays.
func (m *migration) dropPoints(ctx context.Context) error {
	policy := migrationPolicy(m.r).Name
	points, err := m.s.o.Ledger.Points(m.r.Volume)
	if err != nil {
		return fmt.Errorf("read points: %w", err)
	}
	for _, p := range slices.Backward(points) {
		if p.Policy != policy || p.Region != m.r.From {
			continue
		}
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

// retire removes the source volume. It must be detached, and must have no snapshots:
// whoever took them wants them.
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
	if v.Attachments > 0 || v.Status != statusAvailable {
		return fail("detach it and run the same command again", "it is %s", v.Status)
	}
	list, err := m.src.Blocks.Snapshots(ctx, m.r.Volume)
	if err != nil {
		return err
	}
	if len(list) > 0 {
		return fail("remove what is not wanted (openstack volume snapshot delete "+list[0].ID+") and run the same command again", "it has %d snapshots that the migration did not take", len(list))
	}
	return m.s.removeVolume(ctx, m.src.Blocks, m.r.From, m.r.Volume)
}
