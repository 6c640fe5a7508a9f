package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"farshore/policies"
	"farshore/replicator/daemon"
	"farshore/replicator/report"
	"farshore/replicator/webhook"
	"farshore/transport"
)

// newHooks makes what tells webhooks of events.
func newHooks(s *session, log *slog.Logger) *webhook.Sender {
	host, _ := os.Hostname() // none is none
	return webhook.New(webhook.Options{Memory: s.ledger, Log: log, From: webhook.Origin{Host: host, Version: version, Ledger: s.path}})
}

// hooksOf reads the addresses and secrets of a policy file's webhooks.
func hooksOf(f *policies.File) ([]webhook.Target, error) {
	var out []webhook.Target
	if f == nil {
		return out, nil
	}
	for i, w := range f.Webhooks {
		t, err := hookOf(f, w)
		if err != nil {
			return nil, usagef("the user that farshore runs as must be able to read the file, and a relative path is beside the policy file", "webhooks[%d] of %s: %v", i, f.Name, err)
		}
		t.Name = fmt.Sprintf("webhooks[%d]", i)
		for _, before := range out {
			if before.URL.String() == t.URL.String() {
				return nil, usagef("give one of them all events", "webhooks[%d] of %s: another one has the same address", i, f.Name)
			}
		}
		out = append(out, t)
	}
	return out, nil
}

func hookOf(f *policies.File, w policies.Webhook) (webhook.Target, error) {
	t := webhook.Target{Slack: w.Format == policies.FormatSlack}
	for _, e := range w.Events {
		t.Events = append(t.Events, report.EventKind(e))
	}
	address := w.URL
	if w.URLFile != "" {
		text, err := smallFile(f, w.URLFile)
		if err != nil {
			return t, err
		}
		address = string(text)
	}
	var err error
	if t.URL, err = policies.CheckWebhookURL(address, w.AllowHTTP); err != nil {
		return t, fmt.Errorf("the URL in %s %w", w.URLFile, err)
	}
	if w.SecretFile != "" {
		t.Secret, err = smallFile(f, w.SecretFile)
	}
	return t, err
}

// smallFile reads a file of one line, without the space around it.
func smallFile(f *policies.File, path string) ([]byte, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(f.Name), path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	text = bytes.TrimSpace(text)
	if len(text) == 0 || len(text) > 4096 || bytes.ContainsAny(text, "\r\n") {
		return nil, fmt.Errorf("%s must hold one line of at most 4096 bytes", path)
	}
	return text, nil
}

// keep keeps how a run ended, for the page, and tells of what is new in it.
func (d *service) keep(policy string, r lastRun, all []report.Finding) {
	fresh, err := d.page.runs.put(policy, r, all)
	if err != nil {
		d.quiet.Error("cannot keep what a run found", "policy", policy, "err", err)
	}
	// Information asks nobody to do anything: it is on the page and in the log.
	fresh = slices.DeleteFunc(fresh, func(f report.Finding) bool { return f.Level == report.Info })
	if len(fresh) == 0 {
		return
	}
	worst := worst(fresh)
	e := report.Event{Kind: report.EventFinding, ID: runID(policy, r.Kind, r.Began), At: r.Ended.UTC(), Policy: policy, Run: string(r.Kind), Findings: worst, More: int64(len(fresh) - len(worst))}
	first := worst[0]
	at := joinNames(first.Region, first.Container, first.Name)
	e.Text = fmt.Sprintf("%s: the %s found %s: %s %s: %s", transport.PrintName(policy), r.Kind, count(int64(len(fresh)), "new finding"), first.Kind, at, first.Cause)
	if len(fresh) > 1 {
		e.Text += fmt.Sprintf("; and %d more", len(fresh)-1)
	}
	d.happened(e)
}

func joinNames(names ...string) string {
	var out []string
	for _, n := range names {
		if n != "" {
			out = append(out, transport.PrintName(n))
		}
	}
	return strings.Join(out, "/")
}

// runID is the id of an event about a run.
func runID(policy string, kind daemon.Kind, began time.Time) string {
	return fmt.Sprintf("%s-%s-%d", policy, kind, began.UnixMilli())
}

// audited tells that an audit has ended.
func (d *service) audited(policy string, r report.Result, err error) {
	e := report.Event{Kind: report.EventAudit, ID: runID(policy, daemon.Audit, r.Began), At: time.Now().UTC(), Policy: policy, Audit: &r}
	e.Text = fmt.Sprintf("%s: the audit ended with %s", transport.PrintName(policy), count(r.Errors, "error finding"))
	if says := facts(r); len(says) > 0 {
		e.Text += ": " + strings.Join(says, ", ")
	}
	if err != nil {
		e.Text = fmt.Sprintf("%s: the audit failed: %v", transport.PrintName(policy), err)
	}
	d.happened(e)
}

// drilled tells that a drill has ended.
func (d *service) drilled(policy string, r report.Drill, err error) {
	e := report.Event{Kind: report.EventDrill, ID: runID(policy, daemon.Drill, r.Began), At: time.Now().UTC(), Policy: policy, Drill: &r}
	switch {
	case err != nil:
		e.Text = fmt.Sprintf("%s: the drill failed: %v", transport.PrintName(policy), err)
	case !r.OK:
		e.Text = fmt.Sprintf("the drill FAILED with %s: farshore drill --show %s", count(r.Errors, "error finding"), r.ID)
	default:
		e.Text = "the drill passed: " + drillLine(r)
	}
	d.happened(e)
}
