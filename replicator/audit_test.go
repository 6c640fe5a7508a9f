package replicator

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"farshore/policies"
	"farshore/replicator/plan"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
	tt "farshore/transport/transporttest"
)

func (w *world) audit(o AuditOptions) report.Result {
	w.t.Helper()
	r, err := w.tryAudit(o)
	if err != nil {
		w.t.Fatalf("audit: %v", err)
	}
	return r
}

func (w *world) tryAudit(o AuditOptions) (report.Result, error) {
	if o.Seed == 0 {
		o.Seed = 1
	}
	e := w.engine()
	jobs, err := e.Jobs(context.Background(), w.policy)
	if err != nil {
		return report.Result{}, err
	}
	r, err := e.Audit(context.Background(), w.policy, jobs, o)
	if ferr := w.ledger.Flush(context.Background()); err == nil {
		err = ferr
	}
	return r, err
}

// clean asserts that an audit finds every copy and nothing to say.
func (w *world) clean(r report.Result) {
	w.t.Helper()
	if r.Errors != 0 || !r.Replicas.Satisfied || r.Audit.Missing+r.Audit.Damaged != r.Audit.Repaired {
		w.t.Fatalf("audit: %+v %+v\n%+v", r.Replicas, r.Audit, r.Findings)
	}
}

// one asserts that there is exactly one finding of a kind, about a name at a region.
func one(t *testing.T, r report.Result, kind string, level report.Level, region, name, cause string) {
	t.Helper()
	var got []report.Finding
	for _, f := range r.Findings {
		if f.Kind == kind {
			got = append(got, f)
		}
	}
	if len(got) != 1 || got[0].Level != level || got[0].Region != region || got[0].Name != name || !strings.Contains(got[0].Cause, cause) {
		t.Errorf("want one %s %s about %s at %s with %q, got %+v", level, kind, name, region, cause, got)
	}
}

func rot(b []byte) []byte { b[len(b)/2] ^= 1; return b }

// mirrored is a source with small, streamed and large objects and two copies of each.
func mirrored(t *testing.T, as policies.LargeAs) *world {
	t.Helper()
	w := newWorld(t, "b", "d")
	w.policy.Large = policies.Large{As: as, Over: 1 << 20, Chunk: 256 << 10}
	for i := range 20 {
		w.put(fmt.Sprintf("small/%03d", i), uint64(i), 1+i*100, nil)
	}
	w.put("empty", 1, 0, nil)
	w.put("large", 201, 2<<20+17, nil)
	w.sync()
	w.clock.advance(10 * time.Second)
	w.forget()
	return w
}

func TestAuditOfAWholeWorldListsAndAsksNothingElse(t *testing.T) {
	for _, as := range []policies.LargeAs{policies.Exact, policies.Segmented} {
		w := mirrored(t, as)
		r := w.audit(AuditOptions{})
		w.clean(r)
		if r.Replicas.ByCount[2] != 22 || r.Audit.Seen != 44 || r.Audit.ByRegion["b"] != 22 || len(r.Findings) != 0 {
			t.Errorf("%s: %+v %+v %+v", as, r.Replicas, r.Audit, r.Findings)
		}
		for _, region := range []string{"b", "d"} {
			if n, all := w.faults[region].Count(tt.List), w.faults[region].Count(readsAndWrites...); n != 1 || all != 2 {
				t.Errorf("%s: region %s got %d calls, %d of them listings: %+v", as, region, all, n, w.faults[region].Calls())
			}
		}
		w.forget()
		r = w.audit(AuditOptions{Read: 1})
		w.clean(r)
		size := int64(0)
		for _, n := range w.mem["a"].Names("c") {
			o, _, _ := w.mem["a"].Get("c", n)
			size += 2 * o.Size
		}
		if r.Audit.ReadBytes != size || r.Audit.ReadCount != 44 || w.faults["a"].Count(tt.Open) != 0 || w.faults["b"].Count(tt.Open) != 22 || w.faults["b"].Count(tt.Head) != 0 {
			t.Errorf("%s: read %+v, want %d bytes; the source was read %d times", as, r.Audit, size, w.faults["a"].Count(tt.Open))
		}
		w.restart()
	}
}

