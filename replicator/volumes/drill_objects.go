package volumes

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"farshore/policies"
	"farshore/replicator/audit"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// drillStreams is how many objects a drill restores at once.
const drillStreams = 8

// drillContainers restores objects of each of the policy's containers in a region into a
// scratch container there, and compares what can be read back with what is recorded of
// each: a copy that the server makes by itself would prove nothing about the bytes.
func (s *Shipper) drillContainers(ctx context.Context, r DrillRequest, region string, d *report.Drill, f *report.Findings) error {
	reg, err := s.region(region)
	if err != nil {
		return err
	}
	names := map[string]string{} // at the destination: at the source
	err = reg.Objects.Containers(ctx, "", func(c transport.ContainerInfo) error {
		if from, ok := sourceOf(r.Policy, c.Name); ok {
			names[c.Name] = from
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range sortedKeys(names) {
		c, err := s.drillContainer(ctx, r, reg.Objects, region, name, names[name], f)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			c.OK, c.Cause = false, err.Error()
		}
		d.Containers = append(d.Containers, c)
	}
	return nil
}

// sourceOf gives the source's name of a container of a destination, if the policy would
// have made it: the template read backwards, so that neither source nor ledger is asked.
func sourceOf(p policies.Policy, name string) (string, bool) {
	template := p.Container
	if template == "" {
		template = policies.DefaultTemplate
	}
	before, after, varies := strings.Cut(strings.ReplaceAll(template, "{from}", p.From), "{container}")
	if !varies { // one name for the only container that the policy can have
		return p.Containers[0], len(p.Containers) == 1 && name == before
	}
	middle, ok := strings.CutPrefix(name, before)
	if !ok {
		return "", false
	}
	if middle, ok = strings.CutSuffix(middle, after); !ok || !p.Selects(middle) {
		return "", false
	}
	made, err := p.Destination(middle)
	return middle, err == nil && made == name
}

// containerDrill is the drill of one container.
type containerDrill struct {
	s       *Shipper
	sink    transport.Sink
	from    string // the container at the destination
	scratch string
	most    int64 // bytes of one PUT
	known   func(name string) ([32]byte, error)
	f       *report.Findings
	region  string

	mu  sync.Mutex
	out report.DrillContainer
}

func (s *Shipper) drillContainer(ctx context.Context, r DrillRequest, sink transport.Sink, region, name, source string, f *report.Findings) (report.DrillContainer, error) {
	began := s.o.Clock.Now()
	d := &containerDrill{s: s, sink: sink, from: name, f: f, region: region,
		out: report.DrillContainer{Region: region, Container: name, Share: r.Share, Seed: r.Seed}}
	a, err := sink.Abilities(ctx)
	if err != nil {
		return d.out, err
	}
	d.most = a.MaxObject
	if d.known, err = s.recorded(r.Policy, region, source, name); err != nil {
		return d.out, err
	}
	work, err := s.begin(ctx, store.Work{Kind: workDrill, Region: region, Policy: r.Policy.Name})
	if err != nil {
		return d.out, err
	}
	defer s.release(work.ID)
	d.scratch = scratchContainer(work.ID)
	if err = sink.CreateContainer(ctx, d.scratch, nil); err == nil {
		s.o.Progress.Phase(fmt.Sprintf("restoring %s in %s", transport.PrintName(name), region))
		err = d.each(ctx, name, transport.Range{Prefix: r.Policy.Prefix}, d.restore)
		d.out.Seconds = s.o.Clock.Now().Sub(began).Seconds()
	}
	if err == nil {
		s.o.Progress.Phase(fmt.Sprintf("comparing what was restored of %s in %s", transport.PrintName(name), region))
		err = d.each(ctx, d.scratch, transport.Range{}, d.compare)
		d.out.Verify = s.o.Clock.Now().Sub(began).Seconds() - d.out.Seconds
	}
	if ctx.Err() != nil {
		return d.out, context.Cause(ctx) // the next drill clears it away
	}
	cerr := s.clear(ctx, region, work.ID)
	if cerr == nil {
		cerr = s.done(ctx, work.ID)
	}
	if cerr != nil {
		f.Add(report.Finding{Kind: report.KindLeftBehind, Level: report.Error, Policy: r.Policy.Name, Region: region, Container: d.scratch, Op: "remove the scratch container", Cause: cerr.Error(), Hint: removeHint(cerr)})
	}
	d.out.OK = err == nil && d.out.Differing == 0 && d.out.Failed == 0
	return d.out, err
}

// recorded tells what the ledger knows of the content of a container's objects: by the
// name at the destination the SHA-256, or zero.
func (s *Shipper) recorded(p policies.Policy, region, source, name string) (func(string) ([32]byte, error), error) {
	routes, err := s.o.Ledger.Routes()
	if err != nil {
		return nil, fmt.Errorf("read routes: %w", err)
	}
	for _, r := range routes {
		if r.Route.From.Region == p.From && r.Route.From.Container == source && r.Route.To.Region == region && r.Route.To.Container == name {
			return func(object string) ([32]byte, error) {
				at := r.Route.FromPrefix + strings.TrimPrefix(object, r.Route.ToPrefix)
				o, ok, err := s.o.Ledger.Get(r.From, at)
				if rep, there := o.Replica(r.ID); err != nil || !ok || !there || rep.State != store.Confirmed || rep.Version != o.Version {
					return [32]byte{}, err
				}
				return o.SHA256, nil
			}, nil
		}
	}
	return func(string) ([32]byte, error) { return [32]byte{}, nil }, nil
}

// each calls do for the objects of a container, several at once.
func (d *containerDrill) each(ctx context.Context, container string, r transport.Range, do func(context.Context, transport.Entry) error) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(drillStreams)
	err := d.sink.List(gctx, container, r, func(page []transport.Entry) error {
		for _, e := range page {
			g.Go(func() error { return do(gctx, e) })
		}
		return nil
	})
	if gerr := g.Wait(); gerr != nil {
		return gerr
	}
	return err
}

func (d *containerDrill) count(f func(*report.DrillContainer)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(&d.out)
}

// failed notes an object that could not be restored, and why.
func (d *containerDrill) failed(name, op string, err error) {
	d.count(func(c *report.DrillContainer) { c.Failed++ })
	d.f.Add(report.Finding{Kind: report.KindFailed, Level: report.Error, Region: d.region, Container: d.from, Name: name, Op: op, Cause: err.Error(), Hint: transport.HintOf(err)})
}

func (d *containerDrill) differs(name, why string) {
	d.count(func(c *report.DrillContainer) { c.Differing++ })
	d.f.Add(report.Finding{Kind: report.KindDamaged, Level: report.Error, Region: d.region, Container: d.from, Name: name, Op: "compare what was restored", Cause: why,
		Hint: "farshore audit --read 100% --repair sends it again from its source"})
}

// restore writes a copy's bytes to the scratch container, if it is of the sample.
func (d *containerDrill) restore(ctx context.Context, e transport.Entry) error {
	d.count(func(c *report.DrillContainer) { c.Listed++ })
	if !audit.Sampled(d.out.Seed, e.Name, d.out.Share) {
		return nil
	}
	if e.Kind == transport.Symlink || e.Size > d.most {
		d.count(func(c *report.DrillContainer) { c.Skipped++ })
		return nil
	}
	err := d.send(ctx, e)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		d.failed(e.Name, "restore", err)
	default:
		d.count(func(c *report.DrillContainer) { c.Restored, c.Bytes = c.Restored+1, c.Bytes+e.Size })
	}
	return nil
}

