package replicator

import (
	"fmt"
	"testing"
	"time"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/transport"
	tt "farshore/transport/transporttest"
)

// The source is read only where the ledger knows no SHA-256: of adopted objects.
func TestAMismatchIsSettledByTheSource(t *testing.T) {
	w := newWorld(t, "b")
	_ = w.mem["b"].CreateContainer(t.Context(), "c", nil)
	for _, n := range []string{"x", "y"} {
		w.put(n, 1, 100, nil)
		o, data, _ := w.mem["a"].Get("c", n)
		w.mem["b"].Set("c", n, data, o.Header)
	}
	w.sync()
	w.clock.advance(10 * time.Second)
	w.mem["b"].Rot("c", "x", rot)
	w.mem["a"].Rot("c", "y", rot)
	w.mem["b"].Rot("c", "y", rot)
	w.forget()
	r := w.audit(AuditOptions{Read: 1})
	one(t, r, report.KindDamaged, report.Error, "b", "x", "MD5")
	one(t, r, report.KindDegraded, report.Warn, "b", "y", "source and copy are the same")
	if n := w.faults["a"].Count(tt.Open); n != 2 {
		t.Errorf("the source was read %d times", n)
	}
}

// The regions that answer are audited; the others' copies are not counted.
func TestAuditWithRegionsDown(t *testing.T) {
	down := func(region string) *transport.Error {
		return &transport.Error{Op: "log in", Region: region, Class: transport.Transient, Err: fmt.Errorf("no route to host")}
	}
	for _, region := range []string{"a", "d"} {
		w := mirrored(t, policies.Exact)
		w.mem["b"].Remove("c", "small/003")
		e := w.engine()
		jobs, err := e.Jobs(t.Context(), w.policy)
		if err != nil {
			t.Fatal(err)
		}
		delete(e.o.Regions, region)
		e.o.Down = map[string]error{region: down(region)}
		r, err := e.Audit(t.Context(), w.policy, jobs, AuditOptions{Seed: 1, Repair: region == "a"})
		if err != nil {
			t.Fatalf("%s down: %v", region, err)
		}
		one(t, r, report.KindRegionDown, report.Warn, region, "", "no route to host")
		if region == "a" { // the other destination has it
			one(t, r, report.KindRepaired, report.Info, "b", "small/003", "HEAD")
			w.clean(r)
			continue
		}
		one(t, r, report.KindMissing, report.Error, "b", "small/003", "HEAD")
		one(t, r, report.KindTooFew, report.Error, "", "", "of 22 objects, 22 have")
	}
}

func TestAuditOfASourceThatIsGone(t *testing.T) {
	for _, empty := range []bool{false, true} {
		w := mirrored(t, policies.Exact)
		w.mem["a"].RemoveContainer("c")
		if empty {
			_ = w.mem["a"].CreateContainer(t.Context(), "c", nil)
		}
		w.mem["b"].Remove("c", "small/003")
		r := w.audit(AuditOptions{Read: 1})
		if r.Replicas.Satisfied || r.Replicas.Objects != 22 || r.Replicas.Short != 1 || r.Counts[report.KindDegraded] != 1 {
			t.Errorf("%+v %+v", r.Replicas, r.Findings)
		}
		one(t, r, report.KindMissing, report.Error, "b", "small/003", "HEAD")
		r = w.audit(AuditOptions{Read: 1, Repair: true})
		one(t, r, report.KindRepaired, report.Info, "b", "small/003", "HEAD")
		w.mem["b"].Remove("c", "small/003")
		w.mem["d"].RemoveContainer("c")
		r = w.audit(AuditOptions{Repair: true})
		if r.Audit.Repaired != 21 || r.Audit.Missing != 23 || r.Replicas.Short != 1 { // all but what nobody has
			t.Errorf("%+v %+v", r.Audit, r.Replicas)
		}
	}
}

// Several key ranges and pages, prefixes on both sides, and copies under other names.
func TestAuditInRangesAndBelowPrefixes(t *testing.T) {
	w := newWorld(t)
	w.mem["b"] = tt.NewMem(tt.MemOptions{Region: "b", Now: w.clock.Now, PageSize: 7})
	w.mem["a"] = tt.NewMem(tt.MemOptions{Region: "a", Now: w.clock.Now, PageSize: 7, SplitOver: 20})
	w.faults["b"] = &tt.Faults{}
	_ = w.mem["a"].CreateContainer(t.Context(), "c", nil)
	_ = w.mem["b"].CreateContainer(t.Context(), "e", nil)
	for i := range 60 {
		w.put(fmt.Sprintf("in/%03d", i), uint64(i), 10, nil)
		w.put(fmt.Sprintf("out/%03d", i), uint64(i), 10, nil)
	}
	w.mem["b"].Set("e", "other/1", []byte("x"), nil) // beside the prefix: none of the audit's business
	w.policy = policies.NewPolicy("p", "a", "b")
	job := Job{Policy: w.policy, From: Side{"a", "c", "in/"}, To: []Side{{"b", "e", "copy/"}}}
	e := w.engine()
	for name, ep := range e.o.Regions {
		e.o.Regions[name] = reusing{ep}
	}
	if r, err := e.Sync(t.Context(), w.policy, []Job{job}, SyncOptions{}); err != nil || r.Totals.Copied != 60 {
		t.Fatalf("%+v %v", r, err)
	}
	for i := range 60 {
		if i%7 == 0 {
			w.mem["b"].Remove("e", fmt.Sprintf("copy/%03d", i))
		}
		w.mem["b"].Set("e", fmt.Sprintf("copy/%03d-x", i), []byte("x"), nil)
	}
	w.put("in/059-y", 1, 10, nil) // no pass has seen it; the destination has something of the name
	w.mem["b"].Set("e", "copy/059-y", []byte("x"), nil)
	r, err := e.Audit(t.Context(), w.policy, []Job{job}, AuditOptions{Seed: 1})
	if err != nil || r.Audit.Missing != 9 || r.Audit.Foreign != 60 || r.Audit.Seen != 51 || r.Replicas.Objects != 60 || r.Audit.Unrecorded != 1 {
		t.Fatalf("%+v %+v %v", r.Audit, r.Replicas, err)
	}
	r, err = e.Audit(t.Context(), w.policy, []Job{job}, AuditOptions{Seed: 1, Repair: true})
	if err != nil || r.Audit.Repaired != 9 || r.Errors != 0 || !r.Replicas.Satisfied {
		t.Fatalf("%+v %+v %v", r.Audit, r.Findings, err)
	}
	w.restart()
}
