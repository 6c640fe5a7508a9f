package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"farshore/policies"
	"farshore/transport"
	"farshore/transport/cinder"
)

// What a Cinder is asked at once: few things, each of which makes it work.
const (
	cinderStart = 4
	cinderMost  = 8
)

// openBlocks makes ready the block storage of regions that answered, without asking
// them anything; commands that only copy objects never call it. The error is of a region
// that has none; the others are there all the same.
func (l *links) openBlocks(names ...string) error {
	var failed error
	for _, name := range slices.Sorted(slices.Values(names)) {
		r := l.open[name]
		if r == nil || l.blocks[name] != nil {
			continue
		}
		c, err := cinder.New(r, cinder.Options{})
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		l.blocks[name] = l.retried(name, c)
	}
	return failed
}

func (l *links) retried(name string, c *cinder.Storage) transport.BlockStorage {
	gate := transport.NewLink(transport.LinkOptions{Region: name, Start: cinderStart, Max: cinderMost})
	return transport.RetryBlocks(c, gate, transport.RetryPolicy{Observer: l.observe, Refused: transport.RefusedPatience})
}

// openImports finds the login that imports records into each region: that of its
// import_cloud, or else its own, which may have the right or not (R21). The regions'
// block storage must be open. A region whose login cannot be used is not in imports
// then, and importErrs has the error.
func (l *links) openImports(ctx context.Context, names ...string) {
	for _, name := range slices.Sorted(slices.Values(names)) {
		if l.blocks[name] == nil || l.imports[name] != nil {
			continue
		}
		if l.want[name].ImportCloud == "" {
			l.imports[name] = l.blocks[name]
			continue
		}
		b, err := l.importer(ctx, name, l.want[name])
		if err != nil {
			l.importErrs[name] = err
			continue
		}
		l.imports[name] = b
	}
}

// importer logs in by a region's import_cloud. What it imports becomes its own project's
// (I5, L8), so the project must be the region's.
func (l *links) importer(ctx context.Context, name string, r policies.Region) (transport.BlockStorage, error) {
	r.Cloud, r.Name = r.ImportCloud, name
	wrong := func(err error) error { return fmt.Errorf("log in by import_cloud %s: %w", r.Cloud, err) }
	open, err := login(ctx, r, l.stall, l.observe, l.log)
	if err != nil {
		return nil, wrong(err)
	}
	l.extra = append(l.extra, open)
	c, err := cinder.New(open, cinder.Options{})
	if err != nil {
		return nil, wrong(err)
	}
	mine, err := l.blocks[name].Identity(ctx)
	if err != nil {
		return nil, err
	}
	its, err := c.Identity(ctx)
	if err != nil {
		return nil, wrong(err)
	}
	hint := ""
	switch {
	case its.Project != mine.Project:
		hint = fmt.Sprintf("scope the login of cloud %s to project %s: what it imports becomes its own project's", r.Cloud, mine.Project)
		err = fmt.Errorf("it is of project %s, and the region's own login of project %s", its.Project, mine.Project)
	case its.URL != mine.URL:
		hint = fmt.Sprintf("let clouds %s and %s name the same region and interface", r.Cloud, l.want[name].Cloud)
		err = fmt.Errorf("its block storage is %s, and that of the region's own login %s", its.URL, mine.URL)
	default:
		return l.retried(name, c), nil
	}
	return nil, &transport.Error{Op: "use import_cloud " + r.Cloud, Region: name, Class: transport.Permanent, Err: err, Hint: hint}
}
