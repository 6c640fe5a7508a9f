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

	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// check finds out before anything is made whether the restore can go well: the copy is
// whole and importable, the volume fits, its type exists, and the token lives long enough.
func (j *restoring) check(ctx context.Context) error {
	p := j.point
	fail := func(hint, format string, args ...any) error {
		return &transport.Error{Op: "restore point " + p.ID, Region: j.req.To, Class: transport.Permanent, Err: fmt.Errorf(format, args...), Hint: hint}
	}
	if p.Volume.Encrypted {
		return encryptedError("restore point "+p.ID, p.Region, p.Volume.ID)
	}
	for _, l := range j.chain {
		switch l.at.State {
		case store.CopyLanded:
		case store.CopyShipped:
			why := fmt.Sprintf("the record of backup %s is not imported", l.at.Backup)
			if l.at.Note != "" {
				why += ": " + l.at.Note
			}
			return fail("farshore points land "+l.point.ID+" --to "+j.req.To, "%s", why)
		default:
			return fail("farshore audit --repair sends it again; farshore points says where else it is", "the copy of point %s is %s there: %s", l.point.ID, l.at.State, cmp.Or(l.at.Note, "it cannot be restored"))
		}
	}
	if err := j.checkRecords(ctx); err != nil {
		return err
	}
	if err := j.checkObjects(ctx); err != nil {
		return err
	}
	if err := j.checkType(ctx); err != nil {
		return err
	}
	if j.work.Resource == "" {
		if err := j.checkQuota(ctx); err != nil {
			return err
		}
	}
	return j.checkToken(ctx)
}

// checkRecords sees that the region's Cinder has all of the chain's backups.
func (j *restoring) checkRecords(ctx context.Context) error {
	for _, l := range j.chain {
		b, err := j.r.Blocks.Backup(ctx, l.at.Backup)
		hint := "farshore audit --repair imports it again"
		switch {
		case transport.Is(err, transport.NotFound):
			err = errors.New("the region's Cinder no longer has its record")
		case err != nil:
			return err
		case b.Status == "restoring" && j.work.ID != "":
			continue // by the restore that is gone on with
		case b.Status == "restoring":
			err, hint = errors.New("it is being restored by somebody"), "wait until that has ended"
		case b.Status == "creating":
			err, hint = errors.New("its import has not ended"), "farshore points land "+l.point.ID+" --to "+j.req.To+" waits for it; one that never ends an admin ends: "+dropCreating(l.at)+", and then the same imports it again"
		case b.Status != statusAvailable:
			err, hint = fmt.Errorf("its status is %s", b.Status), fmt.Sprintf("an admin ends that with: openstack volume backup set --state available %s", l.at.Backup)
		default:
			continue
		}
		return &transport.Error{Op: "find backup " + l.at.Backup, Region: j.req.To, Class: transport.Permanent, Err: err, Hint: hint}
	}
	return nil
}

// checkObjects sees that each backup's objects are there.
func (j *restoring) checkObjects(ctx context.Context) error {
	j.out.Objects, j.out.Bytes = 0, 0
	for _, l := range j.chain {
		x, err := j.checkBackup(ctx, l.at)
		if err != nil {
			return err
		}
		j.out.Objects += x.objects
		j.out.Bytes += x.bytes
	}
	return nil
}

// extent is what a backup consists of.
type extent struct{ objects, bytes int64 }

// checkBackup sees that a backup's objects are there, of each backup once.
func (j *restoring) checkBackup(ctx context.Context, at store.PointCopy) (x extent, err error) {
	if x, ok := j.whole[at.Backup]; ok {
		return x, nil
	}
	if x.objects, x.bytes, err = j.s.checkBackup(ctx, j.r.Objects, at); err != nil {
		return extent{}, err
	}
	if j.whole == nil {
		j.whole = map[string]extent{}
	}
	j.whole[at.Backup] = x
	return x, nil
}

// choose finds the point. Of a volume the newest is taken of which all objects are there, too:
// whoever restores may have lost the source, and what is damaged with it. A drill, which is
// to find damage, fails by it.
func (j *restoring) choose(ctx context.Context) (pick, error) {
	damaged := map[string]string{}
	for {
		x, err := j.s.findPoint(ctx, j.req.Point, j.req.To, damaged)
		if err != nil || !x.ofAll || j.scratch {
			return x, err
		}
		backup, why, err := j.damage(ctx, x.point)
		if err != nil || backup == "" || damaged[backup] != "" {
			return x, err
		}
		damaged[backup] = why
	}
}

