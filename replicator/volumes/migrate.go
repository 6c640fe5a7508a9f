package volumes

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	Volume, From, To string // the volume's id, or its name if no other has it
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
	Earlier    []string  // points that were there when it began: of another migration
	Final      string    // the final pass's point
	FinalBegan time.Time // when nobody wrote any more
	Source     finalSource
}

// finalSource is what the source's Cinder said of the volume when the final pass was
// made. Any use of a volume that is detached changes when it was updated: it has to be
// attached first.
type finalSource struct {
	Seen     bool      // the rest is known
	Attached bool      // it was in use, and the user vouched that nobody wrote (--cutover)
	Updated  time.Time // before the final snapshot and after its backup; of an unused volume the zero time
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
	out.List()
	out.Seconds = s.o.Clock.Now().Sub(began).Seconds()
	out.Findings, out.Errors = m.f.List(), m.f.Errors()
	return out, err
}

func (m *migration) run(ctx context.Context, began time.Time) (err error) {
	if m.r.Volume == "" {
		return &replicator.UsageError{Msg: "no volume is named", Hint: "give the volume's id or its name"}
	}
	if m.r.From == m.r.To {
		return &replicator.UsageError{Msg: "source and destination are the same region: " + m.r.From, Hint: "choose another with --to"}
	}
	if m.r.Retire && m.r.Proof != ProofBlocks {
		return &replicator.UsageError{Msg: "the source is retired only after a proof", Hint: "leave --proof none out"}
	}
	if m.src, err = m.s.cinder(m.r.From); err != nil {
		return err
	}
	if _, err := m.s.cinder(m.r.To); err != nil {
		return err
	}
	if err := m.find(ctx); err != nil {
		return err
	}
	m.p = migrationPolicy(m.r)
	if m.ended() {
		again, err := m.again(ctx)
		if err != nil || !again {
			return err
		}
	}
	out := &m.st.Report
	if out.Began.IsZero() {
		out.Began = began.UTC()
		points, err := m.points()
		if err != nil {
			return err
		}
		for _, x := range points {
			m.st.Earlier = append(m.st.Earlier, x.ID)
		}
	}
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

// migrationNote begins the keys under which the ledger keeps migrations.
const migrationNote = "migration/"

func (m *migration) key() string {
	return migrationNote + m.r.From + "/" + m.r.Volume + "/" + m.r.To
}

// Migrations are the migrations of volumes that a ledger knows, as they stood when they were
// last recorded.
func Migrations(l *store.Ledger) ([]report.Migration, error) {
	states, err := notesOf[migrationState](l, migrationNote)
	if err != nil {
		return nil, err
	}
	out := []report.Migration{}
	for _, st := range states {
		st.Report.List()
		out = append(out, st.Report)
	}
	return out, nil
}

// load reads how far the migration is, if there is one of this volume.
func (m *migration) load() (known bool, err error) {
	text, known, err := m.s.o.Ledger.Note(m.key())
	if err != nil {
		return false, fmt.Errorf("read the migration: %w", err)
	}
	if known {
		if err := json.Unmarshal(text, &m.st); err != nil {
			return false, fmt.Errorf("read the migration: %w", err)
		}
	}
	out := &m.st.Report
	out.Volume, out.From, out.To = m.r.Volume, m.r.From, m.r.To
	return known, nil
}

// find makes the request's volume an id, and loads what is known of its migration. One
// that was retired is found by its id, and by the name that it had.
func (m *migration) find(ctx context.Context) error {
	if known, err := m.load(); known || err != nil {
		return err
	}
	all, err := m.src.Blocks.Volumes(ctx)
	if err != nil {
		return err
	}
	id, err := namedVolume(all, m.r.Volume, m.r.From)
	if transport.Is(err, transport.NotFound) {
		was, known, nerr := m.s.o.Ledger.Note(m.nameKey(m.r.Volume))
		if nerr != nil {
			return fmt.Errorf("read the migration: %w", nerr)
		}
		if known {
			id, err = string(was), nil
		}
	}
	if err != nil {
		return err
	}
	m.r.Volume = id
	_, err = m.load()
	return err
}

// namedVolume gives the id of the volume that is called so, by its id or by its name.
func namedVolume(all []transport.Volume, called, region string) (string, error) {
	var ids, names []string
	for _, v := range all {
		if v.ID == called {
			return v.ID, nil
		}
		if v.Name == called && called != "" {
			ids = append(ids, v.ID)
		}
		if v.Name != "" {
			names = append(names, transport.PrintName(v.Name))
		}
	}
	switch {
	case len(ids) == 1:
		return ids[0], nil
	case len(ids) > 1:
		slices.Sort(ids)
		return "", &transport.Error{Op: "find volume " + transport.PrintName(called), Region: region, Class: transport.Permanent, Err: fmt.Errorf("%d volumes there have that name", len(ids)), Hint: "give the id of one: " + strings.Join(ids, ", ")}
	}
	hint := "the project has no volume there"
	if len(all) > 0 {
		slices.Sort(names)
		names = slices.Compact(names)
		hint = fmt.Sprintf("openstack volume list shows the project's %d there", len(all))
		if len(names) > 0 && len(names) <= namesShown {
			hint = "the project has there: " + strings.Join(names, ", ")
		}
	}
	return "", &transport.Error{Op: "find volume " + transport.PrintName(called), Region: region, Class: transport.NotFound, Err: errors.New("no volume there has that id or name"), Hint: hint}
}

// namesShown is how many names of volumes a hint lists at most.
const namesShown = 20

// nameKey is where the id is noted of a volume that was retired, by its name.
func (m *migration) nameKey(name string) string {
	return "migrated/" + m.r.From + "/" + m.r.To + "/" + name
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
		if err := m.sourceSince(ctx); err != nil {
			return false, err
		}
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
	if err := m.recount(); err != nil {
		return err
	}
	for unsettled := 0; ; {
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
		now, err := m.src.Blocks.Volume(ctx, m.r.Volume)
		if err != nil {
			return err
		}
		changed := !now.Updated.Equal(v.Updated)
		if changed {
			unsettled++
		}
		if !m.r.Cutover && (now.Attachments > 0 || changed && unsettled < mostUnsettled) { // somebody used it again meanwhile
			m.st.FinalBegan = time.Time{}
			out.Passes[len(out.Passes)-1].Final = false
			continue
		}
		m.st.Source = finalSource{Seen: !idle || !changed, Attached: !idle, Updated: now.Updated}
		m.st.Final, out.State = out.Passes[len(out.Passes)-1].Point, migrateRestoring
		return m.save()
	}
}

// mostUnsettled is how many final passes in a row may find the volume changed when they
// end before the last one is taken for it: then it is not use that changes it. The
// source is not retired after that.
const mostUnsettled = 3

// detached waits until nothing uses the volume any more.
func (m *migration) detached(ctx context.Context) error {
	return m.s.await(ctx, "waiting until volume "+m.r.Volume+" is detached", func(ctx context.Context) (bool, error) {
		v, err := m.src.Blocks.Volume(ctx, m.r.Volume)
		return v.Attachments == 0 && v.Status == statusAvailable, err
	})
}

// pass ships one snapshot, and what earlier runs left on its way.
func (m *migration) pass(ctx context.Context, final bool) error {
	began, before := m.s.o.Clock.Now(), len(m.st.Report.Passes)
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
	if err := m.recount(); err != nil {
		return err
	}
	if len(out.Passes) == before {
		return &MigrateError{Volume: m.r.Volume, To: m.r.To}
	}
	last := &out.Passes[len(out.Passes)-1]
	last.Seconds, last.Final = m.s.o.Clock.Now().Sub(began).Seconds(), final
	return m.save()
}

// points gives the points at the source that passes of this migration, and of earlier
// ones between the same regions, have made.
func (m *migration) points() ([]store.Point, error) {
	all, err := m.s.o.Ledger.Points(m.r.Volume)
	if err != nil {
		return nil, fmt.Errorf("read points: %w", err)
	}
	return slices.DeleteFunc(all, func(x store.Point) bool { return x.Policy != m.p.Name || x.Region != m.r.From }), nil
}

// recount brings the passes up to the points that have landed. Those are durable as soon
// as they are made, so that a pass is counted although its run was killed.
func (m *migration) recount() error {
	points, err := m.points()
	if err != nil {
		return err
	}
	out := &m.st.Report
	for _, x := range points {
		c, _ := x.Copy(m.r.To)
		if c.State != store.CopyLanded || slices.Contains(m.st.Earlier, x.ID) || slices.ContainsFunc(out.Passes, func(p report.MigrationPass) bool { return p.Point == x.ID }) {
			continue
		}
		took := time.Duration(max(c.Landed-c.Began, 0)) * time.Microsecond
		out.Passes = append(out.Passes, report.MigrationPass{Point: x.ID, Taken: time.UnixMicro(x.Taken).UTC(), Incremental: x.Parent != "", Bytes: x.Bytes, Seconds: took.Seconds()})
		out.Bytes += x.Bytes
	}
	slices.SortFunc(out.Passes, func(a, b report.MigrationPass) int {
		return cmp.Or(a.Taken.Compare(b.Taken), cmp.Compare(a.Point, b.Point))
	})
	return nil
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
