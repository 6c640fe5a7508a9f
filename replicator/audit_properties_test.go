package replicator

import (
	"strings"
	"testing"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/transport"
	tt "farshore/transport/transporttest"
)

const cors, web = "X-Container-Meta-Access-Control-Allow-Origin", "X-Container-Meta-Web-Index"

// found counts the findings of a kind and level about a region's container that name all of the texts.
func found(r report.Result, kind string, level report.Level, region string, texts ...string) (n int) {
	for _, f := range r.Findings {
		all := f.Kind == kind && f.Level == level && f.Region == region && f.Name == ""
		for _, x := range texts {
			all = all && strings.Contains(f.Cause, x)
		}
		if all {
			n++
		}
	}
	return n
}

// What was changed at a destination's container is found and set again; what others only
// set there stays, and a pass after that has nothing to do.
func TestAuditOfContainerProperties(t *testing.T) {
	w := newWorld(t, "b", "d")
	all := transport.Header{colour: "red", cors: "*", web: "i.html", readACL: ".r:*", quota: "100000"}
	w.postProps("a", all)
	w.put("x", 1, 10, nil)
	w.sync()
	w.forget()
	if r := w.audit(AuditOptions{}); len(r.Findings) != 0 || w.faults["b"].Count(tt.Container) != 1 {
		t.Fatalf("as they were carried: %+v, %d HEADs", r.Findings, w.faults["b"].Count(tt.Container))
	}
	w.postProps("b", transport.Header{colour: "blue", readACL: ".r:*,.rlistings", "X-Container-Meta-Theirs": "1"}, cors, quota)
	r := w.audit(AuditOptions{})
	for n, there := range map[string]string{colour: `"blue", at the source "red"`, readACL: ".rlistings", cors: `"", at the source "*"`, quota: "100000"} {
		if found(r, report.KindDegraded, report.Warn, "b", n, there) != 1 {
			t.Errorf("%s: %+v", n, r.Findings)
		}
	}
	if found(r, report.KindForeignProperty, report.Info, "b", "Theirs") != 1 || r.Audit.PropertiesDiffer != 4 || r.Audit.PropertiesRepaired != 0 || len(r.Findings) != 5 || r.Errors != 0 {
		t.Errorf("%+v %+v", r.Audit, r.Findings)
	}
	for _, region := range []string{"a", "b", "d"} {
		for _, call := range w.faults[region].Calls() {
			if call.Writes() {
				t.Errorf("an audit without repair wrote: %s %+v", region, call)
			}
		}
	}
	if r := w.audit(AuditOptions{Repair: true, KeepEdits: true}); r.Counts[report.KindDegraded] != 4 || r.Audit.PropertiesRepaired != 0 || r.Totals.Properties != 0 {
		t.Errorf("edits are kept: %+v %+v", r.Audit, r.Findings)
	}
	w.forget()
	r = w.audit(AuditOptions{Repair: true})
	if r.Audit.PropertiesRepaired != 4 || r.Counts[report.KindRepaired] != 4 || r.Totals.Properties != 4 || w.faults["b"].Count(tt.PostContainer) != 1 || w.faults["d"].Count(tt.PostContainer) != 0 {
		t.Errorf("repair: %+v %+v", r.Audit, r.Findings)
	}
	all["X-Container-Meta-Theirs"] = "1"
	w.wantProps("b", all)
	if r := w.sync(); r.Totals.Properties != 0 {
		t.Errorf("the pass after the repair: %+v", r.Totals)
	}
	w.postProps("a", transport.Header{colour: "green"})
	if r := w.audit(AuditOptions{Repair: true}); found(r, report.KindUnrecorded, report.Info, "b", colour) != 1 || r.Audit.PropertiesRepaired != 0 {
		t.Errorf("changed at the source since: %+v", r.Findings)
	}
	w.sync()
	all[colour] = "green"
	w.wantProps("b", all)
	w.restart()
}

