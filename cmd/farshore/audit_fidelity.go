package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"farshore/policies"
	"farshore/replicator"
	"farshore/replicator/report"
	"farshore/transport"
)

// runFidelity writes the fidelity certificate. It needs no ledger: what it says comes
// from both regions.
func runFidelity(ctx context.Context, o *auditOptions, w *work, read policies.Share, c *console) error {
	var out io.Writer
	closing := func() error { return nil }
	if c.json {
		out, c.lines = c.stdout, true
	}
	if o.Output != "" {
		f, err := c.create(o.Output, 0o600)
		if err != nil {
			return &hintError{op: "open output", item: o.Output, err: err, hint: "name a file that can be written"}
		}
		out, c.lines, closing = f, false, f.Close
	}
	opts := replicator.FidelityOptions{Read: float64(read), Seed: o.Seed}
	var b *bufio.Writer
	if out != nil {
		b = bufio.NewWriterSize(out, 64<<10)
		e := json.NewEncoder(b)
		e.SetEscapeHTML(false)
		opts.Row = func(r report.FidelityRow) error {
			if err := e.Encode(r); err != nil {
				return fmt.Errorf("write a row of the certificate: %w", err)
			}
			return nil
		}
	}
	err := eachPolicy(ctx, w, c, lookAt(w.ledger), duty{command: "audit", objects: func(ctx context.Context, e *replicator.Engine, p policies.Policy, jobs []replicator.Job) (report.Result, error) {
		return e.Fidelity(ctx, p, jobs, opts)
	}}, showFidelity)
	if b == nil {
		return err
	}
	if werr := errors.Join(b.Flush(), closing()); werr != nil {
		return worse(err, &hintError{op: "write output", item: o.Output, err: werr, hint: "make room, and run it again"})
	}
	return err
}

// showFidelity prints the totals of a certificate.
func showFidelity(c *console, r report.Result) {
	f := r.Fidelity
	if f == nil {
		return
	}
	of := []string{count(f.Objects, "object")}
	for _, x := range []struct {
		n    int64
		noun string
	}{{f.Versions, "history entry"}, {f.Containers, "container"}, {f.Accounts, "account"}} {
		if x.n > 0 {
			of = append(of, count(x.n, x.noun))
		}
	}
	c.say("%s: %s of %s compared", transport.PrintName(r.Policy), count(f.Rows, "property"), strings.Join(of, ", "))
	c.say("  %s kept, %s mapped, %s cannot be kept or are not the same", humanize.Comma(f.Kept), humanize.Comma(f.Mapped), humanize.Comma(f.Cannot))
	if f.Extra > 0 {
		c.say("  %s only at destinations: copies of what was deleted at the source, and what others wrote", count(f.Extra, "object"))
	}
	if f.Read > 0 {
		c.say("  bytes compared: %s, %s read", count(f.Read, "copy"), size(f.ReadBytes))
	}
	by := sortedNames(f.CannotBy)
	slices.SortStableFunc(by, func(a, b string) int { return int(f.CannotBy[b] - f.CannotBy[a]) })
	for _, name := range by[:min(len(by), 10)] {
		c.say("    %s %s", humanize.Comma(f.CannotBy[name]), transport.PrintName(name))
	}
	c.say("  never kept: %s", f.Never)
}
