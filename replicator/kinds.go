package replicator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// copyManifest copies a static large object as one: its segments first, wherever they
// lie, then the manifest as its client sent it.
func (p *pass) copyManifest(ctx context.Context, it *item, targets []target) error {
	if len(it.above) == 0 { // those that it brings along hold no place of their own: they could wait for each other
		select {
		case p.kin.manifests <- struct{}{}:
			defer func() { <-p.kin.manifests }()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		release, err := p.kin.bringing.alone(ctx, path{p.job.From.Container, it.name}, nil)
		if err != nil {
			return err
		}
		defer release()
		if err := p.kin.lone.settle(ctx, p.e.o.Ledger, loneKey{p.place, it.name}); err != nil {
			return err
		}
		if targets, err = p.unbrought(it, targets); err != nil || len(targets) == 0 {
			return err
		}
		if p.kin.bringing.isBroken(path{p.job.From.Container, it.name}, it.version.ETag) { // it was said where it was found
			for _, t := range targets {
				p.putOff(t.d.side.Region)
			}
			return nil
		}
	}
	obj, raw, err := p.src.Manifest(ctx, p.job.From.Container, it.name, "")
	if transport.Is(err, transport.NotFound) {
		return p.vanished(ctx, it, targets)
	}
	if err != nil {
		return p.unread(ctx, it, targets, err)
	}
	if again, err := p.became(ctx, it, obj, targets); again || err != nil {
		return err
	}
	m, err := transport.ParseManifest(raw)
	if err != nil {
		return p.failAll(ctx, it, targets, &transport.Error{Op: "read manifest", Region: p.job.From.Region, Container: p.job.From.Container, Name: it.name, Class: transport.Permanent, Err: err})
	}
	for _, c := range m.Containers() {
		if err := p.comesAlong(c, ""); err != nil {
			return err
		}
	}
	ready, err := p.withNeeds(ctx, it, targets, segmentsOf(m, p.above(it.above, it.name)), m, "a segment")
	if err != nil {
		return err
	}
	it.needs = map[*dest][]store.Need{}
	for _, t := range ready {
		it.needs[t.d] = needsOf(p.manifestAt(t.d, m))
	}
	release, err := p.turn(ctx, it.name)
	if err != nil {
		return err
	}
	defer release()
	if ready, err = p.unbrought(it, ready); err != nil {
		return err
	}
	var g errgroup.Group
	for _, t := range ready {
		g.Go(func() error { return p.putManifest(ctx, it, t, obj, m, raw) })
	}
	return g.Wait()
}

// became notes the version and kind that were found; again says that the object has
// become another kind since it was listed, and is to be copied as that.
func (p *pass) became(ctx context.Context, it *item, obj transport.Object, targets []target) (again bool, err error) {
	changed := obj.ETag != it.version.ETag
	again = obj.Kind != it.entry.Kind
	it.version = versionOf(obj)
	if !changed && !again {
		return false, nil
	}
	e := withSize(it.entry, obj.Size)
	e.Kind, e.ETag, e.Target.ETag = obj.Kind, obj.ETag, obj.Header[transport.TargetETagHeader]
	it.entry = e
	for _, t := range targets {
		if err := p.begin(ctx, it, t.d); err != nil {
			return false, err
		}
		if !again {
			continue
		}
		if t.tries++; t.tries > maxVersions {
			p.failed(ctx, it, t.d, &transport.Error{Op: "get", Region: p.job.From.Region, Container: p.job.From.Container, Name: it.name,
				Class: transport.Changed, Err: errors.New("it changes from one kind to another while it is copied")})
			continue
		}
		it.sendAgain(t)
	}
	return again, nil
}

// withNeeds brings what an object needs, and gives the targets where all of it stands. m
// is its manifest, of an SLO.
func (p *pass) withNeeds(ctx context.Context, it *item, targets []target, wants []want, m transport.Manifest, what string) ([]target, error) {
	dests := make([]*dest, len(targets))
	for i, t := range targets {
		dests[i] = t.d
	}
	complete, err := p.bring(ctx, wants, dests)
	if err != nil {
		return nil, err
	}
	var ready []target
	var broken error
	if len(complete) < len(dests) {
		if broken, err = p.broken(ctx, it, m); err != nil {
			return nil, p.unread(ctx, it, targets, err)
		}
	}
	for _, t := range targets {
		if slices.Contains(complete, t.d) {
			ready = append(ready, t)
			continue
		}
		if broken != nil {
			p.failed(ctx, it, t.d, broken)
			continue
		}
		p.failed(ctx, it, t.d, &transport.Error{Op: "copy", Region: p.job.From.Region, Container: p.job.From.Container, Name: it.name, Class: transport.Permanent,
			Err: fmt.Errorf("%s that it points to could not be copied, or is not at the source as it says", what), Hint: "see the finding about it, or read the object at the source: if that fails too, it is broken there"})
	}
	return ready, nil
}

func (p *pass) failAll(ctx context.Context, it *item, targets []target, err error) error {
	for _, t := range targets {
		p.failed(ctx, it, t.d, err)
	}
	return context.Cause(ctx)
}

// putManifest writes the manifest of an SLO whose segments all stand at a destination.
func (p *pass) putManifest(ctx context.Context, it *item, t target, obj transport.Object, m transport.Manifest, raw []byte) error {
	if p.expired(obj) {
		return p.vanished(ctx, it, []target{t})
	}
	region := p.e.o.Progress.Region(t.d.side.Region)
	region.Active(1)
	defer region.Active(-1)
	if there := p.manifestAt(t.d, m); !slices.EqualFunc(there, m, func(a, b transport.Part) bool { return a.Container == b.Container }) {
		raw = there.Encode()
	}
	name := p.destName(t.d, it.name)
	lctx := p.e.budget.limit(ctx, p.job.Policy, p.job.From.Region, t.d.side.Region)
	var refused error // by a segment that is not as the manifest says, although all were brought
	for range 3 {
		if t.ifAbsent && p.asksFirst(ctx, t.d) {
			if again, err := p.exists(ctx, it, &t, obj, obj.ETag, &summer{n: -1}, false); err != nil || !again {
				return p.ended(ctx, it, t, err)
			}
		}
		rec, err := t.d.ep.PutRaw(lctx, t.d.side.Container, name, raw, obj.ETag, transport.PutOptions{Header: p.stamped(obj, t.d), IfAbsent: t.ifAbsent})
		switch {
		case err == nil:
			p.done(it, t.d, obj, store.Replica{Written: micros(rec.Modified)}, &summer{n: -1})
			return nil
		case errors.Is(err, transport.ErrTarget):
			broken, berr := p.broken(ctx, it, m)
			if berr != nil {
				return p.ended(ctx, it, t, berr)
			}
			if broken != nil {
				return p.ended(ctx, it, t, broken)
			}
			// the ledger believed in a segment that is gone there
			if lerr := p.lost(ctx, t.d, m); lerr != nil {
				return lerr
			}
			complete, berr := p.bring(ctx, segmentsOf(m, p.above(it.above, it.name)), []*dest{t.d})
			if berr != nil {
				return berr
			}
			if len(complete) == 0 {
				return p.ended(ctx, it, t, err)
			}
			refused = err
		case errors.Is(err, transport.ErrExpired):
			return p.ended(ctx, it, t, err)
		case transport.Is(err, transport.NotFound):
			if cerr := p.recreate(ctx, t.d); cerr != nil {
				return p.ended(ctx, it, t, cerr)
			}
		case transport.Is(err, transport.Exists):
			if again, err := p.exists(ctx, it, &t, obj, obj.ETag, &summer{n: -1}, true); err != nil || !again {
				return p.ended(ctx, it, t, err)
			}
		default:
			return p.ended(ctx, it, t, err)
		}
	}
	return p.ended(ctx, it, t, cmp.Or(refused, transient(t.d, name, "the destination's object or its segments change while it is written")))
}

// manifestAt gives a manifest as it must read at a destination.
func (p *pass) manifestAt(d *dest, m transport.Manifest) transport.Manifest {
	names := map[string]string{}
	for _, c := range m.Containers() {
		if to := p.alongName(d, c); to != c {
			names[c] = to
		}
	}
	return m.In(names)
}

// lost marks the segments that a destination does not have although the ledger says so.
func (p *pass) lost(ctx context.Context, d *dest, m transport.Manifest) error {
	for _, w := range segmentsOf(m, nil) {
		c, err := p.along(ctx, w.container)
		if err != nil {
			return err
		}
		x := c.counterpart(p, d, w.container)
		if x == nil {
			continue
		}
		obj, err := x.ep.Head(ctx, x.side.Container, c.destName(x, w.name))
		switch {
		case err == nil && (w.etag == "" || obj.ETag == w.etag):
			continue
		case err != nil && !transport.Is(err, transport.NotFound):
			if !regionTrouble(err) || ctx.Err() != nil {
				return err
			}
			continue
		}
		p.e.o.Ledger.Update(c.place, w.name, func(o *store.Object, exists bool) bool {
			if r, ok := o.Replica(x.info.ID); ok && r.State == store.Confirmed {
				r.State, r.Note = store.Lost, "a manifest's segment was not there"
				o.SetReplica(r)
			}
			return exists
		})
	}
	return p.e.o.Ledger.Flush(ctx)
}

// needsOf names the segments that a manifest needs at its destination.
func needsOf(m transport.Manifest) []store.Need {
	out := []store.Need{}
	for _, part := range m {
		if part.Data == nil {
			out = append(out, store.NeedOf(part.Container, part.Name))
		}
	}
	return out
}

// prepare brings what a dynamic large object or a static link points to before it is
// written; it gives the targets that are ready.
func (p *pass) prepare(ctx context.Context, it *item, targets []target) ([]target, error) {
	obj, err := p.src.Head(ctx, p.job.From.Container, it.name)
	if transport.Is(err, transport.NotFound) {
		return nil, p.vanished(ctx, it, targets)
	}
	if err != nil {
		return nil, p.unread(ctx, it, targets, err)
	}
	if again, err := p.became(ctx, it, obj, targets); again || err != nil {
		return nil, err
	}
	switch {
	case obj.Kind == transport.DLO:
		return p.prepareDLO(ctx, it, targets, obj.Header[transport.ManifestHeader])
	case obj.Header[transport.TargetETagHeader] != "":
		if account := obj.Header[transport.TargetAccountHeader]; account != "" && account != p.account {
			return targets, nil // not ours to bring
		}
		container, name, err := splitPath(transport.TargetHeader, obj.Header[transport.TargetHeader])
		if err != nil {
			return nil, p.failAll(ctx, it, targets, err)
		}
		ready, err := p.withNeeds(ctx, it, targets, []want{{container: container, name: name, above: p.above(it.above, it.name), size: -1}}, nil, "the target")
		if err != nil || len(ready) == 0 {
			return nil, err
		}
		return ready, p.pin(ctx, it, ready, container, name, obj.Header[transport.TargetETagHeader])
	}
	return targets, nil
}

// pin finds what a static link must call its target's version at each destination: of
// an SLO it is the MD5 of the manifest as the region stores it, so another everywhere (S6).
func (p *pass) pin(ctx context.Context, it *item, targets []target, container, name, etag string) error {
	at, err := p.src.Head(ctx, container, name)
	if err != nil || at.ManifestETag != etag {
		return context.Cause(ctx) // not an SLO, or gone by now: the destination will say
	}
	it.pins = map[*dest]string{}
	for _, t := range targets {
		there, err := t.d.ep.Head(ctx, p.alongName(t.d, container), name)
		if err == nil && there.ETag == at.ETag {
			it.pins[t.d] = there.ManifestETag
		}
	}
	return context.Cause(ctx)
}

// pinned puts into a static link's headers what its target is called at a destination.
func (it *item) pinned(h transport.Header, d *dest) transport.Header {
	if etag := it.pins[d]; etag != "" {
		h[transport.TargetETagHeader] = etag
	}
	return h
}

// prepareDLO brings a dynamic large object's segments, and waits until the
// destinations' listings show them: what they lack would be missing in its content (S5).
func (p *pass) prepareDLO(ctx context.Context, it *item, targets []target, value string) ([]target, error) {
	container, prefix, err := splitPath(transport.ManifestHeader, value)
	if err != nil {
		return nil, p.failAll(ctx, it, targets, err)
	}
	if err := p.comesAlong(container, prefix); err != nil {
		return nil, err
	}
	var entries []transport.Entry
	err = p.src.List(ctx, container, transport.Range{Prefix: prefix}, func(page []transport.Entry) error {
		for _, e := range page {
			if container != p.job.From.Container || e.Name != it.name {
				entries = append(entries, transport.Entry{Name: e.Name, ETag: e.ETag, Size: e.Size, Modified: e.Modified, Kind: e.Kind})
			}
		}
		return nil
	})
	if err != nil && !transport.Is(err, transport.NotFound) {
		return nil, p.unread(ctx, it, targets, err)
	}
	if len(entries) == 0 {
		return targets, nil
	}
	wants, above := make([]want, len(entries)), p.above(it.above, it.name)
	for i, e := range entries {
		wants[i] = want{container: container, name: e.Name, etag: e.ETag, size: e.Size, modified: micros(e.Modified), kind: e.Kind, above: above}
	}
	if len(it.above) > 0 { // a DLO among the segments of another: its own are brought by its own container's pass
		return targets, nil
	}
	ready, err := p.withNeeds(ctx, it, targets, wants, nil, "a segment")
	if err != nil {
		return nil, err
	}
	var shown []target
	for _, t := range ready {
		if err := p.awaitListed(ctx, t.d, container, prefix, entries); err != nil {
			p.failed(ctx, it, t.d, err)
			continue
		}
		shown = append(shown, t)
	}
	return shown, context.Cause(ctx)
}

// awaitListed waits until a destination's listing shows the segments, for a minute or so.
func (p *pass) awaitListed(ctx context.Context, d *dest, container, prefix string, entries []transport.Entry) error {
	there := p.alongName(d, container)
	for wait := 500 * time.Millisecond; ; wait *= 2 {
		lacking := map[string]transport.Entry{}
		for _, e := range entries {
			lacking[e.Name] = e
		}
		err := d.ep.List(ctx, there, transport.Range{Prefix: prefix}, func(page []transport.Entry) error {
			for _, e := range page {
				if want, ok := lacking[e.Name]; ok && want.Size == e.Size && (want.ETag == e.ETag || e.Kind == transport.SLO) {
					delete(lacking, e.Name)
				}
			}
			return nil
		})
		if err != nil && !transport.Is(err, transport.NotFound) || err == nil && len(lacking) == 0 {
			return err
		}
		if wait > 32*time.Second {
			return &transport.Error{Op: "list segments", Region: d.side.Region, Container: there, Name: prefix, Class: transport.Transient,
				Err: fmt.Errorf("the listing does not show %d of %d segments yet", len(lacking), len(entries)), Hint: "the next pass tries again"}
		}
		if err := transport.Sleep(ctx, p.e.o.Clock, wait, nil); err != nil {
			return err
		}
	}
}

// mapped gives an object's headers as they must read at a destination: what points
// into a container or an account points to what stands for it there.
func (p *pass) mapped(h transport.Header, d *dest) transport.Header {
	out := h.Clone()
	for _, key := range []string{transport.ManifestHeader, transport.TargetHeader} {
		container, rest, ok := strings.Cut(strings.TrimLeft(h[key], "/"), "/")
		if !ok {
			continue // most objects: the name of a container is not worked out for each
		}
		if to := p.alongName(d, transport.Unquote(container)); to != transport.Unquote(container) {
			out[key] = transport.Quote(to) + "/" + rest // the rest keeps its own spelling
		}
	}
	if account := h[transport.TargetAccountHeader]; account != "" {
		if account == p.account {
			out[transport.TargetAccountHeader] = accountOf(d.url)
		} else if project, ok := strings.CutPrefix(account, "AUTH_"); ok && p.job.Policy.Map.Projects[project] != "" {
			out[transport.TargetAccountHeader] = "AUTH_" + p.job.Policy.Map.Projects[project]
		}
	}
	return out
}

// unmapped gives the headers of a destination's object as they would read at the source:
// what mapped does, undone.
func (p *pass) unmapped(h transport.Header, d *dest) transport.Header {
	out := h.Clone()
	for _, key := range []string{transport.ManifestHeader, transport.TargetHeader} {
		container, rest, ok := strings.Cut(strings.TrimLeft(h[key], "/"), "/")
		if from := p.alongFrom(d, transport.Unquote(container)); ok && from != transport.Unquote(container) {
			out[key] = transport.Quote(from) + "/" + rest
		}
	}
	account := h[transport.TargetAccountHeader]
	if account != "" && account == accountOf(d.url) {
		out[transport.TargetAccountHeader] = p.account
	}
	for from, to := range p.job.Policy.Map.Projects {
		if account == "AUTH_"+to {
			out[transport.TargetAccountHeader] = "AUTH_" + from
		}
	}
	return out
}

// accountOf is the name of an account as links say it: the end of its URL.
func accountOf(storageURL string) string {
	return storageURL[strings.LastIndexByte(storageURL, '/')+1:]
}

// pointsAlike reports whether two objects that have the same bytes are the same in what
// these stand for: a link or a manifest with the same target, or neither.
func pointsAlike(want, there transport.Header) bool {
	for _, key := range []string{transport.ManifestHeader, transport.TargetHeader, transport.TargetETagHeader} {
		if transport.Unquote(want[key]) != transport.Unquote(there[key]) {
			return false
		}
	}
	return true
}

// losesS3ETag reports an object whose S3 ETag another region will not show (S8), and
// whether it is therefore refused.
func (p *pass) losesS3ETag(it *item, targets []target) (refused bool) {
	cause := "it was uploaded in parts through the S3 API, which shows the ETag " + it.entry.S3ETag + " for it; S3 clients will see another one at the copy"
	for _, t := range targets {
		if p.job.Policy.Strict {
			p.cannot(it, t.d, cause)
			continue
		}
		p.findings.Add(report.Finding{Kind: report.KindDegraded, Level: report.Warn, Policy: p.job.Policy.Name, Region: t.d.side.Region, Container: t.d.side.Container,
			Name: p.destName(t.d, it.name), Op: "copy", Cause: cause, Hint: "if S3 clients depend on the ETag, copy it with an S3 client; strict: true in the policy refuses such objects"})
	}
	return p.job.Policy.Strict
}

func microTime(us int64) time.Time { return time.UnixMicro(us).UTC() }
