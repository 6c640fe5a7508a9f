package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"farshore/transport"
	"farshore/transport/cinder"
	"farshore/transport/region"
	"farshore/transport/swift"
)

// blockResult is what region check says of a region's block storage in JSON.
type blockResult struct {
	URL         string              `json:"url"`
	API         string              `json:"api_version"` // the highest microversion; "": not said
	Source      *bool               `json:"can_be_source"`
	Destination *bool               `json:"can_be_destination"`
	Placement   transport.Placement `json:"placement"`
	Why         string              `json:"placement_reason"`
	Import      importResult        `json:"import"`
	Quotas      *blockQuotas        `json:"quotas"`
	Types       []blockType         `json:"volume_types"`
	Token       float64             `json:"token_seconds"`
	Largest     int                 `json:"largest_volume_gib"`
	Backup      float64             `json:"probe_backup_seconds"`
	Left        []string            `json:"left_behind"`
	Checks      []swift.Check       `json:"checks"`
}

type importResult struct {
	Allowed transport.Answer `json:"allowed"`
	By      string           `json:"by"` // the entry of clouds.yaml
	Rule    string           `json:"missing_rule"`
	Project string           `json:"project"`
}

type blockType struct {
	Name      string           `json:"name"`
	Default   bool             `json:"default"`
	Encrypted transport.Answer `json:"encrypted"`
}

type blockQuotas struct {
	Volumes         quotaResult `json:"volumes"`
	Gigabytes       quotaResult `json:"gigabytes"`
	Snapshots       quotaResult `json:"snapshots"`
	Backups         quotaResult `json:"backups"`
	BackupGigabytes quotaResult `json:"backup_gigabytes"`
}

type quotaResult struct {
	Limit int `json:"limit"` // -1: none
	Used  int `json:"used"`
}

// guessedPace is how long a backup takes a GiB where nothing better is known (L10): a
// probe's volume is empty, so it can be slower than that and says little if it is faster.
const guessedPace = 30 * time.Second

// checkBlocks finds out about a region's block storage. It changes nothing but, with
// probe, what ProbePlacement makes and deletes again, and that only where existing
// backups do not tell. nil: the region has none. The error is of a context that has ended.
func checkBlocks(ctx context.Context, l *links, name string, probe bool, c *console) (*blockResult, error) {
	if err := l.openBlocks(name); errors.Is(err, region.ErrNoService) {
		return nil, nil
	} else if err != nil {
		return &blockResult{Placement: transport.PlacedUnknown, Import: importResult{Allowed: transport.Unknown}, Types: []blockType{}, Left: []string{},
			Checks: []swift.Check{{Name: "block-storage", Answer: transport.No, Detail: err.Error()}}}, nil
	}
	b := l.blocks[name]
	id, err := b.Identity(ctx)
	if err != nil {
		return nil, err
	}
	out := &blockResult{Types: []blockType{}, Left: []string{}, URL: id.URL, Placement: transport.PlacedUnknown, Import: importResult{Allowed: transport.Unknown, Project: id.Project, By: l.want[name].Cloud}}
	if raw, err := cinder.New(l.open[name], cinder.Options{}); err == nil {
		_, out.API, _ = raw.Versions(ctx) // of interest only
	}
	volumes, err := b.Volumes(ctx)
	if !out.note("block-storage", err) {
		return out, context.Cause(ctx)
	}
	for _, v := range volumes {
		out.Largest = max(out.Largest, v.Size)
	}
	if q, err := b.Quotas(ctx); out.note("volume-quotas", err) {
		out.Quotas = &blockQuotas{quotaResult(q.Volumes), quotaResult(q.Gigabytes), quotaResult(q.Snapshots), quotaResult(q.Backups), quotaResult(q.BackupGigabytes)}
	}
	if types, err := b.VolumeTypes(ctx); out.note("volume-types", err) {
		for _, t := range types {
			out.Types = append(out.Types, blockType{t.Name, t.Default, t.Encrypted})
		}
	}
	out.place(ctx, l, name, probe, c)
	out.mayImport(ctx, l, name)
	out.token(ctx, b)
	out.judge()
	return out, context.Cause(ctx)
}

// note records a check that is good if there was no error.
func (r *blockResult) note(name string, err error) bool {
	switch {
	case err == nil:
		r.add(name, transport.Yes, "")
	case slices.Contains([]transport.Class{transport.Transient, transport.Throttled, transport.Canceled}, transport.ClassOf(err)):
		r.add(name, transport.Unknown, err.Error())
	default:
		r.add(name, transport.No, err.Error())
	}
	return err == nil
}

func (r *blockResult) add(name string, a transport.Answer, detail string) {
	r.Checks = append(r.Checks, swift.Check{Name: name, Answer: a, Detail: detail})
}

// place finds out where the region's backups are (R20).
func (r *blockResult) place(ctx context.Context, l *links, name string, probe bool, c *console) {
	found, err := transport.FindPlacement(ctx, l.blocks[name], l.sinks[name])
	if err == nil && found.Where == transport.PlacedUnknown && probe {
		var tried transport.PlacementProbe
		tried, err = transport.ProbePlacement(ctx, l.blocks[name], l.sinks[name], nil, func(step string) { c.logger().Info("probing block storage", "region", name, "step", step) })
		found, r.Backup, r.Left = tried.Placed, tried.Took.Seconds(), append(r.Left, tried.Left...)
	}
	if err != nil {
		r.Why = err.Error()
		r.add("backup-objects", transport.Unknown, r.Why)
		return
	}
	r.Placement, r.Why = found.Where, found.Why
	switch found.Where {
	case transport.PlacedPerUser:
		r.add("backup-objects", transport.Yes, found.Why)
	case transport.PlacedUnknown:
		r.add("backup-objects", transport.Unknown, found.Why+"; --probe makes one")
	default:
		r.add("backup-objects", transport.No, found.Why)
	}
}

