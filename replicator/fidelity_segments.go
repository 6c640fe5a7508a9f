package replicator

import (
	"context"
	"fmt"

	"farshore/replicator/report"
	"farshore/transport"
)

// segments compares what a dynamic large object consists of at both ends: the listings
// under its prefix are its content (S5). They are read side by side, a page at a time.
func (x *certJob) segments(ctx context.Context, r *rows, d *dest, name, value string) error {
	container, prefix, err := splitPath(transport.ManifestHeader, value)
	if err != nil {
		r.add("segments", report.Cannot, err.Error(), "", "")
		return nil
	}
	c := &dlo{x: x, d: d, container: x.p.alongName(d, container), prefix: prefix}
	if c.container == d.side.Container {
		c.self = r.like.Name
	}
	err = x.p.src.List(ctx, container, transport.Range{Prefix: prefix}, func(page []transport.Entry) error {
		var rows []transport.Entry
		for _, e := range page {
			if container != x.p.job.From.Container || e.Name != name {
				rows = append(rows, e)
			}
		}
		if len(rows) == 0 {
			return nil
		}
		return c.stretch(ctx, rows, rows[len(rows)-1].Name)
	})
	if err == nil || transport.Is(err, transport.NotFound) { // the source's container is missing
		err = c.stretch(ctx, nil, "")
	}
	if err != nil {
		return err
	}
	if c.why != "" {
		r.add("segments", report.Cannot, c.why, c.source.String(), c.there.String())
	} else {
		r.add("segments", report.Kept, "", "", "")
	}
	return nil
}

// dlo is the comparison of one dynamic large object's segments.
type dlo struct {
	x                 *certJob
	d                 *dest
	container, prefix string // at the destination
	self              string // the manifest itself, if it lies among them
	after             string
	source, there     segmentCount
	why               string // the first difference
}

type segmentCount struct{ n, bytes int64 }

func (c segmentCount) String() string { return fmt.Sprintf("%d segments, %d bytes", c.n, c.bytes) }

func (c *segmentCount) add(e transport.Entry) { c.n, c.bytes = c.n+1, c.bytes+e.Size }

func (c *dlo) differ(name, what string) {
	if c.why == "" {
		c.why = "segment " + transport.PrintName(name) + " " + what
	}
}

// stretch compares the segments up to through, of which the source has those given; ""
// is the end.
func (c *dlo) stretch(ctx context.Context, source []transport.Entry, through string) error {
	i := 0
	upTo := func(name string) { // what the source has before name is missing there
		for ; i < len(source) && (name == "" || source[i].Name < name); i++ {
			c.source.add(source[i])
			c.differ(source[i].Name, "is missing there")
		}
	}
	err := c.d.ep.List(ctx, c.container, transport.Range{Prefix: c.prefix, After: c.after, Through: through}, func(page []transport.Entry) error {
		for _, e := range page {
			if e.Name == c.self {
				continue
			}
			upTo(e.Name)
			c.there.add(e)
			if i == len(source) || source[i].Name != e.Name {
				c.differ(e.Name, "is not at the source")
				continue
			}
			c.source.add(source[i])
			// a large one may be segmented there, whose ETag is another
			if s := source[i]; s.Size != e.Size || s.ETag != e.ETag && !(e.Kind == transport.SLO && s.Kind != transport.SLO) {
				c.differ(e.Name, "is another there")
			}
			i++
		}
		return nil
	})
	if err != nil && !transport.Is(err, transport.NotFound) {
		return err
	}
	upTo("")
	c.after = through
	return nil
}
