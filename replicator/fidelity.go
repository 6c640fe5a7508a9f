package replicator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"farshore/policies"
	"farshore/replicator/plan"
	"farshore/replicator/report"
	"farshore/transport"
)

// FidelityOptions qualify a fidelity certificate.
type FidelityOptions struct {
	Read float64 // share of the objects whose bytes are compared too, 0 to 1
	Seed int64   // chooses which; 0: taken from the clock
	// Row gets every row, one at a time; its error ends the certificate. nil: nobody.
	Row func(report.FidelityRow) error
}

// Fidelity compares every property of what a policy copies with its source, by asking
// both ends for each object, container and, where the policy chooses it, the account. It
// trusts no record, changes nothing, and says of each property whether it was kept. A
// difference is a finding of kind cannot. Its memory does not grow with the containers.
func (e *Engine) Fidelity(ctx context.Context, p policies.Policy, jobs []Job, o FidelityOptions) (report.Result, error) {
	began := e.o.Clock.Now()
	if o.Read < 0 || o.Read > 1 {
		return report.Result{}, &UsageError{Msg: fmt.Sprintf("the share to read is %g", o.Read), Hint: "give 0% to 100%"}
	}
	if o.Seed == 0 {
		o.Seed = began.UnixNano()
	}
	res := report.Result{Policy: p.Name, Command: "audit", Began: began.UTC()}
	f := report.NewFindings(p.Accept, e.o.OnFinding)
	c := &certificate{e: e, o: o, policy: p, findings: f, compared: map[[2]string]bool{}, totals: report.FidelityTotals{Never: report.NeverKept, CannotBy: map[string]int64{}}}
	defer e.budget.follow()()
	ctx, _ = e.budget.flow(ctx, p)
	err := c.jobs(ctx, jobs)
	if err == nil {
		err = c.account(ctx)
	}
	e.o.Progress.ListingDone()
	e.regionFindings(p, began, f)
	if n := c.unseen.Load(); n > 0 && err == nil {
		f.Add(report.Finding{Kind: report.KindFailed, Level: report.Error, Policy: p.Name, Op: "compare", Cause: fmt.Sprintf("%d items or destinations could not be compared: the certificate is incomplete", n),
			Hint: "see the other findings for why, and run it again"})
	}
	c.totals.Unseen, c.totals.Read, c.totals.ReadBytes = c.unseen.Load(), c.read.Load(), c.readBytes.Load()
	res.Totals.Listed = c.listed.Load()
	res.Fidelity = &c.totals
	res.Findings, res.Counts, res.Errors = f.List(), f.Counts(), f.Errors()
	res.Seconds = e.o.Clock.Now().Sub(began).Seconds()
	return res, err
}

// certificate is one comparison of a policy.
type certificate struct {
	e        *Engine
	o        FidelityOptions
	policy   policies.Policy
	findings *report.Findings

	unseen, read, readBytes, listed atomic.Int64

	compared map[[2]string]bool // containers, by region and name: of one several parts may come along

	mu     sync.Mutex // around rows and totals
	totals report.FidelityTotals
}

// jobs compares the jobs, and then what comes along with them.
func (c *certificate) jobs(ctx context.Context, jobs []Job) error {
	var seen []*pass
	each := func(jobs []Job) error {
		for _, j := range jobs {
			if err := ctx.Err(); err != nil {
				return err
			}
			c.e.o.Progress.Phase("comparing " + j.From.String() + " with its copies")
			p, err := c.job(ctx, j)
			if err != nil {
				return err
			}
			seen = append(seen, p)
		}
		return nil
	}
	for len(jobs) > 0 {
		if err := each(jobs); err != nil {
			return err
		}
		var err error
		if jobs, err = c.e.companions(seen); err != nil {
			return err
		}
	}
	return nil
}

// certJob is the comparison of one job.
type certJob struct {
	*certificate
	p *pass
	s *survey

	failMu sync.Mutex
	fail   error // of a row that a listing told of
}