// mayImport finds out who may import records (R21).
func (r *blockResult) mayImport(ctx context.Context, l *links, name string) {
	if cloud := l.want[name].ImportCloud; cloud != "" {
		r.Import.By = cloud
	}
	l.openImports(ctx, name)
	if err := l.importErrs[name]; err != nil {
		r.add("import-login", transport.No, strings.TrimSuffix(err.Error()+"; "+transport.HintOf(err), "; "))
		return
	}
	rights, err := l.imports[name].ImportRights(ctx)
	if err != nil {
		r.note("import-records", err)
		return
	}
	r.Import.Allowed, r.Import.Rule, r.Import.Project = rights.Allowed, rights.Rule, rights.Project
	detail := "by the login of cloud " + r.Import.By
	if rights.Allowed == transport.No {
		detail = fmt.Sprintf("Cinder's policy rule %s denies it to the login of cloud %s: have an admin allow it to one of its roles, or name a login that may as import_cloud", rights.Rule, r.Import.By)
	}
	r.add("import-records", rights.Allowed, detail)
}

// token compares how long a token lives with how long a backup or restore of the
// largest volume takes, which cannot outlive it (R19).
func (r *blockResult) token(ctx context.Context, b transport.BlockStorage) {
	ends, err := b.Renew(ctx)
	if err != nil {
		r.note("token-life", err)
		return
	}
	life := time.Until(ends)
	r.Token = life.Round(time.Second).Seconds()
	pace := max(guessedPace, time.Duration(r.Backup*float64(time.Second)))
	need := time.Duration(r.Largest) * pace
	answer, detail := transport.Yes, ""
	if r.Largest > 0 {
		detail = fmt.Sprintf("it lives %s, and the largest volume, %d GiB, takes about %s", life.Round(time.Minute), r.Largest, need.Round(time.Minute))
	}
	if need > life {
		answer = transport.No
	}
	r.add("token-life", answer, detail)
}

// judge says what can be done with volumes here, as far as it is known.
func (r *blockResult) judge() {
	yes, no := true, false
	switch r.Placement {
	case transport.PlacedPerUser:
		r.Source = &yes
		switch r.Import.Allowed {
		case transport.Yes:
			r.Destination = &yes
		case transport.No:
			r.Destination = &no
		}
	case transport.PlacedSingleUser, transport.PlacedElsewhere:
		r.Source, r.Destination = &no, &no
	}
}

// blockWords says what the answers mean for the work, as inWords.
func blockWords() map[string][2]string {
	return map[string][2]string{
		"block-storage":  {"volumes can be seen", "volumes cannot be seen"},
		"volume-quotas":  {"the quotas can be seen", "the quotas cannot be seen: whether a point or a restore fits is found out when it is made"},
		"volume-types":   {"volume types can be listed", "volume types cannot be listed: whether a restore's type exists is found out when it is made"},
		"backup-objects": {"backups of volumes are stored in this account: volumes can be shipped", "backups of volumes are not stored in this account: volumes cannot be shipped from or to here"},
		"import-records": {"backup records may be imported: restore points land by themselves", "backup records may not be imported: restore points arrive, and land when somebody who may runs farshore points land"},
		"import-login":   {"the login of import_cloud works", "the login of import_cloud cannot be used"},
		"token-life":     {"a token outlives the backup and restore of any volume here", "a backup or restore of the largest volume may take longer than its token lives, and then fails: have the operator lengthen it"},
	}
}

func showBlocks(c *console, r *blockResult) {
	if r == nil {
		c.say("  no block storage: volumes cannot be shipped from or to here")
		return
	}
	if r.URL != "" {
		api := ""
		if r.API != "" {
			api = ", API up to " + r.API
		}
		c.say("  block storage %s%s", r.URL, api)
	}
	showChecks(c, r.Checks, blockWords())
	if q := r.Quotas; q != nil {
		of := func(what string, a quotaResult) string {
			if a.Limit < 0 {
				return fmt.Sprintf("%s %d of any number", what, a.Used)
			}
			return fmt.Sprintf("%s %d of %d", what, a.Used, a.Limit)
		}
		c.say("  quotas: %s, %s, %s, %s, %s", of("volumes", q.Volumes), of("gigabytes", q.Gigabytes), of("snapshots", q.Snapshots),
			of("backups", q.Backups), of("backup gigabytes", q.BackupGigabytes))
	}
	if len(r.Types) > 0 {
		names := make([]string, len(r.Types))
		for i, t := range r.Types {
			names[i] = transport.PrintName(t.Name)
			if t.Default {
				names[i] += " (default)"
			}
			if t.Encrypted == transport.Yes {
				names[i] += " (encrypted)"
			}
		}
		c.say("  volume types: %s", strings.Join(names, ", "))
	}
	for _, left := range r.Left {
		c.say("  left behind; an admin removes it: %s", left)
	}
}
