package replicator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"farshore/replicator/plan"
	"farshore/store"
	"farshore/transport"
)

// kin holds, for one run of a policy, the passes over containers of the source that
// other containers' manifests and links point into. Through them single objects are
// brought before what needs them; a pass of their own over the whole container
// follows, for what changed there and for deletes.
type kin struct {
	mu     sync.Mutex
	passes map[string]*pass // by container at the source, and where the policy places it by the regions
	known  sync.Map         // the same containers; mu is held while one is opened
	// manifests bounds how many are in memory at once: with inline data one may have 8 MiB.
	manifests chan struct{}
	lone      lone
	rooms     rooms
	bringing  *bringing
}

const manifestsAtOnce = 4

func newKin() *kin {
	return &kin{passes: map[string]*pass{}, manifests: make(chan struct{}, manifestsAtOnce), bringing: newBringing(), lone: lone{busy: map[loneKey]*loneTurn{}, fresh: map[loneKey]bool{}}}
}

// want is an object that must stand at a destination before what needs it.
type want struct {
	container, name string // at the source
	etag            string // "": whatever is there now
	size            int64  // -1: unknown
	modified        int64  // µs; 0: unknown
	kind            transport.Kind
	above           []path // container and name of what it is brought for, outermost first
}

// maxDepth is how deep Swift lets manifests be nested.
const maxDepth = 10

// above is what stands above that which an object of this container points to; of is what
// stands above the object.
func (p *pass) above(of []path, name string) []path {
	return append(slices.Clip(of), path{p.job.From.Container, name})
}

// bottomless says why nobody can read a manifest or a link to the end; nil if it seems possible.
func (p *pass) bottomless(it *item) error {
	from := p.job.From
	err := &transport.Error{Op: "copy", Region: from.Region, Container: from.Container, Name: it.name, Class: transport.Permanent,
		Hint: "nobody can read it in region " + from.Region + " as it is: upload it, or what it points to, again there, or delete it"}
	switch {
	case slices.Contains(it.above, path{from.Container, it.name}):
		last := it.above[len(it.above)-1]
		err.Err = fmt.Errorf("it points back to itself, through %s", transport.PrintName(last[0]+"/"+last[1]))
	case len(it.above) > maxDepth:
		err.Err = fmt.Errorf("it is nested more than %d deep", maxDepth)
	default:
		return nil
	}
	return err
}

// alongName is what a container that comes along is called at a destination.
func (p *pass) alongName(d *dest, container string) string {
	if container == p.job.From.Container {
		return d.side.Container
	}
	if strings.Contains(p.job.Policy.Container, "{container}") {
		if name, err := p.job.Policy.Destination(container); err == nil {
			return name
		}
	}
	return container
}

// alongFrom is the container of the source that has a name at a destination.
func (p *pass) alongFrom(d *dest, there string) string {
	if there == d.side.Container {
		return p.job.From.Container
	}
	before, after, ok := strings.Cut(strings.ReplaceAll(p.job.Policy.Container, "{from}", p.job.From.Region), "{container}")
	if name, begins := strings.CutPrefix(there, before); ok && begins && strings.HasSuffix(name, after) {
		return strings.TrimSuffix(name, after)
	}
	return there
}

// alongJob is the job over a container that comes along.
func (p *pass) alongJob(container, prefix string) Job {
	j := Job{along: true, Policy: p.job.Policy, From: Side{Region: p.job.From.Region, Container: container, Prefix: prefix}}
	for _, d := range p.spares {
		j.spare = append(j.spare, Side{Region: d.side.Region, Container: p.alongName(d, container), Prefix: prefix})
	}
	for i, d := range p.dests {
		to := Side{Region: d.side.Region, Container: p.alongName(d, container), Prefix: prefix}
		if !slices.ContainsFunc(p.dests[:i], func(x *dest) bool { return x.side.Region == to.Region && p.alongName(x, container) == to.Container }) {
			j.To = append(j.To, to)
		}
	}
	return j
}

// along gives the pass through which single objects of a container are brought.
func (p *pass) along(ctx context.Context, container string) (*pass, error) {
	p.kin.mu.Lock()
	defer p.kin.mu.Unlock()
	key := p.kinKey(container)
	if c := p.kin.passes[key]; c != nil {
		return c, nil
	}
	c := &pass{e: p.e, job: p.alongJob(container, ""), o: p.o, findings: p.findings, kin: p.kin,
		tally: &tally{byCount: map[int]int64{}, byRegion: map[string]int64{}}}
	c.start = func(work func(context.Context) error) {
		if err := work(ctx); err != nil {
			p.e.o.Log.Warn("work beside a transfer", "container", container, "err", err)
		}
	}
	if err := c.open(ctx); err != nil {
		return nil, err
	}
	for _, d := range c.dests {
		d.late = nil // nobody waits for what is put off: what needs it does not land
	}
	p.kin.passes[key] = c
	p.kin.known.Store(container, true)
	return c, p.e.o.Ledger.Flush(ctx) // what the walk over it copied so far
}

