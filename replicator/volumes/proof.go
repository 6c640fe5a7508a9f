package volumes

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"

	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
	"farshore/transport/backup"
)

// What a restored volume is compared with (report.Proof.Against).
const (
	proofBlocks  = "blocks"  // the block list beside the point's copies
	proofSource  = "source"  // the source's own _sha256file
	proofObjects = "objects" // the region's copies of the chain's objects
)

// Who hashed the restored volume (report.Proof.Hashed).
const (
	hashedService = "service" // the region's backup service: the scratch backup's _sha256file
	hashedRead    = "read"    // we, from the scratch backup's objects
)

// ProofError says that a restored volume is not what its point was.
type ProofError struct {
	Point, Policy, Region string
	Source                string // the volume that the point is of, for people
	Volume                string // that was made of it
	Proof                 report.Proof
}

func (e *ProofError) Error() string {
	return fmt.Sprintf("volume %s, restored from point %s of volume %s in region %s, is not equal to it: %s", e.Volume, e.Point, e.Source, e.Region, detailOf(e.Proof))
}

func (e *ProofError) hint() string {
	return fmt.Sprintf("farshore audit %s--read 100%% --repair tells whether the copies are damaged, and sends them again; farshore points has older points and other regions", before(e.Policy))
}

// before is a policy's name as it stands in a command line before other arguments; that
// of a migration is in no policy file.
func before(name string) string {
	if name == "" || strings.Contains(name, " ") {
		return ""
	}
	return transport.PrintName(name) + " "
}

// detailOf says in a few words where a volume differs.
func detailOf(p report.Proof) string {
	if p.OK {
		return ""
	}
	var at []string
	size := max(int64(p.BlockSize), 1)
	for _, r := range p.First {
		first, last := r.Offset/size, (r.Offset+r.Length-1)/size
		blocks := fmt.Sprintf("block %d", first)
		if last > first {
			blocks = fmt.Sprintf("blocks %d to %d", first, last)
		}
		at = append(at, fmt.Sprintf("%s (%d bytes at offset %d)", blocks, r.Length, r.Offset))
	}
	return fmt.Sprintf("%d of %s %s, first %s", p.Differing, report.Count(p.Blocks, "block"), report.Differ(p.Differing), strings.Join(at, ", "))
}

// prove compares the restored volume with its point (L5): the region's backup service backs it
// up in full into a scratch container, and what that says of every block is compared
// with what is known of the point. Both are streamed.
func (j *restoring) prove(ctx context.Context) (report.Proof, error) {
	container := scratchContainer(j.work.ID)
	b, err := j.backUp(ctx, container)
	if err != nil {
		return report.Proof{}, err
	}
	j.start(spanCompare)
	var prefix string
	err = j.s.await(ctx, j.phase(spanCompare), func(ctx context.Context) (bool, error) { // a listing may lag
		err := j.r.Objects.List(ctx, container, transport.Range{}, func(page []transport.Entry) error {
			for _, e := range page {
				if p, part, ok := backup.SplitName(e.Name); ok && part == backup.HashesPart && strings.HasSuffix(p, "_backup_"+b.ID) {
					prefix = p
				}
			}
			return nil
		})
		return prefix != "", err
	})
	if err != nil {
		return report.Proof{}, err
	}
	return j.compare(ctx, store.PointCopy{Region: j.req.To, Backup: b.ID, Container: container, Prefix: prefix})
}

// backUp makes the scratch backup, or finds the one that an earlier run made.
func (j *restoring) backUp(ctx context.Context, container string) (b transport.Backup, err error) {
	j.start(spanBackUp)
	if err := j.save(ctx); err != nil { // since when: one that goes on with it counts on
		return b, err
	}
	name := scratchName(j.work.ID)
	find := func() (bool, error) {
		list, err := j.r.Blocks.Backups(ctx)
		i := slices.IndexFunc(list, func(x transport.Backup) bool { return x.Name == name })
		if i >= 0 {
			b = list[i]
		}
		return i >= 0, err
	}
	found, err := find()
	if err == nil && found && b.Status != "creating" && b.Status != statusAvailable { // an earlier run's that failed, or on its way out
		found, err = false, j.s.removeBackup(ctx, j.r.Blocks, j.req.To, b.ID)
	}
	if err != nil {
		return b, err
	}
	if !found {
		if err := j.r.Objects.CreateContainer(ctx, container, nil); err != nil {
			return b, err
		}
		if j.data.TokenEnds, err = j.r.Blocks.Renew(ctx); err != nil { // R19
			return b, err
		}
		b, err = j.r.Blocks.CreateBackup(ctx, transport.BackupSpec{Volume: j.work.Resource, Name: name, Description: "proof of a restore of point " + j.point.ID,
			Container: container, Metadata: madeMetadata(j.point.Policy, j.work.ID)})
		if passing(err) { // the reply was lost
			var lerr error
			if found, lerr = find(); lerr != nil || !found {
				return b, cmp.Or(lerr, err)
			}
		} else if err != nil {
			return b, err
		}
	}
	id := b.ID
	err = j.wait(ctx, "backup", "creating", func(ctx context.Context) (string, error) {
		b, err = j.r.Blocks.Backup(ctx, id)
		return b.Status, err
	})
	if err != nil || b.Status == statusAvailable {
		return b, err
	}
	why, hint := j.tokenEnded(cmp.Or(b.FailReason, "Cinder gives no reason"), "the region's operator finds it in cinder-backup's log under the id "+id)
	return b, &transport.Error{Op: "back up the restored volume " + j.work.Resource, Region: j.req.To, Class: transport.Permanent,
		Err: fmt.Errorf("the scratch backup became %s: %s", b.Status, why), Hint: hint}
}

