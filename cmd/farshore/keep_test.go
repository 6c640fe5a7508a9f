package main

import (
	"path/filepath"
	"testing"
	"time"

	"farshore/replicator/daemon"
	"farshore/replicator/report"
	"farshore/store"
)

// What is only information is kept for the page and told nobody; what comes with it is told
// without it.
func TestInformationIsNotTold(t *testing.T) {
	l, err := store.Open(filepath.Join(t.TempDir(), "ledger.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var told []report.Event
	d := &service{page: &wall{runs: newRuns(l)}, hear: []func(report.Event){func(e report.Event) { told = append(told, e) }}}
	info, warn := report.Finding{Kind: "unrecorded-source", Level: report.Info, Name: "a"}, report.Finding{Kind: "region-down", Level: report.Warn, Region: "lyon"}
	d.keep("photos", lastRun{Kind: daemon.Audit, Began: time.Now()}, []report.Finding{info})
	if r, _, err := d.page.runs.get("photos", daemon.Audit); err != nil || len(r.Findings) != 1 || len(told) != 0 {
		t.Errorf("%d findings kept, %d events told, %v", len(r.Findings), len(told), err)
	}
	d.keep("docs", lastRun{Kind: daemon.Audit, Began: time.Now()}, []report.Finding{info, warn})
	if len(told) != 1 || len(told[0].Findings) != 1 || told[0].Findings[0].Kind != "region-down" || told[0].More != 0 {
		t.Errorf("%+v", told)
	}
}