// kinKey tells passes over what comes along apart: containers that are placed apart may
// need the same one, each at its own regions.
func (p *pass) kinKey(container string) string {
	if p.job.Policy.Place != nil {
		for _, d := range p.dests {
			container += "\x00" + d.side.Region
		}
	}
	return container
}

// counterpart finds the destination of c that stands for one of p.
func (c *pass) counterpart(p *pass, d *dest, container string) *dest {
	for _, x := range c.dests {
		if x.side.Region == d.side.Region && x.side.Container == p.alongName(d, container) {
			return x
		}
	}
	return nil
}

// bring sees that objects stand at destinations, and says at which one all of them do.
func (p *pass) bring(ctx context.Context, wants []want, dests []*dest) (complete []*dest, err error) {
	var mu sync.Mutex
	lacking := map[*dest]bool{}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(p.e.o.Limits.Streams)
	for _, w := range wants {
		c, err := p.along(ctx, w.container)
		if err != nil {
			if !regionTrouble(err) || ctx.Err() != nil {
				return nil, err
			}
			return nil, nil // its container is gone or cannot be used: nothing of it can be brought
		}
		g.Go(func() error {
			to := map[*dest]*dest{}
			for _, d := range dests {
				if x := c.counterpart(p, d, w.container); x != nil {
					to[d] = x
				}
			}
			held, err := c.bringOne(gctx, w, to)
			mu.Lock()
			defer mu.Unlock()
			for _, d := range dests {
				if !held[d] {
					lacking[d] = true
				}
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for _, d := range dests {
		if !lacking[d] {
			complete = append(complete, d)
		}
	}
	return complete, nil
}

// bringOne copies one object to where the ledger does not know it to stand. to maps
// the asking pass's destinations to those of c.
func (c *pass) bringOne(ctx context.Context, w want, to map[*dest]*dest) (held map[*dest]bool, err error) {
	release, err := c.kin.bringing.alone(ctx, path{w.container, w.name}, w.above)
	if err != nil {
		return nil, err
	}
	defer release()
	it, targets, held, err := c.wanting(ctx, w, to)
	if err != nil || it == nil {
		return held, err
	}
	if len(targets) > 0 {
		if err := c.copy(ctx, it, targets); err != nil {
			return nil, err
		}
	}
	// regions are told apart by name; two containers of one region are one container here
	for asking, d := range to {
		if it.holds(d.side.Region) {
			held[asking] = true
		}
	}
	return held, nil
}

// wanting finds out where an object has to be copied, and where it stands already. No
// copy of it runs meanwhile: what that has written and not recorded yet would be taken
// for somebody else's.
func (c *pass) wanting(ctx context.Context, w want, to map[*dest]*dest) (it *item, targets []target, held map[*dest]bool, err error) {
	release, err := c.turn(ctx, w.name)
	if err != nil {
		return nil, nil, nil, err
	}
	defer release()
	held = map[*dest]bool{}
	rec, exists, err := c.e.o.Ledger.Get(c.place, w.name)
	if err != nil {
		return nil, nil, nil, err
	}
	if c.kin.bringing.isBroken(path{w.container, w.name}, w.etag) {
		for asking, d := range to {
			if rep, has := rec.Replica(d.info.ID); has && rep.State == store.Confirmed && rep.Version.ETag == w.etag {
				held[asking] = true // it was carried while it could be read
			}
		}
		return nil, nil, held, nil
	}
	begun := map[*dest]string{} // what an earlier copy was to be there, if it has not ended
	known := map[*dest][]string{}
	for _, d := range to {
		if known[d], err = c.writtenBySisters(d, w.name, &rec, d.sisters); err != nil {
			return nil, nil, nil, err
		}
		in, ok, err := c.e.o.Ledger.Intent(d.info.ID, w.name)
		if err != nil {
			return nil, nil, nil, err
		}
		if ok && in.ETag != "" {
			begun[d] = in.ETag
		}
	}
	it = &item{name: w.name, open: 1, regions: map[string]bool{}, above: w.above}
	if exists {
		it.record = &rec
	}
	unseen := func(d *dest) bool { // perhaps it stands there, or something else does
		_, has := rec.Replica(d.info.ID)
		return has || begun[d] != "" || len(known[d]) > 0 || !d.fresh && d.info.Listed.IsZero()
	}
	look := w.etag == "" || w.size < 0
	for _, d := range to { // a manifest does not say when its segments were written
		look = look || w.modified == 0 && unseen(d)
	}
	if look {
		obj, err := c.src.Head(ctx, c.job.From.Container, w.name)
		if err != nil {
			if regionTrouble(err) && ctx.Err() == nil {
				return nil, nil, held, nil
			}
			return nil, nil, nil, err
		}
		if w.etag == "" || w.etag == obj.ETag {
			w.etag, w.size, w.modified, w.kind = obj.ETag, obj.Size, micros(obj.Modified), obj.Kind
			it.asked = true
		}
	}
	it.entry = &transport.Entry{Name: w.name, Size: w.size, ETag: w.etag, Kind: w.kind, Modified: microTime(w.modified)}
	it.version = store.Version{ETag: w.etag, Modified: w.modified}
	for asking, d := range to {
		rep, has := rec.Replica(d.info.ID)
		if has && rep.State == store.Confirmed && rep.Version.ETag == w.etag {
			held[asking] = true
			continue
		}
		t := target{d: d, ifAbsent: true, known: known[d], lost: has && rep.State == store.Lost}
		if unseen(d) {
			if has && rep.State != store.Conflict {
				t.known = append(t.known, destETagOf(rep))
			}
			if etag := begun[d]; etag != "" {
				if err := c.settleBegun(ctx, d, w, etag); err != nil {
					c.failed(ctx, it, d, err)
					continue
				}
				t.known = append(t.known, etag)
			}
			again := false
			if t, again, err = c.recheck(ctx, it, t); err != nil {
				c.failed(ctx, it, d, err)
				continue
			} else if !again {
				continue
			}
		} else if err := c.begin(ctx, it, d); err != nil {
			return nil, nil, nil, err
		}
		targets = append(targets, t)
	}
	return it, targets, held, nil
}

// settleBegun finds out what became of an earlier copy of another version, before its
// intent makes room for that of this one.
func (c *pass) settleBegun(ctx context.Context, d *dest, w want, etag string) error {
	if etag == w.etag {
		return nil
	}
	in, ok, err := c.e.o.Ledger.Intent(d.info.ID, w.name)
	if err != nil || !ok {
		return err
	}
	return c.settle(ctx, d, in, &plan.RouteStep{})
}

func destETagOf(r store.Replica) string {
	if r.ETag != "" {
		return r.ETag
	}
	return r.Version.ETag
}

// comesAlong records that a container, or a part of it, is to be looked after because
// objects of this one need it.
func (p *pass) comesAlong(container, prefix string) error {
	if container == p.job.From.Container && strings.HasPrefix(prefix, p.job.From.Prefix) || p.o.DryRun {
		return nil
	}
	return p.e.o.Ledger.AddCompanion(p.place, store.Companion{Container: container, Prefix: prefix})
}

// companions are the jobs over what comes along with the jobs of a policy, but for
// what those cover themselves. They run after the jobs: segments that a manifest
// needs were brought before it, and deletes of segments come after those of manifests.
func (e *Engine) companions(passes []*pass) ([]Job, error) {
	covered := func(jobs []Job, p *pass, c store.Companion) bool {
		return slices.ContainsFunc(jobs, func(j Job) bool {
			return j.From.Container == c.Container && strings.HasPrefix(c.Prefix, j.From.Prefix) && (p.job.Policy.Place == nil || j.goesWhere(p))
		})
	}
	needed := map[string]int{} // by how many
	var jobs, out []Job
	for _, p := range passes {
		jobs = append(jobs, p.job)
	}
	for _, p := range passes {
		if !p.known || len(p.dests) == 0 {
			continue
		}
		list, err := e.o.Ledger.Companions(p.place)
		if err != nil {
			return nil, err
		}
		for _, c := range list {
			needed[c.Container]++
			if !covered(jobs, p, c) {
				j := p.alongJob(c.Container, c.Prefix)
				jobs, out = append(jobs, j), append(out, j)
			}
		}
	}
	for i := range out {
		if needed[out[i].From.Container] > 1 {
			out[i].spare = nil // what one no longer needs somewhere, another may
		}
	}
	return out, nil
}

// goesWhere reports whether a job has all the regions that a pass goes to.
func (j Job) goesWhere(p *pass) bool {
	return !slices.ContainsFunc(p.dests, func(d *dest) bool {
		return !slices.ContainsFunc(j.To, func(s Side) bool { return s.Region == d.side.Region })
	})
}

// segmentsOf says what a manifest needs: each object once.
func segmentsOf(m transport.Manifest, above []path) []want {
	seen := map[path]bool{}
	var out []want
	for _, part := range m {
		key := path{part.Container, part.Name}
		if part.Data != nil || seen[key] {
			continue
		}
		seen[key] = true
		out = append(out, want{container: part.Container, name: part.Name, etag: part.ETag, size: part.Size, kind: transport.Plain, above: above})
	}
	return out
}

// splitPath cuts the "container/name" of a header, percent-encoded there (S5, S6).
func splitPath(kind, value string) (container, name string, err error) {
	container, name, ok := strings.Cut(strings.TrimLeft(value, "/"), "/")
	container, name = transport.Unquote(container), transport.Unquote(name)
	if !ok || container == "" || name == "" {
		return "", "", fmt.Errorf("%s %q: %w", kind, value, errNoPath)
	}
	return container, name, nil
}

var errNoPath = errors.New("is no container/name")