// compare compares the scratch backup's blocks with the point's: with the point's block
// list where it lies beside its copies, else with the source's own where the source can
// be asked, else with what the region's copies of the chain's objects make.
func (j *restoring) compare(ctx context.Context, scratch store.PointCopy) (report.Proof, error) {
	for _, with := range []struct {
		against string
		open    func(context.Context) (hashList, error)
	}{{proofBlocks, j.openBlocks}, {proofSource, j.openSource}} {
		list, err := with.open(ctx)
		var p report.Proof
		if err == nil {
			p, err = j.compareWith(ctx, scratch, with.against, list)
		}
		if err == nil || ctx.Err() != nil {
			return p, err
		}
		if !errors.Is(err, errNoList) {
			j.f.Add(report.Finding{Kind: report.KindDegraded, Level: report.Warn, Policy: j.point.Policy, Region: j.req.To, Name: j.point.ID, Op: "read the block list of the point",
				Cause: err.Error(), Hint: "the volume was compared with something else that is known of the point; farshore audit --repair writes the list again"})
		}
	}
	own, err := j.s.openHashes(ctx, j.r.Objects, scratch)
	if err != nil {
		return report.Proof{}, err
	}
	own.close() // its block size is all that is wanted
	list, err := j.openObjects(ctx, own.blockSize)
	if err != nil {
		return report.Proof{}, err
	}
	return j.compareWith(ctx, scratch, proofObjects, list)
}

// compareWith compares the scratch backup's blocks with a list, and closes it.
func (j *restoring) compareWith(ctx context.Context, scratch store.PointCopy, against string, want hashList) (report.Proof, error) {
	defer want.close()
	p := report.Proof{Against: against, BlockSize: want.blockSize, Hashed: hashedService}
	found, err := j.s.openHashes(ctx, j.r.Objects, scratch)
	if err != nil {
		return p, err
	}
	defer found.close()
	got := found.Blocks
	if found.blockSize != want.blockSize { // the regions' operators chose differently
		m, err := j.s.readMetadata(ctx, j.r.Objects, scratch)
		if err != nil {
			return p, err
		}
		p.Hashed = hashedRead
		read := hashLayers(ctx, openIn(j.r.Objects), []layer{{scratch.Container, scratch.Prefix, m}}, want.blockSize)
		defer read.close()
		got = read
	}
	if err := compareBlocks(&p, want.Blocks, got); err != nil {
		return p, err
	}
	if known := j.point.BlocksDigest; known != (store.Sum{}) && against != proofObjects && known.String() != p.Expected {
		return p, &transport.Error{Op: "read the block list of point " + j.point.ID, Region: j.req.To, Class: transport.Corrupt,
			Err: fmt.Errorf("it has the digest %s, and %s was recorded when the point was made", p.Expected, known)}
	}
	p.At = j.s.o.Clock.Now().UTC()
	p.OK = p.Differing == 0
	return p, nil
}

// compareBlocks goes through both sides at once.
func compareBlocks(p *report.Proof, want, got backup.Blocks) error {
	w, g := &tap{Blocks: want, sum: sha256.New()}, &tap{Blocks: got, sum: sha256.New()}
	differing, first, err := backup.Compare(w, g)
	if err != nil {
		return err
	}
	size := int64(p.BlockSize)
	for _, r := range first {
		p.First = append(p.First, report.Range{Offset: r.Block * size, Length: r.Count * size})
	}
	p.Differing, p.Blocks = differing, max(w.n, g.n)
	p.Expected, p.Found = hex.EncodeToString(w.sum.Sum(nil)), hex.EncodeToString(g.sum.Sum(nil))
	return nil
}

// tap counts and sums the hashes that pass.
type tap struct {
	backup.Blocks
	sum hash.Hash
	n   int64
}

// Next implements backup.Blocks.
func (t *tap) Next() (backup.Hash, error) {
	h, err := t.Blocks.Next()
	if err == nil {
		t.sum.Write(h[:])
		t.n++
	}
	return h, err
}
