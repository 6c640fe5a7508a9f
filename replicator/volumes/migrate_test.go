package volumes

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"farshore/integration/fakecloud"
	"farshore/replicator/report"
	"farshore/transport"
)

func (g *rig) migrate(r MigrateRequest) report.Migration {
	g.t.Helper()
	m, err := g.shipper().Migrate(context.Background(), r)
	if err != nil {
		g.t.Fatalf("migrate: %v, findings %+v", err, m.Findings)
	}
	if m.Errors > 0 {
		g.t.Fatalf("migrate: %+v", m.Findings)
	}
	return m
}

// A volume in use moves by passes, waits for the cutover, and is proven; the source is
// as it was until it is retired, and the same command says when there is nothing to do.
func TestMigrateInUse(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	v := g.volume("db", 1)
	v.Attach("server", "/dev/vdb")
	req := MigrateRequest{Volume: v.ID(), From: "a", To: "b", Passes: 4, Delta: 64 << 10, NoWait: true, Proof: ProofBlocks}
	writes := 0
	g.from.OnBlockStep(func(s fakecloud.BlockStep) { // the guest goes on writing, ever less
		if s.Kind == fakecloud.JobBackup && s.Step == 1 && writes < 3 {
			writes++
			g.scribble(v, uint64(20+writes), int64(writes)*100_000, 400_000>>(2*writes))
		}
	})
	m := g.migrate(req)
	if m.State != migrateWaiting || len(m.Passes) != 3 || m.Passes[0].Incremental || !m.Passes[1].Incremental || m.Passes[2].Bytes > req.Delta || m.Passes[1].Bytes <= req.Delta || m.WaitingOn == "" {
		t.Fatalf("migration %+v", m)
	}
	if m = g.migrate(req); m.State != migrateWaiting || len(m.Passes) != 3 {
		t.Fatalf("again: %+v", m)
	}
	g.bare("b", 0, 3)
	g.scribble(v, 77, 300_000, 5000)
	want := content(v)
	g.restart()
	req.Cutover = true
	m = g.migrate(req)
	if m.State != migrateDone || len(m.Passes) != 4 || !m.Passes[3].Final || m.Passes[0].Final || m.Downtime <= 0 || m.Downtime > m.Seconds || m.Restore.Proof == nil || !m.Restore.Proof.OK || m.Retired {
		t.Fatalf("migration %+v restore %+v", m, m.Restore)
	}
	if got := content(g.cloud.Region("b").Volume(m.Restore.Volume)); !bytes.Equal(got, want) {
		t.Error("other bytes")
	}
	var sum int64
	for _, p := range m.Passes {
		sum += p.Bytes
	}
	if sum != m.Bytes {
		t.Errorf("passes of %d bytes, %d in all", sum, m.Bytes)
	}
	if src, err := g.regions["a"].Blocks.Volume(t.Context(), v.ID()); err != nil || src.Status != "in-use" || !bytes.Equal(content(v), want) {
		t.Errorf("source %+v, %v", src, err)
	}
	g.bare("a", 1, 0) // the passes' points are gone at both sides
	g.bare("b", 1, 0)
	if again := g.migrate(req); !again.Already || again.Restore.Volume != m.Restore.Volume || len(again.Findings) > 0 {
		t.Errorf("again: %+v", again)
	}
	g.bare("b", 1, 0)

	// Retiring waits for the detach, and then says that it is done.
	req.Retire = true
	if _, err := g.shipper().Migrate(t.Context(), req); err == nil || !strings.Contains(hintOf(err), "detach it") {
		t.Errorf("retire of a volume in use: %v", err)
	}
	v.Detach()
	if m := g.migrate(req); !m.Retired || m.State != migrateRetired {
		t.Errorf("retire: %+v", m)
	}
	g.bare("a", 0, 0)
	if m := g.migrate(req); !m.Retired || !m.Already {
		t.Errorf("again: %+v", m)
	}
	g.bare("b", 1, 0)
}

// watched calls f before every look at a volume.
type watched struct {
	transport.BlockStorage
	f func()
}

func (w watched) Volume(ctx context.Context, id string) (transport.Volume, error) {
	w.f()
	return w.BlockStorage.Volume(ctx, id)
}