// damage names the backup, of those that a restore of a point needs, that lost objects or has
// others, and says which; it is empty where there is none, or something else is in the way.
func (j *restoring) damage(ctx context.Context, p store.Point) (id, why string, err error) {
	chain, err := j.s.chain(ctx, p, j.req.To)
	if err != nil || slices.ContainsFunc(chain, func(l link) bool { return l.at.State != store.CopyLanded }) {
		return "", "", nil // which the checks say
	}
	for _, l := range chain {
		switch _, err := j.checkBackup(ctx, l.at); {
		case ctx.Err() != nil:
			return "", "", context.Cause(ctx)
		case transport.Is(err, transport.NotFound) || transport.Is(err, transport.Corrupt):
			return l.at.Backup, err.Error(), nil
		case err != nil:
			return "", "", nil
		}
	}
	return "", "", nil
}

// checkType chooses the volume's type and sees that the region has it.
func (j *restoring) checkType(ctx context.Context) error {
	types, err := j.r.Blocks.VolumeTypes(ctx)
	if err != nil {
		return err
	}
	was := j.point.Volume.Type
	j.data.Zone = j.req.Zone
	named := j.req.Type
	if named == "" && j.req.Types != nil {
		named = j.req.Types(j.point.Policy)[was]
	}
	if named != "" {
		hint := "name one with --type"
		if j.req.Type == "" {
			hint += " or in the policy's volume_types"
		}
		if err := missingType(types, named, j.req.To, hint); err != nil {
			return err
		}
		j.data.Type = named
		return nil
	}
	if was == "" || hasType(types, was) {
		j.data.Type = was
		return nil
	}
	def := "its default"
	if i := slices.IndexFunc(types, func(t transport.VolumeType) bool { return t.Default }); i >= 0 {
		def = types[i].Name
	}
	hint := "choose one with --type"
	if before(j.point.Policy) != "" { // a migration's points are of no policy in a file
		hint = "map it: volume_types: {" + was + ": …} in the policy, or --type"
	}
	j.f.Add(report.Finding{Kind: report.KindDegraded, Level: report.Warn, Policy: j.point.Policy, Region: j.req.To, Op: "choose the volume type",
		Cause: fmt.Sprintf("the region has no type %s, so %s is taken", transport.PrintName(was), def), Hint: hint})
	return nil
}

func hasType(types []transport.VolumeType, name string) bool {
	return slices.ContainsFunc(types, func(t transport.VolumeType) bool { return t.Name == name || t.ID == name })
}

// missingType says that a region has no volume type of a name, if so, and which it has.
func missingType(types []transport.VolumeType, name, region, hint string) error {
	if hasType(types, name) {
		return nil
	}
	var names []string
	for _, t := range types {
		names = append(names, t.Name)
	}
	slices.Sort(names)
	return &transport.Error{Op: "choose the volume type", Region: region, Class: transport.NotFound, Err: fmt.Errorf("there is no volume type %s", transport.PrintName(name)),
		Hint: "it has: " + strings.Join(names, ", ") + "; " + hint}
}

// checkQuota sees that the project has room for the volume and for what the proof makes.
func (j *restoring) checkQuota(ctx context.Context) error {
	q, err := j.r.Blocks.Quotas(ctx)
	if err != nil {
		return err
	}
	size := j.point.Volume.Size
	need := []struct {
		name   string
		amount transport.Amount
		need   int
		why    string
	}{
		{"volumes", q.Volumes, 1, "the volume"},
		{"gigabytes", q.Gigabytes, size, "the volume"},
	}
	if j.req.Proof == ProofBlocks {
		need = append(need, need[0], need[1])
		need[2].name, need[2].amount, need[2].why = "backups", q.Backups, "the proof's scratch backup"
		need[3].name, need[3].amount, need[3].why = "backup_gigabytes", q.BackupGigabytes, "the proof's scratch backup"
	}
	for _, n := range need {
		if free, bound := n.amount.Free(); bound && free < n.need {
			hint := fmt.Sprintf("raise it: openstack quota set --%s %d PROJECT (an admin), or remove what is not needed", strings.ReplaceAll(n.name, "_", "-"), n.amount.Used+n.need)
			if n.why != "the volume" && !j.scratch { // a drill is nothing without its proof
				hint += ", or leave the proof out with --proof none"
			}
			return &transport.Error{Op: "check the quota of " + n.name, Region: j.req.To, Class: transport.Quota,
				Err: fmt.Errorf("%s needs %d, and %d of %d are free", n.why, n.need, free, n.amount.Limit), Hint: hint}
		}
	}
	return nil
}

