package replicator

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"farshore/replicator/plan"
	"farshore/store"
	"farshore/transport"
)

// writePast writes one version to the destinations that lack it. What goes wrong at
// one of them stands in its side; the error is one that ends the pass.
func (p *pass) writePast(ctx context.Context, x *past, v *store.SeriesVersion, to []*pastSide) error {
	if v.Marker {
		each(to, func(s *pastSide) {
			rec, err := s.d.ep.DeleteMarker(ctx, s.d.side.Container, p.destName(s.d, x.name))
			if err == nil && rec.Version == "" {
				err = transient(s.d, p.destName(s.d, x.name), "its container keeps no versions any more")
			}
			p.wrotePast(ctx, x, v, s, rec, transport.Object{ETag: v.Version.ETag}, err)
		})
		return p.atAll(to)
	}
	size := max(v.Size, 64<<10)
	turn, err := p.e.budget.turn(ctx, min(size, streamMemory*int64(len(to))), v.Size <= bufferUpTo)
	if err != nil {
		return err
	}
	defer turn.end()
	src, err := p.openPast(ctx, x, v)
	if transport.Is(err, transport.NotFound) {
		p.skipPast(v, to) // removed since it was listed: the next listing lacks it
		return nil
	}
	if err != nil {
		b := p.e.breaker(p.job.From.Region)
		b.note(err)
		if ctx.Err() == nil && b.isOpen() {
			return fmt.Errorf("the source stopped answering: %w", err)
		}
		for _, s := range to {
			s.err = err
		}
		return context.Cause(ctx)
	}
	defer src.close()
	p.e.breaker(p.job.From.Region).note(nil)
	if p.expired(src.obj) {
		p.skipPast(v, to)
		return nil
	}
	if err := turn.write(ctx); err != nil {
		return err
	}
	if x.hidden { // what is written now is not to be shown there either
		for _, s := range to {
			s.deeds.Current = ""
		}
	}
	if src.obj.Header[expiryHeader] != "" && !v.Latest && p.losesExpiry(x, v, src, to) {
		return nil
	}
	if src.obj.Kind == transport.SLO {
		return p.writePastManifest(ctx, x, v, src.obj.Header[expiryHeader], to)
	}
	if to, err = p.fitting(ctx, x, v, src.obj, to); err != nil || len(to) == 0 {
		return err
	}
	if err := p.readyFor(ctx, x, src.obj, to); err != nil {
		return err
	}
	return p.putPast(ctx, x, v, src, to)
}

// fitting leaves out destinations that take no single PUT of a version's size: it cannot
// be put together there, as that would be another version.
func (p *pass) fitting(ctx context.Context, x *past, v *store.SeriesVersion, obj transport.Object, to []*pastSide) (out []*pastSide, err error) {
	for _, s := range to {
		a, err := p.e.abilitiesOf(ctx, s.d.side.Region)
		switch {
		case err != nil && (ctx.Err() != nil || !regionTrouble(err)):
			return nil, err
		case err != nil:
			s.err = err
		case a.MaxObject > 0 && obj.Size > a.MaxObject:
			p.cannotPast(x, v, s, fmt.Sprintf("it has %d bytes, and a version is written with one PUT, of which the destination takes %d bytes", obj.Size, a.MaxObject))
		default:
			out = append(out, s)
		}
	}
	return out, nil
}

// atAll gives the first error of sides that is neither a region's nor absent.
func (p *pass) atAll(sides []*pastSide) error {
	for _, s := range sides {
		if s.err != nil && !regionTrouble(s.err) {
			return s.err
		}
	}
	return nil
}

// skipPast leaves a version out that is gone at the source by now.
func (p *pass) skipPast(v *store.SeriesVersion, to []*pastSide) {
	for _, s := range to {
		s.deeds.Append = slices.DeleteFunc(slices.Clone(s.deeds.Append), func(id string) bool { return id == v.ID })
		if s.deeds.Current == v.ID {
			s.deeds.Keep = true
		}
	}
}

