package replicator

import (
	"fmt"
	"strings"
	"testing"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/transport"
	tt "farshore/transport/transporttest"
)

// furnished is a source with every kind of object and two whole copies of it, one of
// them of the very same objects: what is compared is compared at both.
func furnished(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, "b", "d")
	w.furnish()
	w.sync()
	w.forget()
	return w
}

// What lies in containers that no policy names is audited as what it is for, and repaired.
func TestAuditOfWhatComesAlong(t *testing.T) {
	for _, c := range []struct {
		name            string
		read            float64
		harm            func(b *tt.Mem)
		kind            string
		container, item string
	}{
		{"a segment is gone", 0, func(b *tt.Mem) { b.Remove("segs", "s%41/0") }, report.KindMissing, "segs", "s%41/0"},
		{"a segment is gone, and everything is read", 1, func(b *tt.Mem) { b.Remove("segs", "s%41/0") }, report.KindMissing, "segs", "s%41/0"},
		{"a segment is rotten", 1, func(b *tt.Mem) { b.Rot("segs", "s%41/0", rot) }, report.KindDamaged, "segs", "s%41/0"},
		{"a dynamic part is gone", 0, func(b *tt.Mem) { b.Remove("more", "dyn/1") }, report.KindMissing, "more", "dyn/1"},
	} {
		for i := range 4 {
			// with one stream a manifest's repair comes before those of its segments
			away, streams := i%2 == 1, []int{1, 4}[i/2]
			t.Run(fmt.Sprintf("%s, source away %v, %d streams", c.name, away, streams), func(t *testing.T) {
				w := furnished(t)
				w.limits.Streams = streams
				if r := w.audit(AuditOptions{Read: 1}); r.Errors != 0 || len(r.Findings) != 0 || !r.Replicas.Satisfied {
					t.Fatalf("a whole copy: %+v %+v", r.Replicas, r.Findings)
				}
				c.harm(w.mem["b"])
				r := w.audit(AuditOptions{Read: c.read})
				found := false
				for _, f := range r.Findings {
					found = found || f.Kind == c.kind && f.Level == report.Error && f.Region == "b" && f.Container == c.container && f.Name == c.item
				}
				if !found || r.Replicas.Satisfied {
					t.Fatalf("%+v %+v", r.Replicas, r.Findings)
				}
				r = w.auditWithout(away, AuditOptions{Read: c.read, Repair: true})
				if r.Errors != 0 || !r.Replicas.Satisfied || r.Audit.Repaired != r.Audit.Missing+r.Audit.Damaged || r.Audit.Repaired == 0 {
					t.Fatalf("repair: %+v %+v %+v", r.Audit, r.Totals, r.Findings)
				}
				w.alike("c", "c")
				w.alike("segs", "segs")
				w.alike("more", "more")
				if r := w.audit(AuditOptions{Read: 1}); len(r.Findings) != 0 {
					t.Errorf("after the repair: %+v", r.Findings)
				}
				if r := w.sync(); r.Totals.Copied != 0 {
					t.Errorf("the pass after the repair sent %+v", r.Totals)
				}
			})
		}
	}
}

