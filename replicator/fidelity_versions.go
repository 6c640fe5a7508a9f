package replicator

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"farshore/replicator/report"
	"farshore/transport"
)

// versionsAtOnce is how many versions of the source are compared together, those of a
// single name that has more aside.
const versionsAtOnce = 2000

// keepsHistory reports whether a container keeps older versions beside its objects, or did.
func keepsHistory(c transport.ContainerInfo) bool { return c.Header["X-Versions-Enabled"] != "" }

// versions compares the histories of all names: how many versions, in which order, and
// the headers of the older ones. The current ones are compared as objects.
func (x *certJob) versions(ctx context.Context) error {
	var pending []transport.VersionEntry
	after := ""
	flush := func(n int, end bool) error {
		last := ""
		if !end {
			last = pending[n-1].Name
		}
		for _, d := range x.p.dests {
			if d.dead.Load() {
				continue
			}
			if err := x.histories(ctx, d, after, last, pending[:n]); err != nil {
				return err
			}
		}
		pending, after = append([]transport.VersionEntry{}, pending[n:]...), last
		return nil
	}
	var failed error
	err := x.p.src.Versions(ctx, x.p.job.From.Container, transport.Range{Prefix: x.p.job.From.Prefix}, func(page []transport.VersionEntry) error {
		for _, v := range page {
			if n := len(pending); n >= versionsAtOnce && pending[n-1].Name != v.Name {
				if failed = flush(n, false); failed != nil {
					return failed
				}
			}
			pending = append(pending, v)
		}
		return nil
	})
	switch {
	case failed != nil:
		return failed
	case err != nil && (ctx.Err() != nil || !regionTrouble(err)):
		return err
	case err != nil:
		x.unseen.Add(1)
		x.failed(x.p.job.From.Region, x.p.job.From.Container, "", err)
		return nil
	}
	return flush(len(pending), true)
}

// histories compares the source's versions of the names in (after, last] with a
// destination's; last "" is the end.
func (x *certJob) histories(ctx context.Context, d *dest, after, last string, source []transport.VersionEntry) error {
	there := map[string][]transport.VersionEntry{}
	r := transport.Range{Prefix: d.side.Prefix}
	if last != "" {
		r.Through = x.p.destName(d, last)
	}
	if after != "" {
		r.After = x.p.destName(d, after)
	}
	err := d.ep.Versions(ctx, d.side.Container, r, func(page []transport.VersionEntry) error {
		for _, v := range page {
			there[v.Name] = append(there[v.Name], v)
		}
		return nil
	})
	if err != nil {
		if gone, err := x.lost(ctx, d, "", err); !gone || err != nil {
			return err
		}
	}
	for len(source) > 0 {
		n := 1
		for n < len(source) && source[n].Name == source[0].Name {
			n++
		}
		if err := x.history(ctx, d, source[:n], there[x.p.destName(d, source[0].Name)]); err != nil {
			return err
		}
		delete(there, x.p.destName(d, source[0].Name))
		source = source[n:]
	}
	for _, name := range slices.Sorted(maps.Keys(there)) {
		if err := x.extraHistory(d, name, there[name]); err != nil {
			return err
		}
	}
	return nil
}

// history compares the versions of one name, newest first at both ends.
func (x *certJob) history(ctx context.Context, d *dest, source, there []transport.VersionEntry) error {
	r := x.rows(d, itemVersion, source[0].Name)
	why := ""
	if len(source) != len(there) {
		why = "there is another number of versions"
	} else {
		for i := range source {
			if a, b := source[i], there[i]; a.Marker != b.Marker || !a.Marker && (a.ETag != b.ETag || a.Size != b.Size) {
				why = fmt.Sprintf("version %d of %d, from the oldest, is another", len(source)-i, len(source))
			}
		}
	}
	if why != "" {
		r.add("versions", report.Cannot, why, versionsText(source), versionsText(there))
		return x.emit(r)
	}
	r.add("versions", report.Kept, "", "", "")
	if err := x.emit(r); err != nil {
		return err
	}
	for i := range source {
		if source[i].Latest || source[i].Marker {
			continue
		}
		if err := x.older(ctx, d, source[i], there[i]); err != nil {
			return err
		}
	}
	return nil
}

func versionsText(list []transport.VersionEntry) string {
	markers := 0
	for _, v := range list {
		if v.Marker {
			markers++
		}
	}
	return fmt.Sprintf("%d versions, %d delete markers", len(list)-markers, markers)
}

// older compares the headers of an older version.
func (x *certJob) older(ctx context.Context, d *dest, source, there transport.VersionEntry) error {
	a, err := x.p.src.HeadVersion(ctx, x.p.job.From.Container, source.Name, source.ID)
	if transport.Is(err, transport.NotFound) {
		return nil
	}
	if err != nil {
		if ctx.Err() != nil || !regionTrouble(err) {
			return err
		}
		x.unseen.Add(1)
		x.failed(x.p.job.From.Region, x.p.job.From.Container, source.Name, err)
		return nil
	}
	r := x.rows(d, itemVersion, source.Name)
	r.like.Version = source.ID
	b, err := d.ep.HeadVersion(ctx, d.side.Container, r.like.Name, there.ID)
	if err != nil {
		gone, err := x.lost(ctx, d, r.like.Name, err)
		if gone {
			r.add("content", report.Cannot, "this version is not there any more", "", "")
			return x.emit(r)
		}
		return err
	}
	if a.Kind == b.Kind {
		r.add("kind", report.Kept, "", "", "")
	} else {
		r.add("kind", report.Cannot, "it is of another kind there", string(a.Kind), string(b.Kind))
	}
	if err := x.headers(ctx, r, d, a.Header, b.Header); err != nil {
		_, err = x.lost(ctx, d, r.like.Name, err)
		return err
	}
	return x.emit(r)
}