func (c *certificate) job(ctx context.Context, j Job) (*pass, error) {
	s, err := c.e.survey(ctx, j, c.findings, false)
	if err != nil {
		return nil, err
	}
	x := &certJob{certificate: c, p: s.p, s: s}
	x.p.findings, x.p.tally = c.findings, &tally{byCount: map[int]int64{}, byRegion: map[string]int64{}}
	c.unseen.Add(int64(len(j.To) - len(s.p.dests)))
	if nowhere, err := x.nowhere(ctx); err != nil || nowhere {
		return s.p, err
	}
	info, err := c.source(ctx, j)
	if err != nil {
		return s.p, err
	}
	if info == nil || s.unseen.Load() && info.Objects > 0 {
		c.unseen.Add(1)
		return s.p, nil
	}
	x.p.shape = info
	id, err := c.e.identity(ctx, j.From.Region)
	if err != nil {
		return s.p, err
	}
	x.p.account = accountOf(id.URL)
	for _, d := range x.p.dests {
		if id, err := c.e.identity(ctx, d.side.Region); err == nil {
			d.url = id.URL
		}
	}
	if err := x.containers(ctx, *info); err != nil {
		return s.p, err
	}
	if err := x.walk(ctx); err != nil {
		return s.p, err
	}
	if keepsHistory(*info) {
		err = x.versions(ctx)
	}
	for _, d := range x.p.dests {
		if d.dead.Load() {
			c.unseen.Add(1)
		}
	}
	return s.p, err
}

// source looks at a job's container; nil: it is not there or not to be seen, which is a finding.
func (c *certificate) source(ctx context.Context, j Job) (*transport.ContainerInfo, error) {
	src, err := c.e.region(j.From.Region)
	if err != nil {
		return nil, err
	}
	info, err := src.Container(ctx, j.From.Container)
	if err != nil && (ctx.Err() != nil || !regionTrouble(err)) {
		return nil, err
	}
	if err != nil {
		c.failed(j.From.Region, j.From.Container, "", err)
		return nil, nil
	}
	return &info, nil
}

func (c *certificate) failed(region, container, name string, err error) {
	c.findings.Add(report.Finding{Kind: report.KindFailed, Level: report.Error, Policy: c.policy.Name, Region: region, Container: container, Name: name,
		Op: "compare", Cause: err.Error(), Hint: cmp.Or(transport.HintOf(err), "run it again")})
}

// visit compares the objects of a page, many at a time.
func (x *certJob) visit(ctx context.Context, subjects []plan.Subject) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, x.e.o.Limits.Streams/walkers))
	for i := range subjects {
		if subjects[i].Entry == nil {
			if standsAnywhere(subjects[i]) {
				g.Go(func() error { return x.extra(ctx, subjects[i]) })
			}
			continue
		}
		x.listed.Add(1)
		g.Go(func() error { return x.object(ctx, subjects[i]) })
	}
	return g.Wait()
}

// rows collects the rows of one item at one destination.
type rows struct {
	like report.FidelityRow
	list []report.FidelityRow
}

func (r *rows) add(property string, v report.Verdict, why, source, there string) {
	row := r.like
	row.Property, row.Verdict, row.Why = property, v, why
	if v != report.Kept {
		row.Source, row.There = source, there
	}
	r.list = append(r.list, row)
}

// same adds a row for a property that is to be want there, where the source has source.
func (r *rows) same(property, source, want, there, how string) {
	switch {
	case want == there && want == source:
		r.add(property, report.Kept, "", "", "")
	case want == there:
		r.add(property, report.Mapped, how, source, there)
	case there == "":
		r.add(property, report.Cannot, "it is not there", source, there)
	case source == "":
		r.add(property, report.Cannot, "the source has none: others set it there", source, there)
	default:
		r.add(property, report.Cannot, "it is another there", source, there)
	}
}