// send streams a copy's bytes to the scratch container, which refuses others.
func (d *containerDrill) send(ctx context.Context, e transport.Entry) error {
	sum := e.ETag
	if e.Kind == transport.SLO { // its ETag is not the MD5 of its bytes
		got, err := d.read(ctx, d.from, e)
		if err != nil {
			return err
		}
		sum, _ = got.Sums()
	}
	o, body, err := d.sink.Open(ctx, d.from, e.Name, transport.OpenOptions{ETag: e.ETag, Length: -1})
	if err != nil {
		return err
	}
	defer body.Close()
	header := o.Header.Clone()
	delete(header, transport.ManifestHeader) // of a DLO its own bytes are restored
	delete(header, "X-Delete-At")
	_, err = d.sink.Put(ctx, d.scratch, e.Name, transport.Body{Size: e.Size, MD5: sum, Once: true, Open: func() (io.Reader, error) { return body, nil }}, transport.PutOptions{Header: header})
	return err
}

// read reads an object through.
func (d *containerDrill) read(ctx context.Context, container string, e transport.Entry) (*audit.Digest, error) {
	_, body, err := d.sink.Open(ctx, container, e.Name, transport.OpenOptions{ETag: e.ETag, Length: -1})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	sum := audit.NewDigest()
	_, err = io.Copy(sum, body)
	return sum, err
}

// compare reads a restored object back. Its MD5 is that of the copy, which was said
// when it was written, or the read fails; its SHA-256 must be what the ledger recorded when the copy was made.
func (d *containerDrill) compare(ctx context.Context, e transport.Entry) error {
	sum, err := d.read(ctx, d.scratch, e)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if transport.Is(err, transport.Corrupt) {
		d.differs(e.Name, err.Error())
		return nil
	}
	if err != nil {
		d.failed(e.Name, "read back", err)
		return nil
	}
	want, err := d.known(e.Name)
	if err != nil || want == [32]byte{} {
		return err
	}
	d.count(func(c *report.DrillContainer) { c.Recorded++ })
	if _, got := sum.Sums(); want != got {
		d.differs(e.Name, fmt.Sprintf("what was restored has the SHA-256 %x, and the ledger recorded %x when the copy was made", got, want))
	}
	return nil
}
