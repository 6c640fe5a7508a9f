package replicator

import (
	"testing"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/transport"
	tt "farshore/transport/transporttest"
)

// post sets an object's headers in a region behind Farshore's back.
func (w *world) post(region, name string, h transport.Header) {
	w.t.Helper()
	if err := w.mem[region].Post(w.t.Context(), "c", name, h); err != nil {
		w.t.Fatal(err)
	}
}

func TestAuditNoticesHeaders(t *testing.T) {
	for _, as := range []policies.LargeAs{policies.Exact, policies.Segmented} {
		w := mirrored(t, as)
		w.post("b", "small/003", transport.Header{"Content-Type": "text/html", "X-Object-Meta-Seed": "3"})  // the listing shows it
		w.post("b", "large", transport.Header{"Content-Type": "text/plain", "X-Object-Meta-Seed": "other"}) // reading shows it
		w.post("d", "small/004", transport.Header{"Content-Type": "text/plain"})
		r := w.audit(AuditOptions{})
		one(t, r, report.KindDegraded, report.Warn, "b", "small/003", "(Content-Type)")
		if r.Errors != 0 || r.Audit.HeadersDiffer != 1 || r.Audit.Heads != 1 || !r.Replicas.Satisfied || w.faults["b"].Count(tt.Post) != 0 {
			t.Errorf("%s: %+v %+v", as, r.Audit, r.Findings)
		}
		w.forget()
		r = w.audit(AuditOptions{Read: 1})
		if r.Audit.HeadersDiffer != 3 || r.Counts[report.KindDegraded] != 3 || w.faults["b"].Count(tt.Head) != 0 || w.faults["a"].Count(tt.Open) != 0 {
			t.Errorf("%s, read: %+v %+v", as, r.Audit, r.Findings)
		}
		if r = w.audit(AuditOptions{Read: 1, Repair: true, KeepEdits: true}); r.Audit.HeadersDiffer != 3 || r.Audit.HeadersRepaired != 0 || w.faults["b"].Count(tt.Post) != 0 {
			t.Errorf("%s, edits are kept: %+v %+v", as, r.Audit, r.Findings)
		}
		r = w.audit(AuditOptions{Read: 1, Repair: true})
		if r.Audit.HeadersDiffer != 3 || r.Audit.HeadersRepaired != 3 || r.Counts[report.KindDegraded] != 0 || r.Counts[report.KindRepaired] != 3 || r.Totals.Metadata != 3 || r.Totals.Copied != 0 {
			t.Errorf("%s, repair: %+v %+v", as, r.Audit, r.Findings)
		}
		w.same("b", "d")
		if o, _, _ := w.mem["b"].Get("c", "large"); o.Header[transport.OriginHeader] == "" {
			t.Error("the repaired copy has no stamp")
		}
		if r = w.audit(AuditOptions{Read: 1}); len(r.Findings) != 0 || r.Audit.HeadersDiffer != 0 {
			t.Errorf("%s, after: %+v", as, r.Findings)
		}
		if r := w.sync(); r.Totals.Metadata+r.Totals.Copied != 0 {
			t.Errorf("%s: the next pass had to do %+v", as, r.Totals)
		}
		w.restart()
	}
}

// What others wrote and Farshore adopted is reported and left as it is.
func TestAuditLeavesHeadersOfAdoptedObjects(t *testing.T) {
	w := newWorld(t, "b")
	w.put("same", 1, 100, nil)
	w.put("other", 2, 100, nil)
	if err := w.mem["b"].CreateContainer(t.Context(), "c", nil); err != nil {
		t.Fatal(err)
	}
	w.mem["b"].Set("c", "same", fill(1, 100), transport.Header{"Content-Type": "text/plain", "X-Object-Meta-Seed": "1"})
	w.mem["b"].Set("c", "other", fill(2, 100), transport.Header{"Content-Type": "text/plain", "X-Object-Meta-Mine": "yes"})
	w.sync()
	r := w.audit(AuditOptions{Read: 1, Repair: true})
	one(t, r, report.KindDegraded, report.Warn, "b", "other", "(X-Object-Meta-Mine, X-Object-Meta-Seed)")
	if r.Audit.HeadersRepaired != 0 {
		t.Errorf("%+v", r.Audit)
	}
	if o, _, _ := w.mem["b"].Get("c", "other"); o.Header["X-Object-Meta-Mine"] != "yes" {
		t.Error("headers that are not ours were changed")
	}
	w.policy.Takeover = true
	w.clean(w.audit(AuditOptions{Read: 1, Repair: true}))
	w.same("b")
}

// An edit of headers that travels back is no difference on either way.
func TestAuditOfHeadersBothWays(t *testing.T) {
	w := newWorld(t, "b")
	w.put("x", 1, 100, nil)
	w.sync()
	w.edit("b", "x", "at b")
	back := policies.NewPolicy("back", "b", "a")
	back.Containers = []string{"c"}
	back.Bidirectional, w.policy.Bidirectional = true, true
	if _, err := w.try(back, SyncOptions{}); err != nil || w.value("a", "x") != "at b" {
		t.Fatal(err)
	}
	for range 2 {
		if r := w.audit(AuditOptions{Read: 1, Repair: true}); len(r.Findings) != 0 && r.Counts[report.KindUnrecorded] != int64(len(r.Findings)) {
			t.Errorf("%+v", r.Findings)
		}
		w.sync()
	}
}