func TestAuditReadsAShare(t *testing.T) {
	w := mirrored(t, policies.Exact)
	read := map[int64]int64{}
	for seed := int64(1); seed <= 3; seed++ {
		for range 2 {
			w.forget()
			r := w.audit(AuditOptions{Read: 0.3, Seed: seed})
			if n := r.Audit.ReadCount; n == 0 || n == 44 || read[seed] != 0 && read[seed] != n || int64(w.faults["b"].Count(tt.Open)*2) != n || r.Audit.Seed != seed {
				t.Errorf("seed %d read %d objects, before %d: %+v", seed, n, read[seed], r.Audit)
			}
			read[seed] = r.Audit.ReadCount
		}
	}
	if r := w.audit(AuditOptions{Read: 0.3, Seed: 0}); r.Audit.Seed == 0 {
		t.Error("the seed is not reported")
	}
	if _, err := w.tryAudit(AuditOptions{Read: 1.5}); err == nil {
		t.Error("a share above 1 was taken")
	}
}

// Every damage is found, and repaired so that nothing is left to find.
func TestAuditFindsAndRepairs(t *testing.T) {
	for _, c := range []struct {
		name        string
		as          policies.LargeAs
		read        float64
		harm        func(w *world, b *tt.Mem)
		kind, about string
		cause       string
		opens       int // of the source, by the audit alone
		overwrites  bool
	}{
		{"removed", policies.Exact, 0, func(_ *world, b *tt.Mem) { b.Remove("c", "small/003") }, report.KindMissing, "small/003", "neither the listing nor a HEAD", 0, false},
		{"large removed", policies.Exact, 0, func(_ *world, b *tt.Mem) { b.Remove("c", "large") }, report.KindMissing, "large", "HEAD", 0, false},
		{"manifest removed", policies.Segmented, 0, func(_ *world, b *tt.Mem) { b.Remove("c", "large") }, report.KindMissing, "large", "HEAD", 0, false},
		{"rotten at rest", policies.Exact, 1, func(_ *world, b *tt.Mem) { b.Rot("c", "small/003", rot) }, report.KindDamaged, "small/003", "the bytes read have MD5", 0, true},
		{"large rotten", policies.Exact, 1, func(_ *world, b *tt.Mem) { b.Rot("c", "large", rot) }, report.KindDamaged, "large", "the bytes read have MD5", 0, true},
		{"segment rotten", policies.Segmented, 1, func(_ *world, b *tt.Mem) { b.Rot("c_segments", b.Names("c_segments")[3], rot) }, report.KindDamaged, "large", "MD5", 0, true},
		{"segment removed", policies.Segmented, 1, func(_ *world, b *tt.Mem) { b.Remove("c_segments", b.Names("c_segments")[3]) }, report.KindDamaged, "large", "cannot be read", 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := mirrored(t, c.as)
			c.harm(w, w.mem["b"])
			r := w.audit(AuditOptions{Read: c.read})
			one(t, r, c.kind, report.Error, "b", c.about, c.cause)
			one(t, r, report.KindTooFew, report.Error, "", "", "of 22 objects, 1 have fewer replicas than the 2 wanted; seen by region: b 21, d 22")
			if r.Replicas.ByCount[1] != 1 || r.Replicas.ByCount[2] != 21 || r.Replicas.Satisfied || r.Audit.Repaired != 0 {
				t.Errorf("%+v %+v", r.Replicas, r.Audit)
			}
			if n := w.faults["a"].Count(tt.Open); n != c.opens {
				t.Errorf("the audit read the source %d times", n)
			}
			for _, region := range []string{"a", "b", "d"} {
				for _, call := range w.faults[region].Calls() {
					if call.Writes() {
						t.Errorf("an audit without repair wrote: %s %+v", region, call)
					}
				}
			}
			w.forget()
			r = w.audit(AuditOptions{Read: c.read, Repair: true})
			w.clean(r)
			one(t, r, report.KindRepaired, report.Info, "b", c.about, "sent again")
			if r.Audit.Repaired != 1 || r.Replicas.ByCount[2] != 22 || r.Totals.Copied != 1 {
				t.Errorf("%+v %+v %+v", r.Audit, r.Replicas, r.Totals)
			}
			if n := w.faults["d"].Count(tt.Put, tt.Collapse, tt.PutManifest); n != 0 {
				t.Errorf("the whole copy at d was written %d times", n)
			}
			w.same("b", "d")
			w.noSegments("b", "d")
			if r := w.audit(AuditOptions{Read: 1}); len(r.Findings) != 0 {
				t.Errorf("after the repair: %+v", r.Findings)
			}
			w.forget()
			if r := w.sync(); r.Totals.Copied != 0 {
				t.Errorf("the pass after a repair sent %+v", r.Totals)
			}
			w.restart()
		})
	}
}