// openPast opens one version and, if it is small, reads it whole.
func (p *pass) openPast(ctx context.Context, x *past, v *store.SeriesVersion) (*source, error) {
	var last error
	for range 3 { // what was damaged on the way is read again
		obj, rc, err := p.openVersion(ctx, x, v, transport.OpenOptions{Length: -1, Unchecked: v.Size > bufferUpTo})
		if errors.Is(err, transport.ErrManifest) { // its segments may be there all the same, or the manifest says which is not
			obj, err = versionAt(ctx, p.src, p.job.From.Container, x.name, v.ID, v.Latest)
		}
		if err != nil {
			if last = err; transport.Is(err, transport.Corrupt) {
				continue
			}
			return nil, err
		}
		src := &source{obj: obj, stream: rc}
		if rc == nil || obj.Kind == transport.SLO {
			src.close()
			src.stream = nil
			return src, nil
		}
		if obj.ETag != v.Version.ETag || obj.Size != v.Size {
			src.close()
			return nil, &transport.Error{Op: "get", Region: p.job.From.Region, Container: p.job.From.Container, Name: x.name, Class: transport.Changed,
				Err: fmt.Errorf("version %s has ETag %s and %d bytes, the listing says %s and %d", v.ID, obj.ETag, obj.Size, v.Version.ETag, v.Size)}
		}
		if obj.Size > bufferUpTo {
			return src, nil
		}
		src.data, err = io.ReadAll(p.countRead(rc))
		src.close()
		src.stream = nil
		if err == nil {
			return src, nil
		}
		last = err
		if !transport.Is(err, transport.Corrupt) {
			return nil, err
		}
	}
	return nil, last
}

// readyFor sees that what a version points at stands at the destinations first. What
// lies in this very container is carried by this pass.
func (p *pass) readyFor(ctx context.Context, x *past, obj transport.Object, to []*pastSide) error {
	kind := transport.TargetHeader
	if obj.Kind == transport.DLO {
		kind = transport.ManifestHeader
	}
	account := obj.Header[transport.TargetAccountHeader]
	if obj.Kind != transport.DLO && obj.Kind != transport.Symlink || account != "" && account != p.account {
		return nil
	}
	container, name, err := splitPath(kind, obj.Header[kind])
	switch {
	case err != nil, container == p.job.From.Container: // as broken there as here; or carried by this pass
		return nil
	case obj.Kind == transport.DLO:
		return p.comesAlong(container, name)
	case obj.Header[transport.TargetETagHeader] == "":
		return nil
	}
	return p.bringFor(ctx, []want{{container: container, name: name, size: -1, above: p.above(nil, x.name)}}, to)
}

// bringFor brings what a version needs. Where it lacks all the same, the write says so.
func (p *pass) bringFor(ctx context.Context, wants []want, to []*pastSide) error {
	wants = slices.DeleteFunc(wants, func(w want) bool { return w.container == p.job.From.Container })
	if len(wants) == 0 {
		return nil
	}
	dests := make([]*dest, len(to))
	for i, s := range to {
		dests[i] = s.d
	}
	_, err := p.bring(ctx, wants, dests)
	return err
}

