package volumes

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// preflight finds out, before anything is made of a volume, whether it can come to a
// good end: where backups are stored (R20), the token's life (R19), the quotas of the
// source, and that a destination has room. size is in GiB; snapshot says that one will
// be taken too. The room is owner's from then on, until it is made use of or given back.
func (r *run) preflight(ctx context.Context, owner string, v transport.Volume, size int, snapshot bool) error {
	if r.misplaced != nil {
		return r.misplaced
	}
	if err := r.lives(ctx, v, size); err != nil {
		return err
	}
	n := need{backups: 1, backupGigabytes: size, room: sourceRoom(r.p)}
	if snapshot {
		n.snapshots, n.gigabytes = 1, size
	}
	if err := r.claimsIn(r.p.From).claim(r.p.From, owner, n, func() (transport.VolumeQuotas, error) { return r.from.Blocks.Quotas(ctx) }); err != nil {
		return err
	}
	roomy := 0
	for _, to := range r.p.To {
		if !r.usable(to) {
			continue
		}
		if ok, err := r.room(ctx, to, owner, size); err != nil {
			return err
		} else if ok {
			roomy++
		}
	}
	if roomy == 0 {
		return &transport.Error{Op: "back up volume " + volumeName(v), Region: r.p.From, Name: v.ID, Class: transport.Permanent,
			Err: errors.New("no destination can take it now; nothing was begun"), Hint: "see what is said of the destinations"}
	}
	return nil
}

// unfit says why a volume cannot be backed up in the status that it is in, and will not
// be by itself; Cinder would only tell when a snapshot or a backup has failed.
func unfit(region string, v transport.Volume) error {
	if !strings.HasPrefix(v.Status, "error") && v.Status != "maintenance" && v.Status != "deleting" {
		return nil
	}
	return &transport.Error{Op: "back up volume " + volumeName(v), Region: region, Name: v.ID, Class: transport.Permanent,
		Err:  fmt.Errorf("its status is %s; nothing was begun", v.Status),
		Hint: "openstack volume show " + v.ID + "; where it is sound, an admin: openstack volume set --state available " + v.ID}
}

// short is the error of the first quota that does not suffice for what is wanted beside what
// others are promised.
func short(region string, q transport.VolumeQuotas, want, others need) error {
	for _, x := range []struct {
		name         string
		have         transport.Amount
		want, others int
	}{
		{"backups", q.Backups, want.backups, others.backups},
		{"backup_gigabytes", q.BackupGigabytes, want.backupGigabytes, others.backupGigabytes},
		{"snapshots", q.Snapshots, want.snapshots, others.snapshots},
		{"gigabytes", q.Gigabytes, want.gigabytes, others.gigabytes},
	} {
		if free, bounded := x.have.Free(); bounded && x.want > 0 && free < x.want+x.others {
			promised := ""
			if x.others > 0 {
				promised = fmt.Sprintf(", %d %s promised to other volumes of this pass", x.others, report.Are(x.others))
			}
			hint := fmt.Sprintf("an admin runs: openstack quota set --%s %d PROJECT", dashed(x.name), x.have.Used+x.others+x.want)
			if want.room != "" && strings.HasPrefix(x.name, "backup") {
				hint += "; " + want.room
			}
			return &transport.Error{Op: "check quota", Region: region, Class: transport.Quota,
				Err:  fmt.Errorf("quota %s: %d of %d are used%s, %d more %s needed; nothing was begun", x.name, x.have.Used, x.have.Limit, promised, x.want, report.Are(x.want)),
				Hint: hint}
		}
	}
	return nil
}

// dashed is what openstackclient calls a quota.
func dashed(name string) string {
	if name == "backup_gigabytes" {
		return "backup-gigabytes"
	}
	return name
}

// room reports whether a destination's quotas let it take one more backup of a volume's
// full size (I10), and claims it for owner. Where they do not, it is said once a pass. One
// that cannot be written to is left out of the pass.
func (r *run) room(ctx context.Context, region, owner string, size int) (bool, error) {
	reg, err := r.s.cinder(region)
	if err != nil {
		r.lose(region, err)
		return false, nil
	}
	if !r.o.DryRun {
		if err := r.writable(ctx, region, reg.Objects); err != nil {
			if ctx.Err() != nil {
				return false, context.Cause(ctx)
			}
			r.lose(region, err)
			return false, nil
		}
	}
	err = r.claimsIn(region).claim(region, owner, need{backups: 1, backupGigabytes: size, room: destinationRoom(r.p)}, func() (transport.VolumeQuotas, error) { return reg.Blocks.Quotas(ctx) })
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil:
		return false, err
	case !transport.Is(err, transport.Quota):
		r.lose(region, err)
		return false, nil
	}
	if r.once("quota/" + region) {
		r.f.Add(report.Finding{Kind: report.KindNotShipped, Level: report.Error, Policy: r.p.Name, Region: region, Op: "check quota", Cause: errors.Unwrap(err).Error(), Hint: transport.HintOf(err)})
	}
	return false, nil
}

// roomy gives the destinations that the point is to be carried to now: those that have
// not landed it, answer, and have room for it.
func (t *trip) roomy(ctx context.Context) ([]string, error) {
	var out []string
	for _, to := range t.wanting(t.pt) {
		if c, ok := t.pt.Copy(to); ok && c.State == store.CopyShipped { // only its record is missing
			out = append(out, to)
			continue
		}
		ok, err := t.room(ctx, to, t.pt.Volume.ID, t.pt.Volume.Size)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, to)
		}
	}
	return out, nil
}