// Without --cutover the final pass waits until the volume is detached.
func TestMigrateWaitsForTheDetach(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	v := g.volume("db", 1)
	v.Attach("server", "/dev/vdb")
	looks := 0
	var want []byte
	g.wrap = func(name string, r Region) Region {
		if name == "a" {
			r.Blocks = watched{r.Blocks, func() {
				if looks++; looks == 30 {
					g.scribble(v, 5, 0, 3000)
					want = content(v)
					v.Detach()
				}
			}}
		}
		return r
	}
	m := g.migrate(MigrateRequest{Volume: v.ID(), From: "a", To: "b", Passes: 1, Delta: 1, Proof: ProofBlocks, Retire: true, Name: "moved"})
	if looks < 30 || len(m.Passes) != 2 || m.State != migrateRetired || !m.Passes[1].Final || m.Restore.Name != "moved" {
		t.Fatalf("after %d looks: %+v", looks, m)
	}
	if got := content(g.cloud.Region("b").Volume(m.Restore.Volume)); !bytes.Equal(got, want) {
		t.Error("other bytes")
	}
	g.bare("a", 0, 0)
	g.bare("b", 1, 0)
}

// A detached volume needs one pass only, and no proof means that its points stay.
func TestMigrateDetached(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	v := g.volume("db", 1)
	req := MigrateRequest{Volume: v.ID(), From: "a", To: "b", Passes: 5, Delta: 1, Proof: ProofNone}
	m := g.migrate(req)
	if m.State != migrateDone || len(m.Passes) != 1 || !m.Passes[0].Final || m.Restore.Proof != nil {
		t.Fatalf("%+v", m)
	}
	g.bare("a", 1, 1)
	g.bare("b", 1, 1)
	req.Retire = true
	if _, err := g.shipper().Migrate(t.Context(), req); err == nil {
		t.Error("retired without a proof")
	}
	// What was made is gone again, so the same command makes it again.
	req.Retire = false
	if err := g.shipper().removeVolume(t.Context(), g.regions["b"].Blocks, "b", m.Restore.Volume); err != nil {
		t.Fatal(err)
	}
	if again := g.migrate(req); again.Already || again.State != migrateDone || again.Restore.Volume == m.Restore.Volume {
		t.Errorf("again: %+v", again)
	}
	g.bare("b", 1, 2)
}

// A source that was used after the final pass is not retired: what was written there is
// nowhere else. Neither is one that may have been written to between a cutover and its detach.
func TestMigrateKeepsASourceThatWasUsedSince(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	v := g.volume("db", 1)
	req := MigrateRequest{Volume: v.ID(), From: "a", To: "b", Passes: 1, Delta: 1, Proof: ProofBlocks}
	m := g.migrate(req)
	v.Attach("server", "/dev/vdb")
	g.scribble(v, 9, 0, 3000)
	v.Detach()
	want := content(v)
	again := g.migrate(req) // tells of it, too, when nothing is to be removed
	if len(again.Findings) != 1 || !again.Already || !strings.Contains(again.SourceUsed, "after the final pass") {
		t.Fatalf("again: %+v", again)
	}
	if f := again.Findings[0]; f.Kind != report.KindSourceUsed || f.Level != report.Warn || !strings.Contains(f.Hint, "is not in volume "+m.Restore.Volume) || !strings.Contains(f.Hint, "openstack volume delete "+m.Restore.Volume) {
		t.Errorf("%+v", f)
	}
	req.Retire = true
	for _, cutover := range []bool{false, true} { // --cutover vouches for a volume in use, not for this
		req.Cutover = cutover
		if _, err := g.shipper().Migrate(t.Context(), req); err == nil || !strings.Contains(err.Error(), "after the final pass") || !strings.Contains(hintOf(err), "openstack volume delete "+m.Restore.Volume) {
			t.Errorf("retire of a volume that was written to (cutover %v): %v", cutover, err)
		}
	}
	g.bare("a", 1, 0)
	if err := g.shipper().removeVolume(t.Context(), g.regions["b"].Blocks, "b", m.Restore.Volume); err != nil {
		t.Fatal(err)
	}
	req.Cutover = false
	if m = g.migrate(req); !m.Retired || !bytes.Equal(content(g.cloud.Region("b").Volume(m.Restore.Volume)), want) {
		t.Errorf("moved anew: %+v", m)
	}
	g.bare("a", 0, 0)

	w := g.volume("web", 2)
	w.Attach("server", "/dev/vdb")
	req = MigrateRequest{Volume: w.ID(), From: "a", To: "b", Passes: 1, Delta: 1, Proof: ProofBlocks, Cutover: true}
	g.migrate(req)
	req.Cutover = false
	if m := g.migrate(req); len(m.Findings) > 0 || m.SourceUsed != "" {
		t.Errorf("as it was vouched for: %+v", m)
	}
	w.Detach()
	if m := g.migrate(req); len(m.Findings) != 1 || !strings.Contains(m.SourceUsed, "before it was detached") {
		t.Errorf("detached after the cutover: %+v", m)
	}
	req.Cutover, req.Retire = false, true
	if _, err := g.shipper().Migrate(t.Context(), req); err == nil || !strings.Contains(hintOf(err), "--cutover") {
		t.Errorf("retire of a volume that was in use: %v", err)
	}
	req.Cutover = true
	if m := g.migrate(req); !m.Retired {
		t.Errorf("retire that is vouched for: %+v", m)
	}
}