// writePastManifest writes a version that is a static large object by its manifest,
// its segments first (S3, S4).
// expiry is that of its name, if it is the current one.
func (p *pass) writePastManifest(ctx context.Context, x *past, v *store.SeriesVersion, expiry string, to []*pastSide) error {
	obj, raw, err := p.src.Manifest(ctx, p.job.From.Container, x.name, v.ID)
	if transport.Is(err, transport.NotFound) {
		p.skipPast(v, to)
		return nil
	}
	var m transport.Manifest
	if err == nil {
		m, err = transport.ParseManifest(raw)
	}
	if err != nil {
		for _, s := range to {
			s.err = err
		}
		return p.atAll(to)
	}
	if expiry != "" {
		obj.Header[expiryHeader] = expiry
	}
	for _, c := range m.Containers() {
		if c == p.job.From.Container {
			continue
		}
		if err := p.comesAlong(c, ""); err != nil {
			return err
		}
	}
	if err := p.bringFor(ctx, segmentsOf(m, p.above(nil, x.name)), to); err != nil {
		return err
	}
	each(to, func(s *pastSide) {
		names := map[string]string{}
		for _, c := range m.Containers() {
			if there := p.alongName(s.d, c); there != c {
				names[c] = there
			}
		}
		there, body := m, raw
		if len(names) > 0 {
			there = m.In(names)
			body = there.Encode()
		}
		rec, err := s.d.ep.PutRaw(p.limited(ctx, s), s.d.side.Container, p.destName(s.d, x.name), body, obj.ETag, transport.PutOptions{Header: p.stamped(obj, s.d), Versioned: true})
		switch {
		case err == nil:
			err = p.addNeeds(x, s, needsOf(there))
		case errors.Is(err, transport.ErrTarget) && x.final:
			broken, herr := p.brokenHere(ctx, m)
			if herr != nil {
				err = herr
			} else if broken != "" {
				p.cannotPast(x, v, s, brokenNote+broken+" is gone or another by now, at the source as well")
				return
			}
		}
		p.wrotePast(ctx, x, v, s, rec, obj, err)
	})
	return p.atAll(to)
}

// brokenNote begins the note of a version that is broken at the source: unlike others that
// cannot be kept, it can be carried once its segments are there again.
const brokenNote = "it is a manifest whose segment "

func isBroken(r store.SeriesReplica) bool {
	return r.State == store.Cannot && strings.HasPrefix(r.Note, brokenNote)
}

// forgetBroken has versions carried that were broken at the source and are whole by now.
// What the source does not tell this time stays as it is: the next pass asks again.
func (p *pass) forgetBroken(ctx context.Context, pasts []*past) error {
	var asking errgroup.Group
	asking.SetLimit(p.e.o.Limits.Streams)
	for _, x := range pasts {
		for i := range x.series.Versions {
			v := &x.series.Versions[i]
			if v.Missing != 0 || !slices.ContainsFunc(v.Replicas, isBroken) {
				continue
			}
			asking.Go(func() error {
				if p.wholeNow(ctx, x, v) {
					for _, d := range p.dests {
						if r, _ := v.Replica(d.info.ID); isBroken(r) && !d.dead.Load() {
							v.DropReplica(d.info.ID)
						}
					}
				}
				return context.Cause(ctx)
			})
		}
	}
	return asking.Wait()
}

// wholeNow reports whether the source has all segments of a version that is a manifest.
func (p *pass) wholeNow(ctx context.Context, x *past, v *store.SeriesVersion) bool {
	_, raw, err := p.src.Manifest(ctx, p.job.From.Container, x.name, v.ID)
	if err != nil {
		return false
	}
	m, err := transport.ParseManifest(raw)
	if err != nil {
		return false
	}
	broken, err := p.brokenHere(ctx, m)
	return err == nil && broken == ""
}

// cannotPast records a version that cannot be kept. Younger ones do not wait for it.
func (p *pass) cannotPast(x *past, v *store.SeriesVersion, s *pastSide, why string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	v.SetReplica(store.SeriesReplica{Route: s.d.info.ID, State: store.Cannot, Note: why})
	if s.deeds.Current == v.ID {
		s.deeds.Keep = true
	}
}

// addNeeds keeps what all versions of a name need at a destination.
func (p *pass) addNeeds(x *past, s *pastSide, needs []store.Need) error {
	old, err := p.e.o.Ledger.Needs(s.d.info.ID, x.name)
	if err != nil {
		return err
	}
	p.e.o.Ledger.SetNeeds(s.d.info.ID, x.name, append(old, needs...))
	return nil
}

func (p *pass) limited(ctx context.Context, s *pastSide) context.Context {
	return p.e.budget.limit(ctx, p.job.Policy, p.job.From.Region, s.d.side.Region)
}