// placementError says that a backup left no objects in the project's account.
func placementError(region, id string) error {
	return &kindError{kind: report.KindPlacement, cause: &transport.Error{Op: "find the objects of backup " + id, Region: region, Class: transport.Permanent,
		Err:  errors.New("cinder-backup stored them elsewhere than in this project's account of the object store; the backup was removed again"),
		Hint: "the operator sets backup_driver to Swift with backup_swift_auth = per_user; without that, volumes of this region cannot be shipped: farshore region check " + region + " --probe"}}
}

// kindError is an error that has a kind of finding of its own.
type kindError struct {
	kind  string
	cause *transport.Error
}

func (e *kindError) Error() string       { return e.cause.Error() }
func (e *kindError) Unwrap() error       { return e.cause }
func (e *kindError) findingKind() string { return e.kind }

// placed finds out whether a source's backups have objects in the project's account,
// without which no snapshot is taken, and leaves destinations out of which the same is
// known. A point that was made at a region has proved it.
func (r *run) placed(ctx context.Context) error {
	points, err := r.pointsOf("")
	if err != nil {
		return err
	}
	proved := map[string]bool{}
	for _, pt := range points {
		proved[pt.Region] = proved[pt.Region] || pt.Made != 0
	}
	for _, name := range append([]string{r.p.From}, r.p.To...) {
		reg, err := r.s.cinder(name)
		if err != nil || proved[name] || name != r.p.From && !r.usable(name) {
			continue
		}
		found, err := transport.FindPlacement(ctx, reg.Blocks, reg.Objects)
		if err == nil && found.Where == transport.PlacedUnknown {
			found = r.s.probed(name, found)
		}
		switch {
		case err != nil && (ctx.Err() != nil || name == r.p.From):
			return err
		case err != nil:
			r.lose(name, err)
		case found.Where == transport.PlacedSingleUser || found.Where == transport.PlacedElsewhere:
			err := &kindError{kind: report.KindPlacement, cause: &transport.Error{Op: "find where backups are stored", Region: name, Class: transport.Permanent,
				Err:  fmt.Errorf("%s: %s", found.Where, found.Why),
				Hint: "the operator sets backup_driver to Swift with backup_swift_auth = per_user; without that, volumes cannot be shipped here: farshore region check " + name + " --probe"}}
			if name == r.p.From {
				r.misplaced = err
			} else {
				r.lose(name, err)
			}
		}
	}
	return nil
}

// probed is what region check --probe found out about a region, or else what is known.
func (s *Shipper) probed(name string, known transport.Placed) transport.Placed {
	if text, ok, err := s.o.Ledger.Note("placement/" + name); err == nil && ok {
		return transport.Placed{Where: transport.Placement(text), Why: "so region check --probe found"}
	}
	return known
}

// Times that backups take, in seconds a GiB, where no earlier point tells (L10): Python's
// zlib and SHA-256 on one core.
const guessedPace = 30.0

// lives makes a fresh token, and compares how long it lives with how long a backup of
// the volume will take: cinder-backup cannot renew it (C18, R19). What earlier backups
// took is believed, and a longer one refused; a guess only warns.
func (r *run) lives(ctx context.Context, v transport.Volume, size int) error {
	ends, err := r.from.Blocks.Renew(ctx)
	if err != nil || ends.IsZero() {
		return err
	}
	r.mu.Lock()
	r.tokenEnds = ends
	r.mu.Unlock()
	points, err := r.pointsOf("")
	if err != nil {
		return err
	}
	pace, seen := guessedPace, 0
	for i := len(points) - 1; i >= 0 && seen < paceOf; i-- {
		if took, ok := backupTook(points[i]); ok {
			if p := took.Seconds() / float64(max(points[i].Volume.Size, 1)); seen == 0 || p > pace {
				pace = p
			}
			seen++
		}
	}
	life := ends.Sub(r.s.o.Clock.Now())
	need := time.Duration(pace * float64(size) * float64(time.Second))
	hint := "have the operator lengthen the life of tokens ([token] expiration of Keystone), or use smaller volumes"
	cause := fmt.Sprintf("a backup of its %d GiB will take about %s, and the token that it is started with lives %s; cinder-backup cannot renew it", size, need.Round(time.Second), life.Round(time.Second))
	switch {
	case need > life && seen > 0:
		return &kindError{kind: report.KindTokenLife, cause: &transport.Error{Op: "back up volume " + volumeName(v), Region: r.p.From, Name: v.ID, Class: transport.Permanent,
			Err: errors.New(cause + "; nothing was begun"), Hint: hint}}
	case float64(need) > warnShare*float64(life):
		if r.once("token/" + v.ID) {
			r.f.Add(report.Finding{Kind: report.KindTokenLife, Level: report.Warn, Policy: r.p.Name, Region: r.p.From, Name: v.ID, Op: "back up volume " + volumeName(v), Cause: cause, Hint: hint})
		}
	}
	return nil
}

const (
	paceOf    = 5   // earlier backups whose slowest is believed
	warnShare = 0.7 // of a token's life that a backup may take without a warning
)

// backupTook is how long a point's backup took, as far as that was seen.
func backupTook(pt store.Point) (time.Duration, bool) {
	began := int64(0)
	for _, c := range pt.Copies {
		if c.Began != 0 && (began == 0 || c.Began < began) {
			began = c.Began
		}
	}
	if began == 0 || pt.Made <= began {
		return 0, false
	}
	return time.Duration(pt.Made-began) * time.Microsecond, true
}

// tokenEnd is when the token that backups of this pass were started with ends.
func (r *run) tokenEnd() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tokenEnds
}