// A use of the volume that begins and ends within the final pass makes it an ordinary one.
func TestMigrateMakesTheFinalPassAgain(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	v := g.volume("db", 1)
	var want []byte
	g.from.OnBlockStep(func(s fakecloud.BlockStep) {
		if s.Kind == fakecloud.JobBackup && s.Step == 1 && want == nil {
			v.Attach("server", "/dev/vdb")
			g.scribble(v, 9, 0, 3000)
			v.Detach()
			want = content(v)
		}
	})
	m := g.migrate(MigrateRequest{Volume: v.ID(), From: "a", To: "b", Passes: 1, Delta: 1, Proof: ProofBlocks, Retire: true})
	if len(m.Passes) != 2 || m.Passes[0].Final || !m.Passes[1].Final || !m.Retired {
		t.Errorf("migration %+v", m)
	}
	if got := content(g.cloud.Region("b").Volume(m.Restore.Volume)); !bytes.Equal(got, want) {
		t.Error("other bytes")
	}
}

// cut ends the run when a snapshot is to be removed: its pass has landed and nobody has said so yet.
type cut struct {
	transport.BlockStorage
	cancel context.CancelFunc
}

func (c cut) DeleteSnapshot(context.Context, string) error {
	c.cancel()
	return context.Canceled
}

// A pass whose run was killed counts: it is not made again, and its bytes are told.
func TestMigrateCountsThePassOfAKilledRun(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	v := g.volume("db", 1)
	v.Attach("server", "/dev/vdb")
	req := MigrateRequest{Volume: v.ID(), From: "a", To: "b", Passes: 1, Delta: 1, Proof: ProofBlocks, NoWait: true, KeepPoints: true}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	g.wrap = func(_ string, r Region) Region {
		r.Blocks = cut{r.Blocks, cancel}
		return r
	}
	if m, err := g.shipper().Migrate(ctx, req); err == nil || len(m.Passes) != 0 {
		t.Fatalf("killed: %v, %+v", err, m)
	}
	g.wrap = nil
	g.restart()
	m := g.migrate(req)
	if m.State != migrateWaiting || len(m.Passes) != 1 || m.Passes[0].Bytes == 0 || m.Passes[0].Bytes != m.Bytes || m.Passes[0].Seconds <= 0 {
		t.Fatalf("after the kill: %+v", m)
	}
	v.Detach()
	if m = g.migrate(req); m.State != migrateDone || len(m.Passes) != 2 {
		t.Fatalf("migration: %+v", m)
	}
	// The points that it left belong to no other migration.
	if err := g.shipper().removeVolume(t.Context(), g.regions["b"].Blocks, "b", m.Restore.Volume); err != nil {
		t.Fatal(err)
	}
	if m = g.migrate(req); len(m.Passes) != 1 || !m.Passes[0].Final || m.Passes[0].Bytes != m.Bytes {
		t.Errorf("another one: %+v", m)
	}
}