// putPast sends one version's bytes to every side: from memory if it is small, else as
// one stream. It is one PUT whatever its size, and begins anew when it is interrupted.
func (p *pass) putPast(ctx context.Context, x *past, v *store.SeriesVersion, src *source, to []*pastSide) error {
	obj := src.obj
	var streams *tee
	if src.stream != nil && len(to) > 1 {
		streams = newTee(len(to), p.e.o.Clock)
		pumped := make(chan struct{})
		go func() {
			defer close(pumped)
			streams.pump(ctx, p.countRead(src.stream))
		}()
		defer func() { <-pumped }()
	}
	index := map[*pastSide]int{}
	for i, s := range to {
		index[s] = i
	}
	each(to, func(s *pastSide) {
		region := p.e.o.Progress.Region(s.d.side.Region)
		region.Active(1)
		defer region.Active(-1)
		body := transport.Body{Size: obj.Size, MD5: cmp.Or(obj.ETag, v.Version.ETag)}
		switch {
		case src.stream == nil:
			body.Size = int64(len(src.data))
			body.Open = p.counted(s.d, func() (io.Reader, error) { return bytes.NewReader(src.data), nil })
		case streams == nil:
			body.Open = p.counted(s.d, p.reopening(ctx, x, v, src))
		default:
			out := streams.outs[index[s]]
			defer out.leave()
			body.Once, body.Open = true, p.counted(s.d, func() (io.Reader, error) { return out, nil })
		}
		if obj.Kind == transport.Symlink {
			body.Size, body.MD5 = 0, emptyMD5
		}
		rec, err := s.d.ep.Put(p.limited(ctx, s), s.d.side.Container, p.destName(s.d, x.name), body, transport.PutOptions{Header: p.stamped(obj, s.d), Versioned: true})
		if err == nil && rec.ETag != body.MD5 {
			err = &transport.Error{Op: "put", Region: s.d.side.Region, Container: s.d.side.Container, Name: x.name, Class: transport.Corrupt,
				Err: fmt.Errorf("the destination answered ETag %s for content with MD5 %s", rec.ETag, body.MD5)}
		}
		p.wrotePast(ctx, x, v, s, rec, obj, err)
	})
	return p.atAll(to)
}

// emptyMD5 is the ETag of no bytes.
const emptyMD5 = "d41d8cd98f00b204e9800998ecf8427e"

// reopening gives a version's stream, and reads it anew when it is wanted again.
func (p *pass) reopening(ctx context.Context, x *past, v *store.SeriesVersion, src *source) func() (io.Reader, error) {
	first := true
	return func() (io.Reader, error) {
		if !first {
			src.close()
			_, again, err := p.src.Open(ctx, p.job.From.Container, x.name, transport.OpenOptions{Length: -1, Version: v.ID, ETag: v.Version.ETag, Unchecked: true})
			if err != nil {
				return nil, err
			}
			src.stream = again
		}
		first = false
		return p.countRead(src.stream), nil
	}
}

// wrotePast notes what came of a write. Sides are worked on at the same time, and
// share the version.
func (p *pass) wrotePast(ctx context.Context, x *past, v *store.SeriesVersion, s *pastSide, rec transport.Receipt, obj transport.Object, err error) {
	if errors.Is(err, transport.ErrExpired) {
		x.mu.Lock()
		p.skipPast(v, []*pastSide{s})
		x.mu.Unlock()
		return
	}
	var ids map[string]transport.VersionEntry
	if err == nil && s.current == plan.NullVersion {
		ids, err = p.idsAt(ctx, x, s.d)
	}
	if err != nil {
		s.err = err
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	rep := store.SeriesReplica{Route: s.d.info.ID, ID: cmp.Or(rec.Version, plan.NullVersion), State: store.Confirmed, Written: micros(rec.Modified), Confirmed: micros(p.e.o.Clock.Now())}
	if !v.Marker {
		v.Meta = obj.Header.Digest()
	}
	if ids != nil {
		delete(ids, rep.ID)
		s.newID(x, ids)
	}
	v.SetReplica(rep)
	if v.Marker {
		s.become(x, "")
	} else {
		s.become(x, rep.ID)
	}
	p.tally.copied.Add(1)
	p.e.o.Progress.Region(s.d.side.Region).Done()
}