// What changed at both ends is a conflict, which only a takeover ends; where there is a
// direction back, an edit is that one's to carry.
func TestAuditLeavesEditsOfPropertiesToWhomTheyBelong(t *testing.T) {
	w := newWorld(t, "b")
	w.postProps("a", transport.Header{colour: "red"})
	w.put("x", 1, 10, nil)
	w.sync()
	w.postProps("a", transport.Header{colour: "green"})
	w.postProps("b", transport.Header{colour: "blue"})
	if r := w.audit(AuditOptions{Repair: true}); found(r, report.KindConflict, report.Error, "b", colour, `"blue"`) != 1 || r.Audit.PropertiesRepaired != 0 {
		t.Errorf("changed at both ends: %+v", r.Findings)
	}
	w.wantProps("b", transport.Header{colour: "blue"})
	w.policy.Takeover = true
	if r := w.audit(AuditOptions{Repair: true}); r.Errors != 0 || r.Audit.PropertiesRepaired != 1 {
		t.Errorf("taken over: %+v", r.Findings)
	}
	w.wantProps("b", transport.Header{colour: "green"})

	w = newWorld(t, "b")
	w.postProps("a", transport.Header{colour: "red"})
	w.put("x", 1, 10, nil)
	w.sync()
	back := policies.NewPolicy("back", "b", "a")
	back.Containers = []string{"c"}
	if _, err := w.try(back, SyncOptions{}); err != nil {
		t.Fatal(err)
	}
	w.postProps("b", transport.Header{colour: "blue"})
	if r := w.audit(AuditOptions{Repair: true}); r.Audit.PropertiesDiffer != 0 || r.Errors != 0 {
		t.Errorf("with a direction back: %+v", r.Findings)
	}
	if _, err := w.try(back, SyncOptions{}); err != nil {
		t.Fatal(err)
	}
	w.wantProps("a", transport.Header{colour: "blue"})
}

// A property that the region will not take again is no silent success.
func TestRepairOfPropertiesThatFails(t *testing.T) {
	w := newWorld(t, "b")
	w.postProps("a", transport.Header{colour: "red"})
	w.put("x", 1, 10, nil)
	w.sync()
	w.postProps("b", nil, colour)
	w.faults["b"].Add(tt.PostContainer, tt.Fail(transport.Denied).On("c", ""))
	if r := w.audit(AuditOptions{Repair: true}); r.Audit.PropertiesRepaired != 0 || r.Counts[report.KindFailed] != 1 || r.Errors != 1 {
		t.Errorf("refused: %+v", r.Findings)
	}
	w.restart()
	if r := w.audit(AuditOptions{Repair: true}); r.Audit.PropertiesRepaired != 1 || r.Errors != 0 {
		t.Errorf("after that: %+v", r.Findings)
	}
	w.wantProps("b", transport.Header{colour: "red"})
}

// A container that is gone is found although it held nothing, and made again as it was.
func TestAuditOfALostContainer(t *testing.T) {
	w := newWorld(t, "b")
	w.postProps("a", transport.Header{colour: "red"})
	w.sync()
	w.mem["b"].RemoveContainer("c")
	if r := w.audit(AuditOptions{}); found(r, report.KindMissing, report.Error, "b", "container is gone") != 1 {
		t.Errorf("%+v", r.Findings)
	}
	w.clean(w.audit(AuditOptions{Repair: true}))
	w.wantProps("b", transport.Header{colour: "red"})
	if r := w.audit(AuditOptions{}); len(r.Findings) != 0 {
		t.Errorf("after the repair: %+v", r.Findings)
	}
}

// A destination that stopped keeping versions would lose them with the next pass.
func TestAuditOfHowVersionsAreKept(t *testing.T) {
	w := newVersioned(t, "b")
	w.write("a", "n", "one", nil)
	w.write("a", "n", "two", nil)
	w.sync()
	w.postProps("b", transport.Header{versionsHeader: "false"})
	if r := w.audit(AuditOptions{}); found(r, report.KindDegraded, report.Error, "b", "keeps no versions") != 1 || r.Errors != 1 {
		t.Errorf("%+v", r.Findings)
	}
	if r := w.audit(AuditOptions{Repair: true}); r.Errors != 0 || r.Audit.PropertiesRepaired != 1 {
		t.Errorf("%+v", r.Findings)
	}
	w.write("a", "n", "three", nil)
	w.sync()
	w.alikeHistories("b")

	w.mem["b"].RemoveContainer("c")
	if r := w.audit(AuditOptions{Repair: true}); r.Errors != 0 {
		t.Errorf("a lost container: %+v", r.Findings)
	}
	w.alikeHistories("b")

	for _, h := range archiveHeaders {
		w := archived(t, h, nil)
		w.sync()
		w.postProps("b", nil, h)
		if r := w.audit(AuditOptions{}); found(r, report.KindDegraded, report.Warn, "b", h) != 1 {
			t.Errorf("%s: %+v", h, r.Findings)
		}
		if r := w.audit(AuditOptions{Repair: true}); r.Errors != 0 || r.Audit.PropertiesRepaired != 1 {
			t.Errorf("%s: %+v", h, r.Findings)
		}
		w.sameArchives(h)
		w.mem["b"].Remove("old", w.mem["b"].Names("old")[0]) // an old version
		if r := w.audit(AuditOptions{}); r.Audit.Missing != 1 || r.Replicas.Satisfied {
			t.Errorf("%s: %+v", h, r.Findings)
		}
		w.clean(w.audit(AuditOptions{Repair: true}))
		w.sameArchives(h)
	}
}