// A volume is found by its name, also when it is there no more.
func TestMigrateByName(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	v := g.volume("db", 1)
	twin := g.volume("db", 2)
	req := MigrateRequest{Volume: "db", From: "a", To: "b", Passes: 1, Delta: 1, Proof: ProofBlocks, Retire: true}
	_, err := g.shipper().Migrate(t.Context(), req)
	if hint := transport.HintOf(err); err == nil || !strings.Contains(hint, v.ID()) || !strings.Contains(hint, twin.ID()) {
		t.Errorf("two of the name: %v", err)
	}
	if err := g.shipper().removeVolume(t.Context(), g.regions["a"].Blocks, "a", twin.ID()); err != nil {
		t.Fatal(err)
	}
	if m := g.migrate(req); !m.Retired || m.Volume != v.ID() || m.Name != "db" {
		t.Errorf("%+v", m)
	}
	if m := g.migrate(req); !m.Already || m.Volume != v.ID() {
		t.Errorf("again: %+v", m)
	}
	g.volume("web", 3)
	req.Volume = "dv"
	if _, err = g.shipper().Migrate(t.Context(), req); !transport.Is(err, transport.NotFound) || !strings.Contains(hintOf(err), "web") {
		t.Errorf("no such name: %v, hint %q", err, hintOf(err))
	}
}

// What cannot come to a good end is refused before anything is carried.
func TestMigrateRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		req  MigrateRequest
		do   func(*rig, *fakecloud.BlockVolume)
		says string
	}{
		"type": {MigrateRequest{Type: "nosuch"}, nil, "no volume type nosuch"},
		"quota": {MigrateRequest{}, func(g *rig, _ *fakecloud.BlockVolume) {
			g.cloud.Region("b").SetQuota(fakecloud.Project, "gigabytes", 0)
		}, "gigabytes"},
		"volume":  {MigrateRequest{Volume: "11111111-1111-1111-1111-111111111111"}, nil, "11111111"},
		"itself":  {MigrateRequest{To: "a"}, nil, "same region"},
		"retire":  {MigrateRequest{Retire: true, Proof: ProofNone}, nil, "after a proof"},
		"nowhere": {MigrateRequest{To: "z"}, nil, "not defined"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, rigOptions{}, "b")
			v := g.volume("db", 1)
			r := c.req
			r.From = "a"
			if r.Volume == "" {
				r.Volume = v.ID()
			}
			if r.To == "" {
				r.To = "b"
			}
			if r.Proof == "" {
				r.Proof = ProofBlocks
			}
			if c.do != nil {
				c.do(g, v)
			}
			_, err := g.shipper().Migrate(t.Context(), r)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v does not say %q", err, c.says)
			}
			g.bare("a", 1, 0)
			g.bare("b", 0, 0)
		})
	}
	t.Run("import", func(t *testing.T) {
		g := newRig(t, rigOptions{noImport: true}, "b")
		v := g.volume("db", 1)
		m, err := g.shipper().Migrate(t.Context(), MigrateRequest{Volume: v.ID(), From: "a", To: "b", Proof: ProofBlocks})
		if err == nil || m.Errors == 0 {
			t.Fatalf("migrate: %v, %+v", err, m)
		}
		text := ""
		for _, f := range m.Findings {
			text += f.Cause + " " + f.Hint + "\n"
		}
		if !strings.Contains(text, "backup:backup-import") {
			t.Errorf("no rule is named: %s", text)
		}
	})
}

// A volume whose backups a policy sends elsewhere moves, too: nothing that only the
// policy's own destination has can be the parent of what the migration ships, nor the
// other way round.
func TestMigrateBesideAPolicyToAnotherRegion(t *testing.T) {
	g := newRig(t, rigOptions{}, "b", "c")
	g.policy.To, g.policy.Replicas = []string{"c"}, 1
	v := g.volume("db", 1)
	g.ship()
	v.Attach("server", "/dev/vdb")
	req := MigrateRequest{Volume: v.ID(), From: "a", To: "b", Passes: 2, NoWait: true, Proof: ProofBlocks}
	if m := g.migrate(req); m.State != migrateWaiting || len(m.Passes) != 2 || m.Passes[0].Incremental || !m.Passes[1].Incremental {
		t.Fatalf("migration %+v", m)
	}
	g.scribble(v, 5, 300_000, 5000)
	g.clock.advance(2 * time.Hour)
	if res := g.ship(); len(res.Points) != 1 || res.Points[0].Incremental || !strings.Contains(res.Points[0].Why, "region c does not get backup") {
		t.Errorf("the policy's pass meanwhile: %+v", res.Points)
	}
	v.Detach()
	want := content(v)
	m := g.migrate(req)
	if m.State != migrateDone || m.Restore.Proof == nil || !m.Restore.Proof.OK || !bytes.Equal(content(g.cloud.Region("b").Volume(m.Restore.Volume)), want) {
		t.Errorf("migration %+v", m)
	}
	g.bare("b", 1, 0)
}