// checkToken sees that the token will outlive the restore (R19, C18). Without an
// earlier restore in the region to judge by, a token that looks too short is only a warning.
func (j *restoring) checkToken(ctx context.Context) error {
	ends, err := j.r.Blocks.Renew(ctx)
	if err != nil || ends.IsZero() {
		return err
	}
	lives, need := ends.Sub(j.s.o.Clock.Now()), j.estimate()
	if need <= lives {
		return nil
	}
	_, measured := j.s.speed(j.req.To)
	cause := fmt.Sprintf("a token of this region lives %s, and restoring %d GiB takes about %s: cinder-backup cannot renew the token it was started with", lives.Round(time.Second), j.point.Volume.Size, need.Round(time.Second))
	hint := "ask the operator for longer tokens, or for service tokens between cinder-backup and Swift"
	if measured && !j.req.Anyway {
		return &transport.Error{Op: "restore point " + j.point.ID, Region: j.req.To, Class: transport.Permanent, Err: errors.New(cause), Hint: hint + "; --anyway starts it all the same"}
	}
	j.f.Add(report.Finding{Kind: report.KindDegraded, Level: report.Warn, Policy: j.point.Policy, Region: j.req.To, Op: "compare the token's life with the restore's length", Cause: cause, Hint: hint})
	return nil
}

// guessedSpeed is how many bytes of a volume a region restores in a second where none
// was restored yet: 110 GiB an hour, the lower end of C18.
const guessedSpeed = 110 << 30 / 3600

// speed is how many bytes of a volume a region restores in a second, and whether that
// was measured.
func (s *Shipper) speed(region string) (float64, bool) {
	text, ok, err := s.o.Ledger.Note(speedKey(region))
	var v float64
	if err != nil || !ok || json.Unmarshal(text, &v) != nil || !(v > 0) {
		return guessedSpeed, false
	}
	return v, true
}

func speedKey(region string) string { return "restore-speed/" + region }

// learnSpeed notes how fast a restore was. The slower half of old and new counts, so
// that one small volume does not promise too much.
func (s *Shipper) learnSpeed(region string, gib int, took time.Duration) error {
	if took <= 0 {
		return nil
	}
	v := float64(gib) * (1 << 30) / took.Seconds()
	if old, known := s.speed(region); known {
		v = (v + min(v, old)) / 2
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the speed of region %s: %w", region, err)
	}
	return s.o.Ledger.PutNote(speedKey(region), text)
}

// estimate is about how long the restore takes.
func (j *restoring) estimate() time.Duration {
	v, _ := j.s.speed(j.req.To)
	return time.Duration(float64(j.point.Volume.Size) * (1 << 30) / v * float64(time.Second))
}

// couldRestore finds out before a volume is carried to a region whether it could be
// restored there.
func (s *Shipper) couldRestore(ctx context.Context, req RestoreRequest, v transport.Volume, f *report.Findings) error {
	r, err := s.cinder(req.To)
	if err != nil {
		return err
	}
	j := &restoring{s: s, req: req, r: r, f: f, point: store.Point{Volume: store.PointVolume{ID: v.ID, Name: v.Name, Size: v.Size, Type: v.Type}}}
	if err := j.checkType(ctx); err != nil {
		return err
	}
	return j.checkQuota(ctx)
}

// encryptedError says why an encrypted volume cannot be restored elsewhere (C16).
func encryptedError(op, region, volume string) error {
	return &transport.Error{Op: op, Region: region, Class: transport.Permanent,
		Err:  fmt.Errorf("volume %s is encrypted: a backup of it holds ciphertext, and its key is a secret of this region's Barbican, which is not carried", volume),
		Hint: "copy it into an unencrypted volume inside a server, or have an operator copy the key to the other region and rewrite the backup's encryption_key_id and volume type"}
}