// auditWithout audits while the source does not answer, if away is set.
func (w *world) auditWithout(away bool, o AuditOptions) report.Result {
	w.t.Helper()
	e := w.engine()
	if away {
		delete(e.o.Regions, "a")
		e.o.Down = map[string]error{"a": &transport.Error{Op: "log in", Region: "a", Class: transport.Transient, Err: fmt.Errorf("no route to host")}}
	}
	jobs, err := e.AuditJobs(w.t.Context(), w.policy)
	if err != nil {
		w.t.Fatal(err)
	}
	o.Seed = 1
	r, err := e.Audit(w.t.Context(), w.policy, jobs, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// A destination that lost everything gets every kind of object from another one while the
// source is away, under the names and headers that it had; what is known of its
// container's properties waits for the source.
func TestRepairFromAnotherDestination(t *testing.T) {
	for _, as := range []policies.LargeAs{policies.Exact, policies.Segmented} {
		w := newWorld(t, "b", "d")
		w.policy.Large = policies.Large{As: as, Over: 1 << 20, Chunk: 256 << 10}
		w.postProps("a", transport.Header{colour: "red"})
		w.furnish()
		w.put("large", 201, 2<<20+17, nil)
		w.sync()
		containers := []string{"c", "segs", "more"}
		for _, c := range append(containers, "c_segments") {
			w.mem["b"].RemoveContainer(c)
		}
		all := 0
		for _, c := range containers {
			all += len(w.mem["a"].Names(c))
		}
		w.forget()
		r := w.auditWithout(true, AuditOptions{Repair: true})
		if r.Errors != 0 || !r.Replicas.Satisfied || int(r.Audit.Repaired) != all || r.Replicas.ByCount[2] != int64(all) {
			t.Fatalf("%s: %d of %d repaired: %+v\n%+v", as, r.Audit.Repaired, all, r.Replicas, r.Findings)
		}
		if n := w.faults["a"].Count(readsAndWrites...) + w.faults["d"].Count(tt.Put, tt.PutManifest, tt.Collapse, tt.PutRaw); n != 0 {
			t.Errorf("%s: %d calls to the source or writes to the whole copy", as, n)
		}
		if as == policies.Exact {
			for _, c := range containers {
				w.alike(c, c)
			}
		}
		for _, n := range w.mem["d"].Names("c") {
			b, _, _ := w.mem["b"].Get("c", n)
			d, _, _ := w.mem["d"].Get("c", n)
			if b.Header[transport.OriginHeader] != d.Header[transport.OriginHeader] || !strings.HasPrefix(b.Header[transport.OriginHeader], "a ") {
				t.Errorf("%q has the stamp %q at b, %q at d", n, b.Header[transport.OriginHeader], d.Header[transport.OriginHeader])
			}
		}
		if r := w.sync(); r.Totals.Copied != 0 || r.Totals.Properties != 1 {
			t.Errorf("%s: the pass after the repair: %+v", as, r.Totals)
		}
		w.wantProps("b", transport.Header{colour: "red"})
		if r := w.audit(AuditOptions{Read: 1}); len(r.Findings) != 0 {
			t.Errorf("%s: in the end: %+v", as, r.Findings)
		}
		w.restart()
	}
}

// Nothing is repaired from a copy that is not as recorded itself.
func TestNothingIsRepairedFromADoubtfulCopy(t *testing.T) {
	for name, harm := range map[string]func(d *tt.Mem){
		"other bytes": func(d *tt.Mem) { d.Set("c", "small/003", []byte("x"), nil) },
		"rotten":      func(d *tt.Mem) { d.Rot("c", "small/003", rot) },
		"other headers": func(d *tt.Mem) {
			_ = d.Post(t.Context(), "c", "small/003", transport.Header{"Content-Type": "text/plain"})
		},
		"gone": func(d *tt.Mem) { d.Remove("c", "small/003") },
	} {
		w := mirrored(t, policies.Exact)
		w.mem["b"].Remove("c", "small/003")
		harm(w.mem["d"])
		r := w.auditWithout(true, AuditOptions{Repair: true})
		failed := false
		for _, f := range r.Findings {
			failed = failed || f.Kind == report.KindMissing && f.Level == report.Error && f.Region == "b" && f.Name == "small/003" && strings.Contains(f.Cause, "its repair failed")
		}
		if _, _, ok := w.mem["b"].Get("c", "small/003"); ok || !failed || r.Audit.Repaired != 0 || r.Replicas.Satisfied {
			t.Errorf("%s: %+v %+v", name, r.Audit, r.Findings)
		}
		w.policy.Takeover = true
		w.clean(w.audit(AuditOptions{Repair: true, Read: 1}))
	}
}

// What points to containers that have other names at a destination is as it was carried.
func TestAuditOfPointersToOtherNames(t *testing.T) {
	w := newWorld(t, "b", "d")
	w.policy.Container = "{from}-{container}"
	w.furnish()
	w.sync()
	if r := w.audit(AuditOptions{Read: 1}); len(r.Findings) != 0 {
		t.Fatalf("as it was carried: %+v", r.Findings)
	}
	for _, n := range w.mem["b"].Names("a-c") {
		w.mem["b"].Remove("a-c", n)
	}
	w.mem["b"].RemoveContainer("a-segs")
	r := w.auditWithout(true, AuditOptions{Repair: true})
	if r.Errors != 0 || !r.Replicas.Satisfied {
		t.Fatalf("from another destination: %+v", r.Findings)
	}
	w.alike("c", "a-c")
	w.alike("segs", "a-segs")
	if r := w.audit(AuditOptions{Read: 1}); len(r.Findings) != 0 {
		t.Errorf("in the end: %+v", r.Findings)
	}
}
