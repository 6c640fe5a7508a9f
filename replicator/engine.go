// Package replicator makes policies true: it walks source containers against the
// ledger (pass.go), copies what changed (small.go, large.go), carries deletes
// under a brake (deletes.go) and keeps streams, memory and bytes within their
// limits (budget.go). It knows regions only as transport.Sink.
package replicator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"farshore/policies"
	"farshore/replicator/lag"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// Options are what an Engine needs.
type Options struct {
	Ledger  *store.Ledger
	Regions map[string]transport.Sink // by the policy's name of the region; with the retry layer around them
	// Down holds the regions whose login failed, with the error. They count as
	// not answering: the others go on (promise 8).
	Down     map[string]error
	Limits   policies.Limits
	Clock    transport.Clock  // nil: the system's
	Progress *report.Progress // nil: none shown
	Log      *slog.Logger     // nil: silent
	// SideBySide is for who works on several policies at once: none of them ever takes
	// the last of the streams and of the memory, which the next would have to wait for.
	SideBySide bool
	Lag        *lag.Tracker // is told what waits and what is confirmed; nil: nobody
	// OnFinding sees each finding as it is made; nil: nobody. Called from many goroutines.
	OnFinding func(report.Finding)
}

// Engine carries policies out. Its methods may be called concurrently; all of
// them share its streams, memory and byte limits.
type Engine struct {
	o        Options
	budget   *budget
	breakers map[string]*breaker

	buffers sync.Pool // *[]byte, chunks that were sent

	mu        sync.Mutex
	made      map[string]*once // by "region/container"
	noCopy    map[string]int   // region: collapses that failed in a row
	abilities map[string]transport.Abilities
	owners    map[string]ownerAnswer // by region: whether our login owns the account
	glances   map[string]*glance     // at containers that are watched
}