// secret takes the values out of the last row.
func (r *rows) secret() {
	last := &r.list[len(r.list)-1]
	last.Source, last.There = "", ""
}

// emit counts rows and hands them on.
func (c *certificate) emit(r *rows) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch t, item := &c.totals, r.like.Item; {
	case len(r.list) > 0 && r.list[0].Verdict == report.Extra:
		t.Extra++
	case item == itemObject:
		t.Objects++
	case item == itemVersion:
		t.Versions++
	case item == itemContainer:
		t.Containers++
	case item == itemAccount:
		t.Accounts++
	}
	for _, row := range r.list {
		c.totals.Rows++
		switch row.Verdict {
		case report.Kept:
			c.totals.Kept++
		case report.Mapped:
			c.totals.Mapped++
		case report.Cannot:
			c.totals.Cannot++
			property := row.Property
			if strings.HasPrefix(property, "X-Object-Meta-") {
				property = "X-Object-Meta-*"
			}
			c.totals.CannotBy[property]++
			hint := "a pass carries what changed at the source, farshore audit --read 100% --repair sets again what was changed there; accept: [cannot] in the policy lets it pass"
			switch row.Item {
			case itemContainer:
				hint = "a pass carries what changed at the source, farshore audit --repair sets again what was changed there; accept: [cannot] in the policy lets it pass"
			case itemAccount:
				hint = "a pass carries what changed at the source; what was changed there is set again by hand, or by a pass with takeover: true in the policy; accept: [cannot] lets it pass"
			}
			c.findings.Add(report.Finding{Kind: report.KindCannot, Level: report.Error, Policy: row.Policy, Region: row.Region, Container: row.Container, Name: row.Name,
				Op: "compare " + row.Property, Cause: row.Why + valuesOf(row), Hint: hint})
		}
		if c.o.Row != nil {
			if err := c.o.Row(row); err != nil {
				return err
			}
		}
	}
	return nil
}

// valuesOf shows the two values, cut to what a line can hold.
func valuesOf(row report.FidelityRow) string {
	if row.Source == "" && row.There == "" {
		return ""
	}
	short := func(s string) string {
		if r := []rune(s); len(r) > 60 {
			s = string(r[:60]) + "…"
		}
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf(": %s, at the source %s", short(row.There), short(row.Source))
}

const (
	itemObject    = "object"
	itemVersion   = "version"
	itemContainer = "container"
	itemAccount   = "account"
)

func (x *certJob) rows(d *dest, item, name string) *rows {
	r := &rows{like: report.FidelityRow{Policy: x.policy.Name, Item: item, From: x.p.job.From.Region, FromContainer: x.p.job.From.Container, FromName: name,
		Region: d.side.Region, Container: d.side.Container}}
	if item == itemObject || item == itemVersion {
		r.like.Name = x.p.destName(d, name)
	}
	return r
}

// lost says what an error of a destination means: the object is not there (true), the
// region does not answer, or the run ends.
func (x *certJob) lost(ctx context.Context, d *dest, name string, err error) (gone bool, _ error) {
	from := x.p.job.From
	var te *transport.Error
	switch {
	case ctx.Err() == nil && errors.As(err, &te) && te.Region == from.Region && d.side.Region != from.Region: // the source's
		x.unseen.Add(1)
		x.failed(te.Region, cmp.Or(te.Container, from.Container), te.Name, err)
		return false, nil
	case transport.Is(err, transport.NotFound):
		return true, nil
	case ctx.Err() != nil || !regionTrouble(err):
		return false, err
	}
	if c := transport.ClassOf(err); c == transport.Transient || c == transport.Throttled {
		x.p.lose(d, err)
		return false, nil
	}
	x.unseen.Add(1)
	x.failed(d.side.Region, d.side.Container, name, err)
	return false, nil
}

// names gives the union of two headers' names, in order.
func names(a, b transport.Header) []string {
	all := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(all)
	return slices.Compact(all)
}

var errNotAtSource = errors.New("the source has it no more")