// listedLate is a copy whose listing shows neither of two writes: "old", overwritten, and "new".
func listedLate(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, "b")
	w.put("old", 1, 10, nil)
	w.sync()
	w.mem["b"].Freeze("c")
	w.clock.advance(time.Minute)
	w.put("old", 2, 20, nil)
	w.put("new", 3, 30, nil)
	w.sync()
	return w
}

// A listing that lags is no finding: a HEAD knows better.
func TestAuditAsksByNameBeforeItSpeaks(t *testing.T) {
	w := listedLate(t)
	w.forget()
	r := w.audit(AuditOptions{})
	w.clean(r)
	if len(r.Findings) != 0 || r.Audit.Heads != 2 || w.faults["b"].Count(tt.Head) != 2 {
		t.Errorf("%+v %+v", r.Audit, r.Findings)
	}
}

// What others put in a copy's place is reported and not touched, repair or not (promise 4).
func TestAuditDoesNotTouchWhatIsNotOurs(t *testing.T) {
	w := mirrored(t, policies.Exact)
	theirs := []byte("not yours")
	w.mem["b"].Set("c", "small/003", theirs, nil)
	w.mem["b"].Set("c", "foreign/x", theirs, nil)
	w.mem["b"].Set("c", "zzz", theirs, nil)
	for _, repair := range []bool{false, true} {
		r := w.audit(AuditOptions{Repair: repair})
		one(t, r, report.KindDamaged, report.Error, "b", "small/003", "put there by somebody else")
		if r.Counts[report.KindForeign] != 2 || r.Audit.Foreign != 2 || r.Replicas.ByCount[1] != 1 || r.Audit.Repaired != 0 {
			t.Errorf("%+v %+v", r.Counts, r.Replicas)
		}
		for _, n := range []string{"small/003", "foreign/x"} {
			if _, data, _ := w.mem["b"].Get("c", n); !bytes.Equal(data, theirs) {
				t.Errorf("repair %v touched %s", repair, n)
			}
		}
	}
	w.policy.Takeover = true
	r := w.audit(AuditOptions{Repair: true})
	w.clean(r)
	one(t, r, report.KindRepaired, report.Info, "b", "small/003", "sent again")
	if _, data, _ := w.mem["b"].Get("c", "foreign/x"); !bytes.Equal(data, theirs) {
		t.Error("a takeover is of the source's names only")
	}
	w.restart()
}

func TestAuditJudgesWhatAPassShouldHaveCarried(t *testing.T) {
	w := newWorld(t, "b")
	w.put("x", 1, 10, nil)
	if r := w.audit(AuditOptions{}); r.Replicas.Satisfied || r.Replicas.Objects != 1 || r.Errors != 1 {
		t.Errorf("before the first pass: %+v %+v", r.Replicas, r.Findings)
	}
	w.sync()
	w.clock.advance(time.Hour)
	w.put("x", 2, 10, nil)
	w.put("y", 3, 10, nil)
	r := w.audit(AuditOptions{})
	w.clean(r)
	if r.Audit.Unrecorded != 1 || r.Audit.Changed != 1 || r.Counts[report.KindUnrecorded] != 2 || r.Replicas.Objects != 1 {
		t.Errorf("new since the pass: %+v %+v", r.Audit, r.Findings)
	}
	w.policy.RPO = 15 * time.Minute
	w.clock.advance(14 * time.Minute)
	w.clean(w.audit(AuditOptions{}))
	w.clock.advance(2 * time.Minute)
	if r = w.audit(AuditOptions{}); r.Replicas.Short != 2 || r.Counts[report.KindTooFew] != 1 {
		t.Errorf("past the RPO: %+v", r.Replicas)
	}
	w.policy.RPO = 0
	w.faults["b"].Add(tt.Put, tt.Fail(transport.Permanent).On("c", "y"))
	if _, err := w.try(w.policy, SyncOptions{}); err != nil {
		t.Fatal(err)
	}
	if r = w.audit(AuditOptions{}); r.Replicas.Short != 1 || r.Replicas.ByCount[0] != 1 || r.Replicas.ByCount[1] != 1 {
		t.Errorf("a pass failed to carry y: %+v", r.Replicas)
	}
}