// New makes an engine.
func New(o Options) *Engine {
	if o.Clock == nil {
		o.Clock = transport.SystemClock{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Progress == nil {
		o.Progress = report.NewProgress(o.Clock.Now())
	}
	if o.Limits.Streams <= 0 {
		o.Limits.Streams = policies.DefaultStreams
	}
	if o.Limits.Memory <= 0 {
		o.Limits.Memory = policies.DefaultMemory
	}
	e := &Engine{o: o, budget: newBudget(o.Limits, o.SideBySide, o.Clock), breakers: map[string]*breaker{},
		made: map[string]*once{}, noCopy: map[string]int{}, abilities: map[string]transport.Abilities{}, owners: map[string]ownerAnswer{}, glances: map[string]*glance{}}
	return e
}

func (e *Engine) breaker(region string) *breaker {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := e.breakers[region]
	if b == nil {
		b = &breaker{clock: e.o.Clock}
		e.breakers[region] = b
	}
	return b
}

// blame notes that a region could not be used at all.
func (e *Engine) blame(region string, err error) {
	e.o.Log.Warn("region left out of this pass", "region", region, "err", err)
	e.breaker(region).fail(err)
}

// Side is one end of a job.
type Side struct {
	Region    string
	Container string
	Prefix    string // "": the whole container
}

// String is region:container/prefix, safe to print.
func (s Side) String() string {
	if s.Prefix != "" {
		return s.Region + ":" + transport.PrintName(s.Container+"/"+s.Prefix)
	}
	return s.Region + ":" + transport.PrintName(s.Container)
}

// Job is one source container (or a prefix of it) and where it goes.
type Job struct {
	Policy policies.Policy
	From   Side
	To     []Side

	spare []Side               // candidates that may hold copies although the job does not go there
	out   map[string]time.Time // candidates that are replaced, and since when they are down

	listed *transport.ContainerInfo // as its account listed it; nil: it did not
	along  bool                     // no policy names its container: what manifests or links of another need is in it
}

// SyncOptions qualify a pass.
type SyncOptions struct {
	DryRun       bool   // decide and count, change nothing anywhere
	Watching     bool   // leave out containers of which all is known, where the policy watches
	ReleaseBrake string // the token of a brake that stopped this very pass before

	matched *atomic.Bool // the token is of a brake that this pass met
}

// ErrBrake says that a pass stopped at a brake. Result.Brake holds the token.
var ErrBrake = errors.New("stopped by the brake")

// UsageError is a job that makes no sense; nothing was done.
type UsageError struct{ Msg, Hint string }

func (e *UsageError) Error() string { return e.Msg }

// Jobs expands a policy into a job for each source container it selects.
func (e *Engine) Jobs(ctx context.Context, p policies.Policy) ([]Job, error) {
	if p.Volumes != nil {
		return nil, &UsageError{Msg: fmt.Sprintf("policy %s is about volumes, and this is about containers", p.Name), Hint: "name a policy about containers"}
	}
	src, err := e.region(p.From)
	if err != nil {
		return nil, err
	}
	ctx, _ = e.budget.flow(ctx, p)
	placed, err := e.placement(ctx, p)
	if err != nil {
		return nil, err
	}
	var jobs []Job
	taken := map[string]string{}
	looked := e.o.Clock.Now()
	err = src.Containers(ctx, "", func(c transport.ContainerInfo) error {
		if !p.Selects(c.Name) {
			return nil
		}
		dest, err := p.Destination(c.Name)
		if err != nil {
			return &UsageError{Msg: fmt.Sprintf("policy %s: container %s: %v", p.Name, transport.PrintName(c.Name), err), Hint: "change the policy's container: template"}
		}
		if other, ok := taken[dest]; ok {
			return &UsageError{Msg: fmt.Sprintf("policy %s: containers %s and %s would both go to %s", p.Name, transport.PrintName(other), transport.PrintName(c.Name), transport.PrintName(dest)),
				Hint: "change the policy's container: template"}
		}
		taken[dest] = c.Name
		j, err := e.place(ctx, placed, newJob(p, c.Name, dest))
		j.listed = &c
		jobs = append(jobs, j)
		return err
	})
	if err != nil {
		return nil, err
	}
	// A container that the ledger knows and the account no longer lists is a job
	// too: its brake decides.
	listed := map[string]bool{}
	for _, j := range jobs {
		listed[j.From.Container] = true
	}
	lost, err := e.copied(ctx, p, placed, listed)
	if err != nil {
		return nil, err
	}
	jobs = append(jobs, lost...)
	if err := e.tellPlaces(ctx, p, placed, looked, jobs); err != nil {
		return nil, err
	}
	if len(jobs) == 0 {
		for _, name := range p.Containers {
			if !strings.ContainsAny(name, `!*?[\`) { // named in full, so a spelling mistake or a loss, not an empty choice
				return nil, &transport.Error{Op: "find container", Region: p.From, Container: name, Class: transport.NotFound, Err: errors.New("there is no such container")}
			}
		}
	}
	return jobs, nil
}

// newJob is a policy's job for one container and its name at the destinations.
func newJob(p policies.Policy, container, dest string) Job {
	j := Job{Policy: p, From: Side{Region: p.From, Container: container, Prefix: p.Prefix}}
	for _, to := range p.To {
		j.To = append(j.To, Side{Region: to, Container: dest, Prefix: p.Prefix})
	}
	return j
}

// hasCopies reports whether the ledger knows copies of a place's objects under a name in a
// policy's destinations: confirmed ones, or such as were begun and may stand there.
func (e *Engine) hasCopies(routes []store.RouteInfo, from store.PlaceInfo, p policies.Policy, dest string) (bool, error) {
	toHere := func(r store.RouteInfo) bool {
		return r.Route.From == from.Place && r.Route.To.Container == dest && slices.Contains(p.To, r.Route.To.Region)
	}
	if !slices.ContainsFunc(routes, toHere) {
		return false, nil
	}
	if from.Objects > 0 {
		return true, nil
	}
	return e.begun(routes, from.Place)
}

// begun reports whether copies of a place's objects were begun that the ledger has not confirmed.
func (e *Engine) begun(routes []store.RouteInfo, from store.Place) (bool, error) {
	for _, r := range routes {
		if r.Route.From != from {
			continue
		}
		if begun, err := e.o.Ledger.Intents(r.ID, "", 1); err != nil || len(begun) > 0 {
			return len(begun) > 0, err
		}
	}
	return false, nil
}

// Sync makes one pass for a policy over the jobs given and returns what was done.
// The error is nil when the pass ran, whatever it found; ErrBrake when a brake stopped it.
func (e *Engine) Sync(ctx context.Context, p policies.Policy, jobs []Job, o SyncOptions) (report.Result, error) {
	began := e.o.Clock.Now()
	res := report.Result{Policy: p.Name, Command: "sync", Began: began.UTC()}
	if o.DryRun {
		res.Command = "plan"
	}
	ctx, turns := e.budget.pass(ctx, p)
	f := report.NewFindings(p.Accept, e.o.OnFinding)
	t := &tally{byCount: map[int]int64{}, byRegion: map[string]int64{}}
	var firstErr error
	kin, ran := newKin(), []*pass(nil)
	o.matched = &atomic.Bool{}
	phase := "listing and copying "
	if o.DryRun {
		phase = "comparing "
	}
	for queue := jobs; len(queue) > 0 || len(ran) > 0; queue = queue[1:] {
		if err := ctx.Err(); err != nil {
			firstErr = err
			break
		}
		if len(queue) == 0 { // what came along with objects of these jobs
			more, err := e.companions(ran)
			if err != nil && firstErr == nil {
				firstErr = err
			}
			if len(more) == 0 {
				break
			}
			queue = more
		}
		j := queue[0]
		if counts, ok := e.known(j); ok && o.Watching && p.Watch > 0 && !o.DryRun {
			t.heldMany(counts)
			continue
		}
		e.o.Progress.Phase(phase + j.From.String())
		pass := &pass{e: e, job: j, o: o, findings: f, tally: t, kin: kin}
		ran = append(ran, pass)
		looks, before := e.o.Clock.Now(), pass.sum()
		err := pass.run(ctx)
		if lerr := e.looked(pass, looks, before, err); err == nil {
			err = lerr
		}
		if j.along && absent(err, j.From) {
			err = nil // a manifest may point to a container that does not exist
		}
		res.Resumed = res.Resumed || pass.resumed
		if pass.brakeToken != "" {
			res.Brake, res.Brakes = pass.brakeToken, append(res.Brakes, pass.brakeToken)
		}
		if err != nil && (firstErr == nil || errors.Is(firstErr, ErrBrake)) {
			firstErr = err
		}
		if err != nil && !errors.Is(err, ErrBrake) && ctx.Err() != nil {
			break
		}
	}
	e.o.Progress.ListingDone()
	for _, pass := range ran {
		if firstErr == nil && len(pass.kept) > 0 {
			firstErr = pass.deleteFreed(ctx, pass.due)
		}
		for _, x := range pass.keptWhy {
			f.Add(x)
		}
		t.pending.Add(int64(len(pass.kept)))
	}
	for _, c := range kin.passes { // what they saw, the passes over the whole containers saw too
		t.addWork(c.tally)
	}
	if firstErr == nil {
		firstErr = e.accounts(ctx, p, f, t, o.DryRun)
	}
	if !o.DryRun {
		if err := e.o.Ledger.Flush(context.WithoutCancel(ctx)); err != nil && (firstErr == nil || ctx.Err() == nil) {
			firstErr = err
		}
	}
	if firstErr == nil && !o.DryRun {
		if firstErr = e.release(ran); firstErr == nil {
			firstErr = e.stillOut(ctx, p, began)
		}
	}
	if !o.DryRun {
		e.o.Lag.Save(p.Name)
	}
	e.regionFindings(p, began, f)
	e.replacedFindings(p, jobs, f)
	turns(firstErr == nil && t.failed.Load() == 0 && !o.DryRun)
	res.Totals, res.Replicas = t.result(p)
	res.BrakeReleased, res.ResumedCopied = o.matched.Load() && res.Brake == "", t.resumed.Load()
	if !o.DryRun && firstErr == nil {
		firstErr = e.stand(ctx, p, &res.Replicas)
	}
	if v := res.Replicas; !v.Satisfied && !o.DryRun && firstErr == nil {
		f.Add(report.Finding{Kind: report.KindTooFew, Level: report.Error, Policy: p.Name, Op: "count replicas",
			Cause: fmt.Sprintf("%d of %d objects have fewer than %d confirmed replicas", v.Short, v.Objects, v.Wanted) + sinceText(v.Since),
			Hint:  "the other findings say why, warnings only without --quiet; farshore audit shows which objects"})
	}
	res.Findings, res.Counts, res.Errors = f.List(), f.Counts(), f.Errors()
	res.Seconds = e.o.Clock.Now().Sub(began).Seconds()
	return res, firstErr
}

// absent reports whether an error says that a container does not exist.
func absent(err error, s Side) bool {
	var te *transport.Error
	return errors.As(err, &te) && te.Class == transport.NotFound && te.Region == s.Region && te.Container == s.Container && te.Name == ""
}

// regionFindings reports regions that did not answer since a moment, once each.
func (e *Engine) regionFindings(p policies.Policy, since time.Time, f *report.Findings) {
	for _, to := range p.To {
		skipped, err := e.breaker(to).failure(since)
		if err == nil {
			continue
		}
		// What the request was about may be another policy's: all of them share the region.
		if te := (*transport.Error)(nil); errors.As(err, &te) {
			bare := *te
			bare.Container, bare.Name, bare.TxID = "", "", ""
			err = &bare
		}
		cause := err.Error()
		if skipped > 0 {
			cause = fmt.Sprintf("%s; %d objects wait for it", cause, skipped)
		}
		f.Add(report.Finding{Kind: report.KindRegionDown, Level: report.Warn, Policy: p.Name, Region: to, Op: "reach region", Cause: cause,
			Hint: "what is due there waits in the ledger; the next pass catches up when it answers: farshore region check " + to})
	}
}

func (e *Engine) region(name string) (transport.Sink, error) {
	if ep, ok := e.o.Regions[name]; ok {
		return ep, nil
	}
	if err, ok := e.o.Down[name]; ok {
		return nil, err
	}
	return nil, &UsageError{Msg: fmt.Sprintf("region %s is not defined", name), Hint: "name it under regions: in the policy file, or in clouds.yaml"}
}

// identity tells which account a region is. A region that does not answer is
// known from the ledger, where it answered once before.
func (e *Engine) identity(ctx context.Context, name string) (transport.Identity, error) {
	key := "identity/" + name
	ep, err := e.region(name)
	if err == nil {
		var id transport.Identity
		if id, err = ep.Identity(ctx); err == nil {
			text, err := json.Marshal(id)
			if err != nil {
				return id, fmt.Errorf("encode identity of region %s: %w", name, err)
			}
			if old, ok, err := e.o.Ledger.Note(key); err != nil || ok && string(old) == string(text) {
				return id, err
			}
			if err := e.o.Ledger.PutNote(key, text); err != nil && !errors.Is(err, store.ErrReadOnly) {
				return id, err
			}
			return id, nil
		}
	}
	if text, ok, noteErr := e.o.Ledger.Note(key); noteErr == nil && ok {
		var id transport.Identity
		if json.Unmarshal(text, &id) == nil {
			return id, nil
		}
	}
	return transport.Identity{}, err
}

// abilitiesOf is what a region can do, asked once.
func (e *Engine) abilitiesOf(ctx context.Context, name string) (transport.Abilities, error) {
	e.mu.Lock()
	a, ok := e.abilities[name]
	e.mu.Unlock()
	if ok {
		return a, nil
	}
	ep, err := e.region(name)
	if err != nil {
		return a, err
	}
	if a, err = ep.Abilities(ctx); err != nil {
		return a, err
	}
	if text, ok, err := e.o.Ledger.Note("probe/" + name); err == nil && ok {
		var tried map[string]transport.Answer
		if json.Unmarshal(text, &tried) == nil {
			a.Learn(tried)
		}
	}
	e.mu.Lock()
	e.abilities[name] = a
	e.mu.Unlock()
	return a, nil
}

// ensureContainer creates a container once a process.
func (e *Engine) ensureContainer(ctx context.Context, region, container string) error {
	return e.ensure(region, container, func(ep transport.Sink) error { return ep.CreateContainer(ctx, container, nil) })
}

// ensureSegments creates the container of the segments that stay. Who may read an
// object must be able to read its segments, so a new one gets the read ACL of the
// object's container (R12); one that is there keeps its own.
func (e *Engine) ensureSegments(ctx context.Context, region, container, segments string) error {
	return e.ensure(region, segments, func(ep transport.Sink) error {
		_, err := ep.Container(ctx, segments)
		if !transport.Is(err, transport.NotFound) {
			return err
		}
		info, err := ep.Container(ctx, container)
		if err != nil && !transport.Is(err, transport.NotFound) {
			return err
		}
		var h transport.Header
		if info.ReadACL != "" {
			h = transport.Header{"X-Container-Read": info.ReadACL}
		}
		return ep.CreateContainer(ctx, segments, h)
	})
}

// once is one container that has to be there: whoever comes second waits for the
// first, and tries again itself if that failed.
type once struct {
	mu   sync.Mutex
	done bool
}

// ensure does once a process what makes a container be there.
func (e *Engine) ensure(region, container string, create func(transport.Sink) error) error {
	key := region + "/" + container
	e.mu.Lock()
	o := e.made[key]
	if o == nil {
		o = &once{}
		e.made[key] = o
	}
	e.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.done {
		return nil
	}
	ep, err := e.region(region)
	if err != nil {
		return err
	}
	if err := create(ep); err != nil {
		return err
	}
	o.done = true
	return nil
}

func micros(t time.Time) int64 { return t.UnixMicro() }
