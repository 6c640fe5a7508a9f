package replicator

import (
	"cmp"
	"context"
	"errors"
	"io"

	"farshore/replicator/plan"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// Where a container keeps versions, X-Delete-At is the name's: Swift puts it on the link
// that shows the current version, and leaves it out of the version itself. When it has
// passed, the name shows nothing and all versions stay, without a delete marker (S7). An
// older version has one only if it was written while there were no versions.

const expiryHeader = "X-Delete-At"

// openVersion opens a version of the source, the current one without its id, so that its
// expiry is told.
func (p *pass) openVersion(ctx context.Context, x *past, v *store.SeriesVersion, o transport.OpenOptions) (transport.Object, io.ReadCloser, error) {
	if v.Latest {
		obj, rc, err := p.src.Open(ctx, p.job.From.Container, x.name, o)
		switch {
		case err == nil && cmp.Or(obj.Version, plan.NullVersion) == v.ID:
			return obj, rc, nil
		case err == nil && rc != nil:
			_ = rc.Close()
		case transport.Is(err, transport.NotFound):
			x.hide()
		case err != nil && !errors.Is(err, transport.ErrManifest):
			return obj, nil, err
		}
	}
	o.Version = v.ID
	return p.src.Open(ctx, p.job.From.Container, x.name, o)
}

// versionAt describes a version, the current one with its expiry.
func versionAt(ctx context.Context, ep transport.Source, container, name, id string, current bool) (transport.Object, error) {
	if current {
		obj, err := ep.HeadVersion(ctx, container, name, "")
		if err == nil && cmp.Or(obj.Version, plan.NullVersion) == id || err != nil && !transport.Is(err, transport.NotFound) {
			return obj, err
		}
	}
	return ep.HeadVersion(ctx, container, name, id)
}

// hide notes that the source shows nothing under the name, whatever its listing says.
func (x *past) hide() {
	x.hidden = true
	for i := range x.rows {
		if !x.rows[i].Marker {
			x.rows[i].Latest = false
		}
	}
	for i := range x.series.Versions {
		if !x.series.Versions[i].Marker {
			x.series.Versions[i].Latest = false
		}
	}
}

// carryExpiry gives a version that was made the current one at a destination the expiry
// that its name has at the source: a link that was moved has none.
func (p *pass) carryExpiry(ctx context.Context, x *past, s *pastSide) error {
	now, err := versionAt(ctx, p.src, p.job.From.Container, x.name, s.deeds.Current, true)
	if transport.Is(err, transport.NotFound) || err == nil && now.Header[expiryHeader] == "" {
		return nil
	}
	if err != nil {
		return err
	}
	err = s.d.ep.Post(p.limited(ctx, s), s.d.side.Container, p.destName(s.d, x.name), p.stamped(now, s.d))
	if errors.Is(err, transport.ErrExpired) {
		return nil // the next pass finds that the name shows nothing
	}
	return err
}

// losesExpiry deals with an older version that expires by itself: no client can write one
// that does. refused says that the policy is strict.
func (p *pass) losesExpiry(x *past, v *store.SeriesVersion, src *source, to []*pastSide) (refused bool) {
	const why = "it is an older version with an X-Delete-At of its own, from before the container kept versions; no client can write one"
	for _, s := range to {
		if p.job.Policy.Strict {
			p.cannotPast(x, v, s, why)
			continue
		}
		p.findings.Add(report.Finding{Kind: report.KindDegraded, Level: report.Warn, Policy: p.job.Policy.Name, Region: s.d.side.Region, Container: s.d.side.Container,
			Name: p.destName(s.d, x.name), Op: "copy version " + v.ID, Cause: why + ", so the copy does not expire",
			Hint: "when it has gone at the source its copy goes the way of deleted versions; strict: true in the policy refuses such versions"})
	}
	src.obj.Header = src.obj.Header.Clone()
	delete(src.obj.Header, expiryHeader)
	return p.job.Policy.Strict
}