func TestAuditReportsWhatPassesRecorded(t *testing.T) {
	w := newWorld(t, "b")
	w.put("x", 1, 10, nil)
	w.put("y", 1, 10, nil)
	_ = w.mem["b"].CreateContainer(t.Context(), "c", nil)
	w.mem["b"].Set("c", "x", []byte("other"), nil)
	if _, err := w.try(w.policy, SyncOptions{}); err != nil {
		t.Fatal(err)
	}
	r := w.audit(AuditOptions{})
	one(t, r, report.KindConflict, report.Error, "b", "x", "not ours")
	if r.Replicas.Short != 1 || r.Audit.Foreign != 0 {
		t.Errorf("%+v %+v", r.Replicas, r.Audit)
	}
}

func TestAuditOfDeletedObjects(t *testing.T) {
	w := newWorld(t, "b")
	for _, n := range []string{"gone", "gone too", "gone bad", "stays"} {
		w.put(n, 1, 10, nil)
	}
	w.sync()
	w.clock.advance(time.Minute)
	for _, n := range []string{"gone", "gone too", "gone bad"} {
		w.mem["a"].Remove("c", n)
	}
	w.mem["b"].Remove("c", "gone too")
	w.mem["b"].Rot("c", "gone bad", rot)
	for range 2 { // before and after a pass saw it
		r := w.audit(AuditOptions{Read: 1, Repair: true})
		one(t, r, report.KindDamaged, report.Error, "b", "gone bad", "MD5")
		one(t, r, report.KindMissing, report.Info, "a", "", "1 objects were deleted or have expired at the source, and their copies are gone too, such as gone too")
		if !r.Replicas.Satisfied || r.Replicas.Objects != 1 || r.Audit.Gone != 3 {
			t.Errorf("%+v %+v", r.Replicas, r.Audit)
		}
		w.sync()
	}
	w.policy.Deletes = policies.Deletes{Propagate: true, After: time.Hour}
	if r := w.audit(AuditOptions{Read: 1}); r.Errors != 0 {
		t.Errorf("deletes are on their way: %+v", r.Findings)
	}
}

// What was put back at the source is there, also before a pass saw that: its copies count and
// are read.
func TestAuditOfWhatWasPutBack(t *testing.T) {
	w := newWorld(t, "b")
	w.policy.Deletes = policies.Deletes{Propagate: true, After: 24 * time.Hour}
	for _, n := range []string{"back", "bad", "lost", "gone", "stays"} {
		w.put(n, 1, 10, nil)
	}
	w.sync()
	w.clock.advance(time.Minute)
	for _, n := range []string{"back", "bad", "lost", "gone"} {
		w.mem["a"].Remove("c", n)
	}
	w.sync()
	w.clock.advance(time.Minute)
	for _, n := range []string{"back", "bad", "lost"} {
		w.put(n, 1, 10, nil)
	}
	w.mem["b"].Remove("c", "lost")
	w.mem["b"].Rot("c", "bad", rot)
	r := w.audit(AuditOptions{Read: 1})
	one(t, r, report.KindDamaged, report.Error, "b", "bad", "MD5")
	one(t, r, report.KindMissing, report.Error, "b", "lost", "neither the listing nor a HEAD finds it")
	if r.Replicas.Objects != 4 || r.Replicas.ByCount[1] != 2 || r.Audit.Gone != 1 {
		t.Errorf("%+v %+v", r.Replicas, r.Audit)
	}
	if r = w.audit(AuditOptions{Read: 1, Repair: true}); r.Replicas.ByCount[1] != 4 || r.Audit.Repaired != 2 {
		t.Errorf("%+v %+v", r.Replicas, r.Audit)
	}
	w.sync()
	w.clean(w.audit(AuditOptions{Read: 1}))

	// A listing that shows the deleted one again says nothing.
	p := w.place()
	o, _, err := w.ledger.Get(p, "gone")
	if err != nil || o.Missing == 0 {
		t.Fatalf("%+v %v", o, err)
	}
	x := &auditJob{auditor: &auditor{}, s: &survey{}}
	old := &transport.Entry{Name: "gone", ETag: o.Version.ETag, Modified: time.UnixMicro(o.Version.Modified)}
	if got := x.object(&plan.Subject{Name: "gone", Entry: old, Record: &o}); !got.gone || got.counts {
		t.Errorf("%+v", got)
	}
}

