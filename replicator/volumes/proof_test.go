package volumes

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
	"farshore/transport/backup"
)

// dataObjects gives the names of a copy's data objects.
func (g *rig) dataObjects(region string, c store.PointCopy) (out []string) {
	for _, n := range g.cloud.Region(region).Names(c.Container) {
		if p, part, ok := backup.SplitName(n); ok && part > 0 && p == c.Prefix {
			out = append(out, n)
		}
	}
	return out
}

// One object exchanged for another valid one restores without a word (L7): the proof
// names the first offsets that differ, whatever it compares with.
func TestProofFindsAnExchangedObject(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	points, _ := g.chained(2)
	c, _ := points[0].Copy("b")
	b := g.cloud.Region("b")
	names := g.dataObjects("b", c)
	other, _ := b.Get(c.Container, names[0])
	was, _ := b.Get(c.Container, names[2])
	b.Put(c.Container, names[2], other.Bytes(), nil)
	out, findings, err := g.shipper().Restore(t.Context(), RestoreRequest{Point: points[0].ID, To: "b", Proof: ProofBlocks})
	var bad *ProofError
	if !errors.As(err, &bad) {
		t.Fatalf("restore: %v", err)
	}
	if len(findings) != 1 {
		t.Fatalf("findings %+v", findings)
	}
	f := findings[0]
	text := f.Op + f.Cause + f.Hint
	for _, s := range []string{"db (" + points[0].Volume.ID + ")", points[0].ID, out.Volume, "16 of 256 blocks differ, first blocks 32 to 47 (65536 bytes at offset 131072)", "farshore audit dbs --read 100% --repair"} {
		if !strings.Contains(text, s) {
			t.Errorf("%q does not say %q", text, s)
		}
	}
	if f.Kind != report.KindNotEqual || f.Level != report.Error || f.Region != "b" || f.Policy != "dbs" || f.Name != points[0].ID {
		t.Errorf("finding %+v", f)
	}
	if p := out.Proof; p.OK || p.Differing != 16 || len(p.First) != 1 || p.First[0] != (report.Range{Offset: 2 * 65536, Length: 65536}) {
		t.Errorf("proof %+v", p)
	}
	if !strings.Contains(err.Error(), "65536 bytes at offset 131072") {
		t.Errorf("the error names no offset: %v", err)
	}
	x, _, _ := g.ledger.Point(points[0].ID)
	if c, _ := x.Copy("b"); c.Proof.OK || !strings.Contains(c.Proof.Detail, "offset 131072") {
		t.Errorf("recorded %+v", c.Proof)
	}
	g.bare("b", 1, 2) // the volume stays, for whoever wants to look at it

	// Without any list, the copies' own MD5s tell.
	for _, n := range b.Names(PointsContainer) {
		if strings.HasSuffix(n, blocksSuffix) {
			b.Delete(PointsContainer, n)
		}
	}
	delete(g.regions, "a")
	_, _, err = g.shipper().Restore(t.Context(), RestoreRequest{Point: points[0].ID, To: "b", Proof: ProofBlocks})
	if !transport.Is(err, transport.Corrupt) || !strings.Contains(err.Error(), names[2]) {
		t.Errorf("restore: %v", err)
	}
	b.Put(c.Container, names[2], was.Bytes(), nil)
	if out := g.restore(RestoreRequest{Point: points[0].ID, To: "b", Proof: ProofBlocks}); out.Proof.Against != proofObjects {
		t.Errorf("proof %+v", out.Proof)
	}
}

// A chain that became a synthetic full is restored and proven, and so are increments
// upon it, by the block lists that stand beside them and by the objects.
func TestRestoresASyntheticFull(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	g.policy.MaxChain.Destination = 3
	points, want := g.chained(4)
	if _, err := g.shipper().Retain(t.Context(), g.policy, RetainOptions{}); err != nil {
		t.Fatal(err)
	}
	v := g.from.Volume(points[0].Volume.ID)
	g.scribble(v, 55, 200_000, 10_000)
	g.clock.advance(time.Hour)
	want = append(want, content(v))
	g.ship()
	points = g.points()
	c, _ := points[3].Copy("b")
	if !c.Synthetic {
		t.Fatalf("copy %+v", c)
	}
	for _, against := range []string{proofBlocks, proofObjects} {
		for i, chain := range map[int]int{3: 1, 4: 2} {
			out := g.restore(RestoreRequest{Point: points[i].ID, To: "b", Proof: ProofBlocks})
			if got := content(g.cloud.Region("b").Volume(out.Volume)); !bytes.Equal(got, want[i]) || out.Proof.Against != against || len(out.Backups) != chain {
				t.Errorf("point %d: %+v, proof %+v", i, out, out.Proof)
			}
		}
		for _, n := range g.cloud.Region("b").Names(PointsContainer) {
			if strings.HasSuffix(n, blocksSuffix) {
				g.cloud.Region("b").Delete(PointsContainer, n)
			}
		}
		delete(g.regions, "a")
	}
}

// Where the destination's backup service hashes blocks of another size than the source's
// did, the scratch backup is read and hashed in the source's.
func TestProofAcrossBlockSizes(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	points, want := g.chained(2)
	const blockSize = 3 * 4096 // the last block is a short one
	write := func(data []byte) {
		var hashes []backup.Hash
		if err := backup.HashBlocks(bytes.NewReader(data), blockSize, func(h backup.Hash) error { hashes = append(hashes, h); return nil }); err != nil {
			t.Fatal(err)
		}
		var list bytes.Buffer
		info, err := backup.WriteList(&list, blockSize, backup.SliceBlocks(hashes), nil, backup.Hash{})
		if err != nil {
			t.Fatal(err)
		}
		c, _ := points[1].Copy("b")
		g.cloud.Region("b").Put(PointsContainer, blocksName(points[1].Volume.ID, c.Backup), list.Bytes(), nil)
		err = g.ledger.UpdatePoint(t.Context(), points[1].ID, func(p *store.Point, _ bool) bool {
			p.BlockSize, p.BlocksDigest = blockSize, store.Sum(info.Digest)
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	write(want[1])
	req := RestoreRequest{Point: points[1].ID, To: "b", Proof: ProofBlocks}
	if out := g.restore(req); out.Proof.Hashed != hashedRead || out.Proof.BlockSize != blockSize || out.Proof.Blocks != (1<<20+blockSize-1)/blockSize {
		t.Errorf("proof %+v", out.Proof)
	}
	want[1][700_000] ^= 1
	write(want[1])
	out, _, err := g.shipper().Restore(t.Context(), req)
	var bad *ProofError
	if !errors.As(err, &bad) || out.Proof.Differing != 1 || out.Proof.First[0].Offset != 700_000/blockSize*blockSize {
		t.Errorf("restore: %v, proof %+v", err, out.Proof)
	}

	// A list that is damaged is told of, and the next best is compared with.
	c, _ := points[1].Copy("b")
	g.cloud.Region("b").Put(PointsContainer, blocksName(points[1].Volume.ID, c.Backup), []byte("FSBL?"), nil)
	out, findings, err := g.shipper().Restore(t.Context(), req)
	// The digest that the ledger has is of another list, so the source's own is not believed either.
	if err != nil || !out.Proof.OK || out.Proof.Against != proofObjects || len(findings) != 2 || findings[0].Kind != report.KindDegraded {
		t.Errorf("restore: %v, proof %+v, findings %+v", err, out.Proof, findings)
	}
}