// A repair that fails leaves the finding, and the next pass goes on with it.
func TestRepairThatFails(t *testing.T) {
	w := mirrored(t, policies.Exact)
	w.mem["b"].Rot("c", "small/003", rot)
	w.mem["d"].Remove("c", "small/003")
	w.faults["b"].Add(tt.Put, tt.Fail(transport.Quota).On("c", "small/003"))
	r := w.audit(AuditOptions{Read: 1, Repair: true})
	one(t, r, report.KindDamaged, report.Error, "b", "small/003", "its repair failed: ")
	one(t, r, report.KindRepaired, report.Info, "d", "small/003", "sent again")
	if r.Replicas.ByCount[1] != 1 || r.Counts[report.KindFailed] != 0 {
		t.Errorf("%+v %+v", r.Replicas, r.Counts)
	}
	p := w.place()
	if o, _, _ := w.ledger.Get(p, "small/003"); o.Replicas[0].State != store.Lost || o.Replicas[1].State != store.Confirmed {
		t.Errorf("the ledger has %+v", o.Replicas)
	}
	r = w.audit(AuditOptions{})
	one(t, r, report.KindDamaged, report.Error, "b", "small/003", "an earlier audit found it so")
	w.restart()
	if r := w.sync(); r.Totals.Copied != 1 {
		t.Errorf("the next pass sent %+v", r.Totals)
	}
	w.same("b", "d")
	w.clean(w.audit(AuditOptions{Read: 1}))
}

func (w *world) place() store.PlaceID {
	w.t.Helper()
	places, err := w.ledger.Places()
	if err != nil || len(places) == 0 {
		w.t.Fatalf("places: %v %v", places, err)
	}
	return places[0].ID
}

// One bad read is a warning; only bad bytes at rest are damage.
func TestOneBadReadIsNoDamage(t *testing.T) {
	w := mirrored(t, policies.Exact)
	w.faults["b"].Add(tt.Open, tt.Flip(3).On("c", "small/003"))
	r := w.audit(AuditOptions{Read: 1, Repair: true})
	w.clean(r)
	one(t, r, report.KindDamaged, report.Warn, "b", "small/003", "a second one the right ones")
	if r.Audit.Repaired != 0 || r.Totals.Copied != 0 {
		t.Errorf("%+v", r.Audit)
	}
}

// Swift takes an object out of service when a read finds it rotten: it was damaged all the same.
func TestQuarantineIsDamage(t *testing.T) {
	w := mirrored(t, policies.Exact)
	w.mem["b"].Rot("c", "small/003", rot)
	w.faults["b"].Add(tt.Open, tt.After(func() {}).On("c", "small/003"), tt.Before(func() { w.mem["b"].Remove("c", "small/003") }).On("c", "small/003"))
	r := w.audit(AuditOptions{Read: 1})
	one(t, r, report.KindDamaged, report.Error, "b", "small/003", "out of service")
	r = w.audit(AuditOptions{})
	one(t, r, report.KindMissing, report.Error, "b", "small/003", "neither")
	w.clean(w.audit(AuditOptions{Read: 1, Repair: true}))
	w.same("b", "d")
}

// A repair of bad bytes is believed only when the bytes were read back.
func TestARepairIsProvedByReading(t *testing.T) {
	w := mirrored(t, policies.Exact)
	w.mem["b"].Rot("c", "small/003", rot)
	w.faults["b"].Add(tt.Put, tt.After(func() { w.mem["b"].Rot("c", "small/003", rot) }).On("c", "small/003"))
	r := w.audit(AuditOptions{Read: 1, Repair: true})
	one(t, r, report.KindDamaged, report.Error, "b", "small/003", "its repair failed: the bytes read have MD5")
	if r.Audit.Repaired != 0 || r.Replicas.Short != 1 {
		t.Errorf("%+v %+v", r.Audit, r.Replicas)
	}
}

// A pass beside the audit carries an object after the audit read its record.
func TestAuditBesideAPass(t *testing.T) {
	w := mirrored(t, policies.Exact)
	w.faults["b"].Add(tt.List, tt.Before(func() {
		w.put("small/003", 99, 50, nil)
		w.sync()
	}))
	r := w.audit(AuditOptions{})
	if r.Counts[report.KindDamaged] != 0 || r.Audit.Damaged != 0 {
		t.Errorf("%+v", r.Findings)
	}
	w.clean(w.audit(AuditOptions{Read: 1}))
}

// reusing lists like an endpoint that keeps one page for all.
type reusing struct {
	transport.Sink
}

func (r reusing) List(ctx context.Context, container string, rg transport.Range, yield func([]transport.Entry) error) error {
	return r.Sink.List(ctx, container, rg, func(page []transport.Entry) error {
		err := yield(page)
		for i := range page {
			page[i] = transport.Entry{Name: "reused", ETag: "reused", Size: -1}
		}
		return err
	})
}
